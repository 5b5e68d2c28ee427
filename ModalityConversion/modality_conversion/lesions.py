"""Were lesions kept? What is on the real scan and on the synthetic one, found on each by itself, lesion by lesion.

Outlines come from whoever knows better: models that segment, a person, or, where there is neither, the crude finder. Not
for diagnosis: no list of lesions is complete, and a conversion that keeps all of them may still be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk

from .errors import ConversionError
from .grid import on_grid_of
from .lesion_contrast import SHELL_MM, WIDE_MM, contrast, contrast_ratio, extent, least_difference, shell
from .lesion_features import SOURCES, head_zone
from .lesion_finder import Finding, discriminant, find
from .lesion_judge import chances_of_loss, judge, knows, traits
from .lesion_list import VERDICTS, Contrast, Lesion, Limits, Verdict, in_order
from .lesion_match import Part, matched, middle, parts
from .modality import Modality
from .same_grid import check_together
from .same_head import check_same_head

__all__ = ["Contrast", "Lesion", "LesionCheck", "Limits", "check_lesions"]

NOTICE = "Made by a program. Not for diagnosis."
MARGIN_MM = 15.0
"""How far around an outlined lesion is looked at."""
_WHOLE = 0.3
"""A lesion that takes up more of the head than this has no surroundings that would say anything."""
_PERHAPS_LOST = (
    "perhaps the real scan shows something here that the synthetic one does not; the crude finder is not sure"
)
_PERHAPS_ADDED = (
    "perhaps the synthetic scan shows something here that the real one does not; the crude finder is not sure"
)
_METHODS = {
    "outlines": "lesions outlined on each scan by itself, then matched",
    "given": "lesions outlined on the real scan; at each place the synthetic scan was looked at; elsewhere the crude finder "
    "looked for places where the two disagree",
    "crude": "nobody outlined lesions; the crude finder looked for places where the two scans disagree, and misses most of "
    "what was lost or added",
}


@dataclass(frozen=True)
class LesionCheck:
    """What became of the lesions."""

    lesions: tuple[Lesion, ...]
    """What needs a look first, then the largest."""
    method: str
    """`outlines`, `given` or `crude`."""
    limits: Limits
    modalities: tuple[Modality, Modality]
    """Of the real and of the synthetic scan."""
    smaller: int
    """How many were left out for their size."""
    warnings: tuple[str, ...]

    @property
    def nothing_to_check(self) -> bool:
        """Whether no lesion was outlined on either scan, and no place found to look at."""
        return not self.lesions

    @property
    def counts(self) -> dict[str, int]:
        """How many lesions have each verdict."""
        found = Counter(lesion.verdict for lesion in self.lesions)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def verdict(self) -> str:
        """One line."""
        if self.method == "crude":
            places = f"{len(self.lesions)} place{'s' if len(self.lesions) != 1 else ''}"
            return (
                "Lesions were not outlined, so nobody knows whether they were kept. Where the two scans disagree most: "
                f"{places} to look at. The crude finder misses most of what was lost or added."
            )
        if self.nothing_to_check:
            return (
                f"Nothing to check: no lesion of {self.limits.smallest_ml:g} mL or more was outlined on either scan. That does "
                "not prove that there is none."
            )
        said = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items() if count)
        total = len(self.lesions)
        return f"{total} lesion{'s' if total > 1 else ''}: {said}."

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "synthetic": True,
            "not_for_diagnosis": True,
            "notice": NOTICE,
            "content": "lesion check",
            "verdict": self.verdict,
            "nothing_to_check": self.nothing_to_check,
            "method": self.method,
            "method_in_words": _METHODS[self.method],
            "real_modality": self.modalities[0].value,
            "synthetic_modality": self.modalities[1].value,
            "limits": asdict(self.limits),
            "limits_of_judge": judge().threshold if self.method == "given" and knows(self.modalities) else None,
            "counts": self.counts,
            "smaller_left_out": self.smaller,
            "lesions": [lesion.as_dict(number) for number, lesion in enumerate(self.lesions, start=1)],
            "warnings": list(self.warnings),
        }


def check_lesions(
    real: sitk.Image,
    synthetic: sitk.Image,
    *,
    real_modality: Modality,
    synthetic_modality: Modality,
    real_lesions: sitk.Image | None = None,
    synthetic_lesions: sitk.Image | None = None,
    zone: sitk.Image | None = None,
    limits: Limits | None = None,
    look_for_added: bool = True,
) -> LesionCheck:
    """Compare the lesions of a real scan with those of the synthetic one made from it, or meant to be like it.

    `real_lesions` and `synthetic_lesions` outline lesions, every label but 0, each made from its own scan alone; without the
    second, known places are looked at; without both, the crude finder looks everywhere. `zone` is a mask of the brain; else
    the crude finder guesses where it is. `look_for_added=False` leaves out the crude finder where lesions
    of the real scan are given. All on the real scan's grid. Voxels without a number count as the scan's smallest
    value.

    Raises ConversionError for an image that is refused (`check_image`), lies on another grid, or is constant; for a pair that
    is mirrored or not of one head; for a modality that the crude finder does not know, where nothing is outlined.
    """
    limits = limits or Limits()
    warnings: list[str] = []
    outlines = {"outline of lesions": real_lesions, "outline on the synthetic scan": synthetic_lesions}
    check_together(real, {"synthetic scan": synthetic, "mask": zone, **outlines})
    if synthetic_lesions is not None and real_lesions is None:
        raise ConversionError("Lesions of the synthetic scan alone say nothing. Give those of the real scan too.")
    real, synthetic = (_finite(image, name, warnings) for image, name in ((real, "real"), (synthetic, "synthetic")))
    kinds = (real_modality, synthetic_modality)
    within = None if zone is None else np.nan_to_num(sitk.GetArrayViewFromImage(zone)) != 0
    if within is not None and not within.any():
        raise ConversionError("The mask is empty. Give one with at least one voxel inside.")
    head = head_zone(real, real_modality) if within is None else within
    check_same_head(real, synthetic, head)

    found: Finding | None = None
    if synthetic_lesions is None and (look_for_added or real_lesions is None):
        unknown = [kind for kind in kinds if kind not in SOURCES]
        if unknown and real_lesions is None:
            raise ConversionError(
                f"Lesions cannot be looked for on a {unknown[0]}: the crude finder does not know it. Outline them (--lesions)."
            )
        if not unknown:
            found = find(real, synthetic, kinds, within)
            if found is None:
                warnings.append("No brain was found in the scans, so nothing was looked for.")
    brain = within if within is not None else found.brain if found is not None else head
    pair = _Pair(real, synthetic, kinds, brain, limits)
    if real_lesions is not None:
        first = _mask(real_lesions)
        if not first.any():
            warnings.append("The outline of lesions is empty: on the real scan there is nothing to check.")
        if synthetic_lesions is not None:
            lesions, smaller = _of_outlines(pair, first, _mask(synthetic_lesions))
            method = "outlines"
        else:
            lesions, smaller = _of_given(pair, first, found)
            method = "given"
    else:
        lesions, smaller = _of_finder(pair, found)
        method = "crude"
    _warn_of_edges(lesions, real, warnings)
    return LesionCheck(in_order(lesions), method, limits, kinds, smaller, tuple(warnings))


@dataclass(frozen=True)
class _Pair:
    """Two scans on one grid, and where the brain is."""

    real: sitk.Image
    synthetic: sitk.Image
    kinds: tuple[Modality, Modality]
    brain: np.ndarray
    limits: Limits

    @property
    def spacing(self) -> tuple[float, ...]:
        """In array order, mm."""
        return tuple(reversed(self.real.GetSpacing()))

    def ml(self, voxels: float | np.integer) -> float:
        """The volume of so many voxels."""
        return float(voxels) * float(np.prod(self.spacing)) / 1000

    def parts(self, mask: np.ndarray) -> tuple[list[Part], int]:
        """The lesions of a mask that are large enough, and how many are not."""
        least = (
            self.limits.smallest_ml / self.ml(1) * (1 - 1e-9)
        )  # or rounding would cost the one that is just as large
        return parts(mask, self.spacing, MARGIN_MM, least)

    def contrasts(
        self, part: Part, lesions: np.ndarray, partner: Part | None = None
    ) -> tuple[Contrast | None, Contrast | None]:
        """How a lesion stands out on both scans; None where there is nothing around it to compare with.

        On the synthetic scan within its own outline there, `partner`, where it has one.
        """
        return self.contrast(0, part, lesions), self.contrast(1, partner or part, lesions)

    def contrast(
        self, side: int, part: Part, lesions: np.ndarray, reach_mm: tuple[float, float] = SHELL_MM
    ) -> Contrast | None:
        """How a lesion stands out on one scan, 0 the real and 1 the synthetic one, from what lies so far around it."""
        if part.voxels > _WHOLE * max(1, int(np.count_nonzero(self.brain))):
            return None
        around = shell(part.inside, self.brain[part.box], lesions[part.box], self.spacing, reach_mm)
        if around is None:
            return None
        values = sitk.GetArrayViewFromImage((self.real, self.synthetic)[side])[part.box].astype(np.float64)
        return contrast(values, part.inside, around, self.kinds[side] is Modality.CT, self.least[side])

    @cached_property
    def least(self) -> tuple[float, float]:
        """The smallest difference that shows on either scan."""
        first, second = (
            least_difference(sitk.GetArrayViewFromImage(image), self.brain, kind is Modality.CT, self.limits)
            for image, kind in zip((self.real, self.synthetic), self.kinds)
        )
        return first, second

    def chances_of_loss(self, lesions: Sequence[Part], mask: np.ndarray) -> list[float | None]:
        """For each lesion outlined on the real scan how likely it is that the synthetic one does not show it; None where
        that is not known.
        """
        if not knows(self.kinds):
            return [None] * len(lesions)
        scans = sitk.GetArrayViewFromImage(self.real), sitk.GetArrayViewFromImage(self.synthetic)
        # The units that the judge was fitted with, whatever a caller calls visible.
        first, second = (
            least_difference(scan, self.brain, kind is Modality.CT, Limits()) for scan, kind in zip(scans, self.kinds)
        )
        return chances_of_loss(traits(scans, self.kinds, (first, second), lesions, mask, self.brain, self.spacing))

    def lesion(
        self,
        part: Part,
        verdict: Verdict,
        reason: str,
        both: tuple[Contrast | None, Contrast | None],
        synthetic_ml: float | None = None,
    ) -> Lesion:
        """The entry of the report."""
        k, j, i = middle(part)
        return Lesion(
            verdict,
            reason,
            self.real.TransformIndexToPhysicalPoint((i, j, k)),
            (i, j, k),
            self.ml(part.voxels),
            synthetic_ml,
            *both,
            contrast_ratio(*both),
        )

    @property
    def is_one_modality(self) -> bool:
        """Whether contrasts of the two scans can be compared."""
        return self.kinds[0] is self.kinds[1]

    def contrast_fault(self, ratio: float | None) -> str | None:
        """In words, where the contrast has changed too much."""
        low, high = self.limits.contrast_ratio
        if not self.is_one_modality or ratio is None or low <= ratio <= high:
            return None
        return f"its contrast on the synthetic scan is {ratio:.2g} times that on the real one"

    def size_fault(self, ratio: float) -> str | None:
        """In words, where the size has changed too much."""
        low, high = self.limits.volume_ratio
        return None if low <= ratio <= high else f"it is {ratio:.2g} times as large on the synthetic scan"


def _of_outlines(pair: _Pair, first: np.ndarray, second: np.ndarray) -> tuple[list[Lesion], int]:
    """Lesions outlined on both scans; a small one can be the partner of a large one, but has no entry of its own."""
    whole = [parts(mask, pair.spacing, MARGIN_MM)[0] for mask in (first, second)]
    every = first | second
    lesions: list[Lesion] = []
    smaller = 0
    for mine, others in matched(whole[0], whole[1], first.shape, pair.spacing, pair.limits.reach_mm):
        sizes = [pair.ml(sum(whole[side][n].voxels for n in group)) for side, group in enumerate((mine, others))]
        for side, group in ((0, mine), (1, others if not mine else [])):
            for number in group:
                part = whole[side][number]
                if pair.ml(part.voxels) < pair.limits.smallest_ml and max(sizes) < pair.limits.smallest_ml:
                    smaller += 1
                    continue
                partner = whole[1][max(others, key=lambda n: whole[1][n].voxels)] if mine and others else None
                both = pair.contrasts(part, every, partner)
                if not mine:
                    lesions.append(pair.lesion(part, "added", "outlined on the synthetic scan alone", both, sizes[1]))
                elif not others:
                    lesions.append(pair.lesion(part, "lost", "outlined on the real scan alone", both, 0.0))
                else:
                    faults = [
                        pair.size_fault(sizes[1] / sizes[0]),
                        pair.contrast_fault(contrast_ratio(*both)),
                    ]
                    said = " and ".join(fault for fault in faults if fault)
                    shared = len(mine) > 1
                    reason = said or "outlined on both scans"
                    if shared:
                        reason += f"; {len(mine)} lesions of the real scan run together on the synthetic one"
                    lesions.append(
                        pair.lesion(part, "changed" if said else "kept", reason, both, None if shared else sizes[1])
                    )
    return lesions, smaller


def _of_given(pair: _Pair, first: np.ndarray, found: Finding | None) -> tuple[list[Lesion], int]:
    """Lesions outlined on the real scan: is there something at the same place on the synthetic one?"""
    large, smaller = pair.parts(first)
    lesions = []
    for part, chance in zip(large, pair.chances_of_loss(large, first)):
        both = pair.contrasts(part, first)
        real, synthetic = both
        if real is None or synthetic is None:
            reason = (
                "nothing is around it to compare with: it takes up too much of what is seen, or lies outside the brain"
            )
            lesions.append(pair.lesion(part, "unclear", reason, both))
        elif not real.shows and not synthetic.shows:
            reason = "neither scan shows it clearly at the place outlined"
            lesions.append(pair.lesion(part, "unclear", reason, both))
        elif not synthetic.shows and _reaches_further(pair, part, first):
            reason = "on the synthetic scan it runs into its surroundings: it has grown, or they are drawn like it"
            lesions.append(pair.lesion(part, "changed", reason, both))
        elif min(pair.least) <= 0:
            reason = "one of the scans has the same value nearly everywhere in the brain"
            lesions.append(pair.lesion(part, "unclear", reason, both))
        elif chance is not None:
            verdict, reason = _judged(chance, synthetic)
            entry = pair.lesion(part, verdict, reason, both, 0.0 if verdict == "lost" else None)
            lesions.append(replace(entry, chance_of_loss=chance))
        elif not synthetic.shows:
            reason = "the synthetic scan hardly differs from its surroundings there"
            lesions.append(pair.lesion(part, "lost", reason, both, 0.0))
        else:
            lesions.append(_still_there(pair, part, both, real, synthetic))
    if not knows(pair.kinds):
        lesions = _unlike_the_others(lesions, pair)
    more, few = _of_finder(pair, found, first)
    return lesions + more, smaller + few


def _judged(chance: float, synthetic: Contrast) -> tuple[Verdict, str]:
    """Between two modalities: by how such a lesion, its surroundings and the other lesions look on both scans."""
    limits = judge().threshold
    if chance >= limits["lost"]:
        if synthetic.shows:
            return "changed", "the synthetic scan shows too little of it for a lesion that was kept"
        return "lost", "the synthetic scan hardly differs from its surroundings there"
    if chance >= limits["unclear"]:
        return "unclear", "what the synthetic scan shows there may be the lesion or its surroundings"
    if not synthetic.shows:
        return "kept", "the synthetic scan seems to show it too, though it hardly differs from all that is around it"
    return "kept", "the synthetic scan shows it too"


def _reaches_further(pair: _Pair, part: Part, lesions: np.ndarray) -> bool:
    """Whether a lesion that does not differ from its near surroundings differs, with them, from those further off.

    Only where it does so more clearly than on the real scan, which shows what the place is like without a lesion that grew.
    """
    near, wide = (pair.contrast(1, part, lesions, reach) for reach in (SHELL_MM, WIDE_MM))
    before = [pair.contrast(0, part, lesions, reach) for reach in (SHELL_MM, WIDE_MM)]
    if near is None or wide is None or before[0] is None or before[1] is None:
        return False
    grown = abs(near.around - wide.around) / wide.least
    usual = abs(before[0].around - before[1].around) / before[1].least
    return wide.shows and grown > 1 and grown > 2 * usual


def _unlike_the_others(lesions: Sequence[Lesion], pair: _Pair) -> list[Lesion]:
    """Between two modalities nobody knows what contrast to expect, but lesions of one head are much alike."""
    if pair.is_one_modality:
        return list(lesions)
    judged: list[Lesion] = []
    for lesion in lesions:
        others = [
            abs(o.synthetic.difference) for o in lesions if o is not lesion and o.synthetic and o.verdict == "kept"
        ]
        if lesion.verdict == "kept" and lesion.synthetic and len(others) >= pair.limits.least_others:
            share = abs(lesion.synthetic.difference) / max(float(np.median(others)), 1e-9)
            if share < pair.limits.of_others:
                reason = f"its contrast on the synthetic scan is {share:.2g} times that of the other lesions"
                lesion = replace(lesion, verdict="changed", reason=reason)
        judged.append(lesion)
    return judged


def _still_there(
    pair: _Pair, part: Part, both: tuple[Contrast | None, Contrast | None], real: Contrast, synthetic: Contrast
) -> Lesion:
    """A known lesion that the synthetic scan shows: as large and as strong? Not asked across modalities."""
    faults = [pair.contrast_fault(contrast_ratio(*both))]
    synthetic_ml = None
    if pair.is_one_modality:
        # Like against like: how far it reaches on either scan by the same rule.
        sizes = [
            extent(sitk.GetArrayViewFromImage(image)[part.box], part.inside, seen, pair.brain[part.box], pair.spacing)
            for image, seen in ((pair.real, real), (pair.synthetic, synthetic))
        ]
        here, there = (0.0 if one is None else pair.ml(np.count_nonzero(one)) for one in sizes)
        synthetic_ml = there or None
        if here and there and real.shows:
            faults.insert(0, pair.size_fault(there / here))
    said = " and ".join(fault for fault in faults if fault)
    return pair.lesion(
        part, "changed" if said else "kept", said or "the synthetic scan shows it too", both, synthetic_ml
    )


def _of_finder(pair: _Pair, found: Finding | None, known: np.ndarray | None = None) -> tuple[list[Lesion], int]:
    """Where the crude finder sees the scans disagree, away from the lesions that are known. It is never sure."""
    if found is None:
        return [], 0
    away = ~_grown(known, pair) if known is not None else np.ones(found.brain.shape, bool)
    lesions: list[Lesion] = []
    smaller = 0
    every = (found.lost > 0.5) | (found.added > 0.5)
    for kind, chances, words in (("lost", found.lost, _PERHAPS_LOST), ("added", found.added, _PERHAPS_ADDED)):
        seen, few = _peaks(pair, chances * away, kind)
        smaller += few
        lesions += [pair.lesion(part, "unclear", words, pair.contrasts(part, every)) for part in seen]
    return lesions, smaller


def _peaks(pair: _Pair, chances: np.ndarray, verdict: str) -> tuple[list[Part], int]:
    """Connected places that are more likely than not, with a peak above the finder's threshold."""
    large, smaller = pair.parts(chances > 0.5)
    least = discriminant().threshold[verdict]
    return [part for part in large if float(chances[part.box][part.inside].max()) >= least], smaller


