"""Adam and AdamW: step by step those of PyTorch's classes, with the decay on matrices alone."""

import copy

import pytest
import torch
from torch import nn

from vitrify.optimisers import Adam


def both(theirs, *, decay):
    """Three steps of ours and of theirs on the same gradients, and the two networks."""
    torch.random.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1))
    other = copy.deepcopy(network)
    matrices, vectors = ([w for w in other.parameters() if (w.ndim > 1) == kind] for kind in (True, False))
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser, ours = theirs(groups), Adam(network, decay=decay)
    rng = torch.Generator().manual_seed(1)
    for learning_rate in (0.1, 0.02, 0.003):
        for mine, its in zip(network.parameters(), other.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=rng)
            its.grad = mine.grad.clone()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        ours.step(learning_rate)
        optimiser.step()
    return network, other


@pytest.fixture(autouse=True)
def _random_state_is_given_back():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize(("theirs", "decay"), [(torch.optim.AdamW, 0.3), (torch.optim.Adam, 0.0)])
def test_steps_are_those_of_pytorch(theirs, decay):
    for mine, its in zip(*(network.parameters() for network in both(theirs, decay=decay)), strict=True):
        torch.testing.assert_close(mine, its)


def test_the_decay_is_of_the_matrices():
    without, with_decay = both(torch.optim.AdamW, decay=0.0)[0], both(torch.optim.AdamW, decay=0.3)[0]
    for one, other in zip(without.parameters(), with_decay.parameters(), strict=True):
        assert torch.equal(one, other) == (one.ndim == 1)


def test_moments_are_copied_in_and_go_on():
    network = nn.Linear(3, 2)
    first = Adam(network, decay=0.1)
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    first.step(0.1)
    other = copy.deepcopy(network)
    second = Adam(other, decay=0.1)
    second.load(first.state)
    for weight in (*network.parameters(), *other.parameters()):
        weight.grad = torch.full_like(weight, -2.0)
    first.step(0.1)
    assert second.state["weight"]["n_steps"].item() == 1
    second.step(0.1)
    for one, same in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)
