"""The conditional random field: its kernels against the sums they stand for, and what it does to labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.random_field import refined
from modality_conversion.schema import Crf
from modality_conversion.segment import segment

SPACING = (1.0, 1.0, 1.0)


def field(**changes: float) -> Crf:
    return Crf.model_validate({"op": "crf", **changes})


def exact_means(belief: np.ndarray, scan: np.ndarray | None, mm: float, value: float, spacing: tuple) -> np.ndarray:
    """Weighted means over all pairs of voxels: the sums that the field's kernels approximate."""
    places = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(belief.shape, spacing)), indexing="ij"), -1)
    places = places.reshape(-1, 3)
    weight = np.exp(-((places[:, None] - places[None]) ** 2).sum(-1) / (2 * mm**2))
    if scan is not None:
        weight *= np.exp(-((scan.reshape(-1, 1) - scan.reshape(1, -1)) ** 2) / (2 * value**2))
    return (weight @ belief.ravel() / weight.sum(1)).reshape(belief.shape)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_step_is_that_of_the_exact_sums_but_for_the_grid(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    shape = (9, 12, 13)
    scan = np.where(np.arange(13) < 6 + 2 * seed, 0.2, 0.7) + rng.normal(0, 0.03, shape)
    belief = np.clip(np.where(scan > 0.45, 0.7, 0.3) + rng.normal(0, 0.1, shape), 0.05, 0.95)
    crf = field(iterations=1, smooth_mm=2.0, edge_mm=4.0, edge_range=0.1, smooth_weight=0.8, edge_weight=1.7)
    (found,) = refined(belief[None].astype(np.float32), [scan.astype(np.float32)], spacing, crf, "sigmoid")
    message = 0.8 * exact_means(belief, None, 2.0, 1, spacing) + 1.7 * exact_means(belief, scan, 4.0, 0.1, spacing)
    wanted = 1 / (1 + np.exp(-(np.log(belief / (1 - belief)) + 2 * message - 2.5)))
    assert np.abs(found - wanted).max() < 0.12
    assert np.abs(found - wanted).mean() < 0.02
    assert np.abs(found - belief).mean() > 0.03  # it does something


def noisy_edge() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, a scan that shows it, and probabilities that are blurred, shifted by two voxels, and noisy."""
    rng = np.random.default_rng(3)
    z, y, x = np.ogrid[:24, :32, :32]
    truth = (z - 12) ** 2 + (y - 16) ** 2 + (x - 16) ** 2 < 8**2
    shifted = 8 - np.sqrt((z - 12) ** 2 + (y - 16) ** 2 + (x - 14) ** 2)
    logits = 0.5 * shifted + rng.normal(0, 1.0, truth.shape)
    scan = np.where(truth, 0.7, 0.3) + rng.normal(0, 0.03, truth.shape)
    return truth, scan.astype(np.float32), (1 / (1 + np.exp(-logits))).astype(np.float32)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_borders_move_to_the_edges_of_the_scan() -> None:
    truth, scan, probable = noisy_edge()
    before, afterwards = dice(probable > 0.5, truth), []
    for crf in (field(), field(smooth_weight=1, edge_weight=2, edge_mm=8)):
        (found,) = refined(probable[None], [scan], SPACING, crf, "sigmoid")
        afterwards.append(dice(found > 0.5, truth))
    assert before < 0.83
    assert before + 0.03 < afterwards[0] < afterwards[1]
    assert afterwards[1] > 0.97


def test_softmax_gives_the_same_as_one_field_of_two_labels_and_sums_to_one() -> None:
    _, scan, probable = noisy_edge()
    both = np.stack([1 - probable, probable])
    found = refined(both, [scan], SPACING, field(), "softmax")
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found[1], refined(probable[None], [scan], SPACING, field(), "sigmoid")[0], atol=1e-4)


def test_what_is_far_from_any_label_is_not_touched() -> None:
    probable = np.full((1, 40, 40, 40), 1e-4, np.float32)
    assert refined(probable, [np.zeros((40,) * 3, np.float32)], SPACING, field(), "sigmoid") is probable
    probable[0, 20, 20, 20] = 0.9
    found = refined(probable, [np.zeros((40,) * 3, np.float32)], SPACING, field(edge_mm=2), "sigmoid")
    np.testing.assert_array_equal(found[0, :10], probable[0, :10])
    assert found[0, 20, 20, 20] < 0.9


def test_a_constant_scan_and_a_single_slice_do_no_harm() -> None:
    probable = np.random.default_rng(0).random((2, 1, 16, 16)).astype(np.float32)
    found = refined(probable, [np.zeros((1, 16, 16), np.float32)], (5.0, 1.0, 1.0), field(), "sigmoid")
    assert np.isfinite(found).all()
    assert 0 <= found.min() < found.max() <= 1


CODE = {"scheme": "SCT", "value": "108369006", "meaning": "Neoplasm"}
LABEL = {"value": 1, "name": "Tumor", "terminology": {"category": CODE, "type": CODE}}


def bundle(folder: Path, *steps: dict) -> Path:
    segmentation = {"labels": [LABEL], "activation": "sigmoid", "postprocess": list(steps)}
    return write_bundle(folder, partial(graphs.linear, channels=((10, -5),)), targets={}, segmentation=segmentation)


def test_a_model_that_declares_it_has_its_labels_refined_on_the_scans_grid(tmp_path: Path) -> None:
    truth, scan, _ = noisy_edge()
    speckled = scan + np.where(np.random.default_rng(0).random(scan.shape) < 0.03, 0.15, 0).astype(np.float32)
    image = sitk.GetImageFromArray(speckled)
    image.SetSpacing((1, 1, 1.5))
    plain = Bundle.load(bundle(tmp_path / "plain"))
    refining = Bundle.load(bundle(tmp_path / "refining", {"op": "crf"}, {"op": "remove_small", "volume_ml": 0.01}))
    labels = [sitk.GetArrayFromImage(segment({"T1": image}, one).image) > 0 for one in (plain, refining)]
    assert dice(labels[1], truth) >= dice(labels[0], truth)
    assert labels[1].any()


def test_a_field_that_does_not_stand_first_is_a_fault(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "late", {"op": "fill_holes"}, {"op": "crf"})
    (fault,) = check(folder)
    assert "`crf` does not stand first" in fault.what
