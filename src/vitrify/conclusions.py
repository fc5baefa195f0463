"""What a study concludes: its families of questions, their claims, and the sentences of its page.

Everything here is a function of ``results.json``. The families are fixed before looking:

=============== ==========================================================================================
family          questions
=============== ==========================================================================================
primary         does the one network chosen on validation runs see more than the energy, at every liquid where the
                energy is not saturated, and at equal energy
exploratory     the same of every network
reach           does the chosen network tell the liquid from the glass at all, at every liquid
ranking         does a network trained at one liquid rank worse elsewhere than one trained where it is tested
accuracy        does it lose accuracy there
control         does anything tell one half of a class from its other half, which nothing should
glasses         does anything tell apart two records of the glass
transition      does the cooling curve have a glass transition, no wider than the limit of the study
=============== ==========================================================================================

A liquid at which the energy alone ranks so well that even a perfect network could not be shown to rank better is
*saturated*: this is said once, and it counts in no family.
"""

__all__ = [
    "SHOWN_AS",
    "apart",
    "chosen_network",
    "claims",
    "energy_claims",
    "energy_sentences",
    "saturated",
    "sentences",
    "summary",
    "warnings",
]

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vitrify import energy, transfer
from vitrify.baselines import BASELINES, ENERGY
from vitrify.claims import (
    CHANCE_SD,
    MIN_RUNS,
    Answer,
    Asked,
    Claim,
    against_chance,
    gathered,
    hopes,
    judge,
    listed,
    temperatures,
)
from vitrify.figures import MODEL_NAMES
from vitrify.material import NO_POTENTIAL
from vitrify.scores import Difference
from vitrify.settings import CLASSES

Results = Mapping[str, Any]
Row = Mapping[str, Any]

SHOWN_AS = {"thermal": "Thermal configurations", "inherent": "Inherent structures"}
"""What the two kinds of configurations are called at the beginning of a sentence."""

_MEAN_DIFFERENCE, _STANDARD_ERRORS = 0.004, 4.0  # epsilon_AA; and of the difference of any one record


def claims(results: Results) -> list[Claim]:
    """Return every claim of a study, family by family.

    Args:
        results: The contents of ``results.json``.
    """
    return [
        *energy_claims(results),
        *_reach(results),
        *_transferred(results),
        *_controls(results),
        *_located(results),
    ]


def energy_claims(results: Results) -> list[Claim]:
    """Return the primary and the exploratory claims: what networks see beside the energy."""
    rows, best = _beside_energy(results), chosen_network(results)
    own = [row for row in rows if row["model"] == best and row["input"] == _main_input(results)]
    own = [row for row in own if not isinstance(row["test_k"], list)]
    return [*judge("primary", _more(results, own)), *judge("exploratory", _more(results, rows))]


def chosen_network(results: Results) -> str | None:
    """Return the network with the highest mean validation AUC over the tasks it is trained for; the first wins a tie.

    Args:
        results: The contents of ``results.json``.
    """
    found: dict[str, list[float]] = {}
    for row in _green(results):
        if row["input"] == _main_input(results) and _is_network(row):
            found.setdefault(row["model"], []).append(row["validation_auc"])
    means = {name: sum(each) / len(each) for name, each in found.items()}
    return max(means, key=lambda name: means[name]) if means else None


def saturated(results: Results) -> list[dict[str, Any]]:
    """Return the tasks at which nothing can be shown to rank better than the energy.

    Args:
        results: The contents of ``results.json``.

    Returns:
        ``input``, ``test_k``, ``T`` (None at equal energy), the energy's ``auc`` and the ``limit`` of the test runs.
    """
    found = []
    for row in (*_green(results), *_several(results)):
        if row["model"] == ENERGY[row["input"]]:
            limit = energy.saturation(row["n_test_runs"])
            if row["n_test_runs"] >= MIN_RUNS and row["auc"]["value"] > limit:
                task = {"input": row["input"], "test_k": row["test_k"], "T": row["test_T"], "auc": row["auc"]}
                found.append(task | {"limit": limit, "n_runs": row["n_test_runs"]})
    return found


