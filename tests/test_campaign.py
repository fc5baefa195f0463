import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.test_study import without_timing

from vitrify import calibrate, campaign, classify, jobs, log, parallel, queues, store, study, submitted, watch
from vitrify.calibrate import Left
from vitrify.campaign import Rates
from vitrify.settings import Study, from_toml
from vitrify.submitted import Attempt, Job, Queue, Submitted

KILLED = Path(__file__).parent / "killed.toml"
TINY = from_toml(KILLED)
_VITRIFY = [sys.executable, "-c", "from vitrify.cli import main; main()"]


def _quiet(_stage: str, _done: float, _total: float) -> None:
    pass


def _study(**simulate: Any) -> Study:
    known = TINY.model_dump()
    return Study.model_validate(known | {"simulate": known["simulate"] | simulate})


@given(st.lists(st.floats(0.1, 500), max_size=60), st.floats(10, 300), st.integers(1, 5))
def test_every_item_is_in_one_job_and_a_job_within_its_room(seconds: list[float], room_s: float, n: int) -> None:
    dealt = campaign.packed(dict(enumerate(seconds)), room_s=room_s, n_workers=n)
    assert [item for items, _ in dealt for item in items] == list(range(len(seconds)))
    for items, expected_s in dealt:
        each = [seconds[item] for item in items]
        assert expected_s <= room_s or (len(items) <= n and max(each) == expected_s) or max(each) > room_s
        assert expected_s >= max(max(each), sum(each) / n - 1e-9)


def test_equal_runs_fill_their_jobs() -> None:
    dealt = campaign.packed(dict.fromkeys(range(10), 30.0), room_s=100, n_workers=2)
    assert [(items, expected_s) for items, expected_s in dealt] == [([0, 1, 2, 3, 4, 5], 90), ([6, 7, 8, 9], 60)]
    long = campaign.packed(dict.fromkeys(range(5), 300.0), room_s=100, n_workers=2)
    assert [len(items) for items, _ in long] == [2, 2, 1]  # one on each core, in several turns


def test_the_jobs_of_a_study_hold_each_of_its_parts_once() -> None:
    queue = Queue(walltime=1, lead=10, cpus=2)
    left = Left(runs={0: 5, **dict.fromkeys(range(3, 16), 0)}, trainings=tuple(classify.trainings(TINY)), report=True)
    seconds = Rates(
        runs={"slow": {run: 20.0 * (1 - k / 20) for run, k in left.runs.items()}},
        trainings={(one.folder,): 5.0 for one in left.trainings},
        report=3.0,
    )
    made = campaign.planned(TINY, left, seconds, queue, prefix="2-")
    assert [job.name for job in made] == [
        "2-simulate-0000", "2-simulate-0001", "2-simulate-0002", "2-simulate-0003", "2-train-0000", "2-report-0000"
    ]  # fmt: skip
    assert [run for job in made for run in job.runs.get("slow", ())] == list(left.runs)
    assert [folder for job in made for folder in job.trainings] == [one.folder for one in left.trainings]
    assert all(job.expected_s <= 0.9 * 50 for job in made)
    assert not any(job.gpu for job in made)


def test_only_what_computes_on_a_card_asks_for_one() -> None:
    known = TINY.model_dump()
    known["classify"]["train"]["device"] = "cuda"
    chosen = Study.model_validate(known)
    left = Left(runs={0: 0}, trainings=tuple(classify.trainings(chosen)), report=True)
    seconds = Rates(runs={"slow": {0: 1.0}}, trainings={(one.folder,): 1.0 for one in left.trainings}, report=1.0)
    made = campaign.planned(chosen, left, seconds, Queue())
    assert [(job.stage, job.gpu) for job in made] == [
        ("simulate", False), ("train", False), ("train", True), ("report", False)
    ]  # fmt: skip
    by_kind = {one.folder: one.model is not None for one in left.trainings}
    assert all(by_kind[folder] == job.gpu for job in made for folder in job.trainings)
    text = queues.scripts(made, Queue(partition="long", gpu_partition="volta", executor="slurm"), Path("out"))
    assert ["--partition=volta" in one and "--gpus-per-node=1" in one for one in text] == [False, False, True, False]
    assert [one.count("--partition=long") for one in text] == [1, 1, 0, 1]


