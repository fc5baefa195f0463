r"""How good a classifier is, with intervals over independent runs.

A classifier gives each configuration a logit, large for glass. Its accuracy counts the logits on the right side of
a threshold; its area under the ROC curve (AUC) is the chance that a glass outranks a liquid, ties counting one half:

.. math:: \mathrm{AUC} = P(s_\mathrm{glass} > s_\mathrm{liquid}) + \tfrac12 P(s_\mathrm{glass} = s_\mathrm{liquid})

Configurations of one run resemble each other, so runs, not configurations, are resampled: each resample gives the
runs random weights (the Bayesian bootstrap). An ordinary bootstrap of 20 right answers out of 20 has no spread and
would report [1, 1]. Here the lower bound is taken with one more run in the sample whose configurations are all
wrong, and the upper bound with one whose configurations are all right. For runs that are wholly right or wholly wrong
these bounds are exactly those of Clopper and Pearson, so ``n`` right runs give ``low = 0.025 ** (1 / n)``, and every
further error lowers it from there. Fewer runs always mean a wider interval.

Two classifiers of the same configurations are compared by the difference of their scores under the same weights. The
extra run then differs by as much as the run that differs most, and by one configuration at least, against the one or
for it; the two-sided p is twice the smaller part of the resamples whose bound lies beyond zero. For runs wholly right
or wholly wrong it is McNemar's exact p. Where several p values stand in one table, Holm's correction stands beside
them: the chance that any of the true null hypotheses is rejected stays below the level, however they depend on each
other.

References:
    Rubin 1981, doi:10.1214/aos/1176345338; Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404;
    the extra sample at the end of the range: Learned-Miller & Thomas 2019, doi:10.48550/arXiv.1905.06208;
    two classifiers: McNemar 1947, doi:10.1007/BF02295996; several comparisons: Holm 1979, Scandinavian Journal of
    Statistics 6, 65; no AUC across folds: Forman & Scholz 2010,
    doi:10.1145/1882471.1882479
"""

__all__ = [
    "Comparison",
    "Difference",
    "Estimate",
    "Scores",
    "accuracy",
    "auc",
    "compare",
    "corrected",
    "fraction",
    "glasses",
    "holm",
    "rethreshold",
    "score",
]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

_LEVEL = 0.95


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


@dataclass(frozen=True, slots=True)
class Difference:
    """One score minus another, its 95% interval, and the two-sided p of there being no difference."""

    value: float
    low: float
    high: float
    p: float


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
    rng: np.random.Generator,
    threshold: float = 0.0,
    fold: Integer[np.ndarray, " b"] | None = None,
    n_bootstrap: int = 10_000,
) -> Scores:
    """Return accuracy and AUC with 95% intervals from resampling the runs.

    Args:
        logit: Score of each configuration; above ``threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        rng: Draws the weights.
        threshold: Where glass begins.
        fold: Fold of a cross-validation that scored each configuration; a glass is ranked against the liquids of its
            own fold only, because scores of different classifiers have no common scale.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: A logit is not finite, or a class is absent (from every fold, where there are folds).

    Example:
        >>> s = score(
        ...     np.array([-1.0, -2.0, 3.0, 1.0]),
        ...     np.array([0, 0, 1, 1]),
        ...     np.array([0, 1, 0, 1]),
        ...     rng=np.random.default_rng(1),
        ... )
        >>> s.auc.value, s.auc.high, bool(abs(s.accuracy.low - 0.025**0.5) < 0.02)
        (1.0, 1.0, True)
    """
    glass = glasses(logit, label)
    member, weights, extra = _resample(run, rng=rng, n_bootstrap=n_bootstrap)
    pairs = _Pairs.of(glass, member, fold)
    return Scores(
        n_test=len(logit),
        n_runs=len(member),
        accuracy=_fraction((logit > threshold) == glass, member, weights, extra),
        auc=pairs.estimate(_outranks(logit[glass], logit[~glass]), weights, extra),
    )


