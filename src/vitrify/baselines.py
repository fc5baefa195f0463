r"""Logistic regressions that a network has to beat: on an energy alone, on g(r), on local order.

.. math:: \mathrm{logit} = w \cdot \frac{x - \langle x \rangle}{\sigma_x} + w_0

Each baseline is one function from labelled configurations to features ``x``; all are fitted alike. Mean and spread
of the features come from the training runs; the L2 strength is the one of lowest cross-entropy on the validation
runs, the stronger of two equal ones. Test runs are never seen.
"""

__all__ = ["BASELINES", "Fitted", "descriptors", "e_is", "e_pot", "fit", "g_r"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from vitrify.dataset import Labelled
from vitrify.system import Configuration
from vitrify.views import local_descriptors, pair_correlation

_STRENGTHS = np.logspace(4, -2, 7)  # L2, strongest first; sklearn's C is the inverse


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A fitted logistic regression; ``strength`` is the L2 penalty the validation runs chose."""

    mean: Float[np.ndarray, " f"]
    scale: Float[np.ndarray, " f"]
    weights: Float[np.ndarray, " f"]
    intercept: float
    strength: float

    def logit(self, features: Float[np.ndarray, "b f"]) -> Float[np.ndarray, " b"]:
        """Return the logit of each configuration, positive for glass."""
        return np.asarray((features - self.mean) / self.scale @ self.weights + self.intercept)


def fit(
    features_train: Float[np.ndarray, "b f"],
    label_train: Integer[np.ndarray, " b"],
    features_validation: Float[np.ndarray, "v f"],
    label_validation: Integer[np.ndarray, " v"],
) -> Fitted:
    """Return the logistic regression of the training runs whose L2 strength does best on the validation runs.

    Args:
        features_train: Features of the training configurations, in any unit.
        label_train: 1 for glass, 0 for liquid.
        features_validation: Features of the validation configurations.
        label_validation: 1 for glass, 0 for liquid.

    Raises:
        ValueError: A feature is not finite, or a class is absent from the training configurations.
    """
    for name, features in (("features_train", features_train), ("features_validation", features_validation)):
        if not np.isfinite(features).all():
            raise ValueError(f"{name} must be finite; {(~np.isfinite(features)).sum()} values are not")
    if len(np.unique(label_train)) != 2:
        raise ValueError(f"label_train must hold both classes; got only {np.unique(label_train).tolist()}")
    candidates = [_fit(features_train, label_train, strength=float(strength)) for strength in _STRENGTHS]
    return min(candidates, key=lambda fitted: _cross_entropy(fitted.logit(features_validation), label_validation))


def e_pot(data: Labelled) -> Float[np.ndarray, "b 1"]:
    """Return the potential energy per particle of the thermal configuration, in epsilon_AA: a thermometer."""
    return np.asarray(data.energy("e_pot")[:, None])


def e_is(data: Labelled) -> Float[np.ndarray, "b 1"]:
    """Return the inherent-structure energy per particle, in epsilon_AA."""
    return np.asarray(data.energy("e_is")[:, None])


def g_r(data: Labelled, *, r_max: float = 4.0, n_bins: int = 80) -> Float[np.ndarray, "b f"]:
    """Return the partial pair correlations of each configuration, bin by bin.

    Args:
        data: Configurations.
        r_max: Upper edge of the last bin, in sigma_AA; half the box edge where that is less.
        n_bins: Number of bins of each partial.
    """
    import freud  # a second to import: not for who only reads energies

    reach = min(r_max, 0.499 * float(data.box.min()))
    with freud.parallel.NumThreads(1):
        return np.stack([pair_correlation(c, r_max=reach, n_bins=n_bins)[1].ravel() for c in _configurations(data)])


def descriptors(data: Labelled) -> Float[np.ndarray, "b f"]:
    """Return the coordination numbers, bond lengths and bond orders of each configuration."""
    import freud

    with freud.parallel.NumThreads(1):  # a small system gains nothing from more, and studies run side by side
        return np.stack([local_descriptors(one, shells=data.shells)[1] for one in _configurations(data)])


def _configurations(data: Labelled) -> Iterator[Configuration]:
    for positions in data.positions:
        yield Configuration(positions=positions.astype(np.float64), species=data.species, box=data.box)


def _fit(features: Float[np.ndarray, "b f"], label: Integer[np.ndarray, " b"], *, strength: float) -> Fitted:
    from sklearn.linear_model import LogisticRegression  # a second to import, and only fitting needs it

    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-12 * (1 + np.abs(mean)), scale, 1.0)  # a constant feature says nothing
    model = LogisticRegression(C=1 / strength, solver="newton-cholesky", max_iter=1000).fit(
        (features - mean) / scale, label
    )
    return Fitted(
        mean=mean, scale=scale, weights=model.coef_[0], intercept=float(model.intercept_[0]), strength=strength
    )


def _cross_entropy(logit: Float[np.ndarray, " b"], label: Integer[np.ndarray, " b"]) -> float:
    return float(np.logaddexp(0.0, np.where(label == 1, -logit, logit)).mean())


BASELINES = {"e_pot": e_pot, "e_is": e_is, "g_r": g_r, "descriptors": descriptors}

ENERGY = {"thermal": "e_pot", "inherent": "e_is"}
"""The baseline that is the energy of the configurations shown, by input."""
