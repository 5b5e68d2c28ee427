"""Segmenting in two stages: a coarse look finds where, and only there the model's network runs and its labels are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

import graphs
from bundles import edit_spec, weights_entry, write_bundle
from modality_conversion.backends import Backend, open_backend
from modality_conversion.bundle import Bundle, summary
from modality_conversion.check import check
from modality_conversion.errors import Cancelled, ConversionError, InvalidBundle
from modality_conversion.segment import segment

BRIGHT = 500.0
MARGIN = 9.0
CODE = {"scheme": "SCT", "value": "108369006", "meaning": "Neoplasm"}
LABEL = {"value": 1, "name": "Tumor", "terminology": {"category": CODE, "type": CODE}}
RAMP = ((0.1, -0.1 * BRIGHT),)
"""Above 0, so that the sigmoid is above one half, where the scan is above BRIGHT."""


def staged(folder: Path, change: Callable[[dict[str, Any]], Any] | None = None, **find: Any) -> Path:
    """A model that labels what is brighter than BRIGHT, once voxels of 3 mm that are so were found."""
    segmentation = {"labels": [LABEL], "activation": "sigmoid"}
    write_bundle(folder, partial(graphs.linear, channels=RAMP), targets={}, segmentation=segmentation)
    graphs.linear(folder / "models" / "find.onnx", channels=RAMP, patch=True)
    declared = {
        "weights": [weights_entry(folder / "models" / "find.onnx", folder)],
        "geometry": {"spacing": [3, 3, 3], "interpolation": "area"},
        "sampler": {"kind": "patch", "size": [8, 8, 8], "edge": "zero"},
        "margin_mm": MARGIN,
        **find,
    }

    def add(fields: dict[str, Any]) -> None:
        fields["segmentation"]["find"] = {key: value for key, value in declared.items() if value is not Ellipsis}
        if change is not None:
            change(fields)

    edit_spec(folder, add)
    return folder


def load(folder: Path, **find: Any) -> Bundle:
    return Bundle.load(staged(folder, **find))


class Opened:
    """Opens weights as the engine does, and remembers which."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, path: Path, format: str, device: str) -> Backend:
        self.names.append(path.name)
        return open_backend(path, format, device)


@pytest.fixture
def scan() -> sitk.Image:
    """Oblique, 1 x 1 x 2 mm: a large bright ball, and a single bright voxel 40 mm away that no coarse voxel shows."""
    array = np.full((30, 60, 60), 100, np.float32)
    z, y, x = np.ogrid[:30, :60, :60]
    array[((z - 8) * 2) ** 2 + (y - 15) ** 2 + (x - 15) ** 2 < 8**2] = 1000
    array[25, 50, 50] = 1000
    array[8, 15, 29] = 1000  # 6 mm from the ball: too little for the finder, within its margin
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1, 1, 2))
    image.SetDirection((0.8, 0, 0.6, 0, -1, 0, -0.6, 0, 0.8))
    return image


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def test_only_what_was_found_and_its_margin_is_segmented(tmp_path: Path, scan: sitk.Image) -> None:
    done = segment({"T1": scan}, load(tmp_path / "staged"))
    bright = voxels(scan) > BRIGHT
    ball = bright.copy()
    ball[25, 50, 50] = ball[8, 15, 29] = False
    distance = distance_transform_edt(~ball, sampling=(2, 1, 1))
    labels = voxels(done.image)
    near = distance < MARGIN - 3  # a coarse voxel is 3 mm
    np.testing.assert_array_equal(labels[near], bright[near])
    assert labels[8, 15, 29] == 1
    assert not labels[distance > MARGIN + 4].any()
    assert done.report["found"]["parts"] == 1
    assert done.report["found"]["volume_ml"] == pytest.approx(ball.sum() * 2e-3, rel=0.25)
    assert done.image.GetDirection() == scan.GetDirection()


def test_the_network_runs_only_on_slices_that_reach_into_what_was_found(tmp_path: Path, scan: sitk.Image) -> None:
    whole = write_bundle(
        tmp_path / "whole",
        partial(graphs.linear, channels=RAMP),
        targets={},
        segmentation={"labels": [LABEL], "activation": "sigmoid"},
    )
    everywhere = segment({"T1": scan}, Bundle.load(whole)).report["tiles"]
    coarse = 3**3  # patches of 8 on a grid of 20^3 coarse voxels
    tiles = segment({"T1": scan}, load(tmp_path / "staged")).report["tiles"]
    assert everywhere == 30
    assert 8 <= tiles - coarse < 20  # the ball and its margin, in slices of 2 mm


def test_where_nothing_is_found_there_are_no_labels_and_the_second_network_is_not_loaded(
    tmp_path: Path, scan: sitk.Image
) -> None:
    opened = Opened()
    done = segment({"T1": scan}, load(tmp_path / "staged", smallest_ml=50), opener=opened)
    assert not voxels(done.image).any()
    assert opened.names == ["find.onnx"]
    assert "Nothing was found" in done.report["warnings"][-1]
    assert done.report["found"] == {"parts": 0, "volume_ml": 0.0}
    assert done.report["labels"][0]["voxels"] == 0
    assert done.image.GetSize() == scan.GetSize()


