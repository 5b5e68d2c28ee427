"""The ONNX Runtime backend: what it runs, what it refuses, and that nothing falls back in silence."""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import graphs
from modality_conversion.backends import Tensor, installation, onnx, processor
from modality_conversion.backends.onnx import OnnxBackend, describe
from modality_conversion.errors import ConversionError, OutOfMemory


def one_clear_line(error: pytest.ExceptionInfo[ConversionError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True)
def fresh_probes() -> None:
    onnx.fault.cache_clear()


# --- running ----------------------------------------------------------------------------------------------------------


def test_a_network_is_run_by_the_names_of_its_inputs(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.with_inputs(tmp_path / "m.onnx", {"code": ("batch", 3), "timestep": (1,)}), "cpu")
    tiles = image(2, 1, 4, 5)
    code = np.eye(3, dtype=np.float32)[:2]
    output = backend.run({"image": tiles, "code": code, "timestep": np.full(1, 5, np.float32)})
    np.testing.assert_allclose(output, tiles + 6, rtol=1e-6)
    assert [tensor.name for tensor in backend.inputs] == ["image", "code", "timestep"]
    assert backend.inputs[1] == Tensor("code", (None, 3), "float32")
    assert backend.device == "cpu"
    assert backend.fixed_batch is None


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.float32])
def test_the_output_is_float32_whatever_the_network_computes_in(tmp_path: Path, dtype: type) -> None:
    backend = OnnxBackend(graphs.linear(tmp_path / "m.onnx", dtype=dtype), "cpu")
    assert backend.inputs[0].dtype == np.dtype(dtype).name
    output = backend.run({"image": image(1, 1, 4, 4).astype(dtype)})
    assert output.dtype == np.float32


def test_the_batch_that_a_graph_demands_is_read_from_its_image_input(tmp_path: Path) -> None:
    assert OnnxBackend(graphs.fixed_batch(tmp_path / "a.onnx", 4), "cpu").fixed_batch == 4
    codes = graphs.with_inputs(tmp_path / "b.onnx", {"timestep": (1,), "code": (1, 3)})
    assert OnnxBackend(codes, "cpu").fixed_batch is None
    assert OnnxBackend(graphs.linear(tmp_path / "c.onnx", batch=2, patch=True), "cpu").fixed_batch == 2


def test_a_graph_describes_its_inputs_and_outputs(tmp_path: Path) -> None:
    path = graphs.linear(tmp_path / "m.onnx", context=5, channels=((1, 0), (2, 0)), size=(6, None))
    found = describe(path)
    assert found.inputs == (Tensor("image", (None, 5, 6, None), "float32"),)
    assert found.outputs == (Tensor("converted", (None, 2, 6, None), "float32"),)


@pytest.mark.parametrize("context", [1, 5])
def test_the_same_bytes_come_out_for_any_batch_size(tmp_path: Path, context: int) -> None:
    backend = OnnxBackend(graphs.conv(tmp_path / "m.onnx", context=context, features=32, outputs=2), "cpu")
    tiles = image(8, context, 192, 224)
    outputs = {
        batch: np.concatenate([backend.run({"image": tiles[i : i + batch]}) for i in range(0, 8, batch)])
        for batch in (1, 2, 3, 8)
    }
    for output in outputs.values():
        assert output.tobytes() == outputs[1].tobytes()


def test_the_same_bytes_come_out_for_any_batch_of_patches(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.conv(tmp_path / "m.onnx", features=8, patch=True), "cpu")
    tiles = image(3, 1, 24, 25, 26)
    single = np.concatenate([backend.run({"image": tile[None]}) for tile in tiles])
    assert backend.run({"image": tiles}).tobytes() == single.tobytes()


def test_the_number_of_threads_reaches_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = graphs.identity(tmp_path / "m.onnx")

    def threads(backend: OnnxBackend) -> int:
        return backend._session.get_session_options().intra_op_num_threads

    monkeypatch.setenv(processor.ENVIRONMENT, "1")
    assert threads(OnnxBackend(path, "cpu")) == 1
    assert threads(OnnxBackend(path, "cpu", threads=2)) == 2
    monkeypatch.delenv(processor.ENVIRONMENT)
    assert threads(OnnxBackend(path, "cpu")) == processor.physical_cores()


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_tensor_larger_than_any_memory_is_out_of_memory(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.too_big(tmp_path / "m.onnx"), "cpu")
    with pytest.raises(OutOfMemory, match=r"cpu ran out of memory on m\.onnx\."):
        backend.run({"image": image(1, 1, 1, 1)})


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), Exception("std::bad_alloc")]
)
def test_every_kind_of_out_of_memory_is_the_same_to_the_tile_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    backend = OnnxBackend(graphs.identity(tmp_path / "m.onnx"), "cpu")
    monkeypatch.setattr(backend._session, "run", failing(error))
    with pytest.raises(OutOfMemory):
        backend.run({"image": image(1, 1, 4, 4)})


