r"""How a classifier trained in one state does in another: the transfer matrix, where it fails, and what failed.

A state is a class of liquids beside the glasses of the same runs. Row: where the classifier was trained. Column: where
it is tested. The diagonal is the in-domain classifier, the best that could be hoped for. Two things can go wrong away
from it. If the AUC falls, the classifier no longer ranks glasses above liquids: its **representation** failed. If the
AUC stays and only the accuracy falls, glasses are still ranked above liquids and just fall on one side of the old
threshold: a **threshold** chosen on a few labelled runs of the new state mends it.

Red dots are a row of the matrix, green dots its diagonal. Where the accuracy of a row falls through a level, the
temperature is interpolated linearly,

.. math:: T^* = T_j + (T_{j+1} - T_j) \frac{a_j - a^*}{a_j - a_{j+1}}

between neighbouring liquids, from the hottest down, with an interval by resampling the test runs.
"""

__all__ = ["Cell", "Crossing", "Scored", "asked", "cell", "crossing", "failure", "in_words"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Integer

from vitrify import scores
from vitrify.claims import Answer, Asked, Claim, gathered, listed
from vitrify.scores import Difference, Estimate

_N_BOOTSTRAP = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Logits of one classifier in one state, a liquid and a glass of every run.

    Args:
        liquid: Logit of the liquid of each run.
        glass: Logit of the glass of each run.
        run: The runs.
    """

    liquid: Float[np.ndarray, " r"]
    glass: Float[np.ndarray, " r"]
    run: Integer[np.ndarray, " r"]

    @property
    def logit(self) -> Float[np.ndarray, " b"]:
        """Liquids, then glasses."""
        return np.concatenate([self.liquid, self.glass])

    @property
    def label(self) -> Integer[np.ndarray, " b"]:
        """0 for liquid, 1 for glass."""
        return np.repeat([0, 1], len(self.run))

    @property
    def both_runs(self) -> Integer[np.ndarray, " b"]:
        """The run of each logit."""
        return np.concatenate([self.run, self.run])


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One classifier in one state.

    Args:
        n_test: Test configurations.
        accuracy: With the threshold it was trained with.
        auc: Area under the ROC curve.
        accuracy_rethresholded: With the threshold moved on the validation runs of the state it is tested in.
    """

    n_test: int
    accuracy: Estimate
    auc: Estimate
    accuracy_rethresholded: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """The temperature at which an accuracy falls through a level, and the part of the resamples in which it does."""

    level: float
    T: Estimate
    found: float


def cell(validation: Scored, test: Scored) -> Cell:
    """Return the scores of one cell of the matrix.

    Args:
        validation: Logits on the validation runs of the state tested in; they choose the moved threshold.
        test: Logits on its test runs.
    """
    plain = scores.score(test.logit, test.label, test.both_runs)
    threshold = scores.rethreshold(validation.logit, validation.label)
    moved = scores.score(test.logit, test.label, test.both_runs, threshold=threshold)
    return Cell(n_test=plain.n_test, accuracy=plain.accuracy, auc=plain.auc, accuracy_rethresholded=moved.accuracy)


def crossing(
    T: Float[np.ndarray, " t"], right: Bool[np.ndarray, "r t 2"], level: float, *, rng: np.random.Generator
) -> Crossing | None:
    """Return where the accuracy of a row first falls through a level, from the hottest liquid down.

    Args:
        T: Temperatures of the liquids, in any order.
        right: Whether the liquid and the glass of each run are classified rightly, at each temperature.
        level: The accuracy.
        rng: Draws the runs.

    Returns:
        ``None`` where it does not cross, or more than 5% of the resamples do not.

    Example:
        >>> right = np.zeros((50, 3, 2), bool)
        >>> right[:, 0] = True
        >>> right[:, :, 1] = True
        >>> found = crossing(np.array([2.0, 1.0, 0.5]), right, 0.75, rng=np.random.default_rng(1))
        >>> [round(value, 6) for value in (found.T.value, found.T.low, found.T.high)]
        [1.5, 1.5, 1.5]
    """
    hottest_first = np.argsort(T)[::-1]
    T, of_run = T[hottest_first], right[:, hottest_first].mean(axis=2)
    weights = rng.multinomial(len(of_run), np.full(len(of_run), 1 / len(of_run)), _N_BOOTSTRAP) / len(of_run)
    value = _fallen(T, of_run.mean(axis=0, keepdims=True), level)[0]
    resampled = _fallen(T, weights @ of_run, level)
    held = np.isfinite(resampled)
    if not np.isfinite(value) or held.mean() < 0.95:
        return None
    low, high = np.quantile(resampled[held], [0.025, 0.975])
    return Crossing(level=level, T=Estimate(float(value), float(low), float(high)), found=float(held.mean()))


def asked(
    ranking: Difference, accuracy: Difference, *, who: str, where: str, n_runs: int, margin: float
) -> tuple[Asked, Asked]:
    """Return the two questions put to a transferred classifier: does it rank worse, and is it less accurate?

    Args:
        ranking: Its AUC minus that of the classifier trained in the state it is tested in.
        accuracy: The same of the accuracies.
        who: What it is called, with where it was trained.
        where: What it is tested on, which begins the sentence.
        n_runs: Independent test runs.
        margin: Loss that counts as none.
    """

    def one(found: Difference, measure: str, yes: str, no: str) -> Asked:
        return Asked(
            question=f"Is it so that {who} {yes} than one trained where it is tested? {where}.",
            where=where,
            yes=f"{who} {yes} than one trained where it is tested",
            no=f"{who} {no} as one trained where it is tested",
            measure=f"difference of {measure}",
            found=found,
            n_runs=n_runs,
            direction="below",
            margin=margin,
        )

    return (
        one(ranking, "AUC", "ranks worse", "ranks as well"),
        one(accuracy, "accuracy", "is less accurate", "is as accurate"),
    )


def failure(ranking: Answer, accuracy: Answer) -> Literal["none", "threshold", "representation", "open"]:
    """Return what failed in a transferred classifier.

    Args:
        ranking: Whether it ranks worse than one trained where it is tested.
        accuracy: Whether it is less accurate.

    Returns:
        ``representation`` if it is shown to rank worse; ``threshold`` if it ranks equally well and is shown to be less
        accurate; ``none`` if both losses are absent; else ``open``.

    Example:
        >>> failure("absent", "shown"), failure("open", "shown")
        ('threshold', 'open')
    """
    if ranking == "shown":
        return "representation"
    if ranking == "absent" and accuracy != "open":
        return "threshold" if accuracy == "shown" else "none"
    return "open"


def in_words(head: str, rankings: Sequence[Claim], accuracies: Sequence[Claim], places: Sequence[str]) -> str:
    """Return one sentence on a classifier moved to several places, and where only its threshold failed.

    Args:
        head: What begins the sentence, without a colon.
        rankings: Whether it ranks worse, at each place.
        accuracies: Whether it is less accurate there.
        places: What each is called, for example its temperature.
    """
    only = [
        place
        for place, ranking, accuracy in zip(places, rankings, accuracies, strict=True)
        if failure(ranking.answer, accuracy.answer) == "threshold"
    ]
    said = gathered(head, rankings, places)
    if only:
        said += f" At {listed(only)} it fails by its threshold only: it ranks as well, and it is less accurate."
    return said


def _fallen(T: Float[np.ndarray, " t"], accuracy: Float[np.ndarray, "s t"], level: float) -> Float[np.ndarray, " s"]:
    """Return the temperature of the first fall through a level in each row; NaN where there is none."""
    falls = (accuracy[:, :-1] >= level) & (accuracy[:, 1:] < level)
    first = falls.argmax(axis=1)
    rows = np.arange(len(accuracy))
    above, below = accuracy[rows, first], accuracy[rows, first + 1]
    part = (above - level) / np.where(above > below, above - below, 1.0)
    return np.where(falls.any(axis=1), T[first] + (T[first + 1] - T[first]) * part, np.nan)