def summary(results: Results) -> list[str]:
    """Return three sentences: is it the energy, down to which temperature, and where is the glass transition.

    Args:
        results: The contents of ``results.json``.
    """
    return [_is_it_energy(results), _down_to(results), _transition(results)]


def warnings(results: Results) -> list[str]:
    """Return what makes the other conclusions doubtful: a control that failed, a reference missed, stalled minima."""
    found = [claim.sentence for claim in _controls(results) if claim.family == "control" and claim.answer == "shown"]
    difference = results["reference"].get("difference")
    if difference and not _agrees(difference):
        found.append(_against_reference(difference))
    if results["minimiser"] and results["minimiser"]["n_unconverged"]:
        found += _minimiser(results)
    return found


def sentences(results: Results) -> list[str]:
    """Return every conclusion of a study in words, most important first.

    Args:
        results: The contents of ``results.json``.
    """
    return [
        *_scaled(results),
        *_without_energy(results),
        *energy_sentences(results),
        *_reach_in_words(results),
        *_transfer_in_words(results),
        *_controls_in_words(results),
        *_reference(results),
        *_minimiser(results),
    ]


def energy_sentences(results: Results) -> list[str]:
    """Return what is concluded about the energy: each primary claim, the exploratory ones together, what is saturated.

    Args:
        results: Of ``results.json``, ``study``, ``classification`` and ``equal_energy`` are enough.
    """
    return [
        *_equal_energy(results),
        *(claim.sentence for claim in energy_claims(results) if claim.family == "primary"),
        *_exploratory(results),
        *_saturated(results),
    ]


def _margin(results: Results) -> float:
    return float(results["study"]["classify"]["margin"])


def _main_input(results: Results) -> str:
    inputs: list[str] = results["study"]["classify"]["inputs"]
    return "inherent" if "inherent" in inputs else inputs[0]


def _is_network(row: Row) -> bool:
    return row["model"] not in BASELINES


def _green(results: Results) -> list[Row]:
    """Return the rows tested where they were trained, controls left out, with those of equal energy."""
    own: list[Row] = [r for r in results["classification"] if r["train_k"] == r["test_k"] and not r["control"]]
    return own + (list(results["equal_energy"]["rows"]) if results.get("equal_energy") else [])


def _name(row: Row) -> str:
    return MODEL_NAMES.get(row["model"], str(row["model"]))


def _best(results: Results) -> str:
    """Return what the chosen network is called."""
    return _name({"model": chosen_network(results)})


def _place(results: Results, row: Row) -> str:
    if isinstance(row["test_T"], list):
        return f"{temperatures(row['test_T'])} as one class"
    if row["test_T"] is not None:
        return f"T = {row['test_T']:.3f}"
    pair = results["equal_energy"]["pair"]
    return f"equal energy (liquid at T = {pair['T_slow']:.3f}, glass at T = {pair['T_fast']:.3f})"


def _where(results: Results, row: Row) -> str:
    liquid = "liquid at " if row["test_T"] is not None else ""
    return f"{SHOWN_AS[row['input']]}, {liquid}{_place(results, row)}"


def _found(values: Mapping[str, float]) -> Difference:
    return Difference(
        **{name: values[name] for name in ("value", "low", "high", "lower", "upper", "p", "p_below", "se")}
    )


def _beside_energy(results: Results) -> list[Row]:
    """Return the rows of networks at the tasks where something can be shown beside the energy."""
    full = {(task["input"], str(task["test_k"])) for task in saturated(results)}
    return [
        row
        for row in (*_green(results), *_several(results))
        if row["auc_at_equal_energy"] is not None and (row["input"], str(row["test_k"])) not in full
    ]


