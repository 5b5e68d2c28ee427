"""The map of diseases: which part of a tumor, or which other disease, each voxel shows."""

import torch
from torch import Tensor

from training.data.regions import Disease, Region
from training.simulation.lesions import Lesion

TUMORS = ("high_grade", "low_grade", "meningioma", "metastases")
"""Kinds whose every lesion is part of a tumor."""
_TAKES_AGENT = ("enhancing", "meningioma")
_PRESENT = 0.33
"""A lesion is where it is at least this much of a voxel, as in `lesions.mark`."""


def disease_of(lesion: Lesion) -> Disease:
    """What a lesion shows. Of a cavity after surgery a rest that takes up contrast agent counts as tumor."""
    if lesion.kind in TUMORS:
        if lesion.tissue in _TAKES_AGENT:
            return Disease.ENHANCING
        return Disease.OEDEMA if lesion.tissue == "oedema" else Disease.CORE
    if lesion.kind == "cavity" and lesion.tissue == "enhancing":
        return Disease.ENHANCING
    return Disease.MS_LESION if lesion.kind == "multiple_sclerosis" else Disease.OTHER


def disease_map(region: Tensor, lesions: list[Lesion]) -> Tensor:
    """`Disease` codes, uint8, (z, y, x), in the order in which lesions are mixed in; bone and harmless lime are none.

    `region`: `Region` codes of the same head.
    """
    found = torch.zeros_like(region)
    for lesion in lesions:
        if lesion.region is not None:
            part = found[lesion.box]
            part.masked_fill_((lesion.weight > _PRESENT) & (region[lesion.box] != Region.BONE), int(disease_of(lesion)))
    return found
