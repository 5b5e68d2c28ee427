"""Whole simulated scans in files' clothes: on a scanner's own grid, in any orientation, in any unit, to be recognised.

They are made by the full simulation of the conversion models (`training.simulation.case`), which the recogniser's training
does not use for its scanners, fields of view and stripping.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.data.cases import complete_cases, require_fine
from training.data.scale import CT_CENTRE, CT_RANGE
from training.data.split import Part, read_split
from training.recognise.settings import HeadSettings
from training.simulation.anatomy import head_from_labels, read_labels
from training.simulation.case import simulate
from training.simulation.pack import label_maps, person_of
from training.simulation.settings import SIMULATED, CaseSettings

AXES = ("RAS", "LPS", "LAS", "ASR", "PIR", "SRA", "IPL", "RSP")
"""Orders in which scanners and converters store the axes."""


@dataclass(frozen=True)
class SimulatedScan:
    """One scan."""

    image: sitk.Image
    kind: Modality
    person: str
    stripped: bool


def hounsfield(scaled: NDArray[np.floating]) -> NDArray[np.float32]:
    """HU from a CT on the network's input scale (`data.scale.CT_SOURCE_OPS`, backwards)."""
    low, high = (np.sign(v) * np.abs(v) ** 0.5 for v in ((edge - CT_CENTRE) / 1000 for edge in CT_RANGE))
    root = np.asarray(scaled, np.float64) * (high - low) + low
    return (np.sign(root) * root**2 * 1000 + CT_CENTRE).astype(np.float32)


def as_image(volume: NDArray[np.floating], rng: np.random.Generator) -> sitk.Image:
    """Voxels (z, y, x) of 1 mm toward superior, anterior and right, as a scanner might store them."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # x to the right and y to anterior, in ITK's world
    image = sitk.DICOMOrient(image, str(rng.choice(AXES)))
    angles = rng.normal(0, 0.08, 3)
    turn = sitk.Euler3DTransform((0.0, 0.0, 0.0), *map(float, angles))
    image.SetDirection(np.ravel(np.reshape(turn.GetMatrix(), (3, 3)) @ np.reshape(image.GetDirection(), (3, 3))))
    image.SetOrigin([float(place) for place in rng.uniform(-200, 200, 3)])
    if rng.random() < 0.6:  # another grid
        spacing = rng.uniform(0.5, 1.3, 3)
        if rng.random() < 0.6:
            spacing[int(rng.integers(3))] = rng.uniform(2, 6)
        size = [max(3, round(n / side)) for n, side in zip(image.GetSize(), spacing)]
        lowest = float(np.min(volume))
        image = sitk.Resample(
            image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), list(map(float, spacing)),
            image.GetDirection(), lowest,
        )  # fmt: skip
    return image


def in_units(volume: NDArray[np.floating], kind: Modality, rng: np.random.Generator) -> NDArray[np.float32]:
    """A scan on the network's input scale in HU, or in the units of some MR scanner."""
    if kind is Modality.CT:
        return hounsfield(volume)
    return (np.asarray(volume, np.float32) * float(np.exp(rng.uniform(np.log(0.5), np.log(5000))))).astype(np.float32)


def packed_scans(folder: Path, seed: int = 11) -> Iterator[SimulatedScan]:
    """Every source of every packed case of a folder."""
    for case in map(require_fine, complete_cases(folder)):
        rng = np.random.default_rng([seed, *case.name.encode()])
        for kind, volume in case.sources.items():
            image = as_image(in_units(np.asarray(volume, np.float32), kind, rng), rng)
            yield SimulatedScan(image, kind, case.person, not case.about["whole_head"])


def simulated_scans(settings: HeadSettings, part: Part, count: int) -> Iterator[SimulatedScan]:
    """Every kind of scan of `count` people of each label map of a part."""
    torch.set_num_threads(1)
    split = read_split()
    case_settings = CaseSettings(sources=SIMULATED, targets=(Modality.T1,))
    for path in label_maps(settings.labels):
        if split.part_of(person_of(path)) != part:
            continue
        original = head_from_labels(read_labels(path))
        for index in range(count):
            rng = np.random.default_rng([settings.seed, *path.name.encode(), 7, index])
            case = simulate(original, case_settings, rng)
            for kind, volume in case.sources.items():
                image = as_image(in_units(volume, kind, rng), rng)
                yield SimulatedScan(image, kind, person_of(path), not case.about["whole_head"])
