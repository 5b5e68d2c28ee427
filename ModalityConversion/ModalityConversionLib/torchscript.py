"""TorchScript models need torch, which comes through the PyTorch extension; nothing else here does."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from .i18n import tr as _


def needs_torch(model: Path) -> bool:
    """Whether any weight file of a model folder is TorchScript."""
    try:
        fields = json.loads((model / "configs" / "conversion.json").read_text(encoding="utf-8-sig"))
        return any(entry.get("format") == "torchscript" for entry in fields.get("weights", []))
    except (OSError, ValueError, AttributeError):
        return False


def what_is_missing() -> str | None:
    """What the user has to do before a TorchScript model runs; None if torch is there."""
    if importlib.util.find_spec("torch") is not None:
        return None
    return _(
        "This model is TorchScript and needs torch. Install the PyTorch extension (Extensions Manager), open its module "
        "PyTorch Util and install torch there. The ONNX models need none of that."
    )
