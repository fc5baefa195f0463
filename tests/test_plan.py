import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.test_simulate import OneByOne

from vitrify import calibrate, cuda, plan, study
from vitrify.classify import trainings
from vitrify.dataset import split_runs
from vitrify.protocols import PROTOCOLS
from vitrify.settings import Study, from_toml
from vitrify.simulate import Simulate, records

_FILE = Path(__file__).parent / "tiny.toml"
TINY = from_toml(_FILE)
_KINDS = ("e_pot", "e_is", "g_r", "descriptors")


def _calibration(**changes: Any) -> calibrate.Calibration:
    """Made-up speeds: 1 ms + 3 ms T for a step, 0.2 s + 0.1 s T for a minimum."""
    T = np.array([0.01, 0.5, 0.8, 3.0])
    engine = calibrate.Engine(
        T=T, step_s=1e-3 + 3e-3 * T, minimise_s=0.2 + 0.1 * T, begin_s=0.5, keep_s=0.3, write_s=0.01
    )
    made_up: dict[str, Any] = {
        "engine": engine,
        "run_bytes": 1000.0,
        "networks": {kind: calibrate.Network(begin_s=0.01, step_s=0.1, score_s=0.002) for kind in ("cnn", "mpnn")},
        "features_s": dict.fromkeys(_KINDS, 0.003),
        "fit_s": dict.fromkeys(_KINDS, 0.05),
        "training_bytes": 100.0,
        "score_s": 0.004,
        "figure_s": 0.5,
        "figure_bytes": 10.0,
        "start_s": {"simulate": 1.0, "learn": 2.0, "report": 3.0},
    }
    return calibrate.Calibration(**made_up | changes)


def _changed(**changes: Any) -> Study:
    """Return the tiny study with changed settings of its simulation."""
    settings = TINY.model_dump()
    if set(changes) & set(PROTOCOLS):
        settings["simulate"].pop("cool")
    settings["simulate"] |= changes
    return Study.model_validate(settings)


def _estimate(
    chosen: Study,
    remaining: calibrate.Left,
    *calibrations: calibrate.Calibration,
    n_workers: int = 1,
    has_card: bool = False,
) -> plan.Plan:
    return plan.estimate(
        chosen, calibrations or (_calibration(),), remaining, n_workers=n_workers, free_bytes=1e9, has_card=has_card
    )


def _only(runs: dict[int, int]) -> calibrate.Left:
    return calibrate.Left(runs=runs, trainings=(), report=False)


def _core_s(planned: plan.Plan, name: str) -> float:
    stage = planned.stages[name]
    assert stage is not None
    return stage.core_h.value * 3600


def _wall_s(planned: plan.Plan, *names: str) -> float:
    return sum(stage.wall_s.value for name in names if (stage := planned.stages[name]) is not None)


@pytest.mark.parametrize(
    "protocol",
    [
        {"cool": {"T_start": 2.0, "T_end": 0.05, "n_steps": 4_000, "n_frames": 20}},
        {"quench": {"T_start": 2.0, "T_end": 0.3, "n_steps": 4_000, "n_frames": 20}},
        {"hold": {"T": 0.6, "n_steps": 4_000, "n_frames": 20}},
        {"cycle": {"T_high": 1.5, "T_low": 0.2, "n_cycles": 2, "n_steps": 1_000, "n_frames": 20}},
        {
            "schedule": {
                "T_start": 1.0,
                "segments": [
                    {"T_end": 0.4, "n_steps": 1_000},
                    {"T_end": 1.6, "n_steps": 0},
                    {"T_end": 0.1, "n_steps": 3_000},
                ],
                "frames_at_step": [*range(140, 2_800, 140), 3_600],
            }
        },
    ],
    ids=lambda protocol: next(iter(protocol)),
)
@pytest.mark.parametrize("kept", [0, 7])
def test_the_bath_is_integrated_exactly(protocol: dict[str, Any], kept: int) -> None:
    """Speeds that are linear in T make each leg cost its steps at the temperature half way."""
    chosen = _changed(**protocol)
    bath = chosen.simulate.bath
    legs = [leg for k in range(kept + 1, bath.n_frames + 1) for leg in bath.between(k)]
    cooling = sum(leg.n_steps * (1e-3 + 3e-3 * (leg.T_from + leg.T_to) / 2) for leg in legs)
    if kept == 0:
        cooling += 0.5 + chosen.simulate.n_equilibrate * (1e-3 + 3e-3 * bath.T_start)
    minimising = sum(0.2 + 0.1 * bath.T(k) for k in range(kept + 1, bath.n_frames + 1))
    planned = _estimate(chosen, _only({3: kept}))
    assert _core_s(planned, "cooling") == pytest.approx(cooling, rel=1e-12)
    assert _core_s(planned, "minimising") == pytest.approx(minimising, rel=1e-12)
    assert _core_s(planned, "writing") == pytest.approx(0.3 + 0.01 * (bath.n_frames - kept), rel=1e-12)


