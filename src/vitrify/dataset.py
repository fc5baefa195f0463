"""What an ensemble of runs holds, and the labelled, run-wise split data sets made from it.

An ensemble is ``r`` independent runs of ``t`` records each. A record is counted from 1, as in the
source log: ``k = 1`` is the first record of the ramp and ``k = t`` the last, the glass.
"""

__all__ = [
    "EnergyPair",
    "Ensemble",
    "Input",
    "Labelled",
    "Nested",
    "Split",
    "between",
    "compared",
    "equal_energy",
    "folds",
    "labelled",
    "nested_folds",
    "null",
    "several",
    "split_runs",
]

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from beartype import beartype
from jaxtyping import Bool, Float32, Float64, Integer, jaxtyped

from vitrify.material import NO_POTENTIAL
from vitrify.system import stream

Input = Literal["thermal", "inherent"]
"""Configurations as they were, or their inherent structures."""

_Array = TypeVar("_Array", bound=np.ndarray)


def _known(values: _Array | None, what: str) -> _Array:
    if values is None:
        raise ValueError(f"there are no {what}: {NO_POTENTIAL}")
    return values


@jaxtyped(typechecker=beartype)
@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """All records of all runs of one cooling protocol, thermal and inherent.

    What needs a potential, inherent structures and all energies, is ``None`` where none is known: see ``inputs``.

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
        shells: Radius of the first shell of species b around species a, in sigma_AA, row a; ``None`` for the model
            mixtures, whose shells are known.
        edge: Length of the first edge of each record's own box; ``None`` where all are ``box``, to which positions are
            scaled.
    """

    thermal: Float32[np.ndarray, "r m n d"]
    species: Integer[np.ndarray, " n"]
    box: Float64[np.ndarray, " d"]
    T: Float64[np.ndarray, " t"]
    inherent: Float32[np.ndarray, "r m n d"] | None = None
    e_pot_unshifted: Float64[np.ndarray, "r t"] | None = None
    e_pot_shifted: Float64[np.ndarray, "r t"] | None = None
    e_is_unshifted: Float64[np.ndarray, "r t"] | None = None
    e_is_shifted: Float64[np.ndarray, "r t"] | None = None
    max_force: Float64[np.ndarray, "r t"] | None = None
    converged: Bool[np.ndarray, "r t"] | None = None
    k: Integer[np.ndarray, " m"] | None = None
    shells: tuple[tuple[float, ...], ...] | None = None
    edge: Float64[np.ndarray, "r t"] | None = None

    @property
    def volume(self) -> Float64[np.ndarray, "r t"] | None:
        """Volume per particle of every record, an area in two dimensions, where records have boxes of their own."""
        if self.edge is None:
            return None
        return np.asarray(np.prod(self.box) / len(self.species) * (self.edge / self.box[0]) ** len(self.box))

    @property
    def n_runs(self) -> int:
        """Independent runs."""
        return len(self.thermal)

    def shown(self, name: Input) -> Float32[np.ndarray, "r m n d"]:
        """Return the positions of one kind of configurations.

        Raises:
            ValueError: They do not exist.
        """
        return self.thermal if name == "thermal" else _known(self.inherent, "inherent structures")

    def energy(self, name: Literal["e_pot", "e_is"]) -> Float64[np.ndarray, "r t"]:
        """Return an energy per particle of every record, unshifted, in epsilon_AA.

        Raises:
            ValueError: It is not known.
        """
        return _known(self.e_pot_unshifted if name == "e_pot" else self.e_is_unshifted, "energies")

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
        e_is: Inherent-structure energy per particle, unshifted. Both are ``None`` where no potential is known.
        shells: As of :class:`Ensemble`.
    """

    positions: Float32[np.ndarray, "b n d"]
    species: Integer[np.ndarray, " n"]
    box: Float64[np.ndarray, " d"]
    label: Integer[np.ndarray, " b"]
    run: Integer[np.ndarray, " b"]
    e_pot: Float64[np.ndarray, " b"] | None = None
    e_is: Float64[np.ndarray, " b"] | None = None
    shells: tuple[tuple[float, ...], ...] | None = None

    def energy(self, name: Literal["e_pot", "e_is"]) -> Float64[np.ndarray, " b"]:
        """Return an energy per particle, unshifted, in epsilon_AA.

        Raises:
            ValueError: It is not known.
        """
        return _known(self.e_pot if name == "e_pot" else self.e_is, "energies")

    def take(self, keep: Bool[np.ndarray, " b"]) -> "Labelled":
        """Return the configurations chosen by a mask."""
        return replace(
            self,
            positions=self.positions[keep],
            label=self.label[keep],
            run=self.run[keep],
            e_pot=None if self.e_pot is None else self.e_pot[keep],
            e_is=None if self.e_is is None else self.e_is[keep],
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what a network is given: positions, species, box and labels."""
        arrays = (self.positions, self.species.astype(np.int64), self.box, self.label.astype(np.int64))
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Nested:
    """A fold, and the folds of its training and validation runs that choose the settings it is fitted with.

    Args:
        outer: The fold.
        inner: Folds of ``outer.train`` and ``outer.validation`` together; no run of ``outer.test`` is in any.
    """

    outer: Split
    inner: tuple[Split, ...]


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
    if k_glass == k_liquid:
        raise ValueError(f"k_glass and k_liquid must differ; both are {k_glass}")
    return between(ensemble, ensemble, inherent=inherent, k_liquid=k_liquid, k_glass=k_glass)


