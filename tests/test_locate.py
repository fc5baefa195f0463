import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.test_transition import AV_COOLING, FOUR_POINTS, PUBLISHED, RAMP, planted

from vitrify import cli, locate, report, store, study
from vitrify.analyses import tg
from vitrify.cli.locate import read_curve
from vitrify.dataset import Ensemble
from vitrify.settings import Study, from_toml
from vitrify.system import stream
from vitrify.transition import CONVENTIONS
from vitrify.transition import tg as of_convention
from vitrify.transition_figures import rate_figure, tg_figure

needs_curve = pytest.mark.skipif(not AV_COOLING.exists(), reason=f"the published curve is not at {AV_COOLING}")


def said(capsys, *words):
    """Return what a command prints as JSON."""
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--json"])
    assert end.value.code == 0
    return json.loads(capsys.readouterr().out)


def failed(capsys, *words):
    """Return the message of a command that fails."""
    with pytest.raises(SystemExit) as end:
        cli.main([*words])
    assert end.value.code == 1
    return capsys.readouterr().err


def written(path: Path, T, energy) -> str:
    path.write_text("# T, energy\n" + "".join(f"{one} {e}  # a record\n\n" for one, e in zip(T, energy, strict=True)))
    return str(path)


@pytest.mark.parametrize("row", FOUR_POINTS)
def test_a_file_of_four_points_gives_the_listed_tg(row, tmp_path, capsys):
    T, energy, expected = FOUR_POINTS[row]
    name = "four points 0.05, 0.245 | 0.44, 0.557" if row == "log" else "four points 0.05, 0.2 | 0.5, 0.8"
    rows = said(capsys, "tg", written(tmp_path / "four.dat", T, energy))["curves"][0]["rows"]
    found = {one["convention"]: one for one in rows}
    assert found[name]["Tg"] == pytest.approx(expected, abs=5e-4)
    assert all(one["found"] is None for one in rows)  # four points cannot tell
    assert (found[name]["low"], found[name]["high"]) == (None, None)
    others = [one for one in rows if one["convention"] != name]
    assert all(one["Tg"] is None and one["verdict"].startswith("not covered") for one in others)


@needs_curve
def test_the_published_curve_gives_the_listed_tg(capsys):
    found = {one["convention"]: one for one in said(capsys, "tg", str(AV_COOLING))["curves"][0]["rows"]}
    for name, expected in PUBLISHED.items():
        assert found[name]["Tg"] == pytest.approx(expected, abs=5e-4)
        assert found[name]["low"] < expected < found[name]["high"]
    whole = found["all records"]
    assert whole["found"] is True
    assert (whole["Tg"], whole["width"]) == (pytest.approx(0.435, abs=1e-3), pytest.approx(0.286, abs=2e-3))
    assert whole["width_low"] <= whole["width"] <= whole["width_high"] < 0.4
    assert found["least squares 0.05-0.25 | 0.6-1.2"]["verdict"].startswith("no crossing supported")
    assert found["least squares 0.05-0.25 | 0.6-1.2"]["found"] is False
    assert [one["found"] for name, one in found.items() if name.startswith("four")] == [None, None]
    assert sum(one["found"] is True for one in found.values()) == 6


def test_the_rows_of_an_ensemble_are_those_of_the_study():
    energies = planted(np.random.default_rng(1))
    rows = {row.convention: row for row in locate.of_runs(RAMP, energies, seed=5).rows}
    assert set(rows) == {*CONVENTIONS, "all records"}
    for name, convention in CONVENTIONS.items():
        one = of_convention(RAMP, energies, convention, name=name, rng=stream(5, "tg", name))
        assert (rows[name].Tg, rows[name].low, rows[name].high) == (one.T, one.low, one.high)
        assert (rows[name].verdict, rows[name].n_runs, rows[name].method) == (one.verdict, 40, one.method)
    assert rows["all records"].low < 0.4 < rows["all records"].high
    listed = locate.estimates(locate.of_runs(RAMP, energies, seed=5))
    assert [(one.T, one.found) for one in listed] == [(rows[name].Tg, rows[name].found) for name in CONVENTIONS]


