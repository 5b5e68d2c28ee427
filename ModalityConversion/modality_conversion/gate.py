"""Whether a scan is what a model was made for: judged by looking at it, before a conversion.

A caller beside `convert`, which itself asks nothing of the image: the command line judges first, then converts. What is
asked stands in the model's `gate` section; without one there is no gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import SimpleITK as sitk

from .errors import ConversionError
from .modality import Modality
from .recognise import Recognition, recognise

if TYPE_CHECKING:
    from .schema import ConversionSpec, Gate, Limits

_LIKELY, _SURE = 0.5, 0.9
"""Probabilities from which a statement of yes or no is warned of, and refused."""
_KINDS = {Modality.CBCT: Modality.CT}
"""What the recogniser calls the modalities that it knows under another name."""

Severity = Literal["refuse", "warn"]


@dataclass(frozen=True)
class Finding:
    """One thing about a scan that the model was not made for."""

    severity: Severity
    about: str
    """Which part of the gate: `mismatch`, `anatomy`, `skull`, `orientation`, `coverage`, `spacing`, `unusual`."""
    modality: Modality
    """Which scan, by what it was given as."""
    reason: str
    """A sentence for the user."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says of the scans of one conversion."""

    findings: tuple[Finding, ...]
    recognitions: Mapping[Modality, Recognition]
    trained_on: str
    """What the model says of the scans it was trained on."""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What forbids the conversion."""
        return tuple(finding for finding in self.findings if finding.severity == "refuse")

    def warnings(self, forced: bool = False) -> list[str]:
        """Sentences for the report; with `forced` those of the refusals too."""
        said = [f"Forced: {finding.reason}" for finding in self.refusals] if forced else []
        said += [finding.reason for finding in self.findings if finding.severity == "warn"]
        return said + ([f"The model was trained on: {self.trained_on}"] if self.trained_on else [])

    def as_json(self, forced: bool) -> dict[str, Any]:
        """For the report."""
        return {
            "passed": not self.refusals,
            "forced": forced,
            "findings": [
                {"severity": f.severity, "about": f.about, "scan": f.modality.value, "reason": f.reason}
                for f in self.findings
            ],
            "scans": {modality.value: seen.as_json() for modality, seen in self.recognitions.items()},
        }


def judge(
    images: Mapping[Modality, sitk.Image],
    spec: ConversionSpec,
    look: Callable[[sitk.Image], Recognition] = recognise,
) -> Verdict | None:
    """What the model's gate says of the scans, by what they are given as; None for a model without a gate.

    Raises ConversionError where a scan cannot be looked at, or the recogniser is missing or damaged.
    """
    if spec.gate is None:
        return None
    findings: list[Finding] = []
    seen = {}
    for modality, image in images.items():
        seen[modality] = look(image)
        findings += judge_scan(seen[modality], modality, spec.gate, spec.id)
    return Verdict(tuple(findings), seen, spec.gate.trained_on)


def refuse(verdict: Verdict) -> None:
    """Raises ConversionError with every reason where the gate refuses a scan."""
    if verdict.refusals:
        reasons = " ".join(finding.reason for finding in verdict.refusals)
        raise ConversionError(f"{reasons} Go on all the same with --force; the result is then marked so.")


def judge_scan(seen: Recognition, given: Modality, gate: Gate, model: str) -> list[Finding]:
    """What a gate says of one scan, refusals first."""
    found: list[Finding] = []

    def say(severity: Severity | None, about: str, reason: str) -> None:
        if severity is not None:
            found.append(Finding(severity, about, given, reason))

    for note in seen.notes:
        say("warn", "mismatch", note)
    say(*_mismatch(seen, given, gate))
    say(*_spacing(seen, given, gate, model))
    if gate.anatomy == "head":
        no_head = 1 - seen.head
        what = f"The {given} scan does not look like a head ({no_head:.0%} sure); {model} was made for heads."
        say(_severity(no_head), "anatomy", what)
    if seen.is_head:
        say(*_skull(seen, given, gate, model))
        if gate.orientation == "upright" and seen.orientation.plausible is False:
            place = seen.orientation
            what = (
                f"In the {given} scan the top of the head points to {place.top} and the face to {place.face} by its header "
                f"({place.confidence:.0%} sure). Correct the orientation in the header."
            )
            say("refuse", "orientation", what)
        missing = 1 - seen.coverage
        ends = f", at its {' and '.join(seen.cut)} end" if seen.cut else ""
        what = f"The {given} scan shows only about {seen.coverage:.0%} of the brain{ends}."
        say(_beyond(missing, gate.coverage), "coverage", what)
    what = (
        f"The {given} scan looks unlike those that the recogniser knows: {seen.unusual:.1%} of known scans are nearer to "
        "the usual."
    )
    say(_beyond(seen.unusual, gate.unusual), "unusual", what)
    return sorted(found, key=lambda finding: finding.severity != "refuse")


def _severity(probability: float) -> Severity | None:
    return "refuse" if probability >= _SURE else "warn" if probability >= _LIKELY else None


def _beyond(value: float, limits: Limits) -> Severity | None:
    if limits.refuse is not None and value >= limits.refuse:
        return "refuse"
    return "warn" if limits.warn is not None and value >= limits.warn else None


def mismatch(seen: Recognition, given: Modality) -> float | None:
    """The probability that a scan is not of the modality it is given as; None where the recogniser does not know that
    modality, or saw too little."""
    name = _KINDS.get(given, given).value
    return 1 - seen.probabilities[name] if seen.enough and name in seen.probabilities else None


def _mismatch(seen: Recognition, given: Modality, gate: Gate) -> tuple[Severity | None, str, str]:
    wrong = mismatch(seen, given)
    if wrong is None:
        return None, "mismatch", ""
    likeliest, share = max(seen.probabilities.items(), key=lambda entry: entry[1])
    looks = "none of T1, T1CE, T2, FLAIR, PD and CT" if likeliest == "other" else likeliest
    what = f"The scan given as {given} looks like {looks} ({share:.0%} sure)."
    return _beyond(wrong, gate.mismatch), "mismatch", what + " Check what it is, and say so with --from."


def _spacing(seen: Recognition, given: Modality, gate: Gate, model: str) -> tuple[Severity | None, str, str]:
    def outside(limits: tuple[float, float] | None) -> bool:
        return limits is not None and any(not limits[0] <= side <= limits[1] for side in seen.spacing)

    severity: Severity | None = None
    if outside(gate.spacing.refuse):
        severity = "refuse"
    elif outside(gate.spacing.warn):
        severity = "warn"
    made = gate.spacing.warn or gate.spacing.refuse or (0.0, 0.0)
    sides = " x ".join(f"{side:.3g}" for side in seen.spacing)
    what = f"The {given} scan has voxels of {sides} mm; {model} was made for {made[0]:g} to {made[1]:g} mm."
    return severity, "spacing", what


def _skull(seen: Recognition, given: Modality, gate: Gate, model: str) -> tuple[Severity | None, str, str]:
    stripped, known = seen.stripped, gate.skull
    if "stripped" not in known and stripped >= _LIKELY:
        what = f"The {given} scan seems to have its skull stripped; {model} was made for whole heads."
        return _severity(stripped), "skull", what
    if "whole" not in known and "defaced" not in known:
        what = f"The {given} scan seems to show the whole head; {model} was made for stripped brains."
        return _severity(1 - stripped), "skull", what
    if stripped < _LIKELY:
        if "defaced" not in known and seen.defaced >= _SURE:
            what = f"The face of the {given} scan seems to be cut away; {model} was not trained on such scans."
            return "warn", "skull", what
        if "whole" not in known and seen.defaced <= 1 - _SURE:
            what = f"The {given} scan shows a face; {model} was trained on heads without one."
            return "warn", "skull", what
    return None, "skull", ""
