"""The log as a document: dated sections, numbered items, each training's figure with all its settings, best models.

The shape is that of a results log kept by hand. One HTML file holds its figures; LaTeX has them in a folder beside it,
and becomes PDF where a TeX is installed.
"""

__all__ = ["best_models", "document", "tex", "write"]

import base64
import io
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined

from vitrify import log_figures, log_index
from vitrify.log_index import Record

_PATIENCE_S = 300.0
_NAMES = {
    "cnn": "CNN",
    "cnn3d": "CNN on voxels",
    "mpnn": "MPNN",
    "e_is": "energy alone (e_IS)",
    "e_pot": "energy alone (e_pot)",
    "g_r": "g(r), linear",
    "descriptors": "descriptors, linear",
}
_CAPTIONS = {
    "progress": "Progress plot: test accuracy and AUC on the cooling curve, against the liquid's temperature. Green: "
    "trained at each temperature; red: trained once at the hottest liquid and applied elsewhere; filled: networks; "
    "open: the energy alone. Shaded: Tg over the conventions.",
    "cooling_curve": "Cooling curve: mean inherent-structure energy per particle, unshifted, with reference curves, "
    "and Tg by convention.",
}
_METRICS = (("accuracy", "accuracy"), ("auc", "AUC"))


def write(root: Path, to: Path, *, where: Sequence[str] = (), title: str = "Results log") -> dict[str, Any]:
    """Write the log below a folder as a document; return the files ``written`` and what else there is to say.

    Args:
        root: Folder below which the logs of all studies are read.
        to: ``FILE.html``, or ``FILE.tex``, whose figures go to ``FILE_figures`` beside it.
        where: Conditions that records must meet, as of `vitrify.log_index.select`.
        title: Of the document.

    Raises:
        ValueError: The file is of neither kind, a condition is wrong, or nothing is logged.
    """
    if to.suffix not in (".html", ".tex"):
        raise ValueError(f"to must be FILE.html or FILE.tex; got {to}")
    records = log_index.select(log_index.gather(root), where)
    if not records:
        raise ValueError(f"nothing is logged below {root}" + (f" with {', '.join(where)}" if where else ""))
    to.parent.mkdir(parents=True, exist_ok=True)
    told = document(records, title=title)
    if to.suffix == ".html":
        _replace(to, _rendered("export.html.j2", told, lambda item: _inlined(root, item)))
        return {"written": [str(to)], "says": ""}
    folder = to.with_name(f"{to.stem}_figures")
    folder.mkdir(exist_ok=True)
    _replace(to, _rendered("export.tex.j2", told, lambda item: _beside(root, item, folder)))
    return _typeset(to, folder)


def document(records: Sequence[Record], *, title: str) -> dict[str, Any]:
    """Return what a document says: ``sections`` by date, each with ``items``, and the table of ``best`` models.

    Args:
        records: As `vitrify.log_index.gather` returns them.
        title: Of the document.
    """
    by_date = groupby(records, key=lambda record: (record.get("started") or "undated")[:10])
    sections: list[dict[str, Any]] = [{"date": date, "items": _items(list(group))} for date, group in by_date]
    number = 0
    for section in sections:
        for item in section["items"]:
            for figure in item["figures"]:
                number += 1
                figure["number"] = number
    made = datetime.now(UTC).date().isoformat()
    return {"title": title, "made": made, "n_records": len(records), "sections": sections, "best": best_models(records)}


