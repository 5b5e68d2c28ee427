"""Losses of generators and discriminators, and how well a discriminator tells real from synthetic."""

from typing import Literal

import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from torch import Tensor, nn
from torch.nn import functional

Criterion = Literal["least_squares", "bce"]
"""Least squares (Mao, ICCV 2017), or binary cross-entropy, the first one (Goodfellow, 2014)."""
SHOWN = 0.1
"""A patch counts for `judged` if this share of it shows something."""


def score(discriminator: nn.Module, image: Tensor) -> Tensor:
    """The score of each patch, (N, 1, h, w), in full precision, before any activation."""
    given = discriminator(image)
    return (given[-1] if isinstance(given, list) else given).float()


def adversarial_loss(scores: Tensor, criterion: Criterion, *, real: bool) -> Tensor:
    """How far scores are from those of real (or synthetic) patches."""
    wanted = PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)
    with torch.autocast(scores.device.type, enabled=False):
        found: Tensor = wanted(scores.float(), target_is_real=real, for_discriminator=True)
    return found


def discriminator_loss(real: Tensor, fake: Tensor, criterion: Criterion) -> Tensor:
    """Half the sum of both sides, which slows the discriminator down against the generator, as published."""
    return 0.5 * (adversarial_loss(real, criterion, real=True) + adversarial_loss(fake, criterion, real=False))


@torch.no_grad()
def judged(real: Tensor, fake: Tensor, real_image: Tensor, fake_image: Tensor, ending: str = "") -> dict[str, Tensor]:
    """How well a discriminator tells patches, whatever its loss: from scores (N, 1, h, w) and the images in [-1, 1].

    `told`: of pairs of a real and a synthetic patch that show something, the share in which the real one has the higher
    score: 0.5 is chance, 1 is all. `spread`: deviation of all scores.
    """
    shown = [
        functional.adaptive_avg_pool2d((image > -0.98).float().amax(1, keepdim=True), scores.shape[2:]) > SHOWN
        for image, scores in ((real_image, real), (fake_image, fake))
    ]
    first, second = real[shown[0]], fake[shown[1]]
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    told = ((first > second).float() + 0.5 * (first == second).float()).mean() if count else real.new_tensor(0.5)
    return {f"told{ending}": told, f"spread{ending}": torch.cat([real.flatten(), fake.flatten()]).std()}


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient of the score| - 1)^2 at random points between real and synthetic images (Gulrajani, 2017)."""
    # Second derivatives in half precision lose what the penalty measures.
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand(len(real), 1, 1, 1).to(real.device)
        between = (share * real.float() + (1 - share) * fake.detach().float()).requires_grad_(True)
        scores = score(discriminator, between)
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
