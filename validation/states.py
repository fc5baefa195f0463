r"""Configurations made into states of the engine, and what the package has no need of but a check has.

.. math:: P = \rho T + \frac{1}{d V}\sum_{i<j} \mathbf r_{ij}\cdot\mathbf F_{ij}, \qquad
          T_{conf} = \frac{\langle\sum_i |\mathbf F_i|^2\rangle}{\langle\sum_i \nabla_i^2 U\rangle}

Velocity Verlet conserves :math:`H + \frac{\Delta t^2}{12}\left(\mathbf v\cdot\mathsf H\mathbf v
- \frac12|\mathbf F|^2\right)`, with :math:`\mathsf H` the Hessian of U. Where a thermostat holds the velocities of
whole steps at T, integrating over them gives to the first order, for any U,

.. math:: \frac{T_{conf}}{T} = 1 + \Delta t^2\left(\frac{\langle\mathrm{tr}\,\mathsf H\rangle}{6\,d(N-1)}
          + \frac{\langle\mathrm{tr}\,\mathsf H^2\rangle}{12\,\langle\mathrm{tr}\,\mathsf H\rangle}\right)

with no free parameter.

For the truncated and shifted potential the second derivative has a part at the cut-off, where the force jumps: each
ordered pair of particles adds :math:`-u'(r_c)\,\delta(r - r_c)`. It is counted from the pairs within a thin shell.

References:
    Jepps, Ayton & Evans, 2000, doi:10.1103/PhysRevE.62.4757 (configurational temperature)
    Toxvaerd, 1994, doi:10.1103/PhysRevE.50.2271 (what velocity Verlet conserves)
"""

__all__ = ["curvature", "heating", "mixture_of", "state_of", "unwrapped", "virial"]

import numpy as np
from jaxtyping import Float, Int32

from vitrify.dynamics import State, fixed_point
from vitrify.potentials import MIXTURES, Mixture, forces, interacting_pairs
from vitrify.system import Configuration

_SHELL = 0.05


def mixture_of(name: str) -> Mixture:
    """Return a Lennard-Jones mixture by its name.

    Raises:
        ValueError: The name is that of another kind of model.
    """
    mixture = MIXTURES[name]
    if not isinstance(mixture, Mixture):
        raise ValueError(f"name must be that of a Lennard-Jones mixture; got {name!r}")
    return mixture


def state_of(configuration: Configuration, mixture: Mixture) -> State:
    """Return a configuration as a state at rest: positions in fixed point, A particles first.

    Args:
        configuration: A square or cubic box, species 0 and 1 in the mixture's proportion.
        mixture: The species and their potential.

    Raises:
        ValueError: The box is not square or cubic, or the composition is not the mixture's.
    """
    n, edge = len(configuration.positions), float(configuration.box[0])
    if not np.allclose(configuration.box, edge, rtol=1e-9):
        raise ValueError(f"box must be square or cubic; got {configuration.box.tolist()}")
    order = np.argsort(configuration.species, kind="stable")
    if not np.array_equal(configuration.species[order], mixture.species(n)):
        n_A = int((configuration.species == 0).sum())
        raise ValueError(f"species must be {mixture.fraction_A:.0%} A for {mixture.name}; got {n_A} of {n}")
    positions = fixed_point(configuration.positions[order] / edge)
    return State(mixture=mixture, edge=edge, positions=positions, velocities=np.zeros(positions.shape, np.float32))


def unwrapped(positions: Int32[np.ndarray, "t n d"], edge: float) -> Float[np.ndarray, "t n d"]:
    """Return displacements since the first frame from fixed-point positions; no step may exceed half the box."""
    steps = np.diff(positions, axis=0)  # integer wrap-around is the minimum image
    moved = np.cumsum(steps.astype(np.int64), axis=0)
    return np.concatenate([np.zeros((1, *positions.shape[1:])), moved]) * (edge / 2.0**32)


def virial(configuration: Configuration, mixture: Mixture) -> float:
    """Return the virial part of the pressure, without its kinetic part."""
    _, r, epsilon, sigma, _ = interacting_pairs(configuration, mixture)
    slope, _ = _derivatives(r, epsilon, sigma)
    return float(-(r * slope).sum() / (mixture.dimension * np.prod(configuration.box)))


def curvature(configuration: Configuration, mixture: Mixture) -> tuple[float, float, float]:
    """Return the squared force, and the traces of the Hessian of the shifted potential and of its square.

    The trace has the part of the jump of the force at the cut-off; the square leaves it out.
    """
    dr, r, epsilon, sigma, pairs = interacting_pairs(configuration, mixture)
    slope, bend = _derivatives(r, epsilon, sigma)
    d, unit = mixture.dimension, dr / r[:, None]
    along = unit[:, :, None] * unit[:, None, :]
    block = bend[:, None, None] * along + (slope / r)[:, None, None] * (np.eye(d) - along)
    own = np.zeros((len(configuration.positions), d, d))
    for end in pairs.T:
        np.add.at(own, end, block)
    squared_trace = float((own**2).sum() + 2 * (block**2).sum())
    # pairs in a thin shell, each with the weight that makes their count the density of pairs at the cut-off
    cutoff = mixture.cutoff * sigma
    near = (r > cutoff - _SHELL) * (cutoff / (cutoff - _SHELL / 2)) ** (d - 1)
    jump = -2 * (_derivatives(cutoff, epsilon, sigma)[0] * near).sum() / _SHELL
    trace = float(np.trace(own, axis1=1, axis2=2).sum() + jump)
    return float((forces(configuration, mixture) ** 2).sum()), trace, squared_trace


def heating(trace: float, squared_trace: float, *, free: int, dt: float) -> float:
    """Return by what part the configurational temperature exceeds the bath's, from the time step alone.

    Args:
        trace: Mean trace of the Hessian.
        squared_trace: Mean trace of its square.
        free: Degrees of freedom, d(N - 1).
        dt: Time step.

    Example:
        >>> heating(100.0, 10_000.0, free=1, dt=0.01)  # one spring of frequency 10
        0.0025
    """
    return dt**2 * (trace / free / 6 + squared_trace / trace / 12)


def _derivatives(
    r: Float[np.ndarray, " e"], epsilon: Float[np.ndarray, " e"], sigma: Float[np.ndarray, " e"]
) -> tuple[Float[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    """Return the first and the second derivative of the Lennard-Jones potential."""
    x6 = (sigma / r) ** 6
    return -24 * epsilon * (2 * x6**2 - x6) / r, 24 * epsilon * (26 * x6**2 - 7 * x6) / r**2
