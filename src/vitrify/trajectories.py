"""Read and write trajectories by the suffix of their file: one iterator of frames for every format.

>>> from vitrify import trajectories
>>> sorted(trajectories.WRITERS)
['dump', 'gsd', 'xyz']
"""

__all__ = ["FORMATS", "READERS", "WRITERS", "beside", "format_of", "read", "write"]

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.columns_text import BEGINS, read_columns
from vitrify.gsd_frames import read_gsd, write_gsd
from vitrify.lammps_text import read_data, read_dump, write_dump
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told, assemble, named
from vitrify.text_lines import chunks
from vitrify.xyz_text import read_xyz, write_xyz

Reader = Callable[[Path, Told], Iterator[Snapshot]]
Writer = Callable[[Path, Iterable[Snapshot]], int]

FORMATS = {
    ".lammpstrj": "dump",
    ".lammpsdump": "dump",
    ".dump": "dump",
    ".data": "data",
    ".lmp": "data",
    ".gsd": "gsd",
    ".xyz": "xyz",
    ".extxyz": "xyz",
}
"""The format a suffix stands for, a last .gz or .zst left out."""

_SIGNATURES = {b"ITEM: ": "dump", b"\xdfe\xdfe\xdfe\xdfe": "gsd", BEGINS: "columns"}

_ASE = (
    "cfg", "cif", "extxyz", "gromacs", "gromos", "netcdftrajectory", "proteindatabank", "res", "traj", "v-sim",
    "vasp", "vasp-xdatcar", "xsf",
)  # fmt: skip
"""Formats that ASE reads; those of LAMMPS are not among them, and none that runs code."""

_BREAKS = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, AssertionError, EOFError)
"""What ASE raises on a damaged file."""


def read(path: Path, told: Told | None = None, *, form: str | None = None) -> Iterator[Snapshot]:
    """Yield the frames of a trajectory, one in memory at a time.

    Args:
        path: The file.
        told: What the user says about it: names of species, a cell, the dimension.
        form: One of `READERS`; by default it goes by the suffix, and for a suffix that is no format's by the content.

    Raises:
        BadTrajectoryError: The file is not of that format, or is damaged; it, and the line or the frame, are named.
        ValueError: There is no such format.
        OSError: The file cannot be read.
    """
    if form is not None and form not in READERS:
        raise ValueError(f"a format is one of {', '.join(READERS)}; got {form!r}")
    return _read(path, told or Told(), form)


def _read(path: Path, told: Told, form: str | None) -> Iterator[Snapshot]:
    n_frames = 0
    for snapshot in READERS[form or format_of(path)](path, told):
        n_frames += 1
        yield snapshot
    if not n_frames:
        raise BadTrajectoryError(f"{path}: the file has no frames")


def write(path: Path, snapshots: Iterable[Snapshot], *, form: str | None = None) -> int:
    """Write frames to a file, which appears whole or not at all; return their number.

    Args:
        path: The file.
        snapshots: The frames.
        form: One of `WRITERS`; by default it goes by the suffix.

    Raises:
        ValueError: There is no writer for the suffix, or the format cannot hold what the frames do.
        OSError: The file cannot be written.
    """
    form = form or FORMATS.get(_suffix(path), "")
    if form not in WRITERS or (form == "gsd" and _is_packed(path)):
        raise ValueError(
            f"{path} cannot be written: use a suffix of {', '.join(s for s, of in FORMATS.items() if of in WRITERS)}; "
            "those of text may be followed by .gz or .zst"
        )
    return WRITERS[form](path, snapshots)


