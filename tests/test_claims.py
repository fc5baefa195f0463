"""Three answers at planted effects, directions, families, and what an open claim says would be needed."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from vitrify.claims import (
    CHANCE_SD,
    MARGIN,
    MIN_RUNS,
    Asked,
    Claim,
    gathered,
    judge,
    restored,
)
from vitrify.scores import Difference, above_chance, compare, holm


def difference(value: float, se: float, n: int) -> Difference:
    """Return a difference by Student's t."""
    both, single = t.ppf(0.975, n - 1) * se, t.ppf(0.95, n - 1) * se
    return Difference(
        value=value,
        low=value - both,
        high=value + both,
        lower=value - single,
        upper=value + single,
        p=float(t.sf(value / se, n - 1)),
        p_below=float(t.cdf(value / se, n - 1)),
        se=se,
    )


def asked(value: float, *, se: float = 0.05, n: int = 40, **more: object) -> Asked:
    words = {"question": "Is it more?", "where": "Here", "yes": "it is more", "no": "it is no more", "measure": "d"}
    return Asked(**words, found=difference(value, se, n), n_runs=n, **more)  # type: ignore[arg-type]


def one(value: float, **more: object) -> Claim:
    return judge("family", [asked(value, **more)])[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "se", "answer"),
    [
        (0.2, 0.05, "shown"),
        (0.03, 0.01, "shown"),  # smaller than the margin, and shown nevertheless
        (0.0, 0.02, "absent"),
        (-0.3, 0.05, "absent"),  # there is none in the direction asked about
        (0.0, 0.05, "open"),
        (0.06, 0.05, "open"),
    ],
)
def test_three_answers_at_planted_effects(value: float, se: float, answer: str) -> None:
    claim = one(value, se=se)
    assert claim.answer == answer
    assert (claim.runs_needed is not None) is (answer == "open")


@pytest.mark.parametrize(
    ("direction", "positive", "negative"),
    [("above", "shown", "absent"), ("below", "absent", "shown"), ("either", "shown", "shown")],
)
def test_an_effect_is_shown_only_in_the_direction_that_was_asked(direction: str, positive: str, negative: str) -> None:
    assert one(0.2, direction=direction).answer == positive
    assert one(-0.2, direction=direction).answer == negative
    assert one(0.0, se=0.01, direction=direction).answer == "absent"


def test_either_pays_for_both_sides() -> None:
    up, both = one(0.09, direction="above"), one(0.09, direction="either")
    assert both.p == pytest.approx(2 * up.p)
    assert (up.answer, both.answer) == ("shown", "open")
    assert one(-0.09, direction="below").p == pytest.approx(up.p)
    assert one(-0.09, direction="either").p == pytest.approx(both.p)
    assert one(-0.09, direction="above").p > 0.9  # never a finding


def test_the_bound_is_that_of_the_direction() -> None:
    found = asked(0.01).found
    assert one(0.01).bound == pytest.approx(found.upper)
    assert one(0.01, direction="below").bound == pytest.approx(-found.lower)
    assert one(0.01, direction="either").bound == pytest.approx(max(found.upper, -found.lower))


def test_a_family_is_corrected_together_and_counted() -> None:
    effects = [0.12, 0.1, 0.0, 0.02]
    alone = [one(effect) for effect in effects]
    together = judge("family", [asked(effect) for effect in effects])
    assert [claim.p for claim in together] == [claim.p for claim in alone]
    assert [claim.p_corrected for claim in together] == pytest.approx(holm(np.array([c.p for c in alone])).tolist())
    assert [claim.n_family for claim in together] == [4] * 4
    assert [claim.answer for claim in alone[:2]] == ["shown", "shown"]
    assert one(0.1).p < 0.05 < judge("family", [asked(0.1)] * 4)[0].p_corrected
    assert judge("family", [asked(0.1)] * 4)[0].answer == "open"
    assert judge("family", []) == []
    assert "(0.1 corrected for 4 questions)" in judge("family", [asked(0.1)] * 4)[0].sentence


def test_few_runs_decide_nothing() -> None:
    for n in range(2, MIN_RUNS):
        assert one(0.4, se=0.01, n=n).answer == "open"
        assert one(0.0, se=0.001, n=n).answer == "open"
        assert f"fewer than the {MIN_RUNS} that can decide anything" in one(0.4, se=0.01, n=n).sentence
    assert one(0.4, se=0.01, n=MIN_RUNS).answer == "shown"
    assert one(0.0, se=0.001, n=MIN_RUNS).answer == "absent"


def test_two_right_runs_are_open_and_say_what_is_needed() -> None:
    label, run = np.repeat([0, 1], 2), np.tile(np.arange(2), 2)
    found = above_chance(label.astype(float), label, run)
    (claim,) = judge("reach", [replace(asked(0.1), found=found, n_runs=2, sd=CHANCE_SD)])
    assert claim.answer == "open"
    assert claim.runs_needed is not None
    assert claim.runs_needed >= MIN_RUNS


def test_absent_needs_the_margin() -> None:
    assert one(0.0, se=0.02).answer == "absent"
    assert one(0.0, se=0.02, margin=0.03).answer == "open"
    assert one(0.0, se=0.05, margin=0.1).answer == "absent"
    bound = one(0.0, se=0.02).bound
    assert one(0.0, se=0.02, margin=bound + 1e-6).answer == "absent"
    assert one(0.0, se=0.02, margin=bound - 1e-6).answer == "open"
    assert asked(0.0).margin == MARGIN == 0.05


