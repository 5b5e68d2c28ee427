"""A first bundle around a bare network, so that a researcher starts from something that runs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bundle import sha256_of
from .check import CARD_BLANK, check
from .errors import ConversionError
from .modality import Modality

if TYPE_CHECKING:
    from .backends import Tensor

_MR = {"units": "arbitrary", "background": 0, "window": 1, "level": 0.5}
# How a modality usually is stored and shown; the author corrects it.
_TARGETS: dict[Modality, dict[str, Any]] = {
    Modality.CT: {"units": "HU", "background": -1024, "window": 400, "level": 40},
    Modality.CBCT: {"units": "HU", "background": -1024, "window": 400, "level": 40},
    Modality.PET: {"units": "SUV", "background": 0, "window": 7, "level": 3.5},
}
_PATCH = 96
_FORMATS = {".onnx": "onnx", ".ts": "torchscript", ".pt": "torchscript"}
_FEEDABLE = ("float32", "float16", "float64", "int32", "int64")


def init(
    model: Path | str,
    *,
    source: Modality | str | Sequence[Modality | str],
    target: Modality | str,
    into: Path | str = ".",
    id: str | None = None,
    title: str | None = None,
    version: str = "0.1.0",
    license: str = "NOASSERTION",
    citation: str = "",
    authors: str = "",
    anatomy: str = "any",
    context: int | None = None,
    outputs: int | None = None,
    patch: tuple[int, int, int] | None = None,
) -> Path:
    """Write a bundle around `model`, an .onnx, .ts or .pt file, into the new folder `into`/`id`; returns that folder.

    `source` is one modality, or several for a network that takes several scans at once. What the graph says is used: four
    axes mean slices, with as many slices in as it has channels; five mean patches, of its fixed size or 96 voxels.
    `context` (slices in), `outputs` (slices out) and `patch` (voxels) say it where the graph does not, as in TorchScript.
    Values go in and come out as they are: the operations are the author's to add. The result passes `check` without
    errors.

    Raises ConversionError for a network that cannot be described so, a bad id, or a folder that exists. Raises ValueError
    for an unknown modality.
    """
    model, target = Path(model), Modality.parse(target)
    sources = [Modality.parse(name) for name in ([source] if isinstance(source, str) else source)]
    if not model.is_file():
        raise ConversionError(f"There is no file {model}.")
    joined = "-".join(sources)
    id = id or re.sub(r"[^a-z0-9._-]+", "-", f"{joined}-to-{target}-{model.stem}".lower())[:64]
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", id):
        raise ConversionError(f"{id!r} is no id. Use lower-case letters, digits, '.', '_' and '-', 64 at most.")
    network = _look_at(model, sources, context, outputs, patch)
    folder = Path(into) / id
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConversionError(f"{folder} exists already. Choose another id, or remove it.") from None
    try:
        fields = {
            "schema_version": "1.0",
            "id": id,
            "title": title or f"{', '.join(sources)} to {target}",
            "version": version,
            "license": license,
            "citation": citation,
            "intended_use": "research",
            "weights": [_copied(model, folder, network.format)],
            "sources": [{"modality": name, "anatomy": anatomy, "value_range": None} for name in sources],
            "targets": {target: {**_TARGETS.get(target, _MR), "dtype": "float32"}},
            "ops": network.ops,
            "inputs": network.inputs,
            "sampler": network.sampler,
            "fusion": "gaussian" if network.sampler["kind"] == "patch" else "mean",
            "output": {"channel": 0, "ops": []},
        }
        _write_json(folder / "configs" / "conversion.json", fields)
        _write_json(folder / "configs" / "metadata.json", _metadata(fields, authors or "not stated"))
        _write(folder / "docs" / "README.md", _card(fields, authors))
        errors = [fault for fault in check(folder) if fault.severity == "error"]
        if errors:
            raise ConversionError(f"{model} does not fit this format: {errors[0].what}; {errors[0].remedy}.")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


# --- what the graph says ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Network:
    """What is fed to the network, as sections of the declaration."""

    format: str
    sampler: dict[str, Any]
    inputs: list[dict[str, Any]]
    ops: list[dict[str, Any]] = field(default_factory=list)


def _look_at(
    model: Path,
    sources: Sequence[Modality],
    context: int | None,
    outputs: int | None,
    patch: tuple[int, int, int] | None,
) -> _Network:
    format = _FORMATS.get(model.suffix.lower())
    if format is None:
        raise ConversionError(f"{model} is neither ONNX (.onnx) nor TorchScript (.ts, .pt). Export the network as one.")
    if format == "torchscript":  # not opened: its content is only known by running it
        sampler = _patches(patch) if patch else _slices(context or 1, outputs or 1, 8)
        modalities = sources if len(sources) > 1 else [None]
        return _Network(format, sampler, [{"name": None, "role": "image", "modality": name} for name in modalities])
    from .backends.onnx import describe

    graph = describe(model)
    images = [tensor for tensor in graph.inputs if len(tensor.shape or ()) in (4, 5)]
    if not images:
        shapes = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in graph.inputs)
        raise ConversionError(
            f"No input of {model} takes a picture: that has 4 axes (batch, slices, height, width) or 5 (batch, channels "
            f"and three sizes), but there is {shapes}. Export a network with one of these."
        )
    inputs = [entry for tensor in graph.inputs for entry in _entries(tensor, images, sources)]
    batch = 8 if all(entry["role"] == "image" for entry in inputs) else 1
    shape = images[0].shape or ()
    if len(shape) == 5:
        return _Network(format, _patches(patch or tuple(n or _PATCH for n in shape[2:])), inputs)
    joined = len(sources) if len(images) == 1 else 1
    channels = context or (shape[1] or joined) // joined
    made = graph.outputs[0].shape
    sampler = _slices(channels, outputs or _guess_outputs(channels, made), batch)
    fixed = [n for n in shape[2:] if n is not None]
    ops = [{"op": "resize", "stage": "tile", "size": fixed, "interpolation": "linear"}] if len(fixed) == 2 else []
    return _Network(format, sampler, inputs, ops)


def _entries(tensor: Tensor, images: Sequence[Tensor], sources: Sequence[Modality]) -> list[dict[str, Any]]:
    """What is declared for one input of the graph."""
    if tensor.dtype not in _FEEDABLE:
        raise ConversionError(f"The input {tensor.name} takes {tensor.dtype}. Export the network with float32 inputs.")
    entry = {"name": tensor.name, "dtype": tensor.dtype}
    if tensor not in images:
        shape = [n or 1 for n in tensor.shape or ()]
        return [{**entry, "role": "constant", "value": 0, "shape": shape or None}]
    if len(images) not in (1, len(sources)):
        names = ", ".join(image.name for image in images)
        raise ConversionError(
            f"The network takes {len(images)} pictures ({names}). Name a source for each, in that order."
        )
    taken = sources if len(images) == 1 else [sources[images.index(tensor)]]
    channels = (tensor.shape or ())[1]
    is_patch = len(tensor.shape or ()) == 5
    if channels is not None and (channels != len(taken) if is_patch else channels % len(taken)):
        raise ConversionError(
            f"The input {tensor.name} has {channels} channels, which {len(taken)} scans do not fill. Name a source for each "
            "scan that goes in."
        )
    if len(sources) == 1:
        return [{**entry, "role": "image"}]
    return [{**entry, "role": "image", "modality": name} for name in taken]


def _guess_outputs(context: int, shape: Sequence[int | None] | None) -> int:
    """Slices out. A fifth axis holds them; else an odd number of channels, above one, in a network with neighbours."""
    if shape is None or len(shape) not in (4, 5):
        return 1
    made = (shape[2] if len(shape) == 5 else shape[1]) or 1
    return made if made <= context and made % 2 == context % 2 else 1


def _patches(size: Sequence[int]) -> dict[str, Any]:
    return {"kind": "patch", "size": list(size), "overlap": 0.25, "batch": 1}


def _slices(context: int, outputs: int, batch: int) -> dict[str, Any]:
    if outputs > context or (context - outputs) % 2:
        raise ConversionError(
            f"A network with {context} slices in and {outputs} out has no middle: the difference must be even. Where the "
            "channels are several scans, name a source for each; else say how many slices go in and come out."
        )
    kind = "slice" if outputs == 1 else "slab"
    return {"kind": kind, "axes": [0], "context": context, "outputs": outputs, "batch": batch}


# --- what is written --------------------------------------------------------------------------------------------------


def _copied(model: Path, folder: Path, format: str) -> dict[str, Any]:
    path = folder / "models" / ("model.onnx" if format == "onnx" else "model.ts")
    path.parent.mkdir()
    shutil.copyfile(model, path)
    size, digest = path.stat().st_size, sha256_of(path)
    return {"path": f"models/{path.name}", "format": format, "sha256": digest, "size": size, "url": None}


def _metadata(fields: dict[str, Any], authors: str) -> dict[str, Any]:
    """MONAI's keys. What the network was made with is not in the file, so it is not stated."""
    (target,) = fields["targets"]
    sampler = fields["sampler"]
    is_patch = sampler["kind"] == "patch"
    image = {"type": "image", "format": "magnitude", "is_patch_data": is_patch, "dtype": "float32"}
    size = sampler["size"] if is_patch else ["*", "*"]
    modalities = ", ".join(source["modality"] for source in fields["sources"])
    return {
        "version": fields["version"],
        "monai_version": "not stated",
        "pytorch_version": "not stated",
        "numpy_version": "not stated",
        "required_packages_version": {},
        "task": f"Conversion of {modalities} to {target}",
        "description": f"A network that converts {modalities} to {target}.",
        "authors": authors,
        "copyright": "not stated" if authors == "not stated" else f"Copyright {authors}",
        "intended_use": fields["intended_use"],
        "network_data_format": {
            "inputs": {"image": {**image, "modality": modalities, "spatial_shape": size}},
            "outputs": {"pred": {**image, "modality": target, "spatial_shape": size}},
        },
    }


