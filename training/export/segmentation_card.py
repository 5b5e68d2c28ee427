"""The card of a model that only segments: what it outlines, how it looks for it, how good it is, what it cannot do."""

from collections.abc import Mapping
from typing import Any

from training.evaluation.outline_table import explained, outline_tables
from training.export.card_frame import NOT_MEASURED, framed
from training.export.metadata import names_of
from training.export.settings import ExportSettings


def segmentation_card(
    settings: ExportSettings,
    declared: Mapping[str, Any],
    weights: int,
    about: Mapping[str, float],
    figures: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> str:
    """The text of `docs/README.md`; the arguments as those of `card.card`."""
    labels = declared["segmentation"]["labels"]
    named = "\n".join(f"- {label['value']}: {label['name']} ({_coded(label)})" for label in labels)
    return framed(
        settings,
        declared,
        weights,
        about,
        notes,
        warning="Every label is a network's guess. It can miss what is there and outline what is not.",
        does=f"Reads {_scans(declared)} of the {settings.anatomy} and writes a label map on the scan's own grid:\n\n{named}",
        how=_staged(declared),
        measured=_measured(figures),
    )


def _coded(label: Mapping[str, Any]) -> str:
    kind = label["terminology"]["type"]
    return f"{kind['scheme']} {kind['value']}, {kind['meaning']}"


def _scans(declared: Mapping[str, Any]) -> str:
    names = names_of(declared, "sources")
    joint = any(entry.get("modality") for entry in declared["inputs"])
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} or {names[-1]}" + (", one of them or several together," if joint else "")


def _staged(declared: Mapping[str, Any]) -> str:
    if declared["segmentation"].get("find") is None:
        return ""
    find = declared["segmentation"]["find"]
    return (
        f" First a small network looks at the whole head in voxels of {find['geometry']['spacing'][0]:g} mm. Outlined is only "
        f"what lies within {find['margin_mm']:g} mm of what it found; where it finds nothing, there are no labels."
    )


def _measured(figures: Mapping[str, Any]) -> str:
    if not figures:
        return NOT_MEASURED
    parts = [explained(figures), outline_tables(figures)]
    for entry in figures.get("worst", ()):
        if "card" in entry:
            text = f"The worst case from {entry['scans']} ({entry['case']})"
            parts.append(f"{text}; the truth in green, the model in red:\n\n![{text}]({entry['card']})")
    return "\n\n".join(parts)
