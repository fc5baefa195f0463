"""Read and write GSD files of the HOOMD schema.

References:
    https://gsd.readthedocs.io/en/stable/schema-hoomd.html
"""

__all__ = ["read_gsd", "write_gsd"]

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gsd.fl
import gsd.hoomd
import numpy as np

from vitrify.snapshots import BadTrajectoryError, Snapshot, Told, assemble, named

_VECTORS = {"velocity": ("vx", "vy", "vz"), "image": ("ix", "iy", "iz")}
_SCALARS = ("charge", "diameter", "mass", "body")
_LOG = "log/particles/"


def read_gsd(path: Path, told: Told) -> Iterator[Snapshot]:
    """Yield the frames of a GSD file.

    Args:
        path: The file.
        told: What the user says about it.

    Raises:
        BadTrajectoryError: The file is damaged, or its box is triclinic.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:  # a file that is not there, or not ours, is said to be that
        if not file.read(1):
            raise BadTrajectoryError(f"{path}: the file is empty")
    frame, last = 1, -1
    known: tuple[str, ...] = ()
    try:
        with gsd.fl.open(str(path), "r") as file:
            if file.schema != "hoomd":
                raise BadTrajectoryError(f"{path}: the schema of a trajectory is hoomd; got {file.schema[:40]!r}")
            if not file.nframes:
                raise BadTrajectoryError(f"{path}: the file has no frames")
            logged = list(file.find_matching_chunk_names("log/"))
            for frame in range(1, file.nframes + 1):
                snapshot = _frame(file, path, frame, logged, known, told)
                if snapshot.step is not None and snapshot.step <= last:
                    how = "repeats" if snapshot.step == last else "goes back from"
                    raise ValueError(f"time step {snapshot.step} {how} {last}: give each run a file of its own")
                known, last = snapshot.names, snapshot.step if snapshot.step is not None else last
                yield snapshot
    except BadTrajectoryError:
        raise
    except (ValueError, KeyError, RuntimeError, OSError, MemoryError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadTrajectoryError(f"{path}, frame {frame}: {reason}") from error


def write_gsd(path: Path, snapshots: Iterable[Snapshot]) -> int:
    """Write frames as GSD, whose positions are single precision and counted from the box's centre; return their number.

    Args:
        path: The file; it appears whole or not at all.
        snapshots: The frames.

    Raises:
        ValueError: A column of words cannot stand in the file.
        OSError: The file cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    n_frames = 0
    try:
        with beside.open("wb"), gsd.hoomd.open(str(beside), "w") as file:
            for snapshot in snapshots:
                file.append(_gsd_frame(snapshot, n_frames))
                n_frames += 1
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return n_frames


def _frame(file: Any, path: Path, frame: int, logged: list[str], known: tuple[str, ...], told: Told) -> Snapshot:
    """Return a frame; what it does not hold is that of the first."""

    def chunk(name: str, otherwise: Any = None) -> Any:
        for place in (frame - 1, 0):
            if file.chunk_exists(place, name):
                return file.read_chunk(place, name)
        return otherwise

    n = int(np.ravel(chunk("particles/N", [0]))[0])
    positions = np.asarray(chunk("particles/position", np.zeros((0, 3))), float)
    kinds = np.asarray(chunk("particles/typeid", np.zeros(n if n == len(positions) else 0, int)))
    box = np.asarray(chunk("configuration/box", [1, 1, 1, 0, 0, 0]), float).ravel()
    if n < 1 or positions.shape != (n, 3) or kinds.shape != (n,) or box.shape != (6,):
        raise ValueError(f"particles/N, position, typeid and configuration/box do not go together for {n} particles")
    flat = int(np.ravel(chunk("configuration/dimensions", [3]))[0]) == 2
    if np.any(box[3:4] if flat else box[3:]):
        raise ValueError("the box is triclinic, and only rectangular boxes can be read")
    names = _types(chunk("particles/types"))
    if kinds.max() >= len(names):
        raise ValueError(f"typeid must be below the number of types, {len(names)}; got {kinds.max()}")
    logs = {name: values for name in logged if (values := chunk(name)) is not None}
    scalars = {name[4:]: log.ravel()[0].item() for name, log in logs.items() if log.size == 1 and _LOG not in name}
    time = scalars.pop("time", None)
    order = named(names, known, told)
    edges = box[:3]
    step = chunk("configuration/step", 0 if frame == 1 else None)
    if flat:
        positions = positions[:, :2]
    return assemble(
        positions,
        np.array([order.index(name) for name in names])[kinds],
        low=-edges / 2,
        edges=edges,
        periodic=[True] * 3,
        columns=_columns(chunk, logs, n),
        told=told,
        names=order,
        step=None if step is None else int(np.ravel(step)[0]),
        time=None if time is None else float(time),
        attributes=scalars,
        path=path,
        frame=frame,
    )


