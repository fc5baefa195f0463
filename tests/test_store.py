import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import gsd.hoomd
import numpy as np
import pytest
import signac
from tests.test_simulate import TINY, OneByOne

from vitrify import store
from vitrify.protocols import Cool
from vitrify.simulate import Simulate, records


def _job(root: Path, run: int = 0) -> store.Job:
    return store.Job(root=root, settings=TINY, seed=5, run=run)


def _folder(root: Path, run: int = 0) -> store.RunFolder:
    return store.RunFolder(root, TINY, seed=5, run=run)


def _kept(root: Path, run: int = 0) -> int:
    return store.unfinished(root, TINY, seed=5)[run]


def _stop_after(n: int):  # type: ignore[no-untyped-def]
    left = [n]

    def tick(_: float) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    return tick


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    store.keep_run(_job(root), lambda _: None)
    return root


def _same(one: Path, two: Path) -> None:
    for name in ("thermal", "inherent"):
        a, b = (gsd.hoomd.open(str(_folder(root).path / f"{name}.gsd"), "r") for root in (one, two))
        with a, b:
            assert len(a) == len(b) == 12
            for k in range(12):
                assert a[k].particles.position.tobytes() == b[k].particles.position.tobytes()
    for name, column in _folder(one).table().items():
        assert column.tobytes() == _folder(two).table()[name].tobytes(), name


def test_a_run_stopped_three_times_ends_as_one_that_was_not(whole: Path, tmp_path: Path) -> None:
    for n in (1, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            store.keep_run(_job(tmp_path), _stop_after(n))
    assert _kept(tmp_path) == 8
    store.keep_run(_job(tmp_path), lambda _: None)
    _same(whole, tmp_path)


@pytest.mark.parametrize("kept", ["thermal", "both"])
@pytest.mark.parametrize("ahead", [1, 4])
def test_a_process_killed_between_two_files_repeats_the_records(
    whole: Path, tmp_path: Path, kept: str, ahead: int
) -> None:
    """The trajectories may be a group of records ahead of the restart file."""
    with pytest.raises(KeyboardInterrupt):
        store.keep_run(_job(tmp_path), _stop_after(5))
    folder = _folder(tmp_path).path
    before = (folder / "restart.npy").read_bytes()
    inherent = (folder / "inherent.gsd").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        store.keep_run(_job(tmp_path), _stop_after(ahead))
    (folder / "restart.npy").write_bytes(before)
    if kept == "thermal":
        (folder / "inherent.gsd").write_bytes(inherent)
    store.keep_run(_job(tmp_path), lambda _: None)
    _same(whole, tmp_path)


@pytest.mark.parametrize("together_s", [0.0, 100.0])
def test_runs_kept_together_are_the_runs_kept_alone(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together_s: float
) -> None:
    monkeypatch.setattr(store, "_COMMIT_S", together_s)
    jobs = [_job(tmp_path, run) for run in range(3)]
    with pytest.raises(KeyboardInterrupt):
        store.keep_run(jobs[0], _stop_after(5))
    with pytest.raises(KeyboardInterrupt):
        store.keep_runs(jobs, _stop_after(9), device=OneByOne())
    assert store.unfinished(tmp_path, TINY, seed=5) == {0: 9, 1: 9, 2: 9, 3: 0}
    acknowledged: list[float] = []
    store.keep_runs(jobs, acknowledged.append, device=OneByOne())
    assert sum(acknowledged) == 9
    assert store.unfinished(tmp_path, TINY, seed=5) == {3: 0}
    _same(whole, tmp_path)
    for run in (1, 2):
        store.keep_run(_job(tmp_path / "alone", run), lambda _: None)
        for name, column in _folder(tmp_path / "alone", run).table().items():
            assert column.tobytes() == _folder(tmp_path, run).table()[name].tobytes(), name


@pytest.mark.parametrize(("together_s", "ticks"), [(1000.0, [0] * 12 + [12]), (0.0, [1] * 12 + [0])])
def test_only_what_is_on_the_disk_is_acknowledged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together_s: float, ticks: list[int]
) -> None:
    monkeypatch.setattr(store, "_COMMIT_S", together_s)
    said: list[float] = []

    def tick(amount: float) -> None:
        said.append(amount)
        if len(said) <= 12:
            assert _kept(tmp_path) == sum(said)

    store.keep_run(_job(tmp_path), tick)
    assert said == ticks
    _same(whole, tmp_path)


