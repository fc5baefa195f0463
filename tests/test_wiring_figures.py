"""Every figure is asked who owns each panel, each colour and each label, and where the ends of its error bars lie."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from tests import planted

from vitrify import (
    attribution_figures,
    energy_figures,
    figures,
    learning_figures,
    log_figures,
    probes_figures,
    report,
    store,
    structure_figures,
    study,
    sweep_figures,
    transfer_figures,
    transition_figures,
    views,
)
from vitrify.cnn import CNN
from vitrify.mpnn import MPNN
from vitrify.system import Configuration

INPUTS = {"thermal": "thermal configurations", "inherent": "inherent structures"}
BELOW, ABOVE = 0.11, 0.04  # of every estimate here: an interval that is turned over is seen


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - BELOW, "high": value + ABOVE}


def ends(ax: Axes, *, axis: int = 1) -> dict[tuple[float, ...], tuple[float, float, Any]]:
    """Return the ends and the colour of the bars of an axis' errorbars, by the points they are of."""
    found = {}
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            line, _, (bars,) = container
            for point, segment in zip(zip(*line.get_data(), strict=True), bars.get_segments(), strict=True):
                found[tuple(map(float, point))] = (*map(float, segment[:, axis]), line.get_color())
    return found


def segments(ax: Axes) -> list[tuple[float, float, float]]:
    """Return both ends and the place of the horizontal lines that are drawn as two points."""
    lines = [line.get_data() for line in ax.get_lines()]
    return [(float(x[0]), float(x[1]), float(y[0])) for x, y in lines if len(x) == 2 and y[0] == y[1]]


def expect_band(band: Any, x: Sequence[float], low: Any, high: Any) -> None:
    """Hold the edges of a shaded band at some places."""
    corners = band.get_paths()[0].vertices
    for at, one, other in zip(x, low, high, strict=True):
        here = corners[np.isclose(corners[:, 0], at), 1]
        assert (here.min(), here.max()) == pytest.approx((one, other))


# --- scores against temperature ---

KS = (4, 7, 9)


def results() -> dict[str, Any]:
    """Return rows of which every metric, model, input and pair of records has a value of its own."""
    rows, number = [], 0
    for name, energy in (("thermal", "e_pot"), ("inherent", "e_is")):
        for model in ("cnn", "mpnn", energy):
            for train_k, test_k in [(k, k) for k in KS] + [(4, 7), (4, 9)]:
                number += 1
                scores = {
                    metric: estimate(0.5 + number / 100 + shift)
                    for metric, shift in (("accuracy", 0.0), ("auc", 0.003), ("accuracy_rethresholded", 0.006))
                }
                record = {"input": name, "model": model, "train_k": train_k, "test_k": test_k, "control": False}
                rows.append(record | {"test_T": 2 - 0.15 * test_k, "train_T": 2 - 0.15 * train_k} | scores)
    T = [2 - 0.15 * k for k in range(1, 11)]
    curves = {
        name: {"mean": [shift + 0.1 * t for t in T], "se": [0.01 * k for k in range(1, 11)]}
        for name, shift in (("e_is_unshifted", -3.9), ("e_is_shifted", -3.7), ("e_pot", -3.0))
    }
    tg = [
        {"convention": f"convention {place}", "T": T_g, "low": T_g - BELOW, "high": T_g + ABOVE, "found": True}
        for place, T_g in enumerate((0.31, 0.36, 0.45))
    ]
    return {
        "classification": rows,
        "cooling_curve": {"T": T, "n_runs": 17, **curves},
        "tg": tg,
        "reference": {
            "true_minima": {"T": [1.0, 1.5], "energy": [-3.81, -3.76]},
            "published": {"T": [1.1, 1.6], "energy": [-3.71, -3.66]},
        },
    }


def expect_scores(ax: Axes, rows: Sequence[dict[str, Any]], metric: str) -> None:
    """Hold every point of a panel, its bar and its colour to the row it is of."""
    drawn = ends(ax)
    assert drawn
    for (x, y), (low, high, colour) in drawn.items():
        (row,) = {id(row): row for row in rows if abs(row[metric]["value"] - y) < 1e-9}.values()
        assert abs(x - row["test_T"]) < 0.06
        assert (low, high) == pytest.approx((row[metric]["low"], row[metric]["high"]))
        assert low < y < high
        if row["train_k"] != row["test_k"]:
            assert colour == figures._RED
        elif row["train_k"] != min(KS):
            assert colour == figures._GREEN
    assert {round(y, 9) for _, y in drawn} == {round(row[metric]["value"], 9) for row in rows}


def test_the_headline_shows_every_score_of_its_input_in_its_panel() -> None:
    shown = results()
    figure = figures.progress_plot(shown)
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["(a) thermal configurations", "(b) inherent structures"]
    for (title, curve), (name, words) in zip(panels.items(), INPUTS.items(), strict=True):
        assert title.endswith(words)
        rows = [row for row in shown["classification"] if row["input"] == name]
        column = list(INPUTS).index(name)
        ranking = figure.axes[2 + column]
        accuracy = next(
            ax for ax in figure.axes if ax is not curve and ax.bbox.bounds == curve.bbox.bounds and ax.containers
        )
        expect_scores(accuracy, rows, "accuracy")
        expect_scores(ranking, rows, "auc")
    assert figure.axes[2].get_ylabel() == "AUC"
    key = {text.get_text(): handle for text, handle in _legend(figure.legends[0])}
    assert key["trained at each $T$"].get_color() == figures._GREEN
    moved = next(row for row in shown["classification"] if row["train_k"] != row["test_k"])
    assert key[f"trained at $T$ = {moved['train_T']:.2f}, applied elsewhere"].get_color() == figures._RED


