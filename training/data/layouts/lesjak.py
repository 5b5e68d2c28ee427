"""The three public data sets of Lesjak et al. with multiple sclerosis that the shipped models are made with."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from modality_conversion.modality import Modality
from training.data.layouts.base import CaseFiles, Scan, Source, check_folder, is_scan, stem, together

_WHOLE_HEAD = "patient01/study1_T1W.nii.gz"
_MNI = "patient07/T1.nii.gz"
_FLAIR = "training01.nii.gz or test02/test02_01_flair.nii.gz"
_LONGITUDINAL = {"T1W": Modality.T1, "T2W": Modality.T2, "FLAIR": Modality.FLAIR}
_IN_MNI = {"T1": Modality.T1, "T1POST": Modality.T1CE, "T2": Modality.T2, "FLAIR": Modality.FLAIR}


class LongitudinalSource(Source):
    """Whole heads, two studies of each person (Lesjak 2016), with transform files between their grids."""

    layout: Literal["longitudinal"] = "longitudinal"
    """Name of the layout."""


class MniSource(Source):
    """Stripped brains in MNI space with lesions by experts (Lesjak 2017)."""

    layout: Literal["mni"] = "mni"
    """Name of the layout."""
    n4: Literal["none", "targets", "all"] = "none"
    """These scans are freed of their bias field already."""


class FlairSource(Source):
    """FLAIR of whole heads, of the same people as the set in MNI space; one person has T2 and PD too."""

    layout: Literal["flair"] = "flair"
    """Name of the layout."""
    name: str = "mni"
    """The people of this set are those of the set in MNI space: `training01` is 01, `test01` is 06."""


def find_longitudinal(source: LongitudinalSource) -> list[CaseFiles]:
    """A study is a case. The common space of its files is that of its FLAIR, whether or not the FLAIR is there."""
    check_folder(source, _WHOLE_HEAD)
    cases = []
    for case in together(source, _longitudinal(source.folder), _WHOLE_HEAD):
        folder, study = next(iter(case.scans.values())).parent, case.name[-1]
        files: dict[Modality, Path] = {
            kind: folder / f"study{study}_{name}_intrastudy_to_FLAIR.txt" for name, kind in _LONGITUDINAL.items()
        }
        to_scan: dict[Modality, Path] = {
            kind: path for kind, path in files.items() if kind in case.scans and kind != Modality.FLAIR
        }
        # The file maps points of the mask's space to points of the FLAIR, as ITK resamples.
        from_mask = folder / f"study{study}_FLAIR_to_common_space.txt"
        cases.append(replace(case, to_scan=to_scan, from_mask=from_mask))
    return cases


def _longitudinal(folder: Path) -> Iterator[Scan]:
    for path in sorted(folder.glob("patient*/study*")):
        found = re.fullmatch(r"study(\d)_(T1W|T2W|FLAIR)", stem(path)) if is_scan(path) else None
        if found:
            person, mask = path.parent.name.removeprefix("patient"), path.parent / "coregistered_brainmask.nii.gz"
            kind = _LONGITUDINAL[found.group(2)]
            yield Scan(path, kind, person, f"study{found.group(1)}", mask if mask.is_file() else None)


def find_mni(source: MniSource) -> list[CaseFiles]:
    """A person is a case; all on one grid."""
    check_folder(source, _MNI)
    scans = []
    for path in sorted(source.folder.glob("patient*/*")):
        if is_scan(path) and stem(path) in _IN_MNI:
            lesions = path.parent / "lesions.nii.gz"
            person = path.parent.name.removeprefix("patient")
            scans.append(Scan(path, _IN_MNI[stem(path)], person, labels=lesions if lesions.is_file() else None))
    return together(source, scans, _MNI)


def find_flair(source: FlairSource) -> list[CaseFiles]:
    """A person is a case, most with a FLAIR alone."""
    check_folder(source, _FLAIR)
    scans = []
    for path in sorted(source.folder.rglob("*")):
        found = re.fullmatch(r"(training|test)(\d\d)(?:_\d\d_(t2|pd|flair))?", stem(path)) if is_scan(path) else None
        if found:
            number = int(found.group(2)) + (5 if found.group(1) == "test" else 0)
            kind = Modality((found.group(3) or "flair").upper())
            scans.append(Scan(path, kind, f"{number:02}", "raw"))
    return together(source, scans, _FLAIR)
