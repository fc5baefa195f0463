"""A run that trained, chose or calibrated a network, or one it goes on from, never tests it: who gets which runs."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vitrify import (
    baselines,
    classify,
    cli,
    evaluate,
    imported,
    learn,
    lineage,
    packed,
    predict,
    report,
    scores,
    store,
    study,
    workbench,
)
from vitrify import transfer as transfers
from vitrify.analyses import transfer, transfer_studies
from vitrify.dataset import Labelled, folds, nested_folds
from vitrify.fingerprints import fingerprint
from vitrify.imported import Choice, Units
from vitrify.pack import pack
from vitrify.potentials import MIXTURES
from vitrify.settings import Study, from_toml, split
from vitrify.snapshots import Snapshot, Told
from vitrify.system import Configuration
from vitrify.trajectories import write
from vitrify.workbench import Task

FILE = Path(__file__).parent / "tiny.toml"
TINY = Study.model_validate(
    from_toml(FILE).model_dump()
    | {"models": [{"kind": "logistic"}]}
    | {"classify": from_toml(FILE).classify.model_dump() | {"inputs": ["inherent"], "baselines": ["e_is"]}}
)
TASK = Task(input="inherent", k=1)
PARTS = split(TINY)
OWN = {name: set(getattr(PARTS, name).tolist()) for name in ("train", "validation", "test")}


def _quiet(_stage: str, _done: float, _total: float) -> None:
    pass


HERE: dict[str, Any] = {"n_workers": 1, "progress": _quiet}


def _split(test: float, validation: float = 0.25) -> Study:
    """Return the same study under another split."""
    kept = TINY.classify.model_copy(update={"test": test, "validation": validation})
    return TINY.model_copy(update={"classify": kept})


def _of(data: Labelled) -> set[int]:
    return set(data.run.tolist())


def _said(logit: np.ndarray, label: np.ndarray) -> set[int]:
    """Return the runs that logits are of: each is told by its size, which `spies` plants."""
    assert (np.sign(logit) == 2 * label - 1).all()
    return set((1000 * (np.abs(logit) - 1)).round().astype(int).tolist())


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "save", lambda *_: None)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lineage") / "tiny"
    study.simulate(TINY, root, **HERE)
    return root


@pytest.fixture
def elsewhere(out: Path, tmp_path: Path) -> Path:
    """A folder of the same runs in which nothing is trained."""
    shutil.copytree(out / "data", tmp_path / "tiny" / "data")
    return tmp_path / "tiny"


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is called with which runs. Every network is right about everything, and says whom it is asked about."""
    seen = SimpleNamespace(train=[], calibrates=[], moves=[], scores=[], compares=[])

    def spy(module: Any, name: str, keep: Callable[..., None]) -> None:
        plain = getattr(module, name)

        def called(*words: Any, **options: Any) -> Any:
            keep(*words, **options)
            return plain(*words, **options)

        monkeypatch.setattr(module, name, called)

    spy(learn, "train", lambda _, train, chosen, *_a, **_k: seen.train.append((_of(train), _of(chosen))))
    spy(scores, "rethreshold", lambda logit, label: seen.moves.append(_said(logit, label)))
    spy(evaluate, "calibrate", lambda logit, label, **_: seen.calibrates.append(_said(logit, label)))
    spy(scores, "score", lambda _l, _y, run, **_: seen.scores.append(set(run.tolist())))
    spy(scores, "compare", lambda _l, _o, _y, run, **_: seen.compares.append(set(run.tolist())))
    truth = np.vectorize(lambda label, run: (2 * label - 1) * (1 + run / 1000), otypes=[float])
    monkeypatch.setattr(learn, "predict", lambda _trained, data: truth(data.label, data.run))
    return seen


# Fingerprints


