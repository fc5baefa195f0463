"""What a network turns into one logit: particles, cells of a picture or of voxels, or pixels, each with its features.

Every way to look has the same four parts: the features of the sites, the kind of each site, the logit of features
that may be any numbers, and how a number of every site is shared out among the particles, with nothing lost.
"""

__all__ = ["At", "Sites", "look", "owners"]

import copy
import math
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, Integer
from scipy.spatial import cKDTree
from torch import Tensor, nn

from vitrify.cnn import CNN, CNN3D, Swanson2018
from vitrify.models import Model
from vitrify.sets import Logistic, Shallow
from vitrify.system import wrap

At = Literal["features", "pixels"]


class Sites(Protocol):
    """How a network looks at configurations of some particles in some box.

    Args:
        group: The kind of each site.
    """

    group: Int64[np.ndarray, " s"]

    @property
    def score(self) -> Callable[[Tensor], Tensor]:
        """Returns the logits of the features of the sites of configurations, both in double precision."""
        ...

    def sites(self, positions: Float32[np.ndarray, "b n d"]) -> Float32[Tensor, "b s f"]:
        """Return the features of the sites of each configuration."""
        ...

    def shared(
        self, of_site: Float64[np.ndarray, " s"], positions: Float32[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, " n"]:
        """Return a number of every site of one configuration, shared out among its particles."""
        ...


def look(network: nn.Module, model: Model, species: np.ndarray, box: np.ndarray, at: At) -> Sites:
    """Return how a network, put into evaluation mode, looks at configurations of some particles in some box.

    Args:
        network: The network.
        model: Settings it was built from.
        species: 0 for A, 1 for B.
        box: Edge lengths, in sigma_AA.
        at: ``pixels`` only for networks on pictures; those of a `Swanson2018` are always pixels.

    Raises:
        ValueError: The network has no pixels.
    """
    network.eval()
    if isinstance(model, Swanson2018) or (isinstance(model, CNN) and at == "pixels"):
        return _Pixels(network, model, species, box)
    if at == "pixels":
        raise ValueError(f"at must be 'features' for {model.kind}, which sees no pixels; got 'pixels'")
    if isinstance(model, CNN | CNN3D):
        return _Cells(network, model, species, box)
    return _Particles(network, model, species, box)


def owners(
    positions: Float[np.ndarray, "n d"],
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " d"],
    *,
    shape: tuple[int, ...],
    radius: Float64[np.ndarray, " k"],
) -> Int64[np.ndarray, "..."]:
    """Return the particle each pixel of the box belongs to: the one whose rim it is deepest inside of, or nearest to.

    Args:
        positions: Coordinates, in sigma_AA; the first axis of a picture runs down, the second to the right.
        species: 0 for A, 1 for B.
        box: Edge lengths, in sigma_AA; periodic.
        shape: Pixels, or voxels, along each edge.
        radius: Radius of the disc or ball of each species, in sigma_AA.
    """
    axes = [(np.arange(size) + 0.5) * (float(edge) / size) for size, edge in zip(shape, box, strict=True)]
    pixels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    inside = wrap(positions.astype(np.float64), box)
    nearest, owner = np.full(len(pixels), np.inf), np.zeros(len(pixels), np.int64)
    for kind in np.unique(species):
        members = np.flatnonzero(species == kind)
        distance, place = cKDTree(inside[members], boxsize=box).query(pixels)
        closer = distance - radius[kind] < nearest
        nearest[closer] = distance[closer] - radius[kind]
        owner[closer] = members[place[closer]]
    return owner.reshape(shape)


