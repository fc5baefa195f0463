"""Training: resumes bit by bit, never collapses on an easy task, and says what went wrong."""

import hashlib
import io
import json
import multiprocessing
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitrify import learn, store
from vitrify.dataset import Labelled
from vitrify.learn import Parent, Train, predict, restore, train
from vitrify.models import CNN, MPNN, DeepSet, Swanson2018
from vitrify.schedules import Constant, Exponential, OneCycle, Step, Threshold, WarmUp
from vitrify.views import Graph

SMALL = (CNN(width=8), MPNN(view=Graph(n_neighbours=4), width=8))


class Forgetful(DeepSet):
    """A small network that drops half of its features at each step."""

    def build(self, *, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _Dropping(super().build(seed=seed))


class _Dropping(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.drop, self.sum = network, nn.Dropout(0.5), nn.Linear(16, 1)

    def forward(self, *inputs):
        logit = self.network(*inputs)
        return logit + self.sum(self.drop(torch.tanh(logit[:, None] * torch.linspace(-1, 1, 16)))).squeeze(1)


SCHEDULES = (OneCycle(), Constant(), Step(after=7), Exponential(), WarmUp(), Threshold(accuracy=0.7))


class Memory:
    """Checkpoints as bytes, written and read as they would be on disk."""

    def __init__(self):
        self.saved = {}

    def load(self, which):
        return torch.load(io.BytesIO(self.saved[which]), weights_only=True) if which in self.saved else None

    def save(self, which, state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.saved[which] = buffer.getvalue()


class KilledError(Exception):
    """Stands for a job that its queue kills."""


def lattices(seed, *, n_runs=16, noise=(0.03, 0.15)):
    """Square lattices of 6 x 6 with little (glass) or much (liquid) noise."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1, 0], n_runs)
    site = np.stack(np.divmod(np.arange(36), 6), 1) + 0.5
    positions = site + np.array(noise)[1 - label][:, None, None] * rng.normal(size=(2 * n_runs, 36, 2))
    return Labelled(
        positions=np.mod(positions, 6).astype(np.float32),
        species=np.repeat([0, 1], [24, 12]),
        box=np.array([6.0, 6.0]),
        label=label,
        run=np.tile(np.arange(n_runs), 2),
        e_pot=np.zeros(2 * n_runs),
        e_is=np.zeros(2 * n_runs),
    )


def kill_at(step):
    def progress(done, total):
        if done == step:
            raise KilledError

    return progress


def same(one, other):
    """Whether two nested states are equal bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def timeless(state):
    """The state without the one column that no two trainings share."""
    return {
        key: {column: values for column, values in value.items() if column != "seconds"} if key == "history" else value
        for key, value in state.items()
    }


VARIANTS = (
    *((model, Train()) for model in SMALL),
    *((SMALL[1], Train(schedule=schedule)) for schedule in SCHEDULES[1:]),
    (SMALL[1], Train(optimiser="adam", l2=0.01)),
    (SMALL[1], Train(class_weights="balanced", precision="bfloat16")),
    (Forgetful(), Train()),
    (Swanson2018(pixels=20, n_neurons=4), Train(optimiser="adam", learning_rate=1e-3)),
)


@pytest.mark.parametrize(("model", "settings"), VARIANTS, ids=lambda value: getattr(value, "kind", ""))
def test_a_killed_training_ends_as_the_uninterrupted_one(model, settings):
    settings = settings.model_copy(update={"n_steps": 23, "batch_size": 6, "evaluate_every": 5})
    data = lattices(0), lattices(1, n_runs=4)
    whole, pieces = Memory(), Memory()
    trained = train(model, *data, settings, seed=3, checkpoints=whole)
    for step in (1, 5, 9, 17, 22):
        with pytest.raises(KilledError):
            train(model, *data, settings, seed=3, checkpoints=pieces, progress=kill_at(step))
    resumed = train(model, *data, settings, seed=3, checkpoints=pieces)
    assert same(resumed.network.state_dict(), trained.network.state_dict())
    for which in ("best", "last"):
        assert same(timeless(whole.load(which)), timeless(pieces.load(which)))
    seconds = resumed.history["seconds"]
    assert len(seconds) == 5
    assert 0 < seconds[0] < seconds[1] < seconds[2] < seconds[3] < seconds[4]


def test_what_a_network_drops_depends_on_the_seed_and_the_step():
    data = lattices(0), lattices(1)
    settings = Train(
        n_steps=3, learning_rate=1e-30, weight_decay=0, evaluate_every=1, batch_size=32, patience=0, enough=0
    )
    torch.manual_seed(1)
    one = train(Forgetful(), *data, settings, seed=0, checkpoints=Memory()).history["train_loss"]
    torch.manual_seed(2)
    again = train(Forgetful(), *data, settings, seed=0, checkpoints=Memory()).history["train_loss"]
    assert one == again
    assert len({round(loss, 5) for loss in one}) == 3  # the same weights and configurations, other features dropped
    still = train(DeepSet(), *data, settings, seed=0, checkpoints=Memory()).history["train_loss"]
    assert np.ptp(still) < 1e-5


@pytest.mark.parametrize("model", SMALL, ids=lambda model: model.kind)
def test_a_training_that_knows_enough_ends_there_killed_or_not(model):
    settings = Train(n_steps=200, batch_size=8, evaluate_every=5, enough=0.1)
    data = lattices(0), lattices(1)
    whole, pieces, told = Memory(), Memory(), []
    trained = train(
        model, *data, settings, seed=3, checkpoints=whole, progress=lambda done, total: told.append((done, total))
    )
    losses, end = trained.history["validation_loss"], trained.history["step"][-1]
    assert losses[-1] < 0.1 <= min(losses[:-1])
    assert end % 5 == 0
    assert told == [(step, 200) for step in range(1, end)] + [(200, 200)]
    for step in (4, end - 1, 200):
        with pytest.raises(KilledError):
            train(model, *data, settings, seed=3, checkpoints=pieces, progress=kill_at(step))
    train(model, *data, settings, seed=3, checkpoints=pieces, progress=kill_at(200))
    for which in ("best", "last"):
        assert same(timeless(whole.load(which)), timeless(pieces.load(which)))


def test_patience_ends_a_training_whose_validation_loss_does_not_fall():
    data = lattices(0, noise=(0.08, 0.08)), lattices(1, noise=(0.08, 0.08))
    settings = Train(n_steps=400, evaluate_every=2, patience=3, schedule=Constant())
    losses = train(SMALL[1], *data, settings, seed=0, checkpoints=Memory()).history["validation_loss"]
    assert int(np.argmin(losses)) == len(losses) - 1 - 3
    assert len(losses) < 200
    for n in range(4, len(losses)):  # and not before
        assert n - 1 - int(np.argmin(losses[:n])) < 3


def test_a_finished_training_returns_at_once():
    checkpoints, data = Memory(), (lattices(0), lattices(1))
    settings = Train(n_steps=4, evaluate_every=2)
    first = train(SMALL[1], *data, settings, seed=0, checkpoints=checkpoints)
    again = train(SMALL[1], *data, settings, seed=0, checkpoints=checkpoints, progress=kill_at(4))
    assert again.history == first.history


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"settings": Train(n_steps=5)}, {"model": SMALL[0]}, {"train_data": lattices(2)}]
)
def test_checkpoints_of_another_training_are_refused(change):
    checkpoints = Memory()
    given = {
        "model": SMALL[1],
        "train_data": lattices(0),
        "validation_data": lattices(1),
        "settings": Train(n_steps=2),
        "seed": 0,
        "checkpoints": checkpoints,
    }
    train(**given)
    with pytest.raises(ValueError, match="its own checkpoints"):
        train(**(given | change))


