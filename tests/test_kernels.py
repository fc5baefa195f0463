"""The compiled kernels beside their plain counterpart, and the code they become on processors other than this one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vitrify import dynamics, plain, potentials
from vitrify.potentials import MIXTURES
from vitrify.system import stream

_WIDER = """
import numba
import numpy as np
from llvmlite import binding

numba.njit(lambda: 0)()  # Numba must have asked about the real processor before it is told of another
features, name = binding.get_host_cpu_features, binding.get_host_cpu_name
binding.get_host_cpu_features = lambda: dict(features()) | {"avx512f": True}
binding.get_host_cpu_name = lambda: "sapphirerapids"
from vitrify import kernels
binding.get_host_cpu_features, binding.get_host_cpu_name = features, name
kernels._ESTIMATES = False  # the one instruction that has no narrower form
assert kernels.WIDTH == 16 and kernels._GATHERS

from vitrify import dynamics, potentials
from vitrify.system import stream
for mixture, n in (("ka2d", 137), ("ka3d", 240)):
    model = potentials.MIXTURES[mixture]
    state = dynamics.start(model, n_particles=n, T=1.0, rng=stream(1, "wide"))
    rng = stream(1, "move")
    state = dynamics.advance(state, n_steps=200, dt=0.005, T_from=1.0, T_to=1.0, tau=0.5, rng=rng)
    there = dynamics.configuration(state)
    right = potentials.forces(there, model)
    assert np.abs(dynamics.forces(state) - right).max() < 3e-6 * np.abs(right).max()
    assert abs(dynamics.energies(state).shifted - potentials.energies(there, model).shifted) < 1e-9
    assert dynamics.minimise(state, dynamics.Fire()).converged
print("right in 16 lanes")
"""

_COMPILED = """
import numba
from vitrify import dynamics, kernels, potentials
from vitrify.system import stream
import numpy as np

model = potentials.MIXTURES["ka2d"]
rest = np.zeros((100, 2), np.int32)
state = dynamics.State(mixture=model, edge=9.0, positions=rest, velocities=rest.astype(np.float32))
work = dynamics._Work(state, 0.3, 1.0)
edges, positions, _, forces, n, n_A, grid, pairs = work.system
types = tuple(map(numba.typeof, (edges, positions, n, n_A, grid, pairs, work.lists, forces)))
kernels.prepare.compile(types)
print(kernels.WIDTH, *kernels.prepare.inspect_asm().values())
"""


@pytest.mark.parametrize("mixture", ["ka2d", "ka3d"])
def test_the_motion_is_that_of_the_plain_engine_under_the_same_noise(mixture: str, state: dict) -> None:
    begin, model = state[mixture], MIXTURES[mixture]
    n, d = begin.positions.shape
    n_steps, every, dt, tau = 60, 20, 0.005, 0.2
    end = dynamics.advance(begin, n_steps=n_steps, dt=dt, T_from=1.0, T_to=0.8, tau=tau, rng=stream(2, "noise"))
    rng, blocks = stream(2, "noise"), n_steps // every
    x, v = plain.integrate(
        dynamics.configuration(begin).positions,
        begin.velocities.astype(float),
        begin.edge,
        int((model.species(n) == 0).sum()),
        np.array(model.epsilon),
        np.array(model.sigma),
        model.cutoff,
        dt,
        every,
        1.0 - 0.2 * np.arange(1, blocks + 1) / blocks,
        np.exp(-every * dt / tau),
        rng.standard_normal(blocks),
        rng.chisquare(d * (n - 1) - 1, blocks),
    )
    apart = dynamics.configuration(end).positions - x
    apart -= begin.edge * np.rint(apart / begin.edge)
    assert np.abs(apart).max() < 2e-5
    assert np.abs(end.velocities - v).max() < 5e-4
    moved = dynamics.configuration(end).positions - dynamics.configuration(begin).positions
    assert np.abs(moved).max() > 0.1


@pytest.mark.parametrize("mixture", ["ka2d", "ka3d"])
def test_the_plain_forces_are_those_of_the_pair_sum(mixture: str, state: dict) -> None:
    model, here = MIXTURES[mixture], dynamics.configuration(state[mixture])
    epsilon, sigma, edge = np.array(model.epsilon), np.array(model.sigma), float(here.box[0])
    near = plain.neighbours(here.positions, edge, model.cutoff * sigma.max() + 0.1)
    n_A = int((here.species == 0).sum())
    ours = plain.forces(here.positions, edge, n_A, epsilon, sigma, model.cutoff, near)
    np.testing.assert_allclose(ours, potentials.forces(here, model), atol=1e-9)


@pytest.mark.slow
def test_sixteen_lanes_give_the_right_forces_on_a_narrower_processor_too(tmp_path: Path) -> None:
    assert "right in 16 lanes" in _python(_WIDER, NUMBA_CACHE_DIR=str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "features", "lanes", "instructions"),
    [
        ("sapphirerapids", "+avx512f,+avx512vl,+avx512dq,+avx512bw", 16, ("vpgatherqq", "vpcompressd", "vrcp14ps")),
        ("znver4", "+avx512f,+avx512vl,+avx512dq,+avx512bw", 16, ("vpcompressd", "vrcp14ps")),
        ("haswell", "+avx2,+fma,+bmi2", 8, ("vpermd", "vdivps")),
    ],
)
def test_each_processor_gets_its_own_instructions(
    processor: str, features: str, lanes: int, instructions: tuple[str, ...], tmp_path: Path
) -> None:
    printed = _python(_COMPILED, NUMBA_CACHE_DIR=str(tmp_path), NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=features)
    if "%ymm" not in printed:
        pytest.skip("this processor is not an x86")
    assert printed.startswith(f"{lanes} ")
    assert [word for word in instructions if word not in printed] == []
    assert ("vpgatherqq" in printed) == ("vpgatherqq" in instructions)


def _python(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
