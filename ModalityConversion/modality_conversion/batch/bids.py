"""BIDS: which files of a data set are scans, and what the derivative data set is called inside.

After the Brain Imaging Data Structure 1.10, chapters "Derivatives" and "Magnetic Resonance Imaging". CT has no place in
the standard yet; its files have the suffix `ct` and stand in `.bidsignore`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..dicom.find import files_below
from ..modality import Modality, read_fields
from ..report import NOTICE
from ..version import __version__

VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
_SUFFIXES = {
    Modality.T1: "T1w",
    Modality.T1CE: "T1w",
    Modality.T2: "T2w",
    Modality.FLAIR: "FLAIR",
    Modality.PD: "PDw",
    Modality.CT: "ct",
    Modality.CBCT: "ct",
    Modality.PET: "pet",
}
_FOLDERS = {"anat", "pet", "ct"}


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a BIDS data set."""
    return (folder / DESCRIPTION).is_file()


def scans(root: Path) -> Iterator[Path]:
    """Files of the subjects' folders `anat`, `pet` and `ct`; no derivatives, no source data."""
    for subject in sorted(root.glob("sub-*")):
        if subject.is_dir():
            yield from (path for path in files_below(subject) if path.parent.name in _FOLDERS)


def place(path: Path, source: Modality, target: Modality) -> PurePosixPath:
    """`sub-01/anat/sub-01_T1w.nii.gz` becomes `sub-01/anat/sub-01_desc-syntheticFromT1_T2w.nii.gz`."""
    stem = re.sub(r"\.[^.]+(\.gz)?$", "", path.name)
    entities = [part for part in stem.split("_")[:-1] if not part.startswith("desc-")]
    name = "_".join([*entities, f"desc-syntheticFrom{source}", _SUFFIXES[target]])
    return PurePosixPath(path.parent.as_posix()) / f"{name}.nii.gz"


def sidecar(path: Path, source: Modality, target: Modality, further: Sequence[Path] = ()) -> dict[str, Any]:
    """What BIDS wants to read in the side-car of a derivative; paths are relative to the data set."""
    return {
        "Description": f"Synthetic {target} made from {source}. {NOTICE}",
        "Sources": [f"bids:raw:{one.as_posix()}" for one in (path, *further)],
    }


def describe(root: Path, out: Path, target: Modality, models: list[str]) -> dict[str, str]:
    """The files at the top of the derivative data set, by name."""
    raw = read_fields(root / DESCRIPTION)
    try:
        link = Path(os.path.relpath(root, out)).as_posix()
    except ValueError:  # on another drive
        link = root.resolve().as_uri()
    description = {
        "Name": f"Synthetic {target} of {raw.get('Name') or 'a data set'}",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "ModalityConversion",
                "Version": __version__,
                "Description": f"{NOTICE} Models: {', '.join(models)}",
            }
        ],
        "SourceDatasets": [{"URL": link}],
        "DatasetLinks": {"raw": link},
    }
    return {
        DESCRIPTION: json.dumps(description, indent=2, ensure_ascii=False) + "\n",
        ".bidsignore": "summary.html\ncases.tsv\nfigures/\n**/*_ct.*\n",
    }
