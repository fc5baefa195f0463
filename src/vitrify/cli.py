"""The ``vitrify`` command: words in, one library call, words out.

Progress and messages go to stderr, the answer to stdout. A failed command says what to do and exits with 1;
Ctrl-C exits with 130, and the same command continues.
"""

__all__ = ["main"]

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import vitrify

if TYPE_CHECKING:
    from vitrify.plan import Amount, Plan
    from vitrify.settings import Study

_HELP = """vitrify: glass or liquid, where is the transition, and is the network only computing the energy?

  vitrify quickstart [--out DIR]           the whole job on 64 small coolings, in minutes
  vitrify run STUDY.toml [--out DIR]       the same for your own study; any setting can be overridden,
                                           for example --simulate.n-runs 128
  vitrify plan STUDY.toml [--out DIR]      what that will cost on this machine, from a brief calibration
  vitrify simulate STUDY.toml [--out DIR]  only cool and minimise
  vitrify pair SLOW.toml FAST.toml         the slow one's liquid and the fast one's glass of equal energy
  vitrify report DIR                       write the report page of a finished study again

  vitrify train STUDY.toml --k 140         one network on one pair of records; --from RUN goes on from another
  vitrify evaluate STUDY.toml RUN ...      trained networks on the runs of any study, alone and averaged
  vitrify sweep STUDY.toml --k 140         try the settings of the study's table [sweep], ranked on validation runs
  vitrify crossvalidate STUDY.toml --k 140 test every run once, fold by fold

A study that is shipped is called by its name alone: vitrify run quickstart.
Every command takes --help, --json (its result as one JSON object on stdout), --workers N and --debug
(show the traceback of an error). A command that was interrupted continues where it stopped.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {
        "quickstart": _quickstart,
        "run": _run,
        "plan": _plan,
        "simulate": _simulate,
        "pair": _pair,
        "report": _report,
        "train": _train,
        "evaluate": _evaluate,
        "sweep": _sweep,
        "crossvalidate": _crossvalidate,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        print(f"vitrify {vitrify.__version__}")
        sys.exit(0)
    if words[0] not in commands:
        _fail(f"there is no command {words[0]!r}; choose one of {', '.join(commands)}: see vitrify --help")
    signal.signal(signal.SIGTERM, _interrupt)  # what a queue sends before its limit
    if "--debug" in words:
        commands[words[0]]([word for word in words[1:] if word != "--debug"])
        sys.exit(0)
    try:
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


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What every command takes."""

    json: bool = False
    """Print the result as one JSON object."""
    workers: int | None = None
    """Processes; all cores by default."""


@dataclass(frozen=True, kw_only=True)
class _Simulating(_Common):
    """What every command takes that simulates."""

    device: Literal["cpu", "cuda"] | None = None
    """Where to simulate; by default what the study says."""

    def on_device(self, study: "Study") -> "Study":
        """Return a study on the device asked for; its settings are checked again."""
        settings = study.model_dump()
        if self.device is not None:
            settings["simulate"]["device"] = self.device
        return type(study).model_validate(settings)


