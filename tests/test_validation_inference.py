"""The table of the statistics: its planted truths, its verdicts, and a small run of it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from validation import inference, table
from validation.earlier import old_gain, old_interval, old_p, old_verdict
from validation.planted import SHAPES, Beside, Drawn, Plan, Runs, Two
from validation.table import Cell, Line, Outcome

from vitrify import scores
from vitrify.scores import auc


def _values(values: list[float]) -> object:
    def measure(_rng: np.random.Generator, _n: int) -> np.ndarray:
        return np.array(values)

    return measure


def _line(low: float, high: float, *values: float) -> Line:
    cells = tuple(Cell(name=str(v), now=_values([v] * 30)) for v in values)  # type: ignore[arg-type]
    return Line(subject="Subject", what="what", low=low, high=high, cells=cells)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("area", [0.6, 0.92, 0.99])
@pytest.mark.parametrize("runs", [Runs(n=10_000), Runs(n=4_000, n_glasses=3, n_liquids=2, shared=0.5)])
def test_a_plan_has_the_auc_it_says(shape: str, area: float, runs: Runs) -> None:
    drawn = Plan(runs=runs, area=area, shape=shape).draw(np.random.default_rng(1))
    assert auc(drawn.score, drawn.label) == pytest.approx(area, abs=0.015)


@pytest.mark.parametrize("grid", [0.3, 1.0, 2.5])
def test_a_rounded_plan_knows_its_auc(grid: float) -> None:
    plan = Plan(runs=Runs(n=40_000), area=0.9, grid=grid)
    drawn = plan.draw(np.random.default_rng(2))
    assert auc(drawn.score, drawn.label) == pytest.approx(plan.truth, abs=0.005)
    assert len(np.unique(drawn.score)) < 60


def test_configurations_of_a_run_are_as_correlated_as_asked() -> None:
    runs = Runs(n=20_000, n_liquids=2, n_glasses=3, shared=0.5)
    z = runs.noise(np.random.default_rng(3)).reshape(-1, 5)
    assert np.corrcoef(z.T)[np.triu_indices(5, 1)] == pytest.approx(np.full(10, 0.5), abs=0.03)
    assert runs.label[:5].tolist() == [0, 0, 1, 1, 1]
    assert np.bincount(runs.run).tolist() == [5] * 20_000


def test_two_have_their_areas_and_a_copy_sees_nothing_but_the_energy() -> None:
    rng = np.random.default_rng(4)
    drawn = Two(runs=Runs(n=20_000), areas=(0.85, 0.6), widths=(2.0, 1.0)).draw(rng)
    assert [auc(each, drawn.label) for each in drawn[:2]] == pytest.approx([0.85, 0.6], abs=0.01)
    drawn = Beside(runs=Runs(n=20_000), apart=0.0, beyond=0.4).draw(rng)
    assert auc(drawn.score, drawn.label) == pytest.approx(0.611, abs=0.01)
    for kind in ("noisy", "bent", "best"):
        drawn = Beside(runs=Runs(n=40_000), apart=1.9, kind=kind, width=0.5).draw(rng)
        near = np.abs(drawn.other - 1.2) < 0.02  # at one energy the score is at chance
        assert auc(drawn.score[near], drawn.label[near]) == pytest.approx(0.5, abs=0.07)


def test_the_earlier_methods_are_as_they_were() -> None:
    """Exact answers of runs wholly right or wrong: Clopper and Pearson, and McNemar."""
    rng, n = np.random.default_rng(5), 20
    label, run = np.tile([0, 1], n), np.repeat(np.arange(n), 2)
    right = Drawn(label.astype(float), -label.astype(float), label, run)
    ends = np.mean([old_interval(right, rng) for _ in range(40)], axis=0)
    assert ends == pytest.approx([0.025 ** (1 / n), 1.0], abs=0.01)
    value, p = old_p(right, rng)
    assert value == 1.0
    assert p < 0.02
    assert old_p(Drawn(right.score, right.score, label, run), rng)[1] == 1.0
    drawn = Beside(runs=Runs(n=60), apart=1.0, beyond=2.0).draw(rng)
    mean, low, high, p = old_gain(drawn, rng)
    assert 0 < low < mean < high
    assert old_verdict(drawn, rng) == "more"
    assert old_verdict(Beside(runs=Runs(n=200), apart=1.0).draw(rng), rng) == "only"


def test_a_cell_passes_within_three_standard_errors() -> None:
    line = _line(0.94, 0.98)
    assert line.passes(Outcome(value=0.93, error=0.004, n=4000))
    assert not line.passes(Outcome(value=0.927, error=0.004, n=4000))
    assert line.passes(Outcome(value=0.99, error=0.004, n=4000))
    assert not line.passes(Outcome(value=0.993, error=0.004, n=4000))
    assert not line.passes(Outcome(value=1.0, error=0.0, n=4000))


def test_one_bad_cell_fails_its_line() -> None:
    (good,) = table.measured([_line(0, 0.07, 0.01, 0.05)], seed=1, n=30)
    (bad,) = table.measured([_line(0, 0.07, 0.01, 0.09)], seed=1, n=30)
    assert table.passed(*good)
    assert not table.passed(*bad)
    assert "1 of 2 lines as they must be" in table.markdown([good, bad])
    assert "| what | 0 to 0.07 | 0.0100 to 0.0900 | - | 2 × 30 | **fail** |" in table.markdown([bad])


def test_before_stands_in_its_own_column() -> None:
    cell = Cell(name="x", now=_values([0.25] * 4), before=_values([0.75] * 4))  # type: ignore[arg-type]
    line = Line(subject="Subject", what="what", low=0, high=1, cells=(cell,))
    assert "| 0.2500 | 0.7500 |" in table.markdown(table.measured([line], seed=1, n=30))


def test_the_table_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    table.write(page, "new")
    assert page.read_text() == "before\n<!-- table -->\n\nnew\n<!-- end of table -->\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="must hold the lines <!-- table -->"):
        table.write(page, "new")


def _named(*parts: str) -> Iterator[Line]:
    return (line for line in inference.lines() if any(line.what.startswith(part) for part in parts))


def test_every_line_is_asked_and_every_cell_has_numbers_of_its_own() -> None:
    lines = inference.lines()
    names = [cell.name for line in lines for cell in line.cells]
    assert len(set(names)) == len(names)
    what = {line.what for line in lines}
    for runs in (16, 75, 300):
        for area in (0.6, 0.76, 0.92, 0.99):
            assert f"coverage, {runs} runs, AUC {area}" in what
    assert sum(line.what.startswith(("noisy copy of", "bent copy of")) for line in lines) == 4


def test_a_reduced_table_is_as_it_must_be_and_the_same_twice() -> None:
    lines = list(
        _named(
            "coverage, 16 runs, AUC 0.92",
            "perfect separation",
            "power, 16 runs",
            "equal ones called more, 16 runs, AUC 0.8",
            "power at equal energy",
            "dealt again",
        )
    )
    assert len(lines) == 6
    found = table.measured(lines, seed=1, n=120)
    assert [line.what for line, outcomes in found if not table.passed(line, outcomes)] == []
    before = dict(zip([line.what for line, _ in found], [outcomes[0][1] for _, outcomes in found], strict=True))
    assert before["dealt again: how far p moves"].value > 0.05  # type: ignore[union-attr]
    short = [replace(lines[0], cells=lines[0].cells[:1])]
    again = table.measured(short, seed=1, n=120)
    assert again[0][1] == found[0][1][:1]
    assert table.measured(short, seed=2, n=120)[0][1] != again[0][1]


def _half_the_error(d: np.ndarray, part: float, value: float) -> tuple[float, float, float]:
    mean, square, size = _MOMENTS(d, part, value)
    return mean, square / 4, size


_MOMENTS = scores._moments


@pytest.mark.parametrize(
    ("name", "fault", "what"),
    [
        ("_WRONG", 3.0, "mean width, 16 runs"),  # three contrary runs are too many
        ("_moments", _half_the_error, "coverage, 16 runs, AUC 0.76"),
        ("_TAIL", 0.1, "coverage, 16 runs, AUC 0.6"),  # eight tenths sold for nineteen twentieths
        ("_ranks", lambda values: values.argsort() + 1.0, "coverage, 16 runs, AUC 0.92"),
    ],
)
def test_a_wrong_method_fails(name: str, fault: object, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = _named(what)
    only = replace(line, cells=tuple(replace(cell, before=None) for cell in line.cells[:1]))
    assert table.passed(*table.measured([only], seed=1, n=300)[0])
    monkeypatch.setattr(scores, name, fault)
    assert not table.passed(*table.measured([only], seed=1, n=300)[0])


def test_the_command_prints_writes_and_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inference, "lines", partial(list, [_line(0, 0.07, 0.01)]))
    assert inference.main(["--workers", "1"]) == 0
    assert "1 of 1 lines as they must be" in capsys.readouterr().out
    monkeypatch.setattr(inference, "lines", partial(list, [_line(0, 0.07, 0.09)]))
    written = []
    monkeypatch.setattr(table, "write", lambda page, text: written.append((page.name, "**fail**" in text)))
    assert inference.main(["--workers", "1", "--docs"]) == 1
    assert "what: 0.09 gave 0.0900, must be 0 to 0.07" in capsys.readouterr().out
    assert written == [("inference.md", True)]
    with pytest.raises(SystemExit):
        inference.main(["--ensembles", "5"])
