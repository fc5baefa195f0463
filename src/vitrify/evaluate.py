r"""What trained classifiers say of any configurations: averaged, calibrated, checked and cross-validated.

A prediction may be averaged over ``m`` looks: networks of other seeds, and the same configuration turned, mirrored or
shifted. Two averages are offered, of logits :math:`z` and of probabilities :math:`p = 1 / (1 + e^{-z})`:

.. math:: \bar z = \frac1m \sum_i z_i, \qquad \bar z = \ln \frac{\bar p}{1 - \bar p}, \quad \bar p = \frac1m \sum_i p_i

The first is the geometric mean of the odds; in the second one sure look cannot outvote many unsure ones. Nothing here
trains or sees a test run before it is scored: what is fitted (threshold, temperature) is fitted to validation runs.

References:
    averages of opinions: Genest & Zidek 1986, doi:10.1214/ss/1177013825; of networks: Lakshminarayanan et al. 2017,
    doi:10.48550/arXiv.1612.01474
"""

__all__ = [
    "Averaging",
    "Bin",
    "Calibration",
    "CrossValidation",
    "Fit",
    "Reliability",
    "Scorer",
    "averaged",
    "calibrate",
    "calibrated",
    "chosen_inside",
    "combine",
    "cross_validate",
    "members",
    "reliability",
    "table",
    "temperature",
]

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float64, Integer
from pydantic import BaseModel, ConfigDict, Field

from vitrify import learn, scores
from vitrify.dataset import Labelled, Nested, Split
from vitrify.scores import Estimate, Scores
from vitrify.views import symmetries, symmetry

Over = Literal["logit", "probability"]
Scorer = Callable[[Labelled], Float64[np.ndarray, " b"]]
"""What gives each configuration a logit, positive for glass."""


