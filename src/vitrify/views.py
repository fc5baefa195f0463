r"""What a network or a linear model is shown: pictures, voxels, neighbour graphs, pair correlations and local order.

A view maps positions, species and a periodic box to arrays whose first axis is the configuration:

.. math:: \text{Image: } (b\,n\,d) \to (b\,c\,h\,w), \qquad
          \text{Descriptors: } (b\,n\,d) \to (b\,n\,m), \qquad
          \text{Graph: } (b\,n\,d) \to (b\,n\,k) \text{ neighbours}, (b\,n\,k) \text{ distances}, (b\,n) \text{ species}

Lengths are in sigma_AA. Every view is unchanged when the particles are reordered; graphs and descriptors also when the
sample is shifted, turned or mirrored; a picture is shifted, turned or mirrored with the sample. A box of unlike edges
is never turned onto another shape: `symmetries` lists the operations that keep it.
"""

__all__ = [
    "COLOURS",
    "VIEWS",
    "Descriptors",
    "Graph",
    "Image",
    "Voxels",
    "freud_system",
    "local_descriptors",
    "log_picture",
    "pair_correlation",
    "random_symmetry",
    "symmetries",
    "symmetry",
    "turns_and_mirrors",
]

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement, permutations, product
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int32, Integer, UInt8
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from vitrify.descriptors import Descriptors
from vitrify.system import Configuration
from vitrify.voxels import Voxels

if TYPE_CHECKING:
    import freud

_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Image(BaseModel):
    """Picture of a 2D configuration, one channel per species, each particle an antialiased disc.

    The coverage of a pixel whose centre is ``r`` away from a particle of radius ``R`` rises from 0 to 1 over one
    pixel across the rim; 255 is full, and discs that overlap saturate. Discs a little larger than the distance of
    touching particles make that distance visible in the amount of ink, where small changes of structure hide.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = False

    pixels_per_sigma: float = Field(
        8.0, ge=1, le=64, description="Resolution aimed at; the box is rounded to whole strides of the network."
    )
    radius: tuple[_Length, ...] = Field(
        (0.6, 0.4),
        min_length=1,
        description="Disc radius of each species, in sigma_AA; by default touching discs overlap.",
    )

    def pixels(self, box: Float64[np.ndarray, " d"], *, stride: int = 1) -> tuple[int, int]:
        """Return the height and width of the box in pixels, each a multiple of ``stride``.

        Args:
            box: Edge lengths, in sigma_AA.
            stride: Total stride of the network that will look at the picture.

        Raises:
            ValueError: The box is not two-dimensional.
        """
        if len(box) != 2:
            raise ValueError(f"Image draws 2 dimensions; the box has {len(box)}: use Voxels")
        height, width = (stride * max(1, round(float(edge) * self.pixels_per_sigma / stride)) for edge in box)
        return height, width

    def resolution(self, box: Float64[np.ndarray, " d"], *, stride: int = 1) -> tuple[float, float]:
        """Return the real pixels per sigma_AA along each edge, after rounding to whole strides."""
        height, width = self.pixels(box, stride=stride)
        return height / float(box[0]), width / float(box[1])

    def __call__(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
        *,
        stride: int = 1,
        halo: int = 0,
    ) -> tuple[UInt8[np.ndarray, "b c h w"]]:
        """Return the pictures, one channel per entry of ``radius``; the first axis of the box runs down.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA; periodic.
            stride: The box covers a multiple of this many pixels.
            halo: Pixels of periodic image added on each of the four sides.

        Raises:
            ValueError: The box is not two-dimensional, a species has no radius, or a disc is wider than the box.
        """
        height, width = self.pixels(box, stride=stride)
        if species.max(initial=0) >= len(self.radius):
            raise ValueError(f"radius must have {species.max() + 1} entries, one per species; got {len(self.radius)}")
        if 2 * max(self.radius) > box.min():
            raise ValueError(f"radius must be at most half the box edge {box.min() / 2:.3f}; got {max(self.radius)}")
        pictures = np.empty((len(positions), height + 2 * halo, width + 2 * halo, len(self.radius)), np.uint8)
        pictures = pictures.transpose(0, 3, 1, 2)  # the channels of a pixel lie side by side, as convolutions want
        _draw(positions, species.astype(np.int32), box, np.array(self.radius), height, width, halo, pictures)
        return (pictures,)


class Graph(BaseModel):
    """Each particle with its nearest neighbours under the minimum image, by exact search, in 2 or 3 dimensions."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True

    n_neighbours: int = Field(6, ge=1, le=64, description="Neighbours kept for each particle, the nearest first.")

    def __call__(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Int32[np.ndarray, "b n k"], Float32[np.ndarray, "b n k"], Int32[np.ndarray, "b n"]]:
        """Return the indices of the neighbours, their distances in sigma_AA, and the species of each particle.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA; periodic.

        Raises:
            ValueError: There are not more particles than neighbours asked for.
        """
        n_frames, n, d = positions.shape
        if n <= self.n_neighbours:
            raise ValueError(f"n_neighbours must be less than the {n} particles; got {self.n_neighbours}")
        n_cells = np.ones(3, np.int64)
        n_cells[:d] = np.maximum(1, box * (n / (2 * np.prod(box))) ** (1 / d))  # about two particles in a cell
        neighbours = np.empty((n_frames, n, self.n_neighbours), np.int32)
        distances = np.empty((n_frames, n, self.n_neighbours), np.float32)
        _nearest(positions, np.append(box, 1.0)[:3], n_cells, neighbours, distances)
        return neighbours, distances, np.tile(species.astype(np.int32), (n_frames, 1))


