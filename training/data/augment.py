"""What changes each time a scan is drawn: the source's contrast, shading, window and noise. The target stays as it is.

Made for speed, since a core that prepares data does not train: curves are looked up in a table, shadings are products of
small matrices, noise is cut out of a strip drawn once.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.config import Settings

_STEPS = 4096
"""Entries of a table of grey values: finer than float16 is in the upper half of [0, 1]."""


class SourceAugmentation(Settings):
    """How far a source, in [0, 1], is changed."""

    curve: float = 0.35
    """MR. 0: the identity; 1: any rising curve through (0, 0) and (1, 1)."""
    gain: float = 0.15
    """MR. Largest relative change of scale: another scan has another brightest tissue."""
    bias: float = 0.1
    """MR. Deviation of the logarithm of a shading field with nodes some 80 mm apart."""
    noise: float = 0.02
    """Largest deviation of added normal noise; exact zeros stay zero. A CT gets a quarter of it."""
    window: float = 0.2
    """CT. Fraction of the scans that are cut to a random window, as if a window had been applied before saving."""
    calm: float = 0.15
    """Fraction of draws that are left as they are."""


def rising_curve(strength: float, rng: np.random.Generator, knots: int = 7) -> NDArray[np.float64]:
    """Heights at `knots` even steps of a random rising curve from 0 to 1; `strength` 0 gives the straight line."""
    steps = rng.dirichlet(np.full(knots - 1, 1.5))
    steps = (1 - strength) / (knots - 1) + strength * steps
    return np.concatenate([[0.0], np.cumsum(steps)])


@lru_cache(maxsize=1)
def _strip(length: int = 1 << 22) -> NDArray[np.float32]:
    """Normal noise to cut from."""
    return np.random.default_rng(0).standard_normal(length, np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Normal noise of deviation 1; a cut anywhere in the strip."""
    size, strip = int(np.prod(shape)), _strip()
    if size >= len(strip):
        return rng.standard_normal(shape, np.float32)
    start = int(rng.integers(len(strip) - size))
    return strip[start : start + size].reshape(shape)


@lru_cache(maxsize=256)
def _interpolation(length: int, nodes: int) -> NDArray[np.float32]:
    """(length, nodes): linear interpolation from evenly spaced nodes, the first and the last at the ends."""
    where = np.linspace(0, nodes - 1, length)
    return np.maximum(0, 1 - np.abs(where[:, None] - np.arange(nodes))).astype(np.float32)


def _shading(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth positive field around 1 with nodes some 80 mm apart."""
    counts = [max(2, round(length / 80) + 2) for length in shape]
    nodes = np.exp(rng.normal(0, deviation, counts)).astype(np.float32)
    a, b, c = (_interpolation(length, count) for length, count in zip(shape, counts, strict=True))
    rows = np.tensordot(a, nodes, 1)  # (D, b, c)
    field: NDArray[np.float32] = (b @ rows) @ c.T
    return field


def _look_up(scan: NDArray[np.floating], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """table[scan], in [0, 1] both."""
    return table[(scan * np.float32(_STEPS - 1) + np.float32(0.5)).astype(np.int16)]


def _changed_mr(
    scan: NDArray[np.float32], settings: SourceAugmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    heights = rising_curve(settings.curve, rng)
    gamma = float(np.exp(rng.uniform(-1, 1) * settings.curve))
    grey = np.linspace(0, 1, _STEPS)
    table = np.interp(grey, np.linspace(0, 1, len(heights)), heights) ** gamma
    changed = _look_up(scan, table.astype(np.float32))
    changed *= _shading(scan.shape, settings.bias * rng.random(), rng)
    changed *= np.float32(1 + rng.uniform(-settings.gain, settings.gain))
    return changed


def _changed_ct(
    scan: NDArray[np.float32], settings: SourceAugmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    if rng.random() >= settings.window:
        return scan.copy()
    # On the input's scale soft tissue is near the middle, air at 0, dense bone at 1.
    low, high = rng.uniform(0, 0.35), rng.uniform(0.5, 1)
    return np.clip(scan, np.float32(low), np.float32(high))


def augment_source(
    scan: NDArray[np.float32],
    settings: SourceAugmentation,
    rng: np.random.Generator,
    modality: Modality = Modality.T1,
) -> NDArray[np.float32]:
    """A changed copy of a source (slices, H, W), float32 in [0, 1]."""
    if rng.random() < settings.calm:
        return scan
    is_ct = modality is Modality.CT
    changed = (_changed_ct if is_ct else _changed_mr)(scan, settings, rng)
    deviation = rng.uniform(0, settings.noise) * (0.25 if is_ct else 1)
    changed += _noise(scan.shape, rng) * (np.float32(deviation) * (scan != 0))
    return np.clip(changed, 0, 1, out=changed)
