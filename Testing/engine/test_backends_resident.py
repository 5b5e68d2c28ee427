"""The loops that keep everything on the device give what the plain loop gives; proved on the CPU, which can bind too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
from modality_conversion.backends import Backend, ResidentLoop, TileTask, tile_outputs
from modality_conversion.backends.onnx import OnnxBackend
from modality_conversion.backends.resident import OnnxResidentLoop
from modality_conversion.errors import ConversionError, OutOfMemory
from modality_conversion.sampler import Tiling, batches, tilings
from modality_conversion.schema import Sampler

SHAPE = (13, 11, 9)


def volume(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def gaussian(box: tuple[int, ...]) -> np.ndarray:
    axes = [np.exp(-(((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2)) for n in box]
    return np.einsum("i,j,k->ijk", *axes).astype(np.float32)


def plain(backend: Backend, tiling: Tiling, padded: np.ndarray, constants: dict, weights: np.ndarray) -> np.ndarray:
    """The loop in numpy, one tile a call."""
    total = np.zeros((1, *tiling.accumulator), dtype=np.float32)
    for start in tiling.starts:
        tile = tiling.cut(padded, start)[None]
        raw = backend.run({"image": tile[:, None] if tiling.is_patch else tile, **constants})
        output = tile_outputs(raw, tiling)[0]
        if len(total) != len(output):
            total = np.zeros((len(output), *tiling.accumulator), dtype=np.float32)
        total[(slice(None), *tiling.region_out(start))] += output * weights
    return total


def open_loop(
    backend: Any, tiling: Tiling, padded: np.ndarray, weights: np.ndarray, batch: int, **constants: np.ndarray
) -> ResidentLoop:
    """The loop that `resident_loop` gives for a card only, on the backend's own device."""
    task = TileTask(tiling, "image", padded, constants, weights, batch)
    if isinstance(backend, OnnxBackend):
        return OnnxResidentLoop(backend, task)
    from modality_conversion.backends.torchscript import TorchResidentLoop

    return TorchResidentLoop(backend, task)


def check(backend: Any, sampler: Sampler, batch: int, constants: Mapping[str, np.ndarray] | None = None) -> None:
    """Steps of three tiles, whatever the batch, give the plain loop's sum for every tiling."""
    data, constants = volume(), dict(constants or {})
    for tiling in tilings(sampler, data.shape):
        padded, weights = tiling.pad(data), gaussian(tiling.box_out)
        expected = plain(backend, tiling, padded, {name: array[:1] for name, array in constants.items()}, weights)
        loop = open_loop(backend, tiling, padded, weights, batch, **constants)
        for starts in batches(tiling.starts, 3):
            loop.step(starts)
        found = loop.finish()
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        # Sums of float32: another batch may take another kernel, which rounds otherwise in the last bits.
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


# --- ONNX Runtime -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_slices_along_every_axis(tmp_path: Path, batch: int) -> None:
    backend = OnnxBackend(graphs.conv(tmp_path / "m.onnx", context=3, features=4), "cpu")
    check(backend, Sampler(kind="slice", axes=(0, 1, 2), context=3), batch)


@pytest.mark.parametrize("volume_layout", [False, True])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_overlapping_slabs_with_several_channels(tmp_path: Path, overlap: float, volume_layout: bool) -> None:
    channels = ((1.0, 0.0), (-2.0, 3.0))
    path = tmp_path / "m.onnx"
    graph = graphs.linear(path, context=5, outputs=3, channels=channels, volume_layout=volume_layout)
    sampler = Sampler(kind="slab", axes=(0, 1, 2), context=5, outputs=3, overlap=overlap, edge="zero")
    check(OnnxBackend(graph, "cpu"), sampler, 2)


