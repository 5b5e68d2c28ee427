"""The layout manager and its slice views, on the real layout, slice and composite nodes and the real slice logic.
Slicer: Libs/MRML/Widgets/qMRMLLayoutManager.h, qMRMLSliceWidget.h, qMRMLSliceView.h, qMRMLSliceControllerWidget.h;
CTK: Libs/Visualization/VTK/Widgets/ctkVTKAbstractView.h."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from slicer_standin.custom import prop
from slicer_standin.mrml_widget import qMRMLWidget
from slicer_standin.pythonqt import emit
from slicer_standin.vtk_observing import Observing


class ctkVTKAbstractView(QtWidgets.QWidget):
    _cpp = True
    renderEnabled = prop(bool, "renderEnabled", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._window: Any = None
        self._corner = vtk.vtkCornerAnnotation()
        self._renders = 0  # forced and scheduled, for tests
        self._paused = 0

    def renderWindow(self) -> Any:
        if self._window is None:
            self._window = vtk.vtkRenderWindow()
            self._window.SetOffScreenRendering(1)
            self._window.SetSize(256, 256)  # as many pixels as a new slice node has
            renderer = vtk.vtkRenderer()
            renderer.AddViewProp(self._corner)
            self._window.AddRenderer(renderer)
        return self._window

    def cornerAnnotation(self) -> Any:
        return self._corner

    def scheduleRender(self) -> None:
        self._renders += 1

    def forceRender(self) -> None:
        self._renders += 1
        if not self._paused:
            self.renderWindow().Render()

    def pauseRender(self) -> int:
        self._paused += 1
        return self._paused

    def resumeRender(self) -> int:
        self._paused = max(0, self._paused - 1)
        return self._paused


class qMRMLSliceView(ctkVTKAbstractView):
    _cpp = True

    def __init__(self, parent: Any, logic: Any) -> None:
        super().__init__(parent)
        self._logic = logic
        self._overlay = vtk.vtkCornerAnnotation()

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def renderWindow(self) -> Any:
        window = super().renderWindow()
        if not window.GetRenderers().GetFirstRenderer().HasViewProp(self._overlay):
            window.GetRenderers().GetFirstRenderer().AddViewProp(self._overlay)
            mapper = vtk.vtkImageMapper()
            mapper.SetColorWindow(255)
            mapper.SetColorLevel(127.5)
            mapper.SetInputConnection(self._logic.GetImageDataConnection())
            if self._logic.GetImageDataConnection() is not None:
                actor = vtk.vtkActor2D()
                actor.SetMapper(mapper)
                window.GetRenderers().GetFirstRenderer().AddViewProp(actor)
        return window


class qMRMLSliceControllerWidget(QtWidgets.QWidget):
    _cpp = True

    def __init__(self, parent: Any, logic: Any) -> None:
        super().__init__(parent)
        self._logic = logic

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def setSliceLink(self, linked: bool) -> None:
        self._each_composite(lambda node: node.SetLinkedControl(linked))

    def setHotLinked(self, hot: bool) -> None:
        self._each_composite(lambda node: node.SetHotLinkedControl(hot))

    def setSliceVisible(self, visible: bool) -> None:
        self._logic.GetSliceNode().SetSliceVisible(visible)

    def setForegroundOpacity(self, opacity: float) -> None:
        self._logic.GetSliceCompositeNode().SetForegroundOpacity(opacity)

    def setSliceOffsetValue(self, offset: float) -> None:
        self._logic.SetSliceOffset(offset)

    def _each_composite(self, change: Any) -> None:
        scene = self._logic.GetMRMLScene()
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
            change(scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode"))


class qMRMLSliceWidget(qMRMLWidget):
    _cpp = True

    def __init__(self, parent: Any, app_logic: Any, node: Any) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(app_logic)
        app_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetSliceNode(node)
        self._logic.SetMRMLScene(node.GetScene())
        self._view = qMRMLSliceView(self, self._logic)
        self._controller = qMRMLSliceControllerWidget(self, self._logic)
        self.setObjectName(f"qMRMLSliceWidget{node.GetLayoutName()}")
        self.setMRMLScene(node.GetScene())

    sliceOrientation = QtCore.Property(
        str,
        lambda self: self._logic.GetSliceNode().GetOrientation(),
        lambda self, name: self._logic.GetSliceNode().SetOrientation(name),
    )
    sliceViewName = QtCore.Property(str, lambda self: self._logic.GetSliceNode().GetLayoutName())
    sliceViewLabel = QtCore.Property(str, lambda self: self._logic.GetSliceNode().GetLayoutLabel())

    def sliceLogic(self) -> Any:
        return self._logic

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def overlayCornerAnnotation(self) -> Any:
        return self._view._overlay

    def sliceController(self) -> qMRMLSliceControllerWidget:
        return self._controller

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


class qMRMLThreeDView(ctkVTKAbstractView):
    _cpp = True

    def resetFocalPoint(self) -> None:
        return

    def resetCamera(self) -> None:
        return


class qMRMLThreeDWidget(qMRMLWidget):
    _cpp = True

    def __init__(self, parent: Any, node: Any) -> None:
        super().__init__(parent)
        self._node = node
        self._view = qMRMLThreeDView(self)

    def threeDView(self) -> qMRMLThreeDView:
        return self._view

    def mrmlViewNode(self) -> Any:
        return self._node


class qSlicerLayoutManager(QtCore.QObject):
    """Makes a widget for each slice and 3D view node of the scene, as they come; all of them stay until their node
    goes, whether or not the present layout shows them, as in Slicer."""

    _cpp = True
    _signals = ("layoutChanged(int)", "nodeAboutToBeEdited(vtkMRMLNode*)")

    def __init__(self, scene: Any, app_logic: Any) -> None:
        super().__init__()
        self._viewport = QtWidgets.QWidget()
        self._viewport.show()
        self._app_logic = app_logic
        self._scene = scene
        self._slices: dict[str, qMRMLSliceWidget] = {}
        self._three_d: dict[str, qMRMLThreeDWidget] = {}
        self._observing = Observing(self)
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._observing.scene(scene, "NodeAddedEvent", self._node_added)
        self._observing.scene(scene, "NodeAboutToBeRemovedEvent", self._node_leaving)
        self._logic.SetMRMLScene(scene)
        node = self._logic.GetLayoutNode()
        self._observing.once(node, vtk.vtkCommand.ModifiedEvent, self._layout_modified, pass_node=False)
        node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)

    def _node_added(self, node: Any) -> None:
        if node.IsA("vtkMRMLSliceNode") and node.GetLayoutName() not in self._slices:
            widget = qMRMLSliceWidget(self._viewport, self._app_logic, node)
            widget.setVisible(False)
            self._slices[node.GetLayoutName()] = widget
        elif node.IsA("vtkMRMLViewNode") and node.GetLayoutName() not in self._three_d:
            self._three_d[node.GetLayoutName()] = qMRMLThreeDWidget(self._viewport, node)

    def _node_leaving(self, node: Any) -> None:
        if node.IsA("vtkMRMLSliceNode") and node.GetLayoutName() in self._slices:
            widget = self._slices.pop(node.GetLayoutName())
            self._app_logic.GetSliceLogics().RemoveItem(widget.sliceLogic())
            widget.deleteLater()

    def _layout_modified(self) -> None:
        if self._scene.IsBatchProcessing():
            return
        shown = self._logic.GetViewNodes()
        names = [shown.GetItemAsObject(index).GetLayoutName() for index in range(shown.GetNumberOfItems())]
        for name, widget in {**self._slices, **self._three_d}.items():
            widget.setVisible(name in names)
        emit(self, "layoutChanged(int)", self._logic.GetLayoutNode().GetViewArrangement())

    def _get_layout(self) -> int:
        return int(self._logic.GetLayoutNode().GetViewArrangement())

    def setLayout(self, layout: int) -> None:
        node = self._logic.GetLayoutNode()
        if layout == node.GetViewArrangement():
            return
        if not node.IsLayoutDescription(layout):
            layout = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
        node.RemoveAllMaximizedViewNodes()
        node.SetViewArrangement(layout)

    layout = QtCore.Property(int, _get_layout, setLayout)
    threeDViewCount = QtCore.Property(int, lambda self: len(self._three_d))
    tableViewCount = QtCore.Property(int, lambda self: 0)
    plotViewCount = QtCore.Property(int, lambda self: 0)

    def mrmlScene(self) -> Any:
        return self._scene

    def layoutLogic(self) -> Any:
        return self._logic

    def sliceViewNames(self) -> list[str]:
        return list(self._slices)

    def sliceWidget(self, name: str) -> Any:
        return self._slices.get(name)

    def threeDWidget(self, which: Any) -> Any:
        if isinstance(which, int):
            return list(self._three_d.values())[which] if which < len(self._three_d) else None
        return self._three_d.get(which)

    def mrmlSliceLogics(self) -> Any:
        return self._app_logic.GetSliceLogics()

    def viewport(self) -> QtWidgets.QWidget:
        return self._viewport

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.sliceController().fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        return


SLICER = {  # as they are called in the slicer module
    "qMRMLSliceView": qMRMLSliceView,
    "qMRMLSliceWidget": qMRMLSliceWidget,
    "qMRMLSliceControllerWidget": qMRMLSliceControllerWidget,
    "qMRMLThreeDView": qMRMLThreeDView,
    "qMRMLThreeDWidget": qMRMLThreeDWidget,
    "qMRMLLayoutManager": qSlicerLayoutManager,
    "qSlicerLayoutManager": qSlicerLayoutManager,
}
