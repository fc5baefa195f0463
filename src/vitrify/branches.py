r"""One smooth curve that is a glass line below Tg and a liquid branch above it, fitted to a whole cooling curve.

.. math:: e(T) = a + b\,T + c\,u + \frac{A}{u}, \qquad
          u = T_g + w \ln\left(1 + e^{(T - T_g) / w}\right)

Far below Tg, :math:`u = T_g` and the curve is a line of slope b; far above, :math:`u = T` and it is the liquid's,
:math:`a + (b + c) T + A / T`: concave, with the :math:`1/T` of a Gaussian energy landscape and a linear part. The slope
goes over from the one to the other around Tg, by 10% to 90% within :math:`2 w \ln 9`. A kink is the limit
:math:`w \to 0`; two straight lines are the case A = 0.

A curve that only bends smoothly is fitted well by this form too. It is therefore set against curves without a
transition, polynomials of no more parameters and the liquid branch alone, by the Bayesian information criterion

.. math:: \mathrm{BIC} = n \ln(\mathrm{RSS} / n) + p \ln n

in which n is the number of records that are independent: neighbouring records of a mean curve are not.

References:
    Gaussian landscape: Heuer 2008, doi:10.1088/0953-8984/20/37/373101
    a difference of 10 as very strong evidence: Kass & Raftery 1995, doi:10.1080/01621459.1995.10476572
"""

__all__ = ["MIN_RECORDS", "SmoothFit", "block_draws", "smooth_fit"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MIN_RECORDS = 12
"""Records below which six parameters and their competitors are not fitted."""

_ENOUGH = 10.0  # difference of the criterion
_LEVEL = 0.95
_TEN_TO_NINETY = 2 * np.log(9)
_N_TG, _N_WIDTH = 100, 12  # of the grid that holds the best fit of every draw
_N_PARAMETERS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothFit:
    """The smooth two-branch fit of a cooling curve.

    Args:
        T: Transition temperature.
        low: Lower end of its 95% interval.
        high: Upper end.
        width: Temperatures over which the slope goes from 10% to 90% of its way.
        evidence: Criterion of the best curve without a transition minus that of the fit; above 10 the fit is needed.
        rival: That curve.
        found: Whether the numbers support a transition.
        verdict: What they support, in words.
        curve: The fitted energy of each record.
    """

    T: float
    low: float
    high: float
    width: float
    evidence: float
    rival: str
    found: bool
    verdict: str
    curve: Float[np.ndarray, " t"]


def smooth_fit(
    T: Float[np.ndarray, " t"], mean: Float[np.ndarray, " t"], draws: Float[np.ndarray, "s t"] | np.random.Generator
) -> SmoothFit:
    """Return the smooth two-branch fit of a mean curve, with the interval that its draws give.

    Args:
        T: Temperature of each record, above 0, in any order.
        mean: Energy per particle of each record.
        draws: Mean curves of resampled runs (`vitrify.transition.resampled`), or what draws curves from the residuals
            of the fit (`block_draws`) where the runs are not at hand.

    Raises:
        ValueError: There are fewer than `MIN_RECORDS` records, or a temperature is not above 0.

    Example:
        >>> T = np.linspace(0.05, 1.0, 96)
        >>> fit = smooth_fit(T, 0.02 * T + 0.1 * np.maximum(T - 0.4, 0), np.random.default_rng(1))
        >>> round(fit.T, 3), fit.found
        (0.4, True)
    """
    if len(T) < MIN_RECORDS or T.min() <= 0:
        raise ValueError(
            f"T must hold at least {MIN_RECORDS} records, all above 0; got {len(T)}, the lowest at {T.min():.3f}"
        )
    order = np.argsort(T)
    x, y = T[order], mean[order]
    grid = _Grid.over(x)
    Tg, width = _polished(x, y, *grid.best(y[None]))
    curve = _project(_basis(x, Tg, width), y)
    fitted = np.empty_like(mean)
    fitted[order] = curve
    if isinstance(draws, np.random.Generator):
        draws = block_draws(mean, fitted, T=T, rng=draws)
    Tgs, _ = grid.best(draws[:, order])
    half = float(grid.Tg[1] - grid.Tg[0]) / 2  # the draws' best fits lie on a grid
    low, high = (float(end) for end in np.quantile(Tgs, ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)))
    low, high = min(low - half, Tg), max(high + half, Tg)
    evidence, rival = _evidence(x, y, curve)
    words = _why_not(x, Tg, low=low, high=high, width=width, evidence=evidence, rival=rival)
    return SmoothFit(
        T=Tg,
        low=max(low, float(x[0])),
        high=min(high, float(x[-1])),
        width=_TEN_TO_NINETY * width,
        evidence=evidence,
        rival=rival,
        found=not words,
        verdict=words or f"{_said(evidence, rival)}; the slope changes within {_TEN_TO_NINETY * width:.3f}",
        curve=fitted,
    )


