"""What a sweep tries: settings of a network and its training, each addressed by its path, and their values.

A path is ``model.width``, ``train.learning_rate``, ``train.schedule.kind``, or ``model`` for the whole network. Its
values are a list of choices, which may be tables, or a range::

    [sweep.space]
    "model.width" = [8, 16, 32]
    "train.learning_rate" = { low = 1e-3, high = 1e-1, log = true }
    "train.schedule" = [{ kind = "one_cycle" }, { kind = "step", after = 60 }]
"""

__all__ = ["Range", "Sweep", "Values", "applied", "check"]

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from vitrify.learn import recipe
from vitrify.models import MODELS, Model, Network
from vitrify.training import Train

_N_CHECKED = 4096
"""Combinations of choices and ends of ranges that are tried as settings before anything runs."""


class Range(BaseModel):
    """All numbers from ``low`` to ``high``, both included; whole ones where both ends are whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float = Field(description="Lowest value.")
    high: int | float = Field(description="Highest value.")
    log: bool = Field(False, description="Draw evenly in the logarithm.")
    step: int | float | None = Field(None, gt=0, description="Only low, low + step, low + 2 step, up to high.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be less than high, both finite; got low = {self.low}, high = {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(f"log needs low > 0 and no step; got low = {self.low}, step = {self.step}")
        if self.step is not None:
            n = (self.high - self.low) / self.step
            if abs(n - round(n)) > 1e-9 * n or (self.whole and not isinstance(self.step, int)):
                raise ValueError(
                    f"high must be low plus a whole number of steps; got low = {self.low}, high = {self.high}, "
                    f"step = {self.step}"
                )
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def listed(self) -> tuple[int | float, ...]:
        """All values, or none if they cannot be counted."""
        if self.log or (self.step is None and not self.whole):
            return ()
        step = 1 if self.step is None else self.step
        return tuple(self.low + i * step for i in range(round((self.high - self.low) / step) + 1))

    @property
    def probes(self) -> tuple[int | float, ...]:
        """The ends and, of numbers that need not be whole, one between that is not round."""
        between = () if self.whole else (self.low + (self.high - self.low) / math.pi,)
        return (self.low, *between, self.high)


Choice = bool | int | float | str | dict[str, Any] | list[Any]

Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[tuple[Choice, ...], Tag("choices")],
    Discriminator(lambda given: "choices" if isinstance(given, list | tuple) else "range"),
]
"""Choices or a range."""


class Sweep(BaseModel):
    """Which settings are tried, how they are drawn, and how often each is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: dict[str, Values] = Field(
        min_length=1, description="Path of each swept setting, such as model.width, with its choices or its range"
    )
    sampler: Literal["grid", "random", "tpe"] = Field(
        "random", description="Every combination once, independent draws, or draws near what did well before"
    )
    n_trials: PositiveInt | None = Field(None, description="Trials; a grid is tried whole unless this says less")
    n_seeds: PositiveInt = Field(3, description="Trainings of each trial, alike but for the seed")
    prune: Literal["none", "median"] = Field(
        "none", description="Whether a trial ends whose first training is worse than the median of the trials before"
    )
    n_unpruned: PositiveInt = Field(5, description="Trials to complete before any may be pruned")
    prune_from: NonNegativeInt = Field(0, description="Optimiser step before which nothing is pruned")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for path, values in self.space.items():
            if not isinstance(values, Range):
                if not values:
                    raise ValueError(f"space: {path} must have a choice; got none")
                if len(set(map(json.dumps, values))) < len(values):
                    raise ValueError(f"space: {path} must not repeat a choice; got {list(values)}")
            inside = [other for other in self.space if other.startswith(f"{path}.")]
            if inside:
                raise ValueError(f"space: {inside[0]} is a part of {path}; sweep one of them")
        if self.sampler != "grid":
            if self.n_trials is None:
                raise ValueError(f"n_trials must be given for sampler = {self.sampler!r}")
            return self
        endless = [path for path, values in self.grid.items() if not values]
        if endless:
            raise ValueError(f"space: a grid needs choices, or a range with a step; {endless[0]} has neither")
        if self.n_planned > self.n_combinations:
            raise ValueError(f"n_trials must be at most the grid's {self.n_combinations}; got {self.n_trials}")
        return self

    @property
    def grid(self) -> dict[str, tuple[Any, ...]]:
        """The values of each path that a grid visits, the paths sorted."""
        return {
            path: values.listed if isinstance(values, Range) else values for path, values in sorted(self.space.items())
        }

    @property
    def n_combinations(self) -> int:
        """Points of the grid."""
        return math.prod(map(len, self.grid.values()))

    @property
    def n_planned(self) -> int:
        """Trials in all."""
        return self.n_combinations if self.n_trials is None else self.n_trials


