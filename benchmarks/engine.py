"""Particle-steps per second on one core, beside LAMMPS at its best settings for these systems.

Both integrate the same configuration in the same ensemble. LAMMPS runs with ``-sf opt``, Newton's third law on, the
list rebuilt only when a particle has moved, and the best of several skins. The two take turns, and each ratio is of
neighbouring turns, in processor time, so that a machine whose speed drifts does not decide it.

Further rows: the fraction of the force kernel's own instruction bound that a whole run reaches; the minimiser's share
of a run; cost against the number of particles; both cores against one; memory; what it takes to begin.
"""

__all__ = ["Row", "measure", "row"]

import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bound, lammps
from vitrify import dynamics, kernels, parallel, store
from vitrify.potentials import MIXTURES
from vitrify.simulate import Cool, Simulate
from vitrify.system import stream

_TURNS = 5
_PARTICLE_STEPS = 6_000_000
_NARROW = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi2,+popcnt"}

Row = dict[str, Any]


def measure() -> list[Row]:
    """Return one row per measurement: the median values and the median ratio."""
    rows = [beside_lammps("ka2d", n, T) for n in (256, 1000, 4000) for T in (2.0, 1.0, 0.1)]
    rows.append(beside_lammps("ka3d", 1000, 1.0))
    if kernels.WIDTH == 16:
        rows += [_forced_to_avx2("ka2d", 1000, T) for T in (1.0, 0.1)]
    rows += [_instruction_bound(T) for T in (2.0, 1.0, 0.1)]
    rows += [_minimiser(n_steps) for n_steps in (200_000, 400_000)]
    return [*rows, _large(), _cores(), _memory(), _start_up()]


