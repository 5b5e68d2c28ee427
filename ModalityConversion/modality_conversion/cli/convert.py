"""`modality-conversion convert`: one scan in, a synthetic one out, with its account beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..dicom import DicomVolume
from ..errors import Cancelled, ConversionError
from ..gate_pass import add_to_report, looked_at_once, pass_gate
from ..progress import Progress
from . import options
from .console import (
    ProgressStyle,
    announce,
    announce_labels,
    announce_trust,
    ended_with_parent,
    json_line,
    libraries_silenced,
    shown,
    stop_on_signal,
)
from .labeller import Labeller
from .lesions import Finder, Known
from .outputs import Outputs, check_dicom, conversion_writers, write_together
from .scans import From, Named, Others, Scans, Series, converter, read_paths
from .trust import Trust


def convert(
    input: Annotated[Path, typer.Argument(help="The scan: NIfTI, NRRD, MetaImage, or a folder of DICOM.")],
    to: Annotated[str, typer.Option("--to", help="What to make: CT, T1, T2, FLAIR, ...", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The file to write: .nii.gz, .nii, .nrrd or .mha; of a DICOM scan also a folder, for a DICOM series.",
            show_default=False,
        ),
    ],
    source: From = None,
    other: Others = None,
    series: Series = None,
    model: Annotated[str | None, typer.Option(help="A model's id; else the best that fits.")] = None,
    models_dir: options.ModelsDirs = None,
    device: options.Device = "auto",
    mask: Annotated[Path | None, typer.Option(help="Where to convert: a mask on the scan's grid.")] = None,
    uncertainty: Annotated[
        Path | None, typer.Option(help="Write one standard deviation, in the target's units.")
    ] = None,
    interval: Annotated[
        Path | None,
        typer.Option(
            help="Write how far the truth may be: half-widths of the calibrated interval, in the target's units."
        ),
    ] = None,
    consistency: Annotated[
        Path | None, typer.Option(help="Convert back, and write where that disagrees with the scan.")
    ] = None,
    lesion_report: Annotated[
        Path | None,
        typer.Option(
            help="Check whether lesions were kept, and write the page here: .html; of a DICOM scan also .dcm, a structured "
            "report."
        ),
    ] = None,
    check_lesions: Annotated[
        bool,
        typer.Option("--check-lesions", help="Check whether lesions were kept; the report says it, without a page."),
    ] = False,
    known: Known = None,
    finder: Finder = None,
    segmentation: Annotated[Path | None, typer.Option(help="Segment the scan too, and write the label map.")] = None,
    segmentation_model: Annotated[
        str | None, typer.Option(help="The id of a model that segments; else the best that fits.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON here too.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write a picture (PNG) of the scan and the result.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Convert what the model's gate refuses, too; the result is marked so.")
    ] = False,
    progress: options.Progress = ProgressStyle.bar,
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Convert a scan. The output lies on the scan's own grid and is marked synthetic, not for diagnosis."""
    target = options.modality(to)
    named = Named.of(input, source, other, series)
    if segmentation_model and not segmentation:
        raise typer.BadParameter("Say with --segmentation where the labels go.", param_hint="--segmentation-model")
    if (known or finder) and not (lesion_report or check_lesions):
        hint = "--lesions" if known else "--finder"
        raise typer.BadParameter("Ask for the check with --lesion-report or --check-lesions.", param_hint=hint)
    with shown(progress) as tell, stop_on_signal() as asked_to_stop, ended_with_parent(stop_with_parent, progress):
        notes: list[str] = []
        files = named.files(partial(_tell_of_reading, tell), asked_to_stop, notes)
        volumes = {"--out": out, **({"--segmentation": segmentation} if segmentation else {})}
        is_dicom = isinstance(next(iter(files.values())), DicomVolume)
        check_dicom(out, (uncertainty, segmentation, lesion_report), is_dicom, target)
        maps = {"--uncertainty": uncertainty, "--interval": interval, "--consistency": consistency}
        outputs = Outputs(volumes, maps, report, figure, lesion_report, objects=is_dicom, series=is_dicom)
        outputs.check(read_paths(files, mask, known))
        catalog = options.catalog(models_dir)
        bundle = converter(catalog, list(files), target, model)
        if uncertainty and bundle.spec.output.uncertainty is None:
            raise ConversionError(f"{bundle.spec.id} does not say how sure it is. Leave --uncertainty out.")
        lesions = check_lesions or lesion_report is not None
        trust = Trust.of(bundle, catalog, list(files), target, interval, consistency, lesions, known, finder)
        labeller = Labeller.of(catalog, list(files), segmentation_model, force) if segmentation else None

        tell(Progress("read", 0, 1, None))
        scans = Scans.read(files, mask, partial(_tell_of_reading, tell), asked_to_stop)
        look = looked_at_once()
        verdict = pass_gate(scans.images, bundle.spec, force, notes, look)
        if labeller is not None:
            labeller.pass_gate(scans, look)
        trust.read(next(iter(scans.images.values())))
        tell(Progress("read", 1, 1, None))

        from ..convert import convert as run

        conversion = run(
            scans.images,
            bundle,
            target=target,
            device=device,
            mask=scans.mask,
            uncertainty=uncertainty is not None or trust.needs_spread,
            progress=tell,
            cancel=asked_to_stop,
        )
        conversion.report["source"]["files"] = scans.account
        conversion.report["warnings"][:0] = scans.notes
        add_to_report(conversion.report, verdict, force, notes)
        labels = None
        if labeller is not None:
            labels = labeller.label(scans, device, tell, asked_to_stop)
            conversion.report["segmentation"] = {**labels.report, "output": str(segmentation)}
        found = trust.look(conversion, scans, device, tell, asked_to_stop)
        tell(Progress("write", 0, 1, None))
        if asked_to_stop():
            raise Cancelled
        modality, image = next(iter(scans.images.items()))
        with libraries_silenced():
            writers = conversion_writers(outputs, conversion, image, modality, labels, scans.main_series)
            write_together([*writers, *found.writers(outputs, conversion.report, scans, writers)])
        tell(Progress("write", 1, 1, None))
        if progress is ProgressStyle.json:
            json_line(result={**conversion.report, "output": str(out)})
    if progress is not ProgressStyle.json:
        announce(conversion.report, out, f"synthetic {target}")
        if labels is not None and segmentation is not None:
            announce_labels(labels.report, segmentation)
        announce_trust(conversion.report)


def _tell_of_reading(tell: Callable[[Progress], None], done: int, total: int) -> None:
    """Files of a DICOM series; the end is told when everything is read."""
    if done < total:
        tell(Progress("read", done, total, None))
