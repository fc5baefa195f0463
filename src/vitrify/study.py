"""One investigation from settings to results: cool, learn, score, locate. Only this module knows the order."""

__all__ = [
    "BATCH",
    "classified",
    "compile_kernels",
    "finished",
    "learn",
    "matched",
    "pair",
    "report_again",
    "run",
    "simulate",
]

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import classify, conclusions, dynamics, locate, log, parallel, report, store, transition, views
from vitrify.dataset import EnergyPair, Ensemble, Labelled, between, compared, equal_energy
from vitrify.models import CNN, MODELS, MPNN
from vitrify.potentials import MIXTURES, Mixture
from vitrify.settings import Input, Study, class_names
from vitrify.system import Configuration, stream

Progress = Callable[[str, float, float], None]
"""Called with the stage's name, the work done and the work in all."""

Sections = Callable[[Study, Path], Sequence[report.Section]]
"""Returns the analyses of a study that its folder holds, as sections of the page."""

BATCH = 256
"""Runs advanced together on a device: enough to fill it, few enough that each may hold its folder's lock."""


_LARGE = ("swanson2018",)  # 72 million weights, and nothing to compile


def compile_kernels() -> None:
    """Compile every kernel and keep it beside the package, so that the first study need not; takes half a minute.

    An installer calls this once. Without it the first study compiles what it uses.
    """
    for mixture in MIXTURES.values():
        if not isinstance(mixture, Mixture):  # run by LAMMPS, which is compiled
            continue
        rng = stream(0, "compile", mixture.name)
        state = dynamics.start(mixture, n_particles=300, T=1.0, rng=rng)
        state = dynamics.advance(state, n_steps=20, dt=0.005, T_from=1.0, T_to=1.0, tau=0.5, rng=rng)
        dynamics.energies(state)
        seen = dynamics.configuration(state)
        positions = seen.positions[None].astype(np.float32)
        for model in MODELS.values():
            network = model()
            if mixture.dimension in network.dimensions and network.kind not in _LARGE:
                inputs = network.inputs(positions, seen.species, seen.box)
                network.build(seed=0).eval()(*inputs).sum().backward()


def simulate(
    study: Study, out: Path, *, runs: Sequence[int] | None = None, n_workers: int, progress: Progress
) -> dict[str, float]:
    """Cool and minimise every run that is not finished; return the seconds spent on each, over all processes.

    Args:
        study: The investigation.
        out: Folder of the results; the runs go to ``out/data``.
        runs: Which runs; by default all.
        n_workers: Processes.
        progress: Told the records kept.

    Raises:
        ValueError: The runs were imported, and are not all here.
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder cannot be written, or the disk is full.
    """
    settings, root = study.simulate, out / "data"
    asked = range(settings.n_runs) if runs is None else runs
    kept = store.unfinished(root, settings, seed=study.seed, runs=asked)
    if kept and settings.imported is not None:
        raise ValueError(f"{root} lacks {len(kept)} of {settings.n_runs} imported runs: name their folder with --out")
    n_frames = settings.bath.n_frames
    done = (len(asked) - len(kept)) * n_frames + sum(kept.values())

    def tick(amount: float) -> None:
        nonlocal done
        done += int(amount)
        progress("cool and minimise", done, n_frames * len(asked))

    jobs = [store.Job(root=root, settings=settings, seed=study.seed, run=run) for run in kept]
    tick(0)
    if not jobs:
        return store.seconds(root, settings, seed=study.seed, runs=asked)
    part = {} if runs is None else {"runs": list(runs)}  # a record of its own: others may be at work on other parts
    known = settings.model_dump(mode="json") | part
    with _logged(study, out, "simulate", f"{study.name}-{settings.mixture}", known) as entry:
        if settings.device == "cpu":
            parallel.spread(store.keep_run, jobs, n_workers=n_workers, progress=tick)
        else:  # the device is the parallel machine: one process feeds it
            batches = [jobs[first : first + BATCH] for first in range(0, len(jobs), BATCH)]
            parallel.spread(store.keep_runs, batches, n_workers=1, progress=tick)
        spent = store.seconds(root, settings, seed=study.seed, runs=asked)
        entry["results"] = {"n_runs": len(asked), "n_records": len(asked) * n_frames, **spent}
    return spent


