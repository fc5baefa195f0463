"""The command ``vitrify tg``: the glass transition of a curve in a text file, or of a study, by every method."""

__all__ = ["COMMANDS", "read_curve"]

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitrify.cli.words import Command, Common, Progressing, Simulating, answer, parse, study_words, workers

if TYPE_CHECKING:
    from vitrify.settings import Study

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
        raise ValueError(
            "vitrify tg needs a curve or a study: vitrify tg CURVE.dat, vitrify tg STUDY.toml, or folders of studies"
        )
    curves = [name for name in named if Path(name).is_file() and Path(name).suffix != ".toml"]
    if not named or len(curves) == len(named):
        _of_curves([Path(name) for name in curves], options)
    elif curves:
        raise ValueError(f"vitrify tg takes curves or studies, not both; {', '.join(curves)} are curves")
    elif len(named) == 1 and not Path(named[0]).is_dir():
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
        width_limit: float = 0.7
        """Widest crossover, from 10% to 90% of the change of slope, that is called a transition, in the unit of T."""
        out: Path | None = None
        """Folder the figures are saved in."""

    given = parse(Curves, options, "tg CURVE ...", _DESCRIPTION)
    import numpy as np

    from vitrify import locate

    if not (math.isfinite(given.width_limit) and given.width_limit > 0):
        raise ValueError(f"--width-limit must be a width above 0, in the unit of T; got {given.width_limit}")
    for name, each in (("--cooling-steps", given.cooling_steps), ("--sizes", given.sizes)):
        if each and len(each) != len(paths):
            raise ValueError(f"{name} must name one number for each of the {len(paths)} curves; got {len(each)}")
    found: list[dict[str, Any]] = []
    for path in paths:
        T, energy = (np.array(column) for column in read_curve(path))
        known = {"cooling_steps": given.cooling_steps, "n_particles": given.sizes}
        told = {key: each[len(found)] for key, each in known.items() if each}
        located = locate.of_curve(T, energy, limit=given.width_limit)
        values = locate.as_values(located, T, energy, None, limit=given.width_limit)
        found.append({"curve": str(path)} | told | values)
    cooling, sizes = "cooling_steps" if given.cooling_steps else None, "n_particles" if given.sizes else None
    _show(found, given, cooling=cooling, sizes=sizes)


def _of_study(words: list[str]) -> None:
    chosen, given = study_words(words, "tg", _DESCRIPTION, Simulating)
    from vitrify import analyses

    with Progressing() as progress:
        values = analyses.run(["tg"], chosen, given.out, n_workers=workers(given), progress=progress)["tg"]
    sentences = analyses.ANALYSES["tg"].section(values).sentences
    lines = [_table(chosen.name, values["rows"]), *(f"- {one}" for one in sentences)]
    curves = [{"curve": chosen.name} | values]
    answer(given, values | {"curves": curves}, "\n".join([*lines, f"report: {given.out / 'report.html'}"]))


