import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from vitrify import report, store, structure, study
from vitrify.settings import SHIPPED, Study, from_toml, named, quickstart

TINY = from_toml(Path(__file__).parent / "tiny.toml")


def _quiet(_stage: str, _done: float, _total: float) -> None:
    pass


def _stop_at(place: str, amount: float) -> Callable[[str, float, float], None]:
    def progress(stage: str, done: float, _total: float) -> None:
        if stage == place and done >= amount:
            raise KeyboardInterrupt

    return progress


def without_timing(results: dict) -> dict:
    rows = [
        {name: value for name, value in row.items() if name not in ("seconds", "cpu_s")}
        for row in results["classification"]
    ]
    curves = [
        curve | {"history": {name: column for name, column in curve["history"].items() if name != "seconds"}}
        for curve in results["learning_curves"]
    ]
    kept = {name: value for name, value in results.items() if name != "timing"}
    return kept | {"classification": rows, "learning_curves": curves}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("tiny")
    return out, study.run(TINY, out, n_workers=1, progress=_quiet)


def _rows(results: dict, **wanted: object) -> list[dict]:
    return [row for row in results["classification"] if all(row[key] == value for key, value in wanted.items())]


def test_the_planted_answer_is_found(finished: tuple[Path, dict]) -> None:
    """Hot liquid and cold glass differ in energy; two halves of the same record do not differ."""
    _, results = finished
    (row,) = _rows(results, input="thermal", model="e_pot", train_k=1, test_k=1)
    assert row["auc"]["value"] == 1.0
    assert row["n_test"] == 8
    assert row["n_test_runs"] == 4
    for row in _rows(results, control=True, train_k=20, model="e_pot"):
        assert row["auc"]["low"] <= 0.5 <= row["auc"]["high"]


def test_the_graphs_are_those_of_the_records_beside_them(finished: tuple[Path, dict]) -> None:
    out, results = finished
    assert [(row["input"], row["k"]) for row in results["graphs"]] == [
        (name, k) for name in ("thermal", "inherent") for k in (1, 14, 20)
    ]
    ensemble = store.load(out / "data", TINY.simulate, seed=TINY.seed, k=(14,))
    found = structure.connectivity(ensemble.inherent[:, 0], ensemble.box, n_neighbours=6)
    row = results["graphs"][4]
    assert (row["T"], row["n_configurations"]) == (results["cooling_curve"]["T"][13], 16)
    assert (row["connected"], row["degree"]) == (found.connected, found.degree)
    assert "Neighbour graphs" in (out / "report.html").read_text()


def test_the_augmented_pictures_are_of_the_glass_of_the_first_run(finished: tuple[Path, dict]) -> None:
    out, _ = finished
    ensemble = store.load(out / "data", TINY.simulate, seed=TINY.seed, k=(20,))
    images, elements, called = study._augmented(TINY, out)
    view = next(model.view for model in TINY.models if model.kind == "cnn")
    (plain,) = view(ensemble.inherent[0], ensemble.species, ensemble.box, stride=8)
    assert called == "glass, inherent structure"
    np.testing.assert_array_equal(images[elements.index((False, 0))], plain[0])
    mirrored = view(
        (ensemble.inherent[0] * [-1, 1] % ensemble.box).astype(np.float32), ensemble.species, ensemble.box, stride=8
    )[0]
    np.testing.assert_array_equal(images[elements.index((True, 0))], mirrored[0])
    assert (out / "figures" / "augmented.png").exists()
    assert 'id="augmented"' in (out / "report.html").read_text()
    unseen = TINY.model_copy(update={"models": tuple(model for model in TINY.models if model.kind == "mpnn")})
    assert study._augmented(unseen, out) is None


def test_every_classifier_is_scored_where_it_should_be(finished: tuple[Path, dict]) -> None:
    _, results = finished
    for name, own in (("thermal", "e_pot"), ("inherent", "e_is")):
        assert {row["model"] for row in _rows(results, input=name)} == {"cnn", "mpnn", own, "g_r", "descriptors"}
        for model in ("cnn", own):
            pairs = {(row["train_k"], row["test_k"]) for row in _rows(results, input=name, model=model)}
            assert pairs == {(1, 1), (1, 14), (14, 14), (17, 17), (20, 20)}


