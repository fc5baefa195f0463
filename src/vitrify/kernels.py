r"""The compiled kernels of the ensemble engine: neighbour lists, forces, integration and minimisation of one system.

Positions are 32-bit fixed point: one box edge is :math:`2^{32}` units, so that integer wrap-around is both the
periodic boundary and the minimum image, and resolution is :math:`L/2^{32}`. Particles are ordered A first.
Forces are in single precision, energies in double.

Layout, for S = 2 words per particle in two dimensions and S = 4 in three (the last one unused)::

    positions   (n, S) int32       x y | x y | ...        one load brings a whole particle
    velocities, forces (n, S) float32
    found (all neighbours,)        neighbours of particle 0, of particle 1, ...
    full neighbour list, sliced:   group of W particles of one species, sorted by number of neighbours
        members   (group, W)       particle in each SIMD lane
        neighbours (row, W)        row k of a group holds the k-th neighbour of each lane's particle
    A lane that has run out of neighbours points at its own particle, whose separation, and so force, is zero.

A full list needs no scatter, and lane = particle needs no horizontal sum. The inner loops (force on a group, list
scan, transposition of the list, kick and drift) are written as LLVM vector instructions, which Numba compiles for the
running processor and caches with the functions that call them. :mod:`vitrify.plain` says the same in plain loops.

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


def _target() -> tuple[str, frozenset[str]]:
    """Return name and features of the processor that Numba compiles for: this one, unless Numba was told otherwise."""
    if numba.config.CPU_NAME:
        words = (numba.config.CPU_FEATURES or "").split(",")
        return numba.config.CPU_NAME, frozenset(word[1:] for word in words if word.startswith("+"))
    features = binding.get_host_cpu_features()
    return binding.get_host_cpu_name(), frozenset(name for name, has in features.items() if has)


_PROCESSOR, _FEATURES = _target()
WIDTH = 16 if "avx512f" in _FEATURES else 8
"""SIMD lanes of single precision; narrower processors run the same code in several instructions."""
_GATHERS = "avx512f" in _FEATURES and not _PROCESSOR.startswith("znver")
"""Whether the gather instruction beats loads one by one: not that of AVX2, nor AMD's."""
_ESTIMATES = "avx512f" in _FEATURES
"""Whether a reciprocal estimate with one Newton step beats the division."""

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
_TOGETHER = 1024  # a multiple of WIDTH
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
    found: np.ndarray  # (capacity,) neighbours of each particle, one particle after the other
    found_start: np.ndarray  # (n + 1,) where each particle's begin
    members: np.ndarray  # (groups, W)
    group_start: np.ndarray  # (groups + 1,) first row of each group
    neighbours: np.ndarray  # (rows, W); W rows more than are used


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