def beside_lammps(mixture: str, n: int, T: float) -> Row:
    """Return our speed at a temperature beside that of LAMMPS at its best skin."""
    state = _liquid(mixture, n, T)
    n_steps = _PARTICLE_STEPS // n // 20 * 20
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        skins = {skin: _lammps(Path(folder), state, T, n_steps // 4, skin) for skin in (0.2, 0.3, 0.4)}
        best = max(skins, key=lambda skin: skins[skin])
        for _ in range(_TURNS):
            theirs.append(_lammps(Path(folder), state, T, n_steps, best))
            ours.append(_ours(state, T, n_steps))
    return row(f"{mixture} N = {n}, T = {T}", _SPEED, f"LAMMPS opt, skin {best}", ours, theirs)


_SPEED = "M particle-steps/s/core"


def row(name: str, unit: str, peer: str, values: list[float], peers: list[float]) -> Row:
    """Return a row of medians; each ratio is of neighbouring turns."""
    return {
        "name": name,
        "value": float(np.median(values)),
        "unit": unit,
        "peer": peer,
        "peer_value": float(np.median(peers)),
        "ratio": float(np.median(np.array(values) / np.array(peers))),
    }


def _liquid(mixture: str, n: int, T: float) -> dynamics.State:
    rng = stream(1, "benchmark", mixture, n, str(T))
    state = dynamics.start(MIXTURES[mixture], n_particles=n, T=2.0, rng=rng)
    ramp = {"dt": 0.005, "tau": 0.5, "rng": rng}
    state = dynamics.advance(state, n_steps=8000, T_from=2.0, T_to=T, **ramp)
    return dynamics.advance(state, n_steps=4000, T_from=T, T_to=T, **ramp)


def _ours(state: dynamics.State, T: float, n_steps: int) -> float:
    rng = stream(1, "benchmark", "timed")
    seconds = _processor_time(
        lambda: dynamics.advance(state, n_steps=n_steps, dt=0.005, T_from=T, T_to=T, tau=0.5, rng=rng)
    )
    return len(state.positions) * n_steps / seconds / 1e6


def _processor_time(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _lammps(folder: Path, state: dynamics.State, T: float, n_steps: int, skin: float) -> float:
    """Return LAMMPS's millions of particle-steps per second of processor time."""
    flat = "fix flat all enforce2d\n" if state.mixture.dimension == 2 else ""
    commands = f"{flat}fix bath all nvt temp {T} {T} 0.5\nthermo {n_steps}\nrun {n_steps}\n"
    printed = lammps.run(
        folder, dynamics.configuration(state), state.mixture, commands, velocities=state.velocities, skin=skin
    )
    wall = float(re.findall(r"Loop time of (\S+) on", printed)[-1])
    used = float(re.findall(r"([\d.]+)% CPU use", printed)[-1]) / 100
    return len(state.positions) * n_steps / (wall * used) / 1e6


def _forced_to_avx2(mixture: str, n: int, T: float) -> Row:
    """Return the same row from a process that compiles for a processor with AVX2 and no more."""
    program = (
        f"import json; from benchmarks import engine; print(json.dumps(engine.beside_lammps({mixture!r}, {n}, {T})))"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | _NARROW | {"NUMBA_CACHE_DIR": cache}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
    row: Row = json.loads(done.stdout)
    return row | {"name": row["name"] + ", AVX2"}


def _instruction_bound(T: float) -> Row:
    """Return our speed beside what the force loop's vector instructions alone would allow."""
    state = _liquid("ka2d", 1000, T)
    n_steps = _PARTICLE_STEPS // 1000 // 20 * 20
    rows = bound.list_rows(state, T)
    ours, limits = [], []
    for _ in range(_TURNS):
        limits.append(bound.vector_rate() / (bound.force_loop() * rows / kernels.WIDTH) / 1e6)
        ours.append(_ours(state, T, n_steps))
    return row(f"ka2d N = 1000, T = {T}: of its instruction bound", _SPEED, "vector instructions alone", ours, limits)


def _large() -> Row:
    """Return the speed per particle at N = 100,000 beside that at N = 1,000: 1 if the cost is linear."""
    small, large = _liquid("ka2d", 1000, 1.0), _liquid("ka2d", 100_000, 1.0)
    ours, theirs = [], []
    for _ in range(_TURNS):
        theirs.append(_ours(small, 1.0, 16_000))
        ours.append(_ours(large, 1.0, 320))
    return row("ka2d N = 100000, T = 1.0", _SPEED, "vitrify, N = 1000", ours, theirs)


def _minimiser(n_steps: int) -> Row:
    """Return the minimiser's share of a cooling of 400 particles with 200 records."""
    shares = []
    for turn in range(2):
        cool = Cool(n_steps=n_steps // 10, n_frames=20)  # a tenth of everything
        settings = Simulate(n_particles=400, n_runs=1, n_equilibrate=1000, cool=cool)
        with tempfile.TemporaryDirectory() as folder:
            job = store.Job(root=Path(folder), settings=settings, seed=turn, run=0)
            store.keep_run(job, lambda _: None)
            spent = store.seconds(job.root, settings, seed=turn)
        shares.append(100 * spent["minimise_s"] / sum(spent.values()))
    return row(
        f"minimising, N = 400, t_cool = {n_steps}, 200 records", "% of a run", "goal", shares, [15.0] * len(shares)
    )


def _cores() -> Row:
    """Return runs per second of two processes at once, beside one, their start left out."""
    settings = Simulate(n_particles=400, n_runs=4, cool=Cool(n_steps=60_000, n_frames=60))
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(3):
        for n_workers, speed in speeds.items():
            with tempfile.TemporaryDirectory() as folder:
                jobs = [store.Job(root=Path(folder), settings=settings, seed=turn, run=run) for run in range(4)]
                seconds = parallel.spread(_timed_run, jobs, n_workers=n_workers, progress=lambda _: None)
            speed.append(n_workers * len(jobs) / sum(seconds))
    return row("runs of N = 400 on 2 cores, start left out", "runs/s", "1 core", speeds[2], speeds[1])


def _timed_run(job: store.Job, tick: parallel.Tick) -> float:
    """Return the wall seconds of one run in a process whose kernels are loaded."""
    short = Simulate(n_particles=100, n_runs=1, n_equilibrate=0, cool=Cool(n_steps=20, n_frames=1))
    with tempfile.TemporaryDirectory() as folder:
        store.keep_run(store.Job(root=Path(folder), settings=short, seed=1, run=0), tick)
    began = time.perf_counter()
    store.keep_run(job, tick)
    return time.perf_counter() - began


def _memory() -> Row:
    """Return the largest resident size of a process that cools 4320 particles over 200 records."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        megabytes = pool.apply(_resident)
    return row("memory of a process, N = 4320, 200 records", "MB", "limit", [megabytes], [300.0])


def _resident() -> float:
    settings = Simulate(n_particles=4320, n_runs=1, n_equilibrate=200, cool=Cool(n_steps=8_000, n_frames=200))
    with tempfile.TemporaryDirectory() as folder:
        store.keep_run(store.Job(root=Path(folder), settings=settings, seed=1, run=0), lambda _: None)
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells there begins with the size of the parent
        return float(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _start_up() -> Row:
    """Return the wall seconds from nothing to the first steps in two and three dimensions, kernels in the cache."""
    program = (
        "from vitrify import dynamics; from vitrify.potentials import MIXTURES; from vitrify.system import stream\n"
        "for name in ('ka2d', 'ka3d'):\n"
        "    rng = stream(1, name)\n"
        "    state = dynamics.start(MIXTURES[name], n_particles=300, T=1.0, rng=rng)\n"
        "    dynamics.advance(state, n_steps=20, dt=0.005, T_from=1.0, T_to=1.0, tau=0.5, rng=rng)\n"
    )
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        seconds.append(time.perf_counter() - began)
    return row("start of a process, kernels cached", "s", "limit", seconds[1:], [5.0] * 3)
