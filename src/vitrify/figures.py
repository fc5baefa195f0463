"""The figures of a report: values in, one ``Figure`` out; nothing is computed, read or saved.

A figure takes the dictionary of ``results.json`` or a part of it. Red is a model trained once, at the hottest
liquid, and applied elsewhere; green is a model trained at each temperature. Filled markers are networks, open ones
baselines.
The two colours differ in lightness and the two kinds in line style, so that every figure can be read in grey.
Temperatures are in epsilon_AA / k_B and energies in epsilon_AA per particle.
"""

__all__ = [
    "MODEL_NAMES",
    "as_the_network_sees",
    "augmented_pictures",
    "cooling_curve",
    "learning_curves",
    "progress_plot",
    "scores_against_temperature",
]

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitrify.baselines import BASELINES, ENERGY
from vitrify.views import COLOURS

Results = dict[str, Any]

MODEL_NAMES = {
    "cnn": "CNN",
    "cnn3d": "CNN on voxels",
    "mpnn": "MPNN",
    "deepset": "descriptor set",
    "shallow": "one hidden layer",
    "logistic": "logistic network",
    "swanson2018": "CNN of 2018",
    "e_pot": "potential energy alone",
    "e_is": "e_IS alone",
    "g_r": "g(r), linear",
    "descriptors": "descriptors, linear",
}
"""How a model is called in figures and text; others are called by their key."""

_INPUT_NAMES = {"thermal": "thermal configurations", "inherent": "inherent structures"}
_METRIC_NAMES = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "accuracy_rethresholded": "accuracy, threshold moved on validation runs",
}
_MARKERS = {
    "cnn": "o",
    "cnn3d": "o",
    "mpnn": "s",
    "deepset": "P",
    "shallow": "X",
    "logistic": "*",
    "swanson2018": "h",
    "e_pot": "D",
    "e_is": "D",
    "g_r": "^",
    "descriptors": "v",
}

# Okabe & Ito's colours, the green darkened to differ from the red in grey
_RED, _GREEN, _BLUE, _SKY, _INK, _GREY = "#E0600F", "#00624B", "#0072B2", "#56B4E9", "#222222", "#8A8A8A"
_SPECIES = np.array(COLOURS) / 255

_REFERENCES = (
    ("true_minima", "reference: true minima, N = 400", "--s", _BLUE),
    ("published", "published: stalled minima, N = 4320", ":o", _GREY),
)

_SMALL, _TEXT = 7.5, 9.0
_DODGE, _WIDEST = 0.016, 0.11  # in T: of neighbouring markers, and of all that stand for one temperature
_T_LABEL = r"temperature $T$ ($\epsilon_{AA}/k_B$)"
_ENERGY_LABEL = r"$e_{IS}$, unshifted ($\epsilon_{AA}$ per particle)"


def progress_plot(results: Results) -> Figure:
    """Return the headline figure: scores placed on the cooling curve beside Tg, thermal and inherent.

    Args:
        results: ``cooling_curve``, ``tg`` and ``classification`` are drawn.
    """
    inputs, has_curve = _inputs(results), "e_is_unshifted" in results["cooling_curve"]
    figure = Figure(figsize=(max(3.7 * len(inputs) + 0.5, 5.6), 6.6), layout="constrained")
    axes = figure.subplots(2, len(inputs), sharex=True, squeeze=False)
    limits = _score_limits(results, ("accuracy", "auc"))
    for column, name in enumerate(inputs):
        curve, ranking = axes[:, column]
        if has_curve:
            _draw_cooling_curve(curve, results)
        else:
            curve.yaxis.set_visible(False)
            curve.spines[["left", "top", "right"]].set_visible(False)
        curve.set_title(f"({'ab'[column % 2]}) {_INPUT_NAMES.get(name, name)}", fontsize=_TEXT, loc="left")
        accuracy = curve.twinx()
        _style(accuracy)
        accuracy.spines["right"].set_visible(True)
        shown = [row for row in _scored(results, name) if row["model"] in _headline_models(results, name)]
        for ax, metric in ((accuracy, "accuracy"), (ranking, "auc")):
            _chance(ax)
            _draw_scores(ax, shown, metric)
            ax.set_ylim(limits)
        _tg_band(ranking, results)
        _style(ranking)
        ranking.set_xlabel(_T_LABEL, fontsize=_TEXT)
        curve.set_ylabel(_ENERGY_LABEL if column == 0 and has_curve else "", fontsize=_TEXT, color=_GREY)
        accuracy.set_ylabel("test accuracy" if column == len(inputs) - 1 else "", fontsize=_TEXT)
        ranking.set_ylabel("AUC" if column == 0 else "", fontsize=_TEXT)
    models = [model for name in inputs for model in _headline_models(results, name)]
    figure.legend(
        handles=_headline_key(results, list(dict.fromkeys(models))),
        loc="outside lower center",
        ncols=2 if len(inputs) == 1 else 4 if len(models) < 6 else 3,
        fontsize=_SMALL,
        frameon=False,
    )
    return figure


