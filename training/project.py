"""A whole model as one YAML file: a section for each verb; a verb needs its own section only."""

from pathlib import Path
from typing import Any

from pydantic import Field

from training.config import ConfigError, Settings, check, read_yaml
from training.data.settings import DataSettings
from training.data.unpaired_pack import UnpairedSettings
from training.evaluation.settings import CalibrateSettings, EvaluateSettings
from training.export.settings import ExportSettings
from training.qc.settings import QcSettings
from training.recipes import make_recipe
from training.recipes.base import Recipe
from training.schedule import LoopSettings
from training.simulation.settings import SimulateSettings


class RecipeSection(Settings):
    """Which recipe, and its own options."""

    name: str
    """A name in `training.recipes.RECIPES`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Checked against the recipe's own settings."""


class Project(Settings):
    """A configuration file."""

    run: Path = Path("run")
    """Folder for checkpoints, tables and pictures of the training."""
    simulate: SimulateSettings | None = None
    """Cases from label maps."""
    data: DataSettings | None = None
    """Real scans."""
    unpaired: UnpairedSettings | None = None
    """Two collections of different people, for recipes that need no pairs."""
    qc: QcSettings | None = None
    """What is looked for in them."""
    recipe: RecipeSection | None = None
    """The network, its data and its loss."""
    train: LoopSettings | None = None
    """The loop."""
    evaluate: EvaluateSettings | None = None
    """The figures."""
    export: ExportSettings | None = None
    """The bundle."""
    calibrate: CalibrateSettings | None = None
    """Its intervals."""

    def make_recipe(self) -> Recipe:
        """The recipe, its options checked."""
        if self.recipe is None:
            raise ConfigError("The configuration has no section `recipe`, which says what network there is.")
        return make_recipe(self.recipe.name, self.recipe.options)

    def need(self, *sections: str) -> None:
        """Refuse to go on without these sections."""
        missing = [name for name in sections if getattr(self, name) is None]
        if missing:
            raise ConfigError(f"The configuration has no section {' and none '.join(f'`{name}`' for name in missing)}.")


def read_project(path: Path) -> Project:
    """Read and check a configuration file, the recipe's own options too."""
    project = check(Project, read_yaml(path), path.name)
    if project.recipe is not None:
        project.make_recipe()
    return project
