"""What is kept on disk: runs in a signac data space, checkpoints, and files written whole or not at all.

One run is one folder, named by the hash of its settings::

    workspace/<hash>/thermal.gsd      trajectory, one frame per record
                     inherent.gsd     its inherent structures
                     restart.npy      exact state after the last record kept; removed when the run is complete
                     energies.h5      per-record table, written when the run is complete
                     signac_job_document.json   wall time, versions, machine
                     left_bath.json    why the run was stopped, if it left its bath; it is not continued

Records are committed in groups, a second or two of work in each: the trajectories are appended and flushed first, then
``restart.npy`` is replaced. Only then are they acknowledged. A process killed at any moment loses at most the group in
hand: the next call repeats it, to the same bits.
"""

__all__ = [
    "VERSION",
    "Checkpoints",
    "DamagedFileError",
    "Job",
    "RunFolder",
    "begin",
    "keep_run",
    "keep_runs",
    "load",
    "locked",
    "read_json",
    "seconds",
    "unfinished",
    "versions",
    "write_json",
    "write_text",
]

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import pickle
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from vitrify.dataset import Ensemble, Input
from vitrify.dynamics import State
from vitrify.simulate import Batched, Frame, Simulate, records, records_together
from vitrify.stability import BlownUpError

VERSION = 2
"""Bumped when the same settings would give another trajectory."""

_RESTART = [("k", np.int64), ("edge", np.float64), ("simulate_s", np.float64), ("minimise_s", np.float64)]

_SPACE, _STOPPED = ".signac", "left_bath.json"

_PATIENCE_S = 20.0  # for a killed process's last write to end

_COMMIT_S = 1.5
"""Work that may be lost: records are written together at this interval, because each writing takes milliseconds ..."""

_COMMIT_RUNS = 8
"""... and at as many times this interval as there are such runs in a batch, so that a device does not wait for them."""

_COMMIT_BYTES = 16 * 2**20
"""Records of one run are written when they are this large together ..."""

_BATCH_BYTES = 512 * 2**20
"""... and those of a batch of runs when they are this large together."""

