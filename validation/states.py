r"""Configurations made into states of the engine, and what the package has no need of but a check has.

.. math:: P = \rho T + \frac{1}{d V}\sum_{i<j} \mathbf r_{ij}\cdot\mathbf F_{ij}, \qquad
          T_{conf} = \frac{\langle\sum_i |\mathbf F_i|^2\rangle}{\langle\sum_i \nabla_i^2 U\rangle}

For the truncated and shifted potential the second derivative has a part at the cut-off, where the force jumps: each
ordered pair of particles adds :math:`-u'(r_c)\,\delta(r - r_c)`. It is counted from the pairs within a thin shell.

References:
    Jepps, Ayton & Evans, 2000, doi:10.1103/PhysRevE.62.4757 (configurational temperature)
"""

__all__ = ["curvature", "mixture_of", "state_of", "unwrapped", "virial"]

import numpy as np
from jaxtyping import Float, Int32
from scipy.spatial import cKDTree

from vitrify.dynamics import State, fixed_point
from vitrify.potentials import MIXTURES, Mixture, forces
from vitrify.system import Configuration, minimum_image

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
    r, _, slope, _, _ = _pairs(configuration, mixture)
    return float(-(r * slope).sum() / (mixture.dimension * np.prod(configuration.box)))


def curvature(configuration: Configuration, mixture: Mixture) -> tuple[float, float]:
    """Return the sum over particles of the squared force, and of the Laplacian of the shifted potential."""
    r, bend, slope, near, slope_at_cutoff = _pairs(configuration, mixture)
    squared = float((forces(configuration, mixture) ** 2).sum())
    smooth = 2 * (bend + (mixture.dimension - 1) * slope / r).sum()
    jump = -2 * (slope_at_cutoff * near).sum() / _SHELL
    return squared, float(smooth + jump)


def _pairs(configuration: Configuration, mixture: Mixture) -> tuple[np.ndarray, ...]:
    """Return per pair: distance, u'', u', whether it is in the shell just inside the cut-off, and u' there.

    The shell counts each pair with the weight that makes the count the density of pairs AT the cut-off.
    """
    reach = mixture.cutoff * np.max(mixture.sigma)
    tree = cKDTree(configuration.positions, boxsize=configuration.box)
    i, j = tree.query_pairs(reach, output_type="ndarray").T
    a, b = configuration.species[i], configuration.species[j]
    epsilon, sigma = np.array(mixture.epsilon)[a, b], np.array(mixture.sigma)[a, b]
    dr = minimum_image(configuration.positions[i] - configuration.positions[j], configuration.box)
    r = np.linalg.norm(dr, axis=1)
    inside = r < mixture.cutoff * sigma
    r, epsilon, sigma = r[inside], epsilon[inside], sigma[inside]
    cutoff = mixture.cutoff * sigma
    x6 = (sigma / r) ** 6
    slope = -24 * epsilon * (2 * x6**2 - x6) / r
    bend = 24 * epsilon * (26 * x6**2 - 7 * x6) / r**2
    c6 = mixture.cutoff**-6
    slope_at_cutoff = -24 * epsilon * (2 * c6**2 - c6) / cutoff
    near = (r > cutoff - _SHELL) * (cutoff / (cutoff - _SHELL / 2)) ** (mixture.dimension - 1)
    return r, bend, slope, near, slope_at_cutoff
