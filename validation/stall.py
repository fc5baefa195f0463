r"""Why a search on the unshifted potential stalls: LAMMPS's conjugate gradients, written out, and the line they end on.

.. math:: \mathbf h_k = \mathbf F_k + \max\left(0, \frac{\mathbf F_k\cdot(\mathbf F_k-\mathbf F_{k-1})}
          {\mathbf F_{k-1}\cdot\mathbf F_{k-1}}\right)\mathbf h_{k-1}, \qquad
          \Delta U \le -0.4\,\alpha\,\mathbf F_k\cdot\mathbf h_k \text{ accepts } \mathbf r_k + \alpha\,\mathbf h_k

The step :math:`\alpha` is halved until it is accepted. A pair just inside its cut-off that :math:`\mathbf h` moves
apart adds :math:`-u(r_c) > 0` to the unshifted energy however small the step, so none is accepted, whatever the force.

References:
    Polak & Ribiere, 1969, doi:10.1051/m2an/196903R100351;
    LAMMPS, min_style cg with min_modify line backtrack, doi:10.1016/j.cpc.2021.108171
"""

__all__ = ["Stall", "Stopped", "conjugate_gradients"]

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from validation.states import mixture_of
from validation.tasks import Arrays, Cooling, Kept
from vitrify.parallel import Tick
from vitrify.potentials import Mixture, energies, forces
from vitrify.system import Configuration

_LARGEST_MOVE, _SLOPE, _LEAST_GAIN = 0.1, 0.4, 1e-8  # LAMMPS's, the last in energy per particle


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """Where a search ended: the configuration, the direction it tried last, and why."""

    configuration: Configuration
    direction: Float[np.ndarray, "n d"]
    reason: Literal["force tolerance", "energy tolerance", "linesearch alpha is zero", "iterations"]
    n_iterations: int


class Stall(Kept):
    """The energy along the line on which the search from one record of a cooling stalls."""

    cooling: Cooling
    k: int

    @property
    def cost(self) -> float:
        return self.cooling.n_particles * 6e-3

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``x``, the displacement of the particle that moves most, and both total energies along the line."""
        mixture = mixture_of(self.cooling.settings.mixture)
        start = self.cooling.configuration(root, self.k)
        end = conjugate_gradients(start, mixture, "unshifted", tick=tick)
        x = np.concatenate([-np.geomspace(1e-4, 1e-10, 25), [0.0], np.geomspace(1e-10, 1e-4, 145)])
        tick(self.cost)
        return along(end.configuration, end.direction, mixture, x) | {
            "stalled": np.array(end.reason == "linesearch alpha is zero"),
            "n_iterations": np.array(end.n_iterations),
        }


def conjugate_gradients(
    configuration: Configuration,
    mixture: Mixture,
    convention: Literal["shifted", "unshifted"],
    *,
    energy_tolerance: float = 1e-10,
    force_tolerance: float = 1e-5,
    n_iterations: int = 10_000,
    tick: Tick = lambda _: None,
) -> Stopped:
    """Return where the search for a minimum ends.

    Args:
        configuration: Where it begins.
        mixture: The species and their potential.
        convention: Which of the two energies is lowered.
        energy_tolerance: Relative change of the energy at which it ends.
        force_tolerance: Norm of all forces at which it ends.
        n_iterations: Most iterations.
        tick: Called with 0 at every iteration.
    """
    n = len(configuration.positions)
    here, energy = configuration, getattr(energies(configuration, mixture), convention)
    force = forces(configuration, mixture)
    direction = force.copy()
    for iteration in range(n_iterations):
        tick(0.0)
        gain = (force * direction).sum() / n
        step = min(1.0, _LARGEST_MOVE / np.abs(direction).max())
        while True:
            there = replace(here, positions=here.positions + step * direction)
            change = getattr(energies(there, mixture), convention) - energy
            if change <= -_SLOPE * step * gain:
                break
            if _SLOPE * step * gain <= _LEAST_GAIN:
                return Stopped(
                    configuration=here,
                    direction=direction,
                    reason="linesearch alpha is zero",
                    n_iterations=iteration,
                )
            step *= 0.5
        new = forces(there, mixture)
        here, old, energy = there, energy, energy + change
        kept = max(0.0, (new * (new - force)).sum() / (force**2).sum())
        direction = new + kept * direction
        if (new * direction).sum() <= 0:
            direction = new.copy()
        force = new
        if (force**2).sum() < force_tolerance**2:
            return Stopped(
                configuration=here, direction=direction, reason="force tolerance", n_iterations=iteration + 1
            )
        if abs(change) < energy_tolerance * 0.5 * (abs(energy) + abs(old) + _LEAST_GAIN):
            return Stopped(
                configuration=here, direction=direction, reason="energy tolerance", n_iterations=iteration + 1
            )
    return Stopped(configuration=here, direction=direction, reason="iterations", n_iterations=n_iterations)


def along(
    configuration: Configuration, direction: Float[np.ndarray, "n d"], mixture: Mixture, x: Float[np.ndarray, " m"]
) -> dict[str, np.ndarray]:
    """Return both total energies, less those at ``x = 0``, along a line.

    Args:
        configuration: Where the line begins.
        direction: Of every particle; only its direction as a whole matters.
        mixture: The species and their potential.
        x: Displacement of the particle that moves most.
    """
    unit = direction / np.linalg.norm(direction, axis=1).max()
    n, begin = len(unit), energies(configuration, mixture)
    found = [energies(replace(configuration, positions=configuration.positions + step * unit), mixture) for step in x]
    return {
        "x": x,
        "unshifted": np.array([n * (here.unshifted - begin.unshifted) for here in found]),
        "shifted": np.array([n * (here.shifted - begin.shifted) for here in found]),
    }
