"""Where the transition is, five ways: two lines, two branches of the whole curve, three indicators of one classifier.

The classifier is shown inherent structures, each as the means and the standard deviations, over the particles of each
species, of their descriptors. Thermal configurations would show it the bath: their bonds vibrate with the temperature,
so that every record is told from its neighbours and nothing is learnt of structure.

Where records have boxes of their own the volume per particle is a second curve, or the only one if no energies are
known.
"""

__all__ = ["compute", "section"]

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vitrify import indicators, locate, report, store
from vitrify.branches import MIN_RUNS
from vitrify.claims import listed
from vitrify.dataset import Ensemble
from vitrify.descriptors import Descriptors
from vitrify.material import NO_POTENTIAL
from vitrify.settings import Study
from vitrify.system import stream
from vitrify.transition import mean_curve
from vitrify.transition_figures import tg_figure

_N_TEMPERATURES = 24
_N_SHUFFLES = 20  # then a peak above all of them has p < 0.05
_CURVES = {"e_is": "mean unshifted inherent-structure energy", "volume": "mean volume per particle"}
_NAMES = {"e_is": "the cooling curve", "volume": "the volume"}
_SHOWN = {"descriptors": "structure", "e_is": "e_IS alone"}


def compute(
    chosen: Study, out: Path, *, n_workers: int, progress: Callable[[str, float, float], None]
) -> dict[str, Any]:
    """Return Tg of a study's cooling by every method, with the curves behind it.

    Args:
        chosen: The study.
        out: Its folder.
        n_workers: Not needed: the classifiers are small.
        progress: Told the classifiers fitted.

    Returns:
        What `vitrify.locate.as_values` returns of the curve that ``of`` names, ``e_is`` or ``volume``, with
        ``indicators`` (by what the classifier was shown, then by name), ``n_runs``, ``n_particles`` and
        ``cooling_steps``, 0 if unknown; ``volume`` is the curve of the volume beside that of the energy, if both are
        known. Without ``rows`` if the study is neither of a cooling nor of imported records with energies or boxes of
        their own.
    """
    del n_workers
    simulate = chosen.simulate
    course, known = simulate.cool or simulate.imported, simulate.liquid.has_potential
    if course is None or not (known or simulate.own_boxes):
        return {"protocol": simulate.protocol, "rows": []}
    n_frames = chosen.simulate.bath.n_frames
    k = np.unique(np.linspace(1, n_frames, min(_N_TEMPERATURES, n_frames)).round().astype(int))
    ensemble = store.load(out / "data", simulate, seed=chosen.seed, k=tuple(k.tolist()) if known else ())
    values: dict[str, Any] = {"rows": []}
    volume, n_runs = ensemble.volume, ensemble.n_runs
    if volume is not None:
        values = _curve("volume", chosen, ensemble.T, volume, locate.of_volumes)
    if known:
        e_is = ensemble.energy("e_is")
        beside, values = values, _curve("e_is", chosen, ensemble.T, e_is, locate.of_runs)
        values["rows"] += beside["rows"]
        values |= {} if volume is None else {"volume": beside}
    values |= {
        "protocol": simulate.protocol,
        "indicators": {},
        "n_runs": n_runs,
        "n_particles": simulate.n_particles,
        "cooling_steps": 0 if simulate.cool is None else simulate.cool.n_steps,
    }
    if len(k) < 6 or n_runs < 3 or not known:
        return values
    shown = {"descriptors": described(ensemble), "e_is": e_is[:, k - 1, None]}
    for place, (name, features) in enumerate(shown.items()):
        found = _indicate(
            ensemble.T[k - 1],
            features,
            seed=chosen.seed,
            name=name,
            tick=lambda n, place=place: progress("transition", place * _N_SHUFFLES + n, len(shown) * _N_SHUFFLES),  # type: ignore[misc]
        )
        if n_runs < MIN_RUNS:
            words = f"{n_runs} runs cannot tell a transition: {MIN_RUNS} are needed"
            found = {one: replace(indicator, found=None, verdict=words) for one, indicator in found.items()}
        values["indicators"][name] = {one: _plain(indicator) for one, indicator in found.items()}
        values["rows"] += [asdict(row) for row in locate.indicator_rows(found, what=_SHOWN[name], n_runs=n_runs)]
    return values


def _curve(
    of: str, chosen: Study, T: np.ndarray, curves: np.ndarray, locating: Callable[..., locate.Located]
) -> dict[str, Any]:
    """Return what is located on the mean of the curves of all runs, as JSON can hold it."""
    located = locating(T, curves, seed=chosen.seed, limit=chosen.width_limit)
    values = locate.as_values(located, T, *mean_curve(curves), limit=chosen.width_limit) | {"of": of}
    whole = locate.summary(located, n_records=len(T), limit=chosen.width_limit)
    values["summary"]["sentence"] = whole.sentence(_NAMES[of])
    return values


