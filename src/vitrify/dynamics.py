r"""Molecular dynamics of one small system: start, advance at a bath temperature, minimise.

This is the whole interface of the engine; what is behind it is in :mod:`vitrify.kernels`. A state is exact: it is
advanced to the same bits whether or not the run was stopped and read back in between, because every call
rebuilds its neighbour list from the positions and takes the random numbers it is given.
"""

__all__ = [
    "DESCENT",
    "Fire",
    "Minimum",
    "State",
    "advance",
    "check_size",
    "configuration",
    "energies",
    "fixed_point",
    "forces",
    "hottest",
    "minimise",
    "shuffled_lattice",
    "start",
    "thermostat",
]

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Int32
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from vitrify import stability
from vitrify.material import Material
from vitrify.potentials import Energies, Liquid, Mixture
from vitrify.system import Configuration

DESCENT = (0.02, 0.002, 0.1, 0.99, 1.1, 0.5, 5, 0.1)
"""FIRE's first and smallest time step, mixing and its decay, growth, cut, delay, and the largest move."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Positions and velocities of one system, A particles first.

    Args:
        mixture: The species and their potential; its shape is the box's, square or cubic but for a user's own material.
        edge: Box edge along x, in sigma_AA.
        positions: Fixed point, each box edge being 2**32 units.
        velocities: In sigma_AA per unit time.
        watch: What is known of the run that led to it, to see that it follows its bath.
    """

    mixture: Liquid | Material
    edge: float
    positions: Int32[np.ndarray, "n d"]
    velocities: Float32[np.ndarray, "n d"]
    watch: stability.Watch = stability.UNWATCHED

    @property
    def box(self) -> Float[np.ndarray, " d"]:
        """Edge lengths, in sigma_AA."""
        return self.edge * self.mixture.shape

    @property
    def n_free(self) -> int:
        """Degrees of freedom of the velocities, d(N - 1)."""
        n, d = self.velocities.shape
        return int(d * (n - 1))

    @property
    def temperature(self) -> float:
        """Kinetic temperature, with d(N - 1) degrees of freedom."""
        return float((self.velocities.astype(float) ** 2).sum() / self.n_free)

    def conserved(self, energies: Energies) -> float:
        """Return the energy that exact dynamics conserves, from the state's own energies, in epsilon_AA."""
        return self.temperature * self.n_free / 2 + energies.shifted * len(self.positions) - self.watch.work


