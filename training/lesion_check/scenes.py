"""Packed simulated cases as the lesion check meets them: a scan of any protocol, and a faultless synthetic one beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.cases import PackedCase, complete_cases, require_fine
from training.data.scale import TARGET_SCALE
from training.evaluation.cases import as_scanned
from training.evaluation.settings import LesionSettings
from training.lesion_check.plant import Head, Volume

LEAST_BRAIN_ML = 30.0
"""A slab that shows less of the brain is left out."""
RIGHT_TO_LEFT = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
_STRENGTHS: Mapping[Modality, tuple[float, float]] = {
    Modality.T1: (0.12, 0.5),
    Modality.T1CE: (0.12, 0.5),
    Modality.T2: (0.12, 0.5),
    Modality.FLAIR: (0.12, 0.5),
    Modality.CT: (6.0, 30.0),
}
"""How strong a planted lesion is: of the brain's range of values, on CT in HU."""
_DARK = {Modality.T1}
_EITHER = {Modality.CT, Modality.T1CE}
_REVERSED = 0.12
"""Share of lesions of the other sign than usual."""


@dataclass(frozen=True)
class Scene:
    """A simulated head, its scans and its faultless synthetic ones, on cubic voxels."""

    name: str
    head: Head
    scans: Mapping[Modality, Volume]
    truths: Mapping[Modality, Volume]


HELD_BACK = 0.25
"""Share of the people of a folder that thresholds are found on, and nothing is fitted to."""


def scenes(
    folders: Sequence[Path], step: float, rng: np.random.Generator, held_back: bool | None = None
) -> Iterator[Scene]:
    """Every packed case with enough of a brain, in random order. `step` is 1 or a multiple, mm.

    `held_back` takes only the last quarter of the people, or only the others. Raises ConfigError where there is no case.
    """
    cases = [case for folder in folders for case in map(require_fine, complete_cases(folder)) if _shows_brain(case)]
    if held_back is not None:
        people = sorted({case.person for case in cases})
        last = set(people[round((1 - HELD_BACK) * len(people)) :])
        cases = [case for case in cases if (case.person in last) == held_back]
    if not cases:
        raise ConfigError(
            f"There is no packed case with a brain in {', '.join(map(str, folders))}. Run `simulate` first."
        )
    for number in rng.permutation(len(cases)):
        yield read_scene(cases[number], step)


def read_scene(case: PackedCase, step: float) -> Scene:
    """A case on voxels of `step` mm; volumes as means, regions and tissues as the nearest."""
    n = round(step)
    size = [length // n * n for length in case.shape]
    assert case.tissue is not None

    def thinned(array: NDArray[Any]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(array[: size[0] : n, : size[1] : n, : size[2] : n])

    def mean(array: NDArray[Any]) -> Volume:
        part = np.asarray(array[: size[0], : size[1], : size[2]], np.float32)
        z, y, x = (length // n for length in size)
        result: Volume = part.reshape(z, n, y, n, x, n).mean((1, 3, 5))
        return result

    head = Head(thinned(case.region), thinned(case.tissue), float(n))
    scans = {m: mean(as_scanned(array, m)) for m, array in case.sources.items()}
    truths = {m: mean(array) * np.float32(TARGET_SCALE[m]) for m, array in case.targets.items()}
    return Scene(case.name, head, scans, truths)


def image(volume: Volume, step: float) -> sitk.Image:
    """A volume of a scene as the engine takes it."""
    result = sitk.GetImageFromArray(np.ascontiguousarray(volume))
    result.SetSpacing([step] * 3)
    result.SetDirection(RIGHT_TO_LEFT)
    return result


def brain_range(volume: Volume, head: Head) -> float:
    """From the 0.5 to the 99.5 percentile of the brain."""
    low, high = np.percentile(volume[head.brain], (0.5, 99.5))
    return float(high - low)


def visible(volume: Volume, head: Head, kind: Modality) -> float:
    """Least contrast with which a scan shows a lesion: as `evaluate` has it, of the scaled range or in HU."""
    settings = LesionSettings()
    return settings.visible_hu if kind is Modality.CT else settings.visible * brain_range(volume, head)


def strength(volume: Volume, head: Head, kind: Modality, rng: np.random.Generator) -> float:
    """A contrast for a lesion to plant, in the volume's scale; never below what counts as visible."""
    low, high = _STRENGTHS[kind]
    size = float(rng.uniform(low, high)) * (1 if kind is Modality.CT else brain_range(volume, head))
    sign = float(rng.choice((-1, 1))) if kind in _EITHER else -1.0 if kind in _DARK else 1.0
    return -sign * size if rng.random() < _REVERSED and kind not in _EITHER else sign * size


def _shows_brain(case: PackedCase) -> bool:
    if case.tissue is None:
        return False
    thin = np.asarray(case.region[::4, ::4, ::4])
    return Head(thin, thin, 4.0).ml(np.count_nonzero(Head(thin, thin, 4.0).brain)) >= LEAST_BRAIN_ML