def test_the_command_tells_a_parabola_from_a_kink(tmp_path, capsys):
    """From a file to the answer of every row: the curve's temperatures, its limit, its conventions."""
    rng = np.random.default_rng(11)
    curves = {"bend": 0.03 * RAMP**2, "kink": 0.01 * RAMP + 0.08 * np.maximum(RAMP - 0.42, 0)}
    files = [
        written(tmp_path / name, RAMP, -3.9 + curve + rng.normal(scale=0.001, size=200))
        for name, curve in curves.items()
    ]
    bend, kink = said(capsys, "tg", *files)["curves"]
    for each, found in ((bend, False), (kink, True)):
        told = {row["convention"]: row["found"] for row in each["rows"]}
        assert [told.pop(name) for name in tuple(told) if name.startswith("four points")] == [None, None]
        assert told.pop("all records") is found
        assert (True in told.values()) is found
        assert None not in told.values()
        assert each["summary"]["found"] is found
    assert bend["summary"]["n_found"] == 0
    assert bend["summary"]["n_told"] == 6
    assert "0 of 6 conventions" in bend["summary"]["sentence"]
    smooth = kink["rows"][-1]
    assert smooth["Tg"] == pytest.approx(0.42, abs=0.02)
    assert smooth["low"] <= 0.42 <= smooth["high"]
    assert smooth["width_high"] < 0.2
    tight = said(capsys, "tg", files[1], "--width-limit", "0.001")["curves"][0]["rows"]
    assert {row["found"] for row in tight} == {None}  # the records do not resolve it
    assert "--width-limit must be a width above 0" in failed(capsys, "tg", files[1], "--width-limit", "-1")


def test_the_summary_says_what_was_found_and_with_what():
    kinked = planted(np.random.default_rng(1))
    straight = planted(np.random.default_rng(2), glass=0.05, liquid=0.05)
    yes, no, few = (
        locate.summary(locate.of_runs(RAMP, runs, seed=1, limit=0.6), n_records=200, limit=0.6)
        for runs in (kinked, straight, kinked[:4])
    )
    assert (yes.found, no.found, few.found) == (True, False, None)
    assert (yes.n_found, yes.n_told, no.n_found, no.n_told, few.n_told) == (6, 6, 0, 6, 0)
    assert yes.Tg_low is not None
    assert yes.Tg_low <= 0.4 <= yes.Tg_high
    for words in (f"T = {yes.T:.3f} [{yes.low:.3f}, {yes.high:.3f}]", "limit of 0.6", "40 runs", f"{yes.width:.3f} ["):
        assert words in yes.sentence()
    assert no.detectable is not None
    assert f"a kink whose slope changes by {no.detectable:.2g} would have been found" in no.sentence("it")
    assert few.sentence().startswith("4 runs of the curve cannot tell")
    short = locate.summary(locate.of_curve(RAMP[::25], kinked[0][::25]), n_records=8)
    assert (short.found, short.T, short.n_told) == (None, None, 0)
    assert short.sentence().startswith("8 records of the curve cannot tell")


def test_intervals_from_residuals_cover_the_truth():
    covered = []
    for seed in range(20):
        curve = planted(np.random.default_rng(seed), scale=0.004, n_runs=8).mean(axis=0)
        rows = locate.of_curve(RAMP[::2], curve[::2]).rows
        covered.append([row.low <= 0.4 <= row.high for row in rows])
    assert (np.mean(covered, axis=0) >= 0.8).all(), np.mean(covered, axis=0)


