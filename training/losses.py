"""What the network is punished for: wrong values, edges and structure, flicker between slices, wrong confidence."""

import torch
from monai.metrics.regression import KernelType, compute_ssim_and_cs
from torch import Tensor
from torch.nn import functional

from training.config import Settings
from training.data.regions import Region


class SlabLossSettings(Settings):
    """Weights of the parts of the loss, and of the regions within each part."""

    edge: float = 0.5
    """Weight of the difference of in-plane gradients."""
    slice: float = 0.5
    """Weight of the difference of steps from slice to slice."""
    sharpness: float = 3.0
    """Weight of the difference of local mean steps, in plane and from slice to slice. An average of all answers that are
    possible is too smooth, in plane more than across thick slices; this asks for as much detail as the target has."""
    structure: float = 0.15
    """Weight of 1 - SSIM, window 7 x 7, within slices."""
    structure_slices: int = 2
    """How many of a slab's slices, drawn anew at each step, SSIM looks at; it is dear."""
    confidence: float = 0.03
    """Weight of the Gaussian negative log-likelihood that trains the log-variance alone."""
    background: float = 0.1
    """Weight of voxels outside the head."""
    head: float = 0.6
    """Weight of the head outside the brain."""
    lesion: float = 3.0
    """Weight of lesions; the rest of the brain has 1."""


def region_weights(region: Tensor, settings: SlabLossSettings) -> Tensor:
    """Weight of each voxel, float32, of the shape of `region`."""
    table = torch.ones(len(Region), device=region.device)
    table[Region.BACKGROUND] = settings.background
    table[Region.HEAD] = settings.head
    table[Region.LESION] = settings.lesion
    return table[region.long()]


def _mean(error: Tensor, weights: Tensor) -> Tensor:
    return (error * weights).sum() / weights.sum().clamp_min(1.0)


def _step_error(prediction: Tensor, target: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Weighted mean |difference of neighbours' differences| along one axis."""
    error = (prediction.diff(dim=dim) - target.diff(dim=dim)).abs()
    size = weights.shape[dim]
    pair = torch.minimum(weights.narrow(dim, 1, size - 1), weights.narrow(dim, 0, size - 1))
    return _mean(error, pair)


def _sharpness_error(prediction: Tensor, target: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Weighted mean |mean |step| of the prediction - mean |step| of the target|; inner means over 15 x 15 pixels."""
    size = weights.shape[dim]
    pair = torch.minimum(weights.narrow(dim, 1, size - 1), weights.narrow(dim, 0, size - 1))
    excess = pair * (prediction.diff(dim=dim).abs() - target.diff(dim=dim).abs())
    return functional.avg_pool2d(excess, 15, stride=5).abs().mean() / pair.mean().clamp_min(1e-3)


def _structure_error(prediction: Tensor, target: Tensor, weights: Tensor, slices: int) -> Tensor:
    """Weighted mean of 1 - SSIM over some slices, with MONAI's map; the margin that the window lacks is left out."""
    chosen = torch.randperm(prediction.shape[1])[:slices]
    window, margin = 7, 3
    # Variances are small differences of large sums: half precision would lose them.
    with torch.autocast(prediction.device.type, enabled=False):
        similarity, _ = compute_ssim_and_cs(
            prediction[:, chosen].float(),
            target[:, chosen].float(),
            spatial_dims=2,
            kernel_size=(window, window),
            kernel_sigma=(1.5, 1.5),
            data_range=1.0,
            kernel_type=KernelType.UNIFORM,
        )
    return _mean(1 - similarity, weights[:, chosen, margin:-margin, margin:-margin])


def slab_loss(output: Tensor, target: Tensor, region: Tensor, settings: SlabLossSettings) -> dict[str, Tensor]:
    """The parts of the loss by name, `total` among them.

    `output`: (N, 2 * slices, H, W), means then log-variances; `target`, `region`: (N, slices, H, W).
    """
    mean, log_variance = output.float().chunk(2, 1)
    log_variance = log_variance.clamp(-10, 2)
    weights = region_weights(region, settings)
    parts = {
        "value": _mean((mean - target).abs(), weights),
        "edge": _step_error(mean, target, weights, 2) + _step_error(mean, target, weights, 3),
        "slice": _step_error(mean, target, weights, 1),
        "sharpness": sum(
            (_sharpness_error(mean, target, weights, dim) for dim in (1, 2, 3)),
            start=torch.zeros((), device=mean.device),
        ),
        "structure": _structure_error(mean, target, weights, settings.structure_slices),
        # Detached: being unsure must not become cheaper by being wrong.
        "confidence": _mean(0.5 * ((mean.detach() - target).square() * (-log_variance).exp() + log_variance), weights),
    }
    parts["total"] = (
        parts["value"]
        + settings.edge * parts["edge"]
        + settings.slice * parts["slice"]
        + settings.sharpness * parts["sharpness"]
        + settings.structure * parts["structure"]
        + settings.confidence * parts["confidence"]
    )
    return parts
