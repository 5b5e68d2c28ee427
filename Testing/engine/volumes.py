"""Volumes for tests: random grids, blobs, and geometry compared bit for bit."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from hypothesis import strategies as st


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """A rotation matrix from three angles in radians about x, y, z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


@st.composite
def grids(draw: st.DrawFn, smallest: int = 1, largest: int = 24) -> sitk.Image:
    """An empty float32 image on a random grid: oblique, left- or right-handed, permuted, flipped, anisotropic."""
    size = [draw(st.integers(smallest, largest)) for _ in range(3)]
    angles = tuple(draw(st.floats(-3.2, 3.2, allow_subnormal=False)) for _ in range(3))
    direction = rotation(angles) if draw(st.booleans()) else np.eye(3)  # type: ignore[arg-type]
    direction = direction[:, draw(st.permutations(range(3)))] * [draw(st.sampled_from((1, -1))) for _ in range(3)]
    direction[np.abs(direction) < 1e-12] = 0  # headers in text do not keep numbers of 1e-308
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetDirection((direction + 0.0).ravel().tolist())
    image.SetSpacing([draw(st.floats(0.3, 5)) for _ in range(3)])
    image.SetOrigin([draw(st.floats(-300, 300, allow_subnormal=False)) for _ in range(3)])
    return image


def filled(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    """These voxels, (k, j, i), on the grid of `image`."""
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def noise(image: sitk.Image, seed: int = 0, dtype: type = np.float32) -> sitk.Image:
    """Random values on the grid of `image`; integers up to 1000."""
    values = np.random.default_rng(seed).uniform(0, 1000, image.GetSize()[::-1])
    return filled(image, values.astype(dtype))


def blob(image: sitk.Image, centre: np.ndarray, sigma: float) -> sitk.Image:
    """A Gaussian blob about a point (mm, LPS), with the standard deviation `sigma` in mm."""
    indices = np.stack(np.meshgrid(*map(np.arange, image.GetSize()), indexing="ij"), axis=-1)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    points = indices * image.GetSpacing() @ direction.T + image.GetOrigin()
    values = np.exp(-(((points - centre) ** 2).sum(-1)) / (2 * sigma**2))
    return filled(image, values.transpose().astype(np.float32))


def centre_of_mass(image: sitk.Image) -> np.ndarray:
    """Centre of mass in mm, LPS."""
    values = sitk.GetArrayFromImage(image).astype(float)
    weights = [values.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in (2, 1, 0)]
    index = [float((w * np.arange(len(w))).sum() / w.sum()) for w in weights]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def geometry(image: sitk.Image) -> tuple:
    """Everything that places the voxels."""
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
