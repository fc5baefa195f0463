import json
import shutil
from pathlib import Path

import pytest

from vitrify import cli, workbench
from vitrify.settings import Study, from_toml
from vitrify.workbench import Averaging, Task

TINY = from_toml(Path(__file__).parent / "tiny.toml")
TASK = Task(input="inherent", k=1)


def _quiet(stage: str, done: float, total: float) -> None:
    assert done <= total * (1 + 1e-9), stage


HERE = {"n_workers": 1, "progress": _quiet}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "tiny"


@pytest.fixture(scope="module")
def trained(out: Path) -> dict:
    return workbench.train(TINY, out, TASK, kind="logistic", **HERE)


def test_a_training_is_kept_with_all_that_made_it(out: Path, trained: dict) -> None:
    folder = out / "trained" / "inherent-k001-logistic-S0"
    assert json.loads((folder / "outcome.json").read_text()) == trained
    assert trained["labels"] == {"0": "liquid", "1": "glass"}
    assert trained["settings"]["kind"] == "logistic"
    assert trained["lineage"] == []
    network, energy = trained["scores"]
    assert (network["model"], energy["model"]) == ("logistic", "e_is")
    assert network["n_runs"] == 4
    assert network["auc_at_equal_energy"]["lower"] <= network["auc_at_equal_energy"]["value"]
    assert network["claim"] is energy["claim"] is None  # runs that chose it claim nothing
    assert (out / "figures" / "trained_inherent-k001-logistic-S0.png").exists()


def test_a_second_call_gives_the_same(out: Path, trained: dict) -> None:
    assert workbench.train(TINY, out, TASK, kind="logistic", **HERE) == trained


def test_a_training_goes_on_from_another_and_says_so(out: Path, trained: dict) -> None:
    parent = out / "trained" / trained["name"]
    longer = TINY.model_copy(
        update={"classify": TINY.classify.model_copy(update={"train": TINY.classify.train.model_copy(
            update={"n_steps": 40})})}
    )  # fmt: skip
    on = workbench.train(longer, out, TASK, kind="logistic", parent=(parent, "last"), **HERE)
    anew = workbench.train(TINY, out, TASK, kind="logistic", parent=(parent, "best"), called="V5", **HERE)
    assert [one["name"] for one in on["lineage"]] == [trained["name"]]
    assert on["name"].endswith("-T2")
    assert on["history"]["step"][-1] == 40
    assert anew["name"] == "V5"
    assert anew["lineage"][0]["which"] == "best"


def test_a_folder_of_other_data_is_refused(out: Path, trained: dict) -> None:
    with pytest.raises(ValueError, match="checkpoints must come from the same seed, data"):
        workbench.train(TINY, out, Task(input="thermal", k=1), kind="logistic", called=trained["name"], **HERE)


def test_networks_are_evaluated_alone_and_averaged(out: Path, trained: dict) -> None:
    other = workbench.train(TINY, out, TASK, kind="logistic", seed=1, **HERE)
    folders = [out / "trained" / one["name"] for one in (trained, other)]
    found = workbench.evaluate(TINY, out, TASK, folders, part="test", averaging=Averaging(symmetries=True), **HERE)
    names = [row["model"] for row in found["scores"]]
    assert names == [trained["name"], other["name"], "averaged", "averaged, calibrated", "e_is"]
    assert {row["n_runs"] for row in found["scores"]} == {4}
    assert found["trained_on_these_data"] == [True, True]
    elsewhere = workbench.evaluate(TINY, out, Task(input="thermal", k=14), folders[:1], part="all", **HERE)
    assert elsewhere["trained_on_these_data"] == [False]
    assert elsewhere["scores"][0]["n_test"] == 8  # the 12 runs that trained and chose it are left out
    assert (elsewhere["n_runs"], elsewhere["n_left_out"]) == (4, 12)


