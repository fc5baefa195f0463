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
from validation.rows import Row, block_error, mean_error, peak, row_of
from validation.tasks import Arrays, Kept, Series, Task
from vitrify import dynamics
from vitrify.parallel import Tick
from vitrify.views import pair_correlation

SUBJECT = "Equilibrium, ka3d"
_SLOW = 0.5  # below this temperature a block must last a thousand time units and more


class Size(BaseModel):
    """How much is computed: ``ka3d`` series by temperature, and how many runs of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    k_lammps: tuple[int, ...] = (0, 4, 8, 12, 16)
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
            **({"dt": size.dt[T]} if T in size.dt else {}),
        )
        for run in range(size.n_runs)
    ]


def rows(size: Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    found = []
    for T, (reference, tolerance) in sources.KA3D_ENERGY.items():
        energy = np.stack([series.load(root)["shifted"] for series in runs(size, T)])
        n_blocks = 2 if _SLOW > T else 8
        value, error = block_error(energy, n_blocks)
        n = f"{len(energy)} runs, {energy.size} samples"
        found.append(_row(f"U/N shifted, T = {T:g}", value, error, reference, tolerance, sources.PRL, n))
        if _SLOW > T:
            first, second = np.array_split(energy, 2, axis=1)
            (before, error_before), (after, error_after) = block_error(first, 2), block_error(second, 2)
            error = float(np.hypot(error_before, error_after))
            name = f"U/N shifted, T = {T:g}: second half minus first"
            found.append(_row(name, after - before, error, 0.0, tolerance, "no ageing", n))
    for T, (reference, tolerance) in sources.KA3D_MINIMA.items():
        energy = np.stack([minima.load(root)["shifted"] for minima in _minima(size, T)])
        value, error = block_error(energy, 4)
        n = f"{energy.size} configurations"
        found.append(_row(f"e_IS shifted, T = {T:g}", value, error, reference, tolerance, sources.MEASURED, n))
        ours = energy[:, list(size.k_lammps)].ravel()
        theirs = np.array([float(minimum.load(root)["shifted"]) for minimum in _lammps(size, T)])
        value, error = mean_error(ours - theirs)
        name = f"our minima minus LAMMPS's, e_IS shifted, T = {T:g}"
        found.append(_row(name, value, error, 0.0, 0.015, "LAMMPS, same configurations", f"{len(ours)} configurations"))
    r, g = partial_g(size, root, min(size.steps))
    for name, partial in zip(("AA", "AB"), g, strict=False):
        reference, tolerance = sources.KA3D_PEAKS[name]
        label = f"highest peak of g_{name}(r), ka3d, T = {min(size.steps):g}"
        bin_ = float(r[1] - r[0])
        found.append(
            _row(label, peak(r, partial), bin_ / 2, reference, tolerance, sources.MEASURED, "", subject="Structure")
        )
    return found


def partial_g(size: Size, root: Path, T: float) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "3 m"]]:
    """Return distances and the partial g(r), averaged over the states kept at one temperature."""
    found = []
    for series in runs(size, T):
        for state in series.states(root):
            seen = dynamics.configuration(state)
            r, g = pair_correlation(seen, r_max=min(4.0, 0.49 * state.edge), n_bins=400)
            found.append(g)
    return r, np.mean(found, axis=0)


def energy_in_time(size: Size, root: Path, T: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times since the first sample and the shifted energy per particle, run by run."""
    energy = np.stack([series.load(root)["shifted"] for series in runs(size, T)])
    return 0.005 * size.steps[T][3] * np.arange(energy.shape[1]), energy


def _minima(size: Size, T: float) -> list[Minima]:
    return [Minima(series=series) for series in runs(size, T)]


def _lammps(size: Size, T: float) -> list[Minimum]:
    return [Minimum(source=series, k=k, shift=True) for series in runs(size, T) for k in size.k_lammps]


def _row(
    name: str,
    value: float,
    error: float,
    reference: float,
    tolerance: float,
    source: str,
    n: str,
    *,
    subject: str = SUBJECT,
) -> Row:
    return row_of(subject, name, (value, error), (reference, tolerance), source, n)