def cooling_curve(results: Results) -> Figure:
    """Return the mean cooling curve beside the reference curves, and Tg by every convention.

    Args:
        results: ``cooling_curve``, ``reference`` and ``tg`` are drawn.
    """
    figure = Figure(figsize=(8.2, 3.7))
    figure.subplots_adjust(left=0.085, right=0.985, top=0.98, bottom=0.13, wspace=0.75)
    curve, conventions = figure.subplots(1, 2, width_ratios=(1.4, 1))
    T, energy = results["cooling_curve"]["T"], results["cooling_curve"]["e_is_unshifted"]
    _style(curve)
    _tg_band(curve, results)
    _band(curve, T, energy, label=f"this study, {results['cooling_curve']['n_runs']} runs, mean ± s.e.")
    _draw_references(curve, results)
    curve.set_xlabel(_T_LABEL, fontsize=_TEXT)
    curve.set_ylabel(_ENERGY_LABEL, fontsize=_TEXT)
    curve.legend(fontsize=_SMALL, frameon=False, loc="lower right")
    _style(conventions)
    _draw_conventions(conventions, results["tg"])
    return figure


def scores_against_temperature(results: Results, metric: str) -> Figure:
    """Return one small panel for each model and input: a score against the liquid's temperature, red and green.

    Args:
        results: ``classification`` and ``tg`` are drawn.
        metric: ``accuracy``, ``auc`` or ``accuracy_rethresholded``.
    """
    inputs, models = _inputs(results), _models(results["classification"])
    width, height = 1.62 * len(models) + 0.9, 1.85 * len(inputs) + 0.9
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(left=0.8 / width, right=1 - 0.1 / width, bottom=0.5 / height, top=1 - 0.55 / height)
    axes = figure.subplots(len(inputs), len(models), sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(wspace=0.08, hspace=0.25)
    axes[0, 0].set_ylim(_score_limits(results, (metric,)))
    for ax_row, name in zip(axes, inputs, strict=True):
        for ax, model in zip(ax_row, models, strict=True):
            rows = [row for row in _scored(results, name) if row["model"] == model]
            if not rows:
                ax.set_axis_off()
                continue
            _style(ax)
            _tg_band(ax, results)
            _chance(ax)
            _draw_scores(ax, rows, metric)
            ax.set_title(_symbols(MODEL_NAMES.get(model, model)), fontsize=_SMALL)
            ax.xaxis.set_tick_params(labelbottom=not _is_scored(results, inputs[inputs.index(name) + 1 :], model))
        ax_row[0].set_ylabel(_INPUT_NAMES.get(name, name), fontsize=_TEXT)
    figure.supylabel(_METRIC_NAMES.get(metric, metric), fontsize=_TEXT, x=0.08 / width, ha="left")
    figure.supxlabel(_T_LABEL, fontsize=_TEXT, y=0.05 / height)
    figure.legend(
        handles=[*_training_key(results), *_tg_key(results)],
        loc="upper right",
        ncols=3,
        fontsize=_SMALL,
        frameon=False,
    )
    return figure


def learning_curves(entry: Results, beside: Sequence[Results] = ()) -> Figure:
    """Return the source log's four panels of one training: loss and accuracy, training and validation.

    Args:
        entry: One element of ``learning_curves``: ``history`` is drawn, ``caption`` written below.
        beside: The trainings it is shown beside, whose figures then have the same vertical axes.
    """
    caption = textwrap.wrap(entry["caption"], 125)
    below = 0.6 + 0.135 * len(caption)  # inches: the labels of the axis, and the caption
    figure = Figure(figsize=(7.2, 4.0 + below))
    bottom = below / (4.0 + below)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.985, bottom=bottom, hspace=0.08, wspace=0.12)
    history = entry["history"]
    panels = (
        ("train_loss", "training loss"),
        ("validation_loss", "validation loss"),
        ("train_accuracy", "training accuracy"),
        ("validation_accuracy", "validation accuracy"),
    )
    for ax, (key, label) in zip(figure.subplots(2, 2, sharex=True, sharey="row").flat, panels, strict=True):
        _style(ax)
        ax.plot(history["samples"], history[key], "-o", ms=2, lw=1.0, color=_BLUE if "loss" in key else _GREEN)
        ax.set_ylabel(label, fontsize=_TEXT)
        if key.endswith("accuracy"):
            _chance(ax)
            ax.set_xlabel("training samples seen", fontsize=_TEXT)
    for row, name in zip((figure.axes[:2], figure.axes[2:]), ("loss", "accuracy"), strict=True):
        shown = [y for one in (entry, *beside) for part in _PARTS for y in one["history"][f"{part}_{name}"]]
        low, high = min(shown), max(shown)
        row[0].set_ylim((0, 1.05 * high or 1) if name == "loss" else (min(0.45, low - 0.03), 1.03))
    figure.text(0.02, 0.015, "\n".join(caption), fontsize=_SMALL, va="bottom")
    return figure


