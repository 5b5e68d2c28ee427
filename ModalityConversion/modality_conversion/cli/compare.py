"""`modality-conversion compare`: a synthetic scan against the real one."""

from __future__ import annotations

import json
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..grid import on_grid_of
from ..image_io import read_image, scan_hash
from ..report import build_difference_report
from . import options
from .console import ended_with_parent, libraries_silenced
from .outputs import Outputs, Writer, volume, write_together


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
    difference: Annotated[
        Path | None, typer.Option(help="Write the difference, synthetic minus real, on the real scan's grid.")
    ] = None,
    as_json: options.AsJson = False,
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Compare a synthetic scan with the real one."""
    from ..compare import compare as run
    from ..compare import default_mask
    from ..compare import difference as subtract

    paths = {"mask": mask, "source": source, "regions": regions}
    read = {"real": real, "synthetic": synthetic, **{name: path for name, path in paths.items() if path}}
    with ended_with_parent(stop_with_parent):
        Outputs({"--difference": difference} if difference else {}, figure=figure).check([*read.values()])
        with libraries_silenced():
            given = {name: read_image(path) for name, path in read.items()}
        real_image, synthetic_image = given.pop("real"), given.pop("synthetic")
        result = run(real_image, synthetic_image, protocol=protocol.value, **given)
        if figure or difference:
            is_mr = protocol is Protocol.slices
            # Elsewhere an affine fit says nothing, and would tint the air.
            inside = given.get("mask") or on_grid_of(real_image, default_mask(real_image, not is_mr)[0].astype("uint8"))
            left = subtract(real_image, synthetic_image, inside, fit=is_mr)
            writers: list[Writer] = []
            if difference:
                first, second = ({"name": path.name, "sha256": scan_hash(path)} for path in (real, synthetic))
                units = "of the real scan" if is_mr else "HU"
                account = build_difference_report(first, second, units, is_mr, result.mask)
                writers += volume(difference, left, account)
            if figure:
                from ..figure import save_figure

                draw = partial(
                    save_figure,
                    source=given.get("source"),
                    synthetic=synthetic_image,
                    truth=real_image,
                    difference=left,
                    units="" if is_mr else "HU",
                )
                writers.append((figure, draw))
            with libraries_silenced():
                write_together(writers)
    if as_json:
        written = {"difference": str(difference)} if difference else {}
        typer.echo(json.dumps({**result.as_dict(), **written}, indent=2))
        return
    rows = result.table()
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for warning in result.warnings:
        typer.echo(f"Note: {warning}", err=True)
