"""The ``vitrify`` command: words in, one library call, words out.

Progress and messages go to stderr, the answer to stdout. A failed command says what to do and exits with 1;
Ctrl-C exits with 130, and the same command continues.

A family of commands is a module here that ends with its table; the list of families is at the end of this file.
"""

__all__ = ["FAMILIES", "main"]

import shutil
import signal
import sys
import textwrap
from collections.abc import Sequence

from rich.console import Console

import vitrify
from vitrify import parallel
from vitrify.cli import analyses, attribute, campaigns, locate, log, networks, studies, trajectories
from vitrify.cli.words import Command

_HEAD = "vitrify: glass or liquid, where is the transition, and is the network only computing the energy?"
_TAIL = """A study that is shipped is called by its name alone: vitrify run quickstart.
Every command takes --help, --json (its result as one JSON object on stdout), --workers N and --debug
(show the traceback of an error). A command that was interrupted continues where it stopped.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {name: command.run for family in FAMILIES for name, command in family.items()}
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        print(f"vitrify {vitrify.__version__}")
        sys.exit(0)
    if words[0] not in commands:
        _fail(f"there is no command {words[0]!r}; choose one of {', '.join(commands)}: see vitrify --help")
    signal.signal(signal.SIGTERM, _interrupt)  # what a queue sends before its limit
    if "--debug" in words:
        with parallel.insistent():
            commands[words[0]]([word for word in words[1:] if word != "--debug"])
        sys.exit(0)
    try:
        with parallel.insistent():
            commands[words[0]](words[1:])
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; what was finished is kept: run the same command to continue")
        sys.exit(130)
    except BrokenPipeError:  # the reader of stdout had enough
        sys.stdout = None
        sys.exit(0)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        _fail("PyTorch is not installed: choose a build for your machine and install it, for example pip install torch")
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError) as error:
        _fail(_message(error))
    sys.exit(0)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _help() -> str:
    """Return the list of commands, a paragraph a family."""
    usages = {name: f"  vitrify {name} {command.usage}" for family in FAMILIES for name, command in family.items()}
    indent = min(max(len(usage) for usage in usages.values()), 41) + 2
    width = min(max(shutil.get_terminal_size().columns, 80), 120)
    paragraphs = [_HEAD]
    for family in FAMILIES:
        lines = []
        for name, command in family.items():
            said = textwrap.wrap(command.says, width - indent)
            if len(usages[name]) < indent:
                said[0] = f"{usages[name]:<{indent}}{said[0]}"
            else:
                lines.append(usages[name])
                said[0] = " " * indent + said[0]
            lines += [said[0], *(" " * indent + more for more in said[1:])]
        paragraphs.append("\n".join(lines))
    return "\n\n".join([*paragraphs, _TAIL])


def _message(error: Exception) -> str:
    """Return an error in words; a settings error lists every field."""
    if hasattr(error, "errors") and hasattr(error, "error_count"):  # pydantic's
        lines = []
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"])
            lines.append(
                f"{place}: {item['msg']}" + ("" if isinstance(item["input"], dict) else f"; got {item['input']!r}")
            )
        return "the study's settings are not right:\n  " + "\n  ".join(lines)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(message: str) -> None:
    print(f"vitrify: {message}", file=sys.stderr)
    sys.exit(1)


FAMILIES: tuple[dict[str, Command], ...] = (
    studies.COMMANDS,
    trajectories.COMMANDS,
    networks.COMMANDS,
    analyses.COMMANDS | locate.COMMANDS | attribute.COMMANDS,
    log.COMMANDS,
    campaigns.COMMANDS,
)
"""The commands, in the order of the list that ``vitrify --help`` prints."""
