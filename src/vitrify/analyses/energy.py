"""Is it only the energy? Every classifier of a study beside the energy on the same test runs."""

__all__ = ["compute", "section"]

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import classify, energy, energy_figures, report, scores, store, study
from vitrify.baselines import ENERGY
from vitrify.material import NO_POTENTIAL
from vitrify.report import with_interval
from vitrify.settings import CLASSES, Study, class_names
from vitrify.system import stream

Values = dict[str, Any]

_TRIVIAL = 0.9995  # an AUC of the energy to which nothing can be added


def compute(chosen: Study, out: Path, *, n_workers: int, progress: Any) -> Values:
    """Return for every task of a study what its classifiers see beside the energy.

    A task is one pair of records under one input. The logits are those of the finished study: nothing is trained.

    Args:
        chosen: The study.
        out: Its folder.
        n_workers: Processes that load the pair of equal energy.
        progress: Told the tasks done.
    """
    if not chosen.simulate.liquid.has_potential:
        return {"tasks": [], "left_out": NO_POTENTIAL}
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=())
    _, equal = study.matched(chosen, out, n_workers=n_workers, progress=progress)
    known: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
    for shown, data in equal.items():
        of_each = zip(data.run.tolist(), data.label.tolist(), getattr(data, ENERGY[shown]).tolist(), strict=True)
        known[shown, classify.EQUAL_ENERGY] = {(run, y): e for run, y, e in of_each}
    of_one = [one for one in classify.trainings(chosen) if not one.group]
    outcomes = [store.read_json(out / "models" / one.folder / "outcome.json") for one in of_one]
    tasks: dict[tuple[str, int], list[Values]] = {}
    for outcome in classify.averaged(outcomes):
        if not outcome["control"]:
            tasks.setdefault((outcome["input"], outcome["train_k"]), []).append(outcome)
    found: list[Values] = []
    for (name, k), group in tasks.items():
        progress("is it only the energy", len(found), len(tasks))
        energies = known.get((name, k)) or _of_records(ensemble, ENERGY[name], k, group[0]["glass_k"])
        T = None if k == classify.EQUAL_ENERGY else float(ensemble.T[k - 1])
        found.append(_task(chosen, name, k, T, group, energies))
    return {"tasks": found}


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
    trivial = scores.auc(-e, label) > _TRIVIAL
    enough = matched.n_pairs >= energy.MIN_PAIRS

    def rng(*words: str) -> np.random.Generator:
        return stream(chosen.seed, "energy", name, k, *words)

    def aucs(model: str, logit: np.ndarray) -> Values:
        whole = scores.score(logit, label, run, rng=rng("score", model))
        keep = matched.keep
        part = scores.score(logit[keep], label[keep], run[keep], rng=rng("matched", model)) if enough else None
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
        adds = takes = None
        if not trivial and len(np.unique(run)) >= 5:
            adds = energy.gain(e, logit, label, run, rng=rng("adds", model))
            takes = energy.gain(logit, e, label, run, rng=rng("takes", model))
        within = {
            which: energy.correlation(logit[label == y], e[label == y], run[label == y], rng=rng("r", model, which))
            for y, which in ((0, "liquid"), (1, "glass"))
        }
        chosen_on = scored[model]["validation"]
        models.append(
            {
                "model": model,
                "network": one["settings"] is not None,
                "validation_auc": scores.auc(np.array(chosen_on["logit"]), np.array(chosen_on["label"])),
                "logit": logit.tolist(),
                **aucs(model, logit),
                "auc_minus_energy": asdict(
                    scores.compare(logit, np.array(test["logit"]), label, run, rng=rng("compare", model)).auc
                ),
                "adds": adds,
                "energy_adds": None if takes is None else asdict(takes),
                "correlation": {which: None if r is None else asdict(r) for which, r in within.items()},
            }
        )
    _judge(models)
    best = max((one for one in models if one["network"]), key=lambda one: one["validation_auc"], default=None)
    return {
        "input": name,
        "k": k,
        "T": T,
        "classes": list(class_names(chosen, k)),
        "energy_name": word,
        "energy": e.tolist(),
        "label": label.tolist(),
        "run": run.tolist(),
        "n_runs": len(np.unique(run)),
        "trivial": bool(trivial),
        "baseline": aucs(word, np.array(test["logit"])),
        "matched": {
            "n_pairs": matched.n_pairs,
            "before": asdict(matched.before),
            "after": None if matched.after is None else asdict(matched.after),
        },
        "models": models,
        "shown": None if best is None else best["model"],
    }