def _logged(
    study: Study, out: Path, kind: log.Kind, name: str, settings: dict[str, Any]
) -> AbstractContextManager[dict[str, Any]]:
    """Return the context that logs a stage of a study; other settings are another record."""
    digest = hashlib.sha256(json.dumps([settings, study.seed, store.VERSION], sort_keys=True).encode()).hexdigest()
    known = {
        "study": study.name,
        "settings": settings | {"seed": study.seed},
        "lineage": [],
        "data": digest,
        "versions": store.versions(),
    }
    return log.recorded(out, kind=kind, name=f"{name}-{digest[:6]}", known=known)


def learn(
    study: Study, out: Path, *, only: Collection[str] | None = None, n_workers: int, progress: Progress
) -> list[dict[str, Any]]:
    """Return the outcomes of the classifiers of a study whose runs are finished, training those that are not.

    Args:
        study: The investigation.
        out: Folder of the results.
        only: Folders of the classifiers asked for, as :func:`vitrify.classify.trainings` names them; by default all.
        n_workers: Processes.
        progress: Told the steps taken.

    Raises:
        ValueError: A run is not finished.
    """
    ensemble = store.load(out / "data", study.simulate, seed=study.seed, k=study.classify.records)
    _, equal = matched(study, out, n_workers=n_workers, progress=progress)
    return classify.learn_all(
        study, ensemble, out / "models", equal=equal, only=only, n_workers=n_workers, progress=progress
    )


def finished(study: Study, out: Path) -> bool:
    """Return whether a folder holds the results and the report of a study, made by these versions."""
    done = store.read_json(out / "results.json")
    if not done or "claims" not in done or not (out / "report.html").exists():
        return False
    return bool(done["study"] == study.model_dump(mode="json") and done["versions"] == store.versions())


def run(
    study: Study, out: Path, *, sections: Sections = lambda _study, _out: (), n_workers: int, progress: Progress
) -> dict[str, Any]:
    """Return the results of a study, doing only what an earlier call in the same folder has not done.

    Args:
        study: The investigation.
        out: Folder of the results: ``out/data`` holds the runs, ``out/models`` the classifiers.
        sections: Returns the analyses of the study that the page shows too.
        n_workers: Processes.
        progress: Told the stage and how far it is.

    Returns:
        The contents of ``out/results.json``, described in ``docs/results.md``; ``out/report.html`` shows them.

    Raises:
        ValueError: The study holds a pressure, so that its records have no box in common.
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder cannot be written, or the disk is full.
    """
    if study.simulate.bath.P_start is not None:
        raise ValueError(
            "simulate.schedule holds a pressure: every record has its own box; use vitrify simulate, and then "
            "vitrify import --scale for the files thermal.gsd of the runs"
        )
    settings = study.model_dump(mode="json")
    if finished(study, out):
        return dict(store.read_json(out / "results.json"))
    began = time.perf_counter()
    spent = simulate(study, out, n_workers=n_workers, progress=progress)
    ensemble = store.load(out / "data", study.simulate, seed=study.seed, k=study.classify.records)
    pair_found, equal = matched(study, out, n_workers=n_workers, progress=progress)
    outcomes = classify.learn_all(study, ensemble, out / "models", equal=equal, n_workers=n_workers, progress=progress)
    results: dict[str, Any] = {
        "versions": store.versions(),
        "cooling_curve": _cooling_curve(ensemble),
        "minimiser": _minimiser(study, ensemble),
        "reference": _reference(study, ensemble),
        **_tg(study, ensemble),
        **classified(study, ensemble.T, outcomes, pair_found),
        "graphs": _graphs(study, ensemble),
        "learning_curves": [classify.learning_curve(outcome) for outcome in outcomes if outcome["history"]],
    }
    spent["learn_s"] = sum(outcome["seconds"] for outcome in outcomes)
    results["timing"] = spent | {"total_s": time.perf_counter() - began}
    with _logged(study, out, "analyse", f"{study.name}-report", settings) as entry:
        results = _report(study, results, out, sections=sections, n_workers=n_workers, progress=progress)
        shown = [name for name in ("progress", "cooling_curve") if (out / "figures" / f"{name}.png").exists()]
        entry |= {
            "sentences": [*results["summary"], *results["conclusions"]],
            "figures": [f"figures/{name}.png" for name in shown],
            "results": {"tg": results["tg"], "timing": results["timing"]},
        }
    _log_figures(study, out, outcomes)
    return results


