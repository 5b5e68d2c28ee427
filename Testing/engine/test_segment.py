"""A segmentation from end to end, with networks whose answer is known, and the command line that makes one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphs
from bundles import edit_spec, write_bundle
from command import Runner, failed, started
from modality_conversion import schema
from modality_conversion.bundle import Bundle
from modality_conversion.catalog import Catalog
from modality_conversion.clean_up import clean_up
from modality_conversion.cli import app
from modality_conversion.convert import convert
from modality_conversion.errors import Cancelled, ConversionError
from modality_conversion.image_io import read_image, write_image
from modality_conversion.modality import Modality
from modality_conversion.phantom import head_phantom
from modality_conversion.prepare import prepare
from modality_conversion.progress import Progress
from modality_conversion.segment import segment
from volumes import blob, filled, geometry, grids, noise

LOW, HIGH = 300.0, 700.0
# Of these three lines the first is highest below LOW, the second between LOW and HIGH, the third above.
LINES = ((0.0, 0.0), (1.0, -LOW), (2.0, -LOW - HIGH))
# These are above 0, so that their sigmoid is above one half, above LOW and above HIGH.
RAMPS = ((0.1, -0.1 * LOW), (0.1, -0.1 * HIGH))
MR = {"units": "arbitrary", "background": 0, "window": 1, "level": 0}


def label(value: int, name: str = "", **more: Any) -> dict[str, Any]:
    code = {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically abnormal structure"}
    return {"value": value, "name": name or f"Part {value}", "terminology": {"category": code, "type": code}, **more}


def declaration(*labels: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"labels": list(labels or (label(1), label(2))), **fields}


def model(folder: Path, graph: Any = None, segmentation: dict[str, Any] | None = None, **fields: Any) -> Bundle:
    """A model that only segments: by default background, 1 and 2 by softmax, at LOW and HIGH."""
    graph = graph or partial(graphs.linear, channels=LINES)
    whole = {"targets": {}, "segmentation": segmentation or declaration(), **fields}
    return Bundle.load(write_bundle(folder, graph, **whole))


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def between(array: np.ndarray, first: int = 1, second: int = 2) -> np.ndarray:
    return np.where(array > HIGH, second, np.where(array > LOW, first, 0))


@pytest.fixture
def scan() -> sitk.Image:
    """Oblique and anisotropic, with random values from 0 to 1000."""
    image = sitk.Image([11, 9, 7], sitk.sitkFloat32)
    image.SetSpacing((0.9, 1.3, 2.1))
    image.SetOrigin((-17.25, 3.1, 40.7))
    image.SetDirection((0.8, 0, 0.6, 0, -1, 0, -0.6, 0, 0.8))
    return noise(image)


# --- where the labels lie -------------------------------------------------------------------------------------------------

SAMPLERS: tuple[dict, ...] = (
    {"kind": "slice", "axes": [0, 1, 2]},
    {"kind": "slab", "axes": [1], "context": 5, "outputs": 3, "overlap": 0.4},
    {"kind": "patch", "size": [8, 8, 8], "overlap": 0.5},
)
ORDERS = ({"axcodes": "RAS"}, {"axcodes": "PIR", "array_order": "ijk", "pad_multiple": 4}, {"pad_to": [30, 30, 30]})
FUSIONS = ("median", "gaussian", "gaussian")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("thresholds")
    found = []
    for number, (sampler, order, fusion) in enumerate(zip(SAMPLERS, ORDERS, FUSIONS)):
        sizes = {"context": sampler.get("context", 1), "outputs": sampler.get("outputs", 1)}
        graph = partial(graphs.linear, channels=LINES, patch=sampler["kind"] == "patch", **sizes)
        found.append(model(folder / f"thresholds-{number}", graph, sampler=sampler, geometry=order, fusion=fusion))
    return found


@given(grids(), st.integers(0, 2))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_labels_lie_on_the_scans_own_grid(
    models: list[Bundle], tmp_path: Path, image: sitk.Image, which: int
) -> None:
    image = noise(image)
    result = segment({"T1": image}, models[which]).image
    assert result.GetPixelID() == sitk.sitkUInt8
    assert geometry(result) == geometry(image)  # bit for bit
    values = voxels(image)
    clear = (np.abs(values - LOW) > 0.01) & (np.abs(values - HIGH) > 0.01)
    np.testing.assert_array_equal(voxels(result)[clear], between(values)[clear])
    write_image(result, tmp_path / "out.mha")
    assert geometry(read_image(tmp_path / "out.mha")) == geometry(image)


@pytest.mark.parametrize("interpolation", ["linear", "area", "nearest", "bspline"])
def test_probabilities_come_back_to_the_scans_grid_and_only_there_it_is_decided(
    tmp_path: Path, interpolation: str
) -> None:
    """Against ITK's own resampling of the probabilities of the volume that the network saw."""
    image = sitk.Image([24, 20, 15], sitk.sitkFloat32)
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetDirection((0, -1, 0, 0.8, 0, 0.6, -0.6, 0, 0.8))
    image = blob(image, np.array(image.TransformContinuousIndexToPhysicalPoint([10, 9, 8])), 5) * 1000
    grid = {"spacing": [3.0, 3.0, 3.0], "interpolation": interpolation}
    coarse = model(tmp_path / "coarse", geometry=grid)
    result = voxels(segment({"T1": image}, coarse).image)

    seen = Bundle.load(write_bundle(tmp_path / "seen", partial(graphs.linear), geometry=grid))
    prepared = prepare({Modality.T1: image}, None, seen.spec, [])
    array = prepared.volumes[Modality.T1]
    assert array.shape != voxels(image).shape
    network = sitk.Image(list(array.shape[::-1]), sitk.sitkFloat32)
    network.SetSpacing((3, 3, 3))
    network.SetDirection(image.GetDirection())
    middle = [
        np.array(i.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in i.GetSize()]))
        for i in (image, network)
    ]
    network.SetOrigin((middle[0] - middle[1]).tolist())
    back = sitk.ResampleImageFilter()
    back.SetReferenceImage(image)
    back.SetInterpolator(sitk.sitkLinear)
    back.UseNearestNeighborExtrapolatorOn()
    logits = np.stack([scale * array + offset for scale, offset in LINES]).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=0))
    probabilities = powers / powers.sum(axis=0)
    native = np.stack([voxels(back.Execute(filled(network, p.astype(np.float32)))) for p in probabilities])
    best = np.sort(native, axis=0)
    clear = best[-1] - best[-2] > 1e-3
    assert clear.mean() > 0.95
    assert set(np.unique(result)) == {0, 1, 2}
    np.testing.assert_array_equal(result[clear], native.argmax(axis=0)[clear])


