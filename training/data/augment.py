"""What changes each time a slab is drawn: the source's contrast, shading and noise. The target stays as it is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from training.config import Settings


class SourceAugmentation(Settings):
    """How far a source slab, in [0, 1], is changed."""

    curve: float = 0.35
    """0: the identity; 1: any rising curve through (0, 0) and (1, 1)."""
    gain: float = 0.15
    """Largest relative change of scale: another scan has another brightest tissue."""
    bias: float = 0.1
    """Deviation of the logarithm of a shading field with nodes some 80 mm apart."""
    noise: float = 0.02
    """Largest deviation of added normal noise; exact zeros stay zero."""
    calm: float = 0.15
    """Fraction of slabs that are left as they are."""


def rising_curve(strength: float, rng: np.random.Generator, knots: int = 7) -> NDArray[np.float64]:
    """Heights at `knots` even steps of a random rising curve from 0 to 1; `strength` 0 gives the straight line."""
    steps = rng.dirichlet(np.full(knots - 1, 1.5))
    steps = (1 - strength) / (knots - 1) + strength * steps
    return np.concatenate([[0.0], np.cumsum(steps)])


def augment_source(
    slab: NDArray[np.float32], settings: SourceAugmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A changed copy of a source slab (slices, H, W)."""
    if rng.random() < settings.calm:
        return slab
    zero = slab == 0
    heights = rising_curve(settings.curve, rng)
    slab = np.interp(slab, np.linspace(0, 1, len(heights)), heights).astype(np.float32)
    gamma = float(np.exp(rng.uniform(-1, 1) * settings.curve))
    np.power(slab, gamma, out=slab)
    nodes = torch.from_numpy(rng.normal(0, settings.bias * rng.random(), (1, 1, 2, 4, 4)).astype(np.float32))
    slab *= functional.interpolate(nodes, size=slab.shape, mode="trilinear", align_corners=True)[0, 0].exp().numpy()
    slab *= 1 + rng.uniform(-settings.gain, settings.gain)
    slab += rng.uniform(0, settings.noise) * rng.standard_normal(slab.shape, np.float32)
    slab[zero] = 0
    return np.clip(slab, 0, 1)
