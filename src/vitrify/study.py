"""One investigation from settings to results: cool, learn, score, locate. Only this module knows the order."""

__all__ = [
    "BATCH",
    "SHIPPED",
    "Classify",
    "Study",
    "Training",
    "compile_kernels",
    "finished",
    "from_toml",
    "named",
    "pair",
    "quickstart",
    "report_again",
    "run",
    "simulate",
    "split",
    "trainings",
]

import errno
import hashlib
import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from vitrify import baselines, dynamics, learn, parallel, report, scores, store, transition, views
from vitrify.dataset import (
    EnergyPair,
    Ensemble,
    Labelled,
    Split,
    compared,
    equal_energy,
    labelled,
    null,
    split_runs,
)
from vitrify.models import CNN, MPNN
from vitrify.potentials import MIXTURES, Mixture
from vitrify.protocols import Cool
from vitrify.simulate import Simulate
from vitrify.system import Configuration, stream

Progress = Callable[[str, float, float], None]
"""Called with the stage's name, the work done and the work in all."""

_STUDIES = files("vitrify") / "studies"

SHIPPED = tuple(
    sorted(entry.name.removesuffix(".toml") for entry in _STUDIES.iterdir() if entry.name.endswith(".toml"))
)
"""Names of the studies that come with the package."""

BATCH = 256
"""Runs advanced together on a device: enough to fill it, few enough that each may hold its folder's lock."""

Logit = Callable[[Labelled], np.ndarray]
Input = Literal["thermal", "inherent"]
Network = Annotated[CNN | MPNN, Field(discriminator="kind")]


class Classify(BaseModel):
    """Which records are told apart, by what, and how the runs are split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Input, ...] = Field(("thermal", "inherent"), description="Configurations shown to the classifiers")
    k_glass: PositiveInt = Field(200, description="Record labelled glass")
    k: tuple[PositiveInt, ...] = Field((5, 60, 100, 140, 160), description="Records labelled liquid, one training each")
    k_transfer: PositiveInt = Field(5, description="The liquid whose classifier is also tested on all the others")
    control: tuple[PositiveInt, ...] = Field(
        (171, 195), description="Two records below the transition: glass against glass; none when empty"
    )
    null: bool = Field(True, description="Also tell the glass record of half the runs from that of the other half")
    baselines: tuple[Literal["e_pot", "e_is", "g_r", "descriptors"], ...] = Field(
        ("e_pot", "e_is", "g_r", "descriptors"),
        description="Logistic regressions beside the networks; e_pot for thermal, e_is for inherent configurations",
    )
    train: learn.Train = learn.Train()
    validation: float = Field(0.15, gt=0, lt=1, description="Fraction of the runs that choose")
    test: float = Field(0.25, gt=0, lt=1, description="Fraction of the runs that are touched once")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.k_transfer not in self.k:
            raise ValueError(f"k_transfer must be one of k = {list(self.k)}; got {self.k_transfer}")
        if self.k_glass in self.k:
            raise ValueError(f"k must not hold k_glass = {self.k_glass}: a record cannot be both liquid and glass")
        if self.control and len(set(self.control)) != 2:
            raise ValueError(f"control must be two different records, or empty; got {list(self.control)}")
        if len(set(self.k)) < len(self.k):
            raise ValueError(f"k must not repeat a record; got {list(self.k)}")
        return self

    @property
    def records(self) -> tuple[int, ...]:
        """All records whose positions are needed, in order."""
        return tuple(sorted({*self.k, self.k_glass, *self.control}))


class Study(BaseModel):
    """One investigation: an ensemble, the classifiers trained on it, and the seed of everything random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("study", description="Title of the report")
    seed: int = Field(1, ge=0, description="Seed of every random stream")
    simulate: Simulate = Simulate()
    classify: Classify = Classify()
    models: tuple[Network, ...] = Field((CNN(), MPNN()), description="Networks to train")

    @model_validator(mode="after")
    def _records_exist(self) -> Self:
        last, protocol = self.simulate.bath.n_frames, self.simulate.protocol
        choices = ("k_glass", "k", "k_transfer", "control")
        unnamed = ", ".join(f"classify.{name}" for name in choices if name not in self.classify.model_fields_set)
        beyond = [k for k in self.classify.records if k > last]
        advice = f"the defaults of {unnamed} are records of a cooling that has {Cool().n_frames}: name them"
        if beyond:
            raise ValueError(
                f"classify: records must be at most the {last} of simulate.{protocol}; got {beyond}"
                + (f"; {advice}" if unnamed else "")
            )
        if protocol != "cool" and unnamed:
            raise ValueError(f"classify: simulate.{protocol} is not a cooling, and {advice}")
        kinds = [model.kind for model in self.models]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"models must be of different kinds, one of each; got {kinds}")
        d = MIXTURES[self.simulate.mixture].dimension
        if d != 2 and any(model.kind == "cnn" for model in self.models):
            raise ValueError(f"models: cnn draws pictures of 2 dimensions; {self.simulate.mixture} has {d}: use mpnn")
        split(self)
        return self


