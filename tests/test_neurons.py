"""The neurons of a network with one hidden layer against five-fold order: activations, runs and classes."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from vitrify import classify, sets, store, study
from vitrify.analyses import attribution, attribution_section, neurons
from vitrify.attribution import across_runs
from vitrify.attribution_figures import neurons_against_order
from vitrify.dataset import Labelled
from vitrify.local_order import local_order
from vitrify.models import Shallow
from vitrify.settings import Study, from_toml, split
from vitrify.system import Configuration

TINY = from_toml(Path(__file__).parent / "tiny.toml")
QUIET = {"n_workers": 1, "progress": lambda _stage, _done, _total: None}
MODEL = Shallow(n_neurons=2)


def _tests(rng: np.random.Generator, n: int = 12) -> Labelled:
    """Return a liquid and a glass of ``n`` runs, all of them at random."""
    return Labelled(
        positions=(rng.random((2 * n, 40, 2)) * 6).astype(np.float32),
        species=np.repeat([0, 1], [26, 14]),
        box=np.full(2, 6.0),
        label=np.repeat([0, 1], n),
        run=np.tile(np.arange(n), 2),
    )


def test_correlation_across_runs_has_the_interval_of_the_formula(rng: np.random.Generator) -> None:
    one = rng.normal(size=30)
    other = one + rng.normal(size=30)
    found = across_runs(one, other)
    rho = spearmanr(one, other).statistic
    reach = 1.959964 * np.sqrt((1 + rho**2 / 2) / 27)
    assert found.value == pytest.approx(rho)
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(np.arctanh(rho) + np.array([-reach, reach]))))
    assert across_runs(one, -other).value == pytest.approx(-rho)
    assert across_runs(one[:4], other[:4]).p == 1.0
    perfect = across_runs(one, one)
    assert perfect.value == 1.0
    assert perfect.low < 1.0


def test_correlation_across_runs_errs_as_often_as_it_says(rng: np.random.Generator) -> None:
    n, times, rho = 16, 1500, 0.6
    population = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of two normal numbers
    held, wrong = 0, 0
    for _ in range(times):
        one, noise, free = rng.normal(size=(3, n))
        found = across_runs(one, rho * one + np.sqrt(1 - rho**2) * noise)
        held += found.low <= population <= found.high
        wrong += across_runs(one, free).p < 0.05
    assert 0.93 <= held / times <= 0.975
    assert 0.035 <= wrong / times <= 0.065


def test_activations_times_their_weights_are_the_logit(rng: np.random.Generator) -> None:
    network = MODEL.build(seed=1).eval()
    tests = _tests(rng)
    found = sets.activations(MODEL, network, tests.positions, tests.species, tests.box)
    _, _, own = sets.named_weights(MODEL, network)
    logit = network(*MODEL.inputs(tests.positions, tests.species, tests.box)).detach().numpy()
    assert found.shape == (24, 2)
    assert np.abs(found).max() < 1
    np.testing.assert_allclose(found @ own + network.layers[-1].bias.item(), logit, atol=1e-5)
    with pytest.raises(TypeError, match="built by Shallow"):
        sets.activations(MODEL, network.layers, tests.positions, tests.species, tests.box)


def test_a_neuron_that_answers_in_one_class_is_found_there_alone(rng: np.random.Generator) -> None:
    network, tests = MODEL.build(seed=1).eval(), _tests(rng, n=20)
    activation = sets.activations(MODEL, network, tests.positions, tests.species, tests.box)
    order = rng.normal(size=40)
    order[tests.label == 1] = -activation[tests.label == 1, 1]  # the second neuron falls with it in the glass
    found = neurons.activations(network, MODEL, tests, order)
    rows = {(row["neuron"], row["class"]): row for row in found["rows"]}
    assert set(rows) == {(1, "liquid"), (1, "glass"), (2, "liquid"), (2, "glass")}
    assert rows[2, "glass"]["value"] == pytest.approx(-1)
    assert rows[2, "glass"]["p_holm"] < 1e-3
    assert all(abs(rows[2, "liquid"][end]) < 0.9 for end in ("low", "value", "high"))
    assert all(row["n_runs"] == 20 for row in found["rows"])
    assert all(row["p_holm"] >= row["p"] for row in found["rows"])
    entry = {"model": "shallow", "neurons": found, "classes": ["hot", "cold"]}
    said = neurons.sentence(entry)
    assert said.startswith("Exploratory")
    assert "neuron 2 in the class cold, rho = -1.00" in said
    left = entry | {"neurons": found | {"rows": [row | {"p_holm": 0.5} for row in found["rows"]]}}
    assert "left open by 4 correlations over 20 test runs" in neurons.sentence(left)


def test_each_panel_is_of_its_neuron_and_each_marker_of_its_class(rng: np.random.Generator) -> None:
    network, tests = MODEL.build(seed=2).eval(), _tests(rng)
    order = rng.random(24)
    found = neurons.activations(network, MODEL, tests, order)
    figure = neurons_against_order({"neurons": found, "classes": ["hot", "cold"]})
    for place, ax in enumerate(figure.axes):
        assert ax.get_title(loc="left").startswith(f"neuron {place + 1}, weight")
        for label, line in enumerate(ax.lines):
            np.testing.assert_allclose(line.get_xdata(), order[tests.label == label])
            np.testing.assert_allclose(line.get_ydata(), np.array(found["activation"])[place][tests.label == label])
            (row,) = [
                row for row in found["rows"] if (row["neuron"], row["class"]) == (place + 1, ("liquid", "glass")[label])
            ]
            assert line.get_label().startswith(("hot", "cold")[label])
            assert f"{row['value']:+.2f} [{row['low']:+.2f}" in line.get_label()


def test_the_analysis_looks_at_every_test_run_and_no_other(tmp_path: Path) -> None:
    asked = {"inputs": ["inherent"], "k": [1], "control": [], "null": False, "baselines": ["e_is"], "test": 0.6}
    short = TINY.simulate.model_dump() | {"n_equilibrate": 60}
    short["cool"] = short["cool"] | {"n_steps": 400}
    chosen = Study.model_validate(
        TINY.model_dump()
        | {"classify": TINY.classify.model_dump() | asked, "simulate": short, "models": [MODEL.model_dump()]}
    )
    study.simulate(chosen, tmp_path, **QUIET)
    ensemble = store.load(tmp_path / "data", chosen.simulate, seed=chosen.seed, k=chosen.classify.records)
    classify.learn_all(chosen, ensemble, tmp_path / "models", equal={}, **QUIET)
    values = attribution.compute(chosen, tmp_path, **QUIET)
    (entry,) = values["networks"]
    found, runs = entry["neurons"], split(chosen).test
    assert len(runs) > attribution.N_RUNS  # more than the maps are drawn of
    assert sorted(found["run"]) == sorted([*runs, *runs])
    for run, label, order in zip(found["run"], found["label"], found["order"], strict=True):
        positions = ensemble.inherent[run, ensemble.place("k", 20 if label else 1)].astype(float)
        shown = Configuration(positions=positions, species=ensemble.species, box=ensemble.box)
        assert order == pytest.approx(local_order(shown)["psi5"].mean(), abs=1e-6)
    section = attribution_section.section(values)
    assert any(one.startswith("Exploratory") for one in section.sentences)
    assert [one.name for one in section.drawings if "neurons" in one.name] == ["neurons_shallow_inherent_k001"]
    assert "five-fold order" in section.tables[1].title
    assert len(section.tables[1].rows) == 4
