"""Masks made from the scan."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from modality_conversion import masks
from modality_conversion.masks import head_otsu
from modality_conversion.phantom import head_phantom
from volumes import filled


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.parametrize("spacing", [(2, 2, 2), (1.5, 2, 6)])
def test_a_head_is_found_whole_without_the_noise_around_it(spacing: tuple) -> None:
    head = head_phantom((64, 72, 56))
    head.SetSpacing(spacing)
    array = sitk.GetArrayFromImage(head)
    array[2:5, 2:5, 2:5] = 500  # a speck in the air
    x, y, z = np.linspace(-1, 1, 64), np.linspace(-1, 1, 72)[:, None], np.linspace(-1, 1, 56)[:, None, None]
    truth = (x / 0.9) ** 2 + (y / 0.92) ** 2 + (z / 0.94) ** 2 < 1
    mask = sitk.GetArrayFromImage(head_otsu(filled(head, array))) > 0
    assert dice(mask, truth) > 0.97
    assert mask[28, 36, 32]  # the dark ventricles are inside
    assert not mask[2:5, 2:5, 2:5].any()


def test_a_mask_lies_on_the_scans_grid() -> None:
    head = head_phantom((30, 32, 28), spacing=5)
    head.SetOrigin((5, -7, 11))
    head.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    mask = head_otsu(head)
    assert (mask.GetSize(), mask.GetOrigin(), mask.GetDirection()) == (
        head.GetSize(),
        head.GetOrigin(),
        head.GetDirection(),
    )


def test_a_single_slice_has_a_mask_too() -> None:
    mask = head_otsu(head_phantom((64, 72, 9))[:, :, 4:5])
    assert 0.4 < sitk.GetArrayFromImage(mask).mean() < 0.9


def test_in_a_constant_scan_everything_is_inside() -> None:
    assert sitk.GetArrayFromImage(head_otsu(sitk.Image([4, 5, 6], sitk.sitkInt16))).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.75, 1.0])
def test_holes_are_filled_as_itk_fills_them_slice_by_slice(axis: int, share: float) -> None:
    mask = np.random.default_rng(int(100 * share) + axis).random((9, 10, 11)) < share
    planes = np.ascontiguousarray(np.moveaxis(mask, axis, 0)).astype(np.uint8)
    filled = [sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(plane))) for plane in planes]
    np.testing.assert_array_equal(
        masks._fill_slices(mask.astype(np.uint8), axis), np.moveaxis(np.stack(filled), 0, axis) != 0
    )
