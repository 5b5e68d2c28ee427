"""A network that takes its time."""

from __future__ import annotations

from pathlib import Path


def graph(path: Path, turns: int = 50_000_000) -> None:
    """Returns its input, float32 (batch, 1, H, W), after many turns of a loop."""
    import onnx
    from onnx import TensorProto, helper

    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["was"], ["is"])],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            flag,
            helper.make_tensor_value_info("was", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("is", TensorProto.FLOAT, None),
        ],
    )
    shape = ["batch", 1, "height", "width"]
    whole = helper.make_graph(
        [helper.make_node("Loop", ["turns", "yes", "image"], ["result"], body=body)],
        "slow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor("turns", TensorProto.INT64, [], [turns]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ],
    )
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def twice(path: Path) -> None:
    """Its input, float32 (batch, 1, H, W), as two channels."""
    import onnx
    from onnx import TensorProto, helper

    whole = helper.make_graph(
        [helper.make_node("Concat", ["image", "image"], ["result"], axis=1)],
        "twice",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", 2, "height", "width"])],
    )
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def second(path: Path) -> None:
    """The second of two inputs, `T1` and `FLAIR`, float32 (batch, 1, H, W)."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 1, "height", "width"]
    whole = helper.make_graph(
        [
            helper.make_node("Mul", ["T1", "zero"], ["nothing"]),
            helper.make_node("Add", ["FLAIR", "nothing"], ["result"]),
        ],
        "second",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("T1", "FLAIR")],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
        [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])],
    )
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
