"""One run at a time in an output folder, on this machine and on every other that sees the folder.

Two locks. The system's own on the file `lock` ends with its process, however that ends, but on shared file systems it may
hold on one machine only, or not exist. So the file `owner` says who has the folder: it is made in one step, touched every
few seconds, and taken over when it has not been touched for a minute. Its age is read off the file system's own clock, so
the machines' clocks need not agree.

A run that was stopped for longer than that, a machine that slept, finds on waking that the folder is another's, and ends
before it puts anything in place.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import Cancelled, ConversionError

LOCK, OWNER = "lock", "owner"
BEAT_S, LIMIT_S = 5.0, 60.0
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class Owner:
    """A run that has an output folder."""

    token: str
    host: str
    boot: str
    """Tells machines of one name apart, and a machine from itself before it was started again."""
    pid: int
    user: str

    @classmethod
    def this(cls) -> Owner:
        """The process that asks."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a container may have no name for its user
            user = "unknown"
        return cls(secrets.token_hex(16), socket.gethostname(), _boot(), os.getpid(), user)

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}"


class OutputLock:
    """Holds a folder while the block lasts."""

    def __init__(self, root: Path, out: Path, beat_s: float = BEAT_S, limit_s: float = LIMIT_S) -> None:
        self._root, self._out = root, out
        self._beat_s, self._limit_s = beat_s, limit_s
        self._path = root / OWNER
        self._me = Owner.this()
        self._ended = threading.Event()

    @contextlib.contextmanager
    def held(self, cancel: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Raises ConversionError where another run has the folder: at once, or when it has shown that it is alive.

        One that shows nothing is waited for, a minute at most; `cancel` ends that with Cancelled.
        """
        with (self._root / LOCK).open("a+b") as file:
            alone_here = _lock(file.fileno())
            if alone_here is False:
                raise self._taken(_read(self._path))
            self._acquire(bool(alone_here), cancel)
            threading.Thread(target=self._beat, name="batch-lock", daemon=True).start()
            try:
                yield
            finally:
                self._ended.set()
                if self._is_mine():
                    os.unlink(self._path)  # noqa: PTH108, tests end the run at each of pathlib's changes

    def check(self) -> None:
        """Raise ConversionError where the folder is not this run's any more; to be called before anything is put in place."""
        if not self._is_mine():
            other = _read(self._path)
            by = f" by {other}" if other else ""
            raise ConversionError(
                f"{self._out} was taken over{by}, since this run gave no sign of life for {self._limit_s:.0f} s. "
                "What it had done is kept; this run ends."
            )

    def _acquire(self, alone_here: bool, cancel: Callable[[], bool]) -> None:
        seen: tuple[str, float] | None = None
        while not self._create():
            other = _read(self._path)
            if other is None and not self._path.exists():
                continue  # it has just been given back
            token = other.token if other else ""
            if other and alone_here and (other.host, other.boot) == (self._me.host, self._me.boot):
                self._take_away(token)  # the system says that its process has ended
                continue
            touched, age = self._touched()
            if age > self._limit_s:
                self._take_away(token)
                continue
            if seen is not None and seen != (token, touched):
                raise self._taken(other)
            seen = (token, touched)
            if cancel():
                raise Cancelled
            time.sleep(min(self._beat_s / 4, 1.0))

    def _create(self) -> bool:
        """Make the file `owner`, whole, in one step; False where there is one."""
        beside = self._root / f"{OWNER}-{self._me.token}"
        beside.write_text(json.dumps(asdict(self._me)), encoding="utf-8")
        try:
            os.link(beside, self._path)
        except FileExistsError:
            return False
        except OSError:  # no hard links here: a reader may see the file before its words are in it, and then waits
            try:
                with self._path.open("x", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(self._me)))
            except FileExistsError:
                return False
        finally:
            beside.unlink(missing_ok=True)
        return True

    def _take_away(self, token: str) -> None:
        """Remove the file `owner`, if it still is the one that was judged."""
        aside = self._root / f"{OWNER}-{self._me.token}-old"
        now = _read(self._path)
        if (now.token if now else "") != token:
            return
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return
        found = _read(aside)
        if (found.token if found else "") != token:  # another run was quicker: give it back its file
            with contextlib.suppress(OSError):
                os.link(aside, self._path)
        aside.unlink(missing_ok=True)

    def _touched(self) -> tuple[float, float]:
        """When `owner` was last touched, and how long ago, both by the file system's clock."""
        probe = self._root / f"{OWNER}-{self._me.token}-now"
        try:
            probe.touch()
            now = _modified(probe)
            touched = _modified(self._path)
        except FileNotFoundError:
            return 0.0, 0.0
        finally:
            probe.unlink(missing_ok=True)
        return touched, now - touched

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_s):
            found = _read(self._path)
            if found is not None and found.token != self._me.token:
                return
            if found is not None:  # else the file system does not answer, or the file is gone, which `check` finds
                with contextlib.suppress(OSError):
                    os.utime(self._path)

    def _is_mine(self) -> bool:
        found = _read(self._path)
        return found is not None and found.token == self._me.token

    def _taken(self, other: Owner | None) -> ConversionError:
        by = f" ({other})" if other else ""
        return ConversionError(f"Another batch{by} is writing to {self._out}. Wait for it, or choose another folder.")


def _modified(path: Path) -> float:
    """By an open file: shared file systems may answer for a path from memory."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return f"{uuid.getnode():x}"


def _lock(handle: int) -> bool | None:
    """Lock an open file for this process alone; False where another has it, None where the file system has no such locks.

    The system unlocks it when the process ends.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _UNSUPPORTED else False
    return True
