"""Reading, refusing and writing: files as they come, disks as they are."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from modality_conversion import image_io
from modality_conversion.errors import ConversionError
from modality_conversion.image_io import (
    WRITABLE,
    check_output_path,
    read_image,
    replacing,
    save_json,
    scan_hash,
    write_image,
)
from modality_conversion.nifti import place_unknown
from volumes import geometry, noise

GRID = sitk.Image([20, 21, 22], sitk.sitkFloat32)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(path: Path, match: str) -> None:
    with pytest.raises(ConversionError, match=match) as error:
        read_image(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# --- reading ------------------------------------------------------------------------------------------------------------


def test_a_missing_file_a_folder_and_a_strange_ending_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.nii", "does not exist")
    refused(tmp_path, "is a folder")
    (tmp_path / "scan.dcm").write_text("x")
    refused(tmp_path / "scan.dcm", r"Use one of .*\.nrrd")


@pytest.mark.parametrize("ending", WRITABLE)
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole{ending}"
    write_image(noise(GRID), whole)
    read_image(whole)
    for share in (0.3, 0.9, 0.999):
        cut = tmp_path / f"cut{ending}"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        refused(cut, "cut short|not what its name says")


@pytest.mark.parametrize("ending", WRITABLE)
@pytest.mark.parametrize("content", [b"", b"this is a text\n" * 40, gzip.compress(b"a text\n" * 100, mtime=0)])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"text{ending}").write_bytes(content)
    refused(tmp_path / f"text{ending}", "not what its name says|damaged|cut short")


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, kind: str = "Nifti1Image") -> Path:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(getattr(nibabel, kind)(array, np.eye(4) if affine is None else affine), path)
    return path


def test_a_sheared_grid_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.4
    refused(save_nifti(tmp_path / "sheared.nii.gz", np.ones((5, 6, 7), np.float32), affine), "sheared")
    image = noise(GRID)
    sheared = sitk.Image(image)
    sheared.SetDirection((1, 0.1, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(ConversionError, match="sheared"):
        image_io.check_image(sheared, "It")


def test_a_time_series_is_refused_and_an_empty_time_axis_is_not(tmp_path: Path) -> None:
    refused(save_nifti(tmp_path / "series.nii", np.ones((5, 6, 7, 3), np.float32)), "4 dimensions")
    assert read_image(save_nifti(tmp_path / "one.nii", np.ones((5, 6, 7, 1), np.float32))).GetSize() == (5, 6, 7)


def test_grids_that_are_not_finite_are_refused() -> None:
    image = noise(GRID)
    image.SetOrigin((0, float("inf"), 0))
    with pytest.raises(ConversionError, match="not finite"):
        image_io.check_image(image, "It")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_missing_voxels_of_a_nifti_stay_missing(tmp_path: Path, ending: str) -> None:
    """ITK's reader would make zeros of them."""
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    array[1, 2, 3], array[0, 0, 0] = np.nan, np.inf
    read = sitk.GetArrayFromImage(read_image(save_nifti(tmp_path / f"gaps{ending}", array))).transpose()
    np.testing.assert_array_equal(np.isfinite(read), np.isfinite(array))
    np.testing.assert_array_equal(read[np.isfinite(array)], array[np.isfinite(array)])


def test_nifti_2_is_refused_by_its_name(tmp_path: Path) -> None:
    refused(save_nifti(tmp_path / "two.nii", np.ones((4, 5, 6), np.float32), kind="Nifti2Image"), "NIfTI-2")


def test_a_nifti_with_nothing_but_nan_is_refused(tmp_path: Path) -> None:
    refused(save_nifti(tmp_path / "nan.nii.gz", np.full((4, 5, 6), np.nan, np.float32)), "no number in any voxel")


def test_a_big_endian_nifti_is_read(tmp_path: Path) -> None:
    array = np.arange(60, dtype=">f4").reshape(3, 4, 5)
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(array, np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "big.nii")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "big.nii")).transpose(), array)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(noise(GRID), tmp_path / "mine.nii")

    def denied(self: Path, mode: str) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    refused(tmp_path / "mine.nii", "Permission denied")


