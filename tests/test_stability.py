import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitrify import cli, dynamics, simulate, stability, store
from vitrify.potentials import MIXTURES
from vitrify.protocols import EVERY
from vitrify.simulate import Frame, Simulate, records
from vitrify.stability import BlownUpError, Heating, Watch
from vitrify.system import stream

_MEMORY = float(np.exp(-0.2))  # of one action, for a time constant of five


def _ceiling(bath: np.ndarray, **changes: Any) -> np.ndarray:
    known: dict[str, Any] = {"hot": bath[0], "n_free": 798, "memory": _MEMORY}
    return stability.ceiling(bath, **known | changes)[0]


def test_a_bath_at_rest_leaves_room_for_its_fluctuations_alone() -> None:
    """What the canonical ensemble exceeds once in 1e15 actions, and a quarter of the bath for the heat of ageing."""
    n_free = 798
    most = _ceiling(np.full(5, 2.0))
    np.testing.assert_allclose(most, most[0])
    spread = most[0] / 2 - 0.25 - 1
    assert spread == pytest.approx(8 * np.sqrt(2 / n_free), rel=0.15)  # eight standard deviations, and a longer tail
    drawn = np.random.default_rng(1).chisquare(n_free, 1_000_000) / n_free
    assert drawn.max() < 1 + 0.75 * spread
    assert _ceiling(np.full(5, 2.0), n_free=8000)[0] < most[0] < _ceiling(np.full(5, 2.0), n_free=126)[0]
    assert np.isinf(_ceiling(np.full(5, 2.0), memory=1.0)).all()


def test_a_run_is_given_time_to_follow_a_jump_of_its_bath() -> None:
    """The first action sees it as hot as it came; then it has ten time constants, in one call or in two."""
    bath, factor = np.full(200, 0.05), _ceiling(np.full(1, 1.0))[0]
    most, hot = stability.ceiling(bath, hot=2.0, n_free=798, memory=_MEMORY)
    np.testing.assert_allclose(most / factor, 0.05 + 1.95 * np.exp(-0.02 * np.arange(200)))
    assert hot == pytest.approx(0.05 + 1.95 * np.exp(-0.02 * 200))
    _, between = stability.ceiling(bath[:70], hot=2.0, n_free=798, memory=_MEMORY)
    np.testing.assert_allclose(_ceiling(bath[70:], hot=between), most[70:])
    np.testing.assert_allclose(_ceiling(bath, hot=0.01) / factor, 0.05)  # from below it needs none
    slow = _ceiling(bath, hot=2.0, memory=1e-9) / factor  # time to fall together that no thermostat shortens
    np.testing.assert_allclose(slow, 0.05 + 1.95 * np.exp(-0.1 * np.arange(200)))


def test_behind_a_ramp_a_run_may_lag_as_the_equation_says() -> None:
    factor, step, m = _ceiling(np.full(1, 1.0))[0], 1e-3, np.exp(-0.02)
    bath = 2 - step * np.arange(1, 1001)
    expected, lag = [], step
    for _ in bath:
        expected.append(lag)
        lag = m * lag + step
    np.testing.assert_allclose(_ceiling(bath, hot=2.0) / factor - bath, expected, rtol=1e-9)
    up = bath[::-1]
    np.testing.assert_allclose(_ceiling(up, hot=up[0] - step) / factor, up)


def _seen(n: int, kinetic: float, steep: float, spread: float = 0.0) -> np.ndarray:
    return np.array([7.0, n, kinetic, n * steep, n * (steep**2 + spread**2)])


_WORDS: dict[str, Any] = {"bath": np.full(60, 2.0), "dt": 0.01, "every": 20, "n_free": 100, "hot": 2.0}


def test_configurations_that_are_too_hot_are_told_from_the_mean_squared_force() -> None:
    most = np.full(60, 150.0)
    allowed = stability.HOTTER / (1.7 * 0.01**2 / 8)  # squared force over kinetic energy
    sound = Watch(work=1.0).after(_seen(60, 101.0, 0.99 * allowed), most, **_WORDS)
    assert sound == Watch(work=8.0, hot=2.0)
    with pytest.raises(BlownUpError, match=r"dt = 0.01 .* at step 1200 .* reached 2.02 in a bath at 2, .* 6.1% hotter"):
        Watch().after(_seen(60, 101.0, 1.01 * allowed), most, **_WORDS)
    # a mean within its error of what is allowed is no proof
    assert Watch().after(_seen(60, 101.0, 1.01 * allowed, 0.5 * allowed), most, **_WORDS).n == 0
    # nor is a conservative system watched
    assert Watch().after(_seen(60, 101.0, 9 * allowed), np.full(60, np.inf), **_WORDS) == Watch(work=7.0, hot=2.0)


