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
    model: Annotated[str | None, typer.Option(help="A model's id; else the default for T1 to T2.")] = None,
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
    fitting = [catalog.get(model)] if model else catalog.find(Modality.T1, Modality.T2)
    if not fitting:
        raise ConversionError("No installed model makes T2 from T1. Name one with --model.")
    result = dataclasses.asdict(benchmark(fitting[0], voxels, device, repeats))
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
