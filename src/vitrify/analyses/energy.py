"""Is it only the energy? Every classifier of a study beside the energy on the same test runs.

The claims are those of the study's page (`vitrify.conclusions.energy_claims`); here stand the evidence behind them,
pairs matched in energy, and the correlation of every logit with the energy.
"""

__all__ = ["compute", "section"]

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import classify, conclusions, energy, energy_figures, report, scores, store, study
from vitrify.baselines import ENERGY
from vitrify.claims import in_words
from vitrify.material import NO_POTENTIAL
from vitrify.report import with_interval
from vitrify.settings import CLASSES, Study, class_names
from vitrify.system import stream

Values = dict[str, Any]


def compute(chosen: Study, out: Path, *, n_workers: int, progress: Any) -> Values:
    """Return for every task of a study what its classifiers see beside the energy.

    A task is one pair of records under one input. The logits are those of the finished study: nothing is trained.

    Args:
        chosen: The study.
        out: Its folder.
        n_workers: Processes that load the pair of equal energy.
        progress: Told the tasks done.

    Returns:
        ``tasks``, the ``claims`` with their sentences, the ``sentences`` of the page, and ``saturated``, as
        `vitrify.conclusions.saturated` returns it.
    """
    if not chosen.simulate.liquid.has_potential:
        return {"tasks": [], "left_out": NO_POTENTIAL}
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=())
    pair, equal = study.matched(chosen, out, n_workers=n_workers, progress=progress)
    known: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
    for shown, data in equal.items():
        of_each = zip(data.run.tolist(), data.label.tolist(), getattr(data, ENERGY[shown]).tolist(), strict=True)
        known[shown, classify.EQUAL_ENERGY] = {(run, y): e for run, y, e in of_each}
    outcomes = [store.read_json(out / "models" / one.folder / "outcome.json") for one in classify.trainings(chosen)]
    results = study.classified(chosen, ensemble.T, outcomes, pair)
    saturated = conclusions.saturated(results)
    full = [(task["input"], task["test_k"]) for task in saturated]
    tasks: dict[tuple[str, int], list[Values]] = {}
    for outcome in classify.averaged(outcomes):
        if not outcome["control"] and isinstance(outcome["train_k"], int):
            tasks.setdefault((outcome["input"], outcome["train_k"]), []).append(outcome)
    found: list[Values] = []
    for (name, k), group in tasks.items():
        if not any(one["model"] == ENERGY[name] for one in group):
            continue  # the study left the energy out of its baselines
        progress("is it only the energy", len(found), len(tasks))
        energies = known.get((name, k)) or _of_records(ensemble, ENERGY[name], k, group[0]["glass_k"])
        T = None if k == classify.EQUAL_ENERGY else float(ensemble.T[k - 1])
        task = _task(chosen, name, k, T, group, energies)
        best = conclusions.chosen_network(results)
        drawn = best if any(one["model"] == best for one in task["models"]) else None
        found.append(task | {"saturated": (name, k) in full, "shown": drawn})
    return {
        "tasks": found,
        "claims": [claim.to_json() for claim in conclusions.energy_claims(results)],
        "sentences": conclusions.energy_sentences(results),
        "saturated": saturated,
    }


def _of_records(ensemble: Any, word: str, k: int, glass: int) -> Mapping[tuple[int, int], float]:
    table = getattr(ensemble, f"{word}_unshifted")
    return {(run, y): table[run, (glass if y else k) - 1] for run in range(len(table)) for y in (0, 1)}


def _task(
    chosen: Study, name: str, k: int, T: float | None, group: list[Values], energies: Mapping[tuple[int, int], float]
) -> Values:
    scored = {one["model"]: next(s for s in one["scored"] if s["test_k"] == k) for one in group}
    word = ENERGY[name]
    test = scored[word]["test"]
    label, run = np.array(test["label"]), np.array(test["run"])
    e = np.array([energies[r, y] for r, y in zip(run.tolist(), label.tolist(), strict=True)])
    matched = energy.match(e, label)
    enough, n_runs = matched.n_pairs >= energy.MIN_PAIRS, len(np.unique(run))

    def aucs(logit: np.ndarray) -> Values:
        whole, keep = scores.score(logit, label, run), matched.keep
        part = scores.score(logit[keep], label[keep], run[keep]) if enough else None
        return {
            "accuracy": asdict(whole.accuracy),
            "auc": asdict(whole.auc),
            "matched_auc": None if part is None else asdict(part.auc),
        }

    models = []
    for one in group:
        model = one["model"]
        if model == word:
            continue
        logit = np.array(scored[model]["test"]["logit"])
        within = {
            which: energy.correlation(
                logit[label == y],
                e[label == y],
                run[label == y],
                rng=stream(chosen.seed, "energy", name, k, model, which),
            )
            for y, which in ((0, "liquid"), (1, "glass"))
        }
        models.append(
            {
                "model": model,
                "logit": logit.tolist(),
                **aucs(logit),
                "auc_minus_energy": asdict(scores.compare(logit, np.array(test["logit"]), label, run).auc),
                "adds": asdict(energy.adds(logit, -e, label, run)),
                "energy_adds": asdict(energy.adds(-e, logit, label, run)),
                "correlation": {which: None if r is None else asdict(r) for which, r in within.items()},
            }
        )
    return {
        "input": name,
        "k": k,
        "T": T,
        "classes": list(class_names(chosen, k)),
        "energy_name": word,
        "energy": e.tolist(),
        "label": label.tolist(),
        "run": run.tolist(),
        "n_runs": n_runs,
        "baseline": aucs(np.array(test["logit"])),
        "matched": {
            "n_pairs": matched.n_pairs,
            "before": asdict(matched.before),
            "after": None if matched.after is None else asdict(matched.after),
        },
        "models": models,
    }


