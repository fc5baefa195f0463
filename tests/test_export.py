import re
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from tests.logged import training

from vitrify import cli, export, log, log_figures, log_index


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("log")
    out = root / "study"
    first = training(out, "inherent-cnn-k140-aaaaaaaaa1", rate=0.003, auc=0.7)
    training(out, "inherent-mpnn-k140-aaaaaaaaa2", model="mpnn", auc=0.9)
    training(out, "inherent-e_is-k140-aaaaaaaaa3", model="e_is", auc=0.6)
    log.note(out, first, r'Wow! <script>alert(1)</script> 5% of $x_1^2$ & {all} #1 ~ \input{/etc/passwd} "π"')
    with log.recorded(out, kind="analyse", name="small-report-abcdef1", known={"study": "small"}) as entry:
        (out / "figures").mkdir()
        figure = Figure(figsize=(2, 1))
        figure.savefig(out / "figures" / "progress.png")
        entry |= {"sentences": ["No <network> is better."], "figures": ["figures/progress.png", "../../secret.png"]}
    (root.parent / "secret.png").write_bytes(b"not to be shown")
    return root


def test_one_page_holds_the_log(root: Path, tmp_path: Path) -> None:
    made = export.write(root, tmp_path / "log.html", title="A & B")
    assert made == {"written": [str(tmp_path / "log.html")], "says": ""}
    page = (tmp_path / "log.html").read_text(encoding="utf-8")
    assert "<h1>A &amp; B</h1>" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert page.count("data:image/png;base64,") == 1
    assert "learning_rate = 0.003" in page
    assert "best validation accuracy 0.900 [0.800, 1.000] and test accuracy 0.700 [0.600, 0.800]" in page
    assert "final validation accuracy 0.900 [0.800, 1.000] and test accuracy 0.500" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "No &lt;network&gt; is better." in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_the_best_model_is_chosen_on_validation_runs(root: Path) -> None:
    (row,) = export.best_models(log_index.gather(root))
    assert (row["model"], row["of"], row["task"]) == ("MPNN", "2", "inherent, k = 140 (T = 0.635) vs 200")
    assert row["auc"].startswith("0.900")
    assert row["energy"].startswith("0.600")
    assert row["n"] == "32 of 16"


def test_latex_has_dated_sections_numbered_items_and_captions(root: Path, tmp_path: Path) -> None:
    export_only = tmp_path / "log.tex"
    made = export.write(root, export_only)
    text = export_only.read_text(encoding="utf-8")
    assert re.search(r"\\section\{20\d\d-\{\}\d\d-\{\}\d\d\}", text)
    assert [int(number) for number in re.findall(r"\\logitem\{(\d+)\}", text)] == [1, 2, 3, 4]
    assert text.count(r"\captionof{figure}") == 3
    assert r"learning\_\allowbreak{}rate = 0.003" in text
    assert r"\textless{}script\textgreater{}" in text
    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"5\% of \$x\_\allowbreak{}1\textasciicircum{}2\$ \& \{all\} \#1 \textasciitilde{}" in text
    assert r"\section*{Best models}" in text
    for name in re.findall(r"\\includegraphics\[[^]]*\]\{([^}]*)\}", text):
        assert (tmp_path / name).is_file()
    assert text.count(r"\begin{") == text.count(r"\end{")
    if shutil.which("pdflatex") or shutil.which("tectonic"):
        assert (tmp_path / "log.pdf").read_bytes().startswith(b"%PDF")
        assert made["says"] == ""
    else:
        assert "no TeX is installed" in made["says"]


def test_where_no_tex_is_installed_it_says_so(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    made = export.write(root, tmp_path / "log.tex", where=["model=cnn"])
    assert "no TeX is installed (pdflatex or tectonic)" in made["says"]
    assert (tmp_path / "log.tex").read_text().count(r"\captionof{figure}") == 1


def test_tex_prints_every_letter_as_itself_or_a_question_mark() -> None:
    assert export.tex(r"a\b") == r"a\textbackslash{}b"
    assert export.tex("T ≥ 0.8 — ß é Š") == r"T $\geq$ 0.8 --- ß é Š"
    assert export.tex("猫") == "?"


def test_the_figure_of_a_training_shows_both_curves() -> None:
    history = {f"{part}_{what}": [0.5, None, 0.9] for part in ("train", "validation") for what in ("loss", "accuracy")}
    accuracy, loss = log_figures.training_figure(history | {"step": [10, 20, 30]}).axes
    for ax in (accuracy, loss):
        lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() in ("s", "o")]
        assert [list(line.get_xdata()) for line in lines] == [[10, 30], [10, 30]]
        assert [list(line.get_ydata()) for line in lines] == [[0.5, 0.9], [0.5, 0.9]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "log.pdf"], "to must be FILE.html or FILE.tex; got log.pdf"),
        (["--to", "log.html", "--where", "model=gin"], "nothing is logged below"),
    ],
)
def test_what_cannot_be_exported_is_said(
    root: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["export", str(root), *words])
    assert end.value.code == 1
    assert message in capsys.readouterr().err
