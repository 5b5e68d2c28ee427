"""Items are turned and stretched about their middle, scans and masks alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, gaussian_filter

from training.data.turning import TurnSettings, random_turn, turned

SHAPE = (12, 20, 16)


def volume(seed: int = 0) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).random(SHAPE), 1.5).astype(np.float32)


@given(
    degrees=st.floats(0, 45),
    stretch=st.floats(0, 0.5),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_a_turn_is_what_scipy_makes_of_the_same_matrix(degrees: float, stretch: float, seed: int) -> None:
    wanted = TurnSettings(degrees=degrees, stretch=stretch)
    matrix = random_turn(wanted, np.random.default_rng(seed))
    both = np.stack([volume(seed), volume(seed + 1)])
    found = turned(both, matrix)
    middle = (np.array(SHAPE) - 1) / 2
    by_array = matrix[::-1, ::-1]  # (z, y, x)
    offset = middle - by_array @ middle
    for before, after in zip(both, found, strict=True):
        reference = affine_transform(before, by_array, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(after, reference, atol=1e-4)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_a_turn_keeps_lengths_but_for_the_stretch_and_no_hand_is_exchanged(seed: int) -> None:
    turn = random_turn(TurnSettings(degrees=30), np.random.default_rng(seed))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    both = random_turn(TurnSettings(degrees=30, stretch=0.2), np.random.default_rng(seed))
    sides = np.sqrt(np.linalg.eigvalsh(both.T @ both))
    assert sides.min() >= 1 / 1.2 - 1e-9
    assert sides.max() <= 1 / 0.8 + 1e-9
    assert np.linalg.det(both) > 0


def test_nothing_is_moved_by_default() -> None:
    wanted = TurnSettings()
    assert wanted.nothing
    np.testing.assert_array_equal(random_turn(wanted, np.random.default_rng(0)), np.eye(3))
    np.testing.assert_allclose(turned(volume()[None], np.eye(3))[0], volume(), atol=1e-6)


def test_a_quarter_turn_is_exact() -> None:
    matrix = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about z
    square = volume()[:, :16]
    found = turned(square[None], matrix)[0]
    assert min(float(np.abs(found - np.rot90(square, k, (1, 2))).max()) for k in (1, 3)) == pytest.approx(0, abs=1e-5)