def symmetries(box: Float64[np.ndarray, " d"]) -> Int8[np.ndarray, "g d d"]:
    """Return the signed permutations of the axes that keep the box, the identity first.

    A square has 8, a rectangle 4, a cube 48.

    Example:
        >>> [len(symmetries(np.array(box))) for box in ([5.0, 5.0], [5.0, 6.0], [5.0, 5.0, 5.0])]
        [8, 4, 48]
    """
    d = len(box)
    kept = [
        np.diag(signs)[list(order)]
        for order in permutations(range(d))
        if np.array_equal(box[list(order)], box)
        for signs in product((1, -1), repeat=d)
    ]
    return np.array(kept, np.int8)


def turns_and_mirrors(box: Float64[np.ndarray, " 2"]) -> list[tuple[bool, int]]:
    """Return what each of the `symmetries` of a box in two dimensions does, in their order.

    Returns:
        Whether x is mirrored first, and by how many degrees the configuration is then turned anticlockwise.

    Example:
        >>> turns_and_mirrors(np.array([5.0, 6.0]))
        [(False, 0), (True, 180), (True, 0), (False, 180)]
    """
    found = []
    for matrix in symmetries(box).astype(int):
        mirrored = bool(np.linalg.det(matrix) < 0)
        along, up = matrix[:, 0] * (-1 if mirrored else 1)  # where the x axis goes, by the turn alone
        found.append((mirrored, round(math.degrees(math.atan2(up, along))) % 360))
    return found


def symmetry(
    positions: Float32[np.ndarray, "b n d"],
    box: Float64[np.ndarray, " d"],
    *,
    element: Integer[np.ndarray, " b"],
    shift: Float64[np.ndarray, "b d"],
) -> Float32[np.ndarray, "b n d"]:
    """Return each configuration turned or mirrored about the origin, then shifted, then wrapped.

    Args:
        positions: Coordinates, in sigma_AA.
        box: Edge lengths, in sigma_AA; periodic.
        element: Which of `symmetries` to apply to each configuration; 0 leaves it as it is.
        shift: Displacement of each configuration, in sigma_AA.

    Raises:
        ValueError: An element is not one of the box's symmetries.
    """
    turns = symmetries(box)
    if np.any((element < 0) | (element >= len(turns))):
        raise ValueError(f"element must be from 0 to {len(turns) - 1}; got {element.tolist()}")
    turned = positions.astype(np.float64) @ turns[element].transpose(0, 2, 1)
    moved: Float64[np.ndarray, "b n d"] = turned + shift[:, None]
    moved -= np.floor(moved / box) * box  # np.mod is three times as slow; float32 rounds to the box itself with either
    return moved.astype(np.float32)


