"""A scan of a simulated person as a user might bring it: stripped, defaced or whole, of any scanner, cut, turned."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from modality_conversion.recognise_input import SPACING, View, look
from modality_conversion.recognise_network import SIDES
from training.recognise.answers import Truth
from training.recognise.heads import KEPT, Sketch
from training.simulation.ct import WINDOWS

Array = NDArray[np.float32]
Rng = np.random.Generator

_AIR = -1000.0
_CUT_MM = 6.0
"""Brain missing on a side, in mm, from which the field of view counts as ending within the brain."""


@dataclass(frozen=True)
class Example:
    """What the network sees and should say."""

    view: View
    truth: Truth


def shown(sketch: Sketch, index: int, rng: Rng) -> Example:
    """One of a person's scans under a new scanner, field of view and orientation."""
    kind = sketch.kinds[index]
    volume = sketch.scans[index].astype(np.float32)
    stripped = rng.random() < 0.45
    defaced = not stripped and rng.random() < 0.35
    kept = _kept(sketch, stripped, defaced, rng)
    brain = sketch.brain.astype(np.float32)
    volume = _ct(volume, kept, rng) if kind is Modality.CT else _mr(volume, kept, brain, stripped, rng)
    truth = Truth(kind.value, head=True, stripped=stripped, defaced=defaced, up=0, front=2)
    return framed(volume, brain, truth, rng)


def framed(volume: Array, brain: Array, truth: Truth, rng: Rng) -> Example:
    """A head in a random field of view and orientation, upright as often as not."""
    volume, brain, truth = _field_of_view(volume, brain, truth, rng)
    if rng.random() < 0.5:
        volume, truth = volume[:, :, ::-1], mirrored(truth, 2)
    if rng.random() < 0.45:
        volume, truth = turned(volume, truth, rng)
    return Example(look(volume, (SPACING,) * 3), truth)


def turned(volume: Array, truth: Truth, rng: Rng) -> tuple[Array, Truth]:
    """Axes exchanged and mirrored at random, as under a wrong header."""
    order = [int(axis) for axis in rng.permutation(3)]
    volume, truth = volume.transpose(order), exchanged(truth, order)
    for axis in range(3):
        if rng.random() < 0.5:
            volume, truth = np.flip(volume, axis), mirrored(truth, axis)
    return volume, truth


