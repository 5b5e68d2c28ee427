"""One conversion as the user asked for it, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

import slicer

from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality

from . import marks, volumes
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
    segmentation: bool = False
    output: slicer.vtkMRMLScalarVolumeNode | None = None
    """The volume to fill; None: a new one."""

    def check(self) -> None:
        """Raise ConversionError, with what to do, where the scene already says that this cannot work."""
        for volume in (self.scan, *self.further.values()):
            reason = volumes.why_unfit(volume)
            if reason:
                raise ConversionError(reason)
        if self.modality in self.further:
            raise ConversionError(
                _("Two scans are given as {modality}. Give one of each.").format(modality=self.modality)
            )
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

    @property
    def read(self) -> list[slicer.vtkMRMLNode]:
        """The nodes that are read, which must stay in the scene until the run ends."""
        return [node for node in (self.scan, *self.further.values(), self.mask) if node is not None]
