"""What the networks of a study see: attributions of test configurations, checked, correlated, drawn and written.

The files for a viewer lie in ``out/attribution/INPUT-kNNN-MODEL``: a frame for each run, ``glass`` and ``liquid``
apart, each as GSD, LAMMPS dump and extended XYZ with the attribution and the local order as columns.
"""

__all__ = ["N_RUNS", "attribute", "compute", "section", "task"]

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import annotate, attribution, classify, learn, store, workbench
from vitrify.attribution import Baseline, correlation, mean_over_runs
from vitrify.attribution_figures import attribution_maps, beside_the_input, bond_attention_map, channel_maps
from vitrify.attribution_figures import correlations as correlations_figure
from vitrify.cnn import CNN, Swanson2018
from vitrify.dataset import Labelled
from vitrify.local_order import FIELDS, local_order
from vitrify.mpnn import MPNN, bond_attention
from vitrify.potentials import MIXTURES, Mixture
from vitrify.report import Drawing, Section, Table, name_of_model
from vitrify.settings import Input, Study, split
from vitrify.system import Configuration, stream
from vitrify.workbench import Task

Progress = Callable[[str, float, float], None]
Entry = dict[str, Any]

N_RUNS = 8
"""Test runs looked at, a glass and a liquid of each, unless more are asked for."""

_CLASSES = ("liquid", "glass")
_N_RANDOM = 10  # networks of random weights
_ALIKE = 0.2  # mean size of a rank correlation from which random weights show part of the same
_N_SETTLE = 64  # configurations that settle their averages
_WRITERS = {"gsd": annotate.write_gsd, "dump": annotate.write_dump, "xyz": annotate.write_extxyz}


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
        n_workers: Processes that simulate what is missing.
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
    fields = _fields(tests, MIXTURES[chosen.simulate.mixture])
    entries, seen = [], []
    for place, training in enumerate(trainings):
        progress("attribute", place, len(trainings))
        entry, found = _network(chosen, out, training, trains, tests, fields)
        folder = out / "attribution" / f"{asked.name}-{training.name}"
        _write(folder, tests, found, fields)
        entries.append(entry | {"folder": f"attribution/{folder.name}"})
        seen.append(found)
    progress("attribute", len(trainings), len(trainings))
    agreement = [
        {"models": [entries[i]["model"], entries[j]["model"]], "class": name}
        | _over_runs(tests, label, lambda at, i=i, j=j: correlation(seen[i][at], seen[j][at], tests.species))  # type: ignore[misc]
        for i, j in combinations(range(len(entries)), 2)
        for label, name in enumerate(_CLASSES)
    ]
    return {"networks": entries, "agreement": agreement, "radius": _radii(chosen)}


def _trainings(chosen: Study, asked: Task, kinds: Sequence[str]) -> list[classify.Training]:
    """Return the first training of each kind of network on some records."""
    able = [one for one in classify.trainings(chosen) if one.model is not None and not (one.control or one.replicate)]
    found = [one for one in able if one.input == asked.input and one.train_k == asked.k]
    known = sorted({(one.input, one.train_k) for one in able})
    if not found:
        words = ", ".join(f"{name} k = {k}" for name, k in known)
        raise ValueError(f"the study trains no network on {asked.input} k = {asked.k}; it does on {words}")
    missing = sorted(set(kinds) - {one.name for one in found})
    if missing:
        raise ValueError(f"model must be one of {', '.join(one.name for one in found)}; got {', '.join(missing)}")
    return [one for one in found if not kinds or one.name in kinds]


