from pathlib import Path

import numpy as np
import pytest

from vitrify.transition import (
    CONVENTIONS,
    FINAL_ENERGIES,
    NO_CROSSING,
    REFERENCE,
    Convention,
    compare,
    covers,
    mean_curve,
    tg,
    two_lines,
)

AV_COOLING = Path(__file__).parents[2] / "shared" / "reference" / "av_cooling.dat"
RAMP = 2.0 - 0.00975 * np.arange(1, 201)

# The conventions in use, the rows whose four points are listed: temperatures, energies, Tg
FOUR_POINTS = {
    "log": ((0.05, 0.245, 0.44, 0.557), (-3.9033, -3.902, -3.8876, -3.8654), 0.3684),
    "2e5": ((0.05, 0.20015, 0.50045, 0.800875), (-3.8661988, -3.8650489, -3.8519820, -3.8215947), 0.3853),
    "2e6": ((0.05, 0.20015, 0.50045, 0.800875), (-3.8882879, -3.8872469, -3.8687891, -3.8275676), 0.3748),
    "2e7": ((0.05, 0.206, 0.50825, 0.800875), (-3.9029154, -3.9020493, -3.8745078, -3.8276366), 0.3410),
    "2e8": ((0.05, 0.20015, 0.50045, 0.80075), (-3.9143312, -3.9136962, -3.8774125, -3.8261329), 0.2902),
}
# The conventions in use, the rows computed from the published mean curve
PUBLISHED = {
    "four points 0.05, 0.2 | 0.5, 0.8": 0.3445,
    "least squares 0.05-0.25 | 0.44-0.56": 0.3696,
    "least squares 0.05-0.25 | 0.5-0.8": 0.3320,
}


def planted(rng, *, T_g=0.4, n_runs=40, glass=0.02, liquid=0.1, scale=0.004):
    """Runs of two straight branches meeting at T_g, offset from each other and rough, as inherent structures are."""
    kink = np.where(T_g > RAMP, glass * (RAMP - T_g), liquid * (RAMP - T_g))
    return -3.85 + kink + rng.normal(scale=0.01, size=(n_runs, 1)) + rng.normal(scale=scale, size=(n_runs, len(RAMP)))


@pytest.mark.parametrize("row", FOUR_POINTS)
def test_four_listed_points_give_the_listed_tg(row):
    T, energy, expected = FOUR_POINTS[row]
    convention = Convention(glass=T[:2], liquid=T[2:], how="four points", source="listed")
    assert two_lines(np.array(T), np.array(energy), convention) == pytest.approx(expected, abs=5e-4)


@pytest.mark.skipif(not AV_COOLING.exists(), reason=f"the published curve is not at {AV_COOLING}")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_curve_gives_the_listed_tg(name):
    T, energy = np.loadtxt(AV_COOLING).T
    assert two_lines(T, energy, CONVENTIONS[name]) == pytest.approx(PUBLISHED[name], abs=5e-4)


@pytest.mark.skipif(not AV_COOLING.exists(), reason=f"the published curve is not at {AV_COOLING}")
def test_reference_rows_are_those_of_the_published_curve():
    T, energy = np.loadtxt(AV_COOLING).T
    listed = REFERENCE["published"]
    np.testing.assert_allclose(np.interp(listed.T, T[::-1], energy[::-1]), listed.energy, atol=1e-6)
    assert FINAL_ENERGIES[20_000_000] == pytest.approx(energy[-1], abs=1e-6)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_planted_transition_is_recovered(name):
    rng = np.random.default_rng(1)
    truth, n_sets = 0.4, 25
    found = [
        tg(RAMP, planted(rng, T_g=truth, scale=0.002), CONVENTIONS[name], name=name, rng=rng, n_bootstrap=200)
        for _ in range(n_sets)
    ]
    assert all(entry.low <= entry.T <= entry.high for entry in found)
    assert not any(entry.verdict.startswith(NO_CROSSING) for entry in found)
    assert np.mean([entry.low <= truth <= entry.high for entry in found]) >= 0.84
    assert np.median([entry.T for entry in found]) == pytest.approx(truth, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVENTIONS)
