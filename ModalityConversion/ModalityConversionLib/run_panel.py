"""The second part of the panel: options, Convert, progress, Cancel, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import qt
import slicer

from modality_conversion.modality import Modality
from modality_conversion.progress import Progress

from . import marks, models, widgets
from .conversion import Conversion
from .details import details
from .i18n import tr as _
from .run import State
from .tasks import DeviceQuery

if TYPE_CHECKING:
    from .parameters import Parameters

# How much of the bar each stage takes, where it comes; of the time it is much the same.
_PARTS = {
    "read": 80,
    "prepare": 70,
    "network": 650,
    "finish": 50,
    "segment": 120,
    "consistency": 650,
    "lesions": 300,
    "write": 30,
}
_ALWAYS = ("read", "prepare", "network", "finish", "write")


class RunPanel:
    """Shows and changes the options, and what the run does. Whoever owns it starts and ends the run."""

    def __init__(
        self, on_convert: Callable[[], None], on_cancel: Callable[[], None], on_change: Callable[[], None]
    ) -> None:
        self.widget, self.ui = widgets.load("RunPanel")
        self._on_change = on_change
        self._parameters: Any = None  # Parameters; the wrapper adds members that no type checker sees
        self._details = ""
        # Not asked of the widgets: in a folded section they are all hidden.
        self._is_segmentation = self._can_segment = False
        self._devices: list[tuple[str, str]] = []
        self._query: DeviceQuery | None = None
        self._can_go_back = False
        self._shares = _shares(_ALWAYS)
        for selector in (self.ui.maskSelector, self.ui.lesionsSelector, self.ui.outputSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        self.ui.outputSelector.addAttribute("vtkMRMLScalarVolumeNode", marks.CONTENT, "image")
        # The parameter node's own connections take selectors of one class only.
        self.ui.maskSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_mask)
        self.ui.lesionsSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_lesions)
        self.ui.segmentCombo.connect("activated(int)", self._on_segment)
        self.ui.deviceCombo.connect("activated(int)", self._on_device)
        self.ui.convertButton.connect("clicked()", on_convert)
        self.ui.cancelButton.connect("clicked()", on_cancel)
        self.ui.logButton.connect("clicked()", self._on_log)
        self.ui.copyButton.connect("clicked()", self._on_copy)
        self._devices_found(None)
        self.show_idle()
        self._say("")

    def bind(self, parameters: Parameters | None) -> None:
        """Show these parameters from now on."""
        self._parameters = parameters

    def refresh(
        self, modality: Modality | None, target: Modality | None, model: models.Summary | None, missing: str | None
    ) -> None:
        """Show what the parameters and the scene say now; `missing`: why Convert cannot work."""
        parameters = self._parameters
        if parameters is None:
            return
        self._show_mask(parameters.mask, parameters.maskSegment)
        if self.ui.lesionsSelector.currentNode() is not parameters.lesions:
            self.ui.lesionsSelector.setCurrentNode(parameters.lesions)
        widgets.fill(self.ui.deviceCombo, self._devices, self._device())
        self._show_what_can_be_asked(modality, target, model)
        self.ui.convertButton.enabled = missing is None
        self.ui.convertButton.toolTip = missing or _("Make the synthetic volume. The scan itself is not changed.")

    def _show_mask(self, mask: Any, segment: str) -> None:
        """The mask, and of a segmentation its segments."""
        if self.ui.maskSelector.currentNode() is not mask:
            self.ui.maskSelector.setCurrentNode(mask)
        is_segmentation = self._is_segmentation = mask is not None and mask.IsA("vtkMRMLSegmentationNode")
        self.ui.segmentLabel.visible = self.ui.segmentCombo.visible = is_segmentation
        if is_segmentation:
            items = [(_("all segments"), "")]
            segmentation = mask.GetSegmentation()
            items += [(segmentation.GetSegment(id).GetName(), id) for id in segmentation.GetSegmentIDs()]
            widgets.fill(self.ui.segmentCombo, items, segment if segment in dict(items).values() else "")

    def _show_what_can_be_asked(
        self, modality: Modality | None, target: Modality | None, model: models.Summary | None
    ) -> None:
        """The options that only some models have: how sure it is, the tumor, the way back."""
        tells = model is not None and model.tells_uncertainty
        self.ui.uncertaintyCheckBox.enabled = tells
        self.ui.uncertaintyCheckBox.toolTip = (
            _("One standard deviation of the model's own estimate, in the target's units.")
            if tells
            else _("This model does not say how sure it is.")
        )
        segments = self._can_segment = modality is not None and bool(models.segmenting(modality))
        self.ui.segmentationLabel.visible = self.ui.segmentationCheckBox.visible = segments
        back = self._can_go_back = modality is not None and target is not None and models.goes_back(modality, target)
        self.ui.convertBackCheckBox.enabled = back
        self.ui.convertBackCheckBox.toolTip = (
            _(
                "Convert the result back and show where that disagrees with the scan. Takes about as long as the conversion."
            )
            if back
            else _("No installed model makes {source} from {target}.").format(
                source=modality or "?", target=target or "?"
            )
        )

    @property
    def device(self) -> str:
        """Where to run."""
        return self._device()

    @property
    def wants_uncertainty(self) -> bool:
        """Whether the map is wanted and the model can make it."""
        return bool(self._parameters.uncertainty and self.ui.uncertaintyCheckBox.enabled)

    @property
    def wants_segmentation(self) -> bool:
        """Whether the tumor is to be outlined; False where no model can."""
        return bool(self._parameters.segmentation and self._can_segment)

    @property
    def wants_way_back(self) -> bool:
        """Whether the result is to be converted back; False where no model can."""
        return bool(self._parameters.convertBack and self._can_go_back)

    @property
    def segment(self) -> str:
        """The segment that is the mask; empty for all."""
        return widgets.chosen(self.ui.segmentCombo) if self._is_segmentation else ""

    # --- the run

    def show_running(self, *extra: str) -> None:
        """A run begins; `extra`: the stages that only some runs have."""
        self._say("")
        self._shares = _shares((*_ALWAYS, *extra))
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = self.ui.cancelButton.visible = self.ui.stageLabel.visible = True
        self.ui.stageLabel.text = _("Starting")

    def show_progress(self, news: Progress) -> None:
        """A run goes on."""
        first, last = self._shares.get(news.stage, (0, 1000))
        fraction = news.done / news.total if news.total else 0
        self.ui.progressBar.value = int(first + (last - first) * fraction)
        self.ui.stageLabel.text = stage_text(news)

    def show_idle(self) -> None:
        """No run is under way."""
        self.ui.progressBar.visible = self.ui.cancelButton.visible = self.ui.stageLabel.visible = False

    def show_end(self, run: Conversion) -> None:
        """A run has ended: done, cancelled or failed."""
        self.show_idle()
        self._details = details(run)
        if run.state is State.done:
            report = run.outcome.report
            text = _("{name}: {seconds:.1f} s on {device}.").format(
                name=", ".join(node.GetName() for node in run.outcome.nodes),
                seconds=report.get("seconds", {}).get("total", 0),
                device=report.get("device", ""),
            )
            cautions = [report["caution"]] if report.get("caution") else []
            self._say(" ".join([text, *cautions, *report.get("warnings", [])]), log=bool(run.log.strip()))
        else:
            hint = " " + _("Here: tick Unfit scans under Options.") if "--force" in run.message else ""
            self._say(run.message + hint, failed=run.state is State.failed, log=run.state is State.failed)

    def show_fault(self, message: str) -> None:
        """The run did not even begin."""
        self._details = ""
        self._say(message, failed=True)

    def _say(self, text: str, failed: bool = False, log: bool = False) -> None:
        self.ui.messageLabel.text = text
        self.ui.messageLabel.visible = bool(text)
        self.ui.messageLabel.setStyleSheet("color: #c0392b;" if failed else "")
        self.ui.logButton.visible = log
        self.ui.copyButton.visible = failed and bool(self._details)

    # --- devices

    def ask_for_devices(self) -> None:
        """Ask the engine, once, where it can run here."""
        if self._query is None:
            self._query = DeviceQuery(on_end=self._devices_found)
            self._query.start()

    def forget_devices(self) -> None:
        """Ask again next time: the software changed."""
        self.stop()
        self._query = None

    def stop(self) -> None:
        """End what still asks."""
        if self._query is not None:
            self._query.cancel()

    def _devices_found(self, query: DeviceQuery | None) -> None:
        self._devices = [(_("automatic"), "auto"), (_("CPU"), "cpu")]
        if query is not None and query.state is State.done:
            found = [device for device in query.outcome if device["available"] and device["name"] != "cpu"]
            self._devices += [(f"{device['name']}: {device['description']}", device["name"]) for device in found]
        widgets.fill(self.ui.deviceCombo, self._devices, self._device())

    def _device(self) -> str:
        wanted = self._parameters.device if self._parameters is not None else "auto"
        return wanted if wanted in {data for _text, data in self._devices} else "auto"

    # --- clicks

    def _on_mask(self, node: slicer.vtkMRMLNode | None) -> None:
        if self._parameters is not None and self._parameters.mask is not node:
            self._parameters.mask = node

    def _on_lesions(self, node: slicer.vtkMRMLNode | None) -> None:
        if self._parameters is not None and self._parameters.lesions is not node:
            self._parameters.lesions = node

    def _on_segment(self, index: int) -> None:
        self._parameters.maskSegment = widgets.chosen(self.ui.segmentCombo)
        self._on_change()

    def _on_device(self, index: int) -> None:
        self._parameters.device = widgets.chosen(self.ui.deviceCombo)

    def _on_log(self) -> None:
        if self._details:
            dialog = qt.QDialog(slicer.util.mainWindow())
            dialog.setWindowTitle(_("Log of the conversion"))
            dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
            text = qt.QPlainTextEdit(dialog)
            text.setReadOnly(True)
            text.setPlainText(self._details)
            qt.QVBoxLayout(dialog).addWidget(text)
            dialog.resize(720, 420)
            dialog.show()

    def _on_copy(self) -> None:
        if self._details:
            qt.QApplication.clipboard().setText(self._details)


def _shares(stages: Collection[str]) -> dict[str, tuple[float, float]]:
    """Where on the bar, of 1000, each of these stages begins and ends."""
    whole = sum(_PARTS[stage] for stage in stages)
    found, done = {}, 0
    for stage, part in _PARTS.items():
        if stage in stages:
            found[stage] = 1000 * done / whole, 1000 * (done + part) / whole
            done += part
    return found


def stage_text(news: Progress) -> str:
    """What goes on, and how long it will take, for the user."""
    words = {
        "read": _("Handing the scan over"),
        "prepare": _("Preparing"),
        "network": _("Converting"),
        "finish": _("Putting it back on the scan's grid"),
        "write": _("Handing the result back"),
        "segment": _("Outlining the tumor"),
        "consistency": _("Converting back"),
        "lesions": _("Looking for lesions"),
    }
    text = words.get(news.stage, news.stage)
    if news.seconds_left is None:
        return text
    left = max(1, round(news.seconds_left))
    return _("{what}, about {seconds} s left").format(what=text, seconds=left)
