"""Label maps as volumes: NIfTI, NRRD, MetaImage; what the values mean stands in a file beside it."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from training.config import ConfigError
from training.masks.label_map import LabelMap, smallest_type

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def names_file(path: Path) -> Path:
    """Where the meaning of the values of a mask stands: `mask.labels.json` beside `mask.nii.gz` or `mask.png`."""
    name = path.name
    for suffix in (*SUFFIXES, ".png"):
        name = name.removesuffix(suffix)
    return path.with_name(f"{name}.labels.json")


def read_names(path: Path) -> dict[int, str]:
    """What the values of a mask mean; {} where no file says it."""
    file = names_file(path)
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {int(value): str(name) for value, name in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f'{file} is not of the form {{"1": "Tumor"}}: {error}') from error


def write_names(labels: LabelMap, path: Path) -> None:
    """Write what the values mean beside a mask."""
    names = {str(value): labels.name(value) for value in sorted({*labels.values, *labels.names}) if value}
    names_file(path).write_text(json.dumps(names, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_volume(path: Path) -> LabelMap:
    """A label map, (z, y, x). Whole numbers stored as floating point are taken; others are refused."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ConfigError(f"{path} cannot be read: {str(error).strip().splitlines()[-1]}") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ConfigError(f"{path} is no three-dimensional label map.")
    voxels = sitk.GetArrayFromImage(image)
    if not np.issubdtype(voxels.dtype, np.integer):
        if not np.array_equal(voxels, np.round(voxels)):
            raise ConfigError(f"{path} has values that are no whole numbers; it is a scan, not a label map.")
        voxels = voxels.astype(np.int64)
    array = smallest_type(voxels, str(path))
    if len(np.unique(array)) > 256:
        raise ConfigError(f"{path} has more than 256 different values; it is a scan, not a label map.")
    bare = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    bare.CopyInformation(image)
    return LabelMap(array, read_names(path), grid=bare)


def write_volume(labels: LabelMap, path: Path) -> None:
    """Write a label map; a picture becomes a volume of one slice."""
    array = labels.array if labels.array.ndim == 3 else labels.array[None]
    image = sitk.GetImageFromArray(array)
    if labels.grid is not None:
        image.CopyInformation(labels.grid)
    sitk.WriteImage(image, str(path), useCompression=True)


def grid_of(path: Path) -> sitk.Image:
    """The geometry of a scan: an image of nothing on its grid."""
    try:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ConfigError(f"{path} cannot be read: {str(error).strip().splitlines()[-1]}") from error
    if reader.GetDimension() != 3:
        raise ConfigError(f"{path} has {reader.GetDimension()} dimensions; a scan of three is wanted.")
    image = sitk.Image([int(n) for n in reader.GetSize()], sitk.sitkUInt8)
    image.SetSpacing(reader.GetSpacing())
    image.SetOrigin(reader.GetOrigin())
    image.SetDirection(reader.GetDirection())
    return image
