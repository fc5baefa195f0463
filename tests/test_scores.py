import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, norm
from sklearn.metrics import roc_auc_score

from vitrify.scores import accuracy, auc, compare, corrected, fraction, holm, rethreshold, score


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


def draw_two(rng, *, n_runs, distances, alike):
    """Two classifiers of one liquid and one glass of each run; ``alike`` is the correlation of their noise."""
    run, label = np.tile(np.arange(n_runs), 2), np.repeat([0, 1], n_runs)
    noise = np.sqrt(0.3) * rng.normal(size=(2, n_runs))[:, run] + np.sqrt(0.7) * rng.normal(size=(2, 2 * n_runs))
    noise[1] = alike * noise[0] + np.sqrt(1 - alike**2) * noise[1]
    return *(noise + np.array(distances)[:, None] * (label - 0.5)), label, run


@pytest.mark.parametrize(("n_better", "n_worse", "n_equal"), [(5, 0, 0), (8, 1, 6), (3, 3, 10), (1, 6, 4)])
def test_runs_wholly_right_or_wrong_get_the_exact_p_of_mcnemar(n_better, n_worse, n_equal):
    n_runs = n_better + n_worse + n_equal
    label, run = np.repeat([0, 1], n_runs), np.tile(np.arange(n_runs), 2)
    right = 2.0 * label - 1
    one = np.where(run < n_better + n_equal, right, -right)
    other = np.where((run >= n_better), right, -right)
    exact = binomtest(n_better, n_better + n_worse).pvalue
    found = compare(one, other, label, run, rng=np.random.default_rng(4), n_bootstrap=40_000)
    assert (found.n_test, found.n_runs) == (2 * n_runs, n_runs)
    assert found.accuracy.value == pytest.approx((n_better - n_worse) / n_runs)
    assert found.accuracy.p == pytest.approx(exact, abs=0.01)
    assert (found.accuracy.p < 0.05) == (found.accuracy.low > 0 or found.accuracy.high < 0)


def test_the_difference_is_that_of_the_scores_and_turns_with_the_order():
    rng = np.random.default_rng(8)
    one, other, label, run = draw_two(rng, n_runs=30, distances=(2.0, 1.0), alike=0.5)
    there = compare(one, other, label, run, rng=np.random.default_rng(1), threshold=0.3, other_threshold=-0.2)
    back = compare(other, one, label, run, rng=np.random.default_rng(1), threshold=-0.2, other_threshold=0.3)
    assert there.auc.value == pytest.approx(auc(one, label) - auc(other, label))
    right = [accuracy(one, label, threshold=0.3), accuracy(other, label, threshold=-0.2)]
    assert there.accuracy.value == pytest.approx(right[0] - right[1])
    for a, b in ((there.accuracy, back.accuracy), (there.auc, back.auc)):
        assert (a.value, a.low, a.high, a.p) == pytest.approx((-b.value, -b.high, -b.low, b.p))


def test_a_classifier_is_no_better_than_itself_but_few_runs_do_not_prove_it():
    rng = np.random.default_rng(8)
    logit, label, run = draw_runs(rng, n_runs=6, distance=1.0, shared=0.3)
    few = compare(logit, logit, label, run, rng=rng)
    logit, label, run = draw_runs(rng, n_runs=60, distance=1.0, shared=0.3)
    many = compare(logit, logit, label, run, rng=rng)
    for small, large in ((few.accuracy, many.accuracy), (few.auc, many.auc)):
        assert (small.value, small.p) == (large.value, large.p) == (0.0, 1.0)
        assert small.low < -0.2 < large.low < 0 < large.high < 0.2 < small.high


@pytest.mark.parametrize("alike", [0.0, 0.8])
@pytest.mark.parametrize("distances", [(1.0, 1.0), (2.0, 1.0), (3.0, 0.5)])
def test_intervals_cover_the_true_difference_and_p_is_rarely_small_without_one(distances, alike):
    rng = np.random.default_rng(6)
    n_sets, covered, found = 100, np.zeros(2), np.zeros(2)
    one, other = np.array(distances)
    truth = [norm.cdf(one / scale) - norm.cdf(other / scale) for scale in (2, np.sqrt(2))]
    for _ in range(n_sets):
        two = compare(*draw_two(rng, n_runs=30, distances=distances, alike=alike), rng=rng, n_bootstrap=600)
        differences = two.accuracy, two.auc
        covered += [d.low <= t <= d.high for d, t in zip(differences, truth, strict=True)]
        found += [d.p < 0.05 for d in differences]
    assert (covered >= 90).all()
    if one == other:
        assert (found <= 8).all()
    elif one - other > 2:
        assert (found >= 90).all()  # thirty runs see a difference of 0.3 in AUC


