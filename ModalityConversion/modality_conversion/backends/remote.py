"""A network that runs on a server: KServe's open inference protocol (v2) over gRPC, as NVIDIA Triton speaks it.

The server must say by the model's configuration which weights it holds (Triton's extension `model_configuration`), and
they must be the very ones that the model here declares.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConversionError, OutOfMemory, ServerLost
from . import ResidentLoop, Tensor, TileTask, batch_of_graph
from .address import Address, served_version
from .failures import is_out_of_memory, one_line

CA, CERTIFICATE, KEY = (f"MODALITY_CONVERSION_SERVER_{name}" for name in ("CA", "CERTIFICATE", "KEY"))
TIMEOUT = "MODALITY_CONVERSION_SERVER_TIMEOUT"
SHA256, MODEL_VERSION = "sha256", "model_version"
"""Parameters in the configuration of a served model."""
# numpy's name for each data type of the protocol.
TYPES = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
}
_ANSWER_S = 10.0
"""How long a question may take that needs no computing."""
_COMPUTE_S = 120.0
_TLS_FILES = {"root_certificates": CA, "certificate_chain": CERTIFICATE, "private_key": KEY}
# What gRPC says where the other side is not there, no longer there, or does not answer.
_LOST = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED"}
_UNKNOWN_MODEL = {"NOT_FOUND", "INVALID_ARGUMENT"}


class RemoteBackend:
    """A served ONNX file; see `backends.Backend`. Also raises ServerLost."""

    fixed_batch: int | None

    def __init__(self, path: Path, device: str) -> None:
        """Find the weights in `path` on the server `device`, such as `grpc://host:8001/name`.

        Raises ServerLost where there is no such server or model, ConversionError where it holds other weights.
        """
        from ..bundle import sha256_of

        self.path, self._address = Path(path), Address.parse(device)
        self.device = self._address.server
        self._timeout = _seconds()
        if self._address.name is None:
            raise ConversionError(f"{device} does not name the model. Write grpc://HOST:8001/NAME.")
        self._name = self._address.name
        sha256 = sha256_of(self.path)
        self._version = str(served_version(sha256))
        self._client = _connect(self._address)
        self._largest_batch = self._check_weights(sha256)
        described = self._ask("get_model_metadata", self._name, self._version)
        self.inputs = tuple(_tensor(tensor) for tensor in described.inputs)
        self.fixed_batch = batch_of_graph(self.inputs)
        if not described.outputs:
            raise ConversionError(f"The model {self._name} on {self.device} has no output. Export it again.")
        self._output = described.outputs[0].name

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first output, float32; see `Backend.run`. What is more than the server takes at once goes in parts."""
        tiles = max(len(array) for array in feeds.values())
        if not self._largest_batch or tiles <= self._largest_batch:
            return self._infer(feeds)
        parts = [
            self._infer({name: array[first : first + self._largest_batch] for name, array in feeds.items()})
            for first in range(0, tiles, self._largest_batch)
        ]
        return np.concatenate(parts)

    def resident_loop(self, task: TileTask) -> ResidentLoop | None:
        """None: the volume stays here, tiles go there."""
        return None

    def compute_seconds(self) -> float | None:
        """Seconds that the server has spent in this network so far, for whomever; None where it does not count them."""
        try:
            told = self._ask("get_inference_statistics", self._name, self._version)
        except ConversionError:
            return None
        return sum(model.inference_stats.compute_infer.ns for model in told.model_stats) / 1e9

    def _infer(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        grpc = runtime()
        inputs = []
        for tensor in self.inputs:
            array = np.ascontiguousarray(feeds[tensor.name], dtype=tensor.dtype)
            wanted = grpc.InferInput(tensor.name, list(array.shape), _protocol_type(tensor.dtype))
            wanted.set_data_from_numpy(array)
            inputs.append(wanted)
        try:
            answer = self._client.infer(
                self._name,
                inputs,
                model_version=self._version,
                outputs=[grpc.InferRequestedOutput(self._output)],
                client_timeout=self._timeout,
            )
        except Exception as error:
            raise self._failure(error) from error
        output = answer.as_numpy(self._output)
        if output is None or answer.get_response().model_version != self._version:
            raise ConversionError(f"{self.device} answered with another model or output than was asked for. Report it.")
        return np.asarray(output, dtype=np.float32)

    def _check_weights(self, sha256: str) -> int:
        """The largest batch that the server takes, 0 for what the graph says. Raises ConversionError."""
        config = self._ask("get_model_config", self._name).config
        there = config.parameters[SHA256].string_value if SHA256 in config.parameters else ""
        if there == sha256:
            return int(config.max_batch_size)
        remedy = (
            "Write this model for the server with `modality-conversion models triton` and have it loaded there, "
            "or choose another device."
        )
        if not there:
            raise ConversionError(f"{self.device} does not say which weights its model {self._name} has. {remedy}")
        version = config.parameters[MODEL_VERSION].string_value if MODEL_VERSION in config.parameters else "unknown"
        raise ConversionError(
            f"{self.device} holds another version of {self._name} than this machine: version {version} with the SHA-256 "
            f"{there[:12]}..., here it is {sha256[:12]}.... {remedy}"
        )

    def _ask(self, question: str, *about: str) -> Any:
        try:
            return getattr(self._client, question)(*about, client_timeout=_ANSWER_S)
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> ConversionError:
        """ServerLost, OutOfMemory, or a refusal, for what the client library raised."""
        status, words = _told(error)
        if status in _LOST:
            return _lost(self.device, words)
        if status == "RESOURCE_EXHAUSTED" or is_out_of_memory(error):
            return OutOfMemory(f"{self.device} ran out of memory on {self._name}.")
        if status in _UNKNOWN_MODEL and ("unknown model" in words.lower() or status == "NOT_FOUND"):
            return ServerLost(
                f"{self.device} has not got this version of the model {self._name} ready: {words}",
                "Write it for the server with `modality-conversion models triton`, and have it loaded there.",
            )
        if status == "UNIMPLEMENTED":
            return ConversionError(
                f"{self.device} speaks the protocol without the model configuration, so nothing says which weights it "
                "has. Use NVIDIA Triton, or another device."
            )
        return ConversionError(f"The model {self._name} failed on {self.device}: {words} Choose another device.")


def runtime() -> Any:
    """The module tritonclient.grpc. Raises ConversionError when it is not there or broken."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would log is raised
    try:
        import tritonclient.grpc
    except (ImportError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in ("tritonclient", "grpc"):
            raise ConversionError(
                "tritonclient is not installed, and a server needs it: pip install modality-conversion[remote]; "
                'in Slicer: slicer.util.pip_install("tritonclient[grpc]").'
            ) from error
        raise ConversionError(f"tritonclient cannot be imported: {one_line(error)} Install it again.") from error
    return tritonclient.grpc


def fault(device: str) -> ConversionError | None:
    """Why a server cannot be used, with what to do; None when it answers that it is live."""
    try:
        _seconds()
        address = Address.parse(device)
        client = _connect(address)
    except ConversionError as error:
        return error
    try:
        if client.is_server_live(client_timeout=_ANSWER_S):
            return None
        return _lost(address.server, "it says that it is not live.")
    except Exception as error:
        return _lost(address.server, _told(error)[1])


def _connect(address: Address) -> Any:
    """A client; nothing is sent yet. Raises ConversionError where a file for TLS cannot be read."""
    grpc = runtime()
    if not address.is_secure:
        return grpc.InferenceServerClient(address.target)
    files = {option: os.environ.get(name) or None for option, name in _TLS_FILES.items()}
    for option, path in files.items():
        if path and not Path(path).is_file():
            raise ConversionError(f"{_TLS_FILES[option]}={path} is no file. Correct or unset it.")
    return grpc.InferenceServerClient(address.target, ssl=True, **files)


def _lost(server: str, words: str) -> ServerLost:
    return ServerLost(
        f"The server {server} cannot be reached, or does not answer any more: {words}",
        "Check that it runs and that the address is right. --device SERVER,cpu goes on here when it is lost.",
    )


def _told(error: Exception) -> tuple[str, str]:
    """The status that gRPC gave, such as `UNAVAILABLE`, and its words in one line."""
    status = getattr(error, "status", None)
    told = (status() if callable(status) else None) or ""
    message = getattr(error, "message", None)
    words = message() if callable(message) else str(error)
    return str(told).removeprefix("StatusCode."), one_line(Exception(words or told))


def _seconds() -> float:
    wanted = os.environ.get(TIMEOUT, "").strip()
    if not wanted:
        return _COMPUTE_S
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConversionError(f"{TIMEOUT}={wanted} is no number of seconds; set it to more than 0, or unset it.")
    return seconds


def _tensor(told: Any) -> Tensor:
    if told.datatype not in TYPES:
        raise ConversionError(
            f"The served model takes {told.datatype} as {told.name}, which this version does not know."
        )
    return Tensor(told.name, tuple(None if n < 0 else int(n) for n in told.shape), TYPES[told.datatype])


def _protocol_type(dtype: str) -> str:
    return next(name for name, numpy_name in TYPES.items() if numpy_name == dtype)
