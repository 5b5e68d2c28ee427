"""Unpaired folders: volumes or pictures, and nobody in training and test."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from modality_conversion.modality import Modality
from training.config import ConfigError, check
from training.data.cases import complete_cases
from training.data.layouts.unpaired import UnpairedFiles, UnpairedSource, find_unpaired, read_slice
from training.data.regions import Region
from training.data.scale import normalise_source
from training.data.unpaired_pack import UnpairedSettings, pack_unpaired


def find(folder: Path, **options: object) -> UnpairedFiles:
    return find_unpaired(check(UnpairedSource, {"folder": folder, "a": "T1", "b": "CT", **options}, "test.yaml"))


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(folder / name)


def volumes(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.Image(3, 3, 3, sitk.sitkFloat32), str(folder / name))


def test_pictures_are_sorted_by_number_and_known_by_person(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/anna_10.png", "trainA/anna_9.png", "trainB/bob-slice003.jpg", "testA/carl_1.PNG")
    found = find(tmp_path)
    assert found.slices
    assert [path.name for path in found.folders["trainA"]] == ["anna_9.png", "anna_10.png"]
    assert set(found.people.values()) == {"anna", "bob", "carl"}


def test_volumes_are_found_too(tmp_path: Path) -> None:
    volumes(tmp_path, "trainA/1.nii.gz", "trainA/2.nii.gz", "trainB/anna.nrrd")
    found = find(tmp_path)
    assert not found.slices
    assert sorted(found.people.values()) == ["1", "2", "anna"]


def test_a_person_in_training_and_test_is_refused_by_name(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/anna_1.png", "trainB/x.png", "testA/anna_2.png")
    with pytest.raises(ConfigError, match="anna are in trainA and testA"):
        find(tmp_path)
    assert find(tmp_path, person="(.+)").people[tmp_path / "testA" / "anna_2.png"] == "anna_2"


def test_an_empty_side_and_a_mixture_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/1.png")
    with pytest.raises(ConfigError, match=r"no scans in .*trainB"):
        find(tmp_path)
    volumes(tmp_path, "trainB/1.nii.gz")
    with pytest.raises(ConfigError, match="volumes and pictures"):
        find(tmp_path)


def test_eight_sixteen_bits_and_colour_are_read_to_the_same_scale(tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "rgb.png")
    for name in ("8", "16", "rgb"):
        assert read_slice(tmp_path / f"{name}.png") == pytest.approx(grey / 255, abs=1e-6)


def test_a_broken_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"broken\.png is no picture"):
        read_slice(tmp_path / "broken.png")


def test_an_empty_folder_is_no_side(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/1.png")
    (tmp_path / "trainB").mkdir()
    (tmp_path / "trainB" / "readme.txt").write_text("to be filled")
    with pytest.raises(ConfigError, match=r"no scans in .*trainB"):
        find(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_real_colours_become_the_grey_that_a_person_sees(tmp_path: Path, mode: str) -> None:
    """Luma of ITU-R BT.601, which Pillow weighs by."""
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]] * 2, np.uint8)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    options: Any = {"quality": 100, "subsampling": 0} if mode == "CMYK" else {}
    Image.fromarray(colours).convert(mode).save(path, **options)
    tolerance = 0.05 if mode in ("P", "CMYK") else 0.005
    np.testing.assert_allclose(read_slice(path), [[0.299, 0.587, 0.114, 1]] * 2, atol=tolerance)


@pytest.mark.parametrize("damage", ["cut short", "a chunk changed", "a size beyond all memory"])
def test_a_picture_that_is_damaged_inside_is_named(tmp_path: Path, damage: str) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    if damage == "cut short":
        content = content[: len(content) // 2]
    elif damage == "a chunk changed":
        content[60:90] = b"\0" * 30
    else:
        content[16:24] = b"\0\1\0\0" * 2
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.png is no picture"):
        read_slice(tmp_path / "a.png")


# --- packed as cases --------------------------------------------------------------------------------------------------------


def pack(folder: Path, **options: object) -> tuple[dict[str, int], list[str]]:
    """What was packed of each folder, and what was said; A is T1, B is CT."""
    said: list[str] = []
    source = {"folder": folder, "a": "T1", "b": "CT"}
    wanted = check(UnpairedSettings, {"source": source, "cases": folder / "cases", **options}, "test.yaml")
    return pack_unpaired(wanted, said.append), said


def ball(path: Path, size: int, spacing: float, inside: float = 500, outside: float = 0) -> None:
    """A ball of 20 mm radius in a box of `size` voxels a side."""
    grid = (np.indices((size,) * 3) - (size - 1) / 2) * spacing
    image = sitk.GetImageFromArray(np.where((grid**2).sum(0) < 400, inside, outside).astype(np.float32))
    image.SetSpacing((spacing,) * 3)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_volumes_of_different_resolution_are_packed_on_one_millimetre(tmp_path: Path) -> None:
    ball(tmp_path / "trainA" / "anna.nii.gz", 32, 2.0)
    ball(tmp_path / "trainA" / "bob.nii.gz", 60, 1.0)
    ball(tmp_path / "trainB" / "carl.nii.gz", 40, 1.5, inside=40, outside=-1024)
    ball(tmp_path / "testB" / "dora.nii.gz", 60, 1.0, inside=40, outside=-1024)
    counts, said = pack(tmp_path)
    assert counts == {"trainA": 2, "trainB": 1, "testB": 1}
    assert said == []
    cases = {case.name: case for case in complete_cases(tmp_path / "cases" / "training")}
    assert {name: case.person for name, case in cases.items()} == {"A_anna": "anna", "A_bob": "bob", "B_carl": "carl"}
    assert [case.shape for case in cases.values()] == [(64,) * 3, (60,) * 3, (60,) * 3]
    scans = [next(iter(case.sources.values())) for case in cases.values()]
    volumes = [float((scan > scan.max() / 2).sum()) for scan in scans]
    assert volumes == pytest.approx([4 / 3 * np.pi * 20**3] * 3, rel=0.1)  # the same head at any resolution
    assert all(case.region.max() == Region.HEAD for case in cases.values())
    soft = float(np.median(cases["B_carl"].sources[Modality.CT][30, 25:35, 25:35]))
    assert soft == pytest.approx(float(normalise_source(np.full((1, 1, 1), 40.0), Modality.CT)[0, 0, 0]), abs=1e-3)


def test_slices_of_a_person_become_one_case_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for folder, person in (("trainA", "anna"), ("trainB", "bob")):
        (tmp_path / folder).mkdir()
        for number in (9, 10, 2):
            picture = np.zeros((40, 48), np.uint8)
            picture[:10, : 4 * number] = 255  # bright at the top left: in front, at the head's right
            Image.fromarray(picture).save(tmp_path / folder / f"{person}_{number}.png")
    counts, _ = pack(tmp_path, hu=[-1024, 3071])
    assert counts == {"trainA": 1, "trainB": 1}
    anna, bob = complete_cases(tmp_path / "cases" / "training")
    assert anna.shape == (3, 40, 48)
    assert [int((part > 0.5).sum()) for part in anna.sources[Modality.T1]] == [80, 360, 400]
    assert (anna.sources[Modality.T1][:, -10:, -8:] > 0.5).all()
    assert float(bob.sources[Modality.CT].max()) == pytest.approx(1, abs=1e-3)


def test_pictures_of_ct_must_say_what_black_and_white_are(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/a_1.png", "trainB/b_1.png")
    with pytest.raises(ConfigError, match=r"unpaired\.hu"):
        pack(tmp_path)


def test_pictures_of_different_sizes_are_refused_or_brought_to_one(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/a_1.png", "trainA/b_1.png", "trainB/c_1.png")
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(tmp_path / "trainA" / "d_1.png")  # in colour, too
    with pytest.raises(ConfigError, match=r"different sizes: 4 x 3 \(2\), 9 x 7 \(1\).*unpaired\.size"):
        pack(tmp_path, hu=[-1024, 3071])
    assert pack(tmp_path, hu=[-1024, 3071], size=[32, 40])[0] == {"trainA": 3, "trainB": 1}
    assert {case.shape for case in complete_cases(tmp_path / "cases" / "training")} == {(1, 32, 40)}


def test_a_side_that_cannot_be_read_is_refused_and_single_files_are_left_out_by_name(tmp_path: Path) -> None:
    ball(tmp_path / "trainA" / "anna.nii.gz", 32, 2.0)
    ball(tmp_path / "trainB" / "flat.nii.gz", 32, 2.0, inside=0)
    (tmp_path / "trainA" / "broken.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ConfigError, match=r"No file in .*trainB can be used"):
        pack(tmp_path)
    ball(tmp_path / "trainB" / "bob.nii.gz", 32, 2.0, inside=40, outside=-1024)
    counts, said = pack(tmp_path)
    assert counts == {"trainA": 1, "trainB": 1}
    assert "broken.nii.gz" in said[0]
    assert "flat.nii.gz has one value everywhere" in said[1]


def test_very_different_numbers_are_packed_and_said(tmp_path: Path) -> None:
    pictures(tmp_path, "trainA/anna_1.png", *(f"trainB/p{number}x.png" for number in range(25)))
    counts, said = pack(tmp_path, hu=[-1024, 3071])
    assert counts == {"trainA": 1, "trainB": 25}
    assert "trainA has 1 cases and trainB 25" in said[0]
