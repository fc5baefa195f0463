r"""Curves with one branch and curves with two, each fitted to many cooling curves at once by linear least squares.

With :math:`h = \max(T - T_g, 0)` and :math:`s = w \ln(1 + e^{(T - T_g) / w})`, which is h rounded off, the forms are

==================  =======================================================  ==========
form                energy                                                   parameters
==================  =======================================================  ==========
parabola, cubic     :math:`a + b T + c T^2 (+ d T^3)`                        3, 4
kink                :math:`a + b T + c h`                                    4
kink, parabola      :math:`a + b T + c h + d h^2`                            5
kink, 1/T           :math:`a + b T + c h + d / (T_g + h)`                    5
smooth              :math:`a + b T + c s`                                    5
smooth, 1/T         :math:`a + b T + c s + d / (T_g + s)`                    6
==================  =======================================================  ==========

Below Tg every form with two branches is a straight line, the glass; above it is the liquid, straight or concave, with
the 1/T of a Gaussian energy landscape. The slope of a smooth form goes from 10% to 90% of its way within
:math:`2 w \ln 9`, its width; a kink is the smooth form without width.

All but Tg and w enter linearly, so each pair of a grid has one orthonormal basis, made once, and the sum of squared
residuals of every curve is a product of matrices. Temperatures have any unit; energies too.

References:
    Gaussian landscape: Heuer 2008, doi:10.1088/0953-8984/20/37/373101
"""

