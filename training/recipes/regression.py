"""What all recipes of regression share: the loss, held-out data, figures and pictures. Each adds its network and its data."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import Settings
from training.data.directions import OneDirection
from training.data.pools import Draws, PoolSettings, batches
from training.losses import RegressionLossSettings, regression_loss
from training.metrics import Figures, mean_rows
from training.networks.parts import Guided
from training.parallel import ALL, Share
from training.recipes.base import Batch
from training.recipes.held_out import ROWS, by_target, ready, sheet, shown, stored, unchanged


class RegressionSettings(Settings):
    """Options of every recipe of regression."""

    loss: RegressionLossSettings = RegressionLossSettings()
    """Weights of the loss."""
    pools: dict[str, PoolSettings]
    """Folders of cases by name; the stages of training mix them."""
    validation: str | None = None
    """Pool that is never trained on; its losses and figures are logged, and choose among epochs."""
    validation_batches: int = 12
    """How much of it is looked at. A recipe of several directions looks at each of them at least once."""


AnyRegression = TypeVar("AnyRegression", bound=RegressionSettings)


class Regression(ABC, Generic[AnyRegression]):
    """A network that gives means and log-variances, compared with what is there."""

    def __init__(self, settings: AnyRegression) -> None:
        self.settings = settings

    # --- what each recipe adds ---

    @abstractmethod
    def network(self) -> nn.Module:
        """See `Recipe`."""

    @abstractmethod
    def draws(self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], seed: int) -> Draws:
        """Random items of training."""

    @abstractmethod
    def held_out_draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float]
    ) -> dict[OneDirection, Draws]:
        """Random items to validate with, of each direction for which the pools have cases."""

    @abstractmethod
    def answer(self, network: nn.Module, batch: Batch) -> Tensor | Guided:
        """What the network makes of a batch, (N, 2 * slices, H, W); of a patch the first axis stands for slices."""

    @abstractmethod
    def seen(self, batch: Batch) -> Tensor:
        """The source of each item that the network saw (the first, of several), where the target is: (N, slices, H, W)."""

    @property
    @abstractmethod
    def drawing(self) -> tuple[int, int]:
        """Items a batch, and processes that make them."""

    @abstractmethod
    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""

    @abstractmethod
    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""

    # --- what they share ---

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""
        return network.eval()

    def batches(self, shares: Mapping[str, float], first: int, seed: int, share: Share = ALL) -> Iterator[Batch]:
        """See `Recipe`."""
        return batches(self.draws(self.settings.pools, shares, seed), first, *self.drawing, share)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`."""
        return self._punish(self.answer(network, batch), batch, together=network.training)

    def _punish(self, given: Tensor | Guided, batch: Batch, *, together: bool) -> dict[str, Tensor]:
        region, tissue = batch["region"], batch.get("tissue")
        return regression_loss(given, batch["target"], region, self.settings.loss, tissue, together=together)

    @cached_property
    def held_out(self) -> dict[OneDirection, list[Batch]]:
        """Fixed batches of the validation pool, their sources unchanged, by direction."""
        name = self.settings.validation
        if name is None:
            return {}
        draws = self.held_out_draws(unchanged(self.settings.pools, name), {name: 1.0})
        count = max(1, self.settings.validation_batches // max(1, len(draws)))
        return {direction: stored(series, self.drawing[0], count) for direction, series in draws.items()}

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """See `Recipe`: the losses, the figures of `Figures`, and of several targets the `psnr` of each."""
        rows: list[tuple[OneDirection, dict[str, float]]] = []
        for direction, group in self.held_out.items():
            figures, losses = Figures(direction.target), []
            for kept in group:
                batch = ready(kept, network)
                output = _output(self.answer(network, batch))
                losses.append({name: float(part) for name, part in self._punish(output, batch, together=False).items()})
                figures.add(output.float().chunk(2, 1)[0], batch["target"], batch["region"], self.seen(batch))
            rows.append((direction, mean_rows(losses) | figures.result()))
        return by_target(rows) if rows else {}

    @torch.no_grad()
    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """See `Recipe`: source, output, target and 5 x deviation, a row an item: some of each direction."""
        if not self.held_out:
            return np.zeros((1, 1))
        each = max(1, ROWS // len(self.held_out))
        rows: list[Tensor] = []
        for direction, group in self.held_out.items():
            batch = {key: part[:each] for key, part in ready(group[0], network).items()}
            mean, log_variance = _output(self.answer(network, batch)).float().chunk(2, 1)
            middle = mean.shape[1] // 2
            columns = [
                shown(self.seen(batch)[:, middle], None),
                shown(mean[:, middle], direction.target),
                shown(batch["target"][:, middle], direction.target),
                5 * (0.5 * log_variance[:, middle]).exp(),
            ]
            rows.extend(torch.cat(columns, 2).cpu())
        return sheet(rows)


def _output(given: Tensor | Guided) -> Tensor:
    return given.output if isinstance(given, Guided) else given