def classified(
    study: Study, T: np.ndarray, outcomes: Sequence[dict[str, Any]], pair: EnergyPair | None
) -> dict[str, Any]:
    """Return what the classifiers reached: ``study``, ``classification`` and ``equal_energy`` of the results.

    Args:
        study: The investigation.
        T: Bath temperature of every record.
        outcomes: What `vitrify.classify.learn_all` returned.
        pair: The records of equal energy, if the study asks for them.
    """
    rows = classify.rows(T, outcomes)
    matched_rows = [row for row in rows if row["train_k"] == classify.EQUAL_ENERGY]
    groups = [row for row in rows if isinstance(row["train_k"], list)]
    return {
        "study": study.model_dump(mode="json"),
        "classification": [row for row in rows if row["train_k"] != classify.EQUAL_ENERGY and row not in groups],
        "groups": groups,
        "equal_energy": None if pair is None else {"pair": asdict(pair), "rows": matched_rows},
    }


def _log_figures(study: Study, out: Path, outcomes: Sequence[dict[str, Any]]) -> None:
    """Tell the log which figure shows each training; one that several seeds were drawn into shows none of them."""
    drawn = [
        (one.folder, report.learning_name(outcome))
        for one, outcome in zip(classify.trainings(study), outcomes, strict=True)
        if outcome["history"]
    ]
    names = [name for _, name in drawn]
    for folder, name in drawn:
        if names.count(name) == 1:
            log.append(out, log.identify(out, "train", folder), {"figures": [f"figures/{name}.png"]})


def pair(
    slow: Study, fast: Study, out: Path, *, tolerance: float = 1e-3, n_workers: int, progress: Progress
) -> dict[str, Any]:
    """Return the liquid of a slow cooling and the glass of a fast one that have the same inherent-structure energy.

    Runs that ``out`` already holds, of either study, are used; the classifiers of the studies play no part.

    Args:
        slow: The study whose liquid is wanted.
        fast: The study whose glass is wanted.
        out: Folder of the results: ``out/data`` holds the runs of both.
        tolerance: Largest difference of the mean energies, unshifted, in epsilon_AA per particle.
        n_workers: Processes.
        progress: Told the records kept of each study in turn.

    Returns:
        The contents of ``out/pair.json``: both studies' ensembles, the ``pair`` as
        :class:`vitrify.dataset.EnergyPair`, and as ``published`` the records nearest the temperatures of the
        published pair, which was matched on energies of stalled minimisations.

    Raises:
        ValueError: The studies are of different systems, or no two records agree.
        store.DamagedFileError: A file of an earlier call cannot be read.
        OSError: The folder cannot be written, or the disk is full.
    """
    one, two = slow.simulate, fast.simulate
    if (one.mixture, one.n_particles) != (two.mixture, two.n_particles):
        raise ValueError(
            f"both studies must have the same mixture and n_particles; got {one.mixture} with {one.n_particles} and "
            f"{two.mixture} with {two.n_particles}"
        )
    ensembles = []
    for study in (slow, fast):
        simulate(study, out, n_workers=n_workers, progress=progress)
        ensembles.append(store.load(out / "data", study.simulate, seed=study.seed, k=()))
    found = {
        "slow": {"name": slow.name, "seed": slow.seed, "simulate": one.model_dump(mode="json")},
        "fast": {"name": fast.name, "seed": fast.seed, "simulate": two.model_dump(mode="json")},
        "tolerance": tolerance,
        "pair": asdict(equal_energy(*ensembles, tolerance=tolerance)),
        "published": asdict(_published_pair(*ensembles)),
        "versions": store.versions(),
    }
    store.write_json(out / "pair.json", found)
    return dict(store.read_json(out / "pair.json"))


def matched(
    study: Study, out: Path, *, n_workers: int, progress: Progress
) -> tuple[EnergyPair | None, dict[Input, Labelled]]:
    """Return the liquid and the glass of equal energy and the data sets of both, cooling the fast ensemble first.

    Nothing is returned, and nothing done, if the study does not ask for them.
    """
    if study.equal_energy is None or study.fast is None:
        return None, {}
    fast = study.model_copy(update={"simulate": study.fast, "equal_energy": None})
    simulate(fast, out, n_workers=n_workers, progress=progress)
    energies = [store.load(out / "data", one.simulate, seed=one.seed, k=()) for one in (study, fast)]
    found = equal_energy(*energies, tolerance=study.equal_energy.tolerance)
    slow, quick = (
        store.load(out / "data", one.simulate, seed=one.seed, k=(k,))
        for one, k in ((study, found.k_slow), (fast, found.k_fast))
    )
    return found, {
        name: between(slow, quick, inherent=name == "inherent", k_liquid=found.k_slow, k_glass=found.k_fast)
        for name in study.classify.inputs
    }


