"""What all recipes of segmentation share: the loss, held-out data, figures and pictures. Each adds its network and its data."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from monai.losses import DiceLoss
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.data.pools import Draws, PoolSettings, batches
from training.data.structure_boxes import BoxSettings
from training.data.subsets import Subsets
from training.metrics import mean_rows
from training.parallel import ALL, Share
from training.recipes.base import Batch
from training.recipes.held_out import ROWS, ready, sheet, stored, unchanged


class SegmentationLossSettings(Settings):
    """Weights of the parts of the loss."""

    dice: float = Field(1.0, ge=0)
    """Weight of the Dice loss, each structure's taken over the whole batch of a process."""
    cross_entropy: float = Field(1.0, ge=0)
    """Weight of the binary cross-entropy."""
    find: float = Field(1.0, ge=0)
    """Weight of both for the stage that finds, where there is one; the stage that outlines has 1."""
    find_positive: float = Field(1.0, gt=0)
    """Weight, in the cross-entropy of the stage that finds, of the voxels of a tumor: one missed there is never outlined."""


class SegmentationSettings(Settings):
    """Options of every recipe of segmentation."""

    loss: SegmentationLossSettings = SegmentationLossSettings()
    """Weights of the loss."""
    boxes: BoxSettings = BoxSettings()
    """How places are drawn."""
    pools: dict[str, PoolSettings]
    """Folders of cases by name; the stages of training mix them."""
    validation: str | None = None
    """Pool that is never trained on; its losses and figures are logged, and choose among epochs."""
    validation_batches: int = Field(12, gt=0)
    """How much of it is looked at, of all sets of scans together."""


class Answer(NamedTuple):
    """What a network says of some structures, beside what is there: logits and 0 or 1, (N, structures, ...) both."""

    logits: Tensor
    truth: Tensor
    names: tuple[str, ...]


AnySegmentation = TypeVar("AnySegmentation", bound=SegmentationSettings)


