"""What the module keeps between sessions, in Slicer's own settings; and where the models are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import slicer

from modality_conversion.catalog import Catalog, user_models_dir

GROUP = "ModalityConversion"
_MODELS_DIR = f"{GROUP}/ModelsFolder"
_INSTALLED = f"{GROUP}/InstalledPackages"
_INSTALLED_MODELS = f"{GROUP}/InstalledModels"


def models_dir() -> Path:
    """The folder that models are installed into: the one chosen in the panel, else the user's data folder."""
    chosen = slicer.app.userSettings().value(_MODELS_DIR)
    return Path(chosen) if chosen else user_models_dir()


def set_models_dir(folder: Path | None) -> None:
    """Choose the models folder; None goes back to the user's data folder."""
    if folder is None:
        slicer.app.userSettings().remove(_MODELS_DIR)
    else:
        slicer.app.userSettings().setValue(_MODELS_DIR, str(folder))


def catalog() -> Catalog:
    """The models as they are on the disk now: the chosen folder first, then the usual ones."""
    return Catalog((models_dir(),))


def installed_packages() -> list[str]:
    """Names of the Python packages that this module installed."""
    names = slicer.app.userSettings().value(_INSTALLED) or ""
    return [name for name in str(names).split(",") if name]


def set_installed_packages(names: list[str]) -> None:
    """Remember which packages this module installed, so that it can remove them again."""
    slicer.app.userSettings().setValue(_INSTALLED, ",".join(sorted(set(names))))


def installed_models() -> list[Path]:
    """The folders of the models that this module installed."""
    try:
        return [Path(text) for text in json.loads(str(slicer.app.userSettings().value(_INSTALLED_MODELS) or "[]"))]
    except ValueError:
        return []


def set_installed_models(folders: Iterable[Path]) -> None:
    """Remember which models this module installed, so that it removes those and no others."""
    slicer.app.userSettings().setValue(_INSTALLED_MODELS, json.dumps(sorted({str(folder) for folder in folders})))


def forget() -> None:
    """Remove every setting of this module."""
    slicer.app.userSettings().remove(GROUP)
