"""The figure of one training in an exported log: small enough for two beside each other, drawn from its record."""

__all__ = ["training_figure"]

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#8a8984"
_TEXT, _SMALL = 8.0, 7.0


def training_figure(history: Mapping[str, Sequence[float | None]]) -> Figure:
    """Return accuracy and loss of a training against its steps, over training batches and on the validation runs.

    Args:
        history: One list per column, one entry per evaluation, as in a log's record.
    """
    figure = Figure(figsize=(5.6, 1.75), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    for ax, quantity in ((accuracy, "accuracy"), (loss, "loss")):
        _style(ax)
        for part, colour, marker in (("train", _BLUE, "s"), ("validation", _ORANGE, "o")):
            known = [
                (x, y) for x, y in zip(history["step"], history[f"{part}_{quantity}"], strict=True) if y is not None
            ]
            label = "training" if part == "train" else part
            ax.plot(*zip(*known, strict=True), marker=marker, ms=2.6, lw=1.1, color=colour, label=label)
        ax.set_xlabel("optimiser step", fontsize=_TEXT)
        ax.set_ylabel(quantity, fontsize=_TEXT)
        ax.set_xlim(left=0)
    accuracy.axhline(0.5, lw=0.7, ls=(0, (1, 2)), color=_GREY, zorder=0)
    accuracy.set_ylim(min(0.4, accuracy.get_ylim()[0]), 1.03)
    loss.set_ylim(bottom=0)
    accuracy.legend(fontsize=_SMALL, frameon=False, loc="best", handlelength=1.6)
    return figure


def _style(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=_SMALL, length=2.5)
