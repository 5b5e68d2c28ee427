"""What kind of scan a DICOM series is, from its tags alone.

Sequence parameters follow common clinical practice; the limits lie between the ranges that radiology textbooks give for
each weighting, at 1.5 T and 3 T.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .modality import Modality, from_name

TAGS = {
    "Modality": "0008,0060",
    "ImageType": "0008,0008",
    "SeriesDescription": "0008,103E",
    "ProtocolName": "0018,1030",
    "SequenceName": "0018,0024",
    "ScanningSequence": "0018,0020",
    "RepetitionTime": "0018,0080",
    "EchoTime": "0018,0081",
    "InversionTime": "0018,0082",
    "ContrastBolusAgent": "0018,0010",
}
"""The tags that `from_dicom` reads, `group,element` by keyword."""

# Derived maps, diffusion, scouts: of the same scanner, but no scan that a model here takes.
_OTHER_IMAGES = {
    "LOCALIZER",
    "ADC",
    "FA",
    "TRACEW",
    "TRACE",
    "DIFFUSION",
    "PHASE",
    "P",
    "PHASE MAP",
    "T1 MAP",
    "T2 MAP",
}
_CONE_BEAM = re.compile(r"\bcbct\b|cone.?beam", re.IGNORECASE)


class Found(NamedTuple):
    """What the tags say."""

    modality: Modality | None
    why: str
    """For the user: which tags say it, or why nothing can be said."""
    is_certain: bool
    """Whether no other clue should be asked: either a modality was found, or the tags say that it is none of ours."""


def from_dicom(tags: Mapping[str, str]) -> Found:
    """The modality of a series by its tags, text values by keyword, several values separated by a backslash.

    Where the words of the series and its echo, repetition and inversion times contradict each other, nothing is said.
    """
    kind = tags.get("Modality", "").strip().upper()
    image_type = {part.strip().upper() for part in tags.get("ImageType", "").split("\\")}
    words = " ".join(tags.get(name, "") for name in ("SeriesDescription", "ProtocolName"))
    if image_type & _OTHER_IMAGES:
        return Found(
            None, f"The DICOM tags say that this is no plain scan ({', '.join(image_type & _OTHER_IMAGES)}).", True
        )
    if kind == "CT":
        modality = Modality.CBCT if _CONE_BEAM.search(words) else Modality.CT
        return Found(modality, "the DICOM tag Modality (CT)", True)
    if kind == "PT":
        return Found(Modality.PET, "the DICOM tag Modality (PT)", True)
    if kind != "MR":
        return Found(None, f"The DICOM tags say that this is {kind}." if kind else "", bool(kind))
    return _magnetic_resonance(tags)


def _magnetic_resonance(tags: Mapping[str, str]) -> Found:
    named = {
        name: found
        for name in ("SeriesDescription", "ProtocolName")
        if (found := from_name(tags.get(name, ""))) is not None
    }
    physics = _by_times(tags)
    told = set(named.values())
    if Modality.T1CE in told:  # words of contrast agent make a T1CE of what is a T1 otherwise
        told.discard(Modality.T1)
    if len(told) > 1:
        return Found(None, "The DICOM tags SeriesDescription and ProtocolName name different kinds of scan.", True)
    modality = told.pop() if told else physics
    if modality is None:
        return Found(None, "", False)
    weighting = Modality.T1 if modality is Modality.T1CE else modality
    if physics is not None and physics is not weighting:
        return Found(None, f"The DICOM tags contradict each other: named {modality}, but timed as {physics}.", True)
    if modality is Modality.T1 and tags.get("ContrastBolusAgent", "").strip():
        return Found(Modality.T1CE, "the DICOM tags, with a contrast agent (ContrastBolusAgent)", True)
    source = " and ".join(f"{name} ({tags[name].strip()})" for name in named) if named else _times(tags)
    return Found(modality, f"the DICOM tag{'s' if len(named) > 1 or not named else ''} {source}", True)


def _number(tags: Mapping[str, str], name: str) -> float | None:
    try:
        return float(tags.get(name, "").split("\\")[0])
    except ValueError:
        return None


def _times(tags: Mapping[str, str]) -> str:
    units = {"RepetitionTime": "TR", "EchoTime": "TE", "InversionTime": "TI"}
    return ", ".join(f"{short} {tags[name]} ms" for name, short in units.items() if tags.get(name))


def _by_times(tags: Mapping[str, str]) -> Modality | None:
    """The weighting that the sequence and its times give, None where they are missing or between two kinds."""
    sequence = {part.strip() for part in tags.get("ScanningSequence", "").upper().split("\\")}
    repetition, echo = _number(tags, "RepetitionTime"), _number(tags, "EchoTime")
    inversion = _number(tags, "InversionTime") or 0
    if repetition is None or echo is None or "EP" in sequence:
        return None
    if inversion >= 1500 and repetition >= 4000 and echo >= 60:
        return Modality.FLAIR
    if 300 <= inversion <= 1300 and echo <= 35:
        return Modality.T1  # MPRAGE, or inversion-prepared spin echo
    if inversion > 0:
        return None
    if "GR" in sequence and "SE" not in sequence:
        return Modality.T1 if echo <= 10 and repetition <= 100 else None
    if repetition <= 1000 and echo <= 35:
        return Modality.T1
    if repetition >= 2000 and echo >= 60:
        return Modality.T2
    if repetition >= 1500 and echo <= 40:
        return Modality.PD
    return None
