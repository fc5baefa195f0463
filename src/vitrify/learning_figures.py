"""Figures of learning: values in, one ``Figure`` out, in the style of `vitrify.figures`."""

__all__ = ["evaluation_figure", "training_curves", "weights_figure"]

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrify.figures import _BLUE, _GREEN, _GREY, _INK, _SMALL, _TEXT, _chance, _style
from vitrify.training import summary

_ITERATION = 10  # batches in what the source log calls an iteration


def training_curves(entry: dict[str, Any]) -> Figure:
    """Return the source log's four panels of one training above its learning rate, against epochs and iterations.

    Dotted lines mark the first evaluations with validation accuracies of 90% and 99%. An iteration is 10 batches.

    Args:
        entry: ``history`` is drawn, as `vitrify.learn.Trained` holds it; ``caption`` is written below, after the
            samples seen, the epochs, the wall time, and the epochs to 90% and to 99%.
    """
    history = entry["history"]
    taken = summary(history)
    figure = Figure(figsize=(7.2, 6.2))
    figure.subplots_adjust(left=0.09, right=0.985, top=0.92, bottom=0.19, hspace=0.1, wspace=0.12)
    axes = figure.subplots(3, 2, sharex=True, height_ratios=(1, 1, 0.75))
    panels = (
        ("train_loss", "training loss"),
        ("validation_loss", "validation loss"),
        ("train_accuracy", "training accuracy"),
        ("validation_accuracy", "validation accuracy"),
        ("learning_rate", "learning rate"),
    )
    colours = {"loss": _BLUE, "accuracy": _GREEN, "rate": _INK}
    for ax, (key, label) in zip(axes.flat, panels, strict=False):
        _style(ax)
        ax.plot(history["epoch"], history[key], "-o", ms=2, lw=1.0, color=colours[key.rpartition("_")[2]])
        ax.set_ylabel(label, fontsize=_TEXT)
    for left, right in axes[:2]:
        left.sharey(right)
        right.tick_params(labelleft=False)
        left.autoscale_view()
    for ax in axes[0]:
        ax.set_ylim(bottom=0)
        _iterations(ax, history)
    for ax in axes[1]:
        _chance(ax)
    _mark(axes[1, 1], taken)
    rate, beside = axes[2]
    rate.set_yscale("log")
    rate.set_xlim(0, 1.02 * history["epoch"][-1])
    beside.set_axis_off()
    for ax in (rate, axes[1, 1]):
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("epochs", fontsize=_TEXT)
    figure.text(0.02, 0.012, textwrap.fill(f"{_words(taken)} {entry['caption']}", 125), fontsize=_SMALL, va="bottom")
    return figure


def _iterations(ax: Axes, history: dict[str, list[float]]) -> None:
    """Count iterations along the upper edge."""
    per_epoch = history["step"][-1] / history["epoch"][-1] / _ITERATION

    def counted(epochs: Any) -> Any:
        return epochs * per_epoch

    def epochs(iterations: Any) -> Any:
        return iterations / per_epoch

    upper = ax.secondary_xaxis("top", functions=(counted, epochs))
    upper.tick_params(labelsize=_SMALL, direction="in", width=0.6, length=3)
    upper.set_xlabel(f"iterations of {_ITERATION} batches", fontsize=_SMALL)
    upper.spines["top"].set_linewidth(0.6)


def _mark(ax: Axes, taken: dict[str, float | None]) -> None:
    """Mark the epochs to 90% and 99%."""
    for key in ("epochs_to_90", "epochs_to_99"):
        if (epochs := taken[key]) is not None:
            ax.axvline(epochs, lw=0.6, ls=(0, (1, 2)), color=_GREY, zorder=0)


