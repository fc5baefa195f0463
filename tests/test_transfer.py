from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitrify import analyses, classify, learn, scores, store, study, transfer
from vitrify.analyses import transfer as analysis
from vitrify.analyses import transfer_studies
from vitrify.claims import judge
from vitrify.dataset import labelled
from vitrify.settings import Study, from_toml, split

TINY = Path(__file__).parent / "tiny.toml"


def _scored(seed: int, apart: float, shift: float, n_runs: int = 40) -> transfer.Scored:
    rng = np.random.default_rng(seed)
    liquid, glass = rng.normal(size=(2, n_runs)) + shift + np.array([[-apart / 2], [apart / 2]])
    return transfer.Scored(liquid=liquid, glass=glass, run=np.arange(n_runs))


def test_a_shifted_logit_loses_accuracy_but_neither_rank_nor_the_moved_threshold() -> None:
    found = transfer.cell(_scored(1, 6, 8), _scored(2, 6, 8))
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


@pytest.mark.parametrize(
    ("ranking", "accuracy", "failed"),
    [
        ("shown", "shown", "representation"),
        ("shown", "absent", "representation"),
        ("absent", "shown", "threshold"),
        ("absent", "absent", "none"),
        ("absent", "open", "open"),
        ("open", "shown", "open"),
    ],
)
def test_what_failed_follows_the_two_answers(ranking: str, accuracy: str, failed: str) -> None:
    assert transfer.failure(ranking, accuracy) == failed


def test_a_moved_threshold_loses_accuracy_and_a_lost_order_loses_rank() -> None:
    there = _scored(3, 4.0, 0.0, 400)
    for who, moved, failed in (
        ("shifted", np.array([1.5, 1.5]), "threshold"),
        ("as it is", np.array([0.0, 0.0]), "none"),
        ("with the classes nearer", np.array([1.5, -1.5]), "representation"),
    ):
        one = transfer.Scored(liquid=there.liquid + moved[0], glass=there.glass + moved[1], run=there.run)
        found = scores.compare(one.logit, there.logit, one.label, one.both_runs)
        asked = transfer.asked(found.auc, found.accuracy, who=who, where="Here", n_runs=400, margin=0.05)
        ranking, accuracy = (judge("one", [question])[0].answer for question in asked)
        assert transfer.failure(ranking, accuracy) == failed


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


def _silent(_stage: str, _done: float, _total: float) -> None:
    pass


def _finished(out: Path, kinds: list[str], *, n_steps: int, k: tuple[int, ...] = (1, 6), **simulate: Any) -> Study:
    """Return a study of which as much is made as a transfer between studies reads."""
    cool = {"T_start": 2.0, "T_end": 0.05, "n_steps": n_steps, "n_frames": 10}
    train = {"n_steps": 10, "evaluate_every": 10, "batch_size": 8}
    chosen = Study.model_validate(
        {
            "name": out.name,
            "seed": 3,
            "simulate": {"n_equilibrate": 200, "n_runs": 12, "cool": cool} | simulate,
            "classify": {
                "k_glass": 10,
                "k": k,
                "k_transfer": 1,
                "control": [],
                "null": False,
                "baselines": [],
                "inputs": ["inherent"],
                "validation": 0.25,
                "test": 0.34,
                "train": train,
            },
            "models": [{"kind": kind} for kind in kinds],
        }
    )
    study.simulate(chosen, out, n_workers=1, progress=_silent)
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=chosen.classify.records)
    classify.learn_all(chosen, ensemble, out / "models", equal={}, n_workers=1, progress=_silent)
    store.write_json(out / "results.json", {"study": chosen.model_dump(mode="json")})
    return chosen


