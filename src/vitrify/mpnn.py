r"""Messages between neighbouring particles, then an average over the particles of one configuration.

.. math:: \text{particle: } h_i &\leftarrow \mathrm{norm}\big(h_i + \mathrm{silu}(W \textstyle\sum_{j \in kNN(i)}
              \mathrm{relu}(U h_j + V h_i + E\,\phi(r_{ij})) / k)\big) \\
          \text{bond: } h_{j \to i} &\leftarrow \mathrm{relu}\big(h^0_{j \to i} + W \textstyle\sum_{l \in kNN(j),
              l \ne i} h_{l \to j} / k\big), \qquad h_{j \to i} \leftarrow a_{j \to i}\, h_{j \to i}

The attention ``a`` over the bonds is a softmax over those of one configuration, times their number: no score depends on
what else is in the batch, and a doubled box scores as the box.
"""

__all__ = ["MPNN", "bond_attention"]

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int32, Integer
from numba import njit
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from vitrify.views import Graph


class MPNN(BaseModel):
    """Messages between nearest neighbours, then attention over the particles of one configuration.

    Works in 2 and 3 dimensions. Messages of particles are the fast default. Messages of bonds never hear their own
    echo, and can be weighted by attention over all bonds of the configuration, read back by `bond_attention`.

    References:
        Gilmer et al., 2017, doi:10.48550/arXiv.1704.01212
        Yang et al., 2019, doi:10.1021/acs.jcim.9b00237: messages of directed bonds
        Swanson et al., 2019, doi:10.48550/arXiv.1909.04648: attention over bonds
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = True
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    kind: Literal["mpnn"] = Field("mpnn", description="Message-passing network on neighbour graphs.")
    view: Graph = Field(Graph(), description="How the graph is made.")
    width: int = Field(32, ge=1, description="Features of each particle.")
    message_width: int = Field(16, ge=1, description="Features of each message.")
    n_rounds: int = Field(2, ge=1, description="Rounds of messages; the first sees species and distances only.")
    n_distance: int = Field(16, ge=2, description="Gaussians on the distance, from 0.6 to 2 sigma_AA.")
    n_heads: int = Field(2, ge=1, description="Weighted averages over the particles, each with its own attention.")
    n_species: int = Field(2, ge=1, description="Species that the network can tell apart.")
    messages: Literal["particle", "bond"] = Field("particle", description="What sends and hears the messages.")
    bond_heads: int = Field(
        0, ge=0, description="Attentions over all bonds of a configuration, averaged; messages of bonds only."
    )
    pooling: Literal["attention", "mean", "sum"] = Field(
        "attention", description="How particles become one configuration; a sum grows with their number."
    )

    @model_validator(mode="after")
    def _bonds_to_attend_to(self) -> Self:
        if self.bond_heads and self.messages != "bond":
            raise ValueError(
                f"bond_heads must be 0 where particles send the messages; got {self.bond_heads}: "
                f"choose messages = 'bond'"
            )
        if self.bond_heads and self.n_rounds < 2:
            raise ValueError(f"n_rounds must be at least 2 for attention over the bonds; got {self.n_rounds}")
        return self

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
            return (_MessageNetwork if self.messages == "particle" else _BondNetwork)(self)


def bond_attention(
    network: nn.Module,
    neighbours: Int32[Tensor, "b n k"],
    distances: Float32[Tensor, "b n k"],
    species: Int32[Tensor, "b n"],
) -> Float32[Tensor, "b n k"]:
    """Return how much the last round attends to the bond from each neighbour, averaged over the heads.

    The mean over the bonds of a configuration is 1.

    Args:
        network: Built by an `MPNN` that has ``bond_heads``.
        neighbours: Indices of the neighbours, as `MPNN.inputs` returns them.
        distances: Their distances, in sigma_AA.
        species: 0 for A, 1 for B.

    Raises:
        ValueError: The network has no attention over the bonds.
    """
    if not isinstance(network, _BondNetwork) or not network.bond_heads:
        raise ValueError(
            "network must be built by MPNN(messages='bond', bond_heads=1) or more; it has no such attention"
        )
    with torch.no_grad():
        _, weight = network.bonds(neighbours, distances, species)
    return weight.view(neighbours.shape)


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
        self.attention, self.readout = _readout(settings)
        self.pooling = settings.pooling
        self.register_buffer("centres", torch.linspace(0.6, 2.0, n_distance))

    def sites(
        self,
        neighbours: Int32[Tensor, "b n k"],
        distances: Float32[Tensor, "b n k"],
        species: Int32[Tensor, "b n"],
    ) -> Float32[Tensor, "b n c"]:
        """Return the features of each particle after the last round."""
        b, n, _ = neighbours.shape
        senders = _flat(neighbours)
        kind = functional.one_hot(species.view(-1).long(), self.n_species).to(distances.dtype)
        phi, around = _spread(senders, distances.flatten(0, 1), species.view(-1), self.centres, self.n_species)
        h = self.first(torch.cat([kind, around.flatten(1)], 1))
        for messages in self.rounds:
            h = messages(h, senders, phi)
        return h.view(b, n, -1).float()  # type: ignore[no-any-return]

    def of_sites(self, h: Float[Tensor, "b n c"]) -> Float[Tensor, " b"]:
        """Return the logit of each configuration's particles; the softmax is over the particles of one of them."""
        return _score(h, self.pooling, self.attention, self.readout)

    def forward(
        self,
        neighbours: Int32[Tensor, "b n k"],
        distances: Float32[Tensor, "b n k"],
        species: Int32[Tensor, "b n"],
    ) -> Float32[Tensor, " b"]:
        """Return the logit of each graph."""
        return self.of_sites(self.sites(neighbours, distances, species)).float()


