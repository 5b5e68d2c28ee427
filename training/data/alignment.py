"""How far two scans are out of line, measured with edges: another measure than the one that registration improves.

Edges lie in the same places whatever the contrast, though dark may turn bright. So the measure is the squared cosine
between the two gradients (normalised gradient fields, Haber and Modersitzki 2006), for every shift at once by Fourier
transforms: no start, no local best. Taken block by block it shows rotations too.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import fft, ndimage

from training.data.images import one_millimetre, onto

SIDE = 2.0
"""mm; the grid of the measure."""
EDGE = 0.1
"""Squared length of a normal from which it is an edge."""
REACH = 16.0
"""mm; the largest shift of a block that is looked for."""
BLOCK = 64.0
"""mm; the side of a block."""
STANDING = 3.0
"""Deviations by which the best shift of a block must stand out of all others for the block to be asked."""
LEAST = 24.0
"""mm; its side in a small scan."""


@dataclass(frozen=True)
class Alignment:
    """`offset`: how far points of the head are off, root mean square in mm. `blocks`: how many spoke for it."""

    offset: float
    blocks: int
    shift: tuple[float, float, float]
    """The median shift, (z, y, x) in mm."""


def _normals(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit gradients, faded out where there is no edge: (3, z, y, x)."""
    smooth = ndimage.gaussian_filter(volume, 1.0)
    gradient = np.stack(np.gradient(smooth)).astype(np.float32)
    length = np.sqrt((gradient**2).sum(0))
    edge = np.percentile(length[length > 0], 75) if (length > 0).any() else 1.0
    return gradient / np.sqrt(length**2 + edge**2)


def _agreement(a: NDArray[np.float32], b: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """How well two fields of normals agree for every shift of `b` up to `reach` voxels: (2 reach + 1,) * 3.

    The squared cosine less its mean over random directions, a third, so that many edges alone count nothing; and per
    strength of the edges of `b` that meet edges of `a`, so that strong edges nearby do not draw the peak away.
    """
    shape = [fft.next_fast_len(n + 2 * reach, real=True) for n in a.shape[1:]]

    def together(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.complex64]:
        found: NDArray[np.complex64] = np.conj(fft.rfftn(mine, shape)) * fft.rfftn(theirs, shape)
        return found

    of_a, of_b = (a**2).sum(0), (b**2).sum(0)
    total = -together(of_a, of_b) / 3
    for i in range(3):
        for j in range(i, 3):
            total += (1 if i == j else 2) * together(a[i] * a[j], b[i] * b[j])
    met = fft.irfftn(together((of_a > EDGE).astype(np.float32), of_b**2), shape)
    take = np.ix_(*[np.arange(-reach, reach + 1)] * 3)
    met, score = met[take], fft.irfftn(total, shape)[take]
    found: NDArray[np.float32] = score / np.sqrt(np.maximum(met, 0.1 * max(float(met.max()), 1e-6)))
    return found


def _peak(score: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Where the highest value is, to a part of a voxel from the centre, and by how many deviations it stands out."""
    index = np.array(np.unravel_index(np.argmax(score), score.shape))
    place = index - (np.array(score.shape) - 1) / 2
    for axis in range(3):
        before, after = index.copy(), index.copy()
        before[axis] -= 1
        after[axis] += 1
        if before[axis] < 0 or after[axis] >= score.shape[axis]:
            continue
        low, middle, high = (float(score[tuple(i)]) for i in (before, index, after))
        if (curve := low - 2 * middle + high) < 0:
            place[axis] += 0.5 * (low - high) / curve
    return place, float((score.max() - score.mean()) / (score.std() + 1e-12))


def _box(field: NDArray[np.float32], box: tuple[slice, ...]) -> NDArray[np.float32]:
    """A view of a field of normals within a box."""
    return field[:, box[0], box[1], box[2]]


def alignment(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform | None = None) -> Alignment:
    """How far `moving` is out of line with `fixed` once `transform` (points of `fixed` to points of `moving`) is applied.

    Raises ValueError where the two have too little in common to say.
    """
    grid = one_millimetre(fixed, SIDE)
    a, b = (_normals(sitk.GetArrayFromImage(image)) for image in (onto(grid, fixed), onto(grid, moving, transform)))
    reach = round(REACH / SIDE)
    # Blocks overlap by half; a small or thin scan gets smaller ones, so that there are three along each axis.
    sizes = [max(1, min(round(BLOCK / SIDE), max(round(LEAST / SIDE), n // 2), n)) for n in a.shape[1:]]
    strength = (a**2).sum(0)
    enough = 0.25 * strength.mean() / max((strength > EDGE).mean(), 1e-6)
    shifts = []
    for corner in np.ndindex(*(max(1, 2 * n // size - 1) for n, size in zip(a.shape[1:], sizes, strict=True))):
        box = tuple(
            slice(c * size // 2, min(c * size // 2 + size, n))
            for c, size, n in zip(corner, sizes, a.shape[1:], strict=True)
        )
        if strength[box].mean() < enough:
            continue
        wide = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        within = np.zeros_like(_box(a, wide))
        inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
        _box(within, inner)[:] = _box(a, box)
        place, standing = _peak(_agreement(within, _box(b, wide), reach))
        if standing > STANDING:
            shifts.append(place * SIDE)
    if len(shifts) < 3:
        raise ValueError("The two scans have too few edges in common to say whether they are in line.")
    found = np.array(shifts)
    z, y, x = np.median(found, 0)
    offset = float(np.sqrt(np.median((found**2).sum(1))))
    return Alignment(offset, len(found), (float(z), float(y), float(x)))
