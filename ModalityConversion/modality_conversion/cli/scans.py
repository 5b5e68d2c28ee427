"""The scans that a command is given: which file is what, read, and accounted for; and the model that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import SimpleITK as sitk
import typer

from ..bundle import Bundle
from ..catalog import Catalog
from ..dicom import DicomScan, DicomVolume, choose, find_volumes, is_dicom, read_volume
from ..errors import ConversionError
from ..image_io import read_image, scan_files, scan_hash
from ..modality import Modality, recognise_file
from ..recognise import recognise
from ..sources import why_unfit
from . import options
from .console import libraries_silenced

From = Annotated[
    str | None,
    typer.Option("--from", help="What the scan is; else read from the side-car, the file name, or the image itself."),
]
Others = Annotated[
    list[str] | None, typer.Option("--input", help="A further scan, as T2=FILE. May be given several times.")
]
Series = Annotated[
    str | None,
    typer.Option("--series", help="Of a DICOM folder: the SeriesInstanceUID; see `modality-conversion series`."),
]
Given = Path | DicomVolume
"""A scan that was given: a file, or a volume in a DICOM folder."""
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Named:
    """What was said of the scans on the command line, before any file is looked at."""

    scan: Path
    declared: Modality | None
    further: tuple[tuple[Modality, Path], ...]
    series: str | None = None

    @classmethod
    def of(cls, scan: Path, source: str | None, others: Sequence[str] | None, series: str | None = None) -> Named:
        """From the options' texts. Raises typer.BadParameter."""
        declared = options.modality(source) if source else None
        if series and scan.exists() and not is_dicom(scan):
            raise typer.BadParameter(f"{scan} is no DICOM folder.", param_hint="--series")
        return cls(scan, declared, tuple(_further(text) for text in others or ()), series)

    def files(
        self,
        tell: Tell = lambda done, total: None,
        cancel: Callable[[], bool] = lambda: False,
        notes: list[str] | None = None,
    ) -> dict[Modality, Given]:
        """Every scan by its modality, the main one first. Raises ConversionError when two are called the same.

        Folders are looked through for DICOM series; `tell` hears how far that has come. `notes` gets a line where the
        modality was read off the image.
        """

        def given(path: Path, series: str | None, modality: Modality | None) -> Given:
            return choose(find_volumes(path, tell, cancel), series, modality) if is_dicom(path) else path

        main = given(self.scan, self.series, self.declared)
        files = {self.declared or _recognised(main, [] if notes is None else notes): main}
        for modality, path in self.further:
            if modality in files:
                raise ConversionError(
                    f"{_name(files[modality])} and {path.name} are both given as {modality}. Give one of each."
                )
            files[modality] = given(path, None, modality)
        return files


