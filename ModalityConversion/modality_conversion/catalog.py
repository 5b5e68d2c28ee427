"""The models on this machine: where they are looked for, which one wins, which ones fit a scan."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bundle import Bundle, Summary, is_bundle, summary
from .errors import ConversionError, InvalidBundle
from .modality import Modality

MODELS_VARIABLE = "MODALITY_CONVERSION_MODELS"
"""Environment variable: further model folders, separated as in PATH."""
RECOGNISER_FILE = "configs/recogniser.json"
"""What makes a folder the recogniser (`recognise_network`), which is no model: it converts nothing."""


def bundled_models_dir() -> Path:
    """Where the models that come with the program are: in the wheel, in Slicer's extension, or in the source tree.

    The path for the source tree where none of them exists.
    """
    package = Path(__file__).resolve().parent
    places = (
        package / "bundled_models",
        package.parent / "Resources" / "Models",
        package.parent.parent / "Resources" / "Models",
    )
    return next((place for place in places if place.is_dir()), places[-1])


def user_models_dir() -> Path:
    """Where models that the user installs go; it may not exist yet."""
    try:
        from platformdirs import user_data_dir
    except ImportError:  # a bare Slicer that only lists its models; the same folders, without the rarer platforms
        return _plain_data_dir() / "ModalityConversion" / "Models"
    return Path(user_data_dir("ModalityConversion", appauthor=False)) / "Models"


def _plain_data_dir() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


@dataclass(frozen=True)
class Entry:
    """One model folder that was found."""

    id: str
    """The declared id; the folder's name where that cannot be read."""
    path: Path
    bundle: Bundle | None
    """None where the folder has faults."""
    error: InvalidBundle | None = None
    """Why there is no bundle; `error.faults` has every reason."""
    shadowed_by: Path | None = None
    """The folder with the same id that is used instead, or None where this one is used."""
    is_bundled: bool = False
    """Whether it came with the program."""


