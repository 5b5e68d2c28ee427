"""The verb `masks`: annotations of one kind to another, file by file, as a stack of slices, or slice by slice."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from training.config import ConfigError
from training.masks.label_map import LabelMap, numbered
from training.masks.labelme import label_names, read_labelme, write_labelme
from training.masks.pictures import read_picture, write_grey, write_voc
from training.masks.slicer_segmentation import read_segmentation, write_segmentation
from training.masks.volumes import SUFFIXES, grid_of, read_names, read_volume, write_names, write_volume

Kind = Literal["labelme", "voc", "grey"]
"""Kinds of files with one picture each."""
ENDINGS: dict[Kind, str] = {"labelme": ".json", "voc": ".png", "grey": ".png"}
_SEGMENTATION = ".seg.nrrd"


def masks(
    source: Path,
    target: Path,
    *,
    kind: Kind = "voc",
    labels: Mapping[str, int] | None = None,
    scan: Path | None = None,
    last_wins: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Convert, and give the files written. A folder of pictures becomes a volume, or a folder again; a volume a folder.

    `kind`: what a PNG is, and what goes into a folder; `labels`: values by name; `scan`: whose grid a stack has. Raises
    ConfigError; nothing is written then.
    """
    if not source.exists():
        raise ConfigError(f"There is no {source}.")
    if source.is_dir():
        files = _pictures(source)
        read = _consistent(files, labels)
        if _is_volume(target):
            return _write({target: _on(_stacked(read, source), scan)}, kind, say)
        _no_scan(scan)
        return _write({target / f"{file.stem}{ENDINGS[kind]}": one for file, one in read.items()}, kind, say)
    one = _read(source, labels, last_wins)
    flat = one.array.ndim == 2 or one.array.shape[0] == 1
    if _is_volume(target):
        return _write({target: _on(one, scan)}, kind, say)
    _no_scan(scan)
    if target.suffix in (".png", ".json"):
        if not flat:
            raise ConfigError(
                f"{source} has {one.array.shape[0]} slices, which are not one picture. Give a folder in place of {target.name}."
            )
        plane = replace(one, array=one.array if one.array.ndim == 2 else one.array[0])
        return _write({target: plane}, "labelme" if target.suffix == ".json" else kind, say)
    if target.suffix and not target.is_dir():
        raise ConfigError(
            f"{target.name}: no mask ends so. There are {', '.join((_SEGMENTATION, *SUFFIXES, '.png', '.json'))}, or a folder."
        )
    slices = one.array if one.array.ndim == 3 else one.array[None]
    found = {}
    for number, plane in enumerate(slices):
        name = f"slice_{number:04d}"
        picture = f"{name}.png"
        found[target / f"{name}{ENDINGS[kind]}"] = replace(
            one, array=plane, image=picture, warnings=one.warnings if number == 0 else ()
        )
    return _write(found, kind, say)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(path: Path, labels: Mapping[str, int] | None, last_wins: bool = False) -> LabelMap:
    name = path.name.lower()
    if name.endswith(_SEGMENTATION):
        return read_segmentation(path, labels, last_wins=last_wins)
    if name.endswith(".json"):
        return read_labelme(path, labels)
    if name.endswith(".png"):
        return replace(read_picture(path), names=read_names(path) or _by_value(labels))
    if name.endswith(SUFFIXES):
        one = read_volume(path)
        return one if one.names else replace(one, names=_by_value(labels))
    raise ConfigError(
        f"{path} is no mask: they end in {', '.join((_SEGMENTATION, *SUFFIXES))}, .json (Labelme) or .png."
    )


def _by_value(labels: Mapping[str, int] | None) -> dict[int, str]:
    return {value: name for name, value in (labels or {}).items()}


def _pictures(folder: Path) -> list[Path]:
    """The annotations of a folder: Labelme's files where there are any, else PNG; by the numbers in their names."""
    for ending in (".json", ".png"):
        found = [path for path in folder.iterdir() if path.suffix.lower() == ending]
        found = [path for path in found if not path.name.endswith(".labels.json")]
        if found:
            return sorted(found, key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)])
    raise ConfigError(f"The folder {folder} has no Labelme files (.json) and no masks (.png).")


def _consistent(files: Sequence[Path], labels: Mapping[str, int] | None) -> dict[Path, LabelMap]:
    """All files of a folder, each name with the same value in all of them; every file that cannot be used is named."""
    faults, names = [], set()
    for file in files:
        try:
            names |= label_names(file) if file.suffix.lower() == ".json" else set()
        except ConfigError as error:
            faults.append(str(error))
    values = numbered(names, labels, str(files[0].parent)) if names and not faults else labels
    found = {}
    for file in files if not faults else ():
        try:
            found[file] = _read(file, values)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("Nothing was written:\n" + "\n".join(f"  {fault}" for fault in faults))
    return found


def _stacked(read: Mapping[Path, LabelMap], folder: Path) -> LabelMap:
    """Pictures as the slices of a volume."""
    sizes = {one.array.shape for one in read.values()}
    if len(sizes) > 1:
        said = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise ConfigError(f"The pictures in {folder} have different sizes ({said}); they are not slices of one volume.")
    names: dict[int, str] = {}
    for one in read.values():
        names |= one.names
    warnings = tuple(text for one in read.values() for text in one.warnings)
    return LabelMap(np.stack([one.array for one in read.values()]), names, warnings=warnings)


def _on(one: LabelMap, scan: Path | None) -> LabelMap:
    """On the grid of a scan. Raises ConfigError where the sizes differ."""
    if scan is None:
        return one
    grid = grid_of(scan)
    array = one.array if one.array.ndim == 3 else one.array[None]
    if grid.GetSize() != array.shape[::-1]:
        sizes = [" x ".join(map(str, size)) for size in (array.shape[::-1], grid.GetSize())]
        raise ConfigError(f"The mask has {sizes[0]} voxels, {scan.name} has {sizes[1]}: it was not drawn on that scan.")
    return replace(one, array=array, grid=grid)


# --- writing ----------------------------------------------------------------------------------------------------------


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _no_scan(scan: Path | None) -> None:
    if scan is not None:
        raise ConfigError("--scan gives a volume its grid; pictures have none. Leave it out, or write a volume.")


def _write(found: Mapping[Path, LabelMap], kind: Kind, say: Callable[[str], None]) -> list[Path]:
    """Write all, or, where one cannot be written, none; what stood there is replaced."""
    written = []
    parent = next(iter(found)).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".masks-", dir=parent) as temporary:
            draft = Path(temporary)
            for path, one in found.items():
                for text in one.warnings:
                    say(f"Warning: {text}")
                _write_one(one, draft / path.name, kind)
            for file in sorted(draft.iterdir()):
                file.replace(parent / file.name)
                written.append(parent / file.name)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{parent} cannot be written to: {str(error).strip().splitlines()[-1]}") from error
    return written


def _write_one(one: LabelMap, path: Path, kind: Kind) -> None:
    name = path.name.lower()
    if name.endswith(_SEGMENTATION):
        write_segmentation(one, path)
        return
    if name.endswith(".json"):
        write_labelme(one, path)
        return
    if name.endswith(SUFFIXES):
        write_volume(one, path)
    elif kind == "grey":
        write_grey(one, path)
    else:
        write_voc(one, path)
    if one.names:
        write_names(one, path)
