"""Probes of a study's networks, patches of its configurations, and liquids against liquids."""

__all__ = ["compute", "section"]

import itertools
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import baselines, classify, learn, probes, probes_figures, report, scores, store
from vitrify.claims import (
    CHANCE_SD,
    Asked,
    Claim,
    against_chance,
    gathered,
    hopes,
    judge,
    listed,
    restored,
    temperatures,
)
from vitrify.conclusions import SHOWN_AS, apart
from vitrify.dataset import Ensemble, Labelled, labelled
from vitrify.descriptors import Descriptors
from vitrify.report import with_interval
from vitrify.settings import CLASSES, Input, Study, class_names, split
from vitrify.system import stream

Values = dict[str, Any]

_N_PATTERNS = 12
_SD = (0.0, 0.02, 0.05, 0.1, 0.2)
_SIZES = (20, 50, 100, 200)
_N_PATCHES = 4  # of each configuration


def compute(chosen: Study, out: Path, *, n_workers: int, progress: Any) -> Values:  # noqa: ARG001
    """Return how the networks trained on the coldest liquid answer to probes, and what patches and liquids tell.

    Args:
        chosen: The study.
        out: Its folder.
        n_workers: Not used.
        progress: Told the networks and tasks done.
    """
    ks = sorted(chosen.classify.k)
    ensemble = store.load(out / "data", chosen.simulate, seed=chosen.seed, k=(*ks, chosen.classify.k_glass))
    asked = [
        one
        for one in classify.trainings(chosen)
        if one.model is not None and not one.control and one.replicate == 0 and one.train_k == _probed(ks)
    ]
    inputs = list(chosen.classify.inputs)
    total = len(asked) + 3 * len(inputs)
    models: list[Values] = []
    for one in asked:
        progress("probes", len(models), total)
        network = learn.restore(one.model, store.Checkpoints(out / "models" / one.folder))  # type: ignore[arg-type]
        models.append(_model(chosen, ensemble, network, one))
    tasks: list[Values] = []
    pairs: list[Values] = []
    for name in inputs:
        for k in dict.fromkeys((_probed(ks), ks[-1])):
            progress("probes", len(models) + len(tasks) + len(pairs) / len(ks), total)
            tasks.append(_patches(chosen, ensemble, name, k))
        pairs += [_liquids(chosen, ensemble, name, *two) for two in itertools.pairwise(ks)]
    _judge(models, tasks, pairs, margin=chosen.classify.margin)
    return {"models": models, "patches": tasks, "liquids": pairs}


def _probed(ks: list[int]) -> int:
    """Return the liquid of the networks that are probed: the coldest but one, told apart but not trivially."""
    return ks[-2] if len(ks) > 1 else ks[-1]


def _model(chosen: Study, ensemble: Ensemble, network: learn.Trained, one: classify.Training) -> Values:
    data = labelled(ensemble, inherent=one.input == "inherent", k_glass=one.k_glass, k_liquid=one.train_k)
    test = data.of_runs(split(chosen).test)

    def rng(*words: str | int) -> np.random.Generator:
        return stream(chosen.seed, "probes", one.folder, *words)

    def logit(shown: Labelled) -> np.ndarray:
        return learn.predict(network, shown)

    plain = logit(test)
    called = class_names(chosen, one.train_k)
    groups = [
        {"name": called[which], "of": name, "logit": plain[test.label == which].tolist()}
        for which, name in ((0, "liquid"), (1, "glass"))
    ]
    changed = {
        "species shuffled": probes.shuffled(test.species, rng=rng("shuffled")),
        "species swapped": probes.swapped(test.species),
    }
    told = {}
    for name, species in changed.items():
        found = logit(replace(test, species=species))
        told[name] = {
            "auc": asdict(scores.score(found, test.label, test.run).auc),
            "lost": asdict(scores.compare(found, plain, test.label, test.run).auc),
        }
        groups += [
            {"name": f"{which}, {name.removeprefix('species ')}", "of": name, "logit": found[test.label == y].tolist()}
            for y, which in enumerate(called)
        ]
    if ensemble.thermal.shape[-1] == 2 and ensemble.shells is None:  # the patterns are of the model mixtures' lengths
        groups += [
            {"name": _FOLD[fold], "of": "pattern", "logit": _pattern_logits(network, test, fold, rng(fold))}
            for fold in probes.FOLDS
        ]
    noise = []
    for sd in _SD:
        moved = replace(test, positions=probes.noisy(test.positions, test.box, sd, rng=rng("noise", str(sd))))
        answers = logit(moved)
        scored, lost = scores.score(answers, test.label, test.run), None
        if sd:
            lost = asdict(scores.compare(answers, plain, test.label, test.run).auc)
        noise.append({"sd": sd, "auc": asdict(scored.auc), "lost": lost})
    return {
        "model": one.name,
        "input": one.input,
        "k": one.train_k,
        "T": float(ensemble.T[one.train_k - 1]),
        "classes": list(called),
        "n_test": len(test.label),
        "n_runs": len(np.unique(test.run)),
        "logits": groups,
        "told": told,
        "noise": noise,
    }


