"""One network for every direction: slabs of any subset of several scans in, slabs of the contrast asked for out.

Of every case a target is drawn, and which of the other scans are given: most often one, else several (modality dropout). So
the network learns to do with what there is.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.directions import AnyDirection, Directions, OneDirection
from training.data.pools import Draws, Pools, PoolSettings
from training.data.slabs import SlabMaker, SlabSettings
from training.networks.conditional import ConditionalNet, ConditionalNetSettings
from training.networks.parts import Guided
from training.recipes.base import Batch
from training.recipes.declared import declaration, floor, head_like
from training.recipes.regression import Regression, RegressionSettings

_FOUR = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)


class ConditionalSettings(RegressionSettings):
    """The recipe's options."""

    sources: tuple[Modality, ...] = Field(_FOUR, min_length=1)
    """Scans that can be given, in the order of the network's input."""
    targets: tuple[Modality, ...] = Field(_FOUR, min_length=1)
    """Contrasts that can be asked for, in the order of the code."""
    target_shares: dict[Modality, float] = Field(default_factory=dict)
    """How often each target is asked for, where a case has it; 1 for those not named."""
    single: float = Field(0.7, ge=0, le=1)
    """How often one source is given though the case has several; else their number is drawn evenly."""
    network: ConditionalNetSettings = ConditionalNetSettings()
    """Size of the network."""
    slabs: SlabSettings = SlabSettings()
    """Size of what it sees."""

    @model_validator(mode="after")
    def _sensible(self) -> "ConditionalSettings":
        for name, modalities in (("sources", self.sources), ("targets", self.targets)):
            if len(set(modalities)) < len(modalities):
                raise ValueError(f"`{name}` names a modality twice")
        if any(side % self.network.multiple for side in self.slabs.crop):
            raise ValueError(f"the sides of `slabs.crop` must be multiples of {self.network.multiple}")
        if not any(source != target for source in self.sources for target in self.targets):
            raise ValueError("`sources` and `targets` leave nothing to convert")
        return self


class Conditional(Regression[ConditionalSettings]):
    """See the module."""

    def network(self) -> ConditionalNet:
        """A new network; channels last is the faster layout on CPUs with bfloat16."""
        wanted = self.settings
        floors = tuple(floor(target) for target in wanted.targets)
        network = ConditionalNet(wanted.network, len(wanted.sources), floors, wanted.loss.tissues)
        return network.to(memory_format=torch.channels_last)

    @property
    def drawing(self) -> tuple[int, int]:
        """See `Regression`."""
        return self.settings.slabs.batch, self.settings.slabs.workers

    def _series(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], directions: Directions, seed: int
    ) -> Draws:
        wanted = self.settings
        maker = SlabMaker(
            Pools(pools, shares, directions),
            directions,
            wanted.targets,
            wanted.slabs,
            context=wanted.network.context,
            outputs=wanted.network.outputs,
            tissue=bool(wanted.loss.tissues),
        )
        return Draws(maker, seed)

    def draws(self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], seed: int) -> Draws:
        """See `Regression`."""
        wanted = self.settings
        directions = AnyDirection(wanted.sources, wanted.targets, wanted.target_shares, wanted.single)
        return self._series(pools, shares, directions, seed)

    def held_out_draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float]
    ) -> dict[OneDirection, Draws]:
        """See `Regression`: each single source to each target."""
        found = {}
        for target in self.settings.targets:
            for source in self.settings.sources:
                direction = OneDirection(source, target, self.settings.sources)
                if source == target or self.settings.target_shares.get(target, 1.0) == 0:
                    continue
                try:
                    found[direction] = self._series(pools, shares, direction, seed=0)
                except ConfigError:  # no held-out case has both
                    continue
        if not found:  # say why, with the folder
            self.draws(pools, shares, seed=0)
        return found

    def answer(self, network: nn.Module, batch: Batch) -> Tensor | Guided:
        """See `Regression`."""
        source = batch["source"].contiguous(memory_format=torch.channels_last)
        wanted = functional.one_hot(batch["wanted"], len(self.settings.targets)).to(source.dtype)
        given: Tensor | Guided = network(source, batch["given"], wanted)
        return given

    def seen(self, batch: Batch) -> Tensor:
        """See `Regression`."""
        net = self.settings.network
        scans = batch["source"].unflatten(1, (len(self.settings.sources), net.context))
        first = batch["given"].argmax(1)
        margin = (net.context - net.outputs) // 2
        return scans[torch.arange(len(scans)), first, margin : margin + net.outputs]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        wanted = self.settings
        images = [
            {"name": "slab", "role": "image", "modality": str(source), "missing": "zeros"} for source in wanted.sources
        ]
        codes = [
            {"name": "given", "role": "source_code", "order": [str(source) for source in wanted.sources]},
            {"name": "wanted", "role": "target_code", "order": [str(target) for target in wanted.targets]},
        ]
        sampler = {"kind": "slab", "axes": [0], "context": wanted.network.context, "outputs": wanted.network.outputs}
        multiple = wanted.network.multiple
        return declaration(
            wanted.sources,
            wanted.targets,
            [*images, *codes],
            sampler | {"overlap": 0.4, "batch": 4},
            pad_multiple=[None, multiple, multiple],
        )

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`: the first source that is not the last target, to that."""
        wanted = self.settings
        number = next(n for n, source in enumerate(wanted.sources) if source != wanted.targets[-1])
        slab = torch.zeros(1, len(wanted.sources), wanted.network.context, 96, 96)
        slab[:, number] = head_like(wanted.network.context, 96, 96)
        given = functional.one_hot(torch.tensor([number]), len(wanted.sources)).float()
        code = functional.one_hot(torch.tensor([len(wanted.targets) - 1]), len(wanted.targets)).float()
        return slab.flatten(1, 2), given, code
