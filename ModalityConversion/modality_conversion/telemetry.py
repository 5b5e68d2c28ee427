"""No reports to anybody: from 1.29 on, onnxruntime tells its maker of each process and model, unless told not to before it
is imported (ORT_DISABLE_TELEMETRY, microsoft/onnxruntime pull request 27379)."""

from __future__ import annotations

import os
from typing import Any


def forbid() -> None:
    """For this process and those that it starts. Comes too late where a host has imported onnxruntime before."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def stop(onnxruntime: Any) -> None:
    """What can still be stopped in the imported module: on Windows, where the variable is not asked."""
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
