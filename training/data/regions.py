"""The parts of a head: regions, which the loss weighs and the scales refer to; tissues, which can guide a network; diseases,
which a network can learn to outline."""

from enum import IntEnum


class Region(IntEnum):
    """A voxel's region. Lesions and tumors are part of the brain, bone is not; ask `in_brain`, not for an order."""

    BACKGROUND = 0
    HEAD = 1
    """Soft tissue outside the brain."""
    BRAIN = 2
    LESION = 3
    BONE = 4
    TUMOR = 5


BRAIN_REGIONS = (Region.BRAIN, Region.LESION, Region.TUMOR)
"""What counts as brain: healthy or not."""


class Tissue(IntEnum):
    """A voxel's tissue, coarse enough to be an auxiliary output."""

    NONE = 0
    """Not known, or air around the head."""
    CSF = 1
    GREY = 2
    WHITE = 3
    BONE = 4
    SOFT = 5
    FAT = 6
    """Fat and fatty marrow."""
    AIR = 7
    """Air within the head: sinuses, mastoid cells, airway."""
    LESION = 8
    """Lesion or tumor."""


class Disease(IntEnum):
    """What is ill in a voxel. The parts of a tumor, OEDEMA, CORE and ENHANCING, exclude each other and are all of it."""

    NONE = 0
    OEDEMA = 1
    """Water around a tumor, within the whole tumor."""
    CORE = 2
    """Tumor that takes up no contrast agent, necrosis, cysts and old blood within it."""
    ENHANCING = 3
    """Tumor that takes up contrast agent."""
    MS_LESION = 4
    OTHER = 5
    """Stroke, haemorrhage, small vessels, scars, cavities after surgery."""


TUMOR_PARTS = (Disease.OEDEMA, Disease.CORE, Disease.ENHANCING)
"""What a tumor is made of."""
