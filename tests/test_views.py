"""Views against known answers: perfect lattices, single discs, an ideal gas, and scipy's tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial import cKDTree

from vitrify.system import Configuration
from vitrify.views import (
    COLOURS,
    Graph,
    Image,
    local_descriptors,
    log_picture,
    pair_correlation,
    random_symmetry,
    symmetries,
    symmetry,
)

SQUARE = np.array([6.0, 6.0])


def gas(rng, *, n=60, box=SQUARE, n_frames=1):
    """Ideal gas, a third of it B."""
    return (rng.random((n_frames, n, len(box))) * box).astype(np.float32), np.sort(np.arange(n) % 3 == 2).astype(int)


def triangular_lattice(n_rows):
    """Positions and box of a triangular lattice with unit spacing."""
    rows, columns = np.divmod(np.arange(n_rows * n_rows), n_rows)
    box = np.array([n_rows, n_rows * np.sqrt(3) / 2])
    return np.stack([columns + 0.5 * (rows % 2), rows * np.sqrt(3) / 2], 1), box


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 90),
    n_neighbours=st.integers(1, 12),
    d=st.sampled_from([2, 3]),
)
@settings(max_examples=150, deadline=None)
def test_nearest_neighbours_are_those_of_a_periodic_tree(seed, n, n_neighbours, d):
    rng = np.random.default_rng(seed)
    box = rng.uniform(1.0, 9.0, d)
    positions, species = gas(rng, n=n, box=box)
    k = min(n_neighbours, n - 1)
    neighbours, distances, _ = Graph(n_neighbours=k)(positions, species, box)
    inside = np.mod(positions[0].astype(float), box)
    expected, index = cKDTree(inside, boxsize=box).query(inside, k=k + 1)
    np.testing.assert_allclose(distances[0], expected[:, 1:], rtol=1e-6)
    np.testing.assert_array_equal(neighbours[0], index[:, 1:])


def test_clustered_particles_find_their_neighbours_across_the_box():
    rng = np.random.default_rng(3)
    box = np.array([10.0, 10.0])
    positions = (0.2 * rng.random((1, 50, 2))).astype(np.float32)
    positions[0, -1] = 5.0
    _, distances, _ = Graph(n_neighbours=8)(positions, np.zeros(50, int), box)
    inside = positions[0].astype(float)
    np.testing.assert_allclose(distances[0], cKDTree(inside, boxsize=box).query(inside, k=9)[0][:, 1:], rtol=1e-6)


def test_every_particle_of_a_triangular_lattice_has_six_neighbours_at_the_spacing():
    positions, box = triangular_lattice(8)
    neighbours, distances, species = Graph()(positions[None].astype(np.float32), np.zeros(64, int), box)
    np.testing.assert_allclose(distances, 1.0, atol=1e-6)
    assert all(len(set(row)) == 6 for row in neighbours[0])
    assert species.shape == (1, 64)


def test_graph_asks_for_more_particles_than_neighbours():
    with pytest.raises(ValueError, match="less than the 6 particles; got 6"):
        Graph()(np.zeros((1, 6, 2), np.float32), np.zeros(6, int), SQUARE)


def test_a_disc_has_its_area_wherever_it_is():
    rng = np.random.default_rng(1)
    view = Image(pixels_per_sigma=12, radius=(0.5, 0.3))
    for position in rng.random((20, 1, 2)) * 6:
        for species, radius in ((0, 0.5), (1, 0.3)):
            (pictures,) = view(position[None].astype(np.float32), np.array([species]), SQUARE)
            area = pictures[0].sum(axis=(1, 2)) / 255 / 12**2
            assert area[species] == pytest.approx(np.pi * radius**2, rel=0.02)
            assert area[1 - species] == 0


def test_discs_keep_their_area_in_a_box_of_unlike_edges():
    box = np.array([5.0, 7.3])
    view = Image(pixels_per_sigma=8, radius=(0.525, 0.335))
    (pictures,) = view(np.array([[[0.1, 7.2]]], np.float32), np.array([0]), box, stride=8)
    assert pictures.shape == (1, 2, 40, 56)
    x, y = view.resolution(box, stride=8)
    assert (x, y) == (pytest.approx(8.0), pytest.approx(56 / 7.3))
    assert pictures.sum() / 255 / (x * y) == pytest.approx(np.pi * 0.525**2, rel=0.02)


def test_a_disc_is_where_its_particle_is():
    (pictures,) = Image(pixels_per_sigma=10)(np.array([[[1.5, 4.0]]], np.float32), np.array([0]), SQUARE)
    coverage = pictures[0, 0] / pictures[0, 0].sum()
    centre = np.arange(60) + 0.5
    assert coverage.sum(1) @ centre == pytest.approx(15.0, abs=0.05)
    assert coverage.sum(0) @ centre == pytest.approx(40.0, abs=0.05)


@pytest.mark.parametrize("halo", [1, 13, 70])
def test_the_halo_is_the_periodic_wrap_of_the_inside(halo):
    positions, species = gas(np.random.default_rng(2), n_frames=2)
    (inside,) = Image()(positions, species, SQUARE, stride=8)
    (pictures,) = Image()(positions, species, SQUARE, stride=8, halo=halo)
    np.testing.assert_array_equal(pictures, np.pad(inside, ((0, 0), (0, 0), (halo, halo), (halo, halo)), mode="wrap"))


def test_full_discs_saturate_instead_of_overflowing():
    (pictures,) = Image()(np.full((1, 9, 2), 3.0, np.float32), np.zeros(9, int), SQUARE)
    assert pictures.max() == 255
    assert pictures[0, 0, 24, 24] == 255


@pytest.mark.parametrize(
    ("positions", "species", "box", "message"),
    [
        (np.zeros((1, 2, 3)), [0, 0], [5.0, 5.0, 5.0], "use Voxels"),
        (np.zeros((1, 2, 2)), [0, 2], [5.0, 5.0], "radius must have 3 entries"),
        (np.zeros((1, 2, 2)), [0, 1], [1.0, 5.0], "at most half the box edge"),
    ],
)
def test_image_says_what_it_cannot_draw(positions, species, box, message):
    with pytest.raises(ValueError, match=message):
        Image()(positions.astype(np.float32), np.array(species), np.array(box))


@pytest.mark.parametrize(
    ("view", "values"), [(Image, {"radius": (0.5, -1.0)}), (Image, {"pixel": 3}), (Graph, {"n_neighbours": 0})]
)
def test_impossible_settings_are_refused(view, values):
    with pytest.raises(ValidationError):
        view(**values)


@pytest.mark.parametrize(
    ("box", "n_elements"), [([5.0, 5.0], 8), ([5.0, 6.0], 4), ([5.0] * 3, 48), ([5.0, 5.0, 6.0], 16)]
)
def test_symmetries_form_the_group_of_the_box(box, n_elements):
    turns = symmetries(np.array(box))
    assert len(turns) == n_elements
    np.testing.assert_array_equal(turns[0], np.eye(len(box)))
    known = {turn.tobytes() for turn in turns}
    assert len(known) == n_elements
    assert all((one @ other).tobytes() in known for one in turns for other in turns)
    assert all(abs(round(np.linalg.det(turn))) == 1 for turn in turns)


def test_a_shift_moves_and_a_turn_rotates_about_the_origin():
    positions = np.array([[[1.0, 2.0]]], np.float32)
    shifted = symmetry(positions, SQUARE, element=np.array([0]), shift=np.array([[5.5, 1.0]]))
    np.testing.assert_allclose(shifted, [[[0.5, 3.0]]], atol=1e-6)
    quarter = next(i for i, turn in enumerate(symmetries(SQUARE)) if (turn == [[0, -1], [1, 0]]).all())
    turned = symmetry(positions, SQUARE, element=np.array([quarter]), shift=np.zeros((1, 2)))
    np.testing.assert_allclose(turned, [[[4.0, 1.0]]], atol=1e-6)


def test_an_unknown_symmetry_is_refused():
    with pytest.raises(ValueError, match="element must be from 0 to 7"):
        symmetry(np.zeros((1, 3, 2), np.float32), SQUARE, element=np.array([8]), shift=np.zeros((1, 2)))


def test_random_symmetries_differ_between_configurations_and_repeat_with_the_seed():
    positions, _ = gas(np.random.default_rng(5))
    many = np.repeat(positions, 20, axis=0)
    drawn = random_symmetry(many, SQUARE, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(drawn, random_symmetry(many, SQUARE, rng=np.random.default_rng(7)))
    assert len({configuration.tobytes() for configuration in drawn}) == 20


def test_the_logs_picture_has_two_pixel_dots_of_its_colours():
    configuration = Configuration(
        positions=np.array([[1.0, 1.0], [5.0, 4.0], [5.0, 4.0]]),
        species=np.array([0, 0, 1]),
        box=np.array([10.0, 10.0]),
    )
    picture = log_picture(configuration)
    assert picture.shape == (250, 250, 3)
    orange, blue = (picture == (255, 165, 0)).all(2), (picture == (0, 0, 255)).all(2)
    assert (orange.sum(), blue.sum()) == (4, 4)
    assert orange[[223, 223, 224, 224], [25, 26, 25, 26]].all()
    assert blue[[148, 148, 149, 149], [125, 126, 125, 126]].all()
    assert (picture[~orange & ~blue] == 255).all()


def test_the_log_picture_has_a_colour_for_each_further_species():
    places = np.array([[1.0, 1.0], [5.0, 5.0], [8.0, 2.0]])
    picture = log_picture(Configuration(positions=places, species=np.array([0, 1, 2]), box=np.array([10.0, 10.0])))
    found = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert found == {(255, 255, 255), *COLOURS[:3]}


def test_an_ideal_gas_has_no_pair_correlation():
    rng = np.random.default_rng(11)
    box = np.array([30.0, 30.0])
    configuration = Configuration(positions=rng.random((6000, 2)) * box, species=np.arange(6000) % 3 // 2, box=box)
    r, g = pair_correlation(configuration, r_max=5.0, n_bins=10)
    assert r.shape == (10,)
    np.testing.assert_allclose(g[:, 2:], 1.0, atol=0.06)


@pytest.mark.parametrize("edges", [(6.0, 7.0), (6.0, 7.0, 8.0)])
def test_pair_correlation_counts_each_pair_of_species_by_hand(edges):
    rng = np.random.default_rng(12)
    box = np.array(edges)
    configuration = Configuration(positions=rng.random((40, len(box))) * box, species=np.arange(40) % 2, box=box)
    r, g = pair_correlation(configuration, r_max=2.5, n_bins=5)
    edge = np.linspace(0, 2.5, 6)
    shell = np.diff(np.pi * edge**2 if len(box) == 2 else 4 / 3 * np.pi * edge**3)
    dr = configuration.positions[:, None] - configuration.positions[None]
    distance = np.linalg.norm(dr - box * np.round(dr / box), axis=2) + 1e9 * np.eye(40)
    for row, (a, b) in zip(g, [(0, 0), (0, 1), (1, 1)], strict=True):
        of_a, of_b = configuration.species == a, configuration.species == b
        count = np.histogram(distance[np.ix_(of_a, of_b)], edge)[0]
        n_pairs = of_a.sum() * (of_b.sum() - (a == b))
        np.testing.assert_allclose(row, count * box.prod() / n_pairs / shell, rtol=1e-5)
    np.testing.assert_allclose(r, (edge[1:] + edge[:-1]) / 2, rtol=1e-6)


def test_pair_correlation_stays_below_half_the_box():
    configuration = Configuration(positions=np.ones((8, 2)), species=np.arange(8) % 2, box=SQUARE)
    with pytest.raises(ValueError, match=r"below half the box edge 3\.000; got 4"):
        pair_correlation(configuration)


def test_descriptors_of_a_triangular_lattice_are_known():
    positions, box = triangular_lattice(8)
    species = np.arange(64) // 8 % 2
    names, values = local_descriptors(Configuration(positions=positions, species=species, box=box))
    found = dict(zip(names, values, strict=True))
    # alternate rows of A and B: two like neighbours along the row, four unlike across
    expected = {"neighbours_AA": 2, "neighbours_AB": 4, "neighbours_BA": 4, "neighbours_BB": 2}
    assert {name: found[name] for name in expected} == expected
    assert found["distance_AA"] == pytest.approx(1.0, abs=1e-5)
    assert found["psi6_global"] == pytest.approx(1.0, abs=1e-4)
    assert found["psi6_mean"] == pytest.approx(1.0, abs=1e-4)


def test_descriptors_of_a_close_packed_crystal_are_known():
    corner = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    positions = (corner + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3)
    scale = np.sqrt(2)  # nearest neighbours at 1
    configuration = Configuration(positions=positions * scale, species=np.arange(256) % 2, box=np.full(3, 4 * scale))
    names, values = local_descriptors(configuration)
    found = dict(zip(names, values, strict=True))
    assert found["q6_global"] == pytest.approx(0.5745, abs=1e-3)
    assert found["q6_mean"] == pytest.approx(0.5745, abs=1e-3)
    assert found["neighbours_AA"] + found["neighbours_AB"] == 12


def test_a_missing_species_is_named():
    with pytest.raises(ValueError, match=r"at least two particles of each species; got \[7, 1\]"):
        local_descriptors(Configuration(positions=np.ones((8, 2)), species=np.arange(8) // 7, box=SQUARE))


def test_a_free_surface_is_refused():
    configuration = Configuration(
        positions=np.ones((8, 2)), species=np.arange(8) % 2, box=SQUARE, periodic=np.array([True, False])
    )
    with pytest.raises(ValueError, match="periodic along every axis"):
        pair_correlation(configuration, r_max=2.0)
