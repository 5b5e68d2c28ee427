"""Cases to measure on: scans of a person or a simulated head that nobody trained on, with what is known of the place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.grid import grid_differences
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.cases import PackedCase, complete_cases
from training.data.images import onto
from training.data.scale import TARGET_SCALE, source_ops

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)
"""Of an image that lies in its case's common space; never changed."""


@dataclass(frozen=True)
class Placed:
    """An image and where it lies: `transform` maps points of the case's common space to points of the image, in mm."""

    image: sitk.Image
    transform: sitk.Transform = IDENTITY

    def on(self, grid: "Placed", *, labels: bool = False, outside: float = 0.0) -> sitk.Image:
        """This image on the grid of another one, see `data.images.onto`; labels by the nearest voxel."""
        if self.transform is grid.transform and not grid_differences(grid.image, self.image):
            return self.image
        way = sitk.CompositeTransform([self.transform, grid.transform.GetInverse()])  # the last is applied first
        return onto(grid.image, self.image, way, mask=labels, outside=outside)

    def covers(self, grid: "Placed") -> sitk.Image:
        """Where on another grid this image has a voxel: a mask, uint8."""
        ones = sitk.Image(self.image.GetSize(), sitk.sitkUInt8) + 1
        ones.CopyInformation(self.image)
        return Placed(ones, self.transform).on(grid, labels=True)


@dataclass(frozen=True)
class TestCase:
    """A person or simulated head. `scans` may go into a model, `truths` are what should come out, by modality.

    They are the same images where a person was scanned. A simulated head is scanned twice: a scan has some protocol of its
    modality, a truth the standard one. `regions` holds codes of `data.regions.Region`.
    """

    __test__ = False  # not a test of pytest's

    name: str
    scans: Mapping[Modality, Placed]
    truths: Mapping[Modality, Placed]
    regions: Placed | None
    """None where nobody knows where the brain is."""
    real: bool
    """A person, not a simulated head."""
    whole_head: bool
    """Not stripped down to the brain."""
    person: str = ""
    """Whom it shows, as the split names people; empty: nobody else is in any other case."""


def packed_cases(folder: Path, most: int | None = None) -> Iterator[TestCase]:
    """The packed cases in a folder; at most so many, evenly picked. Raises ConfigError where there is none."""
    found = list(complete_cases(folder))
    if not found:
        raise ConfigError(f"There is no packed case in {folder}. Run `python -m training simulate` or `qc` first.")
    for case in evenly(found, most):
        yield from_packed(case)


def evenly(things: Sequence[Any], most: int | None) -> list[Any]:
    """At most so many of them, evenly picked, the first and the last among them."""
    if most is None or len(things) <= most:
        return list(things)
    return [things[round(place)] for place in np.linspace(0, len(things) - 1, most)]


def from_packed(case: PackedCase) -> TestCase:
    """A packed case as images: RAS, its sources in the units of a scan."""
    spacing = tuple(float(step) for step in reversed(case.about["spacing"]))

    def image(array: NDArray[np.generic]) -> Placed:
        kind = np.uint8 if array.dtype == np.uint8 else np.float32
        placed = sitk.GetImageFromArray(np.asarray(array).astype(kind))
        placed.SetSpacing(spacing)
        placed.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])  # RAS; SimpleITK's world is LPS
        return Placed(placed)

    return TestCase(
        name=case.name,
        scans={name: image(as_scanned(array, name)) for name, array in case.sources.items()},
        truths={name: image(np.float32(TARGET_SCALE[name]) * array) for name, array in case.targets.items()},
        regions=image(np.asarray(case.region)),
        real=case.about["origin"] != "simulated",
        whole_head=bool(case.about["whole_head"]),
        person=case.person,
    )


def as_scanned(array: NDArray[np.float16], modality: Modality) -> NDArray[np.float32]:
    """A source on the network's scale, back in the units of a scan: HU for CT; an MR has no units and stays.

    The engine scales a packed MR once more by its percentiles, which changes nothing, as both ends are there already.
    """
    values: NDArray[Any] = np.asarray(array, np.float32)
    for op in reversed(source_ops(modality)):
        if op.op == "linear":
            values = (values - op.offset) / op.scale
        elif op.op == "power":
            values = np.sign(values) * np.abs(values) ** (1 / op.exponent)
    return values.astype(np.float32)