_SCALARS = ("T", "e_pot_unshifted", "e_pot_shifted", "e_is_unshifted", "e_is_shifted", "max_force", "converged", "edge")


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

    Use as a context: entering waits for the folder's lock, leaving writes what waits, whatever the reason for leaving.

    Args:
        root: Root of the data space.
        settings: The ensemble.
        seed: The study's seed.
        run: Number of the run.
        room: Bytes of records that may wait to be written.
        patience_s: Seconds that they may wait; 1.5 without.
        project: The data space, if it is open already.
    """

    def __init__(
        self,
        root: Path,
        settings: Simulate,
        *,
        seed: int,
        run: int,
        room: int = _COMMIT_BYTES,
        patience_s: float | None = None,
        project: signac.Project | None = None,
    ) -> None:
        self._settings = settings
        # not "project or": a project is true or false by a count of its runs
        space = begin(root) if project is None else project
        self._job = space.open_job(_statepoint(settings, seed=seed, run=run))
        self.path = Path(self._job.path)
        self._open = contextlib.ExitStack()
        self._seconds = {"simulate_s": 0.0, "minimise_s": 0.0}
        self._room, self._patience_s = room, _COMMIT_S if patience_s is None else patience_s
        self._pending: list[Frame] = []
        self._committed = time.monotonic()

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
        with self._open:
            self._commit()

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
        try:
            kept = np.load(io.BytesIO(path.read_bytes()))
            state = State(
                mixture=self._settings.liquid,
                edge=float(kept["edge"]),
                positions=kept["positions"],
                velocities=kept["velocities"],
            )
            self._seconds = {name: float(kept[name]) for name in self._seconds}
        except FileNotFoundError:
            return None
        except (ValueError, IndexError, EOFError) as error:
            raise DamagedFileError(self._advice(path, error)) from error
        return int(kept["k"]), state

    def stop(self, error: BlownUpError) -> None:
        """Note that the run has left its bath: to continue it would keep records of that."""
        _write(self.path / _STOPPED, json.dumps(error.args).encode())

    def check_sound(self) -> None:
        """Refuse to continue a run that has left its bath.

        Raises:
            stability.BlownUpError: It has.
        """
        said = read_json(self.path / _STOPPED)
        if said is not None:
            raise BlownUpError(*said)

    def n_kept(self) -> int:
        """Return how many records of an unfinished run are kept, reading no more than that number.

        Raises:
            DamagedFileError: The restart file cannot be read.
        """
        return _n_kept(self.path)

    def append(self, frame: Frame) -> int:
        """Take one record to be kept; return how many records this call has brought to the disk.

        Raises:
            DamagedFileError: A trajectory does not hold the records before this one.
            OSError: The disk is full, or not ours to write; what was kept before is intact.
        """
        self._pending.append(frame)
        # positions and velocities, and the positions of the minimum
        size = len(self._pending) * 3 * frame.state.positions.nbytes
        if size < self._room and time.monotonic() < self._committed + self._patience_s:
            return 0
        return self._commit()

    def _commit(self) -> int:
        """Write the records that wait; return their number."""
        frames, self._pending = self._pending, []  # what cannot be written is not tried again on leaving
        if not frames:
            return 0
        with contextlib.ExitStack() as both:  # both can be opened, or nothing is written
            files = {name: both.enter_context(self._to_append(name, frames[0].k)) for name in self._settings.inputs}
            for kind, file in files.items():
                _append(file, kind, frames, self._settings)
        last = frames[-1]
        shape = last.state.positions.shape
        kept = np.zeros((), np.dtype([*_RESTART, ("positions", np.int32, shape), ("velocities", np.float32, shape)]))
        kept["k"], kept["edge"] = last.k, last.state.edge
        kept["positions"], kept["velocities"] = last.state.positions, last.state.velocities
        for name in self._seconds:
            self._seconds[name] += sum(getattr(frame, name) for frame in frames)
            kept[name] = self._seconds[name]
        buffer = io.BytesIO()
        np.save(buffer, kept)
        _write(self.path / "restart.npy", buffer.getvalue())
        self._committed = time.monotonic()
        return len(frames)

    def finish(self) -> int:
        """Write what waits, the table of energies and the run's record; afterwards the run is :attr:`finished`.

        Returns:
            How many records this call has brought to the disk.
        """
        committed, n = self._commit(), self._settings.bath.n_frames
        table: dict[str, np.ndarray] = {}
        changing = ("edge",) if self._settings.own_boxes else ()
        energies = ("e_pot_unshifted", "e_pot_shifted") if self._settings.liquid.has_potential else ()
        keys_of: dict[Input, tuple[str, ...]] = {
            "thermal": ("T", "T_kinetic", *energies, *changing),
            "inherent": ("e_is_unshifted", "e_is_shifted", "max_force", "converged", "n_evaluations"),
        }
        for kind in self._settings.inputs:
            with self._read(kind) as file:
                for key in keys_of[kind]:
                    table[key] = np.array([file.read_chunk(i, f"log/{key}")[0] for i in range(n)])
        if "converged" in table:
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
        return committed

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

    def positions(self, name: Literal["thermal", "inherent"], k: Sequence[int]) -> np.ndarray:
        """Return the positions of records ``k``, shape (len(k), n, d), float32, in [0, L) of the ensemble's box.

        Those of records that have boxes of their own are scaled to it.

        Raises:
            DamagedFileError: The trajectory cannot be read.
        """
        d = self._settings.liquid.dimension
        with self._read(name) as file:
            # a box that has not changed since the first record is not written again
            boxes = [i if file.chunk_exists(i, "configuration/box") else 0 for i in (record - 1 for record in k)]
            edge = np.array([file.read_chunk(i, "configuration/box")[:d] for i in boxes], np.float32)[:, None]
            centred = np.stack([file.read_chunk(record - 1, "particles/position")[:, :d] for record in k])
        if self._settings.imported is not None and self._settings.own_boxes:
            whole = self._settings.box.astype(np.float32)
            centred, edge = centred * (whole / edge), np.broadcast_to(whole, edge.shape)
        inside = centred + edge / np.float32(2)
        return np.asarray(np.where(inside >= edge, inside - edge, np.maximum(inside, np.float32(0))), np.float32)

    @contextlib.contextmanager
    def _to_append(self, name: str, k: int) -> Iterator[Any]:
        """Open a trajectory in which record ``k`` or one after it is next."""
        path = self.path / f"{name}.gsd"
        try:
            file = gsd.hoomd.open(str(path), "w" if k == 1 else "r+")
        except (RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DamagedFileError(self._advice(path, error)) from error
        with file:
            # a process killed between two files leaves records that were never acknowledged
            if not k - 1 <= len(file) <= self._settings.bath.n_frames:
                raise DamagedFileError(self._advice(path, f"it holds {len(file)} records where {k - 1} were kept"))
            yield file

    @contextlib.contextmanager
    def _read(self, name: str) -> Iterator[Any]:
        path = self.path / f"{name}.gsd"
        try:
            with gsd.fl.open(str(path), "r") as file:
                yield file
        except (RuntimeError, OSError, KeyError) as error:
            raise DamagedFileError(self._advice(path, error)) from error

    def _advice(self, path: Path, reason: object) -> str:
        return _advice(path, reason)


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
        if "history" in state:  # for those who watch, and may not have PyTorch
            _write(self._folder / "history.json", json.dumps(state["history"]).encode())
        _write(self._folder / f"{which}.pt", buffer.getvalue())


def begin(root: Path) -> signac.Project:
    """Return the data space of a folder, made whole by whoever is first of several at once."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / _SPACE).exists():
        with tempfile.TemporaryDirectory(dir=root, prefix=_SPACE) as made:
            signac.init_project(made)
            try:
                (Path(made) / _SPACE).rename(root / _SPACE)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another's is as good
                    raise
    return signac.init_project(str(root))


