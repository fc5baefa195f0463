r"""Whether a run still follows its bath: how hot it may be, and how much heat the time step may make.

The thermostat gives the kinetic energy a chi-squared distribution of :math:`N_f = d(N - 1)` degrees of freedom. A run
whose kinetic temperature is above that of its bath by more than this distribution allows has blown up. It is looked at
whenever the thermostat acts, and stopped there.

A time step that is too long can also heat a run slowly. That heat is counted, not guessed. With kinetic energy
:math:`K`, potential energy :math:`U` and the energy :math:`W` that the thermostat has put in, exact dynamics conserves

.. math:: H = K + U - W

whatever the bath does. Heat made at a rate :math:`\dot H` holds the kinetic temperature above the bath's by
:math:`2 \dot H \tau / N_f`, with the time constant :math:`\tau` of the thermostat: until then the thermostat does not
take out as much. A run may be warmer by :data:`WARMER` of its bath; more than that is added up, and a run in which the
sum exceeds :data:`SLACK` of the bath is stopped.

A run that makes no heat may still be wrong. Velocity Verlet samples the configurations of a hotter liquid: a mode of
frequency :math:`\omega` has the temperature :math:`T / (1 - \omega^2 dt^2 / 4)`, while its velocities have :math:`T`.
The mean of :math:`\omega^2` is that of the squared force over the kinetic energy, :math:`\sum F^2 / 2K`. In a liquid
the steep pairs weigh more, and the configurations are hotter by about :data:`_STEEP` times

.. math:: \eta = \frac{dt^2}{4} \left\langle \frac{\sum F^2}{2K} \right\rangle .

References:
    Bussi, Donadio & Parrinello, 2007, doi:10.1063/1.2408420 (the conserved energy)
"""

