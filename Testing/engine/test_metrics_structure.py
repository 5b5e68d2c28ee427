"""SSIM and MS-SSIM against scikit-image and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modality_conversion import metrics
from modality_conversion.metrics import structure

RNG = np.random.default_rng(11)


def volumes(shape, scale=1.0):
    """A smooth volume and a worse one, so that SSIM is neither 0 nor 1."""
    real = RNG.random(shape)
    for axis in range(len(shape)):
        real = (real + np.roll(real, 1, axis) + np.roll(real, 2, axis)) / 3
    real = (real - real.min()) / (real.max() - real.min()) * scale
    return real, real + 0.05 * scale * RNG.normal(size=shape)


def skimage_map(real, synthetic, data_range):
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    return reference(real, synthetic, win_size=7, data_range=data_range, full=True)[1]


@pytest.mark.parametrize("shape", [(7, 7, 7), (8, 21, 33), (40, 9, 17)])
@pytest.mark.parametrize("data_range", [1.0, 4024.0])
def test_the_map_is_scikit_images_with_its_uniform_window_and_sample_covariance(shape, data_range):
    real, synthetic = volumes(shape, data_range)
    ours = metrics.ssim_map(real, synthetic, data_range)
    np.testing.assert_allclose(ours, skimage_map(real, synthetic, data_range), atol=1e-10)


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_a_flat_window_scores_each_plane_on_its_own(flat):
    real, synthetic = volumes((9, 12, 10))
    ours = np.moveaxis(metrics.ssim_map(real, synthetic, 1.0, flat=flat), flat, 0)
    planes = zip(np.moveaxis(real, flat, 0), np.moveaxis(synthetic, flat, 0), strict=True)
    np.testing.assert_allclose(ours, [skimage_map(r, s, 1.0) for r, s in planes], atol=1e-10)


def test_a_flat_window_needs_no_length_across():
    real, synthetic = volumes((2, 9, 9))
    assert np.isfinite(metrics.ssim_map(real, synthetic, 1.0, flat=0)).all()


def test_the_mask_chooses_what_is_averaged_and_nothing_outside_its_box_is_computed():
    real, synthetic = volumes((20, 21, 22))
    mask = np.zeros(real.shape, bool)
    mask[3:9, 0:15, 5:22] = RNG.random((6, 15, 17)) > 0.5
    whole = skimage_map(real, synthetic, 1.0)
    ours = metrics.ssim_map(real, synthetic, 1.0, within=mask)
    np.testing.assert_allclose(ours[3:9, 0:15, 5:22], whole[3:9, 0:15, 5:22], atol=1e-10)
    assert np.isnan(ours[9:]).all()
    assert metrics.ssim(real, synthetic, mask, 1.0) == pytest.approx(whole[mask].mean(), abs=1e-10)


def test_leaving_out_the_faces_gives_scikit_images_own_mean():
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    real, synthetic = volumes((15, 16, 17))
    everywhere = np.ones(real.shape, bool)
    expected = reference(real, synthetic, win_size=7, data_range=1.0)
    assert metrics.ssim(real, synthetic, everywhere, 1.0, crop=3) == pytest.approx(expected, abs=1e-10)


def test_box_sums_are_scipys_uniform_filter_for_any_width():
    ndimage = pytest.importorskip("scipy.ndimage")
    values = RNG.random((40, 12))
    for width in (1, 3, 5, 7, 9, 11):
        mean = structure._running_sum(values, width, 0) / width
        half = width // 2
        np.testing.assert_allclose(mean, ndimage.uniform_filter1d(values, width, axis=0)[half : 40 - half], atol=1e-13)


def test_mirrored_indices_are_numpys_symmetric_padding():
    for count in (1, 2, 5):
        expected = np.pad(np.arange(count), 3, mode="symmetric")
        np.testing.assert_array_equal(structure.mirrored(-3, count + 3, count), expected)


def test_a_volume_thinner_than_the_window_is_refused():
    thin = np.zeros((6, 20, 20))
    with pytest.raises(ValueError, match="at least 7 voxels"):
        metrics.ssim_map(thin, thin, 1.0)


def test_an_empty_mask_has_no_ssim():
    real, synthetic = volumes((8, 8, 8))
    assert math.isnan(metrics.ssim(real, synthetic, np.zeros(real.shape, bool), 1.0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_ssim_of_a_volume_with_itself_is_1_and_swapping_two_volumes_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((8, 9, 10)), rng.random((8, 9, 10))
    mask = rng.random(a.shape) > 0.5
    mask[4, 4, 4] = True
    assert metrics.ssim(a, a, mask, 1.0) == pytest.approx(1.0, abs=1e-12)
    assert metrics.ssim(a, b, mask, 1.0) == pytest.approx(metrics.ssim(b, a, mask, 1.0), abs=1e-12)
    assert -1 <= metrics.ssim(a, b, mask, 1.0) <= 1


def ms_ssim_by_definition(real, synthetic, mask, data_range):
    """From the words of the protocol, whole volumes at a time, with scipy's filters."""
    ndimage = pytest.importorskip("scipy.ndimage")
    signal = pytest.importorskip("scipy.signal")

    def padded(volume):
        lacking = [max(97 - n, 0) for n in volume.shape]
        return np.pad(volume, [(n // 2, n - n // 2) for n in lacking], mode="edge")

    x, y, m = padded(real), padded(synthetic), padded(mask)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    total = 1.0
    for weight in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        means = {
            k: ndimage.uniform_filter(v, 7) for k, v in {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}.items()
        }
        unbias = 343 / 342
        vx, vy = (unbias * (means[k * 2] - means[k] ** 2) for k in "xy")
        vxy = unbias * (means["xy"] - means["x"] * means["y"])
        sx, sy = np.sqrt(vx.clip(0)), np.sqrt(vy.clip(0))
        parts = (
            (2 * means["x"] * means["y"] + c1) / (means["x"] ** 2 + means["y"] ** 2 + c1),
            (2 * sx * sy + c2) / (vx + vy + c2),
            (vxy + c2 / 2) / (sx * sy + c2 / 2),
        )
        inner = (slice(3, -3),) * 3
        product = np.prod([part.clip(0) ** weight for part in parts], axis=0)
        total *= np.clip(product[inner][m[inner]].mean(), 0, 1)
        x, y = (
            signal.convolve(v, np.full((2, 2, 2), 1 / 8), mode="same", method="direct")[::2, ::2, ::2] for v in (x, y)
        )
        m = m[::2, ::2, ::2]
    return total


@pytest.mark.parametrize("shape", [(97, 98, 99), (40, 101, 64)])
def test_ms_ssim_is_the_protocols_by_scipy_for_large_and_for_padded_volumes(shape):
    real, synthetic = volumes(shape, 4095.0)
    mask = np.zeros(shape, bool)
    mask[5:, 10:90, 4:60] = True
    real, synthetic = real * mask, np.clip(synthetic, 0, 4095) * mask
    expected = ms_ssim_by_definition(real, synthetic, mask, 4095.0)
    assert 0 < expected < 1
    assert metrics.ms_ssim(real, synthetic, mask, 4095.0) == pytest.approx(expected, abs=1e-10)


def test_ms_ssim_of_a_volume_with_itself_is_1():
    real, _ = volumes((20, 20, 20))
    assert metrics.ms_ssim(real, real, np.ones(real.shape, bool), 1.0) == pytest.approx(1.0, abs=1e-9)


def test_ms_ssim_has_no_value_where_a_coarse_scale_has_lost_the_mask():
    real, synthetic = volumes((97, 97, 97))
    mask = np.zeros(real.shape, bool)
    mask[1, 1, 1] = True
    assert math.isnan(metrics.ms_ssim(real, synthetic, mask, 1.0))
