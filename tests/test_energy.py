"""What a score sees beside the energy: planted truths, copies of the energy, and invariances."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm, t
from sklearn.linear_model import LogisticRegression

from vitrify import claims, energy
from vitrify.analyses import energy as analysis
from vitrify.scores import auc, compare
from vitrify.settings import quickstart


def _ensemble(seed: int, n_runs: int = 75) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Return energies apart by 1.5 standard deviations, labels, and runs that hold one configuration of each class."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n_runs)
    return rng.normal(size=2 * n_runs) - 1.5 * label, label, np.tile(np.arange(n_runs), 2), rng


def _draw(
    rng: np.random.Generator,
    n_runs: int,
    *,
    apart: float,
    beyond: float = 0.0,
    n_liquids: int = 1,
    n_glasses: int = 1,
    shared: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what is beside the energy, the energy (larger for glass), labels and runs."""
    label = np.tile(np.repeat([0, 1], [n_liquids, n_glasses]), n_runs)
    run = np.repeat(np.arange(n_runs), n_liquids + n_glasses)

    def noise() -> np.ndarray:
        return np.sqrt(shared) * rng.normal(size=n_runs)[run] + np.sqrt(1 - shared) * rng.normal(size=len(run))

    return noise() + beyond * label, noise() + apart * label, label, run


def _rate(n_sets: int, seed: int, p_of: object) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([p_of(rng) < 0.05 for _ in range(n_sets)]))  # type: ignore[operator]


def test_pairs_are_close_and_as_many_as_there_can_be() -> None:
    e, label, _, _ = _ensemble(1)
    found = energy.match(e, label)
    assert found.keep.sum() == 2 * found.n_pairs
    assert label[found.keep].sum() == found.n_pairs
    assert abs(found.before.mean_difference) > 1
    assert found.after is not None
    assert abs(found.after.mean_difference) < 0.1
    assert found.after.ks < 0.25 < found.before.ks
    assert energy.match(e + 100.0 * label, label).n_pairs == 0
    same = np.tile(np.linspace(0, 1, 9), 2)
    assert energy.match(same, np.repeat([0, 1], 9)).n_pairs == 9


def test_the_balance_is_glass_minus_liquid() -> None:
    e, label, _, _ = _ensemble(1)
    assert energy.match(e, label).before.mean_difference == pytest.approx(-1.5, abs=0.4)


def test_what_cannot_be_matched_or_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="energy must be finite; 1 of 2 are not"):
        energy.match(np.array([0.0, np.nan]), np.array([0, 1]))
    with pytest.raises(ValueError, match="label must hold both classes; got 0 glasses and 2 liquids"):
        energy.match(np.zeros(2), np.array([0, 0]))
    with pytest.raises(ValueError, match="must be finite"):
        energy.adds(np.full(6, np.nan), np.ones(6), np.tile([0, 1], 3), np.repeat(np.arange(3), 2))


