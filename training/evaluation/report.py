"""The report as one page of plain HTML beside its pictures: no script, nothing from the network."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from training.evaluation.summary import CT_METRICS, MR_METRICS, Metric, metrics_of
from training.evaluation.table import KINDS, number

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; margin: 0 auto; max-width: 1280px;
  padding: 1.5rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.4rem; border-bottom: 2px solid #d5dde5; padding-bottom: .2rem; }
h3 { margin-top: 1.6rem; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e4e9ee; }
th { background: #f2f5f8; vertical-align: bottom; } td.text, th.text { text-align: left; }
td.text { white-space: nowrap; } nav a { margin-right: 1rem; }
td.good { background: #e3f4e6; } td.poor { background: #fbe5e3; }
.wide { overflow-x: auto; } img { width: 100%; background: #000; margin: .3rem 0 1rem; }
.notice { background: #fff4d6; border-left: 4px solid #e0a800; padding: .5rem 1rem; }
.small, figcaption { color: #55636f; font-size: .86rem; } figure { margin: 0; } details { margin: .4rem 0; }
"""

NOTICE = (
    "Synthetic images, not for diagnosis. Figures of different protocols, masks or kinds of case must not be compared "
    "with each other. Simulated heads are drawn by the same rules as the training heads: good figures there promise nothing "
    "about people."
)

EXPLAINED = """<ul class="small">
<li><b>Oracle</b>: the best look-up table from the source's grey values to the target's, fitted on the case itself. It knows
the case's own contrast, which no model is given; a model that does not beat it has learnt no anatomy. Green: better than the
oracle; red: worse.</li>
<li><b>Identity</b>: the source itself, taken for the target. With several scans in, both base lines are of the first.</li>
<li><b>After fit</b>: after one least-squares straight line a case, since MR units are arbitrary.</li>
<li><b>R</b>: steps from slice to slice over steps within slices, synthetic against real. 1 is as the real scan, above 1
flicker, below 1 smear. A real scan that was resampled onto the source's slices is a little smoother than it was.</li>
<li><b>Lesions</b>: {lesions}</li>
<li><b>Error known</b>: correlation of the deviation that the model states with the error that it makes.</li>
</ul>"""


def html(figures: Mapping[str, Any]) -> str:
    """The page. `figures` as `evaluate` writes them."""
    models = "; ".join(model["title"] for model in figures["models"])
    directions = list(dict.fromkeys(row["direction"] for row in figures["rows"]))
    body = [
        f"<h1>Evaluation: {escape(models)}</h1>",
        f'<p class="notice">{NOTICE}</p>',
        _about(figures),
        _links(directions),
        "<h2>At a glance</h2>",
        *(_overview(figures, real) for real in (True, False)),
        EXPLAINED.format(lesions=escape(_lesions_explained(figures["lesions"]))),
        *(_direction(figures, direction) for direction in directions),
        "<h2>Protocols</h2>",
        *(
            f'<p class="small"><b>{escape(name)}</b>: {escape(text)}.</p>'
            for name, text in figures["protocols"].items()
        ),
    ]
    head = f'<meta charset="utf-8"><title>Evaluation: {escape(models)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _links(directions: Iterable[str]) -> str:
    links = (f'<a href="#{escape(direction)}">{escape(direction)}</a>' for direction in directions)
    return f"<nav>{''.join(links)}</nav>"


def _lesions_explained(limits: Mapping[str, Any]) -> str:
    low, high = limits["band"]
    return (
        f"connected lesions of {limits['smallest']:g} mL and more. Shown: the real scan has a contrast there of at least "
        f"{limits['visible']:g} of the scaled range ({limits['visible_hu']:g} HU). Recall: share with at least "
        f"{limits['kept']:g} of that contrast in the synthetic scan. In band: share with a ratio of {low:g} to {high:g}. "
        f"False: places {limits['depth']:g} mm and deeper in the brain, as large as a lesion, that stand out by "
        f"{limits['false']:g} ({limits['false_hu']:g} HU) more than in the real scan."
    )


def _about(figures: Mapping[str, Any]) -> str:
    rows = []
    for model in figures["models"]:
        hashes = ", ".join(digest[:12] for digest in model["weights"])
        rows.append([model["id"], model["title"], model["version"], f"{model['megabytes']:.1f}", hashes])
    people = sum(case["real"] for case in figures["cases"])
    counts = f"{people} scanned cases of real people, {len(figures['cases']) - people} simulated heads."
    return f"<p>{counts}</p>" + html_table(["model", "title", "version", "MB", "weights (SHA-256)"], rows, text=5)


def _overview(figures: Mapping[str, Any], real: bool) -> str:
    """A table for MR targets and one for CT, a line for each direction and model."""
    parts = []
    for title, metrics in (("To MR", MR_METRICS), ("To CT", CT_METRICS)):
        entries = [entry for entry in figures["summary"] if entry["real"] == real and metrics_of(entry) is metrics]
        if entries:
            parts.append(f"<h3>{title}, {KINDS[real]}: means over cases</h3>" + _means(entries, metrics))
    lesions = [entry for entry in figures["summary"] if entry["real"] == real and entry["lesions"] is not None]
    if lesions:
        heading = [
            "direction",
            "model",
            "lesions",
            "shown",
            "recall",
            "contrast ratio",
            "in band",
            "false",
            "false a case",
        ]
        rows = [
            [entry["direction"], entry["model"], str(found["count"]), str(found["shown"])]
            + [number(found[name], 2) for name in ("recall", "ratio", "in_band")]
            + [str(found["false"]), number(found["false_a_case"], 1)]
            for entry in lesions
            for found in [entry["lesions"]]
        ]
        parts.append(f"<h3>Lesions, {KINDS[real]}</h3>" + html_table(heading, rows, text=2))
    return "\n".join(parts)


