"""Models without training: networks that are a formula, in the clothes of a recipe, and heads that they are right about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modality_conversion.bundle import Bundle
from modality_conversion.modality import Modality
from training.data.cases import write_case
from training.data.regions import Region
from training.data.scale import normalise_source
from training.export.bundle import Model, write_bundle
from training.export.settings import ExportSettings
from training.recipes.declared import declaration

SIDE = 64
ABOUT = {"step": 10.0, "minutes": 1.0}
LESIONS = ((20, 32, 24), (44, 32, 24), (32, 44, 40))
"""Centres, (z, y, x), of balls of 4 mm radius, 0.26 mL each; in white matter."""


class Formula(nn.Module):
    """The middle slices times `scale` plus `offset`, blurred in plane `blur` times; the log-variance is -4 everywhere."""

    def __init__(
        self, context: int = 3, outputs: int = 1, scale: float = 1.0, offset: float = 0.0, blur: int = 0
    ) -> None:
        super().__init__()
        self.context, self.outputs, self.blur = context, outputs, blur
        self.scale, self.offset = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(offset))

    def forward(self, slab: Tensor) -> Tensor:
        margin = (self.context - self.outputs) // 2
        image = slab[:, margin : margin + self.outputs]
        for _ in range(self.blur):
            image = nn.functional.avg_pool2d(image, 5, stride=1, padding=2)
        image = image * self.scale + self.offset
        return torch.cat([image, torch.zeros_like(image) - 4], 1)


class FormulaRecipe:
    """As much of a recipe as the export needs."""

    def __init__(self, network: nn.Module, source: Modality = Modality.T1, target: Modality = Modality.T2) -> None:
        self._network, self.source, self.target = network, source, target

    def network(self) -> nn.Module:
        return self._network

    def declaration(self) -> dict[str, Any]:
        net = self._network
        sampler = {"kind": "slab", "axes": [0], "context": net.context, "outputs": net.outputs}
        inputs = [{"name": "slab", "role": "image"}]
        return declaration([self.source], [self.target], inputs, sampler, pad_multiple=[None, 8, 8])

    def example(self, network: nn.Module) -> tuple[Tensor, ...]:
        return (torch.rand(1, network.context, 32, 40, generator=torch.Generator().manual_seed(0)),)

    def graph(self, network: nn.Module) -> nn.Module:
        return network


def settings(folder: Path, **changes: Any) -> ExportSettings:
    content = {
        "folder": folder,
        "title": f"Test model {folder.name}",
        "version": "0.0.1",
        "citation": "none",
        "authors": "Nobody",
        "datasets": [{"name": "Balls", "used": "All.", "license": "CC0-1.0", "citation": "none"}],
        "training": "Not at all.",
        "limits": ["Everything."],
        "torchscript": False,
    }
    return ExportSettings.model_validate(content | changes)


def formula_bundle(
    folder: Path, source: Modality = Modality.T1, target: Modality = Modality.T2, **formula: Any
) -> Bundle:
    """An exported formula."""
    network = Formula(**formula)
    write_bundle(Model(FormulaRecipe(network, source, target), network, ABOUT), settings(folder), {})
    return Bundle.load(folder)


def head_regions() -> np.ndarray:
    """Codes of `Region`, (z, y, x): soft tissue, skull, brain, three lesions."""
    z, y, x = (axis - SIDE / 2 for axis in np.ogrid[:SIDE, :SIDE, :SIDE])
    radius = np.sqrt(z**2 + y**2 + x**2)
    region = np.zeros((SIDE,) * 3, np.uint8)
    for limit, code in ((30, Region.HEAD), (27, Region.BONE), (24, Region.BRAIN)):
        region[radius < limit] = code
    for centre in LESIONS:
        region[ball(centre, 4)] = Region.LESION
    return region


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    z, y, x = (axis - c for axis, c in zip(np.ogrid[:SIDE, :SIDE, :SIDE], centre, strict=True))
    return z**2 + y**2 + x**2 <= radius**2


def head_values(seed: int = 0, *, lesion: float = 0.75, noise: float = 0.02) -> np.ndarray:
    """A T2-like head in [0, 1], (z, y, x): white 0.3, grey 0.45 in waves, a bright ventricle, lesions."""
    region = head_regions()
    z, y, x = (axis - SIDE / 2 for axis in np.ogrid[:SIDE, :SIDE, :SIDE])
    radius = np.sqrt(z**2 + y**2 + x**2)
    values = np.array([0.0, 0.5, 0.3, lesion, 0.05, 0.6])[region]
    values[(region == Region.BRAIN) & (radius + 2 * np.sin(x / 2.5) * np.cos(y / 3) > 19)] = 0.45
    values[radius < 5] = 0.95
    values += np.random.default_rng(seed).normal(0, noise, values.shape) * (region > 0)
    return np.clip(values, 0, 1)


def write_formula_heads(folder: Path, count: int = 3, origin: str = "simulated") -> Path:
    """Cases whose T2 is a little noisier than the T1 from head to head, and whose CT is the T1 minus 0.5 (HU / 1000)."""
    for number in range(count):
        values = normalise_source(head_values(number), Modality.T1)
        noisy = values + np.random.default_rng(99 + number).normal(0, 0.01 + 0.03 * number, values.shape)
        targets = {Modality.T2: np.clip(noisy, 0, 1) * (head_regions() > 0), Modality.CT: values - 0.5}
        about = {"person": f"head {number}", "origin": origin}
        write_case(folder / f"head_{number}", {Modality.T1: values}, targets, head_regions(), about)
    return folder
