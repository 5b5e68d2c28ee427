"""A whole model as one YAML file: a section for each verb."""

from pathlib import Path
from typing import Any

from pydantic import Field

from training.config import Settings, check, read_yaml
from training.evaluation.settings import EvaluateSettings
from training.export.settings import ExportSettings
from training.recipes import make_recipe
from training.recipes.base import Recipe
from training.schedule import LoopSettings
from training.simulation.settings import SimulateSettings


class PairSettings(Settings):
    """Where the real pairs are and where `simulate` packs them."""

    longitudinal: Path
    """Folder of the longitudinal set, with `patientNN` folders."""
    mni: Path
    """Folder of the set in MNI space."""
    cases: Path
    """Folder for the packed pairs."""


class RecipeSection(Settings):
    """Which recipe, and its own options."""

    name: str
    """A name in `training.recipes.RECIPES`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Checked against the recipe's own settings."""


class Project(Settings):
    """A configuration file."""

    run: Path
    """Folder for checkpoints, logs and pictures."""
    simulate: SimulateSettings
    """Simulated cases."""
    pairs: PairSettings | None = None
    """Real pairs; none: simulated cases alone."""
    recipe: RecipeSection
    """The network, its data and its loss."""
    train: LoopSettings
    """The loop."""
    export: ExportSettings
    """The bundle."""
    evaluate: EvaluateSettings
    """The figures."""

    def make_recipe(self) -> Recipe:
        """The recipe, its options checked."""
        return make_recipe(self.recipe.name, self.recipe.options)


def read_project(path: Path) -> Project:
    """Read and check a configuration file, the recipe's own options too."""
    project = check(Project, read_yaml(path), path.name)
    project.make_recipe()
    return project