def _legend(legend: Any) -> list[tuple[Any, Any]]:
    return list(zip(legend.get_texts(), legend.legend_handles, strict=True))


def _colour(handle: Any) -> Any:
    """Return the colour of an errorbar in a legend, which is drawn as its bar."""
    return to_rgba(np.asarray(handle.get_color()).reshape(-1, 4)[0])


@pytest.mark.parametrize("metric", ["accuracy", "auc", "accuracy_rethresholded"])
def test_a_small_panel_is_of_its_model_input_and_metric(metric: str) -> None:
    shown = results()
    figure = figures.scores_against_temperature(shown, metric)
    panels = [ax for ax in figure.axes if ax.axison]
    assert len(panels) == 6
    for place, ax in enumerate(panels):
        name = list(INPUTS)[place // 3]
        model = next(key for key, word in figures.MODEL_NAMES.items() if figures._symbols(word) == ax.get_title())
        rows = [row for row in shown["classification"] if (row["input"], row["model"]) == (name, model)]
        expect_scores(ax, rows, metric)
        low, high = ax.get_ylim()
        assert low < min(row[metric]["low"] for row in rows) < max(row[metric]["value"] for row in rows) < high
    assert [ax.get_ylabel() for ax in panels[::3]] == list(INPUTS.values())
    assert figure.get_supylabel() == figures._METRIC_NAMES[metric]


def test_the_cooling_curve_is_unshifted_with_its_error_and_every_tg_on_its_line() -> None:
    shown = results()
    curve, conventions = figures.cooling_curve(shown).axes
    own = next(line for line in curve.get_lines() if "this study, 17 runs" in str(line.get_label()))
    energy = shown["cooling_curve"]["e_is_unshifted"]
    np.testing.assert_allclose(own.get_xdata(), shown["cooling_curve"]["T"])
    np.testing.assert_allclose(own.get_ydata(), energy["mean"])
    band = curve.collections[0].get_paths()[0].vertices
    for x, mean, se in zip(shown["cooling_curve"]["T"], energy["mean"], energy["se"], strict=True):
        at = band[np.isclose(band[:, 0], x), 1]
        assert (at.min(), at.max()) == pytest.approx((mean - se, mean + se))
    for key, word in (("true_minima", "true minima"), ("published", "published")):
        line = next(line for line in curve.get_lines() if word in str(line.get_label()))
        np.testing.assert_allclose(line.get_ydata(), shown["reference"][key]["energy"])
        np.testing.assert_allclose(line.get_xdata(), shown["reference"][key]["T"])
    assert [tick.get_text() for tick in conventions.get_yticklabels()] == [one["convention"] for one in shown["tg"]]
    assert segments(conventions) == [(one["low"], one["high"], place) for place, one in enumerate(shown["tg"])]
    points = [line.get_data() for line in conventions.get_lines() if len(line.get_xdata()) == 1]
    assert [(float(x[0]), int(y[0])) for x, y in points] == [(one["T"], i) for i, one in enumerate(shown["tg"])]
    left, right = (float(value) for value in curve.patches[0].get_extents().get_points()[:, 0])
    to_data = curve.transData.inverted()
    found = [to_data.transform((value, 0))[0] for value in (left, right)]
    assert found == pytest.approx([0.31, 0.45], abs=1e-6)


def history(seed: int = 3) -> dict[str, list[float]]:
    """Return a history of which every column has numbers of its own."""
    rng = np.random.default_rng(seed)
    columns = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "learning_rate")
    found = {name: rng.uniform(0.5, 0.9, 5).tolist() for name in columns}
    return found | {
        "step": [10.0, 20, 30, 40, 50],
        "epoch": [1.0, 2, 3, 4, 5],
        "samples": [160.0, 320, 480, 640, 800],
        "seconds": [1.0] * 5,
    }


def test_a_learning_curve_of_validation_runs_is_called_so() -> None:
    shown = history()
    for ax in figures.learning_curves({"history": shown, "caption": ""}).axes:
        column = ax.get_ylabel().replace("training", "train").replace(" ", "_")
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), shown[column])
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), shown["samples"])
    for ax in log_figures.training_figure(shown).axes:
        lines = {line.get_label(): line for line in ax.get_lines()}
        for part, word in (("train", "training"), ("validation", "validation")):
            np.testing.assert_array_equal(lines[word].get_ydata(), shown[f"{part}_{ax.get_ylabel()}"])
            np.testing.assert_array_equal(lines[word].get_xdata(), shown["step"])


# --- pictures ---


def test_a_picture_called_glass_is_the_glass() -> None:
    rng = np.random.default_rng(5)
    sizes = {"image_glass": (2, 9, 7), "image_liquid": (2, 9, 7), "log_picture_glass": (11, 13, 3)}
    sizes["log_picture_liquid"] = (11, 13, 3)
    pictures = {name: rng.integers(0, 256, size, np.uint8) for name, size in sizes.items()}
    figure = figures.as_the_network_sees(**pictures)
    for ax in figure.axes:
        which, _, how = ax.get_title().partition(", ")
        shown = pictures[f"image_{which}" if "network" in how else f"log_picture_{which}"]
        expected = figures._coloured(shown) if "network" in how else shown
        np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert len({ax.get_title() for ax in figure.axes}) == 4


