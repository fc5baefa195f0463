r"""Planted cooling curves with and without a glass transition: how often ``vitrify tg`` finds one, and how wide it is.

Every ensemble has 64 runs of 200 records from T = 1.99 to 0.05, with the scatter of the quick start: the standard
deviation over its runs and the correlation of neighbouring records, which is nearly 1 in the glass, where a run keeps
what it froze in. Each is judged twice: from its runs, and from their mean curve alone, as a text file has it.
"""

__all__ = ["FEATURELESS", "PLANTED", "Planted", "Score", "T", "ensemble", "judge", "main", "reached", "table"]

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.polynomial import Polynomial
from rich.console import Console
from rich.table import Table

from vitrify.branches import WIDTH_LIMIT, SmoothFit, smooth_fit
from vitrify.forms import TEN_TO_NINETY, rounded
from vitrify.transition import resampled

T = np.linspace(0.05, 1.99, 200)
_N_RUNS, _N_DRAWS = 64, 100
_MOST, _LEAST = 0.05, 0.9

# of the quick start's inherent-structure energies: temperatures, standard deviation, correlation with the next record
_SCATTER = ((0.05, 0.5, 1.1, 2.0), (0.0095, 0.0096, 0.0155, 0.019))
_MEMORY = ((0.1, 0.35, 0.5, 0.8, 1.1, 1.4), (0.9995, 0.97, 0.85, 0.6, 0.27, 0.08))


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A mean curve and what is true of it.

    Args:
        curve: Energy of each record.
        Tg: Where its branches meet; None of a curve of one branch.
        width: From 10% to 90% of the change of slope.
        must: Whether a transition must be found (True), must not (False), or may be (None).
    """

    curve: Float[np.ndarray, " t"]
    Tg: float | None
    width: float | None
    must: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What ensembles of one planted curve gave.

    Args:
        found: Part of them in which a transition is found.
        width: Mean width.
        width_high: Mean of the upper end of its interval.
        covers_Tg: Part of the intervals that hold Tg.
        covers_width: Part of the intervals that hold the width.
    """

    found: float
    width: float
    width_high: float
    covers_Tg: float
    covers_width: float


def ensemble(rng: np.random.Generator, curve: Float[np.ndarray, " t"], *, n_runs: int = _N_RUNS) -> np.ndarray:
    """Return runs around a mean curve, a row each: cooled from above, the colder the more each keeps of itself.

    Args:
        rng: Draws the runs.
        curve: Energy of each record, from cold to hot.
        n_runs: Number of runs.
    """
    keep = np.interp(T, *_MEMORY)
    fresh = np.sqrt(1 - keep**2) * rng.normal(size=(n_runs, len(T)))
    scatter = np.empty_like(fresh)
    scatter[:, -1] = rng.normal(size=n_runs)
    for k in range(len(T) - 2, -1, -1):
        scatter[:, k] = keep[k] * scatter[:, k + 1] + fresh[:, k]
    return np.asarray(curve + np.interp(T, *_SCATTER) * scatter)


def judge(name: str, *, n_ensembles: int, seed: int) -> tuple[Score, Score]:
    """Return what ensembles of a planted curve give from their runs, and from their mean curves.

    Args:
        name: One of `PLANTED`.
        n_ensembles: Their number.
        seed: Of all.
    """
    of_runs, of_mean = [], []
    for place in range(n_ensembles):
        rng = np.random.default_rng([seed, list(PLANTED).index(name), place])
        energies = ensemble(rng, PLANTED[name].curve)
        mean, draws = energies.mean(axis=0), resampled(energies, rng=rng, n_bootstrap=_N_DRAWS)
        of_runs.append(smooth_fit(T, mean, draws, n_runs=_N_RUNS, n_planted=0))
        of_mean.append(smooth_fit(T, mean, rng, n_planted=0))
    return _score(PLANTED[name], of_runs), _score(PLANTED[name], of_mean)


def _score(planted: Planted, fits: Sequence[SmoothFit]) -> Score:
    Tg = np.nan if planted.Tg is None else planted.Tg
    width = np.nan if planted.width is None else planted.width
    return Score(
        found=float(np.mean([fit.found is True for fit in fits])),
        width=float(np.mean([fit.width for fit in fits])),
        width_high=float(np.mean([fit.width_high for fit in fits])),
        covers_Tg=float(np.mean([fit.low <= Tg <= fit.high for fit in fits])),
        covers_width=float(np.mean([fit.width_low <= width <= fit.width_high for fit in fits])),
    )


