"""DICOM out: what a derived series, segmentation, map and report say, judged by other software."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from dicom_series import PATIENT, enhanced, gdcm_image, head, synthesised, write_series
from modality_conversion.dicom import DicomScan, choose, find_volumes, read_volume
from modality_conversion.dicom.lesion_report import LesionFinding, save_lesion_report
from modality_conversion.dicom.parametric_map import save_uncertainty
from modality_conversion.dicom.segmentation import save_segmentation
from modality_conversion.dicom.write import check_writable, rescale, stored
from modality_conversion.dicom.write import write_series as write_synthetic
from modality_conversion.errors import Cancelled, ConversionError
from modality_conversion.modality import Modality
from volumes import filled, geometry

REPORT: dict[str, Any] = {
    "modality": "T2",
    "units": "arbitrary",
    "window": 700.0,
    "level": 350.0,
    "source": {"modality": ["T1"]},
    "model": {"id": "a-model", "version": "1.2.3", "sha256": "ab" * 32, "title": "A model"},
    "engine_version": "9.9",
    "device": "cpu",
    "date": "2026-03-04T23:30:00+00:00",
    "notice": "Synthetic image. Not for diagnosis.",
}


def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"value": value, "scheme": scheme, "meaning": meaning}


def label(value: int, name: str, type: dict[str, str]) -> dict[str, Any]:
    category = code("49755003", "SCT", "Morphologically abnormal structure")
    return {"value": value, "name": name, "terminology": {"category": category, "type": type}}


LABELS = {
    **{key: value for key, value in REPORT.items() if key != "modality"},
    "labels": [
        label(3, "Tumor", code("108369006", "SCT", "Neoplasm")),
        label(7, "Oedema", code("79654002", "SCT", "Edema")),
        label(9, "Nothing here", code("6574001", "SCT", "Necrosis")),
    ],
}


@pytest.fixture
def image() -> sitk.Image:
    return head()


@pytest.fixture
def scan(tmp_path: Path, image: sitk.Image) -> DicomScan:
    write_series(tmp_path / "source", image)
    return read_volume(choose(find_volumes(tmp_path / "source")))


@pytest.fixture
def multi_frame(tmp_path: Path, image: sitk.Image) -> DicomScan:
    path = enhanced(tmp_path / "multi", write_series(tmp_path / "single", image))
    return read_volume(choose(find_volumes(path)))


def written(folder: Path, image: sitk.Image, scan: DicomScan, **report: Any) -> list[pydicom.Dataset]:
    folder.mkdir()
    write_synthetic(folder, image, {**REPORT, **report}, scan)
    return synthesised(folder)


def same_place(image: sitk.Image, other: sitk.Image) -> None:
    assert image.GetSize() == other.GetSize()
    for ours, theirs in zip(geometry(image)[1:], geometry(other)[1:]):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def valid(path: Path) -> None:
    """By dciodvfy of dicom3tools. The tag SyntheticData is younger than the version that Debian has."""
    dciodvfy = shutil.which("dciodvfy")
    if dciodvfy is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not on this machine")
    said = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False).stderr
    errors = [line for line in said.splitlines() if line.startswith("Error") and "(0x0008,0x001c)" not in line]
    assert not errors, said


# --- the series -------------------------------------------------------------------------------------------------------


def test_three_readers_see_the_series_where_the_source_lies(tmp_path, scan, image):
    made = sitk.Cast(image, sitk.sitkFloat32) * 1.37 + 2.5
    datasets = written(tmp_path / "out", made, scan)
    by_gdcm = gdcm_image(tmp_path / "out")
    same_place(by_gdcm, image)
    same_place(by_gdcm, scan.image)
    again = read_volume(choose(find_volumes(tmp_path / "out"), datasets[0].SeriesInstanceUID)).image
    assert geometry(again) == geometry(scan.image)
    for k, dataset in enumerate(datasets):
        source = pydicom.dcmread(scan.frames[k].path)
        for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            assert dataset[tag].value == source[tag].value, tag
        assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    step = (sitk.GetArrayViewFromImage(made).max()) / 65535
    for values in (sitk.GetArrayFromImage(by_gdcm), sitk.GetArrayFromImage(again)):
        np.testing.assert_allclose(values, sitk.GetArrayViewFromImage(made), atol=0.51 * step + 1e-4)


def test_the_series_says_what_it_is_and_where_it_comes_from(tmp_path, scan, image):
    datasets = written(tmp_path / "out", sitk.Cast(image, sitk.sitkFloat32), scan)
    sources = [pydicom.dcmread(frame.path) for frame in scan.frames]
    first, source = datasets[0], sources[0]
    assert len(datasets) == 12
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 12
    assert {dataset.SeriesInstanceUID for dataset in datasets} == {first.SeriesInstanceUID}
    assert first.SeriesInstanceUID != source.SeriesInstanceUID
    for tag in ("StudyInstanceUID", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate"):
        assert first[tag].value == source[tag].value
    assert str(first.PatientName) == PATIENT
    assert first.SOPClassUID.name == "MR Image Storage"
    assert first.SyntheticData == "YES"
    assert list(first.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert "not for diagnosis" in first.SeriesDescription
    assert first.SeriesDescription.startswith("SYNTHETIC T2 from T1")
    assert "a-model 1.2.3" in first.DerivationDescription
    assert "ab" * 32 in first.DerivationDescription
    assert first.Manufacturer == "ModalityConversion"
    for dataset, origin in zip(datasets, sources):
        reference = dataset.SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == origin.SOPInstanceUID
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    scanner, maker = first.ContributingEquipmentSequence
    assert (scanner.Manufacturer, scanner.DeviceSerialNumber) == ("Acme", "77")
    assert maker.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    algorithm = first.DerivationAlgorithmSequence[0]
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("a-model", "1.2.3")
    assert (first.WindowWidth, first.WindowCenter) == (700, 350)
    assert not first.EchoTime
    assert not first.RepetitionTime


def test_a_synthetic_ct_is_a_ct_in_hounsfield_units(tmp_path, scan, image):
    made = sitk.Cast(image, sitk.sitkFloat32) * 12.3 - 1024
    datasets = written(tmp_path / "out", made, scan, modality="CT", units="HU", window=400, level=40)
    assert datasets[0].SOPClassUID.name == "CT Image Storage"
    assert (datasets[0].Modality, datasets[0].RescaleType) == ("CT", "HU")
    values = sitk.GetArrayFromImage(gdcm_image(tmp_path / "out"))
    np.testing.assert_allclose(values, sitk.GetArrayViewFromImage(made).clip(-32768, 32767), atol=0.5)
    valid(tmp_path / "out" / "IM00005.dcm")


def test_a_synthetic_mr_is_valid(tmp_path, scan, image):
    written(tmp_path / "out", sitk.Cast(image, sitk.sitkFloat32), scan)
    valid(tmp_path / "out" / "IM00001.dcm")


def test_the_source_may_be_a_multi_frame_file(tmp_path, multi_frame, image):
    datasets = written(tmp_path / "out", sitk.Cast(image, sitk.sitkFloat32), multi_frame)
    same_place(gdcm_image(tmp_path / "out"), image)
    numbers = [int(dataset.SourceImageSequence[0].ReferencedFrameNumber) for dataset in datasets]
    assert numbers == [frame.number for frame in multi_frame.frames]
    valid(tmp_path / "out" / "IM00002.dcm")


def test_a_source_that_says_little_makes_a_valid_series_all_the_same(tmp_path, image):
    missing = (
        "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber SeriesNumber "
        "ReferringPhysicianName FrameOfReferenceUID PositionReferenceIndicator Manufacturer PatientPosition InstanceNumber"
    )

    def forget(dataset: pydicom.Dataset, k: int) -> None:
        for keyword in missing.split():
            dataset.pop(keyword, None)

    write_series(tmp_path / "source", image, change=forget)
    scan = read_volume(choose(find_volumes(tmp_path / "source")))
    first, second = (written(tmp_path / name, sitk.Cast(image, sitk.sitkFloat32), scan)[0] for name in ("a", "b"))
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID  # two results of one scan lie in one place
    said = tmp_path / "a" / "IM00001.dcm"
    if shutil.which("dciodvfy"):
        errors = subprocess.run(["dciodvfy", str(said)], capture_output=True, text=True, check=False).stderr
        # The position of the patient cannot be known; everything else is there, be it empty.
        assert set(re.findall(r"^Error.*Element=<(\w+)>", errors, re.MULTILINE)) <= {"PatientPosition"}


def test_values_that_break_the_rules_go_back_as_they_came_and_are_not_told(tmp_path, image, caplog, recwarn):
    write_series(tmp_path / "source", image, PatientID="X" * 70, StudyDate="S3CR3T", PatientAge="S3CR3T years")
    caplog.clear()
    recwarn.clear()
    scan = read_volume(choose(find_volumes(tmp_path / "source")))
    (tmp_path / "out").mkdir()
    write_synthetic(tmp_path / "out", image, REPORT, scan)
    said = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "S3CR3T" not in said
    assert "XXX" not in said
    assert synthesised(tmp_path / "out")[0].PatientID == "X" * 70


def test_a_lossy_source_stays_marked_as_lossy(tmp_path, image):
    write_series(tmp_path / "source", image, LossyImageCompression="01", LossyImageCompressionRatio="12")
    scan = read_volume(choose(find_volumes(tmp_path / "source")))
    assert written(tmp_path / "out", image, scan)[0].LossyImageCompression == "01"


def test_the_moment_is_told_in_the_time_zone_of_the_source(tmp_path, image):
    write_series(tmp_path / "source", image, TimezoneOffsetFromUTC="+0200")
    scan = read_volume(choose(find_volumes(tmp_path / "source")))
    made = written(tmp_path / "out", image, scan)[0]
    assert (made.SeriesDate, made.SeriesTime, made.TimezoneOffsetFromUTC) == ("20260305", "013000", "+0200")


@pytest.mark.parametrize("target", [Modality.PET])
def test_targets_without_an_image_object_are_refused(target):
    with pytest.raises(ConversionError, match="cannot be written as DICOM"):
        check_writable(target)


def test_writing_can_be_stopped(tmp_path, scan, image):
    with pytest.raises(Cancelled):
        write_synthetic(tmp_path, image, REPORT, scan, cancel=lambda: True)


@given(
    st.floats(-1e5, 1e5, allow_subnormal=False),
    st.floats(0, 1e6, allow_subnormal=False),
)
def test_values_come_back_to_one_step_in_65535(low, span):
    array = np.array([[low, low + span, low + span / 3]])
    slope, intercept = rescale(array)
    for number in (slope, intercept):
        assert len(f"{number:.10g}") <= 16
        assert float(f"{number:.10g}") == number
    back = stored(array, slope, intercept, False) * slope + intercept
    reach = array.max() - min(intercept, low)
    np.testing.assert_allclose(back, array, atol=max(0.51 * slope, 1e-9))
    assert slope <= max(reach / 65535 * 1.0001, 1.0 if span == 0 or reach == 0 else 0) + 1e-12


def test_whole_numbers_are_stored_as_they_are():
    array = np.array([0, 5, 4095], dtype=np.int16)
    assert rescale(array) == (1.0, 0.0)
    array = np.array([-7, 5, 4095], dtype=np.int16)
    assert rescale(array) == (1.0, -7.0)


# --- objects ----------------------------------------------------------------------------------------------------------


def labelled(image: sitk.Image) -> sitk.Image:
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array[3:6, 5:9, 4:12] = 3
    array[5:8, 12:19, 6:10] = 7
    return filled(image, array)


@pytest.mark.parametrize("kind", ["scan", "multi_frame"])
def test_labels_are_a_segmentation_with_their_meaning_and_place(tmp_path, image, kind, request):
    import highdicom

    scan = request.getfixturevalue(kind)
    labels, path = labelled(image), tmp_path / "labels.dcm"
    save_segmentation(path, labels, LABELS, scan)
    valid(path)
    found = highdicom.seg.segread(path)
    assert [segment.segment_label for segment in map(found.get_segment_description, (1, 2, 3))] == [
        "Tumor",
        "Oedema",
        "Nothing here",
    ]
    assert found.get_segment_description(1).segmented_property_type.value == "108369006"
    assert found.get_segment_description(1).SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "a-model"
    source = pydicom.dcmread(scan.frames[0].path)
    assert (found.StudyInstanceUID, found.FrameOfReferenceUID) == (source.StudyInstanceUID, source.FrameOfReferenceUID)
    assert str(found.PatientName) == PATIENT

    volume = found.get_volume(combine_segments=True)
    expected = {tuple(index): 1 for index in np.argwhere(sitk.GetArrayViewFromImage(labels) == 3)[:, ::-1]}
    expected |= {tuple(index): 2 for index in np.argwhere(sitk.GetArrayViewFromImage(labels) == 7)[:, ::-1]}
    there = {}
    for index in np.argwhere(volume.array):
        point = (volume.affine @ [*index, 1])[:3]
        there[image.TransformPhysicalPointToIndex(point.tolist())] = int(volume.array[tuple(index)])
    assert there == {tuple(map(int, index)): value for index, value in expected.items()}


def test_a_segmentation_without_a_voxel_is_written_all_the_same(tmp_path, scan, image):
    path = tmp_path / "labels.dcm"
    save_segmentation(path, filled(image, np.zeros(image.GetSize()[::-1], np.uint8)), LABELS, scan)
    assert len(pydicom.dcmread(path).SegmentSequence) == 3


def test_the_planes_of_a_segmentation_name_their_source(tmp_path, scan, image):
    path = tmp_path / "labels.dcm"
    save_segmentation(path, labelled(image), LABELS, scan)
    for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        (frame,) = (frame for frame in scan.frames if frame.instance == named)
        np.testing.assert_allclose(list(map(float, position)), frame.position, atol=1e-5)


@pytest.mark.parametrize("kind", ["scan", "multi_frame"])
def test_the_uncertainty_is_a_parametric_map_in_its_place(tmp_path, image, kind, request):
    scan, path = request.getfixturevalue(kind), tmp_path / "map.dcm"
    spread = sitk.Cast(image, sitk.sitkFloat32) * 0.01
    save_uncertainty(path, spread, {**REPORT, "modality": "CT", "units": "HU"}, scan)
    valid(path)
    found = pydicom.dcmread(path)
    assert (found.ContentQualification, found.SyntheticData) == ("RESEARCH", "YES")
    values = np.frombuffer(found.FloatPixelData, "<f4").reshape(-1, found.Rows, found.Columns)
    array = sitk.GetArrayViewFromImage(spread)
    for plane, group in zip(values, found.PerFrameFunctionalGroupsSequence):
        position = list(map(float, group.PlanePositionSequence[0].ImagePositionPatient))
        np.testing.assert_array_equal(plane, array[image.TransformPhysicalPointToIndex(position)[2]])
    mapping = found.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeMeaning == "Hounsfield unit"


def test_the_lesion_report_has_each_lesion_with_its_verdict(tmp_path, scan):
    import highdicom

    findings = [
        LesionFinding("kept", (-10.5, 20.25, 30.0), 0.75, 1.4, 1.3),
        LesionFinding("lost", (1.0, 2.0, 3.0), 0.2, 1.5, None),
    ]
    path = tmp_path / "report.dcm"
    save_lesion_report(path, findings, REPORT, scan)
    valid(path)
    found = highdicom.sr.srread(path)
    groups = found.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    np.testing.assert_allclose(groups[0].roi.value, [[-10.5, 20.25, 30.0]])
    assert groups[0].roi.frame_of_reference_uid == pydicom.dcmread(scan.frames[0].path).FrameOfReferenceUID
    assert groups[0].get_measurements()[0].value == 0.75
    verdicts = [group.get_qualitative_evaluations()[0].value.value for group in groups]
    assert verdicts == ["KEPT", "LOST"]
    assert (found.VerificationFlag, found.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "not for diagnosis" in found.SeriesDescription


def test_a_lesion_report_without_a_lesion_says_so(tmp_path, multi_frame):
    path = tmp_path / "report.dcm"
    save_lesion_report(path, [], REPORT, multi_frame)
    said = [element.value for element in pydicom.dcmread(path).iterall() if element.keyword == "TextValue"]
    assert any("there was nothing to check" in words for words in said)
    valid(path)


def test_a_missing_library_is_said(tmp_path, scan, image, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(ConversionError, match=r"pip install 'modality-conversion\[dicom\]'"):
        save_segmentation(tmp_path / "labels.dcm", labelled(image), LABELS, scan)