def test_a_pairing_shows_what_two_intervals_hide():
    rng = np.random.default_rng(6)
    one, other, label, run = draw_two(rng, n_runs=40, distances=(2.0, 1.4), alike=0.95)
    alone = [score(logit, label, run, rng=rng).auc for logit in (one, other)]
    assert alone[0].low < alone[1].high
    assert compare(one, other, label, run, rng=rng).auc.p < 0.01


def test_an_auc_of_folds_is_over_the_pairs_of_each_fold():
    """Two folds that each rank perfectly, on scales so far apart that a pooled ranking is wrong for a quarter."""
    label, run, fold = np.tile([0, 1], 8), np.repeat(np.arange(8), 2), np.repeat([0, 1], 8)
    logit = label + 10.0 * fold
    together = score(logit, label, run, rng=np.random.default_rng(1))
    apart = score(logit, label, run, rng=np.random.default_rng(1), fold=fold)
    assert (together.auc.value, apart.auc.value, apart.auc.high) == (0.75, 1.0, 1.0)
    assert apart.auc.low == pytest.approx(0.025 ** (1 / 8), abs=0.02)
    assert together.accuracy == apart.accuracy
    with pytest.raises(ValueError, match="every fold holds one class"):
        score(logit, label, run, rng=np.random.default_rng(1), fold=label)


def test_folds_compare_two_classifiers_too():
    label, run, fold = np.tile([0, 1], 8), np.repeat(np.arange(8), 2), np.repeat([0, 1], 8)
    good, bad = label + 10.0 * fold, -label + 10.0 * fold
    assert compare(good, bad, label, run, rng=np.random.default_rng(1), fold=fold).auc.value == 1.0
    assert compare(good, bad, label, run, rng=np.random.default_rng(1)).auc.value == 0.5


def test_a_fraction_is_the_accuracy_of_what_holds():
    rng = np.random.default_rng(2)
    logit, label, run = draw_runs(rng, n_runs=12, distance=1.0, shared=0.3)
    scored = score(logit, label, run, rng=np.random.default_rng(3)).accuracy
    assert fraction((logit > 0) == (label == 1), run, rng=np.random.default_rng(3)) == scored
    with pytest.raises(ValueError, match="at least one configuration"):
        fraction(np.zeros(0, bool), np.zeros(0, int), rng=rng)


@pytest.mark.parametrize(
    ("p", "by_hand"),
    [
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),  # 4 x 0.01, 3 x 0.02, then never less
        ([0.03, 0.0004, 0.2, 0.011], [0.06, 0.0016, 0.2, 0.033]),
        ([0.6, 0.5], [1.0, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_by_hand(p, by_hand):
    assert holm(np.array(p, float)).tolist() == pytest.approx(by_hand)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_steps_down_reject(p, level):
    p = np.array(p)
    found = holm(p)
    assert (p <= found).all()
    assert (found <= np.minimum(1, p * len(p)) + 1e-12).all()  # never more than Bonferroni
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    for rank, place in enumerate(order):  # Holm's own words: stop at the first that is not small enough
        if p[place] * (len(p) - rank) > level:
            assert (found[order[rank:]] > level).all()
            break
        assert found[place] <= level
    shuffled = np.random.default_rng(len(p)).permutation(len(p))
    np.testing.assert_array_equal(holm(p[shuffled]), found[shuffled])


def test_what_was_not_compared_counts_for_nothing():
    first, second = {"value": 0.1, "p": 0.01}, {"value": 0.2, "p": 0.5}
    assert corrected([first, None, second]) == [first | {"p_holm": 0.02}, None, second | {"p_holm": 0.5}]
    with pytest.raises(ValueError, match="p must be from 0 to 1"):
        holm(np.array([0.5, np.nan]))
