r"""Look over a trajectory before any model is asked: what it is, whether it is in order, and what that means.

.. math:: T_\mathrm{kin} = \frac{\sum_i m_i |v_i - \bar v|^2}{d (N - 1) k_B}, \qquad
          T_\mathrm{conf} = \frac{\langle |\nabla U|^2 \rangle}{k_B \langle \nabla^2 U \rangle}

In equilibrium the two are one. Of a pair potential cut off without smoothing, the jump of its force, a few thousandths
of the Laplacian, is left out. A system that ages loses inherent-structure energy from frame to frame: Kendall's rank
correlation with time says whether it does.

References:
    configurational temperature: Rugh, 1997, doi:10.1103/PhysRevLett.78.772; Butler et al., 1998, doi:10.1063/1.477301
    crystalline particles: ten Wolde, Ruiz-Montero & Frenkel, 1996, doi:10.1063/1.471721
"""

__all__ = ["configurational_temperature", "crystalline", "diagnose", "first_peaks", "kinetic_temperature"]

import hashlib
from collections.abc import Callable
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import constants
from scipy.spatial import cKDTree
from scipy.stats import kendalltau

from vitrify import dynamics
from vitrify.imported import UNITS, Choice, Units, state_of
from vitrify.packed import Packed
from vitrify.potentials import Mixture, energies, forces, interacting_pairs
from vitrify.predict import looked_at, reduced
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.system import Configuration
from vitrify.trajectories import read
from vitrify.views import freud_system

Progress = Callable[[str, float, float], None]

_N_KEPT = 16  # frames looked at closely, evenly spread over the file
_N_MINIMISED = 20_000  # particles beyond which inherent structures are not computed
_CRYSTALLINE = 0.3  # fraction beyond which a sample is called crystallised: dense binary liquids have a tenth
_SIGNIFICANT = 0.01
_MV2 = {"lj": 1.0, "real": 1e7 / (constants.calorie * 1e3), "metal": 1e-3 / (constants.e * constants.N_A) * 1e4}
"""m v^2 of g/mol and the style's velocity (A/fs, A/ps) in the style's unit of energy."""


def diagnose(
    path: Path, told: Told, units: Units, *, mixture: Mixture | None, model: Packed | None, progress: Progress
) -> dict[str, Any]:
    """Return what a trajectory is, what is wrong with it, and what that means for using a model.

    All frames are read, one at a time; up to 16, evenly spread, are looked at closely. A frame that is damaged ends
    the reading; the frames before it are diagnosed.

    Args:
        path: The trajectory.
        told: What the user says about it.
        units: Its units.
        mixture: Whose potential it was made with, if that is known.
        model: A packed model it may be shown to.
        progress: Told the frames read.

    Returns:
        ``n_particles, dimension, species, density, T_kinetic, T_configurational, crystalline_fraction, n_frames,
        warnings``, and more. Lengths, temperatures and energies are in sigma_AA and epsilon_AA.

    Raises:
        BadTrajectoryError: The first frame is damaged.
        OSError: The file cannot be read.
    """
    shown, facts = _read(path, told, progress)
    first = shown[0]
    n, d = first.configuration.positions.shape
    kinds = np.bincount(first.configuration.species, minlength=len(first.names))
    edge = (first.configuration.box / units.sigma).tolist()
    found: dict[str, Any] = {
        "file": str(path),
        "n_frames": facts["n_frames"],
        "n_particles": n,
        "dimension": d,
        "species": dict(zip(first.names, kinds.tolist(), strict=True)),
        "box": edge,
        "density": n / float(np.prod(edge)),
        "periodic": first.configuration.periodic is None,
        "columns": sorted(first.columns),
    }
    warnings = list(facts["warnings"])
    nearest = _nearest(first.configuration)
    found["nearest_neighbour"] = nearest / units.sigma
    found["units"], unlike = _units(first, units, nearest)
    warnings += unlike
    found |= _temperatures(shown, units, mixture, warnings)
    if found["periodic"]:
        configurations = [reduced(snapshot, units)[0] for snapshot in shown]
        found["crystalline_fraction"] = float(np.mean([crystalline(one).mean() for one in configurations[-4:]]))
        found["first_peaks"] = _named_peaks(configurations, first.names)
        if found["crystalline_fraction"] > _CRYSTALLINE:
            warnings.append(
                f"crystallised: {100 * found['crystalline_fraction']:.0f}% of the particles have the surroundings of a "
                "crystal; glass or liquid is no question here, and no model should be asked"
            )
    else:
        found |= {"crystalline_fraction": None, "first_peaks": None}
        warnings.append("a boundary is open: views, g(r) and models need a periodic box")
    found |= _ageing(shown, told, units, mixture, found, warnings)
    found |= _domain(shown, told, units, model, warnings)
    found["warnings"] = warnings
    return found


