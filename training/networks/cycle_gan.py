"""The residual generator of CycleGAN (Zhu et al., ICCV 2017, section 7.2), after Johnson et al., ECCV 2016."""

from pydantic import Field
from torch import Tensor, nn

from training.config import Settings
from training.networks.adversarial import init_weights, normalisation


class ResNetGeneratorSettings(Settings):
    """Size of the generator. The published one, for 256 x 256 pixels, has 9 blocks and 64 features."""

    features: int = Field(64, gt=0)
    """Feature maps at full resolution; twice as many at half of it, four times at a quarter."""
    blocks: int = Field(9, gt=0)
    """Residual blocks at a quarter of the resolution."""

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 4


class ResidualBlock(nn.Module):
    """Two convolutions, mirrored at the border, beside a straight way."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(features, features, 3),
            normalisation("instance", features),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(features, features, 3),
            normalisation("instance", features),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, features, H, W) to the same shape."""
        output: Tensor = features + self.layers(features)
        return output


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1: (N, inputs, H, W) to (N, outputs, H, W) in [-1, 1]."""

    def __init__(self, inputs: int, outputs: int, settings: ResNetGeneratorSettings) -> None:
        super().__init__()
        first = settings.features
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, first, 7)]
        layers += [normalisation("instance", first), nn.ReLU()]
        for width in (first, 2 * first):
            layers.append(nn.Conv2d(width, 2 * width, 3, 2, 1))
            layers += [normalisation("instance", 2 * width), nn.ReLU()]
        layers += [ResidualBlock(4 * first) for _ in range(settings.blocks)]
        for width in (4 * first, 2 * first):
            layers.append(nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1))
            layers += [normalisation("instance", width // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(first, outputs, 7), nn.Tanh())
        self.apply(init_weights)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        output: Tensor = self.layers(image)
        return output