def test_what_was_cropped_away_and_what_lies_outside_the_mask_is_background(tmp_path: Path, scan: sitk.Image) -> None:
    everywhere = partial(graphs.linear, channels=((0, 5.0),))
    one = declaration(label(7), activation="sigmoid")
    cropped = model(tmp_path / "cropped", everywhere, one, geometry={"crop": [3, 5, None]})
    result = voxels(segment({"T1": scan}, cropped).image)
    assert (result == 7).sum() == 3 * 5 * 11
    assert (result[2:5, 2:7] == 7).all()

    masked = model(tmp_path / "masked", everywhere, one, mask={"use": "optional"}, sampler={"skip_empty": "mask"})
    mask = np.zeros(voxels(scan).shape, np.uint8)
    mask[2:4, 1:5, 3:6] = 1
    given_mask = filled(scan, mask)
    np.testing.assert_array_equal(voxels(segment({"T1": scan}, masked, mask=given_mask).image), mask * 7)
    assert (voxels(segment({"T1": scan}, masked).image) == 7).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_tiles_that_are_left_out_are_background(tmp_path: Path, activation: str) -> None:
    """The network would give each of their voxels a label."""
    channels = ((0, 0), (0, 9.0)) if activation == "softmax" else ((0, 9.0),)
    skipping = model(
        tmp_path / "skipping",
        partial(graphs.linear, channels=channels),
        declaration(label(1), activation=activation),
        sampler={"skip_empty": "background"},
    )
    values = np.zeros((6, 20, 20), np.float32)
    values[2:4] = 100
    result = segment({"T1": sitk.GetImageFromArray(values)}, skipping)
    np.testing.assert_array_equal(voxels(result.image), values > 0)
    assert result.report["tiles"] == 2


# --- which label it is ----------------------------------------------------------------------------------------------------


def test_softmax_labels_exclude_each_other_and_background_wins_a_tie(tmp_path: Path, scan: sitk.Image) -> None:
    same = partial(graphs.linear, channels=((0, 3.0), (0, 3.0), (0, 3.0)))
    assert not voxels(segment({"T1": scan}, model(tmp_path / "same", same)).image).any()
    later = partial(graphs.linear, channels=((0, 3.0), (0, 4.0), (0, 4.0)))
    assert (voxels(segment({"T1": scan}, model(tmp_path / "later", later)).image) == 1).all()


