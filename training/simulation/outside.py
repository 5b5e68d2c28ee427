"""What lies outside the brain: the label maps' one soft tissue divided into skin, fat and muscle; faces cut away."""

import numpy as np
from numpy.typing import NDArray

from training.simulation.anatomy import Head
from training.simulation.fields import smooth_field, torch_generator
from training.simulation.labels import EYE, SKIN, SOFT_TISSUE, is_brain
from training.simulation.tissues import CODE


def divide_soft_tissue(tissues: NDArray[np.uint8], head: Head, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Skin is a thin sheet, fat lies below it and around the eyes, the rest is muscle with fat between."""
    generator = torch_generator(rng)
    shape = tissues.shape
    slow = smooth_field(shape, 30, generator)[0].numpy()
    quick = smooth_field(shape, 7, generator)[0].numpy()
    skin_depth, fat_depth = rng.uniform(1.2, 3.0), rng.uniform(2.0, 9.0)

    soft = (head.labels == SKIN) | (head.labels == SOFT_TISSUE)
    deep = head.depth > skin_depth
    below_skin = deep & (head.depth < skin_depth + fat_depth * (1 + 0.35 * slow))
    around_eye = deep & (head.to_eye < 17) & (head.labels == SOFT_TISSUE)
    between_muscles = deep & (quick + 0.6 * slow > rng.uniform(0.7, 1.6))
    tissues = tissues.copy()
    tissues[soft & ~deep] = CODE["skin"]
    tissues[soft & deep] = CODE["muscle"]
    tissues[soft & (below_skin | around_eye | between_muscles)] = CODE["fat"]
    if rng.random() < 0.5:  # more marrow than the label maps show: the middle of thick bone
        bone = tissues == CODE["cortical_bone"]
        tissues[bone & (quick > rng.uniform(0.6, 1.5))] = CODE["marrow"]
    return tissues


def face_cut(head: Head, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where a defacing tool left something: everything but a random wedge in front of and below the brain."""
    brain = np.argwhere(is_brain(head.labels))
    low, high = brain.min(0), brain.max(0)
    z, y, _ = np.ogrid[tuple(slice(0, n) for n in head.labels.shape)]
    # A line in the sagittal plane, from above the eyes backwards and down; in mm, from the brain's front edge.
    start_z = low[0] + rng.uniform(0.25, 0.55) * (high[0] - low[0])
    slope = rng.uniform(0.5, 1.6)
    line = high[1] + rng.uniform(-4, 10) - slope * np.maximum(start_z - z, 0)
    forward = (y > line) & (z < start_z)
    return ~(forward & (head.to_brain > rng.uniform(2, 8)))


def stripped_brain(head: Head, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A brain mask as a stripping tool leaves it: brain with some CSF around it, the edge slightly ragged."""
    generator = torch_generator(rng)
    shape = head.labels.shape
    ragged = smooth_field(shape, rng.uniform(4, 12), generator)[0].numpy() * rng.uniform(0.2, 1.2)
    margin = rng.uniform(-0.5, 6.0)
    inside = head.to_brain < margin + ragged
    if rng.random() < 0.8:  # most tools stop at the skull
        inside &= (head.labels > 0) & (head.labels < 500) | (head.to_brain < 0)
    return inside & (head.labels != EYE)
