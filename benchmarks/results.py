"""The reference benchmark: run and analyse the shipped study ``benchmark``, and write its tables into the docs.

A second call only writes. Interrupted, the same command goes on. ``--only folds`` needs no more than the slow cooling.
"""

__all__ = ["table", "tested_once", "words", "write", "write_folds"]

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrify import analyses, parallel, study, workbench
from vitrify.cli.words import Progressing
from vitrify.report import Section, name_of_model
from vitrify.scores import corrected
from vitrify.settings import Study, named

_DOCS = Path(__file__).parents[1] / "docs"
_MARK, _FOLDS_MARK = "<!-- table -->", "<!-- folds -->"
_PARTS = ("tables", "folds")
_ANALYSES = tuple(analyses.ANALYSES)
_LONGEST = 40  # rows; a longer table is in the report
_FOLDED = ((140, 155, 160), (0,))  # records whose runs are all tested, as families of questions; 0 is the equal energy
_KINDS = ("cnn", "mpnn", "deepset", "shallow", "logistic")
_N_FOLDS = 5
_SIGNIFICANT = 0.05
_COLUMNS = ("model", "accuracy", "AUC", "AUC - energy's", "p", "p, Holm", "n", "CPU s")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one table, a classifier each."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    for row in rows:
        apart = row["auc_minus_energy"]
        beside = ("", "", "")
        if apart is not None:
            beside = (
                f"{apart['value']:+.3f} {_range(apart, '+.3f')}",
                f"{apart['p']:.2g}",
                f"{apart['p_holm']:.2g}",
            )
        words = (
            name_of_model(row["model"]),
            *(f"{row[score]['value']:.3f} {_range(row[score], '.3f')}" for score in ("accuracy", "auc")),
            *beside,
            str(row["n_test"]),
            f"{row['cpu_s']:.1f}",
        )
        lines.append("| " + " | ".join(words) + " |")
    return lines


def tested_once(found: Sequence[Mapping[str, Any]], T: Mapping[int, float]) -> list[str]:
    """Return the lines of cross-validations which are one family of questions: a table each, and what they support.

    Args:
        found: What `vitrify.workbench.cross_validate` returned, for each record.
        T: Temperature of each record.
    """
    pooled = [(one, [row for row in one["table"] if row["fold"] == "pooled"]) for one in found]
    asked = [row for _, rows in pooled for row in rows if row["auc_minus_energy"] is not None]
    known = iter(corrected([row["auc_minus_energy"] for row in asked]))
    lines: list[str] = []
    for one, rows in pooled:
        where = "equal energy" if one["k"] == 0 else f"k = {one['k']}, T = {T[one['k']]:.3f}"
        lines += [f"### {one['input'].capitalize()}, {where}", "", "| " + " | ".join(_COLUMNS[:-1]) + " |"]
        lines.append("|" + "---|" * len(_COLUMNS[:-1]))
        said: dict[str, list[str]] = {"above": [], "below": []}
        for row in rows:
            apart, beside = row["auc_minus_energy"], ("", "", "")
            if apart is not None:
                apart = next(known)
                assert apart is not None
                beside = (
                    f"{apart['value']:+.3f} {_range(apart, '+.3f')}",
                    *(f"{apart[p]:.2g}" for p in ("p", "p_holm")),
                )
                if apart["p_holm"] < _SIGNIFICANT:
                    said["above" if apart["value"] > 0 else "below"].append(name_of_model(row["model"]))
            scores = (
                f"{row[score]:.3f} [{row[score + '_low']:.3f}, {row[score + '_high']:.3f}]"
                for score in ("accuracy", "auc")
            )
            words = (name_of_model(row["model"]), *scores, *beside, str(row["n_test"]))
            lines.append("| " + " | ".join(words) + " |")
        verdicts = [f"{' and '.join(names)} {place} it" for place, names in said.items() if names]
        n_runs = rows[0]["n_runs"]
        lines += ["", f"Against the energy, {n_runs} runs: {'; '.join(verdicts) or 'none is told from it'}.", ""]
    return lines


