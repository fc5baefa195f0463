import freud
import numpy as np
import pytest

from test_figures import difference
from vitrify import probes
from vitrify.analyses import probes as analysis
from vitrify.system import Configuration


def _pattern(fold: int, seed: int = 1, n: int = 240) -> Configuration:
    return probes.pattern(fold, n_particles=n, n_B=84, density=1.2, rng=np.random.default_rng(seed))


def _order(configuration: Configuration, fold: int) -> np.ndarray:
    """Return the magnitude of the bond order of every particle over as many nearest neighbours."""
    box = freud.box.Box(*configuration.box.tolist(), is2D=True)
    centred = np.zeros((len(configuration.species), 3), np.float32)
    centred[:, :2] = configuration.positions - configuration.box / 2
    order = freud.order.Hexatic(k=fold).compute((box, centred), neighbors={"num_neighbors": fold})
    return np.abs(order.particle_order)


@pytest.mark.parametrize("fold", probes.FOLDS)
@pytest.mark.parametrize("n", [60, 240, 400, 433])
def test_a_pattern_has_the_particles_the_composition_and_the_density(fold: int, n: int) -> None:
    made = _pattern(fold, n=max(n, 100))
    assert len(made.species) == max(n, 100)
    assert made.species.sum() == 84
    assert (np.diff(made.species) >= 0).all()  # A first
    assert len(made.species) / made.box.prod() == pytest.approx(1.2)
    assert 0.6 < made.box[0] / made.box[1] < 1.7


def test_the_order_is_the_one_promised() -> None:
    assert np.median(_order(_pattern(6, n=400), 6)) > 0.99
    assert np.median(_order(_pattern(3, n=400), 3)) > 0.99
    stars = _order(_pattern(5, n=240), 5)
    assert (stars > 0.99).sum() == 40  # every sixth particle is the middle of a star
    assert np.mean(_order(_pattern(0, n=400), 6)) < 0.5


def test_random_places_keep_their_distance() -> None:
    made = _pattern(0)
    dr = made.positions[:, None] - made.positions
    dr -= made.box * np.round(dr / made.box)
    apart = np.sqrt((dr**2).sum(axis=2)) + 10 * np.eye(len(dr))
    assert apart.min() >= 0.65 / np.sqrt(1.2)


def test_what_cannot_be_made_is_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match=r"fold must be one of \(0, 3, 5, 6\); got 4"):
        probes.pattern(4, n_particles=10, n_B=3, density=1.2, rng=rng)
    with pytest.raises(ValueError, match="n_B must be from 0 to below n_particles = 10; got 10"):
        probes.pattern(6, n_particles=10, n_B=10, density=1.2, rng=rng)


def test_no_noise_changes_nothing_and_swapping_twice_neither() -> None:
    made, rng = _pattern(0), np.random.default_rng(2)
    positions = made.positions[None].astype(np.float32)
    assert probes.noisy(positions, made.box, 0.0, rng=rng) is positions
    moved = probes.noisy(positions, made.box, 0.05, rng=rng)
    dr = moved - positions - made.box * np.round((moved - positions) / made.box)
    assert dr.std() == pytest.approx(0.05, rel=0.1)
    assert (moved >= 0).all()
    assert (moved < made.box).all()
    assert (probes.swapped(probes.swapped(made.species)) == made.species).all()
    assert probes.shuffled(made.species, rng=rng).sum() == made.species.sum()


def test_patches_hold_about_as_many_particles_as_asked_across_the_boundary() -> None:
    made, rng = _pattern(0, n=400), np.random.default_rng(3)
    positions = made.positions.astype(np.float32)
    for n in (20, 100):
        sizes = [len(one) for one in probes.patches(positions, made.box, n, 200, rng=rng)]
        assert np.mean(sizes) == pytest.approx(n, rel=0.05)
    (whole,) = probes.patches(positions, made.box, 1000, 1, rng=rng)
    assert len(whole) == 400


def test_the_section_says_what_was_asked_and_answered() -> None:
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    low = {"value": 0.6, "low": 0.5, "high": 0.7}
    model = {"model": "cnn", "input": "inherent", "k": 9, "T": 0.5, "n_test": 26, "n_runs": 13}
    model |= {
        "told": {"species swapped": {"auc": low, "lost": difference(-0.3, 0.03)}},
        "noise": [
            {"sd": 0.0, "auc": estimate, "lost": None},
            {"sd": 0.1, "auc": estimate, "lost": difference(0.0, 0.01)},
            {"sd": 0.2, "auc": low, "lost": difference(-0.1, 0.1)},
        ],
    }
    model["logits"] = [
        {"name": name, "of": of, "logit": [value - 1.0, value, value + 1.0]}
        for name, of, value in (
            ("liquid", "liquid", -2.0),
            ("glass", "glass", 2.0),
            ("random places", "pattern", -99.0),
        )
    ]
    sizes = [
        {"n_inside": n, "auc": estimate, "accuracy": low, "n_test": 40, "auc_minus_chance": difference(effect)}
        for n, effect in ((20, 0.02), (400, 0.4))
    ]
    task = {"input": "inherent", "k": 9, "T": 0.5, "n_runs": 13, "sizes": sizes}
    pair = {"input": "inherent", "T": [1.0, 0.5], "n_test": 26, "n_runs": 13}
    for word, effect in (("descriptors", 0.4), ("energy", 0.0)):
        pair[word] = {"auc": estimate, "accuracy": low, "auc_minus_chance": difference(effect)}
    analysis._judge([model], [task], [pair], margin=0.05)
    section = analysis.section({"models": [model], "patches": [task], "liquids": [pair]})
    assert "the CNN ranks worse with species swapped" in section.sentences[0]
    assert "the CNN ranks as well, within 0.05, with noise of 0.1 sigma_AA" in section.sentences[0]
    assert "open whether the CNN ranks worse with noise of 0.2 sigma_AA" in section.sentences[0]
    assert "liquid -2.0, glass +2.0" in section.sentences[0]
    assert "random places -99.0" in section.sentences[0]
    assert "Shown for 400; open for 20. The smallest, AUC 0.520" in section.sentences[1]
    for drawing, n_axes in zip(section.drawings, (2, 2), strict=True):
        assert len(drawing.draw(*drawing.values).axes) == n_axes
    row = section.tables[0].rows[0]
    assert row[:3] == ("inherent", "1.000", "0.500")
    assert row[-3:] == ("shown", "26", "13")
