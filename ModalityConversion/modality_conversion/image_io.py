"""Reading a scan, refusing what cannot be converted, and writing a result whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .bundle import sha256_of
from .errors import ConversionError
from .grid import grid_differences
from .nifti import missing_voxels, with_missing

READABLE = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# Formats of two files (.mhd, .nhdr) cannot be replaced in one step, so they are read but not written.
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")

_MAY_BE_SEVERAL_FILES = (".nrrd", ".nhdr", ".mha", ".mhd")
_LONGEST_HEADER = 1 << 20
_MOST_FILES = 100_000
_ELSEWHERE = "Free some space or choose another folder."
_SHEARED = "sheared axes, which no scanner makes. Resample it onto a straight grid first."


def suffix(path: Path) -> str:
    """The file's ending in lower case, `.nii.gz` as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_image(path: str | os.PathLike[str]) -> sitk.Image:
    """Read a scan. NIfTI, NRRD and MetaImage.

    Raises ConversionError when the file is missing, is of another kind, is damaged, or cannot be converted (`check_image`).
    """
    path = Path(path)
    if path.is_dir():
        raise ConversionError(f"{path} is a folder. Give one file, such as scan.nii.gz.")
    if not path.is_file():
        raise ConversionError(f"{path} does not exist. Check the path.")
    if suffix(path) not in READABLE:
        raise ConversionError(f"{path} is not of a kind that can be read. Use one of {', '.join(READABLE)}.")
    check_name(path)
    _check_pattern(path)
    missing = missing_voxels(path) if suffix(path) in (".nii", ".nii.gz") else None
    try:
        image = _read(path)
    except RuntimeError as error:
        raise ConversionError(f"{path} {_why_unreadable(str(error))}") from None
    image = with_missing(image, missing)
    check_image(image, str(path))
    return image


def _read(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if reader.GetDimension() == 4 and size[3] == 1:  # NIfTI files often carry an empty time axis
            reader.SetExtractSize([*size[:3], 0])
        return reader.Execute()
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warnings)


def check_name(path: Path) -> None:
    """Refuse a name that is no UTF-8: ITK would end the whole process. Raises ConversionError."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ConversionError(f"{os.fsencode(path)!r} has letters that are no UTF-8. Rename it.") from None


def _check_pattern(path: Path) -> None:
    """Refuse a MetaImage whose slices are named by a pattern without three numbers: ITK guesses, or ends the whole process.

    Raises ConversionError.
    """
    if suffix(path) not in (".mha", ".mhd"):
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        named = re.search(rb"^ElementDataFile\s*=\s*(\S*%.*?)\s*$", file.read(_LONGEST_HEADER), re.MULTILINE)
        numbers = named[1].split()[1:] if named else [b"1"] * 3
        if len(numbers) != 3 or not all(re.fullmatch(rb"-?\d+", number) for number in numbers) or int(numbers[2]) == 0:
            raise ConversionError(
                f"{path} names its slices by a pattern that lacks numbers. Write `ElementDataFile = PATTERN FIRST LAST STEP` "
                "or give one file."
            )


def _why_unreadable(error: str) -> str:
    """ITK's error in words for the person whose file it is."""
    if "orthonormal" in error:
        return f"has {_SHEARED}"
    if "Unable to determine ImageIO" in error:
        return "is empty, or not what its name says. Check the file."
    return f"is damaged or was cut short{_last_line(error)}. Copy it again from where it came."


def _last_line(error: str) -> str:
    """` (the end of an ITK error)`, without source file and object address; nothing where it is the system's stale errno."""
    line = error.strip().rpartition("\n")[2].split("):", 1)[-1].strip().rstrip(".")
    return f" ({line})" if line and not line.startswith("Reason:") else ""


