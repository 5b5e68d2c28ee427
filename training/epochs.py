"""Keeps the weights of the best epochs, chooses among them, and shows the choice so that a person can check it."""

import html
import json
import shutil
from pathlib import Path
from typing import Any

from training import checkpoint
from training.config import ConfigError
from training.journal import VALIDATION, read_rows
from training.schedule import LoopSettings


def _path(run: Path, step: int) -> Path:
    return run / "epochs" / f"{step:07d}.pt"


def check_choice(settings: LoopSettings, figures: dict[str, float]) -> None:
    """Refuse a figure to choose by that the validation does not have; before any training."""
    if figures and settings.choose not in figures:
        raise ConfigError(
            f"train.choose: the validation has no figure {settings.choose!r}; it has: {', '.join(figures)}."
        )


def ranked(run: Path, settings: LoopSettings) -> list[dict[str, Any]]:
    """The epochs whose figures are known and whose weights are kept, the best first: `step`, `value` and the rest."""
    rows = []
    for row in read_rows(run / VALIDATION):
        if row.get(settings.choose) and _path(run, int(row["step"])).exists():
            rows.append({**row, "step": int(row["step"]), "value": float(row[settings.choose])})
    return sorted(rows, key=lambda row: row["value"], reverse=settings.choose_highest)


def keep(run: Path, settings: LoopSettings, state: dict[str, Any]) -> None:
    """Keep the averaged weights of an epoch whose figures are in the table, if it is among the best, and choose anew.

    `state`: `average`, `step` and `seconds`. Without figures the newest epoch is the choice.
    """
    newest = _path(run, state["step"])
    newest.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write(state, newest)
    order = ranked(run, settings)
    kept = [_path(run, row["step"]) for row in order[: settings.keep]] or [newest]
    for path in newest.parent.glob("*.pt"):
        if path not in kept:
            path.unlink()
    # Copied beside, then renamed: `export` may be reading.
    part = run / "best.part"
    shutil.copyfile(kept[0], part)
    part.replace(run / checkpoint.BEST)
    _tell(run, settings, order, int(kept[0].stem))


def forget_after(run: Path, step: int) -> None:
    """Remove the epochs of later steps: a run that was killed goes on from its checkpoint, which may be older."""
    for path in (run / "epochs").glob("*.pt"):
        if int(path.stem) > step:
            path.unlink()


def _tell(run: Path, settings: LoopSettings, order: list[dict[str, Any]], chosen: int) -> None:
    """Write `choice.json` and `choice.html`: every epoch with its figures and its picture, the chosen one marked."""
    value = order[0]["value"] if order else None
    content = {"chosen": chosen, "by": settings.choose, "highest": settings.choose_highest, "value": value}
    (run / "choice.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    rows = read_rows(run / VALIDATION)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = []
    for row in rows:
        step = int(row["step"])
        mark = ' class="chosen"' if step == chosen else ""
        cells = "".join(f"<td>{html.escape(row.get(name) or '')}</td>" for name in columns)
        kept = "chosen" if step == chosen else "kept" if _path(run, step).exists() else ""
        lines.append(f'<tr{mark}><td><a href="#{step}">{kept or "see"}</a></td>{cells}</tr>')
    pictures = [
        f'<h2 id="{int(path.stem)}">Step {int(path.stem)}{", chosen" if int(path.stem) == chosen else ""}</h2>'
        f'<p>Source, output, target; 5 &times; deviation, where the network gives one.</p><img src="pictures/{path.name}">'
        for path in sorted((run / "pictures").glob("*.png"))
    ]
    reason = (
        f"Step {chosen} has the {'highest' if settings.choose_highest else 'lowest'} <b>{html.escape(settings.choose)}</b>, "
        f"{value:.5g}, of those kept. The averaged weights of each epoch were measured on data that nobody trained on."
        if value is not None
        else f"There was nothing to choose by (no validation pool); step {chosen} is the newest."
    )
    (run / "choice.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Choice among epochs</title>
<style>body{{font-family:sans-serif;margin:2em}}table{{border-collapse:collapse}}td,th{{padding:.2em .6em;text-align:right;
border-bottom:1px solid #ccc}}tr.chosen{{background:#dfd;font-weight:bold}}img{{max-width:100%}}</style>
<h1>Choice among epochs</h1><p>{reason} Look at the pictures before you believe it.</p>
<table><tr><th></th>{head}</tr>{"".join(lines)}</table>{"".join(pictures)}</html>
""",
        encoding="utf-8",
    )
