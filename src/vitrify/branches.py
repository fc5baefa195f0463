r"""Whether a whole cooling curve has two branches, the glass and the liquid, and how wide their crossover is.

Two straight lines always meet somewhere; whether there is a transition is another question, and it is asked of the
whole curve. A kink is a crossover without width, so a sharp form is no rival of a smooth one. The rivals are the curves
of one branch, a parabola and a cubic, and every form is judged by the Bayesian information criterion

.. math:: \mathrm{BIC} = n \ln \mathrm{RSS} + p \ln n, \qquad
          n = n_\text{records} \frac{1 - \rho}{1 + \rho}

in which n is the number of records that are independent, by the correlation :math:`\rho` of neighbouring residuals. A
transition is found where the best form of two branches (`vitrify.forms`) wins in 95% of the resamples over runs, and
the 95% interval of its width, from 10% to 90% of the change of slope, ends below a limit that is fixed beforehand. A
wider crossover is reported with its width.

Tg and width are those of the best form; the interval of Tg is the union of what the resamples give by a smooth form
with a 1/T liquid and by a kink with a parabola above it.

References:
    correlated records: Bartlett 1935, doi:10.2307/2342284
    block bootstrap: Künsch 1989, doi:10.1214/aos/1176347265
"""

__all__ = ["MIN_RECORDS", "MIN_RUNS", "WIDTH_LIMIT", "SmoothFit", "block_draws", "smooth_fit"]

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from vitrify.forms import ONE_BRANCH, SMOOTH, TWO_BRANCHES, Fit, Forms, member

MIN_RECORDS = 12
"""Records below which six parameters and their competitors are not fitted."""

MIN_RUNS = 8
"""Runs below which resampling them does not tell their scatter."""

WIDTH_LIMIT = 0.7
"""Widest crossover that is called a transition, in epsilon_AA / k_B: twice from a Tg near 0.4 down to T = 0.05."""

_LEVEL = 0.95
_TAILS = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
_KINK = "kink, parabola"  # the second form of the interval of Tg
_SURELY = 10.0  # difference of the criterion that is asked of a curve whose runs are not at hand
_ROUNDING = 1e-14  # part of a curve's sum of squares that no residual tells from 0
_MOST_RECORDS = 400
_N_PARAMETERS = 6  # of the smooth form
_AT_END = 0.05  # part of the range
_N_RESAMPLED, _CHANCE = 40, 0.8  # of the smallest kink that would have been found


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothFit:
    """What a whole cooling curve says of a transition: the best fit of two branches, and whether it is needed.

    Args:
        T: Transition temperature.
        low: Lower end of its interval, the union of the 95% intervals of two forms.
        high: Upper end.
        width: Temperatures over which the slope goes from 10% to 90% of its way; 0 of a kink.
        width_low: Lower end of its 95% interval.
        width_high: Upper end.
        limit: Widest crossover that is called a transition.
        share: Part of the resamples in which the best form of two branches beats parabola and cubic.
        evidence: Criterion of the better of these minus that of the best form of two branches.
        rival: The better of parabola and cubic.
        form: The best form of two branches.
        found: Whether there is a transition; None where the records or runs are too few to tell.
        detectable: Smallest change of slope at T that would have been found with 80% chance, where none was found.
        verdict: All this in words.
        curve: The fitted energy of each record.
    """

    T: float
    low: float
    high: float
    width: float
    width_low: float
    width_high: float
    limit: float
    share: float
    evidence: float
    rival: str
    form: str
    found: bool | None
    detectable: float | None
    verdict: str
    curve: Float[np.ndarray, " t"]


