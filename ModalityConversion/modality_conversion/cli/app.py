"""The commands, put together."""

from __future__ import annotations

import typer

from . import batch, bench, compare, convert, devices, lesions, models, recognise, segment, series

app = typer.Typer(
    help="Convert CT, T1, T2 and FLAIR scans into one another, and segment them. No result is for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("convert")(convert.convert)
app.command("segment")(segment.segment)
app.command("series")(series.series)
app.command("batch")(batch.batch)
app.command("recognise")(recognise.recognise_scan)
app.add_typer(models.app, name="models")
app.command("compare")(compare.compare)
app.command("lesions")(lesions.lesions)
app.command("bench")(bench.bench)
app.command("devices")(devices.devices)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from ..version import __version__

        typer.echo(__version__)
        raise typer.Exit
