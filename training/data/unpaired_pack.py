"""Packs two unpaired collections as training cases: each volume, or each person's slices, a case with one source."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.data.cases import write_case
from training.data.images import nothing, one_millimetre, onto, read_scan
from training.data.layouts.base import safe, stem
from training.data.layouts.unpaired import UnpairedFiles, UnpairedSource, find_unpaired, read_slice
from training.data.regions import Region
from training.data.scale import normalise_source

PARTS = {"train": "training", "test": "test"}
"""Beginning of a folder's name, and the folder of cases that it becomes."""
SHOWS = 0.05
"""What is brighter, on the input scale, belongs to the head."""


class UnpairedSettings(Settings):
    """The `unpaired` section of a configuration."""

    source: UnpairedSource
    """The two collections."""
    cases: Path
    """Folder for the packed cases: `training` and, where there are test scans, `test` below it are pools with both sides."""
    hu: tuple[float, float] | None = None
    """What black and white are in pictures of CT, in HU. Volumes are in HU."""
    size: tuple[int, int] | None = None
    """Height and width that every picture is brought to, where they are of different sizes."""


def pack_unpaired(settings: UnpairedSettings, say: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Write the cases; gives how many of each folder. A file that cannot be read is left out, and said.

    Raises ConfigError where a side is empty, or becomes so; pictures of CT are of no known HU; or pictures differ in size.
    """
    files = find_unpaired(settings.source)
    counts: dict[str, int] = {}
    for beginning, part in PARTS.items():
        for side, modality in (("A", files.a), ("B", files.b)):
            name = f"{beginning}{side}"
            if not files.folders[name]:
                continue
            counts[name] = 0
            for case, person, volume in _volumes(files, name, modality, settings, say):
                _write(settings.cases / part / f"{side}_{safe(case)}", volume, modality, person)
                counts[name] += 1
            if not counts[name]:
                raise ConfigError(f"No file in {settings.source.folder / name} can be used; the reasons are above.")
    for beginning in PARTS:
        pair = [counts[f"{beginning}{side}"] for side in "AB" if f"{beginning}{side}" in counts]
        if len(pair) == 2 and max(pair) >= 20 * min(pair):
            say(
                f"{beginning}A has {pair[0]} cases and {beginning}B {pair[1]}. Training takes both sides equally often, so the "
                "few of the smaller one come round again and again; look for details of them in what is made."
            )
    return counts


def _volumes(
    files: UnpairedFiles, name: str, modality: Modality, settings: UnpairedSettings, say: Callable[[str], None]
) -> list[tuple[str, str, NDArray[np.float32]]]:
    """The volumes of a folder on voxels of 1 mm, in RAS, on the input scale, with a name and the person of each."""
    if files.slices:
        return _stacks(files, name, modality, settings)
    found = []
    for path in files.folders[name]:
        try:
            scan = read_scan(path, modality, say)
            image = onto(one_millimetre(scan), scan, outside=nothing(modality))
        except ConfigError as error:
            say(f"Left out: {error}")
            continue
        array = sitk.GetArrayFromImage(image)
        if not np.ptp(sitk.GetArrayViewFromImage(scan)) > 0:
            say(f"Left out: {path} has one value everywhere.")
            continue
        scaled = normalise_source(array if modality is Modality.CT else np.clip(array, 0, None), modality)
        found.append((stem(path), files.people[path], scaled))
    return found


def _stacks(
    files: UnpairedFiles, name: str, modality: Modality, settings: UnpairedSettings
) -> list[tuple[str, str, NDArray[np.float32]]]:
    """The slices of each person, one above the other in the order of their names; a pixel counts as 1 mm."""
    if modality is Modality.CT and settings.hu is None:
        raise ConfigError(
            f"{settings.source.folder / name} holds pictures of CT, which do not say what black and white are in HU. Say it: "
            "`unpaired.hu: [-1024, 3071]`, or whatever window they were saved with."
        )
    slices = {path: read_slice(path) for path in files.folders[name]}
    sizes = Counter(picture.shape for picture in slices.values())
    if len(sizes) > 1 and settings.size is None:
        there = ", ".join(f"{width} x {height} ({count})" for (height, width), count in sizes.most_common(5))
        raise ConfigError(
            f"The pictures in {settings.source.folder / name} are of different sizes: {there}. If they show heads at different "
            "scales, bring them to one scale first; if they differ in resolution alone, `unpaired.size: [256, 256]` brings "
            "all to one."
        )
    people: dict[str, list[NDArray[np.float32]]] = {}
    for path, picture in slices.items():
        resized = picture if settings.size is None else _resized(picture, settings.size)
        # Pictures begin at the top left, which is the front and the right of the head; cases end there.
        people.setdefault(files.people[path], []).append(resized[::-1, ::-1])
    found = []
    for person, stack in people.items():
        grey = np.stack(stack)
        if modality is Modality.CT and settings.hu is not None:
            low, high = settings.hu
            grey = grey * (high - low) + low
        found.append((person, person, normalise_source(grey, modality)))
    return found


def _resized(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    height, width = size
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def _write(folder: Path, volume: NDArray[np.float32], modality: Modality, person: str) -> None:
    region = np.where(volume > SHOWS, Region.HEAD, Region.BACKGROUND).astype(np.uint8)
    write_case(folder, {modality: volume}, {}, region, {"person": person, "origin": "unpaired"})
