import numpy as np
import pytest
from validation import transition as planted

from vitrify.branches import MIN_RECORDS, MIN_RUNS, block_draws, smooth_fit
from vitrify.transition import resampled

RAMP = 2.0 - 0.039 * np.arange(1, 51)

FEATURELESS = {
    "straight": 0.05 * RAMP,
    "parabola": 0.05 * RAMP - 0.01 * RAMP**2,
    "liquid alone": -0.03 / (RAMP + 0.2),
}


def runs(rng, mean, *, n_runs=30, scale=0.004):
    """Runs around a mean curve: each is offset, and what it does at one record it half does at the next."""
    noise = rng.normal(scale=scale, size=(n_runs, len(mean)))
    for k in range(1, len(mean)):
        noise[:, k] += 0.6 * noise[:, k - 1]
    return -3.85 + mean + rng.normal(scale=0.01, size=(n_runs, 1)) + noise


def kinked(T_g, *, landscape):
    """A glass line that becomes at T_g a straight liquid, or one that falls as 1 / T."""
    liquid = 0.04 / T_g - 0.04 / RAMP if landscape else 0.1 * (RAMP - T_g)
    return np.where(T_g > RAMP, 0.02 * (RAMP - T_g), liquid)


def fits(curve_of, *, n_seeds):
    """Return the truth and the fit of ensembles of independent seeds."""
    found = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        T_g = rng.uniform(0.35, 0.6)
        energies = runs(rng, curve_of(T_g))
        found.append(
            (T_g, smooth_fit(RAMP, energies.mean(axis=0), resampled(energies, rng=rng, n_bootstrap=200), n_runs=30))
        )
    return found


