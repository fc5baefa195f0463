"""What every command is made of: its words read by tyro, its progress shown, its answer printed."""

__all__ = ["Command", "Common", "Progressing", "Simulating", "Task", "answer", "parse", "study_words", "workers"]

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from vitrify.settings import Study


class Command(NamedTuple):
    """One command.

    Args:
        run: Called with the words behind the command's name.
        usage: Those words in the list of commands.
        says: What the command does, in the list of commands.
    """

    run: Callable[[list[str]], None]
    usage: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command takes."""

    json: bool = False
    """Print the result as one JSON object."""
    workers: int | None = None
    """Processes; all cores by default."""


@dataclass(frozen=True, kw_only=True)
class Simulating(Common):
    """What every command takes that simulates."""

    device: Literal["cpu", "cuda"] | None = None
    """Where to simulate; by default what the study says."""

    def on_device(self, study: "Study") -> "Study":
        """Return a study on the device asked for; its settings are checked again."""
        settings = study.model_dump()
        if self.device is not None:
            settings["simulate"]["device"] = self.device
        return type(study).model_validate(settings)


@dataclass(frozen=True, kw_only=True)
class Task(Simulating):
    """What every command takes that looks at one pair of records."""

    input: Literal["thermal", "inherent"] = "inherent"
    """Configurations shown."""
    k: int = 140
    """Record set against classify.k_glass, mostly a liquid; 0 is the pair of equal energy of a study that has one."""


def study_words(
    words: list[str], command: str, description: str, form: Any = Simulating, **defaults: Any
) -> tuple["Study", Any]:
    """Return the study named by the first word with the settings overridden by the others.

    Fields of the form that have no default of their own take theirs from ``defaults``.
    """
    from vitrify.settings import Study, named

    name = words[0] if words and not words[0].startswith("-") else None
    if name is None and not {"-h", "--help"} & set(words):
        raise ValueError(
            f"vitrify {command} needs a study file: vitrify {command} STUDY.toml; see vitrify {command} --help"
        )
    default = named(name) if name is not None else Study()

    @dataclass(frozen=True, kw_only=True)
    class Run(form):  # type: ignore[misc]
        settings: Annotated[Study, tyro.conf.arg(name="")]
        out: Path
        """Folder of the results; the study's name by default."""

    empty = Run(settings=default, out=Path(default.name), **defaults)
    given = parse(Run, words[1:] if name is not None else words, f"{command} STUDY.toml", description, default=empty)
    # the settings that were overridden meet the study's own checks again
    return given.on_device(given.settings), given


def parse(form: Any, words: list[str], command: str, description: str, default: Any = None) -> Any:
    """Return the form filled with the words; a word it has no place for ends the command with the ones it has."""
    options = {} if default is None else {"default": default}
    config = (tyro.conf.AvoidSubcommands,)
    return tyro.cli(form, args=words, prog=f"vitrify {command}", description=description, config=config, **options)


def workers(given: Any) -> int:
    """Return the number of processes asked for."""
    from vitrify import parallel

    if given.workers is not None and given.workers < 1:
        raise ValueError(f"--workers must be at least 1; got {given.workers}")
    return int(given.workers or parallel.n_cores())


def answer(given: Any, found: dict[str, Any], words: str) -> None:
    """Print what a command found, as JSON if asked, else in words."""
    print(json.dumps(found, indent=1, allow_nan=False) if given.json else words)


class Progressing:
    """Show each stage's bar with its rate and the time left: live on a terminal, a line now and then in a log."""

    def __enter__(self) -> Callable[[str, float, float], None]:
        """Return what is told a stage, what is done of it, and its total: 0 where that is not known."""
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._stages: dict[str, Any] = {}
        self._began: dict[str, tuple[float, float]] = {}
        self._done: dict[str, float] = {}
        self._said = 0.0
        self._bars.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _show(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total or None, rate="", completed=int(done))
            self._began[stage], self._done[stage] = (now, done), done
        if done < self._done[stage]:  # another of its kind, such as a second ensemble
            self._bars.reset(self._stages[stage])
            self._began[stage] = (now, done)
        self._done[stage] = done
        began, already = self._began[stage]
        rate = (done - already) / max(now - began, 1e-9)
        words = f"{rate:.1f}/s" if done > already else ""
        self._bars.update(self._stages[stage], completed=done, total=total or None, rate=words)
        ends = total > 1 and done >= total
        if not self._console.is_terminal and total != 1 and (now - self._said > 15 or ends):
            self._said = now
            left = f", {(total - done) / rate:.0f} s left" if done > already and done < total else ""
            of = f" of {total:.0f}" if total else ""
            self._console.print(f"{stage}: {done:.0f}{of} {words}{left}", highlight=False)