def kinetic_temperature(snapshot: Snapshot, units: Units) -> float | None:
    """Return the kinetic temperature of a frame in epsilon_AA / k_B, or None where velocities or masses are not there.

    Masses are 1 where a file in lj units has none.
    """
    columns = snapshot.columns
    n, d = snapshot.configuration.positions.shape
    axes = ("vx", "vy", "vz")[:d]
    if all(axis in columns for axis in axes):
        velocities = np.column_stack([columns[axis] for axis in axes]).astype(float)
    else:
        name = next((name for name in ("vel", "velo", "velocity", "velocities") if name in columns), None)
        if name is None or columns[name].ndim != 2:
            return None
        velocities = columns[name][:, :d].astype(float)
    name = next((name for name in ("mass", "masses") if name in columns), None)
    if name is None and units.style != "lj":
        return None
    mass = np.ones(n) if name is None else np.asarray(columns[name], float)
    drift = (mass[:, None] * velocities).sum(axis=0) / mass.sum()
    twice = _MV2[units.style] * float((mass[:, None] * (velocities - drift) ** 2).sum())
    return units.reduced(twice / (d * (n - 1)) / UNITS[units.style])


def configurational_temperature(configuration: Configuration, mixture: Mixture) -> float:
    """Return the configurational temperature of one configuration, in epsilon_AA / k_B.

    Args:
        configuration: Of the mixture, in any composition.
        mixture: Its pair potential.

    Raises:
        ValueError: As for :func:`vitrify.potentials.energies`.
    """
    _, r, epsilon, sigma, _ = interacting_pairs(configuration, mixture)
    x6 = (sigma / r) ** 6
    slope = -24 * epsilon * x6 * (2 * x6 - 1) / r
    bend = 24 * epsilon * x6 * (26 * x6 - 7) / r**2
    laplacian = 2 * float((bend + (configuration.dimension - 1) * slope / r).sum())  # each pair bends both its ends
    return float((forces(configuration, mixture) ** 2).sum()) / laplacian


def crystalline(configuration: Configuration) -> Bool[np.ndarray, " n"]:
    r"""Return which particles have crystalline surroundings.

    In three dimensions those whose :math:`q_6` vector agrees (product above 0.7) with that of 8 or more of their 12
    nearest neighbours; in two those whose :math:`\psi_k`, k = 4 or 6, agrees (cosine above 0.7, magnitude above 0.7)
    with that of all but one of their k nearest neighbours.

    Raises:
        ValueError: The box is not periodic.
    """
    import freud

    system = freud_system(configuration)
    n = len(configuration.positions)
    if n <= 12:
        return np.zeros(n, bool)
    if configuration.dimension == 3:
        agree = freud.order.SolidLiquid(l=6, q_threshold=0.7, solid_threshold=8)
        agree.compute(system, neighbors={"num_neighbors": 12, "exclude_ii": True})
        return np.asarray(agree.num_connections) >= 8
    found = np.zeros(n, bool)
    for fold in (4, 6):
        bonds = freud.locality.AABBQuery(*system).query(system[1], {"num_neighbors": fold, "exclude_ii": True})
        pairs = bonds.toNeighborList()
        psi = np.asarray(freud.order.Hexatic(k=fold).compute(system, neighbors=pairs).particle_order)
        i, j = pairs.query_point_indices, pairs.point_indices
        size = np.abs(psi)
        cosine = np.real(psi[i] * psi[j].conj()) / np.maximum(size[i] * size[j], 1e-12)
        alike = (cosine > 0.7) & (size[i] > 0.7) & (size[j] > 0.7)
        found |= np.bincount(i, weights=alike, minlength=n) >= fold - 1
    return found