@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_of_several_labels_above_one_half_the_last_one_wins(tmp_path: Path, scan: sitk.Image, activation: str) -> None:
    """So nested regions are listed from the outside in."""
    lines = RAMPS if activation == "sigmoid" else [(0.5 / LOW, 0), (0.5 / HIGH, 0)]
    values = voxels(scan)
    nested = model(
        tmp_path / "nested",
        partial(graphs.linear, channels=lines),
        declaration(label(5), label(3), activation=activation),
    )
    np.testing.assert_array_equal(voxels(segment({"T1": scan}, nested).image), between(values, 5, 3))
    # The other way round the outer one covers the inner one. The channels stay with their labels.
    edit_spec(
        nested.path, lambda fields: fields["segmentation"].update(labels=[label(3, channel=1), label(5, channel=0)])
    )
    covered = segment({"T1": scan}, Bundle.load(nested.path))
    np.testing.assert_array_equal(voxels(covered.image), np.where(values > LOW, 5, 0))


def test_labels_can_name_their_channels(tmp_path: Path, scan: sitk.Image) -> None:
    shuffled = partial(graphs.linear, channels=(LINES[2], (9.0, 0.0), LINES[0], LINES[1]))
    declared = declaration(label(1, channel=3), label(2, channel=0), background_channel=2)
    result = segment({"T1": scan}, model(tmp_path / "shuffled", shuffled, declared))
    np.testing.assert_array_equal(voxels(result.image), between(voxels(scan)))


def test_a_model_may_convert_and_segment(tmp_path: Path, scan: sitk.Image) -> None:
    declared = declaration(label(1, channel=3), label(2, channel=4), background_channel=2)
    both = model(
        tmp_path / "both",
        partial(graphs.linear, channels=((2.0, 1.0), (0.0, 3.0), *LINES)),
        declared,
        targets={"T2": MR},
        output={
            "uncertainty": {"channel": 1, "kind": "scale"},
            "ops": [{"op": "linear", "scale": 10, "stage": "tile"}],
        },
        sampler={"axes": [0, 1, 2]},
    )
    np.testing.assert_array_equal(voxels(segment({"T1": scan}, both).image), between(voxels(scan)))
    converted = convert({"T1": scan}, both, target="T2")
    np.testing.assert_allclose(voxels(converted.image), 10 * (2 * voxels(scan) + 1), rtol=1e-5)
    assert converted.uncertainty is not None
    assert (voxels(converted.uncertainty) == 30).all()


def test_an_ensemble_is_averaged_before_it_is_decided(tmp_path: Path, scan: sitk.Image) -> None:
    """One member puts the threshold at 200, the other at 400."""
    members = [partial(graphs.linear, channels=((0.1, -0.1 * at),)) for at in (200, 400)]
    averaged = model(tmp_path / "averaged", members, declaration(label(1), activation="sigmoid"))
    np.testing.assert_array_equal(voxels(segment({"T1": scan}, averaged).image), voxels(scan) > 300)


def test_the_target_code_of_a_segmentation_is_all_zeros(tmp_path: Path, scan: sitk.Image) -> None:
    """The network adds the code to its one channel; a one would lift it over the threshold."""
    coded = model(
        tmp_path / "coded",
        partial(graphs.with_inputs, others={"code": ("batch", 1)}),
        declaration(label(1), activation="none"),
        inputs=[{"name": "image"}, {"name": "code", "role": "target_code", "order": ["T2"]}],
    )
    assert not voxels(segment({"T1": scan * 0}, coded).image).any()


def test_large_values_are_16_bits(tmp_path: Path, scan: sitk.Image) -> None:
    large = model(tmp_path / "large", None, declaration(label(1), label(65535)))
    image = segment({"T1": scan}, large).image
    assert image.GetPixelID() == sitk.sitkUInt16
    np.testing.assert_array_equal(voxels(image), between(voxels(scan), 1, 65535))


def test_joint_inputs_lie_on_the_first_scans_grid(tmp_path: Path, scan: sitk.Image) -> None:
    joint = model(
        tmp_path / "joint",
        partial(graphs.with_inputs, others={"flair": ("batch", 1, "height", "width")}),
        declaration(label(1), activation="none"),
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        inputs=[{"name": "image", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}],
    )
    other = sitk.Image([9, 9, 9], sitk.sitkFloat32) + 1
    other[8, 8, 8] = 0  # the smallest value, which stands where the scan does not reach
    other.SetOrigin(scan.TransformContinuousIndexToPhysicalPoint([0.5, 3.5, 0.5]))
    other.SetDirection(scan.GetDirection())
    result = segment({"T1": scan * 0, "FLAIR": other}, joint)
    assert geometry(result.image) == geometry(scan)
    assert 0 < voxels(result.image).mean() < 1
    assert "resampled" in result.report["warnings"][-1]


