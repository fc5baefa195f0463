"""Sweeps: the same trials whatever interrupts them, ranked on validation runs, with those that collapsed counted."""

import copy
import inspect
import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.test_learn import lattices

from vitrify import learn, store, sweep_figures
from vitrify.dataset import Labelled
from vitrify.models import MPNN
from vitrify.space import Sweep
from vitrify.sweep import leaderboard, run
from vitrify.training import Train
from vitrify.views import Graph

MODEL = MPNN(view=Graph(n_neighbours=4), width=8)
TRAIN = Train(n_steps=12, batch_size=8, evaluate_every=4)
SPACE = {"model.width": [4, 8], "train.learning_rate": {"low": 1e-3, "high": 0.3, "log": True}}


class KilledError(Exception):
    """Stands for a job that its queue kills."""


def data(noise: tuple[float, float] = (0.05, 0.08)) -> tuple[Labelled, Labelled]:
    """Runs that train and other runs that choose, not too easy to tell apart."""
    chosen = lattices(1, n_runs=6, noise=noise)
    return lattices(0, noise=noise), replace(chosen, run=chosen.run + 100)


def swept(folder: Path, *, kill_at: float | None = None, n_workers: int = 1, **settings: object) -> dict:
    """Run a small sweep, killed when so many trainings are done."""
    sweep = Sweep(**{"space": SPACE, "n_trials": 4, "n_seeds": 2, **settings})

    def progress(_stage: str, done: float, total: float) -> None:
        assert done <= total + 1e-9
        if kill_at is not None and done >= kill_at:
            raise KilledError

    return run(sweep, MODEL, TRAIN, *data(), folder, seed=5, n_workers=n_workers, progress=progress)


def timeless(results: dict) -> dict:
    """Return results without what the clock says."""
    results = copy.deepcopy(results)
    for row in results["rows"]:
        for part in (row, *row["replicates"], *(one["history"] for one in row["replicates"])):
            del part["seconds"]
    return results


def test_a_grid_tries_every_combination_once(tmp_path: Path) -> None:
    space = {"train.learning_rate": [0.01, 0.1], "model.view.n_neighbours": {"low": 3, "high": 5}}
    results = swept(tmp_path, space=space, sampler="grid", n_trials=None, n_seeds=1)
    tried = [tuple(row["settings"].values()) for row in results["rows"]]
    assert sorted(tried) == sorted(itertools.product([3, 4, 5], [0.01, 0.1]))
    for row in results["rows"]:
        (replicate,) = row["replicates"]
        assert replicate["model"]["view"]["n_neighbours"] == row["settings"]["model.view.n_neighbours"]
        assert replicate["train"]["learning_rate"] == row["settings"]["train.learning_rate"]
    few = swept(tmp_path / "few", space=space, sampler="grid", n_trials=2, n_seeds=1)
    assert {row["trial"]: row["settings"] for row in few["rows"]} == {
        row["trial"]: row["settings"] for row in results["rows"] if row["trial"] < 2
    }