class _BondNetwork(nn.Module):
    r"""The network of `MPNN` with messages of directed bonds; bond (i, a) goes from i's a-th neighbour j to i.

    .. math:: h^0_{j \to i} = \mathrm{relu}(W_0\,[s_i, s_j, \phi(r_{ij})]), \qquad
              a_{j \to i} = \langle n k\, \mathrm{softmax}(v_q \cdot \tanh(U_q h)) \rangle_q, \qquad
              h_i = \mathrm{relu}\big(W_1\,[s_i, \textstyle\sum_{j \in kNN(i)} h_{j \to i} / k]\big)
    """

    centres: Tensor

    def __init__(self, settings: MPNN) -> None:
        super().__init__()
        width, n_distance, n_species = settings.width, settings.n_distance, settings.n_species
        self.n_species, self.bond_heads = n_species, settings.bond_heads
        self.first = nn.Linear(2 * n_species + n_distance, width)
        self.rounds = nn.ModuleList(nn.Linear(width, width) for _ in range(settings.n_rounds - 1))
        heads = settings.bond_heads
        self.attend = nn.ModuleList(
            nn.Sequential(nn.Linear(width, heads * width), nn.Tanh(), nn.Unflatten(1, (heads, width)))
            for _ in range(settings.n_rounds - 1 if heads else 0)
        )
        self.ask = nn.ParameterList(torch.randn(heads, width) / math.sqrt(width) for _ in self.attend)
        self.gather = nn.Linear(n_species + width, width)
        self.attention, self.readout = _readout(settings)
        self.pooling = settings.pooling
        self.register_buffer("centres", torch.linspace(0.6, 2.0, n_distance))

    def sites(
        self,
        neighbours: Int32[Tensor, "b n k"],
        distances: Float32[Tensor, "b n k"],
        species: Int32[Tensor, "b n"],
    ) -> Float32[Tensor, "b n c"]:
        """Return the features of each particle after the last round."""
        b, n, _ = neighbours.shape
        h, _ = self.bonds(neighbours, distances, species)
        kind = functional.one_hot(species.view(-1).long(), self.n_species).to(h.dtype)
        h = functional.relu(self.gather(torch.cat([kind, h.mean(1)], 1)))
        return h.view(b, n, -1).float()

    def of_sites(self, h: Float[Tensor, "b n c"]) -> Float[Tensor, " b"]:
        """Return the logit of each configuration's particles; the softmax is over the particles of one of them."""
        return _score(h, self.pooling, self.attention, self.readout)

    def forward(
        self,
        neighbours: Int32[Tensor, "b n k"],
        distances: Float32[Tensor, "b n k"],
        species: Int32[Tensor, "b n"],
    ) -> Float32[Tensor, " b"]:
        """Return the logit of each graph."""
        return self.of_sites(self.sites(neighbours, distances, species)).float()

    def bonds(
        self,
        neighbours: Int32[Tensor, "b n k"],
        distances: Float32[Tensor, "b n k"],
        species: Int32[Tensor, "b n"],
    ) -> tuple[Float32[Tensor, "m k c"], Float32[Tensor, "m k"]]:
        """Return the features of every bond after the last round, and its weight; m counts all particles."""
        b, n, k = neighbours.shape
        senders = _flat(neighbours)
        heard, echo = senders.view(-1).long(), _echoes(senders)
        kind = functional.one_hot(species.view(-1).long(), self.n_species).to(distances.dtype)
        phi, _ = _spread(senders, distances.flatten(0, 1), species.view(-1), self.centres, self.n_species)
        ends = torch.cat([kind.unsqueeze(1).expand(-1, k, -1), kind[heard].view(b * n, k, -1), phi], 2)
        h = start = functional.relu(self.first(ends)).flatten(0, 1)
        weight = torch.ones_like(h[:, 0])
        for number, turn in enumerate(self.rounds):
            there = h.view(b * n, k, -1).sum(1).index_select(0, heard)  # what the sender of each bond has heard
            silent = torch.cat([h, h.new_zeros(1, h.shape[1])])  # a bond that has no echo takes the row of zeros
            h = functional.relu(start + turn((there - silent.index_select(0, echo)) / k))
            if self.bond_heads:
                question = (self.attend[number](h) * self.ask[number]).sum(2).float()
                weight = n * k * torch.softmax(question.view(b, n * k, -1), 1).mean(2).view(-1)
                h = h * weight.unsqueeze(1)
        return h.view(b * n, k, -1), weight.view(b * n, k)


