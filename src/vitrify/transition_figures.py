"""Figures of the glass transition: the values of `vitrify.locate` in, one ``Figure`` out, as in `vitrify.figures`.

A filled marker is a transition that is found; an open one is not found, or cannot be told. Circles are read off
structure, diamonds off the energy alone, triangles off the volume.
"""

__all__ = ["rate_figure", "tg_figure"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vitrify.figures import _BLUE, _ENERGY_LABEL, _GREEN, _GREY, _INK, _RED, _SMALL, _T_LABEL, _TEXT, _style, _symbols
from vitrify.locate import VOLUME, label

Values = Mapping[str, Any]

_TG_LABEL = r"$T_g$ ($\epsilon_{AA}/k_B$)"
_INDICATOR_LABELS = {
    "confusion": "accuracy of the split",
    "prediction": r"$d\langle\hat T\rangle/dT - 1$",
    "divergence": r"divergence of $\langle p\rangle$ ($k_B/\epsilon_{AA}$)",
}
_CURVES = {"e_is": ("$e_{IS}$", _ENERGY_LABEL), "volume": ("$v$", r"volume per particle $v$ ($\sigma_{AA}^d$)")}
_ENERGY_ALONE = "e_is"
_LOOKS = {
    "descriptors": (_GREEN, "-", "o", "classifier of structure"),
    _ENERGY_ALONE: (_RED, "--", "D", "of e_IS alone"),
}


def tg_figure(values: Values) -> Figure:
    """Return the cooling curve with its fits, that of the volume, Tg by every method, and the indicators below.

    Args:
        values: ``T``, ``mean``, ``se``, ``rows``, ``smooth`` and ``lines`` of `vitrify.locate.as_values`; ``of``, what
            the curve is of, ``e_is`` if not said, and ``volume``, the curve of the volume, if there are both; and
            ``indicators``: by what the classifier was shown, then by name.
    """
    kinds, curves = values.get("indicators", {}), [one for one in (values, values.get("volume")) if one is not None]
    shown, letters = [row for row in values["rows"] if row["Tg"] is not None], iter("abcdefg")
    top = max(3.1, 0.2 * len(shown) + 0.9)
    figure = Figure(figsize=(4.6 + 3.6 * len(curves), top + (2.6 if kinds else 0.0)), layout="constrained")
    above: Any = figure
    if kinds:
        above, below = figure.subfigures(2, 1, height_ratios=(top, 2.6))  # type: ignore[misc]
    *axes, forest = above.subplots(1, len(curves) + 1, width_ratios=(1.25,) * len(curves) + (1,))
    for ax, curve in zip(axes, curves, strict=True):
        of = curve.get("of", "e_is")
        _draw_curve(ax, curve, [row for row in shown if row["convention"].startswith(VOLUME) == (of == "volume")])
        ax.set_title(f"({next(letters)})", fontsize=_TEXT, loc="left")
    _draw_forest(forest, shown)
    forest.set_title(f"({next(letters)}) {_counted(shown, values)}", fontsize=_TEXT, loc="left")
    if kinds:
        panels = below.subplots(1, len(_INDICATOR_LABELS), sharex=True)
        for ax, (name, label) in zip(panels, _INDICATOR_LABELS.items(), strict=True):
            _draw_indicator(ax, {kind: of[name] for kind, of in kinds.items()})
            ax.set_ylabel(label, fontsize=_TEXT)
            ax.set_title(f"({next(letters)}) {name}", fontsize=_TEXT, loc="left")
        n_runs = shown[0]["n_runs"] if shown else None
        below.legend(handles=_key(n_runs), loc="outside lower center", ncols=4, fontsize=_SMALL, frameon=False)
    return figure


def rate_figure(lines: Sequence[Values], checks: Sequence[Values] = ()) -> Figure:
    """Return Tg against the logarithm of the cooling time or rate and, beside it, against the number of particles.

    Args:
        lines: For each method and size its ``name``, the ``cooling`` of each point, whether it is ``of`` a ``time`` or
            a ``rate``, ``Tg``, ``Tg_low`` and ``Tg_high``, and ``slope``, ``low``, ``high`` and ``intercept`` of the
            line.
        checks: For each method and rate its ``name``, ``sizes``, ``Tg``, ``Tg_low`` and ``Tg_high``, and ``infinite``,
            ``slope`` and ``p_holm`` of the line against 1 / N.
    """
    panels = [(drawn, each) for drawn, each in ((_against_rate, lines), (_against_size, checks)) if each]
    longest = max((len(each) for _, each in panels), default=0)
    figure = Figure(figsize=(5.4 * max(1, len(panels)), 3.2 + 0.17 * longest), layout="constrained")
    parts = figure.subfigures(1, max(1, len(panels)), squeeze=False)[0]
    axes: list[Axes] = []
    for part, (drawn, each) in zip(parts, panels, strict=False):
        ax = part.subplots(sharey=axes[0] if axes else None)
        axes.append(ax)
        _style(ax)
        drawn(ax, each)
        ax.set_ylabel(f"{_TG_LABEL}, 95% interval where known", fontsize=_TEXT)
        part.legend(loc="outside lower center", fontsize=_SMALL, frameon=False)
    return figure


def _against_rate(ax: Axes, lines: Sequence[Values]) -> None:
    for place, line in enumerate(lines):
        between = "" if line["low"] is None else f" [{line['low']:+.3f}, {line['high']:+.3f}]"
        said = f"{_symbols(line['name'])}: {line['slope']:+.3f}{between} per decade"
        colour = _points(ax, line["cooling"], line, (place, len(lines)), said)
        at = np.geomspace(min(line["cooling"]), max(line["cooling"]), 2)
        ax.plot(at, line["intercept"] + line["slope"] * np.log10(at), lw=0.9, color=colour)
    _logarithmic(ax, [x for line in lines for x in line["cooling"]])
    words = (
        r"cooling rate $|dT/dt|$ ($\epsilon_{AA}/k_B\tau$)"
        if lines[0]["of"] == "rate"
        else r"cooling time $t_\mathrm{cool}$ (steps)"
    )
    ax.set_xlabel(words, fontsize=_TEXT)


def _against_size(ax: Axes, checks: Sequence[Values]) -> None:
    for place, check in enumerate(checks):
        said = (
            f"{_symbols(check['name'])}: {check['infinite']:.3f} at $N = \\infty$, all alike p = {check['p_holm']:.2g}"
        )
        colour = _points(ax, check["sizes"], check, (place, len(checks)), said)
        at = np.geomspace(min(check["sizes"]), max(check["sizes"]), 50)
        ax.plot(at, check["infinite"] + check["slope"] / at, lw=0.9, color=colour)
    _logarithmic(ax, [N for check in checks for N in check["sizes"]])
    ax.set_xlabel("particles $N$", fontsize=_TEXT)


def _logarithmic(ax: Axes, x: Sequence[float]) -> None:
    """Make the axis logarithmic, with its ticks at the values there are."""
    at = sorted(set(x))
    ax.set_xscale("log")
    ax.set_xticks(at, [f"{one:,.0f}" if 100 <= one < 1e5 else f"{one:.3g}" for one in at])
    ax.set_xticks([], minor=True)


def _points(ax: Axes, x: Sequence[float], of: Values, place_of: tuple[int, int], said: str) -> str:
    """Draw the Tg of one method, beside those of the others, with what is known of its intervals; return its colour."""
    place, n = place_of
    beside = (max(x) / min(x)) ** (0.015 * min(1, 8 / n) * (place - (n - 1) / 2))
    colour = (_BLUE, _RED, _GREEN, _INK, _GREY)[place % 5]
    Tg = np.array(of["Tg"])
    ends = np.array(
        [[T if end is None else end for T, end in zip(Tg, of[key], strict=True)] for key in ("Tg_low", "Tg_high")]
    )
    marker = "osD^vPX"[place % 7]
    ax.errorbar(
        np.array(x) * beside, Tg, np.abs(ends - Tg), ls="", marker=marker, ms=4.5, lw=1.1, color=colour, label=said
    )
    return colour


def _draw_curve(ax: Axes, values: Values, shown: Sequence[Values]) -> None:
    _style(ax)
    T, mean = np.array(values["T"]), np.array(values["mean"])
    order = np.argsort(T)
    T, mean = T[order], mean[order]
    dense, (symbol, words) = len(T) > 30, _CURVES[values.get("of", "e_is")]
    if values["se"] is not None:
        se = np.array(values["se"])[order]
        ax.fill_between(T, mean - se, mean + se, color=_GREY, alpha=0.3, lw=0)
    ax.plot(
        T,
        mean,
        ".",
        ms=2.5 if dense else 5,
        color=_GREY,
        label=f"mean {symbol}" + ("" if values["se"] is None else " ± s.e."),
    )
    if values["lines"] is not None:
        lines = values["lines"]
        ax.plot(lines["T"], lines["glass"], lw=0.9, color=_INK, label=f"lines, {lines['convention']}")
        ax.plot(lines["T"], lines["liquid"], lw=0.9, color=_INK)
    if values["smooth"] is not None:
        ax.plot(T, np.array(values["smooth"]["curve"])[order], lw=1.1, color=_BLUE, label="two branches")
    for row in shown:
        if row["found"]:
            look = _look(row) | {"mec": "white", "mew": 0.5}
            ax.plot(row["Tg"], np.interp(row["Tg"], T, mean), ls="", ms=4.5, zorder=4, **look)
    reach = np.ptp(mean)
    ax.set_ylim(mean.min() - 0.08 * reach, mean.max() + 0.3 * reach)  # room for the legend
    ax.set_xlabel(_T_LABEL, fontsize=_TEXT)
    ax.set_ylabel(words, fontsize=_TEXT)
    ax.legend(fontsize=_SMALL, frameon=False, loc="upper left")


def _draw_forest(ax: Axes, shown: Sequence[Values]) -> None:
    _style(ax)
    for place, row in enumerate(shown):
        look = _look(row)
        if row["low"] is not None:
            ax.plot([row["low"], row["high"]], [place, place], lw=1.1, color=look["color"])
        ax.plot(row["Tg"], place, ls="", ms=4.5, **look)
    ax.set_yticks(range(len(shown)), [_symbols(label(row)) for row in shown])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.grid(axis="x", lw=0.4, color=_GREY, alpha=0.4)
    n_runs = shown[0]["n_runs"] if shown else None
    from_what = "over runs" if n_runs else "from residuals"
    ax.set_xlabel(f"{_TG_LABEL}, 95% interval {from_what}", fontsize=_TEXT)


def _counted(shown: Sequence[Values], values: Values) -> str:
    n_runs = shown[0]["n_runs"] if shown else None
    return "filled: found, " + (f"{n_runs} runs" if n_runs else f"{len(values['T'])} records")


def _look(row: Values) -> dict[str, Any]:
    """Return colour and marker of a method; open where no transition is supported."""
    if row["method"] in _INDICATOR_LABELS:
        colour, marker = (_RED, "D") if row["convention"].startswith("e_IS") else (_GREEN, "o")
    else:
        colour = _BLUE if row["method"] == "smooth branches" else _INK
        marker = "^" if row["convention"].startswith(VOLUME) else "s"
    return {"color": colour, "marker": marker, "mfc": colour if row["found"] else "white"}


def _draw_indicator(ax: Axes, kinds: Mapping[str, Values]) -> None:
    _style(ax)
    for kind, one in kinds.items():
        colour, line, marker, _ = _LOOKS[kind]
        T = one["T"]
        if kind != _ENERGY_ALONE:
            ax.fill_between(T, one["null_low"], one["null_high"], fc=_GREY, ec=_GREY, alpha=0.35, lw=0.8)
            ax.fill_between(T, one["low"], one["high"], color=colour, alpha=0.2, lw=0)
            if one["found"]:
                ax.axvspan(one["Tg_low"], one["Tg_high"], color=colour, alpha=0.08, lw=0, zorder=-1)
        ax.plot(T, one["value"], ls=line, marker=marker, ms=2.4, lw=1.0, color=colour)
    ax.set_xlabel(_T_LABEL, fontsize=_TEXT)


def _key(n_runs: int | None) -> list[Line2D | Patch]:
    lines: list[Line2D | Patch] = [
        Line2D([], [], color=colour, ls=line, marker=marker, ms=2.4, lw=1.0, label=_symbols(label))
        for colour, line, marker, label in _LOOKS.values()
    ]
    band = Patch(fc=_GREEN, alpha=0.2, label=f"95% over {n_runs} runs")
    null = Patch(fc=_GREY, alpha=0.35, label="temperatures shuffled")
    return [*lines, band, null]
