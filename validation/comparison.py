"""Ours beside LAMMPS, from the same states: energies, forces, means, pressure, displacement.

It also holds the series of liquids that the checks of conservation and of the canonical ensemble begin from.
"""

__all__ = ["LIQUIDS", "SUBJECT", "Configurational", "Size", "comparisons", "rows", "series", "simulations", "travelled"]

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from validation.lammps import Averages, Snapshot, Travel
from validation.rows import Row, block_error, mean_error
from validation.states import curvature, mixture_of, virial
from validation.tasks import Arrays, Kept, Series, Task
from vitrify import dynamics
from vitrify.parallel import Tick

SUBJECT = "Beside LAMMPS"
LIQUIDS = (("ka2d", 2.0), ("ka2d", 1.0), ("ka2d", 0.5), ("ka3d", 1.0))
_THEIRS = "LAMMPS, same states"


class Size(BaseModel):
    """How much is computed: runs, and per mixture the samples, steps between them, and steps before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_particles: int = 1000
    n_runs: int = 4
    samples: dict[str, tuple[int, int]] = {"ka2d": (1000, 100), "ka3d": (400, 100)}
    n_before: tuple[int, int] = (20_000, 40_000)
    n_travel: tuple[int, int] = (2_000, 200)
    """Steps, and steps between samples, of the displacement."""


class Configurational(Kept):
    """What the configurations that a series kept tell: virial, squared force and Laplacian."""

    series: Series

    @property
    def cost(self) -> float:
        return 6.0 if self.series.mixture == "ka3d" else 2.0

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``pressure``, ``squared`` and ``laplacian`` of every state kept."""
        states, found, mixture = self.series.states(root), [], mixture_of(self.series.mixture)
        for state in states:
            seen = dynamics.configuration(state)
            n = len(state.positions)
            ideal = (1 - 1 / n) * self.series.T * seen.density  # the kinetic part at the bath's temperature
            found.append((ideal + virial(seen, mixture), *curvature(seen, mixture)))
            tick(self.cost / len(states))
        return dict(zip(("pressure", "squared", "laplacian"), np.array(found).T, strict=True))


def series(size: Size, mixture: str, T: float) -> list[Series]:
    """Return the runs of one liquid."""
    n_samples, every = size.samples[mixture]
    n_ramp, n_wait = size.n_before
    return [
        Series(
            mixture=mixture,
            n_particles=size.n_particles,
            T=T,
            n_ramp=n_ramp if T < 2 else 0,
            n_wait=n_wait if T < 1 else n_wait // 4 // 500 * 500,
            n_samples=n_samples,
            every=every,
            keep_every=max(n_samples // 50, 1),
            run=run,
        )
        for run in range(size.n_runs)
    ]


def simulations(size: Size) -> list[Task]:
    """Return the series."""
    return [run for liquid in LIQUIDS for run in series(size, *liquid)]


def comparisons(size: Size) -> list[Task]:
    """Return what LAMMPS is asked."""
    everything = [run for liquid in LIQUIDS for run in series(size, *liquid)]
    averages = [Averages(series=run) for run in everything]
    both = [task(series=run) for run in everything for task in (Snapshot, Configurational)]
    return [*averages, *both, *_travels(size)]


def rows(size: Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    found = []
    for mixture, T in LIQUIDS:
        liquid = f"{mixture}, T = {T:g}"
        runs = series(size, mixture, T)
        found += _snapshots(liquid, [Snapshot(series=run).load(root) for run in runs])
        ours = np.stack([run.load(root)["shifted"] for run in runs])
        theirs = [Averages(series=run).load(root) for run in runs]
        found.append(_difference(f"mean U/N shifted, {liquid}", ours, np.stack([t["shifted"] for t in theirs]), 0.006))
        pressure = np.stack([Configurational(series=run).load(root)["pressure"] for run in runs])
        theirs_pressure = np.stack([t["pressure"] for t in theirs])
        found.append(_difference(f"pressure, {liquid}", pressure, theirs_pressure, 0.1))
    moved = travelled(size, root)
    (ours_moved, error), (theirs_moved, their_error) = (mean_error(moved[name][:, -1]) for name in ("ours", "lammps"))
    ratio = ours_moved / theirs_moved
    time = 0.005 * size.n_travel[0]
    found.append(
        Row(
            subject=SUBJECT,
            name=f"mean squared displacement at t = {time:g}, constant energy, ka2d, T = 1, ratio to LAMMPS",
            value=ratio,
            error=ratio * float(np.hypot(error / ours_moved, their_error / theirs_moved)),
            reference=1.0,
            tolerance=0.05,
            source=_THEIRS,
            n=f"{len(moved['ours'])} states",
        )
    )
    return found


def travelled(size: Size, root: Path) -> dict[str, np.ndarray]:
    """Return times and the mean squared displacement of each state, ours and LAMMPS's."""
    kept = [travel.load(root) for travel in _travels(size)]
    t = 0.005 * np.arange(0, size.n_travel[0] + 1, size.n_travel[1])
    return {"t": t} | {name: np.stack([one[name] for one in kept]) for name in ("ours", "lammps")}


def _travels(size: Size) -> list[Travel]:
    n_steps, every = size.n_travel
    n_states = -(-size.samples["ka2d"][0] // max(size.samples["ka2d"][0] // 50, 1))
    chosen = range(0, n_states, max(n_states // 12, 1))
    return [
        Travel(series=run, state=state, n_steps=n_steps, every=every)
        for run in series(size, "ka2d", 1.0)
        for state in chosen
    ]


def _snapshots(liquid: str, kept: list[dict[str, np.ndarray]]) -> list[Row]:
    energy = max(abs(float(one["ours"] / one["lammps"]) - 1) for one in kept)
    force = max(float(one["force_error"]) for one in kept)
    return [
        Row(
            subject=SUBJECT,
            name=f"{name}, {liquid}, largest relative difference",
            value=value,
            error=None,
            reference=0.0,
            tolerance=tolerance,
            source=_THEIRS,
            n=f"{len(kept)} states",
        )
        for name, value, tolerance in (("U/N shifted", energy, 1e-6), ("force on a particle", force, 1e-4))
    ]


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> Row:
    (mean, error), (their_mean, their_error) = block_error(ours), block_error(theirs)
    return Row(
        subject=SUBJECT,
        name=name,
        value=float(mean),
        error=float(np.hypot(error, their_error)),
        reference=float(their_mean),
        tolerance=tolerance,
        source=_THEIRS,
        n=f"{len(ours)} runs, {ours.size} and {theirs.size} samples",
    )
