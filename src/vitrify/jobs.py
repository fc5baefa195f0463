"""One job of a campaign: a part of a study, done until it is finished or its time is up.

A campaign is what ``campaign.json`` in the folder of a study says, and a file for each job beside it::

    campaign.json                  the study, how it was submitted, and its jobs: written by the one that submits
    campaign/<job>.json            attempts of a job: written by the job itself, whole or not at all
    campaign/log/                  what the jobs printed

A job keeps no state of its own: what is done of its runs and classifiers is in the store, so an attempt that was ended
at any moment is gone on with by the next one. An attempt that leaves the store as it found it has brought nothing;
after so many of them in a row the job fails.
"""

__all__ = ["Attempt", "Job", "Queue", "Submitted", "attempts", "mark", "read", "work", "write"]

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from vitrify import analyses, classify, parallel, store, study
from vitrify.settings import Study
from vitrify.simulate import Simulate

Ended = Literal["done", "limit", "retry", "failed", "stopped"]
Ensemble = Literal["slow", "fast"]

_FINAL = (ValueError, TypeError)  # wrong settings, a damaged file, something missing: the same again would be the same
_SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
_SHORT = 2000  # characters of a reason


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
    max_retries: NonNegativeInt = Field(3, description="Attempts in a row that may bring nothing before a job fails")
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
        name: Unique in its campaign.
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
    """A campaign as ``campaign.json`` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Study
    queue: Queue
    jobs: tuple[Job, ...]
    round: PositiveInt = 1
    submitted: float
    runner: Annotated[int | None, Field(description="Process that runs a local campaign")] = None


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


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by the first signal that asks a job to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


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


def work(out: Path, name: str) -> None:
    """Do a job of a campaign until it is finished, fails, or is told to end; say in its file how it went.

    SIGUSR2 is what a queue sends ahead of the limit: the job stops with its files whole and asks its queue for another
    turn. SIGTERM and SIGINT end it for good.

    Args:
        out: Folder of the study.
        name: Of the job.

    Raises:
        SystemExit: The job has ended before it was done: with 75, "try again", where its queue was asked for more.
        BaseException: What the job failed of, if it is not tried again.
    """
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        _work(out, name)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _work(out: Path, name: str) -> None:
    campaign = read(out)
    job = next(one for one in campaign.jobs if one.name == name)
    before = attempts(out, name)
    if before and before[-1].how in ("done", "failed"):  # a process killed after its last words is begun again
        raise SystemExit(int(before[-1].how == "failed"))
    now = mark(campaign.study, out, job)
    barren = sum(one.mark == now for one in before)
    this = Attempt(began=time.time(), mark=now, host=socket.gethostname(), id=_own_id())

    def end(how: Ended, reason: str | None = None) -> None:
        ended = this.model_copy(update={"ended": time.time(), "how": how, "reason": reason})
        _keep(out, name, [*before, ended])

    if barren > campaign.queue.max_retries:
        last = next((one.reason for one in reversed(before) if one.reason), None) or _barren(before[-1])
        end("failed", f"{barren} attempts in a row brought nothing; the last: {last}")
        raise SystemExit(1)
    _keep(out, name, [*before, this])
    try:
        with _interruptible():
            _do(campaign, job, out)
    except Interrupted as interrupted:
        if interrupted.number != signal.SIGUSR2:
            end("stopped")
            raise SystemExit(1) from None
        end("limit")
        _again(campaign.queue, end)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"[:_SHORT]
        spent = barren >= campaign.queue.max_retries and mark(campaign.study, out, job) == now
        if isinstance(error, _FINAL) or spent:
            end("failed", reason)
            raise
        end("retry", reason)
        _again(campaign.queue, end)
    else:
        end("done")


def mark(chosen: Study, out: Path, job: Job) -> str:
    """Return what the store holds of a job's work, in a word that changes whenever something is added."""
    if job.stage == "simulate":
        return str(sum(_n_kept(one, chosen.seed, out, runs) for one, runs in ensembles(chosen, job)))
    if job.stage == "train":
        kept = [out / "models" / folder / name for folder in job.trainings for name in ("last.pt", "outcome.json")]
        return " ".join(str(path.stat().st_mtime_ns) for path in kept if path.exists())
    results = [out / "results.json", *(out / "analyses" / f"{name}.json" for name in job.analyses)]
    return str(sum(path.exists() for path in results))


