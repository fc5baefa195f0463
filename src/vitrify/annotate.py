"""Numbers of every particle, written beside the particles for a viewer such as OVITO.

Three formats, each with one frame after another and the columns under their own names: GSD (``log/particles/NAME``),
LAMMPS dump (one more word in ``ITEM: ATOMS``) and extended XYZ (one more entry of ``Properties``). Lengths are in
sigma_AA. GSD counts positions from the centre of the box, the other two from its corner; a two-dimensional box is 1
thick, with all particles in its middle for GSD and at z = 0 for the others.
"""

__all__ = ["Annotated", "write_dump", "write_extxyz", "write_gsd"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gsd.hoomd
import numpy as np
from jaxtyping import Float, Float64

from vitrify.system import Configuration

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAKEN = frozenset({"id", "type", "element", "species", "pos", "x", "y", "z"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotated:
    """One configuration and what is written beside its particles.

    Args:
        configuration: The particles.
        columns: A number of every particle, by name: letters, digits and underscores.
        step: Number of the frame, such as the time step or the run.

    Raises:
        ValueError: A name or a length does not fit.
    """

    configuration: Configuration
    columns: Mapping[str, Float[np.ndarray, " n"]]
    step: int = 0

    def __post_init__(self) -> None:
        n = len(self.configuration.positions)
        for name, values in self.columns.items():
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise ValueError(
                    f"columns must have names of letters, digits and underscores, other than "
                    f"{', '.join(sorted(_TAKEN))}; got {name!r}"
                )
            if len(values) != n:
                raise ValueError(f"columns must have a number for each of the {n} particles; {name} has {len(values)}")


def write_gsd(path: Path, frames: Sequence[Annotated], *, species: Sequence[str] = ("A", "B")) -> None:
    """Write frames as a GSD file whose columns are ``log/particles/NAME``.

    Args:
        path: The file; replaced if it exists.
        frames: The frames, in order.
        species: Name of each species.

    Raises:
        ValueError: A species has no name.
    """
    _check(frames, species)
    with gsd.hoomd.open(name=str(path), mode="w") as file:
        for one in frames:
            shown = one.configuration
            n, d = shown.positions.shape
            frame = gsd.hoomd.Frame()
            frame.configuration.step = one.step
            frame.configuration.dimensions = d
            frame.configuration.box = [*shown.box, *[1.0] * (3 - d), 0, 0, 0]
            frame.particles.N = n
            frame.particles.types = list(species)
            frame.particles.typeid = shown.species.astype(np.uint32)
            frame.particles.position = np.zeros((n, 3), np.float32)
            frame.particles.position[:, :d] = shown.positions - shown.box / 2
            frame.log = {f"particles/{name}": np.asarray(values) for name, values in one.columns.items()}
            file.append(frame)


def write_dump(path: Path, frames: Sequence[Annotated], *, species: Sequence[str] = ("A", "B")) -> None:
    """Write frames as a LAMMPS dump in units lj whose columns are further words of ``ITEM: ATOMS``.

    Types count from 1; ``element`` is the name of the species.

    Args:
        path: The file; replaced if it exists.
        frames: The frames, in order.
        species: Name of each species.

    Raises:
        ValueError: A species has no name.
    """
    _check(frames, species)
    lines = []
    for one in frames:
        shown = one.configuration
        low, high = np.zeros(3), _edges(shown)
        if shown.dimension == 2:
            low[2], high[2] = -0.5, 0.5
        lines += ["ITEM: UNITS", "lj", "ITEM: TIMESTEP", str(one.step)]
        lines += ["ITEM: NUMBER OF ATOMS", str(len(shown.positions))]
        lines += ["ITEM: BOX BOUNDS " + " ".join("pp" if repeats else "ff" for repeats in _periodic(shown))]
        lines += [f"{a:.17g} {b:.17g}" for a, b in zip(low, high, strict=True)]
        lines += [" ".join(["ITEM: ATOMS id type element x y z", *one.columns])]
        for number, (kind, words) in enumerate(zip(shown.species, _rows(one), strict=True), 1):
            lines.append(f"{number} {kind + 1} {species[kind]} {words}")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_extxyz(path: Path, frames: Sequence[Annotated], *, species: Sequence[str] = ("A", "B")) -> None:
    """Write frames as extended XYZ whose columns are further entries of ``Properties``.

    Args:
        path: The file; replaced if it exists.
        frames: The frames, in order.
        species: Name of each species.

    Raises:
        ValueError: A species has no name.
    """
    _check(frames, species)
    lines = []
    for one in frames:
        shown = one.configuration
        lattice = " ".join(f"{value:.17g}" for value in np.diag(_edges(shown)).ravel())
        properties = ":".join(["species:S:1:pos:R:3", *(f"{name}:R:1" for name in one.columns)])
        # a slab of one layer does not repeat along its third axis
        repeats = _periodic(shown)[: shown.dimension] + [False] * (3 - shown.dimension)
        pbc = " ".join("T" if axis else "F" for axis in repeats)
        lines += [str(len(shown.positions))]
        lines += [f'Lattice="{lattice}" Properties={properties} pbc="{pbc}" step={one.step}']
        lines += [f"{species[kind]} {words}" for kind, words in zip(shown.species, _rows(one), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _check(frames: Sequence[Annotated], species: Sequence[str]) -> None:
    most = max((int(one.configuration.species.max(initial=0)) for one in frames), default=0)
    if most >= len(species):
        raise ValueError(f"species must name {most + 1} species; got {list(species)}")


def _edges(shown: Configuration) -> Float64[np.ndarray, " 3"]:
    return np.append(shown.box.astype(np.float64), 1.0)[:3]


def _periodic(shown: Configuration) -> list[bool]:
    repeats = [True] * shown.dimension if shown.periodic is None else shown.periodic.tolist()
    return [*repeats, True][:3]


def _rows(one: Annotated) -> list[str]:
    """Return the three coordinates and the columns of every particle in words."""
    positions = one.configuration.positions
    solid = np.zeros((len(positions), 3))
    solid[:, : positions.shape[1]] = positions
    table = np.column_stack([solid, *one.columns.values()])
    return [" ".join(f"{value:.9g}" for value in row) for row in table]