def random_symmetry(
    positions: Float32[np.ndarray, "b n d"], box: Float64[np.ndarray, " d"], *, rng: np.random.Generator
) -> Float32[np.ndarray, "b n d"]:
    """Return each configuration under its own random symmetry of the box and random shift.

    Args:
        positions: Coordinates, in sigma_AA.
        box: Edge lengths, in sigma_AA; periodic.
        rng: Draws the elements, then the shifts.
    """
    element = rng.integers(len(symmetries(box)), size=len(positions))
    shift = rng.random((len(positions), len(box))) * box
    return symmetry(positions, box, element=element, shift=shift)


COLOURS = ((255, 165, 0), (0, 0, 255), (0, 158, 115), (204, 121, 167), (86, 180, 233))
"""Red, green and blue of each species; the first two are the source log's."""


def log_picture(configuration: Configuration, *, pixels: int = 250) -> UInt8[np.ndarray, "h w 3"]:
    """Return the whole box as the source log drew it: 2-pixel dots on white, A orange under B blue, y upwards.

    The log had two species; further ones lie on top in colours of our own, which begin anew after five.

    Args:
        configuration: Two-dimensional; drawn to fill the longer edge.
        pixels: Side of the square picture.

    Raises:
        ValueError: The configuration is not two-dimensional.
    """
    if configuration.dimension != 2:
        raise ValueError(f"log_picture draws 2 dimensions; the configuration has {configuration.dimension}")
    picture = np.full((pixels, pixels, 3), 255, np.uint8)
    corner = (configuration.positions * (pixels / configuration.box.max())).astype(np.intp)
    for species in range(int(configuration.species.max(initial=0)) + 1):
        for offset in product((0, 1), repeat=2):
            x, y = ((corner[configuration.species == species] + offset) % pixels).T
            picture[pixels - 1 - y, x] = COLOURS[species % len(COLOURS)]
    return picture


def pair_correlation(
    configuration: Configuration, *, r_max: float = 4.0, n_bins: int = 80
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "p m"]]:
    r"""Return the bin centres and the partial pair correlations :math:`g_{AA}, g_{AB}, g_{BB}` of two species.

    Of more, all pairs in the same order: :math:`g_{AA}, g_{AB}, g_{AC}, g_{BB}, \ldots`

    .. math:: g_{ab}(r) = \frac{V}{N_a N_b\,\Omega_d(r)\,\Delta r} \sum_{i \in a} \sum_{j \in b, j \ne i}
              [\,r_{ij} \in \text{bin}\,]

    Args:
        configuration: At least two particles of each species; periodic.
        r_max: Upper edge of the last bin, in sigma_AA.
        n_bins: Number of bins from 0 to ``r_max``.

    Raises:
        ValueError: ``r_max`` is not below half the box, a species is missing, or an axis is not periodic.
    """
    import freud  # a second to import, and pictures and graphs need none of it

    box, points = _freud_parts(configuration)
    if not 0 < r_max < configuration.box.min() / 2:
        raise ValueError(f"r_max must be below half the box edge {configuration.box.min() / 2:.3f}; got {r_max}")
    pairs = list(combinations_with_replacement(range(len(points)), 2))
    g = np.empty((len(pairs), n_bins))
    for row, (a, b) in enumerate(pairs):
        like = a == b
        # freud counts N, not N - 1, possible partners of a particle of the same species
        finite = len(points[a]) / (len(points[a]) - 1) if like else 1.0
        rdf = freud.density.RDF(bins=n_bins, r_max=r_max)
        rdf.compute((box, points[b]), query_points=None if like else points[a], reset=True)
        g[row] = rdf.rdf * finite
    return np.asarray(rdf.bin_centers, np.float64), g


