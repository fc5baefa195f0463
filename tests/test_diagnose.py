"""What a trajectory is said to be: known temperatures, crystals, and samples that a model should not be asked about."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitrify import diagnose, dynamics, packed
from vitrify.diagnose import configurational_temperature, crystalline, first_peaks, kinetic_temperature
from vitrify.imported import Units
from vitrify.potentials import MIXTURES
from vitrify.snapshots import Snapshot, Told
from vitrify.system import Configuration, stream
from vitrify.trajectories import read, write

DATA = Path(__file__).parents[2] / "shared" / "data"
KA2D = MIXTURES["ka2d"]


def quiet(_stage, _done, _total):
    pass


def look(path, *, units=None, told=None, **known):
    known = {"mixture": None, "model": None} | known
    return diagnose.diagnose(path, told or Told(), units or Units(), progress=quiet, **known)


def frame(state, step=0):
    d = state.positions.shape[1]
    columns = dict(zip(("vx", "vy", "vz"), state.velocities.T.astype(float), strict=False))
    configuration = dynamics.configuration(state)
    return Snapshot(configuration=configuration, names=("1", "2"), step=step, columns=columns, origin=(0.0,) * d)


def course(*, T, n_frames, n_steps, from_T=None, n=400, tau=0.5, seed=1):
    """Frames of ka2d held at T, after an equilibration there or right after a quench from another temperature."""
    rng = stream(seed, "diagnose")
    state = dynamics.start(KA2D, n_particles=n, T=from_T or T, rng=rng)
    bath = {"dt": 0.005, "rng": rng}
    state = dynamics.advance(state, n_steps=4000, T_from=from_T or T, T_to=from_T or T, tau=0.2, **bath)
    frames = []
    for step in range(n_frames):
        frames.append(frame(state, step))
        state = dynamics.advance(state, n_steps=n_steps, T_from=T, T_to=T, tau=tau, **bath)
    return frames


@pytest.fixture(scope="module")
def liquid_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("liquid") / "liquid.lammpstrj"
    write(path, course(T=1.0, n_frames=10, n_steps=400))
    return path


def test_both_temperatures_of_a_liquid_are_the_bath_s(liquid_file):
    found = look(liquid_file, mixture=KA2D)
    assert found["T_kinetic"] == pytest.approx(1.0, abs=0.064)  # four standard errors
    assert found["T_configurational"] == pytest.approx(1.0, abs=0.12)
    assert found["warnings"] == []
    assert (found["n_frames"], found["n_particles"], found["dimension"]) == (10, 400, 2)
    assert found["species"] == {"1": 260, "2": 140}
    assert found["density"] == pytest.approx(1.2)
    assert found["units"].startswith("lj")
    assert found["first_peaks"] == pytest.approx({"1-1": 1.05, "1-2": 0.86, "2-2": 1.7}, abs=0.1)
    assert found["ageing_p"] > 0.01


def test_the_configurational_temperature_is_the_ratio_of_force_and_curvature():
    """One pair: |F|^2 summed over both, and the Laplacian of both, by finite differences."""
    u = lambda r: 4 * (r**-12 - r**-6)
    r, h = 1.3, 1e-4
    slope, bend = (u(r + h) - u(r - h)) / (2 * h), (u(r + h) - 2 * u(r) + u(r - h)) / h**2
    two = Configuration(
        positions=np.array([[5.0, 5.0], [5.0 + r, 5.0]]), species=np.zeros(2, int), box=np.full(2, 20.0)
    )
    assert configurational_temperature(two, KA2D) == pytest.approx(2 * slope**2 / (2 * (bend + slope / r)), rel=1e-5)


def test_a_drift_of_the_whole_is_no_temperature():
    velocities = np.array([[3.0, 1.0], [5.0, 1.0]])
    configuration = Configuration(positions=np.array([[0.0, 0], [1, 1]]), species=np.zeros(2, int), box=np.full(2, 9.0))
    columns = {"vx": velocities[:, 0], "vy": velocities[:, 1], "mass": np.array([2.0, 2.0])}
    one = Snapshot(configuration=configuration, names=("A",), columns=columns, origin=(0.0, 0.0))
    assert kinetic_temperature(one, Units()) == pytest.approx(2 * 2 / 2)
    assert kinetic_temperature(replace(one, columns={}), Units()) is None


def test_argon_s_kinetic_temperature_is_in_kelvin(rng):
    """39.948 g/mol at 100 K: sqrt(kT/m) is 1.4426 A/ps, and epsilon/k is 119.8 K."""
    velocities = rng.standard_normal((20_000, 3)) * 1.4426e-3
    configuration = Configuration(
        positions=rng.random((20_000, 3)) * 90, species=np.zeros(20_000, int), box=np.full(3, 90.0)
    )
    columns = dict(zip(("vx", "vy", "vz"), velocities.T, strict=True)) | {"mass": np.full(20_000, 39.948)}
    one = Snapshot(configuration=configuration, names=("Ar",), columns=columns, origin=(0.0,) * 3)
    real = kinetic_temperature(one, Units(style="real", sigma=3.405, epsilon=0.23806))
    assert real == pytest.approx(100 / 119.8, rel=0.02)
    fast = replace(one, columns=columns | {axis: columns[axis] * 1e3 for axis in ("vx", "vy", "vz")})
    metal = kinetic_temperature(fast, Units(style="metal", sigma=3.405, epsilon=0.010323))
    assert metal == pytest.approx(real, rel=1e-3)


def lattice(kind, rng, *, shake):
    """A crystal of unit nearest distance whose particles are shaken."""
    if kind == "square":
        x, y = np.meshgrid(np.arange(20.0), np.arange(20.0))
        points, box = np.stack([x.ravel(), y.ravel()], 1), np.full(2, 20.0)
    elif kind == "hexagonal":
        x, y = np.meshgrid(np.arange(20.0), np.arange(20))
        points = np.stack([(x + 0.5 * (y % 2)).ravel(), y.ravel() * np.sqrt(0.75)], 1)
        box = np.array([20.0, 20 * np.sqrt(0.75)])
    else:
        corner = np.stack(np.meshgrid(*[np.arange(5.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
        base = {"fcc": [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], "bcc": [[0, 0, 0], [0.5, 0.5, 0.5]]}
        scale = {"fcc": np.sqrt(2), "bcc": 2 / np.sqrt(3)}[kind]
        points, box = (corner[:, None] + np.array(base[kind])).reshape(-1, 3) * scale, np.full(3, 5 * scale)
    points = points + shake * rng.standard_normal(points.shape)
    return Configuration(positions=points, species=np.zeros(len(points), int), box=box)


@pytest.mark.parametrize("kind", ["square", "hexagonal", "fcc", "bcc"])
def test_a_shaken_crystal_is_crystalline(kind, rng):
    assert crystalline(lattice(kind, rng, shake=0.0)).all()
    assert crystalline(lattice(kind, rng, shake=0.05)).mean() > 0.9


@pytest.mark.parametrize("kind", ["hexagonal", "fcc"])
def test_a_molten_crystal_is_not(kind, rng):
    assert crystalline(lattice(kind, rng, shake=1.0)).mean() < 0.1


@pytest.mark.parametrize("name", ["ka2d", "ka3d"])
def test_a_liquid_is_not_crystalline(name, liquid):
    assert crystalline(liquid[name]).mean() < 0.12


def test_the_first_peak_of_a_crystal_is_its_nearest_distance(rng):
    assert first_peaks([lattice("hexagonal", rng, shake=0.02)])[0, 0] == pytest.approx(1.0, abs=0.04)


def test_a_crystallised_sample_is_told_as_such(tmp_path, rng):
    crystal = lattice("hexagonal", rng, shake=0.05)
    path = tmp_path / "crystal.gsd"
    write(path, [Snapshot(configuration=crystal, names=("A",), origin=(0.0, 0.0))])
    found = look(path)
    assert found["crystalline_fraction"] > 0.9
    assert any("crystallised: " in words and "no model should be asked" in words for words in found["warnings"])


def test_an_ageing_sample_is_told_as_such(tmp_path):
    path = tmp_path / "ageing.lammpstrj"
    write(path, course(T=0.2, from_T=2.0, n_frames=12, n_steps=600, seed=2))
    words = look(path, mixture=KA2D)["warnings"]
    assert any("ageing: the inherent-structure energy per particle falls from -3." in one for one in words), words


def test_a_sample_that_was_just_quenched_is_out_of_equilibrium(tmp_path):
    path = tmp_path / "quenched.lammpstrj"
    state = dynamics.start(KA2D, n_particles=400, T=1.0, rng=stream(4, "quenched"))
    hot = dynamics.advance(state, n_steps=4000, dt=0.005, T_from=1, T_to=1, tau=0.2, rng=stream(5, "quenched"))
    cold = replace(hot, velocities=hot.velocities * np.float32(0.5))
    write(path, [frame(cold)])
    found = look(path, mixture=KA2D)
    assert found["T_kinetic"] == pytest.approx(0.25, abs=0.04)
    assert any("not in equilibrium: the kinetic temperature is 0.2" in one for one in found["warnings"])


@pytest.mark.parametrize("name", ["ka2d-inherent", "ka2d-thermal"])
def test_what_a_shipped_model_knows_is_told_from_what_it_does_not(tmp_path, liquid_file, name):
    model = packed.load(name)
    inside = look(liquid_file, mixture=KA2D, model=model)
    assert inside["domain_distance"] < 1.1
    assert inside["warnings"] == []
    assert inside["T_structure"] == pytest.approx(1.0, abs=0.5 if name == "ka2d-thermal" else 1.0)
    thin = tmp_path / "thin.lammpstrj"
    state = dynamics.start(KA2D, n_particles=400, T=1.0, rng=stream(6, "thin"))
    thinner = dynamics.advance(replace(state, edge=state.edge * 1.1), n_steps=2000, dt=0.005, T_from=1, T_to=1, tau=0.2,
                               rng=stream(7, "thin"))  # fmt: skip
    write(thin, [frame(thinner)])
    words = look(thin, mixture=KA2D, model=model)["warnings"]
    assert any(f"outside the domain of {name}" in one and "density is 0.992" in one for one in words), words


def test_a_gas_at_the_right_density_is_outside_of_the_domain(tmp_path, rng):
    path, edge = tmp_path / "gas.lammpstrj", float(KA2D.box(400)[0])
    gas = Configuration(positions=rng.random((400, 2)) * edge, species=KA2D.species(400), box=np.full(2, edge))
    write(path, [Snapshot(configuration=gas, names=("1", "2"), step=0, origin=(0.0, 0.0))])
    found = look(path, model=packed.load("ka2d-thermal"))
    assert found["domain_distance"] > 3
    assert any("two particles are" in one for one in found["warnings"])
    assert any("its structure is" in one for one in found["warnings"])


def test_other_dimensions_are_outside_of_the_domain(tmp_path, liquid):
    path = tmp_path / "cube.gsd"
    write(path, [Snapshot(configuration=liquid["ka3d"], names=("A", "B"), step=0, origin=(0.0,) * 3)])
    found = look(path, model=packed.load("ka2d-thermal"))
    assert found["domain_distance"] is None
    assert any("it cannot be used" in one and "2 dimensions" in one for one in found["warnings"])


def test_damage_after_good_frames_is_said_and_they_are_diagnosed(tmp_path, liquid_file):
    path = tmp_path / "cut.lammpstrj"
    text = liquid_file.read_text()
    path.write_text(text[: len(text) // 2])
    found = look(path)
    assert 3 <= found["n_frames"] <= 5
    assert any(f"damaged after frame {found['n_frames']}: " in one and "line" in one for one in found["warnings"])


def test_frames_that_repeat_are_said(tmp_path, liquid_file):
    frames = list(read(liquid_file))
    path = tmp_path / "twice.extxyz"
    write(path, [frames[0], replace(frames[0], step=1), replace(frames[1], step=2)])
    assert any("1 of 3 frames repeat an earlier one" in one and "frame 2 is frame 1" in one
               for one in look(path)["warnings"])  # fmt: skip


def test_units_that_cannot_be_are_said(tmp_path, liquid_file):
    def larger(one):
        shown = one.configuration
        return replace(one, configuration=replace(shown, positions=shown.positions * 3.4, box=shown.box * 3.4))

    path = tmp_path / "argon.lammpstrj"
    write(path, [larger(one) for one in read(liquid_file)][:2])
    found = look(path)
    assert found["units"].startswith("angstrom")
    assert any("say --units and --sigma" in one for one in found["warnings"])
    assert look(path, units=Units(sigma=3.4))["density"] == pytest.approx(1.2)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no {DATA}")
def test_real_files_are_told_for_what_they_are():
    flat = look(DATA / "ka2d_s.lammpstrj", mixture=KA2D, model=packed.load("ka2d-inherent"))
    assert flat["T_configurational"] == pytest.approx(0.5, abs=0.03)
    assert flat["first_peaks"] == pytest.approx({"1-1": 1.05, "1-2": 0.86, "2-2": 1.73}, abs=0.03)
    assert any("ageing" in one for one in flat["warnings"])
    assert any("outside the domain" in one for one in flat["warnings"])  # less relaxed than any sample of the training
    deep = look(DATA / "ka3d_s.lammpstrj", mixture=MIXTURES["ka3d"])
    assert deep["T_configurational"] == pytest.approx(0.60, abs=0.03)
    assert deep["warnings"] == []
    hot = diagnose.reduced(next(read(DATA / "ka3d_T2.0.xyz.gz")), Units())[0]
    assert configurational_temperature(hot, MIXTURES["ka3d"]) == pytest.approx(2.0, abs=0.08)
    gas = look(DATA / "lj.gsd")
    assert (gas["n_particles"], gas["dimension"], gas["n_frames"]) == (1000, 3, 10)
