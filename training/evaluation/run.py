"""Converts each case with the engine, compares, and writes figures and pictures."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from modality_conversion.bundle import Bundle
from modality_conversion.compare import compare
from modality_conversion.convert import convert
from training.evaluation.cases import TestCase
from training.evaluation.picture import save_picture
from training.export.figures import table


def evaluate(
    bundle: Bundle, cases: Iterable[TestCase], folder: Path, report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write `figures.json`, `figures.md` and a picture of each case into a folder; gives the figures."""
    source, target = bundle.spec.modalities[0], next(iter(bundle.spec.targets))
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for case in cases:
        conversion = convert({source: case.source}, bundle, target=target, device="cpu")
        comparison = compare(
            case.target,
            conversion.image,
            mask=case.brain,
            source=case.source,
            regions=case.lesions,
            region_names={1: "lesions"},
        )
        found.append(
            {
                "name": case.name,
                "real": case.real,
                "seconds": conversion.report.get("seconds"),
                "comparison": comparison.as_dict(),
            }
        )
        save_picture(case, conversion.image, conversion.uncertainty, folder / f"{case.name.replace(' ', '_')}.png")
        report(case.name)
    figures = {"model": bundle.spec.id, "version": bundle.spec.version, "hash": bundle.hash, "cases": found}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "figures.md").write_text(table(figures) + "\n", encoding="utf-8")
    return figures
