"""Side by side: layouts of linked slice views, the real scan left, the synthetic one beside it, a third where there is one."""

from __future__ import annotations

from collections.abc import Sequence

import qt
import slicer

from .i18n import tr as _

AXIAL, PLANES = "axial", "planes"
GROUP = 73
"""View group of our own, so that the views here follow each other and leave Red, Yellow and Green alone."""
_SETTLED_MS = 150
_SIDES = ("Real", "Synthetic", "Other")
_COLOURS = {"Real": "#5B8DB8", "Synthetic": "#E8A33D", "Other": "#7BA66E"}
_PLANES = {AXIAL: ("Axial",), PLANES: ("Axial", "Sagittal", "Coronal")}
_SHAPES = {7301: (2, AXIAL), 7302: (2, PLANES), 7303: (3, AXIAL), 7304: (3, PLANES)}
"""How many sides and which planes each layout has, by its number in Slicer."""


def view_name(side: str, plane: str) -> str:
    """The name of a slice view, such as `ConversionSyntheticAxial`."""
    return f"Conversion{side}{plane}"


class CompareLayout:
    """Puts the views up, and takes them down again. What stands on the screen is read off the layout itself."""

    def __init__(self) -> None:
        self._former: tuple[int, int] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the views stand on the screen."""
        return slicer.app.layoutManager() is not None and _layout_node().GetViewArrangement() in _SHAPES

    def show(self, volumes: Sequence[slicer.vtkMRMLVolumeNode], arrangement: str = AXIAL) -> None:
        """Show two or three volumes side by side: the real scan, the synthetic one, another one. Needs a main window."""
        if slicer.app.layoutManager() is None:
            return
        crosshair = _crosshair()
        if not self.is_shown:
            self._former = (_layout_node().GetViewArrangement(), crosshair.GetCrosshairMode() if crosshair else 0)
        number = next(n for n, shape in _SHAPES.items() if shape == (len(volumes), arrangement))
        register()
        slicer.app.layoutManager().setLayout(number)
        for side, volume in zip(_SIDES, volumes):
            for plane in _PLANES[arrangement]:
                _fill(view_name(side, plane), volume)
        self.fit()
        qt.QTimer.singleShot(_SETTLED_MS, self.fit)  # new views get their size only when they are painted
        if crosshair is not None:
            crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)

    def fit(self) -> None:
        """Show the whole of the real scan, and the other sides from the same place at the same scale."""
        if not self.is_shown:
            return
        for plane in {plane for _side, plane in self._views}:
            logics = [_logic(view_name(side, plane)) for side, shown in self._views if shown == plane]
            first, *others = [logic for logic in logics if logic is not None] or [None]
            if first is None:
                continue
            first.FitSliceToAll()
            for other in others:
                _look_alike(first.GetSliceNode(), other.GetSliceNode())

    def composites(self, side: str) -> list[slicer.vtkMRMLSliceCompositeNode]:
        """What the views of a side show."""
        logics = [_logic(view_name(shown, plane)) for shown, plane in self._views if shown == side]
        return [logic.GetSliceCompositeNode() for logic in logics if logic is not None]

    def back(self) -> None:
        """Return to the layout, and the cross-hair, that the user had before; nothing where other views stand there."""
        if not self.is_shown:
            return
        layout, mode = self._former or (slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView, 0)
        self._former = None
        slicer.app.layoutManager().setLayout(layout)
        crosshair = _crosshair()
        if crosshair is not None:
            crosshair.SetCrosshairMode(mode)

    @property
    def _views(self) -> list[tuple[str, str]]:
        """The sides and planes on the screen."""
        if not self.is_shown:
            return []
        count, arrangement = _SHAPES.get(_layout_node().GetViewArrangement(), (0, AXIAL))
        return [(side, plane) for side in _SIDES[:count] for plane in _PLANES[arrangement]]


def register() -> None:
    """Tell the layout node how to build the layouts, also for scenes that were saved in one of them."""
    for number, (count, arrangement) in _SHAPES.items():
        if not _layout_node().IsLayoutDescription(number):
            _layout_node().AddLayoutDescription(number, _description(_SIDES[:count], _PLANES[arrangement]))


def _look_alike(model: slicer.vtkMRMLSliceNode, node: slicer.vtkMRMLSliceNode) -> None:
    """Let a view look at the same place, at the same scale, as another one of its plane."""
    node.GetSliceToRAS().DeepCopy(model.GetSliceToRAS())
    node.SetXYZOrigin(*model.GetXYZOrigin())
    width, height, _depth = model.GetDimensions()
    own = node.GetDimensions()
    field = model.GetFieldOfView()
    if width and height and own[0] and own[1]:
        node.SetFieldOfView(field[0] * own[0] / width, field[1] * own[1] / height, field[2])
    node.UpdateMatrices()


def _layout_node() -> slicer.vtkMRMLLayoutNode:
    return slicer.app.layoutManager().layoutLogic().GetLayoutNode()


def _crosshair() -> slicer.vtkMRMLCrosshairNode | None:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")


def _logic(name: str) -> slicer.vtkMRMLSliceLogic | None:
    widget = slicer.app.layoutManager().sliceWidget(name)
    return widget.sliceLogic() if widget is not None else None


def _fill(name: str, volume: slicer.vtkMRMLVolumeNode) -> None:
    logic = _logic(name)
    if logic is None:
        return
    composite = logic.GetSliceCompositeNode()
    composite.SetLinkedControl(True)
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    composite.SetLabelVolumeID(None)


def _description(sides: Sequence[str], planes: Sequence[str]) -> str:
    """A layout as Slicer describes them: a column for each side, a row for each plane."""
    titles = {"Real": _("real"), "Synthetic": _("synthetic"), "Other": _("other")}
    columns = []
    for side in sides:
        rows = "".join(
            f'<item><view class="vtkMRMLSliceNode" singletontag="{view_name(side, plane)}">'
            f'<property name="orientation" action="default">{plane}</property>'
            f'<property name="viewlabel" action="default">{titles[side][:1].upper()}</property>'
            f'<property name="viewcolor" action="default">{_COLOURS[side]}</property>'
            f'<property name="viewgroup" action="default">{GROUP}</property>'
            "</view></item>"
            for plane in planes
        )
        columns.append(f'<item><layout type="vertical">{rows}</layout></item>')
    return f'<layout type="horizontal" split="true">{"".join(columns)}</layout>'
