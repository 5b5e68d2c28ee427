"""The installed models as the panel offers them, read with the standard library alone."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from modality_conversion.bundle import Summary
from modality_conversion.catalog import bundled_models_dir
from modality_conversion.modality import Modality

from . import settings

_KEPT_S = 1.0
_seen: tuple[object, float, list[Summary]] = (None, 0.0, [])


def look_again() -> None:
    """Read the models anew at the next question; without it, when a folder of models changed, and once a second."""
    global _seen
    _seen = (None, 0.0, [])


def usable() -> list[Summary]:
    """The models without a fault, in the order of the search: the user's own before the bundled ones."""
    return [summary for summary in everything() if summary.fault is None]


def everything() -> list[Summary]:
    """All models, broken ones too."""
    global _seen
    catalog = settings.catalog()
    folders = tuple((folder, _changed(folder)) for folder in catalog.dirs)
    if _seen[0] != folders or time.monotonic() - _seen[1] > _KEPT_S:
        _seen = (folders, time.monotonic(), catalog.summaries())
    return _seen[2]


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def targets(source: Modality) -> list[Modality]:
    """What the installed models make of a scan of `source`, in the order of `Modality`."""
    made = {target for summary in usable() for target in _targets(summary, source)}
    return [modality for modality in Modality if modality in made]


def between(source: Modality, target: Modality, further: Collection[Modality] = ()) -> list[Summary]:
    """The models that make `target` of a scan of `source`; the first is the default.

    Last those that need scans which are not there; where there are `further` scans, first those that read several.
    """
    fitting = [summary for summary in usable() if target in _targets(summary, source)]
    given = {source, *further}
    return sorted(fitting, key=lambda one: (not given.issuperset(one.needs), bool(further) and not one.joint))


def segmenting(source: Modality) -> list[Summary]:
    """The models that outline the tumor on a scan of `source`."""
    return [summary for summary in usable() if summary.segments and source in summary.sources]


def goes_back(source: Modality, target: Modality) -> bool:
    """Whether a model makes a `source` of one `target` scan, so that a conversion can be converted back."""
    return any(
        source in summary.targets and target in summary.sources and {target}.issuperset(summary.needs)
        for summary in usable()
    )


def is_bundled(summary: Summary) -> bool:
    """Whether a model came with the extension, and so cannot be removed."""
    return summary.path.parent.resolve() == bundled_models_dir().resolve()


def card(summary: Summary) -> str:
    """The model card, Markdown; empty where there is none."""
    try:
        return (summary.path / "docs" / "README.md").read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def _targets(summary: Summary, source: Modality) -> tuple[Modality, ...]:
    if source not in summary.sources:
        return ()
    # A scan is not turned into itself where there is anything else.
    return tuple(target for target in summary.targets if target != source or len(summary.targets) == 1)
