"""A picture of simulated cases for a person to look at, before hours of training: sources above, targets below."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.data.cases import PackedCase
from training.data.regions import BRAIN_REGIONS, Region
from training.data.scale import TARGET_SCALE, normalise_source

CT_WINDOW = (-20.0, 100.0)
"""HU that are black and white."""
BRIGHTEST = {modality: 0.75 if modality is Modality.FLAIR else 1.0 for modality in Modality}
"""What is white on a target."""


def best_slice(region: NDArray[np.uint8]) -> int:
    """The axial slice with most lesion; without one, the one with most brain."""
    sick = np.isin(region, (Region.LESION, Region.TUMOR)).sum((1, 2))
    return int(np.argmax(sick if sick.max() > 20 else np.isin(region, BRAIN_REGIONS).sum((1, 2))))


def _grey(plane: NDArray[np.floating], modality: Modality, is_source: bool) -> NDArray[np.float32]:
    """A plane with values in [0, 1] for the screen."""
    plane = np.asarray(plane, np.float32)
    if modality is not Modality.CT:
        return (plane / (1.0 if is_source else BRIGHTEST[modality])).clip(0, 1)
    low, high = CT_WINDOW
    if is_source:
        low, high = normalise_source(np.array([[[low, high]]]), Modality.CT)[0, 0]
    else:
        plane = plane * TARGET_SCALE[modality]
    return ((plane - low) / (high - low)).clip(0, 1)


def preview(cases: Sequence[PackedCase], path: Path) -> None:
    """Write a PNG with two rows for each case: its sources, then its targets, at its most telling axial slice."""
    from matplotlib.figure import Figure

    columns = max(max(len(case.sources), len(case.targets)) for case in cases)
    figure = Figure(figsize=(2.4 * columns, 5.4 * len(cases)), facecolor="black")
    axes = figure.subplots(2 * len(cases), columns, squeeze=False)
    for plot in axes.flat:
        plot.axis("off")
    for row, case in enumerate(cases):
        z = best_slice(np.asarray(case.region))
        for below, (kind, volumes) in enumerate((("source", case.sources), ("target", case.targets))):
            for column, (modality, volume) in enumerate(volumes.items()):
                plot = axes[2 * row + below, column]
                plane = _grey(volume[z], modality, kind == "source")
                plot.imshow(plane, cmap="gray", vmin=0, vmax=1, origin="lower")
                plot.set_title(f"{kind} {modality}", color="white", fontsize=9)
        said = ", ".join(case.about.get("disease", [])) or "healthy"
        axes[2 * row, 0].text(0, -0.06, f"{case.name}: {said}", color="white", transform=axes[2 * row, 0].transAxes)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