def smooth_fit(
    T: Float[np.ndarray, " t"],
    mean: Float[np.ndarray, " t"],
    draws: Float[np.ndarray, "s t"] | np.random.Generator,
    *,
    n_runs: int | None = None,
    limit: float = WIDTH_LIMIT,
    n_planted: int = 20,
) -> SmoothFit:
    """Return the best fit of two branches to a mean curve, and whether there is a transition.

    Args:
        T: Temperature of each record, above 0, in any order.
        mean: Energy per particle of each record.
        draws: Mean curves of resampled runs (`vitrify.transition.resampled`), or what draws curves from the residuals
            of the fit (`block_draws`) where the runs are not at hand. These do not hold the scatter that neighbouring
            records share, so that the criterion must then differ by more than 10.
        n_runs: Runs that were resampled, where that is known.
        limit: Widest crossover that is called a transition, in the unit of T.
        n_planted: Ensembles that are planted to find the smallest kink that would have been found; 0 leaves it out.

    Raises:
        ValueError: There are fewer than `MIN_RECORDS` records, a temperature or the limit is not above 0.

    Example:
        >>> T = np.linspace(0.05, 1.0, 96)
        >>> fit = smooth_fit(T, 0.02 * T + 0.1 * np.maximum(T - 0.4, 0), np.random.default_rng(1))
        >>> round(fit.T, 3), fit.found
        (0.4, True)
    """
    if len(T) < MIN_RECORDS or T.min() <= 0:
        raise ValueError(
            f"T must hold at least {MIN_RECORDS} records, all above 0; got {len(T)}, the lowest at {T.min():.3f}"
        )
    if not limit > 0:
        raise ValueError(f"limit must be a width above 0, in the unit of T; got {limit}")
    order = np.argsort(T)
    x, y = _thinned(T[order]), _thinned(mean[order])
    forms = _forms(x.tobytes())
    best = _best(forms, y)
    if isinstance(draws, np.random.Generator):
        noise, needed = block_draws(y, best.curve, T=x, rng=draws) - best.curve, _SURELY
    else:
        few = 1.0 if n_runs is None else float(np.sqrt(n_runs / max(n_runs - 1, 1)))
        noise, needed = few * _thinned((draws - mean)[:, order]), 0.0
    asked = _Question(n=best.n, needed=needed, limit=limit)
    fits = forms.fits(np.concatenate([y[None], y + noise]))
    answer = asked.answer(fits)
    low, high = _interval(forms, fits, best.Tg)
    width_low, width_high = (float(end) for end in np.quantile(answer.width[1:], _TAILS))
    one = SmoothFit(
        T=best.Tg,
        low=low,
        high=high,
        width=best.width,
        width_low=min(width_low, best.width),
        width_high=max(width_high, best.width),
        limit=limit,
        share=float((answer.gain[1:] > needed).mean()),
        evidence=float(answer.gain[0]),
        rival=ONE_BRANCH[answer.rival],
        form=best.form,
        found=None,
        detectable=None,
        verdict="",
        curve=member(best.form, T, mean, Tg=best.Tg, width=best.width)[0],
    )
    one = replace(one, **_judged(one, asked, x, n_runs=n_runs, rise=best.rise))
    if one.found is False and n_planted:
        smallest = _detectable(x, one.T, noise, asked, n_planted)
        if smallest is not None:
            words = f"{one.verdict}; a kink there whose slope changes by {smallest:.2g} would have been found"
            return replace(one, detectable=smallest, verdict=words)
    return one