def local_descriptors(
    configuration: Configuration, *, shells: Sequence[Sequence[float]] | None = None
) -> tuple[tuple[str, ...], Float64[np.ndarray, " m"]]:
    r"""Return the names and values of a configuration's local order.

    Coordination numbers count the neighbours in the first shell of the mixture's :math:`g_{ab}(r)`; bond order is
    :math:`\psi_6` (2D) or Steinhardt's :math:`q_6` (3D) over the six (twelve) nearest neighbours, as the magnitude of
    the sample's average and as the average of the particles' magnitudes.

    Args:
        configuration: At least two particles of each species; periodic.
        shells: Radius of the first shell of species b around species a, row a; that of the Kob-Andersen mixtures
            without.

    Raises:
        ValueError: A species is missing or an axis is not periodic.

    References:
        Steinhardt, Nelson & Ronchetti, 1983, doi:10.1103/PhysRevB.28.784
        Halperin & Nelson, 1978, doi:10.1103/PhysRevLett.41.121
    """
    import freud

    box, points = _freud_parts(configuration)
    names, values = [], []
    for a, b in product(range(len(points)), repeat=2):
        query = freud.locality.AABBQuery(box, points[b])
        radius = (_FIRST_SHELLS if shells is None else shells)[a][b]
        bonds = query.query(points[a], {"mode": "ball", "r_max": radius, "exclude_ii": a == b}).toNeighborList()
        names.append(f"neighbours_{chr(65 + a)}{chr(65 + b)}")
        values.append(len(bonds) / len(points[a]))
        names.append(f"distance_{chr(65 + a)}{chr(65 + b)}")
        values.append(float(bonds.distances.mean()) if len(bonds) else radius)
    together = (box, np.concatenate(points))
    if configuration.dimension == 2:
        psi = freud.order.Hexatic(k=6).compute(together, neighbors={"num_neighbors": 6}).particle_order
        names += ["psi6_global", "psi6_mean"]
        values += [float(np.abs(psi.mean())), float(np.abs(psi).mean())]
    else:
        steinhardt = freud.order.Steinhardt(l=6).compute(together, neighbors={"num_neighbors": 12})
        names += ["q6_global", "q6_mean"]
        values += [float(steinhardt.order), float(steinhardt.particle_order.mean())]
    return tuple(names), np.array(values)


# Radii that hold the first shell of g_AA, g_AB and g_BB of the Kob-Andersen mixtures, in sigma_AA.
_FIRST_SHELLS = ((1.4, 1.2), (1.2, 1.2))


def freud_system(configuration: Configuration) -> tuple["freud.box.Box", Float32[np.ndarray, "n 3"]]:
    """Return freud's box and the particles' positions from its centre, with a third coordinate of 0 in two dimensions.

    Raises:
        ValueError: An axis is not periodic.
    """
    if configuration.periodic is not None and not configuration.periodic.all():
        raise ValueError(f"configuration must be periodic along every axis; got {configuration.periodic.tolist()}")
    import freud

    edges = configuration.box.tolist()
    centred = np.zeros((len(configuration.positions), 3), np.float32)
    centred[:, : len(edges)] = configuration.positions - configuration.box / 2
    return freud.box.Box(*edges, is2D=len(edges) == 2), centred


