"""What an ensemble of runs holds, and the labelled, run-wise split data sets made from it.

An ensemble is ``r`` independent runs of ``t`` records each. A record is counted from 1, as in the
source log: ``k = 1`` is the first record of the ramp and ``k = t`` the last, the glass.
"""

__all__ = ["Ensemble", "Labelled", "Split", "labelled", "null", "split_runs"]

from dataclasses import dataclass, replace

import numpy as np
from beartype import beartype
from jaxtyping import Bool, Float, Float32, Float64, Integer, jaxtyped

from vitrify.system import stream


@jaxtyped(typechecker=beartype)
@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """All records of all runs of one cooling protocol, thermal and inherent.

    Args:
        thermal: Positions as they were during the run, in sigma_AA, of the ``m`` records in ``k``.
        inherent: Positions of their inherent structures, in sigma_AA.
        species: 0 for A, 1 for B; A first; the same in every run.
        box: Edge lengths.
        T: Bath temperature of each record.
        e_pot_unshifted: Potential energy per particle, plain truncation, in epsilon_AA.
        e_pot_shifted: The same with the potential shifted to zero at the cut-off.
        e_is_unshifted: Inherent-structure energy per particle, plain truncation.
        e_is_shifted: The same, shifted.
        max_force: Largest force left on any particle of the inherent structure.
        converged: Whether the minimiser met its tolerance.
        k: Records whose positions are held, counted from 1; ``None`` means all, so that m = t.
    """

    thermal: Float32[np.ndarray, "r m n d"]
    inherent: Float32[np.ndarray, "r m n d"]
    species: Integer[np.ndarray, " n"]
    box: Float64[np.ndarray, " d"]
    T: Float64[np.ndarray, " t"]
    e_pot_unshifted: Float64[np.ndarray, "r t"]
    e_pot_shifted: Float64[np.ndarray, "r t"]
    e_is_unshifted: Float64[np.ndarray, "r t"]
    e_is_shifted: Float64[np.ndarray, "r t"]
    max_force: Float64[np.ndarray, "r t"]
    converged: Bool[np.ndarray, "r t"]
    k: Integer[np.ndarray, " m"] | None = None

    def place(self, name: str, k: int) -> int:
        """Return where on the ``m`` axis record ``k`` is.

        Args:
            name: What the record is called in the error.
            k: The record, counted from 1.

        Raises:
            ValueError: Its positions are not held.
        """
        held = list(range(1, len(self.T) + 1)) if self.k is None else self.k.tolist()
        if k not in held:
            raise ValueError(f"{name} must be one of the records {held}; got {k}")
        return int(held.index(k))


@jaxtyped(typechecker=beartype)
@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """``b`` configurations of two classes, each with the run it came from.

    Args:
        positions: Coordinates in sigma_AA.
        species: 0 for A, 1 for B; the same for every configuration.
        box: Edge lengths.
        label: 1 for glass, 0 for liquid.
        run: Index of the independent run.
        e_pot: Potential energy per particle of the thermal configuration, unshifted.
        e_is: Inherent-structure energy per particle, unshifted.
    """

    positions: Float32[np.ndarray, "b n d"]
    species: Integer[np.ndarray, " n"]
    box: Float64[np.ndarray, " d"]
    label: Integer[np.ndarray, " b"]
    run: Integer[np.ndarray, " b"]
    e_pot: Float64[np.ndarray, " b"]
    e_is: Float64[np.ndarray, " b"]

    def take(self, keep: Bool[np.ndarray, " b"]) -> "Labelled":
        """Return the configurations chosen by a mask."""
        return replace(
            self,
            positions=self.positions[keep],
            label=self.label[keep],
            run=self.run[keep],
            e_pot=self.e_pot[keep],
            e_is=self.e_is[keep],
        )

    def of_runs(self, runs: Integer[np.ndarray, " r"]) -> "Labelled":
        """Return the configurations whose run is among ``runs``.

        Raises:
            ValueError: One of the two classes would be empty.
        """
        keep = np.isin(self.run, runs)
        label = self.label[keep]
        if not (0 < label.sum() < len(label)):
            raise ValueError(f"runs must hold both classes; {len(runs)} runs hold {label.sum()} of {len(label)} glass")
        return self.take(keep)


