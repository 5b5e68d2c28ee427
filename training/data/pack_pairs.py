"""Packs real pairs as training cases: whole heads, and brains alone within masks of different width."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from training.data.cases import write_case
from training.data.pairs import Pair, even_out, longitudinal_pair, mni_pair, regions
from training.data.regions import Region
from training.data.scale import normalise_source, normalise_target
from training.data.split import Split

HEAD_THRESHOLD = 0.25
"""A target above this fraction of the brain's median belongs to the head, not to air."""
WIDER = 3
"""mm by which the wide brain mask is wider than the given one."""


def training_pairs(split: Split, longitudinal: Path, mni: Path) -> Iterator[tuple[Pair, bool]]:
    """The pairs of the training part of the split, and whether they show a whole head."""
    for person, studies in split.longitudinal.training.items():
        for study in studies:
            yield longitudinal_pair(longitudinal / f"patient{person}", study)[0], True
    for person in split.mni.training:
        yield mni_pair(mni / f"patient{person}"), False


def _variants(brain: sitk.Image, whole_head: bool) -> dict[str, NDArray[np.bool_]]:
    """What is left of a scan, by the name of the variant: three each, so that both kinds of scan are seen as often."""

    def wider(by: int) -> NDArray[np.bool_]:
        grown = sitk.BinaryDilate(brain, [by] * 3) if by >= 0 else sitk.BinaryErode(brain, [-by] * 3)
        mask: NDArray[np.bool_] = sitk.GetArrayFromImage(grown) > 0
        return mask

    if whole_head:
        return {"head": np.ones(brain.GetSize()[::-1], bool), "tight": wider(0), "wide": wider(WIDER)}
    return {"tight": wider(0), "narrow": wider(-1), "narrower": wider(-2)}


def pack_pair(pair: Pair, whole_head: bool, folder: Path) -> int:
    """Write the cases of one pair; gives their number."""
    target = even_out(pair.target, pair.brain) if whole_head else pair.target
    source, target = (np.clip(sitk.GetArrayFromImage(image), 0, None) for image in (pair.source, target))
    brain = sitk.GetArrayFromImage(pair.brain) > 0
    region = regions(pair, HEAD_THRESHOLD * float(np.median(target[brain])))
    # All variants share one scale: that of the brain within the whole.
    target = normalise_target(target, region)
    variants = _variants(pair.brain, whole_head)
    for variant, kept in variants.items():
        name = f"{pair.name} {variant}".replace(" ", "_")
        left = np.where(kept, region, Region.BACKGROUND).astype(np.uint8)
        write_case(folder / name, normalise_source(source * kept), target * kept, left, {"origin": pair.name})
    return len(variants)
