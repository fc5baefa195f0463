from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import SIZES

from vitrify import dynamics
from vitrify.potentials import MIXTURES, energies, forces
from vitrify.system import stream

_RAMP = {"dt": 0.005, "T_from": 1.0, "T_to": 1.0, "tau": 0.2}


def _total_energy(state: dynamics.State) -> float:
    kinetic = 0.5 * (state.velocities.astype(float) ** 2).sum() / len(state.positions)
    return dynamics.energies(state).shifted + kinetic


def _without_thermostat(state: dynamics.State, n_steps: int, dt: float) -> dynamics.State:
    rng = np.random.default_rng(0)
    return dynamics.advance(state, n_steps=n_steps, dt=dt, T_from=1, T_to=1, tau=None, rng=rng)


@pytest.mark.parametrize("mixture", SIZES)
def test_energies_are_those_of_the_plain_double_precision_sum(mixture: str, state: dict) -> None:
    plain = energies(dynamics.configuration(state[mixture]), MIXTURES[mixture])
    fast = dynamics.energies(state[mixture])
    assert fast.unshifted == pytest.approx(plain.unshifted, rel=1e-9)
    assert fast.shifted == pytest.approx(plain.shifted, rel=1e-9)


@pytest.mark.parametrize("mixture", SIZES)
def test_forces_are_those_of_the_plain_double_precision_sum(mixture: str, state: dict) -> None:
    plain = forces(dynamics.configuration(state[mixture]), MIXTURES[mixture])
    error = np.abs(dynamics.forces(state[mixture]) - plain).max()
    assert error < 3e-6 * np.abs(plain).max()


@pytest.mark.parametrize(
    ("mixture", "n"), [("ka2d", n) for n in (41, 57, 100, 263, 1000)] + [("ka3d", n) for n in (232, 256, 500, 1100)]
)
def test_forces_are_right_for_every_number_of_list_rows_from_the_least_size_on(mixture: str, n: int) -> None:
    start = dynamics.start(MIXTURES[mixture], n_particles=n, T=1.0, rng=stream(1, "sizes", n))
    moved = dynamics.advance(start, n_steps=100, rng=stream(1, "move", n), **_RAMP)
    plain = forces(dynamics.configuration(moved), MIXTURES[mixture])
    assert np.abs(dynamics.forces(moved) - plain).max() < 3e-6 * np.abs(plain).max()


@pytest.mark.parametrize("mixture", SIZES)
def test_one_step_is_velocity_verlet(mixture: str, state: dict) -> None:
    begin, dt = state[mixture], 0.005
    end = _advance_one_step(begin, dt)
    before, after = dynamics.configuration(begin), dynamics.configuration(end)
    half = begin.velocities + 0.5 * dt * forces(before, MIXTURES[mixture])
    moved = (after.positions - before.positions - half * dt + begin.edge / 2) % begin.edge - begin.edge / 2
    assert np.abs(moved).max() < 1e-6
    np.testing.assert_allclose(end.velocities, half + 0.5 * dt * forces(after, MIXTURES[mixture]), atol=2e-4)


def _advance_one_step(state: dynamics.State, dt: float) -> dynamics.State:
    rng = np.random.default_rng(0)
    return dynamics.advance(state, n_steps=1, dt=dt, T_from=1, T_to=1, tau=None, every=1, rng=rng)


@pytest.mark.parametrize("mixture", SIZES)
def test_energy_error_falls_as_the_square_of_the_time_step(mixture: str, state: dict) -> None:
    """Over several states: the force jumps at the cut-off, so that one alone may be off by chance."""
    begin, rng = state[mixture], stream(4, "dt", mixture)
    errors: dict[float, list[float]] = {0.008: [], 0.002: []}
    for _ in range(10):
        begin = dynamics.advance(begin, n_steps=100, rng=rng, **_RAMP)
        e0 = _total_energy(begin)
        for dt, found in errors.items():
            found.append(abs(_total_energy(_without_thermostat(begin, round(0.16 / dt), dt)) - e0))
    assert np.mean(errors[0.002]) < np.mean(errors[0.008]) / 8
    assert np.mean(errors[0.008]) < 5e-3


def test_the_motion_reverses(state: dict) -> None:
    begin = state["ka2d"]
    there = _without_thermostat(begin, 100, 0.005)
    back = _without_thermostat(replace(there, velocities=-there.velocities), 100, 0.005)
    error = (back.positions - begin.positions).astype(float) / 2.0**32 * begin.edge
    assert np.abs(error).max() < 1e-3
    assert np.abs(there.positions - begin.positions).max() > 2**22  # it did move


