"""How far a configuration is from the training: planted paths, and liquids the shipped model does or does not know."""

from dataclasses import replace

import numpy as np
import pytest

from vitrify import domain
from vitrify.domain import Domain, pair_features
from vitrify.system import Configuration


def test_the_features_of_an_ideal_gas_are_one_and_those_of_an_absent_species_zero(rng):
    gas = Configuration(positions=rng.random((4000, 2)) * 20, species=np.arange(4000) % 2, box=np.full(2, 20.0))
    features = pair_features(gas, 3).reshape(6, 12)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    for pair, row in zip(pairs, features, strict=True):
        np.testing.assert_allclose(row, 0.0 if 2 in pair else 1.0, atol=0.05)


def test_a_small_box_is_refused(liquid):
    small = replace(liquid["ka2d"], box=np.full(2, 4.0))
    with pytest.raises(ValueError, match=r"wider than 4\.8 sigma_AA; got 4\.000"):
        pair_features(small, 2)


@pytest.fixture(scope="module")
def planted():
    """A path along the diagonal of 3 features, T from 2 to 1, with scatter 0.1, 0.2 and 0.4 about it."""
    rng, T = np.random.default_rng(1), np.linspace(2, 1, 6)
    scatter = np.array([0.1, 0.2, 0.4])
    runs = (2 - T)[None, :, None] * 10 + rng.standard_normal((200, 6, 3)) * scatter
    return domain.fit(runs[:150], runs[150:], T, species=np.array([0, 0, 0, 1]), box=np.array([2.0, 2.0]))


@pytest.mark.parametrize("T", [1.9, 1.5, 1.04])
def test_the_nearest_point_of_the_path_tells_the_temperature(planted, T):
    square, found = planted._nearest(np.full(3, 10 * (2 - T)))
    assert found == pytest.approx(T, abs=0.02)
    assert np.sqrt(square) < 0.3


def test_a_distance_of_one_is_what_one_in_a_hundred_held_out_exceeds(planted):
    rng = np.random.default_rng(2)
    T = rng.uniform(1, 2, 4000)
    fresh = (2 - T)[:, None] * 10 + rng.standard_normal((4000, 3)) * [0.1, 0.2, 0.4]
    beyond = np.mean([np.sqrt(planted._nearest(one)[0]) > planted.limit for one in fresh])
    assert 0.003 < beyond < 0.03


def test_distance_is_measured_in_the_scatter_of_its_direction(planted):
    middle = np.full(3, 5.0)
    across = np.array([1.0, -1.0, 0.0])
    sideways = np.array([0.0, 1.0, -1.0])
    near, far = (np.sqrt(planted._nearest(middle + step)[0]) for step in (sideways, across))
    assert far > 1.5 * near


def test_too_few_runs_are_refused():
    features = np.zeros((1, 3, 2))
    with pytest.raises(ValueError, match="at least 2 runs and 2 temperatures"):
        domain.fit(features, features, np.arange(3.0), species=np.zeros(4, int), box=np.ones(2))


def test_what_is_kept_is_the_domain(planted):
    again = Domain.of(planted.arrays())
    assert again._nearest(np.full(3, 4.0)) == planted._nearest(np.full(3, 4.0))
    assert (again.composition, again.density, again.limit) == (planted.composition, planted.density, planted.limit)
