r"""The cooling protocol: one run is a stream of records, each with its inherent structure.

.. math:: T(k) = T_{start} - (T_{start} - T_{end})\,k / n_{frames}, \qquad k = 1 \ldots n_{frames}

A run is a pure function of its settings, the study's seed and its own number. Every record draws from its own random
stream, so a run continued from record k gives the same bits as one that was never stopped.
"""

__all__ = ["Cool", "Frame", "Simulate", "cool"]

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from vitrify import dynamics
from vitrify.potentials import MIXTURES, Energies
from vitrify.system import stream

_THERMOSTAT_EVERY = 20


def _known_mixture(name: str) -> str:
    if name not in MIXTURES:
        raise ValueError(f"mixture must be one of {', '.join(MIXTURES)}; got {name!r}")
    return name


class Cool(BaseModel):
    """A linear ramp of the bath temperature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    T_start: PositiveFloat = Field(2.0, description="Bath temperature before the ramp")
    T_end: PositiveFloat = Field(0.05, description="Bath temperature of the last record")
    n_steps: PositiveInt = Field(200_000, description="Time steps of the ramp, t_cool")
    n_frames: PositiveInt = Field(200, description="Records, evenly spaced in time")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.n_steps % (self.n_frames * _THERMOSTAT_EVERY):
            block = self.n_frames * _THERMOSTAT_EVERY
            near = max(1, round(self.n_steps / block)) * block
            raise ValueError(
                f"n_steps must be a multiple of {_THERMOSTAT_EVERY} n_frames = {block}, so that every record is a "
                f"whole number of thermostat steps; got {self.n_steps}: try {near}"
            )
        if self.T_end >= self.T_start:
            raise ValueError(f"T_end must be below T_start = {self.T_start}; got {self.T_end}")
        return self

    def T(self, k: int) -> float:  # noqa: N802
        """Return the bath temperature at record ``k``; ``k = 0`` is the start of the ramp."""
        return self.T_start - (self.T_start - self.T_end) * k / self.n_frames


class Simulate(BaseModel):
    """An ensemble of independent coolings of one mixture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixture: Annotated[str, AfterValidator(_known_mixture)] = Field(
        "ka2d", description="Model liquid: " + ", ".join(MIXTURES)
    )
    n_particles: PositiveInt = Field(400, description="Particles per system")
    n_runs: PositiveInt = Field(64, description="Independent runs")
    n_equilibrate: NonNegativeInt = Field(10_000, description="Time steps at T_start before the ramp")
    dt: PositiveFloat = Field(0.005, le=0.02, description="Time step")
    tau: PositiveFloat = Field(0.5, description="Time constant of the thermostat")
    cool: Cool = Cool()
    minimise: dynamics.Fire = dynamics.Fire()

    @model_validator(mode="after")
    def _whole_thermostat_steps(self) -> Self:
        if self.n_equilibrate % _THERMOSTAT_EVERY:
            raise ValueError(f"n_equilibrate must be a multiple of {_THERMOSTAT_EVERY}; got {self.n_equilibrate}")
        dynamics.check_size(MIXTURES[self.mixture], self.n_particles)
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One record of a run.

    Args:
        k: Record number, from 1.
        T: Bath temperature.
        state: Positions and velocities.
        energies: Potential energy per particle of the thermal configuration.
        minimum: Its inherent structure.
        simulate_s: Seconds spent on reaching this record.
        minimise_s: Seconds spent on minimising it.
    """

    k: int
    T: float
    state: dynamics.State
    energies: Energies
    minimum: dynamics.Minimum
    simulate_s: float
    minimise_s: float


def cool(
    settings: Simulate, *, seed: int, run: int, after: tuple[int, dynamics.State] | None = None
) -> Iterator[Frame]:
    """Yield the records of one run, from the first or from the one after ``after``.

    Args:
        settings: The ensemble.
        seed: The study's seed.
        run: Number of the run.
        after: The last record kept and its state, to continue a run; it gives the same bits.

    Raises:
        FloatingPointError: The run has blown up.
    """
    ramp = settings.cool
    began = time.perf_counter()
    done, state = after if after is not None else (0, _equilibrated(settings, seed=seed, run=run))
    for k in range(done + 1, ramp.n_frames + 1):
        state = dynamics.advance(
            state,
            n_steps=ramp.n_steps // ramp.n_frames,
            dt=settings.dt,
            T_from=ramp.T(k - 1),
            T_to=ramp.T(k),
            tau=settings.tau,
            every=_THERMOSTAT_EVERY,
            rng=stream(seed, "cool", run, k),
        )
        reached = time.perf_counter()
        minimum = dynamics.minimise(state, settings.minimise)
        minimised = time.perf_counter()
        yield Frame(
            k=k,
            T=ramp.T(k),
            state=state,
            energies=dynamics.energies(state),
            minimum=minimum,
            simulate_s=reached - began,
            minimise_s=minimised - reached,
        )
        began = time.perf_counter()


def _equilibrated(settings: Simulate, *, seed: int, run: int) -> dynamics.State:
    """Return a run's state at the start of the ramp."""
    T = settings.cool.T_start
    rng = stream(seed, "start", run)
    state = dynamics.start(MIXTURES[settings.mixture], n_particles=settings.n_particles, T=T, rng=rng)
    return dynamics.advance(
        state,
        n_steps=settings.n_equilibrate,
        dt=settings.dt,
        T_from=T,
        T_to=T,
        tau=settings.tau,
        every=_THERMOSTAT_EVERY,
        rng=rng,
    )