_FOLD = {0: "random places", 3: "three-fold pattern", 5: "five-fold pattern", 6: "six-fold pattern"}


def _pattern_logits(network: learn.Trained, like: Labelled, fold: int, rng: np.random.Generator) -> list[float]:
    """Return the logits of patterns of as many particles, of the composition and density of a data set."""
    n, n_B, density = len(like.species), int(like.species.sum()), len(like.species) / float(like.box.prod())
    made = [probes.pattern(fold, n_particles=n, n_B=n_B, density=density, rng=rng) for _ in range(_N_PATTERNS)]
    nothing = np.zeros(len(made))
    shown = Labelled(
        positions=np.stack([one.positions for one in made]).astype(np.float32),
        species=made[0].species,
        box=made[0].box,
        label=nothing.astype(int),
        run=np.arange(len(made)),
        e_pot=nothing,
        e_is=nothing,
    )
    return list(learn.predict(network, shown).tolist())


def _patches(chosen: Study, ensemble: Ensemble, name: Input, k: int) -> Values:
    """Return what a logistic regression on the mean descriptors of a patch tells apart, against its size."""
    data = labelled(ensemble, inherent=name == "inherent", k_glass=chosen.classify.k_glass, k_liquid=k)
    n_species = chosen.simulate.liquid.n_species
    parts, view = split(chosen), Descriptors(n_species=max(n_species, 2))
    rng = stream(chosen.seed, "patches", name, k)
    sizes = [n for n in _SIZES if n < len(data.species)] + [len(data.species)]
    each = {n: _N_PATCHES if n < len(data.species) else 1 for n in sizes}
    features: dict[int, list[np.ndarray]] = {n: [] for n in sizes}
    for positions in data.positions:
        (numbers,) = view(positions[None], data.species, data.box)
        for n in sizes:
            for inside in probes.patches(positions, data.box, n, each[n], rng=rng):
                seen, kind = numbers[0, inside, view.n_species :], data.species[inside]
                of_each = [seen[kind == one] for one in range(view.n_species)]
                features[n].append(
                    np.concatenate([one.mean(axis=0) if len(one) else np.zeros(seen.shape[1]) for one in of_each])
                )
    found = []
    for n in sizes:
        table = np.array(features[n], float)
        label, run = (np.repeat(values, each[n]) for values in (data.label, data.run))
        train, chooses, test = (np.isin(run, runs) for runs in (parts.train, parts.validation, parts.test))
        fitted = baselines.fit(table[train], label[train], table[chooses], label[chooses])
        logit = fitted.logit(table[test])
        scored = scores.score(logit, label[test], run[test])
        chance = asdict(scores.above_chance(logit, label[test], run[test]))
        told = {"auc": asdict(scored.auc), "accuracy": asdict(scored.accuracy), "auc_minus_chance": chance}
        found.append({"n_inside": n, "n_test": scored.n_test, **told})
    return {
        "input": name,
        "k": k,
        "T": float(ensemble.T[k - 1]),
        "n_runs": len(parts.test),
        "sizes": found,
        "classes": list(class_names(chosen, k)),
    }


