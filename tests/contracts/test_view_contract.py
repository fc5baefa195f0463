"""What every view promises: the order of the particles does not matter, nor where the boundary is."""

import numpy as np
import pytest

from vitrify.views import VIEWS, Descriptors, Graph, Image, Voxels, symmetries, symmetry

BOX = np.array([8.0, 8.0])
CUBE = np.array([8.0, 8.0, 8.0])
BOXES = {name: CUBE if name == "voxels" else BOX for name in VIEWS}


def sample(n_frames=3, n=70, box=BOX):
    rng = np.random.default_rng(0)
    return (rng.random((n_frames, n, len(box))) * box).astype(np.float32), np.repeat([0, 1], [45, 25])


def moved(positions, *, element=0, shift=(0.0, 0.0), box=BOX):
    n_frames = len(positions)
    return symmetry(positions, box, element=np.full(n_frames, element), shift=np.tile(np.array(shift), (n_frames, 1)))


@pytest.mark.parametrize("name", VIEWS)
def test_the_first_axis_is_the_configuration(name):
    positions, species = sample(box=BOXES[name])
    together = VIEWS[name]()(positions, species, BOXES[name])
    for i in range(len(positions)):
        alone = VIEWS[name]()(positions[i : i + 1], species, BOXES[name])
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(many[i], one[0])


@pytest.mark.parametrize("name", VIEWS)
def test_settings_survive_json(name):
    view = VIEWS[name]()
    assert VIEWS[name].model_validate_json(view.model_dump_json()) == view


@pytest.mark.parametrize("name", VIEWS)
def test_the_inputs_are_left_alone(name):
    box = BOXES[name].copy()
    positions, species = sample(box=box)
    before = positions.copy(), species.copy(), box.copy()
    VIEWS[name]()(positions, species, box)
    for array, copy in zip((positions, species, box), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", VIEWS)
def test_particles_outside_the_box_are_their_images(name):
    box, view = BOXES[name], VIEWS[name]()
    positions, species = sample(box=box)
    outside = positions.copy()
    outside[:, ::3] += box.astype(np.float32)
    outside[:, ::5] -= box.astype(np.float32)
    allowed = {"image": 1, "voxels": 1, "graph": 1e-5, "descriptors": 1e-4}[name]
    for one, other in zip(view(positions, species, box), view(outside, species, box), strict=True):
        np.testing.assert_allclose(one.astype(float), other, atol=allowed)


@pytest.mark.parametrize("name", ["image", "voxels"])
def test_a_reordered_sample_gives_the_same_picture(name):
    box, view = BOXES[name], VIEWS[name]()
    positions, species = sample(box=box)
    order = np.random.default_rng(1).permutation(len(species))
    np.testing.assert_array_equal(view(positions, species, box)[0], view(positions[:, order], species[order], box)[0])


def test_a_reordered_sample_gives_the_same_graph():
    positions, species = sample()
    order = np.random.default_rng(1).permutation(len(species))
    neighbours, distances, _ = Graph()(positions, species, BOX)
    again, shuffled, carried = Graph()(positions[:, order], species[order], BOX)
    np.testing.assert_array_equal(shuffled, distances[:, order])
    np.testing.assert_array_equal(order[again], neighbours[:, order])
    np.testing.assert_array_equal(carried[0], species[order])


@pytest.mark.parametrize("element", range(8))
def test_a_graph_does_not_see_shifts_turns_and_mirrors(element):
    positions, species = sample()
    neighbours, distances, _ = Graph()(positions, species, BOX)
    again, same, _ = Graph()(moved(positions, element=element, shift=(3.3, 7.7)), species, BOX)
    np.testing.assert_allclose(same, distances, atol=5e-6)
    assert (again == neighbours).mean() > 0.99  # neighbours at nearly the same distance may change places


@pytest.mark.parametrize("element", range(8))
def test_descriptors_do_not_see_shifts_turns_and_mirrors_and_follow_a_reordering(element):
    positions, species = sample()
    order = np.random.default_rng(1).permutation(len(species))
    (before,) = Descriptors()(positions, species, BOX)
    (same,) = Descriptors()(moved(positions, element=element, shift=(3.3, 7.7))[:, order], species[order], BOX)
    np.testing.assert_allclose(same, before[:, order], atol=1e-4)


def test_a_picture_moves_with_the_sample():
    positions, species = sample()
    (picture,) = Image()(positions, species, BOX)
    (shifted,) = Image()(moved(positions, shift=(16 / 8, -24 / 8)), species, BOX)
    assert np.abs(shifted - np.roll(picture, (16, -24), axis=(2, 3)).astype(int)).max() <= 1


@pytest.mark.parametrize("element", range(8))
def test_a_picture_turns_with_the_sample(element):
    positions, species = sample()
    (picture,) = Image()(positions, species, BOX)
    (turned,) = Image()(moved(positions, element=element), species, BOX)
    centre = np.arange(64) + 0.5
    grid = np.stack(np.meshgrid(centre, centre, indexing="ij"), -1)
    source = np.floor((grid @ symmetries(BOX)[element]) % 64).astype(int)  # the inverse of a turn is its transpose
    expected = picture[:, :, source[..., 0], source[..., 1]].astype(int)
    assert np.abs(turned - expected).max() <= 1


@pytest.mark.parametrize("element", [1, 9, 29, 47])
def test_voxels_turn_with_the_sample(element):
    positions, species = sample(box=CUBE)
    (before,) = Voxels()(positions, species, CUBE)
    (turned,) = Voxels()(moved(positions, element=element, shift=(0, 0, 0), box=CUBE), species, CUBE)
    centre = np.arange(32) + 0.5
    grid = np.stack(np.meshgrid(centre, centre, centre, indexing="ij"), -1)
    x, y, z = np.moveaxis(np.floor((grid @ symmetries(CUBE)[element]) % 32).astype(int), -1, 0)
    assert np.abs(turned - before[:, :, x, y, z].astype(int)).max() <= 1