def test_same_noise_gives_the_same_bits_and_other_noise_does_not(state: dict) -> None:
    ends = [
        dynamics.advance(state["ka2d"], n_steps=200, rng=np.random.default_rng(seed), **_RAMP) for seed in (1, 1, 2)
    ]
    assert ends[0].positions.tobytes() == ends[1].positions.tobytes()
    assert ends[0].velocities.tobytes() == ends[1].velocities.tobytes()
    assert ends[0].positions.tobytes() != ends[2].positions.tobytes()


def test_momentum_stays_zero(state: dict) -> None:
    assert np.abs(state["ka2d"].velocities.mean(axis=0)).max() < 2e-6


@pytest.mark.parametrize("mixture", SIZES)
def test_a_minimum_has_no_force_and_less_energy(mixture: str, state: dict) -> None:
    fire = dynamics.Fire()
    minimum = dynamics.minimise(state[mixture], fire)
    left = forces(dynamics.configuration(minimum.state), MIXTURES[mixture])
    assert minimum.converged
    assert np.linalg.norm(left, axis=1).max() == pytest.approx(minimum.max_force, abs=2e-4)
    assert np.sqrt((left**2).mean()) < fire.force_rms * 1.1
    assert minimum.energies.shifted < dynamics.energies(state[mixture]).shifted - 0.1
    again = dynamics.energies(minimum.state)  # summed in the order of another list
    assert minimum.energies.shifted == pytest.approx(again.shifted, rel=1e-13)
    assert minimum.energies.unshifted == pytest.approx(again.unshifted, rel=1e-13)


def test_minimising_twice_goes_nowhere(state: dict) -> None:
    once = dynamics.minimise(state["ka2d"], dynamics.Fire())
    again = dynamics.minimise(once.state, dynamics.Fire())
    assert again.energies.shifted == pytest.approx(once.energies.shifted, abs=1e-6)
    assert again.n_evaluations == 1


def test_a_minimiser_cut_short_says_so(state: dict) -> None:
    minimum = dynamics.minimise(state["ka2d"], dynamics.Fire(max_evaluations=20))
    assert not minimum.converged
    assert minimum.max_force > dynamics.Fire().force_max


def test_start_has_the_composition_density_and_temperature_asked_for() -> None:
    begin = dynamics.start(MIXTURES["ka2d"], n_particles=1000, T=2.0, rng=stream(1, "start"))
    configuration = dynamics.configuration(begin)
    assert configuration.density == pytest.approx(1.2)
    assert (configuration.species == 0).sum() == 650
    assert begin.temperature == pytest.approx(2.0, rel=4 / np.sqrt(1000))


@pytest.mark.parametrize("mixture", SIZES)
def test_too_small_a_system_is_refused_with_the_least_size(mixture: str) -> None:
    with pytest.raises(ValueError, match=r"n_particles must be at least \d+ for " + mixture):
        dynamics.start(MIXTURES[mixture], n_particles=20, T=1.0, rng=stream(1, "small"))
    assert SIZES[mixture] > 20


def test_a_number_of_steps_between_two_thermostat_steps_is_refused(state: dict) -> None:
    with pytest.raises(ValueError, match="n_steps must be a multiple of every = 20; got 30"):
        dynamics.advance(state["ka2d"], n_steps=30, rng=np.random.default_rng(0), **_RAMP)


def test_a_crowd_that_outgrows_the_neighbour_list_gets_a_larger_one() -> None:
    model = MIXTURES["ka2d"]
    begin = dynamics.start(model, n_particles=1000, T=1.0, rng=stream(1, "crowd"))
    squeezed = replace(begin, positions=(begin.positions.view(np.uint32) // 4).view(np.int32))  # 16 times the density
    plain = energies(dynamics.configuration(squeezed), model)
    assert dynamics.energies(squeezed).shifted == pytest.approx(plain.shifted, rel=1e-6)


def test_water_is_refused(state: dict[str, dynamics.State]) -> None:
    with pytest.raises(TypeError, match="mw is run by lammps"):
        dynamics.energies(replace(state["ka3d"], mixture=MIXTURES["mw"]))


@pytest.mark.parametrize(("mixture", "n"), [("ka2d", 2500), ("ka3d", 2500)])
def test_particles_keep_their_numbers_where_the_kernels_see_them_in_another_order(mixture: str, n: int) -> None:
    begin = dynamics.start(MIXTURES[mixture], n_particles=n, T=1.0, rng=stream(1, "many"))
    end = dynamics.advance(begin, n_steps=20, rng=stream(1, "many"), **_RAMP)
    plain = forces(dynamics.configuration(end), MIXTURES[mixture])
    assert np.abs(dynamics.forces(end) - plain).max() < 3e-6 * np.abs(plain).max()
    moved = (end.positions - begin.positions).astype(float) / 2.0**32 * begin.edge
    assert 0.01 < np.abs(moved).max() < 0.6
