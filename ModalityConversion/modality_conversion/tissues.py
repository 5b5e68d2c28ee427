"""Which kind of tissue each voxel of a synthetic scan seems to be: what an interval is calibrated for, one kind at a time.

It is told from the synthetic scan alone, since there is nothing else where it is used; so bone that was not drawn counts as
what was drawn instead. On CT the kinds are ranges of Hounsfield units. MR has no units, so its kinds are what can be said
of it honestly: dark, middling or bright against the middle of the head, deep in it (mostly brain) or nearer to the skin.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .grid import on_grid_of
from .masks import head_otsu
from .modality import Modality

CT_TISSUES: dict[str, tuple[float, float]] = {
    "air": (-np.inf, -300.0),
    "soft_tissue": (-300.0, 200.0),
    "bone": (200.0, np.inf),
}
"""Range of HU of each kind; fat is soft tissue."""
MR_BOUNDS = (0.6, 1.5)
"""Dark ends and bright begins at these multiples of the head's median value."""
DEEP_MM = 15.0
"""Deep is more than this below the surface of the head; of a stripped brain, below the brain's."""
MR_TISSUES = tuple(f"{level}_{place}" for place in ("deep", "outer") for level in ("dark", "middle", "bright"))

IN_WORDS = {
    "air": "air within the body",
    "soft_tissue": "soft tissue",
    "bone": "bone",
    **{
        f"{level}_{place}": f"{level}{'' if level != 'middle' else '-bright'} parts {where}"
        for level in ("dark", "middle", "bright")
        for place, where in (("deep", "deep in the head"), ("outer", "near its surface"))
    },
}
"""For a person."""


def tissue_names(target: Modality) -> tuple[str, ...]:
    """The kinds that are told apart on a target, in the order of the numbers that `tissue_map` gives, from 1."""
    return tuple(CT_TISSUES) if target in (Modality.CT, Modality.CBCT) else MR_TISSUES


def tissue_map(synthetic: sitk.Image, target: Modality) -> np.ndarray:
    """The kind of each voxel: uint8 (k, j, i), 0 outside the head or body, else 1 + the place in `tissue_names`.

    `synthetic` has finite voxels. Nothing is told of a constant volume: all 0.
    """
    array = sitk.GetArrayViewFromImage(synthetic)
    found = np.zeros(array.shape, np.uint8)
    if array.min() == array.max():
        return found
    if target in (Modality.CT, Modality.CBCT):
        body = _body(synthetic)
        for number, (low, high) in enumerate(CT_TISSUES.values(), start=1):
            found[body & (array >= low) & (array < high)] = number
        return found
    head = head_otsu(synthetic)
    inside = sitk.GetArrayViewFromImage(head) != 0
    depth = sitk.SignedMaurerDistanceMap(head > 0, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    deep = sitk.GetArrayViewFromImage(depth) > DEEP_MM
    # The head's median would sink with every cavity and every wide sulcus, so what is all but empty has no say in it.
    values = array[inside & deep] if np.any(inside & deep) else array[inside]
    values = values[values > 0.1 * np.percentile(values, 99)]
    middle = float(np.median(values)) if values.size else 1.0
    level = np.digitize(array / middle if middle > 0 else array, MR_BOUNDS)  # 0 dark, 1 middle, 2 bright
    found[inside] = (level + np.where(deep, 1, 4))[inside]
    return found


def _body(image: sitk.Image) -> np.ndarray:
    """A CT's body with its cavities: above -500 HU, the largest part, holes filled, as `head_otsu` fills a head's."""
    above = on_grid_of(image, (sitk.GetArrayViewFromImage(image) > -500).astype(np.float32))
    inside: np.ndarray = sitk.GetArrayFromImage(head_otsu(above)) != 0
    return inside
