"""Scans that no model was made for, tumors that no example shows, and files whose headers or names are up to something."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
import heads
from bundles import write_bundle
from command import Runner, failed
from lesion_heads import Ball, HeadScan
from modality_conversion import catalog, read_image
from modality_conversion.bundle import Bundle
from modality_conversion.gate import judge
from modality_conversion.grid import grid_differences
from modality_conversion.image_io import scan_files, write_image
from modality_conversion.modality import Modality
from modality_conversion.segment import segment
from test_find import BRIGHT, staged

T1, T2, FLAIR, CT = Modality.T1, Modality.T2, Modality.FLAIR, Modality.CT


# --- what the bundled models were not made for ----------------------------------------------------------------------------


def without_brain(kind: str) -> sitk.Image:
    volume = heads.voxels(kind)
    volume[heads._stored()["brain"] > 10] = -1000 if kind == "CT" else 0
    return heads.placed(volume)


def turned(kind: str, *axes: int) -> sitk.Image:
    return heads.placed(np.flip(heads.voxels(kind), axes))


WRONG: dict[str, Any] = {
    "T1CE as T1": lambda: (T1, heads.head("T1CE")),
    "PD as T2": lambda: (T2, heads.head("PD")),
    "CT of a knee": lambda: (CT, heads.knee()),
    "MR of a knee": lambda: (T1, heads.knee(False)),
    **{f"noise as {kind}": lambda kind=kind: (kind, heads.noise()) for kind in (T1, T2, FLAIR, CT)},
    **{f"{kind} upside down": lambda kind=kind: (kind, turned(kind.value, 0)) for kind in (T1, T2, FLAIR, CT)},
    **{f"{kind} back to front": lambda kind=kind: (kind, turned(kind.value, 1)) for kind in (T1, T2, FLAIR, CT)},
    **{f"{kind} turned over": lambda kind=kind: (kind, turned(kind.value, 0, 1)) for kind in (T1, T2, FLAIR, CT)},
    **{f"{kind} without brain": lambda kind=kind: (kind, without_brain(kind.value)) for kind in (T1, T2, FLAIR, CT)},
    "T1 with black and white exchanged": lambda: (T1, heads.placed(200 - heads.voxels("T1"))),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_every_bundled_model_refuses_what_it_was_not_made_for(name: str) -> None:
    given, image = WRONG[name]()
    asked = 0
    for bundle in catalog.Catalog().bundles():
        if bundle.spec.gate is not None and given in bundle.spec.modalities:
            verdict = judge({given: image}, bundle.spec)
            assert verdict is not None
            assert verdict.refusals, (name, bundle.spec.id)
            asked += 1
    assert asked or given is not T1


# --- tumors ---------------------------------------------------------------------------------------------------------------


def head_with(*balls: tuple[tuple[int, int, int], float]) -> tuple[sitk.Image, np.ndarray]:
    """A scan of 100 with balls of 1000 around voxels (k, j, i), radius in mm, on an oblique grid of 1 x 1 x 2 mm."""
    k, j, i = np.ogrid[:30, :48, :48]
    truth = np.zeros((30, 48, 48), bool)
    for (z, y, x), radius in balls:
        truth |= ((k - z) * 2) ** 2 + (j - y) ** 2 + (i - x) ** 2 < radius**2
    image = sitk.GetImageFromArray(np.where(truth, 2 * BRIGHT, 100).astype(np.float32))
    image.SetSpacing((1, 1, 2))
    image.SetDirection((0.8, 0, 0.6, 0, -1, 0, -0.6, 0, 0.8))
    return image, truth


@pytest.mark.parametrize(
    ("balls", "parts"),
    [
        ([((0, 0, 0), 10)], 1),
        ([((29, 47, 47), 10)], 1),
        ([((15, 0, 24), 9), ((15, 24, 47), 9), ((0, 40, 10), 9)], 3),
        ([((6, 12, 12), 8), ((22, 36, 36), 8), ((22, 12, 36), 8), ((6, 36, 12), 8)], 4),
    ],
    ids=["in the first corner", "in the last corner", "at three sides", "four of them"],
)
def test_tumors_at_the_edge_of_the_field_and_several_are_outlined_whole(
    tmp_path: Path, balls: list, parts: int
) -> None:
    image, truth = head_with(*balls)
    done = segment({T1: image}, Bundle.load(staged(tmp_path / "m")))
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(done.image), truth)
    assert done.report["found"]["parts"] == parts
    assert done.report["labels"][0]["volume_ml"] == pytest.approx(truth.sum() * 0.002)
    assert not any("more than lesions" in warning for warning in done.report["warnings"])


def test_a_lesion_that_is_the_whole_brain_is_said_to_be_most_likely_wrong(tmp_path: Path) -> None:
    code = {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically abnormal structure"}
    organ = {"scheme": "SCT", "value": "123037004", "meaning": "Anatomical structure"}

    def outlined(category: dict) -> list[str]:
        label = {"value": 1, "name": "Part", "terminology": {"category": category, "type": category}}
        folder = write_bundle(
            tmp_path / category["value"],
            lambda path: graphs.linear(path, channels=((0.1, -0.1 * BRIGHT),)),
            targets={},
            segmentation={"labels": [label], "activation": "sigmoid"},
        )
        image, _ = head_with(((15, 24, 24), 22))
        image = sitk.Threshold(image, 500, 1e9, 0)  # a stripped brain
        image.SetSpacing((2.5, 2.5, 5))  # of 700 mL
        warnings: list[str] = segment({T1: image}, Bundle.load(folder)).report["warnings"]
        return warnings

    assert any("100% of what the scan shows a lesion" in warning for warning in outlined(code))
    assert not any("lesion" in warning for warning in outlined(organ))


@pytest.mark.usefixtures("own_models_only")
def test_a_check_that_could_not_fail_is_refused(tmp_path: Path, run: Runner) -> None:
    real, made, mask = (tmp_path / name for name in ("a_T2.nrrd", "b_T2.nrrd", "mask.nrrd"))
    lesions = HeadScan((Ball((32, 36, 14), 9.0, 60.0),))
    write_image(lesions.scan(), real)
    write_image(HeadScan(seed=1).scan(), made)
    write_image(lesions.mask(), mask)
    failed(run("lesions", real, real), 1, "would agree whatever")
    (tmp_path / "link_T2.nrrd").symlink_to(real)
    failed(run("lesions", real, tmp_path / "link_T2.nrrd"), 1, "would agree whatever")
    failed(run("lesions", real, made, "--lesions", mask, "--synthetic-lesions", mask), 1, "would agree whatever")
    for odd in ("nan", "inf"):
        assert run("lesions", real, made, "--lesions", mask, "--smallest", odd).code == 2
    outcome = run("lesions", real, made, "--lesions", mask, "--finder", "crude")
    assert "1 lost" in outcome.out


# --- headers and names ----------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path, own_models_only: None) -> Path:
    """Returns its input."""
    return write_bundle(tmp_path / "models" / "copy", graphs.linear)


def small() -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 900, (8, 9, 10)).astype(np.int16))
    image.SetSpacing((1.5, 1.0, 2.0))
    return image


def changed(path: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_a_header_that_claims_a_size_beyond_all_memory_is_one_clear_line(
    tmp_path: Path, model: Path, run: Runner, ending: str
) -> None:
    path = tmp_path / f"x_T1w{ending}"
    sitk.WriteImage(small(), str(path), useCompression=ending == ".nii.gz")
    if ending.startswith(".nii"):
        import gzip

        content = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
        struct.pack_into("<4h", content, 40, 3, 32767, 32767, 32767)
        path.write_bytes(gzip.compress(bytes(content)) if ending == ".nii.gz" else bytes(content))
    else:
        changed(
            path,
            b"sizes: 10 9 8" if ending == ".nrrd" else b"DimSize = 10 9 8",
            {".nrrd": b"sizes: 90000 90000 90000", ".mha": b"DimSize = 90000 90000 90000"}[ending],
        )
    outcome = run("convert", path, "--to", "T2", "--out", tmp_path / "o.mha")
    failed(outcome, 1, "")
    assert "unexpected" not in outcome.err
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (112, float("nan")),
        (112, float("inf")),
        (112, 0.0),
        (116, float("nan")),
        (80, 0.0),
        (80, -1.5),
        (80, float("nan")),
        (268, float("nan")),
    ],
    ids=["slope nan", "slope inf", "slope 0", "offset nan", "pixdim 0", "pixdim < 0", "pixdim nan", "origin nan"],
)
def test_a_nifti_whose_numbers_are_none_gives_no_plausible_wrong_image(
    tmp_path: Path, model: Path, run: Runner, offset: int, value: float
) -> None:
    """Offsets of scl_slope, scl_inter, pixdim[1] and qoffset_x (nifti1.h)."""
    path = tmp_path / "x_T1w.nii"
    sitk.WriteImage(small(), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, offset, value)
    path.write_bytes(content)
    outcome = run("convert", path, "--to", "T2", "--out", tmp_path / "o.mha")
    if outcome.code == 0:
        made = read_image(tmp_path / "o.mha")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(made), sitk.GetArrayFromImage(small()))
        assert all(side > 0 for side in made.GetSpacing())
    else:
        failed(outcome, 1, "x_T1w.nii")
        assert "unexpected" not in outcome.err
        assert not list(tmp_path.glob("o*"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz"])
def test_a_name_with_line_breaks_cannot_write_into_a_header(
    tmp_path: Path, model: Path, run: Runner, ending: str
) -> None:
    path = tmp_path / f"a\nElementSpacing = 9 9 9\nspace origin: (7,7,7)\nsynthetic:=NO\nsynthetic = NO\n_T1w{ending}"
    write_image(small(), tmp_path / f"plain{ending}")
    (tmp_path / f"plain{ending}").rename(path)
    out = tmp_path / f"o{ending}"
    outcome = run("convert", path, "--to", "T2", "--out", out)
    assert outcome.code == 0, outcome.err
    made = read_image(out)
    assert not grid_differences(read_image(path), made)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(made), sitk.GetArrayFromImage(small()))
    if ending != ".nii.gz":
        assert made.GetMetaData("synthetic") == "YES"
        assert "ElementSpacing = 9 9 9 space" in made.GetMetaData("source_file")


def test_the_voxels_of_a_scan_in_two_files_are_not_written_over(tmp_path: Path, model: Path, run: Runner) -> None:
    for ending in ("mhd", "nhdr"):
        path = tmp_path / f"{ending}_T1w.{ending}"
        sitk.WriteImage(small(), str(path))
        (voxels,) = scan_files(path)[1:]
        before = voxels.read_bytes()
        arguments = ("convert", path, "--to", "T2", "--out", tmp_path / "o.mha", "--report", voxels)
        failed(run(*arguments), 1, "one of the scans given")
        assert voxels.read_bytes() == before


def test_one_scan_given_as_two_is_said(tmp_path: Path, run: Runner, own_models_only: None) -> None:
    write_bundle(
        tmp_path / "models" / "joint",
        lambda path: graphs.with_inputs(path, others={"flair": ("batch", 1, "height", "width")}),
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        inputs=[{"name": "image", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}],
    )
    write_image(small(), tmp_path / "x_T1w.nrrd")
    write_image(small() + 1, tmp_path / "other.nrrd")
    (tmp_path / "y_FLAIR.nrrd").symlink_to(tmp_path / "x_T1w.nrrd")
    for other, said in (("y_FLAIR.nrrd", True), ("other.nrrd", False)):
        arguments = ("convert", tmp_path / "x_T1w.nrrd", "--input", f"FLAIR={tmp_path / other}", "--to", "T2")
        outcome = run(*arguments, "--out", tmp_path / "o.nrrd")
        assert outcome.code == 0, outcome.err
        assert ("is the same scan as that given as T1" in outcome.err) is said


def test_a_path_that_leads_in_a_circle_is_one_clear_line(tmp_path: Path, model: Path, run: Runner) -> None:
    write_image(small(), tmp_path / "x_T1w.nrrd")
    for name in ("in_T1w.nrrd", "o.nrrd"):
        (tmp_path / name).symlink_to(tmp_path / name)
    failed(run("convert", tmp_path / "in_T1w.nrrd", "--to", "T2", "--out", tmp_path / "a.nrrd"), 1, "in_T1w.nrrd")
    outcome = run("convert", tmp_path / "x_T1w.nrrd", "--to", "T2", "--out", tmp_path / "o.nrrd")
    assert outcome.code == 0 or "unexpected" not in outcome.err
    long = tmp_path / ("l" * 300 + "_T1w.nrrd")
    for arguments in ((long, tmp_path / "a.nrrd"), (tmp_path / "x_T1w.nrrd", long)):
        outcome = run("convert", arguments[0], "--to", "T2", "--out", arguments[1])
        failed(outcome, 1, "")
        assert "unexpected" not in outcome.err
    assert not list(tmp_path.glob("*.partial*"))
    assert os.fspath(tmp_path / "x_T1w.nrrd") == str(scan_files(tmp_path / "x_T1w.nrrd")[0])


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[]", "3", '{"modality": 3}', '{"modality": "T1", "synthetic": "x"}']
)
def test_an_odd_side_car_is_as_good_as_none(tmp_path: Path, model: Path, run: Runner, content: str) -> None:
    write_image(small(), tmp_path / "x_T1w.nrrd")
    (tmp_path / "x_T1w.json").write_text(content)
    outcome = run("convert", tmp_path / "x_T1w.nrrd", "--to", "T2", "--out", tmp_path / "o.nrrd")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "o.json").read_text())["source"]["modality"] == ["T1"]
