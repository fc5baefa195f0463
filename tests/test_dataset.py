from dataclasses import replace

import numpy as np
import pytest

from vitrify.dataset import Ensemble, between, compared, equal_energy, labelled, split_runs

N_RUNS = 6


def _ensemble(e_is: np.ndarray, T: np.ndarray, *, first: float, n_runs: int = N_RUNS, spread: float = 0.0) -> Ensemble:
    """An ensemble with a known mean energy of every record; positions say whose they are."""
    offset = spread * (np.arange(n_runs) - (n_runs - 1) / 2)[:, None]
    energies = e_is[None] + offset
    n_frames = len(T)
    who = np.arange(n_runs)[:, None, None, None] * 100 + np.arange(1, n_frames + 1)[None, :, None, None]
    positions = np.broadcast_to(first + who, (n_runs, n_frames, 3, 2)).astype(np.float32)
    return Ensemble(
        thermal=positions,
        inherent=positions + np.float32(0.5),
        species=np.array([0, 0, 1]),
        box=np.array([1e5, 1e5]),
        T=T,
        e_pot_unshifted=energies + 1.0,
        e_pot_shifted=energies + 1.2,
        e_is_unshifted=energies,
        e_is_shifted=energies + 0.2,
        max_force=np.zeros_like(energies),
        converged=np.ones(energies.shape, bool),
    )


T = np.linspace(1.9, 0.1, 19)
SLOW = _ensemble(-3.90 + 0.05 * T, T, first=0.0, spread=0.002)
FAST = _ensemble(-3.8701 + 0.03 * np.maximum(T - 0.3, 0), T, first=1000.0, n_runs=4, spread=0.004)


def test_the_pair_planted_is_found_with_its_errors() -> None:
    """The fast glass lies at -3.8701, which the slow liquid has near T = 0.6."""
    pair = equal_energy(SLOW, FAST)
    assert (pair.k_slow, pair.k_fast) == (14, 19)
    assert (pair.T_slow, pair.T_fast) == pytest.approx((0.6, 0.1))
    assert (pair.mean_slow, pair.mean_fast, pair.difference) == pytest.approx((-3.87, -3.8701, 1e-4))
    # six and four evenly spaced values: standard deviations 2e-3 sqrt(3.5) and 4e-3 sqrt(5/3)
    assert pair.se_slow == pytest.approx(2e-3 * np.sqrt(3.5 / 6))
    assert pair.se_fast == pytest.approx(4e-3 * np.sqrt(5 / 3 / 4))
    assert pair.se_difference == pytest.approx(np.hypot(pair.se_slow, pair.se_fast))
    assert pair.e_slow == tuple(SLOW.e_is_unshifted[:, 13])
    assert pair.e_fast == tuple(FAST.e_is_unshifted[:, 18])


def test_the_last_glass_that_has_a_liquid_is_taken() -> None:
    energies = FAST.e_is_unshifted.copy()
    energies[:, 18] -= 0.0025  # between two records of the slow ensemble, 0.005 apart
    assert equal_energy(SLOW, replace(FAST, e_is_unshifted=energies)).k_fast == 18


def test_without_a_pair_the_nearest_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"within tolerance = 5e-05; the nearest are k = 14 \(T = 0.6000\) of the slow"
    ):
        equal_energy(SLOW, FAST, tolerance=5e-5)
    with pytest.raises(ValueError, match=r"no record at or below T_glass = 0\.05"):
        equal_energy(SLOW, FAST, T_glass=0.05)
    one = _ensemble(-3.90 + 0.05 * T, T, first=0.0, n_runs=1)
    with pytest.raises(ValueError, match="at least 2 runs; got 1 and 4"):
        equal_energy(one, FAST)


def test_a_pair_can_be_named() -> None:
    pair = compared(SLOW, FAST, k_slow=1, k_fast=19)
    assert pair.difference == pytest.approx(-3.805 + 3.8701)


@pytest.mark.parametrize("inherent", [False, True])
def test_two_ensembles_are_told_apart_by_the_right_records_of_every_run(*, inherent: bool) -> None:
    data = between(SLOW, FAST, inherent=inherent, k_liquid=14, k_glass=19)
    assert data.label.tolist() == [0] * 6 + [1] * 4
    assert data.run.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    expected = [100 * run + 14 for run in range(6)] + [1000 + 100 * run + 19 for run in range(4)]
    np.testing.assert_array_equal(data.positions[:, 0, 0] - 0.5 * inherent, expected)
    np.testing.assert_allclose(data.e_is[data.label == 1].mean(), -3.8701)
    np.testing.assert_allclose(data.e_pot, data.e_is + 1.0)


def test_no_run_of_either_ensemble_is_on_two_sides() -> None:
    data = between(SLOW, FAST, inherent=False, k_liquid=14, k_glass=19)
    split = split_runs(N_RUNS, seed=2, validation=0.17, test=0.33)
    parts = [data.of_runs(part) for part in (split.train, split.test)]
    assert not set(parts[0].run) & set(parts[1].run)


def test_one_ensemble_is_the_special_case() -> None:
    one, two = (
        labelled(SLOW, inherent=True, k_glass=19, k_liquid=3),
        between(SLOW, SLOW, inherent=True, k_glass=19, k_liquid=3),
    )
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.e_pot, two.e_pot)


def test_ensembles_of_different_systems_are_refused() -> None:
    other = replace(FAST, box=np.array([1e5, 2e5]))
    with pytest.raises(ValueError, match="must have the same particles in the same box; got 3 particles"):
        between(SLOW, other, inherent=False, k_liquid=1, k_glass=19)
    with pytest.raises(ValueError, match=r"k_glass must be one of the records .*; got 20"):
        between(SLOW, FAST, inherent=False, k_liquid=1, k_glass=20)
