r"""Is a classifier only computing the energy? Three questions on one test set, each answered over independent runs.

1. **Does it rank better than the energy?** The difference of the areas under the ROC curve
   (:func:`vitrify.scores.compare`).
2. **What is left at equal energy?** Glasses and liquids matched one to one within a caliper of the energy
   (:func:`match`); on the matched ones the energy is at chance by construction, and the AUC of a classifier is what it
   sees beyond it. How well the energies are balanced stands beside it.
3. **Does one add to the other?** (:func:`adds`) Energy and score are first mapped by their ranks alone to variables
   :math:`e` and :math:`s` of which each class is a unit normal, so that a classifier that bends or saturates the
   energy changes nothing. Then

   .. math:: \ln \frac{P(\text{glass})}{P(\text{liquid})} = b_0 + b_1 e + b_2 e^2 + b_3 s

   is fitted to all configurations by Firth's penalised likelihood, with and without :math:`s`. The quadratic term is
   needed: where the classes differ in the width of their energies, the best function of the energy alone bends. The
   signed root of the likelihood ratio, divided by the root of one plus the correlation of its score within runs, is
   compared with Student's t of n - 1 degrees of freedom. The effect is the AUC at equal energy,
   :math:`\Phi(b_3 \sigma / \sqrt 2)`, with :math:`\sigma` the spread of :math:`s` within a class at given energy.

Beside these, the correlation of logit and energy within each class: a logit that only computes the energy follows it
there too.

References:
    matching within a caliper: Stuart 2010, doi:10.1214/09-STS313; the balance: Austin 2009, doi:10.1002/sim.3697;
    penalised likelihood: Firth 1993, doi:10.1093/biomet/80.1.27; Heinze & Schemper 2002, doi:10.1002/sim.1047;
    correlation within clusters: Liang & Zeger 1986, doi:10.1093/biomet/73.1.13; binormal ranks: Hanley 1988,
    doi:10.1177/0272989X8800800308
"""

__all__ = [
    "CALIPER",
    "MIN_ADDING",
    "MIN_PAIRS",
    "Balance",
    "Correlation",
    "Matched",
    "adds",
    "asked",
    "correlation",
    "match",
    "saturation",
]

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import special
from scipy.optimize import linear_sum_assignment
from scipy.stats import ks_2samp, rankdata

from vitrify.claims import Asked
from vitrify.scores import Difference, Estimate, auc, glasses

CALIPER = 0.1
"""Largest difference of a matched pair, in standard deviations of the energy within the classes."""

MIN_ADDING = 3
"""Runs below which nothing can be fitted beside the energy."""

MIN_PAIRS = 8
"""Pairs below which a matched subset gives no number."""

