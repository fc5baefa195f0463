"""The whole suite: what is computed first, what needs it, the rows, the figures."""

__all__ = ["PARTS", "Suite", "chosen", "compute", "draw", "rows"]

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict

from validation import comparison, conservation, cooling, ensemble, equilibrium, figures, real
from validation.comparison import Size as Comparison
from validation.conservation import Size as Conservation
from validation.cooling import Size as Cooling
from validation.ensemble import Size as Ensemble
from validation.equilibrium import Size as Equilibrium
from validation.rows import N_ROWS, Row
from validation.tasks import Engine, Task, keep
from vitrify.parallel import Tick

PARTS = ("cooling", "equilibrium", "others", "conservation", "ensemble", "comparison")


class Suite(BaseModel):
    """What is computed, how much of it, and what with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[str, ...] = PARTS
    engine: Engine = Engine()
    cooling: Cooling = Cooling()
    equilibrium: Equilibrium = Equilibrium()
    comparison: Comparison = Comparison()
    conservation: Conservation = Conservation()
    ensemble: Ensemble = Ensemble()
    data: Path

    def stages(self) -> dict[str, list[Task]]:
        """Return the tasks by stage; those of the second need the first."""
        liquids = {"conservation", "ensemble", "comparison"} & set(self.parts)
        simulations = {
            "equilibrium": equilibrium.simulations(self.equilibrium),
            "cooling": cooling.simulations(self.cooling),
            "comparison": comparison.simulations(self.comparison),
            "ensemble": ensemble.simulations(self.ensemble, self.comparison),
        }
        comparisons = {
            "cooling": cooling.comparisons(self.cooling),
            "equilibrium": equilibrium.comparisons(self.equilibrium),
            "comparison": comparison.comparisons(self.comparison),
            "ensemble": ensemble.comparisons(self.ensemble, self.comparison),
            "conservation": conservation.comparisons(self.conservation, self.comparison),
            "others": real.comparisons(self.data, fault=self.engine.fault),
        }
        first = {*self.parts, *({"comparison"} if liquids else ())}
        return {
            "simulate": _distinct(task for part, tasks in simulations.items() if part in first for task in tasks),
            "compare": _distinct(task for part, tasks in comparisons.items() if part in self.parts for task in tasks),
        }


def chosen(data: Path, *, engine: Engine, parts: Iterable[str] = PARTS, quick: bool = False) -> Suite:
    """Return the suite of one engine.

    Args:
        data: Folder of configurations of others.
        engine: What is held to the references.
        parts: Which parts of the suite; the cooling curve is left out under a fault, for the package's own runs have
            none, and where it is to be quick.
        quick: A small share of the work: error bars, and so tolerances, are wider.
    """
    left_out = {"cooling"} if quick or engine.fault else set()
    sizes = {
        "equilibrium": Equilibrium(
            engine=engine,
            steps={2.0: (0, 10_000, 240, 240), 1.0: (10_000, 10_000, 200, 60)},
            k_lammps=tuple(range(0, 20, 4)),
        ),
        "comparison": Comparison(
            engine=engine,
            n_runs=2,
            samples={"ka2d": (300, 100), "ka3d": (120, 100)},
            n_before=(10_000, 10_000),
            n_kept=100,
            n_travelled=8,
        ),
        "conservation": Conservation(n_states=4, n_steps=10_000, n_scanned=4, dt=(0.001, 0.0025, 0.005), time=5.0),
        "ensemble": Ensemble(engine=engine, n_samples=500),
    }
    whole = {
        "equilibrium": Equilibrium(engine=engine),
        "comparison": Comparison(engine=engine),
        "ensemble": Ensemble(engine=engine),
    }
    return Suite(
        parts=tuple(part for part in PARTS if part in set(parts) - left_out),
        engine=engine,
        cooling=Cooling(engine=Engine(seed=engine.seed)),
        data=data,
        **(sizes if quick else whole),
    )


def compute(suite: Suite, root: Path, stage: str, *, n_workers: int, progress: Tick) -> None:
    """Compute what a stage lacks."""
    keep(root, suite.stages()[stage], n_workers=n_workers, progress=progress)


def rows(suite: Suite, root: Path) -> list[Row]:
    """Return every row of the table; every task must be kept.

    Raises:
        ValueError: There are more rows than the level of one row is made for.
    """
    makers = {
        "cooling": lambda: cooling.rows(suite.cooling, root),
        "equilibrium": lambda: equilibrium.rows(suite.equilibrium, root),
        "others": lambda: real.rows(suite.data, root, fault=suite.engine.fault),
        "conservation": lambda: conservation.rows(suite.conservation, suite.comparison, root),
        "ensemble": lambda: ensemble.rows(suite.ensemble, suite.comparison, root),
        "comparison": lambda: comparison.rows(suite.comparison, root),
    }
    found = [row for part in suite.parts for row in makers[part]()]
    if len(found) > N_ROWS:
        raise ValueError(f"a suite may have at most {N_ROWS} rows; got {len(found)}: raise validation.rows.N_ROWS")
    return found


def _distinct(tasks: Iterable[Task]) -> list[Task]:
    """Return each task once; two parts may need the same one."""
    return list(dict.fromkeys(tasks))


def draw(suite: Suite, root: Path) -> dict[str, Figure]:
    """Return every figure by its name."""
    coldest = min(suite.equilibrium.steps)
    r, g, _ = cooling.structure(suite.cooling, root, 0.05)
    return {
        "cooling": figures.cooling(cooling.figure_data(suite.cooling, root)),
        "structure": figures.structure(
            {
                "T": coldest,
                "ka3d": equilibrium.partial_g(suite.equilibrium, root, coldest),
                "ka2d": (r, g.mean(axis=0)),
            }
        ),
        "conservation": figures.conservation(
            {
                "wander": conservation.wander(suite.conservation, suite.comparison, root),
                "scan": conservation.scanned(suite.conservation, suite.comparison, root),
                "time": suite.conservation.time,
                "travel": comparison.travelled(suite.comparison, root),
            }
        ),
        "ensemble": figures.ensemble(
            ensemble.kinetic(suite.ensemble, root) | {"free": 2 * (suite.ensemble.n_particles - 1)}
        ),
    }
