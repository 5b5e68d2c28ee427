"""The picture as pixels and words: every volume in one column, every plane in one row, all in one scale.

Everything is placed in pixels of the final picture, from the top left. `zoom` is 1 at 100 dots per inch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .colours import Window
from .planes import View, resample

WARNING = "SYNTHETIC - not for diagnosis"
_WHITE, _GREY, _AMBER, _GREEN = "#f2f2f2", "#a6a6a6", "#ffc53d", (0, 230, 118)
# Pixels at 100 dots per inch: the outer margin, between panels, a colour bar, the headings, the title, the foot.
_EDGE, _GAP, _BAR_ROOM, _HEAD, _TITLE, _FOOT = 14, 8, 78, 66, 30, 34
# The headings of a column need this much where there is room.
_NARROWEST = 210


@dataclass(frozen=True)
class Column:
    """One volume."""

    heading: str
    role: str
    volume: np.ndarray
    """(k, j, i)."""
    window: Window
    colour: Callable[[np.ndarray], np.ndarray]
    synthetic: bool = False
    bar: str | None = None
    """What a colour bar says of its units; None for no bar."""
    outlined: bool = True


@dataclass(frozen=True)
class Words:
    """A text at a place. `across` and `down` say which of its points lies there."""

    x: float
    y: float
    text: str
    size: float = 9
    colour: str = _WHITE
    across: str = "left"
    down: str = "top"
    bold: bool = False
    even: bool = False
    """All letters equally wide and with serifs, so that an I is not a stroke."""


@dataclass(frozen=True)
class Panel:
    """Where one plane of one volume went, in pixels."""

    view: str
    column: int
    x: int
    y: int
    width: int
    height: int


@dataclass
class Sheet:
    """A picture being put together."""

    pixels: np.ndarray
    """RGB bytes, (height, width, 3)."""
    words: list[Words] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)

    def paste(self, x: int, y: int, patch: np.ndarray) -> None:
        """Put RGB bytes with their top left corner at (x, y)."""
        self.pixels[y : y + patch.shape[0], x : x + patch.shape[1]] = patch


@dataclass(frozen=True)
class _Frame:
    """Where columns and rows go, in pixels at zoom 1."""

    scale: float
    """Pixels per mm, one for the whole picture."""
    cell: float
    """Width of a column without its colour bar."""
    lefts: tuple[float, ...]
    tops: tuple[float, ...]
    sizes: tuple[tuple[float, float], ...]
    """Height and width of each plane."""
    head: float
    height: float
    width: float


def compose(
    columns: Sequence[Column],
    planes: Sequence[View],
    crossing: Sequence[int],
    box: Sequence[slice],
    *,
    places: Sequence[str],
    outline: np.ndarray | None,
    title: str,
    footer: str,
    width: int,
    zoom: float,
) -> Sheet:
    """Lay out the picture. `width` is the largest, at zoom 1; it is narrower where the height would outgrow it.

    `crossing` and `box` are array indices, (k, j, i), of the planes to show and the part to show; `places` says where each
    plane lies. `outline` is a mask whose edge is drawn.
    """
    frame = _frame(columns, planes, box, bool(title), width)
    sheet = Sheet(np.zeros((round(frame.height * zoom), round(frame.width * zoom), 3), dtype=np.uint8))
    for view, top, (height, across), place in zip(planes, frame.tops, frame.sizes, places):
        for number, (column, left) in enumerate(zip(columns, frame.lefts)):
            x, y = round((left + (frame.cell - across) / 2) * zoom), round(top * zoom)
            panel = Panel(view.name, number, x, y, max(round(across * zoom), 1), max(round(height * zoom), 1))
            sheet.panels.append(panel)
            sheet.paste(x, y, _pixels(panel, view, column, crossing, box, outline, zoom))
            sheet.words += _letters(panel, view, zoom)
            if column.synthetic:
                middle, bottom = panel.x + panel.width / 2, panel.y + panel.height - 3 * zoom
                size = _fitting(9, WARNING, frame.cell)
                sheet.words.append(Words(middle, bottom, WARNING, size, _AMBER, "center", "bottom", bold=True))
        corner = (frame.lefts[0] + 2) * zoom, (top + 2) * zoom
        sheet.words.append(Words(*corner, f"{view.name}\n{place}", 9, _GREY))
    for column, left in zip(columns, frame.lefts):
        sheet.words += _heading(column, left + frame.cell / 2, frame, zoom)
        if column.bar is not None:
            x, y = round((left + frame.cell + 8) * zoom), round(frame.head * zoom)
            _bar(sheet, column, x, y, max(round(frame.sizes[0][0] * zoom), 1), zoom)
    if title:
        sheet.words.append(Words(_EDGE * zoom, 10 * zoom, title, 13, _WHITE, bold=True))
    _foot(sheet, footer, outline is not None, frame.scale, zoom)
    return sheet


def _frame(columns: Sequence[Column], planes: Sequence[View], box: Sequence[slice], titled: bool, width: int) -> _Frame:
    """The largest scale at which everything fits into `width`, and a height of as much."""
    extents = [
        tuple((box[axis].stop - box[axis].start) * mm for axis, mm in zip((view.rows, view.columns), view.spacing))
        for view in planes
    ]
    tall, wide = sum(height for height, _ in extents), max(across for _, across in extents)
    head = _HEAD + (_TITLE if titled else 0)
    gaps_down = (len(planes) - 1) * _GAP
    bars = [_BAR_ROOM if column.bar is not None else 0 for column in columns]
    room = (width - 2 * _EDGE - (len(columns) - 1) * _GAP - sum(bars)) / len(columns)
    scale = min(room / wide, (width - head - _FOOT - gaps_down) / tall)
    cell = max(scale * wide, min(_NARROWEST, room))
    sizes = tuple((scale * height, scale * across) for height, across in extents)
    lefts = tuple(_EDGE + n * (cell + _GAP) + sum(bars[:n]) for n in range(len(columns)))
    tops = tuple(head + n * _GAP + sum(height for height, _ in sizes[:n]) for n in range(len(planes)))
    height = head + scale * tall + gaps_down + _FOOT
    return _Frame(scale, cell, lefts, tops, sizes, head, height, lefts[-1] + cell + bars[-1] + _EDGE)


def _heading(column: Column, middle: float, frame: _Frame, zoom: float) -> list[Words]:
    """What a column shows, what it is, and its window; a colour bar says the last itself."""
    colour = _AMBER if column.synthetic else _WHITE
    lines = [
        (62, column.heading, _fitting(13, column.heading, frame.cell), colour, True),
        (40, column.role, _fitting(9, column.role, frame.cell), colour, False),
    ]
    if column.bar is None:
        lines.append((23, column.window.text, 8, _GREY, False))
    return [
        Words(middle * zoom, (frame.head - above) * zoom, text, size, ink, "center", bold=bold)
        for above, text, size, ink, bold in lines
    ]


def _fitting(size: float, text: str, room: float) -> float:
    """The size in points, or less where the text would be wider than `room` pixels at 100 dots per inch."""
    return min(size, room / (0.93 * max(len(text), 1)))


def _pixels(
    panel: Panel,
    view: View,
    column: Column,
    crossing: Sequence[int],
    box: Sequence[slice],
    outline: np.ndarray | None,
    zoom: float,
) -> np.ndarray:
    """One plane of one volume in colour, with the mask's outline."""

    def plane(array: np.ndarray) -> np.ndarray:
        return view.crop(view.cut(array, crossing[view.across]), box)

    size = panel.height, panel.width
    # Into the window first: a value far outside it must not bleed into its neighbours, and a missing one must be black.
    colours = column.colour(resample(column.window.share(plane(column.volume)), view.spacing, size))
    if outline is not None and column.outlined:
        mask = resample(plane(outline), view.spacing, size, smooth=False) > 0.5
        colours[_edge(mask, max(1, round(zoom)))] = _GREEN
    return colours