# --- clean-up -------------------------------------------------------------------------------------------------------------


STEPS: dict[str, Any] = {
    "remove_small": schema.RemoveSmall,
    "largest_component": schema.LargestComponent,
    "fill_holes": schema.FillHoles,
}


def after(labels: np.ndarray, *steps: dict[str, Any], spacing: tuple = (1, 1, 1)) -> np.ndarray:
    cleaned = labels.copy()
    clean_up(cleaned, [1, 2], [STEPS[step["op"]](**step) for step in steps], spacing)
    return cleaned


def test_small_parts_are_removed_by_their_volume() -> None:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[0:2, 0:2, 0:2] = 1  # 8 voxels
    labels[2, 2, 2] = 1  # joined at a corner: 9
    labels[5, 5, 5:9] = 1  # 4 voxels
    labels[8:10, 0, 0:4] = 2  # 8 voxels
    small = {"op": "remove_small", "volume_ml": 0.005}
    wanted = labels.copy()
    wanted[5, 5] = 0
    np.testing.assert_array_equal(after(labels, small), wanted)
    np.testing.assert_array_equal(after(labels, small, spacing=(0.5, 5, 0.5)), labels)  # a voxel of 1.25 mm3
    exactly = {"op": "remove_small", "volume_ml": 9 * 0.3 * 0.7 * 1.1 / 1000}
    wanted[8:10] = 0
    np.testing.assert_array_equal(after(labels, exactly, spacing=(0.3, 0.7, 1.1)), wanted)


def test_the_largest_part_of_each_label_is_kept() -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[0, 0, :3] = labels[4, 4, :5] = 1
    labels[8, :2, 0] = labels[8, 5:, 0] = 2
    wanted = labels.copy()
    wanted[0, 0, :3] = wanted[8, :2, 0] = 0
    np.testing.assert_array_equal(after(labels, {"op": "largest_component"}), wanted)


def test_holes_are_filled_where_they_are_background() -> None:
    labels = np.zeros((7, 7, 14), np.uint8)
    labels[1:6, 1:6, 1:6] = 1
    labels[2:4, 2:4, 2:4] = 0  # a hole
    labels[4, 4, 4] = 2  # another label inside stays
    labels[:5, 1:6, 8:13] = 2
    labels[:4, 3, 10] = 0  # a cavity that opens at the border of the volume is none
    wanted = labels.copy()
    wanted[2:4, 2:4, 2:4] = 1
    np.testing.assert_array_equal(after(labels, {"op": "fill_holes"}), wanted)


@given(st.integers(0, 10_000), st.floats(0.3, 0.8))
@settings(max_examples=40)
def test_holes_are_those_that_itk_fills(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((6, 7, 8)) < share
    filled = voxels(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8))))
    np.testing.assert_array_equal(after(mask.astype(np.uint8), {"op": "fill_holes"}), filled)


def test_the_steps_are_done_in_order() -> None:
    """A shell is small before it is filled, and large after."""
    labels = np.zeros((7, 7, 7), np.uint8)
    labels[1:6, 1:6, 1:6] = 1
    labels[2:5, 2:5, 2:5] = 0
    fill, remove = {"op": "fill_holes"}, {"op": "remove_small", "volume_ml": 0.1}
    assert after(labels, fill, remove).sum() == 125
    assert after(labels, remove, fill).sum() == 0


def test_clean_up_is_done_on_the_scans_grid(tmp_path: Path) -> None:
    values = np.zeros((10, 10, 10), np.float32)
    values[2:6, 2:6, 2:6] = 500
    values[3, 3, 3] = 0
    values[8, 8, 8] = 500
    values[9, 0, 0] = 1000
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((2, 2, 2))
    steps = [{"op": "remove_small", "volume_ml": 0.02}, {"op": "largest_component"}, {"op": "fill_holes"}]
    result = segment({"T1": image}, model(tmp_path / "clean", None, declaration(postprocess=steps)))
    wanted = np.zeros(values.shape)
    wanted[2:6, 2:6, 2:6] = 1
    np.testing.assert_array_equal(voxels(result.image), wanted)
    assert [entry["voxels"] for entry in result.report["labels"]] == [64, 0]
    assert [entry["volume_ml"] for entry in result.report["labels"]] == pytest.approx([0.512, 0])