def applied(model: Model, train: Train, values: Mapping[str, Any]) -> tuple[Model, Train]:
    """Return the settings of a network and its training with those at some paths replaced, and checked as always.

    Where a ``kind`` is replaced by another, the settings beside it that no path names take the new kind's defaults.
    Settings of the training that were neither given nor named take the network's recipe.

    Args:
        model: Settings of the network.
        train: Settings of the training.
        values: New value of each path.

    Raises:
        ValueError: A path is no setting, or its value is refused.

    Example:
        >>> from vitrify.models import CNN
        >>> network, train = applied(CNN(), Train(), {"model.width": 8, "train.schedule.warm_up": 0.1})
        >>> network.width, train.schedule.warm_up
        (8, 0.1)
    """
    parts: dict[str, dict[tuple[str, ...], Any]] = {"model": {}, "train": {}}
    for path, value in values.items():
        first, *rest = path.split(".")
        if first not in parts:
            raise _NoSettingError(f"space: {path} must begin with model or train")
        parts[first][tuple(rest)] = value
    networks: Any = Network if type(model) in MODELS.values() else type(model)
    network: Model = _validated("model", _replaced("model", model, parts["model"]), networks)
    return network, recipe(network, _validated("train", _replaced("train", train, parts["train"]), Train))


def check(sweep: Sweep, model: Model, train: Train) -> None:
    """Try the choices and the ends of the ranges as settings.

    Raises:
        ValueError: A path is no setting, or a value is refused; all such are named.
    """
    tried = {
        path: values.probes if isinstance(values, Range) else values for path, values in sorted(sweep.space.items())
    }
    wrong: dict[str, None] = {}
    for path in list(tried):
        try:
            applied(model, train, {path: tried[path][0]})
        except _NoSettingError as error:
            wrong[str(error)] = None
            del tried[path]
        except ValueError:  # of a value, which those of the other paths may mend
            pass
    combinations: Iterator[tuple[Any, ...]] = itertools.product(*tried.values())
    if math.prod(map(len, tried.values())) > _N_CHECKED:  # then each value beside the first ones of the other paths
        first = [values[0] for values in tried.values()]
        combinations = (
            (*first[:place], value, *first[place + 1 :])
            for place, values in enumerate(tried.values())
            for value in values
        )
    for values in combinations:
        try:
            applied(model, train, dict(zip(tried, values, strict=True)))
        except ValueError as error:
            wrong |= dict.fromkeys(str(error).splitlines())
    if wrong:
        raise ValueError("\n".join(wrong))


class _NoSettingError(ValueError):
    """A path leads nowhere."""


def _replaced(path: str, settings: Any, values: Mapping[tuple[str, ...], Any]) -> Any:
    """Return what was given of some settings, with the values below it replaced."""
    if () in values:
        return values[()]
    fields = type(settings).model_fields
    given = {name: getattr(settings, name) for name in fields if name == "kind" or name in settings.model_fields_set}
    if values.get(("kind",), given.get("kind")) != given.get("kind"):
        return _nested(values)
    for name in dict.fromkeys(keys[0] for keys in values):
        below = {keys[1:]: value for keys, value in values.items() if keys[0] == name}
        part = getattr(settings, name, None)
        if name not in fields:
            raise _NoSettingError(f"space: {path}.{name} is not a setting; {path} has {', '.join(fields)}")
        if () not in below and not isinstance(part, BaseModel):
            beyond = ".".join(next(iter(below)))
            raise _NoSettingError(f"space: {path}.{name}.{beyond} is not a setting; {path}.{name} is one value")
        given[name] = _replaced(f"{path}.{name}", part, below)
    return given


def _nested(values: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return a dictionary of dictionaries, from the keys that lead to each value."""
    nested: dict[str, Any] = {}
    for (*above, last), value in values.items():
        place = nested
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return nested


def _validated(path: str, given: Any, settings: Any) -> Any:
    """Return the settings that a dictionary describes."""
    try:
        return TypeAdapter(settings).validate_python(given)
    except ValidationError as error:
        lines = [
            f"space: {'.'.join([path, *map(str, item['loc'])])}: {item['msg']}"
            + ("" if isinstance(item["input"], dict) else f"; got {item['input']!r}")
            for item in error.errors()
        ]
        raise ValueError("\n".join(lines)) from error
