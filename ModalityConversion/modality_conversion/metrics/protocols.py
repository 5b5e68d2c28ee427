"""The protocols: which values count, over which range, and which structure figure; and scoring a pair of arrays by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .intensity import affine_fit, bias, mae, psnr
from .results import Scored, Scores
from .structure import WINDOW, mean_in, ms_ssim, ssim_map


@dataclass(frozen=True)
class Rules:
    """What tells one protocol from another."""

    definition: str
    units: str
    scaled: bool
    """Each volume scaled by its own percentiles in the mask first."""
    fit: bool
    """Scored a second time after the affine fit."""
    low: float
    high: float
    clip: bool
    """Clip to low..high for PSNR and structure; MAE and bias never are."""
    crop: int
    """Voxels at every face that SSIM leaves out."""
    scales: bool
    """MS-SSIM instead of SSIM."""


RULES = {
    "slices": Rules(
        definition="each volume scaled by its own 0.5-99.5 percentiles in the mask and clipped to [0, 1]; PSNR in the mask, "
        "range 1; SSIM with uniform 7x7x7 windows and sample covariance, both volumes 0 outside the mask, mean over the mask",
        units="scaled, 0 to 1",
        scaled=True,
        fit=True,
        low=0.0,
        high=1.0,
        clip=False,
        crop=0,
        scales=False,
    ),
    "synthrad2023": Rules(
        definition="MAE in the mask; PSNR in the mask, clipped to [-1024, 3000], range 4024; SSIM with uniform 7x7x7 windows "
        "and sample covariance, outside the mask -1024, shifted by +1024, mean over the mask without 3 voxels at every face",
        units="HU",
        scaled=False,
        fit=False,
        low=-1024.0,
        high=3000.0,
        clip=True,
        crop=3,
        scales=False,
    ),
    "synthrad2025": Rules(
        definition="MAE in the mask; PSNR in the mask, clipped to [-1024, 3071], range 4095; MS-SSIM of five scales with 2x2x2 "
        "box downsampling, outside the mask -1024, shifted by +1024, mean over the mask without 3 voxels at every face",
        units="HU",
        scaled=False,
        fit=False,
        low=-1024.0,
        high=3071.0,
        clip=True,
        crop=3,
        scales=True,
    ),
}


def score(real: np.ndarray, other: np.ndarray, places: Sequence[np.ndarray], rules: Rules) -> list[Scored]:
    """Score one float64 volume against the real one over each of `places`: the whole mask first, then parts of it.

    The affine fit is made once, in the whole mask. Volumes come scaled where the protocol scales.
    """
    as_is = _scores(real, other, places, rules)
    if not rules.fit:
        return [Scored(scores) for scores in as_is]
    line = affine_fit(real, other, places[0])
    fitted = _scores(real, line.apply(other), places, rules)
    return [Scored(before, after, line) for before, after in zip(as_is, fitted)]


def _scores(real: np.ndarray, other: np.ndarray, places: Sequence[np.ndarray], rules: Rules) -> list[Scores]:
    inside = places[0]
    data_range = rules.high - rules.low
    r, p = (np.clip(volume, rules.low, rules.high) if rules.clip else volume for volume in (real, other))
    shifted_r, shifted_p = (np.where(inside, volume - rules.low, 0.0) for volume in (r, p))
    structure = None
    if not rules.scales and min(real.shape) >= WINDOW:
        structure = ssim_map(shifted_r, shifted_p, data_range, within=inside)

    def scores(where: np.ndarray) -> Scores:
        ssim: float | None = None
        if not rules.scales:
            ssim = math.nan if structure is None else mean_in(structure, where, rules.crop)
        return Scores(
            voxels=int(np.count_nonzero(where)),
            mae=mae(real, other, where),
            bias=bias(real, other, where),
            psnr=psnr(r, p, where, data_range),
            ssim=ssim,
            ms_ssim=ms_ssim(shifted_r, shifted_p, inside, data_range) if rules.scales and where is inside else None,
        )

    return [scores(where) for where in places]
