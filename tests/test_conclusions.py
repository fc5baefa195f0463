"""Every sentence follows from a claim, and every claim from the rows it is about."""

import json
import re

import pytest

from test_figures import difference, estimate, row, synthetic_results
from vitrify import conclusions
from vitrify.claims import restored

PAIR = {"T_slow": 0.54, "T_fast": 0.05, "k_slow": 150, "k_fast": 20, "difference": 1e-4, "se_difference": 4e-4}


@pytest.fixture
def results():
    return synthetic_results()


def rows_of(results, **wanted):
    return [r for r in results["classification"] if all(r[key] == value for key, value in wanted.items())]


def own(results, model, k, name="inherent"):
    (found,) = rows_of(results, input=name, model=model, train_k=k, test_k=k)
    return found


def family(results, name):
    return [claim for claim in conclusions.claims(results) if claim.family == name]


def at_equal_energy(results, **changes):
    rows = [
        row("inherent", model, 0, 0, accuracy=0.6, auc=auc) | {"train_T": None, "test_T": None} | changes
        for model, auc in (("cnn", 0.6), ("mpnn", 0.63), ("e_is", 0.51))
    ]
    for each in rows:
        each["auc_at_equal_energy"] = None if each["model"] == "e_is" else each["auc_at_equal_energy"]
    results["equal_energy"] = {"pair": PAIR, "rows": rows}


def test_a_saturated_liquid_counts_in_no_family_and_is_said_once(results):
    at = {(task["input"], task["test_k"]) for task in conclusions.saturated(results)}
    assert at == {("thermal", k) for k in (5, 60, 100, 140, 160)} | {("inherent", k) for k in (5, 60, 100, 140)}
    assert {claim.where for claim in family(results, "primary")} == {"Inherent structures, liquid at T = 0.440"}
    assert len(family(results, "exploratory")) == 2
    said = [one for one in conclusions.sentences(results) if "nothing can be shown to rank better" in one]
    assert [one.partition(" at ")[0] for one in said] == ["Thermal configurations", "Inherent structures"]
    assert "T = 1.951, 1.415, 1.025 and 0.635" in said[1]
    own(results, "e_is", 140)["auc"] = estimate(0.6)
    assert len(family(results, "primary")) == 2
    assert len(family(results, "exploratory")) == 4


def test_the_network_is_chosen_on_validation_runs(results):
    assert conclusions.chosen_network(results) == "cnn"  # the first of two equal ones
    own(results, "mpnn", 160)["validation_auc"] = 0.9
    own(results, "cnn", 160)["auc"] = estimate(0.99)  # of test runs, which choose nothing
    own(results, "cnn", 160, "thermal")["validation_auc"] = 5.0  # of the other input
    assert conclusions.chosen_network(results) == "mpnn"
    assert [claim.yes for claim in family(results, "primary")] == ["the MPNN sees more than the energy"]


def test_the_answer_follows_the_effect_at_equal_energy_and_nothing_else(results):
    target = own(results, "cnn", 160)
    for effect, se, answer in (
        (0.2, 0.03, "shown"),
        (0.0, 0.02, "absent"),
        (0.05, 0.05, "open"),
        (-0.2, 0.03, "absent"),
    ):
        target["auc_at_equal_energy"] = difference(effect, se)
        (claim,) = family(results, "primary")
        assert claim.answer == answer
        assert claim.effect == effect
    target["auc_at_equal_energy"] = difference(0.05, 0.05)
    assert "it is open whether the CNN sees more" in " ".join(conclusions.sentences(results))
    assert "leaves it open at T = 0.440" in conclusions.summary(results)[0]
    target["auc_at_equal_energy"] = difference(0.2, 0.03)
    assert "sees more than the energy at T = 0.440" in conclusions.summary(results)[0]
    assert "13 test runs" in conclusions.summary(results)[0]


