"""Frames of a LAMMPS dump per second of one core, beside ASE and MDAnalysis, and the memory that a large dump takes.

All programs take turns on one generated file, in processor time; each reads it whole, to positions and species in
memory. ``python -m benchmarks trajectories`` takes these rows alone, ``python -m benchmarks.trajectories 2`` that of
the memory for a dump of 2 GB.
"""

__all__ = ["dump", "measure", "memory", "reading"]

import importlib.util
import multiprocessing
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.engine import Row, row
from vitrify.trajectories import read

_TURNS = 5
_LIMIT_MB = 500.0


def measure() -> list[Row]:
    """Return a row for every peer and form of the file, and one of the memory."""
    rows = [one for n, n_frames in ((1000, 100), (20_000, 5)) for one in reading(n=n, n_frames=n_frames)]
    return [*rows, memory(gigabytes=0.2)]


def reading(*, n: int, n_frames: int) -> list[Row]:
    """Return frames per second beside every peer that is installed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.lammpstrj"
        dump(path, n=n, n_frames=n_frames)
        programs: dict[str, Callable[[Path], int]] = {"": _ours}
        programs |= {"ASE": _ase} if importlib.util.find_spec("ase") else {}
        programs |= {"MDAnalysis": _mdanalysis} if importlib.util.find_spec("MDAnalysis") else {}
        turns = [{name: _rate(partial(work, path), n_frames) for name, work in programs.items()} for _ in range(_TURNS)]
    name = f"reading a dump, N = {n}, {n_frames} frames"
    return [row(name, "frames/s", peer, [t[""] for t in turns], [t[peer] for t in turns]) for peer in programs if peer]


def memory(*, gigabytes: float) -> Row:
    """Return the largest resident size of a process that reads a large dump."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.lammpstrj"
        dump(path, n=10_000, n_frames=1)
        dump(path, n=10_000, n_frames=max(1, round(gigabytes * 1e9 / path.stat().st_size)))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            megabytes = pool.apply(_resident, (path,))
    return row(f"memory to read a dump of {gigabytes:g} GB", "MB", "limit", [megabytes], [_LIMIT_MB])


def dump(path: Path, *, n: int, n_frames: int) -> None:
    """Write a dump of random positions as LAMMPS does: six digits, the particles of a frame in no order."""
    rng = np.random.default_rng(1)
    L = (n / 1.2) ** (1 / 3)
    lines = [
        f"{i + 1} {1 + (i >= 0.8 * n)} {x:.6g} {y:.6g} {z:.6g} "
        for i, (x, y, z) in enumerate((rng.random((n, 3)) * L).tolist())
    ]
    bounds = f"0.0000000000000000e+00 {L:.16e}\n" * 3
    with path.open("w") as file:
        for frame in range(n_frames):
            at = int(rng.integers(n))
            file.write(
                f"ITEM: TIMESTEP\n{frame * 100}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n{bounds}"
            )
            file.write("ITEM: ATOMS id type x y z \n" + "\n".join([*lines[at:], *lines[:at]]) + "\n")


def _rate(work: Callable[[], int], n_frames: int) -> float:
    began = time.process_time()
    assert work() == n_frames
    return n_frames / (time.process_time() - began)


def _ours(path: Path) -> int:
    return sum(1 for _ in read(path))


def _ase(path: Path) -> int:
    from ase.io import iread

    return sum(1 for _ in iread(str(path), index=":", format="lammps-dump-text"))


def _mdanalysis(path: Path) -> int:
    from MDAnalysis import Universe

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = Universe(str(path), format="LAMMPSDUMP", topology_format="LAMMPSDUMP")
        return sum(1 for _ in universe.trajectory)


def _resident(path: Path) -> float:
    _ours(path)
    return float(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


if __name__ == "__main__":
    print(memory(gigabytes=float(sys.argv[1])))
