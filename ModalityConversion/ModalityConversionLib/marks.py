"""The attributes that say, on every node made here, that it is synthetic, by what it was made, and from what.

Slicer writes a node's attributes into NRRD files and scenes, so the marks stay with the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import slicer

PREFIX = "ModalityConversion."
SYNTHETIC = f"{PREFIX}Synthetic"
MODALITY = f"{PREFIX}Modality"
CAUTION = f"{PREFIX}Caution"
CONTENT = f"{PREFIX}Content"
"""`image`, `uncertainty`, `interval`, `consistency`, `segmentation` or `difference`."""
REPORT = f"{PREFIX}Report"
LESION_CHECK = f"{PREFIX}LesionCheck"
"""A lesion check that was made after the conversion, as JSON."""
SOURCE = f"{PREFIX}source"
"""Role of the node references from a result to the scans that it was made from, the one whose grid it has first."""


def is_synthetic(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether a node is marked as made by this module."""
    return node is not None and node.GetAttribute(SYNTHETIC) == "1"


def content(node: slicer.vtkMRMLNode | None) -> str:
    """What a marked node holds; empty for any other node."""
    return (node.GetAttribute(CONTENT) or "") if node is not None and is_synthetic(node) else ""


def mark(
    node: slicer.vtkMRMLNode,
    report: Mapping[str, Any],
    content: str,
    source: slicer.vtkMRMLNode | None,
    *further: slicer.vtkMRMLNode,
) -> None:
    """Put the marks on a node: synthetic, not for diagnosis, model, sources, the whole report.

    `source` is the scan whose grid the node has, `further` what was read beside it.
    """
    model = report.get("model", {})
    fields = {
        "Synthetic": "1",
        "NotForDiagnosis": "1",
        "Notice": report.get("notice", ""),
        "Caution": report.get("caution") or "",
        "Forced": "1" if report.get("forced") else "0",
        "Content": content,
        "Modality": report.get("modality", ""),
        "SourceModality": " ".join(report.get("source", {}).get("modality", [])),
        "SourceName": "; ".join(one.GetName() for one in (source, *further) if one is not None),
        "Model": model.get("id", ""),
        "ModelVersion": model.get("version", ""),
        "ModelSHA256": model.get("sha256", ""),
        "ModelLicense": model.get("license", ""),
        "EngineVersion": report.get("engine_version", ""),
        "Device": report.get("device", ""),
        "Date": report.get("date", ""),
        "Warnings": " ".join(report.get("warnings", [])),
        "Report": json.dumps(report),
    }
    for name, value in fields.items():
        node.SetAttribute(f"{PREFIX}{name}", str(value))
    node.RemoveAttribute(LESION_CHECK)  # of what an output held before it was filled again
    if source is not None:
        node.RemoveNodeReferenceIDs(SOURCE)  # an output that is filled again may have had more of them
        for one in (source, *further):
            node.AddNodeReferenceID(SOURCE, one.GetID())


def report_of(node: slicer.vtkMRMLNode) -> dict[str, Any]:
    """The report that a marked node carries; {} where there is none."""
    return _json(node, REPORT)


def lesion_check_of(node: slicer.vtkMRMLNode) -> dict[str, Any]:
    """The lesion check made after the conversion; {} where there is none."""
    return _json(node, LESION_CHECK)


def _json(node: slicer.vtkMRMLNode, attribute: str) -> dict[str, Any]:
    try:
        found = json.loads(node.GetAttribute(attribute) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
