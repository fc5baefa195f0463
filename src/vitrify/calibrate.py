"""Ten seconds of a study, timed: what each of its parts costs on this machine.

Every worker at once cools a few systems of the study's mixture and size down a short ladder of temperatures and writes
them; then every worker trains each network for a few steps, fits each baseline and draws a figure. What processes that
share memory and cooling cost each other is thereby in the times.

The times are those for which a worker had a processor, so that other work on the machine does not count; its
:class:`Clock` says how much longer the wall clock went. What LAMMPS or a card does is not seen by the processor's clock
of a worker, and is timed by the wall clock.
"""

__all__ = ["MOST_PARTICLES", "Calibration", "Clock", "Engine", "Left", "Network", "calibrate", "existing", "left"]

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from jaxtyping import Float

from vitrify import baselines, cuda, dynamics, figures, learn, models, parallel, report, scores, store
from vitrify.classify import Training, trainings
from vitrify.dataset import Labelled
from vitrify.material import Material
from vitrify.potentials import MIXTURES
from vitrify.protocols import EVERY, PROTOCOLS
from vitrify.settings import Study, split
from vitrify.simulate import Frame, Reached, Simulate, records, records_together
from vitrify.study import BATCH, finished
from vitrify.system import stream

MOST_PARTICLES = 8192
"""Of a system that is calibrated; what a larger one costs is taken as proportional."""

_LADDER_S = 3.0  # seconds of one worker on the ladder ...
_NETWORK_S = 0.4  # ... and on each network
_N_RUNGS = 7
_MOST_SHOWN = 64  # configurations a network is calibrated on
_MOST_RECORDS, _MOST_BYTES = 256, 2**26  # of the run that is written to be weighed
_POSITION_BYTES = 2 * 3 * 4  # of a particle in a record: two trajectories, three coordinates of single precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """What the wall clock and the processor's clock of one worker said of the same work, in seconds."""

    wall_s: float
    processor_s: float

    @property
    def share(self) -> float:
        """Part of the time for which the worker had a processor."""
        return min(1.0, max(self.processor_s, 1e-9) / max(self.wall_s, 1e-9))


