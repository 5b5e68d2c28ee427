"""Small helpers for the panel's widgets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import qt
import slicer

from modality_conversion.modality import Modality

from .i18n import tr as _
from .recognise import Recognised

UI = Path(__file__).resolve().parents[1] / "Resources" / "UI"


def load(name: str) -> tuple[qt.QWidget, Any]:
    """A part of the panel from its .ui file, and its named widgets."""
    widget = slicer.util.loadUI(str(UI / f"{name}.ui"))
    return widget, slicer.util.childWidgetVariables(widget)


def fill(combo: qt.QComboBox, items: Iterable[tuple[str, str]], current: str) -> None:
    """Fill a combo box with (text, data) and choose by data, without a signal; nothing moves where nothing changed."""
    items = list(items)
    before = [(combo.itemText(n), combo.itemData(n)) for n in range(combo.count)]
    blocked = combo.blockSignals(True)
    if before != items:
        combo.clear()
        for text, data in items:
            combo.addItem(text, data)
    index = next((n for n, (_text, data) in enumerate(items) if data == current), -1)
    if combo.currentIndex != index:
        combo.setCurrentIndex(index)
    combo.blockSignals(blocked)


def chosen(combo: qt.QComboBox) -> str:
    """The data of the item that is chosen; empty where none is."""
    return str(combo.itemData(combo.currentIndex) or "") if combo.currentIndex >= 0 else ""


def choose(combo: qt.QComboBox, data: str) -> None:
    """Choose an item by its data, where it is there."""
    index = next((n for n in range(combo.count) if combo.itemData(n) == data), -1)
    if index >= 0:
        combo.setCurrentIndex(index)


def show_modality(combo: qt.QComboBox, how: qt.QLabel, found: Recognised, corrected: str) -> None:
    """Show what a scan is, to be corrected, and beside it how that is known. `corrected`: as the user said, or empty."""
    items = [(modality.value, modality.value) for modality in Modality]
    current = corrected or (found.modality.value if found.modality else "")
    if not current:
        items.insert(0, (_("choose"), ""))
    fill(combo, items, current)
    if corrected:
        how.text = _("chosen by hand")
    elif found.modality is None:
        how.text = found.how
    else:
        how.text = _("recognised: {how}").format(how=found.how)


def set_check(box: qt.QCheckBox, checked: bool) -> None:
    """Check or uncheck without a signal."""
    blocked = box.blockSignals(True)
    box.checked = checked
    box.blockSignals(blocked)