class _Particles:
    """Every particle is a site; a network on mean descriptors has the descriptors themselves for features."""

    def __init__(self, network: nn.Module, model: Any, species: np.ndarray, box: np.ndarray) -> None:
        self.network, self.model, self.species, self.box = network, model, species, box
        self.group = species.astype(np.int64)
        precise: Any = copy.deepcopy(network).double()
        self.pooled = isinstance(model, Shallow | Logistic)
        if self.pooled:
            member = np.arange(model.view.n_species)[:, None] == species
            share = torch.from_numpy(member / np.maximum(1, member.sum(axis=1, keepdims=True)))
            self.score: Callable[[Tensor], Tensor] = lambda h: precise.of_pooled((share @ h).flatten(1))
        else:
            self.score = precise.of_sites

    def sites(self, positions: Float32[np.ndarray, "b n d"]) -> Float32[Tensor, "b n f"]:
        if self.pooled:
            (numbers,) = self.model.view(positions, self.species, self.box)
            return torch.from_numpy(numbers[:, :, self.model.view.n_species :])
        with torch.no_grad():
            return self.network.sites(*self.model.inputs(positions, self.species, self.box))  # type: ignore[operator, no-any-return]

    def shared(
        self, of_site: Float64[np.ndarray, " n"], positions: Float32[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, " n"]:
        del positions  # a site is a particle
        return of_site


class _Cells:
    """Every cell of a convolutional network's last layer is a site, at the centre of what it sees."""

    def __init__(self, network: nn.Module, model: CNN | CNN3D, species: np.ndarray, box: np.ndarray) -> None:
        self.network, self.model, self.species, self.box = network, model, species, box
        count = model.view.pixels if isinstance(model, CNN) else model.view.voxels
        self.shape: tuple[int, ...] = count(box, stride=model.stride)
        self.cells = tuple(size // model.stride for size in self.shape)
        self.group = np.zeros(math.prod(self.cells), np.int64)
        self.score: Callable[[Tensor], Tensor] = copy.deepcopy(network).double().of_sites  # type: ignore[assignment]

    def sites(self, positions: Float32[np.ndarray, "b n d"]) -> Float32[Tensor, "b s f"]:
        with torch.no_grad():
            return self.network.sites(*self.model.inputs(positions, self.species, self.box))  # type: ignore[operator, no-any-return]

    def shared(
        self, of_site: Float64[np.ndarray, " s"], positions: Float32[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, " n"]:
        cell = (self.model.stride,) * len(self.cells)
        of_pixel = np.kron(of_site.reshape(self.cells), np.full(cell, 1 / math.prod(cell)))
        radius = np.array(self.model.view.radius)
        owner = owners(positions, self.species, self.box, shape=self.shape, radius=radius)
        return np.bincount(owner.ravel(), weights=of_pixel.ravel(), minlength=len(positions))


class _Pixels:
    """Every pixel of a picture is a site; those of a halo belong to the pixels they repeat."""

    def __init__(self, network: nn.Module, model: CNN | Swanson2018, species: np.ndarray, box: np.ndarray) -> None:
        self.network, self.model, self.species, self.box = network, model, species, box
        self.halo = model.halo if isinstance(model, CNN) else 0
        self.shape = (
            model.view.pixels(box, stride=model.stride) if isinstance(model, CNN) else (model.pixels, model.pixels)
        )
        self.drawn = (self.shape[0] + 2 * self.halo, self.shape[1] + 2 * self.halo)
        self.group = np.zeros(self.drawn[0] * self.drawn[1], np.int64)

    def sites(self, positions: Float32[np.ndarray, "b n 2"]) -> Float32[Tensor, "b s c"]:
        (pictures,) = self.model.inputs(positions, self.species, self.box)
        return pictures.float().flatten(2).transpose(1, 2)

    def score(self, h: Float64[Tensor, "b s c"]) -> Float64[Tensor, " b"]:
        pictures = h.float().transpose(1, 2)
        return self.network(pictures.reshape(*pictures.shape[:2], *self.drawn)).double()  # type: ignore[no-any-return]

    def shared(
        self, of_site: Float64[np.ndarray, " s"], positions: Float32[np.ndarray, "n 2"]
    ) -> Float64[np.ndarray, " n"]:
        if isinstance(self.model, CNN):
            radius = np.array(self.model.view.radius)
            owner = owners(positions, self.species, self.box, shape=self.shape, radius=radius)
        else:
            owner = self._dots(positions)
        down, right = ((np.arange(size + 2 * self.halo) - self.halo) % size for size in self.shape)
        return np.bincount(owner[np.ix_(down, right)].ravel(), weights=of_site, minlength=len(positions))

    def _dots(self, positions: Float32[np.ndarray, "n 2"]) -> Int64[np.ndarray, "h w"]:
        """Return the particle whose dot each pixel of the log's picture is nearest to; y runs upwards there."""
        side = self.shape[0]
        centres = positions * (side / self.box.max()) + 0.5  # a dot is the particle's pixel and the next
        none = np.zeros(int(self.species.max()) + 1)
        owner = owners(centres, self.species, np.array([side, side], float), shape=self.shape, radius=none)
        return owner.T[::-1]
