"""`modality-conversion compare`: a synthetic scan against the real one."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..grid import on_grid_of
from ..image_io import check_folder, read_image
from . import options
from .console import libraries_silenced


class Protocol(str, Enum):
    """By which definition figures are made; they must never be mixed in one table."""

    synthrad2023 = "synthrad2023"
    synthrad2025 = "synthrad2025"
    slices = "slices"


def compare(
    real: Annotated[Path, typer.Argument(help="The real scan.")],
    synthetic: Annotated[Path, typer.Argument(help="The synthetic one, on the same grid.")],
    mask: Annotated[Path | None, typer.Option(help="Where to compare; else the foreground.")] = None,
    protocol: Annotated[
        Protocol, typer.Option(help="slices for MR; synthrad2023 or synthrad2025 for CT.")
    ] = Protocol.slices,
    source: Annotated[Path | None, typer.Option(help="What it was made from; adds base lines.")] = None,
    regions: Annotated[Path | None, typer.Option(help="A label map; adds figures for each region.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write a picture (PNG) with the difference.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare a synthetic scan with the real one."""
    from ..compare import compare as run
    from ..compare import default_mask, difference

    if figure:
        check_folder(figure)
    paths = {"mask": mask, "source": source, "regions": regions}
    with libraries_silenced():
        given = {name: read_image(path) for name, path in paths.items() if path}
        real_image, synthetic_image = read_image(real), read_image(synthetic)
    result = run(real_image, synthetic_image, protocol=protocol.value, **given)
    if figure:
        from ..figure import save_figure

        is_mr = protocol is Protocol.slices
        # Elsewhere an affine fit says nothing, and would tint the air.
        inside = given.get("mask") or on_grid_of(real_image, default_mask(real_image, not is_mr)[0].astype("uint8"))
        save_figure(
            figure,
            given.get("source"),
            synthetic_image,
            truth=real_image,
            difference=difference(real_image, synthetic_image, inside, fit=is_mr),
            units="" if is_mr else "HU",
        )
    if as_json:
        typer.echo(json.dumps(result.as_dict(), indent=2))
        return
    rows = result.table()
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for warning in result.warnings:
        typer.echo(f"Note: {warning}", err=True)
