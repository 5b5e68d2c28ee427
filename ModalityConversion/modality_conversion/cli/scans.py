"""The scans that a command is given: which file is what, read, and accounted for; and the model that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import SimpleITK as sitk
import typer

from ..bundle import Bundle
from ..catalog import Catalog
from ..errors import ConversionError
from ..image_io import read_image, scan_hash
from ..modality import Modality, recognise_file
from ..sources import why_unfit
from . import options
from .console import libraries_silenced

From = Annotated[
    str | None, typer.Option("--from", help="What the scan is; else read from the side-car or the file name.")
]
Others = Annotated[
    list[str] | None, typer.Option("--input", help="A further scan, as T2=FILE. May be given several times.")
]


@dataclass(frozen=True)
class Named:
    """What was said of the scans on the command line, before any file is looked at."""

    scan: Path
    declared: Modality | None
    further: tuple[tuple[Modality, Path], ...]

    @classmethod
    def of(cls, scan: Path, source: str | None, others: Sequence[str] | None) -> Named:
        """From the options' texts. Raises typer.BadParameter."""
        declared = options.modality(source) if source else None
        return cls(scan, declared, tuple(_further(text) for text in others or ()))

    def files(self) -> dict[Modality, Path]:
        """Every scan by its modality, the main one first. Raises ConversionError when two are called the same."""
        files = {self.declared or _recognised(self.scan): self.scan}
        for modality, path in self.further:
            if modality in files:
                raise ConversionError(
                    f"{files[modality].name} and {path.name} are both given as {modality}. Give one of each."
                )
            files[modality] = path
        return files


def _further(text: str) -> tuple[Modality, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise typer.BadParameter(f"{text!r} is not of the form T2=FILE.", param_hint="--input")
    return options.modality(name), Path(path)


def _recognised(path: Path) -> Modality:
    if not path.exists():
        read_image(path)  # says what is wrong with the path, which matters more than the modality
    found = recognise_file(path)
    if found is None:
        raise ConversionError(f"{path.name} does not say what kind of scan it is. Say so, for example with --from T1.")
    return found[0]


@dataclass(frozen=True)
class Scans:
    """The scans as read."""

    images: dict[Modality, sitk.Image]
    mask: sitk.Image | None
    account: list[dict[str, Any]]
    """Modality, name and SHA-256 of each file, for the report."""

    @classmethod
    def read(cls, files: dict[Modality, Path], mask: Path | None) -> Scans:
        """Raises ConversionError for a file that cannot be read."""
        with libraries_silenced():
            images = {modality: read_image(path) for modality, path in files.items()}
            mask_image = read_image(mask) if mask else None
        account = [{"modality": m.value, "name": path.name, "sha256": scan_hash(path)} for m, path in files.items()]
        return cls(images, mask_image, account)

    def only(self, wanted: Sequence[Modality]) -> Scans:
        """Some of the scans, in the same order."""
        images = {modality: image for modality, image in self.images.items() if modality in wanted}
        return Scans(images, self.mask, [entry for entry in self.account if entry["modality"] in wanted])


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
