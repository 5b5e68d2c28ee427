"""`modality-conversion bench`: how fast a model is here."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from ..errors import ConversionError
from ..modality import Modality
from . import options


def bench(
    model: Annotated[
        str | None, typer.Option(help="A model's id; else the default for --from and --to, or for T1 to T2.")
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="What the phantom stands for.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="What to make of it.")] = None,
    models_dir: options.ModelsDirs = None,
    size: Annotated[str, typer.Option(help="Voxels of 1 mm, as 192x224x160.")] = "192x224x160",
    device: options.Device = "cpu",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each kind; the median counts.")] = 3,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model on a phantom head: the whole conversion beside the bare network, in one run."""
    from ..bench import benchmark

    voxels = _size(size)
    catalog = options.catalog(models_dir)
    given, wanted = (options.modality(name) if name else None for name in (source, to))
    if model:
        bundle = catalog.get(model)
    else:
        given, wanted = given or Modality.T1, wanted or (Modality.T1 if given is Modality.T2 else Modality.T2)
        fitting = catalog.find(given, wanted)
        if not fitting:
            raise ConversionError(f"No installed model makes {wanted} from {given}. Name one with --model.")
        bundle = fitting[0]
    result = dataclasses.asdict(benchmark(bundle, voxels, device, repeats, source=given, target=wanted))
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        typer.echo(f"{name:24} {value}")


def _size(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is not of the form 192x224x160.", param_hint="--size")
    return int(parts[0]), int(parts[1]), int(parts[2])