def words(section: Section) -> list[str]:
    """Return the lines of an analysis: what it supports, and its tables."""
    lines = [f"## {section.title}", "", *(f"- {sentence}" for sentence in section.sentences), ""]
    for one in section.tables:
        if len(one.rows) <= _LONGEST:
            lines += [f"**{one.title}**", "", "| " + " | ".join(one.columns) + " |", "|" + "---|" * len(one.columns)]
            lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in one.rows] + [""]
    return lines


def write(results: dict[str, Any], out: Path, docs: Path = _DOCS, *, sections: Sequence[Section] = ()) -> None:
    """Write the tables between the marks in ``docs/benchmark.md``, and the figure beside the others.

    Args:
        results: The contents of ``results.json``.
        out: Folder of the study.
        docs: Folder of the documentation.
        sections: Its analyses.
    """
    lines = [""]
    for name in ("inherent", "thermal"):
        rows = [row for row in results["classification"] if row["input"] == name]
        for k in sorted({row["test_k"] for row in rows if not row["control"]}):
            chosen = [row for row in rows if not row["control"] and row["train_k"] == row["test_k"] == k]
            lines += [f"## {name.capitalize()}, k = {k}, T = {chosen[0]['test_T']:.3f}", "", *table(chosen), ""]
        equal = [row for row in results["equal_energy"]["rows"] if row["input"] == name]
        lines += [f"## {name.capitalize()}, equal energy", "", *table(equal), ""]
        same = [row for row in rows if row["control"] and row["train_k"] == row["glass_k"]]
        lines += [f"## {name.capitalize()}, same class", "", *table(same), ""]
    lines += ["## What the numbers support", "", *(f"- {sentence}" for sentence in results["conclusions"]), ""]
    lines += [line for section in sections for line in words(section)]
    page = docs / "benchmark.md"
    before, _, after = page.read_text("utf-8").partition(_MARK)
    _, mark, after = after.partition(_FOLDS_MARK)
    page.write_text(before + _MARK + "\n" + "\n".join(lines) + f"\n{mark}{after}", encoding="utf-8")
    shutil.copyfile(out / "figures" / "progress.png", docs / "img" / "benchmark.png")


def write_folds(lines: Sequence[str], docs: Path = _DOCS) -> None:
    """Write what `tested_once` said after the last mark in ``docs/benchmark.md``."""
    page = docs / "benchmark.md"
    before = page.read_text("utf-8").partition(_FOLDS_MARK)[0]
    text = "\n".join(["", "## Every run tested once", "", *lines])
    page.write_text(f"{before}{_FOLDS_MARK}\n{text}", encoding="utf-8")


def _range(estimate: dict[str, float], form: str) -> str:
    return f"[{estimate['low']:{form}}, {estimate['high']:{form}}]"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmark"), help="folder of the study")
    parser.add_argument("--workers", type=int, default=parallel.n_cores(), help="processes")
    parser.add_argument("--only", choices=_PARTS, help="what is made anew")
    given = parser.parse_args()
    chosen = named("benchmark")
    with Progressing() as progress:
        if given.only != "folds":
            analyses.run(_ANALYSES, chosen, given.out, n_workers=given.workers, progress=progress)
            results = study.run(chosen, given.out, n_workers=given.workers, progress=progress)
            write(results, given.out, sections=analyses.sections(chosen, given.out))
        if given.only != "tables":
            write_folds(_folds(chosen, given.out, given.workers, progress))
    print((_DOCS / "benchmark.md").read_text("utf-8").partition(_MARK)[2])


def _folds(chosen: Study, out: Path, n_workers: int, progress: Any) -> list[str]:
    """Return the lines about the runs that are all tested."""
    lines: list[str] = []
    for family in _FOLDED:
        found = [
            workbench.cross_validate(
                chosen,
                out,
                workbench.Task(input="inherent", k=k),
                kinds=_KINDS,
                n_folds=_N_FOLDS,
                n_workers=n_workers,
                progress=progress,
            )
            for k in family
        ]
        lines += tested_once(found, {k: chosen.simulate.bath.T(k) for k in family if k})
    return lines


if __name__ == "__main__":
    sys.exit(_main())
