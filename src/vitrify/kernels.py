r"""The compiled kernels of the ensemble engine: neighbour lists, forces, integration and minimisation of one system.

Positions are 32-bit fixed point: one box edge is :math:`2^{32}` units, so that integer wrap-around is both the
periodic boundary and the minimum image, and resolution is :math:`L/2^{32}`. Particles are ordered A first.
Forces are in single precision, energies in double.

Layout, for S = 2 words per particle in two dimensions and S = 4 in three (the last one unused)::

    positions   (n, S) int32       x y | x y | ...        one load brings a whole particle
    velocities, forces (n, S) float32
    full neighbour list, sliced:   group of W particles of one species, sorted by number of neighbours
        members   (group, W)       particle in each SIMD lane
        neighbours (row, W)        row k of a group holds the k-th neighbour of each lane's particle
    A lane that has run out of neighbours points at its own particle, whose separation, and so force, is zero.

A full list needs no scatter, and lane = particle needs no horizontal sum. The three inner loops (force on a group,
list scan, kick and drift) are written as LLVM vector instructions, which Numba compiles for the running processor
and caches with the functions that call them.

.. math:: \mathbf{F} = \frac{48\epsilon}{\sigma^2}\, x^4\left(x^3 - \tfrac12\right)\mathbf{r}, \qquad x = \sigma^2/r^2,
          \quad x > 1/r_c^2
"""

__all__ = ["WIDTH", "Lists", "Pairs", "energy", "integrate", "minimise", "prepare"]

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

WIDTH = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""SIMD lanes of single precision; narrower processors run the same code in several instructions."""

_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    # Infinity is meant here: the separation of a padding lane is zero.
    "fastmath": {"contract", "arcp", "nsz", "reassoc"},
}
_FAST = ("contract", "arcp", "nsz", "reassoc")
_I1, _I32, _I64, _F32 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_I32, WIDTH), ir.VectorType(_F32, WIDTH)
_CLOSE = 12.0  # (sigma / r)^2 beyond which the force stops growing: r = 0.29 sigma, never reached at k_B T = 2


class Pairs(NamedTuple):
    """The mixture in fixed-point units of one box.

    ``force[a]`` is sigma_aA^2, sigma_aB^2, 48 eps_aA / sigma_aA^2, 48 eps_aB / sigma_aB^2, the first two in squared
    units and the last two per unit; ``epsilon``, ``sigma2`` (in squared units), ``cutoff2`` = 1 / r_c^2 and ``shift``
    (the pair energy at the cut-off in units of epsilon) are in double precision for energies.
    """

    force: np.ndarray
    epsilon: np.ndarray
    sigma2: np.ndarray
    cutoff2: float
    shift: float


class Lists(NamedTuple):
    """Work space of the neighbour list; shapes in the module's picture, sizes fixed by :func:`vitrify.dynamics`."""

    reference: np.ndarray  # positions at the last build
    radius2: np.ndarray  # (2, 2) float32: list radius of each species pair, in squared units
    row_around: np.ndarray  # (rows, <= 3^(d - 1)) the rows within reach of each, itself among them
    bin_of: np.ndarray  # (n, 2) row and bin of each particle
    bin_fill: np.ndarray  # (rows * bins,) particles per bin
    row_start: np.ndarray  # (rows, bins + 2 ghost + 1) where each bin, ghosts included, begins in `sorted_*`
    row_fill: np.ndarray  # (rows, bins + 2 ghost)
    sorted_positions: np.ndarray  # (d, 2n + W) coordinates in bin order, ghosts included
    sorted_ids: np.ndarray  # (2n + W,)
    found: np.ndarray  # (n, capacity) neighbours of each particle; the last W places stay free
    n_found: np.ndarray  # (n,)
    members: np.ndarray  # (groups, W)
    group_start: np.ndarray  # (groups + 1,) first row of each group
    neighbours: np.ndarray  # (rows, W)


def _pointer(context: Any, builder: Any, array_type: Any, value: Any) -> Any:
    return context.make_array(array_type)(context, builder, value).data


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(_INTS, [0] * WIDTH))


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [value] * WIDTH)


def _vector_load(builder: Any, pointer: Any, offset: Any, vector: Any) -> Any:
    value = builder.load(builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer()))
    value.align = 4
    return value


