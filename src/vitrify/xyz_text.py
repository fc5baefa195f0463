"""Read and write XYZ files: extended XYZ, the XYZ of RUMD and gamdpy, and plain XYZ with a cell given by the user.

The second line of a frame tells them apart: ``Lattice="..."`` is extended XYZ, ``ioformat=...`` is RUMD's.

References:
    https://github.com/libAtoms/extxyz; Bailey et al., 2017, doi:10.21468/SciPostPhys.3.6.038 (RUMD)
"""

__all__ = ["read_xyz", "write_xyz"]

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.snapshots import Snapshot, Told, assemble
from vitrify.text_lines import Lines, replacing, rows_of

_PAIR = re.compile(r"""([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|\{([^}]*)\}|(\S*))|(\S+)""")

_SPECIES = ("species", "type", "element", "symbols")
_POSITION = ("pos", "position", "positions")

_STEP = ("step", "frame", "timestep")
"""Keys, in any case, of the time step in extended XYZ; ``time`` is that of the time."""


@dataclass(kw_only=True, slots=True)
class _Layout:
    """What the second line of a frame says: the columns, which of them are words, the box, and the rest."""

    columns: list[tuple[str, str, int]]  # name, kind (S, R, I or L), number of components
    low: np.ndarray
    edges: np.ndarray
    species: str
    position: str
    periodic: list[bool] = field(default_factory=lambda: [True] * 3)
    attributes: dict[str, Any] = field(default_factory=dict)
    step: int | None = None
    time: float | None = None


def read_xyz(path: Path, told: Told) -> Iterator[Snapshot]:
    """Yield the frames of an XYZ file of any of the three kinds.

    Args:
        path: The file, plain, ``.gz`` or ``.zst``.
        told: What the user says about it; plain XYZ needs a cell.

    Raises:
        BadTrajectoryError: The file is damaged, its box is triclinic, or it has none and no cell was given.
        OSError: It cannot be read.
    """
    lines = Lines(path)
    known: tuple[str, ...] = ()
    last: int | None = None
    lines.skip_blank()
    while lines.peek() is not None:
        n = lines.whole("the number of particles")
        if n < 1:
            raise lines.bad(f"the number of particles must be at least 1; got {n}")
        comment = lines.take("the second line of the frame")
        with lines.about(lines.number):
            layout = _layout(lines, comment, told)
        if last is not None and layout.step is not None and layout.step <= last:
            how = "repeats" if layout.step == last else "goes back from"
            raise lines.bad(f"time step {layout.step} {how} {last}: give each run a file of its own")
        snapshot = _body(lines, n, layout, known, told)
        yield snapshot
        known, last = snapshot.names, layout.step
        lines.frame += 1
        lines.skip_blank()


def write_xyz(path: Path, snapshots: Iterable[Snapshot]) -> int:
    """Write frames as extended XYZ, and return their number.

    Args:
        path: The file, packed if it ends in ``.gz`` or ``.zst``; it appears whole or not at all.
        snapshots: The frames.

    Raises:
        ValueError: A column's name, or a word in it, cannot stand in the file.
        OSError: The file cannot be written.
    """
    n_frames = 0
    with replacing(path) as file:
        for snapshot in snapshots:
            file.write(_written(snapshot).encode())
            n_frames += 1
    return n_frames


def _layout(lines: Lines, comment: str, told: Told) -> _Layout:
    said: dict[str, str] = {}
    for found in _PAIR.finditer(comment):
        key, *values, flag = found.groups()
        said[key or flag] = "T" if key is None else next((value for value in values if value is not None), "")
    keys = {key.lower(): key for key in said}
    if "ioformat" in keys:
        return _rumd(said)
    if "lattice" in keys or "properties" in keys:
        return _extended(said, keys, told)
    if not told.cell:
        raise lines.bad("there is no Lattice= and no ioformat=: this is plain XYZ, and its cell must be given")
    d = len(told.cell)
    row = _ahead(lines)
    if not 1 + d <= row <= 64:
        raise lines.bad(f"a line must be a name and {d} coordinates; got {row} columns", line=lines.number + 1)
    width = 3 if row > 3 else 2
    edges = np.array([*told.cell, *[0.0] * (3 - d)])
    columns = [("species", "S", 1), ("pos", "R", width)]
    columns += [(f"column{place + 1}", "R", 1) for place in range(1 + width, row)]
    return _Layout(columns=columns, low=np.zeros(3), edges=edges, species="species", position="pos")


def _ahead(lines: Lines) -> int:
    """Return the number of words in the next line."""
    return len((lines.peek() or "").split())


