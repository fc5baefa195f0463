"""The instruction bound of the force kernel: its vector instructions at the highest rate this core sustains.

The inner loop of the force kernel is read from the machine code that the engine runs. Loads, scalar instructions and
the loop's own count are left out, as if they cost nothing, and every list row is counted, padding included: what is
left is a speed that this kernel cannot exceed on this core, however perfect everything around it.
"""

__all__ = ["force_loop", "vector_rate"]

import re
import time
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vitrify import dynamics, kernels
from vitrify.potentials import MIXTURES

_ROUNDS = 2_000_000
_CHAINS = 4  # of each kind: as many independent ones as sixteen registers hold beside the constants


@intrinsic
def _independent(typing, rounds):  # noqa: ARG001
    """Multiply, add and permute bits in independent vectors, ``rounds`` times; return a value that needs them all."""
    signature = types.float32(rounds)

    def codegen(_context: Any, b: Any, _signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), kernels.WIDTH)
        bits = ir.VectorType(ir.IntType(32), kernels.WIDTH)
        start = [ir.Constant(vector, [1.0 + 0.001 * k] * kernels.WIDTH) for k in range(3 * _CHAINS)]
        chains = [cgutils.alloca_once_value(b, value) for value in start]
        with cgutils.for_range(b, args[0]):
            for k in range(_CHAINS):
                b.store(b.fmul(b.load(chains[k]), ir.Constant(vector, [1.0000001] * kernels.WIDTH)), chains[k])
                added = _CHAINS + k
                b.store(b.fadd(b.load(chains[added]), ir.Constant(vector, [1e-7] * kernels.WIDTH)), chains[added])
                mixed = 2 * _CHAINS + k
                flipped = b.add(b.bitcast(b.load(chains[mixed]), bits), b.bitcast(b.load(chains[added]), bits))
                b.store(b.bitcast(flipped, vector), chains[mixed])
        total = b.load(chains[0])
        for chain in chains[1:]:
            total = b.fadd(total, b.load(chain))
        return b.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return signature, codegen


@numba.njit
def _run(rounds):
    return _independent(np.int64(rounds))


def vector_rate() -> float:
    """Return the most vector instructions per second that this core executes in independent chains."""
    _run(1)
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        _run(_ROUNDS)
        best = min(best, time.process_time() - began)
    return 3 * _CHAINS * _ROUNDS / best


def list_rows(state: dynamics.State, T: float) -> float:
    """Return how many list rows a particle has, padding included, when the list has just been built."""
    work = dynamics._Work(state, dynamics._skin(T), 1.0)
    work.prepare()
    return float(work.lists.group_start.max() * kernels.WIDTH / len(state.positions))


def force_loop() -> int:
    """Return the vector instructions of one row of the force kernel's inner loop in two dimensions."""
    loops = [loop for loop in _loops(_assembly()) if re.search(r"\bv(div|rcp14|rcp)ps\b|\bfdiv\b|\bfrecpe\b", loop)]
    shortest = min(loops, key=len)
    operations = re.findall(r"^\s+(v\w+)\s+(.*)$", shortest, re.MULTILINE)
    return sum(not _is_load(name, operands) for name, operands in operations)


def _is_load(name: str, operands: str) -> bool:
    return name.startswith(("vmov", "vbroadcast")) and "(" in operands


def _loops(assembly: str) -> list[str]:
    """Return the innermost loops: what stands between a label and a jump back to it, without another label."""
    pattern = r"^(?P<label>\.L\w+):\n(?P<body>(?:(?!^\.L\w+:)[^\n]*\n)*?)\s+j\w+\s+(?P=label)\n"
    return [found["body"] for found in re.finditer(pattern, assembly, re.MULTILINE)]


def _assembly() -> str:
    """Return the machine code of the function that builds a list and writes the forces."""
    rest = np.zeros((100, 2), np.int32)
    state = dynamics.State(mixture=MIXTURES["ka2d"], edge=9.0, positions=rest, velocities=rest.astype(np.float32))
    work = dynamics._Work(state, 0.3, 1.0)
    edges, positions, _, forces, n, n_A, grid, pairs = work.system
    prepare = numba.njit(**{**kernels._OPTIONS, "cache": False})(kernels.prepare.py_func)
    prepare.compile(tuple(map(numba.typeof, (edges, positions, n, n_A, grid, pairs, work.lists, forces))))
    return "\n".join(prepare.inspect_asm().values())
