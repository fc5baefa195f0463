"""The engine for graphics cards, run by numba's simulator: one Python thread per thread of a block.

The simulator is chosen when numba.cuda is first imported, so every check runs in its own process:
``NUMBA_ENABLE_CUDASIM=1 python -m tests.test_cuda CHECK``. It is slow, so the systems are as small as they may be.
"""

import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitrify import cuda, dynamics, stability
from vitrify.potentials import MIXTURES
from vitrify.stability import BlownUpError
from vitrify.system import stream

_RAMP: dict[str, Any] = {"dt": 0.005, "T_from": 1.0, "T_to": 0.6, "tau": 0.05, "every": 5}
_LOOSE = dynamics.Fire(force_rms=2e-3, force_max=1e-2)


@cache
def _liquid(run: int = 0, n: int = 45, mixture: str = "ka2d") -> dynamics.State:
    rng = stream(5, "cuda", mixture, n, run)
    start = dynamics.start(MIXTURES[mixture], n_particles=n, T=1.0, rng=rng)
    return dynamics.advance(start, n_steps=200, dt=0.005, T_from=1.0, T_to=1.0, tau=0.2, rng=rng)


def _cold(run: int = 0, n: int = 45, mixture: str = "ka2d") -> dynamics.State:
    """Return a state close to its minimum."""
    minimum = dynamics.minimise(_liquid(run, n, mixture), dynamics.Fire()).state
    shake = 0.002 * stream(6, "shake", run).uniform(-1, 1, minimum.positions.shape) / minimum.edge * 2.0**32
    return replace(minimum, positions=minimum.positions + shake.astype(np.int32))


def _noise(run: int = 0) -> np.random.Generator:
    return stream(7, "noise", run)


def _assert_near(one: dynamics.State, other: dynamics.State, *, x: float, v: float) -> None:
    apart = (one.positions - other.positions).astype(float) / 2.0**32 * one.edge
    np.testing.assert_allclose(apart, 0, atol=x)
    np.testing.assert_allclose(one.velocities, other.velocities, atol=v)


def _assert_same_bits(one: dynamics.State, other: dynamics.State) -> None:
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.velocities, other.velocities)


def moves_as_the_processor_does() -> None:
    """45 particles over 8 threads: no whole number for each; the thermostat acts four times."""
    begin = _liquid()
    (after,) = cuda.advance([begin], n_steps=20, rngs=[_noise()], threads=8, **_RAMP)
    plain = dynamics.advance(begin, n_steps=20, rng=_noise(), **_RAMP)
    _assert_near(after, plain, x=1e-6, v=2e-5)
    assert abs(after.temperature - begin.temperature) > 0.05
    assert after.temperature == pytest.approx(plain.temperature, rel=1e-5)


def moves_with_a_thread_for_every_particle() -> None:
    begin = _liquid()
    (after,) = cuda.advance([begin], n_steps=5, rngs=[_noise()], **_RAMP)
    _assert_near(after, dynamics.advance(begin, n_steps=5, rng=_noise(), **_RAMP), x=1e-6, v=2e-5)


def rebuilds_its_list_when_particles_have_moved() -> None:
    """So far that a list built once misses neighbours; 150 particles fill 3 x 3 cells, so that cells matter too."""
    rng = stream(8, "drift")
    hot = _liquid(0, 150)
    hot = replace(hot, velocities=(4 * rng.standard_normal(hot.velocities.shape)).astype(np.float32))
    free = {"n_steps": 30, "dt": 0.004, "T_from": 1.0, "T_to": 1.0, "tau": None, "every": 30}
    (after,) = cuda.advance([hot], rngs=[_noise()], threads=8, **free)
    moved = (after.positions - hot.positions).astype(float) / 2.0**32 * hot.edge
    assert np.linalg.norm(moved, axis=1).max() > 0.6  # the skin is at most 0.6, and a list is too old at half of it
    _assert_near(after, dynamics.advance(hot, rng=_noise(), **free), x=1e-5, v=5e-4)


def conserves_the_energy() -> None:
    def energy(state: dynamics.State) -> float:
        kinetic = 0.5 * (state.velocities.astype(float) ** 2).sum() / len(state.positions)
        return dynamics.energies(state).shifted + kinetic

    begin = _liquid()
    free = _RAMP | {"tau": None}
    (after,) = cuda.advance([begin], n_steps=40, rngs=[_noise()], threads=4, **free)
    assert energy(after) == pytest.approx(energy(begin), abs=3e-3)
    assert abs(dynamics.energies(after).shifted - dynamics.energies(begin).shifted) > 0.01
    np.testing.assert_allclose(after.velocities.mean(axis=0), 0, atol=2e-6)


def gives_a_system_the_same_bits_whatever_is_beside_it() -> None:
    one, other = _liquid(0), _liquid(1)
    both = cuda.advance([one, other], n_steps=10, rngs=[_noise(0), _noise(1)], threads=8, **_RAMP)
    (alone,) = cuda.advance([other], n_steps=10, rngs=[_noise(1)], threads=8, **_RAMP)
    _assert_same_bits(both[1], alone)
    (noisier,) = cuda.advance([other], n_steps=10, rngs=[_noise(2)], threads=8, **_RAMP)
    assert noisier.velocities.tobytes() != alone.velocities.tobytes()


