"""Writes and reads checkpoints: whole or not at all, and never trusted unread.

They hold state dictionaries and plain values only, so they outlive changes of the code, and are read without running any.
"""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.config import ConfigError, RunError
from training.recipes.base import Recipe

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
"""Where a run stands; where it stood before; the averaged weights of the epoch that was chosen."""
MIB = 2**20


class DamagedCheckpoint(RunError):
    """A file that is no whole checkpoint."""


def write(state: dict[str, Any], path: Path) -> None:
    """Write a file whole or not at all; a file of that name is replaced."""
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    # torch reports a full disk as a RuntimeError of its own.
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free / MIB
        raise RunError(
            f"The checkpoint {path} could not be written; it takes {_size(state) / MIB:.0f} MiB, the disk has {free:.0f} MiB "
            f"free ({error}). The checkpoint before it is whole: make room, give the same command, and the run goes on there."
        ) from error


def write_last(state: dict[str, Any], run: Path) -> None:
    """Write where a run stands; the checkpoint before it stays as `previous.pt`."""
    fresh = run / "fresh.pt"
    write(state, fresh)
    if (run / LAST).exists():
        (run / LAST).replace(run / PREVIOUS)
    fresh.replace(run / LAST)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint, after comparing every part of the file with its check sum."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DamagedCheckpoint(f"{damaged} within it is damaged")
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error
    return saved


def read_last(run: Path) -> tuple[dict[str, Any] | None, str]:
    """Where a run stands, None for a new one; and what the user should know, '' where nothing went wrong."""
    trouble = ""
    for name in (LAST, PREVIOUS):
        path = run / name
        if not path.exists():
            continue
        try:
            saved = read(path)
        except DamagedCheckpoint as error:
            trouble = str(error)
            continue
        return saved, f"{trouble} The run goes on from {name}, step {saved['step']}." if trouble else ""
    if trouble:
        raise DamagedCheckpoint(
            f"{trouble} There is no whole checkpoint in {run}. Put one back from a copy, or remove {LAST} and {PREVIOUS} there "
            "to begin anew."
        )
    return None, ""


def need_room(run: Path, state_bytes: int) -> None:
    """Refuse to begin where the disk cannot take three checkpoints: the last, the previous, and the one being written."""
    free = shutil.disk_usage(run).free
    if free < 3 * state_bytes:
        raise RunError(
            f"The disk of {run} has {free / MIB:.0f} MiB free; the checkpoints of this run need "
            f"{3 * state_bytes / MIB:.0f} MiB. Make room, or set `run` to a folder on another disk."
        )


def _size(state: Any) -> int:
    """Bytes of all tensors in a nested state."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(_size(part) for part in state.values())
    return sum(_size(part) for part in state) if isinstance(state, list | tuple) else 0


def averaged_network(recipe: Recipe, run: Path) -> tuple[nn.Module, dict[str, float]]:
    """The network with the averaged weights of the chosen epoch of a run, else of its last checkpoint; on the CPU, in
    evaluation mode. Beside it the `step` and `minutes` of these weights.
    """
    path, saved = chosen(run)
    network = recipe.network()
    try:
        network.load_state_dict(saved["average"])
    except RuntimeError as error:
        raise ConfigError(f"{path} does not fit the network of this configuration: {error}") from error
    return network.eval(), {"step": saved["step"], "minutes": saved["seconds"] / 60}


def begin_with(network: nn.Module, run: Path) -> None:
    """Give a new network the averaged weights of the chosen epoch of another run.

    Where the new network has more inputs to a layer, those begin at zero; where it has a layer more, that stays as it is.
    Raises ConfigError where it has less than the other.
    """
    path, saved = chosen(run)
    state = network.state_dict()
    for name, given in saved["average"].items():
        own = state.get(name)
        if own is None or own.dim() != given.dim() or any(n < m for n, m in zip(own.shape, given.shape, strict=True)):
            raise ConfigError(
                f"The network of {path} is not one that this configuration's could begin with: {name!r} does not fit."
            )
        wider = torch.zeros_like(own)
        wider[tuple(slice(0, size) for size in given.shape)] = given
        state[name] = wider
    network.load_state_dict(state)


def chosen(run: Path) -> tuple[Path, dict[str, Any]]:
    """The file of the chosen epoch of a run, else its last checkpoint, and what it holds: `average`, `step`, `seconds`.

    Raises ConfigError where there is none.
    """
    path = run / BEST if (run / BEST).is_file() else run / LAST
    if not path.is_file():
        raise ConfigError(f"There is no checkpoint {path}. Run `python -m training train` first.")
    return path, read(path)
