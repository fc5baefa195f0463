"""What is kept on disk: runs in a signac data space, checkpoints, and files written whole or not at all.

One run is one folder, named by the hash of its settings::

    workspace/<hash>/thermal.gsd      trajectory, one frame per record, flushed at every frame
                     inherent.gsd     its inherent structures
                     restart.npy      exact state after the last record kept; removed when the run is complete
                     energies.h5      per-record table, written when the run is complete
                     signac_job_document.json   wall time, versions, machine

Records are appended first and ``restart.npy`` is replaced after them, so a process killed at any moment loses at most
the record in hand: the next call repeats it, to the same bits.
"""

__all__ = [
    "VERSION",
    "Checkpoints",
    "DamagedFileError",
    "Job",
    "RunFolder",
    "is_finished",
    "keep_run",
    "load",
    "locked",
    "n_kept",
    "read_json",
    "seconds",
    "versions",
    "write_json",
    "write_text",
]

import contextlib
import io
import json
import os
import pickle
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import filelock
import gsd.fl
import gsd.hoomd
import h5py
import numpy as np
import signac

from vitrify.dataset import Ensemble
from vitrify.dynamics import State
from vitrify.potentials import MIXTURES
from vitrify.simulate import Frame, Simulate, cool

VERSION = 1
"""Bumped when the same settings would give another trajectory."""

_RESTART = [("k", np.int64), ("edge", np.float64), ("simulate_s", np.float64), ("minimise_s", np.float64)]

_PATIENCE_S = 20.0  # for a killed process's last write to end

_SCALARS = ("T", "e_pot_unshifted", "e_pot_shifted", "e_is_unshifted", "e_is_shifted", "max_force", "converged")


class DamagedFileError(ValueError):
    """A file in the data space cannot be what was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run of an ensemble, and the data space it belongs in."""

    root: Path
    settings: Simulate
    seed: int
    run: int