def test_the_table_says_what_was_measured_on_the_validation_runs(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    sweep = Sweep(space=SPACE, n_trials=4, n_seeds=2)
    results = run(
        sweep, MODEL, TRAIN, *data(), tmp_path, seed=5, n_workers=1, progress=lambda _, *said: told.append(said)
    )
    assert told[0] == (0, 8)
    assert told[-1] == pytest.approx((8, 8))
    means = [row["loss"]["mean"] for row in results["rows"]]
    assert means == sorted(means)
    assert len({row["settings"]["train.learning_rate"] for row in results["rows"]}) == 4
    _, chosen = data()
    for row in results["rows"]:
        losses, accuracies = [], []
        for replicate in row["replicates"]:
            network = MODEL.model_copy(update={"width": row["settings"]["model.width"]})
            logit = learn.predict(learn.restore(network, store.Checkpoints(tmp_path / replicate["folder"])), chosen)
            losses.append(np.log1p(np.exp(-np.where(chosen.label, logit, -logit))).mean())
            accuracies.append(((logit > 0) == chosen.label).mean())
        assert row["loss"]["mean"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert row["loss"]["sd"] == pytest.approx(np.std(losses, ddof=1), rel=1e-4)
        assert row["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    seeds = {tuple(one["seed"] for one in row["replicates"]) for row in results["rows"]}
    assert len(seeds) == 1
    assert len(set(*seeds)) == 2
    best = store.read_json(tmp_path / "best.json")
    assert best == results["best"] == leaderboard(tmp_path)["best"]
    assert best["settings"] == results["rows"][0]["settings"]
    assert best["model"]["width"] == best["settings"]["model.width"]
    first, second = (store.read_json(tmp_path / folder / "outcome.json")["loss"] for folder in best["folders"])
    assert first <= second
    assert store.read_json(tmp_path / "leaderboard.json") == results


@pytest.mark.parametrize("how", [{"sampler": "random"}, {"sampler": "tpe", "n_trials": 14, "prune": "median"}])
def test_killed_anywhere_it_ends_as_if_never_stopped(how: dict, tmp_path: Path) -> None:
    how = {"n_unpruned": 2, **how}
    whole = swept(tmp_path / "whole", **how)
    for kill_at in (0.4, 2.9, 3.0, 5.5):
        with pytest.raises(KilledError):
            swept(tmp_path / "pieces", kill_at=kill_at, **how)
    assert timeless(swept(tmp_path / "pieces", **how)) == timeless(whole)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pieces" / "trials").rglob("*.pt")}
    assert timeless(swept(tmp_path / "pieces", **how)) == timeless(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    states = [row["state"] for row in whole["rows"]]
    assert states == sorted(states)
    assert ("pruned" in states) == (how["sampler"] == "tpe")


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_journal_cut_anywhere_gives_the_same_trials(sampler: str, tmp_path: Path) -> None:
    space = {"model.width": [4, 8], "train.learning_rate": [0.01, 0.1, 0.3]}
    how = {"space": space, "sampler": sampler, "n_trials": 2, "n_seeds": 1}
    whole = swept(tmp_path / "whole", **how)
    lines = (tmp_path / "whole" / "journal.log").read_bytes().splitlines(keepends=True)
    told = next(place for place, line in enumerate(lines) if b'"op_code":6' in line)  # then the outcome is on the disk
    assert told > 5
    identity = (tmp_path / "whole" / "sweep.json").read_bytes()
    for n_kept in {*range(6), told - 1, told}:
        folder = tmp_path / str(n_kept)
        folder.mkdir()
        (folder / "sweep.json").write_bytes(identity)
        (folder / "journal.log").write_bytes(b"".join(lines[:n_kept]) + lines[n_kept][:9])
        assert timeless(swept(folder, **how)) == timeless(whole), lines[n_kept]


def test_two_workers_give_what_one_gives_and_more_trials_may_follow(tmp_path: Path) -> None:
    alone = swept(tmp_path / "alone", n_trials=3)
    swept(tmp_path / "together", n_trials=2, n_workers=2)
    together = swept(tmp_path / "together", n_trials=3)
    assert timeless(together) == timeless(alone)


@pytest.mark.slow
def test_processes_killed_together_leave_a_sweep_that_goes_on(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from tests.test_sweep import swept\nif __name__ == '__main__': "
    script += "swept(Path(sys.argv[1]), n_workers=2, n_trials=12)"
    (tmp_path / "go.py").write_text(script)
    whole = swept(tmp_path / "whole", n_trials=12)
    for n_outcomes in (1, 6, 12):
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "go.py"), str(tmp_path / "pieces")],
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        while process.poll() is None and len(list((tmp_path / "pieces").rglob("outcome.json"))) < n_outcomes:
            time.sleep(0.01)
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
    assert timeless(swept(tmp_path / "pieces", n_workers=2, n_trials=12)) == timeless(whole)


def test_a_pruned_trial_is_trained_with_one_seed_and_not_to_its_end(tmp_path: Path) -> None:
    space = {"train.learning_rate": [0.1, 0.05, 1e-6, 2e-6, 1e-5]}
    results = swept(tmp_path, space=space, sampler="grid", n_trials=5, prune="median", n_unpruned=1, prune_from=8)
    pruned = [row for row in results["rows"] if row["state"] == "pruned"]
    assert pruned
    assert results["rows"][-len(pruned) :] == pruned
    for row in pruned:
        assert row["loss"] == {"mean": None, "sd": None, "n": 0}
        assert [one["history"]["step"] for one in row["replicates"]] == [[4, 8]]
    assert results["best"]["settings"]["train.learning_rate"] in (0.1, 0.05)
    for figure in (sweep_figures.leaderboard_figure(results), sweep_figures.parallel_coordinates(results)):
        figure.canvas.draw()
        said = " ".join(text.get_text() for ax in figure.axes for text in ax.texts) + figure.texts[0].get_text()
        assert "learning rate" in said
        assert f"5 trials ({len(pruned)} pruned), 2 seeds each" in said
        assert f"{results['rows'][0]['settings']['train.learning_rate']:.3g}" in said
    with pytest.raises(ValueError, match="must hold a trial that is complete; none of its"):
        sweep_figures.parallel_coordinates({**results, "rows": pruned})


def nothing_learned(weight_decay: float) -> dict:
    """Settings of a training whose first step takes the matrices to 0, so that all scores are alike."""
    return {**TRAIN.model_dump(), "learning_rate": 1 / weight_decay, "weight_decay": weight_decay} | {
        "schedule": {"kind": "constant"}
    }


def test_those_that_collapse_or_diverge_are_counted(tmp_path: Path) -> None:
    rates = {"learns": 0.1, "collapses": 1e-9, "diverges": 1e30}
    choices = [TRAIN.model_dump() | {"learning_rate": 0.1}, nothing_learned(1e9)]
    choices += [TRAIN.model_dump() | {"learning_rate": 1e30}]
    results = swept(tmp_path, space={"train": choices}, sampler="grid", n_trials=3)
    assert results["chance"] == 0.5
    by_rate = {row["settings"]["train"]["learning_rate"]: row for row in results["rows"]}
    counts = {name: (by_rate[rate]["n_collapsed"], by_rate[rate]["n_diverged"]) for name, rate in rates.items()}
    assert counts == {"learns": (0, 0), "collapses": (2, 0), "diverges": (2, 2)}
    assert [one["accuracy"] for one in by_rate[1e-9]["replicates"]] == [0.5, 0.5]
    assert results["rows"][-1] is by_rate[1e30]
    assert by_rate[1e30]["loss"]["mean"] is None
    json.dumps(results, allow_nan=False)


def test_where_nobody_learns_nobody_has_collapsed(tmp_path: Path) -> None:
    space = {"train": [nothing_learned(1e9), nothing_learned(1e10)]}
    results = swept(tmp_path, space=space, sampler="grid", n_trials=2)
    assert [row["n_collapsed"] for row in results["rows"]] == [0, 0]
    assert {row["accuracy"]["mean"] for row in results["rows"]} == {0.5}


def test_runs_that_test_have_no_place(tmp_path: Path) -> None:
    assert not [name for name in inspect.signature(run).parameters if "test" in name]
    train, chosen = data()
    both = replace(chosen, run=chosen.run - 100)
    with pytest.raises(ValueError, match="must share no run; both hold run 0"):
        run(Sweep(space=SPACE, n_trials=1), MODEL, TRAIN, train, both, tmp_path, seed=0, n_workers=1, progress=print)
    assert not list(tmp_path.iterdir())


def test_a_bad_space_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.depth is not a setting"):
        swept(tmp_path / "new", space={"model.depth": [1, 2]})
    assert not (tmp_path / "new").exists()


def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        swept(tmp_path, kill_at=0.0)
    with pytest.raises(ValueError, match="holds a sweep with other sweep: give each its own folder"):
        swept(tmp_path, n_seeds=1)
    with pytest.raises(ValueError, match=r"holds no sweep\.json"):
        leaderboard(tmp_path / "nowhere")
    assert leaderboard(tmp_path)["best"] is None


def test_nothing_else_pays_for_optuna() -> None:
    check = "import sys, vitrify.sweep; assert not {'optuna', 'sqlalchemy', 'matplotlib'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", check], check=True)
