"""The records of a run, in the output folder: kept so that a run killed at any moment goes on where it was.

A case's files are made in `work/<key>-<random>/`, a folder that no one else looks at. When all are whole, the folder
is renamed to `ready/<key>/`: from then on the case is decided. Its files then take their places one by one, and at
last its manifest becomes `done/<key>.json`. A run that starts first puts in place what it finds in `ready`, and
removes `work`. So no case is lost or made twice, and no half-written file ever has a result's name. Only the process
that holds the folder, see `lock`, does any of this.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ..errors import ConversionError
from ..modality import read_fields
from .lock import OutputLock

NAME = ".modality-conversion-batch"
MANIFEST = "manifest.json"


class Store:
    """The records below one output folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / NAME
        self._lock = OutputLock(self.root, out)

    @contextlib.contextmanager
    def locked(self, cancel: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the output folder for this process. Raises ConversionError where another run has it, or it cannot be made."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, *(self.root / name for name in ("work", "ready", "done", "failed"))):
                folder.mkdir(mode=0o700, exist_ok=True)
            with self._lock.held(cancel):
                self._recover()
                yield
                self.check()
                shutil.rmtree(self.root / "work", ignore_errors=True)
        except OSError as error:
            raise ConversionError(
                f"{self.out} cannot be written: {error.strerror or error}. Free some space or choose another folder, "
                "then start the same command again: it goes on where it was."
            ) from None

    def check(self) -> None:
        """Raise ConversionError where another run has taken the folder over."""
        self._lock.check()

    def workplace(self, key: str) -> Path:
        """An empty private folder for a case's files."""
        # A worker that outlives a killed run for a moment must not find its folder again.
        return Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self.root / "work"))

    def record(self, key: str) -> dict[str, Any] | None:
        """What was told of a case that is done and whose files are there; None otherwise."""
        manifest = _read(self.root / "done" / f"{key}.json")
        if manifest is None or not all((self.out / final).exists() for _, final in manifest["moves"]):
            return None
        told: dict[str, Any] = manifest["record"]
        return told

    def made(self, key: str) -> bool:
        """Whether an earlier run put a result of this case in place, be it there or not."""
        return (self.root / "done" / f"{key}.json").is_file()

    def commit(self, key: str, workplace: Path) -> dict[str, Any]:
        """Take what lies in a case's workplace as its result, and put it in place.

        Raises OSError, and ConversionError where the folder is another run's by now.
        """
        self.check()
        ready = self.root / "ready" / key
        shutil.rmtree(ready, ignore_errors=True)
        workplace.rename(ready)
        _flush(ready.parent)
        return self._publish(ready)

    def fail(self, key: str, told: Mapping[str, Any]) -> None:
        """Write down why a case failed. A disk that is full shall not end the run."""
        with contextlib.suppress(OSError):
            write_whole(self.root / "failed" / f"{key}.json", json.dumps(told))

    def _recover(self) -> None:
        shutil.rmtree(self.root / "work", ignore_errors=True)
        (self.root / "work").mkdir(mode=0o700, exist_ok=True)
        for ready in sorted((self.root / "ready").iterdir()):
            if _read(ready / MANIFEST) is not None:
                self._publish(ready)
            else:  # its manifest is in place already, and so is all else; or it is not one of ours
                shutil.rmtree(ready, ignore_errors=True)

    def _publish(self, ready: Path) -> dict[str, Any]:
        """Each step can be done again, so it does not matter where an earlier run ended."""
        manifest = _read(ready / MANIFEST)
        if manifest is None:
            raise OSError(f"{ready} is damaged")
        for staged, final in manifest["moves"]:
            source, place = ready / staged, self.out / final
            if not source.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                old = ready / f"{staged}.old"
                shutil.rmtree(old, ignore_errors=True)
                place.rename(old)
            source.replace(place)
        done = self.root / "done" / f"{ready.name}.json"
        (ready / MANIFEST).replace(done)
        (self.root / "failed" / done.name).unlink(missing_ok=True)
        shutil.rmtree(ready, ignore_errors=True)
        told: dict[str, Any] = manifest["record"]
        return told


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step: beside its place, then renamed. Raises OSError."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("w", encoding="utf-8", errors="backslashreplace") as file:  # names may be no UTF-8
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def flush_all(folder: Path) -> None:
    """Have everything in a folder on the disk, so that a power cut cannot undo what was decided."""
    for path in (*folder.rglob("*"), folder):
        _flush(path)


def _flush(path: Path) -> None:
    if sys.platform == "win32":  # does not open folders, and files only for writing
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> dict[str, Any] | None:
    """A manifest; None where there is none, or one that no run of ours has written: whoever has the folder may have."""
    found = read_fields(path)
    moves, record = found.get("moves"), found.get("record")
    if not isinstance(moves, list) or not isinstance(record, dict):
        return None
    return found if all(map(_is_move, moves)) else None


def _is_move(move: Any) -> bool:
    """Whether it is a name within the case's folder, and a place within the output folder."""
    if not isinstance(move, list) or len(move) != 2 or not all(isinstance(part, str) and part for part in move):
        return False
    staged, final = map(PurePath, move)
    return not (final.is_absolute() or final.drive or ".." in final.parts) and staged.name == move[0] != ".."
