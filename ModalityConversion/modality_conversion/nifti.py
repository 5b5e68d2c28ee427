"""What ITK's NIfTI reader does not tell: that a file was cut short, and which voxels are not numbers.

It fills the missing part of a truncated file with zeros, and replaces NaN and infinity by 0, both without a word.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .grid import on_grid_of

_NIFTI_1, _NIFTI_2 = 348, 540  # sizes of the headers, which are their first number
_FLOATS = {16: "f4", 64: "f8"}
# Bytes a voxel, by datatype (nifti1.h).
_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1792: 16, 2304: 4}
_CHUNK = 1 << 20
_PLACES = ("qform_code", "sform_code")


def missing_voxels(path: Path) -> np.ndarray | None:
    """Where voxels are not finite numbers: bool, (k, j, i), or None where all are. The whole file is read once.

    Raises ConversionError when the file ends too early, or is damaged.
    """
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not packed:
                return _missing(plain, path)
            with gzip.open(plain) as unpacked:
                return _missing(unpacked, path)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConversionError(f"{path} is damaged or was cut short. Copy it again from where it came.") from None
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}. Check the disk and your rights.") from None


def _missing(stream: BinaryIO, path: Path) -> np.ndarray | None:
    start = stream.read(_NIFTI_1)
    header = _header(start, path)
    if header is None:
        return None  # Analyze or something else; ITK says what it thinks of it
    order, dim, datatype, offset = header
    count = math.prod(dim[1 : 1 + dim[0]])
    gap = offset - len(start)
    size = count * _BYTES[datatype]
    missing = None
    found = len(start) + _skip(stream, gap)
    if datatype in _FLOATS:
        content = stream.read(size)
        found += len(content)
        if len(content) == size:
            missing = ~np.isfinite(np.frombuffer(content, order + _FLOATS[datatype]))
    else:
        found += _skip(stream, size)
    if found < offset + size:
        raise ConversionError(
            f"{path} was cut short: {found} bytes of {offset + size}. Copy it again from where it came."
        )
    _skip(stream, _CHUNK)  # to the end, where gzip keeps its check sum
    if missing is None or not missing.any() or count != math.prod(dim[1:4]):
        return None
    return missing.reshape(dim[3:0:-1])


def _skip(stream: BinaryIO, count: int) -> int:
    """Read and forget; returns how many bytes there were."""
    left = max(0, count)
    while left and (chunk := stream.read(min(left, _CHUNK))):
        left -= len(chunk)
    return max(0, count) - left


def _header(content: bytes, path: Path) -> tuple[str, tuple[int, ...], int, int] | None:
    """Byte order, dim, datatype and where the voxels start; None if this is no NIfTI-1 that can be told the length of."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", content)[0] if len(content) >= 4 else 0
        if size == _NIFTI_2:
            raise ConversionError(f"{path} is a NIfTI-2 file, which cannot be read. Save it as NIfTI-1 or NRRD.")
        if size == _NIFTI_1 and len(content) >= size:
            # Offsets of dim, datatype and vox_offset (nifti1.h).
            dim = struct.unpack_from(f"{order}8h", content, 40)
            datatype = struct.unpack_from(f"{order}h", content, 70)[0]
            offset = struct.unpack_from(f"{order}f", content, 108)[0]
            usual = 1 <= dim[0] <= 7 and min(dim[1 : 1 + dim[0]]) > 0 and datatype in _BYTES
            if usual and math.isfinite(offset) and offset >= _NIFTI_1:
                return order, (dim[0], *dim[1 : 1 + dim[0]], *(1,) * (7 - dim[0])), datatype, int(offset)
    return None


def with_missing(image: sitk.Image, missing: np.ndarray | None) -> sitk.Image:
    """The image with NaN where `missing` is True, as it was stored."""
    if missing is None:
        return image
    array = sitk.GetArrayFromImage(image)
    array[missing] = np.nan
    filled = on_grid_of(image, array)
    for key in _PLACES:
        if image.HasMetaDataKey(key):
            filled.SetMetaData(key, image.GetMetaData(key))
    return filled


def place_unknown(image: sitk.Image) -> bool:
    """Whether the image was read from a NIfTI file that does not say how it lies in space: no qform and no sform.

    ITK then takes the array's axes as pointing left, back and up, and the first voxel as the origin.
    """
    return all(image.HasMetaDataKey(key) and image.GetMetaData(key) == "0" for key in _PLACES)
