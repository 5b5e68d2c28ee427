"""`configs/metadata.json`: MONAI's mandatory keys."""

from collections.abc import Mapping, Sequence
from typing import Any

import monai
import numpy as np
import onnxruntime
import torch

from training.export.graph import Example, is_image
from training.export.settings import ExportSettings


def names_of(declared: Mapping[str, Any], section: str) -> list[str]:
    """The modalities of `sources` or `targets`."""
    found = declared[section]
    return list(found) if isinstance(found, Mapping) else [entry["modality"] for entry in found]


def metadata(
    settings: ExportSettings, declared: Mapping[str, Any], example: Example, output: Sequence[int], weights: int
) -> dict[str, Any]:
    """The content of the file. `output` is the shape of the example's output, `weights` their number."""
    sources, targets = (", ".join(names_of(declared, section)) for section in ("sources", "targets"))
    task = f"Conversion of {sources} to {targets}" if targets else f"Segmentation of {sources}"
    names = list(dict.fromkeys(entry["name"] for entry in declared["inputs"]))
    inputs = {name: _input(name, declared, tensor) for name, tensor in zip(names, example, strict=True)}
    return {
        "version": settings.version,
        "changelog": {settings.version: "see docs/README.md"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": onnxruntime.__version__},
        "task": f"{task} of the {settings.anatomy}",
        "description": f"A network of {weights / 1e6:.2f} million weights: {said(declared)}.",
        "authors": settings.authors,
        "copyright": f"Copyright {settings.authors}",
        "intended_use": "research; not for diagnosis",
        "network_data_format": {"inputs": inputs, "outputs": {"output": _output(declared, output)}},
    }


def said(declared: Mapping[str, Any]) -> str:
    """In words, what goes into the network and what comes out."""
    sampler = declared["sampler"]
    if not declared["targets"]:
        end = ", each voxel with a logit for each region"
    else:
        end = ", each voxel with a log-variance" if says_how_sure(declared) else ""
    if sampler["kind"] == "patch":
        return f"patches of {' x '.join(map(str, sampler['size']))} voxels in, as many out{end}"
    context, outputs = sampler.get("context", 1), sampler.get("outputs", 1)
    if context == 1:
        return f"single slices in and out{end}"
    return f"{context} neighbouring slices of each scan in, the middle {outputs} out{end}"


def says_how_sure(declared: Mapping[str, Any]) -> bool:
    """Whether the network gives a log-variance for each voxel."""
    return "uncertainty" in declared.get("output", {})


def _input(name: str, declared: Mapping[str, Any], tensor: torch.Tensor) -> dict[str, Any]:
    entries = [entry for entry in declared["inputs"] if entry["name"] == name]
    if entries[0]["role"] == "constant":
        return {"type": "constant", "format": "number", "dtype": "float32", "value": entries[0]["value"]}
    if not is_image(tensor):
        order = entries[0].get("order") or []
        return {
            "type": "vector",
            "format": "one-hot" if entries[0]["role"] == "target_code" else "multi-hot",
            "dtype": "float32",
            "num_channels": tensor.shape[1],
            "channel_def": {str(place): modality for place, modality in enumerate(order)},
        }
    modalities = [entry.get("modality") or "/".join(names_of(declared, "sources")) for entry in entries]
    context = tensor.shape[1] // len(modalities)
    slices = [f", slice {n - context // 2:+d}" for n in range(context)] if context > 1 else [""]
    channels = [modality + place for modality in modalities for place in slices]
    return _image(declared, tensor.shape, channels, [0, 1])


def _output(declared: Mapping[str, Any], shape: Sequence[int]) -> dict[str, Any]:
    kinds = ["value", "log-variance"] if says_how_sure(declared) else ["value"]
    if not declared["targets"]:  # nested regions: of each label, and of those after it
        kinds = [f"logit of: {label['name']}, and what lies within" for label in declared["segmentation"]["labels"]]
    slices = shape[1] // len(kinds)
    numbers = [f", slice {n - slices // 2:+d}" for n in range(slices)] if slices > 1 else [""]
    channels = [kind + number for kind in kinds for number in numbers]
    return _image(declared, shape, channels, None)


def _image(
    declared: Mapping[str, Any], shape: Sequence[int], channels: Sequence[str], values: list[int] | None
) -> dict[str, Any]:
    multiples = declared["geometry"].get("pad_multiple")
    rank = len(shape) - 2
    multiples = multiples[-rank:] if isinstance(multiples, Sequence) else [multiples] * rank
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "MR, CT",
        "num_channels": shape[1],
        "spatial_shape": [f"{m}*n" if m else str(n) for m, n in zip(multiples, shape[2:], strict=True)],
        "dtype": "float32",
        "value_range": values or [],
        "is_patch_data": True,
        "channel_def": {str(place): channel for place, channel in enumerate(channels)},
    }
