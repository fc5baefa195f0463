"""One page that tells what was run, what came out, and only what the numbers support.

``conclusions`` turns ``results.json`` into sentences; each says something else when the numbers do. ``write`` draws
every figure as SVG, PNG and CSV under ``OUT/figures`` and the page ``OUT/report.html``, which needs no network. Every
number on the page is one of ``results.json``.
"""

__all__ = [
    "Drawing",
    "Section",
    "Table",
    "conclusions",
    "learning_name",
    "name_of_model",
    "save",
    "weights_columns",
    "with_holm",
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
from vitrify.material import NO_POTENTIAL
from vitrify.parallel import spread as spread_over_processes
from vitrify.settings import CLASSES
from vitrify.transition import TgEstimate, spread

Results = dict[str, Any]
Pictures = tuple[
    UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "p q 3"], UInt8[np.ndarray, "p q 3"]
]

_SEPARATES = 0.99  # an AUC from which two classes count as separated
_SIGNIFICANT = 0.05
_AT_EQUAL_ENERGY = "liquid and glass of equal energy"
_SMALL_LOSS = 0.05  # of accuracy or AUC; below it a transferred model counts as good as one trained in place
_MEAN_DIFFERENCE, _STANDARD_ERRORS = 0.004, 4.0  # epsilon_AA; and of the difference of any one record


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


def conclusions(results: Results) -> list[str]:
    """Return the sentences that the numbers support, most important first.

    Args:
        results: The contents of ``results.json``.
    """
    parts: tuple[Callable[[Results], list[str]], ...] = (
        _scaled,
        _left_out,
        _thermometer,
        _networks_on_thermal,
        _networks_against_energy,
        _equal_energy,
        _reach,
        _transferred,
        _control,
        _tg_spread,
        _reference,
        _minimiser,
    )
    return [sentence for part in parts for sentence in part(results)]


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


def _scaled(results: Results) -> list[str]:
    if not (results["study"]["simulate"].get("imported") or {}).get("scaled"):
        return []
    return [
        "Records had boxes of their own: energies are of those boxes, and positions were scaled to the mean one, so "
        "that no classifier but the energy's can read the density."
    ]


def _left_out(results: Results) -> list[str]:
    if results["minimiser"] is not None:
        return []
    return [
        f"Without energies and inherent structures: {NO_POTENTIAL}. Left out are the cooling curve, Tg by two lines, "
        "and the energy beside the classifiers; what they read may be the temperature alone."
    ]


def _thermometer(results: Results) -> list[str]:
    rows = [row for row in _rows(results, "thermal", "e_pot") if row["train_k"] == row["test_k"]]
    if not rows:
        return []
    separated = [row for row in rows if row["auc"]["value"] >= _SEPARATES]
    missed = [row for row in rows if row["auc"]["value"] < _SEPARATES]
    sentences = []
    if separated:
        worst = min(separated, key=lambda row: row["auc"]["value"])
        sentences.append(
            f"The potential energy alone separates the thermal configurations (lowest AUC "
            f"{with_interval(worst['auc'])} over {_ks(separated)}); a network at 100% there has read the thermometer."
        )
    if missed:
        worst = min(missed, key=lambda row: row["auc"]["value"])
        sentences.append(
            f"The potential energy alone does not separate the thermal configurations at {_ks(missed)} "
            f"(lowest AUC {with_interval(worst['auc'])}, k = {worst['test_k']})."
        )
    return sentences


def _networks_on_thermal(results: Results) -> list[str]:
    rows = [row for row in _rows(results, "thermal") if row["train_k"] == row["test_k"] and row["test_k"] <= 100]
    if not rows:
        return []
    worst = {}
    for row in sorted(rows, key=lambda row: -row["auc"]["value"]):
        worst[row["model"]] = row
    missed = [row for row in worst.values() if row["auc"]["value"] < _SEPARATES]
    if not missed:
        return [f"Every model separates the thermal configurations at k <= 100 (AUC {_SEPARATES} or more)."]
    cases = "; ".join(f"{_name(row)} at k = {row['test_k']}: {with_interval(row['auc'])}" for row in missed)
    return [
        f"{len(worst) - len(missed)} of {len(worst)} models separate the thermal configurations at k <= 100 "
        f"(AUC {_SEPARATES} or more); the others fall lower: {cases}."
    ]