class RunFolder:
    """The folder of one run, held by one process at a time.

    Use as a context: entering waits for the folder's lock, leaving closes the files.

    Args:
        root: Root of the data space.
        settings: The ensemble.
        seed: The study's seed.
        run: Number of the run.
    """

    def __init__(self, root: Path, settings: Simulate, *, seed: int, run: int) -> None:
        self._settings = settings
        self._project = signac.init_project(str(root))
        self._job = self._project.open_job(_statepoint(settings, seed=seed, run=run))
        self.path = Path(self._job.path)
        self._open = contextlib.ExitStack()
        self._files: tuple[Any, Any] | None = None
        self._seconds = {"simulate_s": 0.0, "minimise_s": 0.0}

    def __enter__(self) -> "RunFolder":
        self.path.mkdir(parents=True, exist_ok=True)
        self._open.enter_context(locked(self.path))
        try:
            self._job.init()
        except signac.errors.JobsCorruptedError:  # killed while the settings were being written
            (self.path / "signac_statepoint.json").unlink()
            self._job.init()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._files = None

    @property
    def finished(self) -> bool:
        """Whether every record of the run is kept."""
        return (self.path / "energies.h5").exists()

    def last(self) -> tuple[int, State] | None:
        """Return the last record kept and its exact state, or ``None`` before the first.

        Raises:
            DamagedFileError: The restart file cannot be read.
        """
        path = self.path / "restart.npy"
        if not path.exists():
            return None
        try:
            kept = np.load(io.BytesIO(path.read_bytes()))
            state = State(
                mixture=MIXTURES[self._settings.mixture],
                edge=float(kept["edge"]),
                positions=kept["positions"],
                velocities=kept["velocities"],
            )
            self._seconds = {name: float(kept[name]) for name in self._seconds}
        except (ValueError, IndexError, EOFError) as error:
            raise DamagedFileError(self._advice(path, error)) from error
        return int(kept["k"]), state

    def append(self, frame: Frame) -> None:
        """Keep one record; returns once it is on disk.

        Raises:
            DamagedFileError: A trajectory does not hold the records before this one.
            OSError: The disk is full, or not ours to write; what was kept before is intact.
        """
        thermal, inherent = self._trajectories(frame.k)
        scalars = {"T": frame.T, "T_kinetic": frame.state.temperature} | _named("e_pot", frame.energies)
        _append(thermal, frame.k, frame.state, scalars, self._step(frame.k))
        minimum = frame.minimum
        scalars = {"max_force": minimum.max_force, "converged": minimum.converged} | _named("e_is", minimum.energies)
        scalars["n_evaluations"] = minimum.n_evaluations
        _append(inherent, frame.k, minimum.state, scalars, self._step(frame.k))
        shape = frame.state.positions.shape
        kept = np.zeros((), np.dtype([*_RESTART, ("positions", np.int32, shape), ("velocities", np.float32, shape)]))
        kept["k"], kept["edge"] = frame.k, frame.state.edge
        kept["positions"], kept["velocities"] = frame.state.positions, frame.state.velocities
        for name in self._seconds:
            self._seconds[name] += getattr(frame, name)
            kept[name] = self._seconds[name]
        buffer = io.BytesIO()
        np.save(buffer, kept)
        _write(self.path / "restart.npy", buffer.getvalue())

    def finish(self) -> None:
        """Write the table of energies and the run's record; afterwards the run is :attr:`finished`."""
        n = self._settings.cool.n_frames
        table: dict[str, np.ndarray] = {}
        for name, keys in (
            ("thermal", ("T", "T_kinetic", "e_pot_unshifted", "e_pot_shifted")),
            ("inherent", ("e_is_unshifted", "e_is_shifted", "max_force", "converged", "n_evaluations")),
        ):
            with self._read(name) as file:
                table |= {key: np.array([file.read_chunk(i, f"log/{key}")[0] for i in range(n)]) for key in keys}
        table["converged"] = table["converged"].astype(bool)
        self._job.document.update(
            {
                **self._seconds,
                "machine": platform.platform(),
                "versions": versions(),
            }
        )
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, column in table.items():
                file.create_dataset(name, data=column)
        _write(self.path / "energies.h5", buffer.getvalue())
        (self.path / "restart.npy").unlink(missing_ok=True)

    def table(self) -> dict[str, np.ndarray]:
        """Return the per-record table of a finished run: temperatures, energies, largest force, convergence.

        Raises:
            DamagedFileError: The table cannot be read.
        """
        path = self.path / "energies.h5"
        try:
            with h5py.File(path, "r") as file:
                return {name: column[()] for name, column in file.items()}
        except OSError as error:
            raise DamagedFileError(self._advice(path, error)) from error

    def seconds(self) -> dict[str, float]:
        """Return the seconds a finished run spent simulating and minimising."""
        return {name: float(self._job.document[name]) for name in ("simulate_s", "minimise_s")}

    def positions(self, name: Literal["thermal", "inherent"], k: Sequence[int]) -> np.ndarray:
        """Return the positions of records ``k``, shape (len(k), n, d), float32, in [0, L).

        Raises:
            DamagedFileError: The trajectory cannot be read.
        """
        d = MIXTURES[self._settings.mixture].dimension
        with self._read(name) as file:
            edge = np.float32(file.read_chunk(0, "configuration/box")[0])
            centred = np.stack([file.read_chunk(record - 1, "particles/position")[:, :d] for record in k])
        inside = centred + edge / np.float32(2)
        return np.where(inside >= edge, inside - edge, np.maximum(inside, np.float32(0))).astype(np.float32)

    def _trajectories(self, k: int) -> tuple[Any, Any]:
        if self._files is None:
            self._files = (self._open_for_writing("thermal", k), self._open_for_writing("inherent", k))
        return self._files

    def _open_for_writing(self, name: str, k: int) -> Any:
        path = self.path / f"{name}.gsd"
        try:
            file = gsd.hoomd.open(str(path), "w" if k == 1 else "r+")
        except (RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DamagedFileError(self._advice(path, error)) from error
        self._open.callback(file.close)
        if not k - 1 <= len(file) <= k:
            raise DamagedFileError(self._advice(path, f"it holds {len(file)} records where {k - 1} were kept"))
        return file

    @contextlib.contextmanager
    def _read(self, name: str) -> Iterator[Any]:
        path = self.path / f"{name}.gsd"
        try:
            with gsd.fl.open(str(path), "r") as file:
                yield file
        except (RuntimeError, OSError, KeyError) as error:
            raise DamagedFileError(self._advice(path, error)) from error

    def _step(self, k: int) -> int:
        ramp = self._settings.cool
        return self._settings.n_equilibrate + k * (ramp.n_steps // ramp.n_frames)

    def _advice(self, path: Path, reason: object) -> str:
        return (
            f"{path} is damaged ({reason}): delete the folder {self.path} and run the same command to compute it again"
        )


class Checkpoints:
    """The ``last`` and ``best`` state of one training, each replaced whole.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, which: Literal["last", "best"]) -> dict[str, Any] | None:
        """Return a saved state, or ``None``; only tensors and plain values are ever read."""
        import torch  # slow to import, and simulating needs none of it

        path = self._folder / f"{which}.pt"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise DamagedFileError(
                f"{path} is damaged ({reason}): delete the folder {self._folder} to train again"
            ) from error
        return state

    def save(self, which: Literal["last", "best"], state: dict[str, Any]) -> None:
        """Replace a saved state."""
        import torch

        buffer = io.BytesIO()
        torch.save(state, buffer)
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._folder / f"{which}.pt", buffer.getvalue())


def load(root: Path, settings: Simulate, *, seed: int, k: Sequence[int]) -> Ensemble:
    """Return a finished ensemble: the energies of every record, the positions of records ``k``.

    Raises:
        ValueError: A run is not finished.
        DamagedFileError: A file cannot be read.
    """
    folders = [RunFolder(root, settings, seed=seed, run=run) for run in range(settings.n_runs)]
    missing = [run for run, folder in enumerate(folders) if not folder.finished]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(folders)} runs are not finished, run {missing[0]} first: simulate them"
        )
    tables = [folder.table() for folder in folders]
    mixture = MIXTURES[settings.mixture]
    columns: dict[str, Any] = {name: np.stack([table[name] for table in tables]) for name in _SCALARS}
    columns["T"] = columns["T"][0]
    return Ensemble(
        thermal=np.stack([folder.positions("thermal", k) for folder in folders]),
        inherent=np.stack([folder.positions("inherent", k) for folder in folders]),
        species=mixture.species(settings.n_particles),
        box=mixture.box(settings.n_particles),
        k=np.array(k),
        **columns,
    )


def n_kept(job: Job) -> int:
    """Return how many records of a run are kept."""
    folder = _folder(job)
    if folder.finished:
        return job.settings.cool.n_frames
    last = folder.last()
    return 0 if last is None else last[0]


def is_finished(job: Job) -> bool:
    """Return whether every record of a run is kept."""
    return _folder(job).finished


def seconds(job: Job) -> dict[str, float]:
    """Return the seconds a finished run took: ``simulate_s`` and ``minimise_s``."""
    return _folder(job).seconds()


def keep_run(job: Job, tick: Callable[[float], None]) -> None:
    """Simulate what is missing of one run and keep it; ``tick(1)`` follows every record.

    Raises:
        DamagedFileError: A file of an earlier call cannot be read.
        TimeoutError: Another process is at work on the run.
        OSError: The disk is full, or not ours to write.
    """
    with _folder(job) as folder:
        if folder.finished:
            return
        for frame in cool(job.settings, seed=job.seed, run=job.run, after=folder.last()):
            folder.append(frame)
            tick(1)
        folder.finish()


def _folder(job: Job) -> RunFolder:
    return RunFolder(job.root, job.settings, seed=job.seed, run=job.run)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however it ends.

    Raises:
        TimeoutError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=_PATIENCE_S)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise TimeoutError(f"{folder} is in use by another process: wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def versions() -> dict[str, str]:
    """Return the versions of the packages that can change a result."""
    names = ("vitrify", "numpy", "numba", "llvmlite", "scikit-learn", "freud-analysis", "gsd", "signac")
    known = {"python": ".".join(map(str, sys.version_info[:3]))} | {name: version(name) for name in names}
    with contextlib.suppress(ImportError):
        known["torch"] = version("torch")
    return known


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or ``None`` where there is none.

    Raises:
        DamagedFileError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged ({error}): delete it and run the same command again") from error


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file."""
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole: another process sees the old content or the new."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    os.replace(beside, path)


def _statepoint(settings: Simulate, *, seed: int, run: int) -> dict[str, Any]:
    """Return what names a run: everything that changes its trajectory, and nothing else."""
    return settings.model_dump(mode="json", exclude={"n_runs"}) | {"seed": seed, "run": run, "version": VERSION}


def _named(prefix: str, energies: Any) -> dict[str, float]:
    return {f"{prefix}_unshifted": energies.unshifted, f"{prefix}_shifted": energies.shifted}


def _append(file: Any, k: int, state: State, scalars: dict[str, float], step: int) -> None:
    """Append record ``k`` unless it is already there, and flush."""
    if len(file) >= k:
        return
    n, d = state.positions.shape
    frame = gsd.hoomd.Frame()
    frame.configuration.step = step
    frame.configuration.dimensions = d
    frame.configuration.box = [state.edge] * d + [1.0] * (3 - d) + [0, 0, 0]
    frame.particles.N = n
    frame.particles.types = ["A", "B"]
    frame.particles.typeid = state.mixture.species(n)
    centred = np.zeros((n, 3), np.float32)
    # fixed point counted from the corner; GSD counts from the centre
    centred[:, :d] = (state.positions.view(np.uint32).astype(float) / 2.0**32 - 0.5) * state.edge
    frame.particles.position = centred
    frame.log = {name: np.array([value], dtype=np.float64) for name, value in scalars.items()}
    file.append(frame)
    file.flush()