def from_toml(path: Path) -> Study:
    """Return the study a TOML file describes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not TOML.
        pydantic.ValidationError: A key or value is not one a study has; all such are named.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    return Study.model_validate(settings)


def named(name: str) -> Study:
    """Return the study of a file, or, where there is no such file, the shipped study of that name.

    Raises:
        FileNotFoundError: It is neither; the shipped ones are named.
        ValueError: As for :func:`from_toml`.
    """
    if Path(name).is_file():
        return from_toml(Path(name))
    if name in SHIPPED:
        return _shipped(name)
    raise FileNotFoundError(errno.ENOENT, f"No such file, and no shipped study: those are {', '.join(SHIPPED)}", name)


def quickstart() -> Study:
    """Return the study of the quick start."""
    return _shipped("quickstart")


def _shipped(name: str) -> Study:
    return Study.model_validate(tomllib.loads((_STUDIES / f"{name}.toml").read_text("utf-8")))


def compile_kernels() -> None:
    """Compile every kernel and keep it beside the package, so that the first study need not; takes half a minute.

    An installer calls this once. Without it the first study compiles what it uses.
    """
    for mixture in MIXTURES.values():
        if not isinstance(mixture, Mixture):  # run by LAMMPS, which is compiled
            continue
        rng = stream(0, "compile", mixture.name)
        state = dynamics.start(mixture, n_particles=300, T=1.0, rng=rng)
        state = dynamics.advance(state, n_steps=20, dt=0.005, T_from=1.0, T_to=1.0, tau=0.5, rng=rng)
        dynamics.energies(state)
        seen = dynamics.configuration(state)
        positions = seen.positions[None].astype(np.float32)
        for network in (CNN(), MPNN()):
            if mixture.dimension == 2 or network.kind != "cnn":
                inputs = network.inputs(positions, seen.species, seen.box)
                network.build(seed=0).eval()(*inputs).sum().backward()


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One classifier of a study: what it is trained on, and what it is scored on.

    Args:
        folder: Its folder below ``out/models``; a finished one holds ``outcome.json``.
        input: Configurations shown.
        name: Kind of network, or name of the baseline.
        model: Settings of the network; ``None`` for a baseline.
        train_k: Record labelled liquid, or the first of the two of a control.
        k_glass: Record labelled glass.
        control: Whether both are glass.
        tested: Records scored against the glass, ``train_k`` among them.
    """

    folder: str
    input: Input
    name: str
    model: CNN | MPNN | None
    train_k: int
    k_glass: int
    control: bool
    tested: tuple[int, ...]


