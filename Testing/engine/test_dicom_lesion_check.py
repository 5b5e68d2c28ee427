"""`convert --lesion-report x.dcm`: the lesion check as a DICOM structured report, run as a user runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed
from dicom_series import write_series
from lesion_heads import Ball, HeadScan
from modality_conversion.dicom.lesion_findings import findings_of
from modality_conversion.image_io import write_image
from modality_conversion.lesions import check_lesions
from modality_conversion.modality import Modality
from test_dicom_write import valid

pytestmark = pytest.mark.usefixtures("own_models_only")
ONE, TWO = Ball((20, 40, 25), 7.0, 50.0), Ball((44, 30, 30), 9.0, 60.0)
HEAD = HeadScan((ONE, TWO))
PLACES = {tuple(HEAD.scan().TransformIndexToPhysicalPoint(ball.centre)) for ball in (ONE, TWO)}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A T1 with two lesions in DICOM, their outline beside it, and a model that returns its input."""
    write_bundle(tmp_path / "models" / "copy", graphs.identity)
    write_series(tmp_path / "study", sitk.Cast(HEAD.scan(), sitk.sitkInt16), study="1.2", series="1.2.3")
    write_image(HEAD.mask(), tmp_path / "outline.nii.gz")
    return tmp_path / "study"


def read(path: Path) -> Any:
    highdicom = pytest.importorskip("highdicom")
    return highdicom.sr.srread(path)


def words(report: Any) -> str:
    return " ".join(element.value for element in report.iterall() if element.keyword == "TextValue")


def test_each_lesion_stands_in_the_report_at_its_place_with_its_volume(
    tmp_path: Path, study: Path, run: Runner
) -> None:
    path, out = tmp_path / "check.dcm", tmp_path / "synthetic"
    known = ("--lesions", tmp_path / "outline.nii.gz")
    outcome = run("convert", study, "--to", "T2", "--out", out, "--lesion-report", path, *known)
    assert outcome.code == 0, outcome.err
    valid(path)
    report = read(path)
    groups = report.content.get_planar_roi_measurement_groups()
    found = [np.asarray(group.roi.value)[0] for group in groups]
    assert len(found) == 2
    for place in PLACES:  # a voxel within the lesion, not its centre
        assert min(np.linalg.norm(place - one) for one in found) < 9
    volumes = sorted(group.get_measurements()[0].value for group in groups)
    drawn = sorted(HEAD.where(ball).sum() * 2.5**3 / 1000 for ball in (ONE, TWO))
    np.testing.assert_allclose(volumes, drawn, rtol=1e-3)
    assert {group.get_qualitative_evaluations()[0].value.value for group in groups} == {"KEPT"}
    assert "2 lesions: 2 kept" in words(report)
    assert "Not for diagnosis" in words(report)
    assert not [name for name in tmp_path.iterdir() if "partial" in name.name]


def test_the_report_refers_to_the_scan_and_to_the_synthetic_series(tmp_path: Path, study: Path, run: Runner) -> None:
    path, out = tmp_path / "check.dcm", tmp_path / "synthetic"
    known = ("--lesions", tmp_path / "outline.nii.gz")
    assert run("convert", study, "--to", "T2", "--out", out, "--lesion-report", path, *known).code == 0
    report = pydicom.dcmread(path)
    assert report.StudyInstanceUID == "1.2"
    named = {
        image.ReferencedSOPInstanceUID
        for entry in report.CurrentRequestedProcedureEvidenceSequence
        for series in entry.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }
    both = [*study.iterdir(), *out.iterdir()]
    assert named == {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in both}


def test_places_that_nobody_outlined_are_no_lesions(tmp_path: Path, study: Path, run: Runner) -> None:
    path = tmp_path / "check.dcm"
    outcome = run("convert", study, "--to", "T2", "--out", tmp_path / "out.mha", "--lesion-report", path)
    assert outcome.code == 0, outcome.err
    valid(path)
    report = read(path)
    codes = {element.value for element in report.iterall() if element.keyword == "CodeValue"}
    assert "52988006" not in codes  # SNOMED's lesion
    assert codes & {"PLACE", "NOT_OUTLINED"}
    assert "nobody knows whether they were kept" in words(report)


def test_a_check_that_cannot_be_made_is_no_report_without_lesions(tmp_path: Path, study: Path, run: Runner) -> None:
    write_series(tmp_path / "flat", sitk.Cast(HEAD.scan() * 0, sitk.sitkInt16))
    path = tmp_path / "check.dcm"
    outcome = run("convert", tmp_path / "flat", "--to", "T2", "--out", tmp_path / "o.mha", "--lesion-report", path)
    assert outcome.code == 0, outcome.err
    valid(path)
    codes = {element.value for element in read(path).iterall() if element.keyword == "CodeValue"}
    assert "NOT_CHECKED" in codes
    assert "NONE" not in codes
    assert "Lesions were not checked" in words(read(path))


def test_a_report_in_dicom_needs_a_scan_in_dicom(tmp_path: Path, study: Path, run: Runner) -> None:
    write_image(HEAD.scan(), tmp_path / "scan.nii.gz")
    asked = ("convert", tmp_path / "scan.nii.gz", "--from", "T1", "--to", "T2", "--out", tmp_path / "o.mha")
    failed(run(*asked, "--lesion-report", tmp_path / "check.dcm"), 1, ".html for a lesion report")
    failed(run(*asked, "--lesion-report", tmp_path / "check.txt"), 1, "is not a page's name")
    assert not (tmp_path / "o.mha").exists()


def test_contrast_is_a_ratio_on_mr_and_a_difference_on_ct() -> None:
    check = check_lesions(
        HEAD.scan(),
        HEAD.scan(),
        real_modality=Modality.T1,
        synthetic_modality=Modality.CT,
        real_lesions=HEAD.mask(TWO),
        zone=HEAD.brain(),
    )
    (finding,) = findings_of(check)
    (lesion,) = check.lesions
    assert finding.in_hu == (False, True)
    assert lesion.real is not None
    assert lesion.synthetic is not None
    assert finding.contrast_real == pytest.approx(lesion.real.mean / lesion.real.around)
    assert finding.contrast_synthetic == pytest.approx(TWO.value, abs=6)