def _liquids(chosen: Study, ensemble: Ensemble, name: Input, k_hot: int, k_cold: int) -> Values:
    """Return how well two liquids are told apart by their descriptors and by the energy; no glass is involved."""
    data = labelled(ensemble, inherent=name == "inherent", k_glass=k_cold, k_liquid=k_hot)
    parts, view = split(chosen), Descriptors(n_species=max(chosen.simulate.liquid.n_species, 2))
    columns = {"descriptors": view.pooled(data.positions, data.species, data.box).astype(float)}
    if chosen.simulate.liquid.has_potential:
        columns["energy"] = data.energy("e_is" if name == "inherent" else "e_pot")[:, None]
    found: dict[str, Values] = {}
    for word, table in columns.items():
        train, chooses, test = (np.isin(data.run, runs) for runs in (parts.train, parts.validation, parts.test))
        fitted = baselines.fit(table[train], data.label[train], table[chooses], data.label[chooses])
        asked = fitted.logit(table[test]), data.label[test], data.run[test]
        scored, chance = scores.score(*asked), asdict(scores.above_chance(*asked))
        found[word] = {"auc": asdict(scored.auc), "accuracy": asdict(scored.accuracy), "auc_minus_chance": chance}
    T = [float(ensemble.T[k - 1]) for k in (k_hot, k_cold)]
    told: Values = {"input": name, "T": T, "n_test": 2 * len(parts.test), "n_runs": len(parts.test)}
    return told | found


def _judge(models: list[Values], tasks: list[Values], pairs: list[Values], *, margin: float) -> None:
    """Give every probe its claim: all that is lost by changes is a family, as are all patches, and all liquids."""
    lost = [(one, name, model) for model in models for name, one in _changes(model)]
    changes = [
        Asked(
            question=f"Does the {report.name_of_model(model['model'])} rank worse with {name}? {_where(model)}.",
            where=_where(model),
            yes=f"the {report.name_of_model(model['model'])} ranks worse with {name}",
            no=f"the {report.name_of_model(model['model'])} ranks as well with {name}",
            measure="difference of AUC",
            found=scores.Difference(**one["lost"]),
            n_runs=model["n_runs"],
            direction="below",
            margin=margin,
        )
        for one, name, model in lost
    ]
    sizes = [(one, task) for task in tasks for one in task["sizes"]]
    patches = [
        _above_chance(
            one, task, f"patches of {one['n_inside']} particles tell", apart(task.get("classes", CLASSES)), margin
        )
        for one, task in sizes
    ]
    of_pairs = [(pair[word], pair, word) for pair in pairs for word in ("descriptors", "energy") if word in pair]
    liquids = [
        _above_chance(one, pair, f"the {word} tells", f"the liquids at {temperatures(pair['T'])} apart", margin)
        for one, pair, word in of_pairs
    ]
    for family, asked, places in (
        ("changes", changes, [one for one, _, _ in lost]),
        ("patches", patches, [one for one, _ in sizes]),
        ("liquids", liquids, [one for one, _, _ in of_pairs]),
    ):
        for place, claim in zip(places, judge(family, asked), strict=True):
            place["claim"] = claim.to_json()


def _changes(model: Values) -> list[tuple[str, Values]]:
    """Return what was changed of the configurations, by its name, with what a network lost by it."""
    noise = [(f"noise of {one['sd']:g} sigma_AA", one) for one in model["noise"] if one["lost"]]
    return [*model["told"].items(), *noise]


def _above_chance(one: Values, of: Values, who: str, what: str, margin: float) -> Asked:
    who, _, verb = who.rpartition(" ")
    return against_chance(
        scores.Difference(**one["auc_minus_chance"]),
        who=who,
        what=what,
        where=_where(of),
        n_runs=of["n_runs"],
        margin=margin,
        verbs=(verb, _NOT[verb]),
        sd=None if "sizes" in of else CHANCE_SD,  # several patches of a run are not one pair
    )


_NOT = {"tell": "do not tell", "tells": "does not tell"}


def _where(of: Values) -> str:
    """Return what a probe is about, as a sentence begins with it."""
    several = isinstance(of["T"], list)
    return f"{SHOWN_AS[of['input']]}, " + (temperatures(of["T"]) if several else f"liquid at T = {of['T']:.3f}")


