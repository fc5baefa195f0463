r"""Networks that score one configuration: a logit, positive for glass.

.. math:: p(\text{glass}) = 1 / (1 + e^{-\text{logit}})

A settings object (`CNN`, `MPNN`) holds the view it looks through, draws its own inputs and builds the network.
Both pool over positions or particles, so one network takes any number of particles and any box.
"""

__all__ = ["CNN", "MODELS", "MPNN", "Model"]

import math
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32, Integer, UInt8
from numba import njit
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from vitrify.views import Graph, Image


class Model(Protocol):
    """Settings of a network: how it sees a configuration and how it is built."""

    @property
    def invariant(self) -> bool:
        """Whether the inputs are the same for a shifted, turned or mirrored configuration."""
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


class CNN(BaseModel):
    """Three valid convolutions on a picture with a periodic halo, then mean and mean square over the picture.

    Batch normalisation follows the first two convolutions and the pooling: without it the weak signal of inherent
    structures is not found in a few hundred steps.

    The total stride is 8 pixels. With a halo of 13 pixels on each side, the last layer has exactly one cell per
    8 x 8 pixels of the box, so a shift by whole strides only moves the cells and leaves the score as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = False
    stride: ClassVar[int] = 8
    halo: ClassVar[int] = 13

    kind: Literal["cnn"] = Field("cnn", description="Convolutional network on pictures.")
    view: Image = Field(Image(), description="How the picture is drawn.")
    width: int = Field(16, ge=1, description="Channels of the first layer; the others have twice as many.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the pictures, with the halo that the network needs.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        (pictures,) = self.view(positions, species, box, stride=self.stride, halo=self.halo)
        return (torch.from_numpy(pictures),)

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _ConvolutionalNetwork(self)


class MPNN(BaseModel):
    """Messages between nearest neighbours, then attention over the particles of one configuration.

    Works in 2 and 3 dimensions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True

    kind: Literal["mpnn"] = Field("mpnn", description="Message-passing network on neighbour graphs.")
    view: Graph = Field(Graph(), description="How the graph is made.")
    width: int = Field(32, ge=1, description="Features of each particle.")
    message_width: int = Field(16, ge=1, description="Features of each message.")
    n_rounds: int = Field(2, ge=1, description="Rounds of messages; the first sees species and distances only.")
    n_distance: int = Field(16, ge=2, description="Gaussians on the distance, from 0.6 to 2 sigma_AA.")
    n_heads: int = Field(2, ge=1, description="Weighted averages over the particles, each with its own attention.")
    n_species: int = Field(2, ge=1, description="Species that the network can tell apart.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the neighbours, their distances and the species.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        return tuple(torch.from_numpy(array) for array in self.view(positions, species, box))

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _MessageNetwork(self)


class _ConvolutionalNetwork(nn.Module):
    """The network of `CNN`."""

    def __init__(self, settings: CNN) -> None:
        super().__init__()
        width = settings.width
        self.features = nn.Sequential(
            nn.Conv2d(len(settings.view.radius), width, 6, stride=4, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 2 * width, 3),
            nn.ReLU(inplace=True),
        )
        self.readout = nn.Sequential(nn.BatchNorm1d(4 * width), nn.Linear(4 * width, 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pictures: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, " b"]:
        """Return the logit of each picture."""
        h = pictures.to(memory_format=torch.channels_last).to(torch.float32).mul_(2 / 255).sub_(1)
        h = self.features(h).permute(0, 2, 3, 1).flatten(1, 2)  # as it lies in memory
        pooled = torch.cat([h.mean(1), h.square().mean(1)], 1)
        return self.readout(pooled).squeeze(1)  # type: ignore[no-any-return]


class _MessageNetwork(nn.Module):
    r"""The network of `MPNN`; the particles of all graphs of a batch lie in one axis of ``b * n``.

    .. math:: h_i &= \mathrm{MLP}\big(s_i, \textstyle\sum_{j \in kNN(i)} s_j \otimes \phi(r_{ij})\big) \\
              h_i &\leftarrow \mathrm{norm}\big(h_i + \mathrm{silu}(W \textstyle\sum_{j \in kNN(i)}
                  \mathrm{relu}(U h_j + V h_i + E\,\phi(r_{ij})) / k)\big)

    with s the species as a one-hot vector and phi Gaussians on the distance. In the first round the senders differ by
    their species alone, so its sum needs no weights; the second line is one further round.
    """

    centres: Tensor

    def __init__(self, settings: MPNN) -> None:
        super().__init__()
        width, n_distance, n_species = settings.width, settings.n_distance, settings.n_species
        self.n_species = n_species
        self.first = nn.Sequential(nn.Linear(n_species * (1 + n_distance), width), nn.SiLU(), nn.Linear(width, width))
        self.rounds = nn.ModuleList(
            _Messages(width, settings.message_width, n_distance) for _ in range(settings.n_rounds - 1)
        )
        self.attention = nn.Linear(width, settings.n_heads)
        self.readout = nn.Sequential(nn.BatchNorm1d(settings.n_heads * width), nn.Linear(settings.n_heads * width, 1))
        self.register_buffer("centres", torch.linspace(0.6, 2.0, n_distance))

    def forward(
        self,
        neighbours: Int32[Tensor, "b n k"],
        distances: Float32[Tensor, "b n k"],
        species: Int32[Tensor, "b n"],
    ) -> Float32[Tensor, " b"]:
        """Return the logit of each graph."""
        b, n, k = neighbours.shape
        senders = (neighbours + n * torch.arange(b, dtype=torch.int32).view(b, 1, 1)).view(-1, k)
        kind = functional.one_hot(species.view(-1).long(), self.n_species).to(distances.dtype)
        phi = distances.new_empty(b * n, k, len(self.centres))
        around = distances.new_zeros(b * n, self.n_species, len(self.centres))
        seen = (senders, distances.view(-1, k), species.view(-1), self.centres)
        _gaussians(*(tensor.numpy() for tensor in seen), phi.numpy(), around.numpy())
        h = self.first(torch.cat([kind, around.flatten(1)], 1))
        for messages in self.rounds:
            h = messages(h, senders, phi)
        h = h.view(b, n, -1)
        weight = torch.softmax(self.attention(h), 1)
        pooled = torch.einsum("bnh,bnc->bhc", weight, h).flatten(1)
        return self.readout(pooled).squeeze(1)  # type: ignore[no-any-return]


class _Messages(nn.Module):
    """One round of messages; every particle has the same number of neighbours, so nothing is scattered."""

    def __init__(self, width: int, message_width: int, n_distance: int) -> None:
        super().__init__()
        self.sender = nn.Linear(width, message_width, bias=False)
        self.receiver = nn.Linear(width, message_width)
        self.distance = nn.Linear(n_distance, message_width, bias=False)
        self.update = nn.Linear(message_width, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, h: Float32[Tensor, "n c"], senders: Int32[Tensor, "n k"], phi: Float32[Tensor, "n k m"]
    ) -> Float32[Tensor, "n c"]:
        """Return the particles' features after hearing from their neighbours."""
        message = _Heard.apply(self.sender(h), self.receiver(h), self.distance(phi), senders)  # type: ignore[no-untyped-call]
        return self.norm(h + functional.silu(self.update(message)))  # type: ignore[no-any-return]


class _Heard(torch.autograd.Function):
    r"""The mean over the neighbours of ``relu(sent_j + own_i + apart_ij)``, in one pass forth and one back.

    PyTorch would write and read an array of all edges for every sign in that formula, which takes most of a step.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sent: Float32[Tensor, "n c"],
        own: Float32[Tensor, "n c"],
        apart: Float32[Tensor, "n k c"],
        senders: Int32[Tensor, "n k"],
    ) -> Float32[Tensor, "n c"]:
        total, mean = torch.empty_like(apart), torch.empty_like(own)
        _hear(*(tensor.detach().numpy() for tensor in (sent, own, apart, senders, total, mean)))
        ctx.save_for_backward(senders, total)
        return mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        senders, total = ctx.saved_tensors
        grad = grads[0].contiguous()
        d_sent, d_own, d_apart = torch.zeros_like(grad), torch.empty_like(grad), torch.empty_like(total)
        _answer(*(tensor.numpy() for tensor in (grad, senders, total, d_sent, d_own, d_apart)))
        return d_sent, d_own, d_apart, None


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _hear(
    sent: Float32[np.ndarray, "n c"],
    own: Float32[np.ndarray, "n c"],
    apart: Float32[np.ndarray, "n k c"],
    senders: Int32[np.ndarray, "n k"],
    total: Float32[np.ndarray, "n k c"],
    mean: Float32[np.ndarray, "n c"],
) -> None:
    """Fill in what relu is taken of, ``total``, and the mean over the neighbours after it."""
    n, k = senders.shape
    zero, share = np.float32(0), np.float32(1 / k)
    for i in range(n):
        for c in range(own.shape[1]):
            mean[i, c] = zero
        for j in range(k):
            s = senders[i, j]
            for c in range(own.shape[1]):
                total[i, j, c] = apart[i, j, c] + (sent[s, c] + own[i, c])
            for c in range(own.shape[1]):
                mean[i, c] += share * max(total[i, j, c], zero)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _answer(
    grad: Float32[np.ndarray, "n c"],
    senders: Int32[np.ndarray, "n k"],
    total: Float32[np.ndarray, "n k c"],
    d_sent: Float32[np.ndarray, "n c"],
    d_own: Float32[np.ndarray, "n c"],
    d_apart: Float32[np.ndarray, "n k c"],
) -> None:
    """Fill in the gradients of `_hear`, given that of the mean; ``d_sent`` comes as zeros.

    The three sums are loops of their own, because only then are they vectorised.
    """
    n, k = senders.shape
    zero, share = np.float32(0), np.float32(1 / k)
    for i in range(n):
        for c in range(grad.shape[1]):
            d_own[i, c] = zero
        for j in range(k):
            for c in range(grad.shape[1]):
                d_apart[i, j, c] = share * grad[i, c] if total[i, j, c] > zero else zero
            for c in range(grad.shape[1]):
                d_own[i, c] += d_apart[i, j, c]
            s = senders[i, j]
            for c in range(grad.shape[1]):
                d_sent[s, c] += d_apart[i, j, c]


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _gaussians(
    senders: Int32[np.ndarray, "n k"],
    distances: Float32[np.ndarray, "n k"],
    species: Int32[np.ndarray, " n"],
    centres: Float32[np.ndarray, " m"],
    phi: Float32[np.ndarray, "n k m"],
    around: Float32[np.ndarray, "n s m"],
) -> None:
    """Fill in the Gaussians of every distance, and add them up by the neighbour's species.

    The Gaussian nearest to the distance is computed; those beside it follow by multiplication, because the ratio of
    two neighbouring ones falls by 1/e from one to the next.
    """
    n, k, n_centres = phi.shape
    spacing = (centres[-1] - centres[0]) / (n_centres - 1.0)
    decay = math.exp(-1.0)
    for i in range(n):
        for j in range(k):
            x = (distances[i, j] - centres[0]) / spacing
            nearest = int(min(max(x + 0.5, 0.0), n_centres - 1.0))
            x -= nearest
            top = math.exp(-0.5 * x * x)
            phi[i, j, nearest] = top
            for side in (1, -1):
                value, ratio = top, math.exp(side * x - 0.5)
                m = nearest + side
                while 0 <= m < n_centres:
                    value *= ratio
                    ratio *= decay
                    phi[i, j, m] = value
                    m += side
            kind = species[senders[i, j]]
            for m in range(n_centres):
                around[i, kind, m] += phi[i, j, m]


MODELS = {"cnn": CNN, "mpnn": MPNN}
