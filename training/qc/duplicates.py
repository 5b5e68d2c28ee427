"""The same scan twice, also under another name, header, scale, window, orientation or format; and a slice that is repeated."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.stats import rankdata

from training.data.images import one_millimetre, onto
from training.qc.look import Look

SIDE = 2.0
"""mm; the grid of the comparison."""
SIZE = 72
"""Voxels of the box around the body's middle, along each axis; a multiple of 8."""
ALIKE = 0.85
"""Correlation of the coarse structure below which two scans are not compared further."""


@dataclass(frozen=True)
class Print:
    """`fine`: the fine structure of the middle of a body, as ranks; two scans of one person do not share it, copies do.

    `coarse`: the ranks of (SIZE / 8)^3 blocks, for a quick look first; `spectrum`: the Fourier transform of `fine`.
    """

    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]
    spectrum: NDArray[np.complex64]

    def likeness(self, other: "Print") -> float:
        """Correlation of two fine structures where they fit best, to a part of a voxel: 1 for a copy."""
        if float(self.coarse @ other.coarse) < ALIKE:
            return 0.0
        score = fft.irfftn(self.spectrum * np.conj(other.spectrum), self.fine.shape)
        reach = np.array(np.unravel_index(np.argmax(score), score.shape))
        shift = []
        for axis, place in enumerate(reach):
            at = [np.array(reach), np.array(reach), np.array(reach)]
            at[0][axis], at[2][axis] = (place - 1) % SIZE, (place + 1) % SIZE
            low, middle, high = (float(score[tuple(i)]) for i in at)
            part = 0.5 * (low - high) / (low - 2 * middle + high) if low + high < 2 * middle else 0.0
            shift.append((place if place < SIZE / 2 else place - SIZE) + part)
        moved = ndimage.shift(other.fine, shift, order=3) if max(map(abs, shift)) > 0.05 else other.fine
        both = (self.fine != 0) & (np.abs(moved) > 1e-6)
        if both.sum() < 0.25 * max((self.fine != 0).sum(), 1):
            return 0.0
        a, b = self.fine[both], moved[both]
        return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def fingerprint(scan: Look) -> Print:
    """The print of a scan: on 2 mm, RAS, around the middle of its body."""
    image = sitk.DICOMOrient(scan.image, "RAS")
    grid = one_millimetre(image, SIDE)
    values = sitk.GetArrayFromImage(onto(grid, image))
    inside = values > 0.25 * _bright(values)
    middle = [round(float(np.average(np.arange(n), weights=_profile(inside, a)))) for a, n in enumerate(values.shape)]
    pads = [(SIZE // 2, SIZE // 2)] * 3
    values, inside = np.pad(values, pads), np.pad(inside, pads)
    box = tuple(slice(m, m + SIZE) for m in middle)
    values, inside = values[box], inside[box]
    ranks = np.zeros_like(values)
    # Ranks are the same under any window that keeps the order.
    ranks[inside] = rankdata(values[inside]).astype(np.float32) / max(int(inside.sum()), 1)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), 1.5)
    fine = np.where(inside, ranks - ndimage.gaussian_filter(ranks, 1.5) / np.maximum(weight, 1e-3), 0)
    fine = fine.astype(np.float32)
    blocks = ranks.reshape(*[n for _ in range(3) for n in (SIZE // 8, 8)]).mean((1, 3, 5)).ravel()
    blocks = blocks - blocks.mean()
    return Print(fine, blocks / max(float(np.linalg.norm(blocks)), 1e-6), fft.rfftn(fine))


def _bright(values: NDArray[np.float32]) -> float:
    """The median of what is brighter than the mean."""
    above = values[values > values.mean()]
    return float(np.median(above)) if above.size else 0.0


def _profile(inside: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    return inside.sum(tuple(a for a in range(3) if a != axis)) + 1e-9


def repeated(scan: Look) -> list[int]:
    """Slices that are the same, up to rounding, as the one before them."""
    found = []
    for index in range(1, len(scan.slices)):
        before, after = scan.slices[index - 1], scan.slices[index]
        where = scan.body[index] | scan.body[index - 1]
        if where.sum() < 500:
            continue
        spread = float(after[where].std())
        if spread > 0 and float(np.abs(after - before)[where].mean()) < 0.005 * spread:
            found.append(index)
    return found
