"""A mask of the head from a scan of any kind, with a small network after DeepLabv3+, slice by slice."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.data.cases import PackedCase
from training.data.pools import Draws, Pools, PoolSettings
from training.data.structure_boxes import BoxMaker, Look
from training.data.structures import HEAD
from training.data.subsets import Given, Subsets
from training.networks.deeplab import STRIDE, DeepLab, DeepLabSettings
from training.recipes.base import Batch
from training.recipes.declared import head_like
from training.recipes.outlines import HEAD_LABELS, grid, labels, segmenting
from training.recipes.segmentation import Answer, SegmentationRecipe, SegmentationSettings

_SCANS = (Modality.CT, Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD)


class HeadMaskSettings(SegmentationSettings):
    """The recipe's options."""

    sources: tuple[Modality, ...] = Field(_SCANS, min_length=1)
    """Kinds of scans that it can be given, one at a time."""
    network: DeepLabSettings = DeepLabSettings()
    """Size of the network."""
    spacing: int = Field(2, ge=1, le=4)
    """Side of its voxels in mm."""
    crop: tuple[int, int] = (96, 112)
    """Height and width of what it sees while it learns, in its voxels; multiples of 8."""

    @model_validator(mode="after")
    def _fitting(self) -> "HeadMaskSettings":
        if any(side % STRIDE for side in self.crop):
            raise ValueError(f"the sides of `crop` must be multiples of {STRIDE}")
        if self.network.context % 2 == 0:
            raise ValueError("`network.context` must be odd: the middle slice comes out")
        return self


class OneOf(Subsets):
    """One scan of a case, in the only place that there is."""

    def draw(self, case: PackedCase, rng: np.random.Generator) -> Given:
        """See `Subsets`."""
        return (next(modality for modality in super().draw(case, rng) if modality is not None),)


class HeadMask(SegmentationRecipe[HeadMaskSettings]):
    """See the module."""

    def network(self) -> DeepLab:
        """A new network."""
        return DeepLab(self.settings.network).to(memory_format=torch.channels_last)

    def subsets(self) -> Subsets:
        """See `SegmentationRecipe`."""
        return OneOf(self.settings.sources, HEAD, single=1.0)

    def held_out_subsets(self) -> dict[str, Subsets]:
        """See `SegmentationRecipe`: each kind of scan."""
        sources = self.settings.sources
        return {str(source): OneOf(sources, HEAD, 1.0, (source,)) for source in sources}

    def draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], subsets: Subsets, seed: int
    ) -> Draws:
        """See `SegmentationRecipe`."""
        wanted = self.settings
        look = Look((wanted.network.context, *wanted.crop), 1, wanted.spacing)
        return Draws(BoxMaker(Pools(pools, shares, subsets, any_spacing=True), subsets, HEAD, look, wanted.boxes), seed)

    def answers(self, network: nn.Module, batch: Batch) -> dict[str, Answer]:
        """See `SegmentationRecipe`."""
        logits = network(batch["source"].contiguous(memory_format=torch.channels_last))
        return {"outline": Answer(logits[:, :, None], batch["truth"][:, :, None], HEAD.names)}

    def seen(self, batch: Batch) -> Tensor:
        """See `SegmentationRecipe`."""
        return batch["source"][:, self.settings.network.context // 2]

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""
        return network.eval()

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        wanted = self.settings
        segmentation = {
            "labels": labels(HEAD_LABELS),
            "activation": "sigmoid",
            "postprocess": [{"op": "largest_component"}, {"op": "fill_holes"}],
        }
        sampler = {"kind": "slice", "axes": [0], "context": wanted.network.context, "batch": 16}
        geometry = grid(wanted.spacing, pad_multiple=[None, STRIDE, STRIDE])
        return segmenting(wanted.sources, [{"name": "slab", "role": "image"}], sampler, geometry, segmentation)

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        return (head_like(self.settings.network.context, 64, 64)[None],)
