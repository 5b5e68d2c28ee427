"""The real scans at hand, each with what it is and whom it shows; and examples of those that may be learnt from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.geometry import reorientation
from modality_conversion.image_io import read_image
from modality_conversion.modality import Modality
from modality_conversion.recognise_input import AXES, SPACING, look, view
from modality_conversion.resampling import new_length, resample_axis
from training.data.layouts.lesjak import (
    FlairSource,
    LongitudinalSource,
    MniSource,
    find_flair,
    find_longitudinal,
    find_mni,
)
from training.data.split import Part, Split
from training.recognise.answers import Truth
from training.recognise.augment import Example, shading

_ALL = (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD)


@dataclass(frozen=True)
class RealScan:
    """One file."""

    path: Path
    kind: Modality
    person: str
    """Group and name, as the split has them."""
    whole: bool
    """Whether the skull is there."""

    @property
    def truth(self) -> Truth:
        """What is known of it; nothing of its field of view."""
        return Truth(self.kind.value, head=True, stripped=not self.whole)


def real_scans(data: Path) -> Iterator[RealScan]:
    """Every scan of the folders that are there."""
    if (folder := data / "ms_longitudinal").is_dir():
        for case in find_longitudinal(LongitudinalSource(folder=folder, modalities=_ALL)):
            yield from (RealScan(path, kind, case.person, True) for kind, path in case.scans.items())
    if (folder := data / "ms_mni").is_dir():
        for case in find_mni(MniSource(folder=folder, modalities=_ALL)):
            yield from (RealScan(path, kind, case.person, False) for kind, path in case.scans.items())
    if (folder := data / "ms_flair").is_dir():
        for case in find_flair(FlairSource(folder=folder, modalities=_ALL)):
            yield from (RealScan(path, kind, case.person, True) for kind, path in case.scans.items())


def scans_of(data: Path, split: Split, part: Part) -> list[RealScan]:
    """The scans of people of a part of the split; people whom it does not name are in none."""
    return [scan for scan in real_scans(data) if split.knows(scan.person) and split.part_of(scan.person) == part]


def scans_of_others(data: Path, split: Split) -> list[RealScan]:
    """The scans of people whom the split does not name: not learnt from, not tested on."""
    return [scan for scan in real_scans(data) if not split.knows(scan.person)]


def as_scanned(scans: Iterable[RealScan]) -> list[Example]:
    """The scans as the network sees them."""
    return [Example(view(read_image(scan.path)), scan.truth) for scan in scans]


def varied(scan: RealScan, count: int, rng: np.random.Generator) -> Iterator[Example]:
    """The scan with other curves, shading and noise, and without some of its slices."""
    volume = on_coarse_grid(read_image(scan.path))
    low, high = float(np.percentile(volume, 0.5)), float(np.percentile(volume, 99.8))
    volume = np.clip((volume - low) / max(high - low, 1e-6), 0, 1.2).astype(np.float32)
    for _ in range(count):
        changed = volume ** np.float32(np.exp(rng.normal(0, 0.15)))
        changed = changed * shading(changed.shape, rng.uniform(0, 0.25), rng)
        changed = changed + rng.normal(0, rng.uniform(0, 0.02), changed.shape).astype(np.float32) * (volume > 0)
        box = []
        for n in changed.shape:
            cut = (rng.random(2) < 0.35) * rng.uniform(0, 0.2, 2)
            box.append(slice(int(cut[0] * n), n - int(cut[1] * n)))
        yield Example(look(changed[tuple(box)], (SPACING,) * 3), scan.truth)


def on_coarse_grid(image: sitk.Image) -> NDArray[np.float32]:
    """The voxels (z, y, x) on 3 mm, oriented as the network sees them."""
    reorient = reorientation(image.GetDirection(), AXES)
    array = reorient.forward(sitk.GetArrayViewFromImage(image)).astype(np.float32)
    for axis, stored in enumerate(reorient.order):
        scale = SPACING / image.GetSpacing()[2 - stored]
        count = new_length(array.shape[axis], scale)
        array = resample_axis(array, axis, count, scale, "area" if scale > 1 else "linear")
    return array
