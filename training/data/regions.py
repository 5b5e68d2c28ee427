"""The parts of a head that the loss weighs and the scale refers to."""

from enum import IntEnum


class Region(IntEnum):
    """A voxel's region; a lesion is part of the brain."""

    BACKGROUND = 0
    HEAD = 1
    BRAIN = 2
    LESION = 3
