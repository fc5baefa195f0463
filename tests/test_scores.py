"""Scores and their intervals over runs: known answers, a slow version of every formula, and planted truths."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm, t
from sklearn.metrics import roc_auc_score

from vitrify.scores import (
    above_chance,
    accuracy,
    auc,
    compare,
    fraction,
    holm,
    rethreshold,
    score,
)


def draw_runs(rng, *, n_runs, distance, shared, n_liquids=1, n_glasses=1):
    """Return scores, labels and runs; ``shared`` is the part of the variance that a run has in common."""
    label = np.tile(np.repeat([0, 1], [n_liquids, n_glasses]), n_runs)
    run = np.repeat(np.arange(n_runs), n_liquids + n_glasses)
    noise = np.sqrt(shared) * rng.normal(size=n_runs)[run] + np.sqrt(1 - shared) * rng.normal(size=len(run))
    return noise + distance * (label - 0.5), label, run


def draw_two(rng, *, n_runs, distances, alike):
    """Return two classifiers of one liquid and one glass of each run; ``alike`` is the correlation of their noise."""
    run, label = np.tile(np.arange(n_runs), 2), np.repeat([0, 1], n_runs)
    noise = np.sqrt(0.3) * rng.normal(size=(2, n_runs))[:, run] + np.sqrt(0.7) * rng.normal(size=(2, 2 * n_runs))
    noise[1] = alike * noise[0] + np.sqrt(1 - alike**2) * noise[1]
    return *(noise + np.array(distances)[:, None] * (label - 0.5)), label, run


def separated(n_runs):
    return np.repeat([-1.0, 1.0], n_runs), np.repeat([0, 1], n_runs), np.tile(np.arange(n_runs), 2)


def slow_pseudo_values(logit, label, run, fold=None):
    """Return the pseudo-value of the AUC of each run, pair by pair."""
    fold = np.zeros(len(logit)) if fold is None else fold
    pairs = [
        (i, j, 1.0 if logit[i] > logit[j] else 0.5 if logit[i] == logit[j] else 0.0)
        for i, j in itertools.product(np.flatnonzero(label == 1), np.flatnonzero(label == 0))
        if fold[i] == fold[j]
    ]
    area = sum(won for _, _, won in pairs) / len(pairs)
    runs = np.unique(run)
    return np.array(
        [
            area
            + len(runs)
            / len(pairs)
            * sum((won - area) * (int(run[i] == one) + int(run[j] == one)) for i, j, won in pairs)
            for one in runs
        ]
    )


def several(seed, *, grid=None):
    """Return a small ensemble with several configurations a run, not equally many, and two folds of runs."""
    rng = np.random.default_rng(seed)
    logit, label, run = draw_runs(rng, n_runs=10, distance=1.2, shared=0.4, n_liquids=2, n_glasses=3)
    kept = np.sort(rng.permutation(len(logit))[:40])
    logit, label, run = logit[kept], label[kept], run[kept] * 7 - 3  # runs are names, not places
    return np.round(logit / grid) * grid if grid else logit, label, run, run % 2


@pytest.mark.parametrize("grid", [None, 1.0])
@pytest.mark.parametrize("folds", [False, True])
def test_value_and_error_are_those_of_pseudo_values_pair_by_pair(grid, folds):
    logit, label, run, fold = several(1, grid=grid)
    fold = fold if folds else None
    d = slow_pseudo_values(logit, label, run, fold)
    found = above_chance(logit, label, run, fold=fold)
    assert found.value == pytest.approx(d.mean() - 0.5)
    assert found.se == pytest.approx(d.std(ddof=1) / np.sqrt(len(d)))
    other = several(2)[0] + logit
    apart = d - slow_pseudo_values(other, label, run, fold)
    compared = compare(logit, other, label, run, fold=fold).auc
    assert compared.value == pytest.approx(apart.mean())
    assert compared.se == pytest.approx(apart.std(ddof=1) / np.sqrt(len(d)))
    reach = t.ppf(0.975, len(d) - 1) * compared.se
    assert (compared.low, compared.high) == pytest.approx((compared.value - reach, compared.value + reach))
    assert compared.p == pytest.approx(t.sf(compared.value / compared.se, len(d) - 1))


def test_the_lower_bound_is_the_quantile_of_a_beta_with_part_of_a_contrary_run():
    logit, label, run, _ = several(3)
    d = slow_pseudo_values(logit, label, run)
    size = len(d) + 0.48
    mean = d.sum() / size
    variance = (((d - mean) ** 2).sum() + 0.48 * mean**2) / (size * (size - 1))
    weight = mean * (1 - mean) / variance - 1
    found = score(logit, label, run).auc
    assert found.low == pytest.approx(beta.ppf(0.025, mean * weight, (1 - mean) * weight))
    chance = above_chance(logit, label, run)
    assert chance.low == pytest.approx(found.low - 0.5)
    assert chance.lower == pytest.approx(beta.ppf(0.05, mean * weight, (1 - mean) * weight) - 0.5)
    assert chance.p == pytest.approx(beta.cdf(0.5, mean * weight, (1 - mean) * weight))


def test_the_upper_bound_is_on_the_logit_scale_with_a_quarter_of_a_perfect_run():
    logit, label, run, _ = several(3)
    d = slow_pseudo_values(logit, label, run)
    size = len(d) + 0.25
    mean = (d.sum() + 0.25) / size
    variance = (((d - mean) ** 2).sum() + 0.25 * (1 - mean) ** 2) / (size * (size - 1))
    odds = mean / (1 - mean) * np.exp(norm.ppf(0.975) * np.sqrt(variance) / (mean * (1 - mean)))
    assert score(logit, label, run).auc.high == pytest.approx(odds / (1 + odds))


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


@pytest.mark.parametrize("n_runs", [1, 13, 75])
def test_a_perfect_score_gets_the_exact_bound_over_runs(n_runs):
    scores = score(*separated(n_runs))
    assert (scores.n_test, scores.n_runs) == (2 * n_runs, n_runs)
    for estimate in (scores.accuracy, scores.auc):
        assert (estimate.value, estimate.high) == (1.0, 1.0)
        assert estimate.low == pytest.approx(0.025 ** (1 / n_runs), abs=1e-9)
    found = above_chance(*separated(n_runs))
    assert (found.lower, found.p) == pytest.approx((0.05 ** (1 / n_runs) - 0.5, 0.5**n_runs))


def test_a_perfect_score_upside_down_is_as_sure_of_the_contrary():
    logit, label, run = separated(12)
    found = score(-logit, label, run)
    assert (found.auc.value, found.auc.low, found.auc.high) == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 12)))
    assert above_chance(-logit, label, run).p == 1.0


def test_bounds_of_a_score_and_of_its_negative_mirror_each_other():
    logit, label, run, _ = several(4)
    there, back = score(logit, label, run).auc, score(-logit, label, run).auc
    assert (back.value, back.low, back.high) == pytest.approx((1 - there.value, 1 - there.high, 1 - there.low))
    up, down = above_chance(logit, label, run), above_chance(-logit, label, run)
    assert (down.value, down.lower, down.upper) == pytest.approx((-up.value, -up.upper, -up.lower))


def test_runs_wholly_right_or_wrong_get_clopper_and_pearson():
    n_runs, n_right = 20, 15
    label, run = np.repeat([0, 1], n_runs), np.tile(np.arange(n_runs), 2)
    logit = np.where((run < n_right) == (label == 1), 1.0, -1.0)
    estimate = score(logit, label, run).accuracy
    assert estimate.value == 0.75
    assert estimate.low == pytest.approx(beta.ppf(0.025, n_right, n_runs - n_right + 1))
    assert estimate.high == pytest.approx(beta.ppf(0.975, n_right + 1, n_runs - n_right))


def test_a_collapsed_model_has_an_interval_around_one_half():
    label = np.repeat([0, 1], 13)
    run = np.tile(np.arange(13), 2)
    scores = score(np.zeros(26), label, run)
    assert scores.auc.value == scores.accuracy.value == 0.5
    assert scores.accuracy.low < 0.45
    assert scores.accuracy.high > 0.55
    assert scores.auc.low < 0.5 < scores.auc.high
    assert above_chance(np.zeros(26), label, run).p > 0.3


@pytest.mark.parametrize("distance", [0.36, 1.0, 2.5])
@pytest.mark.parametrize(("shared", "n_liquids", "n_glasses"), [(0.0, 1, 1), (0.7, 1, 1), (0.5, 2, 3)])
def test_intervals_cover_the_truth_with_correlated_configurations(distance, shared, n_liquids, n_glasses):
    rng = np.random.default_rng(3)
    n_sets, covered, widths = 400, np.zeros(2), []
    of_a_run = (n_glasses * norm.cdf(distance / 2) + n_liquids * norm.cdf(distance / 2)) / (n_glasses + n_liquids)
    truth = of_a_run, norm.cdf(distance / np.sqrt(2))
    for _ in range(n_sets):
        drawn = draw_runs(rng, n_runs=15, distance=distance, shared=shared, n_liquids=n_liquids, n_glasses=n_glasses)
        scores = score(*drawn)
        covered += [e.low <= t <= e.high for e, t in zip((scores.accuracy, scores.auc), truth, strict=True)]
        widths.append(scores.auc.high - scores.auc.low)
    assert (covered / n_sets >= 0.915).all()
    assert covered[1] / n_sets < 0.995  # an interval that always covers is too wide
    assert np.mean(widths) < 0.5


def test_copies_of_a_configuration_do_not_narrow_the_interval():
    rng = np.random.default_rng(5)
    logit, label, run = draw_runs(rng, n_runs=15, distance=1.5, shared=0.3)
    once, often = score(logit, label, run), score(*(np.tile(x, 10) for x in (logit, label, run)))
    assert often.n_test == 10 * once.n_test
    for a, b in ((once.accuracy, often.accuracy), (once.auc, often.auc)):
        assert (b.low, b.high) == pytest.approx((a.low, a.high))


def test_configurations_taken_for_runs_would_narrow_it():
    rng = np.random.default_rng(5)
    label, run = np.tile([0, 1], 150), np.repeat(np.arange(15), 20)
    sure = rng.normal(size=15)[run]  # all of a run are as easy, or as hard, as each other
    logit = np.where(label == 1, 1.0, -1.0) * (1 + sure) + 0.1 * rng.normal(size=300)
    right, wrong = score(logit, label, run), score(logit, label, np.arange(300))
    for of_runs, of_all in ((right.auc, wrong.auc), (right.accuracy, wrong.accuracy)):
        assert of_runs.high - of_runs.low > 2 * (of_all.high - of_all.low)


def test_the_same_data_in_another_order_give_the_same_answer():
    logit, label, run, fold = several(6)
    other = several(7)[0]
    order = np.random.default_rng(1).permutation(len(logit))
    names = np.random.default_rng(2).permutation(1000)
    there = compare(logit, other, label, run, fold=fold)
    back = compare(logit[order], other[order], label[order], names[run + 3][order], fold=fold[order])
    for a, b in ((there.auc, back.auc), (there.accuracy, back.accuracy)):
        assert [getattr(a, name) for name in a.__slots__] == pytest.approx([getattr(b, name) for name in b.__slots__])


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
        score(np.array([np.nan, 1.0]), label, run)
    with pytest.raises(ValueError, match="must be finite; 1 of 2"):
        compare(np.array([0.0, 1.0]), np.array([0.0, np.inf]), label, run)
    with pytest.raises(ValueError, match="both classes; got 2 glasses among 2"):
        auc(np.array([0.0, 1.0]), np.array([1, 1]))


def test_the_difference_is_that_of_the_scores_and_turns_with_the_order():
    rng = np.random.default_rng(8)
    one, other, label, run = draw_two(rng, n_runs=30, distances=(2.0, 1.0), alike=0.5)
    there = compare(one, other, label, run, threshold=0.3, other_threshold=-0.2)
    back = compare(other, one, label, run, threshold=-0.2, other_threshold=0.3)
    assert (there.n_test, there.n_runs) == (60, 30)
    assert there.auc.value == pytest.approx(auc(one, label) - auc(other, label))
    right = [accuracy(one, label, threshold=0.3), accuracy(other, label, threshold=-0.2)]
    assert there.accuracy.value == pytest.approx(right[0] - right[1])
    for a, b in ((there.accuracy, back.accuracy), (there.auc, back.auc)):
        assert (a.value, a.low, a.high, a.p) == pytest.approx((-b.value, -b.high, -b.low, 1 - b.p))
        assert (a.lower, a.upper, a.se) == pytest.approx((-b.upper, -b.lower, b.se))


def test_p_is_small_only_for_the_better_one():
    rng = np.random.default_rng(9)
    good, bad, label, run = draw_two(rng, n_runs=40, distances=(2.5, 0.5), alike=0.3)
    assert compare(good, bad, label, run).auc.p < 0.001
    assert compare(bad, good, label, run).auc.p > 0.999
    assert compare(good, bad, label, run).accuracy.p < 0.001
    assert above_chance(good, label, run).p < 0.001
    assert above_chance(-good, label, run).p > 0.999


def test_a_classifier_is_no_better_than_itself_but_few_runs_do_not_prove_it():
    rng = np.random.default_rng(8)
    logit, label, run = draw_runs(rng, n_runs=6, distance=1.0, shared=0.3)
    few = compare(logit, logit, label, run)
    logit, label, run = draw_runs(rng, n_runs=60, distance=1.0, shared=0.3)
    many = compare(logit, logit, label, run)
    for small, large in ((few.accuracy, many.accuracy), (few.auc, many.auc)):
        assert (small.value, small.p) == (large.value, large.p) == (0.0, 0.5)
        assert small.lower < -0.1 < large.lower < 0 < large.upper < 0.1 < small.upper


@pytest.mark.parametrize("alike", [0.0, 0.8])
@pytest.mark.parametrize("distances", [(1.0, 1.0), (2.0, 1.0), (3.0, 0.5)])
def test_intervals_cover_the_true_difference_and_p_is_rarely_small_without_one(distances, alike):
    rng = np.random.default_rng(6)
    n_sets, covered, bounded, found = 400, np.zeros(2), np.zeros(2), np.zeros(2)
    one, other = np.array(distances)
    truth = [norm.cdf(one / scale) - norm.cdf(other / scale) for scale in (2, np.sqrt(2))]
    for _ in range(n_sets):
        two = compare(*draw_two(rng, n_runs=30, distances=distances, alike=alike))
        differences = two.accuracy, two.auc
        covered += [d.low <= t <= d.high for d, t in zip(differences, truth, strict=True)]
        bounded += [t <= d.upper for d, t in zip(differences, truth, strict=True)]
        found += [d.p < 0.05 for d in differences]
    assert (covered / n_sets >= 0.915).all()
    assert (bounded / n_sets >= 0.915).all()  # one-sided 95%, three standard errors allowed
    if one == other:
        assert (found / n_sets <= 0.085).all()
    elif one - other > 2:
        assert (found / n_sets >= 0.95).all()  # thirty runs see a difference of 0.3 in AUC


def test_a_pairing_shows_what_two_intervals_hide():
    rng = np.random.default_rng(6)
    one, other, label, run = draw_two(rng, n_runs=40, distances=(2.0, 1.4), alike=0.95)
    alone = [score(logit, label, run).auc for logit in (one, other)]
    assert alone[0].low < alone[1].high
    assert compare(one, other, label, run).auc.p < 0.01


def test_bounds_of_no_difference_are_no_narrower_than_the_scores_allow():
    """Two classifiers that are all right on six runs may both be wrong on the seventh: no equivalence is claimed."""
    logit, label, run = separated(6)
    found = compare(logit, 2 * logit, label, run)
    assert found.auc.value == 0
    assert found.auc.upper >= 1 - 0.05 ** (1 / 6) - 1e-9
    assert found.auc.lower == pytest.approx(-found.auc.upper)


def test_each_bound_of_a_difference_takes_the_bounds_of_the_scores_that_point_its_way():
    logit, label, run = separated(30)
    other = logit + 2.0 * np.random.default_rng(10).normal(size=60)
    found, one, two = compare(logit, other, label, run).auc, *(above_chance(s, label, run) for s in (logit, other))
    up, down = (
        np.hypot(a.upper - a.value, b.value - b.lower) if above else np.hypot(a.value - a.lower, b.upper - b.value)
        for a, b, above in ((one, two, True), (one, two, False))
    )
    reach = t.ppf(0.95, 29) * found.se
    assert found.upper == pytest.approx(found.value + max(reach, up))
    assert found.lower == pytest.approx(found.value - max(reach, down))
    assert abs(up - down) > 0.005


def test_an_auc_of_folds_is_over_the_pairs_of_each_fold():
    """Two folds that each rank perfectly, on scales so far apart that a pooled ranking is wrong for a quarter."""
    label, run, fold = np.tile([0, 1], 8), np.repeat(np.arange(8), 2), np.repeat([0, 1], 8)
    logit = label + 10.0 * fold
    together, apart = score(logit, label, run), score(logit, label, run, fold=fold)
    assert (together.auc.value, apart.auc.value, apart.auc.high) == (0.75, 1.0, 1.0)
    assert apart.auc.low == pytest.approx(0.025 ** (1 / 8), abs=1e-9)
    assert together.accuracy == apart.accuracy
    with pytest.raises(ValueError, match="every fold holds one class"):
        score(logit, label, run, fold=label)


def test_folds_compare_two_classifiers_too():
    label, run, fold = np.tile([0, 1], 8), np.repeat(np.arange(8), 2), np.repeat([0, 1], 8)
    good, bad = label + 10.0 * fold, -label + 10.0 * fold
    assert compare(good, bad, label, run, fold=fold).auc.value == 1.0
    assert compare(good, bad, label, run).auc.value == 0.5
    assert above_chance(good, label, run, fold=fold).value == 0.5


def test_a_fraction_is_the_accuracy_of_what_holds():
    rng = np.random.default_rng(2)
    logit, label, run = draw_runs(rng, n_runs=12, distance=1.0, shared=0.3)
    assert fraction((logit > 0) == (label == 1), run) == score(logit, label, run).accuracy
    with pytest.raises(ValueError, match="at least one configuration"):
        fraction(np.zeros(0, bool), np.zeros(0, int))


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


def test_a_p_that_is_none_is_refused():
    with pytest.raises(ValueError, match="p must be from 0 to 1"):
        holm(np.array([0.5, np.nan]))


@pytest.mark.parametrize("distance", [0.0, 0.7, 2.0, 50.0])
def test_an_inverted_classifier_is_as_far_below_chance_as_it_was_above(distance):
    logit, label, run = draw_runs(np.random.default_rng(4), n_runs=9, distance=distance, shared=0.2)
    there, back = above_chance(logit, label, run), above_chance(-logit, label, run)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert (back.p, back.p_below) == pytest.approx((there.p_below, there.p))
    if distance == 50.0:
        assert back.p_below == pytest.approx(0.5**9)


def test_halves_of_the_runs_make_as_many_pairs_as_the_smaller_half_has_runs():
    label, run = np.arange(7) % 2, np.arange(7)  # each run has one configuration: four of the one class, three glasses
    found = above_chance(label.astype(float), label, run)
    assert found.p == pytest.approx(0.5**3)
    assert score(label.astype(float), label, run).auc.low == pytest.approx(0.025 ** (1 / 3))
