"""How wide intervals must be: split conformal prediction, one factor for each source, target and kind of tissue.

A voxel's score is its absolute error over the standard deviation that the model gives. The factor is the score that the
wanted share of the held-out voxels do not exceed (Angelopoulos and Bates, Conformal Prediction: A Gentle Introduction,
2023), every case with the same weight, however much of the tissue it shows. Neighbouring voxels are alike, so what is
promised is an average over like heads, not for each.

A new person differs from those at hand by more than their voxels do from one another, so that the factor of all of them covers
too little of the next one. Therefore the share is raised until people judged by the others are covered as promised, on average;
but never beyond what the hardest of them needs, since then a few voxels would decide.

`measured` is the coverage on people whom the factor did not see: the cases are split by person, each person's voxels are
judged by a factor that was made of all others alone, raised where these are two or more; then the factor that is written is
taken from all.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.convert import convert
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from modality_conversion.schema import ConversionSpec
from modality_conversion.tissues import tissue_map, tissue_names
from training.config import ConfigError
from training.data.regions import Region
from training.evaluation.cases import TestCase
from training.evaluation.directions import Direction, possible
from training.evaluation.measure import REGION_NAMES, make_task
from training.evaluation.settings import CalibrateSettings

FILE = "calibration.json"
Key = tuple[Modality, Modality, str]
"""Source, target, tissue."""


@dataclass
class Scores:
    """What has been measured so far."""

    by_tissue: dict[Key, dict[str, list[NDArray[np.float32]]]] = field(default_factory=lambda: defaultdict(dict))
    """Of each case of each person: scores of some of its voxels."""
    by_region: dict[tuple[Modality, Modality], list[tuple[str, NDArray[Any]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Person, and (tissue number, region, score) of some voxels, to see the coverage in true tissues."""
    volumes: list["Volume"] = field(default_factory=list)
    """Each conversion as a whole."""


@dataclass(frozen=True)
class Volume:
    """One conversion: how unsure the model is in each kind of tissue, and how far off it is."""

    person: str
    source: Modality
    target: Modality
    sigma: dict[str, float]
    """Sum of the standard deviations in a tissue over the number of all voxels; of the tissues that are large enough."""
    error: float
    """Mean absolute error."""

    def half_width(self, factors: Mapping[Key, float]) -> float | None:
        """Mean half-width of the interval; None where no tissue is large enough."""
        parts = [sigma * factors[self.source, self.target, tissue] for tissue, sigma in self.sigma.items()]
        return sum(parts) if parts else None