@pytest.mark.parametrize("edge", ["repeat", "zero"])
def test_overlapping_patches_larger_than_an_axis(tmp_path: Path, edge: str) -> None:
    graph = graphs.linear(tmp_path / "m.onnx", patch=True, channels=((2.0, 1.0), (0.5, 0.0), (1.0, 1.0)))
    check(OnnxBackend(graph, "cpu"), Sampler(kind="patch", size=(6, 12, 4), overlap=0.5, edge=edge), 4)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    size=st.tuples(*[st.integers(1, 7)] * 3),
    overlap=st.floats(0, 0.8),
    batch=st.integers(1, 5),
)
def test_patches_of_any_size_in_volumes_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple, size: tuple, overlap: float, batch: int
) -> None:
    backend = OnnxBackend(graphs.identity(tmp_path_factory.mktemp("m") / "m.onnx", patch=True), "cpu", threads=1)
    data = volume(shape=shape)
    (tiling,) = tilings(Sampler(kind="patch", size=size, overlap=overlap), shape)
    padded, weights = tiling.pad(data), gaussian(size)
    loop = open_loop(backend, tiling, padded, weights, batch)
    loop.step(tiling.starts)
    np.testing.assert_allclose(loop.finish(), plain(backend, tiling, padded, {}, weights), rtol=0, atol=1e-5)


def test_a_batch_that_the_graph_demands_is_filled_up(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.fixed_batch(tmp_path / "m.onnx", 4), "cpu")
    data = volume()
    (tiling,) = tilings(Sampler(), SHAPE)  # 13 slices: the last batch has one
    loop = open_loop(backend, tiling, tiling.pad(data), np.ones(tiling.box_out, np.float32), 4)
    loop.step(tiling.starts)
    np.testing.assert_array_equal(loop.finish()[0], data)


def test_codes_and_constants_are_fed_with_every_batch(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.with_inputs(tmp_path / "m.onnx", {"code": ("batch", 3), "timestep": (1,)}), "cpu")
    code = np.tile(np.array([[0, 2, 0]], np.float32), (3, 1))
    check(backend, Sampler(), 3, {"code": code, "timestep": np.full(1, 0.5, np.float32)})


def test_a_network_in_half_precision_is_blended_in_float32(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.linear(tmp_path / "m.onnx", dtype=np.float16, channels=((2.0, 1.0),)), "cpu")
    data = volume()
    (tiling,) = tilings(Sampler(), SHAPE)
    loop = open_loop(backend, tiling, tiling.pad(data), np.full(tiling.box_out, 1e-5, np.float32), 2)
    loop.step(tiling.starts)
    half = data.astype(np.float16) * np.float16(2) + np.float16(1)
    np.testing.assert_array_equal(loop.finish()[0], half.astype(np.float32) * np.float32(1e-5))


def test_the_accumulator_is_added_to_in_place(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.identity(tmp_path / "m.onnx"), "cpu")
    (tiling,) = tilings(Sampler(), SHAPE)
    loop = OnnxResidentLoop(backend, TileTask(tiling, "image", tiling.pad(volume()), {}, np.ones(tiling.box_out), 2))
    loop.step(tiling.starts[:2])
    place = loop._accumulator.data_ptr()
    loop.step(tiling.starts[2:])
    assert loop._accumulator.data_ptr() == place


def test_a_card_gets_the_loop_and_the_cpu_gains_nothing_by_it(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.identity(tmp_path / "m.onnx"), "cpu")
    (tiling,) = tilings(Sampler(), SHAPE)
    task = TileTask(tiling, "image", tiling.pad(volume()), {}, np.ones(tiling.box_out, np.float32))
    assert backend.resident_loop(task) is None
    backend.device = "cuda:0"
    with pytest.raises(ConversionError, match=r"cuda|CUDA"):  # no card here: the loop was begun
        backend.resident_loop(task)


def test_an_output_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.half_size(tmp_path / "m.onnx"), "cpu")
    (tiling,) = tilings(Sampler(), SHAPE)
    loop = open_loop(backend, tiling, tiling.pad(volume()), np.ones(tiling.box_out, np.float32), 2)
    with pytest.raises(ConversionError, match=r"\(2, 1, 5, 4\)"):
        loop.step(tiling.starts)


