"""The operations on values, by name: one registry for those before the network and those after it.

An operation takes an array, a context and its parameters. It gives the array back, and by how much it stretched a small
difference, so that an uncertainty can be carried into the target's units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .foreground import foreground
from .modality import Modality
from .resampling import back_interpolation, resample_axis

if TYPE_CHECKING:
    from .schema import BorderZero, Resize

Parameters = Any  # the pydantic section of the operation; see schema.py


@dataclass(frozen=True)
class Context:
    """What an operation may look at beside the array."""

    mask: np.ndarray | None = None
    """Bool, on the same grid as the array."""
    source_range: tuple[float, float] = (0.0, 1.0)
    """Smallest and largest value of the whole source volume as read."""
    modality: Modality | None = None
    """What the array shows. An operation that names its modalities is skipped for others, and where this is None."""


@dataclass(frozen=True)
class Result:
    """An array, and by how much each voxel stretched a small difference: a factor, or an array of factors."""

    array: np.ndarray
    slope: float | np.ndarray


def concerns(op: Parameters, context: Context) -> bool:
    """Whether an operation is for what the array shows."""
    wanted = getattr(op, "modalities", None)  # `resize` is for every scan
    return wanted is None or context.modality in wanted


def apply(ops: Sequence[Parameters], stage: str, array: np.ndarray, context: Context) -> np.ndarray:
    """The array after the operations of one stage, in order. Shapes are kept, but for `resize`."""
    for op in ops:
        if op.stage == stage and concerns(op, context):
            array = _REGISTRY[op.op](array, context, op).array
    return array


def apply_with_slope(
    ops: Sequence[Parameters], stage: str, array: np.ndarray, context: Context
) -> tuple[np.ndarray, float | np.ndarray]:
    """As `apply`, with the product of the slopes: a standard deviation times it is one in the new units (delta method)."""
    slope: float | np.ndarray = 1.0
    for op in ops:
        if op.stage == stage and concerns(op, context):
            result = _REGISTRY[op.op](array, context, op)
            array, slope = result.array, slope * result.slope
    return array, slope


def _scope(array: np.ndarray, context: Context, scope: str) -> np.ndarray:
    """The values that statistics are taken from, flat; all of them where the scope is empty."""
    if scope == "all":
        return array.reshape(-1)
    inside = context.mask if scope == "mask" else foreground(array)
    if inside is None or not inside.any():
        return array.reshape(-1)
    return array[inside]


def _clip(array: np.ndarray, context: Context, op: Parameters) -> Result:
    inside = np.ones((), dtype=bool)
    if op.low is not None:
        inside = inside & (array >= op.low)
    if op.high is not None:
        inside = inside & (array <= op.high)
    return Result(np.clip(array, op.low, op.high), inside.astype(np.float32))


def _clip_percentile(array: np.ndarray, context: Context, op: Parameters) -> Result:
    low, high = np.percentile(_scope(array, context, op.scope), (op.low, op.high)).astype(array.dtype)
    return Result(np.clip(array, low, high), 1.0)


def _is_constant(spread: float, *values: float) -> bool:
    """Whether a spread is rounding only: stretched to full range, the noise of float32 would look like an image."""
    return spread <= 1e-6 * max(map(abs, values))


def _minmax(array: np.ndarray, context: Context, op: Parameters) -> Result:
    values = _scope(array, context, op.scope)
    low, high = float(values.min()), float(values.max())
    if _is_constant(high - low, low, high):
        return Result(np.zeros_like(array), 0.0)
    slope = (op.to[1] - op.to[0]) / (high - low)
    return Result((array - array.dtype.type(low)) * array.dtype.type(slope) + array.dtype.type(op.to[0]), abs(slope))


def _zscore(array: np.ndarray, context: Context, op: Parameters) -> Result:
    values = _scope(array, context, op.scope)
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if _is_constant(deviation, mean):
        return Result(np.zeros_like(array), 0.0)
    return Result((array - array.dtype.type(mean)) / array.dtype.type(deviation), 1 / deviation)


def _linear(array: np.ndarray, context: Context, op: Parameters) -> Result:
    return Result(array * array.dtype.type(op.scale) + array.dtype.type(op.offset), abs(op.scale))


def _power(array: np.ndarray, context: Context, op: Parameters) -> Result:
    magnitude = np.abs(array)
    with np.errstate(divide="ignore"):
        slope = op.exponent * magnitude ** (op.exponent - 1)
    return Result(np.sign(array) * magnitude**op.exponent, np.where(np.isfinite(slope), slope, 0).astype(array.dtype))


def _exp(array: np.ndarray, context: Context, op: Parameters) -> Result:
    # Beyond this e**x, or its slope, is no longer a finite float32.
    value = np.exp(np.clip(array * array.dtype.type(op.exponent), None, 80))
    return Result(value, abs(op.exponent) * value)


def _border_zero(array: np.ndarray, context: Context, op: BorderZero) -> Result:
    inner = np.zeros_like(array)
    keep = (..., slice(op.width, -op.width), slice(op.width, -op.width))
    inner[keep] = array[keep]
    return Result(inner, 1.0)


def _resize(array: np.ndarray, context: Context, op: Resize) -> Result:
    return Result(resize_tile(array, op.size, op.interpolation), 1.0)


def _scale_to_input(array: np.ndarray, context: Context, op: Parameters) -> Result:
    low, high = context.source_range
    scale, offset = (high, 0.0) if op.use == "max" else (high - low, low)
    return Result(array * array.dtype.type(scale) + array.dtype.type(offset), abs(scale))


_REGISTRY: dict[str, Callable[[np.ndarray, Context, Parameters], Result]] = {
    "clip": _clip,
    "clip_percentile": _clip_percentile,
    "minmax": _minmax,
    "zscore": _zscore,
    "linear": _linear,
    "power": _power,
    "exp": _exp,
    "border_zero": _border_zero,
    "resize": _resize,
    "scale_to_input": _scale_to_input,
}


def resize_tile(array: np.ndarray, size: Sequence[int], interpolation: str) -> np.ndarray:
    """An array whose last len(size) axes become `size`."""
    first = array.ndim - len(size)
    for axis, new in enumerate(size, start=first):
        old = array.shape[axis]
        if old != new:
            averaging = "adaptive" if interpolation == "area" else interpolation
            array = resample_axis(array, axis, new, old / new, averaging)
    return array


def resize_tile_back(array: np.ndarray, ops: Sequence[Parameters], box: Sequence[int]) -> np.ndarray:
    """The network's output, its last axes back to those of the tile's box, if a `resize` was among the operations."""
    resizes = [op for op in ops if op.op == "resize"]
    if not resizes:
        return array
    op = resizes[-1]
    return resize_tile(array, tuple(box[-len(op.size) :]), back_interpolation(op.interpolation))
