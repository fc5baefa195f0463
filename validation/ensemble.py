"""The canonical ensemble: velocities, kinetic energy, and the temperature that the configurations alone tell.

Under the thermostat twice the kinetic energy over T is chi-squared distributed with d(N - 1) degrees of freedom, and a
velocity component is normal with variance T (1 - 1/N). Both are tested by Kolmogorov and Smirnov: the largest distance
from the distribution against the one that one sample in a thousand exceeds by chance.
"""

__all__ = ["SUBJECT", "Size", "kinetic", "rows", "series", "simulations"]

from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from scipy import stats

from validation import comparison
from validation.rows import Row
from validation.tasks import Series, Task

SUBJECT = "Canonical ensemble"
_LEVEL = 1e-3
_BUSSI = "doi:10.1063/1.2408420"
_JEPPS = "doi:10.1103/PhysRevE.62.4757"


class Size(BaseModel):
    """How much is computed: samples far enough apart to be independent, velocities from every tenth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_particles: int = 400
    n_samples: int = 2000
    every: int = 400
    T: float = 1.0


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
    )


def simulations(size: Size) -> list[Task]:
    """Return the series."""
    return [series(size)]


def rows(size: Size, liquids: comparison.Size, root: Path) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    seen = kinetic(size, root)
    where = f"ka2d, N = {size.n_particles}, T = {size.T:g}"
    free = 2 * (size.n_particles - 1)
    found = [
        _ks(f"kinetic energy against chi-squared, {where}", seen["chi2"], stats.chi2(free).cdf),
        _ks(f"velocities against Maxwell-Boltzmann, {where}", seen["velocity"], stats.norm.cdf),
    ]
    found.append(
        Row(
            subject=SUBJECT,
            name=f"mean kinetic temperature, {where}",
            value=float(seen["chi2"].mean() / free * size.T),
            error=float(seen["chi2"].std() / free * size.T / np.sqrt(len(seen["chi2"]))),
            reference=size.T,
            tolerance=0.005 * size.T,
            source=_BUSSI,
            n=f"{len(seen['chi2'])} samples",
        )
    )
    for mixture, T in comparison.LIQUIDS:
        kept = [comparison.Configurational(series=run).load(root) for run in comparison.series(liquids, mixture, T)]
        parts = np.concatenate([np.stack([one["squared"], one["laplacian"]], axis=1) for one in kept])
        value, error = _ratio(parts)
        found.append(
            Row(
                subject=SUBJECT,
                name=f"configurational temperature over the bath's, {mixture}, T = {T:g}",
                value=value / T,
                error=error / T,
                reference=1.0,
                tolerance=0.015,
                source=_JEPPS,
                n=f"{len(parts)} configurations",
            )
        )
    return found


def kinetic(size: Size, root: Path) -> dict[str, Float[np.ndarray, " s"]]:
    """Return twice the kinetic energy over T of every sample, and velocity components in units of their spread."""
    kept = series(size).load(root)
    free = 2 * (size.n_particles - 1)
    spread = np.sqrt(size.T * (1 - 1 / size.n_particles))
    return {"chi2": kept["T_kinetic"] / size.T * free, "velocity": kept["velocities"].astype(float).ravel() / spread}


def _ks(name: str, sample: Float[np.ndarray, " s"], cdf: object) -> Row:
    test = stats.kstest(sample, cdf)
    return Row(
        subject=SUBJECT,
        name=f"{name}: Kolmogorov-Smirnov distance",
        value=float(test.statistic),
        error=None,
        reference=0.0,
        tolerance=float(stats.kstwo(len(sample)).isf(_LEVEL)),
        source=_BUSSI,
        n=f"{len(sample)} values, p = {test.pvalue:.2g}",
    )


def _ratio(parts: Float[np.ndarray, "s 2"]) -> tuple[float, float]:
    """Return the ratio of the means of two columns and its standard error, leaving one row out at a time."""
    total, n = parts.sum(axis=0), len(parts)
    without = (total[0] - parts[:, 0]) / (total[1] - parts[:, 1])
    return float(total[0] / total[1]), float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
