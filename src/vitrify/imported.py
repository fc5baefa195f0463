"""Make a data space of trajectories somebody else made, which every later command takes for simulated ones.

Each file is of one run. Its frames have one temperature, given by the user or by the path, or each the one that the
file says. A record is a temperature: record 1 is the hottest, and frames of equal temperature follow each other as in
their file. Temperatures that differ by rounding are equal. All runs must have all records.

The particles interact by a mixture of :mod:`vitrify.potentials`, by which energies and inherent structures are
computed; or they are a material of the user's own, of which the files say the species, their numbers and the shape of
the box, and which has energies only where the user names a pair style.

All records have one box; or each its own, of one shape, as at a held pressure. Energies and inherent structures are
then those in a record's own box, and positions are scaled to the mean box, in which the density is not seen.
"""

__all__ = [
    "LABELS",
    "UNITS",
    "Choice",
    "Source",
    "Survey",
    "Units",
    "keep",
    "material",
    "minimised",
    "state_of",
    "survey",
    "understood",
]

import hashlib
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from scipy import constants

from vitrify import dynamics, pair_style, parallel, store
from vitrify.dataset import split_runs
from vitrify.material import Material, PairStyle
from vitrify.models import suited
from vitrify.potentials import Energies, Mixture
from vitrify.protocols import Imported
from vitrify.settings import Study
from vitrify.simulate import Frame, Simulate
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.structure import first_shells
from vitrify.system import Configuration
from vitrify.trajectories import read

LABELS = ("class", "T", "rate", "run")
"""What a word or a path can say of a file."""

UNITS = {
    "lj": 1.0,
    "real": float(constants.k * constants.N_A / (constants.calorie * 1e3)),
    "metal": float(constants.k / constants.e),
}
"""Boltzmann's constant in the unit of energy per kelvin of LAMMPS's unit styles; 1 where T is in that unit."""

_ROUNDING = 1e-13  # relative difference that double precision leaves after some arithmetic
_SINGLE = 2e-7  # ... and single precision between two roundings of one number
_EDGES = 1e-5  # relative difference of boxes that are one: what six digits in a file leave
_APART = (0.6, 1.8)  # mean distance of neighbours, in sigma_AA, that the networks' defaults are made for
_N_SHELL_RUNS = 16  # runs whose coldest records say where the shells are

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file, and what was understood of it; ``T`` is in the user's unit, ``None`` where the file says it."""

    path: Path
    run: str
    T: float | None
    label: str | None
    rate: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """The user's units: their style, and sigma_AA and epsilon_AA in them."""

    style: str = "lj"
    sigma: float = 1.0
    epsilon: float = 1.0

    def __post_init__(self) -> None:
        if self.style not in UNITS:
            raise ValueError(f"units must be one of {', '.join(UNITS)}; got {self.style!r}")
        if not (self.sigma > 0 and self.epsilon > 0):
            raise ValueError(f"sigma and epsilon must be positive; got {self.sigma} and {self.epsilon}")

    def reduced(self, T: float) -> float:
        """Return a temperature in epsilon_AA / k_B."""
        return UNITS[self.style] * T / self.epsilon


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How files are read: what the user says of them, what they are of, the units, and which frames are taken.

    ``every`` takes each frame whose number is a multiple of it; 0 takes the last alone. ``scaled`` says that records
    have boxes of their own.
    """

    told: Told
    mixture: Mixture | Material
    units: Units
    every: int = 0
    scaled: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What the first frame of a file shows, in reduced units."""

    source: Source
    n_particles: int
    dimension: int
    composition: dict[str, int]
    density: float
    T: float


def understood(files: Sequence[str], *, pattern: str | None, given: dict[str, str]) -> list[Source]:
    """Return the files meant by names and globs, with the labels that words and their paths give them.

    Args:
        files: Names, or globs such as ``runs/*/dump.*``.
        pattern: Regular expression, searched in every path, whose named groups are labels.
        given: Labels of all files, by name.

    Raises:
        FileNotFoundError: A name or a glob is of no file.
        ValueError: The pattern is none, or not in a path; labels are missing, twice there, or not what they should be.
    """
    paths = []
    for name in files:
        found = [name] if Path(name).is_file() else sorted(glob(name, recursive=True))
        if not found:
            raise FileNotFoundError(2, "No such file, and no file matches", name)
        paths += [Path(one) for one in found if Path(one).is_file()]
    if len(set(paths)) < len(paths) or not paths:
        raise ValueError(f"files must be named once each; got {len(paths)} names of {len(set(paths))} files")
    search = _searcher(pattern, given)
    sources = [_source(path, given | search(path)) for path in paths]
    if len({source.rate for source in sources}) > 1:
        rates = ", ".join(sorted({str(source.rate) for source in sources}))
        raise ValueError(f"runs of one import must have one rate; got {rates}: import each into a folder of its own")
    return sources


