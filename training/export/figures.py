"""What `evaluate` measured, as a bundle tells it: entries for programs in `conversion.json`."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.evaluation.outline_run import KIND
from training.evaluation.run import FIGURES
from training.evaluation.summary import MR_METRICS, metrics_of
from training.evaluation.table import counted

_TOLD = {
    "psnr": ("PSNR", "dB"),
    "psnr_fitted": ("PSNR after affine fit", "dB"),
    "ssim": ("SSIM", ""),
    "ratio": ("R", ""),
    "mae": ("MAE", "HU"),
    "ms_ssim": ("MS-SSIM", ""),
    "bone_dice": ("Dice of bone", ""),
}
"""Metrics that a bundle tells, by their name in the summary: what they are called there, and their unit."""


def read_figures(folder: Path) -> dict[str, Any]:
    """The figures of the last evaluation; {} where there was none."""
    path = folder / FIGURES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def of_weights(figures: Mapping[str, Any], model: str, weights: list[str]) -> dict[str, Any]:
    """The part of the figures that is of this model with these weights, by SHA-256; {} where none is."""
    if not any(entry["id"] == model and entry["weights"] == weights for entry in figures.get("models", ())):
        return {}
    mine: dict[str, Any] = dict(figures)
    for part, key in (("models", "id"), ("summary", "model"), ("rows", "model"), ("worst", "model")):
        mine[part] = [entry for entry in figures.get(part, ()) if entry[key] == model]
    return mine


def quality(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries for `quality`: means of each direction or set of scans, on real people and on simulated heads."""
    if figures.get("kind") == KIND:
        return _outline_quality(figures)
    entries = []
    for entry in figures.get("summary", ()):
        source, _, target = entry["direction"].partition("->")
        several = "+" in source
        who = counted(entry["cases"], entry["real"]) + (f", from {source}" if several else "")
        for metric in metrics_of(entry):
            mean = entry["metrics"].get(metric.name, {}).get("mean")
            if metric.name not in _TOLD or mean is None or not math.isfinite(mean):
                continue
            name, unit = _TOLD[metric.name]
            told = {
                "metric": name,
                "value": round(mean, 4),
                "unit": unit,
                "target": target,
                "region": "brain" if metrics_of(entry) is MR_METRICS else "body",
                "data": who,
                "protocol": "synthrad2025" if metric.name == "ms_ssim" else entry["protocol"],
            }
            entries.append(told if several else told | {"source": source})
    return entries


def _outline_quality(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    for entry in figures["summary"]:
        told = {"data": counted(entry["cases"], entry["real"]) + f", from {entry['scans']}"}
        told |= {"protocol": "packed cases, 1 mm, on the case's grid"}
        for name, region in entry["regions"].items():
            for metric, key, unit in (("Dice", "dice", ""), ("surface distance", "surface", "mm")):
                if region[key] is not None:
                    figure = {"metric": metric, "value": round(region[key], 4), "unit": unit, "region": name}
                    entries.append(figure | told)
        for metric, key in (("share of parts found", "found"), ("false parts a case", "false_a_case")):
            if entry[key] is not None:
                region = next(iter(entry["regions"]), "mask")
                entries.append({"metric": metric, "value": round(entry[key], 4), "region": region} | told)
    return entries