def test_the_results_keep_the_contract(finished: tuple[Path, dict]) -> None:
    out, results = finished
    assert json.loads((out / "results.json").read_text()) == results
    curve = results["cooling_curve"]
    assert set(curve) == {"T", "e_is_unshifted", "e_is_shifted", "e_pot", "n_runs"}
    assert len(curve["T"]) == len(curve["e_is_unshifted"]["mean"]) == len(curve["e_pot"]["se"]) == 20
    assert set(results["timing"]) == {"simulate_s", "minimise_s", "learn_s", "total_s"}
    for row in results["classification"]:
        for score in ("accuracy", "auc", "accuracy_rethresholded"):
            assert 0 <= row[score]["low"] <= row[score]["value"] <= row[score]["high"] <= 1
    for row in results["tg"]:
        assert {"method", "convention", "T", "low", "high", "verdict", "found"} <= set(row)
    assert {"study", "versions", "minimiser", "reference", "learning_curves", "conclusions"} <= set(results)
    assert "difference" not in results["reference"]  # 64 particles cooled in 20 time units are not comparable
    shift = np.array(curve["e_is_shifted"]["mean"]) - curve["e_is_unshifted"]["mean"]
    assert ((shift > 0.16) & (shift < 0.18)).all()  # 0.171 to 0.173 in two dimensions


def test_the_report_is_one_page_with_its_figures_beside_it(finished: tuple[Path, dict]) -> None:
    out, results = finished
    page = (out / "report.html").read_text()
    assert "http-equiv" not in page
    assert 'src="http' not in page
    for sentence in results["conclusions"]:
        assert sentence.split("(")[0].split("'")[0].strip()[:40] in page
    for name in ("progress", "cooling_curve"):
        assert {path.suffix for path in (out / "figures").glob(f"{name}.*")} == {".svg", ".png", ".csv"}


def test_a_second_call_does_nothing(finished: tuple[Path, dict]) -> None:
    out, results = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert study.run(TINY, out, n_workers=1, progress=_quiet) == results
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_interrupted_at_every_stage_it_gives_the_same_results(
    finished: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, results = finished
    monkeypatch.setattr(report, "write", lambda *_, **__: None)  # its figures take longer than all before them
    for place, amount in (("cool and minimise", 37), ("cool and minimise", 290), ("learn", 13), ("learn", 100)):
        with pytest.raises(KeyboardInterrupt):
            study.run(TINY, tmp_path, n_workers=1, progress=_stop_at(place, amount))
    again = study.run(TINY, tmp_path, n_workers=2, progress=_quiet)
    assert without_timing(again) == without_timing(results)


def test_a_changed_setting_trains_again_but_does_not_simulate_again(
    finished: tuple[Path, dict], tmp_path: Path
) -> None:
    out, _ = finished
    (tmp_path / "data").symlink_to(out / "data")
    fewer = {"models": [], "classify": {**TINY.classify.model_dump(), "baselines": ("e_pot",), "null": False}}
    stages: list[str] = []
    other = Study.model_validate(TINY.model_dump() | fewer)
    results = study.run(other, tmp_path, n_workers=1, progress=lambda stage, *_: stages.append(stage))
    assert stages.count("cool and minimise") == 1
    assert {row["model"] for row in results["classification"]} == {"e_pot"}


def test_the_report_can_be_written_again(finished: tuple[Path, dict]) -> None:
    out, results = finished
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert study.report_again(out, n_workers=1, progress=_quiet)["conclusions"] == results["conclusions"]
    assert (out / "report.html").read_bytes() == page


def test_a_study_in_three_dimensions_and_a_cold_one_come_to_a_page(tmp_path: Path) -> None:
    changes = {
        "ka3d": {"simulate": {"mixture": "ka3d", "n_particles": 256}, "models": [{"kind": "mpnn"}]},
        "cold": {"simulate": {"n_particles": 64, "cool": {"T_start": 0.7}}, "models": []},
    }
    for name, change in changes.items():
        cool = {"n_steps": 240, "n_frames": 4, **change["simulate"].pop("cool", {})}  # type: ignore[attr-defined]
        change["simulate"] |= {"n_runs": 12, "n_equilibrate": 200, "cool": cool}  # type: ignore[operator]
        records = {"k": [1], "k_transfer": 1, "k_glass": 4, "control": [], "null": False, "inputs": ["inherent"]}
        small = Study.model_validate(
            {**change, "classify": {**records, "validation": 0.25, "train": {"n_steps": 4, "evaluate_every": 2}}}
        )
        results = study.run(small, tmp_path / name, n_workers=1, progress=_quiet)
        assert "difference" not in results["reference"]
        assert (tmp_path / name / "report.html").stat().st_size > 10_000


def test_there_is_no_report_without_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no results\.json: run a study there first"):
        study.report_again(tmp_path, n_workers=1, progress=_quiet)


def test_the_quick_start_is_the_one_the_specification_asks_for() -> None:
    settings = quickstart().simulate
    assert (settings.n_runs, settings.n_particles) == (64, 400)
    assert settings.cool is not None
    assert (settings.cool.n_steps, settings.cool.n_frames) == (200_000, 200)


def test_a_study_is_called_by_its_file_or_by_the_name_of_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()  # its own results are no study
    assert named("quickstart") == quickstart()
    Path("quickstart").rmdir()
    Path("quickstart").write_text("seed = 7")
    assert named("quickstart").seed == 7
    with pytest.raises(FileNotFoundError, match=r"no shipped study: those are .*quickstart"):
        named("slowstart")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_is_one(name: str) -> None:
    assert named(name).simulate.n_runs > 0


@pytest.fixture(scope="module")
def two_rates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Study, Path]:
    def cooled(name: str, n_steps: int) -> Study:
        cool = {"n_steps": n_steps, "n_frames": 20}
        return Study.model_validate(
            TINY.model_dump() | {"name": name, "simulate": TINY.simulate.model_dump() | {"n_runs": 8, "cool": cool}}
        )

    return cooled("slow", 16_000), cooled("fast", 800), tmp_path_factory.mktemp("pair")


