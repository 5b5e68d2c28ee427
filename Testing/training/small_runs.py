"""Small recipes and loops, for tests that train."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from training.recipes import make_recipe
from training.recipes.base import Recipe
from training.schedule import LoopSettings

SMALL: dict[str, dict[str, Any]] = {
    "slab_regression": {
        "network": {"context": 5, "outputs": 3, "features": [8, 8, 8, 8, 8, 8], "detail": 4, "head": 8},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "conditional": {
        "network": {"context": 5, "outputs": 3, "features": [16, 16, 16], "blocks": [1, 1, 1]},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "properties": {
        "network": {"context": 5, "outputs": 3, "features": [16, 16, 16], "blocks": [1, 1, 1]},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "conditional_volume": {
        "network": {"features": [8, 8, 16, 16], "groups": 4, "size": [32, 32, 32]},
        "patches": {"batch": 2, "workers": 0},
    },
    "pix2pix": {
        "generator": {"features": 8, "depth": 4},
        "discriminator": {"features": 8, "layers": 2},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "cycle_gan": {
        "resnet": {"features": 8, "blocks": 2},
        "discriminator": {"features": 8, "layers": 2},
        "pool": 3,
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "star_gan": {
        "generator": {"features": 8, "blocks": 1},
        "critic": {"features": 4, "layers": 4},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "content_style": {
        "network": {"features": 8, "blocks": 1, "hidden": 16},
        "discriminator": {"features": 8, "layers": 2},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "flow_refiner": {
        "network": {"context": 5, "outputs": 3, "features": [8, 8, 8, 8, 8, 8], "detail": 4, "head": 8},
        "flow": {"features": [8, 8, 8, 8, 8, 8]},
        "slabs": {"crop": [64, 64], "batch": 2, "workers": 0},
    },
    "volume_regression": {
        "network": {"features": [8, 8, 8, 8, 8, 8], "size": [32, 32, 32]},
        "patches": {"batch": 2, "workers": 0},
    },
}


def small_recipe(name: str, folder: Path, held_out: Path | None = None, **options: Any) -> Recipe:
    """A recipe that trains on the cases of a folder, and is validated on those of another, or of the same."""
    calm = {"augmentation": {"calm": 1.0}}
    pools = {"simulated": {"folder": str(folder)} | calm, "held_out": {"folder": str(held_out or folder)} | calm}
    common = {"pools": pools, "validation": "held_out", "validation_batches": 2}
    return make_recipe(name, common | SMALL[name] | options)


def small_loop(steps: int, **changes: Any) -> LoopSettings:
    """Ruled by steps, in full precision, on the CPU; one epoch."""
    common = {
        "steps": steps,
        "minutes": None,
        "checkpoint_minutes": None,
        "learning_rate": 5e-3,
        "log_steps": 5,
        "precision": "32-true",
        "accelerator": "cpu",
        "stages": [{"until": 1, "mix": {"simulated": 1}}],
    }
    return LoopSettings.model_validate(common | changes)


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
