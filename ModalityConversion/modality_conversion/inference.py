"""The tile loop: cut, run, blend, with less at a time when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import ops
from .backends import Backend, TileTask, tile_outputs
from .channels import Channels
from .errors import ConversionError, OutOfMemory
from .feeds import Feed, TilePreparation
from .fusion import Blend, weighted_mean
from .progress import Reporter
from .sampler import Tiling, batches


class TileLoop:
    """Runs tilings on a backend. Overlaps are blended in the network's own output, before what `Channels` make of it."""

    def __init__(
        self, backend: Backend, channels: Channels, batch: int, reporter: Reporter, total: int, done: int = 0
    ) -> None:
        self.backend = backend
        self.batch = backend.fixed_batch or batch
        self.notes: list[str] = []
        self._channels = channels
        self._reporter = reporter
        self._done, self._total = done, total

    def run(
        self,
        tiling: Tiling,
        starts: np.ndarray,
        feeds: Sequence[Feed],
        weights: np.ndarray,
        preparation: TilePreparation,
    ) -> np.ndarray:
        """The blended output on the whole grid, float32, shape (channels kept, *grid); 0 where no tile reached.

        Raises OutOfMemory when a single tile is too much, Cancelled between two batches.
        """
        padded = [[tiling.pad(volume.array) for volume in feed.volumes] for feed in feeds]
        total = self._run_resident(tiling, starts, feeds, padded, weights, preparation)
        if total is not None:
            return weighted_mean(total, tiling, starts, weights, self._channels.nothing)
        blend = Blend(tiling, weights, len(self._channels.numbers))
        first = 0
        while first < len(starts):
            batch = starts[first : first + self.batch]
            try:
                outputs = self._run_batch(tiling, batch, feeds, padded, preparation)
            except OutOfMemory:
                self._halve_batch()
                continue
            for start, output in zip(batch, outputs):
                blend.add(start, self._channels.after_network(output, start, preparation))
            first += len(batch)
            self._advance(len(batch))
        return blend.mean(starts, self._channels.nothing)

    def _run_batch(
        self, tiling: Tiling, starts: np.ndarray, feeds: Sequence[Feed], padded: list, preparation: TilePreparation
    ) -> np.ndarray:
        """Outputs of one batch, shape (tiles, channels kept, *box_out)."""
        wanted = self.backend.fixed_batch
        full = starts if not wanted else np.concatenate([starts, np.repeat(starts[-1:], wanted - len(starts), axis=0)])
        arrays = {feed.name: feed.batch(tiling, whole, full, preparation) for feed, whole in zip(feeds, padded)}
        raw = ops.resize_tile_back(self.backend.run(arrays), preparation.spec.ops, tiling.box_out)
        return self._pick(tile_outputs(raw, tiling, len(full))[: len(starts)])

    def _pick(self, outputs: np.ndarray) -> np.ndarray:
        wanted = self._channels.numbers
        if max(wanted) >= outputs.shape[1]:
            raise ConversionError(
                f"The network gives {outputs.shape[1]} channels, but `{self._channels.section}` in configs/conversion.json "
                f"asks for channel {max(wanted)}, counting from 0. Correct the channel."
            )
        return outputs[:, wanted]

    def _run_resident(
        self,
        tiling: Tiling,
        starts: np.ndarray,
        feeds: Sequence[Feed],
        padded: list,
        weights: np.ndarray,
        preparation: TilePreparation,
    ) -> np.ndarray | None:
        """The weighted sum made without leaving the device, or None where the device or the model has no such way."""
        images = [index for index, feed in enumerate(feeds) if feed.volumes]
        if preparation.has_ops or len(images) != 1 or len(feeds[images[0]].volumes) != 1 or not len(starts):
            return None
        image, done = images[0], self._done
        full_weights = np.ascontiguousarray(np.broadcast_to(weights, tiling.box_out))
        while True:
            try:
                same = np.repeat(starts[:1], self.batch, axis=0)
                constants = {f.name: f.batch(tiling, [], same, preparation) for f in feeds if not f.volumes}
                loop = self.backend.resident_loop(
                    TileTask(tiling, feeds[image].name, padded[image][0], constants, full_weights, self.batch)
                )
                if loop is None:
                    return None
                for batch in batches(starts, self.batch):
                    loop.step(batch)
                    self._advance(len(batch))
                total = loop.finish()
                return self._pick(total[None])[0]
            except OutOfMemory:
                self._done = done
                self._halve_batch()

    def _halve_batch(self) -> None:
        if self.batch == 1 or self.backend.fixed_batch:
            raise OutOfMemory(f"{self.backend.device} ran out of memory on a single batch of {self.batch}.")
        self.batch //= 2
        self.notes.append(f"{self.backend.device} ran out of memory; the batch was made smaller: {self.batch}.")

    def _advance(self, tiles: int) -> None:
        self._done += tiles
        self._reporter.advance("network", self._done, self._total)
