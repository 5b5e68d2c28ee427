"""Several processes as one: sums over all of them, and batch normalisation that sees the whole batch.

With these a run on several devices learns what one device with the same whole batch would learn, up to rounding. Alone, all of
it does nothing.
"""

from collections.abc import Iterable
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


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients."""
    if world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= world_size()


@torch.no_grad()
def whole_batch(items: Tensor) -> Tensor:
    """What all processes have of a batch, (N, ...) each, in the order that one process alone would have."""
    if world_size() == 1:
        return items
    parts = [torch.empty_like(items) for _ in range(world_size())]
    distributed.all_gather(parts, items.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)


def my_items(items: Tensor) -> Tensor:
    """This process' share of a whole batch."""
    return items if world_size() == 1 else items[distributed.get_rank() :: world_size()]


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
