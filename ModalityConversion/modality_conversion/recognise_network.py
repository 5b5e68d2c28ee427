"""The recogniser's network: where its folder is, what it declares, and what it answers to a view.

The folder is data like a model's: `configs/recogniser.json`, `models/model.onnx`, `docs/README.md`. It converts nothing, so
it is none of the catalogue's models, but it is looked for in the same places.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import read_text, sha256_of
from .catalog import RECOGNISER_FILE, Catalog
from .errors import ConversionError
from .recognise_input import View

FOLDER = "recogniser"
KINDS = ("T1", "T1CE", "T2", "FLAIR", "PD", "CT", "other")
"""What a scan can be; `other` is anything else."""
SIDES = ("z+", "z-", "y+", "y-", "x+", "x-")
"""The sides of the cube; by the scan's header they are superior, inferior, anterior, posterior, right, left."""
OUTPUTS = {
    "kind": len(KINDS),
    "head": 1,
    "stripped": 1,
    "defaced": 1,
    "up": len(SIDES),
    "front": len(SIDES),
    "cut": len(SIDES),
    "brain": 1,
    "distance": 1,
}
"""The network's answers in order, and how many numbers each takes."""
INPUTS = ("profile", "blocks")
"""The network's inputs, parts of `recognise_input.View`."""


@dataclass(frozen=True)
class Declaration:
    """`configs/recogniser.json`, as far as recognition reads it."""

    version: str
    weights: Path
    sha256: str
    known_above: float
    """Probability from which a kind is named."""
    distances: tuple[tuple[float, float], ...]
    """(share, distance): so large a share of held-out scans lay nearer; both rising."""

    def unusual(self, distance: float) -> float:
        """The share of held-out scans that were less unusual, 0..1, linear between those declared."""
        shares, distances = zip(*self.distances)
        return float(np.interp(distance, distances, shares, left=0.0))


@dataclass(frozen=True)
class Answers:
    """The network's answers, as probabilities."""

    kind: dict[str, float]
    head: float
    stripped: float
    defaced: float
    up: tuple[float, ...]
    """Of each of `SIDES`, to be the top of the head."""
    front: tuple[float, ...]
    """The same for the face."""
    cut: tuple[float, ...]
    """Of each of `SIDES`, that the scan ends there within the brain."""
    brain: float
    """Share of the brain that the scan shows."""
    distance: float
    """How far the features lie from those of the nearest kind, in deviations (Mahalanobis)."""


def find_recogniser(models_dirs: Sequence[Path | str] = ()) -> Path:
    """The recogniser's folder: in the folders given, else where models are looked for.

    Raises ConversionError where there is none.
    """
    for place in Catalog(models_dirs).dirs:
        for folder in (place, place / FOLDER):
            if (folder / RECOGNISER_FILE).is_file():
                return folder
    raise ConversionError("The recogniser is missing. Install the program again, or say what the scan is with --from.")


def read_declaration(folder: Path) -> Declaration:
    """Raises ConversionError with what is wrong, and what to do."""
    remedy = f"Copy the folder {folder} again, whole."
    try:
        fields = json.loads(read_text(folder / RECOGNISER_FILE))
        _check(fields)
        weights = fields["weights"]
        return Declaration(
            str(fields["version"]),
            folder / weights["path"],
            weights["sha256"],
            float(fields["known_above"]),
            tuple((float(share), float(distance)) for share, distance in fields["distances"]),
        )
    except OSError as error:
        raise ConversionError(f"The recogniser in {folder} cannot be read: {error.strerror}. {remedy}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConversionError(f"The recogniser's {RECOGNISER_FILE} is not usable ({error}). {remedy}") from None


def _check(fields: Any) -> None:
    """Raises ValueError where the declaration is not one that this version reads."""
    if not isinstance(fields, dict) or fields.get("schema_version") != "1.0":
        raise ValueError("its schema_version is not 1.0")
    if fields.get("outputs") != OUTPUTS or fields.get("kinds") != list(KINDS):
        raise ValueError("its answers are not those that this version asks for")
    path = Path(fields["weights"]["path"])
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("its weight file lies outside its folder")
    if not 0 < fields["known_above"] < 1:
        raise ValueError("known_above is not between 0 and 1")
    pairs = np.asarray(fields["distances"], float)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 2 or not (np.diff(pairs, axis=0) > 0).all():
        raise ValueError("distances are not rising pairs of a share and a distance")


class Network:
    """The recogniser, loaded, on one core of the CPU."""

    def __init__(self, folder: Path) -> None:
        """Raises ConversionError for a folder that is not usable, or damaged weights."""
        from .backends.onnx import OnnxBackend

        self.declaration = read_declaration(folder)
        path = self.declaration.weights
        if not path.is_file() or sha256_of(path) != self.declaration.sha256:
            raise ConversionError(
                f"The recogniser's weight file {path} is missing or damaged: its SHA-256 is not the declared one. "
                f"Copy the folder {folder} again, whole."
            )
        self._backend = OnnxBackend(path, "cpu", threads=1)

    def ask(self, seen: View) -> Answers:
        """The answers to one view."""
        row = self._backend.run({name: getattr(seen, name)[None] for name in INPUTS})[0]
        if row.shape != (sum(OUTPUTS.values()),) or not np.isfinite(row).all():
            raise ConversionError("The recogniser gave no usable answer. Say what the scan is with --from.")
        parts, start = {}, 0
        for answer, width in OUTPUTS.items():
            parts[answer] = row[start : start + width].astype(float)
            start += width
        return Answers(
            kind=dict(zip(KINDS, _softmax(parts["kind"]))),
            head=_logistic(parts["head"][0]),
            stripped=_logistic(parts["stripped"][0]),
            defaced=_logistic(parts["defaced"][0]),
            up=tuple(_softmax(parts["up"])),
            front=tuple(_softmax(parts["front"])),
            cut=tuple(_logistic(value) for value in parts["cut"]),
            brain=float(parts["brain"][0]),
            distance=float(parts["distance"][0]),
        )


@lru_cache(maxsize=4)
def open_network(folder: Path) -> Network:
    """The network in a folder; the same one when asked again."""
    return Network(folder)


def _softmax(values: np.ndarray) -> list[float]:
    powers = np.exp(values - values.max())
    return [float(power) for power in powers / powers.sum()]


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))
