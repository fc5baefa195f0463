"""Structural metrics of a study's ensemble: against temperature, and what each tells apart beside the networks."""

__all__ = ["compute", "section"]

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import baselines, parallel, report, scores, store, structure, structure_figures
from vitrify.claims import Asked, against_chance, hopes, judge, restored
from vitrify.conclusions import SHOWN_AS, apart
from vitrify.dataset import Ensemble, Split
from vitrify.report import with_interval
from vitrify.settings import CLASSES, Input, Study, class_names, split
from vitrify.system import Configuration
from vitrify.views import pair_correlation

Values = dict[str, Any]
Shells = tuple[tuple[float, ...], ...]

_N_CURVE_RUNS = 32  # runs that pair correlations and structure factors are averaged over
_ALL = "all metrics, linear"


def compute(chosen: Study, out: Path, *, n_workers: int, progress: Any) -> Values:
    """Return the metrics of every record of the study by run, their AUCs, and pair correlations.

    Args:
        chosen: The study.
        out: Its folder.
        n_workers: Processes.
        progress: Told the runs done.
    """
    records = (*sorted(chosen.classify.k), chosen.classify.k_glass)
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=records)
    inputs = list(chosen.classify.inputs)
    names, tables = _tables(ensemble, inputs, n_workers=n_workers, progress=progress)
    results = store.read_json(out / "results.json")
    T = [float(ensemble.T[k - 1]) for k in records]
    metrics, rows = [], []
    for name in inputs:
        table = tables[name]  # (runs, records, metrics)
        mean, se = table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(len(table))
        metrics += [
            {
                "input": name,
                "metric": metric,
                "T": T,
                "mean": mean[:, place].tolist(),
                "se": se[:, place].tolist(),
                "n_runs": len(table),
            }
            for place, metric in enumerate(names)
        ]
        for place, k in enumerate(records[:-1]):
            row = _told_apart(chosen, name, k, T[place], table[:, place], table[:, -1], names, results)
            rows.append(row | {"all_minus_energy": _beside_energy(chosen, ensemble, row, k)})
    _judge(rows, margin=chosen.classify.margin, classes=class_names(chosen))
    curves = [one for name in inputs for one in _curves(ensemble, records, T, name)]
    return {"metrics": metrics, "rows": rows, "curves": curves, "classes": list(class_names(chosen))}


