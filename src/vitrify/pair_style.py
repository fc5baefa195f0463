"""Energies and inherent structures by a potential that the user states in LAMMPS's own words.

LAMMPS works in the user's units on the user's pair style, with masses of 1, which no minimum depends on. Energies are
taken twice, with the pairs as they are cut off and shifted to zero there; a style that cannot be shifted gives both the
same. The descent is by conjugate gradients, as in :mod:`vitrify.lammps`.
"""

__all__ = ["evaluate"]

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrify import lammps
from vitrify.dynamics import Fire, Minimum, State, configuration, fixed_point
from vitrify.material import Material, PairStyle
from vitrify.potentials import Energies
from vitrify.system import Configuration

_SKIN = {"lj": 0.3, "real": 2.0, "metal": 2.0}
_ENERGIES = """pair_modify shift yes
run 0
print "vitrify: energy $(pe:%.17g)"
pair_modify shift no
run 0
print "vitrify: energy $(pe:%.17g)"
"""
_WRITE = "write_dump all custom end.txt id xs ys zs fx fy fz modify sort id format float %.17g\n"


def evaluate(state: State, fire: Fire) -> tuple[Energies, Minimum]:
    """Return the energies of a state of a user's own material, and its inherent structure.

    Args:
        state: In units of sigma_AA and epsilon_AA.
        fire: Tolerances and the most evaluations of the descent.

    Raises:
        ValueError: The material has no potential.
        FileNotFoundError: LAMMPS is not installed.
        RuntimeError: LAMMPS has failed; its own words are quoted.
    """
    material = state.mixture
    potential = material.potential if isinstance(material, Material) else None
    if potential is None:
        raise ValueError(f"{material.name} has no pair style")
    n, d = state.positions.shape
    with tempfile.TemporaryDirectory(prefix="vitrify-lammps-") as name:
        folder = Path(name)
        lammps.write_data(folder / "start.data", _in_units_of(state, potential), n_kinds=material.n_species)
        (folder / "in.lmp").write_text(_script(potential, d, fire), encoding="utf-8")
        printed = lammps.execute(folder / "in.lmp")
        table = np.array([line.split() for line in (folder / "end.txt").read_text("utf-8").splitlines()[9:]], float)
    if not np.isfinite(table).all():
        raise FloatingPointError("the forces of the pair style are not all finite: particles may overlap")
    found = [float(word) / (n * potential.epsilon) for word in re.findall(r"^vitrify: energy (\S+)", printed, re.M)]
    before, after = (Energies(shifted=found[at], unshifted=found[at + 1]) for at in (0, 2))
    left = table[:, 4 : 4 + d] * potential.sigma / potential.epsilon
    rms, max_force = float(np.sqrt((left**2).mean())), float(np.sqrt((left**2).sum(axis=1).max()))
    minimum = Minimum(
        state=replace(state, positions=fixed_point(table[:, 1 : 1 + d]), velocities=np.zeros_like(state.velocities)),
        energies=after,
        max_force=max_force,
        n_evaluations=int(re.findall(r"Iterations, force evaluations = \d+ (\d+)", printed)[-1]),
        converged=rms < fire.force_rms and max_force < fire.force_max,
    )
    return before, minimum


def _in_units_of(state: State, potential: PairStyle) -> Configuration:
    """Return a state's configuration in the user's unit of length."""
    shown = configuration(state)
    return replace(shown, positions=shown.positions * potential.sigma, box=shown.box * potential.sigma)


def _script(potential: PairStyle, d: int, fire: Fire) -> str:
    """Return what LAMMPS is to do."""
    unit = potential.epsilon / potential.sigma
    # no force above this, and both tolerances are met
    largest = 0.9 * unit * min(fire.force_max, fire.force_rms * float(np.sqrt(d)))
    commands = [
        f"units {potential.units}",
        f"dimension {d}",
        "atom_style atomic",
        "read_data start.data",
        f"pair_style {_found(potential.style)}",
        *(f"pair_coeff {_found(line)}" for line in potential.coefficients),
        f"neighbor {_SKIN[potential.units]} bin",
        "neigh_modify delay 0 every 1 check yes",
        f"thermo {fire.max_evaluations}",
        "thermo_modify lost error norm no",
        *(["fix flat all enforce2d"] if d == 2 else []),
        _ENERGIES + "pair_modify shift yes",
        "min_style cg",
        f"min_modify dmax {0.1 * potential.sigma:.17g} norm max",
        f"minimize 0 {largest:.17g} {fire.max_evaluations} {fire.max_evaluations}",
        _ENERGIES + _WRITE,
    ]
    return "\n".join(commands)


def _found(line: str) -> str:
    """Return a line in which files are named by their whole path: LAMMPS works in a folder of its own."""
    return " ".join(f'"{Path(word).resolve()}"' if Path(word).is_file() else word for word in line.split())
