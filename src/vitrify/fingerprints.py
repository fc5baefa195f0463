r"""Know a configuration again after it was written, shifted, wrapped and read: a short digest of smooth invariants.

.. math:: a_{s,q} = \frac{1}{\sqrt{N_s}} \left| \sum_{i \in s} e^{2 \pi i\, q \cdot x_i / L} \right|

of every species s and a few whole vectors q. These amplitudes change neither with the order of the particles nor with
a shift of the whole, and they change little where positions are rounded. Each is put into a bin of width 0.004, and the
digest is that of the bins. An amplitude within 0.0002 of the edge of its bin may be found beyond it in another file, so
a configuration is looked up by more digests than the one it is kept by.
"""

__all__ = ["Fingerprint", "fingerprint"]

import hashlib
import json
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Integer

_WIDTH, _SLACK = 4e-3, 2e-4
_TELLING = 3  # amplitudes below so many bins are those of a lattice, which many runs can have
_FEWEST = 4  # amplitudes that must be larger
_MOST = 8  # amplitudes near an edge that are looked up on both sides


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What a configuration is kept by, and what it is looked up by.

    Args:
        kept: Digest, 12 hexadecimal digits; ``None`` of a lattice, which is not one run's alone.
        sought: Digests under which the same configuration may have been kept.
    """

    kept: str | None
    sought: frozenset[str]


def fingerprint(
    positions: Float[np.ndarray, "n d"], species: Integer[np.ndarray, " n"], box: Float[np.ndarray, " d"]
) -> Fingerprint:
    """Return the fingerprint of one configuration.

    Args:
        positions: Coordinates, in any unit.
        species: Kind of each particle.
        box: Edge lengths, in the same unit.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> x, kind, box = 6 * rng.random((36, 2)), np.repeat([0, 1], [24, 12]), np.array([6.0, 6.0])
        >>> one, other = fingerprint(x, kind, box), fingerprint(np.mod(x + 1.7, 6).round(5), kind, box)
        >>> one.kept in other.sought
        True
    """
    d = len(box)
    first = np.concatenate([np.eye(d), np.ones((1, d))])
    waves = np.exp(2j * np.pi * (positions / box) @ np.concatenate([first, 2 * first]).T)
    kinds, counts = np.unique(species, return_counts=True)
    amplitudes = [
        np.abs(waves[species == kind].sum(axis=0)) / np.sqrt(count) for kind, count in zip(kinds, counts, strict=True)
    ]
    places = np.concatenate(amplitudes) / _WIDTH
    if (places > _TELLING).sum() < _FEWEST:
        return Fingerprint(kept=None, sought=frozenset())
    bins, known = np.floor(places).astype(int), [d, *counts.tolist()]
    low = places - bins  # from the lower edge, in bins
    edge = np.minimum(low, 1 - low)
    doubtful = [place for place in np.argsort(edge)[:_MOST] if edge[place] < _SLACK / _WIDTH]
    sought = set()
    for moved in product((False, True), repeat=len(doubtful)):
        other = bins.copy()
        for place, beyond in zip(doubtful, moved, strict=True):
            other[place] += beyond * (1 if low[place] > 0.5 else -1)
        sought.add(_digest(known, other))
    return Fingerprint(kept=_digest(known, bins), sought=frozenset(sought))


def _digest(known: list[int], bins: Integer[np.ndarray, " a"]) -> str:
    return hashlib.sha256(json.dumps([known, bins.tolist()]).encode()).hexdigest()[:12]