class Averaging(BaseModel):
    """How a configuration is looked at more than once; a model that sees no difference looks once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symmetries: bool = Field(False, description="Look at it under every symmetry of the box: 8 of a square.")
    n_shifts: int = Field(
        1, ge=1, description="Shifts of the periodic box each symmetry is looked at under; 1 is none."
    )
    over: Over = Field("logit", description="What is averaged: the logits or the probabilities.")


class Fit(Protocol):
    """What a cross-validation calls to get a classifier of one fold."""

    def __call__(self, train: Labelled, validation: Labelled, *, fold: tuple[int, ...]) -> Scorer:
        """Return a fitted classifier.

        Args:
            train: Configurations of the fold's training runs.
            validation: Configurations of its validation runs.
            fold: Place of the fold, to draw seeds and name folders by: ``(3,)``, or ``(3, 0)`` inside fold 3.
        """
        ...


def averaged(trained: learn.Trained, data: Labelled, averaging: Averaging | None = None) -> Float64[np.ndarray, " b"]:
    r"""Return one network's logit of each configuration, averaged over symmetries and shifts of the box.

    Shift i is :math:`L_a \{i \alpha_a\}` along axis a, with irrational :math:`\alpha_a = \phi^{-a}` and
    :math:`\phi^{d+1} = \phi + 1`: however many there are, they lie evenly in the box and at all fractions of a pixel.

    Args:
        trained: The network; one whose model is ``invariant`` gives the same logit to every look, and looks once.
        data: Configurations of any number of particles and any box; labels are not used.
        averaging: The looks; by default one, which is `learn.predict`.

    References:
        evenly spread sequences: Niederreiter 1992, doi:10.1137/1.9781611970081, section 3.1
    """
    averaging = averaging or Averaging()
    if trained.model.invariant:
        return learn.predict(trained, data)
    looks = [learn.predict(trained, look) for look in _looks(data, averaging)]
    return combine(np.stack(looks), over=averaging.over)


def members(
    networks: Sequence[learn.Trained], data: Labelled, averaging: Averaging | None = None
) -> Float64[np.ndarray, "s b"]:
    """Return the logit each of several networks gives each configuration; `combine` averages them.

    Args:
        networks: Networks, of other seeds or of other kinds.
        data: Configurations of any number of particles and any box.
        averaging: The looks each network takes.

    Raises:
        ValueError: There is no network.
    """
    if not networks:
        raise ValueError("networks must hold at least one trained network; got none")
    return np.stack([averaged(network, data, averaging) for network in networks])


def combine(logit: Float64[np.ndarray, "s b"], *, over: Over) -> Float64[np.ndarray, " b"]:
    """Return the mean of several looks at each configuration, as a logit.

    Args:
        logit: One row for each look.
        over: ``logit`` for the mean logit, ``probability`` for the logit of the mean probability.

    Example:
        >>> combine(np.log([[9.0], [1.0]]), over="logit").round(4), np.log(3).round(4)
        (array([1.0986]), np.float64(1.0986))
        >>> combine(np.log([[9.0], [1.0]]), over="probability").round(4), np.log(0.7 / 0.3).round(4)
        (array([0.8473]), np.float64(0.8473))
    """
    if over == "logit":
        return np.asarray(logit.mean(axis=0))
    # ln p and ln(1 - p), so that no probability is rounded to 0 or 1
    glass, liquid = (np.logaddexp.reduce(-np.logaddexp(0.0, side * logit), axis=0) for side in (-1, 1))
    return np.asarray(glass - liquid)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    r"""A corrected logit, :math:`(z - z_0) / T`: where glass begins, and how sure to be.

    Args:
        threshold: :math:`z_0`.
        temperature: :math:`T`; above 1 the classifier was too sure.
    """

    threshold: float = 0.0
    temperature: float = 1.0

    def logit(self, logit: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " b"]:
        """Return the corrected logits."""
        return (logit - self.threshold) / self.temperature


def calibrate(
    logit: Float64[np.ndarray, " b"], label: Integer[np.ndarray, " b"], *, move_threshold: bool = False
) -> Calibration:
    """Return the calibration that suits validation configurations.

    Args:
        logit: Score of each validation configuration.
        label: 1 for glass, 0 for liquid.
        move_threshold: Move the threshold to its best place first (`scores.rethreshold`), else leave it at 0.

    Raises:
        ValueError: A logit is not finite, or a class is absent.
    """
    threshold = scores.rethreshold(logit, label) if move_threshold else 0.0
    return Calibration(threshold=threshold, temperature=temperature(logit - threshold, label))


def calibrated(scorer: Scorer, validation: Labelled, *, move_threshold: bool = False) -> Scorer:
    """Return the same classifier with the calibration that suits validation configurations.

    Args:
        scorer: The classifier.
        validation: Configurations neither trained on nor tested on.
        move_threshold: As in `calibrate`.
    """
    fitted = calibrate(scorer(validation), validation.label, move_threshold=move_threshold)
    return lambda data: fitted.logit(scorer(data))


_COLDEST, _HOTTEST = 1e-6, 1e6  # of the temperatures a logit may be divided by


def temperature(logit: Float64[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> float:
    r"""Return the temperature that logits are divided by to lower the cross-entropy of validation configurations most.

    .. math:: T = \arg\min_T -\sum_i [\,t_i \ln p_i + (1 - t_i) \ln (1 - p_i)\,], \qquad p_i = 1 / (1 + e^{-z_i / T})

    with Platt's targets, :math:`t = (n_g + 1) / (n_g + 2)` for a glass and :math:`1 / (n_l + 2)` for a liquid, where
    Guo et al. have 1 and 0: classes that the validation runs separate would otherwise make every classifier infinitely
    sure. Division keeps the order of the scores, so accuracy and AUC stay as they were.

    Args:
        logit: Score of each validation configuration, glass above 0.
        label: 1 for glass, 0 for liquid.

    Returns:
        From 1e-6 to 1e6; 1e6, which makes every probability one half, where the scores are no better than chance.

    Raises:
        ValueError: A logit is not finite, or a class is absent.

    References:
        Guo et al. 2017, doi:10.48550/arXiv.1706.04599, section 4.2
        Platt's targets: Lin, Lin & Weng 2007, doi:10.1007/s10994-007-5018-6, equation 2

    Example:
        Five of six are right with logits of 4, where odds of four to two, as Platt counts them, would be fair:

        >>> label = np.array([0, 0, 0, 1, 1, 1])
        >>> bool(temperature(np.array([-4.0, -4.0, 4.0, 4.0, 4.0, 4.0]), label) > 2)
        True
    """
    from scipy.optimize import brentq  # a third of a second to import, and only fitting needs it

    glass = scores.glasses(logit, label)
    n_glass, n_liquid = glass.sum(), (~glass).sum()
    target = np.where(glass, (n_glass + 1) / (n_glass + 2), 1 / (n_liquid + 2))

    def slope(inverse: float) -> float:
        """Return the derivative of the loss by 1 / T, which only rises."""
        return float(logit @ (_probability(inverse * logit) - target))

    if slope(1 / _HOTTEST) >= 0:
        return _HOTTEST
    if slope(1 / _COLDEST) <= 0:
        return _COLDEST
    return 1 / float(brentq(slope, 1 / _HOTTEST, 1 / _COLDEST, xtol=1e-14))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """The configurations whose probability of glass is between two values.

    Args:
        low: Smallest probability of the bin.
        high: Largest, which the next bin begins with.
        n: Number of configurations.
        n_runs: Number of independent runs they came from.
        probability: Their mean probability.
        glass: The fraction of them that is glass.
    """

    low: float
    high: float
    n: int
    n_runs: int
    probability: float
    glass: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """How far the probabilities can be taken at their word.

    Args:
        n_test: Number of configurations.
        n_runs: Number of independent runs they came from.
        bins: The bins that hold a configuration, from liquid to glass.
        ece: Expected calibration error.
        ece_if_calibrated: What this error stays below in 95% of test sets of this size if every probability is right.
    """

    n_test: int
    n_runs: int
    bins: tuple[Bin, ...]
    ece: Estimate
    ece_if_calibrated: float


def reliability(
    logit: Float64[np.ndarray, " b"],
    label: Integer[np.ndarray, " b"],
    run: Integer[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
    n_bins: int = 10,
    n_bootstrap: int = 10_000,
) -> Reliability:
    r"""Return the reliability table and the expected calibration error.

    .. math:: \mathrm{ECE} = \sum_k \frac{n_k}{n} \left| \bar p_k - \bar y_k \right|

    over bins of equal width, with :math:`\bar p_k` the mean probability of glass in bin k and :math:`\bar y_k` the
    fraction that is glass. An estimate from few configurations is above 0 even if every probability is right, so
    it is to be read beside `ece_if_calibrated`, for which labels are drawn from the probabilities. The interval is
    from random weights of the runs: below by what they move the bins, summed without sign, or by `ece_if_calibrated` if
    that is more; above by the error they give with one more run, wrong by 1. It is wide rather than short.

    Args:
        logit: Score of each configuration, glass above 0.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run each configuration came from.
        rng: Draws the weights and the labels.
        n_bins: Number of bins from 0 to 1.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: A logit is not finite, a class is absent, or there is no bin.

    References:
        Guo et al. 2017, doi:10.48550/arXiv.1706.04599, equation 3
        labels drawn from the probabilities: Bröcker & Smith 2007, doi:10.1175/WAF993.1
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1; got {n_bins}")
    glass, p = scores.glasses(logit, label), _probability(logit)
    of_bin = np.minimum((p * n_bins).astype(int), n_bins - 1)
    runs, of_run = np.unique(run, return_inverse=True)
    shortfall = np.zeros((len(runs), n_bins))
    np.add.at(shortfall, (of_run, of_bin), glass - p)
    weights, extra = np.split(rng.standard_exponential((n_bootstrap, len(runs) + 1)), [len(runs)], axis=1)
    n_extra = extra[:, 0] * len(label) / len(runs)
    total, n = weights @ shortfall, weights @ np.bincount(of_run)
    value = float(np.abs(shortfall.sum(axis=0)).sum() / len(label))
    noise = np.abs(total / n[:, None] - shortfall.sum(axis=0) / len(label)).sum(axis=1)
    by_chance = _ece_by_chance(p, of_bin, rng=rng, n_draws=1000)
    low = value - max(float(np.quantile(noise, 0.975)), by_chance)
    high = float(np.quantile((np.abs(total).sum(axis=1) + n_extra) / (n + n_extra), 0.975))
    return Reliability(
        n_test=len(label),
        n_runs=len(runs),
        bins=tuple(
            Bin(
                low=k / n_bins,
                high=(k + 1) / n_bins,
                n=int((of_bin == k).sum()),
                n_runs=len(np.unique(run[of_bin == k])),
                probability=float(p[of_bin == k].mean()),
                glass=scores.fraction(glass[of_bin == k], run[of_bin == k]),
            )
            for k in np.unique(of_bin)
        ),
        ece=Estimate(value, max(0.0, low), max(value, high)),
        ece_if_calibrated=by_chance,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossValidation:
    """What a kind of classifier reached when every run was tested once.

    The classifiers of two folds share most of their training runs, so the intervals are of the test runs alone: they
    do not hold what other training runs would have changed.

    Args:
        folds: The scores of each fold.
        n_train: Number of training configurations of each fold.
        pooled: Accuracy over all configurations, and AUC over the pairs of one fold.
        logit: The logit of each configuration, by the classifier that never saw its run.
        fold: Which fold tested it.
    """

    folds: tuple[Scores, ...]
    n_train: tuple[int, ...]
    pooled: Scores
    logit: Float64[np.ndarray, " b"]
    fold: Integer[np.ndarray, " b"]


def cross_validate(fit: Fit, data: Labelled, splits: Sequence[Split]) -> CrossValidation:
    """Return the scores of classifiers fitted fold by fold, every configuration scored by one that never saw its run.

    Args:
        fit: Fits one classifier; `calibrated` inside it keeps thresholds and temperatures to the fold's own validation.
        data: All configurations.
        splits: The folds (`dataset.folds`).

    Raises:
        ValueError: A run is in two parts of a fold, the folds do not test every run of the data once, or a part
            holds one class only.

    References:
        no unbiased estimate of the variance over training sets exists: Bengio & Grandvalet 2004, Journal of Machine
        Learning Research 5, 1089
    """
    _check(splits, data)
    logit, fold = np.full(len(data.label), np.nan), np.full(len(data.label), -1)
    each, n_train = [], []
    for place, split in enumerate(splits):
        train, validation, test = (data.of_runs(runs) for runs in (split.train, split.validation, split.test))
        scored = fit(train, validation, fold=(place,))(test)
        here = np.isin(data.run, split.test)
        logit[here], fold[here] = scored, place
        each.append(scores.score(scored, test.label, test.run))
        n_train.append(len(train.label))
    return CrossValidation(
        folds=tuple(each),
        n_train=tuple(n_train),
        pooled=scores.score(logit, data.label, data.run, fold=fold),
        logit=logit,
        fold=fold,
    )


def chosen_inside(fits: Mapping[str, Fit], data: Labelled, nested: Sequence[Nested]) -> Fit:
    """Return the fit that each fold chooses for itself by cross-validation among its own training and validation runs.

    With ``cross_validate(chosen_inside(fits, data, nested), data, [n.outer for n in nested])`` no run tests a
    choice that it took part in. The choice is the lowest cross-entropy, the first of two equal ones; it costs one
    training for each candidate and inner fold, beside the one of the fold.

    Args:
        fits: The candidates.
        data: All configurations.
        nested: The folds and their inner folds (`dataset.nested_folds`).

    Raises:
        ValueError: There is no candidate, or the inner folds are not of the fold being fitted or have a run in two
            parts.

    References:
        Varma & Simon 2006, doi:10.1186/1471-2105-7-91
    """
    if not fits:
        raise ValueError("fits must hold at least one candidate; got none")

    def fit(train: Labelled, validation: Labelled, *, fold: tuple[int, ...]) -> Scorer:
        inner = nested[fold[0]].inner
        outside = np.setdiff1d(np.concatenate([split.test for split in inner]), [*train.run, *validation.run])
        if outside.size:
            raise ValueError(
                f"nested must be of the same folds as splits; runs {outside.tolist()} of inner folds of fold {fold[0]} "
                "are not among its training and validation runs: give cross_validate the outer folds of nested"
            )
        _check_apart(inner, f" inside fold {fold[0]}")

        def loss(name: str) -> float:
            total = 0.0
            for place, split in enumerate(inner):
                parts = (data.of_runs(runs) for runs in (split.train, split.validation))
                test = data.of_runs(split.test)
                scored = fits[name](*parts, fold=(*fold, place))(test)
                total += float(np.logaddexp(0.0, np.where(test.label == 1, -scored, scored)).sum())
            return total

        best = min(fits, key=loss) if len(fits) > 1 else next(iter(fits))
        return fits[best](train, validation, fold=fold)

    return fit


def table(result: CrossValidation) -> list[dict[str, Any]]:
    """Return one row for each fold and one, named ``pooled``, for all: as printed, or written to a file.

    A row holds ``fold``, ``n_train`` (0 in the pooled row), ``n_test``, ``n_runs``, and the value and interval of both
    scores: ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``auc``, ``auc_low``, ``auc_high``.
    """
    named = [*((str(place), n, fold) for place, (n, fold) in enumerate(zip(result.n_train, result.folds, strict=True)))]
    return [
        {"fold": name, "n_train": n_train, "n_test": one.n_test, "n_runs": one.n_runs}
        | {
            metric + suffix: getattr(getattr(one, metric), bound)
            for metric in ("accuracy", "auc")
            for suffix, bound in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        for name, n_train, one in (*named, ("pooled", 0, result.pooled))
    ]


def _looks(data: Labelled, averaging: Averaging) -> Iterator[Labelled]:
    """Return the configurations as they are, then under the other symmetries and shifts."""
    d, n = len(data.box), len(data.label)
    phi = max(root.real for root in np.roots([1, *[0] * (d - 1), -1, -1]) if abs(root.imag) < 1e-12)
    for element in range(len(symmetries(data.box)) if averaging.symmetries else 1):
        for i in range(averaging.n_shifts):
            if element == i == 0:
                yield data
                continue
            shift = np.mod(i * phi ** -np.arange(1.0, d + 1), 1.0) * data.box
            yield replace(
                data,
                positions=symmetry(data.positions, data.box, element=np.full(n, element), shift=np.tile(shift, (n, 1))),
            )


def _probability(logit: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " b"]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))


