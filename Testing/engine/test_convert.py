"""A conversion from end to end, with networks whose answer is known."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphs
from bundles import write_bundle
from modality_conversion.backends import Backend, TileTask, open_backend
from modality_conversion.backends.onnx import OnnxBackend
from modality_conversion.backends.resident import OnnxResidentLoop
from modality_conversion.bundle import Bundle
from modality_conversion.convert import convert
from modality_conversion.errors import Cancelled, ConversionError, OutOfMemory
from modality_conversion.image_io import read_image, write_image
from modality_conversion.modality import Modality
from modality_conversion.progress import Progress
from volumes import blob, centre_of_mass, filled, geometry, grids, noise

SAMPLERS: tuple[dict, ...] = (
    {"kind": "slice", "axes": (0, 1, 2)},
    {"kind": "slab", "axes": (1,), "context": 5, "outputs": 3, "overlap": 0.4},
    {"kind": "patch", "size": (8, 8, 8), "overlap": 0.5},
)


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def identity_bundle(folder: Path, sampler: dict, **fields: object) -> Bundle:
    """A bundle whose network returns the middle slices, or the patch."""

    def graph(path: Path) -> Path:
        if sampler.get("kind") == "patch":
            return graphs.linear(path, patch=True)
        return graphs.linear(path, context=sampler.get("context", 1), outputs=sampler.get("outputs", 1))

    return Bundle.load(write_bundle(folder, graph, sampler=sampler, **fields))


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("identities")
    orders = ({"axcodes": "RAS"}, {"axcodes": "PIR", "array_order": "ijk", "pad_multiple": 4}, {"pad_to": (30, 30, 30)})
    return [
        identity_bundle(folder / f"identity-{number}", sampler, geometry=order)
        for number, (sampler, order) in enumerate(zip(SAMPLERS, orders))
    ]


@given(grids(), st.integers(0, 2), st.sampled_from((np.float32, np.int16, np.uint8)))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_an_identity_network_returns_the_scan_on_its_own_grid(
    identities: list[Bundle], tmp_path: Path, image: sitk.Image, which: int, dtype: type
) -> None:
    image = noise(image, dtype=dtype) if dtype != np.uint8 else noise(image) / 5
    image = sitk.Cast(image, sitk.sitkUInt8) if dtype == np.uint8 else image
    result = convert({"T1": image}, identities[which], target="T2").image
    assert geometry(result) == geometry(image)  # bit for bit
    np.testing.assert_allclose(voxels(result), voxels(image), rtol=1e-5, atol=1e-5)

    write_image(result, tmp_path / "out.mha")
    assert geometry(read_image(tmp_path / "out.mha")) == geometry(image)
    for name in ("out.nrrd", "out.nii"):
        write_image(result, tmp_path / name)
        for written, wanted in zip(geometry(read_image(tmp_path / name)), geometry(image)):
            np.testing.assert_allclose(written, wanted, rtol=1e-6, atol=1e-6)


@given(
    grids(smallest=10, largest=40),
    st.tuples(*[st.floats(0.2, 0.8)] * 3),
    st.sampled_from(("linear", "area", "nearest", "bspline")),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_resampling_to_1_mm_and_back_leaves_a_blob_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, image: sitk.Image, where: tuple, interpolation: str
) -> None:
    # The blob must fit the field of view and be sampled well on both grids, or there is no place to compare.
    image.SetSpacing([max(0.5, min(s, 3.0)) for s in image.GetSpacing()])
    extent = np.multiply(image.GetSize(), image.GetSpacing())
    sigma = max(1.6 * max(*image.GetSpacing(), 1.0), 2)
    if extent.min() < 9 * sigma:
        return
    centre = np.array(
        image.TransformContinuousIndexToPhysicalPoint([f * (n - 1) for f, n in zip(where, image.GetSize())])
    )
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    centre = middle + (centre - middle) * np.clip((extent.min() / 2 - 4.4 * sigma) / (0.3 * extent.max()), 0, 1)
    folder = tmp_path_factory.getbasetemp() / f"resampled-{interpolation}"
    if not folder.exists():
        identity_bundle(
            folder, {"kind": "slice"}, geometry={"axcodes": "RAS", "spacing": (1, 1, 1), "interpolation": interpolation}
        )
    scan = blob(image, centre, sigma)
    result = convert({"T1": scan}, Bundle.load(folder), target="T2").image
    assert geometry(result) == geometry(scan)
    # Against the blob as sampled, so that what a coarse grid itself cannot place is not counted.
    distance = np.linalg.norm(centre_of_mass(result) - centre_of_mass(scan))
    # The nearest of two voxels that are equally near is half a voxel off along that axis, whichever is taken.
    allowed = 0.51 * 3**0.5 if interpolation == "nearest" else 0.25
    assert distance <= allowed * min(scan.GetSpacing())


def test_patches_with_gaussian_weights_equal_monai(tmp_path: Path) -> None:
    torch, inferers = pytest.importorskip("torch"), pytest.importorskip("monai.inferers")
    path = graphs.conv(tmp_path / "conv.onnx", patch=True, features=4, layers=2)
    folder = write_bundle(
        tmp_path / "patches",
        path,
        fusion="gaussian",
        sampler={"kind": "patch", "size": (16, 12, 20), "overlap": 0.5, "edge": "zero"},
    )
    image = sitk.Cast(noise(sitk.Image([33, 40, 25], sitk.sitkFloat32)) / 1000, sitk.sitkFloat32)
    ours = voxels(convert({"T1": image}, Bundle.load(folder), target="T2").image)
    backend = open_backend(path, "onnx", "cpu")
    inferer = inferers.SlidingWindowInferer((16, 12, 20), sw_batch_size=4, overlap=0.5, mode="gaussian")
    theirs = inferer(torch.tensor(voxels(image))[None, None], lambda x: torch.tensor(backend.run({"image": x.numpy()})))
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s["kind"])
def test_the_batch_size_does_not_change_a_single_byte(tmp_path: Path, sampler: dict) -> None:
    is_patch = sampler["kind"] == "patch"
    path = graphs.conv(
        tmp_path / "conv.onnx", patch=is_patch, context=sampler.get("context", 1), outputs=sampler.get("outputs", 1)
    )
    image = noise(sitk.Image([40, 36, 30], sitk.sitkFloat32))
    results = []
    for batch in (1, 2, 3, 8):
        folder = write_bundle(tmp_path / f"batch-{batch}", path, sampler={**sampler, "batch": batch})
        results.append(voxels(convert({"T1": image}, Bundle.load(folder), target="T2", device="cpu").image).tobytes())
    assert len(set(results)) == 1


def test_a_fixed_batch_in_the_graph_wins(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "fixed", lambda path: graphs.fixed_batch(path, 4))
    image = noise(sitk.Image([5, 6, 7], sitk.sitkFloat32))
    result = convert({"T1": image}, Bundle.load(folder), target="T2")
    np.testing.assert_array_equal(voxels(result.image), voxels(image))
    assert result.report["batch"] == 4


def test_an_ensemble_is_averaged_and_its_disagreement_counts_as_uncertainty(tmp_path: Path) -> None:
    members = [lambda path, a=a: graphs.linear(path, channels=((a, 0.0), (0.0, np.log(4.0)))) for a in (1.0, 3.0)]
    folder = write_bundle(tmp_path / "two", members, output={"uncertainty": {"channel": 1, "kind": "log_variance"}})
    image = filled(sitk.Image([4, 4, 4], sitk.sitkFloat32), np.full((4, 4, 4), 5, np.float32))
    result = convert({"T1": image}, Bundle.load(folder), target="T2")
    np.testing.assert_allclose(voxels(result.image), 10)
    assert result.uncertainty is not None
    np.testing.assert_allclose(voxels(result.uncertainty), np.sqrt(4 + 25), rtol=1e-5)


@pytest.mark.parametrize("stage", ["tile", "grid", "native"])
@pytest.mark.parametrize(("kind", "stored"), [("log_variance", np.log(9.0)), ("scale", 3.0)])
def test_uncertainty_comes_out_in_the_targets_units(tmp_path: Path, stage: str, kind: str, stored: float) -> None:
    folder = write_bundle(
        tmp_path / "unsure",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, stored))),
        output={
            "ops": [{"op": "linear", "stage": stage, "scale": -200, "offset": 30}],
            "uncertainty": {"channel": 1, "kind": kind},
        },
    )
    image = noise(sitk.Image([4, 5, 6], sitk.sitkFloat32))
    result = convert({"T1": image}, Bundle.load(folder), target="T2")
    assert result.uncertainty is not None
    np.testing.assert_allclose(voxels(result.uncertainty), 600, rtol=1e-5)
    np.testing.assert_allclose(voxels(result.image), voxels(image) * -200 + 30, rtol=1e-5)
    assert geometry(result.uncertainty) == geometry(image)
    assert convert({"T1": image}, Bundle.load(folder), target="T2", uncertainty=False).uncertainty is None


def test_what_was_cropped_away_comes_back_as_background_whatever_the_output_operations(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "cropped",
        graphs.identity,
        geometry={"crop": (None, 4, None)},
        targets={"CT": {"units": "HU", "background": -1024, "window": 400, "level": 40, "dtype": "int16"}},
        output={"ops": [{"op": "linear", "stage": "native", "scale": 2}]},
    )
    image = noise(sitk.Image([5, 8, 3], sitk.sitkFloat32))
    result = convert({"T1": image}, Bundle.load(folder), target="CT").image
    assert result.GetPixelID() == sitk.sitkInt16
    array = voxels(result)
    np.testing.assert_array_equal(array[:, 2:6], np.rint(voxels(image)[:, 2:6] * 2))
    assert (array[:, [0, 1, 6, 7]] == -1024).all()


def test_integer_targets_are_rounded_and_limited(tmp_path: Path) -> None:
    target = {"T2": {"units": "arbitrary", "background": 0, "window": 1, "level": 1, "dtype": "uint8"}}
    folder = write_bundle(tmp_path / "bytes", graphs.identity, targets=target)
    image = filled(sitk.Image([3, 1, 1], sitk.sitkFloat32), np.array([[[-3.0, 1.6, 900.0]]], np.float32))
    assert voxels(convert({"T1": image}, Bundle.load(folder), target="T2").image).tolist() == [[[0, 2, 255]]]
    folder = write_bundle(tmp_path / "ints", graphs.identity, targets={"T2": {**target["T2"], "dtype": "int32"}})
    assert voxels(convert({"T1": image * 1e9}, Bundle.load(folder), target="T2").image)[0, 0, 2] == 2**31 - 1


# --- masks --------------------------------------------------------------------------------------------------------------


def half_mask(image: sitk.Image) -> sitk.Image:
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array[: len(array) // 2] = 1
    return filled(image, array)


def test_outside_the_mask_stands_the_declared_value_and_no_uncertainty(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "masked",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, 1.0))),
        mask={"use": "optional", "outside": -7},
        output={"uncertainty": {"channel": 1, "kind": "scale"}},
    )
    image = noise(sitk.Image([4, 5, 6], sitk.sitkFloat32))
    result = convert({"T1": image}, Bundle.load(folder), target="T2", mask=half_mask(image))
    np.testing.assert_array_equal(voxels(result.image)[:3], voxels(image)[:3])
    assert (voxels(result.image)[3:] == -7).all()
    assert result.uncertainty is not None
    assert not voxels(result.uncertainty)[3:].any()
    without = convert({"T1": image}, Bundle.load(folder), target="T2")
    np.testing.assert_array_equal(voxels(without.image), voxels(image))


@pytest.mark.parametrize("stage", ["grid", "tile"])
@pytest.mark.parametrize("where", ["ops", "output"])
def test_statistics_in_the_mask_work_on_any_grid_and_tile(tmp_path: Path, stage: str, where: str) -> None:
    scoped = [{"op": "minmax", "stage": stage, "scope": "mask"}]
    resize = [{"op": "resize", "size": [10, 12]}]
    folder = write_bundle(
        tmp_path / "scoped",
        lambda path: graphs.linear(path, context=5, outputs=3),
        geometry={"spacing": [0.8, 0.9, 1.3]},
        mask={"use": "required", "outside": 0},
        sampler={"kind": "slab", "context": 5, "outputs": 3},
        ops=resize + scoped if where == "ops" else resize,
        output={"ops": scoped if where == "output" else []},
    )
    image = noise(sitk.Image([12, 10, 9], sitk.sitkFloat32))
    result = voxels(convert({"T1": image}, Bundle.load(folder), target="T2", mask=half_mask(image)).image)
    assert 0.5 < result[:3].max() <= 1.5


def test_a_mask_with_nan_outside_is_a_mask(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "masked", mask={"use": "optional", "outside": -7})
    image = noise(sitk.Image([4, 5, 6], sitk.sitkFloat32))
    holes = np.where(voxels(half_mask(image)) > 0, 1, np.nan).astype(np.float32)
    result = convert({"T1": image}, Bundle.load(folder), target="T2", mask=filled(image, holes))
    assert (voxels(result.image)[3:] == -7).all()


def test_a_mask_in_what_is_cropped_away_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "cropped",
        geometry={"crop": [4, None, None]},
        mask={"use": "required"},
        sampler={"skip_empty": "mask"},
    )
    image = noise(sitk.Image([4, 5, 12], sitk.sitkFloat32))
    mask = np.zeros((12, 5, 4), np.uint8)
    mask[0] = 1
    refused("crops away", {"T1": image}, Bundle.load(folder), mask=filled(image, mask))


def test_where_the_network_did_not_run_there_is_no_uncertainty(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "skipping",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, 0.0))),
        sampler={"skip_empty": "background"},
        output={"ops": [{"op": "linear", "scale": 1000}], "uncertainty": {"channel": 1, "kind": "log_variance"}},
        geometry={"pad_to": [30, None, None]},
    )
    array = np.zeros((10, 6, 6), np.float32)
    array[4:6, 2:4, 2:4] = 100
    result = convert({"T1": filled(sitk.Image([6, 6, 10], sitk.sitkFloat32), array)}, Bundle.load(folder), target="T2")
    assert result.uncertainty is not None
    np.testing.assert_allclose(voxels(result.uncertainty)[4:6], 1000, rtol=1e-5)
    assert voxels(result.uncertainty)[:4].max() < 1e-9
    assert result.report["tiles"] == 2


def test_the_mask_can_hide_the_source_from_the_network(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "hidden",
        graphs.identity,
        mask={"use": "required", "apply_to_input": True, "outside": 5},
        ops=[{"op": "minmax"}],
    )
    image = noise(sitk.Image([4, 5, 6], sitk.sitkFloat32)) + 100
    result = voxels(convert({"T1": image}, Bundle.load(folder), target="T2", mask=half_mask(image)).image)
    np.testing.assert_allclose(result[:3], voxels(image)[:3] / voxels(image)[:3].max(), rtol=1e-5)
    with pytest.raises(ConversionError, match="--mask"):
        convert({"T1": image}, Bundle.load(folder), target="T2")


def test_empty_tiles_are_skipped_and_counted(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "skipping", lambda p: graphs.linear(p, channels=((1.0, 50.0),)), sampler={"skip_empty": "background"}
    )
    array = np.zeros((10, 6, 6), np.float32)
    array[4:6, 2:4, 2:4] = 100
    result = convert({"T1": filled(sitk.Image([6, 6, 10], sitk.sitkFloat32), array)}, Bundle.load(folder), target="T2")
    assert result.report["tiles"] == 2
    np.testing.assert_array_equal(voxels(result.image)[4:6], array[4:6] + 50)
    assert not voxels(result.image)[:4].any()


# --- inputs of the network ----------------------------------------------------------------------------------------------


def test_codes_say_where_from_and_where_to(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "codes",
        lambda path: graphs.with_inputs(path, {"from": ("batch", 2), "to": ("batch", 3)}),
        sources=[{"modality": "T1"}, {"modality": "T2"}],
        targets={m: {"units": "arbitrary", "background": 0, "window": 1, "level": 0} for m in ("T2", "FLAIR")},
        inputs=[
            {"name": "image"},
            {"name": "from", "role": "source_code", "order": ["T1", "T2"]},
            {"name": "to", "role": "target_code", "order": ["CT", "T2", "FLAIR"]},
        ],
    )
    image = noise(sitk.Image([4, 5, 20], sitk.sitkFloat32))
    result = convert({"T2": image}, Bundle.load(folder), target="FLAIR")
    np.testing.assert_allclose(voxels(result.image), voxels(image) + 2, rtol=1e-5)


def joint_bundle(folder: Path, missing: str) -> Bundle:
    return Bundle.load(
        write_bundle(
            folder,
            lambda path: graphs.with_inputs(path, {"flair": ("batch", 1, "height", "width")}),
            sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
            inputs=[{"name": "image", "modality": "T1"}, {"name": "flair", "modality": "FLAIR", "missing": missing}],
        )
    )


def test_the_grid_is_that_of_the_callers_first_scan(tmp_path: Path) -> None:
    bundle = joint_bundle(tmp_path / "joint", "error")
    t1 = noise(sitk.Image([6, 6, 6], sitk.sitkFloat32))
    flair = sitk.Resample(t1, [11, 12, 13], sitk.Transform(), sitk.sitkLinear, (0.1, 0, 0), (0.4, 0.4, 0.4))
    assert geometry(convert({"FLAIR": flair, "T1": t1}, bundle, target="T2").image) == geometry(flair)
    assert geometry(convert({"T1": t1, "FLAIR": flair}, bundle, target="T2").image) == geometry(t1)


def test_scans_of_different_places_are_refused_and_the_callers_own_stay(tmp_path: Path) -> None:
    bundle = joint_bundle(tmp_path / "joint", "error")
    t1 = noise(sitk.Image([6, 6, 6], sitk.sitkFloat32))
    far, near = sitk.Image(t1), sitk.Image(t1)
    far.SetOrigin((500, 0, 0))
    refused("different places", {"T1": t1, "FLAIR": far}, bundle)
    near.SetOrigin((5e-5, 0, 0))
    convert({"T1": t1, "FLAIR": near}, bundle, target="T2")
    assert near.GetOrigin() == (5e-5, 0, 0)


def test_joint_inputs_meet_on_the_first_scans_grid(tmp_path: Path) -> None:
    bundle = joint_bundle(tmp_path / "joint", "error")
    t1 = noise(sitk.Image([6, 6, 6], sitk.sitkFloat32))
    flair = noise(sitk.Image([6, 6, 6], sitk.sitkFloat32), seed=1)
    same = convert({"FLAIR": flair, "T1": t1}, bundle, target="T2")
    np.testing.assert_allclose(voxels(same.image), voxels(t1) + voxels(flair), rtol=1e-6)
    assert not same.report["warnings"]

    fine = sitk.Resample(flair, [12, 12, 12], sitk.Transform(), sitk.sitkNearestNeighbor, (-0.25,) * 3, (0.5,) * 3)
    other = convert({"T1": t1, "FLAIR": fine}, bundle, target="T2")
    np.testing.assert_allclose(voxels(other.image), voxels(t1) + voxels(flair), rtol=1e-5)
    assert "resampled" in other.report["warnings"][0]


def test_a_missing_joint_input_is_asked_for_or_stands_as_zeros(tmp_path: Path) -> None:
    t1 = noise(sitk.Image([6, 6, 6], sitk.sitkFloat32))
    with pytest.raises(ConversionError, match="--input FLAIR=FILE"):
        convert({"T1": t1}, joint_bundle(tmp_path / "strict", "error"), target="T2")
    result = convert({"T1": t1}, joint_bundle(tmp_path / "lenient", "zeros"), target="T2")
    np.testing.assert_array_equal(voxels(result.image), voxels(t1))


@pytest.mark.parametrize("stage", ["native", "grid", "tile"])
def test_an_operation_that_names_modalities_leaves_others_alone(tmp_path: Path, stage: str) -> None:
    """CT in HU to 0..1 and an MR as it is, in one network; a target in HU and one that is not."""
    double, halve = {"op": "linear", "stage": stage, "scale": 2}, {"op": "linear", "stage": stage, "scale": 0.5}
    folder = write_bundle(
        tmp_path / "any",
        lambda path: graphs.with_inputs(path, {"to": ("batch", 2)}),
        sources=[{"modality": "CT"}, {"modality": "T1"}],
        targets={m: {"units": "arbitrary", "background": 0, "window": 1, "level": 0} for m in ("CT", "T1")},
        ops=[{**double, "modalities": ["CT"]}, {"op": "linear", "stage": stage, "offset": 1}],
        inputs=[{"name": "image"}, {"name": "to", "role": "target_code", "order": ["T1", "CT"]}],
        output={"ops": [{**halve, "modalities": ["CT"]}]},
    )
    image = noise(sitk.Image([4, 5, 20], sitk.sitkFloat32))
    for source, target in (("CT", "T1"), ("T1", "CT"), ("CT", "CT"), ("T1", "T1")):
        seen = voxels(image) * (2 if source == "CT" else 1) + 2  # 1 by the operation, 1 by the sum of the code
        result = convert({source: image}, Bundle.load(folder), target=target)
        np.testing.assert_allclose(voxels(result.image), seen * (0.5 if target == "CT" else 1), rtol=1e-5)


def test_scans_under_one_name_are_the_channels_of_one_input(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "stacked",
        lambda path: graphs.linear(path, context=2, outputs=2),
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        inputs=[{"name": "image", "modality": "T1"}, {"name": "image", "modality": "FLAIR"}],
        output={"channel": 1},
    )
    t1, flair = (noise(sitk.Image([6, 6, 6], sitk.sitkFloat32), seed=seed) for seed in (0, 1))
    result = convert({"T1": t1, "FLAIR": flair}, Bundle.load(folder), target="T2")
    np.testing.assert_array_equal(voxels(result.image), voxels(flair))


def test_the_mask_can_be_an_input(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "mask-input",
        lambda path: graphs.with_inputs(path, {"inside": ("batch", 1, "height", "width")}),
        mask={"use": "optional", "outside": 0},
        inputs=[{"name": "image"}, {"name": "inside", "role": "mask"}],
    )
    image = noise(sitk.Image([4, 5, 6], sitk.sitkFloat32))
    result = convert({"T1": image}, Bundle.load(folder), target="T2", mask=half_mask(image))
    np.testing.assert_allclose(voxels(result.image)[:3], voxels(image)[:3] + 1, rtol=1e-6)


# --- what is refused, and what is said ------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Bundle:
    return Bundle.load(write_bundle(tmp_path / "copy"))


@pytest.fixture
def scan() -> sitk.Image:
    return noise(sitk.Image([6, 7, 8], sitk.sitkFloat32))


def refused(match: str, images: Mapping, bundle: Bundle, target: str = "T2", **options: object) -> None:
    with pytest.raises(ConversionError, match=match) as error:
        convert(images, bundle, target=target, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_what_the_model_was_not_made_for_is_refused(copy: Bundle, scan: sitk.Image) -> None:
    refused("not made for FLAIR", {"FLAIR": scan}, copy)
    refused("does not make CT. It makes T2", {"T1": scan}, copy, target="CT")
    refused("takes one scan, but 2", {"T1": scan, "PD": scan}, _also_takes(copy, "PD"))
    refused("No scan was given", {}, copy)
    refused("'knee' is not a modality", {"knee": scan}, copy)


def _also_takes(bundle: Bundle, modality: str) -> Bundle:
    source = bundle.spec.sources[0].model_copy(update={"modality": Modality(modality)})
    return dataclasses.replace(bundle, spec=bundle.spec.model_copy(update={"sources": (*bundle.spec.sources, source)}))


def test_values_in_other_units_are_refused(tmp_path: Path, scan: sitk.Image) -> None:
    folder = write_bundle(tmp_path / "hu", sources=[{"modality": "CT", "value_range": (-1024, 4000)}])
    bundle = Bundle.load(folder)
    convert({"CT": scan}, bundle, target="T2")
    corners = voxels(scan)
    corners[:, 0] = -2000  # what some scanners write outside the round field of view
    convert({"CT": filled(scan, corners)}, bundle, target="T2")
    refused("outside -1024 to 4000", {"CT": scan * 30}, bundle)


def test_images_that_are_no_volumes_are_refused(copy: Bundle, scan: sitk.Image) -> None:
    refused("2 dimensions", {"T1": scan[:, :, 0]}, copy)
    refused("4 dimensions", {"T1": sitk.JoinSeries(scan, scan)}, copy)
    refused("several numbers per voxel", {"T1": sitk.Compose(scan, scan)}, copy)
    refused("several numbers per voxel", {"T1": sitk.Cast(scan, sitk.sitkComplexFloat32)}, copy)
    refused("no number in any voxel", {"T1": scan * float("nan")}, copy)


def test_some_missing_voxels_become_background_and_that_is_said(copy: Bundle, scan: sitk.Image) -> None:
    array = voxels(scan)
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    result = convert({"T1": filled(scan, array)}, copy, target="T2")
    assert "2 voxels of the T1 scan are not finite" in result.report["warnings"][0]
    lowest = array[np.isfinite(array)].min()
    assert voxels(result.image)[0, 0, 0] == lowest
    assert voxels(result.image)[1, 1, 1] == lowest
    assert np.isnan(array[0, 0, 0])  # the caller's own scan is as it was


@pytest.mark.parametrize("moved_by", [-2000.0, 0.0, 700.0])
def test_a_scan_is_padded_with_its_own_air_wherever_that_lies(tmp_path: Path, moved_by: float) -> None:
    """The padding must not become the brightest or the darkest tissue of a scan whose air is not 0."""
    ball = np.zeros((20, 21, 22))
    ball[6:14, 6:15, 6:16] = 100 + np.arange(10)
    image = sitk.GetImageFromArray(ball + moved_by)
    bundle = identity_bundle(
        tmp_path / "padded",
        {"kind": "slice"},
        geometry={"pad_multiple": 16, "pad_value": "background"},
        ops=[{"op": "minmax", "stage": "grid", "scope": "all"}],
        output={"channel": 0, "ops": [{"op": "linear", "scale": 1000}]},
    )
    result = convert({"T1": image}, bundle, target="T2")
    np.testing.assert_allclose(voxels(result.image), 1000 * ball / 109, atol=1)


def test_a_constant_scan_is_converted_and_that_is_said(copy: Bundle, scan: sitk.Image) -> None:
    result = convert({"T1": scan * 0 + 3}, copy, target="T2")
    assert "same value everywhere" in result.report["warnings"][0]
    assert (voxels(result.image) == 3).all()


def test_a_scan_whose_header_gives_no_place_is_converted_and_that_is_said(copy: Bundle, scan: sitk.Image) -> None:
    scan = sitk.Image(scan)
    for key in ("qform_code", "sform_code"):
        scan.SetMetaData(key, "0")
    result = convert({"T1": scan}, copy, target="T2")
    assert "does not say how it lies in space" in result.report["warnings"][0]


def test_values_beyond_single_precision_are_refused(copy: Bundle, scan: sitk.Image) -> None:
    refused("beyond 1e38", {"T1": sitk.Cast(scan, sitk.sitkFloat64) * 1e300 + 1e300}, copy)


def test_a_failure_of_simpleitk_is_one_clear_line(copy: Bundle, scan: sitk.Image) -> None:
    def failing(*arguments: object) -> Backend:
        raise RuntimeError("Exception thrown:\nITK ERROR: something is odd")

    def full(*arguments: object) -> Backend:
        raise RuntimeError("Failed to allocate memory for image.")

    refused("SimpleITK failed: ITK ERROR: something is odd", {"T1": scan}, copy, opener=failing)
    refused("not enough memory", {"T1": scan}, copy, opener=full)


def test_masks_that_do_not_fit_are_refused(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "masked", mask={"use": "optional"}))
    shifted = half_mask(scan)
    shifted.SetOrigin((1, 0, 0))
    refused("not on the scan's grid: origin", {"T1": scan}, bundle, mask=shifted)
    refused("not on the scan's grid: size", {"T1": scan}, bundle, mask=half_mask(scan)[1:])
    refused("mask is empty", {"T1": scan}, bundle, mask=half_mask(scan) * 0)


def test_a_mask_given_to_a_model_without_one_is_said(copy: Bundle, scan: sitk.Image) -> None:
    assert "takes no mask" in convert({"T1": scan}, copy, target="T2", mask=half_mask(scan)).report["warnings"][0]


def test_weights_that_changed_are_refused_before_they_are_loaded(copy: Bundle, scan: sitk.Image) -> None:
    path = copy.weight_paths[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused("SHA-256", {"T1": scan}, copy, opener=lambda *arguments: pytest.fail("the weights were loaded"))
    path.write_bytes(content[:-5])
    refused("bytes", {"T1": scan}, copy, opener=lambda *arguments: pytest.fail("the weights were loaded"))


def test_a_graph_with_other_inputs_or_channels_is_refused(tmp_path: Path, scan: sitk.Image) -> None:
    other = Bundle.load(write_bundle(tmp_path / "inputs", graphs.identity, inputs=[{"name": "scan"}]))
    refused("declares the inputs scan, but its network has image", {"T1": scan}, other)
    channels = Bundle.load(write_bundle(tmp_path / "channels", graphs.identity, output={"channel": 3}))
    refused("asks for channel 3", {"T1": scan}, channels)
    rank = Bundle.load(write_bundle(tmp_path / "rank", graphs.wrong_rank))
    refused(".", {"T1": scan}, rank)
    half = Bundle.load(write_bundle(tmp_path / "half", graphs.half_size))
    refused(".", {"T1": sitk.ConstantPad(scan, [1, 1, 1])}, half)


def test_a_network_that_gives_nonsense_gives_no_image(tmp_path: Path, scan: sitk.Image) -> None:
    nonsense = Bundle.load(write_bundle(tmp_path / "nan", lambda p: graphs.linear(p, channels=((float("nan"), 0.0),))))
    refused("not numbers", {"T1": scan}, nonsense)


# --- progress, cancelling, memory -------------------------------------------------------------------------------------------


def test_progress_counts_tiles_and_guesses_the_time_to_go(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = identity_bundle(tmp_path / "planes", {"kind": "slice", "axes": (0, 1, 2), "batch": 4})
    news: list[Progress] = []
    convert({"T1": scan}, bundle, target="T2", progress=news.append)
    network = [n for n in news if n.stage == "network"]
    assert [n.done for n in network] == [0, 4, 8, 12, 15, 19, 21]
    assert all(n.total == 21 for n in network)
    assert network[-1].seconds_left == 0
    assert [n.stage for n in news if n.stage != "network"] == ["prepare", "prepare", "finish", "finish"]


def test_progress_of_an_ensemble_goes_on_from_file_to_file(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "two", [graphs.identity, graphs.identity]))
    news: list[Progress] = []
    convert({"T1": scan}, bundle, target="T2", progress=news.append)
    done = [n.done for n in news if n.stage == "network"]
    assert done == sorted(done)
    assert done[-1] == 16 == news[-3].total


def test_cancelling_takes_effect_within_one_batch(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = identity_bundle(tmp_path / "planes", {"kind": "slice", "batch": 1})
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        convert({"T1": scan}, bundle, target="T2", progress=seen.append, cancel=lambda: len(seen) >= 4)
    assert len(seen) == 4


class Cramped:
    """A backend that runs out of memory above a number of voxels a call, as a small card would."""

    def __init__(self, path: Path, format: str, device: str, limit: int) -> None:
        self._backend: Backend = open_backend(path, format, "cpu")
        self.device, self.inputs, self.fixed_batch = device, self._backend.inputs, self._backend.fixed_batch
        self._limit = limit
        self.calls: list[int] = []

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        self.calls.append(len(feeds["image"]))
        if feeds["image"].size > self._limit:
            raise OutOfMemory(f"{self.device} is full.")
        return self._backend.run(feeds)

    def resident_loop(self, task: TileTask) -> None:
        return None


def test_out_of_memory_halves_the_batch_and_says_so(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = identity_bundle(tmp_path / "planes", {"kind": "slice", "batch": 8})
    result = convert({"T1": scan}, bundle, target="T2", opener=lambda *a: Cramped(*a, limit=2 * 42))
    np.testing.assert_array_equal(voxels(result.image), voxels(scan))
    assert result.report["batch"] == 2
    assert any("batch was made smaller: 2" in line for line in result.report["warnings"])


class Resident(OnnxBackend):
    """The loop that a card would run, on the CPU, with room for a number of tiles a call."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(path, "cpu")
        self.room, self.loops = room, 0

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        pytest.fail("the volume left the device")

    def resident_loop(self, task: TileTask) -> OnnxResidentLoop:
        self.loops += 1
        if task.batch > self.room:
            raise OutOfMemory("the card is full.")
        return OnnxResidentLoop(self, task)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s["kind"])
