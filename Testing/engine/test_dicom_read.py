"""DICOM in: series found, told apart, put onto a grid, or refused with the reason."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

import dicom_series
from dicom_series import PATIENT, enhanced, gdcm_image, head, write_series
from modality_conversion.dicom import DicomScan, choose, find_volumes, is_dicom, read_volume
from modality_conversion.errors import Cancelled, ConversionError
from modality_conversion.modality import Modality
from volumes import filled, geometry


def read(folder: Path, series: str | None = None, modality: Modality | None = None) -> DicomScan:
    return read_volume(choose(find_volumes(folder), series, modality))


def refused(folder: Path, words: str, series: str | None = None, modality: Modality | None = None) -> str:
    with pytest.raises(ConversionError, match=words) as caught:
        read(folder, series, modality)
    assert "Zo" not in str(caught.value)  # the patient's name
    assert "S3CR3T" not in str(caught.value)
    return str(caught.value)


def voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def same_place(image: sitk.Image, other: sitk.Image) -> None:
    assert image.GetSize() == other.GetSize()
    for ours, theirs in zip(geometry(image)[1:], geometry(other)[1:]):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_series_has_the_voxels_and_the_place_that_gdcm_reads(tmp_path):
    image = head()
    write_series(tmp_path, image)
    scan = read(tmp_path)
    np.testing.assert_array_equal(voxels(scan.image), voxels(image))
    same_place(scan.image, image)
    same_place(scan.image, gdcm_image(tmp_path))
    assert scan.volume.found.modality is Modality.T1


def test_slices_are_sorted_by_place_not_by_name_or_number(tmp_path):
    image = head()
    paths = write_series(tmp_path, image, change=lambda dataset, k: setattr(dataset, "InstanceNumber", 99 - k))
    for number, path in enumerate(reversed(paths)):
        path.rename(tmp_path / f"a{number:03} scan é.dcm")
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(image))


def test_a_ct_is_in_hounsfield_units_without_its_padding(tmp_path):
    image = head() - 900

    def pad(dataset, k):
        pixels = np.frombuffer(dataset.PixelData, "<i2").copy()
        pixels[:7] = -2000
        dataset.PixelData = pixels.tobytes()

    write_series(tmp_path, image, "CT", change=pad, intercept=-1024, PixelPaddingValue=-2000)
    found = voxels(read(tmp_path).image)
    expected = voxels(image)
    expected.reshape(len(expected), -1)[:, :7] = 0
    mask = np.ones(expected.shape, bool)
    mask.reshape(len(expected), -1)[:, :7] = False
    np.testing.assert_array_equal(found[mask], expected[mask])
    assert found[~mask].min() >= expected[mask].min()


def test_a_fractional_rescale_of_each_slice_is_applied(tmp_path):
    image = head()

    def scale(dataset, k):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(0.5 + k / 4), str(-k)

    write_series(tmp_path, image, change=scale)
    slopes = 0.5 + np.arange(12)[:, None, None] / 4
    expected = voxels(image) * slopes - np.arange(12)[:, None, None]
    found = read(tmp_path).image
    np.testing.assert_allclose(voxels(found), expected, rtol=1e-6)
    np.testing.assert_allclose(voxels(found), voxels(gdcm_image(tmp_path)), rtol=1e-5)


def test_values_beyond_16_bits_after_the_rescale_are_kept(tmp_path):
    image = head()
    write_series(
        tmp_path, image, change=lambda dataset, k: setattr(dataset, "RescaleSlope", "100"), RescaleIntercept="0"
    )
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(image).astype(int) * 100)


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_an_enhanced_multi_frame_file_is_the_same_volume(tmp_path, modality):
    image = head()
    paths = write_series(tmp_path / "single", image, modality)
    enhanced(tmp_path / "multi", paths)
    for given in (tmp_path / "multi", tmp_path / "multi" / "enhanced.dcm"):
        scan = read(given)
        np.testing.assert_array_equal(voxels(scan.image), voxels(image))
        same_place(scan.image, image)
        assert sorted(frame.number for frame in scan.frames) == list(range(1, 13))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_series_are_read(tmp_path, syntax):
    image = head((64, 64, 3))
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(image))


def test_jpeg_of_the_older_kind_is_read_through_gdcm(tmp_path):
    dcmcjpeg = shutil.which("dcmcjpeg")
    if dcmcjpeg is None:
        pytest.skip("dcmcjpeg of DCMTK is not on this machine")
    import subprocess

    image = head()
    for path in write_series(tmp_path, image):
        subprocess.run([dcmcjpeg, "+e1", path, path], check=True, capture_output=True)
    assert pydicom.dcmread(tmp_path / "IM0000.dcm").file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(image))


def test_two_echoes_are_two_volumes_told_apart_by_their_times(tmp_path):
    image = head()
    series, study = generate_uid(), generate_uid()
    common = {"series": series, "study": study, "SeriesDescription": "dual echo", "ScanningSequence": "SE"}
    write_series(tmp_path / "a", image, RepetitionTime="2500", EchoTime="20", **common)
    write_series(tmp_path / "b", image + 5, RepetitionTime="2500", EchoTime="90", **common)
    assert [volume.id for volume in find_volumes(tmp_path).volumes] == [f"{series}#1", f"{series}#2"]
    np.testing.assert_array_equal(voxels(read(tmp_path, modality=Modality.T2).image), voxels(image) + 5)
    np.testing.assert_array_equal(voxels(read(tmp_path, modality=Modality.PD).image), voxels(image))
    np.testing.assert_array_equal(voxels(read(tmp_path, f"{series}#2").image), voxels(image) + 5)
    refused(tmp_path, "2 volumes that it could be", series)


def test_time_points_at_one_place_are_volumes_of_their_own(tmp_path):
    image = head()
    series = generate_uid()
    for number in (1, 2, 3):
        write_series(tmp_path / str(number), image + number, series=series, study="1.2", AcquisitionNumber=number)
    listing = find_volumes(tmp_path)
    assert [len(volume.frames) for volume in listing.volumes] == [12, 12, 12]
    assert not any(volume.refusal for volume in listing.volumes)
    np.testing.assert_array_equal(voxels(read(tmp_path, f"{series}#3").image), voxels(image) + 3)


def test_echoes_of_a_multi_frame_file_are_told_apart(tmp_path):
    image = head()
    path = enhanced(tmp_path, write_series(tmp_path / "single", image))
    shutil.rmtree(tmp_path / "single")
    dataset = pydicom.dcmread(path)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        echo = pydicom.Dataset()
        echo.EffectiveEchoTime = 10.0 if number % 2 else 90.0
        group.MREchoSequence = [echo]
    dataset.save_as(path)
    volumes = find_volumes(path).volumes
    assert [len(volume.frames) for volume in volumes] == [6, 6]
    scan = read(path, volumes[1].id)
    slices = [image.TransformPhysicalPointToIndex(frame.position)[2] for frame in scan.frames]
    assert {frame.number % 2 for frame in scan.frames} == {0}
    np.testing.assert_array_equal(voxels(scan.image), voxels(image)[slices])


def test_the_same_file_twice_counts_once(tmp_path):
    image = head()
    paths = write_series(tmp_path, image)
    shutil.copy(paths[3], tmp_path / "copy of 3.dcm")
    scan = read(tmp_path)
    np.testing.assert_array_equal(voxels(scan.image), voxels(image))
    assert "copies" in scan.volume.notes[0]


def test_a_series_is_chosen_among_many_by_its_name_or_by_what_it_is(tmp_path):
    t1, t2 = head(), head() + 9
    write_series(tmp_path / "one folder", t1, study="1.2", series="1.2.3", names="first {:03}.dcm")
    tags = {"SeriesDescription": "t2_tse", "ScanningSequence": "SE", "RepetitionTime": "4000", "EchoTime": "100"}
    write_series(tmp_path / "one folder", t2, study="1.2", series="1.2.4", names="second {:03}", **tags)
    (tmp_path / "one folder" / "Lies mich é.txt").write_text("no DICOM")
    np.testing.assert_array_equal(voxels(read(tmp_path, "1.2.4").image), voxels(t2))
    np.testing.assert_array_equal(voxels(read(tmp_path, modality=Modality.T2).image), voxels(t2))
    said = refused(tmp_path, "Say which with --series")
    assert "1.2.3 (T1" in said
    assert "1.2.4 (T2" in said
    refused(tmp_path, "has no series 1.2.9", "1.2.9")


def test_scouts_and_maps_are_not_taken_for_the_scan(tmp_path):
    image = head()
    write_series(tmp_path / "scan", image)
    write_series(tmp_path / "map", image, ImageType=["DERIVED", "PRIMARY", "ADC"], SeriesDescription="t1 adc")
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(image))


def test_a_synthetic_series_is_no_source_unless_it_is_asked_for(tmp_path):
    write_series(tmp_path, head(), series="1.2.3", SyntheticData="YES")
    refused(tmp_path, "synthetic series only")
    assert read(tmp_path, "1.2.3").volume.is_synthetic


def test_a_series_that_promises_more_images_says_so(tmp_path):
    write_series(tmp_path, head(), ImagesInAcquisition="14")
    assert read(tmp_path).volume.notes == ("The series says that it has 14 images; 12 were found.",)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_missing_slice_is_refused_with_its_place(tmp_path):
    paths = write_series(tmp_path, head())
    paths[5].unlink()
    refused(tmp_path, "lacks 1 slice, the first between slices 5 and 6 of 11")
    paths[8].unlink()
    refused(tmp_path, "lacks 2 slices")


def test_uneven_slices_are_refused(tmp_path):
    def shift(dataset, k):
        if k > 6:
            dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + 2

    write_series(tmp_path, head(oblique=False), change=shift)
    refused(tmp_path, "uneven distances, from 7.00 to 9.00 mm")


def test_two_different_images_at_one_place_are_refused(tmp_path):
    paths = write_series(tmp_path, head())
    dataset = pydicom.dcmread(paths[4])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PixelData = dataset.PixelData[::-1]
    dataset.save_as(tmp_path / "another.dcm")
    refused(tmp_path, "1 slice too many")


def test_one_identifier_for_two_images_is_refused(tmp_path):
    paths = write_series(tmp_path, head())
    dataset = pydicom.dcmread(paths[4])
    dataset.PixelData = dataset.PixelData[::-1]
    dataset.save_as(tmp_path / "another.dcm")
    refused(tmp_path, "under one identifier but not the same")


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path):
    def tilt(dataset, k):
        position = list(map(float, dataset.ImagePositionPatient))
        position[1] += k * 7 * np.tan(np.radians(15))
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]

    write_series(tmp_path, head(oblique=False), "CT", change=tilt)
    refused(tmp_path, "tilted gantry: its slices shift sideways by 15.0 degrees")


def test_positions_that_are_rounded_to_a_tenth_are_no_tilt_and_no_gap(tmp_path):
    def rounded(dataset, k):
        dataset.ImagePositionPatient = [f"{float(value):.1f}" for value in dataset.ImagePositionPatient]

    image = head(spacing=0.9)
    write_series(tmp_path, image, change=rounded)
    np.testing.assert_allclose(read(tmp_path).image.GetSpacing(), image.GetSpacing(), rtol=0.02)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "in colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ({"ImagePositionPatient": None}, "does not say where its slices lie"),
        ({"ImageOrientationPatient": None}, "does not say where its slices lie"),
        ({"PixelSpacing": None}, "does not say where its slices lie"),
        ({"PixelSpacing": ["0", "1"]}, "no sizes"),
        ({"ImageOrientationPatient": ["1", "0", "0", "0.5", "0.5", "0"]}, "unit vectors"),
        ({"ImageOrientationPatient": ["1", "0", "0", "0.6", "0.8", "0"]}, "not at right angles"),
        ({"ImageOrientationPatient": ["0", "0", "0", "0", "0", "0"]}, "unit vectors"),
        ({"TransferSyntax": "1.2.840.10008.1.2.4.100"}, "cannot be decoded here"),
    ],
)
def test_what_no_volume_can_be_made_of_is_refused_with_the_reason(tmp_path, tags, words):
    tags = dict(tags)
    syntax = tags.pop("TransferSyntax", None)

    def change(dataset, k):
        if syntax:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3" + b"\0" * 100])
            dataset["PixelData"].is_undefined_length = True

    write_series(tmp_path, head(), change=change, **tags)
    refused(tmp_path, words)


def test_a_wrong_transfer_syntax_is_refused(tmp_path):
    for path in write_series(tmp_path, head()):
        content = path.read_bytes()
        # Told to be JPEG 2000, but not compressed; both identifiers have the same length in the file.
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    refused(tmp_path, "IM0000.dcm")


def test_an_image_without_pixels_is_refused_by_name(tmp_path):
    write_series(tmp_path, head(), change=lambda dataset, k: dataset.pop("PixelData") if k == 7 else None)
    refused(tmp_path, r"IM0007\.dcm has no image in it \(no PixelData\)")


@pytest.mark.parametrize("kept", [0.97, 0.6, 0.35, 0.2, 0.1])
def test_a_truncated_file_is_refused_by_name(tmp_path, kept):
    paths = write_series(tmp_path, head())
    content = paths[11].read_bytes()  # the last slice: a shorter volume would look right
    paths[11].write_bytes(content[: int(len(content) * kept)])
    refused(tmp_path, "IM0011")


def test_an_empty_file_named_as_dicom_is_refused_by_name(tmp_path):
    write_series(tmp_path, head())
    (tmp_path / "empty.dcm").touch()
    refused(tmp_path, "empty.dcm is no DICOM file")


def test_one_series_of_two_patients_is_refused(tmp_path):
    write_series(tmp_path, head(), change=lambda dataset, k: setattr(dataset, "PatientID", f"patient {k // 6}"))
    refused(tmp_path, "mixes images of 2 patients")


def test_two_patients_in_one_folder_have_to_be_chosen_from(tmp_path):
    write_series(tmp_path, head(), names="a{}.dcm", series="1.2.3")
    write_series(tmp_path, head() + 1, names="b{}.dcm", series="1.2.4", PatientID="another", PatientName="Else^Someone")
    refused(tmp_path, "holds 2 volumes that it could be")
    assert voxels(read(tmp_path, "1.2.4").image).min() >= 1


def test_one_slice_of_a_series_is_refused_and_the_folder_asked_for(tmp_path):
    paths = write_series(tmp_path, head())
    refused(paths[4], "Give the folder that holds them all")


def test_an_empty_folder_and_one_without_scans_are_refused(tmp_path):
    refused(tmp_path, "holds no CT, MR or PET scan in DICOM. Check")
    (tmp_path / "readme.txt").write_text("nothing")
    refused(tmp_path, "only 1 files of other kinds")
    shutil.copy(get_testdata_file("test-SR.dcm"), tmp_path)
    refused(tmp_path, "only 1 other DICOM objects")


def test_no_file_of_a_hostile_collection_ends_the_listing(tmp_path):
    """pydicom's own test files: broken, compressed in every way, colour, plans, reports, waveforms."""
    folder = Path(get_testdata_file("CT_small.dcm")).parent
    listing = find_volumes(folder)
    assert len(listing.volumes) > 5
    for volume in listing.volumes:
        with contextlib.suppress(ConversionError):  # any other exception is a fault
            assert read_volume(volume).image.GetDimension() == 3


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_dicom_costs_so_little_that_a_hundred_thousand_are_bounded(tmp_path):
    image = head()
    write_series(tmp_path / "scan", image)
    (tmp_path / "other").mkdir()
    one = tmp_path / "other" / "0.txt"
    one.write_text("no DICOM")
    # Names are cheap, files are not: the same few files under many names.
    names = [tmp_path / "other" / f"{n // 1000}" / f"{n}.txt" for n in range(2_000)]
    for folder in {path.parent for path in names}:
        folder.mkdir()
    for path in names:
        path.hardlink_to(one)
    started = time.process_time()
    listing = find_volumes(tmp_path)
    seconds = time.process_time() - started
    assert listing.foreign == 2_001
    assert len(listing.volumes) == 1
    assert seconds * 50 < 120


