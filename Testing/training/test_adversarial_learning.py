"""Reduced adversarial recipes learn something in less than three minutes each on two cores. Set MODALITY_SLOW=1 to run them.

Ruled by steps and not by the clock, so that a busy machine takes longer and comes to the same end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from small_runs import rows, small_loop, small_recipe
from training.loop import train

SLOW = pytest.mark.skipif(not os.environ.get("MODALITY_SLOW"), reason="takes minutes; set MODALITY_SLOW=1")
SLABS = {"crop": [64, 64], "batch": 4, "workers": 0}
REDUCED: dict[str, tuple[int, float, dict[str, Any]]] = {
    "pix2pix": (
        700,
        1e-3,
        {
            "generator": {"features": 16, "depth": 5},
            "discriminator": {"features": 16, "layers": 2},
            "slabs": SLABS,
        },
    ),
    "cycle_gan": (
        700,
        1e-3,
        {
            "resnet": {"features": 12, "blocks": 3},
            "discriminator": {"features": 12, "layers": 2},
            "slabs": SLABS,
        },
    ),
    "star_gan": (
        1800,
        1e-3,
        {
            "generator": {"features": 12, "blocks": 2},
            "critic": {"features": 12, "layers": 4},
            "critic_steps": 2,
            "slabs": SLABS | {"batch": 8},
        },
    ),
    "content_style": (
        900,
        1e-3,
        {
            "network": {"features": 8, "blocks": 1, "hidden": 32, "style": 2},
            "discriminator": {"features": 12, "layers": 2},
            "style": 0.1,
            "slabs": SLABS,
        },
    ),
}
LEAST_GAIN = {"pix2pix": 5.0, "cycle_gan": 0.3, "star_gan": 1.0, "content_style": 1.0}
"""dB above the untrained network and above the source itself. Without pairs that is little: no one tells them the contrast."""


@SLOW
@pytest.mark.parametrize("name", sorted(REDUCED))
def test_a_reduced_recipe_beats_its_untrained_self_and_the_source_itself(
    simulated: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    steps, rate, options = REDUCED[name]
    recipe = small_recipe(name, *simulated, **options)
    settings = small_loop(steps, learning_rate=rate, falling="linear", average=0.95, choose="psnr", choose_highest=True)
    train(recipe, settings, tmp_path)
    before, after = rows(tmp_path / "validation.csv")
    told = f"{name}: {before} -> {after}"
    assert float(after["psnr"]) > float(before["psnr"]) + LEAST_GAIN[name], told
    assert float(after["psnr"]) > float(after["source_psnr"]) + LEAST_GAIN[name], told
