"""The classifiers of a study: which there are, how each is trained and scored, and the rows of the table."""

__all__ = ["EQUAL_ENERGY", "SEVERAL", "Training", "learn_all", "learning_curve", "rows", "trainings", "weights"]

import functools
import hashlib
import json
import operator
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from vitrify import baselines, entries, learn, lineage, log, parallel, scores, store
from vitrify.dataset import Ensemble, Labelled, Split, labelled, null, several
from vitrify.energy import adds
from vitrify.models import Logistic, Network, Shallow
from vitrify.sets import named_weights
from vitrify.settings import Input, Study, split
from vitrify.system import stream

Progress = Callable[[str, float, float], None]
Logit = Callable[[Labelled], np.ndarray]

_OTHER_ENERGY = {"thermal": "e_is", "inherent": "e_pot"}
"""The energy that is not of the configurations shown: the thermal energy of an inherent structure is a thermometer."""


EQUAL_ENERGY = 0
"""In place of a record: the liquid of the study, or the glass of its fast cooling, that have the same energy."""

SEVERAL = -1
"""In place of a record: the liquids of a group, of which every run gives one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One classifier of a study: what it is trained on, and what it is scored on.

    Args:
        folder: Its folder below ``out/models``; a finished one holds ``outcome.json``.
        input: Configurations shown.
        name: Kind of network, or name of the baseline.
        model: Settings of the network; ``None`` for a baseline.
        train_k: Record labelled liquid, or the first of the two of a control; or :data:`SEVERAL`.
        k_glass: Record labelled glass.
        control: Whether both are glass.
        tested: Records scored against the glass, ``train_k`` among them.
        replicate: Which of the seeds of this network; 0 is the first.
        group: The records labelled liquid where ``train_k`` is :data:`SEVERAL`.
    """

    folder: str
    input: Input
    name: str
    model: Network | None
    train_k: int
    k_glass: int
    control: bool
    tested: tuple[int, ...]
    replicate: int = 0
    group: tuple[int, ...] = ()


def trainings(study: Study) -> list[Training]:
    """Return every classifier a study trains, whether or not it is trained already."""
    classify = study.classify
    none: tuple[int, ...] = ()
    pairs = [(k, classify.k_glass, False, none) for k in classify.k]
    if classify.control:
        pairs.append((min(classify.control), max(classify.control), True, none))
    if classify.null:
        pairs.append((classify.k_glass, classify.k_glass, True, none))
    fast = study.fast
    if fast is not None:
        pairs.append((EQUAL_ENERGY, EQUAL_ENERGY, False, none))
    pairs += [(SEVERAL, classify.k_glass, False, group) for group in classify.groups]
    found = []
    for name in classify.inputs:
        classifiers: list[tuple[str, Network | None, int]] = [
            (model.kind, model, replicate) for model in study.models for replicate in range(classify.n_seeds)
        ]
        classifiers += [(word, None, 0) for word in classify.baselines if word != _OTHER_ENERGY[name]]
        for k, glass, control, group in pairs:
            tested = classify.k if k == classify.k_transfer and not control else (k,)
            if group:
                tested = (SEVERAL, *classify.k)
            for word, model, replicate in classifiers:
                identity: dict[str, Any] = {
                    "simulate": study.simulate.model_dump(mode="json"),
                    "version": store.VERSION,
                    "seed": study.seed,
                    "split": [classify.validation, classify.test],
                    "input": name,
                    "classifier": word if model is None else model.model_dump(mode="json"),
                    "train": None if model is None else learn.recipe(model, classify.train).model_dump(mode="json"),
                    "pair": [k, glass],
                    "tested": list(tested),
                }
                if group:
                    identity["group"] = list(group)
                if replicate:
                    identity["replicate"] = replicate
                if k == EQUAL_ENERGY and study.equal_energy is not None:
                    identity["equal_energy"] = study.equal_energy.model_dump(mode="json")
                digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
                found.append(
                    Training(
                        folder=f"{name}-{word}-k{'-'.join(f'{one:03d}' for one in group or (k,))}-{digest}",
                        input=name,
                        name=word,
                        model=model,
                        train_k=k,
                        k_glass=glass,
                        control=control,
                        tested=tested,
                        replicate=replicate,
                        group=group,
                    )
                )
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Training:
    """One classifier to train on one pair of records, and the pairs to score it on."""

    folder: Path
    input: Input
    name: str
    model: Network | None  # None: the baseline of that name
    settings: learn.Train | None
    seed: int
    train_k: int
    k_glass: int
    control: bool
    train: Labelled
    validation: dict[int, Labelled]
    test: dict[int, Labelled]
    study: Study
    split: Split
    group: tuple[int, ...]
    seen: lineage.Seen = lineage.NOTHING  # until it is about to be trained

    def record(self, k: int) -> int | list[int]:
        """Return what a record is called in what is kept: a group by the list of its records."""
        return list(self.group) if k == SEVERAL else k


