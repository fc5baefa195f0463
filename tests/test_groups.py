"""Several liquids in one class: which record of which run is in it, and where its scores are told."""

from pathlib import Path

import numpy as np
import pytest

from vitrify import analyses, classify, export, study
from vitrify.dataset import Ensemble, several
from vitrify.settings import Classify, Study, from_toml, split

TINY = from_toml(Path(__file__).parent / "tiny.toml")
GROUP = (1, 10, 14)


def _with(chosen: Study, **settings: object) -> Study:
    classified = {name: value for name, value in chosen.classify.model_dump().items() if name != "groups"} | settings
    return Study.model_validate(chosen.model_dump() | {"classify": classified})


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Sixteen runs of 20 records; a position says run and record, and so does each energy."""
    run, k = np.arange(16)[:, None], np.arange(1, 21)[None]
    place = (run + k / 100)[:, :, None, None] * np.ones((1, 1, 4, 2))
    energy = (1000.0 * run + k).astype(float)
    return Ensemble(
        thermal=place.astype(np.float32),
        inherent=(place + 0.5).astype(np.float32),
        species=np.array([0, 0, 1, 1]),
        box=np.array([40.0, 40.0]),
        T=np.linspace(2.0, 0.05, 20),
        e_pot_unshifted=energy,
        e_is_unshifted=-energy,
    )


def test_every_run_gives_its_glass_and_one_liquid_by_turns_in_each_part(ensemble: Ensemble) -> None:
    parts = split(TINY)
    data = several(ensemble, inherent=True, k_glass=20, k_liquids=GROUP, split=parts)
    assert data.label.sum() * 2 == len(data.label) == 32
    k = np.rint(-data.e_is).astype(int) % 1000
    np.testing.assert_array_equal(np.rint(-data.e_is).astype(int) // 1000, data.run)
    np.testing.assert_array_equal(np.rint(data.e_pot).astype(int) % 1000, k)
    np.testing.assert_allclose(data.positions[:, 0, 0], data.run + k / 100 + 0.5, atol=1e-5)
    assert set(k[data.label == 1]) == {20}
    for runs in (parts.train, parts.validation, parts.test):
        part = data.of_runs(runs)
        liquids = (np.rint(-part.e_is).astype(int) % 1000)[part.label == 0]
        assert sorted(part.run[part.label == 0]) == sorted(part.run[part.label == 1]) == sorted(runs)
        counts = [int((liquids == one).sum()) for one in GROUP]
        assert max(counts) - min(counts) <= 1
    np.testing.assert_array_equal(k[:3], GROUP)
    with pytest.raises(ValueError, match="k_liquids must not hold k_glass = 20"):
        several(ensemble, inherent=True, k_glass=20, k_liquids=(1, 20), split=parts)


def test_lists_within_k_are_groups_and_wrong_ones_are_named() -> None:
    chosen = _with(TINY, k=[1, list(GROUP), 14])
    assert (chosen.classify.k, chosen.classify.groups) == ((1, 14), (GROUP,))
    assert set(GROUP) < set(chosen.classify.records)
    assert Study.model_validate(chosen.model_dump(mode="json")) == chosen
    for group in ([1], [1, 1], [1, 200]):
        with pytest.raises(ValueError, match=rf"two or more different records .* k_glass = 200; got \[{group[0]}"):
            Classify(k=[5, group])
    with pytest.raises(ValueError, match="must not repeat a group"):
        Classify(k=[5, [1, 2], [1, 2]])
    with pytest.raises(ValueError, match="at most the 20"):
        _with(TINY, k=[1, [1, 14, 30]])


def test_a_group_changes_no_other_classifier() -> None:
    alone, beside = classify.trainings(TINY), classify.trainings(_with(TINY, k=[1, list(GROUP), 14]))
    assert alone == [one for one in beside if not one.group]
    folders = [one.folder for one in alone]
    assert folders[0] == "thermal-cnn-k001-0c53de196c"  # as before there were groups
    assert folders[4] == "thermal-descriptors-k001-c3c986d4d7"
    own = [one for one in beside if one.group]
    assert len(own) == 10
    assert {one.tested for one in own} == {(classify.SEVERAL, 1, 14)}
    assert own[0].folder.startswith("thermal-cnn-k001-010-014-")
    other = classify.trainings(_with(TINY, k=[1, [1, 10, 13], 14]))
    assert not {one.folder for one in own} & {one.folder for one in other}


def test_what_a_group_is_trained_on_and_scored_on(ensemble: Ensemble, tmp_path: Path) -> None:
    chosen = _with(TINY, k=[1, list(GROUP), 14])
    (one,) = [one for one in classify.trainings(chosen) if one.group and one.name == "e_is"]
    parts = split(chosen)
    (asked,) = classify._trainings(chosen, ensemble, {}, parts, tmp_path, [one])
    assert sorted(asked.train.run) == sorted([*parts.train, *parts.train])
    assert list(asked.test) == [classify.SEVERAL, 1, 14]
    for k, data in asked.test.items():
        liquids = (np.rint(-data.e_is).astype(int) % 1000)[data.label == 0]
        assert set(liquids) == (set(GROUP) if k == classify.SEVERAL else {k})
        assert set(data.run) == set(parts.test)
    assert asked.record(classify.SEVERAL) == list(GROUP)


def _quiet(*_: object) -> None:
    pass


def test_a_study_with_a_group_tells_its_scores_apart_from_the_others(tmp_path: Path) -> None:
    settings = _with(TINY, k=[1, list(GROUP), 14], inputs=["inherent"], control=[], null=False, baselines=["e_is"])
    short = settings.simulate.model_dump() | {"n_equilibrate": 60}
    short["cool"] = short["cool"] | {"n_steps": 400}
    models = [{"kind": "shallow", "n_neurons": 2}]
    chosen = Study.model_validate(settings.model_dump() | {"simulate": short, "models": models})
    results = study.run(chosen, tmp_path, n_workers=1, progress=_quiet)
    assert {row["train_k"] for row in results["classification"]} == {1, 14}
    rows = results["groups"]
    assert [(row["model"], row["test_k"]) for row in rows] == [
        (name, k) for name in ("shallow", "e_is") for k in (list(GROUP), 1, 14)
    ]
    T = results["cooling_curve"]["T"]
    assert all(row["train_k"] == list(GROUP) and row["train_T"] == [T[k - 1] for k in GROUP] for row in rows)
    assert [row["test_T"] for row in rows[1:3]] == [T[0], T[13]]
    assert rows[0]["n_test"] == 2 * rows[0]["n_test_runs"] == 8
    assert all(row["auc_minus_energy"] is not None for row in rows[:3])
    page = (tmp_path / "report.html").read_text()
    assert "Inherent, trained on several liquids in one class" in page
    assert f"{T[13]:.3f} to {T[0]:.3f}" in page
    assert (tmp_path / "figures" / "learning_inherent_shallow_k1-10-14_against_k20.png").exists()
    tasks = analyses.ANALYSES["energy"].compute(chosen, tmp_path, n_workers=1, progress=_quiet)["tasks"]
    assert [one["k"] for one in tasks] == [1, 14]
    export.write(tmp_path, tmp_path / "log.html")
    assert "k = 1, 10, 14 together vs 20" in (tmp_path / "log.html").read_text()
