r"""Is a classifier only computing the energy? Three questions on one test set, each answered over independent runs.

1. **Does anything rank better than the energy?** The difference of the areas under the ROC curve
   (:func:`vitrify.scores.compare`).
2. **What is left at equal energy?** Glasses and liquids matched one to one within a caliper of the energy
   (:func:`match`); on the matched ones the energy is at chance by construction, and the AUC of a classifier is what it
   sees beyond it. How well the energies are balanced stands beside it.
3. **Does one add to the other?** Logistic regressions on the energy :math:`e`, on the logit :math:`s`, and on both,
   each fitted on the other folds of runs. The gain is the mean log likelihood ratio per configuration,

   .. math:: \Delta = \frac{1}{n} \sum_i \ln \frac{p(y_i \mid e_i, s_i)}{p(y_i \mid e_i)}

   of configurations that no fit has seen, so that a useless variable loses: no degrees of freedom to pay for.

Beside these, the correlation of logit and energy within each class: a logit that only computes the energy follows it
there too.

References:
    matching within a caliper: Stuart 2010, doi:10.1214/09-STS313; the balance: Austin 2009, doi:10.1002/sim.3697;
    likelihood of what was left out: Stone 1974, doi:10.1111/j.2517-6161.1974.tb00994.x
"""

__all__ = [
    "CALIPER",
    "MIN_PAIRS",
    "Balance",
    "Correlation",
    "Gain",
    "Matched",
    "correlation",
    "gain",
    "match",
    "verdict",
]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.optimize import linear_sum_assignment
from scipy.stats import ks_2samp, rankdata

from vitrify.scores import Difference, Estimate, compare

CALIPER = 0.1
"""Largest difference of a matched pair, in standard deviations of the energy within the classes."""

MIN_PAIRS = 8
"""Pairs below which a matched subset gives no number."""

_N_FOLDS, _N_BOOTSTRAP = 5, 5_000


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """What a second variable adds to a first.

    Args:
        likelihood: Mean log likelihood ratio of a configuration left out, in nats.
        auc: AUC of both minus that of the first alone, ranked within the folds.
    """

    likelihood: Difference
    auc: Difference


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


def gain(
    first: Float[np.ndarray, " b"],
    second: Float[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
) -> Gain:
    """Return what a second variable adds to a first in telling glass from liquid.

    Args:
        first: For example the energy of each configuration.
        second: For example a logit.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        rng: Draws folds and resamples.

    Raises:
        ValueError: There are fewer runs than folds, or a fold lacks a class.
    """
    runs, of_run = np.unique(run, return_inverse=True)
    if len(runs) < _N_FOLDS:
        raise ValueError(f"run must hold at least {_N_FOLDS} runs; got {len(runs)}")
    fold = rng.permutation(np.arange(len(runs)) % _N_FOLDS)[of_run]
    alone = _left_out(first[:, None], label, fold)
    both = _left_out(np.stack([first, second], axis=1), label, fold)
    ratio = _log_likelihood(both, label) - _log_likelihood(alone, label)
    auc = compare(both, alone, label, run, rng=rng, fold=fold).auc
    return Gain(likelihood=_mean(ratio, of_run, rng), auc=auc)


def verdict(adds: Gain, p: float) -> str:
    """Return what the gain of a logit on top of the energy supports.

    Args:
        adds: The gain.
        p: The p of its likelihood, corrected for all classifiers asked about on the same configurations.

    Returns:
        ``more`` if the likelihood says it adds, by its interval and with p < 0.05, and the AUC does not contradict;
        ``only`` if it cannot add as much as 0.02 nats per configuration, which nobody would notice; else ``undecided``.
    """
    if adds.likelihood.low > 0 and p < _SIGNIFICANT and adds.auc.value >= 0:
        return "more"
    if adds.likelihood.high < _SMALL:
        return "only"
    return "undecided"


_SMALL = 0.02  # nats per configuration
_SIGNIFICANT = 0.05


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


def _left_out(
    features: Float[np.ndarray, "b f"], label: Integer[np.ndarray, " b"], fold: Integer[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """Return the logit of each configuration by a regression fitted on the other folds."""
    from sklearn.linear_model import LogisticRegression  # a second to import, and only fitting needs it

    logit = np.zeros(len(label))
    for held in np.unique(fold):
        seen, here = fold != held, fold == held
        mean, scale = features[seen].mean(axis=0), features[seen].std(axis=0)
        standard = (features - mean) / np.where(scale > 0, scale, 1.0)
        if len(np.unique(label[seen])) < 2:
            raise ValueError(f"label must hold both classes outside every fold; fold {held} leaves only one")
        logit[here] = LogisticRegression(C=10.0).fit(standard[seen], label[seen]).decision_function(standard[here])
    return logit


def _log_likelihood(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    return np.asarray(-np.logaddexp(0.0, np.where(label == 1, -logit, logit)))


def _mean(values: Float[np.ndarray, " b"], of_run: Integer[np.ndarray, " b"], rng: np.random.Generator) -> Difference:
    """Return the mean with its interval over runs, and the two-sided p of a mean of zero."""
    size = np.bincount(of_run)
    weights = rng.standard_exponential((_N_BOOTSTRAP, len(size)))
    means = weights @ np.bincount(of_run, values) / (weights @ size)
    low, high = np.quantile(means, [0.025, 0.975])
    p = 2 * min(float((means <= 0).mean()), float((means >= 0).mean()))
    value = float(values.mean())
    return Difference(value, min(value, float(low)), max(value, float(high)), min(1.0, max(p, 1 / _N_BOOTSTRAP)))
