"""What the adversarial recipes share: networks that give an image alone, held-out figures and pictures, the declaration."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.data.directions import OneDirection
from training.data.pools import Draws, Pools, PoolSettings, batches
from training.data.slabs import SlabMaker, SlabSettings
from training.metrics import Figures, mean_rows
from training.parallel import ALL, Share
from training.recipes.base import Batch
from training.recipes.declared import declaration, head_like
from training.recipes.held_out import ROWS, by_target, ready, sheet, shown, stored, unchanged


class TranslationSettings(Settings):
    """Options of every adversarial recipe."""

    slices: int = Field(1, gt=0)
    """Neighbouring slices in, and as many out, as channels: 1 is 2D, 3 and more 2.5D. An odd number."""
    slabs: SlabSettings = SlabSettings(crop=(192, 192), batch=1)
    """Size of what is seen."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's momentum; adversaries change what is asked of each other, so less of the past counts than is usual."""
    pools: dict[str, PoolSettings]
    """Folders of cases by name; the stages of training mix them."""
    validation: str | None = None
    """Pool that is never trained on; figures on it choose among epochs. Its cases have both sides, so that there is something
    to compare with; training needs no pairs where the recipe needs none."""
    validation_batches: int = Field(12, gt=0)
    """How much of it is looked at. A recipe of several directions looks at each of them at least once."""

    @field_validator("slices")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("`slices` must be odd, so that one is in the middle")
        return value

    def fit(self, multiple: int) -> None:
        """Refuse crops whose sides the networks cannot halve. Raises ValueError."""
        if any(side % multiple for side in self.slabs.crop):
            raise ValueError(f"the sides of `slabs.crop` must be multiples of {multiple}")


AnyTranslation = TypeVar("AnyTranslation", bound=TranslationSettings)


