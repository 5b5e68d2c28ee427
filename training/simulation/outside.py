"""What a label map leaves out: skin, fat and muscle, the tables of the skull, dura, small vessels, mucosa; faces cut away."""

import numpy as np
import torch
from torch import Tensor

from training.simulation.anatomy import Head, is_any
from training.simulation.fields import Shape, smooth_field, torch_generator
from training.simulation.tissues import AIR, BONE, BRAIN_TISSUE, CAVITY, CODE


def add_details(head: Head, rng: np.random.Generator) -> Head:
    """A head with the tissues that its label map does not tell apart, each time drawn anew."""
    codes = head.codes.clone()
    generator = torch_generator(rng, codes.device)
    bone = is_any(codes, BONE)  # before it is divided
    _divide_soft_tissue(codes, head, generator, rng)
    _divide_bone(codes, bone, head, generator, rng)
    _fill_sinuses(codes, head, generator, rng)
    _add_dura(codes, head, rng)
    _add_vessels(codes, generator, rng)
    return head.with_codes(codes)


def _set(codes: Tensor, where: Tensor, name: str) -> None:
    codes.masked_fill_(where, CODE[name])


def _divide_soft_tissue(codes: Tensor, head: Head, generator: torch.Generator, rng: np.random.Generator) -> None:
    """From outside in: skin, fat, and under it a thin sheet on the skull above, muscles parted by fat below. In place.

    Around the eyes all is fat.
    """
    soft = is_any(codes, ("soft", "skin"))
    depth, to_bone = head.distance("depth"), head.distance("to_bone")
    slow = smooth_field(head.shape, 34, generator)[0]
    sheets = smooth_field(head.shape, (22, 11, 11), generator)[0].abs_()
    skin, fat = rng.uniform(1.4, 2.6), rng.uniform(2.0, 8.0)

    brain = torch.nonzero(is_any(codes[::4, ::4, ::4], BRAIN_TISSUE))[:, 0] * 4
    low, high = float(brain.min()), float(brain.max())
    # The temporal muscles reach about to the middle of the brain's height, the ones of the neck to its lower third.
    height = torch.arange(head.shape[0], device=codes.device)[:, None, None]
    muscular = height < low + (rng.uniform(0.35, 0.55) + 0.1 * slow) * (high - low)
    _set(codes, soft, "fat")
    _set(codes, soft & ~muscular & (to_bone < 2.0 + 0.5 * slow), "soft")
    under = depth > skin + fat * (1 + 0.4 * slow).clamp(0.3, 2)
    # Fat parts the muscles here and there, not everywhere.
    muscle = soft & muscular & under & (sheets > rng.uniform(0.0, 0.1) * (slow + 0.5).clamp_min(0))
    _set(codes, muscle, "muscle")
    # Glands, tongue, mucous membranes: neither quite muscle nor fat.
    _set(codes, muscle & (slow + 2 * sheets > rng.uniform(1.8, 2.6)), "soft")
    _set(codes, soft & (head.distance("to_eye") < 16) & (depth > skin + 1), "fat")
    _set(codes, soft & (depth < skin), "skin")


def _divide_bone(codes: Tensor, bone: Tensor, head: Head, generator: torch.Generator, rng: np.random.Generator) -> None:
    """Cortical bone outside, spongy bone or marrow where a bone is thick. In place."""
    inner = head.distance("in_bone")
    patchy = smooth_field(head.shape, 12, generator)[0]
    table = rng.uniform(1.5, 2.6)
    spongy = is_any(codes, ("diploe",)) & (inner > 0.8) | bone & (inner + 0.5 * patchy > table)
    _set(codes, bone, "cortical_bone")
    _set(codes, spongy, "diploe")
    # Vertebrae, clivus and jaw hold fatty marrow.
    _set(codes, spongy & ((inner > table + 1.5) | (patchy > rng.uniform(0.8, 2))), "marrow")


def _fill_sinuses(codes: Tensor, head: Head, generator: torch.Generator, rng: np.random.Generator) -> None:
    """Mucosa along the walls of air cavities, thick or none; now and then a cavity full of fluid. In place."""
    cavity = is_any(codes, (CAVITY,))
    deep = head.distance("in_cavity")
    uneven = smooth_field(head.shape, 12, generator)[0]
    # Label maps fill the nose: between its shells is air.
    slits = smooth_field(head.shape, (12, 14, 7), generator)[0].abs_()
    _set(codes, is_any(codes, ("mucosa",)) & (slits < rng.uniform(0.1, 0.35)), CAVITY)
    _set(codes, cavity & (deep < rng.uniform(0, 1.6) * (1 + 0.6 * uneven)), "mucosa")
    if rng.random() < 0.2:
        _set(codes, cavity & (smooth_field(head.shape, 25, generator)[0] > rng.uniform(0.6, 1.6)), "mucus")


