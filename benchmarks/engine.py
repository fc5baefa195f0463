"""Particle-steps per second on one core, beside LAMMPS at its best settings for these systems.

Both integrate the same configuration in the same ensemble. LAMMPS runs with ``-sf opt``, Newton's third law on, the
list rebuilt only when a particle has moved, and the best of several skins. The two take turns, and each ratio is of
neighbouring turns, in processor time, so that a machine whose speed drifts does not decide it.
"""

__all__ = ["measure"]

import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import lammps
from vitrify import dynamics
from vitrify.potentials import MIXTURES
from vitrify.system import stream

_TURNS = 5
_PARTICLE_STEPS = 6_000_000


def measure() -> list[dict[str, Any]]:
    """Return one row per system: the median speeds and the median ratio."""
    return [_speed("ka2d", n, T) for n in (400, 1000, 4000) for T in (2.0, 1.0, 0.1)] + [_speed("ka3d", 1000, 1.0)]


def _speed(mixture: str, n: int, T: float) -> dict[str, Any]:
    rng = stream(1, "benchmark", mixture, n, str(T))
    state = dynamics.start(MIXTURES[mixture], n_particles=n, T=2.0, rng=rng)
    ramp = {"dt": 0.005, "tau": 0.5, "rng": rng}
    state = dynamics.advance(state, n_steps=8000, T_from=2.0, T_to=T, **ramp)
    state = dynamics.advance(state, n_steps=4000, T_from=T, T_to=T, **ramp)
    n_steps = _PARTICLE_STEPS // n // 20 * 20
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        skins = {skin: _lammps(Path(folder), state, T, n_steps // 4, skin) for skin in (0.2, 0.3, 0.4)}
        best = max(skins, key=lambda skin: skins[skin])
        for _ in range(_TURNS):
            theirs.append(_lammps(Path(folder), state, T, n_steps, best))
            began = time.process_time()
            dynamics.advance(state, n_steps=n_steps, T_from=T, T_to=T, **ramp)
            ours.append(n * n_steps / (time.process_time() - began))
    return {
        "name": f"{mixture} N = {n}, T = {T}",
        "value": float(np.median(ours)) / 1e6,
        "unit": "M particle-steps/s/core",
        "peer": f"LAMMPS opt, skin {best}",
        "peer_value": float(np.median(theirs)) / 1e6,
        "ratio": float(np.median(np.array(ours) / np.array(theirs))),
    }


def _lammps(folder: Path, state: dynamics.State, T: float, n_steps: int, skin: float) -> float:
    """Return LAMMPS's particle-steps per second of processor time."""
    flat = "fix flat all enforce2d\n" if state.mixture.dimension == 2 else ""
    commands = f"{flat}fix bath all nvt temp {T} {T} 0.5\nthermo {n_steps}\nrun {n_steps}\n"
    printed = lammps.run(
        folder, dynamics.configuration(state), state.mixture, commands, velocities=state.velocities, skin=skin
    )
    wall = float(re.findall(r"Loop time of (\S+) on", printed)[-1])
    used = float(re.findall(r"([\d.]+)% CPU use", printed)[-1]) / 100
    return len(state.positions) * n_steps / (wall * used)