def load(root: Path, settings: Simulate, *, seed: int, k: Sequence[int]) -> Ensemble:
    """Return a finished ensemble: the energies of every record, the positions of records ``k``, as far as they exist.

    Imported records with boxes of their own are scaled to one box.

    Raises:
        ValueError: A run is not finished, or a held pressure gave every record a box of its own.
        DamagedFileError: A file cannot be read.
    """
    folders, finished = _survey(root, settings, seed=seed)
    missing = [run for run, done in enumerate(finished) if not done]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(folders)} runs are not finished, run {missing[0]} first: simulate them"
        )
    if k and settings.bath.P_start is not None:
        raise ValueError(
            "a held pressure gives every record its own box, and an ensemble has one: vitrify import --scale takes the "
            "files thermal.gsd of its runs"
        )
    tables = [folder.table() for folder in folders]
    mixture = settings.liquid
    known = [name for name in _SCALARS if name in tables[0]]
    columns: dict[str, Any] = {name: np.stack([table[name] for table in tables]) for name in known}
    columns["T"] = columns["T"][0]
    shape = (len(folders), len(k), settings.n_particles, mixture.dimension)
    positions = {name: np.empty(shape, np.float32) for name in settings.inputs}
    if k:
        for name, held in positions.items():
            for run, folder in enumerate(folders):
                held[run] = folder.positions(name, k)
    return Ensemble(
        **positions,
        species=mixture.species(settings.n_particles),
        box=settings.box,
        k=np.array(k, int),
        shells=mixture.shells,
        **columns,
    )


