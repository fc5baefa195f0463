"""An ensemble of which every number is known, and networks whose answers are: what an analysis makes of them is too.

Runs, records, particles and edges differ in number, energies in every digit, and every network answers every
configuration in its own way, so that whoever takes the wrong run, record, input, energy, label or network says
another number.
"""

import inspect
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from vitrify import classify, store
from vitrify.baselines import fit
from vitrify.dataset import Ensemble, Labelled
from vitrify.settings import Study, split

N_RUNS, N_RECORDS, N_PARTICLES = 37, 12, 80
BOX = np.array([7.4, 9.2])
KS, GLASS = (3, 6, 8), 11
INPUTS = ("thermal", "inherent")

CHOSEN = Study.model_validate(
    {
        "name": "planted",
        "seed": 5,
        "simulate": {
            "n_particles": N_PARTICLES,
            "n_runs": N_RUNS,
            "n_equilibrate": 200,
            "cool": {"T_start": 2.0, "T_end": 0.08, "n_steps": 2_400, "n_frames": N_RECORDS},
        },
        "classify": {
            "k_glass": GLASS,
            "k": (6, 3, 8),  # not in order
            "k_transfer": 3,
            "control": [9, 10],
            "baselines": ["e_pot", "e_is"],
            "n_seeds": 2,
            "validation": 0.2,
            "test": 0.35,
        },
        "models": [{"kind": "mpnn"}, {"kind": "cnn"}],
        "equal_energy": {"n_steps": 320, "n_frames": 4},
    }
)
PARTS = split(CHOSEN)
T = np.array([CHOSEN.simulate.bath.T(k) for k in range(1, N_RECORDS + 1)])
OPTIONS = {"n_workers": 1, "progress": lambda *_: None}


def _positions(rng: np.random.Generator) -> Float[np.ndarray, "r t n 2"]:
    """Return a jittered lattice for every run and record, its particles dealt to the sites anew each time."""
    sites = np.stack(np.meshgrid(np.arange(8) + 0.5, np.arange(10) + 0.5, indexing="ij"), axis=-1).reshape(-1, 2)
    dealt = rng.permuted(np.tile(np.arange(N_PARTICLES), (N_RUNS, N_RECORDS, 1)), axis=2)
    jitter = 0.14 - 0.008 * np.arange(N_RECORDS)[:, None, None]  # the colder, the more orderly
    moved = sites[dealt] + jitter * rng.normal(size=(N_RUNS, N_RECORDS, N_PARTICLES, 2))
    return (moved * BOX / (8, 10)) % BOX


def _ensemble(seed: int = 11) -> Ensemble:
    rng = np.random.default_rng(seed)
    k = np.arange(1, N_RECORDS + 1)

    def energies(first: float, per_record: float, spread: float) -> Float[np.ndarray, "r t"]:
        return first - per_record * k + spread * rng.normal(size=(N_RUNS, N_RECORDS))

    return Ensemble(
        thermal=_positions(rng).astype(np.float32),
        inherent=_positions(rng).astype(np.float32),
        species=CHOSEN.simulate.liquid.species(N_PARTICLES),
        box=BOX,
        T=T,
        e_pot_unshifted=energies(-2.0, 0.1, 0.4),
        e_pot_shifted=energies(-1.5, -0.1, 0.4),
        e_is_unshifted=energies(-3.7, 0.006, 0.03),
        e_is_shifted=energies(-3.5, -0.006, 0.03),
        max_force=np.full((N_RUNS, N_RECORDS), 1e-4),
        converged=np.ones((N_RUNS, N_RECORDS), bool),
    )


WHOLE = _ensemble()
FAST = _ensemble(12)
ENERGIES = {"thermal": WHOLE.energy("e_pot"), "inherent": WHOLE.energy("e_is")}
"""The energy of the configurations of each input: run, then record less one."""


def load(_root: Path, _settings: Any, *, seed: int, k: Sequence[int]) -> Ensemble:
    """Stand in for `vitrify.store.load`."""
    assert seed == CHOSEN.seed
    return held(WHOLE, k)


def held(of: Ensemble, k: Sequence[int]) -> Ensemble:
    """Return the ensemble with the positions of some records only."""
    places = [one - 1 for one in k]
    known = {name: getattr(of, name) for name in of.__dataclass_fields__}
    positions = {name: getattr(of, name)[:, places] for name in INPUTS}
    return Ensemble(**{**known, **positions, "k": np.array(k, int)})


_MARK = 6  # particles by whose places a configuration is known
_ALL = np.stack([WHOLE.thermal, WHOLE.inherent, FAST.thermal, FAST.inherent]).astype(float)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """Which configurations some positions are of; -1 where they are none of the ensemble, or moved far from it."""

    input: Integer[np.ndarray, " b"]
    run: Integer[np.ndarray, " b"]
    k: Integer[np.ndarray, " b"]
    moved: Float[np.ndarray, " b"]


