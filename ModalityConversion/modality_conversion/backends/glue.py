"""Two small ONNX graphs that cut tiles from a volume and blend outputs into one, wherever onnxruntime keeps the memory.

onnxruntime runs graphs and nothing else: it can neither slice nor add two arrays that lie on a card. They are written
here as bytes, a few hundred each, so that no package and no file is needed for them.
"""

from __future__ import annotations

from .wire import field

OPSET, IR_VERSION = 16, 8  # 16: the first in which ScatterND adds
_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
}
_TYPES |= {"float64": 11}
_INT, _STRING, _INTS = 2, 3, 7  # AttributeProto.type


def cut_graph(dtype: str, rank: int) -> bytes:
    """`tiles[n] = volume[starts[n] + offsets]`, as `dtype`, a numpy name.

    volume: float32 (voxels,). offsets: int64 (1, *tile), the places of a tile's voxels in the flat volume, for a tile
    at 0. starts: int64 (n, 1, ...). tiles: (n, *tile). `rank`: that of the last three.
    """
    nodes = [
        _node("Add", ["starts", "offsets"], "where"),
        _node("Gather", ["volume", "where"], "gathered", axis=0),
        _node("Cast", ["gathered"], "tiles", to=_TYPES[dtype]),
    ]
    inputs = [_value("volume", "float32", 1), _value("offsets", "int64", rank), _value("starts", "int64", rank)]
    return _model(nodes, inputs, _value("tiles", dtype, rank))


def blend_graph(dtype: str, rank: int, channels: int, voxels: int) -> bytes:
    """`blended = accumulator`, then `blended[start + offsets] += weights * outputs[tile]`.

    outputs: the network's raw output in `dtype`, (n, ...), of rank `rank`, `channels` * `voxels` values a tile. tile:
    int64 scalar. offsets: int64 (channels, voxels, 1), places in the flat accumulator, for a tile at 0. start: int64
    (1,). weights: float32 (voxels,). accumulator and blended: float32, flat, all channels.

    One tile a run: a tile's places are all different, so no two threads add to the same voxel, and overlapping tiles
    are added in the order of the runs. The sum is the same every time, on a card too.
    """
    nodes = [
        _node("Gather", ["outputs", "tile"], "raw", axis=0),
        _node("Cast", ["raw"], "real", to=_TYPES["float32"]),
        _node("Constant", [], "shape", value_ints=[channels, voxels]),
        _node("Reshape", ["real", "shape"], "values"),
        _node("Mul", ["values", "weights"], "weighted"),
        _node("Add", ["offsets", "start"], "where"),
        _node("ScatterND", ["accumulator", "where", "weighted"], "blended", reduction="add"),
    ]
    inputs = [
        _value("accumulator", "float32", 1),
        _value("outputs", dtype, rank),
        _value("tile", "int64", 0),
        _value("offsets", "int64", 3),
        _value("start", "int64", 1),
        _value("weights", "float32", 1),
    ]
    return _model(nodes, inputs, _value("blended", "float32", 1))


def _model(nodes: list[bytes], inputs: list[bytes], output: bytes) -> bytes:
    graph = b"".join(field(1, node) for node in nodes) + field(2, "glue")
    graph += b"".join(field(11, value) for value in inputs) + field(12, output)
    return field(1, IR_VERSION) + field(7, graph) + field(8, field(1, "") + field(2, OPSET))


def _node(op: str, inputs: list[str], output: str, **attributes: int | str | list[int]) -> bytes:
    node = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, op)
    return node + b"".join(field(5, _attribute(name, value)) for name, value in attributes.items())


def _attribute(name: str, value: int | str | list[int]) -> bytes:
    if isinstance(value, list):
        return field(1, name) + b"".join(field(8, number) for number in value) + field(20, _INTS)
    number, kind = (3, _INT) if isinstance(value, int) else (4, _STRING)
    return field(1, name) + field(number, value) + field(20, kind)


def _value(name: str, dtype: str, rank: int) -> bytes:
    """An input or output, every axis open."""
    shape = field(1, b"") * rank
    return field(1, name) + field(2, field(1, field(1, _TYPES[dtype]) + field(2, shape)))
