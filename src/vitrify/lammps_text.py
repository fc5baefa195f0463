"""Read and write the text files of LAMMPS: dumps of style atom or custom, and data files.

A dump's coordinates are x, xu (unwrapped), xs (scaled to the box) or xsu (both), in any order of columns; whichever are
there, and with whatever image flags, the configuration is the same. Boxes that are not rectangular are refused.

References:
    https://docs.lammps.org/dump.html and https://docs.lammps.org/read_data.html
"""

__all__ = ["read_data", "read_dump", "write_dump"]

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.snapshots import BadTrajectoryError, Snapshot, Told, assemble, columns_of
from vitrify.text_lines import Lines, replacing, rows_of

_KINDS = {"x": False, "xu": False, "xs": True, "xsu": True}
"""Name of the x column, in the order of preference, and whether it is scaled to the box."""

_WORDS = ("element", "typelabel")  # columns of dumps that are not numbers

_WHOLE = ("id", "type", "mol", "ix", "iy", "iz")

_STYLES = {
    "atomic": "id type x y z",
    "charge": "id type q x y z",
    "molecular": "id mol type x y z",
    "bond": "id mol type x y z",
    "angle": "id mol type x y z",
    "full": "id mol type q x y z",
    "sphere": "id type diameter density x y z",
}
"""Columns of the section Atoms by atom style; image flags may follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    """What stands above the particles of a frame of a dump; ``line`` is that of the time step."""

    step: int
    time: float | None
    units: str
    line: int
    n: int
    periodic: list[bool]
    low: np.ndarray
    edges: np.ndarray


def read_dump(path: Path, told: Told) -> Iterator[Snapshot]:
    """Yield the frames of a dump.

    Args:
        path: The file, plain, ``.gz`` or ``.zst``.
        told: What the user says about it.

    Raises:
        BadTrajectoryError: The file is damaged, or its box is triclinic.
        OSError: It cannot be read.
    """
    lines = Lines(path)
    known: tuple[str, ...] = ()
    last: _Head | None = None
    lines.skip_blank()
    while lines.peek() is not None:
        head = _head(lines, "" if last is None else last.units)
        if last is not None and head.step <= last.step:
            how = "repeats" if head.step == last.step else "goes back from"
            raise lines.bad(f"time step {head.step} {how} {last.step}: give each run a file of its own", line=head.line)
        snapshot = _body(lines, head, known, told)
        yield snapshot
        known, last = snapshot.names, head
        lines.frame += 1
        lines.skip_blank()


def read_data(path: Path, told: Told) -> Iterator[Snapshot]:
    """Yield the one frame of a data file.

    Args:
        path: The file, plain, ``.gz`` or ``.zst``; of one of the atom styles atomic, charge, bond, angle, molecular,
            full and sphere.
        told: What the user says about it.

    Raises:
        BadTrajectoryError: The file is damaged, or its box is triclinic.
        OSError: It cannot be read.
    """
    lines = Lines(path)
    title = lines.take("a title")
    step = re.search(r"timestep = (\d{1,18})", title, re.ASCII)
    n, bounds, section = _data_head(lines)
    atoms: dict[str, np.ndarray] = {}
    velocities: dict[str, np.ndarray] = {}
    while section is not None:
        name, _, comment = (part.strip() for part in section.partition("#"))
        if name == "Atoms":
            first = lines.number + 1
            atoms = _section(lines, n, _atom_columns(lines, comment))
            names, species = lines.species(atoms["type"], (), told)
        elif name == "Velocities":
            velocities = _section(lines, n, ["id", "vx", "vy", "vz"])
        section = _next_section(lines)
    if not atoms:
        raise lines.bad("the file ends without a section Atoms")
    if velocities and not np.array_equal(np.sort(velocities["id"]), np.sort(atoms["id"])):
        raise lines.bad("the sections Atoms and Velocities must hold the same ids")
    if velocities:
        place = np.argsort(velocities.pop("id"))[np.argsort(np.argsort(atoms["id"]))]
        atoms |= {axis: column[place] for axis, column in velocities.items()}
    positions = np.stack([atoms.pop(axis) for axis in "xyz"], axis=1)
    del atoms["type"]
    with lines.about(first):
        yield assemble(
            positions,
            species,
            low=bounds[:, 0],
            edges=bounds[:, 1] - bounds[:, 0],
            periodic=[True] * 3,
            columns=atoms,
            told=told,
            names=names,
            step=int(step[1]) if step else None,
            path=path,
        )


def write_dump(path: Path, snapshots: Iterable[Snapshot]) -> int:
    """Write frames as a dump of style custom, and return their number; a frame's attributes have no place in it.

    Args:
        path: The file, packed if it ends in ``.gz`` or ``.zst``; it appears whole or not at all.
        snapshots: The frames.

    Raises:
        ValueError: A column's name or a word in it cannot stand in a dump.
        OSError: The file cannot be written.
    """
    n_frames = 0
    with replacing(path) as file:
        for snapshot in snapshots:
            file.write(_dumped(snapshot, n_frames).encode())
            n_frames += 1
    return n_frames


def _head(lines: Lines, units: str) -> _Head:
    """Take what stands above the particles; the units are said once in a file, if at all."""
    time = None
    while (header := lines.take("ITEM: TIMESTEP").strip()) != "ITEM: TIMESTEP":
        if header == "ITEM: UNITS":
            units = lines.take("the units").strip()
        elif header == "ITEM: TIME":
            (time,) = lines.numbers(["time"])
        else:
            raise lines.bad(f"expected ITEM: TIMESTEP; got {header[:60]!r}")
    step, line = lines.whole("the time step"), lines.number
    _item(lines, "NUMBER OF ATOMS")
    n = lines.whole("the number of atoms")
    if n < 1:
        raise lines.bad(f"the number of atoms must be at least 1; got {n}")
    words = _item(lines, "BOX BOUNDS")
    if "abc" in words:
        raise _triclinic(lines)
    boundaries = [word for word in words if word not in ("xy", "xz", "yz")] or ["pp"] * 3
    if len(boundaries) != 3 or not all(re.fullmatch("[pfsm]{2}", word) for word in boundaries):
        raise lines.bad(f"expected a boundary for every axis, such as pp pp ff; got {' '.join(words)[:60]!r}")
    bounds = np.array([_bounds(lines, axis, tilted="xy" in words) for axis in "xyz"])
    return _Head(
        step=step,
        time=time,
        units=units,
        line=line,
        n=n,
        periodic=[word == "pp" for word in boundaries],
        low=bounds[:, 0],
        edges=bounds[:, 1] - bounds[:, 0],
    )


def _item(lines: Lines, wanted: str) -> list[str]:
    """Take a header of a dump and return the words behind its name."""
    header = lines.take(f"ITEM: {wanted}")
    if not f"{header.rstrip()} ".startswith(f"ITEM: {wanted} "):
        raise lines.bad(f"expected ITEM: {wanted}; got {header[:60]!r}")
    return header.split()[1 + len(wanted.split()) :]


def _bounds(lines: Lines, axis: str, *, tilted: bool) -> list[float]:
    """Take the two ends of the box along an axis; of no length they may be along z, in two dimensions."""
    low, high, *tilt = lines.numbers([f"{axis}lo", f"{axis}hi", *(["tilt"] if tilted else [])])
    if any(tilt):
        raise _triclinic(lines)
    _check_length(lines, axis, low, high)
    return [low, high]


def _check_length(lines: Lines, axis: str, low: float, high: float) -> None:
    if high < low or (high == low and axis != "z"):
        raise lines.bad(f"the box must be of positive length along {axis}; got {low:g} to {high:g}")


def _triclinic(lines: Lines) -> BadTrajectoryError:
    return lines.bad(
        "the box is triclinic, and only rectangular boxes can be read: change_box all ortho, if that is possible"
    )


def _body(lines: Lines, head: _Head, known: tuple[str, ...], told: Told) -> Snapshot:
    """Take the particles of a frame of a dump."""
    names = _item(lines, "ATOMS")
    where = _coordinates(lines, names)
    first = lines.number + 1
    words = [place for place, name in enumerate(names) if name in _WORDS]
    values, texts = lines.table(head.n, names, words=words)
    columns = {
        name: lines.integers(name, values[:, place]) if name in _WHOLE else values[:, place]
        for place, name in enumerate(names)
        if place not in (*where, *words)
    }
    columns |= {names[place]: np.array(text) for place, text in zip(words, texts, strict=True)}
    positions = values[:, where]
    if _KINDS[names[where[0]]]:
        positions = head.low[: len(where)] + positions * head.edges[: len(where)]
    found, species = lines.species(_kinds(columns), known, told)
    with lines.about(first):
        return assemble(
            positions,
            species,
            low=head.low,
            edges=head.edges,
            periodic=head.periodic,
            columns=columns,
            told=told,
            names=found,
            step=head.step,
            time=head.time,
            attributes={"units": head.units} if head.units else {},
            path=lines.path,
            frame=lines.frame,
        )


def _coordinates(lines: Lines, names: Sequence[str]) -> list[int]:
    """Return the places of x, y and, if it is there, z, in whichever form the dump has them."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise lines.bad(f"column {twice[0]} occurs twice")
    if "type" not in names and "element" not in names:
        raise lines.bad(f"there is no column type or element; got {' '.join(names)}")
    for kind in _KINDS:
        form = [kind.replace("x", axis) for axis in "xyz"]
        if form[0] in names and form[1] in names:
            return [names.index(name) for name in form if name in names]
    raise lines.bad(f"there must be columns x y z, xu yu zu, xs ys zs or xsu ysu zsu; got {' '.join(names)}")


