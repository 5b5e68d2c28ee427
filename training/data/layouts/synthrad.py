"""SynthRAD2023 and 2025: Task1/brain/1BA001/{mr,ct,mask}.nii.gz, or Task1/HN/1HNA001/{mr,ct,mask}.mha."""

import re
from collections.abc import Iterator
from typing import Literal

from modality_conversion.modality import Modality
from training.data.layouts.base import CaseFiles, Scan, Source, check_folder, is_scan, stem, together

EXPECTED = "Task1/brain/1BA001/ with mr, ct and mask (.nii.gz or .mha)"
_ANATOMY = {"B": "brain", "P": "pelvis", "HN": "head_neck", "AB": "abdomen", "TH": "thorax"}


class SynthradSource(Source):
    """SynthRAD task 1 (MR to CT) and task 2 (CBCT to CT). The mask is the body's outline."""

    layout: Literal["synthrad"] = "synthrad"
    """Name of the layout."""
    mr: Modality = Modality.T1
    """What the MR scans are taken as. The brains of 2023 are T1, some with contrast agent."""
    anatomies: tuple[Literal["brain", "pelvis", "head_neck", "abdomen", "thorax"], ...] = ("brain",)
    """Parts of the body that are used."""
    tasks: tuple[Literal[1, 2], ...] = (1,)
    """1: MR and CT, 2: CBCT and CT."""


def find(source: SynthradSource) -> list[CaseFiles]:
    """The cases of SynthRAD; a name such as `1BA001` says task, part of the body, centre and number."""
    check_folder(source, EXPECTED)
    return together(source, _scans(source), EXPECTED, mask_shows="body")


def _scans(source: SynthradSource) -> Iterator[Scan]:
    kinds = {"mr": source.mr, "ct": Modality.CT, "cbct": Modality.CBCT}
    for path in sorted(source.folder.rglob("*")):
        named = re.fullmatch(r"([12])(B|P|HN|AB|TH)[A-Z]\d+", path.parent.name)
        if named is None or not is_scan(path) or stem(path) not in kinds:
            continue
        if int(named.group(1)) not in source.tasks or _ANATOMY[named.group(2)] not in source.anatomies:
            continue
        mask = next((p for p in sorted(path.parent.glob("mask.*")) if is_scan(p)), None)
        yield Scan(path, kinds[stem(path)], path.parent.name, mask=mask)