def _liquid(seed: int, n: int = 64, d: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 7.3 * rng.random((n, d)), np.repeat([0, 1], [n - n // 3, n // 3]), np.full(d, 7.3)


@pytest.mark.parametrize("d", [2, 3])
def test_a_configuration_is_known_again_after_it_was_written_shifted_and_put_in_another_order(d: int) -> None:
    for seed in range(100):
        rng = np.random.default_rng([seed, 1])
        x, species, box = _liquid(seed, d=d)
        order = np.concatenate([rng.permutation(np.flatnonzero(species == kind)) for kind in (0, 1)])
        other = np.mod(x + rng.random(d) * box, box)[order].round(4)
        assert fingerprint(x, species, box).kept in fingerprint(2.5 * other, species[order], 2.5 * box).sought


def test_other_configurations_are_not_taken_for_it() -> None:
    kept, sought = set(), []
    for seed in range(300):
        one = fingerprint(*_liquid(seed))
        assert one.kept not in set().union(*sought)
        kept.add(one.kept)
        sought.append(one.sought)
    assert len(kept) == 300
    x, species, box = _liquid(0)
    moved = x + 0.02 * np.random.default_rng(1).normal(size=x.shape)  # as a glass vibrates
    assert fingerprint(x, species, box).kept not in fingerprint(moved, species, box).sought


def test_a_lattice_is_nobodys_alone() -> None:
    site = np.stack(np.divmod(np.arange(36), 6), 1) + 0.5
    one = fingerprint(site, np.zeros(36, int), np.array([6.0, 6.0]))
    assert (one.kept, one.sought) == (None, frozenset())


# Which runs reach what


def test_a_studys_classifiers_are_trained_chosen_and_scored_on_their_own_runs(
    out: Path, spies: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = store.load(out / "data", TINY.simulate, seed=TINY.seed, k=TINY.classify.records)
    of_energy = {float(e): run for run, row in enumerate(ensemble.energy("e_is")) for e in row}
    fitted, plain = [], baselines.fit

    def fit(train: np.ndarray, label: np.ndarray, chosen: np.ndarray, its_label: np.ndarray) -> baselines.Fitted:
        fitted.append(tuple({of_energy[float(e)] for e in features[:, 0]} for features in (train, chosen)))
        return plain(train, label, chosen, its_label)

    monkeypatch.setattr(baselines, "fit", fit)
    outcomes = study.learn(TINY, out, **HERE)
    chosen = [one for one in classify.trainings(TINY) if one.model is not None]
    assert spies.train == [(OWN["train"], OWN["validation"])] * len(chosen)
    assert fitted == [(OWN["train"], OWN["validation"])] * (len(outcomes) - len(chosen))
    for outcome in outcomes:
        assert outcome["runs"] == {name: sorted(OWN[name]) for name in ("train", "validation")}
        for scored in outcome["scored"]:
            assert {name: set(scored[name]["run"]) for name in ("validation", "test")} == {
                name: OWN[name] for name in ("validation", "test")
            }
    spies.scores.clear()
    classify.rows(ensemble.T, [one for one in outcomes if one["history"]])
    assert spies.moves
    assert all(runs == OWN["validation"] for runs in spies.moves)
    assert all(runs == OWN["test"] for runs in [*spies.scores, *spies.compares])


def test_a_studys_classifiers_keep_the_marks_of_both_their_records(out: Path) -> None:
    study.learn(TINY, out, **HERE)
    ensemble = store.load(out / "data", TINY.simulate, seed=TINY.seed, k=(1, 14, 20))
    for one in classify.trainings(TINY):
        seen = lineage.of_training(out / "models" / one.folder)
        for k in {one.train_k, one.k_glass} & {1, 14, 20}:
            known = [
                (fingerprint(x.astype(float), ensemble.species, ensemble.box).kept, y)
                for (x, y) in zip(ensemble.inherent[:, ensemble.place("k", k)], range(16), strict=True)
            ]
            assert {run for mark, run in known if mark in seen.train} == OWN["train"]
            assert {run for mark, run in known if mark in seen.chose} == OWN["validation"]


def test_one_network_is_trained_chosen_and_scored_on_its_own_runs(elsewhere: Path, spies: SimpleNamespace) -> None:
    outcome = workbench.train(TINY, elsewhere, TASK, kind="logistic", **HERE)
    assert spies.train == [(OWN["train"], OWN["validation"])]
    assert spies.scores
    assert all(runs == OWN["validation"] for runs in [*spies.scores, *spies.compares])
    assert outcome["n_left_out"] == 0


@pytest.fixture
def trained(elsewhere: Path) -> Path:
    return elsewhere / "trained" / workbench.train(TINY, elsewhere, TASK, kind="logistic", **HERE)["name"]


@pytest.mark.parametrize(
    ("part", "scored", "calibrates"),
    [
        ("test", OWN["test"], OWN["validation"]),
        ("all", OWN["test"], OWN["validation"]),
        ("train", OWN["train"], OWN["validation"]),
        ("validation", OWN["validation"], None),
    ],
)
def test_threshold_and_temperature_are_fitted_on_runs_that_are_not_scored(
    part: Any, scored: set[int], calibrates: set[int] | None, trained: Path, spies: SimpleNamespace
) -> None:
    found = workbench.evaluate(TINY, trained.parents[1], TASK, [trained], part=part, **HERE)
    wanted = [] if calibrates is None else [calibrates]
    assert (spies.calibrates, spies.moves) == (wanted, wanted)
    assert spies.scores
    assert all(runs == scored for runs in [*spies.scores, *spies.compares])
    assert (found["n_runs"], found["n_calibrated"]) == (len(scored), len(calibrates or ()))
    asked = 16 if part == "all" else len(scored)
    assert found["n_left_out"] == asked - len(scored)
    assert found["n_trained"] == (len(scored) if part == "train" else 0)
    assert found["n_chose"] == (len(scored) if part == "validation" else 0)
    assert any("calibrated" in row["model"] for row in found["scores"]) == (calibrates is not None)


def test_the_energy_beside_a_network_is_not_fitted_on_what_is_scored(
    elsewhere: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of another seed: the network has seen none of them, so all are asked for, and some must fit the energy."""
    other = TINY.model_copy(update={"seed": 4})
    fitted, plain = [], workbench._fit

    def fit(*words: Any) -> Any:
        def called(train: Labelled, validation: Labelled, *, fold: tuple[int, ...]) -> Any:
            fitted.append((_of(train), _of(validation)))
            return plain(*words)(train, validation, fold=fold)

        return called

    monkeypatch.setattr(workbench, "_fit", fit)
    found = workbench.evaluate(other, elsewhere, TASK, [trained], part="all", **HERE)
    chooses = set(split(other).validation.tolist())
    assert fitted == [(chooses, chooses)]
    assert (found["n_runs"], found["n_left_out"], found["n_calibrated"]) == (12, 4, 4)


def test_folds_hand_out_their_own_runs_and_test_every_run_once(elsewhere: Path, spies: SimpleNamespace) -> None:
    found = workbench.cross_validate(TINY, elsewhere, TASK, kinds=("logistic",), n_folds=4, **HERE)
    splits = folds(16, n_folds=4, seed=TINY.seed)
    # once to train, and once more when the fold is scored, which finds it trained
    wanted = [(set(one.train.tolist()), set(one.validation.tolist())) for one in splits]
    assert spies.train == wanted * 2
    of_one_model = [*(set(one.test.tolist()) for one in splits), set(range(16))]
    assert spies.scores == of_one_model * 2  # the network and the energy
    assert [one["test"] for one in found["runs"]] == [one.test.tolist() for one in splits]
    for one in found["runs"]:
        assert sorted(one["train"] + one["validation"] + one["test"]) == list(range(16))


def test_a_fold_chooses_among_kinds_without_the_runs_that_test_it(elsewhere: Path, spies: SimpleNamespace) -> None:
    kinds = ("logistic", "shallow")
    workbench.cross_validate(TINY, elsewhere, TASK, kinds=kinds, n_folds=4, n_inner=3, **HERE)
    nested = nested_folds(16, n_folds=4, n_inner=3, seed=TINY.seed)
    pairs = lambda one: (set(one.train.tolist()), set(one.validation.tolist()))
    before = [pairs(inner) for outer in nested for inner in outer.inner for _ in kinds]
    assert spies.train[: len(before)] == before
    after, step = spies.train[len(before) :], len(kinds) * 3 + 1
    for place, outer in enumerate(nested):
        own = after[place * step : (place + 1) * step]
        assert own[:-1] == [pairs(inner) for _ in kinds for inner in outer.inner]
        assert own[-1] == pairs(outer.outer)
        tests = set(outer.outer.test.tolist())
        assert not any(tests & (train | chosen) for train, chosen in own)
    assert spies.scores[:4] == [set(one.outer.test.tolist()) for one in nested]


def test_inner_folds_that_leak_are_refused(out: Path) -> None:
    data = workbench.data(TINY, out, TASK, **HERE)
    nested = nested_folds(16, n_folds=4, n_inner=3, seed=1)
    first = nested[0].inner[0]
    leaky = replace(first, train=np.append(first.train, first.test[0]))
    nested[0] = replace(nested[0], inner=(leaky, *nested[0].inner[1:]))
    fit = evaluate.chosen_inside({"one": lambda *_a, **_k: lambda d: d.label - 0.5}, data, nested)
    with pytest.raises(ValueError, match=rf"fold 0 inside fold 0 has \[{first.test[0]}\] in two"):
        evaluate.cross_validate(fit, data, [one.outer for one in nested])


def test_a_sweep_never_touches_the_runs_that_test(elsewhere: Path, spies: SimpleNamespace) -> None:
    space = {"train.learning_rate": [0.01, 0.001]}
    swept = Study.model_validate(TINY.model_dump() | {"sweep": {"sampler": "grid", "n_seeds": 2, "space": space}})
    found = workbench.sweep(swept, elsewhere, TASK, kind="logistic", **HERE)
    assert spies.train == [(OWN["train"], OWN["validation"])] * 4
    assert spies.scores == []
    assert found["runs"] == {name: sorted(OWN[name]) for name in ("train", "validation")}


def test_a_packed_model_is_calibrated_and_tested_on_its_own_runs(elsewhere: Path, spies: SimpleNamespace) -> None:
    asked = {"kind": "logistic", "n_networks": 2, "folder": elsewhere / "packed"}
    card = pack(TINY, elsewhere, TASK, **asked, **HERE)
    assert spies.train == [(OWN["train"], OWN["validation"])] * 2
    assert spies.calibrates == spies.moves == [OWN["validation"]]
    assert spies.scores[-2:] == [OWN["test"]] * 2
    assert (card["scores"][0]["part"], card["n_left_out"]) == ("test", 0)
    known = lineage.runs(TINY, workbench.inputs(TINY, elsewhere, TASK, **HERE).values())
    for there, part in zip(lineage.met(known, lineage.of_card(card)), ("train", "validation"), strict=True):
        assert set(np.flatnonzero(there).tolist()) == OWN[part]


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[int], set[int]]]:
    """The runs that move the threshold and that test, for every cell of a transfer matrix."""
    kept, plain = [], transfers.cell

    def cell(validation: transfers.Scored, test: transfers.Scored, **options: Any) -> transfers.Cell:
        kept.append((set(validation.run.tolist()), set(test.run.tolist())))
        return plain(validation, test, **options)

    monkeypatch.setattr(transfers, "cell", cell)
    return kept


def test_a_transferred_classifier_is_tested_on_test_runs(out: Path, cells: list[tuple[set[int], set[int]]]) -> None:
    study.learn(TINY, out, **HERE)
    transfer.compute(TINY, out, **HERE)
    assert len(cells) == 2 * 2**2  # the energy and the network, each trained and tested at two liquids
    assert cells == [(OWN["validation"], OWN["test"])] * len(cells)


def test_between_studies_of_the_same_runs_those_seen_are_left_out(
    elsewhere: Path, tmp_path: Path, cells: list[tuple[set[int], set[int]]]
) -> None:
    other = Study.model_validate(
        TINY.model_dump() | {"classify": TINY.classify.model_dump() | {"test": 0.45, "validation": 0.25}}
    )
    shutil.copytree(elsewhere, tmp_path / "other")
    for chosen, place in ((TINY, elsewhere), (other, tmp_path / "other")):
        study.learn(chosen, place, **HERE)
        store.write_json(place / "results.json", {"study": chosen.model_dump(mode="json")})
    values = transfer_studies.compute([elsewhere, tmp_path / "other"], progress=_quiet)
    theirs = split(other)
    unseen = set(theirs.test.tolist()) - OWN["train"] - OWN["validation"]
    n_left_out = len(theirs.test) - len(unseen)
    assert 2 <= len(unseen) < len(theirs.test)
    wanted = (set(theirs.validation.tolist()) - OWN["train"], unseen)
    assert 0 < len(wanted[0]) < len(theirs.validation)
    mine = [column for column, state in enumerate(values["states"]) if state["study"] == 1]
    assert [cells[column] for column in mine] == [wanted] * len(mine)
    for column in mine:
        assert values["models"][1]["cells"][0][column]["n_left_out"] == n_left_out
    assert values["models"][1]["cells"][0][0]["n_left_out"] == 0


# Another split, and along the lineage


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_a_network_of_another_split_is_tested_on_runs_it_never_saw(
    elsewhere: Path, spies: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a user does it: trained with five of a hundred runs for tests, evaluated under the study's own split."""
    where = ["--out", str(elsewhere), "--k", "1", "--workers", "1"]
    more = ["--classify.test", "0.05", "--model", "logistic", "--called", "most"]
    assert _run(capsys, "train", str(FILE), *where, *more)[0] == 0
    ((train, chosen),) = spies.train
    unseen = OWN["test"] - train - chosen
    assert len(unseen) == 1
    spies.scores.clear()
    folder = str(elsewhere / "trained" / "most")
    code, said, _ = _run(capsys, "evaluate", str(FILE), folder, *where, "--part", "test", "--json")
    found = json.loads(said)
    assert code == 0
    assert (found["n_runs"], found["n_left_out"]) == (1, 3)
    assert {row["n_runs"] for row in found["scores"]} == {1}
    assert all(runs == unseen for runs in [*spies.scores, *spies.compares[1:]])
    assert all(runs == OWN["validation"] - train for runs in spies.calibrates)
    _, words, _ = _run(capsys, "evaluate", str(FILE), folder, *where, "--part", "test")
    assert "runs: 1 scored, 3 of 4 left out because they trained, chose or calibrated a network" in words


def test_where_no_run_is_left_it_is_an_error(elsewhere: Path) -> None:
    """The first 12 of the 16 runs are split anew, and the network has seen all of their test runs."""
    name = workbench.train(_split(0.05), elsewhere, TASK, kind="logistic", **HERE)["name"]
    few = TINY.model_copy(update={"simulate": TINY.simulate.model_copy(update={"n_runs": 12})})
    assert not set(split(few).test.tolist()) & set(split(_split(0.05)).test.tolist())
    with pytest.raises(ValueError, match=r"each of the 3 runs of part = 'test' trained, chose or calibrates"):
        workbench.evaluate(few, elsewhere, TASK, [elsewhere / "trained" / name], part="test", **HERE)


def test_what_an_ancestor_has_seen_counts(elsewhere: Path, spies: SimpleNamespace) -> None:
    parent = workbench.train(_split(0.05), elsewhere, TASK, kind="logistic", called="parent", **HERE)
    folder = elsewhere / "trained" / "parent"
    child = workbench.train(TINY, elsewhere, TASK, kind="logistic", called="child", parent=(folder, "best"), **HERE)
    grand = elsewhere / "trained" / "grand"
    workbench.train(
        TINY, elsewhere, TASK, kind="logistic", called="grand", parent=(elsewhere / "trained" / "child", "best"), **HERE
    )
    by_parent = set(parent["runs"]["train"])
    assert set(child["runs"]["train"]) == OWN["train"]
    assert child["n_left_out"] == len(OWN["validation"] & by_parent)
    spies.scores.clear()
    found = workbench.evaluate(TINY, elsewhere, TASK, [grand], part="test", **HERE)
    unseen = OWN["test"] - by_parent - set(parent["runs"]["validation"])
    assert all(runs == unseen for runs in spies.scores)
    assert found["n_left_out"] == len(OWN["test"]) - len(unseen) > 0
    alone = workbench.train(TINY, elsewhere, TASK, kind="logistic", called="alone", **HERE)
    assert workbench.evaluate(
        TINY, elsewhere, TASK, [elsewhere / "trained" / alone["name"]], part="test", **HERE
    )["n_left_out"] == 0  # fmt: skip


def test_the_runs_are_known_at_other_records_and_as_thermal_configurations(trained: Path) -> None:
    for task in (Task(input="thermal", k=1), Task(input="inherent", k=14)):
        found = workbench.evaluate(TINY, trained.parents[1], task, [trained], part="all", **HERE)
        assert (found["n_runs"], found["n_left_out"]) == (4, 12)


def test_an_outcome_without_marks_is_read_through_the_log_or_refused(trained: Path, capsys: Any) -> None:
    out, path = trained.parents[1], trained / "outcome.json"
    outcome = store.read_json(path)
    old = {name: value for name, value in outcome.items() if name not in ("seen", "runs")}
    store.write_json(path, old)
    known = lineage.runs(TINY, ())
    for there, part in zip(lineage.met(known, lineage.of_training(trained)), ("train", "validation"), strict=True):
        assert set(np.flatnonzero(there).tolist()) == OWN[part]
    child = workbench.train(TINY, out, TASK, kind="logistic", called="child", parent=(trained, "best"), **HERE)
    store.write_json(out / "trained" / "child" / "outcome.json", {k: v for k, v in child.items() if k != "seen"})
    assert lineage.of_training(out / "trained" / "child").train >= lineage.of_training(trained).train
    shutil.rmtree(out / "log")
    with pytest.raises(ValueError, match=r"nothing says which runs trained .* call vitrify train again"):
        workbench.evaluate(TINY, out, TASK, [trained], part="test", **HERE)
    again = workbench.train(TINY, out, TASK, kind="logistic", **HERE)
    assert again["seen"] == outcome["seen"]
    assert workbench.evaluate(TINY, out, TASK, [trained], part="test", **HERE)["n_runs"] == 4


def test_runs_that_were_imported_are_known_again(trained: Path, tmp_path: Path) -> None:
    """The study's own runs, as its files hold them, are somebody's trajectories."""
    files = sorted((trained.parents[1] / "data" / "workspace").glob("*/thermal.gsd"))
    sources = imported.understood([str(one) for one in files], pattern=r"workspace/(?P<run>\w+)", given={})
    choice = Choice(told=Told(), mixture=MIXTURES["ka2d"], units=Units(), every=1)
    imported.keep(sources, choice, tmp_path / "own", **HERE)
    settings = from_toml(tmp_path / "own" / "study.toml").model_dump() | {"models": [{"kind": "logistic"}]}
    settings["classify"] |= {"k_glass": 20, "k": [1], "k_transfer": 1, "control": [], "validation": 0.25, "test": 0.25}
    own = Study.model_validate(settings)
    known = lineage.runs(own, workbench.inputs(own, tmp_path / "own", TASK, **HERE).values())
    there = lineage.met(known, lineage.of_training(trained))
    assert [int(each.sum()) for each in there] == [len(OWN["train"]), len(OWN["validation"])]
    found = workbench.evaluate(own, tmp_path / "own", TASK, [trained], part="test", **HERE)
    assert found["n_left_out"] == 4 - found["n_runs"] == int((there[0] | there[1])[split(own).test].sum())


def test_frames_that_trained_a_packed_model_are_said(elsewhere: Path, tmp_path: Path) -> None:
    task, path = Task(input="inherent", k=1), tmp_path / "mine.extxyz"
    pack(TINY, elsewhere, task, kind="logistic", n_networks=1, folder=tmp_path / "small", **HERE)
    ensemble = store.load(elsewhere / "data", TINY.simulate, seed=TINY.seed, k=(1, 10))
    rng = np.random.default_rng(1)
    frames = []
    for run, place in ((PARTS.train[0], 0), (PARTS.validation[0], 0), (PARTS.test[0], 0), (PARTS.train[0], 1)):
        order = rng.permutation(64)
        shown = Configuration(
            positions=ensemble.thermal[run, place][order].astype(float),
            species=ensemble.species[order],
            box=ensemble.box,
        )
        frames.append(Snapshot(configuration=shown, names=("A", "B"), step=len(frames), origin=(0.0, 0.0)))
    write(path, frames)
    found = predict.predict(path, packed.load(str(tmp_path / "small")), Told(), Units(), out=None, progress=_quiet)
    assert [row["seen"] for row in found["frames"]] == ["trained", "chose", None, None]
    assert found["n_seen"] == 2
    assert any("2 of 4 frames, 1 the first, trained or chose small" in one for one in found["warnings"])
