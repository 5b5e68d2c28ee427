"""The first part of the panel: which scan, what it is, what to make of it, by which model."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import qt
import slicer

from modality_conversion.bundle import Summary
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality

from . import models, widgets
from .i18n import tr as _
from .look import ImageLook
from .recognise import recognise
from .run import State
from .trust import looks_like

if TYPE_CHECKING:
    from .parameters import Parameters


class InputPanel:
    """Shows and changes the parameters `inputVolume`, `modality`, `target`, `model`."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.widget, self.ui = widgets.load("InputPanel")
        self._on_change = on_change
        self._parameters: Any = None  # Parameters; the wrapper adds members that no type checker sees
        self._scan_id = ""
        self._look: ImageLook | None = None
        self._looks = ""
        self._taken = ""
        self.ui.inputSelector.setMRMLScene(slicer.mrmlScene)
        self.ui.modalityCombo.connect("activated(int)", self._on_modality)
        self.ui.targetCombo.connect("activated(int)", self._on_target)
        self.ui.modelCombo.connect("activated(int)", self._on_model)
        self.ui.lookButton.connect("clicked()", self._on_look)
        self.ui.cardButton.connect("clicked()", self._on_card)

    def bind(self, parameters: Parameters | None) -> None:
        """Show these parameters from now on."""
        self._parameters = parameters
        scan = parameters.inputVolume if parameters is not None else None
        self._scan_id = scan.GetID() if scan is not None else ""

    @property
    def is_looking(self) -> bool:
        """Whether the image is being asked what it is."""
        return self._look is not None and self._look.state is State.running

    def stop(self) -> None:
        """End what is under way."""
        if self._look is not None:
            self._look.cancel()

    # --- what is chosen

    @property
    def scan(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The scan to convert."""
        return self._parameters.inputVolume if self._parameters is not None else None

    @property
    def modality(self) -> Modality | None:
        """What it is: as the user said, else as recognised."""
        chosen = self._parameters.modality if self._parameters is not None else ""
        if chosen in [modality.value for modality in Modality]:  # a saved scene may hold a word of another version
            return Modality(chosen)
        return recognise(self.scan).modality

    @property
    def target(self) -> Modality | None:
        """What to make."""
        name = widgets.chosen(self.ui.targetCombo)
        return Modality(name) if name else None

    @property
    def model(self) -> Summary | None:
        """By which model."""
        id = widgets.chosen(self.ui.modelCombo)
        return next((summary for summary in self._models() if summary.id == id), None)

    # --- showing it

    def refresh(self, further: Collection[Modality] = ()) -> None:
        """Show what the parameters, the scene and the models folder say now; `further`: what other scans are given."""
        if self._parameters is None:
            return
        self._forget_correction_of_another_scan()
        self._show_modality()
        modality, wanted = self.modality, self._parameters.target
        targets = models.targets(modality) if modality is not None else []
        if wanted not in [target.value for target in targets]:
            # CT only where it is chosen: it is the one that a bundled model makes unchecked against real scans.
            wanted = next((t.value for t in targets if t is not Modality.CT), targets[0].value if targets else "")
        widgets.fill(self.ui.targetCombo, [(target.value, target.value) for target in targets], wanted)
        self.ui.targetCombo.enabled = bool(targets)
        fitting = self._models(further)
        ids = [summary.id for summary in fitting]
        id = self._parameters.model if self._parameters.model in ids else (ids[0] if ids else "")
        items = [(f"{summary.title} {summary.version}", summary.id) for summary in fitting]
        widgets.fill(self.ui.modelCombo, items, id)
        self.ui.modelCombo.enabled = self.ui.cardButton.enabled = bool(fitting)

    def _models(self, further: Collection[Modality] = ()) -> list[Summary]:
        modality, target = self.modality, self.target
        return models.between(modality, target, further) if modality is not None and target is not None else []

    def _forget_correction_of_another_scan(self) -> None:
        id = self.scan.GetID() if self.scan is not None else ""
        if id != self._scan_id:
            self._scan_id = id
            self._parameters.modality = ""
            self.stop()
            self._looks = self._taken = ""

    def _show_modality(self) -> None:
        found = recognise(self.scan)
        widgets.show_modality(self.ui.modalityCombo, self.ui.modalityHow, found, self._parameters.modality)
        self.ui.modalityCombo.enabled = self.scan is not None
        self.ui.lookButton.enabled = self.scan is not None and not self.is_looking
        if self._taken and self._parameters.modality == self._taken:
            self.ui.modalityHow.text = _("by the image: {answer}").format(answer=self._looks)
        elif self._looks:
            self.ui.modalityHow.text += "; " + _("the image looks like: {answer}").format(answer=self._looks)

    # --- clicks

    def _on_modality(self, index: int) -> None:
        chosen = widgets.chosen(self.ui.modalityCombo)
        recognised = recognise(self.scan).modality
        self._parameters.modality = "" if recognised is not None and chosen == recognised.value else chosen
        self._on_change()

    def _on_target(self, index: int) -> None:
        self._parameters.target = widgets.chosen(self.ui.targetCombo)
        self._on_change()

    def _on_model(self, index: int) -> None:
        self._parameters.model = widgets.chosen(self.ui.modelCombo)
        self._on_change()

    def _on_look(self) -> None:
        try:
            self._look = ImageLook(self.scan, self._on_looked)
        except ConversionError as error:
            self.ui.modalityHow.text = str(error)
            return
        self._looks = self._taken = ""
        self._look.start()
        self._show_modality()
        self.ui.modalityHow.text = _("Looking at the image")

    def _on_looked(self, run: ImageLook) -> None:
        if self._parameters is None or run.scan is not self.scan:
            return
        if run.state is State.done:
            self._looks = looks_like(run.outcome)
            found = run.outcome.get("modality") if run.outcome.get("known") else None
            if found and self.modality is None:  # what the user, the tags or the name say stands
                self._taken = found
                self._parameters.modality = found
        self._on_change()
        if run.state is State.failed:
            self.ui.modalityHow.text = run.message

    def _on_card(self) -> None:
        if self.model is not None:
            show_card(self.model)


def show_card(summary: Summary) -> None:
    """Open a model's card in a window of its own, which does not hold Slicer up."""
    dialog = qt.QDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(f"{summary.title} {summary.version}")
    dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
    browser = qt.QTextBrowser(dialog)
    browser.setOpenExternalLinks(True)
    browser.searchPaths = [str(summary.path / "docs")]  # the card names its pictures from there
    card = models.card(summary) or _("This model has no card. Nothing is known of how good it is.")
    if hasattr(browser, "setMarkdown"):  # Qt 5.14 and newer
        browser.setMarkdown(card)
    else:
        browser.setPlainText(card)
    layout = qt.QVBoxLayout(dialog)
    layout.addWidget(browser)
    dialog.resize(720, 640)
    dialog.show()
