"""What every network promises: it can memorise, it scores each sample by itself, and it respects the symmetries."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitrify.models import CNN, CNN3D, MODELS, MPNN, Swanson2018
from vitrify.views import symmetries, symmetry

EDGE = {2: 8.0, 3: 6.0}
SPECIES = np.repeat([0, 1], [60, 32])
MEMBERS = {
    **{kind: model() for kind, model in MODELS.items()},
    "swanson2018": Swanson2018(pixels=32),  # as large as the log's, one step would take seconds
    "mpnn-bonds": MPNN(messages="bond", bond_heads=2, n_rounds=3),
    "mpnn-mean": MPNN(pooling="mean"),
}
CASES = [pytest.param((model, d), id=f"{name}-{d}d") for name, model in MEMBERS.items() for d in model.dimensions]


@pytest.fixture(autouse=True)
def _one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def model(case):
    return case[0]


@pytest.fixture(scope="module")
def d(case):
    return case[1]


@pytest.fixture(scope="module")
def network(model, d):
    """A network with weights and running averages that are not those it was born with."""
    return learned(model, sample(1, d=d), torch.tensor([0.0, 1.0]).repeat(8), n_steps=5).eval()


def cube(d):
    return np.full(d, EDGE[d])


def sample(seed=0, n_frames=16, d=2):
    return (np.random.default_rng(seed).random((n_frames, 92, d)) * EDGE[d]).astype(np.float32)


def moved(positions, *, element=0, shift=0.0):
    n_frames, _, d = positions.shape
    return symmetry(positions, cube(d), element=np.full(n_frames, element), shift=np.tile(shift, (n_frames, 1)))


def learned(model, positions, label, *, n_steps):
    """The network after some steps of Adam on one batch."""
    network, inputs = model.build(seed=0).train(), model.inputs(positions, SPECIES, cube(positions.shape[2]))
    optimiser = torch.optim.Adam(network.parameters(), lr=model.recipe.get("learning_rate", 3e-3))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of dropout
        for _ in range(n_steps):
            optimiser.zero_grad()
            binary_cross_entropy_with_logits(network(*inputs), label).backward()
            optimiser.step()
    return network


def scores(model, network, positions, species=SPECIES, box=None):
    with torch.inference_mode():
        return network(*model.inputs(positions, species, cube(positions.shape[2]) if box is None else box)).numpy()


def test_it_memorises_sixteen_samples(model, d):
    label = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(4)
    n_steps = 200 if getattr(model, "dropout", 0) else 60  # with half of its neurons at a time it learns more slowly
    network, positions = learned(model, sample(2, d=d), label, n_steps=n_steps), sample(2, d=d)
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    logit = network(*model.inputs(positions, SPECIES, cube(d))).detach()
    assert ((logit > 0) == (label > 0)).all()


def test_one_logit_each(model, network, d):
    logit = scores(model, network, sample(d=d))
    assert logit.shape == (16,)
    assert logit.dtype == np.float32
    assert logit.std() > 0


def test_a_sample_scores_the_same_alone_and_in_a_batch(model, network, d):
    positions = sample(d=d)
    together = scores(model, network, positions)
    alone = np.concatenate([scores(model, network, positions[i : i + 1]) for i in range(len(positions))])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5 * np.abs(alone).max())  # of large sums' difference


def test_the_order_of_the_particles_does_not_matter(model, network, d):
    order = np.random.default_rng(3).permutation(len(SPECIES))
    shuffled = scores(model, network, sample(d=d)[:, order], SPECIES[order])
    np.testing.assert_allclose(shuffled, scores(model, network, sample(d=d)), rtol=1e-4, atol=1e-4)


def test_the_species_matter(model, network, d):
    positions = sample(d=d)
    assert not np.allclose(scores(model, network, positions), scores(model, network, positions, 1 - SPECIES), atol=1e-4)


def test_any_number_of_particles_and_any_box(model, network, d):
    for n, edges in ((50, (6.0, 7.0, 5.5)), (300, (20.0, 13.0, 6.0))):
        box = np.array(edges[:d])
        positions = (np.random.default_rng(n).random((2, n, d)) * box).astype(np.float32)
        logit = scores(model, network, positions, np.arange(n) % 2, box)
        assert logit.shape == (2,)
        assert np.isfinite(logit).all()


def test_a_doubled_box_scores_as_the_box(model, network, d):
    if model.kind == "swanson2018":
        pytest.skip("its weights belong to places in a picture of fixed size")
    positions, along = sample(n_frames=4, d=d), np.eye(d)[0]
    twice = np.concatenate([positions, positions + np.float32(EDGE[d] * along)], axis=1)
    doubled = scores(model, network, twice, np.tile(SPECIES, 2), cube(d) * (1 + along))
    np.testing.assert_allclose(doubled, scores(model, network, positions), rtol=1e-3, atol=2e-4)


def test_every_weight_gets_a_gradient(model, d):
    network = model.build(seed=0).train()
    network(*model.inputs(sample(d=d), SPECIES, cube(d))).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert [name for name, weight in network.named_parameters() if weight.ndim > 1 and not weight.grad.any()] == []


def test_save_and_load_agree(model, network, d):
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    again = model.build(seed=99).eval()
    again.load_state_dict(torch.load(buffer, weights_only=True))
    np.testing.assert_array_equal(scores(model, again, sample(d=d)), scores(model, network, sample(d=d)))


def test_the_seed_decides_the_weights_and_nothing_else_moves(model):
    state = torch.get_rng_state()
    one, same, other = (model.build(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_training_gives_the_same_bits(model, d):
    label, weights = torch.tensor([0.0, 1.0]).repeat(8), []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)  # dropout draws from it
            weights.append(learned(model, sample(d=d), label, n_steps=3).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_half_precision_gives_nearly_the_same_logits_and_gradients(model, d):
    inputs = model.inputs(sample(d=d), SPECIES, cube(d))
    found = []
    for enabled in (False, True):
        network = model.build(seed=0).train()
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            torch.manual_seed(7)
            logit = network(*inputs)
        assert logit.dtype == torch.float32
        logit.sigmoid().sum().backward()
        assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
        found.append(logit.detach())
    assert np.corrcoef(*(logit.numpy() for logit in found))[0, 1] > 0.9


def test_it_needs_no_processor_to_be_called(model, d):
    """A device that is not the processor computes nothing of the compiled loops; "meta" computes shapes only."""
    inputs = (tensor.to("meta") for tensor in model.inputs(sample(d=d), SPECIES, cube(d)))
    logit = model.build(seed=0).to("meta").eval()(*inputs)
    assert (logit.shape, logit.device.type) == ((16,), "meta")


def test_settings_survive_json_and_carry_their_name(model):
    assert type(model).model_validate_json(model.model_dump_json()) == model
    assert MODELS[model.kind] is type(model)


def test_shifts_over_the_boundary_turns_and_mirrors_are_not_seen_if_so_claimed(model, network, d):
    positions = sample(d=d)
    before, n_elements = scores(model, network, positions), len(symmetries(cube(d)))
    for element in range(n_elements) if d == 2 else (1, 9, 29, 47):
        turned = scores(model, network, moved(positions, element=element, shift=np.array([1.234, 4.5, 3.21][:d])))
        if model.invariant:
            np.testing.assert_allclose(turned, before, rtol=1e-3, atol=2e-4)
        else:
            assert not np.allclose(turned, before, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "d"), [(kind, d) for kind, model in MODELS.items() for d in (2, 3) if d not in model.dimensions]
)
def test_dimensions_that_are_not_claimed_are_refused(kind, d):
    with pytest.raises(ValueError, match=f"draws {5 - d} dimensions"):
        MEMBERS[kind].inputs(sample(d=d), SPECIES, cube(d))


@pytest.mark.parametrize(
    ("model", "shift"), [(CNN(), (1.0, 0.0)), (CNN(), (3.0, -5.0)), (CNN3D(), (1.0, 0.0, 0.0)), (CNN3D(), (3, -5, 2))]
)
def test_a_cnn_does_not_see_shifts_by_whole_strides(model, shift):
    # as many pixels per sigma as in a stride: whole strides are whole sigmas, exact in binary
    box = np.full(len(shift), 8.0)
    positions = np.random.default_rng(0).random((16, 92, len(shift))) * 8
    positions = np.round(positions * 1024).astype(np.float32) / 1024
    network = model.build(seed=0).eval()
    assert model.inputs(positions, SPECIES, box)[0].shape[-1] == 8 * model.stride + 2 * getattr(model, "halo", 0)
    after = symmetry(positions, box, element=np.zeros(16, int), shift=np.tile(np.array(shift, float), (16, 1)))
    shifted = scores(model, network, after, box=box)
    np.testing.assert_allclose(shifted, scores(model, network, positions, box=box), rtol=1e-4, atol=1e-5)


def test_the_cnns_last_layer_has_one_cell_per_stride():
    model = CNN()
    (pictures,) = model.inputs(sample(n_frames=2), SPECIES, cube(2))
    h = model.build(seed=0).last_layer(pictures)
    assert h.shape[2:] == (8, 8)


def test_the_voxel_networks_last_layer_has_one_cell_per_stride():
    model, box = CNN3D(), np.array([6.0, 7.0, 8.0])
    (voxels,) = model.inputs(sample(n_frames=2, d=3), SPECIES, box)
    assert voxels.shape == (2, 2, 24, 28, 32)
    assert model.build(seed=0).sites(voxels).shape == (2, 6 * 7 * 8, 16)