@pytest.mark.parametrize("n_seeds", [4, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("landscape", [False, True])
def test_a_planted_transition_is_found_and_covered(landscape, n_seeds):
    found = fits(lambda T_g: kinked(T_g, landscape=landscape), n_seeds=n_seeds)
    assert np.mean([fit.low <= T_g <= fit.high for T_g, fit in found]) >= 0.9
    assert np.mean([fit.found for _, fit in found]) >= 0.9
    assert np.mean([fit.T - T_g for T_g, fit in found]) == pytest.approx(0, abs=0.02)
    assert np.median([fit.high - fit.low for _, fit in found]) < 0.2  # of the union of two forms


@pytest.mark.parametrize("n_seeds", [4, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FEATURELESS)
def test_none_is_found_on_a_featureless_curve(name, n_seeds):
    found = fits(lambda _: FEATURELESS[name], n_seeds=n_seeds)
    assert np.mean([not fit.found for _, fit in found]) >= 0.9
    assert all("transition" in fit.verdict for _, fit in found if not fit.found)


def test_an_exact_kink_is_found_where_it_is_in_any_order():
    energy = kinked(0.47, landscape=False)
    order = np.random.default_rng(1).permutation(len(RAMP))
    fit, other = (smooth_fit(T, e, np.random.default_rng(1)) for T, e in ((RAMP, energy), (RAMP[order], energy[order])))
    assert pytest.approx(0.47, abs=2e-3) == fit.T
    assert (other.T, other.found) == (pytest.approx(fit.T), True)
    np.testing.assert_allclose(fit.curve, energy, atol=5e-4)
    np.testing.assert_allclose(other.curve, fit.curve[order], atol=1e-6)


def test_the_width_of_a_smooth_crossover_is_that_of_its_slope():
    width = 0.08
    energy = 0.02 * RAMP + 0.1 * width * np.logaddexp(0, (RAMP - 0.8) / width)
    fit = smooth_fit(RAMP, energy, np.random.default_rng(1))
    slope = np.array([0.1 / (1 + np.exp(-(T - 0.8) / width)) for T in (0.8 - fit.width / 2, 0.8 + fit.width / 2)])
    np.testing.assert_allclose(slope, [0.01, 0.09], atol=1e-3)  # 10% and 90% of the way
    assert pytest.approx(0.8, abs=5e-3) == fit.T


def test_draws_from_residuals_have_their_scatter():
    T, fitted = np.linspace(2, 0.05, 400), np.linspace(1, 0, 400)
    mean = fitted + np.random.default_rng(2).normal(scale=0.1, size=400)
    draws = block_draws(mean, fitted, T=T, rng=np.random.default_rng(1))
    assert (draws - fitted).std() == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(draws, block_draws(mean, fitted, T=T, rng=np.random.default_rng(1)))
    np.testing.assert_allclose(
        block_draws(fitted, fitted, T=T, rng=np.random.default_rng(1)), np.tile(fitted, (len(draws), 1))
    )


def test_draws_keep_the_correlation_of_neighbours():
    T, rng = np.linspace(2, 0.05, 400), np.random.default_rng(3)
    noise = np.convolve(rng.normal(size=409), np.full(10, 0.1), mode="valid")
    draws = block_draws(noise, np.zeros(400), T=T, rng=np.random.default_rng(1))
    rho = np.mean(draws[:, 1:] * draws[:, :-1]) / np.mean(draws**2)
    assert rho == pytest.approx(0.9, abs=0.06)


def test_too_few_or_impossible_temperatures_are_refused():
    few = np.linspace(0.1, 1.0, MIN_RECORDS - 1)
    with pytest.raises(ValueError, match=f"at least {MIN_RECORDS} records, all above 0; got {MIN_RECORDS - 1}"):
        smooth_fit(few, few, np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"the lowest at -0\.100"):
        smooth_fit(np.linspace(-0.1, 1, 30), np.zeros(30), np.random.default_rng(1))


MUST = [name for name, one in planted.PLANTED.items() if one.must is not None]


@pytest.mark.parametrize("n_ensembles", [4, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MUST)
def test_planted_ensembles_with_the_scatter_of_the_quick_start(name, n_ensembles):
    runs, mean = planted.judge(name, n_ensembles=n_ensembles, seed=1)
    assert planted.reached(name, runs), runs
    assert planted.reached(name, mean), mean
    if planted.PLANTED[name].must:
        assert runs.covers_Tg >= 0.9
    if planted.PLANTED[name].width == 0.286:
        assert runs.width == pytest.approx(0.286, abs=0.05)


def test_the_planted_scatter_is_that_of_cold_runs_that_remember():
    energies = planted.ensemble(np.random.default_rng(1), np.zeros(200), n_runs=4000)
    assert energies.std(axis=0)[[0, -1]] == pytest.approx([0.0095, 0.019], rel=0.05)
    near = [np.corrcoef(energies[:, k], energies[:, k + 1])[0, 1] for k in (1, 195)]
    assert near == pytest.approx([0.9995, 0.08], abs=0.05)


def test_a_wide_crossover_is_told_with_its_width_and_the_limit_decides():
    energy = 0.02 * RAMP + 0.1 * 0.2 * np.logaddexp(0, (RAMP - 0.7) / 0.2)  # 0.879 wide
    energy += np.random.default_rng(3).normal(scale=1e-4, size=len(RAMP))
    narrow, wide = (smooth_fit(RAMP, energy, np.random.default_rng(1), limit=limit) for limit in (0.7, 1.2))
    assert (narrow.found, wide.found) == (False, True)
    assert narrow.width == pytest.approx(0.879, abs=0.05)
    assert narrow.width_low <= narrow.width <= narrow.width_high
    assert narrow.verdict.startswith(f"crossover, no transition: width {narrow.width:.3f} [")
    assert "limit of 0.7" in narrow.verdict


def test_a_slope_that_falls_is_no_glass_transition():
    energy = 0.1 * RAMP - 0.08 * np.maximum(RAMP - 0.6, 0)
    energy += np.random.default_rng(3).normal(scale=1e-4, size=len(RAMP))
    fit = smooth_fit(RAMP, energy, np.random.default_rng(1), n_planted=0)
    assert (fit.found, fit.share) == (False, 1.0)
    assert "does not exceed that below" in fit.verdict


def test_few_runs_cannot_tell():
    rng = np.random.default_rng(4)
    energies = runs(rng, kinked(0.5, landscape=False), n_runs=MIN_RUNS - 1)
    fit = smooth_fit(RAMP, energies.mean(axis=0), resampled(energies, rng=rng, n_bootstrap=100), n_runs=MIN_RUNS - 1)
    assert fit.found is None
    assert fit.verdict.startswith(f"{MIN_RUNS - 1} runs cannot tell")


def test_a_kink_of_the_size_that_would_have_been_found_is_found():
    rng = np.random.default_rng(6)

    def fit(bend, *, n_planted=0):
        energies = runs(rng, 0.05 * RAMP + bend * np.maximum(RAMP - 0.8, 0), scale=0.008)
        draws = resampled(energies, rng=rng, n_bootstrap=100)
        return smooth_fit(RAMP, energies.mean(axis=0), draws, n_runs=30, n_planted=n_planted)

    smallest = fit(0.0, n_planted=20).detectable
    assert sum(fit(1.5 * smallest).found for _ in range(10)) >= 7
    assert sum(fit(smallest / 3).found for _ in range(10)) <= 4


def test_many_records_are_fitted_as_their_means_and_drawn_as_they_are():
    T = np.linspace(0.05, 2.0, 1501)
    energy = 0.02 * T + 0.1 * np.maximum(T - 0.47, 0) + np.random.default_rng(1).normal(scale=1e-3, size=len(T))
    fit = smooth_fit(T, energy, np.random.default_rng(1), n_planted=0)
    assert fit.found
    assert pytest.approx(0.47, abs=0.02) == fit.T
    assert fit.curve.shape == T.shape
    assert np.abs(fit.curve - energy).mean() < 1.2e-3