__all__ = ["ONE_BRANCH", "SMOOTH", "TEN_TO_NINETY", "TWO_BRANCHES", "Fit", "Forms", "member", "rounded"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

TEN_TO_NINETY = 2 * float(np.log(9))
"""Width of a crossover, from 10% to 90% of the change of slope, over w."""

ONE_BRANCH = ("a parabola", "a cubic")
TWO_BRANCHES = ("kink", "kink, parabola", "kink, 1/T", "smooth", "smooth, 1/T")
SMOOTH = "smooth, 1/T"
"""The widest of the forms with two branches: all others with a straight or a 1/T liquid are special cases of it."""

_LOWEST, _HIGHEST = 0.035, 0.9  # part of the range in which Tg is looked for
_WIDEST = 0.98  # of the range
_NARROWEST = 2  # spacings of the records


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The best member of one form for each of ``s`` curves.

    Args:
        residual: Sum of squared residuals.
        total: That of a constant.
        n_parameters: Parameters of the form, Tg and width among them.
        Tg: Where its branches meet; not a number for a curve of one branch.
        width: Temperatures over which the slope goes from 10% to 90% of its way; 0 for a kink.
    """

    residual: Float[np.ndarray, " s"]
    total: Float[np.ndarray, " s"]
    n_parameters: int
    Tg: Float[np.ndarray, " s"]
    width: Float[np.ndarray, " s"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forms:
    """Every form over the temperatures of a cooling: an orthonormal basis for each Tg and width of a grid.

    Args:
        T: Temperature of each record.
        Tg: Those of the grid.
        width: Widths of the grid, from 10% to 90%.
        straight: A basis of the straight lines, which all forms hold.
        polynomials: A basis for each curve of one branch, by name.
        branches: Of each form of two branches, by name, what its bases have beyond the straight lines: one for each Tg
            and width, one width for a kink.
    """

    T: Float[np.ndarray, " t"]
    Tg: Float[np.ndarray, " g"]
    width: Float[np.ndarray, " h"]
    straight: Float[np.ndarray, "t 2"]
    polynomials: dict[str, Float[np.ndarray, "t _"]]
    branches: dict[str, Float[np.ndarray, "g _ t _"]]

    @classmethod
    def over(cls, T: Float[np.ndarray, " t"], *, n_Tg: int = 90, n_width: int = 22) -> "Forms":
        """Return the forms over the temperatures of a cooling, all above 0 and in any order.

        Args:
            T: Temperature of each record.
            n_Tg: Values of Tg on the grid.
            n_width: Widths.
        """
        lowest, reach = float(T.min()), float(np.ptp(T))
        Tg = np.linspace(lowest + _LOWEST * reach, lowest + _HIGHEST * reach, n_Tg)
        width = np.geomspace(min(_NARROWEST / len(T), _WIDEST / 2) * reach, _WIDEST * reach, n_width)
        scaled = (T - T.mean()) / reach
        names = dict(zip(ONE_BRANCH, (2, 3), strict=True))
        above = np.maximum(T - Tg[:, None], 0.0)[:, None]
        smooth = rounded(T, Tg[:, None, None], width[:, None] / TEN_TO_NINETY)
        sharp, round_ = (Tg[:, None, None], above), (Tg[:, None, None], smooth)
        return cls(
            T=T,
            Tg=Tg,
            width=width,
            straight=np.linalg.qr(scaled[:, None] ** np.arange(2))[0],
            polynomials={name: np.linalg.qr(scaled[:, None] ** np.arange(n + 1))[0] for name, n in names.items()},
            branches={
                name: np.linalg.qr(_columns(T, *(round_ if name.startswith("smooth") else sharp), name=name))[0][
                    ..., 2:
                ]
                for name in TWO_BRANCHES
            },
        )

    def fits(self, curves: Float[np.ndarray, "s t"]) -> dict[str, Fit]:
        """Return the best member of each form for each curve, by name.

        Args:
            curves: Energies, a row for each curve, in the order of the temperatures.
        """
        centred = curves - curves.mean(axis=1, keepdims=True)  # residuals of 1e-6 on energies of -4 need it
        total = (centred**2).sum(axis=1)
        nowhere = np.full(len(curves), np.nan)
        fits = {
            name: Fit(
                residual=total - ((centred @ q) ** 2).sum(axis=1),
                total=total,
                n_parameters=q.shape[1],
                Tg=nowhere,
                width=nowhere,
            )
            for name, q in self.polynomials.items()
        }
        bent = centred - (centred @ self.straight) @ self.straight.T
        left = (bent**2).sum(axis=1)
        for name, bases in self.branches.items():
            explained = np.stack(list(_explained(bent, bases)))  # g h s
            n_widths = bases.shape[1]
            best = explained.reshape(-1, len(curves)).argmax(axis=0)
            fits[name] = Fit(
                residual=left - explained.reshape(-1, len(curves))[best, np.arange(len(curves))],
                total=total,
                n_parameters=2 + bases.shape[3] + (1 if n_widths == 1 else 2),
                Tg=self.Tg[best // n_widths],
                width=np.zeros(len(curves)) if n_widths == 1 else self._between(explained.max(axis=0)),
            )
        return fits

    def _between(self, explained: Float[np.ndarray, "h s"]) -> Float[np.ndarray, " s"]:
        """Return the width of the best fit, between those of the grid by a parabola in its logarithm."""
        best = explained.argmax(axis=0)
        middle = np.clip(best, 1, len(self.width) - 2)
        below, at, above = (explained[middle + step, np.arange(len(best))] for step in (-1, 0, 1))
        bend = np.minimum(below - 2 * at + above, -np.finfo(float).tiny)
        step = np.where(best == middle, (below - above) / (2 * bend), 0.0)
        return np.asarray(self.width[best] * (self.width[1] / self.width[0]) ** np.clip(step, -0.5, 0.5))


def member(
    name: str, T: Float[np.ndarray, " t"], energy: Float[np.ndarray, " t"], *, Tg: float, width: float
) -> tuple[Float[np.ndarray, " t"], float]:
    """Return one member of a form with two branches, fitted to a curve, and by how much its slope rises at Tg.

    Args:
        name: One of `TWO_BRANCHES`.
        T: Temperature of each record.
        energy: Energy of each record.
        Tg: Where the branches meet.
        width: From 10% to 90% of the change of slope; not used by a kink.
    """
    is_smooth = name.startswith("smooth")
    liquid = rounded(T, Tg, width / TEN_TO_NINETY) if is_smooth else np.maximum(T - Tg, 0.0)
    q, r = np.linalg.qr(_columns(T, Tg, liquid, name=name))
    offset = energy.mean()  # residuals of 1e-6 on energies of -4 need it
    projected = q.T @ (energy - offset)
    coefficients = np.linalg.lstsq(r, projected, rcond=None)[0]
    rise = coefficients[2] - (coefficients[3] / Tg**2 if name.endswith("1/T") else 0.0)
    return np.asarray(q @ projected + offset), float(rise)


def rounded(T: np.ndarray, Tg: float | np.ndarray, w: float | np.ndarray) -> np.ndarray:
    """Return max(T - Tg, 0) rounded off over w: what the liquid branch of a smooth form is a function of.

    Args:
        T: Temperatures.
        Tg: Where the branches meet.
        w: The width from 10% to 90%, over `TEN_TO_NINETY`.
    """
    return np.asarray(w * np.logaddexp(0.0, (T - Tg) / w))


def _columns(
    T: Float[np.ndarray, " t"], Tg: float | np.ndarray, liquid: Float[np.ndarray, "*e t"], *, name: str
) -> Float[np.ndarray, "*e t p"]:
    """Return a constant, T and what a form has of the liquid branch."""
    more = [liquid**2] if name.endswith("parabola") else [1 / (Tg + liquid)] if name.endswith("1/T") else []
    return np.stack([np.ones_like(liquid), np.broadcast_to(T - T.mean(), liquid.shape), liquid, *more], axis=-1)


def _explained(
    bent: Float[np.ndarray, "s t"], bases: Float[np.ndarray, "g h t p"]
) -> Iterator[Float[np.ndarray, "h s"]]:
    """Return the sum of squares that each member explains, Tg by Tg: all of them at once do not fit into a cache."""
    _, h, t, p = bases.shape
    for members in bases:
        projected = bent @ members.transpose(1, 0, 2).reshape(t, h * p)
        yield (projected**2).reshape(len(bent), h, p).sum(axis=2).T
