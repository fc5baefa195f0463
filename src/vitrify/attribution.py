r"""What each particle adds to a network's logit: positive towards glass, negative towards liquid.

A network turns *sites* into one logit: the particles of a graph or a set, each with the features it has after its
last round, or the cells of a convolutional network's last layer, each of which sees its surroundings. Integrated
gradients follow the logit ``s`` from a baseline, at which every site has the mean features of its kind over the
training configurations of both classes, to what the network saw:

.. math:: a_i = (h_i - \bar h_{s_i}) \cdot \int_0^1 \nabla_i\, s\big(\bar h + \alpha (h - \bar h)\big)\,d\alpha,
          \qquad \sum_i a_i = s(h) - s(\bar h)

The sum is exact but for the quadrature, whose pieces are halved until it holds. The features of one species are
compared with those of the same species, so being an A or a B adds nothing by itself. A cell of a picture gives its
share to the pixels at its centre, and every pixel to the particle whose disc covers it, or else to the nearest.
`Logistic` and `Shallow` have no features: their sites are the particles' descriptors. `Swanson2018` has weights for
every place of a picture: its sites are the pixels, and so they are of a `CNN` where ``at="pixels"`` is asked for. A
picture of the mean colour is like no sample, so there the baseline lies far outside of what a network knows.

References:
    Sundararajan, Taly & Yan, 2017, doi:10.48550/arXiv.1703.01365: integrated gradients
    Adebayo et al., 2018, doi:10.48550/arXiv.1810.03292: attributions must not survive random weights
"""

__all__ = [
    "Attribution",
    "Baseline",
    "attribute",
    "baseline",
    "correlation",
    "dead_channels",
    "first_layer",
    "mean_over_runs",
    "randomised",
]

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64, Integer
from scipy.stats import rankdata, t
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitrify.cnn import CNN, Swanson2018
from vitrify.dataset import Labelled
from vitrify.models import Model
from vitrify.scores import Estimate
from vitrify.sites import At, look

_SMALL = 0.1  # of a logit: the error of a configuration that hardly differs from the baseline is measured by this
_POINTS = 32  # of the quadrature on each piece of the path
_CHUNK = 16  # configurations whose sites are computed together


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What a configuration is compared with.

    Args:
        at: What the sites are.
        mean: Mean features of the sites of each kind: of every species, or of all cells or pixels.
    """

    at: At
    mean: Float64[np.ndarray, "g f"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What each particle of each configuration adds to the logit.

    Args:
        particles: Attributions, positive towards glass.
        logit: Logit of each configuration.
        baseline: Logit of the baseline.
        error: Completeness error of each configuration: how far the sum of its particles is from
            ``logit - baseline``, in units of that difference, or of 0.1 where it is smaller.
        n_steps: Points of the quadrature.
    """

    particles: Float64[np.ndarray, "b n"]
    logit: Float64[np.ndarray, " b"]
    baseline: float
    error: Float64[np.ndarray, " b"]
    n_steps: Int64[np.ndarray, " b"]


def baseline(network: nn.Module, model: Model, data: Labelled, *, at: At = "features") -> Baseline:
    """Return the mean features of the sites over some configurations, each class counting as much as the other.

    Args:
        network: Trained, or not.
        model: Settings it was built from.
        data: Configurations of both classes, such as those it was trained on.
        at: ``pixels`` only for networks on pictures; those of a `Swanson2018` are always pixels.

    Raises:
        ValueError: The network has no pixels, or a class is missing.
    """
    if not 0 < data.label.sum() < len(data.label):
        raise ValueError(f"data must hold both classes; {data.label.sum()} of {len(data.label)} are glasses")
    seen = look(network, model, data.species, data.box, at)
    weight = 0.5 / np.bincount(data.label, minlength=2)[data.label]
    of_site = sum(
        torch.einsum("b,bsf->sf", torch.from_numpy(weight[chunk]), seen.sites(data.positions[chunk]).double())
        for chunk in np.array_split(np.arange(len(weight)), math.ceil(len(weight) / _CHUNK))
    )
    kinds = range(int(seen.group.max()) + 1)
    return Baseline(at=at, mean=np.stack([np.asarray(of_site)[seen.group == kind].mean(axis=0) for kind in kinds]))


