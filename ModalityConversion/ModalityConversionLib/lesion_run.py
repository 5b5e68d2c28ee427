"""The lesion check of a synthetic volume that is there already: against its own scan, and a real scan of the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality

from . import marks, masks, metaimage, resampling, volumes
from .conversion import models_dirs, written
from .i18n import tr as _
from .process import EngineProcess
from .recognise import recognise
from .run import Run, Steps
from .workspace import Workspace


class LesionRun(Run):
    """A check under way; its outcome is what `modality-conversion lesions --json` prints.

    Raises ConversionError at once where it cannot work.
    """

    def __init__(
        self,
        synthetic: slicer.vtkMRMLScalarVolumeNode,
        outlines: slicer.vtkMRMLNode | None = None,
        reference: slicer.vtkMRMLScalarVolumeNode | None = None,
        device: str = "auto",
        on_end: Callable[[Any], None] | None = None,
    ) -> None:
        reason = why_not(synthetic, outlines, reference)
        if reason:
            raise ConversionError(reason)
        self.synthetic, self.outlines, self.reference = synthetic, outlines, reference
        self.real = synthetic.GetNodeReference(marks.SOURCE)
        self._device = device
        super().__init__(None, on_end)
        self.watch([node for node in (synthetic, self.real, outlines, reference) if node])

    def steps(self) -> Steps:
        """Put everything on the synthetic volume's grid, and let the engine look, in a process of its own."""
        report, before = marks.report_of(self.synthetic), self.synthetic.GetAttribute(marks.REPORT)
        grid = volumes.ijk_to_ras(self.synthetic)
        with Workspace() as folder:
            scans = {"synthetic": self.synthetic, "real": self.real, "real_target": self.reference}
            for name, node in scans.items():
                if node is not None:
                    image = resampling.beside(self.synthetic, node)
                    yield from written(metaimage.write(volumes.voxels(image), grid, folder / f"{name}.mha"))
            words = ["lesions", str(folder / "real.mha"), str(folder / "synthetic.mha"), "--json", "--stop-with-parent"]
            words += ["--from", report["source"]["modality"][0], "--to", report["modality"]]
            words += ["--real-target", str(folder / "real_target.mha")] if self.reference is not None else []
            if self.outlines is not None:
                mask = masks.on_grid_of(self.synthetic, self.outlines)
                yield from written(metaimage.write(mask, grid, folder / "lesions.mha"))
                words += ["--lesions", str(folder / "lesions.mha")]
            with EngineProcess([*words, *models_dirs(), "--device", self._device], folder) as process:
                found = yield from self.answer(process)
        if self.synthetic.GetAttribute(marks.REPORT) != before:
            raise ConversionError(
                _("{name} was converted anew meanwhile. Check it again.").format(name=self.synthetic.GetName())
            )
        found.pop("files", None)  # they are gone
        return found


def why_not(
    synthetic: slicer.vtkMRMLScalarVolumeNode | None,
    outlines: slicer.vtkMRMLNode | None = None,
    reference: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> str | None:
    """Why lesions cannot be checked, with what to do; None if they can."""
    if synthetic is None or marks.content(synthetic) != "image":
        return _("Choose a synthetic volume.")
    report = marks.report_of(synthetic)
    if not report.get("modality") or not report.get("source", {}).get("modality"):
        return _("{name} does not say from what it was made.").format(name=synthetic.GetName())
    real = synthetic.GetNodeReference(marks.SOURCE)
    if real is None:
        return _("The scan that it was made from is no longer in the scene.")
    for volume in (synthetic, real, *([reference] if reference is not None else [])):
        reason = volumes.why_unfit(volume)
        if reason:
            return reason
    if outlines is not None and outlines in (synthetic, real, reference):
        return _("The outline of lesions is a scan itself. Choose another outline, or none.")
    return None if reference is None else _why_no_reference(reference, report["modality"])


def _why_no_reference(reference: slicer.vtkMRMLScalarVolumeNode, target: str) -> str | None:
    """A real scan that is known to show something else would give a plausible wrong list."""
    found = recognise(reference).modality
    if found is None or found is Modality(target):
        return None
    return _("{name} is a {found}, not a {target}. Choose a real {target}, or none, under Read side by side.").format(
        name=reference.GetName(), found=found, target=target
    )
