"""A description of an object that does not depend on how it lies: how bright it is at which depth, and how it varies.

A head has skin and fat outside, a shell of bone, brain, and fluid within; which of them is bright tells CT, T1, T2, FLAIR
and PD apart. All voxels are of 3 mm, and all numbers are shares or on the scale of the values.
"""

from __future__ import annotations

import numpy as np

_DEPTHS = np.array([1, 2, 3, 4, 5, 7, 10, 14])
"""Upper ends, in voxels, of the shells below the surface; deeper is the last shell."""
_SHELLS = len(_DEPTHS) + 1
_BINS = 12
_DEEP = 6
"""From this shell on, most of a head is brain."""
_SHARES = (0.5, 2, 10, 25, 50, 75, 90, 98, 99.5)
_OUTSIDE = 6
_SAMPLES = 12_000

LENGTH = 2 * _SHELLS * _BINS + _SHELLS + 3 * _BINS + 4 * len(_SHARES) + _OUTSIDE
"""How many numbers a profile has."""


def profile(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The profile of scaled values and their ranks (z, y, x), `recognise_input.Cube`: float32, (LENGTH,)."""
    front = ranks > 0
    body = _filled(front)
    shell = _shells(body)
    parts = [_histogram(shell, values / 1.25), _histogram(shell, ranks)]
    sizes = np.bincount(shell.ravel(), minlength=_SHELLS + 1)[1:] / max(1, body.sum())
    parts.append(sizes)
    smooth = _mean27(ranks)
    rough = np.abs(ranks - smooth)
    deep = shell >= _DEEP
    if deep.sum() < 200:  # thin slabs and limbs
        deep = shell >= 2
    level = (rough > 0.03).astype(np.int8) + (rough > 0.1) + np.int8(1)
    parts.append(_histogram(level * deep, ranks, shells=3))
    spots = values - _mean27(values)
    for where, what in ((deep, values), (deep, spots), (shell > 0, values), ((shell > 0) & ~deep, spots)):
        inside = what[where]
        parts.append(np.percentile(inside[:: max(1, len(inside) // _SAMPLES)], _SHARES) if len(inside) else np.zeros(9))
    parts.append(_outside(values, front, body))
    found = np.concatenate(parts).astype(np.float32)
    assert found.shape == (LENGTH,)
    return found


def _histogram(shell: np.ndarray, values: np.ndarray, shells: int = _SHELLS) -> np.ndarray:
    """Shares of values in [0, 1] by bin, for each shell from 1; a shell without voxels has zeros."""
    bins = np.minimum((values * np.float32(_BINS)).astype(np.int16), _BINS - 1)
    places = shell.astype(np.int16) * np.int16(_BINS) + bins
    counts = np.bincount(places.ravel(), minlength=(shells + 1) * _BINS).reshape(-1, _BINS)[1:]
    return (counts / np.maximum(1, counts.sum(1, keepdims=True))).ravel()


def _filled(front: np.ndarray) -> np.ndarray:
    """The foreground with what it encloses: all but the background that reaches the sides along an axis, seen from at
    least four of the six."""
    seen = np.zeros(front.shape, np.int8)
    for axis in range(3):
        for way in (slice(None), slice(None, None, -1)):
            line = [slice(None)] * 3
            line[axis] = way
            reached = np.logical_or.accumulate(front[tuple(line)], axis)
            seen += reached[tuple(line)]
    return front | (seen >= 4)


def _shells(body: np.ndarray) -> np.ndarray:
    """The shell of every voxel: 0 outside, 1 at the surface, rising inwards. The ends of the scan are no surface."""
    shell = body.astype(np.int8)
    left = body
    for depth in range(1, int(_DEPTHS[-1]) + 1):
        left = _eroded(left, corners=depth % 3 == 0)
        if depth in _DEPTHS:
            shell += left
    return shell


def _eroded(mask: np.ndarray, corners: bool) -> np.ndarray:
    """Without its outermost voxels: face neighbours, or all 26 now and then, which makes shells round."""
    kept = mask.copy()
    source = mask
    for axis in range(mask.ndim):
        source = kept.copy() if corners else mask
        first, last = [slice(None)] * 3, [slice(None)] * 3
        first[axis], last[axis] = slice(1, None), slice(None, -1)
        kept[tuple(first)] &= source[tuple(last)]
        kept[tuple(last)] &= source[tuple(first)]
    return kept


def _mean27(values: np.ndarray) -> np.ndarray:
    """Means over 3 x 3 x 3 voxels, the ends repeated."""
    for axis in range(3):
        n = values.shape[axis]
        before = values.take(np.maximum(np.arange(n) - 1, 0), axis)
        after = values.take(np.minimum(np.arange(n) + 1, n - 1), axis)
        values = (before + values + after) * np.float32(1 / 3)
    return values


def _outside(values: np.ndarray, front: np.ndarray, body: np.ndarray) -> np.ndarray:
    """How much of the scan the object fills, how large it is, what it holds, and what is around it."""
    around = values[~body]
    side, top = np.asarray(body.any(2)), np.asarray(body.any(0))
    extents = sorted(float(np.ptp(np.flatnonzero(line))) for line in (side.any(1), side.any(0), top.any(0)))
    return np.array(
        [
            body.mean(),
            (body & ~front).sum() / max(1, body.sum()),
            float((around == around.min()).mean()) if len(around) else 0.0,
            float(around.std()) if len(around) else 0.0,
            extents[2] / 84,
            extents[0] / max(1, extents[2]),
        ]
    )
