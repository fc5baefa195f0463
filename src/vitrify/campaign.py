"""A study as jobs under a walltime: what they are, and how they are sent.

The seconds of a run and of a training come from what is finished already, or from the ten seconds' calibration of
:mod:`vitrify.plan`; :func:`packed` deals them into jobs. Nothing depends on these numbers but how long jobs are: one
that is dealt too much reaches its limit and goes on in its next turn.
"""

__all__ = ["Rates", "packed", "planned", "rates", "submit"]

import contextlib
import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vitrify import calibrate, cuda, jobs, log, parallel, plan, queues, store, submitted, watch
from vitrify.calibrate import Left
from vitrify.classify import Training, trainings
from vitrify.settings import Study
from vitrify.simulate import Simulate
from vitrify.submitted import Ensemble, Job, Queue, Submitted

Item = TypeVar("Item")
Progress = Callable[[str, float, float], None]

_TOLD_S = 5.0
_FILLED = 0.9  # of a walltime that is dealt out: a job needs seconds to begin, and rates are estimates


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Core seconds of what is left of a study.

    Args:
        runs: Of every run that is not finished, by ensemble.
        trainings: Of every unit of classifiers that is trained together: networks one by one, a baseline with all its
            pairs of records.
        report: Of scores, figures and page.
    """

    runs: Mapping[Ensemble, Mapping[int, float]]
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
    given = None if run_min is None else 60 * run_min
    kept: dict[Ensemble, Mapping[int, int]] = {"slow": left.runs, "fast": left.fast}
    each = {
        name: given or watch.measured(settings, out, kept[name], seed=study.seed)
        for name, settings in _ensembles(study).items()
    }
    unknown = any(kept[name] and each[name] is None for name in each)
    if unknown and study.simulate.device == "cuda" and not cuda.available():
        raise ValueError("no GPU is at hand to measure the rate of a run on: give it with --run-min MINUTES")
    estimated = _Estimated(study, out, left if unknown else Left(runs={}, trainings=left.trainings, report=left.report))
    if unknown or (left.trainings and training_min is None):
        estimated.calibrate(progress)
    runs = {}
    for name, settings in _ensembles(study).items():
        n, whole = settings.bath.n_frames, each[name]
        runs[name] = {
            run: estimated.run(name, k) if whole is None else whole * (1 - k / n) for run, k in kept[name].items()
        }
    one_s = None if training_min is None else 60 * training_min
    return Rates(
        runs=runs,
        trainings={
            tuple(one.folder for one in unit): one_s or estimated.training(unit) for unit in _units(left.trainings)
        },
        report=estimated.report() if left.report and estimated.calibrations else 0.0,
    )


def _ensembles(study: Study) -> dict[Ensemble, Simulate]:
    every: dict[Ensemble, Simulate | None] = {"slow": study.simulate, "fast": study.fast}
    return {name: settings for name, settings in every.items() if settings is not None}


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
        before = submitted.read(out) if (out / "campaign.json").exists() else None
        if before is not None and not dry_run:
            _refuse_twice(before, out)
        left = calibrate.left(study, out)
        if left.nothing and not analyses:
            raise ValueError(f"{out} holds everything of this study: nothing is left to submit")
        number = 1 if before is None else before.round + 1
        seconds = rates(study, out, left, run_min=run_min, training_min=training_min, progress=progress)
        found = planned(study, left, seconds, queue, analyses=analyses, prefix=f"{number}-")
        scripts = queues.scripts(found, queue, out) if queue.executor == "slurm" else []
        campaign = Submitted(
            study=study.model_dump(mode="json"),
            seed=study.seed,
            ensembles=_ensembles(study),
            classifiers=()
            if study.simulate.bath.P_start is not None
            else tuple(one.folder for one in trainings(study)),
            queue=queue,
            jobs=tuple(found),
            round=number,
            submitted=time.time(),
            runner=log.process() if queue.executor == "local" else None,
        )
        if not dry_run:
            campaign = _send(campaign, out, progress)
    return campaign, scripts


def _send(campaign: Submitted, out: Path, progress: Progress) -> Submitted:
    """Write the campaign, so that its jobs find it, and send them."""
    store.begin(out / "data")
    submitted.write(out, campaign)
    if campaign.queue.executor == "local":
        n_at_once = max(1, parallel.n_cores() // campaign.queue.cpus)
        beat = _Beat(campaign, out, progress)
        queues.run_here(campaign.jobs, campaign.queue, out, n_at_once=n_at_once, beat=beat)
        beat.tell()
        return campaign
    numbered = queues.submit(campaign.jobs, campaign.queue, out, work=jobs.work)
    campaign = campaign.model_copy(update={"jobs": tuple(numbered)})
    submitted.write(out, campaign)
    return campaign


class _Beat:
    """Tell now and then how much of each stage is done."""

    def __init__(self, campaign: Submitted, out: Path, progress: Progress) -> None:
        self._campaign, self._out, self._progress = campaign, out, progress
        self._next = 0.0

    def __call__(self) -> None:
        if time.monotonic() > self._next:
            self.tell()
            self._next = time.monotonic() + _TOLD_S

    def tell(self) -> None:
        for name, one in watch.stages(self._campaign, self._out)[0].items():
            self._progress(name, one["done"], one["total"])


def _refuse_twice(before: Submitted, out: Path) -> None:
    """Refuse while jobs of this folder may still be at work."""
    if before.queue.executor == "slurm":
        busy = [name for name, (state, _) in watch.states(before, out).items() if state not in watch.ENDED]
        if busy:
            raise ValueError(
                f"{len(busy)} jobs of this folder are in the queue, {busy[0]} among them: wait, or vitrify cancel {out}"
            )
