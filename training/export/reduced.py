"""Smaller forms of a finished bundle, as bundles of their own: half precision, and 8-bit integers.

Both are made from the ONNX file with onnxruntime's own tools. int8 learns the range of every layer from what the engine
itself feeds the network on training cases. They give other numbers than the full network; how good they are is for
`evaluate` to say, with the bundles side by side.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from modality_conversion.backends import Backend, open_backend
from modality_conversion.bundle import Bundle
from modality_conversion.convert import convert
from training.config import ConfigError
from training.evaluation.cases import packed_cases
from training.evaluation.directions import possible
from training.evaluation.measure import make_task
from training.export.bundle import ONNX, Form, Model, Written, beside, finish_bundle
from training.export.graph import as_feeds, run_onnx
from training.export.settings import ExportSettings, Reduced

_TITLES: Mapping[Reduced, str] = {"float16": ", half precision", "int8": ", 8 bit"}
_FLOAT_ENDS = 2
"""How many of the last convolutions stay as they are: an image has more grey values than 8 bits can tell apart."""
_CASES = 4
"""How many training cases int8 learns its ranges from."""

Feeds = dict[str, NDArray[np.float32]]


def write_reduced(
    kind: Reduced,
    full: Bundle,
    model: Model,
    settings: ExportSettings,
    figures: Mapping[str, Any],
    pictures: Path | None,
) -> Written:
    """Write `<id>-float16` or `<id>-int8` beside the full bundle. Raises ExportError, ConfigError."""
    folder = settings.folder.with_name(f"{settings.folder.name}-{kind}")
    with beside(folder) as draft:
        file = draft / ONNX
        file.parent.mkdir(parents=True)
        if kind == "float16":
            _to_float16(full.weight_paths[0], file)
        else:
            _to_int8(full.weight_paths[0], file, calibration_feeds(full, settings))
        feeds = as_feeds(model.example, model.names)
        wanted = run_onnx(full.weight_paths[0], feeds)
        unsure = "uncertainty" in model.declared["output"]
        means = slice(0, wanted.shape[1] // 2 if unsure else wanted.shape[1])
        difference = float(np.abs(run_onnx(file, feeds) - wanted)[:, means].max())
        size, before = file.stat().st_size / 1e6, full.weight_paths[0].stat().st_size / 1e6
        note = (
            f"This is a smaller form of `{full.spec.id}`, as {kind}: {size:.1f} MB in place of {before:.1f}. On its golden "
            f"pair the values differ by up to {difference:.2g}, where {_top(wanted[:, means]):.2g} is the largest."
        )
        form = Form(f"-{kind}", _TITLES[kind], (note,))
        warnings, measured = finish_bundle(draft, model, settings, form, figures, pictures)
    return Written(folder, warnings, measured, difference)


def _top(values: NDArray[np.float32]) -> float:
    return float(np.abs(values).max())


def _to_float16(source: Path, target: Path) -> None:
    """Weights and arithmetic in half precision; what goes in and comes out stays float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True))
    half.topological_sort()  # the converter puts the casts of inputs last
    onnx.checker.check_model(half.model)
    onnx.save(half.model, str(target))


def _to_int8(source: Path, target: Path, tiles: list[Feeds]) -> None:
    """Convolutions in 8 bit, but for the last ones; the range of each layer is that on the tiles."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(tiles)

        def get_next(self) -> Feeds | None:
            return next(self._left, None)

    convolutions = [node.name for node in onnx.load(str(source)).graph.node if node.op_type == "Conv"]
    logging.getLogger("root").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=convolutions[-_FLOAT_ENDS:],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def calibration_feeds(bundle: Bundle, settings: ExportSettings) -> list[Feeds]:
    """What the engine feeds the network on training cases, single tiles, from every direction in turn.

    Raises ConfigError where no folder is configured, or no case there fits.
    """
    if settings.calibration is None:
        raise ConfigError("int8 needs `export.calibration`: a folder of packed training cases.")
    found: list[Feeds] = []
    for number, case in enumerate(packed_cases(settings.calibration, most=_CASES)):
        able = list(possible(bundle.spec, case.scans.keys(), case.truths.keys()))
        # Each case goes some of the directions, so that together they go all.
        mine = able[number % len(able) :: _CASES] if able else []
        for direction in mine:
            task = make_task(case, direction)
            if task is not None:
                recorder = _Recorder()
                convert(
                    task.scans, bundle, target=direction.target, device="cpu", uncertainty=False, opener=recorder.open
                )
                found += recorder.some(-(-settings.calibration_tiles // (_CASES * len(mine))))
    if not found:
        raise ConfigError(f"No case in {settings.calibration} has the scans that {bundle.spec.id} converts.")
    return found


class _Recorder:
    """Opens a weight file as the engine does, and keeps what it is fed."""

    def __init__(self) -> None:
        self.tiles: list[Feeds] = []

    def open(self, path: Path, format: str, device: str) -> Backend:
        """An opener for `convert`."""
        backend = open_backend(path, format, device)
        run = backend.run

        def recorded(feeds: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
            middle = len(next(iter(feeds.values()))) // 2
            self.tiles.append({name: array[middle : middle + 1].copy() for name, array in feeds.items()})
            return run(feeds)

        backend.run = recorded  # type: ignore[method-assign]
        return backend

    def some(self, most: int) -> list[Feeds]:
        """Tiles spread evenly over what was fed."""
        places = np.linspace(0, len(self.tiles) - 1, min(most, len(self.tiles))).round().astype(int)
        return [self.tiles[place] for place in places]
