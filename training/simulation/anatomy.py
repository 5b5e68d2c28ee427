"""A head as a map of tissues, with distances that say where fat, skull and the edge of a stripped brain are; deformation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from training.config import ConfigError, Settings
from training.simulation.fields import Shape, smooth_field, torch_generator
from training.simulation.labels import LEFT, RIGHT, tissue_codes
from training.simulation.tissues import AIR, BONE, BRAIN, BRAIN_TISSUE, CAVITY, CODE

LARGEST_DISTANCE = 40.0
"""mm; distances beyond are cut off."""
STEP = 2
"""The distances are kept on a grid of so many mm."""
DISTANCES = ("depth", "to_brain", "to_eye", "to_ventricle", "to_bone", "in_bone", "in_cavity", "side", "below_surface")


@dataclass(frozen=True)
class Head:
    """`codes`: tissue codes, uint8, (z, y, x), RAS, 1 mm. `distances`: (channels, z/2, y/2, x/2), float32, mm, on a grid of
    2 mm whose corners are those of `codes`. By name (`distance`):

    `depth` to the air around the head; `to_brain` to the brain with its sulci closed, negative inside; `to_eye`;
    `to_ventricle`; `to_bone`; `in_bone` within bone to its surface; `in_cavity` within air cavities to their wall; `side`
    to the left half of the brain minus to the right; `below_surface` within the brain to CSF, ventricles left out;
    `to_mass`, once deformed, to the centre of a mass as it was before it grew.
    """

    codes: Tensor
    distances: Tensor
    names: tuple[str, ...] = DISTANCES
    _full: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """Distances that were asked for before, on the full grid."""

    @property
    def shape(self) -> Shape:
        """(z, y, x)."""
        depth, height, width = self.codes.shape
        return depth, height, width

    def distance(self, name: str) -> Tensor:
        """One of the distances on the full grid."""
        if name not in self._full:
            coarse = self.distances[self.names.index(name)][None, None]
            fine = functional.interpolate(coarse, size=self.shape, mode="trilinear", align_corners=True)
            self._full[name] = fine[0, 0]
        return self._full[name]

    def with_codes(self, codes: Tensor) -> "Head":
        """The same head with other tissues."""
        return Head(codes, self.distances, self.names, self._full)

    def within(self, *names: str) -> Tensor:
        """Where one of these tissues is, bool."""
        return is_any(self.codes, names)

    def to(self, device: torch.device | str) -> "Head":
        """The same on another device."""
        return Head(self.codes.to(device), self.distances.to(device), self.names)


def is_any(codes: Tensor, names: tuple[str, ...]) -> Tensor:
    """Where a map of codes has one of these tissues, bool."""
    if len(names) <= 4:  # a few comparisons of bytes are faster than a table
        found = codes == CODE[names[0]]
        for name in names[1:]:
            found |= codes == CODE[name]
        return found
    table = torch.zeros(len(CODE), dtype=torch.bool, device=codes.device)
    table[[CODE[name] for name in names]] = True
    return table[codes.int()]


def is_brain(codes: Tensor) -> Tensor:
    """Brain tissue with its ventricles, without the CSF around it."""
    return is_any(codes, BRAIN)


def read_labels(path: Path) -> NDArray[np.int32]:
    """Read a label map of 1 mm voxels as (z, y, x) in RAS."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ConfigError(f"{path.name} cannot be read as a label map.") from error
    if not np.allclose(image.GetSpacing(), 1.0, atol=1e-3):
        raise ConfigError(f"{path.name} has voxels of {image.GetSpacing()} mm; label maps must be 1 mm.")
    array = sitk.GetArrayFromImage(sitk.DICOMOrient(image, "RAS"))
    if not np.isfinite(array).all() or np.abs(array - np.rint(array)).max() > 1e-3:
        raise ConfigError(f"{path.name} is no label map: its values are not whole numbers.")
    return np.rint(array).astype(np.int32)