def unfinished(root: Path, settings: Simulate, *, seed: int, runs: Iterable[int] | None = None) -> dict[int, int]:
    """Return how many records are kept of every run that is not finished, in one pass over the data space.

    Nothing is made, and no file but those of runs that are under way is opened.

    Args:
        root: Root of the data space; it need not be there.
        settings: The ensemble.
        seed: The study's seed.
        runs: Runs asked about; by default all.

    Raises:
        DamagedFileError: A restart file cannot be read.
    """
    space = root / "workspace"
    there = set(os.listdir(space)) if space.is_dir() else set()
    kept = {}
    for run, name in _names(settings, seed=seed, runs=range(settings.n_runs) if runs is None else runs):
        if name not in there:
            kept[run] = 0
        elif not os.path.exists(f"{space}/{name}/energies.h5"):
            kept[run] = _n_kept(space / name)
    return kept


def seconds(root: Path, settings: Simulate, *, seed: int, runs: Iterable[int] | None = None) -> dict[str, float]:
    """Return the seconds that finished runs took together, by default all: ``simulate_s`` and ``minimise_s``."""
    asked = range(settings.n_runs) if runs is None else runs
    folders = [root / "workspace" / name for _, name in _names(settings, seed=seed, runs=asked)]
    documents = [read_json(folder / "signac_job_document.json") for folder in folders]
    return {name: float(sum(document[name] for document in documents)) for name in ("simulate_s", "minimise_s")}


