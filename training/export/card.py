"""The model card: what went in, what comes out, how good it is, what it cannot do."""

from collections.abc import Mapping
from typing import Any

from training.evaluation.table import rows_table, table
from training.export.metadata import names_of, said
from training.export.settings import ExportSettings


def card(
    settings: ExportSettings,
    declared: Mapping[str, Any],
    weights: int,
    about: Mapping[str, float],
    figures: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> str:
    """The text of `docs/README.md`.

    `weights`: their number; `about`: `step` and `minutes` of the run; `figures`: of these weights, {} before they were
    measured; `notes`: what else there is to say of this form of the model.
    """
    sources, targets = (_or(names_of(declared, section)) for section in ("sources", "targets"))
    data = "\n".join(
        f"- **{item.name}** ({item.license}). {item.used} Cite: {item.citation}" for item in settings.datasets
    )
    limits = "\n".join(f"- {limit}" for limit in (*settings.limits, *_seen_in(declared, figures)))
    more = "".join(f"\n\n{note}" for note in notes)
    return f"""# {settings.title}

**Not for diagnosis.** Every value is a network's guess. A synthetic {targets} can miss, add or change what is there.

Version {settings.version}, licence {settings.license}, by {settings.authors}. Cite: {settings.citation}

## What it does

Reads {sources} of the {settings.anatomy}{_at_once(declared)} and writes what {targets} could look like, on the
scan's own grid, with a standard deviation for every voxel.{_scale(declared)}

The network has {weights / 1e6:.2f} million weights: {said(declared)}; on a grid of 1 mm.{more}

## Data

{data}

Training, validation and test never share a person.

## Training

{settings.training} The weights are those after {about["step"]:.0f} steps, {about["minutes"]:.0f} minutes.

## Measured

{_measured(figures)}

## Limits

{limits}
"""


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _at_once(declared: Mapping[str, Any]) -> str:
    images = [entry for entry in declared["inputs"] if entry.get("role", "image") == "image"]
    if len(images) == 1:
        return ""
    needed = [entry["modality"] for entry in images if entry.get("missing", "error") == "error"]
    return f", {' and '.join(needed)} together," if len(needed) > 1 else ", one of them or several together,"


def _scale(declared: Mapping[str, Any]) -> str:
    arbitrary = [name for name, target in declared["targets"].items() if target["units"] == "arbitrary"]
    said_of = f" {_or(arbitrary)} come in one fixed scale of arbitrary units." if arbitrary else ""
    return said_of + (" CT comes in Hounsfield units." if "CT" in declared["targets"] else "")


def _seen_in(declared: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    """What the figures do not cover, said whether or not the author thought of it."""
    real = {entry["direction"] for entry in figures.get("summary", ()) if entry["real"]}
    simulated = {entry["direction"] for entry in figures.get("summary", ())} - real
    limits = []
    if "CT" in declared["targets"] and not any(direction.endswith("->CT") for direction in real):
        limits.append("CT: not validated against real CT.")
    if simulated:
        limits.append(f"Measured on simulated heads alone: {', '.join(sorted(simulated))}.")
    return limits


def _measured(figures: Mapping[str, Any]) -> str:
    if not figures:
        return "Not measured yet."
    (model,) = figures["models"]
    pictures = "\n\n".join(
        f"Worst case, {picture['direction']} ({picture['case']}):\n\n![{picture['direction']}]({picture['card']})"
        for picture in figures.get("pictures", ())
        if "card" in picture
    )
    every = f"Every case:\n\n{rows_table(figures, model['id'])}"
    return "\n\n".join(part for part in (_HOW_MEASURED, table(figures), pictures, every) if part)


_HOW_MEASURED = """None of these people or heads was trained on. MR: volumes are scaled by their own 0.5 - 99.5 percentiles in
the brain; PSNR with range 1 and SSIM with a 7^3 uniform window in the brain; "after fit" allows one scale and offset for each
case. CT: in HU in the body, as SynthRAD2023 has it. R compares steps from slice to slice with steps within slices, synthetic
against real: 1 is as the real scan, above 1 is flicker, below 1 is smear. "Identity", the source itself, and "oracle" are base
lines: the oracle is the best look-up table from grey value to grey value, fitted on the case's own real target, which no model
is given. Good figures on simulated heads promise nothing about people."""
