"""The checks with their limits: measures of a scan, of a case and of the whole collection become findings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from modality_conversion.image_io import read_image
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.images import read_scan
from training.data.layouts.base import CaseFiles, Source
from training.data.load import given_transform, reference_of
from training.data.pack import slice_axis
from training.data.registration import register
from training.qc.contrast import contrast
from training.qc.duplicates import Print, fingerprint, repeated
from training.qc.findings import Finding
from training.qc.ghosts import NEAREST, ghost
from training.qc.look import Look, look
from training.qc.noise import noise
from training.qc.settings import Check, QcSettings

T1S = (Modality.T1, Modality.T1CE)
LOUD = 0.15
"""Deviation of a slice, as a fraction of the body's median, from which it is noise and not air."""


@dataclass(frozen=True)
class Checked:
    """What is known of one scan: the scan itself (None where it cannot be read), its findings, its print for duplicates."""

    path: Path
    modality: Modality
    person: str
    findings: list[Finding]
    print: Print | None = None


def check_scan(path: Path, modality: Modality, person: str, settings: QcSettings) -> Checked:
    """Every check that looks at one scan alone."""

    def found(check: Check, says: str, value: float, limit: float, slices: Iterable[int] = ()) -> Finding:
        return Finding(check, path, person, says, value, limit, tuple(int(number) for number in slices))

    warnings: list[str] = []
    try:
        image = read_scan(path, modality, warnings.append)
    except ConfigError as error:
        return Checked(
            path, modality, person, [found("values", str(error), 1, 0)] if "values" in settings.checks else []
        )
    values = sitk.GetArrayViewFromImage(image)
    if float(values.min()) == float(values.max()):
        flat = found("values", f"{path.name}: every voxel is {float(values.min()):g}.", 1, 0)
        return Checked(path, modality, person, [flat] if "values" in settings.checks else [])
    scan = look(image, path, modality, person)
    findings = list(check_look(scan, settings))
    if warnings and "values" in settings.checks:
        findings += [replace(found("values", warning, 1, 0), slices=_with_holes(path)) for warning in warnings]
    if "modality" in settings.checks and (wrong := _modality(scan)) is not None:
        findings.append(wrong)
    return Checked(path, modality, person, findings, fingerprint(scan) if "duplicates" in settings.checks else None)


def _with_holes(path: Path) -> tuple[int, ...]:
    """Slices of a scan with voxels that are no numbers."""
    raw = read_image(path)  # the engine's, since ITK turns NaN in NIfTI files into 0
    bad = ~np.isfinite(np.moveaxis(sitk.GetArrayFromImage(raw), 2 - slice_axis(raw), 0))
    return tuple(int(number) for number in np.flatnonzero(bad.any((1, 2))))


def check_look(scan: Look, settings: QcSettings) -> Iterator[Finding]:
    """Checks of slices and air."""

    def found(check: Check, says: str, value: float, limit: float, slices: Iterable[int] = ()) -> Finding:
        return Finding(check, scan.path, scan.person, says, value, limit, tuple(int(number) for number in slices))

    area = scan.area()
    large = area >= settings.smallest_area
    if "small" in settings.checks and (~large).any():
        small, least = np.flatnonzero(~large), settings.smallest_area
        says = f"{len(small)} of {len(area)} slices show less than {least:g} cm² of the body"
        yield found("small", says, float(area.min()), least, small)
    if {"noise", "background"} & set(settings.checks):
        measured = noise(scan)
        # A slice beyond the body is noise too, but faint; `small` names it.
        loud = large | (scan.slices.std((1, 2)) > LOUD * scan.level)
        noisy = np.flatnonzero((measured.share > settings.noise_share) & loud)
        if "noise" in settings.checks and len(noisy):
            worst = float(measured.share[noisy].max())
            says = (
                f"{len(noisy)} of {len(area)} slices are mostly noise (up to {worst:.0%} of the deviation in the body)"
            )
            yield found("noise", says, worst, settings.noise_share, noisy)
        if "background" in settings.checks and measured.air > settings.background_noise:
            fine = "while the body is finer" if measured.body < measured.air else "and as much in the body"
            says = f"noise in the air is {measured.air:.0%} of the body's signal, {fine} ({measured.body:.0%})"
            yield found("background", says, measured.air, settings.background_noise)
    if "ghosts" in settings.checks:
        yield from _ghosts(scan, settings, area)
    if "duplicates" in settings.checks and (copies := repeated(scan)):
        says = f"{len(copies)} slices are copies of the one before them"
        yield found("duplicates", says, len(copies), 0, copies)


