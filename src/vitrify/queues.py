"""What runs the jobs of a campaign: a Slurm, through submitit, or processes of this machine, one after the other.

Jobs of a stage begin when those of the stage before have all ended, well or not; whether they ended well is seen in the
store. On Slurm the jobs of a stage are arrays, and the dependency is the queue's.
"""

__all__ = ["Array", "arrays", "cancel", "run_here", "scripts", "states", "submit"]

import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.slurm.slurm import SlurmExecutor, SlurmInfoWatcher, _make_sbatch_string

from vitrify import parallel
from vitrify.submitted import Job, Queue

STAGES = ("simulate", "train", "report")

_MOST_TASKS = 1000  # Slurm's default MaxArraySize is 1001
_POLL_S = 0.1
_REFUSED = (RuntimeError, OSError, subprocess.SubprocessError, submitit.core.utils.FailedJobError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """Jobs submitted together: of one stage, and of one kind of node."""

    stage: str
    gpu: bool
    jobs: tuple[Job, ...]


def arrays(given: Sequence[Job]) -> list[Array]:
    """Return jobs as the arrays they are submitted in, the stages in their order."""
    found = []
    for stage, gpu in itertools.product(STAGES, (False, True)):
        alike = [job for job in given if (job.stage, job.gpu) == (stage, gpu)]
        for first in range(0, len(alike), _MOST_TASKS):
            found.append(Array(stage=stage, gpu=gpu, jobs=tuple(alike[first : first + _MOST_TASKS])))
    return found


def scripts(given: Sequence[Job], queue: Queue, out: Path) -> list[str]:
    """Return the text of the sbatch file of every array; no Slurm is needed for it.

    The number of a job that another waits for is not known before it is submitted: its stage stands there.
    """
    log = _log(out)
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(log))}"
    found = []
    for array in arrays(given):
        waits = [f"<{stage}>" for stage in _before(array.stage, given)]
        words = _words(array, queue, waits)
        more = words["additional_parameters"] | ({"mem": f"{words.pop('mem_gb'):g}GB"} if "mem_gb" in words else {})
        n = len(array.jobs)
        words |= {"additional_parameters": more} | ({"map_count": n} if n > 1 else {})
        found.append(_make_sbatch_string(command=command, folder=log, **words))
    return found


def submit(given: Sequence[Job], queue: Queue, out: Path, *, work: Callable[[Path, str], None]) -> list[Job]:
    """Submit jobs to Slurm, each stage behind the one before; return them with the numbers they got.

    Args:
        given: The jobs.
        queue: How they are submitted.
        out: Folder of the study.
        work: Called on a node with the folder and the name of a job.

    Raises:
        RuntimeError: There is no Slurm here, or it refused; what had been submitted is cancelled.
    """
    numbered: list[Job] = []
    try:
        for array in arrays(given):
            before = _before(array.stage, given)
            ids = _numbers([one for one in numbered if one.stage in before])
            executor = SlurmExecutor(folder=_log(out))
            executor.update_parameters(**_words(array, queue, ids))
            with executor.batch():
                sent = [executor.submit(work, out.absolute(), job.name) for job in array.jobs]
            numbered += [job.model_copy(update={"id": one.job_id}) for job, one in zip(array.jobs, sent, strict=True)]
    except BaseException as error:
        if numbered:
            cancel(numbered)
        if not isinstance(error, _REFUSED):
            raise
        raise RuntimeError(f"Slurm took no job: {_said(error)}; nothing is left in its queue") from error
    return numbered


def _before(stage: str, given: Sequence[Job]) -> list[str]:
    """Return the stage that a stage waits for, if any of its jobs are submitted too."""
    earlier = [one for one in STAGES[: STAGES.index(stage)] if any(job.stage == one for job in given)]
    return earlier[-1:]


