"""Pictures of outlines: a slice of the scan, the truth and the model's answer as lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHOWN = 6
"""Cases of a picture: the worst, the best, and some evenly between."""


class Shown(NamedTuple):
    """One slice, axes (y, x): the scan, the truth of each region, the label map."""

    case: str
    real: bool
    dice: float | None
    scan: NDArray[np.float32]
    truth: NDArray[np.bool_]
    labels: NDArray[np.integer]


def save_outlines(shown: Mapping[tuple[str, str], Sequence[Shown]], folder: Path) -> list[dict[str, Any]]:
    """Write a picture for each model and set of scans, the worst case first; gives their entries for `figures.json`."""
    found = []
    for (model, scans), slices in shown.items():
        known = [one for one in slices if one.dice is not None]
        if not known:
            continue
        order = sorted(known, key=lambda one: one.dice or 0.0)
        places = dict.fromkeys(round(place) for place in np.linspace(0, len(order) - 1, min(SHOWN, len(order))))
        chosen = [order[place] for place in places]
        group = scans.lower().replace("+", "_")
        file = f"{model}_{group}.png".replace("+", "_")
        _draw(chosen, folder / file)
        real = any(one.real for one in chosen)
        entry = {"model": model, "scans": scans, "group": group, "case": chosen[0].case, "real": real, "file": file}
        found.append(entry)
    return found


def _draw(slices: Sequence[Shown], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(slices), 3.3), facecolor="black")
    axes = figure.subplots(1, len(slices), squeeze=False)[0]
    for plot, one in zip(axes, slices, strict=True):
        plot.axis("off")
        low, high = np.percentile(one.scan, [1, 99.5])
        plot.imshow(one.scan, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), origin="lower")
        for mask in one.truth:
            _line(plot, mask, "#40ff60")
        for value in range(1, int(one.labels.max(initial=0)) + 1):
            _line(plot, one.labels >= value, "#ff5040")
        plot.set_title(f"{one.case}\nDice {one.dice:.3f}", color="white", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _line(plot: Any, mask: NDArray[np.bool_], colour: str) -> None:
    if mask.any() and not mask.all():
        plot.contour(mask, levels=[0.5], colors=colour, linewidths=0.8)
