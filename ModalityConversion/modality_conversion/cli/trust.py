"""What `convert` adds to say how far its result can be believed: interval, way back, lesions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from ..bundle import Bundle
from ..catalog import Catalog
from ..errors import Cancelled, ConversionError
from ..grid import check_same_grid
from ..image_io import read_image, save_image
from ..modality import Modality
from ..progress import Progress
from ..report import header_fields
from .console import libraries_silenced
from .lesions import CRUDE, Looker, page_writer
from .outputs import IntoFolder, Outputs, Writer, is_object
from .scans import Scans

if TYPE_CHECKING:
    from ..convert import Conversion
    from ..dicom import DicomScan
    from ..lesion_page import Checked


@dataclass
class Trust:
    """What was asked for, seen to be possible before the work begins."""

    bundle: Bundle
    target: Modality
    needs_spread: bool
    """Whether the standard deviation is wanted for an interval."""
    way_back: Bundle | None
    """The model that converts back."""
    looker: Callable[[str, Callable[[], bool]], Looker] | None
    """Makes, of a device and of what asks for cancelling, what looks for lesions."""
    known: Path | None
    _known_image: sitk.Image | None = field(default=None, init=False)

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        catalog: Catalog,
        given: Sequence[Modality],
        target: Modality,
        interval: Path | None,
        consistency: Path | None,
        lesions: bool,
        known: Path | None,
        finder: str | None,
    ) -> Trust:
        """Raises ConversionError for what this model, or the models installed, cannot do."""
        from ..consistency import require_reverse
        from ..uncertainty import require_interval, why_no_interval

        if interval:
            require_interval(bundle.spec, target)
        if finder and finder != CRUDE:
            catalog.get(finder)
        return cls(
            bundle,
            target,
            why_no_interval(bundle.spec, target) is None,
            require_reverse(catalog, bundle, given[0], target) if consistency else None,
            (lambda device, cancel: Looker(catalog, finder, device, cancel)) if lesions else None,
            known,
        )

    def read(self, scan: sitk.Image) -> None:
        """Read the outlines of known lesions. Raises ConversionError where they do not lie on the scan's grid."""
        if self.known:
            with libraries_silenced():
                self._known_image = read_image(self.known)
            check_same_grid(scan, self._known_image, "The outline of lesions", "the scan's")

    def look(
        self,
        conversion: Conversion,
        scans: Scans,
        device: str,
        tell: Callable[[Progress], None],
        cancel: Callable[[], bool],
    ) -> Found:
        """Do what was asked for; the report of the conversion learns of it. Raises ConversionError, Cancelled."""
        found = Found(conversion)
        source, scan = next(iter(scans.images.items()))
        report = conversion.report
        if self.needs_spread and conversion.uncertainty is not None:
            from ..uncertainty import interval

            result = interval(
                conversion.image, conversion.uncertainty, self.bundle.spec, list(scans.images), self.target
            )
            if result is not None:
                found.interval = result.half_width
                report["interval"] = result.as_dict()
        if self.way_back is not None:
            from ..consistency import check_consistency

            check = check_consistency(
                scan,
                conversion.image,
                self.way_back,
                source_modality=source,
                target=self.target,
                mask=scans.mask,
                device=device,
                progress=lambda news: _as_stage("consistency", news, tell),
                cancel=cancel,
            )
            found.consistency = check.disagreement
            report["consistency"] = check.as_dict()
        if self.looker is not None:
            tell(Progress("lesions", 0, 1, None))
            report["lesion_check"] = self._lesions(found, scan, source, conversion, device, cancel)
            tell(Progress("lesions", 1, 1, None))
        return found

    def _lesions(
        self,
        found: Found,
        scan: sitk.Image,
        source: Modality,
        conversion: Conversion,
        device: str,
        cancel: Callable[[], bool],
    ) -> dict[str, Any]:
        assert self.looker is not None
        began = time.perf_counter()
        looker = self.looker(device, cancel)
        try:
            checked = looker.check(
                f"Against the real {source}", scan, conversion.image, (source, self.target), self._known_image
            )
        except Cancelled:
            raise
        except ConversionError as error:  # the conversion itself is done, and worth keeping
            found.why_unchecked = f"Lesions were not checked. {error}"
            return {"verdict": found.why_unchecked, "warnings": []}
        found.checked = checked
        seconds = round(time.perf_counter() - began, 3)
        return {**checked.check.as_dict(), "outlined_by": looker.models, "seconds": seconds}


@dataclass
class Found:
    """What came of it."""

    conversion: Conversion
    interval: sitk.Image | None = None
    consistency: sitk.Image | None = None
    checked: Checked | None = None
    why_unchecked: str | None = None

    def writers(
        self, outputs: Outputs, report: Mapping[str, Any], scans: Scans, before: Sequence[Writer]
    ) -> list[Writer]:
        """The maps and the page that were asked for; `before` is what is written first."""
        fields = header_fields(report)
        writers: list[Writer] = []
        maps = (
            ("--interval", self.interval, "INTERVAL", "half-width of the calibrated interval"),
            ("--consistency", self.consistency, "WAY BACK", "converted back minus source"),
        )
        for option, image, word, content in maps:
            place = outputs.bare.get(option)
            if image is not None and place:
                writers.append((place, _map_writer(image, fields, word, content)))
        if outputs.page and is_object(outputs.page) and scans.main_series is not None:
            writers.append((outputs.page, self._object_writer(report, scans.main_series, before)))
        elif outputs.page:
            model = report["model"]
            about = {
                "Real scan": "; ".join(f"{entry['modality']} {entry['name']}" for entry in scans.account),
                "Synthetic scan": f"{report['modality']} {outputs.volumes['--out'].name}",
                "Model": f"{model['id']} {model['version']}",
                "Date": report["date"],
            }
            lines = [report[key]["verdict"] for key in ("interval", "consistency") if key in report]
            if self.why_unchecked:
                lines.append(self.why_unchecked)
            lines += report["warnings"]
            checks = [self.checked] if self.checked is not None else []
            writers.append((outputs.page, page_writer(checks, about, tuple(lines))))
        return writers

    def _object_writer(
        self, report: Mapping[str, Any], scan: DicomScan, before: Sequence[Writer]
    ) -> Callable[[Path], object]:
        """What writes the check as a DICOM structured report, which refers to the synthetic series written before it."""
        from ..dicom.lesion_findings import save_lesion_check

        check = self.checked.check if self.checked is not None else None
        series = next((write for _, write in before if isinstance(write, IntoFolder)), None)

        def write(path: Path) -> None:
            made = series.folder if series is not None else None
            save_lesion_check(path, check, self.why_unchecked, report, scan, made)

        return write


def _map_writer(image: sitk.Image, fields: Mapping[str, str], word: str, content: str) -> Callable[[Path], object]:
    notes = f"{word} of a {fields['ITK_FileNotes']}"[:79]
    return lambda path: save_image(image, path, {**fields, "ITK_FileNotes": notes, "content": content})


def _as_stage(stage: str, news: Progress, tell: Callable[[Progress], None]) -> None:
    """The tiles alone, in a stage of their own."""
    if news.stage == "network":
        tell(Progress(stage, news.done, news.total, news.seconds_left))