_PARTS = ("train", "validation")


def as_the_network_sees(
    image_glass: UInt8[np.ndarray, "c h w"],
    image_liquid: UInt8[np.ndarray, "c h w"],
    log_picture_glass: UInt8[np.ndarray, "p q 3"],
    log_picture_liquid: UInt8[np.ndarray, "p q 3"],
    classes: tuple[str, str] = ("liquid", "glass"),
) -> Figure:
    """Return a glass and a liquid side by side, as the network is shown them and as the source log drew them.

    Args:
        image_glass: Coverage by each species of each pixel, 255 where full; x runs down, as in ``vitrify.views.Image``.
        image_liquid: The same of a liquid.
        log_picture_glass: Red, green and blue, as ``vitrify.views.log_picture`` draws it.
        log_picture_liquid: The same of a liquid.
        classes: What the liquid and the glass are called.
    """
    figure = Figure(figsize=(6.4, 6.9), layout="constrained")
    axes = figure.subplots(2, 2)
    liquid, glass = classes
    pictures = (
        (_coloured(image_glass), f"{glass}, as the network sees it ({image_glass.shape[2]} px)"),
        (_coloured(image_liquid), f"{liquid}, as the network sees it ({image_liquid.shape[2]} px)"),
        (log_picture_glass, f"{glass}, as the log drew it ({log_picture_glass.shape[1]} px)"),
        (log_picture_liquid, f"{liquid}, as the log drew it ({log_picture_liquid.shape[1]} px)"),
    )
    for ax, (picture, title) in zip(axes.flat, pictures, strict=True):
        ax.imshow(picture, interpolation="nearest")
        ax.set_title(title, fontsize=_TEXT)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(linewidth=0.6, color=_GREY)
    names = ("A (majority)", "B") if len(image_glass) == 2 else [chr(65 + place) for place in range(len(image_glass))]
    key = [Patch(fc=_SPECIES[place % len(_SPECIES)], label=name) for place, name in enumerate(names)]
    figure.legend(handles=key, loc="outside lower center", ncols=len(key), fontsize=_SMALL, frameon=False)
    return figure


