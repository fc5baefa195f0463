"""The benchmarks of the learning: peers that are what they are called, and a row for every pair."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("torch_geometric", reason="the peers need the dev extra")

from benchmarks import learning, peers, results
from benchmarks.__main__ import main, merged

from test_figures import difference
from vitrify import conclusions
from vitrify.models import MODELS
from vitrify.report import Section, Table
from vitrify.views import Graph, Image

BOX = np.array([6.0, 6.0])
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(learning, "_TURNS", 1)
    monkeypatch.setattr(learning, "_TURN_S", 0.0)
    monkeypatch.setattr(learning, "_STEP_PARTICLES", 1)


def check(rows, names):
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert set(row) == {"name", "value", "unit", "peer", "peer_value", "ratio"}
        assert row["peer"]
        assert row["value"] > 0
        assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])  # of one turn
        assert math.isfinite(row["ratio"])


@pytest.mark.usefixtures("_short")
def test_drawing_has_a_row_for_every_size_and_the_logs_picture():
    rows = learning.drawing(pixels=(32, 64), n_log=100)
    check(rows, [f"drawing N = 400, {size} x {size}" for size in (32, 64)] + ["drawing N = 100 as the log did"])


@pytest.mark.usefixtures("_short")
def test_neighbours_are_timed_beside_two_peers():
    rows = learning.neighbours(sizes=(100,))
    check(rows, ["6 nearest neighbours, N = 100"] * 2)
    assert [row["peer"] for row in rows] == ["scipy cKDTree", "freud AABBQuery"]


@pytest.mark.usefixtures("_short")
def test_every_network_is_timed_beside_the_logs():
    rows = learning.networks(sizes=(400,), batch_size=4, pixels=32)
    check(
        rows,
        [f"{name} {task}, N = 400, batch 4" for task in ("training", "scoring") for name in (*MODELS, learning.COARSE)],
    )


@pytest.mark.usefixtures("_short")
def test_messages_are_timed_beside_pyg():
    rows = learning.messages(sizes=(100,), batch_size=4)
    check(rows, [f"mpnn {task}, N = 100, batch 4" for task in ("training", "scoring")])


def test_the_first_turn_does_not_count(monkeypatch):
    monkeypatch.setattr(learning, "_TURNS", 2)
    order = []

    def program(name, rates):
        def turn():
            order.append(name)
            return rates.pop(0)

        return turn

    rows = learning._beside("x", "1/s", {"": program("ours", [1, 4, 6]), "peer": program("peer", [100, 2, 2])})
    assert order == ["ours", "peer"] * 3
    assert (rows[0]["value"], rows[0]["peer_value"], rows[0]["ratio"]) == (5, 2, 2.5)


def test_the_logs_network_has_its_weights():
    with torch.device("meta"):
        network = peers.Swanson()
    assert sum(weight.numel() for weight in network.parameters()) == 71_900_784


def test_the_peers_network_hears_from_the_neighbours():
    rng = np.random.default_rng(1)
    positions, species = (rng.random((3, 40, 2)) * BOX).astype(np.float32), np.arange(40) % 2
    graphs = peers.graphs(*Graph()(positions, species, BOX), n_distance=8)
    assert graphs[0].edge_index.shape == (2, 240)
    assert set(graphs[0].edge_index[0, :6].tolist()) == set(Graph()(positions, species, BOX)[0][0, 0].tolist())
    assert (graphs[0].edge_index[1, :6] == 0).all()
    torch.manual_seed(0)
    network = peers.EdgeMLP(width=8, n_rounds=2, n_distance=8)
    together = peers.score(network, graphs)
    assert together.shape == (3, 2)
    for i in range(3):
        torch.testing.assert_close(peers.score(network, graphs[i : i + 1])[0], together[i])
    graphs[1].edge_attr[0] += 1.0
    assert not torch.allclose(peers.score(network, graphs)[1], together[1])


def test_matplotlib_draws_the_same_ink():
    positions, species = np.array([[2.0, 2.0], [4.0, 4.5]], np.float32), np.array([0, 1])
    (ours,) = Image(pixels_per_sigma=20)(positions[None], species, BOX)
    theirs = peers.draw_discs(positions, species, BOX, radius=(0.6, 0.4), pixels=120)
    assert theirs.shape == (120, 120, 4)
    blue = 1 - theirs[..., 0] / 255  # of blue discs and white ground
    orange = 1 - theirs[..., 2] / 255
    assert ours[0, 0].sum() / 255 == pytest.approx(orange.sum(), rel=0.05)
    assert ours[0, 1].sum() / 255 == pytest.approx(blue.sum(), rel=0.05)
    dots = peers.draw_dots(positions, species, BOX)
    assert dots.shape == (250, 250, 4)
    assert 4 <= ((dots[..., :3] != 255).any(2)).sum() <= 24


def test_rows_taken_again_stay_in_their_places():
    old = [{"name": "a", "peer": "p", "ratio": 1}, {"name": "b", "peer": "p", "ratio": 1}]
    new = [{"name": "c", "peer": "p", "ratio": 2}, {"name": "a", "peer": "p", "ratio": 2}]
    assert [(row["name"], row["ratio"]) for row in merged(old, new)] == [("a", 2), ("b", 1), ("c", 2)]


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(SystemExit, match=r"engine, cuda, learning, trajectories; got nothing"):
        main(["nothing"])


def test_an_analysis_is_written_with_its_short_tables():
    short = Table(title="Short", columns=("a", "b"), rows=[("x | y", "1")])
    long = Table(title="Long", columns=("a",), rows=[("1",)] * 41)
    section = Section(anchor="it", title="It", sentences=["So it is."], tables=[short, long])
    assert results.words(section) == [
        "## It",
        "",
        "- So it is.",
        "",
        "**Short**",
        "",
        "| a | b |",
        "|---|---|",
        "| x \\| y | 1 |",
        "",
    ]


def test_a_cross_validation_is_one_family_of_claims_with_a_table_each():
    def row(model, auc, more):
        scores = {f"{name}{end}": auc for name in ("accuracy", "auc") for end in ("", "_low", "_high")}
        beside = {"auc_minus_energy": None, "auc_at_equal_energy": None}
        if more is not None:
            beside = {"auc_minus_energy": difference(-0.05, 0.01), "auc_at_equal_energy": difference(*more)}
        return {"model": model, "fold": "pooled", "n_test": 26, "n_runs": 13} | scores | beside

    first = {
        "where": "Inherent structures, liquid at T = 0.635",
        "rows": [row("cnn", 0.9, (0.0, 0.1)), row("e_is", 0.95, None)],
    }
    second = {"where": "Inherent structures, liquid at T = 0.489", "rows": [row("mpnn", 0.8, (0.3, 0.05))]}
    claims = results.folded_claims([first, second], 0.05)
    assert [(claim.where, claim.answer, claim.n_family, claim.n_runs) for claim in claims] == [
        (first["where"], "open", 2, 13),
        (second["where"], "shown", 2, 13),
    ]
    lines = results.folded([[first, second]], 0.05)
    assert lines[:2] == [f"- {claim.sentence}" for claim in claims]
    cnn, energy, mpnn = (line for line in lines if line.startswith(("| CNN", "| e_IS", "| MPNN")))
    assert "| -0.050 [-0.072, -0.028] | 0.500 [" in cnn
    assert cnn.endswith("| open | 26 | 13 |")
    assert energy.endswith("|  |  |  |  | 26 | 13 |")
    assert "| 0.800 [" in mpnn
    assert mpnn.endswith("| shown | 26 | 13 |")


def test_every_sentence_of_the_benchmark_page_follows_from_what_is_kept_beside_it():
    page, known = (DOCS / "benchmark.md").read_text("utf-8"), json.loads((DOCS / "benchmark.json").read_text("utf-8"))
    claims = [claim.to_json() for claim in conclusions.claims(known)]
    assert claims == known["claims"]
    margin = known["study"]["classify"]["margin"]
    again = [
        *conclusions.summary(known),
        *conclusions.sentences(known),
        *conclusions.energy_sentences(known),
        *(claim.sentence for family in known["folds"] for claim in results.folded_claims(family, margin)),
    ]
    for sentence in again:
        assert f"- {sentence}\n" in page, sentence
    readme = (
        (DOCS.parent / "README.md").read_text("utf-8").partition("## Is it only the energy?")[2].partition("\n## ")[0]
    )
    quoted = [
        " ".join(one.replace("> ", " ").split()) for one in re.findall(r"> - (.*?)(?=\n> - |\n\n)", readme, re.DOTALL)
    ]
    assert len(quoted) >= 3
    for sentence in quoted:
        assert sentence in again, sentence
