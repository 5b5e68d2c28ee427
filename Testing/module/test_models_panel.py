"""Models in the panel: listed, installed from a folder, a zip file and a URL, removed; and everything removed."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
import qt
import slicer

from bundles import write_bundle
from ModalityConversionLib import dependencies, removal, settings
from ModalityConversionLib.run import State
from slicer_standin import answers, wait_until


def rows(panel) -> list[list[str]]:
    table = panel.models.ui.modelsTable
    return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]


def install(panel, origin, sha256="") -> None:
    panel.models.ui.originEdit.text = str(origin)
    panel.models.ui.hashEdit.text = sha256
    panel.models.ui.installModelButton.click()
    assert wait_until(lambda: panel.models._task is not None and panel.models._task.state is not State.running, 30)


@pytest.fixture
def packed(tmp_path):
    """A zip file of a model, and its SHA-256."""
    write_bundle(tmp_path / "elsewhere" / "from-outside")
    path = shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "elsewhere", "from-outside")
    return path, hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_all_models_are_listed_and_a_broken_one_says_why(panel, copy_model, models_dir):
    broken = write_bundle(models_dir / "broken")
    next(broken.glob("models/*")).unlink()
    panel.enter()
    found = {row[0].split()[0]: row for row in rows(panel)}
    states = [row[3] for row in rows(panel)]
    assert any("missing" in state for state in states)
    assert "installed" in states
    assert "came with the extension" in states
    assert found


def test_a_folder_dropped_in_appears(panel, models_dir):
    before = len(rows(panel))
    write_bundle(models_dir / "dropped-in")
    panel.enter()
    assert len(rows(panel)) == before + 1


def test_install_from_a_folder_and_convert_with_it_at_once(panel, models_dir, tmp_path):
    from scenes import add_scan

    write_bundle(tmp_path / "elsewhere" / "from-outside")
    install(panel, tmp_path / "elsewhere" / "from-outside")
    assert "from-outside is installed" in panel.models.ui.modelsMessage.text
    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    assert panel.input.model.id == "from-outside"


def test_install_from_a_zip(panel, models_dir, packed):
    install(panel, packed[0])
    assert (models_dir / "from-outside" / "configs" / "conversion.json").exists()


def test_install_from_a_url_needs_the_right_checksum(panel, models_dir, packed, tmp_path):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/model.zip"
        install(panel, url)
        assert "SHA-256" in panel.models.ui.modelsMessage.text
        install(panel, url, "0" * 64)
        assert "Refused" in panel.models.ui.modelsMessage.text
        assert not (models_dir / "from-outside").exists()
        install(panel, url, packed[1])
        assert (models_dir / "from-outside").exists()
    finally:
        server.shutdown()


def test_what_is_no_model_is_refused_with_the_reason(panel, models_dir, tmp_path):
    (tmp_path / "nothing").mkdir()
    install(panel, tmp_path / "nothing")
    assert "not a model folder" in panel.models.ui.modelsMessage.text
    panel.models.ui.originEdit.text = ""
    panel.models.ui.installModelButton.click()
    assert "Say where" in panel.models.ui.modelsMessage.text


def test_a_models_folder_without_permission_is_said(panel, models_dir, packed):
    blocked = models_dir / "file"
    blocked.write_text("in the way")
    settings.set_models_dir(blocked)
    install(panel, packed[0])
    assert "cannot be installed" in panel.models.ui.modelsMessage.text


def select(panel, id: str) -> None:
    row = next(n for n, summary in enumerate(panel.models._listed) if summary.id == id)
    panel.models.ui.modelsTable.selectRow(row)


def test_an_own_model_is_removed_after_a_question_and_a_bundled_one_cannot_be(panel, copy_model):
    panel.enter()
    select(panel, "t1-to-t2-copy")
    assert panel.models.ui.removeModelButton.enabled
    answers.queue("OK")
    panel.models.ui.removeModelButton.click()
    assert wait_until(lambda: not copy_model.exists(), 20)
    assert wait_until(lambda: panel.models._task.state is not State.running, 20)
    bundled = next(summary.id for summary in panel.models._listed)
    select(panel, bundled)
    assert not panel.models.ui.removeModelButton.enabled


def test_the_folder_can_be_changed_and_opened(panel, models_dir, tmp_path):
    other = tmp_path / "shared drive"
    other.mkdir()
    write_bundle(other / "of-the-group")
    answers.queue(str(other))
    panel.models.ui.changeFolderButton.click()
    assert settings.models_dir() == other
    assert any("T1 to T2, for tests" in row[0] for row in rows(panel))
    assert str(other) in panel.models.ui.folderLabel.text


def test_the_card_opens_in_a_window_of_its_own(panel, copy_model):
    panel.enter()
    select(panel, "t1-to-t2-copy")
    panel.models.ui.showCardButton.click()
    texts = [b.toPlainText() for b in slicer.util.mainWindow().findChildren(qt.QTextBrowser)]
    assert any("Returns its input" in text for text in texts)


def test_everything_this_extension_installed_goes_and_nothing_else(panel, copy_model, models_dir, packed, monkeypatch):
    install(panel, packed[0])
    gone = []
    monkeypatch.setattr(dependencies, "_version", lambda name: "1.0")
    monkeypatch.setattr(slicer.util, "pip_uninstall", lambda names: gone.append(names))
    settings.set_installed_packages(["onnxruntime", "typer"])
    found = removal.found()
    assert [summary.id for summary in found.models] == ["from-outside"]
    answers.queue("OK")
    panel.models.ui.removeEverythingButton.click()
    assert not (models_dir / "from-outside").exists()
    assert copy_model.exists()  # dropped in by hand, so it is not ours to delete
    assert gone == ["onnxruntime typer"]
    assert settings.installed_packages() == []
    assert slicer.app.userSettings().value("ModalityConversion/ModelsFolder") is None


def test_software_is_not_touched_while_something_runs(panel, slow_model):
    from scenes import add_scan

    panel.input.ui.inputSelector.setCurrentNode(add_scan())
    panel.options.ui.convertButton.click()
    panel.models.ui.removeEverythingButton.click()
    assert "under way" in panel.models.ui.modelsMessage.text
    panel.cancel()


def test_declining_removes_nothing(panel, copy_model):
    answers.queue("Cancel")
    panel.models.ui.removeEverythingButton.click()
    assert copy_model.exists()
