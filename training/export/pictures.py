"""Pictures for the card: those of the worst cases, as JPEG small enough that a bundle's docs stay within their limit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

_LARGEST = 1600
"""Pixels of the longer side."""
_QUALITIES = (88, 80, 70, 60)
_SMALLER = 0.8


def add_pictures(
    figures: Mapping[str, Any], folder: Path, docs: Path, budget: int, real: bool = False
) -> dict[str, Any]:
    """Put the worst case of each group beside the card; gives the figures with `card`, the file's name there.

    `folder` is the one that the figures name their pictures from; `budget` is in bytes, for all of them. Pictures that are
    no longer there are left out; so are real people's, unless `real`.
    """
    worst = list(figures.get("worst", ()))
    there = [entry for entry in worst if (real or not entry["real"]) and (folder / entry["file"]).is_file()]
    for entry in there:
        file = docs / f"{entry['group']}_worst.jpg"
        docs.mkdir(parents=True, exist_ok=True)
        write_small(folder / entry["file"], file, budget // len(there))
        worst[worst.index(entry)] = entry | {"card": file.name}
    return {**figures, "worst": worst}


def write_small(source: Path, target: Path, limit: int) -> None:
    """Write a picture as JPEG of at most `limit` bytes, coarser and then smaller until it fits."""
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_LARGEST, _LARGEST))
    while True:
        for quality in _QUALITIES:
            image.save(target, "JPEG", quality=quality, optimize=True)
            if target.stat().st_size <= limit or max(image.size) < 64:
                return
        image = image.resize((int(image.width * _SMALLER), int(image.height * _SMALLER)), Image.Resampling.LANCZOS)
