"""BIDS (Brain Imaging Data Structure 1.10): sub-*/[ses-*/]anat/sub-*_T1w.nii.gz."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from modality_conversion.modality import Modality
from training.data.layouts.base import CaseFiles, Scan, Source, check_folder, is_scan, stem, together

EXPECTED = "sub-<person>/[ses-<session>/]anat/sub-<person>_T1w.nii.gz"
_SUFFIX = {
    "T1w": Modality.T1,
    "T2w": Modality.T2,
    "FLAIR": Modality.FLAIR,
    "PDw": Modality.PD,
    "ct": Modality.CT,
    "CT": Modality.CT,
}


class BidsSource(Source):
    """A BIDS data set. Masks and lesions are taken from `derivatives`."""

    layout: Literal["bids"] = "bids"
    """Name of the layout."""
    entities: dict[str, str] = Field(default_factory=dict)
    """Other parts of the name that a scan must have, such as `{acq: highres}`; of several that fit, the first run is taken."""


def find(source: BidsSource) -> list[CaseFiles]:
    """The cases of a BIDS data set; contrast-enhanced T1 is known by its `ce-` entity."""
    check_folder(source, EXPECTED)
    return together(source, _scans(source), EXPECTED)


def entities(path: Path) -> dict[str, str]:
    """`sub-01_ses-2_T1w.nii.gz` as {"sub": "01", "ses": "2", "suffix": "T1w"}."""
    *pairs, last = stem(path).split("_")
    return {**dict(pair.split("-", 1) for pair in pairs if "-" in pair), "suffix": last}


def _scans(source: BidsSource) -> Iterator[Scan]:
    extra = list(_derivatives(source.folder))
    for path in sorted(source.folder.glob("sub-*/**/*")):
        named = entities(path) if is_scan(path) and path.parent.name in ("anat", "ct") else {}
        modality = _SUFFIX.get(named.get("suffix", ""))
        if modality is None or "sub" not in named:
            continue
        if any(named.get(key) != value for key, value in source.entities.items()):
            continue
        if modality == Modality.T1 and "ce" in named:
            modality = Modality.T1CE
        person, session = named["sub"], named.get("ses", "")

        def of_this_visit(pattern: str, person: str = person, session: str = session) -> Path | None:
            for other, names in extra:
                same = names.get("sub") == person and names.get("ses", "") == session
                if same and re.search(pattern, stem(other)):
                    return other
            return None

        lesions = of_this_visit(r"label-(?:lesion|L)\w*_(?:mask|dseg)$|lesion_(?:mask|roi)$")
        yield Scan(path, modality, person, session, of_this_visit(r"desc-brain_mask$"), lesions)


def _derivatives(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    for path in sorted((folder / "derivatives").glob("**/sub-*/**/*")):
        # A mask in a template's space does not lie on the scan.
        if is_scan(path) and not re.search(r"space-(?!T1w|T2w|orig|native)", stem(path)):
            yield path, entities(path)
