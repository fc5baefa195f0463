"""Make a model that leaves its study: train networks of several seeds, calibrate them, and write a card of it all."""

__all__ = ["card_text", "pack"]

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from vitrify import attribution, domain, evaluate, learn, lineage, packed, parallel, store, workbench
from vitrify.baselines import ENERGY
from vitrify.dataset import Ensemble
from vitrify.models import MODELS
from vitrify.report import with_interval
from vitrify.settings import CLASSES, Input, Study, class_names, split
from vitrify.system import Configuration

Progress = Callable[[str, float, float], None]

_N_BASE = 32  # configurations whose mean features an attribution is compared with
_N_PATH = 25  # records along the cooling that the domain is a path through


def pack(
    chosen: Study,
    out: Path,
    task: workbench.Task,
    *,
    kind: str,
    n_networks: int,
    folder: Path,
    n_workers: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return the card of a packed model, making it if it is not there: a second call changes and scores nothing.

    Args:
        chosen: The study whose runs, split, networks and training settings are used.
        out: Its folder.
        task: What is told apart.
        kind: Kind of network.
        n_networks: Networks, of seeds 0, 1, ...
        folder: Where the model goes.
        n_workers: Processes that simulate what is missing and describe the domain.
        progress: Told the steps taken.

    Raises:
        ValueError: The folder holds another model, the study has no such record, the seeds are none, or the networks
            have seen all runs that would calibrate or test them.
    """
    if n_networks < 1:
        raise ValueError(f"the networks must be at least 1; got {n_networks}")
    asked = [chosen.model_dump(mode="json"), task.input, task.k, kind, n_networks]
    identity = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    known = store.read_json(folder / "card.json")
    if known is not None:
        if known["identity"] != identity:
            raise ValueError(f"{folder} holds a model of other settings: name another folder, or delete it")
        return dict(known)
    sets = workbench.inputs(chosen, out, task, n_workers=n_workers, progress=progress)
    everything, parts = sets[task.input], split(chosen)
    trained, seen = [], lineage.NOTHING
    for seed in range(n_networks):
        outcome = workbench.train(chosen, out, task, kind=kind, seed=seed, n_workers=n_workers, progress=progress)
        model = MODELS[kind].model_validate(outcome["settings"])
        trained.append(learn.restore(model, store.Checkpoints(out / "trained" / outcome["name"])))
        seen |= lineage.of_training(out / "trained" / outcome["name"])
    set_weights, chose = lineage.met(lineage.runs(chosen, sets.values()), seen)
    fair = parts.validation[~set_weights[parts.validation]]
    tests = parts.test[~(set_weights | chose)[parts.test]]
    if not (len(fair) and len(tests)):
        raise ValueError(
            f"networks must leave runs to calibrate and to test with; those of {out / 'trained'} have seen all but "
            f"{len(fair)} of {len(parts.validation)} validation runs and {len(tests)} of {len(parts.test)} test runs: "
            "pack in another folder, with --out"
        )
    chooses = everything.of_runs(fair)

    def scorer(shown: Any) -> np.ndarray:
        return evaluate.combine(evaluate.members(trained, shown), over="logit")

    calibration = evaluate.calibrate(scorer(chooses), chooses.label, move_threshold=True)
    name = f"{kind}, mean of {n_networks}"
    rows = workbench.scored(
        chosen, everything, parts, "test", task, {name: lambda shown: calibration.logit(scorer(shown))}, runs=tests
    )
    trains = everything.of_runs(parts.train)
    some = trains.of_runs(parts.train[: _N_BASE // 2])
    members = tuple(
        packed.Member(trained=one, base=attribution.baseline(one.network, one.model, some)) for one in trained
    )
    ensemble, records = _path(chosen, out)
    card = {
        "name": folder.name,
        "identity": identity,
        "command": _command(chosen, task, kind, n_networks, folder),
        "study": chosen.model_dump(mode="json"),
        "input": task.input,
        "mixture": chosen.simulate.mixture,
        "kind": kind,
        "n_networks": n_networks,
        "k": {"liquid": task.k, "glass": chosen.classify.k_glass},
        "T": {"liquid": float(ensemble.T[task.k - 1]), "glass": float(ensemble.T[chosen.classify.k_glass - 1])},
        "classes": list(class_names(chosen, task.k)),
        "runs": {part: len(getattr(parts, part)) for part in ("train", "validation", "test")},
        "n_left_out": len(parts.test) - len(tests),
        "seen": seen.as_json(),
        "data": everything.digest,
        "versions": store.versions(),
        "energy": ENERGY[task.input],
        "scores": rows,
        "calibration": {"threshold": calibration.threshold, "temperature": calibration.temperature},
    }
    found = packed.Packed(
        card=card,
        members=members,
        calibration=calibration,
        domain=_domain(ensemble, task.input, records, parts.train, parts.validation, n_workers, progress),
    )
    packed.save(folder, found)
    store.write_text(folder / "CARD.md", card_text(card))
    return card


def _command(chosen: Study, task: workbench.Task, kind: str, n_networks: int, folder: Path) -> str:
    return (
        f"vitrify pack {chosen.name} --input {task.input} --k {task.k} --model {kind} --networks {n_networks} "
        f"--to {folder.name}"
    )


def _path(chosen: Study, out: Path) -> tuple[Ensemble, np.ndarray]:
    """Return the ensemble at records evenly spread over the cooling, and those records."""
    last = chosen.simulate.bath.n_frames
    records = np.unique(np.linspace(1, last, min(_N_PATH, last)).round().astype(int))
    return store.load(out / "data", chosen.simulate, seed=chosen.seed, k=records.tolist()), records


def _domain(
    ensemble: Ensemble,
    name: Input,
    records: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    n_workers: int,
    progress: Progress,
) -> domain.Domain:
    positions, done = ensemble.shown(name), 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("domain", done, len(train) + len(validation))

    jobs = [(positions[run], ensemble.species, ensemble.box) for run in (*train, *validation)]
    features = np.array(parallel.spread(_features, jobs, n_workers=n_workers, progress=tick))
    return domain.fit(
        features[: len(train)],
        features[len(train) :],
        ensemble.T[records - 1],
        species=ensemble.species,
        box=ensemble.box,
    )


def _features(job: tuple[np.ndarray, np.ndarray, np.ndarray], tick: parallel.Tick) -> np.ndarray:
    """Return the features of every record of one run."""
    positions, species, box = job
    n_species = int(species.max()) + 1
    found = [
        domain.pair_features(Configuration(positions=one.astype(float), species=species, box=box), n_species)
        for one in positions
    ]
    tick(1)
    return np.array(found)


def card_text(card: dict[str, Any]) -> str:
    """Return a model card for people, in Markdown."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("vitrify", ""), undefined=jinja2.StrictUndefined)
    environment.filters["with_interval"] = with_interval
    return environment.get_template("card.md.j2").render(
        card=card, simulate=card["study"]["simulate"], classes=card.get("classes", CLASSES)
    )