def between(liquids: Ensemble, glasses: Ensemble, *, inherent: bool, k_liquid: int, k_glass: int) -> Labelled:
    """Return record ``k_glass`` of one ensemble, labelled glass, against record ``k_liquid`` of another.

    Run i of the one and run i of the other keep the same number, so :func:`split_runs` of the larger number of runs
    never puts them on two sides: ensembles of one seed begin run i from the same configuration.

    Args:
        liquids: The runs labelled 0.
        glasses: The runs labelled 1; as many particles, of the same species, in the same box.
        inherent: Take inherent structures instead of thermal configurations.
        k_liquid: Record labelled 0, counted from 1.
        k_glass: Record labelled 1, counted from 1.

    Raises:
        ValueError: The positions of a record are not held, or the ensembles are of different systems.
    """
    if not (np.array_equal(liquids.species, glasses.species) and np.array_equal(liquids.box, glasses.box)):
        raise ValueError(
            f"both ensembles must have the same particles in the same box; got {len(liquids.species)} particles in "
            f"{liquids.box.tolist()} and {len(glasses.species)} in {glasses.box.tolist()}"
        )
    liquid, glass = liquids.place("k_liquid", k_liquid), glasses.place("k_glass", k_glass)

    def both(
        one: np.ndarray | None, two: np.ndarray | None, k_one: int = k_liquid - 1, k_two: int = k_glass - 1
    ) -> Any:
        return None if one is None or two is None else np.concatenate([one[:, k_one], two[:, k_two]])

    one, two = (ensemble.shown("inherent" if inherent else "thermal") for ensemble in (liquids, glasses))
    return Labelled(
        positions=both(one, two, liquid, glass),
        species=liquids.species,
        box=liquids.box,
        label=np.repeat([0, 1], [len(one), len(two)]),
        run=np.concatenate([np.arange(len(one)), np.arange(len(two))]),
        e_pot=both(liquids.e_pot_unshifted, glasses.e_pot_unshifted),
        e_is=both(liquids.e_is_unshifted, glasses.e_is_unshifted),
        shells=liquids.shells,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyPair:
    """A record of a slowly cooled ensemble and one of a fast-cooled ensemble, and their inherent-structure energies.

    Energies are unshifted, per particle, in epsilon_AA.

    Args:
        k_slow: Record of the slow ensemble, its liquid.
        k_fast: Record of the fast ensemble, its glass.
        T_slow: Bath temperature of ``k_slow``.
        T_fast: Bath temperature of ``k_fast``.
        e_slow: Energy of every run of the slow ensemble.
        e_fast: Energy of every run of the fast ensemble.
        mean_slow: Mean of ``e_slow``.
        mean_fast: Mean of ``e_fast``.
        se_slow: Standard error of ``mean_slow``.
        se_fast: Standard error of ``mean_fast``.
        difference: ``mean_slow - mean_fast``.
        se_difference: Its standard error, all runs taken as independent.
    """

    k_slow: int
    k_fast: int
    T_slow: float
    T_fast: float
    e_slow: tuple[float, ...]
    e_fast: tuple[float, ...]
    mean_slow: float
    mean_fast: float
    se_slow: float
    se_fast: float
    difference: float
    se_difference: float


def equal_energy(slow: Ensemble, fast: Ensemble, *, tolerance: float = 1e-3, T_glass: float = 0.25) -> EnergyPair:
    """Return the glass of a fast cooling and the liquid of a slow one that have the same inherent-structure energy.

    The glass is the last record of the fast ensemble for which some warmer record of the slow one has the same mean
    within ``tolerance``; of those, the nearest in energy is the liquid.

    Args:
        slow: The slowly cooled ensemble.
        fast: The fast-cooled ensemble.
        tolerance: Largest difference of the mean energies, in epsilon_AA per particle, unshifted.
        T_glass: Only records of the fast ensemble at or below this bath temperature are glasses.

    Raises:
        ValueError: No two records agree, no record is cold enough, or a standard error would need more runs.

    References:
        Swanson et al., 2019, doi:10.48550/arXiv.1909.04648: glass and liquid at equal energy
    """
    of_slow, of_fast = slow.energy("e_is").mean(axis=0), fast.energy("e_is").mean(axis=0)
    nearest: tuple[float, int, int] | None = None
    for k_fast in range(len(fast.T), 0, -1):
        cold = fast.T[k_fast - 1]
        warmer = np.flatnonzero(slow.T - cold > 0)
        if cold > T_glass or not warmer.size:
            continue
        apart = np.abs(of_slow[warmer] - of_fast[k_fast - 1])
        k_slow = int(warmer[apart.argmin()]) + 1
        if apart.min() <= tolerance:
            return compared(slow, fast, k_slow=k_slow, k_fast=k_fast)
        nearest = min(nearest or (np.inf, 0, 0), (float(apart.min()), k_slow, k_fast))
    if nearest is None:
        raise ValueError(f"the fast ensemble has no record at or below T_glass = {T_glass} and below the slow one's")
    apart_by, k_slow, k_fast = nearest
    raise ValueError(
        f"no two records agree in mean inherent-structure energy (unshifted) within tolerance = {tolerance}; the "
        f"nearest are k = {k_slow} (T = {slow.T[k_slow - 1]:.4f}) of the slow and k = {k_fast} "
        f"(T = {fast.T[k_fast - 1]:.4f}) of the fast ensemble, {apart_by:.5f} apart: record more often, or allow more"
    )


def compared(slow: Ensemble, fast: Ensemble, *, k_slow: int, k_fast: int) -> EnergyPair:
    """Return two records, chosen in whatever way, with their energies.

    Raises:
        ValueError: An ensemble has one run only.
    """
    e_slow, e_fast = slow.energy("e_is")[:, k_slow - 1], fast.energy("e_is")[:, k_fast - 1]
    if min(len(e_slow), len(e_fast)) < 2:
        raise ValueError(f"each ensemble must have at least 2 runs; got {len(e_slow)} and {len(e_fast)}")
    se_slow, se_fast = (float(e.std(ddof=1) / np.sqrt(len(e))) for e in (e_slow, e_fast))
    return EnergyPair(
        k_slow=k_slow,
        k_fast=k_fast,
        T_slow=float(slow.T[k_slow - 1]),
        T_fast=float(fast.T[k_fast - 1]),
        e_slow=tuple(e_slow.tolist()),
        e_fast=tuple(e_fast.tolist()),
        mean_slow=float(e_slow.mean()),
        mean_fast=float(e_fast.mean()),
        se_slow=se_slow,
        se_fast=se_fast,
        difference=float(e_slow.mean() - e_fast.mean()),
        se_difference=float(np.hypot(se_slow, se_fast)),
    )


def null(ensemble: Ensemble, *, inherent: bool, k: int, split: Split | Sequence[Split]) -> Labelled:
    """Return record ``k`` of every run, every other run of each part of the split called a glass.

    The two classes are draws from one distribution, so nothing can tell them apart but by chance.

    Args:
        ensemble: The runs.
        inherent: Take inherent structures instead of thermal configurations.
        k: The record, counted from 1.
        split: The parts in which both classes must occur; of :func:`folds`, these are the test parts.

    Raises:
        ValueError: The positions of the record are not held.
    """
    place = ensemble.place("k", k)
    parts = [split.train, split.validation, split.test] if isinstance(split, Split) else [fold.test for fold in split]
    runs = np.concatenate(parts)
    return Labelled(
        positions=ensemble.shown("inherent" if inherent else "thermal")[runs, place],
        species=ensemble.species,
        box=ensemble.box,
        label=np.concatenate([np.arange(len(part)) % 2 for part in parts]),
        run=runs,
        e_pot=None if ensemble.e_pot_unshifted is None else ensemble.e_pot_unshifted[runs, k - 1],
        e_is=None if ensemble.e_is_unshifted is None else ensemble.e_is_unshifted[runs, k - 1],
        shells=ensemble.shells,
    )


def several(
    ensemble: Ensemble, *, inherent: bool, k_glass: int, k_liquids: Sequence[int], split: Split | Sequence[Split]
) -> Labelled:
    """Return the glass and one liquid of every run, the liquids by turns of the records ``k_liquids``.

    In each part of the split the first run gives the first of the records, the second run the second, and so on. The
    two classes are as large as each other, and every liquid is as frequent in each part as it can be.

    Args:
        ensemble: The runs.
        inherent: Take inherent structures instead of thermal configurations.
        k_glass: Record labelled 1, counted from 1.
        k_liquids: Records labelled 0, counted from 1.
        split: The parts in which every liquid should occur; of :func:`folds`, these are the test parts.

    Raises:
        ValueError: The positions of a record are not held, or the glass is among the liquids.
    """
    if k_glass in k_liquids:
        raise ValueError(f"k_liquids must not hold k_glass = {k_glass}; got {list(k_liquids)}")
    parts = [split.train, split.validation, split.test] if isinstance(split, Split) else [fold.test for fold in split]
    runs = np.concatenate(parts)
    turns = np.concatenate([np.arange(len(part)) % len(k_liquids) for part in parts])
    k = np.concatenate([np.array(k_liquids)[turns], np.full(len(runs), k_glass)])
    places = {one: ensemble.place("k_liquids", one) for one in (*k_liquids, k_glass)}
    run = np.concatenate([runs, runs])
    shown = ensemble.shown("inherent" if inherent else "thermal")
    return Labelled(
        positions=shown[run, [places[one] for one in k.tolist()]],
        species=ensemble.species,
        box=ensemble.box,
        label=np.repeat([0, 1], len(runs)),
        run=run,
        e_pot=None if ensemble.e_pot_unshifted is None else ensemble.e_pot_unshifted[run, k - 1],
        e_is=None if ensemble.e_is_unshifted is None else ensemble.e_is_unshifted[run, k - 1],
        shells=ensemble.shells,
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


def folds(n_runs: int, *, n_folds: int, seed: int) -> list[Split]:
    """Return a cross-validation by run: every run is tested in one fold and validates in one other.

    The runs are dealt at random into ``n_folds`` parts whose sizes differ by at most one. Fold i is tested on part i,
    validated on part i + 1 (the last on the first), and trained on the others. Another number of runs is dealt anew.

    Args:
        n_runs: Number of independent runs.
        n_folds: Number of parts.
        seed: The study's seed.

    Raises:
        ValueError: There are fewer than 3 folds, or fewer runs than folds.

    References:
        Stone 1974, doi:10.1111/j.2517-6161.1974.tb00994.x

    Example:
        >>> [len(fold.test) for fold in folds(11, n_folds=5, seed=1)]
        [3, 2, 2, 2, 2]
    """
    return _folds(np.arange(n_runs), n_folds=n_folds, rng=stream(seed, "folds"))


def nested_folds(n_runs: int, *, n_folds: int, n_inner: int, seed: int) -> list[Nested]:
    """Return the same folds, each with a cross-validation inside its training and validation runs.

    Settings chosen by the inner folds have never seen the runs that then test them.

    Args:
        n_runs: Number of independent runs.
        n_folds: Number of outer parts.
        n_inner: Number of parts into which the training and validation runs of a fold are dealt.
        seed: The study's seed.

    Raises:
        ValueError: There are fewer than 3 folds, or fewer runs than folds, outside or inside.

    References:
        Varma & Simon 2006, doi:10.1186/1471-2105-7-91

    Example:
        >>> first = nested_folds(12, n_folds=3, n_inner=4, seed=1)[0]
        >>> [len(fold.test) for fold in first.inner]
        [2, 2, 2, 2]
    """
    return [
        Nested(
            outer=outer,
            inner=tuple(
                _folds(
                    np.sort(np.concatenate([outer.train, outer.validation])),
                    n_folds=n_inner,
                    rng=stream(seed, "folds", place),
                )
            ),
        )
        for place, outer in enumerate(folds(n_runs, n_folds=n_folds, seed=seed))
    ]


def _folds(runs: Integer[np.ndarray, " r"], *, n_folds: int, rng: np.random.Generator) -> list[Split]:
    if n_folds < 3:
        raise ValueError(f"n_folds must be at least 3: one part tests, one validates, the rest train; got {n_folds}")
    if len(runs) < n_folds:
        raise ValueError(f"n_folds must be at most the number of runs, {len(runs)}; got {n_folds}: simulate more runs")
    parts = [np.sort(part) for part in np.array_split(rng.permutation(runs), n_folds)]
    return [
        Split(
            train=np.sort(np.concatenate([part for j, part in enumerate(parts) if j not in (i, (i + 1) % n_folds)])),
            validation=parts[(i + 1) % n_folds],
            test=parts[i],
        )
        for i in range(n_folds)
    ]