def _networks_against_energy(results: Results) -> list[str]:
    energy = {row["test_k"]: row for row in _rows(results, "inherent", "e_is") if row["train_k"] == row["test_k"]}
    networks = [
        row
        for row in _rows(results, "inherent")
        if row["model"] not in BASELINES and row["train_k"] == row["test_k"] and row["test_k"] in energy
    ]
    if not networks:
        return []
    differ = [row for row in networks if row["auc_minus_energy"] and row["auc_minus_energy"]["p_holm"] < _SIGNIFICANT]
    better = [row for row in differ if row["auc_minus_energy"]["value"] > 0]
    worse = [row for row in differ if row["auc_minus_energy"]["value"] < 0]
    sentences = [
        _against("above", better, energy)
        if better
        else f"No network has a higher AUC than e_IS alone on inherent structures, p < {_SIGNIFICANT} on the same runs "
        f"after Holm's correction ({_ks(networks)}, {networks[0]['n_test_runs']} test runs)."
    ]
    return [*sentences, _against("below", worse, energy)] if worse else sentences


def _against(side: str, rows: Sequence[Results], energy: Mapping[int, Results]) -> str:
    cases = "; ".join(
        f"{_name(row)} at k = {row['test_k']}: {with_interval(row['auc'])} against "
        f"{with_interval(energy[row['test_k']]['auc'])}, p = {with_holm(row['auc_minus_energy'])}"
        for row in rows
    )
    return f"On inherent structures the AUC lies {side} that of e_IS alone on the same test runs: {cases}."


def _reach(results: Results) -> list[str]:
    """Say down to which temperature inherent structures can be told from the glass by anything tried."""
    rows = [row for row in _rows(results, "inherent") if row["train_k"] == row["test_k"]]
    if not rows:
        return []
    told = [row for row in rows if row["auc"]["low"] > 0.5]
    coldest = min(row["test_T"] for row in rows)
    if not told:
        return ["Nothing tried tells inherent structures of the liquid from the glass's at any temperature."]
    last = min(told, key=lambda row: (row["test_T"], -row["auc"]["value"]))
    sentence = (
        f"Inherent structures of the liquid are told from the glass's down to T = {last['test_T']:.3f} "
        f"(AUC {with_interval(last['auc'])}, {_name(last)})"
    )
    if last["test_T"] > coldest:
        return [f"{sentence}; below it, at T = {coldest:.3f}, every interval holds one half."]
    return [f"{sentence}, the coldest liquid tried."]


def _transferred(results: Results) -> list[str]:
    """Compare each transferred network with the same network trained where it is tested."""
    sentences = []
    for name in ("thermal", "inherent"):
        for model in dict.fromkeys(row["model"] for row in _rows(results, name) if row["model"] not in BASELINES):
            rows = _rows(results, name, model)
            green = {row["test_k"]: row for row in rows if row["train_k"] == row["test_k"]}
            red = [row for row in rows if row["train_k"] != row["test_k"] and row["test_k"] in green]
            if red:
                worst = max(red, key=lambda row: green[row["test_k"]]["accuracy"]["value"] - row["accuracy"]["value"])
                sentences.append(_transfer_sentence(worst, green[worst["test_k"]]))
    return sentences


