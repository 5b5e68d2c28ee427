"""How a value is kept in a vtkMRMLScriptedModuleNode: the same texts, parameters and references as Slicer writes, so
that a scene saved by the one is read by the other. Slicer: parameterNodeWrapper/serializers.py."""

from __future__ import annotations

import abc
import enum
import pathlib
import types
import typing
from typing import Any

import slicer

from slicer_standin.parameter_node.validators import IsInstance, IsNone, NotNone, Validator, split

_PATHS = (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath)
_PURE_PATHS = (pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_registered: list[Any] = []


def parameterNodeSerializer(classtype: Any = None) -> Any:
    def register(kind: Any) -> Any:
        _registered.append(kind)
        return kind

    return register if classtype is None else register(classtype)


class Serializer(abc.ABC):
    """The base: a value is the text of one parameter."""

    @staticmethod
    @abc.abstractmethod
    def canSerialize(type_: Any) -> bool: ...

    @staticmethod
    @abc.abstractmethod
    def create(type_: Any) -> Any: ...

    @abc.abstractmethod
    def default(self) -> Any: ...

    def isIn(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, str(value))

    def read(self, node: Any, name: str) -> Any:
        return node.GetParameter(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)

    def supportsCaching(self) -> bool:
        return True


class ValidatedSerializer(Serializer):
    """Another serializer, with validators that look at a value before it is written."""

    def __init__(self, serializer: Any, validators: list[Validator]) -> None:
        inner = isinstance(serializer, ValidatedSerializer)
        self.serializer = serializer.serializer if inner else serializer
        self.validators = (serializer.validators if inner else []) + list(validators or [])

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return False

    @staticmethod
    def create(type_: Any) -> Any:
        raise TypeError("ValidatedSerializer does not support create!")

    def default(self) -> Any:
        return self.serializer.default()

    def validate(self, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)

    def isIn(self, node: Any, name: str) -> bool:
        return bool(self.serializer.isIn(node, name))

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        self.serializer.write(node, name, value)

    def read(self, node: Any, name: str) -> Any:
        return self.serializer.read(node, name)

    def remove(self, node: Any, name: str) -> None:
        self.serializer.remove(node, name)


@parameterNodeSerializer
class NumberSerializer(Serializer):
    def __init__(self, type: Any) -> None:
        self.type = type

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ in (int, float)

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(
            NumberSerializer(type_), [NotNone(), IsInstance((int, float) if type_ is float else int)]
        )

    def default(self) -> Any:
        return 0

    def read(self, node: Any, name: str) -> Any:
        return self.type(node.GetParameter(name))


@parameterNodeSerializer
class StringSerializer(Serializer):
    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ is str

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(StringSerializer(), [NotNone(), IsInstance(str)])

    def default(self) -> Any:
        return ""


@parameterNodeSerializer
class PathSerializer(Serializer):
    def __init__(self, type: Any) -> None:
        self.type = type

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ in _PATHS + _PURE_PATHS

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(PathSerializer(type_), [NotNone(), IsInstance(type_)])

    def default(self) -> Any:
        return self.type()

    def read(self, node: Any, name: str) -> Any:
        return self.type(node.GetParameter(name))


@parameterNodeSerializer
class BoolSerializer(Serializer):
    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ is bool

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(BoolSerializer(), [NotNone(), IsInstance(bool)])

    def default(self) -> Any:
        return False

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "True" if value else "False")

    def read(self, node: Any, name: str) -> bool:
        return bool(node.GetParameter(name) == "True")


@parameterNodeSerializer
class NodeSerializer(Serializer):
    """A node is a node reference; an empty parameter of the same name says that it has been set, be it to None."""

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return isinstance(type_, type) and issubclass(type_, slicer.vtkMRMLNode)

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(NodeSerializer(), [IsInstance(type_)])

    def default(self) -> Any:
        return None

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, None if value is None else value.GetID())

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


@parameterNodeSerializer
class NoneSerializer(Serializer):
    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return type_ is type(None)

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(NoneSerializer(), [IsNone()])

    def default(self) -> Any:
        return None

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "True")

    def read(self, node: Any, name: str) -> Any:
        return None


@parameterNodeSerializer
class UnionSerializer(Serializer):
    """The value is kept under `name.i`, where i is the place of its type in the union."""

    def __init__(self, serializers: list[Any]) -> None:
        self._serializers = [ValidatedSerializer(item, []) for item in serializers]

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return typing.get_origin(type_) is typing.Union or isinstance(type_, types.UnionType)

    @staticmethod
    def create(type_: Any) -> Any:
        return UnionSerializer([create(*split(item))[0] for item in typing.get_args(type_)])

    def default(self) -> Any:
        optional = len(self._serializers) == 2 and isinstance(self._serializers[1].serializer, NoneSerializer)
        return None if optional else self._serializers[0].default()

    def _fitting(self, value: Any) -> tuple[int, ValidatedSerializer]:
        problem: Exception = TypeError(f"Unable to write value {value!r} of type {type(value)}")
        for index, item in enumerate(self._serializers):
            if item.serializer.canSerialize(type(value)):
                try:
                    item.validate(value)
                    return index, item
                except (TypeError, ValueError) as error:
                    problem = error
        raise problem

    def isIn(self, node: Any, name: str) -> bool:
        return any(item.isIn(node, f"{name}.{index}") for index, item in enumerate(self._serializers))

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            index, item = self._fitting(value)
            self.remove(node, name)
            item.write(node, f"{name}.{index}", value)

    def read(self, node: Any, name: str) -> Any:
        for index, item in enumerate(self._serializers):
            if item.isIn(node, f"{name}.{index}"):
                return item.read(node, f"{name}.{index}")
        raise KeyError(f"Unable to find value for name: {name}")

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index, item in enumerate(self._serializers):
                item.remove(node, f"{name}.{index}")


@parameterNodeSerializer
class EnumSerializer(Serializer):
    def __init__(self, enum_: Any) -> None:
        self.enum = enum_

    @staticmethod
    def canSerialize(type_: Any) -> bool:
        return isinstance(type_, type) and issubclass(type_, enum.Enum)

    @staticmethod
    def create(type_: Any) -> Any:
        return ValidatedSerializer(EnumSerializer(type_), [IsInstance(type_)])

    def default(self) -> Any:
        return next(iter(self.enum))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, value.name)

    def read(self, node: Any, name: str) -> Any:
        key = node.GetParameter(name)
        if key not in self.enum.__members__:
            raise ValueError(f"Found {key!r} in parameter node but it is not a name in {self.enum!r}")
        return self.enum[key]


def create(type_: Any, annotations: list[Any]) -> tuple[Any, list[Any]]:
    """The serializer of a type with its validators, and the annotations that are left over."""
    checks = [item for item in annotations if isinstance(item, Validator)]
    for kind in _registered:
        if kind.canSerialize(type_):
            return ValidatedSerializer(kind.create(type_), checks), [item for item in annotations if item not in checks]
    raise TypeError(f"Unable to create serializer for type: {type_} (the stand-in has the simple types only)")
