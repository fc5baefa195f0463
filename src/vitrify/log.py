"""The log of a study: what was simulated, trained and analysed, appended as it happens and never rewritten.

Every simulation, training or analysis has a file of its own below the study's folder, a JSON object a line::

    out/log/<id>.jsonl    what it is (settings, lineage, versions), then what came of it (scores, time), then notes
            origin        a random word, so that the same training in two folders has two ids

Read together, a later line's keys replace an earlier one's and notes add up. A line is on the disk before `append`
returns. A process killed while it writes leaves a line without an end: the next writer ends it, and readers skip it.
"""

__all__ = ["FOLDER", "append", "identify", "note", "process", "read", "recorded", "state"]

import contextlib
import hashlib
import json
import math
import os
import secrets
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import filelock

from vitrify.parallel import Stopped

FOLDER = "log"
"""Of a study's folder: where its log lies."""

Kind = Literal["simulate", "train", "analyse"]

_PATIENCE_S, _POLL_S = 10.0, 0.002  # a line takes milliseconds


@contextlib.contextmanager
def recorded(out: Path, *, kind: Kind, name: str, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Log what is done inside the context: that it runs, and then that it is done, was stopped, or failed and why.

    Args:
        out: Folder of the study.
        kind: What is done.
        name: Of what is done; with the kind it makes the id, so that going on after a stop continues the record.
        known: What is known from the start: ``settings``, ``versions``, ``lineage``, ``data``.

    Yields:
        A dictionary for what is found; it is logged when the context ends without an error.
    """
    identifier = identify(out, kind, name)
    first = {"kind": kind, "name": name, "status": "running", "why": None, "started": _now(), "process": process()}
    append(out, identifier, {**first, **known})
    began, began_cpu = time.perf_counter(), time.process_time()

    def spent() -> dict[str, Any]:
        wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        return {"finished": _now(), "wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}

    found: dict[str, Any] = {}
    try:
        yield found
    except BaseException as error:
        failed = isinstance(error, Exception) and not isinstance(error, Stopped)
        why = f"{type(error).__name__}: {error}" if failed else "interrupted"
        append(out, identifier, {"status": "failed" if failed else "stopped", "why": why, **spent()})
        raise
    append(out, identifier, {"status": "done", **spent(), **found})


def identify(out: Path, kind: Kind, name: str) -> str:
    """Return the id of a record, ten hexadecimal digits: the same whenever the same thing is done in this folder."""
    try:
        origin = _origin(out / FOLDER)
    except OSError:  # append will say so
        origin = ""
    return hashlib.sha256(f"{origin}/{kind}/{name}".encode()).hexdigest()[:10]


def append(out: Path, identifier: str, line: Mapping[str, Any]) -> None:
    """Add a line to a record; where that cannot be done, say so in a warning and let the work go on."""
    try:
        _write(out / FOLDER, identifier, line)
    except OSError as error:
        warnings.warn(f"the log of {out} lacks a line of {identifier}: {error}", RuntimeWarning, stacklevel=2)


def note(out: Path, identifier: str, text: str, *, replaces: int | None = None) -> None:
    """Add a note to a record; the notes before it stay in the file.

    Args:
        out: Folder of the study.
        identifier: Of the record.
        text: What is noted; empty, it takes the place of a note that is no longer wanted.
        replaces: Number of the note, from 0, that it is read in place of.

    Raises:
        ValueError: The text is empty and replaces nothing, or there is no such note.
        OSError: It cannot be written.
    """
    known = read(out / FOLDER / f"{identifier}.jsonl")["notes"]
    if not text.strip() and replaces is None:
        raise ValueError("a note must say something; got an empty text")
    if replaces is not None and not 0 <= replaces < len(known):
        raise ValueError(f"replaces must be the number of a note, below {len(known)}; got {replaces}")
    _write(out / FOLDER, identifier, {"note": text.strip(), **({} if replaces is None else {"replaces": replaces})})


def read(path: Path) -> dict[str, Any]:
    """Return a record: its lines as one, with ``notes``, ``attempts`` (times it was begun) and ``n_damaged`` lines.

    Raises:
        OSError: The file cannot be read.
    """
    record: dict[str, Any] = {"id": path.stem, "notes": [], "attempts": 0, "n_damaged": 0}
    for text in path.read_bytes().split(b"\n"):
        if not text:
            continue
        try:
            line = json.loads(text)
        except ValueError:  # torn
            line = None
        if isinstance(line, dict):
            _add(record, line)
        else:
            record["n_damaged"] += 1
    return record


def state(record: Mapping[str, Any]) -> str:
    """Return ``running``, ``done``, ``failed``, or ``stopped``, which is also what was running in a process now gone.

    Whether a process of another machine is gone cannot be seen: its record stays as it is.
    """
    status, at = str(record.get("status", "unknown")), str(record.get("process") or "").split()
    if status == "running" and len(at) >= 2 and at[0] == socket.gethostname() and process(int(at[1])) != " ".join(at):
        return "stopped"
    return status


def process(number: int | None = None) -> str | None:
    """Return words that name a process of this machine and no later one, or None if there is none such.

    Args:
        number: Of the process; by default this one's.
    """
    number = os.getpid() if number is None else number
    try:
        began = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = ""
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
    return f"{socket.gethostname()} {number} {began}".strip()


def _add(record: dict[str, Any], line: dict[str, Any]) -> None:
    """Add a line to what was read before it."""
    if "note" in line:
        note = {"text": line["note"], "at": line.get("at")}
        place = line.get("replaces")
        if isinstance(place, int) and 0 <= place < len(record["notes"]):
            record["notes"][place] = note
        else:
            record["notes"].append(note)
        return
    if line.get("status") == "running":
        record["attempts"] += 1
        line["started"] = record.get("started", line.get("started"))
    record |= {key: value for key, value in line.items() if key not in ("id", "notes", "attempts", "n_damaged")}


def _origin(folder: Path) -> str:
    """Return the folder's random word, making it the first time."""
    path = folder / "origin"
    if not path.exists():
        with _locked(folder):
            if not path.exists():
                beside = folder / ".origin.part"
                beside.write_text(secrets.token_hex(8) + "\n", encoding="ascii")
                beside.replace(path)
    return path.read_text(encoding="ascii").strip()


def _write(folder: Path, identifier: str, line: Mapping[str, Any]) -> None:
    text = json.dumps(_plain({"id": identifier, "at": _now(), **line}), ensure_ascii=False, default=str)
    with _locked(folder):
        file = os.open(folder / f"{identifier}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            content = (b"\n" if torn else b"") + text.encode(errors="replace") + b"\n"
            while content:
                content = content[os.write(file, content) :]
            os.fsync(file)
        finally:
            os.close(file)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock", timeout=_PATIENCE_S, poll_interval=_POLL_S):
        yield


def _plain(value: Any) -> Any:
    """Return a value with what JSON has no word for, infinities and not-a-numbers, as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