_N_BOOTSTRAP = 5_000
_LEVEL = 0.95
_FARTHEST = 40.0  # a logit beyond which a probability is 0 or 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """How alike the energies of glasses and liquids are.

    Args:
        mean_difference: Of glass minus liquid, in standard deviations within the classes.
        ks: Kolmogorov-Smirnov distance of the two distributions.
    """

    mean_difference: float
    ks: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Matched:
    """Glasses and liquids of equal energy.

    Args:
        keep: The configurations that found a partner.
        n_pairs: Number of pairs.
        before: Balance of all configurations.
        after: Balance of the matched ones; ``None`` below two pairs.
    """

    keep: Bool[np.ndarray, " b"]
    n_pairs: int
    before: Balance
    after: Balance | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """How closely a logit follows an energy within one class: Pearson's r and Spearman's rho with 95% intervals."""

    pearson: Estimate
    spearman: Estimate


def match(energy: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"], *, caliper: float = CALIPER) -> Matched:
    """Return the largest set of glass-liquid pairs of nearly equal energy, of these the closest.

    Args:
        energy: Energy of each configuration.
        label: 1 for glass, 0 for liquid.
        caliper: Largest difference of a pair, in standard deviations within the classes.

    Raises:
        ValueError: A class is absent, or an energy is not finite.

    Example:
        >>> matched = match(np.array([0.0, 1.0, 5.0, 0.01, 1.02, 9.0]), np.array([0, 0, 0, 1, 1, 1]))
        >>> matched.n_pairs, matched.keep.tolist()
        (2, [True, True, False, True, True, False])
    """
    if not np.isfinite(energy).all():
        raise ValueError(f"energy must be finite; {(~np.isfinite(energy)).sum()} of {len(energy)} are not")
    glass, liquid = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    if not (len(glass) and len(liquid)):
        raise ValueError(f"label must hold both classes; got {len(glass)} glasses and {len(liquid)} liquids")
    scale = _within(energy, label)
    apart = np.abs(energy[glass][:, None] - energy[liquid]) / scale
    # a pair beyond the caliper costs more than all others together, so that none is taken while another is possible
    rows, columns = linear_sum_assignment(np.where(apart <= caliper, apart, 1e6))
    close = apart[rows, columns] <= caliper
    keep = np.zeros(len(label), bool)
    keep[glass[rows[close]]] = keep[liquid[columns[close]]] = True
    n_pairs = int(close.sum())
    after = _balance(energy[keep], label[keep], scale) if n_pairs > 1 else None
    return Matched(keep=keep, n_pairs=n_pairs, before=_balance(energy, label, scale), after=after)


def correlation(
    logit: Float[np.ndarray, " b"],
    energy: Float[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
) -> Correlation | None:
    """Return the correlation of a logit with an energy over configurations of one class, by resampling the runs.

    Returns:
        ``None`` where either does not vary, or there are fewer than 4 configurations.
    """
    if len(run) < 4 or np.ptp(logit) == 0 or np.ptp(energy) == 0:
        return None
    _, of_run = np.unique(run, return_inverse=True)
    weights = rng.standard_exponential((_N_BOOTSTRAP, of_run.max() + 1))[:, of_run]
    return Correlation(
        pearson=_correlation(logit, energy, weights),
        spearman=_correlation(rankdata(logit), rankdata(energy), weights),
    )


def adds(
    score: Float[np.ndarray, " b"],
    energy: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    fold: Integer[np.ndarray, " b"] | None = None,
) -> Difference:
    """Return by how much a score tells glass from liquid at equal energy: its AUC there, minus one half.

    Args:
        score: For example the logit of a network, large for glass.
        energy: What is held equal: an energy of each configuration, of either sign.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from; a run may hold several of either class.
        fold: Fold of a cross-validation that scored each configuration; a score counts by its rank within the fold,
            because those of different classifiers have no common scale.

    Raises:
        ValueError: A value is not finite, or a class is absent.

    Returns:
        Of fewer than 3 runs, and of a score that is a function of energy and class, no effect with the widest bounds.

    Example:
        A copy of the energy, however bent, adds nothing; what differs between the classes beside it does.

        >>> rng, label, run = np.random.default_rng(2), np.repeat([0, 1], 60), np.tile(np.arange(60), 2)
        >>> energy = rng.normal(size=120) - 1.5 * label
        >>> other = rng.normal(size=120) + 1.5 * label
        >>> copy = np.tanh(-energy) + 1e-3 * rng.normal(size=120)
        >>> bool(adds(copy, energy, label, run).p > 0.05), bool(adds(other - energy, energy, label, run).p < 0.001)
        (True, True)
    """
    glass = glasses(score, label)
    glasses(energy, label)
    runs, of_run = np.unique(run, return_inverse=True)
    n = len(runs)
    if n < MIN_ADDING:
        return _unknown(n)
    if fold is not None:
        score = _ranked_within(score, fold)
    e, s = (_standard(_binormal(values, label)) for values in (energy, score))
    held = np.stack([np.ones_like(e), e, e**2], axis=1)
    full = _firth(np.column_stack([held, s]), glass, free=4)
    null = _firth(np.column_stack([held, s]), glass, free=3)
    spread = _spread(s, np.column_stack([np.ones_like(e), e, glass.astype(float)]))
    if spread < _NO_SPREAD:
        return _unknown(n)
    ratio = _within_runs(held, s, glass, null.coefficients[:3], of_run)
    root = np.sign(full.coefficients[3]) * np.sqrt(max(2 * (full.likelihood - null.likelihood), 0.0))
    apart = full.coefficients[3] * spread
    wald = float(np.sqrt(np.linalg.inv(full.information)[3, 3] * ratio)) * spread
    # the interval is that of the root, so that it leaves out zero where p is small; no absence is surer than at chance
    error = abs(apart / root) * float(np.sqrt(ratio)) if abs(root) > _NO_SPREAD else wald
    widest = max(error, wald, float(np.sqrt(4 * np.pi / 6 / n)))
    single, both = (float(special.stdtrit(n - 1, level)) for level in (_LEVEL, (1 + _LEVEL) / 2))

    def area(d: float) -> float:
        return float(special.ndtr(d / np.sqrt(2)))

    p = float(special.stdtr(n - 1, -root / np.sqrt(ratio)))
    return Difference(
        value=area(apart) - 0.5,
        low=area(apart - both * error) - 0.5,
        high=area(apart + both * error) - 0.5,
        lower=area(apart - single * widest) - 0.5,
        upper=area(apart + single * widest) - 0.5,
        p=p,
        p_below=1 - p,
        se=error * float(np.exp(-(apart**2) / 4)) / np.sqrt(4 * np.pi),
    )


_NO_SPREAD = 1e-6


def _unknown(n_runs: int) -> Difference:
    """Return what is known where nothing can be fitted: no effect, and the widest bounds."""
    se = 1 / np.sqrt(6 * n_runs)
    ends = {"low": -0.5, "high": 0.5, "lower": -0.5, "upper": 0.5}
    return Difference(value=0.0, **ends, p=0.5, p_below=0.5, se=float(se))


@cache
def saturation(n_runs: int) -> float:
    """Return the AUC of the energy up to which a perfect classifier is shown to rank better, with a chance of 80%.

    Above it nothing can be shown to rank better than the energy: the task is saturated. The AUC is found by halving,
    on planted ensembles of one glass and one liquid a run, by the test of `vitrify.scores.compare` at p < 0.05.

    Args:
        n_runs: Independent runs that test; more than 200 count as 200.

    Example:
        >>> [round(saturation(n), 2) for n in (16, 75)]
        [0.84, 0.99]
    """
    n = min(max(n_runs, 2), _MOST_PLANTED)
    noise = np.random.default_rng([n, 2]).normal(size=(_N_PLANTED, 2 * n))
    enough = float(special.stdtrit(n - 1, _LEVEL))

    def power(area: float) -> float:
        values = noise + np.sqrt(2) * float(special.ndtri(area)) * np.repeat([0.0, 1.0], n)
        ranks = rankdata(values, axis=1)
        of_glass = (ranks[:, n:] - rankdata(values[:, n:], axis=1)) / n
        of_liquid = 1 - (ranks[:, :n] - rankdata(values[:, :n], axis=1)) / n
        lost = 1 - of_glass.mean(axis=1)
        error = (of_glass + of_liquid).std(axis=1, ddof=1) / np.sqrt(n)
        return float((lost > enough * error)[lost > 0].sum() / _N_PLANTED)

    low, high = 0.5, 1 - 1e-4
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle) >= _POWER else (low, middle)
    return low


_N_PLANTED, _MOST_PLANTED, _POWER = 400, 200, 0.8


def _binormal(values: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Return values mapped by their ranks to a mixture of two unit normals that has their AUC."""
    n, n_glass = len(label), int((label == 1).sum())
    n_pairs = n_glass * (n - n_glass)
    area = (auc(values, label) * n_pairs + 0.5) / (n_pairs + 1)
    half = float(special.ndtri(np.clip(area, 1e-4, 1 - 1e-4))) / np.sqrt(2)
    u, part = (rankdata(values) - 0.5) / n, n_glass / n
    low, high = np.full(n, -12.0), np.full(n, 12.0)
    for _ in range(45):
        middle = (low + high) / 2
        below = (1 - part) * special.ndtr(middle + half) + part * special.ndtr(middle - half) < u
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)