def test_nothing_is_known_of_two_runs_nor_of_a_function_of_energy_and_class() -> None:
    two = energy.adds(np.arange(4.0), np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    label, run = np.repeat([0, 1], 40), np.tile(np.arange(40), 2)
    e = np.random.default_rng(1).normal(size=80) - label
    for found in (two, energy.adds(label.astype(float), e, label, run), energy.adds(np.ones(80), e, label, run)):
        assert (found.value, found.p, found.p_below) == (0.0, 0.5, 0.5)
        assert (found.low, found.high, found.lower, found.upper) == (-0.5, 0.5, -0.5, 0.5)


@pytest.mark.parametrize("n_runs", [6, 16])
def test_the_interval_leaves_out_zero_where_p_is_small_and_a_near_copy_is_not_called_absent(n_runs: int) -> None:
    rng, label, run = np.random.default_rng(n_runs), np.repeat([0, 1], n_runs), np.tile(np.arange(n_runs), 2)
    for apart in (0.0, 1.0, 2.0):
        for _ in range(40):
            e, other = rng.normal(size=(2, 2 * n_runs)) + np.array([[-apart], [1.2]]) * label
            found = energy.adds(other - e, e, label, run)
            assert (found.low > 0) == (found.p < 0.025)
            assert found.lower <= found.low + 1e-9 or found.lower <= found.value
            assert energy.adds(0.05 * other - e, e, label, run).upper > 0.05  # too few runs for an absence


def test_at_equal_energy_the_effect_is_the_auc_minus_one_half() -> None:
    s, e, label, run = _draw(np.random.default_rng(1), 2000, apart=0.0, beyond=0.4)
    found = energy.adds(s, e, label, run)
    assert found.value == pytest.approx(float(ndtr(0.4 / np.sqrt(2))) - 0.5, abs=0.02)
    assert found.value == pytest.approx(auc(s, label) - 0.5, abs=0.005)
    assert found.low < found.lower < found.value < found.upper < found.high


def test_beside_a_telling_energy_the_effect_is_that_of_what_is_beside_it() -> None:
    s, e, label, run = _draw(np.random.default_rng(2), 2000, apart=1.9, beyond=0.4)
    found = energy.adds(1.9 * e + 0.4 * s, e, label, run)
    assert found.value == pytest.approx(float(ndtr(0.4 / np.sqrt(2))) - 0.5, abs=0.03)


def test_the_fit_is_that_of_a_plain_logistic_regression_of_many_runs() -> None:
    """Firth's penalty is nothing among 4000 configurations, and scores that are binormal are mapped to themselves."""
    s, e, label, run = _draw(np.random.default_rng(3), 2000, apart=1.0, beyond=0.5)
    found = energy.adds(s, e, label, run)
    x = np.stack([e, e**2, s], axis=1)
    full, null = (
        LogisticRegression(C=1e6, tol=1e-8, max_iter=500).fit(part, label).predict_log_proba(part)
        for part in (x, x[:, :2])
    )
    rows = np.arange(len(label))
    root = np.sqrt(2 * (full[rows, label].sum() - null[rows, label].sum()))
    assert t.isf(found.p, 1999) == pytest.approx(root, rel=0.05)


def test_the_sign_of_the_energy_is_nothing_and_that_of_the_score_everything() -> None:
    s, e, label, run = _draw(np.random.default_rng(4), 60, apart=1.0, beyond=1.0)
    there, mirrored, back = (energy.adds(one, other, label, run) for one, other in ((s, e), (s, -e), (-s, e)))
    assert list(asdict(mirrored).values()) == pytest.approx(list(asdict(there).values()), abs=1e-6)
    assert (back.value, back.low, back.upper) == pytest.approx((-there.value, -there.high, -there.lower), abs=1e-6)
    assert there.p < 0.01
    assert back.p == pytest.approx(1 - there.p, abs=1e-6)


def test_only_ranks_count_and_no_order() -> None:
    s, e, label, run = _draw(np.random.default_rng(5), 40, apart=1.0, beyond=0.5)
    there = energy.adds(s, e, label, run)
    bent = energy.adds(np.tanh(s / 3), e**3, label, run)
    order = np.random.default_rng(6).permutation(len(label))
    again = energy.adds(s[order], e[order], label[order], (100 - run)[order])
    for other in (bent, again):
        assert list(asdict(other).values()) == pytest.approx(list(asdict(there).values()), abs=1e-9)


def test_power_at_equal_energy_and_type_one() -> None:
    def p_of(beyond: float) -> object:
        def p(rng: np.random.Generator) -> float:
            return energy.adds(*_draw(rng, 75, apart=0.0, beyond=beyond)).p

        return p

    assert _rate(400, 7, p_of(0.4)) >= 0.68
    assert 0.02 <= _rate(400, 8, p_of(0.0)) <= 0.085


@pytest.mark.parametrize("kind", ["noisy", "bent", "best"])
@pytest.mark.parametrize(("n_runs", "n_liquids", "n_glasses"), [(16, 1, 1), (75, 1, 1), (25, 2, 3)])
def test_a_copy_of_the_energy_adds_nothing(kind: str, n_runs: int, n_liquids: int, n_glasses: int) -> None:
    def p(rng: np.random.Generator) -> float:
        shared = 0.5 if n_liquids > 1 else 0.0
        shape = {"n_liquids": n_liquids, "n_glasses": n_glasses, "shared": shared}
        noise, e, label, run = _draw(rng, n_runs, apart=0.0, **shape)  # type: ignore[arg-type]
        width = 0.5 if kind == "best" else 1.0
        e = np.where(label == 1, width, 1.0) * e + 1.9 * label
        copy = {"noisy": e, "bent": 3 * np.tanh(e - 0.95), "best": e**2 - ((e - 1.9) / width) ** 2}[kind]
        return energy.adds(copy + 0.4 * noise, e, label, run).p

    assert _rate(200, 9, p) <= 0.07 + 3 * np.sqrt(0.07 * 0.93 / 200)


def test_what_a_run_has_in_common_is_not_counted_for_each_of_its_configurations() -> None:
    """All glasses of a run lean one way together: taken for runs of their own they would be called more too often."""

    def p_of(right: bool) -> object:  # noqa: FBT001
        def p(rng: np.random.Generator) -> float:
            label, run = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 25), np.repeat(np.arange(25), 8)
            lean = rng.normal(size=(25, 2))[run, label]
            s = lean + 0.3 * rng.normal(size=200)
            return energy.adds(s, rng.normal(size=200), label, run if right else np.arange(200)).p

        return p

    assert _rate(200, 10, p_of(True)) <= 0.07 + 3 * np.sqrt(0.07 * 0.93 / 200)
    assert _rate(200, 10, p_of(False)) > 0.15


