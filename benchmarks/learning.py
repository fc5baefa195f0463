"""Pictures, graphs, training steps and scores per second of one core, each beside a peer on the same configurations.

All programs take turns, and each ratio is of neighbouring turns, in processor time. ``python -m benchmarks learning``
takes these rows alone. A training step of ours is all that `learn.train` does between two steps: pictures are moved and
drawn anew, graphs and descriptors are kept. Scoring is `learn.predict`, from positions to logits. The peers' networks
are handed finished pictures and graphs. Those of the log have one size: their speed does not depend on N.
"""

__all__ = ["COARSE", "measure"]

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import freud
import numpy as np
import torch
from jaxtyping import Float32, Float64
from scipy.spatial import cKDTree

from benchmarks import peers
from benchmarks.engine import Row, row
from vitrify import dynamics
from vitrify.dataset import Labelled
from vitrify.learn import Train, Trained, predict, recipe, train
from vitrify.models import CNN, MODELS, MPNN, Model, Swanson2018
from vitrify.potentials import MIXTURES
from vitrify.system import Configuration, stream
from vitrify.views import Graph, Image, log_picture

_TURNS = 5
_TURN_S = 0.3
_STEP_PARTICLES = 100_000  # a turn of training takes as many steps as show this many particles, and at least two
_LOG = "swanson2018 in eager PyTorch"

COARSE = "cnn at 4 px/sigma"
"""Resolution enough for thermal pictures, and about that of the log's; inherent structures need the default of 8."""

Program = Callable[[], float]  # works for a turn, and returns how many things a second


def measure() -> list[Row]:
    """Return one row per measurement: the median values and the median ratio."""
    with _one_thread():
        rows = drawing(pixels=(64, 128, 250)) + neighbours(sizes=(400, 1000, 4320))
        rows += networks(sizes=(400, 4320), batch_size=50)
        rows += networks(sizes=(400, 4320), batch_size=10, names=(COARSE,))
        return rows + messages(sizes=(400, 1000, 4320), batch_size=16)


def drawing(*, pixels: tuple[int, ...], n_log: int = 4320) -> list[Row]:
    """Return pictures per second beside matplotlib: discs at several sizes, and the log's picture."""
    data, rows = _ensemble(400, n_frames=16), []
    for size in pixels:
        view = Image(pixels_per_sigma=size / float(data.box[0]))
        ours = partial(view, data.positions, data.species, data.box)
        discs = partial(peers.draw_discs, species=data.species, box=data.box, radius=view.radius, pixels=size)
        programs = {"": _rate(ours, 16), "matplotlib": _rate(partial(_each, discs, data.positions), 16)}
        rows += _beside(f"drawing N = 400, {size} x {size}", "pictures/s", programs)
    data = _ensemble(n_log, n_frames=8)
    configurations = [
        Configuration(positions=one.astype(float), species=data.species, box=data.box) for one in data.positions
    ]
    dots = partial(peers.draw_dots, species=data.species, box=data.box)
    programs = {
        "": _rate(partial(_each, log_picture, configurations), 8),
        "matplotlib": _rate(partial(_each, dots, data.positions), 8),
    }
    return rows + _beside(f"drawing N = {n_log} as the log did", "pictures/s", programs)


def neighbours(*, sizes: tuple[int, ...]) -> list[Row]:
    """Return periodic graphs of nearest neighbours per second, beside scipy's tree and freud."""
    view, rows = Graph(), []
    for n in sizes:
        data = _ensemble(n, n_frames=8)
        found = {"box": data.box, "k": view.n_neighbours}
        programs = {
            "": _rate(partial(view, data.positions, data.species, data.box), 8),
            "scipy cKDTree": _rate(partial(_each, partial(_tree, **found), data.positions), 8),
            "freud AABBQuery": _rate(partial(_each, partial(_aabb, **found), data.positions), 8),
        }
        rows += _beside(f"{view.n_neighbours} nearest neighbours, N = {n}", "graphs/s", programs)
    return rows


def networks(
    *, sizes: tuple[int, ...], batch_size: int, names: tuple[str, ...] = (*MODELS, COARSE), pixels: int = 250
) -> list[Row]:
    """Return configurations per second in training and in scoring, beside the log's network in plain eager PyTorch."""
    models: dict[str, Model] = {kind: model() for kind, model in MODELS.items()}
    models |= {"swanson2018": Swanson2018(pixels=pixels), COARSE: CNN(view=Image(pixels_per_sigma=4))}
    lowest = {name: min(models[name].dimensions) for name in names}
    sets = {(d, n): _ensemble(n, n_frames=batch_size, d=d) for d in {2, *lowest.values()} for n in sizes}
    data = sets[2, max(sizes)]
    pictures, label = (
        Swanson2018(pixels=pixels).inputs(data.positions, data.species, data.box)[0],
        torch.from_numpy(data.label),
    )
    network = peers.Swanson(pixels)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=0.01)
    rows = []
    for task, theirs in (
        ("training", partial(peers.train_step, network, optimiser, pictures, label)),
        ("scoring", partial(peers.score, network, pictures)),
    ):
        programs = {_LOG: _rate(theirs, batch_size)}
        for name, d in lowest.items():
            for n in sizes if name != "swanson2018" else sizes[:1]:
                programs[f"{name} {task}, N = {n}, batch {batch_size}"] = _ours(task, models[name], sets[d, n])
        rates = _take_turns(programs)
        rows += [row(name, "configurations/s", _LOG, rate, rates[_LOG]) for name, rate in rates.items() if name != _LOG]
    return rows


