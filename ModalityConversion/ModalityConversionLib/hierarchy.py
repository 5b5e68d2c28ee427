"""The place of a result among the user's data: the scan's study and patient, and what Slicer's DICOM export asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer

from modality_conversion.modality import Modality

_FRAME_OF_REFERENCE = "0020,0052"
_STUDY = "0020,000D"


def place_beside(node: slicer.vtkMRMLNode, scan: slicer.vtkMRMLVolumeNode) -> None:
    """Put a result into the scan's study, or its folder."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item, beside = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(scan)
    if item and beside:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(beside))


def set_dicom_fields(
    node: slicer.vtkMRMLNode, scan: slicer.vtkMRMLVolumeNode, report: Mapping[str, Any], description: str
) -> None:
    """Fill the series' tags that Slicer's DICOM export reads from the subject hierarchy.

    A new series of the scan's study, on its frame of reference. The full set of tags for a synthetic series is more than
    Slicer's exporter can write; it says `synthetic` and `not for diagnosis` in the series description.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(node)
    if not item:
        return
    uids = (scan.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    read = database.instanceValue if uids and database is not None and database.isOpen else (lambda uid, tag: "")
    modality = report.get("modality", "")
    fields = {
        "Modality": {Modality.CT.value: "CT", Modality.CBCT.value: "CT", Modality.PET.value: "PT"}.get(modality, "MR"),
        "SeriesDescription": description,
        "SeriesNumber": "9001",
        "Manufacturer": "ModalityConversion",
        "Model": report.get("model", {}).get("id", ""),
        "FrameOfReferenceUID": read(uids[0], _FRAME_OF_REFERENCE) if uids else "",
        "StudyInstanceUID": _study_uid(hierarchy, item) or (read(uids[0], _STUDY) if uids else ""),
    }
    for name, value in fields.items():
        if value:
            hierarchy.SetItemAttribute(item, f"DICOM.{name}", value)


def are_of_one_study(first: slicer.vtkMRMLVolumeNode, second: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether two volumes are filed in one study; where neither is in a study, in one folder or under one patient."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    level = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelStudy()
    items = [hierarchy.GetItemByDataNode(node) for node in (first, second)]
    if not all(items):
        return False
    studies = [hierarchy.GetItemAncestorAtLevel(item, level) for item in items]
    if any(studies):
        return studies[0] == studies[1]
    folders = [hierarchy.GetItemParent(item) for item in items]
    return folders[0] == folders[1] != hierarchy.GetSceneItemID()


def are_of_two_patients(first: slicer.vtkMRMLVolumeNode, second: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether two volumes are filed under different patients; False where that is not known."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    level = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient()
    items = [hierarchy.GetItemByDataNode(node) for node in (first, second)]
    patients = [hierarchy.GetItemAncestorAtLevel(item, level) if item else 0 for item in items]
    return all(patients) and patients[0] != patients[1]


def _study_uid(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> str:
    names = slicer.vtkMRMLSubjectHierarchyConstants
    study = hierarchy.GetItemAncestorAtLevel(item, names.GetDICOMLevelStudy())
    return hierarchy.GetItemUID(study, names.GetDICOMUIDName()) if study else ""
