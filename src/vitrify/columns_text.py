"""Read and write coordinates as columns of plain text, one configuration a file, as the source log kept them.

::

    # type x y
    # box = 9.1287 9.1287
    # T = 0.05
    1 1.25 3.5
    2 0.75 8.0

The first line names the columns, and a file is known by it. Each further line that begins with ``#`` is
``key = value``; ``box`` holds the edges, in the unit of the coordinates, which are counted from the lower corner of the
box.
"""

__all__ = ["BEGINS", "read_columns", "write_columns"]

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.snapshots import Snapshot, Told, assemble
from vitrify.text_lines import Lines, replacing, rows_of

BEGINS = b"# type x y"
"""How such a file begins."""


def read_columns(path: Path, told: Told) -> Iterator[Snapshot]:
    """Yield the one configuration of a file of columns.

    Args:
        path: The file, plain, ``.gz`` or ``.zst``.
        told: What the user says about it; a file without a box needs a cell.

    Raises:
        BadTrajectoryError: The file is damaged, or it has no box and no cell was given.
        OSError: It cannot be read.
    """
    lines = Lines(path)
    axes = _axes(lines)
    edges, attributes = _said(lines, len(axes))
    if edges is None:
        if not told.cell:
            raise lines.bad("there is no line '# box = ...': say the edges of the box there, or give a cell")
        edges = np.array(told.cell)
    first = lines.number + 1
    n = _n_rows(path)
    if not n:
        raise lines.bad("the file has no particles")
    values, (kinds,) = lines.table(n, ["type", *axes], words=[0])
    names, species = lines.species(np.array(kinds), (), told)
    with lines.about(first):
        yield assemble(
            values[:, 1:],
            species,
            low=np.zeros(len(axes)),
            edges=edges,
            periodic=[True] * len(axes),
            columns={},
            told=told,
            names=names,
            attributes=attributes,
            path=path,
            frame=1,
        )


def write_columns(path: Path, snapshots: Iterable[Snapshot]) -> int:
    """Write one configuration as columns of text, and return 1; columns other than type and position have no place.

    Args:
        path: The file, packed if it ends in ``.gz`` or ``.zst``; it appears whole or not at all.
        snapshots: The configuration.

    Raises:
        ValueError: There is not one frame, or an attribute cannot stand in the file.
        OSError: The file cannot be written.
    """
    frames = list(snapshots)
    if len(frames) != 1:
        raise ValueError(f"{path}: a file of columns holds one configuration; got {len(frames)}")
    configuration = frames[0].configuration
    axes = "xyz"[: configuration.dimension]
    said = {"box": " ".join(repr(edge) for edge in configuration.box.tolist())}
    for key, value in frames[0].attributes.items():
        if not re.fullmatch(r"[^\s=]+", key) or re.search(r"[\r\n]", str(value)):
            raise ValueError(f"a file of columns cannot hold the attribute {key!r}: {str(value)[:40]!r}")
        said.setdefault(key, str(value))
    columns = {"type": np.array(frames[0].names)[configuration.species]}
    columns |= {axis: configuration.positions[:, place] for place, axis in enumerate(axes)}
    head = [f"# type {' '.join(axes)}", *(f"# {key} = {value}" for key, value in said.items())]
    with replacing(path) as file:
        file.write("\n".join([*head, *rows_of(columns), ""]).encode())
    return 1


def _axes(lines: Lines) -> list[str]:
    """Take the first line, and return the axes it names."""
    words = lines.take("# type x y").split()
    if words not in (["#", "type", "x", "y"], ["#", "type", "x", "y", "z"]):
        raise lines.bad(f"the first line must be '# type x y' or '# type x y z'; got {' '.join(words)[:40]!r}")
    return words[2:]


def _said(lines: Lines, d: int) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Take the other lines that begin with #, and return the edges of the box and what else they say."""
    edges, attributes = None, {}
    while (line := lines.peek()) is not None and line.startswith("#"):
        lines.take("a line of the head")
        key, equals, text = (part.strip() for part in line[1:].partition("="))
        if not equals:
            continue
        if key != "box":
            attributes[key] = _value(text)
            continue
        try:
            edges = np.array([float(word) for word in text.split()])
        except ValueError:
            edges = np.zeros(0)
        if len(edges) != d or not np.isfinite(edges).all():
            raise lines.bad(f"box must be {d} edge lengths; got {text[:40]!r}")
    return edges, attributes


def _value(text: str) -> Any:
    """Return what a line of the head says, as a number if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _n_rows(path: Path) -> int:
    """Return the number of lines that are of particles."""
    lines, n = Lines(path), 0
    while (line := lines.peek()) is not None:
        n += bool(line.strip()) and not line.startswith("#")
        lines.take("a line")
    return n