def check_image(image: sitk.Image, name: str) -> None:
    """Refuse what cannot be converted, naming it `name`.

    Raises ConversionError unless the image is 3D, scalar, not empty, on a finite grid with orthonormal directions, and has a
    number in at least one voxel.
    """
    if image.GetDimension() != 3:
        raise ConversionError(
            f"{name} has {image.GetDimension()} dimensions. Give one 3D volume; split a series first."
        )
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise ConversionError(f"{name} holds several numbers per voxel (colour or vector). Give a scalar volume.")
    if image.GetNumberOfPixels() == 0:
        raise ConversionError(f"{name} has no voxels: its size is {image.GetSize()}.")
    geometry = np.array([*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()])
    if not np.isfinite(geometry).all() or min(image.GetSpacing()) <= 0:
        raise ConversionError(f"{name} has a grid that is not finite. Repair its header.")
    direction = np.array(image.GetDirection()).reshape(3, 3)
    # NIfTI keeps directions in single precision and quaternions, so exact orthonormality cannot be asked for.
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ConversionError(f"{name} has {_SHEARED}")
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind == "f" and not np.isfinite(array).any():
        raise ConversionError(f"{name} has no number in any voxel (all are NaN or infinite).")


def scan_hash(path: Path) -> str:
    """SHA-256 of a scan's file, as hexadecimal digits; of header and voxels for a scan in several files."""
    files = scan_files(path)
    if len(files) == 1:
        return sha256_of(path)
    digest = hashlib.sha256(path.read_bytes())
    for voxels in files[1:]:
        digest.update(bytes.fromhex(sha256_of(voxels)))
    return digest.hexdigest()


def real_path(path: Path) -> Path:
    """Where a path leads to. Never raises: links that lead in circles lead nowhere."""
    return Path(os.path.realpath(path))


def scan_files(path: Path) -> tuple[Path, ...]:
    """The files of a scan: its own, and those of its voxels where a NRRD or MetaImage header names any. Never raises."""
    if suffix(path) not in _MAY_BE_SEVERAL_FILES:
        return (path,)
    try:
        with path.open("rb") as file:
            header = file.read(_LONGEST_HEADER).split(b"\n\n")[0]  # an empty line ends the header of a NRRD
        found = (path.parent / os.fsdecode(name) for name in _named_files(header))
        return (path, *(voxels for voxels in found if voxels != path and voxels.is_file()))
    except (OSError, ValueError):
        return (path,)


