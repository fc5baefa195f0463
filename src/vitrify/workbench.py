"""One classifier at a time on the runs of a study: train, go on from another, evaluate, sweep, cross-validate.

Everything is kept below the folder of the study, beside what the study itself keeps, and found again by a second call::

    out/trained/NAME/   checkpoints and outcome.json of one training
        sweeps/NAME/    a sweep: see vitrify.sweep
        folds/NAME/     a cross-validation: one folder a fold, and folds.json
        figures/        learning curves, leaderboards, reliability and folds

Validation runs are all that is scored, unless test runs are asked for by name. A run that trained, chose or calibrated
a network, or one that it goes on from, never tests it: see `vitrify.lineage`.
"""

__all__ = [
    "Averaging",
    "Task",
    "cross_validate",
    "data",
    "evaluate",
    "inputs",
    "network",
    "parted",
    "scored",
    "sweep",
    "train",
    "where",
]

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Integer

from vitrify import (
    baselines,
    classify,
    dataset,
    energy,
    entries,
    learn,
    learning_figures,
    lineage,
    log,
    parallel,
    report,
    scores,
    store,
    study,
    sweep_figures,
)
from vitrify import evaluate as evaluation
from vitrify import sweep as sweeps
from vitrify.claims import Claim, judge
from vitrify.conclusions import SHOWN_AS
from vitrify.dataset import Labelled, Split
from vitrify.evaluate import Averaging
from vitrify.models import MODELS, Network, suited
from vitrify.settings import CLASSES, Input, Study, class_names, split
from vitrify.system import stream
from vitrify.training import summary

Progress = Callable[[str, float, float], None]
Part = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What is told apart: the record ``classify.k_glass`` of a study, mostly its glass, and another, mostly a liquid.

    Args:
        input: Configurations shown.
        k: Record labelled liquid, counted from 1; 0 is the pair of equal energy, if the study has one.
    """

    input: Input
    k: int

    @property
    def name(self) -> str:
        """How it is called in the names of folders."""
        return f"{self.input}-" + ("equal-energy" if self.k == classify.EQUAL_ENERGY else f"k{self.k:03d}")


def data(chosen: Study, out: Path, task: Task, *, n_workers: int, progress: Progress) -> Labelled:
    """Return the configurations of all runs, simulating those that are missing.

    Raises:
        ValueError: The study has no such record.
        store.DamagedFileError: A file of an earlier call cannot be read.
    """
    return inputs(chosen, out, task, n_workers=n_workers, progress=progress)[task.input]


def inputs(chosen: Study, out: Path, task: Task, *, n_workers: int, progress: Progress) -> dict[Input, Labelled]:
    """Return the configurations of all runs, thermal and inherent as far as they exist: each run is known by both.

    Raises:
        ValueError: The study has no such record, or no configurations of the task's input.
        store.DamagedFileError: A file of an earlier call cannot be read.
    """
    last, glass = chosen.simulate.bath.n_frames, chosen.classify.k_glass
    if task.k == classify.EQUAL_ENERGY and chosen.equal_energy is None:
        raise ValueError("k = 0 is the pair of equal energy, and the study has none: give it a table [equal_energy]")
    if not 0 <= task.k <= last or task.k == glass:
        raise ValueError(
            f"k must be a record of the study, 1 to {last}, other than classify.k_glass = {glass}; got {task.k}"
        )
    study.simulate(chosen, out, n_workers=n_workers, progress=progress)
    if task.k == classify.EQUAL_ENERGY:
        return study.matched(chosen, out, n_workers=n_workers, progress=progress)[1]
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=(task.k, glass))
    return {
        name: dataset.labelled(ensemble, inherent=name == "inherent", k_glass=glass, k_liquid=task.k)
        for name in dict.fromkeys((*chosen.simulate.inputs, task.input))
    }


def network(chosen: Study, kind: str) -> Network:
    """Return the settings of a network: those of the study, or the defaults of its kind for what the study is of.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {kind!r}")
    own = next((model for model in chosen.models if model.kind == kind), None)
    return own or suited(kind, chosen.simulate.liquid)