def test_the_exploratory_family_is_corrected_for_all_its_rows_and_the_primary_one_for_its_own(results):
    for model, se in (("cnn", 0.045), ("mpnn", 0.05)):
        own(results, model, 160)["auc_at_equal_energy"] = difference(0.1, se)
    (primary,) = family(results, "primary")
    exploratory = {claim.yes: claim for claim in family(results, "exploratory")}
    cnn = exploratory["the CNN sees more than the energy"]
    assert primary.p_corrected == primary.p == cnn.p
    assert cnn.p_corrected == pytest.approx(2 * cnn.p)
    said = next(one for one in conclusions.sentences(results) if one.startswith("Exploratory"))
    assert "2 questions" in said
    shown = [claim for claim in exploratory.values() if claim.answer == "shown"]
    assert shown
    assert all(claim.yes.removesuffix(" sees more than the energy") in said for claim in shown)
    assert max(shown, key=lambda claim: claim.p).evidence in said


def test_equal_energy_stands_in_both_families(results):
    at_equal_energy(results)
    where = "Inherent structures, equal energy (liquid at T = 0.540, glass at T = 0.050)"
    assert [claim.where for claim in family(results, "primary")][-1] == where
    assert len(family(results, "exploratory")) == 4
    assert "differs by +0.00010 ± 0.00040" in conclusions.sentences(results)[0]


def test_how_far_down_the_liquid_is_told_from_the_glass(results):
    reach = family(results, "reach")
    assert [claim.where[-5:] for claim in reach] == ["1.951", "1.415", "1.025", "0.635", "0.440"]
    assert {claim.answer for claim in reach} == {"shown"}
    assert "down to T = 0.440, the coldest liquid" in conclusions.summary(results)[1]
    own(results, "cnn", 160)["auc_minus_chance"] = difference(0.02, 0.05)
    assert family(results, "reach")[-1].answer == "open"
    assert "down to T = 0.635; below it, at T = 0.440, it is open or absent" in conclusions.summary(results)[1]
    for each in rows_of(results, input="inherent", model="cnn"):
        each["auc_minus_chance"] = difference(0.02, 0.05)
    assert re.search(r"It is open: 13 test runs .* deciding takes up to [\d,]+ runs", conclusions.summary(results)[1])
    for each in rows_of(results, input="inherent", model="cnn"):
        each["auc_minus_chance"] = difference(0.0, 0.01)
    assert (
        "does not tell the liquid from the glass, within 0.05 of AUC, at T = 1.951" in conclusions.summary(results)[1]
    )
    own(results, "cnn", 160)["auc_minus_chance"] = difference(0.3, 0.01)
    said = conclusions.summary(results)[1]
    assert "down to T = 0.440, though not shown at T = 1.951, 1.415, 1.025 and 0.635" in said


def test_two_test_runs_leave_everything_open_and_say_how_many_are_needed(results):
    for each in results["classification"]:
        each["n_test_runs"] = 2
        each["auc"] = {"value": 0.75, "low": 0.1, "high": 1.0}
    found = conclusions.claims(results)
    assert len(found) > 20
    assert {claim.answer for claim in found} == {"open"}
    for claim in found:
        assert claim.runs_needed is None or claim.runs_needed >= 5
        assert re.search(r"takes (about|more than) [\d,]+ runs", claim.sentence)
        assert "less than an 80% chance to show any effect" in claim.sentence or claim.detectable < 0.5
        assert "fewer than the 5 that can decide anything" in claim.sentence


def test_a_transferred_network_fails_by_its_threshold_only_if_its_ranking_is_equivalent(results):
    ranking, accuracy = family(results, "ranking"), family(results, "accuracy")
    assert len(ranking) == len(accuracy) == 2 * 2 * 4
    assert {claim.direction for claim in ranking} == {"below"}
    said = [one for one in conclusions.sentences(results) if "transfer" in one]
    assert len(said) == 4
    assert "At T = 1.415, 1.025, 0.635 and 0.440 it fails by its threshold only" in said[0]
    assert "ranks worse than one trained where it is tested at T = 1.415, 1.025, 0.635 and 0.440" in said[2]
    assert "threshold only" not in said[2]
    for each in rows_of(results, input="thermal", model="cnn", train_k=5):
        if each["test_k"] != 5:
            each["auc_minus_own"] = difference(0.0, 0.05)  # as well on these runs, which are too few to say so
    said = [one for one in conclusions.sentences(results) if "transfer" in one]
    assert "threshold only" not in said[0]
    assert "open whether the CNN trained at T = 1.951 ranks worse" in said[0]


