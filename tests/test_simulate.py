import numpy as np
import pytest
from pydantic import ValidationError

from vitrify import dynamics
from vitrify.simulate import Cool, Simulate, cool

TINY = Simulate(n_particles=64, n_runs=4, n_equilibrate=400, cool=Cool(n_steps=2400, n_frames=12))


def test_temperatures_are_those_of_the_source_log() -> None:
    ramp = Cool(n_steps=20_000_000)
    np.testing.assert_allclose([ramp.T(k) for k in (1, 5, 140, 171, 200)], [1.99025, 1.95125, 0.635, 0.33275, 0.05])


def test_a_continued_run_gives_the_bits_of_one_that_never_stopped() -> None:
    whole = list(cool(TINY, seed=5, run=2))
    stopped = whole[6]
    rest = list(cool(TINY, seed=5, run=2, after=(stopped.k, stopped.state)))
    assert [frame.k for frame in whole] == list(range(1, 13))
    for one, two in zip(whole[7:], rest, strict=True):
        assert one.state.positions.tobytes() == two.state.positions.tobytes()
        assert one.state.velocities.tobytes() == two.state.velocities.tobytes()
        assert (one.energies, one.minimum.energies) == (two.energies, two.minimum.energies)


def test_runs_differ_and_seeds_differ() -> None:
    first = {key: next(cool(TINY, seed=key[0], run=key[1])).energies.shifted for key in ((5, 0), (5, 1), (6, 0))}
    assert len(set(first.values())) == 3


def test_the_liquid_follows_the_bath_and_its_minima_lie_below_it() -> None:
    frames = list(cool(TINY, seed=5, run=0))
    hot = frames[:4]  # later this fast ramp leaves the liquid behind
    assert np.mean([frame.state.temperature / frame.T for frame in hot]) == pytest.approx(1.0, abs=0.25)
    assert all(frame.minimum.energies.shifted < frame.energies.shifted for frame in frames)
    assert all(isinstance(frame.minimum, dynamics.Minimum) and frame.minimum.converged for frame in frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cool": {"n_steps": 5000, "n_frames": 200}}, "n_steps must be a multiple of 20 n_frames = 4000.*try 4000"),
        ({"cool": {"T_end": 3.0}}, "T_end must be below T_start = 2.0; got 3.0"),
        ({"mixture": "ka4d"}, "mixture must be one of ka2d, ka3d; got 'ka4d'"),
        ({"n_particles": 10}, "n_particles must be at least"),
        ({"dt": -1}, "greater than 0"),
        ({"temperature": 1}, "Extra inputs are not permitted"),
        ({"n_equilibrate": 7}, "n_equilibrate must be a multiple of 20; got 7"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Simulate(**settings)
