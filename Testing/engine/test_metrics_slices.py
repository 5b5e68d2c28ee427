"""Measures between slices, against loops, and what they answer to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modality_conversion import metrics

RNG = np.random.default_rng(5)


def smooth(shape=(10, 12, 14)):
    volume = RNG.random(shape)
    for axis in range(3):
        volume = (volume + np.roll(volume, 1, axis)) / 2
    return volume


def mean_step_by_loops(volume, mask, axis):
    steps = []
    for place in np.ndindex(*volume.shape):
        after = tuple(n + (a == axis) for a, n in enumerate(place))
        if after[axis] < volume.shape[axis] and mask[place] and mask[after]:
            steps.append(abs(volume[after] - volume[place]))
    return sum(steps) / len(steps)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_step_counts_only_between_neighbours_that_are_both_in_the_mask(axis):
    volume, mask = smooth((5, 6, 7)), RNG.random((5, 6, 7)) > 0.3
    assert metrics.mean_step(volume, mask, axis) == pytest.approx(mean_step_by_loops(volume, mask, axis), rel=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_ratio_is_built_from_the_steps_as_defined(axis):
    real, synthetic, mask = smooth((5, 6, 7)), smooth((5, 6, 7)), RNG.random((5, 6, 7)) > 0.2

    def anisotropy(volume):
        in_plane = [mean_step_by_loops(volume, mask, other) for other in range(3) if other != axis]
        return mean_step_by_loops(volume, mask, axis) / (sum(in_plane) / 2)

    expected = anisotropy(synthetic) / anisotropy(real)
    assert metrics.through_plane_ratio(real, synthetic, mask, axis) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100), offset=st.floats(-100, 100), axis=st.integers(0, 2))
def test_the_ratio_is_1_for_the_same_volume_in_any_units(seed, scale, offset, axis):
    volume = np.random.default_rng(seed).random((5, 6, 7))
    mask = np.ones(volume.shape, bool)
    ratio = metrics.through_plane_ratio(volume, scale * volume + offset, mask, axis)
    assert ratio == pytest.approx(1, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(0.2, 5), axis=st.integers(0, 2))
def test_flicker_from_slice_to_slice_raises_ratio_and_step_error(seed, strength, axis):
    rng = np.random.default_rng(seed)
    real = rng.random((8, 8, 8))
    for along in range(3):
        real = (real + np.roll(real, 1, along)) / 2
    mask = np.ones(real.shape, bool)
    alternating = strength * (np.arange(8) % 2)
    flickering = real + np.expand_dims(alternating, tuple(a for a in range(3) if a != axis))
    assert metrics.through_plane_ratio(real, flickering, mask, axis) > 1
    assert metrics.step_error(real, flickering, mask, axis) == pytest.approx(strength)


def test_slices_smeared_into_one_another_lower_the_ratio():
    real = smooth()
    smeared = (real + np.roll(real, 1, 0) + np.roll(real, -1, 0)) / 3
    assert metrics.through_plane_ratio(real, smeared, np.ones(real.shape, bool), 0) < 1


def test_a_constant_offset_is_no_step_error():
    real = smooth()
    assert metrics.step_error(real, real + 5, np.ones(real.shape, bool), 0) == pytest.approx(0, abs=1e-12)


def test_flat_volumes_and_single_slices_have_no_figure():
    flat, mask = np.ones((4, 4, 4)), np.ones((4, 4, 4), bool)
    assert math.isnan(metrics.through_plane_ratio(flat, flat, mask, 0))
    ramp = np.broadcast_to(np.arange(4.0), (4, 4, 4))
    assert math.isnan(metrics.through_plane_ratio(ramp, ramp, mask, 0))  # the real one does not change along z
    assert math.isnan(metrics.step_error(flat[:1], flat[:1], mask[:1], 0))


def test_plane_ssim_is_the_mean_of_scikit_images_maps_over_the_mask():
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    real, synthetic, mask = smooth(), smooth(), RNG.random((10, 12, 14)) > 0.5
    maps = np.stack(
        [
            reference(real[:, j], synthetic[:, j], win_size=7, data_range=1.0, full=True)[1]
            for j in range(real.shape[1])
        ],
        axis=1,
    )
    assert metrics.plane_ssim(real, synthetic, mask, 1.0, axis=1) == pytest.approx(maps[mask].mean(), abs=1e-10)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((1, 1, 1), 0),
        ((0.7, 0.7, 3.0), 0),
        ((4.0, 0.9, 0.9), 2),
        ((0.9, 3.3, 0.9), 1),
        ((1.0, 1.0, 0.995), 0),
        ((1.0, 1.0, 0.5), 1),
    ],
)
def test_the_slice_axis_has_the_largest_spacing_and_is_k_when_isotropic(spacing, axis):
    assert metrics.slice_axis(spacing) == axis
