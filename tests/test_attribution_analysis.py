import json
from pathlib import Path

import gsd.hoomd
import numpy as np
import pytest

from vitrify import analyses, classify, cli, store, study
from vitrify.analyses import attribution, attribution_section
from vitrify.attribution_figures import attribution_maps, beside_the_input, bond_attention_map, channel_maps
from vitrify.models import CNN, MPNN, Logistic
from vitrify.settings import Study, from_toml
from vitrify.workbench import Task

TINY = Path(__file__).parent / "tiny.toml"
OPTIONS = {"n_workers": 1, "progress": lambda _stage, _done, _total: None}


@pytest.fixture(scope="module")
def chosen() -> Study:
    tiny = from_toml(TINY)
    models = (CNN(width=4), MPNN(width=8, messages="bond", bond_heads=2), Logistic())
    classify = {"inputs": ["inherent"], "k": [1], "control": [], "null": False, "baselines": ["e_is"]}
    return Study.model_validate(
        tiny.model_dump()
        | {"models": [model.model_dump() for model in models]}
        | {"classify": tiny.classify.model_dump() | classify}
    )


@pytest.fixture(scope="module")
def out(chosen, tmp_path_factory):
    """The runs, the networks and their scores: a finished study but for its figures, which take longest."""
    folder = tmp_path_factory.mktemp("attribution")
    study.simulate(chosen, folder, **OPTIONS)
    ensemble = store.load(folder / "data", chosen.simulate, seed=chosen.seed, k=chosen.classify.records)
    outcomes = classify.learn_all(chosen, ensemble, folder / "models", equal={}, **OPTIONS)
    store.write_json(folder / "results.json", {"classification": classify.rows(ensemble.T, outcomes)})
    return folder


@pytest.fixture(scope="module")
def values(chosen, out):
    return json.loads(json.dumps(attribution.compute(chosen, out, **OPTIONS), allow_nan=False))


def test_every_network_adds_up_and_is_compared(values):
    assert [entry["model"] for entry in values["networks"]] == ["cnn", "mpnn", "logistic"]
    for entry in values["networks"]:
        assert entry["error"] < 1e-3
        assert entry["n_runs"] == 4
        assert entry["n_configurations"] == 8
        assert all(-1 <= one <= 1 for one in entry["randomised"])
        assert {row["field"] for row in entry["correlations"]} == {
            *("species", "psi5", "psi6", "voronoi_area", "voronoi_sides", "energy_unshifted")
        }
        assert all(row["low"] <= row["value"] <= row["high"] for row in entry["correlations"])
        for name in ("glass", "liquid"):
            shown = entry["shown"][name]
            apart = shown["logit"] - entry["baseline"]
            assert sum(shown["attribution"]) == pytest.approx(apart, abs=1e-3 * max(abs(apart), 0.1))
    assert len(values["agreement"]) == 2 * 3
    cnn, mpnn, logistic = values["networks"]
    assert cnn["pixels"]["error"] < 1e-3
    assert len(cnn["channels"]["maps"]["glass"]) == 4
    assert logistic["channels"] is None
    attention = np.array(mpnn["bonds"]["glass"]["attention"])
    assert attention.mean() == pytest.approx(1, abs=1e-3)


def test_the_section_says_and_draws_it(values):
    section = analyses.ANALYSES["attribution"].section(values)
    names = {drawing.name: drawing for drawing in section.drawings}
    assert {
        "attribution_map_inherent_k001",
        "attribution_correlations_inherent_k001",
        "bonds_mpnn_inherent_k001",
    } <= set(names)
    assert {"channels_cnn_inherent_k001", "attribution_input_logistic_inherent_k001"} <= set(names)
    for name, drawing in names.items():
        if name not in (
            "attribution_map_inherent_k001",
            "channels_cnn_inherent_k001",
            "bonds_mpnn_inherent_k001",
        ):  # drawn below
            assert drawing.draw(*drawing.values).axes
    words = " ".join(section.sentences)
    for piece in ("add up to the logit", "with random weights", "Dead channels", "attention to a bond", "agree on"):
        assert piece in words
    assert "On all n = 8 test configurations of 4 runs CNN has accuracy" in words
    assert "e_IS alone has accuracy" in words
    assert len(section.tables[0].rows) == 3 * 6 * 2


def test_the_columns_hold_what_was_found(values, out):
    entry = values["networks"][1]
    folder = out / entry["folder"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("glass.dump", "glass.gsd", "glass.xyz", "liquid.dump", "liquid.gsd", "liquid.xyz")
    ]
    with gsd.hoomd.open(str(folder / "glass.gsd")) as file:
        assert len(file) == 4
        assert file[0].configuration.step == entry["shown"]["glass"]["run"]
        assert file[0].log["particles/attribution"] == pytest.approx(np.array(entry["shown"]["glass"]["attribution"]))
        assert set(file[0].log) >= {"particles/psi5", "particles/voronoi_area", "particles/energy_unshifted"}


