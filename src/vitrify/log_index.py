"""Every record below a folder: gathered through an index that can be thrown away, chosen, sorted and compared.

The index, ``.vitrify-log.sqlite`` in that folder, holds what each log file says, with the size and the time of change
of the file. A file that changed is read again; an index that is gone, damaged or of another version is made again;
where none can be written, one is made in memory.

A record is named by a *key*: its id, or ``id@folder`` where copies of a study's folder hold the same id.
"""

__all__ = [
    "INDEX",
    "differing",
    "files",
    "find",
    "flat",
    "gather",
    "history",
    "score",
    "select",
    "sort",
    "studies",
    "title",
    "word",
]

import contextlib
import difflib
import json
import operator
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrify import log

Record = dict[str, Any]

INDEX = ".vitrify-log.sqlite"
"""Name of the index."""

_VERSION = 1
_PART_OF_A_STUDY = {"analyses", "data", "figures", "folds", log.FOLDER, "models", "sweeps", "trained"}
_ENERGIES = ("e_pot", "e_is")
_DIGEST = re.compile(r"-(?=[0-9a-f]*[0-9])[0-9a-f]{6}(?:[0-9a-f]{4})?$")
_LONG = ("history",)  # kept apart: not needed for a list


def studies(root: Path) -> Iterator[Path]:
    """Return the folders at and below ``root`` that hold a log, in order."""
    for place, folders, _ in os.walk(root):
        if (Path(place) / log.FOLDER / "origin").exists():
            yield Path(place)
            folders[:] = [name for name in folders if name not in _PART_OF_A_STUDY]
        folders[:] = sorted(name for name in folders if name != "workspace" and not name.startswith("."))


