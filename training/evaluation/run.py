"""Takes several models over the same cases, in every direction each can go, and writes what came out."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modality_conversion.bundle import Bundle
from modality_conversion.errors import ConversionError
from modality_conversion.metrics import RULES
from training.config import ConfigError
from training.evaluation.cases import TestCase
from training.evaluation.directions import Direction, possible
from training.evaluation.groups import GROUPS, group_of
from training.evaluation.measure import Measured, make_task, measure
from training.evaluation.picture import Slices, save_picture, take_slices
from training.evaluation.report import html
from training.evaluation.settings import EvaluateSettings
from training.evaluation.summary import merit, summarise
from training.evaluation.table import table

FIGURES = "figures.json"
"""The file that `export` reads."""


@dataclass
class Evaluation:
    """What has been measured so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    slices: dict[tuple[str, str], Slices] = field(default_factory=dict)
    """By direction and case."""


def evaluate(
    bundles: Sequence[Bundle],
    cases: Iterable[TestCase],
    settings: EvaluateSettings,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write `figures.json`, `figures.md`, `report.html` and pictures into the folder; gives the figures.

    Raises ConfigError for two models of one id, and where no model can go any direction on any case.
    """
    ids = [bundle.spec.id for bundle in bundles]
    if len(set(ids)) != len(ids):
        raise ConfigError(f"Two of the bundles have the same id: {', '.join(ids)}. Give each its own.")
    settings.folder.mkdir(parents=True, exist_ok=True)
    done, people = Evaluation(), []
    for case in cases:
        before = len(done.rows)
        _one_case(bundles, case, settings, done, report)
        if len(done.rows) > before:
            people.append({"name": case.name, "real": case.real, "whole_head": case.whole_head})
    if not done.rows:
        raise ConfigError(
            "Nothing could be measured: no bundle converts between scans that any case has. Look at `cases`, `scans` and "
            "`directions` of the section `evaluate`."
        )
    pictures = _save_pictures(done, settings.folder)
    worst = _save_worst(done, [bundle.spec.id for bundle in bundles], settings.folder)
    figures = {
        "models": [about_bundle(bundle) for bundle in bundles],
        "cases": people,
        "protocols": {name: rules.definition for name, rules in RULES.items()},
        "lesions": settings.lesions.model_dump(mode="json"),
        "summary": summarise(done.rows, settings.lesions),
        "pictures": pictures,
        "worst": worst,
        "rows": done.rows,
    }
    (settings.folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (settings.folder / "figures.md").write_text(table(figures) + "\n", encoding="utf-8")
    (settings.folder / "report.html").write_text(html(figures), encoding="utf-8")
    return figures


def about_bundle(bundle: Bundle) -> dict[str, Any]:
    """Who a model is; by the hashes of its weights `export` knows whether figures are of the weights at hand."""
    spec = bundle.spec
    weights = [*spec.weights, *(spec.finder.weights if spec.finder is not None else ())]
    return {
        "id": spec.id,
        "title": spec.title,
        "version": spec.version,
        "hash": bundle.hash,
        "weights": [entry.sha256 for entry in weights],
        "megabytes": sum(entry.size for entry in weights) / 1e6,
    }


def _one_case(
    bundles: Sequence[Bundle],
    case: TestCase,
    settings: EvaluateSettings,
    done: Evaluation,
    report: Callable[[str], None],
) -> None:
    wanted = [Direction.parse(text) for text in settings.directions]
    able: dict[Direction, list[Bundle]] = {}
    for bundle in bundles:
        for direction in possible(bundle.spec, case.scans.keys(), case.truths.keys(), wanted):
            able.setdefault(direction, []).append(bundle)
    for direction, those in able.items():
        task = make_task(case, direction)
        if task is None:
            report(f"{case.name}, {direction}: left out, the scans share no part of the brain")
            continue
        results: dict[str, Measured] = {}
        for bundle in those:
            base_lines = next(iter(results.values())).base_lines if results else None
            try:
                results[bundle.spec.id] = measure(bundle, task, settings, base_lines)
            except ConversionError as error:
                raise ConfigError(f"{bundle.spec.id} failed on {case.name}, {direction}: {error}") from error
        done.rows += [result.row for result in results.values()]
        done.slices[str(direction), case.name] = take_slices(task, results)
        report(f"{case.name}, {direction}")


def _save_pictures(done: Evaluation, folder: Path) -> list[dict[str, Any]]:
    """Best, median and worst case of each direction, by the mean over the models of what they are ranked by."""
    ranks: dict[str, dict[str, list[float]]] = {}
    for row in done.rows:
        ranks.setdefault(row["direction"], {}).setdefault(row["case"], []).append(merit(row))
    pictures = []
    for direction, merits in ranks.items():
        order = sorted(merits, key=lambda case: sum(merits[case]) / len(merits[case]), reverse=True)
        for place, case in _picks(order).items():
            name = f"{direction.replace('->', '_to_').replace('+', '_')}_{place.replace(' ', '_')}.png"
            rank = place if len(order) == 1 else f"{place} of {len(order)}"
            save_picture(done.slices[direction, case], f"{direction}, {rank}: {case}", folder / "pictures" / name)
            pictures.append({"direction": direction, "place": place, "case": case, "file": f"pictures/{name}"})
    return pictures


def _save_worst(done: Evaluation, models: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """The worst case of each model in each group of directions, over all of the group, with this model alone."""
    found = []
    for model in models:
        for group in GROUPS:
            rows = [row for row in done.rows if row["model"] == model and group_of(row) == group]
            if not rows:
                continue
            row = min(rows, key=merit)
            direction, case = row["direction"], row["case"]
            shown = done.slices[direction, case].of_model(model, models)
            file = f"pictures/{model}_{group.name}_worst.png"
            save_picture(shown, f"{group.title}, the worst of {len(rows)}: {direction}, {case}", folder / file)
            found.append(
                {
                    "model": model,
                    "group": group.name,
                    "direction": direction,
                    "case": case,
                    "real": row["real"],
                    "file": file,
                }
            )
    return found


def _picks(order: Sequence[str]) -> Mapping[str, str]:
    """Which cases are shown, from the best to the worst; of fewer than three each once."""
    if len(order) == 1:
        return {"the only case": order[0]}
    picks = {"best": order[0], "worst": order[-1]}
    return picks if len(order) == 2 else {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
