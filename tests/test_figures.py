import copy
import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from vitrify import figures, views
from vitrify.baselines import BASELINES
from vitrify.transition import CONVENTIONS, REFERENCE

KS = (5, 60, 100, 140, 160)
T = 2.0 - 0.00975 * np.arange(1, 201)


def estimate(value, width=0.1):
    return {"value": value, "low": max(0.0, value - width), "high": min(1.0, value + width)}


def difference(value, se=0.05):
    """A difference of twelve degrees of freedom, as ``dataclasses.asdict`` gives it."""
    single, both = stats.t.ppf([0.95, 0.975], 12) * se
    ends = {"low": value - both, "high": value + both, "lower": value - single, "upper": value + single}
    p = float(stats.t.sf(value / se, 12))
    return {"value": value, **ends, "p": p, "p_below": 1 - p, "se": se}


def row(name, model, train_k, test_k, *, accuracy, auc, moved=None, control=False, own=None):
    """A row of the classification table; ``own`` is the AUC and the accuracy of the network trained in place."""
    network = model not in BASELINES
    apart = (
        None
        if own is None or not network
        else [difference(a - b, 0.01) for a, b in zip((auc, accuracy), own, strict=True)]
    )
    return {
        "input": name,
        "model": model,
        "train_k": train_k,
        "test_k": test_k,
        "glass_k": 195 if control else 200,
        "train_T": 2.0 - 0.00975 * train_k,
        "test_T": 2.0 - 0.00975 * test_k,
        "n_test": 26,
        "n_test_runs": 13,
        "accuracy": estimate(accuracy),
        "auc": estimate(auc),
        "validation_auc": auc,
        "auc_minus_chance": difference(auc - 0.5),
        "auc_minus_energy": difference(0.01) if network else None,
        "auc_at_equal_energy": difference(0.02) if network else None,
        "auc_minus_own": None if apart is None else apart[0],
        "accuracy_minus_own": None if apart is None else apart[1],
        "accuracy_rethresholded": estimate(accuracy if moved is None else moved),
        "seconds": 1.5,
        "cpu_s": 1.4,
        "control": control,
        "n_seeds": 1,
        "each_seed": [{"accuracy": accuracy, "auc": auc}],
    }


