"""Every analysis on one planted ensemble: labels, energies, species, records, runs and networks are told apart."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.planted import BOX, CHOSEN, ENERGIES, GLASS, INPUTS, KS, N_RUNS, OPTIONS, PARTS, WHOLE

from vitrify import baselines, classify, learn, report, scores, store, structure, study
from vitrify import energy as energies
from vitrify.analyses import attribution, attribution_section, energy, probes, tg, transfer, transfer_studies
from vitrify.analyses import structure as structures
from vitrify.attribution import correlation
from vitrify.cnn import CNN
from vitrify.dataset import EnergyPair, Labelled
from vitrify.descriptors import Descriptors
from vitrify.mpnn import MPNN
from vitrify.sets import Logistic
from vitrify.settings import Study, split
from vitrify.views import Image

WORD = {"thermal": "e_pot", "inherent": "e_is"}
NETWORKS = ("mpnn", "cnn")
TEST = set(PARTS.test.tolist())


class Spies:
    """What was fitted, and what was scored, in order."""

    def __init__(self) -> None:
        self.fitted: list[tuple[np.ndarray, ...]] = []
        self.scored: list[tuple[np.ndarray, ...]] = []


@pytest.fixture(scope="module")
def patched() -> Iterator[tuple[pytest.MonkeyPatch, Spies]]:
    """The planted ensemble and networks in place of what is read from disk, and spies on what is made of them."""
    spies, fit, score = Spies(), baselines.fit, planted.hasty(scores.score)

    def fitted(*arrays: np.ndarray) -> Any:
        spies.fitted.append(arrays)
        return fit(*arrays)

    def scored(logit: np.ndarray, label: np.ndarray, run: np.ndarray, **words: Any) -> Any:
        spies.scored.append((np.array(logit), np.array(label), np.array(run)))
        return score(logit, label, run, **words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", planted.load)
        patch.setattr(learn, "restore", planted.restore)
        patch.setattr(learn, "predict", planted.predict)
        patch.setattr(baselines, "fit", fitted)
        patch.setattr(scores, "score", scored)
        patch.setattr(scores, "compare", planted.hasty(scores.compare))
        yield patch, spies


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    planted.finish(folder)
    return folder


def of_kind(kind: str, name: str, k: int) -> list[classify.Training]:
    """Return the trainings of every seed of one kind of classifier."""
    asked = (kind, name, k, False)
    return [one for one in classify.trainings(CHOSEN) if (one.name, one.input, one.train_k, one.control) == asked]


def mean_answers(kind: str, name: str, k: int) -> np.ndarray:
    """Return the mean logit of the seeds of one kind: input, run, record."""
    found = of_kind(kind, name, k)
    assert len(found) == 2
    return np.mean([planted.answers(one) for one in found], axis=0)


# --- is it only the energy? ---


@pytest.fixture(scope="module")
def equal() -> dict[str, Labelled]:
    """Record 4 of the planted ensemble labelled liquid, and record 2 of another labelled glass."""
    return {
        name: Labelled(
            positions=np.concatenate([WHOLE.shown(name)[:, 3], planted.FAST.shown(name)[:, 1]]),
            species=WHOLE.species,
            box=BOX,
            label=np.repeat([0, 1], N_RUNS),
            run=np.tile(np.arange(N_RUNS), 2),
            e_pot=np.concatenate([WHOLE.energy("e_pot")[:, 3], planted.FAST.energy("e_pot")[:, 1]]),
            e_is=np.concatenate([WHOLE.energy("e_is")[:, 3], planted.FAST.energy("e_is")[:, 1]]),
        )
        for name in INPUTS
    }


@pytest.fixture(scope="module")
def tasks(patched: Any, out: Path, equal: dict[str, Labelled]) -> dict[tuple[str, int], dict[str, Any]]:
    same: Any = dict.fromkeys(EnergyPair.__dataclass_fields__, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "matched", lambda *_, **__: (EnergyPair(**same), equal))
        patch.setattr(energies, "MIN_PAIRS", 4)
        patch.setattr(energies, "_N_BOOTSTRAP", 100, raising=False)
        found = energy.compute(CHOSEN, out, **OPTIONS)["tasks"]
    return {(task["input"], task["k"]): task for task in found}


def test_every_energy_is_that_of_its_own_run_record_and_kind(tasks: Any, equal: dict[str, Labelled]) -> None:
    assert set(tasks) == {(name, k) for name in INPUTS for k in (*KS, 0)}
    for (name, k), task in tasks.items():
        assert task["energy_name"] == WORD[name]
        assert task["T"] == (None if k == 0 else planted.T[k - 1])
        assert sorted(task["run"]) == sorted(2 * PARTS.test.tolist())
        for run, label, e in zip(task["run"], task["label"], task["energy"], strict=True):
            if k:
                assert e == ENERGIES[name][run, (GLASS if label else k) - 1]
            else:
                of = planted.FAST if label else WHOLE
                assert e == of.energy(WORD[name])[run, 1 if label else 3]


def test_a_glass_of_less_energy_is_ranked_as_one(tasks: Any) -> None:
    for name in INPUTS:
        task = tasks[name, KS[0]]
        e, label = np.array(task["energy"]), np.array(task["label"])
        assert e[label == 1].mean() < e[label == 0].mean()  # as planted
        assert task["matched"]["before"]["mean_difference"] < 0
        matched = energies.match(e, label)
        assert task["matched"]["n_pairs"] == matched.n_pairs


def test_every_network_of_a_task_is_scored_by_its_own_logits(tasks: Any, out: Path) -> None:
    kept = {
        one.folder: store.read_json(out / "models" / one.folder / "outcome.json") for one in classify.trainings(CHOSEN)
    }
    enough = 0
    chosen: dict[str, list[float]] = {kind: [] for kind in NETWORKS}
    for (name, k), task in tasks.items():
        e, label, run = (np.array(task[what]) for what in ("energy", "label", "run"))
        logits, validated = {}, {}
        for kind in (*NETWORKS, WORD[name]):
            parts = {}
            for part in ("test", "validation"):
                own = [
                    next(scored for scored in kept[one.folder]["scored"] if scored["test_k"] == k)[part]
                    for one in of_kind(kind, name, k)
                ]
                parts[part] = np.mean([one["logit"] for one in own], axis=0), np.array(own[0]["label"]), own[0]["run"]
            assert (parts["test"][1].tolist(), parts["test"][2]) == (label.tolist(), run.tolist())
            logits[kind] = parts["test"][0]
            validated[kind] = scores.auc(*parts["validation"][:2])
        by_energy = scores.auc(logits[WORD[name]], label)
        assert task["baseline"]["auc"]["value"] == pytest.approx(by_energy)
        matched = energies.match(e, label)
        assert {one["model"] for one in task["models"]} == set(NETWORKS)
        for one in task["models"]:
            logit = logits[one["model"]]
            assert one["logit"] == pytest.approx(logit)
            assert one["auc"]["value"] == pytest.approx(scores.auc(logit, label))
            assert one["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, label))
            assert one["auc_minus_energy"]["value"] == pytest.approx(scores.auc(logit, label) - by_energy)
            if matched.n_pairs >= 4:
                enough += 1
                part = scores.auc(logit[matched.keep], label[matched.keep])
                assert one["matched_auc"]["value"] == pytest.approx(part)
            for y, which in ((0, "liquid"), (1, "glass")):
                r = np.corrcoef(logit[label == y], e[label == y])[0, 1]
                assert one["correlation"][which]["pearson"]["value"] == pytest.approx(r)
            assert one["adds"]["value"] == pytest.approx(energies.adds(logit, -e, label, run).value)
            assert one["energy_adds"]["value"] == pytest.approx(energies.adds(-e, logit, label, run).value)
        if name == "inherent":
            for kind in NETWORKS:
                chosen[kind].append(validated[kind])
    best = max(NETWORKS, key=lambda kind: np.mean(chosen[kind]))
    assert {task["shown"] for task in tasks.values()} == {best}
    assert enough >= 4


# --- structure ---


@pytest.fixture(scope="module")
def measured(patched: Any, out: Path) -> tuple[dict[str, Any], Spies]:
    """Metrics that are known numbers of every configuration, in place of those of its structure."""
    table = np.random.default_rng(21).normal(size=(3, 2, N_RUNS, planted.N_RECORDS))
    table[0] += np.arange(planted.N_RECORDS) * 0.4

    def at(shown: Any) -> tuple[int, ...]:
        seen = planted.recognised(shown.positions[None])
        return int(seen.input[0]), int(seen.run[0]), int(seen.k[0]) - 1

    def metrics(shown: Any, **_words: Any) -> tuple[tuple[str, ...], np.ndarray]:
        return ("order", "noise", "more"), table[(slice(None), *at(shown))]

    own = {"accuracy": {"value": 0.5}, "control": False}
    rows = [
        own | {"input": name, "model": f"{name} {k} at {at}", "train_k": k, "test_k": at, "auc": {"value": k + at / 10}}
        for name in INPUTS
        for k in KS
        for at in KS
    ]
    rows.append(rows[0] | {"model": "control", "control": True})
    store.write_json(out / "results.json", {"classification": rows})
    _, spies = patched
    spies.fitted.clear()
    spies.scored.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "metrics", metrics)
        patch.setattr(
            structures, "pair_correlation", lambda one, **_: (np.arange(2.0), np.full((3, 2), table[(0, *at(one))]))
        )
        patch.setattr(
            structure,
            "structure_factor",
            lambda one: (np.arange(3.0), np.array([np.nan, *table[(1, *at(one))][None]] * 1 + [1.0])),
        )
        values = structures.compute(CHOSEN, out, **OPTIONS)
    kept = Spies()
    kept.fitted, kept.scored = list(spies.fitted), list(spies.scored)
    (out / "results.json").unlink()
    return values | {"table": table}, kept


def test_a_metric_is_averaged_over_runs_at_its_own_temperature(measured: Any) -> None:
    values, _ = measured
    assert len(values["metrics"]) == 6
    for one in values["metrics"]:
        table = values["table"][("order", "noise", "more").index(one["metric"]), INPUTS.index(one["input"])]
        places = [k - 1 for k in (*KS, GLASS)]
        assert one["T"] == pytest.approx(planted.T[places])
        assert one["n_runs"] == N_RUNS
        assert one["mean"] == pytest.approx(table[:, places].mean(axis=0))
        assert one["se"] == pytest.approx(table[:, places].std(axis=0, ddof=1) / np.sqrt(N_RUNS))


def test_metrics_are_fitted_on_training_runs_chosen_on_validation_runs_and_scored_on_test_runs(measured: Any) -> None:
    values, spies = measured
    tasks = [(i, k) for i in range(2) for k in KS]
    columns = [[0], [1], [2], [0, 1, 2]]
    assert [(INPUTS.index(row["input"]), row["k"]) for row in values["rows"]] == tasks
    fits = iter(spies.fitted)
    for (i, k), row in zip(tasks, values["rows"], strict=True):
        assert row["T"] == planted.T[k - 1]
        assert (row["n_test"], row["n_runs"]) == (2 * len(TEST), len(TEST))
        for which, one in zip(columns, row["metrics"], strict=True):

            def told(runs: np.ndarray, i: int = i, k: int = k, which: list[int] = which) -> tuple[np.ndarray, ...]:
                x = np.stack([planted.pair(k, runs, values["table"][c, i])[0] for c in which], axis=1)
                return x, planted.pair(k, runs, values["table"][0, i])[1]

            expected = (*told(PARTS.train), *told(PARTS.validation))
            for found, wanted in zip(next(fits), expected, strict=True):
                np.testing.assert_allclose(found, wanted)
            x, label = told(PARTS.test)
            logit = baselines.fit(*expected).logit(x)
            assert one["auc"]["value"] == pytest.approx(scores.auc(logit, label))
            assert one["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, label))
        assert row["metrics"][0]["auc"]["value"] > 0.7  # the one that was planted
        assert [one["metric"] for one in row["beside"]] == [f"{row['input']} {k} at {k}"]
    assert all(set(run.tolist()) == TEST for _, _, run in spies.scored)


def test_correlation_functions_are_of_the_hottest_and_coldest_liquid_and_the_glass(measured: Any) -> None:
    values, _ = measured
    asked = [(name, k) for name in INPUTS for k in (KS[0], KS[-1], GLASS)]
    for (name, k), one in zip(asked, values["curves"], strict=True):
        n = one["n_runs"]
        assert (one["input"], one["T"]) == (name, planted.T[k - 1])
        for key, metric in (("g", 0), ("S", 1)):
            table = values["table"][metric, INPUTS.index(name), :n, k - 1]
            assert np.ravel(one[key])[0] == pytest.approx(table.mean())
            assert np.ravel(one[f"{key}_se"])[0] == pytest.approx(table.std(ddof=1) / np.sqrt(n))
        assert one["q"] == [1.0, 2.0]


# --- the transfer matrix of one study ---


@pytest.fixture(scope="module")
def matrix(patched: Any, out: Path) -> dict[str, Any]:
    _, spies = patched
    spies.fitted.clear()
    return transfer.compute(CHOSEN, out, **OPTIONS) | {"fitted": list(spies.fitted)}


STATES = [(name, k) for name in INPUTS for k in KS]


def logits(kind: str, trained: tuple[str, int], tested: tuple[str, int], runs: np.ndarray) -> Any:
    """Return the logits of one cell of a matrix with their labels and runs, from the planted numbers alone."""
    if kind == "energy":
        shown = planted.by_energy(*trained, runs, shown=tested[0], at=tested[1])
        return shown, *planted.pair(tested[1], runs, ENERGIES[tested[0]])[1:]
    return planted.pair(tested[1], runs, mean_answers(kind, *trained)[INPUTS.index(tested[0])])


def test_a_row_of_the_matrix_is_trained_and_a_column_tested(matrix: Any) -> None:
    assert [(one["input"], one["k"]) for one in matrix["states"]] == STATES
    assert [one["T"] for one in matrix["states"]] == [planted.T[k - 1] for _, k in STATES]
    assert [one["model"] for one in matrix["models"]] == ["energy", *NETWORKS]
    assert (matrix["n_test_runs"], matrix["k_transfer"]) == (len(TEST), 3)
    for model in matrix["models"]:
        for i, trained in enumerate(STATES):
            for j, tested in enumerate(STATES):
                cell = model["cells"][i][j]
                logit, label, _ = logits(model["model"], trained, tested, PARTS.test)
                threshold = scores.rethreshold(*logits(model["model"], trained, tested, PARTS.validation)[:2])
                assert cell["n_test"] == len(label)
                assert cell["auc"]["value"] == pytest.approx(scores.auc(logit, label))
                assert cell["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, label))
                moved = scores.accuracy(logit, label, threshold=threshold)
                assert cell["accuracy_rethresholded"]["value"] == pytest.approx(moved)


def test_the_energy_of_a_row_is_fitted_on_training_runs_and_chosen_on_validation_runs(matrix: Any) -> None:
    for (name, k), (train, label, chooses, chosen) in zip(STATES, matrix["fitted"], strict=True):
        for x, y, runs in ((train, label, PARTS.train), (chooses, chosen, PARTS.validation)):
            expected, wanted, _ = planted.pair(k, runs, ENERGIES[name])
            np.testing.assert_array_equal(x[:, 0], expected)
            np.testing.assert_array_equal(y, wanted)


def test_the_null_column_is_of_glasses_alone(matrix: Any) -> None:
    for model in matrix["models"]:
        for i, trained in enumerate(STATES):
            for place, name in enumerate(INPUTS):
                logit, label, run = logits(model["model"], trained, (name, KS[0]), PARTS.test)
                glass = logit[label == 1]
                assert run[label == 1].tolist() == PARTS.test.tolist()
                expected = scores.auc(glass, np.arange(len(glass)) % 2)
                assert model["null"][i][place]["value"] == pytest.approx(expected)


def test_what_a_moved_classifier_lost_is_its_auc_less_that_of_one_trained_there(matrix: Any) -> None:
    for model in matrix["models"]:
        for name, moved in zip(INPUTS, model["moved"], strict=True):
            assert (moved["input"], moved["first"]) == (name, STATES.index((name, 3)))
            assert [one["place"] for one in moved["compared"]] == [STATES.index((name, k)) for k in KS[1:]]
            for one in moved["compared"]:
                there = STATES[one["place"]]
                own, label, _ = logits(model["model"], there, there, PARTS.test)
                shown = logits(model["model"], (name, 3), there, PARTS.test)[0]
                assert one["lost"]["value"] == pytest.approx(scores.auc(shown, label) - scores.auc(own, label))
                lost = scores.accuracy(shown, label) - scores.accuracy(own, label)
                assert one["less_accurate"]["value"] == pytest.approx(lost)
                assert one["ranking"]["effect"] == pytest.approx(one["lost"]["value"])
                assert one["accuracy"]["effect"] == pytest.approx(lost)


def test_a_fall_through_a_level_is_read_off_the_right_temperatures(matrix: Any) -> None:
    n_found = 0
    for model in matrix["models"]:
        for name, moved in zip(INPUTS, model["moved"], strict=True):
            accuracy = np.array(
                [scores.accuracy(*logits(model["model"], (name, 3), (name, k), PARTS.test)[:2]) for k in KS]
            )
            for level, crossing in zip((0.75, 0.55), moved["crossings"], strict=True):
                falls = [i for i in range(2) if accuracy[i] >= level > accuracy[i + 1]]
                if crossing is None:
                    continue
                n_found += 1
                i = falls[0]
                between = planted.T[[KS[i] - 1, KS[i + 1] - 1]]
                at = np.interp(level, accuracy[[i + 1, i]], between[::-1])
                assert crossing["level"] == level
                assert crossing["T"]["value"] == pytest.approx(at)
    assert n_found


# --- the transfer matrix over studies ---


@pytest.fixture(scope="module")
def between(patched: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two studies of the same numbers, not of the same seed: the second's records are of another ensemble."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    smaller = CHOSEN.classify.model_copy(update={"k": (8, 3)})
    first = CHOSEN.model_copy(update={"classify": smaller, "models": CHOSEN.models[:1]})
    second = first.model_copy(update={"seed": 6, "name": "second"})
    for folder, chosen in zip(folders, (first, second), strict=True):
        store.write_json(folder / "results.json", {"study": chosen.model_dump(mode="json")})

    def load(root: Path, _settings: Any, *, seed: int, k: Any) -> Any:
        assert seed == (first if root.parent == folders[0] else second).seed
        return planted.held(WHOLE if seed == first.seed else planted.FAST, k)

    def restore(_model: Any, checkpoints: Any) -> planted.Network:
        name = checkpoints._folder.name
        return next(
            planted.Network(one)
            for chosen in (first, second)
            for one in classify.trainings(chosen)
            if one.folder == name
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", load)
        patch.setattr(learn, "restore", restore)
        values = transfer_studies.compute(folders, progress=lambda *_: None)
    return values | {"chosen": [first, second]}


def test_a_study_is_tested_on_its_own_test_runs_by_the_networks_of_the_other(between: Any) -> None:
    parts = [split(chosen) for chosen in between["chosen"]]
    states = [(place, name, k) for name in INPUTS for place in (0, 1) for k in (3, 8)]
    assert [(one["study"], one["input"], one["k"]) for one in between["states"]] == states
    assert [one["T"] for one in between["states"]] == [planted.T[k - 1] for _, _, k in states]
    for model in between["models"]:
        if model["model"] == "energy":
            continue
        aucs = np.empty((len(states), len(states)))
        for i, (trained_in, name, k) in enumerate(states):
            own = [
                one
                for one in classify.trainings(between["chosen"][trained_in])
                if (one.name, one.input, one.train_k, one.control) == (model["model"], name, k, False)
            ]
            table = np.mean([planted.answers(one) for one in own], axis=0)
            for j, (tested_in, shown, at) in enumerate(states):
                logit, label, _ = planted.pair(at, parts[tested_in].test, table[INPUTS.index(shown)])
                cell = model["cells"][i][j]
                aucs[i, j] = scores.auc(logit, label)
                assert cell["n_runs"] == len(parts[tested_in].test)
                assert cell["auc"]["value"] == pytest.approx(aucs[i, j])
                chooses = planted.pair(at, parts[tested_in].validation, table[INPUTS.index(shown)])[:2]
                moved = scores.accuracy(logit, label, threshold=scores.rethreshold(*chooses))
                assert cell["accuracy_rethresholded"]["value"] == pytest.approx(moved)
        for i, row in enumerate(model["cells"]):
            for j, cell in enumerate(row):
                if i == j:
                    assert cell["lost"] is None
                else:
                    assert cell["lost"]["value"] == pytest.approx(aucs[i, j] - aucs[j, j])


# --- probes ---


@pytest.fixture(scope="module")
def probed(patched: Any, out: Path) -> tuple[dict[str, Any], Spies, list[float], list[tuple[int, str]]]:
    _, spies = patched
    spies.fitted.clear()
    spies.scored.clear()
    moved: list[float] = []
    patterns: list[tuple[int, str]] = []

    def predict(network: planted.Network, data: Labelled) -> np.ndarray:
        moved.append(float(np.nanmean(planted.recognised(data.positions).moved)) if len(data.label) > 12 else np.nan)
        return planted.predict(network, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "predict", predict)
        values = probes.compute(CHOSEN, out, **OPTIONS)
    kept = Spies()
    kept.fitted, kept.scored = list(spies.fitted), list(spies.scored)
    return values, kept, moved, patterns


def test_a_probe_calls_glass_what_is_glass(probed: Any) -> None:
    values, _, _, _ = probed
    assert [(one["model"], one["input"]) for one in values["models"]] == [(m, i) for i in INPUTS for m in NETWORKS]
    for model in values["models"]:
        assert (model["k"], model["T"]) == (6, planted.T[5])  # the coldest but one
        assert (model["n_test"], model["n_runs"]) == (2 * len(TEST), len(TEST))
        first = of_kind(model["model"], model["input"], 6)[0]
        groups = {one["name"]: one for one in model["logits"]}
        for kind, word in enumerate(("", ", swapped", ", shuffled")):
            table = planted.answers(first, species=kind)[INPUTS.index(model["input"])]
            logit, label, _ = planted.pair(6, PARTS.test, table)
            for y, name in enumerate(("liquid", "glass")):
                assert groups[name + word]["logit"] == pytest.approx(logit[label == y])
            if word:
                told = model["told"][f"species {word.removeprefix(', ')}"]
                plain = planted.pair(6, PARTS.test, planted.answers(first)[INPUTS.index(model["input"])])[0]
                lost = scores.auc(logit, label) - scores.auc(plain, label)
                assert told["lost"]["value"] == pytest.approx(lost)
                assert told["auc"]["value"] == pytest.approx(scores.auc(logit, label))
            else:
                assert model["noise"][0]["auc"]["value"] == pytest.approx(scores.auc(logit, label))
        for name in ("liquid", "glass"):
            assert groups[name]["of"] == name
        patterns = {"random places", "three-fold pattern", "five-fold pattern", "six-fold pattern"}
        assert {one["name"] for one in model["logits"] if one["of"] == "pattern"} == patterns


def test_noise_is_as_strong_as_it_says(probed: Any) -> None:
    values, _, moved, _ = probed
    sd = [one["sd"] for one in values["models"][0]["noise"]]
    of_each = np.array(moved).reshape(len(values["models"]), -1)
    np.testing.assert_allclose(of_each[:, -len(sd) :], np.tile(sd, (len(of_each), 1)), rtol=0.1)


def test_patches_and_liquids_are_told_apart_on_test_runs(probed: Any) -> None:
    values, spies, _, _ = probed
    assert all(set(run.tolist()) == TEST for _, _, run in spies.scored)
    assert [(one["input"], one["k"], one["T"]) for one in values["patches"]] == [
        (name, k, planted.T[k - 1]) for name in INPUTS for k in (6, 8)
    ]
    fits = iter(spies.fitted)
    view = Descriptors(n_species=2)
    for name in INPUTS:
        for k in (6, 8):
            task = next(one for one in values["patches"] if (one["input"], one["k"]) == (name, k))
            assert [one["n_inside"] for one in task["sizes"]] == [20, 50, 80]
            shown = np.concatenate([WHOLE.shown(name)[:, k - 1], WHOLE.shown(name)[:, GLASS - 1]])
            for one in task["sizes"]:
                train, label, chooses, chosen = next(fits)
                each = 4 if one["n_inside"] < 80 else 1
                order = [*PARTS.train, *(N_RUNS + PARTS.train)]
                assert len(train) == 2 * each * len(PARTS.train)
                assert len(chooses) == 2 * each * len(PARTS.validation)
                assert label.tolist() == np.repeat([0, 1], len(label) // 2).tolist()
                assert chosen.tolist() == np.repeat([0, 1], len(chosen) // 2).tolist()
                assert one["n_test"] == 2 * each * len(TEST)
            pooled = view.pooled(shown[order], WHOLE.species, BOX)
            np.testing.assert_allclose(train, pooled, rtol=1e-4, atol=1e-5)  # a patch that is the whole box
        for hot, cold in pairwise(KS):
            pair = next(one for one in values["liquids"] if one["input"] == name and one["T"][0] == planted.T[hot - 1])
            assert pair["T"] == [planted.T[hot - 1], planted.T[cold - 1]]
            hot_and_cold = {
                "descriptors": view.pooled(
                    WHOLE.shown(name)[:, [hot - 1, cold - 1]].reshape(-1, 80, 2), WHOLE.species, BOX
                )
                .reshape(N_RUNS, 2, -1)
                .astype(float),
                "energy": ENERGIES[name][:, [hot - 1, cold - 1], None],
            }
            for word, table in hot_and_cold.items():
                parts = []
                for runs in (PARTS.train, PARTS.validation, PARTS.test):
                    parts.append(np.concatenate([table[runs, 0], table[runs, 1]]))
                    parts.append(np.repeat([0, 1], len(runs)))
                for found, wanted in zip(next(fits), parts[:4], strict=True):
                    np.testing.assert_allclose(found, wanted, rtol=1e-6)
                logit = baselines.fit(*parts[:4]).logit(parts[4])
                assert pair[word]["auc"]["value"] == pytest.approx(scores.auc(logit, parts[5]))
                assert pair[word]["accuracy"]["value"] == pytest.approx(scores.accuracy(logit, parts[5]))


# --- where the transition is ---


@pytest.fixture(scope="module")
def transition(patched: Any, out: Path) -> tuple[dict[str, Any], list[Any]]:
    told: list[Any] = []
    cooled = CHOSEN.model_copy(update={"equal_energy": None})

    def indicate(T: np.ndarray, features: np.ndarray, **words: Any) -> dict[str, Any]:
        told.append((words["name"], T, features))
        return {}

    def of_runs(T: np.ndarray, curves: np.ndarray, **_: Any) -> Any:
        told.append(("curve", T, curves))
        return SimpleNamespace(rows=(), smooth=None, lines=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tg, "_indicate", indicate)
        patch.setattr(tg.locate, "of_runs", of_runs)
        patch.setattr(tg.locate, "summary", lambda *_, **__: SimpleNamespace(sentence=str))
        patch.setattr(
            tg.locate,
            "as_values",
            lambda _located, T, mean, se, **_: {"rows": [], "summary": {}, "T": T, "mean": mean, "se": se},
        )
        values = tg.compute(cooled, out, **OPTIONS)
    return values, told


def test_the_transition_is_sought_on_the_unshifted_inherent_energies_of_all_runs(transition: Any) -> None:
    values, told = transition
    e_is = WHOLE.energy("e_is")
    assert [name for name, _, _ in told] == ["curve", "descriptors", "e_is"]
    for _, T, _ in told:
        np.testing.assert_array_equal(T, planted.T)
    np.testing.assert_array_equal(told[0][2], e_is)
    np.testing.assert_array_equal(told[2][2], e_is[:, :, None])
    np.testing.assert_allclose(values["mean"], e_is.mean(axis=0))
    np.testing.assert_allclose(values["se"], e_is.std(axis=0, ddof=1) / np.sqrt(N_RUNS))
    assert (values["n_runs"], values["n_particles"], values["of"]) == (N_RUNS, planted.N_PARTICLES, "e_is")
    assert values["cooling_steps"] == 2_400


def test_the_indicators_see_inherent_structures_species_by_species(transition: Any) -> None:
    _, told = transition
    features = told[1][2]
    view = tg._view(WHOLE)
    run, k = 23, 5
    numbers = view(WHOLE.inherent[run, k - 1][None], WHOLE.species, BOX)[0][0, :, 2:].astype(float)
    expected = [pool(numbers[WHOLE.species == kind], axis=0) for kind in (0, 1) for pool in (np.mean, np.std)]
    np.testing.assert_allclose(features[run, k - 1], np.concatenate(expected), rtol=1e-5, atol=1e-7)
    assert features.shape[:2] == (N_RUNS, planted.N_RECORDS)


# --- what the networks see ---


MODELS = (CNN(width=2, view=Image(pixels_per_sigma=4.0)), MPNN(width=4, messages="bond", bond_heads=2), Logistic())


@pytest.fixture(scope="module")
def seen(patched: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Networks of random weights, which answer glass and liquid alike but every configuration in its own way."""
    out = tmp_path_factory.mktemp("seen")
    chosen = Study.model_validate(
        CHOSEN.model_dump()
        | {"models": [one.model_dump() for one in MODELS], "equal_energy": None}
        | {"classify": CHOSEN.classify.model_dump() | {"n_seeds": 1}}
    )
    few = planted.WHOLE
    trained = {}
    for one in classify.trainings(chosen):
        folder = out / "models" / one.folder
        folder.mkdir(parents=True)
        store.write_json(folder / "outcome.json", {})
        if one.model is not None and (one.input, one.train_k, one.control) == ("inherent", 3, False):
            network = attribution.attribution.randomised(
                one.model,
                Labelled(
                    positions=few.inherent[:16, 2],
                    species=few.species,
                    box=BOX,
                    label=np.arange(16) % 2,
                    run=np.arange(16),
                ),
                seed=7,
            )
            trained[one.folder] = learn.Trained(network=network, model=one.model, history={})
    rows = [
        {
            "model": m,
            "input": i,
            "train_k": k,
            "test_k": at,
            "control": c,
            "auc": dict.fromkeys(("value", "low", "high"), len(m + i) + k + at / 10),
            "accuracy": dict.fromkeys(("value", "low", "high"), 0.5),
        }
        | {"n_test": 2, "n_test_runs": 1}
        for m in ("cnn", "mpnn", "logistic", "e_is", "e_pot")
        for i in INPUTS
        for k in (3, 6)
        for at in (3, 6)
        for c in (False, True)
    ]
    store.write_json(out / "results.json", {"classification": rows})
    trains: list[Labelled] = []
    base = attribution.attribution.baseline

    def baseline(network: Any, model: Any, data: Labelled, **words: Any) -> Any:
        trains.append(data)
        return base(network, model, data, **words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "simulate", lambda *_, **__: {})
        patch.setattr(learn, "restore", lambda _model, checkpoints: trained[checkpoints._folder.name])
        patch.setattr(learn, "predict", planted_predict)
        patch.setattr(attribution, "_N_RANDOM", 1)
        patch.setattr(attribution, "_N_SETTLE", 8)
        patch.setattr(attribution, "N_RUNS", 3)
        patch.setattr(attribution.attribution, "baseline", baseline)
        values = json.loads(json.dumps(attribution.compute(chosen, out, **OPTIONS)))
    return values | {"out": out, "trained": trained, "chosen": chosen, "trains": trains}


