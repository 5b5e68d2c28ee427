"""The verb `simulate`: cases from label maps, on the disk."""

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.config import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from training.project import Project


PREVIEWED = 6
"""Cases in the picture."""


def run(project: "Project", console: "Console", workers: int | None = None) -> None:
    """Simulate what the project asks for and is not there yet; by default one process a core."""
    from training.data.cases import MARK, read_case
    from training.simulation.pack import plan, simulate_all
    from training.simulation.preview import preview

    settings = project.simulate
    if settings is None:
        raise ConfigError("The configuration has no section `simulate`.")
    batches = plan(settings)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("simulated cases", total=sum(batch.count for batch in batches))
        for done in simulate_all(batches, workers):
            bar.advance(task, done)
    first = [batch.folder / batch.names()[0] for batch in batches]
    shown = [read_case(folder) for folder in first if (folder / MARK).is_file()][-PREVIEWED:]
    if shown:
        preview(shown, settings.cases / "preview.png")
    console.print(f"Cases: {settings.cases}; look at preview.png there before you train.")
