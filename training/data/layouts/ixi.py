"""IXI: IXI-T1/IXI002-Guys-0828-T1.nii.gz and so on; healthy whole heads, each contrast on its own grid."""

import re
from collections.abc import Iterator
from typing import Literal

from modality_conversion.modality import Modality
from training.data.layouts.base import CaseFiles, Scan, Source, check_folder, is_scan, stem, together

EXPECTED = "IXI002-Guys-0828-T1.nii.gz, in folders such as IXI-T1 or all in one"


class IxiSource(Source):
    """The IXI data set. Its scans are of one session but not aligned, so they are registered."""

    layout: Literal["ixi"] = "ixi"
    """Name of the layout."""
    registration: Literal["none", "rigid", "affine"] = "rigid"
    """How the other scans are aligned with the reference."""
    brain: Literal["auto", "mask", "nonzero", "template", "none"] = "template"
    """IXI has no brain masks; the template's is registered to the scan."""


def find(source: IxiSource) -> list[CaseFiles]:
    """The cases of IXI; a person is `IXI002`, the hospital and the study number are not part of it."""
    check_folder(source, EXPECTED)
    return together(source, _scans(source), EXPECTED)


def _scans(source: IxiSource) -> Iterator[Scan]:
    for path in sorted(source.folder.rglob("*")):
        found = re.fullmatch(r"(IXI\d+)-\w+-\d+-(T1|T2|PD)", stem(path), re.IGNORECASE)
        if is_scan(path) and found:
            yield Scan(path, Modality(found.group(2).upper()), found.group(1))
