"""Try many settings of a network and its training, and rank them by the loss on validation runs alone.

A *trial* is one choice of every swept setting, trained with several seeds, the same ones in every trial; each of these
trainings is a *replicate*. A replicate's loss is the validation loss of the weights that were kept, which is the lowest
that an evaluation found, and a trial is ranked by the mean over its replicates. Runs that test are never shown::

    folder/sweep.json                 what is swept, on which data; another sweep in the same folder is refused
           journal.log                Optuna's record of every trial, appended as it happens
           trials/0007/seed1/         checkpoints and outcome.json of one replicate
           leaderboard.json           every trial, the best first
           best.json                  the best one: its settings, and the folders of its replicates

Draws are functions of the seed and the trial's number, so a sweep that was killed goes on with the trials it would have
had: see :func:`run`.
"""

__all__ = ["leaderboard", "run"]

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import filelock
import numpy as np

from vitrify import learn, parallel, store
from vitrify.dataset import Labelled
from vitrify.models import Model
from vitrify.space import Range, Sweep, Values, applied, check
from vitrify.system import stream
from vitrify.training import Train

if TYPE_CHECKING:
    import optuna

Progress = Callable[[str, float, float], None]
"""Called with the stage's name, the trainings done and the trainings in all."""

_MARGIN = 0.05
"""A validation accuracy that is not more than this above chance has learned nothing."""


