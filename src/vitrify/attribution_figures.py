"""Figures of what a network sees: values in, one ``Figure`` out, in the style of `vitrify.figures`.

Blue adds to the logit of a glass and red to that of a liquid, on a scale whose lightness is symmetric about zero.
Particles are discs of their own diameter; those of B have a dark rim, those of C and the species after it a rim of a
colour. Images of the periodic box fill its edges.
"""

__all__ = [
    "attribution_maps",
    "beside_the_input",
    "bond_attention_map",
    "channel_maps",
    "correlations",
    "neurons_against_order",
]

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitrify.figures import _BLUE, _GREEN, _GREY, _INK, _RED, _SMALL, _TEXT, MODEL_NAMES, _coloured, _style
from vitrify.local_order import FIELDS
from vitrify.models import CNN
from vitrify.system import Configuration, minimum_image, wrap
from vitrify.views import Graph, Image, log_picture

Entry = Mapping[str, Any]

_CLASSES = ("glass", "liquid")
_COLOURS = "RdBu"
_FRACTION = 0.05  # of the particles that are highlighted at each end
_PALE = "#E4E4E4"
_RIMS = ("none", _INK, _GREEN, "#8A4FA3", "#A0661B", "#5B7F95")


def attribution_maps(networks: Sequence[Entry], radius: Sequence[float]) -> Figure:
    """Return a glass and a liquid coloured by what each particle adds to the logit, a row for each network.

    Args:
        networks: Entries of the analysis: ``shown``, ``model`` and ``baseline`` are drawn.
        radius: Radius of each species, in sigma_AA.
    """
    figure = Figure(figsize=(6.9, 3.45 * len(networks) + 0.1), layout="constrained")
    axes = figure.subplots(len(networks), 2, squeeze=False)
    for row, entry in zip(axes, networks, strict=True):
        values = np.concatenate([entry["shown"][name]["attribution"] for name in _CLASSES])
        limit = float(np.quantile(np.abs(values), 0.98)) or 1.0
        for ax, name in zip(row, _CLASSES, strict=True):
            shown = entry["shown"][name]
            _particles(ax, shown, radius, np.array(shown["attribution"]), limit)
            title = f"{_name(entry)}: {_called(entry)[name]}, logit {shown['logit']:+.1f}"
            ax.set_title(title, fontsize=_TEXT, loc="left")
        bar = figure.colorbar(_scale(limit), ax=row, extend="both", shrink=0.8, aspect=30, pad=0.015)
        bar.set_label(f"added to the logit (baseline {entry['baseline']:+.1f})", fontsize=_TEXT)
        bar.ax.tick_params(labelsize=_SMALL)
        bar.outline.set_linewidth(0.6)
    keys = _species_key(len(radius))
    figure.legend(handles=keys, loc="outside lower center", ncols=min(6, len(keys)), fontsize=_SMALL, frameon=False)
    return figure


def beside_the_input(entry: Entry, radius: Sequence[float]) -> Figure:
    """Return the most and the least glassy particles of a glass and a liquid, beside what the network was shown.

    Args:
        entry: One network of the analysis: ``shown`` and ``settings`` are drawn.
        radius: Radius of each species, in sigma_AA.
    """
    figure = Figure(figsize=(6.6, 6.9), layout="constrained")
    for (left, right), name in zip(figure.subplots(2, 2), _CLASSES, strict=True):
        shown = entry["shown"][name]
        _input(left, entry, shown, radius)
        left.set_title(f"{_called(entry)[name]}, as the {_name(entry)} is shown it", fontsize=_TEXT, loc="left")
        values = np.array(shown["attribution"])
        n = max(1, round(_FRACTION * len(values)))
        order = np.argsort(values)
        least, most = np.zeros((2, len(values)), bool)
        least[order[:n]], most[order[-n:]] = True, True
        colours = np.where(most, _BLUE, np.where(least, _RED, _PALE))
        _discs(right, shown, radius, colours=colours)
        right.set_title(f"logit {shown['logit']:+.1f}, run {shown['run']}", fontsize=_TEXT, loc="left")
    keys = [
        Patch(fc=_BLUE, label=f"most towards {_called(entry)['glass']}, {_FRACTION:.0%}"),
        Patch(fc=_RED, label=f"most towards {_called(entry)['liquid']}, {_FRACTION:.0%}"),
        *_species_key(len(radius)),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=min(6, len(keys)), fontsize=_SMALL, frameon=False)
    return figure


