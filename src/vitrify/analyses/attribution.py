"""What the networks of a study see: attributions of test configurations, checked, correlated, drawn and written.

The files for a viewer lie in ``out/attribution/INPUT-kNNN-MODEL``: a frame for each run, ``glass`` and ``liquid``
apart, each as GSD, LAMMPS dump and extended XYZ with the attribution and the local order as columns.
"""

__all__ = ["N_RUNS", "attribute", "compute", "task"]

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import attribution, classify, learn, parallel, store, workbench
from vitrify.analyses import neurons
from vitrify.attribution import Baseline, correlation, mean_over_runs
from vitrify.baselines import ENERGY
from vitrify.cnn import CNN, Swanson2018
from vitrify.dataset import Labelled
from vitrify.local_order import local_order
from vitrify.material import Material
from vitrify.models import Shallow
from vitrify.mpnn import MPNN, bond_attention
from vitrify.potentials import Mixture
from vitrify.settings import Input, Study, class_names, split
from vitrify.snapshots import Snapshot
from vitrify.system import Configuration, stream
from vitrify.trajectories import write
from vitrify.workbench import Task

Progress = Callable[[str, float, float], None]
Entry = dict[str, Any]

N_RUNS = 8
"""Test runs looked at, a glass and a liquid of each, unless more are asked for."""

_CLASSES = ("liquid", "glass")
_N_RANDOM = 10  # networks of random weights
_N_SETTLE = 64  # configurations that settle their averages
_SUFFIXES = ("gsd", "dump", "xyz")


def compute(chosen: Study, out: Path, *, n_workers: int, progress: Progress) -> Entry:
    """Return what every network of a study sees in its hottest liquid and in its glass."""
    return attribute(chosen, out, task(chosen), kinds=(), n_runs=N_RUNS, n_workers=n_workers, progress=progress)


def task(chosen: Study, *, input: Input | None = None, k: int | None = None) -> Task:  # noqa: A002
    """Return what is told apart: unless named, inherent structures and the hottest liquid of the study.

    Args:
        chosen: The study.
        input: Configurations shown.
        k: Record labelled liquid.
    """
    able = chosen.classify.inputs
    known: Input = "inherent" if "inherent" in able else able[0]
    return Task(input=input or known, k=chosen.classify.k_transfer if k is None else k)


def attribute(
    chosen: Study,
    out: Path,
    asked: Task,
    *,
    kinds: Sequence[str],
    n_runs: int,
    n_workers: int,
    progress: Progress,
) -> Entry:
    """Return what some networks of a finished study see in some test configurations, and write it for a viewer.

    Args:
        chosen: The study.
        out: Its folder, which holds its trained networks.
        asked: What they tell apart.
        kinds: Kinds of networks; all of the study where there are none.
        n_runs: Test runs looked at, at most; a glass and a liquid of each.
        n_workers: Processes: one looks at a network at a time.
        progress: Told the networks looked at.

    Returns:
        ``networks``, an entry each, and ``agreement``, the rank correlation of every two.

    Raises:
        ValueError: The study trains no such network on these records, or has not yet.
    """
    trainings = _trainings(chosen, asked, kinds)
    untrained = [one.name for one in trainings if not (out / "models" / one.folder / "outcome.json").exists()]
    if untrained:
        raise ValueError(f"{out} holds no trained {' and '.join(untrained)} of this study: vitrify run the study there")
    everything = workbench.data(chosen, out, asked, n_workers=n_workers, progress=progress)
    parts = split(chosen)
    trains, tests = everything.of_runs(parts.train), everything.of_runs(parts.test[: max(n_runs, 2)])
    # the energy of a particle would be that of another density where boxes are scaled
    fields = _fields(tests, None if chosen.simulate.own_boxes else chosen.simulate.liquid)
    every = everything.of_runs(parts.test)
    order = neurons.five_fold(every) if any(isinstance(one.model, Shallow) for one in trainings) else None
    jobs, done = [_Job(chosen, out, one, trains, tests, fields, every, order) for one in trainings], 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("attribute", done, len(jobs))

    tick(0)
    entries, seen = [], []
    for training, (entry, found) in zip(
        trainings, parallel.spread(_network, jobs, n_workers=n_workers, progress=tick), strict=True
    ):
        folder = out / "attribution" / f"{asked.name}-{training.name}"
        _write(folder, tests, found, fields, species=_names(chosen))
        entries.append(entry | {"folder": f"attribution/{folder.name}"})
        seen.append(found)
    agreement = [
        {"models": [entries[i]["model"], entries[j]["model"]], "class": name}
        | _over_runs(tests, label, lambda at, i=i, j=j: correlation(seen[i][at], seen[j][at], tests.species))  # type: ignore[misc]
        for i, j in combinations(range(len(entries)), 2)
        for label, name in enumerate(_CLASSES)
    ]
    return {"networks": entries, "agreement": agreement, "radius": _radii(chosen)}