def run(
    sweep: Sweep,
    model: Model,
    train_settings: Train,
    train_data: Labelled,
    validation_data: Labelled,
    folder: Path,
    *,
    seed: int,
    n_workers: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return the leaderboard of a sweep, doing only what an earlier call in the same folder has not done.

    A trial that a kill cut short goes on from its last checkpoint with the settings it had. Grid and random draws
    depend on the seed and the trial's number alone, so without pruning neither a kill nor the number of workers changes
    a result. TPE and the median pruner look at the trials that are complete at that moment: with one worker a kill
    changes nothing, with several it matters which trial ends first. More trials may be asked for in a later call.

    Args:
        sweep: What is swept.
        model: Settings of the network; those that are not swept stay.
        train_settings: Settings of the training; those that are not swept stay, those that were not given take the
            network's recipe.
        train_data: Configurations that set the weights.
        validation_data: Configurations of other runs, which choose the weights kept and rank the trials. Those of the
            runs that test have no place here.
        folder: Where everything is kept.
        seed: The study's seed: of the draws, and of the replicates.
        n_workers: Processes.
        progress: Told how many trainings are done.

    Returns:
        The contents of ``leaderboard.json``, which :func:`leaderboard` describes.

    Raises:
        ValueError: A path is no setting or a value is refused (all such are named, and nothing has run); the two data
            sets share a run; the folder holds another sweep.
        TimeoutError: Another process is at work on the sweep.
        store.DamagedFileError: A file of an earlier call cannot be read.

    References:
        Akiba et al., 2019, doi:10.1145/3292500.3330701 (Optuna)
        Bergstra et al., 2011, https://papers.nips.cc/paper/4443 (TPE)
    """
    check(sweep, model, train_settings)
    shared = np.intersect1d(train_data.run, validation_data.run)
    if len(shared):
        raise ValueError(f"train_data and validation_data must share no run; both hold run {shared[0]}")
    total, done = sweep.n_planned * sweep.n_seeds, 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("sweep", done, total)

    def job(number: int | None) -> _Job:
        return _Job(
            sweep=sweep,
            model=model,
            settings=train_settings,
            train=train_data,
            validation=validation_data,
            folder=folder,
            seed=seed,
            number=number,
        )

    with store.locked(folder):
        _identify(sweep, model, train_settings, train_data, validation_data, folder, seed=seed)
        _mend(folder / _JOURNAL)
        held = [trial.state.is_finished() for trial in _journal(sweep, folder).get_trials(deepcopy=False)]
        tick(sum(held[: sweep.n_planned]) * sweep.n_seeds)
        # the folder is ours: a trial that is not finished was cut short
        cut = [number for number, finished in enumerate(held[: sweep.n_planned]) if not finished]
        new: list[int | None] = [None] * (sweep.n_planned - len(held))
        parallel.spread(_try, [job(number) for number in [*cut, *new]], n_workers=n_workers, progress=tick)
        results = leaderboard(folder)
        store.write_json(folder / "leaderboard.json", results)
        store.write_json(folder / "best.json", results["best"])
    return results


def leaderboard(folder: Path) -> dict[str, Any]:
    """Return every finished trial of a sweep, the lowest mean validation loss first; also while the sweep runs.

    Returns:
        ``sweep``, ``model``, ``train`` and ``seed`` as they were given; ``chance``, the share of the larger class among
        the validation data; ``best``, ``None`` before a trial is complete; and ``rows``, each with

        - ``trial``, its number, and ``state``, ``complete`` or ``pruned``;
        - ``settings``, the value of each path;
        - ``loss`` and ``accuracy`` on the validation data of the weights kept: ``mean``, ``sd`` and ``n`` over the
          replicates; ``mean`` is ``None`` where one diverged, and of a pruned trial, which come last;
        - ``n_diverged``: replicates whose loss became infinite or not a number;
        - ``n_collapsed``: replicates that diverged, or whose accuracy is at most 0.05 above ``chance`` while that of
          another replicate of the sweep is not;
        - ``seconds`` of training, and ``replicates``, one entry for each.

    Raises:
        ValueError: The folder holds no sweep.
        store.DamagedFileError: A file cannot be read.
    """
    identity = store.read_json(folder / "sweep.json")
    if identity is None:
        raise ValueError(f"{folder} holds no sweep.json: run a sweep there first")
    sweep = Sweep.model_validate(identity["sweep"])
    trials = _journal(sweep, folder).get_trials(deepcopy=False)[: sweep.n_planned]
    kept = {trial.number: _outcomes(folder, trial.number, sweep.n_seeds) for trial in trials}
    bar = identity["chance"] + _MARGIN
    if not any(one["accuracy"] > bar for ones in kept.values() for one in ones if not one["diverged"]):
        bar = -math.inf  # where nobody learns, nobody has collapsed
    rows = [_row(trial, kept[trial.number], bar) for trial in trials if trial.state.is_finished()]
    rows.sort(key=lambda row: (row["state"] == "pruned", row["n_diverged"], row["loss"]["mean"] or 0.0, row["trial"]))
    return {**identity, "rows": rows, "best": _best(rows)}


def _row(trial: "optuna.trial.FrozenTrial", replicates: list[dict[str, Any]], bar: float) -> dict[str, Any]:
    """Return what the leaderboard says of a trial; accuracies up to the bar count as collapsed."""
    n_diverged = sum(one["diverged"] for one in replicates)
    complete = trial.state.name == "COMPLETE"
    ranked = replicates if complete and not n_diverged else []
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "settings": _values(trial.params),
        "loss": _moments([one["loss"] for one in ranked]),
        "accuracy": _moments([one["accuracy"] for one in ranked]),
        "n_diverged": n_diverged,
        "n_collapsed": sum(one["diverged"] or (complete and one["accuracy"] <= bar) for one in replicates),
        "seconds": sum(one["seconds"] for one in replicates),
        "replicates": replicates,
    }


def _moments(values: Sequence[float]) -> dict[str, Any]:
    mean = float(np.mean(values)) if values else None
    return {"mean": mean, "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None, "n": len(values)}


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return which trial won, its settings in full, and where its networks are, the lowest loss first."""
    if not rows or rows[0]["loss"]["mean"] is None:
        return None
    ordered = sorted(rows[0]["replicates"], key=lambda one: one["loss"])
    same = {name: rows[0][name] for name in ("trial", "settings", "loss", "accuracy")}
    whole = {name: ordered[0][name] for name in ("model", "train")}
    return same | whole | {"folders": [one["folder"] for one in ordered]}


_JOURNAL = "journal.log"


def _identify(
    sweep: Sweep,
    model: Model,
    train: Train,
    train_data: Labelled,
    validation_data: Labelled,
    folder: Path,
    *,
    seed: int,
) -> None:
    """Write what decides the results, or refuse what differs from an earlier call; the number of trials may."""
    label = validation_data.label
    identity = {
        "sweep": sweep.model_dump(mode="json"),
        "model": json.loads(model.model_dump_json()),
        "train": train.model_dump(mode="json"),
        "train_given": sorted(train.model_fields_set),
        "seed": seed,
        "data": {"train": train_data.digest, "validation": validation_data.digest},
        "n_train": len(train_data.label),
        "n_validation": len(label),
        "chance": float(max(label.mean(), 1 - label.mean())),
    }
    held = store.read_json(folder / "sweep.json")
    if held is not None:
        held["sweep"]["n_trials"] = sweep.n_trials
        different = [name for name in identity if held.get(name) != identity[name]]
        if different:
            raise ValueError(f"{folder} holds a sweep with other {', '.join(different)}: give each its own folder")
    store.write_json(folder / "sweep.json", identity)


def _mend(journal: Path) -> None:
    """Drop a last line that a kill cut in two: Optuna cannot read past it."""
    if journal.exists() and not (content := journal.read_bytes()).endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _journal(sweep: Sweep, folder: Path) -> "optuna.Study":
    """Return Optuna's record of the trials."""
    import optuna  # only a sweep needs it
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    # Optuna's own lock outlives a killed process by half a minute; this one goes with it
    lock: Any = filelock.FileLock(folder / ".journal.lock")
    median = optuna.pruners.MedianPruner(n_startup_trials=sweep.n_unpruned, n_warmup_steps=sweep.prune_from)
    known: dict[str, Any] = {
        "storage": JournalStorage(JournalFileBackend(str(folder / _JOURNAL), lock_obj=lock)),
        "study_name": "sweep",
        "sampler": optuna.samplers.RandomSampler(seed=0),  # never draws: each trial is drawn by a sampler of its own
        "pruner": median if sweep.prune == "median" else optuna.pruners.NopPruner(),
    }
    talkative = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.load_study(**known)
    except KeyError:
        return optuna.create_study(**known, direction="minimize")
    finally:
        optuna.logging.set_verbosity(talkative)


def _values(params: dict[str, Any]) -> dict[str, Any]:
    """Return the value of each path; the journal holds a choice as JSON, so that it may be a table."""
    return {path: json.loads(value) if isinstance(value, str) else value for path, value in sorted(params.items())}


def _place(folder: Path, number: int, replicate: int) -> Path:
    return folder / "trials" / f"{number:04d}" / f"seed{replicate}"


def _outcomes(folder: Path, number: int, n_seeds: int) -> list[dict[str, Any]]:
    """Return what is kept of the replicates of a trial that are finished."""
    found = (store.read_json(_place(folder, number, replicate) / "outcome.json") for replicate in range(n_seeds))
    return [outcome for outcome in found if outcome is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One trial to train: a numbered one that was cut short, or the next."""

    sweep: Sweep
    model: Model
    settings: Train
    train: Labelled
    validation: Labelled
    folder: Path
    seed: int
    number: int | None


class _PrunedError(Exception):
    """The trial is given up."""


def _try(job: _Job, tick: parallel.Tick) -> None:
    """Draw a trial and train it with every seed."""
    import optuna

    study = _journal(job.sweep, job.folder)
    with store.locked(job.folder / "trials"):
        trial = _drawn(study, job)
    told = 0.0

    def progress(done: float) -> None:
        nonlocal told
        tick(done - told)
        told = done

    with store.locked(job.folder / "trials" / f"{trial.number:04d}"):
        losses: list[float] = []
        try:
            for replicate in range(job.sweep.n_seeds):
                losses.append(_replicate(job, trial, replicate, lambda part: progress(len(losses) + part)))
                progress(len(losses))
        except _PrunedError:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, float(np.mean(losses)))
    progress(job.sweep.n_seeds)


def _drawn(study: "optuna.Study", job: _Job) -> "optuna.Trial":
    """Return a trial with all its values; nobody else draws at the same time."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    number = len(trials) if job.number is None else job.number
    harmless = study.sampler
    if job.number is None:
        study.sampler = _sampler(job, number, "all")
        trial = study.ask()
    else:
        if trials[number].params.keys() != job.sweep.space.keys():  # cut short while it was drawn
            study.sampler = _sampler(job, number, "all")
            study.sampler.before_trial(study, trials[number])
        trial = optuna.Trial(study, trials[number]._trial_id)
    for path, values in sorted(job.sweep.space.items()):
        study.sampler = _sampler(job, number, path)  # of its own, so that it matters not what a kill left drawn
        _suggest(trial, path, values)
    study.sampler = harmless  # a grid's would stop Optuna's own loop, which is not ours, after the last trial
    return trial


def _sampler(job: _Job, number: int, what: str) -> "optuna.samplers.BaseSampler":
    """Return what draws one path of one trial, or all of them together: the same draws at every call."""
    import optuna

    if job.sweep.sampler == "grid":
        grid = {path: _plain(job.sweep.space[path], listed) for path, listed in job.sweep.grid.items()}
        return optuna.samplers.GridSampler(grid, seed=int(stream(job.seed, "sweep", "grid").integers(2**31)))
    own = int(stream(job.seed, "sweep", "draw", number, what).integers(2**31))
    return optuna.samplers.TPESampler(seed=own) if job.sweep.sampler == "tpe" else optuna.samplers.RandomSampler(own)


def _suggest(trial: "optuna.Trial", path: str, values: Values) -> None:
    """Draw the value of one path, unless it is drawn."""
    if not isinstance(values, Range):
        trial.suggest_categorical(path, _plain(values, values))
    elif values.whole:
        step = 1 if values.step is None else int(values.step)
        trial.suggest_int(path, int(values.low), int(values.high), step=step, log=values.log)
    else:
        trial.suggest_float(path, values.low, values.high, step=values.step, log=values.log)


def _plain(values: Values, listed: Sequence[Any]) -> list[Any]:
    """Return the numbers of a range as they are, and choices as JSON."""
    return list(listed) if isinstance(values, Range) else [json.dumps(value) for value in listed]


def _replicate(job: _Job, trial: "optuna.Trial", replicate: int, progress: Callable[[float], None]) -> float:
    """Train one replicate, unless that is done, and return its loss; the first may give the trial up."""
    folder = _place(job.folder, trial.number, replicate)
    outcome = store.read_json(folder / "outcome.json")
    if outcome is None:
        model, settings = applied(job.model, job.settings, _values(trial.params))
        seed = int(stream(job.seed, "sweep", "train", replicate).integers(2**31))
        outcome = {
            "folder": folder.relative_to(job.folder).as_posix(),
            "seed": seed,
            "model": json.loads(model.model_dump_json()),
            "train": settings.model_dump(mode="json"),
        }
        kept = store.Checkpoints(folder)
        # the end of the only training is too late to give up
        reporting = _Reporting(kept, trial, before=settings.n_steps if job.sweep.n_seeds == 1 else None)
        shown = reporting if replicate == 0 else kept
        outcome |= _result(kept, lambda: _train(job, model, settings, seed, shown, progress))
        folder.mkdir(parents=True, exist_ok=True)  # a training may diverge before its first checkpoint
        store.write_json(folder / "outcome.json", outcome)
    if outcome["pruned"]:
        raise _PrunedError
    return math.inf if outcome["diverged"] else float(outcome["loss"])


def _train(
    job: _Job,
    model: Model,
    settings: Train,
    seed: int,
    checkpoints: learn.Checkpoints,
    progress: Callable[[float], None],
) -> None:
    learn.train(
        model,
        job.train,
        job.validation,
        settings,
        seed=seed,
        checkpoints=checkpoints,
        progress=lambda done, total: progress(done / total),
    )


def _result(kept: learn.Checkpoints, train: Callable[[], None]) -> dict[str, Any]:
    """Train, and return what became of it."""
    began, pruned = time.perf_counter(), False
    try:
        train()
    except _PrunedError:
        pruned = True
    except FloatingPointError:
        return _DIVERGED | {"seconds": time.perf_counter() - began}
    history = (kept.load("last") or {})["history"]
    losses = history["validation_loss"]
    if not np.isfinite(losses).all():
        return _DIVERGED | {"seconds": history["seconds"][-1]}
    best = losses.index(min(losses))
    return {
        "pruned": pruned,
        "diverged": False,
        "loss": losses[best],
        "accuracy": history["validation_accuracy"][best],
        "step": history["step"][best],
        "seconds": history["seconds"][-1],
        "history": history,
    }


_DIVERGED = {"pruned": False, "diverged": True, "loss": None, "accuracy": None, "step": None, "history": None}


class _Reporting:
    """Checkpoints that report each evaluation to a trial, once, and end it when it is to be pruned.

    Args:
        kept: The checkpoints.
        trial: The trial.
        before: Step from which nothing is pruned.
    """

    def __init__(self, kept: learn.Checkpoints, trial: "optuna.Trial", *, before: int | None) -> None:
        self._kept, self._trial, self._before = kept, trial, before
        self._reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def load(self, which: Literal["last", "best"]) -> dict[str, Any] | None:
        """Return a saved state, and report what a kill kept from being reported."""
        state = self._kept.load(which)
        if which == "last" and state is not None:
            self._report(state["history"])
        return state

    def save(self, which: Literal["last", "best"], state: dict[str, Any]) -> None:
        """Replace a saved state, then report."""
        self._kept.save(which, state)
        if which == "last":
            self._report(state["history"])

    def _report(self, history: dict[str, list[float]]) -> None:
        for step, loss in zip(history["step"], history["validation_loss"], strict=True):
            if step not in self._reported:
                self._trial.report(loss, int(step))
                self._reported.add(int(step))
        may = self._before is None or history["step"][-1] < self._before
        if may and self._trial.should_prune():
            raise _PrunedError
