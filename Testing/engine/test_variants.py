"""Weight files and mirrored variants of a scan: their mean, and their disagreement as uncertainty."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner
from modality_conversion.bundle import Bundle
from modality_conversion.channels import CERTAIN, ImageChannels
from modality_conversion.check import check
from modality_conversion.convert import convert
from modality_conversion.image_io import write_image
from modality_conversion.modality import Modality
from modality_conversion.progress import Progress
from modality_conversion.segment import segment
from volumes import filled, noise

LOPSIDED = partial(graphs.conv, features=4, layers=2, seed=3)
"""A network that makes another thing of a mirrored slice."""
SPREAD = {"uncertainty": {"kind": "spread"}}


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def scan(size: tuple[int, int, int] = (12, 9, 5)) -> sitk.Image:
    return noise(sitk.Image(list(size), sitk.sitkFloat32))


def loaded(folder: Path, graph: Any = LOPSIDED, **fields: Any) -> Bundle:
    return Bundle.load(write_bundle(folder, graph, **fields))


def made_of(image: sitk.Image, bundle: Bundle, axes: tuple[int, ...] = ()) -> np.ndarray:
    """What a model makes of a scan that was mirrored by hand, mirrored back by hand."""
    turned = filled(image, np.flip(voxels(image), axes).copy())
    return np.flip(voxels(convert({"T1": turned}, bundle, target="T2").image), axes)


@pytest.mark.parametrize("sampler", [{}, {"axes": [0, 1, 2]}, {"kind": "slab", "context": 3, "outputs": 1}])
def test_variants_are_the_mean_of_conversions_of_mirrored_scans(tmp_path: Path, sampler: dict[str, Any]) -> None:
    image, graph = scan(), partial(LOPSIDED, context=sampler.get("context", 1))
    plain = loaded(tmp_path / "plain", graph, sampler=sampler)
    varied = loaded(tmp_path / "varied", graph, sampler=sampler, test_time={"flips": [[2], [0, 1]]}, output=SPREAD)
    runs = np.stack([made_of(image, plain, axes) for axes in ((), (2,), (0, 1))]).astype(np.float64)
    assert np.abs(runs[1] - runs[0]).max() > 0.1 * runs[0].std()  # or the test would show nothing
    result = convert({"T1": image}, varied, target="T2")
    np.testing.assert_allclose(voxels(result.image), runs.mean(axis=0), rtol=1e-4, atol=1e-4)
    assert result.uncertainty is not None
    np.testing.assert_allclose(voxels(result.uncertainty), runs.std(axis=0), rtol=1e-3, atol=1e-3)
    assert result.report["runs"] == 3


def test_weight_files_and_variants_are_all_combined(tmp_path: Path) -> None:
    image, seeds = scan(), (3, 4)
    members = [partial(LOPSIDED, seed=seed) for seed in seeds]
    single = [loaded(tmp_path / str(seed), member) for seed, member in zip(seeds, members)]
    runs = np.stack([made_of(image, one, axes) for one in single for axes in ((), (1,))])
    both = loaded(tmp_path / "both", members, test_time={"flips": [[1]]}, output=SPREAD)
    news: list[Progress] = []
    result = convert({"T1": image}, both, target="T2", progress=news.append)
    np.testing.assert_allclose(voxels(result.image), runs.mean(axis=0), rtol=1e-4, atol=1e-4)
    assert result.report["runs"] == 4
    done = [item.done for item in news if item.stage == "network"]
    assert done == sorted(done)
    assert news[[item.stage for item in news].index("finish") - 1].done == 4 * result.report["tiles"]


def test_a_mask_and_a_crop_are_mirrored_with_the_scan(tmp_path: Path) -> None:
    image = scan()
    inside = np.zeros(voxels(image).shape, np.uint8)
    inside[1:3, 2:5, 7:12] = 1  # in one corner alone
    fields: dict[str, Any] = {
        "mask": {"use": "required", "outside": -5, "apply_to_input": True},
        "geometry": {"crop": [5, 7, 11], "pad_multiple": 4},
        "sampler": {"skip_empty": "mask"},
        "ops": [{"op": "minmax", "stage": "grid", "scope": "mask"}],
        "test_time": {"flips": [[0], [1], [2], [0, 1, 2]]},
        "output": SPREAD,
    }
    mask = filled(image, inside)
    result = convert({"T1": image}, loaded(tmp_path / "m", graphs.identity, **fields), target="T2", mask=mask)
    once = {key: value for key, value in fields.items() if key not in ("test_time", "output")}
    alone = convert({"T1": image}, loaded(tmp_path / "n", graphs.identity, **once), target="T2", mask=mask)
    np.testing.assert_allclose(voxels(result.image), voxels(alone.image), atol=1e-6)
    assert result.uncertainty is not None
    np.testing.assert_allclose(voxels(result.uncertainty), 0, atol=1e-6)


def test_files_without_an_uncertainty_of_their_own_tell_it_by_their_disagreement_alone(tmp_path: Path) -> None:
    members = [lambda path, a=a: graphs.linear(path, channels=((a, 0.0),)) for a in (1.0, 3.0)]
    image = filled(sitk.Image([4, 4, 4], sitk.sitkFloat32), np.full((4, 4, 4), 5, np.float32))
    ops = [{"op": "linear", "scale": -100, "offset": 7}]
    result = convert({"T1": image}, loaded(tmp_path / "two", members, output={"ops": ops, **SPREAD}), target="T2")
    np.testing.assert_allclose(voxels(result.image), -993)
    assert result.uncertainty is not None
    np.testing.assert_allclose(voxels(result.uncertainty), 500)
    undeclared = convert({"T1": image}, loaded(tmp_path / "undeclared", members), target="T2")
    assert undeclared.uncertainty is None


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_variance_of_many_runs_is_the_mean_of_theirs_plus_that_of_their_means(offset: float) -> None:
    rng = np.random.default_rng(0)
    runs = (offset + rng.normal(0, 3, (7, 2, 3, 4, 5))).astype(np.float32)
    runs[:, 1] = rng.uniform(0, 4, runs[:, 1].shape)
    found = ImageChannels(0, 1).averaged(iter(runs))
    exact = runs.astype(np.float64)
    np.testing.assert_allclose(found[0], exact[:, 0].mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[1], exact[:, 1].mean(axis=0) + exact[:, 0].var(axis=0), rtol=2e-3)
    only = ImageChannels(0, tells_spread=True).averaged(iter(runs[:, :1]))
    np.testing.assert_allclose(only[1], exact[:, 0].var(axis=0), rtol=2e-3)
    assert ImageChannels(0).averaged(iter(runs[:, :1])).shape == (1, 3, 4, 5)
    assert ImageChannels(0).nothing == [0.0]
    assert ImageChannels(0, 1).nothing == [0.0, CERTAIN]


def test_labels_of_variants_lie_where_those_of_the_scan_lie(tmp_path: Path) -> None:
    code = {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically abnormal structure"}
    label = {"value": 1, "name": "Bright", "terminology": {"category": code, "type": code}}
    segmentation = {"labels": [label], "activation": "none"}
    flips = {"flips": [[0], [1, 2]]}
    ops = [{"op": "linear", "stage": "grid", "scale": 0.001}]  # voxels from 0 to 1000, labels from one half
    bundle = loaded(tmp_path / "s", graphs.identity, ops=ops, targets={}, segmentation=segmentation, test_time=flips)
    image = scan()
    result = segment({Modality.T1: image}, bundle)
    np.testing.assert_array_equal(voxels(result.image), voxels(image) > 500)
    assert result.report["runs"] == 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"output": SPREAD}, "disagrees with nobody"),
        ({"output": {"uncertainty": {"kind": "spread", "channel": 1}}}, "kind spread has no channel"),
        ({"output": {"uncertainty": {"kind": "scale"}}}, "names no `channel`"),
        ({"test_time": {"flips": []}}, "flips"),
        ({"test_time": {"flips": [[]]}}, "flips"),
        ({"test_time": {"flips": [[3]]}}, "flips"),
        ({"test_time": {"flips": [[1, 1]]}}, "names an axis twice"),
        ({"test_time": {"flips": [[0, 1], [1, 0]]}}, "has a variant twice"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_said(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    faults = [str(fault) for fault in check(write_bundle(tmp_path / "wrong", **fields)) if fault.severity == "error"]
    assert len(faults) == 1, faults
    assert words in faults[0]


@pytest.mark.usefixtures("own_models_only")
def test_the_disagreement_is_written_as_any_uncertainty(tmp_path: Path, run: Runner) -> None:
    write_bundle(tmp_path / "models" / "varied", LOPSIDED, test_time={"flips": [[2]]}, output=SPREAD)
    write_image(scan(), tmp_path / "scan_T1.mha")
    out, spread = tmp_path / "out.mha", tmp_path / "spread.mha"
    outcome = run("convert", tmp_path / "scan_T1.mha", "--to", "T2", "--out", out, "--uncertainty", spread)
    assert outcome.code == 0, outcome.err
    assert voxels(sitk.ReadImage(str(spread))).max() > 0
    assert json.loads((tmp_path / "out.json").read_text())["runs"] == 2
