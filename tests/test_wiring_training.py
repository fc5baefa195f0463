"""Which runs reach training, choice, calibration and scoring, and whose numbers come out, on the planted ensemble."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from tests import planted
from tests.planted import BOX, CHOSEN, ENERGIES, GLASS, INPUTS, N_RUNS, OPTIONS, PARTS, WHOLE

from vitrify import (
    attribution,
    baselines,
    classify,
    learn,
    lineage,
    log,
    pack,
    packed,
    scores,
    sites,
    store,
    study,
    transition,
    workbench,
)
from vitrify import energy as energies
from vitrify import evaluate as evaluation
from vitrify import sweep as sweeps
from vitrify.baselines import ENERGY
from vitrify.cnn import CNN, Swanson2018
from vitrify.dataset import EnergyPair, Labelled, labelled, several
from vitrify.sets import Logistic
from vitrify.settings import Study
from vitrify.system import Configuration, minimum_image
from vitrify.views import Image, log_picture
from vitrify.workbench import Task

TRAIN, VALIDATION, TEST = (set(part.tolist()) for part in (PARTS.train, PARTS.validation, PARTS.test))
HISTORY = {"validation_loss": [0.4, 0.6], "step": [1, 2]}  # the last weights are not the best
SMALL = CHOSEN.model_copy(update={"models": CHOSEN.models[:1], "equal_energy": None})
LATE = 0.25
"""What the last weights of a network add to its planted answers."""


# --- the classifiers of a study ---


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All classifiers of a small study: who trained on what, and what is kept of each."""
    out = tmp_path_factory.mktemp("learnt")
    by_folder = {one.folder: one for one in classify.trainings(SMALL)}
    told: list[dict[str, Any]] = []

    def train(model: Any, trains: Labelled, chooses: Labelled, settings: Any, **words: Any) -> Any:
        training = by_folder[words["checkpoints"]._folder.name]
        told.append({"training": training, "train": trains, "validation": chooses, **words})
        return SimpleNamespace(training=training, model=model, history=HISTORY)

    def restore(_model: Any, checkpoints: Any, *, which: str = "best") -> Any:
        training = by_folder[checkpoints._folder.name]
        return SimpleNamespace(training=training, late=LATE if which == "last" else 0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "train", train)
        patch.setattr(learn, "restore", restore)
        patch.setattr(learn, "predict", lambda of, data: planted.predict(of, data) + getattr(of, "late", 0.0))
        ensemble = planted.held(WHOLE, CHOSEN.classify.records)
        outcomes = classify.learn_all(SMALL, ensemble, out / "models", equal={}, **OPTIONS)
        rows = classify.rows(WHOLE.T, outcomes)
    return {
        "told": told,
        "outcomes": dict(zip(by_folder, outcomes, strict=True)),
        "trainings": by_folder,
        "rows": rows,
        "out": out,
    }


def test_weights_are_set_on_training_runs_and_chosen_on_validation_runs(learnt: Any) -> None:
    assert len(learnt["told"]) == 2 * 2 * 5
    for one in learnt["told"]:
        training = one["training"]
        for part, runs in (("train", TRAIN), ("validation", VALIDATION)):
            data = one[part]
            assert set(data.run.tolist()) == runs
            seen = planted.recognised(data.positions)
            np.testing.assert_array_equal(seen.run, data.run)
            assert {INPUTS[i] for i in seen.input} == {training.input}
            if training.train_k == training.k_glass:
                assert set(seen.k.tolist()) == {GLASS}
                assert abs(int(data.label.sum()) * 2 - len(data.label)) <= 1
            else:
                expected = np.where(data.label == 1, training.k_glass, training.train_k)
                np.testing.assert_array_equal(seen.k, expected)


def test_no_two_trainings_draw_from_one_seed(learnt: Any) -> None:
    seeds = [one["seed"] for one in learnt["told"]]
    assert len(set(seeds)) == len(seeds)


def test_an_outcome_keeps_the_answers_of_its_own_network_on_its_own_runs(learnt: Any) -> None:
    for folder, outcome in learnt["outcomes"].items():
        training = learnt["trainings"][folder]
        assert [one["test_k"] for one in outcome["scored"]] == list(training.tested)
        assert (outcome["input"], outcome["train_k"], outcome["glass_k"]) == (
            *(training.input, training.train_k, training.k_glass),
        )
        assert outcome["n_train"] == (1 if training.train_k == training.k_glass else 2) * len(TRAIN)
        for one in outcome["scored"]:
            for part, runs in (("validation", VALIDATION), ("test", TEST)):
                logit, label, run = (np.array(one[part][what]) for what in ("logit", "label", "run"))
                assert set(run.tolist()) == runs
                k = np.where(label == 1, training.k_glass, one["test_k"])
                if training.model is not None:
                    expected = planted.answers(training)[INPUTS.index(training.input), run, k - 1]
                    np.testing.assert_allclose(logit, expected)
                elif not training.control:
                    e = ENERGIES[training.input][run, k - 1]
                    own = planted.by_energy(training.input, training.train_k, np.array(sorted(runs)), at=one["test_k"])
                    np.testing.assert_allclose(np.sort(logit), np.sort(own))
                    assert abs(np.corrcoef(logit, e)[0, 1]) == pytest.approx(1)