def test_the_hash_of_a_scan_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"abc" * 1_000_000)
    assert scan_hash(tmp_path / "a.nii") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_the_hash_of_a_scan_in_two_files_depends_on_both(tmp_path: Path, ending: str) -> None:
    hashes = set()
    for seed in (0, 1):
        sitk.WriteImage(noise(GRID, seed=seed), str(tmp_path / f"scan{ending}"))
        hashes.add(scan_hash(tmp_path / f"scan{ending}"))
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("ending", "named"),
    [
        (".mhd", "ElementDataFile = LIST\n{0}\n{1}\n"),
        (".mhd", "ElementDataFile = slice%02d.raw 0 1 1\n"),
        (".nhdr", "data file: LIST\n{0}\n{1}\n"),
        (".nhdr", "data file: slice%02d.raw 0 1 1\n"),
        (".nhdr", "data file: slice%02d.raw 1 0 -1\n"),
    ],
)
def test_the_hash_of_a_scan_in_many_files_depends_on_each(tmp_path: Path, ending: str, named: str) -> None:
    slices = ["slice00.raw", "slice01.raw"]
    common = {
        ".mhd": "ObjectType = Image\nNDims = 3\nDimSize = 4 5 2\nElementType = MET_UCHAR\n",
        ".nhdr": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 5 2\nencoding: raw\n",
    }[ending]
    scan = tmp_path / f"scan{ending}"
    scan.write_text(common + named.format(*slices), encoding="ascii")
    hashes = set()
    for content in ((0, 0), (1, 0), (0, 1)):
        for name, value in zip(slices, content, strict=True):
            (tmp_path / name).write_bytes(bytes([value]) * 20)
        assert sorted(sitk.GetArrayFromImage(read_image(scan))[:, 0, 0].tolist()) == sorted(content)
        hashes.add(scan_hash(scan))
    assert len(hashes) == 3


@pytest.mark.parametrize(
    "named", ["%d%s.raw 0 1 1", "s%d.raw 1 2 three", "s%d.raw 0 9 0", "s%c.raw 300 301 1", "s%09999999d.raw 0 9 1"]
)
def test_a_pattern_that_names_no_files_is_hashed_as_it_stands(tmp_path: Path, named: str) -> None:
    (tmp_path / "scan.mhd").write_text(f"ElementDataFile = {named}\n", encoding="ascii")
    assert scan_hash(tmp_path / "scan.mhd") == hashlib.sha256((tmp_path / "scan.mhd").read_bytes()).hexdigest()


@pytest.mark.parametrize("named", ["s%02d.raw", "s%02d.raw 1", "s%02d.raw 0 1", "s%02d.raw 0 1 0", "s%02d.raw 0 1 x"])
def test_a_pattern_that_would_end_the_process_or_be_guessed_is_refused(tmp_path: Path, named: str) -> None:
    header = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 2\nElementType = MET_UCHAR\n"
    (tmp_path / "scan.mhd").write_text(f"{header}ElementDataFile = {named}\n", encoding="ascii")
    for number in range(3):
        (tmp_path / f"s{number:02}.raw").write_bytes(bytes(20))
    refused(tmp_path / "scan.mhd", "lacks numbers")


@pytest.mark.parametrize("value", [1.0, np.nan])
@pytest.mark.parametrize(("codes", "unknown"), [((0, 0), True), ((1, 0), False), ((0, 2), False)])
def test_a_nifti_that_does_not_say_where_it_lies_is_told_apart(
    tmp_path: Path, codes: tuple[int, int], unknown: bool, value: float
) -> None:
    image = noise(GRID)
    image[1, 2, 3] = value
    sitk.WriteImage(image, str(tmp_path / "scan.nii"))
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    struct.pack_into("<2h", content, 252, *codes)
    (tmp_path / "scan.nii").write_bytes(content)
    assert place_unknown(read_image(tmp_path / "scan.nii")) is unknown


def test_other_formats_say_where_they_lie(tmp_path: Path) -> None:
    write_image(noise(GRID), tmp_path / "scan.nrrd")
    assert not place_unknown(read_image(tmp_path / "scan.nrrd"))