def synthetic_results():
    """Results of the shape of ``results.json`` of plausible numbers."""
    rows = []
    for model in ("cnn", "mpnn", "e_pot", "g_r"):
        rows += [row("thermal", model, k, k, accuracy=1.0, auc=1.0) for k in KS]
        rows += [
            row("thermal", model, 5, k, accuracy=1.0 - 0.003 * k, auc=1.0, moved=1.0, own=(1.0, 1.0)) for k in KS[1:]
        ]
    inherent = {5: 1.0, 60: 1.0, 100: 0.99, 140: 0.9, 160: 0.7}
    for model in ("cnn", "mpnn", "e_is", "descriptors"):
        rows += [row("inherent", model, k, k, accuracy=value - 0.05, auc=value) for k, value in inherent.items()]
        rows += [
            row(
                *("inherent", model, 5, k),
                accuracy=inherent[k] - 0.2,
                auc=inherent[k] - 0.1,
                own=(inherent[k], inherent[k] - 0.05),
            )
            for k in KS[1:]
        ]
        rows.append(row("inherent", model, 171, 171, accuracy=0.5, auc=0.52, control=True))
    mean = np.interp(T, REFERENCE["true_minima"].T[::-1], REFERENCE["true_minima"].energy[::-1]) + 0.001
    curve = lambda shift: {"mean": (mean + shift).tolist(), "se": np.full(200, 0.0015).tolist()}
    samples = np.arange(0, 2000, 200)
    history = {
        "step": (samples // 32).tolist(),
        "samples": samples.tolist(),
        **{f"{part}_loss": np.exp(-samples / 500).tolist() for part in ("train", "validation")},
        **{f"{part}_accuracy": (1 - 0.5 * np.exp(-samples / 500)).tolist() for part in ("train", "validation")},
        "learning_rate": np.full(len(samples), 3e-3).tolist(),
    }
    reference = {name: {"T": list(c.T), "energy": list(c.energy), "source": c.source} for name, c in REFERENCE.items()}
    return {
        "study": {
            "name": "planted & <small>",
            "seed": 7,
            "simulate": {"n_runs": 64, "cool": {"T_end": 0.05}},
            "classify": {"margin": 0.05, "inputs": ["thermal", "inherent"]},
        },
        "versions": {"vitrify": "0.1.0", "numpy": np.__version__},
        "timing": {"simulate_s": 100.25, "minimise_s": 40.0, "learn_s": 80.0, "total_s": 220.25},
        "cooling_curve": {
            "T": T.tolist(),
            "e_is_unshifted": curve(0.0),
            "e_is_shifted": curve(0.172),
            "e_pot": curve(0.5),
            "n_runs": 64,
        },
        "minimiser": {"n_records": 12800, "n_unconverged": 0, "max_force": 1.9e-3, "tolerance": 2e-3},
        "reference": {
            **reference,
            "difference": {
                "T": [1.9, 0.8],
                "value": [0.001] * 2,
                "mean": 0.001,
                "max_abs": 0.001,
                "max_standard_errors": 0.5,
            },
            "difference_published": {
                "T": [1.9, 0.8],
                "value": [-0.004] * 2,
                "mean": -0.004,
                "max_abs": 0.004,
                "max_standard_errors": 2.0,
            },
        },
        "tg": [
            {
                "method": "two lines",
                "convention": name,
                "T": 0.3 + 0.02 * place,
                "low": 0.29 + 0.02 * place,
                "high": 0.31 + 0.02 * place,
                "verdict": "the lines meet",
                "found": True,
            }
            for place, name in enumerate(CONVENTIONS)
        ],
        "classification": rows,
        "learning_curves": [
            {
                "input": "inherent",
                "model": model,
                "train_k": 5,
                "glass_k": 200,
                "caption": f"{model}: batch size 32, AdamW, peak learning rate 0.003, "
                + "a long tail of settings, " * 8,
                "history": history,
                "weights": None,
            }
            for model in ("cnn", "mpnn")
        ],
        "equal_energy": None,
        "transition": None,
        "claims": [],
        "summary": ["It is a summary."],
        "warnings": [],
        "conclusions": ["It is so."],
    }


def synthetic_pictures():
    rng = np.random.default_rng(1)
    image = lambda: rng.integers(0, 256, (2, 40, 40)).astype(np.uint8)
    picture = lambda: rng.integers(0, 256, (50, 50, 3)).astype(np.uint8)
    return image(), image(), picture(), picture()


def all_figures(results):
    yield figures.progress_plot(results)
    yield figures.cooling_curve(results)
    for metric in ("accuracy", "auc", "accuracy_rethresholded"):
        yield figures.scores_against_temperature(results, metric=metric)
    yield figures.learning_curves(results["learning_curves"][0])
    yield figures.as_the_network_sees(*synthetic_pictures())


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_every_figure_draws_and_leaves_results_and_global_state_alone():
    results = synthetic_results()
    before, settings = copy.deepcopy(results), dict(mpl.rcParams)
    for figure in all_figures(results):
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert results == before
    assert dict(mpl.rcParams) == settings


def test_progress_plot_shows_the_scores_where_they_are():
    figure = figures.progress_plot(synthetic_results())
    ranking = figure.axes[3]
    drawn = {round(float(y), 6) for line in ranking.get_lines() for y in line.get_ydata()}
    assert {1.0, 0.99, 0.9, 0.7} <= drawn
    assert all(name in texts(figure) for name in ("CNN", "MPNN", "true minima", "stalled", "AUC"))


def test_a_study_of_one_input_without_tg_or_reference_still_draws():
    results = synthetic_results()
    results["classification"] = [r for r in results["classification"] if r["input"] == "inherent"]
    results["reference"] = {}
    for entry in results["tg"]:
        entry["found"] = False
    figure = figures.progress_plot(results)
    assert len(figure.axes) == 3
    assert "conventions" not in texts(figure)
    figures.cooling_curve(results).draw_without_rendering()


@pytest.mark.parametrize("found", [False, None])
def test_a_tg_that_is_not_found_has_an_open_marker(found):
    results = synthetic_results()
    results["tg"][0]["found"] = found
    markers = [line for line in figures.cooling_curve(results).axes[1].get_lines() if line.get_marker() == "o"]
    assert [marker.get_markerfacecolor() == "white" for marker in markers] == [True] + [False] * (len(markers) - 1)


def test_an_unknown_model_is_drawn_under_its_own_name():
    results = synthetic_results()
    results["classification"].append(row("inherent", "oracle", 5, 5, accuracy=0.9, auc=0.9))
    assert "oracle" in texts(figures.scores_against_temperature(results, metric="auc"))


def test_trainings_shown_beside_each_other_share_their_vertical_axes():
    low = synthetic_results()["learning_curves"][0]
    high = low | {"history": {name: [2 * y for y in column] for name, column in low["history"].items()}}
    for name in ("train_accuracy", "validation_accuracy"):
        high["history"][name] = [0.3, *low["history"][name][1:]]
    drawn = [figures.learning_curves(one, [low, high]).axes for one in (low, high)]
    for one, other in zip(*drawn, strict=True):
        assert one.get_ylim() == other.get_ylim()
        for ax in (one, other):
            y = ax.lines[0].get_ydata()
            assert ax.get_ylim()[0] <= min(y) <= max(y) <= ax.get_ylim()[1]
    alone = figures.learning_curves(low).axes
    assert alone[0].get_ylim()[1] < drawn[0][0].get_ylim()[1]


def test_learning_curves_carry_their_caption_and_axes():
    entry = synthetic_results()["learning_curves"][0]
    figure = figures.learning_curves(entry)
    assert "peak learning rate 0.003" in texts(figure)
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "training loss",
        "validation loss",
        "training accuracy",
        "validation accuracy",
    ]


