"""A brain tumor in two stages, from one to four scans: found on a coarse grid, then outlined in slabs, slices or patches.

Whole tumor, core and, where the scan after contrast agent is given, the enhancing part, each within the one before. Which
scans are given is drawn anew for each item (modality dropout). Both stages learn side by side in one run, for one bundle.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import Discriminator, Field, Tag, model_validator
from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.coarse import Coarse
from training.data.pools import Draws, Pools, PoolSettings, batches
from training.data.structure_boxes import BoxMaker, Look
from training.data.structures import TUMOR
from training.data.subsets import Subsets
from training.networks.conditional import Trunk
from training.networks.inherit import TrunkOf, inherit_trunk
from training.networks.tumor import (
    BlocksNetSettings,
    BlocksOutline,
    Finder,
    FinderSettings,
    OutlineNetSettings,
    SlabOutline,
    Staged,
    VolumeOutline,
)
from training.networks.volume import VolumeNetSettings
from training.parallel import ALL, Share
from training.recipes.base import Batch, Stage
from training.recipes.declared import head_like
from training.recipes.outlines import TUMOR_LABELS, finder, grid, joint_inputs, labels, segmenting
from training.recipes.segmentation import (
    Answer,
    SegmentationRecipe,
    SegmentationSettings,
    first_given,
    subset_name,
)

_SCANS = (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR)
_NEEDS_AGENT = (False, False, True)
"""Which of whole tumor, core and enhancing part only a scan after contrast agent shows."""
_POSTPROCESS = ({"op": "remove_small", "volume_ml": 0.05, "together": True}, {"op": "fill_holes"})


class TumorSettings(SegmentationSettings):
    """Options of both recipes."""

    sources: tuple[Modality, ...] = Field(_SCANS, min_length=1)
    """Scans that can be given, in the order of the network's input."""
    single: float = Field(0.35, ge=0, le=1)
    """How often one scan is given though the case has several; else their number is drawn evenly."""
    find: FinderSettings = FinderSettings()
    """The network that finds."""
    often: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """Sets of scans that get a share of the draws before any others, such as `T1+T1CE+T2+FLAIR: 0.4`: those that are asked for
    most."""
    find_items: int | None = Field(None, gt=0)
    """From so many items of a batch, of all processes together, the network that finds learns; None: all. A head at 3 mm
    costs more than a slab."""
    learns: Literal["both", "find"] = "both"
    """`find`: only the network that finds learns; the other one stays as it began (`train.begin_with`)."""

    @model_validator(mode="after")
    def _once(self) -> "TumorSettings":
        if len(set(self.sources)) < len(self.sources) or Modality.CT in self.sources:
            raise ValueError("`sources` names each MR contrast once")
        return self

    @model_validator(mode="after")
    def _known_sets(self) -> "TumorSettings":
        known = [str(source) for source in self.sources]
        wrong = [name for name in self.often if not set(name.split("+")) <= set(known)]
        if wrong or sum(self.often.values()) > 1:
            example = "+".join(known)
            raise ValueError(f"`often` gives sets of {', '.join(known)}, such as {example}, shares of 1 in all at most")
        return self


AnyTumor = TypeVar("AnyTumor", bound=TumorSettings)


class _FewCoarse(Draws):
    """Items of which only the first few of each batch hold what is seen at coarse resolution: it takes long to make."""

    def __init__(self, draws: Draws, batch: int, few: int) -> None:
        super().__init__(draws.make, draws.seed)
        self.batch, self.few = batch, few

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """See `Draws`."""
        rng = np.random.default_rng([self.seed, number])
        return self.make(rng, coarse=number % self.batch < self.few)


class _OnlyCoarse:
    """Makes items that hold nothing but what is seen at coarse resolution."""

    def __init__(self, make: Callable[..., dict[str, Tensor]]) -> None:
        self.make = make

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.make(rng, box=False)


