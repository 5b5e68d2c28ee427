"""The figures that `compare` reports, each by its definition; plain functions on numpy arrays and masks."""

from __future__ import annotations

from .intensity import AffineFit, affine_fit, bias, mae, oracle, percentile_scale, psnr
from .protocols import RULES, Rules, score
from .results import BetweenSlices, Comparison, Region, Scored, Scores
from .slices import mean_step, plane_ssim, slice_axis, step_error, through_plane_ratio
from .structure import MS_SMALLEST, WINDOW, mean_in, ms_ssim, ssim, ssim_map

__all__ = [
    "MS_SMALLEST",
    "RULES",
    "WINDOW",
    "AffineFit",
    "BetweenSlices",
    "Comparison",
    "Region",
    "Rules",
    "Scored",
    "Scores",
    "affine_fit",
    "bias",
    "mae",
    "mean_in",
    "mean_step",
    "ms_ssim",
    "oracle",
    "percentile_scale",
    "plane_ssim",
    "psnr",
    "score",
    "slice_axis",
    "ssim",
    "ssim_map",
    "step_error",
    "through_plane_ratio",
]