def _of_studies(named: Sequence[str], options: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Studies(Common):
        out: Path | None = None
        """Folder the figures are saved in; a study that is named by its file stays in the folder of its name below."""

    given = parse(Studies, options, "tg STUDY|DIR ...", _DESCRIPTION)
    from vitrify import analyses

    found = []
    for name in named:
        chosen, folder = _study_at(name, given.out or Path())
        with Progressing() as progress:
            values = analyses.run(["tg"], chosen, folder, n_workers=workers(given), progress=progress)["tg"]
        cool = chosen.simulate.cool
        if cool is None or not values["rows"]:
            raise ValueError(f"{name} is not a cooling, which vitrify tg needs to compare studies")
        rate = (cool.T_start - cool.T_end) / (cool.n_steps * chosen.simulate.dt)
        density = chosen.simulate.n_particles / math.prod(chosen.simulate.box)
        system = f"{chosen.simulate.mixture}, density {density:.6g}"
        found.append({"curve": name} | values | {"cooling_rate": rate, "system": system})
    _show(found, given, cooling="cooling_rate", sizes="n_particles")


def _study_at(name: str, below: Path) -> tuple["Study", Path]:
    """Return a study and its folder: those of a finished study's folder, or a study file and where it is run."""
    from vitrify import store
    from vitrify.settings import Study
    from vitrify.settings import named as study_named

    if not Path(name).is_dir():
        chosen = study_named(name)
        return chosen, below / chosen.name
    results = store.read_json(Path(name) / "results.json")
    if results is None:
        raise ValueError(f"{name} holds no results.json: name the folder of a finished study, a study or a curve")
    return Study.model_validate(results["study"]), Path(name)


def _show(found: Sequence[dict[str, Any]], given: Any, *, cooling: str | None, sizes: str | None) -> None:
    """Print a table for each curve, and below them what several curves say together; save the figures.

    Args:
        found: The values of each curve.
        given: The words of the command.
        cooling: What the curves hold of their cooling, ``cooling_steps`` or ``cooling_rate``.
        sizes: What they hold of their size.
    """
    rates = _rates(found, cooling, sizes) if cooling else []
    agree = _sizes(found, cooling, sizes) if sizes else []
    lines = [line for each in found for line in (_table(each["curve"], each["rows"]), f"- {_whole(each)}")]
    if len(found) > 1 and (cooling or sizes):
        lines.append(_beside(found, cooling, sizes))
    lines += [f"- {one['name']}: {one['sentence']}" for one in (*rates, *agree)]
    if len(found) > 1 and (cooling or sizes) and not rates and not agree:
        lines.append("- no method finds a transition in all of the curves that differ in one thing alone")
    if given.out is not None:
        lines.append(f"figures: {_save(found, given.out, rates, agree)}")
    answer(given, {"curves": list(found), "rate": rates, "size": agree}, "\n".join(lines))


def _whole(each: Mapping[str, Any]) -> str:
    """Return what a curve says of its transition as a whole."""
    return str(each["summary"]["sentence"])


def _save(
    found: Sequence[dict[str, Any]], out: Path, rates: Sequence[dict[str, Any]], agree: Sequence[dict[str, Any]]
) -> Path:
    from vitrify import report
    from vitrify.locate import label
    from vitrify.transition_figures import rate_figure, tg_figure

    out.mkdir(parents=True, exist_ok=True)
    for place, each in enumerate(found, 1):
        name = "tg" if len(found) == 1 else f"tg_{place}"
        report.save(tg_figure(each), out, name, {"T": each["T"], "energy": each["mean"]})
    if rates or agree:
        known = [key for key in _KNOWN if all(key in each for each in found)]
        columns = {key: [each[key] for each in found for _ in each["rows"]] for key in known}
        columns |= {"method": [label(row) for each in found for row in each["rows"]]}
        for key in ("Tg", "low", "high", "found"):
            columns[key] = [row[key] for each in found for row in each["rows"]]
        report.save(rate_figure(rates, agree), out, "tg_rate", columns)
    return out


_KNOWN = ("cooling_steps", "cooling_rate", "n_particles", "system", "curve")


def _rates(found: Sequence[dict[str, Any]], cooling: str, sizes: str | None) -> list[dict[str, Any]]:
    """Return the line of every method against the cooling, for each size of which there are several coolings."""
    import numpy as np

    from vitrify.locate import rate_line

    lines: list[dict[str, Any]] = []
    of: Literal["rate", "time"] = "rate" if cooling == "cooling_rate" else "time"
    groups = _groups(found, sizes, cooling)
    for words, group in groups:
        values = [each[cooling] for each in group]
        for one in _together(group):
            Tg, low, high = _arrays(one)
            ends = {"low": low, "high": high} if np.isfinite(low + high).all() else {}
            line = rate_line(np.array(values, float), Tg, **ends, of=of)
            name = one["name"] if len(groups) == 1 else f"{one['name']}, {words}"
            lines.append(one | {"name": name, "cooling": values, "of": of} | asdict(line))
    return lines


def _sizes(found: Sequence[dict[str, Any]], cooling: str | None, sizes: str) -> list[dict[str, Any]]:
    """Return whether the sizes agree by every method, for each cooling of which there are several sizes.

    All are one family of questions.
    """
    import numpy as np

    from vitrify.locate import size_check, size_checks

    asked, checks = [], []
    groups = _groups(found, cooling, sizes)
    for words, group in groups:
        values = [each[sizes] for each in group]
        for one in _together(group):
            Tg, low, high = _arrays(one)
            if np.isfinite(low + high).all() and (high > low).all():
                name = one["name"] if len(groups) == 1 else f"{one['name']}, {words}"
                checks.append(size_check(np.array(values, float), Tg, low, high))
                asked.append(one | {"name": name, "sizes": values})
    return [
        one | asdict(check) | {"sentence": check.sentence}
        for one, check in zip(asked, size_checks(checks), strict=True)
    ]


def _groups(
    found: Sequence[dict[str, Any]], same: str | None, differs: str
) -> list[tuple[str, Sequence[dict[str, Any]]]]:
    """Return the curves of one system and one value each in which another value differs, with what they share."""
    groups: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for each in found:
        groups.setdefault((each.get("system"), each[same] if same else None), []).append(each)
    several = {key: group for key, group in groups.items() if len({each[differs] for each in group}) > 1}
    systems = len({system for system, _ in several})
    shared = {"n_particles": "N = {:,}", "cooling_rate": "rate {:.3g}", "cooling_steps": "{:,.0f} steps"}
    return [
        (", ".join(([system] if systems > 1 else []) + ([shared[same].format(value)] if same else [])), group)
        for (system, value), group in several.items()
    ]


def _arrays(one: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return Tg and both ends of their intervals; what is not known is not a number."""
    import numpy as np

    Tg, low, high = (np.array([np.nan if x is None else x for x in one[key]]) for key in ("Tg", "Tg_low", "Tg_high"))
    return Tg, low, high


def _together(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the Tg of every method that finds a transition in each of the curves, or cannot tell where lines cross."""
    from vitrify.locate import label
    from vitrify.transition import NO_CROSSING

    by_name: list[Mapping[str, Any]] = [
        {
            label(row): row
            for row in each["rows"]
            if row["found"] or (row["found"] is None and row["Tg"] and not row["verdict"].startswith(NO_CROSSING))
        }
        for each in found
    ]
    names = [name for name in by_name[0] if all(name in rows for rows in by_name)]
    keys = (("Tg", "Tg"), ("Tg_low", "low"), ("Tg_high", "high"))
    return [{"name": name} | {to: [rows[name][key] for rows in by_name] for to, key in keys} for name in names]


def _beside(found: Sequence[dict[str, Any]], cooling: str | None, sizes: str | None) -> str:
    """Return one table of all curves: a row for each method, a column for each curve."""
    from vitrify.locate import label

    headings = []
    for each in found:
        words = [f"N = {each[sizes]:,}"] if sizes else []
        if cooling == "cooling_rate":
            words.append(f"rate {each[cooling]:.3g}")
        elif cooling:
            words.append(f"{each[cooling]:,.0f} steps")
        headings.append(f"{each['curve']}: {', '.join(words)}")
    names = dict.fromkeys(label(row) for each in found for row in each["rows"])
    rows = [{label(row): row for row in each["rows"]} for each in found]
    lines = [(name, *(_cell(of.get(name)) for of in rows)) for name in names]
    return _text("Tg beside each other; in brackets: not found, or not to tell", ("method", *headings), lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or row["Tg"] is None:
        return "-"
    number = f"{row['Tg']:.4f}" + ("" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]")
    return number if row["found"] else f"({number})"


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table in words."""
    from vitrify.locate import FOUND, label

    lines = []
    for row in rows:
        number = "-" if row["Tg"] is None else f"{row['Tg']:.4f}"
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        lines.append((label(row), number, interval, FOUND[row["found"]], row["verdict"]))
    return _text(title, ("method", "Tg", "95% interval", "found", "verdict"), lines)


def _text(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in words."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=None, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(escape(column), justify="right" if column == "Tg" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    text = io.StringIO()
    Console(file=text, width=max(Console().width, 120)).print(table, highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


COMMANDS = {
    "tg": Command(
        _tg,
        "CURVE|STUDY|DIR ...",
        "the glass transition by every method, of a text file (T, energy) or a study; of several, against cooling rate "
        "and size",
    ),
}
"""By name."""
