"""Training: resumes bit by bit, never collapses on an easy task, and says what went wrong."""

import copy
import io

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vitrify.dataset import Labelled
from vitrify.learn import Train, _AdamW, predict, restore, train
from vitrify.models import CNN, MPNN
from vitrify.views import Graph

SMALL = (CNN(width=8), MPNN(view=Graph(n_neighbours=4), width=8))


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


@pytest.mark.parametrize("model", SMALL, ids=lambda model: model.kind)
def test_a_killed_training_ends_as_the_uninterrupted_one(model):
    settings = Train(n_steps=23, batch_size=6, evaluate_every=5)
    data = lattices(0), lattices(1, n_runs=4)
    whole, pieces = Memory(), Memory()
    trained = train(model, *data, settings, seed=3, checkpoints=whole)
    for step in (1, 5, 9, 17, 22):
        with pytest.raises(KilledError):
            train(model, *data, settings, seed=3, checkpoints=pieces, progress=kill_at(step))
    resumed = train(model, *data, settings, seed=3, checkpoints=pieces)
    assert resumed.history == trained.history
    assert same(resumed.network.state_dict(), trained.network.state_dict())
    for which in ("best", "last"):
        assert same(whole.load(which), pieces.load(which))


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
    resumed = train(model, *data, settings, seed=3, checkpoints=pieces, progress=kill_at(200))
    assert resumed.history == trained.history
    for which in ("best", "last"):
        assert same(whole.load(which), pieces.load(which))


def test_one_step_is_that_of_pytorchs_adamw():
    rng = torch.Generator().manual_seed(0)
    network = MPNN(width=8).build(seed=0)
    other = copy.deepcopy(network)
    settings = Train(weight_decay=0.3)
    matrices, vectors = ([w for w in other.parameters() if (w.ndim > 1) == kind] for kind in (True, False))
    theirs = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}])
    ours = _AdamW(network, settings)
    for learning_rate in (0.1, 0.02, 0.003):
        for mine, its in zip(network.parameters(), other.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=rng)
            its.grad = mine.grad.clone()
        for group in theirs.param_groups:
            group["lr"] = learning_rate
        ours.step(learning_rate)
        theirs.step()
    for mine, its in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


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
    settings = Train(n_steps=11, batch_size=8, evaluate_every=4, learning_rate=0.01, warm_up=0.5)
    checkpoints = Memory()
    trained = train(SMALL[1], lattices(0), lattices(1), settings, seed=0, checkpoints=checkpoints)
    history = trained.history
    assert history["step"] == [4, 8, 11]
    assert history["epoch"] == [1.0, 2.0, 2.75]
    assert history["samples"] == [32, 64, 88]
    assert history["learning_rate"][1] > history["learning_rate"][0] > history["learning_rate"][2]
    assert max(history["learning_rate"]) <= 0.01
    logit = torch.from_numpy(predict(trained, lattices(1)))
    target = torch.from_numpy(lattices(1).label.astype(float))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, target).item()
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
    settings = Train(n_steps=50, learning_rate=1e30, warm_up=0)
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
    "values", [{"n_steps": 0}, {"batch_size": 1}, {"enough": -0.1}, {"warm_up": 1.0}, {"epochs": 3}]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValidationError):
        Train(**values)
