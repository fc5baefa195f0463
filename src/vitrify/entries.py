"""What the log is told of a training: its settings when it begins, and scores with intervals when it is done."""

__all__ = ["found", "known", "last_weights", "scored", "temperature"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from vitrify import learn, scores, store
from vitrify.dataset import Labelled
from vitrify.models import Network
from vitrify.settings import Study

Scorer = Callable[[Labelled], np.ndarray]


def known(
    study: Study,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    network: BaseModel | None,
    train: BaseModel | None,
    data: Labelled,
    lineage: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the log is told when a training begins.

    Args:
        study: Whose runs are used.
        folder: Of the training, two below the study's.
        settings: What is told apart and by what: ``input``, ``model``, ``train_k``, ``glass_k``, ``control``, ``seed``.
        network: Settings of the network; None for a baseline.
        train: How it is trained.
        data: What it is trained on.
        lineage: Names of the trainings it goes on from, the oldest first.
    """
    every = {
        **settings,
        "train_T": temperature(study, settings["train_k"]),
        "glass_T": temperature(study, settings["glass_k"]),
        "network": None if network is None else network.model_dump(mode="json"),
        "train": None if train is None else train.model_dump(mode="json"),
        "n_train": len(data.label),
        "study": study.model_dump(mode="json", include={"name", "seed", "simulate"}),
        "split": {"validation": study.classify.validation, "test": study.classify.test},
    }
    return {
        "study": study.name,
        "folder": f"{folder.parent.name}/{folder.name}",
        "settings": every,
        "lineage": list(lineage),
        "data": data.digest,
        "versions": store.versions(),
    }


def temperature(study: Study, k: int | Sequence[int]) -> float | None:
    """Return the temperature of the bath at a record; the two of equal energy, k = 0, and several have their own."""
    return study.simulate.bath.T(k) if isinstance(k, int) and k else None


def found(kept: Mapping[str, Any], history: Mapping[str, Any], *, last: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the log keeps of a finished training.

    Args:
        kept: Scores of the weights that are kept, those with the lowest validation loss, by the runs they are of:
            ``validation``, and ``test`` where these were scored.
        history: Of the training; empty for a baseline.
        last: The same scores of the last weights; None where these are the ones kept.
    """
    return {"scores": {"best": dict(kept), "final": dict(kept if last is None else last)}, "history": dict(history)}


def scored(logit: Sequence[float] | np.ndarray, data: Labelled) -> dict[str, Any]:
    """Return accuracy and AUC of some logits with their intervals over runs, and the numbers they come from."""
    return asdict(scores.score(np.asarray(logit, dtype=float), data.label, data.run))


def last_weights(model: Network, checkpoints: learn.Checkpoints, history: Mapping[str, Any]) -> Scorer | None:
    """Return what scores with the weights of the last evaluation, or None where these are the ones that are kept."""
    losses = history["validation_loss"]
    if losses.index(min(losses)) == len(losses) - 1:
        return None
    trained = learn.restore(model, checkpoints, which="last")
    return lambda data: learn.predict(trained, data)
