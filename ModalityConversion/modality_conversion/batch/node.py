"""What one case costs on a node of a cluster: is the node fit for it, then as any worker does it."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConversionError
from ..version import __version__
from .workers import THREADS, Answer

_PENALTY_S = 5.0


def convert_case(request: Mapping[str, Any], cores: int) -> Answer:
    """Convert one case with so many cores. Never raises; an answer with `unfit` says why this node can convert none.

    A node that is not fit takes its time to say so: it must not be the quickest to ask for the next case.
    """
    from .worker import answer

    reason = _unfit(request)
    if reason is not None:
        time.sleep(_PENALTY_S)
        return {"unfit": f"The node {socket.gethostname()} cannot convert: {reason}"}
    _share_threads(cores)
    return answer(request, lambda: False)


def _unfit(request: Mapping[str, Any]) -> str | None:
    if request["engine_version"] != __version__:
        return (
            f"it has version {__version__} of modality-conversion, the machine that gives out the work "
            f"{request['engine_version']}. Install the same on all."
        )
    if not Path(request["folder"]).is_dir():
        return f"it does not see {request['folder']}. The output folder must be on a file system that all nodes share."
    models_dirs = tuple(request["models_dirs"])
    try:
        _check_model(models_dirs, request["model"], request["model_sha256"], request["device"])
    except ConversionError as error:
        return " ".join(str(error).split())
    return None


@functools.cache
def _check_model(models_dirs: tuple[str, ...], model: str, sha256: str, device: str) -> None:
    """Once a process. Raises ConversionError, each time anew."""
    from .. import devices
    from ..catalog import Catalog

    bundle = Catalog(tuple(map(Path, models_dirs))).get(model)
    if bundle.hash != sha256:
        raise ConversionError(
            f"its model {model} is another one than that of the machine that gives out the work. "
            "Install the same on all, or name a shared folder with --models-dir."
        )
    devices.choose(device, bundle.spec.weights[0].format, [])


def _share_threads(cores: int) -> None:
    """The first case in a process decides; the libraries ask only once."""
    for name in THREADS:
        os.environ[name] = str(cores)
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(cores)