def _add_dura(codes: Tensor, head: Head, rng: np.random.Generator) -> None:
    """A sheet along the inside of the skull, and the falx between the halves of the brain. In place."""
    csf = is_any(codes, ("csf",))
    _set(codes, csf & (head.distance("to_bone") < rng.uniform(0.9, 1.9)), "dura")
    side = head.distance("side")
    to_brain = head.distance("to_brain")
    height = torch.arange(head.shape[0], device=codes.device)[:, None, None]
    nuclei = torch.nonzero(is_any(codes, ("thalamus", "caudate")))[:, 0]
    if len(nuclei):
        above = height > float(nuclei.float().median())
        reach = head.distance("to_bone") < rng.uniform(16, 34)
        _set(codes, csf & above & reach & (side.abs() < rng.uniform(0.5, 1.1)) & (to_brain < 8), "dura")


def _add_vessels(codes: Tensor, generator: torch.Generator, rng: np.random.Generator) -> None:
    """Thin tubes through the CSF, and fewer through white matter: where two smooth fields vanish together. In place."""
    shape: Shape = (codes.shape[0], codes.shape[1], codes.shape[2])
    step = rng.uniform(9, 14)
    fields = smooth_field(shape, step, generator, channels=2)
    tube = fields.square_().sum(0).sqrt_()  # about 1 / step of it a mm from the middle of a tube
    _set(codes, is_any(codes, ("csf",)) & (tube < rng.uniform(0.6, 1.3) * 1.5 / step), "vein")
    fields = smooth_field(shape, 11, generator, channels=2)
    tube = fields.square_().sum(0).sqrt_()
    _set(codes, is_any(codes, ("csf",)) & (tube < rng.uniform(0.4, 1.0) * 1.4 / 11), "artery")
    if rng.random() < 0.3:  # widened spaces around vessels
        fields = smooth_field(shape, 8, generator, channels=2)
        tube = fields.square_().sum(0).sqrt_()
        _set(codes, is_any(codes, ("white_matter", "putamen")) & (tube < rng.uniform(0.02, 0.07)), "csf")


def face_cut(head: Head, rng: np.random.Generator) -> Tensor:
    """Where a defacing tool left something: everything but a random wedge in front of and below the brain. Bool."""
    to_brain = head.distance("to_brain")
    brain = torch.nonzero(to_brain[::2, ::2, ::2] < 0) * 2
    low, high = brain.amin(0).tolist(), brain.amax(0).tolist()
    z = torch.arange(head.shape[0], device=to_brain.device)[:, None, None]
    y = torch.arange(head.shape[1], device=to_brain.device)[None, :, None]
    # A line in the sagittal plane, from above the eyes backwards and down; in mm, from the brain's front edge.
    start_z = low[0] + rng.uniform(0.25, 0.55) * (high[0] - low[0])
    slope = rng.uniform(0.5, 1.6)
    line = high[1] + rng.uniform(-4, 10) - slope * (start_z - z).clamp_min(0)
    forward = (y > line) & (z < start_z)
    return ~(forward & (to_brain > rng.uniform(2, 8)))


def stripped_brain(head: Head, rng: np.random.Generator) -> Tensor:
    """A brain mask as a stripping tool leaves it: brain with some CSF around it, the edge more or less ragged. Bool."""
    generator = torch_generator(rng, head.codes.device)
    ragged = smooth_field(head.shape, float(rng.uniform(4, 12)), generator)[0] * float(rng.uniform(0.2, 1.4))
    to_brain = head.distance("to_brain")
    inside = to_brain < rng.uniform(-0.5, 6.0) + ragged
    if rng.random() < 0.8:  # most tools stop at the skull
        outside = is_any(head.codes, (*BONE, AIR, CAVITY, "skin", "fat", "muscle", "soft", "mucosa", "eye"))
        inside &= ~outside | (to_brain < 0)
    if rng.random() < 0.15:  # a tool that failed in places: a bite out of the brain, or a lump of skull left
        lumps = smooth_field(head.shape, 22, generator)[0]
        inside |= (lumps > 1.6) & (to_brain < 14)
        inside &= ~((lumps < -1.9) & (to_brain > -6))
    return inside & ~is_any(head.codes, ("eye", "lens", "sclera"))
