"""PySide6 made to behave as PythonQt, the bridge that Slicer reaches Qt by.

PySide's own classes are changed in place, so that objects which Qt creates by itself (a dialog's buttons, a table's
header) behave alike. What PythonQt does is in its PythonQtInstanceWrapper.cpp, PythonQtSignal.cpp and
PythonQtSignalReceiver.cpp.
"""

from __future__ import annotations

import functools
import inspect
import re
import traceback
from typing import Any

from PySide6 import QtCore
from shiboken6 import Shiboken

errors: list[str] = []  # tracebacks of exceptions that left a slot: PythonQt prints them and goes on

_get = QtCore.QObject.__getattribute__
_connect = QtCore.QObject.connect
_disconnect = QtCore.QObject.disconnect
_find_children = QtCore.QObject.findChildren
_find_child = QtCore.QObject.findChild

_properties: dict[type, dict[str, tuple[str, bool, bool]]] = {}  # class -> name -> (type name, writable, enum)
_originals: dict[type, Any] = {}  # class -> its attribute access before the stand-in took it over
_connections: dict[tuple[int, str], list[tuple[Any, Any]]] = {}  # (object, signature) -> [(callable, relay)]
loading_ui: list[bool] = []  # not empty while a .ui file is loaded
_INTEGERS = {"int", "uint", "qlonglong", "qulonglong", "short", "ushort", "uchar"}


def call(function: Any, args: tuple[Any, ...]) -> None:
    """Call a slot with as many of a signal's arguments as it takes; an exception is recorded, not passed on."""
    try:
        function(*args[: _accepted(function)])
    except Exception:
        text = traceback.format_exc()
        errors.append(text)
        print(text, flush=True)  # noqa: T201


def _accepted(function: Any) -> int | None:
    """How many arguments PythonQt hands over: arguments with a default count, since it reads co_argcount."""
    bound = inspect.ismethod(function) and inspect.isfunction(function.__func__)
    if not (bound or inspect.isfunction(function)):
        return None
    code = function.__code__
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount - bound


class BoundSignal:
    """A signal of one object, as `button.clicked` gives it."""

    def __init__(self, owner: QtCore.QObject, signature: str, native: Any = None) -> None:
        self._owner, self._signature, self._native = owner, signature, native
        self.__name__ = signature

    def connect(self, function: Any) -> bool:
        return connect(self._owner, self._signature, function)

    def disconnect(self, function: Any = None) -> bool:
        return disconnect(self._owner, self._signature, function)

    def emit(self, *args: Any) -> None:
        emit(self._owner, self._signature, *args) if self._native is None else self._native.emit(*args)

    __call__ = emit


def is_cpp(kind: type) -> bool:
    """Is this class C++ in Slicer, rather than a Python class derived from one?"""
    return kind.__module__.startswith("PySide6.") or "_cpp" in kind.__dict__


def custom_signals(kind: type) -> list[str]:
    """The signatures of the signals that a stand-in class declares in `_signals`."""
    return [signature for base in kind.__mro__ for signature in base.__dict__.get("_signals", ())]


def normalized(signature: str) -> str:
    """A signature as Qt stores it: no blanks, `const T&` written `T`."""
    name, _, arguments = signature.strip().partition("(")
    parts = [re.sub(r"^const (.*)&$", r"\1", part.strip()) for part in arguments.rstrip(" )").split(",")]
    joined = ",".join(re.sub(r" *([*&]) *", r"\1", part).strip() for part in parts)
    return f"{name}({joined})"


def _has_signal(sender: QtCore.QObject, signature: str) -> bool:
    return bool(_get(sender, "metaObject")().indexOfSignal(signature) >= 0)


def _pointer(sender: QtCore.QObject) -> int:
    return int(Shiboken.getCppPointer(sender)[0])


def connect(sender: QtCore.QObject, signal: str, *target: Any, **unused: Any) -> bool:
    """`connect("clicked(bool)", function)` or `connect("clicked(bool)", receiver, "slot(bool)")`."""
    signature = normalized(signal)
    own = signature in custom_signals(type(sender))
    if not own and not _has_signal(sender, signature):
        raise AttributeError(
            f"{type(sender).__name__} has no signal {signal!r} (PythonQt would print and return False)"
        )
    if len(target) == 1 and callable(target[0]):
        function = target[0]
    elif len(target) == 2 and isinstance(target[1], str):
        function = getattr(target[0], target[1].partition("(")[0])
    else:
        raise TypeError(f"connect({signal!r}, ...) takes a callable, or a receiver and its slot")

    def relay(*args: Any) -> None:
        call(function, args)

    _connections.setdefault((_pointer(sender), signature), []).append((function, relay))
    if not own:
        _connect(sender, QtCore.SIGNAL(signature), relay)
    if signature not in ("destroyed()", "destroyed(QObject*)"):
        _forget_when_destroyed(sender)
    return True