def _grown(mask: np.ndarray, pair: _Pair) -> np.ndarray:
    """A mask with what lies within reach of it."""
    if not mask.any():
        return mask
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(pair.real.GetSpacing())
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    near: np.ndarray = sitk.GetArrayFromImage(distance) <= 2 * pair.limits.reach_mm
    return near


def _mask(image: sitk.Image) -> np.ndarray:
    inside: np.ndarray = np.nan_to_num(sitk.GetArrayFromImage(image)) != 0
    return inside


def _finite(image: sitk.Image, name: str, warnings: list[str]) -> sitk.Image:
    """Float32; voxels without a number become the smallest value. Raises ConversionError for a constant volume."""
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    numbers = np.isfinite(array)
    if not numbers.all():
        lost = int(np.count_nonzero(~numbers))
        warnings.append(f"{lost:,} voxels of the {name} scan are NaN or infinite; nothing can be found there.")
        array[~numbers] = array[numbers].min()
    if array.min() == array.max():
        raise ConversionError(f"The {name} scan has the same value everywhere. There is nothing to look at.")
    return on_grid_of(image, array)


def _warn_of_edges(lesions: Sequence[Lesion], image: sitk.Image, warnings: list[str]) -> None:
    """A lesion that the field of view cuts is larger than it seems."""
    size = image.GetSize()
    reach = [3.0 / step for step in image.GetSpacing()]
    cut = sum(
        any(place < near or place > n - 1 - near for place, n, near in zip(lesion.voxel, size, reach) if n > 1)
        for lesion in lesions
    )
    if cut:
        said = "lesion lies" if cut == 1 else "lesions lie"
        warnings.append(f"{cut} {said} at the edge of the field of view: what is beyond it was not seen.")
