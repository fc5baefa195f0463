"""Conservation of the energy: drift beside LAMMPS in double precision, and the order of the integrator.

The truncated force jumps at the cut-off. Each crossing leaves a small error of either sign, so the energy does a random
walk; over a short time what is left is the fluctuation of velocity Verlet about its own conserved energy, which falls
as the square of the time step.
"""

__all__ = ["SUBJECT", "Scan", "Size", "comparisons", "rows", "scanned", "wander"]

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from validation import comparison
from validation.lammps import Drift, energy_series
from validation.rows import Allowance, Estimate, Reference, Row, mean, row_of
from validation.tasks import Arrays, Kept, Series, Task
from vitrify.parallel import Tick

SUBJECT = "Conservation of energy, ka2d"
_EVERY = 0.02  # time between two energies of a scan
_LARGEST = 0.005  # above it the next order of dt is seen
_THEIRS = "LAMMPS, same states"
_DRIFT = Allowance(size=1e-4, reason="single precision")
_WANDER = Allowance(size=0.1, reason="single precision")
_ORDER = Allowance(size=0.05, reason="the next order of dt")
_APART = 10  # states of a run between two that are begun from


class Size(BaseModel):
    """How much is computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_states: int = 8
    n_steps: int = 40_000
    n_samples: int = 40
    dt: tuple[float, ...] = (0.001, 0.002, 0.0025, 0.004, 0.005, 0.01)
    n_scanned: int = 8
    time: float = 50.0
    """Time over which the drift is scanned against dt."""


class Scan(Kept):
    """Short-time fluctuation and drift of the energy at one time step, from one state of a series."""

    series: Series
    state: int
    dt: float
    time: float

    @property
    def cost(self) -> float:
        return self.series.n_particles * self.time / self.dt / 20e6 + 0.3

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``amplitude``, rms about a straight line over one unit of time, and ``drift`` over ``time``."""
        state = self.series.states(root)[self.state]
        every = round(_EVERY / self.dt)
        short = energy_series(state, n_samples=round(1 / _EVERY), every=every, dt=self.dt)
        t = np.arange(len(short))
        left = short - np.polyval(np.polyfit(t, short, 1), t)
        tick(self.cost / 2)
        ends = energy_series(state, n_samples=1, every=round(self.time / self.dt / 20) * 20, dt=self.dt)
        tick(self.cost / 2)
        return {"amplitude": np.sqrt((left**2).mean()), "drift": np.array(ends[-1] - ends[0])}


def comparisons(size: Size, liquids: comparison.Size) -> list[Task]:
    """Return the runs at constant energy."""
    return [*_drifts(size, liquids), *(scan for dt in size.dt for scan in _scans(size, liquids, dt))]


def rows(size: Size, liquids: comparison.Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    kept = [drift.load(root) for drift in _drifts(size, liquids)]
    ours, theirs = (np.array([one[name] for one in kept]) for name in ("ours", "lammps"))
    # the walk is uncorrelated from step to step, so every interval counts
    every = max(size.n_samples // 10, 1)
    walks = [np.diff(energy[:, ::every], axis=1) for energy in (ours, theirs)]
    apart = mean((walks[0] - walks[1]).ravel())
    n_walks, n_steps = walks[0].size, walks[0].shape[1]
    drift = Estimate(value=apart.value * n_steps, error=apart.error * n_steps, df=apart.df)
    ratio = float(np.sqrt((walks[0] ** 2).mean() / (walks[1] ** 2).mean()))
    rms = Estimate(value=ratio, error=ratio / float(np.sqrt(n_walks)), df=n_walks)
    order = _order(size, liquids, root)
    n = f"{len(kept)} states, {size.n_steps} steps of 0.005, N = {liquids.n_particles}, T = 1"
    scanned_n = f"{size.n_scanned} states, dt = {min(size.dt)} to {_LARGEST}"
    none, one = (Reference(value=value, source=_THEIRS) for value in (0.0, 1.0))
    two = Reference(value=2.0, source="doi:10.1063/1.442716")
    return [
        row_of(SUBJECT, "drift per particle, ours minus LAMMPS's", drift, none, _DRIFT, n=n),
        row_of(SUBJECT, "wander of the energy, rms, ratio to LAMMPS's", rms, one, _WANDER, n=n),
        row_of(SUBJECT, "power of dt in the short-time fluctuation of the energy", order, two, _ORDER, n=scanned_n),
    ]


def wander(size: Size, liquids: comparison.Size, root: Path) -> dict[str, np.ndarray]:
    """Return times and the energy less that at the start of every state, ours and LAMMPS's."""
    kept = [drift.load(root) for drift in _drifts(size, liquids)]
    t = 0.005 * (size.n_steps // size.n_samples) * np.arange(size.n_samples + 1)
    return {"t": t} | {name: np.stack([one[name] - one[name][0] for one in kept]) for name in ("ours", "lammps")}


def scanned(size: Size, liquids: comparison.Size, root: Path) -> dict[str, np.ndarray]:
    """Return the time steps, and the fluctuation and drift of every state at each."""
    found: dict[str, list] = {"amplitude": [], "drift": []}
    for dt in size.dt:
        kept = [scan.load(root) for scan in _scans(size, liquids, dt)]
        for name, values in found.items():
            values.append([float(one[name]) for one in kept])
    return {"dt": np.array(size.dt)} | {name: np.array(values) for name, values in found.items()}


def _order(size: Size, liquids: comparison.Size, root: Path) -> Estimate:
    scan = scanned(size, liquids, root)
    small = scan["dt"] <= _LARGEST
    slopes = [np.polyfit(np.log(scan["dt"][small]), np.log(one[small]), 1)[0] for one in scan["amplitude"].T]
    return mean(np.array(slopes))


def _states(liquids: comparison.Size, n: int) -> list[tuple[Series, int]]:
    runs = comparison.series(liquids, "ka2d", 1.0)
    return [(runs[i % len(runs)], _APART * (i // len(runs))) for i in range(n)]


def _drifts(size: Size, liquids: comparison.Size) -> list[Drift]:
    shape = {"n_steps": size.n_steps, "n_samples": size.n_samples}
    return [Drift(series=run, state=state, **shape) for run, state in _states(liquids, size.n_states)]


def _scans(size: Size, liquids: comparison.Size, dt: float) -> list[Scan]:
    return [Scan(series=run, state=i, dt=dt, time=size.time) for run, i in _states(liquids, size.n_scanned)]