def _judge(models: list[Values]) -> None:
    """Give every classifier of a task its verdict, the p of its gain corrected for the number of classifiers."""
    adds = [None if one["adds"] is None else asdict(one["adds"]) for one in models]
    corrected = scores.corrected([None if one is None else one["likelihood"] for one in adds])
    for one, found, likelihood in zip(models, adds, corrected, strict=True):
        one["verdict"] = "trivial" if likelihood is None else energy.verdict(one["adds"], likelihood["p_holm"])
        one["adds"] = None if found is None else found | {"likelihood": likelihood}


def section(values: Values) -> report.Section:
    """Return the verdict on every task, with its evidence, tables and a figure."""
    tasks = values["tasks"]
    if "left_out" in values:
        words = [f"This cannot be asked: {values['left_out']}, so there is no energy."]
        return report.Section(anchor="energy", title="Is it only the energy?", sentences=words)
    shown = [task for task in tasks if task["shown"] is not None]
    drawn = [task for task in shown if not task["trivial"]] or shown[-1:]
    coldest = sorted(drawn, key=lambda task: (task["input"] != "inherent", task["T"] or 0.0))[:3]
    drawings = [
        report.Drawing(
            name="energy_question",
            draw=energy_figures.energy_question,
            values=(coldest,),
            data=_columns(coldest),
            caption="Logit of the network with the best validation AUC against the energy, Pearson's r within each "
            "class, and AUC of all test configurations and of those matched on the energy.",
        )
    ]
    return report.Section(
        anchor="energy",
        title="Is it only the energy?",
        sentences=[_sentence(task) for task in tasks if not task["trivial"]] + _trivial(tasks),
        drawings=drawings if coldest else [],
        tables=[_table(task) for task in tasks if not task["trivial"]],
    )


def _sentence(task: Values) -> str:
    where = _where(task)
    if task["shown"] is None:
        return f"{where}: the study has no network to ask about."
    best = next(one for one in task["models"] if one["model"] == task["shown"])
    name, symbol = report.name_of_model(best["model"]), report.name_of_model(task["energy_name"])
    n = f"n = {len(task['label'])}, {task['n_runs']} test runs"
    if best["adds"] is None:
        return f"{where} ({n}): there are too few test runs to say what the {name} adds to {symbol}."
    gain = best["adds"]["likelihood"]
    evidence = (
        f"{with_interval(gain, '+.3f')} nats per configuration on top of {symbol}, p = {report.with_holm(gain)}; "
        f"AUC {with_interval(best['auc'])} against {with_interval(task['baseline']['auc'])}"
    )
    if best["matched_auc"] is not None:
        pairs = task["matched"]["n_pairs"]
        evidence += f", and {with_interval(best['matched_auc'])} on {pairs} pairs matched in energy"
    says = {
        "more": f"the {name} sees more than {symbol}",
        "only": f"the {name} adds nothing to {symbol} that these runs could show",
        "undecided": f"these runs cannot tell whether the {name} sees more than {symbol}",
    }[best["verdict"]]
    return f"{where}: {says} ({evidence}; {n})."


def _trivial(tasks: list[Values]) -> list[str]:
    found = []
    for name, word in ENERGY.items():
        where = [_where(task).partition(", ")[2] for task in tasks if task["trivial"] and task["input"] == name]
        if where:
            symbol = report.name_of_model(word)
            found.append(
                f"On {name} configurations {symbol} separates the classes by itself at {', '.join(where)}: there is "
                "nothing left for a network to add, and its score there says nothing about structure."
            )
    return found


def _where(task: Values) -> str:
    which = "equal energy" if task["T"] is None else f"k = {task['k']} (T = {task['T']:.3f})"
    return f"{task['input'].capitalize()}, {which}"


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
    rows: list[tuple[str, ...]] = [(report.name_of_model(task["energy_name"]), *_aucs(task["baseline"]), *[""] * 6)]
    for one in task["models"]:
        within = [one["correlation"][which] for which in ("glass", "liquid")]
        gains = [one[which] for which in ("adds", "energy_adds")]
        rows.append(
            (
                report.name_of_model(one["model"]),
                *_aucs(one),
                *("" if each is None else with_interval(each["likelihood"], "+.3f") for each in gains),
                *("" if gains[0] is None else f"{gains[0]['likelihood'][p]:.2g}" for p in ("p", "p_holm")),
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
            "adds to the energy (nats)",
            "energy adds to it (nats)",
            "p",
            "p, Holm",
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
