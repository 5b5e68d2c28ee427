"""Cutting and blending: nothing lost, nothing twice, and the same as MONAI where MONAI does it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modality_conversion.fusion import Blend, blending_weights, fuse_planes
from modality_conversion.sampler import Tiling, batches, tilings, without_empty
from modality_conversion.schema import Sampler

shapes = st.tuples(*[st.integers(1, 17)] * 3)


def declared(**fields: object) -> Sampler:
    return Sampler(**fields)  # type: ignore[arg-type]


@st.composite
def samplers(draw: st.DrawFn) -> Sampler:
    kind = draw(st.sampled_from(("slice", "slab", "patch")))
    edge = draw(st.sampled_from(("repeat", "zero")))
    if kind == "patch":
        size = draw(st.tuples(*[st.integers(1, 9)] * 3))
        return declared(kind=kind, size=size, overlap=draw(st.sampled_from((0.0, 0.25, 0.5, 0.8))), edge=edge)
    outputs = 1 if kind == "slice" else draw(st.integers(1, 5))
    context = outputs + 2 * draw(st.integers(0, 3))
    axes = tuple(draw(st.permutations((0, 1, 2)))[: draw(st.integers(1, 3))])
    overlap = 0.0 if kind == "slice" else draw(st.sampled_from((0.0, 0.4, 0.7)))
    return declared(kind=kind, axes=axes, context=context, outputs=outputs, overlap=overlap, edge=edge)


def identity(volume: np.ndarray, tiling: Tiling, fusion: str) -> np.ndarray:
    padded, weights = tiling.pad(volume), blending_weights(tiling, fusion)
    blend = Blend(tiling, weights, 1)
    for start in tiling.starts:
        tile = tiling.cut(padded, start)
        margin = (tiling.box_in[0] - tiling.box_out[0]) // 2
        blend.add(start, tile[margin : margin + tiling.box_out[0]][None])
    return blend.mean(tiling.starts, [0])[0]


@given(samplers(), shapes, st.sampled_from(("mean", "gaussian")))
def test_what_is_cut_and_blended_unchanged_is_the_volume(sampler: Sampler, shape: tuple, fusion: str) -> None:
    volume = np.random.default_rng(0).random(shape).astype(np.float32)
    for tiling in tilings(sampler, shape):
        np.testing.assert_allclose(identity(volume, tiling, fusion), volume, rtol=2e-6)


@given(st.integers(1, 30), st.integers(0, 3), st.sampled_from((0, 1, 2)))
def test_a_slice_sees_its_neighbours_in_order(depth: int, reach: int, axis: int) -> None:
    shape = [3, 4, 5]
    shape[axis] = depth
    ramp = np.arange(depth, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    volume = np.broadcast_to(ramp, shape)
    for edge in ("repeat", "zero"):
        (tiling,) = tilings(declared(axes=(axis,), context=2 * reach + 1, edge=edge), tuple(shape))
        padded = tiling.pad(volume)
        assert len(tiling.starts) == depth
        for index, start in enumerate(tiling.starts):
            neighbours = np.arange(index - reach, index + reach + 1)
            outside = (neighbours < 0) | (neighbours >= depth)
            expected = np.clip(neighbours, 0, depth - 1)
            expected = np.where(outside & (edge == "zero"), 0, expected)
            np.testing.assert_array_equal(tiling.cut(padded, start)[:, 0, 0], expected)


@given(shapes, st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from((0.0, 0.25, 0.5, 0.9)))
def test_patches_lie_where_monai_puts_them(shape: tuple, size: tuple, overlap: float) -> None:
    data = pytest.importorskip("monai.data.utils")
    padded = tuple(max(n, s) for n, s in zip(shape, size))
    step = tuple(s if s == n else max(1, int(s * (1 - overlap))) for n, s in zip(padded, size))
    expected = {tuple(s.start for s in box) for box in data.dense_patch_slices(padded, size, step)}
    (tiling,) = tilings(declared(kind="patch", size=size, overlap=overlap), shape)
    assert {tuple(start) for start in tiling.starts.tolist()} == expected


@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_gaussian_weights_equal_monai(size: tuple) -> None:
    data = pytest.importorskip("monai.data.utils")
    (tiling,) = tilings(declared(kind="patch", size=size), size)
    np.testing.assert_allclose(
        blending_weights(tiling, "gaussian"), data.compute_importance_map(size, mode="gaussian").numpy(), rtol=1e-5
    )


@given(samplers(), shapes, st.integers(0, 10))
def test_skipped_tiles_are_those_without_a_voxel(sampler: Sampler, shape: tuple, seed: int) -> None:
    occupied = np.random.default_rng(seed).random(shape) > 0.97
    for tiling in tilings(sampler, shape):
        kept = {tuple(start) for start in without_empty(tiling, occupied).tolist()}
        for start in tiling.starts:
            region = np.zeros(tiling.accumulator, bool)
            region[tiling.region_out(start)] = True
            assert (tuple(start.tolist()) in kept) == bool((tiling.unpad(region) & occupied).any())


def test_where_no_tile_reaches_stands_nothing() -> None:
    (tiling,) = tilings(declared(kind="slab", context=3, outputs=3), (9, 2, 2))
    blend = Blend(tiling, blending_weights(tiling, "mean"), 1)
    blend.add(tiling.starts[1], np.ones((1, 3, 2, 2), np.float32))
    assert blend.mean(tiling.starts[1:2], [-3])[0, :, 0, 0].tolist() == [-3, -3, -3, 1, 1, 1, -3, -3, -3]


def test_batches_hold_every_tile_once() -> None:
    starts = np.arange(21).reshape(7, 3)
    assert [len(batch) for batch in batches(starts, 3)] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(list(batches(starts, 3))), starts)


def test_planes_are_fused_by_median_or_mean() -> None:
    planes = [np.full((1, 1, 1), value, np.float32) for value in (1, 2, 9)]
    assert fuse_planes(planes, "median") == 2
    assert fuse_planes(planes[:2], "median") == 1.5
    assert fuse_planes(planes, "mean") == 4
    assert fuse_planes(planes[:1], "median") == 1


@given(st.integers(0, 1000))
def test_the_median_of_three_planes_is_that_of_numpy(seed: int) -> None:
    planes = list(np.random.default_rng(seed).integers(0, 5, (3, 4, 4, 4)).astype(np.float32))
    np.testing.assert_array_equal(fuse_planes(planes, "median"), np.median(planes, axis=0))
