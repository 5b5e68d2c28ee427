"""Reading a synthetic image beside the real one: side by side, one over the other, in the other's place."""

from __future__ import annotations

from enum import Enum

import slicer
import vtk
from slicer.util import VTKObservationMixin

from . import display, marks
from .layouts import AXIAL, CompareLayout


class Overlay(str, Enum):
    """What is laid over the synthetic image."""

    none = "none"
    real = "real"
    uncertainty = "uncertainty"
    interval = "interval"
    difference = "difference"
    consistency = "consistency"


_MADE = (Overlay.uncertainty, Overlay.interval, Overlay.consistency, Overlay.difference)
"""Made by or of a conversion, and so told apart by its report."""


class Reading(VTKObservationMixin):
    """What the compare views show, and the window that they share where units agree."""

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)
        self.layout = CompareLayout()
        self.synthetic: slicer.vtkMRMLScalarVolumeNode | None = None
        self.reference: slicer.vtkMRMLScalarVolumeNode | None = None
        self._shared: list[slicer.vtkMRMLScalarVolumeNode] = []
        self._is_following = False

    @property
    def real(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The scan that the synthetic volume was made from."""
        return self.synthetic.GetNodeReference(marks.SOURCE) if self.synthetic is not None else None

    def show(
        self,
        synthetic: slicer.vtkMRMLScalarVolumeNode,
        reference: slicer.vtkMRMLScalarVolumeNode | None = None,
        arrangement: str = AXIAL,
    ) -> bool:
        """Put the real scan left, the synthetic one beside it, a real one of the target third. False without the scan."""
        self.synthetic, self.reference = synthetic, reference
        if self.real is None:
            return False
        volumes = [self.real, synthetic, *([reference] if reference is not None else [])]
        self.layout.show(volumes, arrangement)
        self._share_windows(volumes)
        return True

    def leave(self) -> None:
        """Return to the user's former layout."""
        self.removeObservers()
        self.layout.back()

    def toggle(self, show_real: bool) -> None:
        """Put the real scan in the place of the synthetic one, or take it away again."""
        shown = self.real if show_real else self.synthetic
        if shown is not None:
            for composite in self.layout.composites("Synthetic"):
                composite.SetBackgroundVolumeID(shown.GetID())

    def overlays(self) -> list[Overlay]:
        """What can be laid over the synthetic volume that is read."""
        found = [Overlay.none]
        if self.synthetic is None:
            return found
        if self.real is not None:
            found.append(Overlay.real)
        return found + [kind for kind in _MADE if self._companion(kind) is not None]

    def lay_over(self, overlay: Overlay, opacity: float) -> None:
        """Lay something over the synthetic image; `opacity` from 0 to 1."""
        over = self.real if overlay is Overlay.real else self._companion(overlay)
        for composite in self.layout.composites("Synthetic"):
            composite.SetForegroundVolumeID(over.GetID() if over is not None else None)
            composite.SetForegroundOpacity(opacity if over is not None else 0)

    def _companion(self, overlay: Overlay) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The newest uncertainty, difference or disagreement volume of the very conversion that is read."""
        if self.synthetic is None:
            return None
        report = self.synthetic.GetAttribute(marks.REPORT)
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        fitting = [
            node for node in nodes if marks.content(node) == overlay.value and node.GetAttribute(marks.REPORT) == report
        ]
        return fitting[-1] if fitting else None

    def _share_windows(self, volumes: list[slicer.vtkMRMLScalarVolumeNode]) -> None:
        """Let volumes in one and the same absolute unit (HU, SUV) keep one window and level."""
        self.removeObservers()
        units = {volume.GetID(): display.units_of(volume) for volume in volumes}
        self._shared = [volume for volume in volumes if units[volume.GetID()]]
        real = self.real
        for volume in self._shared:
            if volume.GetDisplayNode() is not None:
                if real is not None and real in self._shared and units[volume.GetID()] == display.units_of(real):
                    display.copy_window(real.GetDisplayNode(), volume.GetDisplayNode())
                self.addObserver(volume.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent, self._on_window)

    def _on_window(self, changed: slicer.vtkMRMLScalarVolumeDisplayNode, event: str) -> None:
        if self._is_following:  # what it sets calls it again
            return
        owner = next((volume for volume in self._shared if volume.GetDisplayNode() is changed), None)
        self._is_following = True
        try:
            for volume in self._shared if owner is not None else ():
                if display.units_of(volume) == display.units_of(owner):
                    display.copy_window(changed, volume.GetDisplayNode())
        finally:
            self._is_following = False
