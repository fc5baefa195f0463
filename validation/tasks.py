"""What is computed, one resumable task each, kept under one folder: coolings, series of a liquid, anything else.

A task is a frozen settings object. Its file is named by the hash of its settings, so a second call finds it and an
interrupted one goes on: coolings record by record (:mod:`vitrify.store`), series block by block, the rest task by task.
"""

__all__ = ["Cooling", "Engine", "Kept", "Series", "Task", "keep"]

import hashlib
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from validation import faults
from validation.faults import Fault
from validation.states import mixture_of, state_of
from vitrify import dynamics, parallel, store
from vitrify.dynamics import State
from vitrify.parallel import Tick
from vitrify.potentials import Mixture
from vitrify.protocols import Cool
from vitrify.simulate import Simulate
from vitrify.system import Configuration, stream

_VERSION = 1
_CHECKPOINT_S = 10.0
_BLOCK = 500
_SPEED = {"ka2d": 20e6, "ka3d": 3e6}  # particle-steps per second of one core, for the progress shown

Arrays = dict[str, np.ndarray]


class Task(Protocol):
    """Something computed once and kept."""

    @property
    def cost(self) -> float:
        """Rough seconds of one core, for the order of work and the progress shown."""

    def done(self, root: Path) -> bool:
        """Return whether the outcome is kept."""

    def keep(self, root: Path, tick: Tick) -> None:
        """Compute the outcome and keep it."""


def keep(root: Path, tasks: Sequence[Task], *, n_workers: int, progress: Tick) -> None:
    """Compute every task that is not kept, the longest first, over processes.

    Args:
        root: Folder of the outcomes.
        tasks: What to compute.
        n_workers: Processes.
        progress: Called with the cost of what is done.
    """
    root.mkdir(parents=True, exist_ok=True)
    waiting = sorted((task for task in tasks if not task.done(root)), key=lambda task: -task.cost)
    parallel.spread(_keep, [(root, task) for task in waiting], n_workers=n_workers, progress=progress)


def _keep(job: tuple[Path, Task], tick: Tick) -> None:
    root, task = job
    task.keep(root, tick)


class Engine(BaseModel):
    """What is held to the references: the engine of the package on one seed, or with one fault planted in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 2026
    fault: Fault | None = None

    def mixture(self, name: str) -> Mixture:
        """Return the mixture that the engine is handed."""
        return faults.mixture(mixture_of(name), self.fault)


class Cooling(BaseModel):
    """One run of ka2d cooled linearly from T = 2, kept as the package itself keeps runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_particles: int
    n_steps: int
    n_frames: int
    run: int
    engine: Engine = Engine()

    @field_validator("engine")
    @classmethod
    def _right(cls, engine: Engine) -> Engine:
        if engine.fault is not None:
            raise ValueError(f"fault must be None, for the package's own runs have no faults; got {engine.fault!r}")
        return engine

    @property
    def mixture(self) -> str:
        """Name of the mixture."""
        return self.settings.mixture

    @property
    def settings(self) -> Simulate:
        """The ensemble of the run; the only place that knows how a cooling is set up."""
        ramp = Cool(T_start=2.0, T_end=0.05, n_steps=self.n_steps, n_frames=self.n_frames)
        return Simulate(n_particles=self.n_particles, n_runs=1, n_equilibrate=10_000, cool=ramp)

    @property
    def cost(self) -> float:
        return self.n_particles * ((self.n_steps + 10_000) / _SPEED["ka2d"] + self.n_frames * 6e-5)

    def done(self, root: Path) -> bool:
        return self._folder(root).finished

    def keep(self, root: Path, tick: Tick) -> None:
        store.keep_run(self._job(root), lambda amount: tick(amount * self.cost / self.n_frames))

    def table(self, root: Path) -> Arrays:
        """Return temperatures and energies, record by record."""
        return self._folder(root).table()

    def configuration(self, root: Path, k: int) -> Configuration:
        """Return the thermal configuration of record ``k``."""
        mixture = mixture_of(self.settings.mixture)
        return Configuration(
            positions=self._folder(root).positions("thermal", [k])[0].astype(float),
            species=mixture.species(self.n_particles),
            box=mixture.box(self.n_particles),
        )

    def state(self, root: Path, k: int) -> State:
        """Return the thermal configuration of record ``k`` as a state at rest."""
        return state_of(self.configuration(root, k), mixture_of(self.settings.mixture))

    def _job(self, root: Path) -> store.Job:
        return store.Job(root=root, settings=self.settings, seed=self.engine.seed, run=self.run)

    def _folder(self, root: Path) -> store.RunFolder:
        return store.RunFolder(root, self.settings, seed=self.engine.seed, run=self.run)


class Kept(BaseModel):
    """A task whose outcome is a few arrays in one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def cost(self) -> float:
        """Rough seconds of one core."""
        return 1.0

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return the outcome; ``tick`` may be called with parts of the cost."""
        raise NotImplementedError

    def done(self, root: Path) -> bool:
        return self._path(root).exists()

    def keep(self, root: Path, tick: Tick) -> None:
        if not self.done(root):
            write_arrays(self._path(root), self.compute(root, tick))

    def load(self, root: Path) -> Arrays:
        """Return the outcome of a finished task."""
        return read_arrays(self._path(root))

    def _path(self, root: Path, suffix: str = ".npz") -> Path:
        # a setting that has its default is left out, so that a new one leaves what is kept as it is
        chosen = self.model_dump_json(exclude_defaults=True)
        settings = f"{type(self).__name__} {_VERSION} {store.VERSION} {chosen}"
        return root / f"{type(self).__name__.lower()}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}{suffix}"