planted_predict = learn.predict


def test_attributions_are_of_test_runs_and_every_class_is_called_what_it_is(seen: Any) -> None:
    runs = PARTS.test[:3]
    assert [entry["model"] for entry in seen["networks"]] == ["cnn", "mpnn", "logistic"]
    for entry, trained in zip(seen["networks"], seen["trained"].values(), strict=True):
        assert (entry["input"], entry["k"], entry["k_glass"]) == ("inherent", 3, GLASS)
        assert (entry["n_runs"], entry["n_configurations"]) == (3, 6)
        for name, k in (("liquid", 3), ("glass", GLASS)):
            shown = Labelled(
                positions=WHOLE.inherent[runs, k - 1],
                species=WHOLE.species,
                box=BOX,
                label=np.zeros(3, int),
                run=runs,
            )
            logit = planted_predict(trained, shown)
            assert entry["logit"][name] == pytest.approx(logit.mean(), abs=1e-4)
            assert entry["shown"][name]["run"] == runs[0]
            np.testing.assert_allclose(entry["shown"][name]["positions"], WHOLE.inherent[runs[0], k - 1], atol=1e-4)
            assert entry["shown"][name]["logit"] == pytest.approx(logit[0], abs=1e-4)
            apart = logit[0] - entry["baseline"]
            assert sum(entry["shown"][name]["attribution"]) == pytest.approx(apart, abs=2e-3 * max(abs(apart), 0.1))


