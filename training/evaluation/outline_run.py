"""Takes models that segment over packed cases, from several sets of scans, and writes what came out."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modality_conversion.bundle import Bundle
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from modality_conversion.schema import Crf
from modality_conversion.sources import why_unfit
from training.config import ConfigError
from training.data.cases import PackedCase, complete_cases
from training.evaluation.cases import evenly
from training.evaluation.outline_picture import Shown, save_outlines
from training.evaluation.outline_report import html
from training.evaluation.outline_table import outline_tables, summarise
from training.evaluation.outlines import Outlined, Task, outline_case
from training.evaluation.run import FIGURES, about_bundle
from training.evaluation.settings import EvaluateSettings
from training.evaluation.table import number

KIND = "segmentation"


def segments_only(bundle: Bundle) -> bool:
    """Whether a model is measured here."""
    return bundle.spec.segmentation is not None and not bundle.spec.targets


def evaluate_outlines(
    bundles: Sequence[Bundle], settings: EvaluateSettings, report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write `figures.json`, `figures.md`, `report.html` and pictures into the folder; gives the figures.

    Raises ConfigError where no model can segment any case.
    """
    if settings.outlines.crf is not None:
        bundles = [variant for bundle in bundles for variant in (bundle, with_crf(bundle, settings.outlines.crf))]
    if not settings.cases:
        raise ConfigError("The section `evaluate` names no `cases`: segmentations are measured on packed cases.")
    settings.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    shown: dict[tuple[str, str], list[Shown]] = {}
    for case in _cases(settings):
        for bundle in bundles:
            task = Task.of(bundle)
            if not task.structures.has(case):
                continue
            for scans in sets_of_scans(bundle, case, settings.outlines.sets):
                try:
                    done = outline_case(bundle, task, case, scans, settings.outlines, settings.device)
                except ConversionError as error:
                    report(f"{bundle.spec.id}, {case.name}: {error}")
                    continue
                rows.append(done.row)
                shown.setdefault((bundle.spec.id, done.row["scans"]), []).append(_shown(done))
                report(_line(done.row))
    if not rows:
        raise ConfigError(
            "Nothing could be measured: no case has a truth and scans for any of the models. Cases older than the maps of "
            "diseases must be simulated again."
        )
    worst = save_outlines(shown, settings.folder)
    figures = {
        "kind": KIND,
        "models": [about_bundle(bundle) for bundle in bundles],
        "settings": settings.outlines.model_dump(mode="json"),
        "summary": summarise(rows),
        "worst": worst,
        "rows": rows,
    }
    (settings.folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (settings.folder / "figures.md").write_text(outline_tables(figures) + "\n", encoding="utf-8")
    (settings.folder / "report.html").write_text(html(figures), encoding="utf-8")
    return figures


def with_crf(bundle: Bundle, crf: Crf) -> Bundle:
    """The same model with a conditional random field before its other clean-up."""
    declared = bundle.spec.segmentation
    assert declared is not None  # whoever calls this has asked
    rest = tuple(step for step in declared.postprocess if step.op != "crf")
    changed = declared.model_copy(update={"postprocess": (crf, *rest)})
    spec = bundle.spec.model_copy(update={"id": f"{bundle.spec.id}+crf", "segmentation": changed})
    return replace(bundle, spec=spec)


def sets_of_scans(bundle: Bundle, case: PackedCase, wanted: Iterable[str]) -> list[tuple[Modality, ...]]:
    """The sets of a case's scans that are measured: those wanted, else all that the model takes at once, and each alone."""
    there = [modality for modality in bundle.spec.modalities if modality in case.sources]
    sets = [tuple(Modality.parse(name) for name in text.split("+")) for text in wanted]
    if not sets:
        sets = list(dict.fromkeys([tuple(there), *((modality,) for modality in there)]))
    return [
        scans
        for scans in sets
        if scans and set(scans) <= set(there) and why_unfit(bundle.spec, list(scans), None) is None
    ]


def _cases(settings: EvaluateSettings) -> Iterable[PackedCase]:
    for folder in settings.cases:
        found = list(complete_cases(folder))
        if not found:
            raise ConfigError(f"There is no packed case in {folder}. Run `python -m training simulate` first.")
        yield from evenly(found, settings.most)


def _shown(done: Outlined) -> Shown:
    """The slice with most of the truth, or of what was outlined where there is none."""
    area = (done.truth[0] if done.truth.any() else done.labels > 0).sum((1, 2))
    z = int(area.argmax())
    dice = next(iter(done.row["regions"].values()))["dice"]
    return Shown(done.row["case"], done.row["real"], dice, done.scan[z], done.truth[:, z], done.labels[z])


def _line(row: Mapping[str, Any]) -> str:
    dice = ", ".join(f"{name} {number(region['dice'])}" for name, region in row["regions"].items())
    return f"{row['model']}, {row['scans']}, {row['case']}: Dice {dice}; {row['parts']['false']} false"
