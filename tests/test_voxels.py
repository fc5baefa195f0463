"""Voxels against known volumes, exact shifts, and the same balls drawn one voxel at a time."""

import numpy as np
import pytest
from pydantic import ValidationError

from vitrify.views import Voxels

CUBE = np.array([6.0, 6.0, 6.0])


def gas(seed, *, n=40, box=CUBE, n_frames=1):
    """Ideal gas, a third of it B."""
    positions = np.random.default_rng(seed).random((n_frames, n, len(box))) * box
    return positions.astype(np.float32), np.sort(np.arange(n) % 3 == 2).astype(int)


def by_hand(view, positions, species, box, *, stride=1):
    """The balls of one configuration: every voxel, every particle, all near periodic images."""
    shape = np.array(view.voxels(box, stride=stride))
    edge = box / shape
    unit = edge.prod() ** (1 / 3)
    images = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), -1).reshape(-1, 3) * box
    drawn = np.zeros((len(view.radius), *shape))
    for at in np.ndindex(*shape):
        apart = (np.array(at) + 0.5) * edge - np.mod(positions.astype(float), box)[:, None] - images
        r = np.linalg.norm(apart, axis=2) / unit
        for kind, radius in enumerate(view.radius):
            size = radius / unit
            (rim,) = (root.real for root in np.roots([1, 0, 0.25, -(size**3)]) if abs(root.imag) < 1e-9)
            drawn[kind][at] = np.clip(rim + 0.5 - r[species == kind], 0, 1).sum()
    return 255 * np.minimum(drawn, 1)


@pytest.mark.parametrize(
    ("box", "view", "stride"),
    [
        (CUBE, Voxels(voxels_per_sigma=3), 1),
        (np.array([3.0, 4.3, 5.5]), Voxels(), 4),
        (np.array([2.0, 1.5, 2.5]), Voxels(radius=(0.7, 0.3), voxels_per_sigma=2.3), 1),  # its balls meet themselves
    ],
)
def test_voxels_are_those_drawn_one_at_a_time(box, view, stride):
    positions, species = gas(3, box=box, n=20)
    positions += np.tile([[1], [0], [-2], [0]], (5, 1)) * box.astype(np.float32)  # some of them outside of the box
    (drawn,) = view(positions, species, box, stride=stride)
    expected = by_hand(view, positions[0], species, box, stride=stride)
    assert drawn.shape[1:] == expected.shape
    assert np.abs(drawn[0] - expected).max() < 3.5  # where balls overlap, each is rounded
    assert np.abs(drawn[0] - expected).mean() < 0.3


@pytest.mark.parametrize(("box", "stride"), [(CUBE, 1), (np.array([5.0, 6.3, 7.2]), 4)])
def test_each_channel_holds_its_particles_volumes(box, stride):
    corner = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(1, -1, 3)
    view, species = Voxels(), np.repeat([0, 1], [40, 24])
    positions = ((corner + np.random.default_rng(1).random((1, 64, 3)) * 0.05) * box / 4).astype(np.float32)
    assert np.all(box / 4 > 1.2)  # apart, and some of them across the boundary
    (drawn,) = view(positions, species, box, stride=stride)
    volume = drawn[0].sum(axis=(1, 2, 3)) / 255 * box.prod() / np.prod(drawn.shape[2:])
    np.testing.assert_allclose(volume, np.array([40, 24]) * 4 / 3 * np.pi * np.array(view.radius) ** 3, rtol=0.01)


@pytest.mark.parametrize("radius", [0.3, 0.4, 0.6, 1.0])
def test_a_ball_has_its_volume_wherever_it_is(radius):
    view, rng = Voxels(radius=(radius,)), np.random.default_rng(2)
    (drawn,) = view((rng.random((200, 1, 3)) * CUBE).astype(np.float32), np.array([0]), CUBE)
    volume = drawn.sum(axis=(1, 2, 3, 4)) / 255 / 4**3 / (4 / 3 * np.pi * radius**3)
    assert volume.mean() == pytest.approx(1, abs=0.01)
    assert volume.std() < 0.04


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -7, 0), (0, 0, 12), (5, 23, -19)])
def test_a_shift_by_whole_voxels_across_the_boundary_rolls_the_voxels(shift):
    positions, species = gas(5, n_frames=2)
    positions = np.round(positions * 1024) / np.float32(1024)  # shifts by quarters are exact
    (before,) = Voxels()(positions, species, CUBE)
    (after,) = Voxels()(np.mod(positions + np.float32(np.array(shift) / 4), np.float32(6)), species, CUBE)
    assert before.shape == (2, 2, 24, 24, 24)
    np.testing.assert_array_equal(after, np.roll(before, shift, axis=(2, 3, 4)))
    outside = positions + np.float32(np.array(shift) / 4)
    np.testing.assert_array_equal(after, Voxels()(outside, species, CUBE)[0])


def test_full_balls_saturate_instead_of_overflowing():
    (drawn,) = Voxels()(np.full((1, 300, 3), 3.0, np.float32), np.zeros(300, int), CUBE)
    assert drawn.max() == 255
    assert drawn[0, 0, 12, 12, 12] == 255
    assert drawn[0, 1].max() == 0


@pytest.mark.parametrize(
    ("d", "species", "box", "message"),
    [
        (2, [0, 0], [5.0, 5.0], "draws 3 dimensions; the box has 2: use Image"),
        (3, [0, 2], [5.0, 5.0, 5.0], "radius must have 3 entries"),
        (3, [0, 1], [5.0, 5.0, 1.0], "at most half the box edge"),
    ],
)
def test_voxels_say_what_they_cannot_draw(d, species, box, message):
    with pytest.raises(ValueError, match=message):
        Voxels()(np.zeros((1, 2, d), np.float32), np.array(species), np.array(box))


@pytest.mark.parametrize("values", [{"radius": ()}, {"radius": (0.5, -1.0)}, {"voxels_per_sigma": 0.5}, {"halo": 1}])
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValidationError):
        Voxels(**values)