def test_a_control_that_tells_two_halves_apart_is_a_warning(results):
    half = row("inherent", "mpnn", 200, 200, accuracy=0.5, auc=0.5, control=True) | {"glass_k": 200}
    half["auc_minus_chance"] = difference(0.0, 0.02)
    results["classification"].append(half)
    assert conclusions.warnings(results) == []
    assert [claim.answer for claim in family(results, "control")] == ["absent"]
    for effect in (0.4, -0.4):  # the wrong way round is no better
        half["auc_minus_chance"] = difference(effect, 0.05)
        (warning,) = conclusions.warnings(results)
        assert "the MPNN tells apart two halves of one class" in warning
    glasses = family(results, "glasses")
    assert {claim.where for claim in glasses} == {"Inherent structures, T = 0.333 and 0.099"}
    assert {claim.direction for claim in glasses} == {"either"}


@pytest.mark.parametrize(
    ("found", "width", "answer"), [(True, 0.3, "shown"), (False, 0.6, "open"), (False, 1.2, "absent")]
)
def test_the_transition_is_a_claim_of_its_own(results, found, width, answer):
    ends = {"width": width, "width_low": width - 0.2, "width_high": width + 0.2, "limit": 0.7, "share": 0.99}
    results["transition"] = ends | {
        "found": found,
        "T": 0.4,
        "low": 0.35,
        "high": 0.45,
        "n_runs": 64,
        "sentence": "So.",
    }
    (claim,) = family(results, "transition")
    assert claim.answer == answer
    bound = width + (-0.2 if answer == "absent" else 0.2)
    assert (claim.offset + claim.effect, claim.offset + claim.bound, claim.n_runs) == pytest.approx((width, bound, 64))
    assert (claim.runs_needed is None) == (answer != "open")
    assert f"width {width:.3f} [{width - 0.2:.3f}, {width + 0.2:.3f}], limit 0.7, 64 runs" in claim.sentence
    assert conclusions.summary(results)[2] == "Where is the glass transition? So."
    assert family(results | {"transition": None}, "transition") == []


def test_a_reference_that_is_missed_and_stalled_minima_are_warnings(results):
    results["reference"]["difference"] |= {"max_standard_errors": 4.2}
    assert "does not agree" in conclusions.warnings(results)[0]
    results["reference"]["difference"] |= {"mean": -0.006, "max_standard_errors": 1.0}
    assert "0.0060 below" in conclusions.warnings(results)[0]
    results["minimiser"]["n_unconverged"] = 3
    assert "3 of 12800 minimisations did not converge" in conclusions.warnings(results)[1]


def test_no_record_number_stands_in_a_sentence(results):
    at_equal_energy(results)
    for sentence in (*conclusions.sentences(results), *conclusions.summary(results), *conclusions.warnings(results)):
        assert not re.search(r"\bk\b", sentence), sentence
        assert "nan" not in sentence
        assert sentence.endswith((".", ")"))


def test_every_sentence_can_be_built_again_from_what_json_holds(results):
    at_equal_energy(results)
    kept = json.loads(json.dumps(results))
    assert conclusions.sentences(kept) == conclusions.sentences(results)
    for claim in conclusions.claims(results):
        entry = json.loads(json.dumps(claim.to_json()))
        assert restored(entry) == claim
        assert restored(entry).sentence == entry["sentence"]
        assert claim.question.endswith(("?", "."))
        assert str(claim.n_runs) in entry["sentence"]


def test_a_study_without_energies_says_what_it_cannot_ask(results):
    results |= {"minimiser": None, "reference": {}, "tg": []}
    results["study"]["classify"]["inputs"] = ["thermal"]
    results["classification"] = [
        each | {"auc_minus_energy": None, "auc_at_equal_energy": None}
        for each in rows_of(results, input="thermal")
        if each["model"] not in ("e_pot", "e_is")
    ]
    assert family(results, "primary") == family(results, "exploratory") == []
    assert conclusions.sentences(results)[0].startswith("Without energies and inherent structures")
    assert "no energies are known" in conclusions.summary(results)[0]
    assert "thermal configurations" in conclusions.summary(results)[1]


def test_nothing_is_concluded_from_nothing(results):
    results |= {"classification": [], "reference": {}}
    assert conclusions.claims(results) == []
    assert len(conclusions.sentences(results)) == 1
    assert len(conclusions.summary(results)) == 3
