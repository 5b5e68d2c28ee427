"""Writes the whole folder of a slab model: declaration, metadata, weights, card, golden pair; then asks the engine."""

import hashlib
import json
from pathlib import Path
from typing import Any

import monai
import numpy as np
import onnxruntime
import torch
from torch import nn

import modality_conversion.check as engine_check
from modality_conversion.schema import ConversionSpec
from training.data.scale import SOURCE_OPS
from training.export.card import card
from training.export.figures import quality
from training.export.graph import ExportError, write_graph
from training.export.settings import ExportSettings
from training.networks.slab import SlabNet

GOLDEN_SIDE = 96
"""Height and width of the golden pair."""
PLANE_MULTIPLE = 32
"""The U-Net halves five times, counting the first rearrangement."""


def conversion(settings: ExportSettings, network: SlabNet, weights: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """The content of `configs/conversion.json`."""
    slab = network.settings
    return {
        "schema_version": "1.0",
        "id": settings.folder.name,
        "title": settings.title,
        "version": settings.version,
        "license": settings.license,
        "citation": settings.citation,
        "intended_use": "research",
        "weights": [
            {
                "path": "models/model.onnx",
                "format": "onnx",
                "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
                "size": weights.stat().st_size,
            }
        ],
        "sources": [{"modality": settings.source, "anatomy": settings.anatomy}],
        "targets": {
            settings.target: {
                "units": "arbitrary",
                "background": 0,
                "window": settings.window,
                "level": settings.level,
                "dtype": settings.dtype,
            }
        },
        "geometry": {
            "axcodes": "RAS",
            "array_order": "kji",
            "spacing": [1, 1, 1],
            "pad_multiple": [None, PLANE_MULTIPLE, PLANE_MULTIPLE],
            "interpolation": "linear",
        },
        "ops": [op.model_dump(mode="json") for op in SOURCE_OPS],
        "sampler": {
            "kind": "slab",
            "axes": [0],
            "context": slab.context,
            "outputs": slab.outputs,
            "overlap": settings.overlap,
            "batch": settings.batch,
        },
        "fusion": "mean",
        "output": {
            "channel": 0,
            "ops": [{"op": "linear", "scale": settings.output_scale}],
            "uncertainty": {"channel": 1, "kind": "log_variance"},
        },
        "quality": quality(figures, settings.source, settings.target),
    }


def metadata(settings: ExportSettings, network: SlabNet) -> dict[str, Any]:
    """The content of `configs/metadata.json`: MONAI's mandatory keys."""
    slab = network.settings
    shape = ["*", slab.context, f"{PLANE_MULTIPLE}*n", f"{PLANE_MULTIPLE}*n"]
    tensor = {"type": "image", "dtype": "float32", "is_patch_data": True, "spatial_shape": shape[2:]}
    return {
        "version": settings.version,
        "changelog": {settings.version: "first release"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": onnxruntime.__version__},
        "task": f"Conversion of {settings.source} to {settings.target} MRI of the {settings.anatomy}",
        "description": f"A 2.5D U-Net: {slab.context} axial slices of {settings.source} in, the middle {slab.outputs} of "
        f"{settings.target} and their log-variances out.",
        "authors": settings.authors,
        "copyright": f"Copyright {settings.authors}",
        "intended_use": "research; not for diagnosis",
        "network_data_format": {
            "inputs": {
                "slab": tensor
                | {"format": "magnitude", "modality": "MR", "num_channels": slab.context, "value_range": [0, 1]}
                | {"channel_def": {str(i): f"slice {i - slab.context // 2:+d}" for i in range(slab.context)}}
            },
            "outputs": {
                "slices": tensor
                | {"format": "magnitude", "modality": "MR", "num_channels": 2 * slab.outputs, "value_range": [0, 1.25]}
                | {
                    "channel_def": {
                        str(i): ("slice" if i < slab.outputs else "log variance of slice")
                        + f" {i % slab.outputs - slab.outputs // 2:+d}"
                        for i in range(2 * slab.outputs)
                    }
                }
            },
        },
    }


def _golden_input(network: SlabNet) -> torch.Tensor:
    """A smooth, head-like slab: an ellipse with waves, zeros around."""
    axis = torch.linspace(-1.2, 1.2, GOLDEN_SIDE)
    y, x, z = torch.meshgrid(axis, axis, torch.linspace(-0.2, 0.2, network.settings.context), indexing="ij")
    radius = (x**2 + 0.7 * y**2 + z**2).sqrt()
    inside = (radius < 1) * (0.5 + 0.3 * torch.cos(9 * radius) + 0.1 * torch.sin(12 * x + 5 * z))
    return inside.permute(2, 0, 1)[None].contiguous()


def write_bundle(
    network: nn.Module, settings: ExportSettings, figures: dict[str, Any], about: dict[str, float]
) -> list[str]:
    """Write the bundle; gives the engine's warnings. Raises ExportError where the engine finds an error.

    `figures`: what `evaluate` measured, {} before it has; `about`: `step` and `minutes` of the run.
    """
    if not isinstance(network, SlabNet):
        raise ExportError("Only slab networks can be exported yet.")
    folder = settings.folder
    weights = folder / "models" / "model.onnx"
    given, found = write_graph(network, _golden_input(network), weights)
    (folder / "tests").mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "tests" / "golden.npz", input=given, output=found)
    declared = conversion(settings, network, weights, figures)
    ConversionSpec.model_validate_json(json.dumps(declared))
    for name, content in (("conversion", declared), ("metadata", metadata(settings, network))):
        path = folder / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    (folder / "docs" / "README.md").write_text(card(settings, network, figures, about), encoding="utf-8")

    faults = engine_check.check(folder, run=True)
    errors = [str(fault) for fault in faults if fault.severity == "error"]
    if errors:
        raise ExportError("The engine does not accept the bundle:\n" + "\n".join(errors))
    return [str(fault) for fault in faults]
