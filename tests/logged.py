"""Logs made by hand for the tests of what reads them."""

from pathlib import Path
from typing import Any

from vitrify import log


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": max(value - 0.1, 0.0), "high": min(value + 0.1, 1.0)}


def scored(accuracy: float, auc: float) -> dict[str, Any]:
    return {"accuracy": estimate(accuracy), "auc": estimate(auc), "n_test": 32, "n_runs": 16}


def training(out: Path, name: str, *, model: str = "cnn", k: int = 140, auc: float = 0.8, rate: float = 0.01) -> str:
    """Log one finished training, the energy's if the model is ``e_is``; return its id."""
    network = None if model == "e_is" else {"kind": model, "width": 8}
    settings = {"input": "inherent", "model": model, "train_k": k, "glass_k": 200, "control": False, "train_T": 0.635}
    settings |= {"network": network, "train": None if network is None else {"learning_rate": rate}, "n_train": 76}
    known = {"study": "small", "settings": settings, "versions": {"numpy": "2"}, "lineage": [], "data": "d1"}
    with log.recorded(out, kind="train", name=name, known=known | {"folder": f"models/{name}"}) as entry:
        best = {"validation": scored(0.9, auc), "test": scored(0.7, auc)}
        history = {"step": [10, 20], "epoch": [1.0, 2.0], "learning_rate": [rate, rate]}
        history |= {f"{p}_{q}": [0.6, 0.8] for p in ("train", "validation") for q in ("loss", "accuracy")}
        entry |= {"scores": {"best": best, "final": best | {"test": scored(0.5, 0.5)}}}
        entry["history"] = {} if network is None else history
    return log.identify(out, "train", name)


def write_many(out: str, writer: int) -> None:
    """Append 25 notes to one record; what another process does at the same time."""
    for number in range(25):
        log.append(Path(out), "0123456789", {"note": f"{writer}-{number} " + "x" * 3000})