def test_on_a_card_the_volume_stays_there_and_the_result_is_the_same(tmp_path: Path, sampler: dict) -> None:
    is_patch = sampler["kind"] == "patch"
    context, outputs = sampler.get("context", 1), sampler.get("outputs", 1)
    path = graphs.conv(tmp_path / "conv.onnx", patch=is_patch, context=context, outputs=outputs)
    fields = {"fusion": "gaussian", "geometry": {"axcodes": "RAS", "spacing": [2, 2, 2]}}
    bundle = Bundle.load(write_bundle(tmp_path / "conv", path, sampler={**sampler, "batch": 8}, **fields))
    image = noise(sitk.Image([40, 36, 30], sitk.sitkFloat32))
    backend = Resident(path, room=2)
    on_card = convert({"T1": image}, bundle, target="T2", opener=lambda *arguments: backend)
    assert on_card.report["batch"] == 2
    assert any("batch was made smaller" in note for note in on_card.report["warnings"])
    plain = convert({"T1": image}, bundle, target="T2")
    np.testing.assert_allclose(voxels(on_card.image), voxels(plain.image), atol=1e-6 * voxels(plain.image).max())


def test_out_of_memory_on_one_patch_makes_the_patch_smaller(tmp_path: Path) -> None:
    bundle = identity_bundle(tmp_path / "patches", {"kind": "patch", "size": (64, 32, 32)})
    scan = noise(sitk.Image([40, 40, 70], sitk.sitkFloat32))
    result = convert({"T1": scan}, bundle, target="T2", opener=lambda *a: Cramped(*a, limit=32 * 16 * 16))
    np.testing.assert_allclose(voxels(result.image), voxels(scan), rtol=1e-6)
    assert any("(32, 16, 16)" in line for line in result.report["warnings"])