def asked(found: Difference, *, who: str, where: str, n_runs: int, margin: float) -> Asked:
    """Return the question whether a classifier sees more than the energy.

    Args:
        found: What `adds` returned.
        who: What the classifier is called.
        where: What it is tested on, which begins the sentence.
        n_runs: Independent test runs.
        margin: AUC above one half, at equal energy, that counts as nothing.
    """
    return Asked(
        question=f"Does {who} see more than the energy? {where}.",
        where=where,
        yes=f"{who} sees more than the energy",
        no=f"{who} sees no more than the energy",
        measure="AUC at equal energy",
        offset=0.5,
        found=found,
        n_runs=n_runs,
        margin=margin,
    )


def _ranked_within(values: Float[np.ndarray, " b"], fold: Integer[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Return the rank of each value in its fold, from 0 to 1."""
    ranked = np.empty(len(values))
    for one in np.unique(fold):
        here = fold == one
        ranked[here] = (rankdata(values[here]) - 0.5) / here.sum()
    return ranked


def _standard(values: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """A logistic regression by Firth's penalised likelihood."""

    coefficients: Float[np.ndarray, " p"]
    likelihood: float
    information: Float[np.ndarray, "p p"]


def _firth(x: Float[np.ndarray, "b p"], glass: Bool[np.ndarray, " b"], *, free: int) -> _Fit:
    """Return the fit of the first ``free`` columns, the penalty being that of all columns."""
    b = np.zeros(x.shape[1])
    sign = np.where(glass, -1.0, 1.0)

    def at(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        eta = np.clip(x @ b, -_FARTHEST, _FARTHEST)
        p = special.expit(eta)
        weight = np.maximum(p * (1 - p), 1e-12)
        information = (x * weight[:, None]).T @ x + 1e-9 * np.eye(x.shape[1])
        likelihood = -np.logaddexp(0, sign * eta).sum() + 0.5 * np.linalg.slogdet(information)[1]
        return p, weight, information, float(likelihood)

    p, weight, information, likelihood = at(b)
    for _ in range(50):
        hat = weight * np.einsum("bi,ij,bj->b", x, np.linalg.inv(information), x)
        gradient = x[:, :free].T @ (glass - p + hat * (0.5 - p))
        step = np.linalg.solve(information[:free, :free], gradient)
        step *= min(1.0, 4 / max(float(np.abs(step).max()), 1e-9))
        for _ in range(10):
            new = b.copy()
            new[:free] += step
            moved = at(new)
            if moved[3] >= likelihood - 1e-12:
                break
            step /= 2
        else:
            break
        b, (p, weight, information, likelihood) = new, moved
        if np.abs(step).max() < 1e-6:
            break
    return _Fit(coefficients=b, likelihood=likelihood, information=information)


def _spread(values: Float[np.ndarray, " b"], given: Float[np.ndarray, "b p"]) -> float:
    """Return the standard deviation of values about a linear function of what is given."""
    left = values - given @ np.linalg.lstsq(given, values, rcond=None)[0]
    return float(np.sqrt((left**2).sum() / max(len(values) - given.shape[1], 1)))


def _within_runs(
    held: Float[np.ndarray, "b p"],
    score: Float[np.ndarray, " b"],
    glass: Bool[np.ndarray, " b"],
    coefficients: Float[np.ndarray, " p"],
    of_run: Integer[np.ndarray, " b"],
) -> float:
    """Return the variance of the efficient score summed by run over that of independent configurations.

    It is drawn towards 1 by as much as two more runs would draw it, and kept between one fifth and the largest number
    of configurations of a run.
    """
    p = special.expit(np.clip(held @ coefficients, -_FARTHEST, _FARTHEST))
    weight = np.maximum(p * (1 - p), 1e-9)
    weighted = held * weight[:, None]
    slope = np.linalg.solve(weighted.T @ held + 1e-9 * np.eye(held.shape[1]), weighted.T @ score)
    efficient = (glass - p) * (score - held @ slope)
    size = np.bincount(of_run)
    alone, summed = float((efficient**2).sum()), float((np.bincount(of_run, efficient) ** 2).sum())
    part = 2 / len(size)
    return float(np.clip((summed + part * alone) / max(alone * (1 + part), 1e-300), 0.2, max(size.max(), 1)))


def _within(energy: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> float:
    """Return the standard deviation within the classes."""
    variances = [energy[label == which].var() for which in (0, 1)]
    return float(np.sqrt(np.mean(variances))) or 1.0


def _balance(energy: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"], scale: float) -> Balance:
    glass, liquid = energy[label == 1], energy[label == 0]
    apart = float((glass.mean() - liquid.mean()) / scale)
    return Balance(mean_difference=apart, ks=float(ks_2samp(glass, liquid, method="asymp").statistic))


def _correlation(x: Float[np.ndarray, " b"], y: Float[np.ndarray, " b"], weights: Float[np.ndarray, "s b"]) -> Estimate:
    def weighted(w: Float[np.ndarray, "s b"]) -> Float[np.ndarray, " s"]:
        w = w / w.sum(axis=1, keepdims=True)
        dx, dy = x - (w @ x)[:, None], y - (w @ y)[:, None]
        return np.asarray((w * dx * dy).sum(1) / np.sqrt((w * dx**2).sum(1) * (w * dy**2).sum(1)))

    low, high = np.quantile(weighted(weights), [0.025, 0.975])
    value = float(weighted(np.ones((1, len(x))))[0])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)))