@pytest.mark.parametrize("model", SMALL, ids=lambda model: model.kind)
@pytest.mark.parametrize("seed", range(5))
def test_no_seed_collapses_on_an_easy_task(model, seed):
    checkpoints = Memory()
    trained = train(
        model, lattices(0), lattices(1), Train(n_steps=60, evaluate_every=20), seed=seed, checkpoints=checkpoints
    )
    unseen = lattices(2)
    assert np.mean((predict(trained, unseen) > 0) == unseen.label) >= 0.95


def test_labels_without_meaning_are_not_learned():
    data = lattices(2, n_runs=40, noise=(0.08, 0.08))
    trained = train(SMALL[1], lattices(0, noise=(0.08, 0.08)), data, Train(n_steps=30), seed=0, checkpoints=Memory())
    right = (predict(trained, lattices(3, n_runs=100, noise=(0.08, 0.08))) > 0) == np.repeat([1, 0], 100)
    assert 0.4 < right.mean() < 0.6


def test_the_history_says_what_happened():
    schedule = OneCycle(warm_up=0.5)
    settings = Train(n_steps=11, batch_size=8, evaluate_every=4, learning_rate=0.01, schedule=schedule)
    checkpoints = Memory()
    trained = train(SMALL[1], lattices(0), lattices(1), settings, seed=0, checkpoints=checkpoints)
    history = trained.history
    assert history["step"] == [4, 8, 11]
    assert history["epoch"] == [1.0, 2.0, 2.75]
    assert history["samples"] == [32, 64, 88]
    assert history["learning_rate"] == [0.01 * schedule.value(step - 1, 11, None) for step in (4, 8, 11)]
    assert history["penalty"] == [0, 0, 0]
    logit = torch.from_numpy(predict(trained, lattices(1)))
    target = torch.from_numpy(lattices(1).label.astype(float))
    loss = binary_cross_entropy_with_logits(logit, target).item()
    assert loss == pytest.approx(min(history["validation_loss"]), rel=1e-5)