def _types(table: Any) -> list[str]:
    """Return the names of the types: rows of characters that end with a zero."""
    if table is None:
        return ["A"]
    rows = np.atleast_2d(np.asarray(table)).astype(np.uint8)
    names = [bytes(row).partition(b"\0")[0].decode() for row in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"types must have different names; got {names}")
    return names


def _sized(values: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}; got {values.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite")
    return np.asarray(values)


def _columns(chunk: Callable[[str], Any], logs: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """Return what a frame holds per particle beside positions and types."""
    columns: dict[str, np.ndarray] = {}
    for vector, parts in _VECTORS.items():
        values = chunk(f"particles/{vector}")
        if values is not None and (vector == "velocity" or np.any(values)):
            columns |= dict(zip(parts, _sized(values, vector, (n, 3)).T, strict=True))
    for name in _SCALARS:
        values = chunk(f"particles/{name}")
        if values is not None:
            columns[name] = _sized(values, name, (n,))
    for name, log in logs.items():
        if name.startswith(_LOG):
            columns[name.removeprefix(_LOG)] = _sized(log, name, (n, *log.shape[1:]))
    for name in {"id", "ix", "iy", "iz"} & set(columns):
        columns[name] = columns[name].astype(np.int64)
    return columns


def _gsd_frame(snapshot: Snapshot, place: int) -> gsd.hoomd.Frame:
    configuration, columns = snapshot.configuration, dict(snapshot.columns)
    n, d = configuration.positions.shape
    if configuration.periodic is not None:
        raise ValueError("a GSD file has periodic boxes only: write a LAMMPS dump or extended XYZ")
    frame = gsd.hoomd.Frame()
    frame.configuration.step = place if snapshot.step is None else snapshot.step
    frame.configuration.dimensions = d
    frame.configuration.box = [*configuration.box.tolist(), *[1.0] * (3 - d), 0, 0, 0]
    frame.particles.N = n
    frame.particles.types = list(snapshot.names)
    frame.particles.typeid = configuration.species
    centred = np.zeros((n, 3), np.float32)
    centred[:, :d] = configuration.positions - configuration.box / 2
    frame.particles.position = centred
    for vector, parts in _VECTORS.items():
        if all(part in columns for part in parts[:d]):
            values = [columns.pop(part, np.zeros(n)) for part in parts]
            setattr(frame.particles, vector, np.stack(values, axis=1))
    for name in _SCALARS:
        if name in columns and columns[name].ndim == 1:
            setattr(frame.particles, name, columns.pop(name))
    frame.log = {f"particles/{name}": _number(name, column) for name, column in columns.items()}
    scalars = dict(snapshot.attributes) | ({} if snapshot.time is None else {"time": snapshot.time})
    frame.log |= {name: np.array([value], float) for name, value in scalars.items() if isinstance(value, int | float)}
    return frame


def _number(name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind not in "biuf":
        raise ValueError(f"a GSD file cannot hold words: leave the column {name} out")
    return column.astype(np.uint8) if column.dtype.kind == "b" else column
