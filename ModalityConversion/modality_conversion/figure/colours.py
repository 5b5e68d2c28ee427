"""From values to screen colours, and the bar that explains them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .planes import field_of_view, tissue

# Stops from 0 to 1, evenly spaced, in RGB. Told apart with every common kind of colour blindness; black means nothing.
_DIVERGING = ((140, 240, 255), (30, 120, 255), (0, 0, 0), (255, 110, 0), (255, 240, 120))
_RISING = ((0, 0, 0), (90, 20, 110), (205, 65, 80), (250, 150, 40), (255, 245, 160))


@dataclass(frozen=True)
class Window:
    """What is black and what is white."""

    low: float
    high: float

    @property
    def text(self) -> str:
        """Window and level, as viewers say it."""
        return f"W {_short(self.high - self.low)}  L {_short((self.high + self.low) / 2)}"

    def share(self, values: np.ndarray) -> np.ndarray:
        """Where each value lies between low and high, 0 to 1; no number is 0."""
        width = self.high - self.low or 1.0
        shares: np.ndarray = np.clip((np.nan_to_num(values, nan=self.low) - self.low) / width, 0, 1)
        return shares


def grey(shares: np.ndarray) -> np.ndarray:
    """RGB bytes, shape (..., 3), of shares from 0 to 1."""
    return np.repeat(np.round(shares * 255).astype(np.uint8)[..., None], 3, axis=-1)


def diverging(shares: np.ndarray) -> np.ndarray:
    """RGB bytes: blue below the middle, black in the middle, orange above."""
    return _blend(shares, _DIVERGING)


def rising(shares: np.ndarray) -> np.ndarray:
    """RGB bytes: black, violet, red, yellow."""
    return _blend(shares, _RISING)


def _blend(shares: np.ndarray, stops: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(shares, at, [stop[channel] for stop in stops]) for channel in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def robust_window(array: np.ndarray) -> Window:
    """From the 1st percentile of all voxels to the 99.5th of the foreground in the middle of the volume.

    The middle is the inner half along each axis of the foreground's box: scalp fat, in T1 far brighter than the brain, lies
    outside it. Where that leaves nothing, the whole range.
    """
    finite = array[np.isfinite(array)]
    inside = tissue(array)
    box = field_of_view(inside, None, (0, 0, 0))
    inner = tuple(slice(s.start + (s.stop - s.start) // 4, s.stop - (s.stop - s.start) // 4) for s in box)
    middle = array[inner][inside[inner]]
    low = float(np.percentile(finite, 1))
    high = float(np.percentile(middle, 99.5)) if middle.size else low
    return Window(low, high) if high > low else Window(float(finite.min()), float(finite.max()))


def robust_limit(array: np.ndarray) -> float:
    """The 99th percentile of the absolute values that are not 0, rounded up to two digits; 1 where there are none."""
    sizes = np.abs(array[np.isfinite(array) & (array != 0)])
    if not sizes.size:
        return 1.0
    limit = float(np.percentile(sizes, 99))
    unit = 10.0 ** (math.floor(math.log10(limit)) - 1)
    return math.ceil(limit / unit - 1e-9) * unit


def _short(value: float) -> str:
    """Three digits or all before the point: 400, 0.85, 1234."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