def test_the_pair_of_two_studies_is_of_their_own_energies(two_rates: tuple[Study, Study, Path]) -> None:
    slow, fast, out = two_rates
    found = study.pair(slow, fast, out, tolerance=0.02, n_workers=1, progress=_quiet)
    assert json.loads((out / "pair.json").read_text()) == found
    for which, of in (("slow", slow), ("fast", fast)):
        table = [store.RunFolder(out / "data", of.simulate, seed=3, run=run).table() for run in range(8)]
        for pair in (found["pair"], found["published"]):
            k = pair[f"k_{which}"]
            assert pair[f"e_{which}"] == [row["e_is_unshifted"][k - 1] for row in table]
            assert pair[f"T_{which}"] == pytest.approx(of.simulate.bath.T(k))
    assert abs(found["pair"]["difference"]) <= 0.02
    assert found["pair"]["T_slow"] > found["pair"]["T_fast"]
    assert (found["published"]["k_slow"], found["published"]["k_fast"]) == (15, 20)
    assert found["published"]["difference"] != found["pair"]["difference"]


def test_a_pair_of_different_systems_is_refused(two_rates: tuple[Study, Study, Path]) -> None:
    slow, fast, out = two_rates
    larger = fast.model_copy(update={"simulate": fast.simulate.model_copy(update={"n_particles": 100})})
    with pytest.raises(ValueError, match="same mixture and n_particles; got ka2d with 64 and ka2d with 100"):
        study.pair(slow, larger, out, n_workers=1, progress=_quiet)


def test_a_study_that_is_held_comes_to_a_page_without_a_transition(tmp_path: Path) -> None:
    """At one temperature, and with records that leave the end of the protocol out."""
    hold = {"T": 0.5, "n_steps": 400, "frames_at_step": [20, 100, 200]}
    records = {"k": [1], "k_transfer": 1, "k_glass": 3, "control": [], "null": False, "inputs": ["inherent"]}
    small = Study.model_validate(
        {
            "simulate": {"n_particles": 64, "n_runs": 12, "n_equilibrate": 200, "hold": hold},
            "classify": {**records, "validation": 0.25},
            "models": [],
        }
    )
    results = study.run(small, tmp_path, n_workers=1, progress=_quiet)
    assert results["cooling_curve"]["T"] == [0.5] * 3
    assert results["tg"] == []
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classify": {"k": [5, 300], "k_transfer": 5}},
            r"records must be at most the 200 of simulate.cool; got \[300\]",
        ),
        (
            {"simulate": {"cool": {"n_steps": 4000, "n_frames": 20}}, "classify": {"k": [5], "k_transfer": 5}},
            r"got \[171, 195, 200\]; the defaults of classify.k_glass, classify.control are records of .* 200: name",
        ),
        (
            {"simulate": {"hold": {"T": 0.5, "n_steps": 4000}}, "classify": {"k_glass": 200}},
            "simulate.hold is not a cooling, and the defaults of classify.k, classify.k_transfer, classify.control are",
        ),
        ({"classify": {"k": [60], "k_transfer": 5}}, r"k_transfer must be one of k = \[60\]; got 5"),
        ({"classify": {"k": [5, 200]}}, "a record cannot be in both classes"),
        ({"classify": {"k": [5, 5]}}, "k must not repeat a record"),
        ({"classify": {"control": [171]}}, "control must be two different records, or empty"),
        ({"simulate": {"n_runs": 2}}, "simulate more runs"),
        ({"simulate": {"mixture": "ka3d", "n_particles": 600}}, "cnn cannot see the 3 dimensions of ka3d; use cnn3d"),
        ({"models": [{"kind": "cnn"}, {"kind": "cnn", "width": 8}]}, "models must be of different kinds"),
        ({"models": [{"kind": "resnet"}]}, "'mpnn', 'deepset'"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_a_study_that_cannot_run_is_refused_before_it_starts(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Study.model_validate(changes)
