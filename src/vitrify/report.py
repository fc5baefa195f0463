"""One page that tells what was run, what came out, and what may be concluded.

``write`` draws every figure as SVG, PNG and CSV under ``OUT/figures`` and the page ``OUT/report.html``, which needs no
network. Every number on the page is one of ``results.json``; its sentences are those of `vitrify.conclusions`.
"""

__all__ = [
    "Drawing",
    "Section",
    "Table",
    "learning_name",
    "name_in_text",
    "name_of_model",
    "save",
    "weights_columns",
    "with_interval",
    "write",
]

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from vitrify import figures, learning_figures
from vitrify.baselines import BASELINES
from vitrify.parallel import spread as spread_over_processes
from vitrify.settings import CLASSES

Results = dict[str, Any]
Pictures = tuple[
    UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "p q 3"], UInt8[np.ndarray, "p q 3"]
]

_AT_EQUAL_ENERGY = "liquid and glass of equal energy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One figure of the page: drawn in a process of its own, saved with the numbers behind it.

    Args:
        name: File name without suffix.
        draw: A module-level function that returns the figure.
        values: What it is called with.
        data: Columns of the CSV, which may differ in length; no CSV is written without any.
        caption: What the page says below it.
    """

    name: str
    draw: Callable[..., Figure]
    values: tuple[Any, ...]
    data: Mapping[str, Sequence] = field(default_factory=dict)
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table of the page.

    Args:
        title: What it lists.
        columns: Headings.
        rows: As many cells each as there are headings, already in words.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One analysis on the page.

    Args:
        anchor: Its place in the page's address.
        title: Its heading.
        sentences: What the numbers support, most important first.
        drawings: Its figures.
        tables: Its tables.
    """

    anchor: str
    title: str
    sentences: Sequence[str]
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()


def write(
    results: Results,
    pictures: Mapping[str, Pictures],
    out: Path,
    *,
    sections: Sequence[Section] = (),
    augmented: tuple[Any, ...] | None = None,
    n_workers: int = 1,
    progress: Callable[[float, float], None] = lambda _done, _total: None,
) -> Path:
    """Write ``OUT/report.html`` and every figure under ``OUT/figures``; return the page's path.

    Args:
        results: The contents of ``results.json``, conclusions included.
        pictures: For each input, the arguments of `vitrify.figures.as_the_network_sees`: glass and liquid as the
            network sees them, then as the log drew them.
        out: Folder of the study; created if absent.
        sections: The analyses made of the study.
        augmented: The arguments of `vitrify.figures.augmented_pictures`, if a network is trained on such pictures.
        n_workers: Processes that draw.
        progress: Told the figures drawn and the figures in all.
    """
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    drawings = [
        *_drawings(results, pictures),
        *_augmented(augmented),
        *(drawing for section in sections for drawing in section.drawings),
    ]
    done = 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress(done, len(drawings))

    jobs = [(folder, drawing) for drawing in drawings]
    spread_over_processes(_draw, jobs, n_workers=n_workers, progress=tick)
    shown = {
        drawing.name: "data:image/svg+xml;base64,"
        + base64.b64encode((folder / f"{drawing.name}.svg").read_bytes()).decode()
        for drawing in drawings
    }
    path = out / "report.html"
    beside = out / ".report.html.part"
    beside.write_text(_page(results, shown, list(pictures), sections), encoding="utf-8")
    beside.replace(path)  # a page is there whole or not at all
    return path


def _augmented(pictures: tuple[Any, ...] | None) -> list[Drawing]:
    """Return the figure of the symmetries that training shows pictures under."""
    return [] if pictures is None else [Drawing(name="augmented", draw=figures.augmented_pictures, values=pictures)]