def learn_all(
    study: Study,
    ensemble: Ensemble,
    folder: Path,
    *,
    equal: Mapping[Input, Labelled],
    only: Collection[str] | None = None,
    n_workers: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return the outcome of every classifier, training those that an earlier call has not.

    Args:
        study: The investigation.
        ensemble: Its runs.
        folder: Where each classifier has a folder of its own.
        equal: Liquid and glass of equal energy by input; empty if the study does not ask for them.
        only: Folders of the classifiers asked for; by default all.
        n_workers: Processes.
        progress: Told the steps taken.
    """
    chosen = [one for one in trainings(study) if only is None or one.folder in only]
    asked = _trainings(study, ensemble, equal, split(study), folder, chosen)
    outcomes = {training.folder: store.read_json(training.folder / "outcome.json") for training in asked}
    todo = [training for training in asked if outcomes[training.folder] is None]
    # a network counts as its steps, so that the rate is honest; a baseline is one step
    total = sum(1 if training.settings is None else training.settings.n_steps for training in todo)
    done = 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("learn", done, total)

    if todo:
        tick(0)
        todo = _marked(study, ensemble, equal, todo)
        groups: dict[tuple, list[_Training]] = {}
        for training in todo:
            of_its_own = training.folder if training.model is not None else None
            groups.setdefault((training.model is None, training.input, training.name, of_its_own), []).append(training)
        # the short ones last, so that all processes end together
        longest_first = [groups[key] for key in sorted(groups, key=lambda key: len(groups[key]), reverse=True)]
        parallel.spread(_train, longest_first, n_workers=n_workers, progress=tick)
    return [store.read_json(training.folder / "outcome.json") for training in asked]


def _trainings(
    study: Study,
    ensemble: Ensemble,
    equal: Mapping[Input, Labelled],
    split: Split,
    folder: Path,
    chosen: Sequence[Training],
) -> list[_Training]:
    sets = {(name, EQUAL_ENERGY, EQUAL_ENERGY, ()): data for name, data in equal.items()}

    def key(one: Training, t: int) -> tuple:
        return (one.input, t, one.k_glass, one.group if t == SEVERAL else ())

    for one in chosen:
        inherent, k, glass = one.input == "inherent", one.train_k, one.k_glass
        for t in one.tested:
            if key(one, t) in sets:
                continue
            if t == SEVERAL:
                sets[key(one, t)] = several(
                    ensemble, inherent=inherent, k_glass=glass, k_liquids=one.group, split=split
                )
            elif k == glass:
                sets[key(one, t)] = null(ensemble, inherent=inherent, k=k, split=split)
            else:
                sets[key(one, t)] = labelled(ensemble, inherent=inherent, k_glass=glass, k_liquid=t)
    return [
        _Training(
            folder=folder / one.folder,
            input=one.input,
            name=one.name,
            model=one.model,
            settings=None if one.model is None else learn.recipe(one.model, study.classify.train),
            seed=_seed(study, one),
            train_k=one.train_k,
            k_glass=one.k_glass,
            control=one.control,
            train=sets[key(one, one.train_k)].of_runs(split.train),
            validation={t: sets[key(one, t)].of_runs(split.validation) for t in one.tested},
            test={t: sets[key(one, t)].of_runs(split.test) for t in one.tested},
            study=study,
            split=split,
            group=one.group,
        )
        for one in chosen
    ]


def _marked(
    study: Study, ensemble: Ensemble, equal: Mapping[Input, Labelled], todo: Sequence[_Training]
) -> list[_Training]:
    """Return the trainings with the marks of their runs: of all their records, thermal and inherent."""
    shown = [{*(one.group or (one.train_k,)), one.k_glass} for one in todo]
    known = {
        k: lineage.runs(study, equal.values() if k == EQUAL_ENERGY else lineage.records(ensemble, (k,)))
        for k in set().union(*shown)
    }
    found = []
    for one, records in zip(todo, shown, strict=True):
        marks = [functools.reduce(operator.or_, of_run) for of_run in zip(*(known[k] for k in records), strict=True)]
        found.append(replace(one, seen=lineage.Seen.by(marks, one.split)))
    return found


def _seed(study: Study, one: Training) -> int:
    """Return the seed of a network's weights and batches; every replicate has its own."""
    replicate = (one.replicate,) if one.replicate else ()
    return int(stream(study.seed, "train", one.input, one.name, one.train_k, *one.group, *replicate).integers(2**31))


def weights(trained: learn.Trained) -> dict[str, Any] | None:
    """Return the named weights of a network few enough to read, or None.

    Returns:
        ``inputs``, their names; ``neurons``, one row of weights each; and ``own``, each neuron's weight in the logit.
    """
    if not isinstance(trained.model, Shallow | Logistic):
        return None
    inputs, neurons, own = named_weights(trained.model, trained.network)
    return {"inputs": list(inputs), "neurons": neurons.tolist(), "own": own.tolist()}


def _train(group: list[_Training], tick: parallel.Tick) -> None:
    """Train the classifiers of a group: one network, or one baseline on every pair of records."""
    if group[0].model is not None:
        (training,) = group
        _keep_outcome(training, lambda: _network(training, tick))
        return
    features = _remembered(baselines.BASELINES[group[0].name])
    for training in group:
        _keep_outcome(training, lambda training=training: _baseline(training, features))  # type: ignore[misc]
        tick(1)


def _network(training: _Training, tick: parallel.Tick) -> tuple[Logit, dict[str, Any]]:
    assert training.model is not None
    assert training.settings is not None
    known = 0

    def progress(done: int, _total: int) -> None:
        nonlocal known
        tick(done - known)
        known = done

    trained = learn.train(
        training.model,
        training.train,
        training.validation[training.train_k],
        training.settings,
        seed=training.seed,
        checkpoints=store.Checkpoints(training.folder),
        progress=progress,
    )
    return (lambda data: learn.predict(trained, data)), {"history": trained.history, "weights": weights(trained)}


def _baseline(training: _Training, features: Logit) -> tuple[Logit, dict[str, Any]]:
    chosen = training.validation[training.train_k]
    fitted = baselines.fit(features(training.train), training.train.label, features(chosen), chosen.label)
    return (lambda data: fitted.logit(features(data))), {"history": {}, "weights": None}


def _remembered(features: Logit) -> Logit:
    """Return the same features, computed once for each configuration however often it occurs."""
    known: dict[bytes, np.ndarray] = {}

    def of(data: Labelled) -> np.ndarray:
        names = [positions.tobytes() for positions in data.positions]
        new = np.array([name not in known for name in names])
        if new.any():
            known.update(zip(np.array(names, object)[new], features(data.take(new)), strict=True))
        return np.stack([known[name] for name in names])

    return of


def _keep_outcome(training: _Training, train: Callable[[], tuple[Logit, dict[str, Any]]]) -> None:
    """Train one classifier, score it, and write its outcome."""
    began, began_cpu = time.perf_counter(), time.process_time()
    out, name = training.folder.parent.parent, training.folder.name
    with (
        store.locked(training.folder),
        log.recorded(out, kind="train", name=name, known=_known(training)) as entry,
    ):
        logit, learnt = train()
        outcome = {
            "input": training.input,
            "model": training.name,
            "train_k": training.record(training.train_k),
            "glass_k": training.k_glass,
            "control": training.control,
            "n_train": len(training.train.label),
            "settings": None if training.model is None else training.model.model_dump(mode="json"),
            "train": None if training.settings is None else training.settings.model_dump(mode="json"),
            "seed": training.seed,
            "runs": {"train": training.split.train.tolist(), "validation": training.split.validation.tolist()},
            "seen": training.seen.as_json(),
            **learnt,
            "scored": [
                {
                    "test_k": training.record(k),
                    "validation": _scored(training.validation[k], logit),
                    "test": _scored(training.test[k], logit),
                }
                for k in training.test
            ],
        }
        spent = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - began_cpu}
        store.write_json(training.folder / "outcome.json", outcome | spent)
        entry |= _found(training, outcome)


