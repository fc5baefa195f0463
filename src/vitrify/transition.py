r"""Where the glass transition lies on a cooling curve, and how the curve compares with published numbers.

The inherent-structure energy falls with temperature along one slope in the liquid and along another, smaller one in
the glass. Two straight lines are laid through the two branches, and they meet at

.. math:: T_g = \frac{a_l - a_g}{b_g - b_l}, \qquad e_g = a_g + b_g T, \quad e_l = a_l + b_l T

The answer depends on which records the lines are laid through, so it is computed for every convention of the table
below and their spread is reported beside the bootstrap error. Any smoothly bending curve gives an intersection too:
whether there is a transition is asked of the whole curve (`vitrify.branches`), and without one no convention finds any.

Temperatures are in epsilon_AA / k_B, energies in epsilon_AA per particle.
"""

__all__ = [
    "CONVENTIONS",
    "NO_CROSSING",
    "REFERENCE",
    "Convention",
    "Curve",
    "Difference",
    "TgEstimate",
    "compare",
    "covers",
    "mean_curve",
    "resampled",
    "tg",
    "tg_between",
    "two_lines",
]

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

NO_CROSSING = "no crossing supported"
_LEVEL = 0.95
_ROUNDING = 1e-9  # a record at T = 0.44 computed from a ramp is at 0.44 +- 1e-16


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """Which records the two lines are laid through.

    Args:
        glass: Lowest and highest temperature of the glass line.
        liquid: Lowest and highest temperature of the liquid line.
        how: ``least squares`` over all records of each window; ``four points``, the records nearest the four
            temperatures; or ``broken line``, one continuous line over both windows whose kink is fitted.
        source: Who used it.
    """

    glass: tuple[float, float]
    liquid: tuple[float, float]
    how: Literal["least squares", "four points", "broken line"]
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TgEstimate:
    """Glass transition temperature by one convention, with its 95% interval from resampling the runs.

    All three temperatures are held inside the measured range; where no crossing is supported they mean nothing
    more than that the lines meet somewhere, and ``verdict`` says so. ``found`` is whether there is a transition, which
    only the whole curve tells (`vitrify.locate.of_runs`); None where it is not known, as of four points.
    """

    method: str
    convention: str
    T: float
    low: float
    high: float
    verdict: str
    found: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Published or measured energies against temperature, with where they come from."""

    T: tuple[float, ...]
    energy: tuple[float, ...]
    source: str
    standard_error: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Energy of a cooling curve minus that of a reference line, record by record, in epsilon_AA per particle."""

    T: tuple[float, ...]
    value: tuple[float, ...]
    mean: float
    max_abs: float
    max_standard_errors: float