def test_looking_through_a_folder_tells_how_far_it_is_and_can_be_stopped(tmp_path):
    write_series(tmp_path, head())
    told: list[tuple[int, int]] = []
    find_volumes(tmp_path, lambda done, total: told.append((done, total)))
    assert told[0] == (0, 12)
    assert told[-1] == (12, 12)
    with pytest.raises(Cancelled):
        find_volumes(tmp_path, cancel=lambda: True)
    volume = choose(find_volumes(tmp_path))
    with pytest.raises(Cancelled):
        read_volume(volume, cancel=lambda: True)


def test_hidden_files_and_links_in_circles_are_left_alone(tmp_path):
    write_series(tmp_path, head())
    (tmp_path / "._IM0000.dcm").write_bytes(b"what a Mac leaves on a stick")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(find_volumes(tmp_path).volumes) == 1


def test_names_that_are_no_utf8_are_read(tmp_path):
    image = head()
    for number, path in enumerate(write_series(tmp_path, image)):
        path.rename(str(tmp_path / "IM\udce9") + str(number))
    np.testing.assert_array_equal(voxels(read(tmp_path).image), voxels(image))


def test_reading_changes_nothing_in_the_folder_and_says_nothing_of_the_patient(tmp_path, caplog, capfd, recwarn):
    broken = "Mu\u0000ller"
    paths = write_series(tmp_path, head(), change=lambda d, k: d.add_new(0x00101010, "AS", "S3CR3T-" + broken))
    caplog.clear()
    recwarn.clear()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
    for path in paths:
        path.chmod(0o400)
    tmp_path.chmod(0o500)
    read(tmp_path)
    tmp_path.chmod(0o700)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before
    said = caplog.text + "".join(capfd.readouterr()) + "".join(str(w.message) for w in recwarn)
    assert "S3CR3T" not in said
    assert PATIENT not in said


def test_what_is_dicom_is_seen_by_name_or_by_content(tmp_path):
    paths = write_series(tmp_path, head(), names="{}.0001")
    assert is_dicom(tmp_path)
    assert is_dicom(paths[0])
    assert is_dicom(Path("missing.dcm"))
    assert not is_dicom(Path("scan.nii.gz"))
    (tmp_path / "text").write_text("no")
    assert not is_dicom(tmp_path / "text")


def test_a_missing_path_and_a_missing_library_are_said(tmp_path, monkeypatch):
    with pytest.raises(ConversionError, match="does not exist"):
        find_volumes(tmp_path / "nowhere")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ConversionError, match=r"pip install 'modality-conversion\[dicom\]'"):
        find_volumes(tmp_path)


def test_the_helper_makes_what_it_says(tmp_path):
    """The series of these tests are judged by another reader, not by the code under test."""
    image = filled(head(), voxels(head()))
    write_series(tmp_path, image)
    np.testing.assert_array_equal(voxels(gdcm_image(tmp_path)), voxels(image))
    assert dicom_series.synthesised(tmp_path)[0].PatientName == PATIENT
