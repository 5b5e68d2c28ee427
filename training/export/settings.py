"""The `export` section of a configuration: what a bundle says about itself."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from training.config import Settings


class DatasetSettings(Settings):
    """One data set that a model was made with, for its card."""

    name: str
    """Its name."""
    used: str
    """What of it was used, and for what."""
    license: str
    """Its licence."""
    citation: str
    """How to cite it."""


class ExportSettings(Settings):
    """Written into `conversion.json`, `metadata.json` and the model card."""

    folder: Path
    """The bundle's folder; its name is the model's id."""
    title: str
    """Name to show."""
    version: str
    """Version of the weights."""
    license: str = "CC-BY-4.0"
    """SPDX name of the licence of the weights."""
    citation: str
    """How to cite the model."""
    authors: str
    """Who made it."""
    source: str
    """Modality that goes in."""
    target: str
    """Modality that comes out."""
    anatomy: str = "head"
    """Part of the body."""
    output_scale: float = 1000
    """Network output times this is the voxel value."""
    window: float = 900
    """Display window, in output units."""
    level: float = 450
    """Display level, in output units."""
    dtype: Literal["float32", "int16"] = "int16"
    """Voxel type of the output. Scanners write int16, which packs four times smaller than a network's floats."""
    overlap: float = Field(0.4, ge=0, lt=1)
    """Overlap of neighbouring slabs: 0.4 of 5 slices is a step of 3."""
    batch: int = 4
    """Slabs a call."""
    datasets: tuple[DatasetSettings, ...]
    """What it was made with."""
    training: str
    """How it was trained, in a paragraph for the card."""
    limits: tuple[str, ...]
    """What it cannot do, in sentences for the card."""