def test_the_log_keeps_the_last_weights_beside_the_best(learnt: Any) -> None:
    for folder, outcome in learnt["outcomes"].items():
        training = learnt["trainings"][folder]
        identifier = log.identify(learnt["out"], "train", folder)
        record = log.read(learnt["out"] / log.FOLDER / f"{identifier}.jsonl")
        own = {one["test_k"]: one for one in outcome["scored"]}
        assert record["settings"]["train_T"] == pytest.approx(planted.T[training.train_k - 1])
        assert record["settings"]["glass_T"] == pytest.approx(planted.T[training.k_glass - 1])
        for part in ("validation", "test"):
            logit, label = (np.array(own[training.train_k][part][what]) for what in ("logit", "label"))
            for which, late in (("best", 0.0), ("final", LATE if training.model else 0.0)):
                accuracy = record["scores"][which][part]["accuracy"]["value"]
                assert accuracy == pytest.approx(scores.accuracy(logit + late, label))
        assert [one["k"] for one in record["transfer"]] == [k for k in training.tested if k != training.train_k]
        for one in record["transfer"]:
            test = own[one["k"]]["test"]
            assert one["T"] == pytest.approx(planted.T[one["k"] - 1])
            expected = scores.auc(np.array(test["logit"]), np.array(test["label"]))
            assert one["test"]["auc"]["value"] == pytest.approx(expected)


