"""Operations on values: each against plain numpy, and its slope against a finite difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from modality_conversion import ops
from modality_conversion.foreground import foreground, foreground_threshold
from modality_conversion.ops import Context
from modality_conversion.schema import Op

VALUES = np.random.default_rng(0).normal(50, 20, (6, 7, 8)).astype(np.float32)
MASK = np.random.default_rng(1).random((6, 7, 8)) > 0.6


def op(name: str, **parameters: object) -> object:
    return TypeAdapter(Op).validate_python({"op": name, **parameters})


NOTHING = Context()


def result(name: str, array: np.ndarray = VALUES, context: Context = NOTHING, **parameters: object) -> np.ndarray:
    declared = op(name, **parameters)
    return ops.apply([declared], declared.stage, array, context)  # type: ignore[attr-defined]


def test_clip_limits_either_side() -> None:
    np.testing.assert_array_equal(result("clip", low=40.0, high=60.0), np.clip(VALUES, 40, 60))
    np.testing.assert_array_equal(result("clip", low=40.0), np.maximum(VALUES, 40))
    np.testing.assert_array_equal(result("clip", high=60.0), np.minimum(VALUES, 60))


@pytest.mark.parametrize("scope", ["all", "mask", "foreground"])
def test_statistics_are_taken_over_the_scope_and_applied_everywhere(scope: str) -> None:
    chosen = {"all": VALUES.ravel(), "mask": VALUES[MASK], "foreground": VALUES[foreground(VALUES)]}[scope]
    context = Context(MASK)
    low, high = np.percentile(chosen, (2, 90))
    np.testing.assert_allclose(
        result("clip_percentile", low=2.0, high=90.0, scope=scope, context=context),
        np.clip(VALUES, low, high),
        rtol=1e-6,
    )
    expected = (VALUES - chosen.min()) / (chosen.max() - chosen.min()) * 2 - 1
    np.testing.assert_allclose(result("minmax", to=(-1.0, 1.0), scope=scope, context=context), expected, atol=1e-5)
    np.testing.assert_allclose(
        result("zscore", scope=scope, context=context), (VALUES - chosen.mean()) / chosen.std(), atol=1e-4
    )


def test_an_empty_scope_means_everything() -> None:
    nothing = Context(np.zeros(VALUES.shape, bool))
    np.testing.assert_array_equal(result("minmax", scope="mask", context=nothing), result("minmax"))


@pytest.mark.parametrize("name", ["minmax", "zscore"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1234.567, 3e7])
def test_a_constant_region_becomes_zeros(name: str, value: float) -> None:
    assert not result(name, np.full((9, 8, 7), value, np.float32)).any()


def test_arithmetic() -> None:
    np.testing.assert_allclose(result("linear", scale=2.0, offset=-3.0), VALUES * 2 - 3, rtol=1e-6)
    np.testing.assert_allclose(result("power", exponent=2.0), np.sign(VALUES) * VALUES**2, rtol=1e-6)
    np.testing.assert_allclose(result("exp", exponent=-0.1), np.exp(-0.1 * VALUES), rtol=1e-5)
    assert np.isfinite(result("exp", exponent=50.0)).all()


def test_the_border_of_each_slice_becomes_zero() -> None:
    array = result("border_zero", width=2)
    np.testing.assert_array_equal(array[:, 2:-2, 2:-2], VALUES[:, 2:-2, 2:-2])
    assert np.count_nonzero(array) == np.count_nonzero(VALUES[:, 2:-2, 2:-2])


def test_a_border_wider_than_the_slice_leaves_nothing() -> None:
    assert not result("border_zero", width=4).any()


def test_a_resized_tile_comes_back_at_its_own_size() -> None:
    declared = op("resize", size=(14, 16))
    tile = result("resize", size=(14, 16))
    assert tile.shape == (6, 14, 16)
    back = ops.resize_tile_back(tile, [declared], (6, 7, 8))
    assert back.shape == VALUES.shape
    np.testing.assert_array_equal(ops.resize_tile_back(VALUES, [], (6, 7, 8)), VALUES)


def test_scale_to_input_uses_the_range_of_the_source_as_read() -> None:
    context = Context(source_range=(-100.0, 300.0))
    np.testing.assert_allclose(result("scale_to_input", use="max", context=context), VALUES * 300, rtol=1e-6)
    np.testing.assert_allclose(result("scale_to_input", use="range", context=context), VALUES * 400 - 100, rtol=1e-5)


def test_only_the_operations_of_the_stage_are_applied_in_order() -> None:
    chain = [op("linear", stage="tile", scale=2.0), op("linear", offset=1.0), op("linear", stage="tile", offset=5.0)]
    np.testing.assert_allclose(ops.apply(chain, "tile", VALUES, Context()), VALUES * 2 + 5, rtol=1e-6)


@pytest.mark.parametrize(
    "declared",
    [
        op("linear", scale=-3.0, offset=1.0),
        op("power", exponent=1.7),
        op("exp", exponent=0.02),
        op("clip", low=40.0, high=60.0),
        op("minmax", to=(0.0, 5.0)),
        op("zscore"),
        op("scale_to_input", use="range"),
    ],
    ids=lambda declared: declared.op,
)
def test_the_slope_is_the_derivative(declared: object) -> None:
    context = Context(source_range=(-100.0, 300.0))
    array = VALUES.astype(np.float64)
    middle = (3, 3, 3)  # far from the smallest and largest value, so a nudge changes no statistic much
    nudged = array.copy()
    nudged[middle] += 1e-6
    before, slope = ops.apply_with_slope([declared], "grid", array, context)
    after, _ = ops.apply_with_slope([declared], "grid", nudged, context)
    expected = abs(after[middle] - before[middle]) / 1e-6
    assert np.broadcast_to(slope, array.shape)[middle] == pytest.approx(expected, rel=0.02, abs=1e-6)


def test_slopes_multiply_along_the_chain() -> None:
    chain = [op("linear", scale=3.0), op("linear", scale=-2.0, offset=4.0)]
    assert ops.apply_with_slope(chain, "grid", VALUES, Context())[1] == pytest.approx(6)


def test_the_threshold_sees_every_slice_of_a_large_volume() -> None:
    values = np.zeros((1024, 256, 16), np.float32)
    values[..., 1:] = np.random.default_rng(0).uniform(100, 1000, (1024, 256, 15))
    assert 60 < foreground_threshold(values) < 160  # every 4th voxel would be air, if slices were sampled in step


@given(st.floats(0.1, 100), st.floats(-1000, 1000))
def test_foreground_does_not_depend_on_scale_or_offset(scale: float, offset: float) -> None:
    values = np.concatenate([np.full(500, 0.0), np.random.default_rng(0).uniform(50, 100, 500)])
    np.testing.assert_array_equal(foreground(values * scale + offset), foreground(values))


def test_a_small_object_on_an_empty_field_is_foreground() -> None:
    values = np.zeros((50, 50, 50))
    values[20:24, 20:24, 20:24] = 10
    np.testing.assert_array_equal(foreground(values), values > 0)


def test_the_threshold_of_a_large_volume_is_that_of_a_part_of_it() -> None:
    values = np.random.default_rng(0).uniform(0, 100, 3_000_001)
    low, high = np.percentile(values, (2, 98))
    assert foreground_threshold(values) == pytest.approx(low + 0.1 * (high - low), rel=0.01)
