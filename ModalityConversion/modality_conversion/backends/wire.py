"""Just enough of the protobuf wire format for ONNX files: write small graphs, find where a file keeps its data.

The `onnx` package would do both, but it is 18 MB that no conversion needs otherwise. Field numbers are those of
onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message -> {field number: message}, for every way from a model down to a tensor that may keep its data elsewhere.
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a message: an integer, a string, or a message already encoded."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def external_files(path: Path) -> list[str]:
    """The files, as written in the graph, from which an ONNX file reads its tensors. Big tensors are skipped, not read.

    Raises ValueError when the file is no protobuf message, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return list(_locations(data, 0, len(data), "model"))


def _locations(data: mmap.mmap, start: int, end: int, message: str) -> Iterator[str]:
    if message == "external":  # a pair: key = field 1, value = field 2
        pair = {number: data[first:last] for number, first, last in _messages(data, start, end)}
        if pair.get(1) == b"location":
            yield pair.get(2, b"").decode("utf-8")
        return
    inside = _PATHS[message]
    for number, first, last in _messages(data, start, end):
        if number in inside:
            yield from _locations(data, first, last, inside[number])


def _messages(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Field number, start and end of every length-delimited field between two positions."""
    while position < end:
        key, position = _read_varint(data, position, end)
        kind = key & 7
        if kind == _VARINT:
            _, position = _read_varint(data, position, end)
        elif kind == _BYTES:
            length, position = _read_varint(data, position, end)
            if length > end - position:
                raise ValueError("a field is longer than the file")
            yield key >> 3, position, position + length
            position += length
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown field type {kind}")
    if position > end:
        raise ValueError("the file ends within a field")


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ValueError("a number does not end")
