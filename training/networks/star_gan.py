"""Generator and critic of StarGAN (Choi et al., CVPR 2018, tables 4 and 5)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from modality_conversion.modality import Modality
from training.config import Settings
from training.networks.signed import from_source, to_target


class StarGeneratorSettings(Settings):
    """Size of the generator. The published one has 6 blocks and 64 features."""

    features: int = Field(64, gt=0)
    """Feature maps at full resolution; twice as many at half of it, four times at a quarter."""
    blocks: int = Field(6, gt=0)
    """Residual blocks at a quarter of the resolution."""


class StarCriticSettings(Settings):
    """Size of the critic. The published one, for 128 x 128 pixels, has 6 layers and 64 features."""

    features: int = Field(64, gt=0)
    """Feature maps of its first layer; twice as many in each further one."""
    layers: int = Field(6, ge=2, le=8)
    """How often the resolution is halved; the crop must be a multiple of 2 to this power."""


def _normalised(features: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(features, affine=True), nn.ReLU()]


class _Residual(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(features, features, 3, 1, 1, bias=False),
            *_normalised(features),
            nn.Conv2d(features, features, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(features, affine=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = features + self.layers(features)
        return output


class StarGenerator(nn.Module):
    """Images (N, slices, H, W) in [-1, 1] and what they are to become, one-hot (N, kinds), to the same shape; the code stands
    beside the image as a constant map for each kind. H and W are multiples of 4.
    """

    def __init__(self, slices: int, kinds: int, settings: StarGeneratorSettings) -> None:
        super().__init__()
        width = settings.features
        layers: list[nn.Module] = [nn.Conv2d(slices + kinds, width, 7, 1, 3, bias=False), *_normalised(width)]
        for _ in range(2):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), *_normalised(2 * width)]
            width *= 2
        layers += [_Residual(width) for _ in range(settings.blocks)]
        for _ in range(2):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), *_normalised(width // 2)]
            width //= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, slices, 7, 1, 3, bias=False), nn.Tanh())

    def forward(self, image: Tensor, wanted: Tensor) -> Tensor:
        """See the class."""
        maps = wanted[:, :, None, None].to(image.dtype) + torch.zeros_like(image[:, :1])
        output: Tensor = self.layers(torch.cat([image, maps], 1))
        return output


class StarCritic(nn.Module):
    """Images (N, slices, H, W) to a score for each patch (N, 1, h, w), and which kind each image is, (N, kinds) logits.

    Without normalisation, as its gradient penalty is of each image by itself.
    """

    def __init__(self, slices: int, kinds: int, crop: tuple[int, int], settings: StarCriticSettings) -> None:
        super().__init__()
        width = settings.features
        layers: list[nn.Module] = [nn.Conv2d(slices, width, 4, 2, 1), nn.LeakyReLU(0.01)]
        for _ in range(settings.layers - 1):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.01)]
            width *= 2
        self.layers = nn.Sequential(*layers)
        self.score = nn.Conv2d(width, 1, 3, 1, 1, bias=False)
        left = tuple(side // 2**settings.layers for side in crop)
        self.kind = nn.Conv2d(width, kinds, left, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """The scores alone."""
        scores: Tensor = self.score(self.layers(image))
        return scores

    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and kinds."""
        features = self.layers(image)
        return self.score(features), self.kind(features).flatten(1)


class StarGraph(nn.Module):
    """What is exported of a generator: a slab on the input scale and what is wanted in, slices on the output scale out."""

    def __init__(self, generator: nn.Module, modalities: tuple[Modality, ...]) -> None:
        super().__init__()
        self.generator = generator
        self.is_ct: Tensor
        in_hu = [float(modality is Modality.CT) for modality in modalities]
        self.register_buffer("is_ct", torch.tensor(in_hu)[:, None], persistent=False)

    def forward(self, slab: Tensor, wanted: Tensor) -> Tensor:
        """(N, slices, H, W) and one-hot (N, kinds) to (N, slices, H, W)."""
        with torch.autocast(slab.device.type, enabled=False):
            signed = self.generator(from_source(slab), wanted).float()
            share = (wanted @ self.is_ct.to(wanted.device))[:, :, None, None]
            return share * to_target(signed, Modality.CT) + (1 - share) * to_target(signed, Modality.T1, highest=1.0)
