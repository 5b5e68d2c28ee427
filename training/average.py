"""A moving average of the weights, steadier than the last ones."""

import torch
from torch import nn


class MovingAverage:
    """Holds a copy of a network whose weights follow with the factor `decay`, faster at the start."""

    def __init__(self, network: nn.Module, copy: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.network = copy.eval().requires_grad_(False)
        self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow the network by one step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        own, new = self.network.state_dict(), network.state_dict()
        for name, value in own.items():
            if value.is_floating_point():
                value.lerp_(new[name].to(value.dtype), 1 - decay)
            else:
                value.copy_(new[name])
