r"""What surrounds each particle, in numbers that shifting, turning and mirroring leave alone.

.. math:: R_{i,s,m} = \sum_{j \ne i,\, s_j = s} e^{-\frac12 [(r_{ij} - \mu_m) / \Delta]^2}, \qquad
          Q_{i,l} = \frac{1}{W_i} \Big[\sum_{j,j'} w_{ij} w_{ij'}\, G_l(\cos\theta_{jij'})\Big]^{1/2}, \quad
          W_i = \sum_j w_{ij}

The centres mu are evenly spaced by Delta; the weights ``w = [1 - (r / r_shell)^2]^2`` fall smoothly to zero, so that no
neighbour comes or goes at once. G is the Chebyshev polynomial :math:`\cos l\theta` in two dimensions and the Legendre
polynomial in three: by their addition theorems Q is then the weighted :math:`|\psi_l|` of the bonds' directions, and
Steinhardt's :math:`q_l`.
"""

__all__ = ["Descriptors"]

import math
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float32, Float64, Int32, Integer
from numba import njit
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrify.system import wrap

_TAIL = 5  # spacings from a centre beyond which its Gaussian, below 4e-6, is left out


class Descriptors(BaseModel):
    """Each particle's species, its neighbours' distances by species, and the order of their directions.

    Works in 2 and 3 dimensions.

    References:
        Behler & Parrinello, 2007, doi:10.1103/PhysRevLett.98.146401: sums of Gaussians over neighbours
        Steinhardt, Nelson & Ronchetti, 1983, doi:10.1103/PhysRevB.28.784
        Halperin & Nelson, 1978, doi:10.1103/PhysRevLett.41.121
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True

    n_species: int = Field(2, ge=1, le=26, description="Species told apart.")
    n_radial: int = Field(24, ge=2, le=256, description="Gaussians on the distance to each species.")
    r_min: float = Field(0.7, ge=0, allow_inf_nan=False, description="Centre of the first Gaussian, in sigma_AA.")
    r_max: float = Field(2.2, gt=0, allow_inf_nan=False, description="Centre of the last Gaussian, in sigma_AA.")
    n_orders: int = Field(8, ge=0, le=32, description="Orders l = 1, 2, ... of the directions.")
    r_shell: float = Field(
        1.7, gt=0, allow_inf_nan=False, description="Where a neighbour's direction ceases to count, in sigma_AA."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.r_max <= self.r_min:
            raise ValueError(f"r_max must be more than r_min = {self.r_min}; got {self.r_max}")
        return self

    @property
    def reach(self) -> float:
        """How far a neighbour is seen, in sigma_AA."""
        return max(self.r_max + _TAIL * self._spacing, self.r_shell)

    @property
    def names(self) -> tuple[str, ...]:
        """What each number of a particle is; a distance is the centre of its Gaussian, in sigma_AA."""
        centres = self.r_min + self._spacing * np.arange(self.n_radial)
        letters = [chr(65 + species) for species in range(self.n_species)]
        return (
            *(f"is {letter}" for letter in letters),
            *(f"{letter} at {r:.3f}" for letter in letters for r in centres),
            *(f"order {order}" for order in range(1, self.n_orders + 1)),
        )

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """What each number of :meth:`pooled` is: ``"AB at 0.853"`` is what an A sees of B."""
        letters = [chr(65 + species) for species in range(self.n_species)]
        seen = self.names[self.n_species :]
        return tuple(letter + ("" if " at " in name else " ") + name for letter in letters for name in seen)

    @property
    def _spacing(self) -> float:
        return (self.r_max - self.r_min) / (self.n_radial - 1)

    def __call__(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Float32[np.ndarray, "b n m"]]:
        """Return the numbers of every particle, in the order of ``names``.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA; periodic.

        Raises:
            ValueError: There are more species than ``n_species``, or the box is narrower than twice the reach.
        """
        if species.max(initial=0) >= self.n_species:
            raise ValueError(f"n_species must be at least {species.max() + 1}, the species given; got {self.n_species}")
        if box.min() < 2 * self.reach:
            raise ValueError(
                f"box edges must be at least {2 * self.reach:.3f}, twice the reach of the descriptors; "
                f"got {box.tolist()}: lower r_max (now {self.r_max})"
            )
        n_frames, n, d = positions.shape
        solid = np.zeros((n_frames, n, 3))
        solid[:, :, :d] = wrap(positions.astype(np.float64), box)
        n_cells = np.ones(3, np.int64)
        n_cells[:d] = np.maximum(1, 2 * box / self.reach)  # so that two cells on each side hold all neighbours
        out = np.zeros((n_frames, n, len(self.names)), np.float32)
        edges = np.append(box, 1.0)[:3]
        shape = (self.n_species, self.n_radial, self.n_orders)
        _describe(
            solid, species.astype(np.int32), edges, n_cells, d, shape, self.r_min, self._spacing, self.r_shell, out
        )
        return (out,)

    def pooled(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> Float32[np.ndarray, "b f"]:
        """Return the means over the particles of each species, in the order of ``pooled_names``; 0 where there is none.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA; periodic.

        Raises:
            ValueError: As for the view itself.
        """
        member = np.arange(self.n_species)[:, None] == species
        share = member / np.maximum(1, member.sum(axis=1, keepdims=True))
        out = np.empty((len(positions), len(self.pooled_names)), np.float32)
        for frame in range(len(positions)):  # one at a time: all particles of all frames may not fit into memory
            (numbers,) = self(positions[frame : frame + 1], species, box)
            out[frame] = (share @ numbers[0, :, self.n_species :]).ravel()
        return out


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _describe(
    positions: Float64[np.ndarray, "b n 3"],
    species: Int32[np.ndarray, " n"],
    box: Float64[np.ndarray, " 3"],
    n_cells: Integer[np.ndarray, " 3"],
    dimension: int,
    shape: tuple[int, int, int],
    r_min: float,
    spacing: float,
    r_shell: float,
    out: Float32[np.ndarray, "b n m"],
) -> None:
    """Fill in the numbers of every particle; ``out`` comes as zeros.

    Particles are sorted into cells. Along an axis of m cells the offsets -(m-1)//2 .. m//2, at most two on each side,
    are visited, so that no particle is seen twice in a small box.
    """
    n_species, n_radial, n_orders = shape
    n = positions.shape[1]
    n_total = n_cells[0] * n_cells[1] * n_cells[2]
    low, high = np.maximum(-((n_cells - 1) // 2), -2), np.minimum(n_cells // 2, 2)
    reach2 = (r_min + (n_radial - 1 + _TAIL) * spacing) ** 2
    shell2 = r_shell * r_shell
    cell = np.empty((n, 3), np.int64)
    home = np.empty(n, np.int64)
    order = np.empty(n, np.int64)
    placed = np.empty((n, 3))
    towards = np.empty((n, 3))
    weight = np.empty(n)
    power = np.empty(n_orders)
    dr = np.empty(3)
    for b in range(positions.shape[0]):
        start = np.zeros(n_total + 1, np.int64)
        for i in range(n):
            for axis in range(3):
                cell[i, axis] = min(int(positions[b, i, axis] / box[axis] * n_cells[axis]), n_cells[axis] - 1)
            home[i] = (cell[i, 0] * n_cells[1] + cell[i, 1]) * n_cells[2] + cell[i, 2]
            start[home[i] + 1] += 1
        start = np.cumsum(start)
        free = start.copy()
        for i in range(n):
            slot = free[home[i]]
            free[home[i]] += 1
            order[slot] = i
            placed[slot] = positions[b, i]
        for slot in range(n):
            i = order[slot]
            row = out[b, i]
            row[species[i]] = 1.0
            n_near = 0
            for u in range(low[0], high[0] + 1):
                cu = (cell[i, 0] + u) % n_cells[0]
                for v in range(low[1], high[1] + 1):
                    cv = (cell[i, 1] + v) % n_cells[1]
                    for w in range(low[2], high[2] + 1):
                        c = (cu * n_cells[1] + cv) * n_cells[2] + (cell[i, 2] + w) % n_cells[2]
                        for other in range(start[c], start[c + 1]):
                            if other == slot:
                                continue
                            r2 = 0.0
                            for axis in range(3):
                                x = placed[other, axis] - placed[slot, axis]
                                if x > 0.5 * box[axis]:
                                    x -= box[axis]
                                elif x < -0.5 * box[axis]:
                                    x += box[axis]
                                dr[axis] = x
                                r2 += x * x
                            if r2 < reach2:
                                first = n_species + species[order[other]] * n_radial
                                _add_gaussians((math.sqrt(r2) - r_min) / spacing, row[first : first + n_radial])
                            if n_orders > 0 and 0 < r2 < shell2:
                                r = math.sqrt(r2)
                                for axis in range(3):
                                    towards[n_near, axis] = dr[axis] / r
                                weight[n_near] = (1 - r2 / shell2) ** 2
                                n_near += 1
            if n_orders > 0 and n_near > 0:
                total = _add_orders(towards[:n_near], weight[:n_near], dimension, power)
                for m in range(n_orders):
                    row[n_species * (1 + n_radial) + m] = math.sqrt(max(power[m], 0.0)) / total


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_gaussians(x: float, row: Float32[np.ndarray, " m"]) -> None:
    """Add the Gaussians of one distance, ``x`` spacings beyond the first centre.

    The nearest is computed; those beside it follow by multiplication, because the ratio of two neighbouring ones
    falls by 1/e from one to the next.
    """
    n = len(row)
    nearest = int(min(max(x + 0.5, 0.0), n - 1.0))
    x -= nearest
    top = math.exp(-0.5 * x * x)
    row[nearest] += top
    for side in (1, -1):
        value, ratio = top, math.exp(side * x - 0.5)
        for step in range(1, _TAIL + 1):
            m = nearest + side * step
            if m < 0 or m >= n:
                break
            value *= ratio
            ratio *= math.exp(-1.0)
            row[m] += value


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _add_orders(
    towards: Float64[np.ndarray, "k 3"],
    weight: Float64[np.ndarray, " k"],
    dimension: int,
    power: Float64[np.ndarray, " m"],
) -> float:
    """Fill in the sums of weighted polynomials over all pairs of bonds, and return the sum of the weights.

    Both families obey ``G_{l+1} = (2 - c) x G_l - (1 - c) G_{l-1}``, with c = 0 for Chebyshev and 1 / (l + 1) for
    Legendre.
    """
    power[:] = 0.0
    total = 0.0
    for j in range(len(weight)):
        total += weight[j]
        for h in range(j + 1):
            share = weight[j] * weight[h] * (1.0 if h == j else 2.0)
            x = 0.0
            for axis in range(3):
                x += towards[j, axis] * towards[h, axis]
            before, now = 1.0, x
            for m in range(len(power)):
                power[m] += share * now
                c = 0.0 if dimension == 2 else 1.0 / (m + 2)
                before, now = now, (2.0 - c) * x * now - (1.0 - c) * before
    return total