def _gather(builder: Any, positions: Any, ids: Any, first: Any, d: int) -> list[Any]:
    """Return the d coordinate vectors of the ``WIDTH`` particles named from ``ids[first]`` on."""
    words = 2 if d == 2 else 4
    if d == 2 and _GATHERS:
        slots, packed = list(range(WIDTH)), _gather_words(builder, positions, ids, first)
    else:  # one load per particle
        particle = ir.IntType(32 * words)
        rows = builder.bitcast(positions, particle.as_pointer())
        packed = ir.Constant(ir.VectorType(particle, WIDTH), ir.Undefined)
        # lanes 0 1 4 5 ... before 2 3 6 7 ...: then coordinates are taken apart without crossing 128-bit lanes
        slots = [lane % 4 // 2 * (WIDTH // 2) + lane // 4 * 2 + lane % 2 for lane in range(WIDTH)]
        for lane, slot in enumerate(slots):
            index = builder.load(builder.gep(ids, [builder.add(first, ir.Constant(_I64, lane))]))
            value = builder.load(builder.gep(rows, [builder.zext(index, _I64)]))
            value.align = 4
            packed = builder.insert_element(packed, value, ir.Constant(_I32, slot))
    table = ir.VectorType(_I32, words * WIDTH)
    flat = builder.bitcast(packed, table)
    picks = [ir.Constant(_INTS, [words * slot + axis for slot in slots]) for axis in range(d)]
    return [builder.shuffle_vector(flat, ir.Constant(table, ir.Undefined), pick) for pick in picks]


def _gather_words(builder: Any, positions: Any, ids: Any, first: Any) -> Any:
    """Return ``WIDTH`` 64-bit words, by the processor's gather instructions."""
    half = WIDTH // 2
    wide, pointers = ir.VectorType(_I64, half), ir.VectorType(_I64.as_pointer(), half)
    mask = ir.Constant(ir.VectorType(_I1, half), [1] * half)
    kind = ir.FunctionType(wide, [pointers, _I32, mask.type, wide])
    gather = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.gather.v{half}i64.v{half}p0")
    base = builder.insert_element(
        ir.Constant(wide, ir.Undefined), builder.ptrtoint(positions, _I64), ir.Constant(_I32, 0)
    )
    base = builder.shuffle_vector(base, base, ir.Constant(ir.VectorType(_I32, half), [0] * half))
    words = []
    for begin in (0, half):
        index = _vector_load(builder, ids, builder.add(first, ir.Constant(_I64, begin)), ir.VectorType(_I32, half))
        where = builder.add(base, builder.shl(builder.zext(index, wide), ir.Constant(wide, [3] * half)))
        unset = ir.Constant(wide, ir.Undefined)
        words.append(builder.call(gather, [builder.inttoptr(where, pointers), ir.Constant(_I32, 4), mask, unset]))
    return builder.shuffle_vector(*words, ir.Constant(_INTS, list(range(WIDTH))))


def _separation2(builder: Any, here: list[Any], there: list[Any]) -> tuple[list[Any], Any]:
    """Return the minimum-image separations as floats, and their squared length."""
    dr = [builder.sitofp(builder.sub(a, b), _FLOATS) for a, b in zip(here, there, strict=True)]
    r2 = builder.fmul(dr[0], dr[0], flags=_FAST)
    for component in dr[1:]:
        r2 = builder.fadd(r2, builder.fmul(component, component, flags=_FAST), flags=_FAST)
    return dr, r2


def _quotient(b: Any, above: Any, below: Any) -> Any:
    if not _ESTIMATES:
        return b.fdiv(above, below, flags=_FAST)
    kind = ir.FunctionType(_FLOATS, [_FLOATS, _FLOATS, ir.IntType(WIDTH)])
    estimate = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.rcp14.ps.512")
    y = b.call(estimate, [below, _constant(0.0), ir.Constant(ir.IntType(WIDTH), 2**WIDTH - 1)])
    # of zero the estimate is infinite, and the step would make it no number
    step = b.fmul(y, b.fsub(_constant(2.0), b.fmul(below, y, flags=_FAST), flags=_FAST), flags=_FAST)
    return b.fmul(above, b.select(b.fcmp_ordered(">", below, _constant(0.0)), step, _constant(1.0)), flags=_FAST)


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
        here = _gather(b, pointer[1], pointer[5], lane0, d)
        total = [cgutils.alloca_once_value(b, _constant(0.0)) for _ in range(d)]
        with cgutils.for_range(b, args[4], start=args[3]) as loop:
            row = b.mul(loop.index, whole(WIDTH))
            # gathered before the species are loaded: LLVM takes a scalar out of a loaded vector sooner than load it
            dr, r2 = _separation2(b, here, _gather(b, pointer[1], pointer[2], row, d))
            is_B = b.icmp_signed(">=", _vector_load(b, pointer[2], row, _INTS), first_B)
            x = _quotient(b, b.select(is_B, sigma_B, sigma_A), r2)
            inside = b.fcmp_ordered(">", x, reach)
            x = b.select(b.fcmp_ordered("<", x, _constant(_CLOSE)), x, _constant(_CLOSE))
            x2 = b.fmul(x, x, flags=_FAST)
            steep = b.fsub(b.fmul(x2, x, flags=_FAST), _constant(0.5), flags=_FAST)
            depth = b.fmul(b.select(is_B, depth_B, depth_A), b.fmul(x2, x2, flags=_FAST), flags=_FAST)
            pull = b.select(inside, b.fmul(depth, steep, flags=_FAST), _constant(0.0))
            for axis in range(d):
                b.store(b.fadd(b.load(total[axis]), b.fmul(pull, dr[axis], flags=_FAST), flags=_FAST), total[axis])
        words = 2 if d == 2 else 4
        mine = [b.zext(at(5, b.add(lane0, whole(lane))), _I64) for lane in range(WIDTH)]
        for axis in range(d):
            vector = b.load(total[axis])
            for lane in range(WIDTH):
                target = b.gep(pointer[10], [b.add(b.mul(mine[lane], whole(words)), whole(axis))])
                b.store(b.extract_element(vector, ir.Constant(_I32, lane)), target)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _scan(typing, edges, coordinates, stride, ids, start, stop, here, radius2_A, radius2_B, n_A, found, to):  # noqa: ARG001
    """Write, from ``found[to]`` on, which of the sorted particles ``start`` to ``stop`` are in list range of ``here``.

    Returns where they end. A particle is not its own neighbour. Up to ``WIDTH`` places beyond are overwritten.
    """
    signature = types.int64(edges, coordinates, stride, ids, start, stop, here, radius2_A, radius2_B, n_A, found, to)
    d = edges.count

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        coordinates, ids, kept = (_pointer(context, b, signature.args[k], args[k]) for k in (1, 3, 10))
        centre = [_splat(b, b.extract_value(args[6], axis), _INTS) for axis in range(d)]
        first_B = _splat(b, b.trunc(args[9], _I32), _INTS)
        radius2_A, radius2_B = (_splat(b, args[k], _FLOATS) for k in (7, 8))
        lanes = ir.Constant(_INTS, list(range(WIDTH)))
        end = cgutils.alloca_once_value(b, args[11])
        step = ir.Constant(_I64, WIDTH)
        with cgutils.for_range_slice(b, args[4], args[5], step, inc=True) as (q, _):
            others = _vector_load(b, ids, q, _INTS)
            offsets = [b.add(q, b.mul(args[2], ir.Constant(_I64, axis))) for axis in range(d)]
            _, r2 = _separation2(b, centre, [_vector_load(b, coordinates, offset, _INTS) for offset in offsets])
            radius2 = b.select(b.icmp_signed(">=", others, first_B), radius2_B, radius2_A)
            left = _splat(b, b.trunc(b.sub(args[5], q), _I32), _INTS)
            near = b.and_(b.fcmp_ordered("<", r2, radius2), b.fcmp_ordered(">", r2, _constant(0.0)))
            near = b.and_(near, b.icmp_signed("<", lanes, left))
            b.store(_compress(b, others, near, kept, b.load(end)), end)
        return b.load(end)

    return signature, codegen


def _compress(b: Any, values: Any, chosen: Any, target: Any, to: Any) -> Any:
    """Store the chosen lanes side by side from ``target[to]`` on; return where they end."""
    bits = b.bitcast(chosen, ir.IntType(WIDTH))
    if {"avx2", "avx512f"} & _FEATURES:
        if "avx512f" in _FEATURES:
            kind = ir.FunctionType(_INTS, [_INTS, chosen.type, _INTS])
            name = f"llvm.experimental.vector.compress.v{WIDTH}i32"
            squeeze = cgutils.get_or_insert_function(b.module, kind, name)
            packed = b.call(squeeze, [values, chosen, ir.Constant(_INTS, ir.Undefined)])
        else:  # the lanes to take for each pattern of bits stand in a table
            rows = b.bitcast(_order_table(b.module), ir.VectorType(ir.IntType(8), 8).as_pointer())
            order = b.load(b.gep(rows, [b.zext(bits, _I64)]))
            order.align = 8
            permute = cgutils.get_or_insert_function(
                b.module, ir.FunctionType(_INTS, [_INTS, _INTS]), "llvm.x86.avx2.permd"
            )
            packed = b.call(permute, [values, b.zext(order, _INTS)])
        _vector_store(b, packed, target, to)
        return b.add(to, b.ctpop(b.zext(bits, _I64)))
    for lane in range(WIDTH):  # without branches: half of them would be mispredicted
        b.store(b.extract_element(values, ir.Constant(_I32, lane)), b.gep(target, [to]))
        to = b.add(to, b.zext(b.extract_element(chosen, ir.Constant(_I32, lane)), _I64))
    return to


def _order_table(module: Any) -> Any:
    """Return 256 rows of 8 bytes: for each pattern of 8 bits, the places of its ones, then zeros."""
    name = "vitrify_lane_order"
    if name not in module.globals:
        rows = [[lane for lane in range(8) if pattern >> lane & 1] for pattern in range(256)]
        content = bytearray(byte for row in rows for byte in (row + [0] * 8)[:8])
        constant = ir.Constant(ir.ArrayType(ir.IntType(8), len(content)), content)
        table = cgutils.global_constant(module, name, constant)
        table.linkage = "internal"
        table.align = 8
    return module.globals[name]


@intrinsic
def _lay_out(typing, found, found_start, members, group, k, neighbours, row):  # noqa: ARG001
    """Write rows k to k + WIDTH of a group's neighbours: a transposition of ``WIDTH`` lists, ended by own particles."""
    signature = types.void(found, found_start, members, group, k, neighbours, row)

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        pointer = {k: _pointer(context, b, signature.args[k], args[k]) for k in (0, 1, 2, 5)}
        lanes = ir.Constant(_INTS, list(range(WIDTH)))
        none = ir.Constant(_INTS, ir.Undefined)
        lists = []
        for lane in range(WIDTH):
            place = b.add(b.mul(args[3], ir.Constant(_I64, WIDTH)), ir.Constant(_I64, lane))
            me = b.load(b.gep(pointer[2], [place]))
            start = b.gep(pointer[1], [b.zext(me, _I64)])
            begin = b.sext(b.load(start), _I64)
            end = b.sext(b.load(b.gep(start, [ir.Constant(_I64, 1)])), _I64)
            values = _vector_load(b, pointer[0], b.add(begin, args[4]), _INTS)
            left = _splat(b, b.trunc(b.sub(b.sub(end, begin), args[4]), _I32), _INTS)
            lists.append(b.select(b.icmp_signed("<", lanes, left), values, _splat(b, me, _INTS)))
        pick = lambda x, y, order: b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, len(order)), order))
        corners = range(0, WIDTH, 4)
        low = [c + i + side for c in corners for i in (0, 1) for side in (0, WIDTH)]
        high = [place + 2 for place in low]
        first = [c + i + side for c in corners for side in (0, WIDTH) for i in (0, 1)]
        second = [place + 2 for place in first]
        # 4 x 4 blocks within 128 bits, then the blocks
        columns: list[list[Any]] = [[] for _ in range(4)]
        for block in range(0, WIDTH, 4):
            r = lists[block : block + 4]
            ab, cd = (pick(r[0], r[1], low), pick(r[0], r[1], high)), (pick(r[2], r[3], low), pick(r[2], r[3], high))
            for half in (0, 1):
                columns[2 * half].append(pick(ab[half], cd[half], first))
                columns[2 * half + 1].append(pick(ab[half], cd[half], second))
        for corner in corners:
            for c in range(4):
                parts = [pick(x, none, [corner + i for i in range(4)]) for x in columns[c]]
                while len(parts) > 1:
                    size = 2 * parts[0].type.count
                    parts = [pick(x, y, list(range(size))) for x, y in zip(parts[::2], parts[1::2], strict=True)]
                target = b.mul(b.add(args[6], ir.Constant(_I64, corner + c)), ir.Constant(_I64, WIDTH))
                _vector_store(b, parts[0], pointer[5], target)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _kick_drift(typing, edges, positions, velocities, forces, reference, n_words, keep, kick, drift):  # noqa: ARG001
    """Set velocity to ``keep`` v + ``kick`` F, add ``drift`` v to position; return the largest squared move.

    The move is from ``reference``, in squared fixed-point units; ``n_words`` is a multiple of ``WIDTH``.
    """
    signature = types.float32(edges, positions, velocities, forces, reference, n_words, keep, kick, drift)
    swaps = [1] if edges.count == 2 else [1, 2]

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        x, v, f, x0 = (_pointer(context, b, signature.args[k], args[k]) for k in range(1, 5))
        keep, kick, drift = (_splat(b, args[k], _FLOATS) for k in (6, 7, 8))
        furthest = cgutils.alloca_once_value(b, _constant(0.0))
        rint = cgutils.get_or_insert_function(b.module, ir.FunctionType(_FLOATS, [_FLOATS]), f"llvm.rint.v{WIDTH}f32")
        with cgutils.for_range(b, b.sdiv(args[5], ir.Constant(_I64, WIDTH))) as loop:
            word = b.mul(loop.index, ir.Constant(_I64, WIDTH))
            kicked = b.fmul(_vector_load(b, f, word, _FLOATS), kick, flags=_FAST)
            kept = b.fmul(_vector_load(b, v, word, _FLOATS), keep, flags=_FAST)
            velocity = b.fadd(kept, kicked, flags=_FAST)
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
    """Fill ``found`` and ``found_start``; return False when the neighbours do not fit."""
    d = len(edges)
    stride = lists.sorted_positions.shape[1]
    end = 0
    for i in range(n):
        a = 1 if i >= n_A else 0
        row, b = lists.bin_of[i, 0], lists.bin_of[i, 1]
        here = (positions[i, 0], positions[i, 1]) if d == 2 else (positions[i, 0], positions[i, 1], positions[i, d - 1])
        lists.found_start[i] = end
        for step in range(lists.row_around.shape[1]):
            other = lists.row_around[row, step]
            start, stop = np.int64(lists.row_start[other, b]), np.int64(lists.row_start[other, b + 2 * n_ghost + 1])
            if end + (stop - start) + 2 * WIDTH > lists.found.size:
                return False
            end = _scan(edges, lists.sorted_positions, stride, lists.sorted_ids, start, stop, here,
                        lists.radius2[a, 0], lists.radius2[a, 1], np.int64(n_A), lists.found, end)  # fmt: skip
    lists.found_start[n] = end
    return True


