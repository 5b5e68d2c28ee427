"""Measures the checks: `python -m training.qc.measure DATA` puts faults into real scans and counts what is found.

DATA has the folders ms_longitudinal, ms_mni, ms_flair and labels. Prints Markdown tables; docs/training/qc.md holds them.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from modality_conversion.modality import Modality
from training.data.alignment import alignment
from training.data.images import read_scan
from training.data.layouts import CaseFiles, find_cases
from training.data.layouts.lesjak import FlairSource, LongitudinalSource, MniSource
from training.data.load import given_transform, reference_of
from training.data.scale import TARGET_SCALE
from training.qc import faults
from training.qc.checks import T1S, check_look
from training.qc.contrast import Contrast, contrast
from training.qc.duplicates import Print, fingerprint
from training.qc.findings import Finding
from training.qc.look import Look, look
from training.qc.settings import QcSettings

EVERY = 4
"""Faults go into every so-many-th scan."""
NAMES = (Modality.T1, Modality.T2, Modality.FLAIR, Modality.PD, Modality.CT)
"""What a scan may wrongly be said to be."""
Say = Callable[[str], None]


def collection(data: Path) -> list[CaseFiles]:
    """All cases of the three sets."""
    sources = (
        LongitudinalSource(folder=data / "ms_longitudinal"),
        MniSource(folder=data / "ms_mni"),
        FlairSource(folder=data / "ms_flair"),
    )
    return [case for source in sources for case in find_cases(source)]


def looks(cases: Sequence[CaseFiles]) -> Iterator[Look]:
    """Every scan, looked at."""
    for case in cases:
        for kind, path in case.scans.items():
            yield look(read_scan(path, kind), path, kind, case.person)


class Counts:
    """Found of all, by row of a table."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, row: str, found: int, of: int = 1) -> None:
        """Count."""
        self.rows[row][0] += found
        self.rows[row][1] += of

    def lines(self) -> list[str]:
        """As rows of a Markdown table."""
        return [f"| {row} | {found} of {of} | {found / of:.0%} |" for row, (found, of) in self.rows.items() if of]


def slices_of(findings: Sequence[Finding], check: str) -> set[int]:
    """Slices that a check names."""
    return {number for finding in findings if finding.check == check for number in finding.slices}


def single_scans(cases: Sequence[CaseFiles], settings: QcSettings, say: Say) -> tuple[Counts, Counts]:
    """Faults of slices and air; recall, and false alarms on the scans as they are."""
    recall, alarms = Counts(), Counts()
    for number, scan in enumerate(looks(cases)):
        rng = np.random.default_rng(number)
        clean = list(check_look(scan, settings))
        large = scan.area() >= settings.smallest_area
        alarms.add(
            "noise: slices with at least 15 cm² of body",
            len(slices_of(clean, "noise") & set(np.flatnonzero(large))),
            int(large.sum()),
        )
        copied = any(f.check == "duplicates" for f in clean)
        alarms.add("repeated slices: scans", copied)
        for check in ("ghosts", "background"):
            alarms.add(f"{check}: scans", any(f.check == check and not f.slices for f in clean))
        alarms.add("ghosts: slices by themselves", len(slices_of(clean, "ghosts")), int(large.sum()))
        for finding in clean:
            if finding.check not in ("small",):
                say(
                    f"clean {scan.path.parent.name}/{scan.path.name}: {finding.check}: {finding.says}; slices {finding.slices}"
                )
        if number % EVERY:
            continue
        _inject(scan, settings, rng, recall)
        say(f"{number + 1} done")
    return recall, alarms


def _inject(scan: Look, settings: QcSettings, rng: np.random.Generator, recall: Counts) -> None:
    def findings(image: sitk.Image, *only: str) -> list[Finding]:
        changed = look(image, scan.path, scan.modality, scan.person)
        return list(check_look(changed, settings.model_copy(update={"checks": only})))

    slices = faults.choose_slices(scan.image, rng)
    for ratio in (0.5, 1.0, 1.5, 3.0):
        found = slices_of(findings(faults.noisy_slices(scan.image, slices, ratio, rng), "noise"), "noise")
        recall.add(f"noise {ratio:g} times the anatomy's deviation, in slices", len(found & set(slices)), len(slices))
    for area in (2, 5, 10, 20, 40):
        found = slices_of(findings(faults.small_slices(scan.image, slices, area, rng), "small"), "small")
        recall.add(f"{area} cm² of body left, in slices", len(found & set(slices)), len(slices))
    for strength in (0.03, 0.06, 0.1, 0.2, 0.4):
        got = findings(faults.replicated(scan.image, strength, rng), "ghosts")
        recall.add(f"copy of {strength:.0%}, whole scan", any(not f.slices for f in got))
    for strength in (0.2, 0.4):
        got = findings(faults.replicated(scan.image, strength, rng, slices), "ghosts")
        hit = set(slices) if any(not f.slices for f in got) else slices_of(got, "ghosts")
        recall.add(f"copy of {strength:.0%}, in slices", len(hit & set(slices)), len(slices))
    for intensity in (0.25, 0.5, 1.0):
        got = findings(faults.ghosted(scan.image, intensity, rng), "ghosts")
        recall.add(f"TorchIO ghosting, intensity {intensity:g}, whole scan", any(not f.slices for f in got))
    for strength in (0.05, 0.1, 0.2, 0.4):
        got = findings(faults.noisy_air(scan.image, strength, rng), "background")
        recall.add(f"noise in the air of {strength:.0%} of the body, whole scan", bool(got))


