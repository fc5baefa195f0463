import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score

from vitrify.scores import accuracy, auc, rethreshold, score


def draw_runs(rng, *, n_runs, distance, shared):
    """One liquid and one glass of each run; ``shared`` is the part of the variance that a run's two have in common."""
    run, label = np.tile(np.arange(n_runs), 2), np.repeat([0, 1], n_runs)
    noise = np.sqrt(shared) * rng.normal(size=n_runs)[run] + np.sqrt(1 - shared) * rng.normal(size=2 * n_runs)
    return noise + distance * (label - 0.5), label, run


@given(st.integers(0, 10_000))
def test_auc_agrees_with_scikit_learn_ties_included(seed):
    rng = np.random.default_rng(seed)
    label = np.concatenate([[0, 1], rng.integers(0, 2, 30)])
    logit = rng.integers(-3, 4, 32).astype(float)
    assert auc(logit, label) == pytest.approx(roc_auc_score(label, logit))


def test_accuracy_counts_a_logit_on_the_threshold_as_liquid():
    logit, label = np.array([-1.0, 0.0, 0.0, 2.0]), np.array([0, 0, 1, 1])
    assert accuracy(logit, label) == 0.75
    assert accuracy(logit, label, threshold=-0.5) == 0.75
    assert accuracy(logit, label, threshold=5.0) == 0.5


@pytest.mark.parametrize("n_runs", [1, 13, 40])
def test_a_perfect_score_gets_the_exact_bound_over_runs(n_runs):
    label = np.repeat([0, 1], n_runs)
    scores = score(
        2.0 * label - 1, label, np.tile(np.arange(n_runs), 2), rng=np.random.default_rng(1), n_bootstrap=40_000
    )
    exact = 0.025 ** (1 / n_runs)
    assert (scores.n_test, scores.n_runs) == (2 * n_runs, n_runs)
    for estimate in (scores.accuracy, scores.auc):
        assert (estimate.value, estimate.high) == (1.0, 1.0)
        assert estimate.low == pytest.approx(exact, abs=0.01)


def test_runs_wholly_right_or_wrong_get_clopper_and_pearson():
    n_runs, n_right = 20, 15
    label, run = np.repeat([0, 1], n_runs), np.tile(np.arange(n_runs), 2)
    logit = np.where((run < n_right) == (label == 1), 1.0, -1.0)
    estimate = score(logit, label, run, rng=np.random.default_rng(2), n_bootstrap=40_000).accuracy
    assert estimate.value == 0.75
    assert estimate.low == pytest.approx(beta.ppf(0.025, n_right, n_runs - n_right + 1), abs=0.01)
    assert estimate.high == pytest.approx(beta.ppf(0.975, n_right + 1, n_runs - n_right), abs=0.01)


def test_a_collapsed_model_has_an_interval_around_one_half():
    label = np.repeat([0, 1], 13)
    scores = score(np.zeros(26), label, np.tile(np.arange(13), 2), rng=np.random.default_rng(1))
    for estimate in (scores.accuracy, scores.auc):
        assert estimate.value == 0.5
        assert estimate.low < 0.45
        assert estimate.high > 0.55


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_intervals_cover_the_truth_with_correlated_configurations(distance, shared):
    rng = np.random.default_rng(3)
    n_sets, covered, widths = 120, np.zeros(2), []
    truth = norm.cdf(distance / 2), norm.cdf(distance / np.sqrt(2))
    for _ in range(n_sets):
        scores = score(*draw_runs(rng, n_runs=15, distance=distance, shared=shared), rng=rng, n_bootstrap=600)
        covered += [e.low <= t <= e.high for e, t in zip((scores.accuracy, scores.auc), truth, strict=True)]
        widths.append(scores.auc.high - scores.auc.low)
    assert (covered / n_sets >= 0.9).all()
    assert np.mean(widths) < 0.5  # an interval that covers everything says nothing


def test_copies_of_a_configuration_do_not_narrow_the_interval():
    rng = np.random.default_rng(5)
    logit, label, run = draw_runs(rng, n_runs=15, distance=1.5, shared=0.3)
    once = score(logit, label, run, rng=np.random.default_rng(1))
    often = score(*(np.tile(x, 10) for x in (logit, label, run)), rng=np.random.default_rng(1))
    assert often.n_test == 10 * once.n_test
    for a, b in ((once.accuracy, often.accuracy), (once.auc, often.auc)):
        assert (b.low, b.high) == pytest.approx((a.low, a.high))


@given(st.integers(0, 10_000))
def test_rethreshold_is_the_best_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    label = np.concatenate([[0, 1], rng.integers(0, 2, 20)])
    logit = rng.integers(-4, 5, 22).astype(float)
    best = max(accuracy(logit, label, threshold=t) for t in np.arange(-5, 5, 0.5))
    assert accuracy(logit, label, threshold=rethreshold(logit, label)) == best


def test_rethreshold_restores_a_shifted_classifier_from_the_widest_gap():
    logit, label = np.array([5.0, 6.0, 10.0, 11.0]), np.array([0, 0, 1, 1])
    assert accuracy(logit, label) == 0.5
    assert rethreshold(logit, label) == 8.0


def test_bad_input_is_refused():
    label, run = np.array([0, 1]), np.array([0, 1])
    with pytest.raises(ValueError, match="must be finite; 1 of 2"):
        score(np.array([np.nan, 1.0]), label, run, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="both classes; got 2 glasses among 2"):
        auc(np.array([0.0, 1.0]), np.array([1, 1]))