def _trainings(chosen: Study, asked: Task, kinds: Sequence[str]) -> list[classify.Training]:
    """Return the first training of each kind of network on some records."""
    able = [
        one
        for one in classify.trainings(chosen)
        if one.model is not None and not (one.control or one.replicate or one.group)
    ]
    found = [one for one in able if one.input == asked.input and one.train_k == asked.k]
    known = sorted({(one.input, one.train_k) for one in able})
    if not found:
        words = ", ".join(f"{name} k = {k}" for name, k in known)
        raise ValueError(f"the study trains no network on {asked.input} k = {asked.k}; it does on {words}")
    missing = sorted(set(kinds) - {one.name for one in found})
    if missing:
        raise ValueError(f"model must be one of {', '.join(one.name for one in found)}; got {', '.join(missing)}")
    return [one for one in found if not kinds or one.name in kinds]


@dataclass(frozen=True, slots=True)
class _Job:
    """A network, what it was trained on, and what it is shown."""

    study: Study
    out: Path
    training: classify.Training
    trains: Labelled
    tests: Labelled
    fields: dict[str, np.ndarray]
    every: Labelled
    order: np.ndarray | None


def _network(job: _Job, tick: parallel.Tick) -> tuple[Entry, np.ndarray]:
    """Return what is kept of one network, and its attributions."""
    training, trains, tests = job.training, job.trains, job.tests
    model = training.model
    assert model is not None
    network = learn.restore(model, store.Checkpoints(job.out / "models" / training.folder)).network
    few = _some(trains, _N_SETTLE)

    def attributed(of: Any, base: Baseline) -> attribution.Attribution:
        return attribution.attribute(of, model, tests.positions, tests.species, tests.box, base)

    base = attribution.baseline(network, model, trains)
    found = attributed(network, base)
    by_chance = []
    for number in range(_N_RANDOM if not isinstance(model, Swanson2018) else 1):
        seed = int(stream(job.study.seed, "randomised", training.name, number).integers(2**31))
        fresh = attribution.randomised(model, few, seed=seed)
        other = attributed(fresh, attribution.baseline(fresh, model, few))
        pairs = zip(found.particles, other.particles, strict=True)
        by_chance.append(float(np.mean([correlation(one, two, tests.species) for one, two in pairs])))
    rows = store.read_json(job.out / "results.json")
    entry = {
        "model": training.name,
        "settings": model.model_dump(mode="json"),
        "input": training.input,
        "k": training.train_k,
        "k_glass": training.k_glass,
        "T": [job.study.simulate.bath.T(k) for k in (training.train_k, training.k_glass)],
        "classes": list(class_names(job.study, training.train_k)),
        "n_runs": len(np.unique(tests.run)),
        "n_configurations": len(tests.label),
        "baseline": found.baseline,
        "logit": {name: float(found.logit[tests.label == label].mean()) for label, name in enumerate(_CLASSES)},
        "error": float(found.error.max()),
        "n_steps": int(found.n_steps.max()),
        "randomised": by_chance,
        "correlations": _correlations(tests, found.particles, job.fields),
        "scores": _scores(rows, training) if rows else [],
        "pixels": _pixels(network, model, few, tests, found) if isinstance(model, CNN) else None,
        "shown": _shown(tests, found),
        "channels": _channels(network, model, tests, few) if isinstance(model, CNN | Swanson2018) else None,
        "bonds": _bonds(network, model, tests) if isinstance(model, MPNN) else None,
        "neurons": neurons.activations(network, model, job.every, job.order)
        if isinstance(model, Shallow) and job.order is not None
        else None,
    }
    tick(1)
    return entry, found.particles


