r"""What may be concluded from a test: shown, absent or open; and the sentence that says so.

A claim asks one question, about an effect with a direction, a margin and a family of questions, all fixed before
looking.

====== ===================================================================================================
answer when
====== ===================================================================================================
shown  the one-sided p of the effect, corrected within its family by Holm's method, is below 0.05
absent the one-sided 95% bound of the effect is below the margin: two classifiers are equivalent to within it
open   neither, or fewer runs than could decide anything
====== ===================================================================================================

An open claim says the smallest effect that its runs would have shown with a chance of 80%, and how many runs the
observed effect would need:

.. math:: \delta = (t_{1 - \alpha / m} + t_{0.8})\, \sigma / \sqrt n, \qquad
          n^* = (t_{1 - \alpha / m} + t_{0.8})^2 \sigma^2 / \delta_\mathrm{observed}^2

with :math:`\sigma` the standard deviation of a run and m the number of questions in the family. Where the effect does
not point the way that was asked, the runs are those that would show it absent.

Every sentence that draws a conclusion is written here, from a claim.

References:
    equivalence: Schuirmann 1987, doi:10.1007/BF01068419; Wellek 2010, doi:10.1201/EBK1439808184;
    several questions: Holm 1979, Scandinavian Journal of Statistics 6, 65
"""

__all__ = [
    "CHANCE_SD",
    "MARGIN",
    "MIN_RUNS",
    "Answer",
    "Asked",
    "Claim",
    "Direction",
    "against_chance",
    "gathered",
    "hopes",
    "in_words",
    "judge",
    "listed",
    "restored",
    "temperatures",
]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from scipy import special

from vitrify.scores import Difference, holm

Answer = Literal["shown", "absent", "open"]
Direction = Literal["above", "below", "either", "limit"]

MARGIN = 0.05
"""Difference of an AUC or an accuracy that counts as none, unless a study says otherwise."""

MIN_RUNS = 5
"""Runs below which nothing is decided: even if every one is right, chance alone does it too often."""

CHANCE_SD = float(np.sqrt(1 / 6))
"""Standard deviation, over runs of one glass and one liquid each, of the pseudo-value of an AUC of one half."""

_LEVEL, _POWER = 0.05, 0.8
_MOST_RUNS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One question, with what the test of it found.

    Args:
        question: In words, ending in a question mark.
        where: The data it is about, which begins the sentence.
        yes: What is said if it is shown, without a full stop.
        no: What is said if it is absent.
        measure: Name of what is measured.
        found: The effect and its test.
        n_runs: Independent runs that were tested.
        direction: Which effects are looked for.
        margin: Effect that counts as none.
        sd: Standard deviation of a run if there is no effect, where it is known beforehand; else that of the test.
        offset: What the measure is if there is no effect: one half for an AUC.
    """

    question: str
    where: str
    yes: str
    no: str
    measure: str
    found: Difference
    n_runs: int
    direction: Direction = "above"
    margin: float = MARGIN
    sd: float | None = None
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The answer to one question.

    Args:
        question: In words.
        family: The questions that were asked together.
        n_family: Their number.
        where: The data it is about.
        yes: What is said if it is shown.
        no: What is said if it is absent.
        measure: Name of what is measured.
        offset: What the measure is if there is no effect.
        direction: Which effects were looked for; ``limit`` of a size that has to stay below one.
        margin: Effect that counts as none.
        effect: The observed effect: the measure minus its offset.
        low: Lower end of its 95% interval.
        high: Upper end.
        bound: One-sided 95% bound of the effect in its direction, which is compared with the margin.
        p: Of the observed effect if there is none; one-sided where there is a direction.
        p_corrected: The same after Holm's correction within the family.
        n_runs: Independent runs that were tested.
        detectable: Smallest effect that these runs would have shown with a chance of 80%.
        runs_needed: Runs that would decide an effect of the observed size; None where it is decided.
        answer: ``shown``, ``absent`` or ``open``.
    """

    question: str
    family: str
    n_family: int
    where: str
    yes: str
    no: str
    measure: str
    offset: float
    direction: Direction
    margin: float
    effect: float
    low: float
    high: float
    bound: float
    p: float
    p_corrected: float
    n_runs: int
    detectable: float
    runs_needed: int | None
    answer: Answer

    @property
    def evidence(self) -> str:
        """What was measured, with its interval, p and runs."""
        value, low, high = (self._measured(x) for x in (self.effect, self.low, self.high))
        measured = f"{self.measure} {value} [{low}, {high}]"
        if self.direction == "limit":
            return f"{measured}, limit {self.offset:g}, {self.n_runs} runs"
        corrected = in_words(self.p_corrected).removeprefix("= ")
        several = f" ({corrected} corrected for {self.n_family} questions)" * (self.n_family > 1)
        return f"{measured}, p {in_words(self.p)}{several}, {self.n_runs} runs"

    @property
    def sentence(self) -> str:
        """What is concluded, with what it rests on."""
        if self.answer == "shown":
            return f"{self.where}: {self.yes} ({self.evidence})."
        if self.direction == "limit":
            said = self.no if self.answer == "absent" else f"it is open whether {self.yes}"
            return f"{self.where}: {said} ({self.evidence})."
        if self.answer == "absent":
            return (
                f"{self.where}: {self.no} ({self.evidence}; {self._size(max(self.bound, 0.0), 'more than')} is "
                f"excluded with 95% confidence, and the margin is {self.margin:g})."
            )
        few = f", fewer than the {MIN_RUNS} that can decide anything" if self.n_runs < MIN_RUNS else ""
        return (
            f"{self.where}: it is open whether {self.yes} ({self.evidence}{few}). These runs {self.could_show}; "
            f"{self.takes}."
        )

    @property
    def could_show(self) -> str:
        """The smallest effect that these runs would have shown with a chance of 80%."""
        if self.detectable >= 1 - self.offset:
            return "had less than an 80% chance to show any effect"
        return f"had an 80% chance to show {self._size(self.detectable, '')}"

    @property
    def takes(self) -> str:
        """The runs that would decide it."""
        needed = f"more than {_MOST_RUNS:,}" if self.runs_needed is None else f"about {self.runs_needed:,}"
        points = {"above": self.effect > 0, "below": self.effect < 0}.get(self.direction, True)
        size = "an effect of the observed size" if points else f"that it is below the margin of {self.margin:g}"
        return f"to show {size} takes {needed} runs"

    def _size(self, effect: float, than: str) -> str:
        """Return an effect of some size in words, on the scale of what is measured."""
        than = f"{than} " if than else ""
        if self.direction == "either":
            return f"a distance of {than}{effect:.3f} from {self.offset:g}"
        if self.offset:
            return f"an AUC of {than}{self.offset + effect:.3f}"
        return f"a {'gain' if self.direction == 'above' else 'loss'} of {than}{effect:.3f}"

    def _measured(self, effect: float) -> str:
        return f"{self.offset + effect:.3f}" if self.offset else f"{effect:+.3f}"

    def to_json(self) -> dict[str, Any]:
        """Return the claim and its sentence as JSON can hold them."""
        return asdict(self) | {"sentence": self.sentence}


