r"""The glass transition of one cooling by every method, in one table; and how it moves with cooling time and with size.

The methods are two lines under each convention, the smooth two-branch fit, and the three indicators of a classifier.
Each is a row with an interval, and a verdict that may be that there is no transition.

.. math:: T_g(t_\text{cool}) = \alpha + \beta \log_{10} t_\text{cool}, \qquad T_g(N) = T_g(\infty) + c / N

References:
    transition and cooling rate: Vollmayr, Kob & Binder 1996, doi:10.1103/PhysRevB.54.15808
"""

__all__ = [
    "VOLUME",
    "Located",
    "RateLine",
    "Row",
    "SizeCheck",
    "as_values",
    "indicator_rows",
    "label",
    "of_curve",
    "of_runs",
    "of_volumes",
    "rate_line",
    "size_check",
    "size_checks",
]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from vitrify.branches import MIN_RECORDS, SmoothFit, block_draws, smooth_fit
from vitrify.indicators import Indicator
from vitrify.scores import holm
from vitrify.system import stream
from vitrify.transition import (
    CONVENTIONS,
    NO_CROSSING,
    Convention,
    covers,
    mean_curve,
    resampled,
    tg_between,
    two_lines,
)

VOLUME = "volume, "
"""Begins the convention of a row that is read off the volume per particle."""

