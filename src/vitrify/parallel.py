"""Independent jobs over processes, with progress, one clean answer to Ctrl-C, and no orphans.

Workers ignore Ctrl-C: the parent asks them to stop, and each does so at its next tick, with its files whole. A worker
whose parent has died ends at once. A job has one thread, wherever it is done: processes fill the cores, threads on top
of them wait for one another, and a network's last bits depend on how many there are.
"""

__all__ = ["Stopped", "Tick", "insistent", "n_cores", "shielded", "spread"]

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Tick = Callable[[float], None]


class Stopped(Exception):  # noqa: N818
    """Raised by a tick in a worker that was asked to stop."""


def n_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(task: Callable[[Job, Tick], Result], jobs: Sequence[Job], *, n_workers: int, progress: Tick) -> list[Result]:
    """Return ``task(job, tick)`` of every job, in order.

    Args:
        task: A module-level function. It calls ``tick(amount)`` wherever it may be stopped.
        jobs: What to do.
        n_workers: Processes; with one, the work is done in this one.
        progress: Called with the amount of every tick.

    Raises:
        KeyboardInterrupt: Ctrl-C, after every worker has stopped at a tick.
        RuntimeError: A worker was killed.
    """
    if n_workers == 1 or len(jobs) < 2:
        with _one_thread():
            return [task(job, progress) for job in jobs]
    context = multiprocessing.get_context("spawn")
    ticks, stop = context.SimpleQueue(), context.Event()
    pool = concurrent.futures.ProcessPoolExecutor(
        min(n_workers, len(jobs)), mp_context=context, initializer=_begin, initargs=(ticks, stop)
    )
    try:
        with shielded():  # the parent stops the workers
            futures = [pool.submit(_work, task, job) for job in jobs]
        waiting = set(futures)
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, timeout=0.2, return_when="FIRST_EXCEPTION")
            _drain(ticks, progress)
            for future in done:
                future.result()
        _drain(ticks, progress)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker process was killed, perhaps for want of memory; what was finished is kept: "
            "run the same command to continue, with fewer workers if memory is short"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        ticks.close()


_OF_A_QUEUE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""What a queue sends ahead of its limit: to every process of a job, workers too."""


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hold back what a queue sends; a process started meanwhile does so from its first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_A_QUEUE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def insistent() -> Iterator[None]:
    """Raise a KeyboardInterrupt again where Python has dropped it: in a finaliser, or a weak reference's callback.

    A signal's handler runs between any two instructions of the main thread, and what it raises there goes no further.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    dropped: list[BaseException] = []

    def again(_number: int, _frame: object) -> None:
        raise dropped.pop()

    def told(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            before(unraisable)
            return
        dropped[:] = [unraisable.exc_value.with_traceback(None)]
        signal.setitimer(signal.ITIMER_REAL, _A_MOMENT)

    before, handler = sys.unraisablehook, signal.signal(signal.SIGALRM, again)
    sys.unraisablehook = told
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = before
        signal.signal(signal.SIGALRM, handler)


_A_MOMENT = 0.01
"""Seconds within which a finaliser has ended; an exception raised in it once more is raised yet again."""


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Give PyTorch one thread, if this process has loaded it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _drain(ticks: Any, progress: Tick) -> None:
    while not ticks.empty():
        progress(ticks.get())


_channel: tuple[Any, Any] | None = None
"""Queue and stop event of this worker process: they can reach it only when it is started."""


def _begin(ticks: Any, stop: Any) -> None:
    global _channel
    _channel = (ticks, stop)
    os.environ["OMP_NUM_THREADS"] = "1"  # read by what the job is about to load
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _work(task: Callable[[Any, Tick], Any], job: Any) -> Any:
    return task(job, _tick)


def _tick(amount: float) -> None:
    assert _channel is not None
    ticks, stop = _channel
    if stop.is_set():
        raise Stopped
    ticks.put(amount)
