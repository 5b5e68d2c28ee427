"""Unpaired folders as CycleGAN users keep them: trainA, trainB, testA, testB with volumes, or with PNG or JPEG slices."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.data.layouts.base import is_scan, numbered, stem

PICTURES = (".png", ".jpg", ".jpeg")
FOLDERS = ("trainA", "trainB", "testA", "testB")


class UnpairedSource(Settings):
    """Two collections that show different people, or the same in another order."""

    layout: Literal["unpaired"] = "unpaired"
    """Name of the layout."""
    folder: Path
    """Holds `trainA` and `trainB`, and, if wanted, `testA` and `testB`."""
    a: Modality
    """What A shows."""
    b: Modality
    """What B shows."""
    person: str = r"(.+?)(?:[_-]?(?:slice|s|z)?[_-]?\d+)?$"
    """Regular expression on a file's name without ending; its first group is the person. By default all but a last number."""


@dataclass(frozen=True)
class UnpairedFiles:
    """Files of each folder, sorted; `slices` says that they are pictures, else volumes. `people`: of each file."""

    a: Modality
    b: Modality
    slices: bool
    folders: dict[str, list[Path]]
    people: dict[Path, str] = field(default_factory=dict)


def find_unpaired(source: UnpairedSource) -> UnpairedFiles:
    """The files of an unpaired source.

    Raises ConfigError where a training folder is missing or empty, volumes and pictures are mixed, or the same person is in
    training and test.
    """
    folders = {name: _files(source.folder / name) for name in FOLDERS}
    for name in FOLDERS[:2]:
        if not folders[name]:
            raise ConfigError(
                f"There are no scans in {source.folder / name}. Expected there: volumes, or PNG or JPEG slices."
            )
    files = [path for paths in folders.values() for path in paths]
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    if pictures and len(pictures) < len(files):
        raise ConfigError(f"{source.folder} holds volumes and pictures. Keep them in two folders.")
    people = {path: _person(path, source.person) for path in files}
    for side in "AB":
        learnt, kept = ({people[path] for path in folders[f"{part}{side}"]} for part in ("train", "test"))
        if learnt & kept:
            both = ", ".join(sorted(learnt & kept)[:5])
            raise ConfigError(
                f"{source.folder}: {both} are in train{side} and test{side}. Move each person to one of the two; if these are "
                "different people, say with `person` which part of a file's name is the person."
            )
    return UnpairedFiles(source.a, source.b, bool(pictures), folders, people)


def _files(folder: Path) -> list[Path]:
    found = folder.rglob("*") if folder.is_dir() else ()
    kept = [path for path in found if is_scan(path) or (path.suffix.lower() in PICTURES and path.is_file())]
    return sorted((path for path in kept if not path.name.startswith(".")), key=lambda path: numbered(str(path)))


def _person(path: Path, pattern: str) -> str:
    """The person of a file; a name that is a number alone is a person by itself."""
    name = path.stem if path.suffix.lower() in PICTURES else stem(path)
    found = re.match(pattern, name) if not name.isdigit() else None
    return found.group(1) if found and found.groups() and found.group(1) else name


def read_slice(path: Path) -> NDArray[np.float32]:
    """A picture as grey values (rows, columns) in [0, 1]; colours are weighed to grey, 16 bits keep their depth.

    Raises ConfigError where it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
                return np.clip(np.asarray(picture, np.float32) / np.float32(65535), 0, 1)
            return np.asarray(picture.convert("L"), np.float32) / np.float32(255)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{path} is no picture that can be read ({error}).") from None
