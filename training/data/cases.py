"""Cases on disk: a folder of three arrays each, float16 and uint8, (z, y, x), opened as memory maps.

`source.npy` is on the network's input scale, `target.npy` on its output scale, `region.npy` holds `Region` codes;
`case.json` says where the case comes from.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PackedCase:
    """Memory-mapped arrays of one case, all of one shape (z, y, x)."""

    name: str
    source: NDArray[np.float16]
    target: NDArray[np.float16]
    region: NDArray[np.uint8]
    about: dict[str, Any]


def write_case(
    folder: Path,
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    region: NDArray[np.uint8],
    about: dict[str, Any],
) -> None:
    """Write a case; `case.json` comes last and marks it complete."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "source.npy", source.astype(np.float16))
    np.save(folder / "target.npy", target.astype(np.float16))
    np.save(folder / "region.npy", region.astype(np.uint8))
    (folder / "case.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def read_case(folder: Path) -> PackedCase:
    """Open a case without loading it."""
    source, target, region = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("source", "target", "region"))
    about = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    return PackedCase(folder.name, source, target, region, about)


def complete_cases(folder: Path) -> Iterator[PackedCase]:
    """All complete cases below a folder, by name."""
    for mark in sorted(folder.glob("*/case.json")):
        yield read_case(mark.parent)
