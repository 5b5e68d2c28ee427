"""`masks`: annotations of Labelme, Pascal VOC and Slicer become label maps and come back the same; bad ones are refused."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image
from typer.testing import CliRunner

from training.cli import app
from training.config import ConfigError
from training.masks.command import Kind, masks
from training.masks.label_map import parse_labels
from training.masks.labelme import read_labelme
from training.masks.pictures import read_picture, voc_palette

HEIGHT, WIDTH = 30, 40


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def write_file(path: Path, *shapes: dict[str, Any], picture: bool = True, **changes: Any) -> Path:
    """A file as Labelme writes it, and its picture beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture:
        Image.new("L", (WIDTH, HEIGHT)).save(path.with_suffix(".jpg"))
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": path.with_suffix(".jpg").name,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    content |= changes
    path.write_text(
        json.dumps({key: value for key, value in content.items() if value is not Ellipsis}), encoding="utf-8"
    )
    return path


TRIANGLE = [[3.2, 4.1], [33.7, 9.4], [12.5, 27.3]]


def voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


# --- Labelme ----------------------------------------------------------------------------------------------------------


def test_a_polygon_covers_the_pixels_whose_centres_it_holds(tmp_path: Path) -> None:
    array = read_labelme(write_file(tmp_path / "a.json", shape("Tumor", TRIANGLE))).array
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    wanted = Outline(TRIANGLE).contains_points(np.c_[x.ravel(), y.ravel()]).reshape(HEIGHT, WIDTH)
    assert wanted.sum() > 100
    np.testing.assert_array_equal(array > 0, wanted)


def test_rectangles_circles_and_masks_are_areas_too(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((3, 4), 255, np.uint8)).save(buffer, "PNG")
    pasted = shape("c", [[30, 20], [33, 22]], "mask", mask=base64.b64encode(buffer.getvalue()).decode())
    file = write_file(
        tmp_path / "a.json",
        shape("a", [[12, 9], [2, 5]], "rectangle"),
        shape("b", [[25, 12], [25, 17]], "circle"),
        pasted,
    )
    found = read_labelme(file)
    assert found.names == {1: "a", 2: "b", 3: "c"}
    wanted = np.zeros((HEIGHT, WIDTH), int)
    wanted[5:9, 2:12] = 1
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    wanted[np.hypot(x - 25, y - 12) <= 5] = 2
    wanted[20:23, 30:34] = 3
    np.testing.assert_array_equal(found.array, wanted)


def test_a_file_whose_picture_is_missing_is_read_with_the_size_it_says_and_a_warning(tmp_path: Path) -> None:
    found = read_labelme(write_file(tmp_path / "a.json", shape("Tumor", TRIANGLE), picture=False))
    assert found.array.shape == (HEIGHT, WIDTH)
    assert any("a.jpg" in text and "not there" in text for text in found.warnings)


CROSSING = [[5, 5], [25, 25], [25, 5], [5, 25]]
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no picture and no size": (
        shape("Tumor", TRIANGLE),
        {"picture": False, "imageHeight": ..., "imageWidth": None},
        "does not say its size",
    ),
    "another picture": (shape("Tumor", TRIANGLE), {"imageWidth": WIDTH + 1}, "was drawn on a picture of 41 x 30"),
    "a damaged picture": (shape("Tumor", TRIANGLE), {"imageData": "bm90IGEgcGljdHVyZQ=="}, "picture cannot be read"),
    "a polygon that crosses itself": (
        shape("Tumor", CROSSING),
        {},
        r"shape 1 \(Tumor\) is no simple polygon.*\(15 15\)",
    ),
    "a polygon of two points": (shape("Tumor", TRIANGLE[:2]), {}, "polygon with 2 points"),
    "points that are no numbers": (shape("Tumor", [["a", 1], [2, 3], [4, 5]]), {}, "not pairs of numbers"),
    "an infinite point": (shape("Tumor", [[1e400, 1], [2, 3], [4, 5]]), {}, "point that is not a number"),
    "a line": (shape("Tumor", TRIANGLE, "linestrip"), {}, "linestrip, which has no area"),
    "no label": (shape(" ", TRIANGLE), {}, "shape 1 has no `label`"),
    "a mask beyond the picture": (
        shape("Tumor", [[38, 2]], "mask", mask=base64.b64encode(b"").decode()),
        {},
        "mask cannot be read",
    ),
    "no shapes": (shape("Tumor", TRIANGLE), {"shapes": {"a": 1}}, "no list `shapes`"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_file_that_cannot_be_used_is_refused_with_the_shape_and_the_reason(tmp_path: Path, case: str) -> None:
    drawn, changes, reason = BAD[case]
    file = write_file(tmp_path / "in" / "a.json", drawn, **changes)
    with pytest.raises(ConfigError, match=reason):
        masks(file, tmp_path / "out" / "a.png")
    assert not list(tmp_path.glob("out/*"))


@given(st.integers(0, 10_000), st.floats(0.2, 0.8))
@settings(max_examples=25, deadline=None)
def test_any_mask_goes_to_labelme_and_comes_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    """Parts with holes, parts that touch at corners, single pixels, parts at the border."""
    rng = np.random.default_rng(seed)
    array = np.where(rng.random((11, 13)) < share, rng.integers(1, 3, (11, 13)), 0).astype(np.uint8)
    folder = tmp_path_factory.mktemp("masks")
    Image.fromarray(array).save(folder / "a.png")
    masks(folder / "a.png", folder / "a.json")
    masks(folder / "a.json", folder / "b.png", kind="grey", labels={"Label 1": 1, "Label 2": 2})
    np.testing.assert_array_equal(np.array(Image.open(folder / "b.png")), array)


def test_large_plain_parts_are_polygons_that_can_be_edited(tmp_path: Path) -> None:
    masks(write_file(tmp_path / "a.json", shape("Tumor", TRIANGLE)), tmp_path / "a.png")
    masks(tmp_path / "a.png", tmp_path / "b.json")
    (written,) = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["shapes"]
    assert (written["shape_type"], written["label"]) == ("polygon", "Tumor")


# --- Pascal VOC -------------------------------------------------------------------------------------------------------


def test_the_palette_is_that_of_pascal_voc() -> None:
    """Colours of the development kit: background, aeroplane, bicycle, tv/monitor, border."""
    wanted = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(int(n) for n in voc_palette()[index]) for index in wanted} == wanted


