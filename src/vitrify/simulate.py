r"""One run of an ensemble: a stream of records, each with its inherent structure.

A run is a pure function of its settings, the study's seed and its own number. Every record draws from its own random
stream, so a run continued from record k gives the same bits as one that was never stopped, and a run simulated beside
others the same as one alone.
"""

__all__ = ["Batched", "Engine", "Frame", "Simulate", "records", "records_together"]

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
from pydantic import (
    AfterValidator,
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

from vitrify import dynamics, stability
from vitrify.dataset import Input
from vitrify.material import Material
from vitrify.potentials import MIXTURES, Energies, Liquid, Mixture
from vitrify.protocols import EVERY, PROTOCOLS, Bath, Cool, Cycle, Hold, Imported, Leg, Quench, Schedule
from vitrify.stability import BlownUpError, Heating
from vitrify.system import stream

Reached = tuple[int, dynamics.State]
"""A record, and the exact state at it; record 0 is the end of the equilibration."""


def _known_mixture(name: str) -> str:
    if name not in (*MIXTURES, Material.name):
        raise ValueError(f"mixture must be one of {', '.join(MIXTURES)}; got {name!r}")
    return name


class Simulate(BaseModel):
    """An ensemble of independent runs of one mixture: cooled, unless another protocol is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixture: Annotated[str, AfterValidator(_known_mixture)] = Field(
        "ka2d", description="Model liquid: " + ", ".join(MIXTURES)
    )
    n_particles: PositiveInt = Field(400, description="Particles per system")
    n_runs: PositiveInt = Field(64, description="Independent runs")
    n_equilibrate: NonNegativeInt = Field(10_000, description="Time steps at the first temperature before the protocol")
    dt: PositiveFloat = Field(
        0.005,
        le=0.05,
        description="Time step; for Lennard-Jones at T = 2 at most 0.01: a run that a longer one heats is stopped",
    )
    tau: PositiveFloat = Field(0.5, description="Time constant of the thermostat")
    engine: Literal["vitrify", "lammps"] = Field("vitrify", description="What integrates and minimises")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the engine vitrify runs")
    n_processes: PositiveInt = Field(1, description="MPI processes of each run of the engine lammps")
    cool: Cool | None = Cool()
    quench: Quench | None = None
    hold: Hold | None = None
    cycle: Cycle | None = None
    schedule: Schedule | None = None
    imported: Imported | None = None
    minimise: dynamics.Fire = dynamics.Fire()

    @model_validator(mode="before")
    @classmethod
    def _another_replaces_the_default(cls, values: Any) -> Any:
        if isinstance(values, dict) and "cool" not in values and any(values.get(name) for name in PROTOCOLS):
            return values | {"cool": None}
        return values

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        named = [name for name in PROTOCOLS if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"name one protocol of {', '.join(PROTOCOLS)}; got {' and '.join(named) or 'none'}")
        if self.n_equilibrate % EVERY:
            raise ValueError(f"n_equilibrate must be a multiple of {EVERY}; got {self.n_equilibrate}")
        if (self.mixture == Material.name) != (self.imported is not None and self.imported.material is not None):
            raise ValueError(
                f"mixture {Material.name!r} goes with the table imported.material, which vitrify import writes, "
                f"and with nothing else; got mixture = {self.mixture!r}"
            )
        mixture = self.liquid
        if isinstance(mixture, Material):  # nothing is simulated
            mixture.species(self.n_particles)
            return self
        if self.engine not in mixture.engines:
            raise ValueError(
                f"engine must be {' or '.join(mixture.engines)} for mixture {self.mixture}; got {self.engine!r}"
            )
        if self.device != "cpu" and self.engine != "vitrify":
            raise ValueError(f"device {self.device!r} is for engine 'vitrify' only; got engine = {self.engine!r}")
        if self.n_processes > 1 and self.engine != "lammps":
            raise ValueError(
                f"n_processes is for engine 'lammps' only; got {self.n_processes}: spread runs with --workers"
            )
        if self.dt > 0.02 and "vitrify" in mixture.engines:
            raise ValueError(f"dt must be at most 0.02 for mixture {self.mixture}; got {self.dt}")
        _engine(self).check_size(mixture, self.n_particles)
        if self.device == "cuda" and isinstance(mixture, Mixture):
            from vitrify import cuda  # only who asks for it needs it

            cuda.check_size(mixture, self.n_particles)
        if self.engine == "vitrify" and self.bath.P_start is not None:
            raise ValueError(
                "schedule.P_start: engine 'vitrify' holds no pressure; leave it out, or name engine 'lammps'"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_named(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not chosen, so that a new choice changes the name of no run made before it."""
        unchosen = {"engine": "vitrify", "device": "cpu", "n_processes": 1} | dict.fromkeys(PROTOCOLS)
        return {name: value for name, value in write(self).items() if name not in unchosen or value != unchosen[name]}

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return next(name for name in PROTOCOLS if getattr(self, name) is not None)

    @property
    def liquid(self) -> Liquid | Material:
        """What the runs are of: the mixture, or a user's own material."""
        own = None if self.imported is None else self.imported.material
        return MIXTURES[self.mixture] if own is None else own

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Configurations that exist: without a potential, thermal ones only."""
        return ("thermal", "inherent") if self.liquid.has_potential else ("thermal",)

    @property
    def box(self) -> np.ndarray:
        """Edge lengths of the box; the one that all are scaled to where imported records have boxes of their own."""
        if self.imported is not None:
            return np.asarray(self.imported.edge * self.liquid.shape)
        return np.asarray(MIXTURES[self.mixture].box(self.n_particles))

    @property
    def own_boxes(self) -> bool:
        """Whether every record has a box of its own."""
        return self.bath.P_start is not None or (self.imported is not None and self.imported.scaled is True)

    @property
    def bath(self) -> Bath:
        """Course of the bath, and the steps of the records."""
        course: Bath = getattr(self, self.protocol).bath()
        return course


class Engine(Protocol):
    """What integrates one system at a time: :mod:`vitrify.dynamics`, or a module with the same functions.

    ``advance`` is given ``pressure``, at the beginning and at the end, only if the protocol holds one.
    """

    def check_size(self, mixture: Any, n_particles: int) -> None:
        """Refuse a system that is too small."""
        ...

    def start(self, mixture: Any, *, n_particles: int, T: float, rng: np.random.Generator) -> dynamics.State:
        """Return a state to equilibrate."""
        ...

    def advance(
        self,
        state: dynamics.State,
        *,
        n_steps: int,
        dt: float,
        T_from: float,
        T_to: float,
        tau: float | None,
        every: int,
        rng: np.random.Generator,
    ) -> dynamics.State:
        """Return the state ``n_steps`` later."""
        ...

    def minimise(self, state: dynamics.State, fire: dynamics.Fire) -> dynamics.Minimum:
        """Return the inherent structure of a state."""
        ...

    def energies(self, state: dynamics.State) -> Energies:
        """Return the potential energy per particle of a state."""
        ...


class Batched(Protocol):
    """What integrates many systems at once, each with its own random numbers."""

    def advance(
        self,
        states: Sequence[dynamics.State],
        *,
        n_steps: int,
        dt: float,
        T_from: float,
        T_to: float,
        tau: float | None,
        every: int,
        rngs: Sequence[np.random.Generator],
    ) -> list[dynamics.State]:
        """Return every state ``n_steps`` later."""
        ...

    def minimise(self, states: Sequence[dynamics.State], fire: dynamics.Fire) -> list[dynamics.Minimum]:
        """Return the inherent structure of every state."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One record of a run.

    Args:
        k: Record number, from 1.
        T: Bath temperature.
        state: Positions and velocities.
        energies: Potential energy per particle of the thermal configuration, where the potential is known.
        minimum: Its inherent structure, likewise.
        simulate_s: Seconds spent on reaching this record.
        minimise_s: Seconds spent on minimising it.
    """

    k: int
    T: float
    state: dynamics.State
    energies: Energies | None
    minimum: dynamics.Minimum | None
    simulate_s: float
    minimise_s: float


def records(settings: Simulate, *, seed: int, run: int, after: Reached | None = None) -> Iterator[Frame]:
    """Yield the records of one run, from the first or from the one after ``after``.

    Args:
        settings: The ensemble.
        seed: The study's seed.
        run: Number of the run.
        after: The last record kept and its state, to continue a run; it gives the same bits.

    Raises:
        stability.BlownUpError: The run has left its bath, because dt is too long.
        FileNotFoundError: LAMMPS is not installed.
        ModuleNotFoundError: The device needs a package that is not installed.
    """
    engine, bath = _engine(settings), settings.bath
    began = time.perf_counter()
    if after is None:
        done, state = 0, _equilibrated(engine, settings, seed=seed, run=run)
    else:
        done, state = _continued(settings, after)
    heating = _unheated(settings, state, engine.energies(state))
    for k in range(done + 1, bath.n_frames + 1):
        rng = stream(seed, "cool", run, k)  # the name all protocols share, and every run made so far has
        at, legs = bath.step(k - 1), bath.between(k)
        for leg in legs:
            with _located(settings, [run], at):
                state = engine.advance(state, **_along(leg, settings), rng=rng)
            at += leg.n_steps
        energies = engine.energies(state)
        heating = _still_sound(settings, run, heating, legs, state, energies, at)
        reached = time.perf_counter()
        minimum = engine.minimise(state, settings.minimise)
        minimised = time.perf_counter()
        yield Frame(
            k=k,
            T=bath.T(k),
            state=state,
            energies=energies,
            minimum=minimum,
            simulate_s=reached - began,
            minimise_s=minimised - reached,
        )
        began = time.perf_counter()


def records_together(
    settings: Simulate, *, seed: int, after: Mapping[int, Reached | None], device: Batched | None = None
) -> Iterator[dict[int, Frame]]:
    """Yield the records of many runs, those that are furthest behind first until all are level.

    Args:
        settings: The ensemble.
        seed: The study's seed.
        after: Of every run, the last record kept and its state; ``None`` to begin it.
        device: What advances and minimises the batch; that of the settings by default.

    Yields:
        The next record of the runs that have come least far, by run. Seconds are shared evenly among them.

    Raises:
        stability.BlownUpError: A run has left its bath, because dt is too long.
    """
    device, bath = device or _device(settings.device), settings.bath
    fresh = [run for run, last in after.items() if last is None]
    last = {run: _continued(settings, reached) for run, reached in after.items() if reached is not None}
    began = time.perf_counter()
    last |= zip(fresh, ((0, state) for state in _equilibrated_together(device, settings, seed, fresh)), strict=True)
    heating = {run: _unheated(settings, state, dynamics.energies(state)) for run, (_, state) in last.items()}
    while last and (least := min(k for k, _ in last.values())) < bath.n_frames:
        k, runs = least + 1, [run for run, (reached, _) in last.items() if reached == least]
        states = [last[run][1] for run in runs]
        rngs = [stream(seed, "cool", run, k) for run in runs]
        at, legs = bath.step(least), bath.between(k)
        for leg in legs:
            with _located(settings, runs, at):
                states = device.advance(states, **_along(leg, settings), rngs=rngs)
            at += leg.n_steps
        energies = [dynamics.energies(state) for state in states]
        for run, state, now in zip(runs, states, energies, strict=True):
            heating[run] = _still_sound(settings, run, heating[run], legs, state, now, at)
        reached_s = time.perf_counter() - began
        minima = device.minimise(states, settings.minimise)
        minimised_s = time.perf_counter() - began - reached_s
        last |= {run: (k, state) for run, state in zip(runs, states, strict=True)}
        yield {
            run: Frame(
                k=k,
                T=bath.T(k),
                state=state,
                energies=now,
                minimum=minimum,
                simulate_s=reached_s / len(runs),
                minimise_s=minimised_s / len(runs),
            )
            for run, state, now, minimum in zip(runs, states, energies, minima, strict=True)
        }
        began = time.perf_counter()


def _engine(settings: Simulate) -> Engine:
    if settings.engine == "lammps":
        from vitrify import lammps  # only who asks for it needs it

        return lammps.on(settings.n_processes)
    return dynamics


def _device(name: str) -> Batched:
    if name != "cuda":
        raise ValueError(f"device must be 'cuda' to run many systems at once; got {name!r}")
    from vitrify import cuda  # only who asks for it needs it

    cuda.check_available()
    return cuda


def _along(leg: Leg, settings: Simulate) -> dict[str, Any]:
    """Return what a leg says to an engine."""
    words: dict[str, Any] = {"n_steps": leg.n_steps, "T_from": leg.T_from, "T_to": leg.T_to}
    words |= {"dt": settings.dt, "tau": settings.tau, "every": EVERY}
    return words if leg.pressure is None else words | {"pressure": leg.pressure}


def _equilibration(settings: Simulate) -> Leg:
    bath = settings.bath
    T, P = bath.T_start, bath.P_start
    return Leg(n_steps=settings.n_equilibrate, T_from=T, T_to=T, P_from=P, P_to=P)


def _equilibrated(engine: Engine, settings: Simulate, *, seed: int, run: int) -> dynamics.State:
    """Return a run's state at the start of its protocol."""
    leg, rng = _equilibration(settings), stream(seed, "start", run)
    mixture = MIXTURES[settings.mixture]
    begin = engine.start(mixture, n_particles=settings.n_particles, T=leg.T_from, rng=rng)
    with _located(settings, [run], None):
        state = engine.advance(begin, **_along(leg, settings), rng=rng)
    heating = _unheated(settings, begin, engine.energies(begin))
    _still_sound(settings, run, heating, [leg], state, engine.energies(state), None)
    return state


def _equilibrated_together(device: Batched, settings: Simulate, seed: int, runs: list[int]) -> list[dynamics.State]:
    """Return the states of many runs at the start of their protocol."""
    leg, mixture = _equilibration(settings), MIXTURES[settings.mixture]
    if not runs:
        return []
    rngs = [stream(seed, "start", run) for run in runs]
    start = _engine(settings).start
    begin = [start(mixture, n_particles=settings.n_particles, T=leg.T_from, rng=rng) for rng in rngs]
    with _located(settings, runs, None):
        states = device.advance(begin, **_along(leg, settings), rngs=rngs)
    for run, before, state in zip(runs, begin, states, strict=True):
        heating = _unheated(settings, before, dynamics.energies(before))
        _still_sound(settings, run, heating, [leg], state, dynamics.energies(state), None)
    return states


def _step(settings: Simulate, run: int, n_steps: int, *, protocol: bool) -> str:
    """Return a step in words; ``n_steps`` is counted from the beginning of the protocol or of the equilibration."""
    return f"step {n_steps} of {settings.protocol if protocol else 'the equilibration'}, run {run},"


@contextlib.contextmanager
def _located(settings: Simulate, runs: Sequence[int], at: int | None) -> Iterator[None]:
    """Say of an engine's error which run it was, and at which step; ``at`` is ``None`` in the equilibration."""
    try:
        yield
    except BlownUpError as error:
        place = _step(settings, runs[error.system], (at or 0) + error.n_steps, protocol=at is not None)
        raise error.at(place, run=runs[error.system]) from error


def _continued(settings: Simulate, after: Reached) -> Reached:
    """Return a record that a run goes on from, and its state, which may still be hot from an earlier bath."""
    (k, state), bath = after, settings.bath
    hot, left, memory = bath.T_start, bath.step(k), float(np.exp(-EVERY * settings.dt / settings.tau))
    for leg in bath.legs:
        n_actions = min(left, leg.n_steps) // EVERY
        along = leg.T_from + (leg.T_to - leg.T_from) * np.arange(1, n_actions + 1) * EVERY / leg.n_steps
        _, hot = stability.ceiling(along, hot=max(hot, leg.T_from) if n_actions else hot, n_free=1, memory=memory)
        left -= n_actions * EVERY
    return k, replace(state, watch=replace(state.watch, hot=max(hot, state.watch.hot)))


def _unheated(settings: Simulate, state: dynamics.State, energies: Energies) -> Heating | None:
    """Return where the heat of a run is counted from; a barostat does work of its own, and nothing is conserved."""
    T = settings.bath.T_start
    held = settings.bath.P_start is not None
    return None if held else Heating(conserved=state.conserved(energies), hottest=T)


def _still_sound(
    settings: Simulate,
    run: int,
    heating: Heating | None,
    legs: Sequence[Leg],
    state: dynamics.State,
    energies: Energies,
    at: int | None,
) -> Heating | None:
    """Return the heat of a run after some legs.

    Raises:
        BlownUpError: The time step has made too much.
    """
    n_steps = sum(leg.n_steps for leg in legs)
    if heating is None or not n_steps:
        return heating
    now = heating.after(
        state.conserved(energies),
        n_free=state.n_free,
        T=sum(leg.n_steps * (leg.T_from + leg.T_to) / 2 for leg in legs) / n_steps,
        times=n_steps * settings.dt / settings.tau,
        hottest=max(max(leg.T_from, leg.T_to) for leg in legs),
    )
    if now.too_much:
        place = _step(settings, run, n_steps if at is None else at, protocol=at is not None)
        why = f"and the time step had made heat worth {now.excess:.2g} of temperature beyond what is allowed"
        raise BlownUpError(n_steps, settings.dt, legs[-1].T_to, state.temperature, run, why, place)
    return now
