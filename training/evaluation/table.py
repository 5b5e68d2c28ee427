"""Figures as Markdown, for the model card and for a console."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from training.evaluation.summary import CT_METRICS, MR_METRICS, Metric, metrics_of

KINDS = {True: "real people", False: "simulated heads"}


def counted(cases: int, real: bool) -> str:
    """How many cases of which kind, in words."""
    if real:
        return "1 case of a real person" if cases == 1 else f"{cases} cases of real people"
    return "1 simulated head" if cases == 1 else f"{cases} simulated heads"


def number(value: float | None, digits: int = 3) -> str:
    """A figure as text; `-` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of those figures that there are; None where there is none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def table(figures: Mapping[str, Any], model: str | None = None) -> str:
    """Tables of the means: MR targets, CT targets, lesions. `model`: of one model alone. '' without figures."""
    entries = [entry for entry in figures.get("summary", ()) if model in (None, entry["model"])]
    several = len({entry["model"] for entry in entries}) > 1
    parts = []
    for title, metrics in (("MR", MR_METRICS), ("CT", CT_METRICS)):
        chosen = [entry for entry in entries if metrics_of(entry) is metrics]
        if chosen:
            parts.append(f"To {title}, means over cases:\n\n{_means(chosen, metrics, several)}")
    lesions = _lesions(entries, several)
    if lesions:
        parts.append(f"Lesions:\n\n{lesions}")
    return "\n\n".join(parts)


def lesion_table(figures: Mapping[str, Any], model: str) -> str:
    """The lesions of one model, a line for each direction and kind of case; '' where there are none."""
    entries = [entry for entry in figures.get("summary", ()) if entry["model"] == model]
    return _lesions([entry for entry in entries if entry["lesions"] and entry["lesions"]["count"]], several=False)


def rows_table(figures: Mapping[str, Any], model: str) -> str:
    """Every case of one model, a table for MR targets and one for CT."""
    parts = []
    for metrics in (MR_METRICS, CT_METRICS):
        chosen = [row for row in figures.get("rows", ()) if row["model"] == model and metrics_of(row) is metrics]
        if chosen:
            heading = ["direction", "case", *(metric.title for metric in metrics)]
            lines = [
                [row["direction"], row["case"], *(number(metric.read(row), metric.digits) for metric in metrics)]
                for row in chosen
            ]
            parts.append(markdown(heading, lines))
    return "\n\n".join(parts)


def _means(entries: Iterable[Mapping[str, Any]], metrics: tuple[Metric, ...], several: bool) -> str:
    heading = [*(["model"] if several else []), "direction", "on", "cases", *(metric.title for metric in metrics)]
    lines = []
    for entry in entries:
        found = entry["metrics"]
        means = [number(found.get(metric.name, {}).get("mean"), metric.digits) for metric in metrics]
        who = [entry["model"]] if several else []
        lines.append([*who, entry["direction"], KINDS[entry["real"]], str(entry["cases"]), *means])
    return markdown(heading, lines)


def _lesions(entries: Iterable[Mapping[str, Any]], several: bool) -> str:
    heading = ["model"] if several else []
    heading += ["direction", "on", "lesions", "shown by the real scan", "recall", "contrast ratio (median)"]
    heading += ["ratio in band", "false a case"]
    lines = []
    for entry in entries:
        found = entry["lesions"]
        if found is not None:
            figures = [number(found[name], 2) for name in ("recall", "ratio", "in_band", "false_a_case")]
            who = [entry["model"]] if several else []
            counts = [str(found["count"]), str(found["shown"])]
            lines.append([*who, entry["direction"], KINDS[entry["real"]], *counts, *figures])
    return markdown(heading, lines) if lines else ""


def markdown(heading: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
