"""The synthetic image against a real scan of the same kind: figures, and the difference as a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from modality_conversion.progress import Progress

from . import display, hierarchy, marks, metaimage, resampling, results, volumes
from .conversion import take_back, written
from .i18n import tr as _
from .process import EngineProcess
from .run import Run, Steps
from .workspace import Workspace


@dataclass(frozen=True)
class Compared:
    """What a comparison gives."""

    figures: dict[str, Any]
    """As `modality-conversion compare --json` prints them."""
    difference: slicer.vtkMRMLScalarVolumeNode
    """Synthetic minus real (MR: after an affine fit), on the synthetic volume's grid."""


class Comparison(Run):
    """A comparison under way; its outcome is a `Compared`. Raises ConversionError at once where it cannot work."""

    def __init__(
        self,
        synthetic: slicer.vtkMRMLScalarVolumeNode,
        real: slicer.vtkMRMLScalarVolumeNode,
        on_progress: Callable[[Progress], None] | None = None,
        on_end: Callable[[Any], None] | None = None,
    ) -> None:
        for volume in (synthetic, real):
            reason = volumes.why_unfit(volume)
            if reason:
                raise ConversionError(reason)
        if not marks.is_synthetic(synthetic):
            raise ConversionError(
                _("{name} was not made here. Choose a synthetic volume.").format(name=synthetic.GetName())
            )
        if real is synthetic or marks.is_synthetic(real):
            raise ConversionError(_("{name} is not a real scan. Choose another one.").format(name=real.GetName()))
        self.synthetic, self.real = synthetic, real
        super().__init__(on_progress, on_end)
        self.watch([synthetic, real])

    def steps(self) -> Steps:
        """Put the real scan on the synthetic one's grid, measure in a process of its own, add the difference."""
        report = marks.report_of(self.synthetic)
        is_ct = report.get("modality") in (Modality.CT.value, Modality.CBCT.value)
        grid = volumes.ijk_to_ras(self.synthetic)
        with Workspace() as folder:
            self.tell("read", 0, 1)
            origin = results.Origin(self.synthetic)
            yield from written(
                metaimage.write(volumes.voxels(self.synthetic.GetImageData()), grid, folder / "synthetic.mha")
            )
            yield from written(
                metaimage.write(volumes.voxels(resampling.beside(self.synthetic, self.real)), grid, folder / "real.mha")
            )
            words = ["compare", str(folder / "real.mha"), str(folder / "synthetic.mha"), "--json", "--stop-with-parent"]
            words += ["--protocol", "synthrad2023" if is_ct else "slices"]
            source = self.synthetic.GetNodeReference(marks.SOURCE)
            if source is not None and volumes.why_unfit(source) is None:
                on_grid = volumes.voxels(resampling.beside(self.synthetic, source))
                yield from written(metaimage.write(on_grid, grid, folder / "source.mha"))
                words += ["--source", str(folder / "source.mha")]
            words += ["--difference", str(folder / "difference.mha")]
            self.tell("network", 0, 0)
            with EngineProcess(words, folder) as process:
                figures = yield from self.answer(process)
            image = yield from take_back(folder / "difference.mha", origin.shape)
        return Compared(figures, _add_difference(self.synthetic, self.real, origin, image, report))


def _add_difference(
    synthetic: slicer.vtkMRMLScalarVolumeNode,
    real: slicer.vtkMRMLScalarVolumeNode,
    origin: results.Origin,
    image: vtk.vtkImageData,
    report: dict[str, Any],
) -> slicer.vtkMRMLScalarVolumeNode:
    name = _("{synthetic} minus {real}").format(real=real.GetName(), synthetic=synthetic.GetName())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    volumes.set_grid(node, origin.grid)
    node.SetAndObserveImageData(image)
    origin.put(node, synthetic)
    marks.mark(node, report, "difference", synthetic)
    display.set_units(node, report.get("units", "arbitrary"))
    display.show_as_difference(node)
    results.add_storage(node)
    hierarchy.place_beside(node, synthetic)
    return node
