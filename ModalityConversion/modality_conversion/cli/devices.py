"""`modality-conversion devices`: where a conversion can run here, and why not elsewhere."""

from __future__ import annotations

import dataclasses
import json

import typer

from . import options


def devices(as_json: options.AsJson = False) -> None:
    """List the devices, and why one is not available."""
    from ..devices import list_devices

    found = list_devices()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(device) for device in found], indent=2))
        return
    for device in found:
        state = device.description if device.available else "not available"
        typer.echo(f"{device.name:8} {'. '.join(filter(None, (state, device.reason)))}")
