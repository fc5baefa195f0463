from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from vitrify import dynamics
from vitrify.protocols import Cool, Schedule, Segment
from vitrify.simulate import Simulate, records, records_together

TINY = Simulate(n_particles=64, n_runs=4, n_equilibrate=400, cool=Cool(n_steps=2400, n_frames=12))


class OneByOne:
    """A device that takes its batch through the engine one system at a time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def advance(self, states: Sequence[dynamics.State], *, rngs: Sequence, **words: Any) -> list[dynamics.State]:
        self.sizes.append(len(states))
        return [dynamics.advance(state, rng=rng, **words) for state, rng in zip(states, rngs, strict=True)]

    def minimise(self, states: Sequence[dynamics.State], fire: dynamics.Fire) -> list[dynamics.Minimum]:
        return [dynamics.minimise(state, fire) for state in states]


def test_a_continued_run_gives_the_bits_of_one_that_never_stopped() -> None:
    whole = list(records(TINY, seed=5, run=2))
    stopped = whole[6]
    rest = list(records(TINY, seed=5, run=2, after=(stopped.k, stopped.state)))
    assert [frame.k for frame in whole] == list(range(1, 13))
    for one, two in zip(whole[7:], rest, strict=True):
        assert one.state.positions.tobytes() == two.state.positions.tobytes()
        assert one.state.velocities.tobytes() == two.state.velocities.tobytes()
        assert (one.energies, one.minimum.energies) == (two.energies, two.minimum.energies)


def test_a_record_across_a_joint_is_continued_to_the_same_bits() -> None:
    segments = (Segment(T_end=0.5, n_steps=300), Segment(T_end=1.0, n_steps=0), Segment(T_end=0.2, n_steps=500))
    settings = TINY.model_copy(update={"cool": None, "schedule": Schedule(segments=segments, n_frames=4)})
    whole = list(records(settings, seed=5, run=1))
    assert [frame.T for frame in whole] == pytest.approx([1.0, 0.84, 0.52, 0.2])
    rest = list(records(settings, seed=5, run=1, after=(1, whole[0].state)))
    assert [frame.state.velocities.tobytes() for frame in rest] == [
        frame.state.velocities.tobytes() for frame in whole[1:]
    ]


def test_runs_advanced_together_are_the_runs_alone_wherever_each_stands() -> None:
    alone = {run: list(records(TINY, seed=5, run=run)) for run in range(3)}
    device = OneByOne()
    after = {run: (k, alone[run][k - 1].state) if k else None for run, k in ((0, 7), (1, 0), (2, 4))}
    met: dict[int, list] = {run: [] for run in range(3)}
    for frames in records_together(TINY, seed=5, after=after, device=device):
        for run, frame in frames.items():
            met[run].append(frame)
    assert device.sizes == [1] + [1] * 4 + [2] * 3 + [3] * 5  # who is behind first, then all together
    for run, frames in met.items():
        expected = alone[run][12 - len(frames) :]
        assert [frame.k for frame in frames] == [frame.k for frame in expected]
        for one, two in zip(frames, expected, strict=True):
            assert one.state.velocities.tobytes() == two.state.velocities.tobytes()
            assert (one.T, one.energies, one.minimum.energies) == (two.T, two.energies, two.minimum.energies)


def test_a_batch_of_finished_runs_has_nothing_to_do() -> None:
    last = list(records(TINY, seed=5, run=0))[-1]
    assert list(records_together(TINY, seed=5, after={0: (12, last.state)}, device=OneByOne())) == []
    assert list(records_together(TINY, seed=5, after={}, device=OneByOne())) == []


def test_runs_differ_and_seeds_differ() -> None:
    first = {key: next(records(TINY, seed=key[0], run=key[1])).energies.shifted for key in ((5, 0), (5, 1), (6, 0))}
    assert len(set(first.values())) == 3


def test_the_liquid_follows_the_bath_and_its_minima_lie_below_it() -> None:
    frames = list(records(TINY, seed=5, run=0))
    hot = frames[:4]  # later this fast ramp leaves the liquid behind
    assert np.mean([frame.state.temperature / frame.T for frame in hot]) == pytest.approx(1.0, abs=0.25)
    assert all(frame.minimum.energies.shifted < frame.energies.shifted for frame in frames)
    assert all(isinstance(frame.minimum, dynamics.Minimum) and frame.minimum.converged for frame in frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixture": "ka4d"}, "mixture must be one of ka2d, ka3d, .*; got 'ka4d'"),
        ({"mixture": "mw"}, "engine must be lammps for mixture mw; got 'vitrify'"),
        ({"n_particles": 10}, "n_particles must be at least"),
        ({"dt": -1}, "greater than 0"),
        ({"temperature": 1}, "Extra inputs are not permitted"),
        ({"engine": "gromacs"}, "'vitrify' or 'lammps'"),
        ({"engine": "lammps", "device": "cuda"}, "device 'cuda' is for engine 'vitrify' only; got engine = 'lammps'"),
        ({"n_equilibrate": 7}, "n_equilibrate must be a multiple of 20; got 7"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Simulate(**settings)


def test_processes_of_one_system_are_for_lammps() -> None:
    with pytest.raises(ValueError, match="n_processes is for engine 'lammps' only; got 2"):
        Simulate(n_processes=2)
    assert "n_processes" not in Simulate().model_dump()


def test_a_time_step_too_long_for_the_mixture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dt must be at most 0.02 for mixture ka2d; got 0.03"):
        Simulate(dt=0.03)


def test_a_system_too_large_for_the_device_is_refused_before_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"n_particles must be at most \d+ for ka2d on device cuda"):
        Simulate(n_particles=20_000, device="cuda")
