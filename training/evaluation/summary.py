"""Many rows of figures as few: for each model, direction and kind of case the mean, the median and the worst."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from training.evaluation.lesions import count
from training.evaluation.settings import LesionSettings

Row = Mapping[str, Any]


class Metric(NamedTuple):
    """One figure of a row: its name in the summary, what people call it, how it is read, and which way is better."""

    name: str
    title: str
    read: Callable[[Row], float | None]
    higher_is_better: bool = True
    digits: int = 3


def _headline(row: Row) -> Mapping[str, Any]:
    comparison: Mapping[str, Any] = row["comparisons"][row["protocol"]]
    return comparison


def _of(*path: str) -> Callable[[Row], float | None]:
    """A reader of a figure of the headline comparison; None where it is not there."""

    def read(row: Row) -> float | None:
        value: Any = _headline(row)
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else float(value)

    return read


def _gain(kind: str, figure: str) -> Callable[[Row], float | None]:
    """How much better than the oracle of the case."""
    own, oracle = _of("synthetic", kind, figure), _of("base_lines", "oracle", kind, figure)

    def read(row: Row) -> float | None:
        a, b = own(row), oracle(row)
        return None if a is None or b is None else a - b

    return read


MR_METRICS = (
    Metric("psnr", "PSNR dB", _of("synthetic", "as_is", "psnr"), digits=2),
    Metric("psnr_fitted", "PSNR dB after fit", _of("synthetic", "fitted", "psnr"), digits=2),
    Metric("ssim", "SSIM", _of("synthetic", "as_is", "ssim")),
    Metric("ssim_fitted", "SSIM after fit", _of("synthetic", "fitted", "ssim")),
    Metric("ratio", "R", _of("between_slices", "ratio")),
    Metric("oracle_psnr", "oracle PSNR dB", _of("base_lines", "oracle", "fitted", "psnr"), digits=2),
    Metric("oracle_ssim", "oracle SSIM", _of("base_lines", "oracle", "fitted", "ssim")),
    Metric("identity_psnr", "identity PSNR dB after fit", _of("base_lines", "identity", "fitted", "psnr"), digits=2),
    Metric("identity_ssim", "identity SSIM after fit", _of("base_lines", "identity", "fitted", "ssim")),
    Metric("gain_psnr", "PSNR over oracle, dB after fit", _gain("fitted", "psnr"), digits=2),
    Metric("gain_ssim", "SSIM over oracle after fit", _gain("fitted", "ssim")),
)
"""Of the protocol `slices` in the brain. The fit is one affine fit a case."""


def _ms_ssim(row: Row) -> float | None:
    value = row["comparisons"].get("synthrad2025", {}).get("synthetic", {}).get("as_is", {}).get("ms_ssim")
    return None if value is None else float(value)


CT_METRICS = (
    Metric("mae", "MAE HU", _of("synthetic", "as_is", "mae"), False, 1),
    Metric("bias", "bias HU", _of("synthetic", "as_is", "bias"), digits=1),
    Metric("psnr", "PSNR dB", _of("synthetic", "as_is", "psnr"), digits=2),
    Metric("ssim", "SSIM", _of("synthetic", "as_is", "ssim")),
    Metric("ms_ssim", "MS-SSIM (synthrad2025)", _ms_ssim),
    Metric("bone_dice", "bone Dice", lambda row: row.get("bone_dice")),
    Metric("oracle_mae", "oracle MAE HU", _of("base_lines", "oracle", "as_is", "mae"), False, 1),
    Metric("oracle_psnr", "oracle PSNR dB", _of("base_lines", "oracle", "as_is", "psnr"), digits=2),
    Metric("gain_psnr", "PSNR over oracle, dB", _gain("as_is", "psnr"), digits=2),
)
"""Of the protocol `synthrad2023` in the body, but for MS-SSIM. An MR is in no HU, so there is no identity base line."""


def metrics_of(row: Row) -> tuple[Metric, ...]:
    """The metrics that a row has, by its protocol."""
    return MR_METRICS if row["protocol"] == "slices" else CT_METRICS


def merit(row: Row) -> float:
    """What cases are ranked by, the more the better: PSNR after the fit for MR, the error in HU for CT."""
    first = MR_METRICS[1] if row["protocol"] == "slices" else CT_METRICS[0]
    value = first.read(row)
    return -math.inf if value is None else value if first.higher_is_better else -value


def summarise(rows: Iterable[Row], settings: LesionSettings) -> list[dict[str, Any]]:
    """One entry for each model, direction and kind of case (real people, simulated heads), in the order of the rows.

    An entry has `model`, `direction`, `real`, `cases`, `protocol`; `metrics`: by name the `mean`, `median` and `worst`;
    `regions`: by comparison and region the mean MAE and bias, over how many cases; `lesions`: all lesions of all cases.
    """
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["direction"], row["real"]), []).append(row)
    return [
        {
            "model": model,
            "direction": direction,
            "real": real,
            "cases": len(group),
            "protocol": group[0]["protocol"],
            "seconds": float(np.mean([row["seconds"] for row in group])),
            "metrics": {metric.name: spread for metric in metrics_of(group[0]) if (spread := _spread(metric, group))},
            "regions": _regions(group),
            "lesions": _lesions(group, settings),
        }
        for (model, direction, real), group in groups.items()
    ]


def _spread(metric: Metric, group: list[Row]) -> dict[str, float] | None:
    values = [value for row in group if (value := metric.read(row)) is not None]
    if not values:
        return None
    worst = min(values) if metric.higher_is_better else max(values)
    if metric.name == "ratio":  # the best R is 1
        worst = max(values, key=lambda value: abs(math.log(max(value, 1e-6))))
    elif metric.name == "bias":
        worst = max(values, key=abs)
    return {"mean": float(np.mean(values)), "median": float(np.median(values)), "worst": worst}


def _regions(group: list[Row]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in group:
        for name, comparison in row["comparisons"].items():
            for region in comparison.get("regions", ()):
                own = region["as_is"]
                if own["voxels"]:
                    found.setdefault(name, {}).setdefault(region["name"], []).append((own["mae"], own["bias"]))
    return {
        name: {
            region: {"mae": means[0], "bias": means[1], "cases": len(pairs)}
            for region, pairs in regions.items()
            for means in [[float(value) for value in np.mean(pairs, axis=0)]]
        }
        for name, regions in found.items()
    }


def _lesions(group: list[Row], settings: LesionSettings) -> dict[str, Any] | None:
    """Recall and ratios over all lesions of the group; false ones a case. None where nobody knows where the brain is."""
    measured = [row["lesions"] for row in group if "lesions" in row]
    if not measured:
        return None
    ratios = [lesion["ratio"] for figures in measured for lesion in figures["lesions"]]
    return {
        **count(ratios, settings),
        "false": sum(len(figures["false"]) for figures in measured),
        "false_a_case": sum(len(figures["false"]) for figures in measured) / len(measured),
        "cases": len(measured),
    }
