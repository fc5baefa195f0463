import csv
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from test_figures import estimate, row, synthetic_pictures, synthetic_results
from vitrify.report import conclusions, save, write


@pytest.fixture
def results():
    return synthetic_results()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a study whose conclusions were drawn, and its results; written once because drawing takes seconds."""
    results = synthetic_results()
    results["conclusions"] = conclusions(results)
    return write(results, {"inherent": synthetic_pictures()}, tmp_path_factory.mktemp("study") / "out"), results


def rows_of(results, **wanted):
    return [r for r in results["classification"] if all(r[key] == value for key, value in wanted.items())]


def said(results, start):
    return any(re.search(start, sentence) for sentence in conclusions(results))


def test_the_thermometer_is_named_only_if_the_energy_separates(results):
    assert said(results, r"potential energy alone separates .*1\.000 .*k = 5, 60, 100, 140, 160\); a network at 100%")
    for r in rows_of(results, input="thermal", model="e_pot", train_k=160):
        r["auc"] = estimate(0.8)
    assert said(results, r"potential energy alone separates .*k = 5, 60, 100, 140\)")
    assert said(results, r"does not separate the thermal configurations at k = 160 \(lowest AUC 0\.800")
    for r in rows_of(results, input="thermal", model="e_pot"):
        r["auc"] = estimate(0.6)
    assert not said(results, "read the thermometer")


def test_all_models_on_thermal(results):
    assert said(results, "Every model separates the thermal")
    rows_of(results, input="thermal", model="cnn", train_k=60, test_k=60)[0]["auc"] = estimate(0.9)
    assert said(results, r"3 of 4 models separate .* CNN at k = 60: 0\.900")


def test_networks_against_the_energy(results):
    assert said(results, r"No network has a higher AUC than e_IS alone .*13 test runs")
    energy = rows_of(results, input="inherent", model="e_is", train_k=160, test_k=160)[0]
    energy["auc"] = estimate(0.7, 0.02)
    network = rows_of(results, input="inherent", model="mpnn", train_k=160, test_k=160)[0]
    network["auc"] = estimate(0.8, 0.02)
    network["auc_minus_energy"] = {"value": 0.1, "low": 0.02, "high": 0.18, "p": 0.01, "p_holm": 0.04}
    assert said(results, r"AUC lies above that of e_IS alone.*MPNN at k = 160: 0\.800.*p = 0\.01 \(Holm 0\.04\)")
    assert not said(results, "No network has a higher AUC")
    network["auc_minus_energy"]["p_holm"] = 0.06  # one of several
    assert said(results, "No network has a higher AUC")
    network["auc"] = estimate(0.5, 0.02)
    network["auc_minus_energy"] = {"value": -0.2, "low": -0.3, "high": -0.1, "p": 0.001, "p_holm": 0.01}
    assert said(results, "AUC lies below that of e_IS alone.*MPNN at k = 160")
    assert said(results, "No network has a higher AUC")


def test_what_is_told_apart_at_equal_energy(results):
    at_equal = row("inherent", "mpnn", 5, 5, accuracy=0.6, auc=0.63) | {"test_T": None, "train_T": None}
    pair = {"T_slow": 0.54, "T_fast": 0.05, "k_slow": 150, "k_fast": 20, "difference": 1e-4, "se_difference": 4e-4}
    results["equal_energy"] = {"pair": pair, "rows": [at_equal | {"train_k": 0, "test_k": 0}]}
    assert said(results, r"At equal energy \(liquid at T = 0\.540.*differs by \+0\.00010 ± 0\.00040")
    assert said(results, r"Told apart at equal energy, inherent configurations \(26\), by AUC: MPNN 0\.630")


def test_the_page_has_a_table_of_equal_energy(tmp_path):
    results = synthetic_results() | {"classification": [], "learning_curves": []}
    at_equal = row("inherent", "mpnn", 0, 0, accuracy=0.6, auc=0.63) | {"test_T": None, "train_T": None}
    pair = {"T_slow": 0.54, "T_fast": 0.05, "k_slow": 150, "k_fast": 20, "difference": 1e-4, "se_difference": 4e-4}
    results["equal_energy"] = {"pair": pair, "rows": [at_equal]}
    page = write(results | {"conclusions": []}, {}, tmp_path).read_text(encoding="utf-8")
    assert "Inherent, liquid and glass of equal energy" in page
    assert ">150<" in page


def test_how_far_down_inherent_structures_are_told_apart(results):
    assert said(results, r"down to T = 0\.440 .*the coldest liquid tried")
    for r in rows_of(results, input="inherent", test_k=160):
        r["auc"] = estimate(0.55)
    assert said(results, r"down to T = 0\.635 .*at T = 0\.440, every interval holds one half")
    for r in rows_of(results, input="inherent"):
        r["auc"] = estimate(0.5)
    assert said(results, "Nothing tried tells")


def test_a_transferred_model_fails_by_its_threshold_or_worse(results):
    assert said(
        results, r"CNN trained at k = 5 on thermal configurations fails elsewhere by its threshold only: at k = 160"
    )
    assert said(results, r"CNN trained at k = 5 on inherent .*moving the threshold does not mend it")
    red = [r for r in rows_of(results, input="thermal", model="cnn", train_k=5) if r["test_k"] != 5]
    for r in red:
        r["accuracy_rethresholded"] = estimate(0.9)
        r["auc"] = estimate(0.93)
    assert said(results, r"CNN trained at k = 5 on thermal .*mostly, not only, by its threshold")
    for r in red:
        r["accuracy"] = estimate(1.0)
    assert said(results, r"CNN trained at k = 5 on thermal configurations does as well elsewhere")


def test_the_control_is_at_chance_or_not(results):
    assert said(results, r"k = 171 against k = 195, inherent configurations\) is at chance: .*all 4 models")
    results["classification"].append(row("thermal", "e_pot", 171, 171, accuracy=1.0, auc=1.0, control=True))
    assert said(
        results, r"thermal configurations\) is not at chance for 1 of 1 models: AUC potential energy alone 1\.000"
    )


def test_the_spread_of_tg(results):
    assert said(
        results, r"8 of 8 conventions that can tell find a transition, at Tg from 0\.300 to 0\.440: their .* exceeds"
    )
    for entry in results["tg"]:
        entry["low"], entry["high"] = entry["T"] - 0.1, entry["T"] + 0.1
    assert said(results, r"their spread of 0\.140 lies within the median 95% interval of one of them, 0\.200")
    for entry in results["tg"]:
        entry["found"] = None if entry["convention"].startswith("four points") else False
    assert said(results, "No glass transition is found: by none of 6 conventions that can tell")
    for entry in results["tg"]:
        entry["found"] = None
    assert said(results, "cannot tell whether there is a glass transition")


def test_the_reference_lines(results):
    assert said(results, r"agrees with the reference line of true minima at T >= 0\.80: it lies 0\.0010 above")
    assert said(
        results, r"published curve holds stalled minimisations, so it must lie above .*lies 0\.00\d\d above ours"
    )
    results["reference"]["difference"] |= {"max_standard_errors": 4.2}
    assert said(results, r"does NOT agree .* 4\.2 standard errors at most \(allowed: 4\)")
    results["reference"]["difference"] |= {"mean": -0.006, "max_standard_errors": 1.0}
    assert said(results, r"does NOT agree .* 0\.0060 below")
    results["reference"]["difference_published"] |= {"mean": 0.02}
    assert said(results, "which they should not")


def test_the_minimiser(results):
    assert said(results, r"All 12800 minimisations converged; the largest force left is 0\.0019")
    results["minimiser"]["n_unconverged"] = 3
    assert said(results, "3 of 12800 minimisations did not converge")


def test_nothing_is_concluded_from_nothing(results):
    results |= {"classification": [], "tg": [], "reference": {}}
    assert len(conclusions(results)) == 1


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