class SegmentationRecipe(ABC, Generic[AnySegmentation]):
    """A network that outlines structures, each for itself (sigmoid), compared with what is there."""

    def __init__(self, settings: AnySegmentation) -> None:
        self.settings = settings

    # --- what each recipe adds ---

    @abstractmethod
    def network(self) -> nn.Module:
        """See `Recipe`."""

    @abstractmethod
    def subsets(self) -> Subsets:
        """Which scans are given in training."""

    @abstractmethod
    def held_out_subsets(self) -> dict[str, Subsets]:
        """Sets of scans to validate with, by name."""

    @abstractmethod
    def draws(
        self, pools: Mapping[str, PoolSettings], shares: Mapping[str, float], subsets: Subsets, seed: int
    ) -> Draws:
        """Random items."""

    @abstractmethod
    def answers(self, network: nn.Module, batch: Batch) -> dict[str, Answer]:
        """What the network makes of a batch, by stage: `outline`, and `find` where there is such a stage."""

    @abstractmethod
    def seen(self, batch: Batch) -> Tensor:
        """Of each item the middle slice of the first scan given, (N, H, W)."""

    @abstractmethod
    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""

    @abstractmethod
    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`."""

    @abstractmethod
    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""

    # --- what they share ---

    def batches(self, shares: Mapping[str, float], first: int, seed: int, share: Share = ALL) -> Iterator[Batch]:
        """See `Recipe`."""
        wanted = self.settings
        draws = self.draws(wanted.pools, shares, self.subsets(), seed)
        return batches(draws, first, wanted.boxes.batch, wanted.boxes.workers, share)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`."""
        return self._punish(self.answers(network, batch))

    def _punish(self, answers: Mapping[str, Answer]) -> dict[str, Tensor]:
        wanted = self.settings.loss
        parts: dict[str, Tensor] = {}
        total = torch.zeros(())
        for stage, answer in answers.items():
            weight, positive = (wanted.find, wanted.find_positive) if stage == "find" else (1.0, 1.0)
            dice, entropy = _dice_loss(answer), _entropy(answer, positive)
            parts |= {f"dice_loss_{stage}": dice, f"entropy_{stage}": entropy}
            total = total.to(dice.device) + weight * (wanted.dice * dice + wanted.cross_entropy * entropy)
        return parts | {"total": total}

    @cached_property
    def held_out(self) -> dict[str, list[Batch]]:
        """Fixed batches of the validation pool, their sources unchanged, by set of scans."""
        name = self.settings.validation
        if name is None:
            return {}
        if name not in self.settings.pools:
            raise ConfigError(f"validation: there is no pool {name!r}; there are: {', '.join(self.settings.pools)}.")
        pools = unchanged(self.settings.pools, name)
        groups = {}
        for said, subsets in self.held_out_subsets().items():
            try:
                groups[said] = self.draws(pools, {name: 1.0}, subsets, seed=0)
            except ConfigError:  # no held-out case has these scans
                continue
        if not groups:  # say why, with the folder
            self.draws(pools, {name: 1.0}, self.subsets(), seed=0)
        count = max(1, self.settings.validation_batches // max(1, len(groups)))
        return {said: stored(draws, self.settings.boxes.batch, count) for said, draws in groups.items()}

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """See `Recipe`: the losses; `dice_<structure>` and `dice_find` over all voxels of each set of scans, their mean
        over the sets, and `dice`, the mean of these.
        """
        losses: list[dict[str, float]] = []
        figures: list[dict[str, float]] = []
        for group in self.held_out.values():
            counts: dict[str, NDArray[np.float64]] = {}
            for kept in group:
                answers = self.answers(network, ready(kept, network))
                losses.append({name: float(part) for name, part in self._punish(answers).items()})
                for stage, answer in answers.items():
                    for name, row in zip(answer.names, _counts(answer), strict=True):
                        key = f"dice_{name if stage == 'outline' else stage}"
                        counts[key] = counts.get(key, np.zeros(3)) + row
            figures.append({key: _dice(row) for key, row in counts.items() if row[1] > 0})
        if not losses:
            return {}
        found = mean_rows(losses)
        means = mean_rows(figures)
        return found | means | ({"dice": float(np.mean(list(means.values())))} if means else {"dice": 0.0})

    @torch.no_grad()
    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """See `Recipe`: a scan, the probabilities of the structures (inner ones brighter), the truth; a row an item."""
        if not self.held_out:
            return np.zeros((1, 1))
        each = max(1, ROWS // len(self.held_out))
        rows: list[Tensor] = []
        for group in self.held_out.values():
            batch = {key: part[:each] for key, part in ready(group[0], network).items()}
            answer = self.answers(network, batch)["outline"]
            columns = [self.seen(batch), *(_layers(volume) for volume in (answer.logits.sigmoid(), answer.truth))]
            rows.extend(torch.cat([column.float() for column in columns], 2).cpu())
        return sheet(rows)


def first_given(scans: Tensor, given: Tensor) -> Tensor:
    """Of scans (N, places, ...) the first that is given, (N, ...)."""
    return scans[torch.arange(len(scans), device=scans.device), given.argmax(1)]


def subset_name(scans: tuple[Modality, ...]) -> str:
    """How a set of scans is called, as `T1+FLAIR`."""
    return "+".join(map(str, scans))


def _dice_loss(answer: Answer) -> Tensor:
    found: Tensor = DiceLoss(sigmoid=True, batch=True)(answer.logits, answer.truth)
    return found


def _entropy(answer: Answer, positive: float) -> Tensor:
    weight = None if positive == 1 else torch.as_tensor(positive, device=answer.logits.device)
    return functional.binary_cross_entropy_with_logits(answer.logits, answer.truth, pos_weight=weight)


def _counts(answer: Answer) -> NDArray[np.float64]:
    """For each structure: voxels of both, of the truth, of the answer at one half; (structures, 3)."""
    mine, truth = (volume.transpose(0, 1).flatten(1) > 0.5 for volume in (answer.logits.sigmoid(), answer.truth))
    rows = torch.stack([(mine & truth).sum(1), truth.sum(1), mine.sum(1)], 1)
    counted: NDArray[np.float64] = rows.double().cpu().numpy()
    return counted


def _dice(counts: NDArray[np.float64]) -> float:
    return float(2 * counts[0] / (counts[1] + counts[2]))


def _layers(volume: Tensor) -> Tensor:
    """The middle slice of nested structures (N, structures, D, H, W), added up in [0, 1]: (N, H, W)."""
    return volume[:, :, volume.shape[2] // 2].mean(1)
