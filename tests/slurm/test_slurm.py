"""Campaigns on a real Slurm on this machine; ``make test-slurm`` runs them, and nothing else does."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.slurm import one_node
from tests.test_study import without_timing

from vitrify import log, parallel, store, submitted, watch
from vitrify.settings import Study, from_toml

pytestmark = pytest.mark.slurm

_ROOT = Path(__file__).parents[2]
_VITRIFY = [sys.executable, "-c", "from vitrify.cli import main; main()"]
_STUDY = (_ROOT / "tests" / "killed.toml").read_text()


@pytest.fixture(scope="module", autouse=True)
def slurm() -> Iterator[one_node.Slurm]:
    """A Slurm that the clients of this process find."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        try:
            up = held.enter_context(one_node.running(folder))
        except RuntimeError as error:
            pytest.fail(f"no Slurm can be brought up: {error}")
        held.enter_context(pytest.MonkeyPatch.context()).setenv("SLURM_CONF", up.environ["SLURM_CONF"])
        yield up


def _vitrify(*words: str) -> str:
    done = subprocess.run([*_VITRIFY, *words], capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _study(folder: Path, **changes: str) -> Path:
    """Write the small study of the interruption tests with some lines replaced."""
    text = _STUDY
    for name, line in changes.items():
        (old,) = [one for one in text.splitlines() if one.startswith(f"{name} = ")]
        text = text.replace(old, f"{name} = {line}")
    path = folder / "study.toml"
    path.write_text(text)
    return path


def _cooling(folder: Path, *, run_s: float) -> str:
    """Return a cooling that takes a core of this machine so many seconds, whatever else it has to do."""
    n_steps, n_frames = 200_000, 20
    trial = f"{{ T_start = 2.0, T_end = 0.05, n_steps = {n_steps}, n_frames = {n_frames} }}"
    path = _study(folder, cool=trial)
    _vitrify("simulate", str(path), "--out", str(folder / "trial"), "--workers", str(parallel.n_cores()))
    chosen = from_toml(path)
    settings = chosen.simulate
    took_s = sum(store.seconds(folder / "trial" / "data", settings, seed=chosen.seed).values())
    whole = 20 * n_frames  # a record is a whole number of thermostat steps
    n_steps_asked = whole * round(n_steps * run_s / (took_s / settings.n_runs) / whole)
    return trial.replace(str(n_steps), str(n_steps_asked))


def _wait(out: Path, *, limit_s: float) -> dict:
    """Wait until no job of a campaign is in the queue; return its status."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = watch.status(out)
        if not found["jobs"]["running"] and not found["jobs"]["waiting"]:
            return found
        time.sleep(2)
    raise AssertionError(f"not over in {limit_s:.0f} s: {found}")


def test_three_time_outs_and_a_lost_node_leave_the_results_of_one_run(tmp_path: Path, slurm: one_node.Slurm) -> None:
    path = _study(tmp_path, cool=_cooling(tmp_path, run_s=25))  # 16 runs on two workers, in turns of less than a minute
    _vitrify("run", str(path), "--out", str(tmp_path / "whole"))
    out = tmp_path / "campaign"
    one_job = ["--run-min", "0.001", "--training-min", "0.001"]
    _vitrify("submit", str(path), "--out", str(out), "--executor", "slurm", "--walltime", "1", "--lead", "10",
             "--workers", "2", *one_job)  # fmt: skip
    began, crashed = time.monotonic(), False
    name = "1-simulate-0000"
    while not crashed and watch.status(out)["stages"]["simulate"]["done"] < 16:
        tried = submitted.attempts(out, name)
        if len(tried) > 1 and tried[-1].ended is None and time.time() > tried[-1].began + 5:
            assert tried[-1].id is not None
            slurm.crash(tried[-1].id)
            time.sleep(3)
            slurm.switch_on()
            crashed = True
        time.sleep(1)
    found = _wait(out, limit_s=1500)
    tried = submitted.attempts(out, name)
    how = [one.how for one in tried]
    print(f"\nattempts: {how}; {time.monotonic() - began:.0f} s; status: {found}")
    assert crashed
    assert found["jobs"] == {"running": 0, "waiting": 0, "done": 3, "failed": 0, "stopped": 0, "killed": 0}
    assert how.count("limit") >= 3
    assert how.count(None) == 1  # the node that was lost said nothing
    assert how[-1] == "done"
    one, two = (json.loads((tmp_path / which / "results.json").read_text()) for which in ("whole", "campaign"))
    assert without_timing(one) == without_timing(two)
    logged = [log.read(path) for path in sorted((out / log.FOLDER).glob("*.jsonl"))]
    assert {entry["kind"] for entry in logged} == {"simulate", "train", "analyse"}
    assert {entry["status"] for entry in logged} == {"done"}
    assert max(entry["attempts"] for entry in logged if entry["kind"] == "simulate") > 3
    assert sum(entry["n_damaged"] for entry in logged) == 0


def _seconds_at_work(chosen: Study, out: Path) -> float:
    """Return the seconds that the workers of a campaign were at their runs, classifiers and report."""
    runs = sum(store.seconds(out / "data", chosen.simulate, seed=chosen.seed).values())
    outcomes = [json.loads(path.read_text())["seconds"] for path in out.glob("models/*/outcome.json")]
    (report,) = submitted.attempts(out, "1-report-0000")
    assert report.ended is not None
    return runs + sum(outcomes) + report.ended - report.began


def test_of_200_runs_hardly_any_core_time_is_lost(tmp_path: Path, slurm: one_node.Slurm) -> None:
    """What is allocated and not spent on runs, classifiers and report: beginning, ending, and waiting for others."""
    path, out = _study(tmp_path, cool=_cooling(tmp_path, run_s=8), n_runs="200"), tmp_path / "campaign"
    _vitrify("submit", str(path), "--out", str(out), "--executor", "slurm", "--walltime", "10", "--lead", "10")
    found = _wait(out, limit_s=3600)
    sent = submitted.read(out)
    ids = ",".join(dict.fromkeys(str(job.id).partition("_")[0] for job in sent.jobs))
    rows = slurm.said("sacct", "-X", "-n", "-P", "-j", ids, "-o", "CPUTimeRAW").split()
    allocated, at_work = sum(map(int, rows)), _seconds_at_work(from_toml(path), out)
    lost = 1 - at_work / allocated
    print(f"\n{len(sent.jobs)} jobs: {allocated} core seconds allocated, {at_work:.0f} at work: {lost:.1%} lost")
    assert found["jobs"]["done"] == len(sent.jobs) == len(rows)
    assert sum(len(job.runs.get("slow", ())) for job in sent.jobs) == 200
    assert lost < 0.05


def test_cancelled_and_submitted_again_it_goes_on(tmp_path: Path) -> None:
    path, out = _study(tmp_path, n_runs="64"), tmp_path / "campaign"
    words = ["submit", str(path), "--out", str(out), "--executor", "slurm", "--walltime", "2", "--lead", "10"]
    _vitrify(*words, "--run-min", "0.2", "--training-min", "0.1")
    again = subprocess.run([*_VITRIFY, *words], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "jobs of this folder are in the queue" in again.stderr
    _vitrify("cancel", str(out))
    found = _wait(out, limit_s=120)
    assert found["jobs"]["stopped"] > 0
    assert found["jobs"]["failed"] == found["jobs"]["killed"] == 0
    _vitrify(*words, "--run-min", "0.02", "--training-min", "0.1")
    assert _wait(out, limit_s=600)["stages"]["report"]["done"] == 1