class Fire(BaseModel):
    """The FIRE minimiser: tolerances of an inherent structure and the parameters of the descent.

    References:
        Bitzek et al., 2006, doi:10.1103/PhysRevLett.97.170201;
        Guenole et al., 2020, doi:10.1016/j.commatsci.2020.109584
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    force_rms: PositiveFloat = Field(2e-4, description="Converged when the rms force component is below this ...")
    force_max: PositiveFloat = Field(2e-3, description="... and the largest force on any particle below this")
    max_evaluations: PositiveInt = Field(20_000, description="Force evaluations after which a record is flagged")
    dt_max: PositiveFloat = Field(0.035, description="Largest time step")


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimum:
    """An inherent structure.

    Args:
        state: The minimum, at rest.
        energies: Its energies per particle.
        max_force: Largest force left on any particle.
        n_evaluations: Force evaluations spent.
        converged: Whether both force tolerances were met.
    """

    state: State
    energies: Energies
    max_force: float
    n_evaluations: int
    converged: bool


def start(mixture: Mixture, *, n_particles: int, T: float, rng: np.random.Generator) -> State:
    """Return a state at rest in a minimum from a shuffled lattice, with Maxwell-Boltzmann velocities at ``T``.

    Args:
        mixture: The species and their potential.
        n_particles: Number of particles, both species.
        T: Temperature of the velocities; the total momentum is zero.
        rng: Source of the species' places and of the velocities.

    Raises:
        ValueError: The box would be too small for the minimum image.
    """
    lattice = shuffled_lattice(mixture, n_particles=n_particles, T=T, rng=rng)
    return replace(minimise(lattice, Fire()).state, velocities=lattice.velocities)


def shuffled_lattice(mixture: Liquid, *, n_particles: int, T: float, rng: np.random.Generator) -> State:
    """Return a square or cubic lattice, jittered, with species in random places and velocities at ``T``.

    Args:
        mixture: The species and their potential.
        n_particles: Number of particles, all species.
        T: Temperature of the Maxwell-Boltzmann velocities; the total momentum is zero.
        rng: Source of the species' places and of the velocities.
    """
    d = mixture.dimension
    sites = int(np.ceil(n_particles ** (1 / d) - 1e-9))
    lattice = np.stack(np.meshgrid(*[np.arange(sites)] * d, indexing="ij"), axis=-1).reshape(-1, d)
    chosen = lattice[rng.permutation(len(lattice))[:n_particles]]
    jitter = 0.05 * rng.uniform(-1, 1, (n_particles, d))
    velocities = rng.normal(0.0, np.sqrt(T), (n_particles, d))
    velocities -= velocities.mean(axis=0)
    return State(
        mixture=mixture,
        edge=float(mixture.box(n_particles)[0]),
        positions=fixed_point((chosen + 0.5 + jitter) / sites),
        velocities=velocities.astype(np.float32),
    )


def advance(
    state: State,
    *,
    n_steps: int,
    dt: float,
    T_from: float,
    T_to: float,
    tau: float | None,
    every: int = 20,
    rng: np.random.Generator,
) -> State:
    """Return the state ``n_steps`` later, the bath going linearly from ``T_from`` to ``T_to``.

    Args:
        state: Where to begin.
        n_steps: Time steps, a multiple of ``every``.
        dt: Time step.
        T_from: Bath temperature at the beginning.
        T_to: Bath temperature at the end.
        tau: Time constant of the Bussi thermostat; ``None`` conserves the energy.
        every: Steps between two actions of the thermostat.
        rng: Source of the thermostat's noise.

    Raises:
        ValueError: ``n_steps`` is not a multiple of ``every``, or the box is too small.
        stability.BlownUpError: The kinetic temperature has left the bath's.
    """
    bath, memory, noise, chi2 = thermostat(
        state, n_steps=n_steps, dt=dt, T_from=T_from, T_to=T_to, tau=tau, every=every, rng=rng
    )
    n_free = state.n_free
    allowed, hot = stability.ceiling(bath, hot=hottest(state, T_from), n_free=n_free, memory=memory)
    most = allowed * n_free / 2
    seen = np.zeros(5)

    def run(work: "_Work") -> int:
        seen[:] = 0
        return int(
            work.kernels.integrate(
                *work.system, work.lists, work.limit2, dt, every, bath, memory, noise, chi2, most, seen
            )
        )

    work, _ = _with_room(state, _skin(max(T_from, T_to)), run)
    after = work.state()
    if not n_steps:
        return after
    watch = state.watch.after(seen, most, bath=bath, dt=dt, every=every, n_free=n_free, hot=hot)
    return replace(after, watch=watch)


def hottest(state: State, T: float) -> float:
    """Return the temperature that a state may have in a bath at ``T``: it may come from a hotter one."""
    return max(T, state.watch.hot, state.temperature)


def thermostat(
    state: State,
    *,
    n_steps: int,
    dt: float,
    T_from: float,
    T_to: float,
    tau: float | None,
    every: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " a"], float, Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
    """Return what the Bussi thermostat needs for its ``a`` actions, as `advance` describes them.

    Returns:
        The bath at each action, the part of the kinetic energy that outlives one, and what each draws: a normal
        number, and the chi-squared sum of the other degrees of freedom.

    Raises:
        ValueError: ``n_steps`` is not a multiple of ``every``.

    References:
        Bussi, Donadio & Parrinello, 2007, doi:10.1063/1.2408420
    """
    if n_steps % every:
        raise ValueError(f"n_steps must be a multiple of every = {every}; got {n_steps}")
    n_actions = n_steps // every
    bath = T_from + (T_to - T_from) * np.arange(1, n_actions + 1) / max(n_actions, 1)
    memory = 1.0 if tau is None else float(np.exp(-every * dt / tau))
    return bath, memory, rng.standard_normal(n_actions), rng.chisquare(state.n_free - 1, n_actions)


def minimise(state: State, fire: Fire) -> Minimum:
    """Return the inherent structure of a state: the minimum of the SHIFTED potential it slides into.

    The unshifted energy jumps where a pair crosses the cut-off, and minimising it stalls far from a minimum; both
    energies of the true minimum are returned.
    """
    dt_first, dt_min, *rest = DESCENT
    descent = (dt_first, dt_min, fire.dt_max, *rest)

    def run(work: "_Work") -> int:
        return int(
            work.kernels.minimise(
                *work.system,
                work.lists,
                work.limit2,
                descent,
                np.float32(fire.force_rms),
                np.float32(fire.force_max),
                fire.max_evaluations,
            )
        )

    work, n_evaluations = _with_room(state, _skin(0.0), run)  # particles move little
    rms, largest = work.residual()
    work.prepare()  # energies are summed over a list just built
    return Minimum(
        state=work.state(velocities=np.zeros_like(state.velocities)),
        energies=work.energies(),
        max_force=largest,
        n_evaluations=n_evaluations,
        converged=rms < fire.force_rms and largest < fire.force_max,
    )


def energies(state: State) -> Energies:
    """Return the potential energy per particle of a state under both conventions."""
    return _prepared(state).energies()


def forces(state: State) -> Float32[np.ndarray, "n d"]:
    """Return the force on every particle, in epsilon_AA / sigma_AA."""
    return _prepared(state).forces()


def check_size(mixture: Mixture, n_particles: int) -> None:
    """Refuse a system whose box is too small for the minimum image and the neighbour list.

    Raises:
        ValueError: There are too few particles.
    """
    reach = mixture.cutoff * np.max(mixture.sigma)
    least = int(np.ceil(mixture.density * ((reach + 0.1) / 0.45) ** mixture.dimension))
    if n_particles < least:
        raise ValueError(f"n_particles must be at least {least} for {mixture.name}; got {n_particles}")


def configuration(state: State) -> Configuration:
    """Return a state's positions in sigma_AA, with its species and box."""
    return Configuration(
        positions=state.positions.view(np.uint32) * (state.box / 2.0**32),
        species=state.mixture.species(len(state.positions)),
        box=state.box,
    )