def _readout(settings: MPNN) -> tuple[nn.Linear | None, nn.Sequential]:
    """Return what weighs the particles, if anything, and what turns their average into a logit."""
    attends = settings.pooling == "attention"
    attention = nn.Linear(settings.width, settings.n_heads) if attends else None
    n = settings.width * (settings.n_heads if attends else 1)
    return attention, nn.Sequential(nn.BatchNorm1d(n), nn.Linear(n, 1))


def _score(
    h: Float[Tensor, "b n c"], pooling: str, attention: nn.Module | None, readout: nn.Module
) -> Float[Tensor, " b"]:
    """Return the logits of the particles' features; the softmax is over the particles of one configuration."""
    if attention is None:
        pooled = h.mean(1) if pooling == "mean" else h.sum(1)
    else:
        pooled = torch.einsum("bnh,bnc->bhc", torch.softmax(attention(h).to(h.dtype), 1), h).flatten(1)
    return readout(pooled).squeeze(1)  # type: ignore[no-any-return]


def _flat(neighbours: Int32[Tensor, "b n k"]) -> Int32[Tensor, "m k"]:
    """Return the neighbours' places in one axis that holds the particles of all graphs."""
    b, n, k = neighbours.shape
    first = n * torch.arange(b, dtype=torch.int32, device=neighbours.device)
    return (neighbours + first.view(b, 1, 1)).view(-1, k)


def _echoes(senders: Int32[Tensor, "m k"]) -> Integer[Tensor, " e"]:
    """Return the place of each bond's reverse; m k, one past the last, where the sender does not hear the receiver."""
    m, k = senders.shape
    own = torch.arange(m, device=senders.device)
    back = senders[senders.long()] == own.view(-1, 1, 1)  # (i, a, c): does c-th neighbour of a's sender return to i?
    place = senders.long() * k + back.int().argmax(2)
    return torch.where(back.any(2), place, m * k).view(-1)


def _spread(
    senders: Int32[Tensor, "m k"],
    distances: Float32[Tensor, "m k"],
    species: Int32[Tensor, " m"],
    centres: Float32[Tensor, " g"],
    n_species: int,
) -> tuple[Float32[Tensor, "m k g"], Float32[Tensor, "m s g"]]:
    """Return the Gaussians of every distance, and their sums over the neighbours of each species."""
    if distances.device.type == "cpu":
        m, k = distances.shape
        phi = distances.new_empty(m, k, len(centres))
        around = distances.new_zeros(m, n_species, len(centres))
        _gaussians(*(tensor.numpy() for tensor in (senders, distances, species, centres, phi, around)))
        return phi, around
    return _spread_anywhere(senders, distances, species, centres, n_species)


def _spread_anywhere(
    senders: Int32[Tensor, "m k"],
    distances: Float32[Tensor, "m k"],
    species: Int32[Tensor, " m"],
    centres: Float32[Tensor, " g"],
    n_species: int,
) -> tuple[Float32[Tensor, "m k g"], Float32[Tensor, "m s g"]]:
    """Return the same on any device."""
    phi = torch.exp(-0.5 * ((distances.unsqueeze(2) - centres) / (centres[1] - centres[0])).square())
    kind = functional.one_hot(species.long(), n_species).to(phi.dtype)[senders.long()]
    return phi, torch.einsum("mks,mkg->msg", kind, phi)


def _heard(
    sent: Float32[Tensor, "n c"],
    own: Float32[Tensor, "n c"],
    apart: Float32[Tensor, "n k c"],
    senders: Int32[Tensor, "n k"],
) -> Float32[Tensor, "n c"]:
    """Return the mean over the neighbours of ``relu(sent_j + own_i + apart_ij)``; compiled on a processor."""
    if sent.device.type == "cpu":
        return _Heard.apply(sent.float(), own.float(), apart.float(), senders)  # type: ignore[no-untyped-call, no-any-return]
    return _heard_anywhere(sent, own, apart, senders)


def _heard_anywhere(
    sent: Float32[Tensor, "n c"],
    own: Float32[Tensor, "n c"],
    apart: Float32[Tensor, "n k c"],
    senders: Int32[Tensor, "n k"],
) -> Float32[Tensor, "n c"]:
    """Return the same on any device."""
    return functional.relu(sent[senders.long()] + own.unsqueeze(1) + apart).mean(1)


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
        message = _heard(self.sender(h), self.receiver(h), self.distance(phi), senders)
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
