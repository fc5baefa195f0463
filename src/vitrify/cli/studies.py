"""The commands that cool, run and report whole studies."""

__all__ = ["COMMANDS"]

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from vitrify.cli.words import Command, Common, Progressing, Simulating, answer, parse, study_words, workers

if TYPE_CHECKING:
    from vitrify.plan import Amount, Plan
    from vitrify.settings import Study


def _quickstart(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Quickstart(Simulating):
        out: Path = Path("quickstart")
        """Folder of the results; created, and continued if it is there."""

    given = parse(Quickstart, words, "quickstart", "Cool 64 small liquids into glasses, learn, locate, report.")
    from vitrify.settings import quickstart  # PyTorch takes a second: not before the words are known to be right

    _investigate(given.on_device(quickstart()), given.out, given)


def _run(words: list[str]) -> None:
    chosen, given = study_words(words, "run", "Run a study: cool, learn, locate, report.")
    _investigate(chosen, given.out, given)


def _plan(words: list[str]) -> None:
    chosen, given = study_words(words, "plan", "Say what a study will cost on this machine, before it is run.")
    from vitrify import plan

    with Progressing() as progress:
        planned = plan.plan(chosen, given.out, n_workers=workers(given), progress=progress)
    if given.json:
        print(json.dumps(asdict(planned), indent=1, allow_nan=False))
    else:
        _show_plan(chosen, planned)


def _show_plan(chosen: "Study", planned: "Plan") -> None:
    table = Table(title=f"{chosen.name}: {planned.n_runs} runs and {planned.n_trainings} classifiers to go")
    for heading in ("stage", "core-hours", "wall time"):
        table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
    for name, stage in planned.stages.items():
        if stage is None:
            table.add_row(name, "unknown", "unknown")
        else:
            table.add_row(name, _range(stage.core_h, _hours), _range(stage.wall_s, _duration))
    table.add_section()
    table.add_row(
        f"in all, {planned.n_workers} workers", _range(planned.core_h, _hours), _range(planned.wall_s, _duration)
    )
    console = Console()
    console.print(table, highlight=False)
    lines = [
        f"GPU-hours: {_range(planned.gpu_h, _hours)}",
        f"disk: {planned.disk_gb:.3g} GB to be written, {planned.free_gb:.3g} GB free",
        f"calibrated in {planned.calibration_s:.0f} s",
        *planned.notes,
    ]
    print("\n".join(f"- {line}" for line in lines))


def _range(amount: "Amount | None", write: Callable[[float], str]) -> str:
    """Return an estimate, with its range where that is more than a tenth of it on either side."""
    if amount is None:
        return "unknown"
    if max(amount.high - amount.value, amount.value - amount.low) <= 0.1 * amount.value:
        return write(amount.value)
    return f"{write(amount.value)} ({write(amount.low)} to {write(amount.high)})"


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 100 else f"{hours:.0f}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _simulate(words: list[str]) -> None:
    chosen, given = study_words(words, "simulate", "Cool and minimise the ensemble of a study.")
    from vitrify import study

    with Progressing() as progress:
        spent = study.simulate(chosen, given.out, n_workers=workers(given), progress=progress)
    found = {"data": str(given.out / "data"), "n_runs": chosen.simulate.n_runs, **spent}
    answer(given, found, f"{chosen.simulate.n_runs} runs in {given.out / 'data'}")


def _pair(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pair(Simulating):
        slow: Annotated[str, tyro.conf.Positional]
        """Study of the slow cooling, whose liquid is wanted."""
        fast: Annotated[str, tyro.conf.Positional]
        """Study of the fast cooling, whose glass is wanted."""
        out: Path = Path("pair")
        """Folder of the results; created, and continued if it is there. Runs of either study in it are used."""
        tolerance: float = 0.001
        """Largest difference of the mean inherent-structure energies per particle, unshifted."""

    given = parse(Pair, words, "pair", "Find a liquid and a glass of equal inherent-structure energy.")
    from vitrify import study
    from vitrify.settings import named

    slow, fast = (given.on_device(named(name)) for name in (given.slow, given.fast))
    with Progressing() as progress:
        found = study.pair(
            slow, fast, given.out, tolerance=given.tolerance, n_workers=workers(given), progress=progress
        )
    lines = []
    for title, which in (("equal energy", "pair"), ("nearest to the published temperatures", "published")):
        one = found[which]
        lines += [
            f"- {title}: liquid k = {one['k_slow']} (T = {one['T_slow']:.4f}) of {slow.name}, "
            f"{one['mean_slow']:.4f} ± {one['se_slow']:.4f}; glass k = {one['k_fast']} (T = {one['T_fast']:.4f}) of "
            f"{fast.name}, {one['mean_fast']:.4f} ± {one['se_fast']:.4f}; "
            f"difference {one['difference']:+.4f} ± {one['se_difference']:.4f}"
        ]
    lines.append("mean e_IS per particle, unshifted, ± standard error")
    answer(given, found, "\n".join([*lines, f"numbers: {given.out / 'pair.json'}"]))


def _export_coordinates(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Export(Simulating):
        k: int
        """Record, counted from 1, the hottest of a cooling."""
        to: Path
        """Folder of the files; created. A file in it that holds something else is never replaced."""
        input: Literal["thermal", "inherent"] = "thermal"
        """Configurations as they were, or their inherent structures."""
        format: Literal["text", "extxyz", "dump"] = "text"
        """Columns "type x y [z]", extended XYZ, or a LAMMPS dump."""

    says = "Write the configuration of one record of every run to a file of its own."
    chosen, given = study_words(words, "export-coordinates", says, Export, k=tyro.MISSING, to=tyro.MISSING)
    from vitrify import coordinates

    with Progressing() as progress:
        found = coordinates.export(
            chosen, given.out, given.to, k=given.k, shown=given.input, form=given.format, progress=progress
        )
    there = len(found.files) - found.n_written
    lines = [
        f"{found.n_written} files written to {found.folder}: {found.input}, T = {found.T:.4g} (k = {found.k})",
        *([f"{there} were there already, with the same content"] if there else []),
    ]
    answer(given, asdict(found), "\n".join(lines))


def _report(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Report(Common):
        out: Annotated[Path, tyro.conf.Positional]
        """Folder of a finished study."""

    given = parse(Report, words, "report", "Write the report page of a finished study again.")
    from vitrify import analyses

    with Progressing() as progress:
        results = analyses.report_again(given.out, n_workers=workers(given), progress=progress)
    _summary(results, given.out, given)


def _investigate(chosen: "Study", out: Path, given: Any) -> None:
    from vitrify import analyses, study

    with Progressing() as progress:
        results = study.run(chosen, out, sections=analyses.sections, n_workers=workers(given), progress=progress)
    _summary(results, out, given)


def _summary(results: dict[str, Any], out: Path, given: Any) -> None:
    page = out / "report.html"
    lines = [*results["summary"], *(f"Warning: {one}" for one in results["warnings"])]
    lines += [f"- {sentence}" for sentence in results["conclusions"]]
    answer(given, results, "\n".join([*lines, f"report: {page}", f"numbers: {out / 'results.json'}"]))


COMMANDS = {
    "quickstart": Command(_quickstart, "[--out DIR]", "the whole job on 64 small coolings, in minutes"),
    "run": Command(
        _run,
        "STUDY.toml [--out DIR]",
        "the same for your own study; any setting can be overridden, for example --simulate.n-runs 128",
    ),
    "plan": Command(_plan, "STUDY.toml [--out DIR]", "what that will cost on this machine, from a brief calibration"),
    "simulate": Command(_simulate, "STUDY.toml [--out DIR]", "only cool and minimise"),
    "pair": Command(_pair, "SLOW.toml FAST.toml", "the slow one's liquid and the fast one's glass of equal energy"),
    "export-coordinates": Command(
        _export_coordinates, "STUDY.toml --k K --to DIR", "the configurations of one record, a file a run"
    ),
    "report": Command(_report, "DIR", "write the report page of a finished study again"),
}
"""By name."""
