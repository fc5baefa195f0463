r"""Train a network on labelled configurations, stop and resume it bit by bit, and score with it.

.. math:: \mathrm{loss} = -\frac{1}{b} \sum_i c_{y_i} [\,y_i \ln p_i + (1 - y_i) \ln(1 - p_i)\,]
          + \frac{\beta}{2} \sum_w w^2, \qquad p_i = 1 / (1 + e^{-\mathrm{logit}_i})

with c the weight of a class and beta the ``l2``. Every draw is a function of the seed and of where training stands: the
order of an epoch comes from ``default_rng([seed, epoch])``, the symmetries of a step from ``default_rng([seed, 1,
step])``, and what a network draws, as for dropout, from PyTorch's generator seeded anew at each step. So a run that was
killed goes on from its last checkpoint as if nothing had happened. All work is done by one thread, unless asked
otherwise: a small network gains nothing from more, and the result does not depend on the machine's number of cores.
"""

__all__ = [
    "LABELS",
    "Ancestor",
    "Checkpoints",
    "Parent",
    "Train",
    "Trained",
    "epochs_to",
    "predict",
    "recipe",
    "restore",
    "summary",
    "train",
]

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Float64, Integer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.batchnorm import _BatchNorm

from vitrify.dataset import Labelled
from vitrify.models import Model
from vitrify.optimisers import Adam, is_matrix
from vitrify.training import COLUMNS, Train, epochs_to, summary
from vitrify.views import random_symmetry

