"""The commands that take a user's own trajectories."""

__all__ = ["COMMANDS"]

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from vitrify.cli.words import Command, Common, Progressing, answer, parse, workers

if TYPE_CHECKING:
    from vitrify.imported import Survey


def _import(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Import(Common):
        out: Annotated[Path, tyro.conf.Positional]
        """New folder of the data space and its study."""
        files: Annotated[tuple[str, ...], tyro.conf.Positional]
        """Trajectories, one run and, mostly, one temperature each; globs may be quoted."""
        mixture: str
        """Whose potential gives energies and inherent structures: ka2d or ka3d."""
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
        species: tuple[str, ...] = ()
        """Names of A and B in the files; by default in the order of the names."""
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

    mixture = MIXTURES.get(given.mixture)
    if not isinstance(mixture, Mixture):
        known = ", ".join(name for name, one in MIXTURES.items() if isinstance(one, Mixture))
        raise ValueError(f"--mixture must be one of {known}; got {given.mixture!r}")
    if given.every < 0:
        raise ValueError(f"--every must be 0 or more; got {given.every}")
    labels = {"run": given.run, "T": given.T, "class": given.glass_or_liquid, "rate": given.rate}
    sources = imported.understood(
        given.files, pattern=given.pattern, given={name: word for name, word in labels.items() if word is not None}
    )
    choice = imported.Choice(
        told=Told(species=given.species, cell=given.cell, dimension=given.dimension),
        mixture=mixture,
        units=imported.Units(style=given.units, sigma=given.sigma, epsilon=given.epsilon),
        every=given.every,
    )
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


COMMANDS = {
    "import": Command(
        _import, "OUT FILES... --mixture ka2d", "a data space and a study of your own trajectories, by labels or paths"
    ),
}
"""By name."""
