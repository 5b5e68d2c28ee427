"""The network: every weight file, every variant, every plane, on whatever device has the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import devices
from .account import Account
from .backends import Backend
from .backends.address import Address, is_server
from .channels import Channels
from .errors import ConversionError, OutOfMemory, ServerLost
from .feeds import TilePreparation, build_feeds
from .fusion import blending_weights
from .inference import TileLoop
from .modality import Modality
from .prepare import Prepared
from .progress import Reporter
from .sampler import Triple, tilings, without_empty
from .variants import Axes, mirrored, mirrored_back, variants_of

if TYPE_CHECKING:
    from .bundle import Bundle

Opener = Callable[[Path, str, str], Backend]
"""Loads a weight file: path, format, device."""


@dataclass
class Ensemble:
    """The weight files of one model at work on one prepared conversion."""

    bundle: Bundle
    target: Modality | None
    """What is made; None for a segmentation."""
    channels: Channels
    opener: Opener
    reporter: Reporter
    account: Account

    def run(self, prepared: Prepared) -> np.ndarray:
        """The mean over weight files and variants, float32, shape (channels, *grid), as `Channels.fused` gives it."""
        variants = variants_of(self.bundle.spec)
        self.account.runs = len(self.bundle.spec.weights) * len(variants)
        runs = self._runs(prepared, variants)
        return next(runs) if self.account.runs == 1 else self.channels.averaged(runs)

    def _runs(self, prepared: Prepared, variants: Sequence[Axes]) -> Iterator[np.ndarray]:
        """Every variant by every weight file, each as it lies in the scans as they are."""
        number = 0
        for member in range(len(self.bundle.spec.weights)):
            for axes in variants:
                turned = mirrored(prepared, axes)
                yield mirrored_back(self._run(member, turned, number), axes)
                number += 1

    def _run(self, member: int, prepared: Prepared, number: int) -> np.ndarray:
        """One variant by one weight file; on the device, with smaller patches, on the CPU: whatever works first."""
        path, format = self.bundle.weight_paths[member], self.bundle.spec.weights[member].format
        patch = self.bundle.spec.sampler.size
        while True:
            backend = None
            try:
                backend = self.opener(path, format, self._place(member))
                return self._planes(backend, prepared, patch, number, self.account.runs)
            except ServerLost as error:
                self._fall_back(error, format)
                patch = self.bundle.spec.sampler.size
            except OutOfMemory as error:
                smaller = _smaller_patch(patch, backend) if patch and backend else None
                if smaller:
                    patch = smaller
                    self._note(f"{error} Patches were made smaller: {patch}; seams and context change a little.")
                elif self.account.fallbacks:
                    self._fall_back(error, format)
                    patch = self.bundle.spec.sampler.size
                elif is_server(self.account.device):  # the CPU here is for whoever asked for it
                    raise ConversionError(f"{error} Crop the scan, or choose another device.") from None
                elif self.account.device != "cpu":
                    self._note(f"{error} The CPU was used instead.")
                    self.account.device, patch = "cpu", self.bundle.spec.sampler.size
                else:
                    raise ConversionError(f"{error} Close other programs or crop the scan.") from None

    def _planes(self, backend: Backend, prepared: Prepared, patch: Triple | None, number: int, runs: int) -> np.ndarray:
        """Every axis run and fused; see `run`."""
        spec = self.bundle.spec
        feeds = build_feeds(spec, backend.inputs, prepared.volumes, prepared.mask, self.target)
        plans = tilings(spec.sampler, next(iter(prepared.volumes.values())).shape, patch)
        occupied = prepared.occupied
        starts = [plan.starts if occupied is None else without_empty(plan, occupied) for plan in plans]
        tiles = sum(map(len, starts))

        self.reporter.start("network", tiles * runs, tiles * number)
        loop = TileLoop(backend, self.channels, spec.sampler.batch, self.reporter, tiles * runs, tiles * number)
        planes = []
        for plan, some in zip(plans, starts):
            mask = None if prepared.mask is None else plan.pad(prepared.mask)
            preparation = TilePreparation(spec, plan, prepared.source_range, self.target, mask)
            planes.append(loop.run(plan, some, feeds, blending_weights(plan, spec.fusion), preparation))
        for note in loop.notes:
            self._note(note)
        self.account.tiles, self.account.batch = tiles, loop.batch
        return self.channels.fused(planes, spec.fusion)

    def _place(self, member: int) -> str:
        """The device, for a server with the name that the weight file has there."""
        device, members = self.account.device, len(self.bundle.spec.weights)
        return str(Address.parse(device).of(self.bundle.spec.id, member, members)) if is_server(device) else device

    def _fall_back(self, error: ConversionError, format: str) -> None:
        """Take the next device that the user named; there is none: raise the error."""
        if not self.account.fallbacks:
            raise error
        notes: list[str] = []
        self.account.device, self.account.fallbacks = devices.choose(",".join(self.account.fallbacks), format, notes)
        reason = error.reason if isinstance(error, ServerLost) else str(error)
        for note in (f"{reason} {self.account.device} was used instead.", *notes):
            self._note(note)

    def _note(self, text: str) -> None:
        self.account.warnings.append(text)


def _smaller_patch(patch: Triple, backend: Backend) -> Triple | None:
    """Half the patch, if the graph leaves its size open and the halves still are multiples of 16; else None.

    Networks halve their grid about four times; a patch that is not a multiple of 16 could fail for that reason.
    """
    halves = (patch[0] // 2, patch[1] // 2, patch[2] // 2)
    boxes = [tensor.shape[2:] for tensor in backend.inputs if tensor.shape is not None and len(tensor.shape) == 5]
    is_open = all(size is None for box in boxes for size in box)
    return halves if is_open and all(half >= 16 and half % 16 == 0 for half in halves) else None