LABELS = {"0": "liquid", "1": "glass"}
"""What the labels mean; every checkpoint holds it."""


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
class Parent:
    """Another training to go on from.

    Args:
        name: What it is called in the lineage, such as the name of its folder.
        checkpoints: Where it left its state.
        which: ``best`` begins with its best weights, a fresh optimiser and an empty history. ``last`` goes on from its
            last step with everything it had, under other settings: ``n_steps`` counts from its beginning.
    """

    name: str
    checkpoints: Checkpoints
    which: Literal["last", "best"] = "best"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestor:
    """One training in the lineage of another.

    Args:
        name: What it was called.
        recipe: SHA-256 of all that decided its result: model, settings, seed and data.
        step: The step whose weights were taken.
        which: ``last`` or ``best``.
    """

    name: str
    recipe: str
    step: int
    which: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained network.

    Args:
        network: The weights of the evaluation with the lowest validation loss; in evaluation mode.
        model: The settings the network was built from.
        history: One list per column, one entry per evaluation: ``step``, ``epoch``, ``samples`` (configurations seen),
            ``train_loss`` and ``train_accuracy`` (over the batches since the evaluation before), ``validation_loss``,
            ``validation_accuracy``, ``learning_rate``, ``penalty`` (the L2 part of the loss over the same batches,
            which the other losses leave out) and ``seconds`` (wall time of training, summed over resumed parts).
        parents: The trainings it goes on from, the oldest first.
    """

    network: nn.Module
    model: Model
    history: dict[str, list[float]]
    parents: tuple[Ancestor, ...] = ()


def train(
    model: Model,
    train_data: Labelled,
    validation_data: Labelled,
    settings: Train,
    *,
    seed: int,
    checkpoints: Checkpoints,
    progress: Callable[[int, int], None] | None = None,
    parent: Parent | None = None,
) -> Trained:
    """Return the network that scored best on the validation data, going on from the last checkpoint if there is one.

    Args:
        model: Settings of the network.
        train_data: Configurations that set the weights.
        validation_data: Configurations that choose the evaluation whose weights are kept; of other runs.
        settings: Settings of the training, as they are: see `recipe` for those that suit a model.
        seed: Draws the first weights, the order, the symmetries and what the network draws.
        checkpoints: Where the state is kept.
        progress: Called with the steps done and the steps in all, after each step; a training that ends before its
            last step counts as done.
        parent: The training to begin from where ``checkpoints`` hold nothing yet.

    Raises:
        ValueError: The checkpoint was made with another model, settings, seed, data or parent; the parent cannot be
            continued so; or there is no such device.
        FloatingPointError: The loss became infinite or not a number.

    References:
        Loshchilov & Hutter, 2019, doi:10.48550/arXiv.1711.05101 (AdamW)
        Smith & Topin, 2018, doi:10.48550/arXiv.1708.07120 (one cycle)
    """
    with _machine(settings):
        run = _Run(model, train_data, validation_data, settings, seed=seed)
        run.begin(checkpoints, parent)
        while not run.finished:
            run.advance()
            if run.step % settings.evaluate_every == 0 or run.step == settings.n_steps:
                run.evaluate()
                run.save(checkpoints)
            if progress is not None:
                progress(settings.n_steps if run.finished else run.step, settings.n_steps)
    return restore(model, checkpoints)


def recipe(model: Model, settings: Train) -> Train:
    """Return the settings, those that were not given replaced by what suits the model.

    Args:
        model: Its ``recipe`` names the fields of `Train` whose default differs for it.
        settings: Settings of the training; what was given, even a default, stays.
    """
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Train.model_validate({**model.recipe, **given})


def restore(model: Model, checkpoints: Checkpoints, *, which: Literal["best", "last"] = "best") -> Trained:
    """Return the best network so far, or the last, and the whole history from what `train` saved.

    Args:
        model: Settings the network was built from.
        checkpoints: Where `train` kept its state.
        which: The network wanted.

    Raises:
        ValueError: Nothing was saved there yet, or it is of another model.
    """
    best, last = checkpoints.load("best"), checkpoints.load("last")
    if best is None or last is None:
        raise ValueError("checkpoints must hold a 'best' and a 'last' state; train the network first")
    if best.get("model") != _settings_of(model):
        raise ValueError(f"model must be the one that was trained, {best.get('model')}; got {_settings_of(model)}")
    network = model.build(seed=0)
    network.load_state_dict((best if which == "best" else last)["network"])
    parents = tuple(Ancestor(**one) for one in last["parents"])
    return Trained(network=network.eval(), model=model, history=last["history"], parents=parents)


def predict(trained: Trained, data: Labelled) -> Float64[np.ndarray, " b"]:
    """Return the logit of each configuration, positive for glass; each is scored as if it were alone.

    Args:
        trained: The network, on whatever device it is.
        data: Configurations of any number of particles and any box.
    """
    with _threads(1):
        return _scores(trained.network, trained.model, data).astype(np.float64)


def _scores(network: nn.Module, model: Model, data: Labelled) -> Float32[np.ndarray, " b"]:
    """Return the logits, leaving the network in evaluation mode."""
    network.eval()
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    logits = []
    with torch.inference_mode():
        for positions in np.array_split(data.positions, math.ceil(len(data.label) / _CHUNK)):
            inputs = model.inputs(positions, data.species, data.box)
            logits.append(network(*(tensor.to(device) for tensor in inputs)).cpu().numpy())
    return np.concatenate(logits)


_CHUNK = 64  # configurations scored at a time
_N_SETTLE = 512  # configurations that settle the running averages
_CACHE_BYTES = 2**30  # inputs that never change are kept up to this size, and made again for each batch beyond it
_SAME = ("model", "train", "seed", "data")  # what decides the result


class _Run:
    """A training between two steps: the network, its optimiser, the step, and what was measured so far."""

    def __init__(
        self, model: Model, train_data: Labelled, validation_data: Labelled, settings: Train, *, seed: int
    ) -> None:
        self.began = time.perf_counter()
        self.model, self.settings, self.seed = model, settings, seed
        self.data, self.validation_data = train_data, validation_data
        self.device = torch.device(settings.device)
        self.target = torch.from_numpy(train_data.label.astype(np.float32)).to(self.device)
        self.class_weight = _class_weight(train_data, settings)
        self.kept = _kept_inputs(model, train_data, settings)
        self.network = model.build(seed=seed).to(self.device)
        self.matrices = [weight for weight in self.network.parameters() if is_matrix(weight)]
        self.optimiser = Adam(self.network, decay=settings.weight_decay if settings.optimiser == "adamw" else 0.0)
        self.step = 0
        self.best_loss = math.inf
        self.history: dict[str, list[float]] = {column: [] for column in COLUMNS}
        self.recent: list[tuple[int, float, float, int]] = []
        self.parents: list[dict[str, Any]] = []
        self.identity = {
            "model": _settings_of(model),
            "train": settings.model_dump(mode="json"),
            "seed": seed,
            "data": {"train": train_data.digest, "validation": validation_data.digest},
        }

    def begin(self, checkpoints: Checkpoints, parent: Parent | None) -> None:
        """Take the state of the last checkpoint, or of the parent, or stay at step 0."""
        last = checkpoints.load("last")
        if last is not None:
            self._check(last, parent)
            self.parents = last["parents"]
            self._take(last)
        elif parent is not None:
            self._inherit(parent, checkpoints)

    def _check(self, last: dict[str, Any], parent: Parent | None) -> None:
        """Refuse a checkpoint that is not of this training."""
        differ = [name for name in _SAME if last.get(name) != self.identity[name]]
        begun_from = [(one["name"], one["which"]) for one in last.get("parents", [])[-1:]]
        if begun_from != ([] if parent is None else [(parent.name, parent.which)]):
            differ.append("parent")
        if differ:
            held = {name: last.get(name, begun_from) for name in differ}
            given = {name: self.identity.get(name, parent and (parent.name, parent.which)) for name in differ}
            raise ValueError(
                f"checkpoints must come from the same {', '.join(differ)}; they hold {held}, this is {given}: "
                f"give each training its own checkpoints"
            )

    def _take(self, last: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(last["network"])
        self.optimiser.load(last["optimiser"])
        self.step, self.best_loss, self.history = last["step"], last["best_loss"], copy.deepcopy(last["history"])
        self.began -= self.history["seconds"][-1]

    def _inherit(self, parent: Parent, checkpoints: Checkpoints) -> None:
        """Begin with what another training left."""
        best, state = parent.checkpoints.load("best"), parent.checkpoints.load(parent.which)
        if best is None or state is None:
            raise ValueError(f"parent must hold a 'best' and a 'last' state; {parent.name} does not: train it first")
        if state["model"] != self.identity["model"]:
            raise ValueError(
                f"parent must be of the same model; {parent.name} is {state['model']}, this is {self.identity['model']}"
            )
        ancestor = Ancestor(name=parent.name, recipe=state["recipe"], step=state["step"], which=parent.which)
        self.parents = [*state["parents"], asdict(ancestor)]
        if parent.which == "best":
            self.network.load_state_dict(state["network"])
            return
        for name, theirs, ours in (
            ("data", state["data"], self.identity["data"]),
            ("class_weights", state["train"]["class_weights"], self.settings.class_weights),
        ):
            if theirs != ours:
                raise ValueError(
                    f"parent must have the same {name} to go on from its last state; {parent.name} has {theirs}, this "
                    f"is {ours}: begin from its best"
                )
        if state["step"] >= self.settings.n_steps:
            raise ValueError(
                f"n_steps counts from the parent's beginning and must be more than the {state['step']} steps that "
                f"{parent.name} has done; got {self.settings.n_steps}"
            )
        self._take(state)
        checkpoints.save("best", self._state(best["network"], step=best["step"]))
        self._save_last(checkpoints, state["network"])

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or an evaluation has found the loss low enough or long without a fall."""
        losses, settings = self.history["validation_loss"], self.settings
        if self.step == settings.n_steps or not losses:
            return self.step == settings.n_steps
        waited = len(losses) - 1 - losses.index(min(losses))
        return losses[-1] < settings.enough or 0 < settings.patience <= waited

    @property
    def batch(self) -> Integer[np.ndarray, " a"]:
        """Which configurations the next step uses; an epoch drops what does not fill a batch."""
        n = len(self.target)
        n_batches = max(1, n // self.settings.batch_size)
        epoch, place = divmod(self.step, n_batches)
        order = np.random.default_rng([self.seed, epoch]).permutation(n)
        return order[place * self.settings.batch_size :][: self.settings.batch_size]

    @property
    def learning_rate(self) -> float:
        """What the next step takes."""
        accuracy = self.history["validation_accuracy"][-1] if self.history["validation_accuracy"] else None
        settings = self.settings
        return settings.learning_rate * settings.schedule.value(self.step, settings.n_steps, accuracy)

    def inputs(self, batch: Integer[np.ndarray, " a"]) -> tuple[Tensor, ...]:
        """Return what the network is shown at this step."""
        if self.kept is not None:
            return tuple(tensor[batch] for tensor in self.kept)
        positions, box = self.data.positions[batch], self.data.box
        if self.settings.augment and not self.model.invariant:
            positions = random_symmetry(positions, box, rng=np.random.default_rng([self.seed, 1, self.step]))
        return tuple(tensor.to(self.device) for tensor in self.model.inputs(positions, self.data.species, box))

    def cross_entropy(self, logit: Float32[Tensor, " b"], target: Float32[Tensor, " b"]) -> Float32[Tensor, ""]:
        """Return the loss without its L2 part."""
        weight = None if self.class_weight is None else self.class_weight[target.long()]
        return binary_cross_entropy_with_logits(logit, target, weight=weight)

    def reseed(self) -> None:
        """Let what the network draws in this step, as for dropout, depend on the seed and the step alone."""
        (seed,) = np.random.SeedSequence([self.seed, 3, self.step]).generate_state(1, np.uint64)
        torch.default_generator.manual_seed(int(seed))  # torch.manual_seed asks for every device: 100 times as long
        if self.device.type == "cuda":
            torch.cuda.manual_seed(int(seed))

    def advance(self) -> None:
        """Take one step of the optimiser."""
        batch, self.rate = self.batch, self.learning_rate
        target = self.target[batch]
        inputs = self.inputs(batch)
        self.reseed()
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            logit = self.network(*inputs)
        loss = self.cross_entropy(logit.float(), target)
        total, penalty = loss, 0.0
        if self.settings.l2:
            l2_part = self.settings.l2 / 2 * torch.stack([weight.square().sum() for weight in self.matrices]).sum()
            total, penalty = loss + l2_part, l2_part.item()
        if not math.isfinite(loss.item() + penalty):
            raise FloatingPointError(
                f"loss must be finite; it is {loss.item() + penalty} at step {self.step + 1}: "
                f"lower learning_rate (now {self.settings.learning_rate}) or warm up for longer, and start anew"
            )
        self.network.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step(self.rate)
        self.step += 1
        self.recent.append((len(batch), loss.item(), penalty, int(((logit > 0) == (target > 0)).sum())))

    def settle(self) -> None:
        """Replace the running averages of batch normalisation by those of the present weights.

        Averages that trail the weights shift every logit of a weak signal: the order of the scores stays good while
        half of the labels are wrong.

        References:
            Wu & Johnson, 2021, arXiv:2105.07576, section 3
        """
        norms = [part for part in self.network.modules() if isinstance(part, _BatchNorm)]
        if not norms:
            return
        self.network.eval()  # nothing is dropped while the averages are taken, as when scoring
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over the batches that follow
        n_shown = min(len(self.target), _N_SETTLE)
        chosen = np.random.default_rng([self.seed, 2, self.step]).permutation(len(self.target))[:n_shown]
        with torch.no_grad():
            for batch in np.array_split(chosen, math.ceil(n_shown / _CHUNK)):
                self.network(*self.inputs(batch))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def evaluate(self) -> None:
        """Settle the running averages, then add a line to the history."""
        self.settle()
        logit = torch.from_numpy(_scores(self.network, self.model, self.validation_data)).to(self.device)
        target = torch.from_numpy(self.validation_data.label.astype(np.float32)).to(self.device)
        n_seen, loss, penalty, n_right = np.array(self.recent).T
        n_batches = max(1, len(self.target) // self.settings.batch_size)
        line = (
            self.step,
            self.step / n_batches,
            sum(self.history["samples"][-1:]) + int(n_seen.sum()),
            float(np.average(loss, weights=n_seen)),
            float(n_right.sum() / n_seen.sum()),
            self.cross_entropy(logit, target).item(),
            float(((logit > 0) == (target > 0)).float().mean()),
            self.rate,
            float(np.average(penalty, weights=n_seen)),
            time.perf_counter() - self.began,
        )
        for column, value in zip(COLUMNS, line, strict=True):
            self.history[column].append(value)
        self.recent.clear()

    def save(self, checkpoints: Checkpoints) -> None:
        """Save the state, first as the best if it is, so that a kill in between only repeats this evaluation."""
        network = _copied(self.network.state_dict())
        loss = self.history["validation_loss"][-1]
        if loss < self.best_loss or math.isinf(self.best_loss):
            self.best_loss = loss
            checkpoints.save("best", self._state(network, step=self.step))
        self._save_last(checkpoints, network)

    def _save_last(self, checkpoints: Checkpoints, network: dict[str, Tensor]) -> None:
        more = {
            "optimiser": {name: _copied(moments) for name, moments in self.optimiser.state.items()},
            "best_loss": self.best_loss,
            "history": copy.deepcopy(self.history),
        }
        checkpoints.save("last", self._state(network, step=self.step) | more)

    def _state(self, network: dict[str, Tensor], *, step: int) -> dict[str, Any]:
        """Return what both states hold: weights, and where they come from."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        known = {"recipe": digest, "labels": LABELS, "parents": copy.deepcopy(self.parents)}
        return {"network": network, "step": step, **known, **copy.deepcopy(self.identity)}


def _settings_of(model: Model) -> dict[str, Any]:
    return dict(json.loads(model.model_dump_json()))


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy in main memory, so that a checkpoint fits any machine."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _class_weight(data: Labelled, settings: Train) -> Float32[Tensor, " 2"] | None:
    """Return the weight of the losses of liquid and glass, 1 on average over the data, or None for 1 each."""
    if settings.class_weights == "none":
        return None
    share = np.bincount(data.label, minlength=2) / len(data.label)
    if not share.all():
        raise ValueError(f"train_data must hold both classes for balanced class_weights; {share[1]:.0%} is glass")
    return torch.from_numpy((0.5 / share).astype(np.float32)).to(settings.device)


def _kept_inputs(model: Model, data: Labelled, settings: Train) -> tuple[Tensor, ...] | None:
    """Return the inputs of all configurations if they are the same at every step and not too large, else None."""
    if settings.augment and not model.invariant:
        return None
    one = model.inputs(data.positions[:1], data.species, data.box)
    if sum(tensor.nbytes for tensor in one) * len(data.label) > _CACHE_BYTES:
        return None
    inputs = model.inputs(data.positions, data.species, data.box)
    return tuple(tensor.to(settings.device) for tensor in inputs)


@contextmanager
def _machine(settings: Train) -> Iterator[None]:
    """Hold the device, the threads and the random state of PyTorch as the settings ask, and give them back."""
    on_card = settings.device == "cuda"
    if on_card and not torch.cuda.is_available():
        raise ValueError('device must be "cpu" where PyTorch finds no CUDA card; got "cuda"')
    with (
        _threads(settings.n_threads),
        torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_card else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and give back as many as it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