def _prepared(state: State) -> "_Work":
    """Return the work space with its list built and its forces written."""
    return _with_room(state, _skin(1.0), lambda work: 0 if work.prepare() else -1)[0]


def fixed_point(fraction: np.ndarray) -> np.ndarray:
    """Return fixed-point positions of fractional coordinates; those just below 1 round to 0, the same place."""
    return np.ascontiguousarray(np.round(fraction * 2.0**32).astype(np.int64).astype(np.uint32).view(np.int32))


def _row_around(n_rows: int, axes: int) -> np.ndarray:
    """Return, for each row of bins, the rows within one of it along each of ``axes`` periodic axes."""
    near = np.arange(n_rows)[:, None] + np.arange(min(3, n_rows)) - 1  # of two rows, each is taken once
    near %= n_rows
    if axes == 1:
        return near.astype(np.int32)
    both = near[:, None, :, None] * n_rows + near[None, :, None, :]
    return both.reshape(n_rows**2, -1).astype(np.int32)


def _along_rows(state: State, n_A: int, n_rows: int) -> np.ndarray | slice:
    """Return the particles in the order in which the kernels see them: neighbours in space are near in memory.

    Each species goes row by row, as far as a row of its own width; few particles are in the cache in any order.
    """
    n = len(state.positions)
    if n <= 2048:
        return slice(None)
    rows = (state.positions.view(np.uint32)[:, 1:].astype(np.int64) * n_rows) >> 32
    keys = (state.positions[:, 0].view(np.uint32), *rows.T, np.arange(n) >= n_A)
    return np.lexsort(keys)


def _skin(T: float) -> float:
    """Return the list skin that was fastest at a temperature; it changes no result beyond rounding."""
    return float(np.clip(0.27 + 0.09 * T, 0.28, 0.45))


def _with_room(state: State, skin: float, run: Callable[["_Work"], int]) -> tuple["_Work", int]:
    """Return the work space after ``run(work) >= 0``, and that value, enlarging the list until it fits."""
    room = 1.0
    while True:
        work = _Work(state, skin, room)
        outcome = run(work)
        if outcome >= 0:
            return work, outcome
        room *= 1.5