def test_every_run_is_tested_once(out: Path) -> None:
    results = workbench.cross_validate(TINY, out, TASK, kinds=("logistic", "e_is"), n_folds=3, **HERE)
    rows = [row for row in results["table"] if row["model"] == "logistic"]
    assert [row["fold"] for row in rows] == ["0", "1", "2", "pooled"]
    assert rows[-1]["n_test"] == 32
    apart = rows[-1]["auc_minus_energy"]
    energy = next(row for row in results["table"] if row["model"] == "e_is" and row["fold"] == "pooled")
    assert apart["value"] == pytest.approx(rows[-1]["auc"] - energy["auc"])
    assert apart["low"] <= apart["value"] <= apart["high"]
    assert [row["auc_minus_energy"] for row in (*rows[:-1], energy)] == [None] * 4
    assert rows[-1]["claim"]["n_runs"] == rows[-1]["n_runs"] == 16


def test_each_fold_chooses_for_itself_and_the_energy_stands_beside(out: Path) -> None:
    nested = workbench.cross_validate(TINY, out, TASK, kinds=("descriptors", "g_r"), n_folds=3, n_inner=3, **HERE)
    assert [row["model"] for row in nested["table"]] == ["chosen inside"] * 4 + ["e_is"] * 4


def test_two_processes_cross_validate_as_one(out: Path, tmp_path: Path) -> None:
    asked = {"kinds": ("logistic",), "n_folds": 3, "progress": HERE["progress"]}
    one = workbench.cross_validate(TINY, out, TASK, n_workers=1, **asked)
    shutil.copytree(out / "data", tmp_path / "data")
    assert workbench.cross_validate(TINY, tmp_path, TASK, n_workers=2, **asked) == one


def test_the_studys_sweep_is_run_on_validation_runs(out: Path) -> None:
    swept = Study.model_validate(
        TINY.model_dump()
        | {"sweep": {"sampler": "grid", "n_seeds": 1, "space": {"train.learning_rate": [0.01, 0.001]}}}
    )
    results = workbench.sweep(swept, out, TASK, kind="logistic", **HERE)
    assert len(results["rows"]) == 2
    assert (out / "figures" / "leaderboard_inherent-k001-logistic.png").exists()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Task(input="thermal", k=21),
            "k must be a record of the study, 1 to 20, other than classify.k_glass = 20; got 21",
        ),
        (Task(input="thermal", k=20), "other than classify.k_glass = 20; got 20"),
        (Task(input="thermal", k=0), r"give it a table \[equal_energy\]"),
    ],
)
def test_a_record_that_is_not_there_is_refused(out: Path, task: Task, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        workbench.data(TINY, out, task, **HERE)


def test_what_is_missing_is_named(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished training"):
        workbench.evaluate(TINY, out, TASK, [tmp_path], **HERE)
    with pytest.raises(ValueError, match=r"model must be one of cnn, .*; got 'resnet'"):
        workbench.train(TINY, out, TASK, kind="resnet", **HERE)
    with pytest.raises(ValueError, match=r"give it a table \[sweep\]"):
        workbench.sweep(TINY, out, TASK, kind="logistic", **HERE)


def test_the_commands_say_what_was_found(out: Path, trained: dict, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(Path(__file__).parent / "tiny.toml")
    words = ["--out", str(out), "--k", "1", "--workers", "1"]
    for command, more, expected in (
        ("train", ["--model", "logistic"], "lineage: inherent-k001-logistic-S0"),
        ("evaluate", [], "expected calibration error"),
        ("crossvalidate", ["--kinds", "e_is", "--n-folds", "3"], "e_is, fold pooled: accuracy"),
    ):
        runs = [str(out / "trained" / trained["name"])] if command == "evaluate" else []
        with pytest.raises(SystemExit) as end:
            cli.main([command, file, *runs, *words, *more])
        assert end.value.code == 0
        assert expected in capsys.readouterr().out