def material(sources: Sequence[Source], told: Told, units: Units, potential: PairStyle | None) -> Material:
    """Return what the first frame of the first file is of; its shells are guesses until all files are read.

    Args:
        sources: The files.
        told: What the user says of them.
        units: The user's units.
        potential: The potential, tried on the frame, if the user names one.

    Raises:
        BadTrajectoryError: The frame is damaged, or no such thing as can be imported.
        OSError: The file cannot be read.
        RuntimeError: LAMMPS cannot apply the potential.
    """
    snapshot = next(read(sources[0].path, told))
    shown, place = snapshot.configuration, _place(snapshot)
    counts = np.bincount(shown.species, minlength=len(snapshot.names)).tolist()
    few = [name for name, count in zip(snapshot.names, counts, strict=True) if count < 2]
    if few:
        raise BadTrajectoryError(f"{place}: there must be at least two particles of each species; {few[0]} has fewer")
    apart = float(shown.density ** (-1 / shown.dimension)) / units.sigma
    if not _APART[0] < apart < _APART[1]:
        raise BadTrajectoryError(
            f"{place}: particles are {apart:.3g} apart where neighbours should be about 1: say what 1 is in the file's "
            f"unit of length, such as --sigma {apart * units.sigma:.2g}"
        )
    n = len(snapshot.names)
    found = Material(
        names=snapshot.names,
        counts=tuple(counts),
        aspect=tuple((shown.box / shown.box[0]).tolist()),
        radius=(0.55 * apart,) * n,
        shells=((1.5 * apart,) * n,) * n,
        potential=potential,
    )
    state = state_of(snapshot, Choice(told=told, mixture=found, units=units))
    if potential is not None:
        pair_style.evaluate(state, dynamics.Fire(max_evaluations=1))
    return found


def survey(sources: Sequence[Source], choice: Choice) -> list[Survey]:
    """Return what the first frame of every file shows, reading no more.

    Raises:
        BadTrajectoryError: A first frame is damaged, or not of the mixture.
        OSError: A file cannot be read.
    """
    found = []
    for source in sources:
        snapshot = next(read(source.path, choice.told))
        state, T = state_of(snapshot, choice), _temperature(snapshot, source, choice.units)
        kinds = np.bincount(snapshot.configuration.species, minlength=len(snapshot.names))
        found.append(
            Survey(
                source=source,
                n_particles=len(state.positions),
                dimension=choice.mixture.dimension,
                composition=dict(zip(snapshot.names, kinds.tolist(), strict=True)),
                density=len(state.positions) / float(state.box.prod()),
                T=T,
            )
        )
    return found


