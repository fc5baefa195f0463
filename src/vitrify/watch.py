"""How far the campaign of a folder has come, and its end before its time.

What is done is read off the store, what failed and why off the last words of each job, and off its queue where a job
could say none. Nothing here needs the networks: the answer is there in the time that it takes to list the folder.
"""

__all__ = ["ENDED", "cancel", "measured", "stages", "states", "status"]

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from vitrify import log, queues, store, submitted
from vitrify.simulate import Simulate
from vitrify.submitted import Attempt, Submitted

ENDED = ("done", "failed", "stopped", "killed")
"""States that a job does not leave."""

_DEAD = (
    "BOOT_FAIL",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
)
_MEASURED = 50  # finished runs that a rate is measured on
_KNOWN_S = 60.0  # until a queue's accounting knows what was submitted


def status(out: Path) -> dict[str, Any]:
    """Return how far the campaign of a folder has come.

    Returns:
        ``stages``, by name: ``done``, ``begun`` and ``total`` runs or classifiers; ``jobs``, the number in each state;
        ``failed``, the jobs that failed or were killed and why; ``left``: ``core_h``, and ``wall_s`` at the present
        number of running jobs, ``None`` where nothing tells; ``disk_gb`` and ``free_gb``.

    Raises:
        ValueError: The folder holds no campaign.
    """
    campaign = submitted.read(out)
    found = states(campaign, out)
    done, left_s = stages(campaign, out)
    counted = {state: sum(one == state for one, _ in found.values()) for state in ("running", "waiting", *ENDED)}
    n_cores = counted["running"] * campaign.queue.cpus
    return {
        "name": campaign.study["name"],
        "executor": campaign.queue.executor,
        "stages": done,
        "jobs": counted,
        "failed": [
            {"job": job.name, "id": job.id, "why": found[job.name][1]}
            for job in campaign.jobs
            if found[job.name][0] in ("failed", "killed")
        ],
        "left": {"core_h": left_s / 3600, "wall_s": left_s / n_cores if n_cores else None},
        "disk_gb": _bytes(str(out)) / 1e9,
        "free_gb": shutil.disk_usage(out).free / 1e9,
    }


def stages(campaign: Submitted, out: Path) -> tuple[dict[str, dict[str, int]], float]:
    """Return how much of each stage is done, as in :func:`status`, and the core seconds of what is not."""
    found, left_s = {}, 0.0
    for ensemble, settings in campaign.ensembles.items():
        kept = store.unfinished(out / "data", settings, seed=campaign.seed)
        found["simulate" if ensemble == "slow" else "simulate fast"] = {
            "done": settings.n_runs - len(kept),
            "begun": sum(map(bool, kept.values())),
            "total": settings.n_runs,
        }
        each = measured(settings, out, kept, seed=campaign.seed) or _packed_run(campaign, ensemble)
        left_s += each * (len(kept) - sum(kept.values()) / settings.bath.n_frames)
    if campaign.classifiers:
        folders = [out / "models" / name for name in campaign.classifiers]
        done = [folder for folder in folders if (folder / "outcome.json").exists()]
        n_begun = sum(folder.is_dir() for folder in folders) - len(done)
        found["train"] = {"done": len(done), "begun": n_begun, "total": len(folders)}
        found["report"] = {"done": int((out / "results.json").exists()), "begun": 0, "total": 1}
        left_s += _training_left(campaign, done)
    return found, left_s


def measured(settings: Simulate, out: Path, unfinished: Mapping[int, int], *, seed: int) -> float | None:
    """Return the core seconds of a run, from the first of those that a folder holds finished; None if it has none.

    Args:
        settings: The ensemble.
        out: Folder of the study.
        unfinished: The runs that are not finished.
        seed: The study's seed.
    """
    finished = [run for run in range(settings.n_runs) if run not in unfinished][:_MEASURED]
    if not finished:
        return None
    return sum(store.seconds(out / "data", settings, seed=seed, runs=finished).values()) / len(finished)


