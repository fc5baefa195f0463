"""The commands that train, evaluate, sweep and cross-validate one network at a time."""

__all__ = ["COMMANDS"]

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vitrify.cli.words import Command, Progressing, Task, answer, study_words, workers


def _train(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Train(Task):
        model: str = "cnn"
        """Kind of network."""
        network_seed: int = 0
        """Draws weights, batches and symmetries."""
        called: str | None = None
        """Name of the training and of its folder below OUT/trained; by default made from what is trained."""
        parent: Annotated[Path | None, tyro.conf.arg(name="from")] = None
        """Folder of a training to go on from."""
        best: bool = False
        """Begin with its best weights and a fresh optimiser, not from its last step."""

    chosen, given = study_words(words, "train", "Train one network on one pair of records.", Train)
    if given.best and given.parent is None:
        raise ValueError("--best needs --from RUN: the training whose best weights are taken")
    from vitrify import workbench

    with Progressing() as progress:
        outcome = workbench.train(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            kind=given.model,
            seed=given.network_seed,
            called=given.called,
            parent=None if given.parent is None else (given.parent, "best" if given.best else "last"),
            n_workers=workers(given),
            progress=progress,
        )
    lineage = " > ".join([*(one["name"] for one in outcome["lineage"]), outcome["name"]])
    lines = [*_classes(outcome), *(f"- {_score_line(row)}" for row in outcome["scores"])]
    if outcome["n_left_out"]:
        lines.append(f"- {outcome['n_left_out']} validation runs are not scored: they trained one that it goes on from")
    folder = given.out / "trained" / outcome["name"]
    answer(given, outcome, "\n".join([*lines, f"lineage: {lineage}", f"training: {folder}"]))


def _evaluate(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Evaluate(Task):
        runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="runs")] = ()
        """Folders of trainings."""
        part: Literal["train", "validation", "test", "all"] = "validation"
        """Runs that are scored."""
        symmetries: bool = False
        """Look at each configuration under every symmetry of the box."""
        n_shifts: int = 1
        """Shifts of the box that each configuration is looked at under."""
        over: Literal["logit", "probability"] = "logit"
        """What is averaged."""

    begin = next((place for place, word in enumerate(words[1:], 1) if word.startswith("-")), len(words))
    words = [*words[:1], *words[begin:], *(["--runs", *words[1:begin]] if begin > 1 else [])]
    chosen, given = study_words(words, "evaluate", "Score trained networks on the runs of a study.", Evaluate)
    if not given.runs:
        raise ValueError("vitrify evaluate needs the folders of trained networks: vitrify evaluate STUDY.toml RUN ...")
    from vitrify import workbench

    with Progressing() as progress:
        found = workbench.evaluate(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            given.runs,
            part=given.part,
            averaging=workbench.Averaging(symmetries=given.symmetries, n_shifts=given.n_shifts, over=given.over),
            n_workers=workers(given),
            progress=progress,
        )
    lines = [*_classes(found), *(f"- {_score_line(row)}" for row in found["scores"])]
    lines.append(f"- {_seen_line(found)}")
    lines += [row["claim"]["sentence"] for row in found["scores"] if row["claim"] is not None]
    lines += [f"- expected calibration error of {name}: {table['ece']['value']:.3f}" for name, table in
              found["reliability"].items()]  # fmt: skip
    answer(given, found, "\n".join(lines))


def _seen_line(found: dict[str, Any]) -> str:
    """Return in words which runs the networks had seen: those left out, or those scored all the same."""
    part, n, left_out = found["part"], found["n_runs"], found["n_left_out"]
    words = f"runs: {n} scored, {left_out} of {n + left_out} left out"
    if left_out:
        words += " because they trained, chose or calibrated a network, or one that it goes on from"
    for name, count in (("trained", found["n_trained"]), ("chose", found["n_chose"])):
        if count:
            words += f"; {count} of those scored {name} a network, so these scores are no test"
    if not found["n_calibrated"]:
        why = "the validation runs are scored" if part == "validation" else "every validation run trained a network"
        words += f"; not calibrated, since {why}"
    return words


