"""Where the brain and its tissues are in any scan of a head: an average brain, registered to it affinely.

The average is the MNI152 template of 2009 that nilearn carries, with its maps of grey and white matter; no download.
Mutual information does not care for the contrast, so T1, T2, FLAIR, PD and CT are all treated alike.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.grid import on_grid_of
from modality_conversion.masks import head_otsu
from training.config import ConfigError
from training.data.images import one_millimetre, onto

SIDE = 2.0
"""mm; the grid of the registration."""


@dataclass(frozen=True)
class Template:
    """Images on one grid in MNI space: the average T1, and how likely each voxel is brain, grey or white matter."""

    t1: sitk.Image
    brain: sitk.Image
    grey: sitk.Image
    white: sitk.Image


@dataclass(frozen=True)
class Fitted:
    """A template on a scan: `transform` maps points of the template to points of the scan.

    `agreement`: normalised mutual information of the two, in the brain; about 0 where the fit failed.
    """

    transform: sitk.Transform
    agreement: float

    def brain(self, grid: sitk.Image) -> sitk.Image:
        """The brain mask on a grid in the scan's space, uint8."""
        probability = onto(grid, template().brain, self.transform.GetInverse())
        return sitk.Cast(probability > 0.5, sitk.sitkUInt8)

    def tissue(self, grid: sitk.Image) -> dict[str, NDArray[np.float32]]:
        """Maps of grey and white matter, and of the brain, on a grid in the scan's space: (z, y, x), 0 to 1."""
        back = self.transform.GetInverse()
        maps = template()
        return {
            name: sitk.GetArrayFromImage(onto(grid, image, back))
            for name, image in (("brain", maps.brain), ("grey", maps.grey), ("white", maps.white))
        }


@lru_cache(maxsize=1)
def template() -> Template:
    """The template as nilearn carries it, on voxels of 2 mm. Raises ConfigError where nilearn is not installed."""
    try:
        from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template
    except ImportError:
        raise ConfigError("A brain mask from the template needs nilearn: pip install nilearn.") from None

    def image(loaded: object) -> sitk.Image:
        array = np.asarray(loaded.get_fdata(), np.float32).T  # type: ignore[attr-defined]
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ loaded.affine  # type: ignore[attr-defined]  # RAS to LPS
        found = sitk.GetImageFromArray(array)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        found.SetSpacing(spacing.tolist())
        found.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
        found.SetOrigin(affine[:3, 3].tolist())
        return found

    t1, grey, white = (
        image(load(resolution=2)) for load in (load_mni152_template, load_mni152_gm_template, load_mni152_wm_template)
    )
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(sitk.GetArrayFromImage(t1) > 0.1, iterations=2))
    return Template(t1, on_grid_of(t1, filled.astype(np.float32)), grey, white)


def fit_template(scan: sitk.Image) -> Fitted:
    """Register the template to a scan, from several starts, and keep the best."""
    grid = one_millimetre(scan, SIDE)
    moving = onto(grid, scan)
    head = head_otsu(moving)
    # Only a narrow ring around the brain counts: in a wide one, a template blown up to the whole head fits best.
    fixed, mask = template().t1, sitk.BinaryDilate(sitk.Cast(template().brain > 0.5, sitk.sitkUInt8), [2] * 3)
    best: tuple[float, sitk.Transform] | None = None
    for start in _starts(head):
        step = _register(fixed, moving, mask, start, rigid=True)
        if best is None or step[0] < best[0]:
            best = step
    assert best is not None
    value, affine = _register(fixed, moving, mask, best[1], rigid=False)
    return Fitted(affine, -value)


def _starts(head: sitk.Image) -> list[sitk.Transform]:
    """Places to begin: the brain's centre 75 mm below the top of the head, tilted forward and back."""
    inside = sitk.GetArrayFromImage(head) > 0
    z, y, x = np.nonzero(inside)
    top = int(z.max())
    upper = z > top - 120 / SIDE  # the neck and shoulders would pull the centre down
    extent = min(top - int(z.min()), round(150 / SIDE)) / 2
    index = [float(x[upper].mean()), float(y[upper].mean()), top - min(extent, 75 / SIDE)]
    target = np.array(head.TransformContinuousIndexToPhysicalPoint(index))
    centre = np.array([0.0, 18.0, 8.0])  # of the template's brain, LPS
    starts = []
    for tilt in (0.0, 0.26, -0.26):
        start = sitk.AffineTransform(3)
        start.SetCenter(centre.tolist())
        start.Rotate(1, 2, tilt)
        start.Scale(0.92)  # the average brain is larger than most
        start.SetTranslation((target - centre).tolist())
        starts.append(start)
    return starts


def _register(
    fixed: sitk.Image, moving: sitk.Image, mask: sitk.Image, start: sitk.Transform, *, rigid: bool
) -> tuple[float, sitk.Transform]:
    """Improve a start; gives the metric's value (lower is better) and the transform."""
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(32)
    registration.SetMetricFixedMask(mask)
    registration.SetMetricSamplingStrategy(registration.REGULAR)
    registration.SetMetricSamplingPercentage(0.2)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsRegularStepGradientDescent(4.0 if rigid else 1.0, 0.05 if rigid else 0.005, 60)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([4, 2] if rigid else [2, 1])
    registration.SetSmoothingSigmasPerLevel([4, 2] if rigid else [2, 1])
    # With a free scale from the beginning the brain's edge is drawn to the scalp.
    step: sitk.Transform = sitk.Euler3DTransform() if rigid else sitk.AffineTransform(3)
    step.SetCenter(list(sitk.AffineTransform(start).GetCenter()) if rigid else [0.0, 18.0, 8.0])
    registration.SetMovingInitialTransform(start)
    registration.SetInitialTransform(step, inPlace=True)
    registration.Execute(fixed, moving)
    both = sitk.CompositeTransform([start, step])
    both.FlattenTransform()
    return registration.GetMetricValue(), both
