"""`modality-conversion batch`: many scans in, the same layout out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from ..bundle import Bundle
from ..errors import ConversionError
from ..modality import Modality
from . import options
from .console import ProgressStyle, ended_with_parent, json_line, shown, stop_on_signal
from .scans import converter


def batch(
    input: Annotated[Path, typer.Argument(help="A folder, a BIDS data set, or a table (.csv, .tsv) of scans.")],
    to: Annotated[str, typer.Option("--to", help="What to make: CT, T1, T2, FLAIR, ...", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to; made if need be.", show_default=False)],
    source: Annotated[
        str | None, typer.Option("--from", help="Convert scans of this kind only; in a table, what scans are.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's id; else the best that fits each scan.")] = None,
    models_dir: options.ModelsDirs = None,
    device: options.Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cases at a time; else one for each core that has 2 GiB of memory.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Convert on a Ray cluster that runs: auto, HOST:6379 or ray://HOST:10001.", show_default=False
        ),
    ] = None,
    cpus_per_worker: Annotated[
        int | None, typer.Option(min=1, help="With --ray: cores of one worker; else 1, beside a GPU up to 8.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, help="With --ray: GPUs of one worker, 0.5 for two on one; else as --device says."),
    ] = None,
    progress: options.Progress = ProgressStyle.bar,
    stop_with_parent: options.StopWithParent = False,
) -> None:
    """Convert many scans. Started again, it goes on where it was; one bad scan does not stop the rest."""
    from ..batch import Settings, run_batch
    from ..batch.cluster import Cluster
    from ..batch.run import SUMMARY

    if ray is None and (cpus_per_worker or gpus_per_worker is not None):
        hint = "--cpus-per-worker" if cpus_per_worker else "--gpus-per-worker"
        raise typer.BadParameter("Say with --ray where the cluster is.", param_hint=hint)
    cluster = None if ray is None else Cluster(ray, cpus_per_worker, gpus_per_worker, workers)

    target, wanted = options.modality(to), options.modality(source) if source else None
    catalog = options.catalog(models_dir)

    @functools.cache
    def model_for(modality: Modality) -> Bundle:
        return converter(catalog, [modality], target, model)

    if wanted is not None:
        model_for(wanted)  # says at once that there is no such model
    settings = Settings(target, model_for, wanted, tuple(models_dir or ()), device, workers, cluster)
    with shown(progress) as tell, stop_on_signal() as asked_to_stop, ended_with_parent(stop_with_parent, progress):
        outcome = run_batch(
            input, out, settings, tell, asked_to_stop, lambda text: typer.echo(f"Note: {text}", err=True)
        )
        done = len(outcome.entries) - len(outcome.failed)
        told = {
            "done": done,
            "kept": outcome.kept,
            "failed": [{"case": entry.id, "reason": entry.reason} for entry in outcome.failed],
            "left_out": [{"case": refused.id, "reason": refused.reason} for refused in outcome.left_out],
            "summary": str(out / SUMMARY),
        }
        if progress is ProgressStyle.json:
            json_line(result=told)
        else:
            typer.echo(
                f"{done} cases done, {outcome.kept} of them by an earlier run; {len(outcome.left_out)} files left out. "
                f"The summary is {out / SUMMARY}. No result is for diagnosis."
            )
            for entry in outcome.failed:
                typer.echo(f"failed: {entry.id}: {entry.reason}")
    if outcome.failed:
        raise ConversionError(
            f"{len(outcome.failed)} of {len(outcome.entries)} cases failed; {out / SUMMARY} says why."
        )
