"""`modality-conversion recognise`: what kind of scan a file holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..image_io import read_image
from ..modality import recognise_file
from ..nifti import place_unknown
from ..recognise import Recognition, recognise
from ..recognise_network import find_recogniser, open_network
from . import options
from .console import libraries_silenced

_SURE = 0.9
"""Probability from which something is said of the face, which the recogniser sees badly."""
_NO_PLACE = (
    "The header does not say how the scan lies in space (NIfTI without qform and sform). That its axes point left, back and up "
    "is a guess, and left and right may be exchanged."
)


def recognise_scan(
    input: Annotated[Path, typer.Argument(help="The scan: NIfTI, NRRD or MetaImage.")],
    models_dir: options.ModelsDirs = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what kind of scan a file holds: by its side-car and name, and by the image. Not for diagnosis."""
    with libraries_silenced():
        image = read_image(input)
    told = recognise_file(input)
    seen = recognise(image, open_network(find_recogniser(tuple(models_dir or ()))))
    declared = None if told is None else {"modality": told[0].value, "from": told[1]}
    placed = not place_unknown(image)
    if as_json:
        found = {"file": str(input), "declared": declared, "placed": placed, **seen.as_json()}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for line in _lines(seen, declared, placed):
        sys.stdout.write(f"{line}\n")


def _lines(seen: Recognition, declared: dict[str, Any] | None, placed: bool) -> list[str]:
    """The answer for a person, the most important first. `placed`: whether the header says how the scan lies."""
    likeliest = max(seen.probabilities, key=lambda kind: seen.probabilities[kind])
    guess = f"{seen.kind} ({seen.confidence:.0%})"
    if not seen.known:
        guess = f"do not know (perhaps {likeliest}, {seen.confidence:.0%})"
    lines = [f"By the image:    {guess}"]
    if declared is None:
        lines.append("By its file:     nothing is said")
    else:
        lines.append(f"By its file:     {declared['modality']}, from {declared['from']}")
    lines += [f"Note:            {note}" for note in seen.notes]
    if not placed:
        lines.append(f"Note:            {_NO_PLACE}")
    if seen.is_head:
        lines.append(f"Shows:           a head ({seen.head:.0%}), {_skull(seen)}")
        lines.append(f"Field of view:   about {seen.coverage:.0%} of the brain{_ends(seen)}")
        lines.append(f"Orientation:     {_orientation(seen, placed)}")
    else:
        lines.append(f"Shows:           probably no head ({1 - seen.head:.0%})")
    sides = " x ".join(f"{side:.3g}" for side in seen.spacing)
    lines.append(f"Voxels:          {' x '.join(map(str, seen.size))} of {sides} mm")
    lines.append(f"Unusual:         {seen.unusual:.1%} of held-out heads look more usual")
    return lines


def _skull(seen: Recognition) -> str:
    if seen.is_stripped:
        return "skull stripped"
    face = ", face cut away" if seen.defaced >= _SURE else ", face in place" if seen.defaced <= 1 - _SURE else ""
    return f"skull in place{face}"


def _ends(seen: Recognition) -> str:
    return f"; it goes on beyond the {' and '.join(seen.cut)} end" if seen.cut else ""


def _orientation(seen: Recognition, placed: bool) -> str:
    place = seen.orientation
    if place.plausible is None:
        return "not to be told"
    basis = "its header says" if placed else "was guessed"
    if place.plausible:
        return f"upright, as {basis} (left and right cannot be told apart)"
    return (
        f"NOT as {basis}: the top of the head points to {place.top}, the face to {place.face} "
        f"({place.confidence:.0%}; left and right cannot be told apart)"
    )
