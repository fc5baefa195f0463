"""The transfer matrix of a study: every classifier trained in one state and tested in all."""

__all__ = [
    "ENERGY",
    "FAMILIES",
    "LOSS",
    "Answers",
    "State",
    "compute",
    "energy_logits",
    "halves",
    "loss_in_words",
    "name_of",
    "networks",
    "section",
    "shown",
]

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vitrify import baselines, classify, learn, report, scores, store, transfer, transfer_figures
from vitrify.claims import judge, restored
from vitrify.conclusions import SHOWN_AS
from vitrify.dataset import Ensemble, Labelled
from vitrify.material import NO_POTENTIAL
from vitrify.report import with_interval
from vitrify.settings import CLASSES, Input, Study, class_names, split
from vitrify.system import stream

Values = dict[str, Any]
State = tuple[Input, int]  # input and record of the liquid

_LEVELS = (0.75, 0.55)  # the accuracy approaches one half and does not cross it
ENERGY = "energy"
"""The energy of the configuration shown: potential energy of a thermal one, e_IS of an inherent structure."""


def compute(chosen: Study, out: Path, *, n_workers: int, progress: Any) -> Values:  # noqa: ARG001
    """Return the transfer matrix of every classifier over the liquids and inputs of a study.

    The networks are those of the finished study; they are only evaluated.

    Args:
        chosen: The study.
        out: Its folder.
        n_workers: Not used.
        progress: Told the networks done.
    """
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=(*chosen.classify.k, _glass(chosen)))
    states: list[State] = [(name, k) for name in chosen.classify.inputs for k in sorted(chosen.classify.k)]
    parts = split(chosen)
    asked = np.concatenate([parts.validation, parts.test])
    every: dict[State, Labelled] = {
        (name, k): shown(ensemble, name, k, asked) for name in chosen.classify.inputs for k in _records(chosen)
    }
    trained = networks(chosen, out, states)
    total, done = sum(len(each) for each in trained.values()), 0
    models = []
    energy = (ENERGY,) if chosen.simulate.liquid.has_potential else ()
    for model in (*energy, *(one.kind for one in chosen.models)):
        grid = []
        for state in states:
            if model == ENERGY:
                logits = energy_logits(
                    ensemble, chosen, state, {key: (ensemble, data.run) for key, data in every.items()}
                )
            else:
                each = []
                for network in trained[model, state]:
                    progress("transfer", done, total)
                    done += 1
                    each.append({key: learn.predict(network, data) for key, data in every.items()})
                logits = {key: np.mean([one[key] for one in each], axis=0) for key in every}
            grid.append([_answers(chosen, logits, tested) for tested in states])
        models.append(_model(chosen, model, states, ensemble.T, grid))
    for family in (
        [one for one in models if one["model"] != ENERGY],
        [one for one in models if one["model"] == ENERGY],
    ):
        _judge(family, _named(states, ensemble.T), n_runs=len(parts.test), margin=chosen.classify.margin)
    return {
        "states": _named(states, ensemble.T),
        "models": models,
        "n_test_runs": len(parts.test),
        "k_transfer": chosen.classify.k_transfer,
        "classes": list(class_names(chosen)),
    }


def _named(states: list[State], T: Float[np.ndarray, " t"]) -> list[Values]:
    return [{"input": name, "k": k, "T": float(T[k - 1])} for name, k in states]


def _glass(chosen: Study) -> int:
    return chosen.classify.k_glass


def _records(chosen: Study) -> list[int]:
    return [*sorted(chosen.classify.k), _glass(chosen)]


def shown(ensemble: Ensemble, name: Input, k: int, runs: np.ndarray) -> Labelled:
    """Return one record of some runs; the labels are not looked at."""
    return Labelled(
        positions=ensemble.shown(name)[runs, ensemble.place("k", k)],
        species=ensemble.species,
        box=ensemble.box,
        label=np.zeros(len(runs), int),
        run=runs,
        shells=ensemble.shells,
    )


def networks(chosen: Study, out: Path, states: list[State]) -> dict[tuple[str, State], list[learn.Trained]]:
    """Return the networks of a finished study by kind and state, one for each seed."""
    found: dict[tuple[str, State], list[learn.Trained]] = {}
    for one in classify.trainings(chosen):
        state = (one.input, one.train_k)
        if one.model is None or one.control or state not in states:
            continue
        network = learn.restore(one.model, store.Checkpoints(out / "models" / one.folder))
        found.setdefault((one.name, state), []).append(network)
    return found