@numba.njit(**_OPTIONS)
def _slice(n, n_A, lists):
    """Sort each species by number of neighbours into groups of ``WIDTH`` and lay their neighbours out by rows.

    Only so many particles are sorted together that what they touch stays in the cache.
    Returns the number of groups of A, and of both; -1 when the rows do not fit.
    """
    most = 0
    for i in range(n):
        most = max(most, lists.found_start[i + 1] - lists.found_start[i])
    first = np.zeros(most + 2, np.int64)
    members = lists.members.reshape(-1)
    lane, row, n_groups, groups_A = 0, 0, 0, 0
    for a in range(2):
        for begin in range(0 if a == 0 else n_A, n_A if a == 0 else n, _TOGETHER):
            end = min(begin + _TOGETHER, n_A if a == 0 else n)
            first[:] = 0
            for i in range(begin, end):
                first[lists.found_start[i + 1] - lists.found_start[i] + 1] += 1
            first[0] = lane
            for k in range(most + 1):
                first[k + 1] += first[k]
            for i in range(begin, end):
                length = lists.found_start[i + 1] - lists.found_start[i]
                members[first[length]] = i
                first[length] += 1
            lane += end - begin
        while lane % WIDTH != 0:
            members[lane] = members[lane - 1]
            lane += 1
        while n_groups * WIDTH < lane:
            lists.group_start[n_groups] = row
            last = members[n_groups * WIDTH + WIDTH - 1]  # sorted: the last is the longest
            longest = lists.found_start[last + 1] - lists.found_start[last]
            if row + longest + WIDTH > len(lists.neighbours):
                return -1, -1
            for k in range(0, longest, WIDTH):
                _lay_out(lists.found, lists.found_start, lists.members, np.int64(n_groups), np.int64(k),
                         lists.neighbours, np.int64(row + k))  # fmt: skip
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
        for k in range(lists.found_start[i], lists.found_start[i + 1]):
            j = lists.found[k]
            if j < i:  # each pair once
                continue
            b = 1 if j >= n_A else 0
            r2 = 0.0
            for axis in range(d):
                r2 += np.float64(np.int32(positions[i, axis] - positions[j, axis])) ** 2
            x = pairs.sigma2[a, b] / r2
            if x > pairs.cutoff2:
                x3 = x * x * x
                pair = 4 * pairs.epsilon[a, b] * (x3 * x3 - x3)
                unshifted += pair
                shifted += pair - pairs.epsilon[a, b] * pairs.shift
    return unshifted, shifted


