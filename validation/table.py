"""A table of what is measured on planted ensembles: what it must be, what it is, and what it was before.

A line passes if every one of its cells is within three standard errors of what it must be.
"""

__all__ = [
    "FEWEST",
    "Cell",
    "Line",
    "Measure",
    "Measured",
    "Outcome",
    "markdown",
    "measured",
    "number",
    "passed",
    "printed",
    "write",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.table import Table

from vitrify import parallel
from vitrify.system import stream

Measure = Callable[[np.random.Generator, int], Float[np.ndarray, " m"]]

FEWEST = 20
"""Ensembles of a cell, at least."""

_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"
_ERRORS = 3.0  # standard errors that a cell may be off
_FEW = 0.05  # part of the ensembles of a cell on which the earlier method is tried


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One planted truth and what is measured on it.

    Args:
        name: What is planted; it seeds the random numbers too.
        now: Returns one number for each ensemble, by the methods of today.
        before: The same by the earlier methods.
        part: Of the ensembles of a full cell.
    """

    name: str
    now: Measure
    before: Measure | None = None
    part: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a cell gave: mean over the ensembles, standard error, and their number."""

    value: float
    error: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the table.

    Args:
        subject: The heading it stands under.
        what: What is measured.
        low: The least that it must be.
        high: The most.
        cells: Where it is measured.
    """

    subject: str
    what: str
    low: float
    high: float
    cells: tuple[Cell, ...]

    def passes(self, outcome: Outcome) -> bool:
        """Return whether an outcome is as it must be, or off by no more than its ensembles allow."""
        allowed = _ERRORS * outcome.error + 1e-9
        return bool(self.low - allowed <= outcome.value <= self.high + allowed)

    @property
    def must(self) -> str:
        """What it must be, in words."""
        if self.low == self.high:
            return f"{self.low:g}"
        if np.isinf(self.low):
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if np.isinf(self.high) else f"{self.low:g} to {self.high:g}"


Measured = tuple[Line, list[tuple[Outcome, Outcome | None]]]


def measured(planned: Sequence[Line], *, seed: int, n: int, n_workers: int = 1) -> list[Measured]:
    """Return every line with the outcomes of its cells, now and before.

    Args:
        planned: What is measured.
        seed: Of every ensemble; each cell has a stream of its own.
        n: Ensembles of a full cell.
        n_workers: Processes.
    """
    cells = [cell for line in planned for cell in line.cells]
    outcomes = iter(parallel.spread(partial(_outcomes, seed=seed, n=n), cells, n_workers=n_workers, progress=_nothing))
    return [(line, [next(outcomes) for _ in line.cells]) for line in planned]


def passed(line: Line, outcomes: Sequence[tuple[Outcome, Outcome | None]]) -> bool:
    """Return whether every cell of a line is as it must be."""
    return all(line.passes(now) for now, _ in outcomes)


def number(outcome: Outcome) -> str:
    """Return an outcome with its standard error."""
    return f"{outcome.value:.4f} ± {outcome.error:.4f}" if outcome.error >= 5e-5 else f"{outcome.value:.4f}"


def _reached(outcomes: Sequence[Outcome]) -> str:
    """Return the outcome of the only cell, or the lowest and the highest of several."""
    if not outcomes:
        return "-"
    ends = [pick(outcomes, key=lambda one: one.value) for pick in (min, max)]
    return " to ".join(dict.fromkeys(number(one) for one in ends))


def _cells(line: Line, outcomes: Sequence[tuple[Outcome, Outcome | None]]) -> tuple[str, ...]:
    now = [one for one, _ in outcomes]
    before = [one for _, one in outcomes if one is not None]
    fewest = min(one.n for one in now)
    return line.what, line.must, _reached(now), _reached(before), f"{len(now)} × {fewest}"


def printed(found: Sequence[Measured]) -> Table:
    """Return the lines as a table of the terminal."""
    table = Table("what", "must be", "reached", "before", "cells × ensembles", "")
    for subject in dict.fromkeys(line.subject for line, _ in found):
        table.add_section()
        table.add_row(f"[bold]{subject}")
        for line, outcomes in ((line, outcomes) for line, outcomes in found if line.subject == subject):
            verdict = "[green]pass" if passed(line, outcomes) else "[red]FAIL"
            table.add_row(*_cells(line, outcomes), verdict)
    return table


def markdown(found: Sequence[Measured]) -> str:
    """Return the lines as one Markdown table per subject."""
    text = [f"{sum(passed(*each) for each in found)} of {len(found)} lines as they must be.", ""]
    for subject in dict.fromkeys(line.subject for line, _ in found):
        text += [
            f"### {subject}",
            "",
            "| what | must be | reached | before | cells × ensembles | |",
            "|---|---|---|---|---|---|",
        ]
        for line, outcomes in ((line, outcomes) for line, outcomes in found if line.subject == subject):
            verdict = "pass" if passed(line, outcomes) else "**fail**"
            text.append(f"| {' | '.join((*_cells(line, outcomes), verdict))} |")
        text.append("")
    return "\n".join(text)


def write(page: Path, table: str) -> None:
    """Put a table between the marks of a page.

    Raises:
        ValueError: The page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} must hold the lines {_BEGIN} and {_END}, between which the table goes")
    page.write_text(f"{before}{_BEGIN}\n\n{table}\n{_END}{after}", encoding="utf-8")


def _nothing(_: float) -> None:
    pass


def _outcomes(cell: Cell, tick: parallel.Tick, *, seed: int, n: int) -> tuple[Outcome, Outcome | None]:
    now = _outcome(cell.now, stream(seed, "inference", cell.name), max(FEWEST, int(n * cell.part)))
    tick(1.0)
    if cell.before is None:
        return now, None
    n_before = max(FEWEST, int(n * cell.part * _FEW))
    return now, _outcome(cell.before, stream(seed, "inference", cell.name, "before"), n_before)


def _outcome(measure: Measure, rng: np.random.Generator, n: int) -> Outcome:
    values = measure(rng, n)
    return Outcome(value=float(values.mean()), error=float(values.std() / np.sqrt(len(values))), n=len(values))
