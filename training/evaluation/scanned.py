"""People as they were scanned: every scan on its own stored grid, thick slices and all, as a user would bring it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from modality_conversion.compare import default_mask
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.images import read_mask, read_scan
from training.data.layouts import CaseFiles, Source, find_cases, usable
from training.data.load import brain_of_template, is_too_large, largest
from training.data.regions import Region
from training.data.registration import register
from training.data.split import Part, Split
from training.evaluation.cases import IDENTITY, Placed, TestCase, evenly


def scanned_cases(
    source: Source, split: Split, part: Part, most: int | None = None, warn: Callable[[str], None] = lambda _: None
) -> Iterator[TestCase]:
    """The cases of a source whose person is in a part of the split, with two scans or more; at most so many.

    Someone whom the split does not know may have been trained on, and is left out with a warning. Raises ConfigError where
    the source has no case at all.
    """
    found, _ = usable(source, find_cases(source))
    strangers = sorted({case.person for case in found if not split.knows(case.person)})
    if strangers:
        warn(f"Left out, since the split does not say in which part they are: {', '.join(strangers)}.")
    known = [case for case in found if case.person not in strangers and split.part_of(case.person) == part]
    for case in evenly(known, most):
        yield _read(case, source, warn)


def _read(case: CaseFiles, source: Source, warn: Callable[[str], None]) -> TestCase:
    scans = {
        kind: Placed(read_scan(path, kind, warn), _transform(case.to_scan.get(kind)))
        for kind, path in case.scans.items()
    }
    first = next(iter(scans))
    scans = {first: scans[first]} | _aligned(scans[first], scans, case.name, source, warn)
    reference = scans[first]
    stripped = "not 0" in default_mask(reference.image)[1]
    return TestCase(
        name=case.name,
        scans=scans,
        truths=scans,
        regions=_regions(case, scans, stripped, source, warn),
        real=case.origin != "simulated",
        whole_head=not stripped,
        person=case.person,
    )


def _aligned(
    reference: Placed, scans: dict[Modality, Placed], name: str, source: Source, warn: Callable[[str], None]
) -> dict[Modality, Placed]:
    """The other scans, registered as the source says; those that are out of line all the same are left out."""
    kept = {}
    for kind, scan in scans.items():
        if scan is reference:
            continue
        start = sitk.CompositeTransform([scan.transform, reference.transform.GetInverse()])
        found = register(reference.image, scan.image, source.registration, start)
        if found.offset is not None and found.offset > source.largest_offset:
            warn(
                f"{name}: the {kind} was left out; it is {found.offset:.1f} mm out of line. Set `registration: rigid`."
            )
            continue
        kept[kind] = Placed(scan.image, sitk.CompositeTransform([found.transform, reference.transform]))
    return kept


def _transform(path: Path | None) -> sitk.Transform:
    return IDENTITY if path is None else sitk.ReadTransform(str(path))


def _regions(
    case: CaseFiles, scans: dict[Modality, Placed], stripped: bool, source: Source, warn: Callable[[str], None]
) -> Placed | None:
    """What is known of the brain and its lesions, on the grid of the first scan; None where nothing is."""
    reference = next(iter(scans.values()))
    inside = _brain(case, reference, stripped, source, lambda text: warn(f"{case.name}: {text}"))
    if inside is None:
        return None
    codes = np.where(inside, Region.BRAIN, Region.BACKGROUND).astype(np.uint8)
    if case.labels is not None:
        labels = Placed(read_mask(case.labels)).on(reference, labels=True)
        codes[(sitk.GetArrayFromImage(labels) > 0) & inside] = case.labels_show
    image = sitk.GetImageFromArray(codes)
    image.CopyInformation(reference.image)
    return Placed(image, reference.transform)


def _brain(
    case: CaseFiles, reference: Placed, stripped: bool, source: Source, warn: Callable[[str], None]
) -> NDArray[np.bool_] | None:
    """The brain on the grid of the first scan, found as it is for packing; None where it is asked for nowhere.

    Raises ConfigError where the source asks for a mask that is not there, or that is larger than a brain.
    """
    wanted = source.brain
    if wanted == "none":
        return None
    if wanted in ("auto", "mask") and case.mask is not None and case.mask_shows == "brain":
        to_mask = _transform(case.from_mask).GetInverse()
        inside = sitk.GetArrayFromImage(Placed(read_mask(case.mask), to_mask).on(reference, labels=True)) > 0
        if not is_too_large(case, source, inside, reference.image, warn):
            return inside
    if wanted == "mask":
        raise ConfigError(f"{case.name} has no brain mask. Put one beside the scans, or ask for `brain: template`.")
    if wanted == "nonzero" or (wanted == "auto" and stripped):
        return largest(sitk.GetArrayFromImage(reference.image) != 0)
    return brain_of_template(reference.image, reference.image, warn)
