r"""Convolutional networks: a small periodic one on pictures, its like on voxels, and the large one of the source log.

.. math:: \text{CNN, CNN3D: } s &= w \cdot \mathrm{BN}(\langle h_p \rangle_p, \langle h_p^2 \rangle_p) + w_0 \\
          \text{Swanson2018: } s &= z_\text{glass} - z_\text{liquid}, \quad
              z = V\,\mathrm{drop}(\mathrm{relu}(U h + u)) + v

with ``h`` the last layer of convolutions and ``p`` its positions. The first two average over positions and so take any
box; the third has a weight of its own for every position of a picture of fixed size.
"""

__all__ = ["CNN", "CNN3D", "Swanson2018"]

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Integer, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrify.system import Configuration
from vitrify.views import Image, log_picture
from vitrify.voxels import Voxels


class CNN(BaseModel):
    """Three valid convolutions on a picture with a periodic halo, then mean and mean square over the picture.

    Batch normalisation follows the first two convolutions and the pooling: without it the weak signal of inherent
    structures is not found in a few hundred steps.

    The total stride is 8 pixels. With a halo of 13 pixels on each side, the last layer has exactly one cell per
    8 x 8 pixels of the box, so a shift by whole strides only moves the cells and leaves the score as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = False
    dimensions: ClassVar[tuple[int, ...]] = (2,)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    stride: ClassVar[int] = 8
    halo: ClassVar[int] = 13

    kind: Literal["cnn"] = Field("cnn", description="Convolutional network on pictures.")
    view: Image = Field(Image(), description="How the picture is drawn.")
    width: int = Field(8, ge=1, description="Channels of the first layer; the others have twice as many.")

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


class CNN3D(BaseModel):
    """Three periodic convolutions on voxels, then mean and mean square over the box.

    The like of `CNN` in three dimensions. A halo of voxels would cost more than the box itself, so each convolution is
    given the periodic image that it needs. The total stride is 4 voxels: the last layer has exactly one cell per
    4 x 4 x 4 voxels of the box, so a shift by whole strides only moves the cells and leaves the score as it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = False
    dimensions: ClassVar[tuple[int, ...]] = (3,)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    stride: ClassVar[int] = 4

    kind: Literal["cnn3d"] = Field("cnn3d", description="Convolutional network on voxels.")
    view: Voxels = Field(Voxels(), description="How the voxels are drawn.")
    width: int = Field(8, ge=1, description="Channels of the first layer; the others have twice as many.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the voxels.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        (voxels,) = self.view(positions, species, box, stride=self.stride)
        return (torch.from_numpy(voxels),)

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _VoxelNetwork(self)


class Swanson2018(BaseModel):
    """The source log's network: a picture of the whole box, two convolutions, and 71.9 million dense weights.

    Raw 0 to 255 pixels of :func:`vitrify.views.log_picture`; 6 filters of 10x10 and 16 of 5x5, stride 1, no padding
    and no pooling; 80 neurons, dropout, two outputs; a ReLU after each layer but the last. Weights are drawn from a
    normal distribution of spread 0.1 cut off at two spreads, and biases start at 0.1, so the loss starts in the
    thousands, about half of it the L2 penalty. Nearly all weights lie between the last convolution and the 80 neurons.
    They belong to places in the picture: a shifted sample is another sample to it.

    What the log calls dropout is the probability to *keep* a neuron; ``dropout`` here is the probability to drop one,
    one minus that. At the log's usual 0.5 they are the same.

    References:
        Swanson, 2018, github.com/ks8/glassML, main_glassliquid.py
        Swanson et al., 2019, doi:10.48550/arXiv.1909.04648
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    invariant: ClassVar[bool] = False
    dimensions: ClassVar[tuple[int, ...]] = (2,)
    recipe: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "optimiser": "adam",
            "learning_rate": 1e-3,
            "schedule": {"kind": "constant"},
            "batch_size": 80,
            "l2": 0.01,
            "weight_decay": 0.0,
            "enough": 0.0,
        }
    )

    kind: Literal["swanson2018"] = Field("swanson2018", description="The source log's large network on pictures.")
    pixels: int = Field(250, ge=16, description="Side of the picture; the weights grow with its square.")
    n_neurons: int = Field(80, ge=1, description="Neurons of the dense layer.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Probability that a neuron is dropped: 1 - the log's value.")

    def inputs(
        self,
        positions: Float32[np.ndarray, "b n d"],
        species: Integer[np.ndarray, " n"],
        box: Float64[np.ndarray, " d"],
    ) -> tuple[Tensor, ...]:
        """Return the pictures, colours first.

        Args:
            positions: Coordinates, in sigma_AA.
            species: 0 for A, 1 for B.
            box: Edge lengths, in sigma_AA.
        """
        pictures = np.empty((len(positions), 3, self.pixels, self.pixels), np.uint8)
        for picture, one in zip(pictures, positions, strict=True):
            configuration = Configuration(positions=one.astype(np.float64), species=species, box=box)
            picture[:] = log_picture(configuration, pixels=self.pixels).transpose(2, 0, 1)
        return (torch.from_numpy(pictures),)

    def build(self, *, seed: int) -> nn.Module:
        """Return the network with weights drawn from ``seed``; PyTorch's own random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _SwansonNetwork(self)


class _ConvolutionalNetwork(nn.Module):
    """The network of `CNN`."""

    def __init__(self, settings: CNN) -> None:
        super().__init__()
        width = settings.width
        self.first = nn.Conv2d(len(settings.view.radius), width, 6, stride=4, bias=False)
        self.features = nn.Sequential(
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

    def last_layer(self, pictures: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, "b f p q"]:
        """Return the last layer of convolutions, one cell per stride of the box."""
        h = pictures.to(memory_format=torch.channels_last).float()
        h = nn.functional.conv2d(h, self.first.weight * (2 / 255), stride=self.first.stride)  # ink counts from 0 to 2
        return self.features(h)  # type: ignore[no-any-return]

    def sites(self, pictures: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, "b s f"]:
        """Return the cells of the last layer in one axis, row by row."""
        return self.last_layer(pictures).permute(0, 2, 3, 1).flatten(1, 2).float()  # as it lies in memory

    def of_sites(self, h: Float[Tensor, "b s f"]) -> Float[Tensor, " b"]:
        """Return the logit of each picture's cells."""
        pooled = torch.cat([h.mean(1), h.square().mean(1)], 1)
        return self.readout(pooled).squeeze(1)  # type: ignore[no-any-return]

    def forward(self, pictures: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, " b"]:
        """Return the logit of each picture."""
        return self.of_sites(self.sites(pictures)).float()


class _VoxelNetwork(nn.Module):
    """The network of `CNN3D`."""

    def __init__(self, settings: CNN3D) -> None:
        super().__init__()
        width = settings.width
        self.features = nn.Sequential(
            nn.Conv3d(len(settings.view.radius), width, 4, stride=2, padding=1, padding_mode="circular", bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, 2 * width, 4, stride=2, padding=1, padding_mode="circular", bias=False),
            nn.BatchNorm3d(2 * width),
            nn.ReLU(inplace=True),
            nn.Conv3d(2 * width, 2 * width, 3, padding=1, padding_mode="circular"),
            nn.ReLU(inplace=True),
        )
        self.readout = nn.Sequential(nn.BatchNorm1d(4 * width), nn.Linear(4 * width, 1))

    def sites(self, voxels: UInt8[Tensor, "b c x y z"]) -> Float32[Tensor, "b s f"]:
        """Return the cells of the last layer in one axis, those along the last edge of the box side by side."""
        h = self.features(voxels.float() * (2 / 255))  # ink counts from 0 to 2
        return h.flatten(2).transpose(1, 2).float()  # type: ignore[no-any-return]

    def of_sites(self, h: Float[Tensor, "b s f"]) -> Float[Tensor, " b"]:
        """Return the logit of each configuration's cells."""
        pooled = torch.cat([h.mean(1), h.square().mean(1)], 1)
        return self.readout(pooled).squeeze(1)  # type: ignore[no-any-return]

    def forward(self, voxels: UInt8[Tensor, "b c x y z"]) -> Float32[Tensor, " b"]:
        """Return the logit of each configuration."""
        return self.of_sites(self.sites(voxels)).float()


class _SwansonNetwork(nn.Module):
    """The network of `Swanson2018`; of the two outputs, the first is the liquid's."""

    def __init__(self, settings: Swanson2018) -> None:
        super().__init__()
        side = settings.pixels - 9 - 4  # what is left by valid convolutions 10 and 5 wide
        self.features = nn.Sequential(nn.Conv2d(3, 6, 10), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.Flatten())
        self.dense = nn.Sequential(
            nn.Linear(16 * side * side, settings.n_neurons),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.n_neurons, 2),
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, 0.1)
            else:
                nn.init.trunc_normal_(parameter, std=0.1, a=-0.2, b=0.2)

    def forward(self, pictures: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, " b"]:
        """Return the logit of each picture."""
        liquid, glass = self.dense(self.features(pictures.float())).float().unbind(1)
        return glass - liquid  # type: ignore[no-any-return]