def test_a_higher_threshold_finds_less(tmp_path: Path, scan: sitk.Image) -> None:
    small = load(tmp_path / "small", threshold=0.99)
    large = load(tmp_path / "large", threshold=0.01)
    found = [segment({"T1": scan}, bundle).report["found"]["volume_ml"] for bundle in (small, large)]
    assert 0 < found[0] < found[1]


def test_what_is_found_outside_a_given_mask_does_not_count(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = Bundle.load(staged(tmp_path / "staged", lambda fields: fields.update(mask={"use": "optional"})))
    inside = np.zeros((30, 60, 60), np.uint8)
    inside[:, 40:, 40:] = 1
    mask = sitk.GetImageFromArray(inside)
    mask.CopyInformation(scan)
    assert segment({"T1": scan}, bundle, mask=mask).report["found"]["parts"] == 0


def test_a_finder_may_read_several_scans_of_which_some_are_missing(tmp_path: Path, scan: sitk.Image) -> None:
    folder = tmp_path / "joint"
    names = [{"name": "image", "role": "image", "modality": m, "missing": "zeros"} for m in ("T1", "T2")]

    def joint(fields: dict[str, Any]) -> None:
        fields["sources"] = [{"modality": "T1"}, {"modality": "T2"}]
        fields["inputs"] = names
        graphs.linear(folder / "models" / "model.onnx", channels=RAMP, context=2)
        fields["weights"] = [weights_entry(folder / "models" / "model.onnx", folder)]
        fields["segmentation"]["find"]["inputs"] = [{"name": "image", "role": "image"}]

    staged(folder, joint)
    with pytest.raises(ConversionError):  # the finder takes one scan at a time
        segment({"T1": scan, "T2": scan}, Bundle.load(folder))


def test_cancelling_ends_the_finder_too(tmp_path: Path, scan: sitk.Image) -> None:
    with pytest.raises(Cancelled):
        segment({"T1": scan}, load(tmp_path / "staged"), cancel=lambda: True)


# --- the check ----------------------------------------------------------------------------------------------------------


def test_a_right_model_in_two_stages_passes_the_check_and_is_run(tmp_path: Path) -> None:
    assert check(staged(tmp_path / "staged"), run=True) == []


def test_damaged_weights_of_the_finder_are_caught_before_they_are_loaded(tmp_path: Path, scan: sitk.Image) -> None:
    folder = staged(tmp_path / "staged")
    bundle = Bundle.load(folder)
    content = bytearray((folder / "models" / "find.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "models" / "find.onnx").write_bytes(content)
    with pytest.raises(ConversionError, match=r"find\.onnx.*damaged"):
        segment({"T1": scan}, bundle)
    (fault,) = check(folder)
    assert fault.where == "configs/conversion.json: segmentation.find.weights[0].sha256"
    (folder / "models" / "find.onnx").write_bytes(content[:-1])
    assert "has not the declared size" in str(summary(folder).fault)
    with pytest.raises(InvalidBundle, match="incomplete"):
        Bundle.load(folder)
    (folder / "models" / "find.onnx").unlink()
    assert "find.onnx is missing" in str(summary(folder).fault)


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no spacing": ({"geometry": {}}, "segmentation.find", "`geometry.spacing` of the finder is not given"),
    "resize": (
        {"geometry": {"spacing": [3, 3, 3], "resize": {"max": 64}}},
        "segmentation.find",
        "would change the finder's spacing",
    ),
    "a channel that is not there": ({"channel": 4}, "segmentation.find.channel", "channel 4 is asked for"),
    "no weights": ({"weights": ...}, "segmentation.find.weights", "`weights` is missing"),
    "another kind of tile": (
        {"sampler": {"kind": "slice"}},
        "segmentation.find.sampler.kind",
        "slice",
    ),
    "another input": (
        {"inputs": [{"name": "other"}]},
        "segmentation.find.inputs[0]",
        "the network has no input `other`",
    ),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_the_check_says_where_the_finders_declaration_is_wrong(tmp_path: Path, name: str) -> None:
    find, where, what = FAULTS[name]
    faults = check(staged(tmp_path / "staged", **find))
    assert any(f"conversion.json: {where}" in fault.where and what in fault.what for fault in faults), faults


def test_the_finders_golden_pair_is_compared(tmp_path: Path) -> None:
    folder = staged(tmp_path / "staged")
    (folder / "tests").mkdir(exist_ok=True)
    patch = np.ones((1, 1, 8, 8, 8), np.float32)
    wrong = {"input": patch, "output": patch}
    np.savez(folder / "tests" / "golden_find.npz", **wrong)
    (fault,) = check(folder, run=True)
    assert fault.where == "tests/golden_find.npz"
    np.savez(folder / "tests" / "golden_find.npz", **(wrong | {"output": 0.1 * patch - 0.1 * BRIGHT}))
    assert check(folder, run=True) == []


def test_a_declaration_without_a_finder_reads_as_before(tmp_path: Path) -> None:
    folder = staged(tmp_path / "staged", lambda fields: fields["segmentation"].pop("find"))
    bundle = Bundle.load(folder)
    assert bundle.finder is None
    assert (
        "find" not in json.loads((folder / "configs" / "conversion.json").read_text(encoding="utf-8"))["segmentation"]
    )
