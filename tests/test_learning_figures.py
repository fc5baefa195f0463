import io

import numpy as np
import pytest
from PIL import Image

from vitrify import learning_figures
from vitrify.schedules import OneCycle
from vitrify.training import COLUMNS
from vitrify.views import Descriptors


def history(*, n=30, n_steps=600, samples_per_step=16, best=1.0):
    """A training that reaches 90% and 99% at known epochs, of 35 steps each."""
    step = np.linspace(n_steps / n, n_steps, n)
    accuracy = np.minimum(best, 0.5 + step / n_steps)
    columns = {
        "step": step,
        "epoch": step / 35,
        "samples": samples_per_step * step,
        "train_loss": 0.7 * np.exp(-step / 150),
        "train_accuracy": accuracy,
        "validation_loss": 0.7 * np.exp(-step / 180) + 0.02,
        "validation_accuracy": accuracy,
        "learning_rate": np.array([1e-2 * OneCycle().value(int(i) - 1, n_steps, None) for i in step]),
        "penalty": 0 * step,
        "seconds": 0.05 * step,
    }
    assert tuple(columns) == COLUMNS
    return {name: column.tolist() for name, column in columns.items()}


def texts(figure):
    found = [text.get_text() for text in figure.texts]
    for ax in figure.axes:
        found += [ax.get_xlabel(), ax.get_ylabel(), *(child.get_xlabel() for child in ax.child_axes)]
    return " ".join(" ".join(found).split())


def test_the_caption_says_what_the_training_took():
    entry = {"history": history(), "caption": "CNN, batch size 16."}
    drawn = texts(learning_figures.training_curves(entry))
    assert "9,600 samples seen, 17.1 epochs, 30 s of wall time" in drawn
    assert "validation accuracy of 90% after 6.86 epochs and of 99% after 8.57 epochs. CNN, batch size 16." in drawn
    never = learning_figures.training_curves({"history": history(best=0.95), "caption": ""})
    assert "90% after 6.86 epochs and of 99% not reached" in texts(never)


def test_four_panels_and_the_learning_rate_are_drawn_against_epochs():
    entry = {"history": history(), "caption": ""}
    figure = learning_figures.training_curves(entry)
    drawn = {ax.get_ylabel(): ax for ax in figure.axes if ax.lines}
    names = {"training loss": "train_loss", "validation loss": "validation_loss", "learning rate": "learning_rate"}
    names |= {"training accuracy": "train_accuracy", "validation accuracy": "validation_accuracy"}
    assert set(drawn) == set(names)
    for label, key in names.items():
        x, y = drawn[label].lines[0].get_data()
        np.testing.assert_array_equal(x, entry["history"]["epoch"])
        np.testing.assert_array_equal(y, entry["history"][key])
        low, high = drawn[label].get_ylim()
        assert low <= min(y) < max(y) <= high
    assert "iterations of 10 batches" in texts(figure)
    (upper,) = drawn["training loss"].child_axes
    figure.draw_without_rendering()
    assert upper.get_xlim()[1] == pytest.approx(1.02 * 600 / 10)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_it_is_a_picture_with_ink_and_without_overlap(n):
    figure = learning_figures.training_curves({"history": history(n=n), "caption": "words " * 60})
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    pixels = np.asarray(Image.open(buffer).convert("L"))
    assert 0.005 < (pixels < 200).mean() < 0.3
    lowest = min(ax.get_tightbbox().y0 for ax in figure.axes)
    assert max(text.get_window_extent().y1 for text in figure.texts) < lowest


def test_weights_are_drawn_in_panels_of_what_sees_what():
    view = Descriptors(n_radial=3, n_orders=2)
    n = len(view.pooled_names)
    neurons = np.random.default_rng(1).normal(size=(2, n))
    weights = {"inputs": list(view.pooled_names), "neurons": neurons.tolist(), "own": [2.0, -1.0]}
    figure = learning_figures.weights_figure({"weights": weights, "caption": "two neurons"})
    drawn = {ax.get_title("left"): ax for ax in figure.axes if ax.get_title("left")}
    assert list(drawn) == ["A sees A", "A sees B", "B sees A", "B sees B", "around A", "around B"]
    _, first, second = drawn["B sees A"].lines
    place = view.pooled_names.index("BA at 0.700")
    np.testing.assert_allclose(first.get_data()[0], [0.7, 1.45, 2.2])
    np.testing.assert_allclose(first.get_data()[1], 2 * neurons[0, place : place + 3])
    np.testing.assert_allclose(second.get_data()[1], -neurons[1, place : place + 3])
    assert "two neurons" in texts(figure)
