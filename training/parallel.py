"""Several processes as one: sums over all of them, and batch normalisation that sees the whole batch.

With these a run on several devices learns what one device with the same whole batch would learn, up to rounding. Alone, all of
it does nothing.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn


class Share(NamedTuple):
    """Which items of each batch a process takes: those whose number leaves `rank` when divided by `world`."""

    rank: int = 0
    world: int = 1


ALL = Share()
"""What a process takes that trains alone."""


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


@torch.no_grad()
def mean_over_processes(value: Tensor) -> Tensor:
    """The mean over all processes of a tensor that each has; without a gradient."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / world_size()


class _Sum(torch.autograd.Function):
    """The sum over all processes of a tensor that each has; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes. PyTorch's own `SyncBatchNorm` needs CUDA."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, ...) to the same shape and type."""
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.dim())]
        values = input.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums: Tensor = _Sum.apply(torch.cat([values.sum(dims), values.square().sum(dims), count]))
        channels, total = values.shape[1], sums[-1]
        mean, square = sums[:channels] / total, sums[channels : 2 * channels] / total
        variance = (square - mean.square()).clamp_min(0)
        self._remember(mean.detach(), variance.detach() * total / (total - 1).clamp_min(1))
        shape = [1, channels, *[1] * (input.dim() - 2)]
        scale = self.weight * (variance + self.eps).rsqrt()
        output: Tensor = (values - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Follow with the running statistics, as PyTorch does; the variance is the unbiased one."""
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def join_batch_norms(network: nn.Module) -> nn.Module:
    """The network with every batch normalisation seeing the batches of all processes; the state's names stay."""
    if isinstance(network, nn.modules.batchnorm._BatchNorm):
        joined = WholeBatchNorm(network.num_features, network.eps, network.momentum)
        joined.load_state_dict(network.state_dict())
        return joined.train(network.training)
    for name, child in network.named_children():
        setattr(network, name, join_batch_norms(child))
    return network
