"""Small ONNX graphs for tests, so that no test needs a trained network or a file in the repository.

Every function writes one file and returns its path. The networks are plain arithmetic, so a test can say what the
output must be: the middle slices times a scale plus an offset. Slices go in as (N, context, H, W), patches as
(N, 1, D, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper, save_model

OPSET, IR_VERSION = 17, 8  # what the oldest supported onnxruntime reads
Shape = Sequence[int | str | None]


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Check a graph and write it."""
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(path))
    return path


def tensor(name: str, shape: Shape | None, dtype: type = np.float32) -> ValueInfoProto:
    """An input or output; a string or None in `shape` is an open axis."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def identity(path: Path, context: int = 1, dynamic: bool = True, **options: object) -> Path:
    """The middle slice out as it went in. `dynamic=False`: batch 1. See `linear` for the other options."""
    return linear(path, context=context, batch=None if dynamic else 1, **options)  # type: ignore[arg-type]


def fixed_batch(path: Path, batch: int, **options: object) -> Path:
    """Like `identity`, but the graph demands exactly this batch size."""
    return linear(path, batch=batch, **options)  # type: ignore[arg-type]


def linear(
    path: Path,
    *,
    context: int = 1,
    outputs: int = 1,
    channels: Sequence[tuple[float, float]] = ((1.0, 0.0),),
    batch: int | None = None,
    size: tuple[int | str | None, ...] | None = None,
    patch: bool = False,
    volume_layout: bool = False,
    dtype: type = np.float32,
    input_name: str = "image",
) -> Path:
    """Channel c is the input's middle `outputs` slices times `channels[c][0]` plus `channels[c][1]`.

    Output for slices: (N, channels * outputs, H, W), channel-major; with `volume_layout` (N, channels, outputs, H, W);
    for patches (N, channels, D, H, W). `batch` None leaves it open; `size` fixes the plane, or the box of a patch.
    """
    lead: int | str = batch if batch is not None else "batch"
    open_size: tuple[int | str | None, ...] = ("depth", "height", "width") if patch else ("height", "width")
    size = size or open_size
    scales = np.array([scale for scale, _ in channels], dtype)
    offsets = np.array([offset for _, offset in channels], dtype)
    first = (context - outputs) // 2
    constants = {
        "first": np.array([0 if patch else first], np.int64),
        "last": np.array([1 if patch else first + outputs], np.int64),
        "axis": np.array([1], np.int64),
        "scales": scales.reshape(-1, 1, 1, 1),
        "offsets": offsets.reshape(-1, 1, 1, 1),
    }
    nodes = [helper.make_node("Slice", [input_name, "first", "last", "axis"], ["middle"])]
    spread = "middle"
    if not patch:
        nodes.append(helper.make_node("Unsqueeze", ["middle", "axis"], ["spread"]))  # (N, 1, outputs, H, W)
        spread = "spread"
    nodes.append(helper.make_node("Mul", [spread, "scales"], ["scaled"]))
    flat = not patch and not volume_layout
    nodes.append(helper.make_node("Add", ["scaled", "offsets"], ["volume" if flat else "converted"]))
    shape: Shape
    if flat:  # H and W are read from the input, since Reshape can keep only leading axes
        constants["channel_count"] = np.array([len(channels) * outputs], np.int64)
        nodes += [
            helper.make_node("Shape", [input_name], ["plane"], start=2),
            helper.make_node("Shape", [input_name], ["tiles"], end=1),
            helper.make_node("Concat", ["tiles", "channel_count", "plane"], ["flat"], axis=0),
            helper.make_node("Reshape", ["volume", "flat"], ["converted"]),
        ]
        shape = (lead, len(channels) * outputs, *size)
    else:
        shape = (lead, len(channels), *size) if patch else (lead, len(channels), outputs, *size)
    image = tensor(input_name, (lead, 1 if patch else context, *size), dtype)
    return save(path, nodes, [image], [tensor("converted", shape, dtype)], constants)


def conv(
    path: Path,
    *,
    context: int = 1,
    outputs: int = 1,
    features: int = 32,
    layers: int = 3,
    batch: int | None = None,
    patch: bool = False,
    seed: int = 0,
) -> Path:
    """A network in earnest, untrained: 3x3 convolutions, BatchNorm and ReLU, then a 1x1 convolution."""
    random = np.random.default_rng(seed)
    kernel = (3, 3, 3) if patch else (3, 3)
    constants: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []
    previous, channels = "image", 1 if patch else context
    for layer in range(layers):
        fan_in = channels * int(np.prod(kernel))
        weights = random.normal(0, np.sqrt(2 / fan_in), (features, channels, *kernel))
        constants[f"w{layer}"] = weights.astype(np.float32)
        for name, value in (("gain", 1.1), ("shift", 0.05), ("mean", 0.02), ("variance", 0.9)):
            constants[f"{name}{layer}"] = np.full(features, value, np.float32)
        nodes.append(
            helper.make_node(
                "Conv", [previous, f"w{layer}"], [f"conv{layer}"], kernel_shape=kernel, pads=[1] * 2 * len(kernel)
            )
        )
        norm = [f"conv{layer}", *(f"{name}{layer}" for name in ("gain", "shift", "mean", "variance"))]
        nodes.append(helper.make_node("BatchNormalization", norm, [f"norm{layer}"]))
        nodes.append(helper.make_node("Relu", [f"norm{layer}"], [f"relu{layer}"]))
        previous, channels = f"relu{layer}", features
    constants["w_last"] = random.normal(0, np.sqrt(1 / features), (outputs, features, *[1] * len(kernel))).astype(
        np.float32
    )
    nodes.append(helper.make_node("Conv", [previous, "w_last"], ["converted"]))
    lead: int | str = batch if batch is not None else "batch"
    size = ("depth", "height", "width") if patch else ("height", "width")
    image = tensor("image", (lead, 1 if patch else context, *size))
    return save(path, nodes, [image], [tensor("converted", (lead, outputs, *size))], constants)


def with_inputs(
    path: Path, others: Mapping[str, Shape], context: int = 1, batch: int | None = None, image: str = "image"
) -> Path:
    """image + the sum of every other input, for each tile where its first axis is open: codes, timestep, mask, scan.

    `with_inputs(p, {"code": ("batch", 3)})`, `with_inputs(p, {"timestep": (1,)})`,
    `with_inputs(p, {"t2": ("batch", 1, "height", "width")})`. An input shaped like the image is added voxel by voxel.
    """
    lead: int | str = batch if batch is not None else "batch"
    image_shape = (lead, context, "height", "width")
    constants = {"middle": np.array([context // 2], np.int64), "after": np.array([context // 2 + 1], np.int64)}
    constants["axis"] = np.array([1], np.int64)
    nodes = [helper.make_node("Slice", [image, "middle", "after", "axis"], ["sum0"])]
    for number, (name, shape) in enumerate(others.items()):
        added = name
        if len(shape) != 4:  # to (N, 1, 1, 1), or to one number for all
            first = 1 if shape[0] is None or isinstance(shape[0], str) else 0
            constants[f"axes{number}"] = np.arange(first, len(shape), dtype=np.int64)
            constants[f"shape{number}"] = np.array([-1, 1, 1, 1], np.int64)
            summed = helper.make_node("ReduceSum", [name, f"axes{number}"], [f"summed{number}"], noop_with_empty_axes=1)
            nodes.append(summed)
            added = f"column{number}"
            nodes.append(helper.make_node("Reshape", [f"summed{number}", f"shape{number}"], [added]))
        nodes.append(helper.make_node("Add", [f"sum{number}", added], [f"sum{number + 1}"]))
    nodes.append(helper.make_node("Identity", [f"sum{len(others)}"], ["converted"]))
    inputs = [tensor(image, image_shape), *(tensor(name, shape) for name, shape in others.items())]
    return save(path, nodes, inputs, [tensor("converted", (lead, 1, "height", "width"))], constants)


def wrong_rank(path: Path) -> Path:
    """Takes slices and gives one number for each: the output is no image."""
    nodes = [helper.make_node("ReduceMean", ["image"], ["converted"], axes=[1, 2, 3], keepdims=0)]
    return save(path, nodes, [tensor("image", ("batch", 1, "height", "width"))], [tensor("converted", ("batch",))])


def too_big(path: Path) -> Path:
    """Makes 8 TB of its input, which no machine has: running it ends in a real out-of-memory error."""
    nodes = [
        helper.make_node("Expand", ["image", "huge"], ["expanded"]),
        helper.make_node("ReduceMax", ["expanded"], ["converted"], axes=[2, 3]),
    ]
    constants = {"huge": np.array([1, 1, 1_000_000, 2_000_000], np.int64)}
    shape = ("batch", 1, 1, 1)
    return save(path, nodes, [tensor("image", shape)], [tensor("converted", shape)], constants)


def foreign_operator(path: Path) -> Path:
    """Uses an operator that only a custom library would know."""
    shape = ("batch", 1, "height", "width")
    nodes = [helper.make_node("Mystery", ["image"], ["converted"], domain="com.example")]
    graph = helper.make_graph(nodes, "test", [tensor("image", shape)], [tensor("converted", shape)])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.example", 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), str(path))
    return path


def half_size(path: Path) -> Path:
    """Gives back a plane of half the size: the output does not fit the tile."""
    nodes = [helper.make_node("AveragePool", ["image"], ["converted"], kernel_shape=[2, 2], strides=[2, 2])]
    shape = ("batch", 1, "height", "width")
    return save(path, nodes, [tensor("image", shape)], [tensor("converted", ("batch", 1, "half_height", "half_width"))])


def external_data(path: Path, location: str, value: float = 2.0) -> Path:
    """image * weight; the graph reads the weight from the file `location`, relative to itself; not written here."""
    weight = numpy_helper.from_array(np.array([value], np.float32), "weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", "0"), ("length", "4")):
        weight.external_data.add(key=key, value=text)
    shape = ("batch", 1, "height", "width")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image", "weight"], ["converted"])],
        "test",
        [tensor("image", shape)],
        [tensor("converted", shape)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        model.SerializeToString()
    )  # onnx.save would follow or refuse the location; a test wants it as it is
    return path
