"""Which modality a scan shows, told from its values: Hounsfield units, or how bright grey matter and CSF are beside white.

The template says where white matter, grey matter and CSF are; their values are what best explains the brain as a mixture.
T1 and T1 with contrast agent are one answer: the agent shows in vessels and in some lesions only.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from modality_conversion.modality import Modality
from training.data.images import one_millimetre, onto
from training.data.template import Fitted, fit_template

SIDE = 2.0
"""mm; the grid of the measure."""
AIR_BELOW = -500.0
"""HU; no MR scan has a hundredth of its voxels below this."""
FITS = 0.2
"""Least agreement with the template for an answer."""


@dataclass(frozen=True)
class Contrast:
    """`seen`: what a scan is taken for. `grey`, `csf`: their values over that of white matter, or nan.

    `agreement`: of the template with the scan. `sure`: False where the figures lie between two modalities, or
    the template did not fit.
    """

    seen: Modality | None
    sure: bool
    grey: float = float("nan")
    csf: float = float("nan")
    agreement: float = float("nan")


def contrast(scan: sitk.Image, fitted: Fitted | None = None) -> Contrast:
    """What a scan of a head shows."""
    values = sitk.GetArrayViewFromImage(scan)
    if float(np.percentile(values[::2, ::2, ::2], 1)) < AIR_BELOW:
        return Contrast(Modality.CT, True)
    fitted = fitted or fit_template(scan)
    grey, csf = _beside_white(scan, fitted)
    seen, sure = decide(grey, csf)
    return Contrast(seen, sure and fitted.agreement > FITS, grey, csf, fitted.agreement)


def _beside_white(scan: sitk.Image, fitted: Fitted) -> tuple[float, float]:
    """Grey matter and CSF as multiples of white matter, by least squares over the brain, most deviating voxels left out."""
    grid = one_millimetre(scan, SIDE)
    values = ndimage.gaussian_filter(sitk.GetArrayFromImage(onto(grid, scan)), 0.7)
    maps = fitted.tissue(grid)
    inside = ndimage.binary_erosion(maps["brain"] > 0.5, iterations=2) & (values != 0)
    if inside.sum() < 1000:
        return float("nan"), float("nan")
    white, grey = (maps[name][inside] / max(float(maps[name].max()), 1e-6) for name in ("white", "grey"))
    rest = np.clip(1 - white - grey, 0, 1)
    mixture, seen = np.stack([white, grey, rest], 1), values[inside]
    keep = np.ones(len(seen), bool)
    for _ in range(3):
        found, *_ = np.linalg.lstsq(mixture[keep], seen[keep], rcond=None)
        error = np.abs(mixture @ found - seen)
        keep = error < 2.5 * 1.4826 * float(np.median(error))
    if not found[0] > 0:
        return float("nan"), float("nan")
    return float(found[1] / found[0]), float(found[2] / found[0])


def decide(grey: float, csf: float) -> tuple[Modality | None, bool]:
    """The modality whose grey matter and CSF are so bright beside white matter, and whether that is clear.

    T2: CSF far brighter. PD: CSF about as bright. T1: CSF dark, grey darker than white. FLAIR: CSF dark, grey brighter.
    """
    if np.isnan(grey) or np.isnan(csf):
        return None, False
    if csf > 0.9:
        return (Modality.T2 if csf > 1.4 else Modality.PD), abs(csf - 0.9) > 0.05 and abs(csf - 1.4) > 0.07
    return (Modality.T1 if grey < 0.95 else Modality.FLAIR), abs(grey - 0.95) > 0.01 and csf < 0.85
