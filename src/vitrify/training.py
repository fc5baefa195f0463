"""How a network is trained: the settings, and what the history of a training says. PyTorch is not needed for it."""

__all__ = ["COLUMNS", "Train", "epochs_to", "summary"]

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vitrify.schedules import OneCycle, Schedule

COLUMNS = (
    "step",
    "epoch",
    "samples",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "penalty",
    "seconds",
)
"""What a history holds, one list each; described in `vitrify.learn.Trained`."""


class Train(BaseModel):
    """How a network is trained: by default AdamW with weight decay on the matrices, and one cycle of the rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_steps: int = Field(120, ge=1, description="Optimiser steps, one batch each.")
    batch_size: int = Field(16, ge=2, description="Configurations in a batch; all of them if there are fewer.")
    learning_rate: float = Field(1e-2, gt=0, allow_inf_nan=False, description="Highest learning rate of the schedule.")
    schedule: Schedule = Field(OneCycle(), description="How the learning rate changes from step to step.")
    optimiser: Literal["adamw", "adam"] = Field("adamw", description="AdamW, or Adam, which has no weight decay.")
    weight_decay: float = Field(0.1, ge=0, allow_inf_nan=False, description="AdamW's decay of the matrices.")
    l2: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Half of it times the sum of squares of the matrices is lost."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="Whether the losses of the rarer class count more, so that both classes count alike."
    )
    evaluate_every: int = Field(30, ge=1, description="Steps between evaluations; each saves a checkpoint.")
    enough: float = Field(
        0.005, ge=0, description="Validation loss below which an evaluation ends the training; 0 trains to the end."
    )
    patience: int = Field(
        0, ge=0, description="Evaluations without a lower validation loss that end the training; 0 waits for ever."
    )
    augment: bool = Field(True, description="Show pictures under random symmetries and shifts of the box.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the products in a step; weights, losses and evaluations are float32."
    )
    n_threads: int = Field(1, ge=1, description="Threads of PyTorch; the result depends on it.")
    device: Literal["cpu", "cuda"] = Field("cpu", description="What trains; a checkpoint fits both.")


def epochs_to(history: dict[str, list[float]], accuracy: float) -> float | None:
    """Return the epochs until an evaluation first found a validation accuracy, or None if none did.

    Args:
        history: Of a trained network.
        accuracy: The validation accuracy, 1 at most.
    """
    reached = zip(history["epoch"], history["validation_accuracy"], strict=True)
    return next((epoch for epoch, found in reached if found >= accuracy), None)


def summary(history: dict[str, list[float]]) -> dict[str, float | None]:
    """Return what a training took: ``samples``, ``epochs``, ``seconds``, ``epochs_to_90`` and ``epochs_to_99``."""
    return {
        "samples": history["samples"][-1],
        "epochs": history["epoch"][-1],
        "seconds": history["seconds"][-1],
        "epochs_to_90": epochs_to(history, 0.90),
        "epochs_to_99": epochs_to(history, 0.99),
    }
