r"""Schedules of the learning rate: settings whose `value` is the part of the highest rate that a step takes.

With n steps in all, counted from 0, and a the validation accuracy of the latest evaluation,

.. math:: \mathrm{rate}(i) = \mathrm{learning\_rate} \cdot \mathrm{value}(i, n, a)

so a sweep over the learning rate moves a whole schedule. A value depends on nothing else: a training that was stopped
finds the rate it would have had.
"""

__all__ = ["SCHEDULES", "Constant", "Exponential", "OneCycle", "Schedule", "Step", "Threshold", "WarmUp"]

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_FINAL = "Part of the learning rate that is left at the end."


class OneCycle(BaseModel):
    r"""A cosine up from 1/25 to 1, then a cosine down to 1/10,000.

    .. math:: v = l + (1 - l)\,(1 - \cos \pi x)/2, \qquad
              (l, x) = \begin{cases} (1/25,\; i / wn) & i < wn \\
                       (10^{-4},\; (n - 1 - i) / (n - 1 - wn)) & i \ge wn \end{cases}

    with w the ``warm_up``.

    References:
        Smith & Topin, 2018, doi:10.48550/arXiv.1708.07120
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["one_cycle"] = Field("one_cycle", description="One cosine up and one down.")
    warm_up: float = Field(0.3, ge=0, lt=1, description="Part of the steps in which the learning rate rises.")

    def value(self, step: int, n_steps: int, validation_accuracy: float | None) -> float:  # noqa: ARG002
        """Return the part of the learning rate that a step takes."""
        top = self.warm_up * n_steps
        if step < top:
            low, part = 1 / 25, step / top
        else:
            low, part = 1e-4, (n_steps - 1 - step) / max(1.0, n_steps - 1 - top)
        return low + (1 - low) * (1 - math.cos(math.pi * part)) / 2


class Constant(BaseModel):
    """The same rate at every step, 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["constant"] = Field("constant", description="The same at every step.")

    def value(self, step: int, n_steps: int, validation_accuracy: float | None) -> float:  # noqa: ARG002
        """Return the part of the learning rate that a step takes."""
        return 1.0


class Step(BaseModel):
    r"""1 for the first steps, then ``final``.

    .. math:: v = 1 \;(i < \mathrm{after}), \qquad v = f \;(i \ge \mathrm{after})
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["step"] = Field("step", description="One step down.")
    after: int = Field(ge=1, description="Optimiser steps at the full rate; one iteration of the log is 10.")
    final: float = Field(0.1, gt=0, le=1, description=_FINAL)

    def value(self, step: int, n_steps: int, validation_accuracy: float | None) -> float:  # noqa: ARG002
        """Return the part of the learning rate that a step takes."""
        return 1.0 if step < self.after else self.final


class Exponential(BaseModel):
    r"""From 1 at the first step to ``final`` at the last, by the same factor at each.

    .. math:: v = f^{\,i / (n - 1)}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["exponential"] = Field("exponential", description="Falls by the same factor at each step.")
    final: float = Field(0.01, gt=0, le=1, description=_FINAL)

    def value(self, step: int, n_steps: int, validation_accuracy: float | None) -> float:  # noqa: ARG002
        """Return the part of the learning rate that a step takes."""
        return float(self.final ** (step / max(1, n_steps - 1)))


class WarmUp(BaseModel):
    r"""A straight rise to 1, then a fall by the same factor at each step to ``final``.

    .. math:: v = (i + 1)/(m + 1) \;(i < m), \qquad v = f^{\,(i - m)/(n - 1 - m)} \;(i \ge m), \qquad
              m = \lfloor wn \rfloor

    with w the ``warm_up``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["warm_up"] = Field("warm_up", description="Rises, then falls by the same factor at each step.")
    warm_up: float = Field(0.1, ge=0, lt=1, description="Part of the steps in which the learning rate rises.")
    final: float = Field(0.01, gt=0, le=1, description=_FINAL)

    def value(self, step: int, n_steps: int, validation_accuracy: float | None) -> float:  # noqa: ARG002
        """Return the part of the learning rate that a step takes."""
        rise = int(self.warm_up * n_steps)
        if step < rise:
            return (step + 1) / (rise + 1)
        return float(self.final ** ((step - rise) / max(1, n_steps - 1 - rise)))


class Threshold(BaseModel):
    r"""1 while the validation accuracy is below a threshold, ``final`` otherwise, and 1 again if it falls back.

    .. math:: v = 1 \;(a < a_0 \text{ or nothing evaluated yet}), \qquad v = f \;(a \ge a_0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["threshold"] = Field("threshold", description="Lower while the validation accuracy is high.")
    accuracy: float = Field(0.9, gt=0, le=1, description="Validation accuracy from which the rate is the lower one.")
    final: float = Field(0.1, gt=0, le=1, description="Part of the learning rate above the threshold.")

    def value(self, step: int, n_steps: int, validation_accuracy: float | None) -> float:  # noqa: ARG002
        """Return the part of the learning rate that a step takes."""
        return 1.0 if validation_accuracy is None or validation_accuracy < self.accuracy else self.final


Schedule = Annotated[
    OneCycle | Constant | Step | Exponential | WarmUp | Threshold,
    Field(discriminator="kind"),
]

SCHEDULES = {
    "one_cycle": OneCycle,
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "warm_up": WarmUp,
    "threshold": Threshold,
}
