"""A model written for NVIDIA Triton: a folder for each weight file, with its configuration.

After Triton's pages "Model Repository" and "Model Configuration". Triton's onnxruntime backend runs the file as it is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .backends import Tensor
from .backends.address import served_name, served_version
from .backends.remote import MODEL_VERSION, SHA256, TYPES
from .backends.wire import external_files
from .bundle import Bundle
from .errors import ConversionError
from .report import NOTICE

CONFIG, FILE = "config.pbtxt", "model.onnx"
_MARK = "# Written by ModalityConversion."
# The protocol's names of types, but for text, are those of the configuration without their prefix.
_TYPE = {numpy_name: f"TYPE_{name}" for name, numpy_name in TYPES.items()}


@dataclass(frozen=True)
class Service:
    """How a server shall run the model."""

    largest_batch: int | None = None
    """Tiles that the server joins into one run; None: four times the model's own batch."""
    queue_delay_us: int = 2000
    """How long a request may wait for others to be joined with."""
    name: str | None = None
    """The name on the server; None: the model's id."""


def write_repository(bundle: Bundle, repository: Path, service: Service = Service()) -> list[Path]:
    """Write a bundle's networks into a Triton model repository; a model of the same name, written so, is replaced whole.

    Returns the folders written. Raises ConversionError: a folder that is missing or not ours, weights that Triton's
    onnxruntime backend cannot run.
    """
    from .backends.onnx import describe

    bundle.verify_weights()
    if not repository.is_dir():
        raise ConversionError(
            f"{repository} is no folder. Make it first; it is what Triton gets as --model-repository."
        )
    count = len(bundle.spec.weights)
    names = [served_name(service.name or bundle.spec.id, number, count) for number in range(count)]
    for name, path in zip(names, bundle.weight_paths):
        _check(bundle, path, repository / name)
    folders = []
    for name, path, declared in zip(names, bundle.weight_paths, bundle.spec.weights):
        graph = describe(path)
        text = _config(name, bundle, declared.sha256, graph.inputs, graph.outputs, service)
        folders.append(_write(repository / name, path, str(served_version(declared.sha256)), text))
    return folders


def _check(bundle: Bundle, path: Path, folder: Path) -> None:
    if path.suffix != ".onnx":
        raise ConversionError(
            f"{path.name} of {bundle.spec.id} is no ONNX file, and only those are served. Export it as ONNX."
        )
    if external_files(path):
        raise ConversionError(
            f"{path.name} of {bundle.spec.id} keeps weights in further files, whose content nothing vouches for. "
            "Export the network with its weights inside."
        )
    if folder.exists() and not _is_ours(folder):
        raise ConversionError(
            f"{folder} is there and was not written by this command. Choose another --name or folder."
        )


def _is_ours(folder: Path) -> bool:
    try:
        return (folder / CONFIG).read_text(encoding="utf-8").startswith(_MARK)
    except (OSError, ValueError):
        return False


def _write(folder: Path, network: Path, version: str, config: str) -> Path:
    """Beside its place, then renamed."""
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            beside.chmod(0o755)  # Triton runs as another user
            (beside / version).mkdir()
            shutil.copyfile(network, beside / version / FILE)
            (beside / CONFIG).write_text(config, encoding="utf-8")
            if folder.exists():
                folder.rename(beside / "old")
            # The old one goes with what is left of the new one's folder.
            new = folder.with_name(f"{beside.name}-new")
            new.mkdir(mode=0o755)
            for part in (version, CONFIG):
                (beside / part).rename(new / part)
            new.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise ConversionError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return folder


def _config(
    name: str, bundle: Bundle, sha256: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], service: Service
) -> str:
    """`config.pbtxt`, in protobuf's text format."""
    spec = bundle.spec
    joins = _can_join(bundle, (*inputs, *outputs))
    largest = (service.largest_batch or 4 * spec.sampler.batch) if joins else 0
    parameters = {
        SHA256: sha256,
        "model_id": spec.id,
        MODEL_VERSION: spec.version,
        "model_sha256": bundle.hash,
        "license": spec.license,
        "notice": f"Makes synthetic images. {NOTICE}",
    }
    lines = [
        f"{_MARK} {spec.title}. What it makes is not for diagnosis.",
        f"name: {_text(name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {_text(FILE)}",
        f"max_batch_size: {largest}",
        *(_tensor("input", tensor, joins) for tensor in inputs),
        *(_tensor("output", tensor, joins) for tensor in outputs),
        "# One version alone, whose number is the start of its SHA-256: another network never answers in its name.",
        f"version_policy {{ specific {{ versions: [ {served_version(sha256)} ] }} }}",
    ]
    if joins:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {service.queue_delay_us} }}")
    lines += [
        "# As the engine itself runs it on a card: the same algorithm each time, and float32 without TF32.",
        "optimization { execution_accelerators { gpu_execution_accelerator: [ {",
        '  name: "cuda"',
        '  parameters { key: "cudnn_conv_algo_search" value: "HEURISTIC" }',
        '  parameters { key: "use_tf32" value: "0" }',
        "} ] } }",
    ]
    lines += [
        f"parameters {{ key: {_text(key)} value {{ string_value: {_text(value)} }} }}"
        for key, value in parameters.items()
    ]
    return "\n".join(lines) + "\n"


def _can_join(bundle: Bundle, tensors: Sequence[Tensor]) -> bool:
    """Whether requests can be joined into one run: every input and output has an open first axis, for tiles."""
    has_constants = any(declared.role == "constant" for declared in bundle.spec.inputs)
    return not has_constants and all(tensor.shape and tensor.shape[0] is None for tensor in tensors)


def _tensor(kind: str, tensor: Tensor, joins: bool) -> str:
    if tensor.dtype not in _TYPE or tensor.shape is None:
        raise ConversionError(
            f"The network's {kind} {tensor.name} has the type {tensor.dtype}, which cannot be served."
        )
    shape = tensor.shape[1:] if joins else tensor.shape
    dims = ", ".join(str(-1 if size is None else size) for size in shape)
    return f"{kind} [ {{ name: {_text(tensor.name)} data_type: {_TYPE[tensor.dtype]} dims: [ {dims} ] }} ]"


def _text(words: str) -> str:
    """A string in protobuf's text format: octets outside of ASCII as they are in UTF-8, escaped."""
    escaped = "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else _escape(c) for c in words)
    return f'"{escaped}"'


def _escape(character: str) -> str:
    return "".join(f"\\{octet:03o}" for octet in character.encode("utf-8"))
