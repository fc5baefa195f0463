"""The reference benchmark: run and analyse the shipped study ``benchmark``, and write its tables into the docs.

A second call only writes. Interrupted, the same command goes on. ``--only folds`` needs no more than the slow cooling.
What every sentence of the page follows from is kept beside it, in ``docs/benchmark.json``.
"""

__all__ = ["folded", "folded_claims", "kept", "table", "words", "write"]

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrify import analyses, conclusions, energy, parallel, study, workbench
from vitrify.claims import Claim, judge
from vitrify.cli.words import Progressing
from vitrify.report import Section, name_in_text, name_of_model, with_interval
from vitrify.scores import Difference
from vitrify.settings import Study, named

_DOCS = Path(__file__).parents[1] / "docs"
_MARK, _FOLDS_MARK = "<!-- table -->", "<!-- folds -->"
_PARTS = ("tables", "folds")
_ANALYSES = tuple(analyses.ANALYSES)
_LONGEST = 40  # rows; a longer table is in the report
_FOLDED = ((140, 155, 160), (0,))  # records whose runs are all tested, as families of questions; 0 is the equal energy
_KINDS = ("cnn", "mpnn", "deepset", "shallow", "logistic")
_N_FOLDS = 5
_COLUMNS = ("model", "accuracy", "AUC", "AUC - energy's", "AUC at equal energy", "n", "runs", "CPU s")


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of one table, a classifier each."""
    return _table(
        _COLUMNS,
        [
            (
                name_of_model(row["model"]),
                *(with_interval(row[score]) for score in ("accuracy", "auc")),
                *_beside(row),
                str(row["n_test"]),
                str(row["n_test_runs"]),
                f"{row['cpu_s']:.1f}",
            )
            for row in rows
        ],
    )


def _beside(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return how far a row is above the energy, and its AUC at equal energy, in words."""
    apart, more = row["auc_minus_energy"], row["auc_at_equal_energy"]
    shifted = None if more is None else {name: more[name] + 0.5 for name in ("value", "low", "high")}
    return "" if apart is None else with_interval(apart, "+.3f"), "" if shifted is None else with_interval(shifted)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)]


def folded_claims(found: Sequence[Mapping[str, Any]], margin: float) -> list[Claim]:
    """Return whether networks see more than the energy where every run was tested once; one family of questions.

    Args:
        found: For each task ``where`` it is and the pooled ``rows`` of its cross-validation.
        margin: AUC above one half, at equal energy, that counts as nothing.
    """
    return judge(
        "every run tested once",
        [
            energy.asked(
                Difference(**row["auc_at_equal_energy"]),
                who=name_in_text(row["model"]),
                where=one["where"],
                n_runs=row["n_runs"],
                margin=margin,
            )
            for one in found
            for row in one["rows"]
            if row["auc_at_equal_energy"] is not None
        ],
    )


def folded(families: Sequence[Sequence[Mapping[str, Any]]], margin: float) -> list[str]:
    """Return the lines about runs that are all tested: what is concluded, and a table for each task.

    Args:
        families: Families of tasks, as `folded_claims` takes them.
        margin: AUC above one half, at equal energy, that counts as nothing.
    """
    lines: list[str] = []
    for found in families:
        claims = folded_claims(found, margin)
        lines += [*(f"- {claim.sentence}" for claim in claims), ""]
        answers = {(claim.where, claim.yes.removesuffix(" sees more than the energy")): claim for claim in claims}
        for one in found:
            rows = []
            for row in one["rows"]:
                claim = answers.get((one["where"], name_in_text(row["model"])))
                judged = ("", "") if claim is None else (f"{claim.p_corrected:.2g}", claim.answer)
                scores = (
                    f"{row[score]:.3f} [{row[score + '_low']:.3f}, {row[score + '_high']:.3f}]"
                    for score in ("accuracy", "auc")
                )
                words = (
                    name_of_model(row["model"]),
                    *scores,
                    *_beside(row),
                    *judged,
                    str(row["n_test"]),
                    str(row["n_runs"]),
                )
                rows.append(words)
            columns = (*_COLUMNS[:5], "p, corrected", "more than the energy", *_COLUMNS[5:7])
            lines += [f"### {one['where']}", "", *_table(columns, rows), ""]
    return lines