def attribute(
    network: nn.Module,
    model: Model,
    positions: Float32[np.ndarray, "b n d"],
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " d"],
    base: Baseline,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 4096,
) -> Attribution:
    """Return what every particle adds to the logit of its configuration, compared with the baseline.

    The path is one piece of 32 points at first. Pieces are halved while the sum of their completeness errors, or the
    root of the sum of their squares, is not below ``tolerance``. Sums over features are in double precision.

    Args:
        network: Trained, or not; it is put into evaluation mode.
        model: Settings it was built from.
        positions: Coordinates, in sigma_AA.
        species: 0 for A, 1 for B.
        box: Edge lengths, in sigma_AA; periodic.
        base: What :func:`baseline` returned.
        tolerance: Largest completeness error.
        max_steps: Points of the quadrature beyond which a larger error is only warned of.

    Raises:
        ValueError: The baseline does not know a species.

    Warns:
        RuntimeWarning: A completeness error is not below the tolerance.
    """
    seen = look(network, model, species, box, base.at)
    if len(base.mean) <= seen.group.max():
        raise ValueError(f"base must know the {seen.group.max() + 1} species of these particles; got {len(base.mean)}")
    begin = torch.from_numpy(base.mean)[torch.from_numpy(seen.group)].unsqueeze(0)
    particles, logits, errors, steps = [], [], [], []
    with torch.no_grad():
        ground = float(seen.score(begin))
    for one in positions:
        h = seen.sites(one[None]).double()
        with torch.no_grad():
            logit = float(seen.score(h))
        of_site, error, n_steps = _integrated(seen.score, h, begin, tolerance=tolerance, max_steps=max_steps)
        particles.append(seen.shared(of_site, one))
        logits.append(logit)
        errors.append(error)
        steps.append(n_steps)
    if max(errors, default=0.0) >= tolerance:
        warnings.warn(
            f"attributions add up to the logit within {max(errors):.2g} of it only, not {tolerance:.2g}, "
            f"with {max(steps)} steps: allow more than max_steps = {max_steps}",
            RuntimeWarning,
            stacklevel=2,
        )
    return Attribution(
        particles=np.stack(particles),
        logit=np.array(logits),
        baseline=ground,
        error=np.array(errors),
        n_steps=np.array(steps, np.int64),
    )


