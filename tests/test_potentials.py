import numpy as np
import pytest

from vitrify.potentials import MIXTURES, energies, forces, lennard_jones
from vitrify.system import Configuration


def _pair(r: float, species: tuple[int, int], mixture: str) -> Configuration:
    d = MIXTURES[mixture].dimension
    positions = np.full((2, d), 0.1)
    positions[1, 0] = (0.1 - r) % 9.0  # across the boundary
    return Configuration(positions=positions, species=np.array(species), box=np.full(d, 9.0))


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize(
    ("species", "epsilon", "sigma"), [((0, 0), 1.0, 1.0), ((0, 1), 1.5, 0.8), ((1, 0), 1.5, 0.8), ((1, 1), 0.5, 0.88)]
)
def test_two_particles(mixture: str, species: tuple[int, int], epsilon: float, sigma: float) -> None:
    r = 1.3 * sigma
    pair = 4 * epsilon * (1.3**-12 - 1.3**-6)
    at_cutoff = 4 * epsilon * (2.5**-12 - 2.5**-6)
    found = energies(_pair(r, species, mixture), MIXTURES[mixture])
    assert found.unshifted == pytest.approx(pair / 2, rel=1e-12)
    assert found.shifted == pytest.approx((pair - at_cutoff) / 2, rel=1e-12)
    force = 24 * epsilon / sigma * (2 * 1.3**-13 - 1.3**-7)
    np.testing.assert_allclose(forces(_pair(r, species, mixture), MIXTURES[mixture])[0, 0], force, rtol=1e-12)


def test_shifted_energy_vanishes_at_the_cutoff_and_unshifted_jumps() -> None:
    inside = energies(_pair(2.5 - 1e-9, (0, 0), "ka2d"), MIXTURES["ka2d"])
    outside = energies(_pair(2.5 + 1e-9, (0, 0), "ka2d"), MIXTURES["ka2d"])
    assert inside.shifted == pytest.approx(0, abs=1e-9)
    assert inside.unshifted == pytest.approx(float(lennard_jones(np.array(2.5), 1.0, 1.0)) / 2)
    assert (outside.shifted, outside.unshifted) == (0, 0)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_force_is_minus_the_gradient_and_ignores_order(mixture: str, liquid: dict[str, Configuration]) -> None:
    configuration, model = liquid[mixture], MIXTURES[mixture]
    force = forces(configuration, model)
    n, h = len(configuration.positions), 1e-6
    for particle, axis in ((0, 0), (n - 1, 1)):
        moved = []
        for sign in (1, -1):
            positions = configuration.positions.copy()
            positions[particle, axis] += sign * h
            shifted = Configuration(positions=positions, species=configuration.species, box=configuration.box)
            moved.append(energies(shifted, model).shifted * n)
        assert force[particle, axis] == pytest.approx(-(moved[0] - moved[1]) / (2 * h), rel=1e-5, abs=1e-4)
    order = np.random.default_rng(0).permutation(n)
    mixed = Configuration(
        positions=configuration.positions[order], species=configuration.species[order], box=configuration.box
    )
    np.testing.assert_allclose(forces(mixed, model), force[order], atol=1e-9)
    np.testing.assert_allclose(force.sum(axis=0), 0, atol=1e-9)


def test_composition_and_density() -> None:
    for mixture, n_A, edge in (("ka2d", 2808, 60.0), ("ka3d", 3456, 3600 ** (1 / 3))):
        model = MIXTURES[mixture]
        assert (model.species(4320) == 0).sum() == n_A
        assert model.box(4320)[0] == pytest.approx(edge)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (
            Configuration(positions=np.zeros((1, 2)), species=np.array([0]), box=np.array([4.9, 9.0])),
            "twice the cut-off",
        ),
        (Configuration(positions=np.zeros((1, 3)), species=np.array([0]), box=np.full(3, 9.0)), "2-dimensional"),
        (Configuration(positions=np.zeros((1, 2)), species=np.array([2]), box=np.full(2, 9.0)), "species must be"),
    ],
)
def test_what_the_mixture_does_not_cover_is_refused(configuration: Configuration, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        energies(configuration, MIXTURES["ka2d"])