def _packed_run(campaign: Submitted, ensemble: submitted.Ensemble) -> float:
    """Return the core seconds of a run as it was packed."""
    jobs = [job for job in campaign.jobs if job.runs.get(ensemble)]
    return fmean(job.expected_s * campaign.queue.cpus / sum(map(len, job.runs.values())) for job in jobs) if jobs else 0


def _training_left(campaign: Submitted, done: Sequence[Path]) -> float:
    """Return the core seconds of the classifiers that are not trained: as those that are, or else as packed."""
    if done:
        each = fmean(store.read_json(folder / "outcome.json")["seconds"] for folder in done)
        return each * (len(campaign.classifiers) - len(done))
    return sum(job.expected_s * campaign.queue.cpus for job in campaign.jobs if job.stage == "train")


def states(campaign: Submitted, out: Path) -> dict[str, tuple[str, str | None]]:
    """Return the state of every job, ``running``, ``waiting`` or one of `ENDED`, and the reason where there is one."""
    last = {job.name: next(reversed(submitted.attempts(out, job.name)), None) for job in campaign.jobs}
    asked = [job for job in campaign.jobs if (one := last[job.name]) is None or one.how not in ("done", "failed")]
    if campaign.queue.executor == "local":
        gone = None if _at_work(out) else "its process is gone"
        return {name: _state(one, None, gone=gone) for name, one in last.items()}
    said = queues.states(asked)
    recent = said is None or time.time() < campaign.submitted + _KNOWN_S
    unknown = {job.name: None if recent and job.id is not None else "its queue does not know it" for job in asked}
    return {name: _state(one, (said or {}).get(name), gone=unknown.get(name)) for name, one in last.items()}


def _state(last: Attempt | None, said: str | None, *, gone: str | None) -> tuple[str, str | None]:
    """Return one job's state from its own last words, and from its queue's where it had none.

    Args:
        last: Its last attempt.
        said: The queue's word, if it has one.
        gone: Why a job without a word of its own or of its queue cannot be at work, if so.
    """
    if last is not None and last.how in ("done", "failed"):
        return last.how, last.reason
    word = said.split()[0] if said else None
    why = f"its queue says {word}" if word in _DEAD else gone if word is None else None
    told = (last is None and word is None) or (last is not None and last.how == "stopped" and word != "TIMEOUT")
    if word == "CANCELLED" or (why and told):
        return "stopped", None
    if why:
        return "killed", why
    at_work = last is not None and last.ended is None if word is None else word in ("RUNNING", "COMPLETING")
    return ("running", None) if at_work else ("waiting", None if last is None else last.reason)


def cancel(out: Path) -> int:
    """End the campaign of a folder, and return how many of its jobs were not yet over.

    What they have done is kept; submitting the study again goes on with it.

    Raises:
        ValueError: The folder holds no campaign, or another machine works at it.
        RuntimeError: Slurm refused.
    """
    campaign = submitted.read(out)
    found = states(campaign, out)
    going = [job for job in campaign.jobs if found[job.name][0] not in ENDED]
    if not going:
        return 0
    if campaign.queue.executor == "slurm":
        queues.cancel(going)
        return len(going)
    host, number = str(campaign.runner).split()[:2]
    if log.process(int(number)) != campaign.runner:
        raise ValueError(f"the campaign of {out} runs on {host}, not on {socket.gethostname()}: cancel it there")
    os.kill(int(number), signal.SIGTERM)
    return len(going)


def _at_work(out: Path) -> bool:
    """Return whether some process holds the campaign of a folder."""
    try:
        with store.locked(out / "campaign", patience_s=0):
            return False
    except TimeoutError:
        return True


def _bytes(folder: str) -> int:
    """Return the bytes of a folder and of all below it; files may come and go meanwhile."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                total += _bytes(entry.path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total