def _vector_store(builder: Any, value: Any, pointer: Any, offset: Any) -> None:
    builder.store(value, builder.bitcast(builder.gep(pointer, [offset]), value.type.as_pointer())).align = 4


def _gather(builder: Any, positions: Any, ids: list[Any], d: int) -> list[Any]:
    """Return the d coordinate vectors of the particles ``ids`` (one i64 per lane), one load per particle."""
    words = 2 if d == 2 else 4
    particle, table = ir.IntType(32 * words), ir.VectorType(_I32, words * WIDTH)
    rows = builder.bitcast(positions, particle.as_pointer())
    packed = ir.Constant(ir.VectorType(particle, WIDTH), ir.Undefined)
    # lanes 0 1 4 5 ... before 2 3 6 7 ...: then coordinates are taken apart without crossing 128-bit lanes
    slots = [lane % 4 // 2 * (WIDTH // 2) + lane // 4 * 2 + lane % 2 for lane in range(WIDTH)]
    for slot, index in zip(slots, ids, strict=True):
        value = builder.load(builder.gep(rows, [index]))
        value.align = 4
        packed = builder.insert_element(packed, value, ir.Constant(_I32, slot))
    flat = builder.bitcast(packed, table)
    picks = [ir.Constant(_INTS, [words * slot + axis for slot in slots]) for axis in range(d)]
    return [builder.shuffle_vector(flat, ir.Constant(table, ir.Undefined), pick) for pick in picks]


def _separation2(builder: Any, here: list[Any], there: list[Any]) -> tuple[list[Any], Any]:
    """Return the minimum-image separations as floats, and their squared length."""
    dr = [builder.sitofp(builder.sub(a, b), _FLOATS) for a, b in zip(here, there, strict=True)]
    r2 = builder.fmul(dr[0], dr[0], flags=_FAST)
    for component in dr[1:]:
        r2 = builder.fadd(r2, builder.fmul(component, component, flags=_FAST), flags=_FAST)
    return dr, r2


@intrinsic
def _force_group(typing, edges, positions, neighbours, row0, row1, members, group, pairs, n_A, cutoff2, forces):  # noqa: ARG001
    """Write the force on the ``WIDTH`` particles of one group; ``len(edges)`` is the dimension."""
    signature = types.void(edges, positions, neighbours, row0, row1, members, group, pairs, n_A, cutoff2, forces)
    d = edges.count

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        pointer = {k: _pointer(context, b, signature.args[k], args[k]) for k in (1, 2, 5, 7, 10)}
        at = lambda base, index: b.load(b.gep(pointer[base], [index]))
        whole = lambda k: ir.Constant(_I64, k)
        sigma_A, sigma_B, depth_A, depth_B = (_splat(b, at(7, whole(k)), _FLOATS) for k in range(4))
        first_B = _splat(b, b.trunc(args[8], _I32), _INTS)
        reach = _splat(b, args[9], _FLOATS)
        lane0 = b.mul(args[6], whole(WIDTH))
        mine = [b.zext(at(5, b.add(lane0, whole(lane))), _I64) for lane in range(WIDTH)]
        here = _gather(b, pointer[1], mine, d)
        total = [cgutils.alloca_once_value(b, _constant(0.0)) for _ in range(d)]
        with cgutils.for_range(b, args[4], start=args[3]) as loop:
            row = b.mul(loop.index, whole(WIDTH))
            ids = [b.zext(at(2, b.add(row, whole(lane))), _I64) for lane in range(WIDTH)]
            is_B = b.icmp_signed(">=", _vector_load(b, pointer[2], row, _INTS), first_B)
            dr, r2 = _separation2(b, here, _gather(b, pointer[1], ids, d))
            x = b.fdiv(b.select(is_B, sigma_B, sigma_A), r2, flags=_FAST)
            inside = b.fcmp_ordered(">", x, reach)
            x = b.select(b.fcmp_ordered("<", x, _constant(_CLOSE)), x, _constant(_CLOSE))
            x2 = b.fmul(x, x, flags=_FAST)
            steep = b.fsub(b.fmul(x2, x, flags=_FAST), _constant(0.5), flags=_FAST)
            depth = b.fmul(b.select(is_B, depth_B, depth_A), b.fmul(x2, x2, flags=_FAST), flags=_FAST)
            pull = b.select(inside, b.fmul(depth, steep, flags=_FAST), _constant(0.0))
            for axis in range(d):
                b.store(b.fadd(b.load(total[axis]), b.fmul(pull, dr[axis], flags=_FAST), flags=_FAST), total[axis])
        words = 2 if d == 2 else 4
        for axis in range(d):
            vector = b.load(total[axis])
            for lane in range(WIDTH):
                target = b.gep(pointer[10], [b.add(b.mul(mine[lane], whole(words)), whole(axis))])
                b.store(b.extract_element(vector, ir.Constant(_I32, lane)), target)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _near(typing, edges, sorted_positions, stride, sorted_ids, q, here, radius2_A, radius2_B, n_A, me):  # noqa: ARG001
    """Return a bit for each of the ``WIDTH`` sorted particles from ``q`` on, but ``me``, in list range of ``here``."""
    signature = types.int64(edges, sorted_positions, stride, sorted_ids, q, here, radius2_A, radius2_B, n_A, me)
    d = edges.count

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        coordinates, ids = (_pointer(context, b, signature.args[k], args[k]) for k in (1, 3))
        centre = [_splat(b, b.extract_value(args[5], axis), _INTS) for axis in range(d)]
        others = _vector_load(b, ids, args[4], _INTS)
        is_B = b.icmp_signed(">=", others, _splat(b, b.trunc(args[8], _I32), _INTS))
        offsets = [b.add(args[4], b.mul(args[2], ir.Constant(_I64, axis))) for axis in range(d)]
        _, r2 = _separation2(b, centre, [_vector_load(b, coordinates, offset, _INTS) for offset in offsets])
        radius2 = b.select(is_B, _splat(b, args[7], _FLOATS), _splat(b, args[6], _FLOATS))
        not_me = b.icmp_signed("!=", others, _splat(b, b.trunc(args[9], _I32), _INTS))
        return b.zext(b.bitcast(b.and_(b.fcmp_ordered("<", r2, radius2), not_me), ir.IntType(WIDTH)), _I64)

    return signature, codegen


@intrinsic
def _kick_drift(typing, edges, positions, velocities, forces, reference, n_words, kick, drift):  # noqa: ARG001
    """Add ``kick`` times force to velocity, ``drift`` times velocity to position; return the largest squared move.

    The move is from ``reference``, in squared fixed-point units; ``n_words`` is a multiple of ``WIDTH``.
    """
    signature = types.float32(edges, positions, velocities, forces, reference, n_words, kick, drift)
    swaps = [1] if edges.count == 2 else [1, 2]

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        x, v, f, x0 = (_pointer(context, b, signature.args[k], args[k]) for k in range(1, 5))
        kick, drift = _splat(b, args[6], _FLOATS), _splat(b, args[7], _FLOATS)
        furthest = cgutils.alloca_once_value(b, _constant(0.0))
        rint = cgutils.get_or_insert_function(b.module, ir.FunctionType(_FLOATS, [_FLOATS]), f"llvm.rint.v{WIDTH}f32")
        with cgutils.for_range(b, b.sdiv(args[5], ir.Constant(_I64, WIDTH))) as loop:
            word = b.mul(loop.index, ir.Constant(_I64, WIDTH))
            kicked = b.fmul(_vector_load(b, f, word, _FLOATS), kick, flags=_FAST)
            velocity = b.fadd(_vector_load(b, v, word, _FLOATS), kicked, flags=_FAST)
            _vector_store(b, velocity, v, word)
            step = b.fptosi(b.call(rint, [b.fmul(velocity, drift)]), _INTS)
            position = b.add(_vector_load(b, x, word, _INTS), step)
            _vector_store(b, position, x, word)
            moved = b.sitofp(b.sub(position, _vector_load(b, x0, word, _INTS)), _FLOATS)
            moved = b.fmul(moved, moved, flags=_FAST)
            for swap in swaps:  # sum the words of each particle
                order = ir.Constant(_INTS, [lane ^ swap for lane in range(WIDTH)])
                moved = b.fadd(moved, b.shuffle_vector(moved, ir.Constant(_FLOATS, ir.Undefined), order), flags=_FAST)
            far = b.load(furthest)
            b.store(b.select(b.fcmp_ordered(">", moved, far), moved, far), furthest)
        lanes = b.load(furthest)
        largest = b.extract_element(lanes, ir.Constant(_I32, 0))
        for lane in range(1, WIDTH):
            value = b.extract_element(lanes, ir.Constant(_I32, lane))
            largest = b.select(b.fcmp_ordered(">", value, largest), value, largest)
        return largest

    return signature, codegen


@numba.njit(**_OPTIONS)
def _sort_into_bins(edges, positions, n, n_bins, n_ghost, n_rows, lists):
    """Sort the particles into rows of bins along the first axis, each row with its periodic ghost bins."""
    d = len(edges)
    lists.bin_fill[:] = 0
    for i in range(n):
        row = 0
        for axis in range(d - 1, 0, -1):
            row = row * n_rows + ((np.int64(np.uint32(positions[i, axis])) * n_rows) >> 32)
        b = (np.int64(np.uint32(positions[i, 0])) * n_bins) >> 32
        lists.bin_of[i, 0], lists.bin_of[i, 1] = row, b
        lists.bin_fill[row * n_bins + b] += 1
    filled = 0
    width = n_bins + 2 * n_ghost
    for row in range(n_rows ** (d - 1)):
        for k in range(width):
            lists.row_start[row, k] = filled
            lists.row_fill[row, k] = filled
            filled += lists.bin_fill[row * n_bins + (k - n_ghost + n_bins) % n_bins]
        lists.row_start[row, width] = filled
    for i in range(n):
        row, b = lists.bin_of[i, 0], lists.bin_of[i, 1]
        for k in (b + n_ghost - n_bins, b + n_ghost, b + n_ghost + n_bins):
            if 0 <= k < width:
                slot = lists.row_fill[row, k]
                lists.row_fill[row, k] = slot + 1
                lists.sorted_ids[slot] = i
                for axis in range(d):
                    lists.sorted_positions[axis, slot] = positions[i, axis]


@numba.njit(**_OPTIONS)
def _find_neighbours(edges, positions, n, n_A, n_ghost, lists):
    """Fill ``found`` and ``n_found``; return False when some particle has more neighbours than fit."""
    d = len(edges)
    stride = lists.sorted_positions.shape[1]
    for i in range(n):
        a = 1 if i >= n_A else 0
        row, b = lists.bin_of[i, 0], lists.bin_of[i, 1]
        here = (positions[i, 0], positions[i, 1]) if d == 2 else (positions[i, 0], positions[i, 1], positions[i, d - 1])
        found, count = lists.found[i], 0
        for step in range(lists.row_around.shape[1]):
            other = lists.row_around[row, step]
            start, stop = lists.row_start[other, b], lists.row_start[other, b + 2 * n_ghost + 1]
            for q in range(start, stop, WIDTH):
                if count + WIDTH > found.size:
                    return False
                mask = _near(edges, lists.sorted_positions, stride, lists.sorted_ids, np.int64(q), here,
                             lists.radius2[a, 0], lists.radius2[a, 1], np.int64(n_A), np.int64(i))  # fmt: skip
                mask &= (np.int64(1) << min(WIDTH, stop - q)) - 1
                for lane in range(WIDTH):  # without branches: half of them would be mispredicted
                    found[count] = lists.sorted_ids[q + lane]
                    count += (mask >> lane) & 1
        lists.n_found[i] = count
    return True


@numba.njit(**_OPTIONS)
def _slice(n, n_A, lists):
    """Sort each species by number of neighbours into groups of ``WIDTH`` and lay their neighbours out by rows.

    Returns the number of groups of A, and of both.
    """
    capacity = lists.found.shape[1]
    first = np.zeros(capacity + 2, np.int64)
    members = lists.members.reshape(-1)
    lane, row, n_groups, groups_A = 0, 0, 0, 0
    for a in range(2):
        begin, end = (0, n_A) if a == 0 else (n_A, n)
        first[:] = 0
        for i in range(begin, end):
            first[lists.n_found[i] + 1] += 1
        first[0] = lane
        for k in range(capacity + 1):
            first[k + 1] += first[k]
        for i in range(begin, end):
            members[first[lists.n_found[i]]] = i
            first[lists.n_found[i]] += 1
        lane += end - begin
        while lane % WIDTH != 0:
            members[lane] = members[lane - 1]
            lane += 1
        while n_groups * WIDTH < lane:
            lists.group_start[n_groups] = row
            longest = lists.n_found[lists.members[n_groups, WIDTH - 1]]  # sorted: the last is the longest
            for place in range(WIDTH):
                i = lists.members[n_groups, place]
                n_i = lists.n_found[i]
                for k in range(n_i):
                    lists.neighbours[row + k, place] = lists.found[i, k]
                for k in range(n_i, longest):
                    lists.neighbours[row + k, place] = i
            row += longest
            n_groups += 1
        if a == 0:
            groups_A = n_groups
    lists.group_start[n_groups] = row
    return groups_A, n_groups


@numba.njit(**_OPTIONS)
def _build(edges, positions, n, n_A, n_bins, n_ghost, n_rows, lists):
    """Rebuild the list around the present positions; return the groups of A and of both, or -1 when it overflows."""
    _sort_into_bins(edges, positions, n, n_bins, n_ghost, n_rows, lists)
    if not _find_neighbours(edges, positions, n, n_A, n_ghost, lists):
        return -1, -1
    lists.reference[:] = positions
    return _slice(n, n_A, lists)


@numba.njit(**_OPTIONS)
def _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces):
    for group in range(n_groups):
        a = 0 if group < groups_A else 1
        _force_group(edges, positions, lists.neighbours, np.int64(lists.group_start[group]),
                     np.int64(lists.group_start[group + 1]), lists.members, np.int64(group), pairs.force[a],
                     np.int64(n_A), np.float32(pairs.cutoff2), forces)  # fmt: skip


