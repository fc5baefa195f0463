"""The transfer matrix as heat maps: trained in one state, tested in another."""

__all__ = ["studies_matrix", "transfer_matrix"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vitrify.figures import _SMALL, _TEXT, MODEL_NAMES, _symbols

_METRICS = (
    ("auc", "AUC"),
    ("accuracy", "accuracy"),
    ("accuracy_rethresholded", "accuracy, threshold moved"),
)

_CELL = 0.23  # inches


def transfer_matrix(models: Sequence[dict[str, Any]], states: Sequence[dict[str, Any]]) -> Figure:
    """Return a row of heat maps for each classifier: AUC, accuracy, and accuracy with the threshold moved.

    Args:
        models: Entries of ``models`` in the values of the analysis ``transfer``.
        states: Its ``states``.
    """
    n = len(states)
    n_nulls = len(models[0]["null"][0])
    figure = Figure(
        figsize=(_CELL * (3 * n + n_nulls) + 3.0, len(models) * (_CELL * n + 0.75) + 0.45), layout="constrained"
    )
    axes = figure.subplots(len(models), 3, squeeze=False, width_ratios=(n + n_nulls, n, n))
    for row, model in zip(axes, models, strict=True):
        for ax, (metric, title) in zip(row, _METRICS, strict=True):
            drawn = _heat(ax, model, states, metric)
            name = _symbols(MODEL_NAMES.get(model["model"], model["model"]))
            ax.set_title(f"{name}: {title}", fontsize=_SMALL, loc="left", pad=12)
        row[0].set_ylabel("trained on the liquid at $T$", fontsize=_TEXT, labelpad=24)
    for ax in axes[-1]:
        ax.set_xlabel("tested on the liquid at $T$", fontsize=_TEXT)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.5 if len(models) > 1 else 0.9, aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=_SMALL)
    bar.outline.set_visible(False)
    return figure


def studies_matrix(model: dict[str, Any], names: Sequence[str], glasses: Sequence[str]) -> Figure:
    """Return the heat maps of one classifier over the states of several studies; a cell that cannot be is grey.

    Args:
        model: An entry of ``models`` in the values of the transfer between studies.
        names: Of the states.
        glasses: Of the null columns.
    """
    n, n_nulls = len(names), len(glasses)
    words = 0.052 * max(map(len, [*names, *glasses]))  # inches
    figure = Figure(figsize=(_CELL * (3 * n + n_nulls) + words + 1.4, _CELL * n + words + 0.8), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(n + n_nulls, n, n))
    for ax, (metric, title) in zip(axes, _METRICS, strict=True):
        table = np.array([[one.get(metric, _NOTHING)["value"] for one in row] for row in model["cells"]], float)
        if metric == "auc":
            null = [[(one or _NOTHING)["value"] for one in row] for row in model["null"]]
            table = np.hstack([table, np.array(null, float)])
        drawn = _cells(ax, table)
        ax.set_xticks(range(table.shape[1]), [*names, *glasses][: table.shape[1]], fontsize=6, rotation=90)
        ax.set_yticks(range(n), names if ax is axes[0] else [""] * n, fontsize=6)
        ax.set_xlabel("tested in", fontsize=_TEXT)
        name = _symbols(MODEL_NAMES.get(model["model"], model["model"]))
        ax.set_title(f"{name}: {title}", fontsize=_SMALL, loc="left")
        study = [one.rpartition(", T =")[0] for one in names]
        for place in [k for k in range(1, n) if study[k] != study[k - 1]] + [n]:
            ax.axvline(place - 0.5, color="w", lw=1.6)
            ax.axhline(place - 0.5, color="w", lw=1.6)
        for place in range(n):
            ax.add_patch(_outline(place))
    axes[0].set_ylabel("trained in", fontsize=_TEXT)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=_SMALL)
    bar.outline.set_visible(False)
    return figure


_NOTHING = {"value": np.nan}


def _cells(ax: Axes, table: Float[np.ndarray, "i j"]) -> Any:
    """Draw a table of scores with its numbers; what is not a number is grey."""
    ax.set_facecolor("#DDDDDD")
    drawn = ax.imshow(table, cmap="cividis", vmin=0.5, vmax=1.0, aspect="equal")
    for (i, j), value in np.ndenumerate(table):
        words = "–" if np.isnan(value) else "1" if value > 0.995 else f"{value:.2f}".lstrip("0")
        dark = np.isnan(value) or value > 0.75
        ax.text(j, i, words, ha="center", va="center", fontsize=6, color="k" if dark else "w")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return drawn


def _heat(ax: Axes, model: dict[str, Any], states: Sequence[dict[str, Any]], metric: str) -> Any:
    n = len(states)
    table = np.array([[one[metric]["value"] for one in row] for row in model["cells"]])
    if metric == "auc":
        table = np.hstack([table, [[one["value"] for one in row] for row in model["null"]]])
    drawn = _cells(ax, table)
    names = [f"{state['T']:.2f}" for state in states]
    inputs = [state["input"] for state in states]
    nulls = [f"null, {name}" for name in dict.fromkeys(inputs)] if metric == "auc" else []
    ax.set_xticks(range(n + len(nulls)), [*names, *nulls], fontsize=6, rotation=90)
    ax.set_yticks(range(n), names, fontsize=6)
    for place in [k for k in range(1, n) if inputs[k] != inputs[k - 1]] + [n]:
        ax.axvline(place - 0.5, color="w", lw=1.6)
        ax.axhline(place - 0.5, color="w", lw=1.6)
    for place in range(n):
        ax.add_patch(_outline(place))
    for name in dict.fromkeys(inputs):
        middle = np.mean([k for k, one in enumerate(inputs) if one == name])
        ax.text(float(middle), -0.7, name, fontsize=6, ha="center", va="bottom")
        if metric == "auc":
            ax.annotate(
                name,
                (0, float(middle)),
                xytext=(-28, 0),
                textcoords="offset points",
                xycoords=("axes fraction", "data"),
                fontsize=6,
                rotation=90,
                ha="center",
                va="center",
            )
    return drawn


def _outline(place: int) -> Rectangle:
    return Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, lw=0.8, ec="#00624B", zorder=3)
