"""One frame of a trajectory somebody else made, and how a reader puts one together.

A reader yields one :class:`Snapshot` after another and holds one at a time. Whatever a file cannot mean is a
:class:`BadTrajectoryError` that names the file and the line or the frame.

A configuration is two-dimensional if the user or the file says so (no z column, ``dimensions = 2``), or if all of its
particles, more than one, have the same z; the third edge of the box, be it 0, 1 or tiny, then means nothing.
"""

__all__ = ["BadTrajectoryError", "Snapshot", "Told", "assemble", "columns_of", "named"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.system import Configuration

_FAR = 1e6
"""Box lengths beyond which an unwrapped coordinate is taken for damage: little of its digits would be left."""


class BadTrajectoryError(ValueError):
    """A file of a trajectory cannot be read as what it should be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the user says about a file.

    Args:
        species: Names of the species, the first being A; ``()`` takes those in the file, in their order.
        cell: Edge lengths, for a format that has none.
        dimension: 2 or 3; ``None`` goes by the rule above.
    """

    species: tuple[str, ...] = ()
    cell: tuple[float, ...] = ()
    dimension: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.species)) < len(self.species):
            raise ValueError(f"species must be different names; got {list(self.species)}")
        if self.cell and not (len(self.cell) in (2, 3) and all(0 < edge < np.inf for edge in self.cell)):
            raise ValueError(f"cell must be 2 or 3 positive edge lengths; got {list(self.cell)}")
        if self.dimension not in (None, 2, 3):
            raise ValueError(f"dimension must be 2 or 3; got {self.dimension}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One frame, sorted by the particles' ids where the file has them.

    Args:
        configuration: Positions counted from the box's lower corner and wrapped, species, box.
        names: Name of species 0, 1, ... in the file.
        step: Time step, if the file says it.
        time: Time, if the file says it, in the file's unit.
        columns: What else the file holds per particle, by the file's names: arrays of shape (n,) or (n, c). ``ix``,
            ``iy``, ``iz`` are the box images that a particle has crossed.
        attributes: What else the file says of the frame, such as an energy.
        origin: Where the file puts the lower corner of the box.
        path: The file.
        frame: Number of the frame in it, from 1.
    """

    configuration: Configuration
    names: tuple[str, ...]
    step: int | None = None
    time: float | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    origin: tuple[float, ...]
    path: Path = Path()
    frame: int = 1


def named(present: Sequence[str], known: tuple[str, ...], told: Told) -> tuple[str, ...]:
    """Return the names of the species: those told, or those known from earlier frames and then the new ones.

    Raises:
        ValueError: A name is not one of those told.
    """
    if not told.species:
        return (*known, *(name for name in present if name not in known))
    for name in present:
        if name not in told.species:
            raise ValueError(f"species {name!r} is not one of those declared, {' '.join(told.species)}")
    return told.species


def assemble(
    positions: np.ndarray,
    species: np.ndarray,
    *,
    low: np.ndarray,
    edges: np.ndarray,
    periodic: Sequence[bool],
    columns: Mapping[str, np.ndarray],
    told: Told,
    **frame: Any,
) -> Snapshot:
    """Return a frame from what its file holds: sorted by ``id``, wrapped, in 2 or 3 dimensions.

    Args:
        positions: Coordinates as in the file, 2 or 3 columns.
        species: Index into the names.
        low: Lower corner of the box.
        edges: Its edge lengths.
        periodic: Which axes repeat.
        columns: The other columns, images among them.
        told: What the user says.
        frame: The other fields of :class:`Snapshot`.

    Raises:
        ValueError: The frame cannot be one.
    """
    n, d = len(positions), _dimension(positions, told)
    if n == 0:
        raise ValueError("the frame has no particles")
    edges, low, axes = np.asarray(edges, float)[:d], np.asarray(low, float)[:d], "xyz"[:d]
    if len(edges) < d:
        raise ValueError(f"a {d}-dimensional configuration needs {d} edge lengths; got {len(edges)}")
    for axis, edge in zip(axes, edges, strict=True):
        if not 0 < edge < np.inf:
            raise ValueError(f"the box must be of positive length along {axis}; got {edge:g}")
    columns = {name: column for name, column in columns.items() if name not in ("ix", "iy", "iz")[d:]}
    if "id" in columns:
        order = np.argsort(columns["id"], kind="stable")
        ids = columns["id"][order]
        twice = np.flatnonzero(ids[1:] == ids[:-1])
        if twice.size:
            raise ValueError(f"particle id {ids[twice[0]]} occurs twice")
        positions, species = positions[order], species[order]
        columns = {name: column[order] for name, column in columns.items()}
    repeats = np.array(periodic, bool)[:d]
    inside = np.ascontiguousarray(positions[:, :d], float) - low
    far = np.flatnonzero((np.abs(inside) > _FAR * edges).any(axis=1))
    if far.size:
        raise ValueError(f"a particle is more than {_FAR:g} boxes away, at {inside[far[0]].tolist()}")
    configuration = Configuration(
        positions=inside, species=species, box=edges, periodic=None if repeats.all() else repeats
    )
    crossed = np.where(repeats, np.rint((inside - configuration.positions) / edges), 0).astype(np.int64)
    for place, axis in enumerate(axes):
        if f"i{axis}" in columns or crossed.any():
            columns[f"i{axis}"] = columns.get(f"i{axis}", np.zeros(n, np.int64)) + crossed[:, place]
    return Snapshot(configuration=configuration, columns=columns, origin=tuple(low.tolist()), **frame)


def _dimension(positions: np.ndarray, told: Told) -> int:
    """Return 2 or 3 by the rule of this module."""
    if positions.shape[1] == 2:
        if told.dimension == 3:
            raise ValueError("there is no z, but 3 dimensions were declared")
        return 2
    z = positions[:, 2]
    flat = len(z) > 0 and float(np.ptp(z)) <= 1e-6 * max(1.0, float(np.abs(z).max()))
    if told.dimension == 2 and not flat:
        raise ValueError(f"2 dimensions were declared, but z goes from {z.min():g} to {z.max():g}")
    if told.dimension is not None:
        return told.dimension
    return 2 if flat and len(z) > 1 else 3


def columns_of(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Return the columns of a frame, those of several components as one column for each, ``name[1]`` and so on."""
    flat = {}
    for name, column in snapshot.columns.items():
        if column.ndim == 1:
            flat[name] = column
        else:
            flat |= {f"{name}[{i + 1}]": part for i, part in enumerate(column.reshape(len(column), -1).T)}
    return flat
