r"""How good a classifier is, with intervals over independent runs.

A classifier gives each configuration a logit, large for glass. Its accuracy counts the logits on the right side of
a threshold; its area under the ROC curve (AUC) is the chance that a glass outranks a liquid, ties counting one half:

.. math:: A = P(s_\mathrm{glass} > s_\mathrm{liquid}) + \tfrac12 P(s_\mathrm{glass} = s_\mathrm{liquid})

Configurations of one run resemble each other, so runs, not configurations, carry the uncertainty. Every run gets one
pseudo-value, which says how it moves the score. With :math:`w_{gl}` the win of glass g over liquid l and m pairs,

.. math:: d_q = A + \frac{n}{m} \left[\sum_{g \in q} \sum_l (w_{gl} - A) + \sum_{l \in q} \sum_g (w_{gl} - A)\right]

The mean of the n pseudo-values is A, and their variance over n is that of A (DeLong's, clustered by run).

**Intervals.** Near 1 the variance of a few runs is too small. The bound towards 1/2 therefore counts 0.48 of a further
run whose pairs are all wrong, and is the quantile of a beta distribution with the mean and the variance that the
pseudo-values and this part give. The bound towards 1 counts a quarter of a run that is all right and is taken on
the logit scale. Where every pair of n runs is right, the lower bound is exact: ``tail ** (1 / n)``. That holds where
the glass and the liquid of a run are independent or help each other; if one bad run may spoil both, it is
``tail ** (2 / n)``. Where every run holds one class only, n is the smaller number of runs of a class. The interval of
an accuracy is that of Clopper and Pearson where runs are wholly right or wrong.

**Differences.** Two classifiers of the same configurations are compared by the difference of their pseudo-values, with
Student's t of n - 1 degrees of freedom. The p of a difference is one-sided: the chance of one this large if the true
one is not positive. Several p of one family are corrected by Holm's method. Near perfection that variance hides errors
which a few runs do not show, so the bounds that a claim of no difference rests on are at least as wide as the bounds of
the two scores, taken as independent, make them.

Nothing here is random: the same data always give the same answer.

References:
    DeLong, DeLong & Clarke-Pearson 1988, doi:10.2307/2531595; clusters: Obuchowski 1997, doi:10.2307/2533958;
    Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404; the beta form: Rubin 1981, doi:10.1214/aos/1176345338;
    a bound of a difference from bounds: Zou & Donner 2008, doi:10.1002/sim.3095; several comparisons: Holm 1979,
    Scandinavian Journal of Statistics 6, 65; no AUC across folds: Forman & Scholz 2010, doi:10.1145/1882471.1882479
"""

__all__ = [
    "Comparison",
    "Difference",
    "Estimate",
    "Scores",
    "above_chance",
    "accuracy",
    "auc",
    "compare",
    "fraction",
    "glasses",
    "holm",
    "rethreshold",
    "score",
]

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import special

