"""What every recipe declares alike: the grid, the scales, the targets."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modality_conversion.modality import Modality
from training.data.scale import CT_RANGE, TARGET_SCALE, declared_ops

_DISPLAY = {
    Modality.CT: (400, 40),
    Modality.T1: (1000, 500),
    Modality.T1CE: (1000, 500),
    Modality.T2: (900, 450),
    Modality.FLAIR: (900, 450),
    Modality.PD: (1000, 500),
}
"""Window and level in output units."""


def floor(target: Modality) -> float:
    """The lowest value that a target can have, on the network's output scale."""
    return CT_RANGE[0] / TARGET_SCALE[target] if target is Modality.CT else 0.0


def targets(modalities: Sequence[Modality]) -> dict[str, Any]:
    """`targets` of `conversion.json`. Scanners write int16, which packs four times smaller than a network's floats."""
    found = {}
    for modality in modalities:
        window, level = _DISPLAY[modality]
        is_ct = modality is Modality.CT
        found[str(modality)] = {
            "units": "HU" if is_ct else "arbitrary",
            "background": -1024 if is_ct else 0,
            "window": window,
            "level": level,
            "dtype": "int16",
        }
    return found


def _output_ops(modalities: Sequence[Modality]) -> list[dict[str, Any]]:
    """From the network's output scale to units; targets of one scale share an operation."""
    by_scale: dict[float, list[str]] = {}
    for modality in modalities:
        by_scale.setdefault(TARGET_SCALE[modality], []).append(str(modality))
    several = len(by_scale) > 1
    return [
        {"op": "linear", "scale": scale} | ({"modalities": names} if several else {})
        for scale, names in by_scale.items()
    ]


def before_padding(ops: list[dict[str, Any]], sources: Sequence[Modality]) -> list[dict[str, Any]]:
    """A CT's operations moved to the stored grid, so that what is padded with 0 later is air, not water."""
    in_hu = [str(Modality.CT)]
    alone = list(sources) == [Modality.CT]
    return sorted(
        (op | {"stage": "native"} if alone or op.get("modalities") == in_hu else op for op in ops),
        key=lambda op: ("native", "grid", "tile").index(op["stage"]),
    )


def padded(multiple: list[int | None] | None) -> dict[str, Any]:
    """The part of `geometry` that pads, with each scan's own air, which need not be 0."""
    return {"pad_multiple": multiple, "pad_value": "background"} if multiple else {}


def declaration(
    sources: Sequence[Modality],
    asked: Sequence[Modality],
    inputs: list[dict[str, Any]],
    sampler: dict[str, Any],
    *,
    pad_multiple: list[int | None] | None = None,
    fusion: str = "mean",
    uncertainty: bool = True,
) -> dict[str, Any]:
    """The part of `conversion.json` that says how the engine feeds the network: 1 mm, RAS, arrays (z, y, x).

    `uncertainty`: the network's output channels are means, then as many log-variances; else means alone.
    """
    geometry: dict[str, Any] = {"axcodes": "RAS", "array_order": "kji", "spacing": [1, 1, 1], "interpolation": "linear"}
    return {
        "sources": [{"modality": str(modality), "anatomy": "head"} for modality in sources],
        "targets": targets(asked),
        "geometry": geometry | padded(pad_multiple),
        "ops": before_padding(declared_ops(sources), sources),
        "inputs": inputs,
        "sampler": sampler,
        "fusion": fusion,
        "output": {
            "channel": 0,
            "ops": _output_ops(asked),
            **({"uncertainty": {"channel": 1, "kind": "log_variance"}} if uncertainty else {}),
        },
    }


def head_like(*shape: int) -> Tensor:
    """A smooth ball with waves, zeros around, (D, H, W): an input that a network can be compared with itself on."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1.2, 1.2, max(size, 2))[:size] for size in shape), indexing="ij")
    if shape[0] < 32:  # a slab through the middle
        z = z / 6
    radius = (x**2 + 0.7 * y**2 + z**2).sqrt()
    return (radius < 1) * (0.5 + 0.3 * torch.cos(9 * radius) + 0.1 * torch.sin(12 * x + 5 * z))