@numba.njit(**_OPTIONS)
def prepare(edges, positions, n, n_A, grid, pairs, lists, forces):
    """Build the list and write the forces; return whether every particle's neighbours fitted."""
    groups_A, n_groups = _build(edges, positions, n, n_A, *grid, lists)
    if n_groups >= 0:
        _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces)
    return n_groups >= 0


@numba.njit(**_OPTIONS)
def energy(edges, positions, n, n_A, pairs, lists):
    """Return the total unshifted and shifted potential energy, in double precision, from a list just built."""
    d = len(edges)
    unshifted, shifted = 0.0, 0.0
    for i in range(n):
        a = 1 if i >= n_A else 0
        for k in range(lists.n_found[i]):
            j = lists.found[i, k]
            b = 1 if j >= n_A else 0
            r2 = 0.0
            for axis in range(d):
                r2 += np.float64(np.int32(positions[i, axis] - positions[j, axis])) ** 2
            x = pairs.sigma2[a, b] / r2
            if x > pairs.cutoff2:
                x3 = x * x * x
                pair = 4 * pairs.epsilon[a, b] * (x3 * x3 - x3)
                unshifted += 0.5 * pair
                shifted += 0.5 * (pair - pairs.epsilon[a, b] * pairs.shift)
    return unshifted, shifted


