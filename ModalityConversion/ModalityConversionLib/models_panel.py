"""The last part of the panel: which models are there, installing and removing them, and the software under them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from modality_conversion.bundle import Summary
from modality_conversion.errors import ConversionError
from modality_conversion.progress import Progress

from . import dependencies, models, removal, settings, tasks, widgets
from .i18n import tr as _
from .input_panel import show_card
from .run import State


class ModelsPanel:
    """Lists, installs and removes models; installs and removes the software that converting needs."""

    def __init__(self, on_change: Callable[[], None], what_runs: Callable[[], str | None]) -> None:
        self.widget, self.ui = widgets.load("ModelsPanel")
        self._on_change = on_change
        self._what_runs = what_runs
        self.is_installing = False
        """Whether pip is at work; older versions of Slicer let the user click on meanwhile."""
        self._listed: list[Summary] = []
        self._task: tasks.EngineTask | None = None
        table = self.ui.modelsTable
        headings = [_("Model"), _("Converts"), _("Licence"), _("State")]
        table.setColumnCount(len(headings))
        table.setHorizontalHeaderLabels(headings)
        table.verticalHeader().hide()
        table.connect("itemSelectionChanged()", self._on_selection)
        for button, action in (
            (self.ui.showCardButton, self._on_card),
            (self.ui.removeModelButton, self._on_remove),
            (self.ui.openFolderButton, self._on_open_folder),
            (self.ui.changeFolderButton, self._on_change_folder),
            (self.ui.browseFolderButton, self._on_browse_folder),
            (self.ui.browseZipButton, self._on_browse_zip),
            (self.ui.installModelButton, self._on_install_model),
            (self.ui.installSoftwareButton, self._on_install_software),
            (self.ui.installWheelsButton, self._on_install_wheels),
            (self.ui.gpuButton, self._on_gpu),
            (self.ui.removeEverythingButton, self._on_remove_everything),
        ):
            button.connect("clicked()", action)
        self.ui.modelsProgress.visible = False
        self._say("")
        self.refresh()

    def refresh(self) -> None:
        """Show what is on the disk now."""
        self._listed = models.everything()
        table = self.ui.modelsTable
        table.setRowCount(len(self._listed))
        for row, summary in enumerate(self._listed):
            made = "/".join(summary.targets) or _("outlines")
            state = summary.fault or (_("came with the extension") if models.is_bundled(summary) else _("installed"))
            cells = (
                f"{summary.title} {summary.version}".strip(),
                f"{'/'.join(summary.sources)} > {made}" if summary.sources else "",
                summary.license,
                state,
            )
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{summary.id}\n{summary.path}")
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        self.ui.folderLabel.text = _("Your models are in {folder}").format(folder=settings.models_dir())
        self._on_selection()
        self._refresh_software()

    @property
    def is_working(self) -> bool:
        """Whether a model or software is being installed or removed."""
        return self.is_installing or (self._task is not None and self._task.state is State.running)

    def stop(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()

    @property
    def selected(self) -> Summary | None:
        """The model that is selected in the table."""
        row = self.ui.modelsTable.currentRow()
        return self._listed[row] if 0 <= row < len(self._listed) else None

    def _refresh_software(self) -> None:
        missing = dependencies.missing()
        runtimes = dependencies.installed_runtimes()
        if len(runtimes) > 1:
            text = _("{builds} are both installed and break each other. Install one again.").format(
                builds=_(" and ").join(runtimes)
            )
        elif missing:
            text = _("Missing: {packages}. Convert asks before it installs them.").format(packages=", ".join(missing))
        else:
            text = _("All software that converting needs is there ({runtime}).").format(runtime=", ".join(runtimes))
        self.ui.softwareLabel.text = text
        self.ui.installSoftwareButton.enabled = bool(missing) or len(runtimes) > 1
        gpu = dependencies.gpu_build()
        self.ui.gpuButton.visible = gpu is not None
        self.ui.gpuButton.enabled = gpu is not None and runtimes != (gpu,)

    def _on_selection(self) -> None:
        summary = self.selected
        self.ui.showCardButton.enabled = summary is not None
        own = summary is not None and summary.path.parent == settings.models_dir().absolute()
        self.ui.removeModelButton.enabled = own
        self.ui.removeModelButton.toolTip = (
            _("Delete the selected model from the disk.")
            if own or summary is None
            else _("Only models in your own folder can be removed here.")
        )

    def _say(self, text: str, failed: bool = False) -> None:
        self.ui.modelsMessage.text = text
        self.ui.modelsMessage.visible = bool(text)
        self.ui.modelsMessage.setStyleSheet("color: #c0392b;" if failed else "")

    # --- models

    def _on_card(self) -> None:
        if self.selected is not None:
            show_card(self.selected)

    def _on_open_folder(self) -> None:
        folder = settings.models_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._say(_("{folder} cannot be made: {reason}.").format(folder=folder, reason=error.strerror), True)
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def _on_change_folder(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder for models"), str(settings.models_dir()))
        if chosen:
            settings.set_models_dir(Path(chosen))
            self.refresh()
            self._on_change()

    def _on_browse_folder(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(self.widget, _("Model folder"))
        if chosen:
            self.ui.originEdit.text = chosen

    def _on_browse_zip(self) -> None:
        chosen = qt.QFileDialog.getOpenFileName(self.widget, _("Zip file of a model"), "", "Zip (*.zip)")
        if isinstance(chosen, (tuple, list)):  # PythonQt gives the name alone, other bindings the filter too
            chosen = chosen[0]
        if chosen:
            self.ui.originEdit.text = chosen

    def _on_install_model(self) -> None:
        origin = self.ui.originEdit.text.strip()
        if not origin:
            self._say(_("Say where the model is: a folder, a zip file or a URL."), True)
            return
        self._run(tasks.install_words(origin, self.ui.hashEdit.text.strip()), _("{id} is installed."), _remember)

    def _on_remove(self) -> None:
        summary = self.selected
        if summary is None:
            return
        question = _("Delete the model {title} from {folder}?").format(title=summary.title, folder=summary.path)
        if slicer.util.confirmOkCancelDisplay(question, _("Remove model")):
            self._run(tasks.remove_words(summary.id), _("{id} is removed."), _forget)

    def _run(self, words: list[str], done: str, remember: Callable[[Path], None]) -> None:
        """Run a command of the engine, which needs its software."""
        if self.is_working or not self.ensure_software():
            return
        self._say("")
        self.ui.modelsProgress.value = 0
        self.ui.modelsProgress.visible = True
        self._set_busy(True)

        def on_end(task: tasks.EngineTask) -> None:
            self.ui.modelsProgress.visible = False
            self._set_busy(False)
            self.refresh()
            if task.state is State.done:
                self._say(done.format(id=task.outcome["id"]))
                remember(Path(task.outcome["path"]))
            else:
                self._say(task.message, task.state is State.failed)
            self._on_change()

        self._task = tasks.EngineTask(words, self._on_progress, on_end)
        self._task.start()

    def _on_progress(self, news: Progress) -> None:
        self.ui.modelsProgress.value = int(1000 * news.done / news.total) if news.total else 0

    def _set_busy(self, busy: bool) -> None:
        for button in (self.ui.installModelButton, self.ui.changeFolderButton, self.ui.removeEverythingButton):
            button.enabled = not busy
        if busy:
            self.ui.removeModelButton.enabled = False

    # --- software

    def ensure_software(self) -> bool:
        """Ask once and install what is missing; whether everything is there."""
        if not dependencies.missing():
            return True
        return self._change_software(dependencies.plan(dependencies.current_build()))

    def _change_software(self, plan: dependencies.Plan, wheels: Path | None = None) -> bool:
        """Ask, then install a plan, where nothing runs that uses what is there; whether everything is there after it."""
        reason = self._what_runs()
        if reason is None and not plan.packages:
            reason = _("Everything is there already.")
        if reason is not None:
            self._say(reason)
            return False
        if wheels is None and not slicer.util.confirmOkCancelDisplay(dependencies.question(plan), "ModalityConversion"):
            return False
        self.is_installing = True
        try:
            dependencies.install(plan, wheels)
            self._say(_("Installed. No restart is needed."))
        except ConversionError as error:
            self._say(str(error), True)
            self.ui.modelsButton.collapsed = False
        finally:
            self.is_installing = False
        self._refresh_software()
        self._on_change()
        return not dependencies.missing()

    def _on_install_software(self) -> None:
        self._change_software(dependencies.plan(dependencies.current_build()))

    def _on_install_wheels(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder of wheel files"))
        if chosen:
            self._change_software(dependencies.plan(dependencies.current_build()), Path(chosen))

    def _on_gpu(self) -> None:
        self._change_software(dependencies.plan(dependencies.gpu_build() or "onnxruntime"))

    def _on_remove_everything(self) -> None:
        reason = self._what_runs()
        if reason is not None:
            self._say(reason)
            return
        wanted = removal.found()
        if slicer.util.confirmOkCancelDisplay(removal.question(wanted), _("Remove everything")):
            try:
                removal.remove(wanted)
                self._say(_("Removed. The extension itself is removed in the Extensions Manager."))
            except ConversionError as error:
                self._say(str(error), True)
            self.refresh()
            self._on_change()


def _remember(folder: Path) -> None:
    settings.set_installed_models([*settings.installed_models(), folder])


def _forget(folder: Path) -> None:
    settings.set_installed_models(path for path in settings.installed_models() if path != folder)