def test_the_baseline_of_an_attribution_is_of_training_runs(seen: Any) -> None:
    for data in seen["trains"]:
        assert set(data.run.tolist()) <= set(PARTS.train.tolist())
    assert set(seen["trains"][0].run.tolist()) == set(PARTS.train.tolist())


def test_scores_beside_an_attribution_are_of_its_own_task(seen: Any) -> None:
    for entry in seen["networks"]:
        assert [(row["model"], row["auc"]["value"]) for row in entry["scores"]] == [
            (name, len(name + "inherent") + 3 + 0.3) for name in (entry["model"], "e_is")
        ]


def test_correlations_are_of_their_class_and_field(seen: Any) -> None:
    import gsd.hoomd

    for entry in seen["networks"]:
        for name in ("liquid", "glass"):
            with gsd.hoomd.open(str(seen["out"] / entry["folder"] / f"{name}.gsd")) as file:
                assert [int(frame.configuration.step) for frame in file] == PARTS.test[:3].tolist()
                frames = list(file)
            for place, run in enumerate(PARTS.test[:3]):
                k = 3 if name == "liquid" else GLASS
                dr = frames[place].particles.position[:, :2] - WHOLE.inherent[run, k - 1]
                dr -= dr[0]
                np.testing.assert_allclose(dr - BOX * np.round(dr / BOX), 0, atol=1e-4)
            np.testing.assert_allclose(
                frames[0].log["particles/attribution"], entry["shown"][name]["attribution"], atol=1e-6
            )
            for row in entry["correlations"]:
                if row["class"] == name and row["field"] != "species":
                    each = [
                        correlation(
                            np.array(frame.log["particles/attribution"], float),
                            np.array(frame.log[f"particles/{row['field']}"], float),
                            WHOLE.species,
                        )
                        for frame in frames
                    ]
                    assert row["value"] == pytest.approx(np.mean(each), abs=1e-3)
                    assert row["low"] < row["value"] < row["high"]
                    assert row["n_runs"] == 3