def _nodes(volume: NDArray[np.generic]) -> tuple[int, int, int]:
    depth, height, width = (max(2, (size + 1) // STEP) for size in volume.shape)
    return depth, height, width


def _coarse(volume: NDArray[np.generic], mode: str) -> Tensor:
    """A volume on the grid of the distances."""
    fine = torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None, None]
    align = None if mode == "area" else True
    return functional.interpolate(fine, size=_nodes(volume), mode=mode, align_corners=align)[0, 0]


def _outside(mask: NDArray[np.bool_]) -> Tensor:
    """Distance in mm to `mask`, found on the coarse grid."""
    coarse = _coarse(mask, "trilinear").numpy() > 0.49
    if not coarse.any():
        return torch.full(_nodes(mask), LARGEST_DISTANCE)
    found = ndimage.distance_transform_edt(~coarse) * STEP
    return torch.from_numpy(np.minimum(found, LARGEST_DISTANCE).astype(np.float32))


def _inside(mask: NDArray[np.bool_]) -> Tensor:
    """Distance in mm within thin `mask` to its surface, found on the full grid."""
    fine = np.zeros(mask.shape, np.float32)
    if mask.any():
        corners = [np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        box = tuple(slice(max(0, int(line[0]) - 1), int(line[-1]) + 2) for line in corners)
        fine[box] = np.minimum(ndimage.distance_transform_edt(mask[box]), LARGEST_DISTANCE)
    return _coarse(fine, "trilinear")


def _with_sulci(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The brain with its sulci closed up to about 12 mm, found on a 4 mm grid."""
    coarse = np.pad(brain[::4, ::4, ::4], 3)
    closed = ndimage.binary_closing(coarse, iterations=2)[3:-3, 3:-3, 3:-3]
    fine = closed.repeat(4, 0).repeat(4, 1).repeat(4, 2)[tuple(slice(0, n) for n in brain.shape)]
    return brain | ndimage.binary_erosion(fine, iterations=2)


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def _name_air(codes: NDArray[np.uint8]) -> None:
    """Tell air within the head from air around it, and fill the pits that a segmentation leaves. In place."""
    empty = codes == CODE[AIR]
    parts, count = ndimage.label(np.pad(empty, 1, constant_values=True))
    parts = parts[1:-1, 1:-1, 1:-1]
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    around = int(np.argmax(sizes[1:])) + 1
    within = empty & (parts != around)
    pits = within & (sizes[parts] < 12)
    # A cavity that opens to the outside by a nostril or an ear is one too: closed air within 8 mm of walls.
    head = ~empty | within
    closed = ndimage.binary_closing(head[::2, ::2, ::2], iterations=5, border_value=0)
    fine = closed.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(0, n) for n in codes.shape)]
    deep = ndimage.binary_erosion(fine, iterations=5)
    codes[within | empty & deep] = CODE[CAVITY]
    if pits.any():
        nearest = ndimage.distance_transform_edt(codes <= CODE[CAVITY], return_distances=False, return_indices=True)
        codes[pits] = codes[tuple(nearest)][pits]


def _add_eyes(codes: NDArray[np.uint8]) -> None:
    """Lens and wall of each eye, and its nerve back toward the middle; label maps have the balls alone. In place."""
    parts, count = ndimage.label(codes == CODE["eye"])
    brain = np.argwhere(codes == CODE["ventral_dc"])
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        ball = parts[place] == number
        if ball.sum() < 2000 or count > 8:
            continue
        codes[place][ball & ~ndimage.binary_erosion(ball)] = CODE["sclera"]
        centre = np.argwhere(ball).mean(0) + [part.start for part in place]
        z, y, x = np.ogrid[tuple(slice(0, n) for n in codes.shape)]
        lens = ((z - centre[0]) / 4.5) ** 2 + ((y - centre[1] - 8) / 2.2) ** 2 + ((x - centre[2]) / 4.5) ** 2 < 1
        codes[lens & (codes == CODE["eye"])] = CODE["lens"]
        if len(brain):
            # The chiasm lies about 15 mm in front of the midbrain's front edge.
            aim = np.array([np.median(brain[:, 0]) - 6, np.percentile(brain[:, 1], 95) + 12, np.median(brain[:, 2])])
            aim = aim + 0.12 * (centre - aim)
            way = np.linspace(centre + 0.3 * (aim - centre), aim, 80)
            path = np.ones(codes.shape, bool)
            path[tuple(np.clip(np.rint(way).astype(int), 0, np.array(codes.shape) - 1).T)] = False
            box = tuple(
                slice(max(0, int(low) - 5), int(high) + 6) for low, high in zip(way.min(0), way.max(0), strict=True)
            )
            distance = ndimage.distance_transform_edt(path[box])
            around = np.isin(codes[box], [CODE["soft"], CODE["muscle"]])
            codes[box][around & (distance < 2.9)] = CODE["csf"]
            codes[box][around & (distance < 1.9)] = CODE["white_matter"]


def head_from_labels(labels: NDArray[np.integer], margin: int = 12, extra: Mapping[int, str] | None = None) -> Head:
    """Crop a label map to the head, name its tissues and measure its distances. Some ten seconds for a whole head."""
    codes = tissue_codes(labels, extra)
    whole = _largest_part(codes != CODE[AIR])
    if not whole.any():
        raise ConfigError("The label map is empty.")
    lines = [np.flatnonzero(whole.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(max(0, int(line[0]) - margin), int(line[-1]) + 1 + margin) for line in lines)
    labels = labels[box]
    codes = np.where(whole[box], codes[box], np.uint8(CODE[AIR]))
    brain = np.isin(codes, [CODE[name] for name in BRAIN])
    if not brain.any():
        raise ConfigError("The label map has no brain.")
    _name_air(codes)
    _add_eyes(codes)
    bone = np.isin(codes, [CODE[name] for name in BONE])
    tissue = np.isin(codes, [CODE[name] for name in (*BRAIN_TISSUE, "ventricle", "choroid")])
    left, right = (np.isin(labels, list(group)) for group in (LEFT, RIGHT))
    distances = {
        "depth": _outside(codes == CODE[AIR]),
        "to_brain": _outside(_with_sulci(brain)) - _outside(~brain),
        "to_eye": _outside(np.isin(codes, [CODE["eye"], CODE["lens"], CODE["sclera"]])),
        "to_ventricle": _outside(codes == CODE["ventricle"]),
        "to_bone": _outside(bone),
        "in_bone": _inside(bone),
        "in_cavity": _inside(codes == CODE[CAVITY]),
        "side": _outside(left) - _outside(right),
        "below_surface": _inside(tissue),
    }
    return Head(torch.from_numpy(codes), torch.stack([distances[name] for name in DISTANCES]))


class Deformation(Settings):
    """Ranges of the random deformation, and of the field of view."""

    rotation: float = 12.0
    """Twice the deviation of the angle about each axis, in degrees."""
    scale: float = 0.1
    """Largest relative change of size, along each axis."""
    shear: float = 0.05
    """Largest shear."""
    elastic: float = 2.5
    """Deviation of the smooth displacement in mm."""
    elastic_step: float = 36.0
    """mm between the nodes of the displacement."""
    partial: float = 0.15
    """Fraction of cases whose field of view holds only a part of the brain: half heads, a few slices."""


@dataclass(frozen=True)
class Mass:
    """A ball that pushes the brain aside: `centre` in voxels of the head that is deformed, `radius` in mm; of its volume the
    part `growth` was not there before."""

    centre: NDArray[np.float64]
    radius: float
    growth: float


def _random_affine(limits: Deformation, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random 3x3 matrix in (z, y, x): rotation, scale, shear, and a left-right flip half of the time."""
    matrix = np.diag(1 + rng.uniform(-limits.scale, limits.scale, 3))
    matrix += rng.uniform(-limits.shear, limits.shear, (3, 3)) * (1 - np.eye(3))
    for axes, angle in zip([(0, 1), (0, 2), (1, 2)], np.deg2rad(rng.normal(0, limits.rotation / 2, 3)), strict=True):
        turn = np.eye(3)
        turn[np.ix_(axes, axes)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = matrix @ turn
    if rng.random() < 0.5:
        matrix[:, 2] *= -1
    return matrix


def _field_of_view(
    limits: Deformation,
    centre: NDArray[np.float64],
    extent: NDArray[np.float64],
    lowest: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high corner in mm: the whole brain with a random margin and a random length of neck, or a part of it.

    Not below `lowest`, where the label map ends: a scan's end cuts the neck, it shows no end of it.
    """
    below, above = rng.uniform(2, 75), rng.uniform(12, 36)
    front, back, side = rng.uniform(18, 60), rng.uniform(10, 30), rng.uniform(14, 30)
    low = centre - extent / 2 * 1.05 - np.array([below, back, side])
    high = centre + extent / 2 * 1.05 + np.array([above, front, side])
    low[0] = min(max(low[0], lowest), centre[0] - extent[0] / 2)
    if rng.random() < limits.partial:
        axis = int(rng.choice(3, p=[0.5, 0.2, 0.3]))
        # Cut so far that the brain keeps between a third and four fifths of its length there.
        kept = rng.uniform(0.33, 0.8) * extent[axis]
        start = rng.choice([0.0, 1.0, rng.random()], p=[0.4, 0.4, 0.2]) * (extent[axis] - kept)
        edge = centre[axis] - extent[axis] / 2 + start
        if start > 0:
            low[axis] = edge
        if start < extent[axis] - kept:
            high[axis] = edge + kept
    return low, high


def _pushed_aside(places: Tensor, mass: Mass, to_brain: Tensor) -> tuple[Tensor, Tensor]:
    """Where tissue at `places` (..., 3) was before the mass grew, and the distance to the mass's centre.

    A volume does not change by being pushed: r0^3 = r^3 - growth * radius^3. The skull stays: the shift fades out there.
    """
    centre = torch.as_tensor(mass.centre, dtype=torch.float32, device=places.device)
    offset = places - centre
    distance = offset.norm(dim=-1)
    pushed = mass.growth * mass.radius**3
    floor = distance**3 * (1 - mass.growth)
    before = torch.maximum(distance**3 - pushed, floor).clamp_min(1e-6) ** (1 / 3)
    fade = ((4 - to_brain) / 10).clamp(0, 1) * (1 - distance / (3.5 * mass.radius)).clamp(0, 1)
    shrink = 1 + fade * (before / distance.clamp_min(1e-3) - 1)
    return centre + offset * shrink[..., None], distance


def deform(head: Head, limits: Deformation, rng: np.random.Generator, mass: Mass | None = None) -> Head:
    """A new person out of an old one: random affine, flip and smooth displacement, a mass, and a random field of view."""
    device = head.codes.device
    brain = is_brain(head.codes[::2, ::2, ::2]).nonzero().double().cpu().numpy() * 2
    centre, extent = (brain.min(0) + brain.max(0)) / 2, brain.max(0) - brain.min(0)
    ends = is_any(head.codes, (AIR,)).logical_not_().any(2).any(1).nonzero()
    low, high = _field_of_view(limits, centre, extent, float(ends.min()) + rng.uniform(2, 12), rng)
    depth, height, width = (max(16, int(size)) for size in high - low)
    shape: Shape = (depth, height, width)
    middle = (low + high) / 2
    nodes: Shape = (max(2, (depth + 1) // STEP), max(2, (height + 1) // STEP), max(2, (width + 1) // STEP))

    axes = [torch.linspace(0, n - 1, k, device=device) for n, k in zip(shape, nodes, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    places += torch.as_tensor(middle - np.array(shape) / 2 - centre, dtype=torch.float32, device=device)
    places = places @ torch.as_tensor(_random_affine(limits, rng).T, dtype=torch.float32, device=device)
    elastic = smooth_field(nodes, limits.elastic_step / STEP, torch_generator(rng, device), channels=3)
    places += limits.elastic * float(rng.uniform(0.3, 1.3)) * elastic.permute(1, 2, 3, 0)
    places += torch.as_tensor(centre, dtype=torch.float32, device=device)

    size = torch.tensor(head.shape, device=device)

    def sample(volume: Tensor, where: Tensor, mode: str) -> Tensor:
        """Volumes (C, z, y, x), whose corners are those of the head, at places (..., 3) in its voxels."""
        grid = (2 * where / (size - 1) - 1).flip(-1)[None]  # wants (x, y, z) in [-1, 1]
        padding = "zeros" if mode == "nearest" else "border"
        return functional.grid_sample(volume[None], grid, mode=mode, padding_mode=padding, align_corners=True)[0]

    names = head.names
    extra: list[Tensor] = []
    if mass is not None:
        to_brain = sample(head.distances[[names.index("to_brain")]], places, "bilinear")[0]
        places, distance = _pushed_aside(places, mass, to_brain)
        extra, names = [distance], (*names, "to_mass")
    distances = sample(head.distances, places, "bilinear")
    fine = functional.interpolate(places.movedim(-1, 0)[None], size=shape, mode="trilinear", align_corners=True)[0]
    codes = sample(head.codes[None].float(), fine.movedim(0, -1), "nearest")[0]
    return Head(codes.to(torch.uint8), torch.cat([distances, *(part[None] for part in extra)]), names)
