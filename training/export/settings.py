"""The `export` section of a configuration: what a bundle says about itself, and in which forms it is written.

How the network is fed, its sources and its targets are the recipe's to declare.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from modality_conversion.modality import Modality
from modality_conversion.schema import Gate
from training.config import Settings

Reduced = Literal["float16", "int8"]


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
    anatomy: str = "head"
    """Part of the body."""
    datasets: tuple[DatasetSettings, ...]
    """What it was made with."""
    training: str
    """How it was trained, in a paragraph for the card."""
    limits: tuple[str, ...]
    """What it cannot do, in sentences for the card."""
    cautions: dict[Modality, str] = Field(default_factory=dict)
    """By target: a sentence that goes with every output, into its report, its header, its node and the panel."""
    known_failures: tuple[str, ...] = ()
    """Where it went wrong when somebody looked, in sentences for the card."""
    torchscript: bool = True
    """Also write `models/model.ts`, the same network for users of PyTorch. The engine uses the ONNX file."""
    stored: Literal["float32", "float16"] = "float32"
    """Precision of the weights in the ONNX file. `float16` halves the file; the arithmetic stays float32."""
    reduced: tuple[Reduced, ...] = ()
    """Further bundles beside this one, `<id>-float16` at half the size and `<id>-int8` at a quarter."""
    calibration: Path | None = None
    """Folder of packed training cases, from which int8 learns the range of every layer. Never test cases."""
    calibration_tiles: int = Field(48, gt=0)
    """How many tiles of them are looked at."""
    gate: Gate | None = None
    """What a scan must be for the model, as `gate` of `conversion.json` says it. None: no gate."""
    pictures: bool = True
    """Put the worst case of each group of directions, as a picture, beside the card."""
    real_pictures: bool = False
    """Also where it is a real person's scan. Only with the right to publish it."""
    docs_kilobytes: int = Field(1500, ge=100)
    """The bundle's `docs` folder, pictures and all, is kept below this."""

    @model_validator(mode="after")
    def _of_one_kind(self) -> "ExportSettings":
        if self.stored == "float16" and (self.torchscript or self.reduced):
            raise ValueError("`stored: float16` goes with `torchscript: false` and without `reduced`")
        return self

    @field_validator("gate", mode="before")
    @classmethod
    def _as_declared(cls, value: object) -> object:
        """The engine reads its sections strictly, as JSON."""
        return Gate.model_validate_json(json.dumps(value)) if isinstance(value, dict) else value

    @field_validator("folder")
    @classmethod
    def _named(cls, value: Path) -> Path:
        name = value.name
        if not name or name != name.lower() or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-"):
            raise ValueError(
                f"the folder's name {name!r} is the model's id; use lower-case letters, digits, '.', '_', '-'"
            )
        return value
