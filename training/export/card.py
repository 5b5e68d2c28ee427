"""The card of a model that converts: what goes in, what comes out, how good it is, what it cannot do."""

from collections.abc import Mapping
from typing import Any

from training.evaluation.group_table import group_tables
from training.evaluation.groups import TO_CT
from training.evaluation.table import lesion_table, rows_table
from training.export.card_frame import NOT_MEASURED, framed
from training.export.metadata import names_of, says_how_sure
from training.export.settings import ExportSettings

CASES = "cases.md"
"""The file beside the card that has every case."""


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
    return framed(
        settings,
        declared,
        weights,
        about,
        notes,
        warning=f"Every value is a network's guess. A synthetic {targets} can miss, add or change what is there.",
        does=f"""Reads {sources} of the {settings.anatomy}{_at_once(declared)} and writes what {targets} could look like, on the
scan's own grid{_sure(declared)}.{_scale(declared)}""",
        measured=_measured(figures),
        limits=_seen_in(declared, figures),
    )


def every_case(title: str, figures: Mapping[str, Any], model: str) -> str:
    """The text of `docs/cases.md`: every case that the model was measured on."""
    return f"""# {title}: every case

**Not for diagnosis.** Means of these, and what the figures are, stand in [the card](README.md).

{rows_table(figures, model)}
"""


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _at_once(declared: Mapping[str, Any]) -> str:
    images = [entry for entry in declared["inputs"] if entry.get("role", "image") == "image"]
    if len(images) == 1:
        return ""
    needed = [entry["modality"] for entry in images if entry.get("missing", "error") == "error"]
    return f", {' and '.join(needed)} together," if len(needed) > 1 else ", one of them or several together,"


def _sure(declared: Mapping[str, Any]) -> str:
    return (
        ", with a standard deviation for every voxel" if says_how_sure(declared) else "; it does not say how sure it is"
    )


def _scale(declared: Mapping[str, Any]) -> str:
    arbitrary = [name for name, target in declared["targets"].items() if target["units"] == "arbitrary"]
    said_of = f" {_or(arbitrary)} come in one fixed scale of arbitrary units." if arbitrary else ""
    return said_of + (" CT comes in Hounsfield units." if "CT" in declared["targets"] else "")


def _seen_in(declared: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    """What the figures do not cover, said whether or not the author thought of it."""
    real = {entry["direction"] for entry in figures.get("summary", ()) if entry["real"]}
    simulated = {entry["direction"] for entry in figures.get("summary", ())} - real
    limits = [f"{name}: {target['caution']}" for name, target in declared["targets"].items() if "caution" in target]
    if "CT" in declared["targets"] and not any(direction.endswith("->CT") for direction in real):
        limits.append("CT: not validated against real CT.")
    if simulated:
        limits.append(f"Measured on simulated heads alone: {', '.join(sorted(simulated))}.")
    return limits


def _measured(figures: Mapping[str, Any]) -> str:
    if not figures:
        return NOT_MEASURED
    (model,) = figures["models"]
    parts = [_HOW_MEASURED]
    for group, table in group_tables(figures, model["id"]).items():
        parts += [f"### {group.title}", *([_IN_HU] if group == TO_CT else []), table]
        parts += [
            _picture(entry) for entry in figures.get("worst", ()) if entry["group"] == group.name and "card" in entry
        ]
    lesions = lesion_table(figures, model["id"])
    if lesions:
        parts += ["### Lesions", _lesions_explained(figures["lesions"]), lesions]
    return "\n\n".join([*parts, f"[Every case, one by one]({CASES})."])


def _picture(entry: Mapping[str, Any]) -> str:
    said = f"The worst case, {entry['direction']} ({entry['case']})"
    return f"{said}; its errors in red (too bright) and blue (too dark):\n\n![{said}]({entry['card']})"


def _lesions_explained(limits: Mapping[str, Any]) -> str:
    low, high = limits["band"]
    return (
        f"Of {limits['smallest']:g} mL and more. Recall: of the lesions that the real scan shows, the share with at least "
        f"{limits['kept']:g} of their contrast in the synthetic one. In band: the share with {low:g} to {high:g} of it. False: "
        "places deep in the brain, as large as a lesion, that stand out and do not in the real scan."
    )


_HOW_MEASURED = """None of these people or heads was trained on. Figures are means over cases; "a / b" is as it is / after one
affine fit, a scale and an offset for each case, since MR units are arbitrary. Volumes are scaled by their own 0.5 - 99.5
percentiles: for brain, lesion and tumor in the brain, for head and bone in the head, so that these two have their own
scale. PSNR has range 1, SSIM a 7^3 uniform window, MAE is a fraction of the scaled range. R compares steps from slice to slice
with steps within slices, synthetic against real: 1 is as the real scan, above 1 is flicker, below 1 is smear. "Identity", the
source itself, and "oracle" are base lines: the oracle is the best look-up table from grey value to grey value, fitted on the
case's own real target, which no model is given; their SSIM is taken in the whole brain alone.
Good figures on simulated heads promise nothing about people."""

_IN_HU = "In HU, in the body, as SynthRAD2023 has it; nothing is fitted, and an MR, which is in no HU, is no base line."
