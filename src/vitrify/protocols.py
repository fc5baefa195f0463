r"""What is done to a liquid: the course of the bath, and the steps at which it is recorded.

Every protocol of a study file comes down to one :class:`Bath`: legs in which the bath goes linearly,

.. math:: T(s) = T_{from} - (T_{from} - T_{to})\,(s - s_0) / n_{steps}, \qquad s_0 \le s \le s_0 + n_{steps},

and the steps :math:`s_k`, :math:`k = 1, 2, \ldots`, of its records, counted from the end of the equilibration. Where
two legs meet, the earlier one ends: a record on the joint has the temperature of its end. The pressure, where it is
held, goes the same way.
"""

__all__ = [
    "EVERY",
    "PROTOCOLS",
    "Bath",
    "Cool",
    "Cycle",
    "Hold",
    "Imported",
    "Leg",
    "Quench",
    "Recorded",
    "Schedule",
    "Segment",
]

import itertools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from vitrify.material import Material

Settings = TypeVar("Settings", bound=BaseModel)

EVERY = 20
"""Steps between two actions of the thermostat: every leg and every record is a whole number of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """Time steps in which the bath goes linearly from one temperature to another, and the pressure if one is held."""

    n_steps: int
    T_from: float
    T_to: float
    P_from: float | None = None
    P_to: float | None = None

    @property
    def pressure(self) -> tuple[float, float] | None:
        """Pressure at the beginning and at the end, if it is held."""
        return None if self.P_from is None or self.P_to is None else (self.P_from, self.P_to)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bath:
    """The course of the bath over one run.

    Args:
        T_start: Temperature of the equilibration.
        P_start: Pressure of the equilibration, if one is held.
        legs: What follows.
        records: Steps at which a record is taken, increasing.
    """

    T_start: float
    P_start: float | None = None
    legs: tuple[Leg, ...]
    records: tuple[int, ...]

    @property
    def n_frames(self) -> int:
        """Number of records."""
        return len(self.records)

    def step(self, k: int) -> int:
        """Return the steps from the end of the equilibration to record ``k``; ``k = 0`` is that end."""
        return self.records[k - 1] if k else 0

    def T(self, k: int) -> float:  # noqa: N802
        """Return the temperature of the bath at record ``k``; ``k = 0`` is the equilibration.

        Where a leg ends it is the leg's end to the last bit, which the part of a leg is not.
        """
        if not k:
            return self.T_start
        ends = dict(zip(itertools.accumulate(leg.n_steps for leg in self.legs), self.legs, strict=True))
        leg = ends.get(self.step(k))
        return self.between(k)[-1].T_to if leg is None else leg.T_to

    def between(self, k: int) -> list[Leg]:
        """Return the legs, cut to length, that lead from record ``k - 1`` to record ``k``."""
        begin, end = self.step(k - 1), self.step(k)
        # whole units, so that evenly spaced records of one ramp are at k / n_frames of it to the last bit
        unit = math.gcd(*self.records, *(leg.n_steps for leg in self.legs))
        parts, first = [], 0
        for leg in self.legs:
            last = first + leg.n_steps
            a, b = max(begin, first), min(end, last)
            if a < b:
                parts.append(_cut(leg, (a - first) // unit, (b - first) // unit, leg.n_steps // unit))
            first = last
        return parts


def _cut(leg: Leg, a: int, b: int, n: int) -> Leg:
    """Return the part of a leg from ``a`` to ``b``, where the whole is ``n``."""

    def at(begin: float | None, end: float | None, i: int) -> Any:
        return None if begin is None or end is None else begin - (begin - end) * i / n

    return Leg(
        n_steps=(b - a) * (leg.n_steps // n),
        T_from=at(leg.T_from, leg.T_to, a),
        T_to=at(leg.T_from, leg.T_to, b),
        P_from=at(leg.P_from, leg.P_to, a),
        P_to=at(leg.P_from, leg.P_to, b),
    )


class Recorded(BaseModel, ABC):
    """What every protocol says about its records: exactly one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_frames: PositiveInt | None = Field(200, description="Records, evenly spaced in time")
    frames_at_step: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = Field(
        None, description="Or: the time steps recorded"
    )
    frames_at_T: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = Field(
        None, description="Or: the bath temperatures recorded, every time the bath meets them"
    )

    @model_validator(mode="before")
    @classmethod
    def _chosen_replace_even(cls, values: Any) -> Any:
        chosen = ("frames_at_step", "frames_at_T")
        if isinstance(values, dict) and "n_frames" not in values and any(values.get(name) for name in chosen):
            return values | {"n_frames": None}
        return values

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        names = ("n_frames", "frames_at_step", "frames_at_T")
        named = [f"{name} = {getattr(self, name)}" for name in names if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"name one of {', '.join(names)}; got {' and '.join(named) or 'none'}")
        self.bath()
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_none(write(self))

    @abstractmethod
    def bath(self) -> Bath:
        """Return the course of the bath."""

    def _course(self, T_start: float, legs: tuple[Leg, ...], *, P_start: float | None = None) -> Bath:
        for leg in legs:
            if leg.n_steps % EVERY:
                raise ValueError(
                    f"n_steps must be a multiple of {EVERY}, the steps between two actions of the thermostat; "
                    f"got {leg.n_steps}: try {_near(leg.n_steps, EVERY)}"
                )
        legs = tuple(leg for leg in legs if leg.n_steps)
        records = (
            self._even(legs) if self.n_frames else self._at_step(legs) if self.frames_at_step else self._at_T(legs)
        )
        return Bath(T_start=T_start, P_start=P_start, legs=legs, records=records)

    def _even(self, legs: tuple[Leg, ...]) -> tuple[int, ...]:
        assert self.n_frames is not None
        n_steps, block = sum(leg.n_steps for leg in legs), self.n_frames * EVERY
        if n_steps % block or not n_steps:
            each = "" if len(legs) == 1 else f", in all {len(legs)} parts together,"
            raise ValueError(
                f"n_steps{each} must be a multiple of {EVERY} n_frames = {block}, so that every record is a "
                f"whole number of thermostat steps; got {n_steps}: try {_near(n_steps, block)}"
            )
        return tuple(range(n_steps // self.n_frames, n_steps + 1, n_steps // self.n_frames))

    def _at_step(self, legs: tuple[Leg, ...]) -> tuple[int, ...]:
        steps, last = self.frames_at_step or (), sum(leg.n_steps for leg in legs)
        for step in steps:
            if step % EVERY:
                raise ValueError(
                    f"frames_at_step must be multiples of {EVERY}, the steps between two actions of the thermostat; "
                    f"got {step}: try {_near(step, EVERY)}"
                )
        if any(a >= b for a, b in itertools.pairwise(steps)):
            raise ValueError(f"frames_at_step must increase; got {list(steps)}")
        if steps[-1] > last:
            raise ValueError(f"frames_at_step must be at most {last}, where the protocol ends; got {steps[-1]}")
        return tuple(steps)

    def _at_T(self, legs: tuple[Leg, ...]) -> tuple[int, ...]:  # noqa: N802
        if all(leg.T_from == leg.T_to for leg in legs):
            raise ValueError("frames_at_T needs a bath that changes; here it does not: name n_frames or frames_at_step")
        met: dict[int, float] = {}
        for T in self.frames_at_T or ():
            steps = _meetings(legs, T)
            if not steps:
                ends = [T for leg in legs for T in (leg.T_from, leg.T_to)]
                raise ValueError(
                    f"frames_at_T must be temperatures that the bath meets after its start, between {min(ends)} "
                    f"and {max(ends)}; got {T}"
                )
            for step in steps:
                if met.setdefault(step, T) != T:
                    raise ValueError(f"frames_at_T: {met[step]} and {T} fall on the same step {step}; leave one out")
        return tuple(sorted(met))


def _meetings(legs: tuple[Leg, ...], T: float) -> list[int]:
    """Return the thermostat steps nearest to where the bath is at ``T``; of a leg that stays there, its end."""
    steps, first = [], 0
    for leg in legs:
        fall = leg.T_from - leg.T_to
        at = (leg.T_from - T) / fall if fall else float(leg.T_from == T)
        if 0 < at <= 1:  # where a leg begins, the one before it ends
            steps.append(max(EVERY, first + round(at * leg.n_steps / EVERY) * EVERY))
        first += leg.n_steps
    return steps


def _near(n: int, block: int) -> int:
    """Return the positive multiple of ``block`` nearest to ``n``."""
    return max(1, round(n / block)) * block


def _falling(settings: Settings, high: str, low: str) -> Settings:
    """Return the settings if one temperature is below the other."""
    above, below = getattr(settings, high), getattr(settings, low)
    if below >= above:
        raise ValueError(f"{low} must be below {high} = {above}; got {below}")
    return settings


class Cool(Recorded):
    """A linear ramp of the bath temperature."""

    T_start: PositiveFloat = Field(2.0, description="Bath temperature before the ramp")
    T_end: PositiveFloat = Field(0.05, description="Bath temperature at the end of the ramp")
    n_steps: PositiveInt = Field(200_000, description="Time steps of the ramp, t_cool")

    @model_validator(mode="after")
    def _cools(self) -> Self:
        return _falling(self, "T_start", "T_end")

    def bath(self) -> Bath:
        """Return the ramp."""
        return self._course(self.T_start, (Leg(n_steps=self.n_steps, T_from=self.T_start, T_to=self.T_end),))


class Quench(Recorded):
    """A jump of the bath, then ageing: from the first step on it is at ``T_end``; the velocities are not touched.

    The liquid is equilibrated at ``T_start``. Only the thermostat takes its heat out, in a few times its constant tau.
    """

    T_start: PositiveFloat = Field(2.0, description="Bath temperature before the jump")
    T_end: PositiveFloat = Field(description="Bath temperature after the jump")
    n_steps: PositiveInt = Field(description="Time steps after the jump")

    @model_validator(mode="after")
    def _cools(self) -> Self:
        return _falling(self, "T_start", "T_end")

    def bath(self) -> Bath:
        """Return the bath after the jump."""
        return self._course(self.T_start, (Leg(n_steps=self.n_steps, T_from=self.T_end, T_to=self.T_end),))


class Hold(Recorded):
    """Ageing, or equilibrium, at one bath temperature."""

    T: PositiveFloat = Field(description="Bath temperature, of the equilibration too")
    n_steps: PositiveInt = Field(description="Time steps")

    def bath(self) -> Bath:
        """Return the bath that stays as it is."""
        return self._course(self.T, (Leg(n_steps=self.n_steps, T_from=self.T, T_to=self.T),))


class Cycle(Recorded):
    """Cooling and heating in turn, along straight ramps, beginning and ending at ``T_high``."""

    T_high: PositiveFloat = Field(description="Bath temperature before the first and after every cycle")
    T_low: PositiveFloat = Field(description="Bath temperature in the middle of every cycle")
    n_cycles: PositiveInt = Field(1, description="Times down and up")
    n_steps: PositiveInt = Field(description="Time steps of one way, down or up")

    @model_validator(mode="after")
    def _cools_first(self) -> Self:
        return _falling(self, "T_high", "T_low")

    def bath(self) -> Bath:
        """Return all the ways down and up."""
        down = Leg(n_steps=self.n_steps, T_from=self.T_high, T_to=self.T_low)
        up = Leg(n_steps=self.n_steps, T_from=self.T_low, T_to=self.T_high)
        return self._course(self.T_high, (down, up) * self.n_cycles)


class Segment(BaseModel):
    """One piece of a schedule; it begins where the one before it ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    T_end: PositiveFloat = Field(description="Bath temperature at its end")
    n_steps: NonNegativeInt = Field(description="Time steps; 0 is a jump")
    P_end: float | None = Field(None, description="Pressure at its end, where one is held; unchanged by default")

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_none(write(self))


class Schedule(Recorded):
    """Any piecewise linear course of the bath, and of the pressure where the engine holds one."""

    T_start: PositiveFloat = Field(2.0, description="Bath temperature before the first segment")
    P_start: float | None = Field(None, description="Pressure before the first segment; without it the box is fixed")
    segments: Annotated[tuple[Segment, ...], Field(min_length=1)] = Field(description="The pieces, in order")

    def bath(self) -> Bath:
        """Return the segments joined end to end."""
        if self.P_start is None and any(segment.P_end is not None for segment in self.segments):
            raise ValueError("P_end needs a pressure held from the start: name P_start")
        legs, T, P = [], self.T_start, self.P_start
        for segment in self.segments:
            P_end = P if segment.P_end is None else segment.P_end
            legs.append(Leg(n_steps=segment.n_steps, T_from=T, T_to=segment.T_end, P_from=P, P_to=P_end))
            T, P = segment.T_end, P_end
        return self._course(self.T_start, tuple(legs), P_start=self.P_start)


class Imported(BaseModel):
    """Records that somebody else's program made; written by `vitrify import`, and known by their content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the configurations")
    edge: PositiveFloat = Field(description="Box edge of every record, along x; their mean where they are scaled")
    T: tuple[PositiveFloat, ...] = Field(min_length=1, description="Temperature of each record")
    material: Material | None = Field(None, description="What it is of, where it is of no model liquid")
    scaled: Literal[True] | None = Field(None, description="Whether records had boxes of their own")

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_none(write(self))

    def bath(self) -> Bath:
        """Return a course that is at each record's temperature; its steps have no meaning."""
        legs = tuple(Leg(n_steps=EVERY, T_from=T, T_to=T) for T in self.T)
        return Bath(T_start=self.T[0], legs=legs, records=tuple(EVERY * (k + 1) for k in range(len(self.T))))


def _without_none(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


PROTOCOLS = {
    "cool": Cool,
    "quench": Quench,
    "hold": Hold,
    "cycle": Cycle,
    "schedule": Schedule,
    "imported": Imported,
}
