"""Figures of the finished recogniser, through the engine: simulated whole heads and every real scan at hand."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modality_conversion.image_io import read_image
from modality_conversion.modality import Modality
from modality_conversion.recognise import Recognition, recognise
from modality_conversion.recognise_network import Network
from training.recognise.real import RealScan
from training.recognise.scans import SimulatedScan
from training.statistics import auroc, wilson


@dataclass(frozen=True)
class Row:
    """What the recogniser said of one scan."""

    name: str
    person: str
    truth: str
    said: str
    """A kind, or `do not know`."""
    confidence: float
    probabilities: dict[str, float]
    head: float
    stripped: float
    is_stripped: bool
    plausible: bool | None
    coverage: float
    cut: tuple[str, ...]
    distance: float
    unusual: float
    seconds: float


def row(name: str, person: str, truth: Modality, is_stripped: bool, seen: Recognition) -> Row:
    """What was said beside what is so."""
    return Row(
        name,
        person,
        truth.value,
        seen.kind,
        seen.confidence,
        seen.probabilities,
        seen.head,
        seen.stripped,
        is_stripped,
        seen.orientation.plausible,
        seen.coverage,
        seen.cut,
        seen.distance,
        seen.unusual,
        seen.seconds,
    )


def measure_simulated(scans: Iterable[SimulatedScan], network: Network) -> list[Row]:
    """Whole simulated scans."""
    return [
        row(
            f"{scan.person} {scan.kind} {number}", scan.person, scan.kind, scan.stripped, recognise(scan.image, network)
        )
        for number, scan in enumerate(scans)
    ]


def measure_real(scans: Iterable[RealScan], network: Network) -> list[Row]:
    """Real scans."""
    return [
        row(f"{scan.path.parent.name}/{scan.path.name}", scan.person, scan.kind, not scan.whole,
            recognise(read_image(scan.path), network))
        for scan in scans
    ]  # fmt: skip


def refusal_auroc(rows: Sequence[Row], kinds: Sequence[str]) -> float:
    """How well the gate's score, 1 minus the probability of what a scan is given as, tells wrong sequences from right ones.

    Each scan is given once as what it is, and once as each of the other `kinds`.
    """
    right = [1 - row.probabilities[row.truth] for row in rows if row.truth in kinds]
    wrong = [1 - row.probabilities[kind] for row in rows if row.truth in kinds for kind in kinds if kind != row.truth]
    return auroc(wrong, right)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts with intervals, by kind and in all."""

    def counted(some: Sequence[Row]) -> dict[str, Any]:
        right = sum(row.said == row.truth for row in some)
        unknown = sum(row.said == "do not know" for row in some)
        fair = [round(limit, 3) for limit in wilson(right + unknown, len(some))]
        named = [round(limit, 3) for limit in wilson(right, len(some))]
        return {
            "scans": len(some),
            "right": right,
            "do_not_know": unknown,
            "wrong": len(some) - right - unknown,
            "right_share": [round(right / max(1, len(some)), 3), *named],
            "right_or_unknown_share": [round((right + unknown) / max(1, len(some)), 3), *fair],
        }

    kinds = sorted({row.truth for row in rows})
    seconds = [row.seconds for row in rows]
    return {
        "all": counted(rows),
        **{kind: counted([row for row in rows if row.truth == kind]) for kind in kinds},
        "likeliest_right": round(
            sum(max(row.probabilities, key=lambda kind: row.probabilities[kind]) == row.truth for row in rows)
            / max(1, len(rows)),
            4,
        ),
        "head_right": round(float(np.mean([row.head >= 0.5 for row in rows])), 4),
        "stripped_right": round(float(np.mean([(row.stripped >= 0.5) == row.is_stripped for row in rows])), 4),
        "upright": {
            "plausible": sum(row.plausible is True for row in rows),
            "not_to_be_told": sum(row.plausible is None for row in rows),
            "wrongly_implausible": sum(row.plausible is False for row in rows),
        },
        "refusal_auroc": round(refusal_auroc(rows, kinds), 4),
        "seconds": {"median": round(float(np.median(seconds)), 3), "most": round(float(np.max(seconds)), 3)},
    }


def by_person(rows: Sequence[Row]) -> list[str]:
    """A Markdown table, one line a person."""
    lines = ["| person | scans | right | do not know | wrong |", "| --- | --- | --- | --- | --- |"]
    for person in sorted({row.person for row in rows}):
        mine = [row for row in rows if row.person == person]
        right = [row for row in mine if row.said == row.truth]
        unknown = [row for row in mine if row.said == "do not know"]
        wrong = [row for row in mine if row not in right and row not in unknown]
        named = ", ".join(f"{row.truth} as {row.said}" for row in wrong) or "0"
        silent = ", ".join(row.truth for row in unknown) or "0"
        lines.append(f"| {person} | {len(mine)} | {len(right)} | {silent} | {named} |")
    return lines


def write_figures(folder: Path, figures: Mapping[str, Sequence[Row]], say: Callable[[str], None]) -> None:
    """`figures.json`, with every row, and a summary on the screen."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        name: {"summary": summary(rows), "rows": [asdict(row) for row in rows]} for name, rows in figures.items()
    }
    (folder / "figures.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    for name, rows in figures.items():
        say(f"{name}: {json.dumps(summary(rows))}")
        say("\n".join(by_person(rows)))
