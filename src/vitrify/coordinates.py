"""The configurations of one record as files for other programs: one file a run, named by run and temperature.

``run0007-T0.05000-thermal.txt`` holds run 7 of a study at T = 0.05, as it was; ``inherent`` is its inherent structure.
"""

__all__ = ["FORMATS", "Exported", "Format", "export"]

import filecmp
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vitrify import store
from vitrify.columns_text import write_columns
from vitrify.dataset import Input
from vitrify.settings import Study
from vitrify.snapshots import Snapshot
from vitrify.system import Configuration
from vitrify.trajectories import WRITERS, Writer

Format = Literal["text", "extxyz", "dump"]
"""Columns of text, extended XYZ or a LAMMPS dump."""

Progress = Callable[[str, float, float], None]

FORMATS: dict[Format, tuple[str, Writer]] = {
    "text": (".txt", write_columns),
    "extxyz": (".extxyz", WRITERS["xyz"]),
    "dump": (".lammpstrj", WRITERS["dump"]),
}
"""The suffix and the writer of each format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written.

    Args:
        folder: Where the files are.
        files: Their names, in the order of the runs.
        k: The record.
        T: Its bath temperature.
        input: Configurations as they were, or their inherent structures.
        n_written: Files written now; the others were there already, with the same content.
    """

    folder: str
    files: tuple[str, ...]
    k: int
    T: float
    input: Input
    n_written: int


def export(study: Study, out: Path, to: Path, *, k: int, shown: Input, form: Format, progress: Progress) -> Exported:
    """Write the configuration of record ``k`` of every run to a file of its own.

    Imported records with boxes of their own are written as scaled to the mean box, as networks see them.

    Args:
        study: The investigation, whose runs are finished.
        out: Folder of its results.
        to: Folder of the files; created.
        k: The record, counted from 1.
        shown: Configurations as they were, or their inherent structures.
        form: Format of the files.
        progress: Told the files written.

    Raises:
        ValueError: A run is not finished, there is no such record, or the study has no inherent structures.
        FileExistsError: A file of that name holds something else; nothing is written then.
        OSError: A file cannot be written.
    """
    last = study.simulate.bath.n_frames
    if not 1 <= k <= last:
        raise ValueError(f"k must be from 1, the first record, to {last}, the last; got {k}")
    if form not in FORMATS:
        raise ValueError(f"form must be one of {', '.join(FORMATS)}; got {form!r}")
    ensemble = store.load(out / "data", study.simulate, seed=study.seed, k=[k])
    T, positions = float(ensemble.T[k - 1]), ensemble.shown(shown)[:, ensemble.place("k", k)]
    suffix, write = FORMATS[form]
    kinds = study.simulate.liquid.names
    kinds = tuple(str(place + 1) for place in range(len(kinds))) if form == "text" else kinds  # as LAMMPS counts them
    digits = max(4, len(str(len(positions) - 1)))
    names = [f"run{run:0{digits}d}-T{T:.5f}-{shown}{suffix}" for run in range(len(positions))]

    def put(path: Path, run: int) -> None:
        configuration = Configuration(
            positions=positions[run].astype(float), species=ensemble.species, box=ensemble.box
        )
        snapshot = Snapshot(
            configuration=configuration,
            names=kinds,
            origin=(0.0,) * configuration.dimension,
            attributes={"T": T, "run": run, "record": k, "input": shown},
        )
        write(path, [snapshot])

    to.mkdir(parents=True, exist_ok=True)
    todo = []
    with tempfile.TemporaryDirectory(dir=to, prefix=".export") as made:
        for run, name in enumerate(names):
            if not (to / name).exists():
                todo.append(run)
                continue
            put(Path(made) / name, run)
            if not filecmp.cmp(Path(made) / name, to / name, shallow=False):
                raise FileExistsError(
                    f"{to / name} is there and holds something else, so nothing was written: name another folder with "
                    "--to, or move the file away"
                )
    for done, run in enumerate(todo):
        put(to / names[run], run)
        progress("export coordinates", done + 1, len(todo))
    return Exported(folder=str(to), files=tuple(names), k=k, T=T, input=shown, n_written=len(todo))