def duplicates(cases: Sequence[CaseFiles], settings: QcSettings, say: Say) -> tuple[Counts, Counts]:
    """Copies of every scan, and every pair of different scans."""
    recall, alarms = Counts(), Counts()
    prints: list[tuple[Print, str]] = []
    for number, scan in enumerate(looks(cases)):
        mine = fingerprint(scan)
        for other, name in prints:
            likeness = mine.likeness(other)
            alarms.add("duplicates: pairs of different scans", likeness > settings.likeness)
            if likeness > 0.75:
                say(f"alike {likeness:.2f}: {scan.path.parent.name}/{scan.path.name} and {name}")
        prints.append((mine, f"{scan.path.parent.name}/{scan.path.name}"))
        if number % EVERY:
            continue
        for how, copy in faults.copies(scan.image, np.random.default_rng(number)).items():
            again = fingerprint(look(copy, scan.path, scan.modality, scan.person))
            recall.add(f"copy, {how}", again.likeness(mine) > settings.likeness)
    return recall, alarms


def modalities(cases: Sequence[CaseFiles], say: Say) -> tuple[Counts, Counts]:
    """Every scan under every other name."""
    recall, alarms = Counts(), Counts()
    for scan in looks(cases):
        told: Contrast = contrast(scan.image)
        family = Modality.T1 if scan.modality in T1S else scan.modality
        wrong = told.sure and told.seen != family
        alarms.add(f"modality: {scan.modality} scans", wrong)
        if wrong or not told.sure:
            say(f"{scan.path.parent.name}/{scan.path.name} {scan.modality}: {told}")
        for name in NAMES:
            if name != family:
                recall.add(f"{scan.modality} said to be another", bool(told.sure and told.seen != name))
    return recall, alarms


def simulated(data: Path, say: Say) -> tuple[Counts, Counts]:
    """Heads simulated from four label maps, each under a random protocol: the limits were not chosen on these."""
    from training.simulation.anatomy import head_from_labels, read_labels
    from training.simulation.case import CaseSettings, simulate

    recall, alarms = Counts(), Counts()
    for number in (17, 18, 19, 20):
        head = head_from_labels(read_labels(data / "labels" / f"training_seg_{number}.nii.gz"))
        case = simulate(head, CaseSettings(), np.random.default_rng(number))
        for kind, volume in case.sources.items():
            if kind == Modality.CT:
                volume = case.targets[kind] * TARGET_SCALE[kind]  # sources are on the network's scale, not in HU
            image = sitk.GetImageFromArray(volume)
            image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
            told = contrast(image)
            family = Modality.T1 if kind in T1S else kind
            wrong = told.sure and told.seen != family
            alarms.add(f"modality: simulated {kind}", wrong)
            for name in NAMES:
                if name != family:
                    recall.add(f"simulated {kind} said to be another", bool(told.sure and told.seen != name))
            if wrong or not told.sure:
                say(f"head {number} {kind}: {told}; {case.about}")
    return recall, alarms


def offsets(cases: Sequence[CaseFiles], settings: QcSettings, say: Say) -> tuple[Counts, Counts]:
    """Every pair as the files align it, and moved."""
    recall, alarms = Counts(), Counts()
    steps = ((1, 0), (3, 0), (5, 0), (10, 0), (0, 2), (0, 4), (0, 8))
    number = 0
    for case in cases:
        if len(case.scans) < 2:
            continue
        reference = reference_of(case, LongitudinalSource(folder=Path()))
        fixed = read_scan(case.scans[reference], reference)
        for kind, path in case.scans.items():
            if kind == reference:
                continue
            moving, given = read_scan(path, kind), given_transform(case, reference, kind)
            rng = np.random.default_rng([*path.name.encode()])
            try:
                before = alignment(fixed, moving, given).offset
            except ValueError:
                before = float("nan")
            alarms.add("alignment: pairs as they are", not before <= settings.largest_offset)
            say(f"{case.name} {kind}: {before:.2f} mm")
            number += 1
            if number % 2:
                continue
            for shift, turn in steps:
                step = faults.moved(fixed, shift, turn, rng)
                try:
                    found = alignment(fixed, moving, sitk.CompositeTransform([given, step])).offset
                except ValueError:
                    found = float("inf")
                what = " and ".join([f"{shift} mm"] * bool(shift) + [f"{turn}°"] * bool(turn))
                recall.add(f"moved by {what}", found > settings.largest_offset)
    return recall, alarms


def main(data: Path, only: Sequence[str]) -> None:
    """Measure and print."""
    cases, settings = collection(data), QcSettings(folder=Path("unused"))

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")

    parts: dict[str, Callable[[], tuple[Counts, Counts]]] = {
        "scans": lambda: single_scans(cases, settings, say),
        "duplicates": lambda: duplicates(cases, settings, say),
        "modality": lambda: modalities(cases, say),
        "simulated": lambda: simulated(data, say),
        "alignment": lambda: offsets(cases, settings, say),
    }
    for name, part in parts.items():
        if only and name not in only:
            continue
        recall, alarms = part()
        sys.stdout.write(
            "\n".join([f"\n{name}\n", "| fault put in | found | |", "| --- | --- | --- |", *recall.lines()])
        )
        sys.stdout.write("\n".join(["\n", "| no fault | false alarms | |", "| --- | --- | --- |", *alarms.lines(), ""]))
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
