"""The canonical ensemble: velocities, kinetic energy, and the temperature that the configurations alone tell.

Under the thermostat twice the kinetic energy over T is chi-squared distributed with d(N - 1) degrees of freedom, and a
velocity component is normal with variance T (1 - 1/N). Both are tested by Kolmogorov and Smirnov: the largest distance
from the distribution against the one that is exceeded by chance as rarely as any other row fails.

The configurational temperature exceeds the bath's by a part of the time step squared, which the Hessian of the same
configurations gives (:mod:`validation.states`); what is left must be none.
"""

__all__ = ["SUBJECT", "Size", "comparisons", "kinetic", "rows", "series", "simulations"]

from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from scipy import stats

from validation import comparison
from validation.rows import LEVEL, N_ROWS, Allowance, Estimate, Reference, Row, blocks, jackknife, row_of
from validation.states import heating, mixture_of
from validation.tasks import Engine, Series, Task

SUBJECT = "Canonical ensemble"
_BUSSI = "doi:10.1063/1.2408420"
_JEPPS = Reference(value=1.0, source="doi:10.1103/PhysRevE.62.4757")
_N_BLOCKS = 8  # of a run
_N_MEANS = 50  # blocks of the kinetic temperature, whose samples are not quite independent
_KINETIC = Allowance(size=5e-4, reason="velocities in single precision, read a step after the thermostat")
_CONFIGURATIONAL = Allowance(size=0.001, reason="width of the shell at the cut-off, next order of dt")
_COARSE = Allowance(size=0.004, reason="next order of dt")


class Size(BaseModel):
    """How much is computed: samples far enough apart to be independent, velocities from every tenth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine = Engine()
    n_particles: int = 400
    n_samples: int = 2000
    every: int = 800
    T: float = 1.0
    coarse: tuple[tuple[str, float, float], ...] = (("ka2d", 2.0, 0.01),)
    """Mixture, temperature and time step where the part that the step adds is seen best."""


def series(size: Size) -> Series:
    """Return the series that the distributions are sampled in."""
    return Series(
        mixture="ka2d",
        n_particles=size.n_particles,
        T=size.T,
        n_ramp=4_000,
        n_wait=4_000,
        n_samples=size.n_samples,
        every=size.every,
        keep_every=10,
        run=0,
        engine=size.engine,
    )


def simulations(size: Size, liquids: comparison.Size) -> list[Task]:
    """Return the series."""
    return [series(size), *(run for liquid in size.coarse for run in comparison.series(liquids, *liquid))]


def comparisons(size: Size, liquids: comparison.Size) -> list[Task]:
    """Return what is read off the configurations of the liquids."""
    everything = [run for liquid in (*liquids.liquids, *size.coarse) for run in comparison.series(liquids, *liquid)]
    return [comparison.Configurational(series=run) for run in everything]


def rows(size: Size, liquids: comparison.Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    seen = kinetic(size, root)
    where = f"ka2d, N = {size.n_particles}, T = {size.T:g}"
    free = 2 * (size.n_particles - 1)
    found = [
        _ks(f"kinetic energy against chi-squared, {where}", seen["chi2"], stats.chi2(free).cdf),
        _ks(f"velocities against Maxwell-Boltzmann, {where}", seen["velocity"], stats.norm.cdf),
    ]
    temperature = blocks(seen["chi2"][None] / free, min(_N_MEANS, len(seen["chi2"])))
    name, n = f"mean kinetic temperature over the bath's, {where}", f"{len(seen['chi2'])} samples"
    found.append(row_of(SUBJECT, name, temperature, Reference(value=1.0, source=_BUSSI), _KINETIC, n=n))
    fine = [configurational(liquids, mixture, T, root) for mixture, T in liquids.liquids]
    coarse = [configurational(liquids, mixture, T, root, dt=dt, allowance=_COARSE) for mixture, T, dt in size.coarse]
    return [*found, *fine, *coarse]


def configurational(
    liquids: comparison.Size,
    mixture: str,
    T: float,
    root: Path,
    *,
    dt: float = 0.005,
    allowance: Allowance = _CONFIGURATIONAL,
) -> Row:
    """Return the row of the configurational temperature of one liquid, less what the time step adds."""
    runs = comparison.series(liquids, mixture, T, dt)
    kept = [comparison.Configurational(series=run).load(root) for run in runs]
    parts = [np.stack([one[name] for name in ("squared", "trace", "squared_trace")], axis=1) for one in kept]
    means = np.array([block.mean(axis=0) for one in parts for block in np.array_split(one, _N_BLOCKS)])
    free = mixture_of(mixture).dimension * (liquids.n_particles - 1)

    def ratio(means: np.ndarray) -> float:
        squared, trace, squared_trace = means.mean(axis=0)
        return float(squared / trace / T / (1 + heating(trace, squared_trace, free=free, dt=dt)))

    _, trace, squared_trace = means.mean(axis=0)
    added = heating(trace, squared_trace, free=free, dt=dt)
    n = f"{sum(len(one) for one in parts)} configurations; the step adds {added:.4f}"
    name = f"configurational temperature over the bath's, less the time step's part, {mixture}, T = {T:g}, dt = {dt:g}"
    return row_of(SUBJECT, name, jackknife(ratio, means), _JEPPS, allowance, n=n)


def kinetic(size: Size, root: Path) -> dict[str, Float[np.ndarray, " s"]]:
    """Return twice the kinetic energy over T of every sample, and velocity components in units of their spread."""
    kept = series(size).load(root)
    free = 2 * (size.n_particles - 1)
    spread = np.sqrt(size.T * (1 - 1 / size.n_particles))
    return {"chi2": kept["T_kinetic"] / size.T * free, "velocity": kept["velocities"].astype(float).ravel() / spread}


def _ks(name: str, sample: Float[np.ndarray, " s"], cdf: object) -> Row:
    test = stats.kstest(sample, cdf)
    largest = float(stats.kstwo(len(sample)).isf(LEVEL / N_ROWS))
    return row_of(
        SUBJECT,
        f"{name}: Kolmogorov-Smirnov distance",
        Estimate(value=float(test.statistic)),
        Reference(value=0.0, source=_BUSSI),
        Allowance(size=largest, reason="largest by chance"),
        n=f"{len(sample)} values, p = {test.pvalue:.2g}",
    )
