r"""Binary Lennard-Jones mixtures, and their energies and forces in double precision.

.. math:: u(r) = 4\epsilon_{ab}\left[(\sigma_{ab}/r)^{12} - (\sigma_{ab}/r)^6\right], \qquad r < r_c\,\sigma_{ab}

Two energies go with the one force. ``unshifted`` is :math:`u` as it stands, which jumps at the cut-off;
``shifted`` subtracts :math:`u(r_c\sigma_{ab})` from every pair, is continuous, and is what may be minimised.
These functions are the slow, plain statement of the physics; :mod:`vitrify.kernels` is held to them.
"""

__all__ = ["MIXTURES", "Energies", "Mixture", "energies", "forces", "lennard_jones"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from scipy.spatial import cKDTree

from vitrify.system import Configuration, minimum_image


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """A binary mixture: ``epsilon[a][b]`` and ``sigma[a][b]`` with a, b = 0 (A), 1 (B).

    Args:
        name: How study files call it.
        dimension: 2 or 3.
        fraction_A: Number fraction of the A particles.
        epsilon: Well depths, in epsilon_AA.
        sigma: Diameters, in sigma_AA.
        cutoff: Cut-off of every pair in units of that pair's sigma.
        density: Default number density, in sigma_AA^-d.
        doi: Where it comes from.
    """

    name: str
    dimension: int
    fraction_A: float
    epsilon: tuple[tuple[float, float], tuple[float, float]]
    sigma: tuple[tuple[float, float], tuple[float, float]]
    cutoff: float
    density: float
    doi: str

    def species(self, n_particles: int) -> Integer[np.ndarray, " n"]:
        """Return the species of ``n_particles``, A first."""
        return (np.arange(n_particles) >= round(self.fraction_A * n_particles)).astype(np.int32)

    def box(self, n_particles: int) -> Float[np.ndarray, " d"]:
        """Return the edges of the square or cube that holds ``n_particles`` at the mixture's density."""
        return np.full(self.dimension, (n_particles / self.density) ** (1 / self.dimension))


@dataclass(frozen=True, kw_only=True, slots=True)
class Energies:
    """Potential energy per particle under both conventions, in epsilon_AA."""

    unshifted: float
    shifted: float


def lennard_jones(
    r: Float[np.ndarray, "*e"], epsilon: Float[np.ndarray, "*e"] | float, sigma: Float[np.ndarray, "*e"] | float
) -> Float[np.ndarray, "*e"]:
    """Return the untruncated pair energy at distance ``r``.

    Example:
        >>> float(lennard_jones(np.array(2 ** (1 / 6)), 1.0, 1.0).round(12))
        -1.0
    """
    x6 = (np.asarray(sigma) / r) ** 6
    return np.asarray(4 * np.asarray(epsilon) * (x6 * x6 - x6))


def energies(configuration: Configuration, mixture: Mixture) -> Energies:
    """Return the potential energy per particle under both cut-off conventions.

    Raises:
        ValueError: The box is too small for the minimum image, the dimension is not the mixture's, or a species
            is not A or B.
    """
    _, r, epsilon, sigma, _ = _pairs(configuration, mixture)
    pair = lennard_jones(r, epsilon, sigma)
    shift = lennard_jones(mixture.cutoff * sigma, epsilon, sigma)
    n = len(configuration.positions)
    return Energies(unshifted=float(pair.sum() / n), shifted=float((pair - shift).sum() / n))


def forces(configuration: Configuration, mixture: Mixture) -> Float[np.ndarray, "n d"]:
    """Return the force on every particle, in epsilon_AA / sigma_AA; the same under both conventions.

    Raises:
        ValueError: As for :func:`energies`.
    """
    dr, r, epsilon, sigma, pairs = _pairs(configuration, mixture)
    x6 = (sigma / r) ** 6
    pull = (48 * epsilon * x6 * (x6 - 0.5) / r**2)[:, None] * dr
    total = np.zeros_like(configuration.positions)
    np.add.at(total, pairs[:, 0], pull)
    np.subtract.at(total, pairs[:, 1], pull)
    return total


def _pairs(configuration: Configuration, mixture: Mixture) -> tuple[np.ndarray, ...]:
    """Return separation, distance, epsilon, sigma and indices of every pair inside its cut-off."""
    reach = mixture.cutoff * np.max(mixture.sigma)
    periodic = np.ones(configuration.dimension, bool) if configuration.periodic is None else configuration.periodic
    if configuration.dimension != mixture.dimension:
        raise ValueError(
            f"mixture {mixture.name} is {mixture.dimension}-dimensional; the configuration has "
            f"{configuration.dimension} dimensions"
        )
    if (configuration.box[periodic] < 2 * reach).any():
        raise ValueError(
            f"box must be at least twice the cut-off, {2 * reach:.3f}, along periodic axes; "
            f"got {configuration.box.tolist()}: use more particles"
        )
    if configuration.species.max(initial=0) > 1:
        raise ValueError(f"species must be 0 (A) or 1 (B) for {mixture.name}; got {configuration.species.max()}")
    tree = cKDTree(configuration.positions, boxsize=np.where(periodic, configuration.box, 0.0))
    pairs = tree.query_pairs(reach, output_type="ndarray")
    a, b = configuration.species[pairs].T
    epsilon, sigma = np.array(mixture.epsilon)[a, b], np.array(mixture.sigma)[a, b]
    dr = minimum_image(
        configuration.positions[pairs[:, 0]] - configuration.positions[pairs[:, 1]],
        configuration.box,
        periodic=configuration.periodic,
    )
    r = np.linalg.norm(dr, axis=1)
    near = r < mixture.cutoff * sigma
    return dr[near], r[near], epsilon[near], sigma[near], pairs[near]


_KOB_ANDERSEN = {
    "epsilon": ((1.0, 1.5), (1.5, 0.5)),
    "sigma": ((1.0, 0.8), (0.8, 0.88)),
    "cutoff": 2.5,
    "density": 1.2,
}

MIXTURES = {
    mixture.name: mixture
    for mixture in (
        # Bruening, St-Onge, Patterson & Kob 2009: 65:35 does not crystallise in two dimensions.
        Mixture(name="ka2d", dimension=2, fraction_A=0.65, doi="10.1088/0953-8984/21/3/035117", **_KOB_ANDERSEN),  # type: ignore[arg-type]
        # Kob & Andersen 1995, table I.
        Mixture(name="ka3d", dimension=3, fraction_A=0.8, doi="10.1103/PhysRevE.51.4626", **_KOB_ANDERSEN),  # type: ignore[arg-type]
    )
}