class Series(Kept):
    """A liquid cooled linearly from T = 2, left alone, and then sampled at one temperature.

    Args:
        mixture: Name of the mixture.
        n_particles: Number of particles.
        T: Temperature of the samples.
        n_ramp: Steps from T = 2 to T.
        n_wait: Steps at T before the first sample.
        n_samples: Samples.
        every: Steps between samples.
        keep_every: Every so many samples, positions and velocities are kept too.
        run: Number of the run.
        dt: Time step.
        engine: What runs it.
    """

    mixture: str
    n_particles: int
    T: float
    n_ramp: int
    n_wait: int
    n_samples: int
    every: int
    keep_every: int
    run: int
    dt: float = 0.005
    engine: Engine = Engine()

    @property
    def n_steps(self) -> int:
        """Time steps in all."""
        return self.n_ramp + self.n_wait + self.n_samples * self.every

    @property
    def cost(self) -> float:
        return self.n_particles * self.n_steps / _SPEED[self.mixture]

    def compute(self, root: Path, tick: Tick) -> Arrays:
        """Return ``shifted``, ``T_kinetic`` per sample, and ``positions``, ``velocities`` of those kept.

        Interrupted, it leaves its exact state and samples, and goes on from there to the same bits.
        """
        partial = self._path(root, ".part.npz")
        plan = self._plan()
        if partial.exists():
            kept = read_arrays(partial)
            done, state = int(kept["done"]), self.state(kept["position"], kept["velocity"])
            samples = {name: list(kept[name]) for name in ("shifted", "T_kinetic", "positions", "velocities")}
        else:
            rng = self._stream("start")
            mixture, hot = self.engine.mixture(self.mixture), faults.bath(2.0, self.engine.fault)
            done, state = 0, dynamics.start(mixture, n_particles=self.n_particles, T=hot, rng=rng)
            samples = {name: [] for name in ("shifted", "T_kinetic", "positions", "velocities")}
        written, began = time.monotonic(), done
        try:
            for T_from, T_to, n_steps, sampled in plan[done:]:
                rng = self._stream(f"block{done}")
                state = dynamics.advance(state, n_steps=n_steps, dt=self.dt, T_from=T_from, T_to=T_to, tau=0.5, rng=rng)
                if sampled:
                    self._sample(state, samples)
                done += 1
                tick(self.cost * n_steps / self.n_steps)
                if time.monotonic() - written > _CHECKPOINT_S:
                    self._checkpoint(partial, done, state, samples)
                    written = time.monotonic()
        finally:
            if began < done < len(plan):
                self._checkpoint(partial, done, state, samples)
        partial.unlink(missing_ok=True)
        return _stacked(samples, state)

    def state(self, positions: np.ndarray, velocities: np.ndarray) -> State:
        """Return a state of this system, as the engine knows it."""
        mixture = self.engine.mixture(self.mixture)
        edge = float(mixture.box(self.n_particles)[0])
        return State(mixture=mixture, edge=edge, positions=positions, velocities=velocities)

    def states(self, root: Path) -> list[State]:
        """Return the states kept."""
        kept = self.load(root)
        return [self.state(*pair) for pair in zip(kept["positions"], kept["velocities"], strict=True)]

    def _stream(self, part: str) -> np.random.Generator:
        return stream(self.engine.seed, self.mixture, self.n_particles, str(self.T), self.run, part)

    def configuration(self, root: Path, k: int) -> Configuration:
        """Return the state kept under the number ``k``."""
        return dynamics.configuration(self.states(root)[k])

    def _plan(self) -> list[tuple[float, float, int, bool]]:
        """Return the blocks: temperature at either end, steps, and whether a sample ends it."""
        n = self.n_ramp // _BLOCK
        bath = 2.0 + (self.T - 2.0) * np.arange(n + 1) / max(n, 1)
        ramp = [(float(a), float(b), _BLOCK, False) for a, b in pairwise(bath)]
        wait = [(self.T, self.T, _BLOCK, False)] * (self.n_wait // _BLOCK)
        plan = ramp + wait + [(self.T, self.T, self.every, True)] * self.n_samples
        fault = self.engine.fault
        return [(faults.bath(a, fault), faults.bath(b, fault), n_steps, sampled) for a, b, n_steps, sampled in plan]

    def _sample(self, state: State, samples: dict[str, list]) -> None:
        if len(samples["shifted"]) % self.keep_every == 0:
            samples["positions"].append(state.positions)
            samples["velocities"].append(state.velocities)
        samples["shifted"].append(dynamics.energies(state).shifted)
        samples["T_kinetic"].append(state.temperature)

    def _checkpoint(self, path: Path, done: int, state: State, samples: dict[str, list]) -> None:
        last = {"done": np.array(done), "position": state.positions, "velocity": state.velocities}
        write_arrays(path, _stacked(samples, state) | last)


def _stacked(samples: dict[str, list], state: State) -> Arrays:
    n, d = state.positions.shape
    return {
        "shifted": np.array(samples["shifted"], float),
        "T_kinetic": np.array(samples["T_kinetic"], float),
        "positions": np.array(samples["positions"], np.int32).reshape(-1, n, d),
        "velocities": np.array(samples["velocities"], np.float32).reshape(-1, n, d),
    }


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays to one file, whole or not at all."""
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(beside, path)


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of one file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
