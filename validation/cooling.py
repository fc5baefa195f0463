"""The cooling curve of the two-dimensional mixture: true minima, LAMMPS's minima, and why the published ones stall."""

__all__ = ["SUBJECT", "Size", "comparisons", "figure_data", "rows", "simulations"]

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from validation import sources
from validation.lammps import Minimum
from validation.rows import Allowance, Estimate, Reference, Row, jackknife, mean, peak, row_of
from validation.stall import Stall
from validation.tasks import Cooling, Engine, Series, Task
from vitrify.transition import REFERENCE
from vitrify.views import local_descriptors, pair_correlation

SUBJECT = "Cooling curve, ka2d"
_JUMP = 0.5 * 4 * (2.5**-6 - 2.5**-12)  # what a BB pair adds when it passes its cut-off; AA twice, AB three times it
_SLOW = 1.1  # below it the inherent structures of the liquid go on sinking for hundreds of time units
_BASE = 200_000  # the ramp that the comparisons are made on
_LIQUID = Allowance(size=0.002, reason="1% in the configurations' temperature")
_RAMP = Allowance(size=0.002, reason="another thermostat during the ramp, records between which is interpolated")
_SAME_BASIN = {
    "all temperatures": Allowance(size=0.001, reason="two minimisers, two basins"),
    "T < 0.4": Allowance(size=0.0002, reason="force at which a search ends"),
}
_STALLED_FORCE = Allowance(size=0.75, reason="half the range it was found in")
_WHOLE = Allowance(size=0.01, reason="smooth part of the energy along the line")
_FORCE = Allowance(size=0.002, reason="force at which a search ends")
_PSI6 = Allowance(size=0.1, reason="chance order of thousands of particles; a crystal has 0.5 and more")


