import numpy as np
import pytest

from vitrify import energy
from vitrify.analyses import energy as analysis
from vitrify.scores import Difference
from vitrify.settings import quickstart


def _ensemble(seed: int, n_runs: int = 75) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Return energies apart by 1.5 standard deviations, labels, and runs that hold one configuration of each class."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n_runs)
    return rng.normal(size=2 * n_runs) - 1.5 * label, label, np.tile(np.arange(n_runs), 2), rng


def test_pairs_are_close_and_as_many_as_there_can_be() -> None:
    e, label, _, _ = _ensemble(1)
    found = energy.match(e, label)
    assert found.keep.sum() == 2 * found.n_pairs
    assert label[found.keep].sum() == found.n_pairs
    assert abs(found.before.mean_difference) > 1
    assert found.after is not None
    assert abs(found.after.mean_difference) < 0.1
    assert found.after.ks < 0.25 < found.before.ks
    assert energy.match(e + 100.0 * label, label).n_pairs == 0
    same = np.tile(np.linspace(0, 1, 9), 2)
    assert energy.match(same, np.repeat([0, 1], 9)).n_pairs == 9


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(ValueError, match="energy must be finite; 1 of 2 are not"):
        energy.match(np.array([0.0, np.nan]), np.array([0, 1]))
    with pytest.raises(ValueError, match="label must hold both classes; got 0 glasses and 2 liquids"):
        energy.match(np.zeros(2), np.array([0, 0]))
    with pytest.raises(ValueError, match="at least 5 runs; got 2"):
        energy.gain(
            np.zeros(4), np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), rng=np.random.default_rng(1)
        )


def _alone(adds: energy.Gain) -> str:
    return energy.verdict(adds, adds.likelihood.p)


def test_the_verdict_is_that_of_a_planted_truth() -> None:
    found: dict[str, list[str]] = {"only": [], "more": [], "noise": []}
    for seed in range(6):
        e, label, run, rng = _ensemble(seed)
        other = 1.5 * label + rng.normal(size=len(label))
        logits = {
            "only": -2 * e + 0.1 * rng.normal(size=len(e)),
            "more": other - e,
            "noise": rng.normal(size=len(e)),
        }
        for name, logit in logits.items():
            found[name].append(_alone(energy.gain(e, logit, label, run, rng=rng)))
    assert found["more"].count("more") >= 5
    assert found["only"].count("more") <= 1
    assert found["only"].count("only") >= 5
    assert found["noise"].count("more") <= 1


def test_a_gain_that_its_neighbours_make_likely_by_chance_is_none() -> None:
    e, label, run, rng = _ensemble(1)
    adds = energy.gain(e, 1.5 * label + rng.normal(size=len(label)), label, run, rng=rng)
    assert energy.verdict(adds, 0.04) == "more"
    assert energy.verdict(adds, 0.06) == "undecided"
    likelihood = {"value": 0.1, "low": 0.01, "high": 0.2, "p": 0.03}
    models = [{"adds": energy.Gain(likelihood=Difference(**likelihood), auc=adds.auc)} for _ in range(2)]
    analysis._judge(models)
    assert [(one["verdict"], one["adds"]["likelihood"]["p_holm"]) for one in models] == [("undecided", 0.06)] * 2


def test_the_energy_adds_to_a_logit_that_ignores_it() -> None:
    e, label, run, rng = _ensemble(3)
    logit = 1.5 * label + rng.normal(size=len(e))
    added = energy.gain(logit, e, label, run, rng=rng)
    assert added.likelihood.low > 0
    assert added.auc.value > 0.03


def test_correlation_is_within_the_class() -> None:
    e, label, run, rng = _ensemble(4)
    glass = label == 1
    logit = -3 * e[glass]
    found = energy.correlation(logit, e[glass], run[glass], rng=rng)
    assert found is not None
    assert found.pearson.value == pytest.approx(-1)
    assert found.spearman.high == pytest.approx(-1)
    hold = 0
    for _ in range(40):
        unrelated = energy.correlation(rng.normal(size=75), e[glass], run[glass], rng=rng)
        assert unrelated is not None
        hold += unrelated.pearson.low < 0 < unrelated.pearson.high
    assert hold >= 34  # of 38 on average
    assert energy.correlation(np.zeros(75), e[glass], run[glass], rng=rng) is None


def _task(seed: int, adds: str) -> dict:
    """Return a task as the analysis keeps it, from energies and one network's logit."""
    e, label, run, rng = _ensemble(seed)
    logit = (1.5 * label + rng.normal(size=len(e)) - e) if adds == "more" else -2 * e
    part = {"label": label.tolist(), "run": run.tolist()}

    def outcome(model: str, values: np.ndarray, settings: dict | None) -> dict:
        both = {which: part | {"logit": values.tolist()} for which in ("validation", "test")}
        return {"model": model, "settings": settings, "scored": [{"test_k": 7} | both]}

    group = [outcome("cnn", logit, {}), outcome("e_is", -e, None)]
    energies = {(r, y): value for r, y, value in zip(run.tolist(), label.tolist(), e.tolist(), strict=True)}
    return analysis._task(quickstart(), "inherent", 7, 0.5, group, energies)


@pytest.mark.parametrize(("adds", "words"), [("more", "sees more than"), ("only", "adds nothing to")])
def test_the_section_says_what_the_numbers_support(adds: str, words: str) -> None:
    section = analysis.section({"tasks": [_task(5, adds)]})
    assert words in section.sentences[0]
    assert "n = 150, 75 test runs" in section.sentences[0]
    (drawing,) = section.drawings
    axes = drawing.draw(*drawing.values).axes
    assert axes[0].get_title(loc="left") == "inherent, k = 7, $T$ = 0.500"
    assert len(drawing.data["logit"]) == 150
    assert [row[0] for row in section.tables[0].rows] == ["e_IS alone", "CNN"]


def test_a_task_the_energy_decides_gets_no_verdict() -> None:
    task = _task(6, "only") | {"trivial": True}
    section = analysis.section({"tasks": [task]})
    assert "nothing left for a network to add" in section.sentences[0]
    assert not section.tables
