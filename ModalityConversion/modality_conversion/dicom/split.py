"""From the planes of one series to its volumes: echoes, image types, time points and orientations told apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from ..bundle import sha256_of
from .frame import ALWAYS_APART, APART_IF_NEEDED, Frame
from .grid import NoGrid, coincide, stacked
from .volume import DicomVolume

# Headers round direction cosines to as little as four digits.
_SAME_DIRECTION = 2e-3
_SAME_SPACING = 1e-3


def volumes_of(
    series: str, study: str, frames: Sequence[Frame], folder: Path, refusal: str = "", promised: int = 0
) -> list[DicomVolume]:
    """The volumes of one series, those first that hold the first files. With a `refusal` all of them have it.

    `promised` is how many images the headers say there are, or 0.
    """
    stacks = [stack for group in _kinds(frames) for stack in _time_points(group)]
    siblings = tuple(dict.fromkeys(frame.path for frame in frames))
    notes = []
    if promised > len(frames):
        notes.append(f"The series says that it has {promised} images; {len(frames)} were found.")
    many = len(stacks) > 1
    return [
        _volume(f"{series}#{n}" if many else series, series, study, stack, folder, refusal, notes, siblings)
        for n, stack in enumerate(stacks, 1)
    ]


def _volume(
    id: str,
    series: str,
    study: str,
    frames: list[Frame],
    folder: Path,
    refusal: str,
    notes: list[str],
    siblings: tuple[Path, ...],
) -> DicomVolume:
    notes = list(notes)
    if not refusal:
        try:
            frames = _without_copies(frames, notes)
            frames = list(stacked(frames).frames)
        except NoGrid as error:
            refusal = str(error)
    if frames[0].told.get("Modality") == "CT" and not frames[0].told.get("RescaleSlope"):
        notes.append(
            "The series does not say how its values become Hounsfield units (no RescaleSlope); they were taken as Hounsfield "
            "units as they are."
        )
    return DicomVolume(id, series, study, tuple(frames), folder, refusal, tuple(notes), siblings)


def _kinds(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Planes of one size, direction, pixel size, image type and echo."""
    groups: list[list[Frame]] = []
    of_one_kind: dict[Hashable, list[list[Frame]]] = {}  # so that each plane is compared with few others
    for frame in frames:
        kind = frame.rows, frame.columns, frame.unusable, *(frame.told.get(name) for name in ALWAYS_APART)
        candidates = of_one_kind.setdefault(kind, [])
        for group in candidates:
            if _alike(group[0], frame):
                group.append(frame)
                break
        else:
            group = [frame]
            candidates.append(group)
            groups.append(group)
    return groups


def _alike(one: Frame, other: Frame) -> bool:
    return _near(one.orientation, other.orientation, _SAME_DIRECTION) and _near(
        one.spacing, other.spacing, _SAME_SPACING
    )


def _near(one: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= tolerance for a, b in zip(one, other))


def _time_points(frames: list[Frame]) -> list[list[Frame]]:
    """Planes that lie upon each other, told apart by the first tag that puts each into a stack of its own."""
    if not _overlap(frames):
        return [frames]
    for name in APART_IF_NEEDED:
        groups = _by(frames, lambda frame, name=name: frame.told.get(name))  # type: ignore[misc]
        if len(groups) > 1 and not any(_overlap(group) for group in groups):
            return groups
    return [frames]


def _by(frames: Sequence[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return list(groups.values())


def _overlap(frames: Sequence[Frame]) -> bool:
    """Whether different images lie at one place; a broken header overlaps nothing."""
    if not all(frame.position and frame.orientation for frame in frames):
        return False
    try:
        return any(one.instance != other.instance or one.number != other.number for one, other in coincide(frames))
    except NoGrid:
        return False


def _without_copies(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """One of each plane where the same file lies there several times. Raises NoGrid where the copies differ."""
    kept: list[Frame] = []
    for same in _by(frames, lambda frame: (frame.instance, frame.number)):
        kept.append(same[0])
        if len(same) > 1 and len({sha256_of(frame.path) for frame in same}) > 1:
            raise NoGrid("has an image twice, under one identifier but not the same. Fetch it from the archive again.")
    if len(kept) < len(frames):
        notes.append(f"{len(frames) - len(kept)} copies of images that are there twice were left out.")
    return kept