def _drawings(results: Results, pictures: Mapping[str, Pictures]) -> list[Drawing]:
    """Return the figures of the study itself."""
    scores, curve = _score_columns(results["classification"]), _curve_columns(results["cooling_curve"])
    drawings = []
    if "e_is_unshifted" in results["cooling_curve"]:
        drawings.append(Drawing(name="cooling_curve", draw=figures.cooling_curve, values=(results,), data=curve))
    if scores:
        drawings.append(Drawing(name="progress", draw=figures.progress_plot, values=(results,), data=scores))
    drawings += [
        Drawing(name=metric, draw=figures.scores_against_temperature, values=(results, metric), data=scores)
        for metric in ("accuracy", "auc", "accuracy_rethresholded")
        if scores
    ]
    drawings += [
        Drawing(name=f"pictures_{name}", draw=figures.as_the_network_sees, values=(*four, _classes(results)))
        for name, four in pictures.items()
    ]
    drawings += [
        Drawing(
            name=learning_name(entry),
            draw=figures.learning_curves,
            values=(entry, [one for one in results["learning_curves"] if _beside(one, entry)]),
            data=entry["history"],
        )
        for entry in results["learning_curves"]
    ]
    drawings += [
        Drawing(
            name=_weights_name(entry),
            draw=learning_figures.weights_figure,
            values=(entry,),
            data=weights_columns(entry["weights"]),
        )
        for entry in results["learning_curves"]
        if entry["weights"] is not None
    ]
    return drawings


def _draw(job: tuple[Path, Drawing], tick: Callable[[float], None]) -> None:
    folder, drawing = job
    save(drawing.draw(*drawing.values), folder, drawing.name, drawing.data)
    tick(1)


