"""What the network is punished for: wrong values, edges and structure, flicker between slices, wrong confidence, wrong anatomy.

Volumes here are (N, slices, H, W); a patch has its first axis as slices. Every weighted mean is one over the batches of all
processes, so that several devices minimise what one device would.
"""

from typing import NamedTuple

import torch
from monai.metrics.regression import KernelType, compute_ssim_and_cs
from torch import Tensor
from torch.nn import functional

from training.config import Settings
from training.data.regions import Region, Tissue
from training.networks.parts import Guided
from training.parallel import mean_over_processes


class RegressionLossSettings(Settings):
    """Weights of the parts of the loss, and of the regions within each part. A part with weight 0 is not computed."""

    square: float = 0.0
    """Weight of the mean squared error: what is far off, as fluid that is dark on a T2, is learnt first."""
    edge: float = 0.5
    """Weight of the difference of in-plane gradients."""
    slice: float = 0.5
    """Weight of the difference of steps from slice to slice (after Ruder, arXiv 1604.08610, with slices for frames)."""
    sharpness: float = 3.0
    """Weight of the difference of local mean steps, in plane and from slice to slice. An average of all answers that are
    possible is too smooth, in plane more than across thick slices; this asks for as much detail as the target has."""
    structure: float = 0.15
    """Weight of 1 - SSIM, window 7 x 7, within slices."""
    structure_slices: int = 2
    """How many of a slab's slices, drawn anew at each step, SSIM looks at; it is dear."""
    confidence: float = 0.03
    """Weight of the Gaussian negative log-likelihood that trains the log-variance alone."""
    anatomy: float = 0.0
    """Weight of the cross-entropy of the tissue classes, an auxiliary output that only training has; 0: no such output."""
    background: float = 0.1
    """Weight of voxels outside the head."""
    head: float = 0.6
    """Weight of the soft tissue of the head outside the brain."""
    bone: float = 0.6
    """Weight of bone."""
    lesion: float = 3.0
    """Weight of lesions and tumors; the rest of the brain has 1."""

    @property
    def tissues(self) -> int:
        """How many classes the auxiliary output has."""
        return len(Tissue) if self.anatomy > 0 else 0


def region_weights(region: Tensor, settings: RegressionLossSettings) -> Tensor:
    """Weight of each voxel, float32, of the shape of `region`."""
    table = torch.ones(len(Region), device=region.device)
    table[Region.BACKGROUND] = settings.background
    table[Region.HEAD] = settings.head
    table[Region.BONE] = settings.bone
    table[[Region.LESION, Region.TUMOR]] = settings.lesion
    return table[region.long()]


class _Means:
    """Weighted means; `together` says that the other processes take part, as they do in training."""

    def __init__(self, together: bool) -> None:
        self.together = together

    def whole(self, weight: Tensor) -> Tensor:
        """What all processes have of a weight, divided by their number."""
        return mean_over_processes(weight) if self.together else weight

    def __call__(self, error: Tensor, weights: Tensor) -> Tensor:
        return (error * weights).sum() / self.whole(weights.sum()).clamp_min(1.0)


def _pairs(weights: Tensor, dim: int) -> Tensor:
    """Weight of each pair of neighbours along an axis: the smaller one."""
    size = weights.shape[dim]
    return torch.minimum(weights.narrow(dim, 1, size - 1), weights.narrow(dim, 0, size - 1))


class _Steps(NamedTuple):
    """Differences of neighbours along one axis, of the prediction and of the target, and the weight of each pair."""

    prediction: Tensor
    target: Tensor
    weight: Tensor

    @staticmethod
    def along(prediction: Tensor, target: Tensor, weights: Tensor, dim: int) -> "_Steps":
        return _Steps(prediction.diff(dim=dim), target.diff(dim=dim), _pairs(weights, dim))

    def difference(self, means: _Means) -> Tensor:
        """Weighted mean |difference of the steps|."""
        return means((self.prediction - self.target).abs(), self.weight)

    def sharpness(self, means: _Means) -> Tensor:
        """Weighted mean |mean |step| of the prediction - mean |step| of the target|; inner means over 15 x 15 pixels."""
        excess = self.weight * (self.prediction.abs() - self.target.abs())
        return functional.avg_pool2d(excess, 15, stride=5).abs().mean() / means.whole(self.weight.mean()).clamp_min(
            1e-3
        )


def _structure_error(prediction: Tensor, target: Tensor, weights: Tensor, slices: int, means: _Means) -> Tensor:
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
    return means(1 - similarity, weights[:, chosen, margin:-margin, margin:-margin])


def _anatomy_error(logits: Tensor, tissue: Tensor, means: _Means) -> Tensor:
    """Mean cross-entropy where the tissue is known. Logits of lower resolution are compared with every n-th voxel.

    `logits`: (N, classes, h, w) of the middle slice, or (N, classes, d, h, w); `tissue`: (N, slices, H, W).
    """
    known = tissue[:, tissue.shape[1] // 2] if logits.dim() == 4 else tissue
    for dim, size in enumerate(logits.shape[2:], start=1):
        every = torch.arange(0, known.shape[dim], known.shape[dim] // size, device=known.device)
        known = known.index_select(dim, every)
    known = known.long()
    error = functional.cross_entropy(logits.float(), known, ignore_index=Tissue.NONE, reduction="sum")
    return error / means.whole((known != Tissue.NONE).sum().float()).clamp_min(1.0)


def regression_loss(
    given: Tensor | Guided,
    target: Tensor,
    region: Tensor,
    settings: RegressionLossSettings,
    tissue: Tensor | None = None,
    *,
    together: bool = False,
) -> dict[str, Tensor]:
    """The parts of the loss by name, `total` among them.

    `given`: what the network gave, (N, 2 * slices, H, W), means then log-variances, or that with tissues; `target`,
    `region`, `tissue`: (N, slices, H, W). `together`: all processes are at this very call.
    """
    output = given.output if isinstance(given, Guided) else given
    mean, log_variance = output.float().chunk(2, 1)
    log_variance = log_variance.clamp(-10, 2)
    weights, means = region_weights(region, settings), _Means(together)
    parts = {"value": means((mean - target).abs(), weights)}
    if settings.square:
        parts["square"] = means((mean - target).square(), weights)
    dims = [dim for dim in (1, 2, 3) if mean.shape[dim] > 1]
    steps = {dim: _Steps.along(mean, target, weights, dim) for dim in dims}
    if settings.edge:
        parts["edge"] = steps[2].difference(means) + steps[3].difference(means)
    if settings.slice and 1 in steps:
        parts["slice"] = steps[1].difference(means)
    if settings.sharpness:
        parts["sharpness"] = torch.stack([step.sharpness(means) for step in steps.values()]).sum()
    if settings.structure:
        parts["structure"] = _structure_error(mean, target, weights, settings.structure_slices, means)
    if settings.confidence:
        # Detached: being unsure must not become cheaper by being wrong.
        unlikely = (mean.detach() - target).square() * (-log_variance).exp() + log_variance
        parts["confidence"] = means(0.5 * unlikely, weights)
    if settings.anatomy and isinstance(given, Guided) and tissue is not None:
        parts["anatomy"] = _anatomy_error(given.tissue, tissue, means)
    parts["total"] = sum(
        (getattr(settings, name, 1.0) * part for name, part in parts.items()), start=mean.new_zeros(())
    )
    return parts