def test_the_running_averages_are_those_of_the_weights_that_are_saved():
    data = lattices(0)
    model = SMALL[1]
    settings = Train(n_steps=7, evaluate_every=7)
    network = train(model, data, lattices(1), settings, seed=0, checkpoints=Memory()).network
    norm = network.readout[0]
    assert norm.momentum == 0.1
    saved = norm.running_mean.clone(), norm.running_var.clone()
    norm.momentum = 1.0
    with torch.no_grad():
        network.train()(*model.inputs(data.positions, data.species, data.box))
    torch.testing.assert_close((norm.running_mean, norm.running_var), saved, rtol=1e-3, atol=1e-4)


def test_the_best_weights_are_kept_and_restored():
    checkpoints = Memory()
    trained = train(
        SMALL[1], lattices(0), lattices(1), Train(n_steps=20, evaluate_every=2), seed=0, checkpoints=checkpoints
    )
    best = int(np.argmin(trained.history["validation_loss"]))
    assert checkpoints.load("best")["step"] == trained.history["step"][best]
    again = restore(SMALL[1], checkpoints)
    assert same(again.network.state_dict(), trained.network.state_dict())
    np.testing.assert_array_equal(predict(again, lattices(2)), predict(trained, lattices(2)))
    assert not again.network.training


