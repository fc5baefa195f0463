"""Errors of two per cent, planted in the engine and in nothing that it is held to: each must fail the suite.

The simulations and searches are handed a wrong mixture, or a bath that is too hot. LAMMPS, the plain sums and the
analysis of configurations are handed the right ones.
"""

__all__ = ["ERROR", "FAULTS", "Fault", "bath", "mixture"]

from dataclasses import replace
from typing import Literal, get_args

from vitrify.potentials import Mixture

Fault = Literal["sigma_AB", "bath", "cutoff"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
ERROR = 0.02
"""Relative size of every fault."""


def mixture(right: Mixture, fault: Fault | None) -> Mixture:
    """Return the mixture that the engine is handed: its sigma_AB or its cut-off too large, or as it should be."""
    if fault == "sigma_AB":
        (aa, ab), (ba, bb) = right.sigma
        return replace(right, sigma=((aa, ab * (1 + ERROR)), (ba * (1 + ERROR), bb)))
    if fault == "cutoff":
        return replace(right, cutoff=right.cutoff * (1 + ERROR))
    return right


def bath(T: float, fault: Fault | None) -> float:
    """Return the temperature of the bath that the engine is handed."""
    return T * (1 + ERROR) if fault == "bath" else T