def _names(settings: Simulate, *, seed: int, runs: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield the name of the folder of each run as signac gives it, hundreds of times faster than by opening it.

    The name is the MD5 of the settings as sorted JSON, in which one number differs from run to run.
    """
    named = _statepoint(settings, seed=seed, run=0)
    before, here, after = json.dumps(named, sort_keys=True).partition('"run": ')

    def name(run: int) -> str:
        text = f"{before}{here}{run}{after.removeprefix('0')}"
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    if name(0) != signac.job.calc_id(named):
        raise RuntimeError(f"signac {signac.__version__} names runs otherwise than 2.x does: install signac<3")
    yield from ((run, name(run)) for run in runs)


def _n_kept(folder: Path) -> int:
    """Return how many records the restart file of a run holds."""
    path = folder / "restart.npy"
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            return int(np.frombuffer(file.read(8), np.int64)[0])
    except FileNotFoundError:
        return 0
    except (ValueError, IndexError, EOFError) as error:
        raise DamagedFileError(_advice(path, error)) from error


def _advice(path: Path, reason: object) -> str:
    return f"{path} is damaged ({reason}): delete the folder {path.parent} and run the same command to compute it again"


def _survey(root: Path, settings: Simulate, *, seed: int) -> tuple[list[RunFolder], list[bool]]:
    """Return the folder of every run, made or not, and whether it is finished."""
    project = begin(root)
    there = set(os.listdir(project.workspace)) if os.path.isdir(project.workspace) else set()
    folders = [RunFolder(root, settings, seed=seed, run=run, project=project) for run in range(settings.n_runs)]
    return folders, [folder.path.name in there and folder.finished for folder in folders]


def keep_run(job: Job, tick: Callable[[float], None]) -> None:
    """Simulate what is missing of one run and keep it; ``tick(n)`` acknowledges ``n`` records more on the disk.

    A tick follows every record, most of them with 0: that is where a run may be stopped.

    Raises:
        stability.BlownUpError: The run has left its bath, now or in an earlier call.
        DamagedFileError: A file of an earlier call cannot be read.
        TimeoutError: Another process is at work on the run.
        OSError: The disk is full, or not ours to write.
    """
    with RunFolder(job.root, job.settings, seed=job.seed, run=job.run) as folder:
        if folder.finished:
            return
        folder.check_sound()
        try:
            for frame in records(job.settings, seed=job.seed, run=job.run, after=folder.last()):
                tick(folder.append(frame))
        except BlownUpError as error:
            folder.stop(error)
            raise
        tick(folder.finish())


def keep_runs(jobs: Sequence[Job], tick: Callable[[float], None], *, device: Batched | None = None) -> None:
    """Do as :func:`keep_run` for many runs of one ensemble at once, advanced together on a device.

    Every run is kept in its own folder, as if it had been simulated alone.

    Raises:
        stability.BlownUpError: A run has left its bath, now or in an earlier call.
        DamagedFileError: A file of an earlier call cannot be read.
        TimeoutError: Another process is at work on a run.
        OSError: The disk is full, or not ours to write.
    """
    root, settings, seed = jobs[0].root, jobs[0].settings, jobs[0].seed
    waits: dict[str, Any] = {
        "room": _BATCH_BYTES // len(jobs),
        "patience_s": _COMMIT_S * max(1, len(jobs) / _COMMIT_RUNS),
    }
    project = begin(root)
    with contextlib.ExitStack() as held:
        runs = [RunFolder(root, settings, seed=seed, run=job.run, project=project, **waits) for job in jobs]
        folders = {job.run: held.enter_context(folder) for job, folder in zip(jobs, runs, strict=True)}
        folders = {run: folder for run, folder in folders.items() if not folder.finished}
        for folder in folders.values():
            folder.check_sound()
        after = {run: folder.last() for run, folder in folders.items()}
        try:
            for frames in records_together(settings, seed=seed, after=after, device=device):
                tick(sum(folders[run].append(frame) for run, frame in frames.items()))
        except BlownUpError as error:
            folders[error.system].stop(error)
            raise
        for folder in folders.values():
            tick(folder.finish())


@contextlib.contextmanager
def locked(folder: Path, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however it ends.

    Args:
        folder: The folder; made if need be.
        patience_s: Seconds to wait for another process.

    Raises:
        TimeoutError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=patience_s)
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
    return dict(_versions())


@functools.cache  # every run says it
def _versions() -> dict[str, str]:
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
    if settings.imported is not None:  # nothing of how a run is made here changes what was made elsewhere
        kept = {"mixture", "n_particles", "imported", "minimise"}
        return settings.model_dump(mode="json", include=kept) | {"run": run, "version": VERSION}
    return settings.model_dump(mode="json", exclude={"n_runs"}) | {"seed": seed, "run": run, "version": VERSION}


def _named(prefix: str, energies: Any) -> dict[str, float]:
    return {f"{prefix}_unshifted": energies.unshifted, f"{prefix}_shifted": energies.shifted}


def _append(file: Any, name: str, records: Sequence[Frame], settings: Simulate) -> None:
    """Append those records that a trajectory does not hold, and flush it."""
    held = len(file)
    for record in records:
        if record.k > held:
            file.append(_gsd_frame(name, record, settings))
    file.flush()


def _gsd_frame(name: str, record: Frame, settings: Simulate) -> gsd.hoomd.Frame:
    """Return a record, or its inherent structure, as a frame of a trajectory."""
    if name == "thermal":
        state = record.state
        scalars = {"T": record.T, "T_kinetic": state.temperature}
        scalars |= {} if record.energies is None else _named("e_pot", record.energies)
        scalars |= {"edge": state.edge} if settings.own_boxes else {}
    else:
        minimum = record.minimum
        assert minimum is not None
        state = minimum.state
        scalars = {"max_force": minimum.max_force, "converged": minimum.converged} | _named("e_is", minimum.energies)
        scalars["n_evaluations"] = minimum.n_evaluations
    n, d = state.positions.shape
    frame = gsd.hoomd.Frame()
    frame.configuration.step = settings.n_equilibrate + settings.bath.step(record.k)
    frame.configuration.dimensions = d
    frame.configuration.box = [*state.box.tolist(), *[1.0] * (3 - d), 0, 0, 0]
    frame.particles.N = n
    frame.particles.types = list(state.mixture.names)
    frame.particles.typeid = state.mixture.species(n)
    centred = np.zeros((n, 3), np.float32)
    # fixed point counted from the corner; GSD counts from the centre
    centred[:, :d] = (state.positions.view(np.uint32).astype(float) / 2.0**32 - 0.5) * state.box
    frame.particles.position = centred
    frame.log = {name: np.array([value], dtype=np.float64) for name, value in scalars.items()}
    return frame
