"""Ask a packed model about every frame of a user's trajectory, and write its answers back beside the particles."""

__all__ = ["ATTRIBUTES", "COLUMN", "looked_at", "predict", "reduced", "warnings"]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitrify import dynamics, lineage
from vitrify.fingerprints import fingerprint
from vitrify.imported import Choice, Units, minimised, state_of
from vitrify.material import Material
from vitrify.packed import Packed, Verdict
from vitrify.potentials import Mixture
from vitrify.simulate import Simulate
from vitrify.snapshots import BadTrajectoryError, Snapshot, Told
from vitrify.system import Configuration
from vitrify.trajectories import read, write

Progress = Callable[[str, float, float], None]

COLUMN = "to_glass"
"""Column of what each particle adds to the logit."""

ATTRIBUTES = ("p_glass", "p_glass_low", "p_glass_high", "domain_distance")
"""What is written of a frame, in the formats that can say something of one."""


def predict(
    path: Path,
    model: Packed,
    told: Told,
    units: Units,
    *,
    out: Path | None,
    every: int = 1,
    attribute: bool = True,
    progress: Progress,
) -> dict[str, Any]:
    """Return what a model says of the frames of a trajectory, and write it back.

    Args:
        path: The trajectory.
        model: A packed model; one of inherent structures is shown those of the frames.
        told: What the user says about the file.
        units: The file's units.
        out: File that is written: the frames scored, with a column ``to_glass``; None writes none.
        every: Score each frame whose number is a multiple.
        attribute: Also say what each particle adds.
        progress: Told the frames scored; how many there are is not known before.

    Raises:
        BadTrajectoryError: The file is damaged, or the model cannot look at a frame.
        FileExistsError: ``out`` is there.
        ValueError: ``out`` has no suffix that can be written, or the file has no such frame.
        OSError: A file cannot be read or written.
    """
    if every < 1:
        raise ValueError(f"every must be 1 or more; got {every}")
    if out is not None and out.exists():
        raise FileExistsError(17, "is there already: name another file with --out", str(out))
    rows: list[dict[str, Any]] = []
    seen = lineage.of_card(model.card)

    def scored() -> Iterator[Snapshot]:
        for number, snapshot in enumerate(read(path, told), 1):
            if number % every:
                continue
            configuration, order = looked_at(snapshot, model, told, units)
            verdict = _judge(configuration, snapshot, model, attribute=attribute)
            shown = (reduced(snapshot, units)[0], configuration)
            rows.append(_row(snapshot, verdict) | {"seen": _known(shown, seen)})
            progress("frames scored", len(rows), 0)
            yield _answered(snapshot, verdict, order)

    if out is None:
        for _ in scored():
            pass
    else:
        write(out, scored())
    if not rows:
        raise ValueError(f"{path} has fewer than {every} frames: nothing was scored")
    return {
        "file": str(path),
        "model": model.card["name"],
        "input": model.card["input"],
        "n_networks": len(model.members),
        "frames": rows,
        "n_outside": sum(not row["in_domain"] for row in rows),
        "n_seen": sum(row["seen"] is not None for row in rows) if "seen" in model.card else None,
        "warnings": warnings(rows, model),
        "written": None if out is None else str(out),
    }


def reduced(snapshot: Snapshot, units: Units) -> tuple[Configuration, np.ndarray]:
    """Return a frame in units of sigma_AA with A first, and the order its particles were put in.

    Raises:
        BadTrajectoryError: A boundary is open.
    """
    shown = snapshot.configuration
    if shown.periodic is not None:
        raise BadTrajectoryError(f"{snapshot.path}, frame {snapshot.frame}: all boundaries must be periodic")
    order = np.argsort(shown.species, kind="stable")
    return (
        Configuration(
            positions=shown.positions[order] / units.sigma, species=shown.species[order], box=shown.box / units.sigma
        ),
        order,
    )


def warnings(rows: list[dict[str, Any]], model: Packed) -> list[str]:
    """Return in words for which frames a model should not be believed, and why."""
    found: dict[str, list[int]] = {}
    for row in rows:
        for reason in row["reasons"]:
            kind = "its structure is farther from the training than that of 99 of 100 held-out configurations"
            found.setdefault(reason if "structure" not in reason else kind, []).append(row["frame"])
    said = [
        f"do not believe {model.card['name']} in {len(frames)} of {len(rows)} frames, {frames[0]} the first: {reason}"
        for reason, frames in found.items()
    ]
    met = [row["frame"] for row in rows if row.get("seen") is not None]
    if met:
        said.append(
            f"{len(met)} of {len(rows)} frames, {met[0]} the first, trained or chose {model.card['name']}: leave them "
            "out of what tests it"
        )
    return said


def looked_at(snapshot: Snapshot, model: Packed, told: Told, units: Units) -> tuple[Configuration, np.ndarray]:
    """Return the configuration a model looks at, the frame or its inherent structure, and the order of its particles.

    A model of scaled boxes is shown the frame at the density of its training.

    Raises:
        BadTrajectoryError: The frame has no inherent structure by the model's potential, or a boundary is open.
    """
    trained = Simulate.model_validate(model.card["study"]["simulate"])
    configuration, order = reduced(snapshot, units)
    if model.card["input"] == "inherent":
        mixture = trained.liquid
        assert isinstance(mixture, Mixture | Material)
        state = state_of(snapshot, Choice(told=told, mixture=mixture, units=units))
        configuration = dynamics.configuration(minimised(state, dynamics.Fire())[1].state)
    if trained.own_boxes:
        factor = (configuration.density / model.domain.density) ** (1 / configuration.dimension)
        configuration = replace(
            configuration, positions=configuration.positions * factor, box=configuration.box * factor
        )
    return configuration, order


def _judge(configuration: Configuration, snapshot: Snapshot, model: Packed, *, attribute: bool) -> Verdict:
    """Return what the model says of the configuration that it looks at of a frame."""
    try:
        return model.judge(configuration, attribute=attribute)
    except ValueError as error:
        raise BadTrajectoryError(f"{snapshot.path}, frame {snapshot.frame}: {error}") from error


def _known(shown: Sequence[Configuration], seen: lineage.Seen) -> Literal["trained", "chose"] | None:
    """Return whether a frame, or its inherent structure, is of a configuration that trained or chose the model."""
    sought = frozenset[str]().union(*(fingerprint(one.positions, one.species, one.box).sought for one in shown))
    if sought & seen.train:
        return "trained"
    return "chose" if sought & seen.chose else None


def _row(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    place = asdict(verdict.place)
    single = np.isnan(verdict.low)
    return {
        "frame": snapshot.frame,
        "step": snapshot.step,
        "p_glass": verdict.p_glass,
        "low": None if single else verdict.low,
        "high": None if single else verdict.high,
        "logit": verdict.logit,
        "domain_distance": place["distance"],
        "T_structure": place["T"],
        "in_domain": not place["reasons"],
        "reasons": list(place["reasons"]),
    }


def _answered(snapshot: Snapshot, verdict: Verdict, order: np.ndarray) -> Snapshot:
    """Return the user's frame with the answers in it."""
    values = (verdict.p_glass, verdict.low, verdict.high, verdict.place.distance)
    said = {name: value for name, value in zip(ATTRIBUTES, values, strict=True) if np.isfinite(value)}
    columns = dict(snapshot.columns)
    if verdict.to_glass is not None:
        back = np.empty(len(order))
        back[order] = verdict.to_glass
        columns[COLUMN] = back
    return replace(snapshot, columns=columns, attributes={**snapshot.attributes, **said})