def train(
    chosen: Study,
    out: Path,
    task: Task,
    *,
    kind: str,
    seed: int = 0,
    called: str | None = None,
    parent: tuple[Path, Literal["last", "best"]] | None = None,
    n_workers: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return the outcome of one training, going on from its last checkpoint if it was interrupted.

    Args:
        chosen: The study whose runs, split, networks and training settings are used.
        out: Its folder.
        task: What is told apart.
        kind: Kind of network.
        seed: Draws weights, batches and symmetries.
        called: Name of the folder; by default of the task, network and seed, and of the stage in the lineage.
        parent: Folder of a training to begin from, and whether from its ``best`` or its ``last`` state.
        n_workers: Processes that simulate what is missing.
        progress: Told the steps taken.

    Returns:
        The contents of ``outcome.json``: settings, digest of the data, ``lineage`` (the oldest training first),
        ``runs`` (numbers of those that trained and of those that chose), ``seen`` (their marks, with those of all
        ancestors), history with its summary, and the scores on the validation runs with those of the energy beside
        them. A validation run that trained an ancestor is not scored; ``n_left_out`` counts those.

    Raises:
        ValueError: The folder holds a training of other settings or data, the parent cannot be continued, or nothing
            says which runs trained it.
    """
    model, sets = network(chosen, kind), inputs(chosen, out, task, n_workers=n_workers, progress=progress)
    everything, parts, known_by = sets[task.input], split(chosen), lineage.runs(chosen, sets.values())
    before = lineage.NOTHING if parent is None else lineage.of_training(parent[0])
    unseen = parts.validation[~lineage.met(known_by, before)[0][parts.validation]]
    settings = learn.recipe(model, chosen.classify.train)
    begun = (
        None
        if parent is None
        else learn.Parent(name=parent[0].name, checkpoints=store.Checkpoints(parent[0]), which=parent[1])
    )
    stage = "" if begun is None else f"-T{len(_outcome(parent[0])['lineage']) + 2}" if parent else ""
    folder = out / "trained" / (called or f"{task.name}-{kind}-S{seed}{stage}")
    trains, chooses = everything.of_runs(parts.train), everything.of_runs(parts.validation)
    known = entries.known(
        chosen,
        folder,
        settings=_settings(chosen, task, kind) | {"control": False, "seed": seed},
        network=model,
        train=settings,
        data=trains,
        lineage=() if parent is None else [*_names(parent[0]), parent[0].name],
    )
    with store.locked(folder), _unless_done(out, folder, known) as entry:
        trained = learn.train(
            model,
            trains,
            chooses,
            settings,
            seed=int(stream(chosen.seed, "workbench", task.name, kind, seed).integers(2**31)),
            checkpoints=store.Checkpoints(folder),
            parent=begun,
            progress=lambda done, total: progress("train", done, total),
        )
        outcome = {
            "name": folder.name,
            "input": task.input,
            "train_k": task.k,
            "glass_k": chosen.classify.k_glass,
            "model": kind,
            "settings": model.model_dump(mode="json"),
            "train": settings.model_dump(mode="json"),
            "seed": seed,
            "labels": learn.LABELS,
            "classes": list(class_names(chosen, task.k)),
            "data": everything.digest,
            "lineage": [asdict(one) for one in trained.parents],
            "runs": {"train": parts.train.tolist(), "validation": parts.validation.tolist()},
            "seen": (before | lineage.Seen.by(known_by, parts)).as_json(),
            "history": trained.history,
            "summary": summary(trained.history),
            "weights": classify.weights(trained),
            "n_left_out": len(parts.validation) - len(unseen),
            "scores": scored(
                chosen,
                everything,
                parts,
                "validation",
                task,
                {kind: lambda shown: learn.predict(trained, shown)},
                runs=unseen,
            )
            if len(unseen)
            else [],
        }
        store.write_json(folder / "outcome.json", outcome)
        _draw(outcome, out)
        entry |= _found(outcome, store.Checkpoints(folder), model, chooses)
    return dict(store.read_json(folder / "outcome.json"))


def _draw(outcome: Mapping[str, Any], out: Path) -> None:
    """Draw the learning curves of a training and, where they are few enough to read, its weights."""
    shown, name = {**outcome, "caption": _caption(outcome)}, outcome["name"]
    report.save(learning_figures.training_curves(shown), _made(out / "figures"), f"trained_{name}", outcome["history"])
    if outcome["weights"] is not None:
        figure = learning_figures.weights_figure(shown)
        report.save(figure, out / "figures", f"weights_{name}", report.weights_columns(outcome["weights"]))


def _settings(chosen: Study, task: Task, kind: str) -> dict[str, Any]:
    """Return what is told apart, and by what, as the log names it."""
    called = class_names(chosen, task.k)
    told = {"input": task.input, "model": kind, "train_k": task.k, "glass_k": chosen.classify.k_glass}
    return told if called == CLASSES else told | {"classes": list(called)}


def _unless_done(out: Path, folder: Path, known: Mapping[str, Any]) -> AbstractContextManager[dict[str, Any]]:
    """Return the context that logs a training; one that is finished is not logged again."""
    if (folder / "outcome.json").exists():
        return nullcontext({})
    return log.recorded(out, kind="train", name=folder.name, known=known)


def _found(
    outcome: Mapping[str, Any], checkpoints: store.Checkpoints, model: Network, chooses: Labelled
) -> dict[str, Any]:
    """Return what the log keeps of a training: its validation scores, and those of its last weights beside them."""
    own, *others = ({"validation": row} for row in outcome["scores"]) if outcome["scores"] else ({},)
    scorer, last = entries.last_weights(model, checkpoints, outcome["history"]), None
    if scorer is not None:
        last = {"validation": entries.scored(scorer(chooses), chooses)}
    figures = {"figures": [f"figures/trained_{outcome['name']}.png"]}
    return entries.found(own, outcome["history"], last=last) | ({"energy": others[0]} if others else {}) | figures


def _logged(
    chosen: Study, out: Path, name: str, settings: Mapping[str, Any], *, data: str = ""
) -> AbstractContextManager[dict[str, Any]]:
    """Return the context that logs what is made of networks: an evaluation, a sweep, a cross-validation."""
    every = {**settings, "study": chosen.model_dump(mode="json")}
    digest = hashlib.sha256(json.dumps(every, sort_keys=True, default=str).encode()).hexdigest()
    known = {"study": chosen.name, "settings": every, "lineage": [], "data": data, "versions": store.versions()}
    return log.recorded(out, kind="analyse", name=f"{name}-{digest[:6]}", known=known)


def _names(folder: Path) -> list[str]:
    return [one["name"] for one in _outcome(folder)["lineage"]]


def evaluate(
    chosen: Study,
    out: Path,
    task: Task,
    folders: Sequence[Path],
    *,
    part: Part = "validation",
    averaging: Averaging | None = None,
    n_workers: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return the scores of trained networks, each alone and averaged, on the runs of any study; nothing is trained.

    A run that trained or chose any of the networks, or one that they go on from, is left out of ``test`` and ``all``,
    and one that trained them of ``validation``. What ``train`` and ``validation`` score is no test, and the counts say
    so. Threshold and temperature are fitted on validation runs that trained none of the networks, and these are not
    scored: there is no calibrated row of ``validation``.

    Args:
        chosen: The study whose runs are scored; not necessarily the one that trained the networks.
        out: Its folder.
        task: What is told apart.
        folders: Folders of trainings.
        part: Runs that are scored, by the split of ``chosen``.
        averaging: Symmetries and shifts that each network looks at a configuration under.
        n_workers: Processes that simulate what is missing.
        progress: Told the records kept of what is missing.

    Returns:
        The ``scores`` and ``reliability``; ``n_runs`` that were scored, and ``n_left_out`` of the part; of those
        scored, ``n_trained`` that trained and ``n_chose`` that chose a network; ``n_calibrated``, the runs that
        threshold and temperature were fitted on.

    Raises:
        ValueError: A folder holds no finished training, nothing says which runs trained it, or no run is left.
    """
    sets = inputs(chosen, out, task, n_workers=n_workers, progress=progress)
    everything, parts = sets[task.input], split(chosen)
    outcomes = [_outcome(folder) for folder in folders]
    networks = [
        learn.restore(MODELS[one["model"]].model_validate(one["settings"]), store.Checkpoints(folder))
        for one, folder in zip(outcomes, folders, strict=True)
    ]
    looks = averaging or Averaging()
    seen = lineage.together(lineage.of_training(folder) for folder in folders)
    trained, chose = lineage.met(lineage.runs(chosen, sets.values()), seen)
    runs, calibrates = _may_test(parts, part, trained=trained, chose=chose)

    def member(place: int) -> evaluation.Scorer:
        return lambda shown: evaluation.averaged(networks[place], shown, looks)

    def together(shown: Labelled) -> np.ndarray:
        return evaluation.combine(evaluation.members(networks, shown, looks), over=looks.over)

    scorers = {one["name"]: member(place) for place, one in enumerate(outcomes)}
    if len(networks) > 1:
        scorers["averaged"] = together
    last = list(scorers)[-1]
    tabled = [last]
    if len(calibrates):
        tabled.append(f"{last}, calibrated")
        chooses = everything.of_runs(calibrates)
        scorers[tabled[-1]] = evaluation.calibrated(scorers[last], chooses, move_threshold=True)
    shown = everything.of_runs(runs)
    rng = stream(chosen.seed, "evaluate", task.name, part)
    tables = {
        name: asdict(evaluation.reliability(scorers[name](shown), shown.label, shown.run, rng=rng)) for name in tabled
    }
    found = {
        "networks": [str(folder) for folder in folders],
        "input": task.input,
        "k": task.k,
        "part": part,
        "averaging": looks.model_dump(mode="json"),
        "labels": learn.LABELS,
        "classes": list(class_names(chosen, task.k)),
        "data": everything.digest,
        "trained_on_these_data": [one["data"] == everything.digest for one in outcomes],
        "n_runs": len(runs),
        "n_left_out": len(_numbers(parts, part)) - len(runs),
        "n_trained": int(trained[runs].sum()),
        "n_chose": int(chose[runs].sum()),
        "n_calibrated": len(calibrates),
        "scores": scored(chosen, everything, parts, part, task, scorers, runs=runs),
        "reliability": tables,
    }
    asked = {name: found[name] for name in ("networks", "input", "k", "part", "averaging")}
    with _logged(chosen, out, f"evaluate-{task.name}-{part}", asked, data=everything.digest) as entry:
        results = {name: found[name] for name in ("scores", "n_runs", "n_left_out")}
        entry |= {"lineage": [folder.name for folder in folders], "results": results}
    return found


def _may_test(
    parts: Split, part: Part, *, trained: Bool[np.ndarray, " r"], chose: Bool[np.ndarray, " r"]
) -> tuple[Integer[np.ndarray, " a"], Integer[np.ndarray, " b"]]:
    """Return the runs of a part that are scored, and the validation runs that calibrate; none is both.

    Args:
        parts: The split of the study whose runs are scored.
        part: What was asked for.
        trained: Whether each run trained a network or an ancestor.
        chose: Whether it chose one.

    Raises:
        ValueError: No run is left to score.
    """
    asked, fair = _numbers(parts, part), parts.validation[~trained[parts.validation]]
    if part == "train":
        return asked, fair
    if part == "validation":
        runs, calibrates = asked[~trained[asked]], asked[:0]
    else:
        runs, calibrates = np.setdiff1d(asked[~(trained | chose)[asked]], fair), fair
    if not len(runs):
        raise ValueError(
            f"part must hold a run that the networks have not seen; each of the {len(asked)} runs of part = {part!r} "
            f"trained, chose or calibrates a network or one that it goes on from ({trained[asked].sum()} trained, "
            f"{chose[asked].sum()} chose): evaluate under the split that trained the networks, or on other runs"
        )
    return runs, calibrates


def sweep(chosen: Study, out: Path, task: Task, *, kind: str, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Return the leaderboard of the study's sweep for one network, and draw it.

    Raises:
        ValueError: The study has no table ``[sweep]``, or a path or value in it is refused.
    """
    if chosen.sweep is None:
        raise ValueError("the study has nothing to sweep: give it a table [sweep] with a space of settings")
    everything, parts = parted(chosen, out, task, n_workers, progress)
    folder = out / "sweeps" / f"{task.name}-{kind}"
    asked = _settings(chosen, task, kind)
    with _logged(chosen, out, f"sweep-{folder.name}", asked, data=everything.digest) as entry:
        results = sweeps.run(
            chosen.sweep,
            network(chosen, kind),
            chosen.classify.train,
            everything.of_runs(parts.train),
            everything.of_runs(parts.validation),
            folder,
            seed=chosen.seed,
            n_workers=n_workers,
            progress=progress,
        )
        drawn = {"leaderboard": sweep_figures.leaderboard_figure, "sweep": sweep_figures.parallel_coordinates}
        for name, draw in drawn.items():
            report.save(draw(results), _made(out / "figures"), f"{name}_{folder.name}", {})
        entry |= {
            "figures": [f"figures/{name}_{folder.name}.png" for name in drawn],
            "results": {"best": results["best"], "n_trials": len(results["rows"])},
        }
    runs = {"train": parts.train.tolist(), "validation": parts.validation.tolist()}
    return results | {"folder": str(folder), "runs": runs}


def cross_validate(
    chosen: Study,
    out: Path,
    task: Task,
    *,
    kinds: Sequence[str],
    n_folds: int = 5,
    n_inner: int = 0,
    n_workers: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return the table of a cross-validation by run: every run is tested once.

    Args:
        chosen: The study; its own split plays no part.
        out: Its folder.
        task: What is told apart.
        kinds: Networks and baselines. With ``n_inner``, each fold chooses among them for itself.
        n_folds: Parts the runs are dealt into.
        n_inner: Parts inside the training and validation runs of each fold; 0 does not nest.
        n_workers: Processes that simulate what is missing, and train.
        progress: Told the networks trained.

    Returns:
        ``input``, ``k``, ``n_folds``, ``n_inner``, ``runs`` (numbers of the runs that train, choose and test in each
        fold) and the rows of ``table``: those of `vitrify.evaluate.table` with the ``model`` and, in the pooled rows,
        where the energy is known: ``auc_minus_energy``, how far the AUC is above that of the energy alone on the same
        runs; ``auc_at_equal_energy``, what is left at equal energy (both as `vitrify.scores.Difference`); and the
        ``claim`` whether the model sees more than the energy.

    Raises:
        ValueError: There is no such network or baseline, or too few runs.
    """
    everything = data(chosen, out, task, n_workers=n_workers, progress=progress)
    nested = (
        dataset.nested_folds(chosen.simulate.n_runs, n_folds=n_folds, n_inner=n_inner, seed=chosen.seed)
        if n_inner
        else []
    )
    splits = [one.outer for one in nested] or dataset.folds(chosen.simulate.n_runs, n_folds=n_folds, seed=chosen.seed)
    place = out / "folds" / f"{task.name}-{n_folds}x{n_inner}"
    parts: dict[tuple[int, ...], Split] = {} if nested else {(one,): parts for one, parts in enumerate(splits)}
    for one, outer in enumerate(nested):
        parts |= {(one, two): inner for two, inner in enumerate(outer.inner)}
    jobs = [
        _Fold(study=chosen, out=out, task=task, kind=kind, folder=place / kind, fold=fold, split=split)
        for fold, split in parts.items()
        for kind in kinds
        if kind not in baselines.BASELINES
    ]
    done = 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("cross-validate", done, len(jobs))

    fits = {kind: _fit(chosen, kind, task, place / kind) for kind in kinds}
    parallel.spread(_train_fold, jobs, n_workers=n_workers, progress=tick)
    word = baselines.ENERGY[task.input]
    by_energy = _fit(chosen, word, task, Path()) if chosen.simulate.liquid.has_potential else None
    if nested:
        fits = {"chosen inside": evaluation.chosen_inside(fits, everything, nested)}
    if by_energy is not None and word not in fits:
        fits[word] = by_energy
    results: dict[str, Any] = {"input": task.input, "k": task.k, "n_folds": n_folds, "n_inner": n_inner}
    results["runs"] = [{name: runs.tolist() for name, runs in asdict(one).items()} for one in splits]
    asked = {"input": task.input, "k": task.k, "kinds": list(kinds), "n_folds": n_folds, "n_inner": n_inner}
    with _logged(chosen, out, f"crossvalidate-{place.name}", asked, data=everything.digest) as entry:
        found = {name: evaluation.cross_validate(fit, everything, splits) for name, fit in fits.items()}
        beside = {} if by_energy is None else _beside(found, word, everything, chosen, task)
        nothing = {"auc_minus_energy": None, "auc_at_equal_energy": None, "claim": None}
        results["table"] = [
            {"model": name} | row | (beside.get(name, nothing) if row["fold"] == "pooled" else nothing)
            for name, one in found.items()
            for row in evaluation.table(one)
        ]
        store.write_json(_made(place) / "folds.json", results)
        entry["results"] = {"table": results["table"]}
    return dict(store.read_json(place / "folds.json"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fold:
    """One training of a cross-validation; whoever trains reads the configurations."""

    study: Study
    out: Path
    task: Task
    kind: str
    folder: Path
    fold: tuple[int, ...]
    split: Split


def _train_fold(job: _Fold, tick: parallel.Tick) -> None:
    """Train a network on one fold, or find it trained."""
    everything = data(job.study, job.out, job.task, n_workers=1, progress=lambda *_: None)
    parts = (everything.of_runs(runs) for runs in (job.split.train, job.split.validation))
    _fit(job.study, job.kind, job.task, job.folder)(*parts, fold=job.fold)
    tick(1)


def _beside(
    found: Mapping[str, evaluation.CrossValidation], by_energy: str, everything: Labelled, chosen: Study, task: Task
) -> dict[str, dict[str, Any]]:
    """Return what the pooled scores of each classifier are beside the energy's, over the same runs."""
    known, names = found[by_energy], [name for name in found if name != by_energy]
    n_runs = len(np.unique(everything.run))
    apart = {
        name: scores.compare(found[name].logit, known.logit, everything.label, everything.run, fold=known.fold).auc
        for name in names
    }
    more = {
        name: energy.adds(
            found[name].logit,
            -everything.energy(by_energy),  # type: ignore[arg-type]
            everything.label,
            everything.run,
            fold=known.fold,
        )
        for name in names
    }
    claims = _more(list(more.items()), task, chosen, n_runs)
    return {
        name: {
            "auc_minus_energy": asdict(apart[name]),
            "auc_at_equal_energy": asdict(more[name]),
            "claim": claim.to_json(),
        }
        for name, claim in zip(names, claims, strict=True)
    }


def where(chosen: Study, task: Task) -> str:
    """Return what a task is about, as a sentence begins with it."""
    T = None if task.k == classify.EQUAL_ENERGY else chosen.simulate.bath.T(task.k)
    return f"{SHOWN_AS[task.input]}, " + ("equal energy" if T is None else f"liquid at T = {T:.3f}")


def _more(found: Sequence[tuple[str, scores.Difference]], task: Task, chosen: Study, n_runs: int) -> list[Claim]:
    """Return whether classifiers see more than the energy, all of them one family."""
    return judge(
        "networks",
        [
            energy.asked(
                one,
                who=report.name_in_text(name),
                where=where(chosen, task),
                n_runs=n_runs,
                margin=chosen.classify.margin,
            )
            for name, one in found
        ],
    )


def parted(chosen: Study, out: Path, task: Task, n_workers: int, progress: Progress) -> tuple[Labelled, Split]:
    """Return the configurations of all runs and the study's split of them."""
    return data(chosen, out, task, n_workers=n_workers, progress=progress), split(chosen)


def _numbers(parts: Split, part: Part) -> Integer[np.ndarray, " a"]:
    """Return the numbers of the runs of a part."""
    each = (parts.train, parts.validation, parts.test)
    return np.sort(np.concatenate(each)) if part == "all" else np.asarray(getattr(parts, part))


def scored(
    chosen: Study,
    everything: Labelled,
    parts: Split,
    part: Part,
    task: Task,
    scorers: Mapping[str, evaluation.Scorer],
    *,
    runs: Integer[np.ndarray, " a"],
) -> list[dict[str, Any]]:
    """Return the scores of classifiers on some runs, with what they are beside the energy's where it is known.

    A row of another classifier than the energy has ``auc_minus_energy`` and ``auc_at_equal_energy``, and, of test runs,
    the ``claim`` whether it sees more than the energy; the claims of all rows are one family. The energy is fitted on
    training and validation runs; where ``part`` is ``all``, on those of them that are not scored.

    Args:
        chosen: The study.
        everything: The configurations of all its runs.
        parts: Its split.
        part: What the runs are called.
        task: What is told apart.
        scorers: The classifiers.
        runs: The runs that are scored.
    """
    by_energy, everyone = baselines.ENERGY[task.input], dict(scorers)
    if chosen.simulate.liquid.has_potential:
        fit = _fit(chosen, by_energy, task, Path())
        fits, chooses = parts.train, parts.validation
        if part == "all":
            chooses = np.setdiff1d(chooses, runs)
            fits = np.setdiff1d(fits, runs)
            fits = fits if len(fits) else chooses
        everyone[by_energy] = fit(everything.of_runs(fits), everything.of_runs(chooses), fold=())
    shown, found = everything.of_runs(runs), []
    known = everyone[by_energy](shown) if by_energy in everyone else None
    n_runs = len(np.unique(shown.run))
    for name, scorer in everyone.items():
        logit = scorer(shown)
        beside: dict[str, Any] = {"auc_minus_energy": None, "auc_at_equal_energy": None, "claim": None}
        if known is not None and name != by_energy:
            beside["auc_minus_energy"] = asdict(scores.compare(logit, known, shown.label, shown.run).auc)
            beside["auc_at_equal_energy"] = asdict(energy.adds(logit, known, shown.label, shown.run))
        one = scores.score(logit, shown.label, shown.run)
        found.append({"model": name, "part": part} | asdict(one) | beside)
    fair = part in ("test", "all")  # of runs that chose or trained, nothing is claimed
    asked = [row for row in found if row["auc_at_equal_energy"] is not None and fair]
    differences = [(row["model"], scores.Difference(**row["auc_at_equal_energy"])) for row in asked]
    for row, claim in zip(asked, _more(differences, task, chosen, n_runs), strict=True):
        row["claim"] = claim.to_json()
    return found


def _fit(chosen: Study, kind: str, task: Task, folder: Path) -> evaluation.Fit:
    """Return what fits a baseline, or trains a network in a folder of its own for each fold."""
    if kind in baselines.BASELINES:

        def fit_baseline(train: Labelled, validation: Labelled, *, fold: tuple[int, ...]) -> evaluation.Scorer:  # noqa: ARG001
            features = baselines.BASELINES[kind]
            fitted = baselines.fit(features(train), train.label, features(validation), validation.label)
            return lambda shown: fitted.logit(features(shown))

        return fit_baseline
    model = network(chosen, kind)

    def fit_network(train: Labelled, validation: Labelled, *, fold: tuple[int, ...]) -> evaluation.Scorer:
        trained = learn.train(
            model,
            train,
            validation,
            learn.recipe(model, chosen.classify.train),
            seed=int(stream(chosen.seed, "folds", task.name, kind, *fold).integers(2**31)),
            checkpoints=store.Checkpoints(_made(folder / "-".join(map(str, fold)))),
        )
        return lambda shown: learn.predict(trained, shown)

    return fit_network


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _outcome(folder: Path) -> dict[str, Any]:
    outcome = store.read_json(folder / "outcome.json")
    if outcome is None:
        raise ValueError(
            f"{folder} holds no finished training: there is no outcome.json in it; train the network first"
        )
    outcome = dict(outcome)
    if outcome.get("settings") is None:
        raise ValueError(f"{folder} holds a baseline, {outcome['model']}: name the folder of a network")
    return {"lineage": [], "name": folder.name, "data": None} | outcome


def _caption(outcome: Mapping[str, Any]) -> str:
    words = {**outcome["settings"], **outcome["train"], "seed": outcome["seed"]}
    return ", ".join(f"{name} = {value}" for name, value in words.items())