def _letters(panel: Panel, view: View, zoom: float) -> list[Words]:
    """The four letters at a panel's edges."""
    left, right, top, bottom = view.edges
    x, y, inset = panel.x, panel.y, 3 * zoom
    lift = 15 * zoom  # room for the warning below, in every column, so that letters stand in line
    middle_x, middle_y = x + panel.width / 2, y + panel.height / 2
    return [
        Words(x + inset, middle_y, left, 10, _WHITE, "left", "center", even=True),
        Words(x + panel.width - inset, middle_y, right, 10, _WHITE, "right", "center", even=True),
        Words(middle_x, y + inset, top, 10, _WHITE, "center", "top", even=True),
        Words(middle_x, y + panel.height - inset - lift, bottom, 10, _WHITE, "center", "bottom", even=True),
    ]


def _edge(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels outside a mask within `width` steps of it, so that what is inside stays to be seen."""
    grown = mask.copy()
    for _ in range(width):
        padded = np.pad(grown, 1)
        grown = grown | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return grown & ~mask


def _bar(sheet: Sheet, column: Column, x: int, y: int, height: int, zoom: float) -> None:
    """A colour bar with its ends and middle in numbers, and its units below."""
    width = round(12 * zoom)
    shares = np.linspace(1, 0, height)[:, None].repeat(width, axis=1)
    sheet.paste(x, y, column.colour(shares))
    low, high = column.window.low, column.window.high
    for value, share, down in ((high, 0.0, "top"), ((low + high) / 2, 0.5, "center"), (low, 1.0, "bottom")):
        sign = "+" if low < 0 < value else ""
        text = f"{sign}{value:.3g}".replace("-", "\N{MINUS SIGN}")
        sheet.words.append(Words(x + width + 4 * zoom, y + share * (height - 1), text, 9, _WHITE, "left", down))
    if column.bar:
        sheet.words.append(Words(x, y + height + 5 * zoom, column.bar, 8, _GREY))


def _foot(sheet: Sheet, footer: str, outlined: bool, scale: float, zoom: float) -> None:
    """A bar of a round number of mm, and what made the picture."""
    height, width = sheet.pixels.shape[:2]
    length = next((mm for mm in (50, 20, 10, 5, 2, 1) if mm * scale <= 150), 1)
    long, thick = round(length * scale * zoom), max(2, round(3 * zoom))
    x, middle = round(_EDGE * zoom), round(height - _FOOT / 2 * zoom)
    sheet.paste(x, middle - thick // 2, np.full((thick, long, 3), 242, dtype=np.uint8))
    legend = f"{length} mm" + ("    green outline: the mask given" if outlined else "")
    sheet.words.append(Words(x + long + 6 * zoom, middle, legend, 9, _WHITE, "left", "center"))
    sheet.words.append(Words(width - _EDGE * zoom, middle, footer, 8, _GREY, "right", "center"))
