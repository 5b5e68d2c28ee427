"""Whether the network is the one that the declaration describes: its inputs and its output."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .check_words import Fault, in_spec
from .errors import ConversionError

if TYPE_CHECKING:
    from .backends import Tensor
    from .schema import Geometry

Size = Sequence["int | None"]
_KIND = ("sampler", "kind")


def network_faults(folder: Path, sections: Mapping[str, Any], whole: Sequence[int]) -> list[Fault]:
    """Compare the weight files whose numbers are in `whole` with the valid sections of the declaration.

    A TorchScript file is not loaded for this, only searched for code that does more than arithmetic.
    """
    faults: list[Fault] = []
    for number in whole:
        entry = sections["weights"][number]
        if entry.format == "torchscript":
            faults += _torchscript_faults(folder / entry.path, number)
        elif importlib.util.find_spec("onnxruntime") is None:
            remedy = "install it with: pip install modality-conversion[cpu]"
            what = "the network was not looked at, since onnxruntime is not installed"
            faults.append(Fault(in_spec(("weights", number)), what, remedy, "warning"))
        else:
            faults += _onnx_faults(folder / entry.path, number, sections)
    return list(dict.fromkeys(faults))


def _torchscript_faults(path: Path, number: int) -> Iterator[Fault]:
    from .backends.archive import check_archive

    try:
        check_archive(path)
    except ConversionError as error:
        remedy = "export the network again, with torch.jit.trace or as ONNX"
        yield Fault(in_spec(("weights", number)), str(error).rstrip("."), remedy)


def _onnx_faults(path: Path, number: int, sections: Mapping[str, Any]) -> Iterator[Fault]:
    from .backends.onnx import describe
    from .backends.wire import external_files

    try:
        graph = describe(path)
        outside = external_files(path)
    except ConversionError as error:
        yield Fault(in_spec(("weights", number)), str(error).rstrip("."), "export the network to ONNX again")
        return
    for name in outside:
        what = f"the network keeps its weights in another file, {name}, which no SHA-256 covers"
        remedy = "save it as one file: onnx.save(onnx.load(path), path, save_as_external_data=False)"
        yield Fault(in_spec(("weights", number)), what, remedy)
    if "inputs" in sections and "sampler" in sections:
        faults = list(_input_faults(graph.inputs, sections))
        yield from faults
        if in_spec(_KIND) not in {fault.where for fault in faults}:  # else it would only be said twice
            yield from _output_faults(graph.outputs, sections)


# --- what goes in -----------------------------------------------------------------------------------------------------


def _input_faults(tensors: Sequence[Tensor], sections: Mapping[str, Any]) -> Iterator[Fault]:
    declared = sections["inputs"]
    there = ", ".join(f"`{tensor.name}` {shape_text(tensor.shape)}" for tensor in tensors)
    in_order = [tensor.name for tensor in tensors]
    names = [entry.name or (in_order[n] if n < len(in_order) else None) for n, entry in enumerate(declared)]
    for number, name in enumerate(names):
        if name not in in_order:
            what = f"the network has no input `{name}`" if name else f"the network has no input number {number + 1}"
            yield Fault(in_spec(("inputs", number)), what, f"its inputs are {there}; declare these")
    for tensor in tensors:
        numbers = [number for number, name in enumerate(names) if name == tensor.name]
        if numbers:
            yield from _tensor_faults(tensor, numbers, sections)
        elif set(names) <= set(in_order):  # else a name is wrong, which was said
            what = f"the network's input `{tensor.name}` {shape_text(tensor.shape)} is not declared"
            yield Fault(in_spec(("inputs",)), what, f'add an entry with "name": "{tensor.name}" and its role')


def _tensor_faults(tensor: Tensor, numbers: Sequence[int], sections: Mapping[str, Any]) -> Iterator[Fault]:
    """One input of the network and the entries that are fed to it."""
    entries = [sections["inputs"][number] for number in numbers]
    for number, entry in zip(numbers, entries, strict=True):
        if entry.dtype != tensor.dtype:
            what = f"{entry.dtype} declared, but the network's input `{tensor.name}` is {tensor.dtype}"
            yield Fault(in_spec(("inputs", number, "dtype")), what, _dtype_remedy(tensor.dtype))
    if tensor.shape is None:
        return
    if entries[0].role in ("image", "mask"):
        yield from _tile_faults(tensor, tensor.shape, numbers[0], len(entries), sections)
        return
    entry, number = entries[0], numbers[0]
    if entry.role == "constant":
        fed: tuple[int | None, ...] = entry.shape or ()
        remedy = f'write "shape": {_as_list(tensor.shape)}'
    else:
        fed = (None, *(entry.shape or (len(entry.order),)))
        remedy = "give `order` that many modalities, or `shape` for a code of another form"
    if not _fits(fed, tensor.shape):
        what = f"{shape_text(fed)} is fed, but the network's input `{tensor.name}` is {shape_text(tensor.shape)}"
        yield Fault(in_spec(("inputs", number)), what, remedy)


def _dtype_remedy(dtype: str) -> str:
    if dtype in ("float32", "float16", "float64", "int32", "int64"):
        return f'write "dtype": "{dtype}"'
    return "export the network with float32 inputs"


def _tile_faults(tensor: Tensor, shape: Size, number: int, joined: int, sections: Mapping[str, Any]) -> Iterator[Fault]:
    sampler = sections["sampler"]
    is_patch = sampler.kind == "patch"
    rank = 5 if is_patch else 4
    where, named = in_spec(("inputs", number)), f"the network's input `{tensor.name}` {shape_text(shape)}"
    if len(shape) != rank:
        layout = "(batch, channels, size, size, size)" if is_patch else "(batch, slices, height, width)"
        what = f"kind {sampler.kind} feeds {layout}, but {named} has {len(shape)} axes"
        other = {4: "use kind slice or slab", 5: "use kind patch"}.get(len(shape), "export a network with 4 or 5 axes")
        yield Fault(in_spec(_KIND), what, other)
        return
    channels = joined if is_patch else joined * sampler.context
    if shape[1] not in (None, channels):
        of = "" if joined == 1 else f" of {joined} joined inputs"
        what = f"{_count(channels, 'channel')}{of} fed, but {named} has {shape[1]}"
        yield Fault(
            in_spec(("inputs",) if is_patch else ("sampler", "context")),
            what,
            _channel_remedy(shape[1], joined, is_patch),
        )
    if "geometry" not in sections or "ops" not in sections:
        return
    for size in _tile_sizes(sections):
        for axis, (given, wanted) in enumerate(zip(size, shape[2:], strict=False)):
            if wanted is None or given == wanted:
                continue
            if given is not None:
                what = f"tiles are {shape_text(size)}, but {named} is fixed at {wanted} on axis {axis + 2}"
                yield Fault(where, what, _size_remedy(is_patch, wanted))
            else:
                what = f"{named} is fixed at {wanted} on axis {axis + 2}, but nothing makes the tiles that size"
                remedy = "add `resize` to `ops`, or `geometry.crop` and `geometry.pad_to`, or export with open sizes"
                yield Fault(where, what, remedy, "warning")


def _channel_remedy(channels: int | None, joined: int, is_patch: bool) -> str:
    assert channels is not None  # an open channel axis fits anything
    if not is_patch and channels % joined == 0:
        return f"set `context` to {channels // joined}"
    return f"join {_count(channels, 'image or mask input')} under one name, or export the network again"


def _size_remedy(is_patch: bool, wanted: int) -> str:
    where = "`sampler.size`" if is_patch else "`geometry` (crop, resize, pad_to) or the operation `resize`"
    return f"make {where} give {wanted}, or export the network with open sizes"


def _tile_sizes(sections: Mapping[str, Any]) -> list[Size]:
    """The sizes of tiles as the network gets them, one for each axis sliced along; None where the scan decides."""
    sampler = sections["sampler"]
    resizes = [op.size for op in sections["ops"] if op.op == "resize"]
    if resizes:
        return [resizes[-1]]
    if sampler.kind == "patch":
        return [sampler.size]
    grid = grid_size(sections["geometry"])
    return list(dict.fromkeys(tuple(grid[a] for a in range(3) if a != axis) for axis in sampler.axes))


def grid_size(geometry: Geometry) -> tuple[int | None, ...]:
    """How many voxels each axis of the network's grid has for every scan; None where the scan decides."""
    crop = geometry.crop if isinstance(geometry.crop, tuple) else (None, None, None)
    resize = geometry.resize if isinstance(geometry.resize, tuple) else (None, None, None)
    longest = None if geometry.resize is None or isinstance(geometry.resize, tuple) else geometry.resize.max
    multiple = geometry.pad_multiple if isinstance(geometry.pad_multiple, tuple) else (geometry.pad_multiple,) * 3
    sizes = []
    for axis in range(3):
        exact = resize[axis]
        at_most = exact or min((n for n in (crop[axis], longest) if n), default=None)
        padded = geometry.pad_to[axis] if geometry.pad_to else None
        if padded and at_most and at_most <= padded:
            exact = padded
        step = multiple[axis] or 1
        exact = exact and -(-exact // step) * step
        sizes.append(exact)
    return tuple(sizes)


# --- what comes out ---------------------------------------------------------------------------------------------------


def _output_faults(tensors: Sequence[Tensor], sections: Mapping[str, Any]) -> Iterator[Fault]:
    if len(tensors) > 1:
        what = f"the network has {len(tensors)} outputs; only the first, `{tensors[0].name}`, is used"
        yield Fault(in_spec(("output",)), what, "export the network with what is needed in one output", "warning")
    if not tensors or tensors[0].shape is None:
        return
    sampler, shape, named = sections["sampler"], tensors[0].shape, f"`{tensors[0].name}` {shape_text(tensors[0].shape)}"
    if sampler.kind == "patch":
        layouts, slices = {5: "(batch, channels, size, size, size)"}, 1
    else:
        slices = sampler.outputs
        layouts = {4: f"(batch, channels * {slices}, height, width)", 5: f"(batch, channels, {slices}, height, width)"}
    if len(shape) not in layouts:
        what = f"the network's output {named} has {len(shape)} axes"
        yield Fault(in_spec(("sampler",)), what, f"export a network that gives {' or '.join(layouts.values())}")
        return
    channels: int | None = shape[1]
    if sampler.kind != "patch" and len(shape) == 5:
        if shape[2] not in (None, slices):
            what = f"{slices} slices out declared, but the network's output {named} has {shape[2]}"
            yield Fault(in_spec(("sampler", "outputs")), what, f"set `outputs` to {shape[2]}")
    elif channels and channels % slices:
        what = f"{slices} slices out declared, but the network's output {named} has {channels} channels"
        yield Fault(in_spec(("sampler", "outputs")), what, f"make `outputs` a divisor of {channels}")
        return
    elif channels:
        channels //= slices
    if channels:
        yield from channel_faults(channels, sections)


def channel_faults(channels: int, sections: Mapping[str, Any]) -> Iterator[Fault]:
    """The channels asked for and the channels there are."""
    output, segmentation = sections.get("output"), sections.get("segmentation")
    there = f"the network's output has {_count(channels, 'channel')}, counted from 0"
    asked: list[tuple[tuple[str | int, ...], int | None]] = []
    if sections.get("targets") and output is not None:
        asked.append((("output", "channel"), output.channel))
        if output.uncertainty is not None:
            asked.append((("output", "uncertainty", "channel"), output.uncertainty.channel))
    labels = () if segmentation is None else segmentation.labels
    by_number = bool(sections.get("targets")) or any(label.channel is not None for label in labels)
    if segmentation is not None and by_number:
        asked += [(("segmentation", "labels", n, "channel"), label.channel) for n, label in enumerate(labels)]
        asked.append((("segmentation", "background_channel"), segmentation.background))
    for path, channel in asked:
        if channel is not None and channel >= channels:
            yield Fault(in_spec(path), f"channel {channel} is asked for, but {there}", f"write 0 to {channels - 1}")
    if segmentation is None or by_number:
        return
    wanted = max(segmentation.channels) + 1
    if wanted != channels:
        what = f"{_count(len(segmentation.labels), 'label')} with {segmentation.activation} need {wanted} channels"
        remedy = (
            "correct `labels` or `activation`, or give every label its `channel`; softmax has a channel for the background, "
            "the others have none"
        )
        yield Fault(in_spec(("segmentation", "labels")), f"{what}, but {there}", remedy)


# --- words ------------------------------------------------------------------------------------------------------------


def shape_text(shape: Size | None) -> str:
    """A shape in words, `?` where it is open."""
    return "of unknown shape" if shape is None else f"({', '.join('?' if n is None else str(n) for n in shape)})"


def _as_list(shape: Size) -> str:
    return f"[{', '.join('1' if n is None else str(n) for n in shape)}]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _fits(fed: Size, wanted: Size) -> bool:
    return len(fed) == len(wanted) and all(a is None or b is None or a == b for a, b in zip(fed, wanted, strict=True))
