r"""One row of the table: a value and a reference, the errors of both, and how far they may differ.

.. math:: |x - x_{ref}| \le s + t_\nu \sqrt{\delta x^2 + \delta x_{ref}^2}

The systematic part :math:`s` is stated with its reason; the rest follows from the two standard errors. One level serves
every row: :math:`t_\nu` is exceeded by chance once in :data:`N_ROWS` / :data:`LEVEL` rows, so that a right engine fails
one of up to :data:`N_ROWS` rows in at most one suite of a hundred (Bonferroni). It is Student's, with the degrees of
freedom of the error (Welch and Satterthwaite for two), and 3.9 where these are many.

References:
    Welch, 1947, doi:10.1093/biomet/34.1-2.28
"""

__all__ = [
    "LEVEL",
    "N_ROWS",
    "Allowance",
    "Estimate",
    "Reference",
    "Row",
    "Spread",
    "blocks",
    "jackknife",
    "mean",
    "peak",
    "row_of",
]

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

LEVEL = 0.01
"""Largest chance that a right engine fails a row, over the whole suite."""
N_ROWS = 100
"""Most rows that a suite may have for that to hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """How far a right engine may be off on average, and why."""

    size: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value with its standard error, ``None`` where nothing is random, and the degrees of freedom of the error."""

    value: float
    error: float | None = None
    df: float = np.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What a value should be, with the standard error of that, and where it comes from."""

    value: float
    error: float = 0.0
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A standard deviation known beforehand, from ``df`` degrees of freedom."""

    sd: float
    df: float

    def of_mean(self, n: int) -> float:
        """Return the standard error of a mean of ``n`` independent values."""
        return float(self.sd / np.sqrt(n))

    def times(self, factor: float) -> "Spread":
        """Return the spread of that multiple of the quantity."""
        return Spread(sd=float(self.sd * factor), df=self.df)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A value held to a reference.

    Args:
        subject: The heading it stands under.
        name: What it is, with the convention of an energy.
        value: As computed here.
        error: Its standard error; ``None`` where it has none.
        df: Degrees of freedom of that error.
        reference: What it should be.
        reference_error: Standard error of the reference.
        systematic: How far a right engine may be off apart from chance.
        reason: Why.
        source: A DOI, or where else the reference comes from.
        n: What the value is an average over, in words.
    """

    subject: str
    name: str
    value: float
    error: float | None
    df: float = np.inf
    reference: float
    reference_error: float = 0.0
    systematic: float
    reason: str
    source: str
    n: str = ""

    @property
    def tolerance(self) -> float:
        """How far the value may be off."""
        ours, theirs = (self.error or 0.0) ** 2, self.reference_error**2
        if ours == 0:
            return self.systematic + quantile(np.inf) * self.reference_error
        return float(self.systematic + quantile(self.df * ((ours + theirs) / ours) ** 2) * np.sqrt(ours + theirs))

    @property
    def passed(self) -> bool:
        """Whether the value is within its tolerance; never where it is not a number."""
        return bool(abs(self.value - self.reference) <= self.tolerance)

    def json(self) -> dict[str, object]:
        """Return the row as it stands in ``validate.json``."""
        df = self.df if np.isfinite(self.df) else None
        return asdict(self) | {"df": df, "tolerance": self.tolerance, "pass": self.passed}


def quantile(df: float) -> float:
    """Return how many standard errors a difference exceeds by chance in one row of ``N_ROWS / LEVEL``.

    Example:
        >>> round(quantile(np.inf), 2), round(quantile(15), 2)
        (3.89, 5.24)
    """
    tail = LEVEL / N_ROWS / 2
    return float(stats.t(df).isf(tail) if np.isfinite(df) else stats.norm.isf(tail))


def row_of(subject: str, name: str, ours: Estimate, reference: Reference, allowance: Allowance, *, n: str = "") -> Row:
    """Return the row of an estimate, a reference and what is allowed apart from chance."""
    return Row(
        subject=subject,
        name=name,
        value=float(ours.value),
        error=None if ours.error is None else float(ours.error),
        df=float(ours.df),
        reference=float(reference.value),
        reference_error=float(reference.error),
        systematic=allowance.size,
        reason=allowance.reason,
        source=reference.source,
        n=n,
    )


def mean(values: Float[np.ndarray, " n"], known: Spread | None = None) -> Estimate:
    """Return the mean of independent values, with an error from their spread and from what is known of it.

    Args:
        values: Two or more, or any number where the spread is known.
        known: The standard deviation of one value, known beforehand; it counts with its degrees of freedom.

    Example:
        >>> mean(np.array([1.0, 3.0]))
        Estimate(value=2.0, error=1.0, df=1)
        >>> mean(np.array([1.0, 3.0]), Spread(sd=1.0, df=9.0)).df
        10.0
    """
    value, n = float(np.mean(values)), len(values)
    squares, df = float(((values - value) ** 2).sum()), n - 1
    if known is not None:
        squares, df = squares + known.df * known.sd**2, df + known.df
    return Estimate(value=value, error=float(np.sqrt(squares / df / n)), df=df)


def blocks(series: Float[np.ndarray, "r t"], n_blocks: int = 8, known: Spread | None = None) -> Estimate:
    """Return the mean of several correlated series, with an error from the means of blocks of each.

    Args:
        series: One row per run.
        n_blocks: Blocks per run; each should be longer than the correlation time.
        known: The standard deviation between blocks, known beforehand.
    """
    return mean(np.array([block.mean() for run in series for block in np.array_split(run, n_blocks)]), known)


def jackknife(statistic: Callable[[np.ndarray], float], samples: Float[np.ndarray, " n *rest"]) -> Estimate:
    """Return a statistic of independent samples, with an error from leaving out one at a time.

    Example:
        >>> jackknife(lambda x: float(x.mean()), np.array([1.0, 3.0]))
        Estimate(value=2.0, error=1.0, df=1)
    """
    n = len(samples)
    without = np.array([statistic(np.delete(samples, i, axis=0)) for i in range(n)])
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return Estimate(value=float(statistic(samples)), error=error, df=n - 1)


def peak(x: Float[np.ndarray, " m"], y: Float[np.ndarray, " m"]) -> float:
    """Return where ``y`` is largest, by a parabola through the five bins around its highest.

    Example:
        >>> x = np.arange(10) / 10
        >>> round(peak(x, 1 - (x - 0.43) ** 2), 6)
        0.43
    """
    near = slice(max(int(y.argmax()) - 2, 0), int(y.argmax()) + 3)
    bend, slope, _ = np.polyfit(x[near], y[near], 2)
    return float(-slope / (2 * bend))
