"""Hold the statistics to planted truths: ``python -m validation inference`` prints what they must reach and do.

Every line is measured on planted ensembles, by the functions of `vitrify.scores`, `vitrify.energy` and
`vitrify.claims` themselves, and beside them by the earlier methods. A line passes if every of its cells is within
three standard errors of what it must be. It leaves with 1 if a line does not.
"""

__all__ = ["lines", "main"]

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console

from validation import table
from validation.earlier import old_gain, old_interval, old_p, old_verdict
from validation.planted import SHAPES, Beside, Drawn, Plan, Runs, Two
from validation.table import Cell, Line
from vitrify import parallel
from vitrify.claims import Asked, Claim, judge
from vitrify.energy import adds, asked, saturation
from vitrify.scores import Difference, Estimate, above_chance, compare, score

_SOME = 0.25  # part of the ensembles of a cell that costs more


def main(argv: Sequence[str]) -> int:
    """Return the exit status: 1 if a line is not as it must be.

    Args:
        argv: Words of the command line after ``inference``.
    """
    parser = argparse.ArgumentParser(prog="python -m validation inference", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of every ensemble")
    parser.add_argument("--ensembles", type=int, default=4000, help="of a full cell; costly cells have a quarter")
    parser.add_argument("--workers", type=int, default=parallel.n_cores(), help="processes")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/inference.md too")
    options = parser.parse_args(argv)
    if options.ensembles < table.FEWEST:
        parser.error(f"--ensembles must be at least {table.FEWEST}; got {options.ensembles}")
    found = table.measured(lines(), seed=options.seed, n=options.ensembles, n_workers=options.workers)
    console = Console()
    console.print(table.printed(found))
    for line, outcomes in found:
        for cell, (now, _) in zip(line.cells, outcomes, strict=True):
            if not line.passes(now):
                console.print(
                    f"{line.what}: {cell.name} gave {table.number(now)}, must be {line.must}", highlight=False
                )
    if options.docs:
        table.write(Path(__file__).parents[1] / "docs" / "inference.md", table.markdown(found))
    n_passed = sum(table.passed(*each) for each in found)
    console.print(f"{n_passed} of {len(found)} lines as they must be", highlight=False)
    return 0 if n_passed == len(found) else 1


def lines() -> list[Line]:
    """Return every line of the table, in order."""
    return [*_intervals(), *_differences(), *_additions(), *_limits()]


# what is measured: one number for each ensemble


def _covers(rng: np.random.Generator, n: int, *, plan: Plan) -> Float[np.ndarray, " m"]:
    return np.array([area.low <= plan.truth <= area.high for area in _areas(rng, n, plan)], float)


def _width(rng: np.random.Generator, n: int, *, plan: Plan) -> Float[np.ndarray, " m"]:
    return np.array([area.high - area.low for area in _areas(rng, n, plan)])


def _areas(rng: np.random.Generator, n: int, plan: Plan) -> list[Estimate]:
    return [score(drawn.score, drawn.label, drawn.run).auc for drawn in (plan.draw(rng) for _ in range(n))]


def _covered_before(rng: np.random.Generator, n: int, *, plan: Plan) -> Float[np.ndarray, " m"]:
    ends = [old_interval(plan.draw(rng), rng) for _ in range(n)]
    return np.array([low <= plan.truth <= high for low, high in ends], float)


def _width_before(rng: np.random.Generator, n: int, *, plan: Plan) -> Float[np.ndarray, " m"]:
    return np.array([high - low for low, high in (old_interval(plan.draw(rng), rng) for _ in range(n))])


def _separated(runs: int) -> Drawn:
    label, run = Runs(n=runs).label, Runs(n=runs).run
    return Drawn(label.astype(float), label.astype(float), label, run)


def _inexact(_: np.random.Generator, __: int, *, runs: int) -> Float[np.ndarray, " m"]:
    drawn = _separated(runs)
    return np.array([score(drawn.score, drawn.label, drawn.run).auc.low - 0.025 ** (1 / runs)])


def _inexact_before(rng: np.random.Generator, n: int, *, runs: int) -> Float[np.ndarray, " m"]:
    return np.array([abs(old_interval(_separated(runs), rng)[0] - 0.025 ** (1 / runs)) for _ in range(n)])


def _better(rng: np.random.Generator, n: int, *, two: Two) -> Float[np.ndarray, " m"]:
    drawn = (two.draw(rng) for _ in range(n))
    return np.array([compare(*one).auc.p < 0.05 for one in drawn], float)


def _better_before(rng: np.random.Generator, n: int, *, two: Two) -> Float[np.ndarray, " m"]:
    found = [old_p(two.draw(rng), rng) for _ in range(n)]
    return np.array([value > 0 and p < 0.05 for value, p in found], float)


def _no_worse(rng: np.random.Generator, n: int, *, two: Two) -> Float[np.ndarray, " m"]:
    """Whether the other is said to be no better by 0.05, though it is by exactly that."""
    drawn = (two.draw(rng) for _ in range(n))
    return np.array([compare(*one).auc.upper < 0.05 for one in drawn], float)


def _above_chance(rng: np.random.Generator, n: int, *, plan: Plan) -> Float[np.ndarray, " m"]:
    drawn = (plan.draw(rng) for _ in range(n))
    return np.array([above_chance(one.score, one.label, one.run).p < 0.05 for one in drawn], float)


def _says(rng: np.random.Generator, n: int, *, beside: Beside, answer: str) -> Float[np.ndarray, " m"]:
    return np.array([_claim(beside.draw(rng), beside.runs.n).answer == answer for _ in range(n)], float)


def _claim(drawn: Drawn, n_runs: int) -> Claim:
    found: Difference = adds(drawn.score, drawn.other, drawn.label, drawn.run)
    question: Asked = asked(found, who="it", where="Here", n_runs=n_runs, margin=0.05)
    return judge("one", [question])[0]


def _says_before(rng: np.random.Generator, n: int, *, beside: Beside, answer: str) -> Float[np.ndarray, " m"]:
    return np.array([old_verdict(beside.draw(rng), rng) == answer for _ in range(n)], float)


def _dealt_again(rng: np.random.Generator, n: int, *, beside: Beside) -> Float[np.ndarray, " m"]:
    """How far p moves if configurations change places and runs their numbers."""
    moved = []
    for _ in range(n):
        drawn = beside.draw(rng)
        order, number = rng.permutation(len(drawn.label)), rng.permutation(beside.runs.n)
        again = Drawn(*(each[order] for each in drawn[:3]), number[drawn.run][order])
        moved.append(abs(_claim(drawn, beside.runs.n).p - _claim(again, beside.runs.n).p))
    return np.round(moved, 9)


def _dealt_again_before(rng: np.random.Generator, n: int, *, beside: Beside) -> Float[np.ndarray, " m"]:
    moved = []
    for _ in range(n):
        drawn = beside.draw(rng)
        p = [old_gain(drawn, rng)[3] for _ in range(10)]
        moved.append(max(p) - min(p))
    return np.array(moved)


def _saturated(_: np.random.Generator, __: int, *, runs: int) -> Float[np.ndarray, " m"]:
    return np.array([saturation(runs)])


# the lines


def _intervals() -> list[Line]:
    subject = "Interval of an AUC"
    found = [
        Line(
            subject=subject,
            what=f"coverage, {runs} runs, AUC {area}",
            low=0.94,
            high=0.98,
            cells=tuple(
                _covering(Plan(runs=Runs(n=runs, shared=shared), area=area, shape=shape), f"{shape}, {shared:g}")
                for shape in SHAPES
                for shared in (0.0, 0.5)
            ),
        )
        for runs in (16, 75, 300)
        for area in (0.6, 0.76, 0.92, 0.99)
    ]
    found += [
        Line(
            subject=subject,
            what=f"mean width, {runs} runs, AUC {area}",
            low=-np.inf,
            high=most,
            cells=(
                Cell(
                    name=f"width {runs} {area}",
                    now=partial(_width, plan=Plan(runs=Runs(n=runs), area=area)),
                    before=partial(_width_before, plan=Plan(runs=Runs(n=runs), area=area)),
                ),
            ),
        )
        for runs, area, most in ((16, 0.92, 0.23), (75, 0.92, 0.09), (75, 0.993, 0.04))
    ]
    found.append(
        Line(
            subject=subject,
            what="perfect separation, 16, 75, 300 runs: lower end minus 0.025^(1/n)",
            low=0.0,
            high=0.0,
            cells=tuple(
                Cell(
                    name=f"separated {runs}",
                    now=partial(_inexact, runs=runs),
                    before=partial(_inexact_before, runs=runs),
                    part=0.05,
                )
                for runs in (16, 75, 300)
            ),
        )
    )
    found += [
        Line(
            subject=subject,
            what=f"coverage, {words}, 16 and 75 runs, AUC 0.76, 0.92, 0.99",
            low=0.93,
            high=0.99,
            cells=tuple(
                _covering(
                    Plan(
                        runs=Runs(n=runs, n_glasses=n_glasses, n_liquids=n_liquids, shared=shared), area=area, grid=grid
                    ),
                    f"{words}, {runs}, {area}",
                )
                for runs in (16, 75)
                for area in (0.76, 0.92, 0.99)
            ),
        )
        for words, n_glasses, n_liquids, shared, grid in (
            ("3 glasses and 2 liquids a run, correlation 0.5", 3, 2, 0.5, 0.0),
            ("10 glasses and 10 liquids a run, correlation 0.8", 10, 10, 0.8, 0.0),
            ("scores rounded to a standard deviation", 1, 1, 0.0, 1.0),
            ("3 glasses and 2 liquids a run, correlation 0.5, rounded", 3, 2, 0.5, 1.0),
        )
    ]
    found.append(
        Line(
            subject=subject,
            what="chance called more, one-sided .05, 16 and 75 runs",
            low=0.02,
            high=0.07,
            cells=tuple(
                Cell(
                    name=f"chance {runs} {shape} {shared}",
                    now=partial(_above_chance, plan=Plan(runs=Runs(n=runs, shared=shared), area=0.5, shape=shape)),
                )
                for runs in (16, 75)
                for shape in SHAPES
                for shared in (0.0, 0.5)
            ),
        )
    )
    return found


def _covering(plan: Plan, name: str) -> Cell:
    now, before = partial(_covers, plan=plan), partial(_covered_before, plan=plan)
    return Cell(name=f"coverage {plan.runs.n} {plan.area} {name}", now=now, before=before)


def _differences() -> list[Line]:
    subject = "Difference of two AUC"

    def comparing(two: Two, name: str) -> Cell:
        return Cell(name=name, now=partial(_better, two=two), before=partial(_better_before, two=two))

    def equal(what: str, runs: Runs, area: float, **given: object) -> Line:
        two = Two(runs=runs, areas=(area, area), **given)  # type: ignore[arg-type]
        return Line(subject=subject, what=what, low=0.03, high=0.07, cells=(comparing(two, what),))

    found = [
        equal(f"equal ones called more, {runs} runs, AUC {area}", Runs(n=runs, shared=0.3), area)
        for runs, area in ((16, 0.5), (16, 0.8), (75, 0.5), (75, 0.8), (75, 0.95))
    ]
    several = Runs(n=16, n_glasses=3, n_liquids=2, shared=0.5)
    found += [
        equal("the same, glasses 2 and 1 wide, 16 runs, AUC 0.8", Runs(n=16), 0.8, widths=(2.0, 1.0)),
        equal("the same, glasses 2 and 1 wide, 75 runs, AUC 0.8", Runs(n=75), 0.8, widths=(2.0, 1.0)),
        equal("the same, glasses 2 and 1 wide, 75 runs, AUC 0.95", Runs(n=75), 0.95, widths=(2.0, 1.0)),
        equal("the same, 3 glasses and 2 liquids a run, 16 runs, AUC 0.8", several, 0.8),
        equal("the same, scores rounded to a standard deviation, 16 runs, AUC 0.8", Runs(n=16), 0.8, grid=1.0),
    ]
    found.append(
        Line(
            subject=subject,
            what="power, 16 runs, AUC 0.85 against 0.50",
            low=0.75,
            high=np.inf,
            cells=(comparing(Two(runs=Runs(n=16), areas=(0.85, 0.5), alike=0.0), "power 16"),),
        )
    )
    found.append(
        Line(
            subject=subject,
            what="worse by 0.05 called no worse, 16 and 75 runs",
            low=-np.inf,
            high=0.05,
            cells=tuple(
                Cell(
                    name=f"no worse {runs} {area}",
                    now=partial(_no_worse, two=Two(runs=Runs(n=runs), areas=(area, area - 0.05))),
                )
                for runs in (16, 75)
                for area in (0.7, 0.9, 0.99)
            ),
        )
    )
    return found


def _additions() -> list[Line]:
    subject = "What adds to the energy"
    equal = Runs(n=75)

    def asking(what: str, must: tuple[float, float], answer: str, plans: Sequence[tuple[str, Beside]]) -> Line:
        before = {"shown": "more", "absent": "only"}[answer]
        cells = tuple(
            Cell(
                name=f"{what} {name}",
                now=partial(_says, beside=beside, answer=answer),
                before=partial(_says_before, beside=beside, answer=before),
                part=_SOME,
            )
            for name, beside in plans
        )
        return Line(subject=subject, what=what, low=must[0], high=must[1], cells=cells)

    def copies(runs: Runs, kind: str, width: float = 1.0, grid: float = 0.0) -> list[tuple[str, Beside]]:
        return [
            (f"d' {apart}", Beside(runs=runs, apart=apart, kind=kind, width=width, grid=grid))
            for apart in (0.0, 1.9, 3.0, 3.5)
            if not (apart == 0 and kind == "best" and width == 1)
        ]

    more = "called more"
    planted = Beside(runs=equal, apart=0.0, beyond=0.4)
    several = Runs(n=25, n_glasses=3, n_liquids=2, shared=0.5)
    found = [
        asking("power at equal energy, 75 runs, true AUC 0.611", (0.7, np.inf), "shown", [("", planted)]),
        asking(f"noise at equal energy {more}, 75 runs", (0.02, 0.06), "shown", [("", Beside(runs=equal, apart=0.0))]),
        asking("absent at equal energy though 0.611, 75 runs", (-np.inf, 0.05), "absent", [("", planted)]),
        asking(
            "absent at energy d' 1.9 though 0.611 beside it, 75 runs",
            (-np.inf, 0.05),
            "absent",
            [("", Beside(runs=equal, apart=1.9, beyond=0.4))],
        ),
    ]
    for runs in (16, 75):
        for kind in ("noisy", "bent"):
            what = f"{kind} copy of the energy {more}, {runs} runs, d' 0 to 3.5"
            found.append(asking(what, (-np.inf, 0.07), "shown", copies(Runs(n=runs), kind)))
        what = f"best function of an energy with glasses half as wide {more}, {runs} runs"
        found.append(asking(what, (-np.inf, 0.07), "shown", copies(Runs(n=runs), "best", 0.5)))
    found += [
        asking(
            f"bent copy {more}, correlation 0.5 within 75 runs",
            (-np.inf, 0.08),
            "shown",
            copies(Runs(n=75, shared=0.5), "bent"),
        ),
        asking(
            f"bent copy {more}, 3 glasses and 2 liquids in 25 runs",
            (-np.inf, 0.08),
            "shown",
            copies(several, "bent"),
        ),
        asking(
            f"noisy copy rounded to a standard deviation {more}, 75 runs",
            (-np.inf, 0.08),
            "shown",
            copies(Runs(n=75), "noisy", grid=1.0),
        ),
    ]
    again = partial(_dealt_again, beside=planted)
    before = partial(_dealt_again_before, beside=planted)
    found.append(
        Line(
            subject=subject,
            what="dealt again: how far p moves",
            low=0.0,
            high=0.0,
            cells=(Cell(name="again", now=again, before=before, part=0.05),),
        )
    )
    return found


def _limits() -> list[Line]:
    subject = "What can be decided at all"
    found = [
        Line(
            subject=subject,
            what=f"AUC of the energy above which it is saturated, {runs} runs",
            low=limit - allowed,
            high=limit + allowed,
            cells=(Cell(name=f"saturation {runs}", now=partial(_saturated, runs=runs)),),
        )
        for runs, limit, allowed in ((16, 0.84, 0.01), (75, 0.985, 0.003), (300, 0.995, 0.003))
    ]
    found.append(
        Line(
            subject=subject,
            what="power of a perfect network against an energy of that AUC, 16 and 75 runs",
            low=0.75,
            high=0.85,
            cells=tuple(
                Cell(
                    name=f"perfect {runs}",
                    now=partial(_better, two=Two(runs=Runs(n=runs), areas=(1.0, saturation(runs)), alike=0.0)),
                )
                for runs in (16, 75)
            ),
        )
    )
    found += [
        Line(
            subject=subject,
            what=f"absent rightly said {at}, {runs} runs",
            low=low,
            high=high,
            cells=(
                Cell(
                    name=f"absent {runs} {apart}",
                    now=partial(_says, beside=Beside(runs=Runs(n=runs), apart=apart), answer="absent"),
                    before=partial(_says_before, beside=Beside(runs=Runs(n=runs), apart=apart), answer="only"),
                    part=part,
                ),
            ),
        )
        for runs, apart, at, low, high, part in (
            (75, 0.0, "at equal energy", 0.15, 0.27, _SOME),
            (300, 0.0, "at equal energy", 0.68, 0.78, _SOME),
            (413, 0.0, "at equal energy", 0.77, 0.87, _SOME),
            (600, 0.0, "at equal energy", 0.91, 0.97, _SOME),
            (785, 1.9, "at d' 1.9", 0.75, 0.9, _SOME / 2),
        )
    ]
    return found