def test_on_a_loaded_machine_core_hours_stay_and_the_wall_time_widens(tmp_path: Path) -> None:
    """A worker had a processor for a fifth of the time when it simulated, for half of it when it trained."""
    everything = calibrate.left(TINY, tmp_path / "out")
    alone = _calibration()
    busy = _calibration(
        simulating=calibrate.Clock(wall_s=5.0, processor_s=1.0), learning=calibrate.Clock(wall_s=3.0, processor_s=1.5)
    )
    free, loaded = (_estimate(TINY, everything, c) for c in (alone, busy))
    for name in ("cooling", "minimising", "writing"):
        assert _core_s(loaded, name) == pytest.approx(_core_s(free, name))
        assert _wall_s(loaded, name) == pytest.approx(5 * _wall_s(free, name))
    for name in ("learning", "report"):
        assert _core_s(loaded, name) == pytest.approx(_core_s(free, name))
        assert _wall_s(loaded, name) == pytest.approx(2 * _wall_s(free, name))
    assert _core_s(loaded, "starting") == pytest.approx(_core_s(free, "starting") / 2)  # of the wall clock
    assert _wall_s(loaded, "starting") == pytest.approx(_wall_s(free, "starting"))
    cooling = loaded.stages["cooling"]
    assert cooling is not None
    assert cooling.wall_s.low == pytest.approx(_wall_s(free, "cooling"))
    assert cooling.wall_s.high == pytest.approx(5 * _wall_s(free, "cooling"))
    assert cooling.core_h.low == pytest.approx(cooling.core_h.high)
    said = [note for note in loaded.notes if "other work shares the processors" in note]
    assert [note.partition("each gave")[0].split(": ")[1] for note in said] == [
        "while the workers simulated, 5.0 s of wall time ",
        "while the workers trained, 3.0 s of wall time ",
    ]
    assert "1.5 s of processor time" in said[1]
    assert not [note for note in free.notes if "other work" in note]
    barely = _calibration(simulating=calibrate.Clock(wall_s=1.15, processor_s=1.0))
    assert not [note for note in _estimate(TINY, everything, barely).notes if "other work" in note]


def test_seconds_of_a_record_are_those_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 s, 2 were the process's own; then of 4 s all."""
    clocks = SimpleNamespace(perf_counter=iter([0.0, 10.0, 20.0, 24.0, 30.0]).__next__,
                             process_time=iter([0.0, 2.0, 5.0, 9.0, 9.5]).__next__)  # fmt: skip
    frame = next(records(TINY.simulate, seed=1, run=0))
    taken = iter([[replace(frame, simulate_s=7.0, minimise_s=3.0)], [replace(frame, simulate_s=3.0, minimise_s=1.0)]])
    monkeypatch.setattr(calibrate, "time", clocks)
    one, two = calibrate._by_processor(taken)
    assert (one[0].simulate_s, one[0].minimise_s) == pytest.approx((1.4, 0.6))
    assert (two[0].simulate_s, two[0].minimise_s) == pytest.approx((3.0, 1.0))


