"""Voxels to fit the crude finder to: what it looks at, and what is there."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modality_conversion.lesion_features import look
from modality_conversion.lesion_finder import CLASSES
from modality_conversion.modality import Modality
from training.lesion_check.plant import degraded
from training.lesion_check.scenes import Scene, image, strength, visible

Rows = tuple[NDArray[np.floating], NDArray[np.uint8]]
"""Features, (voxels, n), and classes."""
_OUTSIDE, _BRAIN, _KEPT, _LOST, _ADDED = range(len(CLASSES))
_DRAWN = {_OUTSIDE: 2000, _BRAIN: 5000, _KEPT: 1000, _LOST: 1800, _ADDED: 1800}
_SUSPECT = 0.1


def sample(
    scene: Scene,
    source: Modality,
    target: Modality,
    rng: np.random.Generator,
    suspect: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> Rows | None:
    """Faults planted into one pair of scans, and some voxels of each class; None where no head is seen.

    Lesions that either scan hardly shows are left out. `suspect`, an earlier finder, draws half of the voxels without a
    lesion from those that it takes for one.
    """
    head, real, synthetic = scene.head, scene.scans[source], scene.truths[target]
    classes, left_out = head.brain.astype(np.uint8), head.lesions
    limits = visible(real, head, source), visible(synthetic, head, target)
    for site in head.sites(real, synthetic):
        if abs(site.real) < limits[0] or abs(site.synthetic) < limits[1]:
            continue
        classes[site.voxels] = _KEPT
        if rng.random() < 0.5:
            synthetic = head.weakened(synthetic, site.voxels, float(rng.choice((0, 0, 0, 0.1, 0.2, 0.3))))
            classes[site.voxels] = _LOST
        left_out &= ~site.voxels
    taken = np.zeros(classes.shape, bool)
    for kind in rng.choice((_KEPT, _LOST, _ADDED), int(rng.integers(5, 11)), p=(0.25, 0.4, 0.35)):
        where = head.free_place(taken, rng)
        if where is None:
            break
        taken |= where
        classes[where] = kind
        if kind != _LOST:
            synthetic = head.added(synthetic, where, strength(scene.truths[target], head, target, rng))
        if kind != _ADDED:
            real = head.added(real, where, strength(scene.scans[source], head, source, rng), grain=True)
    synthetic = degraded(synthetic, target is Modality.CT, rng, head.step)
    looked = look(image(real, head.step), image(synthetic, head.step), (source, target))
    if looked is None or looked.inside.shape != classes.shape:
        return None
    here, usable = classes[looked.inside], ~left_out[looked.inside]
    chances = None if suspect is None else suspect(looked.values)
    drawn = []
    for kind, most in _DRAWN.items():
        places = rng.permutation(np.flatnonzero((here == kind) & usable))
        if chances is not None and kind in (_OUTSIDE, _BRAIN):
            drawn.append(places[chances[places, _KEPT:].sum(1) > _SUSPECT][: most // 2])
            most //= 2
        drawn.append(places[:most])
    every = np.concatenate(drawn)
    return looked.values[every].astype(np.float16), here[every]