def _means(entries: Sequence[Mapping[str, Any]], metrics: tuple[Metric, ...]) -> str:
    heading = ["direction", "model", "cases", *(metric.title for metric in metrics), "s a case"]
    rows, classes = [], []
    for entry in entries:
        found = entry["metrics"]
        values = [found.get(metric.name, {}).get("mean") for metric in metrics]
        rows.append([entry["direction"], entry["model"], str(entry["cases"])])
        rows[-1] += [number(value, metric.digits) for value, metric in zip(values, metrics, strict=True)]
        rows[-1].append(number(entry["seconds"], 1))
        classes.append(
            ["", "", "", *(_colour(metric, value) for metric, value in zip(metrics, values, strict=True)), ""]
        )
    return html_table(heading, rows, text=2, classes=classes)


def _colour(metric: Metric, value: float | None) -> str:
    if value is None or not metric.name.startswith("gain"):
        return ""
    return "good" if value > 0 else "poor"


def _direction(figures: Mapping[str, Any], direction: str) -> str:
    """Pictures, regions and every case of one direction."""
    rows = [row for row in figures["rows"] if row["direction"] == direction]
    parts = [f'<h2 id="{escape(direction)}">{escape(direction)}</h2>']
    for picture in figures["pictures"]:
        if picture["direction"] == direction:
            said = f"{picture['place'].capitalize()}: {picture['case']}"
            parts.append(
                f'<figure><figcaption>{escape(said)}</figcaption><img loading="lazy" src="{escape(picture["file"])}" '
                f'alt="{escape(direction)}, {escape(said)}"></figure>'
            )
    parts.append(_regions([entry for entry in figures["summary"] if entry["direction"] == direction]))
    metrics = metrics_of(rows[0])
    heading = ["case", "model", *(metric.title for metric in metrics), "error known", "recall", "false"]
    lines = []
    for row in rows:
        lines.append([row["case"], row["model"], *(number(metric.read(row), metric.digits) for metric in metrics)])
        lines[-1] += [number(row.get("error_correlation"), 2), *_lesion_cells(row)]
    classes = [["", "", *(_colour(metric, metric.read(row)) for metric in metrics), "", "", ""] for row in rows]
    parts.append("<h3>Every case</h3>" + html_table(heading, lines, text=2, classes=classes))
    parts.append(_every_lesion(rows))
    parts.append(_warnings(rows))
    return "\n".join(part for part in parts if part)


def _lesion_cells(row: Mapping[str, Any]) -> list[str]:
    found = row.get("lesions")
    if found is None:
        return ["-", "-"]
    return [number(found["recall"], 2), str(len(found["false"]))]


def _regions(entries: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [name, region, KINDS[entry["real"]], entry["model"], str(means["cases"])]
        + [number(means[key], 1 if name.startswith("synthrad") else 4) for key in ("mae", "bias")]
        for entry in entries
        for name, regions in entry["regions"].items()
        if name != "synthrad2025"  # MAE and bias are those of synthrad2023
        for region, means in regions.items()
    ]
    if not rows:
        return ""
    heading = ["protocol", "region", "on", "model", "cases", "MAE", "bias"]
    return "<h3>Region by region</h3>" + html_table(heading, rows, text=4) + _REGIONS_NOTE


_REGIONS_NOTE = (
    '<p class="small">MR: of the range scaled in the brain, or, where it says whole head, in the head; before the fit. CT: HU. '
    "Bias: synthetic minus real.</p>"
)


def _every_lesion(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        for lesion in row.get("lesions", {}).get("lesions", ()):
            contrasts = [number(lesion["real"]), number(lesion["synthetic"]), number(lesion["ratio"], 2)]
            lines.append([row["case"], row["model"], number(lesion["volume_ml"], 2), *contrasts])
    if not lines:
        return ""
    heading = ["case", "model", "mL", "contrast, real", "contrast, synthetic", "ratio"]
    return f"<details><summary>{len(lines)} lesions one by one</summary>{html_table(heading, lines, text=2)}</details>"


def _warnings(rows: Iterable[Mapping[str, Any]]) -> str:
    said = []
    for row in rows:
        who = escape(f"{row['case']}, {row['model']}")
        said += [f"<li>{who}: {escape(text)}</li>" for text in row["warnings"]]
    if not said:
        return ""
    return f'<details class="small"><summary>{len(said)} warnings</summary><ul>{"".join(said)}</ul></details>'


def html_table(
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: int = 1,
    classes: Sequence[Sequence[str]] | None = None,
) -> str:
    """A table whose first `text` columns are words; `classes` names the style of each cell."""

    def cell(tag: str, value: str, column: int, style: str) -> str:
        names = " ".join(name for name in (style, "text" if column < text else "") if name)
        opened = f'{tag} class="{names}"' if names else tag
        return f"<{opened}>{escape(value)}</{tag}>"

    lines = ["<tr>" + "".join(cell("th", value, column, "") for column, value in enumerate(heading)) + "</tr>"]
    for index, row in enumerate(rows):
        styles = classes[index] if classes else [""] * len(row)
        cells = (cell("td", value, column, styles[column]) for column, value in enumerate(row))
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"