def _several(results: Results) -> list[Row]:
    """Return the rows of several liquids in one class, tested as they were trained; they are exploratory."""
    return [row for row in results.get("groups", []) if row["train_k"] == row["test_k"]]


def _more(results: Results, rows: Sequence[Row]) -> list[Asked]:
    return [
        energy.asked(
            _found(row["auc_at_equal_energy"]),
            who=f"the {_name(row)}",
            where=_where(results, row),
            n_runs=row["n_test_runs"],
            margin=_margin(results),
        )
        for row in rows
    ]


def apart(classes: Sequence[str] = CLASSES) -> str:
    """Return what a classifier tells from what.

    Args:
        classes: What the classes 0 and 1 are called.

    Example:
        >>> apart(), apart(("liquid at T = 1.951", "liquid at T = 1.025"))
        ('the liquid from the glass', 'the liquid from the liquid at T = 1.025')
    """
    zero, one = classes
    zero = "liquid" if zero.startswith("liquid at") else zero  # its temperature is that of the row
    return f"the {zero} from the {one}"


def _apart(results: Results) -> str:
    return apart(results.get("classes", CLASSES))


def _reach(results: Results) -> list[Claim]:
    best, name = chosen_network(results), _main_input(results)
    rows = [
        row for row in _green(results) if row["input"] == name and row["model"] == best and row["test_T"] is not None
    ]
    return judge("reach", [_against_chance(results, row) for row in sorted(rows, key=lambda row: -row["test_T"])])


def _against_chance(results: Results, row: Row) -> Asked:
    return against_chance(
        _found(row["auc_minus_chance"]),
        who=f"the {_name(row)}",
        what=_apart(results),
        where=_where(results, row),
        n_runs=row["n_test_runs"],
        margin=_margin(results),
    )


def _moved_rows(results: Results) -> list[Row]:
    return [row for row in results["classification"] if row["auc_minus_own"] is not None and not row["control"]]


def _transferred(results: Results) -> list[Claim]:
    questions = [
        transfer.asked(
            _found(row["auc_minus_own"]),
            _found(row["accuracy_minus_own"]),
            who=f"the {_name(row)} trained at T = {row['train_T']:.3f}",
            where=_where(results, row),
            n_runs=row["n_test_runs"],
            margin=_margin(results),
        )
        for row in _moved_rows(results)
    ]
    return [
        claim
        for place, family in enumerate(("ranking", "accuracy"))
        for claim in judge(family, [two[place] for two in questions])
    ]


def _controls(results: Results) -> list[Claim]:
    rows = [row for row in results["classification"] if row["control"]]
    halves = [row for row in rows if row["test_k"] == row["glass_k"]]
    two = [row for row in rows if row["test_k"] != row["glass_k"]]
    # a run of the halves has one configuration only, so that a pair of classes takes two runs
    apart_sd, of_class = CHANCE_SD * math.sqrt(2), f"two records of the {results.get('classes', CLASSES)[1]}"
    asked = [_same(results, row, "two halves of one class", f"T = {row['test_T']:.3f}", sd=apart_sd) for row in halves]
    return [
        *judge("control", asked),
        *judge("glasses", [_same(results, row, of_class, _two(results, row), sd=CHANCE_SD) for row in two]),
    ]


def _two(results: Results, row: Row) -> str:
    return temperatures([row["test_T"], results["cooling_curve"]["T"][row["glass_k"] - 1]])


def _same(results: Results, row: Row, what: str, where: str, *, sd: float) -> Asked:
    name = _name(row) if row["model"] in BASELINES else f"the {_name(row)}"
    return Asked(
        question=f"Does {name} tell apart {what}? {SHOWN_AS[row['input']]}, {where}.",
        where=f"{SHOWN_AS[row['input']]}, {where}",
        yes=f"{name} tells apart {what}",
        no=f"{name} does not tell apart {what}",
        measure="AUC",
        offset=0.5,
        found=_found(row["auc_minus_chance"]),
        n_runs=row["n_test_runs"],
        direction="either",
        margin=_margin(results),
        sd=sd,
    )


