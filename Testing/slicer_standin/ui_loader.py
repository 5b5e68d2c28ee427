"""`qt.QUiLoader`, which reads a .ui file as Slicer's does: with CTK's and Slicer's widgets, and with an error where
Slicer would merely drop a property or a connection."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from slicer_standin import ctk, pythonqt

CUSTOM: dict[str, Any] = dict(ctk.WIDGETS)  # class name in the .ui file -> class; Slicer's own are added by install


# Widgets just made, kept until they have found their parents: Qt holds them meanwhile by pointers that Python cannot see.
_made: list[Any] = []


class UiError(RuntimeError):
    """The .ui file asks for something that Slicer does not have."""


class QUiLoader(QtUiTools.QUiLoader):
    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        kind = CUSTOM.get(class_name)
        if kind is None:
            kind = getattr(QtWidgets, class_name, None)
        if kind is None:
            raise UiError(f"no widget class {class_name!r}")
        widget = kind(parent) if class_name != "Line" else QtWidgets.QFrame(parent)
        widget.setObjectName(name)
        _made.append(widget)
        return widget

    def load(self, file: Any, parent: Any = None) -> Any:
        text = bytes(file.readAll().data())
        root = ElementTree.fromstring(text)
        _check_classes(root)
        connections = _take_connections(root)
        buffer = QtCore.QBuffer(self)
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        pythonqt.loading_ui.append(True)
        try:
            widget = super().load(buffer, parent)
        finally:
            pythonqt.loading_ui.pop()
            _made.clear()
        if widget is not None:
            _check_properties(root, widget)
            for sender, signal, receiver, slot in connections:
                _connect(widget, sender, signal, receiver, slot)
        return widget


def _check_classes(root: ElementTree.Element) -> None:
    for item in root.iter("widget"):
        name = item.get("class", "")
        if name not in CUSTOM and not hasattr(QtWidgets, name) and name != "Line":
            raise UiError(f"{item.get('name')}: no widget class {name!r} in Slicer or Qt")


def _check_properties(root: ElementTree.Element, top: Any) -> None:
    """Raise if a property does not exist and is not declared dynamic (stdset="0"): Slicer would silently make one."""
    for item in root.iter("widget"):
        widget = _named(top, item.get("name", ""))
        for prop in item.findall("property"):
            name = prop.get("name", "")
            if widget is not None and name not in pythonqt.properties(widget) and prop.get("stdset") != "0":
                raise UiError(f"{item.get('name')}: {item.get('class')} has no property {name!r}")


def _named(top: Any, name: str) -> Any:
    return top if top.objectName == name else top.findChild(QtCore.QObject, name)


def _take_connections(root: ElementTree.Element) -> list[tuple[str, str, str, str]]:
    """Remove the connections from the form and return them: Qt cannot make those whose types are VTK's."""
    found = []
    for group in root.findall("connections"):
        for item in group.findall("connection"):
            sender, signal, receiver, slot = (
                item.findtext(key, "") for key in ("sender", "signal", "receiver", "slot")
            )
            found.append((sender, signal, receiver, slot))
        root.remove(group)
    return found


def _connect(widget: Any, sender: str, signal: str, receiver: str, slot: str) -> None:
    ends = []
    for name in (sender, receiver):
        end = _named(widget, name)
        if end is None:
            raise UiError(f"the connection {sender}.{signal} -> {receiver}.{slot} names no such object: {name}")
        ends.append(end)
    takes_arguments = not slot.endswith("()")
    function = getattr(ends[1], slot.partition("(")[0], None)
    if isinstance(function, pythonqt.BoundSignal):
        function = function.emit
    if not callable(function):
        raise UiError(f"{receiver} has no slot {slot}")
    try:
        ends[0].connect(signal, function if takes_arguments else lambda: function())
    except AttributeError as error:
        raise UiError(str(error)) from None