_PUBLISHED_PAIR = (0.54725, 0.05)
"""Bath temperatures of the published liquid, t_cool = 2e7, and glass, t_cool = 2e5, called equal in energy [repo]."""


def _published_pair(slow: Ensemble, fast: Ensemble) -> EnergyPair:
    """Return the records nearest the published temperatures."""
    k_slow, k_fast = (
        int(np.abs(ensemble.T - T).argmin()) + 1 for ensemble, T in zip((slow, fast), _PUBLISHED_PAIR, strict=True)
    )
    return compared(slow, fast, k_slow=k_slow, k_fast=k_fast)


def report_again(
    out: Path, *, sections: Sections = lambda _study, _out: (), n_workers: int, progress: Progress
) -> dict[str, Any]:
    """Write the report of a finished study again, and return its results.

    Raises:
        ValueError: The folder holds no finished study.
    """
    results = store.read_json(out / "results.json")
    if results is None:
        raise ValueError(f"{out} holds no results.json: run a study there first")
    if "claims" not in results:
        raise ValueError(
            f"{out} holds results of an earlier version without claims: run the study again with --out {out}; its runs "
            "and its networks are used as they are"
        )
    study = Study.model_validate(results["study"])
    return _report(study, results, out, sections=sections, n_workers=n_workers, progress=progress)


def _report(
    study: Study, results: dict[str, Any], out: Path, *, sections: Sections, n_workers: int, progress: Progress
) -> dict[str, Any]:
    """Write the page, the figures and, last, ``results.json``; return the results with their conclusions."""
    results = results | {
        "classes": list(class_names(study)),
        "learning_curves": [
            entry | {"classes": list(class_names(study, k if isinstance(k := entry["train_k"], int) else None))}
            for entry in results["learning_curves"]
        ],
    }
    results |= {
        "claims": [claim.to_json() for claim in conclusions.claims(results)],
        "summary": conclusions.summary(results),
        "warnings": conclusions.warnings(results),
        "conclusions": conclusions.sentences(results),
        "saturated": conclusions.saturated(results),
        "chosen_network": conclusions.chosen_network(results),
    }
    report.write(
        results,
        _pictures(study, out),
        out,
        sections=sections(study, out),
        augmented=_augmented(study, out),
        n_workers=n_workers,
        progress=lambda done, total: progress("report", done, total),
    )
    store.write_json(out / "results.json", results)
    return dict(store.read_json(out / "results.json"))


def _pictures(study: Study, out: Path) -> dict[str, report.Pictures]:
    """Return, of the first run, a glass and a liquid as the network sees them and as the source log drew them."""
    classify = study.classify
    one = study.simulate.model_copy(update={"n_runs": 1})
    ensemble = store.load(out / "data", one, seed=study.seed, k=(classify.k_glass, classify.k_transfer))
    if ensemble.thermal.shape[-1] != 2:
        return {}
    view = next((model.view for model in study.models if isinstance(model, CNN)), views.Image())

    def drawn(positions: np.ndarray) -> np.ndarray:
        shown = Configuration(positions=positions.astype(float), species=ensemble.species, box=ensemble.box)
        return views.log_picture(shown)

    pictures: dict[str, report.Pictures] = {}
    for name in classify.inputs:
        glass, liquid = ensemble.shown(name)[0]
        seen = view(np.stack([glass, liquid]), ensemble.species, ensemble.box, stride=CNN.stride)[0]
        pictures[name] = (seen[0], seen[1], drawn(glass), drawn(liquid))
    return pictures


