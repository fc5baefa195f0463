"""What was submitted: the campaign of a folder, its jobs, and every attempt at them, as files.

A campaign is what ``campaign.json`` in the folder of a study says, and a file for each job beside it::

    campaign.json                  the study, how it was submitted, and its jobs: written by the one that submits
    campaign/<job>.json            attempts of a job: written by the job itself, whole or not at all
    campaign/log/                  what the jobs printed

The study is kept as it was validated, together with the ensembles and classifiers it asks for, so that those who only
watch need neither the networks nor PyTorch.
"""

__all__ = ["Attempt", "Ended", "Ensemble", "Job", "Queue", "Submitted", "attempts", "keep", "read", "write"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from vitrify import store
from vitrify.simulate import Simulate

Ended = Literal["done", "limit", "retry", "failed", "stopped"]
Ensemble = Literal["slow", "fast"]
"""The study's own ensemble, and the one of its ``equal_energy``."""


class Queue(BaseModel):
    """How a study is submitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["local", "slurm"] = Field("local", description="Processes of this machine, or jobs of a Slurm")
    walltime: PositiveFloat = Field(720.0, description="Minutes of a job; Slurm counts whole ones")
    lead: PositiveFloat = Field(120.0, description="Seconds before its limit at which a job stops and asks for more")
    partition: str | None = Field(None, description="Partition of the jobs")
    gpu_partition: str | None = Field(None, description="Partition of jobs on a graphics card")
    cpus: PositiveInt = Field(1, description="Cores of a job")
    mem_gb: PositiveFloat | None = Field(None, description="Memory of a job")
    max_retries: NonNegativeInt = Field(3, description="Attempts that may fail to bring anything before a job fails")
    sbatch: tuple[str, ...] = Field((), description="More options of sbatch, KEY=VALUE each")
    setup: tuple[str, ...] = Field((), description="Lines of shell before a job begins")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.lead >= 60 * self.walltime:
            raise ValueError(
                f"lead must be below the walltime, {60 * self.walltime:g} s; got {self.lead:g} s: give a longer "
                "walltime or a shorter lead"
            )
        if self.executor == "slurm" and self.walltime != int(self.walltime):
            raise ValueError(f"walltime must be whole minutes on Slurm; got {self.walltime:g}")
        wrong = [word for word in self.sbatch if not word.partition("=")[2]]
        if wrong:
            raise ValueError(f"sbatch must be words KEY=VALUE, for example account=glass; got {wrong[0]!r}")
        return self


class Job(BaseModel):
    """A part of a study.

    Args:
        name: Unique in its folder.
        stage: What is done.
        runs: Of ``simulate``: the runs, of the study's own ensemble and of its fast one.
        trainings: Of ``train``: folders of the classifiers.
        analyses: Of ``report``: analyses to make.
        gpu: Whether it needs a graphics card.
        expected_s: Seconds that its queue should see, from the rates that it was packed with.
        id: Number the queue knows it by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stage: Literal["simulate", "train", "report"]
    runs: dict[Ensemble, tuple[int, ...]] = {}
    trainings: tuple[str, ...] = ()
    analyses: tuple[str, ...] = ()
    gpu: bool = False
    expected_s: float = 0.0
    id: str | None = None


class Submitted(BaseModel):
    """A campaign as ``campaign.json`` holds it.

    Args:
        study: Settings of the study; :class:`vitrify.settings.Study` reads them.
        seed: Of the study.
        ensembles: What it simulates.
        classifiers: Folders of all it trains; none where it cannot classify.
        queue: How it was submitted.
        jobs: Its jobs.
        round: How often the folder was submitted.
        submitted: Seconds since 1970.
        runner: Of a local campaign, the process that runs it, as :func:`vitrify.log.process` names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: dict[str, Any]
    seed: int
    ensembles: dict[Ensemble, Simulate]
    classifiers: tuple[str, ...]
    queue: Queue
    jobs: tuple[Job, ...]
    round: PositiveInt = 1
    submitted: float
    runner: str | None = None


class Attempt(BaseModel):
    """One try at a job.

    Args:
        began: Seconds since 1970.
        mark: What the store held of the job's work when it began.
        host: Machine.
        id: Number the queue knew it by.
        ended: Seconds since 1970; ``None`` while it runs, and for ever if it was killed.
        how: ``limit``: its time was up, and it goes on; ``retry``: it failed, and is tried again; ``stopped``: it was
            told to end.
        reason: Why it failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    began: float
    mark: str
    host: str
    id: str | None = None
    ended: float | None = None
    how: Ended | None = None
    reason: str | None = None


def read(out: Path) -> Submitted:
    """Return the campaign of a folder.

    Raises:
        ValueError: It holds none.
        store.DamagedFileError: The file cannot be read.
    """
    known = store.read_json(out / "campaign.json")
    if known is None:
        raise ValueError(f"{out} holds no campaign.json: submit a study there first, vitrify submit STUDY.toml --out")
    return Submitted.model_validate(known)


def write(out: Path, campaign: Submitted) -> None:
    """Replace the campaign of a folder whole; the caller holds ``out/campaign``."""
    store.write_json(out / "campaign.json", campaign.model_dump(mode="json"))


def attempts(out: Path, name: str) -> list[Attempt]:
    """Return the attempts at a job, the first one first."""
    known = store.read_json(out / "campaign" / f"{name}.json")
    return [] if known is None else [Attempt.model_validate(one) for one in known]


def keep(out: Path, name: str, tried: Sequence[Attempt]) -> None:
    """Replace the attempts at a job whole; only the job itself does."""
    store.write_json(out / "campaign" / f"{name}.json", [one.model_dump(mode="json") for one in tried])
