"""A study as jobs under a walltime: what they are, how they are sent, and how far they have come.

The seconds of a run and of a training come from what is finished already, or from the ten seconds' calibration of
:mod:`vitrify.plan`; :func:`packed` deals them into jobs. Nothing depends on these numbers but how long jobs are: one
that is dealt too much reaches its limit and goes on in its next turn.
"""

__all__ = ["Rates", "cancel", "packed", "planned", "rates", "status", "submit"]

import contextlib
import heapq
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from vitrify import calibrate, cuda, jobs, parallel, plan, queues, store
from vitrify.calibrate import Left
from vitrify.classify import Training, trainings
from vitrify.jobs import Attempt, Job, Queue, Submitted
from vitrify.settings import Study
from vitrify.simulate import Simulate

Item = TypeVar("Item")
Progress = Callable[[str, float, float], None]

_FILLED = 0.9  # of a walltime that is dealt out: a job needs seconds to begin, and rates are estimates
_MEASURED = 50  # finished runs that a rate is measured on
_ENDED = ("done", "failed", "stopped", "killed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Core seconds of what is left of a study.

    Args:
        runs: Of every run that is not finished, by ensemble.
        trainings: Of every unit of classifiers that is trained together: networks one by one, a baseline with all its
            pairs of records.
        report: Of scores, figures and page.
    """

    runs: Mapping[jobs.Ensemble, Mapping[int, float]]
    trainings: Mapping[tuple[str, ...], float]
    report: float


def packed(seconds: Mapping[Item, float], *, room_s: float, n_workers: int) -> list[tuple[list[Item], float]]:
    """Return items dealt into jobs, each with the seconds it should take; every item is in one job.

    A job hands its items to the first of its workers that is free. One that is longer than the room is begun all the
    same, one on each worker: it will need several turns.

    Args:
        seconds: Of each item, in the order they are dealt.
        room_s: Seconds of a job.
        n_workers: Workers of a job.
    """
    found: list[tuple[list[Item], list[float]]] = []
    for item, needed in seconds.items():
        if not found or (found[-1][1][0] > 0 and found[-1][1][0] + needed > room_s):
            found.append(([], [0.0] * n_workers))
        items, free = found[-1]
        items.append(item)
        heapq.heapreplace(free, free[0] + needed)
    return [(items, max(free)) for items, free in found]


def rates(
    study: Study,
    out: Path,
    left: Left,
    *,
    run_min: float | None = None,
    training_min: float | None = None,
    progress: Progress,
) -> Rates:
    """Return the seconds of what is left: as given, as measured on finished runs, or as calibrated here and now.

    Args:
        study: The investigation.
        out: Folder of the results.
        left: What it does not hold.
        run_min: Minutes of a core, or of the card, for one run.
        training_min: Minutes of a core for one network.
        progress: Told the parts of the calibration done.

    Raises:
        ValueError: Runs are for a card, none is here, and nothing else tells their rate.
    """
    slow = None if run_min is None else 60 * run_min
    each: dict[jobs.Ensemble, float | None] = {"slow": slow or _measured(study, study.simulate, out, left.runs)}
    if study.fast is not None:
        each["fast"] = slow or _measured(study, study.fast, out, left.fast)
    kept: dict[jobs.Ensemble, Mapping[int, int]] = {"slow": left.runs, "fast": left.fast}
    unknown = any(kept[name] and each[name] is None for name in each)
    if unknown and study.simulate.device == "cuda" and not cuda.available():
        raise ValueError("no GPU is at hand to measure the rate of a run on: give it with --run-min MINUTES")
    estimated = _Estimated(study, out, left if unknown else Left(runs={}, trainings=left.trainings, report=left.report))
    if unknown or (left.trainings and training_min is None):
        estimated.calibrate(progress)
    runs = {}
    for name, one in each.items():
        settings = study.simulate if name == "slow" else study.fast
        assert settings is not None
        n = settings.bath.n_frames
        runs[name] = {
            run: estimated.run(name, k) if one is None else one * (1 - k / n) for run, k in kept[name].items()
        }
    given = None if training_min is None else 60 * training_min
    return Rates(
        runs=runs,
        trainings={
            tuple(one.folder for one in unit): given or estimated.training(unit) for unit in _units(left.trainings)
        },
        report=estimated.report() if left.report and estimated.calibrations else 0.0,
    )


class _Estimated:
    """The plan's seconds of one part at a time."""

    def __init__(self, study: Study, out: Path, left: Left) -> None:
        self._study, self._out, self._left = study, out, left
        self.calibrations: Sequence[calibrate.Calibration] = ()
        self._runs: dict[tuple[str, int], float] = {}

    def calibrate(self, progress: Progress) -> None:
        self.calibrations = calibrate.calibrate(self._study, self._left, self._out, n_workers=1, progress=progress)

    def run(self, name: str, kept: int) -> float:
        if (name, kept) not in self._runs:
            one = {0: kept}
            part = Left(
                runs=one if name == "slow" else {}, fast=one if name == "fast" else {}, trainings=(), report=False
            )
            self._runs[name, kept] = self._seconds(part, "cooling", "minimising", "writing")
        return self._runs[name, kept]

    def training(self, unit: Sequence[Training]) -> float:
        return self._seconds(Left(runs={}, trainings=tuple(unit), report=False), "learning")

    def report(self) -> float:
        return self._seconds(Left(runs={}, trainings=(), report=True), "report")

    def _seconds(self, part: Left, *stages: str) -> float:
        estimate = plan.estimate(
            self._study, self.calibrations, part, n_workers=1, free_bytes=0, has_card=cuda.available()
        )
        found = [estimate.stages[name] for name in stages]
        return 3600 * sum(stage.core_h.value for stage in found if stage is not None)


def _measured(study: Study, settings: Simulate, out: Path, unfinished: Mapping[int, int]) -> float | None:
    """Return the seconds of a run, from the first of the finished ones; None if there are none."""
    finished = [run for run in range(settings.n_runs) if run not in unfinished][:_MEASURED]
    if not finished:
        return None
    return sum(store.seconds(out / "data", settings, seed=study.seed, runs=finished).values()) / len(finished)


def _units(given: Sequence[Training]) -> Iterator[list[Training]]:
    """Yield what is trained together: a baseline's features are computed once for all its pairs."""
    baselines: dict[tuple[str, str], list[Training]] = {}
    for one in given:
        if one.model is None:
            baselines.setdefault((one.input, one.name), []).append(one)
        else:
            yield [one]
    yield from baselines.values()


def planned(
    study: Study, left: Left, seconds: Rates, queue: Queue, *, analyses: Sequence[str] = (), prefix: str = ""
) -> list[Job]:
    """Return the jobs of what is left of a study.

    Args:
        study: The investigation.
        left: What its folder does not hold.
        seconds: Of each part of it.
        queue: How it is submitted.
        analyses: To make at the end.
        prefix: Begins the name of every job.
    """
    room_s = _FILLED * (60 * queue.walltime - queue.lead)
    found: list[Job] = []

    def add(stage: str, expected_s: float, **words: Any) -> None:
        number = sum(job.stage == stage for job in found)
        named = {"name": f"{prefix}{stage}-{number:04d}", "stage": stage, "expected_s": expected_s}
        found.append(Job.model_validate(named | words))

    on_card = study.simulate.device == "cuda"
    units = {(name, run): needed for name, runs in seconds.runs.items() for run, needed in runs.items()}
    for items, expected_s in packed(units, room_s=room_s, n_workers=1 if on_card else queue.cpus):
        runs = {name: tuple(run for other, run in items if other == name) for name in dict(items)}
        add("simulate", expected_s, runs=runs, gpu=on_card)
    networks = {one.folder for one in left.trainings if one.model is not None}
    for gpu in (False, True):
        alike = {
            unit: needed
            for unit, needed in seconds.trainings.items()
            if (unit[0] in networks and study.classify.train.device == "cuda") == gpu
        }
        for dealt, expected_s in packed(alike, room_s=room_s, n_workers=1 if gpu else queue.cpus):
            add("train", expected_s, trainings=tuple(folder for unit in dealt for folder in unit), gpu=gpu)
    if left.report or analyses:
        add("report", seconds.report, analyses=tuple(analyses))
    return found


def submit(
    study: Study,
    out: Path,
    queue: Queue,
    *,
    analyses: Sequence[str] = (),
    run_min: float | None = None,
    training_min: float | None = None,
    dry_run: bool = False,
    progress: Progress,
) -> tuple[Submitted, list[str]]:
    """Submit what is left of a study, and return the campaign and the text of its sbatch files.

    A local campaign is run before this returns; one on Slurm is then in its queue.

    Args:
        study: The investigation.
        out: Folder of the results, on a disk that the nodes see too.
        queue: How it is submitted.
        analyses: To make at the end.
        run_min: Minutes of a core for one run; measured by default.
        training_min: Minutes of a core for one network; measured by default.
        dry_run: Submit nothing and write nothing.
        progress: Told the stage and how far it is.

    Raises:
        ValueError: A campaign of this folder is in the queue or at work, or nothing is left to do.
        TimeoutError: Another process submits or runs a campaign in this folder.
        RuntimeError: Slurm refused.
    """
    with contextlib.nullcontext() if dry_run else store.locked(out / "campaign", patience_s=1):
        before = jobs.read(out) if (out / "campaign.json").exists() else None
        if before is not None and not dry_run:
            _refuse_twice(before, out)
        left = calibrate.left(study, out)
        if left.nothing and not analyses:
            raise ValueError(f"{out} holds everything of this study: nothing is left to submit")
        number = 1 if before is None else before.round + 1
        found = planned(
            study,
            left,
            rates(study, out, left, run_min=run_min, training_min=training_min, progress=progress),
            queue,
            analyses=analyses,
            prefix=f"{number}-",
        )
        scripts = queues.scripts(found, queue, out) if queue.executor == "slurm" else []
        campaign = Submitted(study=study, queue=queue, jobs=tuple(found), round=number, submitted=time.time())
        if not dry_run:
            campaign = _send(campaign, out, progress)
    return campaign, scripts


def _send(campaign: Submitted, out: Path, progress: Progress) -> Submitted:
    """Write the campaign, so that its jobs find it, and send them."""
    if campaign.queue.executor == "local":
        campaign = campaign.model_copy(update={"runner": os.getpid()})
        jobs.write(out, campaign)
        n_at_once = max(1, parallel.n_cores() // campaign.queue.cpus)
        queues.run_here(campaign.jobs, campaign.queue, out, n_at_once=n_at_once, progress=progress)
        return campaign
    jobs.write(out, campaign)
    campaign = campaign.model_copy(update={"jobs": tuple(queues.submit(campaign.jobs, campaign.queue, out))})
    jobs.write(out, campaign)
    return campaign


def _refuse_twice(before: Submitted, out: Path) -> None:
    """Refuse while jobs of this folder may still be at work."""
    if before.queue.executor == "slurm":
        busy = [name for name, (state, _) in _states(before, out).items() if state not in _ENDED]
        if busy:
            raise ValueError(
                f"{len(busy)} jobs of this folder are in the queue, {busy[0]} among them: wait, or vitrify cancel {out}"
            )


def cancel(out: Path) -> int:
    """End the campaign of a folder, and return how many of its jobs were not yet over.

    What they have done is kept; submitting the study again goes on with it.

    Raises:
        ValueError: The folder holds no campaign.
    """
    campaign = jobs.read(out)
    going = [job for job in campaign.jobs if _states(campaign, out)[job.name][0] not in _ENDED]
    if campaign.queue.executor == "slurm":
        queues.cancel(going)
    elif going and campaign.runner is not None and _at_work(out):
        os.kill(campaign.runner, 15)
    else:
        return 0
    return len(going)


def _at_work(out: Path) -> bool:
    """Return whether some process holds the campaign of a folder."""
    try:
        with store.locked(out / "campaign", patience_s=0):
            return False
    except TimeoutError:
        return True


def _states(campaign: Submitted, out: Path) -> dict[str, tuple[str, str | None]]:
    """Return the state of every job, and the reason where it has failed or was killed."""
    tried = {job.name: jobs.attempts(out, job.name) for job in campaign.jobs}
    on_slurm = campaign.queue.executor == "slurm"
    ended = [name for name, each in tried.items() if each and each[-1].how in ("done", "failed", "stopped")]
    asked = [job for job in campaign.jobs if job.name not in ended]
    said = queues.states(asked) if on_slurm and asked else {}
    sent = {job.name: job.id is not None for job in campaign.jobs} if on_slurm else None
    alive = sent or dict.fromkeys(tried, _at_work(out))
    return {name: _state(each[-1] if each else None, said.get(name), alive=alive[name]) for name, each in tried.items()}


def _state(last: Attempt | None, said: str | None, *, alive: bool) -> tuple[str, str | None]:
    """Return one job's state from its own last words, and from its queue's where it had none.

    Args:
        last: Its last attempt.
        said: The queue's word, if it has one.
        alive: Whether a job without last words can be at work at all.
    """
    if last is not None and last.how in ("done", "failed", "stopped"):
        return last.how, last.reason
    word = "" if said is None else said.split()[0]
    if word == "CANCELLED":
        return "stopped", None
    if not alive or word in _DEAD:
        if last is None and not alive:
            return "stopped", None
        return "killed", f"its queue says {word}" if word else "its process is gone"
    if word == "PENDING" or word == "REQUEUED":
        return "waiting", last.reason if last is not None and last.how == "retry" else None
    if last is not None and last.ended is None:
        return "running", None
    return "waiting", None if last is None else last.reason


_DEAD = ("BOOT_FAIL", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT")


def status(out: Path) -> dict[str, Any]:
    """Return how far the campaign of a folder has come.

    Returns:
        ``stages``, by name: ``done``, ``begun`` and ``total`` runs or classifiers; ``jobs``, the number in each state;
        ``failed``, the jobs that failed or were killed and why; ``left``: ``core_h``, and ``wall_s`` at the present
        number of running jobs, ``None`` where nothing tells; ``disk_gb``.

    Raises:
        ValueError: The folder holds no campaign.
    """
    campaign = jobs.read(out)
    chosen = campaign.study
    states = _states(campaign, out)
    stages, seconds_left = {}, 0.0
    for name, settings in (("simulate", chosen.simulate), ("simulate fast", chosen.fast)):
        if settings is not None:
            kept = store.unfinished(out / "data", settings, seed=chosen.seed)
            stages[name] = {
                "done": settings.n_runs - len(kept),
                "begun": sum(map(bool, kept.values())),
                "total": settings.n_runs,
            }
            n = settings.bath.n_frames
            each = _measured(chosen, settings, out, kept) or _expected(campaign, settings, kept)
            seconds_left += each * sum(1 - k / n for k in kept.values())
    if chosen.simulate.bath.P_start is None:
        folders = [one.folder for one in trainings(chosen)]
        outcomes = [out / "models" / folder / "outcome.json" for folder in folders]
        done = [path for path in outcomes if path.exists()]
        n_begun = sum(path.parent.is_dir() for path in outcomes) - len(done)
        stages["train"] = {"done": len(done), "begun": n_begun, "total": len(outcomes)}
        stages["report"] = {"done": int((out / "results.json").exists()), "begun": 0, "total": 1}
        seconds_left += _training_left(campaign, done, len(outcomes))
    counted = {state: sum(one == state for one, _ in states.values()) for state in ("running", "waiting", *_ENDED)}
    n_cores = counted["running"] * campaign.queue.cpus
    return {
        "name": chosen.name,
        "executor": campaign.queue.executor,
        "stages": stages,
        "jobs": counted,
        "failed": [
            {"job": job.name, "id": job.id, "why": states[job.name][1]}
            for job in campaign.jobs
            if states[job.name][0] in ("failed", "killed")
        ],
        "left": {"core_h": seconds_left / 3600, "wall_s": seconds_left / n_cores if n_cores else None},
        "disk_gb": _bytes(out) / 1e9,
        "free_gb": shutil.disk_usage(out).free / 1e9,
    }


def _expected(campaign: Submitted, settings: Simulate, kept: Mapping[int, int]) -> float:
    """Return the seconds of a run that is not finished, as it was packed."""
    which: jobs.Ensemble = "slow" if settings == campaign.study.simulate else "fast"
    shares = [
        job.expected_s * campaign.queue.cpus / sum(map(len, job.runs.values()))
        for job in campaign.jobs
        if job.runs.get(which)
    ]
    return fmean(shares) if shares and kept else 0.0


def _training_left(campaign: Submitted, done: Sequence[Path], n: int) -> float:
    """Return the core seconds of the classifiers that are not trained: as those that are, or else as packed."""
    if done:
        return fmean(store.read_json(path)["seconds"] for path in done) * (n - len(done))
    return sum(job.expected_s * campaign.queue.cpus for job in campaign.jobs if job.stage == "train")


def _bytes(folder: Path) -> int:
    """Return the bytes of a folder and of all below it."""
    total = 0
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            total += _bytes(Path(entry.path))
        else:
            total += entry.stat(follow_symlinks=False).st_size
    return total