@pytest.mark.parametrize(("n", "direction"), [(16, "above"), (75, "above"), (40, "either")])
def test_the_detectable_effect_is_shown_in_four_of_five(n: int, direction: str) -> None:
    sd = 0.3
    claim = one(0.0, se=sd / np.sqrt(n), n=n, sd=sd, direction=direction)
    draws = np.random.default_rng(1).normal(claim.detectable, sd, size=(1500, n))
    shown = [
        one(float(x.mean()), se=float(x.std(ddof=1) / np.sqrt(n)), n=n, direction=direction).answer == "shown"
        for x in draws
    ]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.04)


def test_the_runs_needed_show_the_observed_effect_in_four_of_five() -> None:
    sd, effect = 0.3, 0.06
    claim = one(effect, se=sd / np.sqrt(40), n=40)
    assert claim.answer == "open"
    assert claim.runs_needed is not None
    power = []
    for n in (claim.runs_needed, claim.runs_needed // 2):
        draws = np.random.default_rng(2).normal(effect, sd, size=(1500, n))
        p = t.sf(draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(n)), n - 1)
        power.append(np.mean(p < 0.05))
    assert power[0] == pytest.approx(0.8, abs=0.04)
    assert power[1] < 0.7


def test_an_effect_against_the_direction_needs_the_runs_of_an_absence() -> None:
    sd, n = 0.6, 40
    claim = one(-0.001, se=sd / np.sqrt(n), n=n)
    assert claim.answer == "open"
    assert "to show that it is below the margin of 0.05 takes" in claim.sentence
    assert claim.runs_needed is not None
    m = claim.runs_needed
    draws = np.random.default_rng(3).normal(-0.001, sd, size=(1500, m))
    upper = draws.mean(axis=1) + t.ppf(0.95, m - 1) * draws.std(axis=1, ddof=1) / np.sqrt(m)
    assert np.mean(upper < 0.05) == pytest.approx(0.8, abs=0.04)


def test_at_equal_energy_about_413_runs_show_an_absence() -> None:
    label, run = np.repeat([0, 1], 75), np.tile(np.arange(75), 2)
    found = above_chance(np.random.default_rng(4).normal(size=150), label, run)
    found = replace(found, value=0.0)
    (claim,) = judge("x", [replace(asked(0.0), found=found, n_runs=75, sd=CHANCE_SD)])
    assert claim.answer == "open"
    assert claim.runs_needed == pytest.approx(413, abs=5)


def test_more_questions_need_more_runs_and_a_larger_effect() -> None:
    alone, among = one(0.06), judge("x", [asked(0.06)] * 7)[0]
    assert among.detectable > alone.detectable
    assert (among.runs_needed or 0) > (alone.runs_needed or 0)


def test_an_effect_too_small_for_a_million_runs_says_so() -> None:
    claim = one(1e-5, se=0.05)
    assert claim.runs_needed is None
    assert "takes more than 1,000,000 runs" in claim.sentence


def test_shown_says_effect_interval_p_and_runs() -> None:
    (claim, _) = judge("x", [asked(0.2), asked(0.0)])
    assert claim.answer == "shown"
    numbers = f"d {claim.effect:+.3f} [{claim.low:+.3f}, {claim.high:+.3f}]"
    assert claim.sentence.startswith(f"Here: it is more ({numbers}, p ")
    assert re.search(
        r"p (= [\d.e-]+|< 0\.0001) \(([\d.e-]+|< 0\.0001) corrected for 2 questions\), 40 runs\)\.$", claim.sentence
    )


def test_absent_says_margin_and_bound() -> None:
    claim = one(0.0, se=0.02)
    assert claim.sentence.startswith("Here: it is no more (")
    assert (
        f"a gain of more than {claim.bound:.3f} is excluded with 95% confidence, and the margin is 0.05"
        in claim.sentence
    )
    assert "40 runs" in claim.sentence


def test_open_says_what_would_have_been_shown_and_what_is_needed() -> None:
    claim = one(0.06)
    assert claim.sentence.startswith("Here: it is open whether it is more (")
    assert f"an 80% chance to show a gain of {claim.detectable:.3f}" in claim.sentence
    assert f"to show an effect of the observed size takes about {claim.runs_needed:,} runs" in claim.sentence
    assert "40 runs" in claim.sentence


@pytest.mark.parametrize("value", [0.2, 0.0, -0.2, 0.06, 1e-5])
def test_json_holds_a_claim_and_its_sentence(value: float) -> None:
    claim = one(value)
    held = json.loads(json.dumps(claim.to_json()))
    assert restored(held) == claim
    assert held["sentence"] == claim.sentence == restored(held).sentence


def test_the_same_test_gives_the_same_claim() -> None:
    rng = np.random.default_rng(5)
    label, run = np.repeat([0, 1], 20), np.tile(np.arange(20), 2)
    x, y = rng.normal(size=(2, 40)) + label
    claims = [
        judge("x", [replace(asked(0.0), found=compare(x, y, label, run).auc, n_runs=20)])[0].to_json() for _ in range(2)
    ]
    assert claims[0] == claims[1]


def test_places_are_gathered_by_their_answer() -> None:
    own = judge("x", [asked(0.3), asked(0.0, se=0.01), asked(0.06), asked(0.25)])
    text = gathered("The network", own, ["a", "b", "c", "d"])
    assert text.startswith(
        "The network: it is more at a and d; it is no more, within 0.05, at b; it is open whether it is more at c."
    )
    assert "The largest effect, at a: d +0.300" in text
