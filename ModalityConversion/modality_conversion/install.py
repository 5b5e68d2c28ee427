"""Taking a model in from a folder, a zip file or the network, whole or not at all; and taking one out.

What comes in is somebody else's: every name, size and link is suspected. Nothing of it is run.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import secrets
import shutil
import stat
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from .bundle import Bundle, is_bundle, summary
from .catalog import bundled_models_dir, user_models_dir
from .errors import Cancelled, ConversionError, InvalidBundle
from .progress import Progress, Reporter

Cancel = Callable[[], bool]
"""Asked now and then; True stops the work, and nothing is installed."""

# Short, since Windows counts a whole path, and the longest name inside comes on top.
_PARTIAL = ".partial-"
_OLD = "o"
_DAY_S = 24 * 3600
_CHUNK = 1 << 20
_TIMEOUT_S = 30
_DECLARATION = ("configs", "conversion.json")
# Names that Windows cannot store, or stores under another name.
_UNFIT = re.compile(r'[\x00-\x1f:*?"<>|]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """What is too much for a model."""

    bytes: int = 4 << 30
    """Of all files together, unpacked; and of a download."""
    files: int = 1000
    ratio: int = 200
    """Unpacked bytes for each packed byte. Weights hardly shrink; only a bomb unpacks to more."""
    free_bytes: int = 16 << 20
    """Up to so many bytes the ratio does not matter: a text may well shrink a lot."""


def install(
    origin: Path | str,
    into: Path | str | None = None,
    sha256: str | None = None,
    *,
    replace: bool = False,
    progress: Callable[[Progress], None] | None = None,
    cancel: Cancel | None = None,
    limits: Limits = Limits(),
) -> Bundle:
    """Install the model at `origin` into a models folder, by default the user's, and return it from there.

    `origin` is a bundle folder, a zip file with one bundle at its root or in its one folder, or an http, https or file
    URL of such a zip; a URL needs the zip's SHA-256. Names that start with a dot are left out. `replace` puts the model
    in the place of one with the same id. `progress` hears of the bytes done, in the stages `download` and `install`.

    The model is checked before it is put in place, in one step; until then, and after any failure, nothing is there.
    Raises ConversionError for anything refused, InvalidBundle with the faults for a model that `check` refuses,
    Cancelled.
    """
    models = Path(into) if into is not None else user_models_dir()
    watch = _Watch(limits, progress, cancel or (lambda: False))
    url = str(origin) if re.match(r"(https?|file)://", str(origin), re.IGNORECASE) else None
    wanted = _wanted_hash(sha256, url)
    try:
        models.mkdir(parents=True, exist_ok=True)
        sweep(models)
        with _partial(models) as partial:
            content = partial / "b"
            content.mkdir()
            if url is not None:
                archive = partial / "d"
                watch.begin_stage("download")
                _download(url, archive, wanted, watch)
                watch.begin_stage("install")
                root = _unpack(archive, content, watch)
            elif Path(origin).is_dir():
                if wanted is not None:
                    raise ConversionError(f"{origin} is a folder; a SHA-256 is that of a zip file. Leave it out.")
                root = _copy(Path(origin), content, watch)
            else:
                root = _unpack_file(Path(origin), content, wanted, watch)
            return _put_in_place(root, models, partial, replace, watch)
    except OSError as error:
        raise ConversionError(_os_message(error, models)) from error


def remove(id: str, models_dir: Path | str | None = None) -> Path:
    """Delete the model with this id from a models folder, by default the user's; returns the folder it had.

    A folder with faults can be removed too, by its declared id or its name. Bundled models cannot.
    Raises ConversionError where there is no such model, or it cannot be deleted.
    """
    models = Path(models_dir) if models_dir is not None else user_models_dir()
    bundled = bundled_models_dir()
    if models.resolve() == bundled.resolve():
        raise ConversionError(
            f"The models in {models} came with the program; they are not removed. Hide one by "
            "installing another with the same id."
        )
    folder = _folder_of(id, models)
    if folder is None:
        if _folder_of(id, bundled) is not None:
            raise ConversionError(f"{id} came with the program and cannot be removed.")
        raise ConversionError(f"There is no model {id!r} in {models}. See: modality-conversion models list")
    try:
        if folder.is_symlink():
            folder.unlink()  # the link alone; what it leads to is not ours
            return folder
        grave = models / _partial_name()
        folder.replace(grave)  # gone at once, even if deleting takes long or is stopped
        shutil.rmtree(grave, ignore_errors=True)
        return folder
    except OSError as error:
        raise ConversionError(f"{folder} cannot be removed: {error.strerror}. Close programs that use it.") from error


def sweep(models: Path) -> None:
    """Clear away what installations that were killed left behind in a models folder.

    A model that was just being replaced goes back to its place.
    """
    for folder in models.glob(f"{_PARTIAL}*"):
        if not _is_abandoned(folder):
            continue
        for saved in folder.glob(f"{_OLD}/*"):
            if not (models / saved.name).exists():
                saved.rename(models / saved.name)
        shutil.rmtree(folder, ignore_errors=True)


# --- one installation under way ---------------------------------------------------------------------------------------

_ours: set[str] = set()


def _partial_name() -> str:
    return f"{_PARTIAL}{os.getpid()}-{secrets.token_hex(3)}"


@contextmanager
def _partial(models: Path) -> Iterator[Path]:
    """A folder beside the models, on the same disk, which is gone afterwards."""
    folder = models / _partial_name()
    _ours.add(folder.name)  # first, or another thread would take the new folder for a leftover
    try:
        folder.mkdir()
        yield folder
    finally:
        _ours.discard(folder.name)
        shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether the process that made a partial folder is gone."""
    process = folder.name.removeprefix(_PARTIAL).split("-")[0]
    if folder.name in _ours or not process.isdecimal():
        return False
    if int(process) == os.getpid():
        return True  # of an earlier process with our number, as in containers, where numbers start at 1
    if sys.platform == "win32":  # asking after a process would end it there
        return time.time() - folder.stat().st_mtime > _DAY_S
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's
        return False
    return False


