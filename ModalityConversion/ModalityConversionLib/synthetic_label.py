"""The word SYNTHETIC in the corner of every slice view that shows a synthetic image, so that it stands in screenshots."""

from __future__ import annotations

import contextlib
import textwrap

import slicer
import vtk
from slicer.util import VTKObservationMixin

from . import marks

_TEXT = "SYNTHETIC"


class SyntheticLabels(VTKObservationMixin):
    """Follows what the slice views show, in any layout, from the start of Slicer until it ends."""

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)
        self._actors: dict[str, vtk.vtkTextActor] = {}
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self._on_node_added)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._on_change)
        manager = slicer.app.layoutManager()
        if manager is not None:
            manager.connect("layoutChanged(int)", self._on_layout)
        slicer.app.connect("aboutToQuit()", self.remove)  # before the nodes go that it follows
        self._watch_composites()
        self.update()

    def remove(self) -> None:
        """Take the words away and watch no more."""
        self.removeObservers()
        slicer.app.disconnect("aboutToQuit()", self.remove)
        manager = slicer.app.layoutManager()
        if manager is not None:
            manager.disconnect("layoutChanged(int)", self._on_layout)
            for name, actor in self._actors.items():
                view = _view(name)
                if view is not None:
                    _renderer(view).RemoveViewProp(actor)
                    view.scheduleRender()
        self._actors.clear()

    def texts(self) -> dict[str, str]:
        """The words now shown, by the name of the view."""
        return {name: actor.GetInput() for name, actor in self._actors.items() if actor.GetVisibility()}

    def update(self) -> None:
        """Look at every view again."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        for name in manager.sliceViewNames():
            widget = manager.sliceWidget(name)
            logic = widget.sliceLogic() if widget is not None else None
            composite = logic.GetSliceCompositeNode() if logic is not None else None
            if composite is not None:
                self._show(name, _text(composite))

    def _show(self, name: str, text: str) -> None:
        actor = self._actors.get(name)
        if actor is None:
            view = _view(name)
            if not text or view is None:
                return
            actor = self._actors[name] = _new_actor()
            _renderer(view).AddViewProp(actor)
        if actor.GetInput() == text and bool(actor.GetVisibility()) == bool(text):
            return
        actor.SetInput(text)
        actor.SetVisibility(bool(text))
        view = _view(name)
        if view is not None:
            view.scheduleRender()

    def _watch_composites(self) -> None:
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if not self.hasObserver(composite, vtk.vtkCommand.ModifiedEvent, self._on_change):
                self.addObserver(composite, vtk.vtkCommand.ModifiedEvent, self._on_change)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, caller: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        if node is not None and node.IsA("vtkMRMLSliceCompositeNode"):
            self._watch_composites()

    def _on_layout(self, layout: int) -> None:
        self._watch_composites()
        self.update()

    def _on_change(self, caller: vtk.vtkObject, event: str) -> None:
        with contextlib.suppress(AttributeError):  # the application is being taken down
            self.update()


def _text(composite: slicer.vtkMRMLSliceCompositeNode) -> str:
    """What to write over a view: nothing unless it shows something synthetic."""
    shown = [composite.GetBackgroundVolumeID()]
    if composite.GetForegroundOpacity() > 0:
        shown.append(composite.GetForegroundVolumeID())
    nodes = [slicer.mrmlScene.GetNodeByID(id) for id in shown if id]
    made = next((node for node in nodes if marks.is_synthetic(node)), None)
    if made is None:
        return ""
    lines = [f"{_TEXT} {made.GetAttribute(marks.MODALITY) or ''}".strip(), "not for diagnosis"]
    caution = made.GetAttribute(marks.CAUTION)
    return "\n".join([*lines, *textwrap.wrap(caution or "", 40)])


def _view(name: str) -> slicer.qMRMLSliceView | None:
    widget = slicer.app.layoutManager().sliceWidget(name)
    return widget.sliceView() if widget is not None else None


def _renderer(view: slicer.qMRMLSliceView) -> vtk.vtkRenderer:
    return view.renderWindow().GetRenderers().GetItemAsObject(0)


def _new_actor() -> vtk.vtkTextActor:
    actor = vtk.vtkTextActor()
    style = actor.GetTextProperty()
    style.SetFontSize(16)
    style.SetBold(True)
    style.SetShadow(True)
    style.SetColor(1.0, 0.72, 0.25)
    style.SetJustificationToRight()
    style.SetVerticalJustificationToTop()
    place = actor.GetPositionCoordinate()
    place.SetCoordinateSystemToNormalizedViewport()
    place.SetValue(0.985, 0.975)
    return actor
