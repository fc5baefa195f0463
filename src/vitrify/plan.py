r"""What a study will cost on this machine, from a calibration of about ten seconds.

The calibration times a step and a minimisation at the rungs of a ladder of temperatures. Between two rungs the times
lie on the straight line between them, so that the cost of one run is

.. math:: \sum_{legs} \int \tau_{step}(T(s))\,ds + \sum_k \tau_{minimise}(T_k),

over the steps :math:`s` of the bath and the records :math:`k` that are not yet kept. These are seconds of a processor.
The wall clock goes slower by as much as the workers had to share their processors while they measured; its range begins
where they share them with nobody. :func:`estimate` is this sum and
nothing else: a pure function of the study, of what is left of it and of what :mod:`vitrify.calibrate` measured.
"""

__all__ = ["Amount", "Plan", "Stage", "estimate", "plan"]

import heapq
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from jaxtyping import Float, Integer

from vitrify import cuda, learn
from vitrify.calibrate import MOST_PARTICLES, Calibration, Clock, Engine, Left, calibrate, existing, left
from vitrify.classify import Training, trainings
from vitrify.protocols import Bath
from vitrify.settings import Study, split
from vitrify.simulate import Simulate
from vitrify.study import BATCH

_EARLY = {"thermal": 0.4, "inherent": 0.9}
"""Part of its steps that a network takes where the classes differ, as quick starts did; unknown for other studies."""

_SHARED = 1.2
"""Ratio of wall time to processor time in the calibration from which a reader is warned."""