def correlations(networks: Sequence[Entry]) -> Figure:
    """Return the rank correlation of attribution with each local field, with intervals over runs.

    Args:
        networks: Entries of the analysis: ``correlations`` are drawn, a panel for each network.
    """
    fields = list(dict.fromkeys(row["field"] for row in networks[0]["correlations"]))
    figure = Figure(figsize=(2.5 * len(networks) + 2.2, 0.36 * len(fields) + 1.1), layout="constrained")
    axes = figure.subplots(1, len(networks), sharey=True, sharex=True, squeeze=False)[0]
    for ax, entry in zip(axes, networks, strict=True):
        _style(ax)
        ax.axvline(0, lw=0.6, color=_GREY, zorder=0)
        for name, colour, marker, dodge in (("glass", _BLUE, "o", -0.14), ("liquid", _RED, "s", 0.14)):
            rows = {row["field"]: row for row in entry["correlations"] if row["class"] == name}
            place = np.arange(len(fields)) + dodge
            value, low, high = (np.array([rows[field][key] for field in fields]) for key in ("value", "low", "high"))
            spread = np.stack([value - low, high - value])
            ax.errorbar(value, place, xerr=spread, fmt=marker, ms=4, lw=1.0, color=colour, label=_called(entry)[name])
        ax.set_title(f"{_name(entry)}, n = {entry['n_runs']} runs", fontsize=_TEXT, loc="left")
        ax.set_xlabel(r"Spearman's $\rho$ with attribution", fontsize=_TEXT)
    axes[0].set_yticks(range(len(fields)), [FIELDS[field] for field in fields])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=_SMALL, frameon=False)
    return figure


