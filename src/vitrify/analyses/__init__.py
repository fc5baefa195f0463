"""The analyses of a study: each reads its ensemble and its networks, and becomes a section of its report.

An analysis is a module here: ``compute`` turns a study into values, and ``section`` turns those values into
sentences, figures and tables. What is computed lies in ``out/analyses/NAME.json`` and is found again by a second
call. The functions on values that do the work are modules of their own beside the stages; here they meet the study
and its folder.
"""

__all__ = ["ANALYSES", "Analysis", "between", "report_again", "run", "sections"]

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from vitrify import log, report, store, study
from vitrify.analyses import attribution, attribution_section, energy, probes, structure, tg, transfer, transfer_studies
from vitrify.settings import Study

Progress = Callable[[str, float, float], None]


class Compute(Protocol):
    """Returns the values of an analysis: what JSON can hold."""

    def __call__(self, chosen: Study, out: Path, *, n_workers: int, progress: Progress) -> dict[str, Any]:
        """Compute them from the runs and the classifiers of a study, making those that are missing."""
        ...


class Analysis(NamedTuple):
    """One analysis.

    Args:
        compute: Returns its values.
        section: Turns the values into a section of the report.
        version: Counted up when the meaning of the values changes.
    """

    compute: Compute
    section: Callable[[dict[str, Any]], report.Section]
    version: int = 1


def run(
    names: Sequence[str], chosen: Study, out: Path, *, n_workers: int, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Return the values of some analyses of a study, by name, and write them into its report.

    The study is run first if it is not finished; an analysis already made of the same study is not made again.

    Args:
        names: Keys of `ANALYSES`.
        chosen: The study.
        out: Its folder.
        n_workers: Processes.
        progress: Told the stage and how far it is.

    Raises:
        ValueError: There is no such analysis.
        store.DamagedFileError: A file of an earlier call cannot be read.
    """
    unknown = sorted(set(names) - set(ANALYSES))
    if unknown:
        raise ValueError(f"an analysis is one of {', '.join(ANALYSES)}; got {', '.join(unknown)}")
    study.run(chosen, out, sections=sections, n_workers=n_workers, progress=progress)
    found, made = {}, False
    for name in names:
        path, identity = out / "analyses" / f"{name}.json", _identity(chosen, name)
        known = store.read_json(path)
        if known is None or known["identity"] != identity:
            with log.recorded(out, kind="analyse", name=f"{name}-{identity[:6]}", known=_known(chosen, name)) as entry:
                values = ANALYSES[name].compute(chosen, out, n_workers=n_workers, progress=progress)
                path.parent.mkdir(exist_ok=True)
                store.write_json(path, {"identity": identity, "values": values})
                known, made = store.read_json(path), True
                section = ANALYSES[name].section(known["values"])
                entry["sentences"] = list(section.sentences)
                entry["figures"] = [f"figures/{drawing.name}.png" for drawing in section.drawings]
        found[name] = dict(known["values"])
    if made:
        report_again(out, n_workers=n_workers, progress=progress)
    return found


def between(chosen: Study, out: Path, others: Sequence[Path], *, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Return the transfer matrix over a study and finished other ones, and write it into the report of the study.

    Args:
        chosen: The study, which is run first if it is not finished.
        out: Its folder.
        others: Folders of the others.
        n_workers: Processes.
        progress: Told the stage and how far it is.

    Raises:
        ValueError: A folder holds no finished study, or is named twice.
        store.DamagedFileError: A file of an earlier call cannot be read.
    """
    found = {folder: store.read_json(folder / "results.json") for folder in others}
    for folder, results in found.items():
        if results is None:
            raise ValueError(f"{folder} holds no results.json: name the folder of a finished study")
    study.run(chosen, out, sections=sections, n_workers=n_workers, progress=progress)
    path, identity = out / "analyses" / f"{_BETWEEN}.json", _identity(chosen, _BETWEEN)
    asked = [found[folder]["study"] for folder in others]
    known = store.read_json(path)
    if known is None or known["identity"] != identity or known["others"] != asked:
        with log.recorded(
            out, kind="analyse", name=f"{_BETWEEN}-{identity[:6]}", known=_known(chosen, _BETWEEN)
        ) as entry:
            values = transfer_studies.compute([out, *others], progress=progress)
            path.parent.mkdir(exist_ok=True)
            store.write_json(path, {"identity": identity, "others": asked, "values": values})
            known = store.read_json(path)
            section = transfer_studies.section(known["values"])
            entry["sentences"] = list(section.sentences)
            entry["figures"] = [f"figures/{drawing.name}.png" for drawing in section.drawings]
        report_again(out, n_workers=n_workers, progress=progress)
    return dict(known["values"])


def report_again(out: Path, *, n_workers: int, progress: Progress) -> dict[str, Any]:
    """Write the report of a finished study again, with the analyses made of it, and return its results.

    Raises:
        ValueError: The folder holds no finished study.
    """
    return study.report_again(out, sections=sections, n_workers=n_workers, progress=progress)


def sections(chosen: Study, out: Path) -> list[report.Section]:
    """Return the sections of the analyses made of a study, in the order of `ANALYSES`."""
    found = []
    for name, analysis in ANALYSES.items():
        known = store.read_json(out / "analyses" / f"{name}.json")
        if known is not None and known["identity"] == _identity(chosen, name):
            found.append(analysis.section(known["values"]))
    known = store.read_json(out / "analyses" / f"{_BETWEEN}.json")
    if known is not None and known["identity"] == _identity(chosen, _BETWEEN):
        found.append(transfer_studies.section(known["values"]))
    return found


def _known(chosen: Study, name: str) -> dict[str, Any]:
    """Return what the log is told when an analysis begins."""
    settings = {"analysis": name, "version": _version(name), "study": chosen.model_dump(mode="json")}
    digest = hashlib.sha256(json.dumps(settings["study"], sort_keys=True).encode()).hexdigest()
    return {"study": chosen.name, "settings": settings, "data": digest, "lineage": [], "versions": store.versions()}


def _identity(chosen: Study, name: str) -> str:
    settings = [chosen.model_dump(mode="json"), name, _version(name), store.VERSION]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _version(name: str) -> int:
    return ANALYSES[name].version if name in ANALYSES else _BETWEEN_VERSION


_BETWEEN = "transfer_studies"
"""The one analysis of several studies, kept in the folder of the first."""

_BETWEEN_VERSION = 2

ANALYSES: dict[str, Analysis] = {
    "tg": Analysis(tg.compute, tg.section, version=2),
    "energy": Analysis(energy.compute, energy.section, version=3),
    "transfer": Analysis(transfer.compute, transfer.section, version=3),
    "structure": Analysis(structure.compute, structure.section, version=2),
    "attribution": Analysis(attribution.compute, attribution_section.section, version=3),
    "probes": Analysis(probes.compute, probes.section, version=2),
}
"""By name, in the order of the report."""
