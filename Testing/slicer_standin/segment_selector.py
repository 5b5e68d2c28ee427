"""qMRMLSegmentSelectorWidget. Slicer: Libs/MRML/Widgets/qMRMLSegmentSelectorWidget.cxx."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_standin.custom import prop, via
from slicer_standin.mrml_widget import qMRMLWidget
from slicer_standin.node_selector import qMRMLNodeComboBox
from slicer_standin.pythonqt import emit
from slicer_standin.vtk_observing import Observing

_NONE = "None"


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    _cpp = True
    _signals = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentSegmentChanged(QString)",
        "segmentSelectionChanged(QStringList)",
        "nodeAboutToBeEdited(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
    )

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._segmentation: Any = None
        self._segment = ""
        self._observing = Observing(self)
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodes.addEnabled = False
        self._nodes.renameEnabled = True
        self._segments = QtWidgets.QComboBox(self)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._nodes)
        column.addWidget(self._segments)
        self._nodes.connect("currentNodeChanged(vtkMRMLNode*)", self.onCurrentNodeChanged)
        for signature in ("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)"):
            self._nodes.connect(signature, lambda value, signature=signature, *_: emit(self, signature, value))
        self._segments.connect("currentIndexChanged(int)", self._segment_picked)
        self._populate()

    def _set_none_enabled(self, enabled: bool) -> None:
        self._nodes.noneEnabled = enabled
        self._populate()

    noneEnabled = QtCore.Property(bool, lambda self: self._nodes.noneEnabled, _set_none_enabled)
    editEnabled = via(bool, "_nodes", "editEnabled")
    selectNodeUponCreation = via(bool, "_nodes", "selectNodeUponCreation")
    segmentationNodeSelectorVisible = QtCore.Property(
        bool, lambda self: self._nodes.visible, lambda self, value: self._nodes.setVisible(value)
    )
    horizontalLayout = prop(bool, "horizontalLayout", False)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._nodes.setMRMLScene(scene)

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return str(self._nodes.currentNodeID)

    def currentSegmentID(self) -> str:
        """Stays as it was when no segmentation is selected any more, as in Slicer."""
        return self._segment

    def segmentIDs(self) -> list[str]:
        return []  # Slicer lists those of the multiple selection box here, which is empty for a single selection

    def setCurrentNode(self, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self._nodes.setCurrentNodeID(node_id)

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if not segment_id and self.noneEnabled:
            self._segments.setCurrentIndex(0)
            return
        index = self._segments.findData(segment_id)
        if index != -1:
            self._segments.setCurrentIndex(index)

    def onCurrentNodeChanged(self, node: Any) -> None:
        node = node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None
        if node is self._segmentation:
            return
        self._observing.clear()
        self._segmentation = node
        if node is not None:
            kind = slicer.vtkSegmentation
            for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified):
                self._observing.once(node, event, self._populate, pass_node=False)
        self._populate()

    def _populate(self) -> None:
        box = self._segments
        blocked = box.blockSignals(True)
        box.clear()
        segmentation = self._segmentation.GetSegmentation() if self._segmentation is not None else None
        ids = list(segmentation.GetSegmentIDs()) if segmentation is not None else []
        box.setVisible(bool(ids))
        if ids:
            if self.noneEnabled:
                box.addItem(_NONE, _NONE)
            for segment_id in ids:
                box.addItem(segmentation.GetSegment(segment_id).GetName(), segment_id)
            if (self.noneEnabled and not self._segment) or self._segment in ids:
                self.setCurrentSegmentID(self._segment)
            else:
                box.setCurrentIndex(-1)
        box.blockSignals(blocked)
        if ids and box.currentIndex == -1:
            box.setCurrentIndex(1 if self.noneEnabled else 0)

    def _segment_picked(self, index: int) -> None:
        if self._segmentation is None:
            return
        picked = str(self._segments.itemData(index) or "")
        self._segment = "" if picked == _NONE else picked
        emit(self, "currentSegmentChanged(QString)", self._segment)
