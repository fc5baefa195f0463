"""Models that leave their study: made, kept, loaded, asked about a user's files, and their answers written back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vitrify import cli, dynamics, packed, predict, store
from vitrify.imported import Units
from vitrify.pack import card_text, pack
from vitrify.potentials import MIXTURES
from vitrify.settings import from_toml
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.system import stream
from vitrify.trajectories import read, write
from vitrify.workbench import Task

TINY = from_toml(Path(__file__).parent / "tiny.toml")
SHIPPED = ("ka2d-inherent", "ka2d-thermal", "ka3d-inherent", "ka3d-thermal")


def quiet(_stage, _done, _total):
    pass


def make(root, **changes):
    asked = {"kind": "mpnn", "n_networks": 2, "folder": root / "small", "n_workers": 1, "progress": quiet} | changes
    return pack(TINY, root / "tiny", Task(input="inherent", k=1), **asked)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("packed")


@pytest.fixture(scope="module")
def card(root):
    return make(root)


def cooled(name, *, n, T, seed, n_steps=4000):
    """A sample of a mixture brought from T = 2 to T, with its particles in no order."""
    rng = stream(seed, "cooled", name)
    state = dynamics.start(MIXTURES[name], n_particles=n, T=2.0, rng=rng)
    state = dynamics.advance(state, n_steps=n_steps, dt=0.005, T_from=2.0, T_to=T, tau=0.5, rng=rng)
    shown = dynamics.configuration(state)
    order = rng.permutation(n)
    mixed = replace(shown, positions=shown.positions[order], species=shown.species[order])
    d = shown.dimension
    columns = {"id": np.arange(1, n + 1), "charge": np.arange(n) / 2}
    return Snapshot(configuration=mixed, names=("1", "2"), step=seed, columns=columns, origin=(0.0,) * d)


def test_a_card_tells_what_the_model_is_and_what_it_scored(root, card):
    assert card == json.loads((root / "small" / "card.json").read_text())
    own, energy = card["scores"]
    assert (own["model"], energy["model"], card["energy"]) == ("mpnn, mean of 2", "e_is", "e_is")
    assert own["part"] == "test"
    assert own["n_test"] == 2 * card["runs"]["test"]
    assert card["T"] == pytest.approx({"liquid": 1.9025, "glass": 0.05})
    words = (root / "small" / "CARD.md").read_text()
    assert words == card_text(card)
    assert "vitrify pack tiny --input inherent --k 1 --model mpnn --networks 2 --to small" in words
    assert f"| {own['n_test']} |" in words


def test_packing_again_touches_nothing_and_other_settings_are_refused(root, card, monkeypatch):
    before = (root / "small" / "best.pt").read_bytes()
    monkeypatch.setattr("vitrify.workbench.scored", lambda *_a, **_k: pytest.fail("the test runs were touched twice"))
    assert make(root) == card
    assert (root / "small" / "best.pt").read_bytes() == before
    with pytest.raises(ValueError, match="holds a model of other settings"):
        make(root, n_networks=1)


def test_what_is_loaded_answers_as_what_was_saved(root, card):
    model = packed.load(str(root / "small"))
    one = dynamics.configuration(dynamics.start(MIXTURES["ka2d"], n_particles=64, T=1.0, rng=stream(1, "one")))
    verdict = model.judge(one, attribute=True)
    packed.save(root / "again", model)
    again = packed.load(str(root / "again")).judge(one, attribute=True)
    np.testing.assert_array_equal(again.to_glass, verdict.to_glass)
    assert (again.p_glass, again.low, again.high) == (verdict.p_glass, verdict.low, verdict.high)
    assert verdict.low < verdict.p_glass < verdict.high


def test_shares_of_the_particles_add_up_and_turn_with_them(root, card):
    model = packed.load(str(root / "small"))
    mixture = MIXTURES["ka2d"]
    shown = [
        dynamics.configuration(dynamics.start(mixture, n_particles=64, T=1.0, rng=stream(seed, "two")))
        for seed in (1, 2)
    ]
    one, two = (model.judge(configuration, attribute=True) for configuration in shown)
    # the logit of mean features is the same for both, so the sums differ as the logits do
    assert one.to_glass.sum() - two.to_glass.sum() == pytest.approx(one.logit - two.logit, abs=5e-3)
    swapped = np.r_[np.arange(42)[::-1], 63 - np.arange(22)]  # within each species
    other = model.judge(replace(shown[0], positions=shown[0].positions[swapped]), attribute=True)
    np.testing.assert_allclose(other.to_glass, one.to_glass[swapped], atol=1e-4)


def test_one_network_has_no_interval(root, card):
    model = packed.load(str(root / "small"))
    alone = replace(model, members=model.members[:1])
    one = dynamics.configuration(dynamics.start(MIXTURES["ka2d"], n_particles=64, T=1.0, rng=stream(1, "one")))
    assert np.isnan(alone.judge(one).low)


def test_a_model_that_is_not_there_is_said_with_those_that_are():
    with pytest.raises(FileNotFoundError, match="shipped: those are ka2d-inherent, ka2d-thermal, ka3d-inherent, ka3d"):
        packed.load("ka4d")


class Evil:
    def __reduce__(self):
        return print, ("run by a checkpoint",)


def test_a_checkpoint_that_would_run_code_is_refused(root, card, tmp_path, capsys):
    (tmp_path / "card.json").write_bytes((root / "small" / "card.json").read_bytes())
    torch.save({"members": Evil()}, tmp_path / "best.pt")
    with pytest.raises(store.DamagedFileError, match="is damaged"):
        packed.load(str(tmp_path))
    assert "run by" not in capsys.readouterr().out


def test_a_model_of_another_shape_is_refused(root, card, tmp_path):
    (tmp_path / "card.json").write_bytes((root / "small" / "card.json").read_bytes())
    torch.save({"members": []}, tmp_path / "best.pt")
    with pytest.raises(store.DamagedFileError, match="holds no packed model this version can read"):
        packed.load(str(tmp_path))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_tell_their_glass_from_their_liquid(name):
    model, mixture = packed.load(name), name[:4]
    n = {"ka2d": 400, "ka3d": 500}[mixture]
    told, units = Told(), Units()
    found = {}
    for T in (1.5, 0.05):
        frame = cooled(mixture, n=n, T=T, seed=1, n_steps=4000 if T > 1 else 40_000)
        found[T] = model.judge(predict.looked_at(frame, model, told, units)[0])
    assert found[1.5].p_glass < 0.2
    assert found[0.05].logit > found[1.5].logit + 1
    assert found[1.5].place.distance < 1.25
    if name.endswith("thermal"):
        assert found[0.05].p_glass > 0.8
    assert model.card["command"].endswith(f"--to {name}")


@pytest.mark.parametrize("suffix", [".lammpstrj", ".gsd", ".extxyz.gz"])
def test_answers_are_written_beside_the_particles_they_are_of(tmp_path, suffix):
    path, out = tmp_path / f"mine{suffix}", tmp_path / f"out{suffix}"
    write(path, [cooled("ka2d", n=100, T=1.0, seed=seed) for seed in (1, 2, 3)])
    model = packed.load("ka2d-inherent")
    found = predict.predict(path, model, Told(), Units(), out=out, every=2, progress=quiet)
    assert [row["frame"] for row in found["frames"]] == [2]
    (before,), (after,) = [one for one in read(path) if one.frame == 2], list(read(out))
    np.testing.assert_allclose(after.configuration.positions, before.configuration.positions, atol=1e-4)
    np.testing.assert_allclose(after.columns["charge"], before.columns["charge"])
    configuration, order = predict.looked_at(before, model, Told(), Units())
    verdict = model.judge(configuration, attribute=True)
    np.testing.assert_allclose(after.columns["to_glass"][order], verdict.to_glass, atol=1e-4)
    assert found["frames"][0]["p_glass"] == pytest.approx(verdict.p_glass, abs=1e-4)
    if suffix != ".lammpstrj":
        assert float(np.ravel(after.attributes["p_glass"])[0]) == pytest.approx(verdict.p_glass, abs=1e-4)


def test_a_file_that_cannot_be_scored_leaves_none_behind(tmp_path):
    path, out = tmp_path / "mine.lammpstrj", tmp_path / "out.lammpstrj"
    good = cooled("ka2d", n=100, T=1.0, seed=1)
    other = replace(
        good, configuration=replace(good.configuration, species=good.configuration.species[::-1].copy()), step=2
    )
    one_less = replace(other, configuration=replace(other.configuration, species=np.zeros(100, int)))
    write(path, [good, one_less])
    with pytest.raises(BadTrajectoryError, match=r"mine\.lammpstrj, frame 2: ka2d of 100 particles has 65 A, then B"):
        predict.predict(path, packed.load("ka2d-inherent"), Told(), Units(), out=out, progress=quiet)
    assert list(tmp_path.iterdir()) == [path]


def run(*words):
    """Return the exit code of the command line."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    return end.value.code


