"""The network, the loss and the loop: a tiny run learns, stops, and goes on where it stopped."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from training.average import MovingAverage
from training.checkpoint import averaged_network
from training.config import ConfigError, check
from training.data.regions import Region
from training.loop import train
from training.losses import SlabLossSettings, region_weights, slab_loss
from training.networks.slab import SlabNet, SlabNetSettings
from training.recipes.slab_regression import SlabRegression, SlabRegressionSettings
from training.schedule import LoopSettings, learning_rate, stage_at

TINY = {"context": 5, "outputs": 3, "features": [8, 8, 8, 8, 8, 8], "detail": 4, "head": 8}


def recipe(cases: Path) -> SlabRegression:
    pool = {"folder": str(cases), "augmentation": {"calm": 1.0}}
    options = {
        "network": TINY,
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
        "pools": {"simulated": pool, "held_out": pool},
        "validation": "held_out",
        "validation_batches": 2,
    }
    return SlabRegression(SlabRegressionSettings.model_validate(options))


def loop(steps: int) -> LoopSettings:
    return LoopSettings.model_validate(
        {
            "steps": steps,
            "minutes": 5,
            "learning_rate": 5e-3,
            "log_steps": 5,
            "precision": "32-true",
            "accelerator": "cpu",
        }
        | {"stages": [{"until": 1, "mix": {"simulated": 1}}]}
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_tiny_run_lowers_the_loss_and_resumes_where_it_stopped(cases: Path, tmp_path: Path) -> None:
    train(recipe(cases), loop(20), tmp_path, about={"note": 1})
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["step"] == 20
    assert saved["config"] == {"note": 1}
    train(recipe(cases), loop(40), tmp_path)
    losses = [float(row["value"]) for row in rows(tmp_path / "losses.csv")]
    assert [row["step"] for row in rows(tmp_path / "losses.csv")] == [str(step) for step in range(5, 45, 5)]
    assert losses[-1] < 0.8 * losses[0]
    assert len(rows(tmp_path / "validation.csv")) == 2
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
    network, about = averaged_network(recipe(cases), tmp_path)
    assert about["step"] == 40
    assert not network.training


def test_the_clock_ends_a_run(cases: Path, tmp_path: Path) -> None:
    train(recipe(cases), loop(10**6), tmp_path, minutes=0.05)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["seconds"] >= 3


@pytest.mark.parametrize("ends", [[], [0.5], [0.7, 0.5, 1.0]])
def test_stages_that_do_not_cover_the_run_are_refused(ends: list[float]) -> None:
    with pytest.raises(ConfigError, match="until: 1"):
        check(LoopSettings, {"stages": [{"until": end, "mix": {}} for end in ends]}, "train")


def test_a_stage_lasts_until_its_end() -> None:
    settings = LoopSettings.model_validate({"stages": [{"until": 0.6, "mix": {}}, {"until": 1, "mix": {}}]})
    assert [stage_at(fraction, settings) for fraction in (0, 0.59, 0.6, 0.999)] == [0, 0, 1, 1]


def test_a_missing_checkpoint_and_one_of_another_network_are_said_in_words(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training train"):
        averaged_network(recipe(cases), tmp_path)
    other = SlabNet(SlabNetSettings.model_validate(TINY | {"detail": 2}))
    torch.save({"average": other.state_dict(), "step": 1, "seconds": 1.0}, tmp_path / "last.pt")
    with pytest.raises(ConfigError, match="does not fit"):
        averaged_network(recipe(cases), tmp_path)


def test_the_learning_rate_rises_then_falls_to_one_percent() -> None:
    settings = loop(10)
    rates = [learning_rate(fraction, settings) for fraction in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(settings.learning_rate)
    assert rates.index(max(rates)) == 2  # warm-up of 2 %
    assert rates[-1] == pytest.approx(0.01 * settings.learning_rate)


def test_the_network_gives_means_and_log_variances_at_the_inputs_size() -> None:
    network = SlabNet(SlabNetSettings())
    assert sum(p.numel() for p in network.parameters()) * 4 < 12e6  # bytes
    assert network.eval()(torch.rand(1, 9, 64, 96)).shape == (1, 10, 64, 96)


def test_slices_in_must_stand_around_the_slices_out() -> None:
    for context in (5, 6):
        with pytest.raises(ConfigError, match="even number"):
            check(SlabNetSettings, {"context": context, "outputs": 5}, "network")


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
    network = SlabNet(SlabNetSettings.model_validate(TINY | {"sharpen": 3.0}))
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().expand(1, 3, 32, 32)
    finished = network._finish(board)[..., 4:-4, 4:-4]
    assert torch.allclose(finished, torch.full_like(finished, 0.5), atol=1e-5)
    edge = network._smooth(network._smooth((torch.arange(32.0) > 15).float().expand(1, 3, 32, 32)))
    assert network._finish(edge).diff(dim=3).max() > 1.3 * edge.diff(dim=3).max()
    assert torch.allclose(network._finish(edge)[..., 26:], torch.ones(6), atol=1e-5)


def test_a_perfect_answer_costs_nothing_but_confidence() -> None:
    target = torch.rand(2, 3, 32, 32)
    region = torch.full((2, 3, 32, 32), int(Region.BRAIN))
    parts = slab_loss(torch.cat([target, torch.zeros_like(target)], 1), target, region, SlabLossSettings())
    for name in ("value", "edge", "slice", "sharpness", "structure"):
        assert float(parts[name]) == pytest.approx(0, abs=1e-5)


def test_confidence_does_not_move_the_mean() -> None:
    mean = torch.rand(1, 3, 32, 32, requires_grad=True)
    output = torch.cat([mean, torch.zeros(1, 3, 32, 32)], 1)
    region = torch.full((1, 3, 32, 32), int(Region.BRAIN))
    slab_loss(output, torch.rand(1, 3, 32, 32), region, SlabLossSettings())["confidence"].backward()
    assert mean.grad is None or not mean.grad.any()


def test_flicker_costs_more_than_the_same_error_in_all_slices() -> None:
    target = torch.zeros(1, 3, 32, 32)
    region = torch.full((1, 3, 32, 32), int(Region.BRAIN))
    steady, flicker = torch.full_like(target, 0.1), target.clone()
    flicker[:, 1] = 0.3
    losses = [
        slab_loss(torch.cat([answer, target], 1), target, region, SlabLossSettings(structure=0, sharpness=0))["total"]
        for answer in (steady, flicker)
    ]
    assert losses[1] > losses[0]


def test_a_blurred_answer_is_less_sharp_and_one_moved_by_a_pixel_is_not() -> None:
    target = (torch.rand(1, 1, 45, 45, generator=torch.Generator().manual_seed(0)) > 0.5).float().expand(1, 3, 45, 45)
    region = torch.full(target.shape, int(Region.BRAIN))

    def sharpness(answer: torch.Tensor) -> float:
        output = torch.cat([answer, torch.zeros_like(answer)], 1)
        return float(slab_loss(output, target, region, SlabLossSettings())["sharpness"])

    blurred = torch.nn.functional.avg_pool2d(target, 3, stride=1, padding=1)
    assert sharpness(target.roll(1, 3)) < 0.1 * sharpness(blurred)


def test_a_lesion_weighs_more_than_brain_more_than_head_more_than_air() -> None:
    weights = region_weights(torch.tensor([0, 1, 2, 3]), SlabLossSettings()).tolist()
    assert weights == sorted(weights)


def test_the_average_follows_the_network() -> None:
    network, copy = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    average = MovingAverage(network, copy, 0.5)
    with torch.no_grad():
        network.weight.add_(1.0)
    before = average.network.weight.clone()
    for _ in range(60):
        average.update(network)
    assert not torch.allclose(before, average.network.weight)
    assert torch.allclose(average.network.weight, network.weight, atol=1e-4)
