"""How a widget shows a parameter and changes it. Slicer: parameterNodeWrapper/guiConnectors.py."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from dataclasses import dataclass
from typing import Any

import slicer
from PySide6 import QtWidgets

from slicer_standin import ctk
from slicer_standin.node_selector import qMRMLNodeComboBox
from slicer_standin.parameter_node.validators import Choice, Maximum, Minimum, WithinRange, first, split

_PATHS = (pathlib.Path, pathlib.PosixPath, pathlib.PurePath, pathlib.PurePosixPath)
_registered: list[Any] = []


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


def parameterNodeGuiConnector(classtype: Any = None) -> Any:
    def register(kind: Any) -> Any:
        _registered.append(kind)
        return kind

    return register if classtype is None else register(classtype)


def createGuiConnector(widget: Any, datatype: Any) -> Any:
    if isinstance(datatype, types.UnionType):
        datatype = typing.Union[tuple(typing.get_args(datatype))]
    for kind in _registered:
        if kind.canRepresent(widget, datatype):
            return kind.create(widget, datatype)
    raise RuntimeError(f"Unable to create GUI connector from datatype {datatype} to widget type {type(widget)}")


class GuiConnector:
    """One widget's property, and the signal that says that it has changed."""

    signal, attribute = "", ""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        """Whether it connects this widget with values of this type; each subclass says so for its own."""
        return False

    @classmethod
    def create(cls, widget: Any, datatype: Any) -> Any:
        return cls(widget, datatype)

    def __init__(self, widget: Any, datatype: Any) -> None:
        self._widget, self._callback = widget, None
        self._type, self._annotations = split(datatype)

    def onChanged(self, callback: Any) -> None:
        self._callback = callback
        if self.signal:
            bound = getattr(self._widget, self.signal)
            bound.disconnect(self.changed) if callback is None else bound.connect(self.changed)

    def changed(self) -> None:
        if self._callback:
            self._callback()

    def widget(self) -> Any:
        return self._widget

    def read(self) -> Any:
        return getattr(self._widget, self.attribute)

    def write(self, value: Any) -> None:
        setattr(self._widget, self.attribute, value)


def _bounds(annotations: list[Any]) -> tuple[Any, Any]:
    within, low, high = (first(annotations, kind) for kind in (WithinRange, Minimum, Maximum))
    if within is not None:
        return within.minimum, within.maximum
    return (None if low is None else low.minimum), (None if high is None else high.maximum)


@parameterNodeGuiConnector
class QCheckBoxToBoolConnector(GuiConnector):
    signal, attribute = "stateChanged", "checked"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is bool and type(widget) in (QtWidgets.QCheckBox, ctk.ctkCheckBox)


@parameterNodeGuiConnector
class QCheckablePushButtonToBoolConnector(GuiConnector):
    signal, attribute = "toggled", "checked"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is bool and type(widget) is QtWidgets.QPushButton

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        widget.checkable = True


@parameterNodeGuiConnector
class QSliderOrSpinBoxToIntConnector(GuiConnector):
    signal, attribute = "valueChanged", "value"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is int and type(widget) in (QtWidgets.QSlider, QtWidgets.QSpinBox)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        low, high = _bounds(self._annotations)
        if isinstance(widget, QtWidgets.QSlider) and None in (low, high):
            raise RuntimeError("Cannot have a connection to QSlider where the int type is unbounded.")
        step = first(self._annotations, SingleStep)
        if step is not None:
            widget.singleStep = step.value
        widget.minimum, widget.maximum = -(2**31) if low is None else low, 2**31 - 1 if high is None else high


