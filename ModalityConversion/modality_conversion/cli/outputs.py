"""The files that a conversion writes: checked before the work, written all or none, and never over the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..errors import ConversionError
from ..image_io import check_folder, check_output_path, replacing, save_image, save_json
from ..modality import Modality, read_sidecar, sidecar_path
from ..report import header_fields

if TYPE_CHECKING:
    from ..convert import Conversion


@dataclass(frozen=True)
class Outputs:
    """Where a conversion's results go."""

    volume: Path
    uncertainty: Path | None = None
    report: Path | None = None
    figure: Path | None = None

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the volume."""
        return sidecar_path(self.volume)

    def check(self, read: Sequence[Path]) -> None:
        """Refuse places that cannot be written, that stand for two files, or that hold what was `read`.

        Raises ConversionError with what to do.
        """
        for path in filter(None, (self.volume, self.uncertainty)):
            check_output_path(path)
        for path in filter(None, (self.sidecar, self.report, self.figure)):
            check_folder(path)
        if self.figure and self.figure.suffix.lower() != ".png":
            raise ConversionError(f"{self.figure} is not a picture's name. Let it end in .png.")
        taken: dict[Path, str] = {path.resolve(): "one of the scans given" for path in read}
        taken |= {sidecar_path(path).resolve(): "the side-car of a scan given" for path in read}
        for path, what in self._named():
            if path.resolve() in taken:
                raise ConversionError(f"{path} is {taken[path.resolve()]}. Choose another name for {what}.")
            taken[path.resolve()] = what
        if self.sidecar.exists() and not read_sidecar(self.volume).get("synthetic"):
            raise ConversionError(
                f"{self.sidecar} is there already and not from this tool. Choose another name for --out."
            )

    def _named(self) -> list[tuple[Path, str]]:
        """Every file to write once, with its name for the user; a report at the side-car's place is the side-car."""
        named = [(self.volume, "--out"), (self.sidecar, "--out")]
        optional = [(self.uncertainty, "--uncertainty"), (self.report, "--report"), (self.figure, "--figure")]
        return named + [(path, what) for path, what in optional if path and (path, what) != (self.sidecar, "--report")]

    def write(self, conversion: Conversion, source: sitk.Image, modality: Modality) -> None:
        """Write every file beside its place first; then all take their places, the volume last.

        Raises ConversionError when one of them cannot be written; then none is.
        """
        fields = header_fields(conversion.report)
        writers: list[tuple[Path | None, Callable[[Path], object]]] = [
            (self.volume, lambda path: save_image(conversion.image, path, fields)),
            (self.sidecar, lambda path: save_json(conversion.report, path)),
            (self.report, lambda path: save_json(conversion.report, path)),
        ]
        spread = conversion.uncertainty
        if spread is not None:
            notes = f"UNCERTAINTY of a {fields['ITK_FileNotes']}"[:79]
            more = {**fields, "ITK_FileNotes": notes, "content": "one standard deviation"}
            writers.append((self.uncertainty, lambda path: save_image(spread, path, more)))
        if self.figure:
            from ..figure import save_conversion_figure

            writers.append((self.figure, lambda path: save_conversion_figure(path, source, modality, conversion)))
        with contextlib.ExitStack() as last_first:
            for path, write in writers:
                if path is not None:
                    write(last_first.enter_context(replacing(path)))