def test_weights_that_do_not_fit_are_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = graphs.identity(tmp_path / "m.onnx")
    monkeypatch.setattr(onnxruntime, "InferenceSession", failing(RuntimeError("Failed to allocate memory")))
    with pytest.raises(OutOfMemory, match="while the network was loaded"):
        OnnxBackend(path, "cpu")


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


# --- what is fed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feeds", "cause"),
    [
        ({"image": np.zeros((1, 2, 4, 4), np.float32)}, "index: 1 Got: 2 Expected: 1"),
        ({"image": np.zeros((1, 1, 4, 4), np.float64)}, "Unexpected input data type"),
        ({"picture": np.zeros((1, 1, 4, 4), np.float32)}, "picture"),
        ({}, "image"),
    ],
)
def test_a_feed_that_does_not_fit_is_one_line_with_the_cause(tmp_path: Path, feeds: dict, cause: str) -> None:
    backend = OnnxBackend(graphs.identity(tmp_path / "m.onnx"), "cpu")
    with pytest.raises(ConversionError) as caught:
        backend.run(feeds)
    assert cause in one_clear_line(caught)
    assert "m.onnx" in str(caught.value)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, kept: float) -> None:
    path = graphs.conv(tmp_path / "m.onnx", features=4)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)] if isinstance(kept, float) else data[:kept])
    with pytest.raises(ConversionError) as caught:
        OnnxBackend(path, "cpu")
    assert str(path) in one_clear_line(caught)


@pytest.mark.parametrize("text", ["hello, I am text", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"])
def test_a_text_file_named_onnx_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_text(text)
    for load in (describe, lambda path: OnnxBackend(path, "cpu")):
        with pytest.raises(ConversionError, match="no ONNX file") as caught:
            load(path)
        one_clear_line(caught)


def test_a_well_formed_message_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08")  # a version and nothing else
    with pytest.raises(ConversionError) as caught:
        OnnxBackend(path, "cpu")
    assert str(path) in one_clear_line(caught)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ConversionError, match="cannot be read") as caught:
            OnnxBackend(path, "cpu")
        one_clear_line(caught)


def test_a_graph_without_an_output_is_refused(tmp_path: Path) -> None:
    identity = helper.make_node("Identity", ["image"], ["nowhere"])
    path = graphs.save(tmp_path / "m.onnx", [identity], [graphs.tensor("image", (1,))], [])
    with pytest.raises(ConversionError, match="has no output") as caught:
        OnnxBackend(path, "cpu")
    one_clear_line(caught)


def test_an_operator_of_a_custom_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"com\.example:Mystery") as caught:
        OnnxBackend(graphs.foreign_operator(tmp_path / "m.onnx"), "cpu")
    one_clear_line(caught)


def test_weights_beside_the_graph_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.float32(2).tobytes())
    backend = OnnxBackend(graphs.external_data(tmp_path / "m.onnx", "weights.bin"), "cpu")
    tiles = image(1, 1, 4, 4)
    np.testing.assert_array_equal(backend.run({"image": tiles}), tiles * 2)


