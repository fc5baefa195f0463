"""Which runs a network has seen, itself or through those it goes on from: such a run never tests it.

A run is known by its marks, short digests that stay the same in another folder, under another split and after an
import: one of how it begins (seed, mixture and size of a simulated run, whose cooling does not matter; content of an
imported one), and one of every configuration it was used at (`vitrify.fingerprints`). The outcome of every training
keeps the marks of the runs that trained it and of those that chose, together with those of its ancestors.
"""

__all__ = ["NOTHING", "Run", "Seen", "met", "of_card", "of_training", "records", "runs", "together"]

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Bool

from vitrify import log, store
from vitrify.dataset import Ensemble, Labelled, Split, split_runs
from vitrify.fingerprints import fingerprint
from vitrify.settings import Study
from vitrify.simulate import Simulate


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run is known by.

    Args:
        kept: The marks that the outcome of a training keeps of it.
        sought: The marks by which it is found among those that were kept.
    """

    kept: frozenset[str]
    sought: frozenset[str]

    def __or__(self, other: "Run") -> "Run":
        """Return the same run, known by the marks of both."""
        return Run(kept=self.kept | other.kept, sought=self.sought | other.sought)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Marks of the runs that a network, or any that it goes on from, has seen.

    Args:
        train: Of those that set weights.
        chose: Of those that chose: the best weights, a threshold, a temperature.
    """

    train: frozenset[str] = frozenset()
    chose: frozenset[str] = frozenset()

    @classmethod
    def by(cls, known: Sequence[Run], parts: Split) -> Self:
        """Return what a training has seen whose runs are split like this."""
        train, chose = (
            frozenset().union(*(known[run].kept for run in part)) for part in (parts.train, parts.validation)
        )
        return cls(train=train, chose=chose)

    def __or__(self, other: "Seen") -> "Seen":
        """Return what both have seen together."""
        return Seen(train=self.train | other.train, chose=self.chose | other.chose)

    def as_json(self) -> dict[str, list[str]]:
        """Return the marks as the outcome of a training keeps them."""
        return {"train": sorted(self.train), "chose": sorted(self.chose)}


NOTHING = Seen()
"""What a network of random weights has seen."""


def runs(study: Study, sets: Iterable[Labelled]) -> tuple[Run, ...]:
    """Return what every run of a study is known by.

    Args:
        study: The study.
        sets: Configurations of its runs; labels are not looked at.
    """
    found = [Run(kept=frozenset({mark}), sought=frozenset({mark})) for mark in _beginnings(study.simulate, study.seed)]
    for data in sets:
        for positions, run in zip(data.positions, data.run.tolist(), strict=True):
            one = fingerprint(positions.astype(float), data.species, data.box)
            found[run] |= Run(kept=frozenset({one.kept} - {None}), sought=one.sought)  # type: ignore[arg-type]
    return tuple(found)


def records(ensemble: Ensemble, k: Iterable[int]) -> Iterator[Labelled]:
    """Yield records of every run, thermal and inherent as far as they exist."""
    for record in k:
        for positions in (ensemble.thermal, ensemble.inherent):
            if positions is not None:
                yield Labelled(
                    positions=positions[:, ensemble.place("k", record)],
                    species=ensemble.species,
                    box=ensemble.box,
                    label=np.zeros(ensemble.n_runs, int),
                    run=np.arange(ensemble.n_runs),
                )


def met(known: Sequence[Run], seen: Seen) -> tuple[Bool[np.ndarray, " r"], Bool[np.ndarray, " r"]]:
    """Return of every run whether it trained, and whether it chose, what has seen these marks."""
    trained, chose = ([bool(run.sought & marks) for run in known] for marks in (seen.train, seen.chose))
    return np.array(trained, bool), np.array(chose, bool)


def together(each: Iterable[Seen]) -> Seen:
    """Return what several networks have seen."""
    return reduce(Seen.__or__, each, NOTHING)


def of_training(folder: Path) -> Seen:
    """Return what a finished training has seen, with all its ancestors.

    An outcome written before marks were kept is read through the log of its study, which names seed and split: such
    runs are known by how they begin, not by their configurations.

    Raises:
        ValueError: The folder holds no finished training, or nothing says which runs trained it or an ancestor.
        store.DamagedFileError: The outcome cannot be read.
    """
    outcome = store.read_json(folder / "outcome.json")
    if outcome is None:
        raise ValueError(f"{folder} holds no finished training: there is no outcome.json in it; train it first")
    if "seen" in outcome:
        return _read(outcome["seen"])
    out, why = folder.parent.parent, "its outcome.json is of an earlier version and the log has no record"
    path = out / log.FOLDER / f"{log.identify(out, 'train', folder.name)}.jsonl"
    settings = log.read(path).get("settings", {}) if path.exists() else {}
    if not {"study", "split"} <= settings.keys():
        raise ValueError(
            f"nothing says which runs trained {folder}: {why}; call vitrify train again as it was called then, which "
            "trains nothing anew but writes it down"
        )
    own = _planned(settings["study"], settings["split"])
    ancestors = [one["name"] for one in outcome.get("lineage", [])]
    known = {name: _beside(out, name) for name in ancestors}
    lost = [name for name, place in known.items() if place is None]
    if lost:
        raise ValueError(
            f"nothing says which runs trained {lost[0]}, from which {folder} goes on: it is not in {out}; call "
            "vitrify train again as it was called then, which trains nothing anew but writes it down"
        )
    return together([own, *(of_training(place) for place in known.values() if place is not None)])


def of_card(card: Mapping[str, Any]) -> Seen:
    """Return what a packed model has seen; one packed before marks were kept is known by how its runs begin."""
    if "seen" in card:
        return _read(card["seen"])
    return _planned(card["study"], card["study"]["classify"])


def _read(seen: Mapping[str, Sequence[str]]) -> Seen:
    return Seen(train=frozenset(seen["train"]), chose=frozenset(seen["chose"]))


def _beside(out: Path, name: str) -> Path | None:
    """Return the folder of a training of that name in a study's folder."""
    places = (out / kind / name for kind in ("trained", "models"))
    return next((place for place in places if (place / "outcome.json").exists()), None)


def _planned(study: Mapping[str, Any], parts: Mapping[str, float]) -> Seen:
    """Return what a training of these settings and this split has seen, by how its runs begin."""
    simulate, seed = Simulate.model_validate(study["simulate"]), int(study["seed"])
    known = [Run(kept=frozenset({mark}), sought=frozenset()) for mark in _beginnings(simulate, seed)]
    return Seen.by(known, split_runs(simulate.n_runs, seed=seed, validation=parts["validation"], test=parts["test"]))


def _beginnings(simulate: Simulate, seed: int) -> list[str]:
    """Return the mark of how each run begins, the same however it is cooled."""
    imported = simulate.imported
    origin = [seed, simulate.mixture, simulate.n_particles] if imported is None else [imported.digest]
    return [hashlib.sha256(json.dumps([*origin, run]).encode()).hexdigest()[:12] for run in range(simulate.n_runs)]