def ensembles(chosen: Study, job: Job) -> Iterator[tuple[Simulate, Sequence[int]]]:
    """Yield the ensembles of a job, and its runs of each."""
    for name, runs in job.runs.items():
        settings = chosen.simulate if name == "slow" else chosen.fast
        assert settings is not None
        yield settings, runs


def _n_kept(settings: Simulate, seed: int, out: Path, runs: Sequence[int]) -> int:
    kept = store.unfinished(out / "data", settings, seed=seed, runs=runs)
    return (len(runs) - len(kept)) * settings.bath.n_frames + sum(kept.values())


def _do(campaign: Submitted, job: Job, out: Path) -> None:
    """Do what is left of a job."""
    chosen = campaign.study
    words: dict[str, Any] = {"n_workers": 1 if job.gpu else min(campaign.queue.cpus, parallel.n_cores())}
    words["progress"] = _Logged()
    if job.stage == "simulate":
        for settings, runs in ensembles(chosen, job):
            study.simulate(chosen.model_copy(update={"simulate": settings}), out, runs=runs, **words)
        return
    _check_runs(chosen, out)
    if job.stage == "train":
        study.learn(chosen, out, only=job.trainings, **words)
        return
    missing = [one.folder for one in classify.trainings(chosen) if not _outcome(out, one.folder).exists()]
    if missing:
        raise ValueError(f"{len(missing)} classifiers are not trained, {missing[0]} first: see vitrify status")
    study.run(chosen, out, sections=analyses.sections, **words)
    if job.analyses:
        analyses.run(job.analyses, chosen, out, **words)


def _check_runs(chosen: Study, out: Path) -> None:
    """Refuse to go on without a run; the dependency in the queue only says that its jobs have ended."""
    for settings in (chosen.simulate, chosen.fast):
        missing = {} if settings is None else store.unfinished(out / "data", settings, seed=chosen.seed)
        if missing:
            raise ValueError(f"{len(missing)} runs are not finished, run {min(missing)} first: see vitrify status")


def _outcome(out: Path, folder: str) -> Path:
    return out / "models" / folder / "outcome.json"


def _keep(out: Path, name: str, tried: Sequence[Attempt]) -> None:
    store.write_json(out / "campaign" / f"{name}.json", [one.model_dump(mode="json") for one in tried])


def _barren(last: Attempt) -> str:
    if last.how == "limit":
        return "its time was up before anything was kept: give a longer walltime"
    return f"it was killed on {last.host}, perhaps for want of memory"


def _own_id() -> str | None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", str(os.getpid()))


def _again(queue: Queue, end: Callable[[Ended, str | None], None]) -> None:
    """Ask for another turn, and end."""
    if queue.executor == "slurm":
        try:
            subprocess.run(
                ["scontrol", "requeue", _own_id() or ""], check=True, capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            end("failed", f"the queue refused another turn ({str(said).strip()}): run vitrify submit again")
            raise SystemExit(1) from error
    raise SystemExit(os.EX_TEMPFAIL)  # a local runner begins it again


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the first signal into an exception in the main thread, and those behind it into nothing."""

    def interrupt(number: int, _frame: object) -> None:
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    for number in _SIGNALS:
        signal.signal(number, interrupt)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # those held back while this process began
        yield
    finally:
        for number in _SIGNALS:  # the last words are not to be cut short
            signal.signal(number, signal.SIG_IGN)


class _Logged:
    """Write how far a stage is into the job's log, a line a minute."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, stage: str, done: float, total: float) -> None:
        if time.monotonic() > self._said + 60:
            self._said = time.monotonic()
            sys.stderr.write(f"{stage}: {done:.0f} of {total:.0f}\n")


def _end_with_the_runner() -> None:
    """Tell this process to end when the one that holds the other end of its standard input has died."""

    def watch() -> None:
        os.read(0, 1)  # ends with nothing; a buffered reader would be held while this process ends
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _end_with_the_runner()
    work(Path(sys.argv[1]), sys.argv[2])