def _forget_when_destroyed(sender: QtCore.QObject) -> None:
    pointer = _pointer(sender)
    if (pointer, "") in _connections:
        return
    _connections[pointer, ""] = []

    def forget() -> None:
        for key in [key for key in _connections if key[0] == pointer]:
            del _connections[key]

    _connect(sender, QtCore.SIGNAL("destroyed()"), forget)


def disconnect(sender: QtCore.QObject, signal: str, *target: Any) -> bool:
    signature = normalized(signal)
    own = signature in custom_signals(type(sender))
    if not own and not _has_signal(sender, signature):
        raise AttributeError(f"{type(sender).__name__} has no signal {signal!r} (PythonQt would return False)")
    function = target[0] if target else None
    if len(target) == 2:
        function = getattr(target[0], target[1].partition("(")[0])
    known = _connections.get((_pointer(sender), signature), [])
    found = [pair for pair in known if function is None or pair[0] == function]
    for pair in found if function is None else found[:1]:
        known.remove(pair)
        if not own:
            _disconnect(sender, QtCore.SIGNAL(signature), pair[1])
    return bool(found)


def emit(sender: QtCore.QObject, signature: str, *args: Any) -> None:
    """Emit a signal that a stand-in class declares."""
    if not _get(sender, "signalsBlocked")():
        for _, relay in list(_connections.get((_pointer(sender), signature), [])):
            relay(*args)


def properties(owner: QtCore.QObject) -> dict[str, tuple[str, bool, bool]]:
    """Qt's properties of an object: name -> (type name, writable, is an enumeration)."""
    known = _properties.get(type(owner))
    if known is None:
        meta = _get(owner, "metaObject")()
        every = [meta.property(index) for index in range(meta.propertyCount())]
        known = {item.name(): (item.typeName(), item.isWritable(), item.isEnumType()) for item in every}
        _properties[type(owner)] = known
    return known


def _set(owner: QtCore.QObject, name: str, value: Any) -> None:
    """What object.__setattr__ does, which PySide refuses once a class has ours."""
    member = inspect.getattr_static(type(owner), name, None)
    if hasattr(type(member), "__set__"):
        member.__set__(owner, value)  # type: ignore[union-attr]
    else:
        _get(owner, "__dict__")[name] = value


def _mapped(owner: QtCore.QObject, name: str) -> str:
    """PythonQt takes `name` for objectName, in classes that have no property of that name."""
    return "objectName" if name == "name" and name not in properties(owner) else name


def _is_python(kind: type, name: str) -> bool:
    """Is the attribute defined by a Python class that the user derived from a C++ one?"""
    for base in kind.__mro__:
        if is_cpp(base):
            return False
        if name in base.__dict__:
            return True
    return False


def _getter(owner: QtCore.QObject, name: str) -> Any:
    """The value of a property, through its getter where there is one, since that keeps enumerations."""
    member = inspect.getattr_static(type(owner), name, None)
    if isinstance(member, QtCore.Property):
        return _get(owner, name)
    capital = name[0].upper() + name[1:]
    for candidate in (f"is{capital}", f"has{capital}", name):
        try:
            return _get(owner, candidate)()
        except (AttributeError, TypeError):
            continue
    return _get(owner, "property")(name)


def getattribute(self: QtCore.QObject, name: str) -> Any:
    if name.startswith("_") or name == "metaObject":
        return _get(self, name)
    if name in _METHODS:
        return functools.partial(_METHODS[name], self)
    kind = type(self)
    for base, function in _replaced.get(name, ()):
        if isinstance(self, base) and not _is_python(kind, name):
            return functools.partial(function, self)
    own = _get(self, "__dict__").get(name)  # PySide keeps an object's signals there, too
    if _is_python(kind, name) or (own is not None and not isinstance(own, QtCore.SignalInstance)):
        return _get(self, name)
    name = _mapped(self, name)
    if name in properties(self):
        return _getter(self, name)
    for signature in custom_signals(kind):
        if signature.partition("(")[0] == name:
            return BoundSignal(self, signature)
    try:
        value = _original(kind)(self, name)
    except AttributeError:
        if name in _dynamic(self):
            return _get(self, "property")(name)
        for child in _get(self, "children")():
            if _get(child, "objectName")() == name:
                return child
        raise AttributeError(f"{kind.__name__} has no attribute named {name!r}") from None
    if isinstance(value, QtCore.SignalInstance):
        return BoundSignal(self, _first_signature(self, name), value)
    return value


def _original(kind: type) -> Any:
    """PySide's own way to an attribute, which tells static methods of a name from others, such as QFile.exists."""
    return next((_originals[base] for base in kind.__mro__ if base in _originals), _get)


def _dynamic(owner: QtCore.QObject) -> list[str]:
    return [bytes(item.data()).decode() for item in _get(owner, "dynamicPropertyNames")()]


def _first_signature(owner: QtCore.QObject, name: str) -> str:
    """The overload that PythonQt takes: the first of that name in the class's list of methods."""
    meta = _get(owner, "metaObject")()
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if bytes(method.name().data()).decode() == name and method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            return bytes(method.methodSignature().data()).decode()
    raise AttributeError(f"{type(owner).__name__} has no signal named {name!r}")


