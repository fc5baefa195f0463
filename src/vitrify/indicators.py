r"""Where a classifier that knows no phases finds a transition: three indicators from one set of probabilities.

One classifier is asked at which of the temperatures :math:`T_1 < \dots < T_K` a configuration x was recorded, and
answers :math:`p(T_k | x)`. Every run is answered for by a classifier that did not see it. With
:math:`\langle\cdot\rangle_i` the mean over the configurations of :math:`T_i`, each indicator is a number for every gap
between neighbours:

.. math:: \text{confusion:}\quad & a_i = \frac1K \sum_j \Big\langle \big[\textstyle\sum_{k \le i} p(T_k|x) > \tfrac12
              \big] = [j \le i] \Big\rangle_j \\
          \text{prediction:}\quad & \frac{\langle \hat T\rangle_{i+1} - \langle\hat T\rangle_i}{T_{i+1} - T_i} - 1,
              \qquad \hat T(x) = \textstyle\sum_k T_k\,p(T_k | x) \\
          \text{divergence:}\quad & \frac{1}{T_{i+1} - T_i}\,\tfrac12 \textstyle\sum_k
              \big|\langle p(T_k)\rangle_{i+1} - \langle p(T_k)\rangle_i\big|

A transition is a peak of the last two and the middle peak of the W that the accuracy a then has. The accuracy of any
data rises towards both ends, where one answer is nearly always right (the trivial V); its height is therefore counted
from the higher of the troughs on its two sides, and a V has none.

A peak is a transition only if it is above all that shuffled labels give, is not at an end, has an interval of at most a
third of the range, and is, in nine of ten resamples, at most a third of the range wide at half its height. The middle
peak of a W, whose flanks are straight lines however sharp the transition, may be half of the range wide, but must have
a quarter of the height that two phases told apart without error would give it. A system that changes evenly with
temperature has a broad maximum of each indicator and no transition.

References:
    van Nieuwenburg, Liu & Huber 2017, doi:10.1038/nphys4037: learning by confusion
    Arnold, Schäfer & Lörch 2023, doi:10.48550/arXiv.2311.09128: with one classifier of many classes
    Schäfer & Lörch 2019, doi:10.1103/PhysRevE.99.062107: divergence of a prediction
    Arnold & Schäfer 2022, doi:10.1103/PhysRevX.12.031044: the best predictor of each method
    doi:10.48550/arXiv.2111.05573: a maximum without a transition
"""

__all__ = ["INDICATORS", "Indicator", "cross_fit", "evaluate", "shuffled"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from vitrify.dataset import folds

_STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)  # L2 on standardised features, strongest first
_LEVEL = 0.95
_SHORT = 1 / 3  # of the range of temperatures, an interval
_MOSTLY = 0.9  # of the resamples have a narrow peak
_HIGH = 1 / 4  # of the height that two phases told apart without error would give


@dataclass(frozen=True, kw_only=True, slots=True)
class Indicator:
    """One indicator against temperature, and the transition its peak is, if it is one.

    Args:
        T: Middle of each gap between neighbouring temperatures, from cold to hot.
        value: The indicator there.
        low: Lower end of its 95% interval over the runs, gap by gap.
        high: Upper end.
        null_low: Least of the shuffled labels' values.
        null_high: Largest of them.
        Tg: Middle of the gap of the peak.
        Tg_low: Lower end of the 95% interval, the lower record of a gap.
        Tg_high: Upper end, the upper record of a gap.
        found: Whether the peak is a transition; None where the runs are too few to tell.
        verdict: What it is, in words.
    """

    T: Float[np.ndarray, " g"]
    value: Float[np.ndarray, " g"]
    low: Float[np.ndarray, " g"]
    high: Float[np.ndarray, " g"]
    null_low: Float[np.ndarray, " g"]
    null_high: Float[np.ndarray, " g"]
    Tg: float
    Tg_low: float
    Tg_high: float
    found: bool | None
    verdict: str


