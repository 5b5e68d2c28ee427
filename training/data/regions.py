"""The parts of a head: regions, which the loss weighs and the scales refer to, and tissues, which can guide a network."""

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
