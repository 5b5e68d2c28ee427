"""Heads made from label maps: anatomy, relation of the two contrasts, scanner, reproducibility."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from small_head import small_labels, write_labels

from training.data.regions import Region
from training.simulation.anatomy import Deformation, Head, deform, read_labels
from training.simulation.case import Case, CaseSettings, simulate
from training.simulation.fields import gaussian_blur, smooth_field
from training.simulation.labels import is_brain, tissue_codes
from training.simulation.outside import divide_soft_tissue, face_cut, stripped_brain
from training.simulation.scanner import along, rician, slice_matrices
from training.simulation.tissues import CODE

PLAIN = CaseSettings(stripped=0, defaced=0, thick=0, lesions=0, tumor=0, noise=(0, 0), bias=(0, 0), blur=(0, 0))


def tissue(case: Case, volume: np.ndarray, low: float, high: float) -> float:
    """Median of a volume where the target lies between two percentiles of the brain's."""
    inside = case.region == Region.BRAIN
    limits = np.percentile(case.target[inside], (low, high))
    return float(np.median(volume[inside & (case.target >= limits[0]) & (case.target <= limits[1])]))


def test_a_label_map_in_any_orientation_is_read_as_ras(tmp_path: Path) -> None:
    assert np.array_equal(read_labels(write_labels(tmp_path / "labels.nii.gz")), small_labels())


def test_a_label_map_that_is_not_1_mm_is_refused_in_words(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(small_labels())
    image.SetSpacing((2, 2, 2))
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    with pytest.raises(ValueError, match="must be 1 mm"):
        read_labels(tmp_path / "labels.nii.gz")


def test_a_label_without_a_tissue_is_refused_by_number() -> None:
    with pytest.raises(ValueError, match=r"\[999\]"):
        tissue_codes(np.array([0, 2, 999]))


def test_distances_are_in_millimetres(head: Head) -> None:
    centre = tuple(n // 2 for n in head.labels.shape)
    assert head.to_brain[centre] < -15
    surface = np.argwhere(head.labels == 511)[0]
    assert 0 <= head.depth[tuple(surface)] < 4


def test_the_same_seed_gives_the_same_case_and_another_seed_another(head: Head) -> None:
    first, again, other = (simulate(head, CaseSettings(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.source, again.source)
    assert np.array_equal(first.target, again.target)
    assert first.source.shape != other.source.shape or not np.array_equal(first.source, other.source)


@pytest.mark.parametrize("seed", range(4))
def test_fluid_is_bright_on_the_target_and_dark_on_the_source(head: Head, seed: int) -> None:
    case = simulate(head, PLAIN, np.random.default_rng(seed))
    assert tissue(case, case.target, 90, 100) > 1.8 * tissue(case, case.target, 5, 40)
    assert tissue(case, case.source, 90, 100) < 0.7 * tissue(case, case.source, 5, 40)


def test_lesions_and_masses_brighten_the_target_and_are_marked(head: Head) -> None:
    settings = PLAIN.model_copy(update={"lesions": 1.0, "tumor": 1.0})
    case = simulate(head, settings, np.random.default_rng(3))
    lesion, brain = case.region == Region.LESION, case.region == Region.BRAIN
    assert lesion.sum() > 20
    assert np.median(case.target[lesion]) > np.median(case.target[brain])
    assert np.isfinite(case.source).all()
    assert np.isfinite(case.target).all()


def test_a_stripped_case_is_exactly_zero_outside_the_brain_on_both(head: Head) -> None:
    case = simulate(head, PLAIN.model_copy(update={"stripped": 1.0}), np.random.default_rng(1))
    outside = case.region == Region.BACKGROUND
    assert outside.mean() > 0.3
    assert np.abs(case.source[outside]).max() == 0
    assert np.abs(case.target[outside]).max() == 0


def test_a_defaced_head_keeps_its_brain(head: Head) -> None:
    for seed in range(3):
        kept = face_cut(head, np.random.default_rng(seed))
        assert kept[is_brain(head.labels)].all()
        assert not kept.all()


def test_a_stripping_mask_covers_most_of_the_brain_and_no_eye(head: Head) -> None:
    mask = stripped_brain(head, np.random.default_rng(0))
    assert mask[is_brain(head.labels)].mean() > 0.9
    assert not mask[head.labels == 506].any()


def test_soft_tissue_becomes_skin_outside_then_fat_then_muscle(head: Head) -> None:
    tissues = divide_soft_tissue(tissue_codes(head.labels), head, np.random.default_rng(0))
    depth = {name: head.depth[tissues == CODE[name]].mean() for name in ("skin", "fat")}
    assert depth["skin"] < depth["fat"]
    assert (tissues == CODE["fat"]).any()


def test_deformation_keeps_the_labels_and_the_whole_brain(head: Head) -> None:
    moved = deform(head, Deformation(), np.random.default_rng(2))
    assert set(np.unique(moved.labels)) <= set(np.unique(head.labels))
    brain = is_brain(moved.labels)
    assert 0.6 < brain.sum() / is_brain(head.labels).sum() < 1.6
    assert not brain[:, 0].any()
    assert not brain[:, -1].any()


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


def test_rician_noise_makes_air_positive_and_leaves_strong_signal_unbiased() -> None:
    noisy = rician(torch.full((40, 40, 40), 10.0), 0.5, np.random.default_rng(0))
    assert float(noisy.mean()) == pytest.approx(10, abs=0.05)
    air = rician(torch.zeros(40, 40, 40), 0.5, np.random.default_rng(0))
    assert float(air.mean()) == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.02)


def test_blurring_keeps_a_constant_and_the_sum_of_a_point() -> None:
    assert torch.allclose(gaussian_blur(torch.ones(9, 9, 9), 1.0), torch.ones(9, 9, 9))
    point = torch.zeros(15, 15, 15)
    point[7, 7, 7] = 1
    assert float(gaussian_blur(point, 0.8).sum()) == pytest.approx(1, abs=1e-5)


def test_smooth_fields_are_smooth() -> None:
    field = smooth_field((40, 40, 40), 20, torch.Generator().manual_seed(0))[0]
    assert field.diff(dim=0).abs().mean() < 0.2 * field.std()
