import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitrify import parallel


def _square(job: int, tick: parallel.Tick) -> int:
    tick(job)
    return job * job


def _fail_on_three(job: int, tick: parallel.Tick) -> int:
    if job == 3:
        raise ValueError("three is not allowed")
    return _square(job, tick)


def _die(job: int, tick: parallel.Tick) -> int:
    os._exit(9)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_results_come_in_order_and_every_tick_is_told(n_workers: int) -> None:
    told: list[float] = []
    assert parallel.spread(_square, range(6), n_workers=n_workers, progress=told.append) == [0, 1, 4, 9, 16, 25]
    assert sorted(told) == list(range(6))


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_error_reaches_the_caller(n_workers: int) -> None:
    with pytest.raises(ValueError, match="three is not allowed"):
        parallel.spread(_fail_on_three, range(6), n_workers=n_workers, progress=lambda _: None)


def test_a_killed_worker_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"a worker process was killed.*run the same command to continue"):
        parallel.spread(_die, range(3), n_workers=2, progress=lambda _: None)


def _n_threads(_job: int, _tick: parallel.Tick) -> int:
    import torch

    return torch.get_num_threads()


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_job_has_one_thread_and_the_process_gets_its_own_back(
    n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert parallel.spread(_n_threads, range(2), n_workers=n_workers, progress=lambda _: None) == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupt_that_falls_into_a_finaliser_is_raised_behind_it(times: int) -> None:
    """Python drops what is raised in there, and goes on."""
    fell = 0

    class Held:
        def __del__(self) -> None:
            nonlocal fell
            fell += 1
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGALRM), sys.unraisablehook
    deadline = time.monotonic() + 20
    with pytest.raises(KeyboardInterrupt), parallel.insistent():  # noqa: PT012
        for _ in range(times):
            held = Held()
            del held
        while time.monotonic() < deadline:
            time.sleep(0.001)
    assert fell == times
    assert (signal.getsignal(signal.SIGALRM), sys.unraisablehook) == before


def test_other_errors_in_a_finaliser_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: told.append(one.exc_type))

    class Held:
        def __del__(self) -> None:
            raise ValueError("not ours")

    with parallel.insistent():
        held = Held()
        del held
    assert told == [ValueError]


_FOREVER = """
import os, sys, time
from pathlib import Path
from vitrify import parallel

def work(job, tick):
    Path(sys.argv[1], f"pid{os.getpid()}").touch()
    while True:
        tick(1)
        time.sleep(0.02)

if __name__ == "__main__":
    try:
        parallel.spread(work, range(4), n_workers=2, progress=lambda _: None)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(how: int, tmp_path: Path) -> None:
    script = tmp_path / "forever.py"
    script.write_text(_FOREVER)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL)
    pids: list[int] = []
    deadline = time.monotonic() + 60
    while len(pids) < 2 and time.monotonic() < deadline:
        pids = [int(path.name[3:]) for path in tmp_path.glob("pid*")]
        time.sleep(0.05)
    assert len(pids) == 2
    parent.send_signal(how)
    assert parent.wait(30) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
