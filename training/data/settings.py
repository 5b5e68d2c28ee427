"""The `data` section of a configuration: real scans, and who of them is learnt from."""

from pathlib import Path

from pydantic import Field, model_validator

from training.config import Settings
from training.data.layouts import AnySource
from training.data.split import Part


def _default_shares() -> dict[Part, float]:
    return {"training": 0.7, "validation": 0.1, "test": 0.2}


class DataSettings(Settings):
    """Where real scans are and where they go. Any mix of layouts is one data set."""

    sources: tuple[AnySource, ...] = Field(min_length=1)
    """Folders with scans, each in its layout."""
    cases: Path
    """Folder for the packed cases; each part of the split gets a folder of its own, as simulated cases have."""
    split: Path | None = None
    """Who is in which part, a file that is made where it is missing and kept where it is there. None: `split.yaml` beside
    the cases."""
    shares: dict[Part, float] = Field(default_factory=_default_shares)
    """How many of the people that the file does not name go to each part."""
    seed: int = 2026
    """Rules who goes where."""
    parts: tuple[Part, ...] = ("training", "validation", "test")
    """Which parts are packed."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> "DataSettings":
        if min(self.shares.values(), default=0) < 0 or not sum(self.shares.values()) > 0:
            raise ValueError("shares: each must be 0 or more, and not all 0")
        return self

    def split_file(self) -> Path:
        """Where the split is written down."""
        return self.split or self.cases / "split.yaml"