def test_the_best_of_equals_is_the_earliest():
    class Constant(torch.nn.Module):
        """Scores every configuration alike and learns nothing."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, *inputs):
            return 0 * self.weight * inputs[1].sum((1, 2))

    class Deaf(MPNN):
        def build(self, *, seed):  # noqa: ARG002
            return Constant()

    checkpoints = Memory()
    train(Deaf(), lattices(0), lattices(1), Train(n_steps=6, evaluate_every=2), seed=0, checkpoints=checkpoints)
    assert checkpoints.load("best")["step"] == 2


def test_a_diverging_loss_says_what_to_do():
    settings = Train(n_steps=50, learning_rate=1e30, schedule=Constant())
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train(SMALL[1], lattices(0), lattices(1), settings, seed=0, checkpoints=Memory())


def test_nothing_to_restore_is_an_error():
    with pytest.raises(ValueError, match="train the network first"):
        restore(SMALL[0], Memory())


def test_the_callers_random_state_and_threads_are_left_alone():
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    train(SMALL[0], lattices(0), lattices(1), Train(n_steps=2), seed=0, checkpoints=Memory())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads


def test_pictures_are_shown_differently_at_each_step_only_if_asked():
    data = lattices(0), lattices(1)
    losses = {
        augment: train(
            SMALL[0], *data, Train(n_steps=6, evaluate_every=2, augment=augment), seed=0, checkpoints=Memory()
        ).history["train_loss"]
        for augment in (True, False)
    }
    assert losses[True] != losses[False]


@pytest.mark.parametrize(
    "values",
    [
        {"n_steps": 0},
        {"batch_size": 1},
        {"enough": -0.1},
        {"patience": -1},
        {"l2": -1e-3},
        {"schedule": {"kind": "cosine"}},
        {"optimiser": "sgd"},
        {"precision": "float16"},
        {"device": "tpu"},
        {"n_threads": 0},
        {"class_weights": "rare"},
        {"epochs": 3},
    ],
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValidationError):
        Train(**values)


def test_the_model_supplies_what_was_not_given():
    recipe = learn.recipe(Swanson2018(), Train(n_steps=7, batch_size=16))
    assert (recipe.n_steps, recipe.batch_size) == (7, 16)  # 16 is a default, but it was given
    assert (recipe.optimiser, recipe.l2, recipe.schedule) == ("adam", 0.01, Constant())
    assert learn.recipe(Swanson2018(), recipe) == recipe
    assert learn.recipe(CNN(), Train(l2=0.5)) == Train(l2=0.5)


def test_the_log_reached_ninety_percent_after_so_many_epochs():
    history = {"epoch": [0.5, 1.0, 1.5, 2.0], "validation_accuracy": [0.5, 0.9, 0.8, 0.95]}
    assert [learn.epochs_to(history, accuracy) for accuracy in (0.4, 0.9, 0.91, 0.99)] == [0.5, 1.0, 2.0, None]
    history |= {"samples": [8, 16, 24, 32], "seconds": [1.0, 2.0, 3.0, 4.5]}
    assert learn.summary(history) == {
        "samples": 32,
        "epochs": 2.0,
        "seconds": 4.5,
        "epochs_to_90": 1.0,
        "epochs_to_99": None,
    }


def slowly(**changes):
    """Settings under which one step tells what was lost."""
    return Train(**({"n_steps": 1, "batch_size": 32, "learning_rate": 1e-30, "weight_decay": 0} | changes))


def test_the_penalty_is_half_of_l2_times_the_squares_of_the_matrices():
    data, model = (lattices(0), lattices(1)), SMALL[1]
    checkpoints = Memory()
    history = train(model, *data, slowly(l2=0.3), seed=0, checkpoints=checkpoints).history
    weights = dict(model.build(seed=0).named_parameters())
    squares = sum(float((weight.detach().double() ** 2).sum()) for weight in weights.values() if weight.ndim > 1)
    assert history["penalty"] == pytest.approx([0.15 * squares], rel=1e-5)
    without = Memory()
    plain = train(model, *data, slowly(), seed=0, checkpoints=without).history
    assert (plain["train_loss"], plain["validation_loss"]) == (history["train_loss"], history["validation_loss"])
    # after one step from rest, Adam's mean is a tenth of the gradient
    for name, moments in checkpoints.load("last")["optimiser"].items():
        gained = 10 * (moments["mean"] - without.load("last")["optimiser"][name]["mean"])
        wanted = 0.3 * weights[name].detach() if weights[name].ndim > 1 else torch.zeros_like(weights[name])
        torch.testing.assert_close(gained, wanted, rtol=1e-3, atol=1e-5)


def test_balanced_classes_count_alike():
    many = lattices(0)
    few = many.take((many.label == 0) | (many.run < 4))  # 16 liquids, 4 glasses
    losses = {}
    for class_weights in ("none", "balanced"):
        settings = slowly(class_weights=class_weights, batch_size=20)
        losses[class_weights] = train(SMALL[1], few, lattices(1), settings, seed=0, checkpoints=Memory()).history
    network = SMALL[1].build(seed=0).train()
    logit = network(*SMALL[1].inputs(few.positions, few.species, few.box)).detach()
    each = binary_cross_entropy_with_logits(logit, torch.tensor(few.label, dtype=torch.float32), reduction="none")
    liquid, glass = (float(each[few.label == label].mean()) for label in (0, 1))
    assert losses["none"]["train_loss"] == pytest.approx([0.8 * liquid + 0.2 * glass], rel=1e-5)
    assert losses["balanced"]["train_loss"] == pytest.approx([0.5 * liquid + 0.5 * glass], rel=1e-5)


def test_bfloat16_trains_nearly_as_float32():
    data = lattices(0), lattices(1)
    one, other = (
        train(model, *data, Train(n_steps=40, precision=precision), seed=0, checkpoints=Memory())
        for model, precision in ((SMALL[0], "float32"), (SMALL[0], "bfloat16"))
    )
    assert one.history["train_loss"] != other.history["train_loss"]
    assert other.history["validation_accuracy"][-1] >= 0.95
    assert {weight.dtype for weight in other.network.parameters()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_card_that_is_not_there_is_named():
    with pytest.raises(ValueError, match='device must be "cpu" where PyTorch finds no CUDA card'):
        train(SMALL[1], lattices(0), lattices(1), Train(n_steps=2, device="cuda"), seed=0, checkpoints=Memory())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("model", SMALL, ids=lambda model: model.kind)
def test_a_card_learns_too_and_leaves_a_checkpoint_for_the_processor(model):
    settings = Train(n_steps=60, evaluate_every=20, device="cuda")
    trained = train(model, lattices(0), lattices(1), settings, seed=0, checkpoints=Memory())
    assert np.mean((predict(trained, lattices(2)) > 0) == lattices(2).label) >= 0.95


def test_a_checkpoint_says_what_it_is_of():
    checkpoints, data = Memory(), (lattices(0), lattices(1))
    settings = Train(n_steps=4, evaluate_every=2)
    train(SMALL[1], *data, settings, seed=5, checkpoints=checkpoints)
    for which in ("best", "last"):
        state = checkpoints.load(which)
        assert state["labels"] == {"0": "liquid", "1": "glass"}
        assert state["model"] == SMALL[1].model_dump(mode="json")
        assert state["train"] == settings.model_dump(mode="json")
        assert state["data"] == {"train": data[0].digest, "validation": data[1].digest}
        identity = {name: state[name] for name in ("model", "train", "seed", "data")}
        assert state["recipe"] == hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        assert state["parents"] == []


@pytest.mark.parametrize("which", ["train", "validation"])
@pytest.mark.parametrize("change", ["positions", "label", "box", "species"])
def test_other_data_is_refused_by_name(which, change):
    checkpoints, data = Memory(), {"train": lattices(0), "validation": lattices(1)}

    def trained():
        train(SMALL[1], data["train"], data["validation"], Train(n_steps=2), seed=0, checkpoints=checkpoints)

    trained()
    array = getattr(data[which], change).copy()
    array.flat[0] = 1 - array.flat[0] if change in ("label", "species") else array.flat[0] + 0.25
    data[which] = replace(data[which], **{change: array})
    with pytest.raises(ValueError, match=r"checkpoints must come from the same data; .*its own checkpoints"):
        trained()


def test_another_model_is_not_restored():
    checkpoints = Memory()
    train(SMALL[1], lattices(0), lattices(1), Train(n_steps=2), seed=0, checkpoints=checkpoints)
    with pytest.raises(ValueError, match="model must be the one that was trained"):
        restore(SMALL[0], checkpoints)


def test_going_on_from_the_last_step_of_another_training_is_as_if_it_had_not_ended():
    data, model = (lattices(0), lattices(1)), SMALL[1]
    settings = {"schedule": Constant(), "evaluate_every": 4, "enough": 0, "learning_rate": 3e-3}
    short, child, long = Memory(), Memory(), Memory()
    train(model, *data, Train(n_steps=12, **settings), seed=2, checkpoints=short)
    whole = train(model, *data, Train(n_steps=24, **settings), seed=2, checkpoints=long)
    parent = Parent(name="V5", checkpoints=short, which="last")
    for step in (14, 17, 22):  # and killed on the way
        with pytest.raises(KilledError):
            train(
                *(model, *data, Train(n_steps=24, **settings)),
                seed=2,
                checkpoints=child,
                parent=parent,
                progress=kill_at(step),
            )
    continued = train(model, *data, Train(n_steps=24, **settings), seed=2, checkpoints=child, parent=parent)
    assert same(continued.network.state_dict(), whole.network.state_dict())
    mine, other = (timeless(memory.load("last")) for memory in (child, long))
    assert [one["name"] for one in mine.pop("parents")] == ["V5"]
    assert other.pop("parents") == []
    assert same(mine, other)


def test_the_best_weights_of_another_training_begin_a_new_one_and_the_lineage_is_kept():
    data, model = (lattices(0), lattices(1)), SMALL[1]
    memories = {name: Memory() for name in ("V5", "V5-S1", "V5-S2")}
    settings = Train(n_steps=12, evaluate_every=3, enough=0)
    train(model, *data, settings, seed=2, checkpoints=memories["V5"])
    lower = slowly(n_steps=3, evaluate_every=3)
    best = memories["V5"].load("best")
    parent = Parent(name="V5", checkpoints=memories["V5"])
    second = train(model, *data, lower, seed=7, checkpoints=memories["V5-S1"], parent=parent)
    assert second.history["step"] == [3]
    for name, weight in model.build(seed=0).named_parameters():
        assert torch.equal(second.network.state_dict()[name], best["network"][name])
        assert memories["V5-S1"].load("last")["optimiser"][name]["n_steps"] == 3
        assert weight.shape == best["network"][name].shape
    third = train(
        *(model, *data, Train(n_steps=6, evaluate_every=3, enough=0)),
        seed=7,
        checkpoints=memories["V5-S2"],
        parent=Parent(name="V5-S1", checkpoints=memories["V5-S1"], which="last"),
    )
    assert third.history["step"] == [3, 6]
    assert third.parents == (
        learn.Ancestor(name="V5", recipe=best["recipe"], step=best["step"], which="best"),
        learn.Ancestor(name="V5-S1", recipe=memories["V5-S1"].load("last")["recipe"], step=3, which="last"),
    )
    assert restore(model, memories["V5-S2"]).parents == third.parents
    # the parent is known by its state of then, and is not needed to go on
    again = Parent(name="V5", checkpoints=Memory())
    assert train(model, *data, lower, seed=7, checkpoints=memories["V5-S1"], parent=again).parents == second.parents
    for other in (None, Parent(name="V6", checkpoints=memories["V5"]), replace(parent, which="last")):
        with pytest.raises(ValueError, match=r"checkpoints must come from the same parent; .*V5"):
            train(model, *data, lower, seed=7, checkpoints=memories["V5-S1"], parent=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parent": Parent(name="V5", checkpoints=Memory())}, "V5 does not: train it first"),
        ({"model": SMALL[0]}, "parent must be of the same model"),
        ({"train_data": lattices(2)}, "parent must have the same data .* begin from its best"),
        ({"settings": Train(n_steps=9, class_weights="balanced")}, "parent must have the same class_weights"),
        ({"settings": Train(n_steps=2)}, "must be more than the 2 steps that V5 has done; got 2"),
    ],
)
def test_a_parent_that_cannot_be_continued_says_why(change, message):
    memory = Memory()
    given = {"model": SMALL[1], "train_data": lattices(0), "validation_data": lattices(1), "seed": 0}
    train(**given, settings=Train(n_steps=2), checkpoints=memory)
    parent = Parent(name="V5", checkpoints=memory, which="last")
    with pytest.raises(ValueError, match=message):
        train(**({**given, "settings": Train(n_steps=9), "checkpoints": Memory(), "parent": parent} | change))


def _variants(folder, ready):
    """Train every variant to its end, each in a folder of its own."""
    data = lattices(0), lattices(1, n_runs=4)
    ready.send(True)
    for number, (model, settings) in enumerate(VARIANTS):
        settings = settings.model_copy(update={"n_steps": 30, "batch_size": 6, "evaluate_every": 5, "enough": 0.0})
        train(model, *data, settings, seed=3, checkpoints=store.Checkpoints(folder / str(number)))


def _killed(context, folder, seconds):
    """Whether a process that trains the variants had to be killed so many seconds after it was ready."""
    mine, its = context.Pipe()
    process = context.Process(target=_variants, args=(folder, its))
    process.start()
    its.close()
    mine.recv()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.slow
def test_a_process_killed_at_random_moments_leaves_the_bits_of_the_uninterrupted_one(tmp_path):
    context, rng = multiprocessing.get_context("spawn"), np.random.default_rng()
    n_kills, mean = 0, 0.2
    while _killed(context, tmp_path / "killed", rng.exponential(mean)):
        n_kills, mean = n_kills + 1, mean * 1.1
    assert n_kills >= 3
    assert not _killed(context, tmp_path / "whole", None)
    for number in range(len(VARIANTS)):
        killed, whole = (store.Checkpoints(tmp_path / name / str(number)) for name in ("killed", "whole"))
        for which in ("best", "last"):
            assert same(timeless(killed.load(which)), timeless(whole.load(which))), (number, which)