def format_of(path: Path) -> str:
    """Return the format of a file, by its suffix and its first bytes.

    Raises:
        BadTrajectoryError: The two say different things, or neither says anything.
        OSError: The file cannot be read.
    """
    begins = next(chunks(path), b"")[:16]
    by_content = next((form for mark, form in _SIGNATURES.items() if begins.startswith(mark)), None)
    by_suffix = FORMATS.get(_suffix(path))
    if by_content is not None and by_suffix is not None and by_content != by_suffix:
        raise BadTrajectoryError(
            f"{path}: the suffix is that of {by_suffix}, but the file begins like one of {by_content}: rename it"
        )
    if by_suffix == "gsd" and begins:
        if _is_packed(path):
            raise BadTrajectoryError(f"{path}: a GSD file cannot be read packed: unpack it")
        if by_content != "gsd":
            raise BadTrajectoryError(f"{path}: this is no GSD file: its first bytes are not those of one")
    return by_suffix or by_content or "ase"


def beside(path: Path, word: str) -> Path:
    """Return the name, in the working folder, of a file made from another one, in its format if that can be written.

    Example:
        >>> str(beside(Path("runs/a.lammpstrj.gz"), "scored")), str(beside(Path("a.cif"), "scored"))
        ('a.scored.lammpstrj.gz', 'a.scored.extxyz')
    """
    packing = path.suffix if _is_packed(path) else ""
    plain = Path(path.name.removesuffix(packing))
    can = FORMATS.get(plain.suffix.lower()) in WRITERS
    return Path(f"{plain.stem}.{word}{plain.suffix + packing if can else '.extxyz'}")


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if _is_packed(path) else path).suffix.lower()


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in (".gz", ".zst")


def _read_ase(path: Path, told: Told) -> Iterator[Snapshot]:
    """Yield the frames of a file that ASE reads."""
    try:
        import ase.io
        from ase.io.formats import UnknownFileTypeError, filetype
    except ModuleNotFoundError as error:
        raise BadTrajectoryError(
            f"{path}: the suffix is none of {', '.join(FORMATS)}; for what ASE reads, install it: pip install ase"
        ) from error
    frame = 1
    known: tuple[str, ...] = ()
    try:
        kind = filetype(str(path))
        if kind not in _ASE:
            raise BadTrajectoryError(f"{path}: this is no trajectory of a known format (ASE takes it for {kind})")
        for atoms in ase.io.iread(str(path), index=":", format=kind):
            snapshot = _from_ase(atoms, path, frame, known, told)
            yield snapshot
            known, frame = snapshot.names, frame + 1
    except BadTrajectoryError:
        raise
    except (*_BREAKS, UnknownFileTypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadTrajectoryError(f"{path}, frame {frame}: ASE cannot read it ({error})") from error


def _from_ase(atoms: Any, path: Path, frame: int, known: tuple[str, ...], told: Told) -> Snapshot:
    cell = np.asarray(atoms.cell)
    if (cell != np.diag(np.diag(cell))).any():
        raise ValueError("the box is triclinic, and only rectangular boxes along x, y, z can be read")
    edges = np.diag(cell)
    if not edges.any() and told.cell:
        edges = np.array([*told.cell, *[0.0] * (3 - len(told.cell))])
    symbols = np.array(atoms.get_chemical_symbols())
    values, which = np.unique(symbols, return_inverse=True)
    names = named(values.tolist(), known, told)
    columns = {name: column for name, column in atoms.arrays.items() if name not in ("numbers", "positions")}
    return assemble(
        np.asarray(atoms.positions, float),
        np.array([names.index(name) for name in values.tolist()])[which],
        low=np.zeros(3),
        edges=edges,
        periodic=[bool(repeats) for repeats in atoms.pbc] if atoms.pbc.any() else [True] * 3,
        columns=columns,
        told=told,
        names=names,
        attributes={key: value for key, value in atoms.info.items() if isinstance(value, int | float | str)},
        path=path,
        frame=frame,
    )


READERS: dict[str, Reader] = {
    "dump": read_dump,
    "data": read_data,
    "gsd": read_gsd,
    "xyz": read_xyz,
    "columns": read_columns,
    "ase": _read_ase,
}
"""By the name of the format."""

WRITERS: dict[str, Writer] = {"dump": write_dump, "gsd": write_gsd, "xyz": write_xyz}
"""By the name of the format."""