def _tables(
    ensemble: Ensemble, inputs: Sequence[Input], *, n_workers: int, progress: Any
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the names of the metrics and, by input, their values for every run and record."""
    done, total = 0.0, ensemble.n_runs

    def tick(amount: float) -> None:
        nonlocal done
        done += amount
        progress("structural metrics", done, total)

    jobs = []
    for part in np.array_split(np.arange(total), min(4 * n_workers, total)):
        positions = np.stack([ensemble.shown(name)[part] for name in inputs], axis=1)
        jobs.append((positions, ensemble.species, ensemble.box, ensemble.shells))
    found = parallel.spread(_measure, jobs, n_workers=n_workers, progress=tick)
    values = np.concatenate([part for _, part in found])
    return found[0][0], {name: values[:, place] for place, name in enumerate(inputs)}


def _measure(
    job: tuple[np.ndarray, np.ndarray, np.ndarray, Shells | None], tick: parallel.Tick
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the metrics, and their values for some runs: run, input, record, metric."""
    positions, species, box, shells = job
    names: tuple[str, ...] = ()
    runs = []
    for run in positions:
        values = []
        for one in run.reshape(-1, *run.shape[2:]):
            shown = Configuration(positions=one.astype(float), species=species, box=box)
            names, found = structure.metrics(shown, shells=shells)
            values.append(found)
        runs.append(np.array(values).reshape(*run.shape[:2], -1))
        tick(1)
    return names, np.array(runs)


def _told_apart(
    chosen: Study,
    name: str,
    k: int,
    T: float,
    liquid: np.ndarray,
    glass: np.ndarray,
    names: tuple[str, ...],
    results: Values,
) -> Values:
    """Return the AUC of each metric, of all together, and of what the study scored on the same pair."""
    parts: Split = split(chosen)

    def pair(runs: np.ndarray, columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([liquid[runs][:, columns], glass[runs][:, columns]]), np.repeat([0, 1], len(runs))

    found = []
    everything = [(metric, [place]) for place, metric in enumerate(names)] + [(_ALL, list(range(len(names))))]
    for metric, columns in everything:
        fitted = baselines.fit(*pair(parts.train, columns), *pair(parts.validation, columns))
        shown, label = pair(parts.test, columns)
        run = np.concatenate([parts.test, parts.test])
        logit = fitted.logit(shown)
        scored, chance = scores.score(logit, label, run), scores.above_chance(logit, label, run)
        each = {"auc": asdict(scored.auc), "accuracy": asdict(scored.accuracy), "auc_minus_chance": asdict(chance)}
        found.append({"metric": metric, **each, "logit": logit.tolist()})
    beside = [
        {"metric": row["model"], "auc": row["auc"], "accuracy": row["accuracy"]}
        for row in results["classification"]
        if row["input"] == name and row["train_k"] == row["test_k"] == k and not row["control"]
    ]
    return {
        "input": name,
        "k": k,
        "T": T,
        "n_test": 2 * len(parts.test),
        "n_runs": len(parts.test),
        "metrics": found,
        "beside": beside,
    }


def _beside_energy(chosen: Study, ensemble: Ensemble, row: Values, k: int) -> Values | None:
    """Return how far the AUC of all metrics together is above that of the energy, on the same test runs."""
    if not chosen.simulate.liquid.has_potential:
        return None
    test = split(chosen).test
    energies = ensemble.energy("e_is" if row["input"] == "inherent" else "e_pot")
    e = np.concatenate([energies[test, place - 1] for place in (k, chosen.classify.k_glass)])
    together = next(one for one in row["metrics"] if one["metric"] == _ALL)
    label, run = np.repeat([0, 1], len(test)), np.concatenate([test, test])
    return asdict(scores.compare(np.array(together["logit"]), -e, label, run).auc)


def _judge(rows: Sequence[Values], *, margin: float, classes: Sequence[str] = CLASSES) -> None:
    """Give every row its claims: each metric against chance, and all together against the energy; exploratory."""
    alone = [
        against_chance(
            scores.Difference(**one["auc_minus_chance"]),
            who=one["metric"],
            what=apart(classes),
            where=_where(row),
            n_runs=row["n_runs"],
            margin=margin,
        )
        for row in rows
        for one in row["metrics"]
    ]
    against_energy = [
        Asked(
            question=f"Do all metrics together rank better or worse than the energy? {_where(row)}.",
            where=_where(row),
            yes="all metrics together rank better or worse than the energy",
            no="all metrics together rank as well as the energy",
            measure="difference of AUC",
            found=scores.Difference(**row["all_minus_energy"]),
            n_runs=row["n_runs"],
            direction="either",
            margin=margin,
        )
        for row in rows
        if row["all_minus_energy"] is not None
    ]
    told, beside = iter(judge("metrics", alone)), iter(judge("metrics against the energy", against_energy))
    for row in rows:
        for one in row["metrics"]:
            one["claim"] = next(told).to_json()
            del one["logit"]
        row["claim"] = None if row["all_minus_energy"] is None else next(beside).to_json()


def _curves(ensemble: Ensemble, records: tuple[int, ...], T: list[float], name: Input) -> list[Values]:
    """Return g(r) and S(q) of the hottest and the coldest liquid and of the glass, with standard errors over runs."""
    found = []
    reach = min(4.0, 0.499 * float(ensemble.box.min()))
    for place in dict.fromkeys((0, len(records) - 2, len(records) - 1)):
        g, S = [], []
        for positions in ensemble.shown(name)[:_N_CURVE_RUNS, ensemble.place("k", records[place])]:
            shown = Configuration(positions=positions.astype(float), species=ensemble.species, box=ensemble.box)
            r, one = pair_correlation(shown, r_max=reach, n_bins=120)
            q, other = structure.structure_factor(shown)
            g.append(one)
            S.append(other)
        held = np.isfinite(S[0])
        root = np.sqrt(len(g))
        found.append(
            {
                "input": name,
                "T": T[place],
                "n_runs": len(g),
                "r": r.tolist(),
                "g": np.mean(g, axis=0).tolist(),
                "g_se": (np.std(g, axis=0, ddof=1) / root).tolist(),
                "q": q[held].tolist(),
                "S": np.mean(S, axis=0)[held].tolist(),
                "S_se": (np.std(S, axis=0, ddof=1) / root)[held].tolist(),
            }
        )
    return found


def section(values: Values) -> report.Section:
    """Return which metrics tell glass from liquid, the figures and a table for every task."""
    metrics, curves = values["metrics"], values["curves"]
    best = "inherent" if any(row["input"] == "inherent" for row in values["rows"]) else "thermal"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: round((np.sqrt(8 * len(curves[0]["g"]) + 1) - 1) / 2)]
    pairs = list(itertools.combinations_with_replacement(letters, 2))
    columns = {name: [one[name] for one in metrics for _ in one["T"]] for name in ("input", "metric", "n_runs")} | {
        name: [value for one in metrics for value in one[name]] for name in ("T", "mean", "se")
    }
    g = {
        f"{one['input']}_T{one['T']:.3f}_{name}": one[key] if place is None else one[key][place]
        for one in curves
        for name, key, place in (
            ("r", "r", None),
            *((f"g_{a}{b}", "g", place) for place, (a, b) in enumerate(pairs)),
            ("q", "q", None),
            ("S", "S", None),
        )
    }
    return report.Section(
        anchor="structure",
        title="Structure, without a network",
        sentences=[
            _sentence(row, values.get("classes", CLASSES))
            for row in values["rows"]
            if row["input"] == best and not _easy(row)
        ],
        drawings=[
            report.Drawing(
                name="structural_metrics",
                draw=structure_figures.metrics_against_temperature,
                values=(metrics,),
                data=columns,
                caption="Metrics of a configuration against the bath temperature of its record, mean over runs.",
            ),
            report.Drawing(
                name="pair_correlations",
                draw=structure_figures.correlations,
                values=(curves,),
                data=g,
                caption="Partial pair correlations and structure factor of the hottest and the coldest liquid and of "
                f"the {values.get('classes', CLASSES)[1]}; bands are standard errors over {curves[0]['n_runs']} runs.",
            ),
        ],
        tables=[_table(row) for row in values["rows"] if not _easy(row)],
    )


def _easy(row: Values) -> bool:
    """Return whether most metrics separate the classes by themselves."""
    return bool(np.median([one["auc"]["value"] for one in row["metrics"]]) > 0.98)


def _sentence(row: Values, classes: Sequence[str]) -> str:
    """Return which metrics tell the classes apart, exploratory, and how all together stand beside the energy."""
    alone = [one["claim"] for one in row["metrics"] if one["metric"] != _ALL]
    together = restored(next(one["claim"] for one in row["metrics"] if one["metric"] == _ALL))
    of = {answer: [claim for claim in alone if claim["answer"] == answer] for answer in ("shown", "absent", "open")}
    best = sorted(of["shown"], key=lambda claim: -claim["effect"])[:3]
    named = "".join(f"; {restored(claim).yes.split(' ')[0]} ({restored(claim).evidence})" for claim in best)
    beside = "" if row["claim"] is None else restored(row["claim"]).sentence.partition(": ")[2]
    beside = f" {beside[:1].upper()}{beside[1:]}" if beside else ""
    return (
        f"{_where(row)}, exploratory: {len(of['shown'])} of {len(alone)} metrics are shown to tell {apart(classes)}; "
        f"for {len(of['absent'])} it is absent, within {together.margin:g}, and for {len(of['open'])} it is "
        f"open{named}. All together: {together.answer} ({together.evidence}).{beside}"
        f"{hopes([restored(claim) for claim in alone])}"
    )


def _where(row: Values) -> str:
    return f"{SHOWN_AS[row['input']]}, liquid at T = {row['T']:.3f}"


def _table(row: Values) -> report.Table:
    ranked = sorted(row["metrics"], key=lambda one: -one["auc"]["value"])
    shown = [(one["metric"], one) for one in ranked]
    shown += [(report.name_of_model(one["metric"]), one) for one in row["beside"]]
    return report.Table(
        title=f"{_where(row)}: n = {row['n_test']} of {row['n_runs']} runs",
        columns=("metric or model", "AUC", "accuracy", "p, corrected", "tells them apart"),
        rows=[
            (name, with_interval(one["auc"]), with_interval(one["accuracy"]), *_answer(one.get("claim")))
            for name, one in shown
        ],
    )


def _answer(claim: Values | None) -> tuple[str, str]:
    return ("", "") if claim is None else (f"{claim['p_corrected']:.2g}", claim["answer"])
