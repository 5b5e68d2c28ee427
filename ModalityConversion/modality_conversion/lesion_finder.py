"""A crude finder of places where a real and a synthetic scan disagree as they would about a lesion. It needs no model.

Each voxel's features (`lesion_features`) go into a small discriminant of two hidden layers, a few thousand numbers fitted on
simulated heads with planted faults (`training.lesion_check`). It finds a small part of them (`about` in its file has the
figures), so its word is never more than "look here": outlines by a person or by a model that segments say much more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .lesion_features import look
from .modality import Modality

WEIGHTS = Path(__file__).with_name("lesion_finder.json")
CLASSES = ("outside", "brain", "kept", "lost", "added")
"""What a voxel can be; the order of the discriminant's outputs."""
_ROWS = 1 << 16


@dataclass(frozen=True)
class Discriminant:
    """The numbers, as fitted."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Weights (outputs, inputs) and offsets of each layer; rectified between layers, softmax at the end."""
    threshold: dict[str, float]
    """Least probability from which something is said; of voxels the peak of a place to look at, `lost` and `added`."""
    about: dict[str, object]
    """How it was fitted and what it was measured to find."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, `CLASSES` of voxels, float32 (rows, classes), of features (rows, n)."""
        result = np.empty((len(features), len(self.layers[-1][1])), np.float32)
        for start in range(0, len(features), _ROWS):
            rows = features[start : start + _ROWS]
            for number, (weights, offsets) in enumerate(self.layers):
                rows = rows @ weights.T + offsets
                if number + 1 < len(self.layers):
                    np.maximum(rows, 0, out=rows)
            rows = np.exp(rows - rows.max(axis=1, keepdims=True))
            result[start : start + _ROWS] = rows / rows.sum(axis=1, keepdims=True)
        return result


@cache
def discriminant() -> Discriminant:
    """The one that comes with the program."""
    return read(WEIGHTS)


def read(path: Path) -> Discriminant:
    """The numbers in a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    layers = tuple(
        (np.array(layer["weights"], np.float32), np.array(layer["offsets"], np.float32)) for layer in content["layers"]
    )
    return Discriminant(layers, content["threshold"], content["about"])


@dataclass(frozen=True)
class Finding:
    """Probabilities of each class on the real scan's own grid, float32 (k, j, i)."""

    lost: np.ndarray
    """The real scan shows a lesion, the synthetic one does not."""
    added: np.ndarray
    """The other way round."""
    brain: np.ndarray
    """bool: where there seems to be brain, lesions included."""


def find(
    real: sitk.Image,
    synthetic: sitk.Image,
    kinds: tuple[Modality, Modality],
    zone: np.ndarray | None = None,
    by: Discriminant | None = None,
) -> Finding | None:
    """Look at a pair of scans on one grid, with finite voxels; None where there is no head or brain to look at."""
    looked = look(real, synthetic, kinds, zone)
    if looked is None:
        return None
    chances = (by or discriminant())(looked.values)
    shape = looked.inside.shape

    def volume(column: np.ndarray) -> np.ndarray:
        array = np.zeros(shape, np.float32)
        array[looked.inside] = column
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(looked.grid)
        back = sitk.Resample(image, real, sitk.Transform(), sitk.sitkLinear, 0.0)
        return sitk.GetArrayFromImage(back)

    lost, added = (volume(chances[:, CLASSES.index(name)]) for name in ("lost", "added"))
    brain = _largest(volume(1 - chances[:, 0]) > 0.5)
    return None if brain is None else Finding(lost, added, brain)


def _largest(mask: np.ndarray) -> np.ndarray | None:
    if not mask.any():
        return None
    parts = sitk.RelabelComponent(
        sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))), sortByObjectSize=True
    )
    piece: np.ndarray = sitk.GetArrayFromImage(parts) == 1
    return piece