def goes_on_over_several_launches() -> None:
    cuda._PARTICLE_STEPS = 45 * 10  # two thermostat steps a launch
    begin = _liquid()
    (after,) = cuda.advance([begin], n_steps=25, rngs=[_noise()], threads=8, **_RAMP)
    _assert_near(after, dynamics.advance(begin, n_steps=25, rng=_noise(), **_RAMP), x=2e-6, v=4e-5)


def finds_the_minimum_of_the_processor() -> None:
    begin = _cold()
    (minimum,) = cuda.minimise([begin], _LOOSE, threads=8)
    plain = dynamics.minimise(begin, dynamics.Fire())
    assert minimum.converged
    assert minimum.n_evaluations > 5
    assert minimum.energies.shifted == pytest.approx(plain.energies.shifted, abs=1e-6)
    assert dynamics.energies(begin).shifted > plain.energies.shifted + 1e-5
    left = np.linalg.norm(dynamics.forces(minimum.state).astype(float), axis=1)
    assert minimum.max_force == pytest.approx(left.max(), abs=2e-4)
    assert not minimum.state.velocities.any()


def finds_the_same_minimum_whatever_is_beside_it() -> None:
    begin = [_cold(0), _cold(1)]
    both = cuda.minimise(begin, _LOOSE, threads=8)
    (alone,) = cuda.minimise(begin[1:], _LOOSE, threads=8)
    _assert_same_bits(alone.state, both[1].state)
    assert (alone.n_evaluations, alone.max_force) == (both[1].n_evaluations, both[1].max_force)
    assert both[0].energies != both[1].energies


def flags_a_descent_cut_short() -> None:
    (minimum,) = cuda.minimise([_liquid()], dynamics.Fire(max_evaluations=3), threads=8)
    assert (minimum.converged, minimum.n_evaluations) == (False, 3)
    left = np.linalg.norm(dynamics.forces(minimum.state).astype(float), axis=1)
    assert minimum.max_force == pytest.approx(left.max(), rel=1e-4)


