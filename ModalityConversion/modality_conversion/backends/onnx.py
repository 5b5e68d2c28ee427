"""ONNX Runtime: sessions on the CPU, CUDA, DirectML and CoreML, and what can go wrong with each of them."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import telemetry
from ..errors import ConversionError, OutOfMemory
from . import ResidentLoop, Tensor, TileTask, batch_of_graph, glue
from .failures import is_out_of_memory, one_line
from .installation import not_in_this_build, reinstall, why_not_loaded
from .processor import threads as default_threads
from .resident import OnnxResidentLoop
from .wire import external_files

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "dml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
_NUMPY_NAMES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Description:
    """What a graph takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class OnnxBackend:
    """An ONNX file on one device; see `backends.Backend`."""

    def __init__(self, path: Path, device: str, threads: int | None = None) -> None:
        """Load `path` on `cpu`, `cuda`, `cuda:1`, `dml`, `dml:1` or `coreml`; `threads` is for the CPU.

        Raises ConversionError for a missing runtime, device or file, a damaged file, a provider that does not load;
        OutOfMemory where the weights alone are too much.
        """
        self.path, self.device = Path(path), device
        self._threads = threads
        _check_file(self.path)
        self._session = open_session(self.path, device, threads)
        self.inputs = tuple(_tensor(node) for node in self._session.get_inputs())
        self.fixed_batch = batch_of_graph(self.inputs)
        outputs = self._session.get_outputs()
        if not outputs:
            raise ConversionError(f"The network in {path} has no output. Export it again.")
        self._output = outputs[0].name

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output, float32; see `Backend.run`."""
        try:
            output = self._session.run([self._output], dict(feeds))[0]
            return np.asarray(output, dtype=np.float32)
        except Exception as error:
            raise self._failure(error) from error

    def resident_loop(self, task: TileTask) -> ResidentLoop | None:
        """A loop on the card for CUDA; None elsewhere, where the memory is the same or binding is not proved."""
        if not self.device.startswith("cuda"):
            return None
        return OnnxResidentLoop(self, replace(task, batch=self.fixed_batch or task.batch))

    # What the resident loop is made of. Arrays on the device are onnxruntime's OrtValues.

    def upload(self, array: np.ndarray) -> Any:
        """A copy of an array in the device's memory. Raises OutOfMemory."""
        kind, index = split(self.device)
        try:
            return runtime().OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), kind, index)
        except Exception as error:
            raise self._failure(error) from error

    def download(self, value: Any) -> np.ndarray:
        """A device array as numpy."""
        try:
            return value.numpy()
        except Exception as error:
            raise self._failure(error) from error

    def dtype_of(self, value: Any) -> str:
        """The numpy dtype name of a device array."""
        return _dtype(value.data_type())

    def open_glue(self, graph: bytes) -> Any:
        """A session on this device for one of our own graphs."""
        return open_session(graph, self.device, self._threads)

    def run_network(self, inputs: Mapping[str, Any]) -> Any:
        """The network's first output, left on the device."""
        return self.run_on_device(self._session, inputs, self._output)

    def run_on_device(self, session: Any, inputs: Mapping[str, Any], output: str, into: Any = None) -> Any:
        """Run a session on device arrays; the output stays on the device, in `into` where that is given.

        onnxruntime waits for the device at the end of a run, so the next session sees what this one wrote.
        """
        try:
            binding = session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            if into is None:
                binding.bind_output(output, *split(self.device))
            else:
                binding.bind_ortvalue_output(output, into)
            binding.synchronize_inputs()
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0]
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> ConversionError:
        if is_out_of_memory(error):
            return OutOfMemory(f"{self.device} ran out of memory on {self.path.name}.")
        return ConversionError(
            f"The network in {self.path} failed on {self.device}: {one_line(error)} Check the model with "
            "`modality-conversion models check`, or choose another device."
        )


def describe(path: Path) -> Description:
    """Names, shapes and dtypes of a graph's inputs and outputs. Raises ConversionError when it cannot be loaded."""
    _check_file(path)
    session = open_session(path, "cpu")
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return Description(tuple(map(_tensor, inputs)), tuple(map(_tensor, outputs)))


@functools.cache
def fault(device: str) -> str | None:
    """Why a device cannot be used, with what to do; None when a small graph ran on it. Tried once a process.

    A provider in onnxruntime's list proves nothing: without a driver, a card or its libraries it fails when first used.
    """
    try:
        session = open_session(glue.cut_graph("float32", 4), device)
        one = np.zeros((1, 1, 1, 1), dtype=np.int64)
        session.run(None, {"volume": np.zeros(1, dtype=np.float32), "offsets": one, "starts": one})
    except ConversionError as error:
        return str(error)
    except Exception as error:
        return f"A small test on {device} failed: {one_line(error)}"
    return None