def test_a_row_is_of_the_test_runs_with_the_threshold_of_the_validation_runs(learnt: Any) -> None:
    outcomes: dict[tuple, list[Any]] = {}
    for outcome in learnt["outcomes"].values():
        key = (outcome["input"], outcome["model"], outcome["train_k"], outcome["control"])
        outcomes.setdefault(key, []).append(outcome)

    def logits(key: tuple, test_k: int, part: str) -> tuple[np.ndarray, np.ndarray]:
        own = [next(one for one in outcome["scored"] if one["test_k"] == test_k)[part] for outcome in outcomes[key]]
        return np.mean([one["logit"] for one in own], axis=0), np.array(own[0]["label"])

    assert len(learnt["rows"]) == 2 * 2 * (3 + 2 + 2)
    for row in learnt["rows"]:
        key = (row["input"], row["model"], row["train_k"], row["control"])
        logit, label = logits(key, row["test_k"], "test")
        threshold = scores.rethreshold(*logits(key, row["test_k"], "validation"))
        assert row["train_T"] == planted.T[row["train_k"] - 1]
        assert row["test_T"] == planted.T[row["test_k"] - 1]
        assert row["n_test_runs"] == len(TEST)
        assert row["auc"]["value"] == pytest.approx(scores.auc(logit, label))
        assert row["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, label))
        moved = scores.accuracy(logit, label, threshold=threshold)
        assert row["accuracy_rethresholded"]["value"] == pytest.approx(moved)
        assert row["validation_auc"] == pytest.approx(scores.auc(*logits(key, row["test_k"], "validation")))
        assert row["auc_minus_chance"]["value"] == pytest.approx(row["auc"]["value"] - 0.5)
        if row["train_k"] == row["test_k"] or row["model"] != "mpnn":
            assert row["auc_minus_own"] is None
        else:
            own = logits((*key[:2], row["test_k"], False), row["test_k"], "test")[0]
            for name, score in (("auc", scores.auc), ("accuracy", scores.accuracy)):
                expected = score(logit, label) - score(own, label)
                assert row[f"{name}_minus_own"]["value"] == pytest.approx(expected)
        assert row["n_seeds"] == (2 if row["model"] == "mpnn" else 1)
        if row["model"] == "mpnn":
            each = [
                next(one for one in outcome["scored"] if one["test_k"] == row["test_k"])["test"]
                for outcome in outcomes[key]
            ]
            found = [one["auc"] for one in row["each_seed"]]
            assert found == pytest.approx([scores.auc(np.array(one["logit"]), label) for one in each])
            energy = logits((row["input"], ENERGY[row["input"]], *key[2:]), row["test_k"], "test")[0]
            expected = scores.auc(logit, label) - scores.auc(energy, label)
            assert row["auc_minus_energy"]["value"] == pytest.approx(expected)
            beyond = energies.adds(logit, energy, label, np.array(each[0]["run"]))
            assert row["auc_at_equal_energy"]["value"] == pytest.approx(beyond.value)


# --- one classifier at a time ---


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted ensemble and answers under the workbench, which then simulates and trains nothing."""
    monkeypatch.setattr(store, "load", planted.load)
    monkeypatch.setattr(study, "simulate", lambda *_, **__: {})


TASK = Task(input="inherent", k=6)


def _all() -> Labelled:
    return labelled(planted.held(WHOLE, (6, GLASS)), inherent=True, k_glass=GLASS, k_liquid=6)


def _trained(folder: Path, training: classify.Training) -> None:
    """Leave what the workbench leaves of a training under the study's own split."""
    assert training.model is not None
    folder.mkdir(parents=True)
    sets = workbench.inputs(SMALL, folder, TASK, **OPTIONS)
    seen = lineage.Seen.by(lineage.runs(SMALL, sets.values()), PARTS)
    kept = {"model": training.name, "settings": training.model.model_dump(mode="json"), "input": training.input}
    kept |= {"train_k": 6, "glass_k": GLASS, "train": {}, "seed": 0, "labels": learn.LABELS, "lineage": []}
    kept |= {"seen": seen.as_json()}
    store.write_json(folder / "outcome.json", kept | {"name": folder.name, "data": _all().digest})


@pytest.mark.parametrize("part", ["train", "test"])
def test_threshold_and_temperature_are_fitted_on_the_validation_runs(
    bench: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Any
) -> None:
    two = [one for one in classify.trainings(SMALL) if (one.name, one.input, one.train_k) == ("mpnn", "inherent", 6)]
    folders = [tmp_path / "trained" / f"network{place}" for place in range(2)]
    for folder, training in zip(folders, two, strict=True):
        _trained(folder, training)
    names = {folder.name: planted.Network(one) for folder, one in zip(folders, two, strict=True)}
    monkeypatch.setattr(learn, "restore", lambda _model, kept, **_: names[kept._folder.name])
    monkeypatch.setattr(evaluation, "averaged", lambda network, data, _looks=None: planted.predict(network, data))
    fitted: list[Labelled] = []
    fits: list[tuple[np.ndarray, ...]] = []
    calibrated, fit = evaluation.calibrated, baselines.fit
    monkeypatch.setattr(baselines, "fit", lambda *arrays: fits.append(arrays) or fit(*arrays))

    def spied(scorer: Any, chooses: Labelled, **words: Any) -> Any:
        fitted.append(chooses)
        return calibrated(scorer, chooses, **words)

    monkeypatch.setattr(evaluation, "calibrated", spied)
    found = workbench.evaluate(SMALL, tmp_path, TASK, folders, part=part, **OPTIONS)
    assert [set(data.run.tolist()) for data in fitted] == [VALIDATION]
    ((train, train_label, chooses, chosen_label),) = fits
    for x, y, runs in ((train, train_label, PARTS.train), (chooses, chosen_label, PARTS.validation)):
        expected, label, _ = planted.pair(6, runs, ENERGIES["inherent"])
        np.testing.assert_array_equal(x[:, 0], expected)
        np.testing.assert_array_equal(y, label)
    tables = [planted.answers(one)[1] for one in two]
    tables.append(np.mean(tables, axis=0))
    shown = [planted.pair(6, getattr(PARTS, part), table) for table in tables]
    label = shown[0][1]
    rows = {row["model"]: row for row in found["scores"]}
    for name, (logit, _, _) in zip(("network0", "network1", "averaged"), shown, strict=True):
        assert rows[name]["auc"]["value"] == pytest.approx(scores.auc(logit, label))
        assert rows[name]["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, label))
        assert (rows[name]["part"], rows[name]["n_runs"]) == (part, len(getattr(PARTS, part)))
    chosen = evaluation.calibrate(*planted.pair(6, PARTS.validation, tables[2])[:2], move_threshold=True)
    corrected = chosen.logit(shown[2][0])
    assert rows["averaged, calibrated"]["accuracy"]["value"] == pytest.approx(scores.accuracy(corrected, label))
    for name, logit in (("averaged", shown[2][0]), ("averaged, calibrated", corrected)):
        p = 1 / (1 + np.exp(-logit))
        of_bin = np.minimum((10 * p).astype(int), 9)
        ece = sum(abs((label - p)[of_bin == k].sum()) for k in range(10)) / len(label)
        assert found["reliability"][name]["ece"]["value"] == pytest.approx(ece)
        bins = found["reliability"][name]["bins"]
        for one, k in zip(bins, np.unique(of_bin), strict=True):
            assert one["n"] == (of_bin == k).sum()
            assert one["glass"]["value"] == pytest.approx(label[of_bin == k].mean())
            assert one["probability"] == pytest.approx(p[of_bin == k].mean())
    energy = planted.by_energy("inherent", 6, getattr(PARTS, part))
    assert rows["e_is"]["auc"]["value"] == pytest.approx(scores.auc(energy, label))
    expected = scores.auc(shown[2][0], label) - scores.auc(energy, label)
    assert rows["averaged"]["auc_minus_energy"]["value"] == pytest.approx(expected)


def test_a_sweep_and_the_folds_are_given_their_own_runs(
    bench: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[Any] = []

    def run(_sweep: Any, _model: Any, _train: Any, *data: Any, **_words: Any) -> Any:
        swept.extend(data)
        raise InterruptedError

    monkeypatch.setattr(sweeps, "run", run)
    space = {"sampler": "grid", "n_seeds": 1, "space": {"train.learning_rate": [0.01, 0.001]}}
    asked = Study.model_validate(SMALL.model_dump() | {"sweep": space})
    with pytest.raises(InterruptedError):
        workbench.sweep(asked, tmp_path, TASK, kind="mpnn", **OPTIONS)
    assert [set(one.run.tolist()) for one in swept[:2]] == [TRAIN, VALIDATION]
    told: dict[str, tuple[set[int], ...]] = {}
    seeds: list[int] = []

    def train(_model: Any, trains: Labelled, chooses: Labelled, _settings: Any, **words: Any) -> Any:
        told[words["checkpoints"]._folder.name] = (set(trains.run.tolist()), set(chooses.run.tolist()))
        seeds.append(words["seed"])
        return words["checkpoints"]._folder.name

    scored: dict[str, set[int]] = {}

    def predict(fold: str, data: Labelled) -> np.ndarray:
        scored[fold] = set(data.run.tolist())
        return planted.recognised(data.positions).k + 0.01 * data.run

    monkeypatch.setattr(learn, "train", train)
    monkeypatch.setattr(learn, "predict", predict)
    found = workbench.cross_validate(SMALL, tmp_path, TASK, kinds=("mpnn",), n_folds=4, **OPTIONS)
    assert set(told) == set(scored) == set("0123")
    assert len(set(seeds)) == 4
    for fold, (trains, chooses) in told.items():
        assert trains | chooses | scored[fold] == set(range(N_RUNS))
        assert len(trains) + len(chooses) + len(scored[fold]) == N_RUNS
        assert scored[fold] == told[str((int(fold) - 1) % 4)][1]
    (pooled,) = [row for row in found["table"] if (row["model"], row["fold"]) == ("mpnn", "pooled")]
    assert (pooled["auc"], pooled["n_test"], pooled["n_runs"]) == (1.0, 2 * N_RUNS, N_RUNS)


def test_a_training_of_the_workbench_is_chosen_and_scored_on_validation_runs(
    bench: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = next(one for one in classify.trainings(SMALL) if (one.name, one.input, one.train_k) == ("mpnn", "inherent", 6))  # fmt: skip  # noqa: E501
    told: list[Any] = []

    def train(model: Any, trains: Labelled, chooses: Labelled, _settings: Any, **words: Any) -> Any:
        told.append((set(trains.run.tolist()), set(chooses.run.tolist()), words["seed"]))
        columns = ("samples", "epoch", "seconds", "validation_accuracy", "validation_loss", "step")
        return SimpleNamespace(
            training=training, model=model, parents=(), history={name: [0.5, 0.4] for name in columns}
        )

    monkeypatch.setattr(learn, "train", train)
    monkeypatch.setattr(learn, "predict", planted.predict)
    monkeypatch.setattr(workbench, "_draw", lambda *_: None)
    for seed in (0, 1):
        outcome = workbench.train(SMALL, tmp_path, TASK, kind="mpnn", seed=seed, **OPTIONS)
        logit, label, _ = planted.pair(6, PARTS.validation, planted.answers(training)[1])
        assert outcome["scores"][0]["auc"]["value"] == pytest.approx(scores.auc(logit, label))
        assert outcome["scores"][0]["n_runs"] == len(VALIDATION)
    assert [one[:2] for one in told] == [(TRAIN, VALIDATION)] * 2
    assert told[0][2] != told[1][2]


# --- a model that leaves its study ---


def test_a_packed_model_is_calibrated_on_validation_runs_and_scored_on_test_runs(
    bench: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [one for one in classify.trainings(SMALL) if (one.name, one.input, one.train_k) == ("mpnn", "inherent", 6)]
    models = {str(seed): SimpleNamespace(training=one, network=seed, model=None) for seed, one in enumerate(two)}
    settings = SMALL.models[0].model_dump(mode="json")
    monkeypatch.setattr(workbench, "train", lambda *_, seed, **__: {"settings": settings, "name": str(seed)})
    for name, one in models.items():
        _trained(tmp_path / "trained" / name, one.training)
    monkeypatch.setattr(learn, "restore", lambda _model, kept: models[kept._folder.name])
    monkeypatch.setattr(evaluation, "averaged", lambda one, data, _looks=None: planted.predict(one, data))
    bases: list[Any] = []
    monkeypatch.setattr(pack.attribution, "baseline", lambda network, _model, data: bases.append((network, data)))
    domains: list[Any] = []
    monkeypatch.setattr(pack, "_domain", lambda *words: domains.append(words))
    monkeypatch.setattr(packed, "save", lambda folder, _: folder.mkdir())
    card = pack.pack(SMALL, tmp_path, TASK, kind="mpnn", n_networks=2, folder=tmp_path / "model", **OPTIONS)
    table = np.mean([planted.answers(one)[1] for one in two], axis=0)
    chosen = evaluation.calibrate(*planted.pair(6, PARTS.validation, table)[:2], move_threshold=True)
    assert card["calibration"] == {
        "threshold": pytest.approx(chosen.threshold),
        "temperature": pytest.approx(chosen.temperature),
    }
    logit, label, _ = planted.pair(6, PARTS.test, table)
    assert card["scores"][0]["auc"]["value"] == pytest.approx(scores.auc(logit, label))
    assert card["scores"][0]["accuracy"]["value"] == pytest.approx(scores.accuracy(chosen.logit(logit), label))
    assert card["T"] == {"liquid": planted.T[5], "glass": planted.T[GLASS - 1]}
    assert card["k"] == {"liquid": 6, "glass": GLASS}
    assert card["runs"] == {"train": len(TRAIN), "validation": len(VALIDATION), "test": len(TEST)}
    for place, (network, data) in enumerate(bases):
        assert network == place
        assert set(data.run.tolist()) <= TRAIN
    ((_, name, records, train, validation, *_),) = domains
    assert name == "inherent"
    assert (set(train.tolist()), set(validation.tolist())) == (TRAIN, VALIDATION)
    assert records.tolist() == list(range(1, 13))


def test_the_interval_of_a_verdict_is_that_of_one_more_network(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.array([1.0, 2.5, 0.5, 1.9])
    monkeypatch.setattr(packed, "members", lambda *_: np.stack([logits, logits - 9], axis=1))
    domain: Any = SimpleNamespace(place=lambda _shown: None)
    chosen = evaluation.Calibration(threshold=0.4, temperature=2.0)
    model = packed.Packed(card={}, members=(), calibration=chosen, domain=domain)
    shown = Configuration(positions=WHOLE.inherent[0, 0].astype(float), species=WHOLE.species, box=BOX)
    verdict = model.judge(shown)
    z = (logits - 0.4) / 2
    half = student.ppf(0.975, 3) * z.std(ddof=1) * np.sqrt(1 + 1 / 4)
    for found, expected in ((verdict.low, z.mean() - half), (verdict.p_glass, z.mean()), (verdict.high, z.mean() + half)):  # fmt: skip  # noqa: E501
        assert found == pytest.approx(1 / (1 + np.exp(-expected)))
    assert verdict.logit == pytest.approx(z.mean())
    # of 4 networks the interval that holds the next one is no narrower than the one that holds their mean
    rng, held = np.random.default_rng(2), 0
    for _ in range(400):
        draws = rng.normal(size=5)
        monkeypatch.setattr(packed, "members", lambda *_, draws=draws: draws[:4, None])
        one = packed.Packed(card={}, members=(), calibration=evaluation.Calibration(), domain=domain).judge(shown)
        held += one.low <= 1 / (1 + np.exp(-draws[4])) <= one.high
    assert 365 <= held <= 395  # 380 +- 4.4


# --- how a network is trained ---


def _data(runs: np.ndarray) -> Labelled:
    everything = _all()
    return everything.of_runs(runs)


CNN_SMALL = CNN(width=2, view=Image(pixels_per_sigma=2.0))


def test_every_step_shows_a_picture_its_own_way_and_every_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    random_symmetry, drawn = learn.random_symmetry, []

    def spied(positions: np.ndarray, box: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
        if len(positions) == 5:
            drawn.append(json.dumps(rng.bit_generator.state, sort_keys=True))
        return random_symmetry(positions, box, rng=rng)

    monkeypatch.setattr(learn, "random_symmetry", spied)
    settings = learn.Train(n_steps=7, batch_size=5, evaluate_every=4, enough=0)
    for seed in (1, 2):
        kept = _Memory()
        learn.train(CNN_SMALL, _data(PARTS.train), _data(PARTS.validation), settings, seed=seed, checkpoints=kept)
    assert len(drawn) == 14
    assert len(set(drawn)) == 14


class _Memory:
    """Checkpoints kept in memory."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}

    def load(self, which: str) -> Any:
        return self.states.get(which)

    def save(self, which: str, state: Any) -> None:
        self.states[which] = state


def test_batches_deal_every_configuration_once_an_epoch_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    inputs = learn._Run.inputs

    def spied(run: Any, batch: np.ndarray) -> Any:
        if len(batch) == 8:
            shown.append(np.array(batch))
        return inputs(run, batch)

    monkeypatch.setattr(learn._Run, "inputs", spied)
    settings = learn.Train(n_steps=8, batch_size=8, evaluate_every=8, enough=0)
    data = _data(PARTS.train[:16])
    assert len(data.label) == 32
    learn.train(CNN_SMALL, data, _data(PARTS.validation), settings, seed=1, checkpoints=_Memory())
    first, second = (np.concatenate(part) for part in (shown[:4], shown[4:8]))
    assert sorted(first) == sorted(second) == list(range(32))
    assert first.tolist() != second.tolist()


def test_the_rate_of_a_step_is_that_of_the_schedule_and_the_best_weights_those_of_the_least_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[float] = []
    step = learn.Adam.step

    def spied(self: Any, rate: float) -> None:
        taken.append(rate)
        step(self, rate)

    monkeypatch.setattr(learn.Adam, "step", spied)
    settings = learn.Train(n_steps=12, batch_size=8, evaluate_every=2, enough=0, learning_rate=0.3)
    kept = _Memory()
    saved: list[tuple[str, int, float]] = []
    save = kept.save

    def told(which: str, state: Any) -> None:
        saved.append((which, state["step"], state.get("best_loss", np.nan)))
        save(which, state)

    kept.save = told  # type: ignore[method-assign]
    trained = learn.train(CNN_SMALL, _data(PARTS.train), _data(PARTS.validation), settings, seed=4, checkpoints=kept)
    expected = [0.3 * settings.schedule.value(k, 12, None) for k in range(12)]
    assert taken == pytest.approx(expected)
    history = trained.history
    assert history["learning_rate"] == pytest.approx(expected[1::2])
    assert history["step"] == [2, 4, 6, 8, 10, 12]
    n_batches = len(_data(PARTS.train).label) // 8
    assert history["epoch"] == pytest.approx([k / n_batches for k in history["step"]])
    assert history["samples"] == [8 * k for k in history["step"]]
    best = int(np.argmin(history["validation_loss"]))
    assert best < 5  # else this asks nothing
    assert kept.states["best"]["step"] == history["step"][best]
    logit = learn.predict(trained, _data(PARTS.validation))
    label = _data(PARTS.validation).label
    loss = np.logaddexp(0, np.where(label == 1, -logit, logit)).mean()
    assert loss == pytest.approx(history["validation_loss"][best], abs=1e-5)
    assert scores.accuracy(logit, label) == pytest.approx(history["validation_accuracy"][best])
    last = learn.restore(CNN_SMALL, kept, which="last")
    logit = learn.predict(last, _data(PARTS.validation))
    assert np.logaddexp(0, np.where(label == 1, -logit, logit)).mean() == pytest.approx(
        history["validation_loss"][-1], abs=1e-5
    )


def test_the_rarer_class_weighs_more() -> None:
    data = _data(PARTS.train)
    uneven = data.take((data.label == 0) | (np.arange(len(data.label)) % 3 == 0))
    weight = learn._class_weight(uneven, learn.Train(class_weights="balanced"))
    assert weight is not None
    share = uneven.label.mean()
    np.testing.assert_allclose(weight.numpy(), [0.5 / (1 - share), 0.5 / share], rtol=1e-6)
    assert weight[1] > weight[0]


# --- whose pixel it is ---


def test_a_pixel_belongs_to_the_particle_that_covers_it_along_both_axes() -> None:
    positions = np.array([[0.5, 5.0], [2.5, 1.0], [2.5, 5.5]])
    species, box = np.array([0, 0, 1]), np.array([3.0, 6.0])
    owner = sites.owners(positions, species, box, shape=(6, 24), radius=np.array([0.5, 0.3]))
    assert owner.shape == (6, 24)
    for i in range(6):
        for j in range(24):
            centre = np.array([(i + 0.5) * 0.5, (j + 0.5) * 0.25])
            dr = minimum_image(positions - centre, box)
            depth = np.sqrt((dr**2).sum(axis=1)) - np.array([0.5, 0.3])[species]
            assert depth[owner[i, j]] == pytest.approx(depth.min())
    # the larger disc of A reaches farther than half-way
    between = sites.owners(
        np.array([[1.0, 1.0], [2.0, 1.0]]), np.array([0, 1]), np.array([3.0, 2.0]), shape=(30, 20),
        radius=np.array([0.6, 0.2]),
    )  # fmt: skip
    assert (between[:, 10] == 0).sum() > (between[:, 10] == 1).sum()


def test_shares_of_pixels_and_of_cells_go_to_the_particles_they_are_over() -> None:
    """A number for every site: what a particle gets is what lies where it is, the first axis first."""
    model = CNN(width=2, view=Image(pixels_per_sigma=4.0))
    network = model.build(seed=1)
    positions = WHOLE.inherent[3, 7]
    for at in ("features", "pixels"):
        seen: Any = sites.look(network, model, WHOLE.species, BOX, at)  # type: ignore[arg-type]
        grid = seen.cells if at == "features" else seen.drawn
        halo = 0 if at == "features" else model.halo
        for axis in (0, 1):
            inside = np.arange(grid[axis]) - halo
            half = ((inside + 0.5) / (grid[axis] - 2 * halo)) % 1 < 0.5
            of_site = np.broadcast_to(half[:, None] if axis == 0 else half[None], grid).astype(float)
            found = seen.shared(of_site.ravel().copy(), positions)
            assert found.sum() == pytest.approx(of_site.sum())
            place = positions[:, axis] / BOX[axis]
            first = (place > 0.15) & (place < 0.35)
            second = (place > 0.65) & (place < 0.85)
            assert found[second].max() < 1e-9 < found[first].mean()


def test_a_dot_of_the_logs_picture_belongs_to_its_particle() -> None:
    model = Swanson2018(pixels=60)
    box = np.array([9.2, 9.2])
    positions = np.array([[1.0, 2.0], [7.0, 3.0], [4.0, 8.0]], np.float32)
    species = np.array([0, 0, 1])
    seen = sites._Pixels(torch.nn.Identity(), model, species, box)
    owner = seen._dots(positions)
    shown = log_picture(Configuration(positions=positions.astype(float), species=species, box=box), pixels=60)
    coloured = (shown != 255).any(axis=2) if (shown == 255).all(axis=2).mean() > 0.5 else (shown != 0).any(axis=2)
    assert 6 <= coloured.sum() <= 12  # three dots of two by two
    for row, column in zip(*np.nonzero(coloured), strict=True):
        x, y = (column + 0.5) * 9.2 / 60, 9.2 - (row + 0.5) * 9.2 / 60
        nearest = np.square(minimum_image(positions - [x, y], box)).sum(axis=1).argmin()
        assert owner[row, column] == nearest


# --- a study's own numbers ---


def test_the_cooling_curve_of_a_study_keeps_its_energies_apart() -> None:
    found = study._cooling_curve(WHOLE)
    assert found["n_runs"] == N_RUNS
    assert found["T"] == planted.T.tolist()
    tables = {
        "e_is_unshifted": WHOLE.e_is_unshifted,
        "e_is_shifted": WHOLE.e_is_shifted,
        "e_pot": WHOLE.e_pot_unshifted,
    }
    for name, table in tables.items():
        assert table is not None
        assert found[name]["mean"] == pytest.approx(table.mean(axis=0))
        assert found[name]["se"] == pytest.approx(table.std(axis=0, ddof=1) / np.sqrt(N_RUNS))
    bad = np.ones((N_RUNS, planted.N_RECORDS), bool)
    bad[3, 4] = bad[6, 1] = False
    minimised = study._minimiser(SMALL, replace(WHOLE, converged=bad))
    assert minimised is not None
    assert (minimised["n_records"], minimised["n_unconverged"]) == (bad.size, 2)


def test_tg_and_the_reference_are_of_the_unshifted_inherent_energies(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_runs(T: np.ndarray, curves: np.ndarray, *, seed: int, limit: float) -> Any:
        np.testing.assert_array_equal(T, planted.T)
        np.testing.assert_array_equal(curves, WHOLE.e_is_unshifted)
        assert (seed, limit) == (SMALL.seed, SMALL.width_limit)
        raise InterruptedError

    monkeypatch.setattr(study.locate, "of_runs", of_runs)
    with pytest.raises(InterruptedError):
        study._tg(SMALL, WHOLE)
    compared: list[tuple[Any, ...]] = []

    def compare(T: np.ndarray, mean: np.ndarray, error: np.ndarray, curve: Any) -> Any:
        compared.append((T, mean, error, curve))
        return transition.Difference(T=(), value=(), mean=float(len(compared)), max_abs=0, max_standard_errors=0)

    monkeypatch.setattr(transition, "compare", compare)
    cool = SMALL.simulate.cool.model_copy(update={"n_steps": 240_000})  # type: ignore[union-attr]
    slow = SMALL.simulate.model_copy(update={"n_particles": 400, "n_equilibrate": 10_000, "cool": cool})
    found = study._reference(SMALL.model_copy(update={"simulate": slow}), WHOLE)
    assert [curve for *_, curve in compared] == [transition.REFERENCE[k] for k in ("true_minima", "published")]
    assert (found["difference"]["mean"], found["difference_published"]["mean"]) == (1.0, 2.0)
    for T, mean, error, _ in compared:
        np.testing.assert_array_equal(T, planted.T)
        np.testing.assert_allclose(mean, WHOLE.energy("e_is").mean(axis=0))
        np.testing.assert_allclose(error, WHOLE.energy("e_is").std(axis=0, ddof=1) / np.sqrt(N_RUNS))


def test_ours_less_the_reference_has_the_sign_it_says() -> None:
    line = transition.Curve(T=(2.0, 1.5, 1.0, 0.5), energy=(-3.6, -3.72, -3.8, -3.9), source="")  # falling
    T = np.array([1.9, 1.4, 1.0])
    ours = np.interp(T, line.T[::-1], line.energy[::-1]) + np.array([0.01, 0.02, 0.03])
    found = transition.compare(T, ours, np.array([0.01, 0.01, 0.03]), line)
    assert dict(zip(found.T, found.value, strict=True)) == pytest.approx({1.9: 0.01, 1.4: 0.02, 1.0: 0.03})
    assert found.mean == pytest.approx(0.02)
    assert found.max_abs == pytest.approx(0.03)
    assert found.max_standard_errors == pytest.approx(2.0)


def test_the_pair_of_equal_energy_is_the_slow_liquid_and_the_fast_glass(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(_root: Path, settings: Any, *, seed: int, k: Any) -> Any:
        slow = settings == CHOSEN.simulate
        asked.append((slow, tuple(k)))
        return planted.held(WHOLE if slow else planted.FAST, k)

    def pair_of(slow: Any, fast: Any, *, tolerance: float) -> EnergyPair:
        assert tolerance == CHOSEN.equal_energy.tolerance  # type: ignore[union-attr]
        np.testing.assert_array_equal(slow.e_is_unshifted, WHOLE.e_is_unshifted)
        np.testing.assert_array_equal(fast.e_is_unshifted, planted.FAST.e_is_unshifted)
        same: Any = dict.fromkeys(EnergyPair.__dataclass_fields__, 0.0)
        return EnergyPair(**same | {"k_slow": 4, "k_fast": 9})

    monkeypatch.setattr(store, "load", load)
    monkeypatch.setattr(study, "simulate", lambda *_, **__: {})
    monkeypatch.setattr(study, "equal_energy", pair_of)
    _, found = study.matched(CHOSEN, Path(), **OPTIONS)
    assert asked == [(True, ()), (False, ()), (True, (4,)), (False, (9,))]
    for name, data in found.items():
        liquid, glass = (data.label == 0), (data.label == 1)
        np.testing.assert_array_equal(data.positions[liquid], WHOLE.shown(name)[:, 3])
        np.testing.assert_array_equal(data.positions[glass], planted.FAST.shown(name)[:, 8])
        for word in ("e_pot", "e_is"):
            np.testing.assert_array_equal(data.energy(word)[liquid], WHOLE.energy(word)[:, 3])
            np.testing.assert_array_equal(data.energy(word)[glass], planted.FAST.energy(word)[:, 8])
        np.testing.assert_array_equal(data.run, np.tile(np.arange(N_RUNS), 2))


def test_a_pair_of_records_keeps_energies_labels_and_runs_together() -> None:
    ensemble = planted.held(WHOLE, (8, 3, GLASS))
    for name in INPUTS:
        data = labelled(ensemble, inherent=name == "inherent", k_glass=GLASS, k_liquid=3)
        seen = planted.recognised(data.positions)
        np.testing.assert_array_equal(seen.k, np.where(data.label == 1, GLASS, 3))
        np.testing.assert_array_equal(seen.run, data.run)
        assert {INPUTS[i] for i in seen.input} == {name}
        for word in ("e_pot", "e_is"):
            np.testing.assert_array_equal(data.energy(word), WHOLE.energy(word)[data.run, seen.k - 1])
        part = data.of_runs(PARTS.test)
        assert set(part.run.tolist()) == TEST
        seen = planted.recognised(part.positions)
        np.testing.assert_array_equal(seen.run, part.run)
        np.testing.assert_array_equal(seen.k, np.where(part.label == 1, GLASS, 3))
        for word in ("e_pot", "e_is"):
            np.testing.assert_array_equal(part.energy(word), WHOLE.energy(word)[part.run, seen.k - 1])
    alike = classify.null(ensemble, inherent=True, k=GLASS, split=PARTS)
    seen = planted.recognised(alike.positions)
    np.testing.assert_array_equal(seen.run, alike.run)
    assert set(seen.k.tolist()) == {GLASS}
    np.testing.assert_array_equal(alike.energy("e_is"), WHOLE.energy("e_is")[alike.run, GLASS - 1])
    np.testing.assert_array_equal(alike.energy("e_pot"), WHOLE.energy("e_pot")[alike.run, GLASS - 1])
    group = several(ensemble, inherent=True, k_glass=GLASS, k_liquids=(8, 3), split=PARTS)
    seen = planted.recognised(group.positions)
    np.testing.assert_array_equal(seen.run, group.run)
    assert set(seen.k[group.label == 1].tolist()) == {GLASS}
    assert set(seen.k[group.label == 0].tolist()) == {3, 8}
    for word in ("e_pot", "e_is"):
        np.testing.assert_array_equal(group.energy(word), WHOLE.energy(word)[group.run, seen.k - 1])


def test_the_baseline_of_an_attribution_is_halfway_between_the_classes_however_many_there_are() -> None:
    model = Logistic()
    data = _data(PARTS.train)
    uneven = data.take((data.label == 0) | (np.arange(len(data.label)) % 4 == 0))
    assert uneven.label.mean() < 0.3
    found = attribution.baseline(model.build(seed=1), model, uneven)
    (numbers,) = model.view(uneven.positions, WHOLE.species, BOX)
    for kind in (0, 1):
        of_kind = numbers[:, WHOLE.species == kind, 2:].astype(float).mean(axis=1)
        expected = (of_kind[uneven.label == 0].mean(axis=0) + of_kind[uneven.label == 1].mean(axis=0)) / 2
        np.testing.assert_allclose(found.mean[kind], expected, rtol=1e-5, atol=1e-7)
