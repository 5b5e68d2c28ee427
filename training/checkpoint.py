"""Reads what the loop wrote."""

from pathlib import Path

import torch
from torch import nn

from training.config import ConfigError
from training.recipes.base import Recipe


def averaged_network(recipe: Recipe, run: Path) -> tuple[nn.Module, dict[str, float]]:
    """The network with the averaged weights of a run, on the CPU, in evaluation mode; and its `step` and `minutes`."""
    path = run / "last.pt"
    if not path.is_file():
        raise ConfigError(f"There is no checkpoint {path}. Run `python -m training train` first.")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    network = recipe.network()
    try:
        network.load_state_dict(saved["average"])
    except RuntimeError as error:
        raise ConfigError(f"{path} does not fit the network of this configuration: {error}") from error
    return network.eval(), {"step": saved["step"], "minutes": saved["seconds"] / 60}
