"""What each number in a label map is made of.

Brain: FreeSurfer's numbers. Outside the brain: read off by eye and by volume (506: 13 mL, two eyes), not documented.
"""

import numpy as np
from numpy.typing import NDArray

from training.simulation.tissues import AIR, CODE

LABELS_OF_TISSUE: dict[str, tuple[int, ...]] = {
    "white_matter": (2, 41, 85),
    "grey_matter": (3, 42, 18, 54, 26, 58),
    "csf": (4, 5, 14, 15, 24, 43, 44, 72),
    "cerebellar_white": (7, 46),
    "cerebellar_cortex": (8, 47),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "brain_stem": (16, 512),
    "hippocampus": (17, 53),
    "ventral_dc": (28, 60),
    "ms_lesion": (25, 57, 77),
    "tumor": (136, 137, 163, 164),  # choroid plexus: close to tumor in PD, T1 and T2
    "blood": (30, 62, 502, 514),
    "eye": (506,),
    "muscle": (507, 508, 530),
    "mucosa": (509,),
    "skin": (511,),
    "cortical_bone": (515,),
    "marrow": (516,),
}
CSF_LABEL, SOFT_TISSUE, SKIN, EYE = 24, 507, 511, 506
FIRST_LABEL_OUTSIDE_BRAIN = 500

_LABEL_COUNT = 600
_TISSUE_OF_LABEL = np.full(_LABEL_COUNT, CODE[AIR], np.uint8)
for _tissue, _labels in LABELS_OF_TISSUE.items():
    _TISSUE_OF_LABEL[list(_labels)] = CODE[_tissue]


def tissue_codes(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The tissue code of every voxel of a label map; an unknown label is refused."""
    known = {0, *(label for group in LABELS_OF_TISSUE.values() for label in group)}
    strange = sorted(set(np.unique(labels).tolist()) - known)
    if strange:
        raise ValueError(f"The label map has labels whose tissue is not known: {strange}.")
    return _TISSUE_OF_LABEL[labels]


def is_brain(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Brain tissue with its ventricles, without the CSF around it and without the cord below."""
    return (labels > 0) & (labels < FIRST_LABEL_OUTSIDE_BRAIN) & (labels != CSF_LABEL)