def _words(taken: dict[str, float | None]) -> str:
    reached = [
        f"{percent}% not reached" if epochs is None else f"{percent}% after {epochs:.3g} epochs"
        for percent, epochs in ((90, taken["epochs_to_90"]), (99, taken["epochs_to_99"]))
    ]
    return (
        f"{taken['samples']:,.0f} samples seen, {taken['epochs']:.3g} epochs, {taken['seconds']:.3g} s of wall time; "
        f"validation accuracy of {' and of '.join(reached)}."
    )


def weights_figure(entry: dict[str, Any]) -> Figure:
    """Return the weights of a network on mean descriptors: what one standard deviation of each adds to the logit.

    A panel for what each species sees of each other, against the distance, and one for the order of the directions
    around each species. Every line is a neuron, its weights times its own weight in the logit: positive is glass, as
    long as the neuron does not saturate.

    Args:
        entry: ``weights`` is drawn, as `vitrify.classify.weights` returns it; ``caption`` is written below.
    """
    weights = entry["weights"]
    radial: dict[str, list[tuple[float, int]]] = {}
    orders: dict[str, list[tuple[float, int]]] = {}
    for place, name in enumerate(weights["inputs"]):
        who, _, where = name.partition(" at ")
        if where:
            radial.setdefault(who, []).append((float(where), place))
        else:
            species, _, order = name.partition(" order ")
            orders.setdefault(species, []).append((float(order), place))
    panels = [*((f"{pair[0]} sees {pair[1]}", "r / σ$_{AA}$", found) for pair, found in radial.items())]
    panels += [(f"around {species}", "order $l$ of the directions", found) for species, found in orders.items()]
    n_columns = 2 if radial else 1
    figure = Figure(figsize=(7.2, 0.9 + 1.55 * -(-len(panels) // n_columns)), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.9 / figure.get_figheight(), 1, 1 - 0.9 / figure.get_figheight()))  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(-(-len(panels) // n_columns), n_columns, sharey=True, squeeze=False)
    for ax, (title, label, found) in zip(axes.flat, panels, strict=False):
        _style(ax)
        ax.axhline(0, lw=0.6, color=_GREY, zorder=0)
        for place, (row, own) in enumerate(zip(weights["neurons"], weights["own"], strict=True)):
            marker, colour, line = _LOOKS[place % len(_LOOKS)]
            x, y = [one for one, _ in found], [own * row[column] for _, column in found]
            ax.plot(x, y, marker=marker, ls=line, ms=2, lw=1.0, color=colour, label=f"neuron {place + 1}")
        ax.set_title(title, fontsize=_TEXT, loc="left")
        ax.set_xlabel(label, fontsize=_SMALL)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    figure.supylabel(f"weight in the logit (> 0: {entry.get('classes', _CLASSES)[1]})", fontsize=_TEXT)
    if len(weights["own"]) > 1:
        axes[0, 0].legend(fontsize=_SMALL, frameon=False, ncols=2)
    figure.text(0.02, 0.012, textwrap.fill(entry["caption"], 125), fontsize=_SMALL, va="bottom")
    return figure


def evaluation_figure(tables: dict[str, dict[str, Any]], folds: list[dict[str, Any]]) -> Figure:
    """Return how far probabilities can be taken at their word, beside the scores of a cross-validation fold by fold.

    A point of the upper left panel is a bin: the fraction that is glass, with its interval over runs, against the mean
    probability; the panel below has the number of configurations of each bin. The right panel has accuracy and AUC of
    every fold with their intervals over test runs, and in grey the interval of all folds together.

    Args:
        tables: Up to three reliability tables by name, such as before and after a calibration, each
            ``dataclasses.asdict`` of a `vitrify.evaluate.Reliability`.
        folds: The rows of `vitrify.evaluate.table`, the pooled one last.
    """
    figure = Figure(figsize=(8.2, 4.1), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.05), wspace=0.04)
    left, right = parts
    bins, counts = left.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _reliability(bins, counts, tables)
    _folds(right.subplots(), folds)
    return figure


_CLASSES = ("liquid", "glass")
_LOOKS = (("o", _BLUE, "-"), ("s", _GREEN, "--"), ("^", _INK, ":"))


def _reliability(bins: Axes, counts: Axes, tables: dict[str, dict[str, Any]]) -> None:
    """Draw the tables: a bin beside the others of its place, so that their bars are apart."""
    bins.plot([0, 1], [0, 1], lw=0.6, ls=(0, (1, 2)), color=_GREY, zorder=0)
    for place, ((name, table), (marker, colour, line)) in enumerate(zip(tables.items(), _LOOKS, strict=False)):
        rows = table["bins"]
        p, value = [row["probability"] for row in rows], [row["glass"]["value"] for row in rows]
        reach = [
            [row["glass"]["value"] - row["glass"]["low"] for row in rows],
            [row["glass"]["high"] - row["glass"]["value"] for row in rows],
        ]
        ece = table["ece"]
        label = f"{name}: ECE {ece['value']:.3f} [{ece['low']:.3f}, {ece['high']:.3f}]"
        label += f"; below {table['ece_if_calibrated']:.3f} by chance"
        bins.errorbar(
            p, value, reach, fmt=marker, ls=line, ms=4, lw=1.0, elinewidth=0.8, capsize=2, color=colour, label=label
        )
        middle = [(row["low"] + row["high"]) / 2 for row in rows]
        width = 0.8 * min(row["high"] - row["low"] for row in rows) / len(tables)
        shifted = [x + (place - (len(tables) - 1) / 2) * width for x in middle]
        counts.bar(shifted, [row["n"] for row in rows], width, color=colour, alpha=0.85 if place == 0 else 0.5)
    one = next(iter(tables.values()))
    for ax in (bins, counts):
        _style(ax)
    bins.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    bins.set_ylabel("fraction that is glass", fontsize=_TEXT)
    counts.set_ylabel("number", fontsize=_TEXT)
    counts.set_xlabel("probability of glass", fontsize=_TEXT)
    title = f"(a) {one['n_test']} configurations, {one['n_runs']} runs, bars 95% over runs"
    bins.set_title(title, fontsize=_TEXT, loc="left", pad=8 + 10 * len(tables))
    key = bins.legend(fontsize=_SMALL, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 0.99), borderpad=0.1)
    key.set_in_layout(False)  # the title leaves it room


def _folds(ax: Axes, rows: list[dict[str, Any]]) -> None:
    *each, pooled = rows
    _style(ax)
    ax.axvline(0.5, lw=0.6, ls=(0, (1, 2)), color=_GREY, zorder=0)
    for place, (metric, name) in enumerate((("accuracy", "accuracy"), ("auc", "AUC"))):
        marker, colour, _ = _LOOKS[place]
        ax.axvspan(pooled[f"{metric}_low"], pooled[f"{metric}_high"], color=colour, alpha=0.1, lw=0)
        for row_place, row in enumerate(rows):
            value, low, high = (row[metric + bound] for bound in ("", "_low", "_high"))
            ax.errorbar(
                [value],
                [row_place + 0.3 * (place - 0.5)],
                xerr=[[value - low], [high - value]],
                fmt=marker,
                ms=4 if row is not pooled else 6,
                elinewidth=0.8,
                capsize=2,
                color=colour,
                label=name if row is pooled else None,
            )
    names = [f"fold {row['fold']}\n{row['n_test']} of {row['n_runs']} runs" for row in each]
    names.append(f"all folds\n{pooled['n_test']} of {pooled['n_runs']} runs")
    ax.set_yticks(range(len(rows)), names, fontsize=_SMALL)
    ax.invert_yaxis()
    ax.set_xlabel("score on test runs", fontsize=_TEXT)
    ax.set_title("(b) every run tested once, bars 95% over runs", fontsize=_TEXT, loc="left", pad=18)
    ax.legend(fontsize=_SMALL, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, borderpad=0.1)