def section(values: Values) -> report.Section:
    """Return the verdict on every task, with its evidence, tables and a figure."""
    tasks = values["tasks"]
    if "left_out" in values:
        words = [f"This cannot be asked: {values['left_out']}, so there is no energy."]
        return report.Section(anchor="energy", title="Is it only the energy?", sentences=words)
    shown = [task for task in tasks if task["shown"] is not None]
    drawn = [task for task in shown if not task["saturated"]] or shown[-1:]
    coldest = sorted(drawn, key=lambda task: (task["input"] != "inherent", task["T"] or 0.0))[:3]
    drawings = [
        report.Drawing(
            name="energy_question",
            draw=energy_figures.energy_question,
            values=(coldest,),
            data=_columns(coldest),
            caption="Logit of the network chosen on validation runs against the energy, Pearson's r within each "
            "class, and AUC of all test configurations and of those matched in energy.",
        )
    ]
    return report.Section(
        anchor="energy",
        title="Is it only the energy?",
        sentences=values["sentences"],
        drawings=drawings if coldest else [],
        tables=[*_claimed(values), *(_table(task) for task in tasks if not task["saturated"])],
    )


def _claimed(values: Values) -> list[report.Table]:
    """Return the exploratory claims, a row each."""
    own = [claim for claim in values["claims"] if claim["family"] == "exploratory"]
    rows = [
        (
            claim["where"],
            claim["yes"].removesuffix(" sees more than the energy"),
            f"{claim['effect']:+.3f} [{claim['low']:+.3f}, {claim['high']:+.3f}]",
            in_words(claim["p"]).removeprefix("= "),
            in_words(claim["p_corrected"]).removeprefix("= "),
            claim["answer"],
            f"{claim['detectable']:.3f}",
            "" if claim["runs_needed"] is None else f"{claim['runs_needed']:,}",
        )
        for claim in own
    ]
    columns = (
        "task",
        "network",
        "AUC at equal energy minus 0.5",
        "p",
        "p, corrected",
        "more than the energy",
        "smallest effect shown in 80%",
        "runs to decide",
    )
    n_runs = own[0]["n_runs"] if own else 0
    title = f"Exploratory: every network where the energy is not saturated, {len(own)} questions, {n_runs} test runs"
    return [report.Table(title=title, columns=columns, rows=rows)] if own else []


def _where(task: Values) -> str:
    which = "equal energy" if task["T"] is None else f"liquid at T = {task['T']:.3f}"
    return f"{conclusions.SHOWN_AS[task['input']]}, {which}"


def _table(task: Values) -> report.Table:
    liquid, glass = task.get("classes", CLASSES)
    after = task["matched"]["after"]
    balance = ""
    if after is not None:
        before = task["matched"]["before"]
        balance = (
            f"; {task['matched']['n_pairs']} matched pairs, mean energies apart by {before['mean_difference']:+.2f} sd "
            f"before and {after['mean_difference']:+.2f} after, KS {before['ks']:.2f} and {after['ks']:.2f}"
        )
    rows: list[tuple[str, ...]] = [(report.name_of_model(task["energy_name"]), *_aucs(task["baseline"]), *[""] * 5)]
    for one in task["models"]:
        within = [one["correlation"][which] for which in ("glass", "liquid")]
        rows.append(
            (
                report.name_of_model(one["model"]),
                *_aucs(one),
                with_interval(one["auc_minus_energy"], "+.3f"),
                *("" if one[which] is None else with_interval(one[which], "+.3f") for which in ("adds", "energy_adds")),
                *("" if each is None else with_interval(each["pearson"], ".2f") for each in within),
            )
        )
    return report.Table(
        title=f"{_where(task)}: {len(task['label'])} test configurations of {task['n_runs']} runs{balance}",
        columns=(
            "model",
            "accuracy",
            "AUC",
            "AUC, matched",
            "AUC minus the energy's",
            "AUC at equal energy minus 0.5",
            "the energy's AUC at equal logit minus 0.5",
            f"r with the energy, {glass}",
            f"r, {liquid}",
        ),
        rows=rows,
    )


def _aucs(one: Values) -> tuple[str, str, str]:
    matched = "" if one["matched_auc"] is None else with_interval(one["matched_auc"])
    return with_interval(one["accuracy"]), with_interval(one["auc"]), matched


def _columns(tasks: list[Values]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in ("input", "k", "run", "label", "energy", "model", "logit")}
    for task in tasks:
        for one in task["models"]:
            n = len(task["label"])
            columns["input"] += [task["input"]] * n
            columns["k"] += [task["k"]] * n
            columns["run"] += task["run"]
            columns["label"] += task["label"]
            columns["energy"] += task["energy"]
            columns["model"] += [one["model"]] * n
            columns["logit"] += one["logit"]
    return columns