@pytest.mark.parametrize(
    ("offset", "value"), [(108, float("nan")), (108, float("inf")), (108, -10.0), (70, 64), (40, -3)]
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_damaged_header_is_one_clear_line_or_read_as_itk_does(
    tmp_path: Path, offset: int, value: float, ending: str
) -> None:
    write_image(noise(GRID), tmp_path / "whole.nii")
    content = bytearray((tmp_path / "whole.nii").read_bytes())
    struct.pack_into("<f" if isinstance(value, float) else "<h", content, offset, value)
    (tmp_path / f"odd{ending}").write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with contextlib.suppress(ConversionError):  # and nothing else
        read_image(tmp_path / f"odd{ending}")


def test_a_gzip_whose_check_sum_is_wrong_is_refused(tmp_path: Path) -> None:
    write_image(noise(GRID, dtype=np.int16), tmp_path / "scan.nii.gz")
    content = bytearray((tmp_path / "scan.nii.gz").read_bytes())
    content[-6] ^= 1
    (tmp_path / "scan.nii.gz").write_bytes(content)
    refused(tmp_path / "scan.nii.gz", "damaged")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"scan\xff.mha")
    path.touch()
    with pytest.raises(ConversionError, match="Rename it"):
        read_image(path)
    with pytest.raises(ConversionError, match="Rename it"):
        check_output_path(path)


# --- writing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", WRITABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_what_is_written_is_read_back(tmp_path: Path, ending: str, dtype: type) -> None:
    image = noise(GRID, dtype=dtype) if dtype != np.uint8 else sitk.Cast(noise(GRID) / 5, sitk.sitkUInt8)
    image.SetSpacing((0.7, 1.1, 3))
    write_image(image, tmp_path / f"out{ending}", {"ITK_FileNotes": "SYNTHETIC", "synthetic": "YES"})
    back = read_image(tmp_path / f"out{ending}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    assert geometry(back)[0] == geometry(image)[0]
    key = "ITK_FileNotes" if ending.startswith(".nii") else "synthetic"
    assert back.GetMetaData(key) in ("SYNTHETIC", "YES")
    assert not image.HasMetaDataKey("synthetic")  # the caller's image is as it was
    assert names(tmp_path) == [f"out{ending}"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_image(noise(GRID), tmp_path / "out.nii")
    assert (tmp_path / "out.nii").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_outputs_that_cannot_be_are_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConversionError, match="does not exist"):
        check_output_path(tmp_path / "none" / "out.nii.gz")
    with pytest.raises(ConversionError, match=r"Use one of .*\.mha"):
        check_output_path(tmp_path / "out.mhd")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(ConversionError, match="is a folder"):
        check_output_path(tmp_path / "folder.nii")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConversionError, match="cannot be written to"):
        check_output_path(tmp_path / "out.nii")


def fill_the_disk() -> None:
    """From here on this process can write files of at most 20 kB."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.skipif(os.name == "nt", reason="limits are set the POSIX way")
@pytest.mark.parametrize("ending", WRITABLE)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    old = tmp_path / f"out{ending}"
    write_image(sitk.Image([2, 2, 2], sitk.sitkFloat32), old)
    before = old.read_bytes()
    code = (
        "import numpy as np, SimpleITK as sitk; from modality_conversion.image_io import write_image;"
        "image = sitk.GetImageFromArray(np.random.default_rng(0).random((40, 40, 40)));"
        f"write_image(image, {str(old)!r})"
    )
    package = Path(image_io.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=fill_the_disk,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ConversionError" in done.stderr
    assert "Free some space" in done.stderr
    assert old.read_bytes() == before
    assert names(tmp_path) == [old.name]


def test_a_writer_that_writes_something_else_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(GRID)
    monkeypatch.setattr(image_io, "_read", lambda path: image * 2)
    with pytest.raises(ConversionError, match="not what should be there"):
        write_image(image, tmp_path / "out.nii")
    assert names(tmp_path) == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with replacing(path) as partial:
        save_json({"old": 1}, partial)
    with pytest.raises(TypeError), replacing(path) as partial:
        save_json({"new": object()}, partial)
    assert '"old"' in path.read_text()
    assert names(tmp_path) == ["a.json"]


def test_a_folder_that_refuses_new_files_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**options: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_io.tempfile, "mkstemp", denied)
    with pytest.raises(ConversionError, match="Permission denied"), replacing(tmp_path / "a.json"):
        pytest.fail("there is nothing to write to")
