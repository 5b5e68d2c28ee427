"""The model's input gate, asked between reading and converting, and what it says in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from .errors import ConversionError
from .gate import Verdict, judge, refuse
from .modality import Modality
from .recognise import Recognition, recognise

if TYPE_CHECKING:
    from .schema import ConversionSpec


Look = Callable[[sitk.Image], Recognition]


def looked_at_once() -> Look:
    """`recognise`, for a run that asks the gates of several models: each scan is looked at once."""
    seen: dict[int, tuple[sitk.Image, Recognition]] = {}

    def look(image: sitk.Image) -> Recognition:
        if id(image) not in seen:
            seen[id(image)] = image, recognise(image)  # the image too, lest another one gets its id
        return seen[id(image)][1]

    return look


def pass_gate(
    images: Mapping[Modality, sitk.Image],
    spec: ConversionSpec,
    force: bool,
    notes: list[str],
    look: Look = recognise,
) -> Verdict | None:
    """What the gate says, or None where there is none or it could not look, which `notes` then says.

    Raises ConversionError for what the gate refuses, unless forced.
    """
    try:
        verdict = judge(images, spec, look)
    except ConversionError as error:  # a recogniser that is missing or damaged must not stop the user's work
        notes.append(f"The scan was not checked before the conversion: {error}")
        return None
    if verdict is not None and not force:
        refuse(verdict)
    return verdict


def add_to_report(report: dict[str, Any], verdict: Verdict | None, force: bool, notes: list[str]) -> None:
    """Put what the gate said, and how the modality was found, into a report; a forced result is marked `forced`."""
    said = list(notes)
    if verdict is not None:
        forced = force and bool(verdict.refusals)
        said += verdict.warnings(forced)
        report["gate"] = verdict.as_json(forced)
        if forced:
            report["forced"] = True
    report["warnings"] = said + report["warnings"]
