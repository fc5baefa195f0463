"""The command ``vitrify tg``: the glass transition of a curve in a text file, or of a study, by every method."""

__all__ = ["COMMANDS", "read_curve"]

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vitrify.cli.words import Command, Common, Progressing, Simulating, answer, parse, study_words, workers

_FEWEST = 4  # two points of each line
_DESCRIPTION = "Locate the glass transition of a cooling curve (a text file) or of a study by every method."


def read_curve(path: Path) -> tuple[list[float], list[float]]:
    """Return temperatures and energies of a text file of two columns; what follows a # is left out.

    Args:
        path: The file; the order of its lines does not matter.

    Raises:
        ValueError: A line is not two finite numbers, a temperature is not above 0, or there are fewer than four lines.
        OSError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a text file of two columns, temperature and energy: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) != 2:
            raise ValueError(
                f"{where} must hold two columns, temperature and energy; it has {len(words)}: {line.strip()!r}"
            )
        try:
            T, energy = (float(word) for word in words)
        except ValueError:
            raise ValueError(f"{where} must hold two numbers, temperature and energy; got {line.strip()!r}") from None
        if not (math.isfinite(T) and math.isfinite(energy)) or T <= 0:
            raise ValueError(f"{where} must hold finite numbers, the temperature above 0; got {line.strip()!r}")
        rows.append((T, energy))
    if len({T for T, _ in rows}) < _FEWEST:
        raise ValueError(
            f"{path} must hold at least {_FEWEST} different temperatures; it has {len({T for T, _ in rows})}"
        )
    return [T for T, _ in rows], [energy for _, energy in rows]


def _tg(words: list[str]) -> None:
    end = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    named, options = words[:end], words[end:]
    if not named and not {"-h", "--help"} & set(options):
        raise ValueError("vitrify tg needs a curve or a study: vitrify tg CURVE.dat or vitrify tg STUDY.toml")
    curves = [name for name in named if Path(name).is_file() and Path(name).suffix != ".toml"]
    if not named or len(curves) == len(named):
        _of_curves([Path(name) for name in curves], options)
    elif curves:
        raise ValueError(f"vitrify tg takes curves or studies, not both; {', '.join(curves)} are curves")
    elif len(named) == 1:
        _of_study(words)
    else:
        _of_studies(named, options)


def _of_curves(paths: Sequence[Path], options: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Curves(Common):
        cooling_steps: tuple[float, ...] = ()
        """Length of each curve's cooling, in order: the line of Tg against its logarithm is added."""
        sizes: tuple[int, ...] = ()
        """Particles of each curve's system, in order: the check of their agreement is added."""
        out: Path | None = None
        """Folder the figures are saved in."""

    given = parse(Curves, options, "tg CURVE ...", _DESCRIPTION)
    import numpy as np

    from vitrify import locate

    for name, each in (("--cooling-steps", given.cooling_steps), ("--sizes", given.sizes)):
        if each and len(each) != len(paths):
            raise ValueError(f"{name} must name one number for each of the {len(paths)} curves; got {len(each)}")
    found = []
    for path in paths:
        T, energy = (np.array(column) for column in read_curve(path))
        found.append({"curve": str(path)} | locate.as_values(locate.of_curve(T, energy), T, energy, None))
    _show(found, given, cooling_steps=given.cooling_steps, sizes=given.sizes)


def _of_study(words: list[str]) -> None:
    chosen, given = study_words(words, "tg", _DESCRIPTION, Simulating)
    from vitrify import analyses

    with Progressing() as progress:
        values = analyses.run(["tg"], chosen, given.out, n_workers=workers(given), progress=progress)["tg"]
    sentences = analyses.ANALYSES["tg"].section(values).sentences
    lines = [_table(chosen.name, values["rows"]), *(f"- {one}" for one in sentences)]
    answer(given, values, "\n".join([*lines, f"report: {given.out / 'report.html'}"]))