def exchanged(truth: Truth, order: list[int]) -> Truth:
    """The answers once axis `order[n]` has become axis n."""
    new = {old: place for place, old in enumerate(order)}

    def side(number: int) -> int:
        return number if number < 0 else 2 * new[number // 2] + number % 2

    cut = [False] * len(SIDES)
    for number, is_cut in enumerate(truth.cut):
        cut[side(number)] = is_cut
    return replace(truth, up=side(truth.up), front=side(truth.front), cut=tuple(cut))


def mirrored(truth: Truth, axis: int) -> Truth:
    """The answers once an axis runs the other way."""

    def side(number: int) -> int:
        return number ^ 1 if number >= 0 and number // 2 == axis else number

    cut = list(truth.cut)
    cut[2 * axis], cut[2 * axis + 1] = cut[2 * axis + 1], cut[2 * axis]
    return replace(truth, up=side(truth.up), front=side(truth.front), cut=tuple(cut))


def _kept(sketch: Sketch, stripped: bool, defaced: bool, rng: Rng) -> Array | None:
    if not stripped and not defaced:
        return None
    name = f"{'stripped' if stripped else 'defaced'}_{rng.integers(2)}"
    return sketch.kept[KEPT.index(name)].astype(np.float32)


# --- scanners ---------------------------------------------------------------------------------------------------------


def _mr(volume: Array, kept: Array | None, brain: Array, stripped: bool, rng: Rng) -> Array:
    volume = volume ** np.float32(np.exp(rng.normal(0, 0.15)))
    volume = _thick(volume, rng)
    if rng.random() < (0.4 if stripped else 0.85):  # stripped scans are mostly freed of their bias
        volume = volume * shading(volume.shape, rng.uniform(0, 0.3), rng)
    inside = brain > 0.5
    level = float(np.median(volume[inside])) if inside.any() else float(volume.mean())
    sigma = rng.uniform(0, 0.06) * level * (1 if rng.random() < 0.8 else 2)
    real, imaginary = (_white(volume.shape, rng) * np.float32(sigma) for _ in range(2))
    volume = np.sqrt((volume + real) ** 2 + imaginary**2)
    if kept is not None:
        volume = volume * kept
        if stripped and rng.random() < 0.12:  # standardised: parts of the brain lie below the background's 0
            left = kept > 0.5
            volume = np.where(left, (volume - volume[left].mean()) / volume[left].std(), 0).astype(np.float32)
    elif rng.random() < 0.2:
        volume = np.where(volume > 3 * sigma, volume, 0)
    if rng.random() < 0.5:  # many tools cut off the brightest voxels, and with them the vessels
        volume = np.minimum(volume, np.percentile(volume[::2, ::2, ::2], rng.uniform(98.5, 99.95)))
    return volume.astype(np.float32)


def _ct(volume: Array, kept: Array | None, rng: Rng) -> Array:
    volume = volume + _white(volume.shape, rng) * np.float32(rng.uniform(0.5, 6))
    outside = float(rng.choice([_AIR, 0.0, -1024.0], p=[0.5, 0.35, 0.15]))
    if kept is None and rng.random() < 0.3:  # beyond the scanner's circle
        y, x = np.ogrid[-1 : 1 : volume.shape[1] * 1j, -1 : 1 : volume.shape[2] * 1j]
        volume = np.where(y * y + x * x < rng.uniform(1.0, 1.5), volume, rng.choice([-1024.0, -2000.0, -3024.0]))
    if kept is not None:
        # Where half a voxel is left, so is half of what was there.
        volume = outside + (volume - outside) * kept
    if rng.random() < 0.45:
        low, high = WINDOWS[str(rng.choice(list(WINDOWS)))]
        volume = np.clip(volume, low, high)
        if rng.random() < 0.3:
            volume = np.round((volume - low) * (255 / (high - low)))
    return volume.astype(np.float32)


@lru_cache(maxsize=1)
def _noise_bank() -> Array:
    return np.random.default_rng(0).standard_normal(1 << 22, np.float32)


def _white(shape: tuple[int, ...], rng: Rng) -> Array:
    """Standard normal noise: a stretch of a long list, since drawing it anew takes longer than all else."""
    count = math.prod(shape)
    bank = _noise_bank()
    first = int(rng.integers(len(bank) - count))
    return bank[first : first + count].reshape(shape)


def _thick(volume: Array, rng: Rng) -> Array:
    """Slices of some 4 to 7 mm along one axis, softer along all, or neither."""
    if rng.random() < 0.2:
        for axis in range(3):
            volume = _softer(volume, axis, rng.uniform(0.03, 0.12))
    if rng.random() < 0.4:
        axis = int(rng.choice(3, p=[0.66, 0.16, 0.18]))
        volume = _softer(volume, axis, rng.uniform(0.12, 0.33))
    return volume


def _softer(volume: Array, axis: int, share: float) -> Array:
    softer: Array = (1 - 2 * share) * volume + share * (np.roll(volume, 1, axis) + np.roll(volume, -1, axis))
    return softer


def shading(shape: tuple[int, ...], strength: float, rng: Rng) -> Array:
    """A smooth factor about 1: a product of waves along the axes, which costs next to nothing."""
    field = np.zeros(shape, np.float32)
    for _ in range(3):
        waves = [
            np.cos(np.linspace(0, rng.uniform(0.5, 1.6) * np.pi, n) + rng.uniform(0, 2 * np.pi)).astype(np.float32)
            for n in shape
        ]
        field += rng.normal() * waves[0][:, None, None] * waves[1][None, :, None] * waves[2][None, None]
    return np.exp(np.float32(strength) * field)


# --- fields of view ---------------------------------------------------------------------------------------------------


def _field_of_view(volume: Array, brain: Array, truth: Truth, rng: Rng) -> tuple[Array, Array, Truth]:
    """A box of the scan; `truth` says what of the brain it misses."""
    whole = brain.sum()
    side, top = np.asarray((brain > 0.3).any(2)), np.asarray((brain > 0.3).any(0))
    lines = [np.flatnonzero(line) for line in (side.any(1), side.any(0), top.any(0))]
    ends = [(int(line[0]), int(line[-1]) + 1) if len(line) else (0, n) for line, n in zip(lines, brain.shape)]
    box = [[0, n] for n in brain.shape]
    for axis, (first, last) in enumerate(ends):  # air, face and neck come off without harm
        if rng.random() < 0.5:
            box[axis][0] = int(rng.integers(0, first + 1))
        if rng.random() < 0.5:
            box[axis][1] = int(rng.integers(last, brain.shape[axis] + 1))
    if rng.random() < 0.42:
        axis = int(rng.choice(3, p=[0.64, 0.18, 0.18]))
        first, last = ends[axis]
        kept = max(3, int(rng.uniform(0.2, 0.85) * (last - first)))
        start = first + int(rng.choice([0.0, 1.0, rng.random()], p=[0.35, 0.35, 0.3]) * (last - first - kept))
        if start > first:
            box[axis][0] = start
        if start + kept < last:
            box[axis][1] = start + kept
    place = tuple(slice(low, high) for low, high in box)
    cut = []
    for axis, (first, last) in enumerate(ends):
        cut += [(last - box[axis][1]) * SPACING > _CUT_MM, (box[axis][0] - first) * SPACING > _CUT_MM]
    truth = replace(truth, cut=tuple(cut), brain=float(brain[place].sum() / whole) if whole else 0.0)
    volume, brain = volume[place], brain[place]
    if rng.random() < 0.06:  # the scan ends before its grid does
        volume, brain = volume.copy(), brain
        axis = int(rng.integers(3))
        missing = int(rng.uniform(0.05, 0.25) * volume.shape[axis])
        ends_at = [slice(None)] * 3
        ends_at[axis] = slice(0, missing) if rng.random() < 0.5 else slice(volume.shape[axis] - missing, None)
        volume[tuple(ends_at)] = volume.min()
    return volume, brain, truth
