"""Real pairs: two contrasts of one person brought to one grid, 1 mm, RAS, along the source's own axes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from training.data.regions import Region


@dataclass(frozen=True)
class Pair:
    """`source`, `target`: images on one grid; `brain`, `lesions`: masks there, or None; `name` for people."""

    name: str
    source: sitk.Image
    target: sitk.Image
    brain: sitk.Image
    lesions: sitk.Image | None = None


def one_millimetre(image: sitk.Image) -> sitk.Image:
    """The grid of an image, reoriented to RAS, with voxels of 1 mm: an empty image; its corner stays in its place."""
    image = sitk.DICOMOrient(image, "RAS")
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    new_size = np.maximum(np.rint(size * spacing), 1).astype(int)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    # Voxel edges coincide, so the first centre moves by half the difference of the voxels.
    origin = np.array(image.GetOrigin()) + direction @ ((1 - spacing) / 2)
    grid = sitk.Image([int(n) for n in new_size], sitk.sitkUInt8)
    grid.SetOrigin(origin.tolist())
    grid.SetDirection(image.GetDirection())
    return grid


def onto(
    grid: sitk.Image, image: sitk.Image, transform: sitk.Transform | None = None, *, mask: bool = False
) -> sitk.Image:
    """An image on a grid, linear (masks: nearest); `transform` maps points of the grid to points of the image.

    Finer images are blurred a little first, so that 0.5 mm pixels do not alias at 1 mm. Edge voxels are repeated for half
    a voxel, as the grid's outer planes lie outside the centres of thick slices.
    """
    transform = transform or sitk.Transform(3, sitk.sitkIdentity)
    if mask:
        return sitk.Resample(image, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    image = sitk.Cast(image, sitk.sitkFloat32)
    sigma = [0.4 if step < 0.95 else 0.0 for step in image.GetSpacing()]
    if any(sigma):
        blurs = [max(s, 1e-3) for s in sigma]
        image = sitk.DiscreteGaussian(image, [b**2 for b in blurs], 8, 0.01, True)
    return sitk.Resample(image, grid, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)


def refine(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> tuple[sitk.Transform, float]:
    """Improve a transform (points of `fixed` to points of `moving`) by a rigid step; gives it and the shift in mm.

    The shift is that of the volume's centre. Mutual information, Mattes, 40 bins, a tenth of the voxels.
    """
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(40)
    registration.SetMetricSamplingStrategy(registration.REGULAR)
    registration.SetMetricSamplingPercentage(0.1)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsRegularStepGradientDescent(0.5, 1e-3, 120)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([1, 0])
    registration.SetMovingInitialTransform(start)
    centre = fixed.TransformContinuousIndexToPhysicalPoint([n / 2 for n in fixed.GetSize()])
    step = sitk.Euler3DTransform()
    step.SetCenter(centre)
    registration.SetInitialTransform(step, inPlace=True)
    registration.Execute(sitk.Cast(fixed, sitk.sitkFloat32), sitk.Cast(moving, sitk.sitkFloat32))
    shift = float(np.linalg.norm(np.array(step.TransformPoint(centre)) - centre))
    return sitk.CompositeTransform([start, step]), shift  # applied from the last to the first


def _covered(grid: sitk.Image, image: sitk.Image, transform: sitk.Transform) -> slice:
    """The axial slices of a grid whose middle half lies within the field of view of another image."""
    ones = sitk.Image(image.GetSize(), sitk.sitkFloat32) + 1
    ones.CopyInformation(image)
    inside = sitk.GetArrayFromImage(sitk.Resample(ones, grid, transform, sitk.sitkNearestNeighbor, 0.0))
    _, height, width = inside.shape
    middle = inside[:, height // 4 : -height // 4, width // 4 : -width // 4]
    found = np.flatnonzero(middle.mean((1, 2)) > 0.98)
    return slice(int(found[0]), int(found[-1]) + 1)


@dataclass(frozen=True)
class _Study:
    """One study of the longitudinal set (Lesjak 2016), with the ways between its grids.

    The files map points of the FLAIR to points of the T1 or T2, as ITK resamples, and points of the common space to points
    of the FLAIR; checked by mutual information on every study used.
    """

    folder: Path
    study: int

    def image(self, contrast: str) -> sitk.Image:
        """A scan as stored."""
        return sitk.ReadImage(str(self.folder / f"study{self.study}_{contrast}.nii.gz"))

    def transform(self, name: str) -> sitk.Transform:
        """A transform as stored."""
        return sitk.ReadTransform(str(self.folder / f"study{self.study}_{name}.txt"))

    def t1_to_t2(self) -> sitk.Transform:
        """Points of the T1 to points of the T2."""
        flair_of_t1 = self.transform("T1W_intrastudy_to_FLAIR").GetInverse()
        return sitk.CompositeTransform([self.transform("T2W_intrastudy_to_FLAIR"), flair_of_t1])

    def brain(self, grid: sitk.Image) -> sitk.Image:
        """The brain mask on a grid in the T1's space."""
        flair_of_t1 = self.transform("T1W_intrastudy_to_FLAIR").GetInverse()
        to_common = sitk.CompositeTransform([self.transform("FLAIR_to_common_space").GetInverse(), flair_of_t1])
        mask = sitk.ReadImage(str(self.folder / "coregistered_brainmask.nii.gz"))
        return onto(grid, mask, to_common, mask=True)

    @property
    def name(self) -> str:
        """For people."""
        return f"longitudinal {self.folder.name} study {self.study}"