def table(scores: Mapping[str, tuple[Score, Score]]) -> Table:
    """Return the scores as a table: found from the runs, the width, coverage; found from the mean curve.

    Args:
        scores: By planted curve.
    """
    shown = Table(
        "planted", "must", "found", "width", "up to", "holds Tg", "holds width", "found, mean curve", box=None
    )
    for name, (runs, mean) in scores.items():
        planted = PLANTED[name]
        must = {True: f">= {_LEAST:.2f}", False: f"<= {_MOST:.2f}", None: ""}[planted.must]
        covers = "" if planted.Tg is None else f"{runs.covers_Tg:.2f}"
        holds = "" if planted.width is None else f"{runs.covers_width:.2f}"
        numbers = (f"{each:.2f}" for each in (runs.found, runs.width, runs.width_high))
        shown.add_row(name, must, *numbers, covers, holds, f"{mean.found:.2f}")
    return shown


def reached(name: str, score: Score) -> bool:
    """Return whether what must be of a planted curve is so."""
    must = PLANTED[name].must
    return must is None or (score.found >= _LEAST if must else score.found <= _MOST)


def main(words: Sequence[str]) -> int:
    """Print the table; return 1 if a curve is found too often or too seldom.

    Args:
        words: Of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m validation transition", description=__doc__)
    parser.add_argument("--ensembles", type=int, default=100, help="ensembles of each curve")
    parser.add_argument("--seed", type=int, default=1, help="seed of all of them")
    given = parser.parse_args(words)
    console, scores = Console(width=120), {}
    for name in PLANTED:
        Console(stderr=True).print(f"planting: {name}", highlight=False)
        scores[name] = judge(name, n_ensembles=given.ensembles, seed=given.seed)
    console.print(table(scores), highlight=False)
    console.print(
        f"{given.ensembles} ensembles of {_N_RUNS} runs each, seed {given.seed}, limit of the width {WIDTH_LIMIT:g}",
        highlight=False,
    )
    return 0 if all(reached(name, score) for name, both in scores.items() for score in both) else 1


def _crossover(width: float, *, rise: float = 0.07, Tg: float = 0.4) -> Planted:
    """Return a slope of 0.01 that rises around Tg as a logistic function of T; a kink without width."""
    above = rounded(T, Tg, width / TEN_TO_NINETY) if width else np.maximum(T - Tg, 0.0)
    return Planted(curve=-3.9 + 0.01 * T + rise * above, Tg=Tg, width=width, must=None)


def _featureless(curve: Float[np.ndarray, " t"]) -> Planted:
    return Planted(curve=curve, Tg=None, width=None, must=False)


_U = 0.435 + rounded(T, 0.435, 0.286 / TEN_TO_NINETY)
_LOG = -3.74941 - 0.00165 * T + 0.01101 * _U - 0.06889 / _U  # the fit of the published curve of 10,000 runs
_WIDE, _SHARP = _crossover(1.0), _crossover(0.0)

PLANTED: Mapping[str, Planted] = {
    "parabola": _featureless(-3.9 + 0.01 * T + 0.03 * T**2),
    "1/T": _featureless(-3.7 - 0.03 / (T + 0.25)),
    "line": _featureless(-3.9 + 0.06 * T),
    "hyperbola": _featureless(-3.9 + 0.045 * T + 0.035 * np.sqrt((T - 0.4) ** 2 + 0.4**2)),
    "crossover, 1.0 wide": Planted(curve=_WIDE.curve, Tg=_WIDE.Tg, width=_WIDE.width, must=False),
    "crossover, 0.7 wide": _crossover(0.7),
    "a quintic like the log": Planted(curve=Polynomial.fit(T, _LOG, 5)(T), Tg=None, width=None, must=None),
    "kink of 0.03": _crossover(0.0, rise=0.03),
    "kink of 0.07": Planted(curve=_SHARP.curve, Tg=_SHARP.Tg, width=_SHARP.width, must=True),
    "kink of the log's size": Planted(
        curve=-3.9 + np.where(T < 0.4, 0.006, 0.19 / (0.6 + T)) * (T - 0.4), Tg=0.4, width=0.0, must=True
    ),
    "the log's own curve": Planted(curve=_LOG, Tg=0.435, width=0.286, must=True),
}
"""By name."""

FEATURELESS = tuple(name for name, planted in PLANTED.items() if planted.must is False)
"""Those in which no transition may be found."""
