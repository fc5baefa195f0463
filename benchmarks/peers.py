"""What the learning is measured against, written as its users write it: eager PyTorch, PyG and matplotlib.

Pictures, graphs and tensors are made beforehand, so that only the peer's own work is timed.
"""

__all__ = ["EdgeMLP", "Swanson", "draw_discs", "draw_dots", "graphs", "score", "train_step"]

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32, Integer, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import AttentionalAggregation, MessagePassing


class Swanson(nn.Module):
    """The log's network on RGB pictures of 250 x 250 pixels: 71.9 million weights, two outputs."""

    def __init__(self, pixels: int = 250) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 10)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.dense1 = nn.Linear(16 * (pixels - 13) ** 2, 80)
        self.dropout = nn.Dropout(0.5)
        self.dense2 = nn.Linear(80, 2)

    def forward(self, pictures: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 2"]:
        """Return the two outputs."""
        h = torch.relu(self.conv1(pictures.float()))
        h = torch.relu(self.conv2(h))
        h = torch.relu(self.dense1(h.flatten(1)))
        return self.dense2(self.dropout(h))


class EdgeMLP(nn.Module):
    """Message passing whose messages are an MLP of both ends and the distance; attention over the particles."""

    def __init__(self, *, width: int, n_rounds: int, n_distance: int, n_species: int = 2) -> None:
        super().__init__()
        self.species = nn.Embedding(n_species, width)
        self.rounds = nn.ModuleList(_EdgeConvolution(width, n_distance) for _ in range(n_rounds))
        self.pool = AttentionalAggregation(nn.Linear(width, 1))
        self.readout = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, 2))

    def forward(self, data: Batch) -> Float32[Tensor, "b 2"]:
        """Return the two outputs."""
        h = self.species(data.x)
        for convolution in self.rounds:
            h = convolution(h, data.edge_index, data.edge_attr)
        return self.readout(self.pool(h, data.batch))


class _EdgeConvolution(MessagePassing):
    def __init__(self, width: int, n_distance: int) -> None:
        super().__init__(aggr="mean")
        self.mlp = nn.Sequential(nn.Linear(2 * width + n_distance, width), nn.SiLU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.norm(x + self.propagate(edge_index, x=x, edge_attr=edge_attr))

    def message(self, x_i: Tensor, x_j: Tensor, edge_attr: Tensor) -> Tensor:
        return self.mlp(torch.cat([x_i, x_j, edge_attr], dim=1))


def graphs(
    neighbours: Int32[np.ndarray, "b n k"],
    distances: Float32[np.ndarray, "b n k"],
    species: Int32[np.ndarray, "b n"],
    *,
    n_distance: int,
) -> list[Data]:
    """Return one `Data` per configuration; an edge goes from the neighbour to the particle."""
    _, n, k = neighbours.shape
    receivers = torch.arange(n).repeat_interleave(k)
    centres = torch.linspace(0.6, 2.0, n_distance)
    found = []
    for senders, apart, kind in zip(neighbours, distances, species, strict=True):
        x = torch.from_numpy(apart).view(-1, 1) - centres
        edges = torch.stack([torch.from_numpy(senders).long().view(-1), receivers])
        gaussians = torch.exp(-0.5 * (x / (centres[1] - centres[0])) ** 2)
        found.append(Data(x=torch.from_numpy(kind).long(), edge_index=edges, edge_attr=gaussians, num_nodes=n))
    return found


def train_step(
    network: nn.Module, optimiser: torch.optim.Optimizer, given: Tensor | list[Data], label: Integer[Tensor, " b"]
) -> None:
    """Take one step on the cross-entropy of two outputs."""
    network.train()
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(_batched(given)), label).backward()
    optimiser.step()


def score(network: nn.Module, given: Tensor | list[Data]) -> Float32[Tensor, "b 2"]:
    """Return the two outputs for each of them."""
    network.eval()
    with torch.inference_mode():
        return network(_batched(given))


def _batched(given: Tensor | list[Data]) -> Tensor | Batch:
    return Batch.from_data_list(given) if isinstance(given, list) else given


def draw_discs(
    positions: Float32[np.ndarray, "n 2"],
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " 2"],
    *,
    radius: tuple[float, float],
    pixels: int,
) -> UInt8[np.ndarray, "h w 4"]:
    """Return matplotlib's picture of the particles as discs, without those of the periodic images."""
    figure = Figure(figsize=(pixels / 100, pixels / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, box[0]), ylim=(0, box[1]), frameon=False, xticks=[], yticks=[])
    width, colour = 2 * np.array(radius)[species], np.array(["orange", "blue"])[species]
    discs = EllipseCollection(
        width, width, 0 * width, units="xy", facecolors=colour, offsets=positions, offset_transform=axes.transData
    )
    axes.add_collection(discs)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def draw_dots(
    positions: Float32[np.ndarray, "n 2"],
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " 2"],
    *,
    pixels: int = 250,
) -> UInt8[np.ndarray, "h w 4"]:
    """Return matplotlib's picture of the particles as dots of two pixels, one scatter of each species."""
    figure = Figure(figsize=(pixels / 100, pixels / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, box[0]), ylim=(0, box[1]), frameon=False, xticks=[], yticks=[])
    for kind, colour in ((0, "orange"), (1, "blue")):
        x, y = positions[species == kind].T
        axes.scatter(x, y, s=(2 * 72 / 100) ** 2, c=colour, linewidths=0)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
