"""VTK observers that a widget keeps: they do not keep the widget alive, and stop when it is gone."""

from __future__ import annotations

import weakref
from typing import Any

import vtk
from shiboken6 import Shiboken


class Observing:
    def __init__(self, owner: Any) -> None:
        self._owner = weakref.ref(owner)
        self._tags: list[tuple[Any, str, int]] = []

    def _relay(self, method: Any, pass_node: bool) -> Any:
        owner, function = self._owner, method.__func__

        def relay(caller: Any, event: str, data: Any = None) -> None:
            alive = owner()
            if alive is None or not Shiboken.isValid(alive):
                return
            if pass_node:
                function(alive, data if data is not None else caller)
            else:
                function(alive)

        return relay

    def scene(self, scene: Any, event: str, method: Any, priority: float = 0.0) -> None:
        """Observe an event of a scene; a method of a node's event is given the node."""
        relay = self._relay(method, event.startswith("Node"))
        if event.startswith("Node"):
            relay.CallDataType = vtk.VTK_OBJECT
        self._tags.append((scene, event, scene.AddObserver(getattr(scene, event), relay, priority)))

    def once(self, node: Any, event: int, method: Any, pass_node: bool = True) -> None:
        """Observe an event of a node, unless it already is observed."""
        if not any(known is node and kept == str(event) for known, kept, _ in self._tags):
            self._tags.append((node, str(event), node.AddObserver(event, self._relay(method, pass_node))))

    def off(self, node: Any) -> None:
        for item in [item for item in self._tags if item[0] is node]:
            node.RemoveObserver(item[2])
            self._tags.remove(item)

    def nodes_only_off(self) -> None:
        """Stop observing everything but scenes."""
        for item in [item for item in self._tags if not item[0].IsA("vtkMRMLScene")]:
            item[0].RemoveObserver(item[2])
            self._tags.remove(item)

    def clear(self) -> None:
        for observed, _, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags.clear()
