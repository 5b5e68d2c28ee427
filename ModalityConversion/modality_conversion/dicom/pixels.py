"""The stored values of an image, decoded and turned into units."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import ConversionError
from ..image_io import check_name
from .frame import Frame, number
from .library import pydicom

_AGAIN = "Copy it again from where it came."


def planes(path: Path, content: bytes, frames: list[Frame]) -> Iterator[np.ndarray]:
    """The values of these frames of one file in their units, (rows, columns) each, float64.

    `content` is the file's. Voxels that a CT marks as padding become its lowest value. Raises ConversionError where there
    are no pixels, too few of them, or they are compressed in a way that nothing here can read.
    """
    try:
        dataset = pydicom().dcmread(io.BytesIO(content), force=True)
    except Exception as error:
        raise ConversionError(f"{path} is damaged or was cut short ({type(error).__name__}). {_AGAIN}") from None
    if not dataset.get("PixelData"):
        raise ConversionError(f"{path} has no image in it (no PixelData). {_AGAIN}")
    for frame in frames:
        values, is_in_units = _decoded(dataset, path, frame)
        if values.shape != (frame.rows, frame.columns):
            raise ConversionError(f"{path} is damaged: its image is not as large as its header says. {_AGAIN}")
        padding = None if is_in_units else _padding(dataset, values)
        values = values.astype(np.float64)
        if not is_in_units:
            values = values * frame.slope + frame.intercept
        if padding is not None:
            values[padding] = values[~padding].min()
        yield values


def _decoded(dataset: Any, path: Path, frame: Frame) -> tuple[np.ndarray, bool]:
    """Stored values of one frame, and whether they are in units already."""
    index = None if frame.number is None else frame.number - 1
    try:
        return np.asarray(pydicom().pixels.pixel_array(dataset, index=index)), False
    except (NotImplementedError, RuntimeError) as error:  # compressed in a way that pydicom's decoders do not read
        values = _by_gdcm(path, dataset) if frame.number is None else None
        if values is not None:
            return values, True
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        name = getattr(syntax, "name", None) or "an unknown way"
        raise ConversionError(
            f"{path} is stored as {name}, which cannot be decoded here ({type(error).__name__}). "
            "Let the archive send it uncompressed."
        ) from None
    except Exception as error:
        raise ConversionError(f"{path} is damaged or was cut short ({type(error).__name__}). {_AGAIN}") from None


def _by_gdcm(path: Path, dataset: Any) -> np.ndarray | None:
    """The values in units by the GDCM inside SimpleITK, which reads JPEG of the older kinds; None where it cannot."""
    check_name(path)
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    except RuntimeError:
        return None
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings)
    array = sitk.GetArrayFromImage(image)
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else None


def _padding(dataset: Any, values: np.ndarray) -> np.ndarray | None:
    """Where a CT has no measurement (PixelPaddingValue, PixelPaddingRangeLimit); None where it says nothing of it."""
    first, last = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    if first is None or dataset.get("Modality") != "CT":
        return None
    if dataset.get("PixelRepresentation") and first > 32767:  # written as unsigned although the pixels are signed
        first -= 65536
    last = first if last is None else last
    inside = (values >= min(first, last)) & (values <= max(first, last))
    return inside if inside.any() and not inside.all() else None