def _network(
    chosen: Study,
    out: Path,
    training: classify.Training,
    trains: Labelled,
    tests: Labelled,
    fields: dict[str, np.ndarray],
) -> tuple[Entry, np.ndarray]:
    """Return what is kept of one network, and its attributions."""
    model = training.model
    assert model is not None
    network = learn.restore(model, store.Checkpoints(out / "models" / training.folder)).network
    few = _some(trains, _N_SETTLE)

    def attributed(of: Any, base: Baseline) -> attribution.Attribution:
        return attribution.attribute(of, model, tests.positions, tests.species, tests.box, base)

    base = attribution.baseline(network, model, trains)
    found = attributed(network, base)
    by_chance = []
    for number in range(_N_RANDOM if not isinstance(model, Swanson2018) else 1):
        seed = int(stream(chosen.seed, "randomised", training.name, number).integers(2**31))
        fresh = attribution.randomised(model, few, seed=seed)
        other = attributed(fresh, attribution.baseline(fresh, model, few))
        pairs = zip(found.particles, other.particles, strict=True)
        by_chance.append(float(np.mean([correlation(one, two, tests.species) for one, two in pairs])))
    rows = store.read_json(out / "results.json")
    entry = {
        "model": training.name,
        "settings": model.model_dump(mode="json"),
        "input": training.input,
        "k": training.train_k,
        "k_glass": training.k_glass,
        "n_runs": len(np.unique(tests.run)),
        "n_configurations": len(tests.label),
        "baseline": found.baseline,
        "logit": {name: float(found.logit[tests.label == label].mean()) for label, name in enumerate(_CLASSES)},
        "error": float(found.error.max()),
        "n_steps": int(found.n_steps.max()),
        "randomised": by_chance,
        "correlations": _correlations(tests, found.particles, fields),
        "scores": _scores(rows, training) if rows else [],
        "pixels": _pixels(network, model, few, tests, found) if isinstance(model, CNN) else None,
        "shown": _shown(tests, found),
        "channels": _channels(network, model, tests, few) if isinstance(model, CNN | Swanson2018) else None,
        "bonds": _bonds(network, model, tests) if isinstance(model, MPNN) else None,
    }
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
    energy = "e_pot" if training.input == "thermal" else "e_is"
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
        {"hears": "ABCDE"[one], "sends": "ABCDE"[two], "mean": float(weight[(hears == one) & (sends == two)].mean())}
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
    mixture = MIXTURES[chosen.simulate.mixture]
    return [mixture.sigma[kind][kind] / 2 for kind in (0, 1)] if isinstance(mixture, Mixture) else [0.5]