def save(figure: Figure, folder: Path, name: str, data: Mapping[str, Sequence]) -> None:
    """Write a figure as SVG and PNG, and the numbers behind it as CSV; the same figure gives the same bytes.

    Args:
        figure: What to write.
        folder: Where; it must exist.
        name: File name without suffix.
        data: Columns of the CSV, which may differ in length; no CSV is written without any.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is found; finding it again for each format takes most of the time
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    figure.savefig(folder / f"{name}.png", dpi=160, metadata={"Software": None})
    if data:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(data)
        writer.writerows(zip_longest(*data.values(), fillvalue=""))
        (folder / f"{name}.csv").write_text(text.getvalue(), encoding="utf-8")


def name_in_text(model: str) -> str:
    """Return how a classifier is called in a sentence: networks with their article.

    Example:
        >>> name_in_text("mpnn"), name_in_text("e_is")
        ('the MPNN', 'e_IS alone')
    """
    return name_of_model(model) if model in BASELINES else f"the {name_of_model(model)}"


def name_of_model(model: str) -> str:
    """Return how a model is called in text."""
    return figures.MODEL_NAMES.get(model, model)


def _difference(difference: Results | None) -> str:
    """Return a difference and its interval in words; nothing where nothing was compared."""
    return "" if difference is None else with_interval(difference, "+.3f")


def with_interval(estimate: Results, form: str = ".3f") -> str:
    """Return a value and its interval in words.

    Args:
        estimate: ``value``, ``low`` and ``high``.
        form: How each number is written.

    Example:
        >>> with_interval({"value": 0.25, "low": -0.5, "high": 1.0}, "+.2f")
        '+0.25 [-0.50, +1.00]'
    """
    return f"{estimate['value']:{form}} [{estimate['low']:{form}}, {estimate['high']:{form}}]"


def learning_name(entry: Results) -> str:
    """Return the file name, without suffix, of the figure of an entry of ``learning_curves``."""
    records = _records(entry["train_k"]).replace(", ", "-")
    return f"learning_{entry['input']}_{entry['model']}_k{records}_against_k{entry['glass_k']}"


def _classes(results: Results) -> tuple[str, str]:
    """Return what the classes 0 and 1 are called."""
    zero, one = results.get("classes", CLASSES)
    return zero, one


def _records(k: int | Sequence[int]) -> str:
    """Return a record, or those of several liquids in one class, in words."""
    return str(k) if isinstance(k, int) else ", ".join(map(str, k))


def _temperatures(T: float | Sequence[float]) -> str:
    """Return the temperature of a record, or the range of several liquids in one class, in words."""
    return f"{T:.3f}" if isinstance(T, int | float) else f"{min(T):.3f} to {max(T):.3f}"


def _beside(one: Results, other: Results) -> bool:
    """Return whether two trainings are of one kind of network and one input, and so share their axes."""
    return bool((one["model"], one["input"]) == (other["model"], other["input"]))


def _weights_name(entry: Results) -> str:
    return learning_name(entry).replace("learning", "weights", 1)


def weights_columns(weights: Results) -> dict[str, Sequence]:
    """Return the columns of the CSV beside the figure of some weights: the inputs, then a neuron each."""
    neurons = {
        f"neuron {place + 1} times {own:.6g}": row
        for place, (own, row) in enumerate(zip(weights["own"], weights["neurons"], strict=True))
    }
    return {"input": weights["inputs"], **neurons}


def _curve_columns(curve: Results) -> dict[str, Sequence]:
    energies = [name for name in ("e_is_unshifted", "e_is_shifted", "e_pot") if name in curve]
    return {"T": curve["T"]} | {f"{name}_{part}": curve[name][part] for name in energies for part in ("mean", "se")}


_NOT_OF_EVERY_ROW = ("auc_minus_energy", "auc_at_equal_energy", "auc_minus_own", "accuracy_minus_own", "each_seed")


def _score_columns(rows: Sequence[Results]) -> dict[str, Sequence]:
    """Return one column for each key of a classification row, intervals spread over three."""
    columns: dict[str, list] = {}
    for row in rows:
        for key, value in row.items():
            if key in _NOT_OF_EVERY_ROW:
                continue
            parts = {f"{key}_{part}": v for part, v in value.items()} if isinstance(value, dict) else {key: value}
            for name, part in parts.items():
                columns.setdefault(name, []).append(part)
    return dict(columns)


def _page(results: Results, shown: Mapping[str, str], inputs: Sequence[str], sections: Sequence[Section] = ()) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "interval": with_interval,
        "difference": _difference,
        "model": name_of_model,
        "state": _state,
        "temperatures": _temperatures,
        "at": _at,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    template = environment.from_string(resources.files("vitrify").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        results=results,
        figures=shown,
        picture_inputs=inputs,
        sections=sections,
        classes=_classes(results),
        settings=_flat(results["study"]),
        groups=_groups(
            [
                *results["classification"],
                *(results["equal_energy"]["rows"] if results.get("equal_energy") else []),
                *results.get("groups", []),
            ]
        ),
        learning=[
            (learning_name(entry), entry, None if entry["weights"] is None else _weights_name(entry))
            for entry in results["learning_curves"]
        ],
    )


def _state(record: tuple[float | Sequence[float], int | Sequence[int]]) -> str:
    """Return a record by its temperature, its number in brackets."""
    T, k = record
    return f"{_temperatures(T)} ({_records(k)})"


def _at(k: int | Sequence[int], T: Sequence[float]) -> float | list[float]:
    """Return the temperature of a record, or of several."""
    return T[k - 1] if isinstance(k, int) else [T[one - 1] for one in k]


def _flat(settings: object, path: str = "") -> dict[str, object]:
    """Return nested settings as ``{"simulate.cool.T_end": 0.05}``."""
    if isinstance(settings, Mapping):
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in settings.items()]
    elif isinstance(settings, list | tuple) and any(isinstance(value, Mapping | list | tuple) for value in settings):
        items = [(f"{path}[{place}]", value) for place, value in enumerate(settings)]
    else:
        return {path: settings}
    return {key: value for name, inner in items for key, value in _flat(inner, name).items()}


def _groups(rows: Sequence[Results]) -> list[tuple[str, list[Results]]]:
    """Return the classification rows by input and way of training, sorted by model and record."""
    kinds: tuple[tuple[str, Callable[[Results], bool]], ...] = (
        (_AT_EQUAL_ENERGY, lambda row: row["test_T"] is None),
        (
            "trained at each temperature",
            lambda row: not row["control"] and row["train_k"] == row["test_k"] and isinstance(row["test_T"], float),
        ),
        (
            "trained once, applied elsewhere",
            lambda row: not row["control"] and row["train_k"] != row["test_k"] and not isinstance(row["train_k"], list),
        ),
        ("same-class control", lambda row: row["control"]),
        ("trained on several liquids in one class", lambda row: isinstance(row["train_k"], list)),
    )
    order = list(figures.MODEL_NAMES)
    groups = []
    for name in ("thermal", "inherent"):
        for kind, belongs in kinds:
            chosen = [row for row in rows if row["input"] == name and belongs(row)]
            place = {model: order.index(model) if model in order else -1 for model in {row["model"] for row in chosen}}
            chosen.sort(key=lambda row: (place[row["model"]], row["model"], _ordered(row["train_k"], row["test_k"])))
            if chosen:
                groups.append((f"{name}, {kind}", chosen))
    return groups


def _ordered(train_k: int | list[int], test_k: int | list[int]) -> tuple[list[int], bool, list[int]]:
    """Return what sorts rows of one model by record; those of a group follow each other, the group's own first."""
    several = train_k if isinstance(train_k, list) else []
    return several, isinstance(test_k, int), test_k if isinstance(test_k, list) else [test_k]