def test_an_unfinished_run_costs_what_is_left_of_it(tmp_path: Path) -> None:
    left = Left(runs={0: 0, 1: 15}, trainings=(), report=False)
    found = campaign.rates(TINY, tmp_path, left, run_min=2, progress=_quiet)
    assert found.runs == {"slow": {0: 120.0, 1: 30.0}}


def test_a_dry_run_shows_what_would_be_sent_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vitrify import cli

    words = ["submit", str(KILLED), "--out", str(tmp_path / "o"), "--executor", "slurm", "--walltime", "3",
             "--workers", "2", "--mem-gb", "4", "--partition", "short", "--sbatch", "account=glass", "--setup",
             "module load python", "--run-min", "0.5", "--training-min", "1", "--lead", "30", "--dry-run"]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    assert not (tmp_path / "o").exists()
    said = capsys.readouterr().out
    assert "killed: 4 jobs of at most 3 min" in said
    simulate, train, report = said[said.index("#!/bin/bash") :].split("#!/bin/bash")[1:]
    for line in ("--array=0-1%2", "--time=3", "--signal=USR2@30", "--mem=4GB", "--account=glass", "--requeue",
                 "--cpus-per-task=2", "--partition=short"):  # fmt: skip
        assert f"#SBATCH {line}\n" in simulate
    assert "module load python" in simulate
    assert "dependency" not in simulate
    assert "#SBATCH --dependency='afterany:<simulate>'" in train
    assert "#SBATCH --dependency='afterany:<train>'" in report
    assert "wckey" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"walltime": 1, "lead": 60}, "lead must be below the walltime, 60 s; got 60 s"),
        ({"walltime": 1.5, "lead": 5, "executor": "slurm"}, "walltime must be whole minutes on Slurm; got 1.5"),
        ({"sbatch": ["account"]}, "sbatch must be words KEY=VALUE, for example account=glass; got 'account'"),
        ({"max_retries": -1}, "greater than or equal to 0"),
    ],
)
def test_a_queue_that_cannot_be_is_refused(words: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Queue.model_validate(words)


def _campaign(out: Path, made: list[Job], chosen: Study = TINY, **words: Any) -> Submitted:
    sent = Submitted(
        study=chosen.model_dump(mode="json"),
        seed=chosen.seed,
        ensembles={"slow": chosen.simulate},
        classifiers=tuple(one.folder for one in classify.trainings(chosen)),
        queue=Queue(lead=1, **words),
        jobs=tuple(made),
        submitted=0,
    )
    store.begin(out / "data")
    with store.locked(out / "campaign"):
        submitted.write(out, sent)
    return sent


def _tried(out: Path, name: str, *given: dict) -> None:
    whole = [Attempt(**({"began": 1.0, "mark": "0", "host": "here"} | one)).model_dump(mode="json") for one in given]
    store.write_json(out / "campaign" / f"{name}.json", whole)


_FOUR_RUNS = Job(name="1-simulate-0000", stage="simulate", runs={"slow": (0, 1, 2, 3)})


def _working(out: Path, name: str = _FOUR_RUNS.name) -> subprocess.Popen:
    with parallel.shielded():
        return subprocess.Popen([sys.executable, "-m", "vitrify.jobs", str(out), name], stdin=subprocess.PIPE)


@pytest.mark.parametrize(
    ("number", "code", "how"),
    [
        (signal.SIGUSR2, os.EX_TEMPFAIL, "limit"),
        pytest.param(signal.SIGTERM, 1, "stopped", marks=pytest.mark.slow),
    ],
)
def test_a_job_that_is_told_to_stop_goes_on_to_the_same_records(
    number: int, code: int, how: str, tmp_path: Path
) -> None:
    """Told so by what a queue sends ahead of its limit, and by what it sends to end a job."""
    chosen = _study(cool={"T_start": 2.0, "T_end": 0.05, "n_steps": 120_000, "n_frames": 240})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    sent = _campaign(parts, [_FOUR_RUNS], chosen)
    deadline = time.monotonic() + 60
    with _working(parts) as process:
        while int(jobs.mark(sent, parts, _FOUR_RUNS)) == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == code
    assert 0 < int(jobs.mark(sent, parts, _FOUR_RUNS)) < 4 * 240
    jobs.work(parts, _FOUR_RUNS.name)
    tried = submitted.attempts(parts, _FOUR_RUNS.name)
    assert [one.how for one in tried] == [how, "done"]
    study.simulate(chosen, whole, runs=range(4), n_workers=1, progress=_quiet)
    (logged,) = [log.read(path) for path in (parts / log.FOLDER).glob("*.jsonl")]
    assert (logged["status"], logged["attempts"], logged["results"]["n_records"]) == ("done", 2, 960)
    four = chosen.simulate.model_copy(update={"n_runs": 4})
    one, two = (store.load(out / "data", four, seed=chosen.seed, k=(1, 240)) for out in (whole, parts))
    assert (one.thermal == two.thermal).all()
    assert (one.inherent == two.inherent).all()
    assert (one.e_is_unshifted == two.e_is_unshifted).all()


@pytest.mark.slow
def test_two_jobs_at_once_write_a_record_each_into_one_log(tmp_path: Path) -> None:
    made = [Job(name=f"1-simulate-{i}", stage="simulate", runs={"slow": (2 * i, 2 * i + 1)}) for i in range(2)]
    _campaign(tmp_path, made)
    at_work = [_working(tmp_path, job.name) for job in made]
    for process in at_work:
        with process:
            assert process.wait(60) == 0
    logged = [log.read(path) for path in (tmp_path / log.FOLDER).glob("*.jsonl")]
    assert sorted(entry["settings"]["runs"] for entry in logged) == [[0, 1], [2, 3]]
    assert [(entry["status"], entry["n_damaged"], entry["results"]["n_records"]) for entry in logged] == [
        ("done", 0, 40), ("done", 0, 40)
    ]  # fmt: skip


@pytest.mark.slow
def test_a_job_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    chosen = _study(cool={"T_start": 2.0, "T_end": 0.05, "n_steps": 4_000_000, "n_frames": 400})
    _campaign(tmp_path, [_FOUR_RUNS], chosen)
    with _working(tmp_path) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 1
    assert [one.how for one in submitted.attempts(tmp_path, _FOUR_RUNS.name)] == ["stopped"]


def _failing(error: Exception) -> Any:
    def simulate(*_: Any, **__: Any) -> None:
        raise error

    return simulate


def test_a_failure_is_tried_again_so_often_and_its_reason_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = _campaign(tmp_path, [_FOUR_RUNS], max_retries=2)
    monkeypatch.setattr(study, "simulate", _failing(OSError("the disk is full")))
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            jobs.work(tmp_path, _FOUR_RUNS.name)
        assert ended.value.code == os.EX_TEMPFAIL
    with pytest.raises(OSError, match="the disk is full"):
        jobs.work(tmp_path, _FOUR_RUNS.name)
    with pytest.raises(SystemExit) as ended:  # a queue that begins it once more is told at once
        jobs.work(tmp_path, _FOUR_RUNS.name)
    assert ended.value.code == 1
    tried = submitted.attempts(tmp_path, _FOUR_RUNS.name)
    assert [one.how for one in tried] == ["retry", "retry", "failed"]
    assert {one.reason for one in tried} == {"OSError: the disk is full"}
    (failed,) = watch.status(tmp_path)["failed"]
    assert failed == {"job": sent.jobs[0].name, "id": None, "why": "OSError: the disk is full"}


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _campaign(tmp_path, [_FOUR_RUNS])
    monkeypatch.setattr(study, "simulate", _failing(store.DamagedFileError("restart.npy is damaged: delete it")))
    with pytest.raises(store.DamagedFileError):
        jobs.work(tmp_path, _FOUR_RUNS.name)
    assert [one.how for one in submitted.attempts(tmp_path, _FOUR_RUNS.name)] == ["failed"]


def test_attempts_that_bring_something_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job killed without a word, or at its limit, again and again: only barren attempts use the retries up."""
    _campaign(tmp_path, [_FOUR_RUNS], max_retries=1)
    monkeypatch.setattr(jobs, "mark", lambda *_: "80")
    monkeypatch.setattr(study, "simulate", lambda *_, **__: {})
    _tried(tmp_path, _FOUR_RUNS.name, *({"mark": str(n)} for n in (0, 20, 40, 60, 80)))
    jobs.work(tmp_path, _FOUR_RUNS.name)
    assert submitted.attempts(tmp_path, _FOUR_RUNS.name)[-1].how == "done"
    _tried(tmp_path, _FOUR_RUNS.name, *({"mark": str(n)} for n in (60, 80, 80)))
    with pytest.raises(SystemExit):
        jobs.work(tmp_path, _FOUR_RUNS.name)
    last = submitted.attempts(tmp_path, _FOUR_RUNS.name)[-1]
    assert last.how == "failed"
    assert (
        last.reason
        == "2 attempts in a row brought nothing; the last: it was killed on here, perhaps for want of memory"
    )


def test_a_later_stage_refuses_to_do_the_work_of_an_earlier_one(tmp_path: Path) -> None:
    folders = tuple(one.folder for one in classify.trainings(TINY))
    later = [Job(name="1-train-0000", stage="train", trainings=folders), Job(name="1-report-0000", stage="report")]
    _campaign(tmp_path, later)
    for job in later:
        with pytest.raises(ValueError, match="16 runs are not finished, run 0 first"):
            jobs.work(tmp_path, job.name)


def test_the_words_of_a_queue_and_of_a_job_make_its_state() -> None:
    def state(how: Any, said: str | None, *, ended: float | None = 2.0) -> str:
        last = Attempt(began=1, mark="0", host="here", how=how, ended=ended)
        return watch._state(last, said, gone=None)[0]

    assert state("done", "RUNNING") == "done"
    assert state("stopped", "PENDING") == "waiting"  # it was preempted
    assert state("stopped", "FAILED") == "stopped"
    assert state("limit", "RUNNING") == "running"  # its next attempt is about to begin
    assert state(None, "RUNNING", ended=None) == "running"
    assert state("limit", "PENDING") == state("retry", "REQUEUED") == "waiting"
    assert state(None, "CANCELLED by 1000", ended=None) == "stopped"
    assert state(None, "OUT_OF_MEMORY", ended=None) == state("limit", "TIMEOUT") == "killed"
    assert state(None, "PENDING", ended=None) == "waiting"  # its node was lost, and its queue begins it again
    assert watch._state(None, "PENDING", gone=None) == ("waiting", None)
    assert watch._state(None, "OUT_OF_MEMORY", gone=None) == ("killed", "its queue says OUT_OF_MEMORY")
    assert watch._state(None, None, gone="its process is gone") == ("stopped", None)


def test_ten_thousand_runs_are_listed_in_two_seconds(tmp_path: Path) -> None:
    """By the command, beginning included; of processor time, for others may be at work here."""
    chosen = _study(n_runs=10_000)
    for run, name in store._names(chosen.simulate, seed=chosen.seed, runs=range(8_000)):
        folder = tmp_path / "data" / "workspace" / name
        folder.mkdir(parents=True)
        if run < 7_000:
            (folder / "energies.h5").touch()
        if run < 50:
            document = {"simulate_s": 30.0, "minimise_s": 6.0}
            (folder / "signac_job_document.json").write_text(json.dumps(document))
    made = [
        Job(name=f"1-simulate-{i:04d}", stage="simulate", runs={"slow": tuple(range(20 * i, 20 * i + 20))})
        for i in range(500)
    ]
    _campaign(tmp_path, made, chosen)
    for i in range(350):
        _tried(tmp_path, made[i].name, {"how": "done", "ended": 2.0})
    spent_s = []
    while len(spent_s) < 3 and min(spent_s, default=9) > 2:  # the first call may meet cold files, or a busy machine
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run([*_VITRIFY, "status", str(tmp_path), "--json"], check=True, capture_output=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent_s) < 2
    found = json.loads(said)
    assert found["stages"]["simulate"] == {"done": 7_000, "begun": 0, "total": 10_000}
    assert found["jobs"] == {"running": 0, "waiting": 0, "done": 350, "failed": 0, "stopped": 150, "killed": 0}
    assert found["left"]["core_h"] == pytest.approx(3_000 * 36 / 3600)  # nothing else was packed
    assert found["left"]["wall_s"] is None


@pytest.mark.slow
def test_a_campaign_here_can_be_watched_and_ended_and_submitted_again(tmp_path: Path) -> None:
    slow = KILLED.read_text().replace("n_steps = 4_000,", "n_steps = 2_000_000,")
    (tmp_path / "slow.toml").write_text(slow)
    out = tmp_path / "o"
    words = ["submit", str(tmp_path / "slow.toml"), "--out", str(out), "--run-min", "1", "--training-min", "1"]
    process = subprocess.Popen([*_VITRIFY, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(out.glob("campaign/1-*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert watch.status(out)["jobs"]["running"] == 1
    with pytest.raises(TimeoutError, match="in use by another process"):
        campaign.submit(from_toml(tmp_path / "slow.toml"), out, Queue(), progress=_quiet)
    assert watch.cancel(out) == 3
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert watch.status(out)["jobs"]["stopped"] == 3
    assert watch.cancel(out) == 0


class _Clock:
    """Says that the walltime is nearly over as soon as a job of the campaign has kept a record."""

    def __init__(self, out: Path, ahead_s: float) -> None:
        self._out, self._ahead_s, self._over = out, ahead_s, False

    def monotonic(self) -> float:
        if not self._over:
            sent = submitted.read(self._out)
            self._over = any(jobs.mark(sent, self._out, job) != "0" for job in sent.jobs if job.stage == "simulate")
        return time.monotonic() + self._ahead_s * self._over

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.mark.slow
def test_done_as_jobs_and_through_a_time_out_a_study_has_the_results_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = TINY.model_dump()
    known["simulate"]["cool"]["n_steps"] = 100_000
    chosen = Study.model_validate(known)
    whole = study.run(chosen, tmp_path / "whole", n_workers=2, progress=_quiet)
    queue = Queue(walltime=60, lead=300, cpus=1)
    out = tmp_path / "jobs"
    monkeypatch.setattr(queues, "time", _Clock(out, ahead_s=60 * 60 - 290))
    sent, _ = campaign.submit(chosen, out, queue, run_min=5, training_min=5, progress=_quiet)
    found = watch.status(out)
    assert found["jobs"]["done"] == len(sent.jobs) > 3
    assert [one.how for one in submitted.attempts(out, sent.jobs[0].name)] == ["limit", "done"]
    assert without_timing(store.read_json(out / "results.json")) == without_timing(whole)
    names = [
        [log.read(path)["name"] for path in (each / log.FOLDER).glob("*.jsonl")] for each in (tmp_path / "whole", out)
    ]
    trained = [{name for name in kept if name.startswith("inherent-")} for kept in names]
    assert trained[0] == trained[1] == {one.folder for one in classify.trainings(chosen)}
    with pytest.raises(ValueError, match="nothing is left to submit"):
        campaign.submit(chosen, out, queue, progress=_quiet)


def test_a_folder_without_a_campaign_says_so(tmp_path: Path) -> None:
    for asked in (watch.status, watch.cancel):
        with pytest.raises(ValueError, match=r"holds no campaign\.json: submit a study there first"):
            asked(tmp_path)
    assert calibrate.left(TINY, tmp_path).report
    assert not list(tmp_path.iterdir())
