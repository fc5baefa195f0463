r"""Structure without a network: numbers that a physicist computes from a configuration, and what they tell apart.

Of every configuration, in two and three dimensions (freud does the geometry):

- **the three metrics that bond attention selects**: in the graph that joins each particle to its k nearest neighbours,
  made symmetric, keep the bonds with at least one B end. Count the connected components, the B-B bonds, and the A
  particles without a B neighbour. A particle without a bond is a component of its own;
- coordination numbers and bond lengths by species, and bond order (:func:`vitrify.views.local_descriptors`);
- in two dimensions, from the Voronoi cells: the fractions of cells with 4 to 8 sides, the spread of their areas, and

  .. math:: \psi_n(i) = \frac{1}{N_i} \sum_{j} e^{i n \theta_{ij}}, \qquad n = 4, 5, 6

  over the neighbours that share a side, as the mean magnitude.

Of an ensemble: the partial pair correlations (:func:`vitrify.views.pair_correlation`) and, over the wave vectors that
the box allows,

.. math:: S(q) = \frac{1}{N} \left\langle
          \Big|\sum_j e^{-i \mathbf{q} \cdot \mathbf{r}_j}\Big|^2 \right\rangle_{|\mathbf{q}| = q}

each with the standard error over independent runs.

References:
    bond attention: Swanson et al. 2020, doi:10.48550/arXiv.1909.04648; bond order: Halperin & Nelson 1978,
    doi:10.1103/PhysRevLett.41.121; freud: Ramasubramani et al. 2020, doi:10.1016/j.cpc.2020.107275;
    S(q): Hansen & McDonald 2013, doi:10.1016/B978-0-12-387032-2.00004-0
"""

__all__ = [
    "N_NEIGHBOURS",
    "Connectivity",
    "bond_metrics",
    "connectivity",
    "first_shells",
    "metrics",
    "structure_factor",
    "voronoi_metrics",
]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float32, Float64, Integer
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vitrify.system import Configuration
from vitrify.views import Graph, freud_system, local_descriptors, pair_correlation

N_NEIGHBOURS = {2: 6, 3: 12}
"""Nearest neighbours in the graph of the three metrics, by dimension."""

_SIDES = (4, 5, 6, 7, 8)
_SHELL_BIN = 0.02  # in mean distances of neighbours; two such bins are averaged over
_SAME_SHELL = (
    1.35  # times the first peak's distance: nearer ones split the first shell; a square lattice's next is 1.41
)
_STANDS_OUT = 0.3  # how far a peak of g(r) must rise above the higher of the valleys beside it


def metrics(
    configuration: Configuration, *, shells: Sequence[Sequence[float]] | None = None
) -> tuple[tuple[str, ...], Float64[np.ndarray, " m"]]:
    """Return the names and values of all metrics of a configuration.

    Args:
        configuration: At least two particles of each species; periodic.
        shells: As of :func:`vitrify.views.local_descriptors`.

    Raises:
        ValueError: A species is missing or an axis is not periodic.
    """
    names, values = local_descriptors(configuration, shells=shells)
    found: dict[str, float] = dict(
        zip(("components", "bonds_BB", "lonely_A"), bond_metrics(configuration), strict=True)
    )
    found |= dict(zip(names, values, strict=True))
    if configuration.dimension == 2:
        found |= voronoi_metrics(configuration)
    return tuple(found), np.array(list(found.values()), float)


@dataclass(frozen=True, kw_only=True, slots=True)
class Connectivity:
    """Whether messages can reach every particle of a configuration, in the graphs of many.

    Args:
        n_configurations: How many configurations.
        connected: The fraction of them whose graph is in one piece.
        components: Mean number of pieces of a graph.
        max_components: The largest number of pieces of a graph.
        degree: Mean number of bonds of a particle, each counted at both ends; at least ``n_neighbours``.
    """

    n_configurations: int
    connected: float
    components: float
    max_components: int
    degree: float


def connectivity(
    positions: Float32[np.ndarray, "b n d"], box: Float64[np.ndarray, " d"], *, n_neighbours: int
) -> Connectivity:
    """Return how connected the graphs are that join each particle to its nearest neighbours, made symmetric.

    Args:
        positions: Coordinates, in sigma_AA; periodic.
        box: Edge lengths, in sigma_AA.
        n_neighbours: Nearest neighbours joined to each particle.

    Raises:
        ValueError: There are not more particles than neighbours.
    """
    n = positions.shape[1]
    neighbours, _, _ = Graph(n_neighbours=n_neighbours)(positions, np.zeros(n, int), box)
    pieces, n_bonds = [], []
    for one in neighbours:
        pairs = _bonds(one)
        joined = coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
        pieces.append(int(connected_components(joined, directed=False)[0]))
        n_bonds.append(len(pairs))
    return Connectivity(
        n_configurations=len(pieces),
        connected=float(np.mean(np.array(pieces) == 1)),
        components=float(np.mean(pieces)),
        max_components=max(pieces),
        degree=float(2 * np.mean(n_bonds) / n),
    )


