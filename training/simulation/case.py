"""One simulated case: from a label map and a random generator to a T1, its T2 and the map of regions."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import Settings
from training.data.regions import Region
from training.simulation import scanner
from training.simulation.anatomy import Deformation, Head, deform, distance_outside
from training.simulation.fields import Shape, gaussian_blur, smooth_field, torch_generator, white_noise
from training.simulation.labels import is_brain, tissue_codes
from training.simulation.lesions import Lesion, tumor, white_matter_lesions
from training.simulation.outside import divide_soft_tissue, face_cut, stripped_brain
from training.simulation.protocols import TARGET_FIELD, random_t1, standard_t2
from training.simulation.signals import Sequence
from training.simulation.tissues import AIR, CODE, OUTSIDE_BRAIN, TissueValues, draw_deviations, values


class CaseSettings(Settings):
    """How often things happen to a simulated head, and how strongly."""

    stripped: float = 0.45
    """Fraction of cases with the skull stripped: background exactly 0."""
    defaced: float = 0.35
    """Fraction of the whole heads whose face is cut away."""
    thick: float = 0.5
    """Fraction of cases with slices of `thickness` mm; the rest is isotropic, 1 mm."""
    thickness: tuple[float, float] = (2.5, 5.0)
    """Thickness of thick slices in mm."""
    lesions: float = 0.7
    """Fraction of cases with small white matter lesions."""
    tumor: float = 0.25
    """Fraction of cases with a tumor-like mass."""
    noise: tuple[float, float] = (0.0, 0.06)
    """Deviation of the Rician noise of the source, as a fraction of its brain's median."""
    bias: tuple[float, float] = (0.0, 0.25)
    """Strength of the source's bias field (see `scanner.bias_field`)."""
    blur: tuple[float, float] = (0.45, 0.9)
    """Deviation in mm of the blur that makes partial volume; the same for source and target."""


@dataclass(frozen=True)
class Case:
    """`source` and `target`: signals in arbitrary units, (z, y, x) float32; `region`: see `data.regions`."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    region: NDArray[np.uint8]


def _texture(shape: Shape, rng: np.random.Generator) -> Tensor:
    """How water content varies within a tissue: slow, medium and fine parts, deviation about 1."""
    generator = torch_generator(rng)
    slow = smooth_field(shape, rng.uniform(25, 60), generator)[0]
    medium = smooth_field(shape, rng.uniform(5, 10), generator)[0]
    fine = gaussian_blur(white_noise(shape, generator), 0.8)
    fine /= fine.std()
    amounts = rng.uniform(0.2, 1.0, 3)
    amounts /= np.linalg.norm(amounts)
    return amounts[0] * slow + amounts[1] * medium + amounts[2] * fine


def _signal(
    sequence: Sequence, tissues: NDArray[np.uint8], table: TissueValues, texture: Tensor, lesions: list[Lesion]
) -> Tensor:
    """The noiseless signal at every voxel; watery places have longer T1 and T2 and more protons."""
    water = texture.numpy()
    maps = [(getattr(table, name)[tissues]) * np.exp(gain * water) for name, gain in _WATER_GAIN.items()]
    for lesion in lesions:
        touched = (lesion.weight > 0) & (tissues != CODE[AIR])
        weight = lesion.weight[touched] * min(lesion.strength, 1.2)
        for name, field in zip(_WATER_GAIN, maps, strict=True):
            aim = getattr(table, name)[CODE[lesion.tissue]]
            field[touched] = field[touched] * (aim / field[touched]) ** weight
    return torch.from_numpy(sequence(*maps).astype(np.float32))


_WATER_GAIN = {"pd": 0.015, "t1": 0.05, "t2": 0.04}
"""Relative change of each parameter for one deviation of the texture (estimates; white matter varies by about 5 %)."""


def _vary_outside(table: TissueValues, rng: np.random.Generator) -> None:
    """Fat suppression, coil sensitivity, flow: outside the brain a source may be far from the table. In place."""
    for name in OUTSIDE_BRAIN:
        table.pd[CODE[name]] *= rng.uniform(0.6, 1.15)
    fat_suppressed = rng.random() < 0.25
    if fat_suppressed:
        table.pd[[CODE["fat"], CODE["marrow"]]] *= rng.uniform(0.1, 0.6)
    table.pd[CODE["blood"]] *= rng.uniform(0.3, 2.2)


def _slices(
    settings: CaseSettings, shape: Shape, rng: np.random.Generator
) -> tuple[int, NDArray[np.float32], NDArray[np.float32]] | None:
    """Axis, averaging and interpolating matrix of thick slices, or None; mostly axial."""
    if rng.random() >= settings.thick:
        return None
    axis = int(rng.choice(3, p=[0.7, 0.15, 0.15]))
    thickness = rng.uniform(*settings.thickness)
    average, interpolate = scanner.slice_matrices(shape[axis], thickness, rng.uniform(0, thickness))
    return axis, average, interpolate


def simulate(original: Head, settings: CaseSettings, rng: np.random.Generator) -> Case:
    """Deform a head, fill it with tissue, lesions and texture, and scan it twice."""
    head = deform(original, Deformation(), rng)
    shape: Shape = head.labels.shape
    brain = is_brain(head.labels)
    tissues = divide_soft_tissue(tissue_codes(head.labels), head, rng)

    lesions: list[Lesion] = []
    if rng.random() < settings.lesions:
        ventricles = np.isin(head.labels, (4, 43))
        lesions.append(white_matter_lesions(tissues, distance_outside(ventricles), rng))
    if rng.random() < settings.tumor:
        lesions.extend(tumor(tissues, brain, rng))

    deviations = draw_deviations(rng)
    texture = _texture(shape, rng) * float(rng.uniform(0.3, 1.3))
    source_table = values(1.5 if rng.random() < 0.5 else TARGET_FIELD, deviations, scale=1.6)
    target_table = values(TARGET_FIELD, deviations, scale=0.5, turbo=True)
    _vary_outside(source_table, rng)
    source = _signal(random_t1(rng), tissues, source_table, texture, lesions)
    target = _signal(standard_t2(), tissues, target_table, texture, lesions)

    blur = float(rng.uniform(*settings.blur))
    source, target = gaussian_blur(source, blur), gaussian_blur(target, blur)
    source *= scanner.bias_field(shape, float(rng.uniform(*settings.bias)), rng)

    noise = float(rng.uniform(*settings.noise)) * float(source[torch.from_numpy(brain)].median())
    slices = _slices(settings, shape, rng)
    if slices is None:
        source = scanner.rician(source, noise, rng)
    else:
        axis, average, interpolate = slices
        target = scanner.along(interpolate @ average, target, axis)
        thick = scanner.rician(scanner.along(average, source, axis), noise, rng)
        source = scanner.along(interpolate, thick, axis)

    kept = np.ones(shape, bool)
    if rng.random() < settings.stripped:
        kept = stripped_brain(head, rng)
    elif rng.random() < settings.defaced:
        kept = face_cut(head, rng)
    region = np.where(head.labels > 0, Region.HEAD, Region.BACKGROUND).astype(np.uint8)
    region[brain | (head.labels > 0) & (head.labels < 500)] = Region.BRAIN
    for lesion in lesions:
        region[(lesion.weight > 0.3) & (region == Region.BRAIN)] = Region.LESION
    region[~kept] = Region.BACKGROUND
    return Case(source.numpy() * kept, target.numpy() * kept, region)
