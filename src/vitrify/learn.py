r"""Train a network on labelled configurations, stop and resume it bit by bit, and score with it.

.. math:: \mathrm{loss} = -\frac{1}{b} \sum_i [\,y_i \ln p_i + (1 - y_i) \ln(1 - p_i)\,], \qquad
          p_i = 1 / (1 + e^{-\mathrm{logit}_i})

Every draw is a function of the seed and of where training stands: the order of an epoch comes from
``default_rng([seed, epoch])`` and the symmetries of a step from ``default_rng([seed, 1, step])``. So a run that was
killed goes on from its last checkpoint as if nothing had happened. All work is done by one thread: a small network
gains nothing from more, and the result does not depend on the machine's number of cores.
"""

__all__ = ["Checkpoints", "Train", "Trained", "predict", "restore", "train"]

import copy
import json
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Float64, Integer
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.adamw import adamw

from vitrify.dataset import Labelled
from vitrify.models import Model
from vitrify.views import random_symmetry

_COLUMNS = (
    "step",
    "epoch",
    "samples",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
)


class Train(BaseModel):
    """How a network is trained: AdamW with weight decay on the matrices, and one cycle of the learning rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_steps: int = Field(120, ge=1, description="Optimiser steps, one batch each.")
    batch_size: int = Field(16, ge=2, description="Configurations in a batch; all of them if there are fewer.")
    learning_rate: float = Field(1e-2, gt=0, allow_inf_nan=False, description="Highest learning rate of the cycle.")
    warm_up: float = Field(0.3, ge=0, lt=1, description="Part of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.1, ge=0, allow_inf_nan=False, description="AdamW's decay of the matrices.")
    evaluate_every: int = Field(30, ge=1, description="Steps between evaluations; each saves a checkpoint.")
    enough: float = Field(
        0.005, ge=0, description="Validation loss below which an evaluation ends the training; 0 trains to the end."
    )
    augment: bool = Field(True, description="Show pictures under random symmetries and shifts of the box.")


class Checkpoints(Protocol):
    """Where `train` leaves its state: the last one, to go on from, and the best one, to score with.

    A state holds tensors, numbers, strings, lists and dicts only; `save` must be done with it when it returns.
    """

    def load(self, which: Literal["last", "best"]) -> dict[str, Any] | None:
        """Return what was saved last under that name, or None."""
        ...

    def save(self, which: Literal["last", "best"], state: dict[str, Any]) -> None:
        """Replace what is saved under that name."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained network.

    Args:
        network: The weights of the evaluation with the lowest validation loss; in evaluation mode.
        model: The settings the network was built from.
        history: One list per column, one entry per evaluation: ``step``, ``epoch``, ``samples`` (configurations seen),
            ``train_loss`` and ``train_accuracy`` (over the batches since the evaluation before), ``validation_loss``,
            ``validation_accuracy`` and ``learning_rate``.
    """

    network: nn.Module
    model: Model
    history: dict[str, list[float]]


def train(
    model: Model,
    train_data: Labelled,
    validation_data: Labelled,
    settings: Train,
    *,
    seed: int,
    checkpoints: Checkpoints,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Return the network that scored best on the validation data, going on from the last checkpoint if there is one.

    Args:
        model: Settings of the network.
        train_data: Configurations that set the weights.
        validation_data: Configurations that choose the evaluation whose weights are kept; of other runs.
        settings: Settings of the training.
        seed: Draws the first weights, the order and the symmetries.
        checkpoints: Where the state is kept.
        progress: Called with the steps done and the steps in all, after each step; a training that ends before its
            last step counts as done.

    Raises:
        ValueError: The checkpoint was made with other settings, another seed or other data.
        FloatingPointError: The loss became infinite or not a number.

    References:
        Loshchilov & Hutter, 2019, arXiv:1711.05101 (AdamW)
        Smith & Topin, 2018, arXiv:1708.07120 (one cycle)
    """
    with _one_thread():
        run = _Run.begin(model, train_data, validation_data, settings, seed=seed, checkpoints=checkpoints)
        while not run.finished:
            run.advance()
            if run.step % settings.evaluate_every == 0 or run.step == settings.n_steps:
                run.evaluate()
                run.save(checkpoints)
            if progress is not None:
                progress(settings.n_steps if run.finished else run.step, settings.n_steps)
    return restore(model, checkpoints)


def restore(model: Model, checkpoints: Checkpoints) -> Trained:
    """Return the best network so far and the whole history from what `train` saved.

    Args:
        model: Settings the network was built from.
        checkpoints: Where `train` kept its state.

    Raises:
        ValueError: Nothing was saved there yet.
    """
    best, last = checkpoints.load("best"), checkpoints.load("last")
    if best is None or last is None:
        raise ValueError("checkpoints must hold a 'best' and a 'last' state; train the network first")
    network = model.build(seed=0)
    network.load_state_dict(best["network"])
    return Trained(network=network.eval(), model=model, history=last["history"])


