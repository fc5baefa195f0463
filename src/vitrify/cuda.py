r"""The engine on a graphics card: many systems of one mixture at a time, one thread block each.

The physics, the random numbers and the algorithms are those of :mod:`vitrify.dynamics` and :mod:`vitrify.kernels`; only
the order of the sums differs, so trajectories agree to single-precision rounding for as long as chaos allows. A block
keeps its system for many thousand steps::

    shared memory of a block, at most 48 KiB
        xy (n,) int64                           fixed-point positions: both coordinates in one load
        z (n,) int32                            in three dimensions
        then, at different times,
        start (cells + 1,), fill (cells,) int32, members (n,) uint16: the particles in the order of their cells
        or scratch (3, threads) float64: sums over the block
    global memory of a block
        velocities, forces (d, n) float32       thread t has particles t, t + threads, ...
        reference (d, n) int32                  positions at the last build of the list
        neighbours (capacity, lines) uint16     a column for each particle, so that a warp reads whole lines
        row_end (n,) uint64                     where each column ends
        unsorted (n,) uint16                    members before they are put in order

The atomic counters that fill the cells leave their members in any order; a particle's place is then the number of
smaller ids in its cell. With sums over a tree of fixed shape this makes a system's result the same bits whatever else
the launch holds. Requires the extra ``cuda`` and an NVIDIA card, or ``NUMBA_ENABLE_CUDASIM=1``, numba's slow simulator.
"""

__all__ = ["advance", "available", "check_available", "check_size", "minimise"]

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba.core import config

from vitrify import dynamics, stability
from vitrify.dynamics import DESCENT, Fire, Minimum, State, hottest, thermostat
from vitrify.potentials import Mixture

try:
    from numba import cuda
except ImportError:
    cuda = None

Outcome = TypeVar("Outcome")

_SHARED_BYTES = 48 * 1024  # what every card gives a block that does not ask for more
_PARTICLE_STEPS = 20_000_000  # of one system in one launch: about a second, so that Ctrl-C is heard
_REGISTERS = 64  # then four blocks of 256 threads fit a multiprocessor
_MOST_THREADS = 512
_SKIN = 0.5  # of the list: the fastest of 0.3, 0.5, 0.7 and 0.9 on an H200 at T = 0.2 and 1; results change by rounding
_ROWS = 3  # sums taken at a time
_AHEAD = np.uint64(2)  # neighbours read before the forces of those before are known; a list ends with as many unused
_CLOSE = np.float32(12.0)  # (sigma / r)^2 beyond which the force stops growing, as in vitrify.kernels
_LOW = np.int64(0xFFFFFFFF)
_DOUBLE, _LONG, _INT, _SHORT = map(np.dtype, (np.float64, np.int64, np.int32, np.uint16))
_DT_FIRST, _DT_MIN, _MIX, _DECAY, _GROW, _CUT, _DELAY, _FURTHEST = DESCENT


def available() -> bool:
    """Return whether numba-cuda, a driver and a card are there."""
    return cuda is not None and bool(cuda.is_available())


def check_available() -> None:
    """Refuse, with the way out, where there is nothing to run on.

    Raises:
        RuntimeError: numba-cuda, the driver or a card is missing.
    """
    if cuda is None:
        raise RuntimeError("device cuda needs numba-cuda: pip install 'vitrify[cuda]', or use device cpu")
    if not cuda.is_available():
        raise RuntimeError(
            "device cuda found no NVIDIA driver, card or compiler library (nvidia-smi lists the cards; "
            "pip install 'vitrify[cuda]' brings the library): use device cpu"
        )


def check_size(mixture: Mixture, n_particles: int) -> None:
    """Refuse a system that does not fit the shared memory of one block.

    Raises:
        ValueError: There are too many particles.
    """
    if _shared_bytes(mixture, n_particles) > _SHARED_BYTES:
        most = next(n for n in range(n_particles, 0, -1) if _shared_bytes(mixture, n) <= _SHARED_BYTES)
        raise ValueError(
            f"n_particles must be at most {most} for {mixture.name} on device cuda, where one block of threads holds "
            f"a system; got {n_particles}: use fewer, or device cpu"
        )


