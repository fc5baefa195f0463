"""The commands that analyse a study: where is the transition, what does a network see, is it only the energy."""

__all__ = ["COMMANDS"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrify.cli.words import Command, Progressing, Simulating, answer, study_words, workers

if TYPE_CHECKING:
    from vitrify.settings import Study


def _analyse(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Analyse(Simulating):
        only: tuple[str, ...] = ()
        """Names of the analyses to make; by default all."""

    chosen, given = study_words(words, "analyse", "Make the analyses of a study and put them into its report.", Analyse)
    show_analyses(given.only, chosen, given)


def _alone(name: str, command: str, says: str) -> Callable[[list[str]], None]:
    """Return the command that makes one analysis of a study."""

    def run(words: list[str]) -> None:
        chosen, given = study_words(words, command, f"{says}; the study is run first.")
        show_analyses((name,), chosen, given)

    return run


def show_analyses(names: tuple[str, ...], chosen: "Study", given: Any) -> None:
    """Make some analyses of a study, by default all, and print what they support."""
    from vitrify import analyses

    names = names or tuple(analyses.ANALYSES)
    with Progressing() as progress:
        found = analyses.run(names, chosen, given.out, n_workers=workers(given), progress=progress)
    lines = [f"- {sentence}" for name in names for sentence in analyses.ANALYSES[name].section(found[name]).sentences]
    answer(given, found, "\n".join([*lines, f"report: {given.out / 'report.html'}"]))


def _transfer(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Transfer(Simulating):
        others: tuple[Path, ...] = ()
        """Folders of finished studies, whose classifiers and test runs join the matrix."""

    chosen, given = study_words(words, "transfer", f"{_TRANSFER}; the study is run first.", Transfer)
    if not given.others:
        show_analyses(("transfer",), chosen, given)
        return
    from vitrify import analyses
    from vitrify.analyses import transfer_studies

    with Progressing() as progress:
        found = analyses.between(chosen, given.out, given.others, n_workers=workers(given), progress=progress)
    section = transfer_studies.section(found)
    lines = [f"- {sentence}" for sentence in section.sentences]
    figures = [f"table and figure: {given.out / 'figures' / drawing.name}.csv, .png" for drawing in section.drawings]
    answer(given, found, "\n".join([*lines, *figures, f"report: {given.out / 'report.html'}"]))


_ASK = "Ask of every classifier of a study whether it only computes the energy"
_TRANSFER = "Test every classifier of a study in every state of it, thermal and inherent"
_MEASURE = "Measure the structure of a study's configurations, and what each metric tells apart"
_PROBE = "Show a study's networks patterns, changed species, noise and small patches"

COMMANDS = {
    "analyse": Command(_analyse, "STUDY.toml [--only NAME ...]", "every analysis of a study, or some, in its report"),
    "energy-question": Command(
        _alone("energy", "energy-question", _ASK), "STUDY.toml", "is a classifier only computing the energy?"
    ),
    "transfer": Command(
        _transfer,
        "STUDY.toml [--others DIR ...]",
        "trained in one state, tested in another: the transfer matrix, of one study or over several",
    ),
    "structure": Command(
        _alone("structure", "structure", _MEASURE),
        "STUDY.toml",
        "g(r), S(q), bond order, Voronoi cells: what each tells apart",
    ),
    "probe": Command(
        _alone("probes", "probe", _PROBE),
        "STUDY.toml",
        "patterns, changed species, noise, patches: how networks answer",
    ),
}
"""By name."""
