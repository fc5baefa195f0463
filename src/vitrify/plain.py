r"""The engine once more, as one would write it first: the readable reference of :mod:`vitrify.kernels`.

Double precision, positions in :math:`\sigma_{AA}`, one loop per idea, compiled by Numba as it stands. It takes the
same settings and the same random numbers, so the tests compare the two step by step. Nothing else uses it.
"""

__all__ = ["forces", "integrate", "neighbours"]

import numba
import numpy as np
from jaxtyping import Float64, Int64

_SKIN = 0.4


@numba.njit(cache=True)
def neighbours(x: Float64[np.ndarray, "n d"], edge: float, reach: float) -> Int64[np.ndarray, "n m"]:
    """Return, for each particle, how many others are within ``reach``, and then which."""
    n, d = x.shape
    room = min(n, 300 if d == 3 else 80)
    near = np.zeros((n, room + 1), np.int64)
    for i in range(n):
        for j in range(i):
            r2 = 0.0
            for axis in range(d):
                dr = x[i, axis] - x[j, axis]
                dr -= edge * np.rint(dr / edge)
                r2 += dr * dr
            if r2 < reach * reach:
                near[i, 0] += 1
                near[j, 0] += 1
                near[i, near[i, 0]] = j
                near[j, near[j, 0]] = i
    return near


@numba.njit(cache=True)
def forces(
    x: Float64[np.ndarray, "n d"],
    edge: float,
    n_A: int,
    epsilon: Float64[np.ndarray, "2 2"],
    sigma: Float64[np.ndarray, "2 2"],
    cutoff: float,
    near: Int64[np.ndarray, "n m"],
) -> Float64[np.ndarray, "n d"]:
    r"""Return the force on each particle.

    .. math:: \mathbf{F} = \sum_j \frac{48\epsilon}{r^2}\left[(\sigma/r)^{12} - \tfrac12(\sigma/r)^6\right]\mathbf{r},
              \quad r < r_c\,\sigma
    """
    n, d = x.shape
    force = np.zeros((n, d))
    dr = np.zeros(d)
    for i in range(n):
        for k in range(1, near[i, 0] + 1):
            j = near[i, k]
            a, b = int(i >= n_A), int(j >= n_A)
            r2 = 0.0
            for axis in range(d):
                dr[axis] = x[i, axis] - x[j, axis]
                dr[axis] -= edge * np.rint(dr[axis] / edge)
                r2 += dr[axis] ** 2
            if r2 < (cutoff * sigma[a, b]) ** 2:
                x6 = (sigma[a, b] ** 2 / r2) ** 3
                force[i] += 48 * epsilon[a, b] * x6 * (x6 - 0.5) / r2 * dr
    return force


@numba.njit(cache=True)
def integrate(
    x: Float64[np.ndarray, "n d"],
    v: Float64[np.ndarray, "n d"],
    edge: float,
    n_A: int,
    epsilon: Float64[np.ndarray, "2 2"],
    sigma: Float64[np.ndarray, "2 2"],
    cutoff: float,
    dt: float,
    every: int,
    bath: Float64[np.ndarray, " blocks"],
    c: float,
    noise: Float64[np.ndarray, " blocks"],
    chi2: Float64[np.ndarray, " blocks"],
) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"]]:
    """Return positions and velocities after velocity Verlet with a Bussi thermostat after every ``every`` steps.

    Arguments as for :func:`vitrify.kernels.integrate`.

    References:
        Bussi, Donadio & Parrinello, 2007, doi:10.1063/1.2408420
    """
    x, v = x.copy(), v.copy()
    reach = cutoff * sigma.max() + _SKIN
    near, listed = neighbours(x, edge, reach), x.copy()
    force = forces(x, edge, n_A, epsilon, sigma, cutoff, near)
    for block in range(len(bath)):
        for _ in range(every):
            v += 0.5 * dt * force
            x += dt * v
            if ((x - listed) ** 2).sum(axis=1).max() > (0.5 * _SKIN) ** 2:
                near, listed = neighbours(x, edge, reach), x.copy()
            force = forces(x, edge, n_A, epsilon, sigma, cutoff, near)
            v += 0.5 * dt * force
        ratio = 0.5 * bath[block] / (0.5 * (v**2).sum())
        square = c + ratio * (1 - c) * (noise[block] ** 2 + chi2[block])
        v *= np.sqrt(square + 2 * noise[block] * np.sqrt(c * (1 - c) * ratio))
    return x, v
