"""What to copy for whoever is to help: versions, choices, the message and the log. No voxels, no patient's tags."""

from __future__ import annotations

import platform
import sys

import slicer

from modality_conversion.version import __version__

from . import dependencies
from .conversion import Conversion


def details(run: Conversion) -> str:
    """Everything about a run, as text."""
    request = run.request
    sources = "+".join([request.modality, *request.further])
    lines = [
        f"ModalityConversion {__version__}, Slicer {slicer.app.applicationVersion}, Python {sys.version.split()[0]}",
        f"{platform.platform()}; {', '.join(dependencies.installed_runtimes()) or 'no onnxruntime'}",
        f"{sources} to {request.target}, model {request.model or 'the default'}, device {request.device}",
        f"size {request.scan.GetImageData().GetDimensions() if request.scan.GetImageData() else 'none'}, "
        f"spacing {request.scan.GetSpacing()}",
        f"{run.state.value}: {run.message}",
        "",
        run.log.strip() or "The process said nothing on its standard error.",
    ]
    return "\n".join(lines)
