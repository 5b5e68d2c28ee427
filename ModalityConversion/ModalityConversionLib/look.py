"""The image itself asked what kind of scan it is, by the engine's recogniser in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from modality_conversion.errors import ConversionError

from . import dependencies, metaimage, volumes
from .conversion import models_dirs, written
from .i18n import tr as _
from .process import EngineProcess
from .run import Run, Steps
from .workspace import Workspace


class ImageLook(Run):
    """A look at a scan under way; its outcome is what `modality-conversion recognise --json` prints.

    Raises ConversionError at once where it cannot work.
    """

    def __init__(
        self, scan: slicer.vtkMRMLScalarVolumeNode | None, on_end: Callable[[Any], None] | None = None
    ) -> None:
        reason = volumes.why_unfit(scan)
        missing = dependencies.missing()
        if reason is None and missing:
            reason = _("These packages are missing: {packages}. Install them under Software.").format(
                packages=", ".join(missing)
            )
        if reason:
            raise ConversionError(reason)
        assert scan is not None
        self.scan = scan
        super().__init__(None, on_end)
        self.watch([scan])

    def steps(self) -> Steps:
        """Hand the scan over and ask."""
        with Workspace() as folder:
            file = folder / "scan.mha"
            array, grid = volumes.voxels(self.scan.GetImageData()), volumes.ijk_to_ras(self.scan)
            yield from written(metaimage.write(array, grid, file))
            with EngineProcess(["recognise", str(file), "--json", *models_dirs()], folder) as process:
                return (yield from self.answer(process))
