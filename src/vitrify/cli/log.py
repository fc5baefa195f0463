"""The commands of the log: list it, compare, note, show it live in a browser, and export it."""

__all__ = ["COMMANDS"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from vitrify.cli.words import Command, Common, answer, parse

_ROOT = Path(".")
_WIDE = 145  # letters that all columns of the list need


def _log(words: list[str]) -> None:
    parts = {"compare": _compare, "note": _note, "show": _show}
    if words and words[0] in parts:
        parts[words[0]](words[1:])
    else:
        _list(words)


def _list(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Log(Common):
        root: Annotated[Path, tyro.conf.Positional] = _ROOT
        """Folder below which the logs of all studies are read."""
        kind: str | None = None
        """Only simulate, train or analyse."""
        where: tuple[str, ...] = ()
        """Conditions that all must hold: model=cnn, train.learning_rate<0.01, best_test_auc>=0.9, name~k140."""
        sort: str | None = None
        """Value to sort by, the highest first; by default as begun, the newest last."""
        ascending: bool = False
        """With --sort, the lowest first."""
        limit: int = 40
        """Records shown: the first after sorting, else the newest; 0 shows all."""

    about = "List what was simulated, trained and analysed. Also: vitrify log show ID, compare ID ID ..., note ID TEXT."
    given = parse(Log, words, "log", about)
    from vitrify import log_index

    conditions = [*([f"kind={given.kind}"] if given.kind else []), *given.where]
    found = log_index.select(log_index.gather(given.root), conditions)
    n_found = len(found)
    if given.sort:
        found = log_index.sort(found, given.sort, descending=not given.ascending)
    if given.limit > 0:
        found = found[: given.limit] if given.sort else found[-given.limit :]
    if given.json:
        print(json.dumps(found, indent=1, allow_nan=False))
        return
    shown = "" if len(found) == n_found else f", {len(found)} shown: --limit 0 shows all"
    title = f"{n_found} records below {given.root}{shown}"
    console = Console()
    table = _table(found, title, extra=given.sort, wide=console.width >= _WIDE)
    console.print(table, highlight=False, markup=False)


def _table(records: Sequence[dict[str, Any]], title: str, *, extra: str | None = None, wide: bool = True) -> Table:
    """Return a row a record; ``extra`` names a value that has a column of its own where it has none yet."""
    from rich.text import Text

    from vitrify import log_index

    headings = ["id", "begun", "what", "status", "validation", "test", "AUC", "energy's AUC", "wall"]
    shown = extra is not None and not extra.endswith(("_accuracy", "_auc")) and extra not in ("started", "wall_s", "id")
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    every = [*headings, *([str(extra)] if shown else [])]
    kept = [place for place, heading in enumerate(every) if wide or heading not in ("begun", "validation", "wall")]
    for heading in (every[place] for place in kept):
        table.add_column(
            heading, justify="right" if heading == "wall" else "left", no_wrap=heading in ("id", "begun"),
            overflow="fold",
        )  # fmt: skip
    for record in records:
        estimates = [
            _estimate(log_index.score(record, weights, part, metric))
            for weights, part, metric in (
                ("best", "validation", "accuracy"),
                ("best", "test", "accuracy"),
                ("best", "test", "auc"),
                ("energy", "test", "auc"),
            )
        ]
        begun = (record.get("started") or "")[:16].replace("T", " ")
        cells = [record["key"], begun, _what(record), record["status"], *estimates, _seconds(record.get("wall_s"))]
        if shown:
            values = log_index.flat(record)
            cells.append(
                next((log_index.word(v) for k, v in values.items() if k == extra or k.endswith(f".{extra}")), "")
            )
        table.add_row(*(Text(cells[place]) for place in kept))
    return table


def _what(record: dict[str, Any]) -> str:
    from vitrify import log_index

    notes = sum(bool(note["text"]) for note in record["notes"])
    marked = f" ({notes} note{'s' if notes > 1 else ''})" if notes else ""
    folder = "" if record["where"] == "." else f"{record['where']}: "
    return f"{folder}{log_index.title(record)}{marked}"


def _estimate(one: dict[str, float] | None) -> str:
    return "" if one is None else f"{one['value']:.3f} [{one['low']:.2f}, {one['high']:.2f}]"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _show(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Show(Common):
        id: Annotated[str, tyro.conf.Positional]
        """The record, or the beginning of its id."""
        root: Path = _ROOT
        """Folder below which the logs are read."""

    given = parse(Show, words, "log show", "Show one record: settings, scores, notes.")
    from vitrify import log_index

    record = log_index.find(log_index.gather(given.root), given.id)
    lines = [f"{record['key']}  {record['kind']}  {record['name']}  {record['status']}"]
    lines += [f"why: {record['why']}"] if record.get("why") else []
    lines += [f"note, {note['at']}: {note['text']}" for note in record["notes"] if note["text"]]
    lines += [f"- {sentence}" for sentence in record.get("sentences") or []]
    lines += [
        f"{name} = {log_index.word(value)}" for name, value in log_index.flat(record).items() if value is not None
    ]
    lines += [f"lineage: {' > '.join([*record['lineage'], record['name']])}"] if record.get("lineage") else []
    lines += [f"figure: {Path(record['where']) / figure}" for figure in record.get("figures") or []]
    answer(given, record, "\n".join(lines))


def _compare(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Compare(Common):
        ids: Annotated[tuple[str, ...], tyro.conf.Positional]
        """Two records or more, or the beginnings of their ids."""
        root: Path = _ROOT
        """Folder below which the logs are read."""

    given = parse(Compare, words, "log compare", "Show some records side by side: settings that differ, and scores.")
    if len(given.ids) < 2:
        raise ValueError(f"vitrify log compare needs two records or more; got {len(given.ids)}")
    from rich.text import Text

    from vitrify import log_index

    records = log_index.gather(given.root)
    chosen = [log_index.find(records, key) for key in given.ids]
    differ = log_index.differing(chosen)
    if given.json:
        print(json.dumps({"records": chosen, "differing": differ}, indent=1, allow_nan=False))
        return
    table = Table(title="settings that differ, and scores", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", *(record["key"] for record in chosen)):
        table.add_column(heading, overflow="fold")
    for name, row in differ.items():
        table.add_row(name, *(Text(log_index.word(value)) for value in row))
    table.add_section()
    for name, row in score_rows(chosen).items():
        table.add_row(name, *row)
    table.add_row("status", *(record["status"] for record in chosen))
    table.add_row("wall", *(_seconds(record.get("wall_s")) for record in chosen))
    Console().print(table, highlight=False)


def score_rows(records: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return a row of estimates for every score that one of the records has."""
    from vitrify import log_index

    rows = {
        f"{weights} {part} {metric}": [_estimate(log_index.score(one, weights, part, metric)) for one in records]
        for weights in ("best", "final", "energy")
        for part in ("validation", "test")
        for metric in ("accuracy", "auc")
    }
    return {name: row for name, row in rows.items() if any(row)}


def _note(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Note(Common):
        id: Annotated[str, tyro.conf.Positional]
        """The record, or the beginning of its id."""
        text: Annotated[str, tyro.conf.Positional]
        """What is noted."""
        root: Path = _ROOT
        """Folder below which the logs are read."""
        replaces: int | None = None
        """Number of the note, from 0, that it is shown in place of; the file keeps both."""

    given = parse(Note, words, "log note", "Add a note to a record.")
    from vitrify import log, log_index

    record = log_index.find(log_index.gather(given.root), given.id)
    log.note(given.root / record["where"], record["id"], given.text, replaces=given.replaces)
    notes = log.read(given.root / record["where"] / log.FOLDER / f"{record['id']}.jsonl")["notes"]
    answer(given, {"key": record["key"], "notes": notes}, f"{record['key']} {record['name']}: {len(notes)} notes")


def _serve(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Serve(Common):
        root: Annotated[Path, tyro.conf.Positional] = _ROOT
        """Folder below which the logs of all studies are read."""
        port: int = 8765
        """Port on 127.0.0.1; 0 takes a free one."""
        browser: bool = True
        """Open the page in a browser."""

    given = parse(Serve, words, "serve", "Show the log as a live page on this machine, until Ctrl-C.")
    from vitrify import serve

    serve.run(
        given.root,
        port=given.port,
        browser=given.browser,
        ready=lambda url: print(json.dumps({"url": url}) if given.json else f"{url} (Ctrl-C ends it)", flush=True),
    )


def _export(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Export(Common):
        root: Annotated[Path, tyro.conf.Positional] = _ROOT
        """Folder below which the logs of all studies are read."""
        to: Path
        """FILE.html: one page with its figures in it. FILE.tex: LaTeX with its figures beside it, and PDF with TeX."""
        where: tuple[str, ...] = ()
        """Conditions that all must hold, as of vitrify log."""
        title: str = "Results log"
        """Of the document."""

    given = parse(Export, words, "export", "Write the log as a document: dated sections, figures, best models.")
    from vitrify import export

    made = export.write(given.root, given.to, where=given.where, title=given.title)
    lines = [f"written: {path}" for path in made["written"]]
    answer(given, made, "\n".join([*lines, *([made["says"]] if made["says"] else [])]))


COMMANDS = {
    "log": Command(
        _log,
        "[ROOT] [--where model=cnn] [--sort NAME]",
        "what was simulated, trained and analysed; log show ID, log compare ID ID, log note ID TEXT",
    ),
    "serve": Command(_serve, "[ROOT] [--port 8765]", "the log as a live page on this machine"),
    "export": Command(_export, "[ROOT] --to FILE.html", "the log as one page, or as LaTeX and PDF: --to FILE.tex"),
}
"""By name."""
