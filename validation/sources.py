"""Every number the suite is held to, with where it comes from."""

__all__ = [
    "FINAL",
    "KA2D_PEAKS",
    "KA2D_PEAKS_T",
    "KA3D_ENERGY",
    "KA3D_MINIMA",
    "KA3D_PEAKS",
    "KA3D_PEAKS_T",
    "KA3D_SLOW_BLOCK",
    "MEASURED",
    "PRL",
    "PUBLISHED_BY_RATE",
    "REPO",
    "STALLED",
    "STALLED_FORCE",
    "TRUE_MINIMA",
    "slow_spread",
    "spread",
]

import numpy as np

from validation.rows import Allowance, Reference, Spread

PRL = "doi:10.1103/PhysRevLett.129.245501"
"""Potential energies of the three-dimensional Kob-Andersen liquid at equilibrium, shifted at 2.5 sigma of each pair."""

REPO = "github.com/ks8/machine-learning-glasses"
"""The source's published averages of the two-dimensional mixture, N = 4320, of minimisations that stalled."""

STALLED = REPO + ", 10,000 runs, t_cool = 2e7"

MEASURED = "this reference"
"""Measured for this project, on public configurations or with LAMMPS, before and apart from this suite."""

_SPREADS = {0.05: 0.0020, 0.2: 0.0020, 0.5: 0.0036, 0.8: 0.0042, 1.0: 0.0050, 1.25: 0.0060, 1.95: 0.0066}
_SPREADS_DF = 20.0


def spread(T: float) -> Spread:
    """Return the standard deviation of the inherent-structure energy between configurations, ka2d, N = 4320.

    It was seen between sixteen ramps of 200,000 steps, eight on each of two kinds of processor, and from T = 0.8 on
    between the twenty configurations behind `TRUE_MINIMA` and those of the liquids too. Between the temperatures it is
    on a straight line. Stalled and true minima, and cooling times, are taken to have the same.
    """
    return Spread(sd=float(np.interp(T, list(_SPREADS), list(_SPREADS.values()))), df=_SPREADS_DF)


def slow_spread(T: float) -> Spread:
    """Return that of the mean of four configurations of one run, 100 time units apart, of the slow liquid."""
    return spread(T).times(_OF_FOUR)


_OF_FOUR = 0.65

_BY_RATE = {
    200_000: {0.05: -3.8661988, 0.20015: -3.8650489, 0.50045: -3.8519820, 0.800875: -3.8215947},
    2_000_000: {0.05: -3.8882879, 0.20015: -3.8872469, 0.50045: -3.8687891, 0.800875: -3.8275676},
}
PUBLISHED_BY_RATE = {
    n_steps: {
        T: Reference(value=energy, error=spread(T).of_mean(20), source=f"{REPO}, 20 runs")
        for T, energy in table.items()
    }
    for n_steps, table in _BY_RATE.items()
}
"""Unshifted energy of stalled minimisations by steps of the ramp and temperature, 20 runs [repo]."""

FINAL = {
    n_steps: Reference(value=energy, error=spread(0.05).of_mean(20), source=REPO)
    for n_steps, energy in {200_000: -3.8674, 2_000_000: -3.8883}.items()
}
"""Unshifted energy at T = 0.05 by steps of the ramp: there stalled and true minima agree to 0.0004."""

STALLED_FORCE = Reference(value=1.75, source=MEASURED)
"""Middle of the range 1 to 2.5 of the largest force that a stalled search leaves."""

KA3D_ENERGY = {
    2.0: (
        Reference(value=-4.654, source=PRL),
        Allowance(size=0.003, reason="three digits, N, what is left of the time step"),
    ),
    0.45: (Reference(value=-7.012, source=PRL), Allowance(size=0.008, reason="three digits, N, time step, ageing")),
}
"""Mean potential energy of the three-dimensional mixture, shifted."""

KA3D_MINIMA = {
    1.0: (Reference(value=-7.540, source=MEASURED), Allowance(size=0.025, reason='known as "about"')),
    0.6: (
        Reference(value=-7.595, error=0.0043, source=MEASURED),
        Allowance(size=0.005, reason='T known as "about 0.60"'),
    ),
}
"""Energy of inherent structures of the three-dimensional mixture, shifted.

The one at T = 1 is known only as "about": minima of the same configurations by LAMMPS decide there. The one at T = 0.6
is of ten frames of 1000 particles, whose energies spread by 0.0136.
"""

KA3D_SLOW_BLOCK = Spread(sd=0.008, df=3.0)
"""Of the mean potential energy of 1000 particles over 2,000 time units at T = 0.45, from four such blocks."""

KA3D_PEAKS_T = 0.45
KA3D_PEAKS = {name: Reference(value=r, source=MEASURED) for name, r in {"AA": 1.07, "AB": 0.88}.items()}
KA2D_PEAKS_T = 0.5  # of the configurations they were measured on; the peaks move out as the glass is cooled further
KA2D_PEAKS = {
    name: (
        Reference(value=r, source=MEASURED),
        Allowance(size=half, reason="half the range they were found in"),
    )
    for name, r, half in (("AA", 1.05, 0.015), ("AB", 0.86, 0.015), ("BB", 1.73, 0.025))
}
"""Position of the highest peak of g(r)."""

TRUE_MINIMA = {
    1.95: Reference(value=-3.7768, error=0.0013, source=MEASURED),
    1.0: Reference(value=-3.8145, error=0.0011, source=MEASURED),
    0.8: Reference(value=-3.8324, error=0.0009, source=MEASURED),
}
"""Unshifted energy of true minima by temperature, N = 4320, 20 configurations."""
