"""The grid the network sees, and exactly back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from modality_conversion.errors import ConversionError
from modality_conversion.geometry import axis_codes, plan_grid
from modality_conversion.schema import Geometry
from volumes import filled, grids, noise

AXCODES = [
    "".join(letters) for order in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*order)
]


def declared(**fields: object) -> Geometry:
    return Geometry(**fields)  # type: ignore[arg-type]


def to_grid(image: sitk.Image, **fields: object) -> tuple:
    return plan_grid(image, sitk.GetArrayFromImage(image), declared(**fields))


@given(grids(largest=9), st.sampled_from(AXCODES))
def test_orientation_letters_equal_nibabel(image: sitk.Image, axcodes: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    direction = np.array(image.GetDirection()).reshape(3, 3)
    magnitudes = np.sort(np.abs(direction), axis=0)
    if (magnitudes[2] - magnitudes[1] < 0.2).any():
        return  # close to 45 degrees any letter is as good as another
    affine = np.diag([-1.0, -1, 1, 1])
    affine[:3, :3] = affine[:3, :3] @ direction
    assert axis_codes(image.GetDirection()) == "".join(nibabel.aff2axcodes(affine))
    data = sitk.GetArrayFromImage(noise(image)).transpose()
    start = nibabel.io_orientation(affine)
    expected = nibabel.apply_orientation(
        data, nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(axcodes))
    )
    _, array = to_grid(noise(image), axcodes=axcodes, array_order="ijk")
    np.testing.assert_array_equal(array, expected)
    _, array = to_grid(noise(image), axcodes=axcodes, array_order="kji")
    np.testing.assert_array_equal(array, expected.transpose())


@given(
    grids(largest=12),
    st.sampled_from([None, *AXCODES]),
    st.sampled_from(("ijk", "kji")),
    st.one_of(st.none(), st.tuples(*[st.one_of(st.none(), st.integers(1, 20))] * 3)),
    st.one_of(st.none(), st.integers(1, 16)),
)
def test_without_resampling_the_way_back_is_exact(
    image: sitk.Image, axcodes: str | None, order: str, pad_to: tuple | None, multiple: int | None
) -> None:
    image = noise(image)
    grid_map, array = to_grid(
        image, axcodes=axcodes, array_order=order, pad_to=pad_to, pad_multiple=multiple, pad_value=-5
    )
    np.testing.assert_array_equal(grid_map.inverse(array), sitk.GetArrayFromImage(image))
    if multiple:
        assert all(n % multiple == 0 for n in array.shape)
    for n, wanted in zip(array.shape, pad_to or ()):
        assert wanted is None or n >= wanted


def test_every_axis_is_padded_floor_half_before_and_the_rest_after() -> None:
    image = noise(sitk.Image([4, 5, 6], sitk.sitkFloat32))
    _, array = to_grid(image, pad_to=(9, 9, None), pad_value=7)
    assert array.shape == (9, 9, 4)
    np.testing.assert_array_equal(array[1:7, 2:7], sitk.GetArrayFromImage(image))
    assert (array[0] == 7).all()
    assert (array[7:] == 7).all()


def test_a_centre_crop_leaves_a_smaller_axis_and_comes_back_as_background() -> None:
    image = noise(sitk.Image([10, 8, 5], sitk.sitkFloat32))
    grid_map, array = to_grid(image, crop=(7, 6, 6))
    original = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(array, original[:, 1:7, 2:8])
    back = grid_map.inverse(array, fill=-1000)
    assert back.shape == original.shape
    np.testing.assert_array_equal(back[:, 1:7, 2:8], array)
    assert (back[:, 0] == -1000).all()
    assert (back[:, :, :2] == -1000).all()


def test_the_foreground_box_keeps_the_object_and_nothing_else() -> None:
    array = np.zeros((12, 14, 16), np.float32)
    array[3:9, 4:13, 5:6] = 100
    grid_map, cropped = to_grid(filled(sitk.Image([16, 14, 12], sitk.sitkFloat32), array), crop="foreground")
    assert cropped.shape == (6, 9, 1)
    np.testing.assert_array_equal(grid_map.inverse(cropped), array)


def test_a_constant_volume_has_no_foreground_and_is_kept_whole() -> None:
    _, cropped = to_grid(
        filled(sitk.Image([4, 5, 6], sitk.sitkFloat32), np.full((6, 5, 4), 3, np.float32)), crop="foreground"
    )
    assert cropped.shape == (6, 5, 4)


def test_resize_to_a_maximum_shrinks_only_longer_axes() -> None:
    _, array = to_grid(noise(sitk.Image([30, 10, 20], sitk.sitkFloat32)), resize={"max": 16})
    assert array.shape == (16, 10, 16)


def test_resize_to_a_size_leaves_axes_that_are_null() -> None:
    _, array = to_grid(noise(sitk.Image([30, 10, 20], sitk.sitkFloat32)), resize=(None, 24, 8))
    assert array.shape == (20, 24, 8)


def test_a_spacing_that_the_scan_has_already_changes_nothing() -> None:
    image = noise(sitk.Image([6, 7, 8], sitk.sitkFloat32))
    image.SetSpacing([1.0000001, 1, 1])
    grid_map, array = to_grid(image, spacing=(1, 1, 1))
    assert grid_map.steps == ()
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(image))


@given(grids(smallest=2, largest=12), st.sampled_from(("linear", "area", "nearest", "bspline")))
def test_a_mask_keeps_its_values_and_its_size(image: sitk.Image, interpolation: str) -> None:
    mask = (np.random.default_rng(1).random(image.GetSize()[::-1]) > 0.5).astype(np.uint8) * 3
    grid_map, array = to_grid(
        noise(image), axcodes="RAS", spacing=(1, 1, 1), pad_multiple=4, interpolation=interpolation
    )
    moved = grid_map.forward_labels(mask)
    assert moved.shape == array.shape
    assert set(np.unique(moved)) <= {0, 3}
    assert moved.dtype == mask.dtype


@given(grids(smallest=2, largest=12), st.floats(0.4, 4))
def test_every_voxel_of_a_mask_touches_the_new_grid(image: sitk.Image, spacing: float) -> None:
    mask = np.zeros(image.GetSize()[::-1], bool)
    mask[tuple(n // 2 for n in mask.shape)] = True
    grid_map, array = to_grid(noise(image), axcodes="RAS", spacing=(spacing,) * 3, pad_multiple=4)
    touched = grid_map.forward_touched(mask)
    assert touched.shape == array.shape
    assert touched.any()


def test_a_grid_that_no_memory_would_hold_is_refused() -> None:
    image = noise(sitk.Image([20, 20, 20], sitk.sitkFloat32))
    image.SetSpacing((100, 100, 100))
    with pytest.raises(ConversionError, match="2000 x 2000 x 2000 voxels"):
        to_grid(image, spacing=(1, 1, 1))


def test_a_second_scan_on_the_same_grid_takes_the_same_way() -> None:
    first = noise(sitk.Image([6, 9, 12], sitk.sitkFloat32))
    grid_map, array = to_grid(first, axcodes="PIR", spacing=(0.7, 1.3, None), crop=(5, None, None), pad_multiple=8)
    np.testing.assert_array_equal(grid_map.forward(sitk.GetArrayFromImage(first)), array)