def _located(results: Results) -> list[Claim]:
    """Return the claim about the transition: that two branches meet, within a width below the limit."""
    whole = results["transition"]
    if whole is None or whole["width"] is None or whole["n_runs"] is None:
        return []
    width, low, high, limit, n = (whole[name] for name in ("width", "width_low", "width_high", "limit", "n_runs"))
    told = whole["found"] is not None
    answer: Answer = "shown" if whole["found"] else "absent" if told and low > limit else "open"
    room = (high - width) / (limit - width) if width < limit <= high and told else None
    return [
        Claim(
            question=f"Does the cooling curve have a glass transition, no wider than {limit:g}?",
            family="transition",
            n_family=1,
            where="The cooling curve",
            yes=f"it has a glass transition at T = {whole['T']:.3f} [{whole['low']:.3f}, {whole['high']:.3f}]",
            no=f"it has no glass transition narrower than {limit:g}",
            measure=f"two branches win in {whole['share']:.0%} of the resamples, width",
            offset=limit,
            direction="limit",
            margin=0.0,
            effect=width - limit,
            low=low - limit,
            high=high - limit,
            bound=(low if answer == "absent" else high) - limit,
            p=1 - whole["share"],
            p_corrected=1 - whole["share"],
            n_runs=n,
            detectable=high - width,
            runs_needed=None if room is None else max(MIN_RUNS, math.ceil(n * room**2)),
            answer=answer,
        )
    ]


def _by_answer(own: Sequence[Claim], places: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"shown": [], "absent": [], "open": []}
    for claim, place in zip(own, places, strict=True):
        found[claim.answer].append(place)
    return found


def _is_it_energy(results: Results) -> str:
    own = [claim for claim in energy_claims(results) if claim.family == "primary"]
    full = [task for task in saturated(results) if task["input"] == _main_input(results)]
    if not own:
        if results["minimiser"] is None:
            return "Is it the energy? It cannot be asked, because no energies are known."
        if full:
            return (
                "Is it the energy? At every liquid asked about, the energy alone ranks so well that these runs can "
                "show nothing better."
            )
        return "Is it the energy? It was not asked: the study has no network, or no energy, to compare."
    places = [claim.where.partition(", ")[2].removeprefix("liquid at ").partition(" (")[0] for claim in own]
    answers = _by_answer(own, places)
    words = {
        "shown": "sees more than the energy at {}",
        "absent": "sees no more than the energy at {}",
        "open": "leaves it open at {}",
    }
    parts = [words[answer].format(listed(at)) for answer, at in answers.items() if at]
    beyond = ""
    if full:
        hot = [task["T"] for task in full if isinstance(task["T"], float)]
        beyond = f"; at {temperatures(hot)} the energy alone leaves nothing to show" if hot else ""
    return f"Is it the energy? The {_best(results)} {'; '.join(parts)}{beyond} ({own[0].n_runs} test runs)."


def _down_to(results: Results) -> str:
    own, head = _reach(results), "Down to which temperature?"
    if not own:
        return f"{head} The study has no network to ask."
    at = [claim.where.partition("liquid at ")[2] for claim in own]  # the hottest first
    answers = _by_answer(own, at)
    best, what, n = _best(results), SHOWN_AS[_main_input(results)].lower(), own[0].n_runs
    if not answers["shown"]:
        if not answers["open"]:
            said = f"does not tell {_apart(results)}, within {own[0].margin:g} of AUC, at {listed(at)}"
            return f"{head} From {what} the {best} {said} ({n} test runs)."
        text = f"{head} It is open: {n} test runs do not show that {what} tell {_apart(results)}"
        text += f" at {listed(answers['open'])}"
        absent = f"; at {listed(answers['absent'])} they do not, within the margin" if answers["absent"] else ""
        return f"{text}{absent}.{hopes(own)}"
    last = at.index(answers["shown"][-1])
    hotter = [place for place, claim in zip(at[:last], own, strict=False) if claim.answer != "shown"]
    colder = at[last + 1 :]
    below = f"; below it, at {listed(colder)}, it is open or absent" if colder else ", the coldest liquid asked about"
    but = f", though not shown at {listed(hotter)}" if hotter else ""
    return f"{head} From {what} the {best} tells {_apart(results)} down to {at[last]}{but}{below} ({n} test runs)."


