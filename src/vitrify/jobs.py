"""One job of a campaign: a part of a study, done until it is finished or its time is up.

A job keeps no state of its own: what is done of its runs and classifiers is in the store, so an attempt that was ended
at any moment is gone on with by the next one. An attempt that leaves the store as it found it has brought nothing;
after so many of them in a row the job fails.
"""

__all__ = ["mark", "work"]

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
from typing import Any

from vitrify import analyses, parallel, store, study, submitted
from vitrify.settings import Study
from vitrify.simulate import Simulate
from vitrify.submitted import Attempt, Ended, Job, Queue, Submitted

_FINAL = (ValueError, TypeError)  # wrong settings, a damaged file, something missing: the same again would be the same
_SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
_SHORT = 2000  # characters of a reason


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by the first signal that asks a job to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


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
    campaign = submitted.read(out)
    job = next(one for one in campaign.jobs if one.name == name)
    before = submitted.attempts(out, name)
    if before and before[-1].how in ("done", "failed"):  # a process killed after its last words is begun again
        raise SystemExit(int(before[-1].how == "failed"))
    now = mark(campaign, out, job)
    barren = sum(one.mark == now and one.how != "stopped" for one in before)  # one that was told to end is not to blame
    this = Attempt(began=time.time(), mark=now, host=socket.gethostname(), id=_own_id())

    def end(how: Ended, reason: str | None = None) -> None:
        ended = this.model_copy(update={"ended": time.time(), "how": how, "reason": reason})
        submitted.keep(out, name, [*before, ended])

    if barren > campaign.queue.max_retries:
        last = next((one.reason for one in reversed(before) if one.reason), None) or _barren(before[-1])
        end("failed", f"{barren} attempts in a row brought nothing; the last: {last}")
        raise SystemExit(1)
    submitted.keep(out, name, [*before, this])
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
        spent = barren >= campaign.queue.max_retries and mark(campaign, out, job) == now
        if isinstance(error, _FINAL) or spent:
            end("failed", reason)
            raise
        end("retry", reason)
        _again(campaign.queue, end)
    else:
        end("done")


def mark(campaign: Submitted, out: Path, job: Job) -> str:
    """Return what the store holds of a job's work, in a word that changes whenever something is added."""
    if job.stage == "simulate":
        each = [_n_kept(campaign.ensembles[name], campaign.seed, out, runs) for name, runs in job.runs.items()]
        return str(sum(each))
    if job.stage == "train":
        kept = [out / "models" / folder / name for folder in job.trainings for name in ("last.pt", "outcome.json")]
        return " ".join(str(path.stat().st_mtime_ns) for path in kept if path.exists())
    results = [out / "results.json", *(out / "analyses" / f"{name}.json" for name in job.analyses)]
    return str(sum(path.exists() for path in results))


def _n_kept(settings: Simulate, seed: int, out: Path, runs: Sequence[int]) -> int:
    kept = store.unfinished(out / "data", settings, seed=seed, runs=runs)
    return (len(runs) - len(kept)) * settings.bath.n_frames + sum(kept.values())


def _do(campaign: Submitted, job: Job, out: Path) -> None:
    """Do what is left of a job."""
    chosen = Study.model_validate(campaign.study)
    words: dict[str, Any] = {"n_workers": 1 if job.gpu else min(campaign.queue.cpus, parallel.n_cores())}
    words["progress"] = _Logged()
    if job.stage == "simulate":
        for name, runs in job.runs.items():
            part = chosen.model_copy(update={"simulate": campaign.ensembles[name]})
            study.simulate(part, out, runs=runs, **words)
        return
    _check_runs(campaign, out)
    if job.stage == "train":
        study.learn(chosen, out, only=job.trainings, **words)
        return
    missing = [one for one in campaign.classifiers if not (out / "models" / one / "outcome.json").exists()]
    if missing:
        raise ValueError(f"{len(missing)} classifiers are not trained, {missing[0]} first: see vitrify status")
    study.run(chosen, out, sections=analyses.sections, **words)
    if job.analyses:
        analyses.run(job.analyses, chosen, out, **words)


def _check_runs(campaign: Submitted, out: Path) -> None:
    """Refuse to go on without a run; the dependency in the queue only says that its jobs have ended."""
    for settings in campaign.ensembles.values():
        missing = store.unfinished(out / "data", settings, seed=campaign.seed)
        if missing:
            raise ValueError(f"{len(missing)} runs are not finished, run {min(missing)} first: see vitrify status")


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
        with parallel.insistent():
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
