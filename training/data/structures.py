"""What a segmenting network outlines: nested parts of a tumor, or the head; and where a packed case has them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.cases import PackedCase
from training.data.regions import Disease, Region, Tissue

Cut = Callable[[NDArray[np.generic]], NDArray[np.generic]]
"""Cuts a part out of a case's volume."""


@dataclass(frozen=True)
class Structures:
    """`masks(case, cut)`: one bool array for each name, stacked first, of the part of a case that `cut` gives."""

    names: tuple[str, ...]
    needs: str
    """What a case must have, in words."""
    has: Callable[[PackedCase], bool]
    masks: Callable[[PackedCase, Cut], NDArray[np.bool_]]


TUMOR_REGIONS: dict[str, tuple[Disease, ...]] = {
    "whole": (Disease.OEDEMA, Disease.CORE, Disease.ENHANCING),
    "core": (Disease.CORE, Disease.ENHANCING),
    "enhancing": (Disease.ENHANCING,),
}
"""Regions from the outside in, each within the one before (Menze et al., The multimodal brain tumor image segmentation
benchmark, IEEE TMI 2015)."""


def tumor_masks(codes: NDArray[np.generic]) -> NDArray[np.bool_]:
    """The regions of `TUMOR_REGIONS`, stacked first, of a map of `Disease` codes."""
    return np.stack([np.isin(codes, parts) for parts in TUMOR_REGIONS.values()])


def _tumor(case: PackedCase, cut: Cut) -> NDArray[np.bool_]:
    assert case.disease is not None  # whoever calls this has asked `has`
    return tumor_masks(cut(case.disease))


TUMOR = Structures(
    tuple(TUMOR_REGIONS),
    "a map of diseases (simulate the cases again if they are older than these maps)",
    lambda case: case.disease is not None,
    _tumor,
)


def _head(case: PackedCase, cut: Cut) -> NDArray[np.bool_]:
    """All that is left of a head, its air-filled cavities too; of a stripped one, the brain."""
    inside = cut(case.region) != Region.BACKGROUND
    if case.tissue is not None:
        inside |= cut(case.tissue) != Tissue.NONE
    return inside[None]


HEAD = Structures(("head",), "a map of regions and of tissues", lambda case: case.tissue is not None, _head)
