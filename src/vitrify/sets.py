r"""Networks on descriptors: of every particle as a set (`DeepSet`), or averaged beforehand (`Shallow`, `Logistic`).

.. math:: \text{DeepSet: } s &= w \cdot \mathrm{BN}\Big(\textstyle\sum_i a_i^{(q)} h_i\Big)_q + w_0, \quad
              h_i = \mathrm{MLP}(x_i), \quad a^{(q)} = \mathrm{softmax}_i(A_q h_i) \\
          \text{Shallow: } s &= v \cdot \tanh(W z + c) + v_0, \qquad
          \text{Logistic: } s = w \cdot z + w_0

with ``x`` the descriptors of a particle and ``z`` their means over the particles of each species, each less its mean
over the training configurations and divided by its spread. The descriptors never change, so training keeps them.
"""

__all__ = ["DeepSet", "Logistic", "Shallow", "named_weights"]

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Integer
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrify.descriptors import Descriptors

_EPSILON = 1e-10  # variance below which a pooled number counts as constant; the signal is in spreads of a thousandth


class DeepSet(BaseModel):
    """A small network on each particle's descriptors, then attention over the particles of one configuration.

    The fastest network: its input is computed once, and no particle hears from another.

    References:
        Zaheer et al., 2017, doi:10.48550/arXiv.1703.06114
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    kind: Literal["deepset"] = Field("deepset", description="Network on descriptors of every particle.")
    view: Descriptors = Field(Descriptors(), description="How a particle is described.")
    width: int = Field(32, ge=1, description="Features of each particle.")
    n_layers: int = Field(2, ge=1, description="Layers of the network on each particle.")
    n_heads: int = Field(2, ge=1, description="Weighted averages over the particles, each with its own attention.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the descriptors of every particle.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        return (torch.from_numpy(self.view(positions, species, box)[0]),)

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _SetNetwork(self)


class Shallow(BaseModel):
    """One hidden layer of few neurons on the mean descriptors of each species: its weights can be plotted and read.

    References:
        Suchsland & Wessel, 2018, doi:10.1103/PhysRevB.97.174435, arXiv:1802.09876
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    kind: Literal["shallow"] = Field("shallow", description="One hidden layer on mean descriptors.")
    view: Descriptors = Field(Descriptors(), description="How a particle is described.")
    n_neurons: int = Field(3, ge=1, description="Neurons of the hidden layer.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the mean descriptors of each species, named by ``view.pooled_names``.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        return (torch.from_numpy(self.view.pooled(positions, species, box)),)

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _PooledNetwork(self.view, n_neurons=self.n_neurons)


class Logistic(BaseModel):
    """No hidden layer on the mean descriptors of each species: logistic regression, trained as the networks are."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    kind: Literal["logistic"] = Field("logistic", description="Linear in the mean descriptors.")
    view: Descriptors = Field(Descriptors(), description="How a particle is described.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the mean descriptors of each species, named by ``view.pooled_names``.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        return (torch.from_numpy(self.view.pooled(positions, species, box)),)

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _PooledNetwork(self.view, n_neurons=0)


def named_weights(
    model: Shallow | Logistic, network: nn.Module
) -> tuple[tuple[str, ...], Float64[np.ndarray, "h f"], Float64[np.ndarray, " h"]]:
    """Return the inputs' names, the weights of each neuron, and each neuron's own weight in the logit.

    The inputs are standardised, so the weights of unlike inputs compare: a weight is what one standard deviation
    among the training configurations adds. A `Logistic` is one neuron of weight 1.

    Args:
        model: Settings of the network.
        network: The network, as built from them.
    """
    if not isinstance(network, _PooledNetwork):
        raise TypeError(f"network must be one built by {type(model).__name__}; got {type(network).__name__}")
    first, last = network.layers[0], network.layers[-1]
    weights = first.weight.detach().cpu().double().numpy()  # type: ignore[operator]
    own = np.ones(1) if first is last else last.weight.detach().cpu().double().numpy()[0]  # type: ignore[operator]
    return model.view.pooled_names, weights, own


def activations(
    model: Shallow,
    network: nn.Module,
    positions: Float32[np.ndarray, "b n d"],
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " d"],
) -> Float64[np.ndarray, "b h"]:
    """Return the activation of each neuron of the hidden layer, from -1 to 1, for each configuration.

    Args:
        model: Settings of the network.
        network: The network, as built from them.
        positions: Coordinates, in sigma_AA.
        species: 0 for A, 1 for B.
        box: Edge lengths, in sigma_AA.
    """
    if not isinstance(network, _PooledNetwork) or len(network.layers) < 3:
        raise TypeError(f"network must be one built by {type(model).__name__}; got {type(network).__name__}")
    (pooled,) = model.inputs(positions, species, box)
    network.eval()
    with torch.no_grad():
        hidden = network.layers[:2](network.standardise(pooled.to(network.layers[0].weight.device)))  # type: ignore[arg-type]
    return np.asarray(hidden.cpu().double().numpy())


class _SetNetwork(nn.Module):
    """The network of `DeepSet`."""

    def __init__(self, settings: DeepSet) -> None:
        super().__init__()
        width, n_heads = settings.width, settings.n_heads
        sizes = [len(settings.view.names)] + [width] * settings.n_layers
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.particle = nn.Sequential(*layers)
        self.attention = nn.Linear(width, n_heads)
        self.readout = nn.Sequential(nn.BatchNorm1d(n_heads * width, eps=_EPSILON), nn.Linear(n_heads * width, 1))

    def sites(self, descriptors: Float32[Tensor, "b n m"]) -> Float32[Tensor, "b n c"]:
        """Return the features of each particle."""
        return self.particle(descriptors).float()  # type: ignore[no-any-return]

    def of_sites(self, h: Float[Tensor, "b n c"]) -> Float[Tensor, " b"]:
        """Return the logit of each set of particles."""
        weight = torch.softmax(self.attention(h).to(h.dtype), 1)
        pooled = torch.einsum("bnh,bnc->bhc", weight, h).flatten(1)
        return self.readout(pooled).squeeze(1)  # type: ignore[no-any-return]

    def forward(self, descriptors: Float32[Tensor, "b n m"]) -> Float32[Tensor, " b"]:
        """Return the logit of each set of particles."""
        return self.of_sites(self.sites(descriptors)).float()


class _PooledNetwork(nn.Module):
    """The network of `Shallow`, and of `Logistic` when it has no neurons."""

    def __init__(self, view: Descriptors, *, n_neurons: int) -> None:
        super().__init__()
        n = len(view.pooled_names)
        self.standardise = nn.BatchNorm1d(n, eps=_EPSILON, affine=False)
        hidden = [nn.Linear(n, n_neurons), nn.Tanh()] if n_neurons else []
        self.layers = nn.Sequential(*hidden, nn.Linear(n_neurons or n, 1))

    def of_pooled(self, pooled: Float[Tensor, "b f"]) -> Float[Tensor, " b"]:
        """Return the logit of each configuration."""
        return self.layers(self.standardise(pooled)).squeeze(1)  # type: ignore[no-any-return]

    def forward(self, pooled: Float32[Tensor, "b f"]) -> Float32[Tensor, " b"]:
        """Return the logit of each configuration in single precision."""
        return self.of_pooled(pooled).float()