def mean_curve(
    energies: Float[np.ndarray, "r t"],
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Return the mean over runs and its standard error, record by record.

    Args:
        energies: Energy per particle of each record of each run.

    Raises:
        ValueError: There are fewer than two runs, so that no error can be given.

    Example:
        >>> mean, se = mean_curve(np.array([[1.0, 2.0], [3.0, 2.0]]))
        >>> mean.tolist(), se.tolist()
        ([2.0, 2.0], [1.0, 0.0])
    """
    if len(energies) < 2:
        raise ValueError(f"energies must hold at least 2 runs to have a standard error; got {len(energies)}")
    return energies.mean(axis=0), energies.std(axis=0, ddof=1) / np.sqrt(len(energies))


def covers(T: Float[np.ndarray, " t"], convention: Convention) -> bool:
    """Return whether a ramp has the records a convention needs: both windows inside it, two records in each.

    Args:
        T: Temperature of each record.
        convention: Which records the lines are laid through.
    """
    if T.min() > convention.glass[0] + 0.1 or T.max() < convention.liquid[1]:
        return False
    if convention.how == "four points":
        nearest = [
            {int(np.abs(T - end).argmin()) for end in window} for window in (convention.glass, convention.liquid)
        ]
        return len(nearest[0]) == len(nearest[1]) == 2 and not nearest[0] & nearest[1]
    inside = [(low - _ROUNDING <= T) & (high + _ROUNDING >= T) for low, high in (convention.glass, convention.liquid)]
    return min(int(window.sum()) for window in inside) >= 2


def two_lines(T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], convention: Convention) -> float:
    """Return the temperature at which the glass line and the liquid line meet; infinite for parallel lines.

    Args:
        T: Temperature of each record.
        energy: Energy per particle of each record, any cut-off convention: a constant does not matter.
        convention: Which records the lines are laid through.

    Raises:
        ValueError: A window holds fewer than two records.

    Example:
        >>> T = np.linspace(0.05, 1.0, 96)
        >>> energy = np.where(T < 0.4, 0.02 * T, 0.02 * 0.4 + 0.1 * (T - 0.4))
        >>> convention = Convention(glass=(0.05, 0.25), liquid=(0.5, 0.8), how="least squares", source="")
        >>> round(two_lines(T, energy, convention), 6)
        0.4
    """
    return float(_fit(T, energy[None], convention).T[0])


def tg(
    T: Float[np.ndarray, " t"],
    energies: Float[np.ndarray, "r t"],
    convention: Convention,
    *,
    name: str,
    rng: np.random.Generator,
    n_bootstrap: int = 1000,
) -> TgEstimate:
    """Return the glass transition temperature of an ensemble, with a 95% interval and a verdict.

    A crossing is supported when the liquid line is significantly the steeper one and the lines meet between the
    windows (for a broken line: inside the range, away from its ends).

    Args:
        T: Temperature of each record.
        energies: Energy per particle of each record of each run.
        convention: Which records the lines are laid through.
        name: The convention's name, copied into the result.
        rng: Draws the runs.
        n_bootstrap: Number of resamples of the runs.

    Raises:
        ValueError: A window holds fewer than two records, or there are fewer than two runs.
    """
    mean, _ = mean_curve(energies)
    return tg_between(T, mean, resampled(energies, rng=rng, n_bootstrap=n_bootstrap), convention, name=name)


def resampled(
    energies: Float[np.ndarray, "r t"], *, rng: np.random.Generator, n_bootstrap: int = 1000
) -> Float[np.ndarray, "s t"]:
    """Return the mean curves of runs drawn with replacement, one row a draw.

    Args:
        energies: Energy per particle of each record of each run.
        rng: Draws the runs.
        n_bootstrap: Number of draws.
    """
    n_runs = len(energies)
    weights = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n_bootstrap) / n_runs
    return np.asarray(weights @ energies)


def tg_between(
    T: Float[np.ndarray, " t"],
    mean: Float[np.ndarray, " t"],
    draws: Float[np.ndarray, "s t"],
    convention: Convention,
    *,
    name: str,
) -> TgEstimate:
    """Return the glass transition temperature of a mean curve whose scatter is known from draws of it.

    Args:
        T: Temperature of each record.
        mean: Energy per particle of each record.
        draws: The same curve as other runs might have given it, as `resampled` returns them.
        convention: Which records the lines are laid through.
        name: The convention's name, copied into the result.

    Raises:
        ValueError: A window holds fewer than two records.
    """
    fit = _fit(T, np.concatenate([mean[None], draws]), convention)
    crossing = np.clip(np.nan_to_num(fit.T, nan=T.max()), T.min(), T.max())
    tails = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
    low, high = np.quantile(crossing[1:], tails)
    return TgEstimate(
        method="broken line" if convention.how == "broken line" else "two lines",
        convention=name,
        T=float(crossing[0]),
        low=min(float(low), float(crossing[0])),
        high=max(float(high), float(crossing[0])),
        verdict=_verdict(
            float(fit.T[0]),
            bend=np.quantile(fit.bend[1:], tails),
            beats_parabola=None if fit.beats_parabola is None else float(fit.beats_parabola[1:].mean()),
            inside=fit.inside,
        ),
    )


def compare(
    T: Float[np.ndarray, " t"],
    e_is_unshifted: Float[np.ndarray, " t"],
    standard_error: Float[np.ndarray, " t"],
    line: Curve,
    *,
    T_min: float = 0.8,
) -> Difference:
    """Return the mean cooling curve minus a reference line, where neither depends on the cooling rate.

    Args:
        T: Temperature of each record.
        e_is_unshifted: Mean inherent-structure energy per particle, plain truncation.
        standard_error: Of each mean.
        line: One of ``REFERENCE``.
        T_min: Lowest temperature compared.

    Returns:
        Differences at the records inside the tabulated range, the line being interpolated linearly in T.

    Raises:
        ValueError: No record lies in the compared range.
    """
    line_T, line_energy = np.array(line.T)[::-1], np.array(line.energy)[::-1]
    T_max = line_T[-1]
    compared = (max(T_min, line_T[0]) - _ROUNDING <= T) & (T_max + _ROUNDING >= T)
    if not compared.any():
        raise ValueError(f"T must have a record from {T_min} to {T_max}; got {T.min():.3f} to {T.max():.3f}")
    value = e_is_unshifted[compared] - np.interp(T[compared], line_T, line_energy)
    return Difference(
        T=tuple(T[compared].tolist()),
        value=tuple(value.tolist()),
        mean=float(value.mean()),
        max_abs=float(np.abs(value).max()),
        max_standard_errors=float((np.abs(value) / np.hypot(standard_error[compared], line.standard_error)).max()),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """Two lines through each of ``s`` curves: ``bend`` is the slopes' difference, ``inside`` where they may cross."""

    T: Float[np.ndarray, " s"]
    bend: Float[np.ndarray, " s"]
    beats_parabola: Bool[np.ndarray, " s"] | None  # two lines through four points leave nothing to compare
    inside: tuple[float, float]


def _fit(T: Float[np.ndarray, " t"], energy: Float[np.ndarray, "s t"], convention: Convention) -> _Fit:
    if convention.how == "broken line":
        return _fit_broken_line(T, energy, convention)
    glass, liquid = (_records(T, window, how=convention.how) for window in (convention.glass, convention.liquid))
    used = np.concatenate([glass, liquid])
    is_glass = np.repeat([1.0, 0.0], [len(glass), len(liquid)])
    lines = np.stack([is_glass, 1 - is_glass, is_glass * T[used], (1 - is_glass) * T[used]], axis=1)
    coefficients, residual = _least_squares(lines, energy[:, used])
    bend = coefficients[:, 3] - coefficients[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = (coefficients[:, 0] - coefficients[:, 1]) / bend
    return _Fit(
        T=crossing,
        bend=bend,
        beats_parabola=residual < _parabola_residual(T[used], energy[:, used]) if len(used) > 4 else None,
        inside=(float(T[glass].max()), float(T[liquid].min())),
    )


def _fit_broken_line(T: Float[np.ndarray, " t"], energy: Float[np.ndarray, "s t"], convention: Convention) -> _Fit:
    """Return the best of a fine grid of kinks between the windows."""
    used = _records(T, (convention.glass[0], convention.liquid[1]), how="least squares")
    kinks = np.linspace(convention.glass[1], convention.liquid[0], 201)
    t, centred = T[used], energy[:, used] - energy[:, used].mean(axis=1, keepdims=True)
    hinge = np.maximum(t - kinks[:, None], 0.0)
    q, r = np.linalg.qr(np.stack([np.ones_like(hinge), np.broadcast_to(t, hinge.shape), hinge], axis=2))
    projected = centred @ q
    residual = (centred**2).sum(axis=1) - (projected**2).sum(axis=2)
    best = residual.argmin(axis=0)
    return _Fit(
        T=kinks[best],
        bend=projected[best, np.arange(len(best)), 2] / r[best, 2, 2],  # r is triangular, the hinge its last row
        beats_parabola=residual.min(axis=0) < _parabola_residual(t, energy[:, used]),
        inside=(float(kinks[1]), float(kinks[-2])),
    )


def _records(T: Float[np.ndarray, " t"], window: tuple[float, float], *, how: str) -> np.ndarray:
    if how == "four points":
        records = np.unique([np.abs(T - end).argmin() for end in window])
    else:
        records = np.flatnonzero((window[0] - _ROUNDING <= T) & (window[1] + _ROUNDING >= T))
    if len(records) < 2:
        raise ValueError(
            f"T must have at least 2 records from {window[0]} to {window[1]}; of {len(T)} records from "
            f"{T.min():.3f} to {T.max():.3f} it has {len(records)}: keep more frames"
        )
    return records


def _least_squares(
    basis: Float[np.ndarray, "t p"], energy: Float[np.ndarray, "s t"]
) -> tuple[Float[np.ndarray, "s p"], Float[np.ndarray, " s"]]:
    centred = energy - energy.mean(axis=1, keepdims=True)  # residuals of 1e-6 on energies of -4 need it
    q, r = np.linalg.qr(basis)
    projected = centred @ q
    residual = (centred**2).sum(axis=1) - (projected**2).sum(axis=1)
    return np.linalg.solve(r, projected.T).T, residual


def _parabola_residual(T: Float[np.ndarray, " t"], energy: Float[np.ndarray, "s t"]) -> Float[np.ndarray, " s"]:
    return _least_squares(np.stack([T**0, T, T**2], axis=1), energy)[1]


def _verdict(
    T: float, *, bend: Float[np.ndarray, "2"], beats_parabola: float | None, inside: tuple[float, float]
) -> str:
    if bend[0] <= 0:
        return (
            f"{NO_CROSSING}: the liquid's slope does not exceed the glass's significantly "
            f"(difference {bend[0]:.3f} to {bend[1]:.3f})"
        )
    if not inside[0] <= T <= inside[1]:
        return f"{NO_CROSSING}: the lines meet at T = {T:.3f}, outside {inside[0]:.3f} to {inside[1]:.3f}"
    if beats_parabola is None:
        return f"the lines meet at T = {T:.3f}; four points cannot tell a kink from a smooth bend"
    if beats_parabola < _LEVEL:
        return (
            f"the lines meet at T = {T:.3f}, but they beat one parabola through the same records in only "
            f"{beats_parabola:.0%} of the resamples: a smooth crossover is not excluded"
        )
    return f"the lines meet at T = {T:.3f} and beat one parabola in {beats_parabola:.0%} of the resamples"


# [repo] is github.com/ks8/machine-learning-glasses; [measured] is by this project, before vitrify existed.
REFERENCE = {
    "true_minima": Curve(
        T=(1.951, 1.756, 1.561, 1.415, 1.220, 1.025, 0.830, 0.635, 0.440, 0.333, 0.050),
        energy=(-3.7737, -3.7777, -3.7880, -3.7911, -3.7994, -3.8112, -3.8262, -3.8452, -3.8665, -3.8719, -3.8752),
        source="true minima, N = 400, 100 runs, t_cool = 4e5, standard error 0.0018, unshifted [measured]",
        standard_error=0.0018,
    ),
    "published": Curve(
        T=(1.99025, 1.95125, 1.75625, 1.56125, 1.415, 1.22, 1.025, 0.83, 0.635, 0.48875, 0.44, 0.33275, 0.21575, 0.05),
        energy=(
            *(-3.765125, -3.766613, -3.772290, -3.778839, -3.784761, -3.794379, -3.806962),
            *(-3.824843, -3.851438, -3.878764, -3.887630, -3.899239, -3.902349, -3.903306),
        ),
        source="published mean, stalled minimisations, N = 4320, 10,000 runs, t_cool = 2e7, unshifted [repo]",
    ),
}
"""Curves to draw beside ours: the line of true minima, and the published one, which lies above it."""

FINAL_ENERGIES = {200_000: -3.867438, 2_000_000: -3.888288, 20_000_000: -3.903306, 200_000_000: -3.914331}
"""Published mean unshifted inherent-structure energy at T = 0.05 by number of cooling steps, N = 4320 [repo]."""

_LOG = "the source log"
_REPO = "github.com/ks8/machine-learning-glasses"
_OURS = "ours: windows wide enough for a curve of 64 small, fast-cooled runs"

CONVENTIONS = {
    "four points 0.05, 0.245 | 0.44, 0.557": Convention(
        glass=(0.05, 0.245), liquid=(0.44, 0.557), how="four points", source=_LOG
    ),
    "four points 0.05, 0.2 | 0.5, 0.8": Convention(
        glass=(0.05, 0.2), liquid=(0.5, 0.8), how="four points", source=_REPO
    ),
    "least squares 0.05-0.25 | 0.44-0.56": Convention(
        glass=(0.05, 0.25), liquid=(0.44, 0.56), how="least squares", source=_LOG
    ),
    "least squares 0.05-0.25 | 0.5-0.8": Convention(
        glass=(0.05, 0.25), liquid=(0.5, 0.8), how="least squares", source=_REPO
    ),
    "least squares 0.05-0.25 | 0.6-1.2": Convention(
        glass=(0.05, 0.25), liquid=(0.6, 1.2), how="least squares", source=_OURS
    ),
    "broken line 0.05-0.6": Convention(glass=(0.05, 0.15), liquid=(0.5, 0.6), how="broken line", source=_OURS),
    "broken line 0.05-0.8": Convention(glass=(0.05, 0.15), liquid=(0.7, 0.8), how="broken line", source=_OURS),
    "broken line 0.05-1.0": Convention(glass=(0.05, 0.15), liquid=(0.9, 1.0), how="broken line", source=_OURS),
}
