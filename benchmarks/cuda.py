"""Particle-steps per second on a graphics card, against the number of replicas; without a card there are no rows.

``python -m benchmarks.cuda`` prints them. The limit is that of issuing the instructions of the force loop alone, for
the neighbours inside the cut-off: no list, no integration, no waiting.
"""

__all__ = ["measure"]

import time
from typing import Any

import numpy as np

from vitrify import cuda, dynamics
from vitrify.potentials import MIXTURES, Mixture
from vitrify.system import stream

_TURNS = 3
_PER_NEIGHBOUR = 32  # instructions of the force loop in two dimensions, counted in the PTX that numba-cuda 0.30 makes
_LANES = 128  # single-precision instructions a multiprocessor issues per cycle (compute capability 8.6 and later)
_COOLINGS, _N_PARTICLES, _N_STEPS = 10_000, 4320, 20_000_000


def measure() -> list[dict[str, Any]]:
    """Return one row per system and number of replicas, and the projection of a full-scale ensemble."""
    if not cuda.available():
        return []
    from numba import cuda as card

    properties = card.get_current_device()
    limit = properties.MULTIPROCESSOR_COUNT * _LANES * properties.CLOCK_RATE * 1e3 / _PER_NEIGHBOUR
    limit /= _neighbours(MIXTURES["ka2d"])
    systems = [*((256, c) for c in (1, 4, 8)), *((1000, c) for c in (1, 4, 8)), *((4000, c) for c in (1, 2, 4))]
    rows = [_speed(n, c * properties.MULTIPROCESSOR_COUNT, limit) for n, c in systems]
    full = _speed(_N_PARTICLES, 4 * properties.MULTIPROCESSOR_COUNT, limit)
    work = _COOLINGS * _N_PARTICLES * _N_STEPS / 86_400
    days, least = work / (full["value"] * 1e9), work / limit
    name = f"cuda: {_COOLINGS} coolings, N = {_N_PARTICLES}, {_N_STEPS} steps, minima aside"
    return [*rows, full, _row(name, days, "days on one card", least, least / days)]


def _speed(n: int, replicas: int, limit: float) -> dict[str, Any]:
    begin = dynamics.start(MIXTURES["ka2d"], n_particles=n, T=1.0, rng=stream(1, "cuda", n))
    ramp = {"dt": 0.005, "T_from": 1.0, "T_to": 1.0, "tau": 0.5}
    warm = dynamics.advance(begin, n_steps=4000, rng=stream(1, "warm", n), **ramp)
    rngs = [stream(1, "replica", run) for run in range(replicas)]
    states = cuda.advance([warm] * replicas, n_steps=1000, rngs=rngs, **ramp)  # compiles, and lets the replicas part
    n_steps = max(1000, 20_000_000 // n // 20 * 20)
    speeds = []
    for _ in range(_TURNS):
        began = time.perf_counter()
        states = cuda.advance(states, n_steps=n_steps, rngs=rngs, **ramp)
        speeds.append(n * replicas * n_steps / (time.perf_counter() - began))
    value = float(np.median(speeds))
    name = f"cuda: ka2d N = {n}, T = 1.0, {replicas} replicas"
    return _row(name, value / 1e9, "G particle-steps/s", limit / 1e9, value / limit)


def _row(name: str, value: float, unit: str, limit: float, ratio: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": "issue limit of the card",
        "peer_value": limit,
        "ratio": ratio,
    }


def _neighbours(mixture: Mixture) -> float:
    """Return the mean number of particles inside the cut-off at uniform density."""
    x = np.array([mixture.fraction_A, 1 - mixture.fraction_A])
    area = np.pi * (mixture.cutoff * np.array(mixture.sigma)) ** 2
    return float(mixture.density * x @ area @ x)


if __name__ == "__main__":
    found = measure()
    for row in found:
        print(f"{row['name']}: {row['value']:.3g} {row['unit']}; {row['ratio']:.2f} of the {row['peer']}")
    if not found:
        print("no NVIDIA card, driver or numba-cuda here: nothing measured")