class _Watch:
    """Counts what is written, and stops it when it is too much or no longer wanted."""

    def __init__(self, limits: Limits, progress: Callable[[Progress], None] | None, cancel: Cancel) -> None:
        self.limits = limits
        self.written = 0
        self.files = 0
        self._cancel, self._reporter, self._stage = cancel, Reporter(progress), "install"

    def begin_stage(self, stage: str) -> None:
        self._stage = stage
        self._reporter.start(stage, None)

    def begin_file(self) -> None:
        self.files += 1
        if self.files > self.limits.files:
            raise ConversionError(f"Refused: more than {self.limits.files} files. A model has a handful.")

    def pass_on(self, done: int, total: int | None) -> None:
        if self._cancel():
            raise Cancelled("Cancelled; nothing was installed.")
        self._reporter.advance(self._stage, done, total)

    def copy(self, source: IO[bytes], path: Path, total: int | None, packed: int | None = None) -> None:
        """Write a stream into a new file, counting the bytes that come, not those that were announced."""
        self.begin_file()
        size = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                self.written += len(chunk)
                if self.written > self.limits.bytes:
                    raise ConversionError(f"Refused: more than {_mib(self.limits.bytes)} unpacked.")
                if packed is not None and size > max(self.limits.free_bytes, packed * self.limits.ratio):
                    raise ConversionError(f"Refused: {path.name} unpacks to far more than a model's file can.")
                file.write(chunk)
                self.pass_on(self.written, total)


# --- from a folder ----------------------------------------------------------------------------------------------------


