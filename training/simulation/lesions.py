"""Random lesions: small bright ones of the white matter, and tumor-like masses with necrosis, rim and oedema.

Each lesion is a soft weight map in [0, 1] that mixes the lesion's tissue into what lies below.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.simulation.fields import gaussian_blur, smooth_field, torch_generator
from training.simulation.tissues import CODE


@dataclass(frozen=True)
class Lesion:
    """`weight`: (z, y, x) in [0, 1]; `tissue`: the tissue mixed in; `strength`: fraction of the change applied."""

    weight: NDArray[np.float32]
    tissue: str
    strength: float


def _ball(
    shape: tuple[int, ...], centre: NDArray[np.integer], radii: NDArray[np.floating], bumps: NDArray[np.float32]
) -> tuple[tuple[slice, ...], NDArray[np.floating]]:
    """The slices of a box around an ellipsoid, and there a soft ellipsoid whose surface is moved by `bumps`."""
    reach = np.ceil(radii * 1.6 + 2).astype(int)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    z, y, x = (((axis - c) / r) ** 2 for axis, c, r in zip(np.ogrid[box], centre, radii, strict=True))
    distance = np.sqrt(z + y + x)
    softness = 1.2 / radii.mean()
    return box, np.clip((1 + 0.3 * bumps[box] - distance) / softness + 0.5, 0, 1)


def white_matter_lesions(tissues: NDArray[np.uint8], to_csf: NDArray[np.float32], rng: np.random.Generator) -> Lesion:
    """Up to 40 small lesions in white matter, more of them near the ventricles."""
    shape = tissues.shape
    bumps = smooth_field(shape, 4, torch_generator(rng))[0].numpy()
    white = np.isin(tissues, [CODE["white_matter"], CODE["cerebellar_white"], CODE["brain_stem"]])
    places = np.argwhere(white)
    near = np.exp(-to_csf[white] / rng.uniform(4, 20)) + 0.02
    count = int(rng.integers(1, 12) if rng.random() < 0.6 else rng.integers(12, 40))
    weight = np.zeros(shape, np.float32)
    for place in places[rng.choice(len(places), count, p=near / near.sum())]:
        radii = rng.gamma(3.0, 0.9, 1).clip(1.2, 8) * rng.uniform(0.6, 1.6, 3)
        box, ball = _ball(shape, place, radii, bumps)
        weight[box] = np.maximum(weight[box], ball * rng.uniform(0.5, 1.0))
    allowed = white | (tissues == CODE["grey_matter"]) & (rng.random() < 0.3)
    return Lesion(weight * allowed, "ms_lesion" if rng.random() < 0.8 else "oedema", float(rng.uniform(0.5, 1.1)))


def tumor(tissues: NDArray[np.uint8], brain: NDArray[np.bool_], rng: np.random.Generator) -> list[Lesion]:
    """One mass: oedema through the white matter around it, the mass itself, and sometimes fluid inside."""
    shape = tissues.shape
    generator = torch_generator(rng)
    bumps = smooth_field(shape, 9, generator)[0].numpy()
    places = np.argwhere(brain)
    centre = places[rng.integers(len(places))]
    radii = rng.uniform(6, 24) * rng.uniform(0.7, 1.3, 3)
    found: list[Lesion] = []
    white = np.isin(tissues, [CODE["white_matter"], CODE["cerebellar_white"], CODE["brain_stem"]])

    def ball(scale: float, lumpiness: float) -> NDArray[np.float32]:
        weight = np.zeros(shape, np.float32)
        box, soft = _ball(shape, centre, radii * scale, bumps * lumpiness)
        weight[box] = soft
        return weight

    if rng.random() < 0.75:
        spread = ball(rng.uniform(1.3, 2.0), 1.3) * (white + 0.15 * brain)
        found.append(Lesion(gaussian_blur(torch.from_numpy(spread), 0.7).numpy(), "oedema", rng.uniform(0.6, 1.1)))
    mass = ball(1.0, 1.0) * brain
    found.append(Lesion(mass.astype(np.float32), "tumor", rng.uniform(0.6, 1.2)))
    if rng.random() < 0.5:
        found.append(Lesion((ball(rng.uniform(0.3, 0.75), 1.5) * brain).astype(np.float32), "csf", rng.uniform(0.4, 1)))
    return found
