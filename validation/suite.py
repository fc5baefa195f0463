"""The whole suite: what is computed first, what needs it, the rows, the figures."""

__all__ = ["Suite", "compute", "draw", "rows"]

from pathlib import Path

from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict

from validation import comparison, conservation, cooling, ensemble, equilibrium, figures, real
from validation.comparison import Size as Comparison
from validation.conservation import Size as Conservation
from validation.cooling import Size as Cooling
from validation.ensemble import Size as Ensemble
from validation.equilibrium import Size as Equilibrium
from validation.rows import Row
from validation.tasks import Task, keep
from vitrify.parallel import Tick


class Suite(BaseModel):
    """How much of everything is computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cooling: Cooling = Cooling()
    equilibrium: Equilibrium = Equilibrium()
    comparison: Comparison = Comparison()
    conservation: Conservation = Conservation()
    ensemble: Ensemble = Ensemble()
    data: Path

    def stages(self) -> dict[str, list[Task]]:
        """Return the tasks by stage; those of the second need the first."""
        return {
            "simulate": [
                *equilibrium.simulations(self.equilibrium),
                *cooling.simulations(self.cooling),
                *comparison.simulations(self.comparison),
                *ensemble.simulations(self.ensemble),
            ],
            "compare": [
                *cooling.comparisons(self.cooling),
                *equilibrium.comparisons(self.equilibrium),
                *comparison.comparisons(self.comparison),
                *conservation.comparisons(self.conservation, self.comparison),
                *real.comparisons(self.data),
            ],
        }


def compute(suite: Suite, root: Path, stage: str, *, n_workers: int, progress: Tick) -> None:
    """Compute what a stage lacks."""
    keep(root, suite.stages()[stage], n_workers=n_workers, progress=progress)


def rows(suite: Suite, root: Path) -> list[Row]:
    """Return every row of the table; every task must be kept."""
    return [
        *cooling.rows(suite.cooling, root),
        *equilibrium.rows(suite.equilibrium, root),
        *real.rows(suite.data, root),
        *conservation.rows(suite.conservation, suite.comparison, root),
        *ensemble.rows(suite.ensemble, suite.comparison, root),
        *comparison.rows(suite.comparison, root),
    ]


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
