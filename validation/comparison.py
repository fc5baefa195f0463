"""Ours beside LAMMPS, from the same states: energies, forces, means, pressure, displacement.

It also holds the series of liquids that the checks of conservation and of the canonical ensemble begin from.
"""

__all__ = ["LIQUIDS", "SUBJECT", "Configurational", "Size", "comparisons", "rows", "series", "simulations", "travelled"]

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from validation.lammps import Averages, Snapshot, Travel
from validation.rows import Allowance, Estimate, Reference, Row, jackknife, mean, row_of
from validation.states import curvature, mixture_of, virial
from validation.tasks import Arrays, Engine, Kept, Series, Task
from vitrify import dynamics
from vitrify.parallel import Tick

SUBJECT = "Beside LAMMPS"
LIQUIDS = (("ka2d", 2.0), ("ka2d", 1.0), ("ka2d", 0.5), ("ka3d", 1.0))
_THEIRS = Reference(value=0.0, source="LAMMPS, same states")
_N_BLOCKS = {0.5: 4}  # of a run, 8 where it is not here: each must outlast the structure
_SAME_ENERGY = Allowance(size=1e-6, reason="positions in 32 bits")
_SAME_FORCE = Allowance(size=1e-4, reason="forces in single precision")
_MEAN = Allowance(size=0.001, reason="another thermostat, the same finite time step")
_PRESSURE = Allowance(size=0.02, reason="another thermostat, the same finite time step")
_TRAVEL = Allowance(size=0.01, reason="single precision")


class Size(BaseModel):
    """How much is computed: runs, and per mixture the samples, steps between them, and steps before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine = Engine()
    liquids: tuple[tuple[str, float], ...] = LIQUIDS
    n_particles: int = 1000
    n_runs: int = 4
    samples: dict[str, tuple[int, int]] = {"ka2d": (1000, 100), "ka3d": (400, 100)}
    n_before: tuple[int, int] = (20_000, 40_000)
    n_kept: int = 200
    """States that each run keeps."""
    n_travel: tuple[int, int] = (2_000, 200)
    """Steps, and steps between samples, of the displacement."""
    n_travelled: int = 25
    """States of each run whose displacement is followed."""


class Configurational(Kept):
    """What the configurations that a series kept tell: virial, squared force, and traces of the Hessian.

    They are read with the mixture as it should be, whatever the engine was handed.
    """

    series: Series

    @property
    def cost(self) -> float:
        return 20.0 if self.series.mixture == "ka3d" else 6.0

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``pressure``, ``squared``, ``trace`` and ``squared_trace`` of every state kept."""
        states, found, mixture = self.series.states(root), [], mixture_of(self.series.mixture)
        for state in states:
            seen = dynamics.configuration(state)
            n = len(state.positions)
            ideal = (1 - 1 / n) * self.series.T * seen.density  # the kinetic part at the bath's temperature
            found.append((ideal + virial(seen, mixture), *curvature(seen, mixture)))
            tick(self.cost / len(states))
        return dict(zip(("pressure", "squared", "trace", "squared_trace"), np.array(found).T, strict=True))


def series(size: Size, mixture: str, T: float, dt: float = 0.005) -> list[Series]:
    """Return the runs of one liquid at one time step."""
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
            keep_every=max(n_samples // size.n_kept, 1),
            run=run,
            dt=dt,
            engine=size.engine,
        )
        for run in range(size.n_runs)
    ]


def simulations(size: Size) -> list[Task]:
    """Return the series."""
    return [run for liquid in size.liquids for run in series(size, *liquid)]


def comparisons(size: Size) -> list[Task]:
    """Return what LAMMPS is asked."""
    everything = [run for liquid in size.liquids for run in series(size, *liquid)]
    averages = [Averages(series=run) for run in everything]
    both = [task(series=run) for run in everything for task in (Snapshot, Configurational)]
    return [*averages, *both, *_travels(size)]


def rows(size: Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    found = []
    for mixture, T in size.liquids:
        liquid = f"{mixture}, T = {T:g}"
        runs = series(size, mixture, T)
        found += _snapshots(liquid, [Snapshot(series=run).load(root) for run in runs])
        theirs = [Averages(series=run).load(root) for run in runs]
        for name, ours, quantity, allowance in (
            ("mean U/N shifted", [run.load(root)["shifted"] for run in runs], "shifted", _MEAN),
            ("pressure", [Configurational(series=run).load(root)["pressure"] for run in runs], "pressure", _PRESSURE),
        ):
            n_blocks, other = _N_BLOCKS.get(T, 8), np.stack([one[quantity] for one in theirs])
            found.append(
                _difference(f"{name}, {liquid}: ours minus LAMMPS's", np.stack(ours), other, n_blocks, allowance)
            )
    moved = travelled(size, root)
    if not moved:
        return found
    last = np.stack([moved[name][:, -1] for name in ("ours", "lammps")], axis=1)
    name = (
        f"mean squared displacement at t = {0.005 * size.n_travel[0]:g}, constant energy, ka2d, T = 1, ratio to LAMMPS"
    )
    ratio = jackknife(lambda pairs: float(pairs[:, 0].sum() / pairs[:, 1].sum()), last)
    one = Reference(value=1.0, source=_THEIRS.source)
    return [*found, row_of(SUBJECT, name, ratio, one, _TRAVEL, n=f"{len(last)} states")]


def travelled(size: Size, root: Path) -> dict[str, np.ndarray]:
    """Return times and the mean squared displacement of each state, ours and LAMMPS's; nothing without that liquid."""
    kept = [travel.load(root) for travel in _travels(size)]
    if not kept:
        return {}
    t = 0.005 * np.arange(0, size.n_travel[0] + 1, size.n_travel[1])
    return {"t": t} | {name: np.stack([one[name] for one in kept]) for name in ("ours", "lammps")}


def _travels(size: Size) -> list[Travel]:
    n_steps, every = size.n_travel
    if ("ka2d", 1.0) not in size.liquids:
        return []
    n_samples, runs = size.samples["ka2d"][0], series(size, "ka2d", 1.0)
    n_states = len(range(0, n_samples, runs[0].keep_every))
    return [
        Travel(series=run, state=state, n_steps=n_steps, every=every)
        for run in runs
        for state in range(0, n_states, max(n_states // size.n_travelled, 1))
    ]


def _snapshots(liquid: str, kept: list[dict[str, np.ndarray]]) -> list[Row]:
    energy = max(abs(float(one["ours"] / one["lammps"]) - 1) for one in kept)
    force = max(float(one["force_error"]) for one in kept)
    n = f"{len(kept)} states"
    return [
        row_of(SUBJECT, f"{name}, {liquid}, largest relative difference", Estimate(value=value), _THEIRS, allowed, n=n)
        for name, value, allowed in (
            ("U/N shifted", energy, _SAME_ENERGY),
            ("force on a particle", force, _SAME_FORCE),
        )
    ]


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray, n_blocks: int, allowance: Allowance) -> Row:
    """Return the row of a difference of means; both series of a run begin from one state, so blocks are paired."""
    found = [
        a.mean() - b.mean()
        for run, other in zip(ours, theirs, strict=True)
        for a, b in zip(np.array_split(run, n_blocks), np.array_split(other, n_blocks), strict=True)
    ]
    n = f"{len(ours)} runs, {ours.size} and {theirs.size} samples, {len(found)} pairs of blocks"
    return row_of(SUBJECT, name, mean(np.array(found)), _THEIRS, allowance, n=n)
