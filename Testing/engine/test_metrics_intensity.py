"""Figures of single voxels, against loops, numpy.polyfit, scikit-image and MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modality_conversion import metrics

RNG = np.random.default_rng(7)


def pair(shape=(9, 10, 11), noise=0.2):
    real = RNG.random(shape)
    return real, real + noise * RNG.normal(size=shape), RNG.random(shape) > 0.4


def test_mae_and_bias_are_the_means_that_a_loop_finds_in_the_mask():
    real, synthetic, mask = pair()
    errors = [float(s) - float(r) for r, s, inside in zip(real.flat, synthetic.flat, mask.flat, strict=True) if inside]
    assert metrics.mae(real, synthetic, mask) == pytest.approx(sum(map(abs, errors)) / len(errors), rel=1e-12)
    assert metrics.bias(real, synthetic, mask) == pytest.approx(sum(errors) / len(errors), rel=1e-10)


def test_mae_does_not_overflow_in_small_integer_types():
    real = np.full((2, 2, 2), 250, dtype=np.uint8)
    assert metrics.mae(real, np.full_like(real, 5), np.ones(real.shape, bool)) == 245
    assert metrics.bias(real, np.full_like(real, 5), np.ones(real.shape, bool)) == -245


def test_psnr_in_a_mask_is_what_scikit_image_finds_for_the_voxels_of_the_mask():
    reference = pytest.importorskip("skimage.metrics").peak_signal_noise_ratio
    real, synthetic, mask = pair()
    expected = reference(real[mask], synthetic[mask], data_range=2.5)
    assert metrics.psnr(real, synthetic, mask, 2.5) == pytest.approx(expected, rel=1e-12)


def test_psnr_and_mae_of_a_whole_volume_are_what_monai_finds():
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    real, synthetic, mask = pair()
    tensors = [torch.from_numpy(volume)[None, None] for volume in (synthetic, real)]
    everywhere = np.ones_like(mask)
    assert metrics.psnr(real, synthetic, everywhere, 1.0) == pytest.approx(float(monai.PSNRMetric(1.0)(*tensors)))
    assert metrics.mae(real, synthetic, everywhere) == pytest.approx(float(monai.MAEMetric()(*tensors)))


def test_identical_volumes_have_infinite_psnr_and_an_empty_mask_has_no_figure():
    real, _, mask = pair()
    assert metrics.psnr(real, real, mask, 1.0) == math.inf
    nothing = np.zeros_like(mask)
    assert all(math.isnan(f(real, real, nothing)) for f in (metrics.mae, metrics.bias))
    assert math.isnan(metrics.psnr(real, real, nothing, 1.0))


def test_the_affine_fit_is_the_line_that_polyfit_finds_in_the_mask():
    real, synthetic, mask = pair()
    slope, intercept = np.polyfit(synthetic[mask], real[mask], 1)
    line = metrics.affine_fit(real, synthetic, mask)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    np.testing.assert_allclose(line.apply(synthetic), slope * synthetic + intercept)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 12345.678])
def test_a_constant_volume_is_fitted_by_the_mean_of_the_real_one(value):
    real, _, mask = pair()
    line = metrics.affine_fit(real, np.full(real.shape, value), mask)
    assert line.slope == 0
    assert line.intercept == pytest.approx(real[mask].mean())


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(0.01, 1000).flatmap(lambda s: st.sampled_from((s, -s))),
    offset=st.floats(-1000, 1000),
    seed=st.integers(0, 2**32 - 1),
)
def test_after_the_fit_psnr_does_not_depend_on_the_units_of_the_synthetic_volume(scale, offset, seed):
    rng = np.random.default_rng(seed)
    real, synthetic, mask = rng.random((4, 5, 6)), rng.random((4, 5, 6)), rng.random((4, 5, 6)) > 0.3
    mask[0, 0, :2] = True
    figures = []
    for volume in (synthetic, scale * synthetic + offset):
        figures.append(metrics.psnr(real, metrics.affine_fit(real, volume, mask).apply(volume), mask, 1.0))
    assert figures[1] == pytest.approx(figures[0], abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_other_line_has_a_smaller_error_than_the_fit(seed):
    rng = np.random.default_rng(seed)
    real, synthetic, mask = rng.random((3, 4, 5)), rng.random((3, 4, 5)), np.ones((3, 4, 5), bool)
    line = metrics.affine_fit(real, synthetic, mask)
    best = np.square(line.apply(synthetic) - real).mean()
    for slope, intercept in rng.normal((line.slope, line.intercept), 0.1, (20, 2)):
        assert np.square(slope * synthetic + intercept - real).mean() >= best - 1e-12


def test_percentiles_of_the_mask_become_0_and_1_and_everything_is_clipped():
    volume, _, mask = pair((20, 20, 20))
    volume = volume * 300 - 40
    low, high = np.percentile(volume[mask], (0.5, 99.5))
    scaled = metrics.percentile_scale(volume, mask)
    np.testing.assert_allclose(scaled, np.clip((volume - low) / (high - low), 0, 1), atol=1e-12)
    assert scaled.min() == 0
    assert scaled.max() == 1


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(0.001, 10000), offset=st.floats(-10000, 10000))
def test_percentile_scaling_forgets_the_units(scale, offset):
    volume = np.random.default_rng(3).random((6, 6, 6))
    mask = volume > 0.2
    expected = metrics.percentile_scale(volume, mask)
    np.testing.assert_allclose(metrics.percentile_scale(scale * volume + offset, mask), expected, atol=1e-6)


def test_a_constant_volume_is_scaled_to_zeros():
    assert not metrics.percentile_scale(np.full((3, 3, 3), 8.0), np.ones((3, 3, 3), bool)).any()


def oracle_by_loops(source, target, mask, bins):
    entries = [[] for _ in range(bins)]
    for s, t, inside in zip(source.flat, target.flat, mask.flat, strict=True):
        if inside:
            entries[min(int(s * bins), bins - 1)].append(float(t))
    return np.array([sum(e) / len(e) if e else math.nan for e in entries])


def test_the_oracle_gives_each_voxel_the_mean_target_of_its_bin():
    source, target, mask = pair((12, 13, 14))
    source.flat[:2], mask.flat[:2] = (0.0, 1.0), True  # both ends of the range
    table = oracle_by_loops(source, target, mask, 256)
    expected = table[np.minimum((source * 256).astype(int), 255)]
    np.testing.assert_allclose(metrics.oracle(source, target, mask)[mask], expected[mask], rtol=1e-12)


def test_the_oracle_fills_a_value_that_occurs_only_outside_the_mask_from_its_neighbours():
    source = np.array([0.1, 0.5, 0.9]).reshape(1, 1, 3)
    mask = np.array([True, False, True]).reshape(1, 1, 3)
    target = np.array([2.0, 99.0, 4.0]).reshape(1, 1, 3)
    middle = metrics.oracle(source, target, mask)[0, 0, 1]
    assert middle == pytest.approx(3.0, abs=0.02)


def test_the_oracle_is_perfect_where_the_target_is_a_function_of_the_binned_source():
    source = np.round(RNG.random((8, 8, 8)) * 255) / 255
    target = np.sin(7 * source)
    np.testing.assert_allclose(metrics.oracle(source, target, np.ones(source.shape, bool)), target)


def test_the_affine_fit_does_not_change_the_oracle():
    source, target, mask = pair((12, 13, 14))
    line = metrics.affine_fit(target, metrics.oracle(source, target, mask), mask)
    assert (line.slope, line.intercept) == pytest.approx((1, 0), abs=1e-10)
