"""How a result looks: window and level, colours, units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from modality_conversion.modality import Modality

from . import volumes

GREY = "vtkMRMLColorTableNodeGrey"
INVERTED_GREY = "vtkMRMLColorTableNodeInvertedGrey"
IRON = "vtkMRMLColorTableNodeIron"

# Quantity and units as DICOM codes them: CID 7180 and UCUM.
_CODES = {
    "HU": (("112031", "DCM", "Attenuation Coefficient"), ("[hnsf'U]", "UCUM", "Hounsfield unit")),
    "SUV": (
        ("126400", "DCM", "Standardized Uptake Value"),
        ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"),
    ),
    "arbitrary": (("110852", "DCM", "MR signal intensity"), ("1", "UCUM", "no units")),
}


def set_units(volume: slicer.vtkMRMLScalarVolumeNode, units: str) -> None:
    """Say what the voxels mean, for tools that measure: HU, SUV or arbitrary."""
    quantity, unit = _CODES[units]
    for code, put in ((quantity, volume.SetVoxelValueQuantity), (unit, volume.SetVoxelValueUnits)):
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(*code)
        put(entry)


def units_of(volume: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """UCUM code of a volume's units; empty where they are unknown or arbitrary, so that nothing is compared blindly."""
    entry = volume.GetVoxelValueUnits() if volume is not None else None
    code = entry.GetCodeValue() if entry is not None else None
    return code if code and code != "1" else ""


def show_as_scan(volume: slicer.vtkMRMLScalarVolumeNode, report: Mapping[str, Any]) -> None:
    """Window, level and colour of a synthetic volume as its target modality is read."""
    display = _display(volume)
    window, level = report.get("window"), report.get("level")
    if report["units"] == "arbitrary" or window is None or level is None:
        _set_window(display, *_from_voxels(volume, window, level))
    else:
        _set_window(display, float(window), float(level))
    _set_colour(display, INVERTED_GREY if report["modality"] == Modality.PET.value else GREY)


def _from_voxels(volume: slicer.vtkMRMLScalarVolumeNode, window: Any, level: Any) -> tuple[float, float]:
    """The declared window where the voxels fill it, else the 0.1 to 99.9 percentiles of what is not background."""
    values = _sample(volume)
    values = values[values != values.min()]
    low, high = np.percentile(values, (0.1, 99.9)) if values.size else (0.0, 1.0)
    if window is not None and level is not None and 0.5 * window <= high - low <= 2 * window:
        return float(window), float(level)
    return float(max(high - low, 1e-6)), float((high + low) / 2)


def show_as_uncertainty(volume: slicer.vtkMRMLScalarVolumeNode, image: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Warm colours on the tenth of the `image` where the model is least sure; the rest is transparent."""
    display = _display(volume)
    spread, shown = _sample(volume), _sample(image)
    inside = spread[shown > shown.min() + 0.1 * float(np.ptp(shown))]
    low, high = np.percentile(inside, (90, 99.8)) if inside.size else (0.0, 1.0)
    _set_window(display, float(max(high - low, 1e-6)), float((high + low) / 2))
    _set_colour(display, IRON)
    display.SetThreshold(float(low), float(max(spread.max(initial=0), high)))
    display.ApplyThresholdOn()


def show_as_disagreement(volume: slicer.vtkMRMLScalarVolumeNode, large: float) -> None:
    """Warm colours where a disagreement is large; the rest is transparent."""
    display = _display(volume)
    values = _sample(volume)
    highest = float(values.max(initial=0.0))
    high = max(float(np.percentile(values[values > large], 99)) if (values > large).any() else 0.0, large * 1.01, 1e-6)
    _set_window(display, high - large, (high + large) / 2)
    _set_colour(display, IRON)
    display.SetThreshold(large, max(highest, high))
    display.ApplyThresholdOn()


def show_as_difference(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Grey around zero, so that no difference is mid-grey."""
    display = _display(volume)
    values = np.abs(_sample(volume))
    spread = float(np.percentile(values[values > 0], 99)) if (values > 0).any() else 1.0
    _set_window(display, 2 * spread, 0.0)
    _set_colour(display, GREY)


def add_display(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """A display node that does not look for a window of its own, which takes long on a large volume."""
    display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.AutoWindowLevelOff()
    _set_colour(display, GREY)
    volume.SetAndObserveDisplayNodeID(display.GetID())


def _sample(volume: slicer.vtkMRMLScalarVolumeNode) -> NDArray[Any]:
    """Evenly spread voxels, at most some half a million: enough for a window."""
    values = volumes.voxels(volume.GetImageData())
    step = max(1, math.ceil((values.size / 500_000) ** (1 / 3)))
    return values[::step, ::step, ::step]


def copy_window(
    origin: slicer.vtkMRMLScalarVolumeDisplayNode, to: slicer.vtkMRMLScalarVolumeDisplayNode | None
) -> None:
    """Give one display node the window and level of another."""
    if to is None or to is origin:
        return
    if (to.GetWindow(), to.GetLevel()) != (origin.GetWindow(), origin.GetLevel()):
        _set_window(to, origin.GetWindow(), origin.GetLevel())


def _display(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeDisplayNode:
    if volume.GetDisplayNode() is None:
        add_display(volume)
    return volume.GetDisplayNode()


def _set_window(display: slicer.vtkMRMLScalarVolumeDisplayNode, window: float, level: float) -> None:
    display.AutoWindowLevelOff()
    display.SetWindowLevel(window, level)


def _set_colour(display: slicer.vtkMRMLScalarVolumeDisplayNode, id: str) -> None:
    if slicer.mrmlScene.GetNodeByID(id) is not None:
        display.SetAndObserveColorNodeID(id)
