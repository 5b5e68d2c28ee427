"""qMRMLNodeComboBox. Slicer: Libs/MRML/Widgets/qMRMLNodeComboBox.cxx, qMRMLSceneModel.cxx,
qMRMLSortFilterProxyModel.cxx, qMRMLNodeFactory.cxx."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_standin.ctk import ctkComboBox
from slicer_standin.custom import prop
from slicer_standin.pythonqt import call, emit
from slicer_standin.vtk_observing import Observing

_UID = int(QtCore.Qt.UserRole) + 1
_EXTRA = _UID + 3


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Built as Slicer's is: a combo box over a model whose rows are None, the nodes, and the actions, so that Qt
    itself decides what becomes current when rows come and go."""

    _cpp = True
    _signals = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeIDChanged(QString)",
        "nodeActivated(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeAddedByUserAction(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
        "currentNodeRenamed(QString)",
        "nodeAboutToBeEdited(vtkMRMLNode*)",
    )

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._requested = ""
        self._switching = False
        self._attributes: dict[str, tuple[str, Any]] = {}
        self._factory_attributes: dict[str, str] = {}
        self._base_names: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._menu_actions: list[QtGui.QAction] = []
        self._observing = Observing(self)
        self._model = QtGui.QStandardItemModel(self)
        self._combo = ctkComboBox(self)
        self._combo.setModel(self._model)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Expanding)
        # From 5.12 on, Slicer takes the change of the text: renaming the current node counts, a namesake does not.
        by_text = (slicer.app.majorVersion, slicer.app.minorVersion) >= (5, 12)
        self._combo.connect(
            "currentTextChanged(QString)" if by_text else "currentIndexChanged(int)", self._emit_current
        )
        self._combo.connect("activated(int)", self._activated)
        self._update_actions()
        self.setEnabled(False)

    # --- properties -------------------------------------------------------------------------------------------

    def _filter_changed(self) -> None:
        self._update_actions()
        self._refilter()

    def _none_changed(self) -> None:
        has = self._none_rows() == 1
        if self.noneEnabled and not has and self._scene is not None:
            self._model.insertRow(0, _item(self.noneDisplay))
        elif not self.noneEnabled and has:
            self._remove_rows(0)
        if self._none_rows():
            self._model.item(0).setText(self.noneDisplay)

    nodeTypes = prop("QStringList", "nodeTypes", [], changed="_filter_changed")
    showHidden = prop(bool, "showHidden", False, changed="_filter_changed")
    showChildNodeTypes = prop(bool, "showChildNodeTypes", True, changed="_filter_changed")
    hideChildNodeTypes = prop("QStringList", "hideChildNodeTypes", [], changed="_filter_changed")
    noneEnabled = prop(bool, "noneEnabled", False, changed="_none_changed")
    noneDisplay = prop(str, "noneDisplay", "None", changed="_none_changed")
    addEnabled = prop(bool, "addEnabled", True, changed="_update_actions")
    removeEnabled = prop(bool, "removeEnabled", True, changed="_update_actions")
    editEnabled = prop(bool, "editEnabled", False, changed="_update_actions")
    renameEnabled = prop(bool, "renameEnabled", False, changed="_update_actions")
    selectNodeUponCreation = prop(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = prop(str, "interactionNodeSingletonTag", "Singleton")
    sizeAdjustPolicy = prop(int, "sizeAdjustPolicy", 0)

    def _get_base_name(self) -> str:
        return self._base_names.get(self.nodeTypes[0], "") if self.nodeTypes else ""

    def _set_base_name(self, name: str) -> None:
        self._base_names.update(dict.fromkeys(self.nodeTypes, name))

    def _get_current_id(self) -> str:
        node = self.currentNode()
        return node.GetID() if node else ""

    baseName = QtCore.Property(str, _get_base_name, _set_base_name)
    currentNodeID = QtCore.Property(str, _get_current_id, lambda self, node_id: self.setCurrentNodeID(node_id))

    # --- what is in the list ----------------------------------------------------------------------------------

    def _none_rows(self) -> int:
        first = self._model.item(0)
        return int(first is not None and not first.data(_UID) and not first.data(_EXTRA))

    def _node_rows(self) -> list[tuple[int, str]]:
        rows = [(row, self._model.item(row).data(_UID)) for row in range(self._model.rowCount())]
        return [(row, node_id) for row, node_id in rows if node_id]

    def _accepts(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        types = self.nodeTypes
        for kind in types:
            if not node.IsA(kind) or (not self.showChildNodeTypes and node.GetClassName() != kind):
                continue
            if self.showChildNodeTypes and any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
                return False
            if kind in self._attributes:
                name, wanted = self._attributes[kind]
                value = node.GetAttribute(name)
                return value is not None and (wanted is None or str(wanted) == value)
            return True
        return not types

    def _watched(self, node: Any) -> bool:
        return self._accepts(node) or any(node.IsA(kind) for kind in self._attributes)

    def _nodes_of_scene(self) -> list[Any]:
        if self._scene is None:
            return []
        return [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]

    def _insert(self, node: Any) -> None:
        if self._watched(node):
            self._observing.once(node, vtk.vtkCommand.ModifiedEvent, self._node_modified)
        if not self._accepts(node):
            return
        present = {node_id for _, node_id in self._node_rows()}
        before = 0
        for other in self._nodes_of_scene():
            if other.GetID() == node.GetID():
                break
            before += other.GetID() in present
        self._model.insertRow(self._none_rows() + before, _item(node.GetName() or "", node.GetID()))
        emit(self, "nodeAdded(vtkMRMLNode*)", node)

    def _remove(self, node_id: str) -> None:
        for row, present in self._node_rows():
            if present == node_id:
                self._remove_rows(row)
                return

    def _remove_rows(self, first: int, count: int = 1) -> None:
        for row in range(first, first + count):
            if self._node_at(row):
                emit(self, "nodeAboutToBeRemoved(vtkMRMLNode*)", self._node_at(row))
        self._model.removeRows(first, count)
        if self.currentNode() is None:
            self.setCurrentNode(None)

    def _refilter(self) -> None:
        present = {node_id for _, node_id in self._node_rows()}
        for node in self._nodes_of_scene():
            if node.GetID() in present and not self._accepts(node):
                self._remove(node.GetID())
            elif node.GetID() not in present:
                self._insert(node)

    def _update_scene(self) -> None:
        self._observing.nodes_only_off()
        rows = self._node_rows()
        if rows:
            self._remove_rows(rows[0][0], len(rows))
        for node in self._nodes_of_scene():
            self._insert(node)

    def _update_actions(self) -> None:
        for row in reversed(range(self._model.rowCount())):
            if self._model.item(row).data(_EXTRA):
                self._without_change(lambda row=row: self._model.removeRow(row))
        if self._scene is None:
            return
        label = self.nodeTypeLabel(self.nodeTypes[0] if len(self.nodeTypes) == 1 else "")
        items = [("rename", f"Rename current {label}", "RENAME/" + label)] if self.renameEnabled else []
        items += [("edit", f"Edit current {label}", "EDIT/" + label)] if self.editEnabled else []
        for kind in self.nodeTypes if self.addEnabled else []:
            kind_label = self.nodeTypeLabel(kind)
            items.append(("add", f"Create new {kind_label}", "CREATE/" + kind_label))
            if self.renameEnabled:
                items.append(("add", f"Create new {kind_label} as...", "CREATE_AS/" + kind_label))
        items += [("remove", f"Delete current {label}", "DELETE/" + label)] if self.removeEnabled else []
        items += [("user", action.text, action.text) for action in self._menu_actions]
        if items:
            items.insert(0, ("separator", "separator", "SEPARATOR"))
        for _, text, data in items:
            self._without_change(lambda text=text, data=data: self._model.appendRow(_item(text, extra=data)))

    def _without_change(self, change: Any) -> None:
        current = self._combo.currentIndex
        change()
        self._combo.setCurrentIndex(min(current, self._combo.count - 1))

    # --- the scene's and the model's events -------------------------------------------------------------------

    def _node_added(self, node: Any) -> None:
        if not self._scene.IsImporting():
            self._insert(node)

    def _node_leaving(self, node: Any) -> None:
        if not self._scene.IsClosing():
            self._observing.off(node)
            self._remove(node.GetID())

    def _node_modified(self, node: Any) -> None:
        row = next((row for row, node_id in self._node_rows() if node_id == node.GetID()), None)
        if row is None:
            self._insert(node)
        elif not self._accepts(node):
            self._remove_rows(row)
        elif self._model.item(row).text() != (node.GetName() or ""):
            self._model.item(row).setText(node.GetName() or "")

    def _emit_current(self) -> None:
        if self._switching:
            return
        index, node = self._combo.currentIndex, self.currentNode()
        if node is None and index != (0 if self.noneEnabled else -1):
            last = self.nodeFromIndex(self.nodeCount() - 1)
            if last is not None:
                self.setCurrentNode(last)
            return
        emit(self, "currentNodeChanged(vtkMRMLNode*)", node)
        emit(self, "currentNodeChanged(bool)", node is not None)
        emit(self, "currentNodeIDChanged(QString)", node.GetID() if node else "")

    def _activated(self, index: int) -> None:
        node = self._node_at(index)
        if node is not None or (self.noneEnabled and index == 0):
            emit(self, "nodeActivated(vtkMRMLNode*)", node)

    def _node_at(self, row: int) -> Any:
        item = self._model.item(row) if row >= 0 else None
        node_id = item.data(_UID) if item is not None else None
        return self._scene.GetNodeByID(node_id) if node_id and self._scene is not None else None

    # --- slots and invokable methods --------------------------------------------------------------------------

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        old, was_valid = self.currentNodeID, self.nodeCount() > 0
        self._observing.clear()
        self._switching = True
        self._scene = scene
        self._none_changed()
        self._update_scene()
        if scene is not None:
            self._observing.scene(scene, "NodeAddedEvent", self._node_added, 10.0)
            self._observing.scene(scene, "NodeAboutToBeRemovedEvent", self._node_leaving, -10.0)
            self._observing.scene(scene, "EndCloseEvent", self._update_scene)
            self._observing.scene(scene, "EndImportEvent", self._update_scene)
        self._update_actions()
        first = self._node_at(0)  # Slicer's box is on row 0 of the new scene here: its first node if there is no None
        self._combo.setCurrentIndex(-1)
        self._switching = False
        wanted = old if was_valid else self._requested or (first.GetID() if first else "")
        self._requested = ""
        self.setCurrentNodeID(wanted)
        if self._combo.currentIndex == -1:
            self._emit_current()
        self.setEnabled(scene is not None)

    def nodeCount(self) -> int:
        return len(self._node_rows()) if self._scene is not None else 0

    def nodeFromIndex(self, index: int) -> Any:
        return self._node_at(index + (1 if self.noneEnabled else 0))

    def currentNode(self) -> Any:
        return self._node_at(self._combo.currentIndex)

    def setCurrentNode(self, node: Any) -> None:
        if node is not None and not isinstance(node, slicer.vtkMRMLNode):
            raise ValueError(f"setCurrentNode takes a vtkMRMLNode or None, not {node!r}")
        self.setCurrentNodeID((node.GetID() or "") if node is not None else "")

    def setCurrentNodeID(self, node_id: str) -> None:
        if self._scene is None:
            self._requested = node_id
        row = next((row for row, present in self._node_rows() if present == node_id), None)
        self._combo.setCurrentIndex((0 if self.noneEnabled else -1) if row is None else row)

    def setCurrentNodeIndex(self, index: int) -> None:
        index = -1 if index >= self.nodeCount() else index
        self._combo.setCurrentIndex(index + 1 if self.noneEnabled else index)

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._factory_attributes[name] = "" if value is None else str(value)
        self._attributes[node_type] = (name, value)
        self._refilter()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._factory_attributes.pop(name, None)
        if self._attributes.get(node_type, ("",))[0] == name:
            del self._attributes[node_type]
        self._refilter()

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._labels[node_type] = label
        self._update_actions()

    def nodeTypeLabel(self, node_type: str) -> str:
        if self._labels.get(node_type):
            return self._labels[node_type]
        label = self._scene.GetTypeDisplayNameByClassName(node_type) if self._scene is not None else ""
        return label or "node"

    def addMenuAction(self, action: QtGui.QAction) -> None:
        self._menu_actions.append(action)
        self._update_actions()

    def addNode(self, node_type: str = "") -> Any:
        kind = node_type or (self.nodeTypes[0] if self.nodeTypes else "")
        if kind not in self.nodeTypes or self._scene is None:
            return None
        node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        base = self._base_names.get(kind) or ("" if node.GetName() else node.GetDefaultNodeNamePrefix())
        if base:
            node.SetName(self._scene.GetUniqueNameByString(base))
        for name, value in self._factory_attributes.items():
            node.SetAttribute(name, value)
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        emit(self, "nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def editCurrentNode(self) -> None:
        emit(self, "nodeAboutToBeEdited(vtkMRMLNode*)", self.currentNode())

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        name = node and QtWidgets.QInputDialog.getText(
            self, f"Rename {self.nodeTypeLabel(node.GetClassName())}", "New name:", None, node.GetName()
        )
        if name:
            node.SetName(name)
            emit(self, "currentNodeRenamed(QString)", name)

    # --- for tests --------------------------------------------------------------------------------------------

    def _choose(self, text: str) -> None:
        """Act as the user who picks a line of the list: a node, None, or an action such as "Create new Volume"."""
        row = self._combo.findText(text)
        if row < 0:
            lines = [self._combo.itemText(index) for index in range(self._combo.count)]
            raise AssertionError(f"no line {text!r} in the list, only {lines}")
        action = str(self._model.item(row).data(_EXTRA) or "")
        if not action:
            self._combo.setCurrentIndex(row)
            self._activated(row)
        elif action.startswith("CREATE/"):
            kinds = [kind for kind in self.nodeTypes if self.nodeTypeLabel(kind) == action.partition("/")[2]]
            node = self.addNode(kinds[0])
            self.setCurrentNode(node)
            emit(self, "nodeAddedByUserAction(vtkMRMLNode*)", node)
        elif action.startswith("DELETE"):
            self.removeCurrentNode()
        elif action.startswith("RENAME"):
            self.renameCurrentNode()
        elif action.startswith("EDIT"):
            self.editCurrentNode()
        else:
            for item in self._menu_actions:
                if item.text == action:
                    call(item.trigger, ())


def _item(text: str, node_id: str = "", extra: str = "") -> QtGui.QStandardItem:
    item = QtGui.QStandardItem(text)
    item.setData(node_id or None, _UID)
    item.setData(extra or None, _EXTRA)
    return item