@numba.njit(**_OPTIONS)
def integrate(
    edges, positions, velocities, forces, n, n_A, grid, pairs, lists, limit2, dt, every, bath, c, noise, chi2
):
    r"""Advance by velocity Verlet, with a Bussi thermostat after every ``every`` steps; return the list builds, or -1.

    .. math:: \alpha^2 = c + (1-c)\frac{K_0}{N_f K}\left(R^2 + S\right) + 2R\sqrt{c(1-c)\frac{K_0}{N_f K}},
              \quad c = e^{-\Delta t/\tau}, \quad K_0 = N_f T / 2

    with R normal and S chi-squared of :math:`N_f - 1` degrees of freedom, :math:`N_f = d(N-1)`.

    Args:
        edges: Box edges, a tuple whose length is the dimension.
        positions, velocities, forces: The state, padded to whole vectors; changed in place.
        n, n_A: Particles, and A particles among them.
        grid: Bins along a row, ghost bins, rows along an axis.
        pairs, lists: The mixture and the work space.
        limit2: Squared move, in fixed-point units, after which the list is rebuilt.
        dt: Time step.
        every: Steps per block; the thermostat acts after each block.
        bath: Temperature of the bath at the end of each block.
        c: Memory of the kinetic energy over one block; 1 conserves the energy.
        noise, chi2: R and S of each block.

    References:
        Bussi, Donadio & Parrinello, 2007, doi:10.1063/1.2408420
    """
    words = velocities.size
    flat_v, flat_f = velocities.reshape(-1), forces.reshape(-1)
    drift = np.float32(dt * 2.0**32 / edges[0])
    half, full = np.float32(0.5 * dt), np.float32(dt)
    builds = 0
    groups_A, n_groups = _build(edges, positions, n, n_A, *grid, lists)
    if n_groups < 0:
        return -1
    _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces)
    for block in range(len(bath)):
        for step in range(every):
            moved2 = _kick_drift(edges, positions, velocities, forces, lists.reference, np.int64(words),
                                 half if step == 0 else full, drift)  # fmt: skip
            if moved2 > limit2:
                builds += 1
                groups_A, n_groups = _build(edges, positions, n, n_A, *grid, lists)
                if n_groups < 0:
                    return -1
            _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces)
        kinetic = 0.0
        for k in range(words):
            flat_v[k] += half * flat_f[k]
            kinetic += 0.5 * flat_v[k] * flat_v[k]
        ratio = 0.5 * bath[block] / kinetic
        square = c + ratio * (1 - c) * (noise[block] ** 2 + chi2[block])
        scale = np.float32(np.sqrt(square + 2 * noise[block] * np.sqrt(c * (1 - c) * ratio)))
        for k in range(words):
            flat_v[k] *= scale
    return builds


