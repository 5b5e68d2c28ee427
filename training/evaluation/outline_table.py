"""Figures of segmentations, summed up and as Markdown."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from training.evaluation.table import markdown, mean_of_known, number
from training.statistics import wilson

Row = Mapping[str, Any]


def summarise(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry for each model, set of scans and kind of case: `cases`; `regions`: means over the cases that have the region;
    `parts`, `found` and its 95 % interval; `false_a_case`, `false_ml` a case; `false_healthy`: share of the cases without
    anything to find in which something was outlined; `seconds`.
    """
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["scans"], row["real"]), []).append(row)
    return [
        {"model": model, "scans": scans, "real": real, "cases": len(group), **_summed(group)}
        for (model, scans, real), group in groups.items()
    ]


def _summed(group: list[Row]) -> dict[str, Any]:
    names = dict.fromkeys(name for row in group for name in row["regions"])
    parts = [part for row in group for part in row["parts"]["there"]]
    found = sum(part["found"] for part in parts)
    healthy = [row for row in group if not any(region["truth_ml"] > 0 for region in row["regions"].values())]
    return {
        "regions": {name: _region([row["regions"][name] for row in group if name in row["regions"]]) for name in names},
        "parts": len(parts),
        "found": found / len(parts) if parts else None,
        "found_interval": wilson(found, len(parts)) if parts else None,
        "false_a_case": float(np.mean([row["parts"]["false"] for row in group])),
        "false_ml": float(np.mean([row["parts"]["false_ml"] for row in group])),
        "healthy": len(healthy),
        "false_healthy": float(np.mean([row["parts"]["false"] > 0 for row in healthy])) if healthy else None,
        "seconds": float(np.mean([row["seconds"] for row in group])),
    }


def _region(found: list[Row]) -> dict[str, Any]:
    there = [region for region in found if region["truth_ml"] > 0]
    dice = [region["dice"] for region in there]
    return {
        "cases": len(there),
        "dice": float(np.mean(dice)) if dice else None,
        "dice_median": float(np.median(dice)) if dice else None,
        "dice_worst": min(dice) if dice else None,
        "surface": mean_of_known(region["surface"] for region in there),
        "hausdorff95": mean_of_known(region["hausdorff95"] for region in there),
    }


HEADING = [
    *("scans", "cases", "region", "with it", "Dice, mean", "median", "worst", "surface mm", "95 % Hausdorff mm"),
    *("parts", "found", "false a case", "false mL a case", "s a case"),
]


def lines(entries: Iterable[Row]) -> list[list[str]]:
    """The lines of the table: one for each region, what is of the whole entry in its first."""
    found = []
    for entry in entries:
        for place, (name, region) in enumerate(entry["regions"].items()):
            figures = [number(region[key], 3) for key in ("dice", "dice_median", "dice_worst")]
            figures += [number(region[key], 2) for key in ("surface", "hausdorff95")]
            of_all = [str(entry["parts"]), _found(entry), *(number(entry[k], 2) for k in ("false_a_case", "false_ml"))]
            of_all.append(number(entry["seconds"], 1))
            first = [entry["scans"], str(entry["cases"])]
            found.append(
                [*(first if not place else ["", ""]), name, str(region["cases"]), *figures]
                + (of_all if not place else [""] * len(of_all))
            )
    return found


def _found(entry: Row) -> str:
    if entry["found"] is None:
        return "-"
    low, high = entry["found_interval"]
    return f"{entry['found']:.3f} ({low:.3f} to {high:.3f})"


def outline_tables(figures: Mapping[str, Any]) -> str:
    """A table for each model."""
    models = list(dict.fromkeys(entry["model"] for entry in figures.get("summary", ())))
    parts = []
    for model in models:
        table = markdown(HEADING, lines(entry for entry in figures["summary"] if entry["model"] == model))
        parts.append(f"`{model}`:\n\n{table}" if len(models) > 1 else table)
    return "\n\n".join(parts)


def explained(figures: Mapping[str, Any]) -> str:
    """What the figures are."""
    limits = figures["settings"]
    return (
        "None of these people or heads was trained on. Dice and distances are means over the cases that have the region; the "
        "distance of surfaces is symmetric and, like the Hausdorff distance, only over cases in which something was outlined. "
        f"Parts are connected parts of the outermost region of {limits['smallest']:g} mL and more; found: at least "
        f"{limits['overlap']:.0%} of the part is outlined, with the 95 % Wilson interval; false: outlined parts of that size "
        "without one true voxel; false mL: those of any size. "
        "Good figures on simulated heads promise nothing about people."
    )
