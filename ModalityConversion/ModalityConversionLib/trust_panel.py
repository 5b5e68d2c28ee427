"""The part of the panel that answers "Can I trust this?": a verdict, why, and the lesions, each a click away."""

from __future__ import annotations

import json
from collections.abc import Callable

import qt
import slicer

from modality_conversion.errors import ConversionError

from . import marks, places, trust, widgets
from .i18n import tr as _
from .lesion_run import LesionRun, why_not
from .run import State
from .trust import LesionRow, Level, Trust

# Told apart by word and place too; each has a contrast of 4.5 and more to white.
_COLOURS = {
    Level.doubt: "#b3261e",
    Level.look: "#8a5a00",
    Level.unchecked: "#54606b",
    Level.no_fault: "#1f6f4a",
}
_LESION_COLOURS = {"lost": "#b3261e", "added": "#b3261e", "changed": "#8a5a00", "unclear": "#8a5a00"}


class TrustPanel:
    """Shows what is known of the synthetic volume that is read, and has its lesions checked."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.widget, self.ui = widgets.load("TrustPanel")
        self._on_change = on_change
        self._synthetic: slicer.vtkMRMLScalarVolumeNode | None = None
        self._outlines: slicer.vtkMRMLNode | None = None
        self._reference: slicer.vtkMRMLScalarVolumeNode | None = None
        self._device = "auto"
        self._rows: tuple[LesionRow, ...] = ()
        self._shown: tuple[Trust, tuple[str, ...]] | None = None
        self._check: LesionRun | None = None
        table = self.ui.lesionTable
        table.connect("cellClicked(int,int)", self._on_row)
        table.connect("currentCellChanged(int,int,int,int)", self._on_row)
        self.ui.checkButton.connect("clicked()", self._on_check)
        self._say("")
        self.refresh(None, None, None, "auto")

    @property
    def is_checking(self) -> bool:
        """Whether a check is under way."""
        return self._check is not None and self._check.state is State.running

    def stop(self) -> None:
        """End what is under way."""
        if self._check is not None:
            self._check.cancel()

    def scene_closed(self) -> None:
        """Forget what the closed scene held."""
        self._say("")
        self.refresh(None, None, None, self._device)

    def refresh(
        self,
        synthetic: slicer.vtkMRMLScalarVolumeNode | None,
        outlines: slicer.vtkMRMLNode | None,
        reference: slicer.vtkMRMLScalarVolumeNode | None,
        device: str,
    ) -> None:
        """Show what is known of `synthetic`; `outlines` and `reference` are for a check to come."""
        if synthetic is not self._synthetic:
            self._say("")
        self._synthetic, self._outlines, self._reference, self._device = synthetic, outlines, reference, device
        if synthetic is None:
            self._show_nothing(_("Nothing to judge yet: convert a scan, or choose a synthetic volume below."))
        else:
            try:
                self._show(synthetic, trust.judge(marks.report_of(synthetic), marks.lesion_check_of(synthetic)))
            except (AttributeError, KeyError, TypeError, ValueError):  # of another version, or changed by hand
                said = _("The report that {name} carries cannot be read, so nothing is known of it.")
                self._show_nothing(said.format(name=synthetic.GetName()))
        self._offer_check()

    # --- showing it

    def _show_nothing(self, why: str) -> None:
        self._shown, self._rows = None, ()
        for widget in self._facts:
            widget.visible = False
        self.ui.verdictLabel.text = why
        self.ui.verdictLabel.setStyleSheet("")

    @property
    def _facts(self) -> list[qt.QWidget]:
        names = ("why", "seen", "seenTitle", "interval", "intervalTitle", "back", "backTitle", "lesion", "lesionTitle")
        labels = [getattr(self.ui, f"{name}Label") for name in names]
        return [*labels, self.ui.lesionTable, self.ui.lesionHint]

    def _show(self, synthetic: slicer.vtkMRMLScalarVolumeNode, known: Trust) -> None:
        where = tuple(places.in_words(places.in_world(synthetic, row.voxel)) for row in known.rows)
        if (known, where) == self._shown:
            return
        self._shown = known, where
        ui = self.ui
        ui.verdictLabel.text = known.verdict
        ui.verdictLabel.setStyleSheet(
            f"background-color: {_COLOURS[known.level]}; color: white; font-weight: bold; padding: 6px; border-radius: 3px;"
        )
        texts = {
            "why": "\n".join(known.reasons),
            "seen": known.seen,
            "interval": known.interval,
            "back": known.way_back,
            "lesion": known.lesions,
        }
        for name, text in texts.items():
            for label in (getattr(ui, f"{name}Label"), getattr(ui, f"{name}TitleLabel", None)):
                if label is not None:
                    label.visible = bool(text)
            getattr(ui, f"{name}Label").text = text
        ui.intervalLabel.toolTip = known.tissues
        self._fill_table(known.rows, where)

    def _fill_table(self, rows: tuple[LesionRow, ...], where: tuple[str, ...]) -> None:
        table = self.ui.lesionTable
        blocked = table.blockSignals(True)  # filling it is no click
        self._rows = rows
        heading = [_("verdict"), _("mL"), _("real"), _("synthetic"), _("place")]
        double = len({row.against for row in rows}) > 1
        heading += [_("against")] if double else []
        table.setColumnCount(len(heading))
        table.setHorizontalHeaderLabels(heading)
        table.setRowCount(len(rows))
        for number, (row, place) in enumerate(zip(rows, where)):
            cells = [trust.verdict_word(row.verdict), f"{row.volume_ml:.2f}", *row.contrasts, place]
            cells += [row.against] if double else []
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.reason)
                if column == 0 and row.verdict in _LESION_COLOURS:
                    item.setForeground(qt.QBrush(qt.QColor(_LESION_COLOURS[row.verdict])))
                table.setItem(number, column, item)
        table.setCurrentCell(-1, -1)
        table.resizeColumnsToContents()
        table.blockSignals(blocked)
        table.visible = self.ui.lesionHint.visible = bool(rows)

    def _offer_check(self) -> None:
        button = self.ui.checkButton
        button.text = _("Cancel the check") if self.is_checking else _("Check lesions now")
        reason = why_not(self._synthetic, self._outlines, self._reference)
        button.enabled = self.is_checking or reason is None
        if reason is not None:
            button.toolTip = reason
            return
        said = (
            _("Lesions outlined in {name}.").format(name=self._outlines.GetName())
            if self._outlines is not None
            else _(
                "Nobody outlined lesions (Options, Lesions outlined): unless an installed model does, a crude finder only "
                "names places to look at."
            )
        )
        if self._reference is not None:
            said += " " + _("Against {name} too.").format(name=self._reference.GetName())
        button.toolTip = said

    def _say(self, text: str) -> None:
        self.ui.trustMessage.text = text
        self.ui.trustMessage.visible = bool(text)

    # --- clicks

    def _on_row(self, row: int, column: int = 0) -> None:
        if self._synthetic is not None and 0 <= row < len(self._rows):
            places.go_to(places.in_world(self._synthetic, self._rows[row].voxel))

    def _on_check(self) -> None:
        if self.is_checking:
            self.stop()
            return
        assert self._synthetic is not None  # or the button is off
        try:
            self._check = LesionRun(self._synthetic, self._outlines, self._reference, self._device, self._on_checked)
        except ConversionError as error:
            self._say(str(error))
            return
        self._say(_("Looking for lesions"))
        self._offer_check()
        self._check.start()

    def _on_checked(self, run: LesionRun) -> None:
        self._say(run.message)
        if run.state is State.done:
            run.synthetic.SetAttribute(marks.LESION_CHECK, json.dumps(run.outcome))
        if self._synthetic is not None and not slicer.mrmlScene.IsClosing():
            self._on_change()