@numba.njit(**_OPTIONS)
def minimise(edges, positions, velocities, forces, n, n_A, grid, pairs, lists, limit2, fire, rms, largest, cap):
    """Move to the nearest minimum of the shifted potential by FIRE; return the force evaluations, or -1.

    Stops when the root mean square force component is below ``rms`` and the largest force on a particle below
    ``largest``, or after ``cap`` evaluations. ``velocities`` and ``forces`` are work space.

    Args:
        edges, positions, velocities, forces, n, n_A, grid, pairs, lists, limit2: As for :func:`integrate`.
        fire: First, smallest and largest time step, mixing, its decay, growth and cut of the step, delay, largest move.
        rms, largest: Force tolerances.
        cap: Most force evaluations.

    References:
        Bitzek et al., 2006, doi:10.1103/PhysRevLett.97.170201;
        Guenole et al., 2020, doi:10.1016/j.commatsci.2020.109584 (semi-implicit step, half a step back uphill)
    """
    words, stride = velocities.size, velocities.shape[1]
    v, f = velocities.reshape(-1), forces.reshape(-1)
    to_units = 2.0**32 / edges[0]
    dt, dt_min, dt_max, mix0, mix_decay, grow, cut, delay, furthest = fire
    mix, downhill = mix0, 0
    v[:] = 0
    groups_A, n_groups = _build(edges, positions, n, n_A, *grid, lists)
    if n_groups < 0:
        return -1
    _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces)
    for evaluation in range(1, cap):
        power, f2, v2 = np.float32(0), np.float32(0), np.float32(0)
        for k in range(words):
            power += f[k] * v[k]
            f2 += f[k] * f[k]
            v2 += v[k] * v[k]
        if f2 < rms * rms * n * len(edges):
            worst = np.float32(0)
            for i in range(n):
                here = np.float32(0)
                for axis in range(stride):
                    here += forces[i, axis] * forces[i, axis]
                worst = max(worst, here)
            if worst < largest * largest:
                return evaluation
        if power > 0:
            downhill += 1
            if downhill > delay:
                dt, mix = min(dt * grow, dt_max), mix * mix_decay
        else:
            downhill, dt, mix = 0, max(dt * cut, dt_min), mix0
            if evaluation > 1:
                _kick_drift(edges, positions, velocities, forces, lists.reference, np.int64(words),
                            np.float32(0), np.float32(-0.5 * dt * to_units))  # fmt: skip
            v[:] = 0
            v2 = np.float32(0)
            power = np.float32(0)
        # |v + dt F| follows from what is summed above
        pace = np.sqrt(max(v2 + 2 * dt * power + dt * dt * f2, 0.0))
        keep, steer = np.float32(1 - mix), np.float32(mix * pace / np.sqrt(f2))
        if downhill == 0:
            keep, steer = np.float32(1), np.float32(0)
        kick, fastest = np.float32(keep * dt + steer), np.float32(0)
        for k in range(words):
            v[k] = keep * v[k] + kick * f[k]
            fastest = max(fastest, abs(v[k]))
        step = min(dt, furthest / max(fastest, np.float32(1e-30)))
        moved2 = _kick_drift(edges, positions, velocities, forces, lists.reference, np.int64(words),
                             np.float32(0), np.float32(step * to_units))  # fmt: skip
        if moved2 > limit2:
            groups_A, n_groups = _build(edges, positions, n, n_A, *grid, lists)
            if n_groups < 0:
                return -1
        _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces)
    return cap