def augmented_pictures(
    images: UInt8[np.ndarray, "g c h w"], elements: Sequence[tuple[bool, int]], called: str
) -> Figure:
    """Return one configuration under every symmetry of its box, as a network is shown it in training.

    Args:
        images: Coverage by each species of each pixel, as of `as_the_network_sees`, one for each symmetry.
        elements: What each symmetry does, as `vitrify.views.turns_and_mirrors` says it: whether x is mirrored first,
            and by how many degrees the picture is then turned anticlockwise.
        called: What the configuration is.
    """
    n_columns = max(1, len(elements) // 2)
    figure = Figure(figsize=(1.9 * n_columns + 0.1, 4.5), layout="constrained")
    axes = figure.subplots(2, n_columns, squeeze=False).flat
    order = sorted(range(len(elements)), key=lambda place: elements[place])
    for ax, place in zip(axes, order, strict=True):
        mirrored, degrees = elements[place]
        words = [*(["mirrored"] if mirrored else []), *([f"turned by {degrees}°"] if degrees else [])]
        ax.imshow(_coloured(images[place]), interpolation="nearest")
        ax.set_title(", ".join(words) or called, fontsize=_SMALL)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(linewidth=0.6, color=_GREY)
    return figure


def _coloured(image: UInt8[np.ndarray, "c h w"]) -> Float[np.ndarray, "w h 3"]:
    """Lay A's orange, then B's blue and so on, over white, x to the right and y upwards."""
    upright = np.flip(image.transpose(0, 2, 1), axis=1) / 255
    picture = np.ones((*upright.shape[1:], 3))
    for place, coverage in enumerate(upright):
        cover = coverage[..., None]
        picture = picture * (1 - cover) + _SPECIES[place % len(_SPECIES)] * cover
    return picture


def _symbols(text: str) -> str:
    return text.replace("e_IS", "$e_{IS}$")


def _style(ax: Axes) -> None:
    ax.tick_params(labelsize=_SMALL, direction="in", width=0.6, length=3, top=False)
    for side, spine in ax.spines.items():
        spine.set(linewidth=0.6, visible=side in ("left", "bottom"))


def _chance(ax: Axes) -> None:
    ax.axhline(0.5, lw=0.6, ls=(0, (1, 2)), color=_GREY, zorder=0)


def _inputs(results: Results) -> list[str]:
    found = {row["input"] for row in results["classification"]}
    return [name for name in _INPUT_NAMES if name in found]


def _models(rows: Iterable[Results]) -> list[str]:
    """Return the models found: networks first, then baselines in the order of their table."""
    found = dict.fromkeys(row["model"] for row in rows)
    networks = [model for model in found if model not in BASELINES]
    return [*networks, *(model for model in BASELINES if model in found)]


def _headline_models(results: Results, name: str) -> list[str]:
    found = _models(_scored(results, name))
    return [model for model in found if model not in BASELINES or model == ENERGY[name]]


def _scored(results: Results, name: str) -> list[Results]:
    return [row for row in results["classification"] if row["input"] == name and not row["control"]]


def _is_scored(results: Results, inputs: Sequence[str], model: str) -> bool:
    return any(row["model"] == model for name in inputs for row in _scored(results, name))


def _score_limits(results: Results, metrics: Sequence[str]) -> tuple[float, float]:
    lows = [row[metric]["low"] for row in results["classification"] if not row["control"] for metric in metrics]
    return min(0.45, *lows) - 0.03, 1.03


def _draw_scores(ax: Axes, rows: Sequence[Results], metric: str) -> None:
    """Draw one line for each model and way of training, dodged in T so that bars do not hide each other."""
    series = []
    for model in _models(rows):
        of_model = [row for row in rows if row["model"] == model]
        first = _moved_from(of_model)
        series.append((model, _RED, "--", [row for row in of_model if row["train_k"] == first]))
        series.append((model, _GREEN, "-", [row for row in of_model if row["train_k"] == row["test_k"]]))
    hottest = max(row["test_T"] for row in rows)
    scale = 1.0 if hottest > 0.9 else hottest / 2  # a material in units of its own may be a glass at T = 0.05
    dodge = scale * min(_DODGE, _WIDEST / len(series))
    for place, (model, colour, line, unsorted) in enumerate(series):
        chosen = sorted(unsorted, key=lambda row: row["test_T"])
        T = np.array([row["test_T"] for row in chosen]) + dodge * (place - (len(series) - 1) / 2)
        value, low, high = (np.array([row[metric][key] for row in chosen]) for key in ("value", "low", "high"))
        _, _, (bars,) = ax.errorbar(
            T,
            value,
            yerr=np.stack([value - low, high - value]),
            fmt=_MARKERS.get(model, "d"),
            ls=line,
            lw=0.9,
            elinewidth=0.6,
            ms=3.8,
            mew=0.9,
            color=colour,
            mfc="white" if model in BASELINES else colour,
            zorder=3,
        )
        bars.set_alpha(0.5)
    ax.set_xlim(-0.03 * scale, max(2.05 * scale, hottest + 0.1 * scale))


def _draw_cooling_curve(ax: Axes, results: Results) -> None:
    _style(ax)
    ax.tick_params(axis="y", colors=_GREY)
    _tg_band(ax, results)
    _draw_references(ax, results)
    _band(ax, results["cooling_curve"]["T"], results["cooling_curve"]["e_is_unshifted"], label="", colour=_GREY)


def _draw_references(ax: Axes, results: Results) -> None:
    for key, label, line, colour in _REFERENCES:
        if key in results["reference"]:
            reference = results["reference"][key]
            ax.plot(
                *(reference["T"], reference["energy"]), line, lw=0.8, ms=2.6, mfc="white", color=colour, label=label
            )


def _band(ax: Axes, T: Sequence[float], energy: Results, *, label: str, colour: str = _INK) -> None:
    mean, se = np.array(energy["mean"]), np.array(energy["se"])
    ax.fill_between(T, mean - se, mean + se, color=colour, alpha=0.25, lw=0)
    ax.plot(T, mean, color=colour, lw=1.3, label=label)


def _tg_band(ax: Axes, results: Results) -> None:
    """Shade from the lowest to the highest Tg of the conventions."""
    values = [entry["T"] for entry in _supported(results["tg"])]
    if values:
        ax.axvspan(min(values), max(values), color=_SKY, alpha=0.28, lw=0, zorder=-1)


def _supported(tg: Sequence[Results]) -> list[Results]:
    return [entry for entry in tg if entry.get("found")]


def _draw_conventions(ax: Axes, tg: Sequence[Results]) -> None:
    """Draw each convention's Tg and interval; an open marker where no crossing is supported."""
    supported = _supported(tg)
    for place, entry in enumerate(tg):
        colour = _INK if entry in supported else _GREY
        ax.plot([entry["low"], entry["high"]], [place, place], lw=1.1, color=colour)
        ax.plot(entry["T"], place, "o", ms=4.5, color=colour, mfc=colour if entry in supported else "white")
    ax.set_yticks(range(len(tg)), [entry["convention"] for entry in tg])
    ax.invert_yaxis()
    ax.set_xlabel(r"$T_g$ ($\epsilon_{AA}/k_B$), 95% interval", fontsize=_TEXT)


def _tg_key(results: Results) -> list[Patch]:
    return [Patch(fc=_SKY, alpha=0.28, label="$T_g$, all conventions")] if _supported(results["tg"]) else []


def _training_key(results: Results) -> list[Line2D]:
    rows = [row for row in results["classification"] if not row["control"]]
    first = _moved_from(rows)
    T = next((row["train_T"] for row in rows if row["train_k"] == first), 0.0)
    return [
        Line2D([], [], color=_GREEN, ls="-", label="trained at each $T$"),
        Line2D([], [], color=_RED, ls="--", label=f"trained at $T$ = {T:.2f}, applied elsewhere"),
    ]


def _moved_from(rows: Sequence[Results]) -> int:
    """Return the record whose classifiers are applied elsewhere; the hottest where none is."""
    moved = [int(row["train_k"]) for row in rows if row["train_k"] != row["test_k"]]
    return moved[0] if moved else min((int(row["train_k"]) for row in rows), default=0)


def _headline_key(results: Results, models: Sequence[str]) -> list[Line2D | Patch]:
    markers = [
        Line2D(
            [],
            [],
            ls="",
            marker=_MARKERS.get(model, "d"),
            ms=4.5,
            color=_INK,
            mfc="white" if model in BASELINES else _INK,
            label=_symbols(MODEL_NAMES.get(model, model)),
        )
        for model in models
        if model != "e_pot" or "e_is" not in models
    ]
    if {"e_pot", "e_is"} <= set(models):
        markers[-1].set_label("energy alone: potential (a), $e_{IS}$ (b)")
    has_curve = "e_is_unshifted" in results["cooling_curve"]
    curve = [Line2D([], [], color=_GREY, lw=1.3, label="mean $e_{IS}$ (left axis)")] if has_curve else []
    references = [
        Line2D([], [], color=colour, ls=line[:-1], marker=line[-1], lw=0.8, ms=2.6, mfc="white", label=label)
        for key, label, line, colour in _REFERENCES
        if key in results["reference"]
    ]
    return [*_training_key(results), *_tg_key(results), *markers, *curve, *references]
