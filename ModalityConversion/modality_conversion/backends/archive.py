"""What a TorchScript archive may hold: refused before torch sees it, unless it is arithmetic and nothing else.

Loading an archive runs no Python. But TorchScript is a language of its own: `torch.save` in a network writes any file
when the network runs, or as soon as it is loaded from a `__setstate__`, and `torch.from_file` reads one (tried with
torch 2.13). A model is data here, so its code is searched for every way out of arithmetic. What looks suspicious is
refused.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ..errors import ConversionError

# Whole words, in strings too. `getattr(layers, "0")` is how torch writes a Sequential; otherwise it could spell any word.
# Operators outside of `prim` and `quantized` are not torch's own.
_FORBIDDEN = re.compile(
    r'\b(save|from_file|load_tensor)\b|\bgetattr\b(?!\([\w.]+, "\w+"\))'
    r"|\bops\.(?!prim\.|quantized\.)\w+|\bclasses\.(?!quantized\b)\w+"
)
_FORBIDDEN_CLASSES = re.compile(rb"torch\.classes\.(?!quantized\b)\w+")


def check_archive(path: Path) -> None:
    """Raise ConversionError unless `path` is a TorchScript archive whose code does nothing but arithmetic."""
    try:
        with path.open("rb") as file:
            # torch looks at the first bytes and would take a file of another kind with an archive at its end.
            if file.read(4) != b"PK\x03\x04":
                raise ConversionError(_no_archive(path))
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names) or not any(name.endswith("/constants.pkl") for name in names):
                raise ConversionError(_no_archive(path))
            for name in names:
                found = _suspicious(name, archive)
                if found:
                    raise ConversionError(
                        f"{path} is refused: its code uses `{found}`, which can do more than arithmetic. "
                        "Export the network without it, or as ONNX."
                    )
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}. Install the model again.") from error
    except (zipfile.BadZipFile, UnicodeDecodeError, EOFError) as error:
        raise ConversionError(f"{path} is damaged: {error}. Install the model again.") from error


def _suspicious(name: str, archive: zipfile.ZipFile) -> str | None:
    if name.endswith("/model.json"):
        return "the archive format of torch 1.0"
    if name.endswith(".py"):
        match = _FORBIDDEN.search(archive.read(name).decode("utf-8"))
        return match[0] if match else None
    if name.endswith(".pkl"):
        found = _FORBIDDEN_CLASSES.search(archive.read(name))
        return found[0].decode() if found else None
    return None


def _no_archive(path: Path) -> str:
    return (
        f"{path} is no TorchScript archive. A pickled network or a state dict is code and is never loaded: "
        "save torch.jit.trace(network, example) instead, or export to ONNX."
    )
