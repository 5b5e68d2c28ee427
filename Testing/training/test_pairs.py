"""Real pairs: grids and alignment. Those that need real scans skip where these are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_head import small_labels

from modality_conversion.geometry import plan_grid
from modality_conversion.schema import Geometry
from training.data.cases import complete_cases
from training.data.pack_pairs import pack_pair
from training.data.pairs import Pair, longitudinal_pair, mni_pair, one_millimetre, onto, refine, regions
from training.data.regions import Region
from training.data.scale import TARGET_MEDIAN
from training.data.split import read_split
from training.simulation.labels import is_brain


def scan(spacing: tuple[float, float, float] = (1, 1, 1)) -> sitk.Image:
    """The small head as a smooth scan."""
    image = sitk.GetImageFromArray((small_labels() % 97).astype(np.float32))
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    image = sitk.SmoothingRecursiveGaussian(image, 1.0)
    size = [round(n / s) for n, s in zip(image.GetSize(), spacing, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([s / 2 - 0.5 for s in spacing])
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, image.GetDirection())


def test_the_one_millimetre_grid_is_the_engines() -> None:
    thick = scan((0.9, 0.9, 3.0))
    geometry = Geometry(axcodes="RAS", spacing=(1.0, 1.0, 1.0))
    _, engine = plan_grid(thick, sitk.GetArrayFromImage(thick), geometry)
    ours = sitk.GetArrayFromImage(sitk.Resample(thick, one_millimetre(thick), sitk.Transform(), sitk.sitkLinear))
    assert ours.shape == engine.shape
    inner = (slice(3, -3),) * 3  # beyond the outermost centres the two may differ
    assert np.abs(ours - engine)[inner].max() < 0.02 * engine.max()


def test_a_shifted_scan_is_brought_back() -> None:
    fixed = scan()
    moving = sitk.Resample(scan(), sitk.TranslationTransform(3, (2.0, -1.5, 1.0)))
    transform, shift = refine(fixed, moving, sitk.Transform(3, sitk.sitkIdentity))
    assert shift == pytest.approx(np.linalg.norm([2.0, 1.5, 1.0]), abs=0.4)
    back = onto(fixed, moving, transform)
    inner = (slice(8, -8),) * 3
    a, b = (sitk.GetArrayFromImage(image)[inner] for image in (fixed, back))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("whole_head", "variants"), [(True, ["head", "tight", "wide"]), (False, ["narrow", "narrower", "tight"])]
)
def test_a_pair_is_packed_whole_and_within_several_masks_on_one_scale(
    tmp_path: Path, whole_head: bool, variants: list[str]
) -> None:
    image = scan()
    brain = sitk.GetImageFromArray(is_brain(small_labels()).astype(np.uint8))
    brain.CopyInformation(image)
    assert pack_pair(Pair("some one", image, image, brain), whole_head, tmp_path) == 3
    packed = {case.name.removeprefix("some_one_"): case for case in complete_cases(tmp_path)}
    assert sorted(packed) == variants
    tight = packed["tight"]
    inside = np.asarray(tight.region) >= Region.BRAIN
    assert np.median(np.asarray(tight.target)[inside]) == pytest.approx(TARGET_MEDIAN, rel=0.01)
    assert not np.asarray(tight.source)[~inside].any()
    other = np.asarray(packed[variants[0]].region) >= Region.BRAIN
    assert (np.asarray(packed[variants[0]].target)[other] == np.asarray(tight.target)[other]).all()


def test_a_longitudinal_pair_lies_on_one_grid_and_fits(shared_data: Path) -> None:
    pair, shift = longitudinal_pair(shared_data / "ms_longitudinal" / "patient12", 2)
    assert pair.source.GetSize() == pair.target.GetSize() == pair.brain.GetSize()
    assert shift < 1.5  # mm; the given transforms are good
    brain = sitk.GetArrayFromImage(pair.brain) > 0
    assert 1000 < brain.sum() / 1000 < 1900  # mL


def test_the_mni_brain_is_where_the_scan_is_not_zero(shared_data: Path) -> None:
    for person in (*read_split().mni.training, *read_split().mni.test):
        pair = mni_pair(shared_data / "ms_mni" / f"patient{person}")
        assert (regions(pair, 0.0) == Region.LESION).any()
