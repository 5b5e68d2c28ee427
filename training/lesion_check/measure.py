"""How many planted faults the crude finder finds, and how many it finds that are none.

One fault a volume: a lesion that both scans show is erased from the synthetic one or dimmed to a quarter, or one is added.
It counts as found where something reported as lost, added or changed lies within 4 mm of it. Whatever else is reported so is
a false alarm.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.lesion_finder import Discriminant, Finding, find
from modality_conversion.lesions import check_lesions
from modality_conversion.modality import Modality
from training.data.regions import Region
from training.lesion_check.plant import SMALLEST_ML, Volume, degraded
from training.lesion_check.scenes import Scene, image, strength, visible

KINDS = ("erased", "dimmed", "added")
DIMMED = 0.25
_NEAR_MM = 4.0
_OUTLINED = 4
_CONNECTED = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Alarm:
    """Something reported as lost or as added."""

    kind: str
    volume_ml: float
    peak: float
    true: bool
    """Whether it is the planted fault."""


@dataclass(frozen=True)
class Trial:
    """One volume with one fault."""

    case: str
    source: str
    target: str
    kind: str
    volume_ml: float
    alarms: tuple[Alarm, ...]

    def found(self, thresholds: dict[str, float]) -> bool:
        """Whether the fault is reported."""
        return any(alarm.true and alarm.peak >= thresholds.get(alarm.kind, 0.0) for alarm in self.alarms)

    def false(self, thresholds: dict[str, float]) -> int:
        """How many false alarms there are."""
        return sum(not alarm.true and alarm.peak >= thresholds.get(alarm.kind, 0.0) for alarm in self.alarms)


def trial(
    scene: Scene, source: Modality, target: Modality, kind: str, by: Discriminant, rng: np.random.Generator
) -> Trial | None:
    """Plant one fault and look; None where the head has no lesion that both scans show, or no room for one."""
    head, real = scene.head, scene.scans[source]
    synthetic = degraded(scene.truths[target], target is Modality.CT, rng, head.step)
    if kind == "added":
        where = head.free_place(np.zeros(real.shape, bool), rng)
        if where is None:
            return None
        synthetic = head.added(synthetic, where, strength(synthetic, head, target, rng))
    else:
        limits = visible(real, head, source), visible(synthetic, head, target)
        shown = [
            site
            for site in head.sites(real, synthetic)
            if abs(site.real) >= limits[0] and abs(site.synthetic) >= limits[1]
        ]
        if not shown:
            return None
        where = shown[rng.integers(len(shown))].voxels
        synthetic = head.weakened(synthetic, where, 0.0 if kind == "erased" else DIMMED)
    seen = find(image(real, head.step), image(synthetic, head.step), (source, target), by=by)
    alarms = () if seen is None else tuple(_alarms(seen, where, head.step))
    return Trial(scene.name, source.value, target.value, kind, head.ml(np.count_nonzero(where)), alarms)


def known_trial(scene: Scene, source: Modality, target: Modality, kind: str, rng: np.random.Generator) -> Trial | None:
    """Plant one fault into a head whose lesions are outlined, and look at each of them; a few are planted on both scans.

    Only lesions that both scans show are outlined. An added one is outlined on neither, so `kind` is another. None where
    there is no lesion.
    """
    head = scene.head
    real, synthetic = scene.scans[source], degraded(scene.truths[target], target is Modality.CT, rng, head.step)
    limits = visible(real, head, source), visible(synthetic, head, target)
    outlines = [
        site.voxels
        for site in head.sites(real, synthetic)
        if abs(site.real) >= limits[0] and abs(site.synthetic) >= limits[1]
    ]
    taken = np.zeros(real.shape, bool)
    # Lesions of one head are alike, give or take a third.
    strengths = strength(real, head, source, rng), strength(synthetic, head, target, rng)
    for _ in range(_OUTLINED):
        where = head.free_place(taken, rng)
        if where is None:
            break
        taken |= where
        each = [float(one) * rng.uniform(0.67, 1.33) for one in strengths]
        each = [float(np.sign(one) * max(abs(one), least)) for one, least in zip(each, limits)]
        real = head.added(real, where, each[0], grain=True)
        synthetic = head.added(synthetic, where, each[1])
        outlines.append(where)
    if not outlines:
        return None
    fault = outlines[rng.integers(len(outlines))]
    healthy = replace(head, region=np.where(taken, np.uint8(Region.LESION), head.region))
    synthetic = healthy.weakened(synthetic, fault, 0.0 if kind == "erased" else DIMMED)
    result = check_lesions(
        image(real, head.step),
        image(synthetic, head.step),
        real_modality=source,
        synthetic_modality=target,
        real_lesions=image(np.any(outlines, axis=0).astype(np.uint8), head.step),
        look_for_added=False,
    )
    near = ndimage.distance_transform_edt(~fault, sampling=head.step) <= _NEAR_MM
    alarms = tuple(
        Alarm(lesion.verdict, lesion.volume_ml, 1.0, bool(near[lesion.voxel[::-1]]))
        for lesion in result.lesions
        if lesion.verdict in ("lost", "changed")
    )
    return Trial(scene.name, source.value, target.value, kind, head.ml(np.count_nonzero(fault)), alarms)


def _alarms(seen: Finding, where: NDArray[np.bool_], step: float) -> list[Alarm]:
    near = ndimage.distance_transform_edt(~where, sampling=step) <= _NEAR_MM
    alarms = []
    chances: Volume
    for kind, chances in (("lost", seen.lost), ("added", seen.added)):
        labels, _ = ndimage.label(chances > 0.5, _CONNECTED)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            part = labels[box] == number
            volume = float(np.count_nonzero(part)) * step**3 / 1000
            if volume >= SMALLEST_ML / 2:
                alarms.append(Alarm(kind, volume, float(chances[box][part].max()), bool((part & near[box]).any())))
    return alarms


def thresholds(trials: Sequence[Trial], false_alarms: float) -> dict[str, float]:
    """For lost and for added the least peak that leaves at most half of so many false alarms a volume each."""
    result = {}
    for kind in ("lost", "added"):
        peaks = sorted((a.peak for one in trials for a in one.alarms if a.kind == kind and not a.true), reverse=True)
        allowed = int(false_alarms / 2 * len(trials))
        result[kind] = max(0.5, peaks[allowed] + 1e-4) if len(peaks) > allowed else 0.5
    return result


def rates(trials: Sequence[Trial], limits: dict[str, float]) -> dict[str, Any]:
    """How many faults of each kind were found, false alarms a volume, and the same by pair of modalities."""
    kinds = {kind: [one.found(limits) for one in trials if one.kind == kind] for kind in KINDS}
    pairs: dict[str, list[Trial]] = {}
    for one in trials:
        pairs.setdefault(f"{one.source}->{one.target}", []).append(one)
    return {
        "volumes": len(trials),
        "found": {kind: [sum(hits), len(hits)] for kind, hits in kinds.items()},
        "share_found": float(np.mean([one.found(limits) for one in trials])) if trials else None,
        "false_alarms_a_volume": float(np.mean([one.false(limits) for one in trials])) if trials else None,
        "pairs": {
            pair: {
                "found": [sum(one.found(limits) for one in some), len(some)],
                "false_alarms": sum(one.false(limits) for one in some),
            }
            for pair, some in sorted(pairs.items())
        },
    }


def as_rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(one) for one in trials]
