r"""Do the neurons of a network with one hidden layer answer to five-fold order?

Of every test configuration the activation of each neuron stands against the mean of :math:`|\psi_5|` over the
particles, within each class: what tells the classes apart would correlate between them whatever it is. All that comes
out is exploratory: many neurons are looked at, and none was named beforehand.
"""

__all__ = ["activations", "columns", "drawing", "five_fold", "sentence", "table"]

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from vitrify import scores, sets
from vitrify.attribution import across_runs
from vitrify.attribution_figures import neurons_against_order
from vitrify.dataset import Labelled
from vitrify.local_order import local_order
from vitrify.models import Shallow
from vitrify.report import Drawing, Table, name_of_model, with_interval
from vitrify.system import Configuration

Entry = dict[str, Any]

_CLASSES = ("liquid", "glass")
_SIGNIFICANT = 0.05


def five_fold(data: Labelled) -> Float[np.ndarray, " b"] | None:
    r"""Return the mean :math:`|\psi_5|` of every configuration, or ``None`` in three dimensions."""
    if len(data.box) != 2:
        return None
    found = [
        local_order(Configuration(positions=one.astype(float), species=data.species, box=data.box))["psi5"].mean()
        for one in data.positions
    ]
    return np.array(found)


def activations(network: nn.Module, model: Shallow, tests: Labelled, order: Float[np.ndarray, " b"]) -> Entry:
    """Return every neuron's activation of the test configurations, and how each goes with five-fold order.

    Args:
        network: The trained network.
        model: Its settings.
        tests: Configurations of runs that trained and chose nothing.
        order: Their five-fold order.

    Returns:
        ``order``, ``label``, ``run`` and ``activation`` (a list for each neuron) of the configurations; and ``rows``:
        the rank correlation of each neuron within each class, with its p corrected for the number of rows.
    """
    _, _, own = sets.named_weights(model, network)
    activation = sets.activations(model, network, tests.positions, tests.species, tests.box)
    rows = []
    for neuron in range(activation.shape[1]):
        for label, name in enumerate(_CLASSES):
            held = tests.label == label
            found = asdict(across_runs(activation[held, neuron], order[held]))
            rows.append({"neuron": neuron + 1, "weight": float(own[neuron]), "class": name} | found)
    corrected = scores.holm(np.array([row["p"] for row in rows]))
    return {
        "order": order.tolist(),
        "label": tests.label.tolist(),
        "run": tests.run.tolist(),
        "activation": activation.T.tolist(),
        "rows": [row | {"p_holm": float(p)} for row, p in zip(rows, corrected, strict=True)],
    }


def sentence(entry: Entry) -> str:
    """Return what is shown of a network's neurons, in words that say that it is exploratory."""
    called, rows = _called(entry), entry["neurons"]["rows"]
    shown = [row for row in rows if row["p_holm"] < _SIGNIFICANT]
    who = f"the {len(rows) // 2} neurons of the {name_of_model(entry['model'])}"
    tests = f"{len(rows)} correlations over {rows[0]['n_runs']} test runs"
    if not shown:
        return f"Exploratory: whether {who} answer to five-fold order within a class is left open by {tests}."
    words = "; ".join(
        f"neuron {row['neuron']} in the class {called[row['class']]}, rho = {with_interval(row, '+.2f')}, Holm's p = "
        f"{row['p_holm']:.2g}"
        for row in shown
    )
    return f"Exploratory, of {who}: the activation goes with five-fold order for {words} ({tests}, Spearman)."


def drawing(entry: Entry, name: str) -> Drawing:
    """Return the figure of activations against five-fold order."""
    return Drawing(
        name=f"neurons_{name}",
        draw=neurons_against_order,
        values=(entry,),
        data=columns(entry["neurons"]),
        caption="Exploratory: activation of each neuron against the mean five-fold order of the configuration, one "
        "point for each class and test run; Spearman's rank correlation within each class.",
    )


def columns(neurons: Entry) -> dict[str, Sequence]:
    """Return the columns of the CSV beside the figure."""
    each = {f"neuron_{place + 1}": values for place, values in enumerate(neurons["activation"])}
    return {"run": neurons["run"], "label": neurons["label"], "psi5": neurons["order"], **each}


def table(entry: Entry) -> Table:
    """Return the table of all neurons and classes."""
    called = _called(entry)
    return Table(
        title=f"Exploratory: neurons of the {name_of_model(entry['model'])} against five-fold order",
        columns=("neuron", "its weight in the logit", "class", "Spearman's ρ, 95% interval", "p", "Holm's p", "runs"),
        rows=[
            (
                str(row["neuron"]),
                f"{row['weight']:+.3f}",
                called[row["class"]],
                with_interval(row, "+.2f"),
                f"{row['p']:.2g}",
                f"{row['p_holm']:.2g}",
                str(row["n_runs"]),
            )
            for row in entry["neurons"]["rows"]
        ],
    )


def _called(entry: Entry) -> dict[str, str]:
    """Return what the classes are called, by the keys they have in the values."""
    return dict(zip(_CLASSES, entry.get("classes", _CLASSES), strict=True))