def trainings(study: Study) -> list[Training]:
    """Return every classifier a study trains, whether or not it is trained already."""
    classify = study.classify
    pairs = [(k, classify.k_glass, False) for k in classify.k]
    if classify.control:
        pairs.append((min(classify.control), max(classify.control), True))
    if classify.null:
        pairs.append((classify.k_glass, classify.k_glass, True))
    found = []
    for name in classify.inputs:
        classifiers: list[tuple[str, CNN | MPNN | None]] = [(model.kind, model) for model in study.models]
        classifiers += [(word, None) for word in classify.baselines if word != _OTHER_ENERGY[name]]
        for k, glass, control in pairs:
            tested = classify.k if k == classify.k_transfer and not control else (k,)
            for word, model in classifiers:
                identity = {
                    "simulate": study.simulate.model_dump(mode="json"),
                    "version": store.VERSION,
                    "seed": study.seed,
                    "split": [classify.validation, classify.test],
                    "input": name,
                    "classifier": word if model is None else model.model_dump(mode="json"),
                    "train": None if model is None else classify.train.model_dump(mode="json"),
                    "pair": [k, glass],
                    "tested": list(tested),
                }
                digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
                found.append(
                    Training(
                        folder=f"{name}-{word}-k{k:03d}-{digest}",
                        input=name,
                        name=word,
                        model=model,
                        train_k=k,
                        k_glass=glass,
                        control=control,
                        tested=tested,
                    )
                )
    return found


def simulate(study: Study, out: Path, *, n_workers: int, progress: Progress) -> dict[str, float]:
    """Cool and minimise every run that is not finished; return the seconds spent on each, over all processes.

    Args:
        study: The investigation.
        out: Folder of the results; the runs go to ``out/data``.
        n_workers: Processes.
        progress: Told the records kept.

    Raises:
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder cannot be written, or the disk is full.
    """
    settings, root = study.simulate, out / "data"
    kept = store.unfinished(root, settings, seed=study.seed)
    n_frames = settings.bath.n_frames
    done = (settings.n_runs - len(kept)) * n_frames + sum(kept.values())

    def tick(amount: float) -> None:
        nonlocal done
        done += int(amount)
        progress("cool and minimise", done, n_frames * settings.n_runs)

    jobs = [store.Job(root=root, settings=settings, seed=study.seed, run=run) for run in kept]
    tick(0)
    if settings.device == "cpu":
        parallel.spread(store.keep_run, jobs, n_workers=n_workers, progress=tick)
    else:  # the device is the parallel machine: one process feeds it
        batches = [jobs[first : first + BATCH] for first in range(0, len(jobs), BATCH)]
        parallel.spread(store.keep_runs, batches, n_workers=1, progress=tick)
    return store.seconds(root, settings, seed=study.seed)


def split(study: Study) -> Split:
    """Return which runs of a study train, choose and test."""
    classify = study.classify
    return split_runs(study.simulate.n_runs, seed=study.seed, validation=classify.validation, test=classify.test)


def finished(study: Study, out: Path) -> bool:
    """Return whether a folder holds the results and the report of a study, made by these versions."""
    done = store.read_json(out / "results.json")
    if not done or not (out / "report.html").exists():
        return False
    return bool(done["study"] == study.model_dump(mode="json") and done["versions"] == store.versions())


