"""What the two classes are called: liquid and glass, or two liquids by their temperatures, on every page and line."""

from pathlib import Path

import numpy as np
import pytest

from vitrify import analyses, pack, study, workbench
from vitrify.figures import as_the_network_sees
from vitrify.learning_figures import weights_figure
from vitrify.settings import CLASSES, Study, class_names, from_toml

TINY = from_toml(Path(__file__).parent / "tiny.toml")
HOT, WARM = "liquid at T = 1.903", "liquid at T = 1.025"


def _quiet(*_: object) -> None:
    pass


def _study(**classify: object) -> Study:
    asked = TINY.classify.model_dump() | {"inputs": ["inherent"], "control": [], "null": False, "baselines": ["e_is"]}
    short = TINY.simulate.model_dump() | {"n_equilibrate": 60}
    short["cool"] = short["cool"] | {"n_steps": 400}
    models = [{"kind": "shallow", "n_neurons": 2}]
    return Study.model_validate(TINY.model_dump() | {"classify": asked | classify, "simulate": short, "models": models})


LIQUIDS = _study(k=[1, 5], k_glass=10)


def test_names_follow_the_temperatures_of_the_records() -> None:
    assert class_names(TINY) == class_names(TINY, 14) == CLASSES == ("liquid", "glass")
    assert class_names(LIQUIDS) == (HOT, WARM)
    assert class_names(LIQUIDS, 5) == ("liquid at T = 1.512", WARM)
    assert class_names(LIQUIDS, 18) == CLASSES  # T = 0.245 is no liquid
    assert class_names(_study(k=[1], k_glass=17)) == CLASSES
    assert class_names(LIQUIDS, 0) == CLASSES  # the pair of equal energy
    assert class_names(_study(k=[1, 5], k_glass=10, classes=["hot", "warm"]), 5) == ("hot", "warm")
    with pytest.raises(ValueError, match="two different names"):
        _study(classes=["hot", "hot"])


def test_each_picture_has_the_name_of_its_class() -> None:
    one, zero = np.zeros((2, 2, 4, 4), np.uint8)
    one[0], zero[1] = 255, 255  # A everywhere, B everywhere
    drawn = [np.full((4, 4, 3), value, np.uint8) for value in (10, 20)]
    figure = as_the_network_sees(one, zero, *drawn, ("cold", "hot"))
    shown = {
        ax.get_title().split(",")[0] + str(place): ax.images[0].get_array() for place, ax in enumerate(figure.axes)
    }
    assert list(shown) == ["hot0", "cold1", "hot2", "cold3"]
    assert shown["hot0"][0, 0, 0] > shown["cold1"][0, 0, 0]  # orange of A has more red than blue of B
    assert (shown["hot2"][0, 0, 0], shown["cold3"][0, 0, 0]) == (10, 20)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("liquids") / "tiny"
    study.run(LIQUIDS, folder, n_workers=1, progress=_quiet)
    return folder


def test_a_page_of_two_liquids_calls_them_so(out: Path) -> None:
    results = study.report_again(out, n_workers=1, progress=_quiet)
    assert results["classes"] == [HOT, WARM]
    assert [entry["classes"] for entry in results["learning_curves"]] == [[HOT, WARM], ["liquid at T = 1.512", WARM]]
    page = (out / "report.html").read_text()
    assert f"<h1>L{HOT[1:]} or {WARM}, from positions alone</h1>" in page
    assert f"the {WARM} left and the {HOT} right" in page
    assert f"(and its number k), against the {WARM}" in page
    assert f"positive for {WARM}." in page
    for false in ("Glass or liquid", "A glass and a liquid", "the glass left", "positive for glass", "glass k"):
        assert false not in page
    drawn = weights_figure(results["learning_curves"][1])
    assert drawn.get_supylabel() == f"weight in the logit (> 0: {WARM})"


def test_the_analyses_call_them_so(out: Path) -> None:
    names = ["energy", "structure", "probes", "attribution"]
    made = {name: analyses.ANALYSES[name].compute for name in names}
    found = {name: compute(LIQUIDS, out, n_workers=1, progress=_quiet) for name, compute in made.items()}
    sections = {name: analyses.ANALYSES[name].section(values) for name, values in found.items()}
    assert [task["classes"] for task in found["energy"]["tasks"]] == [[HOT, WARM], ["liquid at T = 1.512", WARM]]
    words = {
        name: " ".join([*one.sentences, *(drawing.caption for drawing in one.drawings)])
        for name, one in sections.items()
    }
    assert f"of the {WARM}; bands" in words["structure"]
    (entry,) = found["attribution"]["networks"]
    assert f"of the class {WARM} is {entry['logit']['glass']:+.2f}" in words["attribution"]
    (model,) = found["probes"]["models"]
    cold = [np.median(one["logit"]) for one in model["logits"] if one["of"] == "glass"]
    assert f"{WARM} {cold[0]:+.1f}" in words["probes"]
    for name in ("structure", "attribution", "probes"):
        assert "glass" not in words[name].replace("k_glass", ""), words[name]


def test_trainings_cards_and_lines_call_them_so(out: Path, call) -> None:
    task = workbench.Task(input="inherent", k=1)
    outcome = workbench.train(LIQUIDS, out, task, kind="shallow", n_workers=1, progress=_quiet)
    assert outcome["classes"] == [HOT, WARM]
    card = {
        "classes": [HOT, WARM], "k": {"liquid": 1, "glass": 10}, "T": {"liquid": 1.9025, "glass": 1.025},
        "name": "two", "mixture": "ka2d", "input": "inherent", "n_networks": 1, "kind": "shallow", "energy": "e_is",
        "calibration": {"threshold": 0.0, "temperature": 1.0}, "runs": {"train": 8, "validation": 4, "test": 4},
        "command": "vitrify pack", "scores": [], "study": {"simulate": {"n_particles": 64}},
    }  # fmt: skip
    text = pack.card_text(card)
    assert f"Probability that ka2d is {WARM}, from" in text
    assert f"- Labels: {HOT} is record 1, T = 1.903; {WARM} is record 10, T = 1.025." in text
    assert "a glass" not in text
    Path("two.toml").write_text(
        'name = "tiny"\nseed = 3\n[simulate]\nn_particles = 64\nn_runs = 16\nn_equilibrate = 60\n'
        "cool = { T_start = 2.0, T_end = 0.05, n_steps = 400, n_frames = 20 }\n"
        "[classify]\nk = [1, 5]\nk_transfer = 1\nk_glass = 10\ncontrol = []\nvalidation = 0.25\ntest = 0.25\n"
        "train = { n_steps = 20, evaluate_every = 10, batch_size = 8 }\n"
        '[[models]]\nkind = "shallow"\nn_neurons = 2\n'
    )
    done = call("train", "two.toml", "--out", str(out), "--k", "1", "--model", "shallow")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{HOT} (logit below 0) against {WARM} (above 0)\n")
