r"""Networks that score one configuration: a logit, positive for glass.

.. math:: p(\text{glass}) = 1 / (1 + e^{-\text{logit}})

A settings object holds the view it looks through, draws its own inputs and builds the network. All of them are equal
before the training: `MODELS` names them, and a study file chooses by ``kind``.
"""

__all__ = [
    "CNN",
    "CNN3D",
    "MODELS",
    "MPNN",
    "DeepSet",
    "Logistic",
    "Model",
    "Network",
    "Shallow",
    "Swanson2018",
    "suited",
]

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol, get_args

import numpy as np
from jaxtyping import Float32, Float64, Integer
from pydantic import Field, TypeAdapter
from torch import Tensor, nn

from vitrify.cnn import CNN, CNN3D, Swanson2018
from vitrify.mpnn import MPNN
from vitrify.sets import DeepSet, Logistic, Shallow


class Model(Protocol):
    """Settings of a network: how it sees a configuration and how it is built."""

    @property
    def kind(self) -> str:
        """Name of the network in `MODELS` and in study files."""
        ...

    @property
    def invariant(self) -> bool:
        """Whether the inputs are the same for a shifted, turned or mirrored configuration."""
        ...

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Numbers of dimensions it can look at: 2, 3 or both."""
        ...

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Settings of the training whose default is another one for this network."""
        ...

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return what the network is called with; the first axis of each tensor is the configuration."""
        ...

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with fresh weights."""
        ...

    def model_dump_json(self) -> str:
        """Return the settings as JSON."""
        ...


Network = Annotated[CNN | CNN3D | Swanson2018 | MPNN | DeepSet | Shallow | Logistic, Field(discriminator="kind")]
"""Settings of any network, told apart by ``kind``."""


class Kinds(Protocol):
    """What a network must know of the particles it looks at: a mixture, or a user's own material."""

    @property
    def n_species(self) -> int:
        """Number of species."""
        ...


def suited(kind: str, particles: Kinds) -> Network:
    """Return the settings of a kind of network, its defaults but for the species of the particles.

    Args:
        kind: Key of `MODELS`.
        particles: What it will look at; a user's own material has a ``radius`` for the disc of each species.
    """
    n, radius = particles.n_species, getattr(particles, "radius", None)
    if radius is None:
        return _checked({"kind": kind})
    drawn = {"view": {"radius": radius}}
    own: dict[str, dict[str, Any]] = {"cnn": drawn, "cnn3d": drawn, "mpnn": {"n_species": n}, "swanson2018": {}}
    return _checked({"kind": kind} | own.get(kind, {"view": {"n_species": n}}))


_checked: Callable[[Any], Network] = TypeAdapter[Network](Network).validate_python


MODELS = {model.model_fields["kind"].default: model for model in get_args(get_args(Network)[0])}