@pytest.mark.parametrize("way", ["up", "absolute", "link"])
def test_weights_from_outside_of_the_models_folder_are_refused(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(np.float32(2).tobytes())
    folder = tmp_path / "models"
    folder.mkdir()
    if way == "link":
        (folder / "linked.bin").symlink_to(outside)
    location = {"up": "../outside.bin", "absolute": str(outside), "link": "linked.bin"}[way]
    path = graphs.external_data(folder / "m.onnx", location)
    for load in (describe, lambda path: OnnxBackend(path, "cpu")):
        with pytest.raises(ConversionError, match="outside of its own folder") as caught:
            load(path)
        assert location in one_clear_line(caught)


def test_weights_beside_the_graph_that_are_missing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        OnnxBackend(graphs.external_data(tmp_path / "m.onnx", "gone.bin"), "cpu")
    assert "m.onnx" in one_clear_line(caught)


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_the_cuda_build_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(installation, "installed", lambda: ["onnxruntime"])
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ConversionError) as caught:
        OnnxBackend(graphs.identity(tmp_path / "m.onnx"), device)
    assert "pip install modality-conversion[gpu]" in one_clear_line(caught)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_falls_back_to_the_cpu_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime itself drops the provider here, and would run on the CPU without another word."""
    everything = ["CUDAExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    path = graphs.identity(tmp_path / "m.onnx")
    for device, part in (("cuda:1", "CUDA"), ("dml", "dml"), ("coreml", "coreml")):
        with pytest.raises(ConversionError, match=f"{device} cannot be used: .* its {part} part") as caught:
            OnnxBackend(path, device)
        one_clear_line(caught)


def test_the_second_card_is_asked_for_and_told_to_be_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, dict] = {}

    class Session:
        def __init__(self, model: str, options: Any, providers: list, enable_fallback: int) -> None:
            ((name, provider_options),) = providers
            asked[name] = {**provider_options, "pattern": options.enable_mem_pattern, "fallback": enable_fallback}
            self.name = name

        def get_providers(self) -> list[str]:
            return [self.name, "CPUExecutionProvider"]

    everything = ["CUDAExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    for device in ("cuda:1", "dml:1", "coreml"):
        onnx.open_session(graphs.identity(tmp_path / "m.onnx"), device)
    cuda = asked["CUDAExecutionProvider"]
    assert (cuda["device_id"], cuda["cudnn_conv_algo_search"], cuda["use_tf32"]) == ("1", "HEURISTIC", "0")
    assert cuda["arena_extend_strategy"] == "kSameAsRequested"
    assert cuda["fallback"] == 0
    assert (asked["DmlExecutionProvider"]["device_id"], asked["DmlExecutionProvider"]["pattern"]) == ("1", False)
    assert asked["CoreMLExecutionProvider"]["ModelFormat"] == "MLProgram"


def test_a_device_that_works_has_no_fault() -> None:
    assert onnx.fault("cpu") is None


def test_a_device_that_fails_when_first_used_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    session = types.SimpleNamespace(run=failing(RuntimeError("CUDA driver version is insufficient")))
    monkeypatch.setattr(onnx, "open_session", lambda *_: session)
    assert onnx.fault("cuda:0") == "A small test on cuda:0 failed: CUDA driver version is insufficient."


def test_a_device_that_does_not_load_is_not_blamed_on_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(onnx.PROVIDERS.values()))
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", failing(RuntimeError("CUDA failure 101: invalid device ordinal"))
    )
    reason = "cuda:7 cannot be used: CUDA failure 101: invalid device ordinal. Check the driver, or use the CPU."
    assert onnx.fault("cuda:7") == reason


def test_a_device_is_tried_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(onnx, "open_session", lambda _, device: calls.append(device) or failing(ValueError("x"))())
    assert onnx.fault("dml:0") == onnx.fault("dml:0")
    assert calls == ["dml:0"]


# --- the installation -------------------------------------------------------------------------------------------------


def import_fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real = builtins.__import__

    def guarded(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "onnxruntime":
            raise error
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", guarded)


def test_a_missing_onnxruntime_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = graphs.identity(tmp_path / "m.onnx")
    import_fails(monkeypatch, ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"))
    with pytest.raises(ConversionError, match=r"pip install modality-conversion\[cpu\]") as caught:
        OnnxBackend(path, "cpu")
    one_clear_line(caught)


def test_an_onnxruntime_that_does_not_import_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import_fails(monkeypatch, ImportError("DLL load failed while importing onnxruntime_pybind11_state"))
    with pytest.raises(ConversionError, match=r"DLL load failed .* pip uninstall") as caught:
        onnx.runtime()
    one_clear_line(caught)


def test_the_empty_folder_that_an_uninstall_leaves_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(ConversionError, match="damaged") as caught:
        onnx.runtime()
    one_clear_line(caught)


def test_the_packages_installed_are_those_that_pip_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(installation.installed()) <= set(installation.PACKAGES)
    monkeypatch.setattr(installation, "version", lambda package: "1.0")
    assert installation.installed() == list(installation.PACKAGES)


@pytest.mark.parametrize(
    ("platform", "kind", "packages", "expected"),
    [
        ("linux", "cuda", ["onnxruntime"], "pip uninstall onnxruntime, then pip install modality-conversion[gpu]"),
        ("linux", "cuda", [], "pip uninstall onnxruntime, then"),
        ("linux", "cuda", ["onnxruntime", "onnxruntime-gpu"], "both installed"),
        ("darwin", "cuda", ["onnxruntime"], "needs Linux or Windows"),
        ("linux", "dml", ["onnxruntime"], "needs Windows"),
        ("win32", "dml", ["onnxruntime"], "pip install onnxruntime-directml"),
        ("linux", "coreml", ["onnxruntime"], "needs macOS"),
    ],
)
def test_a_device_that_the_build_lacks_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, platform: str, kind: str, packages: list[str], expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(installation, "installed", lambda: packages)
    assert expected in installation.not_in_this_build(kind)


def test_the_missing_cuda_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "capi" / "libonnxruntime_providers_cuda.so"
    assert "CUDA part. Install" in installation.why_not_loaded("cuda", tmp_path)
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(installation.ctypes, "CDLL", failing(OSError("libcublasLt.so.13: cannot open shared object")))
    assert "(libcublasLt.so.13: cannot open shared object)" in installation.why_not_loaded("cuda", tmp_path)
    monkeypatch.setattr(installation.ctypes, "CDLL", failing(OSError("undefined symbol: Provider_GetHost")))
    assert "CUDA part. Install" in installation.why_not_loaded("cuda", tmp_path)