def _named_files(header: bytes) -> Sequence[bytes]:
    """The files of voxels that a header names: one, a list, or a pattern such as `slice%03d.raw 1 176 1`.

    Raises ValueError where its three numbers are none, or the last one is 0.
    """
    named = re.search(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", header, re.MULTILINE | re.IGNORECASE)
    if not named:
        return ()
    first, *numbers = named[1].split()
    if first.upper() == b"LIST":
        return [line.strip() for line in header[named.end() :].splitlines() if line.strip()]
    if re.fullmatch(rb"[^%]*%0?\d{0,2}d[^%]*", first) and len(numbers) >= 3:
        low, high, step = map(int, numbers[:3])
        return [first % number for number in range(low, high + (1 if step > 0 else -1), step)[:_MOST_FILES]]
    return (named[1],)


def check_output_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file to write, checked before any work is done.

    Raises ConversionError when the folder is missing or read-only, or the kind of file cannot be written.
    """
    path = Path(path)
    check_name(path)
    if suffix(path) not in WRITABLE:
        raise ConversionError(f"{path} is not of a kind that can be written. Use one of {', '.join(WRITABLE)}.")
    return check_folder(path)


def check_folder(path: Path) -> Path:
    """The path itself, if a file can be put there. Raises ConversionError when its folder is missing or read-only."""
    if not path.parent.is_dir():
        raise ConversionError(f"The folder {path.parent} does not exist. Make it first.")
    if path.is_dir():
        raise ConversionError(f"{path} is a folder. Give a file name.")
    if not os.access(path.parent, os.W_OK):
        raise ConversionError(f"The folder {path.parent} cannot be written to. Choose another folder.")
    return path


_partial_files: set[Path] = set()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well, and is removed when it does not.

    Raises ConversionError when the disk refuses.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:20]}.", suffix=f".partial{suffix(path)}", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ConversionError(f"{path} cannot be written: {error.strerror}. Choose another folder.") from None
    partial = Path(name)
    _partial_files.add(partial)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be written: {why_refused(error)}. {_ELSEWHERE}") from None
    finally:
        partial.unlink(missing_ok=True)
        _partial_files.discard(partial)


def why_refused(error: BaseException) -> str:
    """What the system says of a file it refused; libraries that pass an error on leave only the first with its words."""
    said = getattr(error, "strerror", None)
    if said:
        return str(said)
    return why_refused(error.__cause__) if error.__cause__ else str(error).partition("\n")[0] or type(error).__name__


def remove_partial_files() -> None:
    """Remove every file and folder that is being written, before the process is ended the hard way. Never raises."""
    for partial in tuple(_partial_files):
        with contextlib.suppress(OSError):  # Windows keeps a file that is still being written
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)


def check_new_folder(path: Path) -> Path:
    """The path itself, if a folder can be made there. Raises ConversionError where something is in the way."""
    check_name(path)
    if not path.parent.is_dir():
        raise ConversionError(f"The folder {path.parent} does not exist. Make it first.")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConversionError(f"{path} is there already and not empty. Choose another name.")
    if not os.access(path.parent, os.W_OK):
        raise ConversionError(f"The folder {path.parent} cannot be written to. Choose another folder.")
    return path


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A private folder beside `path` that takes its place when the block ends well, and is removed when it does not.

    `path` may be an empty folder. Raises ConversionError when the disk refuses.
    """
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name[:20]}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        raise ConversionError(f"{path} cannot be written: {error.strerror}. Choose another folder.") from None
    _partial_files.add(partial)
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be written: {why_refused(error)}. {_ELSEWHERE}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _partial_files.discard(partial)


def _umask() -> int:
    """The permissions that new files lack; mkstemp's own are for one user only."""
    current = os.umask(0)
    os.umask(current)
    return current


def write_image(image: sitk.Image, path: str | os.PathLike[str], fields: Mapping[str, str] | None = None) -> None:
    """Write a volume whole or not at all, with text fields in its header where the format has room.

    NRRD and MetaImage keep all fields; NIfTI keeps the one named `ITK_FileNotes` (79 characters).
    Raises ConversionError when it cannot be written.
    """
    path = check_output_path(path)
    with replacing(path) as partial:
        save_image(image, partial, fields or {})


def save_image(image: sitk.Image, path: Path, fields: Mapping[str, str]) -> None:
    """Write a volume and read it back to compare: ITK does not report a full disk for every format.

    Raises ConversionError when it cannot be written.
    """
    marked = sitk.Image(image)  # shares the voxels until one of them is changed
    for key, value in fields.items():
        marked.SetMetaData(key, _one_line(value))
    try:
        sitk.WriteImage(marked, str(path), useCompression=suffix(path) != ".nii", compressionLevel=1)
        back = _read(path)
    except RuntimeError as error:
        raise ConversionError(f"{path.parent} cannot be written to{_last_line(str(error))}. {_ELSEWHERE}") from None
    same = np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(image), equal_nan=True)
    if not same or grid_differences(image, back):
        raise ConversionError(f"What was written to {path.parent} is not what should be there. {_ELSEWHERE}")


def _one_line(value: str) -> str:
    """Without line breaks and other control characters: a file's name may have them, and a header has a line for each field."""
    return "".join(letter if letter.isprintable() else " " for letter in value)


def save_json(fields: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, indented."""
    # A name that is no UTF-8 has lone surrogates, which are escaped as JSON does.
    path.write_text(
        json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace"
    )
