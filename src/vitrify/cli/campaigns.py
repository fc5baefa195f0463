"""The commands that send a study to a queue, and say how far it is."""

__all__ = ["COMMANDS"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from vitrify.cli.words import Command, Common, Progressing, Simulating, answer, parse, study_words

if TYPE_CHECKING:
    from vitrify.submitted import Job, Submitted

_FLAGS = ("walltime", "lead", "partition", "gpu_partition", "mem_gb", "max_retries", "sbatch", "setup")


def _submit(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Submit(Simulating):
        executor: Literal["local", "slurm"] = "local"
        """Processes of this machine, or jobs of a Slurm."""
        walltime: float = 720.0
        """Minutes of a job."""
        lead: float = 120.0
        """Seconds before its limit at which a job stops and asks for another turn."""
        partition: str | None = None
        """Partition of the jobs."""
        gpu_partition: str | None = None
        """Partition of the jobs that need a graphics card."""
        workers: int | None = None
        """Cores of a job; by default one on Slurm, and all here."""
        mem_gb: float | None = None
        """Memory of a job."""
        max_retries: int = 3
        """Attempts in a row that may bring nothing before a job fails."""
        sbatch: tuple[str, ...] = ()
        """More options of sbatch, KEY=VALUE each."""
        setup: tuple[str, ...] = ()
        """Lines of shell before a job begins."""
        run_min: float | None = None
        """Minutes of a core for one run; by default measured."""
        training_min: float | None = None
        """Minutes of a core for one network; by default measured."""
        analyses: tuple[str, ...] = ()
        """Analyses to make at the end."""
        dry_run: bool = False
        """Show the jobs and the sbatch files, and submit nothing."""

    chosen, given = study_words(words, "submit", "Do a study as jobs, here or on a Slurm.", Submit)
    from vitrify import campaign, parallel, watch
    from vitrify.submitted import Queue

    cpus = given.workers or (parallel.n_cores() if given.executor == "local" else 1)
    flags = {name: getattr(given, name) for name in _FLAGS}
    queue = Queue.model_validate({"executor": given.executor, "cpus": cpus, **flags})
    with Progressing() as progress:
        sent, scripts = campaign.submit(
            chosen,
            given.out,
            queue,
            analyses=given.analyses,
            run_min=given.run_min,
            training_min=given.training_min,
            dry_run=given.dry_run,
            progress=progress,
        )
    found = {"jobs": [job.model_dump(mode="json") for job in sent.jobs], "scripts": scripts}
    if given.dry_run:
        if not given.json:
            _show_jobs(sent)
        answer(given, found, "\n".join(scripts) or "each job would be a process of this machine")
    elif given.executor == "slurm":
        ids = dict.fromkeys(str(job.id).partition("_")[0] for job in sent.jobs)
        said = f"{len(sent.jobs)} jobs in the queue: {', '.join(ids)}\nhow far they are: vitrify status {given.out}"
        answer(given, found, said)
    else:
        _told(watch.status(given.out), given)


def _show_jobs(sent: "Submitted") -> None:
    table = Table(title=f"{sent.study['name']}: {len(sent.jobs)} jobs of at most {sent.queue.walltime:g} min")
    for heading in ("job", "work", "cores", "expected"):
        table.add_column(heading, justify="left" if heading in ("job", "work") else "right", no_wrap=True)
    for job in sent.jobs:
        table.add_row(job.name, _work(job), str(sent.queue.cpus) + " + GPU" * job.gpu, _clock(job.expected_s))
    Console().print(table)


def _work(job: "Job") -> str:
    if job.runs:
        return " and ".join(f"{len(runs)} runs{' cooled fast' * (name == 'fast')}" for name, runs in job.runs.items())
    if job.trainings:
        return f"{len(job.trainings)} classifiers"
    return ", ".join(["results and report", *job.analyses])


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, kw_only=True)
class _Folder(Common):
    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the results."""


def _status(words: list[str]) -> None:
    given = parse(_Folder, words, "status", "Say how far the campaign of a folder is.")
    from vitrify import watch

    _told(watch.status(given.folder), given)


def _told(found: dict[str, Any], given: Any) -> None:
    lines = [
        f"{name}: {one['done']} of {one['total']} done" + (f", {one['begun']} begun" if one["begun"] else "")
        for name, one in found["stages"].items()
    ]
    lines.append("jobs: " + (", ".join(f"{n} {state}" for state, n in found["jobs"].items() if n) or "none"))
    left = found["left"]
    wall = "" if left["wall_s"] is None else f", {_clock(left['wall_s'])} on the cores now at work"
    lines.append(f"left: {_clock(3600 * left['core_h'])} of a core{wall}")
    lines.append(f"disk: {found['disk_gb']:.3g} GB used, {found['free_gb']:.3g} GB free")
    lines += _reasons(found["failed"])
    answer(given, found, "\n".join(lines))


def _reasons(failed: Sequence[dict[str, Any]]) -> list[str]:
    """Return the reasons of failed jobs, the same ones together."""
    alike: dict[str, list[str]] = {}
    for one in failed:
        alike.setdefault(str(one["why"]), []).append(one["job"])
    return [f"failed: {', '.join(names[:3])}{' ...' * (len(names) > 3)}: {why}" for why, names in alike.items()]


def _cancel(words: list[str]) -> None:
    given = parse(_Folder, words, "cancel", "End the campaign of a folder; what is done is kept.")
    from vitrify import watch

    n = watch.cancel(given.folder)
    answer(given, {"cancelled": n}, f"{n} jobs cancelled; what they did is kept: vitrify submit goes on with it")


COMMANDS = {
    "submit": Command(
        _submit, "STUDY.toml [--executor slurm]", "a study as jobs of a chosen walltime, here or on a Slurm; --dry-run"
    ),
    "status": Command(_status, "DIR", "how far a submitted study is, what failed and why, and what is left"),
    "cancel": Command(_cancel, "DIR", "end a submitted study; what is done is kept"),
}
"""By name."""
