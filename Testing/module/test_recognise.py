"""What a node is, and how that is told to the user."""

from __future__ import annotations

import slicer

from modality_conversion.modality import Modality
from ModalityConversionLib import marks
from ModalityConversionLib.recognise import recognise
from scenes import add_scan


def test_nothing_is_nothing(scene):
    assert recognise(None).modality is None


def test_the_name_says_it(scene):
    found = recognise(add_scan("sub-01_FLAIR"))
    assert found.modality is Modality.FLAIR
    assert "sub-01_FLAIR" in found.how


def test_dicom_tags_come_before_the_name(scene):
    slicer.dicomDatabase._add("1.2.3", "/archive/1.dcm", {"0008,0060": "MR", "0008,103E": "AX T2 TSE"})
    scan = add_scan("7: T1 something")
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    found = recognise(scan)
    assert found.modality is Modality.T2
    assert "SeriesDescription" in found.how


def test_tags_that_say_no_are_not_overruled_by_the_name(scene):
    slicer.dicomDatabase._add("1.2.3", "/archive/1.dcm", {"0008,0060": "MR", "0008,0008": "DERIVED\\PRIMARY\\ADC"})
    scan = add_scan("T2")
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert recognise(scan).modality is None


def test_tags_that_say_nothing_leave_it_to_the_name(scene):
    slicer.dicomDatabase._add("1.2.3", "/archive/1.dcm", {"0008,0060": "MR"})
    scan = add_scan("brain T1w")
    scan.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert recognise(scan).modality is Modality.T1


def test_a_node_attribute_says_it(scene):
    scan = add_scan("Volume")
    scan.SetAttribute("DICOM.Modality", "CT")
    found = recognise(scan)
    assert found.modality is Modality.CT
    assert "DICOM.Modality" in found.how


def test_the_file_it_was_read_from_says_it(scene, tmp_path):
    (tmp_path / "scan.json").write_text('{"modality": "PD"}')
    scan = add_scan("Volume")
    scan.AddDefaultStorageNode()
    scan.GetStorageNode().SetFileName(str(tmp_path / "scan.nii.gz"))
    assert recognise(scan).modality is Modality.PD


def test_our_own_mark_comes_first(scene):
    scan = add_scan("A T1, they say")
    marks.mark(scan, {"modality": "FLAIR"}, "image", None)
    assert recognise(scan).modality is Modality.FLAIR


def test_where_nothing_says_it_the_user_is_asked(scene):
    found = recognise(add_scan("Volume_7"))
    assert found.modality is None
    assert "Choose" in found.how
