"""Taking models in: whole or not at all, whatever the folder, the zip file or the network holds."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modality_conversion.install as module
from bundles import edit_spec, write_bundle
from modality_conversion.bundle import Bundle
from modality_conversion.catalog import Catalog
from modality_conversion.errors import Cancelled, ConversionError, InvalidBundle
from modality_conversion.install import Limits, install, remove, sweep
from modality_conversion.progress import Progress


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder that does not exist yet."""
    return tmp_path / "models"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "origin" / "copy")


def pack(folder: Path, path: Path, prefix: str = "copy/", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def add(path: Path, name: str | zipfile.ZipInfo, content: bytes = b"x") -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(origin: Path | str, models: Path, **options: object) -> str:
    """The refusal; nothing may be left, in the models folder or beside it."""
    around = content(models.parent)
    with pytest.raises(ConversionError) as caught:
        install(origin, models, **options)  # type: ignore[arg-type]
    assert not models.exists() or list(models.iterdir()) == []
    assert content(models.parent) == around
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is right ----------------------------------------------------------------------------------------------------


def test_a_folder_is_installed_under_its_id(origin: Path, models: Path) -> None:
    renamed = origin.rename(origin.with_name("some download (1)"))
    bundle = install(renamed, models)
    assert bundle.path == models / "copy"
    assert content(bundle.path) == content(renamed)
    assert [entry.id for entry in Catalog([models]).entries() if entry.path.parent == models] == ["copy"]
    assert names(models) == ["copy"]


@pytest.mark.parametrize("prefix", ["", "copy/", "release-1.0/"])
def test_a_zip_file_is_installed_with_the_bundle_at_its_root_or_in_its_one_folder(
    origin: Path, models: Path, tmp_path: Path, prefix: str
) -> None:
    bundle = install(pack(origin, tmp_path / "model.zip", prefix), models)
    assert content(bundle.path) == content(origin)
    assert names(models) == ["copy"]


def test_folders_macos_rubbish_and_files_beside_the_bundle_do_not_matter(
    origin: Path, models: Path, tmp_path: Path
) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    for name in ("copy/tests/", "__MACOSX/copy/._README.md", "copy/.DS_Store", "LICENSE"):
        add(archive, name, b"")
    assert content(install(archive, models).path) == content(origin)


def test_hidden_files_of_a_folder_are_left_out(origin: Path, models: Path) -> None:
    before = content(origin)
    (origin / ".git" / "objects").mkdir(parents=True)
    (origin / ".git" / "objects" / "ab").touch()
    (origin / ".gitattributes").touch()
    assert content(install(origin, models).path) == before


def test_a_zip_file_with_the_right_hash_is_installed(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    assert install(archive, models, sha256(archive).upper()).spec.id == "copy"


def test_without_a_folder_the_users_own_is_taken(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "user_models_dir", lambda: tmp_path / "user")
    assert install(origin).path == tmp_path / "user" / "copy"
    assert remove("copy") == tmp_path / "user" / "copy"
    assert names(tmp_path / "user") == []


def test_a_url_of_a_file_is_installed_with_its_hash(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    assert content(install(archive.as_uri(), models, sha256(archive)).path) == content(origin)


def test_warnings_do_not_stop_an_installation(tmp_path: Path, models: Path) -> None:
    folder = write_bundle(tmp_path / "copy", card=None, license="NOASSERTION")
    assert install(folder, models).spec.id == "copy"


def test_progress_counts_the_bytes(origin: Path, models: Path) -> None:
    told: list[Progress] = []
    install(origin, models, progress=told.append)
    size = sum(len(data) for data in content(origin).values())
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("install", size, size)
    assert [news.done for news in told] == sorted(news.done for news in told)


# --- what is there already --------------------------------------------------------------------------------------------


def test_an_id_that_is_installed_is_refused(origin: Path, models: Path) -> None:
    install(origin, models)
    before = content(models)
    with pytest.raises(ConversionError, match="installed already"):
        install(origin, models)
    assert content(models) == before


def test_an_id_is_installed_under_whatever_folder_it_has(origin: Path, models: Path) -> None:
    write_bundle(models / "by-hand", id="copy")
    with pytest.raises(ConversionError, match=r"installed already, in .*by-hand"):
        install(origin, models)


def test_another_folder_of_that_name_is_not_overwritten(origin: Path, models: Path) -> None:
    (models / "copy").mkdir(parents=True)
    (models / "copy" / "notes.txt").write_text("mine")
    with pytest.raises(ConversionError, match="installed already"):
        install(origin, models)
    assert (models / "copy" / "notes.txt").read_text() == "mine"


def test_a_model_is_replaced_when_asked(origin: Path, models: Path) -> None:
    install(origin, models)
    edit_spec(origin, lambda fields: fields.update(version="1.0.0", title="New"))
    assert install(origin, models, replace=True).spec.title == "New"
    assert names(models) == ["copy"]


def test_a_linked_model_is_replaced_without_touching_what_it_leads_to(
    origin: Path, models: Path, tmp_path: Path
) -> None:
    mine = write_bundle(tmp_path / "mine" / "copy", title="mine")
    models.mkdir()
    (models / "copy").symlink_to(mine)
    install(origin, models, replace=True)
    assert not (models / "copy").is_symlink()
    assert Bundle.load(mine).spec.title == "mine"


def test_a_failing_replacement_leaves_the_old_model(
    origin: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(origin, models)
    before = content(models)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == models / "copy" and self.parent.name == "b":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ConversionError, match="Input/output error"):
        install(origin, models, replace=True)
    assert content(models) == before
    assert names(models) == ["copy"]


def test_a_broken_replacement_leaves_the_old_model(origin: Path, models: Path) -> None:
    install(origin, models)
    before = content(models)
    (origin / "models" / "model.onnx").write_bytes(b"x")
    with pytest.raises(InvalidBundle):
        install(origin, models, replace=True)
    assert content(models) == before


# --- bad bundles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: os.truncate(folder / "models" / "model.onnx", 10),
        lambda folder: (folder / "models" / "model.onnx").unlink(),
        lambda folder: (folder / "configs" / "metadata.json").unlink(),
        lambda folder: edit_spec(folder, lambda fields: fields["weights"][0].update(sha256="0" * 64)),
        lambda folder: edit_spec(folder, lambda fields: fields["weights"][0].update(path="../../x")),
        lambda folder: edit_spec(folder, lambda fields: fields.update(sampler={"context": 3})),
        lambda folder: edit_spec(folder, lambda fields: fields.update(id="../../evil")),
        lambda folder: edit_spec(folder, lambda fields: fields.update(id=".partial-x")),
        lambda folder: edit_spec(folder, lambda fields: fields.pop("license")),
        lambda folder: (folder / "configs" / "conversion.json").write_text("{"),
    ],
)
def test_a_bundle_with_errors_is_refused_with_its_faults(
    origin: Path, models: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(origin)
    for one in (origin, pack(origin, tmp_path / "model.zip")):
        with pytest.raises(InvalidBundle) as caught:
            install(one, models)
        assert caught.value.faults
        assert list(models.iterdir()) == []


def test_a_folder_with_a_link_is_refused(origin: Path, models: Path) -> None:
    (origin / "docs" / "passwords").symlink_to("/etc/passwd")
    assert "passwords is a link" in refused(origin, models)


def test_a_folder_with_a_linked_folder_is_refused(origin: Path, models: Path) -> None:
    (origin / "home").symlink_to(origin.parent)
    assert "home is a link" in refused(origin, models)


def test_a_folder_with_a_pipe_is_refused(origin: Path, models: Path) -> None:
    os.mkfifo(origin / "docs" / "pipe")
    assert "pipe is a device or a pipe" in refused(origin, models)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_too_many_files_are_refused(origin: Path, models: Path, tmp_path: Path, kind: str) -> None:
    for number in range(20):
        (origin / "docs" / str(number)).touch()
    one = origin if kind == "folder" else pack(origin, tmp_path / "model.zip")
    assert "more than 10 files" in refused(one, models, limits=Limits(files=10))


def test_too_many_folders_are_refused(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    for number in range(20):
        add(archive, f"copy/{number}/", b"")
    assert "more than 10 files" in refused(archive, models, limits=Limits(files=10))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_too_many_bytes_are_refused(origin: Path, models: Path, tmp_path: Path, kind: str) -> None:
    (origin / "docs" / "large").write_bytes(bytes(100_000))
    one = origin if kind == "folder" else pack(origin, tmp_path / "model.zip")
    assert "more than 50000 bytes unpacked" in refused(one, models, limits=Limits(bytes=50_000))


@pytest.mark.parametrize("name", ["none.zip", "none"])
def test_an_origin_that_is_not_there_is_refused(tmp_path: Path, models: Path, name: str) -> None:
    assert "There is no" in refused(tmp_path / name, models)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path, models: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "not a model folder" in refused(tmp_path / "folder", models)


def test_a_hash_for_a_folder_is_refused(origin: Path, models: Path) -> None:
    assert "is a folder" in refused(origin, models, sha256="0" * 64)


# --- bad zip files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../evil", "copy/../../evil", "/etc/evil", "copy\\..\\..\\evil", "C:/evil", "C:evil", "..", "copy/.."],
)
def test_a_path_that_leads_out_is_refused(origin: Path, models: Path, tmp_path: Path, name: str) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    add(archive, name)
    assert "leads out of its folder" in refused(archive, models)


@pytest.mark.parametrize(
    "name", ["copy/con", "copy/NUL.txt", "copy/a:b", "copy/a?", "copy/end.", "copy/end ", "copy/\n"]
)
def test_a_name_that_not_every_system_can_store_is_refused(
    origin: Path, models: Path, tmp_path: Path, name: str
) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    add(archive, name)
    assert "not every system can store" in refused(archive, models)


@pytest.mark.parametrize(
    ("mode", "said"),
    [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a device"), (stat.S_IFIFO, "a pipe"), (stat.S_IFSOCK, "a d")],
)
def test_a_link_or_a_device_in_a_zip_file_is_refused(
    origin: Path, models: Path, tmp_path: Path, mode: int, said: str
) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    member = zipfile.ZipInfo("copy/docs/link")
    member.external_attr = (mode | 0o777) << 16
    add(archive, member, b"/etc/passwd")
    assert said in refused(archive, models)


def test_a_bomb_is_refused_before_it_fills_the_disk(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    add(archive, "copy/docs/bomb", bytes(30 << 20))
    written: list[int] = []
    message = refused(archive, models, progress=lambda news: written.append(news.done))
    assert "unpacks to far more" in message
    assert max(written) < 18 << 20


def test_a_bomb_that_lies_about_its_size_is_refused_too(origin: Path, models: Path, tmp_path: Path) -> None:
    """The size in the directory of the zip file says 10 bytes; what counts is what comes out."""
    archive = pack(origin, tmp_path / "model.zip")
    add(archive, "copy/docs/bomb", bytes(3 << 20))
    data = bytearray(archive.read_bytes())
    for position in (data.rfind(b"PK\x01\x02") + 24, data.rfind(b"PK\x03\x04") + 22):
        assert struct.unpack_from("<I", data, position) == (3 << 20,)
        struct.pack_into("<I", data, position, 10)
    archive.write_bytes(data)
    refused(archive, models, limits=Limits(bytes=1 << 20))


@pytest.mark.parametrize("count", [0, 2])
def test_a_zip_file_without_exactly_one_bundle_is_refused(
    origin: Path, models: Path, tmp_path: Path, count: int
) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("README.md", "x")
        for number in range(count):
            opened.writestr(f"{number}/configs/conversion.json", "{}")
    assert f"holds {count or 'no'} model" in refused(archive, models)


def test_a_bundle_that_lies_deep_in_a_zip_file_is_refused(origin: Path, models: Path, tmp_path: Path) -> None:
    assert "too deep" in refused(pack(origin, tmp_path / "model.zip", "a/b/"), models)


def test_a_file_that_is_there_twice_is_refused(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    with pytest.warns(UserWarning, match="Duplicate"):
        add(archive, "copy/models/model.onnx")
    assert "model.onnx twice" in refused(archive, models)


@pytest.mark.parametrize("change", ["truncated", "damaged", "text", "empty"])
def test_a_damaged_zip_file_is_refused(origin: Path, models: Path, tmp_path: Path, change: str) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    data = bytearray(archive.read_bytes())
    middle = data.find(b"model.onnx") + 60
    data[middle : middle + 8] = b"xxxxxxxx"
    archive.write_bytes({"truncated": data[:-50], "damaged": data, "text": b"<html>", "empty": b""}[change])
    assert "not a whole zip file" in refused(archive, models)


def test_a_zip_file_with_a_password_is_refused(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    data = bytearray(archive.read_bytes())
    for marker, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag that says encrypted
        position = data.find(marker)
        while position >= 0:
            data[position + offset] |= 1
            position = data.find(marker, position + 1)
    archive.write_bytes(data)
    assert "without a password" in refused(archive, models)


def test_a_rare_way_of_packing_is_refused(origin: Path, models: Path, tmp_path: Path) -> None:
    archive = pack(origin, tmp_path / "model.zip", method=zipfile.ZIP_LZMA)
    assert "with deflate" in refused(archive, models)


def test_a_zip_file_with_the_wrong_hash_is_refused(origin: Path, models: Path, tmp_path: Path) -> None:
    assert "not 0000" in refused(pack(origin, tmp_path / "model.zip"), models, sha256="0" * 64)


@given(st.lists(st.text(st.sampled_from("abc./\\:~\x00 \n")), min_size=1, max_size=4), st.integers(0, 0xFFFF))
def test_whatever_a_zip_file_names_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[str], mode: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    archive = folder / "model.zip"
    with zipfile.ZipFile(archive, "w") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that become the same
        opened.writestr("configs/conversion.json", "{}")
        for name in dict.fromkeys(members):
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            opened.writestr(member, "x")
    before = content(folder)
    with pytest.raises(ConversionError):
        install(archive, folder / "models")
    assert content(folder) == before
    shutil.rmtree(folder)


# --- the network ------------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `files` by path; `short` says how many bytes too few."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    short = 0

    def do_GET(self) -> None:
        if self.path == "/moved.zip":
            self.send_response(302)
            self.send_header("Location", "/model.zip")
            self.end_headers()
            return
        if self.path not in self.files:
            self.send_error(404, "Not Found")
            return
        body = self.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - self.short])

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server on this machine."""
    monkeypatch.setenv("no_proxy", "*")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def served(server: str, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The URL of a model and its hash."""
    archive = pack(origin, tmp_path / "model.zip")
    monkeypatch.setattr(Handler, "files", {"/model.zip": archive.read_bytes()})
    monkeypatch.setattr(Handler, "short", 0)
    return f"{server}/model.zip", sha256(archive)


def test_a_model_is_downloaded_with_its_hash(served: tuple[str, str], origin: Path, models: Path) -> None:
    told: list[Progress] = []
    url, digest = served
    bundle = install(url, models, digest, progress=told.append)
    assert content(bundle.path) == content(origin)
    size = len(Handler.files["/model.zip"])
    assert list(dict.fromkeys(news.stage for news in told)) == ["download", "install"]
    assert told[0] == Progress("download", 0, None, None)
    assert (told[1].done, told[1].total) == (size, size)
    assert names(models) == ["copy"]


def test_a_redirection_is_followed(served: tuple[str, str], models: Path) -> None:
    assert install(served[0].replace("model.zip", "moved.zip"), models, served[1]).spec.id == "copy"


def test_a_download_with_the_wrong_hash_is_refused(served: tuple[str, str], models: Path) -> None:
    assert "damaged, or not what was promised" in refused(served[0], models, sha256="1" * 64)


def test_a_url_without_a_hash_is_refused_before_anything_is_downloaded(models: Path) -> None:
    assert "needs its SHA-256" in refused("https://example.invalid/model.zip", models)
    assert not models.exists()


@pytest.mark.parametrize("digest", ["", "xyz", "0" * 63, "g" * 64])
def test_a_hash_that_is_none_is_refused(models: Path, digest: str) -> None:
    assert "is no SHA-256" in refused("https://example.invalid/model.zip", models, sha256=digest)


def test_a_download_that_breaks_off_is_refused(
    served: tuple[str, str], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "short", 100)
    message = refused(served[0], models, sha256=served[1])
    assert "broke off" in message or "cannot be downloaded" in message


def test_a_download_that_is_too_large_is_refused(served: tuple[str, str], models: Path) -> None:
    assert "larger than 100 bytes" in refused(served[0], models, sha256=served[1], limits=Limits(bytes=100))


def test_a_page_that_is_not_there_is_said(server: str, models: Path) -> None:
    assert "404 Not Found" in refused(f"{server}/none.zip", models, sha256="0" * 64)


def test_a_server_that_is_not_there_is_said_with_the_proxy(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    message = refused("http://127.0.0.1:9/model.zip", models, sha256="0" * 64)
    assert "refused" in message
    assert "HTTPS_PROXY" in message


def test_the_proxy_of_the_environment_is_used(
    served: tuple[str, str], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is our server, which is asked for the whole URL."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", served[0].removesuffix("/model.zip"))
    monkeypatch.setitem(Handler.files, "http://model.example/model.zip", Handler.files["/model.zip"])
    assert install("http://model.example/model.zip", models, served[1]).spec.id == "copy"


def test_a_file_url_to_nowhere_is_said(tmp_path: Path, models: Path) -> None:
    assert "cannot be downloaded" in refused((tmp_path / "none.zip").as_uri(), models, sha256="0" * 64)


# --- cancelled, killed, full ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "zip", "hashed zip", "url"])
def test_cancelling_leaves_nothing(origin: Path, models: Path, tmp_path: Path, kind: str) -> None:
    archive = pack(origin, tmp_path / "model.zip")
    one, digest = {
        "folder": (origin, None),
        "zip": (archive, None),
        "hashed zip": (archive, sha256(archive)),
        "url": (archive.as_uri(), sha256(archive)),
    }[kind]
    with pytest.raises(Cancelled, match="nothing was installed"):
        install(one, models, digest, cancel=lambda: True)
    assert list(models.iterdir()) == []


def test_cancelling_at_the_last_moment_leaves_the_old_model(origin: Path, models: Path) -> None:
    install(origin, models)
    edit_spec(origin, lambda fields: fields.update(title="New"))
    files = len(content(origin))
    asked: list[None] = []

    def cancel() -> bool:
        asked.append(None)
        return len(asked) > files  # once a file, and once more before the model is put in place

    with pytest.raises(Cancelled):
        install(origin, models, replace=True, cancel=cancel)
    assert Bundle.load(models / "copy").spec.title != "New"
    assert names(models) == ["copy"]


SLOW = """
import sys, time
from modality_conversion.install import install
def wait(news):
    print("writing", flush=True)
    time.sleep(60)
install(sys.argv[1], sys.argv[2], progress=wait)
"""


def test_an_installation_that_is_killed_leaves_nothing_to_see_and_the_next_one_clears_up(
    origin: Path, models: Path
) -> None:
    engine = str(Path(module.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(origin), str(models)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": engine},
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"writing\n"
        (partial,) = models.iterdir()
        sweep(models)
        assert partial.exists()  # somebody is at work there
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert Catalog([models]).dirs[0] == models
    assert [entry for entry in Catalog([models]).entries() if entry.path.parent == models] == []
    install(origin, models)
    assert names(models) == ["copy"]


def test_a_replacement_that_is_killed_between_its_two_steps_gives_the_old_model_back(
    origin: Path, models: Path
) -> None:
    install(origin, models)
    partial = models / f".partial-{os.getpid()}-000000"
    (partial / "o").mkdir(parents=True)
    (models / "copy").rename(partial / "o" / "copy")
    sweep(models)
    assert names(models) == ["copy"]
    Bundle.load(models / "copy").verify_weights()


def test_two_installations_at_once_do_not_disturb_each_other(tmp_path: Path, models: Path) -> None:
    origins = [write_bundle(tmp_path / "origins" / f"m{n}") for n in range(4)]
    threads = [threading.Thread(target=install, args=(one, models)) for one in origins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(models) == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize("name", [".partial-x", ".partial-", ".partial-99999999999999999999-a"])
def test_folders_that_are_none_of_ours_are_not_swept(models: Path, name: str) -> None:
    (models / name).mkdir(parents=True)
    sweep(models)
    assert (models / name).exists()


def test_on_windows_only_old_leftovers_are_swept(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, asking whether a process lives would end it."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail("would end a process"))
    old, new = models / ".partial-1-old", models / ".partial-1-new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (time.time() - 100_000,) * 2)
    sweep(models)
    assert names(models) == [new.name]


def test_a_full_disk_is_said(origin: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", **rest: Full() if mode == "xb" else opened(self, mode, **rest)
    )
    assert "no room left" in refused(origin, models)


def test_a_models_folder_that_cannot_be_made_is_said(origin: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConversionError, match="cannot be installed into"):
        install(origin, tmp_path / "file")


# --- removing ---------------------------------------------------------------------------------------------------------


def test_a_model_is_removed_by_its_id_and_others_stay(models: Path) -> None:
    write_bundle(models / "one")
    write_bundle(models / "two-folder", id="two")
    assert remove("two", models) == models / "two-folder"
    assert names(models) == ["one"]


def test_a_broken_model_is_removed_by_its_folders_name(models: Path) -> None:
    (models / "broken" / "configs").mkdir(parents=True)
    (models / "broken" / "configs" / "conversion.json").write_text("{")
    assert remove("broken", models) == models / "broken"
    assert names(models) == []


def test_a_linked_model_is_unlinked_and_what_it_leads_to_stays(models: Path, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "mine" / "copy")
    models.mkdir()
    (models / "copy").symlink_to(folder)
    remove("copy", models)
    assert names(models) == []
    Bundle.load(folder).verify_weights()


@pytest.mark.parametrize("id", ["none", "../models/one", "..", "", ".", "/"])
def test_what_is_not_there_is_not_removed(models: Path, id: str) -> None:
    write_bundle(models / "one")
    with pytest.raises(ConversionError, match="no model"):
        remove(id, models)
    assert names(models) == ["one"]


def test_nothing_is_removed_from_a_folder_that_does_not_exist(models: Path) -> None:
    with pytest.raises(ConversionError, match="no model"):
        remove("one", models)


def test_bundled_models_are_not_removed(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "bundled" / "one")
    monkeypatch.setattr(module, "bundled_models_dir", lambda: tmp_path / "bundled")
    with pytest.raises(ConversionError, match="came with the program"):
        remove("one", models)
    with pytest.raises(ConversionError, match="came with the program"):
        remove("one", tmp_path / "bundled")
    assert folder.exists()


def test_a_model_in_use_that_cannot_be_removed_is_said(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(models / "one")

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConversionError, match=r"cannot be removed: Permission denied\. Close"):
        remove("one", models)
