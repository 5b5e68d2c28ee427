"""A picture for a person who reads scans: source, synthetic, real, error and deviation, in three planes."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from training.evaluation.cases import TestCase


def _array(image: sitk.Image) -> np.ndarray:
    """(z, y, x) in RAS, as float32."""
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, "RAS")).astype(np.float32)


def save_picture(case: TestCase, synthetic: sitk.Image, deviation: sitk.Image | None, path: Path) -> None:
    """Write a PNG: one row a plane (axial, coronal, sagittal), through the brain's middle, a little to the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    brain = _array(case.brain) > 0
    middle = np.argwhere(brain).mean(0).astype(int)
    middle[2] += int(10 / case.source.GetSpacing()[0])
    spacing = sitk.DICOMOrient(case.source, "RAS").GetSpacing()[::-1]
    volumes = {"source": _array(case.source), "synthetic": _array(synthetic), "real": _array(case.target)}
    tops = {name: float(np.percentile(volume[brain], 99.5)) for name, volume in volumes.items()}
    shown = {name: volume / tops[name] for name, volume in volumes.items()}
    shown["5 x deviation"] = np.zeros_like(shown["real"])
    if deviation is not None:
        shown["5 x deviation"] = 5 * _array(deviation) / tops["synthetic"]

    figure, axes = plt.subplots(3, 4, figsize=(20, 15), facecolor="black")
    for row, axis in zip(axes, range(3), strict=True):
        height, width = (spacing[other] for other in range(3) if other != axis)
        for place, (name, volume) in zip(row, shown.items(), strict=True):
            plane = np.take(volume, middle[axis], axis)
            place.imshow(plane, cmap="gray", vmin=0, vmax=1, origin="lower", aspect=height / width)
            place.set_title(f"{name} ({'SYNTHETIC' if name == 'synthetic' else case.name})", color="white", fontsize=9)
            place.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=55)
    plt.close(figure)
