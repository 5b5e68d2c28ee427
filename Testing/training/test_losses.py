"""What costs the network something, and what does not."""

from __future__ import annotations

import pytest
import torch

from modality_conversion.modality import Modality
from training.data.regions import Region, Tissue
from training.losses import RegressionLossSettings, region_weights, regression_loss
from training.metrics import Figures
from training.networks.parts import Guided

PLAIN = RegressionLossSettings(structure=0, sharpness=0)


def brain(*shape: int) -> torch.Tensor:
    return torch.full(shape, int(Region.BRAIN))


def total(answer: torch.Tensor, target: torch.Tensor, settings: RegressionLossSettings = PLAIN) -> float:
    output = torch.cat([answer, torch.zeros_like(answer)], 1)
    return float(regression_loss(output, target, brain(*target.shape), settings)["total"])


def test_a_perfect_answer_costs_nothing_but_confidence() -> None:
    target = torch.rand(2, 3, 32, 32)
    settings = RegressionLossSettings()
    parts = regression_loss(torch.cat([target, torch.zeros_like(target)], 1), target, brain(2, 3, 32, 32), settings)
    for name in ("value", "edge", "slice", "sharpness", "structure"):
        assert float(parts[name]) == pytest.approx(0, abs=1e-5)


def test_parts_without_weight_are_left_out_and_the_total_is_the_weighted_sum() -> None:
    settings = RegressionLossSettings(edge=0, sharpness=0, structure=0.5, confidence=0.1, slice=2)
    parts = regression_loss(torch.rand(1, 6, 32, 32), torch.rand(1, 3, 32, 32), brain(1, 3, 32, 32), settings)
    assert set(parts) == {"value", "slice", "structure", "confidence", "total"}
    expected = parts["value"] + 2 * parts["slice"] + 0.5 * parts["structure"] + 0.1 * parts["confidence"]
    assert float(parts["total"]) == pytest.approx(float(expected))


def test_confidence_does_not_move_the_mean() -> None:
    mean = torch.rand(1, 3, 32, 32, requires_grad=True)
    output = torch.cat([mean, torch.zeros(1, 3, 32, 32)], 1)
    target = torch.rand(1, 3, 32, 32)
    regression_loss(output, target, brain(1, 3, 32, 32), RegressionLossSettings())["confidence"].backward()
    assert mean.grad is None or not mean.grad.any()


def test_the_best_log_variance_is_that_of_the_error() -> None:
    target = 0.2 * torch.randn(1, 3, 64, 64)
    costs = []
    for deviation in (0.05, 0.2, 0.8):
        spread = torch.full_like(target, 2 * torch.tensor(deviation).log().item())
        output = torch.cat([torch.zeros_like(target), spread], 1)
        costs.append(float(regression_loss(output, target, brain(1, 3, 64, 64), PLAIN)["confidence"]))
    assert costs[1] == min(costs)


def test_flicker_costs_more_than_the_same_error_in_all_slices() -> None:
    target = torch.zeros(1, 3, 32, 32)
    steady, flicker = torch.full_like(target, 0.1), target.clone()
    flicker[:, 1] = 0.3
    assert total(flicker, target) > total(steady, target)
    without = RegressionLossSettings(structure=0, sharpness=0, slice=0)
    assert total(flicker, target, without) == pytest.approx(total(steady, target, without), rel=0.01)


def test_a_lost_edge_costs_more_than_the_same_error_spread_out() -> None:
    target = (torch.arange(32) > 15).float().expand(1, 3, 32, 32)
    flat = torch.full_like(target, 0.5)
    everywhere = target + 0.5
    assert total(flat, target) > total(everywhere, target) + 0.01


def test_a_blurred_answer_is_less_sharp_and_one_moved_by_a_pixel_is_not() -> None:
    target = (torch.rand(1, 1, 45, 45, generator=torch.Generator().manual_seed(0)) > 0.5).float().expand(1, 3, 45, 45)

    def sharpness(answer: torch.Tensor) -> float:
        output = torch.cat([answer, torch.zeros_like(answer)], 1)
        return float(regression_loss(output, target, brain(*target.shape), RegressionLossSettings())["sharpness"])

    blurred = torch.nn.functional.avg_pool2d(target, 3, stride=1, padding=1)
    assert sharpness(target.roll(1, 3)) < 0.1 * sharpness(blurred)


