"""DICOM that breaks the rules in ways that a reader may pass over: images that look right and are wrong, names that get out."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid

import graphs
from bundles import write_bundle
from command import Runner, failed
from dicom_series import PATIENT, enhanced, gdcm_image, head, write_series
from modality_conversion.dicom import choose, find_volumes, read_volume
from modality_conversion.dicom import find as find_module
from modality_conversion.dicom.library import quiet
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from test_batch import planned
from test_dicom_write import LABELS

pytestmark = pytest.mark.usefixtures("own_models_only")


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def read(folder: Path, modality: Modality | None = None) -> Any:
    return read_volume(choose(find_volumes(folder), None, modality))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Returns its input, with an uncertainty of 2."""
    return write_bundle(
        tmp_path / "models" / "copy",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, 2.0))),
        output={"uncertainty": {"channel": 1, "kind": "scale"}},
    )


# --- values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": "0"},
        {"RescaleSlope": "nan"},
        {"RescaleIntercept": "inf"},
        {"RescaleSlope": "one"},
        {"RescaleIntercept": ["1", "2"]},
    ],
)
@pytest.mark.parametrize("slices", [range(12), [5]])
def test_a_rescale_that_is_no_number_is_refused(tmp_path, tags, slices):
    def change(dataset, k):
        if k in slices:
            for keyword, value in tags.items():
                with_any_value(dataset, keyword, value)

    write_series(tmp_path, head(), "CT", change=change)
    with pytest.raises(ConversionError, match="turns its stored values into units"):
        read(tmp_path)


def with_any_value(dataset: pydicom.Dataset, keyword: str, value: Any) -> None:
    """Set a decimal string that pydicom would not take."""
    text = "\\".join(value) if isinstance(value, list) else value
    tag = pydicom.datadict.tag_for_keyword(keyword)
    dataset[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), "DS", len(text), text.ljust(len(text) + len(text) % 2).encode(), 0, False, True
    )


def test_a_ct_that_does_not_say_how_it_comes_to_hounsfield_units_says_so(tmp_path):
    def change(dataset, k):
        del dataset.RescaleSlope, dataset.RescaleIntercept

    write_series(tmp_path, head(), "CT", change=change)
    assert any("taken as Hounsfield units" in note for note in find_volumes(tmp_path).volumes[0].notes)
    write_series(tmp_path / "whole", head(), "CT")
    assert find_volumes(tmp_path / "whole").volumes[0].notes == ()


@pytest.mark.parametrize("signed", [True, False])
def test_values_of_twelve_bits_are_those_that_gdcm_reads(tmp_path, signed):
    """What stands in the four bits above is no part of the value: a sign that was not carried on, or an overlay."""

    def change(dataset, k):
        stored = np.frombuffer(dataset.PixelData, "<i2").astype(np.int32)
        stored = (stored - 900) if signed else stored
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, int(signed)
        above = 0 if signed else 0x3000
        dataset.PixelData = ((stored & 0x0FFF) | above).astype("<u2").tobytes()

    write_series(tmp_path, head(), change=change)
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(gdcm_image(tmp_path)))