def _known(training: _Training) -> dict[str, Any]:
    """Return what the log is told when a training begins."""
    settings = {
        "input": training.input,
        "model": training.name,
        "train_k": training.record(training.train_k),
        "glass_k": training.k_glass,
        "control": training.control,
        "seed": training.seed,
    }
    return entries.known(
        training.study,
        training.folder,
        settings=settings,
        network=training.model,
        train=training.settings,
        data=training.train,
    )


def _found(training: _Training, outcome: dict[str, Any]) -> dict[str, Any]:
    """Return what the log keeps of an outcome: the scores of the table, and those of the last weights beside them."""
    study, own, last = training.study, training.train_k, None

    def scored(part: str, k: int, logit: Sequence[float] | np.ndarray) -> dict[str, Any]:
        return entries.scored(logit, getattr(training, part)[k])

    parts = ("validation", "test")
    logits = {
        k: {part: one[part]["logit"] for part in parts} for k, one in zip(training.test, outcome["scored"], strict=True)
    }
    if training.model is not None:
        scorer = entries.last_weights(training.model, store.Checkpoints(training.folder), outcome["history"])
        if scorer is not None:
            last = {part: scored(part, own, scorer(getattr(training, part)[own])) for part in parts}
    kept = {part: scored(part, own, logits[own][part]) for part in parts}
    transfer = [
        {"k": k, "T": entries.temperature(study, k), "test": scored("test", k, logits[k]["test"])}
        for k in logits
        if k != own
    ]
    return entries.found(kept, outcome["history"], last=last) | {"transfer": transfer}


