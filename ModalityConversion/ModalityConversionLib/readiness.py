"""Whether Convert can work, and if not, what is missing: the button's tooltip."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from modality_conversion.bundle import Summary
from modality_conversion.modality import Modality

from . import marks, torchscript, volumes
from .further import NamedScan, fault, used
from .i18n import tr as _


@dataclass(frozen=True)
class Choice:
    """What is chosen in the panel."""

    scan: slicer.vtkMRMLScalarVolumeNode | None
    modality: Modality | None
    target: Modality | None
    model: Summary | None
    mask: slicer.vtkMRMLNode | None = None
    output: slicer.vtkMRMLScalarVolumeNode | None = None
    lesions: slicer.vtkMRMLNode | None = None
    """The outline of lesions, where they are to be checked."""
    is_running: bool = False
    further: tuple[NamedScan, ...] = ()
    """Further scans of the same person; those that the model does not read do not matter."""

    @property
    def used(self) -> list[NamedScan]:
        """The further scans that the model reads."""
        return used(self.further, self.model)


def what_is_missing(choice: Choice) -> str | None:
    """Why Convert cannot work now, for the user; None if it can."""
    if choice.is_running:
        return _("A conversion is under way.")
    reason = volumes.why_unfit(choice.scan)
    if reason:
        return reason
    if choice.modality is None:
        return _("Choose what kind of scan this is.")
    if choice.target is None:
        return _("No installed model converts a {modality} scan. Install one under Models.").format(
            modality=choice.modality
        )
    if choice.model is None:
        return _("Choose a model.")
    if choice.model.fault:
        return _("The model {id} cannot be used: {fault}.").format(id=choice.model.id, fault=choice.model.fault)
    main = NamedScan(choice.scan, choice.modality)
    reason = fault(main, choice.used, choice.target, choice.model)
    if reason:
        return reason
    given = {scan.modality for scan in (main, *choice.used)}
    others = [modality.value for modality in choice.model.needs if modality not in given]
    if others:
        return _("This model needs {modalities} too. Add it under More scans of this patient.").format(
            modalities=", ".join(others)
        )
    if torchscript.needs_torch(choice.model.path) and torchscript.what_is_missing():
        return torchscript.what_is_missing()
    if choice.mask is not None and choice.mask in [scan.volume for scan in (main, *choice.used)]:
        return _("The mask is the scan itself. Choose another mask, or none.")
    if choice.lesions is not None and choice.lesions in [scan.volume for scan in (main, *choice.used)]:
        return _("The outline of lesions is the scan itself. Choose another outline, or none.")
    return _output_fault(choice)


def _output_fault(choice: Choice) -> str | None:
    output = choice.output
    if output is None:
        return None
    if output in (choice.scan, choice.mask, choice.lesions, *(scan.volume for scan in choice.used)):
        return _("The output is what is read. Choose another output volume, or a new one.")
    if output.GetImageData() is not None and not marks.is_synthetic(output):
        return _("The output holds a scan that was not made here. Choose another one, or a new one.")
    return None