# --- the account ----------------------------------------------------------------------------------------------------------


def test_the_report_says_what_each_label_is_and_how_much_there_is(tmp_path: Path, scan: sitk.Image) -> None:
    named = model(tmp_path / "named", None, declaration(label(1, "Oedema"), label(2, "Tumor")))
    report = segment({"T1": scan}, named).report
    assert json.loads(json.dumps(report)) == report
    assert report["synthetic"] is True
    assert report["not_for_diagnosis"] is True
    assert "Not for diagnosis" in report["notice"]
    assert report["model"]["id"] == "named"
    assert report["device"] == "cpu"
    assert report["source"] == {"modality": ["T1"], "size": [11, 9, 7], "spacing": [0.9, 1.3, 2.1]}
    assert set(report["seconds"]) == {"prepare", "network", "finish", "total"}
    assert report["warnings"] == []
    assert report["date"]
    values = voxels(scan)
    for entry, name, inside in zip(
        report["labels"], ("Oedema", "Tumor"), ((values > LOW) & (values <= HIGH), values > HIGH)
    ):
        assert entry["name"] == name
        assert entry["terminology"]["type"]["value"] == "49755003"
        assert entry["voxels"] == inside.sum()
        assert entry["volume_ml"] == pytest.approx(inside.sum() * 0.9 * 1.3 * 2.1 / 1000)


def test_progress_has_the_stages_of_a_conversion(tmp_path: Path, scan: sitk.Image) -> None:
    told: list[Progress] = []
    segment({"T1": scan}, model(tmp_path / "told"), progress=told.append)
    assert list(dict.fromkeys(news.stage for news in told)) == ["prepare", "network", "finish"]
    assert (told[-1].done, told[-1].total) == (1, 1)
    tiles = [news for news in told if news.stage == "network"]
    assert tiles[-1].done == tiles[-1].total == 7


@pytest.mark.parametrize("stage", ["prepare", "network", "finish"])
def test_cancelling_takes_effect_in_every_stage(tmp_path: Path, scan: sitk.Image, stage: str) -> None:
    told: list[str] = []
    with pytest.raises(Cancelled):
        segment(
            {"T1": scan},
            model(tmp_path / "long", None, declaration(postprocess=[{"op": "fill_holes"}]), sampler={"batch": 1}),
            progress=lambda news: told.append(news.stage),
            cancel=lambda: stage in told,
        )
    assert told[-1] == stage


# --- what goes wrong ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_segmented_is_refused(tmp_path: Path, scan: sitk.Image) -> None:
    good = model(tmp_path / "good")
    with pytest.raises(ConversionError, match="does not segment; it makes T2"):
        segment({"T1": scan}, Bundle.load(write_bundle(tmp_path / "converts")))
    with pytest.raises(ConversionError, match="only segments"):
        convert({"T1": scan}, good, target="T2")
    with pytest.raises(ConversionError, match="not made for PD"):
        segment({"PD": scan}, good)
    with pytest.raises(ConversionError, match="not a modality"):
        segment({"sky": scan}, good)
    with pytest.raises(ConversionError, match="not a modality"):
        convert({"T1": scan}, good, target="sky")
    with pytest.raises(ConversionError, match="No scan"):
        segment({}, good)
    with pytest.raises(ConversionError, match="4 dimensions"):
        segment({"T1": sitk.Image([2, 2, 2, 2], sitk.sitkFloat32)}, good)


def test_broken_weights_are_refused_before_they_are_loaded(tmp_path: Path, scan: sitk.Image) -> None:
    broken = model(tmp_path / "broken")
    weights = broken.weight_paths[0]
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ConversionError, match="SHA-256"):
        segment({"T1": scan}, broken)


def test_a_network_with_too_few_channels_is_named(tmp_path: Path, scan: sitk.Image) -> None:
    few = model(tmp_path / "few", partial(graphs.linear, channels=((1, 0),)))
    with pytest.raises(ConversionError, match=r"gives 1 channels, but `segmentation` .* channel 2"):
        segment({"T1": scan}, few)


def test_a_network_that_gives_no_numbers_is_named(tmp_path: Path, scan: sitk.Image) -> None:
    nan = model(tmp_path / "nan", partial(graphs.linear, channels=((1, 0), (1, np.nan), (1, 0))))
    with pytest.raises(ConversionError, match="not numbers"):
        segment({"T1": scan}, nan)