_ALONE = Clock(wall_s=0.0, processor_s=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """Seconds of one worker that simulates: a run at a time, or a batch of them on a device.

    Args:
        T: Temperatures of the ladder, increasing.
        step_s: Of one time step at each of them.
        minimise_s: Of one minimisation at each of them.
        begin_s: Of the first configuration.
        keep_s: Of opening and closing the folder of one run.
        write_s: Of one record written.
    """

    T: Float[np.ndarray, " t"]
    step_s: Float[np.ndarray, " t"]
    minimise_s: Float[np.ndarray, " t"]
    begin_s: float
    keep_s: float
    write_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Seconds of one worker that trains a network.

    Args:
        begin_s: Of the inputs that are kept, per training configuration.
        step_s: Of one step of the optimiser.
        score_s: Of one configuration in an evaluation.
    """

    begin_s: float
    step_s: float
    score_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What one worker measured; what a study does not need may be missing.

    Args:
        engine: Cooling, minimising, writing.
        run_bytes: On disk, of one run.
        networks: By kind.
        features_s: Of each baseline, per configuration.
        fit_s: Of each baseline, per fit.
        training_bytes: On disk, of one network, the largest of them.
        score_s: Of one score with its interval.
        figure_s: Of one learning curve.
        figure_bytes: On disk, of one learning curve, its share of the page included.
        start_s: Until the workers of ``simulate``, ``learn`` and ``report`` were at work, and from their end on: by the
            wall clock.
        simulating: Both clocks while it simulated.
        learning: Both clocks while it trained, fitted and drew.
    """

    engine: Engine
    run_bytes: float
    networks: Mapping[str, Network]
    features_s: Mapping[str, float]
    fit_s: Mapping[str, float]
    training_bytes: float
    score_s: float
    figure_s: float
    figure_bytes: float
    start_s: Mapping[str, float]
    simulating: Clock = _ALONE
    learning: Clock = _ALONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What a folder does not hold of a study.

    Args:
        runs: Records kept of every run that is not finished.
        fast: The same of the fast cooling, if the study asks for equal energy.
        trainings: The classifiers to train.
        report: Whether there are scores to compute and a report to write.
    """

    runs: Mapping[int, int]
    trainings: tuple[Training, ...]
    report: bool
    fast: Mapping[int, int] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether the study is done."""
        return not (self.runs or self.fast or self.trainings or self.report)


def left(study: Study, out: Path) -> Left:
    """Return what a folder does not hold of a study.

    Raises:
        store.DamagedFileError: A file of an earlier call cannot be read.
    """
    settings, root = study.simulate, out / "data"
    runs = store.unfinished(root, settings, seed=study.seed)
    if settings.bath.P_start is not None:  # no classifiers: every record has a box of its own
        return Left(runs=runs, trainings=(), report=False)
    todo = [one for one in trainings(study) if not (out / "models" / one.folder / "outcome.json").exists()]
    done = not runs and finished(study, out)
    fast = {} if done or study.fast is None else store.unfinished(root, study.fast, seed=study.seed)
    return Left(runs=runs, trainings=() if done else tuple(todo), report=not done, fast=fast)


def existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Simulating:
    """What a worker is told to simulate."""

    settings: Simulate
    n_together: int  # on a device; 1 is a run alone
    seed: int
    worker: int
    seconds: float
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Simulated:
    """What it found: two measurements, and the hottest and the coldest configuration."""

    at_work: float
    ended: float
    clock: Clock
    engines: tuple[Engine, ...]
    run_bytes: float
    positions: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class _Learning:
    """What a worker is told to train, fit and draw."""

    study: Study
    remaining: Left
    positions: np.ndarray
    worker: int
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Learnt:
    """What it found."""

    entered: float
    at_work: float
    ended: float
    clock: Clock
    report_s: float
    networks: dict[str, Network]
    features_s: dict[str, float]
    fit_s: dict[str, float]
    training_bytes: float
    score_s: float
    figure_s: float
    figure_bytes: float


def calibrate(
    study: Study, remaining: Left, out: Path, *, n_workers: int, progress: Callable[[str, float, float], None]
) -> tuple[Calibration, ...]:
    """Return what every worker measured, twice where the engine is concerned, all of them at work at once.

    Args:
        study: The investigation.
        remaining: What is to be done; what is not is not measured.
        out: Folder of the results; a temporary one beside it is written and removed.
        n_workers: Processes.
        progress: Told the parts done.

    Raises:
        ValueError: The study is of a user's own material.
        OSError: The folder beside ``out`` cannot be written.
    """
    settings = study.simulate
    if isinstance(settings.liquid, Material):
        raise ValueError(
            "the time is calibrated on systems that are simulated, and a material of your own cannot be: "
            "vitrify submit takes it from --training-min MINUTES"
        )
    on_card = settings.device == "cuda" and cuda.available()
    size = min(settings.n_particles, MOST_PARTICLES)
    small = _with(settings, n_particles=size, device="cuda" if on_card else "cpu")
    n_runs = len(remaining.runs) + len(remaining.fast)
    n_cool = 1 if on_card else max(1, min(n_workers, n_runs))
    n_learn = max(1, min(n_workers, max(len(remaining.trainings), int(remaining.report) * n_workers)))
    done, parts = 0.0, 2.0 * n_cool + n_learn

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("calibrate", done, parts)

    with tempfile.TemporaryDirectory(prefix=".vitrify-plan-", dir=existing(out.parent)) as name:
        folder = Path(name)
        cools = [
            _Simulating(
                settings=small,
                n_together=min(BATCH, max(1, n_runs)) if on_card else 1,
                seed=study.seed,
                worker=worker,
                seconds=_LADDER_S if n_runs and (on_card or settings.device == "cpu") else _LADDER_S / 10,
                folder=folder / f"cool-{worker}",
            )
            for worker in range(n_cool)
        ]
        began = time.time()
        cooled = parallel.spread(_simulate, cools, n_workers=n_cool, progress=tick)
        start_s = {"simulate": _idle(cooled, began)}
        positions = cooled[0].positions
        learns = [
            _Learning(study=study, remaining=remaining, positions=positions, worker=i, folder=folder / f"learn-{i}")
            for i in range(n_learn)
        ]
        began = time.time()
        learnt = parallel.spread(_learn, learns, n_workers=n_learn, progress=tick)
        start_s["learn"] = _idle(learnt, began)
        start_s["report"] = start_s["learn"] - fmean(one.at_work - one.entered for one in learnt)
    larger, n = settings.n_particles / size, settings.bath.n_frames
    return tuple(
        _joined(engine, one, two, start_s, larger, (settings.n_particles - size) * n * _POSITION_BYTES)
        for one, two in itertools.islice(
            zip(itertools.cycle(cooled), itertools.cycle(learnt)), max(len(cooled), len(learnt))
        )
        for engine in one.engines
    )


def _idle(workers: Sequence[_Simulated] | Sequence[_Learnt], began: float) -> float:
    """Return the seconds of a stage, over now, in which no worker was at work."""
    return fmean(one.at_work for one in workers) - began + time.time() - max(one.ended for one in workers)


def _joined(
    engine: Engine, cooled: _Simulated, learnt: _Learnt, start_s: dict[str, float], larger: float, more_bytes: float
) -> Calibration:
    """Return one calibration, for a system that is so much larger than the one measured."""
    return Calibration(
        engine=replace(
            engine,
            step_s=engine.step_s * larger,
            minimise_s=engine.minimise_s * larger,
            begin_s=engine.begin_s * larger,
            write_s=engine.write_s * larger,
        ),
        run_bytes=cooled.run_bytes + more_bytes,
        networks={
            name: Network(begin_s=one.begin_s * larger, step_s=one.step_s * larger, score_s=one.score_s * larger)
            for name, one in learnt.networks.items()
        },
        features_s={name: seconds * larger for name, seconds in learnt.features_s.items()},
        fit_s=learnt.fit_s,
        training_bytes=learnt.training_bytes,
        score_s=learnt.score_s,
        figure_s=learnt.figure_s,
        figure_bytes=learnt.figure_bytes,
        start_s=start_s | {"report": start_s["report"] + learnt.report_s / learnt.clock.share},
        simulating=cooled.clock,
        learning=learnt.clock,
    )


def _simulate(job: _Simulating, tick: parallel.Tick) -> _Simulated:
    """Cool a system, or a batch of them, down a ladder of temperatures; time and write every record."""
    settings, bath = job.settings, job.settings.bath
    fresh = {job.worker * BATCH + i: None for i in range(min(job.n_together, 4))}
    short = _at(settings, [(bath.T_start, 2 * EVERY)] * 3, [2 * EVERY * i for i in (1, 2, 3)])
    *_, (weighed, *_) = _records(short, job.seed, fresh)  # compiles, loads and warms
    run_bytes = _run_bytes(settings, weighed, job)  # and so does this
    at_work, began = time.time(), _now()
    by_wall = settings.device != "cpu" or settings.engine != "vitrify"
    first, *_, last = _records(short, job.seed, fresh)
    after: dict[int, Reached | None] = {
        job.worker * BATCH + i: (0, last[i % len(last)].state) for i in range(job.n_together)
    }
    if job.n_together > len(fresh):
        *_, last = _records(short, job.seed, after)
    step_s, minimise_s = _seconds(last, "simulate_s") / (2 * EVERY), _seconds(last, "minimise_s")
    begin_s = max(0.0, _seconds(first, "simulate_s") / len(first) - 2 * EVERY * step_s / job.n_together)
    begin_s *= 1.0 if by_wall else _since(began).share
    tick(1)
    ladder, n_held, rungs = _ladder(settings, step_s, minimise_s, job.seconds)
    held: dict[float, list[list[Frame]]] = {}
    with ExitStack() as opened:
        before, written_s = time.process_time(), 0.0
        folders = [
            opened.enter_context(store.RunFolder(job.folder / "data", ladder, seed=job.seed, run=run))
            for run in list(after)[:4]
        ]
        kept_s = time.process_time() - before
        taken = _records(ladder, job.seed, after)
        for frames in taken if by_wall else _by_processor(taken):
            before = time.process_time()
            for folder, frame in zip(folders, frames, strict=False):
                folder.append(frame)
            written_s += time.process_time() - before
            held.setdefault(rungs[frames[0].k - 1], []).append(frames)
        before = time.process_time()
        for folder in folders:
            folder.finish()
        kept_s += time.process_time() - before
    T = np.array(sorted(held))
    # the first record of a rung ends its approach; the others are taken in turn by two measurements
    halves = [{rung: held[rung][1 + half :: 2] for rung in T} for half in (0, 1)]

    def mean(half: dict[float, list[list[Frame]]], name: str) -> np.ndarray:
        return np.array([fmean(_seconds(frames, name) for frames in half[rung]) for rung in T])

    engines = [
        Engine(
            T=T,
            step_s=mean(half, "simulate_s") / n_held,
            minimise_s=mean(half, "minimise_s"),
            begin_s=begin_s * job.n_together,
            keep_s=kept_s / len(folders),
            write_s=written_s / len(folders) / ladder.bath.n_frames,
        )
        for half in halves
    ]
    hot, cold = (dynamics.configuration(held[rung][-1][0].state).positions for rung in (T[-1], T[0]))
    clock = _ALONE if by_wall else _since(began)
    tick(1)
    return _Simulated(
        at_work=at_work,
        ended=time.time(),
        clock=clock,
        engines=tuple(engines),
        run_bytes=run_bytes,
        positions=np.stack([hot, cold]).astype(np.float32),
    )


def _records(settings: Simulate, seed: int, after: Mapping[int, Reached | None]) -> Iterator[list[Frame]]:
    """Yield the records of a run, or of the runs that are together on a device."""
    if settings.device == "cpu":
        ((run, last),) = after.items()
        yield from ([frame] for frame in records(settings, seed=seed, run=run, after=last))
    else:
        yield from (list(frames.values()) for frames in records_together(settings, seed=seed, after=after))


def _now() -> tuple[float, float]:
    """Return the wall clock and the processor's clock."""
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> Clock:
    wall_s, processor_s = _now()
    return Clock(wall_s=wall_s - began[0], processor_s=processor_s - began[1])


def _by_processor(taken: Iterator[list[Frame]]) -> Iterator[list[Frame]]:
    """Yield records whose seconds are those for which this process had a processor."""
    while True:
        began = _now()
        frames = next(taken, None)
        if frames is None:
            return
        share = _since(began).share
        yield [
            replace(frame, simulate_s=frame.simulate_s * share, minimise_s=frame.minimise_s * share) for frame in frames
        ]


def _seconds(frames: Sequence[Frame], name: str) -> float:
    return float(sum(getattr(frame, name) for frame in frames))


def _ladder(settings: Simulate, step_s: float, minimise_s: float, seconds: float) -> tuple[Simulate, int, list[float]]:
    """Return a descent in so many seconds, the steps between two records at a rung, and the rung of each record."""
    bath = settings.bath
    ends = [bath.T_start, *(T for leg in bath.legs for T in (leg.T_from, leg.T_to))]
    n_rungs = 1 if min(ends) == max(ends) else max(3, min(_N_RUNGS, int(seconds / (4 * minimise_s))))
    each = seconds / n_rungs
    approach = _whole(0.35 * each / step_s)
    interval = median(b - a for a, b in itertools.pairwise((0, *bath.records)))
    between = min(_whole(0.15 * each / step_s), _whole(interval))
    n_taken = int(np.clip(0.65 * each / (between * step_s + minimise_s), 2, 40))
    rungs, at, pieces, taken = [], 0, [], []
    for T in np.linspace(max(ends), min(ends), n_rungs).tolist():
        pieces += [(T, approach), (T, n_taken * between)]
        taken += [at + approach + i * between for i in range(n_taken + 1)]
        rungs += [T] * (n_taken + 1)
        at += approach + n_taken * between
    return _at(settings, pieces, taken), between, rungs


def _whole(n_steps: float) -> int:
    """Return a number of steps that is a whole number of thermostat steps."""
    return max(1, round(n_steps / EVERY)) * EVERY


def _at(settings: Simulate, pieces: Sequence[tuple[float, int]], taken: Sequence[int]) -> Simulate:
    """Return the same ensemble brought to temperatures, each in so many steps, without an equilibration."""
    bath = settings.bath
    schedule: dict[str, Any] = {
        "T_start": pieces[0][0],
        "segments": [{"T_end": T, "n_steps": n_steps} for T, n_steps in pieces],
        "frames_at_step": tuple(taken),
    }
    if bath.P_start is not None:
        schedule["P_start"] = bath.P_start
    return _with(settings, schedule=schedule, n_equilibrate=0)


def _with(settings: Simulate, **changes: Any) -> Simulate:
    """Return checked settings in which some are changed; a new protocol replaces the old one."""
    known = settings.model_dump()
    if set(changes) & set(PROTOCOLS):
        known = {name: value for name, value in known.items() if name not in PROTOCOLS}
    return Simulate.model_validate(known | changes)


def _run_bytes(settings: Simulate, frame: Frame, job: _Simulating) -> float:
    """Return the bytes of a run on disk, by writing one of equal records, or a part of it if it is large."""
    n, size = settings.bath.n_frames, len(frame.state.positions)
    fewer = max(1, min(n, _MOST_RECORDS, _MOST_BYTES // (_POSITION_BYTES * size)))
    if fewer < n:
        settings = _at(settings, [(frame.T, EVERY * fewer)], [EVERY * i for i in range(1, fewer + 1)])
    root = job.folder / "weighed"
    with store.RunFolder(root, settings, seed=job.seed, run=0) as folder:
        for k in range(1, fewer + 1):
            folder.append(_moved(frame, k))
        folder.finish()
        written = _bytes(folder.path)
    positions = _POSITION_BYTES * size * fewer
    return positions * n / fewer + (written - positions) * n / fewer


def _moved(frame: Frame, k: int) -> Frame:
    """Return a record with all positions moved a little: what does not change would not be written again."""

    def moved(state: dynamics.State) -> dynamics.State:
        return replace(state, positions=state.positions + np.int32(2**16 * k))

    assert frame.minimum is not None  # what is calibrated has a potential
    minimum = replace(frame.minimum, state=moved(frame.minimum.state))
    return replace(frame, k=k, state=moved(frame.state), minimum=minimum)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _learn(job: _Learning, tick: parallel.Tick) -> _Learnt:
    """Train each network for a few steps, fit each baseline, score, and draw a figure."""
    entered = time.time()
    study, todo = job.study, job.remaining.trainings
    runs = split(study)
    n_train, n_shown = 2 * len(runs.train), min(2 * len(runs.train), _MOST_SHOWN)
    train_data = _labelled(study, job.positions, n_shown)
    validation_data = _labelled(study, job.positions, min(2 * len(runs.validation), n_shown))
    wanted: dict[str, models.Model] = {one.name: one.model for one in todo if one.model is not None}
    second_s = {}
    for name, model in wanted.items():
        at = _trained(model, train_data, validation_data, study, 3, job.folder / f"{name}-first")
        second_s[name] = at[2] - at[1]
    fitted = list({one.name: None for one in todo if one.model is None})
    for name in fitted:
        _baseline(name, train_data, 4)
    at_work, began = time.time(), _now()
    networks = {
        name: _network(model, train_data, validation_data, study, second_s[name], job.folder / name)
        for name, model in wanted.items()
    }
    features_s, fit_s = {}, {}
    for name in fitted:
        features_s[name], fit_s[name] = _baseline(name, train_data, n_train)
    rng = stream(study.seed, "plan", str(job.worker))
    n_test = 2 * len(runs.test)
    at = [time.process_time()]
    for _ in range(4):  # the first warms
        scores.score(rng.normal(size=n_test), np.arange(n_test) % 2, np.arange(n_test) // 2)
        at.append(time.process_time())
    report_s, figure_s, figure_bytes = _figure(study, job.folder / "figures") if job.remaining.report else (0.0,) * 3
    clock = _since(began)
    tick(1)
    return _Learnt(
        entered=entered,
        at_work=at_work,
        ended=time.time(),
        clock=clock,
        report_s=report_s,
        networks=networks,
        features_s=features_s,
        fit_s=fit_s,
        training_bytes=max((_bytes(job.folder / name) for name in networks), default=0.0),
        score_s=(at[-1] - at[1]) / 3,
        figure_s=figure_s,
        figure_bytes=figure_bytes,
    )


def _labelled(study: Study, positions: np.ndarray, n: int) -> Labelled:
    """Return ``n`` configurations, liquid and glass by turns; they are large, not many."""
    mixture, size = MIXTURES[study.simulate.mixture], positions.shape[1]
    label = np.arange(n) % 2
    return Labelled(
        positions=positions[label],
        species=mixture.species(size),
        box=mixture.box(size),
        label=label,
        run=np.arange(n) // 2,
        e_pot=label.astype(float),
        e_is=label.astype(float),
    )


def _trained(
    model: models.Model, train_data: Labelled, validation_data: Labelled, study: Study, n_steps: int, folder: Path
) -> list[float]:
    """Train for so many steps and one evaluation; return when it began and when each step had ended."""
    settings = study.classify.train.model_copy(update={"n_steps": n_steps, "evaluate_every": n_steps, "enough": 0.0})
    at = [time.process_time()]
    learn.train(
        model,
        train_data,
        validation_data,
        settings,
        seed=study.seed,
        checkpoints=store.Checkpoints(folder),
        progress=lambda _done, _total: at.append(time.process_time()),
    )
    return at


def _network(
    model: models.Model, train_data: Labelled, validation_data: Labelled, study: Study, second_s: float, folder: Path
) -> Network:
    """Return the seconds of a network's parts; its second step, in the training before, took ``second_s``."""
    n_steps = int(np.clip(_NETWORK_S / second_s, 4, 40))
    at = _trained(model, train_data, validation_data, study, n_steps, folder)
    steps = np.diff(at)
    step_s = float(steps[1:-1].mean())
    n_shown = min(len(train_data.label), 512) + len(validation_data.label)
    return Network(
        begin_s=max(0.0, steps[0] - step_s) / len(train_data.label),
        step_s=step_s,
        score_s=max(0.0, steps[-1] - step_s) / n_shown,
    )


def _baseline(name: str, data: Labelled, n_train: int) -> tuple[float, float]:
    """Return the seconds of the features of one configuration, and of one fit."""
    few = data.take(np.arange(len(data.label)) < min(8, n_train))
    began = time.process_time()
    features = baselines.BASELINES[name](few)
    features_s = (time.process_time() - began) / len(few.label)
    n = min(n_train, 512)
    rng = np.random.default_rng(n)
    scattered = features[np.arange(n) % len(features)] + 0.1 * rng.normal(size=(n, features.shape[1]))
    label = np.arange(n) % 2
    began = time.process_time()
    baselines.fit(scattered, label, scattered[: n // 2], label[: n // 2])
    return features_s, (time.process_time() - began) * n_train / n


def _figure(study: Study, folder: Path) -> tuple[float, float, float]:
    """Return the seconds until the first figure is drawn beyond those of another, those, and the bytes of one."""
    settings = study.classify.train
    n = max(2, settings.n_steps // settings.evaluate_every)
    columns = ("samples", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    history = {name: np.linspace(0, 1, n).tolist() for name in columns}
    folder.mkdir(parents=True)
    at = [time.process_time()]
    for name in ("first", "second"):
        drawn = figures.learning_curves({"history": history, "caption": "calibration"})
        report.save(drawn, folder, name, history)
        at.append(time.process_time())
    in_page = (folder / "second.svg").stat().st_size * 4 / 3
    first_s, figure_s = np.diff(at).tolist()
    return max(0.0, first_s - figure_s), figure_s, _bytes(folder) / 2 + in_page