__all__ = ["HOTTER", "SAFE_DT", "SLACK", "UNWATCHED", "WARMER", "BlownUpError", "Heating", "Watch", "ceiling"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

SAFE_DT = 0.01
"""Time step up to which a Lennard-Jones liquid at T = 2 is stable."""

WARMER = 0.01
"""Part of the bath's temperature by which the time step may keep a run warmer, in the mean."""

SLACK = 0.05
"""Part of the hottest bath so far by which the heat, per half degree of freedom, may exceed that."""

HOTTER = 0.06
"""Part of the bath's temperature by which the time step may make the configurations hotter."""

_STEEP = 1.7  # measured in ka2d at T = 2, dt = 0.0075 and 0.01
_ENOUGH = 50  # actions of the thermostat that tell the mean of the squared force
_ERRORS = 5.0  # standard errors by which the mean must lie above what is allowed
_FALSE_ALARM = 1e-15  # probability that one action of the thermostat finds a sound run too hot
_HEAT_OF_AGEING = 0.25  # part of the bath's temperature that the heat of a relaxing glass may add
_LAG = 10.0  # time constant, in those of the thermostat, within which a run has followed a jump of its bath


class BlownUpError(FloatingPointError):
    """A run left its bath; ``n_steps`` is counted from the beginning of the call that raises it.

    Args:
        n_steps: Time steps done.
        dt: Time step.
        bath: Temperature of the bath.
        reached: Kinetic temperature.
        system: Place of the system among those that were advanced together; number of the run once ``where`` is known.
        why: What was seen.
        where: The step in words, where more is known than ``n_steps``.
    """

    def __init__(
        self, n_steps: int, dt: float, bath: float, reached: float, system: int = 0, why: str = "", where: str = ""
    ) -> None:
        super().__init__(n_steps, dt, bath, reached, system, why, where)  # what a process is sent
        self.n_steps, self.dt, self.bath, self.reached = n_steps, dt, bath, reached
        self.system, self.why, self.where = system, why, where

    def at(self, where: str, *, run: int) -> "BlownUpError":
        """Return the same error that says which run it was, and where."""
        return BlownUpError(self.n_steps, self.dt, self.bath, self.reached, run, self.why, where)

    def __str__(self) -> str:
        place = self.where or f"step {self.n_steps}"
        shorter = f"use dt <= {SAFE_DT}" if self.dt > SAFE_DT else f"use a dt below {self.dt:g}"
        why = self.why or "which is more than its fluctuations allow"
        return (
            f"dt = {self.dt:g} is too long: at {place} the kinetic temperature reached {self.reached:.4g} in a bath at "
            f"{self.bath:.4g}, {why}; the records before are kept: {shorter}"
        )


def ceiling(
    bath: Float[np.ndarray, " a"], *, hot: float, n_free: int, memory: float
) -> tuple[Float[np.ndarray, " a"], float]:
    """Return the highest kinetic temperature that a sound run can have just before each action of its thermostat.

    A run that comes from a hotter bath is given time.

    Args:
        bath: Temperature of the bath at each action, on a straight line.
        hot: Temperature that the run may still have at the first action.
        n_free: Degrees of freedom.
        memory: Part of the kinetic energy that outlives one action; 1 is no thermostat, and no ceiling.

    Returns:
        The ceilings, and the temperature that it may still have after the last action.
    """
    n = len(bath)
    if memory == 1 or n == 0:
        return np.full(n, np.inf), hot
    follows = max(memory, np.exp(-1)) ** (1 / _LAG)
    lag = (bath[0] - bath[-1]) / max(n - 1, 1) / (1 - follows)  # behind a straight line, in the end
    behind = np.maximum(lag + (hot - bath[0] - lag) * follows ** np.arange(n), 0)
    spread = float(special.chdtri(n_free, _FALSE_ALARM)) / n_free
    return np.asarray((bath + behind) * (spread + _HEAT_OF_AGEING)), float(bath[-1] + behind[-1] * follows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """What is known of a system since it was made or read; nothing of it is kept on disk.

    Args:
        work: Energy that thermostats have put in, in epsilon_AA.
        hot: Temperature that the system may still have, of a bath that has become colder since.
        n: Actions of the thermostat that wait to be judged.
        steep: Sum over them of the squared force over the kinetic energy.
        steep2: Sum of its square.
    """

    work: float = 0.0
    hot: float = 0.0
    n: int = 0
    steep: float = 0.0
    steep2: float = 0.0

    def after(
        self,
        seen: Float[np.ndarray, " 5"],
        most: Float[np.ndarray, " a"],
        *,
        bath: Float[np.ndarray, " a"],
        dt: float,
        every: int,
        n_free: int,
        hot: float,
        system: int = 0,
    ) -> "Watch":
        """Return what is known after an integrator has worked.

        Args:
            seen: Energy put in by the thermostat, its actions, the kinetic energy at the last of them, and the sums
                over them of the squared force over the kinetic energy and of its square.
            most: Kinetic energy at which the integrator stops, at each action; infinite without a thermostat.
            bath: Temperature of the bath at each action.
            dt: Time step.
            every: Steps between two actions.
            n_free: Degrees of freedom.
            hot: Temperature that it may still have, as :func:`ceiling` returns it.
            system: Place of the system among those that were advanced together.

        Raises:
            BlownUpError: It has blown up, or its configurations are too hot.
        """
        work, kinetic, last = self.work + float(seen[0]), float(seen[2]), int(seen[1]) - 1
        so_far = (last + 1) * every, dt, float(bath[last]), 2 * kinetic / n_free, system
        if not (np.isfinite(kinetic) and kinetic <= most[last]):
            raise BlownUpError(*so_far)
        if np.isinf(most[last]):
            return Watch(work=work, hot=hot)
        n, steep, steep2 = self.n + last + 1, self.steep + float(seen[3]), self.steep2 + float(seen[4])
        if n < _ENOUGH:
            return Watch(work=work, hot=hot, n=n, steep=steep, steep2=steep2)
        mean = steep / n
        error = np.sqrt(max(steep2 / n - mean**2, 0.0) / n)
        hotter, sure = (_STEEP * dt**2 / 8 * value for value in (mean, mean - _ERRORS * error))
        if not sure <= HOTTER:
            raise BlownUpError(*so_far, f"and the configurations were about {hotter:.1%} hotter than the bath")
        return Watch(work=work, hot=hot)


UNWATCHED = Watch()
"""What is known of a system that has just been made or read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heating:
    """The heat that the time step has made beyond what is allowed, per half degree of freedom.

    It is a cumulative sum that never falls below zero, so that a sound past pays for no heat to come.

    Args:
        conserved: The conserved energy where it was last looked at.
        excess: The sum.
        hottest: Temperature of the hottest bath so far.
    """

    conserved: float
    excess: float = 0.0
    hottest: float = 0.0

    def after(self, conserved: float, *, n_free: int, T: float, times: float, hottest: float) -> "Heating":
        """Return the sum later.

        Args:
            conserved: The conserved energy now.
            n_free: Degrees of freedom.
            T: Mean temperature of the bath since.
            times: Time since, in time constants of the thermostat.
            hottest: Highest temperature of the bath since.
        """
        made = 2 * (conserved - self.conserved) / n_free
        excess = self.excess + made - WARMER * T * times
        excess = 0.0 if excess < 0 else excess  # what is no number stays
        return Heating(conserved=conserved, excess=excess, hottest=max(self.hottest, hottest))

    @property
    def too_much(self) -> bool:
        """Whether the run is wrong; a sum that is no number is."""
        return not self.excess <= SLACK * self.hottest
