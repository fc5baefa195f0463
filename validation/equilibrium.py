"""Energies, inherent structures and pair correlations of the three-dimensional liquid, down to slow relaxation.

At T = 0.45 the structure relaxes over 2 to 3 thousand time units. The liquid is cooled there from T = 2 over 1,000,
left alone for 2,000, and averaged over 4,000; that it no longer ages is checked by its own two halves.

A thermostat holds the temperature of the velocities at whole steps. Velocity Verlet then samples positions a little
hotter, by a part that grows as dt squared and with the stiffness of the contacts. At T = 2 it raises the energy by as
much as the tolerance, so there the published number, made with a shorter step, is compared at a shorter step too.
"""

__all__ = ["SUBJECT", "Size", "partial_g", "rows", "runs", "simulations"]

from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from validation import sources
from validation.lammps import Minimum
from validation.rows import Allowance, Reference, Row, blocks, jackknife, mean, peak, row_of
from validation.tasks import Arrays, Engine, Kept, Series, Task
from vitrify import dynamics
from vitrify.parallel import Tick
from vitrify.views import pair_correlation

SUBJECT = "Equilibrium, ka3d"
_SLOW = 0.5  # below this temperature a block must last a thousand time units and more
_AGEING = Allowance(size=0.005, reason="what is left of it")
_SAME_BASIN = {
    1.0: Allowance(size=0.002, reason="two minimisers, two basins"),
    0.6: Allowance(size=0.001, reason="two minimisers, two basins"),
}
_PEAK = Allowance(size=0.015, reason="half the range they were found in")


class Size(BaseModel):
    """How much is computed: ``ka3d`` series by temperature, and how many runs of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine = Engine()
    n_particles: int = 1000
    n_runs: int = 2
    steps: dict[float, tuple[int, int, int, int]] = {
        2.0: (0, 10_000, 800, 240),
        1.0: (10_000, 10_000, 400, 100),
        0.6: (50_000, 50_000, 500, 200),
        0.45: (200_000, 400_000, 1600, 500),
    }
    """By temperature: steps of the ramp from T = 2, steps waited, samples, and steps between samples."""
    dt: dict[float, float] = {2.0: 0.002}
    """Time step by temperature, where it is not the usual one."""
    k_lammps: tuple[int, ...] = tuple(range(0, 20, 2))
    """Numbers of the kept states that LAMMPS minimises too."""


class Minima(Kept):
    """Inherent structures of the states that a series kept."""

    series: Series

    @property
    def cost(self) -> float:
        return 6.0

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``shifted`` and ``max_force`` of every minimum."""
        found = []
        for state in self.series.states(root):
            minimum = dynamics.minimise(state, dynamics.Fire())
            found.append((minimum.energies.shifted, minimum.max_force))
            tick(0.0)
        tick(self.cost)
        shifted, max_force = np.array(found).T
        return {"shifted": shifted, "max_force": max_force}


def simulations(size: Size) -> list[Task]:
    """Return the series, coldest first."""
    return [series for T in sorted(size.steps) for series in runs(size, T)]


def comparisons(size: Size) -> list[Task]:
    """Return the minimisations."""
    temperatures = [T for T in sources.KA3D_MINIMA if T in size.steps]
    ours = [minima for T in temperatures for minima in _minima(size, T)]
    return [*ours, *(minimum for T in temperatures for minimum in _lammps(size, T))]


