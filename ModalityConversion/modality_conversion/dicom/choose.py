"""Which of the volumes in a folder is meant."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConversionError
from ..modality import Modality
from .find import Listing
from .volume import DicomVolume, listed


def choose(listing: Listing, series: str | None = None, modality: Modality | None = None) -> DicomVolume:
    """The volume with this `series` (a SeriesInstanceUID, or a volume's `id`), or of this `modality`, or the only one.

    Raises ConversionError, listing what there is, where none or several fit, where no volume can be made of the one that
    fits, and where a damaged file may belong to it.
    """
    folder, volumes = listing.folder, listing.volumes
    if listing.damaged:
        path, what = listing.damaged[0]
        more = f"; so are {len(listing.damaged) - 1} more" if len(listing.damaged) > 1 else ""
        raise ConversionError(f"{path} {what}{more}. Copy it again from where it came, or take it out of the folder.")
    if not volumes:
        raise ConversionError(f"{folder} holds no CT, MR or PET scan in DICOM{_what_else(listing)}. Check the path.")
    fitting = [volume for volume in volumes if not volume.is_synthetic]  # not by chance: it has to be asked for
    if series is not None:
        fitting = [volume for volume in volumes if series in (volume.series, volume.id)]
        if not fitting:
            raise ConversionError(f"{folder} has no series {series}. It has {listed(volumes)}.")
    if not fitting:
        raise ConversionError(f"{folder} holds synthetic series only: {listed(volumes)}. Name one with --series.")
    fitting = _of_modality(fitting, modality) or fitting
    if len(fitting) > 1:
        asked = " Say which with --series." if modality else " Say which with --series, or what you want with --from."
        raise ConversionError(f"{folder} holds {len(fitting)} volumes that it could be: {listed(fitting)}.{asked}")
    volume = fitting[0]
    if volume.refusal:
        raise ConversionError(f"The series {volume.id} in {folder} {volume.refusal}")
    if len(volume.frames) == 1 and volume.frames[0].number is None and not _is_whole(listing, volume):
        raise ConversionError(f"{volume.paths[0]} is one slice of a series. Give the folder that holds them all.")
    return volume


def _of_modality(volumes: list[DicomVolume], modality: Modality | None) -> list[DicomVolume]:
    """Those whose tags say this modality, else those whose tags do not say that they are something else.

    Without a modality: all but those whose tags say that they are no plain scan.
    """
    if modality is None:
        return [volume for volume in volumes if volume.found.modality or not volume.found.is_certain]
    named = [volume for volume in volumes if volume.found.modality == modality]
    return named or [volume for volume in volumes if not volume.found.is_certain]


def _is_whole(listing: Listing, volume: DicomVolume) -> bool:
    """Whether one slice is all there is: given as a file, the others may lie beside it."""
    return not listing.is_one_file or len(_beside(volume.paths[0])) == 1


def _beside(path: Path) -> list[Path]:
    return [other for other in path.parent.iterdir() if other.is_file() and other.suffix == path.suffix]


def _what_else(listing: Listing) -> str:
    if listing.others:
        return f", only {listing.others} other DICOM objects"
    return f", only {listing.foreign} files of other kinds" if listing.foreign else ""
