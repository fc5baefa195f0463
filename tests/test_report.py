import csv
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from test_figures import row, synthetic_pictures, synthetic_results
from vitrify import conclusions
from vitrify.report import save, write


@pytest.fixture
def results():
    return synthetic_results()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a study whose conclusions were drawn, and its results; written once because drawing takes seconds."""
    results = synthetic_results()
    results |= {"conclusions": conclusions.sentences(results), "summary": conclusions.summary(results)}
    results["warnings"] = ["A planted warning."]
    return write(results, {"inherent": synthetic_pictures()}, tmp_path_factory.mktemp("study") / "out"), results


def test_the_page_has_a_table_of_equal_energy(tmp_path):
    results = synthetic_results() | {"classification": [], "learning_curves": []}
    at_equal = row("inherent", "mpnn", 0, 0, accuracy=0.6, auc=0.63) | {"test_T": None, "train_T": None}
    pair = {"T_slow": 0.54, "T_fast": 0.05, "k_slow": 150, "k_fast": 20, "difference": 1e-4, "se_difference": 4e-4}
    results["equal_energy"] = {"pair": pair, "rows": [at_equal]}
    page = write(results | {"conclusions": []}, {}, tmp_path).read_text(encoding="utf-8")
    assert "Inherent, liquid and glass of equal energy" in page
    assert ">0.540 (150)<" in page
    assert ">0.050 (20)<" in page
    assert 'id="warning"' not in page


def test_the_page_begins_with_the_summary_and_the_warning_then_the_headline_figure(written):
    page = written[0].read_text(encoding="utf-8")
    order = [page.index(f'id="{name}"') for name in ("summary", "warning", "progress", "conclusions")]
    assert order == sorted(order)
    for sentence in written[1]["summary"]:
        assert sentence in page.partition('id="warning"')[0]
    assert "A planted warning." in page
    assert not re.search(r"\bk = \d", page.partition('id="scores"')[0])


@pytest.mark.parametrize(("found", "words"), [(True, "yes"), (False, "no"), (None, "cannot tell")])
def test_the_table_of_tg_says_what_is_found(results, tmp_path, found, words):
    results |= {"classification": [], "learning_curves": [], "tg": [results["tg"][0] | {"found": found}]}
    page = write(results, {}, tmp_path).read_text(encoding="utf-8")
    assert f'<td>{words}</td><td class="verdict">the lines meet</td>' in page


def test_write_makes_one_page_that_needs_nothing_else(written):
    path, _ = written
    page = path.read_text(encoding="utf-8")
    assert path.name == "report.html"
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|figures/)", page)
    assert "http" not in re.sub(r"data:image[^\"]*", "", page)
    assert "planted &amp; &lt;small&gt;" in page
    assert "<small>" not in page
    assert "lie above true minima" in page
    assert "simulate.cool.T_end" in page
    for link in re.findall(r"href=\"(figures/[^\"]+)\"", page):
        assert (path.parent / link).stat().st_size > 0, link
    names = {"progress", "cooling_curve", "accuracy", "auc", "accuracy_rethresholded", "pictures_inherent"}
    names |= {f"learning_inherent_{model}_k5_against_k200" for model in ("cnn", "mpnn")}
    assert {p.stem for p in (path.parent / "figures").glob("*.svg")} == names
    assert {p.stem for p in (path.parent / "figures").glob("*.png")} == names


def test_every_decimal_number_on_the_page_is_one_of_the_results(written):
    path, results = written
    page = path.read_text(encoding="utf-8")
    body = re.sub(r"<[^>]*>", " ", re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL))
    known = [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", json.dumps(results))]
    for number in set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", body)):
        places = len(number.split(".")[1])
        assert any(abs(abs(k) - float(number)) <= 0.51 * 10**-places for k in known), number


def test_the_csv_holds_the_numbers_behind_the_figure(written):
    path, results = written
    with (path.parent / "figures" / "auc.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(results["classification"])
    assert float(table[3]["auc_value"]) == results["classification"][3]["auc"]["value"]
    with (path.parent / "figures" / "cooling_curve.csv").open(newline="") as file:
        curve = list(csv.DictReader(file))
    assert [float(line["T"]) for line in curve] == results["cooling_curve"]["T"]
    assert float(curve[-1]["e_is_unshifted_mean"]) == results["cooling_curve"]["e_is_unshifted"]["mean"][-1]


def test_a_study_without_classifiers_still_has_a_page(results, tmp_path):
    results |= {"classification": [], "learning_curves": []}
    page = write(results, {}, tmp_path).read_text(encoding="utf-8")
    assert 'id="cooling_curve"' in page
    assert 'id="progress"' not in page


def test_a_network_few_enough_to_read_has_its_weights_on_the_page(results, tmp_path):
    entry = results["learning_curves"][0] | {
        "model": "logistic",
        "weights": {"inputs": ["AA at 0.700", "AB at 0.700"], "neurons": [[0.5, -1.25]], "own": [1.0]},
    }
    page = write(results | {"classification": [], "learning_curves": [entry]}, {}, tmp_path).read_text("utf-8")
    assert 'id="weights_inherent_logistic_k5_against_k200"' in page
    kept = (tmp_path / "figures" / "weights_inherent_logistic_k5_against_k200.csv").read_text().splitlines()
    assert kept == ["input,neuron 1 times 1", "AA at 0.700,0.5", "AB at 0.700,-1.25"]


def test_save_writes_the_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        figure = Figure()
        figure.subplots().plot(np.arange(3), np.arange(3), "o", clip_on=True)
        save(figure, tmp_path / name, "line", {"x": [0, 1, 2], "y": [0, 1]})
    for suffix in ("svg", "png", "csv"):
        assert (tmp_path / "a" / f"line.{suffix}").read_bytes() == (tmp_path / "b" / f"line.{suffix}").read_bytes()
    assert (tmp_path / "a" / "line.csv").read_text() == "x,y\n0,0\n1,1\n2,\n"