def compare(
    logit: Float[np.ndarray, " b"],
    other: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
    threshold: float = 0.0,
    other_threshold: float = 0.0,
    fold: Integer[np.ndarray, " b"] | None = None,
    n_bootstrap: int = 10_000,
) -> Comparison:
    """Return how far a classifier is above another one on the same configurations.

    Args:
        logit: Score of each configuration by the one; above ``threshold`` means glass.
        other: Score of each configuration by the other; above ``other_threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        rng: Draws the weights.
        threshold: Where glass begins for the one.
        other_threshold: Where glass begins for the other.
        fold: As in :func:`score`; both classifiers from the same folds.
        n_bootstrap: Number of resamples; no p is below ``2 / (n_bootstrap + 1)``.

    Raises:
        ValueError: A logit is not finite, or a class is absent (from every fold, where there are folds).

    Example:
        Five runs are right for the one and wrong for the other, so p is that of five coins alike, 2 / 2**5:

        >>> label, run = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
        >>> right = np.where(label == 1, 1.0, -1.0)
        >>> c = compare(right, -right, label, run, rng=np.random.default_rng(1))
        >>> c.accuracy.value, bool(abs(c.accuracy.p - 2 / 2**5) < 0.01)
        (1.0, True)
    """
    glass = glasses(logit, label)
    glasses(other, label)
    member, weights, extra = _resample(run, rng=rng, n_bootstrap=n_bootstrap)
    pairs = _Pairs.of(glass, member, fold)
    right = ((logit > threshold) == glass).astype(float) - ((other > other_threshold) == glass)
    wins = _outranks(logit[glass], logit[~glass]) - _outranks(other[glass], other[~glass])
    size = member.sum(axis=1)
    n_right, n, n_extra = _counted(right, member, weights, extra)
    won, n_pairs, n_extra_pairs = pairs.counted(wins, weights, extra)
    n_most = n_extra * max(np.abs(member @ right / size).max(), 1 / size.mean())
    n_most_pairs = n_extra_pairs * max(pairs.most(wins), 1 / size.mean())
    return Comparison(
        n_test=len(logit),
        n_runs=len(member),
        accuracy=_difference(float(right.mean()), low=(n_right - n_most) / n, high=(n_right + n_most) / n),
        auc=_difference(pairs.mean(wins), low=(won - n_most_pairs) / n_pairs, high=(won + n_most_pairs) / n_pairs),
    )


