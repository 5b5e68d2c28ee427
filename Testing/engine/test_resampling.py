"""Resampling: equal to PyTorch and SciPy where they do the same, and never off its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modality_conversion.resampling import new_length, positions, resample_axis

lengths = st.integers(2, 80)
INTERPOLATIONS = ("linear", "area", "adaptive", "bspline")


def resampled(values: np.ndarray, new: int, scale: float, interpolation: str) -> np.ndarray:
    return resample_axis(np.asarray(values, dtype=float), 0, new, scale, interpolation)


@pytest.mark.parametrize(("ours", "theirs"), [("linear", "linear"), ("adaptive", "area"), ("nearest", "nearest-exact")])
@given(old=lengths, new=lengths)
def test_resizing_equals_pytorch(ours: str, theirs: str, old: int, new: int) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(old).random(old)
    expected = torch.nn.functional.interpolate(torch.tensor(values)[None, None], size=new, mode=theirs)[0, 0].numpy()
    np.testing.assert_allclose(resampled(values, new, old / new, ours), expected, atol=1e-6)


@given(old=lengths, new=lengths, scale=st.floats(0.2, 5))
def test_spline_equals_scipy(old: int, new: int, scale: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    values = np.random.default_rng(old).random(old)
    x = np.clip(positions(old, new, scale), 0, old - 1)
    expected = ndimage.map_coordinates(values, [x], order=3, mode="mirror")
    np.testing.assert_allclose(resampled(values, new, scale, "bspline"), expected, atol=1e-9)


@given(st.integers(2, 12), st.integers(1, 5))
def test_area_means_over_whole_groups_where_sizes_divide(groups: int, size: int) -> None:
    values = np.random.default_rng(size).random(groups * size)
    expected = values.reshape(groups, size).mean(axis=1)
    np.testing.assert_allclose(resampled(values, groups, size, "area"), expected, atol=1e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.1, 8), st.sampled_from((*INTERPOLATIONS, "nearest")))
def test_a_constant_stays_a_constant(old: int, new: int, scale: float, interpolation: str) -> None:
    np.testing.assert_allclose(resampled(np.full(old, 3.0), new, scale, interpolation), 3, atol=1e-6)


@given(st.integers(3, 60), st.floats(0.3, 3), st.sampled_from(("linear", "bspline", "area")))
def test_a_ramp_keeps_its_place(old: int, scale: float, interpolation: str) -> None:
    new = new_length(old, scale)
    x = positions(old, new, scale)
    # A mirrored spline bends a ramp at its ends; the bend fades by a factor of 3.7 a voxel. A mean over part of a voxel has
    # that voxel's value, so `area` is off by an eighth of a voxel or less.
    margin, tolerance = {"linear": (0, 1e-9), "bspline": (8, 1e-3), "area": (max(1, scale), 0.126)}[interpolation]
    inside = (x >= margin) & (x <= old - 1 - margin)
    if interpolation == "area" and scale < 1:
        tolerance = 0.5  # a smaller voxel has the value of the larger one it lies in
    np.testing.assert_allclose(resampled(np.arange(old), new, scale, interpolation)[inside], x[inside], atol=tolerance)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("interpolation", [*INTERPOLATIONS, "nearest"])
def test_an_axis_is_resampled_and_the_others_are_left(axis: int, interpolation: str) -> None:
    array = np.random.default_rng(0).random((5, 6, 7))
    scale = array.shape[axis] / 9
    expected = np.apply_along_axis(lambda line: resampled(line, 9, scale, interpolation), axis, array)
    np.testing.assert_allclose(resample_axis(array, axis, 9, scale, interpolation), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32])
def test_nearest_keeps_the_type(dtype: type) -> None:
    array = np.ones((4, 5), dtype)
    assert resample_axis(array, 1, 9, 5 / 9, "nearest").dtype == dtype


def test_an_unknown_interpolation_is_named() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        resampled(np.ones(4), 5, 0.8, "cubic")
