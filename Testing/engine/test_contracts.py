"""The models that the peers ship, described in JSON alone, against a plain numpy rendering of what each does.

The contracts are facts about SlicerModalityConverter's models; the networks here are stand-ins with the same inputs and
outputs. Arrays are (k, j, i), as Slicer stores them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from onnx import helper

import graphs
from bundles import write_bundle
from modality_conversion.bundle import Bundle
from modality_conversion.convert import convert
from modality_conversion.phantom import head_phantom

CONTRACTS = Path(__file__).parent / "contracts"


def bundle(folder: Path, name: str, graph: Any) -> Bundle:
    fields = json.loads((CONTRACTS / f"{name}.json").read_text())
    del fields["weights"]
    return Bundle.load(write_bundle(folder / fields["id"], graph, **fields))


def shrink_and_pad(array: np.ndarray, value: float) -> tuple[np.ndarray, tuple]:
    """Centre crop (328, 256, 328), each longer axis to 256 by area, padded to 256^3."""
    torch = pytest.importorskip("torch")
    start = [max(0, (n - m) // 2) for n, m in zip(array.shape, (328, 256, 328))]
    box = tuple(slice(s, s + min(n, m)) for s, n, m in zip(start, array.shape, (328, 256, 328)))
    cropped = array[box]
    small = tuple(min(n, 256) for n in cropped.shape)
    resized = torch.nn.functional.interpolate(torch.tensor(cropped)[None, None], size=small, mode="area")[0, 0].numpy()
    widths = [((256 - n) // 2, 256 - n - (256 - n) // 2) for n in small]
    return np.pad(resized, widths, constant_values=value), (box, cropped.shape, widths)


def grow_back(array: np.ndarray, way: tuple, shape: tuple, background: float) -> np.ndarray:
    torch = pytest.importorskip("torch")
    box, cropped, widths = way
    small = array[tuple(slice(a, 256 - b) for a, b in widths)]
    large = torch.nn.functional.interpolate(
        torch.tensor(np.ascontiguousarray(small))[None, None], size=cropped, mode="trilinear", align_corners=False
    )[0, 0].numpy()
    whole = np.full(shape, background, np.float32)
    whole[box] = large
    return whole


def three_planes(array: np.ndarray, mask: np.ndarray, network: Any) -> np.ndarray:
    planes = []
    for axis in range(3):
        plane = np.zeros_like(array)
        for index in range(array.shape[axis]):
            where = tuple(index if a == axis else slice(None) for a in range(3))
            if mask[where].any():
                plane[where] = network(array[where])
        planes.append(plane)
    return np.median(planes, axis=0)


def shrink_mask(mask: np.ndarray) -> np.ndarray:
    """Where the mask has a voxel on the same 256^3 grid, however small its share."""
    torch = pytest.importorskip("torch")
    start = [max(0, (n - m) // 2) for n, m in zip(mask.shape, (328, 256, 328))]
    box = tuple(slice(s, s + min(n, m)) for s, n, m in zip(start, mask.shape, (328, 256, 328)))
    small = tuple(min(n, 256) for n in mask[box].shape)
    resized = torch.nn.functional.interpolate(
        torch.tensor(mask[box].astype(np.float32))[None, None], size=small, mode="area"
    )[0, 0].numpy()
    return np.pad(resized > 0, [((256 - n) // 2, 256 - n - (256 - n) // 2) for n in small])


@pytest.fixture(scope="module")
def scan() -> sitk.Image:
    """Longer than 328 along k, shorter than 256 along j, between the two along i; oblique, with anisotropic voxels."""
    image = head_phantom((272, 18, 341))
    image.SetSpacing((0.7, 6.0, 0.6))
    image.SetDirection((0.8, 0, 0.6, 0, -1, 0, -0.6, 0, 0.8))
    return image


@pytest.fixture(scope="module")
def head(scan: sitk.Image) -> sitk.Image:
    inside = sitk.BinaryFillhole(scan > 60)
    array = sitk.GetArrayFromImage(inside)
    array[:20] = 0  # whole slices without a voxel of the mask
    mask = sitk.GetImageFromArray(array)
    mask.CopyInformation(scan)
    return mask


def test_t1_to_ct_in_three_planes(tmp_path: Path, scan: sitk.Image, head: sitk.Image) -> None:
    network = lambda path: graphs.linear(path, channels=((900.0, -200.0),), batch=1, size=(256, 256))  # noqa: E731
    result = convert({"T1": scan}, bundle(tmp_path, "t1-to-ct-three-plane", network), target="CT", mask=head)

    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([50, 40, 30])
    corrector.Execute(sitk.Shrink(scan, [2, 2, 2]), sitk.Shrink(head, [2, 2, 2]))
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(scan))
    array = sitk.GetArrayFromImage(scan) / np.exp(field)
    inside = sitk.GetArrayFromImage(head) > 0
    grid, way = shrink_and_pad(array.astype(np.float32), 0)
    grid = (grid - grid.min()) / (grid.max() - grid.min())
    output = three_planes(grid, shrink_mask(inside), lambda tile: tile * 900 - 200)
    expected = np.where(inside, grow_back(output, way, array.shape, -1024), -1024)
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), expected, rtol=1e-4, atol=1e-4 * 900)


def test_cbct_to_ct_in_three_planes(tmp_path: Path, scan: sitk.Image, head: sitk.Image) -> None:
    network = lambda path: graphs.linear(path, channels=((2000.0, -1000.0),), batch=1, size=(256, 256))  # noqa: E731
    cbct = scan * 4 - 1000
    result = convert({"CBCT": cbct}, bundle(tmp_path, "cbct-to-ct-three-plane", network), target="CT", mask=head)

    array = sitk.GetArrayFromImage(cbct)
    inside = sitk.GetArrayFromImage(head) > 0
    grid, way = shrink_and_pad(array, -1000)
    grid = (np.clip(grid, -800, 2000) + 800) / 2800
    output = three_planes(grid, shrink_mask(inside), lambda tile: tile * 2000 - 1000)
    expected = np.where(inside, grow_back(output, way, array.shape, -1000), -1000)
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), expected, rtol=1e-4, atol=0.05)


def test_ct_to_pet_from_seven_slices(tmp_path: Path) -> None:
    """Channel 1 of the stand-in is a weighted sum of the seven slices, so that their order matters."""
    weights = np.array([0.05, 0.1, 0.2, 0.3, 0.15, 0.1, 0.25], np.float32)
    kernel = np.zeros((2, 7, 1, 1), np.float32)
    kernel[0, 3], kernel[1, :, 0, 0] = 9, weights

    def network(path: Path) -> None:
        graphs.save(
            path,
            [helper.make_node("Conv", ["image", "kernel"], ["pet"])],
            [graphs.tensor("image", ("batch", 7, "height", "width"))],
            [graphs.tensor("pet", ("batch", 2, "height", "width"))],
            {"kernel": kernel},
        )

    image = head_phantom((40, 36, 13), spacing=5) * 3 - 1100
    result = convert({"CT": image}, bundle(tmp_path, "ct-to-pet-seven-slices", network), target="PET")

    array = (np.clip(sitk.GetArrayFromImage(image), -900, 200) + 900) / 1100
    array[:, [0, -1]] = 0
    array[:, :, [0, -1]] = 0
    padded = np.pad(array, ((3, 3), (0, 0), (0, 0)), mode="edge")
    expected = np.stack([np.tensordot(weights, padded[k : k + 7], axes=1) for k in range(len(array))])
    expected = np.clip(expected, 0, 1) ** 2 * 7
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), expected, atol=1e-4)
    assert expected.max() > 3  # the clip and the square have something to do


def test_t1_to_t2_slice_by_slice_with_a_timestep(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def network(path: Path) -> None:
        """1 - x + timestep, on slices of 224 x 192 only."""
        graphs.save(
            path,
            [
                helper.make_node("Sub", ["timestep", "image"], ["less"]),
                helper.make_node("Add", ["less", "one"], ["t2"]),
            ],
            [graphs.tensor("image", ("batch", 1, 224, 192)), graphs.tensor("timestep", (1,))],
            [graphs.tensor("t2", ("batch", 1, 224, 192))],
            {"one": np.ones(1, np.float32)},
        )

    image = head_phantom((50, 60, 9), spacing=4)
    array = sitk.GetArrayFromImage(image)
    array[0] = 5  # a flat slice
    image = sitk.GetImageFromArray(array)
    result = convert({"T1": image}, bundle(tmp_path, "t1-to-t2-timestep", network), target="T2")

    def resize(tile: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        tensor = torch.tensor(tile)[None, None]
        return torch.nn.functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()

    def minmax(tile: np.ndarray) -> np.ndarray:
        flat = tile.max() - tile.min() < 1e-6 * abs(tile).max()  # up to the rounding of a resized constant
        return np.zeros_like(tile) if flat else (tile - tile.min()) / (tile.max() - tile.min())

    expected = []
    for tile in array:
        low, high = np.percentile(tile, (5, 99.5))
        output = 1 - resize(minmax(np.clip(tile, low, high)), (224, 192)) + 0
        expected.append(minmax(resize(output, tile.shape)) * array.max())
    # Values reach 700; 1e-4 of that range.
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.image), np.stack(expected), atol=1e-4 * array.max())