def longitudinal_pair(folder: Path, study: int) -> tuple[Pair, float]:
    """T1 and T2 of one study on the T1's 1 mm grid, where both were scanned; and the shift of the refinement in mm."""
    files = _Study(folder, study)
    t1, t2 = files.image("T1W"), files.image("T2W")
    grid = one_millimetre(t1)
    source = onto(grid, t1)
    to_t2, shift = refine(source, t2, files.t1_to_t2())
    slices = _covered(grid, t2, to_t2)
    grid, source = grid[:, :, slices], source[:, :, slices]
    return Pair(files.name, source, onto(grid, t2, to_t2), files.brain(grid)), shift


def longitudinal_on_native(folder: Path, study: int) -> Pair:
    """T1 and T2 of one study on the stored grid of the T1; the brain only where the T2 was scanned too."""
    files = _Study(folder, study)
    t1, t2 = files.image("T1W"), files.image("T2W")
    to_t2, _ = refine(onto(one_millimetre(t1), t1), t2, files.t1_to_t2())
    ones = sitk.Image(t2.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(t2)
    brain = files.brain(t1) * onto(t1, ones, to_t2, mask=True)
    return Pair(files.name, t1, onto(t1, t2, to_t2), brain)


def mni_pair(folder: Path) -> Pair:
    """T1 and T2 of one person in MNI space (Lesjak 2017), stripped; the brain is where the T1 is not 0."""
    images = [sitk.ReadImage(str(folder / f"{name}.nii.gz"), sitk.sitkFloat32) for name in ("T1", "T2", "lesions")]
    t1, t2, lesions = (sitk.DICOMOrient(image, "RAS") for image in images)
    brain = sitk.Cast((t1 != 0) & (t2 != 0), sitk.sitkUInt8)
    return Pair(f"mni {folder.name}", t1, t2, brain, sitk.Cast(lesions > 0, sitk.sitkUInt8))


def regions(pair: Pair, threshold: float) -> NDArray[np.uint8]:
    """Region codes of a pair, (z, y, x); the head is where the target is above `threshold`."""
    brain = sitk.GetArrayFromImage(pair.brain) > 0
    region = np.where(sitk.GetArrayFromImage(pair.target) > threshold, Region.HEAD, Region.BACKGROUND).astype(np.uint8)
    region[brain] = Region.BRAIN
    if pair.lesions is not None:
        region[(sitk.GetArrayFromImage(pair.lesions) > 0) & brain] = Region.LESION
    return region


def even_out(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Divide by the bias field (N4 on a 4 mm grid in the mask), so that a real target is as even as a simulated one."""
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([40, 40, 30])
    image = sitk.Clamp(image, sitk.sitkFloat32, 0.0)
    corrector.Execute(sitk.Shrink(image, [4] * 3), sitk.Shrink(mask, [4] * 3))
    return image / sitk.Exp(sitk.Cast(corrector.GetLogBiasFieldAsImage(image), sitk.sitkFloat32))
