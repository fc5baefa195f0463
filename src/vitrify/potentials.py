r"""Model liquids, and their energies and forces in double precision: binary Lennard-Jones mixtures, and water.

.. math:: u(r) = 4\epsilon_{ab}\left[(\sigma_{ab}/r)^{12} - (\sigma_{ab}/r)^6\right], \qquad r < r_c\,\sigma_{ab}

Two energies go with the one force. ``unshifted`` is :math:`u` as it stands, which jumps at the cut-off;
``shifted`` subtracts :math:`u(r_c\sigma_{ab})` from every pair, is continuous, and is what may be minimised. The
three-body potential of :class:`StillingerWeber` goes smoothly to zero at its cut-off: its two energies are one.

These functions are the slow, plain statement of the physics; :mod:`vitrify.kernels` is held to them.
"""

__all__ = [
    "MIXTURES",
    "Energies",
    "Liquid",
    "Mixture",
    "StillingerWeber",
    "energies",
    "forces",
    "interacting_pairs",
    "lennard_jones",
]

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Integer

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
        bulk_modulus: Roughly the dense liquid's, in epsilon_AA / sigma_AA^d; how fast a barostat acts goes by it, and
            nothing else.
    """

    engines: ClassVar[tuple[str, ...]] = ("vitrify", "lammps")
    has_potential: ClassVar[bool] = True
    n_species: ClassVar[int] = 2
    names: ClassVar[tuple[str, ...]] = ("A", "B")
    shells: ClassVar[None] = None
    name: str
    dimension: int
    fraction_A: float
    epsilon: tuple[tuple[float, float], tuple[float, float]]
    sigma: tuple[tuple[float, float], tuple[float, float]]
    cutoff: float
    density: float
    doi: str
    bulk_modulus: float = 100.0

    @property
    def reach(self) -> float:
        """Largest distance at which two particles interact, in sigma_AA."""
        return self.cutoff * float(np.max(self.sigma))

    @property
    def shape(self) -> Float[np.ndarray, " d"]:
        """Box edges in units of the first."""
        return np.ones(self.dimension)

    def species(self, n_particles: int) -> Integer[np.ndarray, " n"]:
        """Return the species of ``n_particles``, A first."""
        return (np.arange(n_particles) >= round(self.fraction_A * n_particles)).astype(np.int32)

    def box(self, n_particles: int) -> Float[np.ndarray, " d"]:
        """Return the edges of the square or cube that holds ``n_particles`` at the mixture's density."""
        return np.full(self.dimension, (n_particles / self.density) ** (1 / self.dimension))


@dataclass(frozen=True, kw_only=True, slots=True)
class StillingerWeber:
    r"""One species with a three-body potential that favours tetrahedra, in units of its epsilon, sigma and mass.

    .. math::
        E = \sum_{i<j} A\left(B r_{ij}^{-p} - r_{ij}^{-q}\right) e^{1/(r_{ij} - a)}
        + \lambda \sum_i \sum_{j<k} (\cos\theta_{jik} - \cos\theta_0)^2
        e^{\gamma/(r_{ij} - a)} e^{\gamma/(r_{ik} - a)}, \qquad r < a

    ``cutoff`` is :math:`a`; the other parameters have their names. The last three say what the units are.

    Args:
        name: How study files call it.
        density: Default number density, in sigma^-3.
        doi: Where it comes from.
        bulk_modulus: Roughly the cold liquid's, in epsilon / sigma^3; as in :class:`Mixture`.
        epsilon_kcal_mol: Unit of energy.
        sigma_A: Unit of length, in angstrom.
        mass_g_mol: Unit of mass.

    References:
        Stillinger & Weber, 1985, doi:10.1103/PhysRevB.31.5262
    """

    engines: ClassVar[tuple[str, ...]] = ("lammps",)
    has_potential: ClassVar[bool] = True
    n_species: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("A",)
    shells: ClassVar[None] = None
    dimension: ClassVar[int] = 3
    name: str
    A: float
    B: float
    p: float
    q: float
    lambda_: float
    gamma: float
    cos_theta0: float
    cutoff: float
    density: float
    doi: str
    bulk_modulus: float
    epsilon_kcal_mol: float
    sigma_A: float
    mass_g_mol: float

    @property
    def reach(self) -> float:
        """Largest distance at which two particles interact, in sigma."""
        return self.cutoff

    @property
    def shape(self) -> Float[np.ndarray, " 3"]:
        """Box edges in units of the first."""
        return np.ones(3)

    @property
    def kelvin(self) -> float:
        """Temperature of 1 in kelvin: epsilon / k_B."""
        from scipy import constants  # slow to import

        return self._joule / float(constants.k)

    @property
    def picosecond(self) -> float:
        """Time of 1 in picoseconds: sigma (m / epsilon)^(1/2)."""
        return float(self._metre * np.sqrt(self._kilogram / self._joule)) * 1e12

    @property
    def gigapascal(self) -> float:
        """Pressure of 1 in gigapascals: epsilon / sigma^3."""
        return self._joule / self._metre**3 * 1e-9

    @property
    def gram_per_cm3(self) -> float:
        """Mass density of a number density of 1, in g/cm^3: m / sigma^3."""
        return self._kilogram / self._metre**3 * 1e-3

    @property
    def _joule(self) -> float:
        from scipy import constants  # slow to import

        return self.epsilon_kcal_mol * 1e3 * float(constants.calorie / constants.N_A)

    @property
    def _metre(self) -> float:
        return self.sigma_A * 1e-10

    @property
    def _kilogram(self) -> float:
        from scipy import constants  # slow to import

        return self.mass_g_mol * 1e-3 / float(constants.N_A)

    def species(self, n_particles: int) -> Integer[np.ndarray, " n"]:
        """Return the species of ``n_particles``: all the same."""
        return np.zeros(n_particles, np.int32)

    def box(self, n_particles: int) -> Float[np.ndarray, " 3"]:
        """Return the edges of the cube that holds ``n_particles`` at the default density."""
        return np.full(3, (n_particles / self.density) ** (1 / 3))


