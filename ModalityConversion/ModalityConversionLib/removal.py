"""Removing all that this extension put on the machine: models, software, settings."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from modality_conversion.bundle import Summary
from modality_conversion.catalog import user_models_dir
from modality_conversion.errors import ConversionError

from . import dependencies, models, settings
from .i18n import tr as _


@dataclass(frozen=True)
class Found:
    """What would be removed."""

    models: tuple[Summary, ...]
    packages: tuple[str, ...]
    folder: Path
    """The default models folder; removed where it is empty afterwards. A folder that the user chose stays."""


def found() -> Found:
    """What is there: models and packages that this module installed, its settings. Folders dropped in by hand stay."""
    ours = set(settings.installed_models())
    installed = tuple(summary for summary in models.everything() if summary.path in ours)
    return Found(installed, tuple(settings.installed_packages()), user_models_dir())


def question(found: Found) -> str:
    """What the user is asked."""
    listed = "\n".join(str(summary.path) for summary in found.models) or _("(none)")
    return _(
        "Remove these models:\n{models}\n\nthe Python packages {packages}, and the settings of ModalityConversion?\n\n"
        "Model folders that were put there by hand and volumes in the scene stay. The extension itself is removed in the "
        "Extensions Manager."
    ).format(models=listed, packages=", ".join(found.packages) or _("(none)"))


def remove(found: Found) -> None:
    """Remove it. Raises ConversionError, with what is left, where something cannot be deleted."""
    left = []
    for summary in found.models:
        try:
            if summary.path.is_symlink():
                summary.path.unlink()  # the link alone; what it leads to is not ours
            else:
                shutil.rmtree(summary.path)
        except OSError:
            left.append(str(summary.path))
    for folder in (found.folder, found.folder.parent):
        try:
            folder.rmdir()  # only where nothing else is in it
        except OSError:
            break
    dependencies.uninstall()
    settings.forget()
    if left:
        raise ConversionError(_("These could not be deleted: {paths}.").format(paths=", ".join(left)))