def energy_logits(
    ensemble: Ensemble, chosen: Study, state: State, shown: Mapping[State, tuple[Ensemble, np.ndarray]]
) -> dict[State, np.ndarray]:
    """Return the logits of a logistic regression on the energy of the configuration shown.

    Args:
        ensemble: The runs of the study.
        chosen: The study whose training runs fit it.
        state: The state it is fitted in.
        shown: What it is asked about: an ensemble, of this study or of another, and runs of it.
    """
    parts, (name, k) = split(chosen), state

    def features(of: Ensemble, name: Input, k: int, runs: np.ndarray) -> np.ndarray:
        table = of.energy("e_is" if name == "inherent" else "e_pot")
        return np.asarray(table[runs, k - 1][:, None])

    def pair(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        glass = features(ensemble, name, _glass(chosen), runs)
        return np.concatenate([features(ensemble, name, k, runs), glass]), np.repeat([0, 1], len(runs))

    fitted = baselines.fit(*pair(parts.train), *pair(parts.validation))
    return {key: fitted.logit(features(of, key[0], key[1], runs)) for key, (of, runs) in shown.items()}


Answers = tuple[transfer.Scored, transfer.Scored]  # on validation and on test runs


def _answers(chosen: Study, logits: dict[State, np.ndarray], tested: State) -> Answers:
    """Return the logits of one classifier in one state, on the validation and on the test runs."""
    parts, glass = split(chosen), (tested[0], _glass(chosen))
    first = len(parts.validation)
    on_validation = transfer.Scored(liquid=logits[tested][:first], glass=logits[glass][:first], run=parts.validation)
    return on_validation, transfer.Scored(liquid=logits[tested][first:], glass=logits[glass][first:], run=parts.test)


def _model(
    chosen: Study, model: str, states: list[State], T: Float[np.ndarray, " t"], grid: list[list[Answers]]
) -> Values:
    """Return the matrix of one kind of classifier: a row for each state trained in, a column for each tested in."""

    def rng(*words: str | int) -> np.random.Generator:
        return stream(chosen.seed, "transfer", model, *words)

    inputs = list(dict.fromkeys(name for name, _ in states))
    cells, null = [], []
    for row in grid:
        cells.append([transfer.cell(*answers) for answers in row])
        glasses = {name: answers[1] for (name, _), answers in zip(states, row, strict=True)}
        null.append([halves(glasses[name]) for name in inputs])
    moved = [_moved(chosen.classify.k_transfer, name, states, T, grid, rng) for name in inputs]
    return {
        "model": model,
        "cells": [[asdict(one) for one in row] for row in cells],
        "null": [[asdict(one) for one in row] for row in null],
        "moved": moved,
    }


def halves(one: transfer.Scored) -> scores.Estimate:
    """Return the AUC of every other glass against the rest, which differ by chance only."""
    return scores.score(one.glass, np.arange(len(one.run)) % 2, one.run).auc


def _moved(
    k_transfer: int,
    name: Input,
    states: list[State],
    T: Float[np.ndarray, " t"],
    grid: list[list[Answers]],
    rng: Callable[..., np.random.Generator],
) -> Values:
    """Return how the classifier of the study's ``k_transfer`` does at the other liquids of the same input."""
    first = states.index((name, k_transfer))
    own = [place for place, state in enumerate(states) if state[0] == name]
    moved = {place: grid[first][place][1] for place in own}
    right = np.stack([np.stack([one.liquid <= 0, one.glass > 0], axis=1) for one in moved.values()], axis=1)
    at = np.array([T[states[place][1] - 1] for place in own])
    crossings = [transfer.crossing(at, right, level, rng=rng("crossing", name, str(level))) for level in _LEVELS]
    compared = []
    for place, one in moved.items():
        if place != first:
            there = grid[place][place][1]
            lost = scores.compare(one.logit, there.logit, one.label, one.both_runs)
            compared.append({"place": place, "lost": asdict(lost.auc), "less_accurate": asdict(lost.accuracy)})
    return {
        "input": name,
        "first": first,
        "crossings": [None if one is None else asdict(one) for one in crossings],
        "compared": compared,
    }


def _judge(models: list[Values], states: list[Values], *, n_runs: int, margin: float) -> None:
    """Say of every liquid what failed there; all networks, liquids and inputs are a family, as on the study's page."""
    every = [(one, row, model["model"]) for model in models for row in model["moved"] for one in row["compared"]]
    questions = [
        transfer.asked(
            *(scores.Difference(**one[which]) for which in ("lost", "less_accurate")),
            who=f"{name_of(model)} trained at T = {states[row['first']]['T']:.3f}",
            where=f"{SHOWN_AS[row['input']]}, liquid at T = {states[one['place']]['T']:.3f}",
            n_runs=n_runs,
            margin=margin,
        )
        for one, row, model in every
    ]
    rankings, accuracies = (judge(family, [two[k] for two in questions]) for k, family in enumerate(FAMILIES))
    for (one, _, _), ranking, accuracy in zip(every, rankings, accuracies, strict=True):
        failed = transfer.failure(ranking.answer, accuracy.answer)
        one |= {"failed": failed, "ranking": ranking.to_json(), "accuracy": accuracy.to_json()}


FAMILIES = ("ranking", "accuracy")
"""The two families of questions put to transferred classifiers."""


def section(values: Values) -> report.Section:
    """Return what the matrix supports, the heat maps, and a table of every cell."""
    states, models = values["states"], values["models"]
    drawing = report.Drawing(
        name="transfer",
        draw=transfer_figures.transfer_matrix,
        values=(models, states),
        data=_columns(values),
        caption="Row: the liquid trained on; column: the liquid tested on, or one half of the runs' "
        f"{values.get('classes', CLASSES)[1]} against the other (null). Outlined: tested where it was trained. Each "
        f"value is of {values['n_test_runs']} test runs; the intervals are in the table.",
    )
    return report.Section(
        anchor="transfer",
        title="Trained in one state, tested in another",
        sentences=[_sentence(values, moved) for model in models for moved in model["moved"]]
        + ([] if any(model["model"] == ENERGY for model in models) else [f"The energy is left out: {NO_POTENTIAL}."]),
        drawings=[drawing],
        tables=[_table(values, model) for model in models],
    )


def _sentence(values: Values, moved: Values) -> str:
    states = values["states"]
    at = [f"T = {states[one['place']]['T']:.3f}" for one in moved["compared"]]
    ranks, decides = ([restored(one[family]) for one in moved["compared"]] for family in FAMILIES)
    sentence = transfer.in_words(f"{SHOWN_AS[moved['input']]}, transfer", ranks, decides, at)
    for level, one in zip(_LEVELS, moved["crossings"], strict=True):
        if one is not None:
            T = one["T"]
            sentence += (
                f" Its accuracy falls through {level:.0%} at T = {T['value']:.2f} [{T['low']:.2f}, {T['high']:.2f}]."
            )
    return sentence


def name_of(model: str) -> str:
    """Return how a kind of classifier is called in a sentence."""
    return "the energy alone" if model == ENERGY else f"the {report.name_of_model(model)}"


def _table(values: Values, model: Values) -> report.Table:
    rows = []
    losses = {(moved["first"], one["place"]): one["ranking"] for moved in model["moved"] for one in moved["compared"]}
    for i, trained in enumerate(values["states"]):
        for j, tested in enumerate(values["states"]):
            one = model["cells"][i][j]
            rows.append(
                (
                    f"{trained['input']}, {trained['T']:.3f}",
                    f"{tested['input']}, {tested['T']:.3f}",
                    *(with_interval(one[metric]) for metric in ("auc", "accuracy", "accuracy_rethresholded")),
                    *loss_in_words(losses.get((i, j))),
                )
            )
        inputs = dict.fromkeys(state["input"] for state in values["states"])
        for name, null in zip(inputs, model["null"][i], strict=True):
            rows.append((f"{trained['input']}, {trained['T']:.3f}", f"null, {name}", with_interval(null), *[""] * 6))
    return report.Table(
        title=f"{name_of(model['model']).capitalize()}: {2 * values['n_test_runs']} test configurations a cell",
        columns=("trained at T", "tested at T", "AUC", "accuracy", "threshold moved", *LOSS),
        rows=rows,
    )


LOSS = ("AUC minus that of one trained where it is tested", "p", "p, corrected", "ranks worse")
"""Headings of what `loss_in_words` returns."""


def loss_in_words(ranking: Values | None) -> tuple[str, str, str, str]:
    """Return the claim about a lost AUC as four cells of a table, empty where nothing was compared."""
    if ranking is None:
        return "", "", "", ""
    effect = f"{ranking['effect']:+.3f} [{ranking['low']:+.3f}, {ranking['high']:+.3f}]"
    return effect, f"{ranking['p']:.2g}", f"{ranking['p_corrected']:.2g}", ranking["answer"]


def _columns(values: Values) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("model", "trained_input", "trained_T", "tested_input", "tested_T", "auc", "accuracy")
    }
    for model in values["models"]:
        for i, trained in enumerate(values["states"]):
            for j, tested in enumerate(values["states"]):
                one = model["cells"][i][j]
                row = (model["model"], trained["input"], trained["T"], tested["input"], tested["T"])
                for name, value in zip(columns, (*row, one["auc"]["value"], one["accuracy"]["value"]), strict=True):
                    columns[name].append(value)
    return columns
