"""The transfer matrix over several studies: classifiers of every study, tested on the test runs of every study.

Each study keeps its own split by run. Runs of one seed, mixture and size begin alike however they are cooled, and an
imported run may be in two studies, or be one that another study simulated: a run whose twin trained or chose a
classifier is left out of what tests it (`vitrify.lineage`).
"""

__all__ = ["compute", "section"]

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import learn, lineage, report, scores, store, transfer, transfer_figures
from vitrify.analyses.transfer import (
    ENERGY,
    FAMILIES,
    LOSS,
    State,
    Values,
    energy_logits,
    halves,
    loss_in_words,
    name_of,
    networks,
    shown,
)
from vitrify.claims import judge, restored
from vitrify.conclusions import SHOWN_AS
from vitrify.dataset import Ensemble, Labelled, Split
from vitrify.material import NO_POTENTIAL
from vitrify.report import with_interval
from vitrify.settings import Study, split

_FEWEST = 2  # test runs of a cell


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """A finished study: its folder, its runs, its split, and the configurations that are neither trained on."""

    chosen: Study
    out: Path
    ensemble: Ensemble
    parts: Split
    every: dict[State, Labelled]
    runs: tuple[lineage.Run, ...]

    @property
    def asked(self) -> np.ndarray:
        """Validation runs, then test runs."""
        return np.concatenate([self.parts.validation, self.parts.test])

    @property
    def states(self) -> list[State]:
        """Input and record of every liquid that a classifier is trained on."""
        return [(name, k) for name in self.chosen.classify.inputs for k in sorted(self.chosen.classify.k)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answers:
    """What one classifier says of every configuration of one study, and which of its runs it may be asked about."""

    logits: dict[State, np.ndarray]
    may_choose: np.ndarray
    may_test: np.ndarray


def compute(folders: Sequence[Path], *, progress: Any) -> Values:
    """Return the matrix of every kind of classifier over the states of several finished studies; nothing is trained.

    Args:
        folders: Folders of the studies; two at least.
        progress: Told the networks done.

    Returns:
        ``studies``, ``states`` with the place of their study, ``glasses`` (the null columns), and ``models``: for each
        kind, ``cells`` and ``null``, a row for each state trained in. A cell that cannot be holds ``why``; the others
        ``n_runs``, the test runs scored, and ``n_left_out``, those that the classifier has seen.

    Raises:
        ValueError: There are fewer than two studies, one is named twice, or a folder holds no finished study.
    """
    members = [_member(folder) for folder in folders]
    if len({member.out.resolve() for member in members}) < max(2, len(members)):
        raise ValueError(f"name at least two studies, each once; got {', '.join(map(str, folders))}")
    labels, differ = _labels(members)
    states = [
        (place, state) for name in ("thermal", "inherent") for place, one in enumerate(members) for state in one.states
        if state[0] == name
    ]  # fmt: skip
    glasses = list(dict.fromkeys((place, name) for place, (name, _) in states))
    kinds = [ENERGY, *dict.fromkeys(model.kind for member in members for model in member.chosen.models)]
    trained = [networks(member.chosen, member.out, member.states) for member in members]
    total = sum(len(each) for of_one in trained for each in of_one.values())
    twins = [[_twins(one, other) for other in members] for one in members]
    models, done = [], 0
    for kind in kinds:
        grid: list[list[_Answers | str]] = []
        for place, state in states:
            each = trained[place].get((kind, state), [])
            grid.append(
                [
                    _answers(members[place], other, kind, state, each, twins[place][theirs], same=place == theirs)
                    for theirs, other in enumerate(members)
                ]
            )
            done += len(each)
            progress("transfer between studies", done, total)
        models.append(_model(members, kind, states, glasses, grid))
    return {
        "studies": [
            {"name": one.chosen.name, "label": label, "n_test_runs": len(one.parts.test), **_quantities(one)}
            for one, label in zip(members, labels, strict=True)
        ],
        "differ": differ,
        "states": [
            {"study": place, "input": name, "k": k, "T": float(members[place].ensemble.T[k - 1])}
            for place, (name, k) in states
        ],
        "glasses": [{"study": place, "input": name} for place, name in glasses],
        "n_twins": int(sum(twins[i][j].any(axis=1).sum() for i in range(len(members)) for j in range(i))),
        "models": models,
    }


def _member(folder: Path) -> _Member:
    results = store.read_json(folder / "results.json")
    if results is None:
        raise ValueError(f"{folder} holds no results.json: name the folder of a finished study")
    chosen = Study.model_validate(results["study"])
    k = (*sorted(chosen.classify.k), chosen.classify.k_glass)
    ensemble, parts = store.load(folder / "data", chosen.simulate, seed=chosen.seed, k=k), split(chosen)
    asked = np.concatenate([parts.validation, parts.test])
    every = {(name, one): shown(ensemble, name, one, asked) for name in chosen.classify.inputs for one in k}
    runs = lineage.runs(chosen, lineage.records(ensemble, k))
    return _Member(chosen=chosen, out=folder, ensemble=ensemble, parts=parts, every=every, runs=runs)


def _quantities(member: _Member) -> dict[str, Any]:
    """Return what a state is besides its temperature and its input."""
    simulate = member.chosen.simulate
    cool = simulate.cool
    return {
        "mixture": simulate.mixture,
        "n_particles": simulate.n_particles,
        "density": float(simulate.n_particles / np.prod(simulate.box)),
        "cooling_steps": None if cool is None else cool.n_steps,
        "cooling_rate": None if cool is None else (cool.T_start - cool.T_end) / (cool.n_steps * simulate.dt),
        "protocol": simulate.protocol,
    }


def _labels(members: Sequence[_Member]) -> tuple[list[str], list[str]]:
    """Return the name of each study by what differs between them, and what that is."""
    words: dict[str, list[str]] = {"mixture": [], "N": [], "density": [], "cooling": []}
    for member in members:
        one = _quantities(member)
        words["mixture"].append(one["mixture"])
        words["N"].append(f"N = {one['n_particles']}")
        words["density"].append(f"density {one['density']:.3g}")
        steps = one["cooling_steps"]
        words["cooling"].append(one["protocol"] if steps is None else f"{steps:,} steps")
    differ = [name for name, of_each in words.items() if len(set(of_each)) > 1]
    labels = [", ".join(words[name][place] for name in differ) for place in range(len(members))]
    for more in ([member.chosen.name for member in members], [member.out.name for member in members]):
        if len(set(labels)) < len(labels):
            labels = [", ".join(filter(None, (label, word))) for label, word in zip(labels, more, strict=True)]
    return labels, differ


def _twins(one: _Member, other: _Member) -> np.ndarray:
    """Return which run of the other study (row) is, or begins as, which run of the one (column)."""
    if one is other:
        return np.eye(len(one.runs), dtype=bool)
    return np.array([[bool(theirs.sought & ours.kept) for ours in one.runs] for theirs in other.runs])


def _answers(
    one: _Member,
    other: _Member,
    kind: str,
    state: State,
    each: Sequence[learn.Trained],
    twins: np.ndarray,
    *,
    same: bool,
) -> _Answers | str:
    """Return what a classifier of one study says of another study, or why it says nothing."""
    if kind == ENERGY:
        if not all(member.chosen.simulate.liquid.has_potential for member in (one, other)):
            return NO_POTENTIAL
        shown_to_it = {key: (other.ensemble, data.run) for key, data in other.every.items()}
        logits = energy_logits(one.ensemble, one.chosen, state, shown_to_it)
    else:
        why = _unreadable(one, other, kind, each)
        if why:
            return why
        try:
            of_each = [{key: learn.predict(network, data) for key, data in other.every.items()} for network in each]
        except ValueError as error:  # a box too small for what the network looks at
            return str(error)
        logits = {key: np.mean([of[key] for of in of_each], axis=0) for key in other.every}
    trained_on, chose = (np.asarray(twins[:, runs].any(axis=1)) for runs in (one.parts.train, one.parts.validation))
    may_choose, may_test = ~trained_on, ~(trained_on | chose)
    if not same and (may_choose[other.parts.validation].sum() < 1 or may_test[other.parts.test].sum() < _FEWEST):
        return f"fewer than {_FEWEST} test runs there are not, or do not begin as, those it was trained on"
    return _Answers(logits=logits, may_choose=may_choose, may_test=may_test)


def _unreadable(one: _Member, other: _Member, kind: str, each: Sequence[learn.Trained]) -> str | None:
    """Return why the networks of one kind of a study cannot look at another study, if they cannot."""
    if not each:
        return f"the study has no {kind}"
    d, theirs = len(one.ensemble.box), len(other.ensemble.box)
    if d != theirs:
        return f"trained in {d} dimensions, shown {theirs}"
    n, others = (int(member.ensemble.species.max()) + 1 for member in (one, other))
    return f"trained on {n} species, shown {others}" if n != others else None


def _scored(answers: _Answers, member: _Member, state: State) -> tuple[transfer.Scored, transfer.Scored]:
    """Return the logits in one state, on the validation and on the test runs that may be asked about."""
    liquid, glass = answers.logits[state], answers.logits[state[0], member.chosen.classify.k_glass]
    of_validation = np.arange(len(member.asked)) < len(member.parts.validation)
    found = []
    for part, may in ((of_validation, answers.may_choose), (~of_validation, answers.may_test)):
        keep = part & may[member.asked]
        found.append(transfer.Scored(liquid=liquid[keep], glass=glass[keep], run=member.asked[keep]))
    return found[0], found[1]


def _model(
    members: Sequence[_Member],
    kind: str,
    states: Sequence[tuple[int, State]],
    glasses: Sequence[tuple[int, str]],
    grid: Sequence[Sequence[_Answers | str]],
) -> Values:
    """Return the matrix of one kind: a row for each state trained in, a column for each tested in."""
    own = {  # the classifiers trained in the states tested in
        column: _scored(row[place], members[place], state)[1]  # type: ignore[arg-type]
        for column, ((place, state), row) in enumerate(zip(states, grid, strict=True))
        if not isinstance(row[place], str)
    }
    cells, null = [], []
    for i, row in enumerate(grid):
        cells.append(
            [
                _cell(
                    row[place],
                    members[place],
                    state,
                    None if i == column else own.get(column),
                )
                for column, (place, state) in enumerate(states)
            ]
        )
        null.append([_null(row[place], members[place], name) for place, name in glasses])
    _judge(cells, members, kind, states)
    return {"model": kind, "cells": cells, "null": null}


def _judge(
    cells: Sequence[Sequence[Values]], members: Sequence[_Member], kind: str, states: Sequence[tuple[int, State]]
) -> None:
    """Say of every compared cell what failed there; the cells of one kind of classifier are a family."""
    compared = [
        (cell, row, column) for row, line in enumerate(cells) for column, cell in enumerate(line) if cell.get("lost")
    ]

    def where(place: int) -> str:
        member, (name, k) = members[states[place][0]], states[place][1]
        return f"{SHOWN_AS[name]} of {member.chosen.name}, liquid at T = {member.ensemble.T[k - 1]:.3f}"

    questions = [
        transfer.asked(
            *(scores.Difference(**cell[which]) for which in ("lost", "less_accurate")),
            who=f"{name_of(kind)} trained on {where(row)[0].lower()}{where(row)[1:]}",
            where=where(column),
            n_runs=cell["n_runs"],
            margin=members[0].chosen.classify.margin,
        )
        for cell, row, column in compared
    ]
    rankings, accuracies = (judge(family, [two[k] for two in questions]) for k, family in enumerate(FAMILIES))
    for (cell, _, _), ranking, accuracy in zip(compared, rankings, accuracies, strict=True):
        failed = transfer.failure(ranking.answer, accuracy.answer)
        cell |= {"failed": failed, "ranking": ranking.to_json(), "less": accuracy.to_json()}


def _cell(
    answers: _Answers | str,
    member: _Member,
    state: State,
    oracle: transfer.Scored | None,
) -> Values:
    """Return one cell: its scores, and how far it is below the classifier trained in that state; or why it is empty."""
    if isinstance(answers, str):
        return {"why": answers}
    validation, test = _scored(answers, member, state)
    found = asdict(transfer.cell(validation, test))
    lost: Values = {"lost": None, "less_accurate": None, "ranking": None}
    if oracle is not None:
        held = np.isin(oracle.run, test.run)
        there = transfer.Scored(liquid=oracle.liquid[held], glass=oracle.glass[held], run=oracle.run[held])
        compared = scores.compare(test.logit, there.logit, test.label, test.both_runs)
        lost |= {"lost": asdict(compared.auc), "less_accurate": asdict(compared.accuracy)}
    counts = {"n_runs": len(test.run), "n_left_out": len(member.parts.test) - len(test.run)}
    return found | lost | counts | {"failed": None}


def _null(answers: _Answers | str, member: _Member, name: str) -> Values | None:
    if isinstance(answers, str):
        return None
    state = next(state for state in member.states if state[0] == name)
    return asdict(halves(_scored(answers, member, state)[1]))


def section(values: Values) -> report.Section:
    """Return what the matrix supports, a heat map and a table for each kind of classifier."""
    names = [_state(values, state) for state in values["states"]]
    glasses = [f"null, {values['studies'][one['study']]['label']}, {one['input']}" for one in values["glasses"]]
    return report.Section(
        anchor="transfer-studies",
        title="Trained in one study, tested in another",
        sentences=[_about(values), *(words for model in values["models"] for words in _sentences(values, model))],
        drawings=[
            report.Drawing(
                name=f"transfer_studies_{model['model']}",
                draw=transfer_figures.studies_matrix,
                values=(model, names, glasses),
                data=_columns(values, model),
                caption=f"{name_of(model['model']).capitalize()}. Row: the state trained in; column: the state tested "
                "in, or one half of the glasses against the other (null). Outlined: tested where it was trained. Grey: "
                "it cannot look there; the table says why.",
            )
            for model in values["models"]
        ],
        tables=[_table(values, model, names) for model in values["models"]],
    )


def _state(values: Values, state: Values) -> str:
    return f"{values['studies'][state['study']]['label']}, {state['input']}, T = {state['T']:.3f}"


def _about(values: Values) -> str:
    labels = "; ".join(f"{one['label']}: {one['n_test_runs']}" for one in values["studies"])
    words = f"Tested on the test runs of every study ({labels}), split by run: no run that trained a network tests it."
    if values["n_twins"]:
        words += (
            f" {values['n_twins']} pairs of runs of two studies begin alike or are the same, and a run whose twin "
            "trained or chose a network does not test it either."
        )
    return words


def _sentences(values: Values, model: Values) -> list[str]:
    """Return a sentence for every study trained in and every other one tested in: the nearest liquids of one input."""
    states, studies, found = values["states"], values["studies"], []
    name, unanswered = name_of(model["model"]), []
    for i, one in enumerate(studies):
        for j, other in enumerate(studies):
            pairs = _nearest(states, i, j)
            cells = [(model["cells"][row][column], row, column) for row, column in pairs]
            why = next((cell["why"] for cell, _, _ in cells if "why" in cell), None if cells else "no input in common")
            if i != j and why:
                unanswered.append(f"{one['label']} to {other['label']} ({why})")
            elif i != j:
                head = f"Trained on {one['label']} and tested on {other['label']}, {name}"
                found.append(f"{head} {_failing(values, model, cells)}.")
    if unanswered:
        found.append(f"{name[0].upper()}{name[1:]} gives no answer from {'; '.join(unanswered)}.")
    return found


def _nearest(states: Sequence[Values], i: int, j: int) -> list[tuple[int, int]]:
    """Return for every state of study j that of study i, of the same input, whose liquid is nearest in temperature."""
    pairs = []
    for column, there in enumerate(states):
        rows = [row for row, one in enumerate(states) if one["study"] == i and one["input"] == there["input"]]
        if there["study"] == j and rows:
            pairs.append((min(rows, key=lambda row: abs(states[row]["T"] - there["T"])), column))
    return pairs


def _failing(values: Values, model: Values, cells: Sequence[tuple[Values, int, int]]) -> str:
    judged = [(cell, row, column) for cell, row, column in cells if cell["failed"]]
    if not judged:
        lowest = min((cell["auc"] for cell, _, _ in cells), key=lambda auc: float(auc["value"]))
        return f"has no classifier of that state to be measured by; its lowest AUC is {with_interval(lowest)}"
    counts = {name: sum(cell["failed"] == name for cell, _, _ in judged) for name in _WORDS}
    said = ", ".join(f"{words} at {counts[name]}" for name, words in _WORDS.items() if counts[name])
    worst, row, column = min(judged, key=lambda one: float(one[0]["lost"]["value"]))
    there = model["cells"][column][column]
    trained, tested = (values["states"][place] for place in (row, column))
    return (
        f"is, of {len(judged)} liquid{'s' * (len(judged) > 1)}, {said} (worst on {tested['input']} configurations, "
        f"trained at T = {trained['T']:.3f} and tested at T = {tested['T']:.3f}: AUC {with_interval(worst['auc'])}, "
        f"trained in that state {with_interval(there['auc'])}; accuracy {with_interval(worst['accuracy'])}, with the "
        f"threshold moved {with_interval(worst['accuracy_rethresholded'])}, trained in that state "
        f"{with_interval(there['accuracy'])}; {restored(worst['ranking']).evidence})"
    )


_WORDS = {
    "none": "as good as one trained where it is tested",
    "threshold": "failing by its threshold only",
    "representation": "failing in its representation",
    "open": "not yet decided",
}


def _table(values: Values, model: Values, names: Sequence[str]) -> report.Table:
    rows, states = [], values["states"]
    for i, trained in enumerate(names):
        whys: dict[int, str] = {}
        for j, tested in enumerate(names):
            cell = model["cells"][i][j]
            if "why" in cell:
                whys[states[j]["study"]] = cell["why"]
                continue
            rows.append(
                (
                    trained,
                    tested,
                    str(cell["n_test"]),
                    *(with_interval(cell[metric]) for metric in ("auc", "accuracy", "accuracy_rethresholded")),
                    *loss_in_words(cell["ranking"]),
                )
            )
        for one, null in zip(values["glasses"], model["null"][i], strict=True):
            if null is not None:
                where = f"null, {values['studies'][one['study']]['label']}, {one['input']}"
                rows.append((trained, where, "", with_interval(null), *[""] * 6))
        for place, why in whys.items():
            rows.append((trained, f"{values['studies'][place]['label']}: {why}", *[""] * 8))
    return report.Table(
        title=name_of(model["model"]).capitalize(),
        columns=("trained in", "tested in", "n", "AUC", "accuracy", "threshold moved", *LOSS),
        rows=rows,
    )


def _columns(values: Values, model: Values) -> dict[str, list[Any]]:
    """Return the columns of the CSV: a line for every cell, empty ones with the reason."""
    columns: dict[str, list[Any]] = {}
    for i, row in enumerate(model["cells"]):
        for j, cell in enumerate(row):
            line: dict[str, Any] = {}
            for word, place in (("trained", i), ("tested", j)):
                state = values["states"][place]
                study = values["studies"][state["study"]]
                told = ("name", "mixture", "n_particles", "density", "cooling_steps", "cooling_rate")
                line |= {f"{word}_{name}": study[name] for name in told}
                line |= {f"{word}_{name}": state[name] for name in ("input", "k", "T")}
            for metric in ("auc", "accuracy", "accuracy_rethresholded", "lost"):
                one = cell.get(metric) or {}
                line |= {metric + end: one.get(key, "") for key, end in _ENDS if metric == "lost" or end in _INTERVAL}
            claim = cell.get("ranking") or {}
            line |= {"lost_p_corrected": claim.get("p_corrected", ""), "ranks_worse": claim.get("answer", "")}
            line |= {"n_test": cell.get("n_test", ""), "why": cell.get("why", "")}
            for name, value in line.items():
                columns.setdefault(name, []).append(value)
    return columns


_INTERVAL = ("", "_low", "_high")
_ENDS = (("value", ""), ("low", "_low"), ("high", "_high"), ("p", "_p"))