def test_scores_of_folds_count_by_their_rank_within_the_fold() -> None:
    s, e, label, run = _draw(np.random.default_rng(11), 80, apart=0.5, beyond=1.0)
    fold = run % 2
    shifted = s + 100.0 * fold
    pooled, apart, whole = (
        energy.adds(one, e, label, run, fold=dealt) for one, dealt in ((shifted, None), (shifted, fold), (s, None))
    )
    assert apart.value == pytest.approx(whole.value, abs=0.03)
    assert apart.value > pooled.value + 0.05


def test_ties_are_no_harm() -> None:
    s, e, label, run = _draw(np.random.default_rng(12), 75, apart=1.0, beyond=1.0)
    fine, coarse, none = (energy.adds(one, e, label, run) for one in (s, np.round(s), np.zeros(len(s))))
    assert coarse.value == pytest.approx(fine.value, abs=0.06)
    assert none.value == pytest.approx(0, abs=1e-6)
    assert none.p == pytest.approx(0.5, abs=1e-6)


def test_the_energy_adds_to_a_logit_that_ignores_it() -> None:
    e, label, run, rng = _ensemble(3)
    logit = 1.5 * label + rng.normal(size=len(e))
    assert energy.adds(-e, logit, label, run).lower > 0.1


def test_the_question_becomes_a_claim() -> None:
    s, e, label, run = _draw(np.random.default_rng(13), 75, apart=0.0, beyond=1.0)
    asked = energy.asked(energy.adds(s, e, label, run), who="the CNN", where="Here", n_runs=75, margin=0.05)
    (claim,) = claims.judge("primary", [asked])
    assert claim.answer == "shown"
    assert claim.sentence.startswith("Here: the CNN sees more than the energy (AUC at equal energy 0.7")
    noise = energy.asked(energy.adds(-s, e, label, run), who="the CNN", where="Here", n_runs=75, margin=0.05)
    assert claims.judge("primary", [noise])[0].answer == "absent"


