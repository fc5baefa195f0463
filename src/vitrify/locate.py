r"""The glass transition of one cooling by every method, in one table; and how it moves with cooling time and with size.

The methods are two lines under each convention, the best fit of two branches to the whole curve, and the three
indicators of a classifier. Each is a row with an interval, and a verdict that may be that there is no transition. Lines
find one only where the whole curve has one, four points never.

.. math:: T_g(t_\text{cool}) = \alpha + \beta \log_{10} t_\text{cool}, \qquad T_g(N) = T_g(\infty) + c / N

References:
    transition and cooling rate: Vollmayr, Kob & Binder 1996, doi:10.1103/PhysRevB.54.15808
"""

__all__ = [
    "FOUND",
    "VOLUME",
    "Located",
    "RateLine",
    "Row",
    "SizeCheck",
    "Summary",
    "as_values",
    "estimates",
    "indicator_rows",
    "label",
    "of_curve",
    "of_runs",
    "of_volumes",
    "rate_line",
    "size_check",
    "size_checks",
    "summary",
]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from vitrify.branches import MIN_RECORDS, MIN_RUNS, WIDTH_LIMIT, SmoothFit, block_draws, smooth_fit
from vitrify.indicators import Indicator
from vitrify.scores import holm
from vitrify.system import stream
from vitrify.transition import (
    CONVENTIONS,
    NO_CROSSING,
    Convention,
    TgEstimate,
    covers,
    mean_curve,
    resampled,
    tg_between,
    two_lines,
)

FOUND: Mapping[bool | None, str] = {True: "yes", False: "no", None: "cannot tell"}
"""Whether a transition is found, in words."""

VOLUME = "volume, "
"""Begins the convention of a row that is read off the volume per particle."""