_LEVEL = 0.95
_SIGNIFICANT = 0.05
_SMOOTH = "smooth branches"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The transition by one method.

    Args:
        method: ``two lines``, ``broken line``, ``smooth branches`` or the name of an indicator.
        convention: The records the lines are laid through, or what the classifier was shown.
        Tg: Transition temperature; without a value where the curve does not cover what the method needs.
        low: Lower end of its 95% interval; without a value where nothing tells the scatter.
        high: Upper end.
        found: Whether the numbers support a transition there.
        verdict: What they support, in words.
        n_runs: Independent runs; unknown for a mean curve.
    """

    method: str
    convention: str
    Tg: float | None
    low: float | None
    high: float | None
    found: bool
    verdict: str
    n_runs: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """What a cooling curve says of its transition: the rows, and the fits to draw.

    Args:
        rows: One for each convention and one for the smooth fit.
        smooth: The smooth fit, where there are enough records.
        lines: Convention of the drawn lines, their temperatures, the glass line and the liquid line there.
    """

    rows: tuple[Row, ...]
    smooth: SmoothFit | None
    lines: tuple[str, tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None


def of_runs(
    T: Float[np.ndarray, " t"], energies: Float[np.ndarray, "r t"], *, seed: int, n_bootstrap: int = 1000
) -> Located:
    """Return the transition of an ensemble by every convention and the smooth fit, with intervals over the runs.

    Args:
        T: Temperature of each record.
        energies: Energy per particle of each record of each run.
        seed: Draws the runs.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: There are fewer than two runs.
    """
    mean, _ = mean_curve(energies)

    def draws(name: str) -> np.ndarray:
        return resampled(energies, rng=stream(seed, "tg", name), n_bootstrap=n_bootstrap)

    smooth = smooth_fit(T, mean, draws(_SMOOTH)) if _is_long(T) else None
    return _located(T, mean, draws, smooth, n_runs=len(energies))


def of_curve(T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], *, seed: int = 1) -> Located:
    """Return the transition of a mean curve by every convention and the smooth fit.

    Its runs are not at hand, so the intervals are from the residuals of the smooth fit, where that can be made; they
    hold the scatter from record to record only.

    Args:
        T: Temperature of each record, in any order.
        energy: Energy per particle of each record.
        seed: Draws from the residuals.
    """
    if not _is_long(T):
        return _located(T, energy, None, None, n_runs=None)
    smooth = smooth_fit(T, energy, stream(seed, "tg", _SMOOTH))
    draws = energy + block_draws(energy, smooth.curve, T=T, rng=stream(seed, "tg", "lines")) - smooth.curve
    return _located(T, energy, lambda _name: draws, smooth, n_runs=None)


def of_volumes(T: Float[np.ndarray, " t"], volumes: Float[np.ndarray, "r t"], *, seed: int) -> Located:
    """Return the transition of an ensemble whose volume changes, as dilatometry finds it; arguments as for `of_runs`.

    References:
        Kovacs, 1964, doi:10.1007/BFb0050366
    """
    found = of_runs(T, volumes, seed=seed)
    return replace(found, rows=tuple(replace(row, convention=VOLUME + row.convention) for row in found.rows))


def as_values(
    located: Located, T: Float[np.ndarray, " t"], mean: Float[np.ndarray, " t"], se: Float[np.ndarray, " t"] | None
) -> dict[str, Any]:
    """Return a curve and what it says of its transition, as JSON can hold it.

    Args:
        located: What it says.
        T: Temperature of each record.
        mean: Energy per particle of each record.
        se: Standard error of each energy, where runs give one.

    Returns:
        ``T``, ``mean``, ``se``, ``rows`` (as `Row`), ``smooth`` (``T``, ``width``, ``evidence``, ``rival``, ``found``,
        ``curve``; or None) and ``lines`` (``convention``, ``T``, ``glass``, ``liquid``; or None).
    """
    smooth = located.smooth
    return {
        "T": T.tolist(),
        "mean": mean.tolist(),
        "se": None if se is None else se.tolist(),
        "rows": [asdict(row) for row in located.rows],
        "smooth": None
        if smooth is None
        else {name: getattr(smooth, name) for name in ("T", "width", "evidence", "rival", "found")}
        | {"curve": smooth.curve.tolist()},
        "lines": None
        if located.lines is None
        else dict(zip(("convention", "T", "glass", "liquid"), located.lines, strict=True)),
    }


def indicator_rows(found: Mapping[str, Indicator], *, what: str, n_runs: int) -> list[Row]:
    """Return a row for each indicator.

    Args:
        found: Indicators by name (`vitrify.indicators.evaluate`).
        what: What the classifier was shown.
        n_runs: Independent runs.
    """
    return [
        Row(
            method=name,
            convention=what,
            Tg=one.Tg,
            low=one.Tg_low,
            high=one.Tg_high,
            found=one.found,
            verdict=one.verdict,
            n_runs=n_runs,
        )
        for name, one in found.items()
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLine:
    """A straight line of the transition temperature against the decades of the cooling time or rate.

    Args:
        slope: Change of Tg per decade.
        low: Lower end of its 95% interval; without a value for two points whose own intervals are not known.
        high: Upper end.
        intercept: Tg at a cooling time or rate of 1.
        sentence: What it says, in words.
    """

    slope: float
    low: float | None
    high: float | None
    intercept: float
    sentence: str


def label(row: Mapping[str, Any]) -> str:
    """Return the name of a row in figures: its method, or its convention where that says the method.

    Args:
        row: A `Row` as a dictionary.
    """
    convention = str(row["convention"])
    of, name = ("v: ", convention.removeprefix(VOLUME)) if convention.startswith(VOLUME) else ("", convention)
    if row["method"] == _SMOOTH:
        return of + _SMOOTH
    return of + (name if name in CONVENTIONS else f"{row['method']}, {name}")


def rate_line(
    cooling: Float[np.ndarray, " c"],
    Tg: Float[np.ndarray, " c"],
    *,
    low: Float[np.ndarray, " c"] | None = None,
    high: Float[np.ndarray, " c"] | None = None,
    of: Literal["time", "rate"] = "time",
) -> RateLine:
    r"""Return the line of Tg against log10 of the cooling time or rate, by least squares.

    The interval of the slope holds that of the residuals, by Student's t, and that which the intervals of the
    temperatures give, taken as independent: with :math:`w_i` the weight of each temperature in the slope,

    .. math:: \text{low} = \beta - \Big[\sum_{w_i > 0} w_i^2 (T_i - l_i)^2
              + \sum_{w_i < 0} w_i^2 (u_i - T_i)^2\Big]^{1/2}

    and above likewise with the other ends.

    Args:
        cooling: Steps, time or rate of each cooling; only ratios matter for the slope.
        Tg: Its transition temperature.
        low: Lower end of its 95% interval, where every one is known.
        high: Upper end.
        of: Whether ``cooling`` is a time or a rate.

    Raises:
        ValueError: There are not two different values above 0.

    References:
        an interval from intervals: Zou & Donner 2008, doi:10.1002/sim.3095

    Example:
        >>> round(rate_line(np.array([1e5, 1e6, 1e7]), np.array([0.40, 0.36, 0.32])).slope, 6)
        -0.04
    """
    from scipy import stats  # slow to import

    if cooling.min() <= 0 or len(np.unique(cooling)) < 2:
        raise ValueError(f"cooling must hold two different {of}s above 0; got {cooling.tolist()}")
    x = np.log10(cooling)
    line = stats.linregress(x, Tg)
    slope, n, intercept = float(line.slope), len(Tg), float(line.intercept)
    below = above = 0.0 if n < 3 else float(stats.t.ppf((1 + _LEVEL) / 2, n - 2) * line.stderr)
    if low is not None and high is not None:
        weight = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        down, up = np.where(weight > 0, Tg - low, high - Tg), np.where(weight > 0, high - Tg, Tg - low)
        below, above = (max(one, float(np.linalg.norm(weight * far))) for one, far in ((below, down), (above, up)))
    elif n < 3:
        words = f"Tg changes by {slope:+.4f} per decade of the cooling {of}; two coolings give no interval."
        return RateLine(slope=slope, low=None, high=None, intercept=intercept, sentence=words)
    ends = slope - below, slope + above
    said = "falls" if ends[1] < 0 else "rises" if ends[0] > 0 else "does not change significantly"
    words = f"Tg {said} with the cooling {of}: {slope:+.4f} [{ends[0]:+.4f}, {ends[1]:+.4f}] per decade, "
    words += f"from {n} coolings."
    return RateLine(slope=slope, low=ends[0], high=ends[1], intercept=intercept, sentence=words)


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeCheck:
    """Whether transitions of systems of several sizes agree.

    Args:
        infinite: Tg of an infinite system, from a line against 1 / N.
        slope: The line's slope.
        p: Chance of differences as large as these between sizes that agree.
        p_holm: The same, corrected for the number of checks made together.
        between: The smallest and the largest system.
    """

    infinite: float
    slope: float
    p: float
    p_holm: float
    between: tuple[float, float]

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        said = "depends on the size"
        if self.p_holm >= _SIGNIFICANT:
            said = "does not depend on the size within the intervals"
        several = "" if self.p == self.p_holm else f", Holm's {self.p_holm:.2g}"
        sizes = "{:.0f} to {:.0f}".format(*self.between)
        return f"Tg {said} (N = {sizes}, p = {self.p:.2g}{several}); a line against 1 / N leads to {self.infinite:.4f}."


def size_checks(checks: Sequence[SizeCheck]) -> list[SizeCheck]:
    """Return the checks of several methods as one family, the p of each corrected by Holm's method.

    Args:
        checks: What `size_check` returned for each method.
    """
    corrected = holm(np.array([check.p for check in checks], float)).tolist()
    return [replace(check, p_holm=p) for check, p in zip(checks, corrected, strict=True)]


def size_check(
    n_particles: Float[np.ndarray, " c"],
    Tg: Float[np.ndarray, " c"],
    low: Float[np.ndarray, " c"],
    high: Float[np.ndarray, " c"],
) -> SizeCheck:
    """Return whether the transition depends on the size, and what it is extrapolated to.

    Args:
        n_particles: Particles of each system.
        Tg: Its transition temperature.
        low: Lower end of its 95% interval, whose width over 3.92 is taken as the standard error.
        high: Upper end.

    Raises:
        ValueError: There are not two different sizes, or an interval has no width.
    """
    from scipy import stats  # slow to import

    if len(np.unique(n_particles)) < 2:
        raise ValueError(f"n_particles must hold two different sizes; got {n_particles.tolist()}")
    if (high - low).min() <= 0:
        raise ValueError(f"every interval must have a width; the narrowest is {(high - low).min()}")
    error = (high - low) / (2 * stats.norm.ppf((1 + _LEVEL) / 2))
    mean = np.average(Tg, weights=error**-2)
    p = float(stats.chi2.sf((((Tg - mean) / error) ** 2).sum(), len(Tg) - 1))
    slope, infinite = (float(c) for c in np.polyfit(1 / n_particles, Tg, 1, w=1 / error))
    between = float(n_particles.min()), float(n_particles.max())
    return SizeCheck(infinite=infinite, slope=slope, p=p, p_holm=p, between=between)


def _is_long(T: Float[np.ndarray, " t"]) -> bool:
    return len(np.unique(T)) >= MIN_RECORDS


def _located(
    T: Float[np.ndarray, " t"],
    mean: Float[np.ndarray, " t"],
    draws: Callable[[str], np.ndarray] | None,
    smooth: SmoothFit | None,
    *,
    n_runs: int | None,
) -> Located:
    rows = [_of_lines(T, mean, draws, name=name, n_runs=n_runs) for name in CONVENTIONS]
    if smooth is None:
        words = f"not covered: it needs {MIN_RECORDS} records, and there are {len(np.unique(T))}"
        rows.append(_nothing(_SMOOTH, "all records", words, n_runs))
    else:
        rows.append(
            Row(
                method=_SMOOTH,
                convention="all records",
                Tg=smooth.T,
                low=smooth.low,
                high=smooth.high,
                found=smooth.found,
                verdict=smooth.verdict,
                n_runs=n_runs,
            )
        )
    return Located(rows=tuple(rows), smooth=smooth, lines=_drawn(T, mean))


def _of_lines(
    T: Float[np.ndarray, " t"],
    mean: Float[np.ndarray, " t"],
    draws: Callable[[str], np.ndarray] | None,
    *,
    name: str,
    n_runs: int | None,
) -> Row:
    convention = CONVENTIONS[name]
    method = "broken line" if convention.how == "broken line" else "two lines"
    if not covers(T, convention):
        (a, b), (c, d) = convention.glass, convention.liquid
        words = f"not covered: it needs two records near {a}-{b} and two near {c}-{d}"
        return _nothing(method, name, f"{words}; the curve has {len(T)} from {T.min():.3f} to {T.max():.3f}", n_runs)
    if draws is None:
        return _bare(T, mean, convention, method=method, name=name)
    one = tg_between(T, mean, draws(name), convention, name=name)
    found = not one.verdict.startswith(NO_CROSSING)
    return Row(
        method=method,
        convention=name,
        Tg=one.T,
        low=one.low,
        high=one.high,
        found=found,
        verdict=one.verdict,
        n_runs=n_runs,
    )


def _bare(
    T: Float[np.ndarray, " t"], mean: Float[np.ndarray, " t"], convention: Convention, *, method: str, name: str
) -> Row:
    """Return the transition of a curve of few records, whose scatter nothing tells."""
    found = two_lines(T, mean, convention)
    between = convention.glass[1] <= found <= convention.liquid[0]
    words = "the lines meet; so few records give no interval" if between else f"{NO_CROSSING}: not between the windows"
    known = found if np.isfinite(found) else None
    return Row(method=method, convention=name, Tg=known, low=None, high=None, found=between, verdict=words, n_runs=None)


def _nothing(method: str, convention: str, words: str, n_runs: int | None) -> Row:
    return Row(
        method=method, convention=convention, Tg=None, low=None, high=None, found=False, verdict=words, n_runs=n_runs
    )


def _drawn(
    T: Float[np.ndarray, " t"], mean: Float[np.ndarray, " t"]
) -> tuple[str, tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None:
    """Return the two lines of the first least-squares convention that the curve covers."""
    for name, one in CONVENTIONS.items():
        if one.how == "least squares" and covers(T, one):
            windows = [(low - 1e-9 <= T) & (high + 1e-9 >= T) for low, high in (one.glass, one.liquid)]
            at = np.linspace(max(T.min(), 0.0), one.liquid[1] + 0.2, 50)
            glass, liquid = (np.polyval(np.polyfit(T[w], mean[w], 1), at) for w in windows)
            return name, tuple(at.tolist()), tuple(glass.tolist()), tuple(liquid.tolist())
    return None