# --- which model ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("own_models_only")
def test_segmenting_models_are_found_best_first(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "models"
    write_bundle(first / "converts")
    joint = {
        "sources": [{"modality": "T1"}, {"modality": "T2"}],
        "inputs": [{"name": "image", "modality": "T1"}, {"name": "t2", "modality": "T2"}],
    }
    model(first / "joint", partial(graphs.with_inputs, others={"t2": ("batch", 1, "height", "width")}), **joint)
    model(second / "b-narrow")
    model(second / "a-broad", sources=[{"modality": "T1"}, {"modality": "PD"}])
    model(first / "of-pd", sources=[{"modality": "PD"}])
    catalog = Catalog([first])
    assert [bundle.spec.id for bundle in catalog.segmenters("T1")] == ["b-narrow", "a-broad", "joint"]
    assert [bundle.spec.id for bundle in catalog.segmenters(Modality.PD)] == ["of-pd", "a-broad"]
    assert catalog.segmenters("CT") == []
    assert [bundle.spec.id for bundle in catalog.find("T1", "T2")] == ["converts"]
    with pytest.raises(ValueError, match="sky"):
        catalog.segmenters("sky")


# --- the command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_place(own_models_only: None, tmp_path: Path) -> Path:
    """A model in its folder and a scan; returns the scan's path."""
    model(tmp_path / "models" / "labels", None, declaration(label(1, "Oedema"), label(2, "Tumor\nin two lines")))
    path = tmp_path / "case_T1w.nii.gz"
    image = head_phantom((20, 24, 18), spacing=8) * 1.5
    image.SetDirection((0, 0, 1, -1, 0, 0, 0, 1, 0))
    write_image(image, path)
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
def test_a_scan_is_segmented_from_the_command_line(tmp_path: Path, in_place: Path, run: Runner, ending: str) -> None:
    out, report = tmp_path / f"labels.{ending}", tmp_path / "report.json"
    outcome = run("segment", in_place, "--out", out, "--report", report)
    assert outcome.code == 0, outcome.err
    assert "Not for diagnosis" in outcome.out
    assert "Oedema: " in outcome.out
    source, result = read_image(in_place), read_image(out)
    np.testing.assert_array_equal(voxels(result), between(voxels(source)))
    for ours, theirs in zip(geometry(result), geometry(source)):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    told = json.loads((tmp_path / "labels.json").read_text())
    assert told == json.loads(report.read_text())
    assert told["source"]["files"][0]["name"] == in_place.name
    assert told["labels"][0]["name"] == "Oedema"
    if ending.startswith("nii"):
        assert result.GetMetaData("descrip").startswith("SEGMENTATION, not for diagnosis; labels")
    else:
        assert result.GetMetaData("labels") == "1 Oedema; 2 Tumor in two lines"
        assert result.GetMetaData("model_id") == "labels"
        assert result.GetMetaData("not_for_diagnosis") == "YES"


def test_a_host_process_reads_json_lines(tmp_path: Path, in_place: Path, run: Runner) -> None:
    out = tmp_path / "labels.mha"
    outcome = run("segment", in_place, "--out", out, "--progress", "json", "--model", "labels")
    assert outcome.code == 0
    news = [json.loads(line) for line in outcome.lines]
    assert list(dict.fromkeys(n["stage"] for n in news[:-1])) == ["read", "prepare", "network", "finish", "write"]
    assert all(set(n) == {"stage", "done", "total", "seconds_left"} for n in news[:-1])
    assert news[-1]["result"]["output"] == str(out)
    assert news[-1]["result"]["labels"][1]["volume_ml"] > 0


def test_labels_replace_labels_but_nothing_of_the_users(tmp_path: Path, in_place: Path, run: Runner) -> None:
    out = tmp_path / "labels.nii.gz"
    assert run("segment", in_place, "--out", out, "--report", tmp_path / "labels.json").code == 0
    assert run("segment", in_place, "--out", out, "--report", tmp_path / "labels.json").code == 0
    failed(run("segment", in_place, "--out", in_place), 1, "one of the scans given")
    (tmp_path / "own.json").write_text("{}")
    failed(run("segment", in_place, "--out", tmp_path / "own.nii"), 1, "not from this tool")
    failed(run("segment", in_place, "--out", tmp_path / "none" / "x.nii"), 1, "does not exist")
    failed(run("segment", in_place, "--out", out, "--report", in_place), 1, "one of the scans given")


def test_without_a_model_that_fits_it_is_said(tmp_path: Path, in_place: Path, run: Runner) -> None:
    write_bundle(tmp_path / "models" / "converts")
    out = ("--out", tmp_path / "labels.nii")
    failed(run("segment", in_place, "--from", "PD", *out), 1, "No installed model segments PD")
    failed(run("segment", in_place, *out, "--model", "converts"), 1, "does not segment")
    failed(run("segment", in_place, *out, "--model", "labels", "--from", "PD"), 1, "not made for PD")
    failed(run("segment", in_place, *out, "--input", f"T2={in_place}"), 1, "not made for T2")
    assert run("segment", in_place).code == 2
    assert not (tmp_path / "labels.nii").exists()


def test_a_mask_is_used(tmp_path: Path, in_place: Path, run: Runner) -> None:
    model(tmp_path / "more" / "masked", mask={"use": "required"})
    mask = sitk.Cast(read_image(in_place) > 600, sitk.sitkUInt8)
    write_image(mask, tmp_path / "mask.nrrd")
    arguments = ("segment", in_place, "--out", tmp_path / "labels.mha", "--models-dir", tmp_path / "more")
    failed(run(*arguments, "--model", "masked"), 1, "--mask")
    assert run(*arguments, "--model", "masked", "--mask", tmp_path / "mask.nrrd").code == 0
    result = voxels(read_image(tmp_path / "labels.mha"))
    np.testing.assert_array_equal(result, between(voxels(read_image(in_place))) * voxels(mask))


def test_models_are_listed_as_what_they_are(tmp_path: Path, in_place: Path, run: Runner) -> None:
    declared = declaration(label(1, channel=1), activation="sigmoid")
    model(tmp_path / "models" / "both", partial(graphs.linear, channels=LINES[:2]), declared, targets={"T2": MR})
    listed = run("models", "list").out
    assert "labels 1.0.0: T1 -> segmentation." in listed
    assert "both 1.0.0: T1 -> T2 and segmentation." in listed
    assert run("models", "check", tmp_path / "models" / "both", "--run").code == 0


def test_a_segmentation_is_cancelled_by_a_signal_and_leaves_nothing(tmp_path: Path, own_models_only: None) -> None:
    model(
        tmp_path / "models" / "slow",
        partial(graphs.conv, features=48, layers=6, outputs=3),
        sampler={"axes": [0, 1, 2], "batch": 1},
    )
    write_image(noise(sitk.Image([200, 200, 200], sitk.sitkFloat32)), tmp_path / "t1.mha")
    out = ("--out", tmp_path / "labels.mha", "--progress", "json", "--stop-with-parent")
    process = started("segment", tmp_path / "t1.mha", *out, stdin=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["stage"] == "network" and json.loads(line)["done"] > 2:
            break
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM if os.name != "nt" else signal.CTRL_C_EVENT)  # type: ignore[attr-defined]
    out_text, _ = process.communicate(timeout=30)
    assert time.monotonic() - asked < 5
    assert process.returncode == 130
    assert json.loads(out_text.splitlines()[-1])["cancelled"] is True
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["t1.mha"]


# --- convert and segment in one run ----------------------------------------------------------------------------------------


@pytest.fixture
def both_models(in_place: Path, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "models" / "copy")
    return in_place


def test_a_scan_is_converted_and_segmented_in_one_run(tmp_path: Path, both_models: Path, run: Runner) -> None:
    out, labels, report = tmp_path / "t2.nrrd", tmp_path / "labels.nrrd", tmp_path / "report.json"
    outcome = run("convert", both_models, "--to", "T2", "--out", out, "--segmentation", labels, "--report", report)
    assert outcome.code == 0, outcome.err
    assert "segmentation by labels" in outcome.out
    np.testing.assert_array_equal(voxels(read_image(labels)), between(voxels(read_image(both_models))))
    np.testing.assert_array_equal(voxels(read_image(out)), voxels(read_image(both_models)))
    told, of_labels = json.loads(report.read_text()), json.loads((tmp_path / "labels.json").read_text())
    assert told["segmentation"] == {**of_labels, "output": str(labels)}
    assert told["modality"] == "T2"
    assert told == json.loads((tmp_path / "t2.json").read_text())
    assert of_labels["source"]["files"][0]["name"] == both_models.name
    again = run("convert", both_models, "--to", "T2", "--out", out, "--segmentation", labels, "--report", report)
    assert again.code == 0


def test_a_host_process_hears_of_the_segmentation_as_a_stage(tmp_path: Path, both_models: Path, run: Runner) -> None:
    arguments = ("convert", both_models, "--to", "T2", "--out", tmp_path / "t2.nii", "--progress", "json")
    outcome = run(*arguments, "--segmentation", tmp_path / "labels.nii", "--segmentation-model", "labels")
    news = [json.loads(line) for line in outcome.lines]
    stages = list(dict.fromkeys(line["stage"] for line in news[:-1]))
    assert stages == ["read", "prepare", "network", "finish", "segment", "write"]
    assert news[-1]["result"]["segmentation"]["output"] == str(tmp_path / "labels.nii")
    assert news[-1]["result"]["output"] == str(tmp_path / "t2.nii")


def test_the_segmentation_takes_the_scans_and_the_mask_that_its_model_wants(
    tmp_path: Path, both_models: Path, run: Runner
) -> None:
    """The conversion takes two scans and a mask; the first model that segments takes one scan and no mask."""
    write_bundle(
        tmp_path / "more" / "joint",
        partial(graphs.with_inputs, others={"flair": ("batch", 1, "height", "width")}),
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        inputs=[{"name": "image", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}],
        mask={"use": "optional"},
    )
    write_image(sitk.Cast(read_image(both_models) > 300, sitk.sitkUInt8), tmp_path / "mask.nii")
    labels = tmp_path / "labels.mha"
    outcome = run(
        *("convert", both_models, "--input", f"FLAIR={both_models}", "--to", "T2", "--out", tmp_path / "t2.mha"),
        *("--models-dir", tmp_path / "more", "--mask", tmp_path / "mask.nii", "--segmentation", labels),
    )
    assert outcome.code == 0, outcome.err
    told = json.loads((tmp_path / "labels.json").read_text())
    assert told["source"]["modality"] == ["T1"]
    assert len(told["source"]["files"]) == 1
    assert not any("mask" in warning for warning in told["warnings"])


@pytest.mark.parametrize("where", ["outputs", "segmentation"])
def test_all_files_of_a_run_appear_or_none(
    tmp_path: Path, both_models: Path, run: Runner, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modality_conversion.cli import outputs

    before = sorted(tmp_path.rglob("*"))
    arguments: tuple = ("convert", both_models, "--to", "T2", "--out", tmp_path / "t2.nrrd")
    arguments += ("--segmentation", tmp_path / "labels.nrrd")
    if where == "outputs":
        real: Callable = outputs.save_image

        def save(image: sitk.Image, path: Path, fields: dict) -> None:
            if "labels" in path.name:
                raise ConversionError("The disk is full.")
            real(image, path, fields)

        monkeypatch.setattr(outputs, "save_image", save)
        failed(run(*arguments), 1, "disk is full")
        assert sorted(tmp_path.rglob("*")) == before
        return
    weights = tmp_path / "models" / "labels" / "models" / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    failed(run(*arguments), 1, "SHA-256")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["convert", "segment"])
def test_the_last_moment_to_cancel_is_before_the_files_are_written(
    tmp_path: Path, both_models: Path, run: Runner, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = getattr(app, command)
    asked = threading.Event()
    monkeypatch.setattr(
        module, "shown", lambda style: contextlib.nullcontext(lambda news: news.stage == "write" and asked.set())
    )
    monkeypatch.setattr(module, "stop_on_signal", lambda: contextlib.nullcontext(asked.is_set))
    before = sorted(tmp_path.rglob("*"))
    failed(
        run(command, both_models, *(("--to", "T2") if command == "convert" else ()), "--out", tmp_path / "o.nii"),
        130,
        "Cancelled",
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_segmentation_that_cannot_be_made_is_said_before_the_work(
    tmp_path: Path, both_models: Path, run: Runner
) -> None:
    arguments = ("convert", both_models, "--to", "T2", "--out", tmp_path / "t2.nrrd")
    labels = ("--segmentation", tmp_path / "labels.nrrd")
    failed(run(*arguments, *labels, "--segmentation-model", "copy"), 1, "copy does not segment")
    failed(run(*arguments, *labels, "--segmentation-model", "labelz"), 1, "labels")
    failed(run(*arguments, "--segmentation", tmp_path / "t2.nrrd"), 1, "Choose another name for --segmentation")
    failed(run(*arguments, "--segmentation", tmp_path / "t2.mha"), 1, "t2.json is --out")
    (tmp_path / "own.json").write_text("{}")
    failed(run(*arguments, "--segmentation", tmp_path / "own.nii"), 1, "another name for --segmentation")
    alone = run(*arguments, "--segmentation-model", "labels")
    assert alone.code == 2
    assert "--segmentation" in alone.err
    edit_spec(tmp_path / "models" / "labels", lambda fields: fields.update(sources=[{"modality": "PD"}]))
    failed(run(*arguments, *labels), 1, "No installed model segments T1")
    assert not list(tmp_path.glob("*.nrrd"))
