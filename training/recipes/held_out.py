"""What recipes do alike with held-out data: store it, bring it to where the network is, average figures, show it."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.data.augment import SourceAugmentation
from training.data.directions import OneDirection
from training.data.pools import Draws, PoolSettings, held_out
from training.metrics import mean_rows
from training.recipes.base import Batch

ROWS = 12
"""Rows of a picture."""


def unchanged(pools: Mapping[str, PoolSettings], name: str) -> dict[str, PoolSettings]:
    """A pool whose sources are left as they are."""
    return {name: PoolSettings(folder=pools[name].folder, augmentation=SourceAugmentation(calm=1.0))}


def stored(draws: Draws, batch: int, count: int) -> list[Batch]:
    """The first batches, in half precision, as on the disk: many directions take much room."""
    return [
        {key: part.half() if part.is_floating_point() else part for key, part in items.items()}
        for items in held_out(draws, batch, count)
    ]


def ready(batch: Batch, network: nn.Module) -> dict[str, Tensor]:
    """A stored batch in full precision, where the network is."""
    device = next(network.parameters()).device
    return {key: (part.float() if part.is_floating_point() else part).to(device) for key, part in batch.items()}


def sheet(rows: list[Tensor]) -> NDArray[np.floating]:
    """The first rows, each (height, width) from the back and the left, below each other, from the top as pictures are."""
    found: NDArray[np.floating] = torch.stack(rows[:ROWS]).flip(1).flatten(0, 1).clamp(0, 1).numpy()
    return found


def by_target(rows: list[tuple[OneDirection, dict[str, float]]]) -> dict[str, float]:
    """The mean of each figure over directions, and of several targets the `psnr` of each."""
    found = mean_rows([row for _, row in rows])
    asked = dict.fromkeys(direction.target for direction, _ in rows)
    if len(asked) > 1:
        for target in asked:
            mean = mean_rows([row for of, row in rows if of.target == target])
            found |= {f"psnr_{target}": mean["psnr"]} if "psnr" in mean else {}
    return found


def shown(image: Tensor, target: Modality | None) -> Tensor:
    """Grey values for an eye, of the output scale: of a CT -200 to 800 HU, else [0, 1]. None: of the input scale."""
    return image + 0.2 if target is Modality.CT else image