def test_the_command_scores_and_warns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = Path("thin.lammpstrj")
    frame = cooled("ka2d", n=400, T=1.0, seed=1)
    shown = frame.configuration
    write(path, [replace(frame, configuration=replace(shown, positions=shown.positions * 1.2, box=shown.box * 1.2))])
    assert run("predict", str(path), "--model", "ka2d-thermal", "--no-map") == 0
    printed = capsys.readouterr().out
    assert "do not believe ka2d-thermal in 1 of 1 frames" in printed
    assert "its density is 0.833, and the model was trained at 1.200" in printed
    assert "written: thin.scored.lammpstrj" in printed
    assert "to_glass" not in Path("thin.scored.lammpstrj").read_text()
    assert run("predict", str(path), "--model", "ka2d-thermal") == 1
    assert "is there already" in capsys.readouterr().err


def test_the_command_diagnoses_in_words_and_as_json(tmp_path, capsys):
    path = tmp_path / "one.lammpstrj"
    write(path, [cooled("ka2d", n=400, T=1.0, seed=1)])
    assert run("diagnose", str(path), "--model", "ka2d-thermal", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "n_particles", "dimension", "species", "density", "T_kinetic", "T_configurational", "crystalline_fraction",
        "n_frames", "warnings",
    } <= set(found)  # fmt: skip
    assert run("diagnose", str(path), "--model", "ka2d-thermal") == 0
    words = capsys.readouterr().out
    assert "400 in 2 dimensions" in words
    assert "- no problem was found" in words
