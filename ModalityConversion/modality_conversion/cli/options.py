"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..catalog import Catalog
from ..modality import Modality
from .console import ProgressStyle

ModelsDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--models-dir", help="A folder of models, searched first. May be given several times.", show_default=False
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, dml, coreml, see `devices`; or a server, grpc://HOST:8001. A list, such as "
        "grpc://HOST:8001,cpu: the first that works."
    ),
]
Progress = Annotated[ProgressStyle, typer.Option(help="How to show progress.")]
StopWithParent = Annotated[
    bool,
    typer.Option("--stop-with-parent", help="Stop when standard input closes; for a program that starts this one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def catalog(models_dirs: list[Path] | None) -> Catalog:
    """The models found under these folders and the usual ones."""
    return Catalog(tuple(models_dirs or ()))


def modality(text: str) -> Modality:
    """An option's text as a modality. Raises typer.BadParameter, so that the exit code is that of wrong usage."""
    try:
        return Modality.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
