"""Every number the suite is held to, with where it comes from."""

__all__ = [
    "FINAL",
    "KA2D_PEAKS",
    "KA2D_PEAKS_T",
    "KA3D_ENERGY",
    "KA3D_MINIMA",
    "KA3D_PEAKS",
    "MEASURED",
    "PRL",
    "PUBLISHED_BY_RATE",
    "REPO",
    "STALLED",
    "TRUE_MINIMA",
]

PRL = "doi:10.1103/PhysRevLett.129.245501"
"""Potential energies of the three-dimensional Kob-Andersen liquid at equilibrium, shifted at 2.5 sigma of each pair."""

REPO = "github.com/ks8/machine-learning-glasses"
"""The source's published averages of the two-dimensional mixture, N = 4320, of minimisations that stalled."""

STALLED = REPO + ", 10,000 runs, t_cool = 2e7"

MEASURED = "this reference"
"""Measured for this project, on public configurations or with LAMMPS, before and apart from this suite."""

PUBLISHED_BY_RATE = {
    200_000: {0.05: -3.8661988, 0.20015: -3.8650489, 0.50045: -3.8519820, 0.800875: -3.8215947},
    2_000_000: {0.05: -3.8882879, 0.20015: -3.8872469, 0.50045: -3.8687891, 0.800875: -3.8275676},
}
"""Unshifted energy of stalled minimisations by steps of the ramp and temperature, 20 runs [repo]."""

FINAL = {200_000: -3.8674, 2_000_000: -3.8883}
"""Unshifted energy at T = 0.05 by steps of the ramp: there stalled and true minima agree to 0.0004."""

KA3D_ENERGY = {2.0: (-4.654, 0.01), 0.45: (-7.012, 0.02)}
KA3D_MINIMA = {1.0: (-7.540, 0.025), 0.6: (-7.595, 0.015)}
"""Shifted energies of the three-dimensional mixture: mean potential energy, and of inherent structures.

The one at T = 1 is known only as "about": minima of the same configurations by LAMMPS decide there.
"""

KA3D_PEAKS = {"AA": (1.07, 0.015), "AB": (0.88, 0.015)}
KA2D_PEAKS_T = 0.5  # of the configurations they were measured on; the peaks move out as the glass is cooled further
KA2D_PEAKS = {"AA": (1.05, 0.015), "AB": (0.86, 0.015), "BB": (1.73, 0.025)}
"""Position of the highest peak of g(r), and half the width of the range it was found in."""

TRUE_MINIMA = {1.95: -3.7768, 1.0: -3.8145, 0.8: -3.8324}
"""Unshifted energy of true minima by temperature, N = 4320, 20 configurations, standard error 0.001."""
