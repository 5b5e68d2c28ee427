"""The files that a command writes: checked before the work, written all or none, and never over the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from ..errors import ConversionError
from ..image_io import (
    check_folder,
    check_new_folder,
    check_output_path,
    real_path,
    replacing,
    replacing_folder,
    save_image,
    save_json,
)
from ..modality import Modality, read_sidecar, sidecar_path
from ..report import header_fields

if TYPE_CHECKING:
    from ..convert import Conversion
    from ..dicom import DicomScan
    from ..segment import Segmentation

Writer = tuple[Path, Callable[[Path], object]]
"""A place, and what writes the file, given a name beside it."""


@dataclass
class IntoFolder:
    """Writes not a file but the files of a folder, given an empty one beside its place."""

    write: Callable[[Path], object]
    folder: Path | None = field(default=None, init=False)
    """Where they were written, for what is written after them and refers to them."""

    def __call__(self, folder: Path) -> object:
        """Write them."""
        self.folder = folder
        return self.write(folder)


def is_series(path: Path) -> bool:
    """Whether an output is meant as a folder with a DICOM series: a folder, or a name without an ending."""
    return path.is_dir() or not path.suffix


def is_object(path: Path) -> bool:
    """Whether an output is meant as one DICOM file."""
    return path.suffix.lower() == ".dcm"


def check_page(path: Path, endings: str = ".html") -> None:
    """Refuse a name that is no page's. Raises ConversionError."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConversionError(f"{path} is not a page's name. Let it end in {endings}.")


def check_dicom(out: Path, objects: Sequence[Path | None], is_from_dicom: bool, target: Modality | None) -> None:
    """Refuse DICOM outputs that cannot be made: of a scan that is no DICOM, of a target that has no object.

    `out` may be a series or an object, `objects` only objects. Raises ConversionError with what to do.
    """
    from ..dicom.write import check_writable

    if target is not None and is_object(out):
        raise ConversionError(f"{out}: a DICOM series is one file a slice. Give a folder: a name without an ending.")
    wanted = [path for path in objects if path and is_object(path)]
    wanted += [out] if is_object(out) or (target is not None and is_series(out)) else []
    if wanted and not is_from_dicom:
        raise ConversionError(
            f"{wanted[0]} would be DICOM, which takes its patient and study from a DICOM scan; the scan given is none. "
            "Give another ending: .nii.gz, .nii, .nrrd or .mha for a volume, .html for a lesion report."
        )
    if target is not None and is_series(out):
        check_writable(target)


@dataclass(frozen=True)
class Outputs:
    """Where a command's results go, each by the option that names it."""

    volumes: Mapping[str, Path]
    """Volumes with a side-car JSON that accounts for them."""
    bare: Mapping[str, Path | None] = field(default_factory=dict)
    """Volumes without one."""
    report: Path | None = None
    figure: Path | None = None
    page: Path | None = None
    """The lesion check: a page, or a DICOM structured report."""
    objects: bool = False
    """Whether a volume or the lesion check may be a DICOM file."""
    series: bool = False
    """Whether `--out` may be a DICOM series."""

    def check(self, read: Sequence[Path]) -> None:
        """Refuse places that cannot be written, that stand for two files, or that hold what was `read`.

        Raises ConversionError with what to do.
        """
        for what, path in (*self.volumes.items(), *self.bare.items()):
            if path and self.objects and is_object(path):
                check_folder(path)
            elif path and self.series and what == "--out" and is_series(path):
                check_new_folder(path)
            elif path:
                check_output_path(path)
        for path in filter(None, (*map(sidecar_path, self.volumes.values()), self.report, self.figure, self.page)):
            check_folder(path)
        if self.figure and self.figure.suffix.lower() != ".png":
            raise ConversionError(f"{self.figure} is not a picture's name. Let it end in .png.")
        if self.page and not (self.objects and is_object(self.page)):
            check_page(self.page, ".html, or, of a DICOM scan, in .dcm" if self.objects else ".html")
        taken: dict[Path, str] = {real_path(path): "one of the scans given" for path in read}
        taken |= {real_path(sidecar_path(path)): "the side-car of a scan given" for path in read}
        for path, what in self._named():
            if real_path(path) in taken:
                raise ConversionError(f"{path} is {taken[real_path(path)]}. Choose another name for {what}.")
            taken[real_path(path)] = what
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
        optional.append((self.page, "--lesion-report"))
        if self.report not in [path for path, _ in sidecars[:1]]:
            optional.append((self.report, "--report"))
        return named + [(path, what) for path, what in optional if path]


def write_together(writers: Sequence[Writer]) -> None:
    """Write every file beside its place first; then all take their places, the first one last.

    Raises ConversionError when one of them cannot be written; then none is.
    """
    with contextlib.ExitStack() as last_first:
        for path, write in writers:
            hold = replacing_folder if isinstance(write, IntoFolder) else replacing
            write(last_first.enter_context(hold(path)))


def volume(path: Path, image: sitk.Image, report: Mapping[str, Any]) -> list[Writer]:
    """A volume with its account in the header and in the side-car JSON."""
    return [
        (path, lambda partial: save_image(image, partial, header_fields(report))),
        (sidecar_path(path), lambda partial: save_json(report, partial)),
    ]


def labels(path: Path, segmentation: Segmentation, scan: DicomScan | None) -> list[Writer]:
    """A label map with its account beside it; as a DICOM segmentation of `scan` where the name says so."""
    if not is_object(path) or scan is None:
        return volume(path, segmentation.image, segmentation.report)
    from ..dicom.segmentation import save_segmentation

    return [
        (path, lambda partial: save_segmentation(partial, segmentation.image, segmentation.report, scan)),
        (sidecar_path(path), lambda partial: save_json(segmentation.report, partial)),
    ]


def conversion_writers(
    outputs: Outputs,
    conversion: Conversion,
    source: sitk.Image,
    modality: Modality,
    segmentation: Segmentation | None,
    scan: DicomScan | None = None,
) -> list[Writer]:
    """Everything that `convert` writes; the volume first. `scan` is what the source came from, if that is DICOM."""
    fields = header_fields(conversion.report)
    out = outputs.volumes["--out"]
    if scan is not None and is_series(out):
        from ..dicom.write import write_series

        series = IntoFolder(lambda folder: write_series(folder, conversion.image, conversion.report, scan))
        writers: list[Writer] = [
            (out, series),
            (sidecar_path(out), lambda path: save_json(conversion.report, path)),
        ]
    else:
        writers = volume(out, conversion.image, conversion.report)
    writers += outputs.report_writer(conversion.report)
    spread, place = conversion.uncertainty, outputs.bare.get("--uncertainty")
    if spread is not None and place and is_object(place) and scan is not None:
        from ..dicom.parametric_map import save_uncertainty

        writers.append((place, lambda path: save_uncertainty(path, spread, conversion.report, scan)))
    elif spread is not None and place:
        notes = f"UNCERTAINTY of a {fields['ITK_FileNotes']}"[:79]
        more = {**fields, "ITK_FileNotes": notes, "content": "one standard deviation"}
        writers.append((place, lambda path: save_image(spread, path, more)))
    if segmentation is not None:
        writers += labels(outputs.volumes["--segmentation"], segmentation, scan)
    if outputs.figure:
        from ..figure import save_conversion_figure

        writers.append((outputs.figure, lambda path: save_conversion_figure(path, source, modality, conversion)))
    return writers