def _kinds(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Take the column that tells the species: the type, or the element where one goes with each type."""
    types, elements = columns.pop("type", None), columns.get("element")
    if types is None:
        return columns.pop("element")
    if elements is None:
        return types
    pairs = set(zip(types.tolist(), elements.tolist(), strict=True))
    if len(pairs) == len({one for one, _ in pairs}) == len({two for _, two in pairs}):
        return columns.pop("element")
    return types


def _data_head(lines: Lines) -> tuple[int, np.ndarray, str | None]:
    """Take the header of a data file; return the number of atoms, the bounds, and the first section's title."""
    n, bounds, at = 0, dict.fromkeys("xyz", (-0.5, 0.5)), 0
    while (line := lines.peek()) is not None:
        words = line.partition("#")[0].split()
        if words and words[0][0].isalpha():
            break
        lines.take("a header")
        if words[1:] == ["atoms"] and words[0].isdecimal() and len(words[0]) < 19:
            n, at = int(words[0]), lines.number
        elif len(words) == 4 and words[2:] in [[f"{axis}lo", f"{axis}hi"] for axis in "xyz"]:
            axis = words[2][0]
            bounds[axis] = (_number(lines, words[0]), _number(lines, words[1]))
            _check_length(lines, axis, *bounds[axis])
        elif words[-1:] in (["avec"], ["bvec"], ["cvec"], ["origin"]) or (
            words[3:] == ["xy", "xz", "yz"] and any(_number(lines, word) for word in words[:3])
        ):
            raise _triclinic(lines)
    if n < 1:
        raise lines.bad("the header must say how many atoms there are, at least 1", line=at or None)
    return n, np.array(list(bounds.values())), _next_section(lines)


def _number(lines: Lines, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise lines.bad(f"expected a finite number; got {word[:40]!r}")
    return value


def _next_section(lines: Lines) -> str | None:
    """Take lines up to the title of a section, which begins with a letter, and the blank line after it."""
    while (line := lines.peek()) is not None:
        lines.take("a section")
        if line[:1].isalpha():
            lines.skip_blank()
            return line
    return None


def _atom_columns(lines: Lines, style: str) -> list[str]:
    """Return what the columns of the section Atoms are, by the style it names or else by their number."""
    n = len((lines.peek() or "").partition("#")[0].split())
    if style not in _STYLES and style:
        raise lines.bad(f"atom style must be one of {', '.join(_STYLES)}; got {style[:40]!r}")
    if not style and n not in (5, 8):
        raise lines.bad("the section must name its atom style, as in 'Atoms # charge'")
    names = _STYLES[style or "atomic"].split()
    return names + ["ix", "iy", "iz"] * (n == len(names) + 3)


def _section(lines: Lines, n: int, names: list[str]) -> dict[str, np.ndarray]:
    values, _ = lines.table(n, names)
    return {
        name: lines.integers(name, values[:, place]) if name in _WHOLE else values[:, place]
        for place, name in enumerate(names)
    }


def _dumped(snapshot: Snapshot, place: int) -> str:
    """Return a frame as the text of a dump."""
    configuration, columns = snapshot.configuration, columns_of(snapshot)
    n, d = configuration.positions.shape
    low = np.array(snapshot.origin)
    periodic = [True] * d if configuration.periodic is None else configuration.periodic.tolist()
    numbered = all(name.isdecimal() for name in snapshot.names)
    kinds = np.array([int(name) if numbered else i + 1 for i, name in enumerate(snapshot.names)])
    positions = np.zeros((n, 3))
    positions[:, :d] = configuration.positions + low
    body: dict[str, Any] = {"id": columns.pop("id", np.arange(1, n + 1)), "type": kinds[configuration.species]}
    if not numbered:
        body["element"] = np.array(snapshot.names)[configuration.species]
        columns.pop("element", None)
    body |= {axis: positions[:, i] for i, axis in enumerate("xyz")}
    taken = sorted(set(columns) & set(body))
    if taken:
        raise ValueError(f"a dump has columns of its own called {' '.join(taken)}: rename those of the snapshot")
    words = [name for name, column in columns.items() if column.dtype.kind not in "biuf"]
    if words:
        raise ValueError(f"a dump cannot hold words: leave the column {words[0]} out")
    body |= columns
    bounds = [f"{a!r} {b!r}" for a, b in zip(low.tolist(), (low + configuration.box).tolist(), strict=True)]
    bounds += ["-0.5 0.5"] * (3 - d)
    head = [f"ITEM: TIME\n{snapshot.time!r}"] * (snapshot.time is not None)
    head += [
        f"ITEM: TIMESTEP\n{place if snapshot.step is None else snapshot.step}",
        f"ITEM: NUMBER OF ATOMS\n{n}",
        "ITEM: BOX BOUNDS " + " ".join("pp" if repeats else "ff" for repeats in [*periodic, *[True] * (3 - d)]),
        *bounds,
        "ITEM: ATOMS " + " ".join(body),
    ]
    return "\n".join([*head, *rows_of(body), ""])
