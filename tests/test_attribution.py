import numpy as np
import pytest
import torch

from vitrify import learn
from vitrify.attribution import (
    attribute,
    baseline,
    correlation,
    dead_channels,
    first_layer,
    mean_over_runs,
    randomised,
)
from vitrify.dataset import Labelled
from vitrify.models import CNN, CNN3D, MODELS, MPNN, Logistic, Swanson2018
from vitrify.sites import look, owners

EDGE = {2: 8.0, 3: 5.5}
SPECIES = np.repeat([0, 1], [60, 32])
CASES = [
    pytest.param(model, d, at, id=f"{name}-{d}d-{at}")
    for name, model in {
        **{kind: model() for kind, model in MODELS.items()},
        "swanson2018": Swanson2018(pixels=32),
        "mpnn-bonds": MPNN(messages="bond", bond_heads=2, n_rounds=3),
        "mpnn-mean": MPNN(pooling="mean"),
    }.items()
    for d in model.dimensions
    for at in (("features", "pixels") if name == "cnn" else ("features",))
]


@pytest.fixture(autouse=True)
def _one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def sample(d=2, n_frames=6, seed=0):
    """Configurations of two classes that differ: the glass keeps its particles apart."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(92 ** (1 / d)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * d), -1).reshape(-1, d)[:92] * EDGE[d] / side
    label = np.arange(n_frames) % 2
    noise = rng.normal(size=(n_frames, 92, d)) * np.where(label, 0.1, 0.4)[:, None, None]
    positions = ((lattice + noise) % EDGE[d]).astype(np.float32) % np.float32(EDGE[d])
    zeros = np.zeros(n_frames)
    return Labelled(
        positions=positions,
        species=SPECIES,
        box=np.full(d, EDGE[d]),
        label=label,
        run=np.arange(n_frames) // 2,
        e_pot=zeros,
        e_is=zeros,
    )


def found(model, network, data, base, **options):
    return attribute(network, model, data.positions, data.species, data.box, base, **options)


@pytest.mark.parametrize(("model", "d", "at"), CASES)
def test_the_particles_add_up_to_the_logit_in_any_order(model, d, at):
    data = sample(d)
    network = randomised(model, data, seed=1)
    base = baseline(network, model, data, at=at)
    if at == "pixels" or model.kind == "swanson2018":  # a hundred times as slow
        data = data.take(np.arange(6) == 1)
    one = found(model, network, data, base)
    predicted = learn.predict(learn.Trained(network=network, model=model, history={}), data)
    assert one.logit == pytest.approx(predicted, abs=2e-3, rel=1e-4)
    assert one.error.max() < 1e-3
    apart = one.logit - one.baseline
    allowed = 1e-3 * np.maximum(np.abs(apart), 0.1) + 1e-12
    assert (np.abs(one.particles.sum(axis=1) - apart) <= allowed).all()
    assert np.abs(one.particles).max() > 1e-6

    order = np.random.default_rng(2).permutation(60)
    order = np.concatenate([order, np.arange(60, 92)])  # of the A particles: the species are those of all frames
    mixed = attribute(network, model, data.positions[:, order], data.species, data.box, base)
    assert mixed.particles == pytest.approx(one.particles[:, order], rel=1e-3, abs=1e-3 * np.abs(one.particles).max())


@pytest.mark.parametrize("at", ["features", "pixels"])
def test_a_shift_by_whole_strides_across_the_boundary_leaves_a_picture_s_attribution(at):
    data, model = sample(), CNN()
    network = randomised(model, data, seed=1)
    base = baseline(network, model, data, at=at)
    stride = model.stride * EDGE[2] / model.view.pixels(data.box, stride=model.stride)[0]
    moved = np.mod(data.positions[:2] + np.array([3 * stride, -2 * stride]), EDGE[2]).astype(np.float32)
    one, other = (
        attribute(network, model, shown, SPECIES, data.box, base, tolerance=1.0)
        for shown in (data.positions[:2], moved)
    )
    assert other.logit == pytest.approx(one.logit, abs=0.02)
    scale = np.abs(one.particles).max()
    assert np.abs(other.particles - one.particles).max() < 0.05 * scale


@pytest.mark.parametrize("d", [2, 3])
def test_a_shift_leaves_a_graph_s_attribution(d):
    data, model = sample(d), MPNN()
    network = randomised(model, data, seed=1)
    base = baseline(network, model, data)
    moved = np.mod(data.positions[:2] + 1.7, EDGE[d]).astype(np.float32)
    one, other = (attribute(network, model, shown, SPECIES, data.box, base) for shown in (data.positions[:2], moved))
    assert other.particles == pytest.approx(one.particles, abs=1e-3 * np.abs(one.particles).max())


@pytest.mark.parametrize("d", [2, 3])
def test_a_linear_network_s_attribution_is_its_weights_times_the_deviations(d):
    data, model = sample(d), Logistic()
    network = randomised(model, data, seed=3)
    base = baseline(network, model, data)
    one = found(model, network, data, base)
    weight = network.layers[0].weight[0].detach().double().numpy()
    weight = weight / np.sqrt(network.standardise.running_var.double().numpy() + network.standardise.eps)
    (numbers,) = model.view(data.positions, data.species, data.box)
    numbers = numbers[:, :, 2:].astype(float)
    per_species = weight.reshape(2, -1)
    for kind, members in ((0, slice(0, 60)), (1, slice(60, 92))):
        mean = numbers[:, members].mean(axis=(0, 1))
        expected = (numbers[:, members] - mean) @ per_species[kind] / numbers[:, members].shape[1]
        assert one.particles[:, members] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert one.n_steps.tolist() == [32] * len(data.label)


def test_every_cell_of_the_cnn_adds_its_own_share_to_the_logit():
    """The logit is a sum over the cells, so its attribution is known without an integral where the path is straight."""
    data, model = sample(), CNN()
    network = randomised(model, data, seed=1)
    base = baseline(network, model, data)
    one = found(model, network, data, base)
    h = network.sites(*model.inputs(data.positions, SPECIES, data.box)).detach().double().numpy()
    norm, linear = network.readout
    weight = (linear.weight[0] * norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().double().numpy()
    plain, square = np.split(weight, 2)
    mean = base.mean[0]
    shares = ((h - mean) @ plain + (h**2 - mean**2) @ square) / h.shape[1]
    assert one.particles.sum(axis=1) == pytest.approx(shares.sum(axis=1), abs=1e-5 * np.abs(shares).sum())
    side = model.view.pixels(data.box, stride=model.stride)[0]
    owner = owners(data.positions[0], SPECIES, data.box, shape=(side, side), radius=np.array(model.view.radius))
    n_cells = side // model.stride
    by_hand = np.zeros(92)
    for p in range(side):
        for q in range(side):
            by_hand[owner[p, q]] += shares[0, (p // 8) * n_cells + q // 8] / 64
    assert one.particles[0] == pytest.approx(by_hand, abs=1e-5 * np.abs(by_hand).max())


def test_a_cell_of_voxels_is_shared_out_among_the_balls_in_it():
    data, model = sample(3), CNN3D(view={"voxels_per_sigma": 3.0})
    shape = model.view.voxels(data.box, stride=model.stride)
    cells = tuple(size // 4 for size in shape)
    of_cell = np.random.default_rng(5).random(cells)
    shares = look(model.build(seed=0), model, SPECIES, data.box, "features").shared(of_cell.ravel(), data.positions[0])
    owner = owners(data.positions[0], SPECIES, data.box, shape=shape, radius=np.array(model.view.radius))
    by_hand = np.zeros(92)
    for place in np.ndindex(*shape):
        by_hand[owner[place]] += of_cell[tuple(at // 4 for at in place)] / 64
    assert shares == pytest.approx(by_hand)


def test_a_pixel_belongs_to_the_disc_that_covers_it_or_else_to_the_nearest_across_the_boundary():
    positions = np.array([[0.2, 5.0], [5.0, 5.0], [6.2, 5.0]])
    owner = owners(
        positions, np.array([0, 0, 1]), np.array([10.0, 10.0]), shape=(100, 100), radius=np.array([0.6, 1.0])
    )
    assert owner[99, 50] == 0  # at x = 9.95: 0.25 from the first particle, across the boundary
    assert owner[54, 50] == 2  # at x = 5.45: 0.45 of 0.6 from the second, but 0.75 of 1.0 from the third
    assert owner[53, 50] == 1
    assert owner[75, 50] == 2  # on no disc
    assert np.bincount(owner.ravel()).sum() == 100 * 100


def test_too_few_steps_are_warned_of_and_more_are_taken_where_they_help():
    data, model = sample(n_frames=2), CNN()
    network = randomised(model, data, seed=1)
    base = baseline(network, model, data, at="pixels")
    with pytest.warns(RuntimeWarning, match="add up to the logit within .* allow more than max_steps = 32"):
        few = found(model, network, data, base, max_steps=32, tolerance=1e-6)
    with pytest.warns(RuntimeWarning, match="max_steps = 128"):
        many = found(model, network, data, base, max_steps=128, tolerance=1e-6)
    assert few.n_steps.tolist() == [32, 32]
    assert many.n_steps.tolist() == [128, 128]
    assert many.error.max() < few.error.max()


def test_only_pictures_have_pixels_and_a_baseline_has_both_classes():
    data, model = sample(), MPNN()
    for unable, d in ((model, 2), (CNN3D(), 3)):
        with pytest.raises(ValueError, match=f"at must be 'features' for {unable.kind}"):
            baseline(unable.build(seed=0), unable, sample(d), at="pixels")
    with pytest.raises(ValueError, match="both classes; 3 of 3 are glasses"):
        baseline(model.build(seed=0), model, data.take(data.label == 1))


@pytest.mark.parametrize("model", [CNN(), Swanson2018(pixels=32)], ids=["cnn", "swanson2018"])
def test_a_dead_channel_is_flagged_and_only_that(model):
    data = sample()
    network = randomised(model, data, seed=1)
    maps = first_layer(network, model, data.positions, SPECIES, data.box)
    assert maps.min() >= 0
    assert maps.shape[:2] == (6, 8 if isinstance(model, CNN) else 6)
    before = dead_channels(maps)
    killed = int(np.flatnonzero(~before)[0])
    with torch.no_grad():
        if isinstance(model, CNN):
            network.first.weight[killed] = 0.0
            network.features[0].bias[killed] = 0.3  # not zero, and yet it says nothing
        else:
            network.features[0].bias[killed] = -1e9
    after = dead_channels(first_layer(network, model, data.positions, SPECIES, data.box))
    assert np.flatnonzero(after != before).tolist() == [killed]


def test_correlation_is_of_ranks_and_within_groups():
    rng = np.random.default_rng(4)
    one, group = rng.normal(size=40), np.repeat([0, 1], 20)
    assert correlation(one, np.exp(3 * one)) == pytest.approx(1)
    assert correlation(one, -one, group) == pytest.approx(-1)
    assert correlation(one, np.ones(40)) == 0.0
    apart = one + 100 * group  # the groups differ, and within them there is nothing
    assert correlation(apart, rng.normal(size=40) + 100 * group) > 0.6
    assert abs(correlation(apart, rng.normal(size=40) + 100 * group, group)) < 0.35


def test_the_interval_over_runs_is_student_s():
    estimate = mean_over_runs(np.array([0.1, 0.2, 0.3]))
    assert estimate.value == pytest.approx(0.2)
    assert estimate.high == pytest.approx(0.2 + 4.302653 * 0.1 / np.sqrt(3), abs=1e-6)
    with pytest.raises(ValueError, match="at least 2 runs; got 1"):
        mean_over_runs(np.array([0.1]))
