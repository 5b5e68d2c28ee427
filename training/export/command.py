"""The verb `export`."""

from rich.console import Console

from modality_conversion.bundle import Bundle
from training.checkpoint import averaged_network
from training.config import ConfigError
from training.export.bundle import Model, Written, write_bundle
from training.export.figures import read_figures
from training.export.reduced import write_reduced
from training.project import Project


def run(project: Project, console: Console) -> None:
    """Write the bundle and its reduced forms, with the figures of the last evaluation of these weights where there are any."""
    settings = project.export
    if settings is None:
        raise ConfigError("The configuration has no section `export`.")
    recipe = project.make_recipe()
    network, about = averaged_network(recipe, project.run)
    model = Model(recipe, network, about)
    if settings.reduced and not model.declared["targets"]:
        raise ConfigError("export.reduced: models that only segment have no smaller forms yet; remove it.")
    folder = None if project.evaluate is None else project.evaluate.folder
    figures = {} if folder is None else read_figures(folder)
    written = write_bundle(model, settings, figures, folder)
    console.print(
        f"Bundle: {written.folder}; PyTorch and the files agree to {written.difference:.1g}.", highlight=False
    )
    _tell(written, console, evaluated=bool(figures))
    full = Bundle.load(settings.folder)
    for kind in settings.reduced:
        smaller = write_reduced(kind, full, model, settings, figures, folder)
        console.print(f"Bundle: {smaller.folder}; values differ by up to {smaller.difference:.2g}.", highlight=False)
        _tell(smaller, console, evaluated=bool(figures))


def _tell(written: Written, console: Console, *, evaluated: bool) -> None:
    for warning in written.warnings:
        console.print(f"Warning: {warning}", markup=False)
    if not written.measured:
        why = "The last evaluation was of other weights." if evaluated else "It was not evaluated yet."
        console.print(f"  Without figures: {why} Run `evaluate`, then `export` again.")