def first_peaks(configurations: list[Configuration]) -> dict[tuple[int, int], float]:
    """Return where the mean g(r) of every two species has its highest point, in sigma_AA.

    Args:
        configurations: Of the same particles, periodic.
    """
    import freud

    last = configurations[-1]
    reach = min(0.499 * float(last.box.min()), 4 * last.density ** (-1 / last.dimension))
    found = {}
    for a, b in combinations_with_replacement(np.unique(last.species).tolist(), 2):
        total = np.zeros(200)
        for one in configurations:
            box, points = freud_system(one)
            query = None if a == b else points[one.species == a]
            rdf = freud.density.RDF(bins=200, r_max=reach)
            if min((one.species == a).sum(), (one.species == b).sum()) > 1:
                total += rdf.compute((box, points[one.species == b]), query_points=query).rdf
        if total.any():
            found[a, b] = float((total.argmax() + 0.5) * reach / 200)
    return found


def _read(path: Path, told: Told, progress: Progress) -> tuple[list[Snapshot], dict[str, Any]]:
    """Return frames evenly spread over a file, and what its frames as a whole show."""
    kept: list[Snapshot] = []
    stride, n_frames, warnings = 1, 0, []
    seen: dict[bytes, int] = {}
    still = []
    try:
        for snapshot in read(path, told):
            if n_frames % stride == 0:
                kept.append(snapshot)
            if len(kept) == 2 * _N_KEPT:
                kept, stride = kept[::2], 2 * stride
            n_frames += 1
            digest = hashlib.sha256(snapshot.configuration.positions.tobytes()).digest()
            if digest in seen:
                still.append((snapshot.frame, seen[digest]))
            seen.setdefault(digest, snapshot.frame)
            progress("frames read", n_frames, 0)
    except BadTrajectoryError as error:
        if not kept:
            raise
        warnings.append(f"damaged after frame {n_frames}: {error}; only the frames before were looked at")
    if still:
        warnings.append(
            f"{len(still)} of {n_frames} frames repeat an earlier one, position by position: frame {still[0][0]} is "
            f"frame {still[0][1]}"
        )
    closest = min((_closest(snapshot.configuration) for snapshot in kept), default=np.inf)
    if closest < 0.3:
        warnings.append(
            f"two particles are {closest:.2g} typical distances apart: duplicates, wrong units of the box, or a start "
            "that was not equilibrated"
        )
    return kept, {"n_frames": n_frames, "warnings": warnings}


def _tree(configuration: Configuration) -> cKDTree:
    repeats = configuration.periodic is None or configuration.periodic
    return cKDTree(configuration.positions, boxsize=np.where(repeats, configuration.box, 0.0))


def _distances(configuration: Configuration) -> Float[np.ndarray, " n"]:
    """Return the distance of every particle from its nearest neighbour; infinite for a single one."""
    return np.asarray(_tree(configuration).query(configuration.positions, k=2)[0][:, 1])


def _nearest(configuration: Configuration) -> float:
    return float(np.median(_distances(configuration)))


def _closest(configuration: Configuration) -> float:
    """Return the smallest distance of two particles, in units of the mean spacing."""
    return float(_distances(configuration).min() * configuration.density ** (1 / configuration.dimension))


def _units(snapshot: Snapshot, units: Units, nearest: float) -> tuple[str, list[str]]:
    """Return a guess at the file's units in words, and what contradicts those declared."""
    said = snapshot.attributes.get("units")
    if isinstance(said, str):
        guess = f"{said}, says the file"
    elif 0.6 < nearest < 1.4:
        guess = f"lj: nearest neighbours are {nearest:.3g} apart"
    elif 1.4 <= nearest < 7:
        guess = f"angstrom: nearest neighbours are {nearest:.3g} apart"
    elif 0.1 < nearest <= 0.6:
        guess = f"nanometre: nearest neighbours are {nearest:.3g} apart"
    else:
        guess = f"unknown: nearest neighbours are {nearest:.3g} apart"
    reduced_distance = nearest / units.sigma
    if 0.6 < reduced_distance < 1.4:
        return guess, []
    return guess, [
        f"nearest neighbours are {reduced_distance:.3g} sigma apart, where dense liquids have about 1: say --units and "
        "--sigma, the diameter of the large particles in the file's unit"
    ]


