"""What scanners add: slices, noise, bias, faults; kernels, windows and head rests of CT."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modality_conversion.modality import Modality
from test_simulation import made
from training.data.regions import Region
from training.data.scale import normalise_source
from training.simulation import ct
from training.simulation.anatomy import Head
from training.simulation.scanner import FAULTS, Grid, along, bias_field, fault, random_spacing, rician, slice_matrices


def test_a_thick_slice_is_the_mean_of_its_planes_and_planes_between_slices_are_linear() -> None:
    average, interpolate = slice_matrices(length=12, thickness=3, first=1)
    volume = torch.arange(12.0)[:, None, None].expand(12, 2, 2) ** 2
    slices = along(average, volume, 0)
    assert slices[:, 0, 0].tolist() == pytest.approx([5 / 3, 50 / 3, 149 / 3, 302 / 3], rel=1e-5)
    planes = along(interpolate, slices, 0)[:, 0, 0]
    assert planes[4] == pytest.approx(50 / 3, rel=1e-5)
    assert planes[5] == pytest.approx((2 * 50 / 3 + 149 / 3) / 3, rel=1e-5)
    assert planes[0] == planes[1]  # beyond the first centre its value is repeated


@pytest.mark.parametrize(("thickness", "first"), [(2.7, 0.3), (5.0, 4.9), (3.0, 0.0)])
def test_thick_slices_leave_a_constant_volume_as_it_is(thickness: float, first: float) -> None:
    average, interpolate = slice_matrices(20, thickness, first)
    assert interpolate @ (average @ np.ones(20)) == pytest.approx(np.ones(20), abs=1e-5)


def test_a_scanners_grid_has_its_spacing_and_gives_the_volume_back_in_its_place() -> None:
    rng = np.random.default_rng(0)
    grid = Grid.of((40, 30, 20), (4.0, 1.5, 1.0), rng)
    ramp = torch.arange(40.0)[:, None, None].expand(40, 30, 20)
    measured = grid.measured(ramp)
    assert measured.shape[0] in (9, 10)
    assert measured.shape[1] in (19, 20)
    assert measured.shape[2] == 20
    shown = grid.shown(measured)
    assert torch.allclose(shown[8:32], ramp[8:32], atol=0.3)
    assert not Grid.of((40, 30, 20), (1.0, 1.0, 1.0), rng).axes


def test_slices_may_lie_in_any_plane() -> None:
    rng = np.random.default_rng(0)
    thick = [int(np.argmax(random_spacing((2, 5), 0.3, rng))) for _ in range(200)]
    assert np.bincount(thick, minlength=3).min() > 15


def test_rician_noise_makes_air_positive_and_leaves_strong_signal_unbiased() -> None:
    noisy = rician(torch.full((40, 40, 40), 10.0), 0.5, np.random.default_rng(0))
    assert float(noisy.mean()) == pytest.approx(10, abs=0.05)
    air = rician(torch.zeros(40, 40, 40), 0.5, np.random.default_rng(0))
    assert float(air.mean()) == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.02)


def test_a_bias_field_is_positive_smooth_and_as_strong_as_asked_for() -> None:
    fields = [bias_field((60, 60, 60), 0.3, np.random.default_rng(seed)) for seed in range(8)]
    assert all((field > 0).all() for field in fields)
    assert 0.08 < np.mean([float(field.log().std()) for field in fields]) < 0.3
    assert float(bias_field((20, 20, 20), 0.0, np.random.default_rng(0)).std()) == 0


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_change_a_scan_but_not_its_size_or_its_mean(kind: str) -> None:
    volume = torch.zeros(32, 40, 36)
    volume[8:24, 10:30, 9:27] = 1 + 0.5 * torch.rand(16, 20, 18, generator=torch.Generator().manual_seed(0))
    spoilt = fault(volume, kind, np.random.default_rng(3))
    assert spoilt.shape == volume.shape
    assert torch.isfinite(spoilt).all()
    assert spoilt.min() >= 0
    assert float((spoilt - volume).abs().mean()) > 0.001
    assert float(spoilt.mean()) == pytest.approx(float(volume.mean()), rel=0.6)
    assert torch.equal(spoilt, fault(volume, kind, np.random.default_rng(3)))


def test_a_fault_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault 'dust'"):
        fault(torch.zeros(4, 4, 4), "dust", np.random.default_rng(0))


def test_faulty_sources_say_so(head: Head) -> None:
    case = made(head, 0, fault=1.0, sources=["T1", "T2"])
    assert all(case.about["protocols"][name]["fault"] in FAULTS for name in ("T1", "T2"))


def test_a_windowed_ct_keeps_its_place_on_the_scale_and_an_eight_bit_one_does_not() -> None:
    volume = torch.tensor([-1000.0, -500, 0, 40, 80, 900]).view(1, 1, 6)
    names = set()
    for seed in range(40):
        name, to_window = ct.random_window(np.random.default_rng(seed), eight_bit=0.0)
        names.add(name)
        low, high = ct.WINDOWS[name]
        assert torch.equal(to_window(volume), volume.clamp(low, high))
    assert names == set(ct.WINDOWS)
    name, to_window = ct.random_window(np.random.default_rng(0), eight_bit=1.0)
    stored = to_window(volume)
    assert name.endswith("8 bit")
    assert (float(stored.min()), float(stored.max())) == (0, 255)


def test_a_whole_range_ct_source_is_in_its_place_on_the_scale(head: Head) -> None:
    case = made(head, 0, sources=["CT"], ct_windowed=0, ct_noise=[0, 0.01], ct_rest=0, ct_agent=0)
    source = case.sources[Modality.CT]
    air, water, bone = normalise_source(np.array([[[-1000.0, 0.0, 1000.0]]]), Modality.CT)[0, 0]
    assert float(np.median(source[case.region == Region.BACKGROUND])) == pytest.approx(air, abs=0.01)
    assert 0 < float(np.median(source[case.region == Region.BRAIN])) - water < 0.06
    assert source.max() > bone - 0.15


def test_a_sharp_and_a_soft_kernel_are_both_drawn_and_keep_the_mean() -> None:
    edge = torch.zeros(12, 30, 30)
    edge[:, :, 15:] = 1000
    over = [float(ct.kernel(edge, np.random.default_rng(seed)).max()) for seed in range(20)]
    assert min(over) == pytest.approx(1000, abs=1)
    assert max(over) > 1030
    assert float(ct.kernel(edge, np.random.default_rng(0)).mean()) == pytest.approx(500, rel=0.02)


def test_ct_noise_has_the_deviation_asked_for() -> None:
    flat = torch.full((20, 64, 64), 30.0)
    flat[:, 20:24] = 800
    noise = [ct.grain(flat.clone(), 6.0, np.random.default_rng(seed)) - flat for seed in range(4)]
    assert np.mean([float(part.std()) for part in noise]) == pytest.approx(6, rel=0.15)


def test_a_head_rest_stands_behind_the_head_in_air_alone() -> None:
    volume = torch.full((4, 120, 100), -1000.0)
    volume[:, 40:110, 20:80] = 40
    rested = ct.head_rest(volume.clone(), np.random.default_rng(1))
    changed = rested != volume
    assert changed.any()
    assert not changed[:, 40:110, 20:80].any()
    rows = changed.any(0).any(1).nonzero()
    assert float(rows.float().median()) < 75
