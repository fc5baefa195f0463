r"""How far a configuration is from those a model was trained on.

A configuration is described by its partial pair correlations, :math:`x = (g_{ab}(r))` in coarse bins. Over a cooling
their means :math:`\mu(T)` run along a path, about which independent runs scatter with a covariance :math:`\Sigma`
that hardly depends on T. The distance of a configuration is that to the path, in units of what held-out runs show:

.. math:: d(x) = \frac{1}{d_{99}} \min_T \sqrt{(x - \mu(T))^\top \Sigma^{-1} (x - \mu(T))}

with d99 the 99th percentile over held-out runs at all temperatures. Where the minimum lies is the temperature of the
cooling that the structure is like. Density and composition must be the training's: nothing was learnt of others.

References:
    the distance: Mahalanobis, 1936; its shrunken covariance: Ledoit & Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4;
    far from the training set by it: Lee et al., 2018, doi:10.48550/arXiv.1807.03888
"""

__all__ = ["Domain", "Place", "fit", "pair_features"]

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations_with_replacement
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64, Integer

from vitrify.system import Configuration
from vitrify.views import freud_system

_R_MIN, _R_MAX, _N_BINS = 0.6, 2.4, 12
_SLACK = 0.02  # relative difference of density or composition that is none
_BEYOND = 1.25  # distance from which a configuration is outside: 1 of 100 held-out ones is beyond 1 by definition


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one configuration lies.

    Args:
        distance: From the training path; 1 is farther than 99 of 100 held-out configurations, and from 1.25 the model
            does not apply.
        T: Temperature of the cooling whose structure is nearest, in epsilon_AA / k_B.
        reasons: Why the model does not apply, in words; none if it does.
    """

    distance: float
    T: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """What configurations a model was trained on.

    Args:
        n_particles: Particles of each.
        composition: Number fraction of each species.
        density: Number density, in sigma_AA^-d.
        dimension: 2 or 3.
        T: Temperatures of the path, falling.
        mean: Mean features at each of them.
        whiten: Matrix that turns features into independent ones of variance 1.
        limit: d99 of the equation above.
    """

    n_particles: int
    composition: tuple[float, ...]
    density: float
    dimension: int
    T: Float64[np.ndarray, " t"]
    mean: Float64[np.ndarray, "t f"]
    whiten: Float64[np.ndarray, "f f"]
    limit: float

    def place(self, configuration: Configuration) -> Place:
        """Return where a configuration lies; one smaller than those of the training may scatter as much more.

        Args:
            configuration: Periodic, lengths in sigma_AA.

        Raises:
            ValueError: It has another number of dimensions or of species, or is not periodic.
        """
        if configuration.dimension != self.dimension:
            raise ValueError(
                f"the model was trained in {self.dimension} dimensions; the configuration has {configuration.dimension}"
            )
        n, n_species = len(configuration.positions), len(self.composition)
        if configuration.species.max() >= n_species:
            raise ValueError(f"the model knows {n_species} species; the configuration has more")
        reasons = []
        share = np.bincount(configuration.species, minlength=n_species) / n
        if np.abs(share - self.composition).max() > _SLACK:
            theirs, its = (":".join(f"{100 * x:.0f}" for x in one) for one in (self.composition, share))
            reasons.append(f"its composition is {its}, and the model was trained on {theirs}")
        if abs(configuration.density / self.density - 1) > _SLACK:
            reasons.append(
                f"its density is {configuration.density:.3f}, and the model was trained at {self.density:.3f}"
            )
        scatter = np.sqrt(max(1.0, self.n_particles / n))
        square, T = self._nearest(pair_features(configuration, n_species))
        distance = float(np.sqrt(square) / scatter / self.limit)
        if distance > _BEYOND and not reasons:
            reasons.append(
                f"its structure is {distance:.1f} times as far off as 99 of 100 configurations of the training"
            )
        return Place(distance=distance, T=T, reasons=tuple(reasons))

    def _nearest(self, features: Float64[np.ndarray, " f"]) -> tuple[float, float]:
        """Return the least squared distance from the path and its temperature, over all straight pieces of it."""
        path = self.mean @ self.whiten
        begin, step = path[:-1] - features @ self.whiten, np.diff(path, axis=0)
        along = np.clip(-(begin * step).sum(axis=1) / np.maximum((step**2).sum(axis=1), 1e-300), 0, 1)
        squares = ((begin + along[:, None] * step) ** 2).sum(axis=1)
        best = int(squares.argmin())
        return float(squares[best]), float(self.T[best] + along[best] * (self.T[best + 1] - self.T[best]))

    def arrays(self) -> dict[str, Any]:
        """Return what is kept of it: arrays and numbers by name."""
        return {name: np.asarray(value) for name, value in asdict(self).items()}

    @classmethod
    def of(cls, kept: Mapping[str, np.ndarray]) -> Self:
        """Return the domain that :meth:`arrays` was kept of."""
        found: dict[str, Any] = {name: kept[name].item() for name in ("n_particles", "density", "dimension", "limit")}
        found |= {name: kept[name].astype(np.float64) for name in ("T", "mean", "whiten")}
        return cls(**found, composition=tuple(kept["composition"].tolist()))


def pair_features(configuration: Configuration, n_species: int) -> Float64[np.ndarray, " f"]:
    """Return the partial pair correlations of every two species in 12 bins from 0.6 to 2.4 sigma_AA.

    Args:
        configuration: Periodic along every axis, at least 4.8 sigma_AA wide.
        n_species: Number of species, present or not; a pair of an absent one has zeros.

    Raises:
        ValueError: The box is too small, or an axis is not periodic.
    """
    import freud  # a second to import

    if configuration.box.min() <= 2 * _R_MAX:
        raise ValueError(f"the box must be wider than {2 * _R_MAX:g} sigma_AA; got {configuration.box.min():.3f}")
    box, points = freud_system(configuration)
    members = [points[configuration.species == kind] for kind in range(n_species)]
    found = []
    for a, b in combinations_with_replacement(range(n_species), 2):
        if min(len(members[a]), len(members[b])) < 1 + (a == b):
            found.append(np.zeros(_N_BINS))
            continue
        rdf = freud.density.RDF(bins=_N_BINS, r_max=_R_MAX, r_min=_R_MIN)
        rdf.compute((box, members[b]), query_points=None if a == b else members[a])
        found.append(np.asarray(rdf.rdf, np.float64))
    return np.concatenate(found)


def fit(
    features: Float[np.ndarray, "r t f"],
    held_out: Float[np.ndarray, "v t f"],
    T: Float64[np.ndarray, " t"],
    *,
    species: Integer[np.ndarray, " n"],
    box: Float64[np.ndarray, " d"],
) -> Domain:
    """Return the domain of some coolings.

    Args:
        features: :func:`pair_features` of the training runs at every temperature.
        held_out: Those of other runs, which set the unit of distance.
        T: The temperatures, falling.
        species: Species of the particles.
        box: Edge lengths, in sigma_AA.

    Raises:
        ValueError: There are fewer than two temperatures or training runs, or none that is held out.
    """
    n_runs, n_T, n_features = features.shape
    if n_runs < 2 or n_T < 2 or not len(held_out):
        raise ValueError(
            f"features must be of at least 2 runs and 2 temperatures, and of held-out runs; got {features.shape[:2]} "
            f"and {len(held_out)}"
        )
    from sklearn.covariance import ledoit_wolf

    mean = features.mean(axis=0)
    # within a temperature: how runs scatter, not how the structure changes with T
    scattered = (features - mean).reshape(-1, n_features) * np.sqrt(n_runs / (n_runs - 1))
    scale = np.maximum(scattered.std(axis=0), 1e-6 * max(1.0, float(np.abs(mean).max())))
    covariance, _ = ledoit_wolf(scattered / scale, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    whiten = (vectors / np.sqrt(values)) / scale[:, None]
    domain = Domain(
        n_particles=len(species),
        composition=tuple((np.bincount(species) / len(species)).tolist()),
        density=len(species) / float(np.prod(box)),
        dimension=len(box),
        T=np.asarray(T, np.float64),
        mean=np.asarray(mean, np.float64),
        whiten=np.asarray(whiten, np.float64),
        limit=1.0,
    )
    far = [np.sqrt(domain._nearest(np.asarray(one, np.float64))[0]) for one in held_out.reshape(-1, n_features)]
    return replace(domain, limit=float(np.quantile(far, 0.99)))