def split(device: str) -> tuple[str, int]:
    """`cuda:1` -> (`cuda`, 1); `cuda` -> (`cuda`, 0)."""
    kind, _, index = device.partition(":")
    return kind, int(index or 0)


def runtime() -> Any:
    """The module onnxruntime, silenced: what it would log is raised. Raises ConversionError when it is not usable."""
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise ConversionError(
                "onnxruntime is not installed, and ONNX models need it: pip install modality-conversion[cpu]."
            ) from error
        raise ConversionError(f"onnxruntime cannot be imported: {one_line(error)} {reinstall()}") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise ConversionError(f"onnxruntime is damaged: its folder is there, its content is not. {reinstall()}")
    telemetry.stop(onnxruntime)
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def open_session(model: Path | bytes, device: str, threads: int | None = None) -> Any:
    """An InferenceSession for a file or a graph in memory, on exactly this device.

    Raises ConversionError in one line when the device or the model does not load, OutOfMemory when it does not fit.
    """
    ort = runtime()
    kind, index = split(device)
    provider = PROVIDERS[kind]
    if provider not in ort.get_available_providers():
        raise ConversionError(not_in_this_build(kind))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = default_threads() if threads is None else threads
    options.log_severity_level = 4
    # One block planned for all of a run takes a quarter more memory at its peak and no less time (measured, 2.5D U-Nets on
    # the CPU); DirectML refuses it, and parallel execution.
    options.enable_mem_pattern = False
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if kind == "cuda":
        _load_cuda_libraries(ort)
    source = model if isinstance(model, bytes) else str(model)
    providers = [(provider, _provider_options(kind, index))]
    try:
        # Without enable_fallback=0 a failing provider is replaced by another, with nothing but a print.
        session = ort.InferenceSession(source, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise _not_loaded(model, device, ort.__version__, error) from error
    if provider not in session.get_providers():
        raise ConversionError(f"{device} cannot be used: {why_not_loaded(kind, Path(ort.__file__).parent)}")
    return session


def _provider_options(kind: str, index: int) -> dict[str, str]:
    if kind == "cuda":
        return {
            "device_id": str(index),
            # EXHAUSTIVE, the default, times every algorithm for every new shape, with workspaces of gigabytes, and may
            # pick another one in the next run, so that results differ from run to run. DEFAULT takes slow ones.
            # HEURISTIC asks cuDNN, which answers at once and always the same.
            "cudnn_conv_algo_search": "HEURISTIC",
            # TF32 rounds to 10 bits. Off, a card agrees with the CPU to float32's own rounding.
            "use_tf32": "0",
            # The default doubles what it takes from the card each time; a card of 4 GB is soon full of nothing.
            "arena_extend_strategy": "kSameAsRequested",
        }
    if kind == "coreml":
        return {"ModelFormat": "MLProgram"}  # the older format computes in half precision
    return {"device_id": str(index)} if kind == "dml" else {}


def _load_cuda_libraries(ort: Any) -> None:
    """Find CUDA and cuDNN in the wheels of NVIDIA. Cards are numbered as nvidia-smi numbers them."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    # It prints what it does not find; whether that matters shows when the provider is loaded.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        ort.preload_dlls()


def _check_file(path: Path) -> None:
    """Refuse what onnxruntime should not see: no file, no ONNX, data from outside of the model's folder.

    onnxruntime 1.31 refuses the last by itself; 1.20 reads absolute paths and follows links.
    """
    try:
        locations = external_files(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}. Install the model again.") from error
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path} is no ONNX file, or a damaged one: {error}. Install the model again.") from error
    folder = path.resolve().parent
    for location in locations:
        if not (folder / location).resolve().is_relative_to(folder):
            raise ConversionError(
                f"{path} takes weights from {location}, outside of its own folder, which is not allowed. "
                "Export the network with its weights inside, or beside it."
            )


def _not_loaded(model: Path | bytes, device: str, runtime_version: str, error: Exception) -> ConversionError:
    if is_out_of_memory(error):
        return OutOfMemory(f"{device} ran out of memory while the network was loaded.")
    if isinstance(model, bytes):  # our own graph: it is not the file's fault
        return ConversionError(f"{device} cannot be used: {one_line(error)} Check the driver, or use the CPU.")
    return ConversionError(
        f"{model} cannot be loaded on {device}: {one_line(error)} If the file is whole, it needs another onnxruntime "
        f"than {runtime_version}, or operators that none has: export it with standard operators, opset 17."
    )


def _tensor(node: Any) -> Tensor:
    shape = tuple(n if isinstance(n, int) else None for n in node.shape)
    return Tensor(node.name, shape, _dtype(node.type))


def _dtype(text: str) -> str:
    """onnxruntime's `tensor(float)` -> `float32`; anything that is no tensor stays as it is."""
    name = text.removeprefix("tensor(").removesuffix(")") if text.startswith("tensor(") else text
    return _NUMPY_NAMES.get(name, name)
