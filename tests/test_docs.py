"""What the pages show is there: every name, argument, command and option of an example; and some pages are done."""

import ast
import importlib
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vitrify.cli import FAMILIES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {name for family in FAMILIES for name in family}


def _blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)


def _unknown(trees: list[ast.Module]) -> Iterator[str]:
    """Yield what the code of a page asks of its imports that they do not have."""
    names: dict[str, Any] = {}

    def found(node: ast.expr) -> Any:
        """Return the object that a name or its attribute is of, or None where only running would tell."""
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = found(node.value)
            return getattr(owner, node.attr, None) if inspect.ismodule(owner) or inspect.isclass(owner) else None
        return None

    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {one.asname or one.name.partition(".")[0]: importlib.import_module(one.name) for one in node.names}
            names |= {
                one.name.partition(".")[0]: importlib.import_module(one.name.partition(".")[0]) for one in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            for one in node.names:
                try:
                    names[one.asname or one.name] = getattr(module, one.name)
                except AttributeError:
                    names[one.asname or one.name] = importlib.import_module(f"{node.module}.{one.name}")
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and inspect.ismodule(found(node.value)) and found(node) is None:
            yield f"{ast.unparse(node)} is not there"
        if isinstance(node, ast.Call) and (called := found(node.func)) is not None:
            try:
                parameters = inspect.signature(called).parameters
            except ValueError:  # of something in C
                continue
            if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
                given = {one.arg for one in node.keywords if one.arg}
                yield from (f"{ast.unparse(node.func)} takes no {one}" for one in sorted(given - set(parameters)))


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "python")], ids=lambda page: page.stem)
def test_names_and_arguments_of_a_page_are_those_of_the_code(page: Path) -> None:
    assert list(_unknown([ast.parse(block) for block in _blocks(page, "python")])) == []


def test_a_wrong_name_and_a_wrong_argument_are_found() -> None:
    wrong = ast.parse("from vitrify import study\nstudy.away()\nstudy.run(x, y, workers=2)")
    assert sorted(_unknown([wrong])) == ["study.away is not there", "study.run takes no workers"]


def _calls(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every call of the command on a page, as the command and its options."""
    for block in _blocks(page, "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["vitrify"] and len(words) > 1:
                yield words[1], [word.partition("=")[0] for word in words[2:] if re.match("--[a-z]", word)]


@pytest.mark.parametrize("page", [page for page in PAGES if list(_calls(page))], ids=lambda page: page.stem)
def test_commands_and_options_of_a_page_are_those_of_the_command_line(
    page: Path, call: Callable[..., subprocess.CompletedProcess]
) -> None:
    for command, options in _calls(page):
        if command.startswith("-"):
            continue
        assert command in COMMANDS
        asked = {option for option in options if "." not in option}  # the others are settings of a study
        said = call(command, "--help").stdout if asked else ""
        assert [option for option in sorted(asked) if not re.search(rf"{option}(?![\w-])", said)] == []


def _done(blocks: list[str], folder: Path) -> str:
    """Return what the code of a page prints, done from its beginning in one process, beside this checkout's tests."""
    (folder / "tests").symlink_to(ROOT / "tests")
    script = folder / "page.py"
    script.write_text("\n".join(blocks), "utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_examples_of_the_readme_and_of_extending_run(tmp_path: Path) -> None:
    """The second reads the runs that the first makes."""
    (tmp_path / "first").mkdir()
    (first,) = _blocks(ROOT / "README.md", "python")
    said = _done([first], tmp_path / "first")
    assert "minimisations converged" in said
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "tiny").symlink_to(tmp_path / "first" / "tiny")
    said = _done(_blocks(ROOT / "docs" / "extend.md", "python"), tmp_path / "second")
    assert "Estimate" in said or "Tg" in said


@pytest.mark.parametrize("name", ["cluster", "gpu", "transition"])
def test_the_examples_of_a_page_run(name: str, tmp_path: Path) -> None:
    _done(_blocks(ROOT / "docs" / f"{name}.md", "python"), tmp_path)