def test_a_calibration_counts_the_processor_and_not_who_else_uses_it(
    brief: pytest.MonkeyPatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wall clock that goes twenty times too fast changes the shares alone."""
    runs = _only({0: 0})
    asked: dict[str, Any] = {"n_workers": 1, "progress": lambda *_: None}
    plain = calibrate.calibrate(TINY, runs, tmp_path / "one", **asked)
    fast = SimpleNamespace(
        perf_counter=lambda: 20 * time.perf_counter(), process_time=time.process_time, time=time.time
    )
    monkeypatch.setattr(calibrate, "time", fast)
    monkeypatch.setattr("vitrify.simulate.time", fast)
    loaded = calibrate.calibrate(TINY, runs, tmp_path / "two", **asked)
    assert loaded[0].simulating.share < 0.06
    ours, theirs = (np.mean([c.engine.step_s for c in found]) for found in (loaded, plain))
    assert 0.2 < ours / theirs < 5
    assert any("other work shares" in note for note in _estimate(TINY, runs, *loaded).notes)


def test_the_fast_cooling_of_equal_energy_is_counted(tmp_path: Path) -> None:
    chosen = Study.model_validate(TINY.model_dump() | {"equal_energy": {"n_steps": 1_000, "n_frames": 10}})
    assert len(calibrate.left(chosen, tmp_path).fast) == 16
    runs = dict.fromkeys(range(16), 0)
    alone, beside = (_estimate(chosen, replace(_only(runs), fast=fast)) for fast in ({}, runs))
    started = 0.5 + chosen.simulate.n_equilibrate * (1e-3 + 3e-3 * chosen.simulate.bath.T_start)
    ramp = _core_s(alone, "cooling") / 16 - started
    assert _core_s(beside, "cooling") - _core_s(alone, "cooling") == pytest.approx(16 * (started + ramp / 4))
    assert _core_s(beside, "minimising") - _core_s(alone, "minimising") == pytest.approx(
        16 * sum(0.2 + 0.1 * chosen.fast.bath.T(k) for k in range(1, 11))  # type: ignore[union-attr]
    )
    assert (alone.n_runs, beside.n_runs) == (16, 32)


def test_speed_is_a_line_between_rungs_and_flat_beyond_them() -> None:
    engine = replace(_calibration().engine, T=np.array([0.5, 1.0]), step_s=np.array([1.0, 2.0]), minimise_s=np.zeros(2))
    cool = {"T_start": 1.5, "T_end": 0.1, "n_steps": 1_400, "n_frames": 10}
    chosen = Study.model_validate(
        {
            "simulate": {"n_particles": 64, "n_equilibrate": 0, "cool": cool},
            "classify": {"k_glass": 10, "k": [1], "k_transfer": 1, "control": []},
        }
    )
    planned = _estimate(chosen, _only({0: 0}), _calibration(engine=engine))
    assert _core_s(planned, "cooling") == pytest.approx(0.5 + 500 * 2.0 + 500 * 1.5 + 400 * 1.0)


def test_runs_that_do_not_divide_among_the_workers_leave_some_idle() -> None:
    stages = ("cooling", "minimising", "writing")
    one, three = (_estimate(TINY, _only(dict.fromkeys(range(n), 0)), n_workers=2) for n in (1, 3))
    for name in stages:
        assert _core_s(three, name) == pytest.approx(3 * _core_s(one, name))
    assert _wall_s(one, *stages) == pytest.approx(sum(_core_s(one, name) for name in stages))
    assert _wall_s(three, *stages) == pytest.approx(2 * _wall_s(one, *stages))
    assert _core_s(one, "starting") == pytest.approx(1.0)  # of a run alone there is one process
    assert _core_s(three, "starting") == pytest.approx(2.0)


def test_every_training_score_and_figure_is_counted() -> None:
    settings = TINY.model_dump()
    settings["classify"]["train"]["enough"] = 0.0
    chosen = Study.model_validate(settings)
    planned = _estimate(chosen, calibrate.Left(runs={}, trainings=tuple(trainings(chosen)), report=True))
    split = split_runs(16, seed=chosen.seed, validation=0.25, test=0.25)
    n_train, n_validation, n_test = (2 * len(runs) for runs in (split.train, split.validation, split.test))
    # two inputs, two networks, and four pairs of which one is scored on two records
    networks = 16 * (0.01 * n_train + 20 * 0.1 + 2 * (n_train + n_validation) * 0.002)
    networks += 4 * 5 * (n_validation + n_test) * 0.002
    # two inputs, three baselines: the features of 16 runs at 5 records, and four fits
    fits = 6 * (16 * 5 * 0.003 + 4 * 0.05)
    assert planned.n_trainings == 16 + 24
    assert _core_s(planned, "learning") == pytest.approx(networks + fits)
    # a cooling curve, four of the classifiers, three of pictures, 16 learning curves; two scores of each of 5 rows
    drawn = 1.5 + 4.5 + 3 * 2.6 + 3 * 1.25 + 16
    assert _core_s(planned, "report") == pytest.approx(drawn * 0.5 + 2 * (5 * 10) * 0.004)
    assert planned.disk_gb == pytest.approx((16 * 100 + drawn * 10) / 1e9)
    assert planned.wall_s is not None
    assert planned.wall_s.low == planned.wall_s.high


def test_early_stops_and_unequal_workers_make_a_range() -> None:
    everything = calibrate.Left(runs=dict.fromkeys(range(16), 0), trainings=tuple(trainings(TINY)), report=True)
    fast = _calibration(engine=replace(_calibration().engine, begin_s=0.0))
    slow = replace(fast, engine=replace(fast.engine, step_s=2 * fast.engine.step_s))
    planned = _estimate(TINY, everything, fast, slow)
    cooling, learning = planned.stages["cooling"], planned.stages["learning"]
    assert cooling is not None
    assert learning is not None
    assert cooling.wall_s.high == pytest.approx(2 * cooling.wall_s.low)
    assert cooling.wall_s.value == pytest.approx((cooling.wall_s.low + cooling.wall_s.high) / 2)
    # of 16 networks 4 are of a record against itself; the others take 10 steps at least and 20 at most
    n_shown = 2 * len(split_runs(16, seed=TINY.seed, validation=0.25, test=0.25).train) + 8
    assert learning.core_h.high - learning.core_h.low == pytest.approx(
        12 * (10 * 0.1 + n_shown * 0.002) / 3600, rel=1e-9
    )
    assert any("stop early" in note for note in planned.notes)


def test_a_batch_on_a_card_takes_as_long_as_the_least_advanced_of_its_runs() -> None:
    chosen = _changed(device="cuda", n_runs=300)
    runs = dict.fromkeys(range(300), 5)
    one = _estimate(_changed(), _only({0: 5}))
    card = _estimate(chosen, _only(runs), n_workers=8, has_card=True)
    for name in ("cooling", "minimising"):
        assert _wall_s(card, name) == pytest.approx(2 * _wall_s(one, name))  # batches of 256
    assert card.gpu_h is not None
    assert card.gpu_h.value == pytest.approx(_wall_s(card, "cooling", "minimising") / 3600)
    again = _estimate(chosen, _only(runs | {7: 0}), has_card=True)
    fresh = _estimate(_changed(), _only({0: 0}))
    assert _wall_s(again, "cooling") == pytest.approx(_wall_s(one, "cooling") + _wall_s(fresh, "cooling"))


def test_without_a_card_its_hours_are_unknown_and_said_to_be() -> None:
    on_cpu = _estimate(TINY, _only({0: 0}))
    assert on_cpu.gpu_h is None
    assert on_cpu.wall_s is not None
    assert any("no GPU is at hand" in note for note in on_cpu.notes)
    on_card = _estimate(_changed(device="cuda"), _only({0: 0}))
    assert on_card.stages["cooling"] is None
    assert on_card.wall_s is None
    assert on_card.core_h is None
    assert on_card.disk_gb == pytest.approx(1e-6)
    beside = _estimate(TINY, _only({0: 0}), has_card=True)
    assert beside.gpu_h == plan.Amount(value=0.0, low=0.0, high=0.0)


def test_a_full_disk_is_foreseen() -> None:
    def notes(free_bytes: float) -> str:
        remaining = _only({0: 0, 1: 10})
        planned = plan.estimate(TINY, (_calibration(),), remaining, n_workers=1, free_bytes=free_bytes, has_card=False)
        assert planned.disk_gb == pytest.approx(1500 / 1e9)
        return " ".join(planned.notes)

    assert "does not suffice" in notes(1_499)
    assert "does not suffice" not in notes(1_501)


def test_something_to_do_needs_a_calibration() -> None:
    with pytest.raises(ValueError, match="calibrations must hold at least one"):
        plan.estimate(TINY, (), _only({0: 0}), n_workers=1, free_bytes=1.0, has_card=False)


@pytest.fixture(scope="module")
def brief() -> pytest.MonkeyPatch:
    """Spend a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "_LADDER_S", 0.3)
        patch.setattr(calibrate, "_NETWORK_S", 0.05)
        yield patch