def test_an_image_that_is_stored_inverted_is_refused_for_what_is_no_ct(tmp_path):
    write_series(tmp_path / "mr", head(), PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(ConversionError, match="MONOCHROME1"):
        read(tmp_path / "mr")
    write_series(tmp_path / "ct", head(), "CT", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(voxels(read(tmp_path / "ct").image), voxels(head()))  # Hounsfield units all the same


# --- frames ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["groups", "pixels", "count"])
def test_a_multi_frame_file_that_contradicts_itself_is_refused(tmp_path, lost):
    path = enhanced(tmp_path / "multi", write_series(tmp_path / "single", head()))
    dataset = pydicom.dcmread(path)
    if lost == "groups":
        dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:9]
    elif lost == "pixels":
        dataset.PixelData = dataset.PixelData[: 9 * 24 * 28 * 2]
    else:
        dataset.NumberOfFrames = 9
    dataset.save_as(path)
    with pytest.raises(ConversionError, match=r"enhanced\.dcm"):
        read(path, Modality.T1)


def test_a_size_that_no_memory_has_is_one_clear_line(tmp_path, model, run: Runner):
    def change(dataset, k):
        dataset.Rows = dataset.Columns = 65535
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "0"

    folder = tmp_path / "study"
    write_series(folder, sitk.GetImageFromArray(np.zeros((60, 2, 2), np.int16)), change=change)
    failed(run("convert", folder, "--to", "T2", "--out", tmp_path / "o.mha"), 1, "claims")
    assert not list(tmp_path.glob("o*"))


# --- folders --------------------------------------------------------------------------------------------------------------


def test_a_folder_of_many_series_is_looked_through_once_and_not_for_each_of_them(tmp_path, monkeypatch):
    for number in range(4):
        write_series(tmp_path / "in", head(), series=f"1.2.{number}", study="1.9", names=f"{number}-{{}}.dcm")
    opened: list[Path] = []
    add = find_module._add
    monkeypatch.setattr(find_module, "_add", lambda path, *rest: (opened.append(path), add(path, *rest))[1])
    made = planned(tmp_path / "in", tmp_path / "out")
    assert len(made.cases) == 4
    assert len(opened) == 48
    (tmp_path / "list.csv").write_text("input,series\n" + "".join(f"in,1.2.{number}\n" for number in range(4)))
    opened.clear()
    assert len(planned(tmp_path / "list.csv", tmp_path / "out").cases) == 4
    assert len(opened) == 48
    opened.clear()
    for case in made.cases:
        (found,) = find_volumes(case.source, only=case.siblings).volumes
        assert found.id == case.series
    assert len(opened) == 48


def test_the_volumes_of_one_series_keep_their_names_when_it_is_read_alone(tmp_path):
    series = generate_uid()
    for number in (2, 1, 3):  # in another order than their tags
        write_series(tmp_path / f"f{number}", head() + number, series=series, study="1.2", AcquisitionNumber=number)
    write_series(tmp_path / "f0", head(), study="1.2")
    for volume in find_volumes(tmp_path).volumes:
        alone = choose(find_volumes(tmp_path, only=volume.siblings), volume.id)
        assert alone.frames == volume.frames


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such files")
def test_a_named_pipe_is_no_scan_and_does_not_hang(tmp_path, model, run: Runner):
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    failed(run("convert", tmp_path / "pipe", "--from", "T1", "--to", "T2", "--out", tmp_path / "o.mha"), 1, "pipe")
    failed(run("series", tmp_path / "pipe"), 1, "pipe")
    assert time.monotonic() - started < 10


def test_thousands_of_images_that_all_differ_are_sorted_in_time_that_grows_with_their_number():
    """Echo times that are all different make as many volumes; each of them was once compared with all the others."""
    from modality_conversion.dicom.frame import Frame
    from modality_conversion.dicom.split import volumes_of

    def seconds(count: int) -> float:
        place = {"orientation": (1.0, 0, 0, 0, 1.0, 0), "spacing": (1.0, 1.0), "thickness": 1.0}
        frames = [
            Frame(
                Path(str(n)),
                None,
                "1",
                str(n),
                4,
                4,
                (0.0, 0.0, n),
                slope=1,
                intercept=0,
                told={"EchoTime": str(n)},
                **place,
            )
            for n in range(count)
        ]
        started = time.process_time()
        assert len(volumes_of("1", "2", frames, Path())) == count
        return time.process_time() - started

    seconds(100)
    assert seconds(4000) < 40 * max(seconds(400), 0.01)


# --- the patient ----------------------------------------------------------------------------------------------------------

BROKEN = {
    "PatientBirthDate": "S3CR3T",
    "PatientSex": "S3CR3T",
    "PatientAge": "S3CR3T of 37",
    "PatientWeight": "S3CR3T",
    "PatientSize": "S3CR3T",
    "StudyDate": "S3CR3T",
    "StudyTime": "S3CR3T",
    "SeriesNumber": "S3CR3T",
    "AccessionNumber": "S3CR3T" * 20,
    "StudyID": "S3CR3T" * 20,
    "PatientID": "S3CR3T" * 200,
    "FrameOfReferenceUID": "S3CR3T",
    "SoftwareVersions": "S3CR3T" * 40,
    "TimezoneOffsetFromUTC": "S3CR3T",
}
SECRETS = ("S3CR3T", "Müller", "Zoë", "M\\u00fcller")


def test_nothing_of_the_patient_is_said_by_any_output_that_is_no_dicom(tmp_path, model, run: Runner):
    """Values that break DICOM's rules are what libraries like to quote."""

    def change(dataset, k):
        for keyword, value in BROKEN.items():
            tag = pydicom.datadict.tag_for_keyword(keyword)
            content = value.encode().ljust(len(value) + len(value) % 2)
            vr = pydicom.datadict.dictionary_VR(tag)
            dataset[tag] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(tag), vr, len(content), content, 0, False, True
            )

    write_bundle(
        tmp_path / "models" / "bright",
        lambda path: graphs.linear(path, channels=((0.0, 0.0), (1.0, -300.0))),
        targets={},
        segmentation={"labels": LABELS["labels"][:1], "activation": "softmax"},
    )
    study, out = tmp_path / "study", tmp_path / "results"
    with quiet():
        write_series(study, head(), study="1.2", series="1.2.3", change=change)
    out.mkdir()
    said = ""
    whole = ("--uncertainty", out / "u.dcm", "--segmentation", out / "s.dcm", "--lesion-report", out / "l.dcm")
    for command in (
        ("convert", study, "--to", "T2", "--out", out / "series", "--report", out / "r.json", *whole),
        ("convert", study, "--to", "T2", "--out", out / "o.nrrd", "--lesion-report", out / "l.html", "--check-lesions"),
        ("series", study, "--json"),
        ("batch", study, "--to", "T2", "--out", tmp_path / "batch", "--workers", 1),
    ):
        outcome = run(*command)
        said += outcome.out + outcome.err
        assert outcome.code == 0, outcome.err
    for path in (*out.rglob("*"), *(tmp_path / "batch").rglob("*")):
        if path.is_file() and path.suffix not in (".dcm", ".png"):
            said += path.name + path.read_bytes().decode("latin-1") + path.read_bytes().decode("utf-8", "replace")
    said = said.replace(str(tmp_path), "")
    for secret in SECRETS:
        assert secret not in said, said[max(0, said.index(secret) - 300) : said.index(secret) + 100]
    assert PATIENT not in said
