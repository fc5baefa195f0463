import numpy as np
import pytest
from pydantic import ValidationError

from vitrify.protocols import PROTOCOLS, Cool, Cycle, Hold, Quench, Schedule, Segment
from vitrify.simulate import Simulate

DOWN_AND_UP = Cycle(T_high=1.5, T_low=0.5, n_cycles=2, n_steps=400, n_frames=16)


def test_temperatures_are_those_of_the_source_log() -> None:
    ramp = Cool(n_steps=20_000_000).bath()
    np.testing.assert_allclose([ramp.T(k) for k in (1, 5, 140, 171, 200)], [1.99025, 1.95125, 0.635, 0.33275, 0.05])


@pytest.mark.parametrize("n_frames", [1, 7, 12, 97, 200])
@pytest.mark.parametrize("blocks", [1, 3, 50])
def test_evenly_recorded_cooling_is_one_leg_a_record_to_the_last_bit(n_frames: int, blocks: int) -> None:
    """Runs made before there were other protocols are continued: not a bit of a temperature may change."""
    bath = Cool(T_start=2.0, T_end=0.05, n_steps=20 * blocks * n_frames, n_frames=n_frames).bath()
    T = [2.0 - (2.0 - 0.05) * k / n_frames for k in range(n_frames + 1)]
    assert [bath.T(k) for k in range(n_frames + 1)] == [*T[:-1], 0.05]  # what is recorded, not what is done
    for k in range(1, n_frames + 1):
        (leg,) = bath.between(k)
        assert (leg.n_steps, leg.T_from, leg.T_to, leg.pressure) == (20 * blocks, T[k - 1], T[k], None)


@pytest.mark.parametrize("T_start", [2.0, 1.5, 1.0, 0.7])
@pytest.mark.parametrize("T_end", [0.05, 0.1, 0.2, 0.3, 0.01])
@pytest.mark.parametrize("n_frames", [7, 12, 50, 200])
def test_the_end_of_a_ramp_is_its_end_to_the_bit(T_start: float, T_end: float, n_frames: int) -> None:
    bath = Cool(T_start=T_start, T_end=T_end, n_steps=20 * n_frames, n_frames=n_frames).bath()
    assert bath.T(n_frames) == T_end
    assert bath.T(0) == T_start
    assert bath.T(n_frames - 1) == bath.between(n_frames)[0].T_from  # and no other record has another temperature
    cycle = Cycle(T_high=T_start, T_low=T_end, n_cycles=2, n_steps=20 * n_frames, n_frames=4 * n_frames).bath()
    assert [cycle.T(k * n_frames) for k in range(5)] == [T_start, T_end, T_start, T_end, T_start]


def test_a_quench_jumps_and_a_hold_stays() -> None:
    quench = Quench(T_start=2.0, T_end=0.3, n_steps=800, n_frames=4).bath()
    assert [quench.T(k) for k in range(5)] == [2.0, 0.3, 0.3, 0.3, 0.3]
    assert [(leg.T_from, leg.T_to, leg.n_steps) for leg in quench.between(1)] == [(0.3, 0.3, 200)]
    hold = Hold(T=0.4, n_steps=800, n_frames=4).bath()
    assert [hold.T(k) for k in range(5)] == [0.4] * 5


def test_a_cycle_comes_back() -> None:
    bath = DOWN_AND_UP.bath()
    np.testing.assert_allclose([bath.T(k) for k in range(9)], [1.5, 1.25, 1.0, 0.75, 0.5, 0.75, 1.0, 1.25, 1.5])
    assert bath.T(16) == 1.5
    assert sum(leg.n_steps for k in range(1, 17) for leg in bath.between(k)) == 1600


def test_a_record_interval_across_a_joint_is_two_legs_and_no_step_is_lost() -> None:
    segments = (Segment(T_end=0.5, n_steps=100), Segment(T_end=0.3, n_steps=0), Segment(T_end=0.4, n_steps=200))
    bath = Schedule(T_start=1.0, segments=segments, frames_at_step=(60, 180, 300)).bath()
    assert [(leg.n_steps, leg.T_from, leg.T_to) for leg in bath.between(2)] == [
        (40, 1.0 - 0.5 * 3 / 5, 0.5),
        (80, 0.3, pytest.approx(0.34)),
    ]
    assert [bath.step(k) for k in range(4)] == [0, 60, 180, 300]
    assert bath.T(3) == pytest.approx(0.4)
    assert sum(leg.n_steps for k in (1, 2, 3) for leg in bath.between(k)) == 300


def test_a_pressure_goes_along_and_stays_where_it_is_not_named() -> None:
    segments = (Segment(T_end=0.5, n_steps=100, P_end=3.0), Segment(T_end=0.4, n_steps=100))
    bath = Schedule(T_start=1.0, P_start=1.0, segments=segments, n_frames=5).bath()
    pressures = [leg.pressure for k in range(1, 6) for leg in bath.between(k)]
    assert pressures == [(1.0, 1.8), (1.8, 2.6), (2.6, 3.0), (3.0, 3.0), (3.0, 3.0), (3.0, 3.0)]


