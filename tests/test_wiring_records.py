"""What is read from disk, written back and listed is what it is called: records, boxes, answers and scores."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.planted import BOX, CHOSEN, N_RUNS, PARTS, WHOLE

from vitrify import export, indicators, log_index, predict, store
from vitrify.dataset import folds
from vitrify.domain import Place
from vitrify.packed import Verdict
from vitrify.snapshots import Snapshot
from vitrify.system import Configuration


class _Folder:
    """The folder of one run of the planted ensemble."""

    def __init__(self, run: int) -> None:
        self.run = run

    def table(self) -> dict[str, np.ndarray]:
        names = ("e_pot_unshifted", "e_pot_shifted", "e_is_unshifted", "e_is_shifted", "max_force", "converged")
        return {name: getattr(WHOLE, name)[self.run] for name in names} | {"T": WHOLE.T}

    def positions(self, name: Any, k: Any) -> np.ndarray:
        return WHOLE.shown(name)[self.run, np.array(k) - 1]


def test_a_loaded_ensemble_keeps_its_kinds_runs_records_and_energies(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ([_Folder(run) for run in range(N_RUNS)], [True] * N_RUNS)
    monkeypatch.setattr(store, "_survey", lambda *_, **__: known)
    found = store.load(Path(), CHOSEN.simulate, seed=5, k=(8, 3))
    for name in planted.INPUTS:
        np.testing.assert_array_equal(found.shown(name)[:, found.place("k", 8)], WHOLE.shown(name)[:, 7])
        np.testing.assert_array_equal(found.shown(name)[:, found.place("k", 3)], WHOLE.shown(name)[:, 2])
    for name in ("e_pot_unshifted", "e_pot_shifted", "e_is_unshifted", "e_is_shifted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(WHOLE, name))
    np.testing.assert_array_equal(found.T, planted.T)


def test_positions_are_counted_from_the_corner_of_their_own_records_box(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = {1: (4.0, 6.0), 2: (5.0, 7.0), 3: (8.0, 9.0)}
    rng = np.random.default_rng(4)
    corner = {k: rng.random((6, 2)) * edges for k, edges in boxes.items()}

    class File:
        def chunk_exists(self, frame: int, _name: str) -> bool:
            return frame < 3

        def read_chunk(self, frame: int, name: str) -> np.ndarray:
            edges = boxes[frame + 1]
            if name == "configuration/box":
                return np.array([*edges, 1.0, 0, 0, 0], np.float32)
            assert name == "particles/position"
            return np.hstack([corner[frame + 1] - np.array(edges) / 2, np.zeros((6, 1))]).astype(np.float32)

    @contextmanager
    def read(_folder: Any, name: str) -> Any:
        assert name == "thermal"
        yield File()

    monkeypatch.setattr(store.RunFolder, "_read", read)
    folder = object.__new__(store.RunFolder)
    folder._settings = SimpleNamespace(liquid=SimpleNamespace(dimension=2), imported=None, own_boxes=True)  # type: ignore[assignment]
    found = folder.positions("thermal", (3, 1))
    np.testing.assert_allclose(found[0], corner[3], atol=1e-5)
    np.testing.assert_allclose(found[1], corner[1], atol=1e-5)


def test_the_parts_of_a_split_have_the_sizes_they_are_asked_for() -> None:
    asked = CHOSEN.classify
    assert len(PARTS.test) == round(asked.test * N_RUNS)
    assert len(PARTS.validation) == round(asked.validation * N_RUNS)
    assert len(PARTS.train) > len(PARTS.test)
    assert sorted([*PARTS.train, *PARTS.validation, *PARTS.test]) == list(range(N_RUNS))


def test_the_answers_of_a_model_are_written_under_their_names() -> None:
    order = np.array([3, 1, 0, 2])
    shown = Snapshot(
        configuration=Configuration(positions=np.zeros((4, 2)), species=np.zeros(4, int), box=BOX),
        names=("A",),
        step=7,
        columns={},
        origin=(0.0, 0.0),
    )
    verdict = Verdict(
        p_glass=0.6,
        low=0.5,
        high=0.9,
        logit=0.4,
        place=Place(distance=0.3, T=0.7, reasons=()),
        to_glass=np.array([10.0, 11.0, 12.0, 13.0]),
    )
    written = predict._answered(shown, verdict, order)
    said = {"p_glass": 0.6, "p_glass_low": 0.5, "p_glass_high": 0.9, "domain_distance": 0.3}
    assert dict(written.attributes) == said
    # what the model saw first is the user's particle order[0]
    np.testing.assert_array_equal(written.columns[predict.COLUMN][order], verdict.to_glass)
    row = predict._row(shown, verdict)
    assert (row["p_glass"], row["low"], row["high"], row["logit"]) == (0.6, 0.5, 0.9, 0.4)
    assert (row["domain_distance"], row["T_structure"]) == (0.3, 0.7)


def test_the_best_model_of_a_log_is_chosen_by_its_kept_weights_on_validation_runs() -> None:
    def scored(value: float) -> dict[str, Any]:
        one = {"value": value, "low": value - 0.05, "high": value + 0.02}
        return {"accuracy": one, "auc": {name: end + 0.01 for name, end in one.items()}, "n_test": 20, "n_runs": 10}

    def record(model: str, validation: float, test: float, last: tuple[float, float]) -> dict[str, Any]:
        settings = {
            "input": "inherent",
            "control": False,
            "train_k": 3,
            "glass_k": 9,
            "model": model,
            "network": {"w": 1},
        }
        best = {"validation": scored(validation), "test": scored(test)}
        final = {"validation": scored(last[0]), "test": scored(last[1])}
        return {
            "kind": "train",
            "where": "",
            "key": model,
            "settings": settings,
            "scores": {"best": best, "final": final},
        }

    energy = {"test": scored(0.51)}
    records = [
        record("cnn", 0.82, 0.61, (0.95, 0.64)) | {"energy": energy},
        record("mpnn", 0.90, 0.58, (0.70, 0.55)) | {"energy": energy},
        record("deepset", 0.71, 0.93, (0.72, 0.94)) | {"energy": energy},
    ]
    (row,) = export.best_models(records)
    assert row["key"] == "mpnn"
    for name, value in (("validation", 0.90), ("test", 0.58), ("auc", 0.59), ("energy", 0.52)):
        assert row[name].startswith(f"{value:.3f} ["), name


def test_indicators_are_fitted_chosen_and_asked_on_their_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(5).normal(size=(11, 6, 2))
    features[:, :, 0] += np.arange(11)[:, None]  # so that the runs can be told
    told: list[tuple[np.ndarray, ...]] = []

    def answer(*parts: np.ndarray) -> np.ndarray:
        told.append(parts)
        return np.full((len(parts[2]), 6, 6), float(len(told)))

    monkeypatch.setattr(indicators, "_answer", answer)
    p = indicators.cross_fit(features, seed=3)
    splits = folds(11, n_folds=5, seed=3)
    for place, (fold, parts) in enumerate(zip(splits, told, strict=True)):
        train = features[fold.train].reshape(-1, 2)
        for runs, shown in zip((fold.train, fold.validation, fold.test), parts, strict=True):
            np.testing.assert_allclose(shown, (features[runs] - train.mean(axis=0)) / train.std(axis=0))
        assert (p[fold.test] == place + 1).all()


def test_the_energy_beside_a_network_is_of_the_same_pair_of_the_same_study() -> None:
    def record(model: str, where: str, input_: str, k: int, glass: int, n_train: int) -> dict[str, Any]:
        network = None if model.startswith("e_") else {"width": 1}
        settings = {"model": model, "input": input_, "train_k": k, "glass_k": glass, "n_train": n_train, "study": {}}
        told = f"{where} {input_} {k} {glass} {n_train}"
        return {"kind": "train", "where": where, "settings": settings | {"network": network}, "scores": {"best": told}}

    pairs = [
        (where, name, k, glass, n)
        for where in ("a", "b")
        for name in planted.INPUTS
        for k in (3, 6)
        for glass in (9, 11)
        for n in (20, 24)
    ]
    networks = [record("cnn", *pair) for pair in pairs]
    energies = [record("e_is" if pair[1] == "inherent" else "e_pot", *pair) for pair in pairs]
    log_index._beside_the_energy([*networks, *energies])
    for network, pair in zip(networks, pairs, strict=True):
        assert network["energy"] == " ".join(map(str, pair))