def _pack(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Packing(Task):
        to: Path
        """Folder of the packed model; its last part is the model's name."""
        model: str = "mpnn"
        """Kind of network."""
        networks: int = 5
        """Networks of seeds 0, 1, ... whose logits are averaged."""

    chosen, given = study_words(
        words, "pack", "Make a model that vitrify predict can take anywhere.", Packing, to=Path()
    )
    if given.to == Path():
        raise ValueError("vitrify pack needs --to FOLDER: where the packed model goes")
    from vitrify import pack, workbench

    with Progressing() as progress:
        card = pack.pack(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            kind=given.model,
            n_networks=given.networks,
            folder=given.to,
            n_workers=workers(given),
            progress=progress,
        )
    lines = [*_classes(card), *(f"- {_score_line(row)}" for row in card["scores"])]
    answer(
        given,
        card,
        "\n".join([*lines, f"card: {given.to / 'CARD.md'}", f"next: vitrify predict FILE --model {given.to}"]),
    )


def _sweep(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Swept(Task):
        model: str = "cnn"
        """Kind of network."""

    chosen, given = study_words(words, "sweep", "Try the settings of the table [sweep].", Swept)
    from vitrify import workbench

    with Progressing() as progress:
        task = workbench.Task(input=given.input, k=given.k)
        results = workbench.sweep(
            chosen, given.out, task, kind=given.model, n_workers=workers(given), progress=progress
        )
    best = results["best"]
    words_of_best = "no trial was completed" if best is None else f"best on validation runs: {json.dumps(best)}"
    answer(given, results, f"{words_of_best}\nleaderboard: {Path(results['folder']) / 'leaderboard.json'}")


def _crossvalidate(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class CrossValidate(Task):
        kinds: tuple[str, ...] = ("mpnn",)
        """Networks and baselines; the energy stands beside them where it is known."""
        n_folds: int = 5
        """Parts the runs are dealt into."""
        n_inner: int = 0
        """Parts inside each fold, by which it chooses among the models; 0 does not nest."""

    chosen, given = study_words(words, "crossvalidate", "Test every run once, fold by fold.", CrossValidate)
    from vitrify import workbench

    with Progressing() as progress:
        results = workbench.cross_validate(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            kinds=given.kinds,
            n_folds=given.n_folds,
            n_inner=given.n_inner,
            n_workers=workers(given),
            progress=progress,
        )
    lines = [f"- {_fold_line(row)}" for row in results["table"]]
    lines += [row["claim"]["sentence"] for row in results["table"] if row["claim"] is not None]
    answer(given, results, "\n".join(lines))


def _classes(found: dict[str, Any]) -> list[str]:
    """Return what was told apart where it is not a liquid and a glass."""
    zero, one = found.get("classes", ("liquid", "glass"))
    return [] if (zero, one) == ("liquid", "glass") else [f"{zero} (logit below 0) against {one} (above 0)"]


def _fold_line(row: dict[str, Any]) -> str:
    """Return the scores of one classifier on one fold, or on all, in words."""
    scores = (
        f"{word} {row[key]:.3f} [{row[key + '_low']:.3f}, {row[key + '_high']:.3f}]"
        for word, key in (("accuracy", "accuracy"), ("AUC", "auc"))
    )
    above = _above(row)
    return (
        f"{row['model']}, fold {row['fold']}: {', '.join(scores)}{above}; n = {row['n_test']} of {row['n_runs']} runs"
    )


def _above(row: dict[str, Any]) -> str:
    """Return how far an AUC is above the energy's, in words, and the conclusion; nothing where it is not known."""
    apart, claim = row["auc_minus_energy"], row["claim"]
    if apart is None:
        return ""
    words = f", above the energy's by {apart['value']:+.3f} [{apart['low']:+.3f}, {apart['high']:+.3f}]"
    return words if claim is None else f"{words}; more than the energy: {claim['answer']}"


def _score_line(row: dict[str, Any]) -> str:
    """Return accuracy and AUC of one classifier in words."""
    parts = [
        f"{name} {row[key]['value']:.3f} [{row[key]['low']:.3f}, {row[key]['high']:.3f}]"
        for name, key in (("accuracy", "accuracy"), ("AUC", "auc"))
    ]
    beside = _above(row)
    return f"{row['model']}: {', '.join(parts)}{beside}; n = {row['n_test']} of {row['n_runs']} {row['part']} runs"


COMMANDS = {
    "train": Command(
        _train, "STUDY.toml --k 140", "one network on one pair of records; --from RUN goes on from another"
    ),
    "evaluate": Command(
        _evaluate, "STUDY.toml RUN ...", "trained networks on the runs of any study, alone and averaged"
    ),
    "pack": Command(
        _pack, "STUDY.toml --k 140 --to FOLDER", "a model of several networks, calibrated, with its domain and a card"
    ),
    "sweep": Command(
        _sweep, "STUDY.toml --k 140", "try the settings of the study's table [sweep], ranked on validation runs"
    ),
    "crossvalidate": Command(_crossvalidate, "STUDY.toml --k 140", "test every run once, fold by fold"),
}
"""By name."""
