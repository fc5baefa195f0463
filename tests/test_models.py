"""The parts of the networks against the formulas they stand for."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from vitrify.models import MPNN, Logistic, Shallow, Swanson2018
from vitrify.mpnn import _echoes, _gaussians, _Heard, _heard_anywhere, _spread, _spread_anywhere, bond_attention
from vitrify.sets import named_weights
from vitrify.system import Configuration
from vitrify.views import Graph, log_picture


def sample(n_frames=2):
    positions = (np.random.default_rng(8).random((n_frames, 40, 2)) * 6).astype(np.float32)
    return positions, np.repeat([0, 1], [26, 14]), np.full(2, 6.0)


def graph(*, n=30, k=5, width=7, seed=0):
    """What a round of messages starts from, with senders that are heard often and never."""
    rng = torch.Generator().manual_seed(seed)
    sent, own = (torch.randn(n, width, generator=rng) for _ in range(2))
    return sent, own, torch.randn(n, k, width, generator=rng), torch.randint(n // 2, (n, k), generator=rng).int()


def test_the_messages_and_their_gradients_are_those_of_the_formula():
    *features, senders = graph()
    weight = torch.randn(30, 7, generator=torch.Generator().manual_seed(1))
    found = []
    for formula in (
        lambda sent, own, apart: _Heard.apply(sent, own, apart, senders),
        lambda sent, own, apart: relu(sent[senders] + own[:, None] + apart).mean(1),
    ):
        given = [part.clone().requires_grad_() for part in features]
        mean = formula(*given)
        (mean * weight).sum().backward()
        found.append((mean.detach(), *(part.grad for part in given)))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs)
    assert not found[0][1][15:].any()  # what is never heard has no gradient
    assert found[0][1][:15].any()


@pytest.mark.parametrize("n_centres", [2, 16])
def test_gaussians_of_any_distance_are_those_of_the_formula(n_centres):
    rng = np.random.default_rng(2)
    distances = np.concatenate([[0.0, 0.6, 2.0, 50.0, 1e6], rng.uniform(0.3, 3.0, 395)]).reshape(80, 5)
    senders, species = rng.integers(80, size=(80, 5)).astype(np.int32), rng.integers(3, size=80).astype(np.int32)
    centres = np.linspace(0.6, 2.0, n_centres).astype(np.float32)
    phi, around = np.empty((80, 5, n_centres), np.float32), np.zeros((80, 3, n_centres), np.float32)
    _gaussians(senders, distances.astype(np.float32), species, centres, phi, around)
    expected = np.exp(-0.5 * ((distances[..., None] - centres) / (centres[1] - centres[0])) ** 2)
    np.testing.assert_allclose(phi, expected, rtol=1e-4, atol=1e-6)
    kind = np.eye(3)[species[senders]]
    np.testing.assert_allclose(around, np.einsum("nks,nkm->nsm", kind, expected), rtol=1e-4, atol=1e-5)


def test_any_device_gets_what_the_compiled_loops_give():
    *features, senders = graph()
    torch.testing.assert_close(_heard_anywhere(*features, senders), _Heard.apply(*features, senders))
    rng = torch.Generator().manual_seed(5)
    distances = 0.5 + 2 * torch.rand(30, 5, generator=rng)
    seen = senders, distances, torch.randint(3, (30,), generator=rng).int(), torch.linspace(0.6, 2.0, 16), 3
    for ours, anywhere in zip(_spread(*seen), _spread_anywhere(*seen), strict=True):
        torch.testing.assert_close(ours, anywhere, atol=1e-5, rtol=1e-4)


def test_the_echo_of_a_bond_is_its_reverse_or_nobody():
    # 0 and 1 hear each other; 2 hears both and is heard by 3 only
    senders = torch.tensor([[1, 3], [0, 3], [0, 1], [2, 1]]).int()
    bonds = {
        (int(sender), receiver): 2 * receiver + a for receiver in range(4) for a, sender in enumerate(senders[receiver])
    }
    expected = [bonds.get((receiver, int(sender)), 8) for receiver in range(4) for sender in senders[receiver]]
    assert _echoes(senders).tolist() == expected
    assert expected[0] == 2
    assert expected.count(8) == 4


def test_bonds_hear_what_arrives_at_their_sender_but_their_own_echo():
    positions, species, box = sample()
    model = MPNN(messages="bond", n_rounds=2, view=Graph(n_neighbours=4), width=5)
    network, inputs = model.build(seed=3).eval(), model.inputs(positions, species, box)
    neighbours, distances = inputs[0][1].numpy(), inputs[1][1]
    phi = torch.exp(-0.5 * ((distances[..., None] - network.centres) / (1.4 / 15)) ** 2)
    kind = torch.eye(2)[torch.from_numpy(species)]
    with torch.inference_mode():
        found = network.bonds(*inputs)[0].view(2, 40, 4, 5)[1]
        start = {
            (j, i): relu(network.first(torch.cat([kind[i], kind[j], phi[i, a]])))
            for i in range(40)
            for a, j in enumerate(neighbours[i].tolist())
        }
        for i in range(10):
            for a, j in enumerate(neighbours[i].tolist()):
                heard = sum(start[h, j] for h in neighbours[j].tolist() if h != i)
                expected = relu(start[j, i] + network.rounds[0](heard / 4))
                torch.testing.assert_close(found[i, a], expected, atol=1e-5, rtol=1e-4)


def test_attention_over_the_bonds_is_shared_out_inside_each_graph():
    positions, species, box = sample()
    model = MPNN(messages="bond", bond_heads=3)
    network, inputs = model.build(seed=1).eval(), model.inputs(positions, species, box)
    weight = bond_attention(network, *inputs)
    assert weight.shape == (2, 40, 6)
    torch.testing.assert_close(weight.mean((1, 2)), torch.ones(2))
    assert weight.std() > 1e-3
    alone = bond_attention(network, *(tensor[1:] for tensor in inputs))
    torch.testing.assert_close(alone, weight[1:], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="bond_heads=1"):
        bond_attention(MPNN().build(seed=1), *inputs)
    with pytest.raises(ValidationError, match="choose messages = 'bond'"):
        MPNN(bond_heads=1)
    with pytest.raises(ValidationError, match="n_rounds must be at least 2"):
        MPNN(messages="bond", bond_heads=1, n_rounds=1)


def test_the_large_network_is_the_logs():
    with torch.device("meta"):  # counts, and holds nothing
        network = Swanson2018().build(seed=0)
    counts = [weight.numel() for weight in network.parameters()]
    assert counts == [10 * 10 * 3 * 6, 6, 5 * 5 * 6 * 16, 16, 237 * 237 * 16 * 80, 80, 80 * 2, 2]
    assert round(sum(counts) / 1e6, 1) == 71.9
    small = Swanson2018(pixels=32).build(seed=0)
    weights = torch.cat([weight.flatten() for weight in small.parameters() if weight.ndim > 1])
    assert weights.abs().max() <= 0.2
    assert weights.std().item() == pytest.approx(0.1 * 0.8796, rel=0.01)  # of a normal cut off at two spreads
    assert all((weight == 0.1).all() for weight in small.parameters() if weight.ndim == 1)


def test_the_large_network_sees_the_logs_picture_and_counts_glass_for_glass():
    positions, species, box = sample()
    model = Swanson2018(pixels=32)
    (pictures,) = model.inputs(positions, species, box)
    expected = log_picture(Configuration(positions=positions[1].astype(float), species=species, box=box), pixels=32)
    np.testing.assert_array_equal(pictures[1].permute(1, 2, 0).numpy(), expected)
    network = model.build(seed=0).eval()
    before = network(pictures)
    with torch.no_grad():
        network.dense[3].bias[1] += 1.5  # the log's second label is glass
    torch.testing.assert_close(network(pictures), before + 1.5)


@pytest.mark.slow
def test_the_large_networks_loss_starts_as_in_the_log():
    rng = np.random.default_rng(4)
    model, box = Swanson2018(), np.full(2, 60.0)
    species, target = np.repeat([0, 1], [2808, 1512]), torch.tensor([0.0, 1.0]).repeat(4)
    inputs = model.inputs((rng.random((8, 4320, 2)) * 60).astype(np.float32), species, box)
    network = model.build(seed=0).eval()
    with torch.inference_mode():
        cross_entropy = binary_cross_entropy_with_logits(network(*inputs), target).item()
    penalty = 0.01 / 2 * sum(w.detach().square().sum().item() for w in network.parameters() if w.ndim > 1)
    assert penalty == pytest.approx(2800, rel=0.02)  # half of about 5,600
    assert cross_entropy > 100


@pytest.mark.parametrize("model", [Shallow(n_neurons=2), Logistic()], ids=lambda model: model.kind)
def test_the_logit_follows_from_the_named_weights(model):
    positions, species, box = sample(n_frames=6)
    network, (pooled,) = model.build(seed=2), model.inputs(positions, species, box)
    network.train()(pooled)
    network.standardise.momentum = None
    network.standardise.reset_running_stats()
    network(pooled)
    names, weights, own = named_weights(model, network.eval())
    assert weights.shape == (2 if model.kind == "shallow" else 1, len(names))
    z = pooled.double().numpy()
    z = (z - z.mean(0)) / np.sqrt(z.var(0, ddof=1) + 1e-10)
    if model.kind == "shallow":
        hidden, last = network.layers[0], network.layers[2]
        expected = np.tanh(z @ weights.T + hidden.bias.detach().numpy()) @ own + last.bias.item()
    else:
        expected = z @ weights[0] + network.layers[0].bias.item()
    np.testing.assert_allclose(network(pooled).detach(), expected, atol=1e-3)
    with pytest.raises(TypeError, match="must be one built by"):
        named_weights(model, MPNN().build(seed=0))