def _card(fields: dict[str, Any], authors: str) -> str:
    """The model card: what is known, and for the rest who has to say it."""
    (target,) = fields["targets"]
    about, sampler, (weights,) = fields["targets"][target], fields["sampler"], fields["weights"]
    sources = ", ".join(source["modality"] for source in fields["sources"])
    if sampler["kind"] == "patch":
        tiles = f"patches of {' x '.join(map(str, sampler['size']))} voxels, a quarter overlapping"
    else:
        tiles = f"slices along the first axis, {sampler['context']} in and {sampler['outputs']} out"

    def blank(what: str) -> str:
        return f"*{CARD_BLANK} {what}.*"

    license = fields["license"]
    return f"""# {fields["title"]}

Converts {sources} to {target}. The result is synthetic and not for diagnosis.

## What it is

- Version {fields["version"]}, by {authors or blank("who made it")}
- Network: {weights["format"]}, {weights["size"]} bytes, SHA-256 `{weights["sha256"]}`
- Goes in: {sources}, anatomy: {fields["sources"][0]["anatomy"]}; {tiles}
- Comes out: {target} in {about["units"]} units, background {about["background"]}

## Licence and citation

- Licence of the weights: {blank("an SPDX name") if license == "NOASSERTION" else license}
- Citation: {fields["citation"] or blank("how to cite it")}

## Data

{blank("which scans it was trained on: how many, from where, which scanners and sequences, under which terms")}

## Intended use

Research. {blank("for which question, which anatomy and which patients it was made")}

## Limits

{blank("where it fails or was never tried: lesions, implants, children, contrast agent, other scanners, field of view")}

## Measured quality

{blank("which metric, on which data, how many cases, by which protocol; none if it was not measured")}
"""


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
