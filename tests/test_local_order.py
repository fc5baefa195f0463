import numpy as np
import pytest

from vitrify.local_order import FIELDS, local_order
from vitrify.potentials import MIXTURES, energies
from vitrify.system import Configuration


def triangular(n=8):
    """A triangular lattice of unit spacing, in a box it fits."""
    x, y = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    rows = np.stack([(x + 0.5 * (y % 2)).ravel(), (y * np.sqrt(3) / 2).ravel()], axis=1)
    return Configuration(
        positions=rows + 0.01, species=np.arange(n * n) % 2, box=np.array([n, n * np.sqrt(3) / 2], float)
    )


def test_a_triangular_lattice_is_six_fold_everywhere():
    fields = local_order(triangular())
    assert fields["psi6"] == pytest.approx(np.ones(64), abs=1e-4)
    assert fields["psi5"] == pytest.approx(np.zeros(64), abs=1e-3)
    assert fields["voronoi_sides"] == pytest.approx(6 * np.ones(64))
    assert fields["voronoi_area"] == pytest.approx(np.sqrt(3) / 2 * np.ones(64), rel=1e-4)
    assert set(fields) <= set(FIELDS)


def test_a_pentagon_is_five_fold():
    angles = 2 * np.pi * np.arange(5) / 5 + 0.2
    ring = 5 + np.stack([np.cos(angles), np.sin(angles)], axis=1)
    outer = 5 + 3 * np.stack([np.cos(angles + 0.6), np.sin(angles + 0.6)], axis=1)
    positions = np.concatenate([[[5.0, 5.0]], ring, outer])
    fields = local_order(Configuration(positions=positions, species=np.zeros(11, int), box=np.array([10.0, 10.0])))
    assert fields["psi5"][0] == pytest.approx(1, abs=1e-4)
    assert fields["voronoi_sides"][0] == 5
    assert fields["psi6"][0] < 1e-3


@pytest.mark.parametrize("name", ["ka2d", "ka3d"])
def test_energies_and_cells_of_the_particles_add_up_to_the_sample(name, liquid):
    shown, mixture = liquid[name], MIXTURES[name]
    fields = local_order(shown, mixture)
    assert fields["energy_unshifted"].mean() == pytest.approx(energies(shown, mixture).unshifted, rel=1e-9)
    cell = "voronoi_area" if shown.dimension == 2 else "voronoi_volume"
    assert fields[cell].sum() == pytest.approx(np.prod(shown.box), rel=1e-4)
    assert set(fields) <= set(FIELDS)
    if shown.dimension == 2:
        assert fields["voronoi_sides"].mean() == pytest.approx(6)  # Euler's theorem on a torus


def test_two_particles_share_the_energy_of_their_bond():
    r = 2 ** (1 / 6)
    pair = Configuration(
        positions=np.array([[1.0, 1.0], [1.0 + r, 1.0], [5.0, 5.0]]), species=np.zeros(3, int), box=np.array([9.0, 9.0])
    )
    assert local_order(pair, MIXTURES["ka2d"])["energy_unshifted"] == pytest.approx([-0.5, -0.5, 0.0], abs=1e-9)


def test_an_open_box_is_refused():
    box = Configuration(
        positions=np.ones((3, 2)), species=np.zeros(3, int), box=np.full(2, 3.0), periodic=np.array([True, False])
    )
    with pytest.raises(ValueError, match=r"periodic along every axis; got \[True, False\]"):
        local_order(box)