def _extended(said: dict[str, str], keys: dict[str, str], told: Told) -> _Layout:
    """Return the layout that the pairs of extended XYZ describe."""
    words = said[keys["properties"]].split(":") if "properties" in keys else ["species", "S", "1", "pos", "R", "3"]
    if len(words) % 3 or not all(
        name and kind in ("S", "R", "I", "L") and re.fullmatch("[1-9][0-9]?", n, re.ASCII)
        for name, kind, n in zip(words[::3], words[1::3], words[2::3], strict=False)
    ):
        raise ValueError(f"Properties must be name:kind:number, with kinds S, R, I and L; got {':'.join(words)[:60]!r}")
    columns = [(name, kind, int(n)) for name, kind, n in zip(words[::3], words[1::3], words[2::3], strict=True)]
    names = [name for name, _, _ in columns]
    species = next((name for name in _SPECIES if name in names), None)
    position = next((name for name in _POSITION if name in names), None)
    if species is None or position is None:
        raise ValueError(f"Properties must hold species and pos; got {' '.join(names)[:60]!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"Properties must be different; got {' '.join(names)[:60]!r}")
    width = next(n for name, _, n in columns if name == position)
    if width not in (2, 3) or next(n for name, _, n in columns if name == species) != 1:
        raise ValueError(f"pos must have 2 or 3 components and species 1; got {':'.join(words)[:60]!r}")
    low = np.array(_floats("Origin", said[keys["origin"]], 3)) if "origin" in keys else np.zeros(3)
    periodic = [True] * 3
    if "pbc" in keys:
        flags = said[keys["pbc"]].replace(",", " ").split()
        if len(flags) != 3 or not all(flag in ("T", "F", "True", "False", "1", "0") for flag in flags):
            raise ValueError(f"pbc must be three of T and F; got {' '.join(flags)[:60]!r}")
        periodic = [flag[0] in "T1" for flag in flags]
    step = next((keys[key] for key in _STEP if key in keys), None)
    used = {keys[key] for key in ("lattice", "properties", "origin", "pbc", "time") if key in keys} | {step}
    return _Layout(
        columns=columns,
        low=low,
        edges=_edges(said, keys, told),
        species=species,
        position=position,
        periodic=periodic,
        attributes={key: _value(text) for key, text in said.items() if key not in used},
        step=None if step is None else _whole(step, said[step]),
        time=_floats("Time", said[keys["time"]], 1)[0] if "time" in keys else None,
    )


def _edges(said: dict[str, str], keys: dict[str, str], told: Told) -> np.ndarray:
    """Return the edge lengths of the lattice, or of the cell the user gave."""
    if "lattice" not in keys:
        if not told.cell:
            raise ValueError("there is no Lattice: the cell must be given")
        return np.array([*told.cell, *[0.0] * (3 - len(told.cell))])
    lattice = np.array(_floats("Lattice", said[keys["lattice"]], 9)).reshape(3, 3)
    if (lattice != np.diag(np.diag(lattice))).any():
        raise ValueError("the box is triclinic, and only rectangular boxes along x, y, z can be read")
    return np.diag(lattice)


def _rumd(said: dict[str, str]) -> _Layout:
    """Return the layout that the pairs of RUMD and gamdpy describe; their boxes are centred on the origin."""
    name, *edges = said.get("sim_box", "RectangularSimulationBox," + said.get("boxLengths", "")).split(",")
    if name != "RectangularSimulationBox":
        raise ValueError(f"only a RectangularSimulationBox can be read; got {name[:40]!r}")
    lengths = np.array(_floats("sim_box", " ".join(edges), len(edges) if len(edges) in (2, 3) else 3))
    names = said.get("columns", "").split(",")
    form = list("xyz"[: len(lengths)])
    if "type" not in names or not set(form) <= set(names) or len(set(names)) < len(names):
        raise ValueError(f"columns must hold type and {' '.join(form)}, once each; got {','.join(names)[:60]!r}")
    whole = {"type", "imx", "imy", "imz"}
    attributes = {
        key: _value(text)
        for key, text in said.items()
        if key not in ("columns", "sim_box", "boxLengths", "ioformat", "timeStepIndex")
    }
    integrator = said.get("integrator", "").split(",")
    dt = None
    if re.fullmatch("Integrator(NVE|NVT|NPT|NVT_Langevin|NPT_Langevin)", integrator[0]) and len(integrator) > 1:
        (dt,) = _floats("integrator's time step", integrator[1], 1)
        if integrator[0] != "IntegratorNVE" and len(integrator) > 2:
            attributes["T"] = _floats("integrator's temperature", integrator[2], 1)[0]
    step = _whole("timeStepIndex", said["timeStepIndex"]) if "timeStepIndex" in said else None
    return _Layout(
        columns=[(name, "I" if name in whole else "R", 1) for name in names],
        low=-lengths / 2,
        edges=lengths,
        species="type",
        position="x",
        attributes=attributes,
        step=step,
        time=None if dt is None or step is None else step * dt,
    )


def _whole(key: str, text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise ValueError(f"{key} must be a whole number; got {text[:40]!r}")
    return int(text)


def _floats(key: str, text: str, n: int) -> list[float]:
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != n or not np.isfinite(values).all():
        raise ValueError(f"{key} must be {n} finite number{'s' * (n > 1)}; got {text[:60]!r}")
    return values


def _value(text: str) -> Any:
    """Return a value as a number if it is one."""
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII):
        return float(text)
    return text


def _body(lines: Lines, n: int, layout: _Layout, known: tuple[str, ...], told: Told) -> Snapshot:
    """Take the particles of a frame."""
    first = lines.number + 1
    names = [name if width == 1 else f"{name}[{i + 1}]" for name, _, width in layout.columns for i in range(width)]
    kinds = [kind for _, kind, width in layout.columns for _ in range(width)]
    words = [place for place, kind in enumerate(kinds) if kind in "SL"]
    values, texts = lines.table(n, names, words=words)
    found = dict(zip(words, texts, strict=True))
    columns: dict[str, np.ndarray] = {}
    place = 0
    for name, kind, width in layout.columns:
        parts = [
            np.array(found[column]) if kind == "S"
            else _flags(lines, name, found[column]) if kind == "L"
            else lines.integers(name, values[:, column]) if kind == "I"
            else values[:, column]
            for column in range(place, place + width)
        ]  # fmt: skip
        columns[name] = parts[0] if width == 1 else np.stack(parts, axis=1)
        place += width
    if layout.position == "x":
        positions = np.stack([columns.pop(axis) for axis in "xyz"[: len(layout.edges)]], axis=1)
        columns = {f"i{name[2]}" if name in ("imx", "imy", "imz") else name: part for name, part in columns.items()}
    else:
        positions = columns.pop(layout.position)
    present, species = lines.species(columns.pop(layout.species), known, told)
    with lines.about(first):
        return assemble(
            positions,
            species,
            low=layout.low,
            edges=layout.edges,
            periodic=layout.periodic,
            columns=columns,
            told=told,
            names=present,
            step=layout.step,
            time=layout.time,
            attributes=layout.attributes,
            path=lines.path,
            frame=lines.frame,
        )


def _flags(lines: Lines, name: str, words: list[str]) -> np.ndarray:
    for place, word in enumerate(words):
        if word not in ("T", "F", "True", "False"):
            line = lines.number - len(words) + 1 + place
            raise lines.bad(f"column {name} must be T or F; got {word[:40]!r}", line=line)
    return np.array([word[0] == "T" for word in words])


def _written(snapshot: Snapshot) -> str:
    """Return a frame as the text of extended XYZ."""
    configuration = snapshot.configuration
    n, d = configuration.positions.shape
    low, edges, positions = np.zeros(3), np.ones(3), np.zeros((n, 3))
    low[:d], edges[:d] = snapshot.origin, configuration.box
    positions[:, :d] = configuration.positions + low[:d]
    periodic = [True] * d if configuration.periodic is None else configuration.periodic.tolist()
    columns = {"species": np.array(snapshot.names)[configuration.species], "pos": positions}
    taken = sorted(set(snapshot.columns) & {*_SPECIES, *_POSITION})
    if taken:
        raise ValueError(f"extended XYZ has columns of its own called {' '.join(taken)}: rename those of the snapshot")
    columns |= snapshot.columns
    properties: list[str] = []
    flat: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        kind = {"b": "L", "i": "I", "u": "I", "f": "R"}.get(column.dtype.kind, "S")
        parts = np.where(column, "T", "F") if kind == "L" else column
        parts = parts.reshape(n, -1).T
        if ":" in name or "=" in name or '"' in name:
            raise ValueError(f"a column of extended XYZ cannot be called {name!r}")
        properties.append(f"{name}:{kind}:{len(parts)}")
        flat |= {name if len(parts) == 1 else f"{name}[{i + 1}]": part for i, part in enumerate(parts)}
    said = {
        "Lattice": " ".join(repr(value) for value in np.diag(edges).ravel().tolist()),
        "Origin": " ".join(repr(value) for value in low.tolist()),
        "Properties": ":".join(properties),
        "pbc": " ".join("T" if repeats else "F" for repeats in [*periodic, *[True] * (3 - d)]),
    }
    said |= {} if snapshot.step is None else {"Step": str(snapshot.step)}
    said |= {} if snapshot.time is None else {"Time": repr(float(snapshot.time))}
    for key, value in snapshot.attributes.items():
        if re.search(r"[\s=\"']|^$", key) or re.search(r'["\n\r]', str(value)):
            raise ValueError(f"extended XYZ cannot hold the attribute {key!r}: {str(value)[:40]!r}")
        if key.lower() not in ("step", "time", *(name.lower() for name in said), *_STEP):
            said[key] = str(value)
    words = " ".join(
        f'{key}="{value}"' if re.search(r"[\s=]|^$", value) else f"{key}={value}" for key, value in said.items()
    )
    return "\n".join([str(n), words, *rows_of(flat), ""])
