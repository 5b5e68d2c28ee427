"""One network for every direction: slabs of any subset of several scans in, slabs of the contrast asked for out.

Of every case a target is drawn, and which of the other scans are given: most often one, else several (modality dropout). So
the network learns to do with what there is.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.directions import AnyDirection, Directions, OneDirection
from training.data.pools import Draws, Pools, PoolSettings
from training.data.slabs import SlabMaker, SlabSettings
from training.losses import regression_loss
from training.networks.conditional import ConditionalNet, ConditionalNetSettings
from training.networks.parts import Guided
from training.recipes.base import Batch
from training.recipes.declared import declaration, floor, head_like
from training.recipes.regression import Regression, RegressionSettings

_FOUR = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)


class AnyToAnySettings(RegressionSettings):
    """Options of every recipe with several sources and targets."""

    sources: tuple[Modality, ...] = Field(_FOUR, min_length=1)
    """Scans that can be given, in the order of the network's input."""
    targets: tuple[Modality, ...] = Field(_FOUR, min_length=1)
    """Contrasts that can be asked for, in the order of the code."""
    target_shares: dict[Modality, float] = Field(default_factory=dict)
    """How often each target is asked for, where a case has it; 1 for those not named."""
    single: float = Field(0.7, ge=0, le=1)
    """How often one source is given though the case has several; else their number is drawn evenly."""

    @model_validator(mode="after")
    def _something_to_convert(self) -> "AnyToAnySettings":
        for name, modalities in (("sources", self.sources), ("targets", self.targets)):
            if len(set(modalities)) < len(modalities):
                raise ValueError(f"`{name}` names a modality twice")
        if not any(source != target for source in self.sources for target in self.targets):
            raise ValueError("`sources` and `targets` leave nothing to convert")
        return self


AnySettings = TypeVar("AnySettings", bound=AnyToAnySettings)


class AnyToAny(Regression[AnySettings]):
    """What recipes with several sources and targets share: which of a case's scans are given, and what is asked for."""

    @abstractmethod
    def series(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], directions: Directions, seed: int
    ) -> Draws:
        """Items of these directions, without end."""

    def draws(self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], seed: int) -> Draws:
        """See `Regression`."""
        wanted = self.settings
        directions = AnyDirection(wanted.sources, wanted.targets, wanted.target_shares, wanted.single)
        return self.series(pools, shares, directions, seed)

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
                    found[direction] = self.series(pools, shares, direction, seed=0)
                except ConfigError:  # no held-out case has both
                    continue
        if not found:  # say why, with the folder
            self.draws(pools, shares, seed=0)
        return found

    def codes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is given (N, sources) and wanted (N, targets), as the network is told."""
        wanted = functional.one_hot(batch["wanted"], len(self.settings.targets))
        return batch["given"], wanted.to(batch["given"].dtype)

    def declared_inputs(self, name: str) -> list[dict[str, Any]]:
        """`inputs` of `conversion.json`; `name` is that of the images' input."""
        wanted = self.settings
        return [
            *(
                {"name": name, "role": "image", "modality": str(source), "missing": "zeros"}
                for source in wanted.sources
            ),
            {"name": "given", "role": "source_code", "order": [str(source) for source in wanted.sources]},
            {"name": "wanted", "role": "target_code", "order": [str(target) for target in wanted.targets]},
        ]

    def example_codes(self) -> tuple[int, Tensor, Tensor]:
        """The first source that is not the last target, to that: the source's place, and both codes of one item."""
        wanted = self.settings
        number = next(n for n, source in enumerate(wanted.sources) if source != wanted.targets[-1])
        given = functional.one_hot(torch.tensor([number]), len(wanted.sources)).float()
        code = functional.one_hot(torch.tensor([len(wanted.targets) - 1]), len(wanted.targets)).float()
        return number, given, code


class ConditionalSettings(AnyToAnySettings):
    """The recipe's options."""

    network: ConditionalNetSettings = ConditionalNetSettings()
    """Size of the network. If its targets part `late`, an item teaches every target that its case has and that is not given."""
    slabs: SlabSettings = SlabSettings()
    """Size of what it sees."""

    @model_validator(mode="after")
    def _fitting(self) -> "ConditionalSettings":
        if any(side % self.network.multiple for side in self.slabs.crop):
            raise ValueError(f"the sides of `slabs.crop` must be multiples of {self.network.multiple}")
        return self


class Conditional(AnyToAny[ConditionalSettings]):
    """See the module."""

    @property
    def every_target(self) -> bool:
        """Whether an item of training shows all targets that its case has."""
        return self.settings.network.late

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`."""
        if "targets" not in batch:
            return super().loss(network, batch)
        item, wanted = batch["there"].nonzero(as_tuple=True)
        source = batch["source"].contiguous(memory_format=torch.channels_last)
        codes = functional.one_hot(wanted, len(self.settings.targets)).to(batch["given"].dtype)
        given: Tensor | Guided = network(source, batch["given"], codes, item)
        tissue = batch.get("tissue")
        if isinstance(given, Guided):  # tissues are of the items, not of their targets
            given = Guided(given.output, given.tissue[item])
        return regression_loss(
            given,
            batch["targets"][item, wanted],
            batch["region"][item],
            self.settings.loss,
            None if tissue is None else tissue[item],
            together=network.training,
        )

    def network(self) -> nn.Module:
        """A new network; channels last is the faster layout on CPUs with bfloat16."""
        wanted = self.settings
        floors = tuple(floor(target) for target in wanted.targets)
        network = ConditionalNet(wanted.network, len(wanted.sources), floors, wanted.loss.tissues)
        return network.to(memory_format=torch.channels_last)

    @property
    def drawing(self) -> tuple[int, int]:
        """See `Regression`."""
        return self.settings.slabs.batch, self.settings.slabs.workers

    def series(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], directions: Directions, seed: int
    ) -> Draws:
        """See `AnyToAny`."""
        wanted = self.settings
        maker = SlabMaker(
            Pools(pools, shares, directions),
            directions,
            wanted.targets,
            wanted.slabs,
            context=wanted.network.context,
            outputs=wanted.network.outputs,
            tissue=bool(wanted.loss.tissues),
            every_target=self.every_target,
        )
        return Draws(maker, seed)

    def answer(self, network: nn.Module, batch: Batch) -> Tensor | Guided:
        """See `Regression`."""
        source = batch["source"].contiguous(memory_format=torch.channels_last)
        answer: Tensor | Guided = network(source, *self.codes(batch))
        return answer

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
        sampler = {"kind": "slab", "axes": [0], "context": wanted.network.context, "outputs": wanted.network.outputs}
        multiple = wanted.network.multiple
        return declaration(
            wanted.sources,
            wanted.targets,
            self.declared_inputs("slab"),
            sampler | {"overlap": 0.4, "batch": 4},
            pad_multiple=[None, multiple, multiple],
        )

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        number, given, code = self.example_codes()
        wanted = self.settings
        slab = torch.zeros(1, len(wanted.sources), wanted.network.context, 96, 96)
        slab[:, number] = head_like(wanted.network.context, 96, 96)
        return slab.flatten(1, 2), given, code
