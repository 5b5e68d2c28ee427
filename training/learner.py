"""One step of learning: of a recipe with one loss, or of one whose parts learn by turns, as generator and discriminator."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from training.parallel import average_gradients, mean_over_processes
from training.recipes.base import Batch, Recipe, TakesTurns
from training.schedule import LoopSettings


class NotFinite(Exception):
    """A loss or a gradient that is no number; `losses` are those of the step so far."""

    def __init__(self, batch: Batch, losses: dict[str, float]) -> None:
        self.batch, self.losses = batch, losses


class Learner(Protocol):
    """Holds the optimisers and makes the steps."""

    def step(self, number: int, batches: Sequence[Batch], rate: float) -> dict[str, float]:
        """Learn from batches, whose gradients are added up, at a learning rate; gives the parts of the loss, `total` among
        them. Raises NotFinite, before the weights change.
        """
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: `optimizer`, and what else there is."""
        ...


def make_learner(
    fabric: Fabric, recipe: Recipe, bare: nn.Module, settings: LoopSettings, saved: Mapping[str, Any] | None
) -> Learner:
    """The learner that a recipe needs, going on from a checkpoint; `bare` is moved to where it learns.

    Raises ValueError, RuntimeError or KeyError for a checkpoint of other optimisers.
    """
    if isinstance(recipe, TakesTurns):
        return ByTurns(fabric, recipe, bare, settings, saved)
    return OneLoss(fabric, recipe, bare, settings, saved)


class _Sums:
    """Means of the parts of a loss, over the batches of a step and over all processes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.values: dict[str, Tensor] = {}

    def add(self, parts: Mapping[str, Tensor]) -> None:
        for name, value in parts.items():
            before = self.values.get(name, torch.zeros((), device=value.device))
            self.values[name] = before + value.detach().float() / self.count

    def result(self) -> dict[str, float]:
        # One exchange for all parts; every process learns of a loss that is no number.
        means = mean_over_processes(torch.stack(list(self.values.values()))).tolist()
        return dict(zip(self.values, means, strict=True))


def _apply(
    fabric: Fabric,
    network: nn.Module,
    optimizer: Any,
    settings: LoopSettings,
    batch: Batch,
    losses: dict[str, float],
) -> None:
    """Let an optimiser make its step, if loss and gradient are numbers. Raises NotFinite."""
    limit = float("inf") if settings.clip is None else settings.clip
    norm = fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=False)
    # In half precision an infinite gradient is the scaler's affair: it leaves the step out and scales less.
    scaled = "16-mixed" in str(settings.precision) and "bf16" not in str(settings.precision)
    gradient_is_number = norm is None or scaled or bool(torch.isfinite(norm))
    if not (gradient_is_number and all(abs(value) < float("inf") for value in losses.values())):
        raise NotFinite(batch, losses)
    optimizer.step()


class OneLoss:
    """A recipe with one loss: AdamW."""

    def __init__(
        self, fabric: Fabric, recipe: Recipe, bare: nn.Module, settings: LoopSettings, saved: Mapping[str, Any] | None
    ) -> None:
        self.fabric, self.recipe, self.settings = fabric, recipe, settings
        optimizer = torch.optim.AdamW(bare.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        if saved is not None:
            optimizer.load_state_dict(saved["optimizer"])
        self.network, self.optimizer = fabric.setup(bare, optimizer)

    def state(self) -> dict[str, Any]:
        """See `Learner`."""
        return {"optimizer": self.optimizer.state_dict()}

    def step(self, number: int, batches: Sequence[Batch], rate: float) -> dict[str, float]:
        """See `Learner`."""
        _set_rate(self.optimizer, rate)
        self.network.train()
        sums = _Sums(len(batches))
        for place, batch in enumerate(batches):
            with self.fabric.no_backward_sync(self.network, enabled=place < len(batches) - 1):
                parts = self.recipe.loss(self.network, batch)
                self.fabric.backward(parts["total"] / len(batches))
            sums.add(parts)
        losses = sums.result()
        _apply(self.fabric, self.network, self.optimizer, self.settings, batches[-1], losses)
        self.optimizer.zero_grad()
        return losses


class ByTurns:
    """A recipe whose parts learn by turns. Of several processes, the gradients are averaged here and not by Fabric's wrapper,
    which expects one forward and one backward pass of the whole network.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: TakesTurns,
        bare: nn.Module,
        settings: LoopSettings,
        saved: Mapping[str, Any] | None,
    ) -> None:
        self.fabric, self.recipe, self.settings = fabric, recipe, settings
        self.network: nn.Module = fabric.to_device(bare)
        optimizers = recipe.optimizers(self.network, settings.learning_rate)
        recipe.take({} if saved is None else saved["recipe"])
        if saved is not None:
            for name, optimizer in optimizers.items():
                optimizer.load_state_dict(saved["optimizer"][name])
        self.optimizers: dict[str, Any] = {
            name: fabric.setup_optimizers(optimizer) for name, optimizer in optimizers.items()
        }

    def state(self) -> dict[str, Any]:
        """See `Learner`."""
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"optimizer": optimizers, "recipe": self.recipe.state()}

    def step(self, number: int, batches: Sequence[Batch], rate: float) -> dict[str, float]:
        """See `Learner`; `total` is the sum over the turns."""
        self.network.train()
        kept: list[dict[str, Tensor]] = [{} for _ in batches]
        losses: dict[str, float] = {}
        total = 0.0
        for turn in self.recipe.turns(number):
            optimizer = self.optimizers[turn]
            _set_rate(optimizer, rate)
            sums = _Sums(len(batches))
            with _learning(self.network, optimizer) as parameters:
                for batch, passed in zip(batches, kept, strict=True):
                    with self.fabric.autocast():
                        parts = self.recipe.turn(turn, self.network, batch, passed)
                    self.fabric.backward(parts["total"] / len(batches))
                    sums.add(parts)
                average_gradients(parameters)
                losses |= sums.result()
                total += losses["total"]
                _apply(self.fabric, self.network, optimizer, self.settings, batches[-1], losses)
                optimizer.zero_grad()
        return losses | {"total": total}


@contextmanager
def _learning(network: nn.Module, optimizer: Any) -> Iterator[list[nn.Parameter]]:
    """Only the parameters of one optimiser gather gradients; gives them."""
    mine = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    chosen = {id(parameter) for parameter in mine}
    frozen = [p for p in network.parameters() if p.requires_grad and id(p) not in chosen]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield mine
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
