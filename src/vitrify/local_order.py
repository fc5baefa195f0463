r"""The order around every particle: bond order, Voronoi cells and local energy.

.. math:: \psi_{k,i} = \frac{1}{n_i} \sum_{j \in V(i)} e^{i k \theta_{ij}}, \qquad
          e_i = \tfrac12 \sum_j u(r_{ij})

with V(i) the particles that share a side of their Voronoi cell with i. Lengths are in sigma_AA, energies in
epsilon_AA and unshifted: their mean is the unshifted energy per particle of `vitrify.potentials.energies`.
"""

__all__ = ["FIELDS", "local_energy", "local_order"]

import numpy as np
from jaxtyping import Float64

from vitrify.potentials import Liquid, Mixture, interacting_pairs, lennard_jones
from vitrify.system import Configuration
from vitrify.views import freud_system

FIELDS = {
    "species": "species (B above A)",
    "psi5": r"five-fold order $|\psi_5|$",
    "psi6": r"six-fold order $|\psi_6|$",
    "q6": r"bond order $q_6$",
    "voronoi_area": r"Voronoi area ($\sigma_{AA}^2$)",
    "voronoi_volume": r"Voronoi volume ($\sigma_{AA}^3$)",
    "voronoi_sides": "sides of the Voronoi cell",
    "voronoi_faces": "faces of the Voronoi cell",
    "energy_unshifted": r"local energy, unshifted ($\epsilon_{AA}$)",
}
"""What the fields are called in figures, with symbols and units."""


def local_order(configuration: Configuration, mixture: Liquid | None = None) -> dict[str, Float64[np.ndarray, " n"]]:
    r"""Return the order around every particle, by name.

    In two dimensions these are the magnitudes of :math:`\psi_5` (five-fold order) and :math:`\psi_6` over the
    neighbours whose Voronoi cells touch, and the area and number of sides of the Voronoi cell; in three, Steinhardt's
    :math:`q_6` over the same neighbours, and the volume and number of faces. The species is among them, and the local
    energy if the mixture is known.

    Args:
        configuration: Periodic along every axis.
        mixture: Its pair potential; of others than binary mixtures there is no energy of a single particle.

    Raises:
        ValueError: An axis is not periodic.

    References:
        Halperin & Nelson, 1978, doi:10.1103/PhysRevLett.41.121
        Steinhardt, Nelson & Ronchetti, 1983, doi:10.1103/PhysRevB.28.784
        Voronoi cells and bond order by freud: Ramasubramani et al., 2020, doi:10.1016/j.cpc.2020.107275
    """
    import freud  # a second to import

    n, d = configuration.positions.shape
    system = freud_system(configuration)
    cells = freud.locality.Voronoi().compute(system)
    sides = np.bincount(cells.nlist.query_point_indices, minlength=n).astype(float)
    fields = {"species": configuration.species.astype(float)}
    if d == 2:
        for fold in (5, 6):
            order = freud.order.Hexatic(k=fold).compute(system, neighbors=cells.nlist).particle_order
            fields[f"psi{fold}"] = np.abs(order).astype(float)
        fields |= {"voronoi_area": np.asarray(cells.volumes, float), "voronoi_sides": sides}
    else:
        steinhardt = freud.order.Steinhardt(l=6).compute(system, neighbors=cells.nlist)
        fields["q6"] = np.asarray(steinhardt.particle_order, float)
        fields |= {"voronoi_volume": np.asarray(cells.volumes, float), "voronoi_faces": sides}
    if isinstance(mixture, Mixture):
        fields["energy_unshifted"] = local_energy(configuration, mixture)
    return fields


def local_energy(configuration: Configuration, mixture: Mixture) -> Float64[np.ndarray, " n"]:
    """Return half the unshifted energy of the pairs each particle is part of, in epsilon_AA.

    Raises:
        ValueError: As for :func:`vitrify.potentials.energies`.
    """
    _, r, epsilon, sigma, of_pair = interacting_pairs(configuration, mixture)
    half = lennard_jones(r, epsilon, sigma) / 2
    total = np.zeros(len(configuration.positions))
    for end in of_pair.T:
        total += np.bincount(end, weights=half, minlength=len(total))
    return total