_CURVE, _CLASSIFIERS, _PICTURES = 1.5, (4.5, 2.6, 2.6, 2.6), 1.25
"""Figures of the report, in learning curves: the cooling curve, the scores on and beside it, one input's pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """An estimate, and the least and the most that the calibrations and the early stops allow."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Core-hours and wall seconds of a stage; stages that are done together share their wall time."""

    core_h: Amount
    wall_s: Amount


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is left of a study will cost this; ``None`` is what cannot be known on this machine.

    Args:
        stages: ``cooling``, ``minimising``, ``writing``, ``learning``, ``report``: the last with the scores; and
            ``starting`` the processes.
        core_h: Core-hours in all.
        gpu_h: Hours of a graphics card.
        wall_s: Wall seconds in all.
        disk_gb: Gigabytes, 1e9 bytes, to be written.
        free_gb: Gigabytes free where they go.
        n_workers: Processes.
        n_runs: Runs to finish.
        n_trainings: Classifiers to train.
        calibration_s: Seconds that the calibration took.
        notes: What a reader must know to trust the numbers, in sentences.
    """

    stages: Mapping[str, Stage | None]
    core_h: Amount | None
    gpu_h: Amount | None
    wall_s: Amount | None
    disk_gb: float
    free_gb: float
    n_workers: int
    n_runs: int
    n_trainings: int
    calibration_s: float
    notes: tuple[str, ...]


def plan(study: Study, out: Path, *, n_workers: int, progress: Callable[[str, float, float], None]) -> Plan:
    """Return what is left of a study in a folder, and what that will cost; nothing is left behind.

    Args:
        study: The investigation.
        out: Folder of the results; it need not be there.
        n_workers: Processes.
        progress: Told the parts of the calibration done.

    Raises:
        ValueError: The study is of a user's own material, and not finished.
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder beside ``out`` cannot be written.
    """
    began = time.perf_counter()
    remaining = left(study, out)
    calibrations = () if remaining.nothing else calibrate(study, remaining, out, n_workers=n_workers, progress=progress)
    return estimate(
        study,
        calibrations,
        remaining,
        n_workers=n_workers,
        free_bytes=shutil.disk_usage(existing(out)).free,
        has_card=cuda.available(),
        calibration_s=time.perf_counter() - began,
    )


def estimate(
    study: Study,
    calibrations: Sequence[Calibration],
    remaining: Left,
    *,
    n_workers: int,
    free_bytes: float,
    has_card: bool,
    calibration_s: float = 0.0,
) -> Plan:
    """Return what is left of a study will cost: nothing is measured here.

    Args:
        study: The investigation.
        calibrations: What the workers measured; their mean is the estimate, their spread its range.
        remaining: What is to be done.
        n_workers: Processes.
        free_bytes: Bytes free on the disk.
        has_card: Whether a graphics card can be used.
        calibration_s: Seconds that the calibration took.

    Raises:
        ValueError: Something is left to do and there is no calibration.
    """
    if not calibrations and not remaining.nothing:
        raise ValueError("calibrations must hold at least one calibration where something is left to do; got none")
    on_card = study.simulate.device == "cuda"
    n = 1 if on_card else n_workers
    early = [_EARLY, dict.fromkeys(_EARLY, 0.0), dict.fromkeys(_EARLY, 1.0)]
    idle = [_alone(c) for c in calibrations]  # at the least
    measured = [calibrations, idle, calibrations]
    costs = [
        [_cost(study, c, remaining, n, n_workers, part) for c in at] for part, at in zip(early, measured, strict=True)
    ]
    core, wall = ([[cost[i] for cost in row] for row in costs] for i in range(2))
    names = ("cooling", "minimising", "writing", "learning", "report", "starting")
    stages: dict[str, Stage | None] = {
        name: Stage(core_h=_amount(core, (name,), 1 / 3600), wall_s=_amount(wall, (name,))) for name in names
    }
    ensembles = ((study.simulate, remaining.runs), *([(study.fast, remaining.fast)] if study.fast else []))
    n_runs = sum(len(runs) for _, runs in ensembles)
    unknown = bool(on_card and not has_card and n_runs)
    if unknown:
        stages |= {"cooling": None, "minimising": None}
    first = study.simulate.bath.n_frames  # what a calibration's bytes are of
    n_records = sum(one.bath.n_frames - kept for one, runs in ensembles for kept in runs.values())
    n_networks = sum(one.model is not None for one in remaining.trainings)
    byte = [
        c.run_bytes * n_records / first
        + c.training_bytes * n_networks
        + c.figure_bytes * sum(_figures(study, remaining))
        for c in calibrations
    ]
    disk = fmean(byte) if byte else 0.0
    card = _amount(wall, ("cooling", "minimising") if on_card else (), 1 / 3600) if has_card else None
    return Plan(
        stages=stages,
        core_h=None if unknown else _amount(core, names, 1 / 3600),
        gpu_h=card,
        wall_s=None if unknown else _amount(wall, names),
        disk_gb=disk / 1e9,
        free_gb=free_bytes / 1e9,
        n_workers=n_workers,
        n_runs=n_runs,
        n_trainings=len(remaining.trainings),
        calibration_s=calibration_s,
        notes=(
            *_notes(study, remaining, has_card=has_card, short=disk > free_bytes),
            *_shared(calibrations),
        ),
    )


def _alone(c: Calibration) -> Calibration:
    """Return what would have been measured with the processors free."""
    free = Clock(wall_s=1.0, processor_s=1.0)
    start_s = {name: seconds * c.learning.share for name, seconds in c.start_s.items()}
    return replace(c, simulating=free, learning=free, start_s=start_s)


def _shared(calibrations: Sequence[Calibration]) -> Iterator[str]:
    """Yield a warning where the workers had to wait for a processor while they measured."""
    parts = {"simulated": [c.simulating for c in calibrations], "trained": [c.learning for c in calibrations]}
    for name, clocks in parts.items():
        wall_s, processor_s = (sum(getattr(clock, key) for clock in clocks) for key in ("wall_s", "processor_s"))
        if wall_s > _SHARED * processor_s:
            yield (
                f"other work shares the processors: while the workers {name}, {wall_s / len(clocks):.1f} s of wall "
                f"time each gave {processor_s / len(clocks):.1f} s of processor time; core-hours are of processor "
                "time, and the range of the wall time begins with the processors free"
            )


def _notes(study: Study, remaining: Left, *, has_card: bool, short: bool) -> Iterator[str]:
    settings, n_networks = study.simulate, sum(one.model is not None for one in remaining.trainings)
    if remaining.nothing:
        yield "nothing is left to do: the folder holds the results and the report"
        return
    if short:
        yield "the free disk space does not suffice: choose another folder with --out, or fewer records"
    if not has_card:
        yield "GPU-hours are not known: no GPU is at hand to calibrate on" + (
            "; cooling and minimising on device cuda are therefore missing from the totals"
            if settings.device == "cuda" and (remaining.runs or remaining.fast)
            else ""
        )
    if n_networks and study.classify.train.enough:
        guess = " and ".join(f"{part:.0%} of its steps on {name} configurations" for name, part in _EARLY.items())
        yield f"a network may stop early: assumed is {guess}; the range is from the first evaluation to the last"
    if settings.n_particles > MOST_PARTICLES:
        yield f"calibrated with {MOST_PARTICLES} particles: costs were taken as proportional to their number"
    if settings.bath.P_start is not None:
        yield "a held pressure: vitrify simulate alone, for a study of classifiers needs records of one box"


def _amount(rows: Sequence[Sequence[Mapping[str, float]]], names: Sequence[str], unit: float = 1.0) -> Amount:
    """Return the sum of some stages: the rows are the expected, the least and the most steps of the networks."""
    expected, least, most = ([unit * sum(cost[name] for name in names) for cost in row] for row in rows)
    if not expected:
        return Amount(value=0.0, low=0.0, high=0.0)
    return Amount(value=float(fmean(expected)), low=float(min(least)), high=float(max(most)))


def _cost(
    study: Study, c: Calibration, remaining: Left, n_simulate: int, n_workers: int, early: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the core seconds and the wall seconds of every stage."""
    jobs = _simulations(study.simulate, c.engine, remaining.runs)
    if study.fast is not None:
        jobs += _simulations(study.fast, c.engine, remaining.fast)
    runs = {name: float(sum(job[i] for job in jobs)) for i, name in enumerate(("cooling", "minimising", "writing"))}
    cools, learns = c.simulating.share, c.learning.share  # of the wall time, a worker's own
    learning = _learnings(study, c, remaining, early)
    drawing, n_scores = [size * c.figure_s for size in _figures(study, remaining)], _n_scores(study, remaining)
    core = runs | {"learning": sum(learning), "report": sum(drawing) + n_scores * c.score_s}
    together = _makespan([sum(job) for job in jobs], n_simulate)
    share = together / max(sum(runs.values()), 1e-300)  # done by turns, in one stage
    wall = {name: spent * share / cools for name, spent in runs.items()} | {
        "learning": _makespan(learning, n_workers) / learns,
        "report": (_makespan(drawing, n_workers) + n_scores * c.score_s) / learns,
    }
    started = {
        "simulate": (len(jobs), n_simulate),
        "learn": (len(learning), n_workers),
        "report": (len(drawing), n_workers),
    }
    core["starting"] = sum(c.start_s[name] * min(count, most) for name, (count, most) in started.items()) * learns
    wall["starting"] = sum(c.start_s[name] for name, (count, _) in started.items() if count)
    return core, wall


