"""What LAMMPS says about our configurations: minima, means, drifts and displacements, each one kept task."""

__all__ = ["Averages", "Drift", "Minimum", "Snapshot", "Travel", "energy_series", "thermo"]

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import lammps

from validation.states import mixture_of, unwrapped
from validation.tasks import Arrays, Cooling, Kept, Series
from vitrify import dynamics
from vitrify.parallel import Tick
from vitrify.potentials import energies
from vitrify.system import Configuration

_NORM = "thermo_modify norm yes format float %.15g\n"
_DUMP = "write_dump all custom end.txt id {axes} modify sort id format float %.17g\n"


class Minimum(Kept):
    """Where LAMMPS's conjugate gradients end from one record of a cooling, or from one state that a series kept.

    Args:
        source: The run.
        k: The record of a cooling, or the number of the state.
        shift: Minimise the shifted potential to ``max |F|`` of ours; else the unshifted one with the tolerances of
            the source log: energy 1e-10, force 1e-5.
        path: Keep energy and largest force of every iteration, and the last positions.
    """

    source: Cooling | Series
    k: int
    shift: bool
    path: bool = False

    @property
    def cost(self) -> float:
        return self.source.n_particles * (1.1e-3 if self.shift else 3e-4)

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``unshifted``, ``shifted``, ``max_force``, and the path and ``positions`` if asked for."""
        configuration = self.source.configuration(root, self.k)
        mixture = mixture_of(self.source.mixture)
        tolerances, shift = ("0 2e-3", "yes") if self.shift else ("1e-10 1e-5", "no")
        d = mixture.dimension
        commands = (
            f"pair_modify shift {shift}\n{_flat(d)}thermo_style custom step pe fnorm fmax\n{_NORM}"
            f"thermo {1 if self.path else 100000}\nmin_style cg\nminimize {tolerances} 20000 200000\n"
            + _DUMP.format(axes="x y z fx fy fz" if d == 3 else "x y fx fy")
        )
        with tempfile.TemporaryDirectory() as folder:
            printed = lammps.run(Path(folder), configuration, mixture, commands)
            end = np.loadtxt(Path(folder) / "end.txt", skiprows=9)[:, 1:]
        tick(self.cost)
        last = Configuration(positions=end[:, :d], species=configuration.species, box=configuration.box)
        both, table = energies(last, mixture), thermo(printed)
        outcome = {
            "unshifted": np.array(both.unshifted),
            "shifted": np.array(both.shifted),
            "max_force": np.array(np.linalg.norm(end[:, d:], axis=1).max()),
        }
        assert np.isclose(table[-1, 1], both.shifted if self.shift else both.unshifted, atol=1e-6)
        return outcome | ({"path": table, "positions": last.positions} if self.path else {})


class Averages(Kept):
    """Mean potential energy (shifted) and virial pressure of LAMMPS's own run from the first sample of a series."""

    series: Series

    @property
    def cost(self) -> float:
        return (
            2
            * self.series.n_particles
            * self.series.n_samples
            * self.series.every
            / 1e7
            * (4 if self.series.mixture == "ka3d" else 1)
        )

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``shifted`` and ``pressure``, one entry per sample."""
        T, every = self.series.T, self.series.every
        state = self.series.states(root)[0]
        commands = (
            f"{_flat(state.mixture.dimension)}fix bath all nvt temp {T} {T} 0.5\n"
            f"thermo_style custom step pe press\n{_NORM}thermo {every}\nrun {every * self.series.n_samples}\n"
        )
        table = _run(self.series.mixture, state, commands)
        tick(self.cost)
        return {"shifted": table[1:, 1], "pressure": table[1:, 2]}


class Snapshot(Kept):
    """Energy and forces of LAMMPS on the first sample of a series, beside ours."""

    series: Series

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``ours`` and ``lammps``, shifted energy per particle, and the largest ``force_error``, relative."""
        state, mixture = self.series.states(root)[0], mixture_of(self.series.mixture)
        d = mixture.dimension
        commands = f"thermo_style custom step pe\n{_NORM}run 0\n" + _DUMP.format(axes="fx fy fz")
        with tempfile.TemporaryDirectory() as folder:
            printed = lammps.run(Path(folder), dynamics.configuration(state), mixture, commands)
            theirs = np.loadtxt(Path(folder) / "end.txt", skiprows=9)[:, 1 : 1 + d]
        tick(self.cost)
        error = np.abs(dynamics.forces(state) - theirs).max() / np.abs(theirs).max()
        ours = np.array(dynamics.energies(state).shifted)
        return {"ours": ours, "lammps": thermo(printed)[-1, 1], "force_error": np.array(error)}