def test_the_report_shows_the_glass_record_as_glass(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(root: Any, settings: Any, *, seed: int, k: Sequence[int]) -> Any:
        assert settings.n_runs == 1
        return planted.load(root, settings, seed=seed, k=k)

    monkeypatch.setattr(store, "load", load)
    found = study._pictures(planted.CHOSEN, Path())
    assert set(found) == {"thermal", "inherent"}
    view = next(model.view for model in planted.CHOSEN.models if isinstance(model, CNN))
    for name, (glass, liquid, log_glass, log_liquid) in found.items():
        for seen, log, k in ((glass, log_glass, planted.GLASS), (liquid, log_liquid, 3)):
            positions = planted.WHOLE.shown(name)[0, k - 1]
            expected = view(positions[None], planted.WHOLE.species, planted.BOX, stride=CNN.stride)[0][0]
            np.testing.assert_array_equal(seen, expected)
            one = Configuration(positions=positions.astype(float), species=planted.WHOLE.species, box=planted.BOX)
            np.testing.assert_array_equal(log, views.log_picture(one))


# --- the energy question ---


def test_liquids_and_glasses_of_the_energy_question_are_called_what_they_are() -> None:
    rng = np.random.default_rng(9)
    label = rng.permutation(np.repeat([0, 1], [7, 9]))
    e, logit, other = rng.normal(size=(3, 16))
    models = [
        {
            "model": name,
            "logit": values.tolist(),
            "auc": estimate(0.8 + place / 50),
            "matched_auc": estimate(0.6 + place / 50),
            "correlation": {
                which: {"pearson": estimate(r + place / 10)} for which, r in (("liquid", -0.5), ("glass", -0.2))
            },
        }
        for place, (name, values) in enumerate((("cnn", other), ("mpnn", logit)))
    ]
    task = {"input": "inherent", "k": 9, "T": 0.65, "energy_name": "e_is", "shown": "mpnn", "models": models}
    task |= {"energy": e.tolist(), "label": label.tolist(), "matched": {"n_pairs": 5}}
    task["baseline"] = {"auc": estimate(0.71), "matched_auc": estimate(0.55)}
    scatter, forest = energy_figures.energy_question([task]).axes
    lines = {str(line.get_label()).partition(",")[0]: line for line in scatter.get_lines()}
    for y, name, colour in ((0, "liquid", figures._RED), (1, "glass", figures._BLUE)):
        np.testing.assert_array_equal(lines[name].get_xdata(), e[label == y])
        np.testing.assert_array_equal(lines[name].get_ydata(), logit[label == y])
        assert lines[name].get_color() == colour
    assert "$r$ = -0.40 [-0.51, -0.36]" in lines["liquid"].get_label()
    assert "$r$ = -0.10" in lines["glass"].get_label()
    assert "MPNN" in scatter.get_ylabel()
    assert [tick.get_text() for tick in forest.get_yticklabels()] == ["$e_{IS}$ alone", "CNN", "MPNN"]
    expected = []
    for place, one in enumerate((task["baseline"], *models)):
        for key, shift in (("auc", -0.14), ("matched_auc", 0.14)):
            expected.append((one[key]["low"], one[key]["high"], place + shift))
    np.testing.assert_allclose(segments(forest), expected)
    points = {(float(line.get_xdata()[0]), line.get_markerfacecolor()) for line in forest.get_lines()
              if len(line.get_xdata()) == 1}  # fmt: skip
    for one in (task["baseline"], *models):
        assert (one["auc"]["value"], figures._INK) in points
        assert (one["matched_auc"]["value"], "white") in points


# --- structure ---


def test_metrics_and_correlation_functions_are_drawn_where_they_belong() -> None:
    metrics = [
        {"input": name, "metric": metric, "T": [1.5, 1.0, 0.5], "n_runs": 9}
        | {"mean": [shift + k for k in (1.0, 2.0, 4.0)], "se": [0.1, 0.2, 0.3]}
        for name, shift in (("thermal", 0.0), ("inherent", 0.5))
        for metric, shift in (("bonds_BB", shift), ("area_sd", shift + 10))
    ]
    figure = structure_figures.metrics_against_temperature(metrics)
    panels = {ax.get_ylabel(): ax for ax in figure.axes if ax.containers}
    assert set(panels) == {"B-B bonds", "s.d. of cell area / mean"}
    for one in metrics:
        drawn = ends(panels[structure_figures._NAMES[one["metric"]]])
        for T, mean, se in zip(one["T"], one["mean"], one["se"], strict=True):
            low, high, colour = drawn[T, mean]
            assert (low, high) == pytest.approx((mean - se, mean + se))
            assert colour == {"thermal": figures._RED, "inherent": figures._BLUE}[one["input"]]
    for text, handle in _legend(panels["B-B bonds"].get_legend()):
        assert _colour(handle) == to_rgba({"thermal": figures._RED, "inherent": figures._BLUE}[text.get_text()])
    r = [1.0, 2.0, 3.0]
    curves = [
        {"input": name, "T": T, "r": r, "q": [5.0, 6.0], "S": [T, 2 * T], "S_se": [0.2, 0.3]}
        | {"g": [[T + pair + x for x in r] for pair in (10, 20, 30)], "g_se": [[0.1] * 3, [0.4] * 3, [0.5] * 3]}
        for name in ("thermal", "inherent")
        for T in (1.0, 0.5, 0.1)
    ]
    figure = structure_figures.correlations(curves)
    for place, ax in enumerate(figure.axes):
        name, which = ("thermal", "inherent")[place // 4], place % 4
        if which == 0:
            assert ax.get_title(loc="left") == name
        expected = ("$g_{AA}(r)$", "$g_{AB}(r)$", "$g_{BB}(r)$", "$S(q)$")[which]
        assert ax.get_ylabel() == expected
        for line, one in zip(ax.get_lines(), [one for one in curves if one["input"] == name], strict=True):
            np.testing.assert_array_equal(line.get_ydata(), one["S"] if which == 3 else one["g"][which])
            np.testing.assert_array_equal(line.get_xdata(), one["q"] if which == 3 else r)
            assert line.get_label() == f"$T$ = {one['T']:.2f}"
        for band, one in zip(ax.collections, [one for one in curves if one["input"] == name], strict=True):
            x, mean = (one["q"], one["S"]) if which == 3 else (r, one["g"][which])
            se = one["S_se"] if which == 3 else one["g_se"][which]
            expect_band(band, x, np.array(mean) - se, np.array(mean) + se)
    triple = [one | {"g": [[float(pair)] * 3 for pair in range(6)], "g_se": [[0.1] * 3] * 6} for one in curves]
    for ax, pair in zip(structure_figures.correlations(triple).axes, (0, 1, 3), strict=False):  # AA AB AC BB BC CC
        assert ax.get_lines()[0].get_ydata()[0] == pair


# --- the transfer matrix ---


def test_a_row_is_trained_a_column_tested_and_the_diagonal_outlined() -> None:
    rng = np.random.default_rng(4)
    states = [{"input": name, "T": T} for name in ("thermal", "inherent") for T in (1.5, 0.7)]
    names_of_metrics = ("auc", "accuracy", "accuracy_rethresholded")
    models = [
        {
            "model": name,
            "cells": [
                [{m: {"value": v} for m, v in zip(names_of_metrics, x, strict=True)} for x in row]
                for row in rng.uniform(0.5, 1, (4, 4, 3))
            ],
            "null": [[{"value": v} for v in row] for row in rng.uniform(0.5, 1, (4, 2))],
        }
        for name in ("energy", "cnn")
    ]  # fmt: skip
    axes = transfer_figures.transfer_matrix(models, states).axes[:6]
    names = [f"{state['T']:.2f}" for state in states]
    for place, ax in enumerate(axes):
        model, metric = models[place // 3], names_of_metrics[place % 3]
        word = ("AUC", "accuracy", "accuracy, threshold moved")[place % 3]
        assert ax.get_title(loc="left").endswith(f": {word}")
        assert ax.get_title(loc="left").startswith({"energy": "energy", "cnn": "CNN"}[model["model"]])
        table = np.array([[one[metric]["value"] for one in row] for row in model["cells"]])
        if metric == "auc":
            table = np.hstack([table, [[one["value"] for one in row] for row in model["null"]]])
        _expect_heat(ax, table)
        assert [tick.get_text() for tick in ax.get_xticklabels()][:4] == names
        assert [tick.get_text() for tick in ax.get_yticklabels()] == names
    assert axes[0].get_ylabel().startswith("trained")
    assert axes[3].get_xlabel().startswith("tested")
    assert [tick.get_text() for tick in axes[0].get_xticklabels()][4:] == ["null, thermal", "null, inherent"]
    one = models[1]
    one["cells"][0][2] = {"why": "it cannot"}
    one["null"][3][1] = None
    labels, glasses = ["a, T = 1", "a, T = 2", "b, T = 1", "b, T = 2"], ["null, a", "null, b"]
    first, second, third, *_ = transfer_figures.studies_matrix(one, labels, glasses).axes
    for ax, metric in ((first, "auc"), (second, "accuracy"), (third, "accuracy_rethresholded")):
        table = np.array([[c[metric]["value"] if metric in c else np.nan for c in row] for row in one["cells"]])
        if metric == "auc":
            table = np.hstack([table, [[np.nan if c is None else c["value"] for c in row] for row in one["null"]]])
        _expect_heat(ax, table)
        assert [tick.get_text() for tick in ax.get_xticklabels()] == [*labels, *glasses][: table.shape[1]]
    assert [tick.get_text() for tick in first.get_yticklabels()] == labels
    assert (first.get_ylabel(), first.get_xlabel()) == ("trained in", "tested in")


def _expect_heat(ax: Axes, table: np.ndarray) -> None:
    np.testing.assert_allclose(np.ma.filled(ax.images[0].get_array(), np.nan), table)
    written = {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts if len(text.get_text()) < 4}
    for (i, j), value in np.ndenumerate(table):
        assert written[j, i] == ("–" if np.isnan(value) else "1" if value > 0.995 else f"{value:.2f}".lstrip("0"))
    outlined = [patch.get_xy() for patch in ax.patches]
    assert outlined == [(k - 0.5, k - 0.5) for k in range(len(table))]


# --- probes ---


def test_the_answers_of_a_probe_are_called_what_was_shown() -> None:
    rng = np.random.default_rng(8)
    logits = [
        {"name": name, "of": of, "logit": (rng.normal(size=30) + shift).tolist()}
        for name, of, shift in (("liquid", "liquid", -2), ("glass", "glass", 2), ("random places", "pattern", 5))
    ]
    noise = [{"sd": sd, "auc": estimate(0.9 - sd)} for sd in (0.0, 0.05, 0.1)]
    model = {"model": "cnn", "input": "inherent", "T": 0.6, "n_test": 20, "logits": logits, "noise": noise}
    left, right = probes_figures.answers([model]).axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == [one["name"] for one in logits]
    found = segments(left)
    for place, one in enumerate(logits):
        low, middle, high = np.quantile(one["logit"], [0.05, 0.5, 0.95])
        assert found[place] == pytest.approx((low, high, place))
        marker = next(line for line in left.get_lines() if len(line.get_xdata()) == 1 and line.get_ydata()[0] == place)
        assert marker.get_xdata()[0] == pytest.approx(middle)
        assert marker.get_color() == {"liquid": figures._RED, "glass": figures._BLUE}.get(one["of"], figures._INK)
    for one in noise:
        low, high, _ = ends(right)[one["sd"], one["auc"]["value"]]
        assert (low, high) == pytest.approx((one["auc"]["low"], one["auc"]["high"]))
    tasks = [
        {"input": name, "T": T, "sizes": [
            {"n_inside": n, "auc": estimate(0.6 + T / 10 + n / 1e3), "accuracy": estimate(0.5 + T / 10 + n / 1e3)}
            for n in (20, 50)]}
        for name, T in (("thermal", 0.9), ("inherent", 0.4))
    ]  # fmt: skip
    for ax, metric in zip(probes_figures.patch_sizes(tasks).axes, ("auc", "accuracy"), strict=True):
        assert ax.get_ylabel() == {"auc": "AUC", "accuracy": "accuracy"}[metric]
        drawn = ends(ax)
        labels = {container.lines[0].get_color(): container.get_label() for container in ax.containers}
        for task in tasks:
            for one in task["sizes"]:
                low, high, colour = drawn[float(one["n_inside"]), one[metric]["value"]]
                assert (low, high) == pytest.approx((one[metric]["low"], one[metric]["high"]))
                assert labels[colour] == f"{task['input']}, $T$ = {task['T']:.2f}"


# --- what the networks see ---


def _entry(model: str = "mpnn") -> dict[str, Any]:
    shown = {}
    for name, k, sign in (("liquid", 3, -1.0), ("glass", planted.GLASS, 1.0)):
        attribution = sign * np.linspace(0.2, 1.0, planted.N_PARTICLES)
        shown[name] = {
            "run": k,
            "positions": planted.WHOLE.inherent[0, k - 1].astype(float).tolist(),
            "species": planted.WHOLE.species.tolist(),
            "box": planted.BOX.tolist(),
            "attribution": attribution.tolist(),
            "logit": sign * 3.0,
        }
    correlations = [
        {"field": field, "class": name, **estimate(value)}
        for field, at in (("psi5", 0.1), ("psi6", -0.2), ("voronoi_area", 0.35))
        for name, value in (("liquid", at), ("glass", at + 0.02))
    ]
    return {"model": model, "shown": shown, "baseline": 0.5, "n_runs": 4, "correlations": correlations}


RADIUS = (0.6, 0.4)


def test_a_particle_is_drawn_where_it_is_in_its_class_and_colour() -> None:
    entry = _entry()
    axes = attribution_figures.attribution_maps([entry], RADIUS).axes
    limit = float(np.quantile(np.abs(np.concatenate([one["attribution"] for one in entry["shown"].values()])), 0.98))
    for ax, name in zip(axes[:2], ("glass", "liquid"), strict=True):
        shown = entry["shown"][name]
        assert ax.get_title(loc="left") == f"MPNN: {name}, logit {shown['logit']:+.1f}"
        (discs,) = ax.collections
        offsets = discs.get_offsets()
        colours = attribution_figures._scale(limit).to_rgba(shown["attribution"])
        rgb = discs.get_facecolor()
        blue = rgb[:, 2].mean() - rgb[:, 0].mean()
        assert (blue > 0) == (name == "glass")
        for particle in (0, 7, 60):
            at = np.isclose(offsets, shown["positions"][particle], atol=1e-6).all(axis=1)
            assert at.sum() == 1
            np.testing.assert_allclose(rgb[at][0], colours[particle])
            wide = discs.get_widths()[at][0] if hasattr(discs, "get_widths") else 2 * discs._widths[at][0]
            assert wide == pytest.approx(2 * RADIUS[shown["species"][particle]])
        assert ax.get_xlim() == (0, planted.BOX[0])
        assert ax.get_ylim() == (0, planted.BOX[1])
    assert "baseline +0.5" in axes[2].get_ylabel()


def test_the_most_glassy_particles_are_those_of_the_largest_attribution() -> None:
    entry = _entry() | {"settings": MPNN().model_dump()}
    figure = attribution_figures.beside_the_input(entry, RADIUS)
    for row, name in enumerate(("glass", "liquid")):
        left, right = figure.axes[2 * row : 2 * row + 2]
        shown = entry["shown"][name]
        assert left.get_title(loc="left").startswith(f"{name}, as the MPNN")
        assert right.get_title(loc="left") == f"logit {shown['logit']:+.1f}, run {shown['run']}"
        (discs,) = right.collections
        order = np.argsort(shown["attribution"])
        for particle, colour in ((order[-1], figures._BLUE), (order[0], figures._RED), (order[40], "#E4E4E4")):
            at = np.isclose(discs.get_offsets(), shown["positions"][particle], atol=1e-6).all(axis=1)
            np.testing.assert_allclose(discs.get_facecolor()[at][0], to_rgba(colour))
    legend = {text.get_text(): handle for text, handle in _legend(figure.legends[0])}
    assert to_rgba(legend["most towards glass, 5%"].get_facecolor()) == to_rgba(figures._BLUE)
    assert to_rgba(legend["most towards liquid, 5%"].get_facecolor()) == to_rgba(figures._RED)


def test_a_rank_correlation_lies_between_its_ends_in_the_colour_of_its_class() -> None:
    entry = _entry()
    figure = attribution_figures.correlations([entry])
    (ax,) = figure.axes
    drawn = ends(ax, axis=0)
    fields = ["psi5", "psi6", "voronoi_area"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [attribution_figures.FIELDS[field] for field in fields]
    for row in entry["correlations"]:
        colour = {"glass": figures._BLUE, "liquid": figures._RED}[row["class"]]
        (found,) = [
            (low, high)
            for (x, y), (low, high, drawn_in) in drawn.items()
            if drawn_in == colour and abs(y - fields.index(row["field"])) < 0.3 and x == pytest.approx(row["value"])
        ]
        assert found == pytest.approx((row["low"], row["high"]))
    for text, handle in _legend(figure.legends[0]):
        colour = {"glass": figures._BLUE, "liquid": figures._RED}[text.get_text()]
        assert _colour(handle) == to_rgba(colour)


def test_channels_and_bonds_are_of_their_class() -> None:
    rng = np.random.default_rng(3)
    maps = {name: rng.uniform(0.1, 1, (3, 5, 8)).tolist() for name in ("glass", "liquid")}
    entry = _entry("cnn") | {"channels": {"maps": maps, "dead": [1], "n_configurations": 9}}
    figure = attribution_figures.channel_maps(entry)
    axes = np.array(figure.axes).reshape(2, 3)
    for row, name in zip(axes, ("glass", "liquid"), strict=True):
        assert row[0].get_ylabel() == name
        for channel, ax in enumerate(row):
            np.testing.assert_allclose(ax.images[0].get_array(), np.array(maps[name][channel]).T)
            assert ax.images[0].origin == "lower"  # the first axis to the right, the second upwards
    assert [ax.get_title().partition(":")[0] for ax in axes[0]] == ["0", "1", "2"]
    assert "dead" in axes[0, 1].get_title()
    neighbours = np.stack([(np.arange(80) + shift) % 80 for shift in (1, 2)], axis=1)
    bonds = {
        name: {"neighbours": neighbours.tolist(), "attention": (shift + np.linspace(0, 1, 160).reshape(80, 2)).tolist()}
        for name, shift in (("glass", 0.1), ("liquid", 3.0))
    }
    shown = _entry() | {"bonds": bonds}
    for ax, name in zip(attribution_figures.bond_attention_map(shown, RADIUS).axes, ("glass", "liquid"), strict=False):
        assert ax.get_title(loc="left").startswith(name)
        lines = next(one for one in ax.collections if hasattr(one, "get_segments"))
        strongest, starts = np.argsort(np.ravel(bonds[name]["attention"])), np.array(lines.get_segments())[:, 0]
        positions = np.array(shown["shown"][name]["positions"])
        np.testing.assert_allclose(starts, positions[strongest // 2], atol=1e-6)  # a bond is drawn at whoever hears
        halves = np.array(lines.get_segments())[:, 1] - starts
        dr = positions[neighbours.ravel()[strongest]] - positions[strongest // 2]
        dr -= planted.BOX * np.round(dr / planted.BOX)
        np.testing.assert_allclose(halves, dr / 2, atol=1e-6)


# --- evaluation ---


def test_reliability_and_folds_lie_between_their_ends() -> None:
    def table(shift: float) -> dict[str, Any]:
        bins = [
            {
                "low": k / 4,
                "high": (k + 1) / 4,
                "n": 3 + k,
                "probability": k / 4 + 0.1,
                "glass": estimate(k / 5 + shift),
            }
            for k in range(4)
        ]
        return {"n_test": 18, "n_runs": 9, "bins": bins, "ece": estimate(0.2 + shift), "ece_if_calibrated": 0.1}

    tables = {"raw": table(0.15), "calibrated": table(0.2)}
    rows = [
        {"fold": str(place) if place < 3 else "pooled", "n_test": 6, "n_runs": 3}
        | {f"{m}{end}": v + place / 50 + shift for m, v in (("accuracy", 0.6), ("auc", 0.75))
           for end, shift in (("", 0.0), ("_low", -BELOW), ("_high", ABOVE))}
        for place in range(4)
    ]  # fmt: skip
    bins, counts, folds = learning_figures.evaluation_figure(tables, rows).axes
    drawn = ends(bins)
    for name, one in tables.items():
        colour = learning_figures._LOOKS[list(tables).index(name)][1]
        for row in one["bins"]:
            (at,) = [
                found[:2]
                for (x, y), found in drawn.items()
                if found[2] == colour and (x, y) == pytest.approx((row["probability"], row["glass"]["value"]))
            ]
            assert at == pytest.approx((row["glass"]["low"], row["glass"]["high"]))
    labels = [text.get_text() for text in bins.get_legend().get_texts()]
    assert labels[0].startswith("raw: ECE 0.350 [0.240, 0.390]; below 0.100")
    assert [patch.get_height() for patch in counts.patches] == [3, 4, 5, 6] * 2
    found = ends(folds, axis=0)
    for place, row in enumerate(rows):
        for metric, shift, colour in (("accuracy", -0.15, figures._BLUE), ("auc", 0.15, figures._GREEN)):
            low, high, drawn_in = next(v for (x, y), v in found.items()
                                       if (x, y) == pytest.approx((row[metric], place + shift)))  # fmt: skip
            assert (low, high) == pytest.approx((row[f"{metric}_low"], row[f"{metric}_high"]))
            assert drawn_in == colour
    assert [tick.get_text().partition("\n")[0] for tick in folds.get_yticklabels()] == [
        *("fold 0", "fold 1", "fold 2", "all folds")
    ]


# --- the transition ---


def _indicator(shift: float) -> dict[str, Any]:
    T = np.array([0.2, 0.4, 0.6])
    return {
        "T": T,
        "value": T + shift,
        "low": T + shift - BELOW,
        "high": T + shift + ABOVE,
        "null_low": T - 1,
        "null_high": T - 0.5,
        "found": True,
        "Tg_low": 0.3,
        "Tg_high": 0.5,
    }


def test_every_tg_is_on_its_line_and_every_band_around_its_curve() -> None:
    rows = [
        {"method": method, "convention": convention, "found": found, "n_runs": 9, "verdict": ""}
        | {"Tg": T, "low": T - BELOW, "high": T + ABOVE}
        for method, convention, found, T in (
            ("two lines", "four points", True, 0.31),
            ("smooth branches", "least squares", False, 0.37),
            ("confusion", "structure", True, 0.45),
            ("confusion", "e_IS alone", False, 0.52),
        )
    ]
    T = [0.9, 0.1, 0.5]  # not in order
    values = {"rows": rows, "T": T, "mean": [-3.0, -4.0, -3.7], "se": [0.1, 0.2, 0.3], "smooth": None, "of": "e_is"}
    values["lines"] = {"T": [0.1, 0.9], "glass": [-4.0, -3.9], "liquid": [-4.4, -3.0], "convention": "four points"}
    names = ("confusion", "prediction", "divergence")
    values["indicators"] = {
        "descriptors": {name: _indicator(place) for place, name in enumerate(names)},
        "e_is": {name: _indicator(place + 5) for place, name in enumerate(names)},
    }
    curve, forest, *panels = transition_figures.tg_figure(values).axes
    points = next(line for line in curve.get_lines() if "mean" in str(line.get_label()))
    assert dict(zip(*points.get_data(), strict=True)) == dict(zip(T, values["mean"], strict=True))
    band = curve.collections[0].get_paths()[0].vertices
    for x, mean, se in zip(T, values["mean"], values["se"], strict=True):
        at = band[np.isclose(band[:, 0], x), 1]
        assert (at.min(), at.max()) == pytest.approx((mean - se, mean + se))
    np.testing.assert_allclose(segments(forest), [(row["low"], row["high"], k) for k, row in enumerate(rows)])
    for place, row in enumerate(rows):
        marker = next(
            line for line in forest.get_lines() if len(line.get_xdata()) == 1 and line.get_ydata()[0] == place
        )
        assert marker.get_xdata()[0] == row["Tg"]
        assert (marker.get_markerfacecolor() == "white") == (not row["found"])
    for place, (ax, name) in enumerate(zip(panels, names, strict=True)):
        assert ax.get_title(loc="left").endswith(name)
        assert ax.get_ylabel() == transition_figures._INDICATOR_LABELS[name]
        lines = {line.get_color(): line for line in ax.get_lines()}
        np.testing.assert_allclose(
            lines[figures._GREEN].get_ydata(), values["indicators"]["descriptors"][name]["value"]
        )
        np.testing.assert_allclose(lines[figures._RED].get_ydata(), values["indicators"]["e_is"][name]["value"])
        null, own = (one.get_paths()[0].vertices for one in ax.collections[:2])
        assert (null[:, 1].min(), null[:, 1].max()) == pytest.approx((-0.8, 0.1))
        assert (own[:, 1].min(), own[:, 1].max()) == pytest.approx((0.2 + place - BELOW, 0.6 + place + ABOVE))


def test_tg_against_the_rate_lies_between_its_ends() -> None:
    lines = [
        {"name": name, "of": "rate", "cooling": [1e-3, 1e-4], "slope": 0.02, "low": 0.01, "high": 0.05}
        | {"Tg": [0.4 + s, 0.38 + s], "Tg_low": [0.4 + s - BELOW, None], "Tg_high": [0.4 + s + ABOVE, None]}
        | {"intercept": 0.46 + s}
        for name, s in (("two lines", 0.0), ("smooth", 0.1))
    ]
    checks = [
        {"name": "two lines", "sizes": [100, 400], "Tg": [0.41, 0.42], "Tg_low": [0.3, 0.35], "Tg_high": [0.43, 0.48]}
        | {"infinite": 0.425, "slope": -1.5, "p_holm": 0.3}
    ]
    rate, size = transition_figures.rate_figure(lines, checks).axes
    assert rate.get_xlabel().startswith("cooling rate")
    drawn = ends(rate)
    for line in lines:
        low, high = next(v[:2] for (_, y), v in drawn.items() if y == pytest.approx(line["Tg"][0]))
        assert (low, high) == pytest.approx((line["Tg_low"][0], line["Tg_high"][0]))
        fitted = next(one for one in rate.get_lines() if len(one.get_xdata()) == 2 and one.get_linewidth() == 0.9
                      and one.get_ydata()[0] == pytest.approx(line["intercept"] - 4 * 0.02))  # fmt: skip
        assert fitted.get_ydata()[1] == pytest.approx(line["intercept"] - 3 * 0.02)
    np.testing.assert_allclose(sorted(v[:2] for v in ends(size).values()), [(0.3, 0.43), (0.35, 0.48)])


# --- sweeps ---


def test_a_leaderboard_line_shows_its_own_trial() -> None:
    rows = [
        {"trial": trial, "state": "complete", "settings": {"train.learning_rate": rate}, "n_diverged": 0}
        | {"loss": {"mean": loss, "sd": 0.03, "n": 2}, "accuracy": {"mean": 1 - loss, "sd": 0.01, "n": 2}}
        | {"n_collapsed": trial % 2, "replicates": [{"loss": loss - 0.02}, {"loss": loss + 0.02}]}
        for trial, rate, loss in ((4, 0.1, 0.2), (1, 0.01, 0.3), (3, 0.001, 0.5))
    ]
    space = {"train.learning_rate": {"low": 0.001, "high": 0.1, "log": True, "step": None}}
    results = {"rows": rows, "sweep": {"space": space, "n_seeds": 2}}
    (ax,) = sweep_figures.leaderboard_figure(results).axes
    bars = [line.get_data() for line in ax.get_lines() if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.4]
    means = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
    for line, row in enumerate(rows):
        mean = row["loss"]["mean"]
        assert list(bars[line][0]) == pytest.approx([mean - 0.03, mean + 0.03])
        assert list(bars[line][1]) == [line, line]
        assert means[line].get_data() == ([mean], [line])
        assert means[line].get_color() == (figures._RED if row["n_collapsed"] else figures._INK)
        words = [text.get_text() for text in ax.texts if text.get_position()[1] == line]
        assert words == [str(row["trial"]), f"{row['settings']['train.learning_rate']:.3g}",
                         f"{1 - mean:.3f} ± 0.010", f"{row['n_collapsed']}/2"]  # fmt: skip
    (ax,) = sweep_figures.parallel_coordinates(results).axes
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
    heavy = max(curves, key=lambda line: line.get_linewidth())
    assert (heavy.get_ydata()[0], heavy.get_ydata()[-1]) == pytest.approx((1.0, 0.0))  # rate 0.1, the least loss


# --- the page ---


def test_a_row_of_the_page_has_its_scores_under_their_headings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_figures import synthetic_results

    monkeypatch.setattr(report, "_drawings", lambda *_: [])
    monkeypatch.setattr(report, "save", lambda *_: None)
    shown = synthetic_results() | {"learning_curves": [], "conclusions": [], "classification": []}
    rows = []
    for number, row in enumerate(results()["classification"]):
        beside = None if row["model"].startswith("e_") else {"p": 0.2, "p_holm": 0.4, **estimate(0.01 * number - 0.1)}
        more = {"glass_k": 11, "n_test": 40 + number, "n_test_runs": 20 + number, "seconds": 1.0, "cpu_s": 1.0}
        rows.append(row | more | {"auc_minus_energy": beside, "n_seeds": 1, "each_seed": []})
    shown["classification"] = rows
    monkeypatch.setattr(report, "_page", _without_figures(report._page))
    page = report.write(shown, {}, tmp_path).read_text(encoding="utf-8")
    found = 0
    for name, table in re.findall(
        r"<summary>((?:Thermal|Inherent), trained.*?)</summary>.*?<table>(.*?)</table>", page, re.S
    ):
        headings = re.findall(r"<th(?: [^>]*)?>(.*?)</th>", table)
        for line in re.findall(r"<tr>(<td.*?)</tr>", table, re.S):
            cells = dict(zip(headings, re.findall(r"<td[^>]*>(.*?)</td>", line, re.S), strict=True))
            row = next(one for one in rows if str(one["n_test"]) == cells["n"])
            found += 1
            assert name.lower().startswith(row["input"])
            assert ("applied elsewhere" in name) == (row["train_k"] != row["test_k"])
            assert cells["model"] == report.name_of_model(row["model"])
            for heading, word in (("trained", "train"), ("tested", "test")):
                assert cells[f"{heading} at T (k)"] == f"{row[f'{word}_T']:.3f} ({row[f'{word}_k']})"
            assert cells["against T (k)"] == f"{shown['cooling_curve']['T'][10]:.3f} (11)"
            assert cells["runs"] == str(row["n_test_runs"])
            for heading, key in (
                ("AUC", "auc"),
                ("accuracy", "accuracy"),
                ("re-thresholded", "accuracy_rethresholded"),
            ):
                value = row[key]
                assert cells[heading] == f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
            beside = row["auc_minus_energy"]
            expected = "" if beside is None else f"{beside['value']:+.3f} [{beside['low']:+.3f}, {beside['high']:+.3f}]"
            assert cells["AUC − energy's"].startswith(expected)
    assert found == len(rows)


def _without_figures(page: Any) -> Any:
    """Return what renders the page with a figure of no content in every place."""

    class Every(dict):
        def __missing__(self, _name: str) -> str:
            return "data:,"

    return lambda results, _shown, *more: page(results, Every(), *more)
