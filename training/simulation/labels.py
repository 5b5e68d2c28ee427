"""What each number in a label map is made of.

Brain: FreeSurfer's numbers. Outside the brain: read off by eye and by volume (506: 13 mL, two eyes), not documented.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.config import ConfigError
from training.simulation.tissues import AIR, CODE

LABELS_OF_TISSUE: dict[str, tuple[int, ...]] = {
    "white_matter": (2, 41, 85),
    "leukoaraiosis": (25, 57, 77),
    "grey_matter": (3, 42, 18, 54, 26, 58),
    "csf": (24,),
    "ventricle": (4, 5, 14, 15, 43, 44, 72),
    "cerebellar_white": (7, 46),
    "cerebellar_cortex": (8, 47),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "brain_stem": (16, 512),
    "hippocampus": (17, 53),
    "ventral_dc": (28, 60),
    "choroid": (31, 63, 136, 137, 163, 164),
    "artery": (502,),
    "vein": (30, 62, 514),
    "eye": (506,),
    "soft": (507, 530),
    "muscle": (508,),  # of the eye
    "mucosa": (509,),
    "skin": (511,),
    "cortical_bone": (515,),
    "diploe": (516,),
}
LEFT = (2, 3, 4, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28)
"""Labels of the left half of the brain."""
RIGHT = (41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60)


class UnknownLabelError(ConfigError):
    """A label map has numbers whose tissue nobody has said."""


def tissue_codes(labels: NDArray[np.integer], extra: Mapping[int, str] | None = None) -> NDArray[np.uint8]:
    """The tissue code of every voxel of a label map; an unknown label is refused.

    `extra` names the tissue of further labels, or of known ones anew; `air` is one too.
    """
    meaning = {label: tissue for tissue, group in LABELS_OF_TISSUE.items() for label in group}
    meaning |= {0: AIR, **(extra or {})}
    wrong = sorted(set(meaning.values()) - set(CODE))
    if wrong:
        raise ConfigError(f"There is no tissue {', '.join(wrong)}; there are: {', '.join(CODE)}.")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if high - low > 10**6:
        raise UnknownLabelError(f"The label map has values from {low} to {high}; it is no label map.")
    counts = np.bincount((labels - low).ravel(), minlength=high - low + 1)
    present = np.flatnonzero(counts) + low
    strange = sorted(set(present.tolist()) - set(meaning))
    if strange:
        raise UnknownLabelError(
            f"The label map has labels whose tissue is not known: {strange}. "
            "Say in `extra_labels` which tissue each is, or `air` for none."
        )
    table = np.zeros(high - low + 1, np.uint8)
    for label in present.tolist():
        table[label - low] = CODE[meaning[label]]
    return table[labels - low]
