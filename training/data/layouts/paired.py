"""Paired folders, as people keep them: a folder per modality, a folder per person, or everything in one folder."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from modality_conversion.modality import Modality, from_name, recognise_file
from training.config import ConfigError
from training.data.layouts.base import CaseFiles, Scan, Source, check_folder, is_scan, stem, together

EXPECTED = "T1/one.nii.gz and T2/one.nii.gz, or one/T1.nii.gz and one/T2.nii.gz, or one_T1.nii.gz and one_T2.nii.gz"
_MASK = re.compile(r"(?:^|[_\-. ])(?:brain[_-]?)?mask$", re.IGNORECASE)
_LABELS = re.compile(r"(?:^|[_\-. ])(?:lesions?|seg|gt|tumou?r|labels?)$", re.IGNORECASE)


class PairedSource(Source):
    """Paired folders. Modalities are read from the names, or from `patterns`."""

    layout: Literal["paired"] = "paired"
    """Name of the layout."""
    patterns: dict[Modality, str] = Field(default_factory=dict)
    """Where each kind of scan is, below the folder, such as `{person}/{session}/t1_*.nii.gz`; for names that say nothing.
    Person and session may hold anything but `/`; `*` stands for any letters."""
    mask_shows: Literal["brain", "body"] = "brain"
    """What a file named `mask` beside the scans shows."""


def find(source: PairedSource) -> list[CaseFiles]:
    """The cases of paired folders."""
    check_folder(source, EXPECTED)
    scans = _by_patterns(source) if source.patterns else _by_names(source)
    expected = " and ".join(source.patterns.values()) or EXPECTED
    return together(source, scans, expected, mask_shows=source.mask_shows)


def _by_patterns(source: PairedSource) -> Iterator[Scan]:
    paths = [path for path in source.folder.rglob("*") if is_scan(path)]
    for modality, pattern in source.patterns.items():
        if "{person}" not in pattern:
            raise ConfigError(f"The pattern {pattern!r} of {modality} has no {{person}}.")
        for path in paths:
            if found := _matcher(pattern).fullmatch(path.relative_to(source.folder).as_posix()):
                groups = found.groupdict()
                yield Scan(path, modality, groups["person"], groups.get("session") or "", *_beside(path.parent, ""))


def _matcher(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression; a name that comes again must be the same text again."""
    text, seen = "", set[str]()
    for part in re.split(r"(\{\w+\}|\*)", pattern):
        if part == "*":
            text += "[^/]*"
        elif part in ("{person}", "{session}"):
            name = part[1:-1]
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
            seen.add(name)
        else:
            text += re.escape(part)
    return re.compile(text)


def _by_names(source: PairedSource) -> Iterator[Scan]:
    """A folder named after a modality holds one file a person; else the file's name says the modality."""
    for path in sorted(source.folder.rglob("*")):
        if not is_scan(path) or _MASK.search(stem(path)) or _LABELS.search(stem(path)):
            continue
        parents = path.relative_to(source.folder).parent.parts
        folder = next((kind for name in parents if (kind := from_name(name)) is not None), None)
        recognised = recognise_file(path)
        modality = recognised[0] if recognised else folder
        if modality is None:
            continue
        rest = [part for part in parents if from_name(part) is None]
        name = _without_modality(stem(path))
        # In a folder of its own, a person is the folder; a second level is the session. Else the file's name.
        visit = [*rest, name] if folder is not None or not rest else rest
        person, session = visit[0] if visit[0] else stem(path), "_".join(part for part in visit[1:] if part)
        shared = "" if rest and folder is None else name
        yield Scan(path, modality, person, session, *_beside(path.parent, shared))


def _without_modality(name: str) -> str:
    """`sub-3_T1w` and `sub-3_T2w` both as `sub-3`."""
    words = re.split(r"([^A-Za-z0-9*+]+)", name)
    kept = [word for word in words if from_name(word) is None]
    return re.sub(r"[_\-. ]{2,}", "_", "".join(kept)).strip("_-. ")


def _beside(folder: Path, name: str) -> tuple[Path | None, Path | None]:
    """Mask and labels beside a scan; of the same person, where files of several share a folder."""

    def first(pattern: re.Pattern[str]) -> Path | None:
        for path in sorted(folder.iterdir()):
            if is_scan(path) and (found := pattern.search(stem(path))) and stem(path)[: found.start()] in ("", name):
                return path
        return None

    return first(_MASK), first(_LABELS)
