"""The engine against statistical mechanics and against real configurations nobody here made."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vitrify import dynamics
from vitrify.potentials import MIXTURES, energies
from vitrify.protocols import Cool
from vitrify.simulate import Simulate, records
from vitrify.system import Configuration, stream

_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def _liquid(mixture: str, n: int, T: float, n_steps: int = 8000) -> dynamics.State:
    rng = stream(12, "physics", mixture, n, str(T))
    state = dynamics.start(MIXTURES[mixture], n_particles=n, T=2.0, rng=rng)
    ramp = {"dt": 0.005, "tau": 0.5, "rng": rng}
    state = dynamics.advance(state, n_steps=n_steps, T_from=2.0, T_to=T, **ramp)
    return dynamics.advance(state, n_steps=n_steps, T_from=T, T_to=T, **ramp)


def _total(state: dynamics.State) -> float:
    return dynamics.energies(state).shifted + 0.5 * (state.velocities.astype(float) ** 2).sum() / len(state.positions)


@pytest.mark.slow
@pytest.mark.parametrize(("T", "drift"), [(0.1, 1e-4), (1.0, 1.6e-3), (2.0, 3e-3)])
def test_energy_is_conserved_over_a_hundred_thousand_steps(T: float, drift: float) -> None:
    """The force jumps at the cut-off, so the energy wanders: by 4e-4 per particle at T = 1, with either sign."""
    state = _liquid("ka2d", 1000, T)
    before, rng = _total(state), np.random.default_rng(0)
    after = dynamics.advance(state, n_steps=100_000, dt=0.005, T_from=T, T_to=T, tau=None, rng=rng)
    assert abs(_total(after) - before) < drift
    assert np.abs(after.velocities.mean(axis=0)).max() < 5e-6


def test_the_thermostat_samples_the_canonical_distribution() -> None:
    """Kinetic energy is gamma distributed with d(N - 1) / 2; velocities are normal."""
    state = _liquid("ka2d", 100, 1.0)
    rng, temperatures, velocities = stream(12, "canonical"), [], []
    for _ in range(1500):
        state = dynamics.advance(state, n_steps=40, dt=0.005, T_from=1, T_to=1, tau=0.05, rng=rng)
        temperatures.append(state.temperature)
        velocities.append(state.velocities[0].copy())
    free = 2 * (100 - 1)
    assert np.mean(temperatures) == pytest.approx(1.0, abs=5 * np.sqrt(2 / free / 1500))
    assert np.var(temperatures) == pytest.approx(2 / free, rel=0.15)
    assert stats.kstest(np.array(temperatures)[::2] * free, stats.chi2(free).cdf).pvalue > 1e-3
    expected = stats.norm(scale=np.sqrt(1 - 1 / 100)).cdf
    assert stats.kstest(np.array(velocities)[::4].ravel(), expected).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("T", "energy"), [(2.0, -1.7645), (1.0, -2.6872)])
def test_mean_energy_of_the_liquid_is_the_published_one(T: float, energy: float) -> None:
    """Shifted potential energy per particle, measured with LAMMPS at N = 1000."""
    state, rng, values = _liquid("ka2d", 1000, T), stream(12, "mean", str(T)), []
    for _ in range(800):
        state = dynamics.advance(state, n_steps=200, dt=0.005, T_from=T, T_to=T, tau=0.5, rng=rng)
        values.append(dynamics.energies(state).shifted)
    _agrees(values, energy, 0.0016)


def _agrees(values: list[float], reference: float, reference_error: float) -> None:
    """Assert that a correlated series has the reference's mean, within four standard errors and precisely enough."""
    error = np.std([block.mean() for block in np.array_split(values, 16)], ddof=1) / 4
    assert error < 0.006
    assert abs(np.mean(values) - reference) < 4 * np.hypot(error, reference_error)


@pytest.mark.slow
def test_mean_energy_of_the_three_dimensional_liquid_is_the_published_one() -> None:
    """U/N = -4.654 at T = 2, doi:10.1103/PhysRevLett.129.245501, shifted."""
    state, rng, values = _liquid("ka3d", 1000, 2.0, 2000), stream(12, "mean3d"), []
    for _ in range(500):
        state = dynamics.advance(state, n_steps=100, dt=0.005, T_from=2, T_to=2, tau=0.5, rng=rng)
        values.append(dynamics.energies(state).shifted)
    _agrees(values, -4.654, 0.001)


@pytest.mark.slow
def test_cooling_ends_in_the_glass_of_the_reference() -> None:
    """True minima do not depend on the rate above T = 0.8; the glass of t_cool = 2e5 is between -3.862 and -3.876."""
    settings = Simulate(n_runs=12, cool=Cool(n_steps=200_000, n_frames=20))
    frames = [list(records(settings, seed=1, run=run)) for run in range(settings.n_runs)]
    e_is = np.array([[frame.minimum.energies.unshifted for frame in run] for run in frames]).mean(axis=0)
    assert all(frame.minimum.converged for run in frames for frame in run)
    error = 0.0089 / np.sqrt(settings.n_runs)  # the standard deviation between runs of N = 400
    assert -3.862 + 3 * error > e_is[-1] > -3.876 - 3 * error
    for k, reference in ((2, -3.7785), (10, -3.8127)):  # T = 1.805 and 1.025
        assert e_is[k - 1] == pytest.approx(reference, abs=4 * error)


@pytest.mark.skipif(not _DATA.exists(), reason="the folder of real configurations is not here")
@pytest.mark.parametrize(
    ("name", "mixture", "lowest", "highest"), [("ka2d_s", "ka2d", -3.75, -2.9), ("ka3d_s", "ka3d", -6.75, -6.55)]
)
def test_energies_of_configurations_of_others(name: str, mixture: str, lowest: float, highest: float) -> None:
    configuration = _first_frame(_DATA / f"{name}.lammpstrj", MIXTURES[mixture].dimension)
    assert configuration.density == pytest.approx(1.2, rel=1e-4)
    assert lowest < energies(configuration, MIXTURES[mixture]).shifted < highest


def _first_frame(path: Path, d: int) -> Configuration:
    """Read the first frame of a dump with columns id type x y z."""
    lines = path.read_text().splitlines()
    n = int(lines[3])
    bounds = np.array([line.split()[:2] for line in lines[5 : 5 + d]], float)
    columns = lines[8].split()[2:]
    table = np.array([line.split() for line in lines[9 : 9 + n]], float)
    places = [columns.index(axis) for axis in "xyz"[:d]]
    return Configuration(
        positions=table[:, places] - bounds[:, 0],
        species=table[:, columns.index("type")].astype(int) - 1,
        box=bounds[:, 1] - bounds[:, 0],
    )