def test_intervals_and_verdicts_hold_on_many_ensembles(name):
    covered, found, none = [], [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        bent = tg(RAMP, planted(rng, scale=0.002), CONVENTIONS[name], name=name, rng=rng, n_bootstrap=400)
        straight = planted(rng, glass=0.05, liquid=0.05, scale=0.002)
        even = tg(RAMP, straight, CONVENTIONS[name], name=name, rng=rng, n_bootstrap=400)
        covered.append(bent.low <= 0.4 <= bent.high)
        found.append(not bent.verdict.startswith(NO_CROSSING))
        none.append(even.verdict.startswith(NO_CROSSING))
    assert np.mean(covered) >= 0.9
    assert np.mean(found) >= 0.95
    assert np.mean(none) >= 0.9


def test_a_constant_moves_no_transition():
    curve = planted(np.random.default_rng(2)).mean(axis=0)
    for convention in CONVENTIONS.values():
        assert two_lines(RAMP, curve + 0.172, convention) == pytest.approx(two_lines(RAMP, curve, convention), abs=1e-6)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_straight_curve_has_no_crossing(name):
    rng = np.random.default_rng(7)
    entries = [
        tg(RAMP, planted(rng, glass=0.05, liquid=0.05), CONVENTIONS[name], name=name, rng=rng, n_bootstrap=200)
        for _ in range(20)
    ]
    none = [entry.verdict.startswith(NO_CROSSING) for entry in entries]
    assert np.mean(none) >= 0.85
    assert all(RAMP.min() <= bound <= RAMP.max() for entry in entries for bound in (entry.T, entry.low, entry.high))


def test_an_exactly_straight_curve_has_no_crossing_and_finite_numbers():
    straight = np.tile(0.05 * RAMP, (5, 1))
    convention = CONVENTIONS["least squares 0.05-0.25 | 0.5-0.8"]
    entry = tg(RAMP, straight, convention, name="x", rng=np.random.default_rng(1), n_bootstrap=50)
    assert entry.verdict.startswith(NO_CROSSING)
    assert np.isfinite([entry.T, entry.low, entry.high]).all()


def test_lines_meeting_outside_the_gap_support_no_crossing():
    rng = np.random.default_rng(4)
    convention = Convention(glass=(0.05, 0.25), liquid=(0.8, 1.2), how="least squares", source="test")
    jump = np.where(RAMP < 0.5, 0.02 * RAMP, 0.02 * RAMP + 0.1 + 0.05 * (RAMP - 0.8))
    entry = tg(RAMP, jump + rng.normal(scale=1e-4, size=(10, 200)), convention, name="jump", rng=rng, n_bootstrap=100)
    assert entry.verdict.startswith(f"{NO_CROSSING}: the lines meet at T = -1.2")


def test_a_smooth_bend_is_not_excluded_but_a_kink_excludes_it():
    rng = np.random.default_rng(5)
    name = "broken line 0.05-1.0"
    bend = 0.05 * RAMP**2 + rng.normal(scale=0.004, size=(40, 200))
    smooth = tg(RAMP, bend, CONVENTIONS[name], name=name, rng=rng, n_bootstrap=200)
    sharp = tg(RAMP, planted(rng), CONVENTIONS[name], name=name, rng=rng, n_bootstrap=200)
    assert "a smooth crossover is not excluded" in smooth.verdict
    assert sharp.verdict.endswith("and beat one parabola in 100% of the resamples")


def test_four_points_never_claim_to_exclude_a_bend():
    name = "four points 0.05, 0.2 | 0.5, 0.8"
    rng = np.random.default_rng(6)
    assert "four points cannot tell" in tg(RAMP, planted(rng), CONVENTIONS[name], name=name, rng=rng).verdict


def test_mean_curve_has_the_standard_error_of_the_runs():
    energies = np.random.default_rng(8).normal(scale=0.5, size=(400, 3))
    mean, se = mean_curve(energies)
    np.testing.assert_allclose(mean, energies.mean(axis=0))
    np.testing.assert_allclose(se, 0.025, rtol=0.15)
    with pytest.raises(ValueError, match="at least 2 runs"):
        mean_curve(energies[:1])


def test_too_few_records_are_refused():
    T = np.linspace(2.0, 0.05, 10)
    with pytest.raises(ValueError, match=r"at least 2 records from 0\.05 to 0\.25; of 10 records"):
        two_lines(T, T, CONVENTIONS["least squares 0.05-0.25 | 0.5-0.8"])


def test_distance_from_the_line_of_true_minima_has_sign_and_size():
    line = REFERENCE["true_minima"]
    curve = np.interp(RAMP, line.T[::-1], line.energy[::-1]) + 0.003
    curve[RAMP < 0.8] += 1.0  # colder records depend on the cooling rate and are not compared
    curve[RAMP > 1.951] -= 1.0  # the line ends there
    error = np.full(len(RAMP), 0.0024)
    difference = compare(RAMP, curve, error, line)
    assert min(difference.T) >= 0.8
    assert max(difference.T) <= 1.951
    assert len(difference.value) == ((RAMP >= 0.8) & (RAMP <= 1.951)).sum()
    assert difference.mean == pytest.approx(0.003)
    assert difference.max_abs == pytest.approx(0.003)
    assert difference.max_standard_errors == pytest.approx(0.003 / 0.003)  # ours 0.0024, the line's 0.0018
    assert compare(RAMP, curve - 0.006, error, line).mean == pytest.approx(-0.003)
    with pytest.raises(ValueError, match=r"record from 0.8 to 1.951"):
        compare(np.array([0.1, 0.2]), np.zeros(2), np.ones(2), line)


def test_the_published_curve_lies_above_the_true_minima_where_the_rate_does_not_matter():
    published = REFERENCE["published"]
    T, energy = np.array(published.T), np.array(published.energy)
    assert compare(T, energy, np.full(len(T), 0.001), REFERENCE["true_minima"]).mean > 0


def test_a_convention_is_covered_by_ramps_with_records_in_its_windows():
    for convention in CONVENTIONS.values():
        assert covers(RAMP, convention)
        assert not covers(RAMP[RAMP > 0.3], convention)
        assert not covers(RAMP[RAMP < 0.4], convention)
        assert not covers(RAMP[::60], convention)