def kept(results: Mapping[str, Any], families: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what every sentence of the page follows from: the results without what only figures need.

    Args:
        results: The contents of ``results.json``.
        families: As of `folded`.
    """
    names = ("study", "classification", "equal_energy", "minimiser", "reference", "tg", "transition")
    said = ("claims", "summary", "warnings", "conclusions", "saturated", "chosen_network")
    curve = {"T": results["cooling_curve"]["T"], "n_runs": results["cooling_curve"]["n_runs"]}
    return {name: results[name] for name in (*names, *said)} | {"cooling_curve": curve, "folds": families}


def words(section: Section) -> list[str]:
    """Return the lines of an analysis: what it supports, and its tables."""
    lines = [f"## {section.title}", "", *(f"- {sentence}" for sentence in section.sentences), ""]
    for one in section.tables:
        if len(one.rows) <= _LONGEST:
            lines += [f"**{one.title}**", "", *_table(one.columns, one.rows), ""]
    return lines


def write(
    results: Mapping[str, Any],
    families: Sequence[Sequence[Mapping[str, Any]]],
    out: Path,
    docs: Path = _DOCS,
    *,
    sections: Sequence[Section] = (),
) -> None:
    """Write ``docs/benchmark.md`` below its marks, ``docs/benchmark.json`` beside it, and the figure.

    Args:
        results: The contents of ``results.json``.
        families: Cross-validations, as of `folded`.
        out: Folder of the study.
        docs: Folder of the documentation.
        sections: Its analyses.
    """
    lines = ["", "## In short", "", *(f"- {sentence}" for sentence in results["summary"]), ""]
    lines += ["## What may be concluded", "", *(f"- {sentence}" for sentence in results["conclusions"]), ""]
    for name in ("inherent", "thermal"):
        what = conclusions.SHOWN_AS[name]
        rows = [row for row in results["classification"] if row["input"] == name]
        for k in sorted({row["test_k"] for row in rows if not row["control"]}):
            chosen = [row for row in rows if not row["control"] and row["train_k"] == row["test_k"] == k]
            lines += [f"## {what}, liquid at T = {chosen[0]['test_T']:.3f}", "", *table(chosen), ""]
        equal = [row for row in results["equal_energy"]["rows"] if row["input"] == name]
        lines += [f"## {what}, equal energy", "", *table(equal), ""]
        same = [row for row in rows if row["control"] and row["train_k"] == row["glass_k"]]
        lines += [f"## {what}, one half of the glasses against the other", "", *table(same), ""]
    lines += [line for section in sections for line in words(section)]
    margin = results["study"]["classify"]["margin"]
    text = "\n".join(["", "## Every run tested once", "", *folded(families, margin)])
    page = docs / "benchmark.md"
    before = page.read_text("utf-8").partition(_MARK)[0]
    page.write_text(f"{before}{_MARK}\n" + "\n".join(lines) + f"\n{_FOLDS_MARK}\n{text}", encoding="utf-8")
    everything = json.dumps(kept(results, families), separators=(",", ":"))
    (docs / "benchmark.json").write_text(everything.replace('},{"', '},\n{"') + "\n", encoding="utf-8")
    shutil.copyfile(out / "figures" / "progress.png", docs / "img" / "benchmark.png")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmark"), help="folder of the study")
    parser.add_argument("--workers", type=int, default=parallel.n_cores(), help="processes")
    parser.add_argument("--only", choices=_PARTS, help="compute only this part, and write nothing")
    given = parser.parse_args()
    chosen = named("benchmark")
    with Progressing() as progress:
        if given.only != "folds":
            analyses.run(_ANALYSES, chosen, given.out, n_workers=given.workers, progress=progress)
        families = None if given.only == "tables" else _folds(chosen, given.out, given.workers, progress)
        if given.only is None:
            results = study.run(chosen, given.out, n_workers=given.workers, progress=progress)
            write(results, families or [], given.out, sections=analyses.sections(chosen, given.out))
            print((_DOCS / "benchmark.md").read_text("utf-8").partition(_MARK)[2])


def _folds(chosen: Study, out: Path, n_workers: int, progress: Any) -> list[list[dict[str, Any]]]:
    """Return the pooled rows of the cross-validations, by family and task."""
    families = []
    for family in _FOLDED:
        found = []
        for k in family:
            task = workbench.Task(input="inherent", k=k)
            one = workbench.cross_validate(
                chosen, out, task, kinds=_KINDS, n_folds=_N_FOLDS, n_workers=n_workers, progress=progress
            )
            rows = [row for row in one["table"] if row["fold"] == "pooled"]
            found.append({"where": workbench.where(chosen, task), "rows": rows})
        families.append(found)
    return families


if __name__ == "__main__":
    sys.exit(_main())
