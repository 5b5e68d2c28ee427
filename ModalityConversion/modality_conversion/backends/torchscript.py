"""TorchScript on the CPU or a CUDA card, for those who have torch. The only file that imports it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConversionError, OutOfMemory
from ..sampler import batches
from . import ResidentLoop, Tensor, TileTask, output_channels
from .archive import check_archive
from .failures import is_out_of_memory, one_line
from .processor import threads


class TorchScriptBackend:
    """A TorchScript archive on one device; see `backends.Backend`. The file says no shapes and no dtypes."""

    fixed_batch: int | None = None

    def __init__(self, path: Path, device: str) -> None:
        """Load `path` on `cpu`, `cuda` or `cuda:1`.

        Raises ConversionError when torch, the device or the file is missing, or the file is something else.
        """
        self.path, self.device = Path(path), device
        check_archive(self.path)
        self._torch = runtime()
        reason = fault(device)
        if reason:
            raise ConversionError(reason)
        if device == "cpu" and threads():
            self._torch.set_num_threads(threads())
        try:
            self._network = self._torch.jit.load(str(self.path), map_location=device).eval()
        except Exception as error:
            raise self.failure(error) from error
        arguments = self._network.forward.schema.arguments[1:]  # the first is the network itself
        self.inputs = tuple(Tensor(argument.name, None, "float32") for argument in arguments)

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output, float32; see `Backend.run`."""
        try:
            return self.forward({name: self.upload(array) for name, array in feeds.items()}).cpu().numpy()
        except Exception as error:
            raise self.failure(error) from error

    def resident_loop(self, task: TileTask) -> ResidentLoop | None:
        """A loop on the card for CUDA; None on the CPU, where the memory is the same."""
        if not self.device.startswith("cuda"):
            return None
        return TorchResidentLoop(self, task)

    # What the resident loop is made of.

    def upload(self, array: np.ndarray) -> Any:
        """An array as a tensor on the device."""
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def forward(self, tensors: Mapping[str, Any]) -> Any:
        """The first output as a float32 tensor on the device, for tensors by name."""
        # benchmark would time algorithms and take whichever won; TF32 rounds to 10 bits.
        exact = self._torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with self._torch.inference_mode(), exact:
            output = self._network(*(tensors[tensor.name] for tensor in self.inputs))
            while isinstance(output, (tuple, list, dict)):
                output = next(iter(output.values() if isinstance(output, dict) else output))
            return output.float()

    def stack(self, tiles: list) -> Any:
        """Tensors as one, along a new first axis."""
        return self._torch.stack(tiles)

    def failure(self, error: Exception) -> ConversionError:
        """What to raise for an exception of torch's."""
        if is_out_of_memory(error):
            return OutOfMemory(f"{self.device} ran out of memory on {self.path.name}.")
        # torch puts a trace of the network first; what went wrong is the last line.
        last = (str(error).strip() or type(error).__name__).splitlines()[-1].strip().removesuffix(".")
        return ConversionError(
            f"The network in {self.path} failed on {self.device}: {last}. Check the model with "
            "`modality-conversion models check`, or choose another device."
        )


class TorchResidentLoop:
    """`backends.ResidentLoop` with tensors: sliced, run and added on the device. It has not run on a CUDA card yet."""

    def __init__(self, backend: TorchScriptBackend, task: TileTask) -> None:
        """Upload what every step needs."""
        self._backend, self._tiling, self._image_input, self._batch = backend, task.tiling, task.image_input, task.batch
        self._accumulator: Any = None
        try:
            self._padded = backend.upload(task.padded.astype(np.float32, copy=False))
            self._constants = {name: backend.upload(array) for name, array in task.constants.items()}
            self._weights = backend.upload(task.weights.astype(np.float32, copy=False))
        except Exception as error:
            raise backend.failure(error) from error

    def step(self, starts: np.ndarray) -> None:
        """Cut, run and blend; see `ResidentLoop.step`."""
        try:
            for some in batches(starts, self._batch):
                self._convert(some)
        except ConversionError:
            raise
        except Exception as error:
            raise self._backend.failure(error) from error

    def finish(self) -> np.ndarray:
        """Download the sum; see `ResidentLoop.finish`. At least one step must have been made."""
        return self._accumulator.cpu().numpy()

    def _convert(self, starts: np.ndarray) -> None:
        tiling = self._tiling
        tiles = [tiling.cut(self._padded, start) for start in starts]
        tiles += tiles[-1:] * (self._batch - len(tiles))
        image = self._backend.stack(tiles)
        raw = self._backend.forward(
            {self._image_input: image[:, None] if tiling.is_patch else image, **self._constants}
        )
        channels = output_channels(tuple(raw.shape), tiling, self._batch)
        outputs = raw.reshape(len(raw), channels, *tiling.box_out)
        if self._accumulator is None:
            self._accumulator = self._backend.upload(np.zeros((channels, *tiling.accumulator), dtype=np.float32))
        for start, output in zip(
            starts, outputs, strict=False
        ):  # in order, so that overlaps add up to the same sum each time
            region = (slice(None), *tiling.region_out(start))
            self._accumulator[region] += output * self._weights


def runtime() -> Any:
    """The module torch. Raises ConversionError when it is not there or broken."""
    try:
        import torch
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise ConversionError(
                "TorchScript models need torch, which is not installed: pip install modality-conversion[torchscript]; "
                "in Slicer, install the PyTorch extension. ONNX models need no torch."
            ) from error
        raise ConversionError(f"torch cannot be imported: {one_line(error)} Install it again.") from error
    return torch


def fault(device: str) -> str | None:
    """Why TorchScript cannot run on a device, with what to do; None when it can.

    Raises ConversionError without torch.
    """
    kind, _, index = device.partition(":")
    cuda = runtime().cuda
    if kind == "cpu":
        return None
    if kind != "cuda":
        return f"TorchScript models run on cpu and cuda, not on {device}."
    if not cuda.is_available():
        return (
            f"{device} cannot be used: this torch has no CUDA, or finds no NVIDIA card and driver. "
            "Install torch for CUDA from pytorch.org, or use the CPU."
        )
    if int(index or 0) >= cuda.device_count():
        return f"{device} is not there: torch finds {cuda.device_count()} NVIDIA cards, counted from 0."
    return None