class Size(BaseModel):
    """How much is computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine = Engine()
    n_particles: int = 4320
    n_frames: int = 40
    runs: dict[int, int] = {20_000: 4, _BASE: 8, 2_000_000: 2}
    """Runs by steps of the ramp."""
    k_stalled: tuple[int, ...] = (1, 12, 20, 24, 25, 30, 31, 36, 37, 40)
    """Records whose unshifted potential LAMMPS minimises."""
    k_true: tuple[int, ...] = (1, 12, 24, 34, 40)
    """Records whose shifted potential LAMMPS minimises."""
    liquids: tuple[float, ...] = (1.95125, 1.56125, 1.22, 1.025, 0.83)
    """Temperatures at which the liquid is at equilibrium, and the published curve does not depend on its rate."""
    n_liquid: tuple[int, int] = (2, 12)
    """Runs at each of them, and configurations of each run ..."""
    n_slow: tuple[int, int] = (6, 4)
    """... and of those that relax slowly: more runs, and further apart in time."""


def simulations(size: Size) -> list[Task]:
    """Return the coolings."""
    coolings = [cooling for n_steps in size.runs for cooling in _coolings(size, n_steps)]
    return [*coolings, *(series for T in size.liquids for series in _liquids(size, T))]


def comparisons(size: Size) -> list[Task]:
    """Return what LAMMPS is asked."""
    slower = [n_steps for n_steps in size.runs if n_steps >= _BASE]
    true = [true for k in size.k_true for true in _minima(size, _BASE, k, shift=True)]
    stalled = [stalled for n in slower for k in size.k_stalled for stalled in _minima(size, n, k, shift=False)]
    liquid = [stalled for T in size.liquids for stalled in _liquid_minima(size, T)]
    return [*true, *stalled, *liquid, *_paths(size), _stall(size)]


def rows(size: Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    return [*_same_minima(size, root), *_stalled(size, root), *_true(size, root), *_structure(size, root)]


def figure_data(size: Size, root: Path) -> dict[str, Any]:
    """Return what the figure shows: the curves, two searches, and the energy along the line where one stalled."""
    curves = {}
    for n_steps in size.runs:
        T, energy = _curve(size, root, n_steps)
        curves[n_steps] = {"T": T, "mean": energy.mean(axis=0), "error": _standard_error(energy)}
    stalled = {}
    for n_steps in (n for n in size.runs if n >= _BASE):
        T = np.array([_T(size, k) for k in size.k_stalled])
        energy = np.stack([_lammps(_minima(size, n_steps, k, shift=False), root, "unshifted") for k in size.k_stalled])
        stalled[n_steps] = {"T": T, "mean": energy.mean(axis=1), "error": _standard_error(energy.T)}
    liquid = [_liquid_mean(size, root, T) for T in size.liquids]
    liquids = {
        "T": np.array(size.liquids),
        "mean": np.array([one.value for one in liquid]),
        "error": np.array([one.error for one in liquid]),
    }
    true, stopped = (path.load(root) for path in _paths(size))
    return {
        "curves": curves,
        "stalled": stalled,
        "liquids": liquids,
        "true_path": true["path"],
        "stalled_path": stopped["path"],
    } | {"line": _stall(size).load(root)}


def _same_minima(size: Size, root: Path) -> list[Row]:
    found = []
    every = {"all temperatures": size.k_true, "T < 0.4": [k for k in size.k_true if _T(size, k) < 0.4]}
    none = Reference(value=0.0, source="LAMMPS, same configurations")
    for label, wanted in every.items():
        for convention in ("shifted", "unshifted"):
            _, ours = _curve(size, root, _BASE, convention)
            differences = [
                ours[:, k - 1] - _lammps(_minima(size, _BASE, k, shift=True), root, convention) for k in wanted
            ]
            name = f"our minima minus LAMMPS's on the shifted potential, e_IS {convention}, {label}"
            n = f"{size.runs[_BASE]} runs x {len(wanted)} records"
            same = mean(np.mean(differences, axis=0))
            found.append(row_of(SUBJECT, name, same, none, _SAME_BASIN[label], n=n))
    return found


def _stalled(size: Size, root: Path) -> list[Row]:
    """Return the rows of LAMMPS on the unshifted potential: they repeat the published, stalled numbers."""
    published = dict(zip(REFERENCE["published"].T, REFERENCE["published"].energy, strict=True))
    found = []
    for T in size.liquids:
        reference = Reference(value=published[T], error=sources.spread(T).of_mean(10_000), source=sources.STALLED)
        name = f"stalled e_IS unshifted, liquid, T = {T:g}"
        n = f"{len(_liquids(size, T))} runs, {len(_liquid_minima(size, T))} configurations"
        found.append(row_of(SUBJECT, name, _liquid_mean(size, root, T), reference, _LIQUID, n=n))
    records = np.array([_T(size, k) for k in size.k_stalled])
    for n_steps, table in ((n, table) for n, table in sources.PUBLISHED_BY_RATE.items() if n in size.runs):
        values = np.stack([_lammps(_minima(size, n_steps, k, shift=False), root, "unshifted") for k in size.k_stalled])
        for at, reference in table.items():
            there = np.array([np.interp(at, records[::-1], run[::-1]) for run in values.T])
            name = f"stalled e_IS unshifted, t_cool = {n_steps:.0e}, T = {at:.2f}"
            found.append(_ramp(name, there, at, reference))
    left = np.stack([_lammps(_minima(size, _BASE, k, shift=False), root, "max_force") for k in size.k_stalled])
    name, n = "largest force left by a stalled search, mean", f"{left.size} configurations"
    found.append(row_of(SUBJECT, name, mean(left.ravel()), sources.STALLED_FORCE, _STALLED_FORCE, n=n))
    line = _stall(size).load(root)
    jumps = line["unshifted"] - line["shifted"]
    pairs = float(jumps[jumps > 0.9 * _JUMP][0] / _JUMP) if (jumps > 0.9 * _JUMP).any() else 0.0
    name = "first jump of the unshifted energy where a search stalled, over that of a BB pair: whole"
    whole = Reference(value=max(1.0, round(pairs)), source="4 (2.5^-6 - 2.5^-12) epsilon_BB")
    found.append(row_of(SUBJECT, name, Estimate(value=pairs), whole, _WHOLE, n="1 configuration"))
    return found


def _true(size: Size, root: Path) -> list[Row]:
    """Return the rows of our own minima."""
    T, energy = _curve(size, root, _BASE)
    found = []
    for at, reference in sources.TRUE_MINIMA.items():
        values = np.array([np.interp(at, T[::-1], run[::-1]) for run in energy])
        found.append(_ramp(f"true e_IS unshifted, T = {at:.2f}", values, at, reference))
    for n_steps, reference in ((n, final) for n, final in sources.FINAL.items() if n in size.runs):
        values = _curve(size, root, n_steps)[1][:, -1]
        found.append(_ramp(f"true e_IS unshifted, t_cool = {n_steps:.0e}, T = 0.05", values, 0.05, reference))
    left = np.array([run.table(root)["max_force"].max() for n in size.runs for run in _coolings(size, n)])
    name, n = "largest force left by any of our searches", f"{len(left)} runs x {size.n_frames} records"
    none = Reference(value=0.0, source="vitrify.dynamics.Fire")
    found.append(row_of(SUBJECT, name, Estimate(value=float(left.max())), none, _FORCE, n=n))
    return found


def _structure(size: Size, root: Path) -> list[Row]:
    r, g, _ = structure(size, root, sources.KA2D_PEAKS_T)
    _, _, psi6 = structure(size, root, 0.05)
    found = []
    for i, (name, (reference, allowance)) in enumerate(sources.KA2D_PEAKS.items()):
        place = jackknife(lambda g, i=i: peak(r, g[:, i].mean(axis=0)), g)
        label, n = f"highest peak of g_{name}(r), ka2d, T = {sources.KA2D_PEAKS_T:g}", f"{len(g)} configurations"
        found.append(row_of("Structure", label, place, reference, allowance, n=n))
    largest, none = Estimate(value=float(psi6.max())), Reference(value=0.0, source=sources.MEASURED)
    label, n = "largest global |psi6|, ka2d, T = 0.05: no crystal", f"{len(psi6)} configurations"
    return [*found, row_of("Structure", label, largest, none, _PSI6, n=n)]


def structure(
    size: Size, root: Path, T: float
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "r 3 m"], Float[np.ndarray, " r"]]:
    """Return the partial g(r) and the global psi6 of every run, at the record nearest a temperature."""
    k = min(range(1, size.n_frames + 1), key=lambda k: abs(_T(size, k) - T))
    g, psi6 = [], []
    for run in _coolings(size, _BASE):
        glass = run.configuration(root, k)
        r, partial = pair_correlation(glass, n_bins=400)
        g.append(partial)
        names, values = local_descriptors(glass)
        psi6.append(values[names.index("psi6_global")])
    return r, np.array(g), np.array(psi6)


def _ramp(name: str, values: Float[np.ndarray, " r"], T: float, reference: Reference) -> Row:
    """Return the row of an energy on a ramp, one value per run."""
    n = f"{len(values)} configurations"
    return row_of(SUBJECT, name, mean(values, sources.spread(T)), reference, _RAMP, n=n)


def _standard_error(energy: np.ndarray) -> np.ndarray:
    return np.asarray(np.std(energy, axis=0, ddof=1) / np.sqrt(len(energy)))


def _coolings(size: Size, n_steps: int) -> list[Cooling]:
    shape = {"n_particles": size.n_particles, "n_frames": size.n_frames}
    return [Cooling(n_steps=n_steps, run=run, engine=size.engine, **shape) for run in range(size.runs[n_steps])]


def _minima(size: Size, n_steps: int, k: int, *, shift: bool) -> list[Minimum]:
    return [Minimum(source=run, k=k, shift=shift) for run in _coolings(size, n_steps)]


def _liquids(size: Size, T: float) -> list[Series]:
    slow = T < _SLOW
    n_runs, n_samples = size.n_slow if slow else size.n_liquid
    return [
        Series(
            mixture="ka2d",
            n_particles=size.n_particles,
            T=T,
            n_ramp=20_000,
            n_wait=200_000 if slow else 20_000,
            n_samples=n_samples,
            every=20_000 if slow else 2_000,
            keep_every=1,
            run=run,
            engine=size.engine,
        )
        for run in range(n_runs)
    ]


def _liquid_minima(size: Size, T: float) -> list[Minimum]:
    return [Minimum(source=run, k=k, shift=False) for run in _liquids(size, T) for k in range(run.n_samples)]


def _liquid_mean(size: Size, root: Path, T: float) -> Estimate:
    """Return the mean over configurations, or over runs where the configurations of one are alike."""
    runs = _lammps(_liquid_minima(size, T), root, "unshifted").reshape(len(_liquids(size, T)), -1)
    return mean(runs.mean(axis=1), sources.slow_spread(T)) if T < _SLOW else mean(runs.ravel(), sources.spread(T))


def _paths(size: Size) -> list[Minimum]:
    """Return the searches from one hot record, along the shifted and along the unshifted potential."""
    return [Minimum(source=_coolings(size, _BASE)[0], k=1, shift=shift, path=True) for shift in (True, False)]


def _stall(size: Size) -> Stall:
    return Stall(cooling=_coolings(size, _BASE)[0], k=1)


def _T(size: Size, k: int) -> float:  # noqa: N802
    return 2.0 - 1.95 * k / size.n_frames


def _curve(size: Size, root: Path, n_steps: int, convention: str = "unshifted") -> tuple[np.ndarray, np.ndarray]:
    """Return the temperatures and our inherent-structure energy, run by run."""
    tables = [run.table(root) for run in _coolings(size, n_steps)]
    return tables[0]["T"], np.stack([table[f"e_is_{convention}"] for table in tables])


def _lammps(minima: list[Minimum], root: Path, name: str) -> np.ndarray:
    return np.array([float(minimum.load(root)[name]) for minimum in minima])