def test_short_stretches_are_judged_together() -> None:
    most, allowed = np.full(60, 150.0), stability.HOTTER / (1.7 * 0.01**2 / 8)
    watch = Watch()
    for n in (20, 40):
        watch = watch.after(_seen(20, 101.0, 1.1 * allowed), most, **_WORDS)
        assert (watch.n, watch.work) == (n, 7.0 * n / 20)
    with pytest.raises(BlownUpError, match=r"6\.6% hotter"):
        watch.after(_seen(20, 101.0, 1.1 * allowed), most, **_WORDS)


@pytest.mark.parametrize("kinetic", [150.1, np.inf, np.nan])
def test_a_kinetic_energy_beyond_what_is_allowed_or_no_number_is_an_error(kinetic: float) -> None:
    with pytest.raises(BlownUpError, match=r"at step 800 .* more than its fluctuations allow") as caught:
        Watch().after(_seen(40, kinetic, 1.0), np.full(60, 150.0), **_WORDS, system=3)
    again = pickle.loads(pickle.dumps(caught.value))  # as a worker sends it
    assert (str(again), again.system, again.n_steps) == (str(caught.value), 3, 800)
    assert isinstance(again, FloatingPointError)
    assert "at step 9 of hold, run 5, the" in str(again.at("step 9 of hold, run 5,", run=5))


def test_the_advice_is_a_step_that_is_shorter() -> None:
    assert "use dt <= 0.01" in str(BlownUpError(20, 0.015, 2.0, 9.0))
    assert "use a dt below 0.008" in str(BlownUpError(20, 0.008, 5.0, 90.0))


def test_heat_is_added_up_beyond_what_is_allowed_and_a_sound_past_pays_for_none() -> None:
    """200 degrees of freedom: 100 of energy are a temperature of 1; 0.01 T per time constant is allowed."""
    heating = Heating(conserved=50.0, hottest=2.0)
    words = {"n_free": 200, "T": 2.0, "hottest": 2.0}
    for _ in range(10):
        heating = heating.after(50.0, times=10.0, **words)
    assert heating.excess == 0
    heating = heating.after(50.0 + 29.0, times=10.0, **words)  # 0.29 made, 0.2 allowed
    assert heating.excess == pytest.approx(0.09)
    assert not heating.too_much  # 0.1 is
    assert heating.after(79.0 + 2.0, times=0.0, **words).too_much
    assert not heating.after(79.0 + 2.0, times=1.0, **words).too_much
    assert not heating.after(79.0 - 2.0, times=0.0, **words).too_much
    assert heating.after(np.nan, times=1.0, **words).too_much


def test_what_the_thermostat_puts_in_is_what_the_energy_gains(state: dict[str, dynamics.State]) -> None:
    """Short steps conserve H = K + U - W through a quench that takes most of the energy out."""
    for name, begin in state.items():
        rng, before = stream(4, "balance", name), begin.conserved(dynamics.energies(begin))
        after = dynamics.advance(begin, n_steps=1000, dt=0.002, T_from=0.1, T_to=0.1, tau=0.2, rng=rng)
        taken = after.watch.work - begin.watch.work
        assert taken < -0.5 * begin.n_free / 2
        assert after.conserved(dynamics.energies(after)) - before == pytest.approx(0, abs=0.01 * abs(taken))


_COURSES: dict[str, dict[str, Any]] = {
    "quench": {"quench": {"T_start": 2.0, "T_end": 0.05, "n_steps": 4000, "n_frames": 40}},
    "quickly": {"quench": {"T_start": 2.0, "T_end": 0.02, "n_steps": 4000, "n_frames": 200}, "tau": 0.02},
    "slowly": {"quench": {"T_start": 2.0, "T_end": 0.05, "n_steps": 4000, "n_frames": 5}, "tau": 20.0},
    "ramp": {"cool": {"T_start": 2.0, "T_end": 0.05, "n_steps": 400, "n_frames": 5}, "tau": 2.0},
    "up": {"cycle": {"T_high": 3.0, "T_low": 0.05, "n_steps": 800, "n_frames": 40}},
}


