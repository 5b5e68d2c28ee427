"""A small head as a label map, in place of the shared ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

SIZE = 72


def small_labels() -> np.ndarray:
    """A head of nested balls, (z, y, x), RAS, 1 mm: skin, soft tissue, skull, CSF, grey and white matter, ventricle, eyes."""
    z, y, x = (axis - SIZE / 2 + 0.5 for axis in np.ogrid[:SIZE, :SIZE, :SIZE])
    radius = np.sqrt(z**2 + y**2 + x**2)
    labels = np.zeros((SIZE,) * 3, np.int16)
    for limit, label in ((34, 511), (31, 507), (28, 515), (26.5, 516), (25.5, 515), (24, 24), (21, 3), (16, 2), (6, 4)):
        labels[radius < limit] = label
    labels[(labels == 3) & (x + 0 * radius > 0)] = 42
    labels[np.sqrt((z + 8) ** 2 + (y - 29) ** 2 + (np.abs(x) - 8) ** 2) < 3.5] = 506
    return labels


def write_labels(path: Path) -> Path:
    """The small head as a file, stored in another orientation than RAS."""
    image = sitk.GetImageFromArray(small_labels().astype(np.float32))
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, "LIA"), str(path))
    return path