def test_tg_falls_along_a_line_of_the_cooling_time():
    steps, rng = np.array([2e5, 2e6, 2e7, 2e8]), np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        line = locate.rate_line(steps, 0.6 - 0.04 * np.log10(steps) + rng.normal(scale=0.01, size=4))
        covered += line.low <= -0.04 <= line.high
    assert covered >= 180
    listed = locate.rate_line(steps, np.array([FOUR_POINTS[row][2] for row in ("2e5", "2e6", "2e7", "2e8")]))
    assert listed.sentence.startswith("Tg falls with the cooling time: -0.0319 [")
    assert listed.slope == pytest.approx(np.polyfit(np.log10(steps), [0.3853, 0.3748, 0.3410, 0.2902], 1)[0])
    assert locate.rate_line(steps[:2], np.array([0.4, 0.3])).low is None
    Tg, low, high = np.array([0.4, 0.3]), np.array([0.37, 0.26]), np.array([0.44, 0.33])
    two = locate.rate_line(np.array([1e-5, 1e-6]), Tg, low=low, high=high, of="rate")
    assert (two.low, two.high) == pytest.approx((0.1 - np.hypot(0.03, 0.03), 0.1 + np.hypot(0.04, 0.04)))
    assert two.sentence.startswith("Tg rises with the cooling rate: +0.1000 [+0.0576, +0.1566] per decade")
    turned = locate.rate_line(np.array([1e5, 1e6]), Tg, low=low, high=high)
    assert (turned.slope, turned.low, turned.high) == pytest.approx((-two.slope, -two.high, -two.low))
    with pytest.raises(ValueError, match="two different times above 0"):
        locate.rate_line(np.array([1e5, 1e5]), np.array([0.4, 0.3]))


def test_sizes_that_agree_and_sizes_that_do_not():
    n, error = np.array([100.0, 400.0, 1600.0]), np.array([0.01, 0.01, 0.01])
    rng = np.random.default_rng(3)

    def check(truth):
        Tg = truth + rng.normal(scale=error)
        return locate.size_check(n, Tg, Tg - 1.96 * error, Tg + 1.96 * error)

    assert np.mean([check(np.full(3, 0.4)).p < 0.05 for _ in range(400)]) == pytest.approx(0.05, abs=0.03)
    apart = [check(0.4 + 10 / n) for _ in range(50)]
    assert all(one.p < 0.05 and "depends on the size" in one.sentence for one in apart)
    assert np.mean([one.infinite for one in apart]) == pytest.approx(0.4, abs=0.004)
    assert np.mean([one.slope for one in apart]) == pytest.approx(10, rel=0.1)
    with pytest.raises(ValueError, match="two different sizes"):
        locate.size_check(n[:1], n[:1], n[:1], n[:1] + 1)
    with pytest.raises(ValueError, match="every interval must have a width"):
        locate.size_check(n, n, n, n)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1 1\n0.2 nan\n", "line 2 must hold finite numbers, the temperature above 0; got '0.2 nan'"),
        ("# all\n0.1 1\n0.2\n", "line 3 must hold two columns, temperature and energy; it has 1: '0.2'"),
        ("0.1 1 2\n", "line 1 must hold two columns, temperature and energy; it has 3"),
        ("T energy\n", "line 1 must hold two numbers, temperature and energy; got 'T energy'"),
        ("-0.1 1\n", "line 1 must hold finite numbers, the temperature above 0"),
        ("0.1 1\n0.1 1\n0.2 2\n0.3 3\n", "must hold at least 4 different temperatures; it has 3"),
        ("", "must hold at least 4 different temperatures; it has 0"),
    ],
)
def test_a_bad_curve_is_refused_by_file_and_line(text, message, tmp_path, capsys):
    path = tmp_path / "bad.dat"
    path.write_text(text)
    error = failed(capsys, "tg", str(path))
    assert error.startswith(f"vitrify: {path}")
    assert message in error


def test_a_file_that_is_no_text_is_refused(tmp_path, capsys):
    path = tmp_path / "bad.dat"
    path.write_bytes(b"\xff\xfe\x00\x81")
    assert "must be a text file of two columns" in failed(capsys, "tg", str(path))