def _some(data: Labelled, n: int) -> Labelled:
    """Return about n configurations, evenly spread over both classes."""
    keep = np.zeros(len(data.label), bool)
    keep[:: max(1, len(data.label) // n)] = True
    return data.take(keep)


def _fields(data: Labelled, mixture: Any) -> dict[str, np.ndarray]:
    """Return the local order of all configurations, by name."""
    each = [local_order(one, mixture) for one in _configurations(data)]
    return {name: np.stack([one[name] for one in each]) for name in each[0]}


def _configurations(data: Labelled) -> list[Configuration]:
    return [
        Configuration(positions=one.astype(np.float64), species=data.species, box=data.box) for one in data.positions
    ]


def _over_runs(data: Labelled, label: int, value: Callable[[int], float]) -> Entry:
    """Return the mean over the runs of a number of the one configuration that each has of a class."""
    values = np.array([value(int(place)) for place in np.flatnonzero(data.label == label)])
    return asdict(mean_over_runs(values)) | {"n_runs": len(values)}


def _correlations(data: Labelled, particles: np.ndarray, fields: dict[str, np.ndarray]) -> list[Entry]:
    """Return the rank correlations with the local order, within species; with the species itself over all particles."""
    return [
        {"field": field, "class": name}
        | _over_runs(
            data,
            label,
            lambda at, field=field, values=values: correlation(  # type: ignore[misc]
                particles[at], values[at], None if field == "species" else data.species
            ),
        )
        for field, values in fields.items()
        for label, name in enumerate(_CLASSES)
    ]


def _scores(results: Entry, training: classify.Training) -> list[Entry]:
    """Return AUC and accuracy of the network, and of the energy alone, on all test configurations."""
    energy = ENERGY[training.input]
    every = [*results["classification"], *((results.get("equal_energy") or {}).get("rows", []))]
    return [
        {name: row[name] for name in ("model", "auc", "accuracy", "n_test", "n_test_runs")}
        for kind in (training.name, energy)
        for row in every
        if (row["model"], row["input"], row["train_k"], row["test_k"], row["control"])
        == (kind, training.input, training.train_k, training.train_k, False)
    ]


def _pixels(network: Any, model: CNN, few: Labelled, tests: Labelled, found: attribution.Attribution) -> Entry:
    """Return how the attributions of pixels compare, on the first glass and the first liquid."""
    base = attribution.baseline(network, model, few, at="pixels")
    places = _first_of_each(tests)
    of_pixels = attribution.attribute(network, model, tests.positions[places], tests.species, tests.box, base)
    pairs = zip(places, of_pixels.particles, strict=True)
    rank = {name: correlation(found.particles[at], one, tests.species) for name, (at, one) in zip(_CLASSES, pairs)}  # noqa: B905
    return {"baseline": of_pixels.baseline, "error": float(of_pixels.error.max()), "correlation": rank}


def _first_of_each(data: Labelled) -> list[int]:
    return [int(np.flatnonzero(data.label == label)[0]) for label in range(len(_CLASSES))]


def _shown(data: Labelled, found: attribution.Attribution) -> dict[str, Entry]:
    """Return the liquid and the glass of the first test run, for the figures."""
    return {
        name: {
            "run": int(data.run[at]),
            "positions": np.round(data.positions[at].astype(float), 5).tolist(),
            "species": data.species.tolist(),
            "box": data.box.tolist(),
            "attribution": found.particles[at].tolist(),
            "logit": float(found.logit[at]),
        }
        for name, at in zip(_CLASSES, _first_of_each(data), strict=True)
    }


def _channels(network: Any, model: CNN | Swanson2018, tests: Labelled, few: Labelled) -> Entry:
    """Return the first layer's maps of the first liquid and glass, and the channels dead on these and many more."""
    shown = tests.positions[_first_of_each(tests)]
    maps = attribution.first_layer(network, model, shown, tests.species, tests.box)
    n_many = len(few.label) if isinstance(model, CNN) else 8
    many = attribution.first_layer(network, model, few.positions[:n_many], few.species, few.box)
    dead = attribution.dead_channels(np.concatenate([maps, many]))
    return {
        "maps": {name: np.round(one.astype(float), 4).tolist() for name, one in zip(_CLASSES, maps, strict=True)},
        "dead": np.flatnonzero(dead).tolist(),
        "n_configurations": len(maps) + len(many),
    }


def _bonds(network: Any, model: MPNN, tests: Labelled) -> Entry | None:
    """Return the attention to the bonds of the first liquid and glass, and its means; none without such attention."""
    if not model.bond_heads:
        return None
    inputs = model.inputs(tests.positions, tests.species, tests.box)
    neighbours, weight = inputs[0].numpy(), bond_attention(network, *inputs).numpy().astype(float)
    hears, sends = np.broadcast_to(tests.species[:, None], neighbours.shape), tests.species[neighbours]
    kinds = np.unique(tests.species)
    means = [
        {"hears": chr(65 + one), "sends": chr(65 + two), "mean": float(weight[(hears == one) & (sends == two)].mean())}
        for one in kinds
        for two in kinds
        if ((hears == one) & (sends == two)).any()
    ]
    shown = {
        name: {"neighbours": neighbours[at].tolist(), "attention": np.round(weight[at], 4).tolist()}
        for name, at in zip(_CLASSES, _first_of_each(tests), strict=True)
    }
    return shown | {"means": means}


def _radii(chosen: Study) -> list[float]:
    """Return half the diameter of each species, in sigma_AA."""
    liquid = chosen.simulate.liquid
    if isinstance(liquid, Material):
        return list(liquid.radius)
    return [liquid.sigma[kind][kind] / 2 for kind in (0, 1)] if isinstance(liquid, Mixture) else [0.5]


def _names(chosen: Study) -> tuple[str, ...]:
    """Return what the species are called in files: as in the user's, where every format can hold that."""
    names = chosen.simulate.liquid.names
    plain = all(name.isascii() and name.isprintable() and " " not in name for name in names)
    return names if plain else tuple(chr(65 + kind) for kind in range(len(names)))


def _write(
    folder: Path,
    tests: Labelled,
    particles: np.ndarray,
    fields: dict[str, np.ndarray],
    *,
    species: tuple[str, ...],
) -> None:
    """Write the configurations with their columns, a file for each class and format."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = _configurations(tests)
    for label, name in enumerate(_CLASSES):
        frames = [
            Snapshot(
                configuration=shown[at],
                names=species,
                step=int(tests.run[at]),
                columns={"attribution": particles[at]}
                | {field: values[at] for field, values in fields.items() if field != "species"},
                origin=(0.0,) * shown[at].dimension,
            )
            for at in np.flatnonzero(tests.label == label)
        ]
        for suffix in _SUFFIXES:
            write(folder / f"{name}.{suffix}", frames)