def against_chance(
    found: Difference,
    *,
    who: str,
    what: str,
    where: str,
    n_runs: int,
    margin: float,
    verbs: tuple[str, str] = ("tells", "does not tell"),
    sd: float | None = CHANCE_SD,
) -> Asked:
    """Return the question whether something tells two classes apart better than chance.

    Args:
        found: What `vitrify.scores.above_chance` returned.
        who: What is asked.
        what: What it tells from what, for example "the liquid from the glass".
        where: The data, which begin the sentence.
        n_runs: Independent test runs.
        margin: AUC above one half that counts as nothing.
        verbs: What ``who`` does if it is shown, and if it is absent.
        sd: As of `Asked`.
    """
    yes, no = (f"{who} {verb} {what}" for verb in verbs)
    return Asked(
        question=f"Is it so that {yes}? {where}.",
        where=where,
        yes=yes,
        no=no,
        measure="AUC",
        offset=0.5,
        found=found,
        n_runs=n_runs,
        margin=margin,
        sd=sd,
    )


def judge(family: str, asked: Sequence[Asked]) -> list[Claim]:
    """Return the answers to the questions of one family.

    Args:
        family: Its name.
        asked: Its questions; nothing else may be added after looking.

    Example:
        >>> from vitrify.scores import above_chance
        >>> label, run = np.repeat([0, 1], 9), np.tile(np.arange(9), 2)
        >>> found = above_chance(label.astype(float), label, run)
        >>> words = {"question": "Is it?", "where": "Here", "yes": "it is", "no": "it is not", "measure": "AUC - 1/2"}
        >>> judge("one", [Asked(found=found, n_runs=9, **words)])[0].answer
        'shown'
    """
    p = [_p(one.found, one.direction) for one in asked]
    return [
        _claim(family, len(asked), one, own, corrected)
        for one, own, corrected in zip(asked, p, holm(np.array(p, float)).tolist(), strict=True)
    ]


def restored(claim: Mapping[str, Any]) -> Claim:
    """Return the claim that JSON holds.

    Args:
        claim: What `Claim.to_json` returned.
    """
    return Claim(**{field.name: claim[field.name] for field in fields(Claim)})


