"""Configurations that others made: the energies they report, and the minima below them.

The folder of these files is not part of the project; where it is absent the rows are left out and the reason is told.
"""

__all__ = ["SUBJECT", "comparisons", "read_dump", "read_xyz", "rows"]

import gzip
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float

from validation import faults, sources
from validation.faults import Fault
from validation.rows import Allowance, Estimate, Reference, Row, Spread, mean, row_of
from validation.states import mixture_of, state_of
from validation.tasks import Arrays, Kept, Task
from vitrify import dynamics
from vitrify.parallel import Tick
from vitrify.potentials import energies
from vitrify.system import Configuration

SUBJECT = "Configurations of others"
_PYMATTERSIM = "github.com/yuanchaohu/pymattersim, tests"
_GAMDPY = "gamdpy, examples"
_SUM = Allowance(size=1e-6, reason="positions in 32 bits")
_DIGITS = Allowance(size=2e-4, reason="digits of the file")
_ABOUT = Allowance(size=0.01, reason='known as "about"')
_RANGE = Allowance(size=0.015, reason="half the range of the frames")
_BASIN = Allowance(size=0.01, reason="two digits, and another basin")
_THERMAL = Spread(sd=0.037, df=50)
"""Of the energy of one frame of 1000 particles at T = 0.6."""
_FILES = {
    "ka2d_s": ("ka2d_s.lammpstrj", "ka2d", True),
    "ka3d_s": ("ka3d_s.lammpstrj", "ka3d", True),
    "ka3d_T2.0": ("ka3d_T2.0.xyz.gz", "ka3d", False),
}
"""File, mixture, and whether its frames are minimised."""


class Others(Kept):
    """Energies and minima of one file's configurations; its size stands for its content."""

    path: str
    size: int
    mixture: str
    minimised: bool
    fault: Fault | None = None

    @property
    def cost(self) -> float:
        return 10.0

    def compute(self, root: Path, tick: Tick) -> Arrays:  # noqa: ARG002
        """Return, frame by frame, ``plain``, ``engine``, ``reported`` and ``e_is``, all shifted; nan where unknown."""
        mixture, path = mixture_of(self.mixture), Path(self.path)
        dump = path.suffix == ".lammpstrj"
        frames = [(frame, None) for frame in read_dump(path, mixture.dimension)] if dump else list(read_xyz(path))
        found = []
        for frame, reported in frames:
            state = replace(state_of(frame, mixture), mixture=faults.mixture(mixture, self.fault))
            minimum = dynamics.minimise(state, dynamics.Fire()).energies.shifted if self.minimised else np.nan
            known = np.nan if reported is None else reported.mean()
            found.append((energies(frame, mixture).shifted, dynamics.energies(state).shifted, known, minimum))
            tick(self.cost / len(frames))
        return dict(zip(("plain", "engine", "reported", "e_is"), np.array(found).T, strict=True))


def comparisons(data: Path, *, fault: Fault | None = None) -> list[Task]:
    """Return what is read, if the folder is there."""
    return list(_files(data, fault).values())


def rows(data: Path, root: Path, *, fault: Fault | None = None) -> list[Row]:
    """Return the rows of the table; every task must be kept."""
    kept = {name: task.load(root) for name, task in _files(data, fault).items()}
    found = [_engine(name, one["engine"], one["plain"]) for name, one in kept.items()]
    if not kept:
        return found
    two, three, hot = (kept[name] for name in _FILES)
    reported = Estimate(value=float((hot["plain"] - hot["reported"]).mean()))
    minima = Estimate(value=float(three["e_is"].mean()))
    first = Estimate(value=float(two["e_is"][0]))
    return [
        *found,
        _row(
            "ka3d_T2.0: U/N shifted minus the energies in the file", reported, 0.0, _GAMDPY, _DIGITS, len(hot["plain"])
        ),
        _row(
            "ka3d_s: mean U/N shifted", mean(three["plain"], _THERMAL), -6.66, _PYMATTERSIM, _ABOUT, len(three["plain"])
        ),
        _row("ka3d_s: e_IS shifted", minima, -7.595, sources.MEASURED, _RANGE, len(three["e_is"])),
        _row("ka2d_s: e_IS shifted, first frame", first, -3.52, sources.MEASURED, _BASIN, 1),
    ]


def _files(data: Path, fault: Fault | None) -> dict[str, Others]:
    if not all((data / name).exists() for name, _, _ in _FILES.values()):
        return {}
    given = None if fault == "bath" else fault  # nothing here has a bath
    return {
        name: Others(
            path=str(data / file),
            size=(data / file).stat().st_size,
            mixture=mixture,
            minimised=minimised,
            fault=given,
        )
        for name, (file, mixture, minimised) in _FILES.items()
    }


def read_dump(path: Path, d: int) -> Iterator[Configuration]:
    """Yield the frames of a LAMMPS dump with columns ``id type x y z``, in order of ``id``."""
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if not line.startswith("ITEM: NUMBER OF ATOMS"):
            continue
        n = int(next(lines))
        next(lines)
        bounds = np.array([next(lines).split()[:2] for _ in range(3)], float)[:d]
        columns = next(lines).split()[2:]
        table = np.array([row.split() for row in islice(lines, n)], float)
        table = table[table[:, columns.index("id")].argsort()]
        yield Configuration(
            positions=table[:, [columns.index(axis) for axis in "xyz"[:d]]] - bounds[:, 0],
            species=table[:, columns.index("type")].astype(int) - 1,
            box=bounds[:, 1] - bounds[:, 0],
        )


def read_xyz(path: Path) -> Iterator[tuple[Configuration, Float[np.ndarray, " n"]]]:
    """Yield the frames of a gamdpy ``xyz.gz`` file and its energies per particle."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        while head := file.readline().strip():
            words = dict(word.split("=", 1) for word in file.readline().split() if "=" in word)
            columns = words["columns"].split(",")
            box = np.array(words["sim_box"].split(",")[1:], float)
            table = np.array([row.split() for row in islice(file, int(head))], float)
            positions = table[:, [columns.index(axis) for axis in "xyz"]] + box / 2
            species = table[:, columns.index("type")].astype(int)
            yield Configuration(positions=positions, species=species, box=box), table[:, columns.index("pe")]


def _engine(name: str, engine: Float[np.ndarray, " f"], plain: Float[np.ndarray, " f"]) -> Row:
    """Return the row of the engine's single precision against the plain double-precision sum."""
    largest = Estimate(value=float(np.abs(engine / plain - 1).max()))
    label = f"{name}: U/N of the engine, largest relative difference from the plain sum"
    return _row(label, largest, 0.0, "vitrify.potentials.energies", _SUM, len(plain))


def _row(name: str, ours: Estimate, reference: float, source: str, allowance: Allowance, n_frames: int) -> Row:
    n = f"{n_frames} frame{'s' * (n_frames > 1)}"
    return row_of(SUBJECT, name, ours, Reference(value=reference, source=source), allowance, n=n)
