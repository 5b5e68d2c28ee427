"""The two scales of every modality: what a network reads by the engine's own operations, and what it writes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from modality_conversion import ops
from modality_conversion.modality import Modality
from modality_conversion.schema import Op
from training.data.regions import Region
from training.data.scale import (
    TARGET_HIGHEST,
    TARGET_MEDIAN,
    TARGET_SCALE,
    declared_ops,
    normalise_source,
    normalise_target,
    source_ops,
)


def test_an_mr_source_is_scaled_by_its_percentiles_and_by_the_engines_own_operations() -> None:
    volume = np.random.default_rng(0).gamma(2, 50, (20, 30, 40)).astype(np.float32)
    low, high = np.percentile(volume, (0.5, 99.8))
    expected = (np.clip(volume, low, high) - low) / (high - low)
    for modality in (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD):
        scaled = normalise_source(volume, modality)
        assert scaled == pytest.approx(expected, abs=1e-5)
        assert np.array_equal(scaled, ops.apply(source_ops(modality), "grid", volume, ops.Context()))


def test_csf_at_the_edge_of_a_stripped_brain_stays_apart_from_the_zeros_around_it() -> None:
    volume = np.zeros((20, 20, 20), np.float32)
    volume[4:16, 4:16, 4:16], volume[4:6, 4:16, 4:16] = 400, 36
    assert normalise_source(volume, Modality.T1)[5, 8, 8] > 0.05


def test_a_constant_mr_source_becomes_zeros() -> None:
    assert not normalise_source(np.full((4, 4, 4), 7.0), Modality.T2).any()


def hounsfield(*values: float) -> np.ndarray:
    return normalise_source(np.array(values).reshape(1, 1, -1), Modality.CT).ravel()


def test_a_ct_source_has_one_scale_that_rises_and_gives_soft_tissue_room() -> None:
    scale = hounsfield(*np.arange(-1024, 3072, 8.0))
    assert (np.diff(scale) > 0).all()
    assert scale[0] == pytest.approx(0, abs=1e-6)
    assert scale[-1] == pytest.approx(1, abs=0.01)
    white, grey = hounsfield(28, 38)
    assert grey - white > 2.5 * 10 / 4095  # than on a straight line


def test_a_windowed_ct_is_where_the_whole_one_is() -> None:
    whole = hounsfield(-1000, -100, 0, 35, 80, 1200)
    window = hounsfield(*np.clip([-1000, -100, 0, 35, 80, 1200], 0, 80))
    assert np.array_equal(whole[2:5], window[2:5])
    assert hounsfield(-3024) == hounsfield(-1024)


def test_half_precision_keeps_one_hounsfield_unit_of_brain() -> None:
    scale = hounsfield(*np.arange(0, 81.0)).astype(np.float16)
    assert len(np.unique(scale)) == 81


def test_a_model_of_mr_alone_declares_operations_for_all_and_one_with_ct_says_which_are_whose() -> None:
    alone = declared_ops([Modality.T1, Modality.T2])
    assert [op["op"] for op in alone] == ["clip_percentile", "minmax"]
    assert all("modalities" not in op for op in alone)
    both = declared_ops([Modality.CT, Modality.T1, Modality.T2])
    for_mr = [op for op in both if op["modalities"] == ["T1", "T2"]]
    for_ct = [op for op in both if op["modalities"] == ["CT"]]
    assert len(for_mr) + len(for_ct) == len(both)
    assert [{k: v for k, v in op.items() if k != "modalities"} for op in for_mr] == alone


def test_what_is_declared_does_what_training_did() -> None:
    volume = np.random.default_rng(1).uniform(-1000, 1500, (6, 7, 8)).astype(np.float32)
    reader: TypeAdapter[Op] = TypeAdapter(Op)
    for modality in (Modality.CT, Modality.FLAIR):
        declared = [reader.validate_json(json.dumps(op)) for op in declared_ops([modality])]
        assert np.array_equal(ops.apply(declared, "grid", volume, ops.Context()), normalise_source(volume, modality))


@pytest.mark.parametrize("modality", TARGET_MEDIAN, ids=str)
def test_the_brains_median_is_the_same_on_every_mr_target(modality: Modality) -> None:
    rng = np.random.default_rng(0)
    region = np.full((8, 8, 8), Region.BRAIN, np.uint8)
    region[0], region[1], region[7] = Region.LESION, Region.TUMOR, Region.BONE
    for scale in (0.01, 1, 5000):
        volume = scale * rng.uniform(1, 2, (8, 8, 8))
        volume[7] *= 100
        target = normalise_target(volume, region, modality)
        assert np.median(target[:7]) == pytest.approx(TARGET_MEDIAN[modality], rel=1e-4)
        assert target.max() == TARGET_HIGHEST


def test_a_ct_target_times_its_scale_is_in_hounsfield_units() -> None:
    volume = np.array([[[-3024.0, -1000, 35, 1200, 9000]]])
    target = normalise_target(volume, np.zeros((1, 1, 5), np.uint8), Modality.CT)
    assert (target * TARGET_SCALE[Modality.CT]).ravel() == pytest.approx([-1024, -1000, 35, 1200, 3071], abs=1e-3)


def test_a_case_without_brain_or_without_signal_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no brain"):
        normalise_target(np.ones((2, 2, 2)), np.zeros((2, 2, 2), np.uint8), Modality.T1)
    with pytest.raises(ValueError, match="median on T1 is 0"):
        normalise_target(np.zeros((2, 2, 2)), np.full((2, 2, 2), 2, np.uint8), Modality.T1)