def recognised(positions: Float[np.ndarray, "b n 2"]) -> Known:
    """Return of which input, run and record each configuration is, and how far along an axis it was moved, in rms."""
    found = np.full((3, len(positions)), -1)
    moved = np.full(len(positions), np.nan)
    for place, one in enumerate(np.asarray(positions, float)):
        apart = _ALL[:, :, :, :_MARK] - one[:_MARK]
        apart -= BOX * np.round(apart / BOX)
        rms = np.sqrt((apart**2).mean(axis=(3, 4)))
        best = np.unravel_index(rms.argmin(), rms.shape)
        if rms[best] < 0.6:
            found[:, place] = best[0] % 2, best[1], best[2] + 1
            dr = one - _ALL[best]
            dr -= BOX * np.round(dr / BOX)
            moved[place] = np.sqrt((dr**2).mean())
    return Known(input=found[0], run=found[1], k=found[2], moved=moved)


def answers(training: classify.Training, *, species: int = 0) -> Float[np.ndarray, "i r t"]:
    """Return the logit that a network, or a baseline, gives every configuration.

    Args:
        training: Which one.
        species: 0 as they are, 1 swapped, 2 anything else.
    """
    rng = np.random.default_rng(zlib.crc32(training.folder.encode()) + species)
    middle, reach = (training.train_k + GLASS) / 2, max(1, GLASS - training.train_k) / 2
    strength = 0.3 if training.model is None else 1.2  # the energy leaves something to be shown
    towards_glass = strength * (np.arange(1, N_RECORDS + 1) - middle) / reach
    other = np.array([0.8 * (name != training.input) for name in INPUTS])
    return rng.normal(size=(2, N_RUNS, N_RECORDS)) + towards_glass + other[:, None, None]


@dataclass(frozen=True, slots=True)
class Network:
    """Stands in for a trained network: the training it is of."""

    training: classify.Training


def restore(_model: Any, checkpoints: Any, *, which: str = "best") -> Network:
    """Stand in for `vitrify.learn.restore`."""
    assert which == "best"
    (found,) = [one for one in classify.trainings(CHOSEN) if one.folder == checkpoints._folder.name]
    return Network(found)


def predict(network: Network, data: Labelled) -> Float[np.ndarray, " b"]:
    """Stand in for `vitrify.learn.predict`: the planted answers; of what is not of the ensemble, 100."""
    kind = 0
    if not np.array_equal(data.species, WHOLE.species):
        kind = 1 if np.array_equal(data.species, 1 - WHOLE.species) else 2
    seen = recognised(data.positions)
    logit = answers(network.training, species=kind)[seen.input, seen.run, seen.k - 1]
    return np.where(seen.k < 0, 100.0, logit)


def pair(k: int, runs: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of a liquid and the glass of some runs, their labels and their runs.

    Args:
        k: Record of the liquid.
        runs: The runs.
        table: A number of every run and record.
    """
    both = np.concatenate([table[runs, k - 1], table[runs, GLASS - 1]])
    return both, np.repeat([0, 1], len(runs)), np.concatenate([runs, runs])


def by_energy(name: str, k: int, runs: np.ndarray, *, shown: str | None = None, at: int | None = None) -> np.ndarray:
    """Return the logits of the energy, fitted as a baseline is, of the pairs of some runs.

    Args:
        name: Input it is fitted on.
        k: Liquid it is fitted on.
        runs: Runs shown to it.
        shown: Input shown to it; the same unless given.
        at: Liquid shown to it; the same unless given.
    """
    table = ENERGIES[name]
    parts = [pair(k, each, table)[:2] for each in (PARTS.train, PARTS.validation)]
    fitted = fit(*(part for x, y in parts for part in (x[:, None], y)))
    return fitted.logit(pair(at or k, runs, ENERGIES[shown or name])[0][:, None])


def finish(out: Path) -> None:
    """Write what a finished study leaves for an analysis: the outcomes of its classifiers."""
    rng = np.random.default_rng(13)
    for one in classify.trainings(CHOSEN):
        scored = []
        for k in one.tested:
            both: dict[str, Any] = {"test_k": k}
            for part in ("validation", "test"):
                runs = getattr(PARTS, part)
                table = answers(one)[INPUTS.index(one.input)]
                logit, label, run = pair(max(k, 1), runs, table)
                if k == classify.EQUAL_ENERGY:
                    logit = rng.normal(size=len(label)) + label
                # whoever counts on an order of the runs is found out
                order = np.random.default_rng([k, len(part), len(one.input)]).permutation(len(label))
                both[part] = {
                    "logit": logit[order].tolist(),
                    "label": label[order].tolist(),
                    "run": run[order].tolist(),
                }
            scored.append(both)
        outcome = {
            "input": one.input,
            "model": one.name,
            "train_k": one.train_k,
            "glass_k": one.k_glass,
            "control": one.control,
            "settings": None if one.model is None else one.model.model_dump(mode="json"),
            "scored": scored,
            "seconds": 1.0,
            "cpu_s": 1.0,
        }
        folder = out / "models" / one.folder
        folder.mkdir(parents=True)
        store.write_json(folder / "outcome.json", outcome)


def hasty(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function with few resamples, where it resamples: no value that is asked for here needs many."""
    few = {"n_bootstrap": 100} if "n_bootstrap" in inspect.signature(function).parameters else {}
    return lambda *arrays, **words: function(*arrays, **(words | few))
