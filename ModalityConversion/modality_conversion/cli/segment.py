"""`modality-conversion segment`: one scan in, a label map out, with its account beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..dicom import DicomVolume
from ..errors import Cancelled
from ..gate_pass import add_to_report, pass_gate
from ..progress import Progress
from . import options
from .console import (
    ProgressStyle,
    announce_labels,
    ended_with_parent,
    json_line,
    libraries_silenced,
    shown,
    stop_on_signal,
)
from .outputs import Outputs, check_dicom, labels, write_together
from .scans import From, Named, Others, Scans, Series, read_paths, segmenter


def segment(
    input: Annotated[Path, typer.Argument(help="The scan: NIfTI, NRRD, MetaImage, or a folder of DICOM.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The label map to write: .nii.gz, .nii, .nrrd or .mha; of a DICOM scan also .dcm, a segmentation object.",
            show_default=False,
        ),
    ],
    source: From = None,
    other: Others = None,
    series: Series = None,
    model: Annotated[str | None, typer.Option(help="A model's id; else the best that fits.")] = None,
    models_dir: options.ModelsDirs = None,
    device: options.Device = "auto",
    mask: Annotated[Path | None, typer.Option(help="Where to segment: a mask on the scan's grid.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON here too.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Segment what the model's gate refuses, too; the result is marked so.")
    ] = False,
    progress: options.Progress = ProgressStyle.bar,
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Segment a scan. The label map lies on the scan's own grid and is marked not for diagnosis."""
    named = Named.of(input, source, other, series)
    with shown(progress) as tell, stop_on_signal() as asked_to_stop, ended_with_parent(stop_with_parent, progress):
        notes: list[str] = []
        files = named.files(cancel=asked_to_stop, notes=notes)
        is_dicom = isinstance(next(iter(files.values())), DicomVolume)
        check_dicom(out, (), is_dicom, None)
        outputs = Outputs({"--out": out}, report=report, objects=is_dicom)
        outputs.check(read_paths(files, mask))
        bundle = segmenter(options.catalog(models_dir), list(files), model)

        tell(Progress("read", 0, 1, None))
        scans = Scans.read(files, mask, cancel=asked_to_stop)
        verdict = pass_gate(scans.images, bundle.spec, force, notes)
        tell(Progress("read", 1, 1, None))

        from ..segment import segment as run

        result = run(scans.images, bundle, device=device, mask=scans.mask, progress=tell, cancel=asked_to_stop)
        result.report["source"]["files"] = scans.account
        result.report["warnings"][:0] = scans.notes
        add_to_report(result.report, verdict, force, notes)
        tell(Progress("write", 0, 1, None))
        if asked_to_stop():
            raise Cancelled
        with libraries_silenced():
            write_together([*labels(out, result, scans.main_series), *outputs.report_writer(result.report)])
        tell(Progress("write", 1, 1, None))
        if progress is ProgressStyle.json:
            json_line(result={**result.report, "output": str(out)})
    if progress is not ProgressStyle.json:
        announce_labels(result.report, out)
