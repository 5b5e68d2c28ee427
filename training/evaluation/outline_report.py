"""The report of segmentations as one page of plain HTML beside its pictures."""

from collections.abc import Mapping
from html import escape
from typing import Any

from training.evaluation.outline_table import HEADING, explained, lines
from training.evaluation.report import STYLE, html_table
from training.evaluation.table import number

NOTICE = (
    "Labels made by models, not for diagnosis. Simulated heads are drawn by the same rules as the training heads: good figures "
    "there promise nothing about people."
)


def html(figures: Mapping[str, Any]) -> str:
    """The page. `figures` as `evaluate_outlines` writes them."""
    title = f"Evaluation: {'; '.join(dict.fromkeys(model['title'] for model in figures['models']))}"
    body = [f"<h1>{escape(title)}</h1>", f'<p class="notice">{NOTICE}</p>', _about(figures)]
    body.append(f'<p class="small">{escape(explained(figures))}</p>')
    for model in dict.fromkeys(entry["model"] for entry in figures["summary"]):
        body.append(f"<h2>{escape(model)}</h2>")
        body.append(html_table(HEADING, lines(e for e in figures["summary"] if e["model"] == model), text=1))
        for entry in figures["worst"]:
            if entry["model"] == model:
                body.append(
                    f"<figure><figcaption>{escape(entry['scans'])}, from the worst case to the best; truth green, model red"
                    f'</figcaption><img src="{escape(entry["file"])}" alt=""></figure>'
                )
        body.append(f"<details><summary>Every case</summary>{_cases(figures, model)}</details>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _about(figures: Mapping[str, Any]) -> str:
    rows = [
        [
            *(model[key] for key in ("id", "title", "version")),
            f"{model['megabytes']:.1f}",
            ", ".join(digest[:12] for digest in model["weights"]),
        ]
        for model in figures["models"]
    ]
    return html_table(["model", "title", "version", "MB", "weights (SHA-256)"], rows, text=5)


def _cases(figures: Mapping[str, Any], model: str) -> str:
    heading = ["case", "scans", "region", "truth mL", "model mL", "Dice", "surface mm", "found", "false"]
    rows = []
    for row in figures["rows"]:
        if row["model"] != model:
            continue
        parts = row["parts"]
        found = f"{sum(part['found'] for part in parts['there'])} of {len(parts['there'])}"
        for name, region in row["regions"].items():
            volumes = [number(region[key], 1) for key in ("truth_ml", "model_ml")]
            told = [number(region["dice"]), number(region["surface"], 2)]
            rows.append([row["case"], row["scans"], name, *volumes, *told, found, str(parts["false"])])
    return html_table(heading, rows, text=3)