def test_the_network_s_picture_has_the_log_s_colours_and_orientation():
    glass = np.zeros((2, 4, 6), np.uint8)
    glass[0, 0, 0] = 255  # an A at the origin: x runs down the array
    glass[1, 3, 0] = 255  # a B at the largest x
    figure = figures.as_the_network_sees(glass, glass, *synthetic_pictures()[2:])
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (6, 4, 3)
    np.testing.assert_allclose(shown[-1, 0] * 255, (255, 165, 0))
    np.testing.assert_allclose(shown[-1, -1] * 255, (0, 0, 255))
    np.testing.assert_allclose(shown[0, 0], 1.0)


@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_score_axes_hold_every_interval(metric):
    results = synthetic_results()
    lowest = min(r[metric]["low"] for r in results["classification"] if not r["control"])
    figure = figures.scores_against_temperature(results, metric=metric)
    assert all(ax.get_ylim()[0] < lowest for ax in figure.axes if ax.axison)


# one configuration under the symmetries of its box


def test_each_panel_of_the_augmented_pictures_shows_the_symmetry_in_its_title():
    box = np.array([16.0, 16.0])
    positions = np.array([[[3.0, 1.0], [10.0, 13.0]]], np.float32)
    elements = views.turns_and_mirrors(box)
    turned = views.symmetry(np.repeat(positions, 8, axis=0), box, element=np.arange(8), shift=np.zeros((8, 2)))
    (images,) = views.Image()(turned, np.array([0, 1]), box, stride=8)
    figure = figures.augmented_pictures(images, elements, "glass")
    expected = {  # where (3, 1) goes, worked out by hand: turned anticlockwise about the origin, then wrapped
        "glass": (3, 1),
        "turned by 90°": (15, 3),
        "turned by 180°": (13, 15),
        "turned by 270°": (1, 13),
        "mirrored": (13, 1),
        "mirrored, turned by 90°": (15, 13),
        "mirrored, turned by 180°": (3, 15),
        "mirrored, turned by 270°": (1, 3),
    }
    assert [ax.get_title() for ax in figure.axes] == list(expected)
    for ax in figure.axes:
        shown = np.asarray(ax.images[0].get_array())
        orange = (shown[..., 0] > 0.9) & (shown[..., 2] < 0.2)
        rows, columns = np.nonzero(orange)
        scale = 16.0 / shown.shape[0]
        x, y = (columns.mean() + 0.5) * scale, 16.0 - (rows.mean() + 0.5) * scale
        assert (x, y) == pytest.approx(expected[ax.get_title()], abs=0.3), ax.get_title()


def test_a_box_that_is_no_square_has_four_symmetries():
    elements = views.turns_and_mirrors(np.array([16.0, 8.0]))
    assert sorted(elements) == [(False, 0), (False, 180), (True, 0), (True, 180)]
    figure = figures.augmented_pictures(np.zeros((4, 2, 8, 16), np.uint8), elements, "glass")
    assert len(figure.axes) == 4