def _transfer_sentence(red: Results, green: Results) -> str:
    who = f"{_name(red)} trained at k = {red['train_k']} on {red['input']} configurations"
    numbers = (
        f"at k = {red['test_k']} its accuracy is {with_interval(red['accuracy'])}, trained there "
        f"{with_interval(green['accuracy'])}; its AUC {with_interval(red['auc'])}, trained there "
        f"{with_interval(green['auc'])}; "
        f"its accuracy with the threshold moved on validation runs {with_interval(red['accuracy_rethresholded'])}"
    )
    lost = green["accuracy"]["value"] - red["accuracy"]["value"]
    still_lost = green["accuracy"]["value"] - red["accuracy_rethresholded"]["value"]
    unranked = green["auc"]["value"] - red["auc"]["value"]
    if lost <= _SMALL_LOSS:
        return f"The {who} does as well elsewhere as one trained there: at worst, {numbers}."
    if still_lost <= _SMALL_LOSS and unranked <= _SMALL_LOSS:
        return f"The {who} fails elsewhere by its threshold only: {numbers}."
    if still_lost < lost / 2:
        return f"The {who} fails elsewhere mostly, not only, by its threshold: {numbers}."
    return f"The {who} fails elsewhere, and moving the threshold does not mend it: {numbers}."


def _control(results: Results) -> list[str]:
    sentences = []
    controls = [row for row in results["classification"] if row["control"]]
    kinds = dict.fromkeys((row["input"], row["test_k"], row["glass_k"]) for row in controls)
    for name, first, second in kinds:
        rows = [row for row in controls if (row["input"], row["test_k"], row["glass_k"]) == (name, first, second)]
        off = [row for row in rows if not row["auc"]["low"] <= 0.5 <= row["auc"]["high"]]
        pair = f"k = {first} against k = {second}" if first != second else f"k = {first}, half the runs against half"
        records = f"{pair}, {name} configurations"
        if off:
            cases = "; ".join(f"{_name(row)} {with_interval(row['auc'])}" for row in off)
            meaning = (
                "The two records differ in something these models read."
                if first != second
                else "Nothing but the labels differs: one in twenty intervals misses one half by chance."
            )
            sentences.append(
                f"The same-class control ({records}) is not at chance for {len(off)} of {len(rows)} models: "
                f"AUC {cases}. {meaning}"
            )
        else:
            sentences.append(
                f"The same-class control ({records}) is at chance: "
                f"the AUC intervals of all {len(rows)} models hold one half."
            )
    return sentences


def _equal_energy_rows(results: Results) -> list[Results]:
    return results["equal_energy"]["rows"] if results.get("equal_energy") else []


def _equal_energy(results: Results) -> list[str]:
    """Return what is left to be seen when the energy alone tells nothing."""
    if not results.get("equal_energy"):
        return []
    pair = results["equal_energy"]["pair"]
    apart = f"{pair['difference']:+.5f} ± {pair['se_difference']:.5f}"
    sentences = [
        f"At equal energy (liquid at T = {pair['T_slow']:.3f} of the slow cooling, glass at T = "
        f"{pair['T_fast']:.3f} of the fast one) the mean e_IS differs by {apart}."
    ]
    for name in dict.fromkeys(row["input"] for row in _equal_energy_rows(results)):
        rows = [row for row in _equal_energy_rows(results) if row["input"] == name]
        cases = "; ".join(f"{_name(row)} {with_interval(row['auc'])}" for row in rows)
        sentences.append(f"Told apart at equal energy, {name} configurations ({rows[0]['n_test']}), by AUC: {cases}.")
    return sentences


def _tg_spread(results: Results) -> list[str]:
    if not results["tg"]:
        return []
    found, n = spread([TgEstimate(**entry) for entry in results["tg"]]), len(results["tg"])
    if not found.n_supported:
        return [f"No glass transition is located: none of {n} conventions supports a crossing."]
    if found.n_supported == 1:
        return [f"One of {n} conventions supports a crossing, at Tg = {found.low:.3f}."]
    values = f"{found.n_supported} of {n} conventions give Tg from {found.low:.3f} to {found.high:.3f}"
    if found.range > found.interval:
        return [
            f"{values}: their spread of {found.range:.3f} exceeds the median 95% interval of one of them, "
            f"{found.interval:.3f}; here the choice of convention matters more than the number of runs."
        ]
    return [
        f"{values}: their spread of {found.range:.3f} lies within the median 95% interval of one of them, "
        f"{found.interval:.3f}."
    ]