def setattribute(self: QtCore.QObject, name: str, value: Any) -> None:
    kind = type(self)
    if name.startswith("_"):
        _get(self, "__dict__")[name] = value
        return None
    name = _mapped(self, name)
    known = properties(self).get(name)
    if known is not None:
        return _write(self, name, known, value)
    if name in _dynamic(self):
        _get(self, "setProperty")(name, value)
        return None
    if not is_cpp(kind):
        return _set(self, name, value)
    if isinstance(value, QtCore.QObject) and loading_ui:
        return None  # PySide gives a form's children to it as attributes; PythonQt finds children by their names
    if hasattr(kind, name) or name in {signature.partition("(")[0] for signature in custom_signals(kind)}:
        raise AttributeError(f"Slot {name!r} can not be overwritten on {kind.__name__} object")
    raise AttributeError(
        f"{name!r} does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
    )


def _write(owner: QtCore.QObject, name: str, known: tuple[str, bool, bool], value: Any) -> None:
    kind, writable, enum = known
    if not writable:
        raise AttributeError(f"Property {name!r} of {type(owner).__name__} object is not writable")
    try:
        fitting = value if enum else _converted(kind, value)
        if isinstance(inspect.getattr_static(type(owner), name, None), QtCore.Property):
            _get(owner, "setProperty")(name, fitting)
            return None
        setter = getattr(type(owner), f"set{name[0].upper()}{name[1:]}", None)
        if setter is not None:
            return setter(owner, fitting)
        if _get(owner, "setProperty")(name, fitting):
            return None
    except (TypeError, ValueError):
        pass
    raise AttributeError(
        f"Property {name!r} of type {kind!r} does not accept an object of type {type(value).__name__} ({value!r})"
    )


def _converted(kind: str, value: Any) -> Any:
    """What PythonQtConv::PyObjToQVariant makes of a value for a property of this type."""
    if kind == "QString":
        return str(value)
    if kind == "bool":
        if not isinstance(value, (int, float)):
            raise TypeError
        return bool(value)
    if kind in _INTEGERS:
        return int(value + 0) if isinstance(value, (int, float)) else int(value.__index__())
    if kind in ("double", "float"):
        return float(value + 0)
    if kind == "QStringList":
        if isinstance(value, (str, bytes)):
            raise TypeError
        return [str(item) for item in value]
    return value


def _by_class(find: Any) -> Any:
    """`findChildren` that also takes a class by its name, as PythonQt's does."""

    def finder(self: QtCore.QObject, kind: Any = QtCore.QObject, name: str = "") -> Any:
        if isinstance(kind, str):
            found = [child for child in _find_children(self, QtCore.QObject) if child.inherits(kind)]
            found = [child for child in found if not name or _get(child, "objectName")() == name]
            return found if find is _find_children else (found[0] if found else None)
        return find(self, kind, name) if name else find(self, kind)

    return finder


def _class_name(self: QtCore.QObject) -> str:
    return str(_get(self, "metaObject")().className())


_replaced: dict[str, list[tuple[type, Any]]] = {}


def replace_method(kind: type, names: tuple[str, ...], function: Any) -> None:
    """Give a PySide class another method; some of its own can only be replaced on the way to the object."""
    for name in names:
        setattr(kind, name, function)
        if (kind, function) not in _replaced.setdefault(name, []):
            _replaced[name].append((kind, function))


_METHODS = {
    "connect": connect,
    "disconnect": disconnect,
    "findChildren": _by_class(_find_children),
    "findChild": _by_class(_find_child),
    "className": _class_name,
}


def apply(*modules: Any) -> None:
    """Change every QObject class of these PySide modules; safe to call twice."""
    every = [getattr(module, name) for module in modules for name in dir(module) if name.startswith("Q")]
    kinds = [kind for kind in every if isinstance(kind, type) and issubclass(kind, QtCore.QObject)]
    for kind in kinds:  # all of them first, since a class may have its way from one that is changed next
        if kind.__getattribute__ is not getattribute:
            _originals[kind] = kind.__getattribute__
    for kind in kinds:
        kind.__getattribute__ = getattribute  # type: ignore[method-assign]
        kind.__setattr__ = setattribute  # type: ignore[method-assign,assignment]
    timer: Any = QtCore.QTimer
    timer.singleShot = staticmethod(single_shot)


def single_shot(msec: int, receiver: Any, member: str | None = None) -> None:
    """`qt.QTimer.singleShot`, which Slicer replaces in slicerqt.py."""
    function = receiver if callable(receiver) else getattr(receiver, str(member).partition("(")[0])
    timer = QtCore.QTimer(QtCore.QCoreApplication.instance())
    QtCore.QTimer.setSingleShot(timer, True)

    def fire() -> None:
        call(function, ())
        timer.deleteLater()

    _connect(timer, QtCore.SIGNAL("timeout()"), fire)
    timer.start(msec)
