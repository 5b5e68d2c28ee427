"""`modality-conversion models`: what is installed, whether it is right, and getting more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ..catalog import Entry
from ..errors import ConversionError
from ..progress import Progress
from . import EXIT_FAILED, options
from .console import ProgressStyle, ended_with_parent, json_line, shown, stop_on_signal

app = typer.Typer(help="List, show, check, make, install and remove models.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="A model's id.")]


@app.command("list")
def list_models(models_dir: options.ModelsDirs = None, as_json: options.AsJson = False) -> None:
    """List the installed models, broken ones too."""
    catalog = options.catalog(models_dir)
    entries = catalog.entries()
    if as_json:
        typer.echo(json.dumps([_entry_fields(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        typer.echo(_entry_line(entry))
    if not entries:
        typer.echo(f"No models. They are looked for in {', '.join(map(str, catalog.dirs))}.")


def _entry_fields(entry: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": entry.id, "path": str(entry.path), "bundled": entry.is_bundled}
    if entry.bundle is None:
        return {
            **fields,
            "usable": False,
            "faults": [str(fault) for fault in entry.error.faults] if entry.error else [],
        }
    spec = entry.bundle.spec
    return {
        **fields,
        "usable": entry.shadowed_by is None,
        "title": spec.title,
        "version": spec.version,
        "license": spec.license,
        "sources": [modality.value for modality in spec.modalities],
        "targets": [modality.value for modality in spec.targets],
        "segments": spec.segmentation is not None,
        "shadowed_by": str(entry.shadowed_by) if entry.shadowed_by else None,
    }


def _entry_line(entry: Entry) -> str:
    if entry.bundle is None:
        return f"{entry.id}: cannot be used. {entry.error}"
    spec = entry.bundle.spec
    made = ["/".join(spec.targets), "segmentation" if spec.segmentation else ""]
    makes = " and ".join(filter(None, made))
    note = f" (hidden by {entry.shadowed_by})" if entry.shadowed_by else " (bundled)" if entry.is_bundled else ""
    return f"{spec.id} {spec.version}: {'/'.join(spec.modalities)} -> {makes}. {spec.title}. {spec.license}.{note}"


@app.command()
def show(
    id: Id,
    models_dir: options.ModelsDirs = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print conversion.json, with every default.")] = False,
) -> None:
    """Show a model's card, or its declaration."""
    bundle = options.catalog(models_dir).get(id)
    if as_json:
        typer.echo(json.dumps(bundle.spec.model_dump(mode="json"), indent=2))
        return
    typer.echo(f"{bundle.spec.id} {bundle.spec.version} in {bundle.path}\n\n{bundle.card}")