def described(ensemble: Ensemble) -> Float[np.ndarray, "r m f"]:
    """Return mean and standard deviation of the descriptors over each species, for each inherent structure.

    Args:
        ensemble: The runs, with the positions of the records wanted.
    """
    view = _view(ensemble)
    kinds = range(view.n_species)
    rows = []
    for structures in ensemble.shown("inherent"):
        numbers = view(structures, ensemble.species, ensemble.box)[0][:, :, view.n_species :].astype(float)
        of_kind = [numbers[:, ensemble.species == kind] for kind in kinds]
        rows.append(np.concatenate([pool(axis=1) for one in of_kind for pool in (one.mean, one.std)], axis=1))
    return np.stack(rows)


def section(values: dict[str, Any]) -> report.Section:
    """Return what the values support, their figure and their table."""
    title = "Where is the glass transition?"
    if not values["rows"]:
        words = f"A transition is located on a cooling; this study's bath follows simulate.{values['protocol']}."
        if values["protocol"] == "imported":
            words = (
                "A transition is located on a curve of energies or of volumes. All records have one box, and there are "
                f"no energies: {NO_POTENTIAL}."
            )
        return report.Section(anchor="transition", title=title, sentences=[words])
    drawing = report.Drawing(
        name="tg_methods",
        draw=tg_figure,
        values=(values,),
        data=_columns(values),
        caption=_caption(values),
    )
    table = report.Table(
        title=f"Tg by every method, {values['n_runs']} runs",
        columns=("method", "of", "Tg", "95% interval", "found", "verdict"),
        rows=[
            (
                row["method"],
                row["convention"],
                _number(row["Tg"]),
                _interval(row),
                locate.FOUND[row["found"]],
                row["verdict"],
            )
            for row in values["rows"]
        ],
    )
    return report.Section(
        anchor="transition", title=title, sentences=_sentences(values), drawings=[drawing], tables=[table]
    )


def _view(ensemble: Ensemble) -> Descriptors:
    """Return the descriptors, seen no farther than half of a small box."""
    n_species, widest = int(ensemble.species.max()) + 1, Descriptors()
    if ensemble.box.min() >= 2 * widest.reach:
        return Descriptors(n_species=n_species)
    beyond = (widest.reach - widest.r_max) / (widest.r_max - widest.r_min)
    r_max = 0.999 * (ensemble.box.min() / 2 + beyond * widest.r_min) / (1 + beyond)
    return Descriptors(n_species=n_species, r_max=float(r_max), r_shell=min(widest.r_shell, float(r_max)))


def _indicate(
    T: Float[np.ndarray, " k"],
    features: Float[np.ndarray, "r k f"],
    *,
    seed: int,
    name: str,
    tick: Callable[[int], None],
) -> dict[str, indicators.Indicator]:
    rng = stream(seed, "indicators", name)
    p = indicators.cross_fit(features, seed=seed)
    nulls = []
    for n in range(_N_SHUFFLES):
        nulls.append(indicators.cross_fit(indicators.shuffled(features, rng=rng), seed=seed))
        tick(n + 1)
    return indicators.evaluate(T, p, np.stack(nulls), rng=rng)


def _plain(indicator: indicators.Indicator) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(indicator).items()
    }


def _caption(values: dict[str, Any]) -> str:
    panels = iter("abcdefg")
    said = [
        f"({next(panels)}) {_CURVES[curve['of']].capitalize()}, two lines and the smooth fit; Tg found are marked."
        for curve in (values, values.get("volume"))
        if curve is not None
    ]
    said.append(f"({next(panels)}) Tg by every method.")
    if values["indicators"]:
        first, _, last = next(panels), next(panels), next(panels)
        said.append(
            f"({first}-{last}) Indicators of a classifier shown inherent structures, between neighbouring "
            "temperatures; grey: temperatures shuffled within each run."
        )
    return " ".join(said)


def _sentences(values: dict[str, Any]) -> list[str]:
    curves = (values, values.get("volume"))
    return [*(one["summary"]["sentence"] for one in curves if one is not None), *_of_indicators(values)]


def _of_indicators(values: dict[str, Any]) -> list[str]:
    sentences = []
    for kind, what in _SHOWN.items():
        found = values["indicators"].get(kind, {})
        said = [
            f"{name} peaks at {one['Tg']:.3f} [{one['Tg_low']:.3f}, {one['Tg_high']:.3f}]"
            for name, one in found.items()
            if one["found"]
        ]
        for verdict, words in (
            ("crossover", "a crossover and no sharp transition"),
            ("no transition", "no transition"),
        ):
            names = [name for name, one in found.items() if not one["found"] and one["verdict"].startswith(verdict)]
            if names:
                said.append(f"by {listed(names)}, {words}")
        if said:
            sentences.append(f"Of one classifier shown {what}, {values['n_runs']} runs: {'; '.join(said)}.")
    return sentences


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    columns = {"T": values["T"]}
    for curve in (values, values.get("volume")):
        if curve is not None:
            name = {"e_is": "e_is_unshifted", "volume": "volume"}[curve["of"]]
            columns |= {name: curve["mean"], f"{name} se": curve["se"]}
    columns |= {name: [row[name] for row in values["rows"]] for name in ("method", "convention", "Tg", "low", "high")}
    columns["found"] = [row["found"] for row in values["rows"]]
    for kind, found in values["indicators"].items():
        for name, one in found.items():
            columns[f"{kind} T"] = one["T"]
            columns |= {f"{kind} {name} {end}": one[end] for end in ("value", "low", "high", "null_low", "null_high")}
    return columns


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