def test_the_figures_paint_glass_blue_and_mark_the_dead(values):
    cnn, mpnn, *_ = values["networks"]
    radius = values["radius"]
    figure = attribution_maps([cnn, mpnn], radius)
    panels = [ax for ax in figure.axes if ax.collections and ax.get_title(loc="left")]
    assert [ax.get_title(loc="left").partition(",")[0] for ax in panels] == [
        *("CNN: glass", "CNN: liquid", "MPNN: glass", "MPNN: liquid")
    ]
    one_way = cnn["shown"]["glass"] | {"attribution": [1.0] * 64}
    other = cnn["shown"]["liquid"] | {"attribution": [-1.0] * 64}
    figure = attribution_maps([cnn | {"shown": {"glass": one_way, "liquid": other}}], radius)
    (red, _, blue, _), (red_liquid, _, blue_liquid, _) = (
        ax.collections[0].get_facecolor()[0] for ax in figure.axes[:2]
    )
    assert blue > red
    assert red_liquid > blue_liquid
    marked = beside_the_input(mpnn, radius).axes[1].collections[0].get_facecolor()
    assert len(np.unique(marked, axis=0)) == 3
    dead = cnn | {"channels": cnn["channels"] | {"dead": [2]}}
    titles = [ax.get_title() for ax in channel_maps(dead).axes]
    assert titles[2] == "2: dead"
    assert not any("dead" in title for title in titles if title != "2: dead")
    assert len(bond_attention_map(mpnn, radius).axes[0].collections) == 2


def test_every_species_has_a_rim_and_a_name(values):
    entry = values["networks"][1]
    shown = entry["shown"]["glass"]
    three = {name: shown | {"species": [0] * 20 + [1] * 20 + [2] * 24} for name in ("glass", "liquid")}
    figure = attribution_maps([entry | {"shown": three}], (0.5, 0.4, 0.4))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B", "C"]
    edges = figure.axes[0].collections[0].get_edgecolor()
    assert len(np.unique(edges, axis=0)) == 3
    pair = attribution_maps([entry], values["radius"]).legends[0]
    assert [text.get_text() for text in pair.get_texts()] == ["A (majority)", "B"]


def test_a_verdict_follows_from_the_numbers(values):
    entry = values["networks"][0]
    learnt = attribution_section.section({**values, "networks": [entry | {"randomised": [0.1, -0.1]}]}).sentences
    built_in = attribution_section.section({**values, "networks": [entry | {"randomised": [0.5, -0.5]}]}).sentences
    assert any("comes with its training" in sentence and "0.10 in size" in sentence for sentence in learnt)
    assert any("comes with its architecture" in sentence and "0.50 in size" in sentence for sentence in built_in)


def test_what_cannot_be_looked_at_is_refused(chosen, out, tmp_path):
    def asked(k, kinds, folder=out):
        return attribution.attribute(chosen, folder, Task(input="inherent", k=k), kinds=kinds, n_runs=2, **OPTIONS)

    with pytest.raises(ValueError, match=r"trains no network on inherent k = 7; it does on inherent k = 1$"):
        asked(7, ())
    with pytest.raises(ValueError, match="model must be one of cnn, mpnn, logistic; got deepset"):
        asked(1, ("deepset",))
    with pytest.raises(ValueError, match="holds no trained cnn of this study: vitrify run the study there"):
        asked(1, ("cnn",), tmp_path)


def test_the_command_answers(chosen, out, capsys, tmp_path):
    text = TINY.read_text().partition("[[models]]")[0]
    file = tmp_path / "study.toml"
    for line in ("k = [1, 14]", "control = [17, 19]"):
        text = text.replace(line, line.partition("[")[0] + ("[1]" if "14" in line else "[]"))
    text = text.replace("[classify]", '[classify]\ninputs = ["inherent"]\nnull = false\nbaselines = ["e_is"]')
    file.write_text(text + '[[models]]\nkind = "cnn"\nwidth = 4\n')
    with pytest.raises(SystemExit) as ended:
        cli.main(["attribute", str(file), "--out", str(out), "--workers", "1", "--n", "2", "--k", "1"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "CNN, inherent configurations, k = 1 against 20" in said
    assert "4 configurations of 2 test runs" in said
    assert f"columns: {out / 'attribution' / 'inherent-k001-cnn'}" in said
    assert (out / "attribution" / "channels_cnn_inherent_k001.png").stat().st_size > 10_000
    with pytest.raises(SystemExit) as ended:
        cli.main(["attribute", str(file), "--out", str(out), "--n", "1"])
    assert ended.value.code == 1
    assert "--n must be at least 2 runs" in capsys.readouterr().err
