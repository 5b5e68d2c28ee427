"""The command line: one verb for each step on the way from label maps to a bundle.

Heavy packages are imported by the verb that needs them, so that `--help` and a wrong configuration answer at once.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ENGINE = Path(__file__).resolve().parents[1] / "ModalityConversion"
"""Where the engine lies in a checkout, for when it is not installed."""

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make the weights: from label maps to a bundle.")
console = Console(stderr=True)
Config = Annotated[Path, typer.Argument(help="The model's configuration, such as training/configs/t1_to_t2.yaml.")]


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


@app.command()
def simulate(
    config: Config, workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None
) -> None:
    """Make simulated cases from label maps, and pack the real pairs of the training part."""
    from training.data.pack_pairs import pack_pair, training_pairs
    from training.data.split import read_split
    from training.project import read_project
    from training.simulation.pack import plan, simulate_all

    project, split = read_project(config), read_split()
    batches = plan(project.simulate, split)
    with _bar() as bar:
        task = bar.add_task("simulated cases", total=sum(batch.count for batch in batches))
        for done in simulate_all(batches, workers):
            bar.advance(task, done)
    if project.pairs is None:
        return
    with _bar() as bar:
        people = sum(len(studies) for studies in split.longitudinal.training.values()) + len(split.mni.training)
        task = bar.add_task("real pairs", total=people)
        for pair, whole_head in training_pairs(split, project.pairs.longitudinal, project.pairs.mni):
            pack_pair(pair, whole_head, project.pairs.cases)
            bar.advance(task)


@app.command()
def train(
    config: Config,
    max_minutes: Annotated[float | None, typer.Option(help="Length of the run, instead of the configured one.")] = None,
) -> None:
    """Train, or go on where the last run of this configuration stopped."""
    from training.loop import train as run
    from training.project import read_project
    from training.schedule import Progress as RunProgress

    project = read_project(config)
    about = {"recipe": project.recipe.model_dump(mode="json"), "train": project.train.model_dump(mode="json")}
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("training", total=1.0)

        def report(progress: RunProgress, fraction: float, losses: dict[str, float]) -> None:
            bar.update(task, completed=fraction, description=f"step {progress.step}, loss {losses['total']:.4f}")

        last = run(project.make_recipe(), project.train, project.run, minutes=max_minutes, about=about, report=report)
    console.print(f"Checkpoint: {last}")


@app.command()
def export(config: Config) -> None:
    """Write the bundle, with the figures of the last evaluation of these weights where there are any."""
    from training.checkpoint import averaged_network
    from training.export.bundle import write_bundle
    from training.project import read_project

    project = read_project(config)
    network, about = averaged_network(project.make_recipe(), project.run)
    measured = project.evaluate.folder / "figures.json"
    figures = json.loads(measured.read_text(encoding="utf-8")) if measured.is_file() else {}
    for warning in write_bundle(network, project.export, figures, about):
        console.print(f"Warning: {warning}")
    console.print(
        f"Bundle: {project.export.folder}" + ("" if figures else ", without figures: evaluate, then export again")
    )


@app.command()
def evaluate(config: Config) -> None:
    """Measure the exported bundle on the people and heads that nobody trained on."""
    from itertools import chain

    from modality_conversion.bundle import Bundle
    from training.data.split import read_split
    from training.evaluation.cases import longitudinal_cases, mni_cases, simulated_cases
    from training.evaluation.run import evaluate as run
    from training.export.figures import table
    from training.project import read_project

    project, split = read_project(config), read_split()
    wanted = project.evaluate
    cases = chain(
        longitudinal_cases(split, wanted.longitudinal) if wanted.longitudinal else (),
        mni_cases(split, wanted.mni) if wanted.mni else (),
        simulated_cases(wanted.simulated) if wanted.simulated else (),
    )
    figures = run(Bundle.load(project.export.folder), cases, wanted.folder, report=console.print)
    console.print(table(figures))


def main() -> None:
    """Run a verb; what the user can put right is said in one line, without a traceback."""
    if ENGINE.is_dir():
        sys.path.insert(0, str(ENGINE))
    from training.config import ConfigError

    try:
        app()
    except ConfigError as error:
        console.print(str(error), markup=False)
        raise SystemExit(1) from None