def test_agreement_and_attention_are_of_their_class(seen: Any) -> None:
    import gsd.hoomd

    folders = {entry["model"]: seen["out"] / entry["folder"] for entry in seen["networks"]}
    assert len(seen["agreement"]) == 6
    for row in seen["agreement"]:
        columns = []
        for model in row["models"]:
            with gsd.hoomd.open(str(folders[model] / f"{row['class']}.gsd")) as file:
                columns.append([np.array(frame.log["particles/attribution"], float) for frame in file])
        each = [correlation(one, other, WHOLE.species) for one, other in zip(*columns, strict=True)]
        assert row["value"] == pytest.approx(np.mean(each), abs=1e-3)
    mpnn = seen["networks"][1]
    for name, k in (("liquid", 3), ("glass", GLASS)):
        inputs = MODELS[1].inputs(WHOLE.inherent[PARTS.test[:1], k - 1], WHOLE.species, BOX)
        assert mpnn["bonds"][name]["neighbours"] == inputs[0][0].tolist()
    cnn = seen["networks"][0]
    maps = attribution.attribution.first_layer(
        seen["trained"][next(iter(seen["trained"]))].network,
        MODELS[0],
        WHOLE.inherent[PARTS.test[0]][[2, GLASS - 1]],
        WHOLE.species,
        BOX,
    )
    for name, one in zip(("liquid", "glass"), maps, strict=True):
        np.testing.assert_allclose(cnn["channels"]["maps"][name], one, atol=1e-3)


