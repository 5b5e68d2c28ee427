"""`modality-conversion lesions`: were the lesions of a real scan kept in the synthetic one?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import SimpleITK as sitk
import typer

from ..errors import ConversionError
from ..grid import grid_differences
from ..image_io import check_folder, read_image, real_path, save_json, scan_hash
from ..modality import Modality, read_sidecar, recognise_file
from . import options
from .console import ended_with_parent, libraries_silenced, stop_on_signal
from .outputs import Outputs, Writer, check_page, write_together

if TYPE_CHECKING:
    from ..lesion_page import Checked
    from ..lesions import LesionCheck

CRUDE = "crude"
"""Instead of a model's id: the finder that needs none."""

Finder = Annotated[
    str | None,
    typer.Option(
        help="The id of a model that outlines lesions, or `crude`; else the best that fits.", show_default=False
    ),
]
Known = Annotated[
    Path | None, typer.Option("--lesions", help="Lesions outlined on the real scan: a mask or label map on its grid.")
]


def lesions(
    real: Annotated[Path, typer.Argument(help="The real scan that the synthetic one was made from.")],
    synthetic: Annotated[Path, typer.Argument(help="The synthetic one, on the same grid.")],
    source: Annotated[
        str | None, typer.Option("--from", help="What the real scan is; else read from side-car or file name.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", help="What the synthetic scan is; else read from side-car or file name.")
    ] = None,
    known: Known = None,
    synthetic_known: Annotated[
        Path | None,
        typer.Option("--synthetic-lesions", help="Lesions outlined on the synthetic scan, independently."),
    ] = None,
    real_target: Annotated[
        Path | None, typer.Option(help="A real scan of the synthetic one's modality; adds the check against it.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="A mask of the brain; else it is guessed.")] = None,
    finder: Finder = None,
    smallest: Annotated[
        float, typer.Option(help="Volume in mL below which lesions are counted, not judged.", min=0)
    ] = 0.1,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON here.")] = None,
    as_json: options.AsJson = False,
    models_dir: options.ModelsDirs = None,
    device: options.Device = "auto",
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Check whether lesions were kept, lost, added or changed. No result is for diagnosis."""
    if not math.isfinite(smallest):
        raise typer.BadParameter("Give a number of mL.", param_hint="--smallest")
    for first, second, what in (
        (real, synthetic, "the real and the synthetic scan"),
        (known, synthetic_known, "--lesions and --synthetic-lesions"),
    ):
        if first and second and real_path(first) == real_path(second) and first.exists():
            raise ConversionError(f"{first} is given as both {what}, which would agree whatever became of the lesions.")
    files = {"real": real, "synthetic": synthetic}
    files |= {
        name: path
        for name, path in {
            "mask": mask,
            "lesions": known,
            "synthetic_lesions": synthetic_known,
            "real_target": real_target,
        }.items()
        if path
    }
    with stop_on_signal() as asked_to_stop, ended_with_parent(stop_with_parent):
        kinds = (_modality(real, source, "--from"), _modality(synthetic, target, "--to"))
        check_places({"--html": page, "--report": report}, list(files.values()))
        with libraries_silenced():
            images = {name: read_image(path) for name, path in files.items()}
        catalog = options.catalog(models_dir)
        looker = Looker(catalog, finder, device, asked_to_stop, smallest, images.get("mask"))
        checks = [
            looker.check(
                f"Against the real {kinds[0]}",
                images["real"],
                images["synthetic"],
                kinds,
                images.get("lesions"),
                images.get("synthetic_lesions"),
            )
        ]
        if real_target:
            truth, note = _on_grid(images["real"], images["real_target"], real_target)
            checks.append(
                looker.check(
                    f"Against the real {kinds[1]}",
                    truth,
                    images["synthetic"],
                    (kinds[1], kinds[1]),
                    images.get("lesions"),
                    images.get("synthetic_lesions"),
                    note,
                )
            )
        content = account([one.check for one in checks])
        content["files"] = {name: {"name": path.name, "sha256": scan_hash(path)} for name, path in files.items()}
        content["outlined_by"] = looker.models
        writers: list[Writer] = []
        if page:
            about = {name.replace("_", " ").capitalize(): path.name for name, path in files.items()}
            writers.append((page, page_writer(checks, {**about, **_named(looker.models)})))
        if report:
            writers.append((report, lambda path: save_json(content, path)))
        with libraries_silenced():
            write_together(writers)
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        return
    for one in checks:
        tell(one.title, one.check)


class Looker:
    """Looks for lesions with whatever there is: outlines given, a model that segments both scans, or the crude finder."""

    def __init__(
        self,
        catalog: Any,
        finder: str | None,
        device: str,
        cancel: Callable[[], bool],
        smallest: float = 0.1,
        zone: sitk.Image | None = None,
    ) -> None:
        self._catalog, self._finder, self._device, self._cancel = catalog, finder, device, cancel
        self._smallest, self._zone = smallest, zone
        self.models: list[str] = []
        """Id and version of each model that outlined something."""

    def check(
        self,
        title: str,
        real: sitk.Image,
        synthetic: sitk.Image,
        kinds: tuple[Modality, Modality],
        known: sitk.Image | None = None,
        synthetic_known: sitk.Image | None = None,
        note: str | None = None,
    ) -> Checked:
        """One check. Raises ConversionError."""
        from dataclasses import replace

        from ..lesion_page import Checked
        from ..lesions import Limits, check_lesions

        if synthetic_known is None and self._finder != CRUDE:
            known, synthetic_known = self._outlined(real, synthetic, kinds, known)
        result = check_lesions(
            real,
            synthetic,
            real_modality=kinds[0],
            synthetic_modality=kinds[1],
            real_lesions=known,
            synthetic_lesions=synthetic_known,
            zone=self._zone,
            limits=Limits(smallest_ml=self._smallest),
        )
        if note:
            result = replace(result, warnings=(note, *result.warnings))
        return Checked(title, result, real, synthetic)

    def _outlined(
        self,
        real: sitk.Image,
        synthetic: sitk.Image,
        kinds: tuple[Modality, Modality],
        known: sitk.Image | None,
    ) -> tuple[sitk.Image | None, sitk.Image | None]:
        """Outlines by models, of both scans or of none: a model's on one and a crude guess on the other match badly."""
        from ..lesion_outlines import outline, outliners

        first, second = (outliners(self._catalog, kind, self._finder) for kind in kinds)
        if not second or not (first or known is not None):
            if self._finder is not None:
                raise ConversionError(
                    f"{self._finder} does not outline lesions on {kinds[0]} and on {kinds[1]} alone. Choose another model, "
                    f"or --finder {CRUDE}."
                )
            return known, None
        masks = []
        for scan, kind, models in ((real, kinds[0], first), (synthetic, kinds[1], second)):
            if scan is real and known is not None:
                masks.append(known)
                continue
            found = outline(scan, kind, models[0], device=self._device, cancel=self._cancel)
            if found.model not in self.models:
                self.models.append(found.model)
            masks.append(found.image)
        return masks[0], masks[1]


def account(checks: list[LesionCheck]) -> dict[str, Any]:
    """The first check's report; a second one, against a real target, under `against_real_target`."""
    content = checks[0].as_dict()
    if len(checks) > 1:
        content["against_real_target"] = checks[1].as_dict()
    return content


def page_writer(
    checks: list[Checked], about: Mapping[str, str], lines: tuple[str, ...] = ()
) -> Callable[[Path], object]:
    """What writes the page."""
    from ..lesion_page import page

    return lambda path: path.write_text(page(checks, about, lines), encoding="utf-8")


def check_places(places: Mapping[str, Path | None], read: list[Path]) -> None:
    """Refuse files to write that stand for what was read, for each other, or that lie nowhere. Raises ConversionError."""
    taken = {real_path(path): "one of the files given" for path in read}
    for option, path in places.items():
        if path is None:
            continue
        check_folder(path)
        if option == "--html":
            check_page(path)
        if real_path(path) in taken:
            raise ConversionError(f"{path} is {taken[real_path(path)]}. Choose another name for {option}.")
        taken[real_path(path)] = option


def tell(title: str, check: LesionCheck) -> None:
    """Say what became of the lesions, for a person."""
    typer.echo(f"{title}: {check.verdict}")
    for number, lesion in enumerate(check.lesions, start=1):
        x, y, z = lesion.position
        ratio = "" if lesion.contrast_ratio is None else f", contrast ratio {lesion.contrast_ratio:.2f}"
        typer.echo(
            f"{number:4} {lesion.verdict:8} {lesion.volume_ml:7.2f} mL at ({x:.1f}, {y:.1f}, {z:.1f}) LPS{ratio}: "
            f"{lesion.reason}"
        )
    for warning in check.warnings:
        typer.echo(f"Note: {warning}", err=True)


def _modality(path: Path, declared: str | None, option: str) -> Modality:
    if declared:
        return options.modality(declared)
    if not path.exists():
        read_image(path)  # says what is wrong with the path
    told = read_sidecar(path).get("modality")
    found = recognise_file(path)
    if found is not None:
        return found[0]
    if isinstance(told, str):
        return options.modality(told)
    raise ConversionError(f"{path.name} does not say what kind of scan it is. Say so with {option}.")


def _on_grid(real: sitk.Image, truth: sitk.Image, path: Path) -> tuple[sitk.Image, str | None]:
    """The real target on the real scan's grid, and what to say of it. Raises ConversionError where they do not meet."""
    if not grid_differences(real, truth):
        return truth, None
    lowest = float(sitk.GetArrayViewFromImage(truth).min())
    ones = sitk.Cast(sitk.Cast(truth, sitk.sitkFloat32) * 0 + 1, sitk.sitkUInt8)
    covered = sitk.Resample(ones, real, sitk.Transform(), sitk.sitkNearestNeighbor)
    share = float(sitk.GetArrayViewFromImage(covered).mean())
    if share == 0:
        raise ConversionError(f"{path.name} and the real scan lie in different places. Register them first.")
    moved = sitk.Resample(sitk.Cast(truth, sitk.sitkFloat32), real, sitk.Transform(), sitk.sitkLinear, lowest)
    return moved, f"{path.name} was resampled onto the real scan's grid by its header; it covers {share:.0%} of it."


def _named(models: list[str]) -> dict[str, str]:
    return {"Lesions outlined by": ", ".join(models)} if models else {}


__all__ = ["CRUDE", "Finder", "Known", "Looker", "Outputs", "account", "check_places", "lesions", "page_writer", "tell"]
