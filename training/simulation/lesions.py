"""Random disease: multiple sclerosis, small vessels, strokes, haemorrhages, tumors, cavities after surgery, calcifications.

A lesion is a soft weight map in [0, 1] over a box, which mixes a tissue into what lies below. Lesions are applied in order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.regions import Region
from training.simulation.anatomy import Head, Mass, is_any, is_brain
from training.simulation.fields import Shape, smooth_field, torch_generator
from training.simulation.tissues import BONE, BRAIN_TISSUE, CODE, WHITE

Box = tuple[slice, slice, slice]
INTRACRANIAL = (*BRAIN_TISSUE, "ventricle", "choroid", "csf", "dura", "vein", "artery")


@dataclass(frozen=True)
class Lesion:
    """`weight`: float32 in [0, 1] over `box`; `tissue`: the tissue mixed in; `region`: None for what is no lesion."""

    box: Box
    weight: Tensor
    tissue: str
    region: Region | None = Region.LESION
    kind: str = ""
    """What it is part of: a name of `KINDS` or `MASS_KINDS`; '' where nobody said."""


class Field:
    """A head, its random generators, and what every kind of lesion asks of them."""

    def __init__(self, head: Head, rng: np.random.Generator) -> None:
        self.head, self.rng = head, rng
        self.generator = torch_generator(rng, head.codes.device)

    def places(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Voxels of these tissues, every third one along each axis, (n, 3)."""
        found: NDArray[np.int64] = (is_any(self.head.codes[::3, ::3, ::3], names).nonzero() * 3).cpu().numpy()
        return found

    def near(self, places: NDArray[np.int64], name: str) -> NDArray[np.float32]:
        """One of the head's distances at some places, mm."""
        found: NDArray[np.float32] = self.head.distance(name).cpu().numpy()[tuple(places.T)]
        return found

    def all(self) -> Box:
        """The box that is the whole volume."""
        depth, height, width = self.head.shape
        return slice(0, depth), slice(0, height), slice(0, width)

    def box(self, centre: NDArray[np.floating], reach: NDArray[np.floating]) -> Box:
        """The box of that reach (mm) around a place, cut at the volume's ends."""
        low = np.clip(np.floor(centre - reach).astype(int), 0, np.array(self.head.shape) - 2)
        high = np.clip(np.ceil(centre + reach).astype(int) + 1, low + 2, self.head.shape)
        return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])

    def bumps(self, box: Box, step: float) -> Tensor:
        """A smooth field over a box, deviation about 1."""
        shape: Shape = (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
        return smooth_field(shape, step, self.generator)[0]

    def within(self, box: Box, names: tuple[str, ...]) -> Tensor:
        """Where in a box one of these tissues is, as 0 and 1."""
        return is_any(self.head.codes[box], names).float()

    def ball(
        self, centre: NDArray[np.floating], radii: NDArray[np.floating], bumpiness: float = 0.3
    ) -> tuple[Box, Tensor]:
        """A bumpy ellipsoid with a soft surface: its box, and weights there."""
        box = self.box(centre, radii * (1.3 + bumpiness) + 2)
        squares: list[Tensor] = []
        for axis, (part, middle, radius) in enumerate(zip(box, centre, radii, strict=True)):
            line = ((torch.arange(part.start, part.stop, device=self.head.codes.device) - middle) / radius) ** 2
            squares.append(line.view([-1 if axis == other else 1 for other in range(3)]))
        distance = (squares[0] + squares[1] + squares[2]).sqrt()
        bumps = self.bumps(box, max(3.0, 0.7 * float(radii.mean())))
        return box, soft((1 + bumpiness * bumps - distance) * float(radii.mean()))


def soft(depth: Tensor, width: float = 1.2) -> Tensor:
    """Weights from a signed depth in mm: 0 outside, 1 inside, a ramp of `width` mm between."""
    return (depth / width + 0.5).clamp(0, 1)


def multiple_sclerosis(field: Field) -> list[Lesion]:
    """Up to 45 foci of white matter, most of them near the ventricles, some at the cortex; a few dark on T1, a few fresh."""
    rng = field.rng
    places = field.places((*WHITE, "grey_matter") if rng.random() < 0.3 else WHITE)
    if len(places) == 0:
        return []
    near = np.exp(-field.near(places, "to_ventricle") / rng.uniform(3, 15)) + 0.03
    count = int(rng.integers(1, 12) if rng.random() < 0.6 else rng.integers(12, 45))
    usual = float(rng.uniform(0.35, 0.9))
    found = []
    for place in places[rng.choice(len(places), count, p=near / near.sum())]:
        radii = np.clip(rng.gamma(3.0, 0.9), 1.1, 8) * rng.uniform(0.6, 1.6, 3)
        box, weight = field.ball(place, radii)
        weight *= field.within(box, BRAIN_TISSUE) * float(np.clip(usual * rng.uniform(0.6, 1.4), 0.15, 1))
        found.append(Lesion(box, weight, "ms_lesion"))
        kind = rng.random()
        if kind < 0.15:  # lost tissue: a hole in the middle
            found.append(Lesion(box, weight * float(rng.uniform(0.2, 0.6)), "cyst"))
        elif kind < 0.22:  # fresh: takes up contrast agent
            found.append(Lesion(box, weight * float(rng.uniform(0.3, 0.9)), "enhancing"))
    return found


def small_vessels(field: Field) -> list[Lesion]:
    """Old white matter: caps and bands along the ventricles, foci that run together, small holes in the nuclei."""
    rng = field.rng
    whole = field.all()
    to_ventricle = field.head.distance("to_ventricle")
    edge = float(rng.uniform(-1, 7)) * (1 + 0.6 * field.bumps(whole, 18)) + 1.5 * field.bumps(whole, 6)
    strength = float(rng.uniform(0.4, 1.0))
    white = field.within(whole, WHITE)
    bands = soft(edge - to_ventricle, 2.5) * white * strength
    found = [Lesion(whole, bands, "leukoaraiosis")]
    if rng.random() < 0.6:
        patches = soft((field.bumps(whole, float(rng.uniform(5, 10))) - float(rng.uniform(1.6, 2.6))) * 4, 2.0)
        below = soft(field.head.distance("below_surface") - 5, 2.0)
        found.append(Lesion(whole, patches * white * below * strength, "leukoaraiosis"))
    places = field.places(("putamen", "thalamus", "caudate", "white_matter"))
    for place in places[rng.integers(0, len(places), rng.integers(0, 5))] if len(places) else []:
        radii = rng.uniform(1.5, 4.5) * rng.uniform(0.7, 1.4, 3)
        box, rim = field.ball(place, radii * 1.5)
        inside = field.within(box, BRAIN_TISSUE)
        found.append(Lesion(box, rim * inside * 0.7, "gliosis"))
        hole, weight = field.ball(place, radii)
        found.append(Lesion(hole, weight * field.within(hole, BRAIN_TISSUE), "cyst"))
    return found


def stroke(field: Field) -> list[Lesion]:
    """A territory with its cortex: fresh, some weeks old, or an old one that has become fluid with a scar around."""
    rng = field.rng
    places = field.places((*WHITE, "grey_matter", "cerebellar_cortex"))
    if len(places) == 0:
        return []
    centre = places[rng.integers(len(places))]
    radii = rng.uniform(6, 30) * rng.uniform(0.6, 1.5, 3)
    box, weight = field.ball(centre, radii, bumpiness=0.45)
    # One artery feeds one half of the brain.
    side = field.head.distance("side")
    own = side[tuple(centre)] if abs(float(side[tuple(centre)])) > 1 else side.new_tensor(1.0)
    weight *= soft(side[box] * torch.sign(own)) * field.within(box, BRAIN_TISSUE)
    stage = rng.choice(["fresh", "weeks", "old"], p=[0.4, 0.25, 0.35])
    if stage != "old":
        tissue = "infarct" if stage == "fresh" else "subacute_infarct"
        found = [Lesion(box, weight * float(rng.uniform(0.4, 1)), tissue)]
        if rng.random() < 0.2:  # blood in it
            patches = soft((field.bumps(box, 6) - 0.8) * 4)
            found.append(Lesion(box, weight * patches, str(rng.choice(["acute_clot", "early_clot"]))))
        return found
    _, core = field.ball(centre, radii * 0.8, bumpiness=0.45)
    core_box = field.box(centre, radii * 0.8 * 1.75 + 2)
    core = core * soft(side[core_box] * torch.sign(own)) * field.within(core_box, BRAIN_TISSUE)
    return [Lesion(box, weight * 0.9, "gliosis"), Lesion(core_box, core * float(rng.uniform(0.7, 1)), "cyst")]


def haemorrhage(field: Field) -> list[Lesion]:
    """Blood in the brain, of some age, with oedema around it."""
    rng = field.rng
    places = field.places((*WHITE, "putamen", "thalamus", "pallidum"))
    if len(places) == 0:
        return []
    centre = places[rng.integers(len(places))]
    radii = rng.uniform(2.5, 22) * rng.uniform(0.7, 1.3, 3)
    stage = rng.choice(["acute_clot", "early_clot", "late_clot", "cyst"], p=[0.4, 0.2, 0.25, 0.15])
    around, oedema = field.ball(centre, radii * rng.uniform(1.2, 1.7), bumpiness=0.4)
    found = []
    if stage != "cyst":
        found.append(Lesion(around, oedema * field.within(around, WHITE) * float(rng.uniform(0.3, 1)), "oedema"))
    box, clot = field.ball(centre, radii)
    clot = clot * field.within(box, INTRACRANIAL)
    if stage in ("late_clot", "cyst"):
        found.append(Lesion(box, clot, "haemosiderin"))
        box, clot = field.ball(centre, radii * 0.8)
        clot = clot * field.within(box, INTRACRANIAL)
    found.append(Lesion(box, clot, str(stage)))
    return found


def subdural(field: Field) -> list[Lesion]:
    """A crescent of blood under the skull, on one side, of some age."""
    rng, head = field.rng, field.head
    to_bone, side = head.distance("to_bone"), head.distance("side")
    places = field.places(("csf", "dura", "grey_matter"))
    distance = field.near(places, "to_bone") if len(places) else np.empty(0)
    high = places[:, 0] > np.median(places[:, 0]) if len(places) else np.empty(0, bool)
    outer = places[high & (distance < 4) & (np.abs(field.near(places, "side")) > 12)] if len(places) else places
    if len(outer) == 0:
        return []
    centre, reach = outer[rng.integers(len(outer))], rng.uniform(25, 70)
    box = field.box(centre, np.full(3, reach))
    axes = [torch.arange(part.start, part.stop, device=to_bone.device) - int(c) for part, c in zip(box, centre)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    near = 1 - (z**2 + y**2 + x**2).sqrt() / float(reach)
    thickness = float(rng.uniform(3, 14)) * near.clamp_min(0) ** 0.5 * (1 + 0.2 * field.bumps(box, 15))
    # Where a head's own CSF is narrow, the crescent takes the place of the cortex it would push in.
    weight = soft(thickness - to_bone[box]) * field.within(box, INTRACRANIAL)
    weight *= soft(side[box] * float(np.sign(side[tuple(centre)].item())))
    return [Lesion(box, weight, str(rng.choice(["acute_clot", "early_clot", "late_clot", "mucus"])))]


def leaves(field: Field) -> list[Lesion]:
    """Fluid between the leaves of the cerebellum, arcs around its middle, thinner than a label map's voxels; no lesion."""
    cortex = field.head.within("cerebellar_cortex")
    stem = field.places(("cerebellar_white",))
    where = cortex[::2, ::2, ::2].nonzero() * 2
    if len(where) == 0 or len(stem) == 0:
        return []
    low, high = where.amin(0).tolist(), (where.amax(0) + 2).tolist()
    size = field.head.shape
    box: Box = (
        slice(low[0], min(high[0], size[0])),
        slice(low[1], min(high[1], size[1])),
        slice(low[2], min(high[2], size[2])),
    )
    if min(part.stop - part.start for part in box) < 2:
        return []
    centre = stem.mean(0) + field.rng.uniform([2, 4, -2], [8, 12, 2])
    squares = [
        (torch.arange(part.start, part.stop, device=cortex.device) - float(middle)).square().view(shape)
        for part, middle, shape in zip(box, centre, [(-1, 1, 1), (1, -1, 1), (1, 1, -1)], strict=True)
    ]
    radius = (1.6 * squares[0] + squares[1] + squares[2]).sqrt()
    period, width = float(field.rng.uniform(3.5, 6)), float(field.rng.uniform(0.2, 0.9))
    phase = radius / period + 0.6 * field.bumps(box, 14)
    off = (phase - phase.round()).abs() * period  # mm from the middle of a cleft
    weight = soft(width / 2 - off) * cortex[box] * float(field.rng.uniform(0.3, 0.9))
    return [Lesion(box, weight, "csf", None)]


def calcifications(field: Field) -> list[Lesion]:
    """Harmless lime: choroid plexus, pallidum, pineal gland, falx. Seen on CT, hardly on MR; no lesion."""
    rng = field.rng
    found = []
    for names, chance in ((("choroid",), 0.6), (("pallidum",), 0.25), (("dura",), 0.2)):
        places = field.places(names)
        if len(places) == 0 or rng.random() > chance:
            continue
        for place in places[rng.integers(0, len(places), rng.integers(1, 5))]:
            box, weight = field.ball(place, rng.uniform(1.0, 3.0) * rng.uniform(0.7, 1.4, 3))
            weight = weight * field.within(box, names) * float(rng.uniform(0.3, 1))
            found.append(Lesion(box, weight, "calcification", None))
    return found


# --- masses: they push the brain aside, so their place is drawn before the head is deformed ---------------------------


@dataclass(frozen=True)
class MassPlan:
    """A mass that will grow: what kind, and where and how large in the head that is deformed."""

    kind: str
    mass: Mass


MASS_KINDS = {"high_grade": 0.45, "low_grade": 0.2, "meningioma": 0.15, "cavity": 0.2}
"""Kinds of mass and how often each is drawn; a cavity after surgery pushes nothing."""


def plan_mass(head: Head, kinds: dict[str, float], rng: np.random.Generator) -> MassPlan:
    """Draw the kind, the place and the size of a mass."""
    shares = np.array(list(kinds.values()), float)
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    places = (is_brain(head.codes[::3, ::3, ::3]).nonzero() * 3).cpu().numpy()
    to_bone = head.distance("to_bone").cpu().numpy()[tuple(places.T)]
    outer = places[to_bone < (5 if kind == "meningioma" else 12)]
    if kind in ("meningioma", "cavity") and len(outer):
        places = outer
    centre = places[rng.integers(len(places))].astype(float)
    smallest, largest = {"high_grade": (7, 26), "low_grade": (6, 24), "meningioma": (5, 22), "cavity": (7, 24)}[kind]
    growth = {"cavity": 0.0, "low_grade": rng.uniform(0, 0.4), "meningioma": rng.uniform(0.4, 0.9)}
    return MassPlan(kind, Mass(centre, float(rng.uniform(smallest, largest)), growth.get(kind, rng.uniform(0.1, 0.8))))


def grow_mass(field: Field, plan: MassPlan) -> list[Lesion]:
    """The lesions of a planned mass in the deformed head, whose `to_mass` says where it is."""
    rng, head = field.rng, field.head
    distance = head.distance("to_mass")
    radius = plan.mass.radius
    near = (distance < 2.2 * radius + 4).nonzero()
    if len(near) == 0:
        return []
    low, high = near.amin(0).tolist(), near.amax(0).tolist()
    box: Box = (
        slice(low[0], high[0] + 1),
        slice(low[1], high[1] + 1),
        slice(low[2], high[2] + 1),
    )
    if min(part.stop - part.start for part in box) < 2:
        return []
    lumps, fine = field.bumps(box, max(4.0, 0.8 * radius)), field.bumps(box, 4)
    depth = radius * (1 + 0.22 * lumps) + 0.4 * fine - distance[box]  # mm below the mass's surface
    build = {"high_grade": _high_grade, "low_grade": _low_grade, "meningioma": _meningioma, "cavity": _cavity}
    return build[plan.kind](field, box, depth, radius, rng)


def _oedema(field: Field, box: Box, depth: Tensor, radius: float, rng: np.random.Generator) -> Lesion:
    """Water that spreads through white matter in fingers, little through grey."""
    reach = float(rng.uniform(0.2, 1.0)) * radius
    fingers = soft(depth + reach * (1 + 0.5 * field.bumps(box, 11)), 2.5)
    ways = field.within(box, WHITE) + 0.12 * field.within(box, BRAIN_TISSUE)
    return Lesion(box, fingers * ways.clamp_max(1) * float(rng.uniform(0.5, 1)), "oedema")


def _high_grade(field: Field, box: Box, depth: Tensor, radius: float, rng: np.random.Generator) -> list[Lesion]:
    # It fills the sulci that it grows over, but leaves those at its edge.
    inside = field.within(box, (*BRAIN_TISSUE, "choroid"))
    inside = torch.maximum(inside, field.within(box, INTRACRANIAL) * soft(depth - 2.5))
    found = [_oedema(field, box, depth, radius, rng)] if rng.random() < 0.85 else []
    found.append(Lesion(box, soft(depth) * inside, "tumor", Region.TUMOR))
    start = float(rng.uniform(0, 0.25)) * radius
    rim = float(rng.uniform(1.5, 5.0)) * (1 + 0.6 * field.bumps(box, 6)).clamp(0.1, 2)
    ring = soft(depth - start) * inside
    found.append(Lesion(box, ring, "enhancing", Region.TUMOR))
    if rng.random() < 0.75:
        core = soft(depth - start - rim) * inside
        found.append(Lesion(box, core, "cyst" if rng.random() < 0.2 else "necrosis", Region.TUMOR))
    if rng.random() < 0.25:
        spots = soft((field.bumps(box, 5) - 1.0) * 3) * soft(depth - start) * inside
        clot = str(rng.choice(["early_clot", "acute_clot", "haemosiderin"]))
        found.append(Lesion(box, spots, clot, Region.TUMOR))
    return found


def _low_grade(field: Field, box: Box, depth: Tensor, radius: float, rng: np.random.Generator) -> list[Lesion]:
    inside = field.within(box, BRAIN_TISSUE)
    found = [Lesion(box, soft(depth, float(rng.uniform(1.2, 5))) * inside, "glioma", Region.TUMOR)]
    if rng.random() < 0.3:
        cysts = soft((field.bumps(box, 7) - 0.9) * 4) * soft(depth - 2) * inside
        found.append(Lesion(box, cysts, "cyst", Region.TUMOR))
    if rng.random() < 0.15:
        spots = soft((field.bumps(box, 4) - 1.4) * 3) * soft(depth - 2) * inside
        found.append(Lesion(box, spots, "calcification", Region.TUMOR))
    return found


def _meningioma(field: Field, box: Box, depth: Tensor, radius: float, rng: np.random.Generator) -> list[Lesion]:
    inside = field.within(box, INTRACRANIAL)
    found = [_oedema(field, box, depth, radius, rng)] if rng.random() < 0.4 else []
    cleft = soft(depth + 1.5) * inside
    found.append(Lesion(box, cleft, "csf", None))
    found.append(Lesion(box, soft(depth) * inside, "meningioma", Region.TUMOR))
    if rng.random() < 0.2:
        spots = soft((field.bumps(box, 4) - 1.2) * 3) * soft(depth - 1) * inside
        found.append(Lesion(box, spots, "calcification", Region.TUMOR))
    return found


def _cavity(field: Field, box: Box, depth: Tensor, radius: float, rng: np.random.Generator) -> list[Lesion]:
    """Fluid where a tumor was, a scar around it, now and then a rest that takes up contrast agent, and a sawn skull."""
    inside = field.within(box, INTRACRANIAL)
    brain = field.within(box, BRAIN_TISSUE)
    found = [Lesion(box, soft(depth + float(rng.uniform(1, 6)), 3.0) * brain * float(rng.uniform(0.4, 1)), "gliosis")]
    if rng.random() < 0.4:
        rim = soft(depth + 1.5) * soft((field.bumps(box, 8) - float(rng.uniform(-0.3, 1.2))) * 3) * brain
        found.append(Lesion(box, rim, str(rng.choice(["enhancing", "haemosiderin"])), Region.TUMOR))
    found.append(Lesion(box, soft(depth) * inside, "cyst"))
    saw = soft(0.9 - (depth + float(rng.uniform(0.0, 0.5)) * radius).abs(), 1.0) * field.within(box, BONE)
    found.append(Lesion(box, saw, "soft", None))
    return found


def metastases(field: Field) -> list[Lesion]:
    """Several round masses at the border of grey and white matter, too small to push much."""
    rng = field.rng
    places = field.places(("grey_matter", "cerebellar_cortex", "white_matter"))
    found = []
    for place in places[rng.integers(0, len(places), rng.integers(2, 8))] if len(places) else []:
        radius = rng.uniform(2, 10)
        radii = radius * rng.uniform(0.8, 1.2, 3)
        around, oedema = field.ball(place, radii * rng.uniform(1.3, 2.4), 0.4)
        found.append(Lesion(around, oedema * field.within(around, WHITE) * float(rng.uniform(0.3, 1)), "oedema"))
        box, weight = field.ball(place, radii, 0.15)
        inside = field.within(box, BRAIN_TISSUE)
        found.append(Lesion(box, weight * inside, "enhancing", Region.TUMOR))
        if radius > 5 and rng.random() < 0.6:
            core, hole = field.ball(place, radii * 0.55, 0.3)
            found.append(Lesion(core, hole * field.within(core, BRAIN_TISSUE), "necrosis", Region.TUMOR))
    return found


KINDS: dict[str, Callable[[Field], list[Lesion]]] = {
    "multiple_sclerosis": multiple_sclerosis,
    "small_vessels": small_vessels,
    "stroke": stroke,
    "haemorrhage": haemorrhage,
    "subdural": subdural,
    "metastases": metastases,
    "calcifications": calcifications,
}
"""Everything but masses, by name; applied in this order."""


def blend(volume: Tensor, lesions: list[Lesion], value: Callable[[str, Box], Tensor]) -> None:
    """Mix each lesion into a volume in place; `value` gives a tissue's values in a box."""
    for lesion in lesions:
        part = volume[lesion.box]
        part.lerp_(value(lesion.tissue, lesion.box), lesion.weight)


def codes_with(codes: Tensor, lesions: list[Lesion]) -> Tensor:
    """The tissue that makes up most of each voxel."""
    codes = codes.clone()
    for lesion in lesions:
        codes[lesion.box].masked_fill_(lesion.weight > 0.5, CODE[lesion.tissue])
    return codes


def mark(region: Tensor, lesions: list[Lesion]) -> None:
    """Write the regions of lesions into a map of regions, where a lesion is at least a third of a voxel. In place."""
    for lesion in lesions:
        if lesion.region is not None:
            part = region[lesion.box]
            # Blood under the skull and meningiomas lie where no brain was.
            part.masked_fill_((lesion.weight > 0.33) & (part != Region.BONE), int(lesion.region))


def parts_of(kind: str, lesions: list[Lesion]) -> list[Lesion]:
    """The lesions, each saying what it is part of."""
    return [replace(lesion, kind=kind) for lesion in lesions]
