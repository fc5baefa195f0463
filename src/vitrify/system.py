r"""A configuration of particles in a box, the minimum image, and the random streams.

Everything is in reduced Lennard-Jones units: lengths in :math:`\sigma_{AA}`, energies in
:math:`\epsilon_{AA}`, mass 1, :math:`k_B = 1`, so time is in :math:`\sigma\sqrt{m/\epsilon}`.

.. math:: \Delta r \leftarrow \Delta r - L\,\mathrm{round}(\Delta r / L)   \quad\text{(periodic axes only)}
"""

__all__ = ["Configuration", "minimum_image", "stream", "wrap"]

import zlib
from dataclasses import dataclass

import numpy as np
from beartype import beartype
from jaxtyping import Bool, Float, Integer, jaxtyped


@jaxtyped(typechecker=beartype)
@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """Positions and species of ``n`` particles in a rectangular box of ``d`` = 2 or 3 dimensions.

    Args:
        positions: Coordinates; wrapped into ``[0, box)`` along periodic axes when constructed.
        species: 0 for A (the majority), 1 for B, and so on.
        box: Edge lengths.
        periodic: Which axes repeat; ``None`` means all.

    Raises:
        ValueError: A position is not finite, an edge is not positive, or ``d`` is not 2 or 3.
    """

    positions: Float[np.ndarray, "n d"]
    species: Integer[np.ndarray, " n"]
    box: Float[np.ndarray, " d"]
    periodic: Bool[np.ndarray, " d"] | None = None

    def __post_init__(self) -> None:
        if len(self.box) not in (2, 3):
            raise ValueError(f"box must have 2 or 3 edges; got {len(self.box)}")
        if not (np.isfinite(self.box).all() and (self.box > 0).all()):
            raise ValueError(f"box edges must be positive and finite; got {self.box.tolist()}")
        bad = np.flatnonzero(~np.isfinite(self.positions).all(axis=1))
        if bad.size:
            raise ValueError(f"positions must be finite; particle {bad[0]} is at {self.positions[bad[0]].tolist()}")
        if self.species.size and self.species.min() < 0:
            raise ValueError(f"species must be 0 (A), 1 (B), ...; got {self.species.min()}")
        object.__setattr__(self, "positions", wrap(self.positions, self.box, periodic=self.periodic))

    @property
    def dimension(self) -> int:
        """Number of dimensions, 2 or 3."""
        return len(self.box)

    @property
    def density(self) -> float:
        """Particles per unit area or volume, in sigma_AA^-d."""
        return float(len(self.positions) / np.prod(self.box))


def minimum_image(
    dr: Float[np.ndarray, "*e d"],
    box: Float[np.ndarray, " d"],
    *,
    periodic: Bool[np.ndarray, " d"] | None = None,
) -> Float[np.ndarray, "*e d"]:
    """Return each separation's shortest periodic image.

    Args:
        dr: Separations.
        box: Edge lengths.
        periodic: Which axes repeat; all by default.

    Example:
        >>> minimum_image(np.array([[0.9, -0.2]]), np.array([1.0, 1.0])).round(3).tolist()
        [[-0.1, -0.2]]
    """
    shift = box * np.round(dr / box)
    return dr - (shift if periodic is None else np.where(periodic, shift, 0.0))


def wrap(
    positions: Float[np.ndarray, "*n d"],
    box: Float[np.ndarray, " d"],
    *,
    periodic: Bool[np.ndarray, " d"] | None = None,
) -> Float[np.ndarray, "*n d"]:
    """Return the positions inside ``[0, box)`` along periodic axes.

    Example:
        >>> wrap(np.array([[1.25, -0.25]]), np.array([1.0, 1.0])).tolist()
        [[0.25, 0.75]]
    """
    inside = np.mod(positions, box)
    inside = np.where(inside >= box, 0.0, inside)  # mod of a tiny negative number rounds up to the box itself
    return inside if periodic is None else np.where(periodic, inside, positions)


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return the random stream of one named part of a study, independent of every other.

    Args:
        seed: The study's seed.
        name: The path of the part, such as ``"cool", 17``; adding a part changes no other.

    Example:
        >>> bool(stream(1, "cool", 3).random() == stream(1, "cool", 3).random())
        True
    """
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, name)).encode())])