Liquid = Mixture | StillingerWeber


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


def energies(configuration: Configuration, mixture: Liquid) -> Energies:
    """Return the potential energy per particle under both cut-off conventions.

    Raises:
        ValueError: The box is too small for the minimum image, the dimension is not the mixture's, or a species
            is not one of the mixture's.
    """
    n = len(configuration.positions)
    if isinstance(mixture, StillingerWeber):
        energy = _tetrahedral(configuration, mixture)[0] / n
        return Energies(unshifted=energy, shifted=energy)
    _, r, epsilon, sigma, _ = interacting_pairs(configuration, mixture)
    pair = lennard_jones(r, epsilon, sigma)
    shift = lennard_jones(mixture.cutoff * sigma, epsilon, sigma)
    return Energies(unshifted=float(pair.sum() / n), shifted=float((pair - shift).sum() / n))


def forces(configuration: Configuration, mixture: Liquid) -> Float[np.ndarray, "n d"]:
    """Return the force on every particle, in epsilon_AA / sigma_AA; the same under both conventions.

    Raises:
        ValueError: As for :func:`energies`.
    """
    if isinstance(mixture, StillingerWeber):
        return _tetrahedral(configuration, mixture)[1]
    dr, r, epsilon, sigma, pairs = interacting_pairs(configuration, mixture)
    x6 = (sigma / r) ** 6
    pull = (48 * epsilon * x6 * (x6 - 0.5) / r**2)[:, None] * dr
    total = np.zeros_like(configuration.positions)
    np.add.at(total, pairs[:, 0], pull)
    np.subtract.at(total, pairs[:, 1], pull)
    return total


def _tetrahedral(configuration: Configuration, water: StillingerWeber) -> tuple[float, np.ndarray]:
    """Return the energy and the forces of a Stillinger-Weber liquid."""
    pairs, dr = _neighbours(configuration, water)
    r = np.linalg.norm(dr, axis=1)
    inside = r < water.cutoff
    pairs, dr, r = pairs[inside], dr[inside], r[inside]
    fade = np.exp(1 / (r - water.cutoff))
    well = water.A * (water.B * r**-water.p - r**-water.q)
    slope = -water.A * (water.p * water.B * r ** (-water.p - 1) - water.q * r ** (-water.q - 1))
    slope = fade * (slope - well / (r - water.cutoff) ** 2)
    total = np.zeros_like(configuration.positions)
    _push(total, pairs[:, 0], pairs[:, 1], (slope / r)[:, None] * dr)

    # every bond from its two ends, sorted by centre; then every two bonds of one centre
    centre, end = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.argsort(centre, kind="stable")
    centre, end = centre[order], end[order]
    bond, length = np.concatenate([-dr, dr])[order], np.concatenate([r, r])[order]  # from the centre to the end
    most = int(np.bincount(centre, minlength=1).max())
    same = [np.flatnonzero(centre[:-apart] == centre[apart:]) for apart in range(1, most)]
    first = np.concatenate([np.zeros(0, int), *same])
    second = first + np.repeat(np.arange(1, max(most, 1)), [len(at) for at in same])
    u, v, r_u, r_v = bond[first], bond[second], length[first], length[second]
    cosine = (u * v).sum(axis=1) / (r_u * r_v)
    bend = cosine - water.cos_theta0
    fade_3 = water.lambda_ * np.exp(water.gamma / (r_u - water.cutoff) + water.gamma / (r_v - water.cutoff))
    for along, across, r_along, r_across, tip in ((u, v, r_u, r_v, end[first]), (v, u, r_v, r_u, end[second])):
        turn = across / (r_along * r_across)[:, None] - (cosine / r_along**2)[:, None] * along
        stretch = -(water.gamma * bend**2 / (r_along - water.cutoff) ** 2 / r_along)[:, None] * along
        gradient = fade_3[:, None] * (2 * bend[:, None] * turn + stretch)
        _push(total, tip, centre[first], gradient)
    return float((well * fade).sum() + (fade_3 * bend**2).sum()), total


