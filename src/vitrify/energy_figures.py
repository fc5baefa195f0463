"""How a classifier's logit follows the energy, and what is left of its AUC at equal energy."""

__all__ = ["energy_question"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vitrify.figures import _BLUE, _GREY, _INK, _RED, _SMALL, _TEXT, MODEL_NAMES, _style, _symbols

Results = dict[str, Any]


def energy_question(tasks: Sequence[Results]) -> Figure:
    """Return a row for each task: logit against energy by class, and the AUC of all and of matched configurations.

    Args:
        tasks: Entries of ``tasks`` in the values of the analysis ``energy``.
    """
    figure = Figure(figsize=(7.6, 2.7 * len(tasks) + 0.2), layout="constrained")
    axes = figure.subplots(len(tasks), 2, squeeze=False, width_ratios=(1, 1.05))
    for (scatter, forest), task in zip(axes, tasks, strict=True):
        _scatter(scatter, task)
        _forest(forest, task)
    axes[-1, 0].set_xlabel(_energy_label(tasks[-1]), fontsize=_TEXT)
    axes[-1, 1].set_xlabel("AUC, 95% interval over runs", fontsize=_TEXT)
    return figure


def _energy_label(task: Results) -> str:
    symbol = "$e_{IS}$" if task["energy_name"] == "e_is" else "$e_{pot}$"
    return f"{symbol}, unshifted" + r" ($\epsilon_{AA}$ per particle)"


def _scatter(ax: Axes, task: Results) -> None:
    _style(ax)
    shown = next(one for one in task["models"] if one["model"] == task["shown"])
    energy, label, logit = (np.array(values) for values in (task["energy"], task["label"], shown["logit"]))
    called = dict(zip(("liquid", "glass"), task.get("classes", ("liquid", "glass")), strict=True))
    for which, name, colour, marker in ((0, "liquid", _RED, "o"), (1, "glass", _BLUE, "s")):
        chosen = label == which
        found = shown["correlation"][name]
        words = called[name] if found is None else f"{called[name]}, $r$ = {_estimate(found['pearson'])}"
        ax.plot(energy[chosen], logit[chosen], marker, ms=3.2, mew=0.7, mfc="none", color=colour, label=words)
    ax.axhline(0, lw=0.6, ls=":", color=_GREY)
    ax.set_ylabel(f"logit, {_symbols(MODEL_NAMES.get(shown['model'], shown['model']))}", fontsize=_TEXT)
    ax.set_title(_title(task), fontsize=_TEXT, loc="left")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.25 * (high - low))
    ax.legend(fontsize=_SMALL, frameon=False, loc="upper right", handletextpad=0.2, borderaxespad=0.1)


def _title(task: Results) -> str:
    which = "equal energy" if task["T"] is None else f"$T$ = {task['T']:.3f}"
    return f"{task['input']}, {which}"


def _forest(ax: Axes, task: Results) -> None:
    _style(ax)
    rows = [{"model": task["energy_name"], **task["baseline"]}, *task["models"]]
    for place, row in enumerate(rows):
        for estimate, shift, fill in ((row["auc"], -0.14, True), (row["matched_auc"], 0.14, False)):
            if estimate is None:
                continue
            colour = _INK if fill else _BLUE
            ax.plot([estimate["low"], estimate["high"]], [place + shift] * 2, lw=1.1, color=colour)
            ax.plot(estimate["value"], place + shift, "o", ms=4.2, color=colour, mfc=colour if fill else "white")
    ax.axvline(0.5, lw=0.6, ls=":", color=_GREY)
    ax.set_yticks(range(len(rows)), [_symbols(MODEL_NAMES.get(row["model"], row["model"])) for row in rows])
    ax.tick_params(axis="y", labelsize=_SMALL)
    ax.invert_yaxis()
    ax.set_xlim(0.28, 1.02)
    ax.plot([], [], "o", ms=4.2, color=_INK, label=f"all, n = {len(task['label'])}")
    if task["matched"]["n_pairs"] and any(row["matched_auc"] for row in rows):
        n = 2 * task["matched"]["n_pairs"]
        ax.plot([], [], "o", ms=4.2, color=_BLUE, mfc="white", label=f"matched on the energy, n = {n}")
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.1}
    ax.legend(fontsize=_SMALL, frameon=False, ncols=2, handletextpad=0.2, **above)


def _estimate(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
