"""Puts faults of a known strength into a scan, to measure what the checks find. Scans are float32, strengths relative."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.grid import on_grid_of
from modality_conversion.masks import head_otsu
from training.data.images import one_millimetre, onto
from training.data.pack import slice_axis

Rng = np.random.Generator


def _slices(image: sitk.Image, array: NDArray) -> NDArray:
    """A view with the slices' axis first."""
    return np.moveaxis(array, 2 - slice_axis(image), 0)


def _body(image: sitk.Image) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = sitk.GetArrayFromImage(head_otsu(image)) > 0
    return inside


def choose_slices(image: sitk.Image, rng: Rng, count: int = 5, fewest_cm2: float = 40.0) -> list[int]:
    """Slices with much body, to put faults into."""
    axis = slice_axis(image)
    area = np.prod([s for a, s in enumerate(image.GetSpacing()) if a != axis]) / 100
    shown = np.flatnonzero(_slices(image, _body(image)).sum((1, 2)) * area > fewest_cm2)
    return sorted(int(n) for n in rng.choice(shown, min(count, len(shown)), replace=False))


def noisy_slices(image: sitk.Image, slices: list[int], ratio: float, rng: Rng) -> sitk.Image:
    """Rician noise; its deviation is `ratio` times that of the anatomy in each slice's body."""
    array, body = sitk.GetArrayFromImage(image), _slices(image, _body(image))
    view = _slices(image, array)
    for number in slices:
        sigma = ratio * float(view[number][body[number]].std())
        real = view[number] + sigma * rng.standard_normal(view[number].shape)
        view[number] = np.hypot(real, sigma * rng.standard_normal(real.shape))
    return on_grid_of(image, array)


def small_slices(image: sitk.Image, slices: list[int], cm2: float, rng: Rng) -> sitk.Image:
    """All but a disc of the body of so many cm^2 becomes air, as it is along the picture's edge."""
    array, body = sitk.GetArrayFromImage(image), _slices(image, _body(image))
    view = _slices(image, array)
    axis = slice_axis(image)
    rows, columns = (image.GetSpacing()[a] for a in (2, 1, 0) if a != axis)
    for number in slices:
        y, x = np.nonzero(body[number])
        down = (np.arange(view.shape[1])[:, None] - y.mean()) * rows
        right = (np.arange(view.shape[2]) - x.mean()) * columns
        gone = np.hypot(down, right) > np.sqrt(cm2 * 100 / np.pi)
        edge = np.concatenate([view[number][:, :3].ravel(), view[number][:, -3:].ravel()])
        view[number][gone] = rng.choice(edge, int(gone.sum()))
    return on_grid_of(image, array)


def replicated(image: sitk.Image, strength: float, rng: Rng, slices: list[int] | None = None) -> sitk.Image:
    """A copy of the picture, `strength` times as bright, shifted by a quarter to a half of it along one axis, is added."""
    array = sitk.GetArrayFromImage(image)
    view = _slices(image, array)
    axis = int(rng.integers(1, 3))
    by = int(rng.uniform(0.25, 0.5) * view.shape[axis])
    for number in range(len(view)) if slices is None else slices:
        view[number] += strength * np.roll(view[number], by, axis - 1)
    return on_grid_of(image, array)


def ghosted(image: sitk.Image, intensity: float, rng: Rng) -> sitk.Image:
    """TorchIO's ghosting: lines of k-space scaled, in 4 to 8 ghosts, along one axis of the slices' plane."""
    import torch
    import torchio

    torch.manual_seed(int(rng.integers(2**31)))
    plane = [axis for axis in range(3) if axis != slice_axis(image)]
    fault = torchio.RandomGhosting(
        num_ghosts=(4, 8), axes=(int(rng.choice(plane)),), intensity=(intensity, intensity), restore=0.02
    )
    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)[None].copy()
    changed = fault(torchio.ScalarImage(tensor=torch.from_numpy(array))).data.numpy()[0]
    # A scanner shows magnitudes; TorchIO gives the real part, whose ghosts may be negative.
    return on_grid_of(image, np.abs(changed.transpose(2, 1, 0)).astype(np.float32))


def noisy_air(image: sitk.Image, strength: float, rng: Rng) -> sitk.Image:
    """Noise outside the body alone, its deviation `strength` times the body's median."""
    array, body = sitk.GetArrayFromImage(image), _body(image)
    sigma = strength * float(np.median(array[body]))
    noise = np.abs(sigma * rng.standard_normal(array.shape)).astype(np.float32) / 0.6  # |x| deviates by 0.6
    return on_grid_of(image, np.where(body, array, array + noise).astype(np.float32))


def copies(image: sitk.Image, rng: Rng) -> dict[str, sitk.Image]:
    """The same scan as it comes twice into a collection."""
    array = sitk.GetArrayFromImage(image)
    size = image.GetSize()
    eight = np.round(np.clip(array / np.percentile(array, 99.9), 0, 1) ** 0.7 * 255).astype(np.float32)
    level = float(np.median(array[_body(image)]))
    noise = array + 0.05 * level * rng.standard_normal(array.shape).astype(np.float32)
    moved = sitk.Image(image)
    moved.SetOrigin((11.0, -7.0, 3.0))
    cut = [max(1, n // 20) for n in size]
    return {
        "other units": image * 3.7 + 11,
        "8 bits, other window": on_grid_of(image, eight),
        "other orientation, other origin": sitk.DICOMOrient(moved, "LPI"),
        "resampled to 1 mm": onto(one_millimetre(image), image),
        "5 % noise added": on_grid_of(image, noise),
        "5 % cut off each side": image[cut[0] : -cut[0], cut[1] : -cut[1], cut[2] : -cut[2]],
    }


def moved(image: sitk.Image, millimetres: float, degrees: float, rng: Rng) -> sitk.Transform:
    """A shift and a turn about the scan's middle in random directions."""
    step = sitk.Euler3DTransform()
    step.SetCenter(image.TransformContinuousIndexToPhysicalPoint([n / 2 for n in image.GetSize()]))
    shift, axis = rng.standard_normal((2, 3))
    step.SetTranslation((millimetres * shift / np.linalg.norm(shift)).tolist())
    step.SetRotation(*(np.deg2rad(degrees) * axis / np.linalg.norm(axis)).tolist())
    return step
