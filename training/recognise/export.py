"""The recogniser's folder: weights, declaration, metadata and card; read back at the end as the engine reads it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import onnxruntime
import torch

from modality_conversion.bundle import sha256_of
from modality_conversion.catalog import RECOGNISER_FILE
from modality_conversion.recognise_input import AXES, BLOCKS, SIDE, SPACING
from modality_conversion.recognise_network import INPUTS, KINDS, OUTPUTS, read_declaration
from modality_conversion.recognise_profile import LENGTH
from training.export.graph import ExportError, compare_files, write_onnx
from training.recognise.network import Recogniser
from training.recognise.settings import BundleSettings

WEIGHTS = "models/model.onnx"
LARGEST = 1_000_000
"""Bytes; the folder travels with every installation."""


def write_folder(
    network: Recogniser,
    settings: BundleSettings,
    distances: Sequence[tuple[float, float]],
    card: str,
) -> Path:
    """Write weights, declaration, metadata and card. Raises ExportError where the file is not the network."""
    folder = settings.folder
    weights = folder / WEIGHTS
    network.eval()
    random = torch.Generator().manual_seed(0)
    inputs = [(torch.rand(n, LENGTH, generator=random), torch.rand(n, *BLOCKS, generator=random)) for n in (1, 2)]
    write_onnx(network, inputs, INPUTS, weights)
    compare_files(network, inputs, INPUTS, weights, None)
    if weights.stat().st_size > LARGEST:
        raise ExportError(f"The recogniser takes {weights.stat().st_size} bytes; at most {LARGEST} are allowed.")
    declared = {
        "schema_version": "1.0",
        "id": folder.name,
        "title": settings.title,
        "version": settings.version,
        "license": "CC-BY-4.0",
        "citation": settings.citation,
        "intended_use": "research",
        "weights": {"path": WEIGHTS, "sha256": sha256_of(weights), "size": weights.stat().st_size},
        "input": {"axes": AXES, "spacing": SPACING, "side": SIDE, "profile": LENGTH, "blocks": list(BLOCKS)},
        "outputs": OUTPUTS,
        "kinds": list(KINDS),
        "known_above": settings.known_above,
        "distances": [[round(share, 4), round(distance, 4)] for share, distance in distances],
    }
    metadata = _metadata(settings.version, sum(parameter.numel() for parameter in network.parameters()))
    _write(folder / RECOGNISER_FILE, json.dumps(declared, indent=2) + "\n")
    _write(folder / "configs" / "metadata.json", json.dumps(metadata, indent=2) + "\n")
    _write(folder / "docs" / "README.md", card)
    read_declaration(folder)
    return folder


def _metadata(version: str, weights: int) -> dict[str, Any]:
    """MONAI's keys. `weights`: their number."""
    return {
        "version": version,
        "changelog": {version: "see docs/README.md"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": onnxruntime.__version__},
        "task": "Recognition of CT, T1, T1CE, T2, FLAIR and PD of the head",
        "description": f"A network of {weights / 1e6:.2f} million weights; it sees {SIDE * SPACING:g} mm of the scan.",
        "authors": "The ModalityConversion developers",
        "copyright": "Copyright The ModalityConversion developers",
        "intended_use": "research; not for diagnosis",
        "network_data_format": {
            "inputs": {
                "profile": {"type": "vector", "num_channels": LENGTH},
                "blocks": {"type": "image", "num_channels": BLOCKS[0], "spatial_shape": list(BLOCKS[1:])},
            },
            "outputs": {"output": {"type": "vector", "num_channels": sum(OUTPUTS.values())}},
        },
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
