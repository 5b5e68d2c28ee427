"""Ends a run when the scene that it belongs to goes away under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import slicer
import vtk
from slicer.util import VTKObservationMixin

from .i18n import tr as _


class SceneWatch(VTKObservationMixin):
    """Calls `stop(why)` when the scene closes, one of the nodes leaves it, or Slicer quits."""

    def __init__(
        self,
        nodes: Sequence[slicer.vtkMRMLNode],
        stop: Callable[[str], None],
    ) -> None:
        VTKObservationMixin.__init__(self)
        self._names = {node.GetID(): node.GetName() for node in nodes}
        self._stop = stop
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._on_close)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self._on_removal)
        slicer.app.connect("aboutToQuit()", self._on_quit)

    def stop(self) -> None:
        """Watch no more."""
        self.removeObservers()
        slicer.app.disconnect("aboutToQuit()", self._on_quit)

    def _on_close(self, caller: vtk.vtkObject, event: str) -> None:
        self._stop(_("Cancelled, since the scene was closed."))

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removal(self, caller: vtk.vtkObject, event: str, node: slicer.vtkMRMLNode) -> None:
        if node is not None and node.GetID() in self._names:
            name = self._names[node.GetID()]
            self._stop(_("Cancelled, since {name} was removed from the scene.").format(name=name))

    def _on_quit(self) -> None:
        self._stop(_("Cancelled, since Slicer is closing."))
