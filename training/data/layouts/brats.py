"""BraTS 2018 - 2024: a folder per person with four stripped scans on one grid, and the tumor's labels."""

import re
from collections.abc import Iterator
from typing import Literal

from modality_conversion.modality import Modality
from training.data.layouts.base import CaseFiles, Scan, Source, check_folder, is_scan, stem, together
from training.data.regions import Region

EXPECTED = "BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz or BraTS2021_00000/BraTS2021_00000_t1.nii.gz"
_ENDING = {
    "t1": Modality.T1,
    "t1n": Modality.T1,
    "t1ce": Modality.T1CE,
    "t1c": Modality.T1CE,
    "t2": Modality.T2,
    "t2w": Modality.T2,
    "flair": Modality.FLAIR,
    "t2f": Modality.FLAIR,
}


class BratsSource(Source):
    """A BraTS data set, in any depth of folders (`HGG/`, `LGG/`, centres)."""

    layout: Literal["brats"] = "brats"
    """Name of the layout."""
    labels_show: Literal["tumor", "lesion"] = "tumor"
    """What the labels are: a tumor, or, in data sets that borrow this layout, another lesion."""


def find(source: BratsSource) -> list[CaseFiles]:
    """The cases of a BraTS data set; the last number of a name such as `BraTS-GLI-00005-100` is the time point."""
    check_folder(source, EXPECTED)
    shown = Region.TUMOR if source.labels_show == "tumor" else Region.LESION
    return together(source, _scans(source), EXPECTED, labels_show=shown)


def _scans(source: BratsSource) -> Iterator[Scan]:
    for path in sorted(source.folder.rglob("*")):
        found = re.fullmatch(r"(.+)[_-](t1n|t1ce|t1c|t1|t2w|t2f|t2|flair)", stem(path), re.IGNORECASE)
        if not is_scan(path) or found is None:
            continue
        case, ending = found.group(1), found.group(2).lower()
        visit = re.fullmatch(r"(BraTS-\w+-\d+)-(\d+)", case, re.IGNORECASE)
        person, session = (visit.group(1), visit.group(2)) if visit else (case, "")
        labels = next((p for p in sorted(path.parent.glob(f"{case}*seg.nii*")) if is_scan(p)), None)
        yield Scan(path, _ENDING[ending], person, session, labels=labels)
