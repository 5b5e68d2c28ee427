"""What a run leaves for people: tables of losses and pictures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a CSV file, and the heading where the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def write_picture(path: Path, grey: NDArray[np.floating]) -> None:
    """Write values in [0, 1] as an 8-bit PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * grey).astype("uint8")).save(path)