def _push(total: np.ndarray, tip: np.ndarray, tail: np.ndarray, gradient: np.ndarray) -> None:
    """Add to the forces those of an energy whose gradient in ``tip - tail`` is given."""
    np.subtract.at(total, tip, gradient)
    np.add.at(total, tail, gradient)


def interacting_pairs(configuration: Configuration, mixture: Mixture) -> tuple[np.ndarray, ...]:
    """Return separation, distance, epsilon, sigma and indices of every pair inside its cut-off.

    Raises:
        ValueError: As for :func:`energies`.
    """
    pairs, dr = _neighbours(configuration, mixture)
    a, b = configuration.species[pairs].T
    epsilon, sigma = np.array(mixture.epsilon)[a, b], np.array(mixture.sigma)[a, b]
    r = np.linalg.norm(dr, axis=1)
    near = r < mixture.cutoff * sigma
    return dr[near], r[near], epsilon[near], sigma[near], pairs[near]


def _neighbours(configuration: Configuration, mixture: Liquid) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices and the separation, first minus second, of every pair within the mixture's reach."""
    periodic = np.ones(configuration.dimension, bool) if configuration.periodic is None else configuration.periodic
    if configuration.dimension != mixture.dimension:
        raise ValueError(
            f"mixture {mixture.name} is {mixture.dimension}-dimensional; the configuration has "
            f"{configuration.dimension} dimensions"
        )
    if (configuration.box[periodic] < 2 * mixture.reach).any():
        raise ValueError(
            f"box must be at least twice the cut-off, {2 * mixture.reach:.3f}, along periodic axes; "
            f"got {configuration.box.tolist()}: use more particles"
        )
    known = "0 (A) or 1 (B)" if isinstance(mixture, Mixture) else "0"
    if configuration.species.max(initial=0) > isinstance(mixture, Mixture):
        raise ValueError(f"species must be {known} for {mixture.name}; got {configuration.species.max()}")
    from scipy.spatial import cKDTree  # slow to import

    tree = cKDTree(configuration.positions, boxsize=np.where(periodic, configuration.box, 0.0))
    pairs = tree.query_pairs(mixture.reach, output_type="ndarray")
    dr = configuration.positions[pairs[:, 0]] - configuration.positions[pairs[:, 1]]
    return pairs, minimum_image(dr, configuration.box, periodic=configuration.periodic)


_KOB_ANDERSEN = {
    "epsilon": ((1.0, 1.5), (1.5, 0.5)),
    "sigma": ((1.0, 0.8), (0.8, 0.88)),
    "cutoff": 2.5,
    "density": 1.2,
}

MIXTURES: dict[str, Liquid] = {
    mixture.name: mixture
    for mixture in (
        # Bruening, St-Onge, Patterson & Kob 2009: 65:35 does not crystallise in two dimensions.
        Mixture(name="ka2d", dimension=2, fraction_A=0.65, doi="10.1088/0953-8984/21/3/035117", **_KOB_ANDERSEN),  # type: ignore[arg-type]
        # Kob & Andersen 1995, table I.
        Mixture(name="ka3d", dimension=3, fraction_A=0.8, doi="10.1103/PhysRevE.51.4626", **_KOB_ANDERSEN),  # type: ignore[arg-type]
        # Molinero & Moore 2009: one particle is one molecule of water; 0.997 g/cm^3 at 298 K.
        StillingerWeber(
            name="mw",
            A=7.049556277,
            B=0.6022245584,
            p=4,
            q=0,
            lambda_=23.15,
            gamma=1.2,
            cos_theta0=-1 / 3,
            cutoff=1.8,
            density=0.4564,
            doi="10.1021/jp805227c",
            bulk_modulus=3.0,
            epsilon_kcal_mol=6.189,
            sigma_A=2.3925,
            mass_g_mol=18.015,
        ),
    )
}