def test_chosen_temperatures_are_recorded_each_time_they_are_met() -> None:
    ramp = Cool(n_steps=20_000, frames_at_T=(0.05, 1.0, 1.99)).bath()
    assert [ramp.T(k) for k in (1, 2, 3)] == pytest.approx([1.99, 1.0, 0.05], abs=1.95 / 1000)
    cycle = Cycle(T_high=1.5, T_low=0.5, n_cycles=2, n_steps=400, frames_at_T=(1.0, 0.5, 1.5)).bath()
    assert cycle.records == (200, 400, 600, 800, 1000, 1200, 1400, 1600)
    assert [cycle.T(k) for k in range(1, 5)] == [1.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_replaces_the_default_and_survives_json(name: str) -> None:
    words: dict = {
        "cool": {},
        "quench": {"T_end": 0.3, "n_steps": 4000},
        "hold": {"T": 0.4, "n_steps": 4000, "frames_at_step": [20, 4000]},
        "cycle": {"T_high": 1.0, "T_low": 0.2, "n_steps": 4000, "frames_at_T": [0.3]},
        "schedule": {"segments": [{"T_end": 0.3, "n_steps": 4000}]},
        "imported": {"digest": "0" * 64, "edge": 20.0, "T": [1.0, 0.4]},
    }
    settings = Simulate.model_validate({name: words[name]})
    assert settings.protocol == name
    dumped = settings.model_dump(mode="json")
    assert set(dumped) & set(PROTOCOLS) == {name}  # what was not chosen must not enter the name of a run
    assert not {"engine", "device"} & set(dumped)
    assert None not in dumped[name].values()
    assert Simulate.model_validate(dumped) == settings


_SEGMENT = {"T_end": 0.3, "n_steps": 4000}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cool": {"n_steps": 5000}}, "n_steps must be a multiple of 20 n_frames = 4000.*try 4000"),
        ({"cool": {"T_end": 3.0}}, "T_end must be below T_start = 2.0; got 3.0"),
        ({"cool": {"frames_at_step": [30]}}, "frames_at_step must be multiples of 20.*got 30: try 40"),
        ({"cool": {"frames_at_step": [40, 20]}}, r"frames_at_step must increase; got \[40, 20\]"),
        ({"cool": {"frames_at_step": [200_020]}}, "frames_at_step must be at most 200000, where .* ends; got 200020"),
        ({"cool": {"frames_at_step": []}}, "at least 1 item"),
        ({"cool": {"frames_at_T": [0.04]}}, "that the bath meets after its start, between 0.05 and 2.0; got 0.04"),
        ({"cool": {"frames_at_T": [2.0]}}, "that the bath meets after its start, between 0.05 and 2.0; got 2.0"),
        ({"cool": {"n_steps": 2000, "frames_at_T": [1.0, 1.001]}}, "1.0 and 1.001 fall on the same step 1020"),
        ({"cool": {"n_frames": 10, "frames_at_step": [20]}}, r"got n_frames = 10 and frames_at_step = \(20,\)"),
        ({"cool": {"n_frames": None}}, "name one of n_frames, frames_at_step, frames_at_T; got none"),
        ({"hold": {"T": 1.0, "n_steps": 4000, "frames_at_T": [1.0]}}, "frames_at_T needs a bath that changes"),
        ({"hold": {"T": 1.0}}, "(?s)hold.n_steps.*Field required"),
        ({"quench": {"T_end": 2.5, "n_steps": 4000}}, "T_end must be below T_start = 2.0; got 2.5"),
        ({"cycle": {"T_high": 0.1, "T_low": 1.0, "n_steps": 4000}}, "T_low must be below T_high = 0.1; got 1.0"),
        ({"cycle": {"T_high": 1.0, "T_low": 0.1, "n_steps": 30}}, "n_steps must be a multiple of 20, .*got 30: try 40"),
        ({"cycle": {"T_high": 1.0, "T_low": 0.1, "n_steps": 420}}, "in all 2 parts together, .*got 840: try 4000"),
        ({"schedule": {"segments": [_SEGMENT | {"P_end": 1.0}]}}, "P_end needs a pressure held from the start"),
        ({"schedule": {"P_start": 1.0, "segments": [_SEGMENT]}}, "engine 'vitrify' holds no pressure"),
        ({"schedule": {"segments": []}}, "at least 1 item"),
        ({"cool": {}, "hold": {"T": 1.0, "n_steps": 4000}}, "name one protocol of cool, .*; got cool and hold"),
        ({"cool": None}, "name one protocol of cool, .*; got none"),
    ],
)
def test_an_impossible_protocol_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Simulate.model_validate(settings)
