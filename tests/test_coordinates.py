"""Configurations written for other programs: what stands in each file, and that it is of the run in its name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vitrify import coordinates, store, study
from vitrify.columns_text import read_columns, write_columns
from vitrify.imported import Choice, Units, keep, understood
from vitrify.potentials import MIXTURES
from vitrify.settings import Study, from_toml
from vitrify.snapshots import BadTrajectoryError, Told
from vitrify.system import minimum_image
from vitrify.trajectories import read

FEW = {"n_runs": 4, "n_equilibrate": 60, "cool": {"T_start": 2.0, "T_end": 0.05, "n_steps": 400}}


def _quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def small() -> Study:
    tiny = from_toml(Path(__file__).parent / "tiny.toml").model_dump()
    cool = tiny["simulate"]["cool"] | FEW["cool"]
    return Study.model_validate(tiny | {"simulate": tiny["simulate"] | FEW | {"cool": cool}})


@pytest.fixture(scope="module")
def out(small: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    study.simulate(small, folder, n_workers=1, progress=_quiet)
    return folder


@pytest.mark.parametrize("form", ["text", "extxyz", "dump"])
@pytest.mark.parametrize("shown", ["thermal", "inherent"])
def test_a_file_holds_the_record_of_the_run_in_its_name(
    small: Study, out: Path, tmp_path: Path, form: coordinates.Format, shown: str
) -> None:
    found = coordinates.export(small, out, tmp_path, k=14, shown=shown, form=form, progress=_quiet)
    ensemble = store.load(out / "data", small.simulate, seed=small.seed, k=(1, 14, 20))
    expected = getattr(ensemble, shown)[:, 1]
    assert len(found.files) == found.n_written == 4
    for run, name in enumerate(found.files):
        assert name.startswith(f"run{run:04d}-T{ensemble.T[13]:.5f}-{shown}.")
        (frame,) = read(tmp_path / name)
        configuration = frame.configuration
        apart = minimum_image(configuration.positions - expected[run], configuration.box)
        assert np.abs(apart).max() < 1e-6
        np.testing.assert_array_equal(configuration.species, ensemble.species)
        np.testing.assert_array_equal(configuration.box, ensemble.box)
        assert frame.names == (("1", "2") if form == "text" else ("A", "B"))
        if form != "dump":  # which has no place for it
            assert frame.attributes == {"T": ensemble.T[13], "run": run, "record": 14, "input": shown}


def test_columns_are_type_x_y_for_any_program(small: Study, out: Path, tmp_path: Path) -> None:
    found = coordinates.export(small, out, tmp_path, k=20, shown="inherent", form="text", progress=_quiet)
    table = np.loadtxt(tmp_path / found.files[2])
    ensemble = store.load(out / "data", small.simulate, seed=small.seed, k=(20,))
    np.testing.assert_array_equal(table[:, 0], ensemble.species + 1)
    np.testing.assert_allclose(table[:, 1:], ensemble.inherent[2, 0], atol=1e-5)
    assert (tmp_path / found.files[2]).read_text().startswith("# type x y\n# box = ")


def test_exported_files_become_a_study_again(small: Study, out: Path, tmp_path: Path) -> None:
    for k in (1, 20):
        coordinates.export(small, out, tmp_path / "files", k=k, shown="thermal", form="text", progress=_quiet)
    sources = understood([str(tmp_path / "files" / "*.txt")], pattern=r"run(?P<run>\d+)-", given={})
    choice = Choice(told=Told(), mixture=MIXTURES["ka2d"], units=Units(), every=0, scaled=False)
    keep(sources, choice, tmp_path / "own", n_workers=1, progress=_quiet)
    again = from_toml(tmp_path / "own" / "study.toml")
    held = store.load(tmp_path / "own" / "data", again.simulate, seed=again.seed, k=(1, 2))
    first = store.load(out / "data", small.simulate, seed=small.seed, k=(1, 20))
    np.testing.assert_allclose(held.T, first.T[[0, 19]])
    np.testing.assert_allclose(held.e_pot_unshifted, first.e_pot_unshifted[:, [0, 19]], atol=1e-4)


def test_a_file_of_another_is_never_replaced(small: Study, out: Path, tmp_path: Path) -> None:
    first = coordinates.export(small, out, tmp_path, k=1, shown="thermal", form="text", progress=_quiet)
    (tmp_path / first.files[0]).unlink()
    (tmp_path / first.files[3]).write_text("mine")
    with pytest.raises(FileExistsError, match=r"run0003-.*nothing was written"):
        coordinates.export(small, out, tmp_path, k=1, shown="thermal", form="text", progress=_quiet)
    assert (tmp_path / first.files[3]).read_text() == "mine"
    assert not (tmp_path / first.files[0]).exists()
    (tmp_path / first.files[3]).unlink()
    again = coordinates.export(small, out, tmp_path, k=1, shown="thermal", form="text", progress=_quiet)
    assert again.n_written == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(first.files)


def test_the_command_says_what_it_wrote(small: Study, out: Path, call, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "tiny")
    words = ["export-coordinates", str(Path(__file__).parent / "tiny.toml"), "--to", "xyz", "--format", "extxyz"]
    words += ["--simulate.n-runs", "4", "--simulate.n-equilibrate", "60"]
    words += ["--simulate.cool.n-steps", "400"]
    done = call(*words, "--k", "14", "--input", "inherent", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["k"], told["input"], told["n_written"]) == (14, "inherent", 4)
    assert (tmp_path / "xyz" / told["files"][3]).exists()
    assert "k must be from 1" in call(*words, "--k", "21").stderr
    assert "--k" in call(*words).stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# type x y\n1 0.5 0.5\n", "line 1 .*there is no line '# box"),
        ("# type x y\n# box = 3\n1 0.5 0.5\n", "line 2 .*box must be 2 edge lengths"),
        ("# type x y\n# box = 3 4\n1 0.5\n", "line 3"),
        ("# type x y\n# box = 3 4\n1 0.5 nan\n", "line 3 .*y must be a finite number"),
        ("# type x y\n# box = 3 4\n", "no particles"),
        ("# type x y q\n# box = 3 4\n1 2 3 4\n", "first line must be"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(BadTrajectoryError, match=says):
        list(read(tmp_path / "a.txt"))


def test_a_file_by_hand_needs_a_cell_and_no_box(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# type x y z\n2 1 2 3\n1 0.5 0.25 4.5\n")
    (frame,) = read(tmp_path / "a.txt", Told(cell=(2.0, 3.0, 5.0), species=("1", "2")))
    assert frame.configuration.positions.tolist() == [[1.0, 2.0, 3.0], [0.5, 0.25, 4.5]]
    assert frame.configuration.species.tolist() == [1, 0]
    with pytest.raises(ValueError, match="one configuration; got 2"):
        write_columns(tmp_path / "b.txt", [frame, frame])
    write_columns(tmp_path / "b.txt.gz", [frame])
    (again,) = read_columns(tmp_path / "b.txt.gz", Told(species=("1", "2")))
    np.testing.assert_array_equal(again.configuration.positions, frame.configuration.positions)
