"""The command line: one verb for each step on the way from scans and label maps to a bundle.

Heavy packages are imported by the verb that needs them, so that `--help` and a wrong configuration answer at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

ENGINE = Path(__file__).resolve().parents[1] / "ModalityConversion"
"""Where the engine lies in a checkout, for when it is not installed."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make the weights: from scans to a bundle.",
)
# Of several processes that train together the first one speaks.
console = Console(stderr=True, quiet=os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0")
Config = Annotated[Path, typer.Argument(help="The model's configuration, such as training/configs/t1_to_t2.yaml.")]


@app.command()
def simulate(
    config: Config, workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None
) -> None:
    """Make simulated cases from label maps."""
    from training.project import read_project

    project = read_project(config)
    project.need("simulate")
    from training.simulation.command import run

    run(project, console, workers)


@app.command()
def qc(config: Config) -> None:
    """Find real scans, check them, report what is wrong with pictures, and pack the good ones."""
    from training.project import read_project

    project = read_project(config)
    project.need("data")
    from training.qc.command import run

    run(project, console)


@app.command()
def unpaired(config: Config) -> None:
    """Pack two collections of different people, trainA and trainB, for recipes that need no pairs."""
    from training.project import read_project

    project = read_project(config)
    project.need("unpaired")
    assert project.unpaired is not None
    from training.data.unpaired_pack import pack_unpaired

    counts = pack_unpaired(project.unpaired, lambda text: console.print(text, markup=False, highlight=False))
    packed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    console.print(f"Packed {packed} in {project.unpaired.cases}", markup=False, highlight=False)


@app.command()
def train(
    config: Config,
    max_minutes: Annotated[float | None, typer.Option(help="Length of the run, instead of the configured one.")] = None,
    pause_after: Annotated[
        float | None, typer.Option(help="End this call after so many minutes; the same command goes on.")
    ] = None,
) -> None:
    """Train, or go on where the last run of this configuration stopped. Ctrl-C ends it with a checkpoint."""
    from training.project import read_project

    project = read_project(config)
    project.need("recipe", "train")
    assert project.recipe is not None
    assert project.train is not None
    from training.loop import train as run
    from training.schedule import Progress as RunProgress

    about = {"recipe": project.recipe.model_dump(mode="json"), "train": project.train.model_dump(mode="json")}
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("training", total=1.0)
        began: dict[str, float] = {}

        def report(progress: RunProgress, fraction: float, losses: dict[str, float]) -> None:
            began.setdefault("step", progress.step)
            began.setdefault("seconds", progress.seconds)
            spent = progress.seconds - began["seconds"]
            speed = f", {(progress.step - began['step']) / spent:.2f} steps/s" if spent > 0 else ""
            left = progress.seconds_left(fraction)
            to_go = "" if left is None else f", {_duration(left)} to go"
            text = f"step {progress.step}, loss {losses['total']:.4f}{speed}{to_go}"
            bar.update(task, completed=fraction, description=text)

        result = run(
            project.make_recipe(),
            project.train,
            project.run,
            minutes=max_minutes,
            pause_after=pause_after,
            about=about,
            report=report,
            say=lambda text: console.print(text, markup=False),
        )
    console.print(f"Checkpoint: {result.checkpoint}, step {result.progress.step}", highlight=False)
    if result.finished:
        console.print(f"Which epoch was chosen, and why: {project.run / 'choice.html'}", highlight=False)
    else:
        console.print("Stopped as asked. The same command goes on from there.")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min" if minutes else "< 1 min"


@app.command()
def evaluate(config: Config) -> None:
    """Measure the exported bundle, and others beside it, on people and heads that nobody trained on."""
    from training.project import read_project

    project = read_project(config)
    project.need("evaluate")
    from training.evaluation.command import run

    run(project, console)


@app.command()
def odd(config: Config) -> None:
    """Show what the exported bundle makes of thick, cut, shaded, ragged, rescaled, noisy and turned scans."""
    from training.project import read_project

    project = read_project(config)
    project.need("evaluate")
    from training.evaluation.command import run_odd

    run_odd(project, console)


@app.command()
def export(config: Config) -> None:
    """Write the bundle, with the figures of the last evaluation of these weights where there are any."""
    from training.project import read_project

    project = read_project(config)
    project.need("recipe", "export")
    from training.export.command import run

    run(project, console)


@app.command()
def masks(
    source: Annotated[
        Path,
        typer.Argument(help="Labelme's .json, a PNG mask, a folder of either, Slicer's .seg.nrrd, or a label map."),
    ],
    target: Annotated[
        Path,
        typer.Argument(help=".nii.gz, .nrrd, .mha, .seg.nrrd; .png or .json for one picture; a folder for slices."),
    ],
    kind: Annotated[
        str, typer.Option("--as", help="What goes into a PNG or a folder: labelme, voc (colour-indexed) or grey.")
    ] = "voc",
    labels: Annotated[
        str | None, typer.Option(help="Values of the labels: Tumor=1,Oedema=2. Else by name, from 1.")
    ] = None,
    scan: Annotated[Path | None, typer.Option(help="The scan whose grid a volume gets.")] = None,
    last_wins: Annotated[bool, typer.Option(help="Where segments overlap, the later one lies above.")] = False,
) -> None:
    """Turn annotations of Labelme, Pascal VOC and Slicer into label maps, and back."""
    from training.config import ConfigError
    from training.masks.command import ENDINGS
    from training.masks.command import masks as run
    from training.masks.label_map import parse_labels

    if kind not in ENDINGS:
        raise ConfigError(f"--as {kind}: there are {', '.join(ENDINGS)}.")
    written = run(
        source,
        target,
        kind=kind,
        labels=None if labels is None else parse_labels(labels),
        scan=scan,
        last_wins=last_wins,
        say=lambda text: console.print(text, markup=False, highlight=False),
    )
    count = f"{len(written)} files in {target}" if len(written) > 1 and not target.suffix else str(target)
    console.print(f"Written: {count}", highlight=False, markup=False)


recogniser = typer.Typer(no_args_is_help=True, help="Make the network that says what kind of scan it is looking at.")
app.add_typer(recogniser, name="recogniser")
RecogniserConfig = Annotated[Path, typer.Argument(help="Such as training/recognise/recogniser.yaml.")]


@recogniser.command("heads")
def recogniser_heads(config: RecogniserConfig) -> None:
    """Make simulated people from label maps."""
    from training.recognise import command
    from training.recognise.settings import read_settings

    command.heads(read_settings(config), console)


@recogniser.command("train")
def recogniser_train(config: RecogniserConfig) -> None:
    """Train on them, from the beginning."""
    from training.recognise import command
    from training.recognise.settings import read_settings

    command.learn(read_settings(config), console)


@recogniser.command("export")
def recogniser_export(config: RecogniserConfig) -> None:
    """Calibrate, and write the folder that the engine reads."""
    from training.recognise import command
    from training.recognise.settings import read_settings

    command.export(read_settings(config), console)


@recogniser.command("measure")
def recogniser_measure(config: RecogniserConfig) -> None:
    """Figures of that folder on simulated heads kept out, and on every real scan."""
    from training.recognise import command
    from training.recognise.settings import read_settings

    command.measure(read_settings(config), console)


@app.command()
def calibrate(config: Config) -> None:
    """Take intervals of stated coverage from held-out cases, and write them into the exported bundle."""
    from training.project import read_project

    project = read_project(config)
    project.need("calibrate", "export")
    from training.evaluation.command import run_calibrate

    run_calibrate(project, console)


def main() -> None:
    """Run a verb; what the user can put right is said in one line, without a traceback."""
    if ENGINE.is_dir():
        sys.path.insert(0, str(ENGINE))
    from training.config import UserError
    from training.open_files import allow_many_files

    allow_many_files()
    try:
        app()
    except UserError as error:
        console.print(str(error), markup=False)
        raise SystemExit(1) from None