def _copy(origin: Path, content: Path, watch: _Watch) -> Path:
    root = content / "m"
    if not is_bundle(origin):
        raise ConversionError(f"{origin} is not a model folder: it has no configs/conversion.json.")
    files = []
    for parent, folders, names in os.walk(origin):
        folders[:] = [name for name in folders if not name.startswith(".")]  # .git and the like; walk heeds the change
        for name in (*folders, *(name for name in names if not name.startswith("."))):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "a device or a pipe"
                raise ConversionError(f"Refused: {path} is {kind}. Put a copy of the file in its place.")
            if stat.S_ISREG(mode):
                files.append((path, path.lstat().st_size))
                if len(files) > watch.limits.files:
                    raise ConversionError(f"Refused: more than {watch.limits.files} files. A model has a handful.")
    total = sum(size for _, size in files)
    for path, _ in files:
        with path.open("rb") as source:
            watch.copy(source, root / path.relative_to(origin), total)
    return root


# --- from a zip -------------------------------------------------------------------------------------------------------


def _unpack_file(origin: Path, content: Path, wanted: str | None, watch: _Watch) -> Path:
    if not origin.exists():
        raise ConversionError(f"There is no {origin}. Give a model folder, a zip file of one, or a URL.")
    if wanted is not None:
        digest = hashlib.sha256()
        with origin.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                watch.pass_on(0, None)
        _check_hash(digest.hexdigest(), wanted, str(origin))
    return _unpack(origin, content, watch)