class _Work:
    """One system laid out for the kernels."""

    def __init__(self, state: State, skin: float, room: float) -> None:
        from vitrify import kernels  # half a second to import, and who only reads states needs none of it

        self.kernels = kernels
        mixture, edge = state.mixture, state.edge
        if not isinstance(mixture, Mixture):
            raise TypeError(f"{mixture.name} is run by {' or '.join(mixture.engines) or 'nothing'}: see vitrify.lammps")
        n, d = state.positions.shape
        sigma, epsilon = np.array(mixture.sigma), np.array(mixture.epsilon)
        reach = mixture.cutoff * sigma.max()
        check_size(mixture, n)
        skin = min(skin, 0.45 * edge - reach)
        unit = edge / 2.0**32
        stride, width = (2 if d == 2 else 4), kernels.WIDTH
        padded = -(-n * stride // width) * width // stride
        n_A = int((mixture.species(n) == 0).sum())
        self._source, self._place = state, _along_rows(state, n_A, round(edge / reach))
        self._positions = np.zeros((padded, stride), np.int32)
        self._positions[:n, :d] = state.positions[self._place]
        self._velocities = np.zeros((padded, stride), np.float32)
        self._velocities[:n, :d] = state.velocities[self._place]
        self._forces = np.zeros((padded, stride), np.float32)
        # odd, and not few: then the bins within reach on either side are never the same bin
        bins, rows = max(int(edge / 0.6), 11) | 1, int(edge / (reach + skin))
        ghost = int(np.ceil((reach + skin) / (edge / bins)))
        assert 2 * ghost + 1 <= bins
        self._grid = (bins, ghost, rows)
        self._pairs = kernels.Pairs(
            force=np.concatenate([sigma**2 / unit**2, 48 * epsilon / sigma**2 * unit], axis=1).astype(np.float32),
            epsilon=epsilon,
            sigma2=sigma**2 / unit**2,
            cutoff2=mixture.cutoff**-2,
            shift=4 * (mixture.cutoff**-12 - mixture.cutoff**-6),
        )
        mean = mixture.density * (np.pi if d == 2 else 4 / 3 * np.pi) * (reach + skin) ** d
        # per particle, and beyond: what one scan of a row may write, and the rows of one transposition
        capacity, groups = int(room * (1.3 * mean + 8)), n // width + 4

        def integers(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.int32)

        self.lists = kernels.Lists(
            reference=self._positions.copy(),
            radius2=((mixture.cutoff * sigma + skin) ** 2 / unit**2).astype(np.float32),
            row_around=_row_around(rows, d - 1),
            bin_of=integers(n, 2),
            bin_fill=integers(bins * rows ** (d - 1)),
            row_start=integers(rows ** (d - 1), bins + 2 * ghost + 1),
            row_fill=integers(rows ** (d - 1), bins + 2 * ghost),
            sorted_positions=integers(d, 2 * n + width),
            sorted_ids=integers(2 * n + width),
            found=integers(n * (capacity + 1) + 4 * width),
            found_start=integers(n + 1),
            members=integers(groups, width),
            group_start=integers(groups + 1),
            neighbours=integers(groups * capacity + 2 * width, width),
        )
        self.limit2 = np.float32((0.5 * skin / unit) ** 2)
        self.system = (
            (edge,) * d,
            self._positions,
            self._velocities,
            self._forces,
            n,
            n_A,
            self._grid,
            self._pairs,
        )

    def state(self, velocities: np.ndarray | None = None) -> State:
        positions = self._in_order(self._positions)
        velocities = self._in_order(self._velocities) if velocities is None else velocities
        return replace(self._source, positions=positions, velocities=velocities)

    def _in_order(self, values: np.ndarray) -> np.ndarray:
        n, d = self._source.positions.shape
        ordered = np.empty((n, d), values.dtype)
        ordered[self._place] = values[:n, :d]
        return ordered

    def prepare(self) -> bool:
        edges, positions, _, forces, n, n_A, grid, pairs = self.system
        return bool(self.kernels.prepare(edges, positions, n, n_A, grid, pairs, self.lists, forces))

    def forces(self) -> np.ndarray:
        return self._in_order(self._forces)

    def residual(self) -> tuple[float, float]:
        """Return the rms force component and the largest force on a particle."""
        forces = self.forces().astype(float)
        return float(np.sqrt((forces**2).mean())), float(np.sqrt((forces**2).sum(axis=1).max()))

    def energies(self) -> Energies:
        edges, positions, _, _, n, n_A, _, pairs = self.system
        unshifted, shifted = self.kernels.energy(edges, positions, n, n_A, pairs, self.lists)
        return Energies(unshifted=float(unshifted / n), shifted=float(shifted / n))
