import numpy as np
import pytest

from vitrify.baselines import BASELINES, fit
from vitrify.dataset import Labelled
from vitrify.scores import accuracy, auc


def lattice(*, n_side=12, b=6, rng):
    """Slightly disturbed square lattices with a third of the sites of species B; energies are made up."""
    site = np.stack(np.meshgrid(np.arange(n_side), np.arange(n_side)), axis=-1).reshape(-1, 2)
    positions = site + 0.5 + rng.normal(scale=0.02, size=(b, *site.shape))
    return Labelled(
        positions=positions.astype(np.float32),
        species=(np.arange(len(site)) >= 2 * len(site) // 3).astype(int),
        box=np.array([n_side, n_side], dtype=float),
        label=np.arange(b) % 2,
        run=np.arange(b) // 2,
        e_pot=rng.normal(-3.0, 0.1, b),
        e_is=rng.normal(-3.8, 0.01, b),
    )


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_finite_features_that_ignore_the_labels(name):
    data = lattice(rng=np.random.default_rng(1))
    features = BASELINES[name](data)
    assert features.shape[0] == len(data.label)
    assert np.isfinite(features).all()


def test_energies_are_the_configurations_own():
    data = lattice(rng=np.random.default_rng(2))
    np.testing.assert_array_equal(BASELINES["e_pot"](data)[:, 0], data.e_pot)
    np.testing.assert_array_equal(BASELINES["e_is"](data)[:, 0], data.e_is)


def test_g_r_peaks_at_the_lattice_constant_and_fits_small_boxes():
    data = lattice(rng=np.random.default_rng(3))
    aa = BASELINES["g_r"](data)[:, :80].mean(axis=0)
    assert 0.05 * aa[:30].argmax() == pytest.approx(1.0, abs=0.1)
    assert BASELINES["g_r"](lattice(n_side=6, rng=np.random.default_rng(4))).shape == (6, 240)


def test_fit_recovers_a_planted_direction_whatever_the_units():
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 400)
    x = rng.normal(size=(400, 3)) + np.array([1.5, 0.0, 0.0]) * label[:, None]
    scaled = x * np.array([1e-4, 1.0, 1e4]) - 3.8
    fitted = fit(scaled[:200], label[:200], scaled[200:300], label[200:300])
    assert np.abs(fitted.weights[0]) > 5 * np.abs(fitted.weights[1:]).max()
    assert auc(fitted.logit(scaled[300:]), label[300:]) == pytest.approx(0.856, abs=0.06)  # Phi(1.5 / sqrt 2)


def test_the_validation_runs_choose_the_strength():
    rng = np.random.default_rng(6)
    label = np.arange(60) % 2
    noise, signal = rng.normal(size=(60, 40)), rng.normal(size=(60, 1)) + 8.0 * label[:, None]
    free = fit(signal[:30], label[:30], signal[30:], label[30:])
    held = fit(noise[:30], label[:30], noise[30:], label[30:])
    assert free.strength < held.strength
    assert accuracy(free.logit(signal[30:]), label[30:]) == 1.0


def test_a_constant_feature_is_ignored():
    label = np.arange(20) % 2
    x = np.stack([np.full(20, -3.8), label + 0.0], axis=1)
    fitted = fit(x, label, x, label)
    assert abs(fitted.weights[0]) < 1e-12
    assert accuracy(fitted.logit(x), label) == 1.0


def test_bad_input_is_refused():
    x, label = np.ones((4, 1)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="features_validation must be finite; 4 values"):
        fit(x, label, x * np.nan, label)
    with pytest.raises(ValueError, match="both classes; got only \\[1\\]"):
        fit(x, np.ones(4, int), x, label)
