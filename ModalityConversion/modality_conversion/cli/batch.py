"""`modality-conversion batch`: many scans in, the same layout out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..bundle import Bundle
from ..errors import ConversionError
from ..modality import Modality
from . import options
from .console import ProgressStyle, ended_with_parent, json_line, shown, stop_on_signal
from .scans import converter

if TYPE_CHECKING:
    from ..batch.further import Pattern


def batch(
    input: Annotated[Path, typer.Argument(help="A folder, a BIDS data set, or a table (.csv, .tsv) of scans.")],
    to: Annotated[str, typer.Option("--to", help="What to make: CT, T1, T2, FLAIR, ...", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to; made if need be.", show_default=False)],
    source: Annotated[
        str | None, typer.Option("--from", help="Convert scans of this kind only; in a table, what scans are.")
    ] = None,
    further: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="A further scan of each file, as T2=PATTERN, beside it; {case} is its name up to the last underscore.",
        ),
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
    force: Annotated[
        bool, typer.Option("--force", help="Convert what a model's gate refuses, too; the result is marked so.")
    ] = False,
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
    patterns = _patterns(further, input, wanted)
    catalog = options.catalog(models_dir)

    @functools.cache
    def model_for(*modalities: Modality) -> Bundle:
        return converter(catalog, modalities, target, model)

    if wanted is not None:  # says at once that there is no such model
        model_for(wanted, *(pattern.modality for pattern in patterns))
    settings = Settings(target, model_for, wanted, tuple(models_dir or ()), device, workers, cluster, patterns, force)
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


def _patterns(texts: list[str] | None, input: Path, wanted: Modality | None) -> tuple[Pattern, ...]:
    """Where the further scans lie. Raises typer.BadParameter."""
    from ..batch.further import Pattern

    if not texts:
        return ()
    if input.is_file():
        raise typer.BadParameter(
            "In a table, name further scans in a column called T2 or the like.", param_hint="--input"
        )
    if wanted is None:
        raise typer.BadParameter("Say with --from which scans the others belong to.", param_hint="--input")
    try:
        patterns = tuple(map(Pattern.parse, texts))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--input") from None
    kinds = [wanted, *(pattern.modality for pattern in patterns)]
    if len(set(kinds)) < len(kinds):
        raise typer.BadParameter("Name each kind of scan once.", param_hint="--input")
    return patterns