# --- what the page says of them ---


def expect_cells(table: Any, place: int, **expected: dict[str, float]) -> None:
    """Hold the cells of a row to the estimates that their headings name."""
    for heading, value in expected.items():
        column = [one.replace(",", "").replace(" ", "_") for one in table.columns].index(heading)
        assert table.rows[place][column].startswith(f"{value['value']:.3f} ["), heading


def test_a_table_of_the_energy_question_has_its_scores_under_their_headings(tasks: Any) -> None:
    for task in tasks.values():
        table = energy._table(task)
        own = [task["baseline"], *task["models"]]
        names = [task["energy_name"], *(one["model"] for one in task["models"])]
        assert [row[0] for row in table.rows] == [report.name_of_model(name) for name in names]
        for place, one in enumerate(own):
            expect_cells(table, place, AUC=one["auc"], accuracy=one["accuracy"])
            if one["matched_auc"] is not None:
                expect_cells(table, place, AUC_matched=one["matched_auc"])
    columns = energy._columns([tasks["inherent", 3], tasks["thermal", 6]])
    assert len({len(column) for column in columns.values()}) == 1
    for place in range(0, len(columns["run"]), 7):
        line = {name: column[place] for name, column in columns.items()}
        table = ENERGIES[line["input"]]
        assert line["energy"] == table[line["run"], (GLASS if line["label"] else line["k"]) - 1]
        own = mean_answers(line["model"], line["input"], line["k"])[INPUTS.index(line["input"])]
        assert line["logit"] == pytest.approx(own[line["run"], (GLASS if line["label"] else line["k"]) - 1])


