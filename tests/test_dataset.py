from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from vitrify import baselines, scores
from vitrify.dataset import (
    Ensemble,
    between,
    compared,
    equal_energy,
    folds,
    labelled,
    nested_folds,
    null,
    split_runs,
)

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


@given(n_runs=st.integers(3, 60), n_folds=st.integers(3, 12), seed=st.integers(0, 10))
def test_folds_test_every_run_once_and_keep_it_in_one_part(n_runs: int, n_folds: int, seed: int) -> None:
    if n_folds > n_runs:
        with pytest.raises(ValueError, match=f"at most the number of runs, {n_runs}; got {n_folds}"):
            folds(n_runs, n_folds=n_folds, seed=seed)
        return
    dealt = folds(n_runs, n_folds=n_folds, seed=seed)
    assert len(dealt) == n_folds
    for part in ("test", "validation"):
        assert sorted(np.concatenate([getattr(fold, part) for fold in dealt]).tolist()) == list(range(n_runs))
    for fold in dealt:
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(n_runs))
    sizes = [len(fold.test) for fold in dealt]
    assert max(sizes) - min(sizes) <= 1


def test_folds_are_random_and_of_the_seed() -> None:
    tests = lambda seed: [fold.test.tolist() for fold in folds(20, n_folds=4, seed=seed)]
    assert tests(1) == tests(1) != tests(2)
    assert tests(1)[0] != list(range(5))
    with pytest.raises(ValueError, match="at least 3: one part tests, one validates, the rest train; got 2"):
        folds(20, n_folds=2, seed=1)


def test_inner_folds_never_see_the_runs_that_test_the_outer_one() -> None:
    nested = nested_folds(23, n_folds=4, n_inner=3, seed=5)
    outer = folds(23, n_folds=4, seed=5)
    assert [one.outer.test.tolist() for one in nested] == [fold.test.tolist() for fold in outer]
    for one in nested:
        inside = sorted([*one.outer.train, *one.outer.validation])
        assert sorted(np.concatenate([fold.test for fold in one.inner]).tolist()) == inside
        for fold in one.inner:
            assert sorted([*fold.train, *fold.validation, *fold.test]) == inside


def test_a_null_of_folds_has_both_classes_in_every_part() -> None:
    ensemble = _ensemble(-3.90 + 0.05 * T, T, first=0.0, n_runs=17)
    dealt = folds(17, n_folds=5, seed=3)
    data = null(ensemble, inherent=False, k=4, split=dealt)
    assert sorted(data.run.tolist()) == list(range(17))
    np.testing.assert_array_equal(data.positions[:, 0, 0], 100 * data.run + 4)
    np.testing.assert_array_equal(data.e_is, ensemble.e_is_unshifted[data.run, 3])
    for fold in dealt:
        for part in (fold.train, fold.validation, fold.test):
            data.of_runs(part)  # refuses a part of one class


def _cooled(seed: int, *, n_runs: int, n_frames: int, energy: np.ndarray) -> Ensemble:
    """An ensemble whose runs scatter by 0.0033, as those of 4320 particles do; positions name ensemble and run."""
    rng = np.random.default_rng(seed)
    base = _ensemble(energy, np.linspace(1.9, 0.1, n_frames), first=10_000.0 * seed, n_runs=n_runs)
    return replace(base, e_is_unshifted=energy + rng.normal(0.0, _SCATTER, (n_runs, n_frames)))


_SCATTER = 0.0033
_RAMP = np.linspace(1.9, 0.1, 91)
_SLOWLY = _cooled(1, n_runs=60, n_frames=91, energy=-3.91 + 0.05 * _RAMP)
_FAST = _cooled(2, n_runs=50, n_frames=91, energy=-3.8675 + 0.03 * np.maximum(_RAMP - 0.3, 0))


def _energy_alone(k_slow: int, k_fast: int) -> scores.Scores:
    """What the inherent-structure energy alone reaches on the test runs of a pair."""
    data = between(_SLOWLY, _FAST, inherent=True, k_liquid=k_slow, k_glass=k_fast)
    split = split_runs(60, seed=4, validation=0.2, test=0.5)
    train, validation, test = (data.of_runs(part) for part in (split.train, split.validation, split.test))
    features = [baselines.e_is(part) for part in (train, validation, test)]
    fitted = baselines.fit(features[0], train.label, features[1], validation.label)
    return scores.score(fitted.logit(features[2]), test.label, test.run)


def test_the_energy_alone_cannot_tell_a_pair_of_equal_energy_and_can_tell_another() -> None:
    pair = equal_energy(_SLOWLY, _FAST)
    equal = _energy_alone(pair.k_slow, pair.k_fast).auc
    assert equal.low < 0.5 < equal.high
    assert abs(equal.value - 0.5) < 0.12
    # a pair 0.01 apart: 2.1 times the spread of a difference
    unequal = _energy_alone(pair.k_slow - 10, pair.k_fast).auc
    assert unequal.low > 0.5
    assert unequal.value == pytest.approx(norm.cdf(0.01 / (_SCATTER * np.sqrt(2))), abs=0.04)


def test_what_is_left_of_the_difference_is_worth_what_the_scatter_says() -> None:
    """The AUC of the energy is P(e_slow > e_fast), so a tolerance is to be read beside the scatter of the runs."""
    pair = equal_energy(_SLOWLY, _FAST)
    expected = norm.cdf(pair.difference / np.hypot(np.std(pair.e_slow, ddof=1), np.std(pair.e_fast, ddof=1)))
    data = between(_SLOWLY, _FAST, inherent=True, k_liquid=pair.k_slow, k_glass=pair.k_fast)
    assert scores.auc(-data.e_is, data.label) == pytest.approx(expected, abs=0.03)
    assert abs(expected - 0.5) < 0.1


def test_a_pair_is_split_by_the_runs_of_both_ensembles() -> None:
    data = between(_SLOWLY, _FAST, inherent=True, k_liquid=60, k_glass=91)
    names = data.positions[:, 0, 0].round().astype(int)  # the ensemble, the run and the record, in one number
    assert len(np.unique(names)) == 60 + 50  # runs of the two ensembles are different runs, none is counted twice
    whose, run = names // 10_000, names % 10_000 // 100
    np.testing.assert_array_equal(whose - 1, data.label)
    np.testing.assert_array_equal(run, data.run)
    dealt = folds(60, n_folds=5, seed=4)
    for split in (split_runs(60, seed=4), *dealt):
        parts = [data.of_runs(part) for part in (split.train, split.validation, split.test)]
        of = [{(int(p) // 10_000, int(p) % 10_000 // 100) for p in part.positions[:, 0, 0].round()} for part in parts]
        assert sum(map(len, of)) == len(set.union(*of)) == 60 + 50
        for part in of:  # both runs of a number, which one seed begins alike, are on one side
            assert {i for e, i in part if e == 2} == {i for e, i in part if e == 1 and i < 50}