class Tumor(SegmentationRecipe[AnyTumor]):
    """What both recipes share: the stage that finds, the scans, the labels."""

    @property
    @abstractmethod
    def look(self) -> Look:
        """What the stage that outlines sees."""

    @property
    def _agent_place(self) -> int | None:
        sources = self.settings.sources
        return sources.index(Modality.T1CE) if Modality.T1CE in sources else None

    def subsets(self) -> Subsets:
        """See `SegmentationRecipe`."""
        often = {tuple(map(Modality, name.split("+"))): share for name, share in self.settings.often.items()}
        return Subsets(self.settings.sources, TUMOR, self.settings.single, often=often)

    def held_out_subsets(self) -> dict[str, Subsets]:
        """See `SegmentationRecipe`: all scans, and each alone."""
        sources = self.settings.sources
        sets = dict.fromkeys([sources, *((source,) for source in sources)])
        return {subset_name(only): Subsets(sources, TUMOR, 0, only) for only in sets}

    def draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], subsets: Subsets, seed: int
    ) -> Draws:
        """See `SegmentationRecipe`."""
        wanted = self.settings
        coarse = (wanted.find.size, Coarse(wanted.find.spacing))
        maker = BoxMaker(
            Pools(pools, shares, subsets, any_spacing=True), subsets, TUMOR, self.look, wanted.boxes, coarse
        )
        return Draws(maker, seed)

    def batches(self, shares: Mapping[str, float], first: int, seed: int, share: Share = ALL) -> Iterator[Batch]:
        """See `Recipe`."""
        wanted, few = self.settings, self.settings.find_items
        draws = self.draws(wanted.pools, shares, self.subsets(), seed)
        if wanted.learns == "find":
            draws = Draws(_OnlyCoarse(draws.make), seed)
        elif few is not None:
            if few % share.world:
                raise ConfigError(f"`find_items` is {few}; make it a multiple of the {share.world} processes.")
            draws = _FewCoarse(draws, wanted.boxes.batch, few)
        return batches(draws, first, wanted.boxes.batch, wanted.boxes.workers, share)

    def answers(self, network: nn.Module, batch: Batch) -> dict[str, Answer]:
        """See `SegmentationRecipe`."""
        given, look = batch["given"], self.look
        source = batch.get("source")
        found, outlined = network(batch["coarse"], None if source is None else self.laid_out(source), given)
        find = Answer(found, batch["coarse_truth"], ("find",))
        if outlined is None:
            return {"find": find}
        # Nobody can see what takes up agent where none was given.
        place = self._agent_place
        agent = torch.zeros_like(given[:, 0]) if place is None else given[:, place]
        truth = _by_structure(batch["truth"], look)
        shown = torch.stack([agent if needs else torch.ones_like(agent) for needs in _NEEDS_AGENT], 1)
        truth = truth * shown[:, :, None, None, None]
        return {"outline": Answer(_by_structure(outlined, look), truth, TUMOR.names), "find": find}

    def staged(self, outline: nn.Module) -> Staged:
        """Both networks; what does not learn takes no gradients."""
        wanted = self.settings
        outline.requires_grad_(wanted.learns == "both")
        return Staged(Finder(wanted.find, len(wanted.sources)), outline)

    def laid_out(self, source: Tensor) -> Tensor:
        """The batch in the memory layout that is the fastest."""
        return source

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`: the stage that outlines."""
        outline: nn.Module = network.get_submodule("outline")
        return outline.eval()

    def find_stage(self, network: nn.Module) -> Stage:
        """See `StagedRecipe`."""
        sources, given = self.settings.sources, self.example_code()
        volume = head_like(*self.settings.find.size) * given[..., None, None, None]
        return Stage(finder(self.settings.find, sources), network.get_submodule("find").eval(), (volume, given))

    def example_code(self) -> Tensor:
        """All scans but one, (1, sources)."""
        given = torch.ones(1, len(self.settings.sources))
        given[0, 1:2] = 0
        return given

    def _declared(self, name: str, sampler: dict[str, Any], geometry: dict[str, Any], fusion: str) -> dict[str, Any]:
        sources = self.settings.sources
        segmentation = {
            "labels": labels(TUMOR_LABELS),
            "activation": "sigmoid",
            "postprocess": [dict(step) for step in _POSTPROCESS],
            "check_lesions": False,  # it knows tumors alone
        }
        return segmenting(sources, joint_inputs(name, sources), sampler, geometry, segmentation, fusion)


def _by_structure(volume: Tensor, look: Look) -> Tensor:
    """(N, structures * outputs, H, W) or (N, structures, D, H, W) as the latter."""
    return volume.unflatten(1, (-1, look.outputs)) if look.flat else volume


class TumorSlabSettings(TumorSettings):
    """The recipe's options."""

    network: OutlineNetSettings = OutlineNetSettings()
    """The network that outlines."""
    trunk: TrunkOf | None = None
    """A network that converts, with whose trunk this one begins. None: random weights."""
    spacing: int = Field(1, ge=1, le=3)
    """Side of its voxels in mm. At 2 it sees eight times as much of a head in the same time, and outlines as coarsely."""
    crop: tuple[int, int] = (128, 128)
    """Height (back to front) and width (left to right) of what it sees while it learns, in its voxels."""

    @model_validator(mode="after")
    def _fitting(self) -> "TumorSlabSettings":
        if any(side % self.network.multiple for side in self.crop):
            raise ValueError(f"the sides of `crop` must be multiples of {self.network.multiple}")
        return self


class TumorSlab(Tumor[TumorSlabSettings]):
    """Outlined in slabs of axial slices, 2.5D; with one slice in and out, 2D."""

    @property
    def look(self) -> Look:
        """See `Tumor`."""
        net = self.settings.network
        return Look((net.context, *self.settings.crop), net.outputs, self.settings.spacing)

    def network(self) -> Staged:
        """A new network; channels last is the faster layout on CPUs with bfloat16."""
        wanted = self.settings
        outline = SlabOutline(wanted.network, len(wanted.sources), _NEEDS_AGENT, self._agent_place)
        return self.staged(outline.to(memory_format=torch.channels_last))

    @property
    def inherits_from(self) -> Path | None:
        """See `Inherits`."""
        return self.settings.trunk.run if self.settings.trunk else None

    def inherit(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """See `Inherits`: the trunk of the stage that outlines."""
        wanted, trunk = self.settings.trunk, network.get_submodule("outline.trunk")
        assert wanted is not None
        assert isinstance(trunk, Trunk)
        inherit_trunk(trunk, weights, wanted.places(self.settings.sources), len(wanted.sources))

    def laid_out(self, source: Tensor) -> Tensor:
        """See `Tumor`."""
        return source.contiguous(memory_format=torch.channels_last)

    def seen(self, batch: Batch) -> Tensor:
        """See `SegmentationRecipe`."""
        scans = batch["source"].unflatten(1, (len(self.settings.sources), -1))
        return first_given(scans, batch["given"])[:, scans.shape[2] // 2]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        net = self.settings.network
        sampler = {"kind": "slab", "axes": [0], "context": net.context, "outputs": net.outputs, "batch": 4}
        multiple = net.multiple
        geometry = grid(self.settings.spacing, pad_multiple=[None, multiple, multiple])
        return self._declared("slab", sampler, geometry, "mean")

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        given = self.example_code()
        slab = head_like(self.settings.network.context, 96, 96) * given[..., None, None, None]
        return slab.flatten(1, 2), given


def _family(network: Any) -> str:
    """Which settings describe a network."""
    kind = network.get("kind") if isinstance(network, Mapping) else getattr(network, "kind", None)
    return "blocks" if kind == "blocks" else "unet"


class TumorVolumeSettings(TumorSettings):
    """The recipe's options."""

    network: Annotated[
        Annotated[VolumeNetSettings, Tag("unet")] | Annotated[BlocksNetSettings, Tag("blocks")], Discriminator(_family)
    ] = VolumeNetSettings(kind="nnunet", features=(32, 64, 128, 256, 320))
    """The network that outlines, and the size of what it sees; `kind: blocks` is made for two cores."""
    spacing: int = Field(1, ge=1, le=3)
    """Side of its voxels in mm."""


class TumorVolume(Tumor[TumorVolumeSettings]):
    """Outlined in 3D patches: with nnU-Net's network, for a GPU, or with blocks of larger voxels, for two cores."""

    @property
    def look(self) -> Look:
        """See `Tumor`."""
        size = self.settings.network.size
        return Look(size, size[0], self.settings.spacing, flat=False)

    def network(self) -> Staged:
        """A new network."""
        wanted = self.settings
        told = (len(wanted.sources), _NEEDS_AGENT, self._agent_place)
        net = wanted.network
        return self.staged(BlocksOutline(net, *told) if net.kind == "blocks" else VolumeOutline(net, *told))

    def seen(self, batch: Batch) -> Tensor:
        """See `SegmentationRecipe`."""
        scan = first_given(batch["source"], batch["given"])
        return scan[:, scan.shape[1] // 2]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        sampler = {
            "kind": "patch",
            "size": list(self.settings.network.size),
            "overlap": 0.25 if self.settings.network.kind == "blocks" else 0.5,
            "batch": 1,
            "edge": "zero",
        }
        return self._declared("patch", sampler, grid(self.settings.spacing), "gaussian")

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        given = self.example_code()
        return head_like(*self.settings.network.size) * given[..., None, None, None], given