def test_a_lesion_weighs_more_than_brain_more_than_head_more_than_air() -> None:
    order = [Region.BACKGROUND, Region.HEAD, Region.BRAIN, Region.LESION]
    weights = region_weights(torch.tensor([int(code) for code in order]), RegressionLossSettings()).tolist()
    assert weights == sorted(weights)
    assert len(set(weights)) == 4


def test_tumors_and_bone_have_their_own_weight() -> None:
    settings = RegressionLossSettings(lesion=7, bone=0.25)
    regions = torch.tensor([int(Region.TUMOR), int(Region.BONE)])
    assert region_weights(regions, settings).tolist() == [7, 0.25]


def test_an_error_in_a_lesion_costs_what_its_weight_says() -> None:
    target, region = torch.zeros(1, 3, 32, 32), brain(1, 3, 32, 32).clone()
    region[:, :, :16] = int(Region.LESION)
    wrong = target.clone()
    wrong[:, :, :16] = 1
    for lesion in (1.0, 3.0):
        settings = RegressionLossSettings(lesion=lesion)
        parts = regression_loss(torch.cat([wrong, target], 1), target, region, settings)
        assert float(parts["value"]) == pytest.approx(lesion / (lesion + 1))


def test_anatomy_is_punished_where_it_is_known_and_only_when_asked_for() -> None:
    target, region = torch.rand(1, 3, 32, 32), brain(1, 3, 32, 32)
    tissue = torch.full((1, 3, 32, 32), int(Tissue.GREY))
    tissue[:, :, :, 16:] = int(Tissue.NONE)
    right = torch.zeros(1, len(Tissue), 16, 16)
    right[:, Tissue.GREY] = 20
    wrong_where_unknown = right.clone()
    wrong_where_unknown[..., 8:] = right[..., 8:].roll(1, 1)
    wrong = right.roll(1, 1)
    output = torch.cat([target, target], 1)
    guided = RegressionLossSettings(anatomy=0.1)
    costs = [
        float(regression_loss(Guided(output, logits), target, region, guided, tissue)["anatomy"])
        for logits in (right, wrong_where_unknown, wrong)
    ]
    assert costs[0] == pytest.approx(0, abs=1e-5)
    assert costs[1] == pytest.approx(0, abs=1e-5)
    assert costs[2] > 10
    assert "anatomy" not in regression_loss(Guided(output, wrong), target, region, PLAIN, tissue)
    assert guided.tissues == len(Tissue)
    assert PLAIN.tissues == 0


def test_a_case_without_tissues_costs_no_anatomy() -> None:
    output, nothing = torch.rand(1, 6, 32, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    logits = torch.randn(1, len(Tissue), 16, 16)
    settings = RegressionLossSettings(anatomy=0.1)
    parts = regression_loss(Guided(output, logits), torch.rand(1, 3, 32, 32), brain(1, 3, 32, 32), settings, nothing)
    assert float(parts["anatomy"]) == 0


def test_figures_forgive_another_contrast_but_not_another_anatomy() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 3, 32, 32, generator=generator)
    other = torch.rand(1, 3, 32, 32, generator=generator)
    figures = Figures(Modality.T2)
    figures.add(0.5 - 0.4 * target, target, brain(1, 3, 32, 32), other)
    found = figures.result()
    assert found["psnr_fitted"] > 40
    assert found["psnr"] < 6  # dark where it should be bright
    assert found["source_psnr_fitted"] == pytest.approx(10.8, abs=0.3)  # the variance of numbers even in [0, 1] is 1/12
    assert found["mae"] > 0.1


def test_figures_do_not_depend_on_the_units_of_the_scan() -> None:
    target, source = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    found = []
    for factor, offset in ((1.0, 0.0), (700.0, -3.0)):
        figures = Figures(Modality.T2)
        figures.add(target.square(), target, brain(1, 3, 32, 32), factor * source + offset)
        found.append(figures.result())
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_figures_look_at_the_brain_alone_and_of_a_ct_at_the_head() -> None:
    target, region = torch.rand(1, 3, 32, 32), brain(1, 3, 32, 32)
    region[..., :16] = int(Region.HEAD)
    answer = target.clone()
    answer[..., :16] = 9
    figures = Figures(Modality.T2)
    figures.add(answer, target, region, target)
    assert figures.result()["mae"] == pytest.approx(0, abs=1e-6)
    whole_head = Figures(Modality.CT)
    whole_head.add(answer, target, region, target)
    assert whole_head.result()["mae"] > 4
    empty = Figures(Modality.T2)
    empty.add(answer, target, torch.zeros_like(region), target)
    assert empty.result() == {}
