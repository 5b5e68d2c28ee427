"""Bundle folders for tests: whole and right unless the test asks for a fault.

>>> write_bundle(tmp_path / "copy")                                     # T1 -> T2, a graph that returns its input
>>> write_bundle(tmp_path / "soft", graphs.blur, fusion="median")       # a graph from a function of a path
>>> write_bundle(tmp_path / "two", [first, second])                     # an ensemble, from a list
>>> write_bundle(tmp_path / "bad", license=LEFT_OUT)                    # conversion.json without `license`
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LEFT_OUT = object()
"""As the value of a field: write the file without it."""

Graph = Path | Callable[[Path], Any]
"""An existing file, which is copied, or a function that writes one to the path it is given."""

METADATA: dict[str, Any] = {
    "version": "1.0.0",
    "monai_version": "1.6.0",
    "pytorch_version": "2.6.0",
    "numpy_version": "2.0.0",
    "required_packages_version": {},
    "task": "Conversion of T1 to T2",
    "description": "A bundle made for a test.",
    "authors": "ModalityConversion",
    "copyright": "Copyright the ModalityConversion authors",
    "network_data_format": {"inputs": {}, "outputs": {}},
}

CARD = "# A test model\n\nReturns its input. Made for a test; of no other use.\n"


def identity(path: Path) -> None:
    """A network that returns its input, float32 (batch, 1, H, W), every size free."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 1, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["result"])],
        "identity",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def weights_entry(path: Path, folder: Path) -> dict[str, Any]:
    """What `weights[]` says of a file in a bundle folder: its path, format, true hash and true size."""
    return {
        "path": path.relative_to(folder).as_posix(),
        "format": "torchscript" if path.suffix == ".ts" else "onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size": path.stat().st_size,
        "url": None,
    }


def spec_fields(id: str = "t1-to-t2-copy", **overrides: Any) -> dict[str, Any]:
    """The required fields of a T1 -> T2 `conversion.json`, without weights; `overrides` replace or add keys."""
    fields = {
        "schema_version": "1.0",
        "id": id,
        "title": "T1 to T2, for tests",
        "version": "1.0.0",
        "license": "CC0-1.0",
        "citation": "None.",
        "intended_use": "tests",
        "sources": [{"modality": "T1", "anatomy": "head", "value_range": None}],
        "targets": {"T2": {"units": "arbitrary", "background": 0.0, "window": 1.0, "level": 0.5, "dtype": "float32"}},
        **overrides,
    }
    return {key: value for key, value in fields.items() if value is not LEFT_OUT}


def write_bundle(
    folder: Path,
    graph: Graph | Sequence[Graph] = identity,
    *,
    metadata: Mapping[str, Any] | None = None,
    card: str | None = CARD,
    golden: Mapping[str, np.ndarray] | None = None,
    suffix: str = ".onnx",
    **overrides: Any,
) -> Path:
    """Write a bundle into `folder`, whose name is its id, and return the folder.

    `overrides` are top-level keys of `conversion.json` (`LEFT_OUT` removes one); `metadata` replaces keys of
    `metadata.json` in the same way; `card=None` writes no model card; `golden` is the content of `tests/golden.npz`.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    graphs = list(graph) if isinstance(graph, Sequence) else [graph]
    weights = []
    for number, one in enumerate(graphs):
        ending = one.suffix if isinstance(one, Path) else suffix
        path = folder / "models" / (f"model{ending}" if len(graphs) == 1 else f"model-{number}{ending}")
        if isinstance(one, Path):
            shutil.copyfile(one, path)
        else:
            one(path)
        weights.append(weights_entry(path, folder))
    write_json(
        folder / "configs" / "conversion.json", spec_fields(**{"id": folder.name, "weights": weights, **overrides})
    )
    values = {**METADATA, **(metadata or {})}
    write_json(folder / "configs" / "metadata.json", {k: v for k, v in values.items() if v is not LEFT_OUT})
    if card is not None:
        (folder / "docs" / "README.md").write_text(card, encoding="utf-8")
    if golden is not None:
        (folder / "tests").mkdir(exist_ok=True)
        np.savez_compressed(folder / "tests" / "golden.npz", **golden)
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write JSON as a person would, indented."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def edit_spec(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Let `change` alter the fields of a bundle's `conversion.json` in place; returns the file's path."""
    path = folder / "configs" / "conversion.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    change(fields)
    write_json(path, fields)
    return path
