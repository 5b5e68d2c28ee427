"""The `evaluate` section of a configuration."""

from pathlib import Path

from training.config import Settings


class EvaluateSettings(Settings):
    """What is measured and where the figures go."""

    folder: Path
    """Folder for `figures.json`, `figures.md` and the pictures."""
    simulated: Path | None = None
    """Folder of packed simulated cases of the test part."""
    longitudinal: Path | None = None
    """Folder of the longitudinal set."""
    mni: Path | None = None
    """Folder of the set in MNI space."""
