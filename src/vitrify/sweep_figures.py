"""Figures of a sweep: the contents of ``leaderboard.json`` in, one ``Figure`` out, as in `vitrify.figures`."""

__all__ = ["leaderboard_figure", "parallel_coordinates"]

import json
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from vitrify.figures import _GREY, _INK, _RED, _SMALL, _TEXT, _style


def leaderboard_figure(results: dict[str, Any], *, n_rows: int = 12) -> Figure:
    """Return the best trials as a table beside their validation losses: mean, standard deviation and every replicate.

    Args:
        results: As `vitrify.sweep.leaderboard` returns them; ``rows`` are drawn.
        n_rows: Trials shown at most.

    Raises:
        ValueError: No trial is complete.
    """
    shown = _complete(results)[:n_rows]
    paths = sorted(results["sweep"]["space"])
    heads = ["trial", *map(_short, paths), "accuracy", "collapsed"]
    cells = [
        [
            str(row["trial"]),
            *(_said(row["settings"][path]) for path in paths),
            _measured(row["accuracy"]),
            f"{row['n_collapsed']}/{len(row['replicates'])}",
        ]
        for row in shown
    ]
    lengths = [max(len(text) for text in column) + 2 for column in zip(heads, *cells, strict=True)]
    table_width, plot_width, height = 0.068 * sum(lengths), 2.9, 0.22 * len(shown)
    figure = Figure(figsize=(table_width + plot_width, height + 1.15))
    width, full = figure.get_size_inches()
    ax = figure.add_axes((table_width / width, 0.75 / full, (plot_width - 0.12) / width, height / full))
    _style(ax)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ends = np.cumsum(lengths) / sum(lengths)
    for line, words in enumerate([heads, *cells]):
        for end, word in zip(ends, words, strict=True):
            at = (1 - end + 0.5 * lengths[0] / sum(lengths)) * -table_width / (plot_width - 0.12)
            kind: dict[str, Any] = {"fontweight": "bold"} if line == 1 else {"color": _GREY} if line == 0 else {}
            ax.text(
                *(at, line - 1), word, transform=ax.get_yaxis_transform(), ha="right", va="center", size=_SMALL, **kind
            )
    for line, row in enumerate(shown):
        _draw_losses(ax, line, row)
    losses = [one["loss"] for row in shown for one in row["replicates"]]
    low, high = min(losses), max(losses)
    if low > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:.2g}")
        ax.xaxis.set_minor_formatter("{x:.2g}" if high < 10 * low else NullFormatter())
        ax.tick_params(axis="x", which="both", labelsize=_SMALL)
    ax.set_xlabel("validation loss", fontsize=_TEXT)
    figure.legend(handles=_key(shown), loc="lower right", ncols=3, fontsize=_SMALL, frameon=False, borderpad=0.1)
    figure.text(0.01, 0.06 / full, _counted(results, len(shown)), fontsize=_SMALL, va="bottom")
    return figure


def parallel_coordinates(results: dict[str, Any]) -> Figure:
    """Return every trial as a line through its settings to its validation loss; the best is drawn heavily.

    A pruned or diverged trial is a dotted line that ends before the loss.

    Args:
        results: As `vitrify.sweep.leaderboard` returns them; ``rows`` are drawn.

    Raises:
        ValueError: No trial is complete.
    """
    complete = _complete(results)
    others = [row for row in results["rows"] if row["loss"]["mean"] is None]
    losses = np.array([row["loss"]["mean"] for row in complete])
    space = dict(sorted(results["sweep"]["space"].items()))
    norm = LogNorm(losses.min() * 0.999, losses.max() * 1.001)
    colours = matplotlib.colormaps["viridis"]
    figure = Figure(figsize=(max(3.6, 1.25 * len(space) + 1.6), 3.3))
    figure.subplots_adjust(left=0.09, right=0.93, top=0.88, bottom=0.15)
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set_xlim(0, len(space))
    ax.set_ylim(-0.02, 1.02)
    scales = [_scale(values) for values in space.values()]
    for place, (path, scale) in enumerate(zip(space, scales, strict=True)):
        _draw_axis(ax, place, _short(path), scale[0])
    loss_ticks = _log_ticks(losses.min(), losses.max())
    _draw_axis(ax, len(space), "validation\nloss", {text: _log_place(v, losses) for v, text in loss_ticks}, right=True)
    for row in [*others, *reversed(complete)]:
        mean = row["loss"]["mean"]
        heights = [place(row["settings"][path]) for path, (_, place) in zip(space, scales, strict=True)]
        x, y = _smooth(heights if mean is None else [*heights, _log_place(mean, losses)])
        best = row is complete[0]
        look: dict[str, Any] = (
            {"color": _GREY, "lw": 0.7, "ls": ":"} if mean is None else {"color": colours(0.85 * float(norm(mean)))}
        )
        look = {"lw": 2.6 if best else 1.0, "alpha": 1.0 if best else 0.8, "zorder": 3 if best else 2} | look
        ax.plot(x, y, **look)
    figure.text(0.02, 0.03, _counted(results, None), fontsize=_SMALL, va="bottom")
    return figure