def _transition(results: Results) -> str:
    whole = results["transition"]
    return "Where is the glass transition? " + (
        whole["sentence"] if whole else "No cooling curve of energies is known."
    )


def _exploratory(results: Results) -> list[str]:
    own = [claim for claim in energy_claims(results) if claim.family == "exploratory"]
    if not own:
        return []
    parts = []
    for answer, words in (("shown", "shown"), ("absent", f"absent, within {own[0].margin:g},")):
        told = [claim for claim in own if claim.answer == answer]
        places = dict.fromkeys(claim.where for claim in told)
        at = [
            f"{where[0].lower()}{where[1:]}, for "
            + listed([claim.yes.removesuffix(" sees more than the energy") for claim in told if claim.where == where])
            for where in places
        ]
        if told:
            weakest = max(told, key=lambda claim: claim.p)
            parts.append(f"{words} on {'; on '.join(at)} (the weakest of these: {weakest.evidence})")
    n_open = sum(claim.answer == "open" for claim in own)
    parts += [f"open in {n_open} of {len(own)} cases"] if n_open else []
    return [
        f"Exploratory, does a network see more than the energy? Every network was asked at every liquid where the "
        f"energy is not saturated ({len(own)} questions, corrected together): {'; '.join(parts)}.{hopes(own)}"
    ]


def _saturated(results: Results) -> list[str]:
    found = []
    for name in results["study"]["classify"]["inputs"]:
        tasks = [task for task in saturated(results) if task["input"] == name]
        if tasks:
            lowest = min(tasks, key=lambda task: task["auc"]["value"])
            hot = [task["T"] for task in tasks if isinstance(task["T"], float)]
            at = ([temperatures(hot)] if hot else []) + ["equal energy" for task in tasks if task["T"] is None]
            at += [f"{temperatures(task['T'])} as one class" for task in tasks if isinstance(task["T"], list)]
            auc = lowest["auc"]
            found.append(
                f"{SHOWN_AS[name]} at {listed(at)}: nothing can be shown to rank better than the energy alone, whose "
                f"AUC is {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}] or more; with {lowest['n_runs']} "
                f"test runs a perfect network could be shown to be better up to {lowest['limit']:.3f}. Scores there "
                "say nothing about structure."
            )
    return found


def _reach_in_words(results: Results) -> list[str]:
    own = _reach(results)
    if not own:
        return []
    places = [claim.where.partition("liquid at ")[2] for claim in own]
    return [gathered(f"{SHOWN_AS[_main_input(results)]}, the {_best(results)} chosen on validation runs", own, places)]


def _transfer_in_words(results: Results) -> list[str]:
    rows = _moved_rows(results)
    own = _transferred(results)
    ranking = [claim for claim in own if claim.family == "ranking"]
    accuracy = [claim for claim in own if claim.family == "accuracy"]
    found = []
    for name, model in dict.fromkeys((row["input"], row["model"]) for row in rows):
        places = [i for i, row in enumerate(rows) if (row["input"], row["model"]) == (name, model)]
        at = [f"T = {rows[i]['test_T']:.3f}" for i in places]
        ranks, decides = ([own_kind[i] for i in places] for own_kind in (ranking, accuracy))
        found.append(transfer.in_words(f"{SHOWN_AS[name]}, transfer", ranks, decides, at))
    return found