class _Peak(NamedTuple):
    """How a peak of one indicator is judged.

    Args:
        height: From the indicator to what a peak is measured by, 0 where the classifier knows nothing.
        sharp: For a number of temperatures, the height in each gap of two phases told apart without error; 0 where it
            has no bound, as a rate has none.
        narrow: Part of the range that a peak may be wide at half height.
    """

    height: Callable[[np.ndarray], np.ndarray]
    sharp: Callable[[int], np.ndarray]
    narrow: float


def cross_fit(features: Float[np.ndarray, "r k f"], *, seed: int, n_folds: int = 5) -> Float[np.ndarray, "r k k"]:
    r"""Return the probability of every temperature for every configuration, by classifiers that did not see its run.

    The classifier is a multinomial logistic regression, :math:`p_k \propto e^{w_k \cdot z + b_k}`, of the features
    standardised on its training runs. Its L2 strength is the one of lowest cross-entropy on its validation runs.

    Args:
        features: Numbers that describe the configuration of each run at each temperature.
        seed: Deals the runs into folds.
        n_folds: Number of folds, at most the number of runs.

    Returns:
        For each run and temperature, the probabilities of all the temperatures.

    Raises:
        ValueError: There are fewer than 3 runs, or a feature is not finite.
    """
    n_runs, n_classes, _ = features.shape
    if not np.isfinite(features).all():
        raise ValueError(f"features must be finite; {(~np.isfinite(features)).sum()} values are not")
    if n_runs < 3:
        raise ValueError(f"features must be of at least 3 runs, to train, choose and answer; got {n_runs}")
    p = np.empty((n_runs, n_classes, n_classes))
    for fold in folds(n_runs, n_folds=min(n_folds, n_runs), seed=seed):
        train = features[fold.train].reshape(-1, features.shape[2])
        mean, spread = train.mean(axis=0), train.std(axis=0)
        scaled = (features - mean) / np.where(spread > 0, spread, 1.0)
        p[fold.test] = _answer(scaled[fold.train], scaled[fold.validation], scaled[fold.test])
    return p


def shuffled(features: Float[np.ndarray, "r k f"], *, rng: np.random.Generator) -> Float[np.ndarray, "r k f"]:
    """Return the same configurations with their temperatures shuffled within each run: the null of every indicator.

    Args:
        features: Numbers that describe the configuration of each run at each temperature.
        rng: Draws the permutations.
    """
    order = rng.permuted(np.tile(np.arange(features.shape[1]), (len(features), 1)), axis=1)
    return np.take_along_axis(features, order[:, :, None], axis=1)


def evaluate(
    T: Float[np.ndarray, " k"],
    p: Float[np.ndarray, "r k k"],
    nulls: Float[np.ndarray, "q r k k"],
    *,
    rng: np.random.Generator,
    n_bootstrap: int = 1000,
) -> dict[str, Indicator]:
    """Return every indicator with the transition it supports, by name.

    The intervals are from resampling the runs; the classifiers stay as they are, so what other training runs would
    have changed is not in them. They never end inside a gap between neighbouring temperatures.

    Args:
        T: The temperatures, in any order.
        p: Probabilities as `cross_fit` returns them.
        nulls: The same for `shuffled` features, some 20 times: then a peak above all of them has p < 0.05.
        rng: Draws the runs.
        n_bootstrap: Number of resamples.

    Raises:
        ValueError: There are fewer than 6 temperatures, two are equal, or there is no null.
    """
    if len(T) < 6 or len(np.unique(T)) < len(T):
        raise ValueError(
            f"T must hold at least 6 temperatures, all different; got {len(T)}, {len(np.unique(T))} different"
        )
    if not len(nulls):
        raise ValueError("nulls must hold the probabilities of at least one shuffle; got none")
    order = np.argsort(T)
    T, p, nulls = T[order], p[:, order][:, :, order], nulls[:, :, order][:, :, :, order]
    n_runs = len(p)
    weights = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n_bootstrap) / n_runs
    weights = np.concatenate([np.full((1, n_runs), 1 / n_runs), weights])
    found = {}
    for name, of in INDICATORS.items():
        curves = of(T, p, weights)
        null = np.concatenate([of(T, one, weights[:1]) for one in nulls])
        found[name] = _indicator(T, curves, null, _PEAKS[name])
    return found