def section(values: Values) -> report.Section:
    """Return what the probes say, with figures and tables."""
    models, tasks = values["models"], values["patches"]
    drawings = [
        report.Drawing(
            name="patches",
            draw=probes_figures.patch_sizes,
            values=(tasks,),
            data={
                "input": [task["input"] for task in tasks for _ in task["sizes"]],
                "T": [task["T"] for task in tasks for _ in task["sizes"]],
                "n_inside": [one["n_inside"] for task in tasks for one in task["sizes"]],
                "auc": [one["auc"]["value"] for task in tasks for one in task["sizes"]],
            },
            caption="A logistic regression on the mean descriptors of square patches, the coldest class against the "
            "liquid at T; 95% intervals over runs.",
        )
    ]
    if models:
        drawings.insert(
            0,
            report.Drawing(
                name="probes",
                draw=probes_figures.answers,
                values=(models,),
                data={
                    "model": [m["model"] for m in models for one in m["logits"] for _ in one["logit"]],
                    "input": [m["input"] for m in models for one in m["logits"] for _ in one["logit"]],
                    "shown": [one["name"] for m in models for one in m["logits"] for _ in one["logit"]],
                    "logit": [value for m in models for one in m["logits"] for value in one["logit"]],
                },
                caption="Left: logits of test configurations, of the same with changed species, and of patterns. "
                "Right: AUC of test configurations whose particles were moved at random.",
            ),
        )
    return report.Section(
        anchor="probes",
        title="Probes",
        sentences=[_sentence(model) for model in models] + [_patch_sentence(task) for task in tasks],
        drawings=drawings,
        tables=[_liquid_table(values["liquids"])],
    )


def _sentence(model: Values) -> str:
    quiet = model["noise"][0]["auc"]
    changes = [(name, restored(one["claim"])) for name, one in _changes(model)]
    middle = {one["name"]: float(np.median(one["logit"])) for one in model["logits"]}
    patterns = [f"{name} {middle[name]:+.1f}" for name in _FOLD.values() if name in middle]
    liquid, glass = model.get("classes", CLASSES)
    answers = f"Median logits: {liquid} {middle[liquid]:+.1f}, {glass} {middle[glass]:+.1f}"
    if patterns:
        answers += ", " + ", ".join(patterns)
    name = report.name_of_model(model["model"])
    head = f"{_where(model)}, probes of the {name} (AUC {with_interval(quiet)}, {model['n_runs']} test runs)"
    told = gathered(
        head, [_same_words(claim, place) for place, claim in changes], [place for place, _ in changes], by="with"
    )
    return f"{told} {answers}."


def _same_words(claim: Claim, place: str) -> Claim:
    """Return a claim whose words no longer name its own change, so that several are told together."""
    return replace(claim, yes=claim.yes.removesuffix(f" with {place}"), no=claim.no.removesuffix(f" with {place}"))


def _patch_sentence(task: Values) -> str:
    claims, told = [restored(one["claim"]) for one in task["sizes"]], apart(task.get("classes", CLASSES))
    of = {
        answer: [
            str(one["n_inside"]) for one, claim in zip(task["sizes"], claims, strict=True) if claim.answer == answer
        ]
        for answer in ("shown", "absent", "open")
    }
    parts = [f"{answer} for {listed(sizes)}" for answer, sizes in of.items() if sizes]
    return (
        f"{_where(task)}, square patches: do the mean descriptors of so many particles tell {told}? "
        f"{'; '.join(parts).capitalize()}. The smallest, {claims[0].evidence}.{hopes(claims)}"
    )


def _liquid_table(pairs: list[Values]) -> report.Table:
    return report.Table(
        title="Liquid against liquid: neighbouring temperatures of the study",
        columns=(
            "input",
            "T",
            "T",
            "AUC, descriptors",
            "AUC, energy alone",
            "accuracy, descriptors",
            "told apart",
            "n",
            "runs",
        ),
        rows=[
            (
                one["input"],
                *(f"{T:.3f}" for T in one["T"]),
                with_interval(one["descriptors"]["auc"]),
                with_interval(one["energy"]["auc"]) if "energy" in one else "unknown",
                with_interval(one["descriptors"]["accuracy"]),
                one["descriptors"]["claim"]["answer"],
                str(one["n_test"]),
                str(one["n_runs"]),
            )
            for one in pairs
        ],
    )
