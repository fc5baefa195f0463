"""Structural metrics against temperature, pair correlations and structure factors."""

__all__ = ["correlations", "metrics_against_temperature"]

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrify.figures import _BLUE, _GREY, _INK, _RED, _SMALL, _T_LABEL, _TEXT, _style

Results = dict[str, Any]

_COLOURS = {"thermal": _RED, "inherent": _BLUE}
_NAMES = {
    "components": "connected components",
    "bonds_BB": "B-B bonds",
    "lonely_A": "A without B neighbour",
    "sides_5": "five-fold fraction",
    "sides_6": "six-fold fraction",
    "psi5_voronoi": r"mean $|\psi_5|$",
    "psi6_voronoi": r"mean $|\psi_6|$",
    "psi6_global": r"$|\langle\psi_6\rangle|$",
    "area_sd": "s.d. of cell area / mean",
    "neighbours_AB": "B around A",
    "neighbours_BB": "B around B",
    "q6_mean": r"mean $q_6$",
}
"""The metrics that are drawn, and how they are called."""


def metrics_against_temperature(metrics: Sequence[Results]) -> Figure:
    """Return a small panel for each metric: its mean over runs, with standard error, against temperature.

    Args:
        metrics: Entries of ``metrics`` in the values of the analysis ``structure``.
    """
    drawn = [name for name in _NAMES if any(one["metric"] == name for one in metrics)]
    rows = -(-len(drawn) // 3)
    figure = Figure(figsize=(7.6, 1.9 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False, sharex=True).ravel()
    for ax in axes[len(drawn) :]:
        ax.set_visible(False)
    for ax, name in zip(axes, drawn, strict=False):
        _style(ax)
        for one in metrics:
            if one["metric"] == name:
                mean, se = np.array(one["mean"]), np.array(one["se"])
                colour = _COLOURS[one["input"]]
                ax.errorbar(one["T"], mean, yerr=se, fmt="-o", ms=3, lw=1, color=colour, label=one["input"])
        ax.set_ylabel(_NAMES[name], fontsize=_SMALL + 0.5)
    for ax in axes[max(0, len(drawn) - 3) : len(drawn)]:
        ax.set_xlabel(_T_LABEL, fontsize=_TEXT)
        ax.tick_params(labelbottom=True)
    n = max(one["n_runs"] for one in metrics)
    axes[0].legend(fontsize=_SMALL, frameon=False, title=f"mean ± s.e., {n} runs", title_fontsize=_SMALL)
    return figure


def correlations(curves: Sequence[Results]) -> Figure:
    """Return the partial pair correlations and the structure factor of the glass and two liquids.

    Args:
        curves: Entries of ``curves`` in the values of the analysis ``structure``.
    """
    inputs = list(dict.fromkeys(one["input"] for one in curves))
    figure = Figure(figsize=(7.6, 2.4 * len(inputs) + 0.2), layout="constrained")
    partials = ("AA", "AB", "BB")[: len(curves[0]["g"])]  # of further species the numbers are in the CSV
    places = (
        (0, 1, 2) if len(curves[0]["g"]) <= 3 else (0, 1, _n_species(len(curves[0]["g"])))
    )  # BB follows all pairs of A
    n = len(partials)
    axes = figure.subplots(len(inputs), n + 1, squeeze=False, sharex="col")
    for row, name in zip(axes, inputs, strict=True):
        chosen = [one for one in curves if one["input"] == name]
        for place, (pair, at) in enumerate(zip(partials, places, strict=False)):
            for one, colour in zip(chosen, _shades(len(chosen)), strict=True):
                _band(row[place], one["r"], one["g"][at], one["g_se"][at], colour, _label(one))
            row[place].set_ylabel(f"$g_{{{pair}}}(r)$", fontsize=_TEXT, labelpad=1)
            row[place].set_xlim(0.6, 4)
        for one, colour in zip(chosen, _shades(len(chosen)), strict=True):
            _band(row[n], one["q"], one["S"], one["S_se"], colour, _label(one))
        row[n].set_ylabel("$S(q)$", fontsize=_TEXT, labelpad=1)
        row[0].set_title(name, fontsize=_TEXT, loc="left")
    for place in range(n):
        axes[-1, place].set_xlabel(r"$r$ ($\sigma_{AA}$)", fontsize=_TEXT)
    axes[-1, n].set_xlabel(r"$q$ ($\sigma_{AA}^{-1}$)", fontsize=_TEXT)
    axes[0, n].legend(fontsize=_SMALL, frameon=False, loc="upper right", handlelength=1)
    return figure


def _n_species(n_pairs: int) -> int:
    """Return of how many species there are so many pairs."""
    return (math.isqrt(8 * n_pairs + 1) - 1) // 2


def _label(one: Results) -> str:
    return f"$T$ = {one['T']:.2f}"


def _shades(n: int) -> list[str]:
    return [_RED, _GREY, _BLUE][:n] if n <= 3 else [_INK] * n


def _band(ax: Axes, x: Sequence[float], mean: Sequence, se: Sequence, colour: str, label: str) -> None:
    _style(ax)
    middle, error = np.array(mean, float), np.array(se, float)
    ax.fill_between(x, middle - error, middle + error, color=colour, alpha=0.3, lw=0)
    ax.plot(x, middle, lw=0.9, color=colour, label=label)
