"""What the networks see, in words, figures and a table: the section of the report."""

__all__ = ["draw", "section"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.analyses import neurons
from vitrify.attribution_figures import attribution_maps, beside_the_input, bond_attention_map, channel_maps
from vitrify.attribution_figures import correlations as correlations_figure
from vitrify.local_order import FIELDS
from vitrify.report import Drawing, Section, Table, name_of_model, with_interval

Entry = dict[str, Any]

_CLASSES = ("liquid", "glass")
_ALIKE = 0.2  # mean size of a rank correlation from which random weights show part of the same


def section(values: Entry) -> Section:
    """Return the section of the report.

    Args:
        values: What `vitrify.analyses.attribution.attribute` returned.
    """
    networks: list[Entry] = values["networks"]
    sentences = [sentence for entry in networks for sentence in _sentences(entry)]
    sentences += _agreements(values["agreement"], _called(networks[0]))
    return Section(
        anchor="attribution",
        title="What the networks see",
        sentences=sentences,
        drawings=_drawings(values),
        tables=[_correlation_table(networks), *(neurons.table(entry) for entry in networks if entry.get("neurons"))],
    )


def draw(shown: Section, folder: Path) -> list[Path]:
    """Write the figures of a section as PNG into a folder; return their paths."""
    paths = [folder / f"{drawing.name}.png" for drawing in shown.drawings]
    for path, drawing in zip(paths, shown.drawings, strict=True):
        drawing.draw(*drawing.values).savefig(path, dpi=160)
    return paths


def _called(entry: Entry) -> dict[str, str]:
    """Return what the classes are called, by the keys they have in the values."""
    return dict(zip(_CLASSES, entry.get("classes", _CLASSES), strict=True))


def _sentences(entry: Entry) -> list[str]:
    called = _called(entry)
    name, logit = name_of_model(entry["model"]), entry["logit"]
    where = f"{entry['input']} configurations, T = {entry['T'][0]:.3f} against {entry['T'][1]:.3f}"
    said = [
        f"{name}, {where}: the attributions of the particles add up to the logit less the baseline's "
        f"{entry['baseline']:+.2f} within {entry['error']:.1e} of that difference in each of "
        f"{entry['n_configurations']} configurations of {entry['n_runs']} test runs; the mean logit of the class "
        f"{called['glass']} is {logit['glass']:+.2f}, of the class {called['liquid']} {logit['liquid']:+.2f}."
    ]
    said += _scored(entry["scores"])
    said.append(_by_chance(name, entry["randomised"]))
    said += [_strongest(name, entry["correlations"], which, called[which]) for which in reversed(_CLASSES)]
    if (pixels := entry["pixels"]) is not None:
        rank = pixels["correlation"]
        said.append(
            f"Along pixels the {name}'s path would begin at a picture of the mean colour, whose logit is "
            f"{pixels['baseline']:+.1f}; the attributions of pixels correlate with those of features by "
            f"{rank['glass']:+.2f} in a {called['glass']} and {rank['liquid']:+.2f} in a {called['liquid']} "
            f"(completeness error {pixels['error']:.1e})."
        )
    if (channels := entry["channels"]) is not None:
        dead, total = channels["dead"], len(channels["maps"]["glass"])
        which = f"{len(dead)} of {total} ({', '.join(map(str, dead))})" if dead else f"none of {total}"
        said.append(f"Dead channels in the {name}'s first layer: {which}, on {channels['n_configurations']} pictures.")
    if (bonds := entry["bonds"]) is not None:
        words = ", ".join(f"{row['mean']:.2f} where {row['hears']} hears {row['sends']}" for row in bonds["means"])
        said.append(f"The {name}'s attention to a bond, 1 in the mean, is {words}.")
    if entry.get("neurons"):
        said.append(neurons.sentence(entry))
    return said


def _scored(rows: Sequence[Entry]) -> list[str]:
    """Return how well the network and the energy alone classify; nothing if the study has not scored them."""
    if not rows:
        return []
    words = "; ".join(
        f"{name_of_model(row['model'])} has accuracy {with_interval(row['accuracy'])}, AUC {with_interval(row['auc'])}"
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


def _strongest(name: str, correlations: Sequence[Entry], which: str, called: str) -> str:
    """Return the three strongest correlations in one class whose intervals leave out zero."""
    known = [row for row in correlations if row["class"] == which and not row["low"] <= 0 <= row["high"]]
    known = sorted(known, key=lambda row: -abs(row["value"]))[:3]
    if not known:
        return (
            f"In the {called} the {name}'s attribution goes with none of the local fields (all 95% intervals hold 0)."
        )
    words = ", ".join(f"{_plain(row['field'])} {with_interval(row, '+.2f')}" for row in known)
    return f"In the {called} the {name}'s attribution goes most with {words} (Spearman, {known[0]['n_runs']} runs)."


def _plain(field: str) -> str:
    """Return the name of a field without its symbol and unit."""
    return FIELDS[field].partition(" (")[0].partition(" $")[0].partition(", ")[0]


def _agreements(rows: Sequence[Entry], called: dict[str, str]) -> list[str]:
    return [
        f"{name_of_model(row['models'][0])} and {name_of_model(row['models'][1])} agree on the particles of a "
        f"{called[row['class']]} by {with_interval(row, '+.2f')} (Spearman, within species, {row['n_runs']} runs)."
        for row in rows
    ]


def _correlation_table(networks: Sequence[Entry]) -> Table:
    rows = [
        (
            name_of_model(entry["model"]),
            _called(entry)[row["class"]],
            _plain(row["field"]),
            with_interval(row, "+.2f"),
            str(row["n_runs"]),
        )
        for entry in networks
        for row in entry["correlations"]
    ]
    columns = ("network", "class", "local field", "Spearman's ρ, 95% interval", "runs")
    return Table(title="Attribution against local order, within species", columns=columns, rows=rows)


def _drawings(values: Entry) -> list[Drawing]:
    """Return the figures; maps of particles exist in two dimensions only."""
    networks, radius = values["networks"], values["radius"]
    pair = f"{networks[0]['input']}_k{networks[0]['k']:03d}"
    found = [
        Drawing(
            name=f"attribution_correlations_{pair}",
            draw=correlations_figure,
            values=(networks,),
            data=_columns(networks),
            caption="Rank correlation of attribution and local order within species, 95% intervals over test runs.",
        )
    ]
    found += [neurons.drawing(entry, f"{entry['model']}_{pair}") for entry in networks if entry.get("neurons")]
    if len(networks[0]["shown"]["glass"]["box"]) != 2:
        return found
    found.insert(
        0,
        Drawing(
            name=f"attribution_map_{pair}",
            draw=attribution_maps,
            values=(networks, radius),
            data={f"{entry['model']} {name}": entry["shown"][name]["attribution"]
                  for entry in networks for name in _CLASSES},
            caption=f"What each particle adds to the logit: blue towards {_called(networks[0])['glass']}, red towards "
            f"{_called(networks[0])['liquid']}.",
        ),
    )  # fmt: skip
    for entry in networks:
        name = f"{entry['model']}_{pair}"
        caption = (
            f"The particles that add most and least to the logit, beside the input of the "
            f"{name_of_model(entry['model'])}."
        )
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
