"""What every layout gives: the scans it finds, put together as cases, and the options that all of them share."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from modality_conversion.image_io import READABLE, suffix
from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.data.regions import Region

KINDS = (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD, Modality.CT, Modality.CBCT)
"""What is looked for, in the order in which one is chosen as the reference, whose grid the case is brought to."""


class Source(Settings):
    """Options that every layout has."""

    folder: Path
    """Where the scans are."""
    name: str = Field(default="", pattern=r"^[\w.+-]*$")
    """Name of the group of people, as in `split.yaml`; by default the layout's. Sources with one name share their people."""
    modalities: tuple[Modality, ...] = KINDS
    """Which kinds of scan are used; others are not looked at."""
    require: tuple[Modality, ...] = ()
    """A case that lacks one of these is left out, and named. None: two or more kinds of scan make a case."""
    reference: Modality | None = None
    """The scan whose axes and field of view the case gets. None: the first of T1, T1CE, T2, FLAIR, PD, CT that it has."""
    registration: Literal["none", "rigid", "affine"] = "none"
    """How the other scans are aligned with the reference, on top of what the files say. `none`: they are aligned already."""
    largest_offset: float = 2.5
    """mm. A case that is further out of line, after registration where it was asked for, is refused."""
    n4: Literal["none", "targets", "all"] = "targets"
    """Which MR scans are freed of their bias field (N4). `targets`: the network reads scans as they
    come, and learns even ones."""
    brain: Literal["auto", "mask", "nonzero", "template", "none"] = "auto"
    """Where the brain is taken from: the layout's brain mask, the voxels that are not 0 (stripped scans), a template
    registered to the scan, or nowhere (other parts of the body). `auto`: the first of these that there is."""
    variants: tuple[Literal["whole", "tight", "wide", "narrow"], ...] = ("whole",)
    """What each case is packed as: the whole scan; the brain alone, within the mask, or one 3 mm wider or 1 mm narrower."""

    def group(self) -> str:
        """Name of the group of people."""
        return self.name or str(getattr(self, "layout", "scans"))


@dataclass(frozen=True)
class Scan:
    """One file. `person` is unique in its source; `mask` and `labels` are the layout's own, where it has them."""

    path: Path
    modality: Modality
    person: str
    session: str = ""
    mask: Path | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class CaseFiles:
    """The scans of one person at one time. `name` is fit for a folder; `person` is `<group> <person>`, as in the split."""

    name: str
    person: str
    scans: Mapping[Modality, Path]
    mask: Path | None = None
    mask_shows: Literal["brain", "body"] = "brain"
    labels: Path | None = None
    labels_show: Region = Region.LESION
    to_scan: Mapping[Modality, Path] = field(default_factory=dict)
    """Transform files: points of the case's common space to points of the scan. A scan without one lies in that space."""
    from_mask: Path | None = None
    """Transform file: points of the mask's space to points of the case's common space."""
    origin: str = "real"


def is_scan(path: Path) -> bool:
    """Whether a path is a file that the engine reads; hidden files, such as macOS leaves, are none."""
    return path.is_file() and suffix(path) in READABLE and not path.name.startswith(".")


def stem(path: Path) -> str:
    """The file's name without its ending, `.nii.gz` as one."""
    return path.name[: -len(suffix(path))]


def numbered(text: str) -> list[str | int]:
    """A key that sorts `case10` after `case9`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def safe(text: str) -> str:
    """A text as a folder's name."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text).strip("_")


def check_folder(source: Source, expected: str) -> None:
    """Refuse a source folder that is not there. Raises ConfigError."""
    if not source.folder.is_dir():
        raise ConfigError(f"There is no folder {source.folder}. Expected there: {expected}.")


def together(
    source: Source, scans: Iterable[Scan], expected: str, *, labels_show: Region = Region.LESION, **about: object
) -> list[CaseFiles]:
    """Scans of one person and session as one case; of several of one kind the first by name. Raises ConfigError if none."""
    visits: dict[tuple[str, str], dict[Modality, Scan]] = {}
    for scan in sorted(scans, key=lambda scan: numbered(str(scan.path))):
        if scan.modality in source.modalities:
            visits.setdefault((scan.person, scan.session), {}).setdefault(scan.modality, scan)
    if not visits:
        raise ConfigError(f"There are no scans in {source.folder}. Expected there: {expected}.")
    cases = []
    for (person, session), found in sorted(visits.items(), key=lambda visit: [numbered(part) for part in visit[0]]):
        mask = next((scan.mask for scan in found.values() if scan.mask), None)
        labels = next((scan.labels for scan in found.values() if scan.labels), None)
        cases.append(
            CaseFiles(
                name=safe(f"{source.group()}_{person}_{session}"),
                person=f"{source.group()} {person}",
                scans={kind: found[kind].path for kind in KINDS if kind in found},
                mask=mask,
                labels=labels,
                labels_show=labels_show,
                **about,  # type: ignore[arg-type]
            )
        )
    return cases


def usable(source: Source, cases: Iterable[CaseFiles]) -> tuple[list[CaseFiles], dict[str, str]]:
    """The cases that have the scans asked for, and, by name, why the others were left out.

    Raises ConfigError when none is left, saying which kinds are missing.
    """
    kept, left_out = [], {}
    for case in cases:
        missing = [str(kind) for kind in source.require if kind not in case.scans]
        if missing:
            left_out[case.name] = f"has no {' and no '.join(missing)}"
        elif len(case.scans) < 2 and not source.require:
            left_out[case.name] = f"has only a {next(iter(case.scans))}"
        else:
            kept.append(case)
    if not kept:
        reasons = sorted(set(left_out.values()))
        raise ConfigError(
            f"None of the {len(left_out)} cases in {source.folder} can be used: each {', or '.join(reasons)}. "
            "Add the scans that are missing, or change `require`."
        )
    return kept, left_out
