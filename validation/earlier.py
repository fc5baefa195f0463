"""The methods that `vitrify.scores` and `vitrify.energy` had before, kept to stand beside those of today.

Runs are resampled with random weights (the Bayesian bootstrap), one more run being all wrong or all right for either
bound. What a score adds to an energy was the log likelihood that a cross-validated logistic regression gains.

References:
    Rubin 1981, doi:10.1214/aos/1176345338; Learned-Miller & Thomas 2019, doi:10.48550/arXiv.1905.06208
"""

__all__ = ["N_RESAMPLES", "old_gain", "old_interval", "old_p", "old_verdict"]

import numpy as np
from jaxtyping import Float
from scipy import special

from validation.planted import Drawn
from vitrify.scores import auc

N_RESAMPLES = 400
"""Resamples of every interval; there were 10,000, which the comparison does not need."""

_TAILS = (0.025, 0.975)


def old_interval(drawn: Drawn, rng: np.random.Generator) -> tuple[float, float]:
    """Return the interval of an AUC that the earlier method gave."""
    member, weights, extra = _resample(drawn, rng)
    won, n, n_extra = _counted(_wins(drawn.score, drawn.label), member, drawn.label, weights, extra)
    area = auc(drawn.score, drawn.label)
    low, high = np.quantile(won / (n + n_extra), _TAILS[0]), np.quantile((won + n_extra) / (n + n_extra), _TAILS[1])
    return min(area, float(low)), min(1.0, max(area, float(high)))


def old_p(drawn: Drawn, rng: np.random.Generator) -> tuple[float, float]:
    """Return the difference of two AUC and the two-sided p that the earlier method gave."""
    member, weights, extra = _resample(drawn, rng)
    label, size = drawn.label, member.sum(axis=1)
    wins = _wins(drawn.score, label) - _wins(drawn.other, label)
    won, _, n_extra = _counted(wins, member, label, weights, extra)
    pairs = member[:, label == 1] @ wins @ member[:, label == 0].T
    n_glass, n_liquid = (member[:, label == which].sum(axis=1) for which in (1, 0))
    means = (
        np.abs(pairs.sum(axis=1)) / (n_glass * n_liquid.sum()),
        np.abs(pairs.sum(axis=0)) / (n_liquid * n_glass.sum()),
    )
    most = n_extra * max(np.concatenate(means).max(), 1 / size.mean())
    beyond = min((won - most <= 0).sum(), (won + most >= 0).sum())
    return float(wins.mean()), min(1.0, 2 * float(beyond + 1) / (len(won) + 1))


def old_gain(drawn: Drawn, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return the mean log likelihood ratio with its interval, and its two-sided p, by the earlier method."""
    runs = int(drawn.run.max()) + 1
    fold = rng.permutation(np.arange(runs) % 5)[drawn.run]
    alone = _left_out(drawn.other[:, None], drawn.label, fold)
    both = _left_out(np.stack([drawn.other, drawn.score], axis=1), drawn.label, fold)
    sign = np.where(drawn.label == 1, -1.0, 1.0)
    ratio = np.logaddexp(0, sign * alone) - np.logaddexp(0, sign * both)
    size = np.bincount(drawn.run)
    weights = rng.standard_exponential((N_RESAMPLES, runs))
    means = weights @ np.bincount(drawn.run, ratio) / (weights @ size)
    p = 2 * min(float((means <= 0).mean()), float((means >= 0).mean()))
    low, high = np.quantile(means, _TAILS)
    return float(ratio.mean()), float(low), float(high), min(1.0, max(p, 1 / N_RESAMPLES))


def old_verdict(drawn: Drawn, rng: np.random.Generator) -> str:
    """Return ``more``, ``only`` or ``undecided``; the AUC of both, which hardly ever contradicts, is not asked."""
    _, low, high, p = old_gain(drawn, rng)
    if low > 0 and p < 0.05:
        return "more"
    return "only" if high < 0.02 else "undecided"


def _resample(
    drawn: Drawn, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "r b"], Float[np.ndarray, "s r"], Float[np.ndarray, " s"]]:
    member = (drawn.run == np.arange(drawn.run.max() + 1)[:, None]).astype(float)
    draws = rng.standard_exponential((N_RESAMPLES, len(member) + 1))
    return member, draws[:, 1:], draws[:, 0]


def _wins(score: Float[np.ndarray, " b"], label: np.ndarray) -> Float[np.ndarray, "g l"]:
    return np.asarray((np.sign(score[label == 1][:, None] - score[label == 0]) + 1) / 2)


def _counted(
    wins: Float[np.ndarray, "g l"],
    member: Float[np.ndarray, "r b"],
    label: np.ndarray,
    weights: Float[np.ndarray, "s r"],
    extra: Float[np.ndarray, " s"],
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """Return what is won, all pairs, and the pairs of the extra run, in each resample."""
    n_glass, n_liquid = (member[:, label == which].sum(axis=1) for which in (1, 0))
    pairs = member[:, label == 1] @ wins @ member[:, label == 0].T
    n = (weights @ n_glass) * (weights @ n_liquid)
    return ((weights @ pairs) * weights).sum(axis=1), n, extra * n_glass.mean() * n / (weights @ n_glass)


def _left_out(x: Float[np.ndarray, "b f"], label: np.ndarray, fold: np.ndarray) -> Float[np.ndarray, " b"]:
    """Return the logit of each configuration by a ridge logistic regression fitted on the other folds."""
    logit = np.zeros(len(label))
    for held in range(5):
        seen, here = fold != held, fold == held
        standard = (x - x[seen].mean(axis=0)) / x[seen].std(axis=0)
        standard = np.column_stack([np.ones(len(x)), standard])
        logit[here] = standard[here] @ _ridge(standard[seen], label[seen])
    return logit


def _ridge(x: Float[np.ndarray, "b p"], label: np.ndarray) -> Float[np.ndarray, " p"]:
    """Return the coefficients, all but the first with a penalty of a tenth of half their square."""
    b, penalty = np.zeros(x.shape[1]), np.diag([0.0] + [0.1] * (x.shape[1] - 1))
    for _ in range(30):
        p = special.expit(x @ b)
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, x.T @ (label - p) - penalty @ b)
        b = b + step
        if np.abs(step).max() < 1e-6:
            break
    return b
