"""Scans as hospitals and tools also make them, made of one that is in order: each a plain change of one thing."""

from collections.abc import Callable, Mapping

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.grid import on_grid_of
from modality_conversion.modality import Modality
from training.data.images import nothing

Change = Callable[[sitk.Image, Modality], sitk.Image]
"""A scan whose axes run to the right, front and top (RAS), and what it is; gives another scan of the same person."""
SEED = 2026


def _values(image: sitk.Image) -> NDArray[np.float32]:
    """(z, y, x)."""
    array: NDArray[np.float32] = sitk.GetArrayFromImage(image).astype(np.float32)
    return array


def _shrink(image: sitk.Image, thickness: tuple[float, float, float]) -> sitk.Image:
    """Neighbouring voxels averaged up to about these sizes in mm, (x, y, z)."""
    factors = [max(1, round(wanted / step)) for wanted, step in zip(thickness, image.GetSpacing(), strict=True)]
    return sitk.BinShrink(image, factors)


def _thick(image: sitk.Image, _: Modality) -> sitk.Image:
    return _shrink(image, (0, 0, 4))


def _sagittal(image: sitk.Image, _: Modality) -> sitk.Image:
    """Slices of 4 mm from side to side, stored slice by slice."""
    return sitk.PermuteAxes(_shrink(image, (4, 0, 0)), (1, 2, 0))


def _coronal(image: sitk.Image, _: Modality) -> sitk.Image:
    return sitk.PermuteAxes(_shrink(image, (0, 3, 0)), (0, 2, 1))


def _half(image: sitk.Image, _: Modality) -> sitk.Image:
    """The right half, from the middle of the field of view on."""
    return image[image.GetSize()[0] // 2 :, :, :]


def _few(image: sitk.Image, _: Modality) -> sitk.Image:
    """A stack of 30 mm through the middle."""
    middle, half = image.GetSize()[2] // 2, max(2, round(15 / image.GetSpacing()[2]))
    return image[:, :, middle - half : middle + half]


def _shaded(image: sitk.Image, modality: Modality) -> sitk.Image:
    """Four times as bright at the back and below as in front and above."""
    if modality is Modality.CT:  # a CT has no coil: it gets streaks of the same size instead
        values = _values(image)
        y, x = np.mgrid[0 : values.shape[1], 0 : values.shape[2]]
        return on_grid_of(image, values + np.float32(25) * np.sin((x + 2 * y) / 4).astype(np.float32))
    values = _values(image)
    z, y, _ = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in values.shape), indexing="ij")
    return on_grid_of(image, values * np.exp(-0.35 * (y + z)))


def _ragged(image: sitk.Image, modality: Modality) -> sitk.Image:
    """Stripped by a tool that bites: up to 10 mm off what the scan shows, here and there."""
    values = _values(image)
    low = nothing(modality)
    shown = sitk.BinaryFillhole(
        on_grid_of(image, (values > low + 0.1 * (np.percentile(values, 98) - low)).astype("u1"))
    )
    inside = -_values(sitk.SignedMaurerDistanceMap(shown, squaredDistance=False, useImageSpacing=True))
    noise = np.random.default_rng(SEED).standard_normal(values.shape).astype(np.float32)
    rough = _values(sitk.SmoothingRecursiveGaussian(on_grid_of(image, noise), 6.0))
    kept = inside > 3 + 4 * rough / rough.std()
    return on_grid_of(image, np.where(kept, values, np.float32(low)))


def _standardised(image: sitk.Image, modality: Modality) -> sitk.Image:
    """Mean 0 and deviation 1, as some tools leave them: half the brain is negative. A CT stays: its units are what it is."""
    values = _values(image)
    if modality is Modality.CT:
        return image
    shown = values > 0.1 * np.percentile(values, 99)
    return on_grid_of(image, (values - values[shown].mean()) / values[shown].std())


def _scaled(image: sitk.Image, modality: Modality) -> sitk.Image:
    """Multiplied by 5000 and moved up by 100; a CT as unsigned numbers without its rescale, 1024 too high, is refused by
    nobody, so it is moved by 10 HU only."""
    values = _values(image)
    return on_grid_of(image, values + 10 if modality is Modality.CT else 5000 * values + 100)


def _noisy(image: sitk.Image, modality: Modality) -> sitk.Image:
    """Rician noise of a tenth of what is bright; CT: noise of 25 HU."""
    values, rng = _values(image), np.random.default_rng(SEED)
    level = 25.0 if modality is Modality.CT else 0.1 * float(np.percentile(values, 98))
    first, second = (level * rng.standard_normal(values.shape).astype(np.float32) for _ in range(2))
    return on_grid_of(image, values + first if modality is Modality.CT else np.hypot(values + first, second))


def _oblique(image: sitk.Image, _: Modality) -> sitk.Image:
    """Stored with other axes in other directions, the patient's head turned by 15 degrees."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.15, 0.1, 0.26)
    moved = sitk.PermuteAxes(image, (2, 0, 1))[::-1, :, ::-1]
    matrix = np.array(turn.GetMatrix()).reshape(3, 3)
    moved.SetDirection((matrix @ np.array(moved.GetDirection()).reshape(3, 3)).ravel().tolist())
    moved.SetOrigin(turn.TransformPoint(moved.GetOrigin()))
    return moved


CHANGES: Mapping[str, Change] = {
    "as it is": lambda image, _: image,
    "axial slices of 4 mm": _thick,
    "sagittal slices of 4 mm": _sagittal,
    "coronal slices of 3 mm": _coronal,
    "half a head": _half,
    "30 mm of a head": _few,
    "strong shading (CT: streaks)": _shaded,
    "stripped with ragged edges": _ragged,
    "standardised, half negative": _standardised,
    "scaled and moved": _scaled,
    "noisy": _noisy,
    "turned, other axes": _oblique,
}
"""By what the picture says of it. All but the last leave the patient in place."""