@jaxtyped(typechecker=beartype)
@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Which runs train, which choose (early stopping, thresholds), and which are touched once."""

    train: Integer[np.ndarray, " a"]
    validation: Integer[np.ndarray, " b"]
    test: Integer[np.ndarray, " c"]


def labelled(ensemble: Ensemble, *, inherent: bool, k_glass: int, k_liquid: int) -> Labelled:
    """Return glasses (record ``k_glass``) against liquids (record ``k_liquid``) of every run.

    Args:
        ensemble: The runs.
        inherent: Take inherent structures instead of thermal configurations.
        k_glass: Record labelled 1, counted from 1.
        k_liquid: Record labelled 0, counted from 1.

    Raises:
        ValueError: The positions of a record are not held, or both records are the same.
    """
    liquid, glass = ensemble.place("k_liquid", k_liquid), ensemble.place("k_glass", k_glass)
    if k_glass == k_liquid:
        raise ValueError(f"k_glass and k_liquid must differ; both are {k_glass}")
    positions = ensemble.inherent if inherent else ensemble.thermal
    runs = np.arange(len(positions))

    def both(records: Float[np.ndarray, "r t *rest"], liquid: int, glass: int) -> np.ndarray:
        return np.concatenate([records[:, liquid], records[:, glass]])

    return Labelled(
        positions=both(positions, liquid, glass),
        species=ensemble.species,
        box=ensemble.box,
        label=np.repeat([0, 1], len(runs)),
        run=np.tile(runs, 2),
        e_pot=both(ensemble.e_pot_unshifted, k_liquid - 1, k_glass - 1),
        e_is=both(ensemble.e_is_unshifted, k_liquid - 1, k_glass - 1),
    )


def null(ensemble: Ensemble, *, inherent: bool, k: int, split: Split) -> Labelled:
    """Return record ``k`` of every run, every other run of each part of the split called a glass.

    The two classes are draws from one distribution, so nothing can tell them apart but by chance.

    Args:
        ensemble: The runs.
        inherent: Take inherent structures instead of thermal configurations.
        k: The record, counted from 1.
        split: The parts in which both classes must occur.

    Raises:
        ValueError: The positions of the record are not held.
    """
    place = ensemble.place("k", k)
    runs = np.concatenate([split.train, split.validation, split.test])
    return Labelled(
        positions=(ensemble.inherent if inherent else ensemble.thermal)[runs, place],
        species=ensemble.species,
        box=ensemble.box,
        label=np.concatenate([np.arange(len(part)) % 2 for part in (split.train, split.validation, split.test)]),
        run=runs,
        e_pot=ensemble.e_pot_unshifted[runs, k - 1],
        e_is=ensemble.e_is_unshifted[runs, k - 1],
    )


def split_runs(n_runs: int, *, seed: int, validation: float = 0.15, test: float = 0.25) -> Split:
    """Return a random split of the runs; no run is ever on two sides.

    Args:
        n_runs: Number of independent runs.
        seed: The study's seed.
        validation: Fraction of the runs that choose.
        test: Fraction of the runs that are touched once.

    Raises:
        ValueError: A part would be empty.
    """
    n_validation, n_test = round(validation * n_runs), round(test * n_runs)
    n_train = n_runs - n_validation - n_test
    if min(n_train, n_validation, n_test) < 1:
        raise ValueError(
            f"n_runs must leave at least one run to train, validate and test; "
            f"{n_runs} runs give {n_train}, {n_validation} and {n_test}: simulate more runs"
        )
    order = stream(seed, "split").permutation(n_runs)
    parts = np.split(order, [n_train, n_train + n_validation])
    return Split(**{name: np.sort(part) for name, part in zip(("train", "validation", "test"), parts, strict=True)})