def run(study: Study, out: Path, *, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Return the results of a study, doing only what an earlier call in the same folder has not done.

    Args:
        study: The investigation.
        out: Folder of the results: ``out/data`` holds the runs, ``out/models`` the classifiers.
        n_workers: Processes.
        progress: Told the stage and how far it is.

    Returns:
        The contents of ``out/results.json``, described in ``docs/results.md``; ``out/report.html`` shows them.

    Raises:
        ValueError: The study holds a pressure, so that its records have no box in common.
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder cannot be written, or the disk is full.
    """
    if study.simulate.bath.P_start is not None:
        raise ValueError("simulate.schedule holds a pressure: every record has its own box; use vitrify simulate")
    settings = study.model_dump(mode="json")
    if finished(study, out):
        return dict(store.read_json(out / "results.json"))
    began = time.perf_counter()
    spent = simulate(study, out, n_workers=n_workers, progress=progress)
    ensemble = store.load(out / "data", study.simulate, seed=study.seed, k=study.classify.records)
    outcomes = _classifiers(study, ensemble, out / "models", n_workers=n_workers, progress=progress)
    results = {
        "study": settings,
        "versions": store.versions(),
        "cooling_curve": _cooling_curve(ensemble),
        "minimiser": _minimiser(study, ensemble),
        "reference": _reference(study, ensemble),
        "tg": _tg(study, ensemble),
        "classification": [row for outcome in outcomes for row in _rows(study, ensemble, outcome)],
        "learning_curves": [_learning_curve(outcome) for outcome in outcomes if outcome["history"]],
    }
    spent["learn_s"] = sum(outcome["seconds"] for outcome in outcomes)
    results["timing"] = spent | {"total_s": time.perf_counter() - began}
    return _report(study, results, out, n_workers=n_workers, progress=progress)


def pair(
    slow: Study, fast: Study, out: Path, *, tolerance: float = 1e-3, n_workers: int, progress: Progress
) -> dict[str, Any]:
    """Return the liquid of a slow cooling and the glass of a fast one that have the same inherent-structure energy.

    Runs that ``out`` already holds, of either study, are used; the classifiers of the studies play no part.

    Args:
        slow: The study whose liquid is wanted.
        fast: The study whose glass is wanted.
        out: Folder of the results: ``out/data`` holds the runs of both.
        tolerance: Largest difference of the mean energies, unshifted, in epsilon_AA per particle.
        n_workers: Processes.
        progress: Told the records kept of each study in turn.

    Returns:
        The contents of ``out/pair.json``: both studies' ensembles, the ``pair`` as
        :class:`vitrify.dataset.EnergyPair`, and as ``published`` the records nearest the temperatures of the
        published pair, which was matched on energies of stalled minimisations.

    Raises:
        ValueError: The studies are of different systems, or no two records agree.
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder cannot be written, or the disk is full.
    """
    one, two = slow.simulate, fast.simulate
    if (one.mixture, one.n_particles) != (two.mixture, two.n_particles):
        raise ValueError(
            f"both studies must have the same mixture and n_particles; got {one.mixture} with {one.n_particles} and "
            f"{two.mixture} with {two.n_particles}"
        )
    ensembles = []
    for study in (slow, fast):
        simulate(study, out, n_workers=n_workers, progress=progress)
        ensembles.append(store.load(out / "data", study.simulate, seed=study.seed, k=()))
    found = {
        "slow": {"name": slow.name, "seed": slow.seed, "simulate": one.model_dump(mode="json")},
        "fast": {"name": fast.name, "seed": fast.seed, "simulate": two.model_dump(mode="json")},
        "tolerance": tolerance,
        "pair": asdict(equal_energy(*ensembles, tolerance=tolerance)),
        "published": asdict(_published_pair(*ensembles)),
        "versions": store.versions(),
    }
    store.write_json(out / "pair.json", found)
    return dict(store.read_json(out / "pair.json"))


_PUBLISHED_PAIR = (0.54725, 0.05)
"""Bath temperatures of the published liquid, t_cool = 2e7, and glass, t_cool = 2e5, called equal in energy [repo]."""


def _published_pair(slow: Ensemble, fast: Ensemble) -> EnergyPair:
    """Return the records nearest the published temperatures."""
    k_slow, k_fast = (
        int(np.abs(ensemble.T - T).argmin()) + 1 for ensemble, T in zip((slow, fast), _PUBLISHED_PAIR, strict=True)
    )
    return compared(slow, fast, k_slow=k_slow, k_fast=k_fast)


def report_again(out: Path, *, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Write the report of a finished study again, and return its results.

    Raises:
        ValueError: The folder holds no finished study.
    """
    results = store.read_json(out / "results.json")
    if results is None:
        raise ValueError(f"{out} holds no results.json: run a study there first")
    study = Study.model_validate(results["study"])
    return _report(study, results, out, n_workers=n_workers, progress=progress)


def _report(study: Study, results: dict[str, Any], out: Path, *, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Write the page, the figures and, last, ``results.json``; return the results with their conclusions."""
    results = results | {"conclusions": report.conclusions(results)}
    report.write(
        results,
        _pictures(study, out),
        out,
        n_workers=n_workers,
        progress=lambda done, total: progress("report", done, total),
    )
    store.write_json(out / "results.json", results)
    return dict(store.read_json(out / "results.json"))


def _pictures(study: Study, out: Path) -> dict[str, report.Pictures]:
    """Return, of the first run, a glass and a liquid as the network sees them and as the source log drew them."""
    classify = study.classify
    one = study.simulate.model_copy(update={"n_runs": 1})
    ensemble = store.load(out / "data", one, seed=study.seed, k=(classify.k_glass, classify.k_transfer))
    if ensemble.thermal.shape[-1] != 2:
        return {}
    view = next((model.view for model in study.models if isinstance(model, CNN)), views.Image())

    def drawn(positions: np.ndarray) -> np.ndarray:
        shown = Configuration(positions=positions.astype(float), species=ensemble.species, box=ensemble.box)
        return views.log_picture(shown)

    pictures: dict[str, report.Pictures] = {}
    for name in classify.inputs:
        glass, liquid = getattr(ensemble, name)[0]
        seen = view(np.stack([glass, liquid]), ensemble.species, ensemble.box, stride=CNN.stride)[0]
        pictures[name] = (seen[0], seen[1], drawn(glass), drawn(liquid))
    return pictures


_OTHER_ENERGY = {"thermal": "e_is", "inherent": "e_pot"}
"""The energy that is not of the configurations shown: the thermal energy of an inherent structure is a thermometer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Training:
    """One classifier to train on one pair of records, and the pairs to score it on."""

    folder: Path
    input: Input
    name: str
    model: CNN | MPNN | None  # None: the baseline of that name
    settings: learn.Train
    seed: int
    train_k: int
    k_glass: int
    control: bool
    train: Labelled
    validation: dict[int, Labelled]
    test: dict[int, Labelled]


def _classifiers(
    study: Study, ensemble: Ensemble, folder: Path, *, n_workers: int, progress: Progress
) -> list[dict[str, Any]]:
    """Return the outcome of every classifier, training those that an earlier call has not."""
    trainings = _trainings(study, ensemble, split(study), folder)
    outcomes = {training.folder: store.read_json(training.folder / "outcome.json") for training in trainings}
    todo = [training for training in trainings if outcomes[training.folder] is None]
    # a network counts as its steps, so that the rate is honest; a baseline is one step
    total = sum(1 if training.model is None else training.settings.n_steps for training in todo)
    done = 0.0

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("learn", done, total)

    if todo:
        tick(0)
        groups: dict[tuple, list[_Training]] = {}
        for training in todo:
            of_its_own = training.folder if training.model is not None else None
            groups.setdefault((training.model is None, training.input, training.name, of_its_own), []).append(training)
        # the short ones last, so that all processes end together
        longest_first = [groups[key] for key in sorted(groups, key=lambda key: len(groups[key]), reverse=True)]
        parallel.spread(_train, longest_first, n_workers=n_workers, progress=tick)
    return [store.read_json(training.folder / "outcome.json") for training in trainings]


def _trainings(study: Study, ensemble: Ensemble, split: Split, folder: Path) -> list[_Training]:
    sets: dict[tuple[Input, int, int], Labelled] = {}
    for one in trainings(study):
        inherent, k, glass = one.input == "inherent", one.train_k, one.k_glass
        for t in one.tested:
            if (one.input, t, glass) not in sets:
                sets[one.input, t, glass] = (
                    null(ensemble, inherent=inherent, k=k, split=split)
                    if k == glass
                    else labelled(ensemble, inherent=inherent, k_glass=glass, k_liquid=t)
                )
    return [
        _Training(
            folder=folder / one.folder,
            input=one.input,
            name=one.name,
            model=one.model,
            settings=study.classify.train,
            seed=int(stream(study.seed, "train", one.input, one.name, one.train_k).integers(2**31)),
            train_k=one.train_k,
            k_glass=one.k_glass,
            control=one.control,
            train=sets[one.input, one.train_k, one.k_glass].of_runs(split.train),
            validation={t: sets[one.input, t, one.k_glass].of_runs(split.validation) for t in one.tested},
            test={t: sets[one.input, t, one.k_glass].of_runs(split.test) for t in one.tested},
        )
        for one in trainings(study)
    ]


def _train(group: list[_Training], tick: parallel.Tick) -> None:
    """Train the classifiers of a group: one network, or one baseline on every pair of records."""
    if group[0].model is not None:
        (training,) = group
        _keep_outcome(training, lambda: _network(training, tick))
        return
    features = _remembered(baselines.BASELINES[group[0].name])
    for training in group:
        _keep_outcome(training, lambda training=training: _baseline(training, features))  # type: ignore[misc]
        tick(1)


def _network(training: _Training, tick: parallel.Tick) -> tuple[Logit, dict[str, list[float]]]:
    assert training.model is not None
    known = 0

    def progress(done: int, _total: int) -> None:
        nonlocal known
        tick(done - known)
        known = done

    trained = learn.train(
        training.model,
        training.train,
        training.validation[training.train_k],
        training.settings,
        seed=training.seed,
        checkpoints=store.Checkpoints(training.folder),
        progress=progress,
    )
    return (lambda data: learn.predict(trained, data)), trained.history


def _baseline(training: _Training, features: Logit) -> tuple[Logit, dict[str, list[float]]]:
    chosen = training.validation[training.train_k]
    fitted = baselines.fit(features(training.train), training.train.label, features(chosen), chosen.label)
    return (lambda data: fitted.logit(features(data))), {}


def _remembered(features: Logit) -> Logit:
    """Return the same features, computed once for each configuration however often it occurs."""
    known: dict[bytes, np.ndarray] = {}

    def of(data: Labelled) -> np.ndarray:
        names = [positions.tobytes() for positions in data.positions]
        new = np.array([name not in known for name in names])
        if new.any():
            known.update(zip(np.array(names, object)[new], features(data.take(new)), strict=True))
        return np.stack([known[name] for name in names])

    return of


def _keep_outcome(training: _Training, train: Callable[[], tuple[Logit, dict[str, list[float]]]]) -> None:
    """Train one classifier, score it, and write its outcome."""
    began = time.perf_counter()
    with store.locked(training.folder):
        logit, history = train()
        outcome = {
            "input": training.input,
            "model": training.name,
            "train_k": training.train_k,
            "glass_k": training.k_glass,
            "control": training.control,
            "n_train": len(training.train.label),
            "settings": None if training.model is None else training.model.model_dump(mode="json"),
            "train": None if training.model is None else training.settings.model_dump(mode="json"),
            "seed": training.seed,
            "history": history,
            "scored": [
                {
                    "test_k": k,
                    "validation": _scored(training.validation[k], logit),
                    "test": _scored(training.test[k], logit),
                }
                for k in training.test
            ],
        }
        store.write_json(training.folder / "outcome.json", outcome | {"seconds": time.perf_counter() - began})


def _scored(data: Labelled, logit: Logit) -> dict[str, list[float]]:
    return {"logit": logit(data).tolist(), "label": data.label.tolist(), "run": data.run.tolist()}


def _rows(study: Study, ensemble: Ensemble, outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row of the classification table for every pair of records an outcome was scored on."""
    rows = []
    for scored in outcome["scored"]:
        logit, label, of_run = (np.array(scored["test"][name]) for name in ("logit", "label", "run"))
        rng = stream(study.seed, "score", outcome["input"], outcome["model"], outcome["train_k"], scored["test_k"])
        plain = scores.score(logit, label, of_run, rng=rng)
        chosen = scored["validation"]
        threshold = scores.rethreshold(np.array(chosen["logit"]), np.array(chosen["label"]))
        moved = scores.score(logit, label, of_run, rng=rng, threshold=threshold)
        rows.append(
            {
                "input": outcome["input"],
                "model": outcome["model"],
                "train_k": outcome["train_k"],
                "test_k": scored["test_k"],
                "glass_k": outcome["glass_k"],
                "train_T": float(ensemble.T[outcome["train_k"] - 1]),
                "test_T": float(ensemble.T[scored["test_k"] - 1]),
                "n_test": plain.n_test,
                "n_test_runs": plain.n_runs,
                "accuracy": asdict(plain.accuracy),
                "auc": asdict(plain.auc),
                "accuracy_rethresholded": asdict(moved.accuracy),
                "seconds": outcome["seconds"],
                "control": outcome["control"],
            }
        )
    return rows


def _learning_curve(outcome: dict[str, Any]) -> dict[str, Any]:
    words = {**outcome["settings"], **outcome["train"], "seed": outcome["seed"], "n_train": outcome["n_train"]}
    flat = {name: value for name, value in words.items() if not isinstance(value, dict)}
    flat |= {f"{name}.{key}": v for name, value in words.items() if isinstance(value, dict) for key, v in value.items()}
    return {
        "input": outcome["input"],
        "model": outcome["model"],
        "train_k": outcome["train_k"],
        "glass_k": outcome["glass_k"],
        "caption": ", ".join(f"{name} = {value}" for name, value in flat.items()),
        "history": outcome["history"],
    }


def _cooling_curve(ensemble: Ensemble) -> dict[str, Any]:
    def both(energies: np.ndarray) -> dict[str, list[float]]:
        mean, se = transition.mean_curve(energies)
        return {"mean": mean.tolist(), "se": se.tolist()}

    return {
        "T": ensemble.T.tolist(),
        "e_is_unshifted": both(ensemble.e_is_unshifted),
        "e_is_shifted": both(ensemble.e_is_shifted),
        "e_pot": both(ensemble.e_pot_unshifted),
        "n_runs": len(ensemble.e_is_unshifted),
    }


def _minimiser(study: Study, ensemble: Ensemble) -> dict[str, Any]:
    return {
        "n_records": int(ensemble.converged.size),
        "n_unconverged": int((~ensemble.converged).sum()),
        "max_force": float(ensemble.max_force.max()),
        "tolerance": study.simulate.minimise.force_max,
    }


def _reference(study: Study, ensemble: Ensemble) -> dict[str, Any]:
    """Return the reference curves of the mixture, and ours minus each where they should agree."""
    settings = study.simulate
    if settings.mixture != "ka2d":
        return {}
    kept: dict[str, Any] = {name: asdict(curve) for name, curve in transition.REFERENCE.items()}
    slowly = settings.cool is not None and settings.cool.n_steps >= 200_000
    in_equilibrium = slowly and settings.n_equilibrate >= 10_000
    hot = ((ensemble.T >= 0.8) & (ensemble.T <= 1.951)).any()
    if settings.n_particles >= 400 and in_equilibrium and hot:
        mean, error = transition.mean_curve(ensemble.e_is_unshifted)
        for name, key in (("true_minima", "difference"), ("published", "difference_published")):
            kept[key] = asdict(transition.compare(ensemble.T, mean, error, transition.REFERENCE[name]))
    return kept


def _tg(study: Study, ensemble: Ensemble) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if study.simulate.cool is None:  # a line through both branches is of one cooling
        return rows
    for name, convention in transition.CONVENTIONS.items():
        if not transition.covers(ensemble.T, convention):
            continue
        estimate = transition.tg(
            ensemble.T, ensemble.e_is_unshifted, convention, name=name, rng=stream(study.seed, "tg", name)
        )
        rows.append(asdict(estimate))
    return rows