class Catalog:
    """The models in the folders given, those in MODALITY_CONVERSION_MODELS, the user's own, and the bundled ones.

    They are looked for in that order, and at every call, so a folder just dropped in is seen. Of two models with one id
    the first wins. A folder with faults is listed, with its faults, and hides no other.
    """

    def __init__(self, models_dirs: Sequence[Path | str] = ()) -> None:
        variable = os.environ.get(MODELS_VARIABLE, "")
        named = [*models_dirs, *(part for part in variable.split(os.pathsep) if part)]
        self._bundled = bundled_models_dir()
        self.dirs: tuple[Path, ...] = tuple(
            dict.fromkeys(Path(path).absolute() for path in (*named, user_models_dir(), self._bundled))
        )
        """The folders looked into, first to last."""

    def entries(self) -> list[Entry]:
        """Every model folder found, used, shadowed or broken, in the order of the search."""
        entries: list[Entry] = []
        winners: dict[str, Path] = {}
        for folder in self._folders():
            is_bundled = folder.parent.resolve() == self._bundled
            try:
                bundle = Bundle.load(folder)
            except InvalidBundle as error:
                entries.append(Entry(summary(folder).id, folder, None, error, None, is_bundled))
                continue
            winner = winners.setdefault(bundle.spec.id, folder)
            shadow = None if winner == folder else winner
            entries.append(Entry(bundle.spec.id, folder, bundle, None, shadow, is_bundled))
        return entries

    def summaries(self) -> list[Summary]:
        """The models to show in a list, with the standard library alone; of one id only the first that has no fault."""
        shown: list[Summary] = []
        seen: set[str] = set()
        for folder in self._folders():
            found = summary(folder)
            if found.fault is None and found.id in seen:
                continue
            if found.fault is None:
                seen.add(found.id)
            shown.append(found)
        return shown

    def bundles(self) -> list[Bundle]:
        """The models in use, in the order of the search."""
        return [entry.bundle for entry in self.entries() if entry.bundle is not None and entry.shadowed_by is None]

    def get(self, id: str) -> Bundle:
        """The model with this id.

        Raises InvalidBundle where only a folder with faults has it; where none has, ConversionError with ids that are
        close.
        """
        entries = self.entries()
        for entry in entries:
            if entry.id == id and entry.bundle is not None:
                return entry.bundle
        for entry in entries:
            if entry.id == id and entry.error is not None:
                raise entry.error
        ids = list(dict.fromkeys(entry.id for entry in entries if entry.bundle is not None))
        close = difflib.get_close_matches(id, ids, 3)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"There is {', '.join(ids) or 'none'}."
        raise ConversionError(f"There is no model {id!r}. {hint} See: modality-conversion models list")

    def find(self, source: Modality | str, target: Modality | str) -> list[Bundle]:
        """The models that make `target` from one scan of `source`, best first.

        First those that need no further scan; then in the order of the search, so that the user's own come before the
        bundled ones; then those made for fewer conversions; then by id. The first one is the default.

        Raises ValueError for a modality that this tool does not know.
        """
        source, target = Modality.parse(source), Modality.parse(target)
        fitting = [bundle for bundle in self.bundles() if target in _makes(bundle, source)]
        return sorted(fitting, key=lambda bundle: (_needs_more(bundle, source), self._rank(bundle), _breadth(bundle)))

    def targets_from(self, source: Modality | str) -> list[Modality]:
        """What can be made from a scan of `source`, in the order of `Modality`.

        Raises ValueError for a modality that this tool does not know.
        """
        source = Modality.parse(source)
        reachable = {target for bundle in self.bundles() for target in _makes(bundle, source)}
        return [modality for modality in Modality if modality in reachable]

    def segmenters(self, source: Modality | str) -> list[Bundle]:
        """The models that segment a scan of `source`, best first: in the order of `find`. The first one is the default.

        Raises ValueError for a modality that this tool does not know.
        """
        source = Modality.parse(source)
        fitting = [b for b in self.bundles() if b.spec.segmentation is not None and source in b.spec.modalities]
        return sorted(fitting, key=lambda b: (_needs_more(b, source), self._rank(b), len(b.spec.modalities), b.spec.id))

    def _folders(self) -> Iterator[Path]:
        for place in self.dirs:
            if is_bundle(place):  # a folder given that is a model itself
                yield place
                continue
            try:
                inside = sorted(place.iterdir())
            except OSError:  # not there, or not ours to read
                continue
            # A name that starts with a dot is an installation under way, or what is left of one.
            yield from (path for path in inside if not path.name.startswith(".") and _looks_like_one(path))

    def _rank(self, bundle: Bundle) -> int:
        return next(n for n, place in enumerate(self.dirs) if bundle.path in (place, place / bundle.path.name))


def _looks_like_one(folder: Path) -> bool:
    """Whether to list a folder: it has a declaration, or weights that want one."""
    try:
        if (folder / RECOGNISER_FILE).is_file():
            return False
        return is_bundle(folder) or (folder / "models").is_dir() or (folder / "configs").is_dir()
    except OSError:  # not ours to look into; listed, so that the user learns of it
        return True


def _makes(bundle: Bundle, source: Modality) -> list[Modality]:
    """The targets of a model for a scan of `source`; a scan is not turned into itself where there is anything else."""
    if source not in bundle.spec.modalities:
        return []
    targets = list(bundle.spec.targets)
    return [target for target in targets if target != source or len(targets) == 1]


def _needs_more(bundle: Bundle, source: Modality) -> bool:
    return any(
        entry.role == "image" and entry.missing == "error" and entry.modality not in (None, source)
        for entry in bundle.spec.inputs
    )


def _breadth(bundle: Bundle) -> tuple[int, str]:
    return len(bundle.spec.modalities) * len(bundle.spec.targets), bundle.spec.id