def block_draws(
    mean: Float[np.ndarray, " t"],
    fitted: Float[np.ndarray, " t"],
    *,
    T: Float[np.ndarray, " t"],
    rng: np.random.Generator,
    n_draws: int = 400,
) -> Float[np.ndarray, "s t"]:
    """Return curves drawn around a fit from its own residuals, in blocks that keep their correlation.

    Of a curve whose runs are not at hand, the residuals are all that tells its scatter: what all records share, and
    what the fit has followed, is missing from these draws.

    Args:
        mean: Energy per particle of each record.
        fitted: The fit.
        T: Temperature of each record: blocks are of neighbours in temperature.
        rng: Draws the blocks.
        n_draws: Number of curves.

    References:
        Künsch 1989, doi:10.1214/aos/1176347265
    """
    order = np.argsort(T)
    residual = (mean - fitted)[order]
    n = len(residual)
    length = int(np.clip(np.ceil(2 * n / _n_independent(residual)), 1, n // 4))
    starts = rng.integers(n, size=(n_draws, -(-n // length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(n_draws, -1)[:, :n] % n
    draws = np.empty((n_draws, n))
    draws[:, order] = fitted[order] + (residual - residual.mean())[places] * np.sqrt(n / max(n - _N_PARAMETERS, 1))
    return draws


def _basis(T: Float[np.ndarray, " t"], Tg: float, width: float) -> Float[np.ndarray, "t 4"]:
    u = Tg + width * np.logaddexp(0.0, (T - Tg) / width)
    return np.stack([np.ones_like(T), T, u, 1 / u], axis=1)


def _project(basis: Float[np.ndarray, "t p"], energy: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    q = np.linalg.qr(basis)[0]
    offset = energy.mean()  # residuals of 1e-6 on energies of -4 need it
    return np.asarray(q @ (q.T @ (energy - offset)) + offset)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grid:
    """The fits of every Tg and width of a grid: for each an orthonormal basis of what is linear in it."""

    Tg: Float[np.ndarray, " g"]
    width: Float[np.ndarray, " h"]
    q: Float[np.ndarray, "g h t 4"]

    @classmethod
    def over(cls, T: Float[np.ndarray, " t"]) -> "_Grid":
        Tg = np.linspace(T[2], T[-3], _N_TG)
        reach = T[-1] - T[0]
        width = np.geomspace(reach / len(T) / _TEN_TO_NINETY, reach / _TEN_TO_NINETY, _N_WIDTH)
        bases = np.stack([[_basis(T, float(one), float(w)) for w in width] for one in Tg])
        return cls(Tg=Tg, width=width, q=np.linalg.qr(bases)[0])

    def best(self, curves: Float[np.ndarray, "s t"]) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
        """Return Tg and width of the smallest residual of each curve."""
        centred = curves - curves.mean(axis=1, keepdims=True)
        explained = np.stack([((centred @ rows) ** 2).sum(axis=2) for rows in self.q])  # g h s
        best = explained.reshape(-1, len(curves)).argmax(axis=0)
        return self.Tg[best // len(self.width)], self.width[best % len(self.width)]


def _polished(
    T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], Tgs: np.ndarray, widths: np.ndarray
) -> tuple[float, float]:
    """Return Tg and width by least squares, begun at the best of the grid."""
    from scipy.optimize import least_squares  # a third of a second to import, and only fitting needs it

    reach, scale = T[-1] - T[0], energy.std() or 1.0
    first = np.array([Tgs[0], np.log(widths[0])])
    lowest = np.array([T[1], np.log(reach / len(T) / _TEN_TO_NINETY)])
    highest = np.array([T[-2], np.log(reach / _TEN_TO_NINETY)])
    found = least_squares(
        lambda at: (energy - _project(_basis(T, at[0], float(np.exp(at[1]))), energy)) / scale,
        np.clip(first, lowest + 1e-9, highest - 1e-9),
        bounds=(lowest, highest),
    )
    return float(found.x[0]), float(np.exp(found.x[1]))


def _n_independent(residual: Float[np.ndarray, " t"]) -> float:
    """Return how many independent records have the information of these, by the correlation of neighbours."""
    centred = residual - residual.mean()
    power = float(centred @ centred)
    rho = float(centred[1:] @ centred[:-1]) / power if power > 0 else 0.0
    rho = min(max(rho, 0.0), 0.98)
    return len(residual) * (1 - rho) / (1 + rho)


def _evidence(
    T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], curve: Float[np.ndarray, " t"]
) -> tuple[float, str]:
    """Return by how much the best curve without a transition is worse, and its name."""
    n = _n_independent(energy - curve)
    floor = len(T) * (np.finfo(float).eps * np.abs(energy).max()) ** 2 or 1.0

    def criterion(fit: np.ndarray, n_parameters: int) -> float:
        return float(n * np.log(((energy - fit) ** 2).sum() + floor) + n_parameters * np.log(n))

    scaled = (T - T.mean()) / (T[-1] - T[0])
    names = ("a straight line", "a parabola", "a cubic", "a quartic", "a quintic")
    rivals = [
        (criterion(_project(scaled[:, None] ** np.arange(degree + 1), energy), degree + 1), name)
        for degree, name in enumerate(names, 1)
    ]
    alone = _project(np.stack([np.ones_like(T), T, 1 / T], axis=1), energy)
    best, name = min([*rivals, (criterion(alone, 3), "the liquid branch alone")])
    return best - criterion(curve, _N_PARAMETERS), name


def _said(evidence: float, rival: str) -> str:
    return f"two branches beat {rival} by a BIC of {evidence:.0f}"


def _why_not(
    T: Float[np.ndarray, " t"], Tg: float, *, low: float, high: float, width: float, evidence: float, rival: str
) -> str:
    """Return why there is no transition, or nothing."""
    reach = T[-1] - T[0]
    if evidence <= _ENOUGH:
        return f"no transition: {_said(evidence, rival)}, {_ENOUGH:.0f} are needed"
    if _TEN_TO_NINETY * width > 0.99 * reach:
        return "crossover: no sharp transition; the slope changes over the whole range"
    if Tg - T[0] < 0.05 * reach or T[-1] - Tg < 0.05 * reach:
        return f"no transition: the fit puts it at the end of the range, T = {Tg:.3f}"
    if high - low > reach / 2:
        return f"crossover: no sharp transition; the interval, {low:.3f} to {high:.3f}, is half of the range"
    return ""
