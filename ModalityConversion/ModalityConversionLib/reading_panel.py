"""The third part of the panel: side by side, overlays, and the comparison with a real scan of the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer

from modality_conversion.errors import ConversionError

from . import marks, widgets
from .comparison import Comparison
from .i18n import tr as _
from .layouts import AXIAL, PLANES
from .reading import Overlay, Reading
from .run import State

if TYPE_CHECKING:
    from .parameters import Parameters


class ReadingPanel:
    """Chooses a synthetic volume and shows it beside the real one."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        """`on_change` is called when another volume was chosen."""
        self.widget, self.ui = widgets.load("ReadingPanel")
        self._on_change = on_change
        self.reading = Reading()
        self._parameters: Any = None  # Parameters; the wrapper adds members that no type checker sees
        self._comparison: Comparison | None = None
        for selector in (self.ui.resultSelector, self.ui.referenceSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        self.ui.resultSelector.addAttribute("vtkMRMLScalarVolumeNode", marks.CONTENT, "image")
        widgets.fill(self.ui.arrangementCombo, [(_("axial"), AXIAL), (_("three planes"), PLANES)], AXIAL)
        self.ui.resultSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_selection)
        self.ui.referenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_selection)
        for selector in (self.ui.resultSelector, self.ui.referenceSelector):
            # Slicer 5.12 and newer tell no change from a volume to its namesake; what is said here must be of the right one.
            selector.connect("nodeActivated(vtkMRMLNode*)", self._on_selection)
        self.ui.arrangementCombo.connect("activated(int)", self._on_arrangement)
        self.ui.compareButton.connect("clicked()", self._on_compare)
        self.ui.backButton.connect("clicked()", self._on_back)
        self.ui.toggleButton.connect("toggled(bool)", self._on_toggle)
        self.ui.overlayCombo.connect("activated(int)", self._on_overlay)
        self.ui.opacitySlider.connect("valueChanged(int)", self._on_overlay)
        self.ui.measureButton.connect("clicked()", self._on_measure)
        self.ui.figuresTable.visible = False
        self._say("")
        self.refresh()

    def bind(self, parameters: Parameters | None) -> None:
        """Show these parameters from now on."""
        self._parameters = parameters

    @property
    def synthetic(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The synthetic volume that is chosen."""
        return self.ui.resultSelector.currentNode()

    @property
    def reference(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The real scan of the target that is chosen."""
        node = self.ui.referenceSelector.currentNode()
        return None if node is None or marks.is_synthetic(node) else node

    def show(self, synthetic: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Choose a synthetic volume and show it beside the real one, with its uncertainty where there is one."""
        self.ui.resultSelector.setCurrentNode(synthetic)
        self._on_compare()
        for overlay in (Overlay.interval, Overlay.uncertainty):  # what is calibrated says more
            if overlay in self.reading.overlays():
                widgets.choose(self.ui.overlayCombo, overlay.value)
                self._on_overlay()
                break

    def refresh(self) -> None:
        """Enable what can be done now."""
        synthetic = self.synthetic
        source = synthetic.GetNodeReference(marks.SOURCE) if synthetic is not None else None
        self.ui.compareButton.enabled = source is not None
        self.ui.compareButton.toolTip = (
            _("Show the real scan left and the synthetic one beside it, slice-linked.")
            if source is not None
            else _("Choose a synthetic volume whose scan is still there.")
        )
        shown = self.reading.layout.is_shown and self.reading.synthetic is synthetic and synthetic is not None
        self.ui.backButton.enabled = self.reading.layout.is_shown
        for widget in (self.ui.toggleButton, self.ui.overlayCombo, self.ui.opacitySlider):
            widget.enabled = shown
        names = {
            Overlay.none: _("nothing"),
            Overlay.real: _("the real scan"),
            Overlay.uncertainty: _("the uncertainty"),
            Overlay.interval: _("the interval"),
            Overlay.difference: _("the difference"),
            Overlay.consistency: _("the way back"),
        }
        offered = [(names[kind], kind.value) for kind in self.reading.overlays()]
        current = widgets.chosen(self.ui.overlayCombo)
        widgets.fill(
            self.ui.overlayCombo, offered, current if current in dict(offered).values() else Overlay.none.value
        )
        reference = self.reference
        self.ui.measureButton.enabled = synthetic is not None and reference is not None and not self.is_measuring
        self.ui.measureButton.toolTip = (
            _("Figures of agreement with {name}, and the difference as a volume.").format(name=reference.GetName())
            if reference is not None
            else _("Choose a real scan of the target modality first.")
        )

    @property
    def is_measuring(self) -> bool:
        """Whether a comparison is under way."""
        return self._comparison is not None and self._comparison.state is State.running

    def stop(self) -> None:
        """End what is under way, and watch no more."""
        if self._comparison is not None:
            self._comparison.cancel()
        self.reading.leave()

    def scene_closed(self) -> None:
        """Forget what the closed scene held."""
        self.reading.removeObservers()
        self.reading.synthetic = self.reading.reference = None
        self.reading.layout.back()
        self.ui.figuresTable.visible = False
        self._say("")
        self.refresh()

    # --- clicks

    def _on_selection(self, node: slicer.vtkMRMLNode | None) -> None:
        self.refresh()
        self._on_change()

    def _on_arrangement(self, index: int) -> None:
        if self.reading.layout.is_shown:
            self._on_compare()

    def _on_compare(self) -> None:
        if self.synthetic is None:
            return
        if not self.reading.show(self.synthetic, self.reference, widgets.chosen(self.ui.arrangementCombo)):
            self._say(_("The scan that it was made from is no longer in the scene."))
        self._untoggle()
        self.refresh()
        self._on_overlay()

    def _on_back(self) -> None:
        self._untoggle()
        self.reading.leave()
        self.refresh()

    def _untoggle(self) -> None:
        widgets.set_check(self.ui.toggleButton, False)
        self.ui.toggleButton.text = _("Show the real scan")

    def _on_toggle(self, on: bool) -> None:
        self.reading.toggle(on)
        self.ui.toggleButton.text = _("Show the synthetic one") if on else _("Show the real scan")

    def _on_overlay(self, value: int = 0) -> None:
        overlay = Overlay(widgets.chosen(self.ui.overlayCombo) or Overlay.none.value)
        self.reading.lay_over(overlay, self.ui.opacitySlider.value / 100)

    def _on_measure(self) -> None:
        try:
            self._comparison = Comparison(self.synthetic, self.reference, on_end=self._on_measured)
        except ConversionError as error:
            self._say(str(error))
            return
        self._say(_("Comparing"))
        self.refresh()
        self._comparison.start()

    def _on_measured(self, run: Comparison) -> None:
        self._say(run.message)
        if run.state is State.done:
            self._show_figures(run.outcome.figures)
            self._say(" ".join(run.outcome.figures.get("warnings", [])))
        self.refresh()

    def _show_figures(self, figures: dict[str, Any]) -> None:
        heading, *rows = figures["table"]
        table = self.ui.figuresTable
        table.setColumnCount(len(heading))
        table.setHorizontalHeaderLabels(heading)
        table.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                table.setItem(row, column, qt.QTableWidgetItem(cell))
        table.resizeColumnsToContents()
        table.visible = True

    def _say(self, text: str) -> None:
        self.ui.readingMessage.text = text
        self.ui.readingMessage.visible = bool(text)