def test_a_table_of_the_transfer_matrix_is_trained_first_and_tested_second(matrix: Any) -> None:
    for model in matrix["models"]:
        table = transfer._table(matrix, model)
        rows = iter(range(len(table.rows)))
        for i, (trained, k) in enumerate(STATES):
            for j, (tested, at) in enumerate(STATES):
                cell, place = model["cells"][i][j], next(rows)
                words = (f"{trained}, {planted.T[k - 1]:.3f}", f"{tested}, {planted.T[at - 1]:.3f}")
                assert tuple(table.rows[place][:2]) == words
                moved = cell["accuracy_rethresholded"]
                expect_cells(table, place, AUC=cell["auc"], accuracy=cell["accuracy"], threshold_moved=moved)
            for name, null in zip(INPUTS, model["null"][i], strict=True):
                place = next(rows)
                assert table.rows[place][1] == f"null, {name}"
                expect_cells(table, place, AUC=null)
    columns = transfer._columns(matrix)
    n = len(STATES)
    for place in range(len(columns["auc"])):
        model, cell = matrix["models"][place // n**2], divmod(place % n**2, n)
        found = model["cells"][cell[0]][cell[1]]
        line = {name: column[place] for name, column in columns.items()}
        assert (line["auc"], line["accuracy"]) == (found["auc"]["value"], found["accuracy"]["value"])
        assert line["model"] == model["model"]
        assert (line["trained_input"], line["trained_T"]) == (STATES[cell[0]][0], planted.T[STATES[cell[0]][1] - 1])
        assert (line["tested_input"], line["tested_T"]) == (STATES[cell[1]][0], planted.T[STATES[cell[1]][1] - 1])


def test_a_table_over_studies_is_trained_first_and_tested_second(between: Any) -> None:
    names = [str(place) for place in range(len(between["states"]))]
    for model in between["models"]:
        table = transfer_studies._table(between, model, names)
        rows = {(row[0], row[1]): place for place, row in enumerate(table.rows)}
        columns = transfer_studies._columns(between, model)
        for i, row in enumerate(model["cells"]):
            for j, cell in enumerate(row):
                moved = cell["accuracy_rethresholded"]
                place = rows[names[i], names[j]]
                expect_cells(table, place, AUC=cell["auc"], accuracy=cell["accuracy"], threshold_moved=moved)
                line = {name: column[i * len(row) + j] for name, column in columns.items()}
                assert line["auc"] == cell["auc"]["value"]
                assert line["auc_low"] == cell["auc"]["low"]
                assert line["accuracy_rethresholded_high"] == moved["high"]
                for word, at in (("trained", i), ("tested", j)):
                    state = between["states"][at]
                    assert line[f"{word}_T"] == state["T"]
                    assert line[f"{word}_name"] == between["chosen"][state["study"]].name


def test_tables_of_structure_and_of_liquids_have_their_scores_under_their_headings(measured: Any, probed: Any) -> None:
    values, _ = measured
    row = values["rows"][4] | {"beside": [], "k": 6}
    ranked = sorted(row["metrics"], key=lambda one: -one["auc"]["value"])
    table = structures._table(row)
    for place, one in enumerate(ranked):
        assert table.rows[place][0] == one["metric"]
        expect_cells(table, place, AUC=one["auc"], accuracy=one["accuracy"])
    data = structures.section(values | {"rows": []}).drawings[0].data
    metrics = [one for one in values["metrics"] for _ in one["T"]]
    for place, one in enumerate(metrics):
        at = place % 4
        assert data["metric"][place] == one["metric"]
        assert (data["T"][place], data["mean"][place], data["se"][place]) == (
            *(one["T"][at], one["mean"][at], one["se"][at]),
        )
    liquids = probed[0]["liquids"]
    table = probes._liquid_table(liquids)
    for place, one in enumerate(liquids):
        assert table.rows[place][1:3] == tuple(f"{T:.3f}" for T in one["T"])
        told, alone = one["descriptors"], one["energy"]
        expect_cells(table, place, AUC_descriptors=told["auc"], AUC_energy_alone=alone["auc"])
        expect_cells(table, place, accuracy_descriptors=told["accuracy"])


def test_the_columns_beside_a_map_are_of_the_class_they_name(seen: Any) -> None:
    section = attribution_section.section(seen)
    data = next(one for one in section.drawings if "map" in one.name).data
    for entry in seen["networks"]:
        for name in ("glass", "liquid"):
            assert data[f"{entry['model']} {name}"] == entry["shown"][name]["attribution"]
    rows = [(entry["model"], row) for entry in seen["networks"] for row in entry["correlations"]]
    for (model, row), cells in zip(rows, section.tables[0].rows, strict=True):
        assert cells[0] == report.name_of_model(model)
        assert cells[1] == row["class"]
        assert cells[3].startswith(f"{row['value']:+.2f} [{row['low']:+.2f}")
