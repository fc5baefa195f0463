"""The commands that take a user's own trajectories: import, diagnose, predict."""

__all__ = ["COMMANDS"]

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from vitrify.cli.words import Command, Common, Progressing, answer, parse, workers

if TYPE_CHECKING:
    from vitrify.imported import Survey, Units
    from vitrify.material import PairStyle
    from vitrify.snapshots import Told


def _import(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Import(Common):
        out: Annotated[Path, tyro.conf.Positional]
        """New folder of the data space and its study."""
        files: Annotated[tuple[str, ...], tyro.conf.Positional]
        """Trajectories, one run and, mostly, one temperature each; globs may be quoted."""
        mixture: str | None = None
        """Whose potential gives energies and inherent structures: ka2d or ka3d. Without, the files say what it is."""
        pair_style: str | None = None
        """Potential of another material in LAMMPS's words, such as "lj/cut 2.5"."""
        pair_coeff: tuple[str, ...] = ()
        """Its coefficients in LAMMPS's words, a quoted line each, such as "* * 1 1"."""
        pattern: str | None = None
        """Regular expression in the paths; its groups (?P<run>...), T, class and rate are labels."""
        run: str | None = None
        """Label of all files: the run."""
        T: str | None = None
        """Label of all files: the temperature. By default the pattern's, or what the file says."""
        glass_or_liquid: Annotated[Literal["glass", "liquid"] | None, tyro.conf.arg(name="class")] = None
        """Label of all files. Without classes the coldest records are the glass."""
        rate: str | None = None
        """Label of all files: the cooling rate."""
        every: int = 0
        """Take each frame whose number is a multiple; 0 takes the last frame of each file."""
        scale: bool = False
        """Records have boxes of their own, as at a held pressure: positions are scaled to the mean box."""
        species: tuple[str, ...] = ()
        """Names of A, B, ... in the files; by default in the order of the names."""
        cell: tuple[float, ...] = ()
        """Box edges, for files that have none."""
        dimension: Literal[2, 3] | None = None
        """By default 2 where all z are equal."""
        units: Literal["lj", "real", "metal"] = "lj"
        """Unit style of the files; T is in kelvin but for lj."""
        sigma: float = 1.0
        """sigma_AA in the files' unit of length."""
        epsilon: float = 1.0
        """epsilon_AA in the files' unit of energy."""
        yes: bool = False
        """Go on without being asked."""

    given = parse(Import, words, "import", "Make a data space and a study of your own trajectories.")
    from vitrify import imported
    from vitrify.potentials import MIXTURES, Mixture
    from vitrify.snapshots import Told

    mixture = None if given.mixture is None else MIXTURES.get(given.mixture)
    if given.mixture is not None and not isinstance(mixture, Mixture):
        known = ", ".join(name for name, one in MIXTURES.items() if isinstance(one, Mixture))
        raise ValueError(f"--mixture must be one of {known}; got {given.mixture!r}")
    if given.every < 0:
        raise ValueError(f"--every must be 0 or more; got {given.every}")
    labels = {"run": given.run, "T": given.T, "class": given.glass_or_liquid, "rate": given.rate}
    sources = imported.understood(
        given.files, pattern=given.pattern, given={name: word for name, word in labels.items() if word is not None}
    )
    told = Told(species=given.species, cell=given.cell, dimension=given.dimension)
    units = imported.Units(style=given.units, sigma=given.sigma, epsilon=given.epsilon)
    potential = _pair_style(given)
    of = mixture if isinstance(mixture, Mixture) else imported.material(sources, told, units, potential)
    choice = imported.Choice(told=told, mixture=of, units=units, every=given.every, scaled=given.scale)
    _show(imported.survey(sources, choice))
    if not given.yes:
        _ask()
    with Progressing() as progress:
        found = imported.keep(sources, choice, given.out, n_workers=workers(given), progress=progress)
    lines = [
        f"{found['n_runs']} runs of {found['n_records']} records in {given.out}",
        f"next: vitrify run {found['study']} --out {given.out}",
    ]
    answer(given, found, "\n".join(lines))


def _pair_style(given: Any) -> "PairStyle | None":
    """Return the potential that is stated in LAMMPS's words, if one is."""
    from vitrify import lammps
    from vitrify.material import PairStyle

    if given.pair_style is None and not given.pair_coeff:
        return None
    if given.mixture is not None:
        raise ValueError(f"--pair-style is of a material of your own, and --mixture {given.mixture} has its potential")
    if given.pair_style is None or not given.pair_coeff:
        raise ValueError('--pair-style "lj/cut 2.5" and --pair-coeff "* * 1 1", to take an example, go together')
    if not lammps.available():
        raise ValueError("--pair-style needs LAMMPS: pip install 'vitrify[lammps]', or put its command lmp on the PATH")
    return PairStyle(
        style=given.pair_style,
        coefficients=given.pair_coeff,
        units=given.units,
        sigma=given.sigma,
        epsilon=given.epsilon,
    )


def _show(surveys: "list[Survey]") -> None:
    """Print what was understood of every file, on stderr."""
    table = Table(title=f"understood of {len(surveys)} files, from the first frame of each, in reduced units")
    for heading in ("file", "run", "T", "class", "rate", "N", "species", "d", "density"):
        table.add_column(heading, overflow="fold")
    for one in surveys:
        source = one.source
        counts = ", ".join(f"{name}: {n}" for name, n in one.composition.items())
        T = f"{one.T:g}" + (" (file)" if source.T is None else "")
        words = [source.path.as_posix(), source.run, T, source.label or "by T", source.rate or ""]
        table.add_row(*words, str(one.n_particles), counts, str(one.dimension), f"{one.density:.4f}")
    console = Console(stderr=True)
    wide = console if console.is_terminal else Console(stderr=True, width=160)
    wide.print(table, highlight=False, markup=False)


def _ask() -> None:
    """Go on only if the user says so."""
    if not sys.stdin.isatty():
        raise ValueError("nothing was imported: look at the table and, if it is right, add --yes")
    Console(stderr=True).print("go on? [y/N] ", end="", markup=False)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ValueError("nothing was imported")


@dataclass(frozen=True, kw_only=True)
class File(Common):
    """What the commands take that look at one file."""

    file: Annotated[Path, tyro.conf.Positional]
    """Trajectory."""
    species: tuple[str, ...] = ()
    """Names of A and B in the file; by default in the order of the names."""
    cell: tuple[float, ...] = ()
    """Box edges, for files that have none."""
    dimension: Literal[2, 3] | None = None
    """By default 2 where all z are equal."""
    units: Literal["lj", "real", "metal"] = "lj"
    """Unit style of the file."""
    sigma: float = 1.0
    """sigma_AA in the file's unit of length."""
    epsilon: float = 1.0
    """epsilon_AA in the file's unit of energy."""

    def meant(self) -> "tuple[Told, Units]":
        """Return what is said of the file."""
        from vitrify.imported import Units
        from vitrify.snapshots import Told

        told = Told(species=self.species, cell=self.cell, dimension=self.dimension)
        return told, Units(style=self.units, sigma=self.sigma, epsilon=self.epsilon)


def _diagnose(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Diagnose(File):
        mixture: str | None = None
        """Potential it was made with, ka2d or ka3d, if it is known."""
        model: str | None = None
        """Packed model it may be shown to: a folder, or the name of a shipped one. Its mixture is the potential."""

    given = parse(Diagnose, words, "diagnose", "Look over a trajectory before a model is asked about it.")
    from vitrify import diagnose
    from vitrify.packed import load
    from vitrify.potentials import MIXTURES, Mixture

    model = None if given.model is None else load(given.model)
    name = given.mixture or (None if model is None or model.card["mixture"] == "own" else model.card["mixture"])
    mixture = MIXTURES.get(name) if name else None
    if name is not None and not isinstance(mixture, Mixture):
        known = ", ".join(key for key, one in MIXTURES.items() if isinstance(one, Mixture))
        raise ValueError(f"--mixture must be one of {known}; got {name!r}")
    told, units = given.meant()
    with Progressing() as progress:
        found = diagnose.diagnose(
            given.file, told, units, mixture=mixture if isinstance(mixture, Mixture) else None, model=model,
            progress=progress,
        )  # fmt: skip
    answer(given, found, _diagnosis(found))


def _diagnosis(found: dict[str, Any]) -> str:
    """Return a diagnosis in words."""

    def number(value: float | None, unknown: str) -> str:
        return unknown if value is None else f"{value:.4g}"

    peaks = ", ".join(f"{pair} {r:.2f}" for pair, r in (found["first_peaks"] or {}).items())
    rows = [
        ("frames", f"{found['n_frames']}"),
        ("particles", f"{found['n_particles']} in {found['dimension']} dimensions"),
        ("species", ", ".join(f"{name}: {n}" for name, n in found["species"].items())),
        ("box", " x ".join(f"{edge:.5g}" for edge in found["box"]) + f", density {found['density']:.4f}"),
        ("units", found["units"]),
        ("T kinetic", number(found["T_kinetic"], "unknown: no velocities, or no masses")),
        ("T configurational", number(found["T_configurational"], "unknown: name the potential with --mixture")),
        ("energy", number(found["e_pot_unshifted"], "unknown") + " per particle, unshifted"),
        ("inherent structures", number(found["e_is_unshifted"], "unknown") + " per particle, unshifted"),
        ("crystalline", number(found["crystalline_fraction"], "unknown") + " of the particles"),
        ("first peaks of g(r)", peaks or "unknown"),
    ]
    if found["model"] is not None:
        far = number(found["domain_distance"], "unknown")
        rows.append((f"distance from {found['model']}", f"{far} (1: farther than 99 of 100 held-out configurations)"))
        rows.append(("structure like at", f"T = {number(found['T_structure'], 'unknown')} of its cooling"))
    lines = [f"{heading:<28}{says}" for heading, says in rows]
    return "\n".join([*lines, *([f"- {warning}" for warning in found["warnings"]] or ["- no problem was found"])])


def _predict(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Predict(File):
        model: str
        """Packed model: a folder, or the name of a shipped one."""
        out: Path | None = None
        """File that is written, in the format of its suffix; by default FILE.scored.SUFFIX in this folder."""
        every: int = 1
        """Score each frame whose number is a multiple."""
        map: bool = True
        """Also say what each particle adds to the logit, in the column to_glass."""

    given = parse(Predict, words, "predict", "Ask a packed model about every frame of a trajectory.")
    from vitrify import packed, predict, trajectories

    told, units = given.meant()
    out = given.out if given.out is not None else trajectories.beside(given.file, "scored")
    with Progressing() as progress:
        found = predict.predict(
            given.file,
            packed.load(given.model),
            told,
            units,
            out=out,
            every=given.every,
            attribute=given.map,
            progress=progress,
        )
    answer(given, found, _scored(found))


def _scored(found: dict[str, Any]) -> str:
    """Return the scores of frames in words; of many frames the first and the last."""
    lines = [f"{found['model']} on the {found['input']} configurations of {found['file']}"]
    lines.append(
        f"{'frame':>8} {'step':>10} {'P(glass)':>9}  {'95% over seeds':<15} {'distance':>8}  structure like at T ="
    )
    rows = found["frames"]
    for place, row in enumerate(rows):
        if len(rows) > 40 and 20 <= place < len(rows) - 20:
            if place == 20:
                lines.append(f"{'...':>8}")
            continue
        between = "one network" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
        step = "" if row["step"] is None else row["step"]
        outside = "" if row["in_domain"] else "  outside the domain"
        lines.append(
            f"{row['frame']:>8} {step:>10} {row['p_glass']:>9.3f}  {between:<15} {row['domain_distance']:>8.2f}  "
            f"{row['T_structure']:.3f}{outside}"
        )
    lines += [f"- {warning}" for warning in found["warnings"]]
    return "\n".join([*lines, f"written: {found['written']}"])


COMMANDS = {
    "import": Command(
        _import,
        "OUT FILES... [--mixture ka2d]",
        "a data space and a study of your own trajectories, by labels or paths",
    ),
    "diagnose": Command(
        _diagnose, "FILE [--model ka2d-inherent]", "what a trajectory is, and what may be wrong with it"
    ),
    "predict": Command(
        _predict, "FILE --model ka2d-inherent", "score every frame of a trajectory, map its particles, write both back"
    ),
}
"""By name."""