def neurons_against_order(entry: Entry) -> Figure:
    """Return the activation of each neuron against five-fold order, a panel for each neuron, both classes in it.

    Args:
        entry: One network of the analysis with one hidden layer: ``neurons`` is drawn.
    """
    neurons, called = entry["neurons"], _called(entry)
    n = len(neurons["activation"])
    n_columns = min(n, 3)
    n_rows = -(-n // n_columns)
    figure = Figure(figsize=(2.6 * n_columns + 0.4, 2.7 * n_rows + 0.2), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False).flat
    order, label = np.array(neurons["order"]), np.array(neurons["label"])
    for place, (ax, values) in enumerate(zip(axes, neurons["activation"], strict=False)):
        _style(ax)
        rows = {row["class"]: row for row in neurons["rows"] if row["neuron"] == place + 1}
        for which, name, colour, marker in ((0, "liquid", _RED, "s"), (1, "glass", _BLUE, "o")):
            row = rows[name]
            words = rf"{called[name]}, $\rho$ = {row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
            shown = label == which
            ax.plot(order[shown], np.array(values)[shown], marker, ms=3.4, color=colour, mfc="none", label=words)
        weight = rows["glass"]["weight"]
        ax.set_title(f"neuron {place + 1}, weight in the logit {weight:+.2f}", fontsize=_SMALL, loc="left")
        ax.legend(fontsize=_SMALL - 1, frameon=False, loc="best", handletextpad=0.2)
    for ax in list(axes)[n:]:
        ax.set_axis_off()
    figure.supxlabel(r"mean five-fold order $|\psi_5|$", fontsize=_TEXT)
    figure.supylabel("activation", fontsize=_TEXT)
    return figure


def channel_maps(entry: Entry) -> Figure:
    """Return what every channel of the first layer says of a glass and of a liquid; dead ones are named.

    Args:
        entry: One network on pictures of the analysis: ``channels`` is drawn.
    """
    maps, dead = entry["channels"]["maps"], entry["channels"]["dead"]
    n = len(maps["glass"])
    figure = Figure(figsize=(0.98 * n + 0.35, 2.75), layout="constrained")
    axes = figure.subplots(2, n, squeeze=False)
    for channel in range(n):
        pair = [np.array(maps[name][channel]) for name in _CLASSES]
        top = max(float(one.max()) for one in pair) or 1.0
        for ax, one, name in zip(axes[:, channel], pair, _CLASSES, strict=True):
            ax.imshow(one.T, origin="lower", cmap="cividis", vmin=0, vmax=top, interpolation="nearest")
            _bare(ax)
            if channel == 0:
                ax.set_ylabel(_called(entry)[name], fontsize=_TEXT)
        gone = channel in dead
        says = f"{channel}: dead" if gone else f"{channel}: 0 to {top:.2g}"
        axes[0, channel].set_title(says, fontsize=_SMALL, color=_RED if gone else _INK)
    n_pictures = entry["channels"]["n_configurations"]
    words = f"{_name(entry)}, first layer after its ReLU; dark is 0; dead: the same everywhere on {n_pictures} pictures"
    figure.supxlabel(words, fontsize=_SMALL)
    return figure


def bond_attention_map(entry: Entry, radius: Sequence[float]) -> Figure:
    """Return the attention to every bond of a glass and of a liquid, drawn on the particles.

    Args:
        entry: One network of the analysis with attention over bonds: ``bonds`` and ``shown`` are drawn.
        radius: Radius of each species, in sigma_AA.
    """
    figure = Figure(figsize=(6.9, 3.7), layout="constrained")
    axes = figure.subplots(1, 2)
    top = float(np.quantile(np.concatenate([np.ravel(entry["bonds"][name]["attention"]) for name in _CLASSES]), 0.99))
    for ax, name in zip(axes, _CLASSES, strict=True):
        shown, bonds = entry["shown"][name], entry["bonds"][name]
        species = np.array(shown["species"])
        _discs(ax, shown, [0.45 * size for size in radius], colours=np.where(species > 0, "white", "#C4C4C4"))
        _bonds(ax, shown, np.array(bonds["neighbours"]), np.array(bonds["attention"]), top)
        ax.set_title(f"{_called(entry)[name]}, logit {shown['logit']:+.1f}", fontsize=_TEXT, loc="left")
    scale = ScalarMappable(norm=Normalize(0, top), cmap="viridis_r")
    bar = figure.colorbar(scale, ax=axes, extend="max", shrink=0.8, aspect=30, pad=0.015)
    bar.set_label("attention to the bond (mean 1)", fontsize=_TEXT)
    bar.ax.tick_params(labelsize=_SMALL)
    keys = [
        *_species_key(len(radius), fills=("#C4C4C4", "white")),
        Line2D([], [], color=_INK, lw=2, label="half of the bond, at the particle that hears"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=min(6, len(keys)), fontsize=_SMALL, frameon=False)
    return figure


def _name(entry: Entry) -> str:
    return str(MODEL_NAMES.get(entry["model"], entry["model"]))


def _scale(limit: float) -> ScalarMappable:
    return ScalarMappable(norm=Normalize(-limit, limit), cmap=_COLOURS)


def _species_key(n_species: int, fills: tuple[str, str] = (_PALE, _PALE)) -> list[Line2D]:
    """Return how each species is drawn, A filled with the first colour and all others with the second."""
    names = ["A (majority)", "B"] if n_species == 2 else [chr(ord("A") + place) for place in range(n_species)]
    return [
        Line2D([], [], ls="", marker="o", ms=6, mfc=fills[min(place, 1)], mec=_rim(place), mew=0.9, label=name)
        for place, name in enumerate(names)
    ]


def _rim(species: int) -> str:
    return _RIMS[species] if species < len(_RIMS) else _RIMS[2 + (species - 2) % (len(_RIMS) - 2)]


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(linewidth=0.6, color=_GREY)


def _framed(ax: Axes, box: Float[np.ndarray, " 2"]) -> None:
    """Show the box and nothing outside of it."""
    ax.set_xlim(0, box[0])
    ax.set_ylim(0, box[1])
    ax.set_aspect("equal")
    _bare(ax)


def _particles(
    ax: Axes, shown: Entry, radius: Sequence[float], values: Float64[np.ndarray, " n"], limit: float
) -> None:
    _discs(ax, shown, radius, colours=_scale(limit).to_rgba(values))


def _discs(ax: Axes, shown: Entry, radius: Sequence[float], *, colours: Any) -> None:
    """Draw every particle, and its images across the edges, as a disc; the edge of the box cuts them."""
    box, species = np.array(shown["box"]), np.array(shown["species"])
    places, who = _images(np.array(shown["positions"]), box, max(radius))
    size = 2 * np.array(radius)[species[who]]
    rims = np.array([_rim(place) for place in range(len(radius))])[species[who]]
    discs = EllipseCollection(
        size,
        size,
        np.zeros(len(who)),
        units="xy",
        offsets=places,
        offset_transform=ax.transData,
        facecolors=np.asarray(colours)[who],
        edgecolors=rims.tolist(),
        linewidths=0.5,
    )
    ax.add_collection(discs)
    _framed(ax, box)


def _images(
    positions: Float64[np.ndarray, "n 2"], box: Float64[np.ndarray, " 2"], reach: float
) -> tuple[Float64[np.ndarray, "m 2"], Integer[np.ndarray, " m"]]:
    """Return the places of the particles and of their images that reach into the box, and whose they are."""
    inside = wrap(positions, box)
    places, who = [], []
    for shift in product((-1, 0, 1), repeat=2):
        moved = inside + np.array(shift) * box
        near: Bool[np.ndarray, " n"] = ((moved > -reach) & (moved < box + reach)).all(axis=1)
        places.append(moved[near])
        who.append(np.flatnonzero(near))
    return np.concatenate(places), np.concatenate(who)


def _bonds(
    ax: Axes,
    shown: Entry,
    neighbours: Integer[np.ndarray, "n k"],
    weight: Float64[np.ndarray, "n k"] | None,
    top: float,
) -> None:
    """Draw each bond as half of it at the particle that hears, coloured by its weight, those of most weight above."""
    positions, box = np.array(shown["positions"]), np.array(shown["box"])
    start = np.repeat(wrap(positions, box), neighbours.shape[1], axis=0)
    halves = minimum_image(positions[neighbours.ravel()] - start, box) / 2
    segments = np.stack([start, start + halves], axis=1)
    if weight is None:
        lines = LineCollection(list(segments), colors=_GREY, linewidths=0.7, zorder=0)
    else:
        order = np.argsort(weight.ravel())
        strength = np.minimum(weight.ravel()[order] / top, 1)
        colours = ScalarMappable(norm=Normalize(0, 1), cmap="viridis_r").to_rgba(strength)
        lines = LineCollection(list(segments[order]), colors=colours, linewidths=0.3 + 2.2 * strength, zorder=0)
    lines.set_rasterized(True)  # thousands of them
    ax.add_collection(lines)


def _input(ax: Axes, entry: Entry, shown: Entry, radius: Sequence[float]) -> None:
    """Draw what the network was shown: a picture, a graph, or the particles its descriptors are of."""
    positions, species, box = (np.array(shown[name]) for name in ("positions", "species", "box"))
    extent = (0, box[0], 0, box[1])
    if entry["model"] == "cnn":
        view = Image.model_validate(entry["settings"]["view"])
        (pictures,) = view(positions[None].astype(np.float32), species, box, stride=CNN.stride)
        ax.imshow(_coloured(pictures[0]), extent=extent, interpolation="nearest")
    elif entry["model"] == "swanson2018":
        shown_to_it = Configuration(positions=positions, species=species, box=box)
        ax.imshow(log_picture(shown_to_it, pixels=entry["settings"]["pixels"]), extent=extent, interpolation="nearest")
    else:
        small = [0.45 * size for size in radius]
        _discs(ax, shown, small, colours=np.where(species > 0, "#4C6FD9", "#FFC04D"))
        if entry["model"] == "mpnn":
            graph = Graph.model_validate(entry["settings"]["view"])
            neighbours, _, _ = graph(positions[None].astype(np.float32), species, box)
            _bonds(ax, shown, neighbours[0], None, 1.0)
    _framed(ax, box)


def _called(entry: Entry) -> dict[str, str]:
    """Return what the classes are called, by the keys they have in the values."""
    return dict(zip(("liquid", "glass"), entry.get("classes", ("liquid", "glass")), strict=True))
