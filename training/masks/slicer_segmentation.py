"""Slicer's `.seg.nrrd`: a label map, or several layers where segments overlap, with a name and a colour for each segment."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from training.config import ConfigError
from training.masks.label_map import Colour, LabelMap, smallest_type
from training.masks.pictures import voc_palette


def read_segmentation(path: Path, wanted: Mapping[str, int] | None = None, *, last_wins: bool = False) -> LabelMap:
    """The segments as one label map, (z, y, x). Values are the file's own, those `wanted`, or, where the file uses one value
    in several layers, numbers from 1 on in the segments' order.

    Raises ConfigError where segments overlap, unless the `last_wins`.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ConfigError(f"{path} cannot be read: {str(error).strip().splitlines()[-1]}") from error
    segments = _segments(image)
    if not segments:
        raise ConfigError(
            f"{path} names no segments; it is no segmentation of Slicer. Read it as .nrrd if it is a label map."
        )
    voxels = sitk.GetArrayFromImage(image)
    if image.GetDimension() != 3 or voxels.ndim not in (3, 4) or not np.issubdtype(voxels.dtype, np.integer):
        raise ConfigError(f"{path} holds no label map of whole numbers in three dimensions.")
    layers = voxels[..., None] if voxels.ndim == 3 else voxels
    values = _values(segments, wanted, path)
    array = np.zeros(layers.shape[:3], np.uint16)
    warnings = []
    for key, fields in segments.items():
        layer = int(fields.get("Layer", 0))
        if not 0 <= layer < layers.shape[3]:
            raise ConfigError(f"{path}: the segment {key} is on layer {layer}, which the file does not have.")
        inside = layers[..., layer] == int(fields.get("LabelValue", 1))
        hidden = int((array[inside] > 0).sum())
        if hidden and not last_wins:
            raise ConfigError(
                f"{path}: {fields.get('Name', key)} overlaps with other segments in {hidden} voxels, and a label map has "
                "one value for each. Give --last-wins to let later segments lie over earlier ones."
            )
        if not inside.any():
            warnings.append(f"{path.name}: the segment {fields.get('Name', key)} is empty.")
        array[inside] = values[key]
    names = {values[key]: fields.get("Name", key) for key, fields in segments.items()}
    colours = {values[key]: colour for key, fields in segments.items() if (colour := _colour(fields)) is not None}
    return LabelMap(smallest_type(array, str(path)), names, colours, _bare(image), warnings=tuple(warnings))


def _segments(image: sitk.Image) -> dict[str, dict[str, str]]:
    """The fields of each segment, in the order of their numbers: `Name`, `LabelValue`, `Layer`, `Color`, ..."""
    found: dict[int, dict[str, str]] = {}
    for key in image.GetMetaDataKeys():
        head, _, name = key.partition("_")
        if head.startswith("Segment") and head[7:].isdigit() and name:
            found.setdefault(int(head[7:]), {})[name] = image.GetMetaData(key)
    return {f"Segment{number}": found[number] for number in sorted(found)}


def _values(segments: Mapping[str, Mapping[str, str]], wanted: Mapping[str, int] | None, path: Path) -> dict[str, int]:
    if wanted is not None:
        missing = [fields.get("Name", key) for key, fields in segments.items() if fields.get("Name", key) not in wanted]
        if missing:
            raise ConfigError(
                f"{path} has the segments {', '.join(missing)}, which have no value. Add them to --labels."
            )
        return {key: wanted[fields.get("Name", key)] for key, fields in segments.items()}
    try:
        own = {key: int(fields.get("LabelValue", 1)) for key, fields in segments.items()}
    except ValueError as error:
        raise ConfigError(f"{path} has a segment whose label value is no number.") from error
    unique = len(set(own.values())) == len(own) and min(own.values()) > 0
    return own if unique else {key: value for value, key in enumerate(segments, 1)}


def _colour(fields: Mapping[str, str]) -> Colour | None:
    try:
        red, green, blue = (round(255 * float(part)) for part in fields["Color"].split())
    except (KeyError, ValueError):
        return None
    return red, green, blue


def _bare(image: sitk.Image) -> sitk.Image:
    """An image of nothing with the same geometry."""
    bare = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    bare.CopyInformation(image)
    return bare


def write_segmentation(labels: LabelMap, path: Path) -> None:
    """Write a label map as `.seg.nrrd`, one layer, compressed."""
    array: NDArray[np.integer] = labels.array if labels.array.ndim == 3 else labels.array[None]
    image = sitk.GetImageFromArray(array)
    if labels.grid is not None:
        image.CopyInformation(labels.grid)
    depth, height, width = array.shape
    palette = voc_palette()
    known = [value for value in sorted({*labels.values, *labels.names}) if value]
    for number, value in enumerate(known):
        colour = labels.colours.get(value, tuple(int(part) for part in palette[value % 256]))
        fields = {
            "ID": f"Segment_{value}",
            "Name": labels.name(value),
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{part / 255:.6f}" for part in colour),
            "ColorAutoGenerated": "0",
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": f"0 {width - 1} 0 {height - 1} 0 {depth - 1}",
            "Tags": "|",
        }
        for name, content in fields.items():
            image.SetMetaData(f"Segment{number}_{name}", content)
    image.SetMetaData("Segmentation_MasterRepresentation", "Binary labelmap")
    image.SetMetaData("Segmentation_ContainedRepresentationNames", "Binary labelmap|")
    image.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    sitk.WriteImage(image, str(path), useCompression=True)
