import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.test_study import without_timing

import vitrify
from vitrify import cli
from vitrify.cli.words import Progressing

Call = Callable[..., subprocess.CompletedProcess]
KILLED = str(Path(__file__).parent / "killed.toml")
TINY = str(Path(__file__).parent / "tiny.toml")
_VITRIFY = [sys.executable, "-c", "from vitrify.cli import main; main()"]


def _vitrify(*words: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*_VITRIFY, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout, env=os.environ
    )


def test_help_and_version_need_no_torch(tmp_path: Path) -> None:
    said = _vitrify("--help", cwd=tmp_path)
    assert said.returncode == 0
    assert "vitrify quickstart" in said.stdout
    assert _vitrify("--version", cwd=tmp_path).stdout == f"vitrify {vitrify.__version__}\n"
    check = "import sys, vitrify, vitrify.cli; assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("command", [name for family in cli.FAMILIES for name in family])
def test_every_command_explains_itself(command: str, call: Call) -> None:
    said = call(command, "--help")
    assert said.returncode == 0, said.stderr
    assert "--json" in said.stdout
    assert "--workers" in said.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "there is no command 'fly'"),
        (["run"], "needs a study file"),
        (["run", "absent.toml"], "absent.toml: No such file, and no shipped study: those are"),
        (
            ["run", TINY, "--device", "cuda", "--simulate.engine", "lammps"],
            "device 'cuda' is for engine 'vitrify' only",
        ),
        (["pair", TINY, "absent"], "absent: No such file"),
        (["run", "broken.toml"], "broken.toml"),
        (["run", "wrong.toml"], "simulate.n_runs"),
        (["run", TINY, "--workers", "0"], "--workers must be at least 1; got 0"),
        (["run", TINY, "--simulate.n-runs", "1"], "simulate more runs"),
        (["run", TINY, "--out", "file"], "file"),
        (["report", "nowhere"], "holds no results.json"),
    ],
)
def test_an_error_is_one_message_without_traceback(words: list[str], message: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("seed = = 1")
    (tmp_path / "wrong.toml").write_text("colour = 'blue'\n[simulate]\nn_runs = -4\ndt = 'fast'")
    (tmp_path / "file").write_text("not a folder")
    said = call(*words)
    assert said.returncode == 1, said.stderr
    assert message in said.stderr
    assert "Traceback" not in said.stderr
    assert said.stdout == ""


def test_all_wrong_settings_are_named_at_once(call: Call, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("colour = 'blue'\n[simulate]\nn_runs = -4\ndt = 'fast'")
    said = call("run", "wrong.toml").stderr
    assert all(word in said for word in ("colour", "simulate.n_runs", "got -4", "simulate.dt", "got 'fast'"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in _vitrify("report", "nowhere", "--debug", cwd=tmp_path).stderr


def test_simulate_then_run_with_overrides_then_report(call: Call, tmp_path: Path) -> None:
    fewer = ["--simulate.n-runs", "12", "--workers", "1", "--json"]
    said = call("simulate", KILLED, "--out", "o", *fewer)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["n_runs"] == 12
    assert "240 of 240" in said.stderr
    said = call("run", KILLED, "--out", "o", *fewer)
    assert said.returncode == 0, said.stderr
    results = json.loads(said.stdout)
    assert results["cooling_curve"]["n_runs"] == 12
    assert results == json.loads((tmp_path / "o" / "results.json").read_text())
    said = _vitrify("report", "o", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert results["conclusions"][0] in said.stdout


def test_a_pair_is_found_and_written(call: Call, tmp_path: Path) -> None:
    (tmp_path / "fast.toml").write_text(Path(KILLED).read_text().replace("n_steps = 4_000", "n_steps = 800"))
    words = ["pair", KILLED, "fast.toml", "--out", "o", "--tolerance", "0.03", "--workers", "1"]
    said = call(*words)
    assert said.returncode == 0, said.stderr
    assert "equal energy: liquid k = " in said.stdout
    assert "unshifted" in said.stdout
    again = call(*words, "--json")
    assert json.loads(again.stdout) == json.loads((tmp_path / "o" / "pair.json").read_text())


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_killed_three_times_it_ends_as_if_never_stopped(how: int, call: Call, tmp_path: Path) -> None:
    words = ["run", KILLED, "--workers", "2"]
    whole = call(*words[:2], "--workers", "1", "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    for done in (40, 200, 320):
        process = subprocess.Popen([*_VITRIFY, *words, "--out", "o"], cwd=tmp_path, stderr=subprocess.PIPE)
        _wait_until(tmp_path / "o", records=done, process=process)
        process.send_signal(how)
        process.communicate(timeout=60)
        assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    last = call(*words, "--out", "o")
    assert last.returncode == 0, last.stderr
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "o"))
    assert without_timing(one) == without_timing(two)


def _wait_until(out: Path, *, records: int, process: subprocess.Popen) -> None:
    """Wait until about that many of the 320 records are kept; at 320, until some network is being trained."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        finished = len(list(out.glob("data/workspace/*/energies.h5"))) * 20
        if finished >= min(records, 300) and (records < 320 or list(out.glob("models/*/last.pt"))):
            return
        time.sleep(0.02)
    raise AssertionError(process.stderr.read() if process.poll() is not None else "never got there")  # type: ignore[union-attr]


def test_a_second_ensemble_is_timed_from_its_own_beginning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 100.0, 200.0, 220.0])
    monkeypatch.setattr("vitrify.cli.words.time", SimpleNamespace(monotonic=lambda: next(now)))
    with Progressing() as progress:
        for done in (0, 10, 1, 5):
            progress("simulate", done, 10)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "simulate: 5 of 10 0.2/s, 25 s left"