def _freud_parts(configuration: Configuration) -> tuple["freud.box.Box", list[Float32[np.ndarray, "n 3"]]]:
    """Return freud's box and the centred, three-component positions of each species."""
    box, centred = freud_system(configuration)
    counts = np.bincount(configuration.species)
    if not len(counts) or counts.min() < 2:
        raise ValueError(f"configuration must have at least two particles of each species; got {counts.tolist()}")
    return box, [centred[configuration.species == species] for species in range(len(counts))]


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _draw(
    positions: Float32[np.ndarray, "b n 2"],
    species: Int32[np.ndarray, " n"],
    box: Float64[np.ndarray, " 2"],
    radius: Float64[np.ndarray, " c"],
    height: int,
    width: int,
    halo: int,
    pictures: UInt8[np.ndarray, "b c h w"],
) -> None:
    """Fill ``pictures`` with discs; pixel (i, j) of the box is at (i + halo, j + halo) of the picture.

    The discs are drawn on a canvas with a margin, row by row in a vector loop of fixed length. Ink in the margin is
    then folded in, which ink that saturates allows in any order, and the halo is copied, columns before rows.
    """
    sx, sy = height / box[0], width / box[1]
    scale = math.sqrt(sx * sy)
    ax, ay = scale / sx, scale / sy
    rims = radius * scale + 0.5
    up, side = int(rims.max() / ax) + 1, int(rims.max() / ay) + 1
    n_columns = (2 * side + 8) // 8 * 8
    canvas = np.empty((len(rims), height + 2 * up, width + n_columns), np.uint8)
    dy2 = np.empty(n_columns, np.float32)
    full, half, none, rims32 = np.float32(255), np.float32(0.5), np.float32(0), rims.astype(np.float32)
    for b in range(positions.shape[0]):
        canvas[:] = 0
        for i in range(positions.shape[1]):
            x, y, rim = positions[b, i, 0] * sx, positions[b, i, 1] * sy, rims32[species[i]]
            left, top = math.floor(x) - up, math.floor(y) - side
            p0, q0 = (left + up) % height, (top + side) % width
            for m in range(n_columns):
                dy = (top + m + 0.5 - y) * ay
                dy2[m] = dy * dy
            for u in range(2 * up + 1):
                dx = (left + u + 0.5 - x) * ax
                dx2 = np.float32(dx * dx)
                if dx2 >= rim * rim:
                    continue
                row = canvas[species[i], p0 + u, q0 : q0 + n_columns]
                for m in range(len(row)):
                    coverage = full * (rim - np.sqrt(dx2 + dy2[m])) + half
                    ink = np.int32(row[m]) + np.int32(max(coverage, none))
                    row[m] = ink if ink < 255 else 255
        for c in range(pictures.shape[1]):
            sheet, channel = canvas[c], pictures[b, c]
            for p in range(height + 2 * up):
                for m in range(2 * side):
                    q = m if m < side else width + m
                    to = side + (q - side) % width
                    sheet[p, to] = min(255, np.int32(sheet[p, to]) + np.int32(sheet[p, q]))
            for m in range(2 * up):
                p = m if m < up else height + m
                to = up + (p - up) % height
                for q in range(side, side + width):
                    sheet[to, q] = min(255, np.int32(sheet[to, q]) + np.int32(sheet[p, q]))
            channel[halo : halo + height, halo : halo + width] = sheet[up : up + height, side : side + width]
            for p in range(halo, height + halo):
                for h in range(halo):
                    channel[p, halo - 1 - h] = channel[p, halo + (width - 1 - h) % width]
                    channel[p, halo + width + h] = channel[p, halo + h % width]
            for h in range(halo):
                channel[halo - 1 - h] = channel[halo + (height - 1 - h) % height]
                channel[halo + height + h] = channel[halo + h % height]


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _nearest(
    positions: Float32[np.ndarray, "b n d"],
    box: Float64[np.ndarray, " 3"],
    n_cells: Integer[np.ndarray, " 3"],
    neighbours: Int32[np.ndarray, "b n k"],
    distances: Float32[np.ndarray, "b n k"],
) -> None:
    """Fill in the exact nearest neighbours by growing shells of cells; 2D has one layer of cells at z = 0.

    Shell s holds the cells whose largest offset is s. Along an axis of m cells only the m different offsets
    -(m-1)//2 .. m//2 are visited, so that no particle is seen twice in a small box. The search of a particle ends
    when its k-th distance is within the slab already searched along every axis that still has unseen cells.

    Shells 0 and 1 are nearly always enough. They are the same for all particles of a cell, so they are copied into
    ``seen`` once for each cell; later shells are copied behind them.
    """
    n, k, d = positions.shape[1], neighbours.shape[2], positions.shape[2]
    lx, ly, lz = box
    edge = box / n_cells
    cell = np.zeros((n, 3), np.int64)
    home, order = np.empty(n, np.int64), np.empty(n, np.int64)
    inside, placed = np.zeros((3, n)), np.empty((3, n))
    seen, slots, r2 = np.empty((3, n)), np.empty(n, np.int64), np.empty(n)
    best, index = np.empty(k), np.empty(k, np.int64)
    for b in range(positions.shape[0]):
        start = np.zeros(n_cells[0] * n_cells[1] * n_cells[2] + 1, np.int64)
        for i in range(n):
            for axis in range(d):
                x = np.float64(positions[b, i, axis])
                if not 0 <= x < box[axis]:
                    x = x % box[axis]
                    if x >= box[axis]:  # as vitrify.system.wrap
                        x = np.float64(0)
                inside[axis, i] = x
                cell[i, axis] = min(int(x / edge[axis]), n_cells[axis] - 1)
            home[i] = (cell[i, 0] * n_cells[1] + cell[i, 1]) * n_cells[2] + cell[i, 2]
            start[home[i] + 1] += 1
        start = np.cumsum(start)
        free = start.copy()
        for i in range(n):
            slot = free[home[i]]
            free[home[i]] += 1
            order[slot] = i
            placed[:, slot] = inside[:, i]
        n_near, copied = 0, -1
        for slot in range(n):
            i = order[slot]
            if home[i] != copied:
                copied, n_near = home[i], _copy_shells(0, 1, cell[i], n_cells, start, placed, seen, slots, 0)
            x, y, z = placed[0, slot], placed[1, slot], placed[2, slot]
            first, last, found, shell = 0, n_near, 0, 1
            while True:
                for m in range(first, last):  # of scalars and two arrays, or it is not vectorised
                    dx, dy, dz = abs(x - seen[0, m]), abs(y - seen[1, m]), abs(z - seen[2, m])
                    dx, dy, dz = min(dx, lx - dx), min(dy, ly - dy), min(dz, lz - dz)
                    r2[m] = dx * dx + dy * dy + dz * dz
                for m in range(first, last):
                    if slots[m] == slot:
                        continue
                    if found < k:
                        t = found
                        found += 1
                    elif r2[m] < best[k - 1]:
                        t = k - 1
                    else:
                        continue
                    while t > 0 and best[t - 1] > r2[m]:
                        best[t], index[t] = best[t - 1], index[t - 1]
                        t -= 1
                    best[t], index[t] = r2[m], order[slots[m]]
                searched = np.inf
                for axis in range(3):
                    if shell < n_cells[axis] // 2:
                        wall = placed[axis, slot] - cell[i, axis] * edge[axis]
                        searched = min(searched, shell * edge[axis] + min(wall, edge[axis] - wall))
                if searched == np.inf or (found == k and best[k - 1] <= searched * searched):
                    break
                shell += 1
                first = n_near
                last = _copy_shells(shell, shell, cell[i], n_cells, start, placed, seen, slots, first)
            for t in range(k):
                neighbours[b, i, t] = index[t]
                distances[b, i, t] = math.sqrt(best[t])


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _copy_shells(
    nearest: int,
    farthest: int,
    home: Integer[np.ndarray, " 3"],
    n_cells: Integer[np.ndarray, " 3"],
    start: Integer[np.ndarray, " m"],
    placed: Float64[np.ndarray, "3 n"],
    seen: Float64[np.ndarray, "3 n"],
    slots: Integer[np.ndarray, " n"],
    end: int,
) -> int:
    """Copy the particles in some shells around a cell to ``end`` and behind it, and return the new end."""
    low, high = -((n_cells - 1) // 2), n_cells // 2
    for shell in range(nearest, farthest + 1):
        for u in range(max(-shell, low[0]), min(shell, high[0]) + 1):
            for v in range(max(-shell, low[1]), min(shell, high[1]) + 1):
                for w in range(max(-shell, low[2]), min(shell, high[2]) + 1):
                    if max(abs(u), abs(v), abs(w)) != shell:
                        continue
                    a, b, c = home[0] + u, home[1] + v, home[2] + w
                    a += n_cells[0] * ((a < 0) - (a >= n_cells[0]))
                    b += n_cells[1] * ((b < 0) - (b >= n_cells[1]))
                    c += n_cells[2] * ((c < 0) - (c >= n_cells[2]))
                    at = (a * n_cells[1] + b) * n_cells[2] + c
                    for other in range(start[at], start[at + 1]):
                        slots[end] = other
                        for axis in range(3):
                            seen[axis, end] = placed[axis, other]
                        end += 1
    return end


VIEWS = {view.__name__.lower(): view for view in (Image, Voxels, Graph, Descriptors)}