def _of_studies(named: Sequence[str], options: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Studies(Common):
        out: Path | None = None
        """Folder the figures are saved in; the studies stay in the folders of their names below it."""

    given = parse(Studies, options, "tg STUDY ...", _DESCRIPTION)
    from vitrify import analyses
    from vitrify.settings import named as study_named

    found = []
    for name in named:
        chosen = study_named(name)
        with Progressing() as progress:
            folder = (given.out or Path()) / chosen.name
            values = analyses.run(["tg"], chosen, folder, n_workers=workers(given), progress=progress)["tg"]
        if not values["rows"]:
            raise ValueError(f"{name} is not a cooling, which vitrify tg needs to compare studies")
        found.append({"curve": name} | values)
    sizes, steps = ([each[key] for each in found] for key in ("n_particles", "cooling_steps"))
    one_size, one_rate = len(set(sizes)) == 1, len(set(steps)) == 1
    _show(
        found,
        given,
        cooling_steps=steps if one_size and not one_rate else (),
        sizes=sizes if one_rate and not one_size else (),
    )


def _show(found: Sequence[dict[str, Any]], given: Any, *, cooling_steps: Sequence[float], sizes: Sequence[int]) -> None:
    """Print a table for each curve, and below them what several curves say together; save the figures."""
    rates = _rates(found, cooling_steps) if cooling_steps else []
    agree = _sizes(found, sizes) if sizes else []
    lines = [_table(each["curve"], each["rows"]) for each in found]
    lines += [f"- {one['name']}: {one['sentence']}" for one in (*rates, *agree)]
    if given.out is not None:
        lines.append(f"figures: {_save(found, given.out, cooling_steps, rates)}")
    answer(given, {"curves": list(found), "rate": rates, "size": agree}, "\n".join(lines))


def _save(
    found: Sequence[dict[str, Any]], out: Path, cooling_steps: Sequence[float], rates: Sequence[dict[str, Any]]
) -> Path:
    from vitrify import report
    from vitrify.transition_figures import rate_figure, tg_figure

    out.mkdir(parents=True, exist_ok=True)
    for place, each in enumerate(found, 1):
        name = "tg" if len(found) == 1 else f"tg_{place}"
        report.save(tg_figure(each), out, name, {"T": each["T"], "energy": each["mean"]})
    if rates:
        columns = {one["name"]: one["Tg"] for one in rates}
        report.save(rate_figure(cooling_steps, rates), out, "tg_rate", {"cooling_steps": cooling_steps} | columns)
    return out


def _rates(found: Sequence[dict[str, Any]], steps: Sequence[float]) -> list[dict[str, Any]]:
    import numpy as np

    from vitrify.locate import rate_line

    return [one | asdict(rate_line(np.array(steps, float), np.array(one["Tg"]))) for one in _together(found)]


def _sizes(found: Sequence[dict[str, Any]], sizes: Sequence[int]) -> list[dict[str, Any]]:
    import numpy as np

    from vitrify.locate import size_check

    checks = []
    for one in _together(found):
        Tg, low, high = (
            np.array([np.nan if x is None else x for x in one[key]]) for key in ("Tg", "Tg_low", "Tg_high")
        )
        if np.isfinite(low + high).all() and (high > low).all():
            checks.append(one | asdict(size_check(np.array(sizes, float), Tg, low, high)))
    return checks


def _together(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the Tg of every method that supports a transition in each of the curves."""
    from vitrify.locate import label

    by_name: list[Mapping[str, Any]] = [{label(row): row for row in each["rows"] if row["found"]} for each in found]
    names = [name for name in by_name[0] if all(name in rows for rows in by_name)]
    keys = (("Tg", "Tg"), ("Tg_low", "low"), ("Tg_high", "high"))
    return [{"name": name} | {to: [rows[name][key] for rows in by_name] for to, key in keys} for name in names]


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table in words."""
    from rich.console import Console
    from rich.table import Table

    from vitrify.locate import label

    table = Table(title=title, box=None, title_justify="left", pad_edge=False)
    for column in ("method", "Tg", "95% interval", "found", "verdict"):
        table.add_column(column, justify="right" if column == "Tg" else "left", overflow="fold")
    for row in rows:
        number = "-" if row["Tg"] is None else f"{row['Tg']:.4f}"
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        table.add_row(label(row), number, interval, "yes" if row["found"] else "no", row["verdict"])
    text = io.StringIO()
    Console(file=text, width=max(Console().width, 120)).print(table, highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


COMMANDS = {
    "tg": Command(
        _tg, "CURVE|STUDY ...", "the glass transition by every method, of a text file (T, energy) or a study"
    ),
}
"""By name."""