def confusion(
    T: Float[np.ndarray, " k"], p: Float[np.ndarray, "r k k"], weights: Float[np.ndarray, "s r"]
) -> Float[np.ndarray, "s g"]:
    """Return the accuracy of telling the temperatures below each gap from those above, for each weighting."""
    below = np.cumsum(p, axis=2)[:, :, :-1] > 0.5
    is_below = np.arange(len(T))[:, None] <= np.arange(len(T) - 1)
    return np.asarray(weights @ (below == is_below).mean(axis=1))


def prediction(
    T: Float[np.ndarray, " k"], p: Float[np.ndarray, "r k k"], weights: Float[np.ndarray, "s r"]
) -> Float[np.ndarray, "s g"]:
    """Return the slope of the mean predicted temperature minus 1, for each weighting of the runs."""
    return np.asarray(np.diff(weights @ (p @ T), axis=1) / np.diff(T) - 1.0)


def divergence(
    T: Float[np.ndarray, " k"], p: Float[np.ndarray, "r k k"], weights: Float[np.ndarray, "s r"]
) -> Float[np.ndarray, "s g"]:
    """Return how much of the mean output moves between neighbours, per temperature, for each weighting."""
    mean = np.tensordot(weights, p, 1)
    return np.asarray(np.abs(np.diff(mean, axis=1)).sum(axis=2) / 2 / np.diff(T))


def _answer(
    train: Float[np.ndarray, "a k f"], validation: Float[np.ndarray, "b k f"], test: Float[np.ndarray, "c k f"]
) -> Float[np.ndarray, "c k k"]:
    """Return the probabilities of the test runs by the regression of the best strength."""
    n_classes = train.shape[1]
    label = np.tile(np.arange(n_classes), len(train))
    weights, best, answer = np.zeros((train.shape[2] + 1, n_classes)), np.inf, np.empty(0)
    for strength in _STRENGTHS:
        weights = _fit(train.reshape(-1, train.shape[2]), label, weights, strength=strength)
        own = np.arange(n_classes)
        loss = -np.log(_softmax(validation, weights)[:, own, own] + 1e-300).mean()
        if loss >= best:
            break
        best, answer = loss, _softmax(test, weights)
    return answer


def _fit(
    x: Float[np.ndarray, "b f"], label: Integer[np.ndarray, " b"], begin: Float[np.ndarray, "f1 k"], *, strength: float
) -> Float[np.ndarray, "f1 k"]:
    from scipy.optimize import minimize  # a third of a second to import, and only fitting needs it

    n, is_label = len(x), np.eye(begin.shape[1])[label]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(begin.shape)
        p = _softmax(x, weights)
        wrong = (p - is_label) / n
        slope = np.concatenate([x.T @ wrong + strength * weights[:-1], wrong.sum(axis=0, keepdims=True)])
        cross_entropy = -np.log(p[np.arange(n), label] + 1e-300).mean()
        return float(cross_entropy + strength / 2 * (weights[:-1] ** 2).sum()), slope.ravel()

    found = minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-6})
    return np.asarray(found.x.reshape(begin.shape))


