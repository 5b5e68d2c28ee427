"""What is no head, or no plain scan of one: noise, phantoms, a knee, a trunk, maps. All must come out as `other`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modality_conversion.recognise_input import SPACING, look
from training.recognise.answers import Truth
from training.recognise.augment import Example, framed, turned
from training.recognise.heads import Sketch

Array = NDArray[np.float32]
Rng = np.random.Generator


def shown(sketch: Sketch, rng: Rng) -> Example:
    """Something else; maps are made of the person's scans."""
    if rng.random() < 0.35:
        volume = MAPS[int(rng.integers(len(MAPS)))](sketch, rng)
        truth = Truth("other", head=True, up=0, front=2)
        return framed(volume, sketch.brain.astype(np.float32), truth, rng)
    volume = OBJECTS[int(rng.integers(len(OBJECTS)))](sketch, rng)
    truth = Truth("other", head=False)
    return Example(look(turned(volume, truth, rng)[0], (SPACING,) * 3), truth)


# --- objects ----------------------------------------------------------------------------------------------------------


def _size(rng: Rng, low: int = 24, high: int = 84) -> tuple[int, int, int]:
    depth, height, width = (int(n) for n in rng.integers(low, high + 1, 3))
    return depth, height, width


def _smooth(shape: tuple[int, int, int], step: float, rng: Rng) -> Array:
    """A smooth random field, about -1 .. 1: a coarse grid of numbers, linear between."""
    from training.simulation.fields import smooth_field, torch_generator

    field: Array = smooth_field(shape, step, torch_generator(rng))[0].numpy()
    return field


def _grain(volume: Array, rng: Rng) -> Array:
    sigma = rng.uniform(0, 0.05) * float(volume.max() - volume.min())
    return (volume + rng.standard_normal(volume.shape, np.float32) * np.float32(sigma)).astype(np.float32)


def noise(sketch: Sketch, rng: Rng) -> Array:
    """White or smooth noise."""
    shape = _size(rng)
    volume: Array = rng.standard_normal(shape, np.float32)
    if rng.random() < 0.3:
        volume = np.abs(volume)
    if rng.random() < 0.5:
        volume = volume * np.float32(rng.uniform(0, 0.5)) + _smooth(shape, rng.uniform(2, 30), rng)
    return volume


def ellipsoids(sketch: Sketch, rng: Rng) -> Array:
    """A phantom: balls and ellipsoids of few values."""
    shape = _size(rng, 40)
    volume = np.zeros(shape, np.float32)
    for number in range(int(rng.integers(1, 9))):
        radius = np.array(shape) * (rng.uniform(0.3, 0.5, 3) if number == 0 else rng.uniform(0.03, 0.25, 3))
        middle = np.array(shape) / 2 if number == 0 else np.array(shape) * rng.uniform(0.3, 0.7, 3)
        volume[_ellipsoid(shape, middle, radius)] = rng.uniform(0.1, 1)
    return _grain(volume, rng)


