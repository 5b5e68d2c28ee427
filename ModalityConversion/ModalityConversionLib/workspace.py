"""The private folder in which one run exchanges files with its process."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import qt
import slicer

from modality_conversion.errors import ConversionError

from .metaimage import disk_message

_PREFIX = "ModalityConversion-"
_AGAIN_MS = 250


class Workspace:
    """A folder that only the user can read, in Slicer's temporary folder; gone when the block ends."""

    def __init__(self) -> None:
        parent = Path(slicer.app.temporaryPath)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            # mkdtemp: mode 0700, and a name nobody can guess.
            self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        except OSError as error:
            raise ConversionError(disk_message(error, parent)) from None

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _remove(self.folder)


def _remove(folder: Path, tries: int = 20) -> None:
    """Remove a folder; on Windows a process that just ended may hold its files a moment longer, so try again later."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and tries > 0:
        qt.QTimer.singleShot(_AGAIN_MS, lambda: _remove(folder, tries - 1))


def sweep() -> None:
    """Remove what runs of a Slicer that was killed left behind."""
    with contextlib.suppress(OSError):
        for folder in Path(slicer.app.temporaryPath).glob(f"{_PREFIX}*"):
            process = folder.name[len(_PREFIX) :].split("-")[0]
            if process.isdecimal() and int(process) != os.getpid() and not _is_alive(int(process), folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int, folder: Path) -> bool:
    if sys.platform == "win32":  # asking after a process would end it there
        return time.time() - folder.stat().st_mtime < 24 * 3600
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
