"""The figures of docs/evaluation.md that are not speed: `python Testing/engine/measure.py`, two minutes.

The tests assert bounds; this prints what was measured.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "ModalityConversion")]

import graphs  # noqa: E402
import volumes  # noqa: E402
from bundles import write_bundle  # noqa: E402
from modality_conversion.backends import open_backend  # noqa: E402
from modality_conversion.bundle import Bundle  # noqa: E402
from modality_conversion.convert import convert  # noqa: E402
from modality_conversion.image_io import read_image, write_image  # noqa: E402

CASES = 200


def random_grid(draw: random.Random, smallest: int, largest: int, finest: float = 0.3) -> sitk.Image:
    """As the tests' `grids`, without hypothesis: oblique, of either hand, permuted, flipped, anisotropic."""
    angles = tuple(draw.uniform(-3.2, 3.2) for _ in range(3))
    direction = volumes.rotation(angles)[:, draw.sample(range(3), 3)] * [draw.choice((1, -1)) for _ in range(3)]
    image = sitk.Image([draw.randint(smallest, largest) for _ in range(3)], sitk.sitkFloat32)
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing([draw.uniform(finest, 5 if finest < 0.5 else 3) for _ in range(3)])
    image.SetOrigin([draw.uniform(-300, 300) for _ in range(3)])
    return image


def identity(folder: Path, **fields: object) -> Bundle:
    """A model that returns its input."""
    return Bundle.load(write_bundle(folder, graphs.identity, **fields))


def geometry_errors(folder: Path) -> dict[str, float]:
    """Largest differences over the cases, of grids in memory and on disk, and of values; relative above 1."""
    bundle = identity(folder / "identity", geometry={"axcodes": "RAS", "pad_multiple": 8}, sampler={"axes": [0, 1, 2]})
    draw = random.Random(0)
    worst = dict.fromkeys(("memory", ".mha", ".nrrd", ".nii", "values, share of the largest"), 0.0)
    for case in range(CASES):
        scan = volumes.noise(random_grid(draw, 1, 24), seed=case)
        result = convert({"T1": scan}, bundle, target="T2").image
        written = {"memory": result}
        for ending in (".mha", ".nrrd", ".nii"):
            write_image(result, folder / f"out{ending}")
            written[ending] = read_image(folder / f"out{ending}")
        for name, image in written.items():
            for ours, theirs in zip(volumes.geometry(image), volumes.geometry(scan)):
                error = np.abs(np.subtract(ours, theirs)) / np.maximum(1, np.abs(theirs))
                worst[name] = max(worst[name], float(error.max()))
        values, wanted = (sitk.GetArrayFromImage(image) for image in (result, scan))
        worst["values, share of the largest"] = max(
            worst["values, share of the largest"], float((np.abs(values - wanted) / wanted.max()).max())
        )
    return worst


def blob_shifts(folder: Path, interpolation: str) -> tuple[float, float]:
    """Median and largest shift of a blob after 1 mm and back, in smallest voxel sides."""
    spacing = {"axcodes": "RAS", "spacing": [1, 1, 1], "interpolation": interpolation}
    bundle = identity(folder / f"to-1-mm-{interpolation}", geometry=spacing)
    draw, shifts = random.Random(1), []
    while len(shifts) < CASES:
        grid = random_grid(draw, 16, 48, finest=0.5)
        sigma = max(1.6 * max(*grid.GetSpacing(), 1.0), 2)
        room = np.multiply(grid.GetSize(), grid.GetSpacing()) / 2 - 4.4 * sigma
        if room.min() <= 0:
            continue  # no room for a blob that is well sampled on both grids
        offset = [draw.uniform(-1, 1) * r / s for r, s in zip(room, grid.GetSpacing())]
        index = [(n - 1) / 2 + o for n, o in zip(grid.GetSize(), offset)]
        scan = volumes.blob(grid, np.array(grid.TransformContinuousIndexToPhysicalPoint(index)), sigma)
        result = convert({"T1": scan}, bundle, target="T2").image
        shift = np.linalg.norm(volumes.centre_of_mass(result) - volumes.centre_of_mass(scan))
        shifts.append(float(shift) / min(grid.GetSpacing()))
    return float(np.median(shifts)), max(shifts)


def difference_from_monai(folder: Path) -> float:
    """Largest difference from MONAI's SlidingWindowInferer, Gaussian weights, a network of convolutions."""
    import torch
    from monai.inferers import SlidingWindowInferer

    path = graphs.conv(folder / "conv.onnx", patch=True, features=4, layers=2)
    sampler = {"kind": "patch", "size": [16, 12, 20], "overlap": 0.5, "edge": "zero"}
    bundle = Bundle.load(write_bundle(folder / "patches", path, fusion="gaussian", sampler=sampler))
    values = np.random.default_rng(0).random((25, 40, 33), dtype=np.float32)
    ours = sitk.GetArrayFromImage(convert({"T1": sitk.GetImageFromArray(values)}, bundle, target="T2").image)
    backend = open_backend(path, "onnx", "cpu")
    network: Callable = lambda x: torch.tensor(backend.run({"image": x.numpy()}))  # noqa: E731
    inferer = SlidingWindowInferer((16, 12, 20), sw_batch_size=4, overlap=0.5, mode="gaussian")
    return float(np.abs(ours - inferer(torch.tensor(values)[None, None], network)[0, 0].numpy()).max())


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, error in geometry_errors(folder).items():
            print(f"largest difference over {CASES} random grids, {what}: {error:.3g}")  # noqa: T201
        for interpolation in ("linear", "area", "bspline", "nearest"):
            median, largest = blob_shifts(folder, interpolation)
            print(f"blob after 1 mm and back, {interpolation}: median {median:.4f}, largest {largest:.4f} voxel")  # noqa: T201
        print(f"largest difference from MONAI's SlidingWindowInferer: {difference_from_monai(folder):.3g}")  # noqa: T201


if __name__ == "__main__":
    main()