_LEVEL = 0.95
_SIGNIFICANT = 0.05
_SMOOTH = "smooth branches"
_N_DRAWS = 400  # of the whole curve


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The transition by one method.

    Args:
        method: ``two lines``, ``broken line``, ``smooth branches`` or the name of an indicator.
        convention: The records the lines are laid through, or what the classifier was shown.
        Tg: Transition temperature; without a value where the curve does not cover what the method needs.
        low: Lower end of its 95% interval; without a value where nothing tells the scatter. That of smooth branches is
            the union of the intervals of two forms.
        high: Upper end.
        found: Whether the numbers support a transition there; None where they cannot tell, as four points never can.
        verdict: What they support, in words.
        n_runs: Independent runs; unknown for a mean curve.
        width: Of smooth branches, temperatures over which the slope goes from 10% to 90% of its way; 0 of a kink.
        width_low: Lower end of its 95% interval.
        width_high: Upper end.
    """

    method: str
    convention: str
    Tg: float | None
    low: float | None
    high: float | None
    found: bool | None
    verdict: str
    n_runs: int | None
    width: float | None = None
    width_low: float | None = None
    width_high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a curve says of its transition as a whole, and how many conventions of lines find it.

    Args:
        found: Whether there is a transition; None where records or runs are too few to tell.
        T: Where the branches of the best fit meet; without a value where the records are too few to fit.
        low: Lower end of its interval, the union of the 95% intervals of two forms.
        high: Upper end.
        width: Temperatures over which the slope goes from 10% to 90% of its way; 0 of a kink.
        width_low: Lower end of its 95% interval.
        width_high: Upper end.
        limit: Widest crossover that is called a transition.
        share: Part of the resamples in which two branches beat the best curve of one branch.
        rival: That curve.
        detectable: Smallest change of slope that would have been found with 80% chance, where none was found.
        n_found: Conventions that find the transition.
        n_told: Conventions that can tell.
        Tg_low: Lowest transition temperature of the conventions that find one.
        Tg_high: Highest.
        n_runs: Independent runs; unknown for a mean curve.
        n_records: Records of the curve.
    """

    found: bool | None
    T: float | None
    low: float | None
    high: float | None
    width: float | None
    width_low: float | None
    width_high: float | None
    limit: float
    share: float | None
    rival: str | None
    detectable: float | None
    n_found: int
    n_told: int
    Tg_low: float | None
    Tg_high: float | None
    n_runs: int | None
    n_records: int

    def sentence(self, curve: str = "the curve") -> str:
        """Return it in words.

        Args:
            curve: What the curve is called.
        """
        of = f"{self.n_records} records, whose runs are not at hand" if self.n_runs is None else f"{self.n_runs} runs"
        if self.T is None or self.share is None:
            few = f"{self.n_records} records of {curve} cannot tell whether there is a transition"
            return f"{few}: {MIN_RECORDS} different temperatures are needed."
        width = f"width {self.width:.3f} [{self.width_low:.3f}, {self.width_high:.3f}]"
        at = f"T = {self.T:.3f} [{self.low:.3f}, {self.high:.3f}]"
        if self.found is None:
            few = "runs" if self.n_runs is not None and self.n_runs < MIN_RUNS else "records"
            return f"{of} of {curve} cannot tell whether there is a transition: too few {few}; branches meet at {at}."
        lines = f"{self.n_found} of {self.n_told} conventions of lines that can tell find it"
        if self.found:
            between = "" if self.Tg_low is None else f", at Tg from {self.Tg_low:.3f} to {self.Tg_high:.3f}"
            return (
                f"A transition is found on {curve} at {at} (both forms), of {width} below the limit of {self.limit:g}: "
                f"two branches beat {self.rival} in {self.share:.0%} of the resamples ({of}); {lines}{between}."
            )
        if self.share >= _LEVEL and self.width_high is not None and self.width_high >= self.limit:
            said = f"A crossover, no transition, is found on {curve}: {width} at {at}, not below {self.limit:g}"
        else:
            said = f"No transition is found on {curve}: two branches beat {self.rival} in {self.share:.0%} of resamples"
            said += f", {width} at {at}, limit {self.limit:g}"
        smallest = (
            ""
            if self.detectable is None
            else f"; a kink whose slope changes by {self.detectable:.2g} would have been found"
        )
        return f"{said} ({of}){smallest}; {lines}."


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
    T: Float[np.ndarray, " t"],
    energies: Float[np.ndarray, "r t"],
    *,
    seed: int,
    limit: float = WIDTH_LIMIT,
    n_bootstrap: int = 1000,
) -> Located:
    """Return the transition of an ensemble by every convention and the smooth fit, with intervals over the runs.

    Args:
        T: Temperature of each record.
        energies: Energy per particle of each record of each run.
        seed: Draws the runs.
        limit: Widest crossover that is called a transition, in the unit of T.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: There are fewer than two runs.
    """
    mean, _ = mean_curve(energies)

    def draws(name: str) -> np.ndarray:
        return resampled(energies, rng=stream(seed, "tg", name), n_bootstrap=n_bootstrap)

    n_runs = len(energies)
    smooth = smooth_fit(T, mean, draws(_SMOOTH)[:_N_DRAWS], n_runs=n_runs, limit=limit) if _is_long(T) else None
    return _located(T, mean, draws, smooth, n_runs=n_runs)


def of_curve(
    T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], *, seed: int = 1, limit: float = WIDTH_LIMIT
) -> Located:
    """Return the transition of a mean curve by every convention and the smooth fit.

    Its runs are not at hand, so the intervals are from the residuals of the smooth fit, where that can be made; they
    hold the scatter from record to record only.

    Args:
        T: Temperature of each record, in any order.
        energy: Energy per particle of each record.
        seed: Draws from the residuals.
        limit: Widest crossover that is called a transition, in the unit of T.
    """
    if not _is_long(T):
        return _located(T, energy, None, None, n_runs=None)
    smooth = smooth_fit(T, energy, stream(seed, "tg", _SMOOTH), limit=limit)
    draws = energy + block_draws(energy, smooth.curve, T=T, rng=stream(seed, "tg", "lines")) - smooth.curve
    return _located(T, energy, lambda _name: draws, smooth, n_runs=None)


def of_volumes(
    T: Float[np.ndarray, " t"], volumes: Float[np.ndarray, "r t"], *, seed: int, limit: float = WIDTH_LIMIT
) -> Located:
    """Return the transition of an ensemble whose volume changes, as dilatometry finds it; arguments as for `of_runs`.

    References:
        Kovacs, 1964, doi:10.1007/BFb0050366
    """
    found = of_runs(T, volumes, seed=seed, limit=limit)
    return replace(found, rows=tuple(replace(row, convention=VOLUME + row.convention) for row in found.rows))