def _integrated(
    score: Callable[[Tensor], Tensor], h: Tensor, begin: Tensor, *, tolerance: float, max_steps: int
) -> tuple[Float64[np.ndarray, " s"], float, int]:
    """Return the attribution of every site of one configuration, the completeness error, and the points it took.

    The gradient jumps wherever a neuron switches on, so the path is cut into pieces that each have to add up to their
    own part of the logit, and those that do so least are halved.
    """
    from captum.attr import IntegratedGradients  # it imports matplotlib, which nothing else here needs

    gradients, whole = IntegratedGradients(score), h - begin

    def piece(low: float, high: float) -> tuple[float, float, Float64[np.ndarray, " s"], float]:
        ends = begin + low * whole, begin + high * whole
        found, missed = gradients.attribute(ends[1], ends[0], n_steps=_POINTS, return_convergence_delta=True)
        return low, high, found.detach()[0].sum(1).numpy(), float(missed)

    pieces = [piece(0.0, 1.0)]
    with torch.no_grad():
        unit = max(abs(float(score(h) - score(begin))), _SMALL)
    while True:
        errors, n_steps = np.array([missed for *_, missed in pieces]), _POINTS * len(pieces)
        if max(abs(errors.sum()), float(np.linalg.norm(errors))) < tolerance * unit or n_steps >= max_steps:
            return np.sum([found for *_, found, _ in pieces], axis=0), float(abs(errors.sum()) / unit), n_steps
        worst = np.argsort(-np.abs(errors))[: max(1, min(len(pieces) // 4, (max_steps - n_steps) // _POINTS))]
        halves = [(low, (low + high) / 2, high) for low, high, *_ in (pieces[place] for place in worst)]
        pieces = [one for place, one in enumerate(pieces) if place not in worst]
        pieces += [piece(*ends) for low, middle, high in halves for ends in ((low, middle), (middle, high))]


def randomised(model: Model, data: Labelled, *, seed: int) -> nn.Module:
    """Return the network with fresh weights, its running averages settled on some configurations.

    What a trained network's attribution shares with this one's is not learnt.

    Args:
        model: Settings of the network.
        data: A few configurations.
        seed: Draws the weights.

    References:
        Adebayo et al., 2018, doi:10.48550/arXiv.1810.03292
    """
    network = model.build(seed=seed).train()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # the plain mean over what follows
    with torch.no_grad():
        for first in range(0, len(data.positions), _CHUNK):
            positions = data.positions[first : first + _CHUNK]
            if len(positions) > 1:
                network(*model.inputs(positions, data.species, data.box))
    return network.eval()


def correlation(
    one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"], group: Integer[np.ndarray, " n"] | None = None
) -> float:
    """Return Spearman's rank correlation of two numbers of every particle; 0 where one of them is constant.

    Args:
        one: A number of every particle.
        other: Another one.
        group: Particles are ranked among those of the same group, such as the species, so that two numbers are not
            correlated for both being larger for A than for B.

    Example:
        >>> round(correlation(np.arange(4.0), np.array([1.0, 4.0, 9.0, 16.0])), 3)
        1.0
    """
    kinds = np.zeros(len(one), int) if group is None else group
    ranks = np.zeros((2, len(one)))
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        for rank, values in zip(ranks, (one, other), strict=True):
            placed = rankdata(values[of_kind])
            rank[of_kind] = (placed - placed.mean()) / len(placed)
    sizes = (ranks**2).sum(axis=1)
    return float(ranks[0] @ ranks[1] / math.sqrt(sizes.prod())) if sizes.all() else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RankCorrelation:
    """Spearman's correlation of two numbers of independent runs.

    Args:
        value: The correlation.
        low: Lower end of its 95% interval.
        high: Upper end.
        p: Of the hypothesis that the two are independent, two-sided.
        n_runs: Number of runs.
    """

    value: float
    low: float
    high: float
    p: float
    n_runs: int


def across_runs(one: Float[np.ndarray, " r"], other: Float[np.ndarray, " r"]) -> RankCorrelation:
    r"""Return Spearman's correlation of two numbers of every independent run, with its interval.

    .. math:: \tanh\left(\operatorname{artanh}\rho \pm 1.96 \sqrt{(1 + \rho^2 / 2) / (n - 3)}\right)

    and, for p, :math:`\operatorname{artanh}\rho` against the spread :math:`\sqrt{1.06 / (n - 3)}` that it has where
    the two are independent. A correlation of 1 is taken as half a swap of neighbours less, so that its interval has a
    width. Of fewer than 5 runs nothing is known: the interval is from -1 to 1, and p is 1.

    Args:
        one: A number of every run.
        other: Another one.

    References:
        Bonett & Wright 2000, doi:10.1007/BF02294183, equation 4; Fieller, Hartley & Pearson 1957,
        doi:10.1093/biomet/44.3-4.470
    """
    n, value = len(one), correlation(one, other)
    if n < 5:
        return RankCorrelation(value=value, low=-1.0, high=1.0, p=1.0, n_runs=n)
    most = 1 - 6 / (n**3 - n)
    z = math.atanh(min(max(value, -most), most))
    reach = 1.959964 * math.sqrt((1 + value**2 / 2) / (n - 3))
    p = math.erfc(abs(z) / math.sqrt(2 * 1.06 / (n - 3)))
    return RankCorrelation(value=value, low=math.tanh(z - reach), high=math.tanh(z + reach), p=p, n_runs=n)


def mean_over_runs(values: Float[np.ndarray, " r"]) -> Estimate:
    """Return the mean of one number of each independent run, with Student's 95% interval.

    Raises:
        ValueError: There are fewer than two runs.

    Example:
        >>> mean_over_runs(np.array([0.1, 0.3])).value
        0.2
    """
    if len(values) < 2:
        raise ValueError(f"values must be of at least 2 runs; got {len(values)}: take more test runs")
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
    half = error * float(t.ppf(0.975, len(values) - 1))
    return Estimate(value=mean, low=mean - half, high=mean + half)


def first_layer(
    network: nn.Module,
    model: CNN | Swanson2018,
    positions: Float32[np.ndarray, "b n 2"],
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " 2"],
) -> Float32[np.ndarray, "b c h w"]:
    """Return what the channels of the first convolution say of each picture, after its ReLU.

    Args:
        network: A network on pictures.
        model: Settings it was built from.
        positions: Coordinates, in sigma_AA.
        species: 0 for A, 1 for B.
        box: Edge lengths, in sigma_AA.
    """
    kept: list[Tensor] = []
    relu = next(module for module in network.modules() if isinstance(module, nn.ReLU))
    hook = relu.register_forward_hook(lambda _module, _inputs, output: kept.append(output.detach().clone()))
    with torch.no_grad():
        for first in range(0, len(positions), _CHUNK):
            network.eval()(*model.inputs(positions[first : first + _CHUNK], species, box))
    hook.remove()
    return torch.cat(kept).float().contiguous().numpy()


def dead_channels(maps: Float32[np.ndarray, "b c h w"]) -> Bool[np.ndarray, " c"]:
    """Return which channels say the same everywhere in all pictures: zero, or a constant.

    Args:
        maps: What :func:`first_layer` returned, of many configurations.
    """
    spread = maps.max(axis=(0, 2, 3)) - maps.min(axis=(0, 2, 3))
    return np.asarray(spread <= 1e-6 * float(np.abs(maps).max()))
