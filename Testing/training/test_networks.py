"""The networks: what goes in and comes out, how large they are, what they leave no trace of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from modality_conversion.modality import Modality
from training.config import ConfigError, check
from training.networks.conditional import ConditionalNet, ConditionalNetSettings
from training.networks.contrasts import usual_gain
from training.networks.local import standardise
from training.networks.parts import Finish, Guided
from training.networks.properties import LIMITS, PropertyNet
from training.networks.slab import SlabNet, SlabNetSettings
from training.networks.volume import VolumeNet, VolumeNetSettings
from training.simulation.protocols import STANDARD

TINY = {"context": 5, "outputs": 3, "features": [8, 8, 8, 8, 8, 8], "detail": 4, "head": 8}
TINY_CONDITIONAL = {"context": 5, "outputs": 3, "features": [8, 8, 8], "blocks": [1, 1, 1]}
FLOORS = (-1.024, 0.0, 0.0, 0.0)


def weights(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_slab_network_gives_means_and_log_variances_at_the_inputs_size() -> None:
    network = SlabNet(SlabNetSettings())
    assert weights(network) == 2_563_018  # 10 MB
    assert network.eval()(torch.rand(1, 9, 64, 96)).shape == (1, 10, 64, 96)


def test_the_conditional_network_takes_any_scans_and_fits_into_the_bundle() -> None:
    network = ConditionalNet(ConditionalNetSettings(), 4, FLOORS)
    assert weights(network) * 4 < 20e6  # bytes
    given, wanted = torch.tensor([[0.0, 1, 0, 1], [1, 0, 0, 0]]), torch.eye(4)[[0, 2]]
    assert network.eval()(torch.rand(2, 36, 64, 48), given, wanted).shape == (2, 10, 64, 48)


def test_the_network_of_properties_gives_the_contrast_that_its_properties_have() -> None:
    torch.manual_seed(0)
    targets = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
    network = PropertyNet(ConditionalNetSettings.model_validate(TINY_CONDITIONAL), 4, targets).eval()
    slab, given = torch.rand(2, 20, 32, 32), torch.tensor([[0.0, 1, 0, 1], [1, 0, 0, 0]])
    with torch.no_grad():
        together = network(slab, given)
        maps, _ = network.properties(slab, given)
    assert together.shape == (2, 4, 6, 32, 32)
    assert network(slab, given, torch.eye(4)[[0, 2]]).shape == (2, 6, 32, 32)
    for name, (low, high) in LIMITS.items():
        assert low <= maps[name].min() <= maps[name].max() <= high
    for number, target in enumerate(targets[1:], 1):
        arrays = [maps[name].double().numpy() for name in ("pd", "t1", "t2")]
        wanted = usual_gain(target) * STANDARD[target].sequence(*arrays)
        assert np.abs(together[:, number, :3].numpy() - wanted).max() < 1e-5
    assert torch.equal(together[:, 0, :3], maps["hu"])


def test_published_architectures_have_their_number_of_weights() -> None:
    # nnU-Net's 3D full-resolution network has 31.2 million (Isensee 2021); MONAI's BasicUNet 5.75; its residual U-Net 1.6.
    nnunet = VolumeNetSettings(kind="nnunet", features=(32, 64, 128, 256, 320, 320), norm="instance", size=(64, 64, 64))
    assert weights(VolumeNet(nnunet)) == pytest.approx(31.2e6, rel=0.01)
    assert weights(VolumeNet(VolumeNetSettings(features=(32, 32, 64, 128, 256, 32)))) == pytest.approx(5.75e6, rel=0.01)
    published = UNet(2, 1, 2, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)
    assert weights(published) == pytest.approx(1.6e6, rel=0.02)


@pytest.mark.parametrize("kind", ["basic", "nnunet"])
def test_volume_networks_give_means_and_log_variances_at_the_inputs_size(kind: str) -> None:
    features = [8, 8, 8, 8, 8, 8] if kind == "basic" else [8, 8, 8]
    settings = VolumeNetSettings.model_validate({"kind": kind, "features": features, "size": [32, 32, 32]})
    assert VolumeNet(settings).eval()(torch.rand(1, 1, 32, 48, 32)).shape == (1, 2, 32, 48, 32)


def test_slices_in_must_stand_around_the_slices_out() -> None:
    for kind in (SlabNetSettings, ConditionalNetSettings):
        for context in (5, 6):
            with pytest.raises(ConfigError, match="even number"):
                check(kind, {"context": context, "outputs": 5}, "network")


def test_no_answer_is_below_what_the_modality_can_have() -> None:
    torch.manual_seed(0)
    network = ConditionalNet(ConditionalNetSettings(features=(16, 16), blocks=(1, 1)), 4, FLOORS).eval()
    with torch.no_grad():
        network.last.bias[:5] = -5
        lowest = network(torch.rand(2, 36, 32, 32), torch.eye(4)[:2], torch.eye(4)[[0, 2]])[:, :5].amin((1, 2, 3))
    assert lowest.tolist() == pytest.approx([-1.024, 0.0])
    slab = SlabNet(SlabNetSettings.model_validate(TINY), floor=-1.024).eval()
    with torch.no_grad():
        slab.end[2].bias[:3] = -5
        assert slab(torch.rand(1, 5, 32, 32))[:, :3].min().item() == pytest.approx(-1.024)


def test_the_answer_depends_on_what_is_asked_for_and_on_what_is_given_from_the_first_step_on() -> None:
    torch.manual_seed(0)
    network = ConditionalNet(ConditionalNetSettings(features=(16, 16), blocks=(1, 1)), 4, FLOORS).eval()
    slab, code = torch.rand(1, 36, 32, 32), torch.eye(4)
    for other in (network(slab, code[[1]], code[[3]]), network(slab, code[[0]], code[[2]])):
        assert (network(slab, code[[1]], code[[2]]) - other).abs().max() > 1e-2


def test_the_conditional_network_leaves_no_pattern_of_blocks_on_a_flat_place() -> None:
    torch.manual_seed(0)
    network = ConditionalNet(ConditionalNetSettings(features=(16, 32, 32), blocks=(1, 1, 1)), 4, FLOORS).eval()
    flat = torch.full((1, 36, 96, 96), 0.5)
    middle = network(flat, torch.eye(4)[[1]], torch.eye(4)[[2]])[..., 40:56, 40:56]
    assert middle.std((2, 3)).max() < 1e-5


@pytest.mark.parametrize("network", ["slab", "conditional", "volume"])
def test_tissues_come_beside_the_answer_while_training_and_not_after(network: str) -> None:
    if network == "slab":
        net, inputs = SlabNet(SlabNetSettings.model_validate(TINY), tissues=9), (torch.rand(2, 5, 32, 32),)
        size: tuple[int, ...] = (2, 9, 16, 16)
    elif network == "conditional":
        net = ConditionalNet(ConditionalNetSettings(features=(16, 16), blocks=(1, 1)), 4, FLOORS, tissues=9)
        inputs, size = (torch.rand(2, 36, 32, 32), torch.eye(4)[:2], torch.eye(4)[2:]), (2, 9, 16, 16)
    else:
        settings = VolumeNetSettings.model_validate({"features": [8] * 6, "size": [32, 32, 32]})
        net, inputs, size = VolumeNet(settings, tissues=9), (torch.rand(2, 1, 32, 32, 32),), (2, 9, 32, 32, 32)
    given = net.train()(*inputs)
    assert isinstance(given, Guided)
    assert given.tissue.shape == size
    assert isinstance(net.eval()(*inputs), torch.Tensor)


def test_sharpening_and_the_cut_at_zero_happen_after_training_only() -> None:
    torch.manual_seed(0)
    plain = SlabNet(SlabNetSettings.model_validate(TINY)).eval()
    sharp = SlabNet(SlabNetSettings.model_validate(TINY | {"sharpen": 1.0})).eval()
    sharp.load_state_dict(plain.state_dict())
    slab = torch.rand(1, 5, 64, 64)
    means = [network(slab)[:, :3] for network in (plain, sharp)]
    assert means[1].diff(dim=3).abs().mean() > means[0].diff(dim=3).abs().mean()
    assert min(mean.min().item() for mean in means) >= 0
    assert torch.allclose(plain(slab)[:, 3:], sharp(slab)[:, 3:])
    assert torch.allclose(plain.train()(slab), sharp.train()(slab))


def test_finishing_removes_a_checkerboard_keeps_flat_places_and_sharpens_edges() -> None:
    finish = Finish(3)
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().expand(1, 3, 32, 32)
    finished = finish(board, 3.0)[..., 4:-4, 4:-4]
    assert torch.allclose(finished, torch.full_like(finished, 0.5), atol=1e-5)
    edge = finish.smooth(finish.smooth((torch.arange(32.0) > 15).float().expand(1, 3, 32, 32)))
    assert finish(edge, 3.0).diff(dim=3).max() > 1.3 * edge.diff(dim=3).max()
    assert torch.allclose(finish(edge, 3.0)[..., 26:], torch.ones(6), atol=1e-5)


def test_each_target_is_sharpened_as_much_as_is_said_for_it() -> None:
    torch.manual_seed(0)
    sharp = TINY_CONDITIONAL | {"sharpen": (0.0, 2.0, 0.0, 0.0)}
    for kind, last in (
        (ConditionalNet, FLOORS),
        (PropertyNet, (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)),
    ):
        plain, sharper = (
            kind(check(ConditionalNetSettings, options, ""), 4, last).eval() for options in (TINY_CONDITIONAL, sharp)
        )
        sharper.load_state_dict(plain.state_dict())
        slab, given = torch.rand(1, 4 * 5, 64, 64), torch.eye(4)[:1]
        for target in range(4):
            wanted = torch.eye(4)[target : target + 1]
            same = torch.equal(plain(slab, given, wanted), sharper(slab, given, wanted))
            assert same == (target != 1)
    with pytest.raises(ConfigError, match="one for each of the 4 targets"):
        ConditionalNet(check(ConditionalNetSettings, TINY_CONDITIONAL | {"sharpen": (1.0, 2.0)}, ""), 4, FLOORS)


def test_nothing_is_drawn_in_the_empty_field_around_a_scan() -> None:
    torch.manual_seed(0)
    network = ConditionalNet(check(ConditionalNetSettings, TINY_CONDITIONAL, ""), 4, FLOORS).eval()
    slab = torch.zeros(1, 4 * 5, 64, 64)
    slab[:, 5:10, 24:40, 24:40] = 0.5
    given = torch.eye(4)[1:2]
    for target, floor in enumerate(FLOORS):
        mean = network(slab, given, torch.eye(4)[target : target + 1])[:, :3]
        around = torch.ones(64, 64, dtype=torch.bool)
        around[16:48, 16:48] = False
        assert (mean[..., around] == floor).all()
        assert (mean[..., ~around] != floor).any()
    noisy = slab + 0.02 * torch.rand(slab.shape)
    assert (
        network(noisy, given, torch.eye(4)[:1])[:, :3, :8] != FLOORS[0]
    ).any()  # air that is not empty is left alone


# --- local standardisation --------------------------------------------------------------------------------------------------


def test_a_scan_standardised_in_its_surroundings_keeps_no_gain_and_little_of_a_shading() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((1, 1, 1, 24, 24), generator=generator).expand(-1, -1, 3, -1, -1)
    scan = 0.3 + 0.3 * coarse.repeat_interleave(4, 3).repeat_interleave(4, 4)
    plain = standardise(scan, 40)
    assert (standardise(scan * 1.6, 40) - plain).abs().max() < 0.05  # of 0.75; the noise that is added
    shading = torch.linspace(0.8, 1.2, 96).expand_as(scan)
    middle = (..., slice(24, 72), slice(24, 72))
    assert (standardise(scan * shading, 40) - plain)[middle].abs().mean() < 0.15 * plain[middle].abs().mean()
    assert (scan * shading - scan).abs().mean() > 0.15 * (scan - scan.mean()).abs().mean()


def test_standard_scores_are_those_of_numpy_in_the_middle_of_a_square() -> None:
    scan = torch.rand(1, 1, 2, 48, 48) + 0.1
    found = standardise(scan, 40)[0, 0, :, 20:28, 20:28]  # the middle cell sees 5 x 5 cells
    seen = scan[0, 0, :, 4:44, 4:44].double().numpy()
    wanted = (scan[0, 0, :, 20:28, 20:28].numpy() - seen.mean()) / (seen.std() + 0.02) / 4
    assert np.abs(found[:, 3:5, 3:5].numpy() - wanted[:, 3:5, 3:5]).max() < 0.05  # the next cells are blended in


def test_a_scan_that_is_not_there_stays_zero_and_air_does_not_become_noise() -> None:
    scans = torch.zeros(1, 2, 3, 48, 48)
    scans[:, 1] = 0.005 * torch.rand(3, 48, 48)
    found = standardise(scans, 40)
    assert found[:, 0].abs().max() == 0
    assert found[:, 1].abs().max() < 0.1


def test_a_network_with_standardised_scans_can_begin_as_one_without() -> None:
    torch.manual_seed(0)
    plain = ConditionalNet(check(ConditionalNetSettings, TINY_CONDITIONAL, ""), 4, FLOORS).eval()
    wider = ConditionalNet(check(ConditionalNetSettings, TINY_CONDITIONAL | {"local": 40}, ""), 4, FLOORS).eval()
    state = wider.state_dict()
    for name, given in plain.state_dict().items():
        state[name] = torch.zeros_like(state[name])
        state[name][tuple(map(slice, given.shape))] = given
    wider.load_state_dict(state)
    slab, given, wanted = torch.rand(2, 20, 64, 48), torch.eye(4)[[1, 0]], torch.eye(4)[[2, 3]]
    assert torch.allclose(plain(slab, given, wanted), wider(slab, given, wanted), atol=1e-5)
    wider.local_gain.bias.data.fill_(0.1)  # type: ignore[union-attr]
    assert not torch.allclose(plain(slab, given, wanted), wider(slab, given, wanted), atol=1e-2)