def runs(size: Size, T: float) -> list[Series]:
    """Return the series at one temperature."""
    n_ramp, n_wait, n_samples, every = size.steps[T]
    return [
        Series(
            mixture="ka3d",
            n_particles=size.n_particles,
            T=T,
            n_ramp=n_ramp,
            n_wait=n_wait,
            n_samples=n_samples,
            every=every,
            keep_every=max(n_samples // 20, 1),
            run=run,
            engine=size.engine,
            **({"dt": size.dt[T]} if T in size.dt else {}),
        )
        for run in range(size.n_runs)
    ]


def rows(size: Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    found = []
    for T, (reference, allowance) in sources.KA3D_ENERGY.items():
        if T not in size.steps:
            continue
        energy, slow = np.stack([series.load(root)["shifted"] for series in runs(size, T)]), T < _SLOW
        n = f"{len(energy)} runs, {energy.size} samples"
        known = sources.KA3D_SLOW_BLOCK if slow else None
        average = blocks(energy, 2 if slow else 16, known)
        found.append(row_of(SUBJECT, f"U/N shifted, T = {T:g}", average, reference, allowance, n=n))
        if slow:
            halves = np.array([[half.mean() for half in np.array_split(run, 2)] for run in energy])
            later = mean(halves[:, 1] - halves[:, 0], sources.KA3D_SLOW_BLOCK.times(np.sqrt(2)))
            name, none = f"U/N shifted, T = {T:g}: second half minus first", Reference(value=0.0, source="no ageing")
            found.append(row_of(SUBJECT, name, later, none, _AGEING, n=n))
    for T, (reference, allowance) in sources.KA3D_MINIMA.items():
        if T not in size.steps:
            continue
        energy = np.stack([minima.load(root)["shifted"] for minima in _minima(size, T)])
        n = f"{energy.size} configurations"
        found.append(row_of(SUBJECT, f"e_IS shifted, T = {T:g}", blocks(energy, 5), reference, allowance, n=n))
        ours = energy[:, list(size.k_lammps)].ravel()
        theirs = np.array([float(minimum.load(root)["shifted"]) for minimum in _lammps(size, T)])
        same, name = mean(ours - theirs), f"our minima minus LAMMPS's, e_IS shifted, T = {T:g}"
        none = Reference(value=0.0, source="LAMMPS, same configurations")
        found.append(row_of(SUBJECT, name, same, none, _SAME_BASIN[T], n=f"{len(ours)} configurations"))
    return [*found, *_peaks(size, root)]


def _peaks(size: Size, root: Path) -> list[Row]:
    T = sources.KA3D_PEAKS_T
    if T not in size.steps:
        return []
    r, g = _every_g(size, root, T)
    blocks_of_g = np.array([block.mean(axis=0) for block in np.array_split(g, min(10, len(g)))])
    found = []
    for i, (name, reference) in enumerate(sources.KA3D_PEAKS.items()):
        place = jackknife(lambda g, i=i: peak(r, g[:, i].mean(axis=0)), blocks_of_g)
        label, n = f"highest peak of g_{name}(r), ka3d, T = {T:g}", f"{len(g)} configurations"
        found.append(row_of("Structure", label, place, reference, _PEAK, n=n))
    return found


def partial_g(size: Size, root: Path, T: float) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "3 m"]]:
    """Return distances and the partial g(r), averaged over the states kept at one temperature."""
    r, g = _every_g(size, root, T)
    return r, g.mean(axis=0)


def _every_g(size: Size, root: Path, T: float) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "s 3 m"]]:
    found = []
    for series in runs(size, T):
        for state in series.states(root):
            seen = dynamics.configuration(state)
            r, g = pair_correlation(seen, r_max=min(4.0, 0.49 * state.edge), n_bins=400)
            found.append(g)
    return r, np.array(found)


def energy_in_time(size: Size, root: Path, T: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times since the first sample and the shifted energy per particle, run by run."""
    energy = np.stack([series.load(root)["shifted"] for series in runs(size, T)])
    return 0.005 * size.steps[T][3] * np.arange(energy.shape[1]), energy


def _minima(size: Size, T: float) -> list[Minima]:
    return [Minima(series=series) for series in runs(size, T)]


def _lammps(size: Size, T: float) -> list[Minimum]:
    return [Minimum(source=series, k=k, shift=True) for series in runs(size, T) for k in size.k_lammps]
