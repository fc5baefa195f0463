"""What every network promises: it can memorise, it scores each sample by itself, and it respects the symmetries."""

import io

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from vitrify.models import CNN, MODELS, MPNN
from vitrify.views import symmetry

BOX = np.array([8.0, 8.0])
SPECIES = np.repeat([0, 1], [60, 32])


@pytest.fixture(autouse=True)
def _one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def sample(seed=0, n_frames=16, d=2):
    return (np.random.default_rng(seed).random((n_frames, 92, d)) * BOX[0]).astype(np.float32)


def moved(positions, *, element=0, shift=(0.0, 0.0)):
    n_frames = len(positions)
    return symmetry(positions, BOX, element=np.full(n_frames, element), shift=np.tile(np.array(shift), (n_frames, 1)))


def learned(model, positions, label, *, n_steps=60):
    """The network after some steps of Adam on one batch."""
    network, inputs = model.build(seed=0).train(), model.inputs(positions, SPECIES, np.full(positions.shape[2], 8.0))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(n_steps):
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(network(*inputs), label).backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def network(model):
    """A network with weights and running averages that are not those it was born with."""
    return learned(model, sample(1), torch.tensor([0.0, 1.0]).repeat(8), n_steps=5).eval()


def scores(model, network, positions, species=SPECIES):
    with torch.inference_mode():
        return network(*model.inputs(positions, species, BOX)).numpy()


def test_it_memorises_sixteen_samples(model):
    label = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(4)
    network, positions = learned(model, sample(2), label), sample(2)
    logit = network(*model.inputs(positions, SPECIES, BOX)).detach()
    assert ((logit > 0) == (label > 0)).all()


def test_one_logit_each(model, network):
    logit = scores(model, network, sample())
    assert logit.shape == (16,)
    assert logit.dtype == np.float32
    assert logit.std() > 0


def test_a_sample_scores_the_same_alone_and_in_a_batch(model, network):
    positions = sample()
    together = scores(model, network, positions)
    alone = np.concatenate([scores(model, network, positions[i : i + 1]) for i in range(len(positions))])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_particles_does_not_matter(model, network):
    order = np.random.default_rng(3).permutation(len(SPECIES))
    shuffled = scores(model, network, sample()[:, order], SPECIES[order])
    np.testing.assert_allclose(shuffled, scores(model, network, sample()), rtol=1e-4, atol=1e-5)


def test_the_species_matter(model, network):
    assert not np.allclose(scores(model, network, sample()), scores(model, network, sample(), 1 - SPECIES), atol=1e-4)


def test_any_number_of_particles_and_any_box(model, network):
    for n, box in ((50, np.array([6.0, 7.0])), (300, np.array([20.0, 13.0]))):
        positions = (np.random.default_rng(n).random((2, n, 2)) * box).astype(np.float32)
        with torch.inference_mode():
            logit = network(*model.inputs(positions, np.arange(n) % 2, box))
        assert logit.shape == (2,)
        assert torch.isfinite(logit).all()


def test_a_doubled_box_scores_as_the_box(model, network):
    positions = sample(n_frames=4)
    twice = np.concatenate([positions, positions + np.float32([8, 0])], axis=1)
    with torch.inference_mode():
        doubled = network(*model.inputs(twice, np.tile(SPECIES, 2), np.array([16.0, 8.0]))).numpy()
    np.testing.assert_allclose(doubled, scores(model, network, positions), rtol=1e-3, atol=1e-4)


def test_every_weight_gets_a_gradient(model):
    network = model.build(seed=0).train()
    network(*model.inputs(sample(), SPECIES, BOX)).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert [name for name, weight in network.named_parameters() if weight.ndim > 1 and not weight.grad.any()] == []


def test_save_and_load_agree(model, network):
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    again = model.build(seed=99).eval()
    again.load_state_dict(torch.load(buffer, weights_only=True))
    np.testing.assert_array_equal(scores(model, again, sample()), scores(model, network, sample()))


def test_the_seed_decides_the_weights_and_nothing_else_moves(model):
    state = torch.get_rng_state()
    one, same, other = (model.build(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_survive_json_and_carry_their_name(model):
    assert type(model).model_validate_json(model.model_dump_json()) == model
    assert MODELS[model.kind] is type(model)


@pytest.mark.parametrize("element", range(8))
def test_the_mpnn_does_not_see_shifts_turns_and_mirrors(element):
    model = MPNN()
    network = model.build(seed=0).eval()
    turned = scores(model, network, moved(sample(), element=element, shift=(1.234, 6.5)))
    np.testing.assert_allclose(turned, scores(model, network, sample()), rtol=1e-3, atol=1e-4)


def test_the_mpnn_takes_three_dimensions():
    model, box = MPNN(), np.full(3, 8.0)
    network, positions = model.build(seed=0).eval(), sample(d=3)
    turned = symmetry(positions, box, element=np.full(16, 29), shift=np.full((16, 3), 2.5))
    with torch.inference_mode():
        one, other = (network(*model.inputs(p, SPECIES, box)).numpy() for p in (positions, turned))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (3.0, -5.0)])
def test_the_cnn_does_not_see_shifts_by_whole_strides(shift):
    # 8 pixels per sigma and a stride of 8 pixels: whole strides are whole sigmas, exact in binary
    positions = np.round(sample() * 1024).astype(np.float32) / 1024
    model = CNN()
    network = model.build(seed=0).eval()
    assert model.view.pixels(BOX, stride=model.stride) == (64, 64)
    shifted = scores(model, network, moved(positions, shift=shift))
    np.testing.assert_allclose(shifted, scores(model, network, positions), rtol=1e-4, atol=1e-5)


def test_the_cnns_last_layer_has_one_cell_per_stride():
    model = CNN()
    (pictures,) = model.inputs(sample(n_frames=2), SPECIES, BOX)
    h = model.build(seed=0).features(pictures.float())
    assert h.shape[2:] == (8, 8)
