"""The report: one HTML file with its pictures beside it, and the same as JSON."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.qc.checks import worst_first
from training.qc.findings import Finding
from training.qc.settings import QcSettings
from training.qc.verdicts import Verdicts

TITLES = {
    "values": "Values that are no numbers, and files that cannot be read",
    "noise": "Slices that are mostly noise",
    "small": "Slices that show too little",
    "ghosts": "Replicated or shadowed objects",
    "background": "Noise in the air",
    "duplicates": "Duplicates",
    "modality": "Wrong modality",
    "alignment": "Scans out of line",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top }
td.number { text-align: right } figure { margin: 1rem 0 } img { max-width: 100%; background: black }
figcaption { color: #555 } .path { color: #777; font-size: .85rem; word-break: break-all }
"""


def write_report(
    findings: Sequence[Finding], looked_at: Mapping[str, int], verdicts: Verdicts, settings: QcSettings
) -> Path:
    """Write `report.html` and `report.json`; `looked_at` counts scans and cases. Gives the path of the HTML."""
    folder = settings.folder
    by_check = worst_first(findings)
    content = {
        "looked_at": dict(looked_at),
        "settings": settings.model_dump(mode="json"),
        "findings": [finding.about() for check in by_check.values() for finding in check],
        "dropped": {"scans": verdicts.scans, "cases": verdicts.cases, "slices": verdicts.bad_slices},
    }
    (folder / "report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path = folder / "report.html"
    path.write_text(_page(by_check, looked_at, settings), encoding="utf-8")
    return path


def _page(by_check: Mapping[str, Sequence[Finding]], looked_at: Mapping[str, int], settings: QcSettings) -> str:
    rows = "".join(
        f"<tr><td><a href='#{check}'>{TITLES[check]}</a></td><td class=number>{len(by_check.get(check, []))}</td>"
        f"<td class=number>{sum(len(finding.slices) for finding in by_check.get(check, []))}</td>"
        f"<td>{'dropped' if check in settings.drop else 'reported only'}</td></tr>"
        for check in settings.checks
    )
    sections = "".join(_section(check, by_check[check]) for check in settings.checks if check in by_check)
    counted = " and ".join(f"{count} {what}" for what, count in looked_at.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Quality of the training scans</title>"
        f"<style>{_STYLE}</style><h1>Quality of the training scans</h1><p>Looked at {counted}.</p>"
        "<table><tr><th>looked for</th><th>findings</th><th>slices</th><th></th></tr>"
        f"{rows}</table>{sections or '<p>Nothing was found.</p>'}</html>"
    )


def _section(check: str, findings: Sequence[Finding]) -> str:
    parts = [f"<h2 id={check}>{TITLES[check]}</h2>"]
    for finding in findings:
        where = (
            f"<p><b>{html.escape(finding.scan.name)}</b> ({html.escape(finding.person)}): {html.escape(finding.says)}"
        )
        slices = f"; slices {_ranges(finding.slices)}" if finding.slices else ""
        paths = "<br>".join(html.escape(str(path)) for path in (finding.scan, finding.other) if path is not None)
        parts.append(f"{where}{slices}<br><span class=path>{paths}</span></p>")
        if finding.picture:
            picture, says = html.escape(finding.picture), html.escape(finding.says)
            parts.append(f"<figure><img src='{picture}' alt='{says}' loading=lazy></figure>")
    return "".join(parts)


def _ranges(numbers: Sequence[int]) -> str:
    """`0-3, 7` for (0, 1, 2, 3, 7)."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
