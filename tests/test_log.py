import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.logged import training, write_many

from vitrify import cli, entries, log, log_index, study
from vitrify.settings import from_toml

TINY = Path(__file__).parent / "tiny.toml"


def _path(out: Path, identifier: str) -> Path:
    return out / log.FOLDER / f"{identifier}.jsonl"


def _said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 0
    return capsys.readouterr().out


def test_a_record_says_what_runs_then_what_came_of_it(tmp_path: Path) -> None:
    with log.recorded(tmp_path, kind="analyse", name="a", known={"settings": {"k": 3}}) as entry:
        (running,) = log_index.gather(tmp_path)
        assert (running["status"], running["settings"]) == ("running", {"k": 3})
        entry["results"] = {"x": float("nan"), "y": float("inf"), "z": 1.5}
    (done,) = log_index.gather(tmp_path)
    assert done["status"] == "done"
    assert done["results"] == {"x": None, "y": None, "z": 1.5}
    assert done["started"] <= done["finished"]
    assert done["wall_s"] >= 0
    with pytest.raises(ValueError, match="too few"), log.recorded(tmp_path, kind="analyse", name="a", known={}):
        raise ValueError("too few")
    with pytest.raises(KeyboardInterrupt), log.recorded(tmp_path, kind="analyse", name="b", known={}):
        raise KeyboardInterrupt
    first, second = log_index.gather(tmp_path)
    assert (first["status"], first["why"], first["attempts"]) == ("failed", "ValueError: too few", 2)
    assert first["started"] == done["started"]
    assert (second["status"], second["why"]) == ("stopped", "interrupted")


def test_a_torn_line_is_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    identifier = training(tmp_path, "one")
    path = _path(tmp_path, identifier)
    whole = log.read(path)
    for cut in range(1, 40, 7):
        with path.open("ab") as file:
            file.write(b'{"id": "x", "status": "failed", "why": "torn"'[:cut])
        assert log.read(path)["scores"] == whole["scores"]
        log.note(tmp_path, identifier, f"after {cut}")
    record = log.read(path)
    assert record["status"] == "done"
    assert record["n_damaged"] == 6
    assert [note["text"] for note in record["notes"]] == [f"after {cut}" for cut in range(1, 40, 7)]


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(str(tmp_path), writer)) for writer in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    record = log.read(_path(tmp_path, "0123456789"))
    assert record["n_damaged"] == 0
    said = {note["text"].split()[0] for note in record["notes"]}
    assert said == {f"{writer}-{number}" for writer in range(2) for number in range(25)}


_KILLED = """
import sys, time
from pathlib import Path
from vitrify import log
with log.recorded(Path(sys.argv[1]), kind="train", name="killed", known={"settings": {"k": 1}}):
    print("running", flush=True)
    while True:
        log.append(Path(sys.argv[1]), log.identify(Path(sys.argv[1]), "train", "killed"), {"note": "y" * 20000})
"""