def test_labels_go_to_a_colour_indexed_picture_and_back(tmp_path: Path) -> None:
    array = np.arange(255, dtype=np.uint8).reshape(15, 17)
    Image.fromarray(array).save(tmp_path / "grey.png")
    masks(tmp_path / "grey.png", tmp_path / "voc.png", kind="voc")
    with Image.open(tmp_path / "voc.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), array)
        np.testing.assert_array_equal(np.array(picture.convert("RGB")), voc_palette()[array])
    np.testing.assert_array_equal(read_picture(tmp_path / "voc.png").array, array)


def test_the_border_of_pascal_voc_is_background_and_that_is_said(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [255, 2]], np.uint8))
    picture.putpalette(voc_palette().tobytes())
    picture.save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(found.array, [[0, 1], [0, 2]])
    assert "1 pixels of Pascal VOC's border" in found.warnings[0]


def test_a_colour_picture_is_refused_unless_all_its_colours_are_the_palettes(tmp_path: Path) -> None:
    index = np.array([[0, 1], [2, 20]], np.uint8)
    colours = voc_palette()[index]
    Image.fromarray(colours).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "mask.png").array, index)
    colours[1, 0] += 1
    Image.fromarray(colours).save(tmp_path / "photo.png")
    with pytest.raises(ConfigError, match=r"colour picture and no mask: 1 pixels, the first at \(0, 1\)"):
        masks(tmp_path / "photo.png", tmp_path / "out.nii.gz")
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(ConfigError, match="cannot be read as a picture"):
        masks(tmp_path / "a.png", tmp_path / "out.nii.gz")


# --- Slicer -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    image = sitk.Image([5, 4, 3], sitk.sitkInt16)
    image.SetSpacing((0.5, 0.7, 3))
    image.SetOrigin((1, -2, 30))
    image.SetDirection((0, -1, 0, 0.8, 0, 0.6, -0.6, 0, 0.8))
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    return tmp_path / "scan.nrrd"


def label_volume(scan: Path, path: Path) -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.uint8)
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(sitk.ReadImage(str(scan)))
    sitk.WriteImage(image, str(path))
    return array


def same_grid(a: Path, b: Path) -> None:
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(*(getattr(sitk.ReadImage(str(path)), name)() for path in (a, b)), atol=1e-5)


def test_a_label_map_goes_to_slicer_and_back_with_its_names_and_its_place(tmp_path: Path, scan: Path) -> None:
    array = label_volume(scan, tmp_path / "a.nii.gz")
    (tmp_path / "a.labels.json").write_text('{"1": "Oedema", "2": "Core"}', encoding="utf-8")
    masks(tmp_path / "a.nii.gz", tmp_path / "a.seg.nrrd")
    written = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
    assert (written.GetMetaData("Segment1_Name"), written.GetMetaData("Segment1_LabelValue")) == ("Core", "2")
    same_grid(tmp_path / "a.seg.nrrd", scan)
    masks(tmp_path / "a.seg.nrrd", tmp_path / "b.nrrd")
    np.testing.assert_array_equal(voxels(tmp_path / "b.nrrd"), array)
    same_grid(tmp_path / "b.nrrd", scan)
    assert json.loads((tmp_path / "b.labels.json").read_text(encoding="utf-8")) == {"1": "Oedema", "2": "Core"}


def layered(path: Path) -> np.ndarray:
    """A segmentation with two layers, as Slicer writes segments that overlap: both of value 1."""
    layers = np.zeros((3, 4, 5, 2), np.uint8)
    layers[:, :3, :, 0], layers[:, 2:, :, 1] = 1, 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number, name in enumerate(("Brain", "Tumor")):
        for field, value in (("Name", name), ("LabelValue", "1"), ("Layer", str(number)), ("ID", f"S{number}")):
            image.SetMetaData(f"Segment{number}_{field}", value)
    sitk.WriteImage(image, str(path))
    return layers


