"""Bias field correction."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from modality_conversion.bias_field import n4
from modality_conversion.errors import Cancelled
from modality_conversion.phantom import head_phantom
from modality_conversion.schema import N4


def op(**parameters: object) -> N4:
    return N4(op="n4", **parameters)  # type: ignore[arg-type]


def test_n4_flattens_a_bias_field() -> None:
    head = head_phantom((48, 56, 40), spacing=4)
    x = np.linspace(0.6, 1.5, 48, dtype=np.float32)
    biased = sitk.GetImageFromArray(sitk.GetArrayFromImage(head) * x)
    biased.CopyInformation(head)
    inside = sitk.BinaryErode(sitk.Cast((head > 550) & (head < 680), sitk.sitkUInt8), [1, 1, 1])
    white = sitk.GetArrayFromImage(inside) > 0
    corrected = n4(
        biased, sitk.Cast(head > 100, sitk.sitkUInt8), op(shrink=1, iterations=(50, 50), convergence=1e-4), []
    )
    assert corrected.GetSpacing() == head.GetSpacing()

    def spread(image: sitk.Image) -> float:
        values = sitk.GetArrayFromImage(image)[white]
        return float(values.std() / values.mean())

    assert spread(corrected) < 0.5 * spread(biased)


def test_n4_stops_when_asked() -> None:
    asked = []

    def cancel() -> bool:
        asked.append(None)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        n4(head_phantom((32, 32, 32), spacing=6), None, op(iterations=(500, 500)), [], cancel)
    assert len(asked) < 20


def test_n4_leaves_an_empty_volume_as_it_is() -> None:
    empty, warnings = sitk.Image([12, 12, 12], sitk.sitkInt16), []
    assert not sitk.GetArrayFromImage(n4(empty, None, op(), warnings)).any()
    assert "too few voxels" in warnings[0]


def test_a_mask_of_a_few_voxels_leaves_the_scan_as_it_is() -> None:
    head, warnings = head_phantom((40, 40, 40), spacing=5), []
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[20:22, 20:22, 20:22] = 1
    image = sitk.GetImageFromArray(mask)
    image.CopyInformation(head)
    corrected = n4(head, image, op(), warnings)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(corrected), sitk.GetArrayFromImage(head))
    assert "too few voxels" in warnings[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_corrected_in_its_plane(axis: int) -> None:
    whole = head_phantom((64, 64, 64), spacing=3)
    start = [31 if a == axis else 0 for a in range(3)]
    plane = sitk.RegionOfInterest(whole, [1 if a == axis else 64 for a in range(3)], start)
    shape = [1, 1, 1]
    shape[2 - (axis + 1) % 3] = 64  # the field varies along an axis that is not the thin one
    shading = np.linspace(0.6, 1.5, 64, dtype=np.float32).reshape(shape)
    array = sitk.GetArrayFromImage(plane)
    biased = sitk.GetImageFromArray(array * shading)
    biased.CopyInformation(plane)
    warnings: list[str] = []
    corrected = n4(biased, sitk.Cast(plane > 100, sitk.sitkUInt8), op(shrink=1, iterations=(50, 50)), warnings)
    assert not warnings
    assert corrected.GetSize() == plane.GetSize()
    white = (array > 570) & (array < 650)

    def spread(image: sitk.Image) -> float:
        values = sitk.GetArrayFromImage(image)[white]
        return float(values.std() / values.mean())

    assert spread(corrected) < 0.7 * spread(biased)


def test_a_line_of_voxels_has_no_bias_field() -> None:
    line, warnings = sitk.Image([30, 1, 1], sitk.sitkFloat32) + 5, []
    assert (sitk.GetArrayFromImage(n4(line, None, op(), warnings)) == 5).all()
    assert warnings
