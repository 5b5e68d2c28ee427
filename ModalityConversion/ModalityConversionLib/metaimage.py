"""Volumes handed over by file: uncompressed MetaImage, written and read a piece at a time.

A reader from a library would hold Slicer's event loop for as long as a large volume takes; these give way after every
piece. The format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import vtk
from numpy.typing import NDArray

from modality_conversion.errors import ConversionError

from .i18n import tr as _
from .volumes import RAS_TO_LPS, Matrix, new_image, voxels

PIECE = 8 << 20
"""Bytes between two breaths: some 10 ms of writing."""

_TYPES = {
    "MET_UCHAR": np.uint8,
    "MET_CHAR": np.int8,
    "MET_USHORT": np.uint16,
    "MET_SHORT": np.int16,
    "MET_UINT": np.uint32,
    "MET_INT": np.int32,
    "MET_ULONG_LONG": np.uint64,
    "MET_LONG_LONG": np.int64,
    "MET_FLOAT": np.float32,
    "MET_DOUBLE": np.float64,
}


def write(array: NDArray[np.generic], ijk_to_ras: Matrix, path: Path) -> Iterator[float]:
    """Write voxels (k, j, i) on the grid of a (4, 4) matrix to mm in RAS; yields the fraction done.

    Raises ConversionError when the disk refuses.
    """
    try:
        with path.open("wb") as file:
            file.write(_header(array, ijk_to_ras))
            flat = np.ascontiguousarray(array).reshape(-1)
            step = max(1, PIECE // flat.itemsize)
            for start in range(0, flat.size, step):
                file.write(flat[start : start + step].tobytes())
                yield min(1.0, (start + step) / flat.size)
    except OSError as error:
        raise ConversionError(disk_message(error, path.parent)) from None


def disk_message(error: OSError, folder: Path) -> str:
    """What to tell the user when the temporary folder refuses."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return _(
            "The disk of the temporary folder {folder} is full. Make room, or choose another one in the settings."
        ).format(folder=folder)
    return _("The temporary folder {folder} cannot be used: {reason}.").format(
        folder=folder, reason=error.strerror or error
    )


def _header(array: NDArray[np.generic], ijk_to_ras: Matrix) -> bytes:
    matrix = RAS_TO_LPS @ ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    directions = matrix[:3, :3] / spacing

    def line(values: NDArray[np.float64]) -> str:
        return " ".join(repr(float(value)) for value in values)  # repr: every digit, so that the grid is exact

    kind = next(name for name, dtype in _TYPES.items() if dtype == array.dtype)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": line(directions.T.ravel()),
        "Offset": line(matrix[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": line(spacing),
        "DimSize": " ".join(str(n) for n in reversed(array.shape)),
        "ElementType": kind,
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{name} = {value}\n" for name, value in fields.items()).encode("ascii")


def read(path: Path, shape: tuple[int, int, int]) -> Generator[float, None, vtk.vtkImageData]:
    """Read voxels into a VTK image of a known shape (k, j, i); yields the fraction done, returns the image.

    Raises ConversionError when the file is not what the engine should have written.
    """
    damaged = ConversionError(_("The result {name} is damaged. Convert again.").format(name=path.name))
    try:
        with path.open("rb") as file:
            fields = _read_header(file)
            dtype = np.dtype(_TYPES.get(fields.get("ElementType", ""), "V0"))
            if dtype.itemsize == 0 or fields.get("DimSize", "").split() != [str(n) for n in reversed(shape)]:
                raise damaged
            image = new_image(shape, dtype)
            target = voxels(image).reshape(-1).view(np.uint8)
            filled = 0
            for piece in _pieces(file, fields.get("CompressedData") == "True"):
                if filled + len(piece) > len(target):
                    raise damaged
                target[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
                yield filled / len(target)
            if filled != len(target):
                raise damaged
            return image
    except (OSError, zlib.error) as error:
        raise damaged from error


def _read_header(file: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    for _number in range(200):
        name, equals, value = file.readline(65536).decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return fields if value.strip() == "LOCAL" else {}
    return {}


def _pieces(file: BinaryIO, compressed: bool) -> Iterator[bytes]:
    unpack = zlib.decompressobj() if compressed else None
    while True:
        if unpack is None:
            piece = file.read(PIECE)
        else:
            packed = unpack.unconsumed_tail or file.read(PIECE)
            piece = unpack.decompress(packed, PIECE) if packed else b""
        if not piece:
            return
        yield piece
