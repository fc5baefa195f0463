"""Descriptors against perfect arrangements, and against the slow formulas they stand for."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import sph_harm_y

from vitrify.descriptors import Descriptors
from vitrify.system import minimum_image

FEW = Descriptors(n_species=3, n_radial=6, r_min=0.8, r_max=1.4, n_orders=5, r_shell=1.6)


def gas(seed, d, *, n=40, edge=6.0, n_frames=2):
    rng = np.random.default_rng(seed)
    return (rng.random((n_frames, n, d)) * edge).astype(np.float32), rng.integers(3, size=n), np.full(d, edge)


def by_hand(view, positions, species, box):
    """The docstring's formulas, pair by pair."""
    d = len(box)
    rows = []
    for i in range(len(positions)):
        dr = minimum_image(np.delete(positions, i, 0).astype(float) - positions[i], box)
        kind, r = np.delete(species, i), np.linalg.norm(dr, axis=1)
        centres = np.linspace(view.r_min, view.r_max, view.n_radial)
        spacing = centres[1] - centres[0]
        gaussians = np.exp(-0.5 * ((r[:, None] - centres) / spacing) ** 2)
        row = [*np.eye(view.n_species)[species[i]]]
        row += [value for s in range(view.n_species) for value in gaussians[kind == s].sum(0)]
        near = r < view.r_shell
        weight = (1 - (r[near] / view.r_shell) ** 2) ** 2
        for order in range(1, view.n_orders + 1):
            if d == 2:
                waves = [np.exp(1j * order * np.arctan2(dr[near, 1], dr[near, 0]))]
            else:
                polar = np.arccos(dr[near, 2] / r[near]), np.arctan2(dr[near, 1], dr[near, 0])
                scale = np.sqrt(4 * np.pi / (2 * order + 1))
                waves = [scale * sph_harm_y(order, m, *polar) for m in range(-order, order + 1)]
            mean = [(weight * wave).sum() / weight.sum() if near.any() else 0.0 for wave in waves]
            row.append(np.sqrt(np.sum(np.abs(mean) ** 2)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("edge", [4.2, 6.0, 11.0])
def test_they_are_those_of_the_formulas(d, edge):
    positions, species, box = gas(1, d, edge=edge)
    (found,) = FEW(positions, species, box)
    assert found.shape == (2, 40, len(FEW.names))
    for one, frame in zip(found, positions, strict=True):
        np.testing.assert_allclose(one, by_hand(FEW, frame, species, box), atol=2e-4)


def test_a_hexagon_has_order_six_and_its_overtones_only():
    angle = np.arange(6) * np.pi / 3
    around = 5 + np.stack([np.cos(angle), np.sin(angle)], 1)
    positions = np.concatenate([[[5.0, 5.0]], around]).astype(np.float32)[None]
    view = Descriptors(n_orders=12, r_shell=1.2)
    (found,) = view(positions, np.array([0, 1, 1, 1, 1, 1, 1]), np.full(2, 10.0))
    numbers = dict(zip(view.names, found[0, 0], strict=True))
    assert [numbers[f"order {order}"] > 0.5 for order in range(1, 13)] == [order % 6 == 0 for order in range(1, 13)]
    assert numbers["order 6"] == pytest.approx(1.0, abs=1e-6)
    assert (numbers["is A"], numbers["is B"]) == (1, 0)
    centres = np.linspace(view.r_min, view.r_max, view.n_radial)
    nearest = f"{centres[np.abs(centres - 1).argmin()]:.3f}"
    assert numbers[f"B at {nearest}"] > 5.5
    assert numbers[f"A at {nearest}"] == 0


def test_a_simple_cubic_lattice_has_the_known_steinhardt_orders():
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 3, indexing="ij"), -1).reshape(1, -1, 3).astype(np.float32)
    view = Descriptors(n_orders=6, r_shell=1.3, r_max=1.8)
    (found,) = view(grid, np.zeros(125, int), np.full(3, 5.0))
    q = found[0, :, -6:]
    # Steinhardt, Nelson & Ronchetti 1983, figure 2: six neighbours of the simple cubic lattice
    np.testing.assert_allclose(q[:, 3], 0.76376, atol=1e-5)
    np.testing.assert_allclose(q[:, 5], 0.35355, atol=1e-5)
    np.testing.assert_allclose(q[:, [0, 2, 4]], 0.0, atol=1e-4)


def test_pooled_are_the_named_means_over_each_species():
    positions, species, box = gas(2, 2)
    numbers, pooled = FEW(positions, species, box)[0], FEW.pooled(positions, species, box)
    assert pooled.shape == (2, len(FEW.pooled_names))
    named = dict(zip(FEW.pooled_names, pooled[1], strict=True))
    column = FEW.names.index("C at 0.920")
    assert named["BC at 0.920"] == pytest.approx(numbers[1, species == 1, column].mean(), abs=1e-5)
    assert named["C order 5"] == pytest.approx(numbers[1, species == 2, -1].mean(), abs=1e-5)
    absent = Descriptors(n_species=4, r_max=1.4).pooled(positions, species, box)
    assert not absent[:, -10:].any()


def test_what_cannot_be_described_is_refused():
    positions, species, box = gas(3, 2)
    with pytest.raises(ValueError, match="n_species must be at least 3"):
        Descriptors()(positions, species, box)
    with pytest.raises(ValueError, match=r"box edges must be at least .* lower r_max"):
        Descriptors()(positions, species * 0, np.full(2, 4.0))
    with pytest.raises(ValidationError, match="r_max must be more than r_min"):
        Descriptors(r_min=2.0, r_max=1.0)
