import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests fill the cores as processes; read when PyTorch is loaded

import numpy as np
import pytest

from vitrify import cli, dynamics
from vitrify.potentials import MIXTURES
from vitrify.system import Configuration, stream

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background, which children inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIZES = {"ka2d": 100, "ka3d": 400}


@pytest.fixture(scope="session")
def state() -> dict[str, dynamics.State]:
    """A small liquid of every mixture, equilibrated at T = 1."""
    liquids = {}
    for name, n in SIZES.items():
        rng = stream(3, "test", name)
        start = dynamics.start(MIXTURES[name], n_particles=n, T=2.0, rng=rng)
        ramp = {"dt": 0.005, "tau": 0.2, "rng": rng}
        warm = dynamics.advance(start, n_steps=2000, T_from=2.0, T_to=1.0, **ramp)
        liquids[name] = dynamics.advance(warm, n_steps=2000, T_from=1.0, T_to=1.0, **ramp)
    return liquids


@pytest.fixture(scope="session")
def liquid(state: dict[str, dynamics.State]) -> dict[str, Configuration]:
    """The same liquids as configurations."""
    return {name: dynamics.configuration(value) for name, value in state.items()}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20171126)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess]:
    """The command line in this process, called from a folder of its own: no start of Python, no imports to wait for."""
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> subprocess.CompletedProcess:
        capsys.readouterr()
        ended = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as left:
                cli.main(words)
        finally:
            signal.signal(signal.SIGTERM, ended)
        return subprocess.CompletedProcess(words, left.value.code, *capsys.readouterr())

    return called