@numba.njit(**_OPTIONS)
def integrate(
    edges,
    positions,
    velocities,
    forces,
    n,
    n_A,
    grid,
    pairs,
    lists,
    limit2,
    dt,
    every,
    bath,
    c,
    noise,
    chi2,
    most,
    seen,
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
        most: Kinetic energy at the end of each block beyond which it stops there.
        seen: Written: the energy that the thermostat has put in, the blocks done, the kinetic energy after them, and
            the sums over the blocks of the squared force over the kinetic energy and of its square.

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
                                 np.float32(1), half if step == 0 else full, drift)  # fmt: skip
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
        seen[1], seen[2] = block + 1, kinetic
        if not kinetic <= most[block]:
            break
        squared = 0.0
        for k in range(words):
            squared += flat_f[k] * flat_f[k]
        seen[3] += squared / kinetic
        seen[4] += (squared / kinetic) ** 2
        ratio = 0.5 * bath[block] / kinetic
        square = c + ratio * (1 - c) * (noise[block] ** 2 + chi2[block])
        scale = np.float32(np.sqrt(square + 2 * noise[block] * np.sqrt(c * (1 - c) * ratio)))
        for k in range(words):
            flat_v[k] *= scale
        seen[0] += kinetic * (np.float64(scale) * np.float64(scale) - 1)
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
                            np.float32(1), np.float32(0), np.float32(-0.5 * dt * to_units))  # fmt: skip
            v[:] = 0
            v2 = np.float32(0)
            power = np.float32(0)
        # |v + dt F| follows from what is summed above
        pace = np.sqrt(max(v2 + 2 * dt * power + dt * dt * f2, 0.0))
        keep, steer = np.float32(1 - mix), np.float32(mix * pace / np.sqrt(f2))
        if downhill == 0:
            keep, steer = np.float32(1), np.float32(0)
        kick, step = np.float32(keep * dt + steer), dt
        if dt * pace > furthest:  # only then can a particle move too far
            fastest = np.float32(1e-30)
            for k in range(words):
                v[k] = keep * v[k] + kick * f[k]
                fastest = max(fastest, abs(v[k]))
            keep, kick, step = np.float32(1), np.float32(0), min(dt, furthest / fastest)
        moved2 = _kick_drift(edges, positions, velocities, forces, lists.reference, np.int64(words),
                             keep, kick, np.float32(step * to_units))  # fmt: skip
        if moved2 > limit2:
            groups_A, n_groups = _build(edges, positions, n, n_A, *grid, lists)
            if n_groups < 0:
                return -1
        _forces(edges, positions, n_A, groups_A, n_groups, pairs, lists, forces)
    return cap
