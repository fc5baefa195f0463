import numpy as np
import pytest

from vitrify.indicators import INDICATORS, confusion, cross_fit, divergence, evaluate, prediction, shuffled

T = np.linspace(0.1, 1.5, 15)
FEW = [3, pytest.param(100, marks=pytest.mark.slow)]


def features(rng, shift, *, n_runs=16, n_features=2):
    """Runs whose first number follows the temperature as ``shift`` says; they are offset from each other."""
    x = rng.normal(size=(n_runs, len(T), n_features))
    x[:, :, 0] += shift + 0.3 * rng.normal(size=(n_runs, 1))
    return x


def step(T_c, *, width=0.01, height=5.0):
    return height / (1 + np.exp(-(T - T_c) / width))


def found_on(shift_of, *, n_seeds, first=0):
    """Return the truth and the indicators of data of independent seeds, classifiers and shuffles included."""
    found = []
    for seed in range(first, first + n_seeds):
        rng = np.random.default_rng(seed)
        T_c = rng.uniform(0.45, 1.15)
        x = features(rng, shift_of(T_c))
        nulls = np.stack([cross_fit(shuffled(x, rng=rng), seed=seed) for _ in range(20)])
        found.append((T_c, evaluate(T, cross_fit(x, seed=seed), nulls, rng=rng, n_bootstrap=300)))
    return found


def perfect(T_c):
    """The probabilities of two phases told apart without error, and nothing else known."""
    same = (T_c < T) == (T_c < T)[:, None]
    return np.tile(same / same.sum(axis=1), (5, 1, 1))


ONE = np.full((1, 5), 0.2)


@pytest.mark.parametrize("n_seeds", FEW)
@pytest.mark.parametrize("width", [0.01, 0.04])
def test_a_planted_transition_is_found_and_covered(width, n_seeds):
    found = found_on(lambda T_c: step(T_c, width=width), n_seeds=n_seeds)
    for name in INDICATORS:
        assert np.mean([one[name].found for _, one in found]) >= 0.9, name
        assert np.mean([one[name].Tg_low <= T_c <= one[name].Tg_high for T_c, one in found]) >= 0.9, name
        assert np.mean([one[name].Tg_high - one[name].Tg_low for _, one in found]) < 0.35, name


@pytest.mark.parametrize("n_seeds", FEW)
@pytest.mark.parametrize("drift", [0.0, 4.0])
def test_none_is_found_in_noise_or_in_an_even_change(drift, n_seeds):
    found = found_on(lambda _: drift * T, n_seeds=n_seeds)
    for name in INDICATORS:
        assert np.mean([not one[name].found for _, one in found]) >= 0.9, name


def test_a_well_known_even_change_is_called_a_crossover():
    x = 20 * T[:, None] + np.random.default_rng(7).normal(size=(200, len(T), 1))
    logit = -((x - 20 * T) ** 2) / 2
    p = np.exp(logit) / np.exp(logit).sum(axis=2, keepdims=True)
    found = evaluate(T, p, np.full((1, *p.shape), 1 / len(T)), rng=np.random.default_rng(8), n_bootstrap=100)
    for name in ("prediction", "divergence"):  # the accuracy is a U without a middle peak
        assert found[name].verdict.startswith("crossover: no sharp transition"), name
    assert not found["confusion"].found


