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

References:
    Rubin 1981, doi:10.1214/aos/1176345338; Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404;
    the extra sample at the end of the range: Learned-Miller & Thomas 2019, doi:10.48550/arXiv.1905.06208
"""

__all__ = ["Estimate", "Scores", "accuracy", "auc", "rethreshold", "score"]

from dataclasses import dataclass

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


def score(
    logit: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
    threshold: float = 0.0,
    n_bootstrap: int = 10_000,
) -> Scores:
    """Return accuracy and AUC with 95% intervals from resampling the runs.

    Args:
        logit: Score of each configuration; above ``threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        rng: Draws the weights.
        threshold: Where glass begins.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: A logit is not finite, or a class is absent.

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
    glass = _glass(logit, label)
    runs, of_run = np.unique(run, return_inverse=True)
    member = (of_run == np.arange(len(runs))[:, None]).astype(float)
    right = (logit > threshold) == glass
    draws = rng.standard_exponential((n_bootstrap, len(runs) + 1))
    weights, extra = draws[:, 1:], draws[:, 0]
    return Scores(
        n_test=len(logit),
        n_runs=len(runs),
        accuracy=_accuracy_estimate(right, member, weights, extra),
        auc=_auc_estimate(logit, glass, member, weights, extra),
    )


def accuracy(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"], *, threshold: float = 0.0) -> float:
    """Return the fraction of configurations on the right side of the threshold.

    Args:
        logit: Score of each configuration; above ``threshold`` means glass.
        label: 1 for glass, 0 for liquid.
        threshold: Where glass begins.

    Raises:
        ValueError: A logit is not finite, or a class is absent.
    """
    return float(((logit > threshold) == _glass(logit, label)).mean())


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
    glass = _glass(logit, label)
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
    glass = _glass(logit, label)
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


def _glass(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
    if not np.isfinite(logit).all():
        raise ValueError(f"logit must be finite; {(~np.isfinite(logit)).sum()} of {len(logit)} are not")
    glass = np.asarray(label == 1)
    if not 0 < glass.sum() < len(label):
        raise ValueError(f"label must hold both classes; got {glass.sum()} glasses among {len(label)}")
    return glass


def _outranks(glass: Float[np.ndarray, " g"], liquid: Float[np.ndarray, " l"]) -> Float[np.ndarray, "g l"]:
    return np.asarray((np.sign(glass[:, None] - liquid) + 1.0) / 2.0)


def _accuracy_estimate(
    right: Bool[np.ndarray, " b"],
    member: Float[np.ndarray, "r b"],
    weights: Float[np.ndarray, "s r"],
    extra: Float[np.ndarray, " s"],
) -> Estimate:
    size = member.sum(axis=1)
    n_extra = extra * size.mean()
    n_right, n = weights @ (member @ right), weights @ size + n_extra
    return _estimate(float(right.mean()), low=n_right / n, high=(n_right + n_extra) / n)


def _auc_estimate(
    logit: Float[np.ndarray, " b"],
    glass: Bool[np.ndarray, " b"],
    member: Float[np.ndarray, "r b"],
    weights: Float[np.ndarray, "s r"],
    extra: Float[np.ndarray, " s"],
) -> Estimate:
    """Resample the AUC; the extra run holds glasses that every liquid, or none, outranks."""
    of_glass, of_liquid = member[:, glass], member[:, ~glass]
    wins = _outranks(logit[glass], logit[~glass])
    won = np.einsum("sa,ab,sb->s", weights, of_glass @ wins @ of_liquid.T, weights, optimize=True)
    n_glass, n_liquid = of_glass.sum(axis=1), of_liquid.sum(axis=1)
    n_extra = extra * n_glass.mean() * (weights @ n_liquid)
    n = (weights @ n_glass) * (weights @ n_liquid) + n_extra
    return _estimate(float(wins.mean()), low=won / n, high=(won + n_extra) / n)


def _estimate(value: float, *, low: Float[np.ndarray, " s"], high: Float[np.ndarray, " s"]) -> Estimate:
    tail = (1 - _LEVEL) / 2
    return Estimate(
        value=value,
        low=min(value, float(np.quantile(low, tail))),
        high=min(1.0, max(value, float(np.quantile(high, 1 - tail)))),
    )