def _softmax(x: Float[np.ndarray, "*b f"], weights: Float[np.ndarray, "f1 k"]) -> Float[np.ndarray, "*b k"]:
    z = x @ weights[:-1] + weights[-1]
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _above_troughs(accuracy: Float[np.ndarray, "s g"]) -> Float[np.ndarray, "s g"]:
    """Return the height of each accuracy above the higher of the lowest ones to its left and to its right."""
    left = np.minimum.accumulate(accuracy, axis=1)
    right = np.minimum.accumulate(accuracy[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(accuracy - np.maximum(left, right))


def _indicator(
    T: Float[np.ndarray, " k"],
    curves: Float[np.ndarray, "s g"],
    null: Float[np.ndarray, "q g"],
    of: _Peak,
) -> Indicator:
    """Return the indicator whose own curve is the first and whose resamples are the others."""
    heights, nothing = of.height(curves), float(of.height(null).max())
    peaks = heights.argmax(axis=1)
    tails = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
    first, last = (int(np.floor(np.quantile(peaks[1:], tails[0]))), int(np.ceil(np.quantile(peaks[1:], tails[1]))))
    first, last = min(first, peaks[0]), max(last, peaks[0])
    low, high = np.quantile(curves[1:], tails, axis=0)
    words = _why_not(T, heights, nothing=nothing, of=of, first=first, last=last)
    return Indicator(
        T=(T[1:] + T[:-1]) / 2,
        value=curves[0],
        low=np.minimum(low, curves[0]),
        high=np.maximum(high, curves[0]),
        null_low=null.min(axis=0),
        null_high=null.max(axis=0),
        Tg=float(T[peaks[0]] + T[peaks[0] + 1]) / 2,
        Tg_low=float(T[first]),
        Tg_high=float(T[last + 1]),
        found=not words,
        verdict=words or f"a peak, above all {len(null)} shuffles and {_widths(T, heights)[0]:.3f} wide at half height",
    )


def _widths(T: Float[np.ndarray, " k"], height: Float[np.ndarray, "s g"]) -> Float[np.ndarray, " s"]:
    """Return of each curve the temperatures, together, of the gaps at least half as high as the highest."""
    return np.asarray((height >= height.max(axis=1, keepdims=True) / 2) @ np.diff(T))


def _why_not(
    T: Float[np.ndarray, " k"],
    heights: Float[np.ndarray, "s g"],
    *,
    nothing: float,
    of: _Peak,
    first: int,
    last: int,
) -> str:
    """Return why the peak is no transition, or nothing."""
    reach, peak = T[-1] - T[0], int(heights[0].argmax())
    # the highest of a noisy curve is too high by about as much as the highest of its resamples is again
    surely = 2 * heights[0].max() - float(np.quantile(heights[1:].max(axis=1), (1 + _LEVEL) / 2))
    if surely <= nothing:
        return "no transition: the peak is not above those of shuffled labels"
    if peak in (0, heights.shape[1] - 1):
        end = (T[peak] + T[peak + 1]) / 2
        return f"crossover: no sharp transition; the peak is at the end of the range, T = {end:.3f}"
    sharp = of.sharp(len(T))[peak]
    if heights[0, peak] < _HIGH * sharp:
        share = heights[0, peak] / sharp
        return f"crossover: no sharp transition; the peak has {share:.0%} of the height of a sharp one's"
    width = max(float(np.quantile(_widths(T, heights), _MOSTLY)), float(_widths(T, heights[:1])[0]))
    if width > of.narrow * reach:
        return f"crossover: no sharp transition; up to {width:.3f} wide at half height, of a range of {reach:.3f}"
    if T[last + 1] - T[first] > _SHORT * reach + (T[peak + 1] - T[peak]):
        interval = T[last + 1] - T[first]
        return f"crossover: no sharp transition; the interval is {interval:.3f} wide, of a range of {reach:.3f}"
    return ""


Curves = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

INDICATORS: Mapping[str, Curves] = {"confusion": confusion, "prediction": prediction, "divergence": divergence}
"""By name: temperatures, probabilities and weights of the runs in, one curve a weighting out."""

_PEAKS: Mapping[str, _Peak] = {
    "confusion": _Peak(
        height=_above_troughs,
        sharp=lambda n: np.minimum(np.arange(1, n), np.arange(n - 1, 0, -1)) / (2 * n),
        narrow=1 / 2,  # a sharp transition's is 1 / 4 wide
    ),
    "prediction": _Peak(height=lambda slope: slope + 1.0, sharp=lambda n: np.zeros(n - 1), narrow=1 / 3),
    "divergence": _Peak(height=lambda moved: moved, sharp=lambda n: np.zeros(n - 1), narrow=1 / 3),
}
