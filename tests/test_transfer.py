from pathlib import Path

import numpy as np
import pytest

from vitrify import analyses, store, transfer
from vitrify.analyses import transfer as analysis
from vitrify.scores import Difference, Estimate
from vitrify.settings import from_toml

TINY = Path(__file__).parent / "tiny.toml"


def _scored(seed: int, apart: float, shift: float, n_runs: int = 40) -> transfer.Scored:
    rng = np.random.default_rng(seed)
    liquid, glass = rng.normal(size=(2, n_runs)) + shift + np.array([[-apart / 2], [apart / 2]])
    return transfer.Scored(liquid=liquid, glass=glass, run=np.arange(n_runs))


def test_a_shifted_logit_loses_accuracy_but_neither_rank_nor_the_moved_threshold() -> None:
    found = transfer.cell(_scored(1, 6, 8), _scored(2, 6, 8), rng=np.random.default_rng(1))
    assert found.n_test == 80
    assert found.accuracy.value == 0.5
    assert found.auc.value > 0.99
    assert found.accuracy_rethresholded.value > 0.95


@pytest.mark.parametrize("level", [0.75, 0.55])
def test_a_fall_is_found_between_the_right_temperatures(level: float) -> None:
    T = np.array([0.4, 0.6, 1.0, 1.4, 2.0])
    chance = np.array([0.0, 0.1, 0.7, 1.0, 1.0])  # of the liquid being right
    within = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        liquid = rng.random((60, 5)) < chance
        right = np.stack([liquid, np.ones_like(liquid)], axis=2)
        found = transfer.crossing(T, right, level, rng=rng)
        assert found is not None
        truth = np.interp(level, (chance + 1) / 2, T)
        within += found.T.low <= truth <= found.T.high
    assert within >= 36


def test_there_is_no_fall_where_all_is_right_or_all_is_wrong() -> None:
    rng = np.random.default_rng(1)
    for value in (True, False):
        assert transfer.crossing(np.array([1.0, 2.0]), np.full((9, 2, 2), value), 0.75, rng=rng) is None


def test_what_failed_follows_the_auc() -> None:
    high, chance = Estimate(0.99, 0.95, 1.0), Estimate(0.5, 0.45, 0.55)
    none, lost = Difference(0.0, -0.02, 0.02, 1.0), Difference(-0.3, -0.4, -0.2, 0.001)
    assert transfer.failure(none, high, high) == "none"
    assert transfer.failure(none, chance, high) == "threshold"
    assert transfer.failure(lost, chance, high) == "representation"
    assert transfer.failure(Difference(-0.3, -0.7, 0.1, 0.2), chance, high) == "undecided"


@pytest.mark.slow
def test_the_matrix_of_a_study(tmp_path: Path) -> None:
    chosen = from_toml(TINY)
    found = analyses.run(["transfer"], chosen, tmp_path, n_workers=1, progress=lambda _stage, _done, _total: None)
    values = found["transfer"]
    n = len(values["states"])
    assert n == len(chosen.classify.inputs) * len(chosen.classify.k)
    outcomes = [store.read_json(path) for path in sorted((tmp_path / "models").glob("*/outcome.json"))]
    for model in values["models"][1:]:
        assert np.shape(model["cells"]) == (n, n)
        for place, state in enumerate(values["states"]):
            known = next(
                one
                for one in outcomes
                if (one["model"], one["input"], one["train_k"]) == (model["model"], state["input"], state["k"])
                and not one["control"]
            )
            test = next(one["test"] for one in known["scored"] if one["test_k"] == state["k"])
            right = (np.array(test["logit"]) > 0) == np.array(test["label"], bool)
            assert model["cells"][place][place]["accuracy"]["value"] == pytest.approx(right.mean())
    section = analysis.section(values)
    assert len(section.tables) == len(values["models"])
    assert len(section.drawings[0].draw(*section.drawings[0].values).axes) == 3 * len(values["models"]) + 1
