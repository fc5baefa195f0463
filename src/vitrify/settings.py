"""What an investigation is: the settings of a study, and the files they are read from."""

__all__ = [
    "CLASSES",
    "SHIPPED",
    "Classify",
    "EqualEnergy",
    "Input",
    "Study",
    "class_names",
    "from_toml",
    "named",
    "quickstart",
    "split",
]

import errno
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from vitrify import learn
from vitrify.branches import WIDTH_LIMIT
from vitrify.dataset import Input, Split, split_runs
from vitrify.material import NO_POTENTIAL
from vitrify.models import CNN, MODELS, MPNN, Network
from vitrify.protocols import Cool
from vitrify.simulate import Simulate
from vitrify.space import Sweep

_STUDIES = files("vitrify") / "studies"

SHIPPED = tuple(
    sorted(entry.name.removesuffix(".toml") for entry in _STUDIES.iterdir() if entry.name.endswith(".toml"))
)
"""Names of the studies that come with the package."""


CLASSES = ("liquid", "glass")
"""What the classes 0 and 1 are called unless a study says otherwise."""

_LIQUID_ABOVE = {"ka2d": 0.5, "ka3d": 0.5}
"""Temperatures above which a mixture is a liquid by every convention.

Two lines put the transition of ka2d at 0.29 to 0.39, by cooling time; the mode-coupling temperature of ka3d is 0.435
(Kob & Andersen 1995, doi:10.1103/PhysRevE.51.4626).
"""


class Classify(BaseModel):
    """Which records are told apart, by what, and how the runs are split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Input, ...] = Field(("thermal", "inherent"), description="Configurations shown to the classifiers")
    k_glass: PositiveInt = Field(200, description="Record labelled glass, or a liquid that those of k are set against")
    classes: tuple[str, str] | None = Field(
        None,
        description="Names of the classes of k and of k_glass; by default liquid and glass, or both temperatures if "
        "both are liquids",
    )
    k: tuple[PositiveInt, ...] = Field((5, 60, 100, 140, 160), description="Records labelled liquid, one training each")
    groups: tuple[tuple[PositiveInt, ...], ...] = Field(
        (), description="Records labelled liquid together, one training each; also written as lists within k"
    )
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
    margin: float = Field(0.05, gt=0, lt=0.5, description="Difference of an AUC or accuracy that counts as none")
    n_seeds: PositiveInt = Field(1, description="Trainings of each network, whose logits are averaged")
    validation: float = Field(0.15, gt=0, lt=1, description="Fraction of the runs that choose")
    test: float = Field(0.25, gt=0, lt=1, description="Fraction of the runs that are touched once")

    @model_validator(mode="before")
    @classmethod
    def _lists_are_groups(cls, given: Any) -> Any:
        """Take the lists within ``k`` for groups: ``k = [5, [5, 60, 100]]``."""
        if not isinstance(given, dict) or not isinstance(given.get("k"), list | tuple):
            return given
        lists = [one for one in given["k"] if isinstance(one, list | tuple)]
        if not lists:
            return given
        plain = [one for one in given["k"] if not isinstance(one, list | tuple)]
        return given | {"k": plain, "groups": [*given.get("groups", ()), *lists]}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.k_transfer not in self.k:
            raise ValueError(f"k_transfer must be one of k = {list(self.k)}; got {self.k_transfer}")
        if self.k_glass in self.k:
            raise ValueError(f"k must not hold k_glass = {self.k_glass}: a record cannot be in both classes")
        if self.classes is not None and (self.classes[0] == self.classes[1] or not all(map(str.strip, self.classes))):
            raise ValueError(f"classes must be two different names; got {list(self.classes)}")
        if self.control and len(set(self.control)) != 2:
            raise ValueError(f"control must be two different records, or empty; got {list(self.control)}")
        if len(set(self.k)) < len(self.k):
            raise ValueError(f"k must not repeat a record; got {list(self.k)}")
        for group in self.groups:
            if len(set(group)) < 2 or len(set(group)) < len(group) or self.k_glass in group:
                raise ValueError(
                    f"a group of k must be two or more different records other than k_glass = {self.k_glass}; "
                    f"got {list(group)}"
                )
        if len(set(self.groups)) < len(self.groups):
            raise ValueError(f"k must not repeat a group; got {[list(group) for group in self.groups]}")
        return self

    @property
    def records(self) -> tuple[int, ...]:
        """All records whose positions are needed, in order."""
        return tuple(sorted({*self.k, *(k for group in self.groups for k in group), self.k_glass, *self.control}))


class EqualEnergy(BaseModel):
    """A faster cooling of the same runs, whose glass is told from the liquid of equal inherent-structure energy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_steps: PositiveInt = Field(description="Time steps of the fast ramp")
    n_frames: PositiveInt = Field(20, description="Records of the fast ramp, evenly spaced; the last is the glass")
    tolerance: PositiveFloat = Field(1e-3, description="Largest difference of the mean energies, unshifted")