def fraction(
    holds: Bool[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
    n_bootstrap: int = 10_000,
) -> Estimate:
    """Return how often something holds, with its 95% interval from resampling the runs.

    Args:
        holds: Whether it does, for each configuration.
        run: Index of the independent run each configuration came from.
        rng: Draws the weights.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: There is no configuration.

    Example:
        >>> e = fraction(np.ones(4, bool), np.arange(4), rng=np.random.default_rng(1))
        >>> e.value, e.high, bool(abs(e.low - 0.025 ** (1 / 4)) < 0.02)
        (1.0, 1.0, True)
    """
    if not len(holds):
        raise ValueError("holds must have at least one configuration; got none")
    return _fraction(holds, *_resample(run, rng=rng, n_bootstrap=n_bootstrap))


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
    return float(_outranks(logit[glass], logit[~glass]).mean())


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


def corrected(differences: Sequence[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
    """Return the differences of one table, as JSON holds them, each with ``p_holm``; what is missing stays so.

    Args:
        differences: ``dataclasses.asdict`` of a :class:`Difference` each; all of them are one family.
    """
    there = [one["p"] for one in differences if one is not None]
    found = iter(holm(np.array(there, float)).tolist())
    return [None if one is None else one | {"p_holm": next(found)} for one in differences]


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


def _outranks(glass: Float[np.ndarray, " g"], liquid: Float[np.ndarray, " l"]) -> Float[np.ndarray, "g l"]:
    return np.asarray((np.sign(glass[:, None] - liquid) + 1.0) / 2.0)


def _resample(
    run: Integer[np.ndarray, " b"], *, rng: np.random.Generator, n_bootstrap: int
) -> tuple[Float[np.ndarray, "r b"], Float[np.ndarray, "s r"], Float[np.ndarray, " s"]]:
    """Return which configurations are of which run, and the weights of the runs and of the extra run."""
    runs, of_run = np.unique(run, return_inverse=True)
    member = (of_run == np.arange(len(runs))[:, None]).astype(float)
    draws = rng.standard_exponential((n_bootstrap, len(runs) + 1))
    return member, draws[:, 1:], draws[:, 0]


_Counts = tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"], Float[np.ndarray, " s"]]


def _counted(
    right: Float[np.ndarray, " b"],
    member: Float[np.ndarray, "r b"],
    weights: Float[np.ndarray, "s r"],
    extra: Float[np.ndarray, " s"],
) -> _Counts:
    """Return what is right, the number of all, and how many of these are of the extra run, in each resample."""
    size = member.sum(axis=1)
    n_extra = extra * size.mean()
    return weights @ (member @ right), weights @ size + n_extra, n_extra


def _fraction(
    right: Bool[np.ndarray, " b"],
    member: Float[np.ndarray, "r b"],
    weights: Float[np.ndarray, "s r"],
    extra: Float[np.ndarray, " s"],
) -> Estimate:
    n_right, n, n_extra = _counted(right.astype(float), member, weights, extra)
    return _estimate(float(right.mean()), low=n_right / n, high=(n_right + n_extra) / n)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pairs:
    """The pairs of a glass and a liquid that are ranked, and the runs they are of.

    The extra run holds glasses that every liquid, or none, outranks: as many pairs as a run has in the mean.
    """

    ranked: Bool[np.ndarray, "g l"]
    of_glass: Float[np.ndarray, "r g"]
    of_liquid: Float[np.ndarray, "r l"]

    @classmethod
    def of(
        cls,
        glass: Bool[np.ndarray, " b"],
        member: Float[np.ndarray, "r b"],
        fold: Integer[np.ndarray, " b"] | None,
    ) -> "_Pairs":
        fold = np.zeros(len(glass), int) if fold is None else fold
        ranked = fold[glass][:, None] == fold[~glass]
        if not ranked.any():
            raise ValueError("fold must put a glass and a liquid together at least once; every fold holds one class")
        return cls(ranked=ranked, of_glass=member[:, glass], of_liquid=member[:, ~glass])

    def mean(self, wins: Float[np.ndarray, "g l"]) -> float:
        return float(wins[self.ranked].mean())

    def most(self, wins: Float[np.ndarray, "g l"]) -> float:
        """Return the largest mean, by size, of the pairs of one run's glasses, or of one run's liquids."""
        won, n_pairs = (self.of_glass @ each @ self.of_liquid.T for each in (wins * self.ranked, self.ranked))
        means = [np.abs(won.sum(axis=k)) / np.maximum(n_pairs.sum(axis=k), 1) for k in (0, 1)]
        return float(np.concatenate(means).max())

    def counted(
        self, wins: Float[np.ndarray, "g l"], weights: Float[np.ndarray, "s r"], extra: Float[np.ndarray, " s"]
    ) -> _Counts:
        """Return what is won, the number of pairs, and how many of these are of the extra run, in each resample."""
        n_pairs, won = (self.of_glass @ each @ self.of_liquid.T for each in (self.ranked, wins * self.ranked))
        n, n_glass = ((weights @ n_pairs) * weights).sum(axis=1), self.of_glass.sum(axis=1)
        n_extra = extra * n_glass.mean() * n / (weights @ n_glass)
        return ((weights @ won) * weights).sum(axis=1), n + n_extra, n_extra

    def estimate(
        self, wins: Float[np.ndarray, "g l"], weights: Float[np.ndarray, "s r"], extra: Float[np.ndarray, " s"]
    ) -> Estimate:
        won, n, n_extra = self.counted(wins, weights, extra)
        return _estimate(self.mean(wins), low=won / n, high=(won + n_extra) / n)


def _estimate(value: float, *, low: Float[np.ndarray, " s"], high: Float[np.ndarray, " s"]) -> Estimate:
    tail = (1 - _LEVEL) / 2
    return Estimate(
        value=value,
        low=min(value, float(np.quantile(low, tail))),
        high=min(1.0, max(value, float(np.quantile(high, 1 - tail)))),
    )


def _difference(value: float, *, low: Float[np.ndarray, " s"], high: Float[np.ndarray, " s"]) -> Difference:
    tail = (1 - _LEVEL) / 2
    beyond = min((low <= 0).sum(), (high >= 0).sum())
    return Difference(
        value=value,
        low=max(-1.0, min(value, float(np.quantile(low, tail)))),
        high=min(1.0, max(value, float(np.quantile(high, 1 - tail)))),
        p=min(1.0, 2 * float(beyond + 1) / (len(low) + 1)),
    )