@pytest.mark.parametrize(("n_runs", "limit"), [(16, 0.84), (75, 0.985)])
def test_saturation_is_where_a_perfect_network_is_shown_in_four_of_five(n_runs: int, limit: float) -> None:
    found = energy.saturation(n_runs)
    assert found == pytest.approx(limit, abs=0.008)
    rng = np.random.default_rng(14)
    label, run = np.repeat([0, 1], n_runs), np.tile(np.arange(n_runs), 2)

    def power(area: float) -> float:
        shown = []
        for _ in range(300):
            e = rng.normal(size=2 * n_runs) + np.sqrt(2) * norm.ppf(area) * label
            shown.append(compare(label.astype(float), e, label, run).auc.p < 0.05)
        return float(np.mean(shown))

    assert power(found) == pytest.approx(0.8, abs=0.09)
    assert power(1 - 3 * (1 - found) / 2) > 0.88
    assert power(1 - (1 - found) / 2) < 0.72


def test_saturation_grows_with_the_runs_and_is_always_the_same() -> None:
    assert energy.saturation(16) < energy.saturation(40) < energy.saturation(150)
    energy.saturation.cache_clear()
    before = energy.saturation(40)
    energy.saturation.cache_clear()
    assert energy.saturation(40) == before


def test_correlation_is_within_the_class() -> None:
    e, label, run, rng = _ensemble(4)
    glass = label == 1
    logit = -3 * e[glass]
    found = energy.correlation(logit, e[glass], run[glass], rng=rng)
    assert found is not None
    assert found.pearson.value == pytest.approx(-1)
    assert found.spearman.high == pytest.approx(-1)
    hold = 0
    for _ in range(40):
        unrelated = energy.correlation(rng.normal(size=75), e[glass], run[glass], rng=rng)
        assert unrelated is not None
        hold += unrelated.pearson.low < 0 < unrelated.pearson.high
    assert hold >= 34  # of 38 on average
    assert energy.correlation(np.zeros(75), e[glass], run[glass], rng=rng) is None


def _task(seed: int, adds: str) -> dict:
    """Return a task as the analysis keeps it, from energies and one network's logit."""
    e, label, run, rng = _ensemble(seed)
    logit = (1.5 * label + rng.normal(size=len(e)) - e) if adds == "more" else -2 * e + 0.1 * rng.normal(size=len(e))
    part = {"label": label.tolist(), "run": run.tolist()}

    def outcome(model: str, values: np.ndarray, settings: dict | None) -> dict:
        both = {which: part | {"logit": values.tolist()} for which in ("validation", "test")}
        return {"model": model, "settings": settings, "scored": [{"test_k": 7} | both]}

    group = [outcome("cnn", logit, {}), outcome("e_is", -e, None)]
    energies = {(r, y): value for r, y, value in zip(run.tolist(), label.tolist(), e.tolist(), strict=True)}
    return analysis._task(quickstart(), "inherent", 7, 0.5, group, energies)


@pytest.mark.parametrize(("adds", "shown"), [("more", True), ("only", False)])
def test_the_analysis_asks_what_the_network_adds_to_the_energy(adds: str, shown: bool) -> None:  # noqa: FBT001
    task = _task(5, adds)
    (model,) = task["models"]
    assert model["model"] == "cnn"
    assert (model["adds"]["p"] < 0.001) is shown
    assert (model["auc_minus_energy"]["p"] < 0.05) is shown
    e, label = np.array(task["energy"]), np.array(task["label"])
    assert e[label == 1].mean() < e[label == 0].mean()  # the glass lies lower
    assert task["baseline"]["auc"]["value"] == pytest.approx(auc(-e, label))
    assert model["auc"]["value"] == pytest.approx(auc(np.array(model["logit"]), label))
    by_hand = energy.adds(np.array(model["logit"]), e, label, np.array(task["run"]))
    assert model["adds"]["value"] == pytest.approx(by_hand.value, abs=1e-6)
    assert task["n_runs"] == 75
    table = analysis._table(task)
    assert table.title.startswith("Inherent structures, liquid at T = 0.500: 150 test configurations of 75 runs")
    assert [row[0] for row in table.rows] == ["e_IS alone", "CNN"]
    assert "energy_adds" in model