class Study(BaseModel):
    """One investigation: an ensemble, the classifiers trained on it, and the seed of everything random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("study", description="Title of the report")
    seed: int = Field(1, ge=0, description="Seed of every random stream")
    simulate: Simulate = Simulate()
    classify: Classify = Classify()
    models: tuple[Network, ...] = Field((CNN(), MPNN()), description="Networks to train")
    width_limit: PositiveFloat = Field(
        WIDTH_LIMIT, description="Widest crossover, from 10% to 90% of the change of slope in T, called a transition"
    )
    sweep: Sweep | None = Field(None, description="Settings of a network that vitrify sweep tries")
    equal_energy: EqualEnergy | None = Field(None, description="Also tell liquid from glass at equal energy")

    @property
    def fast(self) -> Simulate | None:
        """The fast ensemble of ``equal_energy``: the same runs from the same first configurations."""
        if self.equal_energy is None or self.simulate.cool is None:
            return None
        ramp = self.simulate.cool.model_dump() | {
            "n_steps": self.equal_energy.n_steps,
            "n_frames": self.equal_energy.n_frames,
        }
        return Simulate.model_validate(self.simulate.model_dump() | {"cool": ramp})

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        slow = self.simulate.cool
        if self.equal_energy is not None and (slow is None or self.equal_energy.n_steps >= slow.n_steps):
            raise ValueError(
                f"equal_energy: n_steps must be below simulate.cool.n_steps; got {self.equal_energy.n_steps} and "
                f"{'no cooling' if slow is None else slow.n_steps}"
            )
        _ = self.fast  # its steps are checked too
        return self

    @model_validator(mode="after")
    def _energies_exist(self) -> Self:
        if not self.simulate.liquid.has_potential:
            unknown = sorted({*self.classify.inputs} - {"thermal"}) + sorted(
                {*self.classify.baselines} & {"e_is", "e_pot"}
            )
            if unknown:
                raise ValueError(
                    f"classify: inputs must be thermal and baselines without energies, for {NO_POTENTIAL}; "
                    f"got {', '.join(unknown)}"
                )
        return self

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
        d = self.simulate.liquid.dimension
        blind = [model.kind for model in self.models if d not in model.dimensions]
        if blind:
            able = ", ".join(sorted(kind for kind, model in MODELS.items() if d in model.dimensions))
            raise ValueError(
                f"models: {' and '.join(blind)} cannot see the {d} dimensions of {self.simulate.mixture}; use {able}"
            )
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


def class_names(study: Study, k: int | None = None) -> tuple[str, str]:
    """Return what the two classes of a study are called: that of record ``k``, and that of ``classify.k_glass``.

    Args:
        study: The investigation.
        k: Record labelled 0; by default ``classify.k_transfer``. The pair of equal energy, 0, is a liquid and a
            glass.
    """
    classify, bath = study.classify, study.simulate.bath
    k = classify.k_transfer if k is None else k
    if k < 1:
        return CLASSES
    if classify.classes is not None:
        return classify.classes
    above = _LIQUID_ABOVE.get(study.simulate.mixture)
    if above is None or min(bath.T(k), bath.T(classify.k_glass)) <= above:
        return CLASSES
    return f"liquid at T = {bath.T(k):.4g}", f"liquid at T = {bath.T(classify.k_glass):.4g}"


def split(study: Study) -> Split:
    """Return which runs of a study train, choose and test."""
    classify = study.classify
    return split_runs(study.simulate.n_runs, seed=study.seed, validation=classify.validation, test=classify.test)
