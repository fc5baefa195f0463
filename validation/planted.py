"""Planted ensembles whose truth is known: scores of liquids and glasses in runs, and energies beside them.

A run holds some liquids and some glasses. Every noise has two parts, one of its run and one of its own,

    z = sqrt(shared) z_run + sqrt(1 - shared) z_own

and glasses are moved up by a distance that gives the AUC asked for. Energies and scores of a glass are both larger than
those of a liquid here; the sign of an energy is nothing to the tests.
"""

__all__ = ["SHAPES", "Beside", "Drawn", "Plan", "Runs", "Two"]

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy import integrate, optimize, special, stats

_FAR, _PART = 5.0, 0.1  # of the scores of shape "outliers", a part has so many times the standard deviation


class Drawn(NamedTuple):
    """One planted ensemble."""

    score: Float[np.ndarray, " b"]
    other: Float[np.ndarray, " b"]
    label: Integer[np.ndarray, " b"]
    run: Integer[np.ndarray, " b"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """Independent runs, each with some liquids and some glasses.

    Args:
        n: Number of runs.
        n_liquids: Liquids of a run.
        n_glasses: Glasses of a run.
        shared: Part of the variance of a score that all configurations of its run have in common.
    """

    n: int
    n_liquids: int = 1
    n_glasses: int = 1
    shared: float = 0.0

    @property
    def label(self) -> Integer[np.ndarray, " b"]:
        """1 for glass, 0 for liquid."""
        return np.tile(np.repeat([0, 1], [self.n_liquids, self.n_glasses]), self.n)

    @property
    def run(self) -> Integer[np.ndarray, " b"]:
        """Run of each configuration."""
        return np.repeat(np.arange(self.n), self.n_liquids + self.n_glasses)

    def noise(self, rng: np.random.Generator) -> Float[np.ndarray, " b"]:
        """Return unit normals that are correlated within runs."""
        size = self.n_liquids + self.n_glasses
        own = rng.normal(size=(self.n, size))
        if self.shared == 0:
            return own.ravel()
        return (np.sqrt(self.shared) * rng.normal(size=(self.n, 1)) + np.sqrt(1 - self.shared) * own).ravel()


def _normal(z: Float[np.ndarray, " b"], _: np.random.Generator) -> Float[np.ndarray, " b"]:
    return z


def _student(z: Float[np.ndarray, " b"], _: np.random.Generator) -> Float[np.ndarray, " b"]:
    return np.asarray(special.stdtrit(3, special.ndtr(z)))


def _outliers(z: Float[np.ndarray, " b"], rng: np.random.Generator) -> Float[np.ndarray, " b"]:
    return np.where(rng.random(len(z)) < _PART, _FAR, 1.0) * z


SHAPES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "normal": _normal,
    "t3": _student,
    "outliers": _outliers,
}
"""How the scores of a class are distributed: normal, Student's t of 3, or normal with a tenth at 5 times the width."""


def _area(shape: str, distance: float) -> float:
    """Return the AUC of two classes of one shape, so far apart."""
    if shape == "t3":
        return float(
            integrate.quad(lambda x: stats.t.pdf(x, 3) * special.stdtr(3, x + distance), -np.inf, np.inf, epsabs=1e-10)[
                0
            ]
        )
    if shape == "outliers":
        parts = ((1 - _PART) ** 2, 2.0), (2 * _PART * (1 - _PART), 1 + _FAR**2), (_PART**2, 2 * _FAR**2)
        return float(sum(part * special.ndtr(distance / np.sqrt(variance)) for part, variance in parts))
    return float(special.ndtr(distance / np.sqrt(2)))


@cache
def _distance(shape: str, area: float) -> float:
    return float(optimize.brentq(lambda d: _area(shape, d) - area, 0.0, 60.0, xtol=1e-10)) if area > 0.5 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Scores of one classifier.

    Args:
        runs: What it scores.
        area: AUC of a glass and a liquid of different runs, before any rounding.
        shape: One of `SHAPES`.
        grid: Spacing of the values to which scores are rounded; 0 for none. Only for the normal shape.
    """

    runs: Runs
    area: float
    shape: str = "normal"
    grid: float = 0.0

    @property
    def truth(self) -> float:
        """The AUC, ties counting one half."""
        return _tied(self.area, self.grid) if self.grid else self.area

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return one ensemble; nothing is beside its scores."""
        label = self.runs.label
        score = SHAPES[self.shape](self.runs.noise(rng), rng) + _distance(self.shape, self.area) * label
        if self.grid:
            score = np.round(score / self.grid) * self.grid
        return Drawn(score, np.zeros(len(score)), label, self.runs.run)


@cache
def _tied(area: float, grid: float) -> float:
    edges = (np.arange(-40, 41) - 0.5) * grid
    liquid, glass = (np.diff(special.ndtr(edges - d)) for d in (0.0, _distance("normal", area)))
    below = np.cumsum(liquid) - liquid
    return float(glass @ (below + liquid / 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Two:
    """Two classifiers of the same configurations.

    Args:
        runs: What they score.
        areas: AUC of the one and of the other; 1 for one that is always right.
        alike: Correlation of their noise.
        widths: Standard deviation of the glasses of the one and of the other, where those of liquids are 1.
        grid: As in `Plan`.
    """

    runs: Runs
    areas: tuple[float, float]
    alike: float = 0.5
    widths: tuple[float, float] = (1.0, 1.0)
    grid: float = 0.0

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return one ensemble."""
        label, both = self.runs.label, self.runs.noise(rng)
        scores = []
        for area, width in zip(self.areas, self.widths, strict=True):
            noise = np.sqrt(self.alike) * both + np.sqrt(1 - self.alike) * self.runs.noise(rng)
            distance = 1e3 if area == 1 else np.sqrt(1 + width**2) * special.ndtri(area)
            score = np.where(label == 1, width, 1.0) * noise + distance * label
            scores.append(np.round(score / self.grid) * self.grid if self.grid else score)
        return Drawn(*scores, label, self.runs.run)


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """A score and an energy.

    Args:
        runs: What they are of.
        apart: Distance of the classes in the energy, in standard deviations of the liquids.
        beyond: Distance of the classes in what the score sees beside the energy.
        kind: ``beside``: the best sum of the energy and of what is beside it. Copies of the energy that see nothing
            else: ``noisy``, ``bent`` (saturating, and noisy), ``best`` (the likelihood ratio of the energy, noisy).
        width: Standard deviation of the glasses' energies, where those of liquids are 1.
        grid: Spacing of the values to which scores are rounded; 0 for none.
    """

    runs: Runs
    apart: float
    beyond: float = 0.0
    kind: str = "beside"
    width: float = 1.0
    grid: float = 0.0

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return one ensemble, the energy being the other."""
        label = self.runs.label
        e = np.where(label == 1, self.width, 1.0) * self.runs.noise(rng) + self.apart * label
        noise = self.runs.noise(rng)
        if self.kind == "beside":
            score = self.apart * e + (self.beyond or 1.0) * (noise + self.beyond * label)
        elif self.kind == "best":
            score = (e**2 - ((e - self.apart) / self.width) ** 2) / 2 + 0.4 * noise
        elif self.kind == "bent":
            score = 3 * np.tanh(e - self.apart / 2) + 0.4 * noise
        else:
            score = e + 0.4 * noise
        return Drawn(np.round(score / self.grid) * self.grid if self.grid else score, e, label, self.runs.run)