def predict(trained: Trained, data: Labelled) -> Float64[np.ndarray, " b"]:
    """Return the logit of each configuration, positive for glass; each is scored as if it were alone.

    Args:
        trained: The network.
        data: Configurations of any number of particles and any box.
    """
    with _one_thread():
        return _scores(trained.network, trained.model, data).astype(np.float64)


def _scores(network: nn.Module, model: Model, data: Labelled) -> Float32[np.ndarray, " b"]:
    """Return the logits, leaving the network in evaluation mode."""
    network.eval()
    logits = []
    with torch.inference_mode():
        for positions in np.array_split(data.positions, math.ceil(len(data.label) / _CHUNK)):
            logits.append(network(*model.inputs(positions, data.species, data.box)).numpy())
    return np.concatenate(logits)


_CHUNK = 64  # configurations scored at a time
_N_SETTLE = 512  # configurations that settle the running averages
_CACHE_BYTES = 2**30  # inputs that never change are kept up to this size, and made again for each batch beyond it


class _Run:
    """A training between two steps: the network, its optimiser, the step, and what was measured so far."""

    def __init__(
        self, model: Model, train_data: Labelled, validation_data: Labelled, settings: Train, *, seed: int
    ) -> None:
        self.model, self.settings, self.seed = model, settings, seed
        self.data, self.validation_data = train_data, validation_data
        self.target = torch.from_numpy(train_data.label.astype(np.float32))
        self.kept = _kept_inputs(model, train_data, settings)
        self.network = model.build(seed=seed)
        self.optimiser = _AdamW(self.network, settings)
        self.step = 0
        self.best_loss = math.inf
        self.history: dict[str, list[float]] = {column: [] for column in _COLUMNS}
        self.recent: list[tuple[int, float, int]] = []

    @classmethod
    def begin(
        cls,
        model: Model,
        train_data: Labelled,
        validation_data: Labelled,
        settings: Train,
        *,
        seed: int,
        checkpoints: Checkpoints,
    ) -> "_Run":
        """Return the run as its last checkpoint left it, or at step 0."""
        run = cls(model, train_data, validation_data, settings, seed=seed)
        last = checkpoints.load("last")
        if last is None:
            return run
        if last["recipe"] != run.recipe:
            raise ValueError(
                f"checkpoints must come from the same settings, seed and data; they hold {last['recipe']}, "
                f"this is {run.recipe}: give each training its own checkpoints"
            )
        run.network.load_state_dict(last["network"])
        run.optimiser.state = copy.deepcopy(last["optimiser"])
        run.step, run.best_loss, run.history = last["step"], last["best_loss"], copy.deepcopy(last["history"])
        return run

    @property
    def recipe(self) -> str:
        """All that decides the result, as JSON."""
        data = [
            zlib.crc32(np.ascontiguousarray(array).tobytes())
            for part in (self.data, self.validation_data)
            for array in (part.positions, part.species, part.box, part.label)
        ]
        model = json.loads(self.model.model_dump_json())
        return json.dumps({"model": model, "train": self.settings.model_dump(), "seed": self.seed, "data": data})

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or an evaluation has found the loss low enough."""
        losses = self.history["validation_loss"]
        return self.step == self.settings.n_steps or (bool(losses) and losses[-1] < self.settings.enough)

    @property
    def batch(self) -> Integer[np.ndarray, " a"]:
        """Which configurations the next step uses; an epoch drops what does not fill a batch."""
        n = len(self.target)
        n_batches = max(1, n // self.settings.batch_size)
        epoch, place = divmod(self.step, n_batches)
        order = np.random.default_rng([self.seed, epoch]).permutation(n)
        return order[place * self.settings.batch_size :][: self.settings.batch_size]

    def inputs(self, batch: Integer[np.ndarray, " a"]) -> tuple[Tensor, ...]:
        """Return what the network is shown at this step."""
        if self.kept is not None:
            return tuple(tensor[batch] for tensor in self.kept)
        positions, box = self.data.positions[batch], self.data.box
        if self.settings.augment and not self.model.invariant:
            positions = random_symmetry(positions, box, rng=np.random.default_rng([self.seed, 1, self.step]))
        return self.model.inputs(positions, self.data.species, box)

    def advance(self) -> None:
        """Take one step of the optimiser."""
        batch = self.batch
        target = self.target[batch]
        self.network.train()
        logit = self.network(*self.inputs(batch))
        loss = binary_cross_entropy_with_logits(logit, target)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"loss must be finite; it is {loss.item()} at step {self.step + 1}: "
                f"lower learning_rate (now {self.settings.learning_rate}) or lengthen warm_up, and start anew"
            )
        self.network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step(_one_cycle(self.step, self.settings))
        self.step += 1
        self.recent.append((len(batch), loss.item(), int(((logit > 0) == (target > 0)).sum())))

    def settle(self) -> None:
        """Replace the running averages of batch normalisation by those of the present weights.

        Averages that trail the weights shift every logit of a weak signal: the order of the scores stays good while
        half of the labels are wrong.

        References:
            Wu & Johnson, 2021, arXiv:2105.07576, section 3
        """
        norms = [part for part in self.network.modules() if isinstance(part, _BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches that follow
        n_shown = min(len(self.target), _N_SETTLE)
        chosen = np.random.default_rng([self.seed, 2, self.step]).permutation(len(self.target))[:n_shown]
        self.network.train()
        with torch.no_grad():
            for batch in np.array_split(chosen, math.ceil(n_shown / _CHUNK)):
                self.network(*self.inputs(batch))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def evaluate(self) -> None:
        """Settle the running averages, then add a line to the history."""
        self.settle()
        logit = torch.from_numpy(_scores(self.network, self.model, self.validation_data))
        target = torch.from_numpy(self.validation_data.label.astype(np.float32))
        n_seen, loss, n_right = np.array(self.recent).T
        n_batches = max(1, len(self.target) // self.settings.batch_size)
        line = (
            self.step,
            self.step / n_batches,
            sum(self.history["samples"][-1:]) + int(n_seen.sum()),
            float(np.average(loss, weights=n_seen)),
            float(n_right.sum() / n_seen.sum()),
            binary_cross_entropy_with_logits(logit, target).item(),
            float(((logit > 0) == (target > 0)).float().mean()),
            _one_cycle(self.step - 1, self.settings),
        )
        for column, value in zip(_COLUMNS, line, strict=True):
            self.history[column].append(value)
        self.recent.clear()

    def save(self, checkpoints: Checkpoints) -> None:
        """Save the state, first as the best if it is, so that a kill in between only repeats this evaluation."""
        network = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        loss = self.history["validation_loss"][-1]
        if loss < self.best_loss or math.isinf(self.best_loss):
            self.best_loss = loss
            checkpoints.save("best", {"network": network, "step": self.step, "recipe": self.recipe})
        state = {
            "network": network,
            "optimiser": copy.deepcopy(self.optimiser.state),
            "step": self.step,
            "best_loss": self.best_loss,
            "history": copy.deepcopy(self.history),
            "recipe": self.recipe,
        }
        checkpoints.save("last", state)


def _kept_inputs(model: Model, data: Labelled, settings: Train) -> tuple[Tensor, ...] | None:
    """Return the inputs of all configurations if they are the same at every step and not too large, else None."""
    if settings.augment and not model.invariant:
        return None
    one = model.inputs(data.positions[:1], data.species, data.box)
    if sum(tensor.nbytes for tensor in one) * len(data.label) > _CACHE_BYTES:
        return None
    return model.inputs(data.positions, data.species, data.box)


_MOMENTS = ("mean", "square", "n_steps")


class _AdamW:
    """AdamW that decays matrices and kernels, not biases and norms.

    PyTorch's function does the work. Its class of the same name loads the compiler too, which takes longer than to
    train a small network.
    """

    def __init__(self, network: nn.Module, settings: Train) -> None:
        self.weights: dict[str, Tensor] = dict(network.named_parameters())
        self.decay = settings.weight_decay
        self.state = {
            name: dict(
                zip(_MOMENTS, (torch.zeros_like(weight), torch.zeros_like(weight), torch.zeros(())), strict=True)
            )
            for name, weight in self.weights.items()
        }

    def step(self, learning_rate: float) -> None:
        """Move the weights that have a gradient by one step."""
        for is_matrix, decay in ((True, self.decay), (False, 0.0)):
            gradients = {
                name: weight.grad
                for name, weight in self.weights.items()
                if (weight.ndim > 1) == is_matrix and weight.grad is not None
            }
            mean, square, n_steps = ([self.state[name][part] for name in gradients] for part in _MOMENTS)
            with torch.no_grad():
                adamw(
                    [self.weights[name] for name in gradients],
                    list(gradients.values()),
                    mean,
                    square,
                    [],
                    n_steps,
                    fused=True,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=learning_rate,
                    weight_decay=decay,
                    eps=1e-8,
                    maximize=False,
                )


def _one_cycle(step: int, settings: Train) -> float:
    """Return the learning rate of a step: a cosine up from 1/25 of the highest, then a cosine down to 1/10,000."""
    top = settings.warm_up * settings.n_steps
    if step < top:
        low, part = 1 / 25, step / top
    else:
        low, part = 1e-4, (settings.n_steps - 1 - step) / max(1.0, settings.n_steps - 1 - top)
    return settings.learning_rate * (low + (1 - low) * (1 - math.cos(math.pi * part)) / 2)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let PyTorch use one thread, and give back as many as it had."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
