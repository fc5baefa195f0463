"""How classifiers answer to patterns, changed species, noise and small patches."""

__all__ = ["answers", "patch_sizes"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrify.figures import _BLUE, _GREEN, _GREY, _INK, _RED, _SMALL, _TEXT, MODEL_NAMES, _chance, _style, _symbols

Results = dict[str, Any]

_LINES = (_GREEN, _BLUE, _RED, _INK)


def answers(models: Sequence[Results]) -> Figure:
    """Return for each network its logits of patterns and changed inputs, and its AUC against noise.

    Args:
        models: Entries of ``models`` in the values of the analysis ``probes``.
    """
    figure = Figure(figsize=(7.6, 2.5 * len(models) + 0.2), layout="constrained")
    axes = figure.subplots(len(models), 2, squeeze=False, width_ratios=(1.5, 1))
    for (left, right), model in zip(axes, models, strict=True):
        _logits(left, model)
        _noise(right, model)
    axes[-1, 1].set_xlabel(r"s.d. of the noise ($\sigma_{AA}$)", fontsize=_TEXT)
    glass = models[-1].get("classes", ("liquid", "glass"))[1]
    axes[-1, 0].set_xlabel(f"logit, positive for {glass}: median, 5% to 95%", fontsize=_TEXT)
    return figure


def _logits(ax: Axes, model: Results) -> None:
    _style(ax)
    groups = model["logits"]
    for place, one in enumerate(groups):
        values = np.array(one["logit"])
        colour = {"liquid": _RED, "glass": _BLUE}.get(one["of"], _INK)
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        ax.plot([low, high], [place, place], lw=1.1, color=colour)
        ax.plot(middle, place, "o", ms=4.2, color=colour, mfc=colour if one["of"] in ("liquid", "glass") else "white")
    ax.axvline(0, lw=0.6, ls=":", color=_GREY)
    ax.set_yticks(range(len(groups)), [one["name"] for one in groups])
    ax.tick_params(axis="y", labelsize=_SMALL)
    ax.invert_yaxis()
    if max(abs(value) for one in groups for value in one["logit"]) > 50:
        ax.set_xscale("symlog", linthresh=10)
    name = _symbols(MODEL_NAMES.get(str(model["model"]), str(model["model"])))
    ax.set_title(f"{name}, {model['input']}, trained at $T$ = {model['T']:.2f}", fontsize=_TEXT, loc="left")


def _noise(ax: Axes, model: Results) -> None:
    _style(ax)
    _chance(ax)
    sd = [one["sd"] for one in model["noise"]]
    value, low, high = (np.array([one["auc"][key] for one in model["noise"]]) for key in ("value", "low", "high"))
    ax.errorbar(sd, value, yerr=np.stack([value - low, high - value]), fmt="-o", ms=3.4, lw=1, color=_INK)
    ax.set_ylabel(f"AUC, n = {model['n_test']}", fontsize=_TEXT)
    ax.set_ylim(min(0.3, low.min()) - 0.02, 1.03)


def patch_sizes(tasks: Sequence[Results]) -> Figure:
    """Return the AUC and the accuracy of patches against the number of particles in them.

    Args:
        tasks: Entries of ``patches`` in the values of the analysis ``probes``.
    """
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, metric in zip(axes, ("auc", "accuracy"), strict=True):
        _style(ax)
        _chance(ax)
        for task, colour in zip(tasks, _LINES, strict=False):
            n = [one["n_inside"] for one in task["sizes"]]
            value, low, high = (
                np.array([one[metric][key] for one in task["sizes"]]) for key in ("value", "low", "high")
            )
            ax.errorbar(
                n,
                value,
                yerr=np.stack([value - low, high - value]),
                fmt="-o",
                ms=3.4,
                lw=1,
                color=colour,
                label=f"{task['input']}, $T$ = {task['T']:.2f}",
            )
        ax.set_xscale("log")
        ax.set_xticks(n, [str(one) for one in n])
        ax.minorticks_off()
        ax.set_xlabel("particles in a patch", fontsize=_TEXT)
        ax.set_ylabel("AUC" if metric == "auc" else "accuracy", fontsize=_TEXT)
    axes[0].legend(fontsize=_SMALL, frameon=False, loc="lower right")
    return figure
