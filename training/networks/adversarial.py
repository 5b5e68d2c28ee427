"""What the networks of adversarial recipes share: the first weights, normalisation, and MONAI's discriminator of patches."""

from typing import Literal

from monai.networks.nets import PatchDiscriminator
from pydantic import Field
from torch import nn

from training.config import Settings

Norm = Literal["batch", "instance"]


class DiscriminatorSettings(Settings):
    """Size of the discriminator. The published one, PatchGAN, judges patches of 70 x 70 pixels: 64 features, 3 layers."""

    features: int = Field(64, gt=0)
    """Feature maps of its first layer; twice as many in each further one."""
    layers: int = Field(3, ge=1, le=6)
    """Layers between the first and the last. 1, 2, 3, 4: it sees 16, 34, 70, 142 pixels."""


def init_weights(module: nn.Module) -> None:
    """Normal weights of deviation 0.02 around 0, those of normalisations around 1, as pix2pix and CycleGAN begin."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def normalisation(norm: str, features: int) -> nn.Module:
    """Of feature maps (N, features, H, W): with learnt scale and shift over the batch, or without over each item."""
    return nn.BatchNorm2d(features) if norm == "batch" else nn.InstanceNorm2d(features)


def patch_discriminator(channels: int, settings: DiscriminatorSettings, norm: Norm) -> nn.Module:
    """MONAI's PatchGAN: (N, channels, H, W) to a list whose last entry is a score for each patch, (N, 1, h, w)."""
    discriminator = PatchDiscriminator(
        spatial_dims=2,
        channels=settings.features,
        in_channels=channels,
        num_layers_d=settings.layers,
        norm=norm,
        bias=norm == "instance",
    )
    discriminator.apply(init_weights)
    return discriminator