def _scored(data: Labelled, logit: Logit) -> dict[str, list[float]]:
    return {"logit": logit(data).tolist(), "label": data.label.tolist(), "run": data.run.tolist()}


def averaged(outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the outcomes with the replicates of a network made one: their mean logits, and each one's own scores."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        key = tuple(_hashable(outcome[name]) for name in ("input", "model", "train_k", "glass_k", "control"))
        groups.setdefault(key, []).append(outcome)
    found = []
    for group in groups.values():
        scored = []
        for parts in zip(*(outcome["scored"] for outcome in group), strict=True):
            both: dict[str, Any] = {"test_k": parts[0]["test_k"]}
            for which in ("validation", "test"):
                logits = np.array([part[which]["logit"] for part in parts])
                both[which] = parts[0][which] | {"logit": logits.mean(axis=0).tolist()}
            test = both["test"]
            label = np.array(test["label"])
            both["each"] = [
                {"accuracy": scores.accuracy(logit, label), "auc": scores.auc(logit, label)}
                for logit in (np.array(part["test"]["logit"]) for part in parts)
            ]
            scored.append(both)
        spent = {name: sum(outcome[name] for outcome in group) for name in ("seconds", "cpu_s")}
        found.append(group[0] | spent | {"scored": scored, "n_seeds": len(group)})
    return found


def rows(T: Float64[np.ndarray, " t"], outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row of the classification table for every classifier and every pair of records it was scored on.

    Beside the scores of a row stand what they are compared with, on the same test runs: chance, the energy alone, and,
    for a network that was trained elsewhere, the same network trained where this one is tested.

    Args:
        T: Bath temperature of every record.
        outcomes: What :func:`learn_all` returned.
    """
    made_one = averaged(outcomes)
    beside = {(one["model"], *_pair(one, scored)): scored for one in made_one for scored in one["scored"]}
    return [row for outcome in made_one for row in _rows(T, outcome, beside)]


def _rows(
    T: Float64[np.ndarray, " t"], outcome: dict[str, Any], beside: Mapping[tuple, dict[str, Any]]
) -> list[dict[str, Any]]:
    rows = []
    name, own, glass, control = (outcome[key] for key in ("input", "train_k", "glass_k", "control"))
    for scored in outcome["scored"]:
        logit, label, of_run = (np.array(scored["test"][key]) for key in ("logit", "label", "run"))
        k = scored["test_k"]
        plain = scores.score(logit, label, of_run)
        chosen_on = scored["validation"]
        chosen, chosen_label = np.array(chosen_on["logit"]), np.array(chosen_on["label"])
        moved = scores.score(logit, label, of_run, threshold=scores.rethreshold(chosen, chosen_label))
        network = outcome["settings"] is not None
        energy = beside.get((baselines.ENERGY[name], *_pair(outcome, scored))) if network else None
        in_place = (
            beside.get((outcome["model"], *_pair(outcome | {"train_k": k}, scored))) if network and k != own else None
        )
        rows.append(
            {
                "input": name,
                "model": outcome["model"],
                "train_k": own,
                "test_k": k,
                "glass_k": glass,
                "train_T": _temperature(T, own),
                "test_T": _temperature(T, k),
                "n_test": plain.n_test,
                "n_test_runs": plain.n_runs,
                "validation_auc": scores.auc(chosen, chosen_label),
                "accuracy": asdict(plain.accuracy),
                "auc": asdict(plain.auc),
                "auc_minus_chance": asdict(scores.above_chance(logit, label, of_run)),
                **_against_energy(logit, energy, label, of_run),
                **_against_own(logit, in_place, label, of_run),
                "accuracy_rethresholded": asdict(moved.accuracy),
                "seconds": outcome["seconds"],
                "cpu_s": outcome["cpu_s"],
                "control": control,
                "n_seeds": outcome["n_seeds"],
                "each_seed": scored["each"],
            }
        )
    return rows


def _against_energy(
    logit: np.ndarray, energy: Mapping[str, Any] | None, label: np.ndarray, run: np.ndarray
) -> dict[str, Any]:
    """Return how far an AUC is above the energy's, and above one half at equal energy."""
    if energy is None:
        return {"auc_minus_energy": None, "auc_at_equal_energy": None}
    known = np.array(energy["test"]["logit"])
    return {
        "auc_minus_energy": asdict(scores.compare(logit, known, label, run).auc),
        "auc_at_equal_energy": asdict(adds(logit, known, label, run)),
    }


def _against_own(
    logit: np.ndarray, own: Mapping[str, Any] | None, label: np.ndarray, run: np.ndarray
) -> dict[str, Any]:
    """Return how far a network is above the one trained where it is tested."""
    if own is None:
        return {"auc_minus_own": None, "accuracy_minus_own": None}
    found = scores.compare(logit, np.array(own["test"]["logit"]), label, run)
    return {"auc_minus_own": asdict(found.auc), "accuracy_minus_own": asdict(found.accuracy)}


def _temperature(T: Float64[np.ndarray, " t"], k: int | list[int]) -> float | list[float] | None:
    """Return the temperature of a record, or those of a group; the two of equal energy have their own."""
    if isinstance(k, list):
        return [float(T[one - 1]) for one in k]
    return None if k == EQUAL_ENERGY else float(T[k - 1])


def _pair(outcome: Mapping[str, Any], scored: Mapping[str, Any]) -> tuple:
    """Return what names a pair of classes that a classifier was trained on and the one it is scored on."""
    own = tuple(_hashable(outcome[name]) for name in ("input", "train_k", "glass_k", "control"))
    return (*own, _hashable(scored["test_k"]))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def learning_curve(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return the history of one network's training, with all its settings as a caption."""
    words = {**outcome["settings"], **outcome["train"], "seed": outcome["seed"], "n_train": outcome["n_train"]}
    flat = {name: value for name, value in words.items() if not isinstance(value, dict)}
    flat |= {f"{name}.{key}": v for name, value in words.items() if isinstance(value, dict) for key, v in value.items()}
    return {
        "input": outcome["input"],
        "model": outcome["model"],
        "train_k": outcome["train_k"],
        "glass_k": outcome["glass_k"],
        "caption": ", ".join(f"{name} = {value}" for name, value in flat.items()),
        "history": outcome["history"],
        "weights": outcome["weights"],
    }