def _simulations(settings: Simulate, engine: Engine, remaining: Mapping[int, int]) -> list[tuple[float, float, float]]:
    """Return the seconds of cooling, minimising and writing of every run, or of every batch of runs."""
    bath = settings.bath
    T, to_record = _course(bath, np.array(bath.records), engine)
    minimise = np.concatenate([[0.0], np.cumsum(np.interp(T, engine.T, engine.minimise_s))])
    to_record = np.concatenate([[0.0], to_record])
    hot = float(np.interp(bath.T_start, engine.T, engine.step_s))
    kept, size = list(remaining.values()), BATCH if settings.device == "cuda" else 1
    jobs = []
    for batch in (kept[first : first + size] for first in range(0, len(kept), size)):
        k = min(batch)  # those ahead wait for the others
        begin = engine.begin_s + settings.n_equilibrate * hot if k == 0 else 0.0
        n_written = sum(bath.n_frames - one for one in batch)
        jobs.append(
            (
                begin + float(to_record[-1] - to_record[k]),
                float(minimise[-1] - minimise[k]),
                n_written * engine.write_s + len(batch) * engine.keep_s,
            )
        )
    return jobs


def _course(bath: Bath, step: Integer[np.ndarray, " k"], engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """Return the temperature of the bath at some steps, and the seconds from the first step to each of them."""
    T, seconds = np.full(len(step), bath.T_start), np.zeros(len(step))
    first = 0
    for leg in bath.legs:
        inside = np.clip(step - first, 0, leg.n_steps)
        here = leg.T_from + (leg.T_to - leg.T_from) * inside / leg.n_steps
        if leg.T_from == leg.T_to:
            seconds += inside * np.interp(leg.T_from, engine.T, engine.step_s)
        else:
            per_T = leg.n_steps / (leg.T_to - leg.T_from)
            seconds += per_T * (_primitive(here, engine) - _primitive(np.array([leg.T_from]), engine))
        T = np.where(step > first, here, T)
        first += leg.n_steps
    return T, seconds


def _primitive(T: Float[np.ndarray, " k"], engine: Engine) -> Float[np.ndarray, " k"]:
    """Return the integral of the seconds of a step over T, from the lowest rung; the line is flat beyond the ends."""
    below = np.concatenate([[0.0], np.cumsum(np.diff(engine.T) * (engine.step_s[1:] + engine.step_s[:-1]) / 2)])
    rung = np.clip(np.searchsorted(engine.T, T, side="right") - 1, 0, None)
    here = np.interp(T, engine.T, engine.step_s)
    return np.asarray(below[rung] + (T - engine.T[rung]) * (engine.step_s[rung] + here) / 2)


def _learnings(study: Study, c: Calibration, remaining: Left, early: Mapping[str, float]) -> list[float]:
    """Return the seconds of every network, and of every baseline with all its pairs, in the order they are begun."""
    settings, runs = study.classify.train, split(study)
    n_train, n_validation, n_test = (2 * len(part) for part in (runs.train, runs.validation, runs.test))
    shown = min(n_train, 512) + n_validation
    networks = []
    groups: dict[tuple[str, str], list[Training]] = {}
    for one in remaining.trainings:
        if one.model is None:
            groups.setdefault((one.input, one.name), []).append(one)
            continue
        network = c.networks[one.name]
        # nothing tells a record from itself: there is no early end
        n_steps = _n_steps(settings, 1.0 if one.train_k == one.k_glass else early[one.input])
        evaluations = n_steps / min(settings.evaluate_every, settings.n_steps)
        networks.append(
            n_train * network.begin_s
            + n_steps * network.step_s
            + (evaluations * shown + len(one.tested) * (n_validation + n_test)) * network.score_s
        )
    fits = []
    for (_, name), group in groups.items():
        records_shown = {k for one in group for k in (one.k_glass, *one.tested)}
        features = len(records_shown) * study.simulate.n_runs * c.features_s[name]
        fits.append((len(group), features + len(group) * c.fit_s[name]))
    return [seconds for n, seconds in fits if n > 1] + networks + [seconds for n, seconds in fits if n == 1]


def _n_steps(settings: learn.Train, part: float) -> float:
    """Return the steps of a network that ends after a part of them, or at the first evaluation."""
    if not settings.enough:
        return settings.n_steps
    return max(part * settings.n_steps, min(settings.evaluate_every, settings.n_steps))


def _figures(study: Study, remaining: Left) -> list[float]:
    """Return the figures of the report, each as the number of learning curves that take as long to draw."""
    if not remaining.report:
        return []
    planned = trainings(study)
    drawn = [_CURVE, *(_CLASSIFIERS if planned else ())]
    if study.simulate.liquid.dimension == 2:
        seen = any(model.kind == "cnn" for model in study.models) and study.classify.train.augment
        drawn += [_PICTURES] * (len(study.classify.inputs) + seen)
    return drawn + [1.0 for one in planned if one.model is not None]


def _n_scores(study: Study, remaining: Left) -> int:
    """Return how many scores are computed: two thresholds on every pair of records."""
    return 2 * sum(len(one.tested) for one in trainings(study)) if remaining.report else 0


def _makespan(seconds: Sequence[float], n_workers: int) -> float:
    """Return when the last of some jobs ends, each begun by the first worker that is free."""
    free = [0.0] * n_workers
    for job in seconds:
        heapq.heapreplace(free, free[0] + job)
    return max(free)
