"""Noise, in each slice and in the air.

Its deviation is measured by a second difference in both directions (Immerkaer 1996), which planes and straight edges leave
at zero, as a median, which corners do not move. Pixels are compared over 1.5 mm because scanners interpolate, which makes
the noise of neighbours alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.qc.look import Look

STEP = 1.5
"""mm between the pixels that are compared."""
FEWEST = 50
"""Pixels; a slice with less body is judged as a whole."""


@dataclass(frozen=True)
class Noise:
    """`air`, `body`: deviation of the noise as a fraction of the body's median; 0 in blank air.

    `share`: of each slice, the noise's deviation within the body divided by that of everything there: 1 is noise alone,
    0.71 as much noise as anatomy; (slices,).
    """

    air: float
    body: float
    share: NDArray[np.float64]


def noise(scan: Look) -> Noise:
    """The noise of a scan."""
    step = tuple(max(1, round(STEP / side)) for side in scan.pixel)
    kernel = np.zeros((1, 2 * step[0] + 1, 2 * step[1] + 1), np.float32)
    kernel[:, :: step[0], :: step[1]] = np.outer((1, -2, 1), (1, -2, 1)) / 6
    difference = ndimage.convolve(scan.slices, kernel, mode="nearest")
    share = np.zeros(len(scan.slices))
    for index, values in enumerate(scan.slices):
        where = scan.body[index] if scan.body[index].sum() >= FEWEST else np.ones_like(scan.body[index])
        whole = float(values[where].std())
        share[index] = _deviation(difference[index][where]) / whole if whole > 0 else 0.0
    inner = ndimage.binary_erosion(scan.body, np.ones(kernel.shape))
    return Noise(_deviation(difference[scan.air]) / scan.level, _deviation(difference[inner]) / scan.level, share)


def _deviation(differences: NDArray[np.float32]) -> float:
    return 1.4826 * float(np.median(np.abs(differences))) if differences.size else 0.0