def advance(
    states: Sequence[State],
    *,
    n_steps: int,
    dt: float,
    T_from: float,
    T_to: float,
    tau: float | None,
    every: int = 20,
    rngs: Sequence[np.random.Generator],
    threads: int = 512,
) -> list[State]:
    """Return the states ``n_steps`` later, as :func:`vitrify.dynamics.advance` does one by one.

    Args:
        states: Where to begin: systems of one mixture, size and box.
        n_steps: Time steps, a multiple of ``every``.
        dt: Time step.
        T_from: Bath temperature at the beginning.
        T_to: Bath temperature at the end.
        tau: Time constant of the Bussi thermostat; ``None`` conserves the energy.
        every: Steps between two actions of the thermostat.
        rngs: Source of each system's noise, drawn from as :func:`vitrify.dynamics.advance` draws.
        threads: Most threads per block, at most 512; another number rounds otherwise.

    Raises:
        RuntimeError: There is no card.
        TypeError: The mixture is not a binary Lennard-Jones one.
        ValueError: The systems differ or do not fit a block, or a number is impossible.
        stability.BlownUpError: A system has left its bath.
    """
    check_available()
    if len(rngs) != len(states):
        raise ValueError(f"rngs must be one for each of {len(states)} states; got {len(rngs)}")
    if not states or not n_steps:
        return list(states)
    drawn = [
        thermostat(state, n_steps=n_steps, dt=dt, T_from=T_from, T_to=T_to, tau=tau, every=every, rng=rng)
        for state, rng in zip(states, rngs, strict=True)
    ]
    bath, memory = drawn[0][:2]
    noise, chi2 = (np.stack([one[part] for one in drawn]) for part in (2, 3))
    n_free = states[0].n_free
    allowed = [stability.ceiling(bath, hot=hottest(state, T_from), n_free=n_free, memory=memory) for state in states]
    most = np.stack([row for row, _ in allowed]) * n_free / 2

    def watched(b: int, row: np.ndarray) -> stability.Watch:
        watch, hot = states[b].watch, allowed[b][1]
        return watch.after(row, most[b], bath=bath, dt=dt, every=every, n_free=n_free, hot=hot, system=b)

    at_once = max(1, _PARTICLE_STEPS // (len(states[0].positions) * every))

    def run(batch: "_Batch") -> list[State] | None:
        step = np.float32(0.5 * dt), np.float32(dt), np.float32(dt * batch.units)
        seen = cuda.to_device(np.zeros((len(states), 5)))
        for first in range(0, bath.size, at_once):
            part = slice(first, first + at_once)
            tables = [cuda.to_device(np.ascontiguousarray(table[..., part])) for table in (bath, noise, chi2, most)]
            if not batch.launch(_advance, *step, every, memory, *tables, seen):
                return None
            rows = seen.copy_to_host()
            for b, row in enumerate(rows):
                if row[1] < min(first + at_once, bath.size) or not row[2] <= most[b, int(row[1]) - 1]:
                    watched(b, row)  # raises: do not go on with the others
        return [replace(state, watch=watched(b, rows[b])) for b, state in enumerate(batch.states())]

    return _with_room(states, threads, run)


def minimise(states: Sequence[State], fire: Fire, *, threads: int = 512) -> list[Minimum]:
    """Return the inherent structures of states, as :func:`vitrify.dynamics.minimise` does one by one.

    Args:
        states: Systems of one mixture, size and box.
        fire: Tolerances and parameters of the descent.
        threads: Most threads per block, at most 512; another number rounds otherwise.

    Raises:
        RuntimeError: There is no card.
        ValueError: The systems differ or do not fit a block.
    """
    check_available()
    if not states:
        return []
    enough = fire.force_rms**2 * states[0].positions.size, fire.force_max**2

    def run(batch: "_Batch") -> list[Minimum] | None:
        residual = cuda.to_device(np.zeros((len(states), 2)))
        if not batch.launch(_minimise, batch.units, fire.dt_max, *enough, fire.max_evaluations, residual):
            return None
        ends = zip(batch.states(), batch.outcome(), residual.copy_to_host(), strict=True)
        return [
            Minimum(
                state=(end := replace(state, velocities=np.zeros_like(state.velocities))),
                energies=dynamics.energies(end),
                max_force=math.sqrt(worst2),
                n_evaluations=int(evaluations),
                converged=bool(force2 < enough[0] and worst2 < enough[1]),
            )
            for state, evaluations, (force2, worst2) in ends
        ]

    at_rest = [replace(state, velocities=np.zeros_like(state.velocities)) for state in states]
    return _with_room(at_rest, threads, run)


def _with_room(states: Sequence[State], threads: int, run: Callable[["_Batch"], list[Outcome] | None]) -> list[Outcome]:
    """Return ``run(batch)``, enlarging the lists until every system's neighbours fit."""
    room = 1.0
    while (done := run(_Batch(states, threads, room))) is None:
        room *= 1.5
    return done


class _Batch:
    """Systems laid out on the card."""

    def __init__(self, states: Sequence[State], threads: int, room: float) -> None:
        first = states[0]
        mixture, edge, (n, d) = first.mixture, first.edge, first.positions.shape
        if not isinstance(mixture, Mixture):
            raise TypeError(f"{mixture.name} is run by {' or '.join(mixture.engines)}: see vitrify.lammps")
        if any((s.mixture, s.edge, s.positions.shape) != (mixture, edge, (n, d)) for s in states):
            raise ValueError("states must be systems of one mixture, size and box; group them before")
        dynamics.check_size(mixture, n)
        check_size(mixture, n)
        if not 1 <= threads <= _MOST_THREADS:
            raise ValueError(f"threads must be from 1 to {_MOST_THREADS}; got {threads}")
        sigma, epsilon = np.array(mixture.sigma), np.array(mixture.epsilon)
        reach = mixture.reach
        skin = min(_SKIN, 0.45 * edge - reach)
        cells = min(int(edge / (reach + skin)), _most_cells(mixture, n))  # fewer in a wider box: larger ones do
        self._sources = states
        each = -(-n // threads)  # particles of a thread
        self._threads = min(threads, -(-n // (32 * each)) * 32)
        self._shared = _shared_bytes(mixture, n)
        self.units = 2.0**32 / edge
        to_squared = self.units**2
        pairs = [sigma**2 * to_squared, 48 * epsilon / sigma**2 / self.units]
        pairs += [(mixture.cutoff * sigma + skin) ** 2 * to_squared]
        mean = mixture.density * (np.pi if d == 2 else 4 / 3 * np.pi) * (reach + skin) ** d
        capacity = int(min(n, room * (1.5 * mean + 16)))
        b, lines = len(states), -(-n // 32) * 32
        self._positions = cuda.to_device(np.ascontiguousarray([s.positions.T for s in states]))
        self._velocities = cuda.to_device(np.ascontiguousarray([s.velocities.T for s in states]))
        self._outcome = cuda.to_device(np.zeros(b, np.int32))
        self._arguments = (
            tuple(range(d)),
            np.uint16((mixture.species(n) == 0).sum()),
            cells,
            cuda.to_device(np.concatenate(pairs, axis=1).astype(np.float32)),
            np.float32(mixture.cutoff**-2),
            np.float32((0.5 * skin * self.units) ** 2),
            self._positions,
            self._velocities,
            cuda.device_array((b, d, n), np.float32),
            cuda.device_array((b, d, n), np.int32),
            cuda.device_array((b, (capacity + _AHEAD) * lines), np.uint16),
            np.uint64(lines),
            cuda.device_array((b, n), np.uint64),
            cuda.device_array((b, n), np.uint16),
            self._outcome,
        )

    def launch(self, kernel: Any, *arguments: Any) -> bool:
        """Run a kernel, one block per system; return whether all neighbours fitted."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Grid size")  # that they are too few to fill the card
            configured = kernel[len(self._sources), self._threads, 0, self._shared]
        configured(*self._arguments, *arguments)
        return bool((self.outcome() >= 0).all())

    def outcome(self) -> np.ndarray:
        """Return what the last kernel said of each system: -1 when a list was full."""
        return np.asarray(self._outcome.copy_to_host())

    def states(self) -> list[State]:
        """Return the systems as they are now."""
        rows = zip(self._sources, self._positions.copy_to_host(), self._velocities.copy_to_host(), strict=True)
        return [
            replace(source, positions=np.ascontiguousarray(x.T), velocities=np.ascontiguousarray(v.T))
            for source, x, v in rows
        ]


def _most_cells(mixture: Mixture, n: int) -> int:
    """Return the cells along an axis for which a block has room: those of no skin at the mixture's own density."""
    return int(mixture.box(n)[0] / mixture.reach)


def _shared_bytes(mixture: Mixture, n: int) -> int:
    """Return the shared memory of a block, whatever the skin and the number of threads."""
    d, cells = mixture.dimension, _most_cells(mixture, n)
    listing: int = 4 * (2 * cells**d + 1) + 2 * n
    after = max(listing, 8 * _ROWS * min(n + 31, _MOST_THREADS))
    return 4 * (d * n + d * n % 2) + -(-after // 8) * 8


def _kernel(function: Callable) -> Any:
    if cuda is None:
        return function
    registers = {} if config.ENABLE_CUDASIM else {"max_registers": _REGISTERS}  # the simulator knows no registers
    return cuda.jit(fastmath=True, **registers)(function)


def _device(function: Callable) -> Any:
    return function if cuda is None else cuda.jit(device=True, fastmath=True)(function)


class _System(NamedTuple):
    """One system as a thread of its block sees it; shapes in the module's picture."""

    axes: Any  # a tuple whose length is the dimension, so that the compiler knows it
    lane: Any  # this thread ...
    threads: Any  # ... of so many
    n_A: Any
    cells: Any  # along an axis
    pairs: Any  # per species a: sigma^2 of aA and aB, 48 epsilon / sigma^2 of both, squared list radius of both
    cutoff2: Any  # 1 / r_c^2
    limit2: Any  # squared move after which the list is rebuilt
    coordinates: Any  # x y | x y | ..., then z z ...: the memory of the next two
    xy: Any
    z: Any
    start: Any
    fill: Any
    members: Any
    scratch: Any
    velocities: Any
    forces: Any
    reference: Any
    neighbours: Any  # flat: the k-th of particle i is at i + k * lines
    lines: Any
    row_end: Any
    unsorted: Any


@_device
def _at(n, i, axis):
    """Return where a coordinate of a particle is in ``coordinates``."""
    return 2 * i + axis if axis < 2 else 2 * n + i


@_device
def _open(
    axes,
    n_A,
    cells,
    pairs,
    cutoff2,
    limit2,
    positions,
    velocities,
    forces,
    reference,
    neighbours,
    lines,
    row_end,
    unsorted,
):
    """Return the system of this block, its positions brought to shared memory."""
    b, lane, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    d, n, n_cells = len(axes), positions.shape[2], cells ** len(axes)
    doubles = cuda.shared.array(0, _DOUBLE)
    longs = cuda.shared.array(0, _LONG)
    ints = cuda.shared.array(0, _INT)
    shorts = cuda.shared.array(0, _SHORT)
    begin = d * n + d * n % 2  # of what comes after the positions, in ints
    end = begin + 2 * n_cells + 1
    for i in range(lane, n, threads):
        for axis in range(d):
            ints[_at(n, i, axis)] = positions[b, axis, i]
    cuda.syncthreads()
    return _System(
        axes,
        lane,
        threads,
        n_A,
        cells,
        pairs,
        cutoff2,
        limit2,
        ints[: d * n],
        longs[:n],
        ints[2 * n : d * n],
        ints[begin : begin + n_cells + 1],
        ints[begin + n_cells + 1 : end],
        shorts[2 * end : 2 * end + n],
        doubles[begin // 2 : begin // 2 + _ROWS * threads],
        velocities[b],
        forces[b],
        reference[b],
        neighbours[b],
        lines,
        row_end[b],
        unsorted[b],
    )


@_device
def _close(s, positions):
    """Write the positions back."""
    for i in range(s.lane, positions.shape[2], s.threads):
        for axis in range(len(s.axes)):
            positions[cuda.blockIdx.x, axis, i] = s.coordinates[_at(positions.shape[2], i, axis)]


@_device
def _cell(s, i):
    """Return the cell of a particle."""
    n, index = s.members.size, 0
    for axis in range(len(s.axes)):
        place = np.int64(s.coordinates[_at(n, i, axis)]) & _LOW
        index = index * s.cells + ((place * s.cells) >> 32)
    return index


@_device
def _sort_into_cells(s):
    """Write the particles cell by cell, in the order of their ids inside each."""
    n = s.members.size
    for c in range(s.lane, s.fill.size, s.threads):
        s.fill[c] = 0
    cuda.syncthreads()
    for i in range(s.lane, n, s.threads):
        cuda.atomic.add(s.fill, _cell(s, i), 1)
    cuda.syncthreads()
    for c in range(s.lane, s.start.size, s.threads):
        before = 0
        for other in range(c):
            before += s.fill[other]
        s.start[c] = before
    cuda.syncthreads()
    for c in range(s.lane, s.fill.size, s.threads):
        s.fill[c] = s.start[c]
    cuda.syncthreads()
    for i in range(s.lane, n, s.threads):
        s.unsorted[cuda.atomic.add(s.fill, _cell(s, i), 1)] = i
    cuda.syncthreads()
    for slot in range(s.lane, n, s.threads):
        i = s.unsorted[slot]
        c = _cell(s, i)
        place = s.start[c]
        for other in range(s.start[c], s.start[c + 1]):
            if s.unsorted[other] < i:
                place += 1
        s.members[place] = i
    cuda.syncthreads()


@_device
def _build(s):
    """Rebuild the list around the present positions; return, to all threads, whether some row was too short."""
    d, n = len(s.axes), s.members.size
    across = min(3, s.cells)  # of two cells along an axis, each is visited once
    here = cuda.local.array(3, np.int32)
    home = cuda.local.array(3, np.int32)
    _sort_into_cells(s)
    full = 0
    for i in range(s.lane, n, s.threads):
        a = 1 if i >= s.n_A else 0
        for axis in range(d):
            x = s.coordinates[_at(n, i, axis)]
            here[axis] = x
            home[axis] = ((np.int64(x) & _LOW) * s.cells) >> 32
            s.reference[axis, i] = x
        at = np.uint64(i)
        for around in range(across**d):
            c, rest = 0, around
            for axis in range(d):
                c = c * s.cells + (home[axis] + rest % across + s.cells - 1) % s.cells
                rest //= across
            for slot in range(s.start[c], s.start[c + 1]):
                j = s.members[slot]
                r2 = np.float32(0)
                for axis in range(d):
                    there = np.int32(s.xy[j] >> axis * 32) if axis < 2 else s.z[j]
                    dr = np.float32(np.int32(here[axis] - there))
                    r2 += dr * dr
                if r2 < s.pairs[a, 5 if j >= s.n_A else 4] and j != i:
                    if at < s.neighbours.size - _AHEAD * s.lines:
                        s.neighbours[at] = j
                        at += s.lines
                    else:
                        full = 1
        s.row_end[i] = at
    return cuda.syncthreads_or(full)


@_device
def _forces(s):
    """Write the force on each of this thread's particles."""
    d, n = len(s.axes), s.members.size
    here = cuda.local.array(3, np.int32)
    dr = cuda.local.array(3, np.float32)
    total = cuda.local.array(3, np.float32)
    for i in range(s.lane, n, s.threads):
        a = 1 if i >= s.n_A else 0
        sigma_A, sigma_B, depth_A, depth_B = s.pairs[a, 0], s.pairs[a, 1], s.pairs[a, 2], s.pairs[a, 3]
        for axis in range(d):
            here[axis] = s.coordinates[_at(n, i, axis)]
            total[axis] = np.float32(0)
        at, end = np.uint64(i), s.row_end[i]  # unsigned, and added to: half the instructions of an index computed anew
        first, second = s.neighbours[at], s.neighbours[at + s.lines]
        while at < end:
            j, first, second = first, second, s.neighbours[at + s.lines + s.lines]  # asked for before it is needed
            at += s.lines
            r2 = np.float32(0)
            for axis in range(d):
                there = np.int32(s.xy[j] >> axis * 32) if axis < 2 else s.z[j]
                dr[axis] = np.float32(np.int32(here[axis] - there))
                r2 += dr[axis] * dr[axis]
            is_B = j >= s.n_A
            x = (sigma_B if is_B else sigma_A) / r2
            inside = x > s.cutoff2
            x = min(x, _CLOSE)
            x2 = x * x
            pull = (depth_B if is_B else depth_A) * x2 * x2 * (x2 * x - np.float32(0.5))
            if not inside:
                pull = np.float32(0)
            for axis in range(d):
                total[axis] += pull * dr[axis]
        for axis in range(d):
            s.forces[axis, i] = total[axis]


@_device
def _kick_drift(s, kick, drift):
    """Move this thread's particles once all have been read; return, to all threads, whether the list is too old."""
    n, moved = s.members.size, 0
    cuda.syncthreads()
    for i in range(s.lane, n, s.threads):
        moved2 = np.float32(0)
        for axis in range(len(s.axes)):
            u = s.velocities[axis, i] + s.forces[axis, i] * kick
            s.velocities[axis, i] = u
            at = _at(n, i, axis)
            x = np.int32(s.coordinates[at] + np.int32(round(u * drift)))
            s.coordinates[at] = x
            far = np.float32(np.int32(x - s.reference[axis, i]))
            moved2 += far * far
        if moved2 > s.limit2:
            moved = 1
    return cuda.syncthreads_or(moved)


@_device
def _renew(s, too_old):
    """Rebuild the list if it is too old and write the forces; return, to all threads, whether a row was too short."""
    if too_old and _build(s):
        return True
    _forces(s)
    return False


@_device
def _sum(s, n_rows):
    """Add up rows of the scratch space into its first column, over a tree of fixed shape."""
    width = s.threads
    cuda.syncthreads()
    while width > 1:
        half = (width + 1) // 2
        if s.lane + half < width:
            for row in range(n_rows):
                s.scratch[row * s.threads + s.lane] += s.scratch[row * s.threads + s.lane + half]
        width = half
        cuda.syncthreads()


@_device
def _largest(s, value):
    """Return, to all threads, the largest of their values."""
    s.scratch[s.lane] = value
    width = s.threads
    cuda.syncthreads()
    while width > 1:
        half = (width + 1) // 2
        if s.lane + half < width:
            s.scratch[s.lane] = max(s.scratch[s.lane], s.scratch[s.lane + half])
        width = half
        cuda.syncthreads()
    largest = s.scratch[0]
    cuda.syncthreads()
    return largest


@_device
def _thermostat(s, half, T, c, R, S):
    """End the last step of a block, and multiply the velocities by the factor of the Bussi thermostat.

    Return, to all threads, the kinetic energy before and after, and the squared force.
    """
    kinetic, squared = 0.0, 0.0
    for i in range(s.lane, s.members.size, s.threads):
        for axis in range(len(s.axes)):
            u = s.velocities[axis, i] + half * s.forces[axis, i]
            s.velocities[axis, i] = u
            kinetic += 0.5 * np.float64(u) * np.float64(u)
            squared += np.float64(s.forces[axis, i]) * np.float64(s.forces[axis, i])
    s.scratch[s.lane], s.scratch[s.threads + s.lane] = kinetic, squared
    _sum(s, 2)
    kinetic, squared = s.scratch[0], s.scratch[s.threads]
    ratio = 0.5 * T / kinetic
    scale = np.float32(math.sqrt(c + ratio * (1 - c) * (R * R + S) + 2 * R * math.sqrt(c * (1 - c) * ratio)))
    for i in range(s.lane, s.members.size, s.threads):
        for axis in range(len(s.axes)):
            s.velocities[axis, i] *= scale
    return kinetic, kinetic * np.float64(scale) * np.float64(scale), squared


@_kernel
def _advance(
    axes, n_A, cells, pairs, cutoff2, limit2, positions, velocities, forces, reference, neighbours, lines, row_end,
    unsorted, outcome, half, full, drift, every, memory, bath, noise, chi2, most, seen,
):  # fmt: skip
    """Advance each system by as many blocks of steps as ``bath`` is long; see :func:`vitrify.kernels.integrate`.

    ``most`` has a row for each system; what is ``seen`` is added to.
    """
    b = cuda.blockIdx.x
    s = _open(
        axes,
        n_A,
        cells,
        pairs,
        cutoff2,
        limit2,
        positions,
        velocities,
        forces,
        reference,
        neighbours,
        lines,
        row_end,
        unsorted,
    )
    n_steps = bath.size * every
    too_old, failed = True, False
    for step in range(n_steps + 1):
        failed = _renew(s, too_old)
        if failed:
            break
        ends, block = step % every == 0, step // every
        if ends and step > 0:
            before, after, squared = _thermostat(
                s, half, bath[block - 1], memory, noise[b, block - 1], chi2[b, block - 1]
            )
            if s.lane == 0:
                seen[b, 0] += after - before
                seen[b, 1] += 1
                seen[b, 2] = before
                seen[b, 3] += squared / before
                seen[b, 4] += (squared / before) ** 2
            if not before <= most[b, block - 1]:
                break
        if step < n_steps:
            too_old = _kick_drift(s, half if ends else full, drift)
    _close(s, positions)
    if failed:
        outcome[b] = -1


@_device
def _sum_power(s):
    """Write the sums of F.v, F.F and v.v to the first column of the scratch space."""
    power, f2, v2 = np.float32(0), np.float32(0), np.float32(0)
    for i in range(s.lane, s.members.size, s.threads):
        for axis in range(len(s.axes)):
            f, v = s.forces[axis, i], s.velocities[axis, i]
            power += f * v
            f2 += f * f
            v2 += v * v
    s.scratch[s.lane], s.scratch[s.threads + s.lane], s.scratch[2 * s.threads + s.lane] = power, f2, v2
    _sum(s, 3)


@_device
def _largest_force2(s):
    """Return, to all threads, the square of the largest force on a particle."""
    worst = 0.0
    for i in range(s.lane, s.members.size, s.threads):
        here = np.float32(0)
        for axis in range(len(s.axes)):
            here += s.forces[axis, i] * s.forces[axis, i]
        worst = max(worst, np.float64(here))
    return _largest(s, worst)


@_device
def _steer(s, keep, kick):
    """Mix force into the velocities; return, to all threads, their largest component."""
    fastest = 0.0
    for i in range(s.lane, s.members.size, s.threads):
        for axis in range(len(s.axes)):
            u = keep * s.velocities[axis, i] + kick * s.forces[axis, i]
            s.velocities[axis, i] = u
            fastest = max(fastest, np.float64(abs(u)))
    return _largest(s, fastest)


@_kernel
def _minimise(
    axes, n_A, cells, pairs, cutoff2, limit2, positions, velocities, forces, reference, neighbours, lines, row_end,
    unsorted, outcome, units, dt_max, enough_force2, enough_worst2, cap, residual,
):  # fmt: skip
    """Slide each system, at rest, into a minimum by FIRE; see :func:`vitrify.kernels.minimise`."""
    b = cuda.blockIdx.x
    s = _open(
        axes,
        n_A,
        cells,
        pairs,
        cutoff2,
        limit2,
        positions,
        velocities,
        forces,
        reference,
        neighbours,
        lines,
        row_end,
        unsorted,
    )
    still = np.float32(0)
    dt, mix, downhill, evaluation, force2, worst2 = _DT_FIRST, _MIX, 0, 1, 0.0, 0.0
    too_old, failed = True, False
    while True:
        failed = _renew(s, too_old)
        if failed:
            break
        _sum_power(s)
        power, force2, speed2 = s.scratch[0], s.scratch[s.threads], s.scratch[2 * s.threads]
        cuda.syncthreads()
        if force2 < enough_force2 or evaluation == cap:
            worst2 = _largest_force2(s)
            if worst2 < enough_worst2 or evaluation == cap:
                break
        if power > 0:
            downhill += 1
            if downhill > _DELAY:
                dt, mix = min(dt * _GROW, dt_max), mix * _DECAY
            # |v + dt F| follows from what is summed above
            pace = math.sqrt(max(speed2 + 2 * dt * power + dt * dt * force2, 0.0))
            keep, steer = 1 - mix, mix * pace / math.sqrt(force2)
        else:
            downhill, dt, mix = 0, max(dt * _CUT, _DT_MIN), _MIX
            if evaluation > 1:
                _kick_drift(s, still, np.float32(-0.5 * dt * units))
            keep, steer = 0.0, 0.0
        kick = (keep if keep > 0 else 1.0) * dt + steer
        fastest = _steer(s, np.float32(keep), np.float32(kick))
        step = min(dt, _FURTHEST / max(fastest, 1e-30))
        too_old = _kick_drift(s, still, np.float32(step * units))
        evaluation += 1
    _close(s, positions)
    outcome[b] = -1 if failed else evaluation
    residual[b, 0], residual[b, 1] = force2, worst2
