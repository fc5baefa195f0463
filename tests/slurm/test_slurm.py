"""A campaign on a real Slurm on this machine; ``make test-slurm`` runs it, and nothing else does.

The Slurm is brought up by the script that VITRIFY_SLURM_LOCAL names, by default ``../shared/tools/slurm-local`` beside
the repository: ``slurm-local up`` installs and starts it, ``slurm-local down`` ends it. Both need root.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.test_study import without_timing

from vitrify import campaign, jobs, parallel, store
from vitrify.settings import Study, from_toml

pytestmark = pytest.mark.slurm

_ROOT = Path(__file__).parents[2]
_SCRIPT = Path(os.environ.get("VITRIFY_SLURM_LOCAL", _ROOT.parent / "shared" / "tools" / "slurm-local"))
_VITRIFY = [sys.executable, "-c", "from vitrify.cli import main; main()"]
_STUDY = (_ROOT / "tests" / "killed.toml").read_text()


def _said(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=600).stdout


def _vitrify(*words: str) -> str:
    done = subprocess.run([*_VITRIFY, *words], capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _is_up() -> bool:
    try:
        return any(word in _said("sinfo", "-h", "-o", "%T") for word in ("idle", "mix", "alloc"))
    except (OSError, subprocess.SubprocessError):
        return False


@pytest.fixture(scope="module", autouse=True)
def slurm() -> Iterator[None]:
    """A Slurm of one node that takes jobs."""
    was_up = _is_up()
    if not was_up:
        if not _SCRIPT.exists():
            pytest.fail(f"no Slurm can be brought up: {_SCRIPT} is not there; name a script in VITRIFY_SLURM_LOCAL")
        up = subprocess.run([_SCRIPT, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if up.returncode or not _is_up():
            pytest.fail(f"no Slurm can be brought up: {_SCRIPT} up said {up.stderr[-2000:]}")
    yield
    if not was_up:
        subprocess.run([_SCRIPT, "down"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _study(folder: Path, **changes: str) -> Path:
    """Write the small study of the interruption tests with some lines replaced."""
    text = _STUDY
    for name, line in changes.items():
        (old,) = [one for one in text.splitlines() if one.startswith(f"{name} = ")]
        text = text.replace(old, f"{name} = {line}")
    path = folder / "study.toml"
    path.write_text(text)
    return path


def _wait(out: Path, *, limit_s: float) -> dict:
    """Wait until no job of a campaign is in the queue; return its status."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = campaign.status(out)
        if not found["jobs"]["running"] and not found["jobs"]["waiting"]:
            return found
        time.sleep(2)
    raise AssertionError(f"not over in {limit_s:.0f} s: {found}\n{_said('squeue')}")


def _crash(job: str) -> None:
    """End a node as a loss of power would: its daemon, and every process of a job; then switch it on again."""
    pids = [int(line.split()[0]) for line in _said("scontrol", "listpids", job).splitlines()[1:]]
    shepherds = [int(pid) for pid in _said("pgrep", "-f", rf"^slurmstepd: \[{job}[.]").split()]
    daemon = int(Path(_said("scontrol", "show", "config").split("SlurmdPidFile")[1].split()[1]).read_text())
    for pid in (daemon, *shepherds, *pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(3)
    subprocess.run(["slurmd"], check=True)


def test_three_time_outs_and_a_lost_node_leave_the_results_of_one_run(tmp_path: Path) -> None:
    cool = "{ T_start = 2.0, T_end = 0.05, n_steps = 6_000_000, n_frames = 20 }"
    path = _study(tmp_path, cool=cool)
    _vitrify("run", str(path), "--out", str(tmp_path / "whole"))
    out = tmp_path / "campaign"
    one_job = ["--run-min", "0.001", "--training-min", "0.001"]
    _vitrify("submit", str(path), "--out", str(out), "--executor", "slurm", "--walltime", "1", "--lead", "10",
             "--cpus", str(parallel.n_cores()), *one_job)  # fmt: skip
    began, crashed = time.monotonic(), False
    name = "1-simulate-0000"
    while not crashed and campaign.status(out)["stages"]["simulate"]["done"] < 16:
        tried = jobs.attempts(out, name)
        if len(tried) > 1 and tried[-1].ended is None and time.time() > tried[-1].began + 5:
            assert tried[-1].id is not None
            _crash(tried[-1].id)
            crashed = True
        time.sleep(1)
    found = _wait(out, limit_s=1500)
    tried = jobs.attempts(out, name)
    how = [one.how for one in tried]
    print(f"\nattempts: {how}; {time.monotonic() - began:.0f} s; status: {found}")
    assert crashed
    assert found["jobs"] == {"running": 0, "waiting": 0, "done": 3, "failed": 0, "stopped": 0, "killed": 0}
    assert how.count("limit") >= 3
    assert how.count(None) == 1  # the node that was lost said nothing
    assert how[-1] == "done"
    one, two = (json.loads((tmp_path / which / "results.json").read_text()) for which in ("whole", "campaign"))
    assert without_timing(one) == without_timing(two)


def _seconds_at_work(chosen: Study, out: Path) -> float:
    """Return the seconds that the workers of a campaign were at their runs, classifiers and report."""
    runs = sum(store.seconds(out / "data", chosen.simulate, seed=chosen.seed).values())
    outcomes = [json.loads(path.read_text())["seconds"] for path in out.glob("models/*/outcome.json")]
    (report,) = jobs.attempts(out, "1-report-0000")
    assert report.ended is not None
    return runs + sum(outcomes) + report.ended - report.began


def test_of_200_runs_hardly_any_core_time_is_lost(tmp_path: Path) -> None:
    """What is allocated and not spent on runs, classifiers and report: beginning, ending, and waiting for others."""
    cool = "{ T_start = 2.0, T_end = 0.05, n_steps = 1_000_000, n_frames = 20 }"
    path, out = _study(tmp_path, cool=cool, n_runs="200"), tmp_path / "campaign"
    _vitrify("submit", str(path), "--out", str(out), "--executor", "slurm", "--walltime", "5", "--lead", "10")
    found = _wait(out, limit_s=1800)
    sent = jobs.read(out)
    ids = ",".join(dict.fromkeys(str(job.id).partition("_")[0] for job in sent.jobs))
    rows = _said("sacct", "-X", "-n", "-P", "-j", ids, "-o", "CPUTimeRAW").split()
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
