"""One conversion as the user asked for it, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import slicer

from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality

from . import marks, volumes
from .further import NamedScan, fault
from .i18n import tr as _


@dataclass(frozen=True)
class Request:
    """What to convert into what, and how."""

    scan: slicer.vtkMRMLScalarVolumeNode
    modality: Modality
    target: Modality | None
    """None: only the tumor segmentation."""
    model: str = ""
    """A model's id; empty: the best that fits."""
    further: dict[Modality, slicer.vtkMRMLScalarVolumeNode] = field(default_factory=dict)
    """Further scans, for a model with joint inputs."""
    mask: slicer.vtkMRMLNode | None = None
    segment: str = ""
    device: str = "auto"
    uncertainty: bool = False
    interval: bool = False
    """Make a map of the calibrated interval too; only of a model that is calibrated for the target."""
    force: bool = False
    """Convert what the model's gate refuses; the result says so."""
    segmentation: bool = False
    check_lesions: bool = False
    """Look whether lesions were kept."""
    lesions: slicer.vtkMRMLNode | None = None
    """Lesions outlined on the scan: a segmentation, label map or volume; None: none."""
    convert_back: bool = False
    """Convert the result back and compare it with the scan."""
    output: slicer.vtkMRMLScalarVolumeNode | None = None
    """The volume to fill; None: a new one."""

    def check(self) -> None:
        """Raise ConversionError, with what to do, where the scene already says that this cannot work."""
        further = [NamedScan(node, modality) for modality, node in self.further.items()]
        reason = volumes.why_unfit(self.scan) or fault(NamedScan(self.scan, self.modality), further, self.target)
        if reason:
            raise ConversionError(reason)
        if self.output is not None and self.output in self.read:
            raise ConversionError(
                _("{name} is read, so it cannot be the output too. Choose another output volume.").format(
                    name=self.output.GetName()
                )
            )
        if self.output is not None and not marks.is_synthetic(self.output) and self.output.GetImageData() is not None:
            raise ConversionError(
                _("{name} holds a scan that was not made here. Choose another output volume, or a new one.").format(
                    name=self.output.GetName()
                )
            )

    def sources(self, report: Mapping[str, Any]) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The scans that a result was made from, by its report; the main one first."""
        taken = report.get("source", {}).get("modality", [])
        return [self.scan, *(node for modality, node in self.further.items() if modality.value in taken)]

    @property
    def read(self) -> list[slicer.vtkMRMLNode]:
        """The nodes that are read, which must stay in the scene until the run ends."""
        lesions = self.lesions if self.check_lesions else None
        return [node for node in (self.scan, *self.further.values(), self.mask, lesions) if node is not None]