def _augmented(study: Study, out: Path) -> tuple[np.ndarray, list[tuple[bool, int]], str] | None:
    """Return the record ``k_glass`` of the first run under every symmetry that training shows pictures under.

    Nothing is returned unless a network of the study is trained on turned and mirrored pictures.
    """
    seeing = [model for model in study.models if isinstance(model, CNN)]
    if not seeing or not study.classify.train.augment:
        return None
    name, k = study.classify.inputs[-1], study.classify.k_glass
    one = study.simulate.model_copy(update={"n_runs": 1})
    ensemble = store.load(out / "data", one, seed=study.seed, k=(k,))
    elements = views.turns_and_mirrors(ensemble.box)
    g = len(elements)
    turned = views.symmetry(
        np.repeat(ensemble.shown(name)[0], g, axis=0), ensemble.box, element=np.arange(g), shift=np.zeros((g, 2))
    )
    (images,) = seeing[0].view(turned, ensemble.species, ensemble.box, stride=CNN.stride)
    kind = "thermal" if name == "thermal" else "inherent structure"
    return images, elements, f"{class_names(study)[1]}, {kind}"


_N_GRAPH_RUNS = 64  # runs whose neighbour graphs are looked at


def _graphs(study: Study, ensemble: Ensemble) -> list[dict[str, Any]]:
    """Return how connected the graphs are that a network on graphs is shown, record by record."""
    from vitrify import structure  # SciPy's parts take half a second to import

    classify, rows = study.classify, []
    for model in (one for one in study.models if isinstance(one, MPNN)):
        for name in classify.inputs:
            for k in (*sorted(classify.k), classify.k_glass):
                shown = ensemble.shown(name)[:_N_GRAPH_RUNS, ensemble.place("k", k)]
                found = structure.connectivity(shown, ensemble.box, n_neighbours=model.view.n_neighbours)
                where = {"model": model.kind, "input": name, "k": k, "T": float(ensemble.T[k - 1])}
                rows.append(where | {"n_neighbours": model.view.n_neighbours} | asdict(found))
    return rows


def _cooling_curve(ensemble: Ensemble) -> dict[str, Any]:
    def both(energies: np.ndarray) -> dict[str, list[float]]:
        mean, se = transition.mean_curve(energies)
        return {"mean": mean.tolist(), "se": se.tolist()}

    curve: dict[str, Any] = {"T": ensemble.T.tolist(), "n_runs": ensemble.n_runs}
    if ensemble.e_is_unshifted is None or ensemble.e_is_shifted is None:
        return curve
    return curve | {
        "e_is_unshifted": both(ensemble.e_is_unshifted),
        "e_is_shifted": both(ensemble.e_is_shifted),
        "e_pot": both(ensemble.energy("e_pot")),
    }


def _minimiser(study: Study, ensemble: Ensemble) -> dict[str, Any] | None:
    if ensemble.converged is None or ensemble.max_force is None:
        return None
    return {
        "n_records": int(ensemble.converged.size),
        "n_unconverged": int((~ensemble.converged).sum()),
        "max_force": float(ensemble.max_force.max()),
        "tolerance": study.simulate.minimise.force_max,
    }


def _reference(study: Study, ensemble: Ensemble) -> dict[str, Any]:
    """Return the reference curves of the mixture, and ours minus each where they should agree."""
    settings = study.simulate
    if settings.mixture != "ka2d":
        return {}
    kept: dict[str, Any] = {name: asdict(curve) for name, curve in transition.REFERENCE.items()}
    slowly = settings.cool is not None and settings.cool.n_steps >= 200_000
    in_equilibrium = slowly and settings.n_equilibrate >= 10_000
    hot = ((ensemble.T >= 0.8) & (ensemble.T <= 1.951)).any()
    if settings.n_particles >= 400 and in_equilibrium and hot:
        mean, error = transition.mean_curve(ensemble.energy("e_is"))
        for name, key in (("true_minima", "difference"), ("published", "difference_published")):
            kept[key] = asdict(transition.compare(ensemble.T, mean, error, transition.REFERENCE[name]))
    return kept


def _tg(study: Study, ensemble: Ensemble) -> dict[str, Any]:
    """Return Tg by every convention that the ramp covers, and what the whole curve says of a transition."""
    # a line through both branches is of one cooling, and of energies
    one_cooling = study.simulate.cool is not None or study.simulate.imported is not None
    if not (one_cooling and study.simulate.liquid.has_potential):
        return {"tg": [], "transition": None}
    T, limit = ensemble.T, study.width_limit
    located = locate.of_runs(T, ensemble.energy("e_is"), seed=study.seed, limit=limit)
    whole = locate.summary(located, n_records=len(T), limit=limit)
    return {
        "tg": [asdict(one) for one in locate.estimates(located)],
        "transition": asdict(whole) | {"sentence": whole.sentence("the cooling curve")},
    }