def boxes(sketch: Sketch, rng: Rng) -> Array:
    """A phantom: bars, grids, ramps."""
    shape = _size(rng, 30)
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    period = rng.integers(3, 16, 3)
    bars = [(axis // step) % 2 for axis, step in zip((z, y, x), period)]
    volume = sum((bar * rng.uniform(0, 1) for bar in bars), np.zeros(shape)) + rng.uniform(0, 0.02) * (z + y + x)
    inside = (
        np.ones(shape, bool) if rng.random() < 0.5 else _ellipsoid(shape, np.array(shape) / 2, np.array(shape) * 0.4)
    )
    return _grain(np.where(inside, volume, 0).astype(np.float32), rng)


def limb(sketch: Sketch, rng: Rng) -> Array:
    """One or two legs or arms, CT or MR: cylinders of skin, fat, muscle and bone with marrow; a joint in between."""
    shape = _size(rng, 36)
    shape = (max(shape[0], 48), shape[1], shape[2])
    is_ct = rng.random() < 0.5
    values = _tissues(is_ct, rng)
    volume = np.full(shape, values["air"], np.float32)
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    count = int(rng.integers(1, 3))
    for number in range(count):
        width = shape[2] / count
        radius = 0.45 * min(shape[1], width) * rng.uniform(0.7, 1)
        bend = rng.uniform(-0.1, 0.1)
        centre_y = shape[1] / 2 + bend * (z - shape[0] / 2)
        centre_x = width * (number + 0.5) + rng.uniform(-0.1, 0.1) * (z - shape[0] / 2)
        taper = 1 + rng.uniform(-0.3, 0.3) * (z / shape[0] - 0.5)
        joint = np.exp(-(((z - shape[0] * 0.5) / (0.12 * shape[0])) ** 2))
        far = np.hypot(y - centre_y, (x - centre_x) * rng.uniform(0.85, 1.15)) / (radius * taper)
        bone = rng.uniform(0.18, 0.3) * (1 + rng.uniform(0.5, 1.3) * joint)
        volume = np.where(far < 1, values["skin"], volume)
        volume = np.where(far < 0.95, values["fat"], volume)
        volume = np.where(far < rng.uniform(0.7, 0.9) * (1 - 0.2 * joint), values["muscle"], volume)
        volume = np.where(far < bone, values["bone"], volume)
        volume = np.where(far < bone - 0.07, values["marrow"], volume)
        gap = np.abs(z - shape[0] * 0.5) < 1.5
        volume = np.where(gap & (far < bone), values["fluid"], volume)
    texture = 0.04 * float(volume.max() - volume.min()) * _smooth(shape, 5, rng)
    return _grain((volume + texture * (volume != values["air"])).astype(np.float32), rng)


def trunk(sketch: Sketch, rng: Rng) -> Array:
    """A chest, belly or pelvis, CT or MR: an ellipse of fat, muscle, organs, spine, and lungs or none."""
    shape = (int(rng.integers(30, 85)), int(rng.integers(50, 85)), int(rng.integers(66, 85)))
    is_ct = rng.random() < 0.55
    values = _tissues(is_ct, rng)
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    a, b = shape[1] * rng.uniform(0.35, 0.48), shape[2] * rng.uniform(0.4, 0.49)
    far = np.sqrt(((y - shape[1] / 2) / a) ** 2 + ((x - shape[2] / 2) / b) ** 2) + 0 * z
    volume = np.where(far < 1, values["fat"], values["air"]).astype(np.float32)
    volume = np.where(far < rng.uniform(0.75, 0.93), values["muscle"], volume)
    volume = np.where(far < rng.uniform(0.6, 0.7), values["organ"], volume)
    blobs = _smooth(shape, rng.uniform(8, 20), rng)
    volume = np.where((far < 0.65) & (blobs > 0.4), values["fluid"], volume)
    if rng.random() < 0.5:
        side = np.abs(x - shape[2] / 2) / b
        lungs = (far < 0.7) & (side > 0.15) & (z > rng.uniform(0, 0.5) * shape[0])
        volume = np.where(lungs, values["lung"], volume)
    spine = np.hypot(y - shape[1] / 2 + 0.6 * a, x - shape[2] / 2) / a
    volume = np.where(spine < 0.22, values["bone"], volume)
    volume = np.where((spine < 0.17) & ((z // 8) % 2 > 0), values["marrow"], volume)
    if rng.random() < 0.5:
        volume = np.where((np.abs(far - 0.72) < 0.04) & ((z // 5) % 2 > 0), values["bone"], volume)
    texture = 0.03 * float(volume.max() - volume.min()) * _smooth(shape, 4, rng)
    return _grain((volume + texture * (far < 1)).astype(np.float32), rng)


def pieces(sketch: Sketch, rng: Rng) -> Array:
    """A head cut into cubes that are put together at random."""
    volume = sketch.scans[int(rng.integers(len(sketch.kinds)))].astype(np.float32)
    edge = int(rng.integers(8, 20))
    cut = tuple(slice(0, n // edge * edge) for n in volume.shape)
    counts = [n // edge for n in volume.shape]
    cubes = volume[cut].reshape(counts[0], edge, counts[1], edge, counts[2], edge).transpose(0, 2, 4, 1, 3, 5)
    mixed = rng.permutation(cubes.reshape(-1, edge, edge, edge)).reshape(*counts, edge, edge, edge)
    return np.ascontiguousarray(mixed.transpose(0, 3, 1, 4, 2, 5)).reshape([n * edge for n in counts])


def _ellipsoid(
    shape: tuple[int, int, int], middle: NDArray[np.floating], radius: NDArray[np.floating]
) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside: NDArray[np.bool_] = sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radius)) < 1
    return inside


def _tissues(is_ct: bool, rng: Rng) -> dict[str, float]:
    """HU, or the MR signal of a random sequence."""
    if not is_ct:
        named = ("skin", "fat", "muscle", "marrow", "fluid", "organ")
        return {name: float(rng.uniform(0.15, 1)) for name in named} | {"air": 0.0, "bone": 0.05, "lung": 0.08}
    hu = {"air": -1000, "skin": 30, "fat": -95, "muscle": 50, "bone": 900, "marrow": 150, "fluid": 15, "organ": 50}
    return {name: value + float(rng.normal(0, 15)) for name, value in hu.items()} | {"lung": -830.0}


# --- maps of heads ----------------------------------------------------------------------------------------------------


def _two(sketch: Sketch, rng: Rng) -> tuple[Array, Array]:
    first, second = (sketch.scans[int(i)].astype(np.float32) for i in rng.choice(len(sketch.kinds), 2, replace=False))
    kept = sketch.kept[int(rng.integers(2))].astype(np.float32) if rng.random() < 0.5 else np.float32(1)
    return first * kept, second * kept


def difference(sketch: Sketch, rng: Rng) -> Array:
    """One scan minus another, both from 0 to 1."""
    first, second = (volume - np.percentile(volume, 1) for volume in _two(sketch, rng))
    first, second = (volume / max(1e-6, float(np.percentile(volume, 99))) for volume in (first, second))
    return (first - rng.uniform(0.7, 1.3) * second).astype(np.float32)


def labels(sketch: Sketch, rng: Rng) -> Array:
    """A label map: a scan cut into few levels, which are numbered at random."""
    volume, _ = _two(sketch, rng)
    levels = int(rng.integers(2, 12))
    edges = np.quantile(volume[volume > volume.min()], np.linspace(0, 1, levels + 1)[:-1])
    numbers = np.concatenate([[0], rng.permutation(levels) + 1]).astype(np.float32)
    mapped: Array = numbers[np.searchsorted(edges, volume, side="right")]
    return mapped


def mask(sketch: Sketch, rng: Rng) -> Array:
    """Where the brain is, as a mask or as a probability."""
    share = sketch.kept[int(rng.integers(2))] if rng.random() < 0.5 else sketch.brain
    return (share > 0.5).astype(np.float32) if rng.random() < 0.6 else share.astype(np.float32)


def waves(sketch: Sketch, rng: Rng) -> Array:
    """A map of something that rises and falls several times with the signal, as phases do."""
    volume, _ = _two(sketch, rng)
    scaled = (volume - volume.min()) / max(1e-6, float(np.percentile(volume, 99) - volume.min()))
    return np.sin(2 * np.pi * rng.uniform(2, 5) * scaled + rng.uniform(0, 6)).astype(np.float32)


OBJECTS: tuple[Callable[[Sketch, Rng], Array], ...] = (noise, ellipsoids, boxes, limb, limb, trunk, trunk, pieces)
MAPS: tuple[Callable[[Sketch, Rng], Array], ...] = (difference, labels, mask, waves)
