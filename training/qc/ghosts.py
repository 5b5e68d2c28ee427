"""Replicated and shadowed objects: is the picture like itself, shifted?

The autocorrelation of the fine structure, as one Fourier transform a slice, summed over the slices of a scan, where a ghost
has the same shift. Anatomy is not like itself some centimetres further; a copy of it is, by its strength, wherever it lies:
in the air, across the body, or around the edge of the picture. Ghosts of opposite sign count alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from training.qc.look import Look

FINE = (1.0, 4.0)
"""mm; the structure that is compared lies between these two blurs."""
NEAREST = 25.0
"""mm; at shorter shifts outlines of skull and scalp are like one another."""
BRIGHTEST = 98.0
"""Percentile of the structure at which it is cut off: one vessel must not stand for the whole."""


@dataclass(frozen=True)
class Ghost:
    """`strength`: of the copy, as a fraction of the body. `shift`: rows and columns in mm."""

    strength: float
    shift: tuple[float, float]


def ghost(scan: Look) -> tuple[Ghost, list[Ghost]]:
    """The strongest ghost of a scan, all slices together, and of each slice by itself."""
    # What is left after the finer blur needs no pixels smaller than that.
    steps = [max(1, round(1.2 * FINE[0] / side)) for side in scan.pixel]
    pixel = (scan.pixel[0] * steps[0], scan.pixel[1] * steps[1])
    fine = (scan.smooth(FINE[0]) - scan.smooth(FINE[1]))[:, :: steps[0], :: steps[1]]
    shown = np.abs(fine[fine != 0])
    limit = float(np.percentile(shown, BRIGHTEST)) if shown.size else 0.0
    total = np.zeros(fine.shape[1:])
    each = []
    for values in np.clip(fine, -limit, limit):
        own = fft.irfft2(np.abs(fft.rfft2(values)) ** 2, values.shape)
        total += own
        each.append(_strongest(own, pixel))
    return _strongest(total, pixel), each


def _strongest(autocorrelation: NDArray[np.floating], pixel: tuple[float, float]) -> Ghost:
    whole = float(autocorrelation[0, 0])
    rows, columns = (fft.fftfreq(n, 1 / n) * side for n, side in zip(autocorrelation.shape, pixel, strict=True))
    far = np.hypot(rows[:, None], columns[None, :]) > NEAREST
    if whole <= 0 or not far.any():
        return Ghost(0.0, (0.0, 0.0))
    strength = np.where(far, np.abs(autocorrelation), 0)
    row, column = np.unravel_index(np.argmax(strength), strength.shape)
    return Ghost(float(strength[row, column]) / whole, (float(rows[row]), float(columns[column])))
