"""Readers and writers of trajectories: files nobody here made, round trips, and all that can be wrong with one."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import gsd.hoomd
import numpy as np
import pytest
import zstandard
from benchmarks import trajectories as benchmark
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitrify import trajectories
from vitrify.potentials import MIXTURES, energies
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.system import Configuration, minimum_image
from vitrify.text_lines import Lines
from vitrify.trajectories import read, write

DATA = Path(__file__).parents[2] / "shared" / "data"
public = pytest.mark.skipif(not DATA.exists(), reason=f"the public configurations of {DATA} are not here")

HEAD = "ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS pp pp pp\n-1 3\n-1 4\n-1 5\n"
BODY = "ITEM: ATOMS id type x y z\n2 2 1.5 2.5 3.5\n1 1 0 0.25 0.5\n3 1 2 3 4\n"
DUMP = "".join(HEAD.format(step=step) + BODY for step in (0, 100))
EXTENDED = (
    '2\nLattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3:charge:R:1 pbc="T T T" energy=-1.5 Step=3\n'
    "A 1 2 3 0.5\nB 3 4 5 -0.5\n"
)
RUMD = (
    "2\nioformat=2 timeStepIndex=4 numTypes=2 integrator=IntegratorNVT,0.002,0.7,0.2,0.1 "
    "sim_box=RectangularSimulationBox,4,5,6 mass=1,1 columns=type,x,y,z,imx,imy,imz,pe,vir\n"
    "0 -2 -2.5 -3 0 0 1 -5 1\n1 1 2 2.5 0 0 0 -6 2\n"
)
PLAIN = "2\nany words\nA 1 2 3\nB 3 4 5\n"
DATA_FILE = (
    "LAMMPS data file via write_data, version 2 Aug 2023, timestep = 700\n\n3 atoms\n2 atom types\n\n-1 3 xlo xhi\n"
    "-1 4 ylo yhi\n-1 5 zlo zhi\n\nMasses\n\n1 1\n2 1\n\nAtoms # atomic\n\n"
    "2 2 1.5 2.5 3.5 0 0 1\n1 1 0 0.25 0.5 0 0 0\n"
    "3 1 2 3 4 0 -1 0\n\nVelocities\n\n1 1 0 0\n3 3 0 0\n2 2 0 0\n"
)


def put(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def same(one: Snapshot, two: Snapshot, tolerance: float = 1e-12) -> None:
    a, b = one.configuration, two.configuration
    np.testing.assert_allclose(a.box, b.box, rtol=max(tolerance / 10, 1e-15))
    assert (one.names, a.dimension) == (two.names, b.dimension)
    np.testing.assert_array_equal(a.species, b.species)
    assert np.abs(minimum_image(a.positions - b.positions, a.box)).max() < tolerance


# files nobody here made


@public
@pytest.mark.parametrize(
    ("name", "n_frames", "counts", "box", "mixture"),
    [
        ("ka2d_s.lammpstrj", 10, [650, 350], [28.8675] * 2, "ka2d"),
        ("ka2d_u.lammpstrj", 10, [650, 350], [28.8675] * 2, "ka2d"),
        ("ka3d_s.lammpstrj", 10, [800, 200], [9.41036] * 3, "ka3d"),
        ("ka3d_T2.0.xyz.gz", 24, [3200, 800], [14.938] * 3, "ka3d"),
        ("lj.gsd", 10, [1000], [20.0] * 3, None),
    ],
)
def test_public_files_are_read_and_written_in_every_format(
    name: str, n_frames: int, counts: list[int], box: list[float], mixture: str | None, tmp_path: Path
) -> None:
    frames = list(read(DATA / name))
    assert [frame.frame for frame in frames] == list(range(1, n_frames + 1))
    for frame in frames:
        np.testing.assert_allclose(frame.configuration.box, box)
        assert np.bincount(frame.configuration.species).tolist() == counts
        if mixture:
            assert frame.configuration.density == pytest.approx(1.2, abs=1e-4)
    kept = frames[:2]
    for suffix, tolerance in ((".lammpstrj", 1e-12), (".extxyz.gz", 1e-12), (".gsd", 2e-6), (".lammpstrj.zst", 1e-12)):
        path = tmp_path / f"copy{suffix}"
        assert write(path, kept) == 2
        again = list(read(path))
        for one, two in zip(kept, again, strict=True):
            same(one, two, tolerance)
            assert (one.step, one.frame) == (two.step, two.frame)
            for column, values in one.columns.items():
                np.testing.assert_allclose(two.columns[column], values, rtol=1e-6)


@public
def test_wrapped_and_unwrapped_twins_are_the_same() -> None:
    for one, two in zip(read(DATA / "ka2d_s.lammpstrj"), read(DATA / "ka2d_u.lammpstrj"), strict=True):
        same(one, two, 2e-4)  # they were written with six digits


@public
def test_energies_of_public_files_are_those_of_their_source() -> None:
    frames = list(read(DATA / "ka3d_T2.0.xyz.gz"))
    own = [frame.columns["pe"].mean() for frame in frames]
    ours = [energies(frame.configuration, MIXTURES["ka3d"]).shifted for frame in frames[::6]]
    np.testing.assert_allclose(ours, own[::6], atol=2e-4)
    assert np.mean(own[-10:]) == pytest.approx(-4.6539, abs=0.02)  # the frames before are of one moment
    assert {frame.attributes["T"] for frame in frames} == {2.0}
    assert frames[-1].time == pytest.approx(4194304 * 0.000665413)
    cold = [energies(frame.configuration, MIXTURES["ka3d"]).shifted for frame in read(DATA / "ka3d_s.lammpstrj")]
    assert np.mean(cold) == pytest.approx(-6.66, abs=0.02)


# one configuration in many forms


def _dump(columns: str, rows: list[str], *, bounds: str = "0 4\n0 5\n0 6\n", boundary: str = "pp pp pp") -> str:
    head = f"ITEM: TIMESTEP\n7\nITEM: NUMBER OF ATOMS\n{len(rows)}\nITEM: BOX BOUNDS {boundary}\n{bounds}"
    return head + f"ITEM: ATOMS {columns}\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("id type x y z", ["1 1 1 2 3", "2 2 3.5 4 5"]),
        ("z id y type x", ["5 2 4 2 3.5", "3 1 2 1 1"]),
        ("id type xs ys zs", ["1 1 0.25 0.4 0.5", "2 2 0.875 0.8 0.83333333333333333"]),
        ("id type xu yu zu", ["2 2 -0.5 4 5", "1 1 1 7 3"]),
        ("id type xsu ysu zsu", ["1 1 1.25 0.4 -0.5", "2 2 0.875 -0.2 0.83333333333333333"]),
        ("id type x y z ix iy iz", ["1 1 1 2 3 4 -5 6", "2 2 3.5 4 5 0 0 0"]),
        ("type x y z vx", ["1 1 2 3 9", "2 3.5 4 5 9"]),
    ],
)
def test_every_form_of_coordinates_is_the_same_configuration(columns: str, rows: list[str], tmp_path: Path) -> None:
    (frame,) = read(put(tmp_path, "a.lammpstrj", _dump(columns, rows)))
    np.testing.assert_allclose(frame.configuration.positions, [[1, 2, 3], [3.5, 4, 5]], atol=1e-12)
    assert frame.configuration.species.tolist() == [0, 1]
    assert frame.step == 7


def test_scaled_coordinates_and_the_origin_of_the_box(tmp_path: Path) -> None:
    text = _dump("id type xs ys zs", ["1 1 0.25 0.4 0.5"], bounds="-2 2\n3 8\n0 6\n")
    (frame,) = read(put(tmp_path, "a.dump", text))
    np.testing.assert_allclose(frame.configuration.positions, [[1, 2, 3]])
    assert frame.origin == (-2, 3, 0)
    write(tmp_path / "b.dump", [frame])
    assert "\n-2.0 2.0\n3.0 8.0\n" in (tmp_path / "b.dump").read_text()
    assert "\n1 1 -1.0 5.0 3.0\n" in (tmp_path / "b.dump").read_text()


def test_images_are_counted_from_unwrapped_coordinates(tmp_path: Path) -> None:
    (flagged,) = read(put(tmp_path, "a.dump", _dump("id type x y z ix iy iz", ["1 1 4.5 2 3 1 0 -2"])))
    (unwrapped,) = read(put(tmp_path, "b.dump", _dump("id type xu yu zu", ["1 1 8.5 2 -9"])))
    for frame in (flagged, unwrapped):
        assert [frame.columns[axis].tolist() for axis in ("ix", "iy", "iz")] == [[2], [0], [-2]]


@pytest.mark.parametrize(
    "bounds", ["0 4\n0 5\n0 0\n", "0 4\n0 5\n-0.5 0.5\n", "0 4\n0 5\n-1e-6 1e-6\n", "0 4\n0 5\n0 9\n"]
)
def test_two_dimensions_are_seen_from_z(bounds: str, tmp_path: Path) -> None:
    (flat,) = read(put(tmp_path, "a.dump", _dump("id type x y z", ["1 1 1 2 0", "2 1 3 4 0"], bounds=bounds)))
    assert flat.configuration.box.tolist() == [4, 5]
    (lacking,) = read(put(tmp_path, "b.dump", _dump("id type x y", ["1 1 1 2", "2 1 3 4"], bounds=bounds)))
    same(flat, lacking)


def test_a_gsd_file_without_steps_is_read(tmp_path: Path) -> None:
    with gsd.hoomd.open(str(tmp_path / "a.gsd"), "w") as file:
        for x in (0.0, 0.1, 0.2):
            frame = gsd.hoomd.Frame()
            frame.configuration.box = [4, 5, 6, 0, 0, 0]
            frame.particles.N, frame.particles.position = 2, [[x, 0, 0], [0, 0, 1]]
            file.append(frame)
    assert [snapshot.step for snapshot in read(tmp_path / "a.gsd")] == [0, None, None]


@pytest.mark.parametrize("Lz", [0.0, 1.0, 1e-4])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_flat_gsd_file_is_two_dimensional(Lz: float, dimensions: int, tmp_path: Path) -> None:
    frame = gsd.hoomd.Frame()
    frame.configuration.box, frame.configuration.dimensions = [4, 5, Lz, 0, 0, 0], dimensions
    frame.particles.N, frame.particles.position = 2, [[-1, 0.5, 0], [1, -2.5, 0]]
    with gsd.hoomd.open(str(tmp_path / "a.gsd"), "w") as file:
        file.append(frame)
    (snapshot,) = read(tmp_path / "a.gsd")
    np.testing.assert_allclose(snapshot.configuration.positions, [[1, 3], [3, 0]])


def test_what_is_told_goes_before_the_rule(tmp_path: Path) -> None:
    path = put(tmp_path, "a.dump", _dump("id type x y z", ["1 3 1 2 3", "2 2 3 4 3"]))
    (flat,) = read(path, Told(species=("3", "2")))
    assert (flat.configuration.dimension, flat.names) == (2, ("3", "2"))
    assert flat.configuration.species.tolist() == [0, 1]
    (solid,) = read(path, Told(dimension=3))
    assert solid.configuration.dimension == 3
    assert solid.names == ("2", "3")


def test_open_boundaries_do_not_wrap(tmp_path: Path) -> None:
    path = put(tmp_path, "a.dump", _dump("id type x y z", ["1 1 4.5 2 7", "2 1 1 1 1"], boundary="pp pp ff"))
    (frame,) = read(path)
    np.testing.assert_allclose(frame.configuration.positions[0], [0.5, 2, 7])
    for suffix in (".dump", ".xyz"):
        write(tmp_path / f"b{suffix}", [frame])
        (again,) = read(tmp_path / f"b{suffix}")
        assert again.configuration.periodic is not None
        assert again.configuration.periodic.tolist() == [True, True, False]
        np.testing.assert_array_equal(again.configuration.positions, frame.configuration.positions)
    with pytest.raises(ValueError, match="periodic boxes only"):
        write(tmp_path / "b.gsd", [frame])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dump", "b.dump", "b.xyz"]


def test_a_dump_says_its_units_and_times(tmp_path: Path) -> None:
    text = "ITEM: UNITS\nlj\nITEM: TIME\n0.5\n" + DUMP.replace(
        "ITEM: TIMESTEP\n100", "ITEM: TIME\n1.5\nITEM: TIMESTEP\n100"
    )
    first, second = read(put(tmp_path, "a.dump", text))
    assert (first.time, second.time) == (0.5, 1.5)
    assert first.attributes == second.attributes == {"units": "lj"}


def test_extended_xyz_rumd_and_plain(tmp_path: Path) -> None:
    (one,) = read(put(tmp_path, "a.xyz", EXTENDED))
    assert (one.names, one.step, one.attributes) == (("A", "B"), 3, {"energy": -1.5})
    assert one.columns["charge"].tolist() == [0.5, -0.5]
    (two,) = read(put(tmp_path, "b.xyz", PLAIN), Told(cell=(4, 5, 6)))
    same(one, two)
    (three,) = read(put(tmp_path, "c.xyz", RUMD))
    np.testing.assert_allclose(three.configuration.positions, [[0, 0, 0], [3, 4.5, 5.5]])
    assert (three.step, three.time, three.attributes["T"]) == (4, 0.008, 0.7)
    assert three.columns["iz"].tolist() == [1, 0]
    (flat,) = read(put(tmp_path, "d.xyz", "2\n\nA 1 2\nB 3 4\n"), Told(cell=(4, 5)))
    assert flat.configuration.dimension == 2


def test_a_data_file(tmp_path: Path) -> None:
    (frame,) = read(put(tmp_path, "a.data", DATA_FILE))
    assert frame.step == 700
    np.testing.assert_allclose(frame.configuration.positions[1], [2.5, 3.5, 4.5])
    assert frame.columns["vx"].tolist() == [1, 2, 3]
    assert frame.columns["iy"].tolist() == [0, 0, -1]
    full = (
        DATA_FILE.replace("# atomic", "# charge")
        .replace("\n2 2 1.5", "\n2 2 9 1.5")
        .replace("\n1 1 0 0", "\n1 1 9 0 0", 1)
    )
    (charged,) = read(put(tmp_path, "b.data", full.replace("\n3 1 2 3 4", "\n3 1 9 2 3 4")))
    same(frame, charged)
    assert charged.columns["q"].tolist() == [9, 9, 9]


def test_what_ase_reads_beyond_these(tmp_path: Path) -> None:
    ase = pytest.importorskip("ase", reason="needs the extra formats")
    atoms = ase.Atoms("ArKr", positions=[[1, 2, 3], [3, 4, 5]], cell=[4, 5, 6], pbc=True)
    atoms.write(str(tmp_path / "a.traj"))
    (one,) = read(tmp_path / "a.traj")
    (two,) = read(put(tmp_path, "b.xyz", PLAIN.replace("A ", "Ar ").replace("B ", "Kr ")), Told(cell=(4, 5, 6)))
    same(one, two)
    with pytest.raises(BadTrajectoryError, match=r"c\.traj, frame 1: ASE cannot read it"):
        list(read(put(tmp_path, "c.traj", (tmp_path / "a.traj").read_bytes()[:100])))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_packed_files_are_read_on_the_way(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    name = "a.lammpstrj.gz" if pack is gzip.compress else "a.lammpstrj.zst"
    path = put(
        tmp_path,
        name,
        pack(DUMP.encode()) + pack(DUMP.replace("\n100\n", "\n300\n").replace("\n0\n", "\n200\n").encode()),
    )
    assert [frame.step for frame in read(path)] == [0, 100, 200, 300]
    whole = path.read_bytes()
    for cut in (len(whole) - 5, len(whole) // 4):
        with pytest.raises(BadTrajectoryError, match=r"a\.lammpstrj.*(damaged|cut short)"):
            list(read(put(tmp_path, name, whole[:cut])))


def test_a_frame_is_read_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(read(put(tmp_path, "a.dump", DUMP)))
    for size in (8, 31, 64, 150):
        monkeypatch.setattr("vitrify.text_lines._CHUNK", size)
        for one, two in zip(whole, read(tmp_path / "a.dump"), strict=True):
            same(one, two)


# damage


def _cut(text: str, upto: str) -> str:
    return text[: text.index(upto) + len(upto)]


def _second(text: str, old: str, new: str) -> str:
    """Replace in the second frame."""
    at = text.index("ITEM: TIMESTEP", 10)
    return text[:at] + text[at:].replace(old, new, 1)


DAMAGED: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("a.dump", "", "a.dump, line 1 .*empty"),
    "blank lines only": ("a.dump", "\n\n\n", "a.dump: the file has no frames"),
    "binary junk": ("a.dump", bytes(range(256)) * 40, "a.dump, line 1 .*(no text|expected ITEM)"),
    "binary junk without a line": ("a.dump", b"\0\1\2" * 4000, "a.dump, line 1 .*no text"),
    "cut in the step": ("a.dump", "ITEM: TIMESTEP\n1", "line 2 .*last line does not end"),
    "cut after the step": ("a.dump", _cut(DUMP, "TIMESTEP\n0\n"), "line 2 .*cut short"),
    "cut in the box": ("a.dump", _cut(DUMP, "-1 3\n"), "line 6 .*cut short"),
    "cut before the atoms": ("a.dump", _cut(DUMP, "-1 5\n"), "line 8 .*cut short"),
    "cut after a particle": ("a.dump", DUMP[: DUMP.rindex("3 1 2 3 4")], r"line 23 \(frame 2\): .*after 2 of 3"),
    "cut in a line": ("a.dump", DUMP[:-4], r"line 24 \(frame 2\): .*does not end"),
    "cut in a number": ("a.dump", DUMP[:-1], r"line 24 \(frame 2\): .*does not end"),
    "NaN": ("a.dump", _second(DUMP, "0.25", "nan"), r"line 23 \(frame 2\): column y must be a finite .*'nan'"),
    "infinite": ("a.dump", DUMP.replace("0.25", "inf", 1), "line 11 .*column y must be a finite"),
    "no number": ("a.dump", DUMP.replace("0.25", "0.2f", 1), "line 11 .*column y must be a finite.*'0.2f'"),
    "two numbers in one": ("a.dump", DUMP.replace("0 0.25 0.5", "0.1-0.2 0.5 1", 1), "line 11 .*'0.1-0.2'"),
    "underscore": ("a.dump", DUMP.replace("0.25", "0_25", 1), "line 11 .*'0_25'"),
    "NUL": ("a.dump", DUMP.replace("0.25", "0\0025", 1), "line 11 "),
    "too many atoms said": ("a.dump", DUMP.replace("ATOMS\n3", "ATOMS\n4", 1), "line 13 .*expected 5 columns"),
    "far too many atoms said": ("a.dump", DUMP.replace("ATOMS\n3", "ATOMS\n999999999999", 1), "line 13 .*expected 5"),
    "too few atoms said": ("a.dump", DUMP.replace("ATOMS\n3", "ATOMS\n2", 1), "line 12 .*expected ITEM: TIMESTEP"),
    "no atoms": ("a.dump", DUMP.replace("ATOMS\n3", "ATOMS\n0", 1), "line 4 .*at least 1; got 0"),
    "negative number of atoms": ("a.dump", DUMP.replace("ATOMS\n3", "ATOMS\n-3", 1), "line 4 .*at least 1; got -3"),
    "half an atom": ("a.dump", DUMP.replace("ATOMS\n3", "ATOMS\n3.5", 1), "line 4 .*whole number; got '3.5'"),
    "missing column": ("a.dump", DUMP.replace("2 2 1.5 2.5 3.5", "2 2 1.5 2.5", 1), "line 10 .*expected 5 columns"),
    "column too many": ("a.dump", DUMP.replace("2 2 1.5", "2 2 2 1.5", 1), "line 10 .*expected 5 columns.*got 6"),
    "no x": ("a.dump", DUMP.replace("type x y z", "type q y z", 1), "line 9 .*must be columns x y z"),
    "no type": ("a.dump", DUMP.replace("id type", "id kind", 1), "line 9 .*no column type or element"),
    "x twice": ("a.dump", DUMP.replace("x y z", "x x z", 1), "line 9 .*column x occurs twice"),
    "x and ys": ("a.dump", DUMP.replace("x y z", "x ys z", 1), "line 9 .*must be columns x y z"),
    "reordered columns": ("a.dump", DUMP.replace("id type x y z", "x id type y z", 1), "line 10 .*type must be a"),
    "same id": ("a.dump", DUMP.replace("3 1 2 3 4", "2 1 2 3 4", 1), r"line 10 \(frame 1\): particle id 2 occurs"),
    "id of half": ("a.dump", DUMP.replace("3 1 2 3 4", "2.5 1 2 3 4", 1), "line 12 .*id must be a whole"),
    "repeated step": ("a.dump", DUMP.replace("\n100\n", "\n0\n"), r"line 14 \(frame 2\): time step 0 repeats 0"),
    "step back": ("a.dump", DUMP.replace("\n100\n", "\n-5\n"), r"line 14 \(frame 2\): time step -5 goes back from 0"),
    "step of words": ("a.dump", DUMP.replace("\n100\n", "\nten\n"), r"line 14 \(frame 2\): the time step must"),
    "box of nothing": ("a.dump", DUMP.replace("-1 3\n", "-1 -1\n", 1), "line 6 .*length along x; got -1 to -1"),
    "negative box": ("a.dump", DUMP.replace("-1 4\n", "4 -1\n", 1), "line 7 .*positive length along y; got 4 to -1"),
    "flat box": ("a.dump", DUMP.replace("-1 5\n", "5 5\n", 1), "line 10 .*positive length along z; got 0"),
    "box of words": ("a.dump", DUMP.replace("-1 4\n", "-1 L\n", 1), "line 7 .*yhi must be a finite number; got 'L'"),
    "one bound": ("a.dump", DUMP.replace("-1 4\n", "4\n", 1), "line 7 .*expected 2 columns"),
    "triclinic": (
        "a.dump",
        DUMP.replace("BOUNDS pp", "BOUNDS xy xz yz pp").replace("-1 3\n", "-1 3 0.5\n").replace("-1 4\n", "-1 4 0\n"),
        "line 6 .*triclinic",
    ),
    "no header of atoms": ("a.dump", DUMP.replace("ITEM: ATOMS", "ATOMS", 1), "line 9 .*expected ITEM: ATOMS"),
    "no header of the box": ("a.dump", DUMP.replace("ITEM: BOX BOUNDS", "BOX", 1), "line 5 .*expected ITEM: BOX"),
    "a dump called gsd": ("a.gsd", DUMP, "a.gsd: the suffix is that of gsd, but .* dump"),
    "a dump called xyz": ("a.xyz", DUMP, "a.xyz: the suffix is that of xyz, but .* dump"),
    "an xyz called dump": ("a.dump", EXTENDED, "a.dump, line 1 .*expected ITEM: TIMESTEP; got '2'"),
    "junk called gsd": ("a.gsd", b"\1\2\3" * 100, "a.gsd: this is no GSD file"),
    "empty gsd": ("a.gsd", b"", "a.gsd: the file is empty"),
    "unknown suffix": ("a.nothing", "words\n", "a.nothing"),
    "gz that is none": ("a.dump.gz", DUMP, "a.dump.gz: the packed file is damaged"),
    "zst that is none": ("a.dump.zst", DUMP, "a.dump.zst: the packed file is damaged"),
    "xyz: number of words": ("a.xyz", "two\n" + EXTENDED[2:], "line 1 .*number of particles must be a whole"),
    "xyz: cut": ("a.xyz", _cut(EXTENDED, "0.5\n"), r"line 3 \(frame 1\): .*after 1 of 2"),
    "xyz: too many": ("a.xyz", EXTENDED + "C 1 1 1 1\n", r"line 5 \(frame 2\): the number of particles"),
    "xyz: no cell": ("a.xyz", PLAIN, "line 2 .*plain XYZ, and its cell must be given"),
    "xyz: triclinic": ("a.xyz", EXTENDED.replace("4 0 0 0 5", "4 0 0 1 5"), "line 2 .*triclinic"),
    "xyz: lattice of 8": ("a.xyz", EXTENDED.replace("4 0 0 0 5", "4 0 0 5"), "line 2 .*Lattice must be 9 finite"),
    "xyz: negative lattice": ("a.xyz", EXTENDED.replace("4 0 0 0 5", "-4 0 0 0 5"), "line 3 .*positive length along x"),
    "xyz: properties": ("a.xyz", EXTENDED.replace("R:1", "R:one"), "line 2 .*Properties must be name:kind:number"),
    "xyz: no pos": ("a.xyz", EXTENDED.replace("pos:", "place:"), "line 2 .*must hold species and pos"),
    "xyz: NaN": ("a.xyz", EXTENDED.replace("4 5 -", "nan 5 -"), r"line 4 .*column pos\[2\] must be a finite"),
    "xyz: repeated step": ("a.xyz", EXTENDED * 2, r"line 6 \(frame 2\): time step 3 repeats 3"),
    "rumd: columns": ("a.xyz", RUMD.replace("type,x,y", "type,x,w"), "line 2 .*columns must hold type and x y z"),
    "rumd: box": ("a.xyz", RUMD.replace("Box,4,", "Box,0,"), "line 3 .*positive length along x"),
    "rumd: sheared": ("a.xyz", RUMD.replace("Rectangular", "LeesEdwards"), "line 2 .*only a RectangularSimulationBox"),
    "data: no atoms": ("a.data", DATA_FILE.replace("3 atoms\n", ""), "must say how many atoms"),
    "data: cut": ("a.data", _cut(DATA_FILE, "3 4 0 -1 0\n\nVelocities\n\n1 1 0 0\n"), "after 1 of 3"),
    "data: no section": ("a.data", _cut(DATA_FILE, "2 1\n\n"), "without a section Atoms"),
    "data: style": ("a.data", DATA_FILE.replace("atomic", "dielectric"), "atom style must be one of"),
    "data: triclinic": ("a.data", DATA_FILE.replace("zlo zhi\n", "zlo zhi\n1 0 0 xy xz yz\n"), "line 9 .*triclinic"),
    "data: box": ("a.data", DATA_FILE.replace("-1 3 xlo", "3 3 xlo"), "line 6 .*positive length along x"),
    "data: other ids": ("a.data", DATA_FILE.replace("\n3 3 0 0\n", "\n4 3 0 0\n"), "must hold the same ids"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_one_clear_error(what: str, tmp_path: Path) -> None:
    name, text, message = DAMAGED[what]
    path = put(tmp_path, name, text)
    with pytest.raises(BadTrajectoryError, match=message) as caught:
        list(read(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_undeclared_species_is_refused_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadTrajectoryError, match=r"line 10 \(frame 1\): species '2' is not one of those declared, 1 3"):
        list(read(put(tmp_path, "a.dump", DUMP), Told(species=("1", "3"))))


def test_a_declared_dimension_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTrajectoryError, match=r"line 10 .*2 dimensions were declared, but z goes from 0\.5 to 4"):
        list(read(put(tmp_path, "a.dump", DUMP), Told(dimension=2)))


@pytest.mark.parametrize("name", ["absent.dump", "absent.gsd", "absent.xyz.gz", "absent.dump.zst"])
def test_a_file_that_is_not_there_is_an_os_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["a.dump", "a.gsd"])
def test_a_file_that_is_not_ours_is_an_os_error(name: str, tmp_path: Path) -> None:
    path = put(tmp_path, name, DUMP)
    path.chmod(0)
    with pytest.raises(PermissionError):
        list(read(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [4, 5, 6, 0.1, 0, 0]}, "frame 1: the box is triclinic"),
        ({"box": [0, 5, 6, 0, 0, 0]}, "frame 1: the box must be of positive length along x"),
        ({"position": [[0, 0, np.nan], [0, 0, 1]]}, "frame 1: positions must be finite"),
        ({"velocity": [[0, 0, np.inf], [0, 0, 1]]}, "frame 1: velocity must be finite"),
        ({"types": ["A"]}, "frame 1: typeid must be below the number of types"),
        ({"step": 5, "twice": True}, "frame 2: time step 5 repeats 5"),
    ],
)
def test_damaged_gsd_files_name_the_frame(change: dict, message: str, tmp_path: Path) -> None:
    frame = gsd.hoomd.Frame()
    frame.configuration.box, frame.configuration.step = change.get("box", [4, 5, 6, 0, 0, 0]), change.get("step", 0)
    frame.particles.N, frame.particles.typeid = 2, [0, 1]
    frame.particles.position = change.get("position", [[0, 0, 0], [0, 0, 1]])
    frame.particles.types = change.get("types", ["A", "B"])
    if "velocity" in change:
        frame.particles.velocity = change["velocity"]
    with gsd.hoomd.open(str(tmp_path / "a.gsd"), "w") as file:
        file.append(frame)
        if "twice" in change:
            frame.particles.position = [[0, 0, 0], [0, 0, 2]]
            file.append(frame)
    with pytest.raises(BadTrajectoryError, match=rf"a\.gsd, {message}"):
        list(read(tmp_path / "a.gsd"))


def test_a_cut_gsd_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.gsd", read(put(tmp_path, "a.dump", DUMP)))
    whole = (tmp_path / "a.gsd").read_bytes()
    for size in (1, 8, 200, len(whole) // 2, len(whole) - 1):
        with pytest.raises(BadTrajectoryError, match=r"^.*a\.gsd"):
            list(read(put(tmp_path, "a.gsd", whole[:size])))


# writers


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield from read(put(tmp_path, "a.dump", DUMP))
        raise KeyboardInterrupt

    for suffix in (".gsd", ".dump", ".xyz", ".xyz.gz", ".dump.zst"):
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / f"b{suffix}", broken())
    assert [path.name for path in tmp_path.iterdir()] == ["a.dump"]


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    labels = EXTENDED.replace("species:S", "label:S:1:species:S").replace("\nA", "\nu A").replace("\nB", "\nv B")
    (frame,) = read(put(tmp_path, "a.xyz", labels))
    with pytest.raises(ValueError, match="cannot hold words: leave the column label out"):
        write(tmp_path / "b.gsd", [frame])
    with pytest.raises(ValueError, match=r"b\.pdf cannot be written: use a suffix of \.lammpstrj"):
        write(tmp_path / "b.pdf", [frame])
    with pytest.raises(ValueError, match="cannot be written"):
        write(tmp_path / "b.gsd.gz", [frame])
    with pytest.raises(ValueError, match="cannot hold words: leave the column label out"):
        write(tmp_path / "b.dump", [frame])
    write(tmp_path / "b.xyz", [frame])
    (again,) = read(tmp_path / "b.xyz")
    assert again.columns["label"].tolist() == ["u", "v"]
    with pytest.raises(ValueError, match="a format is one of dump, data, gsd, xyz, columns, ase; got 'pdf'"):
        read(tmp_path / "b.dump", form="pdf")


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    d, n = draw(st.sampled_from([2, 3])), draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    box = np.array(draw(st.lists(st.floats(0.01, 1e4), min_size=d, max_size=d)))
    word = st.from_regex("[A-Za-z][A-Za-z0-9_]{0,5}", fullmatch=True)
    names = tuple(draw(st.lists(word, min_size=1, max_size=4, unique=True)))
    species = np.concatenate([np.arange(len(names)), rng.integers(len(names), size=n)])[: max(n, len(names))]
    positions = rng.random((len(species), d)) * box
    columns = {"id": rng.permutation(10 * len(species))[: len(species)], "score": rng.normal(size=len(species))}
    columns["id"] = np.sort(columns["id"])
    columns |= {f"i{axis}": rng.integers(-3, 4, size=len(species)) for axis in "xyz"[:d]}
    origin = draw(st.sampled_from([(0.0,) * d, tuple((-box / 2).tolist())]))
    return Snapshot(
        configuration=Configuration(positions=positions, species=species, box=box),
        names=names,
        step=draw(st.integers(0, 10**12)),
        time=draw(st.none() | st.floats(0, 1e6)),
        columns=columns,
        attributes={"energy": draw(st.floats(-1e3, 1e3))},
        origin=origin,
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(snapshot=snapshots(), suffix=st.sampled_from([".lammpstrj", ".extxyz", ".gsd", ".dump.gz"]))
def test_what_is_written_is_read_again(snapshot: Snapshot, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, [snapshot])
    dimension = snapshot.configuration.dimension
    (again,) = read(path, Told(dimension=dimension, species=snapshot.names))
    scale = float(snapshot.configuration.box.max())
    a, b = snapshot.configuration, again.configuration
    np.testing.assert_allclose(a.box, b.box, rtol=1e-6 if suffix == ".gsd" else 1e-14)
    apart = minimum_image(a.positions - b.positions, a.box)
    assert np.abs(apart).max() <= (1e-6 if suffix == ".gsd" else 1e-14) * scale
    np.testing.assert_array_equal(a.species, b.species)
    assert (again.step, again.names) == (snapshot.step, snapshot.names)
    if suffix in (".extxyz", ".gsd"):
        assert again.attributes["energy"] == snapshot.attributes["energy"]
    if snapshot.time is not None:
        assert again.time == snapshot.time
    np.testing.assert_array_equal(again.columns["id"], snapshot.columns["id"])
    np.testing.assert_array_equal(again.columns["score"], snapshot.columns["score"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(-1e7, 1e7) | st.integers(-(10**9), 10**9), min_size=1, max_size=60),
    form=st.sampled_from(["{:.6g}", "{:.3f}", "{:.8f}", "{:.16e}", "{!r}", "{:+g}"]),
)
def test_numbers_are_those_of_float(values: list[float], form: str, tmp_path: Path) -> None:
    """However they are written, and whether or not they go through the fast way."""
    words = [form.format(value) for value in values]
    path = put(tmp_path, "a.txt", "".join(f"{i} {word} \t{word}\r\n" for i, word in enumerate(words)))
    table, _ = Lines(path).table(len(words), ["i", "a", "b"])
    expected = [float(word) for word in words]
    assert table.tolist() == [[float(i), value, value] for i, value in enumerate(expected)]


def test_readers_are_timed_and_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ase", reason="the peer needs the extra formats")
    monkeypatch.setattr(benchmark, "_TURNS", 1)
    for row in benchmark.reading(n=100, n_frames=3):
        assert row["name"] == "reading a dump, N = 100, 3 frames"
        assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])
    assert 20 < benchmark.memory(gigabytes=1e-3)["value"] < 500


# mutations: whatever the bytes, frames or the one declared error


def _mutate(whole: bytes, rng: np.random.Generator) -> bytes:
    kind, at = rng.integers(6), int(rng.integers(len(whole)))
    if kind == 0:
        return whole[:at]
    if kind == 1:
        return whole[:at] + bytes([rng.integers(256)]) + whole[at + 1 :]
    if kind == 2:
        return whole[:at] + whole[at + int(rng.integers(1, 9)) :]
    if kind == 3:
        return whole[:at] + rng.bytes(int(rng.integers(1, 9))) + whole[at:]
    if kind == 4:
        return whole[:at] + whole[at : at + int(rng.integers(1, 40))] + whole[at:]
    words = [b"\n", b" ", b"-", b"1e400", b"nan", b"ITEM: ", b"999999999999999999", b"0", b"\r\n", b"=", b'"', b"\xff"]
    return whole[:at] + words[rng.integers(len(words))] + whole[at:]


def _fuzz(tmp_path: Path, n: int, seed: int) -> int:
    write(tmp_path / "seed.gsd", read(put(tmp_path, "seed.dump", DUMP)))
    write(tmp_path / "seed.dump.zst", read(tmp_path / "seed.dump"))
    write(tmp_path / "seed.xyz.gz", read(tmp_path / "seed.dump"))
    seeds = {"dump": DUMP, "xyz": EXTENDED, "rumd.xyz": RUMD, "plain.xyz": PLAIN, "data": DATA_FILE}
    whole = {name: text.encode() for name, text in seeds.items()}
    whole |= {name: (tmp_path / f"seed.{name}").read_bytes() for name in ("gsd", "dump.zst", "xyz.gz")}
    rng, refused = np.random.default_rng(seed), 0
    for i in range(n):
        name = list(whole)[i % len(whole)]
        text = whole[name]
        for _ in range(rng.integers(1, 4)):
            text = _mutate(text, rng) or b"\n"
        path = put(tmp_path, f"fuzz.{name}", text)
        try:
            for frame in read(path, Told(cell=(4, 5, 6))):
                assert np.isfinite(frame.configuration.positions).all()
        except BadTrajectoryError as error:
            refused += str(path) in str(error)
    return refused


def test_mutated_files_give_frames_or_the_declared_error(tmp_path: Path) -> None:
    assert _fuzz(tmp_path, 800, seed=5) > 300


@pytest.mark.slow
def test_many_mutated_files_give_frames_or_the_declared_error(tmp_path: Path) -> None:
    assert _fuzz(tmp_path, 20_000, seed=6) > 15_000


def test_every_suffix_has_a_reader_and_every_writer_a_suffix() -> None:
    assert set(trajectories.FORMATS.values()) <= set(trajectories.READERS)
    assert set(trajectories.WRITERS) <= set(trajectories.FORMATS.values())
