"""The panel: its parts put together, the one run that it may have under way, and the scene that comes and goes."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from slicer.util import VTKObservationMixin

from modality_conversion.errors import ConversionError

from . import dependencies, models, volumes, workspace
from .conversion import Conversion
from .further import NamedScan, used
from .further_panel import FurtherPanel
from .i18n import tr as _
from .input_panel import InputPanel
from .models_panel import ModelsPanel
from .readiness import Choice, what_is_missing
from .reading_panel import ReadingPanel
from .request import Request
from .run import State
from .run_panel import RunPanel
from .trust_panel import TrustPanel


class Panel(VTKObservationMixin):
    """All parts of the panel, in the layout of the module's widget."""

    def __init__(self, layout: qt.QLayout) -> None:
        VTKObservationMixin.__init__(self)
        workspace.sweep()
        self.run: Conversion | None = None
        """The last conversion; one at a time."""
        self.is_entered = False
        self._parameters: Any = None  # Parameters; the wrapper adds members that no type checker sees
        self._gui_tags: list[int] = []
        self._refresh_waits = False
        self._watched: list[slicer.vtkMRMLNode] = []
        self.input = InputPanel(self.refresh)
        self.further = FurtherPanel(self.refresh)
        self.options = RunPanel(self.convert, self.cancel, self.refresh)
        self.trust = TrustPanel(self.refresh)
        self.reading = ReadingPanel(self._refresh_trust)
        self.models = ModelsPanel(self._on_models_changed, self._what_runs)
        for part in self._parts:
            layout.addWidget(part.widget)
        layout.addStretch(1)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self._on_scene)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self._on_scene)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self._on_removal)

    @property
    def _parts(self) -> tuple[InputPanel, FurtherPanel, RunPanel, TrustPanel, ReadingPanel, ModelsPanel]:
        return self.input, self.further, self.options, self.trust, self.reading, self.models

    @property
    def _bound_parts(self) -> tuple[InputPanel, FurtherPanel, RunPanel, ReadingPanel]:
        return self.input, self.further, self.options, self.reading

    @property
    def is_running(self) -> bool:
        """Whether a conversion is under way."""
        return self.run is not None and self.run.state is State.running

    def is_bound_to(self, parameters: Any) -> bool:
        """Whether these parameters are shown already."""
        mine = self._parameters
        return mine is not None and mine.parameterNode is parameters.parameterNode

    def bind(self, parameters: Any) -> None:
        """Show these `Parameters` from now on; None while there is no scene."""
        if self._parameters is not None:
            for tag in self._gui_tags:
                self._parameters.disconnectGui(tag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._gui_tags = []
        self._parameters = parameters
        for part in self._bound_parts:
            part.bind(parameters)
        if parameters is not None:
            self._gui_tags = [parameters.connectGui(part.ui) for part in self._bound_parts]
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
            self.refresh()

    def enter(self) -> None:
        """The module is shown."""
        self.is_entered = True
        models.look_again()
        if not dependencies.missing():
            self.options.ask_for_devices()
        self.models.refresh()
        self.refresh()

    def exit(self) -> None:
        """Another module is shown; a run goes on."""
        self.is_entered = False

    def close(self) -> None:
        """The panel is taken down: the module is reloaded, or Slicer ends."""
        if self.run is not None:
            self.run.cancel()
        for part in (self.input, self.options, self.trust, self.reading, self.models):
            part.stop()
        self.bind(None)
        self.removeObservers()

    def scene_closed(self) -> None:
        """The scene was closed."""
        self.run = None
        self.reading.scene_closed()
        self.trust.scene_closed()

    def refresh(self) -> None:
        """Show what the parameters, the scene and the models folder say now."""
        if self._parameters is None:
            return
        scan = self.input.scan
        self.further.leave_those_of_another_scan(scan)
        further = self.further.chosen
        self.input.refresh([one.modality for one in further if one.modality is not None])
        self._watch([one for one in (scan, *(one.volume for one in further)) if one is not None])
        modality, model = self.input.modality, self.input.model
        self.further.refresh(NamedScan(scan, modality), self.input.target, model)
        self.options.refresh(modality, self.input.target, model, self.what_is_missing())
        self.reading.refresh()
        self._refresh_trust()

    def _refresh_trust(self) -> None:
        if self._parameters is not None:
            lesions = self._parameters.lesions
            self.trust.refresh(self.reading.synthetic, lesions, self.reading.reference, self.options.device)

    def what_is_missing(self) -> str | None:
        """Why Convert cannot work now; None if it can."""
        parameters = self._parameters
        if parameters is None:
            return _("There is no scene.")
        return what_is_missing(
            Choice(
                scan=self.input.scan,
                modality=self.input.modality,
                target=self.input.target,
                model=self.input.model,
                mask=parameters.mask,
                lesions=parameters.lesions if parameters.checkLesions else None,
                output=parameters.outputVolume,
                is_running=self.is_running or self.models.is_installing,
                further=self.further.chosen,
            )
        )

    # --- the run

    def convert(self) -> None:
        """Start a conversion of what is chosen, unless one is under way."""
        models.look_again()
        if not self._can_begin():
            return
        if not self.models.ensure_software():
            left = ", ".join(dependencies.missing())
            self.options.show_fault(_("Nothing was converted: {packages} is still missing.").format(packages=left))
            return
        if not self._can_begin():  # the scene may have changed while the software was installed
            return
        try:
            self.run = Conversion(self._request(), self.options.show_progress, self._on_end)
        except ConversionError as error:
            self.options.show_fault(str(error))
            return
        wanted = self.run.request
        stages = {"segment": wanted.segmentation, "consistency": wanted.convert_back, "lesions": wanted.check_lesions}
        self.options.show_running(*(stage for stage, asked in stages.items() if asked))
        self.refresh()
        self.run.start()

    def _can_begin(self) -> bool:
        self.refresh()
        missing = self.what_is_missing()
        if missing is not None:
            self.options.show_fault(missing)
        return missing is None

    def cancel(self) -> None:
        """End the conversion that is under way."""
        if self.run is not None:
            self.run.cancel()

    def _request(self) -> Request:
        parameters, modality, model = self._parameters, self.input.modality, self.input.model
        assert modality is not None  # `what_is_missing` has seen to it
        assert model is not None
        return Request(
            scan=self.input.scan,
            modality=modality,
            target=self.input.target,
            model=model.id,
            further={one.modality: one.volume for one in used(self.further.chosen, model) if one.modality},
            mask=parameters.mask,
            segment=self.options.segment,
            device=self.options.device,
            uncertainty=self.options.wants_uncertainty,
            interval=self.options.wants_uncertainty and self.input.target in model.calibrated,
            force=parameters.force,
            segmentation=self.options.wants_segmentation,
            check_lesions=parameters.checkLesions,
            lesions=parameters.lesions,
            convert_back=self.options.wants_way_back,
            output=parameters.outputVolume,
        )

    def _on_end(self, run: Conversion) -> None:
        self.options.show_end(run)
        if run.state is State.done and run.outcome.volume is not None:
            if self.is_entered:
                self.reading.show(run.outcome.volume)
            else:
                slicer.util.showStatusMessage(_("{name} is ready.").format(name=run.outcome.volume.GetName()), 5000)
        self.refresh()

    # --- what happens elsewhere

    def _on_parameters(self, caller: vtk.vtkObject, event: str) -> None:
        self.refresh()

    def _watch(self, scans: list[slicer.vtkMRMLNode]) -> None:
        """Follow what happens to the scans that are chosen: their names, their voxels, their grids."""
        for event in (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent):
            for scan in self._watched:
                if scan not in scans:
                    self.removeObserver(scan, event, self._on_scene)
            for number, scan in enumerate(scans):
                if scan not in self._watched and scan not in scans[:number]:
                    self.addObserver(scan, event, self._on_scene)
        self._watched = scans

    def _on_scene(self, caller: vtk.vtkObject, event: str) -> None:
        """Look at the scene once, after all that happens to it at once."""
        if not self._refresh_waits:
            self._refresh_waits = True
            qt.QTimer.singleShot(0, self._refresh_now)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removal(self, caller: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        """Choose nothing where the node was chosen; left alone, a selector would go on to its neighbour in the list."""
        if self._parameters is None or node is None or slicer.mrmlScene.IsClosing():
            return
        for name in ("further1", "further2", "further3", "mask", "lesions", "outputVolume", "referenceVolume"):
            if self._parameters.getValue(name) is node:
                self._parameters.setValue(name, None)

    def _refresh_now(self) -> None:
        self._refresh_waits = False
        if not self.is_entered or self._parameters is None or slicer.mrmlScene.IsClosing():
            return
        if self._parameters.inputVolume is None:
            self._parameters.inputVolume = volumes.first_scan()
        self.refresh()

    def _what_runs(self) -> str | None:
        """Why the software must not be touched now, None where nothing runs. The question for devices is dropped."""
        looking = self.reading.is_measuring or self.trust.is_checking or self.input.is_looking
        if self.is_running or looking or self.models.is_working:
            return _("Something is under way. Wait for its end, or cancel it.")
        self.options.forget_devices()
        return None

    def _on_models_changed(self) -> None:
        models.look_again()
        self.options.forget_devices()
        if not dependencies.missing():
            self.options.ask_for_devices()
        self.refresh()
