"""The class decorator. Slicer: parameterNodeWrapper/wrapper.py."""

from __future__ import annotations

import logging
import types
import typing
import weakref
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from slicer_standin.parameter_node.connectors import GuiConnector, createGuiConnector
from slicer_standin.parameter_node.serializers import create
from slicer_standin.parameter_node.validators import Default, split

SlicerParameterNamePropertyName = "SlicerParameterName"


@dataclass
class ParameterInfo:
    basename: str
    serializer: Any
    default: Default
    unalteredType: Any


class _Value:
    """One parameter of one node. What is read is kept until the node is modified, as in Slicer: a node that has left
    the scene is still returned until then."""

    def __init__(self, info: ParameterInfo, node: Any, name: str) -> None:
        self.info, self.node, self.name = info, node, name
        if not info.serializer.isIn(node, name):
            info.serializer.write(node, name, info.default.value)
        self._writing = False
        self._kept = self._fetch()
        me = weakref.ref(self)

        def modified(caller: Any, event: Any) -> None:
            alive = me()
            if alive is not None and not alive._writing:
                alive._kept = alive._fetch()

        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, modified)

    def __del__(self) -> None:
        self.node.RemoveObserver(self._tag)

    def _fetch(self) -> Any:
        if not self.info.serializer.isIn(self.node, self.name):
            self.info.serializer.write(self.node, self.name, self.info.default.value)
        return self.info.serializer.read(self.node, self.name)

    def read(self) -> Any:
        return self._kept

    def write(self, value: Any) -> None:
        self._writing = True
        try:
            with slicer.util.NodeModify(self.node):
                self.info.serializer.write(self.node, self.name, value)
                self._kept = self._fetch()
        finally:
            self._writing = False


def _init(self: Any, parameterNode: Any, prefix: str | None = None) -> None:
    self.parameterNode = parameterNode
    self._guis, self._tags, self._next_tag, self._updating = {}, {}, 0, False
    for name, info in self.allParameters.items():
        setattr(self, f"_{name}_impl", _Value(info, parameterNode, f"{prefix or ''}{name}"))


def _known(self: Any, name: str) -> None:
    if name not in self.allParameters:
        raise ValueError(f"Cannot find a param with the given name: {name}; there are {list(self.allParameters)}")


def _get_value(self: Any, name: str) -> Any:
    _known(self, name)
    return getattr(self, f"_{name}_impl").read()


def _set_value(self: Any, name: str, value: Any) -> None:
    _known(self, name)
    getattr(self, f"_{name}_impl").write(value)


def _default(self: Any, name: str) -> Default:
    _known(self, name)
    return self.allParameters[name].default


def _is_cached(self: Any, name: str) -> bool:
    _known(self, name)
    return True


def _show(self: Any) -> None:
    if self._updating:
        return
    self._updating = True
    try:
        with slicer.util.NodeModify(self):
            for mapping in self._guis.values():
                for name, connector in mapping.items():
                    connector.write(self.getValue(name))
    finally:
        self._updating = False


def _take(self: Any, name: str, connector: Any) -> Any:
    def callback() -> None:
        with slicer.util.NodeModify(self):
            if not self._updating:
                self.setValue(name, connector.read())

    return callback


def _connect_parameters(self: Any, mapping: dict[str, Any]) -> int:
    for name in mapping:
        _known(self, name)
    connectors = {
        name: item if isinstance(item, GuiConnector) else createGuiConnector(item, self.dataType(name))
        for name, item in mapping.items()
    }
    tag = self._next_tag
    self._next_tag += 1
    self._guis[tag] = connectors
    for name, connector in connectors.items():
        connector.write(self.getValue(name))
        connector.onChanged(_take(self, name, connector))
    self._tags[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _show(self))
    return tag


def _connect_gui(self: Any, gui: Any) -> int:
    """Connect every widget that has the dynamic property `SlicerParameterName`."""
    is_widget = isinstance(gui, QtWidgets.QWidget)
    widgets = gui.findChildren(QtWidgets.QWidget) if is_widget else list(vars(gui).values())
    found = {}
    for widget in widgets:
        name = widget.property(SlicerParameterNamePropertyName)
        if name:
            found[name] = widget
    return _connect_parameters(self, found)


def _disconnect_gui(self: Any, tag: Any) -> None:
    for connector in self._guis.pop(tag, {}).values():
        connector.onChanged(None)
    if tag in self._tags:
        self.RemoveObserver(self._tags.pop(tag))


def findChildWidgetForParameter(widget: QtWidgets.QWidget, parameter: str) -> Any:
    for child in widget.findChildren(QtCore.QObject):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    return None


def isParameterNodeWrapper(item: Any) -> bool:
    return getattr(item, "_is_parameter_node_wrapper", False)


def _property(name: str) -> property:
    return property(
        lambda self: getattr(self, f"_{name}_impl").read(),
        lambda self, value: getattr(self, f"_{name}_impl").write(value),
    )


def _wrap(kind: Any) -> Any:
    parameters: dict[str, ParameterInfo] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        member, annotations = split(hint)
        if isinstance(member, types.UnionType):
            member = typing.Union[tuple(typing.get_args(member))]
        serializer, rest = create(member, annotations)
        defaults = [item for item in rest if isinstance(item, Default)]
        if hasattr(kind, name):
            default = Default(getattr(kind, name))
        else:
            default = defaults[0] if defaults else Default(serializer.default())
            rest = [item for item in rest if item not in defaults]
        if rest:
            logging.warning("Unused annotations: %s", rest)
        parameters[name] = ParameterInfo(name, serializer, default, hint)
        setattr(kind, name, _property(name))

    def data_type(name: str) -> Any:
        if name not in parameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return parameters[name].unalteredType

    kind.__init__ = _init
    members = {
        "allParameters": parameters,
        "_is_parameter_node_wrapper": True,
        "default": _default,
        "isCached": _is_cached,
        "dataType": staticmethod(data_type),
        "getValue": _get_value,
        "setValue": _set_value,
        "connectGui": _connect_gui,
        "connectParametersToGui": _connect_parameters,
        "disconnectGui": _disconnect_gui,
        "StartModify": lambda self: self.parameterNode.StartModify(),
        "EndModify": lambda self, before: self.parameterNode.EndModify(before),
        "AddObserver": lambda self, event, call, priority=0.0: self.parameterNode.AddObserver(event, call, priority),
        "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
        "Modified": lambda self: self.parameterNode.Modified(),
    }
    for name, value in members.items():
        if hasattr(kind, name):
            raise ValueError(f"Cannot use reserved name {name!r} in a parameterNodeWrapper")
        setattr(kind, name, value)
    return kind


def parameterNodeWrapper(classtype: Any = None) -> Any:
    return _wrap if classtype is None else _wrap(classtype)
