"""Resampling along the axes of a grid, one axis after the other.

The old and the new grid have the same axes and the same centre, so every interpolation here separates: each axis takes one
or two neighbours, or a small matrix product. The way back is the same function with the numbers exchanged.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def positions(n_in: int, n_out: int, scale: float) -> np.ndarray:
    """Where the centres of the new voxels lie on the old axis, in old voxels; float64, shape (n_out,).

    `scale` is the new voxel side over the old one. Both grids have the same centre.
    """
    return (np.arange(n_out) - (n_out - 1) / 2) * scale + (n_in - 1) / 2


def new_length(n_in: int, scale: float) -> int:
    """Voxels needed to cover the same extent with voxels `scale` times as long, at least one."""
    return max(1, round(n_in / scale))


def resample_axis(array: np.ndarray, axis: int, n_out: int, scale: float, interpolation: str) -> np.ndarray:
    """The array with `n_out` voxels along one axis; float32, or float64 if it was. `nearest` keeps the type.

    `nearest`: the voxel whose centre is nearest. `linear`: between the two nearest voxels, the edge voxel beyond the ends.
    For the others, see `axis_matrix`.
    """
    n_in = array.shape[axis]
    x = np.clip(positions(n_in, n_out, scale), 0, n_in - 1)
    if interpolation == "nearest" or n_in == 1:
        return array.take(np.minimum(np.floor(x + 0.5).astype(int), n_in - 1), axis)
    array = array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)
    if interpolation == "linear":
        left = np.minimum(np.floor(x).astype(int), n_in - 2)
        weight = (x - left).astype(array.dtype).reshape([-1 if a == axis else 1 for a in range(array.ndim)])
        result = array.take(left, axis)
        result *= 1 - weight
        result += array.take(left + 1, axis) * weight
        return result
    moved = np.moveaxis(array, axis, 0)
    matrix = axis_matrix(n_in, n_out, scale, interpolation).astype(array.dtype)
    product = matrix @ moved.reshape(n_in, -1)
    return np.moveaxis(product.reshape(n_out, *moved.shape[1:]), 0, axis)


@lru_cache(maxsize=64)
def axis_matrix(n_in: int, n_out: int, scale: float, interpolation: str) -> np.ndarray:
    """The matrix that resamples an axis: float64, shape (n_out, n_in); each row sums to 1. Read-only, since shared.

    `area`: the mean over the new voxel's extent. `adaptive`: the mean of every old voxel that the new one touches, as
    PyTorch's adaptive average pooling does; up to half a voxel off its place where sizes do not divide. `bspline`: cubic
    B-spline interpolation with mirrored ends (Unser 1999).
    """
    x = positions(n_in, n_out, scale)
    if interpolation == "bspline":
        at_voxels = _bspline_weights(np.arange(n_in), n_in)
        matrix = _bspline_weights(np.clip(x, 0, n_in - 1), n_in) @ np.linalg.inv(at_voxels)
    elif interpolation in ("area", "adaptive"):
        low = np.clip(x - scale / 2 + 0.5, 0, n_in - 1e-6)[:, None]
        high = np.clip(x + scale / 2 + 0.5, 1e-6, n_in)[:, None]
        edges = np.arange(n_in)
        overlap = np.clip(np.minimum(high, edges + 1) - np.maximum(low, edges), 0, None)
        if interpolation == "adaptive":
            overlap = overlap > 1e-7  # an edge that falls on a voxel border must not draw in its neighbour
        matrix = overlap / overlap.sum(axis=1, keepdims=True)
    else:
        raise ValueError(f"unknown interpolation {interpolation!r}")
    matrix.setflags(write=False)
    return matrix


def _bspline_weights(x: np.ndarray, n: int) -> np.ndarray:
    """Weights of the n spline coefficients at the positions x, the coefficients mirrored about the end voxels."""
    weights = np.zeros((len(x), n))
    first = np.floor(x).astype(int) - 1
    period = max(1, 2 * (n - 1))
    for k in range(4):
        distance = np.abs(x - (first + k))
        near = 2 / 3 - distance**2 * (1 - distance / 2)
        index = np.mod(first + k, period)
        value = np.where(distance < 1, near, np.maximum(0, 2 - distance) ** 3 / 6)
        np.add.at(weights, (np.arange(len(x)), np.minimum(index, period - index)), value)
    return weights


def back_interpolation(interpolation: str) -> str:
    """How a step is undone: averages on the way in go back linearly, the others go back as they came."""
    return "linear" if interpolation in ("area", "adaptive") else interpolation