def gathered(head: str, claims: Sequence[Claim], places: Sequence[str], *, by: str = "at") -> str:
    """Return one sentence for claims that ask the same of several places.

    Args:
        head: What begins the sentence, without a colon.
        claims: The claims, all with the same words and margin.
        places: What each is called, for example its temperature.
        by: The word before them.

    Example:
        >>> gathered("The network", [], [])
        'The network: nothing was asked.'
    """
    if not claims:
        return f"{head}: nothing was asked."
    parts = []
    for answer, words in (
        ("shown", claims[0].yes),
        ("absent", f"{claims[0].no}, within {claims[0].margin:g},"),
        ("open", f"it is open whether {claims[0].yes}"),
    ):
        where = [place for place, claim in zip(places, claims, strict=True) if claim.answer == answer]
        if where:
            parts.append(f"{words} {by} {listed(where)}")
    order = [(claim.answer == "shown", abs(claim.effect)) for claim in claims]
    first = order.index(max(order))
    text = f"{head}: {'; '.join(parts)}. The largest effect, {by} {places[first]}: {claims[first].evidence}."
    return text + hopes(claims)


def hopes(claims: Sequence[Claim]) -> str:
    """Return what the open ones among some claims could have shown, and what would decide them; else nothing.

    Args:
        claims: Claims of one family and one measure.
    """
    left = [claim for claim in claims if claim.answer == "open"]
    if not left:
        return ""
    hardest = max(left, key=lambda claim: claim.detectable)
    needed = max(_MOST_RUNS + 1 if claim.runs_needed is None else claim.runs_needed for claim in left)
    runs = f"more than {_MOST_RUNS:,}" if needed > _MOST_RUNS else f"up to {needed:,}"
    return f" Where it is open, at worst these runs {hardest.could_show}; deciding takes {runs} runs."


def in_words(p: float) -> str:
    """Return a p value with its relation.

    Example:
        >>> in_words(0.034), in_words(1e-7)
        ('= 0.034', '< 0.0001')
    """
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence; of temperatures, only the first is named as one.

    Example:
        >>> listed(["a", "b", "c"]), listed(["T = 1.951", "T = 0.440", "equal energy"])
        ('a, b and c', 'T = 1.951, 0.440 and equal energy')
    """
    words = [*words[:1], *(word.removeprefix("T = ") for word in words[1:])]
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def temperatures(T: Sequence[float]) -> str:
    """Return temperatures as a list in a sentence, hottest first.

    Example:
        >>> temperatures([0.44, 1.951])
        'T = 1.951 and 0.440'
    """
    return listed([f"T = {one:.3f}" for one in sorted(set(T), reverse=True)])


def _p(found: Difference, direction: Direction) -> float:
    if direction == "above":
        return found.p
    return found.p_below if direction == "below" else min(1.0, 2 * min(found.p, found.p_below))


def _claim(family: str, n_family: int, asked: Asked, p: float, corrected: float) -> Claim:
    found, n = asked.found, asked.n_runs
    bound = {"above": found.upper, "below": -found.lower, "either": max(found.upper, -found.lower)}[asked.direction]
    towards = {"above": found.value, "below": -found.value, "either": abs(found.value)}[asked.direction]
    answer: Answer = "open"
    if n >= MIN_RUNS:
        answer = "shown" if corrected < _LEVEL else "absent" if bound < asked.margin else "open"
    sd = found.se * np.sqrt(n) if asked.sd is None else asked.sd
    level = _LEVEL / n_family / (2 if asked.direction == "either" else 1)
    aim = towards if towards > 0 else asked.margin - towards
    return Claim(
        question=asked.question,
        family=family,
        n_family=n_family,
        where=asked.where,
        yes=asked.yes,
        no=asked.no,
        measure=asked.measure,
        offset=asked.offset,
        direction=asked.direction,
        margin=asked.margin,
        effect=found.value,
        low=found.low,
        high=found.high,
        bound=bound,
        p=p,
        p_corrected=corrected,
        n_runs=n,
        detectable=float(_reach(max(n, 2), level) * sd / np.sqrt(max(n, 1))),
        runs_needed=_needed(sd, aim, level) if answer == "open" else None,
        answer=answer,
    )


def _reach(n: int, level: float) -> float:
    """Return how many standard errors an effect must have to be shown at a level with a chance of 80%."""
    return float(special.stdtrit(n - 1, 1 - level) + special.stdtrit(n - 1, _POWER))


def _needed(sd: float, effect: float, level: float) -> int | None:
    """Return the fewest runs that show an effect with a chance of 80%; None where even a million do not."""
    few, many = MIN_RUNS, _MOST_RUNS
    if _reach(many, level) * sd > effect * np.sqrt(many):
        return None
    while few < many:
        middle = (few + many) // 2
        if _reach(middle, level) * sd > effect * np.sqrt(middle):
            few = middle + 1
        else:
            many = middle
    return few