class Drift(Kept):
    """Total energy per particle at constant energy from one state of a series, ours and LAMMPS's."""

    series: Series
    state: int
    n_steps: int
    n_samples: int
    dt: float = 0.005

    @property
    def cost(self) -> float:
        return self.series.n_particles * self.n_steps / 6e6

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``ours`` and ``lammps``, one entry per sample, the start first."""
        state = self.series.states(root)[self.state]
        every = self.n_steps // self.n_samples
        ours = energy_series(state, n_samples=self.n_samples, every=every, dt=self.dt)
        tick(self.cost / 3)
        commands = (
            f"{_flat(state.mixture.dimension)}fix free all nve\nthermo_style custom step etotal\n{_NORM}"
            f"thermo {every}\nrun {self.n_steps}\n"
        )
        table = _run(self.series.mixture, state, commands, dt=self.dt)
        tick(self.cost * 2 / 3)
        return {"ours": ours, "lammps": table[:, 1]}


class Travel(Kept):
    """Mean squared displacement at constant energy from one state of a series, ours and LAMMPS's."""

    series: Series
    state: int
    n_steps: int
    every: int

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``ours`` and ``lammps`` at every ``every`` steps, zero first, over all particles."""
        state = self.series.states(root)[self.state]
        commands = (
            f"{_flat(state.mixture.dimension)}fix free all nve\ncompute moved all msd\n"
            f"thermo_style custom step c_moved[4]\n{_NORM}thermo {self.every}\nrun {self.n_steps}\n"
        )
        table = _run(self.series.mixture, state, commands)
        seen = [state.positions]
        rng = np.random.default_rng(0)  # draws nothing that acts: there is no thermostat
        for _ in range(self.n_steps // self.every):
            state = dynamics.advance(state, n_steps=self.every, dt=0.005, T_from=1.0, T_to=1.0, tau=None, rng=rng)
            seen.append(state.positions)
        moved = unwrapped(np.array(seen), state.edge)
        tick(self.cost)
        return {"ours": (moved**2).sum(axis=2).mean(axis=1), "lammps": table[:, 1]}


def energy_series(state: dynamics.State, *, n_samples: int, every: int, dt: float) -> np.ndarray:
    """Return the total energy per particle, shifted, at constant energy: at the start and after every ``every``."""
    rng, energy = np.random.default_rng(0), [_total(state)]
    for _ in range(n_samples):
        state = dynamics.advance(
            state, n_steps=every, dt=dt, T_from=1.0, T_to=1.0, tau=None, every=np.gcd(every, 20), rng=rng
        )
        energy.append(_total(state))
    return np.array(energy)


def thermo(printed: str) -> np.ndarray:
    """Return the last table of numbers that LAMMPS printed, one row per line of it."""
    table: list[list[float]] = []
    for line in printed.splitlines():
        words = line.split()
        if words and words[0] == "Step":
            table = []
        else:
            try:
                numbers = [float(word) for word in words]
            except ValueError:
                continue
            if len(numbers) > 1 and (not table or len(numbers) == len(table[0])):
                table.append(numbers)
    return np.array(table)


def _total(state: dynamics.State) -> float:
    kinetic = 0.5 * (state.velocities.astype(float) ** 2).sum() / len(state.positions)
    return dynamics.energies(state).shifted + float(kinetic)


def _run(mixture: str, state: dynamics.State, commands: str, **settings: Any) -> np.ndarray:
    """Return what LAMMPS prints of a state, whatever mixture the engine that made it was handed."""
    with tempfile.TemporaryDirectory() as folder:
        return thermo(
            lammps.run(
                Path(folder),
                dynamics.configuration(state),
                mixture_of(mixture),
                commands,
                velocities=state.velocities,
                **settings,
            )
        )


def _flat(dimension: int) -> str:
    return "fix flat all enforce2d\n" if dimension == 2 else ""