@pytest.fixture(scope="module")
def measured(brief: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> tuple[calibrate.Calibration, ...]:
    out = tmp_path_factory.mktemp("place") / "out"
    told: list[tuple[str, float, float]] = []
    found = calibrate.calibrate(
        TINY, calibrate.left(TINY, out), out, n_workers=1, progress=lambda *words: told.append(words)
    )
    assert list(out.parent.iterdir()) == []  # nothing is left behind
    assert told[-1] == ("calibrate", 3.0, 3.0)
    return found


def test_a_calibration_measures_all_that_the_study_does(measured: tuple[calibrate.Calibration, ...]) -> None:
    assert len(measured) == 2
    for one in measured:
        assert (one.engine.T[0], one.engine.T[-1]) == (0.05, 2.0)
        assert (np.diff(one.engine.T) > 0).all()
        assert (one.engine.step_s > 0).all()
        assert (one.engine.step_s < one.engine.minimise_s).all()
        assert set(one.networks) == {"cnn", "mpnn"}
        assert set(one.features_s) == set(one.fit_s) == set(_KINDS)
        assert all(network.step_s > 0 for network in one.networks.values())
        assert min(one.engine.write_s, one.score_s, one.figure_s, *one.fit_s.values()) > 0


def test_the_disk_foreseen_is_the_disk_filled(measured: tuple[calibrate.Calibration, ...], tmp_path: Path) -> None:
    planned = _estimate(TINY, calibrate.left(TINY, tmp_path), *measured)
    simulated = _estimate(TINY, _only(dict.fromkeys(range(16), 0)), *measured)
    assert planned.disk_gb > simulated.disk_gb
    study.simulate(TINY, tmp_path, n_workers=1, progress=lambda *_: None)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert simulated.disk_gb * 1e9 == pytest.approx(written, rel=0.1)
    # and what is there is not planned again
    assert calibrate.left(TINY, tmp_path).runs == {}
    more = _changed(n_runs=20)
    assert calibrate.left(more, tmp_path).runs == {16: 0, 17: 0, 18: 0, 19: 0}
    trained = trainings(TINY)[0]
    (tmp_path / "models" / trained.folder).mkdir(parents=True)
    (tmp_path / "models" / trained.folder / "outcome.json").write_text("{}")
    assert calibrate.left(TINY, tmp_path).trainings == tuple(trainings(TINY)[1:])


def test_a_weighed_run_is_as_large_as_a_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the records tells what all of them take."""
    settings = TINY.simulate.model_copy(update={"n_runs": 1})
    job = calibrate._Simulating(
        settings=settings, n_together=1, seed=1, worker=0, seconds=0.1, folder=tmp_path / "whole"
    )
    (frame, *_), *_ = calibrate._records(settings, 1, {0: None})
    whole = calibrate._run_bytes(settings, frame, job)
    monkeypatch.setattr(calibrate, "_MOST_RECORDS", 10)
    assert calibrate._run_bytes(settings, frame, replace(job, folder=tmp_path / "part")) == pytest.approx(
        whole, rel=0.15
    )


def test_a_large_system_is_calibrated_smaller(
    brief: pytest.MonkeyPatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "MOST_PARTICLES", 64)
    seen: list[Simulate] = []
    spread = calibrate.parallel.spread

    def watched(task: Callable, jobs: list, **options: Any) -> list:
        seen.extend(job.settings for job in jobs if isinstance(job, calibrate._Simulating))
        return spread(task, jobs, **options)

    monkeypatch.setattr(calibrate.parallel, "spread", watched)
    large = _changed(n_particles=9000)
    runs = _only({0: 0})
    found = calibrate.calibrate(large, runs, tmp_path / "out", n_workers=1, progress=lambda *_: None)
    assert [settings.n_particles for settings in seen] == [64]
    assert found[0].run_bytes > 20 * 9000 * 24
    assert any("proportional" in note for note in _estimate(large, runs, *found).notes)


def test_a_finished_study_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = calibrate.Left(runs={}, trainings=(), report=False)
    monkeypatch.setattr(plan, "left", lambda *_: nothing)
    planned = plan.plan(TINY, tmp_path / "out", n_workers=2, progress=lambda *_: None)
    assert planned.wall_s == plan.Amount(value=0.0, low=0.0, high=0.0)
    assert planned.disk_gb == 0
    assert planned.free_gb > 0
    assert planned.notes == ("nothing is left to do: the folder holds the results and the report",)


def test_a_batch_is_calibrated_whole(brief: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Six runs one after the other take six times as long as one, and begin six times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitrify.simulate._device", lambda _name: OneByOne())
        patch.setattr(calibrate, "_by_processor", iter)  # a device is timed by the wall clock, and so is the run alone
        one, six = (
            calibrate._simulate(
                calibrate._Simulating(
                    settings=settings, n_together=n, seed=1, worker=0, seconds=0.3 * n, folder=tmp_path / str(n)
                ),
                lambda _amount: None,
            )
            for n, settings in ((1, TINY.simulate), (6, _changed(device="cuda").simulate))
        )
    ratio = np.mean([engine.step_s for engine in six.engines]) / np.mean([engine.step_s for engine in one.engines])
    assert 2.5 < ratio < 15  # other work on the machine
    assert six.run_bytes == pytest.approx(one.run_bytes, rel=0.02)


@pytest.mark.skipif(not cuda.available(), reason="needs a card")
def test_a_card_is_calibrated(tmp_path: Path) -> None:
    planned = plan.plan(_changed(device="cuda"), tmp_path / "out", n_workers=1, progress=lambda *_: None)
    assert planned.gpu_h is not None
    assert planned.gpu_h.value > 0


def _vitrify(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from vitrify.cli import main; main()", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_the_command_answers_in_json_and_leaves_nothing(tmp_path: Path) -> None:
    said = _vitrify("plan", str(_FILE), "--workers", "1", "--json", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert answer["n_runs"] == 16
    assert answer["gpu_h"] is None or cuda.available()
    assert 0 < answer["wall_s"]["low"] <= answer["wall_s"]["value"] <= answer["wall_s"]["high"]
    assert set(answer["stages"]) == {"cooling", "minimising", "writing", "learning", "report", "starting"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan"], "vitrify plan needs a study file"),
        (["plan", "absent.toml"], "absent.toml: No such file, and no shipped study"),
        (["plan", str(_FILE), "--simulate.n-runs", "1"], "simulate more runs"),
        (["plan", str(_FILE), "--workers", "0"], "--workers must be at least 1; got 0"),
    ],
)
def test_an_error_is_one_message(
    words: list[str], message: str, call: Callable[..., subprocess.CompletedProcess]
) -> None:
    said = call(*words)
    assert said.returncode == 1
    assert message in said.stderr
    assert "Traceback" not in said.stderr
    assert said.stdout == ""