def _write(folder: Path, tests: Labelled, particles: np.ndarray, fields: dict[str, np.ndarray]) -> None:
    """Write the configurations with their columns, a file for each class and format."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = _configurations(tests)
    for label, name in enumerate(_CLASSES):
        frames = [
            annotate.Annotated(
                configuration=shown[at],
                columns={"attribution": particles[at]}
                | {field: values[at] for field, values in fields.items() if field != "species"},
                step=int(tests.run[at]),
            )
            for at in np.flatnonzero(tests.label == label)
        ]
        for suffix, write in _WRITERS.items():
            write(folder / f"{name}.{suffix}", frames)


def section(values: Entry) -> Section:
    """Return the section of the report."""
    networks: list[Entry] = values["networks"]
    sentences = [sentence for entry in networks for sentence in _sentences(entry)]
    sentences += _agreements(values["agreement"])
    return Section(
        anchor="attribution",
        title="What the networks see",
        sentences=sentences,
        drawings=_drawings(values),
        tables=[_correlation_table(networks)],
    )


def _sentences(entry: Entry) -> list[str]:
    name, logit = name_of_model(entry["model"]), entry["logit"]
    where = f"{entry['input']} configurations, k = {entry['k']} against {entry['k_glass']}"
    said = [
        f"{name}, {where}: the attributions of the particles add up to the logit less the baseline's "
        f"{entry['baseline']:+.2f} within {entry['error']:.1e} of that difference in each of "
        f"{entry['n_configurations']} configurations of {entry['n_runs']} test runs; the mean logit of the glasses is "
        f"{logit['glass']:+.2f}, of the liquids {logit['liquid']:+.2f}."
    ]
    said += _scored(entry["scores"])
    said.append(_by_chance(name, entry["randomised"]))
    said += [_strongest(name, entry["correlations"], which) for which in reversed(_CLASSES)]
    if (pixels := entry["pixels"]) is not None:
        rank = pixels["correlation"]
        said.append(
            f"Along pixels the {name}'s path would begin at a picture of the mean colour, whose logit is "
            f"{pixels['baseline']:+.1f}; the attributions of pixels correlate with those of features by "
            f"{rank['glass']:+.2f} in a glass and {rank['liquid']:+.2f} in a liquid (completeness error "
            f"{pixels['error']:.1e})."
        )
    if (channels := entry["channels"]) is not None:
        dead, total = channels["dead"], len(channels["maps"]["glass"])
        which = f"{len(dead)} of {total} ({', '.join(map(str, dead))})" if dead else f"none of {total}"
        said.append(f"Dead channels in the {name}'s first layer: {which}, on {channels['n_configurations']} pictures.")
    if (bonds := entry["bonds"]) is not None:
        words = ", ".join(f"{row['mean']:.2f} where {row['hears']} hears {row['sends']}" for row in bonds["means"])
        said.append(f"The {name}'s attention to a bond, 1 in the mean, is {words}.")
    return said


def _scored(rows: Sequence[Entry]) -> list[str]:
    """Return how well the network and the energy alone classify; nothing if the study has not scored them."""
    if not rows:
        return []
    words = "; ".join(
        f"{name_of_model(row['model'])} has accuracy {_interval(row['accuracy'])}, AUC {_interval(row['auc'])}"
        for row in rows
    )
    return [f"On all n = {rows[0]['n_test']} test configurations of {rows[0]['n_test_runs']} runs {words}."]


def _by_chance(name: str, drawn: Sequence[float]) -> str:
    """Return whether random weights would show the same, whichever way round: their sign means nothing."""
    size = float(np.abs(drawn).mean())
    verdict = (
        f"The {name}'s attribution comes with its training"
        if size < _ALIKE
        else f"Part of the {name}'s attribution comes with its architecture"
    )
    return (
        f"{verdict}: with random weights it correlates with the trained one's by {size:.2f} in size (mean "
        f"{np.mean(drawn):+.2f}, from {min(drawn):+.2f} to {max(drawn):+.2f} in {len(drawn)} draws; Spearman, within "
        f"species)."
    )


def _interval(estimate: Entry) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _signed(estimate: Entry) -> str:
    return f"{estimate['value']:+.2f} [{estimate['low']:+.2f}, {estimate['high']:+.2f}]"


def _strongest(name: str, correlations: Sequence[Entry], which: str) -> str:
    """Return the three strongest correlations in one class whose intervals leave out zero."""
    known = [row for row in correlations if row["class"] == which and not row["low"] <= 0 <= row["high"]]
    known = sorted(known, key=lambda row: -abs(row["value"]))[:3]
    if not known:
        return f"In the {which} the {name}'s attribution goes with none of the local fields (all 95% intervals hold 0)."
    words = ", ".join(f"{_plain(row['field'])} {_signed(row)}" for row in known)
    return f"In the {which} the {name}'s attribution goes most with {words} (Spearman, {known[0]['n_runs']} runs)."


def _plain(field: str) -> str:
    """Return the name of a field without its symbol and unit."""
    return FIELDS[field].partition(" (")[0].partition(" $")[0].partition(", ")[0]


def _agreements(rows: Sequence[Entry]) -> list[str]:
    return [
        f"{name_of_model(row['models'][0])} and {name_of_model(row['models'][1])} agree on the particles of a "
        f"{row['class']} by {_signed(row)} (Spearman, within species, {row['n_runs']} runs)."
        for row in rows
    ]


def _correlation_table(networks: Sequence[Entry]) -> Table:
    rows = [
        (name_of_model(entry["model"]), row["class"], _plain(row["field"]), _signed(row), str(row["n_runs"]))
        for entry in networks
        for row in entry["correlations"]
    ]
    columns = ("network", "class", "local field", "Spearman's ρ, 95% interval", "runs")
    return Table(title="Attribution against local order, within species", columns=columns, rows=rows)


def _drawings(values: Entry) -> list[Drawing]:
    """Return the figures; maps of particles exist in two dimensions only."""
    networks, radius = values["networks"], values["radius"]
    found = [
        Drawing(
            name="attribution_correlations",
            draw=correlations_figure,
            values=(networks,),
            data=_columns(networks),
            caption="Rank correlation of attribution and local order within species, 95% intervals over test runs.",
        )
    ]
    if len(networks[0]["shown"]["glass"]["box"]) != 2:
        return found
    found.insert(
        0,
        Drawing(
            name="attribution_map",
            draw=attribution_maps,
            values=(networks, radius),
            data={f"{entry['model']} {name}": entry["shown"][name]["attribution"]
                  for entry in networks for name in _CLASSES},
            caption="What each particle adds to the logit: blue towards glass, red towards liquid.",
        ),
    )  # fmt: skip
    for entry in networks:
        name = f"{entry['model']}_{entry['input']}_k{entry['k']:03d}"
        caption = f"The most and the least glassy particles beside the input of the {name_of_model(entry['model'])}."
        found.append(
            Drawing(name=f"attribution_input_{name}", draw=beside_the_input, values=(entry, radius), caption=caption)
        )
        if entry["channels"] is not None:
            caption = f"Channels of the first layer, after its ReLU; {name_of_model(entry['model'])}."
            found.append(Drawing(name=f"channels_{name}", draw=channel_maps, values=(entry,), caption=caption))
        if entry["bonds"] is not None:
            caption = "Attention of the last round to each bond; its mean over a configuration is 1."
            drawing = Drawing(name=f"bonds_{name}", draw=bond_attention_map, values=(entry, radius), caption=caption)
            found.append(drawing)
    return found


def _columns(networks: Sequence[Entry]) -> dict[str, Sequence]:
    rows = [{"model": entry["model"]} | row for entry in networks for row in entry["correlations"]]
    return {name: [row[name] for row in rows] for name in rows[0]}
