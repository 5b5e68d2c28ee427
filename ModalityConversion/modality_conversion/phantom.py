"""A head-like volume made of ellipsoids, for benchmarks and checks that must not depend on anyone's scan."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

# Semi-axes as shares of half the field of view (x, y, z), centre likewise, and T1-like intensity; later ones paint over.
_ELLIPSOIDS = (
    ((0.90, 0.92, 0.94), (0.00, 0.00, 0.00), 620),  # scalp
    ((0.84, 0.87, 0.89), (0.00, 0.00, 0.00), 90),  # skull
    ((0.78, 0.82, 0.84), (0.00, 0.00, 0.00), 160),  # cerebrospinal fluid
    ((0.75, 0.79, 0.81), (0.00, 0.00, 0.00), 430),  # grey matter
    ((0.62, 0.67, 0.66), (0.00, 0.00, 0.00), 610),  # white matter
    ((0.10, 0.30, 0.22), (-0.14, 0.05, 0.08), 160),  # ventricles
    ((0.10, 0.30, 0.22), (0.14, 0.05, 0.08), 160),
    ((0.12, 0.12, 0.14), (-0.24, -0.02, -0.10), 480),  # deep grey matter
    ((0.12, 0.12, 0.14), (0.24, -0.02, -0.10), 480),
)


def head_phantom(size: tuple[int, int, int] = (192, 224, 160), spacing: float = 1.0, seed: int = 0) -> sitk.Image:
    """A T1-like head with noise: float32, `size` voxels (i, j, k) with sides of `spacing` mm, identity direction."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in size]
    x, y, z = axes[0], axes[1][:, None], axes[2][:, None, None]
    volume = np.zeros(size[::-1], dtype=np.float32)
    for (a, b, c), (u, v, w), value in _ELLIPSOIDS:
        volume[((x - u) / a) ** 2 + ((y - v) / b) ** 2 + ((z - w) / c) ** 2 < 1] = value
    noise = np.random.default_rng(seed).normal(0, 12, (2, *volume.shape)).astype(np.float32)
    image = sitk.GetImageFromArray(np.hypot(volume + noise[0], noise[1]))  # Rician, as in a magnitude image
    image.SetSpacing([spacing] * 3)
    return image
