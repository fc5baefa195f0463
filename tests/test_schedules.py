"""Schedules: value by value against their formulas, and the reversible threshold going back."""

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from vitrify.schedules import SCHEDULES, Constant, Exponential, OneCycle, Schedule, Step, Threshold, WarmUp


def values(schedule, n_steps, *, accuracy=None):
    return [schedule.value(step, n_steps, accuracy) for step in range(n_steps)]


def test_constant_is_one():
    assert values(Constant(), 4) == [1.0, 1.0, 1.0, 1.0]


def test_step_falls_once_after_so_many_steps():
    assert values(Step(after=2, final=0.1), 5) == [1.0, 1.0, 0.1, 0.1, 0.1]
    assert values(Step(after=9), 3) == [1.0, 1.0, 1.0]


def test_exponential_falls_by_the_same_factor_and_ends_at_its_final_value():
    found = values(Exponential(final=1e-4), 5)
    assert found == pytest.approx([1.0, 0.1, 0.01, 0.001, 0.0001])
    assert Exponential(final=0.3).value(0, 1, None) == 1.0


def test_warm_up_rises_in_a_straight_line_then_falls_by_the_same_factor():
    found = values(WarmUp(warm_up=0.4, final=0.01), 7)
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, 0.01**0.25, 0.1, 0.01**0.75, 0.01])
    assert values(WarmUp(warm_up=0, final=0.01), 3) == pytest.approx(values(Exponential(final=0.01), 3))


def test_one_cycle_is_two_cosines():
    found = values(OneCycle(warm_up=0.4), 10)
    up = [1 / 25 + 24 / 25 * (1 - math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    down = [1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (step - 4) / 5)) / 2 for step in range(4, 10)]
    assert found == pytest.approx(up + down)
    assert (found[0], found[4], found[-1]) == pytest.approx((0.04, 1.0, 1e-4))
    assert values(OneCycle(warm_up=0), 1)[0] == pytest.approx(1e-4)


def test_the_threshold_goes_down_and_comes_back():
    schedule = Threshold(accuracy=0.9, final=0.1)
    seen = [None, 0.5, 0.8999, 0.9, 0.97, 0.6, 0.95, 0.0]
    assert [schedule.value(step, 8, a) for step, a in enumerate(seen)] == [1.0, 1.0, 1.0, 0.1, 0.1, 1.0, 0.1, 1.0]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_is_read_from_plain_values_and_stays_between_none_and_all(kind):
    needed = {"after": 3} if kind == "step" else {}
    schedule = TypeAdapter(Schedule).validate_python({"kind": kind, **needed})
    assert type(schedule) is SCHEDULES[kind]
    assert TypeAdapter(Schedule).validate_json(schedule.model_dump_json()) == schedule
    for n_steps in (1, 2, 7, 100):
        for accuracy in (None, 0.0, 0.9, 1.0):
            assert all(0 < value <= 1 for value in values(schedule, n_steps, accuracy=accuracy))


@pytest.mark.parametrize(
    "words",
    [
        {"kind": "cosine"},
        {"kind": "step"},
        {"kind": "step", "after": 0},
        {"kind": "exponential", "final": 0},
        {"kind": "exponential", "final": 1.5},
        {"kind": "warm_up", "warm_up": 1.0},
        {"kind": "one_cycle", "warm_up": 1.0},
        {"kind": "threshold", "accuracy": 1.1},
        {"kind": "constant", "final": 0.1},
    ],
)
def test_impossible_schedules_are_refused(words):
    with pytest.raises(ValidationError):
        TypeAdapter(Schedule).validate_python(words)