@app.command()
def check(
    folder: Annotated[Path | None, typer.Argument(help="A model folder.")] = None,
    run: Annotated[bool, typer.Option(help="Run the network once too.")] = False,
    schema: Annotated[bool, typer.Option(help="Print the JSON Schema of conversion.json and stop.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Say whether a model folder is right, or everything that is wrong with it."""
    if schema:
        from ..schema import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        return 0
    if folder is None:
        raise typer.BadParameter("Give a model folder, or --schema.")
    if not folder.is_dir():
        raise ConversionError(f"{folder} is not a folder. Give a model folder.")
    from ..check import check as find_faults

    faults = find_faults(folder, run=run)
    errors = [fault for fault in faults if fault.severity == "error"]
    if as_json:
        fields = [{"where": f.where, "what": f.what, "remedy": f.remedy, "severity": f.severity} for f in faults]
        typer.echo(json.dumps({"usable": not errors, "faults": fields}, indent=2))
    else:
        for fault in faults:
            typer.echo(f"{fault.severity}: {fault}")
        verdict = f"{len(errors)} to correct" if errors else "yes, this model can be used"
        typer.echo(f"{folder}: {verdict}.")
    return EXIT_FAILED if errors else 0


@app.command()
def init(
    network: Annotated[Path, typer.Argument(help="A bare network: .onnx, or TorchScript as .ts or .pt.")],
    source: Annotated[str, typer.Option("--from", help="What it takes: T1, CT, ...", show_default=False)],
    target: Annotated[str, typer.Option("--to", help="What it makes.", show_default=False)],
    into: Annotated[Path, typer.Option(help="The folder that gets the model folder.")] = Path(),
    id: Annotated[str | None, typer.Option(help="The model's id and folder; else made from the other names.")] = None,
    context: Annotated[int | None, typer.Option(help="Slices in, where the file does not say.")] = None,
    license: Annotated[str, typer.Option(help="Licence of the weights, as an SPDX name.")] = "NOASSERTION",
    authors: Annotated[str, typer.Option(help="Who made it.")] = "",
) -> None:
    """Write a first model folder around a bare network, to be completed by its author."""
    from ..scaffold import init as scaffold

    folder = scaffold(
        network,
        source=options.modality(source),
        target=options.modality(target),
        into=into,
        id=id,
        context=context,
        license=license,
        authors=authors,
    )
    typer.echo(f"{folder}: complete configs/conversion.json and docs/README.md, then run: models check {folder} --run")


@app.command()
def install(
    origin: Annotated[str, typer.Argument(help="A model folder, a zip file, or a URL.")],
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the zip file; required for a URL.")] = None,
    into: Annotated[Path | None, typer.Option("--models-dir", help="A folder of models; else the user's own.")] = None,
    replace: Annotated[bool, typer.Option(help="Replace a model with the same id.")] = False,
    progress: options.Progress = ProgressStyle.bar,
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Install a model, whole or not at all."""
    from ..install import install as run

    with shown(progress) as tell, stop_on_signal() as asked_to_stop, ended_with_parent(stop_with_parent, progress):
        bundle = run(origin, into, sha256, replace=replace, progress=tell, cancel=asked_to_stop)
    if progress is ProgressStyle.json:
        json_line(result={"id": bundle.spec.id, "path": str(bundle.path)})
        return
    typer.echo(f"{bundle.spec.id} {bundle.spec.version} is installed in {bundle.path}.")


@app.command()
def triton(
    folder: Annotated[Path, typer.Argument(help="A model folder, or the id of an installed model.")],
    out: Annotated[Path, typer.Option(help="Triton's model repository, a folder that is there.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="The name on the server; else the model's id.")] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Tiles that the server joins into one run; else four of the model's batches."),
    ] = None,
    queue_delay: Annotated[
        int, typer.Option(min=0, help="Microseconds that a request may wait for others to be joined with.")
    ] = 2000,
    models_dir: options.ModelsDirs = None,
) -> None:
    """Write a model for an NVIDIA Triton server, to be used with --device grpc://HOST:8001."""
    from ..bundle import Bundle
    from ..triton import Service, write_repository

    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise typer.BadParameter("Use letters, digits, '.', '_' and '-'.", param_hint="--name")
    bundle = Bundle.load(folder) if folder.is_dir() else options.catalog(models_dir).get(str(folder))
    for written in write_repository(bundle, out, Service(max_batch, queue_delay, name)):
        typer.echo(
            f"{written}: start Triton with --model-repository {out}, then convert with --device grpc://HOST:8001."
        )


@app.command()
def remove(
    id: Id,
    models_dir: Annotated[Path | None, typer.Option(help="A folder of models; else the user's own.")] = None,
    progress: options.Progress = ProgressStyle.bar,
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Remove an installed model."""
    from ..install import remove as run

    with shown(progress) as tell, ended_with_parent(stop_with_parent, progress):
        tell(Progress("remove", 0, 1, None))
        path = run(id, models_dir)
        tell(Progress("remove", 1, 1, None))
    if progress is ProgressStyle.json:
        json_line(result={"id": id, "path": str(path)})
        return
    typer.echo(f"{path} is removed.")
