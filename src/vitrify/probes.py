r"""Inputs made to ask a classifier a question: patterns of known order, changed species, noise, small patches.

Patterns keep the number of particles, the composition and the density of the ensemble, so that only the order differs;
species are placed at random. Their names count the neighbours of the ordered sites:

====  =========================================================================================
fold  pattern
====  =========================================================================================
0     random places no closer than 0.65 of the mean distance :math:`\rho^{-1/2}`
3     honeycomb: every particle has three neighbours at 120 degrees
5     a particle and five around it, on a triangular lattice of such stars, each turned at random
6     triangular lattice
====  =========================================================================================

Where the number of sites of a lattice is not the number of particles, sites chosen at random stay empty.

A patch is a square window that moves over a configuration; what is in it is described by the neighbours each particle
really has, also those outside, so that no open boundary is made.
"""

__all__ = ["FOLDS", "noisy", "patches", "pattern", "shuffled", "swapped"]

import numpy as np
from jaxtyping import Float32, Float64, Integer

from vitrify.system import Configuration, wrap

FOLDS = (0, 3, 5, 6)
_CLOSEST = 0.65  # of the mean distance; random places jam at 0.83
_ARM = 0.36  # of the distance between stars


def pattern(fold: int, *, n_particles: int, n_B: int, density: float, rng: np.random.Generator) -> Configuration:
    """Return a two-dimensional pattern of known order.

    Args:
        fold: One of `FOLDS`.
        n_particles: Number of particles.
        n_B: Of these, how many are B, at random places.
        density: Particles per area, in 1 / sigma_AA^2.
        rng: Draws places, orientations, empty sites and species.

    Raises:
        ValueError: There is no such pattern, or ``n_B`` is not below ``n_particles``.

    Example:
        >>> lattice = pattern(6, n_particles=100, n_B=35, density=1.2, rng=np.random.default_rng(1))
        >>> len(lattice.species), int(lattice.species.sum()), round(100 / lattice.box.prod(), 6)
        (100, 35, np.float64(1.2))
    """
    if fold not in FOLDS:
        raise ValueError(f"fold must be one of {FOLDS}; got {fold}")
    if not 0 <= n_B < n_particles:
        raise ValueError(f"n_B must be from 0 to below n_particles = {n_particles}; got {n_B}")
    if fold == 0:
        box = np.full(2, np.sqrt(n_particles / density))
        places = _random(n_particles, box, _CLOSEST / np.sqrt(density), rng)
    else:
        basis, cell = _CELLS[fold]
        places, box = _lattice(basis, cell, -(-n_particles // 6) if fold == 5 else n_particles)
        if fold == 5:
            places = _stars(places, rng)[:n_particles]
        scale = np.sqrt(n_particles / density / box.prod())
        places, box = places[rng.permutation(len(places))[:n_particles]] * scale, box * scale
    species = np.zeros(n_particles, int)
    species[rng.permutation(n_particles)[:n_B]] = 1
    first_A = np.argsort(species, kind="stable")
    return Configuration(positions=wrap(places[first_A], box), species=species[first_A], box=box)


def shuffled(species: Integer[np.ndarray, " n"], *, rng: np.random.Generator) -> Integer[np.ndarray, " n"]:
    """Return the species exchanged at random: composition kept, knowledge of who is where lost."""
    return rng.permutation(species)


def swapped(species: Integer[np.ndarray, " n"]) -> Integer[np.ndarray, " n"]:
    """Return A for B and B for A; of more species the last for the first and so on."""
    return np.asarray(species.max() - species)


def noisy(
    positions: Float32[np.ndarray, "b n d"], box: Float64[np.ndarray, " d"], sd: float, *, rng: np.random.Generator
) -> Float32[np.ndarray, "b n d"]:
    """Return positions moved by Gaussian noise of a standard deviation along each axis, in sigma_AA."""
    if sd == 0:
        return positions
    return wrap(positions + rng.normal(0, sd, positions.shape), box).astype(np.float32)


def patches(
    positions: Float32[np.ndarray, "n d"],
    box: Float64[np.ndarray, " d"],
    n_inside: int,
    n_patches: int,
    *,
    rng: np.random.Generator,
) -> list[Integer[np.ndarray, " m"]]:
    """Return which particles lie in square windows at random places that hold about ``n_inside`` of them.

    Args:
        positions: Of one configuration, in sigma_AA.
        box: Edge lengths; periodic.
        n_inside: Particles in a window on average; all of them if there are no more.
        n_patches: Windows.
        rng: Draws the places.
    """
    edge = box * min(1.0, n_inside / len(positions)) ** (1 / len(box))
    return [
        np.flatnonzero((((positions - corner) % box) < edge).all(axis=1))
        for corner in rng.random((n_patches, len(box))) * box
    ]


def _random(n: int, box: Float64[np.ndarray, " d"], closest: float, rng: np.random.Generator) -> np.ndarray:
    """Return random places, each not too close to those before it."""
    places = np.empty((0, 2))
    while len(places) < n:
        one = rng.random(2) * box
        dr = places - one
        dr -= box * np.round(dr / box)
        if (np.square(dr).sum(axis=1) > closest**2).all():
            places = np.append(places, one[None], axis=0)
    return places


def _lattice(basis: np.ndarray, cell: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at least ``n`` sites of repeated cells, and their box, as square as it can be."""
    columns = max(1, round(np.sqrt(n / len(basis) * cell[1] / cell[0])))
    rows = -(-n // (len(basis) * columns))
    corners = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 1, 2) * cell
    return (corners + basis).reshape(-1, 2), np.array([columns, rows]) * cell


def _stars(centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each place followed by five around it."""
    angles = rng.random(len(centres))[:, None] * 2 * np.pi + np.arange(5) * 2 * np.pi / 5
    arms = _ARM * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([centres[:, None], centres[:, None] + arms], axis=1).reshape(-1, 2)


_ROOT = np.sqrt(3.0)
_TRIANGULAR = (np.array([[0.25, 0.25 * _ROOT], [0.75, 0.75 * _ROOT]]), np.array([1.0, _ROOT]))
_HONEYCOMB = (
    np.array([[0.0, 0.0], [0.0, 1.0], [_ROOT / 2, 1.5], [_ROOT / 2, 2.5]]),
    np.array([_ROOT, 3.0]),
)
_CELLS = {3: _HONEYCOMB, 5: _TRIANGULAR, 6: _TRIANGULAR}