def calibrate(
    bundle: Bundle,
    cases: Iterable[TestCase],
    settings: CalibrateSettings,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The content of `calibration.json`: the section `calibration` for the bundle, and the coverage that was measured.

    Raises ConfigError where the bundle gives no standard deviation, or no case can be converted.
    """
    if bundle.spec.output.uncertainty is None:
        raise ConfigError(f"{bundle.spec.id} does not say how sure it is, so there is nothing to calibrate.")
    scores = Scores()
    rng = np.random.default_rng(settings.seed)
    wanted = [Direction.parse(text) for text in settings.directions]
    names = []
    for case in cases:
        for direction in possible(bundle.spec, case.scans.keys(), case.truths.keys(), wanted):
            if len(direction.sources) == 1:
                _one(bundle, case, direction, settings, scores, rng)
        names.append(case.name)
        report(case.name)
    if not scores.by_tissue:
        raise ConfigError("Nothing could be calibrated: no case has a scan that the bundle converts and its target.")
    return _result(bundle, scores, names, settings)


def _one(
    bundle: Bundle,
    case: TestCase,
    direction: Direction,
    settings: CalibrateSettings,
    scores: Scores,
    rng: np.random.Generator,
) -> None:
    task = make_task(case, direction)
    if task is None:
        return
    source, target = direction.sources[0], direction.target
    try:
        done = convert(task.scans, bundle, target=target, device=settings.device)
    except ConversionError as error:
        raise ConfigError(f"{bundle.spec.id} failed on {case.name}, {direction}: {error}") from error
    assert done.uncertainty is not None
    covered = sitk.GetArrayFromImage(case.truths[target].covers(case.scans[source])) > 0
    kinds = tissue_map(done.image, target) * covered
    sigma = np.maximum(sitk.GetArrayViewFromImage(done.uncertainty), floor(bundle.spec, target))
    off = np.abs(sitk.GetArrayViewFromImage(done.image) - sitk.GetArrayViewFromImage(task.truth))
    inside = kinds > 0
    if not inside.any():
        return
    regions = None if task.regions is None else sitk.GetArrayViewFromImage(task.regions)
    person = case.person or case.name
    unsure = {}
    for number, name in enumerate(tissue_names(target), start=1):
        places = np.flatnonzero(kinds == number)
        if len(places) < settings.least_voxels:
            continue
        unsure[name] = float(sigma.ravel()[places].sum(dtype=np.float64) / np.count_nonzero(inside))
        some = rng.choice(places, settings.voxels)  # with repetition: every case has the same weight
        ratio = (off.ravel()[some] / sigma.ravel()[some]).astype(np.float32)
        scores.by_tissue[source, target, name].setdefault(person, []).append(ratio)
    scores.volumes.append(Volume(person, source, target, unsure, float(off[inside].mean())))
    if regions is not None:
        some = rng.choice(np.flatnonzero(inside), 4 * settings.voxels)
        columns = [kinds.ravel()[some], regions.ravel()[some], off.ravel()[some] / sigma.ravel()[some]]
        scores.by_region[source, target].append((person, np.stack([c.astype(np.float32) for c in columns])))


def floor(spec: ConversionSpec, target: Modality) -> float:
    """The smallest standard deviation that is believed: 1 HU, or half a percent of the display window."""
    declared = spec.targets[target]
    return 1.0 if declared.units == "HU" else 0.005 * declared.window


def quantile(scores: Sequence[NDArray[np.float32]], coverage: float) -> float:
    """The score that the wanted share does not exceed, with the finite-sample step up: rank ceil((n + 1) coverage)."""
    ranked = np.sort(np.concatenate(list(scores)))
    rank = min(len(ranked), int(np.ceil((len(ranked) + 1) * coverage)))
    return float(ranked[rank - 1])


def raised_quantile(people: Sequence[Sequence[NDArray[np.float32]]], coverage: float) -> float:
    """The factor for a new person, from the scores of each case of each person: the quantile of all at the lowest level from
    `coverage` on at which people judged by the same quantile of the others are covered so well on average; at most the
    quantile that the hardest of them has alone.
    """
    every = [part for parts in people for part in parts]
    plain = quantile(every, coverage)
    if len(people) < 2:
        return plain
    hardest = max(plain, *(quantile(parts, coverage) for parts in people))

    def covered(level: float) -> float:
        shares = []
        for number, own in enumerate(people):
            limit = quantile([part for other, parts in enumerate(people) if other != number for part in parts], level)
            shares += [float(np.mean(part <= limit)) for part in own]
        return float(np.mean(shares))

    low, high = coverage, 1.0
    if covered(low) >= coverage:
        return plain
    while high - low > 1e-3:  # coverage rises with the level
        middle = (low + high) / 2
        low, high = (low, middle) if covered(middle) >= coverage else (middle, high)
    return min(quantile(every, high), hardest)


def _result(bundle: Bundle, scores: Scores, names: Sequence[str], settings: CalibrateSettings) -> dict[str, Any]:
    factors: list[dict[str, Any]] = []
    written: dict[Key, float] = {}
    held_out = {}
    for (source, target, tissue), people in scores.by_tissue.items():
        count = sum(map(len, people.values()))
        shares = []
        for person, parts in people.items():
            others = [theirs for other, theirs in people.items() if other != person]
            if others:
                limit = raised_quantile(others, settings.coverage)
                held_out[source, target, tissue, person] = limit
                shares += [float(np.mean(part <= limit)) for part in parts]
        written[source, target, tissue] = max(raised_quantile(list(people.values()), settings.coverage), 1e-3)
        factors.append(
            {
                "source": source.value,
                "target": target.value,
                "tissue": tissue,
                "factor": written[source, target, tissue],
                "floor": floor(bundle.spec, target),
                "cases": count,
                "measured": float(np.mean(shares)) if shares else None,
            }
        )
    people_count = len({person for people in scores.by_tissue.values() for person in people})
    data = settings.data or f"{len(names)} held-out cases of {people_count} people or simulated heads"
    section = {"coverage": settings.coverage, "factors": factors, "data": data}
    return {
        "model": bundle.spec.id,
        "weights": [entry.sha256 for entry in bundle.spec.weights],
        "cases": list(names),
        "calibration": section,
        "regions": _coverage_of_regions(scores, held_out),
        **_ranks(scores.volumes, written),
    }


def _ranks(volumes: Sequence[Volume], factors: Mapping[Key, float]) -> dict[str, Any]:
    """How well the mean half-width of a volume's interval tells its mean error: Spearman's correlation of each target, whose
    units are its own, and the mean of these. By the factors that are written: those that each leave out another person would
    rank the people by whom they leave out.
    """
    pairs: dict[Modality, list[tuple[float, float]]] = defaultdict(list)
    rows = []
    for volume in volumes:
        half_width = volume.half_width(factors)
        if half_width is not None:
            pairs[volume.target].append((half_width, volume.error))
        named = {"person": volume.person, "source": volume.source.value, "target": volume.target.value}
        rows.append(named | {"sigma": volume.sigma, "half_width": half_width, "error": volume.error})
    by_target = {target.value: spearman(known) for target, known in pairs.items()}
    found = [value for value in by_target.values() if value is not None]
    return {
        "spearman": float(np.mean(found)) if found else None,
        "spearman_by_target": by_target,
        "conversions": len(volumes),
        "volumes": rows,
    }


def _coverage_of_regions(
    scores: Scores, limits: dict[tuple[Modality, Modality, str, str], float]
) -> list[dict[str, Any]]:
    """Coverage in the tissues that are there in truth, by factors that did not see the person."""
    rows = []
    for (source, target), parts in scores.by_region.items():
        within: dict[int, list[NDArray[np.bool_]]] = defaultdict(list)
        for person, (kinds, regions, ratio) in parts:
            factor = np.full(len(ratio), np.nan, np.float32)
            for number, tissue in enumerate(tissue_names(target), start=1):
                factor[kinds == number] = limits.get((source, target, tissue, person), np.nan)
            known = np.isfinite(factor)
            for region in REGION_NAMES:
                here = known & (regions == region)
                within[region].append(ratio[here] <= factor[here])
        for code, shares in within.items():
            joined = np.concatenate(shares)
            if len(joined) >= 100:
                rows.append(
                    {
                        "source": source.value,
                        "target": target.value,
                        "region": REGION_NAMES[Region(code)],
                        "coverage": float(joined.mean()),
                        "voxels": len(joined),
                    }
                )
    return rows


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation of volume uncertainty and error; None for fewer than 3 volumes, or all the same."""
    if len(pairs) < 3 or min(np.ptp(np.array(pairs), axis=0)) == 0:
        return None
    from scipy.stats import spearmanr

    value = float(spearmanr(*np.array(pairs).T).statistic)
    return value if np.isfinite(value) else None


def write_calibration(bundle: Bundle, content: dict[str, Any], folder: Path) -> list[str]:
    """Put the factors into the bundle's declaration, and everything into the folder. Gives the engine's warnings.

    The declaration is replaced in one step, and only if the engine accepts it. Raises ConfigError where it does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    path = bundle.path / "configs" / "conversion.json"
    before = path.read_text(encoding="utf-8-sig")
    declared = json.loads(before) | {"calibration": content["calibration"]}
    draft = path.with_name(".conversion.json.tmp")
    draft.write_text(json.dumps(declared, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
    faults = check(bundle.path)
    errors = [str(fault) for fault in faults if fault.severity == "error"]
    if errors:
        path.write_text(before, encoding="utf-8")
        raise ConfigError("The engine does not accept the calibration:\n" + "\n".join(errors))
    return [str(fault) for fault in faults]
