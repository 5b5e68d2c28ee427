"""One conversion from the click to the nodes: hand over, convert in a process of its own, take back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from modality_conversion.modality import Modality
from modality_conversion.progress import Progress

from . import handover, masks, metaimage, results, settings, volumes
from .process import EngineProcess
from .request import Request
from .run import Run, Steps
from .workspace import Workspace


class Conversion(Run):
    """A conversion under way; its outcome is a `Results`. Ends when its nodes leave the scene or the scene closes.

    Raises ConversionError at once where the request cannot work.
    """

    def __init__(
        self,
        request: Request,
        on_progress: Callable[[Progress], None] | None = None,
        on_end: Callable[[Any], None] | None = None,
    ) -> None:
        request.check()
        self.request = request
        super().__init__(on_progress, on_end)
        self.watch([*request.read, *([request.output] if request.output else [])])

    def undo(self) -> None:
        """Take the new nodes out of the scene again."""
        if self.outcome is not None:
            results.discard(node for node in self.outcome.nodes if node is not self.request.output)
            self.outcome = None

    def steps(self) -> Steps:
        """Hand over, wait for the process, take back, add to the scene."""
        request = self.request
        with Workspace() as folder:
            origin = results.Origin(request.scan)
            self.tell("read", 0, 1)
            warnings: list[str] = []
            paths, mask = yield from hand_over(request, folder, warnings)
            lesions = yield from hand_over_lesions(request, folder)
            with EngineProcess(arguments(request, paths, mask, folder, lesions), folder) as process:
                report = yield from self.listen(process)
            report["warnings"] = [*warnings, *report.get("warnings", [])]
            images = {}
            for name in ("volume", "uncertainty", "interval", "consistency", "segmentation"):
                file = folder / f"{name}.mha"
                if file.exists():
                    images[name] = yield from take_back(file, origin.shape)
        return results.add_to_scene(request, origin, images, _without_temporary_files(report))


def _without_temporary_files(report: dict[str, Any]) -> dict[str, Any]:
    """The report without the names of files that are gone."""
    kept = {key: value for key, value in report.items() if key != "output"}
    kept["source"] = {key: value for key, value in report.get("source", {}).items() if key != "files"}
    if "segmentation" in report:
        kept["segmentation"] = _without_temporary_files(report["segmentation"])
    return kept


def hand_over(
    request: Request, folder: Path, warnings: list[str]
) -> Generator[bool, None, tuple[dict[Modality, Path], Path | None]]:
    """Write the scans and the mask; returns their files. `warnings` gets what the user should know."""
    paths = {}
    for modality, node in {request.modality: request.scan, **request.further}.items():
        paths[modality] = folder / f"{modality.value}.mha"
        yield from handover.write(request.scan, node, modality, paths[modality], warnings)
    if request.mask is None:
        return paths, None
    mask = folder / "mask.mha"
    found = masks.on_grid_of(request.scan, request.mask, request.segment)
    yield from written(metaimage.write(found, volumes.ijk_to_ras(request.scan), mask))
    return paths, mask


def hand_over_lesions(request: Request, folder: Path) -> Generator[bool, None, Path | None]:
    """Write the outline of lesions, where one is to be used, on the scan's grid."""
    if request.lesions is None or not request.check_lesions:
        return None
    outline = folder / "lesions.mha"
    found = masks.on_grid_of(request.scan, request.lesions)
    yield from written(metaimage.write(found, volumes.ijk_to_ras(request.scan), outline))
    return outline


def written(work: Iterator[float]) -> Generator[bool, None, None]:
    """Turns of writing as turns of a run."""
    for _fraction in work:
        yield True


def take_back(file: Path, shape: tuple[int, int, int]) -> Generator[bool, None, Any]:
    """Read a volume of a known shape (k, j, i) as a VTK image."""
    work = metaimage.read(file, shape)
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value
        yield True


def arguments(
    request: Request, paths: Mapping[Modality, Path], mask: Path | None, folder: Path, lesions: Path | None = None
) -> list[str]:
    """The engine's command line for a request."""
    (first, scan), *further = paths.items()
    if request.target is None:
        words = ["segment", str(scan), "--from", first.value, "--out", str(folder / "segmentation.mha")]
        words += ["--force"] if request.force else []
    else:
        words = ["convert", str(scan), "--from", first.value, "--to", request.target.value]
        words += ["--out", str(folder / "volume.mha")]
        words += ["--uncertainty", str(folder / "uncertainty.mha")] if request.uncertainty else []
        words += ["--interval", str(folder / "interval.mha")] if request.interval else []
        words += ["--force"] if request.force else []
        words += ["--segmentation", str(folder / "segmentation.mha")] if request.segmentation else []
        words += ["--consistency", str(folder / "consistency.mha")] if request.convert_back else []
        words += ["--check-lesions"] if request.check_lesions else []
        words += ["--lesions", str(lesions)] if lesions is not None else []
    for modality, path in further:
        words += ["--input", f"{modality.value}={path}"]
    words += ["--model", request.model] if request.model else []
    words += ["--mask", str(mask)] if mask is not None else []
    return [*words, *models_dirs(), "--device", request.device, "--progress", "json", "--stop-with-parent"]


def models_dirs() -> list[str]:
    """The options that make the engine see the models that the panel shows."""
    return [word for place in settings.catalog().dirs for word in ("--models-dir", str(place))]
