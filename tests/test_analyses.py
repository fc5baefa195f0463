from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from vitrify import analyses, report, store
from vitrify.settings import from_toml

KILLED = Path(__file__).parent / "killed.toml"


def _silent(_stage: str, _done: float, _total: float) -> None:
    pass


def _line(heights: list[float]) -> Figure:
    figure = Figure()
    figure.subplots().plot(heights)
    return figure


class Counting:
    """An analysis that counts how often it is computed."""

    def __init__(self) -> None:
        self.n_computed = 0

    def compute(self, chosen: Any, _out: Path, **_words: Any) -> dict[str, Any]:
        self.n_computed += 1
        return {"n_runs": chosen.simulate.n_runs, "heights": [1.0, 4.0]}

    def section(self, values: dict[str, Any]) -> report.Section:
        drawing = report.Drawing(name="heights", draw=_line, values=(values["heights"],), caption="Two <heights>")
        table = report.Table(title="Heights", columns=("which", "height"), rows=[("second", "4.0")])
        sentence = f"{values['n_runs']} runs have heights."
        return report.Section(
            anchor="counted", title="Counted", sentences=[sentence], drawings=[drawing], tables=[table]
        )


def test_an_analysis_is_made_once_and_stands_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, chosen = Counting(), from_toml(KILLED)
    monkeypatch.setattr(analyses, "ANALYSES", {"counted": analyses.Analysis(one.compute, one.section)})
    found = analyses.run(["counted"], chosen, tmp_path, n_workers=1, progress=_silent)
    assert found["counted"]["n_runs"] == chosen.simulate.n_runs
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{chosen.simulate.n_runs} runs have heights." in page
    assert 'id="heights"' in page
    assert "Two &lt;heights&gt;" in page
    assert "<td>second</td>" in page
    assert analyses.run(["counted"], chosen, tmp_path, n_workers=1, progress=_silent) == found
    assert one.n_computed == 1
    analyses.report_again(tmp_path, n_workers=1, progress=_silent)
    assert "runs have heights" in (tmp_path / "report.html").read_text(encoding="utf-8")
    path = tmp_path / "analyses" / "counted.json"
    store.write_json(path, store.read_json(path) | {"identity": "of another study"})
    assert analyses.sections(chosen, tmp_path) == []
    with pytest.raises(ValueError, match="an analysis is one of counted; got guessed"):
        analyses.run(["guessed"], chosen, tmp_path, n_workers=1, progress=_silent)