_LEVEL = 0.95
_TAIL = (1 - _LEVEL) / 2
# Parts of a contrary and of a perfect run behind the bounds of an AUC: as little as planted heavy tails allow.
_WRONG, _RIGHT = 0.48, 0.25


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What one classifier reached on one test set.

    Args:
        n_test: Number of configurations.
        n_runs: Number of independent runs they came from.
        accuracy: Fraction on the right side of the threshold.
        auc: Area under the ROC curve.
    """

    n_test: int
    n_runs: int
    accuracy: Estimate
    auc: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One score minus another, or minus what chance would give.

    Args:
        value: The difference.
        low: Lower end of its 95% interval.
        high: Upper end.
        lower: One-sided 95% bound below, as wide as the bounds of both scores make it; a claim of no loss rests on it.
        upper: The same above; a claim of no gain rests on it.
        p: One-sided: the chance of a difference this large or larger if the true one is not above 0.
        p_below: The same the other way round: of one this small or smaller if the true one is not below 0.
        se: Standard error.
    """

    value: float
    low: float
    high: float
    lower: float
    upper: float
    p: float
    p_below: float
    se: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How far one classifier is above another on the same test set.

    Args:
        n_test: Number of configurations.
        n_runs: Number of independent runs they came from.
        accuracy: Difference of the accuracies.
        auc: Difference of the areas under the ROC curve.
    """

    n_test: int
    n_runs: int
    accuracy: Difference
    auc: Difference


def score(
    logit: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    threshold: float = 0.0,
    fold: Integer[np.ndarray, " b"] | None = None,
) -> Scores:
    """Return accuracy and AUC with 95% intervals over the runs.

    Args:
        logit: Score of each configuration; above ``threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        threshold: Where glass begins.
        fold: Fold of a cross-validation that scored each configuration; a glass is ranked against the liquids of its
            own fold only, because scores of different classifiers have no common scale.

    Raises:
        ValueError: A logit is not finite, or a class is absent (from every fold, where there are folds).

    Example:
        >>> s = score(np.array([-1.0, -2.0, 3.0, 1.0]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
        >>> s.auc.value, s.auc.high, round(s.auc.low - 0.025**0.5, 9), round(s.accuracy.low - 0.025**0.5, 9)
        (1.0, 1.0, 0.0, 0.0)
    """
    glass = glasses(logit, label)
    d, n = _of_runs(logit, glass, run, fold), _n_independent(glass, run)
    low, high = _auc_bound(d, _TAIL, n), 1 - _auc_bound(1 - d, _TAIL, n)
    return Scores(
        n_test=len(logit),
        n_runs=len(d),
        accuracy=fraction((logit > threshold) == glass, run),
        auc=Estimate(float(d.mean()), low, high),
    )


def above_chance(
    logit: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    fold: Integer[np.ndarray, " b"] | None = None,
) -> Difference:
    """Return how far an AUC is above one half, with the bounds of `score`; arguments as there.

    Raises:
        ValueError: As `score`.

    Example:
        Seven runs that are all right: each might have been wrong with a chance of one half.

        >>> label, run = np.repeat([0, 1], 7), np.tile(np.arange(7), 2)
        >>> round(above_chance(label.astype(float), label, run).p - 0.5**7, 9)
        0.0
    """
    glass = glasses(logit, label)
    d, n = _of_runs(logit, glass, run, fold), _n_independent(glass, run)
    ends = [_auc_bound(d, tail, n) - 0.5 for tail in (_TAIL, 1 - _LEVEL)]
    tops = [0.5 - _auc_bound(1 - d, tail, n) for tail in (_TAIL, 1 - _LEVEL)]
    return Difference(
        value=float(d.mean()) - 0.5,
        low=ends[0],
        high=tops[0],
        lower=ends[1],
        upper=tops[1],
        p=_chance_below_half(d, n),
        p_below=_chance_below_half(1 - d, n),
        se=_error(d),
    )


def compare(
    logit: Float[np.ndarray, " b"],
    other: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    threshold: float = 0.0,
    other_threshold: float = 0.0,
    fold: Integer[np.ndarray, " b"] | None = None,
) -> Comparison:
    """Return how far a classifier is above another one on the same configurations.

    Args:
        logit: Score of each configuration by the one; above ``threshold`` means glass.
        other: Score of each configuration by the other; above ``other_threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        threshold: Where glass begins for the one.
        other_threshold: Where glass begins for the other.
        fold: As in :func:`score`; both classifiers from the same folds.

    Raises:
        ValueError: A logit is not finite, or a class is absent (from every fold, where there are folds).

    Example:
        >>> label, run = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
        >>> right = np.where(label == 1, 1.0, -1.0)
        >>> c = compare(right, -right, label, run)
        >>> c.auc.value, bool(c.auc.p < 0.05), bool(c.auc.lower > 0)
        (1.0, True, True)
    """
    glass = glasses(logit, label)
    glasses(other, label)
    pair = logit, other
    areas = [_of_runs(each, glass, run, fold) for each in pair]
    right = [
        _pseudo_values((each > limit) == glass, run)
        for each, limit in zip(pair, (threshold, other_threshold), strict=True)
    ]
    return Comparison(
        n_test=len(logit),
        n_runs=len(areas[0]),
        accuracy=_difference(right[0], right[1], bound=_clopper_pearson),
        auc=_difference(areas[0], areas[1], bound=partial(_auc_bound, n=_n_independent(glass, run))),
    )


def fraction(holds: Bool[np.ndarray, " b"], run: Integer[np.ndarray, " b"]) -> Estimate:
    """Return how often something holds, with its 95% interval over the runs.

    Args:
        holds: Whether it does, for each configuration.
        run: Index of the independent run each configuration came from.

    Raises:
        ValueError: There is no configuration.

    Example:
        >>> e = fraction(np.ones(4, bool), np.arange(4))
        >>> e.value, e.high, round(e.low - 0.025 ** (1 / 4), 9)
        (1.0, 1.0, 0.0)
    """
    if not len(holds):
        raise ValueError("holds must have at least one configuration; got none")
    d = _pseudo_values(holds, run)
    return Estimate(float(holds.mean()), _clopper_pearson(d, _TAIL), 1 - _clopper_pearson(1 - d, _TAIL))


def accuracy(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"], *, threshold: float = 0.0) -> float:
    """Return the fraction of configurations on the right side of the threshold.

    Args:
        logit: Score of each configuration; above ``threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        threshold: Where glass begins.

    Raises:
        ValueError: A logit is not finite, or a class is absent.
    """
    return float(((logit > threshold) == glasses(logit, label)).mean())


def auc(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> float:
    """Return the area under the ROC curve.

    Args:
        logit: Score of each configuration, larger for glass.
        label: 1 for glass, 0 for liquid.

    Raises:
        ValueError: A logit is not finite, or a class is absent.

    References:
        Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747

    Example:
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
        0.75
    """
    glass = glasses(logit, label)
    won, n_pairs = _won(logit, glass)
    return float(won[glass].sum() / n_pairs[glass].sum())


def rethreshold(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> float:
    """Return the threshold of best accuracy on validation configurations.

    It lies halfway between two neighbouring scores; of several equally good places, in the widest gap.

    Args:
        logit: Score of each validation configuration, larger for glass.
        label: 1 for glass, 0 for liquid.

    Raises:
        ValueError: A logit is not finite, or a class is absent.

    Example:
        >>> rethreshold(np.array([1.0, 2.0, 4.0, 5.0]), np.array([0, 0, 1, 1]))
        3.0
    """
    glass = glasses(logit, label)
    scores, of_score = np.unique(logit, return_inverse=True)
    gain = np.bincount(of_score, weights=np.where(glass, -1.0, 1.0))  # what moving the threshold past a score gains
    n_right = glass.sum() + np.concatenate([[0.0], np.cumsum(gain)])
    below, above = np.nextafter(scores[0], -np.inf), scores[-1]
    edges = np.concatenate([[below], scores, [above]])
    best = np.flatnonzero(n_right == n_right.max())
    widest = best[np.argmax(np.diff(edges)[best])]
    middle = (edges[widest] + edges[widest + 1]) / 2
    # glass means strictly above, so in the first gap, which has no width, the threshold is its lower edge
    return float(edges[widest] if widest == 0 or middle >= edges[widest + 1] else middle)


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    r"""Return p values corrected for their number, by Holm's method.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\left(1, (m - j + 1)\, p_{(j)}\right)

    with :math:`p_{(1)} \le \dots \le p_{(m)}` in order. Nothing is asked of how the tests depend on each other.

    Args:
        p: Of the tests of one family.

    Raises:
        ValueError: A value is not from 0 to 1.

    References:
        Holm 1979, Scandinavian Journal of Statistics 6, 65, jstor.org/stable/4615733

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(6).tolist()
        [0.03, 0.06, 0.06]
    """
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p must be from 0 to 1; got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    found = np.empty(len(p))
    found[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return found


def glasses(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
    """Return which configurations are labelled glass, refusing what cannot be scored.

    Args:
        logit: Score of each configuration.
        label: 1 for glass, 0 for liquid.

    Raises:
        ValueError: A logit is not finite, or a class is absent.
    """
    if not np.isfinite(logit).all():
        raise ValueError(f"logit must be finite; {(~np.isfinite(logit)).sum()} of {len(logit)} are not")
    glass = np.asarray(label == 1)
    if not 0 < glass.sum() < len(label):
        raise ValueError(f"label must hold both classes; got {glass.sum()} glasses among {len(label)}")
    return glass


def _won(
    logit: Float[np.ndarray, " b"], glass: Bool[np.ndarray, " b"], fold: Integer[np.ndarray, " b"] | None = None
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Return, for each configuration, its pairs that are ranked rightly and all its pairs, within its fold."""
    won, n_pairs = np.zeros(len(logit)), np.zeros(len(logit))
    for here in [np.ones(len(logit), bool)] if fold is None else [fold == one for one in np.unique(fold)]:
        s, y = logit[here], glass[here]
        n_glass, n_liquid = y.sum(), (~y).sum()
        above = np.empty(len(s))  # configurations of the other class with a smaller score, ties counting one half
        above[y], above[~y] = (_ranks(s)[who] - _ranks(s[who]) for who in (y, ~y))
        won[here] = np.where(y, above, n_glass - above)
        n_pairs[here] = np.where(y, n_liquid, n_glass)
    if not n_pairs.any():
        raise ValueError("fold must put a glass and a liquid together at least once; every fold holds one class")
    return won, n_pairs


def _ranks(values: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Return the ranks from 1, equal values sharing their mean rank."""
    _, place, often = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(often) - (often - 1) / 2)[place]


def _of_runs(
    logit: Float[np.ndarray, " b"],
    glass: Bool[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    fold: Integer[np.ndarray, " b"] | None,
) -> Float[np.ndarray, " r"]:
    """Return the pseudo-value of the AUC of each run."""
    won, n_pairs = _won(logit, glass, fold)
    total = n_pairs[glass].sum()
    area = won[glass].sum() / total
    _, of_run = np.unique(run, return_inverse=True)
    moved = np.bincount(of_run, won - n_pairs * area)
    return np.asarray(area + moved * len(moved) / total)


def _n_independent(glass: Bool[np.ndarray, " b"], run: Integer[np.ndarray, " b"]) -> int:
    """Return how many glasses and liquids of different runs can be paired: the runs, where each has both."""
    return min(len(np.unique(run[which])) for which in (glass, ~glass))


def _pseudo_values(holds: Bool[np.ndarray, " b"], run: Integer[np.ndarray, " b"]) -> Float[np.ndarray, " r"]:
    """Return the pseudo-value of a fraction of each run."""
    _, of_run = np.unique(run, return_inverse=True)
    moved = np.bincount(of_run, holds - holds.mean())
    return np.asarray(holds.mean() + moved * len(moved) / len(holds))


def _error(d: Float[np.ndarray, " r"]) -> float:
    """Return the standard error of the mean of pseudo-values; a single run has none."""
    return float(d.std(ddof=1) / np.sqrt(len(d))) if len(d) > 1 else 0.5


def _moments(d: Float[np.ndarray, " r"], part: float, value: float) -> tuple[float, float, float]:
    """Return mean, sum of squares and size of the pseudo-values with a part of one more run of a given value."""
    size = len(d) + part
    mean = float(np.clip((d.sum() + part * value) / size, 1e-9, 1 - 1e-9))
    return mean, float(((d - mean) ** 2).sum() + part * (value - mean) ** 2), size


def _beta(mean: float, variance: float) -> tuple[float, float]:
    """Return the parameters of the beta distribution of a mean and a variance."""
    size = max(mean * (1 - mean) / max(variance, 1e-12) - 1, 1e-3)
    return mean * size, (1 - mean) * size


def _below(d: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """Return the beta distribution behind the lower bound of an AUC of at least one half."""
    mean, square, size = _moments(d, _WRONG, 0.0)
    return _beta(mean, square / (size * max(size - 1, 0.5)))


def _above(d: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """Return centre and width, on the logit scale, behind the upper bound of an AUC of at least one half."""
    mean, square, size = _moments(d, _RIGHT, 1.0)
    return float(special.logit(mean)), float(
        np.sqrt(max(square / (size * max(size - 1, 0.25)), 1e-12)) / (mean * (1 - mean))
    )


def _auc_bound(d: Float[np.ndarray, " r"], tail: float, n: int) -> float:
    """Return the lower bound of an AUC of n independent pairs at a one-sided tail."""
    area = float(d.mean())
    if area >= 1 - 1e-12:
        return float(tail ** (1 / n))
    if area <= 1e-12:
        return 0.0
    if area >= 0.5:
        return min(area, float(special.betaincinv(*_below(d), tail)))
    centre, width = _above(1 - d)
    return min(area, float(1 - special.expit(centre + special.ndtri(1 - tail) * width)))


def _chance_below_half(d: Float[np.ndarray, " r"], n: int) -> float:
    """Return the tail at which the lower bound of an AUC of n independent pairs is one half."""
    area = float(d.mean())
    if area >= 1 - 1e-12:
        return float(0.5**n)
    if area <= 1e-12:
        return 1.0
    if area >= 0.5:
        return float(special.betainc(*_below(d), 0.5))
    centre, width = _above(1 - d)
    return float(special.ndtr(centre / width))


def _clopper_pearson(d: Float[np.ndarray, " r"], tail: float) -> float:
    """Return the lower bound of a fraction at a one-sided tail, one more run being all wrong."""
    if d.mean() <= 1e-12:
        return 0.0
    mean, square, size = _moments(d, 1.0, 0.0)
    return min(float(d.mean()), float(special.betaincinv(*_beta(mean, square / (size * (size + 1))), tail)))


def _difference(
    one: Float[np.ndarray, " r"],
    other: Float[np.ndarray, " r"],
    *,
    bound: Callable[[Float[np.ndarray, " r"], float], float],
) -> Difference:
    """Return the difference of two scores by their pseudo-values, ``bound`` being the lower bound of either."""
    d, n = one - other, len(one)
    value, free, tail = float(d.mean()), max(n - 1, 1), 1 - _LEVEL
    single, both = (float(special.stdtrit(free, 1 - part)) for part in (tail, _TAIL))
    # two classifiers that are the same on every run may still differ on one that is not there
    se = _error(d) if np.ptp(d) > 1e-12 else (1 - tail ** (1 / n)) / single
    up, down = (
        max(single * se, float(np.hypot(1 - bound(1 - a, tail) - a.mean(), b.mean() - bound(b, tail))))
        for a, b in ((one, other), (other, one))
    )
    low, high, lower, upper = np.clip(value + np.array([-both * se, both * se, -down, up]), -1, 1).tolist()
    p = float(special.stdtr(free, -value / se))
    return Difference(value=value, low=low, high=high, lower=lower, upper=upper, p=p, p_below=1 - p, se=se)