def messages(*, sizes: tuple[int, ...], batch_size: int) -> list[Row]:
    """Return graphs per second in training and in scoring, beside a network of the same width and rounds in PyG."""
    model, rows = MPNN(), []
    for n in sizes:
        data = _ensemble(n, n_frames=batch_size)
        graphs = peers.graphs(*model.view(data.positions, data.species, data.box), n_distance=model.n_distance)
        network = peers.EdgeMLP(width=model.width, n_rounds=model.n_rounds, n_distance=model.n_distance)
        optimiser, label = torch.optim.AdamW(network.parameters(), lr=1e-3), torch.from_numpy(data.label)
        for task, theirs in (
            ("training", partial(peers.train_step, network, optimiser, graphs, label)),
            ("scoring", partial(peers.score, network, graphs)),
        ):
            programs = {"": _ours(task, model, data), "edge-MLP network in PyG": _rate(theirs, batch_size)}
            rows += _beside(f"mpnn {task}, N = {n}, batch {batch_size}", "graphs/s", programs)
    return rows


def _take_turns(programs: dict[str, Program]) -> dict[str, list[float]]:
    """Return what each program reached at every turn, the first left out: it compiles and fills the caches."""
    turns = [{name: program() for name, program in programs.items()} for _ in range(1 + _TURNS)]
    return {name: [turn[name] for turn in turns[1:]] for name in programs}


def _beside(name: str, unit: str, programs: dict[str, Program]) -> list[Row]:
    """Return a row of our program, which has no name, beside each of the others."""
    rates = _take_turns(programs)
    return [row(name, unit, peer, rates[""], rates[peer]) for peer in rates if peer]


def _rate(work: Callable[[], Any], n: int) -> Program:
    """Return a program that does the work, of ``n`` things, again and again for a turn of processor time."""

    def program() -> float:
        began, n_done, spent = time.process_time(), 0, 0.0
        while not n_done or spent < _TURN_S:
            work()
            n_done += n
            spent = time.process_time() - began
        return n_done / spent

    return program


def _ours(task: Literal["training", "scoring"], model: Model, data: Labelled) -> Program:
    if task == "training":
        return partial(_trained_per_second, model, data)
    trained = Trained(network=model.build(seed=1).eval(), model=model, history={})
    return _rate(partial(predict, trained, data), len(data.label))


def _trained_per_second(model: Model, data: Labelled) -> float:
    """Return the speed of the steps between the first, and the last, which is followed by the evaluation."""
    batch_size, n = data.positions.shape[:2]
    n_steps = 2 + max(2, _STEP_PARTICLES // (n * batch_size))
    settings = recipe(model, Train(n_steps=n_steps, batch_size=batch_size, evaluate_every=n_steps, enough=0.0))
    times: list[float] = []
    tick = lambda done, of: times.append(time.process_time())  # noqa: ARG005
    train(model, data, data.of_runs(np.arange(2)), settings, seed=1, checkpoints=_Memory(), progress=tick)
    return batch_size * (n_steps - 2) / (times[-2] - times[0])


class _Memory:
    """Checkpoints that are kept in memory."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}

    def load(self, which: str) -> dict[str, Any] | None:
        return self.states.get(which)

    def save(self, which: str, state: dict[str, Any]) -> None:
        self.states[which] = state


def _each(work: Callable[[Any], Any], things: Iterable[Any]) -> None:
    for thing in things:
        work(thing)


def _tree(one: Float32[np.ndarray, "n 2"], *, box: Float64[np.ndarray, " 2"], k: int) -> Any:
    return cKDTree(one, boxsize=box).query(one, k=k + 1)


def _aabb(one: Float32[np.ndarray, "n 2"], *, box: Float64[np.ndarray, " 2"], k: int) -> Any:
    points = np.zeros((len(one), 3), np.float32)
    points[:, :2] = one - box / 2
    query = freud.locality.AABBQuery(freud.box.Box(*box, is2D=True), points)
    return query.query(points, {"num_neighbors": k, "exclude_ii": True}).toNeighborList()


def _ensemble(n: int, *, n_frames: int, d: int = 2) -> Labelled:
    """Return configurations of a supercooled liquid, a time unit apart; every second one is called a glass."""
    rng = stream(1, "benchmark", "learning", d, n)
    state = dynamics.start(MIXTURES[f"ka{d}d"], n_particles=n, T=2.0, rng=rng)
    ramp = {"dt": 0.005, "tau": 0.5, "T_to": 0.5, "rng": rng}
    state = dynamics.advance(state, n_steps=4000, T_from=2.0, **ramp)
    frames = []
    for _ in range(n_frames):
        state = dynamics.advance(state, n_steps=200, T_from=0.5, **ramp)
        frames.append(dynamics.configuration(state))
    return Labelled(
        positions=np.array([frame.positions for frame in frames], np.float32),
        species=frames[0].species,
        box=frames[0].box,
        label=np.arange(n_frames) % 2,
        run=np.arange(n_frames),
        e_pot=np.zeros(n_frames),
        e_is=np.zeros(n_frames),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
