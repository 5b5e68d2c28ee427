"""The verbs `evaluate`, `odd` and `calibrate`."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from modality_conversion.bundle import Bundle, is_bundle
from modality_conversion.errors import InvalidBundle
from training.config import ConfigError
from training.data.split import read_split
from training.evaluation.calibrate import FILE, calibrate, write_calibration
from training.evaluation.cases import TestCase, packed_cases
from training.evaluation.odd import odd
from training.evaluation.outline_run import evaluate_outlines, segments_only
from training.evaluation.outline_table import outline_tables
from training.evaluation.run import evaluate
from training.evaluation.scanned import scanned_cases
from training.evaluation.settings import EvaluateSettings
from training.evaluation.table import table
from training.project import Project

FINE = 1.5
"""mm; voxels of at most this size can be made into every odd scan."""


def run(project: Project, console: Console) -> None:
    """Measure the exported bundle, its reduced forms and others beside it, on people and heads that nobody trained on."""
    settings = project.evaluate
    if settings is None:
        raise ConfigError("The configuration has no section `evaluate`.")
    tell = _plain(console)
    measured = bundles(project)
    if all(map(segments_only, measured)):
        console.print(Markdown(outline_tables(evaluate_outlines(measured, settings, tell))))
        console.print(f"Report: {settings.folder / 'report.html'}", highlight=False)
        return
    if any(map(segments_only, measured)):
        raise ConfigError("Some of the bundles convert and some only segment: measure them with two configurations.")
    figures = evaluate(measured, cases_of(settings, _split(project), tell), settings, tell)
    console.print(Markdown(table(figures)))
    console.print(f"Report: {settings.folder / 'report.html'}", highlight=False)


def run_odd(project: Project, console: Console) -> None:
    """Show what the first bundle makes of scans out of the ordinary: of a simulated head, and of a real stripped brain."""
    settings = project.evaluate
    if settings is None:
        raise ConfigError("The configuration has no section `evaluate`.")
    chosen: dict[tuple[bool, bool], TestCase] = {}
    for case in cases_of(settings, _split(project), lambda _: None):
        fine = max(next(iter(case.scans.values())).image.GetSpacing()) < FINE
        if fine:  # thicker slices cannot be made of thick ones
            chosen.setdefault((case.real, case.whole_head), case)
    if not chosen:
        raise ConfigError(f"No case of the section `evaluate` has voxels below {FINE} mm, as odd scans are made of.")
    odd(bundles(project)[0], list(chosen.values()), settings.folder / "odd", _plain(console))


def run_calibrate(project: Project, console: Console) -> None:
    """Take the intervals of the exported bundle from held-out cases, and write them into its declaration."""
    settings = project.calibrate
    if settings is None or project.export is None:
        raise ConfigError("The configuration has no section `calibrate` and `export`.")
    if not settings.cases:
        raise ConfigError("The section `calibrate` names no `cases`.")
    if not is_bundle(project.export.folder):
        raise ConfigError(f"There is no bundle in {project.export.folder}. Run `python -m training export` first.")
    try:
        bundle = Bundle.load(project.export.folder)
    except InvalidBundle as error:
        raise ConfigError(str(error)) from error
    tell = _plain(console)
    cases = chain.from_iterable(packed_cases(folder, settings.most) for folder in settings.cases)
    content = calibrate(bundle, cases, settings, tell)
    for warning in write_calibration(bundle, content, settings.folder):
        tell(f"Warning: {warning}")
    for row in content["calibration"]["factors"]:
        measured = "not measured" if row["measured"] is None else f"covers {row['measured']:.1%} of people left out"
        tell(f"{row['source']}->{row['target']}, {row['tissue']}: {row['factor']:.2f} standard deviations, {measured}")
    tell(f"Report: {settings.folder / FILE}; the factors stand in {bundle.path / 'configs' / 'conversion.json'}")


def _plain(console: Console) -> Callable[[str], None]:
    """Prints lines as they are: `[1, 2]` in a message is no markup."""
    return partial(console.print, markup=False, highlight=False)


def bundles(project: Project) -> list[Bundle]:
    """The exported bundle and its reduced forms, where the configuration exports, then those named. Raises ConfigError."""
    folders = list(project.evaluate.bundles) if project.evaluate is not None else []
    if project.export is not None:
        own = project.export.folder
        if not is_bundle(own):
            raise ConfigError(f"There is no bundle in {own}. Run `python -m training export` first.")
        reduced = [own.with_name(f"{own.name}-{kind}") for kind in project.export.reduced]
        folders = [own, *(folder for folder in reduced if is_bundle(folder)), *folders]
    if not folders:
        raise ConfigError("There is no bundle to measure. Add a section `export`, or name some in `evaluate.bundles`.")
    try:
        return [Bundle.load(folder) for folder in folders]
    except InvalidBundle as error:
        raise ConfigError(str(error)) from error


def cases_of(settings: EvaluateSettings, split_file: Path | None, warn: Callable[[str], None]) -> Iterator[TestCase]:
    """Everybody to measure on, one after the other. Raises ConfigError where the section names nobody."""
    if not settings.cases and not settings.scans:
        raise ConfigError("The section `evaluate` names neither `cases` nor `scans`, so there is nobody to measure on.")
    split = read_split(split_file)
    packed = (packed_cases(folder, settings.most) for folder in settings.cases)
    scanned = (scanned_cases(source, split, settings.part, settings.most, warn) for source in settings.scans)
    return chain.from_iterable(chain(packed, scanned))


def _split(project: Project) -> Path | None:
    """The file that says who is in which part: that of `evaluate`, else that of `data`, else the shipped one."""
    if project.evaluate is not None and project.evaluate.split is not None:
        return project.evaluate.split
    return project.data.split_file() if project.data is not None and project.data.split_file().is_file() else None
