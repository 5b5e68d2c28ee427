"""Unpaired folders: volumes or pictures, and nobody in training and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from training.config import ConfigError, check
from training.data.layouts.unpaired import UnpairedFiles, UnpairedSource, find_unpaired, read_pair, read_slice


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


def test_a_broken_picture_and_slices_of_different_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"broken\.png is no picture"):
        read_slice(tmp_path / "broken.png")
    pictures(tmp_path, "a.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(ConfigError, match="different sizes"):
        read_pair(tmp_path / "a.png", tmp_path / "b.png")