def _further(text: str) -> tuple[Modality, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise typer.BadParameter(f"{text!r} is not of the form T2=FILE.", param_hint="--input")
    return options.modality(name), Path(path)


def _name(given: Given) -> str:
    return given.name if isinstance(given, Path) else f"DICOM series {given.id}"


def read_paths(files: Mapping[Modality, Given], *others: Path | None) -> list[Path]:
    """Every file that is read, so that none is written over."""
    paths = [
        path for given in files.values() for path in (scan_files(given) if isinstance(given, Path) else given.paths)
    ]
    return [*paths, *filter(None, others)]


def _recognised(path: Given, notes: list[str]) -> Modality:
    """What tags, a file or its image say it is. Raises ConversionError where none does."""
    if isinstance(path, DicomVolume):
        said = path.found
        if said.modality is None:
            why = said.why or "Its tags do not say what kind of scan it is."
            raise ConversionError(f"The series {path.id}: {why} Say so, for example with --from T1.")
        return said.modality
    if not path.exists():
        read_image(path)  # says what is wrong with the path, which matters more than the modality
    found = recognise_file(path)
    if found is not None:
        return found[0]
    silent = f"{path.name} does not say what kind of scan it is"
    say = "Say so, for example with --from T1."
    with libraries_silenced():
        image = read_image(path)
    try:
        seen = recognise(image)
    except ConversionError:  # a recogniser that is missing or damaged; the user can do without
        raise ConversionError(f"{silent}. {say}") from None
    if seen.modality is None:
        looks = "looks like none that this tool knows" if seen.known else "cannot be recognised"
        raise ConversionError(f"{silent}, and the image {looks}. {say}")
    notes.append(
        f"{path.name} does not say what kind of scan it is; by its image it was taken for {seen.modality} "
        f"({seen.confidence:.0%} sure)."
    )
    return seen.modality


@dataclass(frozen=True)
class Scans:
    """The scans as read."""

    images: dict[Modality, sitk.Image]
    mask: sitk.Image | None
    account: list[dict[str, Any]]
    """Modality, name and SHA-256 of each file, for the report."""
    series: dict[Modality, DicomScan] = field(default_factory=dict)
    """Those that came as DICOM."""
    notes: tuple[str, ...] = ()
    """What the user should know of the files, a sentence each."""

    @classmethod
    def read(
        cls,
        files: Mapping[Modality, Given],
        mask: Path | None,
        tell: Tell = lambda done, total: None,
        cancel: Callable[[], bool] = lambda: False,
    ) -> Scans:
        """Raises ConversionError for a file that cannot be read, Cancelled where `cancel` said so."""
        images: dict[Modality, sitk.Image] = {}
        series: dict[Modality, DicomScan] = {}
        account: list[dict[str, str]] = []
        notes: list[str] = []
        for modality, given in files.items():
            with libraries_silenced():
                if isinstance(given, Path):
                    images[modality], sha256 = read_image(given), scan_hash(given)
                else:
                    series[modality] = read_volume(given, tell, cancel)
                    images[modality], sha256 = series[modality].image, series[modality].sha256
                    notes += _notes(given, modality)
            for other in account:
                if other["sha256"] == sha256:
                    notes.append(
                        f"{_name(given)}, given as {modality}, is the same scan as that given as {other['modality']}."
                    )
            account.append({"modality": modality.value, "name": _name(given), "sha256": sha256})
        with libraries_silenced():
            mask_image = read_image(mask) if mask else None
        return cls(images, mask_image, account, series, tuple(notes))

    @property
    def main_series(self) -> DicomScan | None:
        """The first scan, if it came as DICOM."""
        return self.series.get(next(iter(self.images)))

    def only(self, wanted: Sequence[Modality]) -> Scans:
        """Some of the scans, in the same order."""
        images = {modality: image for modality, image in self.images.items() if modality in wanted}
        account = [entry for entry in self.account if entry["modality"] in wanted]
        series = {modality: scan for modality, scan in self.series.items() if modality in wanted}
        return Scans(images, self.mask, account, series, self.notes)


def _notes(volume: DicomVolume, modality: Modality) -> list[str]:
    """What the user should know of a volume that was read as this modality."""
    notes = list(volume.notes)
    if volume.is_synthetic:
        notes.append(f"The {modality} scan says that it is synthetic itself.")
    said = volume.found
    if said.modality not in (None, modality):
        notes.append(f"It was given as {modality}, but {said.why} says {said.modality}.")
    elif said.is_certain and said.modality is None:
        notes.append(f"It was given as {modality}. {said.why}")
    return notes


def converter(catalog: Catalog, given: Sequence[Modality], target: Modality, model: str | None) -> Bundle:
    """The model asked for, else the best one that makes `target` of just these scans."""
    if model is not None:
        return catalog.get(model)
    source = given[0]
    found = _first_fitting(catalog.find(source, target), given, target)
    if found is not None:
        return found
    reachable = ", ".join(catalog.targets_from(source)) or "nothing"
    raise ConversionError(
        f"No installed model makes {target} from {source}; from {source} there is {reachable}. "
        "See `modality-conversion models list`, or install one with `modality-conversion models install`."
    )


def segmenter(catalog: Catalog, given: Sequence[Modality], model: str | None) -> Bundle:
    """The model asked for, else the best one that segments just these scans. Raises ConversionError where none fits."""
    candidates = [catalog.get(model)] if model is not None else catalog.segmenters(given[0])
    found = _first_fitting(candidates, given, None)
    if found is not None:
        return found
    raise ConversionError(
        f"No installed model segments {given[0]}. "
        "See `modality-conversion models list`, or install one with `modality-conversion models install`."
    )


def _first_fitting(candidates: Sequence[Bundle], given: Sequence[Modality], target: Modality | None) -> Bundle | None:
    """None where there are no candidates; raises ConversionError with the first one's reason where none fits."""
    reasons = [why_unfit(bundle.spec, given, target) for bundle in candidates]
    for bundle, reason in zip(candidates, reasons):
        if reason is None:
            return bundle
    for reason in filter(None, reasons):
        raise ConversionError(reason)
    return None
