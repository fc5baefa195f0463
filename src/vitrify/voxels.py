r"""Voxels of a 3D configuration: one channel per species, each particle an antialiased ball.

.. math:: \text{Voxels: } (b\,n\,3) \to (b\,c\,x\,y\,z)

The picture of `vitrify.views.Image` with one dimension more; lengths are in sigma_AA.
"""

__all__ = ["Voxels"]

import math
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float32, Float64, Int32, Integer, UInt8
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Voxels(BaseModel):
    r"""Voxels of a 3D configuration, one channel per species, each particle an antialiased ball.

    The coverage of a voxel whose centre is ``r`` away from a particle rises from 0 to 1 over one voxel across the rim
    at ``R'``; 255 is full, and balls that overlap saturate. Voxels are larger than pixels, and a rim of one voxel about
    the particle's radius ``R`` would hold too much volume, so the rim lies where the ball has its own:

    .. math:: \int \mathrm{coverage}\,dV = \tfrac43\pi\,(R'^3 + R'/4) = \tfrac43\pi R^3 \quad\text{(in voxels)}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = False

    voxels_per_sigma: float = Field(
        4.0, ge=1, le=32, description="Resolution aimed at; the box is rounded to whole strides of the network."
    )
    radius: tuple[_Length, ...] = Field(
        (0.6, 0.4),
        min_length=1,
        description="Ball radius of each species, in sigma_AA; by default touching balls overlap.",
    )

    def voxels(self, box: Float64[np.ndarray, " d"], *, stride: int = 1) -> tuple[int, int, int]:
        """Return the number of voxels along each edge of the box, each a multiple of ``stride``.

        Args:
            box: Edge lengths, in sigma_AA.
            stride: Total stride of the network that will look at the voxels.

        Raises:
            ValueError: The box is not three-dimensional.
        """
        if len(box) != 3:
            raise ValueError(f"Voxels draws 3 dimensions; the box has {len(box)}: use Image")
        x, y, z = (stride * max(1, round(float(edge) * self.voxels_per_sigma / stride)) for edge in box)
        return x, y, z

    def __call__(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
        *,
        stride: int = 1,
    ) -> tuple[UInt8[np.ndarray, "b c x y z"]]:
        """Return the voxels, one channel per entry of ``radius``.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA; periodic.
            stride: The box covers a multiple of this many voxels along each edge.

        Raises:
            ValueError: The box is not three-dimensional, a species has no radius, or a ball is wider than the box.
        """
        shape = self.voxels(box, stride=stride)
        if species.max(initial=0) >= len(self.radius):
            raise ValueError(f"radius must have {species.max() + 1} entries, one per species; got {len(self.radius)}")
        if 2 * max(self.radius) > box.min():
            raise ValueError(f"radius must be at most half the box edge {box.min() / 2:.3f}; got {max(self.radius)}")
        per_sigma = np.array(shape) / box
        size = np.cbrt(per_sigma.prod()) * np.array(self.radius)  # in voxels
        rim = np.sinh(np.arcsinh(12 * math.sqrt(3) * size**3) / 3) / math.sqrt(3)  # the root R' above
        drawn = np.empty((len(positions), len(self.radius), *shape), np.uint8)
        _fill(positions, species.astype(np.int32), per_sigma, rim + 0.5, drawn)
        return (drawn,)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _fill(
    positions: Float32[np.ndarray, "b n 3"],
    species: Int32[np.ndarray, " n"],
    per_sigma: Float64[np.ndarray, " 3"],
    rims: Float64[np.ndarray, " c"],
    drawn: UInt8[np.ndarray, "b c x y z"],
) -> None:
    """Fill ``drawn`` with balls that end at ``rims``, in voxels of the mean edge.

    The rows along z are drawn on a canvas with a margin behind it, in a vector loop of fixed length, and the margin is
    then folded in; along x and y, whole rows are found by their periodic image. Distances are taken from the corner of
    the particle's own voxel, so that a shift by whole voxels gives the same bits. Ink that saturates may be added in
    any order.
    """
    nx, ny, nz = drawn.shape[2:]
    stretch = np.cbrt(per_sigma.prod()) / per_sigma
    reach = (rims.max() / stretch).astype(np.int64) + 1
    n_columns = (2 * reach[2] + 8) // 8 * 8
    canvas = np.empty((len(rims), nx, ny, nz + n_columns), np.uint8)
    dz2 = np.empty(n_columns, np.float32)
    full, half, none, rims32 = np.float32(255), np.float32(0.5), np.float32(0), rims.astype(np.float32)
    for b in range(positions.shape[0]):
        canvas[:] = 0
        for i in range(positions.shape[1]):
            rim, sheet = rims32[species[i]], canvas[species[i]]
            x, y, z = (
                positions[b, i, 0] * per_sigma[0],
                positions[b, i, 1] * per_sigma[1],
                positions[b, i, 2] * per_sigma[2],
            )
            p, q, r = math.floor(x), math.floor(y), math.floor(z)
            r0 = (r - reach[2]) % nz
            for m in range(n_columns):
                dz = (m - reach[2] + 0.5 - (z - r)) * stretch[2]
                dz2[m] = dz * dz
            for u in range(-reach[0], reach[0] + 1):
                dx = (u + 0.5 - (x - p)) * stretch[0]
                for v in range(-reach[1], reach[1] + 1):
                    dy = (v + 0.5 - (y - q)) * stretch[1]
                    dxy2 = np.float32(dx * dx + dy * dy)
                    if dxy2 >= rim * rim:
                        continue
                    row = sheet[(p + u) % nx, (q + v) % ny, r0 : r0 + n_columns]
                    for m in range(len(row)):
                        coverage = full * (rim - np.sqrt(dxy2 + dz2[m])) + half
                        ink = np.int32(row[m]) + np.int32(min(max(coverage, none), full))
                        row[m] = ink if ink < 255 else 255
        for c in range(len(rims)):
            for u in range(nx):
                for v in range(ny):
                    row = canvas[c, u, v]
                    for m in range(nz, nz + n_columns):
                        row[m % nz] = min(255, np.int32(row[m % nz]) + np.int32(row[m]))
                    drawn[b, c, u, v] = row[:nz]