def makes_room_for_a_crowd() -> None:
    """At 16 times the density every particle has more neighbours than the first list holds."""
    begin = _liquid(0, 100)
    crowd = replace(begin, positions=(begin.positions.view(np.uint32) // 4).view(np.int32))
    (minimum,) = cuda.minimise([crowd], dynamics.Fire(max_evaluations=1), threads=8)
    force = np.linalg.norm(dynamics.forces(crowd).astype(float), axis=1)
    assert minimum.max_force == pytest.approx(force.max(), rel=1e-5)


def moves_in_three_dimensions() -> None:
    begin = _liquid(0, 232, "ka3d")
    step = _RAMP | {"every": 1}
    (after,) = cuda.advance([begin], n_steps=1, rngs=[_noise()], threads=8, **step)
    _assert_near(after, dynamics.advance(begin, n_steps=1, rng=_noise(), **step), x=1e-7, v=5e-6)


def moves_and_minimises_in_three_dimensions() -> None:
    begin = _liquid(0, 232, "ka3d")
    (after,) = cuda.advance([begin], n_steps=10, rngs=[_noise()], threads=8, **_RAMP)
    _assert_near(after, dynamics.advance(begin, n_steps=10, rng=_noise(), **_RAMP), x=1e-6, v=2e-5)
    cold = _cold(0, 232, "ka3d")
    (minimum,) = cuda.minimise([cold], _LOOSE, threads=8)
    assert minimum.converged
    assert minimum.energies.shifted == pytest.approx(dynamics.minimise(cold, _LOOSE).energies.shifted, abs=1e-6)


def refuses_what_it_cannot_do() -> None:
    begin = _liquid()
    with pytest.raises(ValueError, match="rngs must be one for each of 2 states; got 1"):
        cuda.advance([begin, begin], n_steps=5, rngs=[_noise()], **_RAMP)
    with pytest.raises(ValueError, match="n_steps must be a multiple of every = 5; got 7"):
        cuda.advance([begin], n_steps=7, rngs=[_noise()], **_RAMP)
    with pytest.raises(ValueError, match="states must be systems of one mixture, size and box"):
        cuda.minimise([begin, _liquid(0, 60)], _LOOSE)
    with pytest.raises(ValueError, match="threads must be from 1 to 512; got 1024"):
        cuda.minimise([begin], _LOOSE, threads=1024)
    assert cuda.minimise([], _LOOSE) == []
    assert cuda.advance([begin], n_steps=0, rngs=[_noise()], **_RAMP) == [begin]


def watches_what_the_processor_watches_and_stops_what_blows_up() -> None:
    """The last of three systems is allowed too little."""
    begin = _liquid()
    (after,) = cuda.advance([begin], n_steps=20, rngs=[_noise()], threads=8, **_RAMP)
    plain = dynamics.advance(begin, n_steps=20, rng=_noise(), **_RAMP)
    assert (after.watch.n, after.watch.hot) == (plain.watch.n, plain.watch.hot) == (begin.watch.n + 4, plain.watch.hot)
    assert after.watch.work == pytest.approx(plain.watch.work, rel=1e-4)
    assert after.watch.steep == pytest.approx(plain.watch.steep, rel=1e-4)
    assert after.watch.steep2 == pytest.approx(plain.watch.steep2, rel=1e-4)
    begins, ceiling = [_liquid(0), _liquid(1), _liquid(2)], stability.ceiling
    limit = {run: 1.0 if run < 2 else 0.2 for run in range(3)}
    asked = iter(range(3))

    def lower(*bath: Any, **words: Any) -> tuple[np.ndarray, float]:
        most, hot = ceiling(*bath, **words)
        return most * limit[next(asked)], hot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stability, "ceiling", lower)
        with pytest.raises(BlownUpError, match=r"dt = 0.005 .* at step 5 the kinetic temperature reached") as caught:
            cuda.advance(begins, n_steps=20, rngs=[_noise(run) for run in range(3)], threads=8, **_RAMP)
    assert caught.value.system == 2
    with pytest.MonkeyPatch.context() as patch:
        asked = iter([2])
        patch.setattr(stability, "ceiling", lower)
        with pytest.raises(BlownUpError, match="at step 5 the") as on_processor:
            dynamics.advance(begins[2], n_steps=20, rng=_noise(2), **_RAMP)
    assert caught.value.reached == pytest.approx(on_processor.value.reached, rel=1e-3)


_QUICK: tuple[Callable[[], None], ...] = (
    moves_as_the_processor_does,
    watches_what_the_processor_watches_and_stops_what_blows_up,
    gives_a_system_the_same_bits_whatever_is_beside_it,
    finds_the_minimum_of_the_processor,
    makes_room_for_a_crowd,
    moves_in_three_dimensions,
    refuses_what_it_cannot_do,
)
_SLOW: tuple[Callable[[], None], ...] = (
    moves_with_a_thread_for_every_particle,
    rebuilds_its_list_when_particles_have_moved,
    conserves_the_energy,
    finds_the_same_minimum_whatever_is_beside_it,
    goes_on_over_several_launches,
    flags_a_descent_cut_short,
    moves_and_minimises_in_three_dimensions,
)


@pytest.mark.skipif(importlib.util.find_spec("numba.cuda") is None, reason="numba-cuda is not installed")
@pytest.mark.parametrize("check", [*_QUICK, *(pytest.param(check, marks=pytest.mark.slow) for check in _SLOW)])
def test_in_the_simulator_a_card(check: Callable[[], None]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.test_cuda", check.__name__],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"{check.__name__}: passed\n"


@pytest.mark.parametrize(("mixture", "most"), [("ka2d", 4320), ("ka3d", 3000)])
def test_the_sizes_promised_fit_a_block_and_others_are_refused_with_the_largest(mixture: str, most: int) -> None:
    cuda.check_size(MIXTURES[mixture], most)
    with pytest.raises(ValueError, match=rf"n_particles must be at most (\d+) for {mixture} .* got 10000") as refused:
        cuda.check_size(MIXTURES[mixture], 10_000)
    largest = int(str(refused.value).split("at most ")[1].split()[0])
    cuda.check_size(MIXTURES[mixture], largest)
    with pytest.raises(ValueError, match=f"at most {largest} "):
        cuda.check_size(MIXTURES[mixture], largest + 1)


@pytest.mark.skipif(cuda.available(), reason="there is a card")
def test_without_a_card_the_engine_says_what_is_missing(state: dict) -> None:
    with pytest.raises(RuntimeError, match=r"device cuda .*pip install .*device cpu"):
        cuda.minimise([state["ka2d"]], dynamics.Fire())


@pytest.mark.skipif(not cuda.available(), reason="needs an NVIDIA card")
@pytest.mark.parametrize("mixture", ["ka2d", "ka3d"])
def test_on_a_card_systems_move_and_come_to_rest_as_on_the_processor(mixture: str, state: dict) -> None:
    begin = state[mixture]
    moved = cuda.advance([begin] * 3, n_steps=50, rngs=[_noise(run) for run in range(3)], **_RAMP)
    for run, after in enumerate(moved):
        _assert_near(after, dynamics.advance(begin, n_steps=50, rng=_noise(run), **_RAMP), x=1e-5, v=5e-4)
    minimum = dynamics.minimise(begin, dynamics.Fire()).state
    (again,) = cuda.minimise([minimum], dynamics.Fire())
    assert again.converged
    assert again.energies.shifted == pytest.approx(dynamics.energies(minimum).shifted, abs=1e-6)


if __name__ == "__main__":
    sys.setswitchinterval(2e-5)  # the simulator's threads wait for each other
    warnings.filterwarnings("ignore", message="overflow encountered", category=RuntimeWarning)  # positions wrap around
    # where Python notes that it warned: made now, since the simulator's threads iterate over the globals of the module
    vars(cuda)["__warningregistry__"] = {}
    {check.__name__: check for check in (*_QUICK, *_SLOW)}[sys.argv[1]]()
    print(f"{sys.argv[1]}: passed")