def _unpack(archive: Path, content: Path, watch: _Watch) -> Path:
    """Unpack the one bundle of a zip file; returns its folder inside `content`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _vetted(opened.infolist(), watch.limits)
            prefix = _bundle_prefix(members)
            inside = [member for member in members if PurePosixPath(member.filename).parts[: len(prefix)] == prefix]
            total = sum(member.file_size for member in inside)
            root = content / "m"
            for member in inside:
                path = root.joinpath(*PurePosixPath(member.filename).parts[len(prefix) :])
                if member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                with opened.open(member) as source:
                    watch.copy(source, path, total, min(member.compress_size, archive.stat().st_size))
            return root
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ConversionError(f"It is not a whole zip file: {error}. Download or pack it again.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ConversionError(
            f"The zip file cannot be unpacked: {error}. Pack it again, without a password."
        ) from error
    except FileExistsError as error:
        raise ConversionError(f"Refused: the zip file holds {Path(error.filename).name} twice.") from error


def _vetted(members: list[zipfile.ZipInfo], limits: Limits) -> list[zipfile.ZipInfo]:
    """The members to unpack. Raises ConversionError for any that has no business in a model."""
    if len(members) > limits.files * 2:  # folders count here
        raise ConversionError(f"Refused: more than {limits.files} files. A model has a handful.")
    kept = []
    for member in members:
        name = member.filename
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or name[1:2] == ":":
            raise ConversionError(f"Refused: the zip file holds the path {name!r}, which leads out of its folder.")
        if any(_UNFIT.search(part) for part in parts):
            raise ConversionError(f"Refused: the zip file holds the name {name!r}, which not every system can store.")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "a link" if kind == stat.S_IFLNK else "a device or a pipe"
            raise ConversionError(f"Refused: {name} in the zip file is {what}. Pack the files themselves.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ConversionError(f"Refused: {name} is packed in a rare way. Pack the zip file with deflate.")
        if not any(part.startswith(".") for part in parts) and parts[0] != "__MACOSX":  # which macOS adds
            kept.append(member)
    return kept


def _bundle_prefix(members: list[zipfile.ZipInfo]) -> tuple[str, ...]:
    """Where the one bundle is: () at the root, or (folder,)."""
    found = {parts[:-2] for m in members if (parts := PurePosixPath(m.filename).parts)[-2:] == _DECLARATION}
    if not found:
        raise ConversionError("Refused: the zip file holds no model; there is no configs/conversion.json in it.")
    if len(found) > 1:
        raise ConversionError(f"Refused: the zip file holds {len(found)} models. Pack each one in its own file.")
    (prefix,) = found
    if len(prefix) > 1:
        raise ConversionError("Refused: the model lies too deep in the zip file. Pack its folder, or what is in it.")
    return prefix


# --- from the network -------------------------------------------------------------------------------------------------


def _wanted_hash(sha256: str | None, url: str | None) -> str | None:
    if sha256 is None:
        if url is not None:
            raise ConversionError("A model from a URL needs its SHA-256, from a page you trust. Give it with --sha256.")
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256.strip()):
        raise ConversionError(f"{sha256!r} is no SHA-256. It has 64 hexadecimal digits.")
    return sha256.strip().lower()


def _check_hash(found: str, wanted: str, name: str) -> None:
    if found != wanted:
        raise ConversionError(
            f"Refused: the SHA-256 of {name} is {found}, not {wanted}. It is damaged, or not what was promised."
        )


def _download(url: str, path: Path, wanted: str | None, watch: _Watch) -> None:
    """Download into a new file, hashing what comes. Proxies are those of the environment, as urllib finds them."""
    digest = hashlib.sha256()
    done = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "ModalityConversion"})
        opener = urllib.request.build_opener()  # urlopen would keep the proxies of its first call
        with opener.open(request, timeout=_TIMEOUT_S) as response, path.open("xb") as file:
            announced = response.headers.get("Content-Length", "")
            total = int(announced) if announced.isdecimal() else None
            while chunk := response.read(_CHUNK):
                done += len(chunk)
                if done > watch.limits.bytes:
                    raise ConversionError(f"Refused: {url} is larger than {_mib(watch.limits.bytes)}.")
                digest.update(chunk)
                file.write(chunk)
                watch.pass_on(done, total)
    except urllib.error.HTTPError as error:
        raise ConversionError(f"{url} cannot be downloaded: {error.code} {error.reason}.") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
        raise ConversionError(
            f"{url} cannot be downloaded: {getattr(error, 'reason', error)}. Check the connection and the proxy "
            "(HTTPS_PROXY), or download it elsewhere and install the file."
        ) from error
    if total is not None and done < total:
        raise ConversionError(f"The download broke off after {done} of {total} bytes. Try again.")
    assert wanted is not None  # a URL is refused without
    _check_hash(digest.hexdigest(), wanted, url)


# --- into its place ---------------------------------------------------------------------------------------------------


def _put_in_place(root: Path, models: Path, partial: Path, replace: bool, watch: _Watch) -> Bundle:
    from .check import check

    id = summary(root).id
    # The folder gets its id as name, and a declared id may be anything; check() says what is wrong with it.
    named = root.with_name(id) if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", id) else root
    if named != root:
        root.rename(named)
    errors = tuple(fault for fault in check(named) if fault.severity == "error")
    if errors:
        count = "1 fault" if len(errors) == 1 else f"{len(errors)} faults, the first"
        raise InvalidBundle(f"Refused: the model {id} has {count}: {errors[0]}.", errors)
    bundle = Bundle.load(named)
    home = models / bundle.spec.id
    existing = _folder_of(bundle.spec.id, models)
    if existing is not None and not replace:
        raise ConversionError(f"{bundle.spec.id} is installed already, in {existing}. Remove it first, or replace it.")
    watch.pass_on(watch.written, watch.written)  # the last moment to cancel
    saved = partial / _OLD / (existing or home).name
    if existing is not None:
        saved.parent.mkdir()
        existing.rename(saved)
    try:
        # Renaming is one step, so that nobody ever sees half a model. What a power cut could leave unwritten is
        # found by its size or hash.
        named.rename(home)
    except OSError:
        if existing is not None:
            saved.rename(existing)
        raise
    return Bundle.load(home)


def _folder_of(id: str, models: Path) -> Path | None:
    """The folder of the model with this id, right or broken; by its declared id first, then by its name."""
    try:
        folders = sorted(path for path in models.iterdir() if not path.name.startswith("."))
    except OSError:
        return None
    declared = (folder for folder in folders if is_bundle(folder) and summary(folder).id == id)
    named = (folder for folder in folders if folder.name == id)
    return next(declared, None) or next(named, None)


def _os_message(error: OSError, models: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"There is no room left for the model in {models}. Nothing was installed."
    return f"The model cannot be installed into {models}: {error}. Nothing was installed."


def _mib(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"
