import gsd.hoomd
import numpy as np
import pytest
from ase.io import read

from vitrify.annotate import Annotated, write_dump, write_extxyz, write_gsd
from vitrify.system import Configuration


@pytest.fixture(params=[2, 3])
def frames(request):
    rng, d = np.random.default_rng(5), request.param
    return [
        Annotated(
            configuration=Configuration(
                positions=rng.random((7, d)) * 4,
                species=np.array([0, 0, 1, 0, 1, 1, 0]),
                box=np.array([4.0, 5.0, 6.0])[:d],
            ),
            columns={"attribution": rng.normal(size=7), "psi6": rng.random(7)},
            step=step,
        )
        for step in (3, 8)
    ]


def solid(one):
    return np.pad(one.configuration.positions, ((0, 0), (0, 3 - one.configuration.dimension)))


def test_gsd_reads_back(tmp_path, frames):
    write_gsd(tmp_path / "a.gsd", frames)
    with gsd.hoomd.open(str(tmp_path / "a.gsd")) as file:
        assert len(file) == 2
        for one, frame in zip(frames, file, strict=True):
            shown = one.configuration
            d = shown.dimension
            assert frame.configuration.step == one.step
            assert frame.configuration.dimensions == d
            assert frame.configuration.box[:3] == pytest.approx([4, 5, 6][:d] + [1] * (3 - d))
            assert frame.particles.position[:, :d] + shown.box / 2 == pytest.approx(shown.positions, abs=1e-6)
            assert [frame.particles.types[kind] for kind in frame.particles.typeid] == list("AABABBA")
            for name, values in one.columns.items():
                assert frame.log[f"particles/{name}"] == pytest.approx(values, rel=1e-12)


def test_extended_xyz_reads_back(tmp_path, frames):
    write_extxyz(tmp_path / "a.xyz", frames, species=("H", "He"))
    for one, atoms in zip(frames, read(tmp_path / "a.xyz", index=":", format="extxyz"), strict=True):
        d = one.configuration.dimension
        assert atoms.cell.lengths() == pytest.approx([4, 5, 6][:d] + [1] * (3 - d))
        assert atoms.pbc.tolist() == [True, True, d == 3]
        assert atoms.get_chemical_symbols() == ["H", "H", "He", "H", "He", "He", "H"]
        assert atoms.positions == pytest.approx(solid(one), rel=1e-8)
        assert atoms.info["step"] == one.step
        for name, values in one.columns.items():
            assert atoms.arrays[name] == pytest.approx(values, rel=1e-8)


def test_lammps_dump_reads_back(tmp_path, frames):
    write_dump(tmp_path / "a.dump", frames)
    lines = (tmp_path / "a.dump").read_text().splitlines()
    per_frame = 11 + 7
    assert len(lines) == 2 * per_frame
    for number, one in enumerate(frames):
        head, rows = lines[number * per_frame :][:11], lines[number * per_frame + 11 :][:7]
        d = one.configuration.dimension
        assert head[:6] == ["ITEM: UNITS", "lj", "ITEM: TIMESTEP", str(one.step), "ITEM: NUMBER OF ATOMS", "7"]
        assert head[6] == "ITEM: BOX BOUNDS pp pp pp"
        bounds = np.array([line.split() for line in head[7:10]], float)
        assert bounds[:, 1] - bounds[:, 0] == pytest.approx([4, 5, 6][:d] + [1] * (3 - d))
        assert head[10] == "ITEM: ATOMS id type element x y z attribution psi6"
        words = [row.split() for row in rows]
        assert [word[:3] for word in words][1:3] == [["2", "1", "A"], ["3", "2", "B"]]
        table = np.array([word[3:] for word in words], float)
        assert table[:, :3] == pytest.approx(solid(one), rel=1e-8)
        assert table[:, 3] == pytest.approx(one.columns["attribution"], rel=1e-8)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"my column": np.ones(7)}, "letters, digits and underscores"),
        ({"x": np.ones(7)}, "got 'x'"),
        ({"a": np.ones(6)}, "each of the 7 particles; a has 6"),
    ],
)
def test_columns_that_no_reader_would_read_are_refused(frames, columns, message):
    with pytest.raises(ValueError, match=message):
        Annotated(configuration=frames[0].configuration, columns=columns)


@pytest.mark.parametrize("write", [write_gsd, write_dump, write_extxyz])
def test_every_species_needs_a_name(tmp_path, frames, write):
    with pytest.raises(ValueError, match=r"species must name 2 species; got \['A'\]"):
        write(tmp_path / "a", frames, species=("A",))
