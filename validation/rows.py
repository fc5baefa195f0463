"""One row of the table: a value with its standard error beside a reference with its tolerance and source."""

__all__ = ["Row", "block_error", "mean_error", "peak", "row_of"]

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A value held to a reference.

    Args:
        subject: The heading it stands under.
        name: What it is, with the convention of an energy.
        value: As computed here.
        error: Its standard error; ``None`` where it has none.
        reference: What it should be.
        tolerance: How far it may be off.
        source: A DOI, or where else the reference comes from.
        n: What the value is an average over, in words.
    """

    subject: str
    name: str
    value: float
    error: float | None
    reference: float
    tolerance: float
    source: str
    n: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within its tolerance; never where it is not a number."""
        return bool(abs(self.value - self.reference) <= self.tolerance)

    def json(self) -> dict[str, object]:
        """Return the row as it stands in ``validate.json``."""
        return asdict(self) | {"pass": self.passed}


def row_of(
    subject: str,
    name: str,
    value: tuple[float, float | None],
    reference: tuple[float, float],
    source: str,
    n: str = "",
) -> Row:
    """Return the row of a value with its error, and a reference with its tolerance."""
    error = None if value[1] is None else float(value[1])
    return Row(
        subject=subject,
        name=name,
        value=float(value[0]),
        error=error,
        reference=reference[0],
        tolerance=reference[1],
        source=source,
        n=n,
    )


def mean_error(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the mean of independent values and its standard error.

    Example:
        >>> mean_error(np.array([1.0, 3.0]))
        (2.0, 1.0)
    """
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def block_error(series: Float[np.ndarray, "r t"], n_blocks: int = 8) -> tuple[float, float]:
    """Return the mean of several correlated series and its standard error, from blocks of each.

    Args:
        series: One row per run.
        n_blocks: Blocks per run; each should be longer than the correlation time.
    """
    blocks = [block.mean() for run in series for block in np.array_split(run, n_blocks)]
    return mean_error(np.array(blocks))


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