@pytest.mark.parametrize("name", _COURSES)
@pytest.mark.parametrize("dt", [0.005, 0.01])
def test_no_sound_run_is_stopped_whatever_its_bath_does(name: str, dt: float) -> None:
    settings = Simulate(n_particles=100, n_runs=1, n_equilibrate=1000, dt=dt, **_COURSES[name])
    for run in range(3):
        assert len(list(records(settings, seed=6, run=run))) == settings.bath.n_frames


def _until(frames: Iterator[Frame]) -> tuple[list[Frame], BlownUpError]:
    """Return the records until a run is stopped, and why it was."""
    kept = []
    try:
        for frame in frames:
            kept.append(frame)
    except BlownUpError as error:
        return kept, error
    pytest.fail(f"the run was not stopped in {len(kept)} records")


def _heated(monkeypatch: pytest.MonkeyPatch, *, by: float) -> None:
    """Make the engine warm a system by a temperature at the end of every call, unseen by its thermostat."""
    advance = dynamics.advance

    def warming(state: dynamics.State, **words: Any) -> dynamics.State:
        after = advance(state, **words)
        factor = np.float32(np.sqrt(1 + by / after.temperature))
        return replace(after, velocities=after.velocities * factor)

    monkeypatch.setattr(dynamics, "advance", warming)


def test_a_run_that_is_heated_within_its_fluctuations_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.05 every 0.4 time constants where 0.008 is allowed: 0.1 has been exceeded at the third record."""
    _heated(monkeypatch, by=0.05)
    settings = Simulate(n_particles=400, n_runs=9, n_equilibrate=400, hold={"T": 2.0, "n_steps": 800, "n_frames": 20})
    kept, error = _until(records(settings, seed=1, run=7))
    assert [frame.k for frame in kept] == [1, 2]
    assert "at step 120 of hold, run 7, the kinetic temperature reached" in str(error)
    assert "the time step had made heat worth 0.1" in str(error)
    assert abs(error.reached - 2) < 0.6


def test_heat_that_is_allowed_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _heated(monkeypatch, by=0.004)
    settings = Simulate(n_particles=400, n_runs=1, n_equilibrate=400, hold={"T": 2.0, "n_steps": 800, "n_frames": 20})
    assert len(list(records(settings, seed=1, run=0))) == 20


def test_runs_together_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two systems leaves its bath in the engine; the error names its run."""

    class Device:
        def advance(self, states: list, *, rngs: list, **words: Any) -> list[dynamics.State]:
            if words["T_to"] == 0.5:
                raise BlownUpError(EVERY, words["dt"], 0.5, 7e16, system=1)
            return [dynamics.advance(s, rng=rng, **words) for s, rng in zip(states, rngs, strict=True)]

        def minimise(self, states: list, fire: dynamics.Fire) -> list[dynamics.Minimum]:
            return [dynamics.minimise(s, fire) for s in states]

    segments = [{"T_end": 1.0, "n_steps": 40}, {"T_end": 0.5, "n_steps": 40}]
    schedule = {"T_start": 1.0, "segments": segments, "n_frames": 2}
    settings = Simulate(n_particles=64, n_runs=9, n_equilibrate=40, schedule=schedule)
    frames = simulate.records_together(settings, seed=1, after={3: None, 8: None}, device=Device())
    assert set(next(frames)) == {3, 8}
    with pytest.raises(BlownUpError, match=r"at step 60 of schedule, run 8, the kinetic temperature reached 7e\+16"):
        next(frames)


_TOO_LONG = """
name = "long"
[simulate]
n_particles = 100
n_runs = 8
n_equilibrate = 1000
dt = 0.0125
schedule = { T_start = 0.3, segments = [{ T_end = 0.3, n_steps = 2000 }, { T_end = 4.0, n_steps = 0 },
    { T_end = 4.0, n_steps = 8000 }], n_frames = 100 }
[classify]
k_glass = 1
k = [90]
k_transfer = 90
control = []
"""