def _temperatures(
    shown: list[Snapshot], units: Units, mixture: Mixture | None, warnings: list[str]
) -> dict[str, float | None]:
    """Return both temperatures, each the mean over the frames, and warn if they are not one."""
    kinetic = [T for T in (kinetic_temperature(snapshot, units) for snapshot in shown) if T is not None]
    found: dict[str, float | None] = {"T_kinetic": float(np.mean(kinetic)) if kinetic else None}
    found["T_configurational"] = None
    if mixture is None:
        return found
    try:
        configurational = [configurational_temperature(reduced(snapshot, units)[0], mixture) for snapshot in shown]
    except ValueError as error:
        warnings.append(f"the potential {mixture.name} cannot be applied: {error}")
        return found
    found["T_configurational"] = float(np.mean(configurational))
    if kinetic and len(kinetic) == len(configurational):
        apart = np.array(configurational) - kinetic
        # a single frame: both temperatures scatter by sqrt(2 / (N d))
        alone = 2 * np.sqrt(1 / shown[0].configuration.positions.size) * np.mean(kinetic)
        scatter = float(apart.std(ddof=1) / np.sqrt(len(apart))) if len(apart) > 3 else float(alone)
        mean = float(apart.mean())
        if abs(mean) > 4 * scatter and abs(mean) > 0.05 * float(np.mean(kinetic)):
            warnings.append(
                f"not in equilibrium: the kinetic temperature is {np.mean(kinetic):.3f} and the configurational one "
                f"{np.mean(configurational):.3f} with {mixture.name}; the sample ages, was heated or cooled just "
                "now, or was made with another potential or mass"
            )
    return found


def _ageing(
    shown: list[Snapshot], told: Told, units: Units, mixture: Mixture | None, found: dict[str, Any], warnings: list[str]
) -> dict[str, Any]:
    """Return the energies of the frames with the potential, and warn where they fall from first to last."""
    nothing = {"e_pot_unshifted": None, "e_is_unshifted": None, "ageing_p": None}
    if mixture is None or found["T_configurational"] is None:
        return nothing
    thermal = [energies(reduced(snapshot, units)[0], mixture).unshifted for snapshot in shown]
    inherent = None
    if found["n_particles"] <= _N_MINIMISED:
        choice = Choice(told=told, mixture=mixture, units=units)
        try:
            states = [state_of(snapshot, choice) for snapshot in shown]
        except BadTrajectoryError as error:
            warnings.append(f"no inherent structures: {error}")
        else:
            inherent = [dynamics.minimise(state, dynamics.Fire()).energies.unshifted for state in states]
    values, name = (thermal, "potential energy") if inherent is None else (inherent, "inherent-structure energy")
    p = _falls(values)
    if p is not None and p < _SIGNIFICANT:
        warnings.append(
            f"ageing: the {name} per particle falls from {values[0]:.3f} to {values[-1]:.3f} over the file "
            f"(p = {p:.1g}); frames are not samples of one state, and a score depends on when it is taken"
        )
    return {
        "e_pot_unshifted": float(np.mean(thermal)),
        "e_is_unshifted": None if inherent is None else float(np.mean(inherent)),
        "ageing_p": p,
    }


def _falls(values: list[float]) -> float | None:
    """Return the one-sided p of a series falling in time, by Kendall's tau; None of fewer than 5 values."""
    if len(values) < 5:
        return None
    return float(kendalltau(np.arange(len(values)), values, alternative="less").pvalue)


def _named_peaks(configurations: list[Configuration], names: tuple[str, ...]) -> dict[str, float]:
    return {f"{names[a]}-{names[b]}": r for (a, b), r in first_peaks(configurations).items()}


def _domain(
    shown: list[Snapshot], told: Told, units: Units, model: Packed | None, warnings: list[str]
) -> dict[str, Any]:
    """Return how far the frames are from a model's training set, and warn if that is too far."""
    if model is None:
        return {"model": None, "domain_distance": None, "T_structure": None}
    name = model.card["name"]
    try:
        places = [model.domain.place(looked_at(snapshot, model, told, units)[0]) for snapshot in shown]
    except ValueError as error:
        warnings.append(f"outside the domain of {name}: it cannot be used ({error})")
        return {"model": name, "domain_distance": None, "T_structure": None}
    n_outside = sum(bool(place.reasons) for place in places)
    reasons = list(dict.fromkeys(reason for place in places for reason in place.reasons))
    if n_outside > len(places) / 10:  # one of a hundred is outside by definition
        warnings.append(
            f"outside the domain of {name}: of {n_outside} of the {len(places)} frames looked at, {reasons[0]}; its "
            "score means nothing there"
        )
    return {
        "model": name,
        "domain_distance": float(np.median([place.distance for place in places])),
        "T_structure": float(np.median([place.T for place in places])),
    }