def test_segments_that_overlap_are_refused_unless_the_last_may_win(tmp_path: Path) -> None:
    layers = layered(tmp_path / "a.seg.nrrd")
    with pytest.raises(ConfigError, match="Tumor overlaps with other segments in 15 voxels"):
        masks(tmp_path / "a.seg.nrrd", tmp_path / "a.nii.gz")
    masks(tmp_path / "a.seg.nrrd", tmp_path / "a.nii.gz", last_wins=True)
    np.testing.assert_array_equal(voxels(tmp_path / "a.nii.gz"), np.where(layers[..., 1] > 0, 2, layers[..., 0]))


def test_a_plain_nrrd_called_a_segmentation_and_a_scan_called_a_mask_are_refused(tmp_path: Path, scan: Path) -> None:
    (tmp_path / "a.seg.nrrd").write_bytes(scan.read_bytes())
    with pytest.raises(ConfigError, match="names no segments"):
        masks(tmp_path / "a.seg.nrrd", tmp_path / "a.nii.gz")
    noise = np.random.default_rng(0).normal(size=(3, 4, 5))
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(tmp_path / "noise.nii.gz"))
    with pytest.raises(ConfigError, match="no whole numbers"):
        masks(tmp_path / "noise.nii.gz", tmp_path / "b.seg.nrrd")


# --- folders and stacks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labelme", "voc", "grey"])
def test_a_volume_goes_to_a_folder_of_slices_and_back(tmp_path: Path, scan: Path, kind: Kind) -> None:
    array = label_volume(scan, tmp_path / "a.nii.gz")
    (tmp_path / "a.labels.json").write_text('{"1": "Core", "2": "Oedema"}', encoding="utf-8")
    masks(tmp_path / "a.nii.gz", tmp_path / "slices", kind=kind)
    masks(tmp_path / "slices", tmp_path / "b.nii.gz", scan=scan)
    np.testing.assert_array_equal(voxels(tmp_path / "b.nii.gz"), array)
    same_grid(tmp_path / "b.nii.gz", tmp_path / "a.nii.gz")


def test_a_name_has_the_same_value_in_every_file_of_a_folder_and_slices_are_in_the_order_of_their_numbers(
    tmp_path: Path,
) -> None:
    square = [[2, 2], [8, 2], [8, 8], [2, 8]]
    write_file(tmp_path / "in" / "s10.json", shape("Oedema", square))
    write_file(tmp_path / "in" / "s9.json", shape("Tumor", square))
    masks(tmp_path / "in", tmp_path / "a.nii.gz")
    array = voxels(tmp_path / "a.nii.gz")
    assert [int(plane.max()) for plane in array] == [2, 1]
    assert json.loads((tmp_path / "a.labels.json").read_text(encoding="utf-8")) == {"1": "Oedema", "2": "Tumor"}


def test_every_bad_file_of_a_folder_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    write_file(tmp_path / "in" / "a.json", shape("Tumor", CROSSING))
    write_file(tmp_path / "in" / "b.json", shape("Tumor", TRIANGLE))
    write_file(tmp_path / "in" / "c.json", shape("Tumor", TRIANGLE[:2]))
    with pytest.raises(ConfigError, match=r"(?s)Nothing was written:.*a\.json.*c\.json") as error:
        masks(tmp_path / "in", tmp_path / "out.nii.gz")
    assert "b.json" not in str(error.value)
    assert not list(tmp_path.glob("out*"))


def test_slices_of_different_sizes_and_another_scan_are_refused(tmp_path: Path, scan: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size in (("a", (4, 5)), ("b", (4, 6))):
        Image.fromarray(np.zeros(size, np.uint8)).save(folder / f"{name}.png")
    with pytest.raises(ConfigError, match="different sizes"):
        masks(folder, tmp_path / "out.nii.gz")
    (folder / "b.png").unlink()
    with pytest.raises(ConfigError, match="it was not drawn on that scan"):
        masks(folder, tmp_path / "out.nii.gz", scan=scan)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_converts_and_says_what_is_wrong(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.json", shape("Tumor", TRIANGLE), shape("Oedema", CROSSING[:3]))
    out = tmp_path / "a.nii.gz"
    done = CliRunner().invoke(app, ["masks", str(file), str(out), "--labels", "Tumor=7,Oedema=3"])
    assert done.exit_code == 0, done.output
    assert set(np.unique(voxels(out))) == {0, 3, 7}
    refused = CliRunner().invoke(app, ["masks", str(file), str(tmp_path / "b.tiff")])
    assert isinstance(refused.exception, ConfigError)
    assert "no mask ends so" in str(refused.exception)


@pytest.mark.parametrize("text", ["Tumor", "Tumor=0", "Tumor=a", "A=1,B=1", "=1", "Tumor=70000"])
def test_values_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--labels"):
        parse_labels(text)