def _ghosts(scan: Look, settings: QcSettings, area: np.ndarray) -> Iterator[Finding]:
    whole, each = ghost(scan)
    if whole.strength > settings.ghost_strength:
        where = f"{abs(whole.shift[0]):.0f} and {abs(whole.shift[1]):.0f} mm away"
        says = f"the body shows again {where}, at {whole.strength:.0%} of its strength"
        yield Finding("ghosts", scan.path, scan.person, says, whole.strength, settings.ghost_strength)
        return
    large = area > max(settings.smallest_area, 0.3 * float(area.max()))
    limit = settings.ghost_strength_in_slice
    slices = [index for index, one in enumerate(each) if large[index] and one.strength > limit]
    if slices:
        worst = max(each[index].strength for index in slices)
        says = f"{len(slices)} slices show the body again, shifted by {NEAREST:g} mm or more, at up to {worst:.0%}"
        yield Finding("ghosts", scan.path, scan.person, says, worst, limit, tuple(slices))


def _modality(scan: Look) -> Finding | None:
    """A finding where the scan shows another modality than it is said to be."""
    seen = contrast(scan.image)
    same = seen.seen == scan.modality or (seen.seen in T1S and scan.modality in T1S)
    if scan.modality in (Modality.CBCT, Modality.CT) and seen.seen == Modality.CT:
        same = True
    if same or not seen.sure or seen.seen is None:
        return None
    measured = "" if np.isnan(seen.csf) else f" (beside white matter, grey is {seen.grey:.2f} and CSF {seen.csf:.2f})"
    says = f"said to be {scan.modality}, looks like {seen.seen}{measured}"
    return Finding("modality", scan.path, scan.person, says, 1, 0)


def check_case(case: CaseFiles, source: Source, settings: QcSettings) -> list[Finding]:
    """Whether the scans of a case are in line, after registration where the source asks for it."""
    if "alignment" not in settings.checks or len(case.scans) < 2:
        return []
    findings = []
    try:
        reference = reference_of(case, source)
        scans = {kind: read_scan(path, kind) for kind, path in case.scans.items()}
    except ConfigError:
        return []  # `values` has told
    for kind, scan in scans.items():
        if kind == reference:
            continue
        try:
            offset = register(
                scans[reference], scan, source.registration, given_transform(case, reference, kind)
            ).offset
        except RuntimeError:
            offset = None
        after = "" if source.registration == "none" else " after registration"
        if offset is None:
            says = f"{kind} and {reference} have too little in common to be in line{after}"
        elif offset > settings.largest_offset:
            says = f"{kind} is {offset:.1f} mm out of line with {reference}{after}"
        else:
            continue
        limit, value = settings.largest_offset, offset if offset is not None else 99.0
        path, other = case.scans[reference], case.scans[kind]
        findings.append(Finding("alignment", path, case.person, says, value, limit, (), other, case.name))
    return findings


def check_duplicates(scans: Sequence[Checked], settings: QcSettings) -> list[Finding]:
    """Scans that are the same as an earlier one."""
    findings: list[Finding] = []
    if "duplicates" not in settings.checks:
        return findings
    for index, scan in enumerate(scans):
        if scan.print is None:
            continue
        for earlier in scans[:index]:
            if earlier.print is None:
                continue
            likeness = scan.print.likeness(earlier.print)
            if likeness > settings.likeness:
                whose = "" if earlier.person == scan.person else f", under another person ({earlier.person})"
                says = f"the same scan as {earlier.path.name}{whose}"
                one = Finding("duplicates", scan.path, scan.person, says, likeness, settings.likeness, (), earlier.path)
                findings.append(one)
                break
    return findings


def worst_first(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    """Findings by check, the strongest first."""
    by_check: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: -finding.excess):
        by_check.setdefault(finding.check, []).append(finding)
    return by_check