def summary(located: Located, *, n_records: int, limit: float = WIDTH_LIMIT) -> Summary:
    """Return what a curve says of its transition as a whole.

    Args:
        located: What it says row by row.
        n_records: Records of the curve.
        limit: Widest crossover that is called a transition.
    """
    lines = [row for row in located.rows if row.method != _SMOOTH and row.found is not None]
    Tg = [row.Tg for row in lines if row.found and row.Tg is not None]
    smooth, n_runs = located.smooth, located.rows[0].n_runs
    names = ("found", "T", "low", "high", "width", "width_low", "width_high", "share", "rival", "detectable")
    whole: dict[str, Any] = {name: None if smooth is None else getattr(smooth, name) for name in names}
    return Summary(
        **whole,
        limit=limit,
        n_found=len(Tg),
        n_told=len(lines),
        Tg_low=min(Tg, default=None),
        Tg_high=max(Tg, default=None),
        n_runs=n_runs,
        n_records=n_records,
    )


def estimates(located: Located) -> list[TgEstimate]:
    """Return the row of each convention that the curve covers, as an estimate.

    Args:
        located: What the curve of an ensemble says row by row.
    """
    return [
        TgEstimate(
            method=row.method,
            convention=row.convention,
            T=row.Tg,
            low=row.low,
            high=row.high,
            verdict=row.verdict,
            found=row.found,
        )
        for row in located.rows
        if row.method != _SMOOTH and row.Tg is not None and row.low is not None and row.high is not None
    ]


def as_values(
    located: Located,
    T: Float[np.ndarray, " t"],
    mean: Float[np.ndarray, " t"],
    se: Float[np.ndarray, " t"] | None,
    *,
    limit: float = WIDTH_LIMIT,
) -> dict[str, Any]:
    """Return a curve and what it says of its transition, as JSON can hold it.

    Args:
        located: What it says.
        T: Temperature of each record.
        mean: Energy per particle of each record.
        se: Standard error of each energy, where runs give one.
        limit: Widest crossover that is called a transition.

    Returns:
        ``T``, ``mean``, ``se``, ``rows`` (as `Row`), ``summary`` (as `Summary`, with its ``sentence``), ``smooth`` (as
        `vitrify.branches.SmoothFit`; or None) and ``lines`` (``convention``, ``T``, ``glass``, ``liquid``; or None).
    """
    smooth, whole = located.smooth, summary(located, n_records=len(T), limit=limit)
    return {
        "T": T.tolist(),
        "mean": mean.tolist(),
        "se": None if se is None else se.tolist(),
        "rows": [asdict(row) for row in located.rows],
        "summary": asdict(whole) | {"sentence": whole.sentence()},
        "smooth": None if smooth is None else asdict(smooth) | {"curve": smooth.curve.tolist()},
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
    has_one = None if smooth is None else smooth.found
    rows = [
        _told(_of_lines(T, mean, draws, name=name, n_runs=n_runs), convention, has_one=has_one)
        for name, convention in CONVENTIONS.items()
    ]
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
                width=smooth.width,
                width_low=smooth.width_low,
                width_high=smooth.width_high,
            )
        )
    return Located(rows=tuple(rows), smooth=smooth, lines=_drawn(T, mean))


def _told(row: Row, convention: Convention, *, has_one: bool | None) -> Row:
    """Return a row of lines with whether they find the transition: the whole curve has one, and they cross there."""
    if row.Tg is None or has_one is None or convention.how == "four points":
        return row
    crosses = not row.verdict.startswith(NO_CROSSING)
    words = "" if has_one or not crosses else "; but the whole curve has no transition"
    return replace(row, found=has_one and crosses, verdict=row.verdict + words)


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
    return Row(
        method=method,
        convention=name,
        Tg=one.T,
        low=one.low,
        high=one.high,
        found=None,
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
    return Row(method=method, convention=name, Tg=known, low=None, high=None, found=None, verdict=words, n_runs=None)


def _nothing(method: str, convention: str, words: str, n_runs: int | None) -> Row:
    return Row(
        method=method, convention=convention, Tg=None, low=None, high=None, found=None, verdict=words, n_runs=n_runs
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