def _controls_in_words(results: Results) -> list[str]:
    own, found = _controls(results), []
    for family, words in (
        ("control", "Control, one half of a class against its other half"),
        ("glasses", f"Two records of the {results.get('classes', CLASSES)[1]} against each other"),
    ):
        for name in dict.fromkeys(claim.where for claim in own if claim.family == family):
            asked = [claim for claim in own if (claim.family, claim.where) == (family, name)]
            answers = _by_answer(asked, [claim.yes for claim in asked])
            who = [claim for claim in asked if claim.answer == "shown"]
            told = "; ".join(f"{claim.yes.partition(' tells apart ')[0]} ({claim.evidence})" for claim in who)
            shown = f"shown to be told apart by {told}; " if told else ""
            found.append(
                f"{words} ({name[0].lower()}{name[1:]}), {len(asked)} classifiers: {shown}a difference above "
                f"{asked[0].margin:g} of AUC is absent for {len(answers['absent'])} and open for "
                f"{len(answers['open'])} of them ({asked[0].n_runs} test runs).{hopes(asked)}"
            )
    return found


def _scaled(results: Results) -> list[str]:
    if not (results["study"]["simulate"].get("imported") or {}).get("scaled"):
        return []
    return [
        "Records had boxes of their own: energies are of those boxes, and positions were scaled to the mean one, so "
        "that no classifier but the energy's can read the density."
    ]


def _without_energy(results: Results) -> list[str]:
    if results["minimiser"] is not None:
        return []
    return [
        f"Without energies and inherent structures: {NO_POTENTIAL}. Left out are the cooling curve, Tg by two lines, "
        "and the energy beside the classifiers; what they read may be the temperature alone."
    ]


def _equal_energy(results: Results) -> list[str]:
    if not results.get("equal_energy"):
        return []
    pair = results["equal_energy"]["pair"]
    return [
        f"The pair of equal energy is the liquid at T = {pair['T_slow']:.3f} of the slow cooling and the glass at T = "
        f"{pair['T_fast']:.3f} of the fast one; their mean e_IS differs by {pair['difference']:+.5f} ± "
        f"{pair['se_difference']:.5f}."
    ]


def _agrees(difference: Mapping[str, Any]) -> bool:
    return bool(difference["max_standard_errors"] <= _STANDARD_ERRORS and abs(difference["mean"]) <= _MEAN_DIFFERENCE)


def _against_reference(difference: Mapping[str, Any]) -> str:
    return (
        f"The unshifted e_IS {'agrees' if _agrees(difference) else 'does not agree'} with the reference line of true "
        f"minima at T >= {min(difference['T']):.2f}: it lies {abs(difference['mean']):.4f} "
        f"{'above' if difference['mean'] > 0 else 'below'} it on average (allowed: {_MEAN_DIFFERENCE}), "
        f"{difference['max_abs']:.4f} away at most, and {difference['max_standard_errors']:.1f} standard errors at "
        f"most (allowed: {_STANDARD_ERRORS:.0f})."
    )


def _reference(results: Results) -> list[str]:
    found = []
    difference = results["reference"].get("difference")
    if difference:
        found.append(_against_reference(difference))
    published = results["reference"].get("difference_published")
    if published:
        gap = -published["mean"]
        found.append(
            f"The published curve holds stalled minimisations, so it must lie above true minima: at "
            f"T >= {min(published['T']):.2f} it lies {gap:.4f} above ours."
            if gap > 0
            else f"The published curve holds stalled minimisations, so true minima must lie below it: at "
            f"T >= {min(published['T']):.2f} ours lie {-gap:.4f} above it, which they should not."
        )
    return found


def _minimiser(results: Results) -> list[str]:
    m = results["minimiser"]
    if m is None:
        return []
    if m["n_unconverged"] == 0:
        return [f"All {m['n_records']} minimisations converged; the largest force left is {m['max_force']:.2g}."]
    return [
        f"{m['n_unconverged']} of {m['n_records']} minimisations did not converge; the largest force left is "
        f"{m['max_force']:.2g}. Their energies are upper bounds."
    ]
