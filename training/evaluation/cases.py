"""The people and heads that nobody trained on, each with the real answer on the grid of its source."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from training.data.cases import complete_cases
from training.data.pairs import longitudinal_on_native, mni_pair
from training.data.regions import Region
from training.data.split import Split


@dataclass(frozen=True)
class TestCase:
    """`source`, `target`, `brain` and `lesions` (or None) lie on one grid; `real` says that it is a person."""

    name: str
    source: sitk.Image
    target: sitk.Image
    brain: sitk.Image
    lesions: sitk.Image | None
    real: bool


def _image(array: np.ndarray, kind: int = sitk.sitkFloat32) -> sitk.Image:
    """An array (z, y, x), RAS, 1 mm, as an image; SimpleITK's world is LPS."""
    image = sitk.Cast(sitk.GetImageFromArray(np.asarray(array, np.float32)), kind)
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    return image


def simulated_cases(folder: Path) -> Iterator[TestCase]:
    """Packed simulated cases."""
    for case in complete_cases(folder):
        region = np.asarray(case.region)
        lesions = _image(region == Region.LESION, sitk.sitkUInt8) if (region == Region.LESION).any() else None
        brain = _image(region >= Region.BRAIN, sitk.sitkUInt8)
        yield TestCase(f"simulated {case.name}", _image(case.source), _image(case.target), brain, lesions, False)


def longitudinal_cases(split: Split, folder: Path) -> Iterator[TestCase]:
    """The test part of the longitudinal set, on the stored grid of the T1: thick slices."""
    for person, studies in split.longitudinal.test.items():
        for study in studies:
            pair = longitudinal_on_native(folder / f"patient{person}", study)
            yield TestCase(f"real {pair.name}", pair.source, pair.target, pair.brain, pair.lesions, True)


def mni_cases(split: Split, folder: Path) -> Iterator[TestCase]:
    """The test part of the set in MNI space: stripped, 1 mm."""
    for person in split.mni.test:
        pair = mni_pair(folder / f"patient{person}")
        yield TestCase(f"real {pair.name}", pair.source, pair.target, pair.brain, pair.lesions, True)
