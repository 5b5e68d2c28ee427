"""Figures of held-out data that a person can read, while training: near to the protocols of `compare`, on slabs and patches."""

import numpy as np
import torch
from torch import Tensor

from modality_conversion.modality import Modality
from training.data.regions import BRAIN_REGIONS, Region

FEWEST = 100
"""Voxels of the brain, or of the head, below which an item is not measured."""


def mean_rows(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def _scaled(values: Tensor) -> Tensor:
    """Scaled by its own 0.5 and 99.5 percentiles, cut to [0, 1]."""
    low, high = torch.quantile(values, torch.tensor([0.005, 0.995], device=values.device))
    return ((values - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)


def _affine_fit(prediction: Tensor, target: Tensor) -> Tensor:
    """a * prediction + b with the least squared error."""
    centred = prediction - prediction.mean()
    slope = (centred * target).sum() / centred.square().sum().clamp_min(1e-9)
    return target.mean() + slope * centred


def _psnr(prediction: Tensor, target: Tensor) -> float:
    return float(-10 * (prediction - target).square().mean().clamp_min(1e-12).log10())


class Figures:
    """Looks at one batch after the other and says how near the answers are to the target: MR in the brain, CT in the head.

    `mae` is in units of the output scale. PSNR is in dB with range 1, prediction and target each scaled by its own
    percentiles in the brain or head; `fitted` after one affine fit, which forgives another contrast. Both are given of the
    source itself too: a network that is no better has learnt no anatomy.
    """

    def __init__(self, target: Modality) -> None:
        self.target = target
        self._rows: list[dict[str, float]] = []

    def add(self, mean: Tensor, target: Tensor, region: Tensor, source: Tensor) -> None:
        """One batch, (N, slices, H, W) each; `source` is one that the network saw, in the same place."""
        looked_at = region != Region.BACKGROUND
        if self.target is not Modality.CT:
            looked_at = torch.isin(region, torch.tensor([int(code) for code in BRAIN_REGIONS], device=region.device))
        for item in range(len(mean)):
            inside = looked_at[item]
            if inside.sum() < FEWEST:
                continue
            wanted, found, seen = (part[item][inside].float() for part in (target, mean, source))
            mae = float((found - wanted).abs().mean())
            wanted, found, seen = _scaled(wanted), _scaled(found), _scaled(seen)
            self._rows.append(
                {
                    "mae": mae,
                    "psnr": _psnr(found, wanted),
                    "psnr_fitted": _psnr(_affine_fit(found, wanted), wanted),
                    "source_psnr": _psnr(seen, wanted),
                    "source_psnr_fitted": _psnr(_affine_fit(seen, wanted), wanted),
                }
            )

    def result(self) -> dict[str, float]:
        """The mean of each figure over the items; {} where nothing of the kind was seen."""
        return mean_rows(self._rows)
