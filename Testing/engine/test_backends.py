"""What every backend shares: the shape of outputs, failures in one line, threads, and what files may hold."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import graphs
from modality_conversion.backends import glue, open_backend, processor, tile_outputs, wire
from modality_conversion.backends.failures import is_out_of_memory, one_line
from modality_conversion.errors import ConversionError
from modality_conversion.sampler import Tiling, tilings
from modality_conversion.schema import Sampler


def slab_tiling(outputs: int = 3) -> Tiling:
    return tilings(Sampler(kind="slab", context=outputs + 2, outputs=outputs), (12, 5, 4))[0]


def patch_tiling() -> Tiling:
    return tilings(Sampler(kind="patch", size=(4, 5, 4)), (12, 5, 4))[0]


# --- the network's output ---------------------------------------------------------------------------------------------


def test_slices_are_taken_channel_major_from_the_channel_axis() -> None:
    raw = np.arange(2 * 6 * 5 * 4, dtype=np.float32).reshape(2, 6, 5, 4)
    outputs = tile_outputs(raw, slab_tiling(3))
    assert outputs.shape == (2, 2, 3, 5, 4)
    np.testing.assert_array_equal(outputs[1, 1, 2], raw[1, 5])


def test_slices_with_their_own_axis_are_taken_as_they_are() -> None:
    raw = np.zeros((2, 7, 3, 5, 4), dtype=np.float32)
    assert tile_outputs(raw, slab_tiling(3)).shape == raw.shape


def test_patches_are_taken_as_they_are() -> None:
    assert tile_outputs(np.zeros((2, 1, 4, 5, 4), np.float32), patch_tiling()).shape == (2, 1, 4, 5, 4)


@pytest.mark.parametrize(
    "shape", [(2,), (2, 4, 5, 4), (2, 3, 5, 3), (2, 0, 5, 4), (2, 1, 3, 4, 4), (2, 3, 5), (2, 1, 1, 3, 5, 4)]
)
def test_an_output_that_does_not_fit_the_slices_is_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match=r"\(N, C\*3, 5, 4\) or \(N, C, 3, 5, 4\)") as caught:
        tile_outputs(np.zeros(shape, np.float32), slab_tiling(3))
    assert str(shape) in str(caught.value)


def test_fewer_outputs_than_tiles_are_refused() -> None:
    raw = np.zeros((1, 3, 5, 4), np.float32)
    assert len(tile_outputs(raw, slab_tiling(3), 1)) == 1
    with pytest.raises(ConversionError, match=r"the shape \(1, 3, 5, 4\), but its tiles need \(8, C\*3, 5, 4\)"):
        tile_outputs(raw, slab_tiling(3), 8)


def test_an_output_that_does_not_fit_the_patches_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"need \(N, C, 4, 5, 4\)"):
        tile_outputs(np.zeros((2, 4, 5, 4), np.float32), patch_tiling())


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Failed to allocate memory for requested buffer of size 8000000000000",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "std::bad_alloc",
        "bad allocation",
        "Available memory of 512 is smaller than requested bytes of 1024",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
        "cudaErrorMemoryAllocation",
        "Exception(1) tid(1) 8007000E Not enough memory resources are available",
    ],
)
def test_every_runtimes_words_for_out_of_memory_are_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(f"Non-zero status code: {text} while running Conv"))


def test_a_memory_error_is_out_of_memory_and_a_wrong_shape_is_not() -> None:
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("Got invalid dimensions for input: image"))


def test_a_message_becomes_one_line_without_numbers_and_paths() -> None:
    error = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Load model from /a b/c.onnx failed:Fatal error: x\n\n  y\n")
    assert one_line(error) == "Fatal error: x y."
    assert one_line(ValueError()) == "ValueError."
    assert len(one_line(ValueError("word " * 1000))) <= 301


# --- threads ----------------------------------------------------------------------------------------------------------


def fake_system(folder: Path, siblings: dict[int, str], quota: str | None = None) -> Path:
    for cpu, text in siblings.items():
        topology = folder / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(text + "\n")
    if quota is not None:
        (folder / "fs/cgroup").mkdir(parents=True)
        (folder / "fs/cgroup/cpu.max").write_text(quota + "\n")
    return folder


def test_two_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    system = fake_system(tmp_path, {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"})
    assert processor.physical_cores(system) == 2


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("", 4)])
def test_a_containers_quota_limits_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert processor.physical_cores(fake_system(tmp_path, {}, quota)) == cores


def test_where_linux_does_not_say_the_runtime_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert processor.physical_cores() == 0


def test_the_environment_sets_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODALITY_CONVERSION_THREADS", " 3 ")
    assert processor.threads() == 3
    monkeypatch.setenv("MODALITY_CONVERSION_THREADS", "")
    assert processor.threads() == processor.physical_cores()


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MODALITY_CONVERSION_THREADS", value)
    with pytest.raises(ConversionError, match=f"MODALITY_CONVERSION_THREADS={value}"):
        processor.threads()


# --- files ------------------------------------------------------------------------------------------------------------


def external(name: str, location: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_data_is_found_wherever_a_graph_can_hide_it(tmp_path: Path) -> None:
    branch = helper.make_graph([], "branch", [], [], [external("inner", "in-branch")])
    sparse = onnx.SparseTensorProto(values=external("v", "sparse-values"), indices=external("i", "sparse-indices"))
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Constant", [], ["z"], value=external("", "in-constant")),
        helper.make_node("Constant", [], ["s"], sparse_value=sparse),
        helper.make_node("Many", [], ["m"], domain="d", all=[external("", "in-list")], graphs=[branch]),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [external("w", "in-graph"), numpy_helper.from_array(np.ones(9), "k")])
    function = helper.make_function(
        "d", "f", [], ["q"], [helper.make_node("Constant", [], ["q"], value=external("", "in-function"))], []
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    assert set(wire.external_files(path)) == {
        *("in-branch", "sparse-values", "sparse-indices", "in-constant", "in-list", "in-graph", "in-function")
    }


def test_a_graph_that_holds_everything_itself_has_no_external_files(tmp_path: Path) -> None:
    assert wire.external_files(graphs.conv(tmp_path / "model.onnx")) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_but_never_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "model.onnx"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        assert isinstance(wire.external_files(path), list)


@given(st.integers(min_value=0, max_value=2**63 - 1), st.text(max_size=300))
def test_fields_are_written_as_protobuf_writes_them(number: int, text: str) -> None:
    expected = onnx.ModelProto(model_version=number, domain=text).SerializeToString()
    assert wire.field(4, text) + wire.field(5, number) == expected


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32", "int64", "uint8", "bool"])
def test_the_glue_graphs_pass_onnxs_own_checker(dtype: str) -> None:
    for graph in (glue.cut_graph(dtype, 4), glue.cut_graph(dtype, 5), glue.blend_graph(dtype, 4, 2, 300)):
        onnx.checker.check_model(onnx.load_model_from_string(graph), full_check=True)


def test_a_backend_is_opened_by_the_format_of_its_weights(tmp_path: Path) -> None:
    backend = open_backend(graphs.identity(tmp_path / "model.onnx"), "onnx", "cpu")
    assert type(backend).__name__ == "OnnxBackend"
    with pytest.raises(ConversionError, match="no TorchScript archive"):
        open_backend(tmp_path / "model.onnx", "torchscript", "cpu")
