"""A server in this process that speaks KServe's inference protocol as Triton does, and runs networks with onnxruntime.

It reads a model repository as Triton would: the configuration by protobuf's own parser, not by ours. What it does is
written after the protocol's definition; that Triton does the same is not shown by it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # as the engine does: what gRPC would log is raised

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

MOST = (1 << 31) - 1
_NUMPY = {"FP32": np.float32, "FP16": np.float16, "INT64": np.int64, "INT32": np.int32, "UINT8": np.uint8}


class Model:
    """One model folder, loaded."""

    def __init__(self, folder: Path) -> None:
        self.config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        assert self.config.name == folder.name
        assert self.config.backend == "onnxruntime"
        found = {path.name for path in folder.iterdir() if path.is_dir()}
        self.versions = [str(v) for v in self.config.version_policy.specific.versions if str(v) in found]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        file = folder / self.versions[0] / self.config.default_model_filename
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.count = self.compute_ns = 0
        self.largest = 0


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The calls. `before` is called before each inference and may raise, wait, or end the server."""

    def __init__(self, repository: Path) -> None:
        self.models = {
            folder.name: Model(folder) for folder in repository.iterdir() if (folder / "config.pbtxt").exists()
        }
        self.before: Callable[[int], Any] = lambda number: None
        self.asked = 0
        self.speaks_config = True
        self._lock = threading.Lock()

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        if not self.speaks_config:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        return service_pb2.ModelConfigResponse(config=self._model(request.name, request.version, context).config)

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        model = self._model(request.name, request.version, context)
        lead = [-1] if model.config.max_batch_size else []

        def told(tensor: Any) -> Any:
            kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
            shape = [*lead, *tensor.dims]
            return service_pb2.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=kind, shape=shape)

        return service_pb2.ModelMetadataResponse(
            name=request.name,
            versions=model.versions,
            platform="onnxruntime_onnx",
            inputs=[told(tensor) for tensor in model.config.input],
            outputs=[told(tensor) for tensor in model.config.output],
        )

    def ModelStatistics(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        model = self._model(request.name, request.version, context)
        answer = service_pb2.ModelStatisticsResponse()
        told = answer.model_stats.add(name=request.name, version=request.version, inference_count=model.count)
        told.inference_stats.compute_infer.ns = model.compute_ns
        return answer

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        model = self._model(request.model_name, request.model_version, context)
        with self._lock:
            self.asked += 1
        try:
            self.before(self.asked)
        except MemoryError:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "not enough memory")
        feeds = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            feeds[tensor.name] = np.frombuffer(raw, _NUMPY[tensor.datatype]).reshape(tensor.shape)
        tiles = len(next(iter(feeds.values())))
        limit = model.config.max_batch_size
        if limit and tiles > limit:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"inference request batch-size must be <= {limit}")
        started = time.perf_counter_ns()
        names = [wanted.name for wanted in request.outputs]
        outputs = model.session.run(names, feeds)
        with self._lock:
            model.count += tiles
            model.largest = max(model.largest, tiles)
            model.compute_ns += time.perf_counter_ns() - started
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
        for name, output in zip(names, outputs):
            kind = next(kind for kind, dtype in _NUMPY.items() if dtype == output.dtype)
            answer.outputs.add(name=name, datatype=kind, shape=output.shape)
            answer.raw_output_contents.append(np.ascontiguousarray(output).tobytes())
        return answer

    def _model(self, name: str, version: str, context: grpc.ServicerContext) -> Model:
        model = self.models.get(name)
        if model is None or (version and version not in model.versions):
            what = f"'{name}' version {version}" if version else f"'{name}'"
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: {what} is not found")
        return model  # type: ignore[return-value]  # abort raises


class Served:
    """A running server on a free port of this machine."""

    def __init__(self, repository: Path, credentials: grpc.ServerCredentials | None = None) -> None:
        self.service = Service(repository)
        limits = [("grpc.max_receive_message_length", MOST), ("grpc.max_send_message_length", MOST)]
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=limits)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self.service, self._server)
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.port = port
        self._server.start()

    @property
    def device(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Cut every connection at once."""
        self._server.stop(grace=None)
