"""Networks of the adversarial recipes: the published shapes and numbers of weights, and the scales they work on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modality_conversion.modality import Modality
from training.data.scale import CT_RANGE, normalise_source
from training.networks.adversarial import DiscriminatorSettings, patch_discriminator
from training.networks.content_style import ContentEncoder, ContentStyleSettings, Decoder, StyleEncoder
from training.networks.cycle_gan import ResNetGenerator, ResNetGeneratorSettings
from training.networks.pix2pix import UNetGenerator, UNetGeneratorSettings
from training.networks.signed import from_source, from_target, to_target
from training.networks.star_gan import StarCritic, StarCriticSettings, StarGenerator, StarGeneratorSettings


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def receptive_field(network: nn.Module) -> int:
    """Side of the square of the input that one value of the output depends on."""
    side, step = 1, 1
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            side += (layer.kernel_size[0] - 1) * step
            step *= layer.stride[0]
    return side


def test_the_generators_are_as_large_as_published_for_three_channels() -> None:
    with torch.device("meta"):
        assert weights(UNetGenerator(3, 3, UNetGeneratorSettings())) == 54_413_955
        assert weights(ResNetGenerator(3, 3, ResNetGeneratorSettings())) == 11_378_179


def test_the_discriminators_are_as_large_as_published_and_judge_patches_of_70_pixels() -> None:
    with torch.device("meta"):
        conditional = patch_discriminator(6, DiscriminatorSettings(), "batch")
        plain = patch_discriminator(3, DiscriminatorSettings(), "instance")
        scores = plain(torch.empty(1, 3, 256, 256))[-1]
    assert weights(conditional) == 2_768_705
    assert weights(plain) == 2_764_737
    assert receptive_field(plain) == 70
    assert scores.shape == (1, 1, 30, 30)
    with torch.device("meta"):
        seen = [receptive_field(patch_discriminator(1, DiscriminatorSettings(layers=n), "batch")) for n in (1, 2, 4)]
    assert seen == [16, 34, 142]


def test_stargan_is_as_large_as_published_for_three_channels_and_five_kinds() -> None:
    with torch.device("meta"):
        generator, critic = (
            StarGenerator(3, 5, StarGeneratorSettings()),
            StarCritic(3, 5, (128, 128), StarCriticSettings()),
        )
        scores, kinds = critic.judge(torch.empty(2, 3, 128, 128))
        assert generator(torch.empty(2, 3, 128, 96), torch.empty(2, 5)).shape == (2, 3, 128, 96)
    assert (weights(generator), weights(critic)) == (8_430_528, 44_762_048)
    assert (scores.shape, kinds.shape) == ((2, 1, 2, 2), (2, 5))


def test_a_code_and_nothing_else_tells_the_generator_of_stargan_what_to_make() -> None:
    torch.manual_seed(0)
    network = StarGenerator(1, 3, StarGeneratorSettings(features=4, blocks=1))
    image, codes = torch.rand(1, 1, 16, 16), torch.eye(3)
    first, second = (network(image, codes[n : n + 1]) for n in (0, 1))
    assert (first - second).abs().max() > 1e-3
    assert torch.allclose(network(image.expand(2, -1, -1, -1), codes[:2]), torch.cat([first, second]), atol=1e-6)


def test_a_scan_taken_apart_keeps_its_place_in_the_content_and_has_none_in_the_style() -> None:
    torch.manual_seed(0)
    sizes = ContentStyleSettings(features=4, blocks=1, hidden=8)
    content, style, decoder = ContentEncoder(1, sizes), StyleEncoder(1, sizes), Decoder(1, sizes)
    image = torch.rand(2, 1, 32, 48)
    assert content(image).shape == (2, 16, 8, 12)
    assert style(image).shape == (2, 8)
    assert decoder(content(image), style(image)).shape == image.shape
    # Brighter and of more contrast is another style and the same content.
    assert torch.allclose(content(0.5 + 3 * image)[0].mean(), content(image)[0].mean(), atol=1e-2)
    brighter = content.layers[:2](image), content.layers[:2](0.5 + 3 * image)
    assert torch.allclose(*brighter, atol=1e-3)
    one, other = (decoder(content(image), code + torch.zeros(2, 8)) for code in (0.0, 2.0))
    assert (one - other).abs().max() > 1e-3


def test_the_deepest_level_of_the_published_unet_is_a_single_pixel_and_three_levels_drop_out() -> None:
    with torch.device("meta"):
        network = UNetGenerator(3, 3, UNetGeneratorSettings())
        image = torch.empty(1, 3, 256, 256)
        for layer in network.down:
            image = layer(image)
        assert image.shape == (1, 512, 1, 1)
        assert network(torch.empty(1, 3, 256, 512)).shape == (1, 3, 256, 512)
    assert sum(isinstance(layer, nn.Dropout) for layer in network.modules()) == 3


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_generators_keep_the_size_and_end_between_minus_one_and_one(norm: str) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 5, 32, 64)
    for network in (
        UNetGenerator(5, 3, UNetGeneratorSettings(features=4, depth=4), norm),
        ResNetGenerator(5, 3, ResNetGeneratorSettings(features=4, blocks=1)),
    ):
        found = network(image)
        assert found.shape == (2, 3, 32, 64)
        assert found.abs().max() <= 1
        assert found.std() > 0


def test_the_first_weights_are_those_published() -> None:
    torch.manual_seed(0)
    for network in (
        UNetGenerator(3, 3, UNetGeneratorSettings(features=16)),
        patch_discriminator(3, DiscriminatorSettings(features=16), "instance"),
    ):
        values = torch.cat([p.flatten() for name, p in network.named_parameters() if p.dim() == 4])
        assert float(values.detach().std()) == pytest.approx(0.02, rel=0.02)
        assert abs(float(values.detach().mean())) < 1e-3


@pytest.mark.parametrize("modality", [Modality.CT, Modality.T2])
def test_the_way_to_minus_one_and_one_and_back_gives_the_same_values(modality: Modality) -> None:
    low, high = (CT_RANGE[0] / 1000, CT_RANGE[1] / 1000) if modality is Modality.CT else (0.0, 1.25)
    values = torch.linspace(low, high, 301)
    signed = from_target(values, modality)
    assert signed.min() == pytest.approx(-1, abs=1e-5)
    assert signed.max() == pytest.approx(1, abs=1e-5)
    assert (signed.diff() > 0).all()
    assert torch.allclose(to_target(signed, modality), values, atol=1e-5)


def test_a_ct_on_the_input_scale_comes_back_in_hounsfield_units() -> None:
    hounsfield = np.linspace(-1024, 3071, 500).reshape(5, 10, 10)
    seen = torch.from_numpy(normalise_source(hounsfield, Modality.CT))
    found = 1000 * to_target(from_source(seen), Modality.CT)
    assert torch.allclose(found, torch.from_numpy(hounsfield).float(), atol=0.1)
