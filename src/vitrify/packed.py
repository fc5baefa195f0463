"""A model that leaves its study: networks of several seeds, their calibration, their domain, and a card in words.

A folder holds ``card.json`` and ``best.pt``, of which only tensors and plain values are ever read. The package ships a
few, by name.
"""

__all__ = ["SHIPPED", "Member", "Packed", "Verdict", "load", "save"]

import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import t

from vitrify import attribution, learn, store
from vitrify.dataset import Labelled
from vitrify.domain import Domain, Place
from vitrify.evaluate import Calibration, members
from vitrify.models import MODELS
from vitrify.system import Configuration

_HOME = Path(str(files("vitrify") / "packed_models"))

SHIPPED = tuple(sorted(entry.name for entry in _HOME.iterdir() if entry.is_dir())) if _HOME.is_dir() else ()
"""Names of the models that come with the package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One network of a packed model, and what its attributions are compared with."""

    trained: learn.Trained
    base: attribution.Baseline


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    r"""What a packed model says of one configuration.

    Args:
        p_glass: Probability of a glass, :math:`1 / (1 + e^{-\bar z})` with the mean calibrated logit of the networks.
        low: Where a network of another seed would put it at the least, in 95 of 100 cases; NaN of one network.
        high: And at the most.
        logit: The mean calibrated logit.
        place: Where the configuration lies in the model's domain.
        to_glass: What each particle adds to the logit, positive towards glass; they sum to its difference from the
            logit of mean features. None if not asked for.
    """

    p_glass: float
    low: float
    high: float
    logit: float
    place: Place
    to_glass: Float64[np.ndarray, " n"] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A model that can be asked about any configuration.

    Args:
        card: What it is, from what it was made, what it scored: see `vitrify.pack.pack`.
        members: Its networks.
        calibration: Turns the mean of their logits into one whose probability can be believed.
        domain: What it was trained on.
    """

    card: Mapping[str, Any]
    members: tuple[Member, ...]
    calibration: Calibration
    domain: Domain

    def judge(self, configuration: Configuration, *, attribute: bool = False) -> Verdict:
        """Return what the model says of a configuration.

        Args:
            configuration: Of the kind the card calls its input, lengths in sigma_AA, A before B.
            attribute: Also say what each particle adds.

        Raises:
            ValueError: The model cannot look at it: dimensions, species or a box that is too small.
        """
        place = self.domain.place(configuration)
        shown = Labelled(
            positions=configuration.positions[None].astype(np.float32),
            species=configuration.species.astype(np.int32),
            box=configuration.box,
            label=np.zeros(1, int),
            run=np.zeros(1, int),
            e_pot=np.zeros(1),
            e_is=np.zeros(1),
        )
        logits = self.calibration.logit(members([one.trained for one in self.members], shown)[:, 0])
        m, mean = len(logits), float(logits.mean())
        spread = float(t.ppf(0.975, m - 1) * logits.std(ddof=1) * np.sqrt(1 + 1 / m)) if m > 1 else np.nan
        return Verdict(
            p_glass=_logistic(mean),
            low=_logistic(mean - spread),
            high=_logistic(mean + spread),
            logit=mean,
            place=place,
            to_glass=self._shares(shown) if attribute else None,
        )

    def _shares(self, shown: Labelled) -> Float64[np.ndarray, " n"]:
        """Return the mean over the networks of what each particle adds to the calibrated logit."""
        found = [
            attribution.attribute(
                one.trained.network, one.trained.model, shown.positions, shown.species, shown.box, one.base
            ).particles[0]
            for one in self.members
        ]
        return np.asarray(np.mean(found, axis=0) / self.calibration.temperature)


def save(folder: Path, packed: Packed) -> None:
    """Write a packed model into a folder."""
    state = {
        "members": [
            {
                "kind": one.trained.model.kind,
                "model": one.trained.model.model_dump_json(),
                "network": one.trained.network.state_dict(),
                "at": one.base.at,
                "mean": torch.from_numpy(one.base.mean),
            }
            for one in packed.members
        ],
        "calibration": [packed.calibration.threshold, packed.calibration.temperature],
        "domain": {name: torch.from_numpy(np.asarray(array)) for name, array in packed.domain.arrays().items()},
    }
    store.Checkpoints(folder).save("best", state)
    store.write_json(folder / "card.json", dict(packed.card))


def load(name: str) -> Packed:
    """Return the packed model of a folder, or the shipped one of that name.

    Raises:
        FileNotFoundError: It is neither.
        store.DamagedFileError: A file of it cannot be read.
    """
    folder = _HOME / name if name in SHIPPED and not (Path(name) / "card.json").exists() else Path(name)
    card, state = store.read_json(folder / "card.json"), store.Checkpoints(folder).load("best")
    if card is None or state is None:
        raise FileNotFoundError(
            errno.ENOENT,
            f"No packed model there, and none of that name is shipped: those are {', '.join(SHIPPED) or 'none'}; "
            "vitrify pack makes one",
            name,
        )
    try:
        return Packed(
            card=card,
            members=tuple(_members(state["members"])),
            calibration=Calibration(threshold=state["calibration"][0], temperature=state["calibration"][1]),
            domain=Domain.of({key: tensor.numpy() for key, tensor in state["domain"].items()}),
        )
    except (KeyError, IndexError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise store.DamagedFileError(f"{folder} holds no packed model this version can read ({error})") from error


def _members(states: Sequence[Mapping[str, Any]]) -> list[Member]:
    found = []
    for one in states:
        model = MODELS[one["kind"]].model_validate(json.loads(one["model"]))
        network = model.build(seed=0)
        network.load_state_dict(one["network"])
        trained = learn.Trained(network=network.eval(), model=model, history={})
        found.append(Member(trained=trained, base=attribution.Baseline(at=one["at"], mean=one["mean"].numpy())))
    return found


def _logistic(logit: float) -> float:
    return float(0.5 * (1 + np.tanh(logit / 2)))