@parameterNodeGuiConnector
class QDoubleSpinBoxCtkSliderWidgetToFloatIntConnector(GuiConnector):
    signal, attribute = "valueChanged", "value"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kinds = (QtWidgets.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox)
        return split(datatype)[0] in (float, int) and type(widget) in kinds

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        low, high = _bounds(self._annotations)
        if type(widget) is ctk.ctkSliderWidget and None in (low, high):
            raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
        decimals, step = first(self._annotations, Decimals), first(self._annotations, SingleStep)
        if self._type is int:
            widget.decimals = 0
        elif decimals is not None:
            widget.decimals = decimals.value
        if step is not None:
            widget.singleStep = step.value
        widget.minimum = float("-inf") if low is None else low
        widget.maximum = float("inf") if high is None else high

    def read(self) -> Any:
        return self._type(super().read())


class _FromList(GuiConnector):
    """A combo box whose items are filled in from a list of labels and values."""

    signal = "currentIndexChanged"

    def _fill(self, items: list[tuple[str, Any]]) -> None:
        self._items = items
        self._widget.clear()
        for label, _ in items:
            self._widget.addItem(label)

    def read(self) -> Any:
        return self._items[self._widget.currentIndex][1]

    def write(self, value: Any) -> None:
        for index, (_, item) in enumerate(self._items):
            if item == value:
                self._widget.currentIndex = index
                return
        raise ValueError(f"Unable to find value {value} in choices {[item for _, item in self._items]}")


@parameterNodeGuiConnector
class QComboBoxToStringableConnector(_FromList):
    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        combo = type(widget) in (QtWidgets.QComboBox, ctk.ctkComboBox)
        return combo and split(datatype)[0] in (int, float, str, bool)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        choice = first(self._annotations, Choice)
        if choice is None:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        self._fill([(str(item), item) for item in choice.choices])


@parameterNodeGuiConnector
class QComboBoxToEnumConnector(_FromList):
    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) in (QtWidgets.QComboBox, ctk.ctkComboBox) and issubclass(split(datatype)[0], enum.Enum)

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        items = [(item.label() if hasattr(item, "label") else item.name, item) for item in self._type]
        self._items = items
        kept = self.read()
        self._fill(items)
        self.write(kept)


@parameterNodeGuiConnector
class QLineEditToStrConnector(GuiConnector):
    signal, attribute = "textChanged", "text"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is QtWidgets.QLineEdit and split(datatype)[0] is str

    def write(self, value: Any) -> None:
        if value != self._widget.text:
            self._widget.text = value


@parameterNodeGuiConnector
class QLabelToStrConnector(GuiConnector):
    attribute = "text"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is QtWidgets.QLabel and split(datatype)[0] is str


@parameterNodeGuiConnector
class QTextEditPlainTextToStrConnector(GuiConnector):
    signal, attribute = "textChanged", "plainText"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is QtWidgets.QTextEdit and split(datatype)[0] is str


class _Path(GuiConnector):
    def read(self) -> Any:
        return self._type(super().read())

    def write(self, value: Any) -> None:
        super().write(str(value))


@parameterNodeGuiConnector
class ctkPathLineEditToPathConnector(_Path):
    signal, attribute = "currentPathChanged", "currentPath"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is ctk.ctkPathLineEdit and split(datatype)[0] in _PATHS


@parameterNodeGuiConnector
class ctkDirectoryButtonToPathConnector(_Path):
    signal, attribute = "directoryChanged", "directory"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is ctk.ctkDirectoryButton and split(datatype)[0] in _PATHS


def _node_types(datatype: Any) -> list[str]:
    """The node classes that a type names, or nothing if it names anything else."""
    kind = split(datatype)[0]
    members = [split(item)[0] for item in typing.get_args(kind)] if typing.get_origin(kind) is typing.Union else [kind]
    nodes = [item for item in members if item is not type(None)]
    fits = all(isinstance(item, type) and issubclass(item, slicer.vtkMRMLNode) for item in nodes)
    return [item().GetClassName() for item in nodes] if fits else []


@parameterNodeGuiConnector
class qMRMLNodeComboBoxToNodeConnector(GuiConnector):
    signal = "currentNodeChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return type(widget) is qMRMLNodeComboBox and bool(_node_types(datatype))

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        widget.nodeTypes = _node_types(datatype)

    def read(self) -> Any:
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        self._widget.setCurrentNode(value)