def block_draws(
    mean: Float[np.ndarray, " t"],
    fitted: Float[np.ndarray, " t"],
    *,
    T: Float[np.ndarray, " t"],
    rng: np.random.Generator,
    n_draws: int = 400,
) -> Float[np.ndarray, "s t"]:
    """Return curves drawn around a fit from its own residuals, in blocks that keep their correlation.

    Of a curve whose runs are not at hand, the residuals are all that tells its scatter: what all records share, and
    what the fit has followed, is missing from these draws.

    Args:
        mean: Energy per particle of each record.
        fitted: The fit.
        T: Temperature of each record: blocks are of neighbours in temperature.
        rng: Draws the blocks.
        n_draws: Number of curves.

    References:
        Künsch 1989, doi:10.1214/aos/1176347265
    """
    order = np.argsort(T)
    residual = (mean - fitted)[order]
    n = len(residual)
    length = int(np.clip(np.ceil(2 * n / _n_independent(residual)), 1, n // 4))
    starts = rng.integers(n, size=(n_draws, -(-n // length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(n_draws, -1)[:, :n] % n
    draws = np.empty((n_draws, n))
    scale = np.sqrt(n / max(n - _N_PARAMETERS, 1))
    draws[:, order] = fitted[order] + (residual - residual.mean())[places] * scale
    return draws


@dataclass(frozen=True, kw_only=True, slots=True)
class _Best:
    """The form of two branches that describes a curve best, by least squares over Tg and width."""

    form: str
    Tg: float
    width: float
    rise: float  # of the slope at Tg
    curve: Float[np.ndarray, " t"]
    n: float  # independent records


def _best(forms: Forms, energy: Float[np.ndarray, " t"]) -> _Best:
    fits = forms.fits(energy[None])
    widest = fits[SMOOTH]
    curve, _ = member(SMOOTH, forms.T, energy, Tg=float(widest.Tg[0]), width=float(widest.width[0]))
    asked = _Question(n=_n_independent(energy - curve), needed=0.0, limit=np.inf)
    form = TWO_BRANCHES[int(np.argmin([asked.criterion(fits[name])[0] for name in TWO_BRANCHES]))]
    Tg, width = _polished(form, forms.T, energy, Tg=float(fits[form].Tg[0]), width=float(fits[form].width[0]))
    curve, rise = member(form, forms.T, energy, Tg=Tg, width=width)
    return _Best(form=form, Tg=Tg, width=width, rise=rise, curve=curve, n=asked.n)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """By how much two branches win on each of ``s`` curves, their width, and the rival of the first."""

    gain: Float[np.ndarray, " s"]
    width: Float[np.ndarray, " s"]
    rival: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """How curves are judged: independent records, difference of the criterion that is needed, limit of the width."""

    n: float
    needed: float
    limit: float

    def answer(self, fits: dict[str, Fit]) -> _Answer:
        """Return what the fits of some curves say."""
        one, two = (np.stack([self.criterion(fits[name]) for name in names]) for names in (ONE_BRANCH, TWO_BRANCHES))
        best = two.argmin(axis=0)
        width = np.stack([fits[name].width for name in TWO_BRANCHES])[best, np.arange(len(best))]
        return _Answer(gain=one.min(axis=0) - two.min(axis=0), width=width, rival=int(one[:, 0].argmin()))

    def criterion(self, fit: Fit) -> Float[np.ndarray, " s"]:
        """Return the criterion of one form for each curve."""
        residual = np.maximum(fit.residual, _ROUNDING * fit.total + np.finfo(float).tiny)
        return np.asarray(self.n * np.log(residual) + fit.n_parameters * np.log(self.n))


@lru_cache(maxsize=2)
def _forms(T: bytes, **grid: int) -> Forms:
    """Return the forms over temperatures, which are made once for all curves of one cooling."""
    return Forms.over(np.frombuffer(T), **grid)


def _thinned(values: Float[np.ndarray, "*s t"]) -> Float[np.ndarray, "*s b"]:
    """Return the means of neighbours where there are more records than the forms need."""
    n = values.shape[-1]
    if n <= _MOST_RECORDS:
        return np.array(values, float)
    begins = np.linspace(0, n, _MOST_RECORDS, endpoint=False).astype(int)
    return np.add.reduceat(values, begins, axis=-1) / np.diff(begins, append=n)


def _interval(forms: Forms, fits: dict[str, Fit], Tg: float) -> tuple[float, float]:
    """Return the union of the intervals by a smooth form and by a kink, which holds Tg and stays inside the range."""
    ends = np.array([np.quantile(fits[name].Tg[1:], _TAILS) for name in (SMOOTH, _KINK)])
    half = float(forms.Tg[1] - forms.Tg[0]) / 2  # the draws' best fits lie on a grid
    low, high = min(float(ends.min()) - half, Tg), max(float(ends.max()) + half, Tg)
    return max(low, float(forms.T.min())), min(high, float(forms.T.max()))


def _judged(
    fit: SmoothFit, asked: _Question, T: Float[np.ndarray, " t"], *, n_runs: int | None, rise: float
) -> dict[str, Any]:
    """Return ``found`` and ``verdict`` of a fit."""
    width = f"{fit.width:.3f} [{fit.width_low:.3f}, {fit.width_high:.3f}]"
    beyond = f" by a BIC of more than {asked.needed:.0f}" if asked.needed else ""
    said = f"two branches beat parabola and cubic{beyond} in {fit.share:.0%} of the resamples"
    reach = float(T[-1] - T[0])
    if n_runs is not None and n_runs < MIN_RUNS:
        return {"verdict": f"{n_runs} runs cannot tell a transition from a smooth bend: {MIN_RUNS} are needed"}
    if reach / len(T) > fit.limit:
        words = f"cannot tell: records {reach / len(T):.3g} apart do not resolve a width of {fit.limit:g}"
        return {"verdict": f"{words}; name a limit in the unit of T"}
    if fit.share < _LEVEL:
        return {"found": False, "verdict": f"no transition: {said}, {_LEVEL:.0%} are needed"}
    if rise <= 0:
        return {"found": False, "verdict": "no transition: the slope above Tg does not exceed that below"}
    if fit.T - T[0] < _AT_END * reach or T[-1] - fit.T < _AT_END * reach:
        words = f"no transition: the fit puts it at the end of the range, T = {fit.T:.3f}"
        return {"found": False, "verdict": words}
    if not fit.width_high < fit.limit:
        words = f"crossover, no transition: width {width} at T = {fit.T:.3f}"
        return {"found": False, "verdict": f"{words}, whose bound is not below the limit of {fit.limit:g}"}
    return {"found": True, "verdict": f"{said}; width {width}, whose bound is below the limit of {fit.limit:g}"}


def _detectable(
    T: Float[np.ndarray, " t"], Tg: float, noise: Float[np.ndarray, "s t"], asked: _Question, n_planted: int
) -> float | None:
    """Return the smallest change of slope of two lines that meet at Tg that would be found in four of five ensembles.

    Each is planted: one draw of the noise makes an ensemble, others are its resamples. Doubled, then halved.
    """
    reach, size = float(T[-1] - T[0]), float(noise.std())
    Tg = float(np.clip(Tg, T[0] + 0.1 * reach, T[-1] - 0.1 * reach))
    forms, hinge = _forms(T.tobytes(), n_Tg=30, n_width=8), np.maximum(T - Tg, 0)
    once = noise[:n_planted, None]
    again = noise[n_planted : n_planted + _N_RESAMPLED][None]
    planted = once + again

    def is_found(bend: float) -> bool:
        answer = asked.answer(forms.fits((bend * hinge + planted).reshape(-1, len(T))))
        gain, width = (each.reshape(planted.shape[:2]) for each in (answer.gain, answer.width))
        found = ((gain > asked.needed).mean(axis=1) >= _LEVEL) & (np.quantile(width, _TAILS[1], axis=1) < asked.limit)
        return bool(found.mean() >= _CHANCE)

    if size == 0 or len(noise) < n_planted + _N_RESAMPLED:
        return None
    bends = size / reach * 2.0 ** np.arange(-2, 9)
    above = next((place for place, bend in enumerate(bends) if is_found(float(bend))), None)
    if above is None:
        return None
    low, high = float(bends[above]) / 2, float(bends[above])
    for _ in range(2):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def _polished(
    form: str, T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], *, Tg: float, width: float
) -> tuple[float, float]:
    """Return Tg and width by least squares, begun at the best of the grid; the width of a kink stays 0."""
    from scipy.optimize import least_squares  # a third of a second to import, and only fitting needs it

    reach, scale = T[-1] - T[0], energy.std() or 1.0
    n = 2 if width else 1
    lowest, highest = np.array([T[1], np.log(reach / len(T))])[:n], np.array([T[-2], np.log(reach)])[:n]
    first = np.array([Tg, np.log(width)]) if width else np.array([Tg])

    def misfit(at: np.ndarray) -> np.ndarray:
        curve, _ = member(form, T, energy, Tg=float(at[0]), width=float(np.exp(at[1])) if width else 0.0)
        return np.asarray((energy - curve) / scale)

    found = least_squares(misfit, np.clip(first, lowest + 1e-9, highest - 1e-9), bounds=(lowest, highest)).x
    return float(found[0]), float(np.exp(found[1])) if width else 0.0


def _n_independent(residual: Float[np.ndarray, " t"]) -> float:
    """Return how many independent records have the information of these, by the correlation of neighbours."""
    centred = residual - residual.mean()
    power = float(centred @ centred)
    rho = float(centred[1:] @ centred[:-1]) / power if power > 0 else 0.0
    rho = min(max(rho, 0.0), 0.98)
    return len(residual) * (1 - rho) / (1 + rho)
