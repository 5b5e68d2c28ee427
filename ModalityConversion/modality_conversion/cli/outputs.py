"""The files that a command writes: checked before the work, written all or none, and never over the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from ..errors import ConversionError
from ..image_io import check_folder, check_output_path, replacing, save_image, save_json
from ..modality import Modality, read_sidecar, sidecar_path
from ..report import header_fields

if TYPE_CHECKING:
    from ..convert import Conversion
    from ..segment import Segmentation

Writer = tuple[Path, Callable[[Path], object]]
"""A place, and what writes the file, given a name beside it."""


@dataclass(frozen=True)
class Outputs:
    """Where a command's results go, each by the option that names it."""

    volumes: Mapping[str, Path]
    """Volumes with a side-car JSON that accounts for them."""
    bare: Mapping[str, Path | None] = field(default_factory=dict)
    """Volumes without one."""
    report: Path | None = None
    figure: Path | None = None

    def check(self, read: Sequence[Path]) -> None:
        """Refuse places that cannot be written, that stand for two files, or that hold what was `read`.

        Raises ConversionError with what to do.
        """
        for path in filter(None, (*self.volumes.values(), *self.bare.values())):
            check_output_path(path)
        for path in filter(None, (*map(sidecar_path, self.volumes.values()), self.report, self.figure)):
            check_folder(path)
        if self.figure and self.figure.suffix.lower() != ".png":
            raise ConversionError(f"{self.figure} is not a picture's name. Let it end in .png.")
        taken: dict[Path, str] = {path.resolve(): "one of the scans given" for path in read}
        taken |= {sidecar_path(path).resolve(): "the side-car of a scan given" for path in read}
        for path, what in self._named():
            if path.resolve() in taken:
                raise ConversionError(f"{path} is {taken[path.resolve()]}. Choose another name for {what}.")
            taken[path.resolve()] = what
        for what, path in self.volumes.items():
            if sidecar_path(path).exists() and not read_sidecar(path).get("synthetic"):
                raise ConversionError(
                    f"{sidecar_path(path)} is there already and not from this tool. Choose another name for {what}."
                )

    def report_writer(self, report: Mapping[str, Any]) -> list[Writer]:
        """The report, where one is wanted."""
        return [(self.report, lambda path: save_json(report, path))] if self.report else []

    def _named(self) -> list[tuple[Path, str]]:
        """Every file to write once, with its name for the user; a report at a side-car's place is the side-car."""
        sidecars = [(sidecar_path(path), what) for what, path in self.volumes.items()]
        named = [(path, what) for what, path in self.volumes.items()] + sidecars
        optional = [*((path, what) for what, path in self.bare.items()), (self.figure, "--figure")]
        if self.report not in [path for path, _ in sidecars[:1]]:
            optional.append((self.report, "--report"))
        return named + [(path, what) for path, what in optional if path]


def write_together(writers: Sequence[Writer]) -> None:
    """Write every file beside its place first; then all take their places, the first one last.

    Raises ConversionError when one of them cannot be written; then none is.
    """
    with contextlib.ExitStack() as last_first:
        for path, write in writers:
            write(last_first.enter_context(replacing(path)))


def volume(path: Path, image: sitk.Image, report: Mapping[str, Any]) -> list[Writer]:
    """A volume with its account in the header and in the side-car JSON."""
    return [
        (path, lambda partial: save_image(image, partial, header_fields(report))),
        (sidecar_path(path), lambda partial: save_json(report, partial)),
    ]


def conversion_writers(
    outputs: Outputs, conversion: Conversion, source: sitk.Image, modality: Modality, segmentation: Segmentation | None
) -> list[Writer]:
    """Everything that `convert` writes; the volume first."""
    fields = header_fields(conversion.report)
    writers = volume(outputs.volumes["--out"], conversion.image, conversion.report)
    writers += outputs.report_writer(conversion.report)
    spread, place = conversion.uncertainty, outputs.bare.get("--uncertainty")
    if spread is not None and place:
        notes = f"UNCERTAINTY of a {fields['ITK_FileNotes']}"[:79]
        more = {**fields, "ITK_FileNotes": notes, "content": "one standard deviation"}
        writers.append((place, lambda path: save_image(spread, path, more)))
    if segmentation is not None:
        writers += volume(outputs.volumes["--segmentation"], segmentation.image, segmentation.report)
    if outputs.figure:
        from ..figure import save_conversion_figure

        writers.append((outputs.figure, lambda path: save_conversion_figure(path, source, modality, conversion)))
    return writers
