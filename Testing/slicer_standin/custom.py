"""What the stand-in's own widget classes share. They hold Slicer's properties, slots, invokable methods and signals
and nothing else: whatever else they need starts with an underscore."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore


def prop(kind: Any, name: str, default: Any, changed: str = "", writable: bool = True) -> Any:
    """A Qt property kept in the object itself; `changed` names a method called after it is set."""
    slot = f"_{name}"

    def read(self: Any) -> Any:
        return getattr(self, "__dict__", {}).get(slot, default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[slot] = value
        if changed:
            getattr(self, changed)()

    return QtCore.Property(kind, read, write if writable else None)


def via(kind: Any, part: str, name: str, writable: bool = True) -> Any:
    """A Qt property that is one of a part's own, for instance of the slider inside a ctkSliderWidget."""

    def read(self: Any) -> Any:
        return getattr(getattr(self, part), name)

    def write(self: Any, value: Any) -> None:
        setattr(getattr(self, part), name, value)

    return QtCore.Property(kind, read, write if writable else None)