def _ece_by_chance(
    p: Float64[np.ndarray, " b"], of_bin: Integer[np.ndarray, " b"], *, rng: np.random.Generator, n_draws: int
) -> float:
    """Return the 95% quantile of the error of labels drawn from the probabilities."""
    member = (of_bin[:, None] == np.unique(of_bin)).astype(float)
    drawn = rng.random((n_draws, len(p))) < p
    return float(np.quantile(np.abs((drawn - p) @ member).sum(axis=1) / len(p), 0.95))


def _check_apart(splits: Sequence[Split], where: str = "") -> None:
    for place, split in enumerate(splits):
        runs, often = np.unique(np.concatenate([split.train, split.validation, split.test]), return_counts=True)
        if (often > 1).any():
            raise ValueError(
                f"splits must have every run in one part; fold {place}{where} has {runs[often > 1].tolist()} in two"
            )


def _check(splits: Sequence[Split], data: Labelled) -> None:
    _check_apart(splits)
    tested = np.sort(np.concatenate([split.test for split in splits])) if splits else np.empty(0, int)
    if not np.array_equal(tested, np.unique(data.run)):
        raise ValueError(
            f"splits must test each of the {len(np.unique(data.run))} runs of the data once; the folds test "
            f"{len(tested)}, {len(np.unique(tested))} of them different: make them by dataset.folds"
        )