def files(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every record's file at and below ``root``, by relative path."""
    found = {}
    for out in studies(root):
        folder = f"{out.relative_to(root)}/{log.FOLDER}/".removeprefix("./")
        with os.scandir(out / log.FOLDER) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl"):
                    about = entry.stat()
                    found[folder + entry.name] = (about.st_size, about.st_mtime_ns)
    return found


def gather(root: Path) -> list[Record]:
    """Return every record at and below ``root`` without its history, the one that was begun first at the front.

    Beside what :func:`vitrify.log.read` returns, ``key`` names it, ``where`` is the folder of its study, relative to
    ``root``, ``status`` is as of now, and ``energy`` of a network's record has the scores of the energy alone on the
    same runs, where the same study has them.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(2, "No such folder", str(root))
    with contextlib.closing(_open(root)) as index:
        _refresh(index, root)
        rows = index.execute("SELECT path, record FROM records").fetchall()
    records = []
    for path, text in rows:
        record = json.loads(text)
        if "kind" in record:
            where = str(Path(path).parent.parent)
            records.append(record | {"where": where, "status": log.state(record)})
    known = Counter(record["id"] for record in records)
    for record in records:
        record["key"] = record["id"] if known[record["id"]] == 1 else f"{record['id']}@{record['where']}"
    _beside_the_energy(records)
    return sorted(records, key=lambda record: (record.get("started") or "", record["key"]))


def history(root: Path, record: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the history of a training so far: of a finished one from its record, else from its folder."""
    out = root / record["where"]
    with contextlib.suppress(OSError):
        kept = log.read(out / log.FOLDER / f"{record['id']}.jsonl").get("history")
        if kept:
            return dict(kept)
    with contextlib.suppress(OSError, ValueError):
        folder = (out / str(record["folder"])).resolve() if record.get("folder") else None
        if folder is not None and folder.is_relative_to(out.resolve()):
            return dict(json.loads((folder / "history.json").read_text(encoding="utf-8")))
    return {}


def find(records: Sequence[Record], key: str) -> Record:
    """Return the record whose key begins with some letters.

    Raises:
        ValueError: None does, or several do.
    """
    found = [record for record in records if record["key"] == key] or [
        record for record in records if record["key"].startswith(key)
    ]
    if not found or not key:
        raise ValueError(f"there is no record {key!r} among {len(records)}: vitrify log lists them")
    if len(found) > 1:
        raise ValueError(f"{key!r} begins the ids of {len(found)} records: {', '.join(one['key'] for one in found)}")
    return found[0]


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's values by dotted name.

    Settings have no prefix; scores are named such as ``best_test_auc`` and ``energy_test_auc``.
    """
    plain = ("id", "key", "kind", "name", "study", "where", "status", "started", "finished", "wall_s", "cpu_s", "data")
    values = {name: record.get(name) for name in plain}
    values |= _flat(record.get("settings") or {})
    values |= {f"versions.{name}": value for name, value in (record.get("versions") or {}).items()}
    for weights, scored in {**(record.get("scores") or {}), "energy": record.get("energy") or {}}.items():
        for part, one in scored.items():
            values |= {f"{weights}_{part}_{metric}": one[metric]["value"] for metric in ("accuracy", "auc")}
            values[f"n_{part}"] = one["n_test"]
    return values


def title(record: Mapping[str, Any]) -> str:
    """Return a record's name without the digest at its end; the key tells apart what it told apart."""
    return _DIGEST.sub("", str(record["name"]))


def word(value: Any) -> str:
    """Return a setting in words: six digits of a number are enough to read it."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def score(record: Mapping[str, Any], weights: str, part: str, metric: str) -> dict[str, float] | None:
    """Return an estimate of a training, or None: ``weights`` is best, final or energy, ``part`` validation or test."""
    scored = (record.get("energy") if weights == "energy" else (record.get("scores") or {}).get(weights)) or {}
    found: dict[str, float] | None = (scored.get(part) or {}).get(metric)
    return found


def select(records: Sequence[Record], conditions: Sequence[str]) -> list[Record]:
    """Return the records that meet every condition, such as ``model=cnn``, ``best_test_auc>=0.9`` or ``name~k140``.

    A name is one that :func:`flat` gives, or its last parts: ``learning_rate`` is ``train.learning_rate``. ``~`` is
    whether the text holds another. Numbers are compared as numbers.

    Raises:
        ValueError: A condition cannot be read, or no record has such a name.
    """
    kept = [(record, flat(record)) for record in records]
    for condition in conditions:
        name, compare, wanted = _condition(condition)
        names = _names(name, [values for _, values in kept]) if kept else []
        kept = [(record, values) for record, values in kept if any(compare(values.get(n), wanted) for n in names)]
    return [record for record, _ in kept]


def sort(records: Sequence[Record], name: str, *, descending: bool = True) -> list[Record]:
    """Return the records by a value that :func:`flat` gives, those without it last.

    Raises:
        ValueError: No record has such a name.
    """
    every = [flat(record) for record in records]
    names = _names(name, every) if records else []
    values = [next((one[n] for n in names if one.get(n) is not None), None) for one in every]
    having = [(value, place) for place, value in enumerate(values) if value is not None]
    numbers = all(isinstance(value, int | float) for value, _ in having)
    having.sort(key=lambda one: one[0] if numbers else str(one[0]), reverse=descending)
    without = [record for record, value in zip(records, values, strict=True) if value is None]
    return [records[place] for _, place in having] + without


def differing(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return the settings and versions that are not the same in all of some records, one value each."""
    settings = [
        _flat(record.get("settings") or {}) | {f"versions.{k}": v for k, v in (record.get("versions") or {}).items()}
        for record in records
    ]
    names = dict.fromkeys(name for one in settings for name in one)
    rows = {name: [one.get(name) for one in settings] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def _open(root: Path) -> sqlite3.Connection:
    """Return the index with its tables, a new one where the old one cannot be used."""
    path = root / INDEX
    for attempt in range(2):
        index = None
        try:
            index = sqlite3.connect(path, timeout=10)
            if index.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version")
            _tables(index)
            return index
        except sqlite3.OperationalError:  # not ours to write, or held for too long
            if index is not None:
                index.close()
            break
        except sqlite3.DatabaseError:
            if index is not None:
                index.close()
            if attempt == 0:
                path.unlink(missing_ok=True)
    index = sqlite3.connect(":memory:")
    _tables(index)
    return index


def _tables(index: sqlite3.Connection) -> None:
    with index:
        index.execute(
            "CREATE TABLE IF NOT EXISTS records"
            "(path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, record TEXT) WITHOUT ROWID"
        )
        index.execute(f"PRAGMA user_version = {_VERSION}")
        index.execute("SELECT path, size, changed, record FROM records LIMIT 1").fetchall()


def _refresh(index: sqlite3.Connection, root: Path) -> None:
    """Make the index say what the files say."""
    held = {path: (size, changed) for path, size, changed in index.execute("SELECT path, size, changed FROM records")}
    there, rows = files(root), []
    for path, (size, changed) in there.items():
        if held.get(path) != (size, changed):
            record = {name: value for name, value in log.read(root / path).items() if name not in _LONG}
            rows.append((path, size, changed, json.dumps(record)))
    gone = [(path,) for path in held.keys() - there.keys()]
    if rows or gone:
        with index:
            index.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", rows)
            index.executemany("DELETE FROM records WHERE path = ?", gone)


def _beside_the_energy(records: Sequence[Record]) -> None:
    """Give each network's record the scores of the energy alone, trained on the same pair of the same study."""

    def task(record: Record) -> tuple:
        settings = record["settings"]
        return (record["where"], *(settings.get(name) for name in ("input", "train_k", "glass_k", "n_train", "study")))

    trained = [record for record in records if record["kind"] == "train" and record.get("settings")]
    keyed = [(json.dumps(task(record), sort_keys=True), record) for record in trained]
    known = {
        key: record["scores"]["best"]
        for key, record in keyed
        if record["settings"].get("model") in _ENERGIES and record.get("scores")
    }
    for key, record in keyed:
        if record["settings"].get("network") is not None and key in known:
            record.setdefault("energy", known[key])


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name; a list is a value."""
    if isinstance(value, Mapping):
        inner = (_flat(one, f"{name}.{key}" if name else str(key)) for key, one in value.items())
        return {key: one for part in inner for key, one in part.items()}
    return {name: value}


def _names(name: str, every: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the full names that a name stands for: itself, or those that end with it."""
    known = dict.fromkeys(full for values in every for full in values)
    found = [name] if name in known else [full for full in known if full.endswith(f".{name}")]
    if not found:
        near = difflib.get_close_matches(name, [*known, *(full.rpartition(".")[2] for full in known)], n=3)
        advice = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
        raise ValueError(f"no record has a {name!r}{advice}")
    return found


def _condition(condition: str) -> tuple[str, Callable[[Any, str], bool], str]:
    """Return the name, the comparison and the value of a condition."""
    for sign in ("!=", "<=", ">=", "=", "<", ">", "~"):
        name, found, wanted = condition.partition(sign)
        if found and name and not set(name) & set("!<>=~"):
            return name.strip(), _COMPARE[sign], wanted.strip()
    raise ValueError(f"a condition is a name, one of {' '.join(_COMPARE)}, and a value; got {condition!r}")


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, str], bool]:
    def of(value: Any, wanted: str) -> bool:
        number = _number(wanted)
        if isinstance(value, int | float) and number is not None:
            return compare(value, number)
        return value is not None and number is None and compare(str(value), wanted)

    return of


def _equal(value: Any, wanted: str) -> bool:
    number = _number(wanted)
    if isinstance(value, int | float) and not isinstance(value, bool) and number is not None:
        return bool(value == number)
    return ("none" if value is None else str(value).lower()) == wanted.lower()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_COMPARE: dict[str, Callable[[Any, str], bool]] = {
    "=": _equal,
    "!=": lambda value, wanted: not _equal(value, wanted),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "~": lambda value, wanted: value is not None and wanted.lower() in str(value).lower(),
}
