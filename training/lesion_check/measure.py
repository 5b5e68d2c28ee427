"""How many planted faults the crude finder finds, and how many it finds that are none.

One fault a volume: a lesion that both scans show is erased from the synthetic one or dimmed to a quarter, or one is added.
It counts as found where something reported as lost, added or changed lies within 4 mm of it. Whatever else is reported so is
a false alarm.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from modality_conversion.lesion_finder import Discriminant, Finding, find
from modality_conversion.lesions import check_lesions
from modality_conversion.modality import Modality
from training.lesion_check.known import outlined
from training.lesion_check.plant import SMALLEST_ML, Volume, degraded
from training.lesion_check.scenes import Scene, image, strength, visible

KINDS = ("erased", "dimmed", "added")
DIMMED = 0.25
_NEAR_MM = 4.0
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
    unclear: bool = False
    """Whether the fault, an outlined lesion, is called unclear."""
    others_unclear: int = 0
    """How many other outlined lesions are called unclear."""
    others: int = 0
    """How many other lesions are outlined."""

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

    An added one is outlined on neither, so `kind` is another. None where there is no lesion.
    """
    known = outlined(scene, source, target, rng)
    if known is None:
        return None
    head = known.head
    fault = known.outlines[rng.integers(len(known.outlines))]
    synthetic = head.weakened(known.synthetic, fault, 0.0 if kind == "erased" else DIMMED)
    result = check_lesions(
        image(known.real, head.step),
        image(synthetic, head.step),
        real_modality=source,
        synthetic_modality=target,
        real_lesions=image(known.mask.astype(np.uint8), head.step),
    )
    near = ndimage.distance_transform_edt(~fault, sampling=head.step) <= _NEAR_MM
    known_ones = [
        lesion for lesion in result.lesions if known.mask[lesion.voxel[::-1]]
    ]  # not the crude finder's places
    alarms = tuple(
        Alarm(lesion.verdict, lesion.volume_ml, 1.0, bool(near[lesion.voxel[::-1]]))
        for lesion in known_ones
        if lesion.verdict in ("lost", "changed")
    )
    others = [lesion.verdict for lesion in known_ones if not near[lesion.voxel[::-1]]]
    said = {lesion.verdict for lesion in known_ones if near[lesion.voxel[::-1]]}
    volume_ml = head.ml(np.count_nonzero(fault))
    return Trial(
        scene.name,
        source.value,
        target.value,
        kind,
        volume_ml,
        alarms,
        unclear="unclear" in said,
        others_unclear=others.count("unclear"),
        others=len(others),
    )


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
        "unclear": {kind: sum(one.unclear for one in trials if one.kind == kind) for kind in KINDS},
        "others_unclear": [sum(one.others_unclear for one in trials), sum(one.others for one in trials)],
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
