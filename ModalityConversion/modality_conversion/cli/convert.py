"""`modality-conversion convert`: one scan in, a synthetic one out, with its account beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..bundle import Bundle
from ..catalog import Catalog
from ..errors import Cancelled, ConversionError
from ..image_io import read_image, scan_hash
from ..modality import Modality, recognise_file
from ..progress import Progress
from ..sources import why_unfit
from . import options
from .console import ProgressStyle, json_line, libraries_silenced, shown, stop_on_signal
from .outputs import Outputs


def convert(
    input: Annotated[Path, typer.Argument(help="The scan: NIfTI, NRRD or MetaImage.")],
    to: Annotated[str, typer.Option("--to", help="What to make: CT, T1, T2, FLAIR, ...", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="The file to write: .nii.gz, .nii, .nrrd or .mha.", show_default=False)
    ],
    source: Annotated[
        str | None, typer.Option("--from", help="What the scan is; else read from the side-car or the file name.")
    ] = None,
    other: Annotated[
        list[str] | None, typer.Option("--input", help="A further scan, as T2=FILE. May be given several times.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's id; else the best that fits.")] = None,
    models_dir: options.ModelsDirs = None,
    device: options.Device = "auto",
    mask: Annotated[Path | None, typer.Option(help="Where to convert: a mask on the scan's grid.")] = None,
    uncertainty: Annotated[
        Path | None, typer.Option(help="Write one standard deviation, in the target's units.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON here too.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write a picture (PNG) of the scan and the result.")] = None,
    progress: Annotated[ProgressStyle, typer.Option(help="How to show progress.")] = ProgressStyle.bar,
) -> None:
    """Convert a scan. The output lies on the scan's own grid and is marked synthetic, not for diagnosis."""
    target = options.modality(to)
    first = options.modality(source) if source else None
    further = [_further(text) for text in other or ()]
    with shown(progress) as tell, stop_on_signal() as asked_to_stop:
        files = _files(input, first, further)
        outputs = Outputs(out, uncertainty, report, figure)
        outputs.check([*files.values(), *([mask] if mask else [])])
        bundle = _choose(options.catalog(models_dir), list(files), target, model)
        if uncertainty and bundle.spec.output.uncertainty is None:
            raise ConversionError(f"{bundle.spec.id} does not say how sure it is. Leave --uncertainty out.")

        tell(Progress("read", 0, 1, None))
        with libraries_silenced():
            images = {modality: read_image(path) for modality, path in files.items()}
            mask_image = read_image(mask) if mask else None
        read = [{"modality": m.value, "name": path.name, "sha256": scan_hash(path)} for m, path in files.items()]
        tell(Progress("read", 1, 1, None))

        from ..convert import convert as run

        conversion = run(
            images,
            bundle,
            target=target,
            device=device,
            mask=mask_image,
            uncertainty=uncertainty is not None,
            progress=tell,
            cancel=asked_to_stop,
        )
        conversion.report["source"]["files"] = read
        tell(Progress("write", 0, 1, None))
        if asked_to_stop():
            raise Cancelled
        modality, image = next(iter(images.items()))
        with libraries_silenced():
            outputs.write(conversion, image, modality)
        tell(Progress("write", 1, 1, None))
        if progress is ProgressStyle.json:
            json_line(result={**conversion.report, "output": str(out)})
    if progress is not ProgressStyle.json:
        _announce(conversion.report, out)


def _further(text: str) -> tuple[Modality, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise typer.BadParameter(f"{text!r} is not of the form T2=FILE.", param_hint="--input")
    return options.modality(name), Path(path)


def _files(scan: Path, declared: Modality | None, further: Sequence[tuple[Modality, Path]]) -> dict[Modality, Path]:
    """Every scan by its modality, the main one first. Raises ConversionError when two are called the same."""
    files = {declared or _recognised(scan): scan}
    for modality, path in further:
        if modality in files:
            raise ConversionError(
                f"{files[modality].name} and {path.name} are both given as {modality}. Give one of each."
            )
        files[modality] = path
    return files


def _recognised(path: Path) -> Modality:
    if not path.exists():
        read_image(path)  # says what is wrong with the path, which matters more than the modality
    found = recognise_file(path)
    if found is None:
        raise ConversionError(f"{path.name} does not say what kind of scan it is. Say so, for example with --from T1.")
    return found[0]


def _choose(catalog: Catalog, given: Sequence[Modality], target: Modality, model: str | None) -> Bundle:
    """The model asked for, else the best one that takes just these scans."""
    if model is not None:
        return catalog.get(model)
    source = given[0]
    candidates = catalog.find(source, target)
    reasons = [why_unfit(bundle.spec, given, target) for bundle in candidates]
    for bundle, reason in zip(candidates, reasons):
        if reason is None:
            return bundle
    for reason in filter(None, reasons):
        raise ConversionError(reason)
    reachable = ", ".join(catalog.targets_from(source)) or "nothing"
    raise ConversionError(
        f"No installed model makes {target} from {source}; from {source} there is {reachable}. "
        "See `modality-conversion models list`, or install one with `modality-conversion models install`."
    )


def _announce(report: dict, out: Path) -> None:
    model = report["model"]
    for warning in report["warnings"]:
        typer.echo(f"Note: {warning}", err=True)
    typer.echo(
        f"{out}: synthetic {report['modality']} by {model['id']} {model['version']} on {report['device']} "
        f"in {report['seconds']['total']:.1f} s. {report['notice']}"
    )
