"""`slicer.i18n`: no language pack is installed, so a text is its own translation. Slicer: Base/Python/slicer/i18n.py."""

from __future__ import annotations

import inspect
from pathlib import Path

asked: list[tuple[str, str]] = []  # (context, text) of every call, for tests


def translate(context: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"translate takes a text, not {text!r}")
    asked.append((context, text))
    return text


def getContext(sourceFile: str) -> str:
    path = Path(sourceFile)
    stem = path.name.replace(".py", "")
    return f"{path.parent.name}.{stem}" if (path.parent / "__init__.py").is_file() else stem


def tr(text: str) -> str:
    frame = inspect.currentframe()
    caller = frame.f_back if frame is not None else None
    return translate(getContext(caller.f_code.co_filename if caller is not None else ""), text)