def bond_metrics(configuration: Configuration, *, n_neighbours: int | None = None) -> tuple[int, int, int]:
    """Return the connected components, the B-B bonds, and the A particles without a B neighbour.

    Args:
        configuration: Any number of particles; periodic.
        n_neighbours: Nearest neighbours joined to each particle; by default `N_NEIGHBOURS`.

    Raises:
        ValueError: There are not more particles than neighbours.
    """
    n, is_B = len(configuration.species), configuration.species == 1
    k = n_neighbours or N_NEIGHBOURS[configuration.dimension]
    neighbours, _, _ = Graph(n_neighbours=k)(
        configuration.positions[None].astype(np.float32), configuration.species, configuration.box
    )
    pairs = _bonds(neighbours[0])
    pairs = pairs[is_B[pairs].any(axis=1)]
    joined = coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    n_components, _ = connected_components(joined, directed=False)
    with_B = np.zeros(n, bool)
    for here, there in (pairs.T, pairs.T[::-1]):
        with_B[here[is_B[there]]] = True
    return int(n_components), int(is_B[pairs].all(axis=1).sum()), int((~with_B & ~is_B).sum())


def voronoi_metrics(configuration: Configuration) -> dict[str, float]:
    """Return the metrics of the Voronoi cells of a two-dimensional configuration, by name.

    Raises:
        ValueError: It has three dimensions, or an axis is not periodic.
    """
    if configuration.dimension != 2:
        raise ValueError(f"configuration must have 2 dimensions; got {configuration.dimension}")
    import freud  # a second to import

    together = freud_system(configuration)
    with freud.parallel.NumThreads(1):
        cells = freud.locality.Voronoi().compute(together)
        sides = cells.nlist.neighbor_counts
        found = {f"sides_{n}": float((sides == n).mean()) for n in _SIDES}
        found["area_sd"] = float(cells.volumes.std() / cells.volumes.mean())
        for n in (4, 5, 6):
            order = freud.order.Hexatic(k=n).compute(together, neighbors=cells.nlist).particle_order
            found[f"psi{n}_voronoi"] = float(np.abs(order).mean())
    return found


def structure_factor(
    configuration: Configuration, *, q_max: float = 20.0, n_bins: int = 60
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Return wave numbers and the structure factor of all particles, averaged over directions.

    Args:
        configuration: Periodic.
        q_max: Largest wave number, in 1 / sigma_AA.
        n_bins: Shells between 0 and ``q_max``; one without a wave vector of the box is NaN.
    """
    box, d = configuration.box, configuration.dimension
    units = [2 * np.pi / float(edge) for edge in box]
    steps = [np.arange(-int(q_max / unit), int(q_max / unit) + 1) for unit in units]
    # half of the wave vectors: the other half has the same amplitudes, conjugate
    steps[-1] = np.arange(len(steps[-1]) // 2 + 1)
    waves = [
        np.exp(-1j * unit * np.outer(own, along))
        for unit, own, along in zip(units, steps, configuration.positions.T, strict=True)
    ]
    amplitude = np.einsum("an,bn->ab", *waves) if d == 2 else np.einsum("an,bn,cn->abc", *waves, optimize=True)
    grids = np.meshgrid(*steps, indexing="ij")
    q = units[0] * np.sqrt(sum((grid * (unit / units[0])) ** 2 for grid, unit in zip(grids, units, strict=True)))
    edges = np.linspace(0, q_max, n_bins + 1)
    shell = np.digitize(q, edges) - 1
    inside = (q > 0) & (shell < n_bins)
    weight = np.where(grids[-1] == 0, 1.0, 2.0)[inside]
    count = np.bincount(shell[inside], weight, minlength=n_bins)
    total = np.bincount(shell[inside], weight * np.abs(amplitude[inside]) ** 2, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        return (edges[1:] + edges[:-1]) / 2, np.asarray(total / count / len(configuration.species))


def first_shells(
    configurations: Sequence[Configuration],
) -> tuple[Float64[np.ndarray, "k k"], Float64[np.ndarray, "k k"]]:
    """Return where the first peak of each pair correlation is and where its first shell ends, row a for species a.

    The peak is the first that stands out of its surroundings, or the highest of those that split the first shell; the
    end is the least value before the next shell's. What no peak can be seen of counts as at the mean distance of
    neighbours, its shell ending one half farther.

    Args:
        configurations: Of one composition in one box, periodic, at least two particles of each species.
    """
    one = configurations[0]
    n, apart = int(one.species.max()) + 1, one.density ** (-1 / one.dimension)
    r_max = min(4 * apart, 0.499 * float(one.box.min()))
    n_bins = int(r_max / (_SHELL_BIN * apart))
    curves = [pair_correlation(each, r_max=r_max, n_bins=n_bins) for each in configurations]
    r, mean = curves[0][0], gaussian_filter1d(np.mean([g for _, g in curves], axis=0), 2.0, axis=1)
    peaks, ends = np.full((n, n), apart), np.full((n, n), 1.5 * apart)
    for (a, b), g in zip(combinations_with_replacement(range(n), 2), mean, strict=True):
        places, _ = find_peaks(g, prominence=_STANDS_OUT)
        if not len(places):
            continue
        near = places[r[places] < _SAME_SHELL * r[places[0]]]
        beyond = places[len(near) :]
        last = beyond[0] if len(beyond) else np.searchsorted(r, 1.8 * r[near[0]])
        between = g[near[-1] : last]
        # of an empty gap, its middle
        end = r[near[-1] : last][between < between.min() + 0.01].mean()
        peaks[[a, b], [b, a]], ends[[a, b], [b, a]] = r[near[g[near].argmax()]], end
    return peaks, ends


def _bonds(neighbours: Integer[np.ndarray, "n k"]) -> Integer[np.ndarray, "e 2"]:
    """Return each pair of which one names the other, once."""
    n, k = neighbours.shape
    pairs = np.stack([np.repeat(np.arange(n), k), neighbours.ravel()], axis=1)
    return np.unique(np.sort(pairs, axis=1), axis=0)