def _reference(results: Results) -> list[str]:
    sentences = []
    difference = results["reference"].get("difference")
    if difference:
        agrees = difference["max_standard_errors"] <= _STANDARD_ERRORS and abs(difference["mean"]) <= _MEAN_DIFFERENCE
        sentences.append(
            f"The unshifted e_IS {'agrees' if agrees else 'does NOT agree'} with the reference line of true minima at "
            f"T >= {min(difference['T']):.2f}: it lies {abs(difference['mean']):.4f} "
            f"{'above' if difference['mean'] > 0 else 'below'} it on average (allowed: {_MEAN_DIFFERENCE}), "
            f"{difference['max_abs']:.4f} away at most, and {difference['max_standard_errors']:.1f} standard errors at "
            f"most (allowed: {_STANDARD_ERRORS:.0f})."
        )
    published = results["reference"].get("difference_published")
    if published:
        gap = -published["mean"]
        sentences.append(
            f"The published curve holds stalled minimisations, so it must lie above true minima: at "
            f"T >= {min(published['T']):.2f} it lies {gap:.4f} above ours."
            if gap > 0
            else f"The published curve holds stalled minimisations, so true minima must lie below it: at "
            f"T >= {min(published['T']):.2f} ours lie {-gap:.4f} above it, which they should not."
        )
    return sentences


def _minimiser(results: Results) -> list[str]:
    m = results["minimiser"]
    if m is None:
        return []
    if m["n_unconverged"] == 0:
        return [f"All {m['n_records']} minimisations converged; the largest force left is {m['max_force']:.2g}."]
    return [
        f"{m['n_unconverged']} of {m['n_records']} minimisations did not converge; the largest force left is "
        f"{m['max_force']:.2g}. Their energies are upper bounds."
    ]


def _rows(results: Results, name: str, model: str | None = None) -> list[Results]:
    return [
        row
        for row in results["classification"]
        if row["input"] == name and not row["control"] and model in (None, row["model"])
    ]


def _name(row: Results) -> str:
    return name_of_model(row["model"])


def name_of_model(model: str) -> str:
    """Return how a model is called in text."""
    return figures.MODEL_NAMES.get(model, model)


def with_holm(difference: Mapping[str, float]) -> str:
    """Return a p value in words, and behind it the one corrected for all of its table."""
    return f"{difference['p']:.2g} (Holm {difference['p_holm']:.2g})"


def _difference(difference: Results | None) -> str:
    if difference is None:
        return ""
    return (
        f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}], p = {with_holm(difference)}"
    )


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


def _ks(rows: Sequence[Results]) -> str:
    ks = sorted({row["test_k"] for row in rows})
    return f"k = {', '.join(map(str, ks))}"


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


def _score_columns(rows: Sequence[Results]) -> dict[str, Sequence]:
    """Return one column for each key of a classification row, intervals spread over three."""
    columns: dict[str, list] = {}
    for row in rows:
        for key, value in row.items():
            if key in ("auc_minus_energy", "each_seed"):  # not of every row, or of several parts
                continue
            parts = {f"{key}_{part}": v for part, v in value.items()} if isinstance(value, dict) else {key: value}
            for name, part in parts.items():
                columns.setdefault(name, []).append(part)
    return dict(columns)


def _page(results: Results, shown: Mapping[str, str], inputs: Sequence[str], sections: Sequence[Section] = ()) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"interval": with_interval, "difference": _difference, "model": name_of_model}
    environment.filters |= {"records": _records, "temperatures": _temperatures}
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    template = environment.from_string(resources.files("vitrify").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        results=results,
        figures=shown,
        picture_inputs=inputs,
        sections=sections,
        classes=_classes(results),
        settings=_flat(results["study"]),
        groups=_groups([*results["classification"], *_equal_energy_rows(results), *results.get("groups", [])]),
        learning=[
            (learning_name(entry), entry, None if entry["weights"] is None else _weights_name(entry))
            for entry in results["learning_curves"]
        ],
    )


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
