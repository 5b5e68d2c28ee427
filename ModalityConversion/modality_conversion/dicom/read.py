"""A DICOM volume as an image on its grid."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import Cancelled, ConversionError
from ..image_io import check_image
from .frame import Frame
from .grid import Stack, stacked
from .library import quiet
from .pixels import planes
from .volume import DicomVolume


@dataclass(frozen=True)
class DicomScan:
    """A volume as read, and where each of its slices came from."""

    image: sitk.Image
    """int16 or int32 where all values are whole numbers, else float32."""
    volume: DicomVolume
    sha256: str
    """Of the SHA-256 of its files, in the order of the slices."""

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Frame k is slice k of the image."""
        return self.volume.frames


def read_volume(
    volume: DicomVolume,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: Callable[[], bool] = lambda: False,
) -> DicomScan:
    """Read the pixels of a volume.

    Raises ConversionError, naming the file, where one is damaged, has no image or cannot be decoded; Cancelled where
    `cancel` said so.
    """
    if volume.refusal:
        raise ConversionError(f"The series {volume.id} in {volume.folder} {volume.refusal}")
    stack = stacked(volume.frames)
    array: np.ndarray = np.zeros(
        (len(stack.frames), stack.frames[0].rows, stack.frames[0].columns), _dtype(stack.frames)
    )
    limits = np.iinfo(array.dtype) if array.dtype.kind == "i" else None
    digest, done = hashlib.sha256(), 0
    slices: dict[Path, list[int]] = {}
    for k, frame in enumerate(stack.frames):
        slices.setdefault(frame.path, []).append(k)
    with quiet():
        for path, at in slices.items():
            if cancel():
                raise Cancelled
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ConversionError(
                    f"{path} cannot be read: {error.strerror}. Check the disk and your rights."
                ) from None
            digest.update(hashlib.sha256(content).digest())
            for k, values in zip(at, planes(path, content, [stack.frames[k] for k in at])):
                if limits and (values.min() < limits.min or values.max() > limits.max):
                    array, limits = array.astype(np.int32), np.iinfo(np.int32)
                array[k] = values
            done += len(at)
            progress(done, len(stack.frames))
    image = on_stack(stack, array)
    check_image(image, f"The series {volume.id}")
    return DicomScan(image, volume, digest.hexdigest())


def on_stack(stack: Stack, array: np.ndarray) -> sitk.Image:
    """These voxels, (k, j, i), on the grid of a stack."""
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(stack.origin)
    image.SetSpacing(stack.spacing)
    image.SetDirection(stack.direction)
    return image


def _dtype(frames: tuple[Frame, ...]) -> type:
    whole = all(frame.slope.is_integer() and frame.intercept.is_integer() for frame in frames)
    return np.int16 if whole else np.float32
