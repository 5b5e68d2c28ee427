"""`modality-conversion devices`: where a conversion can run here, and why not elsewhere."""

from __future__ import annotations

import dataclasses
import json

import typer

from . import options
from .console import ended_with_parent


def devices(as_json: options.AsJson = False, stop_with_parent: options.StopWithParent = False) -> None:
    """List the devices, and why one is not available."""
    from ..devices import list_devices

    with ended_with_parent(stop_with_parent):
        found = list_devices()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(device) for device in found], indent=2))
        return
    for device in found:
        state = device.description if device.available else "not available"
        typer.echo(f"{device.name:8} {'. '.join(filter(None, (state, device.reason)))}")