def test_out_of_memory_on_one_slice_moves_to_the_cpu(
    tmp_path: Path, scan: sitk.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modality_conversion import devices

    monkeypatch.setattr(devices, "resolve", lambda device, format: device)
    bundle = identity_bundle(tmp_path / "planes", {"kind": "slice"})
    result = convert(
        {"T1": scan},
        bundle,
        target="T2",
        device="cuda:0",
        opener=lambda path, format, device: Cramped(path, format, device, limit=1 if device == "cuda:0" else 10**9),
    )
    assert result.report["device"] == "cpu"
    assert any("CPU was used instead" in line for line in result.report["warnings"])
    np.testing.assert_array_equal(voxels(result.image), voxels(scan))


def test_out_of_memory_everywhere_is_one_clear_line(tmp_path: Path, scan: sitk.Image) -> None:
    bundle = identity_bundle(tmp_path / "planes", {"kind": "slice"})
    refused("Close other programs", {"T1": scan}, bundle, device="cpu", opener=lambda *a: Cramped(*a, limit=1))


def test_out_of_memory_outside_the_network_is_one_clear_line(copy: Bundle, scan: sitk.Image) -> None:
    def full(*arguments: object) -> Backend:
        raise MemoryError

    refused("not enough memory", {"T1": scan}, copy, opener=full)


# --- the report -----------------------------------------------------------------------------------------------------------


def test_the_report_says_what_was_done_and_by_what(copy: Bundle, scan: sitk.Image) -> None:
    report = convert({"T1": scan}, copy, target="T2").report
    assert report["synthetic"] is True
    assert report["not_for_diagnosis"] is True
    assert report["model"]["id"] == copy.spec.id
    assert report["model"]["sha256"] == copy.hash
    assert report["source"] == {"modality": ["T1"], "size": [6, 7, 8], "spacing": [1.0, 1.0, 1.0]}
    assert report["device"] == "cpu"
    assert set(report["seconds"]) == {"prepare", "network", "finish", "total"}


def test_importing_the_engine_is_quick_and_loads_nothing_heavy(copy: Bundle) -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import modality_conversion; print(time.perf_counter() - t);"
        "heavy = {'torch', 'onnxruntime', 'matplotlib', 'scipy', 'pydantic', 'typer', 'rich', 'monai'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "import numpy as np, SimpleITK as sitk; from modality_conversion import Bundle, convert;"
        "image = sitk.GetImageFromArray(np.random.default_rng(0).random((4, 5, 6)).astype('f4'));"
        f"convert({{'T1': image}}, Bundle.load({str(copy.path)!r}), target='T2');"
        "assert 'torch' not in sys.modules"
    )
    root = str(Path(convert.__code__.co_filename).parents[1])
    best = min(
        float(
            subprocess.run(
                [sys.executable, "-c", code],
                env={"PYTHONPATH": root, "PATH": ""},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(3)
    )
    assert best < 0.5