def test_a_curve_may_have_commas_comments_and_any_order(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("# T,e\n0.3, -3.1 # last\n\n0.1\t-3.3\n2e-1,-3.2\n0.4 -3\n")
    assert read_curve(path) == ([0.3, 0.1, 0.2, 0.4], [-3.1, -3.3, -3.2, -3.0])


def test_the_command_needs_curves_or_studies_and_a_number_for_each(tmp_path, capsys):
    four = written(tmp_path / "four.dat", *FOUR_POINTS["2e5"][:2])
    assert "needs a curve or a study" in failed(capsys, "tg")
    assert "takes curves or studies, not both" in failed(capsys, "tg", four, "quickstart")
    assert "must name one number for each of the 1 curves; got 2" in failed(
        capsys, "tg", four, "--cooling-steps", "2e5", "2e6"
    )
    assert "absent: No such file" in failed(capsys, "tg", "absent")


def test_several_curves_give_the_line_and_their_figures(tmp_path, capsys):
    rows = ("2e5", "2e6", "2e7", "2e8")
    files = [written(tmp_path / f"{row}.dat", *FOUR_POINTS[row][:2]) for row in rows]
    found = said(capsys, "tg", *files, "--cooling-steps", *rows)
    (line,) = found["rate"]
    assert line["slope"] == pytest.approx(-0.0319, abs=1e-4)
    assert line["Tg"] == pytest.approx([FOUR_POINTS[row][2] for row in rows], abs=5e-4)
    said(capsys, "tg", *files[:2], "--cooling-steps", *rows[:2], "--out", str(tmp_path / "out"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"tg_1.svg", "tg_2.png", "tg_rate.svg", "tg_rate.csv"} <= names
    assert (tmp_path / "out" / "tg_rate.csv").read_text().startswith("cooling_steps,")


def test_several_sizes_are_checked_against_each_other(tmp_path, capsys):
    rng = np.random.default_rng(4)
    curves = [planted(rng, T_g=0.4, n_runs=4).mean(axis=0) for _ in range(2)]
    files = [written(tmp_path / f"{place}.dat", RAMP, curve) for place, curve in enumerate(curves)]
    checks = {one["name"]: one for one in said(capsys, "tg", *files, "--sizes", "400", "1600")["size"]}
    assert {"smooth branches", "least squares 0.05-0.25 | 0.5-0.8"} <= set(checks)
    assert all(0 <= one["p"] <= one["p_holm"] <= 1 for one in checks.values())
    assert all("N = 400 to 1600" in one["sentence"] for one in checks.values())


def test_checks_of_the_size_made_together_are_corrected_together():
    n = np.array([400.0, 1600.0])
    apart = [locate.size_check(n, np.array([0.4, T]), n * 0 + 0.39, n * 0 + 0.41) for T in (0.416, 0.402, 0.41)]
    alone, three = apart[0], locate.size_checks(apart)
    assert alone.p < 0.05
    assert alone.sentence.startswith(f"Tg depends on the size (N = 400 to 1600, p = {alone.p:.2g});")
    assert three[0].p_holm == pytest.approx(3 * alone.p)
    assert three[0].sentence.startswith("Tg does not depend on the size within the intervals (N = 400 to 1600, p = 0.0")
    assert f", Holm's {3 * alone.p:.2g});" in three[0].sentence


def test_curves_that_differ_in_cooling_and_size_are_grouped_by_the_other(tmp_path, capsys):
    rng, files, truth = np.random.default_rng(5), [], {}
    for size in (400, 1600):
        for steps in (1e5, 1e6):
            truth[size, steps] = 0.4 - 0.05 * (steps > 1e5)
            curve = planted(rng, T_g=truth[size, steps], n_runs=40).mean(axis=0)
            files.append(written(tmp_path / f"{size}-{steps:.0f}.dat", RAMP, curve))
    words = ["--cooling-steps", *(["1e5", "1e6"] * 2), "--sizes", "400", "400", "1600", "1600"]
    found = said(capsys, "tg", *files, *words, "--out", str(tmp_path / "out"))
    lines = {one["name"]: one for one in found["rate"]}
    for size in ("400", "1,600"):
        line = lines[f"smooth branches, N = {size}"]
        assert line["slope"] == pytest.approx(-0.05, abs=0.02)
        assert line["low"] <= line["slope"] <= line["high"]
    checks = {one["name"]: one for one in found["size"]}
    assert {"smooth branches, 100,000 steps", "smooth branches, 1,000,000 steps"} <= set(checks)
    assert all(one["sizes"] == [400, 1600] for one in checks.values())
    header = (tmp_path / "out" / "tg_rate.csv").read_text().splitlines()[0]
    assert header == "cooling_steps,n_particles,curve,method,Tg,low,high,found"


@pytest.mark.slow
def test_folders_of_studies_give_tg_against_the_cooling_rate_and_the_size(tmp_path, capsys):
    made = {"fast": (64, 4_000), "slow": (64, 8_000), "large": (100, 4_000)}
    for name, (n_particles, n_steps) in made.items():
        tiny = tomllib.loads((Path(__file__).parent / "tiny.toml").read_text("utf-8"))
        tiny["name"], tiny["simulate"]["n_particles"] = name, n_particles
        tiny["simulate"]["cool"]["n_steps"] = n_steps
        tiny["classify"] |= {"inputs": ["inherent"], "control": [], "null": False}
        tiny["models"] = [{"kind": "logistic"}]
        study.run(Study.model_validate(tiny), tmp_path / name, n_workers=1, progress=lambda *_: None)
    found = said(capsys, "tg", *(str(tmp_path / name) for name in made), "--out", str(tmp_path / "figures"))
    assert [one["cooling_rate"] for one in found["curves"]] == pytest.approx([1.95 / 20, 1.95 / 40, 1.95 / 20])
    for one in found["rate"]:
        assert one["cooling"] == pytest.approx([1.95 / 20, 1.95 / 40])
        assert "cooling rate" in one["sentence"]
    assert all(one["sizes"] == [64, 100] for one in found["size"])
    assert (tmp_path / "figures" / "tg_3.png").exists()
    several = (tmp_path / "figures" / "tg_rate.png").exists()
    assert several == bool(found["rate"] or found["size"])  # so small and fast coolings may support none
    assert "holds no results.json" in failed(capsys, "tg", str(tmp_path), str(tmp_path / "fast"))


def lattices(rng, *, T_c: float) -> Ensemble:
    """Runs whose structures are a square lattice that is strained, and whose energies rise, at one temperature."""
    T, n_runs = np.linspace(2.0, 0.1, 12), 12
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(64, 2) + 0.5
    scale = np.where(T_c < T, 0.12, 0.06)[None, :, None, None]
    inherent = (grid + scale * rng.normal(size=(n_runs, 12, 64, 2))).astype(np.float32) % np.float32(8)
    energies = 0.1 * np.maximum(T - T_c, 0) + rng.normal(scale=0.003, size=(n_runs, 12))
    same = dict.fromkeys(("e_pot_unshifted", "e_pot_shifted", "e_is_unshifted", "e_is_shifted"), energies)
    return Ensemble(
        thermal=inherent,
        inherent=inherent,
        species=np.repeat([0, 1], 32),
        box=np.full(2, 8.0),
        T=T,
        max_force=np.zeros((n_runs, 12)),
        converged=np.ones((n_runs, 12), bool),
        **same,
    )


@pytest.fixture(scope="module")
def planted_values() -> dict:
    """The analysis of such runs, whose structure changes between two neighbouring temperatures."""
    ensemble = lattices(np.random.default_rng(5), T_c=0.9)
    tiny = from_toml(Path(__file__).parent / "tiny.toml").model_dump(mode="json")
    tiny["simulate"]["cool"] |= {"n_frames": 12, "n_steps": 4080}
    tiny["simulate"]["n_runs"] = 12
    tiny["classify"] |= {"k_glass": 12, "k": [1], "control": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", lambda *_, **__: ensemble)
        values = tg.compute(Study.model_validate(tiny), Path(), n_workers=1, progress=lambda *_: None)
    return json.loads(json.dumps(values, allow_nan=False))


def test_the_analysis_finds_a_planted_change_of_structure(planted_values):
    T = np.linspace(2.0, 0.1, 12)
    rows = {(row["method"], row["convention"]): row for row in planted_values["rows"]}
    for name in ("confusion", "prediction", "divergence"):
        row = rows[name, "structure"]
        assert row["found"], row["verdict"]
        assert row["low"] < 0.9 < row["high"]
        assert row["n_runs"] == 12
        assert len(planted_values["indicators"]["e_is"][name]["value"]) == len(T) - 1
    assert rows["smooth branches", "all records"]["low"] <= 0.9 <= rows["smooth branches", "all records"]["high"]
    assert rows["smooth branches", "all records"]["found"] is True


def test_the_analysis_hands_on_the_runs_their_temperatures_and_the_limit(monkeypatch):
    """The mean is over runs, not over records, and every run is resampled whole: a spy sees what is handed on."""
    ensemble, seen = lattices(np.random.default_rng(5), T_c=0.9), {}
    tiny = from_toml(Path(__file__).parent / "tiny.toml").model_dump(mode="json") | {"width_limit": 0.55, "seed": 9}
    tiny["simulate"]["cool"] |= {"n_frames": 12, "n_steps": 4080}
    tiny["simulate"]["n_runs"] = 12
    tiny["classify"] |= {"k_glass": 12, "k": [1], "control": []}
    monkeypatch.setattr(store, "load", lambda *_, **__: ensemble)

    real = locate.of_runs

    def spy(T, energies, **words):
        seen.update(words, T=T, energies=energies)
        return real(T, energies, **words)

    monkeypatch.setattr(locate, "of_runs", spy)
    chosen = Study.model_validate(tiny)
    monkeypatch.setattr(tg, "_indicate", lambda *_, **__: {})
    values = tg.compute(chosen, Path(), n_workers=1, progress=lambda *_: None)
    np.testing.assert_array_equal(seen["T"], ensemble.T)
    np.testing.assert_array_equal(seen["energies"], ensemble.e_is_unshifted)
    assert (seen["limit"], seen["seed"], values["summary"]["limit"]) == (0.55, 9, 0.55)
    np.testing.assert_allclose(values["mean"], ensemble.e_is_unshifted.mean(axis=0))
    np.testing.assert_allclose(values["se"], ensemble.e_is_unshifted.std(axis=0, ddof=1) / np.sqrt(12))
    assert values["n_runs"] == 12
    results = study._tg(chosen, ensemble)
    assert [one["found"] for one in results["tg"]] == [
        row["found"] for row in values["rows"] if row["method"] != "smooth branches" and row["Tg"] is not None
    ]
    assert results["transition"]["limit"] == 0.55


def test_the_section_says_what_was_found_and_draws_it(planted_values):
    section = tg.section(planted_values)
    assert "Of one classifier shown structure, 12 runs: confusion peaks at" in section.sentences[1]
    (table,), (drawing,) = section.tables, section.drawings
    assert all(len(row) == len(table.columns) for row in table.rows)
    figure = drawing.draw(*drawing.values)
    assert isinstance(figure, Figure)
    titles = [ax.get_title(loc="left") for part in figure.subfigs for ax in part.axes]
    assert titles[0] == "(a)"
    assert "12 runs" in titles[1]
    assert titles[2:] == ["(c) confusion", "(d) prediction", "(e) divergence"]


def test_a_study_that_is_no_cooling_has_no_transition():
    hold = {"T": 0.5, "n_steps": 400, "frames_at_step": [20, 100, 200]}
    classify = {"k_glass": 3, "k": [1], "k_transfer": 1, "control": []}
    chosen = Study.model_validate({"simulate": {"hold": hold}, "classify": classify})
    section = tg.section(tg.compute(chosen, Path(), n_workers=1, progress=lambda *_: None))
    assert section.sentences == ["A transition is located on a cooling; this study's bath follows simulate.hold."]
    assert not section.drawings


def test_figures_show_what_is_supported(tmp_path):
    T, curve = RAMP, planted(np.random.default_rng(6), n_runs=10).mean(axis=0)
    values = locate.as_values(locate.of_curve(T, curve), T, curve, None)
    values["rows"][0] |= {"found": False}
    values["rows"][1] |= {"found": True}
    figure = tg_figure(values)
    forest = figure.axes[1]
    assert [label.get_text() for label in forest.get_yticklabels()] == [locate.label(row) for row in values["rows"]]
    markers = [line for line in forest.lines if line.get_marker() not in (None, "None", "")]
    assert markers[0].get_markerfacecolor() == "white"
    assert markers[1].get_markerfacecolor() != "white"
    line = {"name": "x", "Tg": [0.4, 0.3], "Tg_low": [0.35, None], "Tg_high": [0.45, None]}
    line |= {"cooling": [1e5, 1e6], "of": "time"}
    drawn = rate_figure([line | asdict(locate.rate_line(np.array([1e5, 1e6]), np.array([0.4, 0.3])))])
    assert "per decade" in drawn.subfigs[0].legends[0].get_texts()[0].get_text()
    report.save(drawn, tmp_path, "rate", {})
    assert (tmp_path / "rate.png").stat().st_size > 5000