def test_indicators_of_two_perfect_phases_are_those_of_a_hand():
    p = perfect(0.55)  # five temperatures below, ten above
    # the phase a split cuts is all given to its larger part, so the smaller part of that phase is wrong
    n_wrong = [1, 2, 2, 1, 0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    accuracy = confusion(T, p, ONE)[0]
    cut_in_half = 9  # five of the ten above: either part may be given them
    np.testing.assert_allclose(np.delete(accuracy, cut_in_half), 1 - np.delete(n_wrong, cut_in_half) / 15)
    slope = prediction(T, p, ONE)[0] + 1
    np.testing.assert_allclose(slope[4], (T[5:].mean() - T[:5].mean()) / 0.1)
    np.testing.assert_allclose(np.delete(slope, 4), 0, atol=1e-12)
    moved = divergence(T, p, ONE)[0]
    np.testing.assert_allclose(moved[4], 1 / 0.1)  # all of the output moves
    np.testing.assert_allclose(np.delete(moved, 4), 0, atol=1e-12)


def test_nothing_known_gives_the_trivial_v_and_no_peak():
    nothing = np.full((5, 15, 15), 1 / 15)
    n_below = np.arange(1, 15)
    np.testing.assert_allclose(confusion(T, nothing, ONE)[0], np.maximum(n_below, 15 - n_below) / 15)
    found = evaluate(T, nothing, nothing[None], rng=np.random.default_rng(1), n_bootstrap=20)
    assert not any(one.found for one in found.values())
    assert all(one.verdict.startswith("no transition") for one in found.values())


def test_the_order_of_the_temperatures_does_not_matter():
    p, nothing = perfect(0.75), np.full((1, 5, 15, 15), 1 / 15)
    order = np.random.default_rng(2).permutation(15)
    one, other = (
        evaluate(t, q, nothing, rng=np.random.default_rng(3), n_bootstrap=50)
        for t, q in ((T, p), (T[order], p[:, order][:, :, order]))
    )
    for name in INDICATORS:
        assert one[name].found
        assert (one[name].Tg, one[name].Tg_low, one[name].Tg_high) == pytest.approx((0.75, 0.7, 0.8))
        np.testing.assert_allclose(one[name].value, other[name].value)


def test_no_run_is_answered_for_by_a_classifier_that_saw_it():
    """Features that name the run: a classifier that had seen it would know its temperatures, another cannot."""
    rng = np.random.default_rng(4)
    order = rng.permuted(np.tile(np.arange(4), (30, 1)), axis=1)
    x = np.zeros((30, 4, 120))
    for run in range(30):
        x[run, np.arange(4), 4 * run + order[run]] = 1.0
    p = cross_fit(x, seed=1)
    np.testing.assert_allclose(p.sum(axis=2), 1.0)
    assert p[:, np.arange(4), np.arange(4)].mean() == pytest.approx(0.25, abs=0.02)


def test_the_classifier_knows_nearly_what_can_be_known():
    rng = np.random.default_rng(5)
    height = step(0.8, width=0.1, height=8.0)
    x = height[:, None] + rng.normal(size=(60, len(T), 1))
    own = np.arange(len(T))
    exact = -((x - height) ** 2) / 2
    best, uniform = np.log(np.exp(exact).sum(axis=2)) - exact[:, own, own], np.log(len(T))
    reached = -np.log(cross_fit(x, seed=1)[:, own, own])
    assert best.mean() < reached.mean() < best.mean() + 0.1 * (uniform - best.mean())


def test_a_shuffle_keeps_each_run_and_moves_its_temperatures():
    rng = np.random.default_rng(6)
    x = features(rng, 0 * T)
    y = shuffled(x, rng=rng)
    np.testing.assert_array_equal(np.sort(x[:, :, 0]), np.sort(y[:, :, 0]))
    assert (x != y).any(axis=(1, 2)).all()


def test_what_cannot_be_evaluated_is_refused():
    nothing = np.full((3, 5, 5), 0.2)
    with pytest.raises(ValueError, match="at least 6 temperatures, all different; got 5"):
        evaluate(T[:5], nothing, nothing[None], rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="at least one shuffle"):
        evaluate(T, np.full((3, 15, 15), 1 / 15), np.empty((0, 3, 15, 15)), rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="at least 3 runs"):
        cross_fit(np.zeros((2, 5, 1)), seed=1)
    with pytest.raises(ValueError, match="1 values are not"):
        cross_fit(np.where(np.arange(15).reshape(3, 5, 1) == 7, np.nan, 0.0), seed=1)