def test_the_matrix_over_studies_tests_every_network_on_the_test_runs_of_every_study(tmp_path: Path) -> None:
    small = _finished(tmp_path / "small", ["mpnn", "shallow"], n_particles=64, n_steps=1_000)
    large = _finished(tmp_path / "large", ["mpnn"], n_particles=100, n_steps=2_000, n_runs=10)
    _finished(tmp_path / "deep", ["mpnn"], n_particles=232, n_steps=1_000, n_runs=8, mixture="ka3d", k=(1,))
    values = transfer_studies.compute([tmp_path / name for name in ("small", "large", "deep")], progress=_silent)
    assert values["differ"] == ["mixture", "N", "cooling"]
    assert [one["label"] for one in values["studies"]] == [
        "ka2d, N = 64, 1,000 steps",
        "ka2d, N = 100, 2,000 steps",
        "ka3d, N = 232, 1,000 steps",
    ]
    assert values["n_twins"] == 0
    energy, mpnn, shallow = values["models"]
    assert [one["model"] for one in values["models"]] == ["energy", "mpnn", "shallow"]
    assert all("why" not in cell for row in energy["cells"] for cell in row)

    ensemble = store.load(tmp_path / "large" / "data", large.simulate, seed=large.seed, k=large.classify.records)
    for row, column, k, trained_k in ((0, 3, 6, 1), (1, 2, 1, 6)):
        cell = mpnn["cells"][row][column]
        one = next(one for one in classify.trainings(small) if one.name == "mpnn" and one.train_k == trained_k)
        network = learn.restore(small.models[0], store.Checkpoints(tmp_path / "small" / "models" / one.folder))
        data = labelled(ensemble, inherent=True, k_glass=10, k_liquid=k).of_runs(split(large).test)
        logit = learn.predict(network, data)
        assert cell["auc"]["value"] == pytest.approx(scores.auc(logit, data.label))
        assert cell["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, data.label))
        assert cell["n_runs"] == len(split(large).test)
        there = mpnn["cells"][column][column]
        assert there["lost"] is None
        assert cell["ranking"]["effect"] == cell["lost"]["value"]
        assert cell["ranking"]["p"] <= cell["ranking"]["p_corrected"] <= 1
        assert cell["ranking"]["n_runs"] == cell["n_runs"]
        assert cell["lost"]["value"] == pytest.approx(cell["auc"]["value"] - there["auc"]["value"])
    assert mpnn["cells"][0][4] == {"why": "trained in 2 dimensions, shown 3"}
    assert mpnn["null"][0][2] is None
    assert shallow["cells"][2][0] == {"why": "the study has no shallow"}
    assert shallow["cells"][0][2]["lost"] is None  # nobody was trained there to compare with

    section = transfer_studies.section(values)
    assert "no run that trained a network tests it" in section.sentences[0]
    assert any("trained in 2 dimensions, shown 3" in row[1] for row in section.tables[1].rows)
    for drawing in section.drawings:
        assert len(drawing.draw(*drawing.values).axes) == 4
        assert len({len(column) for column in drawing.data.values()}) == 1


def test_a_run_that_begins_as_one_that_trained_a_network_does_not_test_it(tmp_path: Path) -> None:
    few = _finished(tmp_path / "few", ["logistic"], n_particles=64, n_steps=1_000)
    more = _finished(tmp_path / "more", ["logistic"], n_particles=64, n_steps=2_000, n_runs=20)
    values = transfer_studies.compute([tmp_path / "few", tmp_path / "more"], progress=_silent)
    assert values["n_twins"] == 12
    seen = np.setdiff1d(np.arange(12), split(few).test)
    left = np.setdiff1d(split(more).test, seen)
    assert 2 <= len(left) < len(split(more).test)
    cells = values["models"][1]["cells"]
    assert {cells[row][column]["n_runs"] for row in (0, 1) for column in (2, 3)} == {len(left)}
    assert {cells[row][column]["n_runs"] for row in (2, 3) for column in (2, 3)} == {len(split(more).test)}
    assert "begin alike" in transfer_studies.section(values).sentences[0]


def test_a_study_is_named_once_and_finished(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no results\.json"):
        transfer_studies.compute([tmp_path, tmp_path], progress=_silent)
    with pytest.raises(ValueError, match=r"holds no results\.json"):
        analyses.between(from_toml(TINY), tmp_path, [tmp_path / "none"], n_workers=1, progress=_silent)