class Translation(ABC, Generic[AnyTranslation]):
    """A recipe whose networks learn by turns, and of which `graph` gives slices on the output scale."""

    def __init__(self, settings: AnyTranslation) -> None:
        self.settings = settings

    # --- what each recipe adds ---

    @abstractmethod
    def network(self) -> nn.Module:
        """See `Recipe`: all networks, by name."""

    @abstractmethod
    def draws(self, shares: Mapping[str, float], seed: int) -> Draws:
        """Random items of training."""

    @abstractmethod
    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""

    @abstractmethod
    def turn(self, name: str, network: nn.Module, batch: Batch, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `TakesTurns`; one of the turns is the `generator`."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Height and width must be multiples of this."""

    @abstractmethod
    def possible(self) -> list[OneDirection]:
        """Every conversion that the exported network makes."""

    # --- what they share ---

    @property
    def context(self) -> int:
        """Slices in."""
        return self.settings.slices

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`: of the generator alone; the loop asks for `turn`."""
        return self.turn("generator", network, batch, {})

    def adam(self, *parts: nn.Module, rate: float) -> Optimizer:
        """An optimiser for all parameters of some networks."""
        parameters = [parameter for part in parts for parameter in part.parameters()]
        return Adam(parameters, lr=rate, betas=(self.settings.beta1, 0.999))

    def turns(self, step: int) -> tuple[str, ...]:
        """See `TakesTurns`: the generator first, whose images the discriminator then need not have made anew."""
        return ("generator", "discriminator")

    def state(self) -> dict[str, Tensor]:
        """See `TakesTurns`."""
        return {}

    def take(self, state: Mapping[str, Tensor]) -> None:
        """See `TakesTurns`."""

    def batches(self, shares: Mapping[str, float], first: int, seed: int, share: Share = ALL) -> Iterator[Batch]:
        """See `Recipe`."""
        slabs = self.settings.slabs
        return batches(self.draws(shares, seed), first, slabs.batch, slabs.workers, share)

    def paired_draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], direction: OneDirection, seed: int
    ) -> Draws:
        """Random items with a source and its target."""
        maker = SlabMaker(
            Pools(pools, shares, direction),
            direction,
            (direction.target,),
            self.settings.slabs,
            context=self.context,
            outputs=self.settings.slices,
        )
        return Draws(maker, seed)

    @cached_property
    def held_out(self) -> dict[OneDirection, list[Batch]]:
        """Fixed batches of the validation pool, by direction."""
        wanted = self.settings
        if wanted.validation is None:
            return {}
        if wanted.validation not in wanted.pools:
            raise ConfigError(f"`validation` names a pool {wanted.validation!r} that the configuration does not have.")
        pools, shares = unchanged(wanted.pools, wanted.validation), {wanted.validation: 1.0}
        series: dict[OneDirection, Draws] = {}
        fault: ConfigError | None = None
        for direction in self.possible():
            try:
                series[direction] = self.paired_draws(pools, shares, direction, seed=0)
            except ConfigError as error:  # no held-out case has both
                fault = error
        if not series:
            raise ConfigError(f"{fault} Without such pairs set `validation: null`; the newest epoch is then taken.")
        # At least eight items of each direction, however small a batch is.
        batch = max(wanted.slabs.batch, 8)
        count = max(1, wanted.validation_batches // len(series))
        return {direction: stored(draws, batch, count) for direction, draws in series.items()}

    def answer(self, graph: nn.Module, direction: OneDirection, source: Tensor) -> Tensor:
        """What the exported network makes of slabs (N, context, H, W): (N, slices, H, W), on the output scale."""
        output: Tensor = graph(source)
        return output

    def _middle(self, source: Tensor) -> Tensor:
        margin = (self.context - self.settings.slices) // 2
        return source[:, margin : margin + self.settings.slices]

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """See `Recipe`: the figures of `Figures`; `total` is the mean absolute error of all voxels, on the output scale."""
        graph = self.graph(network)
        rows: list[tuple[OneDirection, dict[str, float]]] = []
        for direction, group in self.held_out.items():
            figures, errors = Figures(direction.target), []
            for kept in group:
                batch = ready(kept, network)
                found = self.answer(graph, direction, batch["source"]).float()
                errors.append({"total": float((found - batch["target"]).abs().mean())})
                figures.add(found, batch["target"], batch["region"], self._middle(batch["source"]))
            rows.append((direction, mean_rows(errors) | figures.result()))
        return by_target(rows) if rows else {}

    @torch.no_grad()
    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """See `Recipe`: source, output and target, a row an item: some of each direction."""
        if not self.held_out:
            return np.zeros((1, 1))
        graph = self.graph(network)
        each = max(1, ROWS // len(self.held_out))
        rows: list[Tensor] = []
        for direction, group in self.held_out.items():
            batch = {key: part[:each] for key, part in ready(group[0], network).items()}
            found = self.answer(graph, direction, batch["source"]).float()
            middle = found.shape[1] // 2
            columns = [
                self._middle(batch["source"])[:, middle],
                shown(found[:, middle], direction.target),
                shown(batch["target"][:, middle], direction.target),
            ]
            rows.extend(torch.cat(columns, 2).cpu())
        return sheet(rows)

    def declared_inputs(self) -> list[dict[str, Any]]:
        """`inputs` of `conversion.json`."""
        return [{"name": "slab", "role": "image"}]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        slices = self.settings.slices
        sampler: dict[str, Any] = {"kind": "slab", "axes": [0], "context": self.context, "outputs": slices, "batch": 4}
        directions = self.possible()
        return declaration(
            list(dict.fromkeys(direction.source for direction in directions)),
            list(dict.fromkeys(direction.target for direction in directions)),
            self.declared_inputs(),
            sampler | ({"overlap": 0.4} if slices > 1 else {}),
            pad_multiple=[None, self.multiple, self.multiple],
            uncertainty=False,
        )

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""
        side = max(64, self.multiple)
        return (head_like(self.context, side, side)[None],)


class OneWaySettings(TranslationSettings):
    """Options of recipes between two kinds of scan."""

    source: Modality = Modality.T1
    """One kind of scan."""
    target: Modality = Modality.T2
    """The other kind."""

    @model_validator(mode="after")
    def _something_to_convert(self) -> "OneWaySettings":
        if self.source == self.target:
            raise ValueError("`source` and `target` leave nothing to convert")
        return self