def keep(sources: Sequence[Source], choice: Choice, out: Path, *, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Import files into a new folder: their runs as a data space, and a study of them; return what was imported.

    Args:
        sources: The files.
        choice: How they are read.
        out: The folder; it appears when all is done, or not at all.
        n_workers: Processes.
        progress: Told the files read and the records minimised.

    Raises:
        BadTrajectoryError: A file is damaged, or not of the mixture or the box.
        ValueError: A run lacks a record, or too few runs are there for a study.
        FileExistsError: The folder is there.
        OSError: A file cannot be read, or the folder not be written.
    """
    if out.exists():
        raise FileExistsError(17, "is there already: import into a new folder", str(out))
    _check_labels(sources)
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    staged = beside / "staged"
    try:
        staged.mkdir(parents=True)
        records = _stage(sources, choice, staged, progress)
        settings = _settings(records, choice)
        study = _study(settings, out.name, _classes(records, sources))
        n_done, n_records = 0, settings.n_runs * settings.bath.n_frames
        jobs = [
            _Job(root=beside / "data", settings=settings, run=run, records=of_run)
            for run, of_run in enumerate(records.values())
        ]

        def tick(amount: float) -> None:
            nonlocal n_done
            n_done += int(amount)
            progress("minimise" if settings.liquid.has_potential else "keep", n_done, n_records)

        parallel.spread(_keep_run, jobs, n_workers=n_workers, progress=tick)
        shutil.rmtree(staged)
        store.write_text(beside / "study.toml", study)
        said = {
            "study": str(out / "study.toml"),
            "n_runs": settings.n_runs,
            "n_records": settings.bath.n_frames,
            "T": list(settings.imported.T if settings.imported else ()),
            "digest": settings.imported.digest if settings.imported else "",
            "density": _densities(settings, records),
            "units": {"style": choice.units.style, "sigma": choice.units.sigma, "epsilon": choice.units.epsilon},
            "runs": list(records),
            "rate": sources[0].rate,
            "files": [str(source.path) for source in sources],
        }
        store.write_json(beside / "imported.json", said)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return said


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """A frame that waits to be kept: its positions lie in a file."""

    path: Path
    source: Source
    T: float
    edge: float
    n: int
    frame: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    settings: Simulate
    run: int
    records: list[_Record]


def _searcher(pattern: str | None, given: dict[str, str]) -> Callable[[Path], dict[str, str]]:
    """Return a function from a path to the labels in it."""
    try:
        compiled = re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"pattern must be a regular expression; got {pattern!r} ({error})") from error
    unknown = sorted((set(compiled.groupindex) | set(given)) - set(LABELS))
    twice = sorted(set(compiled.groupindex) & set(given))
    if unknown or twice:
        wrong = f"got {unknown[0]}" if unknown else f"{twice[0]} is given and in the pattern"
        raise ValueError(f"the labels are {', '.join(LABELS)}, each given or in the pattern; {wrong}")

    def search(path: Path) -> dict[str, str]:
        found = compiled.search(path.as_posix())
        if found is None:
            raise ValueError(f"the pattern {pattern!r} is not in {path}")
        return {name: word for name, word in found.groupdict().items() if word is not None}

    return search


def _source(path: Path, labels: dict[str, str]) -> Source:
    if "run" not in labels:
        raise ValueError(f"{path}: which run is it of? Name it in the pattern, as in --pattern 'run(?P<run>\\d+)'")
    T = labels.get("T")
    try:
        value = None if T is None else float(T)
    except ValueError:
        value = np.nan
    if value is not None and not 0 < value < np.inf:
        raise ValueError(f"{path}: T must be a positive number; got {T!r}")
    label = labels.get("class")
    if label not in (None, "glass", "liquid"):
        raise ValueError(f"{path}: class must be glass or liquid; got {label!r}")
    return Source(path=path, run=labels["run"], T=value, label=label, rate=labels.get("rate"))


def _temperature(snapshot: Snapshot, source: Source, units: Units) -> float:
    """Return the temperature of a frame, in reduced units."""
    said = source.T
    if said is None:
        keys = [key for key in ("T", "temperature", "Temperature", "temp") if key in snapshot.attributes]
        said = snapshot.attributes[keys[0]] if keys else None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < np.inf:
        raise BadTrajectoryError(f"{_place(snapshot)}: no temperature is given, none in the path or the file: say --T")
    return _meant(units.reduced(said))


def _meant(T: float) -> float:
    """Return the decimal number that a temperature was before rounding: the end of a ramp is computed, and then 0.1."""
    short = float(f"{T:.12g}")
    return short if abs(short - T) <= _ROUNDING * T else T


def _one_for_equals(temperatures: Iterable[float]) -> dict[float, float]:
    """Return, for each temperature, the shortest number among those that differ from it by their rounding alone."""
    groups: list[list[float]] = []
    for T in sorted(set(temperatures)):
        if groups and T - groups[-1][0] <= _SINGLE * T:
            groups[-1].append(T)
        else:
            groups.append([T])
    return {T: min(group, key=lambda one: len(repr(one))) for group in groups for T in group}


def _place(snapshot: Snapshot) -> str:
    return f"{snapshot.path}, frame {snapshot.frame}"


def state_of(snapshot: Snapshot, choice: Choice) -> dynamics.State:
    """Return a frame as a state of the mixture, A first, at rest, in reduced units."""
    configuration, mixture = snapshot.configuration, choice.mixture
    n, d = configuration.positions.shape
    style = snapshot.attributes.get("units", choice.units.style)
    problem = None
    if d != mixture.dimension:
        own = mixture.name if isinstance(mixture, Mixture) else "the first file"
        problem = f"it has {d} dimensions, and {own} {mixture.dimension}: say --dimension if z misleads"
    elif np.abs(configuration.box / configuration.box[0] - mixture.shape).max() > _EDGES * mixture.shape.max():
        wanted = "a square or cube"
        if isinstance(mixture, Material):
            wanted = f"of the first file's shape, {' : '.join(f'{edge:.6g}' for edge in mixture.shape)}"
        problem = f"the box must be {wanted}; got {configuration.box.tolist()}"
    elif configuration.periodic is not None:
        problem = "all boundaries must be periodic"
    elif style != choice.units.style:
        problem = f"the file says its units are {style}: say --units {style}"
    if problem is not None:
        raise BadTrajectoryError(f"{_place(snapshot)}: {problem}")
    kinds = _kinds(snapshot, mixture)
    order = np.argsort(kinds, kind="stable")
    fraction = (configuration.positions / configuration.box)[order]
    edge = configuration.box[0] if isinstance(mixture, Material) else configuration.box.mean()
    return dynamics.State(
        mixture=mixture,
        edge=float(edge) / choice.units.sigma,
        positions=dynamics.fixed_point(fraction),
        velocities=np.zeros((n, d), np.float32),
    )


def _kinds(snapshot: Snapshot, mixture: Mixture | Material) -> np.ndarray:
    """Return the species of a frame's particles in the mixture, whose composition it must have."""
    species, n = snapshot.configuration.species, len(snapshot.configuration.species)
    counts = dict(zip(snapshot.names, np.bincount(species, minlength=len(snapshot.names)).tolist(), strict=False))
    if isinstance(mixture, Mixture):
        if not np.array_equal(np.sort(species), mixture.species(n)):
            raise BadTrajectoryError(
                f"{_place(snapshot)}: {mixture.name} of {n} particles has {int((mixture.species(n) == 0).sum())} A, "
                f"then B; got {counts}: say --species A-NAME B-NAME if they are the other way round"
            )
        return np.asarray(species)
    unknown = [name for name, count in counts.items() if count and name not in mixture.names]
    if unknown:
        raise BadTrajectoryError(
            f"{_place(snapshot)}: species {unknown[0]!r} is not one of the first file's, {', '.join(mixture.names)}"
        )
    found = [counts.get(name, 0) for name in mixture.names]
    if found != list(mixture.counts):
        wanted = dict(zip(mixture.names, mixture.counts, strict=True))
        raise BadTrajectoryError(f"{_place(snapshot)}: every frame must hold {wanted}, as the first file; got {counts}")
    order = [mixture.names.index(name) if name in mixture.names else -1 for name in snapshot.names]
    return np.asarray(np.array(order)[species])


def _stage(sources: Sequence[Source], choice: Choice, staged: Path, progress: Progress) -> dict[str, list[_Record]]:
    """Read all files, keep the positions taken, and return the records of every run, the hottest first."""
    runs: dict[str, list[_Record]] = {}
    n_read = 0

    def tick() -> None:
        nonlocal n_read
        n_read += 1
        progress("frames read", n_read, 0)  # how many there are is known when all are read

    for place, source in enumerate(sources):
        for number, snapshot in enumerate(_taken(source, choice, tick)):
            state = state_of(snapshot, choice)
            path = staged / f"{place}-{number}.npy"
            np.save(path, state.positions)
            T = _temperature(snapshot, source, choice.units)
            record = _Record(
                path=path, source=source, T=T, edge=state.edge, n=len(state.positions), frame=snapshot.frame
            )
            runs.setdefault(source.run, []).append(record)
    progress("frames read", n_read, n_read)
    natural = sorted(runs, key=lambda run: [(len(part), part) if part.isdecimal() else (0, part)
                                            for part in re.split(r"(\d+)", run)])  # fmt: skip
    one = _one_for_equals(record.T for records in runs.values() for record in records)
    found = {run: [replace(record, T=one[record.T]) for record in runs[run]] for run in natural}
    return {run: sorted(records, key=lambda record: -record.T) for run, records in found.items()}  # equals stay in turn


def _check_labels(sources: Sequence[Source]) -> None:
    """Refuse, before long files are read, what the labels alone rule out.

    Raises:
        ValueError: There are too few runs to split, or all records will be of one class.
    """
    n_runs = len({source.run for source in sources})
    try:
        split_runs(n_runs, seed=1)
    except ValueError as error:
        raise ValueError(f"run must name more independent runs: {n_runs} cannot train, validate and test") from error
    labels, T = {source.label for source in sources}, {source.T for source in sources}
    if len(T) == 1 and None not in T and labels == {None}:
        raise ValueError(f"there must be records of a liquid and of a glass; all are of one class at T = {T.pop():g}")


def _taken(source: Source, choice: Choice, tick: Callable[[], None]) -> Iterator[Snapshot]:
    """Yield the frames of a file that are taken."""
    last, n_frames = None, 0
    for last in read(source.path, choice.told):
        n_frames += 1
        tick()
        if choice.every and n_frames % choice.every == 0:
            yield last
    if choice.every > n_frames:
        raise BadTrajectoryError(f"{source.path}: it has {n_frames} frames, and every {choice.every}th is wanted")
    if not choice.every and last is not None:
        yield last


def _settings(records: dict[str, list[_Record]], choice: Choice) -> Simulate:
    """Return what names the imported ensemble; all runs have the same records and, but where scaled, the same box."""
    first_run, first = next(iter(records.items()))
    digest = hashlib.sha256()
    for run, one in records.items():
        if [record.T for record in one] != [record.T for record in first]:
            raise ValueError(
                f"every run must have the same temperatures; run {run} has {_listed(one)}, run {first_run} "
                f"{_listed(first)}"
            )
        for record in one:
            resized = not choice.scaled and abs(record.edge / first[0].edge - 1) > _EDGES
            if record.n != first[0].n or resized:
                advice = ", or, where a pressure was held, --scale them" if record.n == first[0].n else ""
                raise BadTrajectoryError(
                    f"{record.source.path}, frame {record.frame}: {record.n} particles in a box of "
                    f"{record.edge:g}, and {first[0].n} in {first[0].edge:g} in {first[0].source.path}: all must "
                    f"be the same{advice}"
                )
            digest.update(f"{run} {record.T!r} {record.edge!r}\n".encode())
            digest.update(np.load(record.path).tobytes())
    edge = first[0].edge
    if choice.scaled:
        edge = float(np.mean([record.edge for one in records.values() for record in one]))
    own = _measured(choice.mixture, records, edge) if isinstance(choice.mixture, Material) else None
    T, scaled = tuple(record.T for record in first), True if choice.scaled else None
    course = Imported(digest=digest.hexdigest(), edge=edge, T=T, material=own, scaled=scaled)
    return Simulate(mixture=choice.mixture.name, n_particles=first[0].n, n_runs=len(records), imported=course)


def _measured(own: Material, records: dict[str, list[_Record]], edge: float) -> Material:
    """Return a material with the first shells that the coldest records show, and discs a little wider than touching."""
    coldest = [
        Configuration(
            positions=np.load(one[-1].path).view(np.uint32) * (edge * own.shape / 2.0**32),
            species=own.species(one[-1].n),
            box=edge * own.shape,
        )
        for one in list(records.values())[:_N_SHELL_RUNS]
    ]
    peaks, shells = first_shells(coldest)
    radius = [round(0.55 * float(peak), 4) for peak in np.diag(peaks)]
    return own.model_copy(update={"radius": tuple(radius), "shells": tuple(map(tuple, shells.round(4).tolist()))})


def _densities(settings: Simulate, records: dict[str, list[_Record]]) -> list[float]:
    """Return the mean number density of each record over the runs."""
    shape = settings.liquid.shape
    edges = np.array([[record.edge for record in one] for one in records.values()])
    return (settings.n_particles / (edges ** len(shape) * shape.prod())).mean(axis=0).tolist()  # type: ignore[no-any-return]


def _listed(records: Sequence[_Record]) -> str:
    return ", ".join(f"{record.T:g}" for record in records[:12]) + ", ..." * (len(records) > 12)


def _classes(records: dict[str, list[_Record]], sources: Sequence[Source]) -> dict[str, list[int]]:
    """Return the records of each class: by the labels where all files have one, else the coldest is the glass."""
    first = next(iter(records.values()))
    labels = [record.source.label for record in first]
    if None not in labels:
        for run, one in records.items():
            if [record.source.label for record in one] != labels:
                raise ValueError(
                    f"a temperature must have the same class in every run; run {run} differs from the first"
                )
    elif any(source.label for source in sources):
        raise ValueError("class must be given to every file, or to none")
    else:
        labels = ["liquid" if record.T > first[-1].T else "glass" for record in first]
    classes = {name: [k for k, label in enumerate(labels, 1) if label == name] for name in ("liquid", "glass")}
    if not all(classes.values()):
        raise ValueError(
            f"there must be records of a liquid and of a glass; got T = {_listed(first)}, all of one class"
        )
    return classes


def _study(settings: Simulate, name: str, classes: dict[str, list[int]]) -> str:
    """Return the study of an imported ensemble as TOML: its coldest glass against up to five of its liquids."""
    course = settings.imported
    assert course is not None
    liquids = classes["liquid"]
    chosen = sorted({liquids[round(place)] for place in np.linspace(0, len(liquids) - 1, min(5, len(liquids)))})
    control = classes["glass"][-3:-1] if len(classes["glass"]) > 2 else []
    kinds = ["cnn" if settings.liquid.dimension == 2 else "cnn3d", "mpnn"]
    known, scaled = settings.liquid.has_potential, "\nscaled = true" if course.scaled else ""
    shown = "" if known else 'inputs = ["thermal"]\nbaselines = ["g_r", "descriptors"]\n'
    text = f"""# Written by vitrify import: change what you like below [simulate.imported].
name = "{re.sub(r"[^A-Za-z0-9_.-]", "_", name)}"
seed = 1

[simulate]
mixture = "{settings.mixture}"
n_particles = {settings.n_particles}
n_runs = {settings.n_runs}

[simulate.imported]
digest = "{course.digest}"
edge = {course.edge!r}{scaled}
T = {list(course.T)}
{"" if course.material is None else _table("simulate.imported.material", course.material.model_dump())}
[classify]
{shown}k_glass = {classes["glass"][-1]}
k = {chosen}
k_transfer = {chosen[0]}
control = {control}
null = {str(settings.n_runs >= 16).lower()}
validation = 0.25
test = 0.25
"""
    for kind in kinds:
        text += f'\n[[models]]\nkind = "{kind}"\n'
        changed = suited(kind, settings.liquid).model_dump(exclude_unset=True, exclude={"kind"})
        text += "".join(f"{name} = {_toml(value)}\n" for name, value in changed.items())
    Study.model_validate(tomllib.loads(text))
    return text


def _table(name: str, values: dict[str, Any]) -> str:
    """Return a table of TOML."""
    return "\n".join(["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""])


def _toml(value: Any) -> str:
    """Return a value in TOML's words, which but for tables are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _keep_run(job: _Job, tick: parallel.Tick) -> None:
    """Compute energies and inherent structures of a run's records, where there is a potential, and keep them."""
    settings, course = job.settings, job.settings.imported
    liquid = settings.liquid
    assert course is not None
    assert isinstance(liquid, Mixture | Material)
    with store.RunFolder(job.root, settings, seed=0, run=job.run) as folder:
        for k, record in enumerate(job.records, 1):
            positions = np.load(record.path)
            state = dynamics.State(
                mixture=liquid,
                edge=record.edge if course.scaled else course.edge,
                positions=positions,
                velocities=np.zeros(positions.shape, np.float32),
            )
            energies, minimum = minimised(state, settings.minimise) if liquid.has_potential else (None, None)
            unknown = replace(state, velocities=np.full(positions.shape, np.nan, np.float32))
            folder.append(
                Frame(
                    k=k, T=record.T, state=unknown, energies=energies, minimum=minimum, simulate_s=0.0, minimise_s=0.0
                )
            )
            tick(1)
        folder.finish()


def minimised(state: dynamics.State, fire: dynamics.Fire) -> tuple[Energies, dynamics.Minimum]:
    """Return the energies of a state and its inherent structure, by its mixture or by the user's pair style.

    Raises:
        ValueError: There is no potential.
        FileNotFoundError: The potential is a pair style, and LAMMPS is not installed.
        RuntimeError: LAMMPS has failed.
    """
    if isinstance(state.mixture, Material):
        return pair_style.evaluate(state, fire)
    return dynamics.energies(state), dynamics.minimise(state, fire)