def _complete(results: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [row for row in results["rows"] if row["loss"]["mean"] is not None]
    if not rows:
        raise ValueError(f"results must hold a trial that is complete; none of its {len(results['rows'])} rows is")
    return rows


def _counted(results: dict[str, Any], n_shown: int | None) -> str:
    rows, sweep = results["rows"], results["sweep"]
    n_pruned = sum(row["state"] == "pruned" for row in rows)
    n_diverged = sum(bool(row["n_diverged"]) for row in rows)
    shown = "" if n_shown is None or n_shown == len(rows) else f"the best {n_shown} of "
    left_out = [f"{n} {word}" for n, word in ((n_pruned, "pruned"), (n_diverged, "diverged")) if n]
    ends = f" ({', '.join(left_out)})" if left_out else ""
    return f"{shown}{len(rows)} trials{ends}, {sweep['n_seeds']} seeds each"


def _short(path: str) -> str:
    """Return the end of a path, as long as it says enough."""
    *_, above, last = ["", *path.split(".")]
    return (f"{above} {last}" if last in ("kind", "width") else last).replace("_", " ")


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(_said(part) for part in value.values())
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("_", " ")


def _measured(moments: dict[str, Any]) -> str:
    return f"{moments['mean']:.3f}" + ("" if moments["sd"] is None else f" ± {moments['sd']:.3f}")


def _draw_losses(ax: Axes, line: int, row: dict[str, Any]) -> None:
    mean, sd = row["loss"]["mean"], row["loss"]["sd"] or 0.0
    losses = [one["loss"] for one in row["replicates"]]
    ax.axhline(line, lw=0.4, color=_GREY, alpha=0.4, zorder=0)
    low = mean - sd if mean > sd else 0.5 * min(losses)  # a logarithmic axis has no 0
    ax.plot([low, mean + sd], [line, line], lw=1.4, color=_INK)
    ax.plot(losses, [line] * len(losses), "o", ms=3.2, mfc="white", mec=_GREY, mew=0.8)
    ax.plot(mean, line, "D" if row["n_collapsed"] else "o", ms=4.6, color=_RED if row["n_collapsed"] else _INK)


def _key(rows: Sequence[dict[str, Any]]) -> list[Line2D]:
    entries = [("o", _INK, _INK, "mean ± sd"), ("o", _GREY, "white", "one seed")]
    if any(row["n_collapsed"] for row in rows):
        entries.insert(1, ("D", _RED, _RED, "mean, some collapsed"))
    return [
        Line2D([], [], ls="", marker=mark, ms=4, color=edge, mfc=fill, label=text) for mark, edge, fill, text in entries
    ]


def _scale(values: Any) -> tuple[dict[str, float], Any]:
    """Return the ticks of an axis and the place of a value on it, from 0 to 1."""
    if isinstance(values, dict):
        low, high = values["low"], values["high"]
        if values["log"]:
            ticks = {text: _log_place(value, (low, high)) for value, text in _log_ticks(low, high)}
            return ticks, lambda value: _log_place(value, (low, high))
        marks = np.linspace(low, high, 3)
        whole = isinstance(low, int) and isinstance(high, int)
        if whole:
            marks = np.unique(marks.round())
        return {
            f"{mark:.3g}": float((mark - low) / (high - low)) for mark in marks
        }, lambda value: (value - low) / (high - low)
    places = np.linspace(0.08, 0.92, len(values)) if len(values) > 1 else np.array([0.5])
    names = [json.dumps(value) for value in values]
    ticks = {_said(value): float(place) for value, place in zip(values, places, strict=True)}
    return ticks, lambda value: float(places[names.index(json.dumps(value))])


def _log_place(value: float, ends: Sequence[float] | Float64[np.ndarray, " k"]) -> float:
    low, high = math.log(min(ends)), math.log(max(ends))
    return 0.5 if high == low else (math.log(value) - low) / (high - low)


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return the ends and, between them, powers of ten."""
    powers = [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    apart = 0.08 * math.log(high / low)
    inside = [p for p in powers if math.log(p / low) > apart and math.log(high / p) > apart]
    return [(value, f"{value:.2g}") for value in dict.fromkeys([low, *inside, high])]


def _draw_axis(ax: Axes, place: int, name: str, ticks: dict[str, float], *, right: bool = False) -> None:
    ax.plot([place, place], [0, 1], lw=0.8, color=_INK, zorder=4)
    ax.text(place, 1.06, name, ha="center", va="bottom", fontsize=_TEXT, clip_on=False)
    for text, height in ticks.items():
        ax.plot([place - 0.015, place + 0.015], [height, height], lw=0.8, color=_INK, zorder=4)
        ax.text(
            *(place + (0.04 if right else -0.04), height, text),
            ha="left" if right else "right",
            va="center",
            fontsize=_SMALL,
            bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6},
            zorder=5,
        )


def _smooth(heights: Sequence[float]) -> tuple[Float64[np.ndarray, " e"], Float64[np.ndarray, " e"]]:
    """Return a curve through the heights at 0, 1, 2, level at each, so that lines that meet can be followed."""
    place = np.linspace(0, len(heights) - 1, 40 * (len(heights) - 1) + 1)
    left = np.minimum(place.astype(int), len(heights) - 2) if len(heights) > 1 else place.astype(int)
    part = place - left
    y, right = np.array(heights, float), np.minimum(left + 1, len(heights) - 1)
    return place, y[left] + (y[right] - y[left]) * part**2 * (3 - 2 * part)