def test_little_waits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_COMMIT_S", 1000.0)
    of_five_records = 5 * 3 * 64 * 2 * 4  # positions, velocities and the minimum, in two dimensions of four bytes
    with store.RunFolder(tmp_path, TINY, seed=5, run=0, room=of_five_records) as folder:
        assert [folder.append(frame) for frame in records(TINY, seed=5, run=0)] == [0, 0, 0, 0, 5] * 2 + [0, 0]
    assert _kept(tmp_path) == 12


@pytest.mark.parametrize("n_runs", [2000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_ten_thousand_runs_are_listed_in_seconds(whole: Path, tmp_path: Path, n_runs: int) -> None:
    """Most of the runs are finished, the others stand where they were stopped; seconds are of the processor."""
    settings = TINY.model_copy(update={"n_runs": n_runs})
    document = (_folder(whole).path / "signac_job_document.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        store.keep_run(_job(tmp_path / "stopped"), _stop_after(5))
    restart = (_folder(tmp_path / "stopped").path / "restart.npy").read_bytes()
    project = signac.init_project(str(tmp_path))
    for run in range(n_runs):
        path = store.RunFolder(tmp_path, settings, seed=5, run=run, project=project).path
        path.mkdir(parents=True)
        (path / "signac_job_document.json").write_bytes(document)
        if run % 10:
            (path / "energies.h5").touch()
        else:
            (path / "restart.npy").write_bytes(restart)
    began = time.process_time()
    assert store.unfinished(tmp_path, settings, seed=5) == dict.fromkeys(range(0, n_runs, 10), 5)
    listed = time.process_time()
    assert store.seconds(tmp_path, settings, seed=5)["simulate_s"] == pytest.approx(
        n_runs * json.loads(document)["simulate_s"]
    )
    summed = time.process_time()
    assert listed - began < 5 * n_runs / 10_000
    assert summed - listed < 5 * n_runs / 10_000


def test_a_second_call_does_nothing(whole: Path) -> None:
    def stamps() -> dict[str, float]:
        return {path.name: path.stat().st_mtime_ns for path in _folder(whole).path.iterdir() if path.name != ".lock"}

    before = stamps()
    store.keep_run(_job(whole), lambda _: pytest.fail("a finished run was continued"))
    assert stamps() == before


def test_what_is_loaded_is_what_was_simulated(whole: Path) -> None:
    ensemble = store.load(whole, TINY.model_copy(update={"n_runs": 1}), seed=5, k=[2, 12])
    frames = list(records(TINY, seed=5, run=0))
    np.testing.assert_allclose(ensemble.T, [frame.T for frame in frames])
    np.testing.assert_array_equal(ensemble.e_pot_shifted[0], [frame.energies.shifted for frame in frames])
    np.testing.assert_array_equal(ensemble.e_is_unshifted[0], [frame.minimum.energies.unshifted for frame in frames])
    exact = frames[1].state.positions.view(np.uint32) * (frames[1].state.edge / 2.0**32)
    error = (ensemble.thermal[0, 0] - exact + ensemble.box / 2) % ensemble.box - ensemble.box / 2
    assert np.abs(error).max() < 1e-6
    assert ((ensemble.thermal >= 0) & (ensemble.thermal < ensemble.box)).all()


def test_the_name_of_a_run_is_the_hash_of_its_settings(tmp_path: Path) -> None:
    names = {_folder(tmp_path, run).path.name for run in (0, 1)}
    assert _folder(tmp_path).path.name == "82c65f45483ff93704a0b4150c4abea0"
    assert len(names) == 2
    more = TINY.model_copy(update={"n_runs": 99})
    assert store.RunFolder(tmp_path, more, seed=5, run=0).path.name in names  # a larger ensemble keeps its runs


def test_signac_finds_the_run_by_its_settings(whole: Path) -> None:
    (job,) = signac.get_project(str(whole)).find_jobs({"n_particles": 64, "cool.n_frames": 12})
    assert job.document["versions"]["vitrify"]
    assert job.document["simulate_s"] > 0


def test_ovito_and_freud_can_read_the_trajectory(whole: Path) -> None:
    with gsd.hoomd.open(str(_folder(whole).path / "thermal.gsd"), "r") as trajectory:
        frame = trajectory[3]
        assert frame.configuration.dimensions == 2
        assert frame.particles.types == ["A", "B"]
        assert np.abs(frame.particles.position[:, :2]).max() <= frame.configuration.box[0] / 2
        assert frame.configuration.step == 400 + 4 * 200
        assert frame.log["T"][0] == pytest.approx(TINY.bath.T(4))


@pytest.mark.parametrize("name", ["thermal.gsd", "inherent.gsd", "restart.npy"])
@pytest.mark.parametrize("damage", ["truncated", "last frame", "junk", "empty"])
def test_a_damaged_file_is_named_and_nothing_is_lost(tmp_path: Path, name: str, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.keep_run(_job(tmp_path), _stop_after(3))
    folder = _folder(tmp_path).path
    content = (folder / name).read_bytes()
    shorter = {"truncated": content[: len(content) // 3], "last frame": content[:-100]}
    spoiled = (shorter | {"junk": b"\x07" * 3000, "empty": b""})[damage]
    (folder / name).write_bytes(spoiled)
    others = {path: path.read_bytes() for path in folder.iterdir() if path.name not in (name, ".lock")}
    with pytest.raises(store.DamagedFileError, match=rf"{name} is damaged .*delete the folder"):
        store.keep_run(_job(tmp_path), lambda _: None)
    assert {path: path.read_bytes() for path in others} == others


def test_settings_cut_off_by_a_kill_are_written_again(whole: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path).path
    folder.mkdir(parents=True)
    (folder / "signac_statepoint.json").write_text('{"mixture": "ka')
    store.keep_run(_job(tmp_path), lambda _: None)
    _same(whole, tmp_path)


_FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.test_simulate import TINY
from vitrify import store
store._COMMIT_S = float(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    store.keep_run(store.Job(root=Path(sys.argv[1]), settings=TINY, seed=5, run=0), lambda _: None)
except OSError as error:
    sys.exit(f"refused: {error}")
"""


def test_a_full_disk_is_an_error_and_what_was_kept_can_be_continued(whole: Path, tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk: both fail in the middle of a write."""
    assert resource.RLIMIT_FSIZE
    kept = []
    for limit, together in ((9000, 0), (12000, 100), (15000, 0)):
        words = [sys.executable, "-c", _FULL_DISK, str(tmp_path), str(limit), str(together)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "refused" in done.stderr, done.stderr
        kept.append(_kept(tmp_path))
    assert 0 < kept[-1] < 12
    store.keep_run(_job(tmp_path), lambda _: None)
    _same(whole, tmp_path)


_READ_ONLY = """
import os, sys
from pathlib import Path
from tests.test_simulate import TINY
from vitrify import store
from vitrify.simulate import records
frame = next(records(TINY, seed=5, run=0))  # compiles what is not compiled yet, while it may
if os.geteuid() == 0:
    os.setuid(65534)
try:
    store.keep_run(store.Job(root=Path(sys.argv[1]), settings=TINY, seed=5, run=0), lambda _: None)
except PermissionError as error:
    sys.exit(f"refused: {error.filename}: {error.strerror}")
"""


def test_a_read_only_folder_is_an_error_and_the_run_goes_on_once_it_is_writable(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.keep_run(_job(tmp_path), _stop_after(3))
    folder = _folder(tmp_path).path
    before = {path: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
    parents = [parent for parent in tmp_path.parents if parent.stat().st_mode & 0o005 != 0o005]
    modes = {path: path.stat().st_mode for path in [folder, *parents]}
    try:
        for path in parents:
            path.chmod(0o755)
        folder.chmod(0o555)
        words = [sys.executable, "-c", _READ_ONLY, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert "refused" in done.stderr, done.stderr
    assert "Permission denied" in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    store.keep_run(_job(tmp_path), lambda _: None)
    _same(whole, tmp_path)


_LONG = Simulate(n_particles=64, n_runs=1, n_equilibrate=200, cool=Cool(n_steps=160_000, n_frames=4000))

_ACKNOWLEDGING = """
import sys
from pathlib import Path
from tests.test_store import _LONG
from vitrify import store
store._COMMIT_S = 0.05
store.keep_run(
    store.Job(root=Path(sys.argv[1]), settings=_LONG, seed=5, run=0), lambda n: print(int(n), flush=True) if n else None
)
"""


@pytest.mark.slow
def test_killed_at_twenty_random_moments_no_acknowledged_record_is_lost(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    acknowledged = 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", _ACKNOWLEDGING, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged += int(process.stdout.readline())
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        acknowledged += sum(int(word) for word in process.communicate()[0].split())
        kept = store.unfinished(tmp_path, _LONG, seed=5)[0]
        assert acknowledged <= kept
        acknowledged = kept  # what was on the disk but not yet said
    assert 20 < kept < 4000
    folder = store.RunFolder(tmp_path, _LONG, seed=5, run=0)
    thermal, inherent = (folder.positions(name, range(1, kept + 1)) for name in ("thermal", "inherent"))
    for frame, one, two in zip(records(_LONG, seed=5, run=0), thermal, inherent, strict=False):
        for state, positions in ((frame.state, one), (frame.minimum.state, two)):
            exact = state.positions.view(np.uint32) * (state.edge / 2.0**32)
            error = (positions - exact + state.edge / 2) % state.edge - state.edge / 2
            assert np.abs(error).max() < 1e-6
        if frame.k == kept:
            _, state = folder.last() or pytest.fail("no restart file")
            assert state.velocities.tobytes() == frame.state.velocities.tobytes()
            break


def test_an_unfinished_ensemble_is_not_loaded(whole: Path) -> None:
    with pytest.raises(ValueError, match="3 of 4 runs are not finished, run 1 first"):
        store.load(whole, TINY, seed=5, k=[1])


def test_two_processes_do_not_work_on_one_folder(tmp_path: Path) -> None:
    other = store.locked(tmp_path, patience_s=0.2)
    with store.locked(tmp_path), pytest.raises(TimeoutError, match="in use by another process"), other:
        pass


def test_json_is_replaced_whole_and_never_holds_nan(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(path, {"a": float("nan")})
    assert store.read_json(path) == {"a": 1}
    assert store.read_json(tmp_path / "absent.json") is None
    path.write_text("{")
    with pytest.raises(store.DamagedFileError, match=r"results\.json is damaged"):
        store.read_json(path)


def test_checkpoints_round_trip_and_damage_is_named(tmp_path: Path) -> None:
    import torch

    checkpoints = store.Checkpoints(tmp_path / "model")
    assert checkpoints.load("last") is None
    checkpoints.save("last", {"step": 3, "weights": torch.arange(4.0)})
    assert checkpoints.load("last")["weights"].tolist() == [0, 1, 2, 3]  # type: ignore[index]
    (tmp_path / "model" / "last.pt").write_bytes(b"PK junk")
    with pytest.raises(store.DamagedFileError, match=r"last\.pt is damaged"):
        checkpoints.load("last")
    shutil.rmtree(tmp_path / "model")


_BEGIN_MANY = """
import sys, time
from pathlib import Path
from vitrify import store
time.sleep(max(0, float(sys.argv[1]) - time.time()))
for n in range(200):
    store.begin(Path(sys.argv[2]) / str(n))
"""


def test_several_at_once_begin_one_data_space(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _BEGIN_MANY, str(time.time() + 4), str(tmp_path)]
    several = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [one.communicate()[1] for one in several] == [""] * 4
    assert all(
        sorted(path.name for path in space.iterdir()) == [".signac", "workspace"] for space in tmp_path.iterdir()
    )