def test_out_of_memory_in_a_step_is_out_of_memory(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.too_big(tmp_path / "m.onnx"), "cpu")
    (tiling,) = tilings(Sampler(), (4, 1, 1))
    loop = open_loop(backend, tiling, tiling.pad(volume(shape=(4, 1, 1))), np.ones(tiling.box_out, np.float32), 2)
    with pytest.raises(OutOfMemory):
        loop.step(tiling.starts)


def test_an_array_that_cannot_be_moved_is_one_line(tmp_path: Path) -> None:
    backend = OnnxBackend(graphs.identity(tmp_path / "m.onnx"), "cpu")
    with pytest.raises(ConversionError, match="'object' object has no attribute 'numpy'"):
        backend.download(object())
    with pytest.raises(ConversionError, match=r"m\.onnx"):
        backend.upload(np.array([object()]))


# --- TorchScript ------------------------------------------------------------------------------------------------------


def traced(path: Path, network: Any, *shape: int) -> Any:
    """A backend for a torch network whose input is called `image`."""
    torch = pytest.importorskip("torch")
    from modality_conversion.backends.torchscript import TorchScriptBackend

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> Any:
            return self.network(image)

    torch.jit.trace(Named().eval(), torch.zeros(shape)).save(str(path))
    return TorchScriptBackend(path, "cpu")


@pytest.mark.parametrize("batch", [1, 4])
def test_torchscript_slabs_along_every_axis(tmp_path: Path, batch: int) -> None:
    torch = pytest.importorskip("torch")
    backend = traced(tmp_path / "m.ts", torch.nn.Conv2d(5, 6, 3, padding=1), 2, 5, 11, 9)
    check(backend, Sampler(kind="slab", axes=(0, 1, 2), context=5, outputs=3, overlap=0.5), batch)


def test_torchscript_patches(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    backend = traced(tmp_path / "m.ts", torch.nn.Conv3d(1, 2, 3, padding=1), 2, 1, 6, 8, 4)
    check(backend, Sampler(kind="patch", size=(6, 8, 4), overlap=0.5), 4)


def test_a_torchscript_output_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    backend = traced(tmp_path / "m.ts", torch.nn.AvgPool2d(2), 1, 1, 11, 9)
    (tiling,) = tilings(Sampler(), SHAPE)
    loop = open_loop(backend, tiling, tiling.pad(volume()), np.ones(tiling.box_out, np.float32), 2)
    with pytest.raises(ConversionError, match=r"\(2, 1, 5, 4\)"):
        loop.step(tiling.starts)


@pytest.mark.parametrize("where", ["upload", "step"])
def test_torchscript_out_of_memory_is_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    torch = pytest.importorskip("torch")
    backend = traced(tmp_path / "m.ts", torch.nn.Identity(), 1, 1, 11, 9)
    (tiling,) = tilings(Sampler(), SHAPE)
    weights = np.ones(tiling.box_out, np.float32)

    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(backend, "upload" if where == "upload" else "forward", fail)
    with pytest.raises(OutOfMemory, match=r"m\.ts"):
        open_loop(backend, tiling, tiling.pad(volume()), weights, 2).step(tiling.starts)


def test_torchscript_on_a_card_gets_the_loop_and_on_the_cpu_gains_nothing(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    backend = traced(tmp_path / "m.ts", torch.nn.Identity(), 1, 1, 11, 9)
    (tiling,) = tilings(Sampler(), SHAPE)
    task = TileTask(tiling, "image", tiling.pad(volume()), {}, np.ones(tiling.box_out, np.float32))
    assert backend.resident_loop(task) is None
    backend.device = "cuda:0"
    if not torch.cuda.is_available():
        with pytest.raises(ConversionError, match="cuda:0"):  # the loop was begun
            backend.resident_loop(task)