def test_a_killed_writer_leaves_a_log_that_reads_whole_and_says_it_stopped(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    (running,) = log_index.gather(tmp_path)
    assert running["status"] == "running"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (stopped,) = log_index.gather(tmp_path)
    assert stopped["status"] == "stopped"
    n_notes = len(stopped["notes"])
    assert n_notes >= 1
    log.note(tmp_path, stopped["id"], "it was killed")
    (after,) = log_index.gather(tmp_path)
    assert [note["text"] for note in after["notes"][n_notes:]] == ["it was killed"]
    assert all(note["text"] == "y" * 20000 for note in after["notes"][:n_notes])


def test_a_log_that_cannot_be_written_warns_and_lets_the_work_go_on(tmp_path: Path) -> None:
    (tmp_path / log.FOLDER).write_text("a file in the way")
    with (
        pytest.warns(RuntimeWarning, match="lacks a line"),
        log.recorded(tmp_path, kind="train", name="a", known={}) as entry,
    ):
        entry["worked"] = True
    with pytest.raises(OSError, match="log"):
        log.note(tmp_path, "0123456789", "lost")


def test_ids_are_of_a_folder_and_survive_a_copy(tmp_path: Path) -> None:
    one, two = (training(tmp_path / name, "same") for name in ("one", "two"))
    assert one != two
    assert training(tmp_path / "one", "same") == one
    (tmp_path / "copy").mkdir()
    (tmp_path / "one" / log.FOLDER).rename(tmp_path / "copy" / log.FOLDER)
    training(tmp_path / "copy", "same")
    assert [record["key"] for record in log_index.gather(tmp_path)].count(one) == 1


def test_the_index_is_made_again_whatever_happened_to_it(tmp_path: Path) -> None:
    root = tmp_path
    training(root / "s" / "one", "a")
    known = log_index.gather(root)
    index = root / log_index.INDEX
    assert index.exists()
    index.unlink()
    assert log_index.gather(root) == known
    index.write_bytes(b"not a database" * 1000)
    assert log_index.gather(root) == known
    with sqlite3.connect(index) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert log_index.gather(root) == known
    second = training(root / "s" / "two", "b")
    log.note(root / "s" / "two", second, "a late note")
    stale = {record["id"]: record for record in log_index.gather(root)}
    assert stale[second]["notes"][0]["text"] == "a late note"
    _path(root / "s" / "two", second).unlink()
    assert log_index.gather(root) == known


def test_an_index_that_cannot_be_written_is_not_needed(tmp_path: Path) -> None:
    training(tmp_path, "a")
    (tmp_path / log_index.INDEX).mkdir()
    assert len(log_index.gather(tmp_path)) == 1


def test_records_are_chosen_and_sorted_by_any_setting(tmp_path: Path) -> None:
    for number, rate in enumerate((0.1, 0.01, 0.001)):
        training(tmp_path, f"cnn-{number}", rate=rate, auc=0.6 + 0.1 * number)
    training(tmp_path, "mpnn-0", model="mpnn", auc=0.95)
    training(tmp_path, "energy", model="e_is", auc=0.65)
    records = log_index.gather(tmp_path)

    def names(*conditions: str) -> list[str]:
        return [record["name"] for record in log_index.select(records, conditions)]

    assert names("model=cnn") == ["cnn-0", "cnn-1", "cnn-2"]
    assert names("model=CNN", "learning_rate<0.05") == ["cnn-1", "cnn-2"]
    assert names("train.learning_rate>=0.01", "model=cnn") == ["cnn-0", "cnn-1"]
    assert names("best_test_auc>0.75", "name~pnn") == ["mpnn-0"]
    assert names("network.kind~n") == ["cnn-0", "cnn-1", "cnn-2", "mpnn-0"]
    assert names("model!=cnn") == ["mpnn-0", "energy"]
    by_auc = log_index.sort(records, "best_test_auc")
    assert [record["name"] for record in by_auc] == ["mpnn-0", "cnn-2", "cnn-1", "energy", "cnn-0"]
    by_rate = log_index.sort(records, "learning_rate", descending=False)
    assert [record["name"] for record in by_rate][:2] == ["cnn-2", "cnn-1"]
    assert by_rate[-1]["name"] == "energy"
    with pytest.raises(ValueError, match="no record has a 'learning_rat'; did you mean learning_rate"):
        log_index.select(records, ["learning_rat=1"])
    with pytest.raises(ValueError, match="a condition is a name"):
        log_index.select(records, ["cnn"])
    energies = {record["name"]: log_index.score(record, "energy", "test", "auc") for record in records}
    assert energies["cnn-0"] is not None
    assert energies["cnn-0"]["value"] == 0.65
    assert energies["energy"] is None
    rows = log_index.differing(records[:2])
    assert rows == {"train.learning_rate": [0.1, 0.01]}


def test_a_note_is_edited_in_place_and_the_file_keeps_both(tmp_path: Path) -> None:
    identifier = training(tmp_path, "a")
    log.note(tmp_path, identifier, "first")
    log.note(tmp_path, identifier, "second")
    log.note(tmp_path, identifier, "first, better", replaces=0)
    path = _path(tmp_path, identifier)
    assert [note["text"] for note in log.read(path)["notes"]] == ["first, better", "second"]
    assert '"first"' in path.read_text()
    with pytest.raises(ValueError, match="must say something"):
        log.note(tmp_path, identifier, "  ")
    with pytest.raises(ValueError, match="replaces must be the number of a note, below 2; got 2"):
        log.note(tmp_path, identifier, "x", replaces=2)


def test_a_thousand_runs_are_listed_quickly(tmp_path: Path) -> None:
    folder = tmp_path / log.FOLDER
    training(tmp_path, "first")
    (text,) = [path.read_text() for path in folder.glob("*.jsonl")]
    for number in range(1000):
        (folder / f"{number:010x}.jsonl").write_text(text)
    log_index.gather(tmp_path)
    began = time.process_time()
    assert len(log_index.gather(tmp_path)) == 1001
    assert time.process_time() - began < 1


def test_the_commands_list_compare_note_and_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    one = training(tmp_path, "cnn-slow", rate=0.001)
    two = training(tmp_path, "mpnn-fast", model="mpnn", rate=0.1, auc=0.9)
    root = str(tmp_path)
    listed = json.loads(_said(["log", root, "--where", "model=mpnn", "--json"], capsys))
    assert [record["id"] for record in listed] == [two]
    best = json.loads(_said(["log", root, "--sort", "best_test_auc", "--limit", "1", "--json"], capsys))
    assert [record["id"] for record in best] == [two]
    assert "0.900" in _said(["log", root, "--kind", "train"], capsys)
    said = _said(["log", "compare", one[:6], two, "--root", root], capsys)
    assert "train.learning_rate" in said
    assert "n_train" not in said
    _said(["log", "note", one, "[bold]Wow![/bold] <b>100%</b>", "--root", root], capsys)
    assert "[bold]Wow![/bold] <b>100%</b>" in _said(["log", "show", one, "--root", root], capsys)
    assert "(1 note)" in _said(["log", root, "--limit", "0"], capsys)
    for words, message in (
        (["log", "show", "zz", "--root", root], "there is no record 'zz' among 2"),
        (["log", "compare", one, "--root", root], "needs two records or more; got 1"),
        (["log", str(tmp_path / "absent")], "absent: No such folder"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 1
        assert message in capsys.readouterr().err


def _silent(_stage: str, _done: float, _total: float) -> None:
    pass


def test_a_study_logs_every_simulation_training_and_analysis(tmp_path: Path) -> None:
    chosen = from_toml(TINY)
    less = {"inputs": ("inherent",), "k": (1, 14), "control": (), "null": False, "baselines": ("e_is",)}
    fewer = chosen.model_copy(
        update={"classify": chosen.classify.model_copy(update=less), "models": chosen.models[:1]},
    )
    results = study.run(fewer, tmp_path, n_workers=1, progress=_silent)
    records = log_index.gather(tmp_path)
    assert [record["kind"] for record in records].count("train") == 4
    assert {record["status"] for record in records} == {"done"}
    (simulated,) = log_index.select(records, ["kind=simulate"])
    assert simulated["settings"]["n_runs"] == 16
    assert simulated["results"]["n_records"] == 320
    for row in results["classification"]:
        if row["train_k"] != row["test_k"]:
            (record,) = log_index.select(records, [f"model={row['model']}", "train_k=1", "kind=train"])
            assert [one["test"]["auc"] for one in record["transfer"] if one["k"] == row["test_k"]] == [row["auc"]]
            continue
        name = [f"model={row['model']}", f"train_k={row['train_k']}", "kind=train"]
        (record,) = log_index.select(records, name)
        assert record["scores"]["best"]["test"]["auc"] == row["auc"]
        assert record["scores"]["best"]["test"]["accuracy"] == row["accuracy"]
        assert record["scores"]["final"].keys() == {"validation", "test"}
        assert (tmp_path / record["folder"] / "outcome.json").exists()
        assert all((tmp_path / figure).exists() for figure in record.get("figures", []))
    (cnn,) = log_index.select(records, ["model=cnn", "train_k=1"])
    assert cnn["settings"]["train_T"] == pytest.approx(1.9025)
    assert log_index.history(tmp_path, cnn) == json.loads((tmp_path / cnn["folder"] / "history.json").read_text())
    assert cnn["figures"]
    assert records[-1]["sentences"] == [*results["summary"], *results["conclusions"]]
    before = {path: path.read_bytes() for path in (tmp_path / log.FOLDER).glob("*.jsonl")}
    assert study.run(fewer, tmp_path, n_workers=1, progress=_silent) == results
    assert {path: path.read_bytes() for path in (tmp_path / log.FOLDER).glob("*.jsonl")} == before


def test_final_scores_are_those_of_the_last_weights() -> None:
    best, last = {"test": {"auc": 1}}, {"test": {"auc": 2}}
    assert entries.found(best, {}, last=last)["scores"] == {"best": best, "final": last}
    assert entries.found(best, {}, last=None)["scores"]["final"] == best
