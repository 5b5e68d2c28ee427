"""Cases on disk: one folder each, a float16 or uint8 array in a file each, (z, y, x), opened as memory maps.

`source_<M>.npy` is modality M on the network's input scale, `target_<M>.npy` on its output scale (`data.scale`),
`region.npy` holds `Region` codes; `tissue.npy` and `disease.npy`, where they are there, `Tissue` and `Disease` codes.
`case.json` says what the case is. It is written last, so a folder with it is complete.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.config import ConfigError

MARK = "case.json"
"""The file that makes a folder a complete case."""


@dataclass(frozen=True)
class PackedCase:
    """Memory-mapped arrays of one case, all of one shape (z, y, x), axes toward superior, anterior and right."""

    name: str
    person: str
    sources: dict[Modality, NDArray[np.float16]]
    targets: dict[Modality, NDArray[np.float16]]
    region: NDArray[np.uint8]
    tissue: NDArray[np.uint8] | None
    disease: NDArray[np.uint8] | None
    """None: nobody knows what is ill. A healthy case has a map of zeros."""
    about: dict[str, Any]
    """The content of `case.json`: `origin`, `spacing` (z, y, x; mm), `whole_head`, and what the writer added."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        depth, height, width = self.region.shape
        return depth, height, width

    @property
    def side(self) -> float:
        """Side of its cubic voxels in mm."""
        return float(self.about["spacing"][0])


def write_case(
    folder: Path,
    sources: Mapping[Modality, NDArray[np.floating]],
    targets: Mapping[Modality, NDArray[np.floating]],
    region: NDArray[np.uint8],
    about: Mapping[str, Any],
    tissue: NDArray[np.uint8] | None = None,
    disease: NDArray[np.uint8] | None = None,
) -> None:
    """Write a case; an older one in its place is replaced, and is no case while that goes on.

    `about` must name the `person` and the `origin`; `spacing` and `whole_head` have the defaults 1 mm and True.
    """
    for needed in ("person", "origin"):
        if needed not in about:
            raise ValueError(f"The case {folder.name} does not say its {needed!r}.")
    arrays: dict[str, NDArray[Any]] = {"region": region.astype(np.uint8)}
    if tissue is not None:
        arrays["tissue"] = tissue.astype(np.uint8)
    if disease is not None:
        arrays["disease"] = disease.astype(np.uint8)
    for kind, volumes in (("source", sources), ("target", targets)):
        arrays |= {f"{kind}_{modality}": volume.astype(np.float16) for modality, volume in volumes.items()}
    for name, array in arrays.items():
        if array.shape != region.shape:
            raise ValueError(f"The case {folder.name} has {name} of shape {array.shape}, its region {region.shape}.")
        if not np.isfinite(array).all():
            raise ValueError(f"The case {folder.name} has values in {name} that are not numbers.")

    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).unlink(missing_ok=True)
    for stale in folder.glob("*.npy"):
        stale.unlink()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    content = {
        "name": folder.name,
        "spacing": [1.0, 1.0, 1.0],
        "whole_head": True,
        **about,
        "sources": [str(modality) for modality in sources],
        "targets": [str(modality) for modality in targets],
    }
    unfinished = folder / f"{MARK}.tmp"
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    unfinished.replace(folder / MARK)


def read_case(folder: Path) -> PackedCase:
    """Open a case without loading it."""
    about = json.loads((folder / MARK).read_text(encoding="utf-8"))

    def opened(name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r")
        return array

    def where_there(name: str) -> NDArray[Any] | None:
        return opened(name) if (folder / f"{name}.npy").is_file() else None

    return PackedCase(
        name=folder.name,
        person=about["person"],
        sources={Modality(name): opened(f"source_{name}") for name in about["sources"]},
        targets={Modality(name): opened(f"target_{name}") for name in about["targets"]},
        region=opened("region"),
        tissue=where_there("tissue"),
        disease=where_there("disease"),
        about=about,
    )


def require_fine(case: PackedCase) -> PackedCase:
    """The case. Raises ConfigError where its voxels are larger than 1 mm, which only networks that segment can learn from."""
    if case.side > 1:
        raise ConfigError(
            f"The case {case.name} has voxels of {case.side:g} mm; here cases of 1 mm are needed. Simulate it again with "
            "`simulate.spacing: 1`, into another folder."
        )
    return case


def complete_cases(folder: Path) -> Iterator[PackedCase]:
    """All complete cases below a folder, by name."""
    for mark in sorted(folder.glob(f"*/{MARK}")):
        yield read_case(mark.parent)


_opened: dict[Path, tuple[dict[Path, int], tuple[PackedCase, ...]]] = {}


def opened_cases(folder: Path) -> tuple[PackedCase, ...]:
    """All complete cases below a folder, opened once however often they are asked for: each keeps a dozen files open.

    They stay open as long as the process lives, or until the folder's cases have changed and are asked for again.
    """
    marks = {mark: mark.stat().st_mtime_ns for mark in sorted(folder.glob(f"*/{MARK}"))}
    if folder not in _opened or _opened[folder][0] != marks:
        _opened[folder] = marks, tuple(read_case(mark.parent) for mark in marks)
    return _opened[folder][1]