def test_the_command_stops_in_one_line_and_keeps_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sound at T = 0.3 for 20 records; at T = 4 the step is too long."""
    (tmp_path / "long.toml").write_text(_TOO_LONG)
    words = ["simulate", str(tmp_path / "long.toml"), "--out", str(tmp_path / "out"), "--workers", "1"]
    said = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 1
        said.append(capsys.readouterr().err.strip().splitlines()[-1])
        (kept,) = tmp_path.glob("out/data/workspace/*/restart.npy")
        restart = np.load(kept)
        assert 20 <= restart["k"] <= 30
        T = (restart["velocities"].astype(float) ** 2).sum() / 198
        assert T < 6
        assert not list(tmp_path.glob("out/data/workspace/*/energies.h5"))
    assert said[0].startswith("vitrify: dt = 0.0125 is too long: at step ")
    assert "of schedule, run 0, the kinetic temperature reached" in said[0]
    assert said[1] == said[0]  # a second call does not creep on


@pytest.mark.parametrize("which", ["records", "records_together"])
def test_a_run_that_was_stopped_is_not_continued(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be judged by less than had been seen, and keep a record or two at every call."""
    settings = Simulate(n_particles=64, n_runs=9, n_equilibrate=40, hold={"T": 1.0, "n_steps": 80, "n_frames": 4})
    jobs = [store.Job(root=tmp_path, settings=settings, seed=1, run=run) for run in (4, 6)]
    error = BlownUpError(20, 0.005, 1.0, 9.0).at("step 40 of hold, run 6,", run=6)
    asked, alone = [], which == "records"

    def stopped(*_: Any, **words: Any) -> Iterator[Any]:
        asked.append(words)
        made = {run: next(records(settings, seed=1, run=run)) for run in (4, 6)}
        yield made[6] if alone else made
        raise error

    def keep() -> None:
        if alone:
            store.keep_run(jobs[1], lambda _: None)
        else:
            store.keep_runs(jobs, lambda _: None)

    monkeypatch.setattr(store, which, stopped)
    for _ in range(2):
        with pytest.raises(BlownUpError, match="step 40 of hold, run 6,"):
            keep()
        assert store.unfinished(tmp_path, settings, seed=1, runs=(4, 6)) == {4: int(not alone), 6: 1}
    assert len(asked) == 1


_MATRIX = [(n, dt) for n in (400, 1000) for dt in (0.0125, 0.015, 0.019)]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "dt"), _MATRIX)
def test_at_T_2_a_longer_step_is_stopped_before_a_record(n: int, dt: float) -> None:  # noqa: N802
    hold = {"T": 2.0, "n_steps": 2000, "n_frames": 10}
    for seed in range(1, 7):
        settings = Simulate(n_particles=n, n_runs=1, dt=dt, hold=hold)
        kept, error = _until(records(settings, seed=seed, run=0))
        assert not kept
        assert f"dt = {dt:g} is too long: at step {error.n_steps} of the equilibration" in str(error)
        assert f"reached {error.reached:.4g} in a bath at 2" in str(error)
        assert error.n_steps <= settings.n_equilibrate


@pytest.mark.slow
@pytest.mark.parametrize("n", [400, 1000])
def test_at_T_2_a_step_of_a_hundredth_is_sound(n: int) -> None:  # noqa: N802
    """Its mean energy lies 0.035 above that of short steps: the configurations are 4.6% hotter."""
    energies = []
    for seed in range(1, 7):
        settings = Simulate(n_particles=n, n_runs=1, dt=0.01, hold={"T": 2.0, "n_steps": 20_000, "n_frames": 200})
        energies += [frame.energies.shifted for frame in records(settings, seed=seed, run=0) if frame.energies]
    assert np.mean(energies) == pytest.approx(-1.774 + 0.035, abs=0.02)


def test_a_lattice_that_falls_together_is_not_blamed_on_the_bath_of_a_liquid() -> None:
    """`dynamics.start` minimises first; what does not is told by the kinetic temperature that it reaches."""
    rng = stream(1, "lattice")
    lattice = dynamics.shuffled_lattice(MIXTURES["ka2d"], n_particles=100, T=0.1, rng=rng)
    with pytest.raises(BlownUpError, match="reached"):
        dynamics.advance(lattice, n_steps=200, dt=0.005, T_from=0.1, T_to=0.1, tau=0.5, rng=rng)
