"""A stand-in for 3D Slicer's application, for tests: real MRML (PyPI's `slicer-core`) with Qt from PySide6.

It offers what Slicer's source offers, and raises where Slicer would fail, print or silently do nothing, since its task
is to catch calls that are wrong in Slicer. Classes named `q...` and `ctk...` have Slicer's members only; what begins
with an underscore is the stand-in's own.

    from slicer_standin import answers, check, fresh, install, load_module, longest_block, open_panel, wait_until
"""

from slicer_standin.dialogs import Question, UnansweredError, answers
from slicer_standin.event_loop import longest_block, process_events, wait_until
from slicer_standin.install import (
    NEWEST,
    check,
    close,
    fresh,
    install,
    load_module,
    open_panel,
    qt_messages,
    quit_slicer,
)
from slicer_standin.packaging import pip
from slicer_standin.pythonqt import errors

__all__ = [
    "NEWEST",
    "Question",
    "UnansweredError",
    "answers",
    "check",
    "close",
    "errors",
    "fresh",
    "install",
    "load_module",
    "longest_block",
    "open_panel",
    "pip",
    "process_events",
    "qt_messages",
    "quit_slicer",
    "wait_until",
]
