"""What a sweep tries: paths become checked settings, and whatever is wrong is named before anything runs."""

from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from vitrify.models import CNN, MPNN
from vitrify.schedules import Constant, OneCycle
from vitrify.space import Range, Sweep, applied, check
from vitrify.training import Train
from vitrify.views import Graph


class Own(BaseModel):
    """Settings of a network that no table knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: ClassVar[dict] = {"n_steps": 7}
    kind: Literal["own"] = "own"
    depth: int = 2


def test_a_path_replaces_one_setting_and_leaves_the_others() -> None:
    model = MPNN(view=Graph(n_neighbours=4), width=8)
    values = {"model.view.n_neighbours": 6, "train.learning_rate": 0.1, "train.schedule.warm_up": 0.2}
    network, train = applied(model, Train(n_steps=40), values)
    assert network == MPNN(view=Graph(n_neighbours=6), width=8)
    assert train == Train(n_steps=40, learning_rate=0.1, schedule=OneCycle(warm_up=0.2))
    assert model.view.n_neighbours == 4


def test_another_kind_takes_its_own_defaults() -> None:
    _, train = applied(MPNN(), Train(schedule=OneCycle(warm_up=0.5)), {"train.schedule.kind": "constant"})
    assert train.schedule == Constant()
    _, train = applied(MPNN(), Train(), {"train.schedule": {"kind": "step", "after": 5}})
    assert (train.schedule.kind, train.schedule.after) == ("step", 5)
    network, _ = applied(MPNN(width=64), Train(), {"model.kind": "cnn", "model.view.pixels_per_sigma": 3.0})
    assert network == CNN(view={"pixels_per_sigma": 3.0})
    network, _ = applied(MPNN(width=64), Train(), {"model": {"kind": "cnn", "width": 4}})
    assert network == CNN(width=4)
    _, kept = applied(MPNN(), Train(schedule=OneCycle(warm_up=0.5)), {"train.schedule.kind": "one_cycle"})
    assert kept.schedule == OneCycle(warm_up=0.5)


def test_what_was_not_given_takes_the_recipe_of_the_network() -> None:
    assert applied(Own(), Train(), {"model.depth": 3}) == (Own(depth=3), Train(n_steps=7))
    assert applied(Own(), Train(n_steps=120), {})[1].n_steps == 120
    assert applied(Own(), Train(), {"train.n_steps": 9})[1].n_steps == 9


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"model.widht": [4]}, r"model\.widht is not a setting; model has kind, view, width"),
        ({"width": [4]}, "width must begin with model or train"),
        ({"train.schedule.warmup": [0.1]}, r"train\.schedule\.warmup is not a setting"),
        ({"model.width.more": [1]}, r"model\.width\.more is not a setting; model\.width is one value"),
        ({"model.width": [8, 0]}, r"model\.mpnn\.width: .*greater than or equal to 1; got 0"),
        ({"model.width": {"low": 8.0, "high": 16.0}}, r"model\.mpnn\.width: .*integer"),
        ({"train.learning_rate": {"low": -1.0, "high": 1.0}}, r"train\.learning_rate: .*got -1\.0"),
        ({"train.schedule.kind": ["one_cycle", "spiral"]}, r"train\.schedule: .*'spiral'"),
        ({"train.schedule.kind": ["step"]}, r"train\.schedule\.step\.after: Field required"),
        ({"model.kind": ["cnn", "tree"]}, r"model: .*'tree'"),
        ({"model": ["cnn"]}, r"model: .*; got 'cnn'"),
    ],
)
def test_a_bad_path_or_value_is_named(space: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(Sweep(space=space, n_trials=1), MPNN(), Train())


def test_all_that_is_wrong_is_named_at_once_in_a_space_too_large_to_try_whole() -> None:
    right = {
        f"train.{name}": {"low": 0.1, "high": 0.2}
        for name in ("learning_rate", "weight_decay", "l2", "enough", "schedule.warm_up")
    }
    right |= {f"model.{name}": list(range(2, 6)) for name in ("width", "message_width", "n_rounds")}
    check(Sweep(space=right, n_trials=1), MPNN(), Train())
    wrong = {"model.n_heads": [1, -1], "train.n_batch": [1], "train.n_bath": [1]}
    with pytest.raises(ValueError, match=r"(?s)n_batch is not.*n_bath is not.*got -1") as caught:
        check(Sweep(space=right | wrong, n_trials=1), MPNN(), Train())
    assert str(caught.value).count("\n") == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": {}, "n_trials": 1}, "at least 1 item"),
        ({"space": {"model.width": []}, "n_trials": 1}, r"model\.width must have a choice"),
        ({"space": {"model.width": [8, 8]}, "n_trials": 1}, r"model\.width must not repeat a choice"),
        ({"space": {"model.width": {"low": 8, "hihg": 16}}, "n_trials": 1}, "hihg"),
        ({"space": {"model.width": {"low": 8, "high": 8}}, "n_trials": 1}, "low must be less than high"),
        ({"space": {"model.width": {"low": 0, "high": 8, "log": True}}, "n_trials": 1}, "log needs low > 0"),
        ({"space": {"model.width": {"low": 1, "high": 8, "step": 2}}, "n_trials": 1}, "whole number of steps"),
        ({"space": {"model.width": [8]}}, "n_trials must be given for sampler = 'random'"),
        ({"space": {"train.l2": {"low": 0.0, "high": 1.0}}, "sampler": "grid"}, r"train\.l2 has neither"),
        ({"space": {"model.width": [4, 8]}, "sampler": "grid", "n_trials": 3}, "at most the grid's 2; got 3"),
        ({"space": {"train.schedule": [{}], "train.schedule.kind": ["step"]}, "n_trials": 1}, "is a part of"),
    ],
)
def test_an_impossible_sweep_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Sweep(**settings)


def test_a_range_lists_what_can_be_listed() -> None:
    assert Range(low=2, high=5).listed == (2, 3, 4, 5)
    assert Range(low=2, high=8, step=3).listed == (2, 5, 8)
    assert Range(low=0.0, high=0.3, step=0.1).listed == pytest.approx((0.0, 0.1, 0.2, 0.3))
    assert Range(low=0.0, high=0.3).listed == Range(low=1, high=9, log=True).listed == ()
    sweep = Sweep(space={"model.width": [4, 8], "model.n_rounds": {"low": 1, "high": 3}}, sampler="grid")
    assert sweep.n_planned == sweep.n_combinations == 6
    assert sweep == Sweep.model_validate(sweep.model_dump(mode="json"))
