"""Regression, and a flow that adds the texture which a mean lacks (after PMRF, Ohayon et al., ICLR 2025).

The mean is learnt as in `slab_regression` and is not moved by the flow. The flow draws one of the images that could be true: it
looks sharper and is further from the truth than the mean. It is off by default.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from training.losses import region_weights
from training.metrics import Figures, mean_rows
from training.networks.flow import FlowGraph, FlowRefiner, FlowSettings
from training.parallel import mean_over_processes
from training.recipes.base import Batch
from training.recipes.held_out import ROWS, ready, sheet, shown
from training.recipes.slab_regression import SlabRegression, SlabRegressionSettings

_ON = "Fine texture was made up by a flow model: texture, not truth."
_OFF = "If `texture` is switched on in conversion.json, a flow model makes up fine texture: texture, not truth."


class FlowRefinerSettings(SlabRegressionSettings):
    """The recipe's options: those of `slab_regression`, and the flow's."""

    flow: FlowSettings = FlowSettings()
    """Size of the network that refines, and how."""
    flow_weight: float = Field(1.0, gt=0)
    """Weight of the flow's loss; it moves the flow alone."""
    texture: float = Field(0.0, ge=0, le=1)
    """How much of the texture the exported model adds. 0: none. One number in `conversion.json`, the value of the input
    `texture`, changes it afterwards."""


class FlowRegression(SlabRegression):
    """See the module."""

    settings: FlowRefinerSettings

    def __init__(self, settings: FlowRefinerSettings) -> None:
        super().__init__(settings)

    def network(self) -> nn.Module:
        """A new network."""
        return FlowRefiner(super().network(), self.settings.flow).to(memory_format=torch.channels_last)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """See `Recipe`: of the mean, and of the flow."""
        flowed = network(batch["source"].contiguous(memory_format=torch.channels_last), batch["target"])
        parts = self._punish(flowed.given, batch, together=network.training)
        weights = region_weights(batch["region"], self.settings.loss)
        error = (flowed.velocity.float() - flowed.wanted).square()
        parts["flow"] = (error * weights).sum() / mean_over_processes(weights.sum()).clamp_min(1.0)
        return parts | {"total": parts["total"] + self.settings.flow_weight * parts["flow"]}

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """See `Recipe`: the figures of the mean, and as `refined_...` those with all of the texture."""
        rows = []
        for direction, group in self.held_out.items():
            figures = Figures(direction.target)
            for kept in group:
                batch = ready(kept, network)
                figures.add(self._refined(network, batch), batch["target"], batch["region"], self.seen(batch))
            rows.append({f"refined_{name}": value for name, value in figures.result().items() if "source" not in name})
        return super().validate(network) | mean_rows(rows)

    @torch.no_grad()
    def picture(self, network: nn.Module) -> NDArray[np.floating]:
        """See `Recipe`: source, mean, mean and texture, target; a row an item."""
        if not self.held_out:
            return np.zeros((1, 1))
        rows: list[Tensor] = []
        for direction, group in self.held_out.items():
            batch = {key: part[:ROWS] for key, part in ready(group[0], network).items()}
            answer = self.answer(network, batch)
            assert isinstance(answer, Tensor)
            images = [answer.float().chunk(2, 1)[0], self._refined(network, batch), batch["target"]]
            middle = images[0].shape[1] // 2
            columns = [self.seen(batch)[:, middle], *(shown(image[:, middle], direction.target) for image in images)]
            rows.extend(torch.cat(columns, 2).cpu())
        return sheet(rows)

    def _refined(self, network: nn.Module, batch: Batch) -> Tensor:
        output: Tensor = self.graph(network)(batch["source"], torch.ones(1, device=batch["source"].device))
        return output.float().chunk(2, 1)[0]

    def declaration(self) -> dict[str, Any]:
        """See `Recipe`."""
        declared = super().declaration()
        caution = {"caution": _ON if self.settings.texture else _OFF}
        texture = {"name": "texture", "role": "constant", "value": self.settings.texture, "shape": [1]}
        return declared | {
            "targets": {name: about | caution for name, about in declared["targets"].items()},
            "inputs": [*declared["inputs"], texture],
        }

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        """See `Recipe`: with all of the texture, so that the export compares it."""
        return (*super().example(network), torch.ones(1))

    def graph(self, network: nn.Module) -> nn.Module:
        """See `Recipe`."""
        assert isinstance(network, FlowRefiner)
        return FlowGraph(network).eval()
