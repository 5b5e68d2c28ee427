"""The page that a batch ends with: what failed and why, then every case with its picture, the worst first."""

from __future__ import annotations

import csv
import html
import io
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..report import NOTICE
from ..version import __version__

# A robust standard deviation is 1.4826 times the median absolute deviation.
_ROBUST = 1.4826
_FEWEST = 4


@dataclass(frozen=True)
class Entry:
    """One case on the page."""

    id: str
    reason: str = ""
    """Why it failed; empty where it is done."""
    out: str = ""
    picture: str | None = None
    model: str = ""
    source: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict)
    oddness: float = 0.0
    """How far it stands from the others of the batch, in robust standard deviations; see `ranked`."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Entry:
        """A case that is done, from its record."""
        return cls(
            record["id"],
            out=record["out"],
            picture=record["picture"],
            model=record["model"],
            source=record["from"],
            seconds=record["seconds"],
            warnings=tuple(record["warnings"]),
            features=record["features"],
        )


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Worst first: what failed, then what has warnings, then by how far a case stands from the others of its kind.

    The distance is the largest over its features, in robust standard deviations (median, median absolute deviation) of the
    cases of the same source modality. Being surer than the others is no fault. Fewer than four cases have no distance;
    among them the uncertainty decides.
    """
    known: dict[tuple[str, str], list[float]] = {}
    for entry in entries:
        for name, value in entry.features.items():
            known.setdefault((entry.source, name), []).append(value)
    usual = {key: _usual(values) for key, values in known.items() if len(values) >= _FEWEST}
    found = [replace(entry, oddness=_oddness(entry, usual)) for entry in entries]

    def order(entry: Entry) -> tuple:
        return not entry.reason, not entry.warnings, -entry.oddness, -entry.features.get("uncertainty", 0.0), entry.id

    return sorted(found, key=order)


def _usual(values: Sequence[float]) -> tuple[float, float]:
    """Median and robust standard deviation."""
    middle = float(np.median(values))
    return middle, _ROBUST * float(np.median(np.abs(np.array(values) - middle)))


def _oddness(entry: Entry, usual: Mapping[tuple[str, str], tuple[float, float]]) -> float:
    worst = 0.0
    for name, value in entry.features.items():
        middle, spread = usual.get((entry.source, name), (0.0, 0.0))
        if spread > 0:
            distance = (value - middle) / spread
            worst = max(worst, distance if name == "uncertainty" else abs(distance))
    return worst


def table(entries: Sequence[Entry]) -> str:
    """The cases as tab-separated text, in the page's order."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(
        ["case", "status", "reason", "output", "from", "model", "seconds", "uncertainty", "oddness", "warnings"]
    )
    for entry in entries:
        sure = entry.features.get("uncertainty")
        writer.writerow(
            [
                entry.id,
                "failed" if entry.reason else "done",
                entry.reason,
                entry.out,
                entry.source,
                entry.model,
                f"{entry.seconds:.1f}",
                "" if sure is None else f"{sure:.4f}",
                f"{entry.oddness:.2f}",
                " ".join(entry.warnings),
            ]
        )
    return text.getvalue()


def page(entries: Sequence[Entry], left_out: Sequence[tuple[str, str]], target: str) -> str:
    """The page as HTML; pictures lie beside it."""
    failed = [entry for entry in entries if entry.reason]
    done = [entry for entry in entries if not entry.reason]
    parts = [
        "<!doctype html>",
        f"<html lang=en><meta charset=utf-8><title>Synthetic {_safe(target)}: {len(done)} cases</title>",
        f"<style>{_STYLE}</style>",
        f"<h1>Synthetic {_safe(target)}</h1>",
        f"<p class=notice>SYNTHETIC. {_safe(NOTICE)}</p>",
        f"<p><b>{len(done)}</b> converted, <b>{len(failed)}</b> failed, {len(left_out)} left out. "
        f"ModalityConversion {__version__}.</p>",
    ]
    if failed:
        rows = "".join(f"<tr><td>{_safe(e.id)}<td>{_safe(e.reason)}" for e in failed)
        parts.append(f"<h2>Failed</h2><table><tr><th>Case<th>Reason{rows}</table>")
    if done:
        parts.append(
            "<h2>Converted, the worst first</h2><p>Cases with warnings come first, then those that differ most from the "
            "others of this batch, in robust standard deviations, by their uncertainty, the size of the head, and the "
            "brightness of the result. It is an order to look at them in, no measure of how good they are.</p>"
        )
        parts += map(_card, done)
    if left_out:
        rows = "".join(f"<tr><td>{_safe(id)}<td>{_safe(reason)}" for id, reason in left_out)
        parts.append(f"<details><summary>Left out: {len(left_out)}</summary><table>{rows}</table></details>")
    return "\n".join(parts) + "\n</html>\n"


def _card(entry: Entry) -> str:
    facts = [f"from {entry.source}", entry.model, f"{entry.seconds:.1f} s"]
    if "uncertainty" in entry.features:
        facts.append(f"uncertainty {entry.features['uncertainty']:.1%} of the window")
    if entry.oddness:
        facts.append(f"{entry.oddness:.1f} from the others")
    warnings = "".join(f"<li>{_safe(warning)}" for warning in entry.warnings)
    picture = ""
    if entry.picture:
        place = urllib.parse.quote(entry.picture)
        picture = f'<a href="{place}"><img loading=lazy src="{place}" alt="The scan and what was made of it"></a>'
    return (
        f"<section><h3>{_safe(entry.id)}</h3><p>{_safe(', '.join(facts))}<br><code>{_safe(entry.out)}</code></p>"
        f"{f'<ul class=warning>{warnings}</ul>' if warnings else ''}{picture}</section>"
    )


def _safe(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;background:#111;color:#eee;max-width:1100px;margin:2em auto;padding:0 1em}
h1,h2,h3{font-weight:600}h3{margin:0 0 .2em;overflow-wrap:anywhere}
.notice{color:#ffc53d;font-weight:600}
table{border-collapse:collapse;width:100%}td,th{border:1px solid #444;padding:.3em .6em;text-align:left;overflow-wrap:anywhere}
section{border-top:1px solid #444;padding:1em 0}img{max-width:100%;height:auto}code{color:#aaa;overflow-wrap:anywhere}
.warning{color:#ffc53d}
"""
