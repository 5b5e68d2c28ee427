"""Signal equations: what a voxel of given tissue gives under a given sequence.

Each function takes proton density `pd` (no unit), `t1` and `t2` (ms; scalars or arrays that broadcast) and sequence
times in ms, and gives the magnitude signal on the scale of `pd`. Equations: FIELD.md section 5.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]


class Sequence(Protocol):
    """A pulse sequence with its parameters set; calling it gives the signal."""

    def __call__(self, pd: ArrayLike, t1: ArrayLike, t2: ArrayLike) -> Array: ...


@dataclass(frozen=True)
class SpinEcho:
    """Spin echo, and turbo spin echo at its effective echo time: PD (1 - e^(-TR/T1)) e^(-TE/T2)."""

    tr: float
    te: float

    def __call__(self, pd: ArrayLike, t1: ArrayLike, t2: ArrayLike) -> Array:
        return np.asarray(pd) * (1 - np.exp(-self.tr / np.asarray(t1))) * np.exp(-self.te / np.asarray(t2))


@dataclass(frozen=True)
class SpoiledGradientEcho:
    """Spoiled gradient echo (FLASH, SPGR) in steady state at the flip angle `flip` (degrees).

    The echo time is short; its decay is taken with T2 in place of T2*, which our tissue table does not have.
    """

    tr: float
    te: float
    flip: float

    def __call__(self, pd: ArrayLike, t1: ArrayLike, t2: ArrayLike) -> Array:
        e1 = np.exp(-self.tr / np.asarray(t1))
        angle = np.deg2rad(self.flip)
        steady = np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1)
        return np.asarray(pd) * steady * np.exp(-self.te / np.asarray(t2))


@dataclass(frozen=True)
class Mprage:
    """Inversion, free recovery, a train of small-angle pulses, free recovery; in steady state over cycles of `tr`.

    `ti` runs from the inversion to the middle of the train, where contrast is decided. During the train the
    magnetisation heads for a lower plateau with the shorter time constant T1* (Deichmann et al., NeuroImage 2000).
    """

    tr: float
    ti: float
    te: float
    flip: float
    pulses: int
    spacing: float

    def __call__(self, pd: ArrayLike, t1: ArrayLike, t2: ArrayLike) -> Array:
        t1 = np.asarray(t1)
        train = self.pulses * self.spacing
        before, after = self.ti - train / 2, self.tr - self.ti - train / 2
        if before < 0 or after < 0:
            raise ValueError(
                f"The read-out of {train:.0f} ms does not fit around TI {self.ti:.0f} ms within TR {self.tr:.0f} ms."
            )
        rate = 1 / t1 - np.log(np.cos(np.deg2rad(self.flip))) / self.spacing  # 1 / T1*
        plateau = (1 - np.exp(-self.spacing / t1)) / (1 - np.exp(-self.spacing * rate))
        # Longitudinal magnetisation m over one cycle is a chain of steps m -> a m + b; M0 = 1.
        free_before, free_after = np.exp(-before / t1), np.exp(-after / t1)
        half = np.exp(-train / 2 * rate)
        slope = -free_before * half * half * free_after
        start = 1 - free_before  # m at the first pulse, had the inversion left nothing
        end = (start * half * half + plateau * (1 - half * half)) * free_after + 1 - free_after
        steady = end / (1 - slope)  # m just before each inversion
        middle = (start - free_before * steady) * half + plateau * (1 - half)
        return np.asarray(pd) * np.sin(np.deg2rad(self.flip)) * np.abs(middle) * np.exp(-self.te / np.asarray(t2))


@dataclass(frozen=True)
class InversionRecovery:
    """Inversion, then a (turbo) spin echo: PD |1 - 2 e^(-TI/T1) + e^(-TR/T1)| e^(-TE/T2). FLAIR nulls CSF by TI."""

    tr: float
    ti: float
    te: float

    def __call__(self, pd: ArrayLike, t1: ArrayLike, t2: ArrayLike) -> Array:
        t1 = np.asarray(t1)
        recovered = np.abs(1 - 2 * np.exp(-self.ti / t1) + np.exp(-self.tr / t1))
        return np.asarray(pd) * recovered * np.exp(-self.te / np.asarray(t2))


def null_time(tr: float, t1: float) -> float:
    """The TI in ms at which a tissue of this T1 gives no signal, at this TR."""
    return float(t1 * np.log(2 / (1 + np.exp(-tr / t1))))