def _words(array: Array, queue: Queue, waits: Sequence[str]) -> dict[str, Any]:
    """Return what sbatch is told, as submitit names it."""
    more: dict[str, Any] = dict(word.split("=", 1) for word in queue.sbatch)
    words = {
        "job_name": f"vitrify-{array.stage}",
        "partition": (queue.gpu_partition if array.gpu else None) or queue.partition,
        "time": int(queue.walltime),
        "signal_delay_s": int(queue.lead),
        "cpus_per_task": queue.cpus,
        # a step does not inherit the cores of its job since Slurm 22.05
        "srun_args": [f"--cpus-per-task={queue.cpus}"],
        "mem_gb": queue.mem_gb,
        "gpus_per_node": 1 if array.gpu else None,
        "setup": list(queue.setup) or None,
        "dependency": "afterany:" + ":".join(waits) if waits else None,
        "array_parallelism": _MOST_TASKS,
    }
    given = {name: value for name, value in words.items() if value is not None}
    return given | {"wckey": None, "additional_parameters": {"requeue": True} | more}


def _log(out: Path) -> Path:
    return out.absolute() / "campaign" / "log"


def states(given: Sequence[Job]) -> dict[str, str] | None:
    """Return what Slurm's accounting says of each job, in its own words; nothing of those it does not know.

    Returns:
        A word by name of the job, or ``None`` where there is no accounting to ask.
    """
    ids = _numbers(given)
    try:
        words = ["sacct", "--parsable2", "--format", "JobID,State,NodeList", "--jobs", ",".join(ids)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout if ids else ""
    except (OSError, subprocess.CalledProcessError):
        return None
    known = SlurmInfoWatcher().read_info(said)
    return {job.name: known[job.id]["State"] for job in given if job.id in known}


def cancel(given: Sequence[Job]) -> None:
    """Take jobs out of Slurm's queue, or end them; each stops with its files whole.

    Raises:
        RuntimeError: Slurm refused.
    """
    ids = _numbers(given)
    try:
        subprocess.run(["scancel", *ids], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"Slurm cancels nothing: {_said(error)}") from error


def _numbers(given: Sequence[Job]) -> list[str]:
    """Return the numbers of the arrays that jobs are in."""
    return list(dict.fromkeys(job.id.partition("_")[0] for job in given if job.id is not None))


def _said(error: Exception) -> str:
    return str(getattr(error, "stderr", None) or error).strip()


def run_here(given: Sequence[Job], queue: Queue, out: Path, *, n_at_once: int, beat: Callable[[], None]) -> None:
    """Run jobs as processes of this machine, a stage after the other, until each is done, has failed or was stopped.

    A job that reaches its walltime is asked to stop, as a queue would, and begun again.

    Args:
        given: The jobs.
        queue: How they are run.
        out: Folder of the study.
        n_at_once: Jobs at a time.
        beat: Called several times a second.

    Raises:
        KeyboardInterrupt: Ctrl-C, after every job has stopped with its files whole.
    """
    for stage in STAGES:
        waiting, running = [job for job in given if job.stage == stage], list[_Running]()
        try:
            while waiting or running:
                while waiting and len(running) < n_at_once:
                    running.append(_Running(waiting.pop(0), queue, out))
                time.sleep(_POLL_S)
                over = [one for one in running if one.over()]
                running = [one for one in running if one not in over]
                waiting += [one.job for one in over if one.again]
                beat()
        finally:
            for one in running:
                one.stop()
            for one in running:
                one.wait()


class _Running:
    """A job as a process, asked to stop ahead of its walltime and killed at it."""

    def __init__(self, job: Job, queue: Queue, out: Path) -> None:
        self.job = job
        log = _log(out)
        log.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "vitrify.jobs", str(out.absolute()), job.name]
        with (log / f"{job.name}.log").open("ab") as file, parallel.shielded():  # until the job can answer signals
            # its input is this process's word that it lives; of its own group, so that Ctrl-C reaches it once
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True
            )
        self._limit = time.monotonic() + 60 * queue.walltime
        self._lead, self._asked = queue.lead, False

    def over(self) -> bool:
        """Return whether the process has ended, after telling it what the time is."""
        now = time.monotonic()
        if now > self._limit:
            self._process.kill()
        elif now > self._limit - self._lead and not self._asked:
            self._process.send_signal(signal.SIGUSR2)
            self._asked = True
        if self._process.poll() is None:
            return False
        self._close()
        return True

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    @property
    def again(self) -> bool:
        """Whether it has asked for another turn, or was killed; the job itself counts its attempts."""
        return self._process.returncode == os.EX_TEMPFAIL or self._process.returncode < 0

    def stop(self) -> None:
        """Ask the process to end in good order."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until it has."""
        self._process.wait()
        self._close()
