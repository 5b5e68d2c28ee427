"""What kind of scan a volume node is, and how that was found out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import slicer

from modality_conversion.dicom_modality import TAGS, from_dicom
from modality_conversion.modality import Modality, from_name, recognise_file

from . import marks
from .i18n import tr as _


class Recognised(NamedTuple):
    """A modality, or None where nothing says it, and how it was found, for the user."""

    modality: Modality | None
    how: str


def recognise(volume: slicer.vtkMRMLVolumeNode | None) -> Recognised:
    """Ask, in this order: our own mark, the DICOM tags, the node's attributes, its name, the file it was read from."""
    if volume is None:
        return Recognised(None, "")
    for ask in (_from_mark, _from_dicom_tags, _from_attributes, _from_node_name, _from_file):
        found = ask(volume)
        if found is not None:
            return found
    return Recognised(None, _("Nothing says what kind of scan this is. Choose it, or click Look."))


def _from_mark(volume: slicer.vtkMRMLVolumeNode) -> Recognised | None:
    text = volume.GetAttribute(marks.MODALITY)
    if not marks.is_synthetic(volume) or not text:
        return None
    return Recognised(Modality.parse(text), _("a synthetic volume made here"))


def _from_dicom_tags(volume: slicer.vtkMRMLVolumeNode) -> Recognised | None:
    tags = dicom_tags(volume)
    if not tags:
        return None
    found = from_dicom(tags)
    return None if found.modality is None and not found.is_certain else Recognised(found.modality, found.why)


def dicom_tags(volume: slicer.vtkMRMLVolumeNode) -> dict[str, str]:
    """The tags that say what a scan is, by keyword, of the first file of a volume that came from the DICOM database."""
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None or not database.isOpen:
        return {}
    values = {keyword: database.instanceValue(uids[0], tag) for keyword, tag in TAGS.items()}
    return {keyword: value for keyword, value in values.items() if value}


def _from_attributes(volume: slicer.vtkMRMLVolumeNode) -> Recognised | None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) if hierarchy else 0
    for name in ("DICOM.Modality", "Modality", "modality"):
        for text in (volume.GetAttribute(name), hierarchy.GetItemAttribute(item, name) if item else ""):
            found = {"PT": Modality.PET}.get(text or "") or from_name(text or "")
            if found is not None:
                return Recognised(found, _("the attribute {name} of the volume").format(name=name))
    return None


def _from_node_name(volume: slicer.vtkMRMLVolumeNode) -> Recognised | None:
    found = from_name(volume.GetName() or "")
    return None if found is None else Recognised(found, _("the volume's name, {name}").format(name=volume.GetName()))


def _from_file(volume: slicer.vtkMRMLVolumeNode) -> Recognised | None:
    storage = volume.GetStorageNode()
    name = storage.GetFileName() if storage else None
    found = recognise_file(Path(name)) if name else None
    return None if found is None else Recognised(found[0], found[1])