def _quickstart(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Quickstart(_Simulating):
        out: Path = Path("quickstart")
        """Folder of the results; created, and continued if it is there."""

    given = _parse(Quickstart, words, "quickstart", "Cool 64 small liquids into glasses, learn, locate, report.")
    from vitrify.settings import quickstart  # PyTorch takes a second: not before the words are known to be right

    _investigate(given.on_device(quickstart()), given.out, given)


def _run(words: list[str]) -> None:
    chosen, given = _study_words(words, "run", "Run a study: cool, learn, locate, report.")
    _investigate(chosen, given.out, given)


def _plan(words: list[str]) -> None:
    chosen, given = _study_words(words, "plan", "Say what a study will cost on this machine, before it is run.")
    from vitrify import plan

    with _progress() as progress:
        planned = plan.plan(chosen, given.out, n_workers=_workers(given), progress=progress)
    if given.json:
        print(json.dumps(asdict(planned), indent=1, allow_nan=False))
    else:
        _show_plan(chosen, planned)


def _show_plan(chosen: "Study", planned: "Plan") -> None:
    table = Table(title=f"{chosen.name}: {planned.n_runs} runs and {planned.n_trainings} classifiers to go")
    for heading in ("stage", "core-hours", "wall time"):
        table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
    for name, stage in planned.stages.items():
        if stage is None:
            table.add_row(name, "unknown", "unknown")
        else:
            table.add_row(name, _range(stage.core_h, _hours), _range(stage.wall_s, _duration))
    table.add_section()
    table.add_row(
        f"in all, {planned.n_workers} workers", _range(planned.core_h, _hours), _range(planned.wall_s, _duration)
    )
    console = Console()
    console.print(table, highlight=False)
    lines = [
        f"GPU-hours: {_range(planned.gpu_h, _hours)}",
        f"disk: {planned.disk_gb:.3g} GB to be written, {planned.free_gb:.3g} GB free",
        f"calibrated in {planned.calibration_s:.0f} s",
        *planned.notes,
    ]
    print("\n".join(f"- {line}" for line in lines))


def _range(amount: "Amount | None", write: Callable[[float], str]) -> str:
    """Return an estimate, with its range where that is more than a tenth of it on either side."""
    if amount is None:
        return "unknown"
    if max(amount.high - amount.value, amount.value - amount.low) <= 0.1 * amount.value:
        return write(amount.value)
    return f"{write(amount.value)} ({write(amount.low)} to {write(amount.high)})"


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 100 else f"{hours:.0f}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _simulate(words: list[str]) -> None:
    chosen, given = _study_words(words, "simulate", "Cool and minimise the ensemble of a study.")
    from vitrify import study

    with _progress() as progress:
        spent = study.simulate(chosen, given.out, n_workers=_workers(given), progress=progress)
    answer = {"data": str(given.out / "data"), "n_runs": chosen.simulate.n_runs, **spent}
    _answer(given, answer, f"{chosen.simulate.n_runs} runs in {given.out / 'data'}")


def _pair(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pair(_Simulating):
        slow: Annotated[str, tyro.conf.Positional]
        """Study of the slow cooling, whose liquid is wanted."""
        fast: Annotated[str, tyro.conf.Positional]
        """Study of the fast cooling, whose glass is wanted."""
        out: Path = Path("pair")
        """Folder of the results; created, and continued if it is there. Runs of either study in it are used."""
        tolerance: float = 0.001
        """Largest difference of the mean inherent-structure energies per particle, unshifted."""

    given = _parse(Pair, words, "pair", "Find a liquid and a glass of equal inherent-structure energy.")
    from vitrify import study
    from vitrify.settings import named

    slow, fast = (given.on_device(named(name)) for name in (given.slow, given.fast))
    with _progress() as progress:
        found = study.pair(
            slow, fast, given.out, tolerance=given.tolerance, n_workers=_workers(given), progress=progress
        )
    lines = []
    for title, which in (("equal energy", "pair"), ("nearest to the published temperatures", "published")):
        one = found[which]
        lines += [
            f"- {title}: liquid k = {one['k_slow']} (T = {one['T_slow']:.4f}) of {slow.name}, "
            f"{one['mean_slow']:.4f} ± {one['se_slow']:.4f}; glass k = {one['k_fast']} (T = {one['T_fast']:.4f}) of "
            f"{fast.name}, {one['mean_fast']:.4f} ± {one['se_fast']:.4f}; "
            f"difference {one['difference']:+.4f} ± {one['se_difference']:.4f}"
        ]
    lines.append("mean e_IS per particle, unshifted, ± standard error")
    _answer(given, found, "\n".join([*lines, f"numbers: {given.out / 'pair.json'}"]))


@dataclass(frozen=True, kw_only=True)
class _Task(_Simulating):
    """What every command takes that looks at one pair of records."""

    input: Literal["thermal", "inherent"] = "inherent"
    """Configurations shown."""
    k: int = 140
    """Record labelled liquid; 0 is the pair of equal energy of a study that has one."""


def _train(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Train(_Task):
        model: str = "cnn"
        """Kind of network."""
        network_seed: int = 0
        """Draws weights, batches and symmetries."""
        called: str | None = None
        """Name of the training and of its folder below OUT/trained; by default made from what is trained."""
        parent: Annotated[Path | None, tyro.conf.arg(name="from")] = None
        """Folder of a training to go on from."""
        best: bool = False
        """Begin with its best weights and a fresh optimiser, not from its last step."""

    chosen, given = _study_words(words, "train", "Train one network on one pair of records.", Train)
    if given.best and given.parent is None:
        raise ValueError("--best needs --from RUN: the training whose best weights are taken")
    from vitrify import workbench

    with _progress() as progress:
        outcome = workbench.train(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            kind=given.model,
            seed=given.network_seed,
            called=given.called,
            parent=None if given.parent is None else (given.parent, "best" if given.best else "last"),
            n_workers=_workers(given),
            progress=progress,
        )
    lineage = " > ".join([*(one["name"] for one in outcome["lineage"]), outcome["name"]])
    lines = [f"- {_score_line(row)}" for row in outcome["scores"]]
    folder = given.out / "trained" / outcome["name"]
    _answer(given, outcome, "\n".join([*lines, f"lineage: {lineage}", f"training: {folder}"]))


def _evaluate(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Evaluate(_Task):
        runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="runs")] = ()
        """Folders of trainings."""
        part: Literal["train", "validation", "test", "all"] = "validation"
        """Runs that are scored."""
        symmetries: bool = False
        """Look at each configuration under every symmetry of the box."""
        n_shifts: int = 1
        """Shifts of the box that each configuration is looked at under."""
        over: Literal["logit", "probability"] = "logit"
        """What is averaged."""

    begin = next((place for place, word in enumerate(words[1:], 1) if word.startswith("-")), len(words))
    words = [*words[:1], *words[begin:], *(["--runs", *words[1:begin]] if begin > 1 else [])]
    chosen, given = _study_words(words, "evaluate", "Score trained networks on the runs of a study.", Evaluate)
    if not given.runs:
        raise ValueError("vitrify evaluate needs the folders of trained networks: vitrify evaluate STUDY.toml RUN ...")
    from vitrify import workbench

    with _progress() as progress:
        found = workbench.evaluate(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            given.runs,
            part=given.part,
            averaging=workbench.Averaging(symmetries=given.symmetries, n_shifts=given.n_shifts, over=given.over),
            n_workers=_workers(given),
            progress=progress,
        )
    lines = [f"- {_score_line(row)}" for row in found["scores"]]
    lines += [f"- expected calibration error of {name}: {table['ece']['value']:.3f}" for name, table in
              found["reliability"].items()]  # fmt: skip
    _answer(given, found, "\n".join(lines))


def _sweep(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Swept(_Task):
        model: str = "cnn"
        """Kind of network."""

    chosen, given = _study_words(words, "sweep", "Try the settings of the table [sweep].", Swept)
    from vitrify import workbench

    with _progress() as progress:
        task = workbench.Task(input=given.input, k=given.k)
        results = workbench.sweep(
            chosen, given.out, task, kind=given.model, n_workers=_workers(given), progress=progress
        )
    best = results["best"]
    words_of_best = "no trial was completed" if best is None else f"best on validation runs: {json.dumps(best)}"
    _answer(given, results, f"{words_of_best}\nleaderboard: {Path(results['folder']) / 'leaderboard.json'}")


def _crossvalidate(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class CrossValidate(_Task):
        kinds: tuple[str, ...] = ("mpnn", "e_is")
        """Networks and baselines."""
        n_folds: int = 5
        """Parts the runs are dealt into."""
        n_inner: int = 0
        """Parts inside each fold, by which it chooses among the models; 0 does not nest."""

    chosen, given = _study_words(words, "crossvalidate", "Test every run once, fold by fold.", CrossValidate)
    from vitrify import workbench

    with _progress() as progress:
        results = workbench.cross_validate(
            chosen,
            given.out,
            workbench.Task(input=given.input, k=given.k),
            kinds=given.kinds,
            n_folds=given.n_folds,
            n_inner=given.n_inner,
            n_workers=_workers(given),
            progress=progress,
        )
    lines = [
        f"- {row['model']}, fold {row['fold']}: accuracy {row['accuracy']:.3f} [{row['accuracy_low']:.3f}, "
        f"{row['accuracy_high']:.3f}], AUC {row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}], "
        f"n = {row['n_test']}"
        for row in results["table"]
    ]
    _answer(given, results, "\n".join(lines))


def _score_line(row: dict[str, Any]) -> str:
    """Return accuracy and AUC of one classifier in words."""
    parts = [
        f"{name} {row[key]['value']:.3f} [{row[key]['low']:.3f}, {row[key]['high']:.3f}]"
        for name, key in (("accuracy", "accuracy"), ("AUC", "auc"))
    ]
    apart = row["auc_minus_energy"]
    beside = "" if apart is None else f", above the energy's by {apart['value']:+.3f} (p = {apart['p']:.2g})"
    return f"{row['model']}: {', '.join(parts)}{beside}; n = {row['n_test']} of {row['n_runs']} {row['part']} runs"


def _report(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Report(_Common):
        out: Annotated[Path, tyro.conf.Positional]
        """Folder of a finished study."""

    given = _parse(Report, words, "report", "Write the report page of a finished study again.")
    from vitrify import study

    with _progress() as progress:
        results = study.report_again(given.out, n_workers=_workers(given), progress=progress)
    _summary(results, given.out, given)


def _investigate(chosen: "Study", out: Path, given: Any) -> None:
    from vitrify import study

    with _progress() as progress:
        results = study.run(chosen, out, n_workers=_workers(given), progress=progress)
    _summary(results, out, given)


def _summary(results: dict[str, Any], out: Path, given: Any) -> None:
    page = out / "report.html"
    lines = [f"- {sentence}" for sentence in results["conclusions"]]
    _answer(given, results, "\n".join([*lines, f"report: {page}", f"numbers: {out / 'results.json'}"]))


def _study_words(words: list[str], command: str, description: str, form: Any = _Simulating) -> tuple["Study", Any]:
    """Return the study named by the first word with the settings overridden by the others."""
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

    empty = Run(settings=default, out=Path(default.name))
    given = _parse(Run, words[1:] if name is not None else words, f"{command} STUDY.toml", description, default=empty)
    # the settings that were overridden meet the study's own checks again
    return given.on_device(given.settings), given


def _parse(form: Any, words: list[str], command: str, description: str, default: Any = None) -> Any:
    options = {} if default is None else {"default": default}
    config = (tyro.conf.AvoidSubcommands,)
    return tyro.cli(form, args=words, prog=f"vitrify {command}", description=description, config=config, **options)


def _workers(given: Any) -> int:
    from vitrify import parallel

    if given.workers is not None and given.workers < 1:
        raise ValueError(f"--workers must be at least 1; got {given.workers}")
    return int(given.workers or parallel.n_cores())


def _answer(given: Any, answer: dict[str, Any], words: str) -> None:
    print(json.dumps(answer, indent=1, allow_nan=False) if given.json else words)


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


class _progress:  # noqa: N801
    """Show each stage's bar with its rate and the time left: live on a terminal, a line now and then in a log."""

    def __enter__(self) -> Callable[[str, float, float], None]:
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
        self._said = 0.0
        self._bars.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _show(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total, rate="", completed=int(done))
            self._began[stage] = (now, done)
        began, already = self._began[stage]
        rate = (done - already) / max(now - began, 1e-9)
        words = f"{rate:.1f}/s" if done > already else ""
        self._bars.update(self._stages[stage], completed=done, total=total, rate=words)
        if not self._console.is_terminal and total > 1 and (now - self._said > 15 or done >= total):
            self._said = now
            left = f", {(total - done) / rate:.0f} s left" if done > already and done < total else ""
            self._console.print(f"{stage}: {done:.0f} of {total:.0f} {words}{left}", highlight=False)