def best_models(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return, for each pair of records told apart, the network with the best validation scores, and its test scores.

    The validation AUC chooses, then the validation accuracy; the energy alone, on the same test runs, is beside it.
    """
    tasks: dict[tuple, list[Record]] = {}
    for record in records:
        settings = record.get("settings") or {}
        if (
            record["kind"] == "train"
            and settings.get("network")
            and log_index.score(record, "best", "validation", "auc")
        ):
            names = ("input", "control", "train_k", "glass_k")
            key = (record["where"], *(_ordered(settings.get(name)) for name in names))
            tasks.setdefault(key, []).append(record)
    rows = []
    for _, group in sorted(tasks.items(), key=lambda one: tuple(map(str, one[0][:3])) + tuple(one[0][3:])):
        best = max(
            group, key=lambda one: [one["scores"]["best"]["validation"][m]["value"] for m in ("auc", "accuracy")]
        )
        test = best["scores"]["best"].get("test")
        rows.append(
            {
                "task": _task(best),
                "model": _model(best),
                "key": best["key"],
                "of": str(len(group)),
                "validation": estimate(log_index.score(best, "best", "validation", "accuracy")),
                "test": estimate(log_index.score(best, "best", "test", "accuracy")),
                "auc": estimate(log_index.score(best, "best", "test", "auc")),
                "energy": estimate(log_index.score(best, "energy", "test", "auc")),
                "n": "" if test is None else f"{test['n_test']} of {test['n_runs']}",
            }
        )
    return rows


def estimate(one: Mapping[str, float] | None) -> str:
    """Return a value and its interval in words."""
    return "" if one is None else f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def tex(text: object) -> str:
    """Return text with every character that LaTeX would act on made one that it prints."""
    printed = "".join(_TEX.get(letter, letter) for letter in str(text).replace("\r", ""))
    return "".join(letter if ord(letter) < 256 or letter in _TEX_LETTERS else "?" for letter in printed)


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": "'",
    "`": r"\textasciigrave{}",
    "-": "-{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "σ": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "’": "'",
    "‘": "`",
    "…": r"\dots{}",
}
_TEX_LETTERS = frozenset("ĀāĂăĄąĆćČčĎďĐđĒēĘęĚěĞğĪīıĹĺŁłŃńŇňŐőŒœŘřŚśŞşŠšŢţŤťŮůŰűŹźŻżŽž")


def _items(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the items of a day: what was simulated, baselines in one table, a network each, then analyses."""
    simulated = [_simulated(one) for one in records if one["kind"] == "simulate"]
    trained = [one for one in records if one["kind"] == "train"]
    plain = [one for one in trained if not (one.get("settings") or {}).get("network")]
    networks = sorted((one for one in trained if (one.get("settings") or {}).get("network")), key=_order)
    analysed = [_analysed(one) for one in records if one["kind"] == "analyse"]
    return [*simulated, *_baselines(plain), *(_trained(one) for one in networks), *analysed]


def _order(record: Record) -> tuple:
    settings = record["settings"]
    names = ("input", "model", "control", "train_k")
    return (record["where"], *(_ordered(settings.get(name)) for name in names), record.get("started") or "")


def _ordered(value: Any) -> Any:
    """Return a setting as it can be sorted: a record, or the records of a group, as a tuple."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _item(record: Record, sentences: Sequence[str], **more: Any) -> dict[str, Any]:
    """Return an item: the sentences, the notes on the record, and what it shows."""
    sentences = [*sentences, *([f"It {record['status']}: {record['why']}."] if record.get("why") else [])]
    notes = [note["text"] for note in record["notes"] if note["text"]]
    return {"record": record, "sentences": sentences, "points": [], "notes": notes, "figures": [], "table": []} | more


def _simulated(record: Record) -> dict[str, Any]:
    settings, results = record.get("settings") or {}, record.get("results") or {}
    n_runs, n_particles = settings.get("n_runs"), settings.get("n_particles")
    begun = f"Simulated {n_runs} runs of {n_particles} particles of {settings.get('mixture')}"
    begun += f" (study {record.get('study')}, id {record['key']}): {record['status']}"
    spent = ""
    if results.get("simulate_s") is not None:
        spent = f", {results['simulate_s']:.0f} s of cooling and {results['minimise_s']:.0f} s of minimising in all"
    return _item(record, [f"{begun}{spent}.", f"Settings: {_words(settings)}."])


def _baselines(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return one item with a row for each logistic regression, if there are any."""
    if not records:
        return []
    rows = [
        [
            _model(one),
            _task(one),
            estimate(log_index.score(one, "best", "validation", "accuracy")) or one["status"],
            estimate(log_index.score(one, "best", "test", "accuracy")),
            estimate(log_index.score(one, "best", "test", "auc")),
        ]
        for one in sorted(records, key=_order)
    ]
    first = "Logistic regressions on features known beforehand, each trained on one pair of records:"
    item = _item({**records[0], "notes": [note for one in records for note in one["notes"]], "why": None}, [first])
    return [item | {"table": rows}]


def _trained(record: Record) -> dict[str, Any]:
    sentences = [f"{_model(record)}, {_task(record)} (id {record['key']}): {_scores(record)}."]
    for metric, name in _METRICS:
        alone = estimate(log_index.score(record, "energy", "test", metric))
        own = estimate(log_index.score(record, "best", "test", metric))
        if alone and own and metric == "auc":
            sentences.append(f"Its test {name} is {own}, that of the energy alone on the same runs {alone}.")
    for one in record.get("transfer") or []:
        if one["T"] is not None:
            shown = f"accuracy {estimate(one['test']['accuracy'])}, AUC {estimate(one['test']['auc'])}"
            sentences.append(f"Tested at T = {one['T']:.4g} (k = {one['k']}): {shown}.")
    if record.get("lineage"):
        sentences.append(f"It goes on from {' > '.join(record['lineage'])}.")
    settings = record["settings"]
    every = {**settings["network"], **(settings.get("train") or {}), "seed": settings.get("seed")}
    caption = f"{_model(record)}, {_task(record)}: {_words(every | {'n_train': settings.get('n_train')})}"
    return _item(record, sentences, figures=[{"kind": "training", "caption": caption, "path": None}])


def _scores(record: Record) -> str:
    """Return the best and the final scores in the words of a log kept by hand."""
    if not record.get("scores"):
        return str(record["status"])
    parts = []
    for weights in ("best", "final"):
        named = [
            f"{part} accuracy {estimate(log_index.score(record, weights, part, 'accuracy'))}"
            for part in ("validation", "test")
            if log_index.score(record, weights, part, "accuracy")
        ]
        parts.append(f"{weights} {' and '.join(named)}")
    scored = record["scores"]["best"].get("test") or record["scores"]["best"]["validation"]
    size = f"n = {scored['n_test']} of {scored['n_runs']} runs"
    return f"{'; '.join(parts)}; {size}; {record.get('wall_s', 0):.1f} s"


def _analysed(record: Record) -> dict[str, Any]:
    name = log_index.title(record)
    figures = [
        {"kind": "file", "caption": _CAPTIONS.get(Path(path).stem, Path(path).stem.replace("_", " ")), "path": path}
        for path in record.get("figures") or []
    ]
    results = record.get("results") or {}
    more = [] if not results.get("best") else [f"Best on validation runs: {_words(results['best'])}."]
    more += [
        f"{row['model']} on {row['part']} runs: accuracy {estimate(row['accuracy'])}, AUC {estimate(row['auc'])}, "
        f"n = {row['n_test']}."
        for row in results.get("scores") or []
    ]
    first = f"Analysed: {name} (id {record['key']}), {record['status']}."
    return _item(record, [first], points=[*(record.get("sentences") or []), *more], figures=figures)


def _model(record: Record) -> str:
    model = str((record.get("settings") or {}).get("model"))
    return _NAMES.get(model, model)


def _task(record: Record) -> str:
    """Return what is told apart in words."""
    settings = record.get("settings") or {}
    k, glass, shown = settings.get("train_k"), settings.get("glass_k"), settings.get("input")
    if k == 0:
        return f"{shown}, liquid and glass of equal energy"
    if k == glass:
        return f"{shown}, k = {k}, half of the runs against half"
    if isinstance(k, list):
        return f"{shown}, k = {', '.join(map(str, k))} together vs {glass}"
    T = "" if settings.get("train_T") is None else f" (T = {settings['train_T']:.4g})"
    return f"{shown}, k = {k}{T} vs {glass}"


def _words(settings: Mapping[str, Any]) -> str:
    """Return every setting in the words of a caption."""
    flat = log_index.flat({"settings": settings})
    plain = set(log_index.flat({}))
    return ", ".join(f"{name} = {log_index.word(value)}" for name, value in flat.items()
                     if value is not None and (name not in plain or name in settings))  # fmt: skip


def _drawn(root: Path, record: Record, suffix: str) -> bytes | None:
    """Return the figure of a training's history as a file's content, or None where there is no history."""
    history = log_index.history(root, record)
    if not history.get("step"):
        return None
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": record["id"], "svg.fonttype": "path"}):
        metadata = {"Date": None, "Creator": None} if suffix == "svg" else {"CreationDate": None, "Creator": None}
        log_figures.training_figure(history).savefig(file, format=suffix, metadata=metadata)
    return file.getvalue()


def _file(root: Path, record: Record, path: str) -> Path | None:
    """Return a figure's file, if it is there and below its study."""
    out = (root / record["where"]).resolve()
    found = (out / path).resolve()
    return found if found.is_relative_to(out) and found.suffix == ".png" and found.is_file() else None


def _inlined(root: Path, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of an item with their content in their address."""
    shown = []
    for figure in item["figures"]:
        content: bytes | None
        if figure["kind"] == "training":
            content, kind = _drawn(root, item["record"], "svg"), "svg+xml"
        else:
            path, kind = _file(root, item["record"], figure["path"]), "png"
            content = None if path is None else path.read_bytes()
        address = None if content is None else f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        shown.append(figure | {"address": address})
    return shown


def _beside(root: Path, item: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return the figures of an item with their files in a folder beside the document."""
    shown = []
    for figure in item["figures"]:
        name = None
        if figure["kind"] == "training":
            content = _drawn(root, item["record"], "pdf")
            if content is not None:
                name = f"figure{figure['number']}.pdf"
                (folder / name).write_bytes(content)
        elif (path := _file(root, item["record"], figure["path"])) is not None:
            name = f"figure{figure['number']}.png"
            shutil.copyfile(path, folder / name)
        shown.append(figure | {"address": None if name is None else f"{folder.name}/{name}"})
    return shown


def _rendered(template: str, told: dict[str, Any], figures: Callable[[Mapping[str, Any]], list[dict[str, Any]]]) -> str:
    told = told | {
        "sections": [
            section | {"items": [item | {"figures": figures(item)} for item in section["items"]]}
            for section in told["sections"]
        ]
    }
    marks = {} if template.endswith("html.j2") else {
        "block_start_string": "<%", "block_end_string": "%>",
        "variable_start_string": "<<", "variable_end_string": ">>",
        "comment_start_string": "<#", "comment_end_string": "#>",
    }  # fmt: skip
    environment = Environment(
        autoescape=template.endswith("html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **marks,  # type: ignore[arg-type]
    )
    environment.filters["tex"] = tex
    return environment.from_string(files("vitrify").joinpath(template).read_text("utf-8")).render(told)


def _typeset(to: Path, folder: Path) -> dict[str, Any]:
    """Make a PDF of a LaTeX file where a TeX is installed."""
    written = [str(to), f"{folder}/"]
    commands = {
        "tectonic": ["tectonic", "--untrusted", to.name],
        "pdflatex": ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", to.name],
    }
    name = next((name for name in commands if shutil.which(name)), None)
    if name is None:
        return {"written": written, "says": "no TeX is installed (pdflatex or tectonic): the PDF is yours to make"}
    for _ in range(1 if name == "tectonic" else 2):  # a table's widths are known at the second
        done = subprocess.run(
            commands[name],
            cwd=to.parent,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            why = next((line for line in done.stdout.splitlines() if line.startswith("!")), done.stderr.strip()[-300:])
            raise RuntimeError(f"{name} cannot typeset {to}: {why}; see {to.with_suffix('.log')}")
    for suffix in (".aux", ".log", ".out"):
        to.with_suffix(suffix).unlink(missing_ok=True)
    return {"written": [*written, str(to.with_suffix(".pdf"))], "says": ""}


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
