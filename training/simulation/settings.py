"""The `simulate` section of a configuration."""

from pathlib import Path

from pydantic import Field

from training.config import Settings
from training.data.split import Part
from training.simulation.case import CaseSettings


def _default_counts() -> dict[Part, int]:
    return {"training": 9, "validation": 3, "test": 2}


class SimulateSettings(Settings):
    """What `simulate` makes."""

    labels: Path
    """Folder with the label maps `training_seg_01.nii.gz` ..."""
    cases: Path
    """Folder for the cases; each part of the split gets a folder of its own."""
    counts: dict[Part, int] = Field(default_factory=_default_counts)
    """Cases of each label map, by part of the split."""
    seed: int = 2026
    """Rules everything random in a case, together with its label map's name and its number."""
    case: CaseSettings = CaseSettings()
    """What happens to a head."""
